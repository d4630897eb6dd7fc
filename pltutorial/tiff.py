"""TIFF files of more than 8 bits: what their numbers mean is said by their tags.

Pillow unpacks the bytes, whatever the compression; the tags say the rest.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
from typing import BinaryIO

import numpy
from PIL import TiffImagePlugin

from .errors import InputError

# TIFF 6.0, section 8 and on
_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _BITS = 254, 255, 256, 257, 258
_COMPRESSION, _PHOTOMETRIC, _STRIPS, _ORIENTATION = 259, 262, 273, 274
_SAMPLES, _ROWS, _STRIP_SIZES, _PLANAR, _PREDICTOR = 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_SIZES = 322, 323, 324, 325
_EXTRA, _FORMAT, _LEAST, _MOST, _PROFILE = 338, 339, 340, 341, 34675
_KNOWN = {
    *(_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC),
    *(
        _STRIPS,
        _SAMPLES,
        _ORIENTATION,
        _ROWS,
        _STRIP_SIZES,
        _PLANAR,
        _PREDICTOR,
        _TILE_WIDTH,
        _TILES,
    ),
    *(_TILE_HEIGHT, _TILE_SIZES, _EXTRA, _FORMAT, _LEAST, _MOST, _PROFILE),
}
_PREDICTING = (5, 8, 32946, 34925, 50000)  # LZW, Deflate twice, LZMA, Zstandard
_LETTERS = {  # the types of tags, as struct has them
    **{1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 11: "f"},
    **{12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"},
}
_UNSIGNED, _SIGNED, _FLOAT, _UNSAID = 1, 2, 3, 4


class Page:
    """One directory of tags, with the standard's values for those that are missing."""

    def __init__(self, tags: dict[int, tuple], order: str):
        self.tags, self.order = tags, order
        self.width, self.height = self.one(_WIDTH, 0), self.one(_HEIGHT, 0)
        self.samples = self.one(_SAMPLES, 1)
        bits = self.all(_BITS, (1,))
        self.bits = bits * self.samples if len(bits) == 1 else bits
        self.format = set(self.all(_FORMAT, (_UNSIGNED,)))
        self.photometric = self.one(_PHOTOMETRIC, 0)
        self.profile = bytes(self.all(_PROFILE)) or None
        self.orientation = self.one(_ORIENTATION, 0)  # 0: it is not said
        # no smaller copy and no mask of another page
        self.whole = (
            not self.one(_SUBFILE, 0) & 0b101 and self.one(_OLD_SUBFILE, 1) != 2
        )

    def one(self, tag: int, default: int) -> int:
        """A tag's first number."""
        return int(self.all(tag, (default,))[0])

    def all(self, tag: int, default: tuple = ()) -> tuple:
        """A tag's numbers."""
        return self.tags.get(tag) or default

    def __str__(self) -> str:
        return (
            f"a TIFF of {'/'.join(map(str, self.bits))} bits, of kind "
            f"{self.photometric} and packed by way {self.one(_COMPRESSION, 1)}"
        )

    @property
    def deep(self) -> bool:
        """Whether these are grey or RGB and Pillow does not read them as they are."""
        plain = self.format <= {_UNSIGNED, _UNSAID} and set(self.bits) <= {1, 2, 4, 8}
        usual = self.samples == 1 or (
            self.photometric and (self.samples > 2 or self.one(_PLANAR, 1) == 1)
        )
        return self.photometric <= 2 and not (plain and usual)


def pages(file: BinaryIO) -> list[Page]:
    """The directories of a TIFF file in order; none of a file of another kind.

    Tags that cannot be read are left out, whatever is wrong with them.
    """
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(16)
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return []
    order, big = "<" if head[:2] == b"II" else ">", b"+" in head[:4]
    number, short = (order + "Q", order + "Q") if big else (order + "I", order + "H")
    entry = order + ("HHQ8s" if big else "HHI4s")
    found: dict[int, Page] = {}
    (start,) = struct.unpack_from(number, head, 8 if big else 4)
    while start and start not in found:
        file.seek(start)
        (count,) = struct.unpack(short, file.read(struct.calcsize(short)))
        size = struct.calcsize(entry)
        table = file.read(min(count * size, length))
        (start_of_next,) = struct.unpack(number, file.read(struct.calcsize(number)))
        tags = {}
        for place in range(0, len(table), size):
            tag, kind, values, data = struct.unpack_from(entry, table, place)
            letters = f"{order}{values}{_LETTERS.get(kind, 'x')}"
            needed = struct.calcsize(letters) if values <= length else length + 1
            if tag not in _KNOWN or kind not in _LETTERS or needed > length:
                continue
            if needed > len(data):
                file.seek(struct.unpack(number, data)[0])
                data = file.read(needed)
            if len(data) >= needed:
                tags[tag] = struct.unpack_from(letters, data)
        found[start] = Page(tags, order)
        start = start_of_next
    return list(found.values())


