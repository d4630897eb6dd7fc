"""The page on judges says what its record holds, and the record is what its command
computes.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from pltutorial import bundled, bundled_names
from pltutorial.images import middle_square
from pltutorial.metrics import lattice, psnr

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "book")]
benchmark = importlib.import_module("benchmarks.judges")
front = importlib.import_module("front")
del sys.path[:2]

RECORD = json.loads(benchmark.RECORD.read_text(encoding="utf-8"))
PAGE = (ROOT / "book" / "judges.md").read_text(encoding="utf-8")


def rows(name: str, key: str = "what") -> dict[str, dict]:
    return {row[key]: row for row in RECORD[name]}


PICTURES, MOVED = rows("pictures"), rows("downhill", "moved down")
SETS = {row["what"]: row for row in RECORD["collections"]["rows"]}
FEW, STYLES, FRAMES = RECORD["collections"]["few"], rows("styles"), rows("frames")
PLAIN, DOTTED = (
    PICTURES[name] for name in ("x4 by the pixel network", "the same with dots, 0.06")
)
DOTS, SHIFT, DARK = (
    PICTURES[name] for name in ("dots, amplitude 0.02", "moved by 1 px", "20% darker")
)


def test_the_page_is_filled():
    """Each mark and each value has its place, and no measured number is typed."""
    filled = front.fill(PAGE)
    assert not re.search(r"\{\{|^% ", filled, re.MULTILINE)
    assert filled.count("\n|---") == 6
    assert RECORD["command"] in filled
    typed = set(re.findall(r"\d+\.\d+", re.sub(r"\{\{.*?\}\}", "", PAGE)))
    # the licence, the difference of two definitions and the settings of the experiment
    assert typed == {"4.0", "1.5", "2.0", "0.06", "0.02", "0.01", "2.6"}


@pytest.mark.parametrize("kind", ["noise, sigma", "blur, sigma", "dots, amplitude"])
def test_every_distance_grows_with_the_damage(kind):
    grades = [row for what, row in PICTURES.items() if what.startswith(kind)]
    assert len(grades) > 1
    for less, more in zip(grades, grades[1:], strict=False):
        for key in ("st_lpips", "content", "vgg/relu3_3"):
            assert less[key] < more[key], (kind, key)
        for key in ("psnr", "psnr_y", "ssim", "ssim_y"):
            assert less[key] > more[key], (kind, key)


def test_the_two_kinds_of_psnr_differ_by_some_decibels():
    """As the page says: some 1.5."""
    differences = [
        row["psnr_y"] - row["psnr"] for what, row in PICTURES.items() if row["psnr"]
    ]
    assert sorted(differences)[len(differences) // 2] == pytest.approx(1.5, abs=0.4)


def test_what_fools_each_judge_of_two_pictures():
    assert SHIFT["psnr"] + 5 < PICTURES["blur, sigma 1 px"]["psnr"]
    assert SHIFT["st_lpips"] < 0.1 * PICTURES["blur, sigma 1 px"]["st_lpips"]
    sharp = PICTURES["x4 by the adversarial network"]
    assert PLAIN["psnr"] > sharp["psnr"]
    assert PLAIN["ssim"] > sharp["ssim"]
    assert DOTTED["st_lpips"] < 0.95 * PLAIN["st_lpips"]
    assert DOTTED["content"] > 2 * PLAIN["content"]
    assert DOTS["st_lpips"] < 0.01
    assert DOTS["st_lpips"] < 0.05 * PICTURES["noise, sigma 5 of 255"]["st_lpips"]
    assert DOTS["lattice"] > 5 * DOTS["lattice_target"]
    assert DARK["content"] < 0.5 * PICTURES["noise, sigma 5 of 255"]["content"]
    assert DARK["psnr"] < 25
    for what, row in PICTURES.items():
        if re.match(r"noise|blur|20%|moved", what):
            assert row["lattice"] < 1.2, what


@pytest.mark.parametrize("judge", ["content", "vgg/relu3_3"])
def test_the_judge_that_was_optimised_reports_most_progress(judge):
    left = {
        key: MOVED[judge][key] / MOVED["none"][key]
        for key in ("content", "vgg/relu3_3", "st_lpips")
    }
    assert min(left, key=left.get) == judge


def test_what_fools_each_judge_of_collections():
    plain = SETS["the photograph itself"]
    assert FEW[-1]["pictures"] == RECORD["collections"]["pictures"]
    assert FEW[0]["frechet"] > 2 * FEW[-1]["frechet"]
    kernels = [row["kernel"] for row in FEW]
    assert max(kernels) - min(kernels) > 0.1
    assert SETS["the reference itself, mirrored"]["frechet"] < 0.5 * plain["frechet"]
    ten = SETS["ten crops, each as often"]
    assert ten["precision"] >= plain["precision"] - 0.1
    assert ten["recall"] < 0.5 * plain["recall"]
    for kind in ("noise, sigma", "blur, sigma"):
        grades = [row for what, row in SETS.items() if what.startswith(kind)]
        for less, more in zip([plain, *grades], grades, strict=False):
            assert less["frechet"] < more["frechet"]
            assert less["kernel"] < more["kernel"]


def test_what_fools_each_judge_of_style_and_of_frames():
    tiles, half, made, photo = (
        STYLES[what]
        for what in (
            "its tiles in another order",
            "the painting's other half",
            "a print by the network",
            "the photograph",
        )
    )
    for key in tiles:
        if key != "what":
            assert tiles[key] < 0.4 * photo[key], key
            assert max(half[key], made[key]) < 0.45 * photo[key], key
    assert tiles["vgg/sliced"] < half["vgg/sliced"]
    assert made["vgg/gram"] / half["vgg/gram"] < made["lite0/gram"] / half["lite0/gram"]
    blurred = FRAMES["these, blurred by 2 px"]
    assert FRAMES["source"]["along the flow"] < 1e-6
    assert FRAMES["source"]["without flow"] > 1e-3
    prints = FRAMES["prints, each on its own"]
    assert blurred["along the flow"] < prints["along the flow"]


def test_the_record_is_what_its_command_computes():
    """Where that is quick: pixels and the spectrum."""
    photos = torch.cat(
        [middle_square(bundled(f"test/{name}"), 256) for name in bundled_names("test")]
    )
    for what in ("noise, sigma 10", "blur, sigma 2 px", "dots, amplitude 0.06"):
        damaged = benchmark.DAMAGE[what](photos)
        row = PICTURES[what]
        values = psnr(damaged, photos, channel="rgb").mean(), lattice(damaged).mean()
        assert [float(value) for value in values] == pytest.approx(
            [row["psnr"], row["lattice"]], rel=1e-3
        )
