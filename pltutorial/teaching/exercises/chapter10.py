"""Checks of the exercises of chapter 10, the other player."""

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
    chapter=10,
    label="ex-player-annealed",
    second=(
        "divide the logits by the temperature, take the softmax over the colours, and "
        "the mean of the colours with these shares, at each pixel."
    ),
)
def check_annealed_mean(
    answer: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor],
) -> bool:
    """Check ``answer(logits, centres, temperature)``: the annealed mean of colours.

    ``logits`` is (N, Q, H, W), ``centres`` (Q, 2), and the result (N, 2, H, W). The
    probabilities are raised to the power of 1 / temperature and sum to 1 again, then
    the mean is taken. Tried on random logits, of which some are in the hundreds.

    Taught in chapter 10.
    """
    draw = fresh_draw()
    for temperature, loud in ((0.4, 1.0), (1.0, 2.0), (0.3, 200.0)):
        logits = loud * torch.randn((2, 6, 3, 4), generator=draw)
        centres = torch.rand((6, 2), generator=draw) - 0.5
        value = answer_of(answer, logits, centres, temperature)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != (2, 2, 3, 4):
            return judge(
                False,
                "",
                "return two numbers of colour for each pixel, (N, 2, H, W); yours is "
                f"{shape_or_type(value)}.",
            )

        def mean(shares, centres=centres):
            return torch.einsum("nqhw,qc->nchw", shares, centres.double())

        wide = logits.double()
        if alike(value, mean((wide / temperature).softmax(1))):
            continue
        shares = wide.softmax(1)
        likeliest = torch.nn.functional.one_hot(wide.argmax(1), 6).movedim(-1, 1)
        if not bool(value.isfinite().all()):
            hint = (
                "it overflows: exp of hundreds is infinite; softmax takes the largest "
                "one away first."
            )
        elif alike(value, mean(shares)):
            hint = "this is the mean without the temperature."
        elif alike(value, mean((wide * temperature).softmax(1))):
            hint = "a low temperature must sharpen: divide by it, and do not multiply."
        elif alike(value, mean(shares ** (1 / temperature))):
            hint = "the sharpened probabilities no longer sum to 1."
        elif alike(value, mean(likeliest.double())):
            hint = "this is the likeliest colour; only at temperature 0 it is all."
        elif alike(value, mean((shares / temperature).softmax(1))):
            hint = "the temperature divides the logits, not the probabilities."
        else:
            hint = "softmax of logits / temperature over the second dimension, Q."
        return judge(False, "", hint)
    return judge(
        True,
        "at 1 it is the mean, towards 0 the likeliest colour, and it is finite.",
        "",
    )


