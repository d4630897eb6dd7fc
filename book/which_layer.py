"""Make the record of chapter 6: which layer a feature loss should compare, `python
book/which_layer.py --data PICTURES`.

From the shipped network for accuracy, factor 4, one short training for each loss, all
with the same crops, steps and learning rate: features at one layer alone, pixels alone
(the control), and pixels with features at relu2_2 whose weight grows. Each is judged on
data/test, and on Set5 with ``--set5 FOLDER``: PSNR, SSIM, perceptual distance; how much
of the picture's power, and of its error, lies in each ring of spatial frequency; how
large the error is on flat ground and on contours. It settles what a feature loss does
for accuracy. Interrupted, it goes on where it was.

Writes ``notebooks/records/which_layer.json`` and ``book/images/which_layer.webp``, a
strip in the order of ``panels``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F
from PIL import Image

from pltutorial import (
    InputError,
    SuperResolutionTask,
    bundled,
    bundled_names,
    read_image,
    train,
    upscale,
)
from pltutorial.datasets import Pictures
from pltutorial.degradations import crop_to_multiple, downscale, to_8_bits
from pltutorial.images import middle_square, to_picture
from pltutorial.metrics import perceptual_distance, psnr, ssim, y_channel
from pltutorial.networks import load_network
from pltutorial.settings import SuperResolutionSettings
from pltutorial.vgg import LossNetwork

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "notebooks" / "records" / "which_layer.json"
START = ROOT / "pltutorial" / "assets" / "restoration" / "upscale_x4_pixel.safetensors"
BUILD = ROOT / "build" / "which_layer"
FACTOR, RINGS, EDGES = 4, 8, 4
LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
SHARES = (0.1, 0.3, 1.0)  # feature term over pixel term, weighted, at the start
MIXES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
# test picture, top, left, side: stripes around an eye
DETAIL = ("kodim23", 112, 448, 128)
PANELS = ("bicubic", "pixel", *LAYERS, "truth")
SHORT = {
    "size": 96,
    "zoom": (1.5, 2.5),
    "batch_size": 4,
    "learning_rate": 3e-4,
    "schedule": "cosine",
    "warmup": 20,
    "ema": 0.98,
    "log_every": 50,
    "sample_every": 0,
    "checkpoint_every": 50,
    "progress": False,
}

Sets = dict[str, list[torch.Tensor]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="pictures to train on; data/train if left out")
    parser.add_argument(
        "--set5",
        metavar="FOLDER",
        help="a folder with the five pictures of Set5 as PNG",
    )
    parser.add_argument(
        "--start", type=Path, default=START, help="the network for accuracy"
    )
    parser.add_argument("--steps", type=int, default=160)
    given = parser.parse_args()
    begin = time.perf_counter()
    names = bundled_names("test")
    sets = {
        "test": [
            crop_to_multiple(read_image(bundled(f"test/{n}")), FACTOR) for n in names
        ]
    }
    if given.set5:
        files = sorted(Path(given.set5).glob("*.png"))
        if len(files) != 5:
            raise InputError(
                f"{given.set5!r} holds {len(files)} PNG files; give the "
                "folder of the five of Set5"
            )
        sets["set5"] = [crop_to_multiple(read_image(path), FACTOR) for path in files]
    runs = losses(given.start)
    outputs: dict[str, Sets] = {
        "bicubic": {k: [bicubic(t) for t in ts] for k, ts in sets.items()}
    }
    rows = [{"name": "bicubic"} | judged(outputs["bicubic"], sets)]
    trained = 0
    for name, loss in runs.items():
        network, trained = tuned(name, loss, given)
        outputs[name] = {
            k: [upscale(downscale(t, FACTOR), network=network) for t in ts]
            for k, ts in sets.items()
        }
        rows.append({"name": name} | loss | judged(outputs[name], sets))
        print(f"{name}: {rows[-1]['test']}", flush=True)
    rows.append(rows.pop(0))  # bicubic last
    store(
        {
            "what": (
                "fine-tunings of one super-resolution network (x4, for accuracy), "
                "each with another loss"
            ),
            "command": "python book/which_layer.py --data PICTURES"
            + " --set5 FOLDER" * bool(given.set5),
            "steps": given.steps,
            "trained_on": f"{trained} pictures",
            "versions": {
                name: version(name)
                for name in ("torch", "scikit-image", "stlpips_pytorch")
            },
            "seconds": round(time.perf_counter() - begin),
            "pictures": {"test": names}
            | ({"set5": len(sets["set5"])} if given.set5 else {}),
            "rings": [round(edge, 4) for edge in numpy.linspace(0, 0.5, RINGS + 1)],
            "panels": list(PANELS),
            "rows": [
                row
                for row in rows
                if row.get("share", 1) == 1 and "pixel_kind" not in row
            ],
            "squared": next(row for row in rows if "pixel_kind" in row),
            "small_weights": [
                {
                    "share": row.get("share", 0.0),
                    "feature_weight": row["feature_weight"],
                    **row["test"],
                }
                for row in rows
                if row["name"] == "pixel" or "share" in row
            ],
            "mix": mixed(outputs["pixel"], outputs["relu2_2"], sets),
        }
    )
    strip(outputs, sets)


def losses(start: Path) -> dict[str, dict]:
    """What each training minimises, by name."""
    unit = {"pixel_weight": 1.0, "feature_weight": 1.0, "feature_layers": ("relu2_2",)}
    task = SuperResolutionTask(settings(start, unit))
    photos = torch.cat(
        [middle_square(bundled(f"test/{name}"), 192) for name in bundled_names("test")]
    )
    with torch.no_grad():
        terms = task.terms(task.network(*task.degrade(photos, 0)), photos)
    equal = float(terms["pixel"] / terms["content/relu2_2"])
    runs = {"pixel": {"layers": [], "pixel_weight": 1.0, "feature_weight": 0.0}}
    # a second control: what PSNR itself measures
    runs["pixel, squared"] = runs["pixel"] | {"pixel_kind": "l2"}
    runs |= {
        layer: {"layers": [layer], "pixel_weight": 0.0, "feature_weight": 1.0}
        for layer in LAYERS
    }
    for share in SHARES:
        name = "relu2_2 + pixel" if share == 1 else f"{share:g} relu2_2 + pixel"
        weight = float(f"{share * equal:.3g}")
        runs[name] = {
            "layers": ["relu2_2"],
            "pixel_weight": 1.0,
            "feature_weight": weight,
            "share": share,
        }
    return runs


def settings(start: Path, weights: dict, steps: int = 1) -> SuperResolutionSettings:
    config = load_network(start, "cpu").config
    size = {"width": config["width"], "blocks": config["blocks"]}
    return SuperResolutionSettings(
        **SHORT, **size, **weights, factor=FACTOR, start=str(start), steps=steps
    )


def tuned(
    name: str, loss: dict, given: argparse.Namespace
) -> tuple[torch.nn.Module, int]:
    """The network after a training, which is kept under build/, and on how many
    pictures it was trained.
    """
    weights = {
        key: loss[key]
        for key in ("pixel_weight", "feature_weight", "pixel_kind")
        if key in loss
    }
    how = settings(
        given.start,
        weights | {"feature_layers": tuple(loss["layers"] or LAYERS[:1])},
        given.steps,
    )
    pictures = Pictures(given.data, how.size, seed=how.seed, zoom=how.zoom)
    tensors = b"".join(
        w.numpy().tobytes()
        for w in load_network(given.start, "cpu").state_dict().values()
    )
    # of the weights alone: a card may change
    start = hashlib.sha256(tensors).hexdigest()[:8]
    folder = BUILD / f"{start}_{given.steps}_{name.replace(' ', '')}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    task = SuperResolutionTask(how, network=loss_network() if loss["layers"] else None)
    result = train(task, pictures=pictures, folder=folder)
    return result.network, result.pictures


@cache
def loss_network() -> LossNetwork:
    return LossNetwork()


# --- judging --------------------------------------------------------------------------


def bicubic(target: torch.Tensor) -> torch.Tensor:
    small = downscale(target, FACTOR)
    return F.interpolate(
        small, scale_factor=FACTOR, mode="bicubic", align_corners=False
    ).clamp(0, 1)


def judged(outputs: Sets, sets: Sets) -> dict:
    """Means over each set, and for data/test the rings of frequency and
    the error by contour.
    """
    found = {name: numbers(outputs[name], targets) for name, targets in sets.items()}
    energy, error = rings(outputs["test"], sets["test"])
    return found | {
        "energy": energy,
        "error": error,
        "contours": by_contour(outputs["test"], sets["test"]),
    }


def numbers(
    outputs: list[torch.Tensor], targets: list[torch.Tensor]
) -> dict[str, float]:
    pairs = list(zip(outputs, targets, strict=True))
    return {
        "psnr": mean([psnr(y, t, border=FACTOR).item() for y, t in pairs], 3),
        "ssim": mean([ssim(y, t, border=FACTOR).item() for y, t in pairs], 4),
        "distance": mean([perceptual_distance(y, t).item() for y, t in pairs], 4),
    }


def rings(
    outputs: list[torch.Tensor], targets: list[torch.Tensor]
) -> tuple[list[float], list[float]]:
    """Power of the outputs and of their error over that of the truth, of Y, in rings
    from 0 to half a cycle per pixel.
    """
    sums = numpy.zeros((3, RINGS))
    for output, target in zip(outputs, targets, strict=True):
        pictures = [
            y_channel(to_8_bits(image))[0, 0].double().numpy()
            for image in (output, target)
        ]
        height, width = pictures[0].shape
        # or the borders would add a cross
        window = numpy.outer(numpy.hanning(height), numpy.hanning(width))
        one, other = ((array - array.mean()) * window for array in pictures)
        radius = numpy.hypot(
            numpy.fft.fftfreq(height)[:, None], numpy.fft.fftfreq(width)[None]
        )
        # the last holds the corners, and is left out
        ring = numpy.minimum((radius * 2 * RINGS).astype(int), RINGS)
        for row, array in enumerate((one, one - other, other)):
            power = numpy.abs(numpy.fft.fft2(array)) ** 2 / array.size
            sums[row] += numpy.bincount(ring.ravel(), power.ravel(), RINGS + 1)[:RINGS]
    energy, error = (
        [float(f"{value:.4g}") for value in sums[row] / sums[2]] for row in (0, 1)
    )
    return energy, error


def by_contour(outputs: list[torch.Tensor], targets: list[torch.Tensor]) -> list[float]:
    """PSNR of Y in the four quarters of the pixels, from the flattest ground to the
    sharpest contours of the truth.
    """
    errors, slopes = [], []
    for output, target in zip(outputs, targets, strict=True):
        one, other = (
            y_channel(to_8_bits(image))[0, 0].double().numpy()
            for image in (output, target)
        )
        inside = (slice(FACTOR, -FACTOR),) * 2
        errors.append(((one - other)[inside] ** 2).ravel())
        slopes.append(numpy.hypot(*numpy.gradient(other))[inside].ravel())
    errors, slopes = numpy.concatenate(errors), numpy.concatenate(slopes)
    order = numpy.argsort(slopes, kind="stable")
    return [
        round(-10 * float(numpy.log10(errors[part].mean())), 3)
        for part in numpy.array_split(order, EDGES)
    ]


def mixed(one: Sets, other: Sets, sets: Sets) -> list[dict]:
    """Pictures, not weights, of the network for pixels and of the one for relu2_2
    mixed: would one help the other?
    """
    found = []
    for share in MIXES:
        outputs = [
            torch.lerp(a, b, share)
            for a, b in zip(one["test"], other["test"], strict=True)
        ]
        found.append({"share": share} | numbers(outputs, sets["test"]))
    return found


def mean(values: list[float], digits: int) -> float:
    return round(sum(values) / len(values), digits)


# --- writing --------------------------------------------------------------------------


def store(record: dict) -> None:
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(
        json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(
        f"{RECORD.name}: {RECORD.stat().st_size / 1000:.0f} kB, {record['seconds']} s",
        flush=True,
    )


def strip(outputs: dict[str, Sets], sets: Sets) -> None:
    """One row of details, without titles."""
    name, top, left, side = DETAIL
    index = bundled_names("test").index(name)
    pictures = {panel: outputs[panel]["test"][index] for panel in PANELS[:-1]} | {
        "truth": sets["test"][index]
    }
    row = torch.cat(
        [
            pictures[panel][..., top : top + side, left : left + side]
            for panel in PANELS
        ],
        3,
    )
    path = ROOT / "book" / "images" / "which_layer.webp"
    sheet: Image.Image = to_picture(to_8_bits(row))
    sheet.save(path, quality=84, method=6)
    print(
        f"{path.name}: {sheet.width}x{sheet.height}, "
        f"{path.stat().st_size / 1000:.0f} kB",
        flush=True,
    )


if __name__ == "__main__":
    try:
        main()
    except InputError as problem:
        sys.exit(f"error: {problem}")
