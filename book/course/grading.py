"""Grades a folder of submissions: student/assignment/*.ipynb, whatever state they are in.

Each submission is run by itself (runner.py) on the tests of the instructor's notebook; its result is one file, so
that a run that was cut off goes on where it was, and no grade is lost or counted twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from . import runner
from .assignments import CELL_SECONDS, CourseError
from .reports import export, sums, write_whole

SUBMISSION_SECONDS = 600  # all cells of one submission together
_HIDDEN = re.compile(r"^### BEGIN HIDDEN TESTS\n(.*?)^### END HIDDEN TESTS", re.M | re.S)
_SOLUTION = re.compile(r"^### BEGIN SOLUTION\n(.*?)^### END SOLUTION", re.M | re.S)
_RULES = 5  # raised whenever the same submission could get another grade


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


@dataclass(frozen=True)
class Submission:
    """What a student handed in for an assignment; `path` is None where nothing was found."""

    student: str
    assignment: str
    path: Path | None
    remark: str = ""


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
            found[marks.grade_id] = {"title": heading, "points": marks.points, "rubric": rubric}
        elif marks.solution:
            found[marks.grade_id] = {"title": heading, "starter": _SOLUTION.sub("", cell.source).strip()}
        else:
            tests = {
                "visible": _HIDDEN.sub("", cell.source).strip(),
                "hidden": _HIDDEN.search(cell.source)[1],
            }
            found[marks.grade_id.removesuffix("-tests")].update(points=marks.points, **tests)
    return [Task(name=name, **parts) for name, parts in found.items()]


def load_tasks(course: Path) -> dict[str, list[Task]]:
    """The exercises of all assignments that were made in this course folder.

    Raises:
        CourseError: none were made there.
    """
    paths = sorted((course / "source").glob("*/*.ipynb"))
    if not paths:
        raise CourseError(
            f"there are no assignments in {str(course)!r}; run `make assignments SEED=...` first, with the seed of the "
            "course"
        )
    return {path.stem: tasks_of(nbformat.read(path, as_version=4)) for path in paths}


# --- finding what was handed in ---------------------------------------------------------------------------


def collect(submitted: Path, tasks: dict[str, list[Task]]) -> list[Submission]:
    """One entry for each student and each assignment that anybody handed in, whatever the files are called.

    Raises:
        CourseError: the folder does not exist or holds nothing.
    """
    if not submitted.is_dir():
        raise CourseError(f"{str(submitted)!r} is no folder; give one that holds student/assignment/*.ipynb")
    names = {_simple(name): name for name in tasks}
    found: dict[tuple[str, str], list[tuple[int, Path]]] = {}
    students = sorted(path for path in submitted.iterdir() if path.is_dir() and not path.name.startswith("."))
    for student in students:
        files = [
            path for path in student.rglob("*") if path.is_file() and ".ipynb_checkpoints" not in path.parts
        ]
        for path in sorted(files):
            if path.name.startswith("."):
                continue
            marks = _marks(path)
            by_content = [(len(marks & _ids(known)), name) for name, known in tasks.items()]
            count, best = max(by_content, default=(0, ""))
            folders = [names[_simple(part)] for part in _parts(path, student) if _simple(part) in names]
            assignment = best if count else folders[-1] if folders else ""
            if assignment:
                found.setdefault((student.name, assignment), []).append((count, path))
            else:
                found.setdefault((student.name, ""), []).append((0, path))
    if not students or not found:
        raise CourseError(
            f"nothing was handed in under {str(submitted)!r}; it must hold student/assignment/*.ipynb"
        )
    wanted = [name for name in tasks if any(assignment == name for _, assignment in found)] or list(tasks)
    entries = []
    for student in students:
        spare = [path.name for _, path in found.get((student.name, ""), [])]
        for assignment in wanted:
            files = found.get((student.name, assignment), [])
            if not files:
                remark = f"nothing handed in{f'; what is {spare[0]}?' if spare else ''}"
                entries.append(Submission(student.name, assignment, None, remark))
                continue
            # The file with most of the assignment's cells; of several such the one changed last.
            _, path = max(files, key=lambda file: (file[0], file[1].stat().st_mtime, file[1].name))
            remarks = [] if path.name == f"{assignment}.ipynb" else [f"the file was named {path.name}"]
            remarks += [f"{len(files)} files, this one graded"] if len(files) > 1 else []
            entries.append(Submission(student.name, assignment, path, "; ".join(remarks)))
    return entries


def _simple(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _parts(path: Path, student: Path) -> list[str]:
    return [*path.relative_to(student).parts[:-1], path.stem]


def _ids(tasks: list[Task]) -> set[str]:
    return {task.name for task in tasks} | {f"{task.name}-tests" for task in tasks}


def _marks(path: Path) -> set[str]:
    """The names that nbgrader gave the cells in a file; none where it is no notebook."""
    try:
        return {_mark(cell) for cell in _cells(path)} - {""}
    except ValueError:
        return set()


def _mark(cell: dict) -> str:
    marks = cell.get("metadata", {}).get("nbgrader", {}) if isinstance(cell.get("metadata"), dict) else {}
    return str(marks.get("grade_id", "")) if isinstance(marks, dict) else ""


def _cells(path: Path) -> list[dict]:
    """The cells of a notebook of any version, without insisting that all of it is valid.

    Raises:
        ValueError: with a sentence, where this is no notebook.
    """
    try:
        content = path.read_bytes()
        if not content.strip():
            raise ValueError("the file is empty")
        data = json.loads(content.decode("utf-8-sig"))
        if isinstance(data, dict) and "worksheets" in data:
            data = nbformat.convert(nbformat.from_dict(data), 4)
        cells = [cell for cell in data["cells"] if isinstance(cell, dict)]
    except ValueError as problem:
        said = str(problem) if str(problem) == "the file is empty" else "the file is no notebook"
        raise ValueError(said) from None
    except (OSError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("the file is no notebook") from None
    for cell in cells:
        source = cell.get("source", "")
        cell["source"] = "".join(map(str, source)) if isinstance(source, list) else str(source)
    return cells


# --- grading one ------------------------------------------------------------------------------------------


def grade(submission: Submission, tasks: list[Task], seconds: float = CELL_SECONDS) -> dict:
    """Run one submission and say what each exercise earned; it never raises for what a student wrote."""
    started = time.perf_counter()
    result = {"student": submission.student, "assignment": submission.assignment, "remark": submission.remark}
    cells: list[dict] = []
    try:
        if submission.path is not None:
            cells = _cells(submission.path)
    except ValueError as problem:
        result["remark"] = "; ".join(filter(None, [str(problem), submission.remark]))
    code, places = _program(cells, tasks) if cells else ([], {})
    ran = runner.run(code, seconds, SUBMISSION_SECONDS) if code else []
    result["exercises"] = [_judged(task, cells, ran, places.get(task.name, {})) for task in tasks]
    result["seconds"] = round(time.perf_counter() - started, 2)
    return result


def _program(cells: list[dict], tasks: list[Task]) -> tuple[list[str], dict[str, dict[str, int]]]:
    """The code to run, in the student's order, with the real tests after each answer; and where each part stands.

    Test cells that the student changed or deleted are the instructor's again. Her own cells run too.
    """
    graded = {task.name: task for task in tasks if not task.written}
    known = _ids(tasks)
    last = {_mark(cell): number for number, cell in enumerate(cells) if cell.get("cell_type") == "code"}
    code: list[str] = []
    places: dict[str, dict[str, int]] = {name: {} for name in graded}

    def add(name: str, part: str, text: str) -> None:
        if text.strip():
            places[name][part] = len(code)
            code.append(text)

    def add_tests(name: str) -> None:
        add(name, "visible", graded[name].visible)
        add(name, "hidden", graded[name].hidden)

    for number, cell in enumerate(cells):
        mark = _mark(cell)
        if cell.get("cell_type") != "code":
            continue
        if mark in graded:
            add(mark, "answer", cell["source"])
            if last[mark] == number:
                add_tests(mark)
        elif mark not in known and cell["source"].strip():
            code.append(cell["source"])
    for name in graded:
        if name not in last:
            add_tests(name)  # the cell was deleted; its function may stand in a cell of her own
    return code, places


def _judged(task: Task, cells: list[dict], ran: list[runner.Ran], places: dict[str, int]) -> dict:
    """Points, verdict and message of one exercise; a written one waits for a person."""
    judged = {"name": task.name, "title": task.title, "of": task.points, "points": 0, "by_hand": task.written}
    own = [cell for cell in cells if _mark(cell) == task.name]
    text = own[-1]["source"].strip() if own else ""
    if task.written:
        empty = not text or text == "*Your answer:*"
        return {**judged, "answer": text, "verdict": "empty" if empty else "waits", "message": ""}
    judged["answer"] = text
    if not cells:
        return {**judged, "verdict": "missing", "message": "nothing to run"}
    parts = {part: ran[number] for part, number in places.items()}
    passed = all(parts[part].problem == "" for part in ("visible", "hidden") if part in parts)
    if passed and "hidden" in parts:
        return {**judged, "points": task.points, "verdict": "right", "message": ""}
    order = ("answer", "visible", "hidden")
    first = next(part for part in order if part in parts and parts[part].problem)
    message = parts[first].problem
    if not own:
        return {
            **judged,
            "verdict": "missing",
            "message": f"its cell is missing from the notebook ({message})",
        }
    where = {"answer": "your cell", "visible": "a test that you have", "hidden": "a test on other numbers"}[
        first
    ]
    kind = "stopped" if message.startswith("stopped after") else "wrong"
    if "not written yet" in message or text == task.starter:
        kind = "untouched"
    return {**judged, "verdict": kind, "message": f"{where}: {message}"}


# --- grading all ------------------------------------------------------------------------------------------


def grade_all(
    submitted: Path, course: Path, results: Path, *, jobs: int = 0, seconds: float = CELL_SECONDS
) -> list[dict]:
    """Grade a folder of submissions into results/: grades.csv, exercises.csv, feedback/, written.html, by_hand.csv.

    A submission that was graded before, and has not changed since, is not run again. Points that a person entered in
    by_hand.csv are counted in.

    Raises:
        CourseError: nothing to grade, or no assignments to grade it by.
    """
    tasks = load_tasks(course)
    submissions = collect(submitted, tasks)
    jobs = jobs or max(1, (os.cpu_count() or 2))
    started, done = time.perf_counter(), []
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {}
        for submission in submissions:
            key = _key(submission, tasks[submission.assignment], seconds)
            path = results / "results" / submission.assignment / f"{submission.student}.json"
            known = _read(path)
            if known and known.get("key") == key:
                done.append(known)
                continue
            future = pool.submit(_grade_safely, submission, tasks[submission.assignment], seconds)
            waiting[future] = (path, key)
        fresh = len(waiting)
        try:
            for future in as_completed(waiting):
                path, key = waiting[future]
                result = {**future.result(), "key": key}
                write_whole(path, json.dumps(result, indent=1))
                done.append(result)
                earned, of, _ = sums(result)
                print(
                    f"{result['student']}, {result['assignment']}: {earned:g} of {of} in {result['seconds']} s",
                    flush=True,
                )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C: what is done is written
            raise
    done.sort(key=lambda one: (one["assignment"], one["student"]))
    export(done, tasks, results)
    if fresh:
        each = (time.perf_counter() - started) / fresh
        print(f"{fresh} graded, {len(done) - fresh} as before; {each:.1f} s per student and assignment")
    else:
        print(f"{len(done)} as before, nothing new to grade")
    return done


def _grade_safely(submission: Submission, tasks: list[Task], seconds: float) -> dict:
    """A grade, or a remark that calls the instructor: one submission never stops the others."""
    try:
        return grade(submission, tasks, seconds)
    except Exception as problem:
        empty = Submission(submission.student, submission.assignment, None)
        remark = f"could not be graded ({type(problem).__name__}: {problem}); look at it yourself"
        return {**grade(empty, tasks), "remark": remark}


def _key(submission: Submission, tasks: list[Task], seconds: float) -> str:
    """What a grade depends on: the file, the tests, the limits."""
    content = submission.path.read_bytes() if submission.path else b""
    parts = (content, repr(tasks).encode(), f"{_RULES} {seconds} {submission.remark}".encode())
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
