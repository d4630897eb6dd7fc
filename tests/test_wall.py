"""The wall pieces: two sizes of each are there, shown and linked, and no other."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
wall = importlib.import_module("wall")
sys.path.pop(0)

NAMES = ["_".join(pair) for pair in wall.PIECES]


def test_no_picture_is_left_of_a_piece_that_is_made_no_more():
    files = {path.name for path in wall.FOLDER.glob("wall_*")}
    ends = (".webp", "_large.webp")
    assert files == {f"wall_{name}{end}" for name in NAMES for end in ends}


@pytest.mark.parametrize("name", NAMES)
def test_a_piece_is_large_and_its_page_shows_and_links_it(name):
    with Image.open(wall.FOLDER / f"wall_{name}_large.webp") as large:
        assert max(large.size) >= 2000
        ratio = large.width / large.height
    with Image.open(wall.FOLDER / f"wall_{name}.webp") as shown:
        assert max(shown.size) == wall.SHOWN
        assert abs(shown.width / shown.height - ratio) < 0.01
    gallery = (ROOT / "book" / "gallery.md").read_text("utf-8")
    assert f"](images/wall_{name}.webp)](images/wall_{name}_large.webp)" in gallery
