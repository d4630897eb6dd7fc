"""The graded exercises of an assignment, read from the instructor's notebook."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .assignments import CourseError

_HIDDEN = re.compile(
    r"^### BEGIN HIDDEN TESTS\n(.*?)^### END HIDDEN TESTS", re.M | re.S
)
_SOLUTION = re.compile(r"^### BEGIN SOLUTION\n(.*?)^### END SOLUTION", re.M | re.S)


@dataclass(frozen=True)
class Task:
    """One graded exercise of an assignment, as its source notebook holds it."""

    name: str
    title: str
    points: int
    starter: str = ""
    visible: str = ""
    hidden: str = ""
    rubric: str = ""

    @property
    def written(self) -> bool:
        """Whether a person grades it."""
        return bool(self.rubric)


def tasks_of(source: NotebookNode) -> list[Task]:
    """The exercises of an assignment, from the instructor's notebook."""
    found: dict[str, dict] = {}
    heading = ""
    for cell in source.cells:
        marks = cell.metadata.get("nbgrader")
        if marks is None:
            first = re.search(r"^## (.*?)(?: \(\d+ points?\))?$", cell.source, re.M)
            heading = first[1] if first else heading
        elif cell.cell_type == "markdown":
            answer = _SOLUTION.search(cell.source)[1]
            rubric = answer.partition("**Rubric**")[2].strip() or answer
            found[marks.grade_id] = {
                "title": heading,
                "points": marks.points,
                "rubric": rubric,
            }
        elif marks.solution:
            found[marks.grade_id] = {
                "title": heading,
                "starter": _SOLUTION.sub("", cell.source).strip(),
            }
        else:
            tests = {
                "visible": _HIDDEN.sub("", cell.source).strip(),
                "hidden": _HIDDEN.search(cell.source)[1],
            }
            found[marks.grade_id.removesuffix("-tests")].update(
                points=marks.points, **tests
            )
    return [Task(name=name, **parts) for name, parts in found.items()]


def load_tasks(course: Path) -> dict[str, list[Task]]:
    """The exercises of all assignments that were made in this course folder.

    Raises:
        CourseError: none were made there.
    """
    paths = sorted((course / "source").glob("*/*.ipynb"))
    if not paths:
        raise CourseError(
            f"there are no assignments in {str(course)!r}; run `make assignments "
            "SEED=...` first, with the seed of the course"
        )
    return {path.stem: tasks_of(nbformat.read(path, as_version=4)) for path in paths}
