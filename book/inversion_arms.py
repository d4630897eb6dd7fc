"""Make a record of chapter 8: the lesson's training with other terms, over three seeds,
`python book/inversion_arms.py`.

As in the chapter: 200 steps with squared error of pixels for codes of relu3_3, then 60
steps more from there, with pixels, with features alone, with features and pixels, and
with all three terms. A seed decides the start's weights, the crops and the
discriminator. Some minutes on one core; interrupted, it goes on with the seed where it
was. Writes ``notebooks/records/inversion_arms.json``; numbers are means over the
photographs of data/test.
"""

from __future__ import annotations

import json
import platform
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from pltutorial import (
    InversionSettings,
    InversionTask,
    LossNetwork,
    Pictures,
    bundled,
    bundled_names,
    feature_distance,
    invert,
    perceptual_distance,
    psnr,
    save_network,
    sharpness,
    train,
)
from pltutorial.images import middle_square
from pltutorial.metrics import lattice

RECORD = Path(__file__).parents[1] / "notebooks" / "records" / "inversion_arms.json"
SEEDS, SIDE = (0, 1, 2), 192
LESSON = InversionSettings(
    layer="relu3_3",
    width=16,
    blocks=1,
    size=64,
    batch_size=8,
    steps=200,
    learning_rate=2e-3,
    schedule="cosine",
    warmup=10,
    ema=0.97,
    log_every=10,
    sample_every=0,
)
MORE = {"steps": 60, "learning_rate": 1e-3}  # after the 200
ARMS = {
    "pixels": {"image_weight": 5.0},
    "features": {"feature_weight": 1.0, "image_weight": 0.0},
    "features, pixels": {"feature_weight": 1.0, "image_weight": 5.0},
    "all three": {
        "feature_weight": 1.0,
        "image_weight": 5.0,
        "adversarial_weight": 0.1,
    },
}


def networks(seed: int, vgg: LossNetwork) -> dict[str, torch.nn.Module]:
    """The start and the four networks trained on from it."""
    photos = Pictures(size=64, zoom=(1.5, 4.0), seed=seed)
    lesson = replace(LESSON, seed=seed)
    first = train(InversionTask(lesson, network=vgg), pictures=photos, progress=False)
    made = {"200 steps": first.network}
    with tempfile.TemporaryDirectory() as folder:
        start = str(save_network(Path(folder) / "first.safetensors", first.network))
        for name, weights in ARMS.items():
            more = replace(lesson, **MORE, warmup=0, start=start, **weights)
            task = InversionTask(more, network=vgg)
            made[name] = train(task, pictures=photos, progress=False).network
    return made


def measured(drawn: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    """Means over the photographs; sharpness is over the photographs' own, the lattice
    of period 4 or 2 is about 1 for photographs.
    """
    values = {
        "psnr": psnr(drawn, target, channel="rgb"),
        "distance": perceptual_distance(drawn, target),
        "feature_distance": feature_distance(drawn, target),
        "sharpness": sharpness(drawn) / sharpness(target).mean(),
        "lattice": lattice(drawn),
    }
    return {name: round(float(value.mean()), 4) for name, value in values.items()}


def main() -> None:
    """Train the seeds that the record lacks, and write it after each."""
    names = bundled_names("test")
    target = torch.cat([middle_square(bundled(f"test/{name}"), SIDE) for name in names])
    vgg = LossNetwork()
    record = {
        "what": "chapter 8's lesson with other terms, codes of relu3_3, on data/test",
        "command": "python book/inversion_arms.py",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {"torch": str(torch.__version__).split("+")[0]},
        "rows": [],
    }
    if RECORD.exists():
        record = json.loads(RECORD.read_text(encoding="utf-8"))
    done = {row["seed"] for row in record["rows"]}
    for seed in SEEDS:
        if seed in done:
            continue
        for arm, network in networks(seed, vgg).items():
            drawn = invert(target, network, encoder=vgg)
            row = {"seed": seed, "arm": arm, **measured(drawn, target)}
            record["rows"].append(row)
            print(row, flush=True)
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
