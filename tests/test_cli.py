"""The command line: real runs on small pictures, shared defaults, light start, and one
sentence for bad input.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from helpers import assert_refused, assert_sentence, picture, process, stopped_at
from PIL import Image

from pltutorial import bundled, images, optimize, read_image, write_image
from pltutorial.cli import doctor
from pltutorial.cli.options import parts_of
from pltutorial.settings import (
    ReconstructionSettings,
    TextureSettings,
    TransferSettings,
)

PROGRAM = (sys.executable, "-m", "pltutorial.cli")
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


# --- names, streams, signals and the last line of defence -------------------------

LONG = "a" * 300


@pytest.mark.parametrize(
    "words",
    [
        f"stylize {LONG} --style great_wave -o o.png",
        f"stylize {LONG}.png --style great_wave -o o.png",
        f"stylize PHOTO --style great_wave -o {LONG}.png",
        f"stylize PHOTO --style {LONG}/a -o o.png",
        f"stylize PHOTO --model {LONG}.safetensors -o o.png",
        f"stylize FOLDER --style great_wave -o {LONG}",
        f"inpaint PHOTO {LONG}.png -o o.png",
        f"transfer PHOTO {LONG} -o o.png",
        f"export {LONG}/x.safetensors -o o.onnx",
        f"train denoise --data {LONG} -o run",
        f"train style --styles {LONG}/a.png -o run",
        f"train denoise -o {LONG}",
        f"train denoise -o {LONG}/run",
        f"serve {LONG} --port 0",
    ],
)
def test_names_that_are_too_long(words, command, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    photo.rename(tmp_path / "folder" / "photo.png")
    names = {"PHOTO": "folder/photo.png", "FOLDER": "folder"}
    code, printed, errors = command(*(names.get(w, w) for w in words.split()))
    assert (code, printed) == (2, ""), errors
    assert_sentence(errors.removeprefix("error: ").rstrip("\n"), "aaa")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_ending_that_makes_a_name_too_long(command, tmp_path):
    album = tmp_path / "album"
    album.mkdir()
    write_image(album / ("p" * 251 + ".jpg"), picture())
    arguments = ("stylize", album, "--style", "great_wave", "-o", tmp_path / "out")
    assert_refused(command(*arguments, "--format", "webp"), "too long")
    assert command(*arguments)[0] == 0
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize(
    "words",
    [
        "stylize in/a.png --style great_wave -o o.png",
        "stylize PHOTO --style great_wave -o in/o.png",
        "denoise PHOTO --model in/m.safetensors -o o.png",
        "train denoise --data in/pictures -o run",
        "train denoise -o in/run",
        "serve in/site --port 0",
        "progress",
    ],
)
def test_a_folder_that_may_not_be_entered(words, command, photo, tmp_path, monkeypatch):
    real = Path.stat

    def stat(path, **how):
        if path.parts[:1] == ("in",) and len(path.parts) > 1:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, **how)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setenv("PLTUTORIAL_PROGRESS", "in/progress.sqlite")
    monkeypatch.delenv("PLTUTORIAL_STATIC", raising=False)
    given = [photo if word == "PHOTO" else word for word in words.split()]
    assert_refused(command(*given), "'in", "Permission denied")


@pytest.mark.parametrize("value", ["~nobody_of_that_name/p.sqlite", f"{LONG}/p.sqlite"])
def test_a_place_for_progress_that_cannot_be(value, command, monkeypatch):
    monkeypatch.setenv("PLTUTORIAL_PROGRESS", value)
    monkeypatch.delenv("PLTUTORIAL_STATIC", raising=False)
    for words in (("progress",), ("progress", "--reset", "--yes")):
        assert_refused(command(*words))
    monkeypatch.setattr(doctor, "examine", doctor._record)
    assert "PLTUTORIAL_PROGRESS" in command("doctor")[1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_reset_moves_no_pipe(command, tmp_path, monkeypatch):
    monkeypatch.setenv("PLTUTORIAL_PROGRESS", str(tmp_path / "p"))
    monkeypatch.delenv("PLTUTORIAL_STATIC", raising=False)
    os.mkfifo(tmp_path / "p")
    assert_refused(command("progress", "--reset", "--yes"), "is a named pipe")
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


@pytest.mark.parametrize("words", [("progress",), ("progress", "--reset", "--yes")])
def test_a_picture_is_no_record_of_progress(words, command, photo, monkeypatch):
    monkeypatch.setenv("PLTUTORIAL_PROGRESS", str(photo))
    monkeypatch.delenv("PLTUTORIAL_STATIC", raising=False)
    before = photo.read_bytes()
    assert_refused(command(*words), "is a file of another kind")
    assert photo.read_bytes() == before


def test_names_cannot_write_on_a_terminal(command, photo, tmp_path):
    """A new line, a colour, or letters that turn the line round."""
    for name, said in (
        ("a\nb", "a\\nb"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202e", "\\u202e"),
    ):
        output = tmp_path / f"{name}.png"
        code, printed, errors = command("denoise", photo, "-o", output)
        assert (code, errors, printed.count("\n")) == (0, "", 1)
        assert printed.rstrip("\n").isprintable()
        assert said in printed
        assert output.is_file()


def test_a_sentence_is_short_however_long_the_word(command, photo):
    code, printed, errors = command("denoise", photo, "-o", "d/" * 2000 + "o.png")
    assert (code, printed) == (2, "")
    assert len(errors) < 1600
    assert errors.rstrip().endswith("choose another")


def test_a_device_where_nothing_is_computed(command, photo, tmp_path):
    outcome = command("denoise", photo, "-o", tmp_path / "o.png", "--device", "meta")
    assert_refused(outcome, "'meta' cannot be used", "'cpu'")


def test_an_empty_word_is_no_folder(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = command("train", "denoise", "--data", "", "-o", "run")
    assert_refused(outcome, "an empty name")


@pytest.mark.parametrize(
    ("files", "given", "names"),
    [
        (["night, 1889.png"], "night, 1889.png", ["night, 1889.png"]),
        (["night, 1889.png"], "night, 1889.png:0.3", ["night, 1889.png"]),
        (
            ["a,b,c.png", "d.png"],
            "d.png:2,a,b,c.png:0.5,poppies",
            ["d.png", "a,b,c.png", "poppies.jpg"],
        ),
        (["a:0.3", "b.png"], "a:0.3,b.png", ["a:0.3", "b.png"]),
        (["a\nb.png"], "a\nb.png:0.3", ["a\nb.png"]),
    ],
)
def test_a_path_that_exists_goes_before_commas_and_colons(
    files, given, names, command, photo, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for name in files:
        shutil.copy(photo, name)
    output = tmp_path / "out.png"
    code, printed, _ = command(
        "transfer", photo, given, "-o", output, *QUICK, *FLOAT, "--json"
    )
    assert code == 0
    assert [Path(path).name for path, _ in json.loads(printed)["styles"]] == names


def test_styles_to_train_may_have_commas(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night, 1889.png").touch()
    text = "great_wave, night, 1889.png,poppies"
    assert parts_of(text) == ["great_wave", "night, 1889.png", "poppies"]
    assert parts_of(",".join(["relu1_2"] * 100)) == ["relu1_2"] * 100


NAME = os.fsdecode(b"M\xfcller \xf0\x9f\x8e\xa8.png")


@pytest.mark.skipif(sys.platform != "linux", reason="names are UTF-8 elsewhere")
class TestNamesOfAnyBytes:
    @pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict", "cp437"])
    def test_the_work_is_done_and_said(self, encoding, photo, tmp_path):
        shutil.copy(photo, tmp_path / NAME)
        done = subprocess.run(
            [*PROGRAM, "denoise", NAME, "-o", f"made {NAME}"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(b"made M\\udcfcller ")
        assert read_image(tmp_path / f"made {NAME}").shape[-2:] == (40, 48)

    def test_a_folder_is_done_to_its_end(self, command, photo, tmp_path):
        (tmp_path / "in").mkdir()
        for name in (NAME, "z.png"):
            shutil.copy(photo, tmp_path / "in" / name)
        arguments = ("stylize", tmp_path / "in", "--style", "great_wave")
        code, printed, errors = command(*arguments, "-o", tmp_path / "out")
        assert (code, errors, printed.count("\n")) == (0, "", 2)
        assert len(list((tmp_path / "out").iterdir())) == 2

    def test_a_network_is_trained_on_such_pictures_and_used(self, command, tmp_path):
        folder = tmp_path / NAME
        folder.mkdir()
        for number in range(2):
            write_image(folder / f"{number}{NAME}", picture(40, 44, number))
        (folder / f"broken{NAME}").touch()
        run = tmp_path / f"run {NAME}"
        tiny = "--steps 2 --size 32 --batch-size 2 --width 4 --blocks 1 --no-progress"
        more = ("--max-broken", "0.9", "--checkpoint-every", "1", *tiny.split())
        for steps in ("1", "2"):
            words = ("train", "denoise", "-o", run, "--data", folder, *more)
            code, printed, errors = command(*words, "--steps", steps)
            assert code == 0, errors
            assert "use it: " in printed
        model = ("--model", run / "network.safetensors")
        code, _, errors = command(
            "denoise", "pagoda", *model, "-o", tmp_path / "out.png"
        )
        assert (code, errors) == (0, "")


def shell(line: str, folder: Path) -> subprocess.CompletedProcess:
    words = line.replace("pltutorial", " ".join(map(str, PROGRAM)), 1)
    return subprocess.run(["sh", "-c", words], cwd=folder, capture_output=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("pltutorial --version > /dev/full", 1, "No space left"),
        ("pltutorial --help > /dev/full", 1, "No space left"),
        ("pltutorial models --json > /dev/full", 1, "No space left"),
        ("pltutorial denoise photo.png -o out.png > /dev/full", 1, "No space left"),
        ("pltutorial denoise photo.png -o - > /dev/full", 2, "No space left"),
        ("pltutorial denoise photo.png -o - >&-", 2, "is closed"),
        ("pltutorial denoise - -o out.png <&-", 2, "is empty"),
        ("pltutorial denoise photo.png -o out.png >&- <&-", 0, ""),
        ("pltutorial denoise photo.png -o out.png 2> /dev/full", 0, ""),
        ("pltutorial denoise none.png -o out.png 2> /dev/full", 2, ""),
        ("pltutorial denoise none.png -o out.png 2>&-", 2, ""),
        ("pltutorial models --json >&-", 0, ""),
    ],
)
def test_streams_that_are_full_or_closed(line, code, words, photo):
    done = shell(line, photo.parent)
    errors = done.stderr.decode()
    assert done.returncode == code, errors
    if words:
        assert errors.startswith("error: ")
        assert_sentence(errors.removeprefix("error: ").rstrip("\n"), words)
    else:
        assert errors == ""
    if "out.png" in line and not ("none" in line or "- -o" in line):
        assert read_image(photo.parent / "out.png").shape[-2:] == (40, 48)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (MemoryError(), ("memory", "smaller")),
        (RuntimeError("[enforce fail] can't allocate memory: 9 bytes"), ("memory",)),
        (RecursionError("maximum recursion depth exceeded"), ("too deeply",)),
        (
            OSError(errno.EMFILE, "Too many open files", "x.png"),
            ("'x.png'", "Too many"),
        ),
        (OSError("odd"), ("OSError: odd", "--debug")),
        (RuntimeError("Given groups=1.\n  Expected it. Not so"), ("groups=1; Exp",)),
        (UnicodeEncodeError("utf-8", "\udcfc", 0, 1, "no"), ("UnicodeEncodeError",)),
        (KeyError("x"), ("KeyError: 'x'", "report")),
        (AssertionError(), ("AssertionError: no more",)),
    ],
)
def test_the_last_line_of_defence(problem, words, command, monkeypatch):
    def fail():
        raise problem

    monkeypatch.setattr("pltutorial.zoo.cards", fail)
    code, printed, errors = command("models")
    assert (code, printed) == (1, "")
    assert errors.startswith("error: ")
    assert_sentence(errors.removeprefix("error: ").rstrip("\n"), *words)
    for place in (("--debug", "models"), ("models", "--debug")):
        code, _, errors = command(*place)
        assert code == 1
        assert "Traceback" in errors
        assert "in fail" in errors


def test_debug_shows_where_a_sentence_comes_from(command):
    code, _, errors = command("models", "--card", "nothing", "--debug")
    assert code == 2
    assert "in list_models" in errors
    assert errors.splitlines()[-1].startswith("error: there is no network")


@pytest.fixture
def heedful():
    """What a shell starts in the background ignores Ctrl-C; this does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heedful")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
