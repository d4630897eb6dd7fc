"""The commands stylize and styles: pictures, folders, GIFs, videos, pipes,
and what they refuse.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import assert_refused, assert_sentence, picture, process
from PIL import Image
from test_video import film, frames_of, gif, seen, sound_of, still
from test_zoo import CARD, shaken

from pltutorial import (
    bundled,
    load_style,
    read_image,
    resize,
    sharpness,
    stylize,
    write_image,
    zoo,
)
from pltutorial.color import with_colors_of
from pltutorial.images import open_picture, to_image, to_picture
from pltutorial.networks import FastTransformNet, save_network

HALF = 0.5 / 255 + 1e-6


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("styles")
    three = FastTransformNet(
        width=4, blocks=1, styles=("great_wave", "poppies", "starry_night")
    )
    save_network(folder / "three_styles.safetensors", shaken(three, 1), CARD)
    save_network(
        folder / "great_wave.safetensors",
        shaken(FastTransformNet(width=4, blocks=1), 2),
        CARD,
    )
    return folder


@pytest.fixture
def command(command, monkeypatch, networks):
    """The command of all tests, with the networks above for its zoo."""
    monkeypatch.setattr(zoo, "FOLDER", networks)
    return command


# --- one picture ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "style", "how"),
    [
        (("--style", "great_wave"), "great_wave", {}),
        (("--style", "poppies"), "poppies", {}),
        (
            ("--styles", "great_wave:0.7, poppies:0.3"),
            {"great_wave": 0.7, "poppies": 0.3},
            {},
        ),
        (("--styles", "great_wave,poppies"), {"great_wave": 1, "poppies": 1}, {}),
        (
            ("--style", "great_wave", "--strength", "0.4"),
            "great_wave",
            {"strength": 0.4},
        ),
        (
            ("--style", "poppies", "--preserve-color", "luminance"),
            "poppies",
            {"preserve_color": "luminance"},
        ),
        (
            ("--style", "poppies", "--preserve-color", "histogram"),
            "poppies",
            {"preserve_color": "histogram"},
        ),
        (("--style", "poppies", "--size", "36"), "poppies", {"size": 36}),
        (("--style", "poppies", "--stroke", "0.5"), "poppies", {"stroke": 0.5}),
        (
            ("--style", "great_wave", "--precision", "float32"),
            "great_wave",
            {"precision": "float32"},
        ),
    ],
)
def test_a_picture_becomes_what_the_function_computes(
    command, photo, tmp_path, options, style, how
):
    output = tmp_path / "out.png"
    code, printed, errors = command("stylize", photo, "-o", output, *options)
    assert (code, errors) == (0, "")
    expected = stylize(read_image(photo), style, **how).cpu()
    torch.testing.assert_close(read_image(output), expected, atol=HALF, rtol=0)
    height, width = expected.shape[-2:]
    assert printed.startswith(f"{output}: {width}x{height}, ")
    assert printed.count("\n") == 1


def test_strokes_become_larger_by_their_factor():
    """The picture is painted smaller, and the print is as large as it was; with colours
    kept from the picture as it is.
    """
    photo = read_image(bundled("test/kodim23"), 128)[..., :83, :]
    how = {"network": load_style("eight_styles", "cpu"), "precision": "float32"}
    prints = {}
    for stroke, sides in ((0.5, (166, 256)), (1.0, (83, 128)), (2.0, (42, 64))):
        prints[stroke] = stylize(photo, "great_wave", stroke=stroke, **how)
        by_hand = stylize(resize(photo, sides), "great_wave", **how)
        torch.testing.assert_close(prints[stroke], resize(by_hand, (83, 128)))
    fine = [float(sharpness(prints[stroke])) for stroke in (0.5, 1.0, 2.0)]
    assert fine[0] > fine[1] > 2 * fine[2], "fine detail makes room for large strokes"
    kept = {"preserve_color": "luminance", **how}
    made = stylize(photo, "great_wave", stroke=2.0, **kept)
    expected = with_colors_of(prints[2.0], photo)
    torch.testing.assert_close(made, expected)


def test_a_bundled_picture_by_its_name_and_json(command, tmp_path):
    output = tmp_path / "out.jpg"
    code, printed, errors = command(
        "stylize",
        "pagoda",
        "-o",
        output,
        "--style",
        "great_wave",
        "--size",
        "64",
        "--json",
    )
    assert (code, errors) == (0, "")
    facts = json.loads(printed)
    seconds = facts.pop("seconds")
    assert 0 < seconds < 60
    height, width = read_image(output).shape[-2:]
    assert max(height, width) == 64
    assert facts.pop("device") in ("cpu", "cuda", "mps")
    assert facts.pop("precision") in ("float32", "bfloat16")
    assert facts == {
        "input": str(bundled("content/pagoda")),
        "output": str(output),
        "size": [width, height],
        "style": "great_wave",
    }


def test_json_names_the_weights_of_a_blend(command, photo, tmp_path):
    _, printed, _ = command(
        "stylize",
        photo,
        "-o",
        tmp_path / "o.png",
        "--styles",
        "poppies:3,great_wave:1",
        "--json",
    )
    assert json.loads(printed)["style"] == {"poppies": 3.0, "great_wave": 1.0}


def test_a_network_of_ones_own(command, photo, tmp_path):
    alone = shaken(FastTransformNet(width=4, blocks=1), 7)
    one = save_network(tmp_path / "mine.safetensors", alone, CARD)
    two = save_network(
        tmp_path / "two.safetensors",
        shaken(FastTransformNet(4, 1, styles=("north", "south")), 8),
        CARD,
    )
    output = tmp_path / "out.png"
    code, printed, _ = command("stylize", photo, "-o", output, "--model", one, "--json")
    assert code == 0
    assert json.loads(printed)["style"] == "mine"
    expected = stylize(read_image(photo), network=zoo.load_style(one)).cpu()
    torch.testing.assert_close(read_image(output), expected, atol=HALF, rtol=0)
    assert (
        command("stylize", photo, "-o", output, "--model", two, "--style", "south")[0]
        == 0
    )
    expected = stylize(read_image(photo), "south", network=zoo.load_style(two)).cpu()
    torch.testing.assert_close(read_image(output), expected, atol=HALF, rtol=0)
    output.unlink()
    assert_refused(
        command("stylize", photo, "-o", output, "--model", two), "north, south"
    )
    assert_refused(
        command("stylize", photo, "-o", output, "--model", two, "--style", "est"),
        "'est'",
    )
    assert_refused(
        command("stylize", photo, "-o", output, "--model", one, "--style", "south"),
        "leave --style out",
    )
    assert_refused(
        command("stylize", photo, "-o", output, "--model", photo),
        "is a picture and no network",
    )
    assert_refused(
        command("stylize", photo, "-o", output, "--model", tmp_path / "no.safetensors"),
        "no.safe",
    )
    half = tmp_path / "half.safetensors"
    half.write_bytes(one.read_bytes()[:900])
    assert_refused(
        command("stylize", photo, "-o", output, "--model", half), "half.safetensors"
    )
    assert not output.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("no style", "great_wave, poppies")),
        (("--style", "great_wav"), ("'great_wav'", "'great_wave'")),
        (("--style", "three_styles"), ("several styles", "poppies")),
        (("--style", "night.jpg"), ("night.jpg", "does not exist")),
        (("--style", "poppies", "--styles", "poppies"), ("--style and --styles",)),
        (("--styles", "poppies:x"), ("'x'", "poppies:0.5")),
        (("--styles", "poppies:-1"), ("'-1'", "poppies:0.5")),
        (("--styles", "poppies:0"), ("not all of them 0",)),
        (("--styles", " , "), ("names no style",)),
        (("--styles", "poppies,village"), ("'village'",)),
        (("--style", "poppies", "--strength", "1.5"), ("strength=1.5",)),
        (("--style", "poppies", "--preserve-color", "lum"), ("'lum'", "'luminance'")),
        (("--style", "poppies", "--stroke", "5"), ("stroke=5.0", "from 0.25")),
        (("--style", "poppies", "--stroke", "nan"), ("stroke=nan", "0.25")),
        (("--style", "poppies", "--stroke", "4"), ("stroke=4", "at most 2.5")),
        (("--style", "poppies", "--size", "0"), ("--size 0",)),
        (("--style", "poppies", "--size", "8"), ("16",)),
        (
            ("--style", "poppies", "--temporal-smoothing", "1"),
            ("temporal_smoothing=1.0",),
        ),
        (("--style", "poppies", "--format", "png"), ("--format", ".png")),
        (("--style", "poppies", "--device", "gpu9"), ("'gpu9'",)),
        (("--style", "poppies", "--precision", "half"), ("'half'", "float32")),
        (("--style", "poppies", "--max-pixels", "100"), ("1,920", "max_pixels")),
    ],
)
def test_options_that_are_refused(command, photo, tmp_path, options, words):
    output = tmp_path / "out.png"
    assert_refused(command("stylize", photo, "-o", output, *options), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_inputs_and_outputs_that_are_refused(command, photo, tmp_path, monkeypatch):
    style = ("--style", "great_wave")
    movie, moving = film(tmp_path / "in.mp4"), gif(tmp_path / "in.gif")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "half.png").write_bytes(photo.read_bytes()[:2000])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    out = tmp_path / "out.png"
    for source, output, words in (
        (tmp_path / "gone.png", out, ("gone.png", "does not exist")),
        ("pagodaa", out, ("pagodaa", "pagoda")),
        (tmp_path / "text.png", out, ("text.png", "not a picture")),
        (tmp_path / "half.png", out, ("half.png", "truncated")),
        (photo, photo, ("also an input",)),
        (photo, tmp_path / "no" / "out.png", ("does not exist",)),
        (photo, tmp_path / "out.xyz", ("ending",)),
        (photo, tmp_path, ("ending",)),
        (photo, tmp_path / "out.gif", ("a single picture", ".png")),
        (photo, tmp_path / "out.mp4", ("a single picture", ".png")),
        (movie, out, ("is a video", ".mp4")),
        (movie, tmp_path / "out.gif", ("is a video", ".mp4")),
        (movie, "-", ("is a video", "cannot be piped")),
        (moving, out, ("4 frames", ".gif")),
        (moving, moving, ("also an input",)),
        (movie, movie, ("also an input",)),
    ):
        assert_refused(command("stylize", source, "-o", output, *style), *words)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_picture_too_large_for_the_memory(command, photo, tmp_path, monkeypatch):
    monkeypatch.setattr("pltutorial.memory.free", lambda device: 100_000)
    assert_refused(
        command("stylize", photo, "-o", tmp_path / "o.png", "--style", "poppies"),
        "48x40",
        "size=",
    )


def test_an_output_that_exists_is_replaced_only_when_the_work_is_done(
    command, photo, tmp_path, monkeypatch
):
    output = write_image(tmp_path / "out.png", picture())
    before = output.read_bytes()

    def stop(*given, **rest):
        raise KeyboardInterrupt

    monkeypatch.setattr("pltutorial.networks.apply", stop)
    assert command("stylize", photo, "-o", output, "--style", "poppies")[0] != 0
    assert output.read_bytes() == before
    monkeypatch.undo()


# --- folders --------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path):
    folder = tmp_path / "album"
    folder.mkdir()
    write_image(folder / "a.png", picture(32, 40, 1))
    write_image(folder / "b.jpg", picture(40, 32, 2))
    gif(folder / "c.gif")
    film(folder / "d.mp4", sound=False)
    (folder / "notes.txt").write_text("not looked at")
    (folder / ".hidden.png").write_text("not looked at")
    return folder


def test_a_folder_becomes_a_folder(command, album, tmp_path):
    target = tmp_path / "made"
    code, printed, errors = command(
        "stylize", album, "-o", target, "--style", "great_wave", "--no-progress"
    )
    assert (code, errors) == (0, "")
    assert sorted(path.name for path in target.iterdir()) == [
        "a.png",
        "b.jpg",
        "c.gif",
        "d.mp4",
    ]
    assert len(printed.splitlines()) == 4
    expected = stylize(read_image(album / "a.png"), "great_wave").cpu()
    torch.testing.assert_close(
        read_image(target / "a.png"), expected, atol=HALF, rtol=0
    )
    assert len(frames_of(target / "c.gif")[0]) == 4
    assert len(seen(target / "d.mp4")[0]) == 8


def test_broken_pictures_in_a_folder_are_named_and_the_rest_is_done(
    command, album, tmp_path
):
    (album / "aa.png").write_text("no picture")
    (album / "b.jpg").write_bytes((album / "b.jpg").read_bytes()[:700])
    (album / "c.gif").write_bytes((album / "c.gif").read_bytes()[:1500])
    (album / "d.mp4").write_bytes((album / "d.mp4").read_bytes()[:1500])
    target = tmp_path / "made"
    code, printed, errors = command(
        "stylize",
        album,
        "-o",
        target,
        "--style",
        "great_wave",
        "--no-progress",
        "--json",
    )
    assert code == 1
    assert [path.name for path in target.iterdir()] == ["a.png"]
    lines = errors.splitlines()
    assert lines[-1].startswith("error: 4 of 5")
    for name, line in zip(("aa.png", "b.jpg", "c.gif", "d.mp4"), lines, strict=False):
        assert line.startswith("left out: ")
        assert_sentence(line.removeprefix("left out: "), name)
    facts = json.loads(printed)
    assert [Path(one["output"]).name for one in facts["pictures"]] == ["a.png"]
    assert facts["pictures"][0]["size"] == [40, 32]
    assert [Path(one["input"]).name for one in facts["failed"]] == [
        "aa.png",
        "b.jpg",
        "c.gif",
        "d.mp4",
    ]
    assert facts["style"] == "great_wave"


def test_a_folder_in_another_format(command, album, tmp_path):
    target = tmp_path / "made"
    options = ("--style", "poppies", "--format", "webp", "--no-progress")
    assert command("stylize", album, "-o", target, *options)[0] == 0
    assert sorted(path.name for path in target.iterdir()) == [
        "a.webp",
        "b.webp",
        "c.gif",
        "d.mp4",
    ]
    with Image.open(target / "a.webp") as opened:
        assert opened.format == "WEBP"
    write_image(album / "a.jpg", picture())
    assert_refused(
        command("stylize", album, "-o", target, *options),
        "'a.jpg' and 'a.png'",
        "a.webp",
    )


def test_all_kinds_of_a_folder_and_what_is_passed_over(command, tmp_path):
    """What is read and not written becomes a PNG; the rest is named and counted."""
    album = tmp_path / "album"
    (album / "more").mkdir(parents=True)
    photo = to_picture(picture(20, 24))
    for name in ("a.jpg", "b.jfif", "c.jpe", "d.avif", "e.ppm", "f.tga", "more/g.png"):
        photo.save(album / name, format={".jfif": "JPEG"}.get(name[1:]))
    (album / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (album / "scan").write_bytes((album / "a.jpg").read_bytes())
    (album / "notes.txt").write_text("not looked at")
    photo.save(album / "h.webp", save_all=True, append_images=[photo.rotate(180)])
    style = ("--style", "great_wave", "--json")
    code, printed, errors = command("stylize", album, "-o", tmp_path / "made", *style)
    assert code == 1
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [
        *("a.jpg", "b.jfif", "c.jpe", "d.avif", "e.png", "f.png"),
    ]
    facts = json.loads(printed)
    assert facts["passed_over"] == ["phone.heic", "scan", "more"]
    assert [Path(one["input"]).name for one in facts["failed"]] == ["h.webp"]
    over, within, left, last = errors.splitlines()
    assert "passed over 2 of" in over
    assert "'phone.heic', 'scan'" in over
    assert "passed over the folder 'more'" in within
    assert "h.webp' has 2 frames" in left
    assert last.startswith("error: 1 of 7")


@pytest.mark.parametrize(
    ("name", "kind"), [("a.webp", "WEBP"), ("a.png", "PNG"), ("a.avif", "AVIF")]
)
def test_whatever_moves_becomes_a_gif_whole(command, tmp_path, name, kind):
    frames = [to_picture(picture(20, 24, seed)) for seed in range(3)]
    how = {"save_all": True, "append_images": frames[1:], "duration": 120}
    frames[0].save(tmp_path / name, format=kind, **how)
    options = ("--style", "great_wave", "--no-progress", "--json")
    made = tmp_path / "made.gif"
    code, printed, errors = command("stylize", tmp_path / name, "-o", made, *options)
    assert (code, errors) == (0, "")
    assert json.loads(printed)["frames"] == 3
    with Image.open(made) as opened:
        assert opened.n_frames == 3
        assert opened.info["duration"] == 120
    for output in ("made.mp4", "made.webp"):
        assert_refused(
            command("stylize", tmp_path / name, "-o", tmp_path / output, *options),
            f"{name}' has 3 frames",
            ".gif",
        )
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    assert_refused(
        command("stylize", tmp_path / "a.tif", "-o", made, *options), "3 pages"
    )


def test_folders_that_are_refused(command, album, photo, tmp_path):
    style = ("--style", "great_wave")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert_refused(
        command("stylize", empty, "-o", tmp_path / "made", *style),
        "no picture in the folder",
    )
    assert_refused(command("stylize", album, "-o", album, *style), "also an input")
    assert_refused(command("stylize", album, "-o", photo, *style), "is a file")
    assert_refused(
        command("stylize", album, "-o", tmp_path / "no" / "made", *style),
        "does not exist",
    )
    assert_refused(command("stylize", album, "-o", "-", *style), "cannot be piped")
    assert_refused(
        command("stylize", album, "-o", tmp_path / "made", "--style", "popies"),
        "'poppies'",
    )
    assert_refused(command("stylize", photo, "-o", empty, *style), "ending")
    assert not (tmp_path / "made").exists()


def test_an_interrupted_folder_keeps_what_is_done(
    command, album, tmp_path, monkeypatch
):
    real, seen_so_far = stylize, []

    def stop(*given, **rest):
        seen_so_far.append(given)
        if len(seen_so_far) == 2:
            raise KeyboardInterrupt
        return real(*given, **rest)

    monkeypatch.setattr("pltutorial.tasks.style.stylize", stop)
    code, _, errors = command(
        "stylize", album, "-o", tmp_path / "made", "--style", "great_wave"
    )
    assert code != 0
    assert "Traceback" not in errors
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["a.png"]


# --- moving pictures ------------------------------------------------------------------


def test_a_gif_and_a_video_keep_time_and_sound(command, tmp_path):
    moving, movie = gif(tmp_path / "in.gif", loop=2), film(tmp_path / "in.mp4")
    style = ("--style", "great_wave", "--no-progress", "--json")
    code, printed, errors = command(
        "stylize", moving, "-o", tmp_path / "out.gif", *style
    )
    assert (code, errors) == (0, "")
    assert (json.loads(printed)["frames"], json.loads(printed)["size"]) == (4, [44, 30])
    assert frames_of(tmp_path / "out.gif")[1] == frames_of(moving)[1]
    code, printed, errors = command(
        "stylize", movie, "-o", tmp_path / "out.mp4", *style, "--size", "48"
    )
    assert (code, errors) == (0, "")
    assert (json.loads(printed)["frames"], json.loads(printed)["size"]) == (8, [48, 36])
    assert seen(tmp_path / "out.mp4")[1] == seen(movie)[1]
    assert sound_of(tmp_path / "out.mp4") == sound_of(movie)
    assert command("stylize", moving, "-o", tmp_path / "gif.mkv", *style)[0] == 0


def test_temporal_smoothing_is_handed_on(command, tmp_path):
    frames = still(6)
    movie = film(tmp_path / "in.mkv", frames, sound=False)
    made = []
    for amount in ("0", "0.8"):
        options = (
            "--style",
            "great_wave",
            "--temporal-smoothing",
            amount,
            "--no-progress",
        )
        assert command("stylize", movie, "-o", tmp_path / "out.mkv", *options)[0] == 0
        images = seen(tmp_path / "out.mkv")[0]
        made.append(float((images[5] - images[4]).abs().mean()))
    assert made[1] < 0.6 * made[0]


def test_a_video_without_pyav_says_how_to_get_it(command, tmp_path, monkeypatch):
    movie = film(tmp_path / "in.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    assert_refused(
        command("stylize", movie, "-o", tmp_path / "out.mp4", "--style", "great_wave"),
        "PyAV",
        "pip install 'pltutorial[video]'",
    )


# --- pipes ----------------------------------------------------------------------------


def test_pipes(networks, photo):
    model = ("--model", networks / "great_wave.safetensors", "--precision", "float32")
    done = process("stylize", "-", "-o", "-", *model, given=photo.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"\x89PNG")
    made = to_image(open_picture(io.BytesIO(done.stdout), "made"), "made")
    network = zoo.load_style(networks / "great_wave.safetensors", "cpu")
    expected = stylize(read_image(photo), network=network, precision="float32")
    torch.testing.assert_close(made, expected, atol=1.1 / 255, rtol=0)
    done = process("stylize", photo, "-o", "-", *model, "--format", "jpg", "--json")
    assert done.returncode == 0
    assert done.stdout.startswith(b"\xff\xd8")
    assert json.loads(done.stderr)["output"] == "-"


def test_pipes_that_are_refused(networks, photo):
    model = ("--model", networks / "great_wave.safetensors")
    for given, words in (
        (b"", "is empty"),
        (b"no picture", "'standard input' is not a picture"),
    ):
        done = process("stylize", "-", "-o", "-", *model, given=given)
        assert (done.returncode, done.stdout) == (2, b"")
        assert_sentence(done.stderr.decode().strip(), words)
    with subprocess.Popen(
        [sys.executable, "-m", "pltutorial.cli", "stylize", photo, "-o", "-", *model],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        running.stdout.close()  # the reader goes away
        errors = running.stderr.read().decode()
        assert running.wait() == 2
    assert_sentence(errors.strip(), "standard output was closed")


def test_a_picture_from_a_pipe_into_a_file(command, photo, tmp_path, monkeypatch):
    output = tmp_path / "out.png"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    assert command("stylize", "-", "-o", output, "--style", "great_wave")[0] == 0
    expected = stylize(read_image(photo), "great_wave").cpu()
    torch.testing.assert_close(read_image(output), expected, atol=HALF, rtol=0)
    assert_refused(
        command(
            "stylize", photo, "-o", "-", "--style", "great_wave", "--format", "pgn"
        ),
        "'png'",
    )


@pytest.mark.skipif(
    not hasattr(os, "openpty"), reason="this system has no pseudo-terminals to try"
)
def test_a_terminal_is_no_pipe(networks, photo):
    model = ("--model", str(networks / "great_wave.safetensors"))
    ours, theirs = os.openpty()
    try:
        words = [sys.executable, "-m", "pltutorial.cli", "stylize"]
        done = subprocess.run(
            [*words, photo, "-o", "-", *model],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
        )
        assert done.returncode == 2
        assert_sentence(done.stderr.decode().strip(), "standard output is a terminal")
        done = subprocess.run(
            [*words, "-", "-o", "-", *model], stdin=theirs, capture_output=True
        )
        assert done.returncode == 2
        assert_sentence(done.stderr.decode().strip(), "standard input is a terminal")
    finally:
        os.close(ours)
        os.close(theirs)


# --- styles ---------------------------------------------------------------------------


def test_styles_lists_networks_and_prints_cards(command, networks):
    code, printed, _ = command("styles")
    assert code == 0
    lines = [line.split() for line in printed.splitlines()]
    assert [line[0] for line in lines] == ["great_wave", "three_styles"]
    assert lines[1][-3:] == ["great_wave,", "poppies,", "starry_night"]
    code, printed, _ = command("styles", "--card", "great_wave")
    assert printed.startswith("great_wave\ntrained on: nothing\n")
    assert "limits: random weights" in printed
    assert json.loads(command("styles", "--json")[1]) == zoo.available(networks)
    card = json.loads(command("styles", "--card", "three_styles", "--json")[1])
    assert card["styles"] == ["great_wave", "poppies", "starry_night"]
    assert_refused(command("styles", "--card", "three_stiles"), "'three_styles'")


def test_no_network_installed(command, tmp_path, monkeypatch, photo):
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "none")
    assert_refused(command("styles"), "pltutorial train")
    assert json.loads(command("styles", "--json")[1]) == {}
    assert_refused(
        command("stylize", photo, "-o", tmp_path / "o.png"), "none is installed"
    )


def test_help_and_styles_load_nothing_heavy(networks):
    for arguments in (
        ["stylize", "--help"],
        ["styles", "--help"],
        ["styles", "--json"],
    ):
        code = (
            f"import sys; sys.argv = ['pltutorial', *{arguments}]\n"
            "from pltutorial import cli, zoo\n"
            f"from pathlib import Path; zoo.FOLDER = Path({str(networks)!r})\n"
            "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
            "print(sorted({'torch', 'numpy', 'PIL', 'av', 'tqdm'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        assert done.stdout.splitlines()[-1] == "[]", arguments
