"""Checks of the exercises of chapter 2, feature reconstruction."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import nn
from torch.nn import functional

from .verdicts import (
    alike,
    answer_of,
    exercise,
    fresh_draw,
    judge,
    shape_or_type,
)


@exercise(
    chapter=2,
    label="ex-features-shape",
    second=(
        "read the block from the name, count the poolings before it, and halve that "
        "often with //; the channels are 64, 128, 256, 512 and 512."
    ),
)
def check_feature_shape(
    answer: Callable[[str, int, int], tuple[int, int, int]],
) -> bool:
    """Check a function ``(layer, height, width) -> (C, H, W)`` against the network
    on sizes of its own.

    Taught in chapter 2.
    """
    from ...vgg import RELU_LAYERS, LossNetwork

    network = LossNetwork(precision="float32")
    draw = fresh_draw()
    even = [
        16 * int(torch.randint(2, 4, (), generator=draw)),
        16 * int(torch.randint(4, 6, (), generator=draw)),
    ]
    odd = [
        31 + 16 * int(torch.randint(0, 2, (), generator=draw)),
        49 + 2 * int(torch.randint(0, 8, (), generator=draw)),
    ]
    for height, width in (even, odd):
        with torch.no_grad():
            features = network(
                torch.zeros(1, 3, height, width, device=network.mean.device),
                RELU_LAYERS,
            )
        for layer, feature in features.items():
            given = answer_of(answer, layer, height, width)
            if given is None:
                return False
            given = given.tolist() if isinstance(given, torch.Tensor) else given
            given = tuple(given) if isinstance(given, (tuple, list)) else given
            right = tuple(feature.shape[1:])
            if given != right:
                asked = (
                    f"{layer} of a picture that is {height} high and {width} wide has "
                    f"not the shape {given}"
                )
                if not isinstance(given, tuple) or len(given) != 3:
                    return judge(
                        False, "", f"{asked}; give three numbers, channels first."
                    )
                if given[0] != right[0]:
                    hint = (
                        "the channels double from 64 with each block, "
                        "but never beyond 512."
                    )
                elif given[1:] == right[:0:-1]:
                    hint = "height comes before width."
                elif [height, width] == even:
                    hint = (
                        "each pooling halves the height and the width, and there is "
                        "none before block 1."
                    )
                else:
                    hint = "pooling drops an odd last row or column, so round down."
                return judge(False, "", f"{asked}: {hint}")
    return judge(
        True, "all 13 layers agree with the network, for even and for odd sizes.", ""
    )


@exercise(
    chapter=2,
    label="ex-features-field",
    seconds=30,  # a field may be measured, by the gradient of a network
    second=(
        "carry two numbers through the layers, the side (1 at first) and the step (1 "
        "at first): a convolution adds 2 steps to the side; a pooling adds 1 step to "
        "the side and then doubles the step."
    ),
)
def check_receptive_field(answer: Callable[[str], int]) -> bool:
    """Check a function ``layer -> side in pixels`` of the receptive field
    for all 13 layers.

    The truth is found by tracing which pixels one value depends on,
    with kernels of ones.

    Taught in chapter 2.
    """
    from ...vgg import RELU_LAYERS

    for layer in RELU_LAYERS:
        given = answer_of(answer, layer)
        if given is None:
            return False
        right = _receptive_field(layer)
        if given != right:
            hint = (
                "a 3x3 convolution adds two steps; a step is 1 pixel in block 1 and "
                "doubles with each pooling."
            )
            if layer[4] == "1":
                hint = (
                    "one 3x3 convolution sees 3 pixels, and a second one on top sees 5."
                )
            elif given == right - 2 ** (int(layer[4]) - 1) + 1:
                hint = (
                    "a 2x2 pooling widens the field as well, by one step of "
                    "the block before it."
                )
            elif isinstance(given, int) and given == (right + 1) // 2:
                hint = (
                    "that is how far it sees to one side, the middle included; the "
                    "whole side was asked for."
                )
            elif given == right + 2 ** (int(layer[4]) - 2):
                hint = (
                    "a pooling adds one step of the block before it; it doubles the "
                    "step only afterwards."
                )
            return judge(False, "", f"{layer} does not see {given} pixels: {hint}")
    return judge(
        True, "all 13 layers see exactly as far as tracing their inputs says.", ""
    )


def _receptive_field(layer: str) -> int:
    """Trace the first and last input position of one value back through the layers."""
    from ...vgg import RELU_LAYERS

    first = last = 0
    names = RELU_LAYERS[: RELU_LAYERS.index(layer) + 1]
    for name in reversed(names):
        first, last = first - 1, last + 1  # a 3x3 convolution
        if name.endswith("_1") and name != "relu1_1":
            first, last = 2 * first, 2 * last + 1  # the 2x2 pooling before a block
    return last - first + 1


@exercise(
    chapter=2,
    label="ex-features-tap",
    second=(
        "print the tap's smallest value at once and again at the end; print "
        "encoder.training; print target.grad after backward(); and give it the same "
        "picture three times."
    ),
)
def check_tap_loss(
    answer: Callable[[nn.Sequential, torch.Tensor, torch.Tensor, int], torch.Tensor],
) -> bool:
    """Check ``answer(encoder, output, target, index)``: the feature loss at one module
    of an ``nn.Sequential``.

    It is a mean over the pictures of Johnson's feature reconstruction loss at what
    module ``index`` gives, before the following module touches it and with the encoder
    in evaluation mode; its gradient reaches ``output`` and nothing else. The encoder's
    parameters are frozen. Tried on small networks of its own.

    Taught in chapter 2.
    """
    draw = fresh_draw()
    width = int(torch.randint(4, 8, (), generator=draw))
    # what is tried: the modules after the first convolution, the tap, the
    # number of pictures
    trials = {
        "plain": ([nn.Tanh()], 1, 1),
        "in place": ([nn.ReLU(inplace=True)], 0, 1),
        "batch": ([nn.Tanh(), nn.Conv2d(width, 3, 3)], 2, 3),
        "training": (
            [nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.AvgPool2d(2)],
            3,
            2,
        ),
        "dropout": ([nn.Dropout(0.5), nn.ReLU(inplace=True)], 1, 1),
    }
    for name, (modules, index, count) in trials.items():
        encoder = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), *modules)
        agree = True
        while agree:  # until no usual mistake gives the right number by chance
            _draw_weights(encoder, draw)
            output, target = torch.rand((2, count, 3, 6, 7), generator=draw)
            right, gradient = _tap_loss(encoder, output, target, index)
            mistakes = _usual_mistakes(name, encoder, output, target, index)
            agree = any(
                abs(float(one) - float(right)) < 0.1 * float(right) for one in mistakes
            )
        output, target = (
            output.clone().requires_grad_(),
            target.clone().requires_grad_(),
        )
        value = answer_of(answer, encoder.train(), output, target, index)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            got = shape_or_type(value)
            return judge(
                False,
                "",
                "return one number as a tensor, to call backward() "
                f"on; yours is {got}.",
            )
        if not alike(value.reshape(()), right):
            return judge(False, "", _TAP_HINTS[name])
        if not value.requires_grad:
            hint = (
                "the number is right, but no gradient leads back to the output: "
                "what switches it off?"
            )
            return judge(False, "", hint)
        value.backward()
        if target.grad is not None and target.grad.abs().max() > 0:
            hint = (
                "the gradient reaches the target as well: a target stands still, "
                "and so needs no graph."
            )
            return judge(False, "", hint)
        # in bfloat16 a ReLU may switch at single pixels, so the gradients are
        # compared as a whole
        if (
            output.grad is None
            or not (output.grad - gradient).norm() < 0.5 * gradient.norm()
        ):
            return judge(
                False,
                "",
                "the number is right, but its gradient with respect "
                "to the output is not.",
            )
    return judge(
        True,
        "the tap holds what its name says, and only the output feels the loss.",
        "",
    )


_TAP_HINTS = {
    "plain": (
        "for one picture and a network without any traps it is not the mean squared "
        "difference at the tap."
    ),
    "in place": (
        "the tap has no negative values any more: a later module "
        "writes over what was kept."
    ),
    "batch": (
        "with one picture it is right, with three it is not: a mean over "
        "the pictures is meant."
    ),
    "training": (
        "the value of a picture depends on what else is in its batch: in which "
        "mode is the encoder?"
    ),
    "dropout": (
        "the same pictures have another loss each time: in which mode is the encoder?"
    ),
}


def _usual_mistakes(
    name: str,
    encoder: nn.Sequential,
    output: torch.Tensor,
    target: torch.Tensor,
    index: int,
) -> list[torch.Tensor]:
    """What pixels, another tap and the training mode would give, in the trials whose
    hint must tell them apart.
    """
    if name == "plain":
        return [
            functional.mse_loss(output, target),
            _tap_loss(encoder, output, target, 0)[0],
        ]
    if name == "training":
        batched = deepcopy(encoder).train()[: index + 1]
        return [functional.mse_loss(batched(output), batched(target))]
    return []


def _draw_weights(encoder: nn.Sequential, draw: torch.Generator) -> None:
    """Fresh weights, and batch statistics that no batch has; all frozen."""
    encoder.requires_grad_(False)
    for name, tensor in encoder.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(0.5 * torch.randn(tensor.shape, generator=draw))
            if name.endswith("running_var"):
                # far from any batch
                tensor.copy_(0.02 + 0.03 * torch.rand(tensor.shape, generator=draw))


def _tap_loss(
    encoder: nn.Sequential, output: torch.Tensor, target: torch.Tensor, index: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss and its gradient, from the modules one by one on copies."""
    encoder.eval()
    output = output.clone().requires_grad_()
    features = []
    for picture in (output, target):
        feature = picture
        for module in encoder[: index + 1]:
            feature = module(feature.clone())
        features.append(feature)
    loss = (features[0] - features[1]).square().mean()
    (gradient,) = torch.autograd.grad(loss, output)
    return loss.detach(), gradient
