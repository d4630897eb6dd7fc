"""The picture at the head of chapter 12: `python book/claims_title.py` writes
book/images/claims_title.webp.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from pltutorial import bundled, downscale, load_restorer, perceptual_distance
from pltutorial.images import middle_square
from pltutorial.teaching.figures import panels_of
from pltutorial.teaching.sheets import compose

TARGET = Path(__file__).resolve().parent / "images" / "claims_title.webp"
SIDE, AMPLITUDE, PERIOD = 320, 0.04, 4
DETAIL = (slice(None), slice(None), slice(72, 200), slice(160, 288))


def main() -> None:
    """An enlargement, the same with dots, and the photograph, with what the judge says
    of the first two.
    """
    photograph = middle_square(bundled("test/kodim23"), SIDE)
    with torch.no_grad():
        network = load_restorer("upscale", "pixel")
        made = network(downscale(photograph, 4)).clamp(0, 1)
    wave = torch.cos(2 * torch.pi * torch.arange(SIDE) / PERIOD)
    dots = (made + AMPLITUDE * torch.outer(wave, wave)).clamp(0, 1)
    pictures = [made, dots, photograph]
    said = [float(perceptual_distance(one, photograph)) for one in pictures]
    details = [F.interpolate(one[DETAIL], scale_factor=2) for one in pictures]
    titles = [
        f"network: {said[0]:.3f}",
        f"with dots: {said[1]:.3f}",
        "photograph",
    ]
    sheet = compose([panels_of(details, None)], [titles], 780)
    sheet.save(TARGET, quality=88, method=6)
    print(f"{TARGET.name}: {sheet.width}x{sheet.height}, {titles}")


if __name__ == "__main__":
    main()
