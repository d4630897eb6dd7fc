"""Checks of the exercises of chapter 5, feed-forward style transfer."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional

from .verdicts import answer_of, judge


def check_break_even(answer: Callable[[float, float, float], int | None]) -> bool:
    """Check ``answer(training, optimisation, network)``: from how many pictures on a network has saved time.

    The arguments are the seconds of the training, of one optimisation and of one forward pass. The answer is the
    smallest number of pictures for which training and passes together take less time than the optimisations, or
    None where they never do. Tried on times of its own.

    Taught in chapter 5.
    """
    for training, optimisation, network in ((1200, 16, 0.125), (90, 2, 0.5), (10, 3, 1), (60, 0.25, 0.25)):
        saved = optimisation - network
        right = math.floor(training / saved) + 1 if saved > 0 else None
        value = answer_of(answer, training, optimisation, network, none_is_an_answer=True)
        if value is None and right is not None:
            return judge(False, "", f"for {training}, {optimisation} and {network} s there is such a number.")
        if value == right:
            continue
        if right is None:
            return judge(False, "", "a network as slow as the optimisation never wins; return None.")
        if value == right - 1 and training % saved == 0:
            return judge(False, "", "equal times save nothing yet: take the next whole number.")
        if value == math.floor(training / optimisation) + 1:
            return judge(False, "", "the network's own passes take time too.")
        hint = f"for {training}, {optimisation} and {network} s compare both sides for the number you return."
        return judge(False, "", hint)
    return judge(True, "a network pays when it is used often enough, and never if it saves nothing.", "")


def check_even_kernel(answer: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(kernel)``: a (3, 3) kernel mended so that stride one half draws no checkerboard.

    Used by a fractionally strided convolution of stride 1/2, the mended kernel turns a picture of ones into ones (away
    from the border), and weights that meet in the same output pixels keep their proportions. Tried on positive
    kernels of its own.

    Taught in chapter 5.
    """
    draw = torch.Generator().manual_seed(5)
    for _ in range(3):
        kernel = 0.2 + torch.rand((3, 3), generator=draw)
        value = answer_of(answer, kernel.clone())
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != kernel.shape:
            return judge(False, "", "return a tensor of shape (3, 3).")
        ones = torch.ones((1, 1, 5, 5))
        inside = functional.conv_transpose2d(ones, value[None, None].float(), stride=2)[..., 2:-2, 2:-2]
        if float(inside.max() - inside.min()) > 1e-4:
            hint = "the four kinds of output pixel meet 1, 2, 2 and 4 of the weights: which are they?"
            return judge(False, "", f"ones become {inside.min():.3g} to {inside.max():.3g}; {hint}")
        if abs(float(inside.mean()) - 1) > 1e-4:
            return judge(False, "", f"even, but ones become {float(inside.mean()):.3g}.")
        right = kernel.clone()
        for rows in (slice(0, 3, 2), slice(1, 2)):
            for columns in (slice(0, 3, 2), slice(1, 2)):
                right[rows, columns] /= right[rows, columns].sum()
        if not torch.allclose(value.float(), right, atol=1e-4):
            return judge(False, "", "even, but weights that meet in one pixel lost their proportions.")
    return judge(True, "each kind of output pixel gets weights that add up to 1, so ones stay ones.", "")
