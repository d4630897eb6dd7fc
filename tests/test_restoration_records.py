"""What the records of chapters 6 and 7 are computed with: rings of frequency, contours,
holes, baselines, bounds.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import picture, refused

from pltutorial import bundled, read_image, upscale, write_image
from pltutorial.degradations import add_noise, downscale
from pltutorial.images import middle_square
from pltutorial.metrics import lattice, psnr
from pltutorial.networks import load_network, save_network
from pltutorial.networks.residual import DenoisingNet, InpaintingNet, SubPixelNet
from pltutorial.tasks.deblur import deblurring_net

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "book")]
benchmark = importlib.import_module("benchmarks.restoration")
back_projection = importlib.import_module("benchmarks.back_projection")
which_layer = importlib.import_module("which_layer")
del sys.path[:2]


def waves(amplitude: float, cycles: float, side: int = 128) -> torch.Tensor:
    """Grey stripes of so many cycles per pixel."""
    row = 0.5 + amplitude * torch.cos(2 * math.pi * cycles * torch.arange(side))
    return row.view(1, 1, 1, side).expand(1, 3, side, side).contiguous()


@pytest.mark.parametrize("ring", [1, 4, 7])
def test_rings_know_the_frequency(ring):
    """Stripes in the middle of a ring, at half their height: a quarter of the power and
    of the error, there alone.
    """
    cycles = (ring + 0.5) / 16
    target = waves(0.3, cycles) + 0.1 * (waves(1, 0.5 / 16) - 0.5)
    energy, error = which_layer.rings(
        [target - 0.5 * (waves(0.3, cycles) - 0.5)], [target]
    )
    assert energy[ring] == pytest.approx(0.25, abs=0.02)
    assert error[ring] == pytest.approx(0.25, abs=0.02)
    assert energy[0] == pytest.approx(1, abs=0.02)
    assert error[0] == pytest.approx(0, abs=0.02)


def test_rings_of_the_truth_itself():
    target = picture(64, 80)
    energy, error = which_layer.rings([target], [target])
    assert (energy, error) == ([1.0] * 8, [0.0] * 8)


def test_error_by_contour():
    """A step in the middle, and an error there alone, is one of
    the sharpest quarter.
    """
    target = torch.zeros(1, 3, 40, 40)
    target[..., 20:] = 1
    output = target.clone()
    output[..., 19:21] = 0.5
    flat = output + 10 / 255
    *others, sharpest = which_layer.by_contour(
        [(flat * (output != 0.5) + output * (output == 0.5))], [target]
    )
    assert sharpest < min(others) - 5
    even = which_layer.by_contour(
        [picture(40, 40) * 0.5 + 20 / 255], [picture(40, 40) * 0.5]
    )
    assert even == pytest.approx(
        [20 * math.log10(255 / 20) + 20 * math.log10(255 / 219)] * 4, abs=0.1
    )


@pytest.mark.parametrize("share", benchmark.SHARES)
def test_holes_are_fixed_and_of_their_share(share):
    mask = benchmark.holes(share / 100, 2)
    assert torch.equal(mask, benchmark.holes(share / 100, 2))
    assert not torch.equal(mask, benchmark.holes(share / 100, 3))
    assert float(mask.mean()) == pytest.approx(share / 100, abs=0.015)
    assert set(mask.unique().tolist()) == {0.0, 1.0}


def test_filling_looks_into_the_holes_alone():
    target, mask = torch.full((1, 3, 32, 32), 0.2), torch.zeros(1, 1, 32, 32)
    mask[..., 8:16, 8:16] = 1
    output = target + 51 / 255 * mask
    found = benchmark.filling(output, target, mask)
    assert found["psnr"] == pytest.approx(20 * math.log10(5), abs=1e-4)
    assert found["distance"] > 0
    assert benchmark.filling(torch.where(mask > 0, output, 0.9), target, mask) == found


def test_biharmonic_goes_on_with_a_ramp():
    """Where a picture is a plane, the smoothest surface through the
    rim is the picture.
    """
    target = torch.linspace(0, 1, 24).expand(1, 3, 24, 24).contiguous()
    mask = torch.zeros(1, 1, 24, 24)
    mask[..., 9:14, 10:13] = 1
    assert float((benchmark.biharmonic(target, mask) - target).abs().max()) < 1e-4
    assert float((benchmark.mean_colour(target, mask) - target).abs().max()) > 0.02


def test_non_local_means_cleans():
    target = picture(24, 24).expand(1, 3, 24, 24) * 0
    target[..., 12:] = 0.7
    noisy = add_noise(target, 25)
    clean = benchmark.non_local_means(noisy, 25, h=0.8, patch=5, reach=6, fast=False)
    assert clean.shape == target.shape
    assert (
        float(psnr(clean, target, channel="rgb"))
        > float(psnr(noisy.clamp(0, 1), target, channel="rgb")) + 5
    )


@pytest.mark.parametrize("blur", benchmark.BLURS)
def test_the_wiener_filter_that_knows_the_kernel_sharpens(blur):
    target = read_image(bundled("test/monarch"))[..., 200:328, 300:460]
    given = benchmark.blurred_with_noise(target, blur, 3)
    assert torch.equal(given, benchmark.blurred_with_noise(target, blur, 3))
    assert not torch.equal(given, benchmark.blurred_with_noise(target, blur, 4))
    assert torch.equal(given, given.mul(255).round() / 255)
    sharp = benchmark.wiener(given, benchmark.BLURS[blur](), 0.01)
    assert sharp.shape == target.shape
    before, after = (benchmark.sharpness(x, target)["psnr"] for x in (given, sharp))
    assert after > before + 1
    other = next(name for name in benchmark.BLURS if name != blur)
    wrong = benchmark.wiener(given, benchmark.BLURS[other](), 0.01)
    assert benchmark.sharpness(wrong, target)["psnr"] < after


def test_means_keep_each_picture():
    rows = [{"psnr": 30.0, "distance": 0.1}, {"psnr": 31.0, "distance": 0.3}]
    assert benchmark.means(rows) == {
        "psnr": 30.5,
        "distance": 0.2,
        "pictures": [[30.0, 0.1], [31.0, 0.3]],
    }


def case(psnr: float, distance: float) -> dict:
    return {"psnr": psnr, "distance": distance}


def test_bounds_can_fail(capsys):
    good = {
        "upscale": {
            "set5": {
                "x4": {
                    "bicubic": case(28.63, 0.32),
                    "pixel": case(31.5, 0.15),
                    "feature": case(28.9, 0.1),
                },
                "x8": {
                    "bicubic": case(24.0, 0.5),
                    "pixel": case(25.4, 0.4),
                    "feature": case(24.1, 0.2),
                },
            }
        },
        "denoise": {
            "test": {
                "sigma25": {
                    "non_local_means": case(29, 0.2),
                    "pixel": case(31, 0.2),
                    "combined": case(30, 0.1),
                }
            }
        },
        "inpaint": {
            "test": {
                "holes20": {
                    "biharmonic": case(20, 0.2),
                    "pixel": case(21, 0.2),
                    "combined": case(20, 0.1),
                }
            }
        },
    }
    rows = benchmark.bounds(good)
    assert len(rows) == 11
    assert not benchmark.show_bounds(good)
    assert "FAILS" not in capsys.readouterr().out
    good["upscale"]["set5"]["x4"]["pixel"] = case(31.39, 0.15)
    good["inpaint"]["test"]["holes20"]["combined"] = case(20, 0.21)
    assert benchmark.show_bounds(good)
    assert capsys.readouterr().out.count("FAILS") == 3


def test_deblurring_has_bounds_of_its_own(capsys):
    good = {"blurred": case(26, 0.2), "combined": case(28, 0.15)}
    found = {"deblur": {"test": {"motion9": good, "disc2": good}}}
    assert len(benchmark.bounds(found)) == 4
    assert not benchmark.show_bounds(found)
    bad = {"blurred": case(26, 0.2), "combined": case(27, 0.19)}
    assert benchmark.show_bounds({"deblur": {"test": {"disc2": bad}}})
    assert capsys.readouterr().out.count("FAILS") == 2


def test_card_gets_its_own_numbers():
    found = {
        "upscale": {
            "set5": {
                "x4": {
                    "pixel": case(31, 0.1) | {"pictures": []},
                    "feature": case(29, 0.1),
                    "bicubic": case(28, 0.3),
                },
                "x8": {"pixel": case(25, 0.4)},
            }
        },
        "denoise": {
            "test": {
                "sigma15": {"pixel": case(33, 0.1)},
                "sigma25": {"pixel": case(31, 0.2)},
            }
        },
    }
    measured = benchmark.held_out("upscale_x4_pixel", found)
    assert measured.pop("measured by") == "benchmarks/restoration.py"
    assert measured == {
        "set5": {"x4": {"this network": case(31, 0.1), "bicubic": case(28, 0.3)}}
    }
    assert benchmark.held_out("denoise_pixel", found)["test"].keys() == {
        "sigma15",
        "sigma25",
    }
    assert benchmark.held_out("inpaint_combined", found).keys() == {"measured by"}
    rows = {name: case(28, 0.2) for name in ("blurred", "wiener", "combined")}
    measured = benchmark.held_out("deblur_combined", {"deblur": {"test": {"d": rows}}})
    assert set(measured["test"]["d"]) == {"blurred", "wiener", "this network"}


def test_unknown_network_is_one_sentence(tmp_path):
    with refused("there is no network 'upscale_x16'"):
        benchmark.networks(tmp_path, ["upscale_x16"])


def test_what_is_kept_is_not_computed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "KEPT", tmp_path / "kept.json")
    kept: dict = {}
    calls = []
    for _ in range(2):
        assert benchmark.keep(
            kept, "key", lambda: calls.append(1) or {"psnr": 1.0}
        ) == {"psnr": 1.0}
    assert calls == [1]
    assert '"key"' in (tmp_path / "kept.json").read_text()


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The benchmark on scraps of pictures with small random networks, which writes into
    a temporary folder only.
    """
    made = {
        "upscale_x4": SubPixelNet(4, 4, 1),
        "upscale_x8": SubPixelNet(8, 4, 1),
        "denoise": DenoisingNet(4, 1),
        "inpaint": InpaintingNet(4, 1),
    }
    (tmp_path / "networks").mkdir()
    (tmp_path / "set5").mkdir()
    for task, network in made.items():
        for loss in ("pixel", "feature" if task.startswith("upscale") else "combined"):
            save_network(
                tmp_path / "networks" / f"{task}_{loss}.safetensors",
                network,
                {"steps": 1},
            )
    name = "deblur_combined.safetensors"
    save_network(tmp_path / "networks" / name, deblurring_net(4, 1), {"steps": 1})
    for number in range(5):
        write_image(tmp_path / "set5" / f"{number}.png", picture(48, 56, seed=number))
    changes = {
        "RECORD": tmp_path / "record.json",
        "KEPT": tmp_path / "kept.json",
        "SQUARE": 32,
        "TUNED": 16,
    }
    changes |= {
        "SIGMAS": (25,),
        "SHARES": (20,),
        "BLENDS": (0.5,),
        "STRENGTHS": (0.8,),
        "PATCHES": (3,),
        "BALANCES": (0.01, 0.1),
        "EDGE": 4,
    }
    changes |= {"REACHES": (2, 3), "bundled_names": lambda folder: ["monarch"]}
    changes["read_image"] = lambda path: read_image(path)[..., :40, :48]
    for name, value in changes.items():
        monkeypatch.setattr(benchmark, name, value)
    return tmp_path


