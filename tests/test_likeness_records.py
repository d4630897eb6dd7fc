"""The record of chapters 8 and 9: what it is computed with, what it says of what ships,
and what it may not hold.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from helpers import picture, refused

from pltutorial import InputError, zoo
from pltutorial.metrics import psnr
from pltutorial.networks import (
    VAE,
    ColorizationNet,
    ConvAutoencoder,
    Discriminator,
    InversionNet,
    load_network,
    save_network,
)

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
benchmark = importlib.import_module("benchmarks.likeness")
sys.path.pop(0)

RECORD = json.loads(benchmark.RECORD.read_text(encoding="utf-8"))
SHIPPED = benchmark.networks(zoo.LIKENESS)
ROWS = {"psnr", "distance", "feature_distance", "sharpness"}


# --- the record that is there ---------------------------------------------------------


def roles() -> list[str]:
    return [name for name in RECORD["networks"] if benchmark.role(name)]


def tables() -> set[str]:
    """The networks of which the record holds numbers, by the names of their files."""
    names = {
        f"invert_{layer}_{variant}"
        for layers in RECORD["inversion"].values()
        for layer, rows in layers.items()
        for variant in rows
    }
    for table in ("reencoding", "strongest"):
        names |= {
            f"invert_{layer}_{variant}"
            for layer, rows in RECORD[table].items()
            for variant in rows
        }
    for layer, rows in RECORD["optimisation"].items():
        names |= {
            f"invert_{layer}_{variant}"
            for variant in rows.keys() & set(benchmark.VARIANTS)
        }
    names |= {
        f"autoencoder_{loss}"
        for rows in RECORD["autoencoder"].values()
        for loss in rows
    }
    names |= {
        f"colorize_{loss}"
        for rows in RECORD["colorization"].values()
        for loss in rows
        if loss != "grey"
    }
    return names | {
        f"vae_{name}"
        for name, row in RECORD["vae"].items()
        if isinstance(row, dict) and "kl" in row
    }


def test_everything_that_ships_is_in_the_record():
    assert SHIPPED
    shipped = {name for name in SHIPPED if benchmark.role(name)}
    assert {name for name in roles() if RECORD["networks"][name]["shipped"]} == shipped


def test_record_holds_nothing_of_a_network_that_is_absent():
    assert tables() == set(roles())
    recipes = {
        path.stem
        for path in (ROOT / "pltutorial" / "assets" / "recipes").glob("*.yaml")
    }
    for name, facts in RECORD["networks"].items():
        assert facts["shipped"] == (name in SHIPPED)
        assert name in recipes
        assert facts["steps"] > 0
        assert facts.get("start") in {None, *recipes}


def test_record_says_what_each_card_says_of_its_training():
    for name, path in SHIPPED.items():
        if benchmark.role(name):
            card, facts = load_network(path, "cpu").card, RECORD["networks"][name]
            assert (facts["steps"], facts["seconds"]) == (
                card["steps"],
                card["seconds"],
            )


def test_cards_hold_what_the_record_says():
    for name, path in SHIPPED.items():
        if benchmark.role(name):
            held_out = load_network(path, "cpu").card.get("held_out")
            assert held_out == benchmark.held_out(name, RECORD)
            assert len(held_out) >= 2


def test_record_agrees_with_a_network_that_ships():
    """One picture drawn again: the processor's rounding to 16 bits may differ by a
    tenth of a decibel.
    """
    name = next(name for name in SHIPPED if name.startswith("invert_"))
    known = benchmark.role(name)
    rows = RECORD["inversion"]["test"][known["layer"]][known["variant"]]
    target = benchmark.photographs("test")[:1]
    value = float(psnr(benchmark.drawn(target, SHIPPED[name]), target, channel="rgb"))
    assert value == pytest.approx(rows["pictures"][0]["psnr"], abs=0.1)


def test_means_are_those_of_the_pictures():
    checked = 0
    for where in benchmark.SETS:
        for rows in RECORD["inversion"][where].values():
            for row in rows.values():
                assert row.keys() == ROWS | {"pictures"}
                assert len(row["pictures"]) == len(RECORD["pictures"][where])
                for key in ROWS:
                    mean = sum(one[key] for one in row["pictures"]) / len(
                        row["pictures"]
                    )
                    assert row[key] == pytest.approx(mean, abs=1e-3)
                    checked += 1
    assert checked


def test_bounds_are_computed():
    computed = benchmark.bounds(RECORD)
    assert [row["what"] for row in RECORD["bounds"]] == [what for what, *_ in computed]
    for row, (_, value, way, bound) in zip(RECORD["bounds"], computed, strict=True):
        assert row["value"] == pytest.approx(value, abs=1e-4)
        assert (row["way"], row["bound"]) == (way, bound)
        assert row["holds"] == benchmark.holds(value, way, bound)
    layers = {
        layer
        for layer, rows in RECORD["inversion"]["test"].items()
        if {"image", "deepsim"} <= rows.keys()
    }
    assert len(computed) == 2 * len(layers)


def test_pictures_of_the_record_are_small_and_all_there():
    files = {
        f"{benchmark.STRIPS.name}/{path.name}" for path in benchmark.STRIPS.glob("*")
    }
    assert set(RECORD["strips"].values()) == files
    assert sum(path.stat().st_size for path in benchmark.STRIPS.glob("*")) <= 400_000
    for stem in RECORD["strips"]:
        name = benchmark.STEM.sub("", stem)
        assert name in RECORD["networks"] or name.startswith("optimised_")
        assert name not in SHIPPED
    for name in roles():
        shown = {name, f"{name}_samples"} & RECORD["strips"].keys()
        assert bool(shown) != RECORD["networks"][name]["shipped"]


# --- what it is computed with ---------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("invert_relu4_3_image_adv", ("relu4_3", "image_adv", None, None)),
        ("invert_pool5_deepsim", ("pool5", "deepsim", None, None)),
        ("vae_fixed", (None, None, "vae", "fixed")),
        ("colorize_pixel", (None, None, "colorize", "pixel")),
        ("vae_gan_discriminator", None),
        ("invert_relu4_3_image_1", None),
        ("denoise_pixel", None),
    ],
)
def test_roles(name, expected):
    match = benchmark.role(name)
    assert (match and match.groups()) == expected


def test_colourfulness_of_known_colours():
    """Red and green halves: rg is +-255 and yb 127.5 everywhere; the deviation is 255
    and the mean 127.5.
    """
    image = torch.zeros(1, 3, 8, 8)
    image[:, 0, :, :4] = 1
    image[:, 1, :, 4:] = 1
    assert benchmark.colourful(image) == pytest.approx(255 + 0.3 * 127.5, rel=1e-5)
    assert benchmark.colourful(
        picture(8, 8)[:, :1].expand(-1, 3, -1, -1)
    ) == pytest.approx(0, abs=1e-4)
    assert benchmark.colourful(torch.cat([image, 0 * image])) == pytest.approx(
        (255 + 0.3 * 127.5) / 2, rel=1e-5
    )


def test_strip_is_the_middle_unscaled():
    images = picture(192, 192, count=3)
    row = benchmark.strip(images)
    assert row.shape == (3, 128, 384)
    assert torch.equal(row[:, :, 128:256], images[1, :, 32:160, 32:160])


def test_bounds_can_fail(capsys):
    def rows(full: float) -> dict:
        return {
            "relu4_3": {"image": {"distance": 0.4}, "deepsim": {"distance": full}},
            "relu1_2": {"image": {}},
        }

    found = {"inversion": {"test": rows(0.3), "content": rows(0.31)}}
    assert [row[1:] for row in benchmark.bounds(found)] == [
        (pytest.approx(0.75), "<=", 0.75),
        (pytest.approx(0.775), "<=", 0.75),
    ]
    assert [
        benchmark.holds(value, way, bound)
        for _, value, way, bound in benchmark.bounds(found)
    ][1] is False


def test_card_gets_its_own_numbers():
    found = {
        "inversion": {
            "test": {
                "relu4_3": {
                    "image": {"psnr": 20, "pictures": []},
                    "deepsim": {"psnr": 19},
                }
            }
        },
        "colorization": {
            "test": {"grey": {"psnr": 1}, "gan": {"psnr": 22}},
            "content": {"gan": {"psnr": 23}},
        },
        "vae": {"pictures": 130, "pixel": {"kl": 30}},
    }
    by = {"measured by": "benchmarks/likeness.py"}
    assert benchmark.held_out("invert_relu4_3_image", found) == by | {
        "data/test": {"psnr": 20}
    }
    both = {"data/test": {"psnr": 22}, "data/content": {"psnr": 23}}
    assert benchmark.held_out("colorize_gan", found) == by | both
    assert benchmark.held_out("vae_pixel", found) == by | {
        "data/faces/test.zip": {"kl": 30}
    }
    assert benchmark.held_out("invert_relu3_3_image", found) == {}
    assert benchmark.held_out("vae_gan_discriminator", found) == {}


def test_strongest_of_nothing_and_of_all(tmp_path, monkeypatch):
    """With a count of all activations `kept` is the whole picture and `rest` is
    that of an empty code.
    """
    torch.manual_seed(0)
    path = tmp_path / "network.safetensors"
    save_network(path, InversionNet("relu2_2", 4, 0), {})
    monkeypatch.setattr(benchmark, "SIDE", 32)
    monkeypatch.setattr(benchmark, "STRONGEST", {"position": (128,), "code": (3,)})
    monkeypatch.setattr(benchmark, "photographs", lambda _: picture(32, 32, count=2))
    found = benchmark.strongest(path)
    target = picture(32, 32, count=2)
    whole = benchmark.bare(benchmark.row(benchmark.drawn(target, path), target, False))
    every = found["position"]["128"]
    assert every["kept"] == whole
    assert every["rest"] == found["none"]
    assert (every["share"], every["of_code"]) == (1, 1)
    few = found["code"]["3"]
    assert 0 < few["share"] < 0.05
    assert few["of_code"] == pytest.approx(3 / (128 * 16 * 16), rel=1e-3)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The benchmark on small pictures with random networks, which writes into a
    temporary folder only.
    """
    torch.manual_seed(0)
    shipped = {
        "invert_relu3_3_image": InversionNet("relu3_3", 4, 0),
        "invert_relu3_3_deepsim": InversionNet("relu3_3", 4, 0),
        "vae_pixel": VAE(4, 6, size=32),
        "vae_gan_discriminator": Discriminator(0, 4),
    }
    others = {
        "invert_relu3_3_image_adv": InversionNet("relu3_3", 4, 0),
        "autoencoder_image": ConvAutoencoder(4, 2, 0),
        "vae_fixed": VAE(4, 6, size=32, encoder="relu2_2"),
        "colorize_pixel": ColorizationNet(4, 1),
        "invert_relu3_3_image_1": InversionNet("relu3_3", 4, 0),
        "upscale_x4_other": InversionNet("relu3_3", 4, 0),
    }
    card = {
        "steps": 3,
        "seconds": 2,
        "settings": {"start": "runs/invert_relu3_3_image_1/network.safetensors"},
    }
    for folder, made in (("shipped", shipped), ("runs", others)):
        (tmp_path / folder).mkdir()
        for name, network in made.items():
            path = tmp_path / folder / f"{name}.safetensors"
            if folder == "runs":
                path = tmp_path / folder / name / "network.safetensors"
                path.parent.mkdir()
            save_network(path, network, card)
    changes = {
        "RECORD": tmp_path / "likeness.json",
        "STRIPS": tmp_path / "likeness",
        "SIDE": 32,
        "SHOWN": 16,
    }
    changes |= {
        "ROUNDS": 2,
        "STEPS": 1,
        "SAMPLES": 8,
        "STRONGEST": {"position": (5,), "code": (5,)},
    }
    changes["photographs"] = lambda where: picture(
        32, 32, seed=len(where), count=4 if where == "test" else 2
    )
    changes["faces"] = lambda part: picture(32, 32, seed=len(part), count=9)
    for name, value in changes.items():
        monkeypatch.setattr(benchmark, name, value)
    return tmp_path


