"""Files written whole or not at all, outputs refused before any work is done, and
folders that one process has to itself; nothing heavy is imported.
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None

# those that are written; `formats.endings` are those that are read
PICTURE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif"),
    *(".tif", ".tiff", ".bmp"),
)
LARGEST_SIDE = {".webp": 16_383, ".gif": 65_535, ".avif": 65_535}
LARGEST_SIDE |= dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), 65_500)
"""Pixels along a side that a format, or Pillow's encoder of it, holds at most."""
_BESIDE = ".pltutorial-"  # begins the name of a file that is not complete yet
_LOCK = ".lock"
# Locks of this process. A forked child gives up its copies, or a folder would stay
# locked by workers that outlive their run.
_locks: set[BinaryIO] = set()


# --- what is there --------------------------------------------------------------------


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
    if not os.fspath(path):  # as of a variable that is not set; Path makes it "."
        return "is an empty name"
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except (OSError, ValueError) as problem:  # a name too long, a zero byte, a loop
        return f"cannot be opened ({getattr(problem, 'strerror', None) or problem})"
    return _KINDS.get(stat.S_IFMT(mode), "")


def is_path(name: str) -> bool:
    """Whether a word is a path by its form: it has an ending or a slash."""
    return bool(Path(name).suffix) or "/" in name or "\\" in name


def exists(path: str | os.PathLike) -> bool:
    """Whether something is there.

    Raises:
        InputError: nobody can say: the name is too long, or the path leads through a
            folder that may not be entered. ``Path.exists`` raises OSError there.
    """
    fault = no_file(path)
    if fault.startswith("cannot"):
        raise InputError(
            f"{str(path)!r} {fault}; give another path, or change the permissions of "
            "its folder"
        )
    return fault != "does not exist"


def is_file(path: str | os.PathLike) -> bool:
    """Whether an ordinary file is there; see :func:`exists`."""
    return exists(path) and not no_file(path)


def is_folder(path: str | os.PathLike) -> bool:
    """Whether a folder is there; see :func:`exists`."""
    return exists(path) and no_file(path) == "is a folder"


def printable(text: str) -> str:
    """The text with bytes that are no UTF-8, as names of files may have them,
    written out: for files and programs that take UTF-8 alone.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@contextlib.contextmanager
def utf8_name(path: str | os.PathLike) -> Iterator[str | os.PathLike]:
    """The path, or, where its bytes are no UTF-8, a link to it with another name: for
    libraries that open no such file.
    """
    if printable(os.fspath(path)) == os.fspath(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, "link" + printable(Path(path).suffix))
        link.symlink_to(Path(path).absolute())
        yield link


# --- writing --------------------------------------------------------------------------


def write_whole(path: str | os.PathLike, fill: Callable[[BinaryIO], object]) -> Path:
    """Write a file whole or not at all: ``fill`` writes it beside its place, then it is
    flushed and renamed.

    Raises:
        InputError: the folder is missing or read-only, or the disk is full;
            what was there stays.
    """
    path = Path(path)
    try:
        with _beside(path.parent) as (handle, beside):
            with os.fdopen(handle, "wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
                if fcntl is not None:  # while it is locked, nobody sweeps it away
                    beside.replace(path)
            if fcntl is None:  # Windows renames no open file
                beside.replace(path)
    except OSError as problem:
        raise InputError(
            f"{str(path)!r} could not be written ({problem.strerror or problem}); "
            "free space or choose another folder, nothing that was there is lost"
        ) from None
    return path


def check_output(
    path: str | os.PathLike,
    inputs: tuple[str | os.PathLike, ...] = (),
    endings: tuple[str, ...] = PICTURE_ENDINGS,
) -> Path:
    """Refuse an output path that cannot be written or that is an input,
    before any work is done; what killed processes left in its folder is swept away.
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
    if not is_folder(path.parent):
        raise InputError(
            f"the output folder {str(path.parent)!r} does not exist; make "
            "it, or choose another"
        )
    for given in inputs:
        if exists(given) and exists(path) and path.samefile(given):
            raise InputError(
                f"the output {str(path)!r} is also an input; choose another name so "
                "that nothing is lost"
            )
    if exists(path) and not (path.stat().st_mode & 0o222 and os.access(path, os.W_OK)):
        raise InputError(
            f"the output {str(path)!r} is write-protected; choose another name, or "
            "make it writable"
        )
    sweep(path.parent)
    try:  # a real write: permission bits say nothing to root, nor on a read-only mount
        with _beside(path.parent) as (handle, _):
            os.close(handle)
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


@contextlib.contextmanager
def _beside(folder: Path) -> Iterator[tuple[int, Path]]:
    """A new file with a short name of its own, locked so that nobody sweeps it away,
    and gone after the block if it was not renamed.
    """
    how = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        path = folder / f"{_BESIDE}{secrets.token_hex(4)}"
        try:  # from here on, so that no Ctrl-C leaves it there
            handle = os.open(path, how, 0o666)
            if _lock(handle) is not False and path.exists():
                yield handle, path
                return
            os.close(handle)  # swept away before it was locked
        finally:
            path.unlink(missing_ok=True)


def sweep(folder: str | os.PathLike) -> None:
    """Remove unfinished files of processes that were killed.

    A living process holds a lock on each of its own, which the kernel gives up when it
    dies, however it dies. Where there are no such locks, a day's age decides.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            ours = entry.name.startswith(_BESIDE)
            if ours and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_if_left(Path(entry.path))


def _remove_if_left(path: Path) -> None:
    is_old = time.time() - path.stat().st_mtime > 24 * 3600
    if fcntl is None:
        if is_old:
            path.unlink()
        return
    with path.open("rb") as file:
        is_free = _lock(file.fileno())
        if is_free or (is_free is None and is_old):
            path.unlink()


# --- one process alone ----------------------------------------------------------------


@contextlib.contextmanager
def held(folder: str | os.PathLike) -> Iterator[None]:
    """Have a folder to this process alone, and swept, while the block lasts.

    The kernel gives the folder free when its owner dies, however it dies.

    Raises:
        InputError: another process has it, which the sentence names.
        OSError: the folder cannot be written to.
    """
    path = Path(folder) / _LOCK
    file = _open_lock(path)
    _locks.add(file)
    try:
        with contextlib.suppress(OSError):  # on a full disk
            file.truncate(0)
            file.write(f"{os.getpid()} {platform.node()}\n".encode())
        sweep(folder)
        yield
    finally:
        _locks.discard(file)
        if not file.closed:  # as in a forked child
            with contextlib.suppress(OSError):  # Windows removes no open file
                path.unlink()
            file.close()


def _open_lock(path: Path) -> BinaryIO:
    while True:
        file = path.open("a+b", buffering=0)
        if _lock(file.fileno()) is False:
            with file:
                file.seek(0)
                pid, _, host = file.read(300).decode(errors="replace").partition(" ")
            owner = f"process {pid} on {host.strip()}" if host else "another process"
            raise InputError(
                f"the folder {str(path.parent)!r} is in use by {owner}; wait until it "
                "has ended, or choose another folder"
            )
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # its owner ended, and removed it, meanwhile


def _lock(handle: int) -> bool | None:
    """Lock an open file for this process: True; or False where another process has
    it, and None where there are no locks, as on some network drives.
    """
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(handle, 1 << 20, os.SEEK_SET)  # what is locked cannot be read
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _give_up_copies() -> None:
    for file in _locks:
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_give_up_copies)
