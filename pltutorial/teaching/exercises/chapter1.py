"""Checks of the exercises of chapter 1, pixel loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ...errors import InputError
from ...images import check_image
from ...losses import pixel_loss
from .verdicts import (
    alike,
    answer_of,
    exercise,
    fresh_draw,
    judge,
    near,
    shape_or_type,
)


@exercise(
    chapter=1,
    label="ex-pixel-psnr",
    second=(
        "in steps: the differences, their squares, one mean over all of them, one "
        "over that, the logarithm, ten times that; print each and compare with two "
        "pictures of one grey each, 0.5 and 0.6, which are 20 dB apart."
    ),
)
def check_psnr(answer: Callable[[torch.Tensor, torch.Tensor], float]) -> bool:
    """Check ``answer(output, target)``: the PSNR in decibels of two images
    (1, 3, H, W) in [0, 1].

    Tried on pictures of its own; within 0.2 dB is right, so that half
    precision will do.

    Example:
        >>> def psnr_by_hand(output, target):
        ...     return 10 * math.log10(1 / float((output - target).square().mean()))
        >>> check_psnr(psnr_by_hand)
        Correct: PSNR is the squared error on a logarithmic scale, turned upside down.
        True

    Taught in chapter 1.
    """
    draw = fresh_draw()
    for strength in (0.3, 0.5, 0.1):
        height, width = torch.randint(8, 20, (2,), generator=draw).tolist()
        # no white, but the peak is 1
        target = 0.12 + 0.48 * torch.rand((1, 3, height, width), generator=draw)
        # each colour errs by another size, as in photographs, so that a mean of three
        # colours' decibels is not the decibels of the mean
        sizes = strength * torch.tensor([0.4, 0.7, 1.0])
        sizes = sizes[torch.randperm(3, generator=draw)].view(1, 3, 1, 1)
        output = target + sizes * (torch.rand(target.shape, generator=draw) - 0.2)
        value = answer_of(answer, output, target)
        if value is None:
            return False
        try:
            value = float(value)
        except (TypeError, ValueError, RuntimeError):
            return judge(
                False,
                "",
                "return one number of decibels, not one for each pixel or colour.",
            )
        difference = output.double() - target.double()
        error = float(difference.square().mean())
        right = 10 * math.log10(1 / error)

        def says(decibels: float, value: float = value) -> bool:
            return abs(value - decibels) < 0.2

        if says(right):
            continue
        if says(-right):
            return judge(
                False,
                "",
                "the sign is turned round: a smaller error must give more decibels.",
            )
        if says(10 * math.log(1 / error)):
            return judge(
                False, "", "take the logarithm to base 10, not the natural one."
            )
        each = -10 * difference.square().mean((0, 2, 3)).log10()
        if says(float(each.mean())):
            return judge(
                False,
                "",
                "a mean of three colours' decibels is not the PSNR; average the "
                "squared errors over all colours, then take the logarithm.",
            )
        if says(right / 2) or says(right * 2):
            return judge(
                False,
                "",
                "a squared error takes the factor 10, its root the factor 20.",
            )
        if says(right + 20 * math.log10(255)):
            return judge(
                False,
                "",
                "white is 1 here, not 255, so the largest squared error is 1.",
            )
        if says(right + 20 * math.log10(float(target.max()))):
            return judge(False, "", "white is 1 even in a picture that has no white.")
        if says(right - 10 * math.log10(target.numel())):
            return judge(
                False, "", "the squared errors are added up; divide by their number."
            )
        if says(-10 * math.log10(float(difference.var()))):
            return judge(
                False,
                "",
                "a variance forgives a picture that is too bright "
                "everywhere; PSNR does not.",
            )
        return judge(
            False,
            "",
            "it is ten times the base-10 logarithm of 1 / (mean squared error).",
        )
    return judge(
        True,
        "PSNR is the squared error on a logarithmic scale, turned upside down.",
        "",
    )


@exercise(
    chapter=1,
    label="ex-pixel-weighted",
    second=(
        "for one pixel with two answers, black with probability 1/4 and white with "
        "3/4, write down the expected squared error of a grey y, differentiate, and "
        "then let tensors do the same for all pixels."
    ),
)
def check_best_picture(
    answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> bool:
    """Check ``answer(pictures, probabilities)``: the one picture (1, 3, H, W) with the
    least expected L2 loss.

    ``pictures`` is (N, 3, H, W), ``probabilities`` (N,) and sums to 1. Tried on
    pictures of its own.

    Taught in chapter 1.
    """
    draw = fresh_draw()
    for count in (2, 5, 3):
        height, width = torch.randint(4, 9, (2,), generator=draw).tolist()
        pictures = torch.rand((count, 3, height, width), generator=draw)
        chances = 3.0 ** torch.randperm(count, generator=draw) + 0.5 * torch.rand(
            count, generator=draw
        )
        probabilities = chances / chances.sum()
        value = answer_of(answer, pictures, probabilities)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != pictures[:1].shape:
            got = shape_or_type(value)
            return judge(
                False,
                "",
                f"return one picture, {tuple(pictures[:1].shape)}; yours is {got}.",
            )
        weighted = probabilities.view(-1, 1, 1, 1) * pictures
        if alike(value, weighted.sum(0, keepdim=True)):
            continue
        if alike(value, pictures.mean(0, keepdim=True)):
            return judge(
                False,
                "",
                "this is right for equal chances; now let likely pictures count more.",
            )
        if alike(value, pictures[probabilities.argmax()][None]):
            return judge(
                False,
                "",
                "the likeliest picture is sharp, but it is not the cheapest answer.",
            )
        if alike(value, weighted.mean(0, keepdim=True)):
            return judge(
                False,
                "",
                "the probabilities already sum to 1; do not divide once more.",
            )
        if alike(value, pictures.median(0, keepdim=True).values):
            return judge(
                False,
                "",
                "the median is L1's answer, and it knows nothing of the chances.",
            )
        return judge(
            False,
            "",
            "set the derivative of sum p_i (y - t_i)**2 to zero and solve for y.",
        )
    return judge(True, "the expected picture has the least expected squared error.", "")


@exercise(
    chapter=1,
    label="ex-pixel-grey-loss",
    second=(
        "print the shape of the differences for three pictures; then take one pixel "
        "at 1.5 whose target is 1, call backward(), and print its gradient."
    ),
)
def check_grey_loss(
    answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> bool:
    """Check ``answer(outputs, scans)``: the L2 loss of ``outputs`` (N, 1, H, W) against
    scans of eight bits.

    ``scans`` is (N, H, W), uint8 from 0 (black) to 255 (white), and white is 1 in the
    outputs, which may stray outside [0, 1]. The loss is a mean over all values, and its
    gradient must reach every output. Tried on pictures of its own.

    Taught in chapter 1.
    """
    draw = fresh_draw()
    # stretched by 1.8 they leave [0, 1]
    for count, stretch in ((1, 0.8), (3, 0.8), (1, 1.8), (4, 1.8)):
        height, width = torch.randint(6, 9, (2,), generator=draw).tolist()
        scans = torch.randint(
            0, 256, (count, height, width), generator=draw, dtype=torch.uint8
        )
        noise = 0.1 * torch.rand((count, 1, height, width), generator=draw) - 0.05
        outputs = 0.5 + stretch * (scans[:, None].float() / 255 - 0.5) + noise
        outputs.requires_grad_()
        value = answer_of(answer, outputs, scans)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            got = shape_or_type(value)
            return judge(
                False,
                "",
                "return one number as a tensor, to call backward() "
                f"on; yours is {got}.",
            )
        value = value.reshape(())
        differences = outputs.detach() - scans[:, None].float() / 255
        if not alike(value, differences.square().mean()):
            return judge(False, "", _wrong_grey_loss(value, outputs.detach(), scans))
        if not value.requires_grad:
            return judge(
                False,
                "",
                "the number is right, but no gradient leads back to the outputs.",
            )
        value.backward()
        gradient = (
            outputs.grad if outputs.grad is not None else torch.zeros_like(outputs)
        )
        if not near(gradient * differences.numel() / 2, differences, atol=0.02):
            hint = (
                "the number is right, but its gradient is not the squared "
                "error's at every pixel."
            )
            return judge(False, "", hint)
    return judge(
        True,
        "each output meets its own target only, and no pixel is lost outside [0, 1].",
        "",
    )


def _wrong_grey_loss(
    value: torch.Tensor, outputs: torch.Tensor, scans: torch.Tensor
) -> str:
    """The hint for a value that is not the loss."""
    targets, count = scans.float()[:, None] / 255, len(scans)
    clamped = outputs.clamp(0, 1)
    hints = {
        "it is the mean over pixels, but a sum over pictures.": [
            count * (outputs - targets).square().mean()
        ],
        "this is L1; squared error was asked for.": [(outputs - targets).abs().mean()],
        (
            "a value outside [0, 1] costs too little, and its gradient is lost: "
            "where is it cut off?"
        ): [(clamped - targets).square().mean()],
        "every output is compared with the targets of all pictures.": [
            (given - targets[:, 0]).square().mean() for given in (outputs, clamped)
        ],
        "white is 255 in a scan and 1 in an output.": [
            (outputs - 255 * targets).square().mean()
        ],
        "the squares are added up; divide by their number.": [
            (outputs - targets).square().sum()
        ],
    }
    for hint, numbers in hints.items():
        if any(alike(value, number) for number in numbers):
            return hint
    return (
        "it is not the mean of the squared differences; work one picture of two "
        "pixels out on paper."
    )


@exercise(
    chapter=1,
    label="ex-pixel-counterexample",
    second=(
        "a step to the side compares each pixel with its neighbour on the right: make "
        "those two equal everywhere, and put the contrast into another direction."
    ),
)
def check_counterexample(answer: Callable[[], torch.Tensor]) -> bool:
    """Check ``answer()``: a picture whose shift by a pixel to the side costs less
    than a blur of 1.5 px.

    It is (1, 3, H, W) in [0, 1], at least 32 pixels high and wide, and has contrast (a
    standard deviation of at least 0.05).

    Taught in chapter 1.
    """
    picture = answer_of(answer)
    if picture is None:
        return False
    try:
        check_image(picture, "your picture")
    except InputError as problem:
        return judge(False, "", f"{problem}.")
    if min(picture.shape[-2:]) < 32:
        return judge(False, "", "make it at least 32 pixels high and wide.")
    if picture.std() < 0.05:
        return judge(
            False,
            "",
            "without contrast both cost nothing; give it a standard deviation of 0.05.",
        )
    picture = picture.detach().to("cpu", torch.float32)
    reach = 6
    kernel = (-torch.arange(-reach, reach + 1.0).square() / (2 * 1.5**2)).exp()
    kernel = kernel / kernel.sum()
    blurred = picture.transpose(0, 1)
    for shape in ((1, 1, 1, -1), (1, 1, -1, 1)):
        blurred = torch.nn.functional.conv2d(blurred, kernel.view(shape))
    here = picture[..., reach:-reach, reach:-reach]
    moved = picture[..., reach:-reach, reach + 1 : picture.shape[-1] - reach + 1]
    shift, blur = (
        pixel_loss(moved, here).item(),
        pixel_loss(blurred.transpose(0, 1), here).item(),
    )
    return judge(
        shift < blur,
        f"moving costs {shift:.3f}, blurring {blur:.3f}.",
        f"moving costs {shift:.3f}, blurring {blur:.3f}; what looks the same "
        "after a step to the side?",
    )
