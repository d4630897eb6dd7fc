"""Make the record and the pictures of chapter 3: `python book/style_statistics.py
[PART ...]`.

- ``depth``: textures of two paintings from three seeds each, one layer more at a
  time, and how far each is from its painting at every layer.
- ``lattice``: one blue lattice grown from noise by five statistics of the same four
  layers, three seeds each: Gram matrices; means and standard deviations; histograms of
  the channels; sliced Wasserstein distance; Gram matrices with products at a distance
  of one period. Each is judged by three distances, and by how far it repeats itself.
- ``weave``: textures of relu1_2 alone, three seeds each, with total variation and
  without, with a border that wraps round, with jitter, and in Fourier coefficients: how
  uneven the border is, and how much power lies at periods of 4 to 7 pixels.
- ``title``: the picture at the chapter's head.

Writes ``notebooks/records/style_statistics.json`` and, into ``book/images/``,
``style_title.webp``, ``style_lattice.webp`` and ``style_weave.webp``; about ten
minutes on one idle core.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image

from pltutorial import (
    LossNetwork,
    bundled,
    gram_matrix,
    optimize_image,
    read_image,
    reconstruct_style,
    resize,
    style_loss,
    total_variation,
)
from pltutorial.distances import style_distances
from pltutorial.losses import LossTerms
from pltutorial.teaching.figures import panels_of
from pltutorial.teaching.sheets import compose

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "notebooks" / "records" / "style_statistics.json"
IMAGES = ROOT / "book" / "images"
LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
STRIDES = dict(zip(LAYERS, (1, 2, 4, 8), strict=True))
PAINTINGS = ("great_wave", "starry_night")
SEEDS, SIDE, PERIOD = (0, 1, 2), 128, 32
STEPS = {"depth": 40, "lattice": 40, "weave": 60, "title": 50}
CALM = 1e-8  # total variation of all textures but those that show what more does
KINDS = ("gram", "mean and variance", "histogram", "sliced", "gram at a distance")
# total variation, and how the picture is seen
WEAVES = {
    "1e-7": (1e-7, "plain"),
    "1e-7, border wraps": (1e-7, "wrapped"),
    "1e-7, Adam": (1e-7, "adam"),
    "1e-7, Adam, jitter": (1e-7, "jitter"),
    "1e-8": (1e-8, "plain"),
    "none": (0.0, "plain"),
    "none, Fourier": (0.0, "fourier"),
}


def lattice(shift: int = 19, side: int = SIDE) -> torch.Tensor:
    """Blue bars on paper, one period each way."""
    paper = torch.tensor([0.93, 0.9, 0.8]).view(1, 3, 1, 1).repeat(1, 1, side, side)
    return _barred(paper, ((torch.arange(side) + shift) % PERIOD) < 6)


def irregular(seed: int) -> torch.Tensor:
    """As many bars, anywhere: what the measure says of lines without a period."""
    draw = torch.Generator().manual_seed(seed)
    paper = torch.tensor([0.93, 0.9, 0.8]).view(1, 3, 1, 1).repeat(1, 1, SIDE, SIDE)
    starts = (torch.rand(SIDE // PERIOD, generator=draw) * (SIDE - 6)).long().tolist()
    places = torch.arange(SIDE)
    bars = sum((places >= s) & (places < s + 6) for s in starts) > 0
    return _barred(paper, bars)


def _barred(paper: torch.Tensor, bars: torch.Tensor) -> torch.Tensor:
    paper[..., bars[:, None] | bars[None]] = torch.tensor([0.1, 0.2, 0.5])[:, None]
    return paper


def repeats(image: torch.Tensor, period: int = PERIOD) -> float:
    """Correlation of the brightness with itself one period to the right and below: 1
    for a lattice of that period.
    """
    grey = image.mean((0, 1))
    pairs = (
        (grey[:, :-period], grey[:, period:]),
        (grey[:-period], grey[period:]),
    )
    values = [
        torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] for a, b in pairs
    ]
    return float(sum(values) / 2)


def shifts(images: list[torch.Tensor]) -> dict[str, float]:
    """The same at three distances, in the mean: a straight line is like itself at any,
    a lattice at one.
    """
    return {
        str(shift): round(
            sum(repeats(image, shift) for image in images) / len(images), 2
        )
        for shift in (24, 32, 40)
    }


def statistics(feature: torch.Tensor, kind: str, layer: str) -> list[torch.Tensor]:
    """What of the features (1, C, H, W) of a layer is compared."""
    if kind == "mean and variance":
        return [torch.cat([feature.mean((2, 3)), feature.std((2, 3))], 1)]
    if kind == "histogram":
        return [feature.flatten(2).sort(-1).values]
    if kind == "sliced":
        draw = torch.Generator().manual_seed(0)
        along = F.normalize(torch.randn(64, feature.shape[1], generator=draw), dim=1)
        return [(along @ feature.flatten(2)).sort(-1).values]
    grams = [gram_matrix(feature)]
    if kind == "gram at a distance":
        step = PERIOD // STRIDES[layer]
        for one, other in (
            (feature[..., :-step], feature[..., step:]),
            (feature[..., :-step, :], feature[..., step:, :]),
        ):
            both = torch.einsum("nihw,njhw->nij", one, other)
            grams.append(both / one[0].numel())
    return grams


def texture(
    network, style: torch.Tensor, kind: str, layers=LAYERS, seed=0, steps=40, calm=CALM
) -> torch.Tensor:
    """A picture whose statistics are those of the style, from noise, each layer over
    its target's square.
    """
    with torch.no_grad():
        features = network(style, layers)
        targets = {k: statistics(features[k], kind, k) for k in layers}

    def objective(image: torch.Tensor) -> LossTerms:
        seen = network(image, layers)
        terms = LossTerms()
        for layer in layers:
            pairs = zip(
                statistics(seen[layer], kind, layer), targets[layer], strict=True
            )
            errors = [(a - b).square().sum() / b.square().sum() for a, b in pairs]
            terms[layer] = sum(errors) / len(errors)
        terms["total_variation"] = calm / 100 * 255**2 * total_variation(image)
        return terms

    draw = torch.Generator().manual_seed(seed)
    start = torch.rand(style.shape, generator=draw)
    return optimize_image(objective, start, steps=steps, progress=False).image


@torch.no_grad()
def errors_by_layer(network, image, style) -> list[float]:
    """The relative style error at each layer."""
    one, other = network(image, LAYERS), network(style, LAYERS)
    values = [style_loss(one[k], other[k], normalization="relative") for k in LAYERS]
    return [float(f"{float(value):.3g}") for value in values]


def depth(network) -> dict:
    """Errors by painting, seed, number of layers matched, layer."""
    table = {}
    for name in PAINTINGS:
        style = read_image(bundled(f"style/{name}"), SIDE)
        table[name] = [
            [
                errors_by_layer(
                    network,
                    texture(
                        network, style, "gram", LAYERS[:count], seed, STEPS["depth"]
                    ),
                    style,
                )
                for count in (1, 2, 3, 4)
            ]
            for seed in SEEDS
        ]
        print(name, table[name], flush=True)
    return table


def lattices(network) -> tuple[dict, list[torch.Tensor]]:
    """The judgement of each statistic's lattices, and those of the first seed."""
    source, table, first = lattice(), {}, []
    for kind in KINDS:
        made = [
            texture(network, source, kind, seed=seed, steps=STEPS["lattice"])
            for seed in SEEDS
        ]
        first.append(made[0])
        with torch.no_grad():
            judged = style_distances(torch.cat(made), source)
        table[kind] = {
            "repeats": [round(repeats(image), 3) for image in made],
            "shifts": shifts(made[:1]),
            **{k: [float(f"{v:.3g}") for v in judged[k].tolist()] for k in judged},
        }
        print(kind, table[kind], flush=True)
    lines = [irregular(seed) for seed in SEEDS]
    for name, images in (("the lattice", [source]), ("lines anywhere", lines)):
        table[name] = {
            "repeats": [round(repeats(image), 3) for image in images],
            "shifts": shifts(images),
        }
    return table, [source, *first]


