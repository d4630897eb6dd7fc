"""Checks of the exercises of chapter 9, learned similarity."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.distributions import Normal, kl_divergence

from .verdicts import (
    answer_of,
    exercise,
    fresh_draw,
    judge,
    near,
    shape_or_type,
)


@exercise(
    chapter=9,
    label="ex-vae-kl",
    second=(
        "try it on two equal Gaussians (0), then change one of the four numbers at a "
        "time; the formula has a logarithm, a ratio of variances, a squared distance "
        "over a variance, and a constant."
    ),
)
def check_gaussian_kl(
    answer: Callable[
        [torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor
    ],
) -> bool:
    """Check ``answer(mean, log_variance, other_mean, other_log_variance)``: KL of the
    first Gaussians from the second.

    All four are (N, Z), and the numbers of a row are independent; the result is (N,),
    in nats. Tried on random Gaussians.

    Taught in chapter 9.
    """
    draw = fresh_draw()
    for count, length in ((4, 3), (1, 5)):
        given = list(torch.randn((4, count, length), generator=draw).clamp(-1.5, 1.5))
        # the means are well apart
        given[0] = given[2] + (1 + given[0].abs()) * given[0].sign()
        value = answer_of(answer, *given)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != (count,):
            got = shape_or_type(value)
            return judge(
                False,
                "",
                f"return one number for each row, ({count},): sum over the numbers of "
                f"the code; yours is {got}.",
            )
        mean, log_variance, other_mean, other_log_variance = (
            part.double() for part in given
        )

        def between(a, b, c, d, deviation=lambda log: (log / 2).exp()):
            return kl_divergence(Normal(a, deviation(b)), Normal(c, deviation(d))).sum(
                1
            )

        # exponentials of rounded numbers lose more than one rounding
        def same(other, value=value):
            loose = value.dtype in (torch.bfloat16, torch.float16)
            return near(value, other, rtol=0.04 if loose else 1e-4)

        right = between(mean, log_variance, other_mean, other_log_variance)
        if same(right):
            continue
        zero = torch.zeros_like(mean)
        if not bool(value.isfinite().all()):
            hint = (
                "it holds the logarithm of a negative number: what is given is "
                "the logarithm already."
            )
        elif same(between(other_mean, other_log_variance, mean, log_variance)):
            hint = (
                "this is the divergence of the second from the first, and "
                "the two are not equal."
            )
        elif same(between(mean, log_variance, zero, zero)):
            hint = (
                "this is the divergence from the standard normal distribution; the "
                "second Gaussian is another."
            )
        elif same(between(*(part.double() for part in given), deviation=torch.exp)):
            hint = (
                "what is given is the logarithm of the variance, and "
                "not of the deviation."
            )
        elif same(2 * right):
            hint = "one half is missing."
        elif same(-right):
            hint = "the sign is turned round: a divergence is never below 0."
        elif same(right / length):
            hint = (
                "this is the mean over the numbers of a row; "
                "independent numbers add up."
            )
        elif same(right / torch.tensor(2.0).log()):
            hint = "these are bits; nats are asked for, natural logarithms."
        else:
            hint = (
                "half the sum of: log of other / own variance, plus (own variance + "
                "distance squared) / other, less 1."
            )
        return judge(False, "", hint)
    return judge(
        True,
        "it is 0 for equal Gaussians, and from the first to the second it is "
        "another way than back.",
        "",
    )


@exercise(
    chapter=9,
    label="ex-vae-sphere",
    second=(
        "first the angle between the two, from their product and lengths; then try "
        "the ends, and the length half way."
    ),
)
def check_sphere_walk(
    answer: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor],
) -> bool:
    """Check ``answer(a, b, share)``: the code on the arc from ``a`` to ``b``, one
    dimension each, of equal lengths.

    At a share t of the angle between them: (sin((1 - t) angle) a + sin(t angle) b) /
    sin(angle). Tried on random codes.

    Taught in chapter 9.
    """
    draw = fresh_draw()
    for length in (2, 32):
        a, b, angle = _two_codes(length, draw)
        for share in (
            0.0,
            0.25,
            0.4 + 0.2 * float(torch.rand((), generator=draw)),
            1.0,
        ):
            value = answer_of(answer, a, b, share)
            if value is None:
                return False
            if not isinstance(value, torch.Tensor) or value.shape != a.shape:
                got = shape_or_type(value)
                return judge(
                    False, "", f"return one code, {tuple(a.shape)}; yours is {got}."
                )

            def same(other, value=value):
                loose = value.dtype in (torch.bfloat16, torch.float16)
                return near(value, other, atol=0.08 if loose else 1e-3, rtol=0)

            first, second = torch.sin((1 - share) * angle), torch.sin(share * angle)
            if same((first * a.double() + second * b.double()) / torch.sin(angle)):
                continue
            line = torch.lerp(a, b, share)
            if not bool(value.isfinite().all()):
                hint = (
                    "it is no number everywhere: the cosine is the product of the two "
                    "divided by both lengths."
                )
            elif same(line):
                hint = (
                    "this is the straight line, whose middle is shorter than its ends."
                )
            elif same(line * a.norm() / line.norm()):
                hint = (
                    "the length is right, but the steps are not even: go by "
                    "shares of the angle."
                )
            elif same((second * a.double() + first * b.double()) / torch.sin(angle)):
                hint = "at share 0 it should be the first code, and at 1 the second."
            elif same(first * a.double() + second * b.double()):
                hint = (
                    "the two sines do not keep the length; divide by the "
                    "sine of the whole angle."
                )
            elif same(
                ((first * a.double() + second * b.double()) / torch.sin(angle))
                / a.norm()
            ):
                hint = (
                    "the direction is right, and the length is 1; keep the "
                    "length of the two codes."
                )
            else:
                hint = (
                    "weigh the first by sin((1 - share) angle) and the second by "
                    "sin(share angle), over sin(angle)."
                )
            return judge(False, "", hint)
    return judge(True, "all codes on the way are as long as the ends.", "")


def _two_codes(
    length: int, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two codes as long as random ones, at an angle (the third) that is neither small
    nor near a straight one.
    """
    while True:
        a, b = torch.nn.functional.normalize(
            torch.randn((2, length), generator=draw).double(), dim=1
        )
        a, b = ((length**0.5) * vector.float() for vector in (a, b))
        angle = torch.acos(
            (a.double() @ b.double() / (a.double().norm() * b.double().norm())).clamp(
                -1, 1
            )
        )
        # at 2.36 its sine is one over the length of two numbers
        if 1.2 < float(angle) < 2.2:
            return a, b, angle


