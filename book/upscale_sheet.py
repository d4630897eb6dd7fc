"""Ten middles of photographs, enlarged four times by all that ships: `python
book/upscale_sheet.py`.

Writes book/images/upscale_x4.webp without loss, every pixel doubled. In each row:
bicubic interpolation, the networks for pixels, for features and with an adversary, and
the photograph. No place was chosen: each is the middle of its picture. Two pictures
with nothing in the middle are left out.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from pltutorial import bundled, downscale, load_restorer, read_image, upscale
from pltutorial.images import to_picture

PLACE = Path(__file__).resolve().parent / "images" / "upscale_x4.webp"
NAMES = ("test/monarch", "test/sail", "test/tulips", "content/astronaut")
NAMES += ("content/bridge", "content/chelsea", "content/citrus", "content/honey_bee")
NAMES += ("content/mountains", "content/pagoda")
SIDE, ZOOM = 96, 2


def main() -> None:
    losses = ("pixel", "feature", "adversarial")
    networks = [load_restorer("upscale", loss) for loss in losses]
    rows = []
    for name in NAMES:
        photo = read_image(bundled(name))
        top, left = ((side - SIDE) // 2 for side in photo.shape[-2:])
        photo = photo[..., top : top + SIDE, left : left + SIDE]
        small = downscale(photo, 4)
        made = [F.interpolate(small, scale_factor=4, mode="bicubic").clamp(0, 1)]
        made += [upscale(small, network=network) for network in networks]
        rows.append(torch.cat([*made, photo], 3))
    half = len(rows) // 2
    sheet = torch.cat([torch.cat(rows[:half], 2), torch.cat(rows[half:], 2)], 3)
    picture = to_picture(F.interpolate(sheet, scale_factor=ZOOM))
    picture.save(PLACE, lossless=True)


if __name__ == "__main__":
    main()
