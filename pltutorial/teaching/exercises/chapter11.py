"""Checks of the exercises of chapter 11, diffusion with feature losses."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .verdicts import answer_of, exercise, fresh_draw, judge, near, shape_or_type

Denoiser = Callable[[torch.Tensor, float], torch.Tensor]


@exercise(
    chapter=11,
    label="ex-diffusion-mean",
    second=(
        "each value has a weight, its share times exp of minus the squared distance of "
        "x_t from t times the value, over twice (1 - t) squared; the weights of a "
        "number add up to 1."
    ),
)
def check_best_denoiser(
    answer: Callable[[torch.Tensor, float, torch.Tensor, torch.Tensor], torch.Tensor],
) -> bool:
    """Check ``answer(x_t, t, values, shares)``: the mean of x given x_t.

    x is one of the ``values`` (K,), which occur with the ``shares`` (K,), and x_t
    (N,) is t x + (1 - t) noise, the noise standard normal. The result is (N,). Tried on
    random values, and on a time so late that an exponential underflows.

    Taught in chapter 11.
    """
    draw = fresh_draw()
    for count, t in ((2, 0.5), (4, 0.3), (3, 0.0), (3, 0.97)):
        x_t, values, shares = _noisy_values(count, t, draw)
        value = answer_of(answer, x_t.clone(), t, values.clone(), shares.clone())
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != x_t.shape:
            got = shape_or_type(value)
            return judge(
                False, "", f"return one number for each x_t, {tuple(x_t.shape)}; yours "
                f"is {got}.",
            )  # fmt: skip
        right = _mean_of(x_t, t, values, shares)

        def same(other: torch.Tensor, value: torch.Tensor = value) -> bool:
            return near(value, other, atol=2e-3, rtol=2e-3)

        if same(right):
            continue
        even = torch.full_like(shares, 1 / count)
        if not bool(value.isfinite().all()):
            hint = (
                "it is no number late, where the noise is small and every weight "
                "underflows; take a softmax of the logarithms."
            )
        elif same(_mean_of(x_t, t, values, even)):
            hint = "the values are not equally frequent; each weight has its share."
        elif same(_mean_of(x_t, t, values, shares, power=1)):
            hint = (
                "the noise has the deviation 1 - t, and its variance is that squared."
            )
        elif same(_mean_of(x_t, t, values, shares, scaled=False)):
            hint = "x_t lies around t times the value, and not around the value."
        elif same(_mean_of(x_t, t, values, shares, half=1.0)):
            hint = "one half is missing in the exponent of the normal distribution."
        elif same(_likeliest(x_t, t, values, shares)):
            hint = "this is the likeliest value; the mean of all of them is asked for."
        else:
            hint = (
                "weigh each value by its share times the density of x_t around t times "
                "the value, and divide by the sum of the weights."
            )
        return judge(False, "", hint)
    return judge(
        True,
        "at t = 0 it is the mean of the values, and late it is one of them.",
        "",
    )


def _noisy_values(
    count: int, t: float, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Numbers x_t, values well apart and shares that are far from even."""
    values = torch.arange(count).float() * 1.2 - 1
    values = values + 0.3 * torch.rand(count, generator=draw)
    shares = 1.0 + 4.0 * torch.arange(count) + torch.rand(count, generator=draw)
    shares = shares / shares.sum()
    which = torch.arange(12) % count
    noise = torch.randn(12, generator=draw)
    return t * values[which] + (1 - t) * noise, values, shares


def _logits(
    x_t: torch.Tensor,
    t: float,
    values: torch.Tensor,
    shares: torch.Tensor,
    power: int = 2,
    half: float = 0.5,
    scaled: bool = True,
) -> torch.Tensor:
    centres = (t if scaled else 1.0) * values.double()
    apart = (x_t.double()[:, None] - centres).square()
    return shares.double().log() - half * apart / (1 - t) ** power


