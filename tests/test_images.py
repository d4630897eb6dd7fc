"""Pictures in files: every kind becomes float32 RGB in [0, 1]; writing is
whole or not at all.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy
import pytest
import torch
from helpers import picture, refused
from PIL import Image

from pltutorial import bundled, bundled_names, images, read_image, resize, write_image

# Six pixels, all different, so that any flip or turn shows.
PIXELS = numpy.array(
    [
        [[255, 0, 0], [0, 255, 0], [0, 0, 255]],
        [[10, 20, 30], [200, 100, 50], [255, 255, 255]],
    ],
    numpy.uint8,
)


def array(path: Path) -> numpy.ndarray:
    """What read_image gives, as (H, W, 3)."""
    image = read_image(path)
    assert image.dtype == torch.float32
    assert image.shape[:2] == (1, 3)
    assert image.is_contiguous()
    return image[0].permute(1, 2, 0).numpy()


def same(given: numpy.ndarray, expected, tolerance: float = 1e-6) -> None:
    numpy.testing.assert_allclose(given, expected, atol=tolerance)


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


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png(path: Path, values, depth: int, kind: int, *extra: bytes) -> Path:
    """A PNG by hand: Pillow cannot write most of 16 bits. ``values`` is (H, W) or (H,
    W, channels); ``extra`` are chunks before the pixels.
    """
    values = numpy.atleast_3d(values)
    bits = numpy.unpackbits(values.astype(">u2")[..., None].view(numpy.uint8), axis=-1)
    rows = [numpy.packbits(row[..., 16 - depth :]) for row in bits]
    header = struct.pack(
        ">IIBBBBB", values.shape[1], values.shape[0], depth, kind, 0, 0, 0
    )
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = chunk(b"IHDR", header), *extra, chunk(b"IDAT", pixels), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def drawn(*shape: int, most: int = 65535) -> numpy.ndarray:
    return numpy.random.default_rng(7).integers(0, most + 1, shape)


@pytest.mark.parametrize(
    ("kind", "channels"),
    [(0, 1), (2, 3), (4, 2), (6, 4)],
    ids=["L", "RGB", "LA", "RGBA"],
)
def test_16_bit_png_keeps_its_depth(tmp_path, kind, channels):
    values = drawn(5, 7, channels) / 65535
    path = png(tmp_path / "deep.png", (values * 65535).round(), 16, kind)
    colors = values[..., :3] if channels > 2 else values[..., :1].repeat(3, 2)
    alpha = values[..., -1:] if kind & 4 else 1
    same(array(path), colors * alpha + 1 - alpha, 1e-6)


@pytest.mark.parametrize(
    ("depth", "kind"), [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2)]
)
def test_one_transparent_colour_at_any_depth(tmp_path, depth, kind):
    """It is compared in all its bits: what differs in the lowest one is opaque."""
    most, count = 2**depth - 1, 3 if kind else 1
    values = drawn(5, 8, count, most=most)
    values[0, 0] = 1
    values[0, 1] = [1] * (count - 1) + [0]
    key = struct.pack(f">{count}H", *[1] * count)
    path = png(tmp_path / "key.png", values, depth, kind, chunk(b"tRNS", key))
    opaque = (values != 1).any(-1, keepdims=True)
    same(
        array(path), numpy.where(opaque, values / most, 1).repeat(4 - count, 2)[..., :3]
    )


def tiff(path: Path, values: numpy.ndarray, **how) -> Path:
    tifffile = pytest.importorskip("tifffile")
    photometric = "rgb" if values.ndim == 3 else "minisblack"
    tifffile.imwrite(path, values, **{"photometric": photometric, **how})
    return path


LAYOUTS = [
    {},
    {"byteorder": ">"},
    {"compression": "zlib", "predictor": True},
    {"compression": "zlib", "predictor": True, "tile": (16, 32), "byteorder": ">"},
    {"tile": (16, 16)},
    {"rowsperstrip": 5, "bigtiff": True},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "rgb"])
@pytest.mark.parametrize("dtype", ["u2", "u4", "f2", "f4", "f8"])
def test_tiff_of_any_numbers(tmp_path, dtype, channels, layout):
    """Integers are white at their largest value, floats at 1."""
    white = numpy.iinfo(dtype).max if dtype[0] == "u" else 1
    if layout.get("predictor") and dtype[0] == "f":
        pytest.skip("see the next test")  # tifffile alone cannot write it
    values = (drawn(37, 53, *channels) / 65535 * white).astype(dtype)
    expected = values.astype(float)[..., None] if not channels else values.astype(float)
    given = array(tiff(tmp_path / "numbers.tif", values, **layout))
    same(given, (expected / white).repeat(3 // expected.shape[-1], 2))


@pytest.mark.parametrize("predictor", [1, 2, 3])
@pytest.mark.parametrize(
    "compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]
)
def test_tiffs_that_libtiff_writes(tmp_path, compression, predictor):
    values = (drawn(37, 53) / 65535).astype(numpy.float32)
    how = {"compression": compression, "tiffinfo": {317: predictor}}
    Image.fromarray(values).save(tmp_path / "float.tif", **how)
    same(array(tmp_path / "float.tif")[..., 0], values)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_tiff_with_opacity(tmp_path, dtype, planar):
    white = numpy.iinfo(dtype).max if dtype[0] == "u" else 1
    values = (drawn(9, 8, 4) / 65535 * white).astype(dtype)
    given = values if planar == "contig" else numpy.moveaxis(values, -1, 0)
    how = {"planarconfig": planar, "extrasamples": ["unassalpha"], "photometric": "rgb"}
    path = tiff(tmp_path / "alpha.tif", given, **how)
    share = values[..., 3:] / white
    same(array(path), values[..., :3] / white * share + 1 - share)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4"])
def test_tiff_where_the_least_is_white(tmp_path, dtype):
    white = numpy.iinfo(dtype).max if dtype[0] == "u" else 1
    values = (drawn(6, 5) / 65535 * white).astype(dtype)
    path = tiff(tmp_path / "inverted.tif", values, photometric="miniswhite")
    same(array(path)[..., 0], 1 - values / white)


def test_tiff_of_12_bits(tmp_path):
    from PIL import TiffImagePlugin

    values = drawn(4, 6, most=4095)
    bits = values[..., None] >> numpy.arange(11, -1, -1) & 1
    rows = numpy.packbits(bits.reshape(4, -1).astype(numpy.uint8))
    file = TiffImagePlugin.ImageFileDirectory_v2()
    file.update({256: 6, 257: 4, 258: 12, 259: 1, 262: 1, 277: 1, 278: 4})
    file[273], file[279] = 0, len(rows)
    file.tagtype.update({273: 4, 279: 4})
    head = b"II*\0" + struct.pack("<I", 8)
    directory = file.tobytes(8)
    (tmp_path / "twelve.tif").write_bytes(head + directory + rows.tobytes())
    same(array(tmp_path / "twelve.tif")[..., 0], values / 4095)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "f4"])
def test_a_tag_says_which_numbers_are_black_and_white(tmp_path, dtype):
    values = drawn(6, 5, most=100).astype(dtype)
    tags = [(340, 11, 1, -20.0, True), (341, 11, 1, 100.0, True)]  # SMin-, SMaxSample
    path = tiff(tmp_path / "tagged.tif", values, extratags=tags)
    same(array(path)[..., 0], (values.astype(float) + 20) / 120)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4"])
def test_integers_with_a_sign_are_refused_without_such_a_tag(tmp_path, dtype):
    with refused("signed.tif", "with a sign", "which number is white"):
        read_image(tiff(tmp_path / "signed.tif", drawn(6, 5, most=100).astype(dtype)))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_floats_above_1_are_clipped_and_never_scaled(tmp_path, dtype):
    values = numpy.linspace(0, 1.25, 20).reshape(4, 5).astype(dtype)
    with pytest.warns(UserWarning, match=r"from 0 to 1.25.*20.0% of them are clipped"):
        given = array(tiff(tmp_path / "high.tif", values))[..., 0]
    same(given, values.astype(float).clip(0, 1))
    with refused("bright.tif", "0 to 250", "1 is white", "divide them"):
        read_image(tiff(tmp_path / "bright.tif", values * values.dtype.type(200)))


@pytest.mark.parametrize(("magic", "count"), [("PF", 3), ("Pf", 1)])
@pytest.mark.parametrize(("scale", "order"), [(-1.0, "<"), (1.0, ">"), (-0.5, "<")])
def test_pfm(tmp_path, magic, count, scale, order):
    """Rows from below; the scale's sign is the byte order, its amount a factor."""
    values = (drawn(4, 6, count) / 65535).astype(numpy.float32)
    data = values[::-1].astype(f"{order}f4").tobytes()
    path = tmp_path / "picture.pfm"
    path.write_bytes(f"{magic}\n6 4\n{scale}\n".encode() + data)
    same(array(path), (values * abs(scale)).repeat(4 - count, 2)[..., :3])
    path.write_bytes(f"{magic}\n6 4\n{scale}\n".encode() + data[:-1])
    with refused("picture.pfm", "1 of its bytes are missing"):
        read_image(path)