class TestSignals:
    @pytest.mark.parametrize("lost", [False, True])
    @pytest.mark.parametrize("words", ["denoise", "stylize --style poppies"])
    def test_nothing_is_written_in_the_middle_of_the_work(
        self, number, lost, words, command, photo, tmp_path, monkeypatch
    ):
        def read(*given, real=images.to_image):
            try:
                signal.raise_signal(number)
            except KeyboardInterrupt:  # as imports of optional packages do
                if not lost:
                    raise
            return real(*given)

        monkeypatch.setattr(images, "to_image", read)
        output = tmp_path / "out.png"
        output.write_bytes(b"what was there")
        name, *more = words.split()
        code, printed, errors = command(name, photo, *more, "-o", output)
        assert (code, printed) == (128 + number, "")
        assert errors == "interrupted; no file was left half written\n"
        assert output.read_bytes() == b"what was there"
        assert not list(tmp_path.glob(".*"))

    @pytest.mark.parametrize(("sizes", "last"), [("32", 1), ("16,32", 3)])
    @pytest.mark.parametrize(("name", "more"), OPTIMISED)
    def test_before_the_first_step_nothing_is_written_later_the_best_picture(
        self, number, name, more, sizes, last, command, photo, tmp_path, monkeypatch
    ):
        done = []

        def record(*given, real=optimize.Record, **named):
            done.append(1)
            if len(done) == at:
                signal.raise_signal(number)
            return real(*given, **named)

        monkeypatch.setattr(optimize, "Record", record)
        output = tmp_path / "out.png"
        how = ("--steps", "2", "--sizes", sizes, "--no-progress", *FLOAT)
        for at in range(1, last + 2):
            done.clear()
            output.write_bytes(b"what was there")
            code, printed, errors = command(name, photo, *more, "-o", output, *how)
            assert code == 128 + number
            assert errors.startswith("interrupted; ")
            assert errors.count("\n") == 1
            if at == 1:
                assert output.read_bytes() == b"what was there"
                assert printed == ""
            else:
                assert read_image(output).shape[-1] in (16, 32)
                assert "interrupted" in printed
