"""What the numbers of a picture file mean: colours and opacity as the file's own tags
and header say, never by the largest value that occurs.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from . import memory, tiff
from .errors import InputError
from .formats import count_frames, identify
from .profiles import to_srgb

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_DECODING = 40  # bytes a pixel at the peak: 28 to 34 for RGB, 55 with transparency
_AS_BYTES = 12  # the same where 8 bits stay 8 bits: Pillow's own 4, 3, and a copy
_STRIP = 512  # rows that are taken from Pillow at once, which copies them twice


@dataclass
class Decoded:
    """A picture upright and in sRGB.

    Attributes:
        colors: a picture of mode RGB where 8 bits hold it, else float32 (H, W, 3) in
            [0, 1].
        alpha: opacity, float32 (H, W) in [0, 1]; None where the file has none.
    """

    colors: Image.Image | numpy.ndarray
    alpha: numpy.ndarray | None = None

    @property
    def plain(self) -> bool:
        """Whether bytes hold all of it: 8 bits, opaque."""
        return isinstance(self.colors, Image.Image) and self.alpha is None

    def over_white(self) -> numpy.ndarray:
        """float32 (H, W, 3) in [0, 1]; what is transparent lies over white."""
        if isinstance(self.colors, numpy.ndarray):
            colors = self.colors
        else:
            colors = numpy.asarray(self.colors, dtype=numpy.float32) / 255
        if self.alpha is None:
            return colors
        return colors * self.alpha[..., None] + (1 - self.alpha[..., None])

    def as_bytes(self) -> numpy.ndarray:
        """uint8 (H, W, 3) from 0 to 255; what is transparent lies over white."""
        if not self.plain:
            return (self.over_white() * 255).round().astype(numpy.uint8)
        width, height = self.colors.size
        array = numpy.empty((height, width, 3), numpy.uint8)
        for top in range(0, height, _STRIP):
            strip = self.colors.crop((0, top, width, min(top + _STRIP, height)))
            array[top : top + _STRIP] = numpy.asarray(strip)
        return array


Numbers = tuple[numpy.ndarray, numpy.ndarray | None]  # colours, and opacity


@dataclass
class Header:
    """What is known of a picture that Pillow does not open."""

    size: tuple[int, int]
    read: Callable[[], Numbers]
    profile: bytes | None = None
    orientation: int = 1
    format = None

    def draft(self, *_) -> None:
        """Only JPEGs are decoded at a part of their size."""


def decode(
    file: BinaryIO,
    name: str | os.PathLike,
    max_pixels: int,
    before: Callable[[Image.Image | Header], None] | None = None,
    as_bytes: bool = False,
) -> Decoded:
    """Decode an open file; arguments are those of ``open_picture``.

    Raises:
        InputError: it is too large, holds several pictures, or does not say what its
            numbers mean.
        Exception: whatever Pillow raises where a file is damaged.
    """
    pages = tiff.pages(file)
    try:
        picture = _header(file, pages, name) or identify(file)
    except UnidentifiedImageError:
        raise UnidentifiedImageError(pages[0] if pages else "") from None
    count = sum(page.whole for page in pages) or count_frames(picture)
    width, height = picture.size
    if width * height > max_pixels:
        raise InputError(
            f"the picture {str(name)!r} has {width * height:,} pixels and the limit is "
            f"{max_pixels:,}; shrink it, or raise max_pixels if you trust the file"
        )
    if count > 1:
        raise InputError(several(name, count, bool(pages)))
    if before is not None:
        before(picture)
    pixels = picture.size[0] * picture.size[1]  # a JPEG's may be fewer now
    what = f"the {pixels:,} pixels of {str(name)!r}"
    each = _AS_BYTES if as_bytes and _has_8_bits(picture) else _DECODING
    memory.check(each * pixels, what, "shrink the picture")
    if isinstance(picture, Header):
        numbers = picture.read()
        profile, turn = picture.profile, picture.orientation
    else:
        tile = picture.tile[0] if picture.tile else None
        picture.load()
        if "icc_profile" in picture.info and picture.info["icc_profile"] is None:
            picture.info["icc_profile"] = b"damaged"  # Pillow could not unpack it
        profile, turn = (
            picture.info.get("icc_profile"),
            _orientation(picture, name),
        )
        numbers = _more_than_8_bits(file, picture, tile, name)
    turn = _TURNS.get(turn)
    if numbers is None:
        return understood(picture if turn is None else picture.transpose(turn), name)
    colors, alpha = numbers
    colors = numpy.stack(
        [_turned(plane, turn) for plane in numpy.moveaxis(colors, -1, 0)]
        * (3 // colors.shape[-1]),
        -1,
    )
    return Decoded(
        to_srgb(colors, profile, name), None if alpha is None else _turned(alpha, turn)
    )


def several(name: str | os.PathLike, count: int, pages: bool) -> str:
    """The sentence about a file of several pictures where one is wanted."""
    if pages:
        return (
            f"{str(name)!r} has {count} pages and one picture is needed; save the page "
            "that you mean as a file of its own"
        )
    return (
        f"{str(name)!r} has {count} frames and one picture is needed; only `pltutorial "
        "stylize` takes those that move, with an output that ends in .gif, else save "
        "the frame that you mean as a file of its own"
    )


def pictures_in(path: str | os.PathLike) -> tuple[int, bool]:
    """How many pictures a file holds, by what is in it, and if they are pages; (1,
    False) where it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            pages = sum(page.whole for page in tiff.pages(file))
            return (pages or count_frames(identify(file))), pages > 0
    except Exception:  # reading it properly will say what is wrong
        return 1, False


