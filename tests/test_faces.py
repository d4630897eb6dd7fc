"""The bundled faces: how many, how large, all different, named by their attributes, and
drawn by the script in the repository.
"""

from __future__ import annotations

import csv
import importlib
import io
import shutil
import sys
import zipfile
from pathlib import Path

import numpy
import pytest
import torch
from helpers import refused

from pltutorial import Pictures, VAESettings, VAETask, bundled, train
from pltutorial.faces import ATTRIBUTES, TABLE, Faces, load_faces

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "data" / "faces"
COUNTS = {"train": 2400, "test": 600}

sys.path.insert(0, str(ROOT / "book"))
book = importlib.import_module("faces")
sys.path.pop(0)


@pytest.fixture(scope="module")
def parts() -> dict[str, Faces]:
    return {part: load_faces(part) for part in COUNTS}


def rows(faces: Faces) -> list[tuple[int, ...]]:
    return list(zip(*(v.tolist() for v in faces.attributes.values()), strict=True))


def test_pictures_and_attributes_are_what_the_docstring_says(parts):
    for part, count in COUNTS.items():
        faces = parts[part]
        assert faces.pictures.shape == (count, 3, 48, 48)
        assert faces.pictures.dtype == torch.float32
        assert faces.pictures.min() >= 0
        assert faces.pictures.max() == 1
        assert list(faces.attributes) == list(faces.names) == list(ATTRIBUTES)
        for name, numbers in faces.attributes.items():
            assert numbers.shape == (count,)
            assert numbers.dtype == torch.int64
            assert numbers.unique().tolist() == list(range(len(faces.names[name])))


def test_the_bytes_the_table_of_sources_and_the_licence():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 3_000_000
    table = (ROOT / "data/SOURCES.csv").read_text(encoding="utf-8").splitlines()
    known = {row["file"]: row for row in csv.DictReader(table)}
    for part, count in COUNTS.items():
        row = known[f"faces/{part}.zip"]
        assert row["pixels"] == f"{count} of 48x48"
        assert (row["author"], row["licence"]) == ("Johan Melin", "CC-BY-4.0")


def test_no_face_is_there_twice(parts):
    """Neither within a part nor in both, by attributes; pictures differ with them."""
    train, test = rows(parts["train"]), rows(parts["test"])
    assert len({*train, *test}) == sum(COUNTS.values())
    seen = {picture.numpy().tobytes() for picture in parts["train"].pictures}
    # a dark brow on dark skin: a few differ in what cannot be seen
    assert len(seen) > 0.99 * COUNTS["train"]


def test_attributes_are_drawn_one_by_one(parts):
    """Each value as often as said, and no two attributes go together."""
    train = parts["train"].attributes
    for name, numbers in train.items():
        shares = numbers.bincount().double() / len(numbers)
        if name in book.OPTIONAL:
            assert abs(shares[0] - 0.5) < 0.05
            shares = shares[1:] * 2
        assert (shares * len(shares) - 1).abs().max() < 0.25, name
    names = list(train)
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            a, b = train[one], train[other]
            table = torch.zeros(a.max() + 1, b.max() + 1)
            table.index_put_((a, b), torch.ones(len(a)), accumulate=True)
            expected = table.sum(1, keepdim=True) * table.sum(0) / len(a)
            chi = ((table - expected).square() / expected).sum()
            free = (len(table) - 1) * (table.shape[1] - 1)
            assert chi < free + 5 * (2 * free) ** 0.5, (one, other)


def test_the_face_lies_on_white_and_shows_its_colours(parts):
    faces = parts["test"]
    corners = faces.pictures[:, :, [0, 0], [0, -1]]
    assert (corners > 0.97).all()
    # a cheek, and the lower edge left of the middle, in the colours of the table
    skin = faces.pictures[:, :, 28, 18]
    clothes = faces.pictures[:, :, 47, 14]
    for name, seen in (("skin_color", skin), ("clothes_color", clothes)):
        colours = book.DICEBEAR[name][1].split()
        wanted = torch.tensor([list(bytes.fromhex(one)) for one in colours]) / 255
        nearest = torch.cdist(seen, wanted).argmin(1)
        agree = (nearest == faces.attributes[name]).double().mean()
        assert agree > 0.75, name  # beards and bare shoulders cover some


