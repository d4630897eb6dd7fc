"""Checks of the exercises of chapter 9, learned similarity."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.distributions import Normal, kl_divergence

from .verdicts import answer_of, judge


def check_gaussian_kl(
    answer: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> bool:
    """Check ``answer(mean, log_variance, other_mean, other_log_variance)``: KL of the first Gaussians from the second.

    All four are (N, Z), and the numbers of a row are independent; the result is (N,), in nats. Tried on Gaussians of its
    own.

    Taught in chapter 9.
    """
    draw = torch.Generator().manual_seed(9)
    for count, length in ((4, 3), (1, 5)):
        given = [torch.randn((count, length), generator=draw) for _ in range(4)]
        value = answer_of(answer, *given)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != (count,):
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            return judge(
                False,
                "",
                f"return one number for each row, ({count},): sum over the numbers of the code; yours is {got}.",
            )
        mean, log_variance, other_mean, other_log_variance = (part.double() for part in given)

        def between(a, b, c, d, deviation=lambda log: (log / 2).exp()):
            return kl_divergence(Normal(a, deviation(b)), Normal(c, deviation(d))).sum(1)

        def near(other, value=value):
            return torch.allclose(value.double(), other, rtol=1e-4, atol=1e-5)

        right = between(mean, log_variance, other_mean, other_log_variance)
        if near(right):
            continue
        zero = torch.zeros_like(mean)
        if not bool(value.isfinite().all()):
            hint = "it holds the logarithm of a negative number: what is given is the logarithm already."
        elif near(between(other_mean, other_log_variance, mean, log_variance)):
            hint = "this is the divergence of the second from the first, and the two are not equal."
        elif near(between(mean, log_variance, zero, zero)):
            hint = "this is the divergence from the standard normal distribution; the second Gaussian is another."
        elif near(between(*(part.double() for part in given), deviation=torch.exp)):
            hint = "what is given is the logarithm of the variance, and not of the deviation."
        elif near(2 * right):
            hint = "one half is missing."
        else:
            hint = "half the sum of: log of other / own variance, plus (own variance + distance squared) / other, less 1."
        return judge(False, "", hint)
    return judge(
        True, "it is 0 for equal Gaussians, and from the first to the second it is another way than back.", ""
    )


def check_sphere_walk(
    answer: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor],
) -> bool:
    """Check ``answer(a, b, share)``: the code on the arc from ``a`` to ``b``, one dimension each, of equal lengths.

    At a share t of the angle between them: (sin((1 - t) angle) a + sin(t angle) b) / sin(angle). Tried on codes of its
    own.

    Taught in chapter 9.
    """
    draw = torch.Generator().manual_seed(10)
    for length in (2, 32):
        a, b = torch.nn.functional.normalize(torch.randn((2, length), generator=draw).double(), dim=1)
        a, b = ((length**0.5) * vector.float() for vector in (a, b))
        angle = torch.acos((a @ b / (a.norm() * b.norm())).double())
        for share in (0.0, 0.25, 0.5, 1.0):
            value = answer_of(answer, a, b, share)
            if value is None:
                return False
            if not isinstance(value, torch.Tensor) or value.shape != a.shape:
                got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
                return judge(False, "", f"return one code, {tuple(a.shape)}; yours is {got}.")
            weights = [torch.sin((1 - share) * angle), torch.sin(share * angle)]
            right = (weights[0] * a.double() + weights[1] * b.double()) / torch.sin(angle)
            if torch.allclose(value.double(), right, atol=1e-3):
                continue
            line = torch.lerp(a, b, share)
            if not bool(value.isfinite().all()):
                hint = "it is no number everywhere: the cosine is the product of the two divided by both lengths."
            elif torch.allclose(value, line, atol=1e-4):
                hint = "this is the straight line, whose middle is shorter than its ends."
            elif torch.allclose(value, line * a.norm() / line.norm(), atol=1e-4):
                hint = "the length is right, but the steps are not even: go by shares of the angle."
            elif torch.allclose(
                value.double(),
                (weights[1] * a.double() + weights[0] * b.double()) / torch.sin(angle),
                atol=1e-3,
            ):
                hint = "at share 0 it should be the first code, and at 1 the second."
            else:
                hint = "weigh the first by sin((1 - share) angle) and the second by sin(share angle), over sin(angle)."
            return judge(False, "", hint)
    return judge(True, "all codes on the way are as long as the ends.", "")
