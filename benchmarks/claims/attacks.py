"""Small changes that are looked for: of a network's input, and of a picture before the
judge.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from pltutorial import downscale, load_restorer, perceptual_distance, psnr
from pltutorial.calibrated import LPIPS
from pltutorial.distances import content_distance

from .refined import arm
from .training import FACTOR, SEEDS, by_seed, enlarged, photographs

NETWORK_EPSILON, JUDGE_EPSILON, ITERATIONS = 2 / 255, 2 / 255, 8
AMPLITUDES = (0.0, 0.02, 0.04, 0.06)
SMALL = ("pixels", "relu2_2", "relu3_3")
SHIPPED = ("pixel", "feature", "adversarial")


def attacked(
    gain: Callable[[torch.Tensor], torch.Tensor],
    given: torch.Tensor,
    epsilon: float,
    seed: int,
    iterations: int = ITERATIONS,
) -> torch.Tensor:
    """The pictures, each value moved by at most epsilon so that the gain grows: steps
    along the sign of the gradient from a random beginning (Madry et al. 2018).
    """
    draw = torch.Generator().manual_seed(seed)
    moved = epsilon * (2 * torch.rand(given.shape, generator=draw) - 1)
    for _ in range(iterations):
        at = (given + moved).clamp(0, 1).requires_grad_()
        (slope,) = torch.autograd.grad(gain(at), at)
        moved = (at.detach() - given + epsilon / 4 * slope.sign()).clamp(
            -epsilon, epsilon
        )
    return (given + moved).clamp(0, 1)


def moved_output(network: nn.Module, seed: int) -> dict:
    """By how much the output moves, in 256ths of the range, root of the mean square:
    under attack, and under random signs of the same size.
    """
    network.requires_grad_(False)
    small = downscale(photographs(), FACTOR)
    before = network(small)

    def gain(given: torch.Tensor) -> torch.Tensor:
        return (network(given) - before).square().mean()

    worst = attacked(gain, small, NETWORK_EPSILON, seed)
    draw = torch.Generator().manual_seed(100 + seed)
    signs = torch.randint(2, small.shape, generator=draw) * 2 - 1
    noise = (small + NETWORK_EPSILON * signs).clamp(0, 1)
    with torch.no_grad():
        attack, random = (
            255 * float((network(x) - before).square().mean().sqrt())
            for x in (worst, noise)
        )
    lost = psnr(before.clamp(0, 1), photographs(), border=FACTOR) - psnr(
        enlarged(network, worst), photographs(), border=FACTOR
    )
    return {
        "attack": round(attack, 2),
        "random": round(random, 2),
        "lost": round(float(lost.mean()), 2),
    }


def dotted(pictures: torch.Tensor, amplitude: float) -> torch.Tensor:
    """With a pattern of period 4 that knows nothing of the picture."""
    row, column = (
        torch.cos(torch.pi * torch.arange(length) / 2) for length in pictures.shape[-2:]
    )
    return (pictures + amplitude * torch.outer(row, column)).clamp(0, 1)


def judges_of(output: torch.Tensor, target: torch.Tensor) -> dict:
    return {
        "psnr": [round(x, 2) for x in psnr(output, target, border=FACTOR).tolist()],
        "distance": [round(x, 4) for x in perceptual_distance(output, target).tolist()],
        "second": [round(x, 4) for x in content_distance(output, target).tolist()],
    }


def on_the_judge() -> dict:
    """Dots, and noise of the same size, on the shipped network's pictures; and changes
    of the photograph that nobody sees, looked for with the judge's own gradient.
    """
    target = photographs()
    output = enlarged(load_restorer("upscale", "pixel"))
    dots, noise = [], []
    for amplitude in AMPLITUDES:
        dots.append(
            {"amplitude": amplitude} | judges_of(dotted(output, amplitude), target)
        )
        size = float((dotted(torch.full_like(output, 0.5), amplitude) - 0.5).std())
        draw = torch.Generator().manual_seed(3)
        rough = (output + size * torch.randn(output.shape, generator=draw)).clamp(0, 1)
        noise.append({"amplitude": amplitude} | judges_of(rough, target))
    judge = LPIPS("alex", shift_tolerant=True)  # the judge, with gradients
    hidden, middle = [], (..., slice(32, 160), slice(32, 160))
    target, output = target[middle], output[middle]
    for seed in SEEDS:
        for direction in (1, -1):
            given = target if direction == 1 else output

            def gain(at: torch.Tensor, sign=direction) -> torch.Tensor:
                return sign * judge(at, target)

            changed = attacked(gain, given, JUDGE_EPSILON, seed)
            which = "photograph, away" if direction == 1 else "output, nearer"
            hidden.append({"what": which, "seed": seed} | judges_of(changed, target))
        draw = torch.Generator().manual_seed(100 + seed)
        signs = torch.randint(2, target.shape, generator=draw) * 2 - 1
        rough = (target + JUDGE_EPSILON * signs).clamp(0, 1)
        hidden.append(
            {"what": "photograph, random signs", "seed": seed}
            | judges_of(rough, target)
        )
    return {
        "before": judges_of(output, target),
        "dots": dots,
        "noise": noise,
        "hidden": hidden,
    }


def attacks() -> dict:
    """On networks for super-resolution, and on the judge."""
    rows = []
    for name in SHIPPED:
        network = load_restorer("upscale", name).eval()
        found = [moved_output(network, seed) for seed in SEEDS]
        rows.append({"networks": "shipped", "loss": name} | by_seed(found))
        print(rows[-1], flush=True)
    for name in SMALL:
        found = [moved_output(arm(name, seed), seed) for seed in SEEDS]
        rows.append({"networks": "small", "loss": name} | by_seed(found))
        print(rows[-1], flush=True)
    return {
        "epsilon": NETWORK_EPSILON,
        "iterations": ITERATIONS,
        "rows": rows,
        "judge": on_the_judge(),
    }
