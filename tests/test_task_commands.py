"""The commands of the tasks, all through the same tests: files, pipes, masks, sheets,
--json, and what they refuse.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from helpers import assert_refused, picture, process, stopped_at
from PIL import Image
from test_stylize import HALF
from test_video import gif

from pltutorial import invert, read_image, tasks, write_image, zoo
from pltutorial.images import open_picture, to_image
from pltutorial.networks import apply, load_network
from pltutorial.restoration import denoise, inpaint, read_mask, upscale

FLOAT = ("--precision", "float32")
TRAINED_BY = {
    "upscale": "train upscale",
    "invert": "train invert",
    "sample": "train vae",
    "colorize": "train colorize",
}


@pytest.fixture
def command(task_command):
    return task_command


@pytest.fixture
def whole(own_networks, photo, mask):
    """What makes a whole call of a task's command, without its output."""
    calls = {task: [task, photo] for task in ("upscale", "denoise", "invert")}
    calls["inpaint"] = ["inpaint", photo, mask]
    calls["sample"] = ["sample"]
    calls["colorize"] = ["colorize", photo, "--model", own_networks["colorize"]]
    return calls


def written(output: Path | torch.Tensor, expected: torch.Tensor) -> None:
    """The picture is the expected one, as far as 8 bits can say."""
    made = output if isinstance(output, torch.Tensor) else read_image(output)
    torch.testing.assert_close(made, expected.cpu(), atol=HALF, rtol=0)


# --- what all of them do -----------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "options", "how"),
    [
        ("upscale", (), {}),
        ("upscale", ("--factor", "8"), {"factor": 8}),
        (
            "upscale",
            ("--factor", "4", "--loss", "pixel"),
            {"factor": 4, "loss": "pixel"},
        ),
        ("upscale", ("--loss", "0.25"), {"loss": 0.25}),
        ("upscale", ("--match-histogram",), {"match_histogram": True}),
        ("upscale", FLOAT, {"precision": "float32"}),
        ("denoise", (), {}),
        ("denoise", ("--loss", "pixel"), {"loss": "pixel"}),
        ("inpaint", (), {}),
        ("inpaint", ("--loss", "pixel"), {"loss": "pixel"}),
        ("invert", (), {}),
        ("invert", ("--layer", "relu3_3"), {"layer": "relu3_3"}),
        ("invert", ("--layer", "relu5_3"), {"layer": "relu5_3"}),
        ("invert", ("--loss", "deepsim"), {"loss": "deepsim"}),
        ("invert", ("--loss", "image"), {"loss": "image"}),
        (
            "invert",
            ("--layer", "relu3_3", "--loss", "image"),
            {"layer": "relu3_3", "loss": "image"},
        ),
        ("colorize", (), {}),
    ],
)
def test_the_picture_is_what_the_function_makes(
    task, options, how, command, whole, own_networks, photo, mask, encoder, tmp_path
):
    output, image = tmp_path / "out.png", read_image(photo)
    if task in ("invert", "colorize"):
        options += FLOAT
    code, printed, errors = command(*whole[task], "-o", output, *options)
    assert (code, errors) == (0, "")
    expected = {
        "upscale": lambda: upscale(image, **how),
        "denoise": lambda: denoise(image, **how),
        "inpaint": lambda: inpaint(image, read_mask(mask), **how),
        "invert": lambda: invert(image, encoder=encoder, precision="float32", **how),
        "colorize": lambda: apply(
            load_network(own_networks["colorize"]), image, precision="float32"
        ),
    }[task]()
    written(output, expected)
    deep = "deepsim" if how.get("layer") == "relu3_3" else "full"
    losses = {"upscale": "feature", "invert": deep, "colorize": "for_colorize"}
    losses["inpaint"] = "adversarial"
    name = how.get("loss", losses.get(task, "combined"))
    height, width = expected.shape[-2:]
    assert (width, height) == (
        (48, 40) if task != "upscale" else (48 * (k := how.get("factor", 4)), 40 * k)
    )
    assert printed.startswith(f"{output}: {width}x{height}, {name}, ")
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "ending", "own"),
    [
        (("denoise", "pagoda", "--loss", "pixel"), "jpg", {"loss": "pixel"}),
        (
            ("invert", "pagoda", "--size", "50", "--layer", "relu3_3"),
            "jpg",
            {"loss": "deepsim", "layer": "relu3_3", "rounds": 1},
        ),
        (("sample", "OWN", "--count", "5"), "webp", {"count": 5, "seed": 0}),
    ],
)
def test_a_bundled_picture_or_none_and_json(
    arguments, ending, own, command, own_networks, tmp_path
):
    output = tmp_path / f"out.{ending}"
    task, first, *options = arguments
    drawn = task == "sample"
    given = ("--model", own_networks["sample"]) if drawn else (first,)
    code, printed, errors = command(task, *given, "-o", output, *options, "--json")
    assert (code, errors) == (0, "")
    facts = json.loads(printed)
    own = own | ({"model": str(own_networks["sample"])} if drawn else {})
    assert {name: facts[name] for name in own} == own
    assert facts["size"] == list(read_image(output).shape[:1:-1])
    if task == "invert":
        assert max(facts["size"]) == 50
    if drawn:
        assert facts["size"] == [56, 38]
    assert facts["device"] in ("cpu", "cuda", "mps")
    assert facts["precision"] in ("float32", "bfloat16")
    assert 0 < facts["seconds"] < 120
    shared = {"output", "size", "device", "precision", "seconds"}
    assert set(facts) == shared | set(own) | ({"input"} if not drawn else set())


