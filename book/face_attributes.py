"""Train the network that reads the attributes of a face, half a minute on one core:
`python book/face_attributes.py` writes
pltutorial/assets/faces/face_attributes.safetensors.

It learns from the 2,400 faces of data/faces/train.zip, each mixed with up to half of
its own blur and with noise, so that pictures that a network drew are read too. Its card
has the share of the 600 test faces that it reads rightly, as they are and blurred by
the mean of 3 x 3 pixels.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from pltutorial import save_network  # noqa: E402
from pltutorial.faces import Faces, load_faces  # noqa: E402
from pltutorial.networks.attributes import FILE, AttributeNet  # noqa: E402
from pltutorial.training.cards import processor  # noqa: E402

BATCH, RATE, DECAY, NOISE = 100, 2e-3, 0.5, 0.01


def blurred(pictures: torch.Tensor) -> torch.Tensor:
    """The mean of 3 x 3 pixels."""
    return F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)


def varied(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Blurred by some share, and noisy."""
    share = torch.rand(len(pictures), 1, 1, 1, generator=generator) / 2
    pictures = pictures.lerp(blurred(pictures), share)
    noise = torch.randn(pictures.shape, generator=generator)
    return (pictures + NOISE * noise).clamp(0, 1)


def accuracy(network: AttributeNet, faces: Faces) -> dict[str, float]:
    """The share of faces read rightly, by attribute."""
    with torch.no_grad():
        found = network.eval()(faces.pictures)
    return {
        name: round(float((found[name].argmax(1) == right).double().mean()), 4)
        for name, right in faces.attributes.items()
    }


def fit(faces: Faces, epochs: int, seed: int = 0, tell: bool = True) -> AttributeNet:
    """A network trained on faces."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = AttributeNet()
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    steps = max(1, epochs * (len(faces.pictures) // BATCH))
    shape = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (1 + math.cos(math.pi * step / steps)) / 2
    )
    for epoch in range(epochs):
        network.train()
        total = 0.0
        for rows in torch.randperm(len(faces.pictures), generator=generator).split(
            BATCH
        ):
            if len(rows) < BATCH:
                continue
            found = network(varied(faces.pictures[rows], generator))
            loss = sum(
                F.cross_entropy(found[name], right[rows])
                for name, right in faces.attributes.items()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            shape.step()
            total += loss.item() * BATCH / len(faces.pictures)
        if tell:
            print(f"epoch {epoch + 1}: {total:.3f}", flush=True)
    return network.eval()


def main(arguments: list[str] | None = None) -> int:
    """Train, judge and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--to", type=Path, default=FILE)
    given = parser.parse_args(arguments)
    train, test = load_faces("train"), load_faces("test")
    start = time.monotonic()
    network = fit(train, given.epochs)
    seconds = time.monotonic() - start
    held_out = {
        "as they are": accuracy(network, test),
        "blurred by 3 x 3": accuracy(
            network, test._replace(pictures=blurred(test.pictures))
        ),
    }
    for name, found in held_out.items():
        print(name, found)
    card = {
        "task": "attributes",
        "data": f"DiceBear's toon-head, Johan Melin, CC BY 4.0; {len(train.pictures):,}"
        " faces of data/faces/train.zip",
        "steps": given.epochs * (len(train.pictures) // BATCH),
        "settings": {
            "batch_size": BATCH,
            "learning_rate": RATE,
            "schedule": "cosine",
            "weight_decay": DECAY,
            "noise": NOISE,
            "epochs": given.epochs,
            "seed": 0,
        },
        "seconds": round(seconds),
        "machine": processor(torch.device("cpu")),
        "held_out": {"faces": len(test.pictures), "share read rightly": held_out},
        "limits": "faces of this one style, 48 pixels, in their place; whatever else "
        "it is given gets an answer, too",
        "licence": "the weights: MIT",
    }
    given.to.parent.mkdir(parents=True, exist_ok=True)
    save_network(given.to, network, card)
    print(f"{given.to}: {given.to.stat().st_size / 1e6:.2f} MB, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
