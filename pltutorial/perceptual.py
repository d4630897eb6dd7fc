"""Terms of several layers added up: the module, its targets, and one line for it.

Symbols are the papers': the loss network phi, the output y-hat, the content target y_c,
the style target y_s.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from .errors import InputError, known_elsewhere_as, nearest, shown
from .inputs import Inputs
from .losses import (
    JOHNSON_CONTENT,
    JOHNSON_STYLE,
    NORMALIZATIONS,
    at_least_float32,
    feature_loss,
    gram_matrix,
    pixel_loss,
    reduced,
    style_loss,
    total_variation,
)
from .targets import (
    ContentTarget,
    StyleTarget,
    balanced,
    check_count,
    normalized,
    regions_of,
    spread,
)
from .tensors import check_dense
from .terms import LossTerms
from .vgg import LossNetwork

_USUAL = {
    "balance": None,
    "pixel_kind": "l2",
    "relative_pixel": None,
    "channels": None,
    "input_range": (0.0, 1.0),
    "target_gradient": False,
}
_ELSEWHERE = {
    "scaling": "normalization='relative'",
    "layers": "content={'relu3_3': 1.0}, weights by layer",
    "reduction": "loss(output, target=picture, reduction=...) in the call",
    "device": ".to(device) of the loss",
    "weights": "content={'relu3_3': 1.0}, weights by layer",
    "layer_weights": "content={'relu3_3': 1.0}, weights by layer",
    "net": "LPIPS('vgg') of pltutorial.calibrated, or network=Encoder(yours)",
    "net_type": "LPIPS('vgg') of pltutorial.calibrated, or network=Encoder(yours)",
    "network_type": "LPIPS('vgg') of pltutorial.calibrated, or network=Encoder(yours)",
    "spatial_dims": "nothing of it: volumes are known by their shape (N, C, D, H, W)",
}
_CALLED_ELSEWHERE = {
    "mask": "weight=mask, (1 or N, 1, H, W)",
    "normalize": "nothing of it: pictures are in [0, 1], others by input_range=(-1, 1) "
    "of the loss",
    "retPerLayer": "nothing of it: what is returned has each layer's term by its name",
}


class PerceptualLoss(nn.Module):
    """Feature, style, pixel and total variation terms added up, ready
    for a training loop.

    ``loss(output, content=y, style=s).backward()``. Each term is weight x loss; the
    content, style and pixel terms are means over the batch. Shape and type of what is
    given are checked in every call, values in the first: nothing is copied to the host
    after it.

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
            which each layer, and the pixel term too, is measured against its own
            target, so that weights of 0.1 to 10 are sensible and no layer is mute; see
            :func:`feature_loss`, :func:`style_loss` and :func:`pixel_loss`.
        balance: ``"layers"`` makes the layers of a paper's normalisation equally loud:
            each is divided by what its target has, and multiplied by the mean of that
            over the layers, so that the sum stays on the paper's scale and the shares
            are those of ``"relative"``: relu4_3 has 29% of the style term, not 0.01%.
        pixel_kind: ``"l2"``, ``"l1"`` or ``"charbonnier"``.
        relative_pixel: whether the pixel term is divided by the target's variance; if
            left out, with ``normalization="relative"`` only.
        channels: what to do with pictures that are not RGB. ``"repeat"`` shows one
            channel as grey; ``"each"`` shows every channel as grey, by itself, and
            takes the mean; a function makes (N, 3, H, W) in the input's range of what
            is given, such as ``lambda x: x[:, :3]`` or a decoder of latents. None takes
            RGB only.
        input_range: what black and white are, such as (-1, 1).
        target_gradient: let gradients flow to the targets too.
        network: a :class:`LossNetwork`, an :class:`Encoder` or anything
            called as ``network(image, layers)``; None makes a LossNetwork
            with the embedded weights.

    Volumes (N, C, D, H, W) are compared as their slices along each of the three axes,
    in the mean, and their pixels as a whole.

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
        >>> terms.backward()
        >>> output.grad.shape
        torch.Size([1, 3, 32, 32])

    Taught in chapter 4.
    """

    @known_elsewhere_as(**_ELSEWHERE)
    def __init__(
        self,
        content: Mapping[str, float] | None = None,
        style: Mapping[str, float] | bool | None = None,
        *,
        pixel: float = 0.0,
        total_variation: float = 0.0,
        normalization: str = "johnson",
        balance: str | None = None,
        pixel_kind: str = "l2",
        relative_pixel: bool | None = None,
        channels: str | Callable | None = None,
        input_range: tuple[float, float] = (0, 1),
        target_gradient: bool = False,
        network: Callable | None = None,
    ) -> None:
        super().__init__()
        _check_choice("normalization", normalization, NORMALIZATIONS)
        _check_choice("balance", balance, (None, "layers"))
        self.inputs = Inputs(channels, input_range)
        for name, weights in (("content", content), ("style", style)):
            if not isinstance(weights, Mapping | bool | None):
                raise InputError(
                    f"{name}={shown(weights)} was given; give weights by the names of "
                    "layers, such as {'relu3_3': 1.0}"
                )
        if content is None and not style and not pixel:
            content = JOHNSON_CONTENT
        self.content_weights = dict(content or {})
        self.style_weights = dict(JOHNSON_STYLE if style is True else style or {})
        self.pixel, self.total_variation = pixel, total_variation
        self.normalization, self.balance = normalization, balance
        self.pixel_kind, self.relative_pixel = pixel_kind, relative_pixel
        self.target_gradient = target_gradient
        weights = self.content_weights | self.style_weights
        weights |= {"pixel": pixel, "total_variation": total_variation}
        for name, weight in weights.items():
            if not _is_weight(weight):
                raise InputError(
                    f"the weight {shown(weight)} of {name} was given; weights are "
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

    def extra_repr(self) -> str:
        """Layers, weights and normalisation."""
        said = [
            f"{name}={{{', '.join(f'{layer}: {w:g}' for layer, w in weights.items())}}}"
            for name, weights in (
                ("content", self.content_weights),
                ("style", self.style_weights),
            )
            if weights
        ]
        for name in ("pixel", "total_variation"):
            if getattr(self, name):
                said.append(f"{name}={getattr(self, name):g}")
        said.append(f"normalization={self.normalization!r}")
        for owner in (self, self.inputs):
            for name, usual in _USUAL.items():
                if getattr(owner, name, usual) != usual:
                    said.append(f"{name}={getattr(owner, name)!r}")
        return ", ".join(said)

    def content_target(self, image: torch.Tensor) -> ContentTarget:
        """Features of a content target, computed once and reused; no layer beyond the
        content layers is run.

        Args:
            image: (N, 3, H, W) in [0, 1] (or what ``channels`` and ``input_range``
                say, or a volume), as many as the outputs.

        Raises:
            InputError: the picture is not (N, 3, H, W) in [0, 1], or too
                small for a layer.
        """
        self.inputs.check_form(image, "the content target")
        check_dense(image, "the content target", floating=False, values=True)
        _if_there_are_values(self.inputs.check_values, image, "the content target")
        return self._content_target(image)

    def _content_target(self, image: torch.Tensor) -> ContentTarget:
        image = image if self.target_gradient else image.detach()
        with self._target_mode():
            if self.inputs.has_parts(image):
                parts = self.inputs.parts(image)
                return ContentTarget(
                    {}, self.inputs.unit(image), [*map(self._content_target, parts)]
                )
            image = self.inputs.pictures(image)
            layers = tuple(self.content_weights)
            return ContentTarget(self.network(image, layers) if layers else {}, image)

    def _target_mode(self):
        return torch.set_grad_enabled(self.target_gradient and torch.is_grad_enabled())

    def style_target(
        self,
        styles: torch.Tensor | Sequence[torch.Tensor],
        *,
        weights: Sequence[float] | None = None,
        masks: Sequence[tuple[torch.Tensor, torch.Tensor]] | None = None,
    ) -> StyleTarget:
        """Gram matrices of one or several styles, computed once and reused.

        Args:
            styles: one picture (1, 3, H, W) in [0, 1] or several, of any sizes (or what
                ``channels`` and ``input_range`` say). Without masks their Gram matrices
                are blended; with masks the region of index i takes the style of index
                i, or the only one.
            weights: one for each style, normalised to sum to 1; equal by default.
                Without masks only.
            masks: for each region a pair (region of the output, region of the style),
                (1, 1, H, W) in [0, 1].

        Raises:
            InputError: no style, numbers that do not match, negative weights, an empty
                region, or a picture that is not (N, 3, H, W) in [0, 1].
        """
        if not isinstance(styles, torch.Tensor | list | tuple):
            raise InputError(
                f"a {type(styles).__name__} was given as the style; give a picture (N, "
                "3, H, W), or a list of them"
            )
        for picture in [styles] if isinstance(styles, torch.Tensor) else styles:
            check_dense(picture, "the style target", floating=False, values=True)
            self.inputs.check_form(picture, "the style target")
            _if_there_are_values(self.inputs.check_values, picture, "the style target")
        return self._style_target(styles, weights, masks)

    def _style_target(self, styles, weights=None, masks=None) -> StyleTarget:
        styles = [styles] if isinstance(styles, torch.Tensor) else list(styles)
        if not styles:
            raise InputError("no style was given; give at least one picture")
        with self._target_mode():
            if masks is None:
                weights = normalized(weights, len(styles))
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
                check_dense(mask, f"mask {number}", floating=False)
                some = mask.ndim == 4 and mask.shape[1] == 1 and 0 not in mask.shape
                if not some or not bool(mask.max() > 0):
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
        features = self.network(self.inputs.pictures(image), tuple(self.style_weights))
        return {name: gram_matrix(feature, mask) for name, feature in features.items()}

    @known_elsewhere_as(**_CALLED_ELSEWHERE)
    def forward(
        self,
        output: torch.Tensor,
        content: torch.Tensor | ContentTarget | None = None,
        style: torch.Tensor | Sequence[torch.Tensor] | StyleTarget | None = None,
        *,
        target: torch.Tensor | ContentTarget | None = None,
        weight: torch.Tensor | None = None,
        reduction: str = "mean",
    ) -> LossTerms:
        """Compare an output with its targets.

        Args:
            output: (N, 3, H, W), in [0, 1], or what ``channels`` and ``input_range``
                say, or a volume (N, 3, D, H, W).
            content: the content target, the same shape, or what
                :meth:`content_target` returned.
            style: the style target, of any size, or what :meth:`style_target` returned
                (faster in a loop).
            target: another name of ``content``.
            weight: (1 or N, 1, H, W), of the output's size, at least 0, or boolean: how
                much each place counts in every term, such as a mask. The terms are
                weighted means; the output's style is that of the places that count.
            reduction: ``"mean"`` or ``"sum"`` over the batch, ``"none"`` for a value
                per picture, (N,), or ``"map"`` for one per place, (N, 1, H, W): of the
                content and pixel terms, since style has no places.

        Returns:
            LossTerms with the weighted terms ``content/LAYER``,
            ``style/LAYER``, ``pixel`` and ``total_variation`` and their
            ``total``, on the output's device.

        Raises:
            InputError: a target that the weights ask for is missing, or what is given
                is not (N, 3, H, W) of equal size; on the first call also targets that
                are not in [0, 1], and outputs on a 0-255 scale. An output that strays
                less, as an untrained network's does, gives a warning.
        """
        if content is not None and target is not None:
            raise InputError(
                "both content and target were given, two names of one thing; give one"
            )
        content = target if content is None else content
        self._check(output, content, style, weight)
        if weight is not None:  # in the precision that the terms have
            weight = weight.to(at_least_float32(output).dtype)
        if isinstance(content, torch.Tensor):
            content = self._content_target(content)
        if style is not None and not isinstance(style, StyleTarget):
            style = self._style_target(style)
        if style is not None:
            check_count(style, output.shape[0], self.inputs.grams_each(output))
        if self.inputs.has_parts(output):
            return self._of_parts(output, content, style, weight, reduction)
        output = self.inputs.pictures(output)
        regions, weight = regions_of(style, weight)
        scales, inner = self._scales(content, style, reduction)
        layers = tuple(dict.fromkeys((*scales["content"], *scales["style"])))
        features = self.network(output, layers) if layers else {}
        terms = LossTerms()
        how = {"normalization": self.normalization, "reduction": inner}
        for name, scale in scales["content"].items():
            terms[f"content/{name}"] = scale * feature_loss(
                features[name], content.features[name], weight=weight, **how
            )
        for name, scale in scales["style"].items():
            losses = [
                style_loss(gram_matrix(features[name], mask), grams[name], **how)
                for grams, mask in regions
            ]
            terms[f"style/{name}"] = scale * (
                losses[0] if len(losses) == 1 else torch.stack(losses).mean(0)
            )
        if self.pixel:
            terms["pixel"] = self._pixel_term(output, content.image, weight, inner)
        if self.total_variation and inner != "map":
            calm = total_variation(output, weight=weight, reduction=inner)
            terms["total_variation"] = self.total_variation * 255**2 * calm
        return _finished(terms, reduction, tuple(output.shape[2:]))

    def _pixel_term(self, output, target, weight, reduction) -> torch.Tensor:
        relative = self.relative_pixel
        if relative is None:
            relative = self.normalization == "relative"
        how = {"normalization": "relative" if relative else "mean", "weight": weight}
        loss = pixel_loss(output, target, self.pixel_kind, reduction=reduction, **how)
        return self.pixel * loss

    def _scales(self, content, style, reduction) -> tuple[dict[str, dict], str]:
        """The weights by layer, for each picture its own where layers are balanced, and
        the reduction that they go with.
        """
        styles = {} if reduction == "map" else self.style_weights
        weights = {"content": self.content_weights, "style": styles}
        if self.balance is None or self.normalization == "relative":
            return weights, reduction
        inner = "map" if reduction == "map" else "none"
        how = {"normalization": self.normalization, "places": inner == "map"}
        return balanced(weights, content, style, **how), inner

    def _of_parts(self, output, content, style, weight, reduction) -> LossTerms:
        """Slices of a volume along each axis, or channels, are compared as pictures."""
        inner = "map" if reduction == "map" else "none"
        parts, count = self.inputs.parts(output), len(output)
        weights: Sequence = [None] * len(parts)
        if weight is not None:
            whole = [-1, -1, *output.shape[2:]]
            whole[:2] = [count, 1 if output.ndim == 5 else output.shape[1]]
            weights = self.inputs.parts(weight.expand(whole))
        found: dict[str, list] = {}
        for axis, part in enumerate(parts, 2):
            slices = len(part) // count if output.ndim == 5 else None
            terms = self.forward(
                part,
                None if content is None else content.parts[axis - 2],
                spread(style, count, self.inputs.grams_each(output), slices),
                weight=weights[axis - 2],
                reduction=inner,
            )
            for name, value in terms.items():
                value = value.unflatten(0, (count, -1))
                places = inner == "map" and output.ndim == 5
                value = value.movedim(1, axis) if places else value.mean(1)
                found.setdefault(name, []).append(value)
        terms = LossTerms((name, torch.stack(v).mean(0)) for name, v in found.items())
        if self.pixel and output.ndim == 5 and not callable(self.inputs.channels):
            terms["pixel"] = self._pixel_term(
                self.inputs.unit(output), content.image, weight, inner
            )
        return _finished(terms, reduction)

    def _check(self, output, content, style, weight) -> None:
        """Shapes and types in every call; values in the first, since a look at them
        waits for the device.
        """
        self.inputs.check_form(output, "the output")
        if content is None and (self.content_weights or self.pixel):
            raise InputError(
                "the loss has content or pixel weights but no target was given; "
                "give target=picture"
            )
        if style is None and self.style_weights:
            raise InputError(
                "the loss has style weights but no style was given; give style=picture"
            )
        if isinstance(content, ContentTarget):
            self.inputs.check_fit(output, content.image, read=True)
        elif content is not None:
            self.inputs.check_form(content, "the content target")
            self.inputs.check_fit(output, content)
        if isinstance(style, torch.Tensor):
            style = [style]
        if not isinstance(style, list | tuple | StyleTarget | None):
            raise InputError(
                f"a {type(style).__name__} was given as the style; give a picture (N, "
                "3, H, W), a list of them, or what style_target returned"
            )
        for picture in style if isinstance(style, list | tuple) else ():
            self.inputs.check_form(picture, "the style target")
        if weight is not None:
            self.inputs.check_weight(output, weight)
        if torch.compiler.is_compiling() or self._checked:
            return
        self._checked = _if_there_are_values(
            self._check_values, output, content, style, weight
        )

    def _check_values(self, output, content, style, weight) -> None:
        self.inputs.check_output(output)
        if isinstance(content, torch.Tensor):
            self.inputs.check_values(content, "the content target")
        for picture in style if isinstance(style, list | tuple) else ():
            self.inputs.check_values(picture, "the style target")
        if weight is not None:
            self.inputs.check_weight_values(weight)


def perceptual_loss(
    output: torch.Tensor,
    target: torch.Tensor,
    *,
    style: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    reduction: str = "mean",
    **options,
) -> LossTerms:
    """How far an output looks from its target, in one line: ``perceptual_loss(x,
    y).backward()``.

    It is :class:`PerceptualLoss` with ``content={"relu3_3": 1}, pixel=1,
    normalization="relative"``, and so of order 1: each of the two terms is 1 where a
    whole signal is lost. The loss network is made in the first call and kept; in
    ``torch.compile(fullgraph=True)`` that call has to come before.

    Args:
        output: (N, 3, H, W), in [0, 1].
        target: the same shape.
        style: as in :meth:`PerceptualLoss.forward`, where ``options`` ask for it.
        weight: (1 or N, 1, H, W), how much each place counts.
        reduction: ``"mean"``, ``"sum"``, ``"none"`` or ``"map"``.
        options: those of :class:`PerceptualLoss`.

    Returns:
        LossTerms, which calculates as its total.

    Raises:
        InputError: as :class:`PerceptualLoss`.

    Example:
        >>> target = torch.rand(1, 3, 32, 32)
        >>> output = torch.zeros(1, 3, 32, 32, requires_grad=True)
        >>> loss = perceptual_loss(output, target, content={"relu1_2": 1.0})
        >>> list(loss), loss.total.shape
        (['content/relu1_2', 'pixel'], torch.Size([]))
        >>> (0.1 * loss).backward()
        >>> output.grad.shape
        torch.Size([1, 3, 32, 32])

    Taught in chapter 13.
    """
    device = torch.device("cpu")
    if isinstance(output, torch.Tensor):
        device = output.device
    loss = _one_line(device, options)
    return loss(output, target, style, weight=weight, reduction=reduction)


_KEPT: dict[tuple, PerceptualLoss] = {}  # a plain dict: torch.compile looks into it


def _one_line(device: torch.device, options: dict) -> PerceptualLoss:
    key = (device, *((name, _hashable(options[name])) for name in sorted(options)))
    if key not in _KEPT:
        if len(_KEPT) > 15:
            _KEPT.clear()
        given = {"content": JOHNSON_CONTENT, "pixel": 1.0, "normalization": "relative"}
        given |= options
        if given.get("network") is None:
            given["network"] = _shared_network(device)
        _KEPT[key] = PerceptualLoss(**given)
    return _KEPT[key]


def _hashable(value):
    if isinstance(value, Mapping):
        return tuple(value.items())
    return tuple(value) if isinstance(value, list) else value


@functools.cache
def _shared_network(device: torch.device) -> LossNetwork:
    return LossNetwork(device=device)


def _finished(
    terms: LossTerms, reduction: str, size: tuple[int, ...] | None = None
) -> LossTerms:
    """Values of pictures reduced, or maps of layers brought to the picture's size."""
    if not terms:
        raise InputError(
            "style has no places, so no map; give content or pixel weights, or another "
            "reduction"
        )
    if reduction == "map" and size is not None:
        how = {"size": size, "mode": "bilinear", "align_corners": False}
        return LossTerms(
            (name, value if value.shape[2:] == size else F.interpolate(value, **how))
            for name, value in terms.items()
        )
    return LossTerms(
        (name, reduced(value, reduction) if value.ndim == 1 else value)
        for name, value in terms.items()
    )


def _is_weight(weight: object) -> bool:
    """A number, or a tensor of one, that is finite and at least 0."""
    try:
        return 0 <= float(weight) < float("inf")  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _if_there_are_values(check: Callable, *given) -> bool:
    """Whether they could be checked: meta and fake tensors have none, nor is there a
    look at them within torch.func.vmap.
    """
    if torch.compiler.is_compiling():
        return False
    try:
        check(*given)
    except RuntimeError:
        return False
    return True


def _check_choice(what: str, given, known: Sequence) -> None:
    if given not in known:
        names = [str(name) for name in known if name is not None]
        raise InputError(f"there is no {what} {given!r}; {nearest(str(given), names)}")
