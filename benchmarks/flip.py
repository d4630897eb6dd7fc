"""Two networks over the same photograph: the pictures and the numbers of the page
live/flip.html, `python -m benchmarks.flip [TASK ...]`.

Three photographs that no training saw, 480 x 320 pixels, through every network that
ships for a task, and through what needs no training; each is stored as it comes out,
nothing is chosen. Writes book/live/flip/TASK_PHOTO_VIEW.webp and flip.json, which the
page reads: names, numbers, and the digests of the networks' weights, so that a test
notices when a network has changed and its pictures have not. Named tasks are made
anew, the others stay. A few minutes on one core.

PSNR is of RGB (in the holes alone where there are holes), the distance the
shift-tolerant LPIPS (alex) of the whole picture. Prints have no picture that is right:
of them EfficientNet-Lite0, which trained none of them, says how much of the photograph
and of the painting is lost. Numbers are measured before the picture is stored.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch

from benchmarks import restoration
from pltutorial import (
    LossNetwork,
    bundled,
    colorize,
    deblur,
    denoise,
    downscale,
    inpaint,
    invert,
    load_inverter,
    load_restorer,
    load_style,
    read_image,
    resize,
    restyle,
    stylize,
    upscale,
    zoo,
)
from pltutorial.color import brightness_of
from pltutorial.degradations import add_noise, random_holes
from pltutorial.distances import content_distance, second_judge, style_distance
from pltutorial.images import to_picture, write_whole
from pltutorial.metrics import perceptual_distance, psnr

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "book" / "live" / "flip"
RECORD = FOLDER / "flip.json"
HEIGHT, WIDTH, QUALITY = 320, 480, 82
PHOTOS = {  # what is to be seen, for who does not
    "test/kodim23": "Two macaws, one yellow and blue, one red, before green leaves",
    "test/monarch": "A monarch butterfly on pink flowers",
    "content/pagoda": "A pavilion of four roofs above trees and a lake",
}
STYLES = {"great_wave": "The Great Wave"}
SIGMA, SHARE, BLUR = 50, 0.25, "disc2"

Picture = torch.Tensor


@dataclass
class View:
    """One picture of a task: how it is called, what made it, and the picture."""

    key: str
    name: str
    picture: Picture
    network: str = ""  # that ships


@dataclass
class Task:
    name: str
    words: str
    first: tuple[str, str]
    views: Callable[[Picture, int], Iterator[View]]
    style: str = ""


# --- the tasks ------------------------------------------------------------------------


def enlarged(photo: Picture, number: int) -> Iterator[View]:
    small = downscale(photo, 4)
    yield View("bicubic", "bicubic", restoration.larger(small, 4))
    for loss in ("pixel", "feature", "adversarial"):
        made = upscale(small, network=restorer("upscale", loss))
        yield View(loss, f"{loss} loss", made, f"upscale_x4_{loss}")


def denoised(photo: Picture, number: int) -> Iterator[View]:
    noisy = add_noise(photo, SIGMA, number)
    yield View("given", "as given", noisy)
    how = restoration.tuned(SIGMA, kept())
    yield View(
        "means", "non-local means", restoration.non_local_means(noisy, SIGMA, **how)
    )
    for loss in ("pixel", "combined"):
        made = denoise(noisy, network=restorer("denoise", loss))
        yield View(loss, f"{loss} loss", made, f"denoise_{loss}")


def filled(photo: Picture, number: int) -> Iterator[View]:
    mask = missing(number)
    yield View("given", "as given", photo * (1 - mask) + mask)
    yield View("biharmonic", "biharmonic", restoration.biharmonic(photo, mask))
    for loss in ("pixel", "combined", "adversarial"):
        made = inpaint(photo, mask, network=restorer("inpaint", loss))
        yield View(loss, f"{loss} loss", made, f"inpaint_{loss}")


def sharpened(photo: Picture, number: int) -> Iterator[View]:
    given = restoration.blurred_with_noise(photo, BLUR, number)
    yield View("given", "as given", given)
    best = restoration.balance(BLUR, kept())
    sharp = restoration.wiener(given, restoration.BLURS[BLUR](), best)
    yield View("wiener", "Wiener filter, told the blur", sharp)
    made = deblur(given, network=restorer("deblur", "combined"))
    yield View("combined", "combined loss", made, "deblur_combined")


def coloured(photo: Picture, number: int) -> Iterator[View]:
    grey = brightness_of(photo).expand_as(photo)
    yield View("given", "as given", grey)
    yield View("classes", "classes of colour", colorize(grey), "colorize_classes")


def drawn(photo: Picture, number: int) -> Iterator[View]:
    words = {"image": "image loss", "deepsim": "DeePSiM", "full": "larger, DeePSiM"}
    for layer, loss in (
        ("relu3_3", "image"),
        ("relu3_3", "deepsim"),
        ("relu4_3", "image"),
        ("relu4_3", "deepsim"),
        ("relu4_3", "full"),
        ("relu5_3", "full"),
    ):
        network = load_inverter(layer, loss)
        made = invert(photo, network, encoder=vgg())
        key = f"{layer}-{loss}"
        yield View(key, f"{layer}, {words[loss]}", made, f"invert_{layer}_{loss}")


def painted(style: str, photo: Picture, number: int) -> Iterator[View]:
    painting = read_image(bundled(f"style/{style}"))
    for key, name in (("fast", "eight_styles"), ("full", "eight_styles_full")):
        made = stylize(photo, style, network=load_style(name))
        yield View(key, f"eight styles, {key}", made, name)
    yield View("any", "any painting", restyle(photo, painting), "decode_relu4_3")


TASKS = {
    "enlarge": Task(
        "Enlarge four times",
        "Each was given the photograph at 120 × 80 pixels.",
        ("pixel", "feature"),
        enlarged,
    ),
    "denoise": Task(
        "Clean noise",
        f"Each was given the photograph with Gaussian noise of σ = {SIGMA}; as it is "
        "stored here, the noise has lost some of its colours.",
        ("pixel", "combined"),
        denoised,
    ),
    "holes": Task(
        "Fill holes",
        "Each was given the photograph with the white strokes missing.",
        ("combined", "adversarial"),
        filled,
    ),
    "deblur": Task(
        "Sharpen",
        "Each was given the photograph out of focus, a disc of radius 2, and a little "
        "noise.",
        ("given", "combined"),
        sharpened,
    ),
    "colours": Task(
        "Colour",
        "The network was given the photograph's brightness alone.",
        ("classes", "photo"),
        coloured,
    ),
    "codes": Task(
        "Draw from a code",
        "Each was given what a layer of VGG-16 holds of the photograph.",
        ("relu4_3-image", "relu4_3-deepsim"),
        drawn,
    ),
} | {
    style: Task(
        f"Paint like {title}",
        "Each was given the photograph; the first two networks have learned this "
        "painting, the third is shown it.",
        ("fast", "full"),
        partial(painted, style),
        style,
    )
    for style, title in STYLES.items()
}


# --- what they need -------------------------------------------------------------------


@cache
def restorer(task: str, loss: str) -> torch.nn.Module:
    return load_restorer(task, loss)


@cache
def vgg() -> LossNetwork:
    return LossNetwork()


@cache
def kept() -> dict:
    """What was tuned for the record of restoration."""
    return json.loads(restoration.KEPT.read_text(encoding="utf-8"))


def photograph(name: str) -> Picture:
    """(1, 3, 320, 480): covered, and cut from the middle."""
    whole = read_image(bundled(name))
    height, width = whole.shape[-2:]
    scale = max(HEIGHT / height, WIDTH / width)
    whole = resize(whole, (round(height * scale), round(width * scale)))
    top, left = (whole.shape[-2] - HEIGHT) // 2, (whole.shape[-1] - WIDTH) // 2
    return whole[..., top : top + HEIGHT, left : left + WIDTH].contiguous()


def missing(number: int) -> Picture:
    return random_holes(1, HEIGHT, WIDTH, SHARE, [[number, 7]])


def numbers(task: Task, key: str, made: Picture, photo: Picture, number: int) -> dict:
    """What is measured of one picture."""
    if task.style:
        judge = second_judge(made.device)
        painting = read_image(bundled(f"style/{task.style}"), WIDTH)
        return {
            "photo": round(float(content_distance(made, photo, network=judge)), 3),
            "painting": round(float(style_distance(made, painting, network=judge)), 3),
        }
    if task.views is filled:
        found = restoration.filling(made, photo, missing(number))
    else:
        found = {
            "psnr": float(psnr(made, photo, channel="rgb")),
            "distance": float(perceptual_distance(made, photo)),
        }
    return {"psnr": round(found["psnr"], 2), "distance": round(found["distance"], 3)}


def digest(name: str) -> str:
    """Of the weights of a network that ships, which lie behind its card."""
    data = zoo.installed()[name].read_bytes()
    head = 8 + int.from_bytes(data[:8], "little")
    return hashlib.sha256(data[head:]).hexdigest()[:16]


def sources() -> dict[str, dict[str, str]]:
    with (ROOT / "data" / "SOURCES.csv").open(encoding="utf-8", newline="") as table:
        return {
            Path(row["file"]).with_suffix("").as_posix(): row
            for row in csv.DictReader(table)
        }


# --- making and storing ---------------------------------------------------------------


def store(made: Picture, name: str) -> None:
    path = FOLDER / f"{name}.webp"
    to_picture(made.clamp(0, 1)).save(path, quality=QUALITY, method=6)


def make(key: str) -> dict:
    """The pictures of one task; what flip.json says of it."""
    task, rows, networks, names = TASKS[key], {}, {}, {}
    for number, photo_name in enumerate(PHOTOS):
        photo, short = photograph(photo_name), photo_name.split("/")[1]
        for view in task.views(photo, number):
            made = view.picture.float().cpu()
            assert made.shape == photo.shape, (key, view.key, made.shape)
            store(made, f"{key}_{short}_{view.key}")
            found = numbers(task, view.key, made.clamp(0, 1), photo, number)
            rows.setdefault(short, {})[view.key] = found
            names[view.key] = view.name
            if view.network:
                networks[view.network] = digest(view.network)
            print(f"{key} {short} {view.key}: {found}", flush=True)
    return {
        "name": task.name,
        "words": task.words,
        "first": task.first,
        "style": bool(task.style),
        "views": names,
        "numbers": rows,
        "networks": networks,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(TASKS))
    wanted = parser.parse_args().tasks or list(TASKS)
    if unknown := sorted(set(wanted) - set(TASKS)):
        parser.error(
            f"there is no task {unknown[0]!r}; name some of {', '.join(TASKS)}"
        )
    FOLDER.mkdir(exist_ok=True)
    known = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    tasks, photos, about = known.get("tasks", {}), {}, sources()
    for name, alt in PHOTOS.items():
        row, short = about[name], name.split("/")[1]
        store(photograph(name), f"photo_{short}")
        licence = row["licence"].replace("-", " ")
        named = row["author"] in licence
        credit = licence if named else f"{row['author']}, {licence}"
        photos[short] = {"title": row["title"], "credit": credit, "alt": alt}
    for key in wanted:
        tasks[key] = make(key)
        facts = {
            "what": "Pictures and numbers of live/flip.html",
            "command": "python -m benchmarks.flip",
            "size": [WIDTH, HEIGHT],
            "photos": photos,
            "tasks": {key: tasks[key] for key in TASKS if key in tasks},
        }
        text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
        write_whole(RECORD, lambda file, text=text: file.write(text.encode()))
    total = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"{len(list(FOLDER.iterdir()))} files, {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
