"""The checks of chapter 11 know a right answer from a wrong one, and say why."""

import math

import numpy
import pytest
from exercise_checks import faulty_code, refused

from pltutorial.exercises import (
    check_best_denoiser,
    check_gated_term,
    check_heun_step,
)

TRIES = 5  # every wrong answer is told from a right one on each of so many fresh draws


def mean(x_t, t, values, shares, power=2, half=0.5, scaled=True, even=False):
    centres = (t if scaled else 1.0) * values
    log = -half * (x_t[:, None] - centres) ** 2 / (1 - t) ** power
    log = log if even else log + shares.log()
    return log.softmax(1) @ values


def mean_by_loops(x_t, t, values, shares):
    found = []
    for x in x_t.tolist():
        logs = [
            math.log(s) - (x - t * v) ** 2 / (2 * (1 - t) ** 2)
            for v, s in zip(values.tolist(), shares.tolist(), strict=True)
        ]
        weights = numpy.exp(numpy.array(logs) - max(logs))
        found.append(float(weights @ values.numpy() / weights.sum()))
    return numpy.array(found)


def likeliest(x_t, t, values, shares):
    log = shares.log() - (x_t[:, None] - t * values) ** 2 / (2 * (1 - t) ** 2)
    return values[log.argmax(1)]


def heun(denoise, x_t, t, after, at=None, left=None, start="x", mix=0.5, first=True):
    step = after - t
    one = (denoise(x_t, t) - x_t) / (1 - t)
    led = x_t + step * one
    there = led if first else x_t
    two = (denoise(there, at(t, after) if at else after) - there) / (
        1 - (left(t, after) if left else after)
    )
    begin = led if start == "led" else x_t
    return begin + step * mix * (one + two)


def euler(denoise, x_t, t, after):
    return x_t + (after - t) * (denoise(x_t, t) - x_t) / (1 - t)


def second_alone(denoise, x_t, t, after):
    led = euler(denoise, x_t, t, after)
    return x_t + (after - t) * (denoise(led, after) - led) / (1 - after)


def midpoint(denoise, x_t, t, after):
    middle = (t + after) / 2
    half = euler(denoise, x_t, t, middle)
    return x_t + (after - t) * (denoise(half, middle) - half) / (1 - middle)


def wasteful(denoise, x_t, t, after):
    denoise(x_t, t)
    return heun(denoise, x_t, t, after)


def gated(distance, estimate, picture, t, start):
    low = t >= start
    if not low.any():
        return 0 * estimate.sum()
    return distance(estimate[low], picture[low]).sum() / len(t)


def gated_by_loop(distance, estimate, picture, t, start):
    total = 0.0
    for k in range(len(t)):
        if t[k] >= start:
            total = total + distance(estimate[k : k + 1], picture[k : k + 1])[0]
    return total / len(t)


def turned(distance, estimate, picture, t, start):
    return gated(distance, estimate, picture, -t, -start + 1e-7)


def strict(distance, estimate, picture, t, start):
    return gated(distance, estimate, picture, t, start + 1e-6)


def of_chosen(distance, estimate, picture, t, start):
    share = max(int((t >= start).sum()), 1) / len(t)
    return gated(distance, estimate, picture, t, start) / share


def summed(distance, estimate, picture, t, start):
    return gated(distance, estimate, picture, t, start) * len(t)


def everywhere(distance, estimate, picture, t, start):
    return distance(estimate, picture).mean()


def masked(distance, estimate, picture, t, start):
    return (distance(estimate, picture) * (t >= start)).mean()


def detached(distance, estimate, picture, t, start):
    return gated(distance, estimate.detach(), picture, t, start)


@pytest.mark.parametrize("answer", [mean, mean_by_loops])
def test_best_denoiser_is_right(answer, capsys):
    assert check_best_denoiser(answer)
    assert "Correct" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda *a: mean(*a, even=True), "not equally frequent"),
        (lambda *a: mean(*a, power=1), "its variance is that squared"),
        (lambda *a: mean(*a, scaled=False), "around t times the value"),
        (lambda *a: mean(*a, half=1.0), "one half is missing"),
        (likeliest, "the likeliest value"),
        (lambda *a: mean(*a)[:1], "one number for each x_t"),
        (lambda *a: None, "returned None"),
        (lambda x, t, v, s: x, "divide by the sum"),
        (lambda *a: mean(*a) / (a[1] < 0.9), "underflows"),
    ],
)
def test_best_denoiser_is_wrong(wrong, hint, capsys):
    refused(check_best_denoiser, wrong, hint, capsys, TRIES)


def test_heun_step_is_right(capsys):
    assert check_heun_step(heun)
    assert "Correct" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (euler, "Euler's step"),
        (
            lambda *a: heun(*a, at=lambda t, after: t, left=lambda t, after: t),
            "later time",
        ),
        (lambda *a: heun(*a, first=False), "not where you stand"),
        (lambda *a: heun(*a, left=lambda t, after: t), "1 - after is left"),
        (lambda *a: heun(*a, mix=1.0), "not their sum"),
        (second_alone, "the second velocity alone"),
        (lambda *a: heun(*a, start="led"), "not from where Euler's step led"),
        (midpoint, "the midpoint method"),
        (wasteful, "more than twice"),
        (lambda *a: a[1], "v = (estimate - x) / (1 - t)"),
        (lambda *a: heun(*a)[0], "the next point"),
    ],
)
def test_heun_step_is_wrong(wrong, hint, capsys):
    refused(check_heun_step, wrong, hint, capsys, TRIES)


@pytest.mark.parametrize("answer", [gated, gated_by_loop])
def test_gated_term_is_right(answer, capsys):
    assert check_gated_term(answer)
    assert "Correct" in capsys.readouterr().out


def from_the_page(*given):
    return faulty_code("11_diffusion.ipynb", "ex-diffusion-gate")["gated_term"](*given)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (from_the_page, "the wrong way round"),
        (turned, "the wrong way round"),
        (strict, "exactly the start"),
        (of_chosen, "not of those chosen"),
        (summed, "this is the sum"),
        (everywhere, "every picture counts"),
        (masked, "were looked at"),
        (detached, "no gradient reaches"),
        (
            lambda d, e, p, t, s: (
                d(e[t >= s], p[t >= s]).mean() * (t >= s).sum() / len(t)
            ),
            "it is 0 then",
        ),
        (lambda *a: a[1], "one number"),
    ],
)
def test_gated_term_is_wrong(wrong, hint, capsys):
    refused(check_gated_term, wrong, hint, capsys, TRIES)
