"""Learned likeness in numbers: `python -m benchmarks.likeness
[--runs FOLDER] [--write]`.

Inverters, autoencoders and colourisers are judged on middle squares of 192 pixels of
the photographs of data/test and data/content, VAEs on the first 100
faces of data/faces/test.zip; no network was trained on any of them. PSNR is of RGB; the
perceptual distance is the shift-tolerant LPIPS (alex); the feature distance is the
relative squared error in relu5 of that AlexNet; sharpness is the variance of the
Laplacian of Y. Networks run as they do for users.

The record notebooks/records/likeness.json is what chapters 8 and 9 read; it holds what
was found and nothing else: the networks that ship, and those of --runs, where a
recipe's run lies as NAME/network.safetensors. Of the latter notebooks/records/likeness/
keeps small pictures. With --write record, pictures and the cards of what ships are
written. The exit status is 1 if a bound does not hold. --add NAME measures one network
of colours that has come to --folder, and puts it into the record that is there.

    python -m benchmarks.likeness [--runs runs] [--write] [--add NAME]
                                  [--folder pltutorial/assets/likeness]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from pltutorial import (
    LossNetwork,
    bundled,
    bundled_names,
    invert,
    keep_strongest,
    reencode,
)
from pltutorial import reconstruct_features as optimise
from pltutorial.color import brightness_of
from pltutorial.deepsim import kl_divergence
from pltutorial.device import best_device
from pltutorial.errors import InputError
from pltutorial.faces import load_faces
from pltutorial.images import middle_square, to_picture, write_whole
from pltutorial.metrics import (
    diversity,
    feature_distance,
    perceptual_distance,
    psnr,
    sharpness,
)
from pltutorial.networks import encode, load_network, save_network
from pltutorial.training.cards import processor

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "notebooks" / "records" / "likeness.json"
STRIPS = RECORD.with_suffix("")
FOLDER = "pltutorial/assets/likeness"
SETS, SIDE, SHOWN, QUALITY = ("test", "content"), 192, 128, 82
NAME = re.compile(
    r"invert_(?P<layer>relu\d_\d|pool\d)_(?P<variant>image|image_adv|feature_adv|"
    r"feature_image|deepsim)|(?P<task>autoencoder|vae|colorize)_(?P<loss>[a-z]+)"
)
# of a picture's name, after that of its network
STEM = re.compile("_(samples|reconstructions)$")
VARIANTS = ("image", "image_adv", "feature_adv", "feature_image", "deepsim")
ROUNDS = 8
STRONGEST = {"position": (5, 50), "code": (5, 50, 500, 5000)}
OPTIMISED, STEPS = ("kodim23", "monarch"), 100
# a latent unit is active if its mean varies more (Burda et al. 2016, section 5.2)
SAMPLES, ACTIVE = 64, 0.01
FULL_OVER_IMAGE = 0.75  # of the perceptual distance: what DeePSiM is to save
DIGITS = {
    "psnr": 3,
    "sharpness": 6,
    "colourfulness": 2,
    "kl": 2,
    "share": 5,
    "diversity": 4,
}

Files = dict[str, Path]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", default="runs", metavar="FOLDER", help="where networks were trained"
    )
    parser.add_argument(
        "--folder", default=FOLDER, help="where the networks that ship are"
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="write the record, its pictures and the cards",
    )
    parser.add_argument(
        "--add", metavar="NAME", help="one network alone: colours or a VAE"
    )
    given = parser.parse_args()
    if given.add:
        return add(given.add, Path(given.folder) / f"{given.add}.safetensors")
    shipped, others = networks(Path(given.folder)), networks(Path(given.runs))
    files = others | shipped
    if not any(role(name) for name in files):
        raise InputError(
            f"there is no network of learned likeness in {given.folder!r} or "
            f"{given.runs!r}; train one with `pltutorial train invert`"
        )
    strips: dict[str, torch.Tensor] = {}
    found = measured(files, strips)
    strips = {
        stem: picture
        for stem, picture in strips.items()
        if STEM.sub("", stem) not in shipped
    }
    trained = {
        name: facts(path, name in shipped)
        for name, path in files.items()
        if wanted(name, files)
    }
    failed = show(found)
    if given.write:
        packages = ("torch", "numpy", "scikit-image", "stlpips_pytorch")
        head = {
            "what": "\n\n".join(__doc__.split("\n\n")[1:2]).replace("\n", " "),
            "command": "python -m benchmarks.likeness --write",
            "versions": {name: version(name) for name in packages},
            "machine": processor(best_device()),
            "side": SIDE,
            "shown": SHOWN,
            "pictures": {name: bundled_names(name) for name in SETS},
            "networks": trained,
            "strips": {stem: f"{STRIPS.name}/{stem}.jpg" for stem in strips},
        }
        store(RECORD, head | found)
        write_strips(strips)
        for name, path in shipped.items():
            if numbers := held_out(name, found):
                network = load_network(path, "cpu")
                save_network(path, network, {**network.card, "held_out": numbers})
    return int(failed)


def add(name: str, path: Path) -> int:
    """Measure one network of colours or VAE that ships and put it into the record."""
    record, known = json.loads(RECORD.read_text(encoding="utf-8")), role(name)
    if known is None or known["task"] not in ("colorize", "vae"):
        raise InputError(
            f"{name!r} was given; give the name of a network of colours or of a VAE"
        )
    if known["task"] == "vae":
        record["vae"] |= vaes({known["loss"]: path}, {})
        print(f"{name} {record['vae'][known['loss']]}")
    else:
        for where in SETS:
            rows = colourised({name: path}, where, {})
            record["colorization"][where][known["loss"]] = rows[known["loss"]]
            print(f"{name} {where} {words(rows[known['loss']])}")
    record["networks"][name] = facts(path, shipped=True)
    store(RECORD, record)
    added, numbers = load_network(path, "cpu"), held_out(name, record)
    save_network(path, added, {**added.card, "held_out": numbers})
    return 0


# --- what there is --------------------------------------------------------------------


def networks(folder: Path) -> Files:
    """Files by name: NAME.safetensors, or NAME/network.safetensors as
    training leaves it.
    """
    files = {
        path.parent.name: path for path in sorted(folder.glob("*/network.safetensors"))
    }
    return files | {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def role(name: str) -> re.Match | None:
    """The layer and variant of an inverter, or the task and loss of another network;
    None if it is in no table.
    """
    return NAME.fullmatch(name)


def wanted(name: str, files: Files) -> bool:
    """Is it in a table, or the first stage, NAME_1, of one that is?"""
    return bool(
        role(name)
        or (role(name.removesuffix("_1")) and name.removesuffix("_1") in files)
    )


@cache
def network(path: Path) -> torch.nn.Module:
    return load_network(path).requires_grad_(False)


@cache
def encoder() -> LossNetwork:
    return LossNetwork()


def facts(path: Path, shipped: bool) -> dict:
    """What a reader must know of the training, from the network's card."""
    card = network(path).card
    start = card.get("settings", {}).get("start")
    known = {
        name: card[name] for name in ("steps", "seconds", "machine") if name in card
    }
    return {
        "shipped": shipped,
        **known,
        **({"start": Path(start).parent.name} if start else {}),
    }


