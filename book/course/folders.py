"""Folders that the course makes anew; nothing of anybody else's is removed for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


class CourseError(Exception):
    """What a lecturer can mend, in one sentence."""


def check_clear(folder: Path, *made: str) -> None:
    """Refuse to make a folder anew that holds something else.

    Args:
        folder: it may be missing or empty.
        made: patterns of names; each is there where the course made the folder.

    Raises:
        CourseError: it is a file, a link, or none of the course's folders.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or folder.is_symlink():
        raise CourseError(f"{str(folder)!r} is no folder; give another place with --to")
    if any(folder.iterdir()) and not all(any(folder.glob(name)) for name in made):
        raise CourseError(
            f"{str(folder)!r} would be made anew, and it holds something else than the "
            "course makes there; give another place with --to, or empty it yourself"
        )


def clear(folder: Path, *made: str) -> None:
    """Remove a folder that is made anew, see :func:`check_clear`."""
    check_clear(folder, *made)
    shutil.rmtree(folder, ignore_errors=True)
