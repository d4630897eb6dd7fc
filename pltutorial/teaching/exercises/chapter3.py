"""Checks of the exercises of chapter 3, style reconstruction."""

from __future__ import annotations

from collections.abc import Callable

import torch

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
    chapter=3,
    label="ex-style-distinct",
    second=(
        "for 2 channels the matrix has the entries aa, ab, ba, bb, of which ab "
        "and ba are one number; for 3 channels draw the table and cross out "
        "everything below the diagonal."
    ),
)
def check_distinct_numbers(answer: Callable[[list[int]], int]) -> bool:
    """Check ``answer(channels)``: how many different numbers the Gram matrices
    of such layers hold.

    ``channels`` lists the number of channels of each layer; equal by symmetry counts
    once. Tried on lists of its own.

    Taught in chapter 3.
    """
    draw = fresh_draw()
    lists = [[1], [2], torch.randint(3, 9, (3,), generator=draw).tolist()]
    lists += [
        torch.randint(1, 600, (count,), generator=draw).tolist() for count in (2, 5)
    ]
    for channels in lists:
        value = answer_of(answer, list(channels))
        if value is None:
            return False
        try:
            value = float(value)
        except (TypeError, ValueError, RuntimeError):
            return judge(False, "", "return one number, for all layers together.")
        right = sum(count * (count + 1) // 2 for count in channels)
        if value == right:
            continue
        if value == sum(count**2 for count in channels):
            return judge(
                False,
                "",
                "these are all entries; by symmetry G[i, j] = G[j, i] counts once.",
            )
        if value == sum(count * (count - 1) // 2 for count in channels):
            return judge(
                False,
                "",
                "the diagonal is missing: a channel also fires together with itself.",
            )
        if value == sum(channels) * (sum(channels) + 1) // 2:
            return judge(
                False,
                "",
                "each layer has a matrix of its own; channels of "
                "two layers never meet.",
            )
        return judge(
            False,
            "",
            "it is not right for every list; write out a 2 x 2 Gram matrix first.",
        )
    return judge(True, "C (C + 1) / 2 for each layer, whatever the picture's size.", "")


@exercise(
    chapter=3,
    label="ex-style-covariance",
    second=(
        "gram_matrix(feature) times C is mean(a b) for all pairs of channels; mean(a) "
        "mean(b) for all pairs is the means as a column times the means as a row, for "
        "each picture by itself."
    ),
)
def check_covariance(answer: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(feature)``: the covariance of the channels over all
    positions, (N, C, C).

    Every position weighs the same and the sum is divided by their number. Tried on
    features of its own.

    Taught in chapter 3.
    """
    draw = fresh_draw()
    for count, channels in ((1, 2), (3, 5), (2, 4)):
        height, width = (
            (3, 4) if count == 1 else torch.randint(2, 5, (2,), generator=draw).tolist()
        )
        positions = height * width
        feature = torch.randn((count, channels, height, width), generator=draw)
        # means of 0.5 to 1: neither lost nor in the way
        feature = feature - feature.mean((2, 3), keepdim=True)
        feature = (
            feature + 0.5 + 0.5 * torch.rand((count, channels, 1, 1), generator=draw)
        )
        value = answer_of(answer, feature)
        if value is None:
            return False
        flat = feature.flatten(2)
        right = torch.stack([torch.cov(picture, correction=0) for picture in flat])
        if not isinstance(value, torch.Tensor) or value.shape != right.shape:
            got = shape_or_type(value)
            return judge(
                False,
                "",
                "return a matrix for each picture, "
                f"{tuple(right.shape)}; yours is {got}.",
            )
        if alike(value, right):
            continue
        if alike(value, right / channels):
            return judge(
                False,
                "",
                "it is C times too small: the Gram matrix is "
                "divided by C H W, not H W.",
            )
        if alike(value, right * positions / (positions - 1)):
            return judge(
                False, "", "divide by the number of positions, not by one less."
            )
        if alike(value, flat @ flat.transpose(1, 2) / positions):
            return judge(
                False,
                "",
                "the products are right; now take away the product of the means.",
            )
        means = flat.mean((0, 2))
        if alike(
            value, flat @ flat.transpose(1, 2) / positions - means[:, None] * means
        ):
            return judge(
                False,
                "",
                "each picture has means of its own; these are the means of the batch.",
            )
        return judge(False, "", "start from cov(a, b) = mean(a b) - mean(a) mean(b).")
    return judge(
        True,
        "the Gram matrix is the covariance over C plus what the means contribute.",
        "",
    )


@exercise(
    chapter=3,
    label="ex-style-shifted",
    second=(
        "for one row of four values and a shift of 1 there are three pairs: values 0, "
        "1, 2 on the left with values 1, 2, 3 on the right; cut both parts out, "
        "multiply, and count one part's positions."
    ),
)
def check_shifted_gram(answer: Callable[[torch.Tensor, int], torch.Tensor]) -> bool:
    """Check ``answer(feature, shift)``: channels multiplied with channels ``shift``
    positions to the right.

    The entry [n, i, j] is the sum of F_i(y, x) F_j(y, x + shift) over all
    positions where both exist, divided by C times their number; (N, C, C). Tried
    on features of its own.

    Taught in chapter 3.
    """
    draw = fresh_draw()
    for count, channels, width, shift in (
        (1, 2, 4, 0),
        (2, 3, 6, 1),
        (1, 4, 9, 5),
        (3, 2, 5, 2),
    ):
        height = int(torch.randint(3, 6, (), generator=draw))
        feature = torch.rand((count, channels, height, width), generator=draw)
        # channels of unlike strength
        feature = feature * torch.arange(1, channels + 1).view(1, -1, 1, 1)
        feature = feature * torch.linspace(0.5, 2, width)  # and sides as well
        value = answer_of(answer, feature, shift)
        if value is None:
            return False
        left, right_side = feature[..., : width - shift], feature[..., shift:]
        pairs = left[0].numel()
        right = torch.einsum("niyx,njyx->nij", left, right_side) / pairs
        if not isinstance(value, torch.Tensor) or value.shape != right.shape:
            got = shape_or_type(value)
            return judge(
                False,
                "",
                f"return (N, C, C), here {tuple(right.shape)}; yours is {got}.",
            )
        if _same_gram(value, right):
            continue
        if shift == 0:
            return judge(
                False, "", "without a shift it has to be the ordinary Gram matrix."
            )
        if _same_gram(value, right.transpose(1, 2)):
            return judge(
                False,
                "",
                "it is transposed: the second index belongs to the "
                "channel on the right.",
            )
        if _same_gram(value * feature[0].numel() / pairs, right):
            return judge(
                False,
                "",
                "divide by the positions that have a partner, not by all of them.",
            )
        rolled = (
            torch.einsum("niyx,njyx->nij", feature, feature.roll(-shift, 3))
            / feature[0].numel()
        )
        if _same_gram(value, rolled):
            return judge(
                False,
                "",
                "roll brings the left edge back in on the right; cut it off instead.",
            )
        if shift < height:
            below = torch.einsum(
                "niyx,njyx->nij", feature[:, :, : height - shift], feature[:, :, shift:]
            )
            if _same_gram(value, below / feature[0, :, shift:].numel()):
                return judge(
                    False, "", "this shift goes down; width is the last dimension."
                )
        return judge(
            False,
            "",
            "slice twice: all columns but the last, and all columns but the first.",
        )
    return judge(True, "products across a distance know what stands beside what.", "")


def _same_gram(value: torch.Tensor, right: torch.Tensor) -> bool:
    """Entry by entry within 1.5%, since all entries are sums of positive numbers; half
    precision keeps 0.4%.
    """
    return near(value, right, atol=1e-6, rtol=0.015)


@exercise(
    chapter=3,
    label="ex-style-batch",
    second=(
        "give it one picture whose features are those of the style, but for a shuffle "
        "of all positions (the loss is 0), then a style with twice as many positions, "
        "then the same picture three times; look at style.grad last."
    ),
)
def check_batch_style_loss(
    answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> bool:
    """Check ``answer(output, style)``: the style loss of features (N, C, H, W) to those
    of one style (1, C, H', W').

    It is a mean over the pictures of Johnson's style reconstruction loss, the squared
    Frobenius norm between Gram matrices that are each divided by their own C H W; the
    gradient reaches ``output`` and nothing else. Tried on features of its own.

    Taught in chapter 3.
    """
    draw = fresh_draw()
    trials = {"plain": (1, (4, 5)), "size": (1, (6, 8)), "batch": (3, (3, 7))}
    for name, (count, style_size) in trials.items():
        while True:
            channels = int(torch.randint(3, 6, (), generator=draw))
            output = torch.rand((count, channels, 4, 5), generator=draw)
            style = torch.rand((1, channels, *style_size), generator=draw)
            style = style * torch.linspace(0.4, 2, channels).view(1, -1, 1, 1)
            # pictures of unlike strength
            output = output * torch.linspace(0.5, 1.5, count).view(-1, 1, 1, 1)
            # the same numbers with rows for channels: where chance makes their loss
            # the same, draw again
            mixed = [
                given.reshape(len(given), -1, channels).mT.reshape(given.shape)
                for given in (output, style)
            ]
            if not _same_loss(_style_loss(*mixed)[0], _style_loss(output, style)[0]):
                break
        output.requires_grad_()
        right, single = _style_loss(output, style)
        (gradient,) = torch.autograd.grad(right, output)
        given, target = (
            output.detach().clone().requires_grad_(),
            style.clone().requires_grad_(),
        )
        value = answer_of(answer, given, target)
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
        if not _same_loss(value, right):
            hint = _BATCH_HINTS[name]
            if _same_loss(value, right / channels**2):
                hint = (
                    "this is the mean over the C x C entries; "
                    "Johnson's loss is their sum."
                )
            elif _same_loss(value, single.sum()):
                hint = (
                    "with one picture it is right; with three it is a sum over the "
                    "pictures, not a mean."
                )
            return judge(False, "", hint)
        if not value.requires_grad:
            return judge(
                False,
                "",
                "the number is right, but no gradient leads back to the output.",
            )
        value.backward()
        if target.grad is not None and target.grad.abs().max() > 0:
            hint = (
                "the gradient reaches the style as well: a target stands still, "
                "so cut it off there."
            )
            return judge(False, "", hint)
        if given.grad is None or not near(
            given.grad, gradient, atol=0.1 * float(gradient.abs().max())
        ):
            return judge(
                False,
                "",
                "the number is right, but its gradient with respect "
                "to the output is not.",
            )
    return judge(
        True,
        "each picture has its own Gram matrix, each matrix its own size, "
        "and the style stays.",
        "",
    )


_BATCH_HINTS = {
    "plain": (
        "one picture and a style of its size are enough to see it: does row i of your "
        "matrix hold channel i?"
    ),
    "size": (
        "with equal sizes it is right: by how many positions is the style's "
        "Gram matrix divided?"
    ),
    "batch": (
        "with one picture it is right, with three it is not: which pictures "
        "meet in one Gram matrix?"
    ),
}


def _style_loss(
    output: torch.Tensor, style: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean over the pictures, and the loss of each."""
    grams = [
        torch.einsum("nihw,njhw->nij", given, given) / given[0].numel()
        for given in (output, style)
    ]
    single = (grams[0] - grams[1]).square().sum((1, 2))
    return single.mean(), single


def _same_loss(value: torch.Tensor, right: torch.Tensor) -> bool:
    """Within 4%: a difference of Gram matrices in half precision loses more digits
    than each of them.
    """
    return near(value, right, rtol=0.04)
