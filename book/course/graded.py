"""A graded exercise: a sibling of one in the book, with numbers, layers and
pictures of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Graded:
    """One exercise of an assignment, as drawn for one course. Code
    imports what it needs.

    A coding exercise has a starter, a solution and tests; a written one a rubric
    and a model answer.
    """

    name: str  # letters, digits and dashes; unique in the course
    title: str
    points: int
    statement: str  # Markdown, with the drawn parameters written into it
    starter: str = ""  # what the student begins with
    solution: str = ""  # what replaces the starter
    visible: str = ""  # asserts that the student sees and runs, with messages that help
    hidden: str = ""  # asserts that only grading runs
    # wrong solutions, on each of which the hidden tests must fail
    wrong: tuple[str, ...] = ()
    rubric: str = ""  # how a written answer is graded by hand
    answer: str = ""  # the model answer of a written one

    def __post_init__(self) -> None:
        """Refuse what could not be released or graded."""
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", self.name):
            raise ValueError(
                f"the name {self.name!r} of a graded exercise takes letters, "
                "digits and dashes only"
            )
        if self.points < 1:
            raise ValueError(
                f"{self.name} is worth {self.points} points; it needs at least 1"
            )
        code = {
            "starter": self.starter,
            "solution": self.solution,
            "hidden": self.hidden,
        }
        text = {"rubric": self.rubric, "answer": self.answer}
        wanted, other = (
            (text, {**code, "visible": self.visible}) if self.written else (code, text)
        )
        if missing := [part for part, value in wanted.items() if not value.strip()]:
            raise ValueError(f"{self.name} lacks its {' and '.join(missing)}")
        if spare := [part for part, value in other.items() if value.strip()]:
            raise ValueError(
                f"{self.name} is a {'written' if self.written else 'coding'} "
                f"exercise with {spare}"
            )
        if not self.written and len(self.wrong) < 2:
            raise ValueError(
                f"{self.name} needs at least two wrong solutions, to "
                "try the hidden tests on"
            )

    @property
    def written(self) -> bool:
        """Whether a person grades it."""
        return bool(self.rubric or self.answer)
