"""The checks of chapter 9 know a right answer from a wrong one, and say why."""

import math

import numpy
import pytest
import torch
from exercise_checks import faulty_code, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, Normal, kl_divergence

from pltutorial.exercises import (
    check_gaussian_kl,
    check_sphere_walk,
    check_vae_objective,
)

TYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16])
TRIES = 5  # every wrong answer is told from a right one on each of so many fresh draws


def gaussian_kl(mean, log_variance, other_mean, other_log_variance, log=2.0):
    variance, other = (
        ((2 / log) * log_variance).exp(),
        ((2 / log) * other_log_variance).exp(),
    )
    parts = (other / variance).log() + (variance + (mean - other_mean) ** 2) / other - 1
    return parts.sum(1) / 2


def kl_by_library(m, v, n, w):
    one, other = (Independent(Normal(a, (b / 2).exp()), 1) for a, b in ((m, v), (n, w)))
    return kl_divergence(one, other)


def kl_by_loops(m, v, n, w):
    def one(a, b, c, d):
        return (d - b + (math.exp(b) + (a - c) ** 2) / math.exp(d) - 1) / 2

    rows = [[part[k].tolist() for part in (m, v, n, w)] for k in range(len(m))]
    return numpy.array(
        [sum(one(*four) for four in zip(*row, strict=True)) for row in rows]
    )


def kl_by_einsum(m, v, n, w):
    inverse = (-w).exp()
    quadratic = torch.einsum("nz,nz,nz->n", m - n, m - n, inverse)
    return 0.5 * (
        quadratic + torch.einsum("nz,nz->n", v.exp(), inverse) + (w - v - 1).sum(-1)
    )


def kl_by_bmm(m, v, n, w):
    apart, inverse = (m - n)[:, None], (-w).exp()
    quadratic = torch.bmm(apart * inverse[:, None], apart.transpose(1, 2)).flatten()
    return (quadratic + ((v - w).exp() - (v - w) - 1).sum(1)) / 2


def sphere_walk(a, b, share):
    angle = math.acos(
        float(a.double() @ b.double() / (a.double().norm() * b.double().norm()))
    )
    return (math.sin((1 - share) * angle) * a + math.sin(share * angle) * b) / math.sin(
        angle
    )


def walk_by_rotation(a, b, share):
    start = a / a.norm()
    across = b - (b @ start) * start
    angle = share * torch.atan2(across.norm(), b @ start)
    return a.norm() * (
        torch.cos(angle) * start + torch.sin(angle) * across / across.norm()
    )


def walk_by_einsum(a, b, share):
    angle = torch.nn.functional.cosine_similarity(a, b, dim=0).acos()
    weights = torch.stack(
        [torch.sin((1 - share) * angle), torch.sin(share * angle)]
    ) / torch.sin(angle)
    return torch.einsum("k,kz->z", weights, torch.stack([a, b]))


def walk_by_numpy(a, b, share):
    a, b = a.double().numpy(), b.double().numpy()
    angle = numpy.arccos(a @ b / numpy.linalg.norm(a) / numpy.linalg.norm(b))
    return (
        numpy.sin((1 - share) * angle) / numpy.sin(angle) * a
        + numpy.sin(share * angle) / numpy.sin(angle) * b
    )


def stretched(a, b, share):
    line = torch.lerp(a, b, share)
    return line * a.norm() / line.norm()


def drawn(mean, log_variance):
    return mean + (log_variance / 2).exp() * torch.randn_like(mean)


def nats_of(mean, log_variance):
    return (mean**2 + log_variance.exp() - log_variance - 1).sum(1) / 2


def objective(
    code=drawn,
    nats=nats_of,
    sign=1.0,
    error=lambda d: d.square().mean(),
    over=lambda p: p[0].numel(),
    dtype=None,
):
    """An objective, right as it is, of parts that may be exchanged for wrong ones."""

    def answer(encode, decode, pictures, kl_weight):
        mean, log_variance = (
            part if dtype is None else part.to(dtype) for part in encode(pictures)
        )
        divergence = nats(mean, log_variance).mean()
        difference = decode(code(mean, log_variance)) - pictures
        return error(difference) + sign * kl_weight * divergence / over(pictures)

    return answer


