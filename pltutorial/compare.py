"""All measures at once: of a picture and its original, and of two collections."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from . import memory
from .calibrated import DISTS, LPIPS
from .degradations import add_noise
from .distances import (
    JUDGE_LAYERS,
    STYLE_KINDS,
    frechet_distance,
    kernel_distance,
    layer_distances,
    precision_recall,
    second_judge,
    style_distances,
    vgg_judge,
)
from .errors import InputError
from .images import middle_square
from .losses import JOHNSON_STYLE
from .metrics import check_pair, lattice, perceptual_distance, psnr, ssim
from .tensors import check_dense

_BATCH = 16  # pictures that a judge sees at a time
_BYTES = 2700  # a pixel, of the largest features at once


@dataclass(frozen=True)
class Measure:
    """What a table says of a measure: its name in the literature, what is better."""

    name: str
    better: str = "lower"


MEASURES = {
    "psnr": Measure("PSNR, RGB (dB)", "higher"),
    "psnr_y": Measure("PSNR, Y (dB)", "higher"),
    "ssim": Measure("SSIM, RGB", "higher"),
    "ssim_y": Measure("SSIM, Y", "higher"),
    "st_lpips": Measure("ST-LPIPS, AlexNet"),
    "lpips_alex": Measure("LPIPS, AlexNet"),
    "lpips_vgg": Measure("LPIPS, VGG-16"),
    "dists": Measure("DISTS"),
    "content": Measure("content, EfficientNet-Lite0"),
    **{f"vgg/{layer}": Measure(f"features, VGG-16 {layer}") for layer in JOHNSON_STYLE},
    **{
        f"lite0/{layer}": Measure(f"features, EfficientNet-Lite0 {layer}")
        for layer in JUDGE_LAYERS
    },
    "lattice": Measure("lattice of the output", "as the target's"),
    "lattice_target": Measure("lattice of the target", ""),
    **{f"style_vgg/{kind}": Measure(f"style, VGG-16, {kind}") for kind in STYLE_KINDS},
    **{
        f"style_lite0/{kind}": Measure(f"style, EfficientNet-Lite0, {kind}")
        for kind in STYLE_KINDS
    },
    "warp": Measure("frame to frame, output", "as the target's"),
    "warp_target": Measure("frame to frame, target", ""),
    "frechet": Measure("Fréchet distance, EfficientNet-Lite0"),
    "kernel": Measure("kernel distance, EfficientNet-Lite0"),
    "precision": Measure("precision, 3 neighbours", "higher"),
    "recall": Measure("recall, 3 neighbours", "higher"),
    "content_mean": Measure("content, EfficientNet-Lite0, mean"),
    "art": Measure("(1 + content) (1 + Fréchet), after ArtFID"),
}
"""What :func:`compare`, :func:`measure` and their commands report, by key."""


@functools.lru_cache(maxsize=2)
def _calibrated(device: torch.device) -> dict[str, nn.Module]:
    """Those of LPIPS and DISTS whose trunks are in the user's cache."""
    found = {}
    for key, make in (
        ("lpips_alex", functools.partial(LPIPS, "alex")),
        ("lpips_vgg", functools.partial(LPIPS, "vgg")),
        ("dists", DISTS),
    ):
        with contextlib.suppress(InputError):
            found[key] = make(device=device)
    return found


