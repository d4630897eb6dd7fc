"""Faults beside the pixels of a file, several pictures in one, and nothing global."""

from __future__ import annotations

import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy
import pytest
from helpers import picture, refused
from picture_files import COLORS, PIXELS, array, chunk, png, same
from PIL import Image, ImageFile

from pltutorial import read_image, write_image

EXIF = b"\0\x08\0\x02\x01\x12\0\x03"
BESIDE = {
    "text, wrong checksum": chunk(b"tEXt", b"a\0b")[:-1] + b"?",
    "packed text, damaged": chunk(b"zTXt", b"a\0\0damaged"),
    "packed text, huge": chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(8 << 20))),
    "text of nothing": chunk(b"iTXt", b""),
    "resolution, cut": chunk(b"pHYs", b"\0"),
    "gamma, cut": chunk(b"gAMA", b"\0"),
    "primaries, cut": chunk(b"cHRM", b"\0" * 7),
    "rendering, cut": chunk(b"sRGB", b""),
    "time, wrong checksum": chunk(b"tIME", bytes(7))[:-1] + b"?",
    "profile of nothing": chunk(b"iCCP", b""),
    "profile, packed otherwise": chunk(b"iCCP", b"icc\0\7" + zlib.compress(bytes(9))),
    "profile, wrong checksum": chunk(b"iCCP", b"icc\0\0damaged")[:-1] + b"?",
    "EXIF": chunk(b"eXIf", EXIF),
    "EXIF, wrong checksum": chunk(b"eXIf", EXIF)[:-1] + b"?",
    "frames that are not there": chunk(b"acTL", struct.pack(">II", 9, 0)),
    "frames, cut": chunk(b"acTL", b"\0"),
    "a frame, cut": chunk(b"fcTL", b"\0"),
    "of an unknown kind": chunk(b"prIv", b"\0\1\2")[:-1] + b"?",
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("extra", BESIDE.values(), ids=BESIDE)
def test_a_png_with_a_fault_beside_its_pixels(tmp_path, extra):
    path = png(tmp_path / "sound.png", PIXELS, 8, 2, extra)
    same(array(path), PIXELS / 255)
    data = path.read_bytes()
    place = data.index(b"IDAT") - 4  # the same chunk behind the pixels
    data = data[: place - len(extra)] + data[place:-12] + extra + data[-12:]
    path.write_bytes(data)
    same(array(path), PIXELS / 255)


def test_a_png_with_a_fault_in_its_pixels_is_refused(tmp_path):
    path = png(tmp_path / "wrong.png", PIXELS, 8, 2, BESIDE["text, wrong checksum"])
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 255
    path.write_bytes(bytes(data))
    with refused("wrong.png", "truncated or damaged"):
        read_image(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "data", [b"", EXIF, b"\0" * 9, b"II*\0\xff\xff\xff\xff"], ids=len
)
@pytest.mark.parametrize(
    "marker",
    [
        b"\xe0JFIF\0",
        b"\xe1Exif\0\0",
        b"\xe1http://ns.adobe.com/xap/1.0/\0",
        b"\xe2ICC_PROFILE\0\1\2",
        b"\xe2MPF\0",
        b"\xedPhotoshop 3.0\x008BIM\x03\xed",
        b"\xfe",
    ],
    ids=lambda marker: marker[:6].hex(),
)
def test_a_jpeg_with_a_fault_beside_its_pixels(tmp_path, marker, data):
    path = tmp_path / "sound.jpg"
    Image.fromarray(COLORS).save(path, quality=95)
    expected, whole = array(path), path.read_bytes()
    body = marker[1:] + data
    segment = b"\xff" + marker[:1] + struct.pack(">H", len(body) + 2) + body
    path.write_bytes(whole[:2] + segment + whole[2:])
    same(array(path), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["exif", "xmp", "icc_profile"])
def test_a_webp_with_a_fault_beside_its_pixels(tmp_path, kind):
    path = tmp_path / "sound.webp"
    Image.fromarray(COLORS).save(path, lossless=True, **{kind: EXIF})
    same(array(path), COLORS / 255)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "values", [(2, 2**31, 8), (7, 9, 2**31), (99, 1, 0), (5, 1, 9**9)]
)
def test_a_tiff_with_a_tag_that_leads_nowhere(tmp_path, values):
    """The directory is read on after it: it is among the first tags."""
    path = tmp_path / "sound.tif"
    Image.fromarray(COLORS).save(path, tiffinfo={269: "the document's name"})
    data = path.read_bytes()
    place = data.index(struct.pack("<HH", 269, 2))
    damaged = struct.pack("<HHII", 269, *values)
    path.write_bytes(data[:place] + damaged + data[place + 12 :])
    same(array(path), COLORS / 255)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", [".jpg", ".webp", ".png"])
