"""Checks of the exercises of chapter 7, denoising and inpainting."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ...degradations import add_noise
from .verdicts import (
    answer_of,
    exercise,
    fresh_draw,
    judge,
    near,
    shape_or_type,
)


@exercise(
    chapter=7,
    label="ex-restoration-psnr",
    second=(
        "work it out for one missing pixel: how many squared errors does it have, "
        "and what is their mean?"
    ),
)
def check_hole_psnr(
    answer: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], float],
) -> bool:
    """Check ``answer(output, target, mask)``: the PSNR in decibels of
    what fills the holes.

    The pictures are (1, 3, H, W) in [0, 1], the mask is (1, 1, H, W), 1 in the holes;
    all three colours of the missing pixels count, and nothing else: where the mask is 0
    the two pictures may differ as well. Tried on random pictures.

    Taught in chapter 7.
    """
    draw = fresh_draw()
    for height, width, share, elsewhere in (
        (8, 7, 0.3, 0.3),
        (12, 5, 0.1, 0.0),
        (6, 9, 0.5, 0.0),
    ):
        target = torch.rand((1, 3, height, width), generator=draw)
        mask = (torch.rand((1, 1, height, width), generator=draw) < share).float()
        mask[..., 0, 0], mask[..., -1, -1] = 1, 0
        size = mask + elsewhere * (1 - mask)
        output = target + 0.3 * (torch.rand(target.shape, generator=draw) - 0.5) * size
        value = answer_of(answer, output, target, mask)
        if value is None:
            return False
        try:
            value = float(value.detach() if isinstance(value, torch.Tensor) else value)
        except (TypeError, ValueError, RuntimeError):
            return judge(
                False,
                "",
                "return one number of decibels, and not one for each pixel or colour.",
            )
        squares = (output.double() - target.double()).square()
        inside, everything = float((squares * mask).sum()), float(squares.sum())
        missing, known = 3 * float(mask.sum()), 3 * float((1 - mask).sum())

        def says(squares, count, value=value):  # bfloat16 holds 30 dB to an eighth
            return abs(value - 10 * math.log10(count / max(squares, 1e-12))) < 0.2

        if says(inside, missing):
            continue
        wrong = {
            (
                "the known pixels are right by themselves; divide by "
                "the missing ones only."
            ): says(inside, missing + known),
            (
                "this is the PSNR of the whole picture; errors outside "
                "the holes do not count."
            ): says(everything, missing + known),
            (
                "errors outside the holes are in your sum; multiply by the "
                "mask before you add up."
            ): says(everything, missing),
            (
                "the mask has one channel and the picture three: each missing "
                "pixel counts three times."
            ): says(inside, missing / 3),
            (
                "the mask is 1 where the picture is missing; you "
                "measured the known pixels."
            ): (not math.isfinite(value) or says(everything - inside, known)),
            "the sign is turned round: a smaller error must give more decibels.": abs(
                value + 10 * math.log10(missing / inside)
            )
            < 0.2,
            "the pictures are in [0, 1], so the peak is 1 and not 255.": says(
                inside / 255**2, missing
            ),
        }
        hint = next((hint for hint, made in wrong.items() if made), "")
        return judge(
            False, "", hint or (
                "sum the squared errors where the mask is 1, and divide by how "
                "many values those are."
            )
        )  # fmt: skip
    return judge(
        True,
        "it measures what was drawn, and does not grow because the hole is small.",
        "",
    )


@exercise(
    chapter=7,
    label="ex-restoration-posterior",
    second=(
        "one number for each picture: its squared distance to the noisy one, over all "
        "pixels and colours, in units of the noise; then shares that sum to 1; then a "
        "weighted sum of pictures."
    ),
)
def check_posterior_mean(
    answer: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor],
) -> bool:
    """Check ``answer(noisy, pictures, sigma)``: the picture (1, 3, H, W) with the least
    expected squared error.

    ``noisy`` is (1, 3, H, W): one of the ``pictures`` (N, 3, H, W), all equally likely,
    with Gaussian noise of standard deviation ``sigma`` on the 0-255 scale. Tried on
    random pictures, of 2x2 and of 16x16 pixels.

    Taught in chapter 7.
    """
    draw = fresh_draw()
    for count, side, sigma in ((2, 2, 80.0), (4, 2, 120.0), (3, 16, 25.0)):
        noisy, pictures = _doubtful(count, side, sigma, draw)
        value = answer_of(answer, noisy, pictures, sigma)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != noisy.shape:
            got = shape_or_type(value)
            return judge(
                False, "", f"return one picture, {tuple(noisy.shape)}; yours is {got}."
            )
        squares = (pictures.double() - noisy.double()).square().sum((1, 2, 3))
        deviation = sigma / 255

        # in bfloat16 the exponents lose a little too
        def same(other, atol=1e-4, value=value):
            loose = value.dtype in (torch.bfloat16, torch.float16)
            return near(value, other, atol=0.03 if loose else atol, rtol=0)

        def weighted(scale, pictures=pictures, squares=squares):
            return torch.einsum(
                "n,nchw->chw", (-squares / scale).softmax(0), pictures.double()
            )[None]

        if same(weighted(2 * deviation**2)):
            continue
        if not bool(value.isfinite().all()):
            hint = (
                "every weight became 0, so their sum did: take the largest exponent "
                "away before exp, or use softmax."
            )
        elif same(pictures.double().mean(0, keepdim=True), atol=1e-6):
            hint = (
                "this is the mean before anything was seen; now let pictures near the "
                "noisy one count more."
            )
        elif same(weighted(deviation**2)):
            hint = (
                "the exponent of a Gaussian is the squared distance over 2 sigma "
                "squared: the 2 is missing."
            )
        elif same(weighted(2 * sigma**2)):
            hint = "sigma is on the 0-255 scale and the pictures are in [0, 1]."
        elif same(weighted(2 * deviation**2 * noisy.numel())):
            hint = (
                "independent pixels multiply their likelihoods: add their squared "
                "errors, and take no mean."
            )
        elif same(pictures[squares.argmin()][None]):
            hint = (
                "this is the likeliest picture; the squared error asks for a mean "
                "over all, weigh each picture."
            )
        elif same(noisy):
            hint = "this is the noisy picture itself; mix the known ones."
        else:
            hint = (
                "weigh each picture by exp(-its squared distance to the noisy one / "
                "(2 sigma**2)), summing to 1."
            )
        return judge(False, "", hint)
    return judge(
        True, "little noise picks one picture, much noise gives their mean.", ""
    )


def _doubtful(
    count: int, side: int, sigma: float, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A noisy picture and the pictures that it may be; if small, so near to each other
    that none is certain.
    """
    noisy, pictures = torch.empty(0), torch.empty(0)
    for _ in range(200):
        pictures = torch.rand((count, 3, side, side), generator=draw)
        noisy = add_noise(pictures[:1], sigma, draw)
        exponents = -(pictures - noisy).square().sum((1, 2, 3)) / (
            2 * (sigma / 255) ** 2
        )
        if (
            side > 2
            or 0.15 < float(exponents.softmax(0).max() - 1 / count) < 0.85 - 1 / count
        ):
            break
    return noisy, pictures