@exercise(
    chapter=9,
    label="ex-vae-objective",
    second=(
        "follow the gradient from the error back to the encoder, look at how "
        "widely the codes of one mean are spread, and compute the divergence of "
        "one picture by hand."
    ),
)
def check_vae_objective(answer: Callable[..., torch.Tensor]) -> bool:
    """Check ``answer(encode, decode, pictures, kl_weight)``: the objective of a VAE,
    one number with a gradient.

    ``encode(pictures)`` gives a mean and a logarithm of the variance, both (N, Z), and
    ``decode(code)`` the pictures (N, 3, H, W) again. The objective is the mean squared
    error of one reconstruction of each picture, from one random code each, plus the
    weight times the mean divergence of the batch from the standard normal distribution,
    over the count of numbers in a picture. Tried on random linear encoders and
    decoders; the codes it draws are looked at.

    Taught in chapter 9.
    """
    draw = fresh_draw()
    for spread in (0.25, 0.6):  # the variance of a code
        pictures = torch.rand((256, 3, 2, 2), generator=draw)
        mean = torch.randn((256, 16), generator=draw).requires_grad_()
        log_variance = (
            torch.tensor(spread).log() + 0.1 * torch.randn((256, 16), generator=draw)
        ).requires_grad_()
        back = torch.randn((16, 12), generator=draw) / 4
        weight = 6.0 + 4 * float(torch.rand((), generator=draw))
        codes: list[torch.Tensor] = []

        def encode(given, mean=mean, log_variance=log_variance):
            return 1.0 * mean, 1.0 * log_variance

        def decode(code, codes=codes, back=back):
            if tuple(code.shape) != (256, 16):
                raise ValueError(
                    "decode takes one code for each picture, (256, 16), and got "
                    f"{tuple(code.shape)}"
                )
            codes.append(code)
            return (code.to(back.dtype) @ back).view(-1, 3, 2, 2)

        value = answer_of(answer, encode, decode, pictures, weight)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            return judge(False, "", "return one number, a tensor with a gradient.")
        hint = _fault_of_codes(codes, mean, log_variance)
        hint = hint or _fault_of_objective(
            value, codes, mean, log_variance, back, pictures, weight
        )
        if hint:
            return judge(False, "", hint)
    return judge(
        True,
        "the code is drawn so that the gradient passes, and each "
        "picture pays its own nats.",
        "",
    )


