"""What one task's command does and no other: masks, rounds, codes,
sheets and colours.
"""

from __future__ import annotations

import json

import numpy
import pytest
import torch
from helpers import assert_refused, picture
from PIL import Image
from random_networks import CARD, autoencoder, inverter
from test_task_commands import FLOAT, written

from pltutorial import invert, read_image, reencode, write_image
from pltutorial.color import brightness_of
from pltutorial.networks import InversionNet, apply, load_network, save_network
from pltutorial.restoration import denoise, read_mask


@pytest.fixture
def command(task_command):
    return task_command


# --- inpaint -----------------------------------------------------------------------


def test_what_is_there_stays_as_it_is(command, photo, mask, tmp_path):
    output, image = tmp_path / "out.png", read_image(photo)
    assert command("inpaint", photo, mask, "-o", output)[0] == 0
    kept = read_mask(mask) == 0
    assert torch.equal(read_image(output) * kept, image * kept)


def test_transparent_pixels_are_holes_where_no_mask_is_given(
    command, photo, mask, tmp_path
):
    cut = tmp_path / "cut.png"
    with Image.open(photo) as whole, Image.open(mask) as holes:
        whole = whole.copy()
        whole.putalpha(holes.point(lambda value: 255 - value))
        whole.save(cut)
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    assert command("inpaint", cut, "-o", one)[0] == 0
    assert command("inpaint", photo, mask, "-o", two)[0] == 0
    assert torch.equal(read_image(one), read_image(two))
    outcome = command("inpaint", photo, "-o", tmp_path / "o.png")
    assert_refused(outcome, "no transparent pixels", "give MASK")
    written(cut, read_image(cut))  # laid over white for all that do not fill holes
    assert command("denoise", cut, "-o", tmp_path / "o.png")[0] == 0
    written(tmp_path / "o.png", denoise(read_image(cut)))
    hole = read_mask(mask).bool()
    assert float(read_image(cut)[:, :, hole[0, 0]].min()) == 1


def test_masks_that_are_refused(command, photo, tmp_path):
    def saved(name: str, values) -> str:
        values = numpy.asarray(values, numpy.uint8)
        Image.fromarray(values).save(tmp_path / name)
        return tmp_path / name

    out = tmp_path / "out.png"
    clear = numpy.eye(40, 48)[..., None] * numpy.full(4, 255)
    for mask, words in (
        (saved("turned.png", numpy.eye(48, 40) * 255), ("40x48", "48x40")),
        (saved("black.png", numpy.zeros((40, 48))), ("nothing is masked", "white")),
        (saved("labels.png", numpy.eye(40, 48)), ("nothing is masked", "white")),
        (
            saved("white.png", numpy.full((40, 48), 255)),
            ("everything is masked", "black"),
        ),
        (
            saved("grey.png", numpy.full((40, 48), 120)),
            ("100% of the mask", "grey.png"),
        ),
        (saved("clear.png", clear), ("clear.png", "transparent")),
        (tmp_path / "gone.png", ("gone.png", "does not exist")),
        (photo, ("photo.png", "neither black nor white")),
    ):
        assert_refused(command("inpaint", photo, mask, "-o", out), *words)
    assert not out.exists()


# --- invert ------------------------------------------------------------------------


def test_rounds_are_those_of_reencode(command, photo, tmp_path, encoder):
    made = {}
    for rounds in (1, 3):
        output = tmp_path / f"{rounds}.png"
        options = ("--rounds", rounds, *FLOAT, "--json")
        code, printed, _ = command("invert", photo, "-o", output, *options)
        assert code == 0
        assert json.loads(printed)["rounds"] == rounds
        steps = reencode(
            read_image(photo), rounds, encoder=encoder, precision="float32"
        )
        made[rounds] = steps[-1]
        written(output, made[rounds])
    assert float((made[1] - made[3]).abs().mean()) > 0.01


def test_own_networks_invert_too(command, photo, tmp_path, encoder):
    output = tmp_path / "out.png"
    image = read_image(photo)
    deep = save_network(tmp_path / "deep.safetensors", inverter("pool5", 3), CARD)
    call = ("invert", photo, "-o", output, *FLOAT, "--json", "--model")
    code, printed, _ = command(*call, deep)
    assert code == 0
    facts = json.loads(printed)
    assert (facts["model"], facts["layer"]) == (str(deep), "pool5")
    made = invert(image, load_network(deep), encoder=encoder, precision="float32")
    written(output, made)
    narrow = save_network(tmp_path / "narrow.safetensors", autoencoder(), CARD)
    code, printed, _ = command(*call, narrow)
    assert code == 0
    assert "layer" not in json.loads(printed)
    written(output, invert(image, load_network(narrow), precision="float32"))
    written(output, apply(load_network(narrow), image, precision="float32"))


