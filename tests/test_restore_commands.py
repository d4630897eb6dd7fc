"""The commands upscale, denoise, inpaint and models: files, pipes, masks, transparency, and what they refuse."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy
import pytest
import torch
from helpers import assert_refused, picture, process
from PIL import Image
from restorers import CARD, livened, zoo_of_restorers
from test_stylize import HALF
from test_video import gif

from pltutorial import read_image, write_image, zoo
from pltutorial.images import open_picture, to_image
from pltutorial.networks import save_network
from pltutorial.networks.residual import SubPixelNet
from pltutorial.restoration import denoise, inpaint, read_mask, upscale


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return zoo_of_restorers(tmp_path_factory.mktemp("restoration"))


@pytest.fixture
def command(command, monkeypatch, networks):
    """The command of all tests, with networks of random weights in place of those that ship."""
    monkeypatch.setattr(zoo, "RESTORERS", networks)
    monkeypatch.setattr(zoo, "LIKENESS", networks / "none")
    return command


@pytest.fixture
def mask(tmp_path):
    """A mask for the photo, 48x40, with a hole of 12x8."""
    values = numpy.zeros((40, 48), numpy.uint8)
    values[10:18, 20:32] = 255
    path = tmp_path / "mask.png"
    Image.fromarray(values).save(path)
    return path


def written(path, expected: torch.Tensor) -> None:
    torch.testing.assert_close(read_image(path), expected.cpu(), atol=HALF, rtol=0)


# --- pictures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ((), {}),
        (("--factor", "8"), {"factor": 8}),
        (("--factor", "4", "--loss", "pixel"), {"factor": 4, "loss": "pixel"}),
        (("--loss", "0.25"), {"loss": 0.25}),
        (("--match-histogram",), {"match_histogram": True}),
        (("--precision", "float32"), {"precision": "float32"}),
    ],
)
def test_upscale_writes_what_the_function_computes(command, photo, tmp_path, options, how):
    output = tmp_path / "out.png"
    code, printed, errors = command("upscale", photo, "-o", output, *options)
    assert (code, errors) == (0, "")
    expected = upscale(read_image(photo), **how)
    written(output, expected)
    factor = how.get("factor", 4)
    assert printed.startswith(f"{output}: {48 * factor}x{40 * factor}, {how.get('loss', 'feature')}, ")
    assert printed.count("\n") == 1


def test_denoise_and_inpaint_write_what_the_functions_compute(command, photo, mask, tmp_path):
    output, image = tmp_path / "out.png", read_image(photo)
    assert command("denoise", photo, "-o", output)[0] == 0
    written(output, denoise(image))
    assert command("denoise", photo, "-o", output, "--loss", "pixel")[0] == 0
    written(output, denoise(image, "pixel"))
    assert command("inpaint", photo, mask, "-o", output)[0] == 0
    made = inpaint(image, read_mask(mask))
    written(output, made)
    kept = read_mask(mask) == 0
    assert torch.equal(read_image(output) * kept, image * kept)
    assert command("inpaint", photo, mask, "-o", output, "--loss", "pixel")[0] == 0
    written(output, inpaint(image, read_mask(mask), "pixel"))


def test_a_bundled_picture_and_json(command, tmp_path):
    code, printed, errors = command(
        "denoise", "pagoda", "-o", tmp_path / "o.jpg", "--json", "--loss", "pixel"
    )
    assert (code, errors) == (0, "")
    facts = json.loads(printed)
    assert facts["size"] == list(read_image(tmp_path / "o.jpg").shape[:1:-1])
    assert facts["loss"] == "pixel"
    assert facts["device"] in ("cpu", "cuda", "mps")
    assert facts["precision"] in ("float32", "bfloat16")
    assert 0 < facts["seconds"] < 120
    assert set(facts) == {"input", "output", "size", "loss", "device", "precision", "seconds"}


def test_a_network_of_ones_own(command, photo, tmp_path):
    output = tmp_path / "out.png"
    own = save_network(tmp_path / "mine.safetensors", livened(SubPixelNet(2, 4, 1), 3), CARD)
    code, printed, _ = command("upscale", photo, "-o", output, "--model", own, "--json")
    assert code == 0
    facts = json.loads(printed)
    assert (facts["model"], facts["factor"], facts["size"]) == (str(own), 2, [96, 80])
    written(output, upscale(read_image(photo), network=zoo.load_restorer("upscale", model=own)))
    output.unlink()
    for task, options, words in (
        ("upscale", ("--model", own, "--factor", "4"), ("factor 4", "enlarges by 2")),
        ("upscale", ("--model", own, "--loss", "pixel"), ("--loss and --model",)),
        ("denoise", ("--model", own), ("mine.safetensors", "for `upscale`")),
        ("upscale", ("--model", photo), ("is a picture and no network",)),
        ("upscale", ("--model", tmp_path / "no.safetensors"), ("no.safetensors", "does not exist")),
    ):
        assert_refused(command(task, photo, "-o", output, *options), *words)
    assert_refused(
        command("stylize", photo, "-o", output, "--model", own), "has no style", "pltutorial upscale"
    )
    assert not output.exists()


def test_transparent_pixels_are_holes_where_no_mask_is_given(command, photo, mask, tmp_path):
    cut = tmp_path / "cut.png"
    with Image.open(photo) as whole, Image.open(mask) as holes:
        whole = whole.copy()
        whole.putalpha(holes.point(lambda value: 255 - value))
        whole.save(cut)
    assert command("inpaint", cut, "-o", tmp_path / "one.png")[0] == 0
    assert command("inpaint", photo, mask, "-o", tmp_path / "two.png")[0] == 0
    assert torch.equal(read_image(tmp_path / "one.png"), read_image(tmp_path / "two.png"))
    assert_refused(command("inpaint", photo, "-o", tmp_path / "o.png"), "no transparent pixels", "give MASK")
    written(cut, read_image(cut))  # laid over white for all that do not fill holes
    assert command("denoise", cut, "-o", tmp_path / "o.png")[0] == 0
    written(tmp_path / "o.png", denoise(read_image(cut)))
    hole = read_mask(mask).bool()
    assert float(read_image(cut)[:, :, hole[0, 0]].min()) == 1


def test_strips_and_small_pictures(command, tmp_path):
    for width, height in ((60, 2), (2, 33), (2, 2)):
        small = write_image(tmp_path / "small.png", picture(height, width))
        assert command("upscale", small, "-o", tmp_path / "o.png")[0] == 0
        assert read_image(tmp_path / "o.png").shape == (1, 3, 4 * height, 4 * width)
    Image.new("RGB", (30, 1)).save(tmp_path / "strip.png")
    assert_refused(command("upscale", tmp_path / "strip.png", "-o", tmp_path / "p.png"), "30x1", "at least 2")
    assert not (tmp_path / "p.png").exists()


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("upscale", "--factor", "3"), ("by 3", "4 or 8")),
        (("upscale", "--factor", "2"), ("by 2", "pltutorial train upscale --factor 2")),
        (("upscale", "--loss", "combined"), ("'combined'", "pixel, feature")),
        (("denoise", "--loss", "featur"), ("'featur'",)),
        (("denoise", "--loss", "1.01"), ("1.01", "between")),
        (("denoise", "--device", "gpu9"), ("'gpu9'",)),
        (("denoise", "--precision", "half"), ("'half'", "float32")),
        (("denoise", "--max-pixels", "100"), ("1,920", "max_pixels")),
        (("upscale", "--max-pixels", "5000"), ("192x160", "5,000", "--max-pixels")),
        (("denoise", "--format", "png"), ("--format", ".png")),
    ],
)
def test_options_that_are_refused(command, photo, tmp_path, arguments, words):
    task, *options = arguments
    assert_refused(command(task, photo, "-o", tmp_path / "out.png", *options), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_inputs_and_outputs_that_are_refused(command, photo, mask, tmp_path):
    moving = gif(tmp_path / "in.gif")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "half.png").write_bytes(photo.read_bytes()[:2000])
    (tmp_path / "film.mp4").write_bytes(b"any")
    (tmp_path / "folder").mkdir()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    out = tmp_path / "out.png"
    for source, output, words in (
        (tmp_path / "gone.png", out, ("gone.png", "does not exist")),
        ("pagodaa", out, ("pagodaa", "pagoda")),
        (tmp_path / "text.png", out, ("text.png", "not a picture")),
        (tmp_path / "half.png", out, ("half.png", "truncated")),
        (tmp_path / "folder", out, ("is a folder",)),
        (photo, photo, ("also an input",)),
        (photo, tmp_path / "no" / "out.png", ("does not exist",)),
        (photo, tmp_path / "folder", ("ending",)),
        (photo, tmp_path / "out.gif", ("ending", ".png")),
        (photo, tmp_path / "out.mp4", ("ending", ".png")),
        (moving, out, ("4 frames", "pltutorial stylize")),
        (tmp_path / "film.mp4", out, ("is a video", "pltutorial stylize")),
    ):
        assert_refused(command("denoise", source, "-o", output), *words)
    assert_refused(command("inpaint", photo, mask, "-o", mask), "also an input")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_masks_that_are_refused(command, photo, tmp_path):
    def saved(name: str, values) -> str:
        Image.fromarray(numpy.asarray(values, numpy.uint8)).save(tmp_path / name)
        return tmp_path / name

    out = tmp_path / "out.png"
    for mask, words in (
        (saved("turned.png", numpy.eye(48, 40) * 255), ("40x48", "48x40")),
        (saved("black.png", numpy.zeros((40, 48))), ("nothing is masked", "white")),
        (saved("labels.png", numpy.eye(40, 48)), ("nothing is masked", "white")),
        (saved("white.png", numpy.full((40, 48), 255)), ("everything is masked", "black")),
        (saved("grey.png", numpy.full((40, 48), 120)), ("100% of the mask", "grey.png")),
        (saved("clear.png", numpy.eye(40, 48)[..., None] * numpy.full(4, 255)), ("clear.png", "transparent")),
        (tmp_path / "gone.png", ("gone.png", "does not exist")),
        (photo, ("photo.png", "neither black nor white")),
    ):
        assert_refused(command("inpaint", photo, mask, "-o", out), *words)
    assert not out.exists()


def test_no_network_installed(command, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "RESTORERS", tmp_path / "none")
    assert_refused(
        command("denoise", photo, "-o", tmp_path / "o.png"), "denoise_combined", "pltutorial train"
    )


def test_an_output_that_exists_is_replaced_only_when_the_work_is_done(command, photo, tmp_path, monkeypatch):
    output = write_image(tmp_path / "out.png", picture())
    before = output.read_bytes()

    def stop(*given, **rest):
        raise KeyboardInterrupt

    monkeypatch.setattr("pltutorial.restoration.in_tiles", stop)
    assert command("denoise", photo, "-o", output)[0] != 0
    assert output.read_bytes() == before


# --- pipes ------------------------------------------------------------------------------------------------


def test_pipes(networks, photo):
    model = ("--model", networks / "denoise_pixel.safetensors", "--precision", "float32", "--device", "cpu")
    done = process("denoise", "-", "-o", "-", *model, "--json", given=photo.read_bytes())
    assert (done.returncode, done.stdout[:4]) == (0, b"\x89PNG")
    assert json.loads(done.stderr)["output"] == "-"
    made = to_image(open_picture(io.BytesIO(done.stdout), "made"), "made")
    network = zoo.load_restorer("denoise", model=networks / "denoise_pixel.safetensors", device="cpu")
    expected = denoise(read_image(photo), network=network, precision="float32")
    torch.testing.assert_close(made, expected, atol=1.1 / 255, rtol=0)
    done = process("denoise", "-", "-o", "-", *model)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"standard input is empty" in done.stderr


def test_a_mask_for_a_picture_from_a_pipe(command, photo, mask, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    assert command("inpaint", "-", mask, "-o", tmp_path / "out.png")[0] == 0
    written(tmp_path / "out.png", inpaint(read_image(photo), read_mask(mask)))


# --- models -----------------------------------------------------------------------------------------------


def test_models_lists_all_networks_and_prints_cards(command, networks):
    code, printed, _ = command("models")
    assert code == 0
    lines = {line.split()[0]: line.split()[3:] for line in printed.splitlines()}
    assert lines["upscale_x8_pixel"] == ["upscale", "x8"]
    assert lines["inpaint_combined"] == ["inpaint"]
    assert lines["great_wave"] == ["great_wave"]
    code, printed, _ = command("models", "--card", "denoise_pixel")
    assert printed.startswith("denoise_pixel\ntrained on: nothing\n")
    assert "limits: random weights" in printed
    cards = json.loads(command("models", "--json")[1])
    assert cards == zoo.available() | zoo.available(networks)
    assert_refused(command("models", "--card", "denoise_pixle"), "'denoise_pixel'")
    assert "upscale" not in command("styles")[1]


def test_help_and_models_load_nothing_heavy():
    for arguments in (["upscale", "--help"], ["inpaint", "--help"], ["models", "--json"]):
        code = (
            f"import sys; sys.argv = ['pltutorial', *{arguments}]\n"
            "from pltutorial import cli\n"
            "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
            "print(sorted({'torch', 'numpy', 'PIL', 'av', 'tqdm'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]", arguments
