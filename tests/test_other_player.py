"""The game of chapter 10: drawings, harms, two players, and the record of what they
did.
"""

from __future__ import annotations

import copy
import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from helpers import picture

from pltutorial.deepsim import DeepSimLoss
from pltutorial.faces import load_faces
from pltutorial.networks import Discriminator
from pltutorial.teaching.games import (
    Painter,
    costs_of,
    drawing_of,
    harmed,
    play,
    told,
)
from pltutorial.terms import LossTerms

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
benchmark = importlib.import_module("benchmarks.other_player")
sys.path.pop(0)

RECORD = json.loads(benchmark.RECORD.read_text(encoding="utf-8"))


def pixels(output, target):
    return LossTerms(pixels=(output - target).abs().mean())


def played(discriminator=None, **options):
    torch.manual_seed(0)
    painter = Painter(1, 4)
    faces = picture(16, 16, 0, 6)
    return painter, play(painter, discriminator, faces, pixels, batch=2, **options)


def test_a_drawing_has_no_colours_and_no_level():
    image = picture(12, 15, 1, 2)
    lines = drawing_of(image)
    assert lines.shape == (2, 1, 12, 15)
    assert lines.min() >= 0
    assert lines.max() <= 1
    assert torch.equal(
        drawing_of(torch.full((1, 3, 8, 8), 0.3)), torch.ones(1, 1, 8, 8)
    )
    darker = drawing_of(image - 0.1)
    torch.testing.assert_close(darker, lines, atol=1e-5, rtol=0)


def test_the_discriminator_is_told_every_pixel():
    image = picture(16, 24, 1, 1)[:, :1]
    code = told(image)
    assert code.shape == (1, 64, 2, 3)
    assert torch.equal(code.flatten().sort().values, image.flatten().sort().values)


def test_a_game_is_repeated_by_its_seed_and_lowers_its_terms():
    one, history = played(steps=12, rates=(5e-3, 1e-3))
    two, again = played(steps=12, rates=(5e-3, 1e-3))
    assert history == again
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert set(history[0]) == {"pixels"}
    assert history[-1]["pixels"] < history[0]["pixels"]


@pytest.mark.parametrize(("pause", "still"), [(0.0, False), (1e6, True)])
def test_the_rule_decides_whether_the_discriminator_moves(pause, still):
    torch.manual_seed(1)
    critic = Discriminator(64, 4)
    before = copy.deepcopy(critic.state_dict())
    _, history = played(critic, steps=3, pause_below=pause)
    assert {step["paused"] for step in history} == {float(still)}
    name = "last.parametrizations.weight.original"
    assert torch.equal(before[name], critic.state_dict()[name]) == still
    assert all(parameter.requires_grad for parameter in critic.parameters())


def test_the_first_losses_are_those_of_the_package():
    torch.manual_seed(1)
    critic = Discriminator(64, 4)
    painter, _ = played(steps=0)
    faces = picture(16, 16, 0, 6)
    chosen = torch.randint(6, (2,), generator=torch.Generator().manual_seed(0))
    critic_twin, target = copy.deepcopy(critic), faces[chosen]
    game = DeepSimLoss(0, 1, 0, discriminator=critic_twin)
    terms = game(painter(drawing_of(target)), target, told(drawing_of(target)))
    _, history = played(critic, steps=1)
    assert history[0]["adversarial"] == pytest.approx(
        float(terms["adversarial"].detach()), rel=1e-4
    )


def test_harms_have_one_squared_error():
    looked = load_faces("test").pictures[:4]
    harms = harmed(looked)
    assert list(harms) == ["shift", "blur", "noise", "colour", "square"]
    errors = torch.stack(
        [(made - looked).square().flatten(1).mean(1) for made in harms.values()]
    )
    torch.testing.assert_close(errors, errors[:1].expand(5, -1), rtol=1e-2, atol=1e-6)
    costs = costs_of(lambda image, layers: {layers[0]: image}, "pixels", looked, harms)
    assert list(costs.values()) == pytest.approx([1] * 5, rel=0.02)


def test_ranks_count_nearer_faces(monkeypatch):
    monkeypatch.setattr(benchmark, "looked_at", lambda pictures: pictures.mean((2, 3)))
    benchmark.targets.cache_clear()
    faces = load_faces("test").pictures
    assert (benchmark.ranks(faces[:5]) == 1).all()
    made = 1 - faces[:5]
    places = benchmark.ranks(made)
    for n, one in enumerate(made.mean((2, 3))):
        order = (faces.mean((2, 3)) - one).square().sum(1).argsort()
        assert int((order == n).nonzero()) + 1 == int(places[n])
    benchmark.targets.cache_clear()


# --- the record -----------------------------------------------------------------------


def test_the_record_has_every_arm_and_three_seeds():
    assert RECORD["command"] == "python -m benchmarks.other_player --write"
    assert RECORD["seeds"] == [0, 1, 2]
    assert RECORD["steps"] == benchmark.STEPS
    assert list(RECORD["arms"]) == list(benchmark.ARMS)
    for name, row in RECORD["arms"].items():
        assert {len(values) for values in row.values()} == {3}
        assert ("paused" in row) == (name != "pixels")
        assert all(1 <= rank <= RECORD["faces"] for rank in row["rank"])
    assert RECORD["truth"]["rank"] == 1


def test_the_record_s_metric_is_relative_to_the_shift():
    for rows in RECORD["metric"].values():
        assert len(rows) == 3
        assert all(row["shift"] == 1 for row in rows)


def test_the_pictures_of_the_record_are_there():
    stems = {path.stem for path in benchmark.STRIPS.iterdir()}
    assert stems == set(benchmark.DRAWN)
