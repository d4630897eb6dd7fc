"""The checks of chapter 1: right answers of every kind pass, the usual wrong ones get
the hint that helps.
"""

import math

import numpy
import pytest
import torch
from exercise_checks import faulty_code, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from pltutorial.exercises import (
    check_best_picture,
    check_counterexample,
    check_grey_loss,
    check_psnr,
)

DTYPES = (torch.float32, torch.float64, torch.bfloat16)
PREPARATIONS = {
    "as given": lambda tensor: tensor,
    "a copy": lambda tensor: tensor.clone(),
    "channels last": lambda tensor: (
        tensor.contiguous(memory_format=torch.channels_last)
        if tensor.ndim == 4
        else tensor
    ),
    "a view": lambda tensor: tensor.flip(-1).flip(-1),
}


def mse(output, target):
    return (output - target).square().mean()


def loop_mse(output, target):
    pairs = zip(output.flatten().tolist(), target.flatten().tolist(), strict=True)
    return torch.tensor(
        sum((a - b) ** 2 for a, b in pairs) / output.numel(), dtype=output.dtype
    )


MEAN_SQUARES = (
    mse,
    loop_mse,
    functional.mse_loss,
    lambda o, t: torch.einsum("nchw,nchw->", o - t, o - t) / o.numel(),
    lambda o, t: (o - t).flatten().dot((o - t).flatten()) / o.numel(),
    lambda o, t: ((o - t) ** 2).mean((2, 3)).mean(1)[0],
)
LOGARITHMS = (
    lambda error: 10 * torch.log10(1 / error),
    lambda error: -10 * math.log10(error),
    lambda error: -20 * torch.log10(error.sqrt()),
    lambda error: 10 * numpy.log10(1 / error.float().numpy()),
    lambda error: (-10 * torch.log10(error))[None],
)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(MEAN_SQUARES),
    st.sampled_from(LOGARITHMS),
    st.sampled_from(DTYPES),
    st.sampled_from(list(PREPARATIONS)),
)
def test_psnr_right(mean_square, logarithm, dtype, preparation):
    prepare = PREPARATIONS[preparation]
    assert check_psnr(
        lambda o, t: logarithm(mean_square(prepare(o).to(dtype), prepare(t).to(dtype)))
    )


PSNR_WRONG = [
    (lambda o, t: 10 * math.log10(mse(o, t)), "sign"),
    (lambda o, t: -10 * math.log(mse(o, t)), "base 10"),
    (lambda o, t: -20 * math.log10(mse(o, t)), "factor 10"),
    (lambda o, t: 10 * math.log10(255**2 / mse(o, t)), "not 255"),
    (lambda o, t: 10 * math.log10(t.max() ** 2 / mse(o, t)), "no white"),
    (lambda o, t: -10 * math.log10((o - t).square().sum()), "added up"),
    (
        lambda o, t: float((-10 * (o - t).square().mean((0, 2, 3)).log10()).mean()),
        "mean of three colours",
    ),
    (lambda o, t: -10 * math.log10((o - t).var()), "too bright everywhere"),
    (lambda o, t: -10 * torch.log10((o - t).square().mean((2, 3))), "one number"),
    (lambda o, t: -20 * math.log10((o - t).abs().mean()), "ten times"),
    (lambda o, t: 20.0, "ten times"),
    (lambda o, t: float("nan"), "ten times"),
    (lambda o, t: 1 / 0, "ZeroDivisionError"),
]


@pytest.mark.parametrize(("wrong", "hint"), PSNR_WRONG)
def test_psnr_wrong(wrong, hint, capsys):
    refused(check_psnr, wrong, hint, capsys)


def weighted_mean(pictures, probabilities):
    return (probabilities.view(-1, 1, 1, 1) * pictures).sum(0, keepdim=True)


def weighted_loop(pictures, probabilities):
    total = torch.zeros_like(pictures[:1])
    for picture, probability in zip(pictures, probabilities, strict=True):
        total += probability * picture
    return total


def weighted_descent(pictures, probabilities):
    given_dtype, pictures, probabilities = (
        pictures.dtype,
        pictures.double(),
        probabilities.double(),
    )
    # steps in bfloat16 would stall
    guess = torch.full_like(pictures[:1], 0.5).requires_grad_()
    descent = torch.optim.SGD([guess], lr=0.25)
    for _ in range(60):
        descent.zero_grad()
        ((guess - pictures).square().sum((1, 2, 3)) @ probabilities).backward()
        descent.step()
    return guess.to(given_dtype)