def test_the_orientation_is_found_behind_a_tag_that_leads_nowhere(tmp_path, ending):
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2)
    exif += struct.pack("<HHII", 0x010E, 2, 99, 9**9)  # a description
    exif += struct.pack("<HHIHH", 0x0112, 3, 1, 8, 0) + bytes(4)
    path = tmp_path / f"turned{ending}"
    how = {".jpg": {"quality": 95}, ".webp": {"lossless": True}}.get(ending, {})
    Image.fromarray(COLORS).save(path, exif=exif, **how)
    with Image.open(path) as stored:
        same(array(path), numpy.rot90(numpy.asarray(stored)) / 255)


@pytest.mark.parametrize(
    ("tag", "number", "words"),
    [
        (262, 32803, ("not a picture that can be read", "a TIFF of 16 bits")),
        (259, 60000, ("packed in a way", "60000", "LZW")),
    ],
)
def test_tiffs_of_a_kind_that_is_not_read(tmp_path, tag, number, words):
    """The colours of a sensor, and a compression that nobody knows."""
    path = tmp_path / "raw.tif"
    Image.fromarray(numpy.zeros((4, 6), numpy.uint16)).save(path)
    data = bytearray(path.read_bytes())
    place = data.index(struct.pack("<HHI", tag, 3, 1))
    data[place + 8 : place + 10] = struct.pack("<H", number)
    path.write_bytes(bytes(data))
    with refused("raw.tif", *words):
        read_image(path)


def test_broken_exif_is_a_warning(tmp_path):
    path = png(tmp_path / "exif.png", PIXELS, 8, 2, chunk(b"eXIf", EXIF))
    with pytest.warns(UserWarning, match="EXIF data of .*exif.png' is damaged"):
        read_image(path)


def test_a_warning_of_the_command_is_one_line(command, tmp_path):
    Image.fromarray(COLORS).resize((64, 48)).save(tmp_path / "a.png", icc_profile=b"no")
    before = warnings.formatwarning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as of sockets of earlier tests
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        code, _, errors = command(
            "denoise", tmp_path / "a.png", "-o", tmp_path / "b.png"
        )
    assert code == 0
    assert errors.startswith("warning: the colour profile of ")
    assert errors.count("\n") == 1
    assert warnings.formatwarning is before


def show(message, category, *place) -> None:
    """What Python does where nobody records warnings, as pytest does."""
    sys.stderr.write(warnings.formatwarning(message, category, *place[:2]))


# --- several pictures in a file -------------------------------------------------------


def several(path: Path, count: int = 2, **how) -> Path:
    frames = [Image.fromarray(COLORS ^ (85 * number)) for number in range(count)]
    frames[0].save(path, save_all=True, append_images=frames[1:], **how)
    return path


@pytest.mark.parametrize(
    ("ending", "kind", "word"),
    [
        (".gif", "GIF", "frames"),
        (".webp", "WEBP", "frames"),
        (".png", "PNG", "frames"),
        (".avif", "AVIF", "frames"),
        (".tif", "TIFF", "pages"),
        (".jpg", "GIF", "frames"),  # by what is in it
        (".png", "WEBP", "frames"),
    ],
)
def test_several_pictures_in_a_file_are_refused(tmp_path, ending, kind, word):
    path = several(tmp_path / f"moving{ending}", 3, format=kind)
    with refused(f"moving{ending}", f"3 {word}", "one picture is needed"):
        read_image(path)
    assert read_image(several(path, 1, format=kind)).shape == (1, 3, 12, 16)


def test_what_is_in_a_file_beside_its_picture_is_no_page(tmp_path):
    """A JPEG with a second view, as telephones write it; a TIFF with a smaller copy; a
    PNG that promises frames and has none.
    """
    assert array(several(tmp_path / "views.jpg", format="MPO")).shape == COLORS.shape
    path = several(tmp_path / "copies.tif")
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    (second,) = struct.unpack_from("<I", data, first + 2 + 12 * count)
    # its first tag becomes NewSubfileType, a smaller copy of another
    data[second + 2 : second + 14] = struct.pack("<HHII", 254, 4, 1, 1)
    path.write_bytes(bytes(data))
    same(array(path), COLORS / 255)


# --- threads --------------------------------------------------------------------------


def test_nothing_global_changes_while_pictures_are_read_and_written(
    tmp_path, monkeypatch
):
    """A thread that looks all the while sees what was there before."""
    path = write_image(tmp_path / "picture.png", picture(64, 64))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12345)
    watched = {
        "Image.MAX_IMAGE_PIXELS": lambda: Image.MAX_IMAGE_PIXELS,
        "ImageFile.LOAD_TRUNCATED_IMAGES": lambda: ImageFile.LOAD_TRUNCATED_IMAGES,
        "warnings.filters": lambda: list(warnings.filters),
        "warnings.showwarning": lambda: warnings.showwarning,
    }
    before, seen = {name: look() for name, look in watched.items()}, set()

    def see(frame, event, arg):
        seen.update(name for name, look in watched.items() if look() != before[name])

    sys.setprofile(see)
    try:
        read_image(path)
        write_image(path, picture(64, 64))
    finally:
        sys.setprofile(None)
    assert not seen