def border(image: torch.Tensor) -> float:
    """Spread of the brightness in the outer two columns over that inside."""
    grey = image.mean((0, 1))
    outer = torch.cat([grey[:, :2], grey[:, -2:]], 1)
    return float(outer.std() / grey[12:-12, 12:-12].std())


def weave(image: torch.Tensor) -> float:
    """Power at periods of 4 to 7 pixels over that at 7 to 10, inside the border."""
    grey = image.mean((0, 1))[12:-12, 12:-12]
    height, width = grey.shape
    window = torch.outer(torch.hann_window(height), torch.hann_window(width))
    power = torch.fft.fft2((grey - grey.mean()) * window).abs().square()
    down, across = torch.fft.fftfreq(height), torch.fft.fftfreq(width)
    ring = (down[:, None].square() + across.square()).sqrt()

    def between(low: float, high: float) -> torch.Tensor:
        return power[(ring >= low) & (ring < high)].sum()

    return float(between(0.15, 0.25) / between(0.1, 0.15))


def woven(network, style: torch.Tensor, calm: float, how: str, seed: int):
    """A texture of relu1_2 alone."""
    layer, size, margin = "relu1_2", style.shape[-2:], 4
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        target = gram_matrix(network(style, [layer])[layer])

    def error(image: torch.Tensor) -> torch.Tensor:
        if how == "wrapped":  # the border's features are cut off
            image = F.pad(image, (margin,) * 4, mode="circular")
        if how == "jitter":
            image = image.roll(
                [int(torch.randint(n, (1,), generator=draw)) for n in size], (2, 3)
            )
        seen = network(image, [layer])[layer]
        if how == "wrapped":
            seen = seen[..., margin:-margin, margin:-margin]
        return style_loss(seen, target, normalization="relative")

    if how == "fourier":
        return _in_frequencies(error, size, draw)

    def objective(image: torch.Tensor) -> LossTerms:
        tv = calm / 100 * 255**2 * total_variation(image)
        return LossTerms(style=error(image), total_variation=tv)

    start = torch.rand(style.shape, generator=draw)
    optimizer = "adam" if how in ("adam", "jitter") else "lbfgs"
    options = {"optimizer": optimizer, "steps": STEPS["weave"], "progress": False}
    return optimize_image(objective, start, **options).image


