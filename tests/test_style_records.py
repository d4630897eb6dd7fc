"""What the records of chapters 3 and 4 are computed with, and what the chapters say of
them: `python book/style_statistics.py`, `python book/style_layers.py` and
`python book/transfer_trials.py` make them.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy
import pytest
import torch
from helpers import picture
from PIL import Image

from pltutorial import LossNetwork, gram_matrix
from pltutorial.distances import style_distance

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "book")]
statistics = importlib.import_module("style_statistics")
layers = importlib.import_module("style_layers")
trials = importlib.import_module("transfer_trials")
del sys.path[:1]


@pytest.fixture(scope="module")
def recorded():
    return {
        script: json.loads(script.RECORD.read_text())
        for script in (statistics, layers, trials)
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


def test_terms_of_a_transfer_are_on_the_scales_that_the_chapter_names():
    """In units of the photo's features, and as a share of the photo's style term."""
    network = LossNetwork(precision="float32", device="cpu")
    pair = trials.Pair(network, trials.PAIRS[0], 48)
    assert pair.terms(pair.photo) == {"content": 0, "style": 1}
    image = picture(*pair.photo.shape[-2:])
    old, new, style = (
        network(x, trials.LAYERS) for x in (pair.photo, image, pair.style)
    )
    content = (new["relu3_3"] - old["relu3_3"]).square().mean()
    content = content / old["relu3_3"].square().mean()

    def apart(features):
        grams = [
            (gram_matrix(features[k]) - gram_matrix(style[k])).square().sum()
            for k in trials.LAYERS
        ]
        return float(sum(grams))

    found = pair.terms(image)
    assert found["content"] == pytest.approx(float(content), rel=0.01)
    assert found["style"] == pytest.approx(apart(new) / apart(old), rel=0.01)


def test_colours_move_where_brightness_alone_does_not():
    photo = 0.2 + 0.6 * picture(16, 16)
    assert trials.colour_moved(photo + 0.1, photo) == pytest.approx(0, abs=1e-6)
    assert trials.colour_moved(photo.flip(1), photo) > 0.01


def test_a_face_stands_out_where_its_window_is_worst():
    errors = torch.zeros(1, 1, 40, 40)
    rows, columns = (
        slice(start, start + trials.SIDE) for start in (trials.ROW, trials.COLUMN)
    )
    errors[..., rows, columns] = 1
    found = trials.stands_out(trials.windows(errors), errors.mean())
    others = 1 - 1 / (40 - trials.SIDE + 1) ** 2
    assert found["windows with less"] == pytest.approx(others, abs=1e-3)
    assert found["face over picture"] == pytest.approx(1600 / trials.SIDE**2, rel=0.01)
    errors = 1 - errors
    found = trials.stands_out(trials.windows(errors), errors.mean())
    assert found == {"face over picture": 0, "windows with less": 0}


def test_record_of_transfers_holds_what_the_command_makes(recorded):
    """Every part of the first pair; style weights, starts and optimisers of three."""
    record = recorded[trials]
    pairs = ["+".join(names[:2]) for names in trials.PAIRS]
    for part in ("weights", "starts", "optimizers"):
        assert list(record[part]) == pairs, part
    for part in ("speckle", "steering"):
        assert pairs[0] in record[part], part
    assert set(record["face"]) == set(trials.PAINTINGS)
    shown = ("size", "steps", "large", "middle", "more_steps")
    now = (
        trials.SIZE,
        trials.STEPS,
        trials.LARGE,
        trials.MIDDLE,
        trials.MORE,
    )
    assert tuple(record[key] for key in shown) == now
    for part in ("starts", "optimizers"):
        for found in record[part].values():
            assert {len(totals) for totals in found.values()} == {trials.STEPS}
    counts = {"weights": 7, "starts": 9, "speckle": 6, "steering": 4}
    for part, count in counts.items():
        with Image.open(trials.PICTURES / f"{part}.webp") as whole:
            width, height = whole.size
        assert height % count == 0
        assert width == {"starts": 256, "speckle": 120}.get(part, 384)


def test_weights_trade_content_for_style_up_to_a_thousandth(recorded):
    for found in recorded[trials]["weights"].values():
        cost, left = ([v[k] for v in found.values()] for k in ("content", "style"))
        assert cost == sorted(cost)
        assert left[:-1] == sorted(left[:-1], reverse=True)
        assert left[2] < 0.1  # the default
        assert left[-1] > left[-2] / 2


def test_start_from_the_photo_ends_lowest_and_adam_above_lbfgs(recorded):
    for part, best in (("starts", "content"), ("optimizers", "L-BFGS")):
        for name, found in recorded[trials][part].items():
            lowest = {key: min(totals) for key, totals in found.items()}
            assert lowest[best] == min(lowest.values()), name


def test_coarse_to_fine_leaves_less_than_half_of_the_speckle(recorded):
    for name, found in recorded[trials]["speckle"].items():
        steps = round(trials.STEPS * (1 + 1 / 4 + 1 / 16))
        assert found["coarse to fine"] < found[f"{steps} steps at one size"] / 2, name


def test_each_way_of_keeping_colours_keeps_more_than_none(recorded):
    for name, found in recorded[trials]["steering"].items():
        colour = {key: far["colour"] for key, far in found.items()}
        assert colour["luminance"] < colour["histogram"] < colour["its style"], name
        half, own, other = (
            found[key] for key in ("half and half", "its style", "the other style")
        )
        assert half["other"] < own["other"], name
        assert half["style"] < other["style"], name


def test_a_face_is_no_exception_among_windows(recorded):
    for found in recorded[trials]["face"].values():
        for how in found.values():
            assert 0.1 < how["windows with less"] < 0.9
            assert 0.8 < how["face over picture"] < 1.25


def test_pictures_of_a_part_lie_below_one_another(tmp_path):
    images = [picture(16, 24, seed) for seed in range(3)]
    trials.stack(images, tmp_path / "part" / "three.webp", lossless=True)
    whole = numpy.asarray(Image.open(tmp_path / "part" / "three.webp"))
    assert whole.shape == (48, 24, 3)
    for one, image in zip(numpy.split(whole, 3), images, strict=True):
        given = 255 * image[0].permute(1, 2, 0).numpy()
        assert abs(one - given).max() <= 0.51