def run(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["restoration", *map(str, arguments)])
    return benchmark.main()


def test_whole_run_writes_the_record_and_the_cards(small, monkeypatch, capsys):
    folder = small / "networks"
    assert (
        run(monkeypatch, "--set5", small / "set5", "--folder", folder, "--write") == 1
    )  # random weights fail
    assert "FAILS Set5 x4, pixel, PSNR" in capsys.readouterr().out
    record = json.loads(benchmark.RECORD.read_text())
    assert record["command"] == "python -m benchmarks.restoration --set5 FOLDER"
    assert set(record["upscale"]) == {"test", "set5"}
    methods = {"nearest", "bicubic", "pixel", "feature", "blend_0.5"}
    assert set(record["upscale"]["set5"]["x8"]) == methods
    assert set(record["denoise"]["test"]["sigma25"]) == {
        "noisy",
        "non_local_means",
        "pixel",
        "combined",
    }
    for blur in benchmark.BLURS:
        found = set(record["deblur"]["test"][blur])
        assert found == {"blurred", "wiener", "combined"}
        assert record["tuning"][blur]["balance"] in benchmark.BALANCES
    assert set(record["inpaint"]["set5"]["holes20"]) == {
        "mean_colour",
        "biharmonic",
        "pixel",
        "combined",
    }
    assert len(record["inpaint"]["set5"]["holes20"]["pixel"]["pictures"]) == 5
    assert record["tuning"]["sigma25"]["h"] == 0.8
    assert str(small) not in benchmark.RECORD.read_text()
    card = load_network(folder / "upscale_x8_feature.safetensors", "cpu").card
    own = card["held_out"]["test"]["x8"]["this network"]
    assert own.items() <= record["upscale"]["test"]["x8"]["feature"].items()
    assert card["steps"] == 1


