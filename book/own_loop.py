"""The picture at the head of chapter 13: `python book/own_loop.py` writes
book/images/own_loop_title.webp.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from pltutorial import LossNetwork, PerceptualLoss, bundled, read_image
from pltutorial.teaching.figures import panels_of
from pltutorial.teaching.sheets import compose

TARGET = Path(__file__).resolve().parent / "images" / "own_loop_title.webp"
SIDE, FACTOR, LAYER = 256, 4, "relu2_2"


def main() -> None:
    """A photograph, a copy at a quarter of its size enlarged again, and the map of
    the loss between them.
    """
    picture = read_image(bundled("content/chelsea"), 400)[..., :SIDE, 70 : 70 + SIDE]
    how = {"mode": "bicubic", "align_corners": False}
    small = F.interpolate(picture, scale_factor=1 / FACTOR, antialias=True, **how)
    copy = F.interpolate(small, size=picture.shape[-2:], **how).clamp(0, 1)
    network = LossNetwork(device="cpu", precision="float32")
    loss = PerceptualLoss({LAYER: 1.0}, normalization="relative", network=network)
    with torch.no_grad():
        paid = loss(copy, picture, reduction="map").total
    seen = (paid / paid.flatten().quantile(0.98)).clamp(0, 1).sqrt()
    panels = panels_of([picture, copy, seen.expand(-1, 3, -1, -1)], None)
    titles = ["photograph", "copy", f"what {LAYER} pays"]
    sheet = compose([panels], [titles], 760)
    sheet.save(TARGET, quality=84, method=6)
    print(f"{TARGET.name}: {sheet.width}x{sheet.height}")


if __name__ == "__main__":
    main()
