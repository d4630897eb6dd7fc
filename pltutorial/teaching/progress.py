"""The reader's own record of the exercises she tried: a small SQLite file in her data
folder, sent nowhere.

PLTUTORIAL_PROGRESS names another file, or is `off`; runs of the book
(PLTUTORIAL_STATIC=1) record nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..errors import InputError
from ..files import no_file

_WAIT = 5.0  # seconds that one kernel waits while another writes
_COLUMNS = "time TEXT, chapter INTEGER, label TEXT, check_name TEXT, solved INTEGER"
_complained: set[str] = set()


@dataclass(frozen=True)
class Mastery:
    """What the record holds of one exercise: tries in all, and the day it was first
    solved ("" if never).
    """

    chapter: int
    label: str
    check: str
    tries: int = 0
    solved: str = ""


_BEGINS = b"SQLite format 3\0"


def location() -> Path | None:
    """The file of the record, or None where nothing is recorded."""
    wish = os.environ.get("PLTUTORIAL_PROGRESS", "")
    off = ("off", "0", "no", os.devnull)
    if wish.lower() in off or os.environ.get("PLTUTORIAL_STATIC") == "1":
        return None
    return Path(wish).expanduser() if wish else data_folder() / "progress.sqlite"


def check_location() -> Path | None:
    """:func:`location`, where a record can be.

    Raises:
        InputError: it is a pipe, a device, a folder, a file of another kind, or of a
            user that is not there.
    """
    try:
        path = location()
        fault = "" if path is None else no_file(path) or _another(path)
    except RuntimeError as problem:  # ~nobody/progress.sqlite
        path, fault = os.environ.get("PLTUTORIAL_PROGRESS"), str(problem).lower()
    if fault not in ("", "does not exist"):
        raise InputError(
            f"{str(path)!r} is no record ({fault}); name a file with "
            "PLTUTORIAL_PROGRESS, or say off"
        )
    return path


def _another(path: Path) -> str:
    """What is wrong with an ordinary file that nobody took for a record. One whose
    ending is a database's may be a damaged record, which is set aside.
    """
    if path.suffix.lower() in (".sqlite", ".sqlite3", ".db"):
        return ""
    try:
        with path.open("rb") as file:
            start = file.read(len(_BEGINS))
    except OSError as problem:
        return f"cannot be opened ({problem.strerror})"
    return "" if start in (b"", _BEGINS) else "is a file of another kind"


def data_folder() -> Path:
    """Where programs keep a user's data on this system, with a folder of our own."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "pltutorial"


def record(chapter: int, label: str, check: str, solved: bool) -> None:
    """Note one try of an exercise. It never raises: where nothing can be written,
    that is said once.
    """
    row = (
        datetime.now().isoformat(timespec="seconds"),
        chapter,
        label,
        check,
        int(solved),
    )
    try:
        path = check_location()
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with _opened(path) as base:
            base.execute("INSERT INTO tries VALUES (?, ?, ?, ?, ?)", row)
    except (OSError, RuntimeError, InputError, sqlite3.Error) as problem:
        # RuntimeError: no home folder
        if str(problem) not in _complained:
            _complained.add(str(problem))
            print(
                f"(This try was not recorded: {problem}. PLTUTORIAL_PROGRESS=off "
                "switches the record off.)"
            )


def read() -> list[Mastery]:
    """The record, one row for each exercise that was tried, in the book's order.

    Raises:
        InputError: where the file cannot be read.
    """
    path = check_location()
    if path is None or not path.exists():
        return []
    try:
        with _opened(path) as base:
            rows = base.execute(
                "SELECT chapter, label, check_name, COUNT(*), MIN(CASE WHEN solved "
                "THEN time END) FROM tries GROUP BY chapter, label, check_name ORDER "
                "BY chapter, MIN(rowid)"
            ).fetchall()
    except (OSError, sqlite3.Error) as problem:
        raise InputError(
            f"the record {str(path)!r} cannot be read ({problem}); close what uses "
            "it, or name another with PLTUTORIAL_PROGRESS"
        ) from None
    return [
        Mastery(chapter, label, check, tries, (first or "")[:10])
        for chapter, label, check, tries, first in rows
    ]


_EXPORTED = "pltutorial answers"
_MOST = 20_000  # tries in a file; a reader of the whole book makes some hundreds
_LABEL = re.compile(r"[a-z0-9][a-z0-9.-]{0,79}")


