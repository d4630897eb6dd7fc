"""The record of chapter 14 is sense, and what it is computed with: `OMP_NUM_THREADS=1
python -m benchmarks.production [--part huge|int8|video|runtimes]` makes it.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
main = importlib.import_module("benchmarks.production.__main__")
huge = importlib.import_module("benchmarks.production.huge")
del sys.path[0]
RECORD = json.loads(main.RECORD.read_text(encoding="utf-8"))


@pytest.mark.parametrize("part", [part for part in main.PARTS if part in RECORD])
def test_each_part_says_how_where_and_when(part):
    found = RECORD[part]
    assert found["command"] == f"{main.COMMAND} --part {part}"
    assert "1 threads" in found["machine"]
    assert found["date"] >= "2026-11-29"


# --- pictures larger than memory ------------------------------------------------------


def rows_of(what: str) -> list[dict]:
    return [row for row in RECORD["huge"]["rows"] if row["what"] == what]


def test_a_hundred_megapixels_take_less_than_two_gigabytes():
    nothing = rows_of("nothing but the network")[0]["peak_mb"]
    for row in (rows_of("denoise")[-1], rows_of("upscale")[-1]):
        assert row.get("megapixels_made", row["megapixels"]) == 100
        assert nothing < row["peak_mb"] < 2000
    small, *_, large = rows_of("denoise")
    assert small["megapixels"] == 4 < large["megapixels"]
    assert large["peak_mb"] - small["peak_mb"] < 1000


def test_bytes_grow_by_a_quarter_of_what_floats_do():
    growth = RECORD["huge"]["bytes_a_pixel"]
    assert 5 < growth["denoise"] < 9
    # the picture and the result alone are 24
    assert 24 < growth["denoise as floats"] < 45
    assert growth["denoise"] < 0.3 * growth["denoise as floats"]


def test_a_print_has_no_tiles():
    """What stands in the way: means over the whole picture, which tiles have not."""
    small, large = rows_of("stylize")
    each = (large["peak_mb"] - small["peak_mb"]) / (
        large["megapixels"] - small["megapixels"]
    )
    assert 200 < each < 450
    assert RECORD["huge"]["stylize_in_tiles"]["mean"] > 1


@pytest.mark.parametrize("name", huge.FUNCTIONS)
def test_tiles_are_the_whole(name):
    kept = RECORD["huge"]["tiles"][name]
    now = huge.tiles(name, 192, 80)
    for found in (kept, now):
        assert found["tile"] < found["side"]
        assert found["floats"] < 0.1
        assert found["bytes"] <= 1
        assert found["bytes_and_floats"] < 0.6  # half a step, by rounding
        assert found["without_overlap"] > 3


def test_a_peak_is_that_of_the_process_alone():
    """A process that holds a fifth of a gigabyte more has a peak so much higher."""
    held = "held = b'x' * {}; print(len(held))"
    small, large = (
        huge.took(["-c", held.format(size)])["peak_mb"] for size in (1, 200_000_000)
    )
    assert 180 < large - small < 260