@torch.no_grad()
def compare(
    output: torch.Tensor, target: torch.Tensor, style: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Everything that is measured here of an output and the picture itself; LPIPS and
    DISTS too where torchvision's AlexNet and VGG-16 are in the cache of torch.hub.

    Args:
        output: (N, 3, H, W) in [0, 1], at least 32 pixels along each side.
        target: the picture itself, of the same shape.
        style: (1 or N, 3, H', W'); adds the distances of style to it.

    Returns:
        key of :data:`MEASURES` -> (N,), float32, on the CPU.

    Raises:
        InputError: no images, different shapes, too small, or an extra is missing.

    Example:
        >>> picture = read_image(bundled("content/pagoda"), 64)
        >>> values = compare(add_noise(picture, 25).clamp(0, 1), picture)
        >>> {"psnr", "ssim"} <= set(values), values["psnr"].shape
        (True, torch.Size([1]))
    """
    check_pair(output, target)
    height, width = output.shape[-2:]
    memory.check(
        _BYTES * len(output) * height * width,
        f"the features of {width}x{height} pixels",
        "shrink both pictures",
        output.device,
    )
    vgg, judge = vgg_judge(output.device), second_judge(output.device)
    by_stage = layer_distances(output, target, JUDGE_LAYERS, network=judge)
    values = {
        "psnr": psnr(output, target, channel="rgb"),
        "psnr_y": psnr(output, target),
        "ssim": ssim(output, target, channel="rgb"),
        "ssim_y": ssim(output, target),
        "st_lpips": perceptual_distance(output, target),
        "content": torch.stack(list(by_stage.values())).mean(0),
    }
    for key, distance in _calibrated(output.device).items():
        values[key] = distance(output, target, reduction="none")
    for layer, value in layer_distances(output, target, network=vgg).items():
        values[f"vgg/{layer}"] = value
    values |= {f"lite0/{layer}": value for layer, value in by_stage.items()}
    values |= {"lattice": lattice(output), "lattice_target": lattice(target)}
    if style is not None:
        for name, network in (("vgg", vgg), ("lite0", judge)):
            for kind, value in style_distances(output, style, network=network).items():
                values[f"style_{name}/{kind}"] = value
    return {key: value.float().cpu() for key, value in values.items()}


@torch.no_grad()
def judged_features(
    pictures: Iterable[torch.Tensor],
    size: int = 224,
    device: torch.device | None = None,
    grain: float = 0.0,
    seed: int = 0,
) -> torch.Tensor:
    """The second judge's pooled features of a collection, read one by one.

    On drawings with even areas the judge hears unevenness that nobody sees, and little
    else: real cartoon faces with noise of 0.01 are strangers to real cartoon faces. The
    same ``grain`` over both collections, with different seeds, makes it hear what is
    drawn. Photographs have a grain of their own and need none.

    Args:
        pictures: (1, 3, H, W) each, of any size; their middle squares are looked at.
        size: of the squares in pixels; shrinking takes away what is finer.
        device: where to compute; that of the pictures if left out.
        grain: standard deviation of noise that is added to the squares, on the scale
            of [0, 1]; 0.01 for drawings.
        seed: of this noise, another one for each collection.

    Returns:
        (N, 1280), on the CPU.

    Raises:
        InputError: a grain below 0, or one that is not finite.

    Example:
        >>> pictures = [torch.rand(1, 3, 64, 80), torch.rand(1, 3, 72, 64)]
        >>> features = judged_features(pictures, size=64)
        >>> features.shape
        torch.Size([2, 1280])
    """
    if not 0 <= grain < math.inf:
        raise InputError(f"grain={grain} was given; give 0, or a little, such as 0.01")
    rows, batch = [], []
    draw = torch.Generator().manual_seed(seed)

    def judge() -> None:
        images = torch.cat(batch)
        if grain:
            images = add_noise(images, 255 * grain, draw)
        features = second_judge(images.device)(images, ["pooled"])["pooled"]
        rows.append(features.cpu())
        batch.clear()

    for picture in pictures:
        batch.append(middle_square(picture, size).to(device or picture.device))
        if len(batch) == _BATCH:
            judge()
    if batch:
        judge()
    return torch.cat(rows) if rows else torch.zeros(0, 1280)


def measure(features: torch.Tensor, reference: torch.Tensor) -> dict[str, float]:
    """Everything that is measured here of two collections.

    Args:
        features: (N, D), as :func:`judged_features` gives them, at least four rows.
        reference: (M, D), of real pictures.

    Returns:
        key of :data:`MEASURES` -> value.

    Raises:
        InputError: fewer than four pictures in one of them.

    Example:
        >>> values = measure(torch.randn(20, 8), torch.randn(30, 8))
        >>> sorted(values)
        ['frechet', 'kernel', 'precision', 'recall']
    """
    for given in (features, reference):
        check_dense(given, "the collection", floating=False)
    counts = [len(x) if x.ndim else 0 for x in (features, reference)]
    if min(counts) < 4:
        raise InputError(
            f"collections of {counts[0]} and {counts[1]} pictures were given; "
            "give at least 4 of each, and some hundreds for numbers to be relied on"
        )
    precision, recall = precision_recall(features, reference)
    return {
        "frechet": float(frechet_distance(features, reference)),
        "kernel": float(kernel_distance(features, reference)),
        "precision": precision,
        "recall": recall,
    }
