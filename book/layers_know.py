"""Make the record of chapter 2: what the layers of VGG-16 know, `python
book/layers_know.py`.

Five measurements, all in float32 on the processor: what an inversion has found after
so many steps; which layers are satisfied with a picture found from another; what a
linear readout reads from the features of held-out photographs, with shuffled targets
and grey copies as controls; what signed steps within four grey levels do to each
layer; and how rough a picture gets without total variation.

Writes ``notebooks/records/layers_know.json`` and, as the picture at the head of the
chapter, ``book/images/layers_know_title.webp``: the photograph, and what is found from
relu4_3 after 80 and after 320 steps. It takes about half an hour on one busy core;
`python book/layers_know.py readout attack` measures these two parts anew, leaving the
others.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F

from pltutorial import (
    LossNetwork,
    bundled,
    bundled_names,
    feature_loss,
    pixel_loss,
    read_image,
    reconstruct_features,
    total_variation,
)
from pltutorial.images import to_picture
from pltutorial.terms import Record

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "notebooks" / "records" / "layers_know.json"
TITLE = ROOT / "book" / "images" / "layers_know_title.webp"
LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
# layer, picture, seed, steps
INVERSIONS = (
    ("relu1_2", "chelsea", 0, 80),
    ("relu2_2", "chelsea", 0, 80),
    ("relu3_3", "chelsea", 0, 160),
    ("relu4_3", "chelsea", 0, 320),
    ("relu5_3", "chelsea", 0, 160),
)
REPEATS = (
    ("relu4_3", "chelsea", 1, 320),
    ("relu4_3", "chelsea", 2, 320),
)
PHOTOGRAPHS = ("coffee", "astronaut")  # for relu4_3 and 320 steps, seed 0
STEPS = (20, 40, 80, 160, 240, 320)
SIDE, BLOCK = 192, 8  # pixels
# Added to each variance of the standardised features: of 0.01, 0.1 and 1 the one that
# reads most.
RIDGE = 1.0
SEEDS = (0, 1, 2)
LEVELS, ATTACK = 4, 12  # grey levels of 255, signed steps of one level


def main() -> None:
    """Measure all parts, or those that are named."""
    parts = {
        "curve": inversions,
        "repeats": partial(again, REPEATS),
        **{name: partial(again, [("relu4_3", name, 0, 320)]) for name in PHOTOGRAPHS},
        "readout": readouts,
        "attack": attacks,
        "rough": roughness,
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[[], *parts], default=[])
    network = LossNetwork(precision="float32", device="cpu")
    for part in parser.parse_args().parts or parts:
        begin = time.perf_counter()
        found = parts[part](network)
        record = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}
        seconds = record.pop("seconds", {})
        record |= {
            "what": "what inversion finds and a linear readout reads, by layer",
            "command": "python book/layers_know.py",
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "versions": {"torch": version("torch")},
            "layers": list(LAYERS),
            part: found,
            "seconds": seconds | {part: round(time.perf_counter() - begin)},
        }
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"{RECORD.name}: {part}, {record['seconds'][part]} s", flush=True)


def photograph(name: str) -> torch.Tensor:
    return read_image(bundled(name), SIDE)


def relative_loss(
    network: LossNetwork, output: torch.Tensor, target: torch.Tensor
) -> list[float]:
    """The relative feature loss at the five layers; 1 is as wrong as saying nothing."""
    with torch.no_grad():
        theirs, ours = network(target, LAYERS), network(output, LAYERS)
    return [
        digits(feature_loss(ours[layer], theirs[layer]) / theirs[layer].square().mean())
        for layer in LAYERS
    ]


def digits(value: float | torch.Tensor, count: int = 4) -> float:
    """The value with so many significant digits."""
    return float(f"{float(value):.{count}g}")


# --- what inversion finds -------------------------------------------------------------


def blocks(kind: str, picture: torch.Tensor) -> torch.Tensor:
    """Brightness or colour of blocks of 8 pixels, or the strength of edges in blocks
    of 16.
    """
    grey = picture.mean(1, keepdim=True)
    if kind == "edges":
        along = grey.diff(dim=-1)[..., 1:, :].abs() + grey.diff(dim=-2)[..., 1:].abs()
        return F.avg_pool2d(along, 2 * BLOCK)
    return F.avg_pool2d(grey if kind == "brightness" else picture - grey, BLOCK)


def agreement(kind: str, output: torch.Tensor, target: torch.Tensor) -> float:
    """Correlation of these blocks; see `correlation`."""
    one, other = (blocks(kind, p)[0].flatten(1).T for p in (output, target))
    return correlation(one, other)


def correlation(output: torch.Tensor, target: torch.Tensor) -> float:
    """Of values (positions, channels), each channel less its mean in its own picture:
    1 is perfect, 0 is chance. Without that, a picture's mean colour alone, which
    most photographs share, would correlate.
    """
    one, other = ((v - v.mean(0)).flatten() for v in (output, target))
    return float(one @ other / (one.norm() * other.norm()))


def found_after(layer: str, photo: torch.Tensor, steps: int, **how) -> dict:
    """The best picture so far after each number of steps."""
    best, found = (float("inf"), photo), {}

    def look(record: Record) -> None:
        nonlocal best
        if record.total < best[0]:
            best = record.total, record.image
        if record.step - 1 in STEPS:
            found[record.step - 1] = best[1]

    result = reconstruct_features(
        photo,
        layer,
        sizes=SIDE,
        steps=steps,
        callback=look,
        progress=False,
        **how,
    )
    return found | {steps: result.image}


def inversions(network: LossNetwork) -> dict:
    """Rows of the curve, and the relative losses of the pictures after 80 steps."""
    rows, satisfied = [], {}
    for layer, name, seed, steps in INVERSIONS:
        photo = photograph(f"content/{name}")
        found = found_after(layer, photo, steps, seed=seed, network=network)
        rows += judged(network, found, photo, layer, name, seed)
        satisfied[layer] = relative_loss(network, found[80], photo)
        if layer == "relu4_3":
            title([photo, found[80], found[320]])
    return {"rows": rows, "satisfied": satisfied}


def again(cases: Iterable[tuple], network: LossNetwork) -> list[dict]:
    """Rows of the same curve, from other noise or of another photograph."""
    rows = []
    for layer, name, seed, steps in cases:
        photo = photograph(f"content/{name}")
        found = found_after(layer, photo, steps, seed=seed, network=network)
        rows += judged(network, found, photo, layer, name, seed)
    return rows


def judged(
    network: LossNetwork,
    found: dict[int, torch.Tensor],
    photo: torch.Tensor,
    layer: str,
    name: str,
    seed: int,
) -> list[dict]:
    """What is measured of the pictures after each number of steps."""
    flat, rows = photo.mean((2, 3), keepdim=True).expand_as(photo), []
    for steps, picture in found.items():
        row = {"layer": layer, "picture": name, "seed": seed, "steps": steps}
        row["pixels"] = digits(pixel_loss(picture, photo))
        row["flat"] = digits(pixel_loss(flat, photo))
        for kind in ("brightness", "colour", "edges"):
            row[kind] = digits(agreement(kind, picture, photo), 3)
        losses = relative_loss(network, picture, photo)
        row["loss"] = losses[LAYERS.index(layer)]
        rows.append(row)
    print(rows[-1], flush=True)
    return rows


def title(pictures: list[torch.Tensor]) -> None:
    """The picture at the head of the chapter: three side by side, at twice their
    size.
    """
    how = {"mode": "bicubic", "align_corners": False}
    row = [F.interpolate(one, scale_factor=2, **how) for one in pictures]
    gap = torch.ones(1, 3, row[0].shape[-2], 16)
    row = torch.cat([row[0], gap, row[1], gap, row[2]], 3).clamp(0, 1)
    to_picture(row).save(TITLE, quality=82, method=6)


# --- what a linear readout reads ------------------------------------------------------


def codes_of(network: LossNetwork, photo: torch.Tensor) -> dict[str, torch.Tensor]:
    """The features at each block of 8 pixels, (positions, channels), by layer."""
    with torch.no_grad():
        features = network(photo, LAYERS)
    size = [side // BLOCK for side in photo.shape[-2:]]
    # a deeper layer's position counts for each of its blocks
    return {
        layer: F.adaptive_avg_pool2d(feature, size)[0].flatten(1).T.double()
        for layer, feature in features.items()
    }


def fitted(
    codes: torch.Tensor, values: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Values as a linear function of codes, by ridge regression."""
    middle, spread, offset = codes.mean(0), codes.std(0) + 1e-9, values.mean(0)
    x = (codes - middle) / spread
    gram = x.T @ x / len(x) + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    slope = torch.linalg.solve(gram, x.T @ (values - offset) / len(x))
    return lambda code: (code - middle) / spread @ slope + offset


