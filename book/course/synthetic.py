"""A class made by script: submissions in every state that a lecturer meets, and the
points that each must get.
"""

from __future__ import annotations

import ast
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from .graded import Graded

TAIL_LOOP = """    while True:
        try:
            while True:
                pass
        except Exception:
            pass
"""


def make_class(
    release: Path,
    assignments: dict[str, list[Graded]],
    target: Path,
    count: int,
    seed: str = "class",
) -> dict[tuple[str, str], int]:
    """Write count students' submissions of all assignments under the target folder.

    Returns the points that tests must give to each student and assignment.
    """
    draw = random.Random(seed)
    expected = {}
    makers = list(KINDS.items())
    for number in range(count):
        kind, maker = makers[number % len(makers)]
        student = f"{number + 1:02d}-{kind}"
        for assignment, exercises in assignments.items():
            notebook = nbformat.read(
                release / assignment / f"{assignment}.ipynb", as_version=4
            )
            folder = target / student
            folder.mkdir(parents=True, exist_ok=True)
            earned = maker(notebook, exercises, folder, assignment, draw)
            expected[student, assignment] = sum(
                one.points for one in exercises if one.name in earned
            )
    return expected


def _code(exercises: list[Graded]) -> list[Graded]:
    return [one for one in exercises if not one.written]


def _cell(notebook: NotebookNode, name: str) -> NotebookNode:
    return next(
        cell
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade_id") == name
    )


def _fill(
    notebook: NotebookNode, exercises: list[Graded], texts: dict[str, str] | None = None
) -> None:
    """Answer everything: with the texts that are given, else with the solution."""
    for one in exercises:
        answer = "I would look at the pictures first." if one.written else one.solution
        _cell(notebook, one.name).source = (texts or {}).get(one.name, answer)