@exercise(
    chapter=10,
    label="ex-player-rank",
    second=(
        "all distances of outputs and targets as a table; the right ones stand on its "
        "diagonal; count in each row how many are smaller."
    ),
)
def check_rank(
    answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> bool:
    """Check ``answer(outputs, targets)``: the place of the right target.

    Features (N, D) of what was made and (M, D) of the candidates, M at least N; the
    right target of output n is target n. The result is (N,), whole numbers: 1 where no
    other target is nearer, by Euclidean distance. Tried on random features.

    Taught in chapter 10.
    """
    draw = fresh_draw()
    for count, more in ((12, 20), (16, 0), (9, 40)):
        targets = torch.randn((count + more, 3), generator=draw)
        noise = torch.randn((count, 3), generator=draw)
        outputs = targets[:count] + 1.5 * noise
        outputs = outputs * (0.2 + torch.rand((count, 1), generator=draw))
        distances = torch.cdist(outputs.double(), targets.double())
        right = 1 + (distances < distances.diagonal().view(-1, 1)).sum(1)
        value = answer_of(answer, outputs, targets)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != (count,):
            return judge(
                False,
                "",
                f"return one place for each output, ({count},); yours is "
                f"{shape_or_type(value)}.",
            )
        if torch.equal(value.long(), right) and near(value.float(), right.float()):
            continue
        columns = 1 + (
            distances[:, :count] < distances[:, :count].diagonal()[None]
        ).sum(0)
        nearest = distances.argsort(1)[:, 0]
        product = outputs.double() @ targets.double().T
        likeness = 1 + (product > product.diagonal().view(-1, 1)).sum(1)
        farthest = 1 + (distances > distances.diagonal().view(-1, 1)).sum(1)
        wrong = {
            "places begin at 1, for the nearest of all.": right - 1,
            "here each target ranks the outputs; each output is to rank the targets.": (
                columns
            ),
            "this is the number of the nearest target, not the right one's place.": (
                nearest
            ),
            "this ranks by the product, which long features win; take the distance.": (
                likeness
            ),
            "the nearest has place 1, not the farthest.": farthest,
        }
        return judge(
            False,
            "",
            next(
                (
                    hint
                    for hint, other in wrong.items()
                    if torch.equal(value.long(), other)
                ),
                "1 and the count of targets that are nearer than the right one; other "
                "targets than those of the outputs count too.",
            ),
        )
    return judge(True, "1 is the best, and half of the candidates is chance.", "")


@exercise(
    chapter=10,
    label="ex-player-rebalance",
    second=(
        "try two colours, one of them nine times as frequent: their weights are in the "
        "ratio 0.7 to 0.3 in favour of the rare one, and the mean over the pixels is 1."
    ),
)
def check_rebalanced(
    answer: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> bool:
    """Check ``answer(logits, labels, counts)``: cross-entropy that counts rare colours
    more.

    ``logits`` is (N, Q, H, W), ``labels`` (N, H, W) and ``counts`` (Q,), how many
    pixels of the training had each colour. With frequencies p, the weight of a colour
    is 1 / (p / 2 + 1 / (2 Q)), times a factor that makes the mean weight of the
    training's pixels 1; the result is the mean over pixels of weight times -log of the
    probability of the label. Tried on random logits; some colours have no pixels.

    Taught in chapter 10.
    """
    draw = fresh_draw()
    for _ in range(3):
        logits = 2 * torch.randn((2, 5, 3, 4), generator=draw)
        labels = torch.randint(5, (2, 3, 4), generator=draw)
        counts = torch.tensor([900.0, 60.0, 30.0, 10.0, 0.0])
        counts = counts[torch.randperm(5, generator=draw)]
        shares = counts.double() / counts.sum()
        weights = 1 / (shares / 2 + 1 / 10)
        logs = logits.double().log_softmax(1).gather(1, labels[:, None])[:, 0]

        def cost(weights, logs=logs, labels=labels):
            return float((-weights[labels] * logs).mean())

        scale = (shares * weights).sum()
        right = cost(weights / scale)
        value = answer_of(answer, logits, labels, counts)
        if value is None:
            return False
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError):
            return judge(False, "", "return one number, the mean over all pixels.")
        if abs(number - right) <= 0.01 * abs(right):
            continue
        other = (
            logits.double().log_softmax(2).gather(1, labels[:, None])[:, 0],
            logits.double().log_softmax(0).gather(1, labels[:, None])[:, 0],
        )
        library = cost(weights) * labels.numel() / float(weights[labels].sum())
        wrong = {
            "without weights; the rare colours must count more.": cost(
                torch.ones_like(weights)
            ),
            "the frequent colours count more here; one over the frequency.": cost(
                shares / shares.square().sum()
            ),
            "the mean weight of the training's pixels is to be 1; yours is that of "
            "the colours.": cost(weights / weights.mean()),
            "the weights are not scaled: their mean over the training's pixels must "
            "be 1.": cost(weights),
            "this divides by the weights of this batch, as F.cross_entropy does; the "
            "scale is that of the training's pixels.": library,
            "probabilities sum to 1 over the colours, the second dimension.": (
                cost(weights / scale, other[0])
            ),
            "probabilities sum to 1 over the colours, and not over the pictures.": (
                cost(weights / scale, other[1])
            ),
        }
        return judge(
            False,
            "",
            next(
                (
                    hint
                    for hint, known in wrong.items()
                    if abs(number - known) <= 2e-4 * abs(known)
                ),
                "weights of the labels' colours, times minus the log of their "
                "probability, mean over the pixels.",
            ),
        )
    return judge(
        True, "rare colours count more, and the loss as a whole stays as it was.", ""
    )