def inverters(files: Files, only: tuple[str, ...] = VARIANTS) -> dict[str, Files]:
    """Files by layer, the shallow ones first, and by variant."""
    found: dict[str, Files] = {}
    for name, path in sorted(files.items()):
        if (known := role(name)) and known["variant"] in only:
            found.setdefault(known["layer"], {})[known["variant"]] = path
    order = {name: number for number, name in enumerate(VARIANTS)}
    return {
        layer: dict(sorted(paths.items(), key=lambda x: order[x[0]]))
        for layer, paths in found.items()
    }


def others(files: Files, task: str) -> Files:
    """Files of autoencoders, VAEs or colourisers by loss."""
    known = {name: role(name) for name in sorted(files)}
    return {
        match["loss"]: files[name]
        for name, match in known.items()
        if match and match["task"] == task
    }


@cache
def photographs(folder: str) -> torch.Tensor:
    return torch.cat(
        [
            middle_square(bundled(f"{folder}/{name}"), SIDE)
            for name in bundled_names(folder)
        ]
    )


@cache
def faces(part: str) -> torch.Tensor:
    """Faces of one part, (N, 3, 48, 48): all that are trained on, and 100 that are
    not.
    """
    pictures = load_faces(part).pictures
    return pictures[:100] if part == "test" else pictures


