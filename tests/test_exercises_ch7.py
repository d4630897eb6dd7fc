"""The checks of chapter 7 know a right answer from a wrong one, and say why."""

import math

import pytest
import torch

from pltutorial.exercises import check_hole_psnr, check_posterior_mean


def hole_psnr(output, target, mask):
    errors = (output - target).double()[mask.expand_as(target) > 0]
    return 10 * math.log10(1 / float(errors.square().mean()))


def posterior_mean(noisy, pictures, sigma, scale=2.0):
    squares = (pictures - noisy).square().flatten(1).sum(1)
    shares = (-squares / (scale * (sigma / 255) ** 2)).softmax(0)
    return torch.einsum("n,nchw->chw", shares, pictures)[None]


def underflowing(noisy, pictures, sigma):
    squares = (pictures - noisy).square().flatten(1).sum(1)
    weights = (-squares / (2 * (sigma / 255) ** 2) - 200).exp()
    return torch.einsum("n,nchw->chw", weights / weights.sum(), pictures)[None]


def nearest_picture(noisy, pictures, sigma):
    return pictures[(pictures - noisy).square().flatten(1).sum(1).argmin()][None]


@pytest.mark.parametrize(
    ("check", "answer"), [(check_hole_psnr, hole_psnr), (check_posterior_mean, posterior_mean)]
)
def test_right_answers(check, answer, capsys):
    assert check(answer)
    assert capsys.readouterr().out.startswith("Correct")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda o, t, m: 10 * math.log10(1 / float((o - t).square().mean())), "known pixels"),
        (lambda o, t, m: 10 * math.log10(float(m.sum() / (o - t).square().sum())), "one channel"),
        (lambda o, t, m: -hole_psnr(o, t, m), "sign"),
        (lambda o, t, m: hole_psnr(o, t, m) + 1, "sum the squared errors"),
        (lambda o, t, m: 20.0, "sum the squared errors"),  # a copied number
        (lambda o, t, m: None, "None"),
    ],
)
def test_wrong_psnr_gets_the_hint(wrong, hint, capsys):
    assert not check_hole_psnr(wrong)
    said = capsys.readouterr().out
    assert said.startswith("Not yet")
    assert hint in said


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (underflowing, "softmax"),
        (lambda noisy, pictures, sigma: pictures.mean(0, keepdim=True), "before anything was seen"),
        (lambda noisy, pictures, sigma: posterior_mean(noisy, pictures, sigma, scale=1.0), "2 is missing"),
        (lambda noisy, pictures, sigma: posterior_mean(noisy, pictures, 255 * sigma), "0-255 scale"),
        (nearest_picture, "weigh each picture"),
        (lambda noisy, pictures, sigma: posterior_mean(noisy, pictures, sigma)[0], "return one picture"),
    ],
)
def test_wrong_mean_gets_the_hint(wrong, hint, capsys):
    assert not check_posterior_mean(wrong)
    said = capsys.readouterr().out
    assert said.startswith("Not yet")
    assert hint in said


@pytest.mark.parametrize("check", [check_hole_psnr, check_posterior_mean])
def test_a_crash_of_the_answer_is_a_hint(check, capsys):
    def crash(*_):
        raise ZeroDivisionError("by hand")

    assert not check(crash)
    assert "ZeroDivisionError" in capsys.readouterr().out