def readouts(network: LossNetwork) -> list[dict]:
    """Brightness and colour read from each layer, of pictures that were left out, nine
    at a time, in three divisions: medians of the 27 correlations.
    """
    names = [
        f"{folder}/{name}"
        for folder in ("content", "test", "train")
        for name in bundled_names(folder)
    ]
    photos = []
    for name in names:
        photo = photograph(name)
        height, width = (side // 16 * 16 for side in photo.shape[-2:])
        photos.append(photo[..., :height, :width])
    values = [F.avg_pool2d(photo, BLOCK)[0].flatten(1).T.double() for photo in photos]
    codes = [codes_of(network, photo) for photo in photos]
    pale = [
        codes_of(network, photo.mean(1, keepdim=True).expand_as(photo))
        for photo in photos
    ]
    rows = []
    for layer in LAYERS:
        row: dict = {"layer": layer}
        for control in ("none", "grey copies", "shuffled"):
            given = [
                one[layer] for one in (pale if control == "grey copies" else codes)
            ]
            row[control] = held_out(given, values, control == "shuffled")
        rows.append(row)
        print(rows[-1], flush=True)
    return rows


def held_out(
    codes: list[torch.Tensor], values: list[torch.Tensor], shuffled: bool
) -> dict[str, list[float]]:
    """Medians of the correlations of what is read with what is there, for each
    division. Red, green and blue are read; colour and brightness follow linearly.
    """
    found: dict[str, list[float]] = {"brightness": [], "colour": []}
    for seed in SEEDS:
        draw = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(codes), generator=draw).tolist()
        scores: dict[str, list[float]] = {kind: [] for kind in found}
        for part in (order[k::3] for k in range(3)):
            others = [i for i in range(len(codes)) if i not in part]
            wanted = torch.cat([values[i] for i in others])
            if shuffled:  # those of other places of other pictures
                wanted = wanted[torch.randperm(len(wanted), generator=draw)]
            readout = fitted(torch.cat([codes[i] for i in others]), wanted)
            for i in part:
                pair = [readout(codes[i]), values[i]]
                grey = [one.mean(1, keepdim=True) for one in pair]
                scores["brightness"].append(correlation(*grey))
                pair = [one - mean for one, mean in zip(pair, grey, strict=True)]
                scores["colour"].append(correlation(*pair))
        for kind, all_of_them in scores.items():
            found[kind].append(digits(statistics.median(all_of_them), 3))
    return found


