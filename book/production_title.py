"""The picture at the head of chapter 14: `python book/production_title.py` writes
book/images/production_title.webp.
"""

from __future__ import annotations

from pathlib import Path

import torch

from pltutorial import bundled, load_style, read_image
from pltutorial.apply import in_tiles
from pltutorial.teaching.figures import panels_of
from pltutorial.teaching.sheets import compose

TARGET = Path(__file__).resolve().parent / "images" / "production_title.webp"
SIDE, TILE, MARGIN, STYLE = 384, 96, 32, "cafe_terrace"


def main() -> None:
    """A stylised photograph, whole and in tiles that have their own statistics."""
    photograph = read_image(bundled("test/kodim23"), SIDE)
    network = load_style("eight_styles")
    shares = network.blend({STYLE: 1.0})
    with torch.inference_mode():
        whole = network(photograph, shares)
        tiles = in_tiles(
            lambda part: network(part, shares), (photograph,), reach=MARGIN, tile=TILE
        )
    sheet = compose(
        [panels_of([whole, tiles], None)], [["whole", "in tiles by themselves"]], 780
    )
    sheet.save(TARGET, quality=84, method=6)
    print(f"{TARGET.name}: {sheet.width}x{sheet.height}")


if __name__ == "__main__":
    main()
