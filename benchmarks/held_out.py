"""The trained networks against Gatys' optimisation on photographs they never saw:
`python -m benchmarks.held_out`.

The objective is that of training (StyleTask.terms), at 256x256 pixels, in the default
precision. The optimisation runs from white noise, the comparison of Johnson et al.
(2016), section 4.1, and from the photograph, a far stronger start. Its curves do not
depend on the networks: they are computed once for a set of weights and kept in
held_out.json, so that an interrupted run goes on. With --write the numbers go into the
cards of the networks.

    python -m benchmarks.held_out [NETWORK ...] [--photographs NAME ...]
                                  [--stop SHARE] [--write]
                                  [--folder pltutorial/assets/styles]

The networks that ship were measured on one photograph, and each curve ends once it is
below 0.95 of what the network has: `--photographs test/kodim23 --stop 0.95`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from pltutorial import bundled, optimize_image
from pltutorial.images import middle_square, write_whole
from pltutorial.networks import apply, load_network, save_network
from pltutorial.optimize import Record
from pltutorial.settings import StyleTrainingSettings
from pltutorial.tasks.style import StyleTask

RECORD = Path(__file__).with_suffix(".json")
PHOTOS = ("test/kodim23", "test/monarch", "test/sail")
SIZE, NOISE_STEPS, CONTENT_STEPS = 256, 60, 30
KEPT = (
    "content_weight",
    "style_weight",
    "style_weights",
    "normalization",
    "total_variation",
    "style_size",
    "content_layers",
    "style_layers",
)


def photograph(name: str) -> torch.Tensor:
    """A bundled picture, cut and shrunk to what the networks are judged on."""
    return middle_square(bundled(name), SIZE)


def curves(
    task: StyleTask,
    style: str,
    record: dict,
    photos: Sequence[str] = PHOTOS,
    level: float = 0,
) -> dict:
    """The totals of the optimisation by step, averaged over the
    photographs, from both starts; a curve ends once it is below the level.
    """
    how = {name: getattr(task.settings, name) for name in KEPT}
    del how["style_weights"]
    kept = record.setdefault(json.dumps(how), {}).setdefault(style, {})
    index = torch.tensor([task.names.index(style)])
    for name in photos:
        if name in kept:
            continue
        content = photograph(name)
        noise = torch.rand(content.shape, generator=torch.Generator().manual_seed(0))
        kept[name] = {
            start: descent(
                lambda y, x=content: task.terms(y, x, index), first, steps, level
            )
            for start, first, steps in (
                ("noise", noise, NOISE_STEPS),
                ("content", content, CONTENT_STEPS),
            )
        }
        text = json.dumps(record, indent=1) + "\n"
        write_whole(RECORD, lambda file, text=text: file.write(text.encode()))
        print(
            f"{style}, {name}: {kept[name]['noise'][-1]:.4g} after "
            f"{len(kept[name]['noise'])} steps from noise",
            flush=True,
        )
    return {
        start: _mean([kept[name][start] for name in photos])
        for start in ("noise", "content")
    }


class _Low(Exception):
    """The optimisation is low enough."""


def descent(objective, first: torch.Tensor, steps: int, level: float) -> list[float]:
    """The totals of the optimisation by step, to the first one below the level."""
    totals: list[float] = []

    def note(record: Record) -> None:
        totals.append(float(f"{record.total:.5g}"))
        if record.total < level:
            raise _Low

    with suppress(_Low):
        optimize_image(objective, first, steps=steps, callback=note, progress=False)
    return totals


def _mean(rows: list[list[float]]) -> list[float]:
    return [
        float(f"{sum(values) / len(values):.5g}") for values in zip(*rows, strict=True)
    ]


def judge(
    path: Path,
    record: dict,
    photos: Sequence[str] = PHOTOS,
    stop: float = 0,
) -> dict:
    """For each style of a network: its objective, and after how many steps the
    optimisation is first below it; a new curve ends at a share of that objective.
    """
    network = load_network(path, "cpu")
    known = {
        name: value for name, value in network.card["settings"].items() if name in KEPT
    }
    styles = network.style_names or (path.stem,)
    how = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in known.items()
    }
    task = StyleTask(
        StyleTrainingSettings(**{**how, "styles": styles, "device": "cpu"})
    )
    found = {}
    for index, style in enumerate(styles):
        totals = []
        for name in photos:
            content = photograph(name)
            shares = network.blend(style) if network.style_names else None
            output = apply(network, content, shares)
            with torch.no_grad():
                totals.append(
                    float(task.terms(output, content, torch.tensor([index])).total)
                )
        total = sum(totals) / len(totals)
        gatys = curves(task, style, record, photos, stop * total)
        steps = {
            start: sum(value > total for value in values)
            for start, values in gatys.items()
        }
        found[style] = {
            "objective": float(f"{total:.5g}"),
            "steps_from_noise": steps["noise"],
        }
        found[style] |= {"steps_from_content": steps["content"], "gatys": gatys}
        print(
            f"{path.stem:24s} {style:22s} {total:10.4g} as Gatys after "
            f"{steps['noise']:3d} steps from noise, {steps['content']:2d} from the "
            f"photograph; after {len(gatys['noise'])} from noise: "
            f"{gatys['noise'][-1]:.4g}",
            flush=True,
        )
    return {"photographs": list(photos), "size": SIZE, "styles": found}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--folder", default="pltutorial/assets/styles")
    parser.add_argument("--photographs", nargs="+", default=list(PHOTOS))
    parser.add_argument("--stop", type=float, default=0, metavar="SHARE")
    parser.add_argument(
        "--write", action="store_true", help="put the numbers into the cards"
    )
    given = parser.parse_args()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for path in sorted(Path(given.folder).glob("*.safetensors")):
        if given.networks and path.stem not in given.networks:
            continue
        found = judge(path, record, given.photographs, given.stop)
        if given.write:
            network = load_network(path, "cpu")
            save_network(path, network, {**network.card, "held_out": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
