"""The record of the three likenesses on faces: what it is computed with, and that it
speaks of the networks that ship.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from helpers import refused

from pltutorial import load_faces, load_vae
from pltutorial.metrics import psnr

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
benchmark = importlib.import_module("benchmarks.faces_vae")
sys.path.pop(0)

RECORD = json.loads(benchmark.RECORD.read_text(encoding="utf-8"))
SHARES = ("precision", "recall", "miscounted")


def test_the_record_is_of_what_ships_and_of_two_more_seeds():
    assert RECORD["seeds"] == list(benchmark.SEEDS)
    assert set(RECORD["networks"]) == set(benchmark.LOSSES)
    assert RECORD["what"] == " ".join(benchmark.__doc__.split("\n\n")[1].split())
    for loss, row in RECORD["networks"].items():
        card = load_vae(loss, "cpu").card
        assert card["settings"]["seed"] == RECORD["seeds"][0]
        assert (card["steps"], card["seconds"]) == (RECORD["steps"], row["seconds"][0])


@pytest.mark.parametrize("loss", benchmark.LOSSES)
def test_what_is_given_back_is_measured_again(loss):
    pictures = load_faces("test").pictures
    with torch.no_grad():
        output = load_vae(loss, "cpu").eval()(pictures)[0]
    found = float(psnr(output, pictures, channel="rgb").mean())
    row = RECORD["networks"][loss]["given_back"]
    assert row["psnr"][0] == pytest.approx(found, abs=0.1)
    right = benchmark.read(output)["hair"] == load_faces("test").attributes["hair"]
    assert float(right.double().mean()) > 0.5


def test_every_number_is_there_for_each_seed_and_in_its_range():
    for row in RECORD["networks"].values():
        for part in ("prior", "fitted"):
            for name in SHARES:
                assert len(row[part][name]) == len(RECORD["seeds"])
                assert all(0 <= value <= 1 for value in row[part][name])
        for value in benchmark.VECTORS.values():
            for name, values in row[value].items():
                assert all(0 <= share <= 1 for share in values), name
        assert all(value > 0 for value in row["codes"]["nats"])
    assert RECORD["real"]["precision"] > 0.5


def test_the_right_faces_are_counted_rightly_and_one_face_is_not():
    pictures = load_faces("test").pictures
    assert benchmark.miscounted(pictures) < 0.03
    assert benchmark.miscounted(pictures[:1].expand(20, -1, -1, -1)) > 0.5


def test_rows_of_seeds_become_lists():
    rows = [{"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 4}]
    assert benchmark.over_seeds(rows) == {"a": {"b": [1, 3]}, "c": [2, 4]}


def test_a_network_that_was_not_trained_is_one_sentence(tmp_path):
    with refused("vae_pixel_s0", "--seed 0"):
        benchmark.networks(tmp_path)
