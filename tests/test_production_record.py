"""The record of chapter 14 is sense, and what it is computed with: `OMP_NUM_THREADS=1
python -m benchmarks.production [--part huge|int8|video|runtimes]` makes it.
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
from random_networks import livened

from pltutorial import zoo
from pltutorial.networks.residual import DenoisingNet
from pltutorial.onnx.export import export_onnx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
main = importlib.import_module("benchmarks.production.__main__")
huge = importlib.import_module("benchmarks.production.huge")
int8 = importlib.import_module("benchmarks.production.int8")
video = importlib.import_module("benchmarks.production.video")
runtimes = importlib.import_module("benchmarks.production.runtimes")
del sys.path[0]
RECORD = json.loads(main.RECORD.read_text(encoding="utf-8"))


@pytest.mark.parametrize("part", main.PARTS)
def test_each_part_says_how_where_and_when(part):
    found = RECORD[part]
    assert found["command"] == f"{main.COMMAND} --part {part}"
    assert "1 threads" in found["machine"]
    assert found["date"] >= "2026-11-29"


# --- pictures larger than memory ------------------------------------------------------


def rows_of(what: str) -> list[dict]:
    return [row for row in RECORD["huge"]["rows"] if row["what"] == what]


def test_a_hundred_megapixels_take_less_than_two_gigabytes():
    nothing = rows_of("nothing but the network")[0]["peak_mb"]
    for row in (rows_of("denoise")[-1], rows_of("upscale")[-1]):
        assert row.get("megapixels_made", row["megapixels"]) == 100
        assert nothing < row["peak_mb"] < 2000
    small, *_, large = rows_of("denoise")
    assert small["megapixels"] == 4 < large["megapixels"]
    assert large["peak_mb"] - small["peak_mb"] < 1000


def test_bytes_grow_by_a_quarter_of_what_floats_do():
    growth = RECORD["huge"]["bytes_a_pixel"]
    assert 5 < growth["denoise"] < 9
    # the picture and the result alone are 24
    assert 24 < growth["denoise as floats"] < 45
    assert growth["denoise"] < 0.3 * growth["denoise as floats"]


def test_a_print_has_no_tiles():
    """What stands in the way: means over the whole picture, which tiles have not."""
    small, large = rows_of("stylize")
    each = (large["peak_mb"] - small["peak_mb"]) / (
        large["megapixels"] - small["megapixels"]
    )
    assert 200 < each < 450
    assert RECORD["huge"]["stylize_in_tiles"]["mean"] > 1


@pytest.mark.parametrize("name", huge.FUNCTIONS)
def test_tiles_are_the_whole(name):
    kept = RECORD["huge"]["tiles"][name]
    now = huge.tiles(name, 192, 80)
    for found in (kept, now):
        assert found["tile"] < found["side"]
        assert found["floats"] < 0.1
        assert found["bytes"] <= 1
        assert found["bytes_and_floats"] < 0.6  # half a step, by rounding
        assert found["without_overlap"] > 3


def test_a_peak_is_that_of_the_process_alone():
    """A process that holds a fifth of a gigabyte more has a peak so much higher, and
    one that holds nothing does not have that of the tests.
    """
    held = "held = b'x' * {}; print(len(held))"
    small, large = (
        huge.took(["-c", held.format(size)])["peak_mb"] for size in (1, 200_000_000)
    )
    assert small < 60
    assert 180 < large - small < 260


# --- eight bits -----------------------------------------------------------------------

ARMS = {"float32", "float16", "float32_plain", "weights", "int8", "int8_ends_float"}


@pytest.mark.parametrize("name", int8.NETWORKS)
def test_eight_bits_in_the_record(name):
    arms = RECORD["int8"]["networks"][name]
    assert set(arms) == ARMS
    size = {
        arm: row["bytes"] / arms["float32_plain"]["bytes"] for arm, row in arms.items()
    }
    assert 0.45 < size["float16"] < 0.56
    for arm in ("weights", "int8", "int8_ends_float"):
        assert 0.22 < size[arm] < 0.36
    # integers are quicker than the same convolutions in floats, small weights are not
    seconds = {arm: row["seconds_ratio"] for arm, row in arms.items()}
    assert seconds["int8"] < 0.8 * seconds["float32_plain"]
    assert seconds["weights"] > 0.8 * seconds["float32_plain"]
    # the weights alone cost less than the activations
    near = {arm: row["to_float32"]["psnr"] for arm, row in arms.items()}
    assert near["float16"] is None  # what ships is in half precision already
    assert near["weights"] > near["int8"] > 30
    assert near["weights"] > 45
    if "to_truth" in arms["int8"]:
        lost = arms["float32"]["to_truth"]["psnr"] - arms["int8"]["to_truth"]["psnr"]
        assert -0.02 < lost < 0.3


def test_weights_of_eight_bits_now():
    """A small network anew: its weights in steps of a 127th of the largest of each
    output, its result near that of the floats, its file a third.
    """
    torch.manual_seed(0)
    network = livened(DenoisingNet(32, 1))
    plain = int8.plainly(network)
    small = int8.weights_only(plain)
    assert len(small) < 0.4 * len(plain)
    image = picture(24, 32)
    right = network.eval()(image).detach().clamp(0, 1)
    for data, near in ((plain, 1e-4), (small, 0.05)):
        made = int8.run(int8.session(data), image)
        assert float((made - right).abs().max()) < near
    assert not torch.equal(made, right)
    whole = int8.static(plain, picture(24, 32, count=2))
    made = int8.run(int8.session(whole), image)
    assert 0 < float((made - right).abs().max()) < 0.3


# --- frames ---------------------------------------------------------------------------


def test_flicker_in_the_record():
    rows, means = RECORD["video"]["rows"], RECORD["video"]["means"]
    assert len(rows) == len(video.PHOTOS) * len(video.STYLES) * len(video.CLIPS)
    by = {(row["step"], row["sigma"]): row for row in means}
    still, slow, stride = by[0, 4.0], by[1, 4.0], by[4, 4.0]
    # where nothing moves smoothing helps always, where the camera pans hardly
    assert still["smoothing_helps"] == still["of"] == 6
    assert still["smoothed"]["flicker"] < 0.4 * still["plain"]["flicker"]
    assert slow["smoothed"]["flicker"] > 0.8 * slow["plain"]["flicker"]
    # along the flow it does; a blur flickers less, too, and is no print any more
    for row in (slow, stride):
        assert row["along_flow"]["flicker"] < 0.5 * row["plain"]["flicker"]
        assert row["blurred"]["flicker"] < row["plain"]["flicker"]
        assert row["blurred"]["sharpness"] < 0.4 * row["plain"]["sharpness"]
    # moved by the stride of the network the strokes move along, without noise, too
    for sigma in (0.0, 4.0):
        one, four = by[1, sigma], by[4, sigma]
        assert four["plain"]["flicker"] < 0.7 * one["plain"]["flicker"]
    assert by[1, 0.0]["clip"] == by[4, 0.0]["clip"] == 0


def test_the_motion_of_a_clip_is_known():
    for step, sigma in ((0, 0.0), (3, 0.0), (1, 4.0)):
        frames = video.clip("content/pagoda", step, sigma, seed=0)
        assert len(frames) == video.FRAMES
        # the difference of two draws of noise, a little less where white clips it
        error = video.flicker(frames, step)
        assert error == 0 if not sigma else 0.8 < error / (sigma * 2**0.5) < 1.05
        assert video.flicker(frames, step + 1) > 2
    moved = video.along_flow(video.clip("content/pagoda", 3, 0.0, seed=0), 3)
    assert video.flicker(moved, 3) < 0.01


# --- runtimes -------------------------------------------------------------------------


def test_runtimes_in_the_record():
    rows = RECORD["runtimes"]["rows"]
    found = {row["runtime"] for row in rows}
    assert found >= {
        "pytorch",
        "onnxruntime",
        "openvino",
        "openvino_float32",
        "browser",
    }
    for row in rows:
        assert row["version"]
        if row["runtime"] == "pytorch":
            assert (row["largest"], row["seconds_ratio"]) == (0, 1)
        elif row["runtime"] == "openvino":  # in bfloat16, as it comes on this processor
            assert 1 < row["largest"] < 100
        else:
            assert row["largest"] < 0.1  # of 255
        assert 0.3 < row["seconds_ratio"] < 30


def test_a_runtime_that_is_not_there_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(runtimes.PACKAGES, "opencv", "no_such_runtime")
    with pytest.raises(SystemExit) as left:
        runtimes.side_of("opencv", tmp_path)
    assert "no_such_runtime is not installed" in str(left.value)


def test_a_runtime_now(tmp_path, monkeypatch):
    monkeypatch.setattr(runtimes, "SIDES", (64,))
    network = zoo.load_style(runtimes.NETWORK, "cpu").only(runtimes.NETWORK)
    export_onnx(network, tmp_path / "model.onnx")
    image = picture(64, 64)
    numpy.save(tmp_path / "image_64.npy", image.numpy())
    found = {}
    for name in ("pytorch", "onnxruntime"):
        found[name] = [json.loads(json.dumps(runtimes.side_of(name, tmp_path)))]
    row = runtimes.row("onnxruntime", 64, found, tmp_path)
    assert row["largest"] < 0.1
    assert row["seconds"] > 0
