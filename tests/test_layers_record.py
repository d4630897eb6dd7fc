"""What the record of chapter 2 is measured with: correlations, readouts, signed steps;
and the drawing of the network.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from helpers import picture

from pltutorial import LossNetwork
from pltutorial.teaching.exercises.chapter2 import _receptive_field
from pltutorial.vgg import _BLOCKS

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book"))
layers_know = importlib.import_module("layers_know")
vgg16_drawing = importlib.import_module("vgg16_drawing")
del sys.path[0]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["brightness", "colour", "edges"])
def test_a_picture_agrees_with_itself(kind):
    target = picture(48, 64)
    assert layers_know.agreement(kind, target, target) == pytest.approx(1, abs=1e-5)
    assert layers_know.agreement(kind, 1 - target, target) == pytest.approx(
        1 if kind == "edges" else -1, abs=1e-5
    )


def test_a_common_mean_colour_is_no_agreement():
    """Two pictures without relation that are both reddish: the plain correlation is
    near 1, and ours near 0.
    """
    red = torch.tensor([0.9, 0.5, 0.1], dtype=torch.float64)
    one, other = (red + 0.1 * noise(400, 3, seed=seed) for seed in (1, 2))
    plain = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
    assert plain > 0.95
    assert abs(layers_know.correlation(one, other)) < 0.1


def test_readout_finds_what_is_linear_and_nothing_else():
    slope, codes = noise(20, 3, seed=3), [noise(300, 20, seed=s) for s in range(9)]
    values = [code @ slope + 0.5 for code in codes]
    read = layers_know.held_out(codes, values, shuffled=False)
    assert min(read["colour"] + read["brightness"]) > 0.99
    mixed = layers_know.held_out(codes, values, shuffled=True)
    assert max(map(abs, mixed["colour"] + mixed["brightness"])) < 0.3


def test_signed_steps_stay_within_four_levels():
    network = LossNetwork(precision="float32", device="cpu")
    photo = picture(32, 48)
    found = layers_know.attacked(network, photo, "relu5_3", seed=0)
    assert (found - photo).abs().max() <= layers_know.LEVELS / 255 + 1e-6
    assert found.min() >= 0
    assert found.max() <= 1
    moved = layers_know.relative_loss(network, found, photo)
    assert moved[-1] > 5 * moved[0]


def runs_of(record: dict) -> list[dict]:
    """The rows of all inversions."""
    others = [row for name in layers_know.PHOTOGRAPHS for row in record[name]]
    return [*record["curve"]["rows"], *record["repeats"], *others]


def test_the_record_has_all_parts_of_the_command():
    record = json.loads(layers_know.RECORD.read_text(encoding="utf-8"))
    assert record["command"] == "python book/layers_know.py"
    assert record["layers"] == list(layers_know.LAYERS)
    made = {
        (row["layer"], row["picture"], row["seed"], row["steps"])
        for row in runs_of(record)
    }
    others = {("relu4_3", name, 0, 320) for name in layers_know.PHOTOGRAPHS}
    assert {*layers_know.INVERSIONS, *layers_know.REPEATS, *others} <= made
    assert list(record["curve"]["satisfied"]) == list(layers_know.LAYERS)
    assert {row["layer"] for row in record["readout"]} == set(layers_know.LAYERS)
    for row in record["readout"]:
        assert len(row["none"]["colour"]) == len(layers_know.SEEDS)
    assert len(record["attack"]) == 10
    assert {row["pooling"] for row in record["rough"]} == {"max", "average"}


def test_more_steps_find_more_in_every_run():
    """What the chapter says of relu4_3, for three seeds and two more photographs."""
    record = json.loads(layers_know.RECORD.read_text(encoding="utf-8"))
    rows = [row for row in runs_of(record) if row["layer"] == "relu4_3"]
    runs = {(row["picture"], row["seed"]) for row in rows}
    assert len(runs) == 5
    for run in runs:
        by_steps = {
            row["steps"]: row for row in rows if (row["picture"], row["seed"]) == run
        }
        last = by_steps[max(by_steps)]
        assert last["steps"] == 320
        assert last["pixels"] < by_steps[80]["pixels"]
        assert last["colour"] > by_steps[80]["colour"]
        if run[0] == "chelsea":  # one flat colour is passed on the way
            assert last["pixels"] < last["flat"] < by_steps[80]["pixels"]


def test_colour_is_read_and_not_guessed():
    """At every layer and in every division of the photographs; shuffled, nothing is."""
    record = json.loads(layers_know.RECORD.read_text(encoding="utf-8"))
    for row in record["readout"]:
        read, guessed = row["none"]["colour"], row["grey copies"]["colour"]
        assert min(read) > 1.5 * max(guessed)
        assert max(map(abs, row["shuffled"]["colour"])) < 0.2


def test_signed_steps_move_deep_features_and_noise_does_not():
    record = json.loads(layers_know.RECORD.read_text(encoding="utf-8"))
    for row in record["attack"]:
        assert row["signed steps"][0] < 0.02
        assert row["signed steps"][-1] > 1.5
        assert max(row["random signs"]) < 0.04


def test_the_drawing_is_the_network():
    assert [block[:2] for block in vgg16_drawing.BLOCKS] == list(_BLOCKS)
    for number, (_, count, field) in enumerate(vgg16_drawing.BLOCKS, 1):
        assert field == _receptive_field(f"relu{number}_{count}")
    stored = vgg16_drawing.TARGET.read_text(encoding="utf-8")
    assert stored == vgg16_drawing.drawing()
