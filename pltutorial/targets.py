"""What a perceptual loss compares with, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from .errors import InputError
from .losses import feature_loss, style_loss

_SILENT = 1e-30  # a target layer less loud than this counts as so loud


@dataclass
class ContentTarget:
    """Features of a content target by layer, and the picture itself for the pixel term;
    of volumes and single channels the parts that are pictures.

    Example:
        >>> loss = PerceptualLoss(content={"relu1_2": 1.0})
        >>> target = loss.content_target(torch.rand(1, 3, 32, 32))
        >>> target.features["relu1_2"].shape
        torch.Size([1, 64, 32, 32])
    """

    features: dict[str, torch.Tensor]
    image: torch.Tensor
    parts: list[ContentTarget] = field(default_factory=list)


@dataclass
class StyleTarget:
    """Gram matrices by layer, for each region of the output (one region, without a
    mask, by default).

    Example:
        >>> loss = PerceptualLoss(style={"relu1_2": 1.0})
        >>> target = loss.style_target(torch.rand(1, 3, 32, 32))
        >>> target.grams[0]["relu1_2"].shape, target.masks
        (torch.Size([1, 64, 64]), [None])
    """

    grams: list[dict[str, torch.Tensor]]
    masks: list[torch.Tensor | None]


def spread(
    style: StyleTarget | None, count: int, channels: int, slices: int | None
) -> StyleTarget | None:
    """Gram matrices for the parts of pictures or volumes.

    Args:
        style: of one style, or of one for each of them.
        count: how many pictures or volumes there are.
        channels: how many Gram matrices one style has: of each channel one, or one.
        slices: into how many each volume is cut; None of channels.
    """
    if style is None:
        return None

    def fit(gram: torch.Tensor) -> torch.Tensor:
        if len(gram) == 1 or (slices is not None and len(gram) == channels):
            return gram
        if slices is None:
            return gram if len(gram) != channels else gram.repeat(count, 1, 1)
        each = gram.unflatten(0, (count, channels))
        return each.repeat_interleave(slices, 0).flatten(0, 1)

    grams = [{n: fit(gram) for n, gram in region.items()} for region in style.grams]
    return StyleTarget(grams, style.masks)


def check_count(style: StyleTarget, count: int, channels: int) -> None:
    """Refuse styles that are neither one nor one for each output.

    Raises:
        InputError: another number.
    """
    grams = (gram for region in style.grams for gram in region.values())
    given = next((gram.shape[0] for gram in grams), 1)
    # the last first: a graph of torch.export stays one for any number of pictures
    if given not in (count * channels, 1, channels):
        raise InputError(
            f"styles for {given // channels} outputs were given and {count} outputs; "
            "give one style, one for each output, or a list of styles to blend"
        )


def regions_of(style: StyleTarget | None, weight: torch.Tensor | None):
    """Pairs of Gram matrices and regions of the output, in which the weight counts too,
    and the weight.
    """
    if style is None:
        return [], weight
    masks = style.masks
    if weight is not None:
        masks = [weight if mask is None else weight * mask for mask in masks]
    return list(zip(style.grams, masks, strict=True)), weight


def balanced(
    weights: dict[str, dict],
    content: ContentTarget | None,
    style: StyleTarget | None,
    *,
    normalization: str,
    places: bool,
) -> dict[str, dict]:
    """Weights of ``content`` and ``style`` by layer, (N,), with which a normalisation's
    layers are equally loud: over what each target's layer has, times the mean of that;
    (N, 1, 1, 1) for values of places.
    """
    how = {"normalization": normalization, "reduction": "none"}
    shape = (-1, 1, 1, 1) if places else (-1,)
    scaled: dict[str, dict] = {}
    for kind, by_layer in weights.items():
        loud = {}
        for name in by_layer:
            if kind == "content":
                target = content.features[name]
                nothing = target.new_zeros(()).expand_as(target)
                loud[name] = feature_loss(nothing, target, **how)
            else:
                regions = [
                    style_loss(torch.zeros_like(grams[name]), grams[name], **how)
                    for grams in style.grams
                ]
                loud[name] = torch.stack(regions).mean(0)
        mean = torch.stack(list(loud.values())).mean(0) if loud else 0
        scaled[kind] = {
            name: weight * (mean / loud[name].clamp_min(_SILENT)).view(shape)
            for name, weight in by_layer.items()
        }
    return scaled


def normalized(weights: Sequence[float] | None, count: int) -> list[float]:
    """The shares of styles in a blend.

    Raises:
        InputError: not one for each, or negative.
    """
    weights = [1.0] * count if weights is None else list(weights)
    if len(weights) != count or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        raise InputError(
            f"the weights {weights} were given for {count} styles; give one for each, "
            "at least 0, not all 0"
        )
    return [weight / sum(weights) for weight in weights]
