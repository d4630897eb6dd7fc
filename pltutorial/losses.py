"""The losses: pixel, feature, style, total variation, and the module that adds them up.

Symbols are the papers': the loss network phi, the output y-hat, the content target y_c,
the style target y_s. All sums are taken in float32 (float64 for float64 input) whatever
precision the features have.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from .errors import InputError, nearest
from .images import check_image
from .vgg import LossNetwork

NORMALIZATIONS = ("johnson", "gatys", "mean", "relative")
_SILENT = 1e-30  # a target whose mean square is below it counts as so loud
# an untrained network strays that far outside [0, 1]; a 0-255 picture farther
_UNTRAINED = 20.0
_CHUNK = 8192  # positions summed at a time by a Gram matrix
JOHNSON_CONTENT = {"relu3_3": 1.0}
JOHNSON_STYLE = {"relu1_2": 1.0, "relu2_2": 1.0, "relu3_3": 1.0, "relu4_3": 1.0}


def pixel_loss(
    output: torch.Tensor,
    target: torch.Tensor,
    kind: str = "l2",
    *,
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
        reduction: ``"mean"`` over the batch, or ``"none"`` for a value
            per picture, (N,).
        epsilon: Charbonnier's rounding, in units of the pixel values.

    Raises:
        InputError: shapes differ, unknown kind or reduction.

    Example:
        >>> black, white = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
        >>> pixel_loss(0.5 * white, black), pixel_loss(0.5 * white, black, "l1")
        (tensor(0.2500), tensor(0.5000))
        >>> pixel_loss(torch.cat([black, white]), black, reduction="none")
        tensor([0., 1.])

    Taught in chapter 1.
    """
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
    return _reduce(value.flatten(1).mean(1), reduction)


