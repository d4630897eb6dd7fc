"""What `--refine` is worth: the record of `OMP_NUM_THREADS=1 python -m
benchmarks.refine` is sense, and what it is computed with.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from helpers import picture

from pltutorial import bundled, load_style, read_image
from pltutorial.networks import apply
from pltutorial.optimize import transfer_style
from pltutorial.tasks.refine import refine

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
benchmark = importlib.import_module("benchmarks.refine")
del sys.path[0]
RECORD = json.loads(benchmark.RECORD.read_text(encoding="utf-8"))


def test_it_says_how_and_has_every_curve():
    assert RECORD["command"] == benchmark.COMMAND
    assert "threads" in RECORD["machine"]
    assert len(RECORD["rows"]) == len(benchmark.PHOTOS) * len(benchmark.STYLES) >= 8
    for row in RECORD["rows"].values():
        assert len(row["print"]) == benchmark.STEPS[-1] + 1
        assert list(row["noise"]) == [str(seed) for seed in benchmark.SEEDS]
        for curve in (row["print"], row["photo"], *row["noise"].values()):
            assert curve == sorted(curve, reverse=True)


def test_the_summary_is_that_of_the_curves():
    assert (
        json.loads(json.dumps(benchmark.summary(RECORD["rows"]))) == RECORD["summary"]
    )


def test_steps_are_counted_where_a_curve_crosses():
    curve = benchmark.lowest([9.0, 7.0, 8.0, 3.0])
    assert curve == [9.0, 7.0, 7.0, 3.0]
    assert [benchmark.crossed(curve, level) for level in (9, 7.5, 3, 1)] == [
        0,
        1,
        3,
        None,
    ]
    row = {"print": [5.0, 2.0], "noise": {"0": curve, "1": [4.0]}}
    assert benchmark.worth(row, 0) == [3, 0]
    assert benchmark.worth(row, 1) == [None, None]


def test_the_command_goes_down_the_same_objective(monkeypatch):
    """What `refine` optimises is what the benchmark measures, up to a factor."""
    network, photo = load_style(benchmark.NETWORK, "cpu"), picture(64, 64)
    painting = read_image(bundled("style/poppies"))
    seen = {}

    def transfer(image, style, **given):
        return seen.setdefault("result", transfer_style(image, style, **given))

    monkeypatch.setattr("pltutorial.tasks.refine.transfer_style", transfer)
    printed = apply(network, photo, network.blend("poppies"))
    how = {"card": network.card, "progress": False, "precision": "float32"}
    refine(photo, printed, painting, steps=1, device="cpu", **how)
    task = benchmark.task_of(network, "poppies")
    with torch.no_grad():
        total = float(task.terms(printed, photo, torch.tensor([0])).total)
    assert seen["result"].totals[0] == pytest.approx(total, rel=0.02)
