"""What the commands ask for before they begin, against what the process then grows by:
the estimate is to be within 1.5 of the truth, from 512 to 4096 pixels::

    python -m benchmarks.memory [--write] [denoise:4096 ...]

Each row in a process of its own, float32, one thread; Linux only. Of the tiles of a
picture two of each shape are computed, and the others are taken for black: memory is
measured and not time. Two steps of L-BFGS fill a history of two. ``--write`` puts the
rows that were measured into ``benchmarks/memory.json``, each with the commit that it
was measured at.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

RECORD = Path(__file__).with_suffix(".json")
WITHIN = 1.5
TILED = ("denoise", "deblur", "inpaint", "colorize", "invert", "upscale")
# side of the picture in pixels; of `sample` the number of pictures
ROWS = dict.fromkeys(("denoise as bytes", *TILED), (512, 1024, 2048, 4096))
ROWS |= {
    **dict.fromkeys(("transfer", "reconstruct", "texture"), (512, 1024, 2048)),
    "stylize": (512, 1024, 2048, 4096),
    "restyle": (512, 1024, 2048, 4096),
    "compare": (512, 1024, 2048),
    "read": (1024, 2048, 4096),
    "read as bytes": (1024, 2048, 4096),
    "resize": (1024, 2048, 4096),
    "sample": (5_000, 20_000),
    "sample by diffusion": (1_000,),
}


def one(name: str, size: int) -> dict:
    """A row, in this process."""
    import torch

    from pltutorial import apply, memory, optimize
    from pltutorial.tasks import restyle, style

    torch.set_num_threads(1)
    asked: list[float] = []

    def noted(real: Callable) -> Callable:
        def ask(*given, **how):
            needed = real(*given, **how)
            asked.append(sum(needed) if isinstance(needed, tuple) else needed)
            return needed

        return ask

    for module in (apply, style, restyle, optimize):
        module.memory_needed = noted(module.memory_needed)
    check = memory.check
    memory.check = lambda needed, *given, **how: (
        asked.append(needed),
        check(needed, *given, **how),
    )
    apply.in_tiles = _two_of_each_shape(apply.in_tiles)
    given, work = _work(name)
    work(given(100 if name.startswith("sample") else 64))
    asked.clear()
    what = given(size)  # is there already when it is asked what is free
    Path("/proc/self/clear_refs").write_text("5")
    before = _now("VmRSS")
    work(what)
    grown = _now("VmHWM") - before
    return {
        "asked": round(max(asked) / 1e9, 3),
        "grown": round(grown / 1e9, 3),
        "ratio": round(max(asked) / grown, 2),
    }


def _work(name: str) -> tuple[Callable, Callable]:
    """What is given for a side, and what is done with it."""
    import torch

    import pltutorial
    from pltutorial.compare import compare
    from pltutorial.images import to_bytes

    def image(side: int) -> torch.Tensor:
        return torch.rand(1, 3, side, side)

    def holed(side: int) -> tuple[torch.Tensor, torch.Tensor]:
        holes = torch.zeros(1, 1, side, side)
        holes[..., 5::100, 5::100] = 1  # some in each tile
        return image(side), holes

    def sample(count: int, **how) -> object:
        from pltutorial.tasks.vae import _run

        network = pltutorial.zoo.load_diffusion if how else pltutorial.zoo.load_vae
        network = network("diffusion" if how else "pixel", "cpu")
        return _run(network, None, precision="float32", count=count, **how)

    def file(side: int) -> Path:
        path = Path(tempfile.gettempdir()) / f"memory-{side}.png"
        if not path.exists():
            pltutorial.write_image(path, image(side))
        return path

    settings = {"steps": 4, "history_size": 2, "progress": False}
    exact = {"precision": "float32"}
    small = image(64)
    kinds = {
        "denoise as bytes": (
            lambda side: to_bytes(image(side)),
            lambda picture: pltutorial.denoise(picture, **exact),
        ),
        "inpaint": (holed, lambda both: pltutorial.inpaint(*both, **exact)),
        "transfer": (
            image,
            lambda picture: pltutorial.transfer_style(
                picture, small, sizes=(picture.shape[-1],), **settings, **exact
            ),
        ),
        "stylize": (
            image,
            lambda picture: pltutorial.stylize(picture, "great_wave", **exact),
        ),
        "restyle": (
            image,
            lambda picture: pltutorial.restyle(picture, small, **exact),
        ),
        "reconstruct": (
            image,
            lambda picture: pltutorial.reconstruct_features(
                picture, sizes=(picture.shape[-1],), **settings, **exact
            ),
        ),
        "texture": (
            image,
            lambda picture: pltutorial.reconstruct_style(
                picture, sizes=(picture.shape[-1],), **settings, **exact
            ),
        ),
        "compare": (image, lambda picture: compare(picture, picture)),
        "read": (file, pltutorial.read_image),
        "read as bytes": (
            file,
            lambda path: pltutorial.read_image(path, dtype=torch.uint8),
        ),
        "resize": (
            image,
            lambda picture: pltutorial.resize(picture, picture.shape[-1] + 1),
        ),
        "sample": (int, sample),
        "sample by diffusion": (int, lambda count: sample(count, steps=1)),
    }
    plain = lambda picture: getattr(pltutorial, name)(picture, **exact)  # noqa: E731
    return kinds.get(name, (image, plain))


def _two_of_each_shape(in_tiles: Callable) -> Callable:
    def cheaper(work: Callable, images: tuple, **how):
        seen: dict = {}

        def known(*parts):
            key = tuple(part.shape for part in parts)
            times, black = seen.get(key, (0, None))
            if times == 2:  # the first is computed before there is a result
                return black
            made = work(*parts)
            black = made.new_zeros(()).expand(made.shape)  # takes no memory
            seen[key] = times + 1, black
            return made

        return in_tiles(known, images, **how)

    return cheaper


def _now(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{name}:\s+(\d+)", status)[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="NAME:SIZE", help=", ".join(ROWS))
    parser.add_argument("--write", action="store_true", help=f"into {RECORD.name}")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one[0], int(given.one[1]))))
        return 0
    rows = given.rows or [f"{name}:{size}" for name in ROWS for size in ROWS[name]]
    far = 0
    for row in rows:
        name, _, size = row.rpartition(":")
        ran = subprocess.run(
            [sys.executable, "-m", "benchmarks.memory", "--one", name, size],
            cwd=RECORD.parents[1],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        if ran.returncode:
            said = ran.stderr.splitlines()[-1] if ran.stderr else f"{ran.returncode}"
            print(f"{row}: not measured ({said})", flush=True)
            continue
        found = json.loads(ran.stdout.splitlines()[-1])
        is_far = not 1 / WITHIN < found["ratio"] < WITHIN
        far += is_far
        print(
            f"{row}: {found['asked']:.2f} GB asked, {found['grown']:.2f} grown, "
            f"{found['ratio']:.2f}{' TOO FAR' if is_far else ''}",
            flush=True,
        )
        if given.write:
            write(name, size, found)
    return int(far > 0)


def write(name: str, size: str, found: dict) -> None:
    """Put a row into the record."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=RECORD.parent, capture_output=True, text=True)
    rows = record.setdefault(name, {})
    rows[size] = {**found, "commit": commit.stdout.strip()}
    record[name] = {size: rows[size] for size in sorted(rows, key=int)}
    ordered = {name: record[name] for name in ROWS if name in record}
    RECORD.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