# --- measuring ------------------------------------------------------------------------


def measured(files: Files, strips: dict[str, torch.Tensor]) -> dict:
    """Every table of which there is at least one network."""
    found = {
        "baselines": baselines(),
        "inversion": {name: inverted(files, name, strips) for name in SETS},
        "reencoding": {
            layer: {variant: reencoded(path) for variant, path in paths.items()}
            for layer, paths in inverters(files, ("image", "deepsim")).items()
        },
        "strongest": {
            layer: {variant: strongest(path) for variant, path in paths.items()}
            for layer, paths in inverters(files, ("image", "deepsim")).items()
            if "deepsim" in paths
        },
        "optimisation": {
            layer: optimisation(layer, paths, strips)
            for layer, paths in inverters(files, ("image", "deepsim")).items()
            if "deepsim" in paths
        },
        "autoencoder": {name: autoencoded(files, name, strips) for name in SETS},
        "vae": vaes(others(files, "vae"), strips),
        "colorization": {name: colourised(files, name, strips) for name in SETS},
    }
    for task in ("autoencoder", "colorization"):
        found[task] = {name: rows for name, rows in found[task].items() if rows}
    found["bounds"] = [
        {
            "what": what,
            "value": round(value, 4),
            "way": way,
            "bound": bound,
            "holds": holds(value, way, bound),
        }
        for what, value, way, bound in bounds(found)
    ]
    return found


def row(output: torch.Tensor, target: torch.Tensor, full: bool = True) -> dict:
    """Means over the pictures, and the numbers of each in their order."""
    values = {
        "psnr": psnr(output, target, channel="rgb"),
        "distance": perceptual_distance(output, target),
    }
    if full:
        values |= {
            "feature_distance": feature_distance(output, target),
            "sharpness": sharpness(output),
        }
    return rounded(
        {name: float(numbers.mean()) for name, numbers in values.items()}
    ) | {
        "pictures": [
            rounded(dict(zip(values, one, strict=True)))
            for one in zip(*values.values(), strict=True)
        ]
    }


def rounded(values: dict) -> dict:
    return {
        name: round(float(value), DIGITS.get(name, 4)) for name, value in values.items()
    }


def baselines() -> dict:
    """What needs no network: the mean colour of each picture, and the sharpness and
    colours of the pictures.
    """
    found = {}
    for name in SETS:
        target = photographs(name)
        mean = target.mean((2, 3), keepdim=True).expand_as(target)
        truth = rounded(
            {
                "sharpness": float(sharpness(target).mean()),
                "colourfulness": colourful(target),
            }
        )
        found[name] = {"mean_colour": row(mean, target), "truth": truth}
    return found


def inverted(files: Files, where: str, strips: dict[str, torch.Tensor]) -> dict:
    """Each inverter of each layer."""
    found: dict[str, dict] = {}
    for layer, paths in inverters(files).items():
        for variant, path in paths.items():
            output = drawn(photographs(where), path)
            found.setdefault(layer, {})[variant] = row(output, photographs(where))
            if where == "test":
                strips[f"invert_{layer}_{variant}"] = strip(output)
    return found


