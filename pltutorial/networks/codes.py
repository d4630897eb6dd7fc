"""Codes: what a layer of an encoder holds of a picture, and a part of it alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from ..errors import InputError, nearest
from ..tensors import check_dense
from ..vgg import RELU_LAYERS, Encoder, LossNetwork

PLACES = ("position", "code")
POOLED_LAYERS = tuple(f"pool{stage}" for stage in range(1, 6))
_CHANNELS = (64, 128, 256, 512, 512)  # of the five stages of VGG-16


def code_shape(layer: str) -> tuple[int, int]:
    """Channels of a VGG-16 code and how many pixels of the picture lie
    between its positions.

    Args:
        layer: a name such as ``"relu4_3"``, or ``"pool4"``, the 2x2 maxima of the
            last layer of stage 4.

    Raises:
        InputError: there is no such layer (with the nearest name).

    Example:
        >>> code_shape("relu3_3")  # channels and stride
        (256, 4)
        >>> code_shape("pool5")
        (512, 32)

    Taught in chapter 8.
    """
    if layer not in (*RELU_LAYERS, *POOLED_LAYERS):
        raise InputError(
            f"there is no code {layer!r}; "
            f"{nearest(layer, (*RELU_LAYERS, *POOLED_LAYERS))}"
        )
    stage = int(layer[4])
    halvings = stage if layer.startswith("pool") else stage - 1
    return _CHANNELS[stage - 1], 2**halvings


def encode(
    image: torch.Tensor,
    layer: str,
    network: LossNetwork | Encoder,
    more: Sequence[str] | None = None,
):
    """The code of pictures at a layer of VGG-16, or of another encoder.

    Args:
        image: (N, 3, H, W) in [0, 1].
        layer: such as ``"relu4_3"``, or ``"pool4"``, the 2x2 maxima of the
            last layer of stage 4.
        network: a :class:`LossNetwork`, or an :class:`Encoder` with its
            own names of layers.
        more: further layers; their features come from the same pass.

    Returns:
        (N, C, h, w), in the precision computed in; with ``more`` also
        ``{layer: (N, C', h', w')}``.

    Raises:
        InputError: an unknown layer, or a picture smaller than it needs.

    Example:
        >>> phi = LossNetwork(device="cpu")
        >>> encode(torch.rand(1, 3, 32, 48), "relu3_3", phi).shape
        torch.Size([1, 256, 8, 12])

    Taught in chapter 8.
    """
    tap = layer
    if isinstance(network, LossNetwork):
        code_shape(layer)
        if not layer.startswith("relu"):
            stage = layer[4]
            tap = f"relu{stage}_{2 if stage in '12' else 3}"
    features = network(image, tuple(dict.fromkeys((tap, *(more or ())))))
    code = features[tap]
    if tap != layer:
        if min(code.shape[-2:]) < 2:
            raise InputError(
                f"the picture has {image.shape[-1]}x{image.shape[-2]} pixels, but "
                f"{layer} needs at least {code_shape(layer)[1]} along each side; use "
                "a larger picture or a shallower layer"
            )
        pool = F.max_pool2d if network.pooling == "max" else F.avg_pool2d
        code = pool(code, 2)
    return code if more is None else (code, {name: features[name] for name in more})


def keep_strongest(
    code: torch.Tensor, count: int, *, of: str = "position", complement: bool = False
) -> torch.Tensor:
    """A code with its largest activations alone, all others 0; or with all but these.

    Args:
        code: (N, C, h, w).
        count: how many are kept.
        of: ``"position"``: so many channels at each position; ``"code"``: so many
            activations of the whole code.
        complement: keep the others instead.

    Returns:
        (N, C, h, w).

    Raises:
        InputError: no code, or a count that is none of 0 ... the activations there are.

    The paper keeps the top five activations of a layer without positions; these are two
    answers for one that has them.
    Source: Dosovitskiy and Brox (2016), Inverting Visual Representations with
    Convolutional Networks, section 5.

    Example:
        >>> code = torch.tensor([1.0, 3.0, 2.0]).view(1, 3, 1, 1)
        >>> keep_strongest(code, 1).flatten()
        tensor([0., 3., 0.])
        >>> keep_strongest(code, 1, complement=True).flatten()
        tensor([1., 0., 2.])

    Taught in chapter 8.
    """
    if of not in PLACES:
        raise InputError(
            f"there is no {of!r} to choose from; {nearest(str(of), PLACES)}"
        )
    check_dense(code, "the code")
    if code.ndim != 4:
        raise InputError(
            f"a code of shape {tuple(code.shape)} was given; give (N, C, h, w)"
        )
    rows = code.flatten(1) if of == "code" else code
    if not 0 <= count <= rows.shape[1]:
        raise InputError(
            f"count={count} was given; give a number from 0 to {rows.shape[1]}, the "
            "activations there are"
        )
    kept = torch.zeros_like(rows, dtype=torch.bool).scatter(
        1, rows.topk(count, dim=1).indices, True
    )
    return torch.where(kept ^ complement, rows, 0).view_as(code)
