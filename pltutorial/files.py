"""Files written whole or not at all, and outputs refused before any work is done;
nothing heavy is imported.
"""

from __future__ import annotations

import os
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
    try:
        is_folder = path.is_dir()
    except OSError as problem:  # a name that is too long
        raise InputError(
            f"the output {str(path)!r} cannot be written to "
            f"({problem.strerror}); choose another name"
        ) from None
    if is_folder:
        raise InputError(f"the output {str(path)!r} is a folder; add a file name")
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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