def by_library(encode, decode, pictures, kl_weight):
    mean, log_variance = encode(pictures)
    posterior = Normal(mean, torch.exp(0.5 * log_variance))
    nats = kl_divergence(posterior, Normal(0.0, 1.0)).sum() / len(pictures)
    error = torch.nn.functional.mse_loss(decode(posterior.rsample()), pictures)
    return error + kl_weight * nats / pictures[0].numel()


def by_einsum(encode, decode, pictures, kl_weight):
    mean, log = encode(pictures)
    code = torch.einsum("nz,nz->nz", log.exp().sqrt(), torch.randn(mean.shape)).add(
        mean
    )
    nats = (torch.einsum("nz,nz->", mean, mean) + (log.exp() - 1 - log).sum()) / 2
    wrong = decode(code) - pictures
    return (
        torch.einsum("nchw,nchw->", wrong, wrong) + kl_weight * nats
    ) / pictures.numel()


def by_loop(encode, decode, pictures, kl_weight):
    mean, log = encode(pictures)
    code = torch.stack(
        [
            m + torch.exp(v / 2) * torch.randn(len(m))
            for m, v in zip(mean, log, strict=True)
        ]
    )
    costs = [
        (made - wanted).pow(2).mean()
        + kl_weight * (m**2 + v.exp() - v - 1).sum() / 2 / wanted.numel()
        for made, wanted, m, v in zip(decode(code), pictures, mean, log, strict=True)
    ]
    return sum(costs) / len(costs)


RIGHT = {
    check_gaussian_kl: [
        gaussian_kl,
        kl_by_library,
        kl_by_loops,
        kl_by_einsum,
        kl_by_bmm,
    ],
    check_sphere_walk: [sphere_walk, walk_by_rotation, walk_by_einsum, walk_by_numpy],
    check_vae_objective: [
        objective(),
        objective(dtype=torch.float64),
        by_library,
        by_einsum,
        by_loop,
    ],
}


@pytest.mark.parametrize("check", RIGHT)
def test_right_answers(check, capsys):
    for answer in RIGHT[check]:
        assert check(answer), capsys.readouterr().out
        assert capsys.readouterr().out.startswith("Correct")


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(RIGHT[check_gaussian_kl]), TYPES)
def test_no_false_alarm_of_the_divergence(function, dtype):
    # the answer is rounded; inside its sums cancel
    inside = torch.float64 if dtype == torch.bfloat16 else dtype
    assert check_gaussian_kl(
        lambda *four: torch.as_tensor(function(*(one.to(inside) for one in four))).to(
            dtype
        )
    )


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(RIGHT[check_sphere_walk]), TYPES)
def test_no_false_alarm_of_the_walk(function, dtype):
    assert check_sphere_walk(
        lambda a, b, share: torch.as_tensor(
            function(a.to(dtype), b.to(dtype), share)
        ).to(dtype)
    )


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(RIGHT[check_vae_objective]), TYPES)
def test_no_false_alarm_of_the_objective(function, dtype):
    assert check_vae_objective(lambda *given: function(*given).to(dtype))


