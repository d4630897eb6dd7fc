"""Make the front page's strip, noise becoming a picture: `python book/strip.py`; on two
CPU cores half a minute.

The frames are the pictures of one optimisation, as `pltutorial transfer` computes it
from noise, at the steps of `strip.json` beside them. They are stored as small WebP, all
of them together under 150 KB.
"""

from __future__ import annotations

import json
from pathlib import Path

from pltutorial import TransferSettings, bundled, read_image, resize, transfer_style
from pltutorial.images import to_picture

FOLDER = Path(__file__).parent / "images" / "strip"
CONTENT, STYLE = "pagoda", "great_wave"
STEPS = (1, 5, 13, 34, 55, 89, 144, 233)
COMPUTED, STORED = 384, 320  # pixels; the page shows the frames at up to twice that
# noise costs bytes and shows no fault: 20 for the steps before
QUALITY = {144: 35, 233: 60}
SETTINGS = TransferSettings(
    steps=STEPS[-1], sizes=(COMPUTED,), init="noise", style_weight=5e-4, progress=True
)


def main() -> None:
    """Compute the run, and store the frames and what they are."""
    frames = {}

    def keep(record) -> None:
        if record.step in STEPS:
            frames[record.step] = (record.image, record.total)

    content = resize(read_image(bundled(f"content/{CONTENT}")), COMPUTED)
    transfer_style(
        content, read_image(bundled(f"style/{STYLE}")), settings=SETTINGS, callback=keep
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.webp"):
        old.unlink()
    about = {
        "content": CONTENT,
        "style": STYLE,
        "settings": {"sizes": [COMPUTED], "init": "noise"},
        "frames": [],
    }
    for step, (image, total) in frames.items():
        picture = to_picture(resize(image, STORED))
        file = FOLDER / f"{step:03d}.webp"
        picture.save(file, quality=QUALITY.get(step, 20), method=6)
        print(
            f"{file.name}: loss {total:.4g}, {file.stat().st_size:,} bytes", flush=True
        )
        about["frames"].append(
            {
                "file": file.name,
                "step": step,
                "loss": float(f"{total:.4g}"),
                "size": list(picture.size),
            }
        )
    (FOLDER / "strip.json").write_text(
        json.dumps(about, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
