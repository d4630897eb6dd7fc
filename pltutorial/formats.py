"""Which files are pictures: what can be read, how it is opened, how many frames it has,
and what only looks like one.
"""

from __future__ import annotations

import functools
import io
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

# Pillow only knows the names of these, or hands them to another program
_FOREIGN = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
# pictures that Pillow cannot read, by ending and by how they begin
_UNREAD = [
    ".heic",
    ".heif",
    ".hif",
    ".jxl",
    ".svg",
    ".svgz",
    ".eps",
    ".ps",
    ".ai",
    ".pdf",
    ".wmf",
    ".emf",
    ".exr",
    ".hdr",
    ".xcf",
    ".psb",
    ".raw",
    ".dng",
    ".cr2",
    ".cr3",
    ".crw",
    ".nef",
    ".nrw",
    ".arw",
    ".sr2",
    ".srf",
    ".orf",
    ".rw2",
    ".raf",
    ".pef",
    ".srw",
    ".x3f",
    ".3fr",
    ".iiq",
    ".mrw",
    ".erf",
    ".kdc",
    ".dcr",
    ".jxr",
    ".wdp",
    ".hdp",
    ".bpg",
    ".flif",
    ".kra",
    ".ora",
    ".sketch",
    ".fpx",
]
_BEGINNINGS = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|II[*+]\0|MM\0[*+]|RIFF....WEBP|8BPS\0|BM.{12}|"
    rb"....ftyp(?:hei[cxms]|hev[cx]|mif1|msf1|avi[fs])|\0\0\0\x0cj[Pp]  |\xff\x4f\xff|"
    rb"\xff\x0a|\0\0\0\x0cJXL |v/1\x01|#\?RADIANCE|qoif|P[1-6fF][ \n\r]",
    re.DOTALL,
)


def endings() -> tuple[str, ...]:
    """The endings of all pictures that the installed Pillow reads: one list for single
    files, folders, data sets and archives.

    Example:
        >>> {".jpg", ".jfif", ".png", ".tif", ".gif"} <= set(endings())
        True
    """
    Image.init()
    known = Image.registered_extensions().items()
    return tuple(ending for ending, kind in known if kind in {*_kinds(), "MPO"})


def looks_like_picture(name: str | os.PathLike, start: bytes) -> bool:
    """Whether a file without one of :func:`endings` is a picture all the same: of a
    kind that Pillow cannot read, or under another name.

    Args:
        name: the file's name.
        start: its first 16 bytes.
    """
    return Path(name).suffix.lower() in _UNREAD or bool(_BEGINNINGS.match(start))


def start_of(path: Path) -> bytes:
    """A file's first 16 bytes; none of what is no file, or may not be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(16)
    except OSError:
        return b""


def passed_over(names: list[str], where: str | os.PathLike) -> str:
    """The sentence about pictures of a folder or archive that cannot be used."""
    some = ", ".join(map(repr, names[:5]))
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return (
        f"passed over {len(names):,} of {str(where)!r} that look like pictures and "
        f"whose ending is none that is read: {some}{more}; save them as .jpg or .png"
    )


def _kinds() -> tuple[str, ...]:
    """Pillow's names of what it reads; first what is told by how it begins."""
    Image.init()
    return _sorted(tuple(Image.ID))


@functools.lru_cache(maxsize=1)
def _sorted(known: tuple[str, ...]) -> tuple[str, ...]:
    kinds = [kind for kind in known if kind not in _FOREIGN]
    return tuple(sorted(kinds, key=lambda kind: Image.OPEN[kind][1] is None))


def identify(file: BinaryIO) -> ImageFile.ImageFile:
    """Open a picture, as Pillow's ``Image.open`` does, without its limit of pixels:
    that is one value for all threads, and ours is another.

    Raises:
        UnidentifiedImageError: it is no picture that can be read.
    """
    file.seek(0)
    start = file.read(16)
    for kind in _kinds():
        factory, accept = Image.OPEN[kind]
        if accept is not None and accept(start) is not True:
            continue
        try:
            file.seek(0)
            return factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    raise UnidentifiedImageError


