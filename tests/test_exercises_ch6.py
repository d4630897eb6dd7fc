"""The checks of chapter 6's exercises: right answers pass, wrong ones get the hint that fits, copies fail."""

import pytest
import torch
import torch.nn.functional as F

from pltutorial.exercises import check_same_when_small, check_unshuffle


def unshuffle(image, factor):
    squares = [image[:, :, i::factor, j::factor] for i in range(factor) for j in range(factor)]
    return torch.stack(squares, 2).flatten(1, 2)


def colours_alternate(image, factor):
    squares = [image[:, :, i::factor, j::factor] for i in range(factor) for j in range(factor)]
    return torch.cat(squares, 1)


def columns_first(image, factor):
    squares = [image[:, :, i::factor, j::factor] for j in range(factor) for i in range(factor)]
    return torch.stack(squares, 2).flatten(1, 2)


def tiles(image, factor):
    height, width = (side // factor for side in image.shape[2:])
    parts = [
        image[:, :, i * height : (i + 1) * height, j * width : (j + 1) * width]
        for i in range(factor)
        for j in range(factor)
    ]
    return torch.stack(parts, 2).flatten(1, 2)


def test_unshuffle(capsys):
    assert check_unshuffle(unshuffle)
    assert capsys.readouterr().out.startswith("Correct")
    assert check_unshuffle(F.pixel_unshuffle)


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
    assert not check_unshuffle(answer)
    assert hint in capsys.readouterr().out


def weights(large, factor=2):
    """Rows that are the small picture's pixels: what the stretched cubic kernel takes from each large pixel."""
    rows = torch.eye(large).view(1, 1, large, large).expand(1, 3, -1, -1)
    return F.interpolate(rows, (large // factor, large), mode="bicubic", antialias=True)[0, 0].double()


def invisible(length):
    """Stripes one pixel wide, less what the small picture would see of them."""
    stripes = 1 - 2 * (torch.arange(length) % 2).double()
    matrix = weights(length)
    return (stripes - torch.linalg.pinv(matrix) @ matrix @ stripes).float()


def same_when_small(picture):
    pattern = invisible(picture.shape[-1])
    return picture + 0.25 * pattern / pattern.abs().max()


def test_same_when_small(capsys):
    assert check_same_when_small(same_when_small)
    assert capsys.readouterr().out.startswith("Correct")
    assert check_same_when_small(lambda p: same_when_small(p.transpose(2, 3)).transpose(2, 3))


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
    assert not check_same_when_small(answer)
    assert hint in capsys.readouterr().out
