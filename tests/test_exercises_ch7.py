"""The checks of chapter 7 know a right answer from a wrong one, and say why."""

import math

import numpy
import pytest
import torch
import torch.nn.functional as F
from exercise_checks import faulty_code, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from pltutorial.exercises import (
    check_hole_psnr,
    check_noisy_batch,
    check_posterior_mean,
)

TYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16])
TRIES = 5  # every wrong answer is told from a right one on each of so many fresh draws


def hole_psnr(output, target, mask):
    errors = (output - target).double()[mask.expand_as(target) > 0]
    return 10 * math.log10(1 / float(errors.square().mean()))


def psnr_by_loops(output, target, mask):
    total, count = 0.0, 0
    for y in range(mask.shape[-2]):
        for x in range(mask.shape[-1]):
            if mask[0, 0, y, x]:
                total += float((output[0, :, y, x] - target[0, :, y, x]).square().sum())
                count += 3
    return -10 * math.log10(total / count)


def psnr_by_einsum(output, target, mask):
    error = torch.einsum("nchw,nchw,nkhw->", output - target, output - target, mask)
    return -10 * (error / (mask.sum() * output.shape[1])).log10()


def psnr_by_numpy(output, target, mask):
    where = numpy.broadcast_to(mask.float().numpy(), output.shape).astype(bool)
    errors = (output.float().numpy() - target.float().numpy())[where]
    return numpy.float64(20 * numpy.log10(1 / numpy.sqrt(numpy.mean(errors**2))))


def posterior_mean(noisy, pictures, sigma, scale=2.0):
    squares = (pictures - noisy).square().flatten(1).sum(1)
    shares = (-squares / (scale * (sigma / 255) ** 2)).softmax(0)
    return torch.einsum("n,nchw->chw", shares, pictures)[None]


def posterior_by_loops(noisy, pictures, sigma):
    exponents = [
        -float((one - noisy[0]).double().square().sum()) / (2 * (sigma / 255) ** 2)
        for one in pictures
    ]
    weights = [math.exp(exponent - max(exponents)) for exponent in exponents]
    mean = sum(
        weight * one for weight, one in zip(weights, pictures, strict=True)
    ) / sum(weights)
    return mean.unsqueeze(0)


def posterior_by_products(noisy, pictures, sigma):
    # |a - b|^2 = |a|^2 - 2 ab + |b|^2, the first common to all
    n, d = noisy.flatten(1), pictures.flatten(1)
    exponents = (n @ d.T - d.square().sum(1) / 2) / (sigma / 255) ** 2
    shares = (exponents - exponents.logsumexp(1, keepdim=True)).exp()
    return torch.bmm(shares[None], d[None]).view_as(noisy)


def posterior_by_cdist(noisy, pictures, sigma):
    distance = torch.cdist(noisy.flatten(1).double(), pictures.flatten(1).double())
    shares = F.softmax(-0.5 * (255 * distance / sigma) ** 2, dim=1)
    return (shares @ pictures.flatten(1).double()).view_as(noisy)


def underflowing(noisy, pictures, sigma):
    squares = (pictures - noisy).square().flatten(1).sum(1)
    weights = (-squares / (2 * (sigma / 255) ** 2) - 200).exp()
    return torch.einsum("n,nchw->chw", weights / weights.sum(), pictures)[None]


def nearest_picture(noisy, pictures, sigma):
    return pictures[(pictures - noisy).square().flatten(1).sum(1).argmin()][None]


def mean_of_squares(noisy, pictures, sigma):
    squares = (pictures - noisy).square().flatten(1).mean(1)
    return torch.einsum(
        "n,nchw->chw", (-squares / (2 * (sigma / 255) ** 2)).softmax(0), pictures
    )[None]


def noisy_batch(clean, sigmas):
    return clean + sigmas.view(-1, 1, 1, 1) / 255 * torch.randn_like(clean), clean


def noisy_by_loop(clean, sigmas):
    return torch.stack(
        [
            one + s / 255 * torch.randn(one.shape)
            for one, s in zip(clean, sigmas, strict=True)
        ]
    ), clean


def noisy_by_einsum(clean, sigmas):
    noise = torch.randn(clean.shape, dtype=clean.dtype)
    return [torch.einsum("n,nchw->nchw", sigmas / 255, noise).add(clean), clean.clone()]


def noisy_by_normal(clean, sigmas):
    return torch.normal(
        clean, (sigmas[:, None, None, None] / 255).expand_as(clean)
    ), clean


# one for all calls
def noisy_by_generator(clean, sigmas, generator=torch.Generator().manual_seed(5)):  # noqa: B008
    return clean + torch.einsum(
        "n,nchw->nchw", sigmas / 255, torch.randn(clean.shape, generator=generator)
    ), clean


RIGHT = {
    check_hole_psnr: [hole_psnr, psnr_by_loops, psnr_by_einsum, psnr_by_numpy],
    check_posterior_mean: [
        posterior_mean,
        posterior_by_loops,
        posterior_by_products,
        posterior_by_cdist,
    ],
    check_noisy_batch: [
        noisy_batch,
        noisy_by_loop,
        noisy_by_einsum,
        noisy_by_normal,
        noisy_by_generator,
    ],
}


@pytest.mark.parametrize("check", RIGHT)
def test_right_answers(check, capsys):
    for answer in RIGHT[check]:
        assert check(answer), capsys.readouterr().out
        assert capsys.readouterr().out.startswith("Correct")


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(RIGHT[check_hole_psnr]), TYPES, st.booleans())
def test_no_false_alarm_of_the_psnr(function, dtype, as_tensor):
    def answer(*given):
        value = function(*(one.to(dtype) for one in given))
        return torch.as_tensor(value) if as_tensor else value

    assert check_hole_psnr(answer)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(RIGHT[check_posterior_mean]), TYPES)