def understood(picture: Image.Image, name: str | os.PathLike) -> Decoded:
    """A decoded picture of any mode."""
    if picture.mode.startswith(("I", "F")):
        colors = _grey(picture, name)[0]
        return Decoded(numpy.repeat(colors, 3, axis=2))
    profile, alpha = picture.info.get("icc_profile"), None
    if picture.mode == "La":
        picture = picture.convert("LA")
    if has_alpha(picture):
        whole = picture.convert("RGBA")
        alpha = numpy.asarray(whole.getchannel("A"), dtype=numpy.float32) / 255
        picture = picture.getchannel("L") if picture.mode == "LA" else whole
        picture = picture if picture.mode == "L" else picture.convert("RGB")
    elif picture.mode == "1":
        picture = picture.convert("L")
    return Decoded(to_srgb(picture, profile, name), alpha)


def has_alpha(picture: Image.Image) -> bool:
    """Whether a decoded picture may have transparent pixels."""
    modes = ("RGBA", "LA", "PA", "RGBa", "La")
    return picture.mode in modes or "transparency" in picture.info


def _has_8_bits(picture: Image.Image | Header) -> bool:
    """Whether bytes will hold all of a picture, as far as its header says."""
    if isinstance(picture, Header) or picture.format == "PPM" or has_alpha(picture):
        return False
    return picture.mode in ("RGB", "L") and ";16" not in str(picture.tile)


def _header(
    file: BinaryIO, pages: list[tiff.Page], name: str | os.PathLike
) -> Header | None:
    """What Pillow would not open, or would not read as it is."""
    if pages and pages[0].deep:
        page = pages[0]
        size = page.width, page.height
        return Header(
            size,
            lambda: tiff.read(file, page, name),
            page.profile,
            page.orientation,
        )
    file.seek(0)
    match = re.match(rb"P([Ff])\s+(\d+)\s+(\d+)\s+(\S+)\s", file.read(100))
    if match is None:
        return None
    width, height, scale = int(match[2]), int(match[3]), float(match[4])
    channels = 3 if match[1] == b"F" else 1

    def read() -> Numbers:
        """Netpbm's PFM: rows from below; the sign of the scale is the order of bytes,
        and its amount is what the numbers are multiplied by.
        """
        order = "<" if scale < 0 else ">"
        values = _stored(file, match.end(), f"{order}f4", (height, width, channels))
        return tiff.to_unit(values[::-1] * abs(scale), 0, 1, name), None

    return Header((width, height), read)


def _stored(
    file: BinaryIO, start: int, dtype: str, shape: tuple[int, int, int]
) -> numpy.ndarray:
    file.seek(start)
    size = numpy.dtype(dtype).itemsize * shape[0] * shape[1] * shape[2]
    data = file.read(size)
    if len(data) < size:
        raise OSError(f"{size - len(data):,} of its bytes are missing")
    return numpy.frombuffer(data, dtype).reshape(shape)


