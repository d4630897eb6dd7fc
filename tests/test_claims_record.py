"""What the record of chapter 12 is computed with, and what it holds: `python -m
benchmarks.claims --write` makes it.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
modes = importlib.import_module("benchmarks.claims.modes")
attacks = importlib.import_module("benchmarks.claims.attacks")
training = importlib.import_module("benchmarks.claims.training")
refined = importlib.import_module("benchmarks.claims.refined")
main = importlib.import_module("benchmarks.claims.__main__")
del sys.path[0]
RECORD = json.loads(main.RECORD.read_text())


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_stacked_digits_are_named_and_counted():
    pictures, numbers = modes.stacked(3000, draw())
    named, clear = modes.named(pictures)
    assert torch.equal(named, numbers)
    assert bool(clear.all())
    found = modes.counted(pictures)
    assert found["kinds"] == len(numbers.unique())
    assert found["clear"] == 1
    one = modes.counted(pictures[:1].expand(500, -1, -1, -1))
    assert one == {"kinds": 1, "clear": 1.0, "divergence": round(math.log(1000), 3)}


def test_what_is_no_digit_is_not_clear():
    noise = torch.rand(200, 3, 8, 8, generator=draw())
    assert modes.counted(noise) == {"kinds": 0, "clear": 0.0, "divergence": None}
    mean = modes.stacked(2000, draw())[0].mean(0, keepdim=True)
    assert not modes.named(mean)[1]


def test_two_digits_are_less_alike_than_what_is_taken_for_clear():
    flat = modes.TEMPLATES[:, 0].flatten(1)
    alike = torch.corrcoef(flat).fill_diagonal_(0).max()
    assert 0.7 < alike < modes.CLEAR


def test_an_attack_stays_near_and_beats_chance():
    torch.manual_seed(0)
    network = nn.Conv2d(3, 3, 5, padding=2).requires_grad_(False)
    given = torch.rand(2, 3, 12, 12, generator=draw())
    before = network(given)

    def gain(at: torch.Tensor) -> torch.Tensor:
        return (network(at) - before).square().mean()

    found = attacks.attacked(gain, given, 0.02, seed=1)
    assert float((found - given).abs().max()) <= 0.02 + 1e-6
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    signs = torch.randint(2, given.shape, generator=draw(2)) * 2 - 1
    assert gain(found) > 1.5 * gain((given + 0.02 * signs).clamp(0, 1))


def test_targets_are_moved_by_whole_pixels():
    small, target = training.batch(draw(3), 4)
    again, moved = training.batch(draw(3), 4, moved=3)
    assert torch.equal(small, again)
    assert target.shape == moved.shape == (4, 3, 64, 64)
    for one, other in zip(target, moved, strict=True):
        inside = one[:, 8:-8, 8:-8]
        places = [
            (y, x)
            for y in range(-3, 4)
            for x in range(-3, 4)
            if torch.equal(inside, other[:, 8 - y : 56 - y, 8 - x : 56 - x])
        ]
        assert places


def test_a_pyramid_sees_every_scale():
    target = torch.rand(1, 3, 32, 32, generator=draw())
    fine = torch.ones(32, 32)
    fine[::2] = -1
    for pattern in (fine, torch.ones(32, 32)):
        assert float(training.pyramid(target + 0.1 * pattern, target)) > 0.09
    assert float(training.pyramid(target, target)) == 0


def test_terms_are_balanced_at_the_start():
    network = training.fresh(0)
    small, target = training.batch(draw(99), 16)
    output = network(small).detach().requires_grad_()
    terms = {"loud": lambda y, t: 500 * training.pixels(y, t), "one": training.pyramid}
    both = training.balanced(terms, network)
    alone = {
        name: training.balanced({name: term}, network) for name, term in terms.items()
    }
    for loss in alone.values():
        (slope,) = torch.autograd.grad(loss(output, target), output)
        assert float(slope.norm()) == pytest.approx(1, rel=1e-3)
    parts = sum(float(loss(output, target)) for loss in alone.values())
    assert float(both(output, target)) == pytest.approx(parts, rel=1e-5)


def test_ranks():
    values = torch.tensor([0.1, 0.5, 0.2, 3.0])
    assert refined.spearman(values, values.exp()) == pytest.approx(1)
    assert refined.spearman(values, -values) == pytest.approx(-1)


def test_the_record_is_whole():
    assert RECORD["command"] == main.COMMAND
    read = {"misaligned", "conditions", "convergence", "attacks"}
    assert read <= set(RECORD["sections"])
    assert set(RECORD["sections"]) == set(main.SECTIONS)
    assert len(RECORD["seeds"]) == 3
    for section in RECORD["sections"].values():
        assert section["seconds"] < 600
        for row in section["rows"]:
            lists = [value for value in row.values() if isinstance(value, list)]
            whole = row.get("networks") == "shipped" and "condition" in row
            assert all(len(value) == (1 if whole else 3) for value in lists)


def test_dots_lower_the_distance_in_the_record():
    dots = RECORD["sections"]["attacks"]["judge"]["dots"]
    mean = [sum(row["distance"]) / len(row["distance"]) for row in dots]
    accurate = [sum(row["psnr"]) / len(row["psnr"]) for row in dots]
    assert mean == sorted(mean, reverse=True)
    assert accurate == sorted(accurate, reverse=True)
