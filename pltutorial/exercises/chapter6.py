"""Checks of the exercises of chapter 6, super-resolution."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from ..degradations import downscale
from .verdicts import answer_of, judge


def check_unshuffle(answer: Callable[[torch.Tensor, int], torch.Tensor]) -> bool:
    """Check ``answer(image, factor)``: the way back from a sub-pixel convolution's last step, by slices.

    From (N, C, H, W) to (N, C factor^2, H / factor, W / factor): channel ``c factor^2 + i factor + j`` holds of colour
    c every pixel in row i and column j of its square. Tried on pictures of its own.

    Taught in chapter 6.
    """
    draw = torch.Generator().manual_seed(6)
    for factor, shape in ((2, (2, 3, 4, 6)), (4, (1, 3, 8, 16)), (3, (1, 1, 6, 3))):
        image = torch.rand(shape, generator=draw)
        value = answer_of(answer, image.clone(), factor)
        if value is None:
            return False
        right = functional.pixel_unshuffle(image, factor)
        if not isinstance(value, torch.Tensor) or value.shape != right.shape:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            return judge(
                False, "", f"{shape} by {factor} has to become {tuple(right.shape)}; yours is {got}."
            )
        if torch.equal(value, right):
            continue
        colours, squares = shape[1], factor**2
        split = right.unflatten(1, (colours, squares))
        if torch.equal(value, split.transpose(1, 2).flatten(1, 2)):
            return judge(False, "", "the colours alternate; all squares of red come first, then of green.")
        turned = split.unflatten(2, (factor, factor)).transpose(2, 3).flatten(1, 3)
        if torch.equal(value, turned):
            return judge(False, "", "rows and columns within a square are exchanged.")
        return judge(False, "", "channel i * factor + j is every factor-th pixel from row i and column j on.")
    return judge(True, "no number was lost: what comes apart by slices can be laid side by side again.", "")


def check_same_when_small(answer: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(picture)``: another picture that cannot be told from it when both are shrunk by 2.

    The answer is (1, 3, H, W) in [0, 1] like the picture, differs from it by 0.05 or more on average, and
    ``downscale`` by 2 changes no value of the small picture by as much as 0.001. Tried on pictures of its own, whose
    values lie between 0.3 and 0.7.

    Taught in chapter 6.
    """
    draw = torch.Generator().manual_seed(7)
    for height, width in ((24, 36), (16, 16)):
        picture = 0.3 + 0.4 * torch.rand((1, 3, height, width), generator=draw)
        value = answer_of(answer, picture.clone())
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != picture.shape:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            return judge(False, "", f"return a picture of shape {tuple(picture.shape)}; yours is {got}.")
        value = value.float()
        if not (value.isfinite().all() and value.min() >= 0 and value.max() <= 1):
            return judge(False, "", "values left the range from 0 to 1; add less of the pattern.")
        change = float((value - picture).abs().mean())
        if change < 0.05:
            return judge(False, "", f"the pictures differ by {change:.3f} on average; 0.05 is asked for.")
        small, other = (downscale(image, 2, round_values=False) for image in (picture, value))
        seen = float((small - other).abs().max())
        if seen >= 1e-3:
            inside = float((small - other)[..., 4:-4, 4:-4].abs().amax()) if min(height, width) > 16 else seen
            if inside < 1e-3:
                return judge(False, "", "all is well inside, but at the borders the weights are others.")
            return judge(
                False, "", f"shrunk they differ by {seen:.3f}; which patterns does the matrix send to 0?"
            )
    return judge(True, "two pictures, one small picture: no method can know which one it came from.", "")
