"""The game of chapter 10 in numbers: `python -m benchmarks.other_player [--write]`.

A small painter colours drawings of cartoon faces, with four losses that share
everything else: network, start, faces, steps, rates; and the adversary alone also
without its pauses, and with a painter five times as slow. Three seeds each. Measured on
faces that no training saw: the rank of the right face among all unseen ones, by the
distance to what was painted in the pooled features of EfficientNet-Lite0; how often the
classifier of faces reads the attribute that was drawn; and the squared error. Then what
the discriminator's third layer charges for five harms, beside an untrained one.

Each run is kept in --runs and not repeated, so that the whole may be made in parts:
--parts 3 makes at most three more and stops. Some ten minutes on one core.

    python -m benchmarks.other_player [--runs runs/other_player] [--parts N] [--write]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from pltutorial import LossNetwork
from pltutorial.deepsim import DeepSimLoss
from pltutorial.device import best_device
from pltutorial.faces import Faces, load_faces
from pltutorial.images import to_picture, write_whole
from pltutorial.networks import Discriminator
from pltutorial.networks.attributes import face_attributes
from pltutorial.teaching.games import (
    Painter,
    costs_of,
    drawing_of,
    harmed,
    play,
)
from pltutorial.terms import LossTerms
from pltutorial.training.cards import processor

from .judged import pooled

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "notebooks" / "records" / "other_player.json"
STRIPS = RECORD.with_suffix("")
SEEDS, STEPS, WIDTH = (0, 1, 2), 400, 16
PIXELS, FEATURES = 10.0, 5.0  # weights beside an adversarial term of weight 1
LAYERS = ("relu1_2", "relu2_2")
ARMS = (
    "pixels",
    "adversary",
    "adversary_free",
    "adversary_slow",
    "adversary_pixels",
    "adversary_features",
)
MORE = {  # what an arm has of its own beside its loss
    "adversary_free": {"pause_below": 0.0},
    "adversary_slow": {"rates": (2e-4, 1e-3)},  # Isola's rate, for the painter
}
DRAWN = ("pixels", "adversary", "adversary_slow", "adversary_pixels")
DRAWN += ("adversary_features",)  # of which pictures are kept
COUNT, SHOWN = 100, 8  # unseen faces that are painted; that are kept as pictures
COLOURS = ("hair_color", "skin_color", "clothes_color")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", default="runs/other_player", metavar="FOLDER")
    parser.add_argument("--parts", type=int, default=100, metavar="N")
    parser.add_argument("--write", action="store_true", help="write the record")
    given = parser.parse_args()
    folder = Path(given.runs)
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{arm}_{seed}" for seed in SEEDS for arm in ARMS]
    for name in [n for n in names if not (folder / f"{n}.pt").is_file()][: given.parts]:
        torch.save(run(name), folder / f"{name}.pt")
        print(f"trained {name}", flush=True)
    if not all((folder / f"{name}.pt").is_file() for name in names):
        return 0
    runs = {name: torch.load(folder / f"{name}.pt") for name in names}
    record = {
        "what": __doc__.split("\n\n")[1].replace("\n", " "),
        "command": "python -m benchmarks.other_player --write",
        "machine": processor(best_device()),
        "seeds": list(SEEDS),
        "steps": STEPS,
        "faces": len(faces("test").pictures),
        "painted": COUNT,
    } | measured(runs)
    print(json.dumps(record, indent=1))
    if given.write:
        text = json.dumps(record, indent=1) + "\n"
        write_whole(RECORD, lambda file: file.write(text.encode()))
        write_strips(runs)
    return 0


@cache
def faces(split: str) -> Faces:
    return load_faces(split)


def loss_of(arm: str) -> Callable[[torch.Tensor, torch.Tensor], LossTerms]:
    """The terms of an arm beside the adversarial one."""

    def pixels(output: torch.Tensor, target: torch.Tensor) -> LossTerms:
        return LossTerms(pixels=PIXELS * (output - target).abs().mean())

    def nothing(output: torch.Tensor, target: torch.Tensor) -> LossTerms:
        return LossTerms()

    if "pixels" in arm:
        return pixels
    if "features" not in arm:
        return nothing
    return DeepSimLoss(FEATURES, 0, 0, comparator=LossNetwork(), layers=LAYERS)


def players(arm: str, seed: int) -> tuple[Painter, Discriminator | None]:
    """Painter and discriminator, untrained; the painter is the same for every arm."""
    torch.manual_seed(seed)
    painter = Painter(1, WIDTH)
    return painter, None if arm == "pixels" else Discriminator(64, WIDTH)


def run(name: str) -> dict:
    """One training, and what it painted of the unseen faces."""
    arm, _, seed = name.rpartition("_")
    painter, discriminator = players(arm, int(seed))
    history = play(
        painter,
        discriminator,
        faces("train").pictures,
        loss_of(arm),
        steps=STEPS,
        seed=int(seed),
        **MORE.get(arm, {}),
    )
    with torch.no_grad():
        painted = painter(drawing_of(faces("test").pictures[:COUNT]))
    return {
        "painted": painted,
        "history": history,
        "discriminator": discriminator and discriminator.state_dict(),
    }


# --- measuring ------------------------------------------------------------------------


def looked_at(pictures: torch.Tensor) -> torch.Tensor:
    """What the judge sees of faces at twice their size, (N, 1280)."""
    return pooled(pictures, 2, best_device())


@cache
def targets() -> torch.Tensor:
    return looked_at(faces("test").pictures)


def ranks(painted: torch.Tensor) -> torch.Tensor:
    """The place of the right face, from 1, in the order of distances to what was
    painted.
    """
    distances = torch.cdist(looked_at(painted), targets())
    right = distances.diagonal().view(-1, 1)
    return 1 + (distances < right).sum(1)


def agreement(painted: torch.Tensor) -> dict[str, float]:
    """By attribute, how often the classifier reads what the drawing's face has."""
    known = faces("test").attributes
    return {
        name: float((read.argmax(1) == known[name][: len(painted)]).double().mean())
        for name, read in face_attributes(painted).items()
    }


