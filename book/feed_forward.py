"""Make the pictures of chapter 5 that take too long for its page: `python
book/feed_forward.py [styles] [weights]`.

``styles``: a photograph that no training saw, in the eight styles of the
conditional network, the full one; seconds.
``weights``: the same photograph by networks of one style, each tuned with another style
weight; some minutes on two CPU cores. The stored picture's began from a network of this
style alone, trained with 1e-4, which shipped before; now `great_wave` names a newer
one, so that a new run has other pictures. An interrupted run goes on where it was.
Stored as JPEG so that the repository stays small.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from PIL import Image

from pltutorial import (
    StyleTask,
    StyleTrainingSettings,
    bundled,
    load_style,
    read_image,
    stylize,
    train,
)
from pltutorial.networks import apply
from pltutorial.teaching.sheets import compose

FOLDER = Path(__file__).parent / "images"
BUILD = Path(__file__).parents[1] / "build" / "feed_forward"
STYLE = "great_wave"
WEIGHTS = (1e-5, 1e-4, 1e-3)
LESSON = StyleTrainingSettings(
    styles=(STYLE,),
    size=96,
    zoom=(2.0, 3.3),
    steps=120,
    learning_rate=2e-3,
    total_variation=1e-4,
    start=STYLE,
    sample_every=0,
    checkpoint_every=20,
)


def styles() -> None:
    """One photograph in every style, in a sheet of three by three."""
    photo = read_image(bundled("test/kodim23"), 384)
    network = load_style("eight_styles_full")
    painted = {
        name: stylize(photo, name, network=network) for name in network.style_names
    }
    _store("styles", [photo, *painted.values()], ["photo", *painted], 3, 760)


def weights() -> None:
    """One network for each style weight, all from the same start
    with the same crops.
    """
    photo = read_image(bundled("test/monarch"), 256)
    outputs = []
    for weight in WEIGHTS:
        settings = {name: getattr(LESSON, name) for name in vars(LESSON)} | {
            "style_weight": weight
        }
        task = StyleTask(StyleTrainingSettings(**settings))
        folder = BUILD / f"weight_{weight:g}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        result = train(task, folder=folder)
        outputs.append(apply(result.network, photo))
        print(
            f"style weight {weight:g}: {result.history[-1].terms}, "
            f"{result.seconds:.0f} s",
            flush=True,
        )
    titles = ["photo", *(f"style weight {weight:g}" for weight in WEIGHTS)]
    _store("weights", [photo, *outputs], titles, 2, 560)


def _store(
    name: str, pictures: list[torch.Tensor], titles: list[str], columns: int, width: int
) -> None:
    panels = [picture[0].cpu().numpy() for picture in pictures]
    titles = [title.replace("_", " ") for title in titles]
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    headings = [titles[i : i + columns] for i in range(0, len(titles), columns)]
    sheet: Image.Image = compose(rows, headings, width)
    path = FOLDER / f"feed_forward_{name}.webp"
    sheet.save(path, quality=84, method=6)
    print(
        f"{path.name}: {sheet.width}x{sheet.height}, "
        f"{path.stat().st_size / 1000:.0f} kB",
        flush=True,
    )


def main(names: list[str]) -> None:
    """Make what is named, or both."""
    FOLDER.mkdir(exist_ok=True)
    for make in (styles, weights):
        if not names or make.__name__ in names:
            make()


if __name__ == "__main__":
    main(sys.argv[1:])
