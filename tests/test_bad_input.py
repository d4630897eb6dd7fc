"""Everything a user can get wrong gives one sentence; through the command line exit
code 2 and nothing lost.
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from pathlib import Path

import numpy
import pytest
import torch
from helpers import assert_sentence, picture, refused
from PIL import Image

from pltutorial import (
    LossNetwork,
    PerceptualLoss,
    cli,
    optimize,
    read_image,
    reconstruct_features,
    reconstruct_style,
    transfer_style,
    write_image,
)

MAKERS = {}


def maker(function):
    MAKERS[function.__name__] = function
    return function


@maker
def missing(folder: Path) -> Path:
    return folder / "missing.png"


@maker
def empty(folder: Path) -> Path:
    (folder / "empty.png").touch()
    return folder / "empty.png"


@maker
def truncated(folder: Path) -> Path:
    path = write_image(folder / "truncated.png", picture(64, 64))
    path.write_bytes(path.read_bytes()[:3000])
    return path


@maker
def truncated_jpeg(folder: Path) -> Path:
    path = write_image(folder / "truncated.jpg", picture(64, 64))
    path.write_bytes(path.read_bytes()[:1500])
    return path


@maker
def header_only(folder: Path) -> Path:
    (folder / "header.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    return folder / "header.png"


@maker
def no_picture(folder: Path) -> Path:
    (folder / "text.jpg").write_text("This is no picture.\n")
    return folder / "text.jpg"


@maker
def folder(folder: Path) -> Path:
    return folder


@maker
def one_pixel(folder: Path) -> Path:
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    return folder / "one.png"


@maker
def one_row(folder: Path) -> Path:
    Image.new("RGB", (50, 1)).save(folder / "row.png")
    return folder / "row.png"


def png(folder: Path, width: int, height: int) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (
        chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    (folder / "made.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return folder / "made.png"


@maker
def no_pixels(folder: Path) -> Path:
    return png(folder, 0, 7)


@maker
def bomb(folder: Path) -> Path:
    return png(folder, 60_000, 60_000)


@maker
def damaged_exif(folder: Path) -> Path:
    path = write_image(folder / "cut.tif", picture(16, 16))
    path.write_bytes(path.read_bytes()[:200])
    return path


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_picture_files(tmp_path, make):
    path = make(tmp_path)
    with refused(str(path)):
        read_image(path)
    with refused(str(path)):
        read_image(str(path))


def test_a_bombs_limit_is_stated_and_can_be_raised(tmp_path):
    with refused("3,600,000,000", "100,000,000", "max_pixels"):
        read_image(bomb(tmp_path))
    path = write_image(tmp_path / "small.png", picture(20, 20))
    with refused("400", "399"):
        read_image(path, max_pixels=399)
    assert read_image(path, max_pixels=400).shape == (1, 3, 20, 20)


def test_a_large_picture_within_the_limit_raises_no_warning_of_pillow(
    tmp_path, monkeypatch, recwarn
):
    path = write_image(tmp_path / "small.png", picture(20, 20))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_image(path).shape == (1, 3, 20, 20)
    assert Image.MAX_IMAGE_PIXELS == 10
    assert not [
        one
        for one in recwarn
        if issubclass(one.category, Image.DecompressionBombWarning)
    ]


GOOD = picture()
TENSORS = {
    "0-255": (GOOD * 255, "divide 0-255 pictures by 255"),
    "8 bits": ((GOOD * 255).to(torch.uint8), "image.float() / 255"),
    "NaN": (torch.where(GOOD > 0.5, torch.nan, GOOD), "NaN"),
    "infinite": (torch.where(GOOD > 0.5, torch.inf, GOOD), "infinite"),
    "one NaN": (GOOD.index_fill(3, torch.tensor([31]), float("nan")), "NaN"),
    "no batch": (GOOD[0], "image[None]"),
    "channels last": (GOOD.permute(0, 2, 3, 1), "permute"),
    "grey": (GOOD[:, :1], "(1, 1, 32, 32)"),
    "alpha": (torch.cat([GOOD, GOOD[:, :1]], 1), "(1, 4, 32, 32)"),
    "empty": (GOOD[..., :0], "(1, 3, 32, 0)"),
    "integers": ((GOOD * 2).long(), "int64"),
    "boolean": (GOOD > 0.5, "bool"),
    "array": (GOOD.numpy(), "ndarray"),
    "path": ("picture.png", "str"),
    "none": (None, "NoneType"),
}


@pytest.mark.parametrize(("given", "word"), TENSORS.values(), ids=TENSORS)
class TestTensors:
    def test_the_loss(self, network, given, word):
        here = (
            given.to(network.mean.device) if isinstance(given, torch.Tensor) else given
        )
        good = GOOD.to(network.mean.device)
        loss = PerceptualLoss({"relu1_1": 1.0}, {"relu1_1": 1.0}, network=network)
        with refused(word, "the output"):
            loss(here, content=good, style=good)
        if given is not None:
            with refused("the content target", word):
                loss.content_target(here)
            with refused("the style target"):
                loss.style_target([here])

    def test_the_optimisations(self, network, given, word):
        how = {"network": network, "progress": False}
        with refused("the content picture", word):
            transfer_style(given, GOOD, **how)
        with refused("the style picture", word):
            transfer_style(GOOD, [given], **how)
        with refused("the picture to reconstruct", word):
            reconstruct_features(given, **how)
        with refused("the style picture", word):
            reconstruct_style(given, **how)

    def test_writing(self, tmp_path, given, word):
        if word == "image[None]":
            write_image(tmp_path / "p.png", given)  # one picture needs no batch there
            return
        with refused(word):
            write_image(tmp_path / "p.png", given)
        assert list(tmp_path.iterdir()) == []


def test_a_start_that_is_no_picture(network):
    with refused("the picture to start from", "255"):
        transfer_style(GOOD, GOOD, init=GOOD * 255, network=network, progress=False)


def test_a_batch_where_one_picture_is_needed(network, tmp_path):
    with refused("batch of 2"):
        transfer_style(GOOD.repeat(2, 1, 1, 1), GOOD, network=network, progress=False)
    with refused("2 pictures"):
        write_image(tmp_path / "p.png", GOOD.repeat(2, 1, 1, 1))


def test_another_device(network):
    elsewhere = torch.zeros(1, 3, 32, 32, device="meta")
    loss = PerceptualLoss({"relu1_1": 1.0}, network=network)
    loss(GOOD.to(network.mean.device), content=GOOD.to(network.mean.device))
    with refused("meta"):
        loss(elsewhere, content=elsewhere)


@pytest.mark.parametrize(
    ("side", "layer", "least"),
    [(1, "relu2_1", 2), (7, "relu4_1", 8), (15, "relu5_3", 16), (15, "conv5_1", 16)],
)
def test_smaller_than_the_deepest_layer_needs(network, device, side, layer, least):
    with refused(f"40x{side}", layer, f"at least {least}"):
        network(
            picture(max(side, 2), 40, device=device)[..., :side, :], (layer, "relu1_1")
        )
    if side > 1:
        with refused(f"40x{side}", layer, f"at least {least}"):
            reconstruct_features(
                picture(side, 40, device=device), layer, network=network, progress=False
            )
    assert network(picture(least, least, device=device), (layer,))[layer].numel() > 0


@pytest.mark.parametrize(
    ("layer", "nearest"),
    [
        ("relu3_4", "relu3_"),
        ("Relu3_3", "relu3_3"),
        ("relu33", "relu3_3"),
        ("conv6_1", "conv"),
        ("", "known are"),
    ],
)
def test_an_unknown_layer(network, layer, nearest):
    image = GOOD.to(network.mean.device)
    with refused(repr(layer), nearest):
        network(image, (layer,))
    with refused(repr(layer), nearest):
        reconstruct_features(GOOD, layer, network=network)
    with refused(repr(layer), nearest):
        transfer_style(GOOD, GOOD, style_layers=(layer,), network=network)


def test_names_and_numbers_of_the_settings(network):
    cases = [
        ({"steps": 0}, "steps=0"),
        ({"steps": -1}, "steps=-1"),
        ({"content_weight": -1.0}, "content_weight"),
        ({"style_weight": float("nan")}, "style_weight"),
        ({"total_variation": -1e-6}, "total_variation"),
        ({"sizes": ()}, "sizes"),
        ({"sizes": (256, 128)}, "coarse to fine"),
        ({"sizes": 0}, "sizes"),
        ({"optimizer": "adma"}, "'adam'"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"history_size": 0}, "history_size"),
        ({"preserve_color": "luminence"}, "'luminance'"),
        ({"style_scale": 0}, "style_scale"),
        ({"normalization": "jonson"}, "'johnson'"),
        ({"style_wieght": 1}, "'style_weight'"),
        ({"init": "contnet"}, "'content'"),
        ({"masks": []}, "0 pairs of masks"),
        ({"style_weights": (1, 2)}, "1 styles"),
        ({"style_weights": (-1,)}, "at least 0"),
    ]
    for given, word in cases:
        with refused(word):
            transfer_style(GOOD, GOOD, network=network, progress=False, **given)
    with refused("'medium'", "max, average"):
        LossNetwork(pooling="medium")
    with refused("no style"):
        transfer_style(GOOD, [], network=network, progress=False)


class TestOutput:
    def refused_path(self, path, *words):
        with refused(*words):
            write_image(path, GOOD)

    def test_paths(self, tmp_path):
        self.refused_path(tmp_path / "gone" / "p.png", "gone", "does not exist")
        self.refused_path(tmp_path, "ending")
        (tmp_path / "folder.png").mkdir()
        self.refused_path(tmp_path / "folder.png", "is a folder")
        self.refused_path(tmp_path / "p.xyz", "'", ".png")
        self.refused_path(tmp_path / "p", ".png")

    def test_a_read_only_folder(self, tmp_path):
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o555)
        # root may write everywhere but into a system folder like this
        if os.access(folder, os.W_OK):
            folder = Path("/proc")
            if not folder.is_dir():
                pytest.skip("no folder is read-only for this user")
        self.refused_path(folder / "p.png", "cannot be written to")

    def test_a_name_that_is_too_long(self, tmp_path):
        self.refused_path(tmp_path / ("p" * 400 + ".png"), "too long")
        with refused("too long"):
            read_image(tmp_path / ("p" * 400 + ".png"))
        # the file it is first written to must not be longer
        longest = tmp_path / ("p" * 251 + ".png")
        assert write_image(longest, GOOD).is_file()


@pytest.fixture
def command(monkeypatch, capsys, network):
    """Runs the command in this process and returns its exit code and what
    it wrote to stderr.
    """

    def run(*words) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["pltutorial", *map(str, words)])
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


def assert_refused(outcome: tuple[int, str], *words: str) -> None:
    code, text = outcome
    assert code == 2, text
    assert text.count("\n") == 1, text
    assert text.startswith("error: ")
    assert_sentence(text.strip(), *words)


@pytest.fixture
def files(tmp_path):
    one, two = (
        write_image(tmp_path / "one.png", picture(32, 32, 1)),
        write_image(tmp_path / "two.png", picture(32, 32, 2)),
    )
    return one, two, tmp_path / "out.png"


class TestCommand:
    @pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
    def test_picture_files(self, command, files, tmp_path, make):
        one, _, output = files
        bad = make(tmp_path)
        for words in ((bad, one), (one, bad)):
            assert_refused(command("transfer", *words, "-o", output))
        assert_refused(command("reconstruct", bad, "-o", output))
        assert_refused(command("texture", bad, "-o", output))
        assert not output.exists()

    def test_names(self, command, files):
        one, _, output = files
        assert_refused(
            command("transfer", one, "great_wav", "-o", output),
            "'great_wav'",
            "'great_wave'",
        )
        assert_refused(
            command("transfer", "pagodda", one, "-o", output), "'pagodda'", "'pagoda'"
        )
        assert_refused(command("transfer", one, f"{one}:-1", "-o", output), "-1")

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            (("--steps", "0"), "steps=0"),
            (("--style-weight", "-1"), "style_weight"),
            (("--sizes", "big"), "sizes"),
            (("--sizes", "0"), "sizes"),
            (("--sizes", ""), "sizes"),
            (("--content-layers", "relu3_4"), "'relu3_4'"),
            (("--style-layers", "relu9_9"), "'relu9_9'"),
            (("--optimizer", "sgd"), "'sgd'"),
            (("--init", "nose"), "'noise'"),
            (("--precision", "half"), "'half'"),
            (("--device", "gpu"), "'gpu'"),
            (("--preserve-color", "hue"), "'hue'"),
            (("--max-pixels", "100"), "max"),
        ],
        ids=lambda value: value[0] + value[1] if isinstance(value, tuple) else None,
    )
    def test_options(self, command, files, options, word):
        one, two, output = files
        assert_refused(command("transfer", one, two, "-o", output, *options), word)
        assert not output.exists()

    def test_outputs(self, command, files, tmp_path):
        one, two, _ = files
        before = one.read_bytes(), two.read_bytes()
        for output, word in (
            (tmp_path / "gone" / "p.png", "does not exist"),
            (tmp_path / "p.gif2", "ending"),
            (one, "also an input"),
            (two, "also an input"),
            (tmp_path / "." / "one.png", "also an input"),
        ):
            assert_refused(command("transfer", one, two, "-o", output), word)
        assert_refused(command("reconstruct", one, "-o", one), "also an input")
        assert_refused(command("texture", two, "-o", two), "also an input")
        assert (one.read_bytes(), two.read_bytes()) == before

    def test_an_output_that_exists_is_replaced_only_when_the_work_is_done(
        self, command, files, monkeypatch
    ):
        one, two, output = files
        write_image(output, GOOD)
        before = output.read_bytes()

        def stop(*args, **kwargs):
            assert output.read_bytes() == before
            raise RuntimeError("a power cut")

        monkeypatch.setattr(optimize, "optimize_image", stop)
        code, text = command("transfer", one, two, "-o", output, "--no-progress")
        assert code == 1
        assert_sentence(text.strip(), "RuntimeError: a power cut", "--debug")
        assert output.read_bytes() == before

    def test_a_link_to_an_input_is_that_input(self, command, files, tmp_path):
        one, two, _ = files
        link = tmp_path / "link.png"
        try:
            link.symlink_to(one)
        except OSError:
            pytest.skip("this system makes no links")
        assert_refused(command("transfer", one, two, "-o", link), "also an input")

    def test_a_write_protected_output_stays(self, command, files):
        one, two, output = files
        output.write_bytes(b"mine")
        output.chmod(0o444)
        assert_refused(command("transfer", one, two, "-o", output), "write-protected")
        assert output.read_bytes() == b"mine"

    def test_a_picture_too_small_for_the_layers(self, command, tmp_path, files):
        small = write_image(tmp_path / "small.png", picture(6, 6))
        assert_refused(
            command("transfer", small, files[1], "-o", files[2]), "6x6", "at least"
        )

    def test_out_of_memory(self, command, files, monkeypatch):
        monkeypatch.setattr("pltutorial.memory.free", lambda device: 1_000_000)
        one, two, output = files
        assert_refused(
            command("transfer", one, two, "-o", output, "--precision", "float32"),
            "32x32",
            "sizes=",
        )

    def test_damaged_weights(self, command, files, monkeypatch, tmp_path):
        from pltutorial import vgg

        (tmp_path / "bad.safetensors").write_bytes(b"no weights")
        monkeypatch.setattr(vgg, "EMBEDDED", tmp_path / "bad.safetensors")
        one, two, output = files
        assert_refused(command("transfer", one, two, "-o", output), "sha256")


def test_arrays_with_other_types(tmp_path):
    with refused("ndarray"):
        write_image(tmp_path / "p.png", numpy.zeros((3, 8, 8)))
