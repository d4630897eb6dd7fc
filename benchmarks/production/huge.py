"""Pictures larger than memory: what a process takes at its peak, as the system counts
it (ru_maxrss), and how far tiles are from the whole.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch
from PIL import Image

from pltutorial import (
    bundled,
    bundled_names,
    deblur,
    denoise,
    read_image,
    resize,
    stylize,
    upscale,
)
from pltutorial.apply import in_tiles

SIGMA = 10  # of the noise that is laid over the photographs, of 255
SMALL, LARGE = (2000, 3000), 10_000  # sides
# the same work in floats: 4 bytes a value, as a picture is for all that is trained
AS_FLOATS = """
import sys
from pltutorial import denoise, read_image, write_image
write_image(sys.argv[2], denoise(read_image(sys.argv[1]), "pixel"))
"""
# A process counts as its own peak that of the one it was started by, if this is higher:
# so it is started by one that holds next to nothing.
LAUNCH = """
import os, sys
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
print(used.ru_maxrss, used.ru_utime + used.ru_stime)
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""
NOTHING = """
from pltutorial import zoo
zoo.load_restorer("denoise", "pixel", device="cpu")
"""


def measured() -> dict:
    with tempfile.TemporaryDirectory() as folder:
        rows = list(_rows(Path(folder)))
    growth = {name: _growth(rows, name) for name in ("denoise", "denoise as floats")}
    return {
        "rows": rows,
        "bytes_a_pixel": growth,
        "tiles": {
            "denoise": tiles("denoise"),
            "deblur": tiles("deblur", 500),
            "upscale": tiles("upscale", 500),
        },
        "stylize_in_tiles": style_in_tiles(),
    }


def _rows(folder: Path):
    """Each command on each picture: what it took."""
    yield {"what": "nothing but the network", **took(["-c", NOTHING])}
    command = ["-m", "pltutorial"]
    denoised = [*command, "denoise", "--loss", "pixel"]
    floats = ["-c", AS_FLOATS]
    style = [*command, "stylize", "--style", "great_wave"]
    enlarged = [*command, "upscale", "--loss", "pixel"]
    for side in SMALL:
        path = noisy(folder, side)
        yield _row("denoise as floats", side, [*floats, path, folder / "out.png"])
        yield _row("denoise", side, [*denoised, path, "-o", folder / "out.png"])
    for side in (1000, 2000):
        path = noisy(folder, side)
        yield _row("stylize", side, [*style, path, "-o", folder / "out.png"])
    path = noisy(folder, LARGE // 4)
    row = _row("upscale", LARGE // 4, [*enlarged, path, "-o", folder / "out.png"])
    yield row | {"megapixels_made": LARGE**2 / 1e6}
    path = noisy(folder, LARGE)
    yield _row("denoise", LARGE, [*denoised, path, "-o", folder / "out.png"])


def _row(what: str, side: int, arguments: list) -> dict:
    row = {"what": what, "megapixels": side**2 / 1e6, **took(arguments)}
    print(row, file=sys.stderr, flush=True)
    return row


def took(arguments: list) -> dict:
    """What a Python process took: its peak, and seconds of processor time."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", TQDM_DISABLE="1")
    words = [sys.executable, *map(str, arguments)]
    launch = [sys.executable, "-I", "-S", "-c", LAUNCH, *words]
    done = subprocess.run(launch, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{words[1:]}: {done.stderr}")
    kilobytes, seconds = done.stdout.splitlines()[-1].split()
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "peak_mb": round(unit * int(kilobytes) / 1e6),
        "computing_s": round(float(seconds), 1),
    }


def noisy(folder: Path, side: int) -> Path:
    """A square picture as a file: the bundled photographs side by side, enlarged, under
    noise of a seed; some rows at a time, so that it fits wherever the command does.
    """
    path = folder / f"{side}.png"
    if path.is_file():
        return path
    names = [f"{kind}/{n}" for kind in ("test", "content") for n in bundled_names(kind)]
    draw, cell = numpy.random.default_rng(side), min(side, 2500)
    whole = Image.new("RGB", (side, side))
    for number in range(-((-side // cell) ** 2)):
        top, left = (cell * place for place in divmod(number, -(-side // cell)))
        with Image.open(bundled(names[number % len(names)])) as photo:
            photo = photo.convert("RGB").resize((cell, cell), Image.Resampling.BICUBIC)
        values = numpy.asarray(photo, numpy.float32)
        noise = SIGMA * draw.standard_normal(values.shape, dtype=numpy.float32)
        values = (values + noise).round().clip(0, 255).astype(numpy.uint8)
        whole.paste(Image.fromarray(values), (left, top))
    whole.save(path, compress_level=1)
    return path


def _growth(rows: list[dict], name: str) -> float:
    """Bytes a pixel, by the two largest pictures."""
    one, two = [row for row in rows if row["what"] == name][-2:]
    return round(
        (two["peak_mb"] - one["peak_mb"]) / (two["megapixels"] - one["megapixels"]), 1
    )


# --- tiles and the whole --------------------------------------------------------------

FUNCTIONS = {"denoise": denoise, "deblur": deblur, "upscale": upscale}


def tiles(name: str, side: int = 1000, tile: int = 300) -> dict:
    """The largest difference, of 255, between a picture in tiles and in one piece: in
    floats, and of the bytes that are written; and of tiles that see too little.
    """
    side, tile = (side // 4, tile // 4) if name == "upscale" else (side, tile)
    photo = resize(read_image(bundled("test/monarch")), (side, side))
    values = (255 * photo).round().to(torch.uint8)
    work, floats = FUNCTIONS[name], values.float() / 255
    whole, cut = (work(floats, tile=size) for size in (10**6, tile))
    one, other = (work(values, tile=size).int() for size in (10**6, tile))

    def alone(part: torch.Tensor) -> torch.Tensor:
        return work(part, tile=10**6)

    factor = whole.shape[-1] // side
    blind = in_tiles(alone, (floats,), reach=0, tile=tile, factor=factor)
    return {
        "side": side,
        "tile": tile,
        "floats": round(255 * float((cut - whole).abs().max()), 4),
        "bytes": int((one - other).abs().max()),
        "bytes_and_floats": round(float((one - 255 * whole).abs().max()), 3),
        "without_overlap": round(255 * float((blind - whole).abs().max()), 1),
    }


def style_in_tiles(side: int = 512, tile: int = 256, overlap: int = 64) -> dict:
    """Mean difference, of 255, between a print made in tiles that overlap and one made
    in one piece: its instance normalisation looks at the whole.
    """
    photo = resize(read_image(bundled("test/sail")), (side, side))
    whole = stylize(photo, "great_wave")
    cut = in_tiles(
        lambda part: stylize(part, "great_wave"),
        (photo,),
        reach=overlap,
        tile=tile,
        fold=4,
    )
    change = 255 * (cut - whole).abs()
    return {
        "side": side,
        "tile": tile,
        "overlap": overlap,
        "mean": round(float(change.mean()), 1),
        "largest": round(float(change.max())),
    }