@pytest.mark.parametrize("task", ["upscale", "invert", "colorize"])
@pytest.mark.parametrize(("width", "height"), [(60, 2), (2, 33), (2, 2), (60, 3)])
def test_strips_and_tiny_pictures(task, width, height, command, whole, tmp_path):
    small = write_image(tmp_path / "small.png", picture(height, width))
    task, _, *options = whole[task]
    assert command(task, small, "-o", tmp_path / "o.png", *options)[0] == 0
    times = 4 if task == "upscale" else 1
    shape = (1, 3, times * height, times * width)
    assert read_image(tmp_path / "o.png").shape == shape


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("upscale", "--factor", "3"), ("by 3", "4 or 8")),
        (("upscale", "--factor", "2"), ("by 2", "pltutorial train upscale --factor 2")),
        (
            ("upscale", "--loss", "combined"),
            ("'combined'", "pixel, adversarial, feature"),
        ),
        (("upscale", "--max-pixels", "5000"), ("192x160", "5,000", "--max-pixels")),
        (("denoise", "--loss", "featur"), ("'featur'",)),
        (("denoise", "--loss", "1.01"), ("1.01", "between")),
        (("invert", "--layer", "relu43"), ("'relu43'", "'relu4_3'")),
        (("invert", "--layer", "relu1_2"), ("'relu1_2'", "pltutorial train invert")),
        (("invert", "--loss", "deepsin"), ("'deepsin'", "'deepsim'")),
        (("invert", "--rounds", "0"), ("--rounds 0", "at least 1")),
        (("invert", "--rounds", "-2"), ("--rounds -2",)),
        (("invert", "--rounds", "99999999"), ("rounds=99999999", "at most 1,000")),
        (("invert", "--size", "0"), ("0", "positive")),
        (
            ("invert", "--size", "4000", "--max-pixels", "5000"),
            ("4000x3333", "5,000", "--size"),
        ),
        (
            ("invert", "--model", "any.safetensors", "--layer", "relu4_3"),
            ("--layer and --model",),
        ),
        (
            ("invert", "--model", "any.safetensors", "--loss", "image"),
            ("--loss and --model",),
        ),
        (("sample", "--count", "0"), ("--count 0", "at least 1")),
        (("sample", "--count", "-1"), ("--count -1",)),
        (("sample", "--seed", "-1"), ("--seed -1", "from 0")),
        (("sample", "--seed", str(2**64)), ("--seed", "from 0")),
        (("sample", "--loss", "vae"), ("'vae'", "pixel")),
        (("sample", "--loss", "deep"), ("'deep'", "'deepsim'")),
        (
            ("sample", "--count", "1000000"),
            ("18002x18002", "--count", "--max-pixels"),
        ),
        (("sample", "--max-pixels", "1000"), ("146x146", "1,000")),
        (
            ("sample", "--model", "any.safetensors", "--loss", "gan"),
            ("--loss and --model",),
        ),
        *[
            ((task, *options), words)
            for task in ("denoise", "invert", "sample")
            for options, words in (
                (("--device", "gpu9"), ("'gpu9'",)),
                (("--precision", "half"), ("'half'", "float32")),
                (("--format", "png"), ("--format", ".png")),
                (
                    ("--model", "gone.safetensors"),
                    ("gone.safetensors", "does not exist"),
                ),
            )
        ],
        *[
            ((task, "--max-pixels", "100"), ("1,920", "max_pixels"))
            for task in ("denoise", "invert")
        ],
    ],
)
def test_options_that_are_refused(command, photo, tmp_path, arguments, words):
    task, *options = arguments
    given = () if task == "sample" else (photo,)
    outcome = command(task, *given, "-o", tmp_path / "out.png", *options)
    assert_refused(outcome, *words)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.parametrize("task", ["denoise", "inpaint", "invert", "sample", "colorize"])
