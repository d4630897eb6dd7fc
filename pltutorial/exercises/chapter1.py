"""Checks of the exercises of chapter 1, pixel loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ..errors import InputError
from ..images import check_image
from ..losses import pixel_loss
from .verdicts import answer_of, exercise, judge


@exercise(
    chapter=1,
    label="ex-pixel-psnr",
    second="take the mean of the squared differences over all pixels and channels first, then one logarithm.",
)
def check_psnr(answer: Callable[[torch.Tensor, torch.Tensor], float]) -> bool:
    """Check ``answer(output, target)``: the PSNR in decibels of two images (1, 3, H, W) in [0, 1].

    Tried on pictures of its own.

    Taught in chapter 1.
    """
    draw = torch.Generator().manual_seed(1)
    target = torch.rand((1, 3, 12, 17), generator=draw)
    for strength in (0.5, 0.1, 0.003):
        output = target + strength * (torch.rand(target.shape, generator=draw) - 0.5)
        value = answer_of(lambda o=output: float(answer(o, target)))
        if value is None:
            return False
        error = float((output.double() - target.double()).square().mean())
        right = 10 * math.log10(1 / error)
        if abs(value + right) < 0.01:
            return judge(False, "", "the sign is turned round: a smaller error must give more decibels.")
        if abs(value - 10 * math.log(1 / error)) < 0.01:
            return judge(False, "", "take the logarithm to base 10, not the natural one.")
        if abs(value - right / 2) < 0.01 or abs(value - right * 2) < 0.01:
            return judge(False, "", "a squared error takes the factor 10, its root the factor 20.")
        if abs(value - right - 20 * math.log10(255)) < 0.01:
            return judge(False, "", "white is 1 here, not 255, so the largest squared error is 1.")
        if not abs(value - right) < 0.01:
            return judge(False, "", "it is ten times the base-10 logarithm of 1 / (mean squared error).")
    return judge(True, "PSNR is the squared error on a logarithmic scale, turned upside down.", "")


def check_best_picture(answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(pictures, probabilities)``: the one picture (1, 3, H, W) with the least expected L2 loss.

    ``pictures`` is (N, 3, H, W), ``probabilities`` (N,) and sums to 1. Tried on pictures of its own.

    Taught in chapter 1.
    """
    draw = torch.Generator().manual_seed(2)
    for count in (2, 5):
        pictures = torch.rand((count, 3, 6, 7), generator=draw)
        probabilities = torch.rand(count, generator=draw) + 0.1
        probabilities = probabilities / probabilities.sum()
        value = answer_of(answer, pictures, probabilities)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != pictures[:1].shape:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            return judge(False, "", f"return one picture, {tuple(pictures[:1].shape)}; yours is {got}.")
        right = torch.einsum("n,nchw->chw", probabilities, pictures)[None]
        if torch.allclose(value, pictures.mean(0, keepdim=True), atol=1e-5):
            return judge(False, "", "this is right for equal chances; now let likely pictures count more.")
        if torch.allclose(value, pictures[probabilities.argmax()][None], atol=1e-5):
            return judge(False, "", "the likeliest picture is sharp, but it is not the cheapest answer.")
        if not torch.allclose(value, right, atol=1e-5):
            return judge(False, "", "set the derivative of sum p_i (y - t_i)**2 to zero and solve for y.")
    return judge(True, "the expected picture has the least expected squared error.", "")


def check_counterexample(picture: torch.Tensor) -> bool:
    """Check a picture, (1, 3, H, W) in [0, 1], whose shift by a pixel to the side costs less than a blur of 1.5 px.

    It must have contrast (a standard deviation of at least 0.05) and be at least 32 pixels high and wide.

    Taught in chapter 1.
    """
    try:
        check_image(picture, "your picture")
    except InputError as problem:
        return judge(False, "", f"{problem}.")
    if min(picture.shape[-2:]) < 32:
        return judge(False, "", "make it at least 32 pixels high and wide.")
    if picture.std() < 0.05:
        return judge(False, "", "without contrast both cost nothing; give it a standard deviation of 0.05.")
    reach = 6
    kernel = (-torch.arange(-reach, reach + 1.0).square() / (2 * 1.5**2)).exp()
    kernel = kernel / kernel.sum()
    blurred = picture.transpose(0, 1)
    for shape in ((1, 1, 1, -1), (1, 1, -1, 1)):
        blurred = torch.nn.functional.conv2d(blurred, kernel.view(shape))
    here = picture[..., reach:-reach, reach:-reach]
    moved = picture[..., reach:-reach, reach + 1 : picture.shape[-1] - reach + 1]
    shift, blur = pixel_loss(moved, here).item(), pixel_loss(blurred.transpose(0, 1), here).item()
    return judge(
        shift < blur,
        f"moving costs {shift:.3f}, blurring {blur:.3f}.",
        f"moving costs {shift:.3f}, blurring {blur:.3f}; what looks the same after a step to the side?",
    )
