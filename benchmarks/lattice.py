"""What takes the lattice away: `python -m benchmarks.lattice FOLDER [--set5 FOLDER]`.

FOLDER holds four networks, factor 4, as training leaves them, NAME/network.safetensors;
each went on from the network for accuracy for 100 s of one H200, which the four shared:

    pltutorial train upscale --config RECIPE --data PICTURES -o FOLDER/NAME ...

    NAME                       RECIPE                           ...
    features                   upscale_x4_feature_1.yaml        --grid-weight 0
    features_adversary         upscale_x4_adversarial_1.yaml    --grid-weight 0
    features_grid              upscale_x4_feature_1.yaml
    features_grid_adversary    upscale_x4_adversarial_1.yaml

They and the three that ship are judged on data/test, and on Set5 if it is given: PSNR,
perceptual distance and the second judge's distance of whole pictures, the lattice of
their middle squares of 256 pixels.
Writes notebooks/records/lattice.json, which chapter 6 reads.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.restoration import ROOT, enlargement, store
from pltutorial import bundled, bundled_names, read_image, upscale
from pltutorial.degradations import crop_to_multiple, downscale
from pltutorial.distances import content_distance
from pltutorial.errors import InputError
from pltutorial.images import middle_square
from pltutorial.metrics import lattice
from pltutorial.networks import load_network
from pltutorial.zoo import RESTORERS

RECORD = ROOT / "notebooks" / "records" / "lattice.json"
ARMS = ("features", "features_adversary", "features_grid", "features_grid_adversary")
SHIPPED = ("pixel", "feature", "adversarial")
SQUARE = 256


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the four networks")
    parser.add_argument("--set5", metavar="FOLDER", help="the five pictures as PNG")
    given = parser.parse_args()
    sets = {"test": [bundled(f"test/{name}") for name in bundled_names("test")]}
    if given.set5:
        sets["set5"] = sorted(Path(given.set5).glob("*.png"))
    paths = {name: given.folder / name / "network.safetensors" for name in ARMS}
    paths |= {n: RESTORERS / f"upscale_x4_{n}.safetensors" for n in SHIPPED}
    squares = torch.cat([middle_square(path, SQUARE) for path in sets["test"]])
    rows = []
    for name, path in paths.items():
        network = load_network(path)
        row = {"name": name, "steps": network.card["steps"]}
        made = upscale(downscale(squares, 4), network=network)
        row["lattice"] = round(float(lattice(made).mean()), 2)
        for where, files in sets.items():
            row[where] = judged(network, files)
        rows.append(row)
        print(row, flush=True)
    store(
        RECORD,
        {
            "what": "networks for super-resolution, factor 4, and their lattices",
            "command": "python -m benchmarks.lattice FOLDER"
            + " --set5 FOLDER" * bool(given.set5),
            "versions": {n: version(n) for n in ("torch", "stlpips_pytorch")},
            "photographs": round(float(lattice(squares).mean()), 2),
            "rows": rows,
        },
    )


def judged(network: torch.nn.Module, files: list) -> dict[str, float]:
    """Mean PSNR and distance over pictures."""
    found = []
    for path in files:
        target = crop_to_multiple(read_image(path), 4)
        made = upscale(downscale(target, 4), network=network)
        second = float(content_distance(made, target))
        found.append(enlargement(made, target, 4) | {"second": second})
    return {
        name: round(sum(row[name] for row in found) / len(found), digits)
        for name, digits in (("psnr", 2), ("distance", 4), ("second", 4))
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as problem:
        sys.exit(f"error: {problem}")