@exercise(
    chapter=7,
    label="ex-restoration-batch",
    second=(
        "print the shape of the noise and its standard deviation for each crop, the "
        "least and the greatest value of what is given, and compare the targets with "
        "the crops that came in."
    ),
)
def check_noisy_batch(
    answer: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
) -> bool:
    """Check ``answer(clean, sigmas)``: what a blind denoiser is given, and what it is
    to answer, both (N, 3, H, W).

    ``clean`` (N, 3, H, W) is in [0, 1]; each crop gets Gaussian noise of its own, of
    the strength that ``sigmas`` (N,) says on the 0-255 scale, independent in all pixels
    and colours and never cut off. Tried on random crops; what is drawn is judged by its
    statistics, with bounds that a right answer leaves about never.

    Taught in chapter 7.
    """
    draw = fresh_draw()
    clean = torch.rand((4, 3, 48, 48), generator=draw)
    clean[0], clean[1] = 0, 1
    sigmas = torch.tensor([20.0, 35.0, 50.0, 65.0])[torch.randperm(4, generator=draw)]
    noises = []
    for _ in range(2):
        pair = answer_of(answer, clean, sigmas)
        if pair is None:
            return False
        hint = _fault_of_pair(pair, clean)
        if hint:
            return judge(False, "", hint)
        noises.append(pair[0].detach().double() - clean.double())
        hint = _fault_of_noise(noises[-1], sigmas.double() / 255)
        if hint:
            return judge(False, "", hint)
    if _alike(*noises):
        return judge(
            False,
            "",
            "a second call drew the same noise again, so a network "
            "could learn it by heart.",
        )
    return judge(
        True,
        "each crop has noise of its own and of its own strength, and "
        "the targets have none.",
        "",
    )


