"""The commands of a class: ``pltutorial doctor`` and ``pltutorial progress``."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import Annotated

import typer

from ..errors import InputError, on_a_line
from ..files import exists


def doctor() -> None:
    """Say whether this machine is ready for the book, and how to mend what is not;
    exit 1 if it is not.
    """
    from .doctor import examine

    states = []
    for finding in examine():
        print(finding, flush=True)
        states.append(finding.state)
    if "fix" in states:
        lines = (
            "the line that begins"
            if states.count("fix") == 1
            else "the lines that begin"
        )
        print(
            f"error: not ready; mend {lines} with fix, then run this again",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    print("Ready." if "warn" not in states else "Ready, with the warnings above.")


def progress(
    reset: Annotated[
        bool, typer.Option("--reset", help="Begin a new record; the old file is kept.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before a reset.")
    ] = False,
    answers: Annotated[
        str | None,
        typer.Option(
            "--import",
            metavar="FILE",
            help="Take in what a chapter's page on the site exported.",
        ),
    ] = None,
) -> None:
    """Show which exercises you have tried and solved; the record
    stays on this machine.
    """
    from ..teaching.progress import check_location, read, take_in
    from ..teaching.progress import reset as begin_anew

    path = check_location()
    if path is None:
        raise InputError(
            "your progress is not recorded, because PLTUTORIAL_PROGRESS=off or "
            "PLTUTORIAL_STATIC=1 is set; unset it to record"
        )
    if answers is not None and reset:
        raise InputError(
            "--import adds to the record and --reset begins a new one; give one of them"
        )
    if answers is not None:
        tries, new = take_in(answers)
        print(f"{tries} tries were read from {on_a_line(answers)}, {new} of them new.")
    if reset:
        if not exists(path):
            print(f"There is no record at {on_a_line(path)} yet.")
            return
        if not yes and not _agreed(len(read())):
            print("Nothing was changed.")
            return
        print(f"A new record begins; the old one is kept as {on_a_line(begin_anew())}.")
        return
    rows = _with_untried(read())
    width = max(len(row.label) for row in rows)
    print(f"chapter  {'exercise':<{width}}  tries  solved")
    for chapter, exercises in groupby(rows, key=lambda row: row.chapter):
        for number, row in enumerate(exercises):
            first = str(chapter) if number == 0 else ""
            print(
                f"{first:>7}  {row.label:<{width}}  {row.tries or '-':>5}  "
                f"{row.solved or '-'}"
            )
    solved = sum(bool(row.solved) for row in rows)
    record = on_a_line(path)
    print(f"{solved} of {len(rows)} checked exercises solved; the record is {record}")


def _agreed(exercises: int) -> bool:
    if not sys.stdin or not sys.stdin.isatty():
        raise InputError(
            "--reset asks before it begins a new record, and nobody can "
            "answer here; add --yes"
        )
    return typer.confirm(
        f"Put the record of {exercises} exercises aside and begin a new one?"
    )


def _with_untried(tried: list) -> list:
    """The record with the exercises that were never tried, in the book's order."""
    from ..teaching.progress import Mastery

    try:
        from ..teaching.exercises.verdicts import EXERCISES
    except ImportError:  # without torch only what was tried can be shown
        return tried or [Mastery(1, "nothing tried yet", "")]
    known = {one.check: one for one in tried}
    rows = [
        known.pop(name, None) or Mastery(exercise.chapter, exercise.label, name)
        for name, exercise in EXERCISES.items()
    ]
    return sorted([*rows, *known.values()], key=lambda row: row.chapter)