def autoencoded(files: Files, where: str, strips: dict[str, torch.Tensor]) -> dict:
    found = {}
    for loss, path in others(files, "autoencoder").items():
        output = drawn(photographs(where), path)
        found[loss] = row(output, photographs(where))
        if where == "test":
            strips[f"autoencoder_{loss}"] = strip(output)
    return found


def drawn(images: torch.Tensor, path: Path, **how) -> torch.Tensor:
    return torch.cat(
        [
            invert(part, network(path), encoder=encoder(), **how).cpu()
            for part in images.split(4)
        ]
    )


def reencoded(path: Path) -> dict[str, list[float]]:
    """By round, on data/test: distances to the picture and to the round before,
    PSNR and sharpness.
    """
    target = before = photographs("test")
    found: dict[str, list[float]] = {
        "original": [],
        "previous": [],
        "psnr": [],
        "sharpness": [],
    }
    for image in reencode(target, ROUNDS, network(path), encoder=encoder()):
        image = image.cpu()
        found["original"].append(float(perceptual_distance(image, target).mean()))
        found["previous"].append(float(perceptual_distance(image, before).mean()))
        found["psnr"].append(float(psnr(image, target, channel="rgb").mean()))
        found["sharpness"].append(float(sharpness(image).mean()))
        before = image
    return {
        name: [round(v, DIGITS.get(name, 4)) for v in values]
        for name, values in found.items()
    }


def strongest(path: Path) -> dict:
    """On data/test: what is drawn of the largest activations alone (`kept`) and of
    all others (`rest`).

    `share` is their part of the sum of squares of the code, `of_code` of the number
    of its activations.
    """
    target = photographs("test")
    found: dict = {
        "none": bare(row(drawn(target, path, change=torch.zeros_like), target, False))
    }
    for place, counts in STRONGEST.items():
        for count in counts:
            shares = []

            def kept(
                code: torch.Tensor, count=count, place=place, shares=shares
            ) -> torch.Tensor:
                part = keep_strongest(code, count, of=place)
                shares.append(
                    [
                        float(
                            part.float().square().sum() / code.float().square().sum()
                        ),
                        count / numbers(code, place),
                    ]
                )
                return part

            def rest(code: torch.Tensor, count=count, place=place) -> torch.Tensor:
                return keep_strongest(code, count, of=place, complement=True)

            results = {
                "kept": drawn(target, path, change=kept),
                "rest": drawn(target, path, change=rest),
            }
            part = {
                name: bare(row(output, target, False))
                for name, output in results.items()
            }
            share, of_code = (
                sum(column) / len(column) for column in zip(*shares, strict=True)
            )
            part |= {"share": float(f"{share:.4g}"), "of_code": float(f"{of_code:.4g}")}
            found.setdefault(place, {})[str(count)] = part
    return found


def numbers(code: torch.Tensor, place: str) -> int:
    """Among how many activations the strongest are chosen."""
    return code.shape[1] if place == "position" else code[0].numel()


def optimisation(layer: str, paths: Files, strips: dict[str, torch.Tensor]) -> dict:
    """Chapter 2's way, a picture changed until its features fit, beside one pass of
    the trained networks.

    Seconds are the processor's, for one picture; on a GPU those of the clock.
    """
    clock = time.process_time if best_device().type == "cpu" else time.perf_counter
    names = bundled_names("test")
    target = torch.cat(
        [photographs("test")[names.index(name)][None] for name in OPTIMISED]
    )
    start = clock()
    results = [
        optimise(
            image, layer, steps=STEPS, network=encoder(), progress=False
        ).image.cpu()
        for image in target.split(1)
    ]
    seconds = (clock() - start) / len(target)
    found = {"pictures": list(OPTIMISED), "steps": STEPS}
    output = torch.cat(results)
    strips[f"optimised_{layer}"] = strip(output)
    found["optimised"] = bare(row(output, target)) | {"seconds": round(seconds, 2)}
    for variant, path in paths.items():
        times = []
        for _ in range(3):
            start = clock()
            output = torch.cat([drawn(image, path) for image in target.split(1)])
            times.append((clock() - start) / len(target))
        found[variant] = bare(row(output, target)) | {"seconds": round(min(times), 3)}
        found[variant]["times_faster"] = round(seconds / min(times))
    return found


