"""Checks of the exercises of chapter 6, super-resolution."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from ...degradations import crop_to_multiple, downscale
from ...metrics import y_channel
from .verdicts import (
    answer_of,
    exercise,
    fresh_draw,
    judge,
    shape_or_type,
)


@exercise(
    chapter=6,
    label="ex-sr-unshuffle",
    second=(
        "fill a picture of 4x4 pixels with 0 to 15, take it apart on paper, and "
        "compare with yours entry by entry."
    ),
)
def check_unshuffle(answer: Callable[[torch.Tensor, int], torch.Tensor]) -> bool:
    """Check ``answer(image, factor)``: the way back from a sub-pixel convolution's
    last step, by slices.

    From (N, C, H, W) to (N, C factor^2, H / factor, W / factor): channel
    ``c factor^2 + i factor + j`` holds of colour c every pixel in row i and column j of
    its square. Tried on pictures of its own.

    Taught in chapter 6.
    """
    draw = fresh_draw()
    for factor, shape in ((2, (2, 3, 4, 6)), (4, (1, 3, 8, 16)), (3, (1, 1, 6, 3))):
        image = torch.rand(shape, generator=draw)
        value = answer_of(answer, image, factor)
        if value is None:
            return False
        right = functional.pixel_unshuffle(image, factor)
        if not isinstance(value, torch.Tensor) or value.shape != right.shape:
            got = shape_or_type(value)
            return judge(
                False,
                "",
                f"{shape} by {factor} has to become "
                f"{tuple(right.shape)}; yours is {got}.",
            )
        right = right.to(value.dtype)
        if torch.equal(value, right):
            continue
        colours, squares = shape[1], factor**2
        split = right.unflatten(1, (colours, squares))
        if torch.equal(value, split.transpose(1, 2).flatten(1, 2)):
            return judge(
                False,
                "",
                "the colours alternate; all squares of red come first, then of green.",
            )
        turned = split.unflatten(2, (factor, factor)).transpose(2, 3).flatten(1, 3)
        if torch.equal(value, turned):
            return judge(False, "", "rows and columns within a square are exchanged.")
        return judge(
            False,
            "",
            "channel i * factor + j is every factor-th pixel from "
            "row i and column j on.",
        )
    return judge(
        True,
        "no number was lost: what comes apart by slices can be "
        "laid side by side again.",
        "",
    )


@exercise(
    chapter=6,
    label="ex-sr-same",
    second=(
        "let W be the matrix of weights_by_hand and d the stripes: pinv(W) @ W @ d is "
        "the part of d that W sees."
    ),
)
def check_same_when_small(answer: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(picture)``: another picture that cannot be told from it when
    both are shrunk by 2.

    The answer is (1, 3, H, W) in [0, 1] like the picture, differs from it by 0.05 or
    more on average, and ``downscale`` by 2 changes no value of the small picture by as
    much as 0.001. Tried on pictures of its own, whose values lie between 0.3 and 0.7.

    Taught in chapter 6.
    """
    draw = fresh_draw()
    for height, width in ((24, 36), (16, 16)):
        picture = 0.3 + 0.4 * torch.rand((1, 3, height, width), generator=draw)
        value = answer_of(answer, picture)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != picture.shape:
            got = shape_or_type(value)
            return judge(
                False,
                "",
                f"return a picture of shape {tuple(picture.shape)}; yours is {got}.",
            )
        value = value.float()
        if not (value.isfinite().all() and value.min() >= 0 and value.max() <= 1):
            return judge(
                False, "", "values left the range from 0 to 1; add less of the pattern."
            )
        change = float((value - picture).abs().mean())
        if change < 0.05:
            return judge(
                False,
                "",
                f"the pictures differ by {change:.3f} on average; 0.05 is asked for.",
            )
        small, other = (
            downscale(image, 2, round_values=False) for image in (picture, value)
        )
        seen = float((small - other).abs().max())
        if seen >= 1e-3:
            inside = (
                float((small - other)[..., 4:-4, 4:-4].abs().amax())
                if min(height, width) > 16
                else seen
            )
            if inside < 1e-3:
                return judge(
                    False,
                    "",
                    "all is well inside, but at the borders the weights are others.",
                )
            return judge(
                False,
                "",
                f"shrunk they differ by {seen:.3f}; which patterns does "
                "the matrix send to 0?",
            )
    return judge(
        True,
        "two pictures, one small picture: no method can know which one it came from.",
        "",
    )


