"""Eight paintings, and two photographs in the style of each, in one pass and with
nothing trained on a style: `python book/restyle_sheet.py`.

Writes book/images/any_style.webp. In each row: the middle of a bundled painting, and
what `restyle` makes of the middles of two photographs that no network has seen, with
its defaults.
"""

from __future__ import annotations

from pathlib import Path

import torch

from pltutorial import bundled, read_image, restyle
from pltutorial.images import bundled_names, middle_square, resize, to_picture

PLACE = Path(__file__).resolve().parent / "images" / "any_style.webp"
PHOTOS = ("test/monarch", "test/sail")
WORK, SIDE = 384, 240  # pixels: where it is computed, and how it is shown


def main() -> None:
    photos = [middle_square(bundled(name), WORK) for name in PHOTOS]
    rows = []
    for name in bundled_names("style"):
        path = bundled(f"style/{name}")
        painting = read_image(path, 512)
        panels = [middle_square(path, SIDE)]
        panels += [resize(restyle(photo, painting), SIDE) for photo in photos]
        rows.append(torch.cat([panel.cpu() for panel in panels], 3))
    half = len(rows) // 2
    sheet = torch.cat([torch.cat(rows[:half], 2), torch.cat(rows[half:], 2)], 3)
    to_picture(sheet).save(PLACE, quality=86, method=6)


if __name__ == "__main__":
    main()