def run(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["likeness", *map(str, arguments)])
    return benchmark.main()


def test_whole_run(small, monkeypatch, capsys):
    where = ("--folder", small / "shipped", "--runs", small / "runs")
    assert run(monkeypatch, *where, "--write") == 1  # random networks are all alike
    assert (
        "FAILS  data/test, relu3_3, DeePSiM, distance over image"
        in capsys.readouterr().out
    )
    record = json.loads(benchmark.RECORD.read_text())
    assert str(small) not in benchmark.RECORD.read_text()
    assert set(record["inversion"]["test"]["relu3_3"]) == {
        "image",
        "image_adv",
        "deepsim",
    }
    assert set(record["reencoding"]["relu3_3"]) == {"image", "deepsim"}
    assert len(record["reencoding"]["relu3_3"]["image"]["original"]) == 2
    assert set(record["vae"]) == {
        "pictures",
        "samples",
        "real",
        "mean_picture",
        "pixel",
        "fixed",
    }
    assert record["vae"]["fixed"]["latent"] == 6
    assert set(record["colorization"]["content"]) == {"grey", "pixel"}
    assert record["colorization"]["test"]["grey"]["colourfulness"] == 0
    assert set(record["networks"]) == {
        *(
            "invert_relu3_3_image",
            "invert_relu3_3_deepsim",
            "vae_pixel",
            "invert_relu3_3_image_adv",
        ),
        *("autoencoder_image", "vae_fixed", "colorize_pixel", "invert_relu3_3_image_1"),
    }
    facts = {
        "shipped": False,
        "steps": 3,
        "seconds": 2,
        "start": "invert_relu3_3_image_1",
    }
    assert record["networks"]["vae_fixed"] == facts
    assert set(record["strips"]) == {
        *(
            "invert_relu3_3_image_adv",
            "autoencoder_image",
            "colorize_pixel",
            "optimised_relu3_3",
        ),
        *("vae_fixed_samples", "vae_fixed_reconstructions"),
    }
    assert {path.stem for path in benchmark.STRIPS.iterdir()} == set(record["strips"])
    card = load_network(
        small / "shipped" / "invert_relu3_3_deepsim.safetensors", "cpu"
    ).card
    own = card["held_out"]["data/test"]
    assert own.keys() == ROWS
    assert own.items() <= record["inversion"]["test"]["relu3_3"]["deepsim"].items()
    assert card["steps"] == 3
    assert (
        "held_out"
        not in load_network(
            small / "shipped/vae_gan_discriminator.safetensors", "cpu"
        ).card
    )
    assert (
        "held_out"
        not in load_network(small / "runs/vae_fixed/network.safetensors", "cpu").card
    )


def test_without_write_nothing_is_written(small, monkeypatch):
    before = {path: path.read_bytes() for path in (small / "shipped").iterdir()}
    run(monkeypatch, "--folder", small / "shipped", "--runs", small / "nowhere")
    assert {path: path.read_bytes() for path in (small / "shipped").iterdir()} == before
    assert not benchmark.RECORD.exists()
    assert not benchmark.STRIPS.exists()


def test_pictures_of_the_past_are_taken_away(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "STRIPS", tmp_path / "likeness")
    benchmark.write_strips({"one": picture(8, 8)[0], "two": picture(8, 8)[0]})
    benchmark.write_strips({"two": picture(8, 8)[0]})
    assert [path.name for path in (tmp_path / "likeness").iterdir()] == ["two.jpg"]


def test_no_network_is_one_sentence(tmp_path, monkeypatch):
    with refused("there is no network of learned likeness in"):
        run(monkeypatch, "--folder", tmp_path, "--runs", tmp_path)
    with pytest.raises(InputError):
        run(monkeypatch, "--folder", tmp_path / "absent", "--runs", tmp_path / "absent")
