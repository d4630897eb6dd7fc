"""Arms that go on from one start of their seed: misaligned targets, several layers, a
loss network that knows nothing, and pictures from other conditions.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from book.which_layer import rings
from pltutorial import load_restorer, perceptual_distance
from pltutorial.degradations import add_noise, blur_with, downscale, to_8_bits
from pltutorial.distances import content_distance, layer_distances

from .training import (
    FACTOR,
    SEEDS,
    balanced,
    by_seed,
    enlarged,
    features,
    judged,
    photographs,
    pixels,
    pyramid,
    random_weights,
    refined,
    started,
    vgg,
)

MOVES = (0, 1, 3)
LAYERS = ("relu1_2", "relu2_2", "relu3_3")
MEASURED = ("relu2_2", "relu3_3", "relu4_3")
SHIPPED = ("pixel", "feature", "adversarial")


def arm(name: str, seed: int, moved: int = 0) -> nn.Module:
    """The network of an arm and a seed."""

    def loss_of(network: nn.Module):
        if name == "pixels":
            return pixels
        if name == "pyramid":
            return pyramid
        if name == "all layers":
            return balanced({n: features(n) for n in LAYERS}, network)
        if name.startswith("random "):
            return features(name.split()[1], vgg(random_weights(seed)))
        return features(name)

    return refined(name.replace(" ", "_"), loss_of, seed, moved)


def misaligned() -> dict:
    """Targets that do not lie where they should."""
    rows = []
    for moved in MOVES:
        for name in ("pixels", "relu2_2", "relu3_3"):
            found = [judged(enlarged(arm(name, seed, moved))) for seed in SEEDS]
            rows.append({"moved": moved, "loss": name} | by_seed(found))
            print(rows[-1], flush=True)
    return {"rows": rows}


def layers() -> dict:
    """One layer, three with gradients of the same norm, scales without a network."""
    rows = []
    for name in ("pixels", "pyramid", *LAYERS, "all layers"):
        found = []
        for seed in SEEDS:
            output = enlarged(arm(name, seed))
            energy, error = rings(list(output.split(1)), list(photographs().split(1)))
            found.append(judged(output) | {"energy": energy, "error": error})
        rows.append({"loss": name} | by_seed(found))
        print(rows[-1], flush=True)
    return {"rings": [n / 16 for n in range(9)], "rows": rows}


def prior() -> dict:
    """A loss network with random weights: as a loss, and as a measure."""
    rows = [
        {"loss": "start"} | by_seed([judged(enlarged(started(seed))) for seed in SEEDS])
    ]
    names = ("pixels", "relu3_3", "random relu3_3")
    for name in names:
        found = [judged(enlarged(arm(name, seed))) for seed in SEEDS]
        rows.append({"loss": name} | by_seed(found))
        print(rows[-1], flush=True)
    return {"rows": rows, "measure": agreement()}


def harms(picture: torch.Tensor) -> list[torch.Tensor]:
    """Twelve kinds of damage in three strengths."""
    found = []
    for strength in (1, 2, 3):
        row = torch.cos(torch.pi * torch.arange(picture.shape[-1]) / 2)
        blur = torch.ones(1, 2 * strength + 1, 2 * strength + 1)
        small = F.avg_pool2d(picture, 2 * strength, ceil_mode=True)
        size = picture.shape[-2:]
        grey = picture.mean(1, keepdim=True)
        found += [
            add_noise(picture, 8 * strength, strength).clamp(0, 1),
            blur_with(picture, blur / blur.sum()),
            picture.roll((strength, strength), (2, 3)),
            picture.roll(4 * strength, 3),
            (picture + 0.03 * strength * torch.outer(row, row)).clamp(0, 1),
            picture * (1 - 0.12 * strength),
            picture ** (1 + 0.3 * strength),
            (grey + (picture - grey) * (1 - 0.3 * strength)).clamp(0, 1),
            F.interpolate(small, size=size),
            F.interpolate(small, size=size, mode="bicubic").clamp(0, 1),
            jpeg(picture, 60 - 18 * strength),
            (picture * (6 - strength)).round() / (6 - strength),
        ]
    return found


def agreement() -> dict:
    """Rank correlation with both judges, over 36 kinds of damage, by picture."""
    middle = photographs()[..., 48:144, 48:144]
    found: dict[str, dict[str, list]] = {}
    for picture in middle.split(1):
        bad = torch.cat([one.clamp(0, 1) for one in harms(picture)])
        target = picture.expand_as(bad)
        judges = {
            "distance": perceptual_distance(bad, target),
            "second": content_distance(bad, target),
        }
        ways = {"squared error": (bad - target).square().mean((1, 2, 3))}
        for n, weights in enumerate(("embedded", *map(random_weights, SEEDS))):
            values = layer_distances(bad, target, MEASURED, network=vgg(weights))
            for layer, value in values.items():
                ways[layer if n == 0 else f"random {layer} {n - 1}"] = value
        for name, value in (ways | {"second": judges["second"]}).items():
            row = found.setdefault(name, {judge: [] for judge in judges})
            for judge, other in judges.items():
                row[judge].append(round(spearman(value, other), 3))
    return found


def spearman(one: torch.Tensor, other: torch.Tensor) -> float:
    """The correlation of the ranks; no two values are equal."""
    ranks = [values.detach().argsort().argsort().numpy() for values in (one, other)]
    return float(numpy.corrcoef(*ranks)[0, 1])


def jpeg(pictures: torch.Tensor, quality: int) -> torch.Tensor:
    """Through a JPEG file of this quality."""
    found = []
    for picture in to_8_bits(pictures):
        array = (255 * picture).round().byte().permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(array).save(file, "JPEG", quality=quality)
        back = numpy.asarray(Image.open(file)).copy()
        found.append(torch.from_numpy(back).permute(2, 0, 1) / 255)
    return torch.stack(found)


CONDITIONS: dict[str, Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]] = {
    "as trained": lambda x: (downscale(x, FACTOR), x),
    "no antialiasing": lambda x: (
        F.interpolate(x, scale_factor=1 / FACTOR, mode="bicubic").clamp(0, 1),
        x,
    ),
    "Gaussian blur": lambda x: (downscale(x, FACTOR, "gaussian"), x),
    "noise of 5/255": lambda x: (
        to_8_bits(add_noise(downscale(x, FACTOR), 5, 0)),
        x,
    ),
    "JPEG, quality 50": lambda x: (jpeg(downscale(x, FACTOR), 50), x),
    "dark and flat": lambda x: (downscale(0.25 * x, FACTOR), 0.25 * x),
}


def conditions() -> dict:
    """Networks that learned one way of shrinking, on other small pictures."""
    arms = {name: [arm(name, seed) for seed in SEEDS] for name in ("pixels", "relu3_3")}
    shipped = {name: [load_restorer("upscale", name)] for name in SHIPPED}
    rows = []
    for way, condition in CONDITIONS.items():
        small, target = condition(photographs())
        for kind, networks in (("small", arms), ("shipped", shipped)):
            for name, ones in networks.items():
                found = [judged(enlarged(one, small), target) for one in ones]
                rows.append(
                    {"condition": way, "networks": kind, "loss": name} | by_seed(found)
                )
                print(rows[-1], flush=True)
    return {"rows": rows}
