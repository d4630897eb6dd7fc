"""The checks of chapter 9 know a right answer from a wrong one, and say why."""

import math

import pytest
import torch

from pltutorial.exercises import check_gaussian_kl, check_sphere_walk


def gaussian_kl(mean, log_variance, other_mean, other_log_variance, log=2.0):
    variance, other = ((2 / log) * log_variance).exp(), ((2 / log) * other_log_variance).exp()
    parts = (other / variance).log() + (variance + (mean - other_mean) ** 2) / other - 1
    return parts.sum(1) / 2


def sphere_walk(a, b, share):
    angle = math.acos(float(a.double() @ b.double() / (a.double().norm() * b.double().norm())))
    return (math.sin((1 - share) * angle) * a + math.sin(share * angle) * b) / math.sin(angle)


def stretched(a, b, share):
    line = torch.lerp(a, b, share)
    return line * a.norm() / line.norm()


@pytest.mark.parametrize(
    ("check", "answer"), [(check_gaussian_kl, gaussian_kl), (check_sphere_walk, sphere_walk)]
)
def test_right_answers(check, answer, capsys):
    assert check(answer)
    assert capsys.readouterr().out.startswith("Correct")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda m, v, n, w: gaussian_kl(n, w, m, v), "second from the first"),
        (lambda m, v, n, w: gaussian_kl(m, v, 0 * n, 0 * w), "standard normal"),
        (lambda m, v, n, w: gaussian_kl(m, v, n, w, log=1.0), "not of the deviation"),
        (lambda m, v, n, w: 2 * gaussian_kl(m, v, n, w), "one half"),
        (lambda m, v, n, w: (w / v).log().sum(1), "logarithm already"),
        (lambda m, v, n, w: gaussian_kl(m, v, n, w).mean(), "one number for each row"),
        (lambda m, v, n, w: gaussian_kl(m, v, n, w) + 0.1, "log of other"),
        (lambda m, v, n, w: torch.full((len(m),), 0.6931), "log of other"),  # a copied number
        (lambda m, v, n, w: None, "None"),
    ],
)
def test_wrong_divergence_gets_the_hint(wrong, hint, capsys):
    assert not check_gaussian_kl(wrong)
    said = capsys.readouterr().out
    assert said.startswith("Not yet")
    assert hint in said


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (torch.lerp, "straight line"),
        (stretched, "not even"),
        (lambda a, b, share: sphere_walk(b, a, share), "first code"),
        (lambda a, b, share: a * (a @ b).acos(), "no number"),
        (lambda a, b, share: a, "weigh the first"),
        (lambda a, b, share: float(a[0]), "return one code"),
        (lambda a, b, share: None, "None"),
    ],
)
def test_wrong_walk_gets_the_hint(wrong, hint, capsys):
    assert not check_sphere_walk(wrong)
    said = capsys.readouterr().out
    assert said.startswith("Not yet")
    assert hint in said


@pytest.mark.parametrize("check", [check_gaussian_kl, check_sphere_walk])
def test_a_crash_of_the_answer_is_a_hint(check, capsys):
    def crash(*_):
        raise ZeroDivisionError("by hand")

    assert not check(crash)
    assert "ZeroDivisionError" in capsys.readouterr().out
