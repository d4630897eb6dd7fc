"""What the fuzz campaign is made of: hostile values, bytes that are changed, and a
folder of pictures, a network and what is no file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

PLAIN = """
| |-|--|.|..|/|0|-1|1|2|3.5|-0.0|1e999|nan|inf|0x10|1_000|64|0.5|1,2,3|true|None|[]|{}
|great_wave|great_wave:0|great_wave:-1|great_wave:1e400|great_wafe|poppies:0.3|a,b|a:0.5
|:|,|*|%s|$HOME|~nobody/x|relu3_3|relu9_9|luminance|histogram|cpu|cuda:7|meta|float16
|bfloat16|pixel|ok.png|ok.jpg|ok.gif|text.png|empty.png|pipe.png|pipe.safetensors
|loop.png|device.png|folder|net.safetensors|nothing/x.png|x.webp|out.png|inside/out.png
|ok.png/out.png|{0..99999999}|x-{0..3}.tar|https://127.0.0.1:9/x.png"""
PLAIN = PLAIN.replace("\n", "").split("|")
LONG = ["9" * 30, "9" * 5000, "a" * 300, "a/" * 60 + "b"]
WORDS = [*PLAIN, *LONG, "\u0661", "\u00e4 \u00f6.png", "\udce4.png", "a\nb.png", "\0"]
NUMBERS = [0, 1, -1, 2, 3, 7, 255, 256, *(2**n for n in (15, 31, 32, 53, 63, 64))]


def changed(data: bytes, draw: random.Random) -> bytes:
    """Bytes with a few of them changed, cut, doubled or written over by numbers."""
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        place = draw.randrange(len(data) + 1)
        if draw.random() < 0.5:  # heads hold what decides
            place = min(place, draw.randrange(200))
        kind = draw.randrange(6)
        if kind == 0:
            data[place : place + 1] = bytes([draw.randrange(256)])
        elif kind == 1:
            size = draw.choice((1, 2, 4, 8))
            number = draw.choice(NUMBERS) % 256**size
            data[place : place + size] = number.to_bytes(
                size, draw.choice(("big", "little"))
            )
        elif kind == 2:
            del data[place : place + draw.choice((1, 4, 100, 10_000))]
        elif kind == 3:
            data[place:place] = data[place : place + draw.choice((4, 64, 1000))]
        elif kind == 4:
            data[place:place] = draw.randbytes(draw.choice((1, 8, 64)))
        elif draw.random() < 0.2:
            data = data[:place]
    return bytes(data)


def anything(draw: random.Random, depth: int = 0):
    """A value such as JSON and YAML hold."""
    kinds = ["number", "word", "none", "bool", "float"]
    kinds += ["list", "dict"] if depth < 4 else []
    kind = draw.choice(kinds)
    if kind == "number":
        return draw.choice(NUMBERS) * draw.choice((1, 1, -1, 10**20))
    if kind == "word":
        return draw.choice([*PLAIN, *LONG])
    if kind == "float":
        return draw.choice((0.0, -0.0, 0.5, 1e308, 1e-320, float("nan"), float("inf")))
    if kind == "list":
        return [anything(draw, depth + 1) for _ in range(draw.randrange(4))]
    if kind == "dict":
        return {draw.choice(WORDS[:20]): anything(draw, depth + 1) for _ in range(3)}
    return draw.choice((True, False)) if kind == "bool" else None


# --- the folder -----------------------------------------------------------------------


def make_folder() -> None:
    """Pictures, a network and what is no file, in the working folder."""
    import numpy
    from PIL import Image

    values = numpy.random.default_rng(0).integers(0, 255, (24, 32, 4), numpy.uint8)
    rgba, rgb = Image.fromarray(values), Image.fromarray(values[..., :3])
    for ending in ("png", "jpg", "webp", "tif", "bmp", "avif", "ppm", "jp2", "tga"):
        with contextlib.suppress(OSError, KeyError):
            rgb.save(f"ok.{ending}")
    rgba.save("alpha.png")
    rgb.convert("P").save("palette.png", transparency=3)
    rgb.convert("CMYK").save("cmyk.jpg")
    Image.fromarray(values[..., 0].astype(numpy.uint16) * 257).save("deep.png")
    Image.fromarray(values[..., 0].astype(numpy.float32)).save("float.tif")
    more = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    for name in ("ok.gif", "frames.webp", "frames.png", "pages.tif"):
        rgb.save(name, **more)
    Path("map.pfm").write_bytes(b"PF\n4 3\n-1.0\n" + bytes(144))
    Path("text.png").write_text("no picture")
    Path("empty.png").touch()
    Path("folder").mkdir()
    rgb.save("folder/ok.png")
    os.mkfifo("pipe.png")
    os.mkfifo("pipe.safetensors")
    Path("loop.png").symlink_to("loop.png")
    Path("device.png").symlink_to("/dev/zero")
    from pltutorial import zoo
    from pltutorial.networks import save_network

    style = zoo.load_style("great_wave", "cpu")
    save_network("net.safetensors", style.only("great_wave"))
    for name, kind in (
        ("ok.zip", zipfile.ZIP_STORED),
        ("packed.zip", zipfile.ZIP_DEFLATED),
    ):
        with zipfile.ZipFile(name, "w", kind) as archive:
            archive.write("ok.png")
            archive.write("ok.jpg")
    with tarfile.open("ok.tar", "w") as archive:
        archive.add("ok.png")
        archive.add("ok.jpg")


def copied(model: Path, folder: Path) -> None:
    """The folder once more: links stay links and pipes pipes."""
    for path in model.iterdir():
        target = folder / path.name
        if path.is_symlink():
            target.symlink_to(path.readlink())
        elif path.is_fifo():
            os.mkfifo(target)
        elif path.is_dir():
            shutil.copytree(path, target)
        else:
            shutil.copy(path, target)


def kept(folder: Path) -> dict[str, str]:
    """What must be there afterwards: names with the hash, or the kind, of each file."""
    state = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        what = hex(stat.S_IFMT(mode))
        if stat.S_ISREG(mode):
            what = hashlib.sha256(path.read_bytes()).hexdigest()
        state[str(path.relative_to(folder))] = what
    return state
