"""The checks of chapter 1: right answers pass, the usual wrong ones get the hint that helps."""

import math

import pytest
import torch

from pltutorial.exercises import check_best_picture, check_counterexample, check_psnr


def mse(output, target):
    return (output - target).square().mean().item()


def test_psnr_right(capsys):
    assert check_psnr(lambda o, t: -10 * math.log10(mse(o, t)))
    assert "Correct" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda o, t: 10 * math.log10(mse(o, t)), "sign"),
        (lambda o, t: -10 * math.log(mse(o, t)), "base 10"),
        (lambda o, t: -20 * math.log10(mse(o, t)), "factor 10"),
        (lambda o, t: 10 * math.log10(255**2 / mse(o, t)), "not 255"),
        (lambda o, t: 20.0, "ten times"),
        (lambda o, t: float("nan"), "ten times"),
        (lambda o, t: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_psnr_wrong(wrong, hint, capsys):
    assert not check_psnr(wrong)
    said = capsys.readouterr().out
    assert said.startswith("Not yet")
    assert hint in said
    assert "Correct" not in said


def weighted_mean(pictures, probabilities):
    return (probabilities.view(-1, 1, 1, 1) * pictures).sum(0, keepdim=True)


def test_best_picture_right(capsys):
    assert check_best_picture(weighted_mean)
    assert "Correct" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda x, p: x.mean(0, keepdim=True), "equal chances"),
        (lambda x, p: x[p.argmax()][None], "likeliest"),
        (lambda x, p: x.median(0, keepdim=True).values, "derivative"),
        (lambda x, p: weighted_mean(x, p)[0], "return one picture"),
        (lambda x, p: 0.5, "yours is float"),
        (lambda x, p: x @ p, "stopped with"),
    ],
)
def test_best_picture_wrong(wrong, hint, capsys):
    assert not check_best_picture(wrong)
    said = capsys.readouterr().out
    assert said.startswith("Not yet")
    assert hint in said
    assert "Correct" not in said


def columns(period):
    return (torch.arange(64) % period < period / 2).float().expand(1, 3, 64, 64)


@pytest.mark.parametrize(
    "right",
    [
        columns(8).transpose(2, 3),  # stripes that lie along the shift
        0.5 + 0.5 * torch.sin(torch.arange(64) * math.pi / 4).view(1, 1, -1, 1).expand(1, 3, 64, 64),
    ],
)
def test_counterexample_right(right, capsys):
    assert check_counterexample(right)
    assert "Correct" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (columns(8), "step to the side"),
        (torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0)), "step to the side"),
        (torch.full((1, 3, 64, 64), 0.5), "contrast"),
        (columns(8)[..., :16, :16], "32 pixels"),
        (columns(8) * 255, "[0, 1]"),
        (0.1, "tensor"),
    ],
)
def test_counterexample_wrong(wrong, hint, capsys):
    assert not check_counterexample(wrong)
    said = capsys.readouterr().out
    assert said.startswith("Not yet")
    assert hint in said
    assert "Correct" not in said
