"""The checks of chapter 6's exercises: right answers pass, wrong ones get the hint that
fits, copies fail.
"""

import pytest
import torch
import torch.nn.functional as F
from exercise_checks import refused
from hypothesis import given, settings
from hypothesis import strategies as st

from pltutorial import crop_to_multiple, downscale, psnr, to_8_bits
from pltutorial.exercises import (
    check_benchmark_psnr,
    check_same_when_small,
    check_training_pair,
    check_unshuffle,
)

few = settings(max_examples=6, deadline=None)


def unshuffle(image, factor):
    squares = [
        image[:, :, i::factor, j::factor] for i in range(factor) for j in range(factor)
    ]
    return torch.stack(squares, 2).flatten(1, 2)


def colours_alternate(image, factor):
    squares = [
        image[:, :, i::factor, j::factor] for i in range(factor) for j in range(factor)
    ]
    return torch.cat(squares, 1)


def columns_first(image, factor):
    squares = [
        image[:, :, i::factor, j::factor] for j in range(factor) for i in range(factor)
    ]
    return torch.stack(squares, 2).flatten(1, 2)


def tiles(image, factor):
    height, width = (side // factor for side in image.shape[2:])
    parts = [
        image[:, :, i * height : (i + 1) * height, j * width : (j + 1) * width]
        for i in range(factor)
        for j in range(factor)
    ]
    return torch.stack(parts, 2).flatten(1, 2)


def by_view(image, factor):
    count, colours, height, width = image.shape
    squares = image.reshape(
        count, colours, height // factor, factor, width // factor, factor
    )
    return squares.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)


def by_convolution(image, factor):
    kernels = torch.eye(factor**2, dtype=image.dtype).view(-1, 1, factor, factor)
    return F.conv2d(
        image,
        kernels.repeat(image.shape[1], 1, 1, 1),
        stride=factor,
        groups=image.shape[1],
    )


@few
@given(
    st.sampled_from([unshuffle, F.pixel_unshuffle, by_view, by_convolution]),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_no_false_alarm_of_unshuffle(function, dtype):
    assert check_unshuffle(lambda image, factor: function(image.to(dtype), factor))


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda image, factor: image, "has to become (2, 12, 2, 3)"),
        (lambda image, factor: 7, "yours is int"),
        (colours_alternate, "the colours alternate"),
        (columns_first, "rows and columns within a square"),
        (tiles, "every factor-th pixel"),
        (lambda image, factor: unshuffle(image, 2), "has to become (1, 48, 2, 4)"),
        (lambda image, factor: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_wrong_unshuffle(answer, hint, capsys):
    refused(check_unshuffle, answer, hint, capsys)


def weights(large, factor=2):
    """Rows that are the small picture's pixels: what the stretched cubic kernel takes
    from each large pixel.
    """
    rows = torch.eye(large).view(1, 1, large, large).expand(1, 3, -1, -1)
    return F.interpolate(
        rows, (large // factor, large), mode="bicubic", antialias=True
    )[0, 0].double()


def invisible(length):
    """Stripes one pixel wide, less what the small picture would see of them."""
    stripes = 1 - 2 * (torch.arange(length) % 2).double()
    matrix = weights(length)
    return (stripes - torch.linalg.pinv(matrix) @ matrix @ stripes).float()


def same_when_small(picture):
    pattern = invisible(picture.shape[-1])
    return picture + 0.25 * pattern / pattern.abs().max()


@few
@given(
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([-1, 0.7, 1]),
)
def test_no_false_alarm_of_the_twin(upright, dtype, strength):
    def answer(picture):
        turned = (picture.transpose(2, 3) if upright else picture).to(dtype)
        other = turned + strength * (same_when_small(turned) - turned)
        return other.transpose(2, 3) if upright else other

    assert check_same_when_small(answer)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda p: p, "differ by 0.000 on average"),
        (lambda p: p[..., :-2], "return a picture of shape"),
        (lambda p: None, "returned None"),
        (lambda p: 1 - p, "which patterns"),
        (lambda p: p + 8 * (same_when_small(p) - p), "left the range"),
        (lambda p: p + (same_when_small(p) - p) / 8, "0.05 is asked for"),
        (lambda p: p + 0.1 - 0.2 * (torch.arange(p.shape[-1]) % 2), "at the borders"),
        (lambda p: torch.full_like(p, float("nan")), "left the range"),
        (lambda p: p.nothing, "AttributeError"),
    ],
)
def test_wrong_same_when_small(answer, hint, capsys):
    refused(check_same_when_small, answer, hint, capsys)