# --- what signed steps do -------------------------------------------------------------


def attacked(
    network: LossNetwork, photo: torch.Tensor, layer: str, seed: int
) -> torch.Tensor:
    """A picture within four grey levels of the photograph whose features at one layer
    have moved as far as twelve signed steps bring them.
    """
    draw = torch.Generator().manual_seed(seed)
    room = LEVELS / 255
    with torch.no_grad():
        target = network(photo, [layer])[layer]
    noise = (torch.rand(photo.shape, generator=draw) - 0.5) / 255
    picture = (photo + noise).clamp(0, 1)
    for _ in range(ATTACK):
        picture.requires_grad_()
        loss = feature_loss(network(picture, [layer])[layer], target)
        (slope,) = torch.autograd.grad(loss, picture)
        with torch.no_grad():
            step = picture + slope.sign() / 255
            picture = photo + (step - photo).clamp(-room, room)
            picture = picture.clamp(0, 1)
    return picture


def attacks(network: LossNetwork) -> list[dict]:
    """Relative losses at the five layers, for eight photographs with a seed each and
    two more seeds of the cat, beside those of random signs of the same size.
    """
    rows = []
    cases = [(name, 0) for name in bundled_names("content")]
    for name, seed in [*cases, ("chelsea", 1), ("chelsea", 2)]:
        photo = photograph(f"content/{name}")
        draw = torch.Generator().manual_seed(seed)
        signs = torch.rand(photo.shape, generator=draw).sub(0.5).sign()
        noisy = (photo + LEVELS / 255 * signs).clamp(0, 1)
        found = attacked(network, photo, "relu5_3", seed)
        row = {"picture": name, "seed": seed}
        row["signed steps"] = relative_loss(network, found, photo)
        row["random signs"] = relative_loss(network, noisy, photo)
        rows.append(row)
        print(rows[-1], flush=True)
    return rows


# --- noise that features do not mind --------------------------------------------------


def roughness(network: LossNetwork) -> list[dict]:
    """relu4_3 of the cat inverted without total variation, in both poolings: how
    much neighbouring pixels differ, as a multiple of the photograph's.
    """
    photo = photograph("content/chelsea")
    usual = total_variation(photo, "absolute")
    rows = []
    for pooling in ("max", "average"):
        judge = network
        if pooling != network.pooling:
            judge = LossNetwork(pooling=pooling, precision="float32", device="cpu")
        picture = reconstruct_features(
            photo,
            "relu4_3",
            sizes=SIDE,
            steps=80,
            network=judge,
            total_variation=0,
            progress=False,
        ).image
        row = {"pooling": pooling}
        row["times"] = digits(total_variation(picture, "absolute") / usual, 3)
        row["pixels"] = digits(pixel_loss(picture, photo))
        row["loss"] = relative_loss(judge, picture, photo)
        row["moved by 2"] = relative_loss(judge, photo.roll(2, dims=3), photo)
        rows.append(row)
        print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    main()