def test_inputs_and_outputs_that_are_refused(task, command, whole, photo, tmp_path):
    moving = gif(tmp_path / "in.gif")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "half.png").write_bytes(photo.read_bytes()[:2000])
    (tmp_path / "film.mp4").write_bytes(b"any")
    (tmp_path / "folder").mkdir()

    def now() -> dict:
        paths = (path for path in tmp_path.iterdir() if path.is_file())
        return {path.name: path.read_bytes() for path in paths}

    before, out = now(), tmp_path / "out.png"
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
        if task != "sample":
            _, _, *options = whole[task]
            assert_refused(command(task, source, *options, "-o", output), *words)
        elif source is photo and output is not photo:
            assert_refused(command(task, "-o", output), *words)
    if task == "inpaint":
        _, _, mask = whole[task]
        assert_refused(command("inpaint", photo, mask, "-o", mask), "also an input")
    assert now() == before


@pytest.mark.parametrize(
    ("task", "innermost"),
    [
        ("denoise", "pltutorial.apply.in_tiles"),
        ("invert", "pltutorial.tasks.invert.reencode"),
    ],
)
def test_an_output_that_exists_is_replaced_only_when_the_work_is_done(
    task, innermost, command, photo, tmp_path, monkeypatch
):
    output = write_image(tmp_path / "out.png", picture())
    before = output.read_bytes()

    def stop(*given, **rest):
        raise KeyboardInterrupt

    monkeypatch.setattr(innermost, stop)
    assert command(task, photo, "-o", output)[0] != 0
    assert output.read_bytes() == before


def test_no_network_installed(command, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "RESTORERS", tmp_path / "none")
    monkeypatch.setattr(zoo, "LIKENESS", tmp_path / "none")
    for arguments, words in (
        (("denoise", photo), ("denoise_combined", "pltutorial train")),
        (("invert", photo), ("invert_relu4_3_full", "pltutorial train invert")),
        (("sample",), ("vae_pixel", "pltutorial train vae")),
        (("colorize", photo), ("colorize_classes", "pltutorial train colorize")),
    ):
        assert_refused(command(*arguments, "-o", tmp_path / "o.png"), *words)
    assert not (tmp_path / "o.png").exists()