def test_training_reads_the_same_pictures(parts):
    pictures = Pictures(bundled("faces/test.zip"), 48, zoom=(1.0, 1.0), flip=False)
    assert len(pictures) == COUNTS["test"]
    stored = {picture.numpy().tobytes() for picture in parts["test"].pictures}
    assert all(pictures[n][0].numpy().tobytes() in stored for n in range(20))


def test_what_is_no_zip_of_faces_is_one_sentence(tmp_path):
    with refused("'tests'", "the nearest is 'test'"):
        load_faces("tests")
    with refused("does not exist", "book/faces.py"):
        load_faces(tmp_path / "none.zip")
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes((FOLDER / "test.zip").read_bytes()[:9000])
    with refused("not a whole zip of faces", "book/faces.py"):
        load_faces(damaged)
    with refused("not a whole zip of faces"):
        load_faces(bundled("emoji/test.zip"))


# --- the script -----------------------------------------------------------------------


def test_the_script_chooses_what_is_stored(parts):
    train = book.faces(*book.SEEDS["train"])
    test = book.faces(*book.SEEDS["test"], but=train)
    for part, chosen in (("train", train), ("test", test)):
        numbers = [
            tuple(ATTRIBUTES[name].index(value) for name, value in face.items())
            for face in chosen
        ]
        assert numbers == rows(parts[part])


def test_options_and_what_was_drawn_are_each_other_s_inverse():
    for face in book.faces(3, 40):
        options = book.options(face)
        extra = {
            option: ("#" if option.endswith("Color") else "") + values[0]
            for option, values in options.items()
            if isinstance(values, list)
        }
        assert book.drawn(extra) == face
        assert options["beardProbability"] == 100 * (face["beard"] != "none")


def test_archives_are_the_same_on_every_run(tmp_path):
    some = book.faces(3, 2)
    rng = numpy.random.default_rng(0)
    pictures = list(rng.integers(0, 256, (2, 48, 48, 3), numpy.uint8))
    for name in ("a.zip", "b.zip"):
        book.archive(tmp_path / name, some, pictures)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        table = io.StringIO(archive.read(TABLE).decode())
        read = [dict(row) for row in csv.DictReader(table)]
    assert [{**face, "file": row["file"]} for face, row in zip(some, read)] == read  # noqa: B905


def test_without_node_it_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(book.shutil, "which", lambda name: None)
    assert book.main(["--count", "3", "--to", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "npm ci --prefix book/dicebear" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(
    shutil.which("node") is None
    or not (ROOT / "book" / "dicebear" / "node_modules").is_dir(),
    reason="Node.js or the packages of book/dicebear are not installed",
)
def test_the_script_draws_what_is_stored(parts):
    """The first faces again: the same but for the colours that are rounded."""
    drawn = book.draw(book.faces(book.SEEDS["train"][0], 12))
    for picture, stored in zip(drawn, parts["train"].pictures, strict=False):
        again = torch.from_numpy(picture.copy()).permute(2, 0, 1) / 255
        assert (again - stored).abs().mean() < 2 / 255


@pytest.mark.parametrize("flip", [True, False])
def test_a_training_may_leave_mirroring_out(flip):
    """Without it every picture is a stored one; mirrored ones are none of them."""
    seen = []

    class Seen(VAETask):
        def loss(self, network, images, first):
            seen.extend(picture.numpy().tobytes() for picture in images.contiguous())
            return super().loss(network, images, first)

    settings = VAESettings(
        size=48, width=2, latent=2, steps=3, batch_size=8, flip=flip, device="cpu"
    )
    train(Seen(settings), pictures=bundled("faces/test.zip"), progress=False)
    stored = {picture.numpy().tobytes() for picture in load_faces("test").pictures}
    assert len(seen) >= 24
    assert all(one in stored for one in seen) == (not flip)
