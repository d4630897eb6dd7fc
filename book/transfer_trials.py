"""Make the record and the pictures of chapter 4 on what its transfers depend on:
`python book/transfer_trials.py [PART ...]`.

- ``face``: the content error on a face, and on every other window of its size.
- ``weights``: six style weights.
- ``starts``: from the photo, from the painting, and from noise.
- ``optimizers``: L-BFGS, and Adam with three step lengths, from the photo.
- ``speckle``: from noise with more total variation, more steps, coarse to fine.
- ``steering``: two styles, two regions, and the photo's colours kept in two ways.

What is measured is measured on ``PAIRS`` at 160 pixels; the pictures are of the first
pair, at 384 pixels (of ``starts`` at 256, the details of ``speckle`` at 160). Each part
of a pair is written at once to ``notebooks/records/transfer_trials.json``, its pictures
below one another in one file of ``notebooks/records/transfer_trials/``. The command
makes what the record lacks, of all parts or of those that are named; what is in it
stays, so to make a part anew, delete it there. Everything takes about a quarter of an
hour on one core.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from pltutorial import (
    LossNetwork,
    PerceptualLoss,
    TransferSettings,
    bundled,
    feature_loss,
    read_image,
    style_loss,
    total_variation,
    transfer_style,
)
from pltutorial.files import write_whole
from pltutorial.images import to_picture
from pltutorial.optimize import luminance

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "notebooks" / "records" / "transfer_trials.json"
PICTURES = RECORD.with_suffix("")
LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
# a photo, a painting, and a second painting to blend it with
PAIRS = (
    ("pagoda", "great_wave", "starry_night"),
    ("coffee", "composition_viii", "poppies"),
    ("chelsea", "starry_night", "great_wave"),
)
SIZE, STEPS = 160, 40
LARGE, MORE = 384, 15
MIDDLE = 256  # the pictures of ``starts``, which take all their steps at one size
WEIGHTS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 1e-2)
STARTS = ("content", "style", "noise 0")
SEEN = (5, 15, STEPS)  # steps of each start that are shown
RATES = (0.01, 0.03, 0.1)
CALM = (1e-6, 1e-4, 1e-3)  # total variation; the first is the default
DETAIL = (..., slice(0, 104), slice(28, 148))
PAINTINGS = ("great_wave", "starry_night", "composition_viii")
FACE_STEPS, FACE_WEIGHT = 30, 1e-3
SIDE, ROW, COLUMN = 8, 6, 13  # where the face is in relu3_3 of the astronaut


class Pair:
    """A photograph and two paintings, and what was made of them."""

    def __init__(self, network: LossNetwork, names, size: int = SIZE) -> None:
        self.network, self.name, self.size = network, "+".join(names[:2]), size
        self.photo = read_image(bundled(f"content/{names[0]}"), size)
        self.style, self.other = (
            read_image(bundled(f"style/{name}"), size) for name in names[1:]
        )
        self.start = self.style_terms(self.photo)
        self.kept: dict = {}

    def run(self, style=None, **changes):
        """A transfer with the default settings but for changes."""
        settings = {"sizes": self.size, "steps": STEPS, "progress": False, **changes}
        style = self.style if style is None else style
        return transfer_style(self.photo, style, network=self.network, **settings)

    def from_(self, name: str):
        """The run from one start, and its pictures at some steps; made once."""
        if name not in self.kept:
            frames = {}
            init, _, seed = name.partition(" ")
            run = self.run(
                init=init,
                seed=int(seed or 0),
                callback=lambda record: frames.update({record.step: record.image}),
            )
            self.kept[name] = run, [frames[step] for step in SEEN]
        return self.kept[name]

    def at(self, weight: float) -> torch.Tensor:
        """The picture at one style weight."""
        if weight == TransferSettings().style_weight:
            return self.from_("content")[0].image
        if weight not in self.kept:
            self.kept[weight] = self.run(style_weight=weight).image
        return self.kept[weight]

    @torch.no_grad()
    def style_terms(self, image) -> float:
        """Johnson's style term, one weight for all layers."""
        loss = PerceptualLoss(style=dict.fromkeys(LAYERS, 1.0), network=self.network)
        return float(loss(image, style=self.style).total)

    @torch.no_grad()
    def terms(self, image) -> dict:
        """The content term over the mean square of the photo's features, and what is
        left of the photo's style term.
        """
        new, old = (
            self.network(picture, ["relu3_3"])["relu3_3"]
            for picture in (image, self.photo)
        )
        return {
            "content": digits(feature_loss(new, old, normalization="relative")),
            "style": digits(self.style_terms(image) / self.start),
        }

    @torch.no_grad()
    def far(self, image, style) -> float:
        """The mean over the layers of the relative style error."""
        one, other = self.network(image, LAYERS), self.network(style, LAYERS)
        how = {"normalization": "relative"}
        errors = [style_loss(one[k], other[k], **how) for k in LAYERS]
        return digits(sum(errors) / len(errors))


