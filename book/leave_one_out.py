"""Make the record of chapter 7: what each term of the combined loss adds, `python
book/leave_one_out.py [COMMAND ...]`.

``train --data PICTURES``: from the shipped networks for accuracy, four short trainings
for noise and four for holes: with the combined loss of the recipe, and with its pixel,
feature or style term left out. Some six minutes on one core; interrupted, it goes on
where it was. Writes ``notebooks/records/leave_one_out.json`` and a sheet of details.
``title``: the picture at the top of the chapter, by the shipped networks; seconds.
``boxes``: strokes and a box, filled by the smoothest surface and by a shipped network.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import typing
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from skimage.restoration import inpaint_biharmonic

import pltutorial
from pltutorial import (
    DenoisingTask,
    InpaintingTask,
    bundled,
    bundled_names,
    denoise,
    inpaint,
    read_image,
    resize,
    train,
)
from pltutorial.cli.options import read_config
from pltutorial.degradations import add_noise, random_holes
from pltutorial.images import middle_square
from pltutorial.metrics import perceptual_distance, psnr
from pltutorial.networks import load_network
from pltutorial.settings import DenoisingSettings, InpaintingSettings
from pltutorial.teaching.sheets import compose
from pltutorial.training.cards import kept_settings
from pltutorial.vgg import LossNetwork

ROOT = Path(__file__).parents[1]
ASSETS = Path(pltutorial.__file__).parent / "assets"
RECORD = ROOT / "notebooks" / "records" / "leave_one_out.json"
TASKS = {
    "denoise": (DenoisingTask, DenoisingSettings),
    "inpaint": (InpaintingTask, InpaintingSettings),
}
TERMS = ("pixel", "feature", "style")
SIGMA, SHARE, SIDE = 35, 0.35, 256
SHORT = {
    "size": 96,
    "batch_size": 4,
    "learning_rate": 3e-4,
    "schedule": "cosine",
    "warmup": 20,
    "ema": 0.98,
    "log_every": 50,
    "sample_every": 0,
    "checkpoint_every": 50,
}
ZOOMS = {"denoise": (1.5, 2.5), "inpaint": (1.2, 2.5)}
# test picture, top and left
DETAIL = ("kodim23", 40, 160)  # of the sheet of filled holes
CUT, SHOWN = 80, 144  # side of a detail, cut out and on the sheet


def variants(combined) -> dict:
    """The settings of the combined loss, and with each of its terms left out."""
    return {"all terms": combined} | {
        f"without {term}": replace(combined, **{f"{term}_weight": 0.0})
        for term in TERMS
    }


def given(task: str) -> tuple[torch.Tensor, ...]:
    """What the networks are judged on: the test photographs with noise or holes."""
    photos = test_photos()
    if task == "denoise":
        return (add_noise(photos, SIGMA, 7),)
    return photos, random_holes(
        len(photos), SIDE, SIDE, SHARE, [70 + number for number in range(len(photos))]
    )


def test_photos() -> torch.Tensor:
    """The middle squares of the test photographs, (N, 3, 256, 256)."""
    return torch.cat(
        [middle_square(bundled(f"test/{name}"), SIDE) for name in bundled_names("test")]
    )


def restored(task: str, network: torch.nn.Module) -> torch.Tensor:
    """What a network makes of them, in full precision."""
    function = denoise if task == "denoise" else inpaint
    return function(*given(task), network=network, precision="float32")


def facts_of(task: str, output: torch.Tensor) -> dict:
    """Accuracy, likeness and contrast of the outputs; of holes, PSNR and
    contrast are those inside.
    """
    photos = test_photos()
    where = torch.ones_like(photos[:, :1]) if task == "denoise" else given(task)[1]
    where = where.expand_as(photos) > 0
    errors = [
        ((o - p)[w]).square().mean()
        for o, p, w in zip(output, photos, where, strict=True)
    ]
    inside = [float(-10 * error.log10()) for error in errors]
    return {
        "psnr": round(float(psnr(output, photos, channel="rgb").mean()), 3),
        "psnr_inside": round(sum(inside) / len(inside), 3),
        "perceptual_distance": round(
            float(perceptual_distance(output, photos).mean()), 4
        ),
        "contrast": round(_variation(output, where) / _variation(photos, where), 3),
    }


def _variation(pictures: torch.Tensor, where: torch.Tensor) -> float:
    """Mean absolute difference of neighbours, both of them counted in."""
    total, count = 0.0, 0
    for axis in (-1, -2):
        both = where.narrow(axis, 1, SIDE - 1) & where.narrow(axis, 0, SIDE - 1)
        steps = pictures.diff(dim=axis).abs()[both]
        total, count = total + float(steps.sum()), count + steps.numel()
    return total / count


def leave_out(options: argparse.Namespace) -> None:
    """Train the variants, judge them, write the record and the sheets."""
    judge = LossNetwork()
    record = {
        "what": (
            "fine-tuned from the networks for pixels alone with the combined loss, "
            "and with one of its terms left out; judged on "
            f"{len(bundled_names('test'))} photographs that no training saw, at "
            f"{SIDE}x{SIDE} pixels"
        ),
        "command": (
            "python book/leave_one_out.py train --steps "
            f"{options.steps} --data PICTURES"
        ),
        "machine": (
            f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, "
            f"{platform.system()}, torch {torch.__version__}"
        ),
        "sigma": SIGMA,
        "holes": round(float(given("inpaint")[1].mean()), 3),
        "steps": options.steps,
    }
    earlier = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    for task in TASKS:
        if task in options.tasks:
            record[task] = _leave_out_of(task, options, judge)
        elif task in earlier:
            record[task] = earlier[task]
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{RECORD.name} written")


def _leave_out_of(task: str, options: argparse.Namespace, judge: LossNetwork) -> dict:
    kind, settings_kind = TASKS[task]
    start = options.networks / f"{task}_pixel.safetensors"
    known = typing.get_type_hints(settings_kind) | {"data_note": str}
    recipe = read_config(options.recipes / f"{task}_combined.yaml", known)
    del recipe["data_note"]
    combined = settings_kind(
        **recipe
        | SHORT
        | {"zoom": ZOOMS[task], "steps": options.steps, "start": str(start)}
    )
    rows, pictures = {}, {}
    if task == "denoise":
        rows["noisy"] = facts_of(task, given(task)[0].clamp(0, 1))
    pixel = load_network(start)
    pictures["pixels alone"] = restored(task, pixel)
    rows["pixels alone"] = facts_of(task, pictures["pixels alone"])
    for name, settings in variants(combined).items():
        folder = options.build / f"{task}_{name.replace(' ', '_')}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        result = train(
            kind(settings, network=judge),
            folder=folder,
            pictures=options.data,
            progress=False,
        )
        pictures[name] = restored(task, result.network)
        rows[name] = facts_of(task, pictures[name]) | {"seconds": round(result.seconds)}
        print(f"{task}, {name}: {rows[name]}", flush=True)
    if task == "inpaint":
        _sheet(pictures)
    weights = {f"{term}_weight": getattr(combined, f"{term}_weight") for term in TERMS}
    layers = {
        name: kept_settings(combined).get(name)
        for name in ("pixel_kind", "feature_layers", "style_layers")
    }
    return {"weights": weights | layers, "rows": rows}


def _sheet(pictures: dict[str, torch.Tensor]) -> None:
    name, top, left = DETAIL
    index = bundled_names("test").index(name)
    photos, holes = given("inpaint")
    seen = photos * (1 - holes) + holes
    panels = {"given": seen} | pictures | {"the picture itself": test_photos()}
    cut = (slice(top, top + CUT), slice(left, left + CUT))
    panels = {
        title: resize(batch[index : index + 1, :, *cut].clamp(0, 1), (SHOWN, SHOWN))[0]
        for title, batch in panels.items()
    }
    _store(
        "leave_one_out_inpaint",
        [panel.numpy() for panel in panels.values()],
        list(panels),
        4,
        640,
    )


def title(options: argparse.Namespace) -> None:
    """Noise and holes, given back for pixels alone and by the combined loss:
    the shipped networks.
    """
    photo = read_image(bundled("test/kodim23"), 320)
    noisy = add_noise(photo, SIGMA, 7)
    holes = random_holes(1, *photo.shape[-2:], SHARE, [8])
    networks = {
        name: load_network(options.networks / f"{name}.safetensors")
        for name in (
            "denoise_pixel",
            "denoise_combined",
            "inpaint_pixel",
            "inpaint_combined",
        )
    }
    panels = [noisy.clamp(0, 1)] + [
        denoise(noisy, network=networks[f"denoise_{loss}"])
        for loss in ("pixel", "combined")
    ]
    panels += [photo * (1 - holes) + holes]
    panels += [
        inpaint(photo, holes, network=networks[f"inpaint_{loss}"])
        for loss in ("pixel", "combined")
    ]
    titles = ["noise", "pixels alone", "combined", "holes", "pixels alone", "combined"]
    _store(
        "leave_one_out_title", [panel[0].numpy() for panel in panels], titles, 3, 760
    )


BOXES = {"kodim23": None, "monarch": (48, 104, 128, 112)}


def boxes(options: argparse.Namespace) -> None:
    """Strokes and a box, filled in two ways: of the middle 256 pixels the box has
    this top, left, height and width.
    """
    network = load_network(options.networks / "inpaint_adversarial.safetensors")
    panels = []
    for name, box in BOXES.items():
        photo = middle_square(bundled(f"test/{name}"), SIDE)
        mask = random_holes(1, SIDE, SIDE, 0.3, [5])
        if box is not None:
            top, left, height, width = box
            mask = torch.zeros(1, 1, SIDE, SIDE)
            mask[..., top : top + height, left : left + width] = 1
        array = (photo * (1 - mask))[0].permute(1, 2, 0).numpy()
        smooth = inpaint_biharmonic(array, mask[0, 0].numpy() > 0, channel_axis=-1)
        smooth = torch.from_numpy(smooth).permute(2, 0, 1)[None].float().clamp(0, 1)
        filled = inpaint(photo, mask, network=network)
        panels += [photo * (1 - mask) + mask, smooth, filled]
    titles = ["given", "smoothest surface", "adversarial"]
    _store(
        "inpaint_boxes",
        [panel[0].numpy() for panel in panels],
        titles * len(BOXES),
        3,
        780,
    )


def _store(
    name: str, panels: list, titles: list[str], columns: int, width: int
) -> None:
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    headings = [titles[i : i + columns] for i in range(0, len(titles), columns)]
    sheet: Image.Image = compose(rows, headings, width)
    path = ROOT / "book" / "images" / f"{name}.webp"
    sheet.save(path, quality=84, method=6)
    print(
        f"{path.name}: {sheet.width}x{sheet.height}, "
        f"{path.stat().st_size / 1000:.0f} kB",
        flush=True,
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("train", "title", "boxes"))
    parser.add_argument(
        "--data", help="folder of training pictures; the bundled ones if left out"
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=TASKS,
        default=list(TASKS),
        help="which of the two",
    )
    parser.add_argument(
        "--steps", type=int, default=200, help="of each of the eight trainings"
    )
    parser.add_argument(
        "--networks",
        type=Path,
        default=ASSETS / "restoration",
        help="where the shipped networks are",
    )
    parser.add_argument(
        "--recipes", type=Path, default=ASSETS / "recipes", help="where the recipes are"
    )
    parser.add_argument(
        "--build",
        type=Path,
        default=ROOT / "build" / "leave_one_out",
        help="for the runs",
    )
    options = parser.parse_args()
    {"train": leave_out, "title": title, "boxes": boxes}[options.command](options)


if __name__ == "__main__":
    main()