@torch.inference_mode()
def vaes(files: Files, strips: dict[str, torch.Tensor]) -> dict:
    """Reconstructions of faces never seen, 64 samples of each VAE beside 64 real
    pictures, and what the KL term left.

    `kl` is in nats a picture; `active` counts latent units whose mean varies; `spread`
    is the variance of the codes of real pictures (of the means and around them),
    averaged over the units: 1 where they fill the prior.
    """
    if not files:
        return {}
    target = faces("test")
    real, mean = (
        target[:SAMPLES],
        faces("train").mean(0, keepdim=True).expand_as(target),
    )
    found = {
        "pictures": len(target),
        "samples": SAMPLES,
        "real": rounded(
            {"sharpness": float(sharpness(real).mean()), "diversity": diversity(real)}
        ),
        "mean_picture": bare(row(mean, target)),
    }
    for loss, path in files.items():
        vae = network(path)
        device = next(vae.parameters()).device
        given = (
            encode(target.to(device), vae.config["encoder"], encoder())
            if vae.fixed
            else target.to(device)
        )
        means, log_variances = vae.encode(given)
        output, samples = vae.decode(means).cpu(), vae.sample(SAMPLES).cpu()
        varies = means.var(0)
        made = {
            "sharpness": float(sharpness(samples).mean()),
            "diversity": diversity(samples),
        }
        found[loss] = {
            "reconstruction": bare(row(output, target)),
            "sampled": rounded(made),
            "kl": round(float(kl_divergence(means, log_variances).mean()), 2),
            "active": int((varies > ACTIVE).sum()),
            "latent": vae.latent,
            "spread": round(float((varies + log_variances.exp().mean(0)).mean()), 3),
        }
        strips[f"vae_{loss}_reconstructions"] = torch.cat([*output[:8]], 2)
        strips[f"vae_{loss}_samples"] = torch.cat(
            [torch.cat([*line], 2) for line in samples.split(8)], 1
        )
    return found


@torch.inference_mode()
def colourised(files: Files, where: str, strips: dict[str, torch.Tensor]) -> dict:
    """Each coloriser beside the picture without colours; `colourfulness` of the truth
    is in `baselines`.
    """
    paths, target = others(files, "colorize"), photographs(where)
    if not paths:
        return {}
    outputs = {"grey": brightness_of(target).expand(-1, 3, -1, -1)}
    for loss, path in paths.items():
        device = next(network(path).parameters()).device
        outputs[loss] = network(path)(outputs["grey"].to(device)).clamp(0, 1).cpu()
        if where == "test":
            strips[f"colorize_{loss}"] = strip(outputs[loss])
    return {
        name: row(output, target, False) | rounded({"colourfulness": colourful(output)})
        for name, output in outputs.items()
    }


def colourful(images: torch.Tensor) -> float:
    """The mean colourfulness of pictures, 0 for grey ones (Hasler and Suesstrunk 2003,
    equation for M3; 0-255).
    """
    red, green, blue = (255 * images.clamp(0, 1)).flatten(2).unbind(1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue])
    deviation = opponents.var(2, correction=0).sum(0).sqrt()
    return float((deviation + 0.3 * opponents.mean(2).square().sum(0).sqrt()).mean())


def bare(values: dict) -> dict:
    """Without the numbers of each picture."""
    return {name: value for name, value in values.items() if name != "pictures"}


# --- keeping and showing --------------------------------------------------------------


def strip(images: torch.Tensor) -> torch.Tensor:
    """The middle of each picture, not scaled, in one row (3, SHOWN, N SHOWN)."""
    edge = (images.shape[-1] - SHOWN) // 2
    return torch.cat([*images[..., edge : edge + SHOWN, edge : edge + SHOWN]], 2)