def weights(pair: Pair) -> dict:
    """Both terms at each style weight."""
    return {short(weight): pair.terms(pair.at(weight)) for weight in WEIGHTS}


def starts(pair: Pair) -> dict:
    """The total at each step, by start."""
    return {name: totals(pair.from_(name)[0]) for name in STARTS}


def optimizers(pair: Pair) -> dict:
    """The total at each evaluation."""
    runs = {
        f"Adam {rate}": pair.run(optimizer="adam", learning_rate=rate) for rate in RATES
    }
    found = {"L-BFGS": pair.from_("content")[0], **runs}
    return {name: totals(run) for name, run in found.items()}


def speckle(pair: Pair) -> dict:
    """The mean absolute difference of neighbours."""
    images = {**grown(pair), "the photo itself": pair.photo}
    return {
        name: digits(total_variation(image, "absolute"))
        for name, image in images.items()
    }


def steering(pair: Pair) -> dict:
    """How far from each style, and how far the colours from the photo's."""
    images = {
        "the photo": pair.photo,
        "its style": pair.from_("content")[0].image,
        "the other style": pair.run(pair.other).image,
        **{name: pair.run(**how).image for name, how in ways(pair).items()},
    }
    return {
        name: {
            "style": pair.far(image, pair.style),
            "other": pair.far(image, pair.other),
            "colour": digits(255 * colour_moved(image, pair.photo)),
        }
        for name, image in images.items()
    }


def draw(part: str, pair: Pair) -> None:
    """The pictures of a part, if it has any."""
    if part == "speckle":
        details = [image[DETAIL] for image in grown(pair).values()]
        stack(details, PICTURES / "speckle.webp", lossless=True)
    if part not in ("weights", "starts", "steering"):
        return
    size = MIDDLE if part == "starts" else LARGE
    large = Pair(pair.network, PAIRS[0], size)
    if part == "weights":
        goes_on = {"steps": MORE, "sizes": LARGE}
        pictures = [large.photo]
        for weight in WEIGHTS:
            how = {"init": pair.at(weight), "style_weight": weight, **goes_on}
            pictures.append(large.run(**how).image)
    elif part == "starts":
        pictures = [frame for name in STARTS for frame in large.from_(name)[1]]
    else:
        both = {"sizes": (SIZE, LARGE), "steps": MORE}
        settings = [*ways(large).values(), regions(large)]
        pictures = [large.run(**both, **how).image for how in settings]
    stack(pictures, PICTURES / f"{part}.webp", quality=84)


