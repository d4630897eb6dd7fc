"""Points that a person gives for written answers, in a table that students
cannot fill in unseen.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
from pathlib import Path

from .assignments import CourseError
from .integrity import is_untouched, signed
from .reports import say, table, write_whole

BY_HAND = "by_hand.csv"
HEAD = ("student", "assignment", "exercise", "of", "points", "comment")
Entries = dict[tuple[str, str, str], tuple[str, str]]


def content_of(path: Path) -> bytes | None:
    """A file's bytes; None where there is none."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def points_by_hand(
    done: list[dict], results: Path, before: bytes | None, secret: bytes
) -> Entries:
    """The points in by_hand.csv as it was before any student's code ran.

    What is new since the last grading is told, so that nobody enters points unseen.

    Raises:
        CourseError: an entry that is no number, or is out of range.
    """
    path = results / BY_HAND
    now = content_of(path)
    if now != before:
        aside = path.with_name("by_hand.changed.csv")
        aside.write_bytes(now or b"")
        say(f"{BY_HAND} was changed while students' code ran: see {aside.name}")
        if before is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(before)
    entries = _entries(done, path)
    given = {"/".join(key): one[0] for key, one in entries.items() if one[0]}
    log = results / "results" / "by_hand.json"
    known: dict = {}
    with contextlib.suppress(OSError, ValueError):
        record = json.loads(log.read_text(encoding="utf-8"))
        known = record["points"] if is_untouched(record, secret) else {}
    fresh = [
        f"{key}: {value}" for key, value in given.items() if known.get(key) != value
    ]
    if fresh:
        say(f"new points by hand: {', '.join(fresh)}")
    record = signed({"points": given}, secret)
    if given != known:
        write_whole(log, json.dumps(record, indent=1))
    return entries


def _entries(
    done: list[dict], path: Path
) -> dict[tuple[str, str, str], tuple[str, str]]:
    """Points entered by a person. The file is extended by what now waits, and
    nothing entered is lost.

    Raises:
        CourseError: an entry that is no number, or is out of range.
    """
    rows: dict[tuple[str, str, str], list[str]] = {}
    if path.exists():
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            # as some spreadsheets save it
            separator = ";" if first.count(";") > first.count(",") else ","
            for row in csv.reader(file, delimiter=separator):
                if any(row):
                    cells = [
                        re.sub(r"^'(?=[=+@-])", "", cell) for cell in [*row, *[""] * 6]
                    ]
                    student, assignment, exercise, of, points, comment = cells[:6]
                    rows[student, assignment, exercise] = [
                        of,
                        points.strip().replace(",", "."),
                        comment,
                    ]
    for (student, _, exercise), (of, points, _comment) in rows.items():
        if points and not (
            re.fullmatch(r"\d+(?:\.\d+)?", points)
            and float(points) <= float(of or "inf")
        ):
            raise CourseError(
                f"{path.name}: {points!r} points for {student}, {exercise}; enter a "
                f"number from 0 to {of}"
            )
    before = dict(rows)
    for result in done:
        for one in result["exercises"]:
            if one["verdict"] == "waits":
                key = result["student"], result["assignment"], one["name"]
                rows.setdefault(key, [str(one["of"]), "", ""])
    if rows != before:
        write_whole(
            path,
            table(list(HEAD), [[*key, *rest] for key, rest in sorted(rows.items())]),
        )
    return {key: (points, comment) for key, (_, points, comment) in rows.items()}
