"""Super-resolution, denoising, deblurring and inpainting in numbers: `python -m
benchmarks.restoration --set5 FOLDER [--write]`.

Each network against what needs no training: bicubic interpolation, scikit-image's
non-local means and Wiener filter, tuned, and its biharmonic inpainting; on the bundled
data/test and on Set5 (Bevilacqua et al. 2012), whose five pictures are not in the
repository. The record notebooks/records/restoration.json is what chapters 6 and 7 read;
with --write the numbers also go into the networks' cards. The exit status is 1 if a
bound does not hold.

Enlarging: PSNR and SSIM of Y, `factor` pixels at the border left out; inputs are
antialiased bicubic, 8 bits.
Denoising: PSNR of RGB, all pixels, as is usual for noise on colour; non-local means is
told sigma, the networks are not. `camera25` is noise that is smeared by a Gaussian of 1
pixel, half of whose variance grows with the light.
Deblurring: PSNR of RGB, 24 pixels at the border left out, where a filter cannot know
what moved in; noise of sigma 2 and 8 bits after the blur. The Wiener filter is told
the kernel, the networks are not.
Inpainting: squares of 256 pixels from the middle of the pictures, PSNR of the RGB
values in the holes alone. The perceptual distance is the shift-tolerant LPIPS (alex)
of whole pictures; outside the holes, inpainted ones are equal to the truth, so there
it is a distance of what fills the holes. A second judge of another family,
EfficientNet-Lite0, compares features in their places (`content`), which is squared
error again and prefers a mean, and their Gram matrices (`style`). `box25` is one
rectangle of a quarter of the picture. Networks run as they do for users, in the
default precision.

    python -m benchmarks.restoration [--set5 FOLDER] [--only NAME ...] [--task NAME]
                                     [--folder FOLDER] [--write]

`--only upscale_x4_pixel` judges this network and what it is compared with, and leaves
the record as it is. `--task upscale` judges the networks of one task, and puts its part
into the record.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F

from pltutorial import (
    blend_networks,
    bundled,
    bundled_names,
    denoise,
    inpaint,
    read_image,
    upscale,
)
from pltutorial.degradations import (
    add_camera_noise,
    add_noise,
    blur_with,
    crop_to_multiple,
    defocus_kernel,
    downscale,
    motion_kernel,
    random_boxes,
    random_holes,
    to_8_bits,
)
from pltutorial.distances import content_distance, second_judge, style_distance
from pltutorial.errors import InputError
from pltutorial.images import middle_square, write_whole
from pltutorial.metrics import perceptual_distance, psnr, ssim
from pltutorial.networks import load_network, save_network
from pltutorial.tasks.deblur import deblur

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "notebooks" / "records" / "restoration.json"
KEPT = Path(__file__).with_suffix(".json")
FOLDER = "pltutorial/assets/restoration"
TASKS = ("upscale", "denoise", "deblur", "inpaint")
FACTORS, SIGMAS, SHARES = (4, 8), (15, 25, 50), (10, 20, 40)
CAMERA, SMEAR = ("camera", 25), 1.0  # pixels
BOX = 25  # percent of the picture, one rectangle
BLENDS = (0.25, 0.5, 0.75)
BASELINES = ("bicubic", "non_local_means", "blurred", "wiener", "biharmonic")
BLURS = {
    "motion9": lambda: motion_kernel(9, math.radians(30)),
    "disc2": lambda: defocus_kernel(2),
}
BLUR_SIGMA, EDGE = 2, 24
BALANCES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # of the Wiener filter
SQUARE = 256
# Of non-local means: h over sigma, side of the patches, how far it searches, and
# whether the fast algorithm is used, whose patches are square instead of Gaussian. All
# are tried on middle squares of TUNED pixels of data/test.
STRENGTHS, PATCHES, REACHES, FAST, TUNED = (
    (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1),
    (3, 5, 7),
    (6, 11),
    (True, False),
    96,
)

Pictures = dict[str, Path]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--set5",
        metavar="FOLDER",
        help="a folder with the five pictures of Set5 as PNG",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="networks, and no record"
    )
    parser.add_argument("--task", choices=TASKS, help="one task, and its part alone")
    parser.add_argument("--folder", default=FOLDER, help="where the networks are")
    parser.add_argument(
        "--write", action="store_true", help="put the numbers into the cards"
    )
    given = parser.parse_args()
    sets = {"test": {name: bundled(f"test/{name}") for name in bundled_names("test")}}
    if given.set5:
        files = sorted(Path(given.set5).glob("*.png"))
        if len(files) != 5:
            raise InputError(
                f"{given.set5!r} holds {len(files)} PNG files; give the "
                "folder of the five of Set5"
            )
        sets["set5"] = {f"set5_{number}": path for number, path in enumerate(files, 1)}
    paths = {
        name: path
        for name, path in networks(Path(given.folder), given.only).items()
        if name.startswith(given.task or "")
    }
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    found = {
        "upscale": {
            name: {
                f"x{factor}": enlarged(files, factor, paths, given.only is None)
                for factor in FACTORS
                if wanted(paths, f"upscale_x{factor}")
            }
            for name, files in sets.items()
            if wanted(paths, "upscale")
        },
        "denoise": {
            name: {
                f"{kind}{sigma}": denoised(files, kind, sigma, paths, kept)
                for kind, sigma in (*(("sigma", each) for each in SIGMAS), CAMERA)
            }
            for name, files in sets.items()
            if wanted(paths, "denoise")
        },
        "deblur": {
            name: {blur: deblurred(files, blur, paths, kept) for blur in BLURS}
            for name, files in sets.items()
            if wanted(paths, "deblur")
        },
        "inpaint": {
            name: {
                damage: inpainted(files, damage, paths, kept)
                for damage in (*(f"holes{share}" for share in SHARES), f"box{BOX}")
            }
            for name, files in sets.items()
            if wanted(paths, "inpaint")
        },
    }
    found = {task: results for task, results in found.items() if results}
    show(found)
    failed = show_bounds(found)
    if given.only is None:
        whole = {"what": __doc__.split("\n\n")[1].replace("\n", " ")} | facts(given)
        before = json.loads(RECORD.read_text(encoding="utf-8")) if given.task else {}
        others = {task: before[task] for task in TASKS if task in before}
        store(RECORD, whole | others | found | {"tuning": tuning(kept)})
    if given.write:
        for name, path in paths.items():
            network = load_network(path, "cpu")
            save_network(
                path, network, {**network.card, "held_out": held_out(name, found)}
            )
    return int(failed)


def networks(folder: Path, only: list[str] | None) -> Pictures:
    """Files by name: NAME.safetensors, or NAME/network.safetensors as
    training leaves it.
    """
    files = {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
    files |= {
        path.parent.name: path for path in sorted(folder.glob("*/network.safetensors"))
    }
    for name in only or ():
        if name not in files:
            raise InputError(
                f"there is no network {name!r} in {str(folder)!r}; known "
                f"are {', '.join(files)}"
            )
    tasks = ("upscale_x4", "upscale_x8", "denoise", "deblur", "inpaint")
    return {
        n: path
        for n, path in files.items()
        if n.startswith(tasks) and (not only or n in only)
    }


def wanted(paths: Pictures, start: str) -> bool:
    return any(name.startswith(start) for name in paths)


@cache
def network(path: Path) -> torch.nn.Module:
    return load_network(path)


def methods_of(paths: Pictures, start: str) -> dict[str, torch.nn.Module]:
    """The networks of a task by their loss: pixel, feature or combined."""
    return {
        n.removeprefix(start + "_"): network(p)
        for n, p in paths.items()
        if n.startswith(start + "_")
    }


# --- the tasks ------------------------------------------------------------------------


def enlarged(
    files: Pictures, factor: int, paths: Pictures, blends: bool
) -> dict[str, dict]:
    """Means over the pictures for nearest pixels, bicubic, each network, and blends of
    the weights of two.
    """
    trained = methods_of(paths, f"upscale_x{factor}")
    work = {
        name: lambda small, n=n: upscale(small, network=n)
        for name, n in trained.items()
    }
    if blends and {"pixel", "feature"} <= trained.keys():
        for share in BLENDS:
            mixed = blend_networks(trained["pixel"], trained["feature"], share)
            work[f"blend_{share}"] = lambda small, n=mixed: upscale(small, network=n)
    work = {
        "nearest": lambda small: larger(small, factor, "nearest"),
        "bicubic": lambda small: larger(small, factor),
    } | work
    rows: dict[str, list[dict]] = {name: [] for name in work}
    for path in files.values():
        target = crop_to_multiple(read_image(path), factor)
        small = downscale(target, factor)
        for name, method in work.items():
            rows[name].append(enlargement(method(small), target, factor))
    return {name: means(values) for name, values in rows.items()}


def larger(small: torch.Tensor, factor: int, mode: str = "bicubic") -> torch.Tensor:
    """What needs no training."""
    how = {"align_corners": False} if mode == "bicubic" else {}
    return F.interpolate(small, scale_factor=factor, mode=mode, **how).clamp(0, 1)


def enlargement(
    output: torch.Tensor, target: torch.Tensor, factor: int
) -> dict[str, float]:
    return {
        "psnr": psnr(output, target, border=factor).item(),
        "ssim": ssim(output, target, border=factor).item(),
        "distance": perceptual_distance(output, target).item(),
    }


def denoised(
    files: Pictures, kind: str, sigma: int, paths: Pictures, kept: dict
) -> dict[str, dict]:
    """Means over the pictures for the noisy picture itself, tuned non-local
    means and each network; ``kind`` is ``"sigma"`` for independent noise or
    ``"camera"``.
    """
    work = {
        name: lambda noisy, n=n: denoise(noisy, network=n)
        for name, n in methods_of(paths, "denoise").items()
    }
    rows: dict[str, list[dict]] = {
        name: [] for name in ("noisy", "non_local_means", *work)
    }
    for number, (picture, path) in enumerate(files.items()):
        target = read_image(path)
        seed = 1000 * sigma + number
        if kind == "camera":
            noisy = add_camera_noise(target, sigma, SMEAR, generator=seed)
        else:
            noisy = add_noise(target, sigma, seed)
        rows["noisy"].append(cleanness(noisy.clamp(0, 1), target))
        how = tuned(sigma, kept)
        rows["non_local_means"].append(
            keep(
                kept,
                f"non_local_means/{picture}/{kind}{sigma}/{how}",
                lambda t=target, x=noisy, how=how: cleanness(
                    non_local_means(x, sigma, **how), t
                ),
            )
        )
        for name, method in work.items():
            rows[name].append(cleanness(method(noisy), target))
    return {name: means(values) for name, values in rows.items()}


def cleanness(output: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    return {
        "psnr": psnr(output, target, channel="rgb").item(),
        "ssim": ssim(output, target, channel="rgb").item(),
        "distance": perceptual_distance(output, target).item(),
    }


def non_local_means(
    noisy: torch.Tensor, sigma: float, h: float, patch: int, reach: int, fast: bool
) -> torch.Tensor:
    """scikit-image's non-local means (Buades et al. 2005), which is told the noise's
    standard deviation.
    """
    from skimage.restoration import denoise_nl_means

    array = noisy[0].permute(1, 2, 0).numpy()
    clean = denoise_nl_means(
        array,
        patch_size=patch,
        patch_distance=reach,
        h=h * sigma / 255,
        sigma=sigma / 255,
        fast_mode=fast,
        channel_axis=-1,
    )
    return torch.from_numpy(clean).permute(2, 0, 1)[None].float().clamp(0, 1)


def tuned(sigma: int, kept: dict) -> dict:
    """The settings of non-local means with the highest mean PSNR on data/test: tuned on
    what it is judged on.

    All strengths, patches and both algorithms with the first reach, then all
    strengths with the others.
    """

    def gain(how: dict) -> float:
        key = f"tuning/sigma{sigma}/{TUNED}/{json.dumps(how)}"
        return keep(kept, key, lambda: trial(sigma, how))["psnr"]

    grid = itertools.product(STRENGTHS, PATCHES, REACHES[:1], FAST)
    best = max(
        (
            dict(zip(("h", "patch", "reach", "fast"), values, strict=True))
            for values in grid
        ),
        key=gain,
    )
    wider = [
        best | {"h": h, "reach": reach}
        for h, reach in itertools.product(STRENGTHS, REACHES[1:])
    ]
    return max([best, *wider], key=gain)


def trial(sigma: int, how: dict) -> dict[str, float]:
    """The mean PSNR of non-local means on the middle of the pictures of data/test, cut
    out and not shrunk.
    """
    values = []
    for number, name in enumerate(bundled_names("test")):
        target = read_image(bundled(f"test/{name}"))
        top, left = ((side - TUNED) // 2 for side in target.shape[-2:])
        target = target[..., top : top + TUNED, left : left + TUNED]
        noisy = add_noise(target, sigma, number)
        values.append(
            psnr(non_local_means(noisy, sigma, **how), target, channel="rgb").item()
        )
    return {"psnr": round(sum(values) / len(values), 3)}


def tuning(kept: dict) -> dict:
    """What was found best for each sigma and each blur, for the record."""
    return {f"sigma{sigma}": tuned(sigma, kept) for sigma in SIGMAS} | {
        blur: {"balance": balance(blur, kept)} for blur in BLURS
    }


def deblurred(files: Pictures, blur: str, paths: Pictures, kept: dict) -> dict:
    """Means over the pictures for the blurred picture itself, the tuned Wiener filter
    and each network.
    """
    work = {
        name: lambda blurred, n=n: deblur(blurred, network=n)
        for name, n in methods_of(paths, "deblur").items()
    }
    rows: dict[str, list[dict]] = {name: [] for name in ("blurred", "wiener", *work)}
    for number, (picture, path) in enumerate(files.items()):
        target = read_image(path)
        given = blurred_with_noise(target, blur, number)
        rows["blurred"].append(sharpness(given, target))
        best = balance(blur, kept)
        rows["wiener"].append(
            keep(
                kept,
                f"wiener/{picture}/{blur}/{best}",
                lambda t=target, x=given, best=best: sharpness(
                    wiener(x, BLURS[blur](), best), t
                ),
            )
        )
        for name, method in work.items():
            rows[name].append(sharpness(method(given), target))
    return {name: means(values) for name, values in rows.items()}


def sharpness(output: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    return cleanness(*(x[..., EDGE:-EDGE, EDGE:-EDGE] for x in (output, target)))


def blurred_with_noise(target: torch.Tensor, blur: str, number: int) -> torch.Tensor:
    """What the networks are given: blurred, noise added, rounded to 8 bits."""
    blurred = blur_with(target, BLURS[blur]()[None])
    return to_8_bits(add_noise(blurred, BLUR_SIGMA, 1000 * BLUR_SIGMA + number))


def wiener(blurred: torch.Tensor, kernel: torch.Tensor, balance: float) -> torch.Tensor:
    """scikit-image's Wiener filter (Orieux et al. 2010), which is told the kernel. It
    takes a picture for periodic, so a reflected margin is put around it, and taken off.
    """
    from skimage.restoration import wiener as restore

    margin = min(64, *(side - 1 for side in blurred.shape[-2:]))
    padded = F.pad(blurred, (margin,) * 4, mode="reflect")[0].numpy()
    planes = [restore(plane, kernel.numpy(), balance) for plane in padded]
    sharp = torch.stack([torch.from_numpy(plane) for plane in planes])[None].float()
    return sharp[..., margin:-margin, margin:-margin].clamp(0, 1)


def balance(blur: str, kept: dict) -> float:
    """The balance of the Wiener filter with the highest mean PSNR on data/test: tuned
    on what it is judged on.
    """

    def gain(value: float) -> float:
        key = f"tuning/{blur}/{value:g}"
        return keep(kept, key, lambda: attempt(blur, value))["psnr"]

    return max(BALANCES, key=gain)


def attempt(blur: str, value: float) -> dict[str, float]:
    """The mean PSNR of the Wiener filter on data/test."""
    values = []
    for number, name in enumerate(bundled_names("test")):
        target = read_image(bundled(f"test/{name}"))
        sharp = wiener(blurred_with_noise(target, blur, number), BLURS[blur](), value)
        values.append(psnr(sharp, target, border=EDGE, channel="rgb").item())
    return {"psnr": round(sum(values) / len(values), 3)}


def inpainted(
    files: Pictures, damage: str, paths: Pictures, kept: dict
) -> dict[str, dict]:
    """Means over the pictures for a mean colour, biharmonic
    inpainting and each network; ``damage`` is strokes, such as ``"holes20"``, or a
    ``"box25"``.
    """
    work = {
        name: lambda x, m, n=n: inpaint(x, m, network=n)
        for name, n in methods_of(paths, "inpaint").items()
    }
    rows: dict[str, list[dict]] = {
        name: [] for name in ("mean_colour", "biharmonic", *work)
    }
    for number, (picture, path) in enumerate(files.items()):
        target = to_8_bits(middle_square(path, SQUARE))
        share = int(damage.removeprefix("holes").removeprefix("box")) / 100
        mask = (box if damage.startswith("box") else holes)(share, number)
        rows["mean_colour"].append(filling(mean_colour(target, mask), target, mask))
        rows["biharmonic"].append(
            keep(
                kept,
                f"biharmonic/{picture}/{damage}",
                lambda t=target, m=mask: filling(biharmonic(t, m), t, m),
            )
        )
        for name, method in work.items():
            rows[name].append(filling(method(target, mask), target, mask))
    return {name: means(values) for name, values in rows.items()}


def holes(share: float, number: int) -> torch.Tensor:
    """The first mask, of a fixed row of seeds, that has about this share of holes."""
    for seed in range(1000):
        mask = random_holes(
            1,
            SQUARE,
            SQUARE,
            min(0.9, share + 0.05),
            [[number, round(100 * share), seed]],
        )
        if abs(float(mask.mean()) - share) < 0.015:
            return mask
    raise AssertionError(f"no mask of {share:.0%} in a thousand")


def box(share: float, number: int) -> torch.Tensor:
    """A rectangle of about this share, in a place that the number decides."""
    for seed in range(1000):
        mask = random_boxes(1, SQUARE, SQUARE, share, [[number, seed]])
        if float(mask.mean()) > 0.95 * share:
            return mask
    raise AssertionError(f"no box of {share:.0%} in a thousand")


def mean_colour(target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    known = 1 - mask
    return (
        target * known + (target * known).sum((2, 3), keepdim=True) / known.sum() * mask
    )


def biharmonic(target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """scikit-image's biharmonic inpainting (Damelin and Hoang 2018): the smoothest
    surface through the rim.
    """
    from skimage.restoration import inpaint_biharmonic

    array = (target * (1 - mask))[0].permute(1, 2, 0).numpy()
    drawn = inpaint_biharmonic(array, mask[0, 0].numpy() > 0, channel_axis=-1)
    drawn = torch.from_numpy(drawn).permute(2, 0, 1)[None].float().clamp(0, 1)
    return target * (1 - mask) + drawn * mask


def filling(
    output: torch.Tensor, target: torch.Tensor, mask: torch.Tensor
) -> dict[str, float]:
    """PSNR of what fills the holes, and the distances of the pictures, which are equal
    elsewhere: by the shift-tolerant LPIPS, and by the features of EfficientNet-Lite0 in
    their places and by their Gram matrices, which know no places.
    """
    judge = second_judge(target.device)
    output = output * mask + target * (1 - mask)
    error = float(
        ((to_8_bits(output) - target).double() ** 2 * mask).sum() / (3 * mask.sum())
    )
    return {
        "psnr": -10 * math.log10(error),
        "distance": perceptual_distance(output, target).item(),
        "content": content_distance(to_8_bits(output), target).item(),
        "style": style_distance(to_8_bits(output), target, network=judge).item(),
    }


# --- keeping and showing --------------------------------------------------------------


def keep(kept: dict, key: str, work) -> dict[str, float]:
    """What does not depend on a network is computed once and kept in a file, so that an
    interrupted run goes on.
    """
    if key not in kept:
        start = time.perf_counter()
        kept[key] = work()
        store(KEPT, kept)
        if (seconds := time.perf_counter() - start) > 2:
            print(f"{key}: {kept[key]} in {seconds:.0f} s", flush=True)
    return kept[key]


def store(path: Path, facts: dict) -> None:
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    path.parent.mkdir(exist_ok=True)
    write_whole(path, lambda file: file.write(text.encode()))


def means(rows: list[dict[str, float]]) -> dict:
    """The mean of each number, and the numbers of the pictures in their order."""
    names = list(rows[0])
    digits = {"psnr": 3, "ssim": 4, "distance": 4, "content": 4, "style": 4}
    mean = {
        name: round(sum(row[name] for row in rows) / len(rows), digits[name])
        for name in names
    }
    return mean | {
        "pictures": [[round(row[name], digits[name]) for name in names] for row in rows]
    }


def facts(given: argparse.Namespace) -> dict:
    packages = ("torch", "numpy", "scikit-image", "stlpips_pytorch")
    command = "python -m benchmarks.restoration" + " --set5 FOLDER" * bool(given.set5)
    return {"command": command, "versions": {name: version(name) for name in packages}}


def held_out(name: str, found: dict) -> dict:
    """What is measured of one network, and of what it is compared
    with, for its card.
    """
    task, *factor, loss = name.split("_")
    numbers: dict = {}
    for where, cases in found.get(task, {}).items():
        for case, methods in cases.items():
            if loss in methods and factor in ([], [case]):
                rows = {"this network": methods[loss]} | {
                    m: methods[m] for m in BASELINES if m in methods
                }
                for method, row in rows.items():
                    kept = {
                        key: value for key, value in row.items() if key != "pictures"
                    }
                    numbers.setdefault(where, {}).setdefault(case, {})[method] = kept
    return {"measured by": "benchmarks/restoration.py"} | numbers


def show(found: dict) -> None:
    for task, sets in found.items():
        for where, cases in sets.items():
            for case, methods in cases.items():
                for method, row in methods.items():
                    numbers = f"{row['psnr']:7.2f} dB  " + (
                        f"{row['ssim']:.4f}" if "ssim" in row else " " * 6
                    )
                    print(
                        f"{task:8s} {where:5s} {case:8s} {method:16s} {numbers}  "
                        f"distance {row['distance']:.4f}"
                        + "".join(
                            f"  {judge} {row[judge]:.4f}"
                            for judge in ("content", "style")
                            if judge in row
                        )
                    )


def bounds(found: dict) -> list[tuple[str, float, str, float]]:
    """(what, value, at least or at most, bound) for all that was measured."""
    rows: list[tuple[str, float, str, float]] = []

    def case(task: str, where: str, name: str) -> dict:
        return found.get(task, {}).get(where, {}).get(name, {})

    x4, x8 = case("upscale", "set5", "x4"), case("upscale", "set5", "x8")
    if x4:
        rows.append(
            (
                "Set5 x4, bicubic against the published 28.4 to 28.6 dB, off by",
                abs(x4["bicubic"]["psnr"] - 28.6),
                "<=",
                0.1,
            )
        )
    if "pixel" in x4:
        rows.append(("Set5 x4, pixel, PSNR", x4["pixel"]["psnr"], ">=", 31.4))
    if "feature" in x4:
        rows.append(
            ("Set5 x4, feature, distance", x4["feature"]["distance"], "<=", 0.105)
        )
        rows.append(("Set5 x4, feature, PSNR", x4["feature"]["psnr"], ">=", 28.3))
    if "pixel" in x8:
        rows.append(
            (
                "Set5 x8, pixel over bicubic, dB",
                x8["pixel"]["psnr"] - x8["bicubic"]["psnr"],
                ">=",
                1.2,
            )
        )
    # nearest pixels are blocks with sharp edges, and this measure forgives
    # them more than blur
    if "feature" in x8:
        for other, bound in (("bicubic", 0.9), ("pixel", 0.9), ("nearest", 1.0)):
            if other in x8:
                ratio = x8["feature"]["distance"] / x8[other]["distance"]
                rows.append(
                    (f"Set5 x8, feature, distance over {other}", ratio, "<=", bound)
                )
    noise = case("denoise", "test", "sigma25")
    if "pixel" in noise:
        gain = noise["pixel"]["psnr"] - noise["non_local_means"]["psnr"]
        rows.append(
            ("data/test, sigma 25, pixel over non-local means, dB", gain, ">=", 1.0)
        )
    for where in found.get("denoise", {}):
        smeared = case("denoise", where, "camera25")
        if {"camera", "pixel"} <= smeared.keys():
            gain = smeared["camera"]["psnr"] - smeared["pixel"]["psnr"]
            rows.append(
                (f"{where}, a camera's noise, trained on it, dB", gain, ">=", 2)
            )
        for sigma in SIGMAS:
            noise = case("denoise", where, f"sigma{sigma}")
            if {"pixel", "combined"} <= noise.keys():
                ratio = noise["combined"]["distance"] / noise["pixel"]["distance"]
                rows.append(
                    (
                        f"{where}, sigma {sigma}, combined, distance over pixel",
                        ratio,
                        "<=",
                        1.0,
                    )
                )
    for where in found.get("deblur", {}):
        for blur in BLURS:
            made = case("deblur", where, blur)
            if "combined" in made:
                gain = made["combined"]["psnr"] - made["blurred"]["psnr"]
                rows.append(
                    (f"{where}, {blur}, dB over doing nothing", gain, ">=", 1.5)
                )
                ratio = made["combined"]["distance"] / made["blurred"]["distance"]
                rows.append(
                    (f"{where}, {blur}, distance over nothing", ratio, "<=", 0.8)
                )
    for where, damages in found.get("inpaint", {}).items():
        for damage, filled in damages.items():
            asked = (
                ("combined", "biharmonic", "distance"),
                ("combined", "pixel", "distance"),
                ("adversarial", "biharmonic", "distance"),
                ("adversarial", "biharmonic", "style"),
            )
            for one, other, judge in asked:
                if {one, other} <= filled.keys() and judge in filled[other]:
                    ratio = filled[one][judge] / filled[other][judge]
                    what = f"{where}, {damage}, {one}, {judge} over {other}"
                    rows.append((what, ratio, "<=", 1.0))
    return rows


def show_bounds(found: dict) -> bool:
    failed = False
    for what, value, way, bound in bounds(found):
        holds = value >= bound if way == ">=" else value <= bound
        failed |= not holds
        print(f"{'ok' if holds else 'FAILS':6s}{what}: {value:.4g} ({way} {bound:g})")
    return failed


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as problem:
        sys.exit(f"error: {problem}")