def test_each_command_takes_its_own_networks_alone(
    command, photo, tmp_path, own_networks
):
    out = tmp_path / "out.png"
    for task, train in TRAINED_BY.items():
        given = () if task == "sample" else (photo,)
        for other, path in own_networks.items():
            outcome = command(task, *given, "-o", out, "--model", path)
            if other == task:
                assert outcome[0] == 0
                out.unlink()
                continue
            use = "judges" if other == "discriminator" else f"for `{other}`"
            assert_refused(outcome, path.name, use, f"`pltutorial {train}`")
        outcome = command(task, *given, "-o", out, "--model", photo)
        assert_refused(outcome, "is a picture and no network")
    for other, path in own_networks.items():
        words = () if other == "discriminator" else (f"`pltutorial {other}`",)
        outcome = command("stylize", photo, "-o", out, "--model", path)
        assert_refused(outcome, "has no style", *words)
    outcome = command("denoise", photo, "-o", out, "--model", own_networks["upscale"])
    assert_refused(outcome, "for_upscale.safetensors", "for `upscale`")
    assert not out.exists()


@pytest.mark.parametrize("name", tasks.all())
def test_train_takes_the_settings_of_the_task(name, command, monkeypatch, tmp_path):
    spec = tasks.find(name)
    with stopped_at("pltutorial.cli.tasks._train", monkeypatch) as seen:
        command("train", name, "-o", tmp_path)
    assert seen == [((spec, spec.settings(), str(tmp_path), None, None), {})]
    shown = " ".join(command("train", name, "--help")[1].split())
    assert spec.train_help.split(".")[0][:40] in shown
    for setting in fields(spec.settings):
        assert f"--{setting.name.replace('_', '-')}" in shown
        assert setting.metadata["help"][:20] in shown


@pytest.mark.parametrize(
    "spec",
    [spec for spec in tasks.all().values() if spec.command],
    ids=lambda s: s.name,
)
def test_a_task_s_command_has_its_options_and_those_of_all(spec, command):
    shown = command(spec.command.name, "--help")[1]
    assert ("PHOTO" in shown) == spec.command.takes_picture
    assert ("--loss" in shown) == bool(spec.command.loss_help)
    for option in spec.command.options:
        name = option.name.replace("_", "-")
        assert (name.upper() if option.argument else f"--{name}") in shown
        assert option.help[:20] in " ".join(shown.split())
    for shared in ("output", "format", "json", "max-pixels", "model", "device"):
        assert f"--{shared}" in shown


# --- pipes -------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["denoise", "colorize"])
def test_pipes(task, random_zoo, own_networks, photo):
    path = random_zoo["RESTORERS"] / "denoise_pixel.safetensors"
    path = path if task == "denoise" else own_networks[task]
    model = ("--model", path, *FLOAT, "--device", "cpu")
    done = process(task, "-", "-o", "-", *model, "--json", given=photo.read_bytes())
    assert (done.returncode, done.stdout[:4]) == (0, b"\x89PNG")
    facts = json.loads(done.stderr)
    assert (facts["input"], facts["output"]) == ("-", "-")
    made = to_image(open_picture(io.BytesIO(done.stdout), "made"), "made")
    network, image = load_network(path, "cpu"), read_image(photo)
    if task == "denoise":
        expected = denoise(image, network=network, precision="float32")
    else:
        expected = apply(network, image, precision="float32")
    torch.testing.assert_close(made, expected, atol=1.1 / 255, rtol=0)
    done = process(task, "-", "-o", "-", *model)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"standard input is empty" in done.stderr


def test_a_sheet_can_be_piped(own_networks):
    options = ("--model", own_networks["sample"], "--count", "4", "--format", "webp")
    done = process("sample", "-o", "-", *options)
    assert done.returncode == 0, done.stderr
    assert (done.stdout[:4], done.stdout[8:12]) == (b"RIFF", b"WEBP")


