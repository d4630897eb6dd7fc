"""The record of chapter 11 (`python -m benchmarks.diffusion --write`, then with
`--arms runs/arms`): what it is computed with, and that cards say the same.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from pltutorial import zoo
from pltutorial.faces import load_faces

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
benchmark = importlib.import_module("benchmarks.diffusion")
sys.path.pop(0)

RECORD = json.loads(benchmark.RECORD.read_text(encoding="utf-8"))
CARDS = zoo.available(zoo.DIFFUSION)


def test_every_network_that_ships_is_in_the_record_and_none_else():
    assert set(RECORD["networks"]) == set(CARDS) == set(zoo.DIFFUSION_LOSSES)
    for rows in RECORD["networks"].values():
        assert list(rows) == list(map(str, benchmark.STEPS))
    assert (RECORD["seeds"], RECORD["count"]) == (3, benchmark.COUNT)


@pytest.mark.parametrize("name", CARDS)
def test_a_card_says_what_the_record_says(name):
    (held,) = CARDS[name]["held_out"].values()
    ((steps, numbers),) = held.items()
    row = RECORD["networks"][name][steps.split()[0]]
    assert numbers == {key: row[key][0] for key in numbers}


def test_the_networks_are_small_together():
    assert sum(card["bytes"] for card in CARDS.values()) < 5_000_000


def test_each_number_is_a_mean_between_its_seeds():
    tables = [
        RECORD["real"],
        *(r for t in RECORD["networks"].values() for r in t.values()),
    ]
    tables += [row for arm in RECORD.get("arms", {}).values() for row in arm.values()]
    for row in tables:
        for mean, least, most in row.values():
            assert least <= mean <= most


def test_a_training_face_is_its_own_nearest():
    known = load_faces("train").pictures[:3]
    assert float(benchmark.nearest(known).max()) < 1e-3
    other = (known + 0.1).clamp(0, 1)
    wanted = torch.stack(
        [
            min(
                (one - face).square().mean().sqrt()
                for face in load_faces("train").pictures
            )
            for one in other
        ]
    )
    torch.testing.assert_close(benchmark.nearest(other), wanted, atol=1e-4, rtol=1e-3)


def test_the_histograms_are_those_of_the_training_faces():
    for name, shares in benchmark.frequencies().items():
        assert abs(float(shares.sum()) - 1) < 1e-9
        assert float(shares.min()) > 0, name