@pytest.mark.parametrize("layer", ["relu1_2", "relu3_3", "relu4_3", "pool4"])
def test_tiles_leave_no_seam(command, tmp_path, monkeypatch, encoder, layer):
    """A large picture comes out as if it had gone through in one piece."""
    large = write_image(tmp_path / "large.png", picture(100, 330))
    own = save_network(tmp_path / "own.safetensors", inverter(layer, 4), CARD)
    monkeypatch.setattr("pltutorial.apply.TILE", 128)
    output = tmp_path / "out.png"
    assert command("invert", large, "-o", output, "--model", own, *FLOAT)[0] == 0
    network = load_network(own)
    expected = invert(read_image(large), network, encoder=encoder, precision="float32")
    assert float(expected.std()) > 0.05
    written(output, expected)


def test_running_out_of_memory_is_one_sentence(command, photo, tmp_path, monkeypatch):
    def full(*given, **rest):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(InversionNet, "forward", full)
    outcome = command("invert", photo, "-o", tmp_path / "o.png")
    assert_refused(outcome, "48x40", "shrink")


def test_a_network_of_another_encoder_is_refused(command, photo, tmp_path):
    network = InversionNet("layer3", 4, 1, channels=8, stride=8)
    other = save_network(tmp_path / "other.safetensors", network, CARD)
    outcome = command("invert", photo, "-o", tmp_path / "o.png", "--model", other)
    assert_refused(outcome, "other.safetensors", "'layer3'", "VGG-16")


# --- sample ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "loss", "count", "seed"),
    [
        ((), "pixel", 64, 0),
        (("--loss", "gan", "--count", "7"), "gan", 7, 0),
        (("--count", "1", "--seed", "5"), "pixel", 1, 5),
        (("--loss", "deepsim", "--count", "70", "--seed", "3"), "deepsim", 70, 3),
    ],
)
def test_sample_writes_a_sheet_of_what_the_network_draws(
    command, random_zoo, tmp_path, options, loss, count, seed
):
    output = tmp_path / "out.png"
    code, printed, errors = command("sample", "-o", output, *options, *FLOAT)
    assert (code, errors) == (0, "")
    path = random_zoo["LIKENESS"] / f"vae_{loss}.safetensors"
    expected = load_network(path, "cpu").sample(count, seed)
    sheet = read_image(output)
    columns = next(n for n in range(1, 99) if n * n >= count)
    rows = -(-count // columns)
    gap = 2
    assert sheet.shape[-2:] == (rows * (16 + gap) + gap, columns * (16 + gap) + gap)
    height, width = sheet.shape[-2:]
    assert printed.startswith(f"{output}: {width}x{height}, {loss}, ")
    covered = torch.zeros_like(sheet)
    for number, drawn in enumerate(expected):
        top, left = (gap + (16 + gap) * place for place in divmod(number, columns))
        part = sheet[0, :, top : top + 16, left : left + 16]
        written(part, drawn)
        covered[0, :, top : top + 16, left : left + 16] = 1
    assert bool((sheet[covered == 0] == 1).all())
    if count > 1:
        assert float(expected.std(0).mean()) > 0.01


def test_another_seed_draws_others_and_the_same_the_same(command, tmp_path):
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        options = ("--count", "4", "--seed", seed)
        assert command("sample", "-o", tmp_path / f"{name}.png", *options)[0] == 0
    one, again, other = (
        read_image(tmp_path / f"{name}.png") for name in ("one", "again", "other")
    )
    assert torch.equal(one, again)
    assert float((one - other).abs().mean()) > 0.01


def test_damaged_networks_are_refused(command, own_networks, tmp_path):
    data = own_networks["sample"].read_bytes()
    half = tmp_path / "half.safetensors"
    half.write_bytes(data[: len(data) // 2])
    outcome = command("sample", "-o", tmp_path / "o.png", "--model", half)
    assert_refused(outcome, "damaged")


# --- colorize ----------------------------------------------------------------------


def test_only_brightness_is_looked_at(command, photo, tmp_path, own_networks):
    image, options = read_image(photo), ("--model", own_networks["colorize"], *FLOAT)
    grey = brightness_of(image).expand(-1, 3, -1, -1)
    grey = write_image(tmp_path / "grey.png", grey)
    one, two = tmp_path / "out.png", tmp_path / "two.png"
    assert command("colorize", photo, "-o", one, *options)[0] == 0
    assert command("colorize", grey, "-o", two, *options)[0] == 0
    difference = (read_image(one) - read_image(two)).abs()
    assert float(difference.mean()) < 0.005  # 8 bits have rounded the brightness
    assert float((read_image(one) - read_image(grey)).abs().mean()) > 0.02


def test_colours_of_large_pictures(command, tmp_path, monkeypatch, own_networks):
    own = own_networks["colorize"]
    large = write_image(tmp_path / "large.png", picture(90, 301))
    expected = apply(load_network(own), read_image(large), precision="float32")
    monkeypatch.setattr("pltutorial.apply.TILE", 40)
    output = tmp_path / "o.png"
    assert command("colorize", large, "-o", output, "--model", own, *FLOAT)[0] == 0
    written(output, expected)