def _hand_in(
    notebook: NotebookNode,
    folder: Path,
    assignment: str,
    name: str = "",
    inside: str | None = None,
) -> Path:
    path = (
        folder
        / (assignment if inside is None else inside)
        / f"{name or assignment}.ipynb"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def _names(exercises: list[Graded]) -> set[str]:
    return {one.name for one in _code(exercises)}


def _right(notebook, exercises, folder, assignment, draw):
    _fill(notebook, exercises)
    _hand_in(notebook, folder, assignment)
    return _names(exercises)


def _wrong(notebook, exercises, folder, assignment, draw):
    _fill(
        notebook,
        exercises,
        {one.name: draw.choice(one.wrong) for one in _code(exercises)},
    )
    _hand_in(notebook, folder, assignment)
    return set()


def _half(notebook, exercises, folder, assignment, draw):
    """The first one right, the others wrong."""
    first, *others = _code(exercises)
    _fill(notebook, exercises, {one.name: draw.choice(one.wrong) for one in others})
    _hand_in(notebook, folder, assignment)
    return {first.name}


def _untouched(notebook, exercises, folder, assignment, draw):
    _hand_in(notebook, folder, assignment)
    return set()


def _broken_first(text: Callable[[Graded], str]):
    """The first exercise broken in some way, the others right."""

    def make(notebook, exercises, folder, assignment, draw):
        first, *others = _code(exercises)
        _fill(notebook, exercises, {first.name: text(first)})
        _hand_in(notebook, folder, assignment)
        return _names(others)

    return make


def _looping(one: Graded) -> str:
    """The exercise's functions, each of which never ends and catches what it can."""
    names = [
        node.name
        for node in ast.parse(one.solution).body
        if isinstance(node, ast.FunctionDef)
    ]
    return "\n\n".join(
        f"def {name}(*anything, **named):\n{TAIL_LOOP}" for name in names
    )


def _no_tests(notebook, exercises, folder, assignment, draw):
    """All test cells deleted; they are put back."""
    _fill(notebook, exercises)
    tests = {f"{name}-tests" for name in _names(exercises)}
    notebook.cells = [
        c
        for c in notebook.cells
        if c.metadata.get("nbgrader", {}).get("grade_id") not in tests
    ]
    _hand_in(notebook, folder, assignment)
    return _names(exercises)


def _no_answer(notebook, exercises, folder, assignment, draw):
    """The last answer's cell deleted."""
    _fill(notebook, exercises)
    last = _code(exercises)[-1].name
    notebook.cells = [
        c
        for c in notebook.cells
        if c.metadata.get("nbgrader", {}).get("grade_id") != last
    ]
    _hand_in(notebook, folder, assignment)
    return _names(exercises) - {last}


def _changed_tests(notebook, exercises, folder, assignment, draw):
    """Wrong answers, and tests that pass with any."""
    _fill(
        notebook,
        exercises,
        {one.name: draw.choice(one.wrong) for one in _code(exercises)},
    )
    for name in _names(exercises):
        _cell(notebook, f"{name}-tests").source = "assert True"
    _hand_in(notebook, folder, assignment)
    return set()


def _own_cell(notebook, exercises, folder, assignment, draw):
    """The answers in cells of one's own, before the cells that were meant for them."""
    _fill(notebook, exercises)
    for name in _names(exercises):
        cell = _cell(notebook, name)
        place = notebook.cells.index(cell)
        notebook.cells.insert(place, new_code_cell(cell.source, id=f"own-{place}"))
        cell.source = "# see above"
    _hand_in(notebook, folder, assignment)
    return _names(exercises)


def _renamed(notebook, exercises, folder, assignment, draw):
    _fill(notebook, exercises)
    _hand_in(notebook, folder, assignment, "Lösung final (2)")
    return _names(exercises)


def _no_folder(notebook, exercises, folder, assignment, draw):
    """In the student's folder itself, under a name that tells nothing."""
    _fill(notebook, exercises)
    name = f"Untitled{draw.randrange(1000)}"
    while (folder / f"{name}.ipynb").exists():  # another chapter's
        name = f"Untitled{draw.randrange(1000)}"
    _hand_in(notebook, folder, assignment, name, inside="")
    return _names(exercises)


def _two_files(notebook, exercises, folder, assignment, draw):
    """An untouched file from last week, and the answers."""
    old = _hand_in(notebook, folder, assignment)
    os.utime(old, (1_600_000_000, 1_600_000_000))
    _fill(notebook, exercises)
    _hand_in(notebook, folder, assignment, f"{assignment}-v2")
    return _names(exercises)


def _stale(notebook, exercises, folder, assignment, draw):
    """Wrong answers, with outputs of a run in which all went well."""
    _wrong(notebook, exercises, folder, assignment, draw)
    for number, cell in enumerate(
        cell for cell in notebook.cells if cell.cell_type == "code"
    ):
        cell.execution_count = number + 1
        cell.outputs = [nbformat.v4.new_output("stream", text="all tests passed\n")]
    _hand_in(notebook, folder, assignment)
    return set()


def _loud(notebook, exercises, folder, assignment, draw):
    """Right, and it prints a lot, seeds and turns gradients off."""
    noise = (
        "import torch\nprint('x' * 10**6)\ntorch.manual_seed(0)\n"
        "torch.set_grad_enabled(True)\n"
    )
    _fill(
        notebook,
        exercises,
        {one.name: noise + one.solution for one in _code(exercises)},
    )
    _hand_in(notebook, folder, assignment)
    return _names(exercises)


def _windows(notebook, exercises, folder, assignment, draw):
    """As an editor on Windows leaves it: with a mark at the beginning
    and other line ends.
    """
    _fill(notebook, exercises)
    path = _hand_in(notebook, folder, assignment)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    return _names(exercises)


def _file_of(content: Callable[[bytes], bytes]):
    def make(notebook, exercises, folder, assignment, draw):
        _fill(notebook, exercises)
        path = _hand_in(notebook, folder, assignment)
        path.write_bytes(content(path.read_bytes()))
        return set()

    return make


def _nothing(notebook, exercises, folder, assignment, draw):
    return set()


def _ends_it(one: Graded) -> str:
    return f"{one.solution}\nimport os\nos._exit(0)"


KINDS: dict[str, Callable] = {
    "right": _right,
    "wrong": _wrong,
    "loops": _broken_first(_looping),
    "no-tests": _no_tests,
    "not-a-notebook": _file_of(lambda _: b"%PDF-1.7 photograph of my homework"),
    "renamed": _renamed,
    "ends-the-program": _broken_first(_ends_it),
    "half": _half,
    "crashes": _broken_first(lambda one: "1 / 0"),
    "empty-file": _file_of(lambda _: b""),
    "untouched": _untouched,
    "changed-tests": _changed_tests,
    "cell-deleted": _no_answer,
    "syntax": _broken_first(lambda one: one.solution + "\ndef oops(:"),
    "loops-at-once": _broken_first(
        lambda one: "while True:\n    pass\n" + one.solution
    ),
    "own-cells": _own_cell,
    "cut-off": _file_of(lambda whole: whole[: len(whole) * 2 // 3]),
    "no-folder": _no_folder,
    "two-files": _two_files,
    "stale-outputs": _stale,
    "loud": _loud,
    "windows": _windows,
    "other-json": _file_of(lambda _: json.dumps({"cells": "none"}).encode()),
    "nothing": _nothing,
}
