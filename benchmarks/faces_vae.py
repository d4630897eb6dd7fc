"""Three likenesses on cartoon faces: `python -m benchmarks.faces_vae [--write]`.

Variational autoencoders that go on from one and the same network, for the same number
of steps, and differ in their likeness alone: squared error, DeePSiM, VAE/GAN; three
seeds each. Measured on 600 faces that no training saw, and on 600 samples, once with
codes from the prior and once with codes from a Gaussian fitted to the codes of the
training faces: precision and recall in the pooled features of EfficientNet-Lite0 under
the same fine grain, and as they are (bare; benchmarks/grain.py says why), sharpness,
the share of attributes that would have to change to have the true shares, the distance
to the nearest training face, and what vectors of long hair and of beards do beside
random ones of the same length.

The networks are trained with their recipes first; seed 0 is the one that ships:

    pltutorial train vae --config vae_LOSS.yaml --seed N -o runs/vae_LOSS_sN
    python -m benchmarks.faces_vae [--runs runs] [--write]

What is measured of a network is kept beside it, and not measured twice. A few minutes.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path

import torch

from pltutorial.deepsim import kl_divergence
from pltutorial.device import best_device
from pltutorial.errors import InputError
from pltutorial.faces import Faces, load_faces
from pltutorial.images import write_whole
from pltutorial.metrics import psnr, sharpness
from pltutorial.networks import VAE, load_network
from pltutorial.networks.attributes import face_attributes
from pltutorial.training.cards import processor

from .judged import among, among_faces, nearest

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "notebooks" / "records" / "faces_vae.json"
LOSSES, SEEDS = ("pixel", "deepsim", "gan"), (0, 1, 2)
FAR = 1.5  # lengths of the vector that is added
DETAILS = ("hair", "skin_color", "clothes_color", "beard", "eyes", "mouth", "brows")
VECTORS = {"rear_hair": "long straight", "beard": "full beard"}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", default="runs", metavar="FOLDER")
    parser.add_argument("--write", action="store_true", help="write the record")
    given = parser.parse_args()
    trained = networks(Path(given.runs))
    card = next(iter(trained["pixel"].values())).card
    record = {
        "what": " ".join(__doc__.split("\n\n")[1].split()),
        "command": "python -m benchmarks.faces_vae --write",
        "machine": processor(best_device()),
        "seeds": list(SEEDS),
        "steps": card["steps"],
        "faces": len(faces("test").pictures),
        "real": drawn_in_numbers(faces("train").pictures[:600], 600),
        "networks": {
            loss: {
                "seconds": [one.card["seconds"] for one in seeds.values()],
                **over_seeds([kept(path, network) for path, network in seeds.items()]),
            }
            for loss, seeds in trained.items()
        },
    }
    text = json.dumps(record, indent=1) + "\n"
    print(text)
    if given.write:
        write_whole(RECORD, lambda file: file.write(text.encode()))
    return 0


@cache
def faces(split: str) -> Faces:
    return load_faces(split)


def networks(folder: Path) -> dict[str, dict[Path, VAE]]:
    """The networks of each loss, one for each seed, by their files."""
    found: dict[str, dict[Path, VAE]] = {}
    for loss in LOSSES:
        for seed in SEEDS:
            path = folder / f"vae_{loss}_s{seed}" / "network.safetensors"
            if not path.is_file():
                raise InputError(
                    f"there is no {path.parent.name} in {folder}; train it with "
                    f"`pltutorial train vae --config vae_{loss}.yaml --seed {seed} "
                    f"-o {path.parent}`"
                )
            found.setdefault(loss, {})[path] = load_network(path, "cpu").eval()
    return found


def over_seeds(rows: list[dict]) -> dict:
    """Rows of equal keys as one row of lists."""
    return {
        key: over_seeds([row[key] for row in rows])
        if isinstance(value, dict)
        else [row[key] for row in rows]
        for key, value in rows[0].items()
    }


def read(pictures: torch.Tensor) -> dict[str, torch.Tensor]:
    """By attribute the number of the value that each picture seems to have."""
    return {name: found.argmax(1) for name, found in face_attributes(pictures).items()}


def miscounted(pictures: torch.Tensor) -> float:
    """The share of attributes that would have to change to have the shares of unseen
    faces.
    """
    found, true = read(pictures), faces("test").attributes
    wrong = 0.0
    for name, values in true.items():
        count = len(faces("test").names[name])
        one = found[name].bincount(minlength=count) / len(pictures)
        other = values.bincount(minlength=count) / len(values)
        wrong += float((one - other).abs().sum()) / 2 / len(true)
    return wrong


def drawn_in_numbers(pictures: torch.Tensor, first: int = 0) -> dict[str, float]:
    """A collection against unseen faces; the nearest is looked for among the training
    faces from `first` on.
    """
    precision, recall = among_faces(pictures)
    bare = among(pictures, grain=0)
    return rounded(
        precision=precision,
        recall=recall,
        **{"bare precision": bare[0], "bare recall": bare[1]},
        sharpness=float(sharpness(pictures).mean()),
        miscounted=miscounted(pictures),
        nearest=float(nearest(pictures, first).mean()),
    )


def rounded(**numbers: float) -> dict[str, float]:
    return {name: round(value, 4) for name, value in numbers.items()}


def kept(path: Path, network: VAE) -> dict:
    """What is measured of one network, kept beside it and not measured twice."""
    file = path.with_name("measured.json")
    if not file.is_file() or file.stat().st_mtime < path.stat().st_mtime:
        text = json.dumps(measured(network))
        write_whole(file, lambda stream: stream.write(text.encode()))
    return json.loads(file.read_text(encoding="utf-8"))


@torch.no_grad()
def measured(network: VAE) -> dict:
    """What a network gives back, what it draws, and what vectors do."""
    known, unseen = faces("train"), faces("test")
    output, mean, log_variance = network(unseen.pictures)
    right = {
        name: float((values == unseen.attributes[name]).double().mean())
        for name, values in read(output).items()
    }
    place, noise = network.encode(known.pictures)
    spread = place.T.cov() + noise.exp().mean(0).diag()
    torch.manual_seed(1)
    fitted = torch.distributions.MultivariateNormal(place.mean(0), spread)
    count = len(unseen.pictures)
    sizes = torch.linalg.eigvalsh(spread)
    return {
        "given_back": rounded(
            psnr=float(psnr(output, unseen.pictures, channel="rgb").mean()),
            sharpness=float(sharpness(output).mean()),
            kept=sum(right.values()),
            **{name: right[name] for name in DETAILS},
        ),
        "codes": rounded(
            nats=float(kl_divergence(mean, log_variance).mean()),
            away=float(place.mean(0).norm()),
            least=float(sizes[0]),
            most=float(sizes[-1]),
        ),
        "prior": drawn_in_numbers(network.sample(count, seed=1)),
        "fitted": drawn_in_numbers(network.decode(fitted.sample((count,)))),
        **{
            value: moved(network, place, attribute, value)
            for attribute, value in VECTORS.items()
        },
    }


def moved(network: VAE, place: torch.Tensor, attribute: str, value: str) -> dict:
    """How many unseen faces without `attribute` have `value` after a step along the
    vector between both, along a random one as long, and without any.
    """
    known, unseen = faces("train"), faces("test")
    words = known.names[attribute]
    there, none = words.index(value), words.index("none")
    values = known.attributes[attribute]
    arrow = place[values == there].mean(0) - place[values == none].mean(0)
    torch.manual_seed(0)
    other = torch.randn_like(arrow)
    other *= arrow.norm() / other.norm()
    start = network.encode(unseen.pictures[unseen.attributes[attribute] == none])[0]
    found = {}
    for name, step in (("arrow", arrow), ("random", other), ("nothing", 0 * arrow)):
        seems = read(network.decode(start + FAR * step))[attribute]
        found[name] = float((seems == there).double().mean())
    return rounded(**found)


if __name__ == "__main__":
    raise SystemExit(main())
