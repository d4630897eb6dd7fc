"""Any painting as a style, in one pass: a photograph's code gets the statistics of a
painting's, and a decoder draws the result. Nothing is trained on a style.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..deferred import deferred_imports
from ..errors import InputError, nearest

with deferred_imports():
    import torch
    from torch import nn
    from torch.nn import functional as F

    from .. import memory
    from ..color import match_color
    from ..device import best_device, is_out_of_memory
    from ..images import check_image, resize
    from ..tensors import check_dense
    from ..vgg import LossNetwork
    from ..zoo import load_decoder
    from .style import _too_large, at_stroke, check_options, finished

STATISTICS = ("covariance", "deviation")
LAYERS = ("relu4_3", "relu3_3")
SMALLEST = 8  # pixels along each side
_SMALL = 1e-5  # of the largest eigenvalue: a direction that a code does not use


def match_statistics(
    code: torch.Tensor, style: torch.Tensor, statistics: str = "covariance"
) -> torch.Tensor:
    """A code with the mean and the covariance of another over all positions.

    With F the code's positions less their mean, (C, positions), and S_f, S_s the two
    covariances: ``S_s^(1/2) S_f^(-1/2) F`` plus the style's mean, which is whitening
    and colouring. ``deviation`` looks at each channel alone, which is adaptive instance
    normalisation: (f - mean_f) / deviation_f * deviation_s + mean_s.

    Args:
        code: (1, C, h, w), features of a photograph.
        style: (1, C, h', w') of the same layer, of any size.
        statistics: ``"covariance"`` or ``"deviation"``.

    Returns:
        (1, C, h, w), float32.

    Raises:
        InputError: unknown statistics, more codes than one, or other channels.

    Source: Li et al. (2017), Universal Style Transfer via Feature Transforms, equations
    2 and 3; Huang and Belongie (2017), equation 8.

    Example:
        >>> code, style = torch.rand(1, 8, 6, 6), 3 * torch.rand(1, 8, 9, 9) - 1
        >>> moved = match_statistics(code, style)
        >>> torch.allclose(moved.mean((2, 3)), style.mean((2, 3)), atol=1e-4)
        True

    Taught in chapter 5.
    """
    if statistics not in STATISTICS:
        raise InputError(
            f"there are no statistics {statistics!r}; "
            f"{nearest(str(statistics), STATISTICS)}"
        )
    check_dense(code, "the code", values=True)
    check_dense(style, "the style's code", values=True)
    if (
        code.ndim != 4
        or style.ndim != 4
        or 0 in (*code.shape, *style.shape)
        or (code.shape[:2] != style.shape[:2] or len(code) > 1)
    ):
        raise InputError(
            f"codes of shape {tuple(code.shape)} and {tuple(style.shape)} were given; "
            "give one of each, (1, C, h, w), with the same channels"
        )
    # double precision, which some devices lack
    own, other = (given[0].flatten(1).double().cpu() for given in (code, style))
    mean, goal = own.mean(1, keepdim=True), other.mean(1, keepdim=True)
    own, other = own - mean, other - goal
    if statistics == "deviation":
        spread = own.square().mean(1, keepdim=True).sqrt().clamp_min(_SMALL)
        moved = own / spread * other.square().mean(1, keepdim=True).sqrt() + goal
    else:
        whiten = _power(own @ own.T / own.shape[1], -0.5)
        color = _power(other @ other.T / other.shape[1], 0.5)
        moved = color @ (whiten @ own) + goal
    return moved.view_as(code).to(code.device, torch.float32)


@dataclass(frozen=True)
class Painting:
    """What :func:`restyle` needs of a painting, computed once for many pictures.

    Example:
        >>> painting = prepared(torch.rand(1, 3, 64, 64), device="cpu")
        >>> isinstance(painting, Painting)
        True
        >>> {layer: tuple(code.shape) for layer, code in sorted(painting.codes.items())}
        {'relu3_3': (1, 256, 16, 16), 'relu4_3': (1, 512, 8, 8)}
    """

    picture: torch.Tensor
    network: LossNetwork
    decoders: Mapping[str, nn.Module]
    codes: Mapping[str, torch.Tensor]


def prepared(
    style: torch.Tensor,
    style_size: int | None = 512,
    precision: str = "auto",
    device: str | torch.device | None = None,
) -> Painting:
    """A painting's codes and the networks, for :func:`restyle`, whose arguments these
    are.

    Raises:
        InputError: no painting, or one that does not fit into memory.

    Example:
        >>> painting = prepared(torch.rand(1, 3, 64, 64), device="cpu")
        >>> pictures = torch.rand(2, 1, 3, 32, 48)
        >>> [tuple(restyle(picture, painting).shape) for picture in pictures]
        [(1, 3, 32, 48), (1, 3, 32, 48)]
    """
    _check_painting(style)
    if style_size is not None and style_size < max(style.shape[-2:]):
        style = resize(style, style_size)
    device = best_device(device)
    _check_memory(style.shape, device)
    network = LossNetwork(device=device, precision=precision)
    style = style.to(device)
    with torch.inference_mode():
        codes = {layer: network(style, (layer,))[layer] for layer in LAYERS}
    decoders = {layer: load_decoder(layer, device) for layer in LAYERS}
    return Painting(style, network, decoders, codes)


def restyle(
    image: torch.Tensor,
    style: torch.Tensor | Painting,
    *,
    statistics: str = "covariance",
    share: float = 0.6,
    strength: float = 1.0,
    preserve_color: str | None = None,
    stroke: float = 1.0,
    size: int | tuple[int, int] | None = None,
    style_size: int | None = 512,
    precision: str = "auto",
    device: str | torch.device | None = None,
) -> torch.Tensor:
    """Give a picture the style of any painting in one pass; no network has seen it.

    The code of the picture at relu4_3 of VGG-16 takes on the statistics of the
    painting's code, a decoder draws it, and the same happens at relu3_3 to what was
    drawn. The decoders are inverters like those of :func:`invert`. At the beginning and
    at the end the colours get the painting's mean and covariance: each decoder pales
    them a little.

    Args:
        image: (N, 3, H, W) in [0, 1], at least 8 pixels along each side.
        style: the painting, (1, 3, H', W') in [0, 1], or what :func:`prepared` made of
            it, once for many pictures; ``style_size``, ``precision`` and ``device``
            are its own then.
        statistics: see :func:`match_statistics`.
        share: of the painting's statistics in each code, from 0 to 1; the rest stays
            the picture's (Li et al. 2017, equation 4, whose alpha is 0.6 as well).
        strength: from 0, the picture itself, to 1; pixels are mixed.
        preserve_color: as in :func:`stylize`.
        stroke: as in :func:`stylize`.
        size: longer side, or (height, width), to which the picture is resized first.
        style_size: longer side of the painting in pixels; larger paintings are shrunk.
            Strokes become larger with it, up to the painting's own pixels; beyond these
            ``stroke`` goes on. None keeps its size.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        device: where to compute; None takes the best there is.

    Returns:
        (N, 3, H, W), float32, in [0, 1], on the device of ``image``.

    Raises:
        InputError: no image or painting, numbers outside [0, 1], or a picture that does
            not fit into memory.

    Source: Li et al. (2017), Universal Style Transfer via Feature Transforms.

    Example:
        >>> picture, painting = torch.rand(1, 3, 32, 48), torch.rand(1, 3, 64, 64)
        >>> restyle(picture, painting, device="cpu").shape
        torch.Size([1, 3, 32, 48])

    Taught in chapter 5.
    """
    check_options(strength, preserve_color, stroke)
    if not 0 <= share <= 1:
        raise InputError(f"share={share} was given; give a number from 0 to 1")
    check_image(image, "the picture", slack=0.5)
    is_ready = isinstance(style, Painting)
    if not is_ready:
        _check_painting(style)
    source = image.clamp(0, 1) if size is None else resize(image, size)
    device = style.picture.device if is_ready else best_device(device)
    seen = at_stroke(source, stroke, SMALLEST)
    _check_memory(seen.shape, device)
    done = []
    height, width = seen.shape[-2:]
    by = (0, -width % 8, 0, -height % 8)  # whole positions of the code
    try:
        if not is_ready:
            style = prepared(style, style_size, precision, device)
        with torch.inference_mode():
            for one in seen.to(device).split(1):
                drawn = F.pad(match_color(one, style.picture), by, mode="replicate")
                for layer, decoder in style.decoders.items():
                    code = style.network(drawn, (layer,))[layer].float()
                    moved = match_statistics(code, style.codes[layer], statistics)
                    drawn = decoder(torch.lerp(code, moved, share)).float().clamp(0, 1)
                done.append(match_color(drawn[..., :height, :width], style.picture))
    except (MemoryError, RuntimeError) as problem:
        if not is_out_of_memory(problem):
            raise
        raise InputError(_too_large(seen.shape)) from problem
    output = torch.cat(done).to(image.device)
    if stroke != 1:
        output = resize(output, tuple(source.shape[-2:]))
    return finished(output, source, strength, preserve_color)


def _check_painting(style: torch.Tensor) -> None:
    check_image(style, "the painting")
    if len(style) > 1:
        raise InputError(f"{len(style)} paintings were given; give one, (1, 3, H, W)")


def memory_needed(shape: tuple[int, ...]) -> int:
    """Bytes that a picture or a painting takes at the peak of a pass, networks
    included, measured from 512 to 4096 pixels; one goes through at a time.
    """
    return 200_000_000 + 600 * shape[-2] * shape[-1]


def _check_memory(shape: tuple[int, ...], device: torch.device) -> None:
    needed, room = memory_needed(shape), memory.free(device)
    if needed > room:
        raise InputError(_too_large(shape, room, needed))


def _power(matrix: torch.Tensor, exponent: float) -> torch.Tensor:
    """Of a covariance, in the directions that are used."""
    if not matrix.isfinite().all():
        raise InputError("a code holds NaN or infinite values; give finite features")
    values, vectors = torch.linalg.eigh(matrix)
    used = values > _SMALL * values[-1].clamp_min(_SMALL)
    return (vectors[:, used] * values[used] ** exponent) @ vectors[:, used].T
