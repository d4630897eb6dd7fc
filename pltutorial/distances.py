"""Distances in the features of a judge: between two pictures, between a picture and a
style, between two collections; and flicker, between the frames of a video.

Unlike :mod:`pltutorial.metrics` they do not round to 8 bits: they take whole batches,
compute where the pictures lie, and gradients flow to the output, so that each can be a
loss as well. Who trains with one shall not be judged by it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import nn

from .efficientnet import EfficientNetLite0
from .errors import InputError, nearest
from .images import check_image
from .losses import JOHNSON_STYLE, gram_matrix
from .metrics import check_pair
from .tensors import check_dense
from .vgg import LossNetwork

STYLE_KINDS = ("gram", "statistics", "sliced")
JUDGE_LAYERS = tuple(f"stage{n}" for n in range(1, 8))
_TINY = 1e-12
_PLACES = 2**15  # of a feature map that are sorted


@functools.lru_cache(maxsize=2)
def vgg_judge(device: torch.device) -> LossNetwork:
    """The loss network in float32, kept from call to call."""
    return LossNetwork(precision="float32", device=device)


@functools.lru_cache(maxsize=2)
def second_judge(device: torch.device) -> EfficientNetLite0:
    """EfficientNet-Lite0, kept from call to call."""
    return EfficientNetLite0(device=device)


# --- two pictures ---------------------------------------------------------------------


def layer_distances(
    output: torch.Tensor,
    target: torch.Tensor,
    layers: Iterable[str] | None = None,
    *,
    network: nn.Module | None = None,
) -> dict[str, torch.Tensor]:
    """How unlike two pictures are layer by layer: the squared difference of the
    features over the target's square.

    0 for equal pictures, 1 where nothing is left of what the target has there, about 2
    for a picture of something else.

    Args:
        output: (N, 3, H, W) in [0, 1].
        target: the picture itself, of the same shape.
        layers: of the network; Johnson's four of style if left out.
        network: a :class:`LossNetwork`, an :class:`Encoder` or an
            :class:`EfficientNetLite0`; VGG-16 in float32 if left out.

    Returns:
        (N,) for each layer, at least 0.

    Raises:
        InputError: no images, different shapes, an unknown layer.

    Source: Johnson et al. (2016), equation 2, over the target's own size.

    Example:
        >>> picture = torch.rand(1, 3, 32, 32)
        >>> values = layer_distances(0.9 * picture, picture, ["relu1_2", "relu3_3"])
        >>> {layer: bool(0 < value < 1) for layer, value in values.items()}
        {'relu1_2': True, 'relu3_3': True}
    """
    check_pair(output, target)
    network = vgg_judge(output.device) if network is None else network
    layers = tuple(JOHNSON_STYLE if layers is None else layers)
    made, right = network(output, layers), network(target.to(output), layers)
    return {layer: _relative(made[layer], right[layer]) for layer in layers}


def content_distance(
    output: torch.Tensor,
    target: torch.Tensor,
    *,
    network: EfficientNetLite0 | None = None,
) -> torch.Tensor:
    """How unlike two pictures are to the second judge: the mean of
    :func:`layer_distances` over the seven stages of EfficientNet-Lite0.

    Args:
        output: (N, 3, H, W) in [0, 1].
        target: the picture itself, of the same shape.
        network: the judge, if you have one already.

    Returns:
        (N,), at least 0; 0 for equal pictures.

    Raises:
        InputError: as for :func:`layer_distances`, and the judge's package is not
            installed.

    Example:
        >>> picture = read_image(bundled("content/pagoda"), 64)
        >>> content_distance(picture, picture)
        tensor([0.])
        >>> noisy = picture + 0.1 * torch.randn_like(picture)
        >>> bool(content_distance(noisy.clamp(0, 1), picture) > 0.01)
        True

    Taught in chapter 6.
    """
    check_pair(output, target)
    network = second_judge(output.device) if network is None else network
    values = layer_distances(output, target, JUDGE_LAYERS, network=network)
    return torch.stack(list(values.values())).mean(0)


def style_distance(
    output: torch.Tensor,
    style: torch.Tensor,
    kind: str = "gram",
    *,
    layers: Iterable[str] | None = None,
    network: nn.Module | None = None,
    directions: int = 64,
    seed: int = 0,
) -> torch.Tensor:
    """How unlike the style of two pictures is, whatever they show: each layer over its
    target's size, and their mean, so that no layer is mute.

    ``gram``: squared difference of the Gram matrices over the target's square;
    ``statistics``: of the means and standard deviations of the channels;
    ``sliced``: of the sorted features along random directions, which is the squared
    2-Wasserstein distance of their distributions, sliced: of all their moments, at
    32,768 random places where a layer has more.

    Args:
        output: (N, 3, H, W) in [0, 1].
        style: (1 or N, 3, H', W'), of any size.
        kind: one of the three.
        layers: of the network; Johnson's four, or the stages 1 to 5 of
            :class:`EfficientNetLite0`, if left out.
        network: VGG-16 in float32 if left out. A network that was trained by VGG's
            Gram matrices is better judged by another.
        directions: how many of ``sliced``.
        seed: they are drawn from it.

    Returns:
        (N,), at least 0; 0 for equal pictures.

    Raises:
        InputError: no images, an unknown kind or layer, numbers that do not fit.

    Source: Gatys et al. (2016), equation 4; Huang and Belongie (2017), equation 13;
    Heitz et al. (2021), A sliced Wasserstein loss for neural texture synthesis.

    Example:
        >>> picture = torch.rand(1, 3, 32, 32)
        >>> bool(style_distance(picture.flip(-1), picture) < 0.1)  # mirrored
        True
    """
    return style_distances(
        output,
        style,
        (kind,),
        layers=layers,
        network=network,
        directions=directions,
        seed=seed,
    )[kind]


def style_distances(
    output: torch.Tensor,
    style: torch.Tensor,
    kinds: Iterable[str] = STYLE_KINDS,
    *,
    layers: Iterable[str] | None = None,
    network: nn.Module | None = None,
    directions: int = 64,
    seed: int = 0,
) -> dict[str, torch.Tensor]:
    """Several of :func:`style_distance` from one look at the pictures, by kind.

    Example:
        >>> print_, painting = torch.rand(2, 3, 64, 64), torch.rand(1, 3, 64, 64)
        >>> distances = style_distances(print_, painting, ("gram", "statistics"))
        >>> {kind: tuple(values.shape) for kind, values in distances.items()}
        {'gram': (2,), 'statistics': (2,)}
    """
    for kind in kinds:
        if kind not in STYLE_KINDS:
            raise InputError(
                f"there is no style distance {kind!r}; "
                f"{nearest(str(kind), STYLE_KINDS)}"
            )
    check_image(output, "the output", slack=0.5)
    check_image(style, "the style", slack=0.5)
    if len(style) not in (1, len(output)):
        raise InputError(
            f"{len(style)} styles were given for {len(output)} outputs; give one, or "
            "one for each"
        )
    network = vgg_judge(output.device) if network is None else network
    if layers is None:
        own = isinstance(network, EfficientNetLite0)
        layers = JUDGE_LAYERS[:5] if own else JOHNSON_STYLE
    layers = tuple(layers)
    made, right = network(output, layers), network(style.to(output), layers)
    values = {kind: torch.zeros(len(output)).to(made[layers[0]]) for kind in kinds}
    for layer in layers:
        one, other = made[layer], right[layer]
        for kind in kinds:
            if kind == "gram":
                value = _relative(gram_matrix(one), gram_matrix(other))
            elif kind == "statistics":
                value = _relative(_statistics(one), _statistics(other))
            else:
                value = _sliced(one, other, directions, seed)
            values[kind] = values[kind] + value / len(layers)
    return values


def _relative(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """(N,): the squared difference over the other's square, picture by picture."""
    one, other = one.flatten(1), other.flatten(1)
    return (one - other).square().sum(1) / other.square().sum(1).clamp_min(_TINY)


