"""Where training pictures lie: in a folder, or inside tar and zip files."""

from __future__ import annotations

import io
import os
import re
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy

from ..errors import InputError, shown
from ..files import no_file
from ..formats import endings, looks_like_picture, passed_over, start_of
from ..images import PICTURE_ENDINGS

SHARD_ENDINGS = (".tar", ".zip")
LARGEST = 1 << 27  # bytes of one picture inside an archive, unpacked
_LONGEST_NAME = 4096
_MOST_BRACES = 16
_TOO_LARGE = f"it has more than {LARGEST >> 20} MB unpacked"


class PictureFiles:
    """Where pictures lie: in files of their own, or at an offset in a tar or a zip.

    The names are one array, not a list of strings: worker processes
    then share its memory.
    """

    def __init__(
        self,
        roots: list[Path],
        names: list[str],
        places: list[tuple[int, int, int, int]] | None,
    ):
        self.roots = roots
        self.names = numpy.array([os.fsencode(name) for name in names])
        # shard, offset, size, deflated
        self.places = None if places is None else numpy.array(places, numpy.int64)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, i: int) -> str:
        """Path within the folder, or shard and member."""
        name = os.fsdecode(self.names[i])
        return (
            name
            if self.places is None
            else f"{self.roots[self.places[i][0]].name}/{name}"
        )

    def open(self, i: int) -> Path | io.BytesIO:
        """A path or a file in memory; nothing stays open, so that
        processes can fork.
        """
        if self.places is None:
            path = self.roots[0] / os.fsdecode(self.names[i])
            fault = no_file(path)  # a pipe would hold the run up
            if fault and fault != "does not exist":  # which opening it says
                raise OSError(f"it {fault}")
            return path
        shard, offset, size, deflated = self.places[i].tolist()
        if size > LARGEST:
            raise OSError(_TOO_LARGE)
        with self.roots[shard].open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        if deflated:
            unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                data = unpacking.decompress(data, LARGEST)
            except zlib.error as problem:
                raise OSError(f"its compressed bytes are damaged: {problem}") from None
            if unpacking.unconsumed_tail:
                raise OSError(_TOO_LARGE)
            if not unpacking.eof:
                raise OSError("its compressed bytes are damaged: their end is missing")
        return io.BytesIO(data)


def find_pictures(source: str | os.PathLike) -> PictureFiles:
    """The pictures of a folder, an archive or shards; what looks like one and is passed
    over is named in a warning.

    Raises:
        InputError: the source is missing, damaged, or holds no picture.
    """
    path = Path(source)
    if no_file(source) == "is a folder":
        files, closed = _below(path)
        known = endings()
        names = [name for name in files if name.lower().endswith(known)]
        others = [name for name in files if not name.lower().endswith(known)]
        others = [
            name for name in others if looks_like_picture(name, start_of(path / name))
        ]
        if closed:
            warnings.warn(_closed(closed, path), stacklevel=2)
        if names:
            _say(others, path)
            return PictureFiles([path], names, None)
        shards = [path / name for name in files if name.lower().endswith(SHARD_ENDINGS)]
        if not shards:
            raise InputError(
                f"there is no picture below the folder {str(path)!r} that can be read; "
                f"give a folder with {', '.join((*PICTURE_ENDINGS, *SHARD_ENDINGS))} "
                f"files{_also(others, path)}"
            )
        return _members(shards, source)
    shards = []
    for name in [str(source)] if not no_file(source) else _expand(str(source)):
        if fault := no_file(name):
            raise InputError(
                f"{shown(name)} {fault}; give a folder of pictures, a .tar or .zip, or "
                "shards such as name-{000..117}.tar"
            )
        shards.append(Path(name))
    return _members(shards, source)


def _say(others: list[str], source: str | os.PathLike) -> None:
    if others:
        warnings.warn(passed_over(others, source), stacklevel=3)


def _also(others: list[str], source: str | os.PathLike) -> str:
    return f" ({passed_over(others, source)})" if others else ""


def _closed(folders: list[str], source: Path) -> str:
    some = ", ".join(map(shown, folders[:3])) + (", ..." if len(folders) > 3 else "")
    return (
        f"passed over {len(folders)} folders of {str(source)!r} that may not be read: "
        f"{some}; change their permissions"
    )


def _below(folder: Path) -> tuple[list[str], list[str]]:
    """Paths of the files below a folder, relative and sorted, and of the folders that
    may not be read; hidden ones are left out, links followed once.

    Raises:
        InputError: the folder itself may not be read.
    """
    found, seen, closed = [], set(), []

    def passed_over(problem: OSError) -> None:
        place = Path(problem.filename)
        if place == folder:
            raise InputError(
                f"the folder {str(folder)!r} may not be read ({problem.strerror}); "
                "change its permissions"
            )
        closed.append(place.relative_to(folder).as_posix())

    for root, folders, files in os.walk(folder, onerror=passed_over, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(root, name).relative_to(folder).as_posix()
            for name in files
            if not name.startswith(".")
        ]
    return sorted(found), sorted(closed)


