"""Pictures in files: every kind becomes float32 RGB in [0, 1]; writing is
whole or not at all.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy
import pytest
import torch
from helpers import picture, refused
from picture_files import PIXELS, array, same
from PIL import Image

from pltutorial import bundled, bundled_names, images, read_image, resize, write_image


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp"])
def test_plain_rgb(tmp_path, ending):
    path = tmp_path / f"picture{ending}"
    Image.fromarray(PIXELS).save(path)
    same(array(path), PIXELS / 255)


# EXIF 2.3, tag 0x0112: how the stored rows and columns lie in the picture as
# it should be seen.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: numpy.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: numpy.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
def test_exif_orientation(tmp_path, orientation, ending):
    path = tmp_path / f"turned{ending}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PIXELS).save(
        path, exif=exif, **({"lossless": True} if ending == ".webp" else {})
    )
    same(array(path), UPRIGHT[orientation](PIXELS) / 255)


def test_grey(tmp_path):
    Image.fromarray(PIXELS[..., 0]).save(tmp_path / "grey.png")
    same(array(tmp_path / "grey.png"), PIXELS[..., :1].repeat(3, 2) / 255)


def test_one_bit(tmp_path):
    bits = numpy.array([[1, 0, 1], [0, 1, 0]], numpy.uint8)
    Image.fromarray(bits * 255).convert("1").save(tmp_path / "bits.png")
    same(array(tmp_path / "bits.png"), bits[..., None].repeat(3, 2))


def test_palette(tmp_path):
    Image.fromarray(PIXELS).quantize(6).save(tmp_path / "palette.png")
    assert Image.open(tmp_path / "palette.png").mode == "P"
    same(
        array(tmp_path / "palette.png"),
        Image.open(tmp_path / "palette.png").convert("RGB") / numpy.float32(255),
    )
    same(array(tmp_path / "palette.png"), PIXELS / 255, 0.02)


def test_palette_with_transparency_lies_over_white(tmp_path):
    indices = Image.fromarray(numpy.array([[0, 1], [1, 0]], numpy.uint8), mode="P")
    indices.putpalette([255, 0, 0, 0, 0, 255])
    indices.save(tmp_path / "palette.png", transparency=0)
    assert Image.open(tmp_path / "palette.png").mode == "P"
    same(
        array(tmp_path / "palette.png"),
        [[[1, 1, 1], [0, 0, 1]], [[0, 0, 1], [1, 1, 1]]],
    )


def test_rgba_and_la_lie_over_white(tmp_path):
    alpha = numpy.array([[0, 51, 255], [128, 255, 0]], numpy.uint8)
    share = alpha[..., None] / 255
    Image.fromarray(numpy.dstack([PIXELS, alpha])).save(tmp_path / "rgba.png")
    same(array(tmp_path / "rgba.png"), PIXELS / 255 * share + 1 - share)
    grey = Image.fromarray(PIXELS[..., 0])
    grey.putalpha(Image.fromarray(alpha))
    assert grey.mode == "LA"
    grey.save(tmp_path / "la.png")
    same(
        array(tmp_path / "la.png"),
        PIXELS[..., :1] / 255 * share + (1 - share) * numpy.ones(3),
    )


def test_cmyk(tmp_path):
    cmyk = numpy.array(
        [[[0, 255, 255, 0], [255, 0, 0, 0]], [[0, 0, 0, 0], [0, 0, 0, 255]]],
        numpy.uint8,
    )
    Image.fromarray(cmyk, mode="CMYK").save(tmp_path / "cmyk.tif")
    same(array(tmp_path / "cmyk.tif"), [[[1, 0, 0], [0, 1, 1]], [[1, 1, 1], [0, 0, 0]]])


def test_cmyk_jpeg(tmp_path):
    red = numpy.zeros((16, 16, 4), numpy.uint8)
    red[..., 1:3] = 255
    Image.fromarray(red, mode="CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert Image.open(tmp_path / "cmyk.jpg").mode == "CMYK"
    same(
        array(tmp_path / "cmyk.jpg"), numpy.broadcast_to([1.0, 0, 0], (16, 16, 3)), 0.02
    )


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bit_grey(tmp_path, ending):
    values = numpy.array([[0, 257, 1000], [30000, 65534, 65535]], numpy.uint16)
    Image.fromarray(values).save(tmp_path / f"deep{ending}")
    assert Image.open(tmp_path / f"deep{ending}").mode.startswith("I")
    same(
        array(tmp_path / f"deep{ending}"), values[..., None].repeat(3, 2) / 65535, 1e-7
    )


def test_size(tmp_path):
    path = write_image(tmp_path / "picture.png", picture(40, 60))
    assert read_image(path, 30).shape == (1, 3, 20, 30)
    assert read_image(path, (11, 13)).shape == (1, 3, 11, 13)


class TestResize:
    def test_aspect_ratio(self):
        assert resize(picture(40, 60), 20).shape == (1, 3, 13, 20)
        assert resize(picture(60, 40), 90).shape == (1, 3, 90, 60)
        assert resize(picture(4, 64), 8).shape == (1, 3, 1, 8)

    def test_antialiased(self):
        """Stripes finer than the new grid become grey; without antialiasing they alias
        to black or white.
        """
        stripes = torch.zeros(1, 3, 64, 64)
        stripes[..., ::2] = 1
        small = resize(stripes, 16)
        assert (small[..., 2:-2] - 0.5).abs().max() < 0.05

    def test_clamped(self):
        edge = torch.zeros(1, 3, 8, 8)
        edge[..., 4:] = 1
        large = resize(edge, 32)
        assert large.min() == 0
        assert large.max() == 1
        assert resize(edge * 1.2, (8, 8)).max() == 1

    def test_equal_size_changes_nothing(self):
        image = picture(8, 8)
        assert torch.equal(resize(image, 8), image)

    @pytest.mark.parametrize(
        "size", [0, -3, (0, 4), (4,), (3, 4, 5), 7.5, "big", (2.5, 3)]
    )
    def test_refused(self, size):
        with refused("size"):
            resize(picture(), size)

    def test_numpy_integers(self):
        assert resize(picture(8, 8), numpy.int64(4)).shape == (1, 3, 4, 4)


class TestWrite:
    @pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".tiff", ".PNG"])
    def test_round_trip_is_exact(self, tmp_path, ending):
        exact = (picture(9, 7) * 255).round() / 255
        path = write_image(tmp_path / f"picture{ending}", exact)
        assert path == tmp_path / f"picture{ending}"
        assert torch.equal(read_image(path), exact)

    @pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".webp"])
    def test_lossy_is_near(self, tmp_path, ending):
        smooth = resize(picture(4, 4), 32)
        assert (
            read_image(write_image(tmp_path / f"p{ending}", smooth)) - smooth
        ).abs().mean() < 0.02

    def test_rounded_not_truncated_and_clamped(self, tmp_path):
        image = torch.full((3, 2, 2), 0.999)
        image[0], image[1] = -0.2, 1.2
        array = read_image(write_image(tmp_path / "p.png", image))[0, :, 0, 0]
        assert array.tolist() == [0, 1, 1]

    def test_device_and_half_precision(self, tmp_path, device):
        image = picture(8, 8, device=device)
        one = read_image(
            write_image(tmp_path / "one.png", image.half().requires_grad_())
        )
        assert (one - image.cpu()).abs().max() <= 1 / 255

    def test_a_failure_in_the_middle_leaves_the_old_file_and_no_other(
        self, tmp_path, monkeypatch
    ):
        path = write_image(tmp_path / "picture.png", picture(8, 8, 1))
        before = path.read_bytes()

        def half(self, file, **how):
            file.write(b"half a pic")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Image.Image, "save", half)
        with refused("No space left on device"):
            write_image(path, picture(8, 8, 2))
        assert path.read_bytes() == before
        # hidden files count too
        assert os.listdir(tmp_path) == ["picture.png"]  # noqa: PTH208

    @pytest.mark.parametrize("problem", [KeyboardInterrupt, ValueError])
    def test_nor_do_other_failures(self, tmp_path, monkeypatch, problem):
        def stop(self, file, **how):
            file.write(b"half a pic")
            raise problem

        path = write_image(tmp_path / "picture.png", picture(8, 8, 1))
        before = path.read_bytes()
        monkeypatch.setattr(Image.Image, "save", stop)
        with pytest.raises(problem):
            write_image(path, picture(8, 8, 2))
        assert path.read_bytes() == before
        assert [entry.name for entry in tmp_path.iterdir()] == ["picture.png"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    def test_killed_in_the_middle(self, tmp_path):
        """A process killed while it writes leaves the old picture; what it had
        begun has another name.
        """
        import subprocess
        import sys

        path = write_image(tmp_path / "picture.png", picture(8, 8, 1))
        before = path.read_bytes()
        program = (
            "import os, sys, torch; from PIL import Image; from pltutorial import "
            "write_image\n"
            "def save(self, file, **how):\n"
            "    file.write(b'half'); file.flush(); os.kill(os.getpid(), 9)\n"
            "Image.Image.save = save\n"
            "write_image(sys.argv[1], torch.zeros(1, 3, 8, 8))"
        )
        root = Path(images.__file__).parents[1]
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)], cwd=root, check=False
        )
        assert done.returncode == -9
        assert path.read_bytes() == before

    def test_permissions_are_the_users_default(self, tmp_path):
        path = write_image(tmp_path / "picture.png", picture(8, 8))
        mask = os.umask(0)
        os.umask(mask)
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask


class TestBundled:
    def test_from_another_working_directory(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for folder in ("content", "style"):
            names = bundled_names(folder)
            assert len(names) == 8
            for name in names:
                path = bundled(f"{folder}/{name}")
                assert path.is_absolute()
                assert path.is_file()
        assert read_image(bundled("content/pagoda"), 32).shape[1] == 3

    def test_refused(self):
        with refused("'content/pagodda'", "'pagoda'"):
            bundled("content/pagodda")
        with refused("'styles'", "'style'"):
            bundled_names("styles")
        with refused("'pagoda'"):
            bundled("pagoda")