def take_in(path: str | os.PathLike) -> tuple[int, int]:
    """Add the tries of a file that a chapter's page on the site exported. What the
    record has already is not added again.

    Args:
        path: the file, JSON.

    Returns:
        how many tries the file holds, and how many of them are new.

    Raises:
        InputError: the file cannot be read or is another one, nothing is recorded
            here, or the record cannot be written.
    """
    rows = _exported(path)
    record = check_location()
    if record is None:
        raise InputError(
            "nothing is recorded, because PLTUTORIAL_PROGRESS=off or "
            "PLTUTORIAL_STATIC=1 is set; unset it to import"
        )
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        with _opened(record) as base:
            had = set(base.execute("SELECT * FROM tries"))
            new = [row for row in dict.fromkeys(rows) if row not in had]
            base.executemany("INSERT INTO tries VALUES (?, ?, ?, ?, ?)", new)
    except (OSError, sqlite3.Error) as problem:
        raise InputError(
            f"the record {str(record)!r} cannot be written ({problem}); close what "
            "uses it, or name another with PLTUTORIAL_PROGRESS"
        ) from None
    return len(rows), len(new)


def _exported(path: str | os.PathLike) -> list[tuple[str, int, str, str, int]]:
    """The tries of an exported file, as rows of the record."""
    if fault := no_file(path):
        raise InputError(
            f"the file {str(path)!r} {fault}; give one that Export below a chapter's "
            "questions wrote"
        )
    try:
        held = json.loads(Path(path).read_text(encoding="utf-8"))
        tries = held["tries"] if held["what"] == _EXPORTED else None
        if len(tries) > _MOST:
            raise ValueError(len(tries))
        rows = [_row(one) for one in tries]
    except OSError as problem:
        raise InputError(
            f"the file {str(path)!r} cannot be read ({problem.strerror}); give another"
        ) from None
    except (ValueError, TypeError, LookupError, RecursionError):
        raise InputError(
            f"the file {str(path)!r} is not one that a chapter's page wrote; give the "
            "file that Export below its questions saves"
        ) from None
    return rows


def _row(one: dict) -> tuple[str, int, str, str, int]:
    """One try of an exported file, checked."""
    label, chapter, time = one["label"], one["chapter"], one["time"]
    day = datetime.fromisoformat(time)
    if type(chapter) is not int or not 1 <= chapter <= 99 or day.tzinfo is not None:
        raise ValueError(one)
    if type(one["solved"]) is not bool or not _LABEL.fullmatch(label):
        raise ValueError(one)
    written = day.isoformat(timespec="seconds")
    return written, chapter, label, f"page:{label}", int(one["solved"])


def reset() -> Path | None:
    """Begin a new record and return where the old one is kept, or
    None if there is none.

    Raises:
        InputError: where the file cannot be moved.
    """
    path = check_location()
    if path is None or not path.exists():
        return None
    try:
        return _set_aside(path, "until")
    except OSError as problem:
        raise InputError(
            f"the record {str(path)!r} cannot be moved ({problem.strerror}); close "
            "the notebooks that use it"
        ) from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The record within one transaction, committed at the end; a broken file is set
    aside first, and that is said.
    """
    # looked at twice: another kernel may mend it
    if path.exists() and not _sound(path) and not _sound(path):
        aside = _set_aside(path, "broken")
        print(
            f"(The record of your progress was damaged; it is kept as {aside}, "
            "and a new one begins.)"
        )
    with contextlib.closing(_connect(path)) as base, base:
        base.execute("BEGIN IMMEDIATE")
        base.execute(f"CREATE TABLE IF NOT EXISTS tries ({_COLUMNS})")
        yield base


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_WAIT, isolation_level=None)


def _sound(path: Path) -> bool:
    """Whether the file is a record: damaged means wrong bytes, not a file that is
    locked or forbidden.
    """
    try:
        with contextlib.closing(_connect(path)) as base:
            columns = [row[1] for row in base.execute("PRAGMA table_info(tries)")]
            intact = base.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
    except (sqlite3.OperationalError, OSError):
        return True
    except sqlite3.DatabaseError:
        return False
    return intact and columns in (
        [],
        [column.split()[0] for column in _COLUMNS.split(", ")],
    )


def _set_aside(path: Path, why: str) -> Path:
    """Move the file beside itself under a free name."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    names = [
        f"{path.stem}-{why}-{stamp}{number}{path.suffix}" for number in ("", *"bcdefgh")
    ]
    aside = next(
        path.with_name(name) for name in names if not path.with_name(name).exists()
    )
    with contextlib.suppress(FileNotFoundError):  # another kernel was first
        path.rename(aside)
    return aside
