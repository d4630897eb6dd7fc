"""Grades as learning platforms take them: Canvas and Moodle as CSV,
Gradescope as JSON.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from .reports import file_name, sums, table, write_whole

# Canvas names files NAME_USER_..., Moodle folders "First
# Last_PARTICIPANT_assignsubmission_...".
_CANVAS = re.compile(r"(?P<name>.+)_(?P<number>\d+)")
_MOODLE = re.compile(r"(?P<name>.+)_(?P<number>\d+)_assignsubmission_\w+")
_STATUS = {"right": "passed", "by hand": "passed"}


def export_all(done: list[dict], results: Path) -> None:
    """Write results/canvas.csv, moodle-ASSIGNMENT.csv and
    gradescope/ASSIGNMENT/*.json.
    """
    write_whole(results / "canvas.csv", canvas(done))
    for assignment in sorted({one["assignment"] for one in done}):
        mine = [one for one in done if one["assignment"] == assignment]
        write_whole(results / f"moodle-{assignment}.csv", moodle(mine))
        for one in mine:
            place = (
                results / "gradescope" / assignment / file_name(one["student"], ".json")
            )
            write_whole(place, json.dumps(gradescope(one), indent=1))


def who(student: str) -> tuple[str, str]:
    """A student's name and number on the platform that the file came
    from; "": unknown.
    """
    found = _MOODLE.fullmatch(student) or _CANVAS.fullmatch(student)
    return (found["name"], found["number"]) if found else (student, "")


def canvas(done: list[dict]) -> str:
    """The gradebook that Canvas imports: one row a student, one
    column an assignment.
    """
    assignments = sorted({one["assignment"] for one in done})
    points: dict[str, dict[str, str]] = {}
    possible: dict[str, int] = {}
    for one in done:
        earned, of, _ = sums(one)
        points.setdefault(one["student"], {})[one["assignment"]] = f"{earned:g}"
        possible[one["assignment"]] = of
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *assignments]
    rows: list[list] = [
        ["    Points Possible", *[""] * 4, *(possible[a] for a in assignments)]
    ]
    for student in sorted(points):
        name, number = who(student)
        grades = [points[student].get(assignment, "") for assignment in assignments]
        rows.append([name, number, "", "", "", *grades])
    return table(head, rows)


def moodle(done: list[dict]) -> str:
    """The offline grading worksheet of one assignment in Moodle."""
    head = ["Identifier", "Full name", "Grade", "Maximum Grade", "Feedback comments"]
    rows = []
    for one in done:
        name, number = who(one["student"])
        earned, of, _ = sums(one)
        comments = "; ".join(
            f"{part['title']}: {part['points']:g} of {part['of']}"
            + (f", {part['message']}" if part["message"] else "")
            for part in one["exercises"]
        )
        identifier = f"Participant {number}" if number else ""
        rows.append([identifier, name, f"{earned:g}", of, comments])
    return table(head, rows)


def gradescope(one: dict) -> dict:
    """One submission's results.json, as Gradescope's autograder reads it."""
    tests = [
        {
            "name": part["title"],
            "score": part["points"],
            "max_score": part["of"],
            "status": _STATUS.get(part["verdict"], "failed"),
            "output": part["message"],
            "visibility": "visible",
        }
        for part in one["exercises"]
    ]
    return {
        "score": sums(one)[0],
        "execution_time": round(one["seconds"]),
        "output": one["remark"].partition("look at it: ")[0].rstrip("; "),
        "visibility": "visible",
        "tests": tests,
    }