def grown(pair: Pair) -> dict:
    """Pictures from noise in several ways, and from the photo; made once."""
    if "grown" not in pair.kept:
        steps = round(STEPS * (1 + 1 / 4 + 1 / 16))
        sizes = (SIZE // 4, SIZE // 2, SIZE)
        runs = {f"TV {short(CALM[0])}": pair.from_("noise 0")[0]}
        for weight in CALM[1:]:
            runs[f"TV {short(weight)}"] = pair.run(init="noise", total_variation=weight)
        runs[f"{steps} steps at one size"] = pair.run(init="noise", steps=steps)
        runs["coarse to fine"] = pair.run(init="noise", sizes=sizes)
        runs["from the photo"] = pair.from_("content")[0]
        pair.kept["grown"] = {name: run.image for name, run in runs.items()}
    return pair.kept["grown"]


def face(network: LossNetwork, painting: str) -> dict:
    """The error on the face over the picture's, and how many of all windows of its
    size have a lower one: absolute, and over the photo's own features there.
    """
    portrait = read_image(bundled("content/astronaut"), SIZE)
    ruined = transfer_style(
        portrait,
        read_image(bundled(f"style/{painting}"), SIZE),
        network=network,
        sizes=SIZE,
        steps=FACE_STEPS,
        style_weight=FACE_WEIGHT,
        progress=False,
    ).image
    with torch.no_grad():
        new, old = (
            network(picture, ["relu3_3"])["relu3_3"] for picture in (ruined, portrait)
        )
    error = (new - old).square().mean(1, keepdim=True)
    own = old.square().mean(1, keepdim=True)
    return {
        "absolute": stands_out(windows(error), error.mean()),
        "relative": stands_out(
            windows(error) / windows(own), error.mean() / own.mean()
        ),
    }


def windows(values: torch.Tensor) -> torch.Tensor:
    """The mean of every window as large as the face."""
    return F.avg_pool2d(values, SIDE, 1)[0, 0]


def stands_out(values: torch.Tensor, whole: torch.Tensor) -> dict:
    """A window's value at the face over that of the picture, and the share of windows
    below it.
    """
    here = values[ROW, COLUMN]
    return {
        "face over picture": digits(here / whole),
        "windows with less": digits((values < here).float().mean()),
    }


def ways(pair: Pair) -> dict:
    """Settings that change one term of the objective."""
    return {
        "half and half": {
            "style": [pair.style, pair.other],
            "style_weights": [0.5, 0.5],
        },
        "luminance": {"preserve_color": "luminance"},
        "histogram": {"preserve_color": "histogram"},
    }


def regions(pair: Pair) -> dict:
    """The other style where the photo is bright, as the sky is; the style elsewhere."""
    bright = (pair.photo.mean(1, keepdim=True) > 0.6).float()
    whole = torch.ones(1, 1, 8, 8)
    return {
        "style": [pair.other, pair.style],
        "masks": [(bright, whole), (1 - bright, whole)],
    }


def digits(value, count: int = 3) -> float:
    """A number with so many digits that matter."""
    return float(f"{float(value):.{count}g}")


def short(weight: float) -> str:
    """A weight as the chapter writes it."""
    return f"{weight:.0e}".replace("e-0", "e-")


def totals(run) -> list[float]:
    """The total at each step, four digits."""
    return [digits(total, 4) for total in run.totals]


def colour_moved(image, photo) -> float:
    """The mean difference of the colours, the brightness set aside."""
    apart = (image - luminance(image)) - (photo - luminance(photo))
    return float(apart.abs().mean())


def stack(images, path: Path, **how) -> None:
    """Pictures of one size below one another, in one file."""
    whole = torch.cat([image.cpu() for image in images], dim=2)[0].clamp(0, 1)
    path.parent.mkdir(exist_ok=True)
    to_picture(whole).save(path, method=6, **how)


def write(part: str, name: str, found: dict) -> None:
    """What was found of one pair or painting, into the record."""
    record = read()
    record |= {
        "command": "python book/transfer_trials.py",
        "machine": f"{platform.machine()}, one core, torch {torch.__version__}",
        "size": SIZE,
        "steps": STEPS,
        "large": LARGE,
        "middle": MIDDLE,
        "more_steps": MORE,
        part: {**record.get(part, {}), name: found},
    }
    text = (json.dumps(record, indent=1) + "\n").encode()
    write_whole(RECORD, lambda file: file.write(text))


def read() -> dict:
    """The record as it is."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


PARTS = (weights, starts, optimizers, speckle, steering)


def main(asked: list[str]) -> None:
    """Compute, judge, write what the record lacks, of the parts that are named."""
    network = LossNetwork(precision="float32", device="cpu")

    def wanted(part: str, name: str) -> bool:
        asks = not asked or part in asked
        return asks and name not in read().get(part, {})

    for name in PAINTINGS:
        if wanted("face", name):
            write("face", name, face(network, name))
            print(f"face in the style of {name}", flush=True)
    for names in PAIRS:
        pair, begin = Pair(network, names), time.perf_counter()
        for part in PARTS:
            if not wanted(part.__name__, pair.name):
                continue
            found = part(pair)
            if names == PAIRS[0]:
                draw(part.__name__, pair)
            write(part.__name__, pair.name, found)
            spent = time.perf_counter() - begin
            print(f"{part.__name__} of {pair.name} after {spent:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
