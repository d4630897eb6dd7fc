"""Diffusion with feature losses in numbers: `python -m benchmarks.diffusion
[--arms FOLDER | --students | --calibrated | --earlier FILE ...]
[--samples FOLDER] [--write]`.

Every network that ships draws 600 faces from each of three seeds, in 1 to 25 steps.
They are compared with the 600 faces of data/faces/test.zip, which no network was
trained on: precision and recall with 3 neighbours in EfficientNet-Lite0's pooled
features of the pictures at 96 pixels, once with the same fine grain over both
collections and once as they are (`bare`; benchmarks/grain.py says why); attributes by
the classifier that ships with the faces (`face_attributes`); sharpness, the variance of
the Laplacian of Y; and the distance to the nearest training face, the root of the mean
squared difference of pixels in [0, 1], beside that of the test faces.

An attribute counts as sure where its largest probability is at least 0.9. A value of
an attribute counts as covered if it occurs; `combinations` counts those of hair, hair
colour and mouth, of which there are 100. `kl` is the divergence of the histogram of
each attribute from that of the training faces, in nats, a mean over the attributes.

--arms trains short runs of 150 steps, three seeds each, all from the network that
ships, `diffusion`: pixels alone, features from t = 0.4 on, features at every noise,
the self-perceptual term, and the aligned one. It takes a quarter of an hour of one
core; runs that are there already are not repeated.

--students trains those of chapter 11, which learn one step, three seeds each, with
pixels and with VGG besides. `share` is their sharpness, of that of their teacher in
25 steps; `away` is the root of the mean squared difference from the teacher's faces
of the same noise, which no student was trained on. Two minutes of one core.

--calibrated asks how sure the classifier may be. It reads nearly all attributes of real
faces rightly, and calls itself sure of fewer: its logits are divided by a temperature
for each attribute, the one of least cross-entropy (Guo et al. 2017, section 4.2). Real
faces are those of one half of the test faces with the temperatures of the other; drawn
ones have those of all.

--earlier measures the networks of shorter trainings beside it, in the most steps: those
of the recipes diffusion_1.yaml and diffusion_2.yaml, from which the one that ships goes
on, in this order.

The record notebooks/records/diffusion.json is what chapter 11 reads. With --write the
record and the cards of what ships are written.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F

from pltutorial import load_network, save_network, train, zoo
from pltutorial.faces import load_faces
from pltutorial.metrics import sharpness
from pltutorial.networks.attributes import face_attributes
from pltutorial.tasks.diffuse import DiffusionSettings, DiffusionTask, draw
from pltutorial.training.cards import processor

from .judged import among, nearest

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "notebooks" / "records" / "diffusion.json"
SEEDS, COUNT = (0, 1, 2), 600
STEPS = (1, 2, 4, 8, 25)
SURE = 0.9
COMBINED = ("hair", "hair_color", "mouth")
GUIDANCE = (1.0, 2.0, 3.0)
ARM_COUNT, ARM_STEPS = 150, (1, 4, 25)
START, SHIPPED = "as it ships", zoo.DIFFUSION / "diffusion.safetensors"
ARMS = {
    "pixels": {},
    "features, low noise": {"feature_weight": 0.3, "feature_from": 0.4},
    "features, all noise": {"feature_weight": 0.3, "feature_from": 0.0},
    "self-perceptual": {"own_weight": 0.3},
    "aligned": {"align_weight": 0.3},
}
SHORT = {
    "steps": 150,
    "batch_size": 16,
    "learning_rate": 5e-4,
    "schedule": "cosine",
    "warmup": 20,
    "ema": 0.98,
}
PUPILS = {
    "pixels": {},
    "VGG": {
        "feature_weight": 1.0,
        "feature_layers": ("relu2_2",),
        "feature_from": 0.0,
    },
}
DIGITS = {"away": 4, "sharpness": 5, "nearest": 4, "kl": 4, "seconds": 1}


@cache
def frequencies() -> dict[str, torch.Tensor]:
    """How often each value occurs among the training faces."""
    faces = load_faces("train")
    return {
        name: torch.bincount(faces.attributes[name], minlength=len(values)).double()
        / len(faces.pictures)
        for name, values in faces.names.items()
    }


def counted(images: torch.Tensor) -> dict[str, float]:
    """Attributes of pictures, against the truth."""
    found = face_attributes(images)
    sure = torch.stack([p.max(1).values >= SURE for p in found.values()])
    values = {name: p.argmax(1) for name, p in found.items()}
    covered, divergence = 0, []
    for name, truth in frequencies().items():
        counts = torch.bincount(values[name], minlength=len(truth)).double()
        covered += int((counts > 0).sum())
        share = counts / counts.sum()
        there = share > 0
        divergence.append((share[there] * (share[there] / truth[there]).log()).sum())
    combined = {
        tuple(row) for row in torch.stack([values[k] for k in COMBINED], 1).tolist()
    }
    return {
        "sure": float(sure.double().sum(0).mean()),
        "covered": covered,
        "combinations": len(combined),
        "kl": float(torch.stack(divergence).mean()),
    }


def closeness(images: torch.Tensor, seed: int) -> dict[str, float]:
    """Precision and recall among the test faces, under grain and bare."""
    found = [among(images, "test", 2, seed), among(images, "test", 2, grain=0)]
    names = ("precision", "recall", "bare precision", "bare recall")
    return dict(zip(names, sum(found, ()), strict=True))


def measured(images: torch.Tensor, seed: int = 0) -> dict[str, float]:
    """All numbers of a collection; the grain is drawn from the seed."""
    return {
        **closeness(images, seed),
        **counted(images),
        "sharpness": float(sharpness(images).double().mean()),
        "nearest": float(nearest(images).mean()),
    }


def over_seeds(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    """Mean, least and largest of each number."""
    return {
        key: [
            round(value, DIGITS.get(key, 3))
            for value in (
                sum(row[key] for row in rows) / len(rows),
                min(row[key] for row in rows),
                max(row[key] for row in rows),
            )
        ]
        for key in rows[0]
    }


def of_network(name: str, network, steps: int, kept: Path | None) -> dict:
    """A network's samples in so many steps, over the seeds; ``seconds`` are those of
    64 faces on one core.
    """
    rows = []
    for seed in SEEDS:
        file = None if kept is None else kept / f"{name}_{steps}_{seed}.pt"
        if file is not None and file.is_file():
            images, seconds = torch.load(file, weights_only=True)
            images = images.float() / 255
        else:
            begin = time.process_time()
            images = draw(network, COUNT, steps=steps, seed=seed)
            seconds = 64 * (time.process_time() - begin) / COUNT
            images = (255 * images).round() / 255
            if file is not None:
                torch.save(((255 * images).round().byte(), seconds), file)
        rows.append({**measured(images, seed), "seconds": seconds})
    return over_seeds(rows)


def held_out() -> dict:
    """What real faces get: as many training faces, from three places of the split."""
    pictures = load_faces("train").pictures
    rows = []
    for seed in SEEDS:
        some = pictures[seed * COUNT : (seed + 1) * COUNT]
        rows.append(
            {
                **measured(some, seed),
                "nearest": float(nearest(load_faces("test").pictures).mean()),
            }
        )
    return over_seeds(rows)


def guided(network) -> dict:
    """How often the condition is met, and how sharp it is, by guidance."""
    table = {}
    for guidance in GUIDANCE:
        right, rows = [], []
        for number, value in enumerate(network.classes):
            images = draw(
                network, 20, steps=10, condition=value, guidance=guidance, seed=number
            )
            found = face_attributes(images)[network.condition].argmax(1)
            right.append(float((found == number).double().mean()))
            rows.append(images)
        found = closeness(torch.cat(rows), 0)
        table[f"{guidance:g}"] = {
            "met": round(sum(right) / len(right), 3),
            "precision": round(found["precision"], 3),
            "recall": round(found["recall"], 3),
        }
    return table


def shipped(kept: Path | None) -> dict:
    table = {}
    for name in zoo.DIFFUSION_LOSSES:
        path = zoo.DIFFUSION / f"{name}.safetensors"
        if path.is_file():
            network = load_network(path, "cpu")
            table[name] = {}
            for steps in STEPS:
                table[name][str(steps)] = of_network(name, network, steps, kept)
                print(name, steps, json.dumps(table[name][str(steps)]), flush=True)
    return table


def arm(name: str, seed: int, folder: Path) -> Path:
    """A short run from the network that ships; its file."""
    start = str(SHIPPED)
    own = {"own": start} if name == "self-perceptual" else {}
    settings = DiffusionSettings(
        **SHORT,
        **ARMS[name],
        **own,
        start=start,
        seed=seed,
        progress=False,
        sample_every=0,
        checkpoint_every=0,
    )
    place = folder / f"{name.replace(', ', '_').replace(' ', '_')}_{seed}"
    file = place / "network.safetensors"
    if not file.is_file():
        place.mkdir(parents=True, exist_ok=True)
        train(DiffusionTask(settings), settings, folder=place)
    return file


def arms(folder: Path) -> dict:
    """Each arm, and first the network that all start from: recall and KL depend on how
    many faces are drawn, so it is measured with as few.
    """
    table = {}
    for name in (START, *ARMS):
        if name == START:
            files = [SHIPPED] * len(SEEDS)
        else:
            files = [arm(name, seed, folder) for seed in SEEDS]
        table[name] = {}
        for steps in ARM_STEPS:
            rows = []
            for seed, file in zip(SEEDS, files, strict=True):
                images = draw(
                    load_network(file, "cpu"), ARM_COUNT, steps=steps, seed=seed
                )
                rows.append(measured(images, seed))
            table[name][str(steps)] = over_seeds(rows)
            print(name, steps, json.dumps(table[name][str(steps)]), flush=True)
    return table


def students() -> dict:
    """The students of chapter 11, over the seeds, on noise that none was taught."""
    file = str(SHIPPED)
    teacher = load_network(file, "cpu")
    wanted = draw(teacher, 64, steps=25, seed=4)

    def compared(images: torch.Tensor) -> dict[str, float]:
        share = sharpness(images).mean() / sharpness(wanted).mean()
        away = (images - wanted).square().mean().sqrt()
        return {"share": float(share), "away": float(away)}

    table = {"teacher": over_seeds([compared(draw(teacher, 64, steps=1, seed=4))])}
    for name, terms in PUPILS.items():
        rows = []
        for seed in SEEDS:
            settings = DiffusionSettings(
                steps=80,
                pairs=320,
                teacher_steps=8,
                times=(0.0,),
                ema=0.9,
                teacher=file,
                start=file,
                schedule="cosine",
                warmup=10,
                log_every=80,
                sample_every=0,
                precision="float32",
                progress=False,
                seed=seed,
                **terms,
            )
            student = train(DiffusionTask(settings)).network
            rows.append(compared(draw(student, 64, steps=1, seed=4)))
        table[name] = over_seeds(rows)
        print(name, json.dumps(table[name]), flush=True)
    return table


def earlier(files: list[Path]) -> list[dict]:
    """Each network's rows in the most steps and in one, and how long it was trained
    in all.
    """
    table, steps = [], 0
    for file in files:
        network = load_network(file, "cpu")
        steps += network.card["steps"]
        row, one = (
            of_network("earlier", network, count, None) for count in (STEPS[-1], 1)
        )
        table.append({"steps": steps, "row": row, "one": one})
    return table


TEMPERATURES = [math.exp(step / 20) for step in range(-60, 21)]


def fitted(logits: torch.Tensor, truth: torch.Tensor) -> float:
    """The temperature with which logits (N, values) say of the truth (N,) the most."""
    return min(
        TEMPERATURES, key=lambda heat: float(F.cross_entropy(logits / heat, truth))
    )


def calibrated() -> dict:
    """How many attributes the classifier is sure of, and how many of these are right,
    before and after its confidence is brought to how often it is right.
    """
    faces = load_faces("test")
    found = {name: p.log() for name, p in face_attributes(faces.pictures).items()}
    first = torch.arange(len(faces.pictures)) % 2 == 0
    rows = {"before": [], "after": []}
    heats = {}
    for name, logits in found.items():
        truth = faces.attributes[name]
        heats[name] = fitted(logits, truth)
        scaled = torch.empty_like(logits)
        for half in (first, ~first):
            scaled[half] = logits[half] / fitted(logits[~half], truth[~half])
        for key, values in (("before", logits), ("after", scaled)):
            sure, value = values.softmax(1).max(1)
            sure = sure >= SURE
            rows[key].append(torch.stack([sure, sure & (value == truth)]).double())
    table = {}
    for key, parts in rows.items():
        sure, right = torch.stack(parts, 1).mean(2).sum(1).tolist()
        table[key] = {"sure": round(sure, 3), "right of sure": round(right / sure, 4)}
    right = [found[k].argmax(1) == faces.attributes[k] for k in found]
    table["read rightly"] = round(float(torch.stack(right).double().mean()), 4)
    network, drawn = load_network(SHIPPED, "cpu"), []
    for seed in SEEDS:
        images = draw(network, COUNT, steps=STEPS[-1], seed=seed)
        read = face_attributes((255 * images).round() / 255)
        drawn.append(
            {
                name: float(
                    ((p.log() / heats[name]).softmax(1).max(1).values >= SURE)
                    .double()
                    .mean()
                )
                for name, p in read.items()
            }
        )
    table["drawn"] = over_seeds([{"sure": sum(row.values()), **row} for row in drawn])
    return table


def write_cards(record: dict) -> None:
    """The held-out numbers into the cards of what ships."""
    for name, rows in record["networks"].items():
        path = zoo.DIFFUSION / f"{name}.safetensors"
        network = load_network(path, "cpu")
        steps = list(rows)[-1]
        kept = (
            "precision",
            "recall",
            "bare precision",
            "sure",
            "covered",
            "kl",
            "sharpness",
        )
        numbers = {key: rows[steps][key][0] for key in kept if key in rows[steps]}
        held = {"600 faces of data/faces/test.zip": {f"{steps} steps": numbers}}
        save_network(path, network, network.card | {"held_out": held})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", type=Path)
    parser.add_argument("--students", action="store_true")
    parser.add_argument("--calibrated", action="store_true")
    parser.add_argument("--earlier", type=Path, nargs="+")
    parser.add_argument("--samples", type=Path, help="keep the faces in this folder")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    if given.arms is not None:
        found["arms"] = arms(given.arms)
    elif given.students:
        found["students"] = students()
    elif given.calibrated:
        found["calibrated"] = calibrated()
    elif given.earlier is not None:
        found["earlier"] = earlier(given.earlier)
    else:
        found["real"] = held_out()
        found["networks"] = shipped(given.samples)
        network = load_network(SHIPPED, "cpu")
        found["guidance"] = guided(network)
    # read last: another part may have been written meanwhile
    record = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    record |= found
    if "networks" in found:  # whose seconds are among its numbers
        record["machine"] = processor(torch.device("cpu"))
    record["seeds"], record["count"] = len(SEEDS), COUNT
    print(json.dumps(record, indent=1))
    if given.write:
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if "networks" in found:
            write_cards(record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
