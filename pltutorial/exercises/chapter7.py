"""Checks of the exercises of chapter 7, denoising and inpainting."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ..degradations import add_noise
from .verdicts import answer_of, judge


def check_hole_psnr(answer: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], float]) -> bool:
    """Check ``answer(output, target, mask)``: the PSNR in decibels of what fills the holes.

    The pictures are (1, 3, H, W) in [0, 1], the mask is (1, 1, H, W), 1 in the holes; all three colours of the missing
    pixels count, and nothing else. Tried on pictures of its own.

    Taught in chapter 7.
    """
    draw = torch.Generator().manual_seed(7)
    for height, width, share in ((6, 9, 0.5), (12, 5, 0.1)):
        target = torch.rand((1, 3, height, width), generator=draw)
        mask = (torch.rand((1, 1, height, width), generator=draw) < share).float()
        mask[..., 0, 0] = 1
        output = target + 0.3 * (torch.rand(target.shape, generator=draw) - 0.5) * mask
        value = answer_of(lambda o=output, t=target, m=mask: float(answer(o, t, m)))
        if value is None:
            return False
        squares = float((output.double() - target.double()).square().sum())
        right = 10 * math.log10(3 * float(mask.sum()) / squares)
        if abs(value - right) < 0.01:
            continue
        if abs(value - 10 * math.log10(target.numel() / squares)) < 0.01:
            hint = "the known pixels are right by themselves; divide by the missing ones only."
        elif abs(value - 10 * math.log10(float(mask.sum()) / squares)) < 0.01:
            hint = "the mask has one channel and the picture three: each missing pixel counts three times."
        elif abs(value + right) < 0.01:
            hint = "the sign is turned round: a smaller error must give more decibels."
        else:
            hint = "sum the squared errors where the mask is 1, and divide by how many values those are."
        return judge(False, "", hint)
    return judge(True, "it measures what was drawn, and does not grow because the hole is small.", "")


def check_posterior_mean(
    answer: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor],
) -> bool:
    """Check ``answer(noisy, pictures, sigma)``: the picture (1, 3, H, W) with the least expected squared error.

    ``noisy`` is (1, 3, H, W): one of the ``pictures`` (N, 3, H, W), all equally likely, with Gaussian noise of standard
    deviation ``sigma`` on the 0-255 scale. Tried on pictures of its own, of 2x2 and of 16x16 pixels.

    Taught in chapter 7.
    """
    draw = torch.Generator().manual_seed(8)
    for count, side, sigma in ((2, 2, 80.0), (4, 2, 120.0), (3, 16, 25.0)):
        pictures = torch.rand((count, 3, side, side), generator=draw)
        noisy = add_noise(pictures[:1], sigma, draw)
        value = answer_of(answer, noisy, pictures, sigma)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != noisy.shape:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            return judge(False, "", f"return one picture, {tuple(noisy.shape)}; yours is {got}.")

        def weighted(scale, pictures=pictures, noisy=noisy):
            squares = (pictures.double() - noisy.double()).square().sum((1, 2, 3))
            return torch.einsum("n,nchw->chw", (-squares / scale).softmax(0), pictures.double())[None]

        value, deviation = value.double(), sigma / 255
        if torch.allclose(value, weighted(2 * deviation**2), atol=1e-4):
            continue
        if not bool(value.isfinite().all()):
            hint = "every weight became 0, so their sum did: take the largest exponent away before exp, or use softmax."
        elif torch.allclose(value, pictures.double().mean(0, keepdim=True), atol=1e-6):
            hint = (
                "this is the mean before anything was seen; now let pictures near the noisy one count more."
            )
        elif torch.allclose(value, weighted(deviation**2), atol=1e-4):
            hint = (
                "the exponent of a Gaussian is the squared distance over 2 sigma squared: the 2 is missing."
            )
        elif torch.allclose(value, weighted(2 * sigma**2), atol=1e-4):
            hint = "sigma is on the 0-255 scale and the pictures are in [0, 1]."
        else:
            hint = "weigh each picture by exp(-its squared distance to the noisy one / (2 sigma**2)), summing to 1."
        return judge(False, "", hint)
    return judge(True, "little noise picks one picture, much noise gives their mean.", "")