def _fault_of_codes(
    codes: list[torch.Tensor], mean: torch.Tensor, log_variance: torch.Tensor
) -> str:
    if len(codes) != 1:
        return (
            f"decode was called {len(codes)} times; one random code of each picture "
            "is drawn and decoded, once."
        )
    code = codes[0].detach().double()
    noise, log = code - mean.detach().double(), log_variance.detach().double()
    deviation = (log / 2).exp()
    if float(noise.abs().max()) < 0.02 * float(code.abs().max()):
        return (
            "the mean itself was decoded; a code is drawn around it, mean plus "
            "deviation times noise."
        )

    def is_spread(by: torch.Tensor) -> bool:
        return abs(float((noise / by).square().mean().sqrt()) - 1) < 0.1

    if float((noise / deviation).std(0).mean()) < 0.2:
        return "all pictures were given the same noise; draw some for each code."
    if float((noise / deviation).std(1).mean()) < 0.2:
        return (
            "all numbers of a code were given the same noise; draw "
            "some for each number."
        )
    if is_spread(deviation):
        return ""
    if is_spread(log.exp()):
        return (
            "the codes are spread by the variance; the deviation is its root, exp "
            "of half the logarithm."
        )
    if is_spread(log):
        return (
            "the codes are spread by the logarithm of the variance itself; "
            "take exp of half of it."
        )
    if is_spread(torch.ones_like(log)):
        return (
            "the codes are spread by 1, whatever the encoder says; multiply the "
            "noise by its deviation."
        )
    return "the codes have the right mean, and not the deviation that the encoder says."


def _fault_of_objective(
    value: torch.Tensor,
    codes: list[torch.Tensor],
    mean: torch.Tensor,
    log_variance: torch.Tensor,
    back: torch.Tensor,
    pictures: torch.Tensor,
    weight: float,
) -> str:
    """The hint for a wrong value or a wrong gradient, given the noise that was drawn;
    empty for right ones.
    """
    m, log = (one.detach().double().requires_grad_() for one in (mean, log_variance))
    noise = (codes[0].detach().double() - m.detach()) / (log.detach() / 2).exp()
    output = ((m + (log / 2).exp() * noise) @ back.double()).view(pictures.shape)
    error = (output - pictures.double()).square().mean()
    nats = (m.square() + log.exp() - log - 1).sum(1) / 2
    numbers = pictures[0].numel()
    right = error + weight * nats.mean() / numbers
    loose = (
        value.dtype in (torch.bfloat16, torch.float16)
        or codes[0].dtype != torch.float32
    )
    slack = 0.03 if loose else 1e-3

    def says(other: torch.Tensor) -> bool:
        return abs(float(value.detach()) - float(other.detach())) < slack * abs(
            float(other.detach())
        )

    if not says(right):
        wrong = {
            (
                "the divergence is a sum over the numbers of a code, and a "
                "mean over pictures only."
            ): (error + weight * nats.mean() / mean.shape[1] / numbers),
            (
                "the divergence is summed over the batch; it is the "
                "mean of the pictures'."
            ): (error + weight * nats.sum() / numbers),
            "the sign of the divergence is turned round, so it would be made large.": (
                error - weight * nats.mean() / numbers
            ),
            (
                "divide the divergence by the count of numbers in a "
                "picture, as the error is."
            ): (error + weight * nats.mean()),
            "one half is missing in the divergence.": error
            + 2 * weight * nats.mean() / numbers,
            "the squared error is a mean over pixels too, and not their sum.": (
                error * numbers + weight * nats.mean() / numbers
            ),
            "the divergence is missing.": error,
        }
        return next((hint for hint, other in wrong.items() if says(other)), "") or (
            "the codes are right; the sum of mean squared error and weight * "
            "divergence / numbers is not."
        )
    if not value.requires_grad:
        return (
            "the value is right and has no gradient, so nothing can be trained with it."
        )
    found = torch.autograd.grad(value, [mean, log_variance], allow_unused=True)
    wanted = torch.autograd.grad(right, [m, log])
    close = [
        got is not None
        and float((got.double() - want).norm() / want.norm()) < (0.1 if loose else 0.01)
        for got, want in zip(found, wanted, strict=True)
    ]
    if all(close):
        return ""
    if close[0]:
        return (
            "the error's gradient reaches the mean, and not the variance: the "
            "deviation was cut off."
        )
    return (
        "the value is right, and the error's gradient does not reach the encoder: a "
        "code that is sampled from a distribution has none. Draw noise apart, and let "
        "mean and deviation move and stretch it."
    )