def feature_loss(
    output: torch.Tensor,
    target: torch.Tensor,
    *,
    normalization: str = "johnson",
    reduction: str = "mean",
) -> torch.Tensor:
    """Feature reconstruction loss between two feature maps of one layer.

    ``johnson`` and ``mean``: ||phi(y-hat) - phi(y)||^2 / (C H W), Johnson et al.
    (2016), equation 2;
    ``gatys``: half the plain sum, Gatys et al. (2016), equation 1, that is C H W /
    2 times as much (524,288 times for relu3_3 of a 256 x 256 picture: 256 x 64 x
    64 values, halved);
    ``relative``: the mean square of the difference over that of the target, picture by
    picture, so that 1 is a whole signal lost, whatever the layer: of order 1, where
    ``johnson`` gives thousands.

    Args:
        output: features of the output, (N, C, H, W).
        target: features of the content target, the same shape, or (1, C, H, W) for
            one target for all.
        normalization: ``"johnson"``, ``"gatys"``, ``"mean"`` or ``"relative"``.
        reduction: ``"mean"`` over the batch, or ``"none"`` for a value
            per picture, (N,).

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
    squares = _difference(output, target).square().flatten(1)
    if normalization == "relative":
        return _reduce(squares.mean(1) / _loudness(target), reduction)
    return _reduce(
        squares.sum(1) / 2 if normalization == "gatys" else squares.mean(1), reduction
    )


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
    if feature.ndim != 4:
        raise InputError(
            f"features of shape {tuple(feature.shape)} were given; give (N, C, H, W)"
        )
    # autocast would sum in half precision
    with torch.autocast(feature.device.type, enabled=False):
        count: int | torch.Tensor = feature[0].numel()
        if mask is not None:
            mask = F.interpolate(mask.to(feature), size=feature.shape[-2:], mode="area")
            feature = feature * mask
            area = _at_least_float32(mask).square().sum((1, 2, 3)).clamp_min(1e-6)
            count = feature.shape[1] * area.view(-1, 1, 1)
        # (N, H W, C), a view where memory is channels-last
        positions = feature.flatten(2).transpose(1, 2)
        return _SelfProduct.apply(positions) / count


class _SelfProduct(torch.autograd.Function):
    """X^T X in float32. Its gradient X (g + g^T) takes one product instead of two, in
    the precision of X.
    """

    @staticmethod
    def forward(ctx, positions: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(positions)
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
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        (positions,) = ctx.saved_tensors
        return positions @ (gradient + gradient.transpose(1, 2)).to(positions.dtype)


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
    Gram matrix, so that every layer is heard: with ``johnson`` relu4_3 has about a
    thousandth of the sum over the paper's four layers.

    Args:
        output: features (N, C, H, W) or Gram matrices (N, C, C) of the output.
        target: features of any height and width, or Gram matrices; a batch of one
            serves all outputs.
        normalization: ``"johnson"``, ``"gatys"``, ``"mean"`` or ``"relative"``.
        reduction: ``"mean"`` over the batch, or ``"none"`` for a value
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
    output, target = (
        gram_matrix(given) if given.ndim == 4 else given for given in (output, target)
    )
    squares = _difference(output, target).square().flatten(1)
    if normalization == "relative":
        return _reduce(squares.mean(1) / _loudness(target), reduction)
    factor = {"johnson": 1.0, "gatys": 0.25, "mean": 1 / squares.shape[1]}[
        normalization
    ]
    return _reduce(squares.sum(1) * factor, reduction)


def total_variation(
    image: torch.Tensor, kind: str = "squared", *, reduction: str = "mean"
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
        reduction: ``"mean"`` over the batch, or ``"none"`` for a value
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
    image = _at_least_float32(image)
    if kind == "squared":
        corner = image[..., :-1, :-1]
        down, right = image[..., 1:, :-1] - corner, image[..., :-1, 1:] - corner
        return _reduce(
            (down.square() + right.square()).flatten(1).sum(1) / 2, reduction
        )
    if kind == "absolute":
        down, right = image.diff(dim=-2), image.diff(dim=-1)
        return _reduce(
            down.abs().flatten(1).mean(1) + right.abs().flatten(1).mean(1), reduction
        )
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


class LossTerms(dict):
    """The weighted terms by name, and ``total``, their sum; tensors on the
    device of the output.

    Example:
        >>> terms = LossTerms(content=torch.tensor(2.0), style=torch.tensor(0.5))
        >>> terms["edges"] = torch.tensor(0.25)  # a term of your own
        >>> terms.total
        tensor(2.7500)
    """

    @property
    def total(self) -> torch.Tensor:
        """The sum of all terms: call ``.backward()`` on it."""
        return torch.stack(list(self.values())).sum(0)


@dataclass(frozen=True)
class Record:
    """What one step did: the weighted terms and their total before the step, and the
    seconds since the start.

    ``image`` is the picture that has these terms, (1, 3, H, W) in [0, 1]; callbacks get
    it, the history leaves it out.
    """

    step: int
    total: float
    terms: dict[str, float]
    seconds: float
    image: torch.Tensor | None = None


@dataclass
class ContentTarget:
    """Features of a content target by layer, and the picture itself
    for the pixel term.
    """

    features: dict[str, torch.Tensor]
    image: torch.Tensor


@dataclass
class StyleTarget:
    """Gram matrices by layer, for each region of the output (one region, without a
    mask, by default).
    """

    grams: list[dict[str, torch.Tensor]]
    masks: list[torch.Tensor | None]


class PerceptualLoss(nn.Module):
    """Feature, style, pixel and total variation terms added up, ready
    for a training loop.

    ``loss(output, content=y, style=s).total.backward()``. Each term is weight x loss;
    the content, style and pixel terms are means over the batch. Nothing is copied to
    the host after the first call, which checks that the pictures are in [0, 1].

    Args:
        content: weights by layer of the feature reconstruction loss. Johnson et al.
            (2016) write relu2_2 in the text and relu3_3 in figure 2 and their code; the
            default is relu3_3.
        style: weights by layer of the style reconstruction loss; the paper's four
            layers with weight 1 if True, none by default.
        pixel: weight of the pixel loss against the content target.
        total_variation: weight of :func:`total_variation`, ``squared`` on the papers'
            0-255 scale, so that Johnson's 1e-6 to 1e-4 mean here what they mean there
            (65,025 times its value in [0, 1]).
        normalization: ``"johnson"``, ``"gatys"``, ``"mean"`` or ``"relative"``, in
            which each layer is measured against its own target, so that weights of 0.1
            to 10 are sensible and no layer is mute; see :func:`feature_loss` and
            :func:`style_loss`.
        pixel_kind: ``"l2"``, ``"l1"`` or ``"charbonnier"``.
        network: a :class:`LossNetwork`, an :class:`Encoder` or anything
            called as ``network(image, layers)``; None makes a LossNetwork
            with the embedded weights.

    Raises:
        InputError: unknown layers, negative weights, or nothing to compare.

    Source: Johnson et al. (2016), section 3.2 and equations 2 to 5.

    Example:
        >>> phi = LossNetwork(device="cpu")
        >>> content, style = {"relu1_2": 1.0}, {"relu2_2": 0.1}
        >>> loss = PerceptualLoss(content, style, pixel=1.0, network=phi)
        >>> picture, painting = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 48, 64)
        >>> output = torch.rand(1, 3, 32, 32, requires_grad=True)
        >>> target = loss.style_target(painting)  # once, before a loop
        >>> terms = loss(output, content=picture, style=target)
        >>> list(terms)
        ['content/relu1_2', 'style/relu2_2', 'pixel']
        >>> terms.total.backward()
        >>> output.grad.shape
        torch.Size([1, 3, 32, 32])

    Taught in chapter 4.
    """

    def __init__(
        self,
        content: Mapping[str, float] | None = None,
        style: Mapping[str, float] | bool | None = None,
        *,
        pixel: float = 0.0,
        total_variation: float = 0.0,
        normalization: str = "johnson",
        pixel_kind: str = "l2",
        network: Callable | None = None,
    ) -> None:
        super().__init__()
        _check_normalization(normalization)
        if content is None and not style and not pixel:
            content = JOHNSON_CONTENT
        self.content_weights = dict(content or {})
        self.style_weights = dict(JOHNSON_STYLE if style is True else style or {})
        self.pixel, self.total_variation = pixel, total_variation
        self.normalization, self.pixel_kind = normalization, pixel_kind
        weights = self.content_weights | self.style_weights
        weights |= {"pixel": pixel, "total_variation": total_variation}
        for name, weight in weights.items():
            if not 0 <= weight < float("inf"):
                raise InputError(
                    f"the weight {weight} of {name} was given; weights are "
                    "finite and at least 0"
                )
        if not (self.content_weights or self.style_weights or pixel or total_variation):
            raise InputError(
                "there is nothing to compare; give content or style "
                "layers, or a pixel weight"
            )
        self.network = LossNetwork() if network is None else network
        check_layers = getattr(self.network, "check_layers", None)
        if check_layers is not None:
            check_layers((*self.content_weights, *self.style_weights))
        self._checked = False

    def content_target(self, image: torch.Tensor) -> ContentTarget:
        """Features of a content target, computed once and reused; no layer beyond the
        content layers is run.

        Args:
            image: (N, 3, H, W) in [0, 1], as many as the outputs.

        Raises:
            InputError: the picture is not (N, 3, H, W) in [0, 1], or too
                small for a layer.
        """
        check_image(image, "the content target")
        return self._content_target(image)

    def _content_target(self, image: torch.Tensor) -> ContentTarget:
        layers = tuple(self.content_weights)
        with torch.no_grad():
            return ContentTarget(self.network(image, layers) if layers else {}, image)

    def style_target(
        self,
        styles: torch.Tensor | Sequence[torch.Tensor],
        *,
        weights: Sequence[float] | None = None,
        masks: Sequence[tuple[torch.Tensor, torch.Tensor]] | None = None,
    ) -> StyleTarget:
        """Gram matrices of one or several styles, computed once and reused.

        Args:
            styles: one picture (1, 3, H, W) in [0, 1] or several, of any sizes. Without
                masks their Gram matrices are blended; with masks the region of index i
                takes the style of index i, or the only one.
            weights: one for each style, normalised to sum to 1; equal by default.
                Without masks only.
            masks: for each region a pair (region of the output, region of the style),
                (1, 1, H, W) in [0, 1].

        Raises:
            InputError: no style, numbers that do not match, negative weights, an empty
                region, or a picture that is not (N, 3, H, W) in [0, 1].
        """
        for picture in [styles] if isinstance(styles, torch.Tensor) else styles:
            check_image(picture, "the style target")
        return self._style_target(styles, weights, masks)

    def _style_target(self, styles, weights=None, masks=None) -> StyleTarget:
        styles = [styles] if isinstance(styles, torch.Tensor) else list(styles)
        if not styles:
            raise InputError("no style was given; give at least one picture")
        with torch.no_grad():
            if masks is None:
                weights = _normalized(weights, len(styles))
                grams = [self._grams(style) for style in styles]
                blend = {
                    name: sum(w * g[name] for w, g in zip(weights, grams, strict=True))
                    for name in grams[0]
                }
                return StyleTarget([blend], [None])
            if weights is not None or not masks or len(styles) not in (1, len(masks)):
                raise InputError(
                    f"{len(styles)} styles and {len(masks)} pairs of masks were "
                    "given; give one style, or one for each pair, and no weights"
                )
            styles = styles if len(styles) > 1 else styles * len(masks)
            for number, mask in enumerate(mask for pair in masks for mask in pair):
                if mask.ndim != 4 or mask.shape[1] != 1 or not bool(mask.max() > 0):
                    raise InputError(
                        f"mask {number} is empty or not (1, 1, H, W); give a "
                        "region with values up to 1"
                    )
            grams = [
                self._grams(style, mask)
                for style, (_, mask) in zip(styles, masks, strict=True)
            ]
            return StyleTarget(grams, [region for region, _ in masks])

    def _grams(
        self, image: torch.Tensor, mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        return {
            name: gram_matrix(f, mask)
            for name, f in self.network(image, tuple(self.style_weights)).items()
        }

    def forward(
        self,
        output: torch.Tensor,
        content: torch.Tensor | ContentTarget | None = None,
        style: torch.Tensor | Sequence[torch.Tensor] | StyleTarget | None = None,
        *,
        reduction: str = "mean",
    ) -> LossTerms:
        """Compare an output with its targets.

        Args:
            output: (N, 3, H, W), in [0, 1].
            content: the content target, the same shape, or what
                :meth:`content_target` returned.
            style: the style target, of any size, or what :meth:`style_target` returned
                (faster in a loop).
            reduction: ``"mean"`` over the batch, or ``"none"`` for a value
                per picture, (N,).

        Returns:
            LossTerms with the weighted terms ``content/LAYER``,
            ``style/LAYER``, ``pixel`` and ``total_variation`` and their
            ``total``, on the output's device.

        Raises:
            InputError: a target that the weights ask for is missing; on the first call
                also targets that are not (N, 3, H, W) in [0, 1], and outputs on a
                0-255 scale. An output that strays less, as an untrained network's
                does, gives a warning.
        """
        self._check_first_call(output, content, style)
        if isinstance(content, torch.Tensor):
            content = self._content_target(content)
        if style is not None and not isinstance(style, StyleTarget):
            style = self._style_target(style)
        if content is None and (self.content_weights or self.pixel):
            raise InputError(
                "the loss has content or pixel weights but no content was given; "
                "give content=picture"
            )
        if style is None and self.style_weights:
            raise InputError(
                "the loss has style weights but no style was given; give style=picture"
            )
        layers = tuple(dict.fromkeys((*self.content_weights, *self.style_weights)))
        features = self.network(output, layers) if layers else {}
        terms = LossTerms()
        how = {"normalization": self.normalization, "reduction": reduction}
        for name, weight in self.content_weights.items():
            terms[f"content/{name}"] = weight * feature_loss(
                features[name], content.features[name], **how
            )
        for name, weight in self.style_weights.items():
            regions = zip(style.grams, style.masks, strict=True)
            losses = [
                style_loss(gram_matrix(features[name], mask), grams[name], **how)
                for grams, mask in regions
            ]
            terms[f"style/{name}"] = weight * (
                losses[0] if len(losses) == 1 else torch.stack(losses).mean(0)
            )
        if self.pixel:
            terms["pixel"] = self.pixel * pixel_loss(
                output, content.image, self.pixel_kind, reduction=reduction
            )
        if self.total_variation:
            terms["total_variation"] = (
                self.total_variation
                * 255**2
                * total_variation(output, reduction=reduction)
            )
        return terms

    def _check_first_call(self, output, content, style) -> None:
        """Values are looked at once, in the first call: a look waits for the device."""
        if self._checked or torch.compiler.is_compiling():
            return
        check_image(output, "the output", slack=_UNTRAINED)
        low, high = (float(value) for value in output.detach().aminmax())
        if low < -0.5 or high > 1.5:
            warnings.warn(
                f"the output has values from {low:.3g} to {high:.3g}, but [0, 1] is "
                "needed; that is well for a network still untrained, else give plain "
                "pictures: the loss network subtracts its own mean",
                stacklevel=4,
            )
        if isinstance(content, torch.Tensor):
            check_image(content, "the content target")
        if isinstance(style, torch.Tensor):
            style = [style]
        for picture in style if isinstance(style, list | tuple) else ():
            check_image(picture, "the style target")
        self._checked = True


def _at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _difference(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if output.shape[1:] != target.shape[1:] or len(target) not in (1, len(output)):
        raise InputError(
            f"shapes {tuple(output.shape)} and {tuple(target.shape)} were given; give "
            "equal shapes, or one target for all"
        )
    return _at_least_float32(output) - _at_least_float32(target)


def _loudness(target: torch.Tensor) -> torch.Tensor:
    """The mean square of each target, (N,)."""
    return _at_least_float32(target).square().flatten(1).mean(1).clamp_min(_SILENT)


def _reduce(values: torch.Tensor, reduction: str) -> torch.Tensor:
    if reduction == "mean":
        return values.mean()
    if reduction == "none":
        return values
    raise InputError(f"there is no reduction {reduction!r}; it is 'mean' or 'none'")


def _check_normalization(normalization: str) -> None:
    if normalization not in NORMALIZATIONS:
        raise InputError(
            f"there is no normalization {normalization!r}; "
            f"{nearest(normalization, NORMALIZATIONS)}"
        )


def _normalized(weights: Sequence[float] | None, count: int) -> list[float]:
    weights = [1.0] * count if weights is None else list(weights)
    if len(weights) != count or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        raise InputError(
            f"the weights {weights} were given for {count} styles; give one for each, "
            "at least 0, not all 0"
        )
    return [weight / sum(weights) for weight in weights]