def test_no_false_alarm_of_an_objective_in_bfloat16():
    for _ in range(TRIES):
        assert check_vae_objective(objective(dtype=torch.bfloat16))


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda m, v, n, w: gaussian_kl(n, w, m, v), "second from the first"),
        (lambda m, v, n, w: gaussian_kl(m, v, 0 * n, 0 * w), "standard normal"),
        (lambda m, v, n, w: gaussian_kl(m, v, n, w, log=1.0), "not of the deviation"),
        (lambda m, v, n, w: 2 * gaussian_kl(m, v, n, w), "one half"),
        (lambda m, v, n, w: -gaussian_kl(m, v, n, w), "sign"),
        (lambda m, v, n, w: gaussian_kl(m, v, n, w) / m.shape[1], "add up"),
        (lambda m, v, n, w: gaussian_kl(m, v, n, w) / math.log(2), "bits"),
        (lambda m, v, n, w: (w - 9).log().sum(1), "logarithm already"),
        (lambda m, v, n, w: gaussian_kl(m, v, n, w).mean(), "one number for each row"),
        (lambda m, v, n, w: gaussian_kl(m, v, n, w) + 0.1, "log of other"),
        # a copied number
        (lambda m, v, n, w: torch.full((len(m),), 0.6931), "log of other"),
        (lambda m, v, n, w: None, "None"),
    ],
)
def test_wrong_divergence_gets_the_hint(answer, hint, capsys):
    refused(check_gaussian_kl, answer, hint, capsys, TRIES)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (torch.lerp, "straight line"),
        (stretched, "not even"),
        (lambda a, b, share: sphere_walk(b, a, share), "first code"),
        (
            lambda a, b, share: a * (9 + a @ b / (a.norm() * b.norm())).acos(),
            "no number",
        ),
        (lambda a, b, share: sphere_walk(a, b, share) / a.norm(), "the length is 1"),
        (lambda a, b, share: a, "weigh the first"),
        (lambda a, b, share: float(a[0]), "return one code"),
        (lambda a, b, share: None, "None"),
    ],
)
def test_wrong_walk_gets_the_hint(answer, hint, capsys):
    refused(check_sphere_walk, answer, hint, capsys, TRIES)


def the_book_s(*given):
    """The faulty function of the exercise, as it is printed."""
    return faulty_code("09_learned_similarity.ipynb", "ex-vae-objective")["objective"](
        *given
    )


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (the_book_s, "root"),
        (objective(lambda m, v: m + v.exp() * torch.randn_like(m)), "root"),
        (
            objective(lambda m, v: m + v * torch.randn_like(m)),
            "logarithm of the variance itself",
        ),
        (objective(lambda m, v: m + torch.randn_like(m)), "spread by 1"),
        (objective(lambda m, v: m), "mean itself"),
        (
            objective(lambda m, v: m + (v / 2).exp() * torch.randn(m.shape[1])),
            "all pictures",
        ),
        (
            objective(lambda m, v: m + (v / 2).exp() * torch.randn(len(m), 1)),
            "all numbers",
        ),
        (objective(lambda m, v: drawn(m, v + 1)), "not the deviation"),
        (objective(lambda m, v: drawn(m, v)[:, :8]), "takes one code"),
        (
            objective(lambda m, v: torch.normal(m, (v / 2).exp())),
            "does not reach the encoder",
        ),
        (
            objective(lambda m, v: Normal(m, (v / 2).exp()).sample()),
            "does not reach the encoder",
        ),
        (
            objective(lambda m, v: m + (v / 2).exp().detach() * torch.randn_like(m)),
            "cut off",
        ),
        (
            objective(nats=lambda m, v: nats_of(m, v) / m.shape[1]),
            "sum over the numbers",
        ),
        (objective(nats=lambda m, v: nats_of(m, v).sum()), "over the batch"),
        (objective(sign=-1.0), "turned round"),
        (objective(over=lambda p: 1), "count of numbers"),
        (objective(sign=2.0), "one half"),
        (objective(sign=0.0), "divergence is missing"),
        (
            objective(error=lambda d: d.square().flatten(1).sum(1).mean()),
            "not their sum",
        ),
        (objective(error=lambda d: d.abs().mean()), "the codes are right"),
        (lambda *given: objective()(*given).detach(), "no gradient"),
        (lambda *given: objective()(*given).item(), "one number, a tensor"),
    ],
)
def test_wrong_objective_gets_the_hint(answer, hint, capsys):
    refused(check_vae_objective, answer, hint, capsys, TRIES)