def benchmark_psnr(output, target, factor, fault=""):
    """The PSNR of the exercise, right or with one of the mistakes that people make."""
    if "unrounded" not in fault:
        output, target = to_8_bits(output), to_8_bits(target)
    if "unclamped" in fault:
        output = (output * 255).round() / 255
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=output.dtype) / 255
    if "luma" in fault:
        weights = torch.tensor([0.299, 0.587, 0.114], dtype=output.dtype)
    difference = torch.einsum("c,nchw->nhw", weights, output - target)
    if "rgb" in fault:
        difference = output - target
    if "whole Y" in fault:  # 16 is added, which changes no difference
        y, t = (torch.einsum("c,nchw->nhw", weights, one) for one in (output, target))
        difference = ((255 * y).round() - (255 * t).round()) / 255
    if "columns" in fault:
        difference = difference[..., factor:-factor]
    elif "rows" in fault:
        difference = difference[..., factor:-factor, :]
    elif "wide" in fault:
        difference = difference[..., factor + 1 : -factor - 1, factor + 1 : -factor - 1]
    elif "border" not in fault:
        difference = difference[..., factor:-factor, factor:-factor]
    if "scale" in fault:
        difference = 255 * difference
    return 10 * torch.log10(1 / difference.square().mean())


# loads scikit-image before the time of an answer counts
psnr(torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8))


def by_package(output, target, factor):
    return psnr(output.clamp(-0.4, 1.4), target, border=factor)


def by_loops(output, target, factor):
    total, count = 0.0, 0
    output, target = (to_8_bits(one)[0].tolist() for one in (output, target))
    for row in range(factor, len(target[0]) - factor):
        for column in range(factor, len(target[0][0]) - factor):
            weights = zip((65.481, 128.553, 24.966), output, target, strict=True)
            total += (
                sum(w * (o[row][column] - t[row][column]) for w, o, t in weights) / 255
            ) ** 2
            count += 1
    return -10 * float(torch.tensor(total / count).log10())


@few
@given(
    st.sampled_from([benchmark_psnr, by_package, by_loops]),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_no_false_alarm_of_the_psnr(function, dtype, of_the_result):
    def answer(output, target, factor):
        value = function(output.to(dtype), target.to(dtype), factor)
        return torch.as_tensor(value).to(of_the_result)

    assert check_benchmark_psnr(answer)


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        ("luma, columns, unrounded, scale", "on which scale"),
        ("scale", "on which scale"),
        ("luma", "black and for white"),
        ("rgb", "which channel"),
        ("whole Y", "Y too was rounded"),
        ("columns", "at the top and at the bottom count"),
        ("rows", "at the sides count"),
        ("border", "does the rim"),
        ("wide", "does the rim"),
        ("unrounded", "a file cannot hold"),
        ("unrounded, unclamped", "no whiter"),
    ],
)
def test_wrong_psnr_gets_the_hint(fault, hint, capsys):
    refused(
        check_benchmark_psnr, lambda *given: benchmark_psnr(*given, fault), hint, capsys
    )


def training_pair(photo, factor, top, left, side, fault="", dtype=torch.float32):
    """The pair of the exercise, right or with one of the mistakes that people make."""
    photo = crop_to_multiple(photo, factor)
    rows, columns = (
        slice(factor * first, factor * (first + side)) for first in (top, left)
    )
    if "place" in fault:
        rows, columns = (
            slice(top, top + factor * side),
            slice(left, left + factor * side),
        )
    large = photo[..., rows, columns]
    if fault == "square shrunk":  # right as well, apart from its rim
        return downscale(large, factor), large
    small = downscale(
        photo.to(dtype), factor, "gaussian" if "gaussian" in fault else "bicubic"
    )
    if "skips" in fault:
        small = to_8_bits(F.interpolate(photo, scale_factor=1 / factor, mode="bicubic"))
    if "unrounded" in fault:
        small = downscale(photo, factor, round_values=False)
    if "mean" in fault:
        small = to_8_bits(F.avg_pool2d(photo, factor))
    small = small[..., top : top + side, left : left + side]
    if "transposed" in fault:
        small = small.mT
    return (large, small) if "exchanged" in fault else (small, large)


def by_matrices(photo, factor, top, left, side):
    photo = crop_to_multiple(photo, factor)
    rows, columns = (weights(length, factor) for length in photo.shape[-2:])
    small = to_8_bits(rows @ photo.double() @ columns.T)[
        ..., top : top + side, left : left + side
    ]
    return small, training_pair(photo, factor, top, left, side)[1].double()


@few
@given(
    st.sampled_from(["", "square shrunk", "matrices"]),
    st.sampled_from([torch.float32, torch.float64]),
    st.booleans(),
)
def test_no_false_alarm_of_the_pair(how, dtype, as_list):
    def answer(*given):
        pair = (
            by_matrices(*given)
            if how == "matrices"
            else training_pair(*given, how, dtype)
        )
        return list(pair) if as_list else pair

    assert check_training_pair(answer)


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        ("place, skips", "shows another place"),
        ("place", "shows another place"),
        ("skips", "does it skip"),
        ("gaussian", "compare it with"),
        ("mean", "compare it with"),
        ("transposed", "compare it with"),
        ("unrounded", "8 bits"),
        ("exchanged", "the small one first"),
    ],
)
def test_wrong_pair_gets_the_hint(fault, hint, capsys):
    refused(
        check_training_pair, lambda *given: training_pair(*given, fault), hint, capsys
    )
