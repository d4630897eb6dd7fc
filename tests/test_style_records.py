"""What the records of chapters 3 and 4 are computed with, and what the chapters say of
them: `python book/style_statistics.py` and `python book/style_layers.py` make them.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from helpers import picture

from pltutorial import gram_matrix
from pltutorial.distances import style_distance

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "book")]
statistics = importlib.import_module("style_statistics")
layers = importlib.import_module("style_layers")
del sys.path[:1]


@pytest.fixture(scope="module")
def recorded():
    return {
        script: json.loads(script.RECORD.read_text()) for script in (statistics, layers)
    }


def test_a_lattice_repeats_itself_at_its_period_alone():
    """Lines at random places are like themselves as much at any distance."""
    for shift in (3, 19):
        lattice = statistics.lattice(shift=shift)
        assert statistics.repeats(lattice) == pytest.approx(1)
        assert max(statistics.repeats(lattice, other) for other in (24, 40)) < 0.5
    found = statistics.shifts([statistics.irregular(seed) for seed in range(40)])
    assert max(found.values()) - min(found.values()) < 0.1
    noise = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    assert max(map(abs, statistics.shifts([noise]).values())) < 0.05


def test_weave_knows_threads_five_pixels_apart():
    """A thread every 5 pixels is in the first ring, one every 8 in the second."""
    across = torch.arange(128) * 2 * torch.pi
    five, eight = (
        (0.5 + 0.3 * torch.cos(across / period)).expand(1, 3, 128, 128)
        for period in (5, 8)
    )
    assert statistics.weave(five) > 50
    assert statistics.weave(eight) < 0.02


def test_border_is_the_spread_of_two_columns_over_that_inside():
    image = 0.5 + 0.1 * (picture(128, 128) - 0.5)
    assert statistics.border(image) == pytest.approx(1, abs=0.35)
    teeth = image.clone()
    teeth[..., ::2, :2], teeth[..., 1::2, -2:] = 0, 1
    assert statistics.border(teeth) > 5


def test_statistics_of_a_lattice_are_those_of_the_package():
    """Sorted projections as `style_distance`, and products one period away."""
    one, other = picture(128, 128, 1), picture(128, 128, 2)

    def phi(image, names):
        return {name: image.repeat(1, 2, 1, 1) for name in names}

    a, b = (
        statistics.statistics(image.repeat(1, 2, 1, 1), "sliced", "relu1_2")[0]
        for image in (one, other)
    )
    by_hand = float((a - b).square().sum() / b.square().sum())
    package = style_distance(one, other, "sliced", layers=["relu1_2"], network=phi)
    assert by_hand == pytest.approx(float(package), rel=1e-4)
    plain, right, _ = statistics.statistics(one, "gram at a distance", "relu1_2")
    assert torch.equal(plain, gram_matrix(one))
    product = (one[0, 0, :, :-32] * one[0, 2, :, 32:]).mean() / 3
    assert float(right[0, 0, 2]) == pytest.approx(float(product), rel=1e-4)


def test_each_layer_brings_a_texture_nearer_at_relu4_3(recorded):
    for name, found in recorded[statistics]["depth"].items():
        assert len(found) == 3, name
        for seed in found:
            at_relu4_3 = [errors[3] for errors in seed]
            assert at_relu4_3 == sorted(at_relu4_3, reverse=True), name


def test_only_products_at_a_distance_bring_the_lattice_back(recorded):
    table = recorded[statistics]["lattice"]
    best = min(table["gram at a distance"]["repeats"])
    for kind in ("gram", "mean and variance", "histogram", "sliced"):
        assert len(table[kind]["repeats"]) == 3
        assert max(table[kind]["repeats"]) < best / 3, kind
    shifts = table["gram at a distance"]["shifts"]
    assert shifts["32"] > 2 * max(shifts["24"], shifts["40"])


def test_total_variation_weaves_and_padding_does_not(recorded):
    table = recorded[statistics]["weave"]

    def mean(name, key):
        return sum(table[name][key]) / len(table[name][key])

    assert min(table["1e-7, border wraps"]["border"]) > 2 > max(table["1e-8"]["border"])
    assert mean("1e-8", "weave") < 0.7 * mean("1e-7", "weave")
    assert mean("1e-8", "error") < 0.3 * mean("1e-7", "error")


def test_relu4_3_is_mute_where_all_have_one_weight(recorded):
    pairs = recorded[layers]["pairs"]
    assert set(pairs) == {"+".join(pair) for pair in layers.PAIRS}
    for name, found in pairs.items():
        assert sum(found["shares"]["johnson"]) == pytest.approx(100, abs=0.3)
        assert found["shares"]["johnson"][3] < 1, name
        assert found["shares"]["relative"][3] > 10, name
        apart = found["difference"]
        assert apart["without relu4_3"] < apart["photo"] / 5, name
        one, without, balanced = (
            found["arms"][arm]["style_left"][3]
            for arm in ("one weight", "without relu4_3", "balanced")
        )
        assert abs(one - without) < 0.05, name
        assert balanced < one / 2, name
