"""The records of chapters 10 and 11 on games in a pyramid and on grain: what they are
computed with (`python -m benchmarks.pyramid --write`, `python -m benchmarks.grain
--write`), and what they say.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from pltutorial import read_image
from pltutorial.faces import load_faces

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
pyramid = importlib.import_module("benchmarks.pyramid")
grain = importlib.import_module("benchmarks.grain")
judged = importlib.import_module("benchmarks.judged")
sys.path.pop(0)

GAMES = json.loads(pyramid.RECORD.read_text(encoding="utf-8"))
HEARD = json.loads(grain.RECORD.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def untrained():
    """Every part of the pyramid and of its controls, as it begins."""
    return {
        name: {"state": pyramid.fresh(*what)[0].state_dict()}
        for name, what in pyramid.parts().items()
    }


# --- the pyramid ----------------------------------------------------------------------


@pytest.mark.parametrize("arm", pyramid.ARMS)
def test_every_arm_draws_faces(arm, untrained):
    faces = pyramid.drawn(untrained, arm, 1, 0, 3)
    assert faces.shape == (3, 3, 48, 48)
    assert float(faces.min()) >= 0
    assert float(faces.max()) <= 1
    torch.testing.assert_close(faces, pyramid.drawn(untrained, arm, 1, 0, 3))
    other = pyramid.drawn(untrained, arm, 2, 0, 3)
    assert float((faces - other).abs().mean()) > 1e-4


def test_a_level_adds_to_the_enlarged_picture(untrained):
    """What it is given stays: the mean of each square of an untrained level, whose last
    layer is small, is nearly that of the true small face.
    """
    true = pyramid.faces("test", 24)[:4]
    drawn = pyramid.drawn(untrained, "squares", 0, 24, 4)
    kept = pyramid.smaller(drawn, 24)
    assert float((kept - true).abs().mean()) < 0.1


def test_a_part_is_trained_by_its_game(monkeypatch):
    monkeypatch.setattr(pyramid, "STEPS", {12: 3, 24: 3, 48: 3})
    for arm, side in (("pyramid", 12), ("pyramid", 24), ("squares", 24), ("whole", 48)):
        before = pyramid.fresh(arm, side, 0)[0].state_dict()
        after = pyramid.trained(arm, side, 0)["state"]
        assert any(not torch.equal(before[key], after[key]) for key in before)


def test_the_control_has_as_many_weights():
    assert GAMES["weights"] == {arm: pyramid.weights(arm) for arm in pyramid.ARMS}
    assert GAMES["weights"]["whole"] == pytest.approx(
        GAMES["weights"]["pyramid"], rel=0.05
    )


def test_each_number_is_a_mean_between_its_seeds():
    assert GAMES["seeds"] == list(pyramid.SEEDS)
    for row in [GAMES["real"], *GAMES["rows"].values()]:
        for mean, least, most in row.values():
            assert least <= mean <= most


def test_a_strip_shows_eight_faces_an_arm():
    for name in (*pyramid.ARMS, "true_start"):
        strip = read_image(pyramid.STRIPS / f"{name}.png")
        assert strip.shape == (1, 3, 48, 48 * pyramid.SHOWN)


# --- the grain ------------------------------------------------------------------------


def test_grain_is_as_large_as_it_says_and_another_for_each_seed():
    pictures = torch.full((4, 3, 32, 32), 0.5)
    one, other = (judged.grained(pictures, seed) for seed in (0, 1))
    assert float((one - pictures).std()) == pytest.approx(judged.GRAIN, rel=0.05)
    assert torch.equal(one, judged.grained(pictures, 0))
    assert abs(float(torch.corrcoef(torch.stack([one, other]).flatten(1))[0, 1])) < 0.1


def test_evening_out_moves_no_shape():
    """Areas that differ by much keep their edge; grain within them goes."""
    area = torch.zeros(1, 3, 24, 24)
    area[..., 12:] = 0.8
    evened = grain.evened(judged.grained(area, 3, 0.005))
    assert float((evened - area).abs().max()) < 0.012
    spread = (judged.grained(area, 3, 0.005) - area).std()
    assert float((evened - area).std()) < spread / 2


def test_under_grain_the_measure_tells_what_is_known():
    """Real faces from blurred ones and from their mean, which bare it did not: there
    the mean had the best precision of all.
    """
    both = HEARD["both sides"]
    bare, fine = (
        {k: v[size]["precision"] for k, v in both.items()} for size in ("0", "0.01")
    )
    assert bare["mean"] > bare["real"]
    assert fine["real"] > fine["blurred"] + 0.1 > fine["mean"] + 0.2
    faces, crops = (HEARD["one side"][name] for name in ("faces", "photographs"))
    assert faces["0.01"]["precision"] < 0.2 < crops["0.01"]["precision"]
    assert bare["network, evened"] > 2 * bare["network"]
    assert list(both["real"]) == [f"{size:g}" for size in grain.GRAINS]


def test_real_faces_are_strangers_with_noise_on_one_side():
    """As the record says it, with fewer faces of another split."""
    some = load_faces("train").pictures[1200:1350]
    loud = judged.grained(some, 5)
    assert judged.among(loud, "test", 2, grain=0)[0] < 0.2
    assert judged.among(some, "test", 2)[0] > 0.75