@pytest.mark.parametrize("most", [255, 1000, 65535])
@pytest.mark.parametrize("magic", ["P2", "P3", "P5", "P6"])
def test_netpbm(tmp_path, magic, most):
    values = drawn(4, 6, 3 if magic in ("P3", "P6") else 1, most=most)
    header = f"{magic}\n# a remark\n6 4\n{most}\n".encode()
    data = values.astype(">u2" if most > 255 else "u1").tobytes()
    if magic in ("P2", "P3"):
        data = " ".join(map(str, values.ravel())).encode() + b"\n"
    (tmp_path / "picture.ppm").write_bytes(header + data)
    expected = (values / most).repeat(4 - values.shape[-1], 2)[..., :3]
    same(array(tmp_path / "picture.ppm"), expected, 1e-5)


def test_float_tiff(tmp_path):
    values = numpy.array([[0.0, 0.25], [0.5, 1.0]], numpy.float32)
    Image.fromarray(values).save(tmp_path / "float.tif")
    same(array(tmp_path / "float.tif"), values[..., None].repeat(3, 2))


def test_a_float_tiff_with_nan_is_refused(tmp_path):
    Image.fromarray(numpy.array([[0.0, numpy.nan], [0.5, 1.0]], numpy.float32)).save(
        tmp_path / "nan.tif"
    )
    with refused("nan.tif", "NaN"):
        read_image(tmp_path / "nan.tif")


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