def _orientation(picture: Image.Image, name: str | os.PathLike) -> int:
    """EXIF's orientation, 1 to 8; 1 where there is none that can be read.

    EXIF is a TIFF without pixels. Pillow reads no tag after one that leads nowhere, so
    its reading comes second: it also knows the other places, such as XMP.
    """
    try:
        exif = picture.info.get("exif", b"").removeprefix(b"Exif\0\0")
        pages = tiff.pages(io.BytesIO(exif))
        said = pages[0].orientation if pages else 0
        return said or int(picture.getexif().get(0x0112, 1))
    except Exception as problem:  # Pillow raises whatever a damaged table leads to
        warnings.warn(
            f"the EXIF data of {str(name)!r} is damaged ({problem}); the picture is "
            "taken to be upright",
            stacklevel=2,
        )
        return 1


def _turned(plane: numpy.ndarray, turn: Image.Transpose | None) -> numpy.ndarray:
    if turn is None:
        return plane
    return numpy.asarray(
        Image.fromarray(numpy.ascontiguousarray(plane)).transpose(turn)
    )


def _more_than_8_bits(
    file: BinaryIO, picture: Image.Image, tile, name: str | os.PathLike
) -> Numbers | None:
    """The numbers of a loaded picture that Pillow rounds to 8 bits, or does not scale;
    None where its own pixels are right.
    """
    if picture.format == "PNG":
        return _png(file, picture)
    white = tile.args[1] if picture.format == "PPM" and "ppm" in tile.codec_name else 0
    if picture.mode == "RGB" and white > 255:
        shape = picture.height, picture.width, 3
        if tile.codec_name != "ppm_plain":
            values = _stored(file, tile.offset, ">u2", shape)
        else:
            file.seek(tile.offset)
            words = re.sub(rb"#[^\r\n]*", b"", file.read()).split()
            count = shape[0] * shape[1] * 3
            values = numpy.array(words[:count], numpy.uint16).reshape(shape)
        return (values / numpy.float32(white)).clip(0, 1), None
    if picture.mode.startswith(("I", "F")):
        return _grey(picture, name)
    return None


def _grey(picture: Image.Image, name: str | os.PathLike) -> Numbers:
    """Grey of 16 bits, where the format says what is white; floats in memory."""
    values = numpy.asarray(picture)[..., None]
    of = picture.format
    if of in ("PPM", "JPEG2000") or (of is None and picture.mode.startswith("I;16")):
        return values.astype(numpy.float32) / 65535, None
    if of is None and picture.mode == "F":
        return tiff.to_unit(values, 0, 1, name), None
    what = f"{of} file" if of else "picture"
    kind = "floats" if picture.mode == "F" else "integers"
    raise InputError(
        f"{str(name)!r} is a {what} of {kind}, and nothing says which of them is "
        "white; save it as PNG or TIFF of 8 or 16 bits"
    )


def _png(file: BinaryIO, picture: Image.Image) -> Numbers | None:
    """PNGs of 16 bits, and of fewer with one transparent colour, which is compared
    before anything is scaled (PNG, 11.3.2.1); None for all others.
    """
    file.seek(24)
    depth, kind = file.read(2)
    key = None if kind == 3 else picture.info.get("transparency")
    white = 2**depth - 1
    if depth == 16 and kind == 4:
        values = _bytes(file, "RGBA").view(">u2")
    elif depth == 16 and kind in (2, 6):
        # to Pillow the upper bytes of one order are the lower ones of the other
        mode = picture.mode
        upper, lower = (_bytes(file, f"{mode};16{order}") for order in "BL")
        values = upper.astype(numpy.uint16) * 256 + lower
    elif depth == 16 or key is not None:
        values = numpy.atleast_3d(numpy.asarray(picture))
        if depth in (2, 4):
            values = values // (255 // white)
        elif depth == 1:
            values, key = values.astype(numpy.uint8), int(bool(key))
    else:
        return None
    alpha = None
    if kind & 4:
        values, alpha = values[..., :-1], values[..., -1] / numpy.float32(white)
    elif key is not None:
        key = numpy.array(key) & white
        alpha = (values != key).any(-1).astype(numpy.float32)
    return values / numpy.float32(white), alpha


def _bytes(file: BinaryIO, rawmode: str) -> numpy.ndarray:
    """A PNG's bytes, unpacked in another way."""
    file.seek(0)
    picture = PngImagePlugin.PngImageFile(file)
    picture.tile = [tile._replace(args=rawmode) for tile in picture.tile]
    picture.load()
    return numpy.array(picture)
