"""Make the wall pieces of the front page and of chapter 4: `python
book/wall.py [NAME ...]`.

Each is what `pltutorial transfer` computes with the settings below, at 640 px in three
sizes; on two CPU cores a piece takes a few minutes. They are stored as JPEG of quality
88 so that the repository stays small.
"""

from __future__ import annotations

import stopping  # noqa: F401 - first: Ctrl-C is one sentence

# isort: split
import sys
from pathlib import Path

from PIL import Image

from pltutorial import (
    TransferSettings,
    bundled,
    read_image,
    transfer_style,
    write_image,
)

FOLDER = Path(__file__).parent / "images"
DEFAULT = TransferSettings(steps=90, sizes=(160, 320, 640), style_weight=5e-4)
PIECES = {  # content, style: changed settings
    ("pagoda", "great_wave"): {},
    ("chelsea", "starry_night"): {},
    ("bridge", "cafe_terrace"): {"style_weight": 1e-3},
    ("mountains", "inokashira_snow"): {"style_weight": 3e-3},
    ("coffee", "composition_viii"): {"style_weight": 1.5e-3},
    ("honey_bee", "poppies"): {"style_weight": 1e-3},
}


def make(content: str, style: str, changes: dict) -> Path:
    """Compute one piece and store it small."""
    result = transfer_style(
        read_image(bundled(f"content/{content}")),
        read_image(bundled(f"style/{style}")),
        settings=DEFAULT,
        **changes,
    )
    path = write_image(FOLDER / f"wall_{content}_{style}.png", result.image)
    small = path.with_suffix(".webp")
    Image.open(path).save(small, quality=84, method=6)
    path.unlink()
    print(
        f"{small.name}: loss {result.totals[0]:.3g} to {min(result.totals):.3g}, "
        f"{result.seconds:.0f} s",
        flush=True,
    )
    return small


def main(names: list[str]) -> None:
    """Make the named pieces, all of them without a name."""
    FOLDER.mkdir(exist_ok=True)
    for (content, style), changes in PIECES.items():
        if not names or f"{content}_{style}" in names:
            make(content, style, changes)


if __name__ == "__main__":
    main(sys.argv[1:])
