"""How many L-BFGS steps from noise a print and N more steps are worth: makes the record
of `pltutorial stylize --refine N`, up to half an hour on one core:

    OMP_NUM_THREADS=1 python -m benchmarks.refine

Two photographs that no training saw, four styles, 256 pixels, the objective of the
network's training (each layer over its own target), in the default precision. Three
starts: the network's print, the photograph, and white noise of three seeds as the
control. The last two run until they are below what ten steps from the print reach, and
no further than 200 and 100 steps. What is there is kept: an interrupted run goes on.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import torch

from pltutorial import load_style
from pltutorial.files import write_whole
from pltutorial.networks import apply
from pltutorial.settings import StyleTrainingSettings
from pltutorial.tasks.style import StyleTask

from .held_out import KEPT, SIZE, descent, photograph
from .side import machine

RECORD = Path(__file__).parents[1] / "notebooks" / "records" / "refine.json"
COMMAND = "OMP_NUM_THREADS=1 python -m benchmarks.refine"
NETWORK = "eight_styles"
PHOTOS = ("test/monarch", "test/sail")
STYLES = ("great_wave", "starry_night", "poppies", "composition_viii")
SEEDS = (0, 1, 2)
STEPS = (0, 1, 2, 3, 5, 10, 20)
ASKED, MOST_NOISE, MOST_PHOTO = 10, 200, 100


def task_of(network, style: str) -> StyleTask:
    """The objective that a network was trained on, for one of its styles."""
    known = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in network.card["settings"].items()
        if name in KEPT
    }
    return StyleTask(StyleTrainingSettings(**{**known, "styles": (style,)}))


def lowest(totals: list[float]) -> list[float]:
    """The best objective so far, by step."""
    found: list[float] = []
    for total in totals:
        found.append(min(total, found[-1]) if found else total)
    return found


def crossed(totals: list[float], level: float) -> int | None:
    """After how many steps a curve is first as low as this; None where it never is."""
    for steps, total in enumerate(totals):
        if total <= level:
            return steps
    return None


def measured(network, photo: str, style: str, seeds, found: dict) -> dict:
    """The three curves of one photograph in one style, with what is there already."""
    content, task = photograph(photo), task_of(network, style)

    def objective(picture):
        return task.terms(picture, content, torch.tensor([0]))

    def curve(first, steps, level=0.0):
        return lowest(descent(objective, first, steps + 1, level))

    if "print" not in found:
        found["print"] = curve(apply(network, content, network.blend(style)), STEPS[-1])
    level = found["print"][ASKED]
    if "photo" not in found:
        found["photo"] = curve(content, MOST_PHOTO, level)
    for seed in seeds:
        name = str(seed)
        if name not in found.setdefault("noise", {}):
            generator = torch.Generator().manual_seed(seed)
            noise = torch.rand(content.shape, generator=generator)
            found["noise"][name] = curve(noise, MOST_NOISE, level)
    return found


def worth(row: dict, steps: int) -> list[int | None]:
    """How many steps from noise reach what the print and so many steps do, by seed."""
    return [crossed(curve, row["print"][steps]) for curve in row["noise"].values()]


def summary(rows: dict) -> dict:
    """For numbers of steps to the one asked for: the mean of the steps from noise that
    are as good, its least and its most; a curve that never came there counts as the
    most steps that it was given, and is counted.
    """
    found = {}
    for steps in STEPS[: STEPS.index(ASKED) + 1]:
        counts = [count for row in rows.values() for count in worth(row, steps)]
        known = [MOST_NOISE if count is None else count for count in counts]
        found[str(steps)] = {
            "mean": round(statistics.mean(known), 1),
            "least": min(known),
            "most": max(known),
            "never": counts.count(None),
        }
    photo = [crossed(row["photo"], row["print"][ASKED]) for row in rows.values()]
    found["from the photo"] = photo
    return found


def main() -> None:
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    network = load_style(NETWORK, "cpu")
    rows = record.get("rows", {})
    for seeds in (SEEDS[:1], SEEDS):
        for photo in PHOTOS:
            for style in STYLES:
                key = f"{photo}+{style}"
                rows[key] = measured(network, photo, style, seeds, rows.get(key, {}))
                record = {
                    "command": COMMAND,
                    "machine": machine("cpu"),
                    "network": NETWORK,
                    "size": SIZE,
                    "most": {"noise": MOST_NOISE, "photo": MOST_PHOTO},
                    "summary": summary(rows),
                    "rows": rows,
                }
                text = json.dumps(record) + "\n"
                write_whole(RECORD, lambda file, text=text: file.write(text.encode()))
                worths = {n: worth(rows[key], n) for n in (0, ASKED)}
                print(key, worths, flush=True)


if __name__ == "__main__":
    main()
