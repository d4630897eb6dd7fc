"""The trained networks against Gatys' optimisation on photographs they never saw:
`python -m benchmarks.held_out`.

The objective is that of training (StyleTask.terms), at 256x256 pixels, in the default
precision. The optimisation runs from white noise, the comparison of Johnson et al.
(2016), section 4.1, and from the photograph, a far stronger start. Its curves do not
depend on the networks: they are computed once for a set of weights and kept in
held_out.json, so that an interrupted run goes on. With --write the numbers go into the
cards of the networks.

    python -m benchmarks.held_out [NETWORK ...] [--write]
                                  [--folder pltutorial/assets/styles]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from pltutorial import bundled, optimize_image
from pltutorial.images import middle_square, write_whole
from pltutorial.networks import apply, load_network, save_network
from pltutorial.settings import StyleTrainingSettings
from pltutorial.tasks.style import StyleTask

RECORD = Path(__file__).with_suffix(".json")
PHOTOS = ("test/kodim23", "test/monarch", "test/sail")
SIZE, NOISE_STEPS, CONTENT_STEPS = 256, 60, 30
KEPT = (
    "content_weight",
    "style_weight",
    "style_weights",
    "total_variation",
    "style_size",
    "content_layers",
    "style_layers",
)


def photograph(name: str) -> torch.Tensor:
    """A bundled picture, cut and shrunk to what the networks are judged on."""
    return middle_square(bundled(name), SIZE)


def curves(task: StyleTask, style: str, record: dict) -> dict:
    """The totals of the optimisation by step, averaged over the
    photographs, from both starts.
    """
    key = json.dumps(
        {name: getattr(task.settings, name) for name in KEPT if name != "style_weights"}
    )
    kept = record.setdefault(key, {}).setdefault(style, {})
    index = torch.tensor([task.names.index(style)])
    for name in PHOTOS:
        if name in kept:
            continue
        content = photograph(name)
        noise = torch.rand(content.shape, generator=torch.Generator().manual_seed(0))
        kept[name] = {
            start: [
                float(f"{total:.5g}")
                for total in optimize_image(
                    lambda y, x=content: task.terms(y, x, index),
                    first,
                    steps=steps,
                    progress=False,
                ).totals
            ]
            for start, first, steps in (
                ("noise", noise, NOISE_STEPS),
                ("content", content, CONTENT_STEPS),
            )
        }
        text = json.dumps(record, indent=1) + "\n"
        write_whole(RECORD, lambda file, text=text: file.write(text.encode()))
        print(
            f"{style}, {name}: {kept[name]['noise'][-1]:.4g} after "
            f"{NOISE_STEPS} steps from noise",
            flush=True,
        )
    return {
        start: _mean([kept[name][start] for name in PHOTOS])
        for start in ("noise", "content")
    }


def _mean(rows: list[list[float]]) -> list[float]:
    return [
        float(f"{sum(values) / len(values):.5g}") for values in zip(*rows, strict=True)
    ]


def judge(path: Path, record: dict) -> dict:
    """For each style of a network: its objective, and after how many steps the
    optimisation is first below it.
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
        gatys = curves(task, style, record)
        totals = []
        for name in PHOTOS:
            content = photograph(name)
            shares = network.blend(style) if network.style_names else None
            output = apply(network, content, shares)
            with torch.no_grad():
                totals.append(
                    float(task.terms(output, content, torch.tensor([index])).total)
                )
        total = sum(totals) / len(totals)
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
            f"photograph; after 50 from noise: {gatys['noise'][49]:.4g}",
            flush=True,
        )
    return {"photographs": list(PHOTOS), "size": SIZE, "styles": found}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--folder", default="pltutorial/assets/styles")
    parser.add_argument(
        "--write", action="store_true", help="put the numbers into the cards"
    )
    given = parser.parse_args()
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for path in sorted(Path(given.folder).glob("*.safetensors")):
        if given.networks and path.stem not in given.networks:
            continue
        found = judge(path, record)
        if given.write:
            network = load_network(path, "cpu")
            save_network(path, network, {**network.card, "held_out": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
