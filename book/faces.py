"""Draw the cartoon faces of chapters 9 to 12: `python book/faces.py` writes
data/faces/train.zip and test.zip; `--count 10000 --seed 7 --to FOLDER` draws more, as
FOLDER/faces.zip.

The faces are DiceBear's toon-head, drawn by Johan Melin, CC BY 4.0. They need Node.js
and its packages, which `npm ci --prefix book/dicebear` installs. Every attribute is
drawn by itself from the seed and the face's number, and handed over as DiceBear's
options; what DiceBear says it drew is compared with it and stored. (Left to DiceBear,
the attributes of successive seeds go together.) Half of the faces have no beard and
half no hair at the back, as DiceBear has it; everything else is equally frequent.

A face is rendered at 192 pixels on white, each 4 x 4 become one, and 64 colours are
kept, in a lossless WebP. The zip holds them and attributes.csv.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from pltutorial.faces import ATTRIBUTES, TABLE  # noqa: E402

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "data" / "faces"
PROGRAM = HERE / "dicebear" / "draw.mjs"
SIZE, COLOURS = 48, 64
SEEDS = {"train": (0, 2400), "test": (1, 600)}
AT_ONCE = 300
OPTIONAL = ("rear_hair", "beard")  # half of the faces have none
# what DiceBear calls them: its option, and its values in the order of ATTRIBUTES
DICEBEAR = {
    "rear_hair": ("rearHair", "longStraight longWavy shoulderHigh neckHigh"),
    "hair": ("hair", "sideComed undercut spiky bun"),
    "eyes": ("eyes", "happy wide bow humble wink"),
    "mouth": ("mouth", "laugh angry agape smile sad"),
    "brows": ("eyebrows", "raised angry happy sad neutral"),
    "beard": ("beard", "moustacheTwirl fullBeard chin chinMoustache longBeard"),
    "clothes": ("clothes", "turtleNeck openJacket dress shirt tShirt"),
    "hair_color": ("hairColor", "2c1b18 724133 a55728 b58143 d6b370"),
    "skin_color": ("skinColor", "f1c3a5 c68e7a b98e6a a36b4f 5c3829"),
    "clothes_color": (
        "clothesColor",
        "545454 b11f1f 0b3286 147f3c eab308 731ac3 ec4899 f97316 151613 e8e9e6",
    ),
}

Face = dict[str, str]  # an attribute's value by its name


def chosen(seed: int, number: int) -> Face:
    """The attributes of one face."""
    draws = numpy.random.default_rng([seed, number]).random((len(ATTRIBUTES), 2))
    face = {}
    for (name, values), (first, second) in zip(ATTRIBUTES.items(), draws, strict=True):
        if name in OPTIONAL and first < 0.5:
            face[name] = "none"
        else:
            some = values[1:] if name in OPTIONAL else values
            face[name] = some[int(second * len(some))]
    return face


def faces(seed: int, count: int, but: list[Face] = ()) -> list[Face]:
    """So many different faces, none of which is one of ``but``."""
    seen = {tuple(face.values()) for face in but}
    found, number = [], 0
    while len(found) < count:
        face = chosen(seed, number)
        number += 1
        if tuple(face.values()) not in seen:
            seen.add(tuple(face.values()))
            found.append(face)
    return found


def options(face: Face) -> dict:
    """A face as DiceBear's options."""
    found: dict = {"seed": "face"}
    for name, (option, values) in DICEBEAR.items():
        own = values.split()
        if name in OPTIONAL:
            found[f"{option}Probability"] = 0 if face[name] == "none" else 100
            own = ["none", *own]
        value = own[ATTRIBUTES[name].index(face[name])]
        if value != "none":
            found[option] = [value]
    return found


def drawn(extra: dict) -> Face:
    """What DiceBear says it drew, in the words of ATTRIBUTES."""
    face = {}
    for name, (option, values) in DICEBEAR.items():
        own = ["none"] * (name in OPTIONAL) + values.split()
        value = (extra.get(option) or "none").removeprefix("#")
        face[name] = ATTRIBUTES[name][own.index(value)]
    return face


def draw(given: list[Face]) -> list[numpy.ndarray]:
    """The pictures (48, 48, 3) of faces, uint8.

    Raises:
        RuntimeError: Node.js or its packages are missing, or drew something else.
    """
    node = shutil.which("node")
    if node is None or not (PROGRAM.parent / "node_modules").is_dir():
        raise RuntimeError(
            "the faces are drawn by Node.js and packages of it; install Node.js 18 or "
            "newer, then run: npm ci --prefix book/dicebear"
        )
    pictures = []
    for start in range(0, len(given), AT_ONCE):
        some = given[start : start + AT_ONCE]
        done = subprocess.run(
            [node, PROGRAM],
            input=json.dumps([options(face) for face in some]).encode(),
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"draw.mjs failed: {done.stderr.decode()[-500:]}")
        said = [drawn(json.loads(line)) for line in done.stderr.splitlines()]
        if said != some:
            raise RuntimeError("DiceBear drew other faces than it was asked for")
        pixels = numpy.frombuffer(done.stdout, numpy.uint8)
        pictures += list(pixels.reshape(len(some), SIZE, SIZE, 3))
    return pictures


def encode(picture: numpy.ndarray) -> bytes:
    """A lossless WebP of few colours."""
    few = Image.fromarray(picture).quantize(
        COLOURS, Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE
    )
    file = io.BytesIO()
    few.convert("RGB").save(file, "WEBP", lossless=True, quality=100, method=6)
    return file.getvalue()


def archive(path: Path, given: list[Face], pictures: list[numpy.ndarray]) -> None:
    """A zip of pictures and their table, the same bytes on every run and system."""
    names = [f"{number:05d}.webp" for number in range(len(given))]
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["file", *ATTRIBUTES])
    writer.writerows(
        [name, *face.values()] for name, face in zip(names, given, strict=True)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as target:
        members = [(TABLE, table.getvalue().encode(), zipfile.ZIP_DEFLATED)]
        members += [
            (name, encode(picture), zipfile.ZIP_STORED)
            for name, picture in zip(names, pictures, strict=True)
        ]
        for name, data, method in members:
            member = zipfile.ZipInfo(name)  # of 1980, the earliest time a zip can tell
            member.create_system, member.compress_type = 3, method
            target.writestr(member, data)


def main(arguments: list[str] | None = None) -> int:
    """Write the archives."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--count", type=int, help="so many other faces, in one zip")
    parser.add_argument("--seed", type=int, default=2, help="which other faces")
    parser.add_argument("--to", type=Path, default=FOLDER, help="the folder")
    given = parser.parse_args(arguments)
    train = faces(*SEEDS["train"])
    test = faces(*SEEDS["test"], but=train)
    parts = {"test": test, "train": train}
    if given.count is not None:
        # no bundled face is among them
        parts = {"faces": faces(given.seed, given.count, but=train + test)}
    try:
        for part, some in parts.items():
            path = given.to / f"{part}.zip"
            archive(path, some, draw(some))
            size = path.stat().st_size / 1e6
            print(f"{path.name}: {len(some)} faces, {size:.2f} MB")
    except RuntimeError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
