"""The single losses: pixel, feature, style, total variation, lattices.

Symbols are the papers': the loss network phi, the output y-hat, the content target y_c,
the style target y_s. All sums are taken in float32 (float64 for float64 input) whatever
precision the features have.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
import torch.nn.functional as F

from .errors import InputError, nearest
from .fixed import autocast_off
from .tensors import check_dense, check_together
from .terms import LossTerms as LossTerms
from .terms import Record as Record

NORMALIZATIONS = ("johnson", "gatys", "mean", "relative")
REDUCTIONS = ("mean", "sum", "none", "map")
_SILENT = 1e-30  # a target whose mean square is below it counts as so loud
_FLAT = 1 / 255**2  # a target whose variance is below it counts as so varied
JOHNSON_CONTENT = {"relu3_3": 1.0}
JOHNSON_STYLE = {"relu1_2": 1.0, "relu2_2": 1.0, "relu3_3": 1.0, "relu4_3": 1.0}
_CHUNK = 8192  # positions summed at a time by a Gram matrix


# The older import path of what lies in files of its own, above this one, now.
_MOVED = dict.fromkeys(("PerceptualLoss", "ContentTarget", "StyleTarget"), "perceptual")


def __getattr__(name: str) -> Any:
    if name in _MOVED:
        return getattr(importlib.import_module(f"{__package__}.{_MOVED[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def pixel_loss(
    output: torch.Tensor,
    target: torch.Tensor,
    kind: str = "l2",
    *,
    normalization: str = "mean",
    weight: torch.Tensor | None = None,
    reduction: str = "mean",
    epsilon: float = 1e-3,
) -> torch.Tensor:
    """Difference between pictures, pixel by pixel, averaged over
    channels and positions.

    ``l2``: mean of d**2, the pixel loss of Johnson et al. (2016), section 3.2,
    ||y - t||^2 / (C H W);
    ``l1``: mean of abs(d); ``charbonnier``: mean of sqrt(d**2 + epsilon**2), smooth at
    0 and like L1 far from it.

    Args:
        output: (N, 3, H, W) in [0, 1]; other shapes with the batch first work too.
        target: the same shape.
        kind: ``"l2"``, ``"l1"`` or ``"charbonnier"``.
        normalization: ``"mean"``, or ``"relative"``, which divides ``l2`` by the
            variance of each target and the others by its standard deviation: 1 is what
            a picture of nothing but the target's mean costs. A photograph's variance is
            about 0.06, so that ``l2`` weighs about 16 times as much. A target flatter
            than one of 256 grey levels counts as that.
        weight: (1 or N, 1, H, W), at least 0: how much each place counts, such as a
            mask; the loss is the weighted mean.
        reduction: ``"mean"`` or ``"sum"`` over the batch, ``"none"`` for a value per
            picture, (N,), or ``"map"`` for one per place, (N, 1, H, W), whose mean is
            the loss.
        epsilon: Charbonnier's rounding, in units of the pixel values.

    Raises:
        InputError: shapes differ, unknown kind, normalization or reduction.

    Example:
        >>> black, white = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
        >>> pixel_loss(0.5 * white, black), pixel_loss(0.5 * white, black, "l1")
        (tensor(0.2500), tensor(0.5000))
        >>> pixel_loss(torch.cat([black, white]), black, reduction="none")
        tensor([0., 1.])

    Taught in chapter 1.
    """
    if normalization not in ("mean", "relative"):
        raise InputError(
            f"there is no normalization {normalization!r} of pixels; it is 'mean' or "
            "'relative'"
        )
    difference = _difference(output, target)
    if kind == "l2":
        value = difference.square()
    elif kind == "l1":
        value = difference.abs()
    elif kind == "charbonnier":
        value = (difference.square() + epsilon**2).sqrt()
    else:
        raise InputError(
            f"there is no pixel loss {kind!r}; "
            f"{nearest(kind, ('l2', 'l1', 'charbonnier'))}"
        )
    value = _over(_weigh(value, weight), reduction)
    if normalization == "relative":
        variance = _variance(target)
        value = value / _like(variance if kind == "l2" else variance.sqrt(), value)
    return reduced(value, reduction)


def feature_loss(
    output: torch.Tensor,
    target: torch.Tensor,
    *,
    normalization: str = "johnson",
    weight: torch.Tensor | None = None,
    reduction: str = "mean",
) -> torch.Tensor:
    """Feature reconstruction loss between two feature maps of one layer.

    ``johnson`` and ``mean``: ||phi(y-hat) - phi(y)||^2 / (C H W), Johnson et al.
    (2016), equation 2;
    ``gatys``: half the plain sum, Gatys et al. (2016), equation 1, that is C H W /
    2 times as much (524,288 times for relu3_3 of a 256 x 256 picture: 256 x 64 x
    64 values, halved);
    ``relative``: the mean square of the difference over that of the target, picture by
    picture, so that 1 is a whole signal lost, whatever the layer.

    Between photographs of 256 pixels and the same shrunk four times and enlarged,
    relu1_2, relu2_2, relu3_3 and relu4_3 have 4, 38, 56 and 2% of the sum with
    ``johnson``, in terms of 3,000 to 250,000, and 12, 24, 29 and 36% with ``relative``,
    in terms of 0.08 to 0.7.

    Args:
        output: features of the output, (N, C, H, W).
        target: features of the content target, the same shape, or (1, C, H, W) for
            one target for all.
        normalization: ``"johnson"``, ``"gatys"``, ``"mean"`` or ``"relative"``.
        weight: (1 or N, 1, H', W') of the picture's size or any other, at least 0: how
            much each place counts, averaged down to the layer; the loss is the weighted
            mean (``gatys``: sum).
        reduction: ``"mean"`` or ``"sum"`` over the batch, ``"none"`` for a value per
            picture, (N,), or ``"map"`` for one per place, (N, 1, H, W), whose mean
            (``gatys``: sum) is the loss.

    Raises:
        InputError: shapes differ, unknown normalization or reduction.

    Example:
        >>> output, target = torch.zeros(1, 256, 4, 4), torch.full((1, 256, 4, 4), 2.0)
        >>> feature_loss(output, target)
        tensor(4.)
        >>> feature_loss(output, target, normalization="gatys")  # 256 * 4 * 4 / 2 times
        tensor(8192.)

    Taught in chapter 2.
    """
    _check_normalization(normalization)
    squares = _weigh(_squares(output, target), weight)
    if normalization == "gatys":
        return reduced(_over(squares, reduction, total=True) / 2, reduction)
    value = _over(squares, reduction)
    if normalization == "relative":
        value = value / _like(_loudness(target), value)
    return reduced(value, reduction)


def gram_matrix(
    feature: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Which channels fire together: G = F F^T / (C H W) with the features F as
    a (C, H W) matrix.

    Johnson et al. (2016), equation 3. It is the uncentred covariance of the channels
    over positions, divided by C: symmetric, positive semidefinite, and blind to
    where anything is. Gatys et al. (2016), equation 3, leave the division out;
    multiply by C H W for theirs.

    Args:
        feature: (N, C, H, W).
        mask: (1 or N, 1, H', W') in [0, 1], a region of the picture; averaged down to
            the layer's size. The features are multiplied by it and the sum is divided
            by C times the sum of its squares, so that a region's size does not matter
            (Gatys et al. 2017, section 3, guided Gram matrices).

    Returns:
        (N, C, C), float32 (float64 for float64 features).

    Raises:
        InputError: the features are not (N, C, H, W).

    Example:
        >>> feature = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
        >>> feature = feature.view(1, 2, 2, 2)  # 2 channels, 2 x 2 positions
        >>> gram_matrix(feature)  # the sums 2, 2, 4 over the positions, divided by 8
        tensor([[[0.2500, 0.2500],
                 [0.2500, 0.5000]]])
        >>> torch.equal(gram_matrix(feature), gram_matrix(feature.flip(-1)))
        True

    Taught in chapter 3.
    """
    check_dense(feature, "the features")
    if feature.ndim != 4 or 0 in feature.shape[1:]:
        raise InputError(
            f"features of shape {tuple(feature.shape)} were given; give (N, C, H, W)"
        )
    # autocast would sum in half precision
    with autocast_off(feature.device.type):
        count: int | torch.Tensor = feature.shape[1:].numel()
        if mask is not None:
            mask = _fit(mask, feature).to(feature.dtype)
            feature = feature * mask
            area = at_least_float32(mask).square().sum((1, 2, 3)).clamp_min(1e-6)
            count = feature.shape[1] * area.view(-1, 1, 1)
        # (N, H W, C), a view where memory is channels-last
        positions = feature.flatten(2).transpose(1, 2)
        return _self_product(positions) / count


