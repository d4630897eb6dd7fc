"""What a content loss costs with each backbone, side by side in one run: makes the
table of the page on backbones, two minutes on one core.

    pip install --no-deps timm==1.0.31
    OMP_NUM_THREADS=1 python -m benchmarks.backbones

A picture of 256 pixels, forward and backward, the target's features known; weights are
random where none ship, which changes no time. Time is the processor's, and the
backbones take turns, so that what else the machine does matters little; ratios are
medians over the turns.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from pltutorial import Encoder, LossNetwork, feature_loss
from pltutorial.files import write_whole

from .side import machine

ROOT = Path(__file__).resolve().parent.parent
RECORD, PAGE = Path(__file__).with_suffix(".json"), ROOT / "book" / "backbones.md"
COMMAND = "OMP_NUM_THREADS=1 python -m benchmarks.backbones"
SIDE, TURNS = 256, 7
MARKS = "% the table begins; benchmarks/backbones.py writes it", "% the table ends"


def vgg() -> LossNetwork:
    return LossNetwork(precision="float32", device="cpu")


def torchvision(name: str) -> Callable[[], Encoder]:
    def made() -> Encoder:
        from torchvision.models import get_model

        return Encoder(get_model(name))

    return made


def timm(name: str, **options) -> Callable[[], Encoder]:
    def made() -> Encoder:
        from timm import create_model

        return Encoder(create_model(name, pretrained=False, **options))

    return made


TEXTURE = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
DYNAMIC = {"dynamic_img_size": True}
# name, how it is made, layers, what it is good for
ROWS: tuple[tuple[str, Callable[[], nn.Module], tuple[str, ...], str], ...] = (
    (
        "VGG-16",
        vgg,
        ("relu3_3",),
        "content and texture; the papers' network, and it ships",
    ),
    ("VGG-16", vgg, TEXTURE, "style, by Johnson's four layers"),
    (
        "AlexNet, torchvision",
        torchvision("alexnet"),
        ("features.11",),
        "measuring: the trunk of LPIPS; its first stride of 4 leaves fine texture out",
    ),
    (
        "ResNet-50, torchvision",
        torchvision("resnet50"),
        ("layer2",),
        "content; for style its Gram matrices do badly (Wang et al. 2021)",
    ),
    (
        "ConvNeXt-T, timm or torchvision",
        timm("convnext_tiny"),
        ("stages.1",),
        "content; it sees patches of 4 pixels, so leave fine detail to a pixel term",
    ),
    (
        "DINOv2 ViT-S/14, timm",
        timm("vit_small_patch14_dinov2", **DYNAMIC),
        ("blocks.5",),
        "parts and where they are (Amir et al. 2021), less than how they look",
    ),
    (
        "DINOv2 ViT-S/14, timm",
        timm("vit_small_patch14_dinov2", **DYNAMIC),
        ("blocks.11",),
        "what is seen; structure for Splice (Tumanyan et al. 2022)",
    ),
    (
        "DINOv3 ViT-S/16, timm",
        timm("vit_small_patch16_dinov3"),
        ("blocks.11",),
        "as DINOv2; its weights have a licence of their own",
    ),
    (
        "CLIP ViT-B/32, timm or open_clip",
        timm("vit_base_patch32_clip_224"),
        ("blocks.11",),
        "what words would say; pictures are made 224x224",
    ),
)


class Kept:
    """Bytes that a forward pass keeps for the backward pass, each memory once."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}

    def keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        self.sizes[storage.data_ptr()] = storage.nbytes()
        return tensor


def measure(turns: int = TURNS, side: int = SIDE) -> list[dict]:
    """Milliseconds of each row, its ratio to the first, and megabytes kept."""
    torch.manual_seed(0)
    output, target = torch.rand(2, 1, 3, side, side)
    output.requires_grad_()
    steps, rows = [], []
    for name, make, layers, good_for in ROWS:
        network = make()
        with torch.no_grad():
            wanted = network(target, layers)

        def step(network=network, layers=layers, wanted=wanted) -> torch.Tensor:
            found = network(output, layers)
            return sum(feature_loss(found[name], wanted[name]) for name in layers)

        held = getattr(network, "module", network)
        weights = {
            tensor.untyped_storage().data_ptr()
            for tensor in (*held.parameters(), *held.buffers())
        }
        kept = Kept()
        with saved_tensors_hooks(kept.keep, lambda tensor: tensor):
            step().backward()
        sizes = [size for place, size in kept.sizes.items() if place not in weights]
        steps.append(step)
        rows.append(
            {
                "backbone": name,
                "layers": list(layers),
                "good for": good_for,
                "megabytes": round(sum(sizes) / 1e6),
                "seconds": [],
            }
        )
    for _ in range(turns):
        for row, step in zip(rows, steps, strict=True):
            start = time.process_time()
            step().backward()
            row["seconds"].append(round(time.process_time() - start, 4))
    for row in rows:
        pairs = zip(row["seconds"], rows[0]["seconds"], strict=True)
        row["ratio"] = round(statistics.median(a / b for a, b in pairs), 2)
        row["milliseconds"] = round(1000 * min(row["seconds"]))
    return rows


def table(rows: list[dict]) -> str:
    """The rows as the page has them."""
    lines = [
        "| backbone | layers | ms | to VGG-16 | MB | good for |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        layers = ", ".join(f"`{layer}`" for layer in row["layers"])
        lines.append(
            f"| {row['backbone']} | {layers} | {row['milliseconds']} | "
            f"{row['ratio']:.2f} | {row['megabytes']} | {row['good for']} |"
        )
    return "\n".join(lines)


def filled(page: str, record: dict) -> str:
    """The page with the table and the machine of a record between its marks."""
    before, rest = page.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    text = f"Measured by `{record['command']}` on {record['machine']}."
    return (
        f"{before}{MARKS[0]}\n\n{table(record['rows'])}\n\n{text}\n\n{MARKS[1]}{after}"
    )


def main() -> None:
    record = {
        "command": COMMAND,
        "machine": machine(torch.device("cpu")),
        "rows": measure(),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    write_whole(RECORD, lambda file: file.write(text.encode()))
    page = filled(PAGE.read_text(encoding="utf-8"), record)
    write_whole(PAGE, lambda file: file.write(page.encode()))


if __name__ == "__main__":
    main()
