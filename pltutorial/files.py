"""Files written whole or not at all, and outputs refused before any work is done;
nothing heavy is imported.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .errors import InputError

# those that are written; `formats.endings` are those that are read
PICTURE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif"),
    *(".tif", ".tiff", ".bmp"),
)


LARGEST_SIDE = {".webp": 16_383, ".gif": 65_535, ".avif": 65_535}
LARGEST_SIDE |= dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), 65_500)
"""Pixels along a side that a format, or Pillow's encoder of it, holds at most."""

_KINDS = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFIFO: "is a named pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}


def no_file(path: str | os.PathLike) -> str:
    """Why a path is no file that can be read from beginning to end: ``"does not
    exist"``, ``"is a named pipe"``; empty for a file.

    Nothing is opened, so a pipe holds nobody up.
    """
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except (OSError, ValueError) as problem:  # a name too long, a zero byte, a loop
        return f"cannot be opened ({getattr(problem, 'strerror', None) or problem})"
    return _KINDS.get(stat.S_IFMT(mode), "")


def write_whole(path: str | os.PathLike, fill: Callable[[BinaryIO], object]) -> Path:
    """Write a file whole or not at all: ``fill`` writes it beside its place, then it is
    flushed and renamed.

    Raises:
        InputError: the folder is missing or read-only, or the disk is full;
            what was there stays.
    """
    path = Path(path)
    beside = None
    try:
        handle, beside = tempfile.mkstemp(
            dir=path.parent, prefix=".pltutorial-", suffix=path.suffix
        )
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(0o666 & ~_umask())
        Path(beside).replace(path)
    except OSError as problem:
        raise InputError(
            f"{str(path)!r} could not be written ({problem.strerror or problem}); "
            "free space or choose another folder, nothing that was there is lost"
        ) from None
    finally:
        if beside is not None:
            Path(beside).unlink(missing_ok=True)
    return path


def check_output(
    path: str | os.PathLike,
    inputs: tuple[str | os.PathLike, ...] = (),
    endings: tuple[str, ...] = PICTURE_ENDINGS,
) -> Path:
    """Refuse an output path that cannot be written or that is an input,
    before any work is done.
    """
    path = Path(path)
    if path.suffix.lower() not in endings:
        raise InputError(
            f"the output {str(path)!r} has no known ending; end it in "
            f"{', '.join(endings)}"
        )
    if (fault := no_file(path)) not in ("", "does not exist"):
        advice = "add a file name" if "folder" in fault else "choose another name"
        raise InputError(f"the output {str(path)!r} {fault}; {advice}")
    if not path.parent.is_dir():
        raise InputError(
            f"the output folder {str(path.parent)!r} does not exist; make "
            "it, or choose another"
        )
    for given in inputs:
        if Path(given).exists() and path.exists() and path.samefile(given):
            raise InputError(
                f"the output {str(path)!r} is also an input; choose another name so "
                "that nothing is lost"
            )
    try:  # a real write: permission bits say nothing to root, nor on a read-only mount
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".pltutorial-"):
            pass
    except OSError as problem:
        raise InputError(
            f"the output folder {str(path.parent)!r} cannot be written to "
            f"({problem.strerror}); choose another"
        ) from None
    return path


def check_side(
    width: int, height: int, ending: str | None, instead: str = "shrink the picture"
) -> None:
    """Refuse a picture that is longer than its format holds, by the ending of its
    file.

    Raises:
        InputError: with what to do instead.
    """
    most = LARGEST_SIDE.get(str(ending).lower())
    if most is not None and max(width, height) > most:
        raise InputError(
            f"a picture of {width}x{height} pixels was asked for and a "
            f"{ending} file holds at most {most:,} along a side; end the output in "
            f".png, or {instead}"
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