@exercise(
    chapter=6,
    label="ex-sr-psnr",
    seconds=6,  # a measure of a library may have to be loaded first
    second=(
        "by hand for one grey pixel, 100 in one picture and 101 in the other: "
        "how far apart are the two Y, and what is the largest difference that "
        "the formula divides by?"
    ),
)
def check_benchmark_psnr(
    answer: Callable[[torch.Tensor, torch.Tensor, int], float],
) -> bool:
    """Check ``answer(output, target, factor)``: the PSNR of super-resolution in
    decibels, as the benchmarks count it.

    The pictures are (1, 3, H, W), the target in [0, 1] and in steps of 1/255, the
    output as a network leaves it. Both are rounded to 8 bits; Y counts, without
    ``factor`` pixels at each of the four borders. Tried on pictures of its own.

    Taught in chapter 6.
    """
    draw = fresh_draw()
    for factor in (2, 3, 4):
        target = torch.randint(60, 180, (1, 3, 24, 26), generator=draw) / 255
        # the same error in all pixels
        even = torch.randint(2, 5, (1, 3, 1, 1), generator=draw) / 255
        # green errs least, so that RGB and Y tell different tales
        even[:, ::2] += 6 / 255
        # the error: twice as much just inside the rim, more on it
        rows, columns = torch.ones((2, 1, 1, 24, 26))
        (
            rows[..., [factor, -factor - 1], :],
            rows[..., :factor, :],
            rows[..., -factor:, :],
        ) = 2, 6, 6
        (
            columns[..., [factor, -factor - 1]],
            columns[..., :factor],
            columns[..., -factor:],
        ) = 2, 6, 6
        # less than half a step
        noise = (torch.rand(target.shape, generator=draw) - 0.5) * 0.9 / 255
        few = 2 / 255 * (torch.rand((1, 1, 24, 26), generator=draw) < 0.05)
        few[..., 12, 12] = 2 / 255
        bright = torch.ones_like(target)
        cases = (
            (target, target + even, ""),
            (
                target,
                target + rows * even,
                "does the rim at the top and at the bottom count, or at the sides?",
            ),
            (
                target,
                target + columns * even,
                "does the rim at the sides count, or at the top and at the bottom?",
            ),
            (
                target,
                target + few + noise,
                "a file cannot hold all the values that a network computes",
            ),
            (
                bright,
                bright - even + 0.5 * few / few.max(),
                "values above 1 are white, and no whiter",
            ),
        )
        for true, output, hint in cases:
            value = answer_of(lambda o=output, t=true, f=factor: float(answer(o, t, f)))
            if value is None:
                return False
            off = value - _decibels(output, true, factor)
            if abs(off) < 0.15:  # bfloat16 holds 40 dB to an eighth
                continue
            if not hint:
                rgb = -10 * float(even.square().mean().log10())
                hint = (
                    "65.481, 128.553 and 24.966: which values does Y take for "
                    "black and for white?"
                )
                if abs(abs(off) - 48.13) < 1.5:
                    hint = (
                        "on which scale is the error, and on which the peak, 1 or 255?"
                    )
                elif abs(value - rgb) < 0.02 and abs(off) > 0.2:
                    hint = "which channel do the benchmarks compare?"
            if abs(value - _decibels(output, true, factor, whole_y=True)) < 0.15:
                hint = "Y too was rounded to 8 bits, as rgb2ycbcr does with uint8; "
                hint += "here only the pictures are, and Y keeps its fractions"
            return judge(False, "", f"PSNR is off by more than 0.15 dB; {hint}")
    return judge(
        True,
        "8 bits, the narrow Y, a border on four sides, one scale: now "
        "tables can be compared.",
        "",
    )


