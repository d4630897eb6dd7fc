"""What grading writes: tables, a page of feedback for each student, and the written
answers for whoever grades them.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import html
import io
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .submissions import Leftover
    from .tasks import Task


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(text.encode("utf-8", "backslashreplace"))
    beside.replace(path)


def file_name(student: str, ending: str) -> str:
    """A file's name for a student of any name: short, and allowed everywhere."""
    plain = re.sub(r"[^\w .()@+-]", "_", student).rstrip(". ")[:80]
    if plain != student or len(plain.encode()) > 200:
        mark = hashlib.sha256(student.encode("utf-8", "backslashreplace")).hexdigest()
        plain = f"{plain.encode()[:150].decode('utf-8', 'ignore')}-{mark[:8]}"
    return plain + ending


def say(text: str) -> None:
    """Print a line, whatever is in it and whatever the terminal can show."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    with contextlib.suppress(OSError, ValueError):
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def sums(result: dict) -> tuple[float, int, int]:
    """Points earned, points there are, and points that still wait for a person."""
    exercises = result["exercises"]
    waiting = sum(one["of"] for one in exercises if one["verdict"] == "waits")
    return (
        sum(one["points"] for one in exercises),
        sum(one["of"] for one in exercises),
        waiting,
    )


def export(
    done: list[dict],
    tasks: dict[str, list[Task]],
    results: Path,
    by_hand: dict[tuple[str, str, str], tuple[str, str]],
) -> None:
    """Write the tables, the feedback and the written answers, with
    points given by hand.
    """
    for result in done:
        for one in result["exercises"]:
            points, comment = by_hand.get(
                (result["student"], result["assignment"], one["name"]), ("", "")
            )
            if one["by_hand"] and points != "":
                one.update(points=float(points), verdict="by hand", message=comment)
    rows, details = [], []
    for result in done:
        earned, of, waiting = sums(result)
        start = [result["student"], result["assignment"]]
        rows.append(
            [
                *start,
                f"{earned:g}",
                of,
                waiting,
                result["remark"],
                result.get("look", ""),
                result["seconds"],
            ]
        )
        for one in result["exercises"]:
            details.append(
                [
                    *start,
                    one["name"],
                    f"{one['points']:g}",
                    one["of"],
                    one["verdict"],
                    one["message"],
                ]
            )
        path = (
            results
            / "feedback"
            / result["assignment"]
            / file_name(result["student"], ".html")
        )
        write_whole(path, feedback(result))
    head = [
        "student",
        "assignment",
        "points",
        "of",
        "waiting for a person",
        "remark",
        "look at it",
        "seconds",
    ]
    write_whole(results / "grades.csv", table(head, rows))
    head = ["student", "assignment", "exercise", "points", "of", "verdict", "message"]
    write_whole(results / "exercises.csv", table(head, details))
    write_whole(results / "written.html", _written(done, tasks))


def export_leftovers(left: list[Leftover], results: Path) -> None:
    """Name each file that no grade comes from: the first ones on the
    screen, all in a table.
    """
    rows = [[one.file, one.why] for one in left]
    write_whole(results / "not_graded.csv", table(["file", "why"], rows))
    for file, why in rows[:20]:
        say(f"not graded: {file} ({why})")
    if len(rows) > 20:
        say(f"and {len(rows) - 20} more; see not_graded.csv")


def table(head: list[str], rows: list[list]) -> str:
    """Rows as CSV, with no cell that a spreadsheet would take for a formula."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [head, *([_harmless(cell) for cell in row] for row in rows)]
    )
    return text.getvalue()


def _harmless(cell):
    """Text that a spreadsheet does not take for a formula."""
    return (
        f"'{cell}"
        if isinstance(cell, str) and cell.startswith(("=", "+", "@", "-"))
        else cell
    )


STYLE = """<style>body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem \
auto;
padding:0 1rem;color:#222;background:#fff}
pre{background:#f4f4f4;padding:.7rem;overflow-x:auto;white-space:pre-wrap}
h2{margin-top:2rem;font-size:1.1rem}
.right{color:#116329}.wrong,.stopped,.missing{color:#a40e26}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}
pre{background:#2a2a2a}.right{color:#7ee787}
.wrong,.stopped,.missing{color:#ff9492}}</style>"""
WORDS = {
    "right": "Right.",
    "wrong": "Not right yet.",
    "stopped": "It ran too long.",
    "untouched": "Not answered.",
    "missing": "Missing.",
    "empty": "Not answered.",
    "waits": "Will be graded by a person.",
    "by hand": "Graded by a person.",
}


def _page(title: str, parts: Iterable[str]) -> str:
    head = (
        "<!doctype html>\n"
        '<html lang="en"><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width">'
    )
    return (
        (
            f"{head}<title>{html.escape(title)}</title>{STYLE}\n"
            f"<h1>{html.escape(title)}</h1>\n"
        )
        + "\n".join(parts)
        + "\n"
    )


def feedback(result: dict) -> str:
    """One student's page: points, verdict and the message that helps, for each
    exercise; it loads nothing.
    """
    earned, of, waiting = sums(result)
    later = f", {waiting} more to be graded by a person" if waiting else ""
    parts = [f"<p><strong>{earned:g} of {of} points</strong>{later}.</p>"]
    if result["remark"]:
        parts.append(f"<p>{html.escape(result['remark'])}</p>")
    for one in result["exercises"]:
        parts.append(
            f"<h2>{html.escape(one['title'])}: {one['points']:g} of {one['of']}</h2>"
        )
        message = f" {html.escape(one['message'])}" if one["message"] else ""
        parts.append(
            "<p><span "
            f'class="{one["verdict"]}">{WORDS[one["verdict"]]}</span>{message}</p>'
        )
        if one.get("answer"):
            parts.append(f"<pre>{html.escape(one['answer'])}</pre>")
    return _page(f"{result['assignment']}: {result['student']}", parts)


def _written(done: list[dict], tasks: dict[str, list[Task]]) -> str:
    """All written answers, exercise by exercise with its rubric, for
    whoever grades them.
    """
    parts = [
        "<p>Enter points and comments in by_hand.csv, then run the grading again.</p>"
    ]
    for assignment, known in tasks.items():
        for task in known:
            answers = [
                (result["student"], one["answer"])
                for result in done
                for one in result["exercises"]
                if result["assignment"] == assignment
                and one["name"] == task.name
                and one["verdict"] in ("waits", "by hand")
            ]
            if task.written and answers:
                parts.append(
                    f"<h2>{assignment}, {html.escape(task.title)} "
                    f"({task.points} points)</h2>"
                )
                parts.append(f"<pre>{html.escape(task.rubric)}</pre>")
                parts += [
                    f"<h3>{html.escape(name)}</h3><pre>{html.escape(text)}</pre>"
                    for name, text in answers
                ]
    return _page("Written answers", parts)