def test_one_network_leaves_the_record_alone(small, monkeypatch, capsys):
    assert (
        run(monkeypatch, "--folder", small / "networks", "--only", "inpaint_pixel") == 0
    )
    printed = capsys.readouterr().out
    assert "inpaint  test  holes20  pixel" in printed
    assert "upscale" not in printed
    assert not benchmark.RECORD.exists()


def test_wrong_folder_of_set5_is_one_sentence(small, monkeypatch):
    with refused("holds 0 PNG files"):
        run(monkeypatch, "--set5", small / "networks", "--folder", small / "networks")


def test_one_task_leaves_the_others_part_of_the_record(small, monkeypatch):
    options = ("--folder", small / "networks")
    run(monkeypatch, *options)
    before = json.loads(benchmark.RECORD.read_text())
    run(monkeypatch, "--task", "upscale", "--set5", small / "set5", *options)
    after = json.loads(benchmark.RECORD.read_text())
    assert set(after["upscale"]) == {"test", "set5"}
    for part in ("denoise", "deblur", "inpaint", "tuning"):
        assert after[part] == before[part]


def test_what_ships_for_likeness_draws_no_lattice():
    """By the record, which has a row with one, and by the networks themselves."""
    record = json.loads((benchmark.RECORD.parent / "lattice.json").read_text())
    rows = {row["name"]: row for row in record["rows"]}
    assert rows["features"]["lattice"] > 20
    square = middle_square(bundled("test/kodim23"), 256)
    for loss in ("pixel", "feature", "adversarial"):
        made = upscale(downscale(square, 4), 4, loss)
        assert max(rows[loss]["lattice"], float(lattice(made))) <= 1.2, loss