def _statistics(features: torch.Tensor) -> torch.Tensor:
    """(N, 2 C): mean and standard deviation of each channel."""
    variance = features.var((2, 3), correction=0)
    return torch.cat([features.mean((2, 3)), (variance + _TINY).sqrt()], 1)


def _sliced(
    made: torch.Tensor, right: torch.Tensor, directions: int, seed: int
) -> torch.Tensor:
    """Sorted projections compared place by place; the target's are stretched to as
    many.
    """
    along = torch.randn(directions, made.shape[1], generator=_generator(seed)).to(made)
    along = F.normalize(along, dim=1)
    one, other = (
        (along @ _some(x.flatten(2), seed)).sort(-1).values for x in (made, right)
    )
    if other.shape[-1] != one.shape[-1]:
        count = one.shape[-1]
        other = F.interpolate(other, count, mode="linear", align_corners=True)
    return _relative(one, other)


def _some(features: torch.Tensor, seed: int) -> torch.Tensor:
    """Features (N, C, P) at so many places at most that sorting takes no longer than
    the network.
    """
    count = features.shape[-1]
    if count <= _PLACES:
        return features
    places = torch.randperm(count, generator=_generator(seed))[:_PLACES]
    return features[..., places.to(features.device)]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- two collections ------------------------------------------------------------------