@pytest.mark.parametrize("task", ["inpaint", "invert"])
def test_a_photo_from_a_pipe(task, command, whole, photo, mask, tmp_path, monkeypatch):
    def pipe(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    one, two = tmp_path / "one.png", tmp_path / "two.png"
    _, _, *more = whole[task]
    pipe(photo.read_bytes())
    assert command(task, "-", *more, "-o", one)[0] == 0
    assert command(task, photo, *more, "-o", two)[0] == 0
    assert torch.equal(read_image(one), read_image(two))
    if task == "inpaint":
        written(one, inpaint(read_image(photo), read_mask(mask)))
    pipe(b"")
    outcome = command(task, "-", *more, "-o", tmp_path / "o.png")
    assert_refused(outcome, "standard input is empty")


# --- models ------------------------------------------------------------------------


def test_models_lists_all_networks_and_prints_cards(command, random_zoo):
    code, printed, _ = command("models")
    assert code == 0
    lines = {line.split()[0]: line.split()[3:] for line in printed.splitlines()}
    for name, use in (
        ("upscale_x8_pixel", ["upscale", "x8"]),
        ("upscale_x4_pixel", ["upscale", "x4"]),
        ("inpaint_combined", ["inpaint"]),
        ("eight_styles", ", ".join(zoo.styles()).split()),
        ("invert_relu4_3_image", ["invert", "relu4_3"]),
        ("invert_relu5_3_full", ["invert", "relu5_3"]),
        ("vae_gan", ["sample"]),
        ("vae_gan_discriminator", ["discriminator"]),
    ):
        assert lines[name] == use
    code, printed, _ = command("models", "--card", "denoise_pixel")
    assert printed.startswith("denoise_pixel\ntrained on: nothing\n")
    assert "limits: random weights" in printed
    code, printed, _ = command("models", "--card", "invert_relu3_3_deepsim")
    assert printed.startswith("invert_relu3_3_deepsim\ntrained on: nothing\n")
    assert "layer: relu3_3" in printed
    cards = json.loads(command("models", "--json")[1])
    restorers, drawers = map(zoo.available, random_zoo.values())
    diffusion = zoo.available(zoo.DIFFUSION)
    assert cards == zoo.available() | restorers | drawers | diffusion
    for wrong, right in (("denoise_pixle", "denoise_pixel"), ("vae_gam", "vae_gan")):
        assert_refused(command("models", "--card", wrong), f"'{right}'")
    assert "upscale" not in command("styles")[1]
    assert "invert" not in command("styles")[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["models", "--json"],
        *([task, "--help"] for task in ("upscale", "denoise", "inpaint")),
        *([task, "--help"] for task in ("invert", "sample", "colorize")),
    ],
    ids=lambda arguments: arguments[0],
)
def test_help_and_models_load_nothing_heavy(arguments):
    code = (
        f"import sys; sys.argv = ['pltutorial', *{arguments}]\n"
        "from pltutorial import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'PIL', 'av', 'tqdm'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", arguments
    if "--help" in arguments:
        assert f"pltutorial {arguments[0]}" in done.stdout


# --- upscale -----------------------------------------------------------------------


def test_a_network_that_enlarges_by_another_factor(
    command, photo, tmp_path, own_networks
):
    output, own = tmp_path / "out.png", own_networks["upscale"]
    arguments = ("upscale", photo, "-o", output, "--model", own)
    code, printed, _ = command(*arguments, "--json")
    assert code == 0
    facts = json.loads(printed)
    assert (facts["model"], facts["factor"]) == (str(own), 2)
    assert facts["size"] == [96, 80]
    network = zoo.load_restorer("upscale", model=own)
    written(output, upscale(read_image(photo), network=network))
    output.unlink()
    for options, words in (
        (("--factor", "4"), ("factor 4", "enlarges by 2")),
        (("--loss", "pixel"), ("--loss and --model",)),
        (
            ("--model", tmp_path / "no.safetensors"),
            ("no.safetensors", "does not exist"),
        ),
    ):
        assert_refused(command(*arguments, *options), *words)
    assert not output.exists()


def test_a_picture_of_one_row(command, tmp_path):
    Image.new("RGB", (30, 1)).save(tmp_path / "strip.png")
    outcome = command("upscale", tmp_path / "strip.png", "-o", tmp_path / "p.png")
    assert_refused(outcome, "30x1", "at least 2")
    assert not (tmp_path / "p.png").exists()
