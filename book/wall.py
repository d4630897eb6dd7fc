"""Make the wall pieces of the front page and of chapter 4: `python
book/wall.py [NAME ...]`.

Each begins as what `pltutorial transfer --balance layers` computes at 250, 500 and
1,000 px. A last stage of a few steps at 2,000 px looks at the painting at half that
size, so that its strokes become as fine as the painting's own. A photograph that is
small is enlarged by chapter 6's network first. On one CPU core a piece takes about a
quarter of an hour.

Writes ``wall_NAME.webp`` (960 px, what the pages show) and ``wall_NAME_large.webp``
(2,000 px, what they link) into ``book/images``.
"""

from __future__ import annotations

import stopping  # noqa: F401 - first: Ctrl-C is one sentence

# isort: split
import sys
import time
from pathlib import Path

from PIL import Image

from pltutorial import (
    LossNetwork,
    bundled,
    read_image,
    resize,
    transfer_style,
    upscale,
)
from pltutorial.images import to_picture

FOLDER = Path(__file__).parent / "images"
STAGES = (  # longer side, steps, longer side of the painting over that of the picture
    (250, 80, 1.0),
    (500, 60, 1.0),
    (1000, 25, 1.0),
    (2000, 10, 0.5),
)
LARGE, SHOWN = STAGES[-1][0], 960
PIECES = {  # content, style: weight of the style
    ("pagoda", "great_wave"): 1e-4,
    ("bridge", "starry_night"): 1e-4,
    ("mountains", "great_wave"): 2e-4,
    ("coffee", "composition_viii"): 3e-4,
    ("chelsea", "starry_night"): 1e-4,
    ("citrus", "village_street"): 1e-4,
}


def photograph(name: str):
    """(1, 3, H, W) with a longer side of 2,000 px."""
    picture = read_image(bundled(f"content/{name}"))
    if max(picture.shape[-2:]) < LARGE / 2:
        picture = upscale(picture, loss="pixel")
    return resize(picture, LARGE)


def make(content: str, style: str, weight: float, network: LossNetwork) -> None:
    """Compute one piece and store it in two sizes."""
    photo, painting = photograph(content), read_image(bundled(f"style/{style}"))
    picture, started = None, time.perf_counter()
    for size, steps, scale in STAGES:
        result = transfer_style(
            photo,
            painting,
            network=network,
            init=picture,
            sizes=size,
            steps=steps,
            style_scale=scale,
            style_weight=weight,
            balance="layers",
            progress=False,
        )
        picture = result.image
        print(f"{size} px: loss {result.totals[0]:.3g} to {min(result.totals):.3g}")
    name, made = f"wall_{content}_{style}", to_picture(picture)
    made.save(FOLDER / f"{name}_large.webp", quality=82, method=6)
    made.thumbnail((SHOWN, SHOWN), Image.Resampling.LANCZOS)
    made.save(FOLDER / f"{name}.webp", quality=84, method=6)
    print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


def main(names: list[str]) -> None:
    """Make the named pieces, all of them without a name."""
    FOLDER.mkdir(exist_ok=True)
    network = LossNetwork()
    for (content, style), weight in PIECES.items():
        if not names or f"{content}_{style}" in names:
            make(content, style, weight, network)


if __name__ == "__main__":
    main(sys.argv[1:])