def frechet_distance(features: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Fréchet distance of two collections, each seen as a Gaussian in the features of
    a judge.

    ``|m - n|^2 + tr(C + D - 2 (C D)^(1/2))`` for means m, n and covariances C, D. With
    Inception's features it is the FID; with those of another judge, such as
    ``EfficientNetLite0()(images)["pooled"]``, its numbers compare among themselves
    alone. Few pictures make it larger: compare collections of equal numbers, or take
    :func:`kernel_distance`.

    Args:
        features: (N, D), one row a picture, N at least 2.
        reference: (M, D), M at least 2.

    Returns:
        a scalar in float64, at least 0 but for rounding. No root of a matrix is taken:
        tr (C D)^(1/2) is the sum of the singular values of the centred features'
        product, for fewer pictures than features, too.

    Raises:
        InputError: other shapes, or fewer than two rows.

    Source: Heusel et al. (2017), GANs trained by a two time-scale update rule converge
    to a local Nash equilibrium, equation 6.

    Example:
        >>> near = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        >>> frechet_distance(near + 3.0, near)  # shifted by (3, 3)
        tensor(18.0000, dtype=torch.float64)
    """
    one, other = _collections(features, reference)
    mean, centre = one.mean(0), other.mean(0)
    a, b = ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (one, other))
    traces = a.square().sum() + b.square().sum()
    # of many pictures, a triangle that has the same covariance
    a, b = (torch.linalg.qr(x).R if len(x) > x.shape[1] else x for x in (a, b))
    common = torch.linalg.svdvals(a @ b.T).sum()
    return (mean - centre).square().sum() + traces - 2 * common


def kernel_distance(features: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Kernel distance of two collections: the unbiased squared maximum mean discrepancy
    under the kernel (x y / D + 1)^3.

    With Inception's features it is the KID. Its expectation does not depend on the
    number of pictures, so it suits small collections; it can fall below 0.

    Args:
        features: (N, D), one row a picture, N at least 2.
        reference: (M, D), M at least 2.

    Returns:
        a scalar in float64, about 0 for two draws from one distribution.

    Raises:
        InputError: other shapes, or fewer than two rows.

    Source: Bińkowski et al. (2018), Demystifying MMD GANs, section 4.

    Example:
        >>> features = torch.randn(40, 8)
        >>> near = kernel_distance(features, torch.randn(40, 8))
        >>> far = kernel_distance(features, 3 + torch.randn(40, 8))
        >>> bool(near.abs() < far / 10)
        True
    """
    one, other = _collections(features, reference)

    def kernel(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: torch.Tensor) -> torch.Tensor:
        pairs = kernel(x, x)
        return (pairs.sum() - pairs.diagonal().sum()) / (len(x) * (len(x) - 1))

    return within(one) + within(other) - 2 * kernel(one, other).mean()


def precision_recall(
    features: torch.Tensor, reference: torch.Tensor, neighbours: int = 3
) -> tuple[float, float]:
    """How much of one collection lies where another does, and how much of the other is
    reached.

    A collection's place are balls around its members, each up to its
    ``neighbours``-th nearest one. Precision is the share of ``features`` within the
    reference's place, which asks whether samples are like real ones; recall the share
    of the reference within that of the features, which asks whether all kinds occur.

    Args:
        features: (N, D), of the samples, more than ``neighbours``.
        reference: (M, D), of real pictures, more than ``neighbours``.
        neighbours: the paper's 3.

    Returns:
        precision and recall in [0, 1]; counted, so without gradients.

    Raises:
        InputError: other shapes, or too few rows.

    Source: Kynkäänniemi et al. (2019), Improved precision and recall metric for
    assessing generative models, equations 1 to 3.

    Example:
        >>> line = torch.arange(10.0).view(-1, 1)
        >>> precision_recall(line[:5], line)  # half of it, and all of that real
        (1.0, 0.8)
    """
    one, other = _collections(features, reference, neighbours + 1)

    def inside(points: torch.Tensor, place: torch.Tensor) -> float:
        # the nearest of each is itself
        radius = torch.cdist(place, place).kthvalue(neighbours + 1, 1).values
        return float((torch.cdist(points, place) <= radius).any(1).double().mean())

    with torch.no_grad():
        return inside(one, other), inside(other, one)


def art_distance(
    content: torch.Tensor, output: torch.Tensor, style: torch.Tensor
) -> torch.Tensor:
    """One number for a stylised collection, after ArtFID: (1 + content) (1 + style).

    Content is the mean distance to the photographs, style the Fréchet distance to
    paintings. ArtFID takes LPIPS and an Inception trained on paintings, so its numbers
    are others: this one compares methods on the same pictures.

    Args:
        content: (N,), such as :func:`content_distance` of prints and photographs.
        output: (N, D), features of the prints, as for :func:`frechet_distance`.
        style: (M, D), those of the paintings.

    Returns:
        a scalar, at least 1.

    Raises:
        InputError: as for :func:`frechet_distance`.

    Source: Wright and Ommer (2022), ArtFID: quantitative evaluation of neural style
    transfer, equation 3.

    Example:
        >>> output, style = torch.randn(40, 8), 3 + torch.randn(50, 8)
        >>> content = torch.full((40,), 0.5)
        >>> near = art_distance(content, style[:40], style)
        >>> bool(near < art_distance(content, output, style))
        True
    """
    check_dense(content, "the distance of content", values=True)
    return (1 + content.mean()) * (1 + frechet_distance(output, style))


def _collections(
    features: torch.Tensor, reference: torch.Tensor, least: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    for given in (features, reference):
        check_dense(given, "the collection", floating=False, values=True)
        finite = True
        with contextlib.suppress(RuntimeError):  # torch.func.vmap cannot say
            finite = bool(given.isfinite().all())
        if not finite:
            raise InputError(
                "the collection has NaN or infinite values; give features of pictures, "
                "such as those of judged_features"
            )
    shapes = [tuple(x.shape) for x in (features, reference)]
    if not all(len(shape) == 2 and shape[0] >= least for shape in shapes) or (
        shapes[0][1] != shapes[1][1]
    ):
        raise InputError(
            f"features of shapes {shapes[0]} and {shapes[1]} were given; give (N, D) "
            f"and (M, D), one row a picture and at least {least} of each"
        )
    if features.device.type == "mps":  # it has no float64
        features = features.cpu()
    return features.double(), reference.to(features.device).double()


# --- frames ---------------------------------------------------------------------------


def warp_error(
    frames: torch.Tensor,
    flow: torch.Tensor | None = None,
    visible: torch.Tensor | None = None,
) -> torch.Tensor:
    """How much a video flickers: the mean squared difference of each frame and the
    one before, moved along the flow.

    It estimates no flow. Give that of the *source* video; without one every point is
    taken to stand still, which holds for a fixed camera alone: what moves then counts
    as flicker, so set it beside the same error of the source. A still picture has 0,
    whatever it shows, and a blur lowers it.

    Args:
        frames: (T, 3, H, W) in [0, 1], T at least 2.
        flow: (T - 1, 2, H, W): how far to the right and down, in pixels, the point
            lies in frame t that is seen at each place of frame t + 1. None for zero.
        visible: (T - 1, 1, H, W) in [0, 1], 0 for places that frame t does not show;
            places that it has outside its borders are left out by themselves.

    Returns:
        (T - 1,), at least 0; a mean over the visible places.

    Raises:
        InputError: no images, fewer than two, or a flow of another shape.

    Source: Lai et al. (2018), Learning blind video temporal consistency, section 4.2.

    Example:
        >>> frames = torch.rand(1, 3, 8, 8).expand(3, -1, -1, -1)
        >>> warp_error(frames)
        tensor([0., 0.])
    """
    check_image(frames, "the frames", slack=0.5)
    count, _, height, width = frames.shape
    if count < 2:
        raise InputError("one frame was given to measure flicker; give at least two")
    for name, given, channels in (("flow", flow, 2), ("mask", visible, 1)):
        shape = (count - 1, channels, height, width)
        if given is not None:
            check_dense(given, f"the {name}", floating=False, values=True)
        if given is not None and given.shape != shape:
            raise InputError(
                f"a {name} of shape {tuple(given.shape)} was given for {count} frames; "
                f"give {shape}"
            )
    before, after = frames[:-1], frames[1:]
    weight = before.new_ones(count - 1, 1, height, width)
    if flow is not None:
        flow = flow.to(before)
        x = torch.arange(width).to(before) + flow[:, 0]
        y = torch.arange(height).to(before).view(-1, 1) + flow[:, 1]
        inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        weight = weight * inside[:, None]
        place = torch.stack(
            [2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], -1
        )
        before = F.grid_sample(before, place, align_corners=True)
    if visible is not None:
        weight = weight * visible.to(weight)
    error = (weight * (after - before).square()).mean(1).sum((1, 2))
    return error / weight.sum((1, 2, 3)).clamp_min(_TINY)