def _mean_of(
    x_t: torch.Tensor, t: float, values: torch.Tensor, shares: torch.Tensor, **how
) -> torch.Tensor:
    weights = _logits(x_t, t, values, shares, **how).softmax(1)
    return weights @ values.double()


def _likeliest(
    x_t: torch.Tensor, t: float, values: torch.Tensor, shares: torch.Tensor
) -> torch.Tensor:
    return values.double()[_logits(x_t, t, values, shares).argmax(1)]


@exercise(
    chapter=11,
    label="ex-diffusion-heun",
    second=(
        "two velocities: one here, one where the first would lead, at the later time; "
        "then one step from the start along their mean."
    ),
)
def check_heun_step(
    answer: Callable[[Denoiser, torch.Tensor, float, float], torch.Tensor],
) -> bool:
    """Check ``answer(denoise, x_t, t, after)``: one step of Heun's method, from the
    time ``t`` to ``after``, below 1.

    ``denoise(x_t, t)`` is the estimate of the picture, and the velocity is
    (estimate - x_t) / (1 - t). Tried on random denoisers; it may ask each twice.

    Taught in chapter 11.
    """
    draw = fresh_draw()
    for t, after in ((0.0, 0.5), (0.3, 0.7), (0.55, 0.6)):
        weight = 0.8 * torch.randn((), generator=draw)
        goal = torch.randn((2, 3, 4, 4), generator=draw)
        x_t = torch.randn(goal.shape, generator=draw)
        asked: list[float] = []

        def denoise(
            x: torch.Tensor, at: float, weight=weight, goal=goal, asked=asked
        ) -> torch.Tensor:
            asked.append(float(at))
            return goal + weight * (2 * x + 3 * at).sin()

        value = answer_of(answer, denoise, x_t.clone(), t, after)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != x_t.shape:
            got = shape_or_type(value)
            return judge(
                False, "", f"return the next point, {tuple(x_t.shape)}; yours is {got}."
            )
        times, step = list(asked), after - t
        first = (denoise(x_t, t) - x_t) / (1 - t)
        euler = x_t + step * first
        second = (denoise(euler, after) - euler) / (1 - after)
        stale = (denoise(euler, t) - euler) / (1 - t)
        kept = (denoise(x_t, after) - x_t) / (1 - after)
        wrong_left = (denoise(euler, after) - euler) / (1 - t)
        half = x_t + step / 2 * first
        middle = (denoise(half, t + step / 2) - half) / (1 - t - step / 2)

        def same(other: torch.Tensor, value: torch.Tensor = value) -> bool:
            return near(value, other, atol=1e-4, rtol=1e-3)

        if same(x_t + step * (first + second) / 2):
            if len(times) > 2:
                return judge(
                    False, "", "the denoiser was asked more than twice; each call is a "
                    "whole pass through a network.",
                )  # fmt: skip
            continue
        wrong = {
            "this is Euler's step; look a second time, where it leads.": euler,
            "the second look is at the later time.": x_t + step * (first + stale) / 2,
            "the second look is where Euler's step leads, not where you stand.": (
                x_t + step * (first + kept) / 2
            ),
            "at the later time 1 - after is left.": (
                x_t + step * (first + wrong_left) / 2
            ),
            "take the mean of the two velocities, not their sum.": (
                x_t + step * (first + second)
            ),
            "this is the second velocity alone; take the mean of both.": (
                x_t + step * second
            ),
            "step from the start along the mean, not from where Euler's step led.": (
                euler + step * (first + second) / 2
            ),
            "this is the midpoint method; Heun looks at the end of the step.": (
                x_t + step * middle
            ),
        }
        hint = next((hint for hint, other in wrong.items() if same(other)), "") or (
            "v = (estimate - x) / (1 - t), here and at the end of Euler's step; then "
            "x_t + (after - t) (v1 + v2) / 2."
        )
        return judge(False, "", hint)
    return judge(
        True,
        "two looks a step, and an error that falls with the square of the step.",
        "",
    )


