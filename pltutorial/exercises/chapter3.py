"""Checks of the exercises of chapter 3, style reconstruction."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .verdicts import answer_of, judge


def check_distinct_numbers(answer: Callable[[list[int]], int]) -> bool:
    """Check ``answer(channels)``: how many different numbers the Gram matrices of such layers hold.

    ``channels`` lists the number of channels of each layer; equal by symmetry counts once.
    Tried on lists of its own.

    Taught in chapter 3.
    """
    for channels in ([1], [2], [3, 5], [64, 128, 256, 512]):
        value = answer_of(answer, channels)
        if value is None:
            return False
        if (
            value
            == sum(count**2 for count in channels)
            != sum(count * (count + 1) // 2 for count in channels)
        ):
            return judge(False, "", "these are all entries; by symmetry G[i, j] = G[j, i] counts once.")
        if value == sum(count * (count - 1) // 2 for count in channels):
            return judge(False, "", "the diagonal is missing: a channel also fires together with itself.")
        if value != sum(count * (count + 1) // 2 for count in channels):
            return judge(False, "", f"for {channels} it gives {value}; write out a 2 x 2 Gram matrix first.")
    return judge(True, "C (C + 1) / 2 for each layer, whatever the picture's size.", "")


def check_covariance(answer: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(feature)``: the covariance of the channels over all positions, (N, C, C).

    Every position weighs the same and the sum is divided by their number. Tried on features of its own.

    Taught in chapter 3.
    """
    draw = torch.Generator().manual_seed(3)
    for shape in ((1, 2, 3, 3), (2, 5, 4, 7)):
        feature = torch.rand(shape, generator=draw) + 0.5
        value = answer_of(answer, feature)
        if value is None:
            return False
        channels, positions = shape[1], shape[2] * shape[3]
        flat = feature.flatten(2)
        right = torch.stack([torch.cov(picture, correction=0) for picture in flat])
        if not isinstance(value, torch.Tensor) or value.shape != right.shape:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            return judge(
                False, "", f"return a matrix for each picture, {tuple(right.shape)}; yours is {got}."
            )
        if torch.allclose(value, right / channels, atol=1e-5):
            return judge(False, "", "it is C times too small: the Gram matrix is divided by C H W, not H W.")
        if torch.allclose(value, right * positions / (positions - 1), atol=1e-5):
            return judge(False, "", "divide by the number of positions, not by one less.")
        if torch.allclose(value, flat @ flat.transpose(1, 2) / positions, atol=1e-5):
            return judge(False, "", "the products are right; now take away the product of the means.")
        if not torch.allclose(value, right, atol=1e-5):
            return judge(False, "", "start from cov(a, b) = mean(a b) - mean(a) mean(b).")
    return judge(True, "the Gram matrix is the covariance over C plus what the means contribute.", "")


def check_shifted_gram(answer: Callable[[torch.Tensor, int], torch.Tensor]) -> bool:
    """Check ``answer(feature, shift)``: channels multiplied with channels ``shift`` positions to the right.

    The entry [n, i, j] is the sum of F_i(y, x) F_j(y, x + shift) over all positions where both exist, divided
    by C times their number; (N, C, C). Tried on features of its own.

    Taught in chapter 3.
    """
    draw = torch.Generator().manual_seed(4)
    for shape, shift in (((1, 2, 3, 4), 0), ((2, 3, 4, 6), 1), ((1, 4, 3, 9), 5)):
        feature = torch.rand(shape, generator=draw)
        value = answer_of(answer, feature, shift)
        if value is None:
            return False
        left, right_side = feature[..., : shape[3] - shift], feature[..., shift:]
        count = left[0].numel()
        right = torch.einsum("niyx,njyx->nij", left, right_side) / count
        if not isinstance(value, torch.Tensor) or value.shape != right.shape:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            return judge(False, "", f"return (N, C, C), here {tuple(right.shape)}; yours is {got}.")
        if torch.allclose(value, right, atol=1e-5):
            continue
        if shift == 0:
            return judge(False, "", "without a shift it has to be the ordinary Gram matrix.")
        if torch.allclose(value, right.transpose(1, 2), atol=1e-5):
            return judge(False, "", "it is transposed: the second index belongs to the channel on the right.")
        if torch.allclose(value * feature[0].numel() / count, right, atol=1e-5):
            return judge(False, "", "divide by the positions that have a partner, not by all of them.")
        rolled = torch.einsum("niyx,njyx->nij", feature, feature.roll(-shift, 3)) / feature[0].numel()
        if torch.allclose(value, rolled, atol=1e-5):
            return judge(False, "", "roll brings the left edge back in on the right; cut it off instead.")
        return judge(False, "", "slice twice: all columns but the last, and all columns but the first.")
    return judge(True, "products across a distance know what stands beside what.", "")