def _self_product(positions: torch.Tensor) -> torch.Tensor:
    """X^T X of (N, P, C), in float32."""
    if torch.compiler.is_compiling():  # compilers know no jvp, and fuse by themselves
        wide = at_least_float32(positions)
        return wide.transpose(1, 2) @ wide
    return _SelfProduct.apply(positions)


class _SelfProduct(torch.autograd.Function):
    """X^T X in float32. Its gradient X (g + g^T) takes one product instead of two, in
    the precision of X, but in float32 where X is float16: g can leave its range.
    """

    @staticmethod
    def forward(positions: torch.Tensor) -> torch.Tensor:
        count, _, channels = positions.shape
        dtype = torch.promote_types(positions.dtype, torch.float32)
        total = positions.new_zeros((count, channels, channels), dtype=dtype)
        # on a CPU in chunks, so that the float32 copy stays in the cache
        size = _CHUNK if positions.device.type == "cpu" else 1 << 20
        for chunk in positions.split(size, dim=1):
            chunk = chunk.to(dtype)
            total.baddbmm_(chunk.transpose(1, 2), chunk)
        return total

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        (positions,) = ctx.saved_tensors
        both, dtype = gradient + gradient.transpose(1, 2), positions.dtype
        if dtype == torch.float16:
            return (positions.float() @ both).to(dtype)
        return positions @ both.to(dtype)

    @staticmethod
    def jvp(ctx, tangent: torch.Tensor) -> torch.Tensor:
        (positions,) = ctx.saved_tensors
        dtype = torch.promote_types(positions.dtype, torch.float32)
        half = positions.to(dtype).transpose(1, 2) @ tangent.to(dtype)
        return half + half.transpose(1, 2)

    @staticmethod
    def vmap(info, in_dims, positions: torch.Tensor):
        positions = positions.movedim(in_dims[0], 0)
        grams = _SelfProduct.apply(positions.flatten(0, 1))
        return grams.unflatten(0, positions.shape[:2]), 0