def read(
    file: BinaryIO, page: Page, name: str | os.PathLike
) -> tuple[numpy.ndarray, numpy.ndarray | None]:
    """The numbers of a page, by its tags: colours, (H, W, 1) or (H, W, 3), and opacity,
    (H, W), in [0, 1], where it has one.

    Integers without a sign are white at their largest value, floats at 1, and both, as
    well as integers with a sign, at what SMaxSampleValue says. Photometric tag 0 turns
    black and white around.

    Raises:
        InputError: the tags do not say which number is white, or how many colours the
            numbers are.
    """
    count = 3 if page.photometric == 2 else 1
    extra = page.all(_EXTRA) or ((2,) if page.samples == 4 and count == 3 else ())
    if (
        len(set(page.bits)) > 1
        or len(page.format) > 1
        or (page.samples - count > 1 and not set(extra) & {1, 2})
    ):
        raise InputError(
            f"the picture {str(name)!r} is a TIFF with {page.samples} numbers a pixel "
            f"of {'/'.join(map(str, page.bits))} bits, and its tags do not say that "
            "they are grey or RGB of one kind; save it as RGB of 8 or 16 bits"
        )
    compression = page.one(_COMPRESSION, 1)
    if compression not in TiffImagePlugin.COMPRESSION_INFO:
        raise InputError(
            f"the picture {str(name)!r} is a TIFF packed in a way that cannot be read "
            f"(number {compression}); save it with LZW or Deflate, or not packed"
        )
    values = _numbers(file, page, name)
    black, white = _range(page, name)
    values = to_unit(values, black, white, name)
    colors = values[..., :count]
    if page.photometric == 0:
        colors = 1 - colors
    sort = next((i for i, kind in enumerate(extra) if kind in (1, 2)), None)
    if sort is None or count + sort >= page.samples:
        return colors, None
    alpha = values[..., count + sort]
    if extra[sort] == 1:  # colours are stored multiplied by it
        colors = (colors / numpy.maximum(alpha, 1e-9)[..., None]).clip(0, 1)
    return colors, alpha


def to_unit(
    values: numpy.ndarray, black: float, white: float, name: str | os.PathLike
) -> numpy.ndarray:
    """Numbers as float32 in [0, 1]; what lies outside is clipped, and that is said.

    Raises:
        InputError: NaN or infinite values, or most lie outside.
    """
    values = values.astype(numpy.float32)
    if not numpy.isfinite(values).all():
        raise InputError(
            f"the picture {str(name)!r} holds NaN or infinite values; give one with "
            "finite values"
        )
    values = (values - numpy.float32(black)) / numpy.float32(white - black)
    low, high = float(values.min()), float(values.max())
    if low < -1 / 510 or high > 1 + 1 / 510:  # more than rounding to 8 bits hides
        outside = float(((values < 0) | (values > 1)).mean())
        said = (
            f"the picture {str(name)!r} holds numbers from "
            f"{black + low * (white - black):.4g} to "
            f"{black + high * (white - black):.4g}, where {black:.4g} is black and "
            f"{white:.4g} is white"
        )
        if outside > 0.5:
            raise InputError(
                f"{said}, so that {outside:.0%} of them would be lost; divide them by "
                "their white, or save it as integers of 8 or 16 bits"
            )
        warnings.warn(f"{said}; {outside:.1%} of them are clipped", stacklevel=2)
    return values.clip(0, 1)


def _range(page: Page, name: str | os.PathLike) -> tuple[float, float]:
    """Which numbers are black and white."""
    (kind,) = page.format
    if page.all(_MOST) and kind in (_SIGNED, _FLOAT):
        black = float(min(page.all(_LEAST, (0,))))
        white = float(max(page.all(_MOST)))
        if numpy.isfinite((black, white)).all() and black < white:
            return black, white
    if kind in (_UNSIGNED, _UNSAID):
        return 0.0, float(2 ** page.bits[0] - 1)
    if kind == _FLOAT:
        return 0.0, 1.0
    what = "integers with a sign" if kind == _SIGNED else "complex numbers"
    raise InputError(
        f"the picture {str(name)!r} is a TIFF of {what}, whose tags do not say which "
        "number is white; save it as integers without a sign, or as floats from 0 to 1"
    )


