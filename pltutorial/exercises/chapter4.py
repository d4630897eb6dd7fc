"""Checks of the exercises of chapter 4, style transfer by optimisation."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..losses import feature_loss, style_loss
from ..optimize import luminance
from .verdicts import answer_of, judge


def check_gatys_weight(answer: Callable[[float, tuple[int, int, int]], float]) -> bool:
    """Check ``answer(style_weight, (C, H, W))``: the style weight that ``normalization="gatys"`` needs.

    It keeps the balance between style and content terms that ``style_weight`` has under ``"johnson"``,
    for content features of the given shape. Tried on shapes and weights of its own.

    Taught in chapter 4.
    """
    draw = torch.Generator().manual_seed(4)
    for style_weight, shape in ((1e-4, (256, 24, 36)), (5.0, (3, 7, 5)), (0.3, (16, 1, 9))):
        value = answer_of(lambda w=style_weight, s=shape: float(answer(w, s)))
        if value is None:
            return False
        one, other = torch.rand((2, 1, *shape), generator=draw)
        balance = {}
        for how, weight in (("johnson", style_weight), ("gatys", value)):
            style = weight * style_loss(one, other, normalization=how)
            balance[how] = float(style / feature_loss(one, other, normalization=how))
        if abs(balance["gatys"] / balance["johnson"] - 1) > 1e-3:
            factor = balance["gatys"] / balance["johnson"]
            hint = "the content term grows by C H W / 2 and the style term shrinks to a quarter"
            return judge(False, "", f"for features {shape} style weighs {factor:.3g} times too much; {hint}")
    return judge(True, "style and content keep their balance for every shape that was tried", "")


def check_luminance_transfer(answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(output, content)``: the output's luminance with the content's colours, (1, 3, H, W).

    Tried on pictures of its own, with values so moderate that nothing needs clipping.

    Taught in chapter 4.
    """
    output, content = 0.35 + 0.3 * torch.rand((2, 1, 3, 6, 9), generator=torch.Generator().manual_seed(4))
    value = answer_of(answer, output, content)
    if value is None:
        return False
    if not isinstance(value, torch.Tensor) or value.shape != content.shape:
        return judge(False, "", f"return an image of shape {tuple(content.shape)}, like the content")
    if not torch.allclose(luminance(value), luminance(output), atol=1e-3):
        return judge(
            False, "", "the luminance is not the output's: which grey must be added, which taken away?"
        )
    grey_free = [image - luminance(image) for image in (value, content)]
    if not torch.allclose(*grey_free, atol=5e-3):
        return judge(False, "", "the luminance is right, but the colours are not the content's")
    return judge(True, "adding the same grey to R, G and B moves the luminance and leaves I and Q alone", "")