def _fault_of_pair(pair: object, clean: torch.Tensor) -> str:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        return "return two things, what the network is given and what it is to answer."
    for one in pair:
        if not isinstance(one, torch.Tensor) or one.shape != clean.shape:
            got = (
                tuple(one.shape)
                if isinstance(one, torch.Tensor)
                else type(one).__name__
            )
            return (
                f"both are batches of the shape that came in, {tuple(clean.shape)}; "
                f"one of yours is {got}."
            )
    given, wanted = pair
    if not near(wanted, clean, atol=0.01, rtol=0):
        if near(given, clean, atol=0.01, rtol=0):
            return (
                "the two are in the wrong order: the network is given the noisy crops."
            )
        if torch.equal(given, wanted):
            return (
                "the targets are as noisy as what is given; what changes a tensor in "
                "place changes it for all."
            )
        return "the targets are not the clean crops that came in."
    return ""


def _fault_of_noise(noise: torch.Tensor, deviations: torch.Tensor) -> str:
    """The hint for noise (N, 3, H, W) that is not what was asked for;
    empty where it is.
    """
    measured = noise.flatten(1).square().mean(1).sqrt()
    if not bool(noise.isfinite().all()) or not bool((measured > 0).all()):
        return "some crops got no noise at all."
    if bool((noise[0] >= -1e-6).all()) or bool((noise[1] <= 1e-6).all()):
        return (
            "the noise of black or white pixels is cut off, so its mean is not zero: "
            "nothing is to be clamped."
        )
    strength = measured / deviations
    if float(strength.min()) > 100:
        return "the sigmas count steps of a file, 0 to 255; the crops are in [0, 1]."
    if float(measured.max() / measured.min()) < 1.1:
        return "all crops have noise of one strength; each has a sigma of its own."
    whitened = noise / measured.view(-1, 1, 1, 1)
    if _alike(whitened[..., 1:], whitened[..., :-1]) or _alike(
        whitened[..., 1:, :], whitened[..., :-1, :]
    ):
        return "neighbouring pixels have the same noise; draw some for each pixel."
    if _alike(whitened[:, 0], whitened[:, 1]):
        return "the three colours have the same noise; draw some for each colour."
    if any(_alike(whitened[0], other) for other in whitened[1:]):
        return "all crops have the same noise; draw some for each crop."
    if float((strength - 1).abs().max()) > 0.08:
        if float((measured / deviations.square() - 1).abs().max()) < 0.08:
            return (
                "sigma is the standard deviation already, and not its root: you "
                "scaled by its square."
            )
        return "the standard deviation of each crop's noise must be its sigma over 255."
    if not 0.025 < float((whitened.abs() > 2).double().mean()) < 0.07:
        return "the noise has the right strength, and is not Gaussian."
    return ""


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two draws, each of thousands of numbers of mean 0, have to
    do with each other.
    """
    return (
        float(
            (one * other).mean() / (one.square().mean() * other.square().mean()).sqrt()
        )
        > 0.2
    )