def test_back_projection_ends_at_the_small_picture():
    """The correction leaves a shrunk picture that agrees, and a picture that agreed
    already as it was; the control changes as much, in other places.
    """
    target = benchmark.larger(picture(16, 24), 4)
    small = downscale(target, 4, round_values=False)
    given = F.interpolate(small, scale_factor=4)
    made = back_projection.arms(given, small)
    off = [
        back_projection.judged(made[arm], small, target)["off"]
        for arm in ("0", "1", "10", "turned")
    ]
    assert off[0] > 2 * off[1] > 4 * off[2]
    assert off[3] > off[0]
    changes = [float((made[arm] - given).square().mean()) for arm in ("10", "turned")]
    assert changes[0] == pytest.approx(changes[1], rel=0.1)
    again = back_projection.back_projected(target, small, 10)
    torch.testing.assert_close(again, target, atol=1e-4, rtol=0)


def test_the_record_of_back_projection():
    """What chapter 6 says of it."""
    rows = json.loads(back_projection.RECORD.read_text(encoding="utf-8"))["rows"]
    assert set(rows) == {"bicubic", *back_projection.SHIPPED}
    for row in rows.values():
        assert row["10"]["off"] < row["1"]["off"] < row["0"]["off"]
        assert row["turned"]["psnr"] < row["0"]["psnr"]
