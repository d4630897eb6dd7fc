"""What the sections share: crops, held-out pictures, losses, a plain loop, judges."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from pltutorial import (
    LossNetwork,
    Pictures,
    SubPixelNet,
    bundled,
    bundled_names,
    downscale,
    perceptual_distance,
    psnr,
)
from pltutorial.distances import content_distance
from pltutorial.images import middle_square
from pltutorial.metrics import lattice, sharpness

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "claims"
SEEDS = (0, 1, 2)
FACTOR, SIZE, BATCH, CROPS, WIDTH, BLOCKS = 4, 64, 4, 300, 24, 4
MARGIN = 8  # by how much a target may be moved within its crop
BEGIN, STEPS, RATE = 800, 200, 5e-4  # steps of the start, and after it
SQUARE = 192  # of the held-out pictures

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@functools.cache
def crops() -> torch.Tensor:
    """(N, 3, 80, 80) of data/train, with a rim for targets that are moved."""
    side = SIZE + 2 * MARGIN
    pictures = Pictures(size=side, zoom=(2, 4), cache=True)
    return torch.stack([pictures[n][0] for n in range(CROPS)])


@functools.cache
def photographs() -> torch.Tensor:
    """(4, 3, 192, 192): the middles of data/test."""
    return torch.cat(
        [middle_square(bundled(f"test/{n}"), SQUARE) for n in bundled_names("test")]
    )


@functools.cache
def vgg(weights: str | Path = "embedded") -> LossNetwork:
    return LossNetwork(weights, device="cpu", precision="float32")


def random_weights(seed: int) -> Path:
    """A VGG-16 that has seen nothing: weights drawn as He et al. (2015) do, in a file
    with torchvision's names.
    """
    path = BUILD / f"random_vgg_{seed}.safetensors"
    if not path.exists():
        draw = torch.Generator().manual_seed(seed)
        channels = (64, 64, 128, 128, 256, 256, 256, *(512,) * 6)
        keys = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
        tensors, before = {}, 3
        for key, after in zip(keys, channels, strict=True):
            spread = (2 / (9 * before)) ** 0.5
            weight = spread * torch.randn(after, before, 3, 3, generator=draw)
            tensors[f"features.{key}.weight"] = weight
            tensors[f"features.{key}.bias"] = torch.zeros(after)
            before = after
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path)
    return path


def pixels(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (output - target).abs().mean()


def pyramid(output: torch.Tensor, target: torch.Tensor, levels: int = 4):
    """Absolute error of a Laplacian pyramid: several scales, no network."""
    total = output.new_zeros(())
    difference = output - target
    for _ in range(levels - 1):
        small = F.avg_pool2d(difference, 2)
        large = F.interpolate(small, scale_factor=2, mode="bilinear")
        total = total + (difference - large).abs().mean()
        difference = small
    return total + difference.abs().mean()


def features(layer: str, network: LossNetwork | None = None) -> Loss:
    """The squared difference at one layer over the target's square."""
    network = network or vgg()

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            right = network(target, [layer])[layer]
        made = network(output, [layer])[layer]
        return (made - right).square().sum() / right.square().sum()

    return loss


def balanced(terms: dict[str, Loss], network: nn.Module) -> Loss:
    """The sum of terms, weighted so that each has a gradient of the same norm at the
    output of the network as it is now.
    """
    small, target = batch(torch.Generator().manual_seed(99), 16)
    output = network(small).detach().requires_grad_()
    weights = {
        name: 1 / float(torch.autograd.grad(term(output, target), output)[0].norm())
        for name, term in terms.items()
    }
    return lambda y, t: sum(weights[n] * term(y, t) for n, term in terms.items())


def batch(
    draw: torch.Generator, count: int = BATCH, moved: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Small pictures, and their targets, each moved by its own whole number of pixels,
    up to ``moved`` in each direction.
    """
    chosen = crops()[torch.randint(CROPS, (count,), generator=draw)]
    inside = chosen[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    places = MARGIN + torch.randint(-moved, moved + 1, (count, 2), generator=draw)
    targets = [
        one[:, row : row + SIZE, column : column + SIZE]
        for one, (row, column) in zip(chosen, places.tolist(), strict=True)
    ]
    return downscale(inside.contiguous(), FACTOR), torch.stack(targets)


def fresh(seed: int) -> SubPixelNet:
    torch.manual_seed(seed)
    return SubPixelNet(FACTOR, WIDTH, BLOCKS)


def trained(
    network: nn.Module,
    loss: Loss,
    steps: int,
    seed: int,
    *,
    moved: int = 0,
    rate: float = RATE,
    watch: Callable[[int, float], None] = lambda step, seconds: None,
) -> nn.Module:
    """Adam for some steps, its rate falling to nothing as a cosine; ``watch`` is told
    the number of steps done and the seconds of computing they took, without its own.
    """
    optimizer = torch.optim.Adam(network.parameters(), rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    draw, seconds = torch.Generator().manual_seed(1000 + seed), 0.0
    for step in range(1, steps + 1):
        begin = time.process_time()
        small, target = batch(draw, moved=moved)
        value = loss(network(small), target)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        falling.step()
        seconds += time.process_time() - begin
        watch(step, seconds)
    return network


def kept(name: str, make: Callable[[], nn.Module]) -> nn.Module:
    """The network of that name, from build/claims or made and put there."""
    path, network = BUILD / f"{name}.pt", SubPixelNet(FACTOR, WIDTH, BLOCKS)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(make().state_dict(), path)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def started(seed: int) -> nn.Module:
    """The network from which the arms of one seed go on: trained on pixels."""
    return kept(
        f"start_{seed}",
        lambda: trained(fresh(seed), pixels, BEGIN, seed, rate=2e-3),
    )


def refined(
    name: str, loss_of: Callable[[nn.Module], Loss], seed: int, moved: int = 0
) -> nn.Module:
    """The start of this seed after 200 more steps with another loss."""

    def make() -> nn.Module:
        network = started(seed).train()
        return trained(network, loss_of(network), STEPS, 10 + seed, moved=moved)

    return kept(f"{name}_moved{moved}_{seed}", make)


def enlarged(network: nn.Module, small: torch.Tensor | None = None) -> torch.Tensor:
    small = downscale(photographs(), FACTOR) if small is None else small
    with torch.no_grad():
        return network(small).clamp(0, 1)


def judged(output: torch.Tensor, target: torch.Tensor | None = None) -> dict:
    """Accuracy, two judges' distances, sharpness over the photographs', lattice."""
    target = photographs() if target is None else target
    sharp = sharpness(output) / sharpness(target)
    return {
        "psnr": round(float(psnr(output, target, border=FACTOR).mean()), 3),
        "distance": round(float(perceptual_distance(output, target).mean()), 4),
        "second": round(float(content_distance(output, target).mean()), 4),
        "sharpness": round(float(sharp.mean()), 3),
        "lattice": round(float(lattice(output).mean()), 2),
    }


def by_seed(rows: list[dict]) -> dict[str, list]:
    """A list for each number, in the order of the seeds."""
    return {name: [row[name] for row in rows] for name in rows[0]}
