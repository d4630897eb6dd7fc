"""Checks of the exercises of chapter 12, claims under test."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from .verdicts import answer_of, exercise, fresh_draw, judge, shape_or_type


@exercise(
    chapter=12,
    label="ex-claims-decided",
    second=(
        "compare the largest of one list with the smallest of the other, both ways; "
        "everything else is 0."
    ),
)
def check_decided(answer: Callable[[Sequence[float], Sequence[float]], int]) -> bool:
    """Check ``answer(first, second)``: whether seeds separate two arms.

    Both are lists of numbers, one for each seed, of any length from 1. The answer is -1
    if every number of the first lies below every one of the second, 1 if above, and 0,
    not decided, otherwise; equal numbers separate nothing. Tried on random lists.

    Taught in chapter 12.
    """
    draw = fresh_draw()

    def drawn(low: float, count: int) -> list[float]:
        return (low + torch.rand(count, generator=draw)).tolist()

    cases = []
    for count in (1, 3, 5):
        one, other = drawn(0.0, count), drawn(3.0, count + 1)
        cases += [(one, other, -1), (other, one, 1)]
    a, b, c, d = sorted(drawn(0.0, 4))
    cases += [
        # the means are apart, and the lists are not
        ([a, b, d], [c, d + 1, d + 2], 0),
        ([c, d + 1, d + 2], [a, b, d], 0),
        ([a, b, c], [c, d, d + 1], 0),  # the same number in both
        ([-3.0, -2.0, -1.0], [-0.5, 4.0, 5.0], -1),
        ([a, d], [b, c], 0),  # one list within the other
        # seed by seed the first is lower, and the lists overlap
        ([a, c], [b, d], 0),
    ]
    for first, second, right in cases:
        found = answer_of(answer, list(first), list(second))
        if found is None:
            return False
        hint = _fault_of_decision(found, first, second, right)
        if hint:
            return judge(False, "", hint)
    return judge(True, "what the seeds do not separate is not decided.", "")


def _fault_of_decision(
    found: object, first: Sequence[float], second: Sequence[float], right: int
) -> str:
    """The hint for a wrong answer; empty for a right one."""
    try:
        value = int(found)  # type: ignore[call-overload]
    except (TypeError, ValueError, RuntimeError):
        value = None
    if value is None or value not in (-1, 0, 1) or value != found:
        return f"return -1, 0 or 1; yours is {found!r}."
    if value == right:
        return ""
    said = f"for {_text(first)} and {_text(second)} yours is {value}: "
    mean = sum(second) / len(second) - sum(first) / len(first)
    if value == -right:
        return said + "-1 means that the first is lower, 1 that it is higher."
    if right == 0 and max(first) == min(second):
        return said + "a number that is in both separates nothing."
    if right == 0 and value == -math.copysign(1, mean):
        return said + "means, or pairs, say nothing of an overlap; compare all."
    return said + "compare the largest of one with the smallest of the other."


def _text(values: Sequence[float]) -> str:
    return "[" + ", ".join(f"{value:.2f}" for value in values) + "]"


@exercise(
    chapter=12,
    label="ex-claims-coverage",
    second=(
        "torch.bincount of the clear ones, divided by their number; then the sum of "
        "p ln(p K) over the kinds that were found."
    ),
)
def check_coverage(
    answer: Callable[[torch.Tensor, torch.Tensor, int], tuple[int, float]],
) -> bool:
    """Check ``answer(numbers, clear, kinds)``: how many kinds were drawn, and how
    evenly.

    ``numbers`` (N,) holds the kind of each sample, from 0, ``clear`` (N,) whether it
    can be told. The answer is the number of kinds among the clear samples, and the
    divergence of their frequencies from equal ones, in nats: the sum of p ln(p K) over
    K = ``kinds``. At least one sample is clear. Tried on random samples.

    Taught in chapter 12.
    """
    draw = fresh_draw()
    for kinds, count in ((6, 40), (30, 50), (4, 9)):
        weight = torch.rand(kinds, generator=draw) ** 3 + 0.01
        weight[int(torch.randint(kinds, (), generator=draw))] = 0
        numbers = torch.multinomial(weight, count, replacement=True, generator=draw)
        clear = torch.rand(count, generator=draw) < 0.6
        clear[0] = True
        clear[numbers == numbers[1]] = False  # a kind that is never clear
        clear[numbers == numbers[0]] = True
        found = answer_of(answer, numbers, clear, kinds)
        if found is None:
            return False
        hint = _fault_of_coverage(found, numbers, clear, kinds)
        if hint:
            return judge(False, "", hint)
    return judge(True, "only what can be told counts, and rare kinds show.", "")


def _coverage(
    numbers: torch.Tensor, kinds: int, base: float = math.e
) -> tuple[int, float]:
    times = torch.bincount(numbers, minlength=kinds).double()
    share = times[times > 0] / times.sum()
    return len(share), float((share * (share * kinds).log()).sum()) / math.log(base)


def _fault_of_coverage(
    found: object, numbers: torch.Tensor, clear: torch.Tensor, kinds: int
) -> str:
    """The hint for a wrong answer; empty for a right one."""
    if not isinstance(found, tuple | list) or len(found) != 2:
        return (
            f"return two numbers, kinds and divergence, not {shape_or_type(found)!r}."
        )
    try:
        count, divergence = float(found[0]), float(found[1])
    except (TypeError, ValueError, RuntimeError):
        return "kinds and divergence are one number each."

    def says(right: tuple[float, float]) -> bool:
        return count == right[0] and abs(divergence - right[1]) < 1e-4

    right = _coverage(numbers[clear], kinds)
    if says(right):
        return ""
    if math.isnan(divergence):
        return "a kind that was never found has 0 ln 0, which is 0, and not NaN."
    everything = _coverage(numbers, kinds)
    if says(everything) or (count != right[0] and count == everything[0]):
        return "samples that cannot be told count as a kind; leave them out."
    if count != right[0]:
        return "count the kinds that occur among the clear samples, each once."
    share = torch.bincount(numbers[clear], minlength=kinds).double()
    of_all = share[share > 0] / len(numbers)
    wrong = {
        "these are bits; take the natural logarithm.": _coverage(
            numbers[clear], kinds, 2
        )[1],
        "frequencies add up to 1 over the clear samples; yours do not.": float(
            (of_all * (of_all * kinds).log()).sum()
        ),
        "this is the entropy; equal frequencies have the divergence 0.": (
            math.log(kinds) - right[1]
        ),
        "compare with 1 / K for all kinds, not for those that were found.": (
            right[1] - math.log(kinds / right[0])
        ),
    }
    close = (hint for hint, value in wrong.items() if abs(divergence - value) < 1e-4)
    return next(close, "the divergence is the sum of p ln(p K), with p by kind.")


@exercise(
    chapter=12,
    label="ex-claims-attack",
    second=(
        "one step: moved = (moved + step * slope.sign()).clamp(-epsilon, epsilon), "
        "and the picture is (picture + moved).clamp(0, 1)."
    ),
)
def check_attack(
    answer: Callable[[Callable, torch.Tensor, float, int], torch.Tensor],
) -> bool:
    """Check ``answer(gain, picture, epsilon, steps)``: a picture near the given one for
    which the gain is larger.

    ``gain`` maps pictures (1, 3, H, W) to a tensor of one number. ``steps`` steps go
    along the sign of the gradient, each of epsilon / 4, from the picture itself. No
    value is further than epsilon from the given one, and all are in [0, 1]; the given
    picture stays as it is. Tried on random gains.

    Taught in chapter 12.
    """
    draw = fresh_draw()
    for steps, bright in ((3, 0.5), (12, 0.5), (8, 0.98)):
        picture = bright + 0.02 * (torch.rand((1, 3, 6, 5), generator=draw) - 0.5)
        slope = torch.randn(picture.shape, generator=draw)
        centre = 0.5 + 0.02 * torch.randn(picture.shape, generator=draw)

        def gain(at: torch.Tensor, slope=slope, centre=centre) -> torch.Tensor:
            return (slope * (at - centre)).sum() + 0.2 * slope.sum() * at.mean()

        epsilon = 0.06
        found = answer_of(answer, gain, picture.clone(), epsilon, steps)
        if found is None:
            return False
        hint = _fault_of_attack(found, gain, picture, epsilon, steps)
        if hint:
            return judge(False, "", hint)
    return judge(
        True, "as far as it may go, in the right direction, and no further.", ""
    )


def _fault_of_attack(
    found: object, gain: Callable, picture: torch.Tensor, epsilon: float, steps: int
) -> str:
    """The hint for a wrong answer; empty for a right one."""
    if not isinstance(found, torch.Tensor) or found.shape != picture.shape:
        return f"return a picture of the given shape, not {shape_or_type(found)}."
    found = found.detach().to(picture)
    if not bool(found.isfinite().all()):
        return "your picture holds numbers that are not finite."
    at = picture.clone().requires_grad_()
    (slope,) = torch.autograd.grad(gain(at), at)
    reach = min(steps * epsilon / 4, epsilon)
    right = (picture + reach * slope.sign()).clamp(0, 1)
    away = float((found - picture).abs().max())
    if away > epsilon + 1e-4:
        return (
            f"a value moved by {away:.3f}, and epsilon is {epsilon:g}; hold what was "
            "added within epsilon after each step."
        )
    if float(found.min()) < -1e-5 or float(found.max()) > 1 + 1e-5:
        return "a picture has values in [0, 1]; yours leaves them."
    if float(gain(found)) < float(gain(picture)) - 1e-6:
        return "the gain fell; go up the slope."
    if not torch.allclose(found, right, atol=1e-3):
        return (
            "each step moves every value by epsilon / 4, along the sign of its "
            "gradient, however small that is."
        )
    return ""