def _numbers(file: BinaryIO, page: Page, name: str | os.PathLike) -> numpy.ndarray:
    """The stored numbers, (H, W, samples)."""
    if page.one(_PLANAR, 1) == 1 or page.samples == 1:
        return _plane(file, page, name, page.samples, slice(None))
    offsets = page.all(_TILES) or page.all(_STRIPS)
    each = len(offsets) // page.samples
    planes = [
        _plane(file, page, name, 1, slice(i * each, (i + 1) * each))
        for i in range(page.samples)
    ]
    return numpy.concatenate(planes, -1)


def _plane(
    file: BinaryIO, page: Page, name: str | os.PathLike, samples: int, part: slice
) -> numpy.ndarray:
    """The numbers of all strips or tiles, or of those of one plane."""
    bits, (kind,) = page.bits[0], page.format
    predicts = page.one(_COMPRESSION, 1) in _PREDICTING
    predictor = page.one(_PREDICTOR, 1) if predicts else 1
    letter = {_SIGNED: "i", _FLOAT: "f"}.get(kind, "u")
    whole = bits in (8, 16, 32, 64) and not (letter == "f" and bits == 8)
    if not whole and (letter == "f" or bits > 16 or predictor != 1):
        raise InputError(
            f"the picture {str(name)!r} is a TIFF of numbers of {bits} bits, which "
            "cannot be read; save it with 8 or 16 bits"
        )
    tiled = bool(page.all(_TILES))
    across = page.one(_TILE_WIDTH, 0) if tiled else page.width
    columns = -(-page.width // across)
    row = -(-across * samples * bits // 8)  # bytes
    data = _unpacked(file, page, row * columns, row, part).reshape(
        page.height, columns, row
    )
    if not whole:
        steps = 2 ** numpy.arange(bits - 1, -1, -1, dtype=numpy.uint16)
        values = numpy.stack(
            [
                numpy.unpackbits(line, axis=-1)[:, : across * samples * bits].reshape(
                    columns, -1, bits
                )
                @ steps
                for line in data
            ]
        )
    else:
        order, size = page.order, bits // 8
        if predictor == 3:  # differences of bytes, the most significant ones first
            data = data.reshape(page.height, columns, -1, samples)
            data = data.cumsum(2, numpy.uint8).reshape(page.height, columns, size, -1)
            data, order = data.swapaxes(2, 3), ">"
        values = numpy.ascontiguousarray(data).reshape(page.height, columns, -1)
        if predictor == 2:
            steps = values.view(f"{order}u{size}").reshape(
                page.height, columns, -1, samples
            )
            values = steps.cumsum(2, f"u{size}").astype(f"{order}u{size}")
        values = values.view(f"{order}{letter}{size}")
    return values.reshape(page.height, -1, samples)[:, : page.width]


def _unpacked(
    file: BinaryIO, page: Page, width: int, across: int, part: slice
) -> numpy.ndarray:
    """The bytes of each row, (H, width): to Pillow the file is one of grey bytes."""
    file.seek(0)
    data = file.read()
    order = page.order
    tags: dict[int, tuple] = {
        _WIDTH: (width,),
        _HEIGHT: (page.height,),
        _BITS: (8,),
        _COMPRESSION: (page.one(_COMPRESSION, 1),),
        _PHOTOMETRIC: (1,),
        _SAMPLES: (1,),
        _PLANAR: (1,),
    }
    if page.all(_TILES):
        tags[_TILE_WIDTH] = (across,)
        tags[_TILE_HEIGHT] = (page.one(_TILE_HEIGHT, 0),)
        tags[_TILES] = page.all(_TILES)[part]
        tags[_TILE_SIZES] = page.all(_TILE_SIZES)[part]
    else:
        tags[_STRIPS] = page.all(_STRIPS)[part]
        tags[_ROWS] = (min(page.one(_ROWS, page.height), page.height),)
        tags[_STRIP_SIZES] = page.all(_STRIP_SIZES)[part]
    tags = {tag: numbers for tag, numbers in sorted(tags.items()) if numbers}
    start = len(data) + len(data) % 2
    after = start + 2 + 12 * len(tags) + 4
    entries, more = struct.pack(order + "H", len(tags)), b""
    for tag, numbers in tags.items():
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            more += packed
            packed = struct.pack(order + "I", after + len(more) - len(packed))
        entries += struct.pack(order + "HHI", tag, 4, len(numbers)) + packed
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start)
    bare = b"".join((head, data[8:], b"\0" * (len(data) % 2), entries, bytes(4), more))
    with TiffImagePlugin.TiffImageFile(io.BytesIO(bare)) as picture:
        picture.load()
        return numpy.asarray(picture)
