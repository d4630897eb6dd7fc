"""The bundled emoji: how many, how large, whole, different, and drawn by the script
in the repository.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy
import pytest
import torch
from helpers import refused
from PIL import Image, features

from pltutorial import bundled, bundled_names
from pltutorial.datasets import Pictures

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "data" / "emoji"
COUNTS = {"train": 847, "test": 94}
# NotoColorEmoji.ttf 2.042
DRAWN_FROM = "e5899ed38b8ed83e08bd3ac5de09791e9d19d288333a796de1d35ad17396f1ec"

sys.path.insert(0, str(ROOT / "book"))
emoji = importlib.import_module("emoji")
sys.path.pop(0)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pixels(data: bytes) -> numpy.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "RGB"
        return numpy.asarray(picture).astype(numpy.float32)


@pytest.fixture(scope="module")
def parts() -> dict[str, dict[str, bytes]]:
    return {part: members(bundled(f"emoji/{part}.zip")) for part in COUNTS}


@pytest.fixture(scope="module")
def arrays(parts) -> dict[str, numpy.ndarray]:
    return {
        part: numpy.stack([pixels(data) for data in parts[part].values()])
        for part in COUNTS
    }


def test_bundled_finds_the_zips(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert bundled_names("emoji") == ["test.zip", "train.zip"]
    assert bundled("emoji/train.zip").samefile(FOLDER / "train.zip")
    with refused("'emoji/trein.zip'", "'train.zip'"):
        bundled("emoji/trein.zip")
    with refused("'emoji/train'", "'train.zip'"):
        bundled("emoji/train")


def test_counts_and_bytes(parts):
    assert {part: len(parts[part]) for part in parts} == COUNTS
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_100_000
    rows = {
        row["file"]: row
        for row in csv.DictReader((ROOT / "data/SOURCES.csv").open(encoding="utf-8"))
    }
    for part, count in COUNTS.items():
        assert rows[f"emoji/{part}.zip"]["pixels"] == f"{count} of 64x64"
    assert "SIL OPEN FONT LICENSE Version 1.1" in (FOLDER / "LICENSE").read_text(
        encoding="utf-8"
    )


def test_names_and_split(parts):
    """Every tenth in the order of code points is for testing, and no code
    point is in both parts.
    """
    names = sorted(
        (name for part in parts for name in parts[part]),
        key=lambda name: int(name.split("_")[0], 16),
    )
    assert len({name.split("_")[0] for name in names}) == sum(COUNTS.values())
    assert list(parts["test"]) == names[9::10]
    for name in names:
        assert name == f"{emoji.named(int(name.split('_')[0], 16))}.webp"
    assert "1f600_grinning_face.webp" in names


def test_pictures_are_whole_and_centred(arrays):
    for array in (*arrays["train"], *arrays["test"]):
        assert array.shape == (64, 64, 3)
        ink = (array < 200).any(2)
        rows, columns = numpy.flatnonzero(ink.any(1)), numpy.flatnonzero(ink.any(0))
        assert min(rows[0], columns[0], 63 - rows[-1], 63 - columns[-1]) >= 1
        assert array[[0, 0, -1, -1], [0, -1, 0, -1]].min() > 240


def test_no_picture_is_almost_another(arrays):
    """Nor its mirror image: a flipped training picture would be a test picture."""
    train, test = arrays["train"], arrays["test"]
    for array in test:
        for mirrored in (array, array[:, ::-1]):
            # as stored the colours are rounded, hence a little less than
            # the script asks for
            assert (
                numpy.abs(train - mirrored).mean((1, 2, 3)).min() > 0.75 * emoji.ALIKE
            )


def test_pictures_reads_them_whole(parts, arrays):
    pictures = Pictures(bundled("emoji/train.zip"), 64, zoom=(1.0, 1.0), flip=False)
    assert len(pictures) == COUNTS["train"]
    stored = {array.tobytes() for array in arrays["train"].astype(numpy.uint8)}
    seen = set()
    for n in range(len(pictures)):
        crop, broken = pictures[n]
        assert crop.shape == (3, 64, 64)
        assert not broken
        seen.add(
            (crop * 255)
            .round()
            .to(torch.uint8)
            .permute(1, 2, 0)
            .contiguous()
            .numpy()
            .tobytes()
        )
    assert seen == stored  # every picture once, to the last bit


def test_almost_equal_pictures_are_found():
    rng = numpy.random.default_rng(0)
    first = rng.integers(0, 256, (64, 64, 3), numpy.uint8)
    other = rng.integers(0, 256, (64, 64, 3), numpy.uint8)
    near = numpy.where(first > 127, first - 1, first + 1)
    pictures = {1: first, 2: other, 3: near, 4: first[:, ::-1], 5: other.copy()}
    assert list(
        emoji.distinct(
            {code: Image.fromarray(array) for code, array in pictures.items()}
        )
    ) == [1, 2]


def test_archives_are_the_same_on_every_run(tmp_path):
    for name in ("a.zip", "b.zip"):
        emoji.archive(tmp_path / name, {"z.webp": b"1" * 700, "a.webp": b"2"})
        os.utime(tmp_path / name, (0, 0))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert [
            (member.filename, member.date_time[0]) for member in archive.infolist()
        ] == [
            ("z.webp", 1980),
            ("a.webp", 1980),
        ]


@pytest.mark.parametrize("given", ["nowhere.ttf", "text.ttf"])
def test_missing_font_is_one_sentence(tmp_path, given):
    (tmp_path / "text.ttf").write_text("no font")
    command = [
        sys.executable,
        "book/emoji.py",
        "--font",
        str(tmp_path / given),
        "--to",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "fonts-noto-color-emoji" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(
    not emoji.FONT.is_file(),
    reason=(
        "Debian's package fonts-noto-color-emoji is not installed, so "
        "nothing can be drawn"
    ),
)
def test_the_script_draws_what_is_stored(tmp_path, parts, capsys):
    """The same bytes with the same encoder; with another, the same pictures but
    for a few colours.
    """
    if hashlib.sha256(emoji.FONT.read_bytes()).hexdigest() != DRAWN_FROM:
        pytest.skip(
            "the installed Noto Color Emoji is another version than 2.042, from which "
            "the pictures were drawn"
        )
    assert emoji.main(["--to", str(tmp_path)]) == 0
    assert "train.zip: 847 pictures" in capsys.readouterr().out
    for part in COUNTS:
        drawn = members(tmp_path / f"{part}.zip")
        assert list(drawn) == list(parts[part])
        for name, data in drawn.items():
            assert numpy.abs(pixels(data) - pixels(parts[part][name])).mean() < 2, name
        if Image.__version__ == "13.0.0" and features.version("webp") == "1.6.0":
            assert (tmp_path / f"{part}.zip").read_bytes() == (
                FOLDER / f"{part}.zip"
            ).read_bytes()
