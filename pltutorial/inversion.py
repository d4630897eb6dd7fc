"""What is in a code: pictures drawn from it by a trained network, round after round, or from a part of it alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from .device import best_precision
from .errors import InputError, nearest
from .images import check_image
from .networks import ConvAutoencoder, InversionNet, code_shape
from .vgg import Encoder, LossNetwork

PLACES = ("position", "code")


def encode(
    image: torch.Tensor,
    layer: str,
    network: LossNetwork | Encoder,
    more: Sequence[str] | None = None,
):
    """The code of pictures at a layer of VGG-16, or of another encoder.

    Args:
        image: (N, 3, H, W) in [0, 1].
        layer: such as ``"relu4_3"``, or ``"pool4"``, the 2x2 maxima of the last layer of stage 4.
        network: a :class:`LossNetwork`, or an :class:`Encoder` with its own names of layers.
        more: further layers; their features come from the same pass.

    Returns:
        (N, C, h, w), in the precision computed in; with ``more`` also ``{layer: (N, C', h', w')}``.

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
        stage = layer[4]
        tap = layer if layer.startswith("relu") else f"relu{stage}_{2 if stage in '12' else 3}"
    features = network(image, tuple(dict.fromkeys((tap, *(more or ())))))
    code = features[tap]
    if tap != layer:
        if min(code.shape[-2:]) < 2:
            raise InputError(
                f"the picture has {image.shape[-1]}x{image.shape[-2]} pixels, but {layer} needs at least "
                f"{code_shape(layer)[1]} along each side; use a larger picture or a shallower layer"
            )
        code = F.max_pool2d(code, 2) if network.pooling == "max" else F.avg_pool2d(code, 2)
    return code if more is None else (code, {name: features[name] for name in more})


def invert(
    image: torch.Tensor,
    network: nn.Module | None = None,
    *,
    layer: str = "relu4_3",
    loss: str = "deepsim",
    encoder: LossNetwork | Encoder | None = None,
    change: Callable[[torch.Tensor], torch.Tensor] | None = None,
    precision: str = "auto",
) -> torch.Tensor:
    """What a trained network draws of the code of a picture: one pass to the code, one pass back.

    Args:
        image: (N, 3, H, W) in [0, 1]; a height or width that is no multiple of the code's stride is continued up to
            one, and cut off again.
        network: an :class:`InversionNet` of a layer of VGG-16, or a :class:`ConvAutoencoder`, which has its own
            encoder; left out, a network that ships.
        layer: for a network that ships: ``"relu3_3"`` or ``"relu4_3"``.
        loss: for a network that ships: ``"image"`` or ``"deepsim"``.
        encoder: a loss network to reuse, or the :class:`Encoder` whose layer the network inverts.
        change: is given the code (N, C, h, w) and returns what is to be drawn in its place, see
            :func:`keep_strongest`.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.

    Returns:
        (N, 3, H, W), float32, in [0, 1], on the network's device.

    Raises:
        InputError: no image, a network of another kind, or no network that ships for the layer or loss.

    Source: Dosovitskiy and Brox (2016), both papers.

    Example:
        >>> invert(torch.rand(1, 3, 32, 32), layer="relu3_3").shape
        torch.Size([1, 3, 32, 32])

    Taught in chapter 8.
    """
    return reencode(
        image,
        1,
        network,
        layer=layer,
        loss=loss,
        encoder=encoder,
        change=change,
        precision=precision,
    )[0]


def reencode(
    image: torch.Tensor,
    rounds: int,
    network: nn.Module | None = None,
    *,
    layer: str = "relu4_3",
    loss: str = "deepsim",
    encoder: LossNetwork | Encoder | None = None,
    change: Callable[[torch.Tensor], torch.Tensor] | None = None,
    precision: str = "auto",
) -> list[torch.Tensor]:
    """Iterative re-encoding: picture, code, picture, code, ... Each round starts from what the round before has drawn.

    A picture that lies where the generator draws hardly moves; what the generator adds of its own grows.

    Args:
        image: see :func:`invert`.
        rounds: how often, at least 1.
        network, layer, loss, encoder, change, precision: see :func:`invert`.

    Returns:
        the pictures of all rounds, the first one being that of :func:`invert`.

    Raises:
        InputError: as :func:`invert`, and fewer rounds than 1.

    Source: Dosovitskiy and Brox (2016), Generating Images with Perceptual Similarity Metrics, section 4.2.

    Taught in chapter 8.
    """
    check_image(image, "the picture")
    if rounds < 1:
        raise InputError(f"rounds={rounds} was given; give at least 1")
    if network is None:
        from .zoo import load_inverter

        network = load_inverter(layer, loss)
    if not isinstance(network, InversionNet | ConvAutoencoder):
        raise InputError(
            f"a {type(network).__name__} was given to draw pictures of codes; give an InversionNet or a ConvAutoencoder"
        )
    device = next(network.parameters()).device
    dtype = best_precision(device, precision)
    own = isinstance(network, ConvAutoencoder)
    if not own and encoder is None and "channels" in network.config:
        raise InputError(
            f"the network draws codes of {network.layer!r} of another encoder than VGG-16; give that one, encoder="
        )
    if not own and encoder is None:
        encoder = LossNetwork(device=device, precision=precision)
    drawer = network.generator if own else network
    images, image = [], image.to(device)
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        for _ in range(rounds):
            height, width = image.shape[-2:]
            by = (0, -width % drawer.stride, 0, -height % drawer.stride)
            whole = F.pad(image, by, mode="replicate") if any(by) else image
            code = network.encode(whole) if own else encode(whole, network.layer, encoder)
            code = code if change is None else change(code)
            image = drawer(code)[..., :height, :width].float().clamp(0, 1)
            images.append(image)
    return [image.clone() for image in images]  # outside of inference mode they are plain tensors


def keep_strongest(
    code: torch.Tensor, count: int, *, of: str = "position", complement: bool = False
) -> torch.Tensor:
    """A code with its largest activations alone, all others 0; or with all but these.

    Args:
        code: (N, C, h, w).
        count: how many are kept.
        of: ``"position"``: so many channels at each position; ``"code"``: so many activations of the whole code.
        complement: keep the others instead.

    Returns:
        (N, C, h, w).

    Raises:
        InputError: no code, or a count that is none of 0 ... the activations there are.

    The paper keeps the top five activations of a layer without positions; these are two answers for one that has them.
    Source: Dosovitskiy and Brox (2016), Inverting Visual Representations with Convolutional Networks, section 5.

    Taught in chapter 8.
    """
    if of not in PLACES:
        raise InputError(f"there is no {of!r} to choose from; {nearest(str(of), PLACES)}")
    if code.ndim != 4:
        raise InputError(f"a code of shape {tuple(code.shape)} was given; give (N, C, h, w)")
    rows = code.flatten(1) if of == "code" else code
    if not 0 <= count <= rows.shape[1]:
        raise InputError(
            f"count={count} was given; give a number from 0 to {rows.shape[1]}, the activations there are"
        )
    kept = torch.zeros_like(rows, dtype=torch.bool).scatter(1, rows.topk(count, dim=1).indices, True)
    return torch.where(kept ^ complement, rows, 0).view_as(code)