def write_strips(strips: dict[str, torch.Tensor]) -> None:
    """All pictures of the record, and no others."""
    STRIPS.mkdir(parents=True, exist_ok=True)
    files = {STRIPS / f"{stem}.jpg": picture for stem, picture in strips.items()}
    for path in set(STRIPS.glob("*.jpg")) - set(files):
        path.unlink()
    for path, image in files.items():
        picture = to_picture(image[None])
        write_whole(
            path,
            lambda file, p=picture: p.save(
                file, format="JPEG", quality=QUALITY, optimize=True
            ),
        )


def store(path: Path, record: dict) -> None:
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: file.write(text.encode()))


def held_out(name: str, found: dict) -> dict:
    """What is measured of one network, for its card; nothing for one
    that is in no table.
    """
    known = role(name)
    if known is None:
        return {}
    if known["task"] == "vae":
        numbers = {"data/faces/test.zip": found.get("vae", {}).get(known["loss"])}
    else:
        task = {"colorize": "colorization", None: "inversion"}.get(
            known["task"], known["task"]
        )
        rows = {where: found.get(task, {}).get(where, {}) for where in SETS}
        if known["layer"]:
            rows = {
                where: cases.get(known["layer"], {}) for where, cases in rows.items()
            }
        numbers = {
            where: cases.get(known["loss"] or known["variant"])
            for where, cases in rows.items()
        }
    numbers = {
        f"data/{k}".replace("data/data", "data"): bare(v)
        for k, v in numbers.items()
        if v
    }
    return {"measured by": "benchmarks/likeness.py"} | numbers if numbers else {}


def bounds(found: dict) -> list[tuple[str, float, str, float]]:
    """(what, value, at least or at most, bound) for all that was measured."""
    rows = []
    for where, layers in found["inversion"].items():
        for layer, cases in layers.items():
            if {"image", "deepsim"} <= cases.keys():
                ratio = cases["deepsim"]["distance"] / cases["image"]["distance"]
                rows.append(
                    (
                        f"data/{where}, {layer}, DeePSiM, distance over image",
                        ratio,
                        "<=",
                        FULL_OVER_IMAGE,
                    )
                )
    return rows


def holds(value: float, way: str, bound: float) -> bool:
    return value >= bound if way == ">=" else value <= bound


def show(found: dict) -> bool:
    """Print every table; True if a bound does not hold."""
    for table in ("baselines", "inversion", "autoencoder", "colorization"):
        for where, rows in found[table].items():
            for name, line in rows.items():
                cases = line if table == "inversion" else {"": line}
                for case, values in cases.items():
                    print(f"{table:13s} {where:8s} {name} {case:14s} {words(values)}")
    for layer, cases in found["reencoding"].items():
        for variant, rounds in cases.items():
            print(f"reencoding    {layer} {variant:10s} {words(rounds)}")
    for layer, cases in found["strongest"].items():
        for variant, places in cases.items():
            print(f"strongest     {layer} {variant:10s} none {words(places['none'])}")
            for place in STRONGEST:
                for count, values in places.get(place, {}).items():
                    print(
                        f"strongest     {layer} {variant:10s} {place} "
                        f"{count:>5s} {words(values)}"
                    )
    for layer, ways in found["optimisation"].items():
        for name, values in ways.items():
            print(f"optimisation  {layer} {name:10s} {words(values)}")
    for name, values in found["vae"].items():
        print(f"vae           {name:12s} {words(values)}")
    for line in found["bounds"]:
        print(
            f"{'holds' if line['holds'] else 'FAILS'}  {line['what']}: "
            f"{line['value']:.4g} ({line['way']} {line['bound']:g})"
        )
    return not all(line["holds"] for line in found["bounds"])


def words(values) -> str:
    if not isinstance(values, dict):
        return str(values)
    return "  ".join(
        f"{name} {words(value) if isinstance(value, dict) else value}"
        for name, value in bare(values).items()
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as problem:
        sys.exit(f"error: {problem}")
