"""Every number in the prose of a chapter is one that a reader sees."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parent.parent / "book"
sys.path.insert(0, str(BOOK))
try:
    import measured
    from chapters import CHAPTERS
finally:
    sys.path.remove(str(BOOK))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)
def test_every_number_of_the_prose_is_seen(chapter):
    notebook = json.loads(chapter.path.read_text(encoding="utf-8"))
    given = measured.GIVEN.get(chapter.number, {})
    found = list(measured.said(notebook, given))
    nowhere = [f"cell {one.cell}: {one.words}" for one in found if not one.where]
    assert nowhere == []
    used = {one.number for one in found if one.where.startswith("given")}
    assert set(given) - used == set(), "given, and not needed"


def notebook(prose: str) -> dict:
    shown = {"output_type": "stream", "text": ["loss 0.3592 after 1_200 steps\n"]}
    page = {"text/html": ['<style>.a{width:777px}</style><p class="x">27.3 dB</p>']}
    code = {
        "cell_type": "code",
        "source": ["rate = 3e-4"],
        "outputs": [shown, {"output_type": "display_data", "data": page}],
    }
    return {"cells": [code, {"cell_type": "markdown", "source": [prose]}]}


@pytest.mark.parametrize(
    ("prose", "missing"),
    [
        ("The loss is 0.359, or 0.36, after 1,200 steps at 3e-4: 27 dB.", []),
        ("The loss is 0.358.", ["0.358"]),
        ("27.4 dB, and 777 pixels.", ["27.4", "777"]),
        ("In 2016, three layers of 16 channels, `0.99`, $x = 0.99$.", []),
        ("They report 31.8 dB {cite}`someone`.\n\nWe get 31.8 dB.", ["31.8"]),
        ("It has 65,504 and 12.5.", ["12.5"]),
    ],
)
def test_what_is_seen_is_told_from_what_is_not(prose, missing):
    found = measured.said(notebook(prose), {"65,504": "the largest float16"})
    assert [one.number for one in found if not one.where] == missing
