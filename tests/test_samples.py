"""What the numbers of a picture file mean: decided by its tags, never by the values."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy
import pytest
from helpers import refused
from picture_files import array, chunk, drawn, png, same
from PIL import Image, TiffImagePlugin

from pltutorial import read_image


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
