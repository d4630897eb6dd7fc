"""The record of chapter 8's lesson with other terms: what it says in each of three
seeds, and that it is of the chapter's settings.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
from pathlib import Path

import nbformat
import pytest
import torch
from helpers import picture

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
script = importlib.import_module("inversion_arms")
sys.path.pop(0)

RECORD = json.loads(script.RECORD.read_text(encoding="utf-8"))
ROWS = {(row["seed"], row["arm"]): row for row in RECORD["rows"]}
seeds = pytest.mark.parametrize("seed", script.SEEDS)


def of(seed: int, measure: str) -> dict[str, float]:
    """A measure of one seed, by arm."""
    return {arm: row[measure] for (one, arm), row in ROWS.items() if one == seed}


def test_every_arm_has_three_seeds():
    arms = ["200 steps", *script.ARMS]
    assert list(ROWS) == [(seed, arm) for seed in script.SEEDS for arm in arms]
    assert RECORD["command"] == "python book/inversion_arms.py"


@seeds
def test_features_bring_the_drawings_nearer_than_pixels_do(seed):
    far = of(seed, "distance")
    assert far["features, pixels"] < 0.95 * far["pixels"]
    assert far["features"] < 0.95 * far["pixels"]


@seeds
def test_the_other_terms_hardly_move_the_distance(seed):
    far = of(seed, "distance")
    assert abs(far["all three"] - far["features, pixels"]) < 0.03
    assert abs(far["features"] - far["features, pixels"]) < 0.03


@seeds
def test_no_arm_has_a_lattice(seed):
    assert of(seed, "lattice")["features"] < 1.5


def test_settings_are_the_chapter_s():
    """What the lesson's cell gives to its trainings is what the script gives."""
    chapter = nbformat.read(ROOT / "notebooks/08_inverting_features.ipynb", 4)
    (source,) = (
        cell.source
        for cell in chapter.cells
        if "lesson = InversionSettings" in cell.source
    )
    calls = [
        {word.arg: word.value for word in node.keywords}
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in ("InversionSettings", "replace")
    ]
    lesson, more = sorted(calls, key=len, reverse=True)
    for name, value in lesson.items():
        assert getattr(script.LESSON, name) == ast.literal_eval(value), name
    said = {name: ast.literal_eval(more[name]) for name in ("steps", "learning_rate")}
    assert said == script.MORE


def test_measures_are_means_over_the_pictures():
    target = picture(64, 64, count=2)
    found = script.measured(target, target)
    assert found["distance"] == 0 == found["feature_distance"]
    assert found["sharpness"] == pytest.approx(1, abs=1e-3)
    darker = script.measured(0.9 * target, target)
    wanted = -10 * torch.log10((0.1 * target).square().mean((1, 2, 3))).mean()
    assert darker["psnr"] == pytest.approx(float(wanted), abs=0.02)  # 8 bits