def _in_frequencies(error: Callable, size, draw) -> torch.Tensor:
    """L-BFGS on Fourier coefficients, each divided by its frequency (Olah et al.
    2017).
    """
    down, across = torch.fft.fftfreq(size[0]), torch.fft.rfftfreq(size[1])
    ring = (down[:, None].square() + across.square()).sqrt()
    scale = 1 / ring.clamp_min(1 / max(size))
    shape = (1, 3, *ring.shape, 2)
    waves = (0.01 * torch.randn(shape, generator=draw)).requires_grad_()

    def picture() -> torch.Tensor:
        spectrum = torch.view_as_complex(waves * scale[..., None])
        return torch.fft.irfft2(spectrum, s=tuple(size), norm="ortho").sigmoid()

    steps = STEPS["weave"]
    how = {"tolerance_grad": 0, "tolerance_change": 0, "history_size": 20}
    optimizer = torch.optim.LBFGS(
        [waves], max_iter=steps, max_eval=steps, line_search_fn="strong_wolfe", **how
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = error(picture())
        loss.backward()
        return loss

    optimizer.step(closure)
    return picture().detach()


def weaves(network) -> tuple[dict, list[torch.Tensor]]:
    """Border and weave of each arm, and the pictures of the first seed."""
    style, first = read_image(bundled("style/starry_night"), SIDE), []
    own = {"border": [round(border(style), 2)], "weave": [round(weave(style), 2)]}
    table = {"the painting": {**own, "error": [0.0]}}
    for name, (calm, how) in WEAVES.items():
        made = [woven(network, style, calm, how, seed) for seed in SEEDS]
        first.append(made[0])
        table[name] = {
            "border": [round(border(image), 2) for image in made],
            "weave": [round(weave(image), 2) for image in made],
            "error": [errors_by_layer(network, image, style)[0] for image in made],
        }
        print(name, table[name], flush=True)
    return table, first


def sheet(
    images, titles, columns: int, zoom: int | None, width: int, name: str
) -> None:
    """Pictures in rows, each under its title, each pixel a square of ``zoom``."""
    if zoom:
        images = [F.interpolate(image, scale_factor=zoom) for image in images]
    panels = panels_of(images, None)
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    above = [titles[i : i + columns] for i in range(0, len(panels), columns)]
    made = compose(rows, above, width)
    made.save(IMAGES / name, quality=88, method=6)


def title(network) -> None:
    """The Great Wave, and the frieze that the chapter grows from it, at twice their
    size.
    """
    wave = read_image(bundled("style/great_wave"), 192)
    how = {"height": 112, "width": 288, "steps": STEPS["title"], "progress": False}
    frieze = reconstruct_style(
        wave, LAYERS, network=network, total_variation=CALM, **how
    ).image
    height = 2 * how["height"]
    images = [resize(wave, (height, round(height * 192 / 130))), twice(frieze)]
    gap = torch.ones(1, 3, height, 12)
    (panel,) = panels_of(torch.cat([images[0], gap, images[1]], 3), None)
    array = (255 * panel.transpose(1, 2, 0) + 0.5).astype("uint8")
    Image.fromarray(array).save(IMAGES / "style_title.webp", quality=88, method=6)


def twice(image: torch.Tensor) -> torch.Tensor:
    """Enlarged by bicubic interpolation."""
    how = {"mode": "bicubic", "align_corners": False}
    return F.interpolate(image, scale_factor=2, **how).clamp(0, 1)


def main(parts: list[str]) -> None:
    """Compute, judge, write; the parts that are named, or all."""
    begin, network = time.perf_counter(), LossNetwork(precision="float32", device="cpu")
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    record |= {
        "command": "python book/style_statistics.py",
        "machine": f"{platform.machine()}, one core, torch {torch.__version__}",
        "size": SIDE,
        "steps": STEPS,
        "seeds": len(SEEDS),
        "total_variation": CALM,
    }
    if not parts or "weave" in parts:
        record["weave"], pictures = weaves(network)
        shown = [n for n in range(len(WEAVES)) if list(WEAVES)[n] != "1e-7, Adam"]
        names = [list(WEAVES)[n] for n in shown]
        sheet([pictures[n] for n in shown], names, 3, 2, 820, "style_weave.webp")
    if not parts or "lattice" in parts:
        record["lattice"], pictures = lattices(network)
        sheet(pictures, ["source", *KINDS], 3, 2, 820, "style_lattice.webp")
    if not parts or "depth" in parts:
        record["depth"] = depth(network)
    if not parts or "title" in parts:
        title(network)
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{RECORD.name} after {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
