"""The checks of chapter 12 know a right answer from a wrong one, and say why."""

import math

import numpy
import pytest
import torch
from exercise_checks import faulty_code, refused

from pltutorial.exercises import check_attack, check_coverage, check_decided

TRIES = 5  # every wrong answer is told from a right one on each of so many fresh draws


def decided(first, second):
    if max(first) < min(second):
        return -1
    return 1 if min(first) > max(second) else 0


def decided_by_all(first, second):
    signs = {numpy.sign(a - b) for a in first for b in second}
    return signs.pop() if len(signs) == 1 else 0


def coverage(numbers, clear, kinds, log=torch.log, keep=True, base=None, total=None):
    numbers = numbers[clear] if keep else numbers
    times = torch.bincount(numbers, minlength=kinds).double()
    share = times / (times.sum() if total is None else total)
    share = share[share > 0]
    return len(share), float((share * log(share * (base or kinds))).sum())


def coverage_by_entropy(numbers, clear, kinds):
    share = torch.distributions.Categorical(
        torch.bincount(numbers[clear], minlength=kinds).float()
    )
    return numbers[clear].unique().numel(), math.log(kinds) - share.entropy()


def attack(gain, picture, epsilon, steps, *, sign=1, hold=True, inside=True, raw=False):
    moved = torch.zeros_like(picture)
    for _ in range(steps):
        at = (picture + moved).requires_grad_()
        (slope,) = torch.autograd.grad(gain(at), at)
        moved = moved + sign * epsilon / 4 * (slope if raw else slope.sign())
        moved = moved.clamp(-epsilon, epsilon) if hold else moved
    found = picture + moved
    return found.clamp(0, 1) if inside else found


def attack_of_the_sum(gain, picture, epsilon, steps):
    at = picture.clone()
    for _ in range(steps):
        at.requires_grad_()
        gain(at).backward()
        with torch.no_grad():
            at = at + epsilon / 4 * at.grad.sign()
            at = torch.minimum(torch.maximum(at, picture - epsilon), picture + epsilon)
            at = at.clamp(0, 1)
    return at


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (check_decided, decided),
        (check_decided, decided_by_all),
        (check_coverage, coverage),
        (check_coverage, coverage_by_entropy),
        (check_attack, attack),
        (check_attack, attack_of_the_sum),
    ],
)
def test_right_answers(check, right, capsys):
    for _ in range(TRIES):
        assert check(right)
        assert capsys.readouterr().out.startswith("Correct: ")


def mean_of(values):
    return sum(values) / len(values)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda a, b: int(numpy.sign(mean_of(a) - mean_of(b))), "overlap"),
        (lambda a, b: -decided(a, b), "-1 means that the first is lower"),
        (
            lambda a, b: -1 if max(a) <= min(b) else decided(a, b),
            "in both separates nothing",
        ),
        (lambda a, b: 0, "compare the largest"),
        (lambda a, b: 2 * decided(a, b), "-1, 0 or 1"),
        (lambda a, b: "lower", "-1, 0 or 1"),
        (lambda a, b: None, "None"),
    ],
)
def test_wrong_decision_gets_the_hint(answer, hint, capsys):
    refused(check_decided, answer, hint, capsys, TRIES)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda n, c, k: coverage(n, c, k, keep=False), "leave them out"),
        (lambda n, c, k: coverage(n, c, k, log=torch.log2), "natural logarithm"),
        (lambda n, c, k: coverage(n, c, k, total=len(n)), "add up to 1"),
        (
            lambda n, c, k: (coverage(n, c, k)[0], math.log(k) - coverage(n, c, k)[1]),
            "entropy",
        ),
        (
            lambda n, c, k: coverage(n, c, k, base=len(n[c].unique())),
            "not for those that were found",
        ),
        (lambda n, c, k: (coverage(n, c, k)[0], float("nan")), "0 ln 0"),
        (lambda n, c, k: (int(c.sum()) + k, 0.0), "each once"),
        (lambda n, c, k: coverage(n, c, k)[0], "two numbers"),
        (lambda n, c, k: None, "None"),
    ],
)
def test_wrong_coverage_gets_the_hint(answer, hint, capsys):
    refused(check_coverage, answer, hint, capsys, TRIES)


def the_book_s(*arguments):
    code = faulty_code("12_claims_under_test.ipynb", "ex-claims-attack")
    return code["attack"](*arguments)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda *a: attack(*a, hold=False), "hold what was added"),
        (lambda *a: attack(*a, inside=False), "values in [0, 1]"),
        (lambda *a: attack(*a, sign=-1), "go up the slope"),
        (lambda *a: attack(*a, raw=True), "sign of its gradient"),
        (lambda *a: a[1], "each step moves every value"),
        (lambda *a: a[1][0], "given shape"),
        (lambda *a: a[1] / 0, "not finite"),
        (lambda *a: None, "None"),
        (the_book_s, ""),
    ],
)
def test_wrong_attack_gets_the_hint(answer, hint, capsys):
    refused(check_attack, answer, hint, capsys, TRIES)