@exercise(
    chapter=11,
    label="ex-diffusion-gate",
    second=(
        "choose the pictures whose time is at least the start, sum their distances and "
        "divide by the number of all pictures; with none chosen it is 0."
    ),
)
def check_gated_term(
    answer: Callable[..., torch.Tensor],
) -> bool:
    """Check ``answer(distance, estimate, picture, t, start)``: the feature term of a
    batch.

    ``distance(estimate, picture)`` gives (M,) for M pictures; ``t`` (N,) are their
    times. Only pictures with t >= ``start`` count, the others are not looked at, and
    the sum is divided by N, so that a picture weighs the same in every batch. Without
    any it is 0. One number, with a gradient to the estimate. Tried on random batches.

    Taught in chapter 11.
    """
    draw = fresh_draw()
    for count, chosen in ((5, 2), (6, 5), (4, 0), (3, 3)):
        start = 0.4
        t = 0.39 * torch.rand(count, generator=draw)
        places = torch.randperm(count, generator=draw)[:chosen]
        t[places] = 0.41 + 0.5 * torch.rand(chosen, generator=draw)
        if chosen:
            t[places[0]] = start
        estimate = torch.rand((count, 3, 4, 4), generator=draw).requires_grad_()
        picture = torch.rand(estimate.shape, generator=draw)
        looked: list[int] = []

        def distance(one, other, looked=looked):
            looked.append(len(one))
            return (one - other).square().flatten(1).mean(1)

        value = answer_of(answer, distance, estimate, picture.clone(), t.clone(), start)
        if value is None:
            return False
        hint = _fault_of_gate(value, looked, estimate, picture, t, start)
        if hint:
            return judge(False, "", hint)
    return judge(
        True,
        "features are asked where the estimate can be one picture, and each picture "
        "weighs the same in every batch.",
        "",
    )


def _fault_of_gate(
    value: object,
    looked: list[int],
    estimate: torch.Tensor,
    picture: torch.Tensor,
    t: torch.Tensor,
    start: float,
) -> str:
    """The hint for a wrong term; empty for a right one."""
    if isinstance(value, int | float):
        value = torch.tensor(float(value))
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        return f"return one number; yours is {shape_or_type(value)}."
    each = (estimate.detach() - picture).square().flatten(1).mean(1)
    low, count = t >= start, len(t)

    def says(other: torch.Tensor) -> bool:
        return near(value.detach().reshape(()), other, atol=1e-6, rtol=1e-3)

    if not bool(value.detach().isfinite().all()):
        return "a batch without any chosen picture gives no number; it is 0 then."
    if not says(each[low].sum() / count):
        turned = "the gate is the wrong way round: late times have little noise."
        wrong = [
            (turned, each[~low].sum() / count),
            (turned, each[~low].mean()),
            (turned, each[~low].sum()),
            ("a picture of exactly the start counts.", each[t > start].sum() / count),
            (
                "divide by the number of all pictures, not of those chosen: else a "
                "picture weighs more where few are chosen.",
                each[low].sum() / max(int(low.sum()), 1),
            ),
            (
                "this is the sum; divide by the number of all pictures.",
                each[low].sum(),
            ),
            ("every picture counts here; the noisy ones shall not.", each.mean()),
        ]
        return next((hint for hint, other in wrong if says(other)), "") or (
            "sum the distances of the pictures with t >= start, over the number of all."
        )
    if looked and sum(looked) > int(low.sum()):
        return "pictures that do not count were looked at; VGG costs for each of them."
    if bool(low.any()):
        if not value.requires_grad:
            return "nothing can be trained with it: no gradient reaches the estimate."
        (slope,) = torch.autograd.grad(value, estimate)
        if not bool(slope[low].any()):
            return "no gradient reaches the estimate."
    return ""
