"""The record of what a classifier still sees in drawings: what it says, and what it is
computed with.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from helpers import picture
from random_networks import inverter

from pltutorial import bundled, bundled_names, zoo
from pltutorial.images import middle_square, write_image
from pltutorial.metrics import psnr
from pltutorial.networks import load_network, save_network

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
benchmark = importlib.import_module("benchmarks.recognised")
sys.path.pop(0)

RECORD = json.loads(benchmark.RECORD.read_text(encoding="utf-8"))
FULL = [f"invert_{layer}_full" for layer in zoo.FULL_INVERTERS]
WAYS = ("recognised", "back")


# --- the record that is there ---------------------------------------------------------


def test_all_inverters_that_ship_are_in_it():
    assert list(RECORD["rows"]) == ["data", "collection"]
    for rows in RECORD["rows"].values():
        assert {*FULL, "invert_relu4_3_deepsim"} <= set(rows)
    shipped = {path.stem for path in zoo.LIKENESS.glob("invert_*.safetensors")}
    assert shipped == {name for name in RECORD["rows"]["data"] if name in shipped}


def test_photographs_are_those_that_it_names():
    names = RECORD["pictures"]
    assert names["data"] == [
        f"{folder}/{name}"
        for folder in benchmark.SETS
        for name in bundled_names(folder)
    ]
    for where, rows in RECORD["rows"].items():
        assert len(set(names[where])) == len(names[where])
        for row in rows.values():
            assert {len(row[way]["each"]) for way in WAYS} == {len(names[where])}


def test_shares_and_intervals_are_those_of_the_photographs():
    """Wilson's interval has the shares p at which what was found is just 1.96 standard
    deviations away.
    """
    for rows in RECORD["rows"].values():
        for row in rows.values():
            for way in WAYS:
                part = row[way]
                assert part == benchmark.share(part["each"])
                found = part["count"] / part["of"]
                for p in part["interval"]:
                    if 0 < p < 1:  # rounded to three digits
                        near = [
                            abs(q - found) / (q * (1 - q) / part["of"]) ** 0.5
                            for q in (p - 5.1e-4, p + 5.1e-4)
                        ]
                        assert min(near) < 1.96 < max(near)


def test_drawings_are_recognised_and_controls_are_not():
    """The intervals of each network and of its controls do not meet."""
    for rows in RECORD["rows"].values():
        assert rows["mirrored"]["recognised"]["share"] > 0.9
        for name in FULL:
            low = rows[name]["recognised"]["interval"][0]
            for other in ("mean colour", f"{name}, blurred", f"{name}, another's"):
                assert rows[other]["recognised"]["interval"][1] < low, other


def test_the_classifier_agrees_with_the_record():
    """Two photographs that it is sure of, drawn again."""
    names = RECORD["pictures"]["data"]
    for name, photo in (
        ("invert_relu4_3_full", "test/monarch"),
        ("invert_relu5_3_full", "content/coffee"),
    ):
        image = middle_square(bundled(photo), benchmark.SIDE)
        path = zoo.LIKENESS / f"{name}.safetensors"
        found = benchmark.measured(image, {name: path}, codes=False)[name]
        for way in WAYS:
            each = RECORD["rows"]["data"][name][way]["each"]
            assert found[way]["each"] == each[names.index(photo)]


def test_cards_hold_what_the_record_says():
    for name in FULL:
        card = load_network(zoo.LIKENESS / f"{name}.safetensors", "cpu").card
        assert card["held_out"] == benchmark.card_numbers(name, RECORD)
        assert {"data/test", "data/content", "recognised, data"} <= set(
            card["held_out"]
        )


# --- what it is computed with ---------------------------------------------------------


def test_blur_keeps_the_mean_and_reaches_the_psnr():
    image = picture(24, 32)
    plain = torch.full_like(image, 0.3)
    torch.testing.assert_close(benchmark.gaussian(plain, 3.0), plain)
    torch.testing.assert_close(benchmark.gaussian(image, 0.05), image)
    for wanted in (14.0, 20.0):
        made = benchmark.blurred_alike(image, wanted)
        assert float(psnr(made, image, channel="rgb")) == pytest.approx(wanted, abs=0.3)
    lowest = benchmark.blurred_alike(image, 0.0)
    torch.testing.assert_close(lowest, benchmark.gaussian(image, benchmark.WIDEST))


def test_among_the_first_five():
    first = torch.eye(8)[:3]
    five = torch.arange(8.0).repeat(3, 1)  # the classes 3 to 7 are the first five
    assert benchmark.among(first, five) == "000"
    assert benchmark.among(five, first.flip(1)) == "111"
    assert benchmark.among(torch.eye(8)[3:6], five) == "111"


def test_whole_run(tmp_path, monkeypatch, capsys):
    """On small pictures with random networks; only the folder given is written to."""
    shipped, photos = tmp_path / "shipped", tmp_path / "photos"
    shipped.mkdir()
    photos.mkdir()
    for layer, loss in (("relu3_3", "image"), ("relu4_3", "full")):
        save_network(
            shipped / f"invert_{layer}_{loss}.safetensors", inverter(layer), {}
        )
    for name, size in (("large", 40), ("small", 24)):
        write_image(photos / f"{name}.png", picture(size, 48))
    monkeypatch.setattr(benchmark, "SIDE", 32)
    monkeypatch.setattr(benchmark, "SETS", ("test",))
    monkeypatch.setattr(benchmark, "LIKENESS", shipped)
    monkeypatch.setattr(benchmark, "RECORD", tmp_path / "recognised.json")
    monkeypatch.setattr(benchmark.likeness, "photographs", lambda _: picture(32, 32))
    arguments = ["recognised", "--photographs", str(photos)]
    monkeypatch.setattr(sys, "argv", arguments)
    benchmark.main()
    assert not benchmark.RECORD.exists()
    assert "mean colour" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [*arguments, "--write"])
    benchmark.main()
    record = json.loads(benchmark.RECORD.read_text())
    assert str(tmp_path) not in benchmark.RECORD.read_text()
    assert record["pictures"]["collection"] == ["large"]
    assert "invert_relu3_3_image" in record["rows"]["data"]
    assert "invert_relu3_3_image" not in record["rows"]["collection"]
    assert record["rows"]["data"]["invert_relu4_3_full"]["code"] > 0
    card = load_network(shipped / "invert_relu4_3_full.safetensors", "cpu").card
    assert card["held_out"] == benchmark.card_numbers("invert_relu4_3_full", record)
    card = load_network(shipped / "invert_relu3_3_image.safetensors", "cpu").card
    assert "held_out" not in card
