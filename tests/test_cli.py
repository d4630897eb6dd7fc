"""The command line: real runs on small pictures, shared defaults, light start, and one sentence for bad input."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest
import torch
from helpers import assert_sentence

from pltutorial import read_image
from pltutorial.cli import app
from pltutorial.settings import ReconstructionSettings, TextureSettings, TransferSettings

QUICK = ("--steps", "2", "--sizes", "32", "--no-progress")


def isolated(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['pltutorial', '--help']\n"
        "from pltutorial import cli\n"
        "try:\n    cli.main()\n"
        "except SystemExit:\n    pass\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'matplotlib', 'torchvision'} & set(sys.modules)))"
    )
    printed = isolated(code)
    assert printed.splitlines()[-1] == "[]"
    assert "transfer" in printed
    assert "doctor" in printed


def test_import_of_the_package_loads_nothing_heavy():
    code = "import sys, pltutorial; print(sorted({'torch', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)))"
    assert isolated(code).strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("transfer", "pagoda", "great_wave"), TransferSettings),
        (("reconstruct", "pagoda"), ReconstructionSettings),
        (("texture", "poppies"), TextureSettings),
    ],
)
def test_defaults_are_those_of_the_functions(arguments, kind, command, monkeypatch, tmp_path):
    seen = {}

    class Stop(Exception):
        pass

    def spy(*given, settings, **rest):
        seen["settings"] = settings
        raise Stop

    name = {
        "transfer": "transfer_style",
        "reconstruct": "reconstruct_features",
        "texture": "reconstruct_style",
    }
    monkeypatch.setattr(f"pltutorial.optimize.{name[arguments[0]]}", spy)
    with pytest.raises(Stop):
        command(*arguments, "-o", tmp_path / "out.png")
    assert seen["settings"] == kind()
    options = command(arguments[0], "--help")[1]
    for setting in fields(kind):
        assert f"--{setting.name.replace('_', '-')}" in options
        assert setting.metadata["help"][:20] in " ".join(options.split())


def test_transfer_writes_what_the_function_computes(command, photo, tmp_path):
    from pltutorial import transfer_style

    output = tmp_path / "out.png"
    code, printed, errors = command("transfer", photo, "great_wave:0.7,poppies:0.3", "-o", output, *QUICK)
    assert (code, errors) == (0, "")
    assert f"{output}: 32x27, 2 steps" in printed
    styles = [read_image(app._picture(name, "style")) for name in ("great_wave", "poppies")]
    settings = TransferSettings(steps=2, sizes=(32,), progress=False)
    expected = transfer_style(read_image(photo), styles, style_weights=[0.7, 0.3], settings=settings)
    torch.testing.assert_close(read_image(output), expected.image.cpu(), atol=0.5 / 255 + 1e-6, rtol=0)


@pytest.mark.parametrize(
    "arguments", [("reconstruct", "--layer", "relu2_2"), ("texture", "--layers", "relu1_2,relu2_2")]
)
def test_reconstruct_and_texture_write_a_picture(arguments, command, photo, tmp_path):
    output = tmp_path / "out.jpg"
    code, _, errors = command(arguments[0], photo, *arguments[1:], "-o", output, *QUICK)
    assert (code, errors) == (0, "")
    assert read_image(output).shape == (1, 3, 27, 32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("transfer", "missing.jpg", "great_wave"), ("missing.jpg", "does not exist")),
        (("transfer", "PHOTO", "great_wav"), ("great_wav", "great_wave")),
        (("transfer", "pagodaa", "great_wave"), ("pagodaa", "pagoda")),
        (("transfer", "PHOTO", "great_wave:x"), ("great_wave:x",)),
        (("transfer", "PHOTO", "great_wave:-1"), ("-1.0", "at least 0")),
        (("transfer", "PHOTO", "great_wave", "--style-weight", "-1"), ("style_weight=-1.0", "at least 0")),
        (("transfer", "PHOTO", "great_wave", "--steps", "0"), ("steps=0", "at least 1")),
        (("transfer", "PHOTO", "great_wave", "--sizes", "32,large"), ("--sizes", "256,512")),
        (("transfer", "PHOTO", "great_wave", "--init", "photo"), ("'photo'", "content")),
        (("transfer", "PHOTO", "great_wave", "--device", "tpu9"), ("'tpu9'",)),
        (("transfer", "PHOTO", "great_wave", "--precision", "int8"), ("'int8'", "float32")),
        (("transfer", "PHOTO", "great_wave", "--preserve-color", "lumi"), ("'lumi'", "luminance")),
        (("reconstruct", "PHOTO", "--layer", "relu3_9"), ("relu3_9", "relu3_3")),
        (("reconstruct", "PHOTO", "--max-pixels", "100"), ("1,920", "max_pixels")),
        (("reconstruct", "PHOTO", "--layer", "relu5_3", "--sizes", "12"), ("relu5_3", "16")),
        (("texture", "TEXT"), ("notes.png", "not a picture")),
        (("texture", "EMPTY"), ("empty.png", "empty")),
        (("texture", "TRUNCATED"), ("half.png", "truncated")),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments, words, command, photo, tmp_path):
    (tmp_path / "notes.png").write_text("no picture at all\n")
    (tmp_path / "empty.png").touch()
    (tmp_path / "half.png").write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    names = {"PHOTO": photo, "TEXT": "notes.png", "EMPTY": "empty.png", "TRUNCATED": "half.png"}
    arguments = [tmp_path / names[word] if word in names else word for word in arguments]
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
    code, _, errors = command("transfer", photo, "great_wave", "-o", photo.parent / output)
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