def style_loss(
    output: torch.Tensor,
    target: torch.Tensor,
    *,
    normalization: str = "johnson",
    reduction: str = "mean",
) -> torch.Tensor:
    """Style reconstruction loss of one layer: the distance between Gram matrices.

    ``johnson``: the squared Frobenius norm of the difference, Johnson et al.
    (2016), equation 4;
    ``gatys``: a quarter of it, which is Gatys' E_l = sum (G - A)^2 / (4 N^2 M^2) for
    plain sums G and A (2016, equation 4), with each picture divided by its own size;
    ``mean``: the mean over the C^2 entries, as Johnson's released code and most others:
    against the paper relu4_3 (C = 512) counts 64 times less than relu1_2 (C = 64);
    ``relative``: the squared Frobenius norm of the difference over that of the target's
    Gram matrix, so that every layer is heard.

    Between photographs and The Great Wave at 256 pixels the paper's four layers,
    relu1_2, relu2_2, relu3_3 and relu4_3, have 3, 49, 48 and 0.01% of the sum with
    ``johnson`` and ``gatys``, in terms of up to 1e10; 17, 67, 16 and 0.001% with
    ``mean``; 26, 20, 25 and 29% with ``relative``, in terms of 0.7 to 1.5.

    Args:
        output: features (N, C, H, W) or Gram matrices (N, C, C) of the output.
        target: features of any height and width, or Gram matrices; a batch of one
            serves all outputs.
        normalization: ``"johnson"``, ``"gatys"``, ``"mean"`` or ``"relative"``.
        reduction: ``"mean"`` or ``"sum"`` over the batch, or ``"none"`` for a value
            per picture, (N,).

    Raises:
        InputError: the channels differ, unknown normalization or reduction.

    Example:
        >>> features, others = torch.rand(1, 16, 8, 8), torch.rand(1, 16, 12, 20)
        >>> round(float(style_loss(features.flip(-1), features)), 6)  # mirrored
        0.0
        >>> bool(style_loss(features, others) > 0)  # the sizes need not be the same
        True

    Taught in chapter 3.
    """
    _check_normalization(normalization)
    if reduction == "map":
        raise InputError("style has no places, so no map; give 'mean', 'sum' or 'none'")
    for given, what in ((output, "the output"), (target, "the target")):
        check_dense(given, what)
    output, target = (
        gram_matrix(given) if given.ndim == 4 else given for given in (output, target)
    )
    squares = _difference(output, target).square().flatten(1)
    if normalization == "relative":
        return reduced(squares.mean(1) / _loudness(target), reduction)
    factor = {"johnson": 1.0, "gatys": 0.25, "mean": 1 / squares.shape[1]}[
        normalization
    ]
    return reduced(squares.sum(1) * factor, reduction)


