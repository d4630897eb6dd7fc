"""The picture at the head of chapter 1: `python book/pixel_title.py` writes
book/images/pixel_title.webp.
"""

from __future__ import annotations

from pathlib import Path

import torch

from pltutorial import bundled, read_image
from pltutorial.images import to_picture

TARGET = Path(__file__).resolve().parent / "images" / "pixel_title.webp"
SIDE, REACH, TOP, LEFT, GAP = 400, 6, 10, 40, 16


def main() -> None:
    """One of 169 photographs, each moved by up to six pixels, and their mean."""
    pagoda = read_image(bundled("content/pagoda"))
    offsets = range(-REACH, REACH + 1)
    answers = torch.cat(
        [
            pagoda[..., TOP + y : TOP + y + SIDE, LEFT + x : LEFT + x + SIDE]
            for y in offsets
            for x in offsets
        ]
    )
    one = answers[len(answers) // 2 :][:1]
    gap = torch.ones(1, 3, SIDE, GAP)
    sheet = to_picture(torch.cat([one, gap, answers.mean(0, keepdim=True)], 3))
    sheet.save(TARGET, quality=84, method=6)
    print(f"{TARGET.name}: {sheet.width}x{sheet.height}, {len(answers)} answers")


if __name__ == "__main__":
    main()
