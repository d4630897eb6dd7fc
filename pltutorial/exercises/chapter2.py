"""Checks of the exercises of chapter 2, feature reconstruction."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .verdicts import answer_of, judge


def check_feature_shape(answer: Callable[[str, int, int], tuple[int, int, int]]) -> bool:
    """Check a function ``(layer, height, width) -> (C, H, W)`` against the network on sizes of its own.

    Taught in chapter 2.
    """
    from ..vgg import RELU_LAYERS, LossNetwork

    network = LossNetwork(precision="float32")
    for height, width in ((32, 48), (37, 61)):
        with torch.no_grad():
            features = network(torch.zeros(1, 3, height, width, device=network.mean.device), RELU_LAYERS)
        for layer, feature in features.items():
            given = answer_of(answer, layer, height, width)
            if given is None:
                return False
            right, given = (
                tuple(feature.shape[1:]),
                tuple(given) if isinstance(given, (tuple, list)) else given,
            )
            if given != right:
                asked = f"{layer} of a {width}x{height} picture has not the shape {given}"
                if not isinstance(given, tuple) or len(given) != 3:
                    return judge(False, "", f"{asked}; give three numbers, channels first.")
                if given[0] != right[0]:
                    hint = "the channels double from 64 with each block, but never beyond 512."
                elif (height, width) == (32, 48):
                    hint = "each pooling halves the height and the width, and there is none before block 1."
                else:
                    hint = "pooling drops an odd last row or column, so round down."
                return judge(False, "", f"{asked}: {hint}")
    return judge(True, "all 13 layers agree with the network, for even and for odd sizes.", "")


def check_receptive_field(answer: Callable[[str], int]) -> bool:
    """Check a function ``layer -> side in pixels`` of the receptive field for all 13 layers.

    The truth is found by tracing which pixels one value depends on, with kernels of ones.

    Taught in chapter 2.
    """
    from ..vgg import RELU_LAYERS

    for layer in RELU_LAYERS:
        given = answer_of(answer, layer)
        if given is None:
            return False
        right = _receptive_field(layer)
        if given != right:
            hint = "a 3x3 convolution adds two steps; a step is 1 pixel in block 1 and doubles with each pooling."
            if layer[4] == "1":
                hint = "one 3x3 convolution sees 3 pixels, and a second one on top sees 5."
            elif given == right - 2 ** (int(layer[4]) - 1) + 1:
                hint = "a 2x2 pooling widens the field as well, by one step of the block before it."
            return judge(False, "", f"{layer} does not see {given} pixels: {hint}")
    return judge(True, "all 13 layers see exactly as far as tracing their inputs says.", "")


def _receptive_field(layer: str) -> int:
    """Trace the first and last input position of one value back through the layers."""
    from ..vgg import RELU_LAYERS

    first = last = 0
    names = RELU_LAYERS[: RELU_LAYERS.index(layer) + 1]
    for name in reversed(names):
        first, last = first - 1, last + 1  # a 3x3 convolution
        if name.endswith("_1") and name != "relu1_1":
            first, last = 2 * first, 2 * last + 1  # the 2x2 pooling before a block
    return last - first + 1