@exercise(
    chapter=6,
    label="ex-sr-pair",
    second=(
        "take a photo whose left half is black and whose right half has stripes one "
        "pixel wide; look at both squares, side by side, at several places."
    ),
)
def check_training_pair(
    answer: Callable[..., tuple[torch.Tensor, torch.Tensor]],
) -> bool:
    """Check ``answer(photo, factor, top, left, side)``: a small square and the large
    square that it was made from.

    The photo (1, 3, H, W) is shrunk as the benchmarks do, ``downscale``; its sides need
    not be multiples of the factor. The small square has ``side`` pixels, from row
    ``top`` and column ``left`` of the small picture on; the large one shows the same
    part of the photo. Tried on photos of its own; at the rim of the small square, two
    pixels wide, it does not matter whether the photo or its square was shrunk.

    Taught in chapter 6.
    """
    draw = fresh_draw()
    for factor, side in ((2, 10), (4, 9)):
        photo = torch.rand(
            (1, 3, 17 * factor + 1, 19 * factor + factor - 1), generator=draw
        )
        photo = (
            255 * functional.avg_pool2d(photo, 3, 1, 1, count_include_pad=False)
        ).round() / 255
        top, left = torch.randint(3, 7, (2,), generator=draw).tolist()
        pair = answer_of(answer, photo, factor, top, left, side)
        if pair is None:
            return False
        shapes = [(1, 3, side, side), (1, 3, factor * side, factor * side)]
        if (
            not isinstance(pair, tuple | list)
            or [tuple(getattr(one, "shape", ())) for one in pair] != shapes
        ):
            return judge(
                False,
                "",
                "return two pictures, the small one first, of shapes "
                f"{shapes[0]} and {shapes[1]}",
            )
        small, large = (one.float() for one in pair)
        rows, columns = (
            slice(factor * first, factor * (first + side)) for first in (top, left)
        )
        if not torch.allclose(large, photo[..., rows, columns], atol=1e-3):
            hint = (
                "how many large pixels from the edge does the small "
                "pixel in row 1 begin?"
            )
            return judge(
                False,
                "",
                f"the large square shows another place than the small one; {hint}",
            )
        inside = (..., slice(2, -2), slice(2, -2))
        here = (..., slice(top, top + side), slice(left, left + side))
        whole = crop_to_multiple(photo, factor)
        if not torch.allclose(
            small[inside],
            downscale(whole, factor)[here][inside],
            atol=1.2 / 255,
            rtol=0,
        ):
            skipping = functional.interpolate(
                whole, scale_factor=1 / factor, mode="bicubic"
            )[here][inside]
            hint = "compare it with `downscale`, pixel by pixel"
            if torch.allclose(small[inside], skipping, atol=1.2 / 255, rtol=0):
                hint = (
                    "how many large pixels does each small one look at, and "
                    "how many does it skip?"
                )
            return judge(
                False,
                "",
                "the small square is not what the benchmarks make "
                f"of the photo; {hint}",
            )
        if float((255 * small - (255 * small).round()).abs().max()) > 0.02:
            return judge(
                False,
                "",
                "the small picture has values that no file of 8 bits can hold",
            )
    return judge(
        True,
        "both squares show the same place, and the small one is what a test "
        "will give the network.",
        "",
    )


def _decibels(
    output: torch.Tensor, target: torch.Tensor, border: int, whole_y: bool = False
) -> float:
    pictures = (
        ((255 * one.double()).round() / 255).clamp(0, 1) for one in (output, target)
    )
    y, t = map(y_channel, pictures)
    if whole_y:
        y, t = ((255 * one).round() / 255 for one in (y, t))
    return -10 * float(
        (y - t)[..., border:-border, border:-border].square().mean().log10()
    )