def total_variation(
    image: torch.Tensor,
    kind: str = "squared",
    *,
    weight: torch.Tensor | None = None,
    reduction: str = "mean",
) -> torch.Tensor:
    """How much neighbouring pixels differ: a small weight on it takes away noise that
    the features do not see.

    ``squared``: 1/2 sum (dx^2 + dy^2), whose gradient Johnson's released code adds,
    each difference where both neighbours exist below and to the right (the last row and
    column are cropped);
    ``absolute``: mean abs(dx) + mean abs(dy), anisotropic total variation per pixel.

    Args:
        image: (N, 3, H, W), on any scale: ``squared`` grows with the square of it.
        kind: ``"squared"`` or ``"absolute"``.
        weight: (1 or N, 1, H, W), at least 0: how much each place counts, on average 1
            after division by its mean.
        reduction: ``"mean"`` or ``"sum"`` over the batch, or ``"none"`` for a value
            per picture, (N,).

    Raises:
        InputError: unknown kind or reduction.

    Example:
        >>> stripes = torch.zeros(1, 3, 8, 8)
        >>> stripes[..., ::2] = 1  # every second column is white
        >>> total_variation(stripes)  # 3 * 7 * 7 steps of 1, halved
        tensor(73.5000)
        >>> total_variation(torch.full((1, 3, 8, 8), 0.5))
        tensor(0.)

    Taught in chapter 4.
    """
    if reduction == "map":
        raise InputError("total variation has no map; give 'mean', 'sum' or 'none'")
    check_dense(image, "the picture", floating=False)
    if image.ndim < 3 or 0 in image.shape:
        raise InputError(
            f"pictures of shape {tuple(image.shape)} were given; give (N, 3, H, W)"
        )
    image = at_least_float32(image)
    if kind == "squared":
        corner = image[..., :-1, :-1]
        down, right = image[..., 1:, :-1] - corner, image[..., :-1, 1:] - corner
        squares = _weigh(down.square() + right.square(), weight)
        return reduced(squares.flatten(1).sum(1) / 2, reduction)
    if kind == "absolute":
        steps = (image.diff(dim=dim).abs() for dim in (-2, -1))
        down, right = (_weigh(step, weight).flatten(1).mean(1) for step in steps)
        return reduced(down + right, reduction)
    raise InputError(
        f"there is no total variation {kind!r}; "
        f"{nearest(kind, ('squared', 'absolute'))}"
    )


