"""The command line: real runs on small pictures, shared defaults, light start, and one
sentence for bad input.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import fields

import pytest
import torch
from helpers import assert_refused, assert_sentence, process, stopped_at
from PIL import Image

from pltutorial import bundled, optimize, read_image
from pltutorial.settings import (
    ReconstructionSettings,
    TextureSettings,
    TransferSettings,
)

QUICK = ("--steps", "2", "--sizes", "32", "--no-progress")


def isolated(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['pltutorial', '--help']\nfrom pltutorial import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'matplotlib', 'torchvision'} & "
        "set(sys.modules)))"
    )
    printed = isolated(code)
    assert printed.splitlines()[-1] == "[]"
    assert "transfer" in printed
    assert "doctor" in printed


def test_import_of_the_package_loads_nothing_heavy():
    code = (
        "import sys, pltutorial; print(sorted({'torch', 'numpy', 'PIL', 'matplotlib'} "
        "& set(sys.modules)))"
    )
    assert isolated(code).strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("transfer", "pagoda", "great_wave"), TransferSettings),
        (("reconstruct", "pagoda"), ReconstructionSettings),
        (("texture", "poppies"), TextureSettings),
    ],
)
def test_defaults_are_those_of_the_functions(
    arguments, kind, command, monkeypatch, tmp_path
):
    name = {
        "transfer": "transfer_style",
        "reconstruct": "reconstruct_features",
        "texture": "reconstruct_style",
    }[arguments[0]]
    with stopped_at(f"pltutorial.optimize.{name}", monkeypatch) as seen:
        command(*arguments, "-o", tmp_path / "out.png")
    assert seen[0][1]["settings"] == kind()
    options = command(arguments[0], "--help")[1]
    for setting in fields(kind):
        assert f"--{setting.name.replace('_', '-')}" in options
        assert setting.metadata["help"][:20] in " ".join(options.split())


def test_transfer_writes_what_the_function_computes(command, photo, tmp_path):
    from pltutorial import transfer_style

    output = tmp_path / "out.png"
    code, printed, errors = command(
        "transfer", photo, "great_wave:0.7,poppies:0.3", "-o", output, *QUICK
    )
    assert (code, errors) == (0, "")
    assert f"{output}: 32x27, 2 steps" in printed
    styles = [
        read_image(bundled(f"style/{name}")) for name in ("great_wave", "poppies")
    ]
    settings = TransferSettings(steps=2, sizes=(32,), progress=False)
    expected = transfer_style(
        read_image(photo), styles, style_weights=[0.7, 0.3], settings=settings
    )
    torch.testing.assert_close(
        read_image(output), expected.image.cpu(), atol=0.5 / 255 + 1e-6, rtol=0
    )


@pytest.mark.parametrize(
    "arguments",
    [("reconstruct", "--layer", "relu2_2"), ("texture", "--layers", "relu1_2,relu2_2")],
)
def test_reconstruct_and_texture_write_a_picture(arguments, command, photo, tmp_path):
    output = tmp_path / "out.jpg"
    code, _, errors = command(arguments[0], photo, *arguments[1:], "-o", output, *QUICK)
    assert (code, errors) == (0, "")
    assert read_image(output).shape == (1, 3, 27, 32)


# --- what they share with the commands of networks: --json, pipes, --format ------

OPTIMISED = (
    ("transfer", ("great_wave",)),
    ("reconstruct", ()),
    ("texture", ()),
)
FLOAT = ("--precision", "float32", "--device", "cpu")


@pytest.mark.parametrize(("name", "more"), OPTIMISED)
def test_json_says_what_was_done(name, more, command, photo, tmp_path):
    output = tmp_path / "out.png"
    arguments = (name, photo, *more, "-o", output, *QUICK, *FLOAT, "--json")
    code, printed, errors = command(*arguments)
    assert (code, errors) == (0, "")
    facts = json.loads(printed)
    own = {"transfer": "styles", "reconstruct": "layer", "texture": "layers"}[name]
    shared = ("input", "output", "size", "device", "precision", "seconds")
    assert set(facts) == {*shared, own, "steps", "losses", "stopped"}
    assert (facts["input"], facts["output"]) == (str(photo), str(output))
    assert facts["size"] == [32, 27] == list(read_image(output).shape[:1:-1])
    assert (facts["steps"], facts["stopped"]) == (2, "done")
    assert (facts["device"], facts["precision"]) == ("cpu", "float32")
    assert facts["losses"][0] >= facts["losses"][1] > 0
    assert 0 < facts["seconds"] < 120
    if name == "transfer":
        assert facts["styles"] == [[str(bundled("style/great_wave")), 1.0]]


@pytest.mark.parametrize(("name", "more"), OPTIMISED)
def test_pipes_in_and_out(name, more, command, photo, tmp_path):
    piped = (name, "-", *more, "-o", "-", *QUICK, *FLOAT)
    done = process(*piped, "--json", given=photo.read_bytes())
    assert (done.returncode, done.stdout[:4]) == (0, b"\x89PNG"), done.stderr
    facts = json.loads(done.stderr)
    assert (facts["input"], facts["output"], facts["size"]) == ("-", "-", [32, 27])
    output = tmp_path / "out.png"
    assert command(name, photo, *more, "-o", output, *QUICK, *FLOAT)[0] == 0
    with Image.open(io.BytesIO(done.stdout)) as made, Image.open(output) as written:
        assert made.tobytes() == written.tobytes()


def test_a_format_for_the_pipe_and_a_style_out_of_it(photo):
    blend = "poppies:0.5,-:0.5"
    options = ("--format", "webp", *QUICK, *FLOAT)
    arguments = ("transfer", photo, blend, "-o", "-", *options)
    done = process(*arguments, given=photo.read_bytes())
    assert done.returncode == 0, done.stderr
    assert (done.stdout[:4], done.stdout[8:12]) == (b"RIFF", b"WEBP")
    assert done.stderr == b""
    done = process(*arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"standard input is empty" in done.stderr


@pytest.mark.parametrize(("name", "more"), OPTIMISED)
@pytest.mark.parametrize(
    ("source", "output", "options", "words"),
    [
        ("PHOTO", "out.png", ("--format", "png"), ("--format is for pipes", ".png")),
        ("PHOTO", "-", ("--format", "pgn"), ("'pgn'", "png")),
        ("PHOTO", "out.gif", (), ("ending", ".png")),
        ("PHOTO", "PHOTO", (), ("also an input",)),
        ("folder", "out.png", (), ("is a folder", "give a picture")),
        ("film.mp4", "out.png", (), ("is a video", "give a picture")),
        ("PHOTO", "out.png", ("--device", "gpu9"), ("'gpu9'",)),
        ("PHOTO", "out.png", ("--precision", "half"), ("'half'", "float32")),
        ("PHOTO", "out.png", ("--max-pixels", "100"), ("1,920", "max_pixels")),
    ],
)
def test_what_they_refuse_before_any_work(
    name, more, source, output, options, words, command, photo, tmp_path, monkeypatch
):
    def never(*given, **rest):
        raise AssertionError("work was begun")

    for function in ("transfer_style", "reconstruct_features", "reconstruct_style"):
        monkeypatch.setattr(optimize, function, never)
    (tmp_path / "folder").mkdir()
    (tmp_path / "film.mp4").write_bytes(b"any")
    source = photo if source == "PHOTO" else tmp_path / source
    output = {"PHOTO": photo, "-": "-"}.get(output, tmp_path / output)
    before = photo.read_bytes()
    assert_refused(command(name, source, *more, "-o", output, *options), *words)
    assert photo.read_bytes() == before
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"folder", "film.mp4", "photo.png"}


def test_standard_input_is_one_picture(command, tmp_path):
    outcome = command("transfer", "-", "poppies,-", "-o", tmp_path / "out.png")
    assert_refused(outcome, "- was given 2 times", "the path of a file")
    assert not (tmp_path / "out.png").exists()


# --- what is refused --------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("transfer", "missing.jpg", "great_wave"), ("missing.jpg", "does not exist")),
        (("transfer", "PHOTO", "great_wav"), ("great_wav", "great_wave")),
        (("transfer", "pagodaa", "great_wave"), ("pagodaa", "pagoda")),
        (("transfer", "PHOTO", "great_wave:x"), ("great_wave:x",)),
        (("transfer", "PHOTO", "great_wave:-1"), ("-1.0", "at least 0")),
        (
            ("transfer", "PHOTO", "great_wave", "--style-weight", "-1"),
            ("style_weight=-1.0", "at least 0"),
        ),
        (
            ("transfer", "PHOTO", "great_wave", "--steps", "0"),
            ("steps=0", "at least 1"),
        ),
        (
            ("transfer", "PHOTO", "great_wave", "--sizes", "32,large"),
            ("--sizes", "256,512"),
        ),
        (
            ("transfer", "PHOTO", "great_wave", "--init", "photo"),
            ("'photo'", "content"),
        ),
        (("transfer", "PHOTO", "great_wave", "--device", "tpu9"), ("'tpu9'",)),
        (
            ("transfer", "PHOTO", "great_wave", "--precision", "int8"),
            ("'int8'", "float32"),
        ),
        (
            ("transfer", "PHOTO", "great_wave", "--preserve-color", "lumi"),
            ("'lumi'", "luminance"),
        ),
        (("reconstruct", "PHOTO", "--layer", "relu3_9"), ("relu3_9", "relu3_3")),
        (("reconstruct", "PHOTO", "--max-pixels", "100"), ("1,920", "max_pixels")),
        (
            ("reconstruct", "PHOTO", "--layer", "relu5_3", "--sizes", "12"),
            ("relu5_3", "16"),
        ),
        (("texture", "TEXT"), ("notes.png", "not a picture")),
        (("texture", "EMPTY"), ("empty.png", "empty")),
        (("texture", "TRUNCATED"), ("half.png", "truncated")),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments, words, command, photo, tmp_path
):
    (tmp_path / "notes.png").write_text("no picture at all\n")
    (tmp_path / "empty.png").touch()
    (tmp_path / "half.png").write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    names = {
        "PHOTO": photo,
        "TEXT": "notes.png",
        "EMPTY": "empty.png",
        "TRUNCATED": "half.png",
    }
    arguments = [
        tmp_path / names[word] if word in names else word for word in arguments
    ]
    output = tmp_path / "out.png"
    quick = [
        word
        for pair in zip(QUICK[:4:2], QUICK[1:4:2], strict=True)
        if pair[0] not in arguments
        for word in pair
    ]
    code, printed, errors = command(*arguments, "-o", output, "--no-progress", *quick)
    assert code == 2, (printed, errors)
    assert printed == ""
    assert errors.startswith("error: ")
    assert_sentence(errors.removeprefix("error: ").rstrip("\n"), *words)
    assert not output.exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("photo.png", ("also an input",)),
        ("nowhere/out.png", ("does not exist",)),
        ("out.txt", ("ending",)),
        (".", ("ending",)),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_before_any_work(
    output, words, command, photo, monkeypatch
):
    def never(*given, **rest):
        raise AssertionError("work was begun")

    monkeypatch.setattr("pltutorial.optimize.transfer_style", never)
    before = photo.read_bytes()
    code, _, errors = command(
        "transfer", photo, "great_wave", "-o", photo.parent / output
    )
    assert code == 2
    assert_sentence(errors.removeprefix("error: ").rstrip("\n"), *words)
    assert photo.read_bytes() == before


def test_a_real_process_shows_no_traceback(tmp_path):
    arguments = [
        sys.executable,
        "-m",
        "pltutorial.cli",
        "transfer",
        "missing.jpg",
        "great_wave",
        "-o",
        "out.png",
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []
