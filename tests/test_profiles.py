"""Colours become sRGB by the profile of their file, and written files say sRGB."""

from __future__ import annotations

import io
import struct
import zlib

import numpy
import pytest
import torch
from helpers import picture
from picture_files import COLORS, array, chunk, drawn, png, same
from PIL import Image, ImageCms

from pltutorial import read_image, write_image

# X, Y, Z at D50: sRGB's primaries, Adobe RGB's, and sRGB's in another order
SRGB = [
    (0.43607, 0.22249, 0.01392),
    (0.38515, 0.71687, 0.09708),
    (0.14307, 0.06061, 0.7141),
]
WIDE = [
    (0.60974, 0.31111, 0.01947),
    (0.20528, 0.62567, 0.06087),
    (0.14919, 0.06322, 0.74457),
]
SWAPPED = [SRGB[1], SRGB[0], SRGB[2]]


def fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def gamma(power: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IHH", 1, round(power * 256), 0)


def table(power: float) -> bytes:
    values = (numpy.linspace(0, 1, 1024) ** power * 65535).round().astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", 1024) + values.tobytes()


def parametric(power: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", 0, 0) + fixed(power)


def profile(space: bytes, kind: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2 by hand (ICC.1:2001-04)."""
    words = b"made by a test\0"
    name = b"desc" + bytes(4) + struct.pack(">I", len(words)) + words + bytes(78)
    tags = {
        b"desc": name,
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249),
        **tags,
    }
    place, entries, body = 132 + 12 * len(tags), b"", b""
    for sign, data in tags.items():
        entries += sign + struct.pack(">II", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI", place + len(body), b"lcms", 0x02100000)
    head += kind + space + pcs + struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp"
    head += bytes(28) + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + entries + body


def rgb_profile(primaries, curve: bytes) -> bytes:
    tags = {
        sign + b"XYZ": b"XYZ " + bytes(4) + fixed(*primary)
        for sign, primary in zip((b"r", b"g", b"b"), primaries, strict=True)
    }
    tags |= {sign + b"TRC": curve for sign in (b"r", b"g", b"b")}
    return profile(b"RGB ", b"mntr", b"XYZ ", tags)


def grey_profile(curve: bytes) -> bytes:
    return profile(b"GRAY", b"mntr", b"XYZ ", {b"kTRC": curve})


def cmyk_profile() -> bytes:
    """Inks of weak colours: the corners of the cube of inks in 8-bit Lab."""
    corners = []
    for inks in numpy.ndindex(2, 2, 2, 2):
        c, m, y, k = inks
        light = (1 - k) * (1 - 0.2 * (c + m + y))
        corners += [round(255 * light), 128 + 30 * (m - c), 128 + 30 * (y - c)]
    line = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut += line * 4 + bytes(corners) + line * 3
    return profile(b"CMYK", b"prtr", b"Lab ", {b"A2B0": lut})


def shown(colors: Image.Image, icc: bytes) -> numpy.ndarray:
    """What Pillow's own conversion makes of it."""
    given = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    made = ImageCms.profileToProfile(
        colors, given, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    return numpy.asarray(made) / 255


@pytest.mark.parametrize("curve", [gamma(2.2), table(1.8), parametric(2.4)], ids=len)
@pytest.mark.parametrize("primaries", [WIDE, SWAPPED], ids=["wide", "swapped"])
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp", ".jpg", ".avif"])
def test_a_profile_is_converted_to_srgb(tmp_path, ending, primaries, curve):
    icc = rgb_profile(primaries, curve)
    how = {".webp": {"lossless": True}}.get(ending, {"quality": 95})
    path = tmp_path / f"colors{ending}"
    Image.fromarray(COLORS).save(path, icc_profile=icc, **how)
    with Image.open(path) as stored:
        plain = stored.convert("RGB")
    same(array(path), shown(plain, icc), 1.5 / 255)
    assert numpy.abs(array(path) - numpy.asarray(plain) / 255).mean() > 0.01


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_the_profile_of_a_picture_of_another_mode(tmp_path, mode):
    icc = (
        grey_profile(gamma(1.0))
        if mode in ("L", "LA", "1")
        else rgb_profile(SWAPPED, gamma(1.0))
    )
    given = Image.fromarray(COLORS).convert(mode)
    if mode in ("LA", "RGBA"):
        given.putalpha(Image.fromarray(COLORS[..., 0]))
    given.save(tmp_path / "mode.png", icc_profile=icc)
    plain = given.convert("L" if mode in ("L", "LA", "1") else "RGB")
    share = numpy.asarray(given.convert("RGBA"))[..., 3:] / 255
    same(array(tmp_path / "mode.png"), shown(plain, icc) * share + 1 - share, 1.5 / 255)


@pytest.mark.parametrize("curve", [gamma(1.8), table(1.8), parametric(1.8)], ids=len)
def test_16_bits_keep_their_depth_through_a_profile(tmp_path, curve):
    """sRGB's formula by hand, with its first two primaries changed for each other."""
    values = numpy.linspace(0, 65535, 900).round().reshape(10, 30, 3)
    light = (values / 65535) ** 1.8
    expected = numpy.where(
        light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055
    )
    for icc, kind, stored, wanted in (
        (rgb_profile(SWAPPED, curve), 2, values, expected[..., [1, 0, 2]]),
        (grey_profile(curve), 0, values[..., :1], expected[..., :1].repeat(3, 2)),
    ):
        packed = chunk(b"iCCP", b"icc\0\0" + zlib.compress(icc))
        path = png(tmp_path / "deep.png", stored, 16, kind, packed)
        same(array(path), wanted, 5e-4)
        assert len(numpy.unique(array(path)[..., 0])) > 290


def test_cmyk_by_its_own_profile(tmp_path):
    icc = cmyk_profile()
    inks = Image.fromarray(drawn(16, 16, 4, most=255).astype(numpy.uint8), mode="CMYK")
    inks.save(tmp_path / "inks.tif", icc_profile=icc)
    same(array(tmp_path / "inks.tif"), shown(inks, icc), 1.5 / 255)
    inks.save(tmp_path / "inks.jpg", icc_profile=icc, quality=95)
    with Image.open(tmp_path / "inks.jpg") as stored:
        same(array(tmp_path / "inks.jpg"), shown(stored, icc), 1.5 / 255)


def test_lab(tmp_path):
    lab = Image.fromarray(
        numpy.array([[[255, 0, 0], [0, 0, 0]]] * 2, numpy.uint8), "LAB"
    )
    lab.save(tmp_path / "lab.tif")
    same(array(tmp_path / "lab.tif"), [[[1] * 3, [0] * 3]] * 2, 0.01)


def test_a_profile_of_srgb_changes_nothing(tmp_path):
    Image.fromarray(COLORS).save(
        tmp_path / "srgb.png", icc_profile=rgb_profile(SRGB, table(2.2))
    )
    written = write_image(tmp_path / "own.png", read_image(tmp_path / "srgb.png"))
    assert torch.equal(read_image(written), read_image(tmp_path / "srgb.png"))


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp", ".jpg", ".avif", ".jfif"])
def test_what_is_written_says_srgb(tmp_path, ending):
    path = write_image(tmp_path / f"picture{ending}", picture(16, 16))
    with Image.open(path) as opened:
        icc = ImageCms.ImageCmsProfile(io.BytesIO(opened.info["icc_profile"]))
    assert "sRGB" in icc.profile.profile_description
    again = write_image(tmp_path / f"again{ending}", picture(16, 16))
    assert path.read_bytes() == again.read_bytes()  # no date in it


BROKEN = {
    "noise": bytes(range(200)),
    "cut": rgb_profile(WIDE, table(1.8))[:600],
    "short": b"\0\0\0\x05abcde",
    "for paper": cmyk_profile(),
    "for grey": grey_profile(gamma(1.8)),
}


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp", ".jpg"])
@pytest.mark.parametrize("icc", BROKEN.values(), ids=BROKEN)
def test_a_profile_that_cannot_be_used_is_a_warning(tmp_path, icc, ending):
    how = {".webp": {"lossless": True}}.get(ending, {"quality": 95})
    path = tmp_path / f"broken{ending}"
    Image.fromarray(COLORS).save(path, icc_profile=icc, **how)
    with Image.open(path) as opened:
        plain = numpy.asarray(opened) / 255
    with pytest.warns(
        UserWarning, match=f"profile of '.*broken{ending}' cannot be used"
    ):
        same(array(path), plain)