def grid_loss(
    output: torch.Tensor, target: torch.Tensor, period: int = 4, *, window: int = 64
) -> torch.Tensor:
    """Patterns that repeat every ``period`` pixels in the output and are
    not in the target.

    A feature loss asks for the energy of texture, and a network that upsamples can
    pay with a lattice of dots: a value for each of the ``period ** 2`` places in its
    grid. In each window the mean difference at each of these places is taken; the
    loss is the variance of these means, in 8-bit steps squared: about 1 for a lattice
    of one grey level.

    Args:
        output: (N, C, H, W) in [0, 1].
        target: the same shape.
        period: of the patterns in pixels; those of its divisors are found too.
        window: pixels along a side, a multiple of the period; what a window does
            not fill is left out.

    Raises:
        InputError: shapes differ, or pictures smaller than two periods.

    Taught in chapter 6.
    """
    difference = 255 * _difference(output, target)
    height, width = difference.shape[-2:]
    sides = [min(window, side // period * period) for side in (height, width)]
    if min(sides) < 2 * period:
        raise InputError(
            f"pictures of {width}x{height} pixels were given for a period of "
            f"{period}; give at least {2 * period} along each side"
        )
    rows, columns = height // sides[0], width // sides[1]
    cut = difference[..., : rows * sides[0], : columns * sides[1]]
    shape = (rows, sides[0] // period, period, columns, sides[1] // period, period)
    # (N, C, rows, period, columns, period)
    means = cut.reshape(*cut.shape[:2], *shape).mean((3, 6))
    return means.var((3, 5), correction=0).mean()


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """What sums of losses are taken in: float64 for float64, else float32."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _squares(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The squared difference in one kernel, so that a step keeps no difference beside
    the features; values and gradients are those of ``_difference(...).square()``.
    """
    _check_shapes(output, target)
    output, target = at_least_float32(output), at_least_float32(target)
    dtype = torch.promote_types(output.dtype, target.dtype)
    target = target.to(dtype).expand_as(output)
    return F.mse_loss(output.to(dtype), target, reduction="none")


def _difference(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    _check_shapes(output, target)
    return at_least_float32(output) - at_least_float32(target)


def _check_shapes(output: torch.Tensor, target: torch.Tensor) -> None:
    for given, what in ((output, "the output"), (target, "the target")):
        check_dense(given, what)
        if given.ndim < 2 or 0 in given.shape:
            raise InputError(
                f"{what} has shape {tuple(given.shape)}; give a batch of at least one, "
                "such as (N, C, H, W)"
            )
    check_together(output, target, "the output and the target")
    # said so, a graph of torch.export stays one for any number of pictures
    fit = target.shape[0] == output.shape[0] or target.shape[0] == 1
    if output.shape[1:] != target.shape[1:] or not fit:
        raise InputError(
            f"shapes {tuple(output.shape)} and {tuple(target.shape)} were given; give "
            "equal shapes, or one target for all"
        )


def _loudness(target: torch.Tensor) -> torch.Tensor:
    """The mean square of each target, (N,)."""
    return at_least_float32(target).square().flatten(1).mean(1).clamp_min(_SILENT)


def _variance(target: torch.Tensor) -> torch.Tensor:
    """Of each target, (N,)."""
    values = at_least_float32(target).flatten(1)
    return values.var(1, correction=0).clamp_min(_FLAT)


def _fit(weight: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """A weight map averaged to the size of what it weighs, at least float32."""
    check_dense(weight, "the weight", floating=False)
    check_together(weight, values, "the weight and what it weighs")
    count, channels = values.shape[:2]
    of_them = weight.ndim == values.ndim and 0 not in weight.shape
    if not (
        of_them and weight.shape[0] in (1, count) and weight.shape[1] in (1, channels)
    ):
        raise InputError(
            f"a weight of shape {tuple(weight.shape)} was given for values of shape "
            f"{tuple(values.shape)}; give one of as many dimensions, with 1 or "
            f"{count} of them and 1 or {channels} channels"
        )
    weight = at_least_float32(weight)
    size = values.shape[2:]
    if weight.shape[2:] != size:
        weight = F.interpolate(weight, size=size, mode="area")
    return weight


def _weigh(values: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Values times a weight whose mean is 1."""
    if weight is None:
        return values
    weight = _fit(weight, values)
    mean = weight.flatten(1).mean(1).clamp_min(1e-12)
    return values * (weight / _like(mean, weight))


def _like(values: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """(N,) with as many dimensions as the other has."""
    return values.view(-1, *[1] * (other.ndim - 1))


def _over(values: torch.Tensor, reduction: str, *, total: bool = False) -> torch.Tensor:
    """The mean (or sum) over each picture, (N,), or for a map over the channels."""
    if reduction == "map":
        return values.sum(1, keepdim=True) if total else values.mean(1, keepdim=True)
    values = values.flatten(1)
    # divided after the sum: the gradient of a mean is as large as the features
    return values.sum(1) if total else values.sum(1) / values.shape[1]


def reduced(values: torch.Tensor, reduction: str) -> torch.Tensor:
    """Values of pictures, (N,), as the reduction over the batch says.

    Raises:
        InputError: an unknown reduction.
    """
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    if reduction in REDUCTIONS:
        return values
    raise InputError(
        f"there is no reduction {reduction!r}; it is 'mean', 'sum', 'none' or 'map'"
    )


def _check_normalization(normalization: str) -> None:
    if normalization not in NORMALIZATIONS:
        raise InputError(
            f"there is no normalization {normalization!r}; "
            f"{nearest(normalization, NORMALIZATIONS)}"
        )