def _expand(pattern: str, braces: int = 0) -> Iterator[str]:
    """``a-{08..10}.tar`` and ``{b,c}.tar`` as the names they stand for, one by one."""
    match = re.search(r"\{([^{}]+)\}", pattern)
    if match is None or braces == _MOST_BRACES:
        yield pattern
        return
    numbers = re.fullmatch(r"(\d{1,18})\.\.(\d{1,18})", match[1])
    parts: Iterable[str] = match[1].split(",")
    if numbers:
        first, last = int(numbers[1]), int(numbers[2])
        parts = (f"{n:0{len(numbers[1])}}" for n in range(first, last + 1))
    for part in parts:
        name = pattern[: match.start()] + part + pattern[match.end() :]
        yield from _expand(name, braces + 1)


def _members(shards: list[Path], source: str | os.PathLike) -> PictureFiles:
    """The pictures in tar and zip files, from their tables of members."""
    names: list[str] = []
    places: list[tuple[int, int, int, int]] = []
    others: list[str] = []
    known = endings()
    for number, shard in enumerate(shards):
        zipped = shard.suffix.lower() == ".zip"
        try:
            length = shard.stat().st_size
            members = (_in_zip if zipped else _in_tar)(shard)
            for name, offset, size, deflated in members:
                base = name.rsplit("/", 1)[-1]
                if base.startswith("."):
                    continue
                if min(offset, size) < 0 or offset + size > length:
                    raise tarfile.TarError(f"{shown(name)} ends after the file does")
                if len(name) > _LONGEST_NAME:
                    raise tarfile.TarError(f"{shown(name)} is no name of a file")
                if base.lower().endswith(known):
                    names.append(name)
                    places.append((number, offset, size, deflated))
                elif looks_like_picture(base, _start(shard, offset, size, deflated)):
                    others.append(f"{shard.name}/{name}")
        except Exception as problem:  # both modules raise many kinds
            kind = "uncompressed tar file"
            if zipped:
                kind = "zip file with deflated or plain members"
            reason = str(problem) or type(problem).__name__
            if not shard.name.lower().endswith(SHARD_ENDINGS):
                raise InputError(
                    f"{str(shard)!r} is no folder of pictures and no archive of them; "
                    "give a folder, a .tar or a .zip"
                ) from None
            raise InputError(
                f"{str(shard)!r} is not a whole, {kind} ({reason}); make "
                "or download it again"
            ) from None
    if not names:
        raise InputError(
            f"there is no picture in {str(source)!r} that can be read; give tar or zip "
            f"files that hold {', '.join(PICTURE_ENDINGS)}{_also(others, source)}"
        )
    _say(others, source)
    return PictureFiles(shards, names, places)


def _start(shard: Path, offset: int, size: int, deflated: bool) -> bytes:
    """The first 16 bytes of a member."""
    with shard.open("rb") as file:
        file.seek(offset)
        data = file.read(min(size, 256))
    try:
        return (
            zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, 16)
            if deflated
            else data
        )
    except zlib.error:
        return b""


def _in_tar(shard: Path) -> Iterator[tuple[str, int, int, bool]]:
    """Name, offset and size of each file of a tar, and that none is deflated."""
    with tarfile.open(shard, "r:") as archive:
        for member in archive:
            if member.isreg():
                yield member.name, member.offset_data, member.size, False
    if not _ends(shard):
        raise tarfile.ReadError("its end is missing")


def _in_zip(shard: Path) -> Iterator[tuple[str, int, int, bool]]:
    """Name, offset and stored size of each file of a zip, and
    whether it is deflated.
    """
    with zipfile.ZipFile(shard) as archive, shard.open("rb") as file:
        for member in archive.infolist():
            if member.is_dir():
                continue
            if (
                member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
                or member.flag_bits & 1
            ):
                raise zipfile.BadZipFile(
                    f"{member.filename} is encrypted or packed in a rare way"
                )
            file.seek(member.header_offset)
            # its name and extra field may be longer than in the table
            header = file.read(30)
            if header[:4] != b"PK\3\4":
                raise zipfile.BadZipFile(
                    f"{member.filename} is not where the table says"
                )
            start = member.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
            yield (
                member.filename,
                start,
                member.compress_size,
                member.compress_type == zipfile.ZIP_DEFLATED,
            )


def _ends(shard: Path) -> bool:
    """Whether a tar file closes with a block of zeros; one cut off between two members
    reads as if it were whole.
    """
    with shard.open("rb") as file:
        file.seek(-tarfile.BLOCKSIZE, os.SEEK_END)
        return not any(file.read())
