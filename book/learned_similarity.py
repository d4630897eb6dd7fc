"""The picture at the head of chapter 9: `python book/learned_similarity.py` writes
book/images/learned_similarity_title.webp.
"""

from __future__ import annotations

from pathlib import Path

import torch

from pltutorial import load_faces, load_vae
from pltutorial.teaching.figures import panels_of
from pltutorial.teaching.sheets import compose

TARGET = Path(__file__).resolve().parent / "images" / "learned_similarity_title.webp"
COUNT, ZOOM = 8, 4


def main() -> None:
    """Unseen faces, and what two networks give back of each."""
    faces = load_faces("test").pictures[:COUNT]
    rows = [faces]
    for loss in ("pixel", "deepsim"):
        with torch.no_grad():
            rows.append(load_vae(loss, device="cpu")(faces)[0].clamp(0, 1))
    large = [
        torch.cat(list(row), 2).repeat_interleave(ZOOM, 1).repeat_interleave(ZOOM, 2)
        for row in rows
    ]
    titles = ["drawn by hand", "given back: pixels", "given back: DeePSiM"]
    panels = [panels_of([row[None]], None) for row in large]
    sheet = compose(panels, [[title] for title in titles], 1536)
    sheet.save(TARGET, quality=84, method=6)
    print(f"{TARGET.name}: {sheet.width}x{sheet.height}")


if __name__ == "__main__":
    main()