def count_frames(picture: ImageFile.ImageFile) -> int:
    """How many frames a file holds.

    The layers of a PSD are one picture, and so is a JPEG with more in it (MPO), as
    telephones write them: a gain map, a preview, or the other eye's view.
    """
    if picture.format in ("PSD", "MPO"):
        return 1
    count = getattr(picture, "n_frames", 1)
    if count > 1 and picture.format == "PNG":  # a number may be there without frames
        place = picture.fp.tell()
        picture.fp.seek(0)
        kinds = [kind for kind, _ in _chunks(picture.fp.read())]
        picture.fp.seek(place)
        frames = kinds.count(b"fcTL")
        # what comes before the first frame is a picture of its own
        alone = frames and kinds.index(b"IDAT") < kinds.index(b"fcTL")
        return max(1, frames + bool(alone))
    return count


# --- faults beside the pixels ---------------------------------------------------------


def mended(data: bytes) -> Iterator[io.BytesIO]:
    """Copies of a picture's file without what is not needed for its pixels, such as
    text, and then without its EXIF and colour profile, too.
    """
    kinds = {
        b"\x89PNG\r\n\x1a\n": _png,
        b"\xff\xd8": _jpeg,
        b"RIFF": _webp,
        b"II*\0": _tiff,
        b"MM\0*": _tiff,
    }
    bare = next((kinds[start] for start in kinds if data.startswith(start)), None)
    for keep_profile in (True, False) if bare else ():
        try:
            yield io.BytesIO(bare(data, keep_profile))
        except (struct.error, IndexError):  # its frame is broken, too
            return


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and bytes of each chunk of a PNG."""
    place = 8
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        yield kind, data[place : place + length + 12]
        place += length + 12


def _png(data: bytes, keep_profile: bool) -> bytes:
    """The chunks that matter; those that may be skipped only with a right checksum."""
    chunks = list(_chunks(data))
    needed = {b"tRNS"} | ({b"iCCP", b"eXIf"} if keep_profile else set())
    if keep_profile or sum(kind == b"fcTL" for kind, _ in chunks) > 1:
        needed |= {b"acTL", b"fcTL", b"fdAT"}
    kept = [data[:8]]
    for kind, chunk in chunks:
        right = zlib.crc32(chunk[4:-4]).to_bytes(4, "big") == chunk[-4:]
        if not kind[0] & 32 or (kind in needed and right):
            kept.append(chunk)
    return b"".join(kept)


def _jpeg(data: bytes, keep_profile: bool) -> bytes:
    """Without comments and application segments; Adobe's says how colours are kept."""
    needed = {0xEE, 0xE2} if keep_profile else {0xEE}
    parts, place = [data[:2]], 2
    while data[place : place + 1] == b"\xff" and data[place + 1] != 0xDA:
        kind = data[place + 1]
        length = 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if kind in needed or not (0xE0 <= kind <= 0xEF or kind == 0xFE):
            parts.append(data[place : place + length])
        place += length
    return b"".join((*parts, data[place:]))


def _webp(data: bytes, keep_profile: bool) -> bytes:
    """Without EXIF and XMP, and the flags that promise them."""
    needless = {b"EXIF", b"XMP "} | (set() if keep_profile else {b"ICCP"})
    flags = 0b1100 | (0 if keep_profile else 0b100000)
    parts, place = [], 12
    while place + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, place)
        chunk = bytearray(data[place : place + 8 + length + length % 2])
        if kind == b"VP8X" and length:
            chunk[8] &= ~flags
        if kind not in needless:
            parts.append(bytes(chunk))
        place += len(chunk)
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _tiff(data: bytes, keep_profile: bool) -> bytes:
    """With a directory, behind all else, of the tags that say how pixels are stored."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    places = [start + 2 + 12 * i for i in range(count + 1)]
    needed = {*range(254, 280), *range(284, 294), *range(317, 342), 347}
    needed |= {*range(529, 533)} | ({34675} if keep_profile else set())
    needed -= {269, 270, 271, 272}
    entries = [
        data[place : place + 12]
        for place in places[:-1]
        if struct.unpack_from(order + "H", data, place)[0] in needed
    ]
    data += b"\0" * (len(data) % 2)
    return b"".join(
        (
            data[:4],
            struct.pack(order + "I", len(data)),
            data[8:],
            struct.pack(order + "H", len(entries)),
            *entries,
            data[places[-1] : places[-1] + 4],
        )
    )
