"""Make the record and the picture of chapter 4 on the layers of the style term: `python
book/style_layers.py [PAIR ...]`, a pair being such as `pagoda+great_wave`.

For each pair of a photograph and a painting: the share of each layer in the style term
at the photograph, and three transfers that differ in nothing but the weights of the
layers: one weight for all (the papers' sum), the same without relu4_3, and balanced, at
the same weight. Each is judged by what is left of every layer's own error, by the
content term, and by EfficientNet-Lite0, which none was made with. The first pair goes
on at twice the size.

Writes ``notebooks/records/style_layers.json`` and ``style_layers.webp`` beside it: the
photograph and the pictures of ``ARMS``, below one another; about three minutes on one
core.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path

import torch
from transfer_trials import digits, stack

from pltutorial import (
    LossNetwork,
    PerceptualLoss,
    bundled,
    feature_loss,
    optimize_image,
    read_image,
    resize,
    style_loss,
)
from pltutorial.distances import content_distance, second_judge, style_distance

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "notebooks" / "records" / "style_layers.json"
PICTURE = RECORD.with_suffix(".webp")
LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
PAIRS = (("pagoda", "great_wave"),)
# layers with a weight, how they are balanced, and the weight
ARMS = {
    "one weight": (4, None, 1e-4),
    "without relu4_3": (3, None, 1e-4),
    "balanced": (4, "layers", 1e-4),
}
SIZE, STEPS, LARGE, MORE = 192, 40, 384, 20
CALM = 1e-6  # total variation, the default


def objective(network, content, style, arm: str):
    """The loss of an arm with its targets, as a function of the picture."""
    count, balance, weight = ARMS[arm]
    loss = PerceptualLoss(
        {"relu3_3": 1.0},
        dict.fromkeys(LAYERS[:count], weight),
        total_variation=CALM,
        balance=balance,
        network=network,
    )
    targets = {
        "content": loss.content_target(content),
        "style": loss.style_target(style),
    }
    return lambda image: loss(image, **targets)


def by_layer(network, image, style, normalization="johnson") -> list[float]:
    """The style error of each layer."""
    one, other = network(image, LAYERS), network(style, LAYERS)
    how = {"normalization": normalization}
    return [float(style_loss(one[k], other[k], **how)) for k in LAYERS]


def shares(values: list[float]) -> list[float]:
    """Percent of the sum, rounded to three digits that matter."""
    return [digits(100 * value / sum(values)) for value in values]


def measured(network, image, content, style) -> dict:
    """What is left of the style error, layer by layer, and two other opinions."""
    start = by_layer(network, content, style)
    now = by_layer(network, image, style)
    one, other = (network(x, ["relu3_3"])["relu3_3"] for x in (image, content))
    lost = feature_loss(one, other, normalization="relative")
    judge = {"network": second_judge(image.device)}
    return {
        "style_left": [round(a / b, 3) for a, b in zip(now, start, strict=True)],
        "content": round(float(lost), 3),
        "judge_content": round(float(content_distance(image, content, **judge)), 3),
        "judge_style": round(float(style_distance(image, style, **judge)), 3),
    }


@torch.no_grad()
def table(network, pictures, content, style) -> dict:
    """The measures of each arm's picture."""
    return {
        arm: measured(network, image, content, style) for arm, image in pictures.items()
    }


def main(asked: list[str]) -> None:
    """Compute, judge, write; the pairs that are named, or all."""
    begin, network = time.perf_counter(), LossNetwork(precision="float32", device="cpu")
    pairs: dict = {}
    for number, names in enumerate(PAIRS):
        if asked and "+".join(names) not in asked:
            continue
        photo, painting = (
            read_image(bundled(f"{kind}/{name}"), LARGE)
            for kind, name in zip(("content", "style"), names, strict=True)
        )
        content, style = resize(photo, SIZE), resize(painting, SIZE)
        with torch.no_grad():
            found = {
                how: shares(by_layer(network, content, style, how))
                for how in ("johnson", "relative")
            }
        pictures = {
            arm: optimize_image(
                objective(network, content, style, arm),
                content,
                steps=STEPS,
                progress=False,
            ).image
            for arm in ARMS
        }
        one, other, *_ = pictures.values()
        entry = {
            "shares": found,
            "difference": {
                "without relu4_3": levels(one, other),
                "photo": levels(one, content),
            },
            "arms": table(network, pictures, content, style),
        }
        if not number:
            pictures = {
                arm: optimize_image(
                    objective(network, photo, painting, arm),
                    resize(image, tuple(photo.shape[-2:])),
                    steps=MORE,
                    progress=False,
                ).image
                for arm, image in pictures.items()
            }
            entry["large"] = table(network, pictures, photo, painting)
            stack([photo, *pictures.values()], PICTURE, quality=88)
        pairs["+".join(names)] = entry
        print(names, json.dumps(entry), flush=True)
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    record |= {
        "command": "python book/style_layers.py",
        "machine": f"{platform.machine()}, one core, torch {torch.__version__}",
        "size": SIZE,
        "steps": STEPS,
        "large": LARGE,
        "more_steps": MORE,
        "style_weights": {arm: weight for arm, (*_, weight) in ARMS.items()},
        "pairs": {**record.get("pairs", {}), **pairs},
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{RECORD.name} after {time.perf_counter() - begin:.0f} s")


def levels(one: torch.Tensor, other: torch.Tensor) -> float:
    """The mean difference of two pictures, in steps of 256."""
    return round(255 * float((one - other).abs().mean()), 1)


if __name__ == "__main__":
    main(sys.argv[1:])
