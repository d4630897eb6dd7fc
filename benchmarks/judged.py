"""What the second judge sees of small pictures, as the records of chapters 9 to 11 have
it; `pltutorial.compare.judged_features` is for photographs of any size.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F

from pltutorial.degradations import add_noise
from pltutorial.distances import precision_recall, second_judge
from pltutorial.faces import load_faces

AT_ONCE = 50
GRAIN = 0.01  # standard deviation; 2.6 of 255, which nobody sees


def grained(pictures: torch.Tensor, seed: int, size: float = GRAIN) -> torch.Tensor:
    """Pictures with noise of this standard deviation on the scale of [0, 1]."""
    return add_noise(pictures, 255 * size, seed)


def among(
    pictures: torch.Tensor,
    split: str = "test",
    enlarged: int = 1,
    seed: int = 0,
    grain: float = GRAIN,
) -> tuple[float, float]:
    """Precision and recall of a collection among the cartoon faces of a split, both
    under the same grain: on drawings with even areas the judge hears the least
    unevenness and little else (`python -m benchmarks.grain`). A grain of 0 takes them
    as they are.
    """
    if grain:
        pictures = grained(pictures, 2 * seed, grain)
    real = _faces(split, enlarged, seed if grain else 0, grain)
    return precision_recall(pooled(pictures, enlarged), real)


def nearest(pictures: torch.Tensor, first: int = 0) -> torch.Tensor:
    """(N,): the distance to the nearest training face from ``first`` on, the root of
    the mean squared difference of pixels.
    """
    known = load_faces("train").pictures[first:].flatten(1)
    exactly = "donot_use_mm_for_euclid_dist"  # a product loses what is nearly equal
    apart = torch.cdist(pictures.flatten(1), known, compute_mode=exactly)
    return apart.min(1).values / known.shape[1] ** 0.5


def among_faces(pictures: torch.Tensor, enlarged: int = 1) -> tuple[float, float]:
    """Precision and recall among unseen faces, the mean of three grains: which one is
    drawn moves a precision of 0.3 by 0.03.
    """
    found = [among(pictures, "test", enlarged, seed) for seed in range(3)]
    precision, recall = (
        sum(values) / len(values) for values in zip(*found, strict=True)
    )
    return precision, recall


@cache
def _faces(split: str, enlarged: int, seed: int, grain: float) -> torch.Tensor:
    pictures = load_faces(split).pictures
    if grain:
        pictures = grained(pictures, 2 * seed + 1, grain)
    return pooled(pictures, enlarged)


@torch.no_grad()
def pooled(
    pictures: torch.Tensor, enlarged: int = 1, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Pooled features of EfficientNet-Lite0, (N, 1280), on the CPU, of pictures whose
    pixels are repeated `enlarged` times along both sides.
    """
    judge, found = second_judge(torch.device(device)), []
    for part in pictures.split(AT_ONCE):
        large = F.interpolate(part, scale_factor=float(enlarged))
        found.append(judge(large.to(device), ["pooled"])["pooled"].cpu())
    return torch.cat(found)