WEIGHTED = (
    weighted_mean,
    weighted_loop,
    weighted_descent,
    lambda x, p: torch.einsum("n,nchw->chw", p, x)[None],
    lambda x, p: torch.tensordot(p, x, dims=1)[None],
    lambda x, p: (p @ x.flatten(1)).view(x[:1].shape),
    lambda x, p: torch.bmm(p.view(1, 1, -1), x.flatten(1)[None]).view(x[:1].shape),
    lambda x, p: numpy.average(
        x.double().numpy(), axis=0, weights=p.double().numpy(), keepdims=True
    ),
)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(WEIGHTED),
    st.sampled_from(DTYPES),
    st.sampled_from(list(PREPARATIONS)),
)
def test_best_picture_right(variant, dtype, preparation):
    prepare = PREPARATIONS[preparation]
    assert check_best_picture(lambda x, p: variant(prepare(x).to(dtype), p.to(dtype)))


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda x, p: x.mean(0, keepdim=True), "equal chances"),
        (lambda x, p: x[p.argmax()][None], "likeliest"),
        (
            lambda x, p: (x * p.view(-1, 1, 1, 1)).mean(0, keepdim=True),
            "divide once more",
        ),
        (lambda x, p: x.median(0, keepdim=True).values, "L1's answer"),
        (lambda x, p: weighted_mean(x, p.flip(0)), "derivative"),
        (lambda x, p: weighted_mean(x, p.softmax(0)), "derivative"),
        (lambda x, p: weighted_mean(x, p)[0], "return one picture"),
        (lambda x, p: weighted_mean(x, p).mean(1, keepdim=True), "return one picture"),
        (lambda x, p: 0.5, "yours is float"),
        (lambda x, p: x @ p, "stopped with"),
    ],
)
def test_best_picture_wrong(wrong, hint, capsys):
    refused(check_best_picture, wrong, hint, capsys)


def grey_loop(outputs, scans):
    pairs = zip(outputs, scans, strict=True)
    return torch.stack(
        [(output[0] - scan / 255).pow(2).mean() for output, scan in pairs]
    ).mean()


GREY = (
    grey_loop,
    lambda o, s: (o - s[:, None] / 255).square().mean(),
    lambda o, s: functional.mse_loss(o, s.unsqueeze(1).to(o) / 255),
    lambda o, s: functional.mse_loss(o.squeeze(1), s.to(o) / 255),
    lambda o, s: torch.einsum("nhw,nhw->", *[o[:, 0] - s.to(o) / 255] * 2) / o.numel(),
    lambda o, s: (o.flatten(1) - s.flatten(1) / 255).norm().square() / o.numel(),
    lambda o, s: (255 * o - s[:, None]).square().mean().reshape(1) / 255**2,
    lambda o, s: (
        (o - (s.double() / 255).float()[:, None].to(o)).square().sum((1, 2, 3)).mean()
        / o[0].numel()
    ),
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(GREY), st.sampled_from(DTYPES))
def test_grey_loss_right(variant, dtype):
    assert check_grey_loss(lambda o, s: variant(o.to(dtype), s))


def targets_of(scans):
    return scans[:, None] / 255


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda o, s: (o - s / 255).square().mean(), "targets of all pictures"),
        (
            lambda o, s: (o.clamp(0, 1) - targets_of(s)).square().mean(),
            "where is it cut off",
        ),
        (
            lambda o, s: (o - targets_of(s)).square().mean() / 2,
            "one picture of two pixels",
        ),
        (
            lambda o, s: (o - targets_of(s)).square().mean((1, 2, 3)).sum(),
            "a sum over pictures",
        ),
        (lambda o, s: (o - targets_of(s)).square().sum(), "added up"),
        (lambda o, s: (o - s[:, None]).square().mean(), "white is 255"),
        (lambda o, s: (o - targets_of(s)).abs().mean(), "this is L1"),
        (lambda o, s: (o.detach() - targets_of(s)).square().mean(), "no gradient"),
        (
            lambda o, s: (
                (o.clamp(0, 1) - targets_of(s)).square().mean()
                + (o - targets_of(s)).square().mean().detach()
                - (o.clamp(0, 1) - targets_of(s)).square().mean().detach()
            ),
            "not the squared error's at every pixel",
        ),
        (lambda o, s: (o - targets_of(s)).square().mean().item(), "yours is float"),
        (lambda o, s: (o - targets_of(s)).square(), "one number"),
    ],
)
def test_grey_loss_wrong(wrong, hint, capsys):
    refused(check_grey_loss, wrong, hint, capsys)


def test_the_printed_fault_is_one(capsys):
    code = faulty_code("01_pixel_loss.ipynb", "ex-pixel-grey-loss")
    refused(check_grey_loss, code["grey_loss"], "targets of all pictures", capsys)


def columns(period):
    return (torch.arange(64) % period < period / 2).float().expand(1, 3, 64, 64)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(3, 16),
    st.integers(32, 70),
    st.floats(0.15, 0.5),
    st.sampled_from((torch.float32, torch.float64, torch.bfloat16, "numpy")),
)
def test_counterexample_right(period, height, contrast, dtype):
    """Stripes and waves along the shift, of every period, size and kind of number."""
    wave = 0.5 + contrast * torch.sin(2 * math.pi * torch.arange(height) / period).view(
        1, 1, -1, 1
    )
    wave = wave.expand(1, 3, height, 40)
    assert check_counterexample(
        lambda: wave.numpy() if dtype == "numpy" else wave.to(dtype)
    )
    assert check_counterexample(lambda: columns(8).transpose(2, 3))


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (columns(8), "step to the side"),
        (
            torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0)),
            "step to the side",
        ),
        (torch.full((1, 3, 64, 64), 0.5), "contrast"),
        (columns(8)[..., :16, :16], "32 pixels"),
        (columns(8) * 255, "[0, 1]"),
        (columns(8)[0], "(N, 3, H, W)"),
        (0.1, "tensor"),
    ],
)
def test_counterexample_wrong(wrong, hint, capsys):
    refused(check_counterexample, lambda: wrong, hint, capsys)


def test_counterexample_wants_the_function(capsys):
    assert not check_counterexample(columns(8))
    assert "give it your function" in capsys.readouterr().out
