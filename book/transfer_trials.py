"""Make the record and the pictures of chapter 4 on what its transfers depend on:
`python book/transfer_trials.py [PART ...]`.

- ``face``: the content error on a face, and on every other window of its size.
- ``weights``: six style weights.
- ``starts``: from the photo, from the painting, and from noise.
- ``optimizers``: L-BFGS, and Adam with three step lengths, from the photo.
- ``speckle``: from noise with more total variation, more steps, coarse to fine.
- ``steering``: two styles, two regions, and the photo's colours kept in two ways.

What is measured is measured on ``PAIRS`` at 160 pixels; the
pictures are of the first pair, at 384 pixels. Each part that is done is written at once
to ``notebooks/records/transfer_trials.json``, its pictures below one another in one
file of ``notebooks/records/transfer_trials/``; a run that was stopped goes on with the
parts that are named. All together take about twenty minutes on one core.
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
    bundled,
    feature_loss,
    read_image,
    style_loss,
    total_variation,
    transfer_style,
)
from pltutorial.files import write_whole
from pltutorial.optimize import luminance
from pltutorial.teaching.sheets import rgb

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
WEIGHTS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 1e-2)
STARTS = ("content", "style", "noise 0")
SEEN = (10, STEPS)  # steps of each start that are shown
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

    def style_terms(self, image, style=None) -> float:
        """Johnson's style term, one weight for all layers."""
        loss = PerceptualLoss(style=dict.fromkeys(LAYERS, 1.0), network=self.network)
        with torch.no_grad():
            style = self.style if style is None else style
            return float(loss(image, style=style).total)

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


class Trials:
    """The parts, over all pairs."""

    def __init__(self) -> None:
        self.network = LossNetwork(precision="float32", device="cpu")
        self.pairs = [Pair(self.network, names) for names in PAIRS]

    def large(self) -> Pair:
        """The first pair at the size of the pictures."""
        return Pair(self.network, PAIRS[0], LARGE)

    def weights(self) -> dict:
        """Both terms at each style weight."""
        found, first = {}, {}
        for pair in self.pairs:
            made = {
                weight: (
                    pair.from_("content")[0]
                    if weight == 1e-4
                    else pair.run(style_weight=weight)
                ).image
                for weight in WEIGHTS
            }
            first = first or made
            found[pair.name] = {f"{w:g}": pair.terms(made[w]) for w in WEIGHTS}
        large = self.large()
        pictures = [
            large.run(init=image, style_weight=weight, steps=MORE).image
            for weight, image in first.items()
        ]
        stack([large.photo, *pictures], PICTURES / "weights.webp", quality=84)
        return found

    def starts(self) -> dict:
        """The total at each step, by start."""
        found = {
            pair.name: {name: totals(pair.from_(name)[0]) for name in STARTS}
            for pair in self.pairs
        }
        large = self.large()
        frames = [frame for name in STARTS for frame in large.from_(name)[1]]
        stack(frames, PICTURES / "starts.webp", quality=84)
        return found

    def optimizers(self) -> dict:
        """The total at each evaluation."""
        return {
            pair.name: {
                "L-BFGS": totals(pair.from_("content")[0]),
                **{
                    f"Adam {rate}": totals(
                        pair.run(optimizer="adam", learning_rate=rate)
                    )
                    for rate in RATES
                },
            }
            for pair in self.pairs
        }

    def speckle(self) -> dict:
        """The mean absolute difference of neighbours."""
        found = {}
        steps = round(STEPS * (1 + 1 / 4 + 1 / 16))
        for pair in self.pairs:
            runs = {
                f"TV {weight:g}": (
                    pair.run(init="noise", total_variation=weight)
                    if weight != CALM[0]
                    else pair.from_("noise 0")[0]
                ).image
                for weight in CALM
            }
            runs[f"{steps} steps at one size"] = pair.run(
                init="noise", steps=steps
            ).image
            runs["coarse to fine"] = pair.run(
                init="noise", sizes=(SIZE // 4, SIZE // 2, SIZE)
            ).image
            runs["from the photo"] = pair.from_("content")[0].image
            if not found:
                details = [image[DETAIL] for image in runs.values()]
                stack(details, PICTURES / "speckle.webp", lossless=True)
            runs["the photo itself"] = pair.photo
            found[pair.name] = {
                name: digits(total_variation(image, "absolute"))
                for name, image in runs.items()
            }
        return found

    def steering(self) -> dict:
        """How far from each style, and how far the colours from the photo's."""
        found = {}
        for pair in self.pairs:
            runs = {
                "the photo": pair.photo,
                "its style": pair.from_("content")[0].image,
                "the other style": pair.run(pair.other).image,
                **{name: pair.run(**how).image for name, how in ways(pair).items()},
            }
            found[pair.name] = {
                name: {
                    "style": pair.far(image, pair.style),
                    "other": pair.far(image, pair.other),
                    "colour": digits(255 * colour_moved(image, pair.photo)),
                }
                for name, image in runs.items()
            }
        large = self.large()
        how = {"sizes": (SIZE, LARGE), "steps": 20}
        settings = {**ways(large), "two regions": regions(large)}
        pictures = [large.run(**how, **one).image for one in settings.values()]
        stack(pictures, PICTURES / "steering.webp", quality=84)
        return found

    def face(self) -> dict:
        """The error on the face and on the picture, and how many of all windows of
        its size have a lower one: absolute, and over the photo's own features there.
        """
        face, found = read_image(bundled("content/astronaut"), SIZE), {}
        for name in PAINTINGS:
            ruined = transfer_style(
                face,
                read_image(bundled(f"style/{name}"), SIZE),
                network=self.network,
                sizes=SIZE,
                steps=FACE_STEPS,
                style_weight=FACE_WEIGHT,
                progress=False,
            ).image
            with torch.no_grad():
                new, old = (
                    self.network(picture, ["relu3_3"])["relu3_3"]
                    for picture in (ruined, face)
                )
            error = (new - old).square().mean(1, keepdim=True)
            own = old.square().mean(1, keepdim=True)
            there, its_own = (F.avg_pool2d(given, SIDE, 1) for given in (error, own))
            measures = {
                "absolute": (there, error.mean()),
                "relative": (there / its_own, error.mean() / own.mean()),
            }
            found[name] = {
                how: {
                    "face over picture": digits(values[..., ROW, COLUMN] / whole),
                    "windows with less": digits(
                        (values < values[..., ROW, COLUMN]).float().mean()
                    ),
                }
                for how, (values, whole) in measures.items()
            }
        return found


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
    rgb(whole.numpy(), (0, 1), "gray").save(path, method=6, **how)


def main(asked: list[str]) -> None:
    """Compute, judge, write; the parts that are named, or all."""
    trials = Trials()
    parts = ("face", "weights", "starts", "optimizers", "speckle", "steering")
    for part in asked or parts:
        begin = time.perf_counter()
        found = getattr(trials, part)()
        record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        record |= {
            "command": "python book/transfer_trials.py",
            "machine": f"{platform.machine()}, one core, torch {torch.__version__}",
            "size": SIZE,
            "steps": STEPS,
            "large": LARGE,
            "more_steps": MORE,
            part: found,
        }
        text = (json.dumps(record, indent=1) + "\n").encode()
        write_whole(RECORD, lambda file, text=text: file.write(text))
        print(f"{part} after {time.perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