def row(painted: torch.Tensor) -> dict:
    """What is measured of one run."""
    target, places = faces("test").pictures[: len(painted)], ranks(painted)
    found = agreement(painted)
    return {
        "rank": float(places.double().quantile(0.5)),
        "first": round(float((places == 1).double().mean()), 3),
        "shapes": mean([v for name, v in found.items() if name not in COLOURS]),
        "colours": mean([found[name] for name in COLOURS]),
        "error": round(float((painted - target).square().mean()), 4),
    }


def mean(values: list[float]) -> float:
    return round(statistics.fmean(values), 3)


def measured(runs: dict[str, dict]) -> dict:
    """Every table: lists have one number a seed."""
    rows = {name: row(run["painted"][:COUNT]) for name, run in runs.items()}
    arms = {
        arm: {
            key: [rows[f"{arm}_{seed}"][key] for seed in SEEDS]
            for key in rows[f"{arm}_0"]
        }
        for arm in ARMS
    }
    for arm in arms:
        histories = [runs[f"{arm}_{seed}"]["history"] for seed in SEEDS]
        if "paused" in histories[0][0]:
            for key in ("paused", "discriminator", "adversarial"):
                arms[arm][key] = [
                    mean([step[key] for step in history[-100:]])
                    for history in histories
                ]
            arms[arm]["paused"] = [
                mean([step["paused"] for step in history]) for history in histories
            ]
    truth = row(faces("test").pictures[:COUNT])
    looked = faces("test").pictures[:32]
    harms = harmed(looked)
    metric: dict[str, list] = {"trained": [], "untrained": []}
    for seed in SEEDS:
        for which in metric:
            _, discriminator = players("adversary_pixels", seed)
            if which == "trained":
                state = runs[f"adversary_pixels_{seed}"]["discriminator"]
                discriminator.load_state_dict(state)
            discriminator.eval()
            costs = costs_of(discriminator.features, "conv3", looked, harms)
            metric[which].append({name: round(v, 2) for name, v in costs.items()})
    return {"arms": arms, "truth": truth, "metric": metric}


def write_strips(runs: dict[str, dict]) -> None:
    """The first faces of the first seed."""
    for arm in DRAWN:
        write_strip(STRIPS / f"{arm}.png", runs[f"{arm}_0"]["painted"][:SHOWN])


def write_strip(path: Path, pictures: torch.Tensor) -> None:
    """Pictures (N, 3, H, W) side by side, without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = to_picture(torch.cat([*pictures], 2)[None])
    write_whole(path, lambda file: picture.save(file, format="PNG", optimize=True))


if __name__ == "__main__":
    raise SystemExit(main())
