"""How many L-BFGS steps from noise a print and N more steps are worth: makes the record
of `pltutorial stylize --refine N`, up to half an hour on one core:

    OMP_NUM_THREADS=1 python -m benchmarks.refine [PHOTOGRAPH+STYLE ...]

Two photographs that no training saw, four styles, 256 pixels, the objective of the
network's training (each layer over its own target), in the default precision. Three
starts: the network's print, the photograph, and white noise of three seeds as the
control. The last two run until they are below what ten steps from the print reach, and
no further than 200 and 100 steps. What is there is kept: an interrupted run goes on.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
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


def measured(network, photo: str, style: str, found: dict) -> Iterator[None]:
    """The curves of one photograph in one style, one by one, beside those that are
    there already.
    """
    content, task = photograph(photo), task_of(network, style)

    def objective(picture):
        return task.terms(picture, content, torch.tensor([0]))

    def curve(first, steps, level=0.0):
        return lowest(descent(objective, first, steps + 1, level))

    if "print" not in found:
        found["print"] = curve(apply(network, content, network.blend(style)), STEPS[-1])
        yield
    level = found["print"][ASKED]
    noise = found.setdefault("noise", {})
    for seed in map(str, SEEDS):
        if seed not in noise:
            generator = torch.Generator().manual_seed(int(seed))
            first = torch.rand(content.shape, generator=generator)
            noise[seed] = curve(first, MOST_NOISE, level)
            yield
    if "photo" not in found:
        found["photo"] = curve(content, MOST_PHOTO, level)
        yield


def worth(row: dict, steps: int) -> list[int | None]:
    """How many steps from noise reach what the print and so many steps do, by seed."""
    curves = row.get("noise", {}).values()
    return [crossed(curve, row["print"][steps]) for curve in curves]


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


def main(names: list[str]) -> None:
    network = load_style(NETWORK, "cpu")
    pairs = [f"{photo}+{style}" for photo in PHOTOS for style in STYLES]
    for key in names or pairs:
        rows = json.loads(RECORD.read_text())["rows"] if RECORD.exists() else {}
        row = rows.setdefault(key, {})
        for _ in measured(network, *key.split("+"), row):
            keep({name: rows[name] for name in pairs if name in rows})
            print(key, {steps: worth(row, steps) for steps in (0, ASKED)}, flush=True)


def keep(rows: dict) -> None:
    """Write the record, as far as it is."""
    whole = {name: row for name, row in rows.items() if "photo" in row}
    record = {
        "command": COMMAND,
        "machine": machine(torch.device("cpu")),
        "network": NETWORK,
        "size": SIZE,
        "most": {"noise": MOST_NOISE, "photo": MOST_PHOTO},
        "summary": summary(whole) if whole else {},
        "rows": rows,
    }
    text = json.dumps(record) + "\n"
    write_whole(RECORD, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main(sys.argv[1:])