def test_no_false_alarm_of_the_posterior_mean(function, dtype):
    inside = (
        torch.float64
        if function is posterior_by_products and dtype == torch.bfloat16
        else dtype
    )
    assert check_posterior_mean(
        lambda n, p, s: function(n.to(inside), p.to(inside), s).to(dtype)
    )


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(RIGHT[check_noisy_batch]), TYPES)
def test_no_false_alarm_of_the_noisy_batch(function, dtype):
    assert check_noisy_batch(
        lambda c, s: tuple(one.to(dtype) for one in function(c, s))
    )


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (
            lambda o, t, m: 10 * math.log10(1 / float((o - t).square().mean())),
            "whole picture",
        ),
        (
            lambda o, t, m: -10 * ((o - t) * m).square().mean().log10(),
            "known pixels are right",
        ),
        (
            lambda o, t, m: -10 * ((o - t).square().sum() / (3 * m.sum())).log10(),
            "before you add up",
        ),
        (
            lambda o, t, m: -10 * (((o - t).square() * m).sum() / m.sum()).log10(),
            "one channel",
        ),
        (lambda o, t, m: hole_psnr(o, t, 1 - m), "measured the known"),
        (lambda o, t, m: -hole_psnr(o, t, m), "sign"),
        (lambda o, t, m: hole_psnr(o, t, m) + 20 * math.log10(255), "not 255"),
        (lambda o, t, m: hole_psnr(o, t, m) + 1, "sum the squared errors"),
        (lambda o, t, m: 99.0, "sum the squared errors"),  # a copied number
        (lambda o, t, m: (o - t).square() * m, "one number"),
        (lambda o, t, m: None, "None"),
    ],
)
def test_wrong_psnr_gets_the_hint(answer, hint, capsys):
    refused(check_hole_psnr, answer, hint, capsys, TRIES)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (underflowing, "softmax"),
        (
            lambda noisy, pictures, sigma: pictures.mean(0, keepdim=True),
            "before anything was seen",
        ),
        (
            lambda noisy, pictures, sigma: posterior_mean(
                noisy, pictures, sigma, scale=1.0
            ),
            "2 is missing",
        ),
        (
            lambda noisy, pictures, sigma: posterior_mean(noisy, pictures, 255 * sigma),
            "0-255 scale",
        ),
        (mean_of_squares, "take no mean"),
        (nearest_picture, "likeliest picture"),
        (lambda noisy, pictures, sigma: noisy, "noisy picture itself"),
        (lambda noisy, pictures, sigma: pictures[:1] / 2, "weigh each picture"),
        (
            lambda noisy, pictures, sigma: posterior_mean(noisy, pictures, sigma)[0],
            "return one picture",
        ),
    ],
)
def test_wrong_mean_gets_the_hint(answer, hint, capsys):
    refused(check_posterior_mean, answer, hint, capsys, TRIES)


def same_noise(clean, sigmas):
    return clean + sigmas.view(-1, 1, 1, 1) / 255 * torch.randn(clean.shape[1:]), clean


def in_place(clean, sigmas):
    clean += sigmas.view(-1, 1, 1, 1) / 255 * torch.randn_like(clean)
    return clean, clean


def always_the_same(clean, sigmas):
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return clean + sigmas.view(-1, 1, 1, 1) / 255 * noise, clean


def the_book_s(*given):
    """The faulty function of the exercise, as it is printed."""
    return faulty_code("07_denoising_inpainting.ipynb", "ex-restoration-batch")[
        "noisy_batch"
    ](*given)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (the_book_s, "cut off"),
        (lambda c, s: (noisy_batch(c, s)[0].clamp(0, 1), c), "cut off"),
        (lambda c, s: (c + s.mean() / 255 * torch.randn_like(c), c), "one strength"),
        (same_noise, "all crops have the same noise"),
        (lambda c, s: noisy_batch(c, 255 * s), "steps of a file"),
        (lambda c, s: noisy_batch(c, s**2 / 255), "already"),
        (lambda c, s: noisy_batch(c, 2 * s), "sigma over 255"),
        (
            lambda c, s: (
                c + s.view(-1, 1, 1, 1) / 255 * torch.randn_like(c[:, :1]),
                c,
            ),
            "three colours",
        ),
        (
            lambda c, s: (
                c + s.view(-1, 1, 1, 1) / 255 * torch.randn_like(c[..., :1]),
                c,
            ),
            "neighbouring",
        ),
        (
            lambda c, s: (
                c + s.view(-1, 1, 1, 1) / 255 * 12**0.5 * (torch.rand_like(c) - 0.5),
                c,
            ),
            "not Gaussian",
        ),
        (in_place, "in place"),
        (always_the_same, "by heart"),
        (lambda c, s: noisy_batch(c, s)[::-1], "wrong order"),
        (lambda c, s: (c, c), "no noise"),
        (
            lambda c, s: (noisy_batch(c, s)[0], noisy_batch(c, s)[0]),
            "not the clean crops",
        ),
        (lambda c, s: noisy_batch(c, s)[0], "two things"),
        (lambda c, s: (noisy_batch(c, s)[0][0], c), "shape that came in"),
    ],
)
def test_wrong_batch_gets_the_hint(answer, hint, capsys):
    refused(check_noisy_batch, answer, hint, capsys, TRIES)
