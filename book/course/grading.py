"""Grades a folder of submissions: student/assignment/*.ipynb, whatever
state they are in.

Each submission is run by itself (runner.py) on the tests of the instructor's notebook;
its result is one file, so that a run that was cut off goes on where it was, and no
grade is lost or counted twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from . import platforms, runner, sandbox, submissions
from .assignments import CELL_SECONDS
from .by_hand import BY_HAND, content_of, points_by_hand
from .integrity import is_untouched, reaches, secret_of, signed
from .reports import export, export_leftovers, file_name, say, sums, write_whole
from .runner import Part
from .submissions import LONGEST, Submission, mark_of, read_cells
from .tasks import Task, load_tasks

SUBMISSION_SECONDS = 600  # all cells of one submission together
_RULES = 7  # raised whenever the same submission could get another grade


def collect(submitted: Path, tasks: dict[str, list[Task]]) -> list[Submission]:
    """One entry for each student and each assignment that anybody handed in.

    Raises:
        CourseError: the folder does not exist or holds nothing.
    """
    return submissions.collect(submitted, _names(tasks))


def _names(tasks: dict[str, list[Task]]) -> dict[str, set[str]]:
    return {name: _ids(known) for name, known in tasks.items()}


def _ids(tasks: list[Task]) -> set[str]:
    return {task.name for task in tasks} | {f"{task.name}-tests" for task in tasks}


# --- grading one ----------------------------------------------------------------------


def grade(
    submission: Submission, tasks: list[Task], seconds: float = CELL_SECONDS
) -> dict:
    """Run one submission and say what each exercise earned."""
    started = time.perf_counter()
    result = {
        "student": submission.student,
        "assignment": submission.assignment,
        "remark": submission.remark,
    }
    cells: list[dict] = []
    try:
        if submission.path is not None:
            cells = read_cells(submission.path)
    except ValueError as problem:
        result["remark"] = "; ".join(filter(None, [str(problem), submission.remark]))
    notes = _notes(cells, tasks)
    result["remark"] = "; ".join(filter(None, [result["remark"], *notes]))
    for cell in cells:
        if len(cell["source"]) > LONGEST:
            cell["source"] = 'raise ValueError("a cell of over 1,000,000 characters")'
    code, places = _program(cells, tasks) if cells else ([], {})
    ran = runner.run(code, seconds, SUBMISSION_SECONDS) if code else []
    result["exercises"] = [
        _judged(task, cells, ran, places.get(task.name, {})) for task in tasks
    ]
    look = reaches("\n".join(one.text for one in code if not one.name))
    look += sorted({one.remark for one in ran if one.remark})
    result["look"] = ", ".join(look)  # for a person, not for the student
    result["seconds"] = round(time.perf_counter() - started, 2)
    return result


def _program(
    cells: list[dict], tasks: list[Task]
) -> tuple[list[Part], dict[str, dict[str, int]]]:
    """The code to run, in the student's order, and where each exercise's parts stand.

    The tests follow an answer and whatever comes before the next known cell, so that an
    answer that was split is whole. Test cells that the student changed or deleted are
    the instructor's again. Her own cells run too.
    """
    graded = {task.name: task for task in tasks if not task.written}
    known = _ids(tasks)
    last = {mark_of(cell): number for number, cell in enumerate(cells)}
    code: list[Part] = []
    places: dict[str, dict[str, int]] = {name: {} for name in graded}
    open_name = before = ""  # whose tests are still to come; whose cell came before

    def add(name: str, part: str, text: str) -> None:
        if text.strip():
            places[name][part] = len(code)
            code.append(Part(text, "" if part == "answer" else name))

    def add_tests(name: str) -> None:
        if name:
            add(name, "visible", graded[name].visible)
            add(name, "hidden", graded[name].hidden)

    for number, cell in enumerate(cells):
        mark, source = mark_of(cell), cell["source"]
        if mark in known and open_name and mark != open_name:
            add_tests(open_name)
            open_name = ""
        if mark in graded:  # of whatever type: what was made Markdown is code again
            if before == mark and _goes_on(source):
                code[-1] = Part(f"{code[-1].text}\n{source}")
            else:
                add(mark, "answer", source)
            before = mark
            if last[mark] == number:
                open_name = mark
        elif cell["cell_type"] == "code" and mark not in known and source.strip():
            if open_name and code and _goes_on(source):
                code[-1] = Part(f"{code[-1].text}\n{source}")
            else:
                code.append(Part(source))
                before = ""
    add_tests(open_name)
    for name in graded:
        if name not in last:
            add_tests(name)  # the cell was deleted; its function may stand elsewhere
    return code, places


def _goes_on(source: str) -> bool:
    """Whether a cell begins inside of something, as the second half of a split one."""
    return source.lstrip("\n")[:1] in (" ", "\t")


def _notes(cells: list[dict], tasks: list[Task]) -> list[str]:
    """What a person should know of the cells: copies, changed types, and the like."""
    found = []
    for task in tasks:
        own = [cell for cell in cells if mark_of(cell) == task.name]
        if len(own) > 1:
            found.append(f"{len(own)} cells of {task.name}, the last one counts")
        kind = own[-1]["cell_type"] if own else ""
        if not task.written and kind not in ("", "code"):
            found.append(f"the cell of {task.name} is {kind}; it was run as code")
        if any(len(cell["source"]) > LONGEST for cell in own):
            found.append(f"a cell of {task.name} is too long to be run")
    return found


def _judged(
    task: Task, cells: list[dict], ran: list[runner.Ran], places: dict[str, int]
) -> dict:
    """Points, verdict and message of one exercise; a written one waits for a person."""
    judged = {
        "name": task.name,
        "title": task.title,
        "of": task.points,
        "points": 0,
        "by_hand": task.written,
    }
    own = [cell for cell in cells if mark_of(cell) == task.name]
    text = own[-1]["source"].strip() if own else ""
    if task.written:
        empty = not text or text == "*Your answer:*"
        return {
            **judged,
            "answer": text,
            "verdict": "empty" if empty else "waits",
            "message": "",
        }
    judged["answer"] = text
    if not cells:
        return {**judged, "verdict": "missing", "message": "nothing to run"}
    parts = {part: ran[number] for part, number in places.items()}
    passed = all(
        parts[part].problem == "" for part in ("visible", "hidden") if part in parts
    )
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
    where = {
        "answer": "your cell",
        "visible": "a test that you have",
        "hidden": "a test on other numbers",
    }[first]
    kind = "stopped" if message.startswith("stopped after") else "wrong"
    if "not written yet" in message or text == task.starter:
        kind = "untouched"
    return {**judged, "verdict": kind, "message": f"{where}: {message}"}


# --- grading all ----------------------------------------------------------------------


def grade_all(
    submitted: Path,
    course: Path,
    results: Path,
    *,
    jobs: int = 0,
    seconds: float = CELL_SECONDS,
) -> list[dict]:
    """Grade a folder of submissions into results/: grades.csv, exercises.csv,
    feedback/, written.html, by_hand.csv.

    A submission that was graded before, and has not changed since, is not run again.
    Points that a person entered in by_hand.csv are counted in.

    Raises:
        CourseError: nothing to grade, or no assignments to grade it by.
    """
    tasks = load_tasks(course)
    handed_in, left = submissions.collect_all(submitted, _names(tasks))
    jobs = jobs or max(1, (os.cpu_count() or 2))
    secret, changed = secret_of(course), {}
    before = content_of(results / BY_HAND)
    sandbox.close_to_students([course, results, submitted])
    started, done = time.perf_counter(), []
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {}
        for submission in handed_in:
            key = _key(submission, tasks[submission.assignment], seconds)
            path = (
                results
                / "results"
                / submission.assignment
                / file_name(submission.student, ".json")
            )
            known = _read(path)
            if known and known.get("key") == key and is_untouched(known, secret):
                done.append(known)
                continue
            if known and known.get("key") == key:
                was = "its earlier result was changed by somebody; graded again"
                changed[path] = was
            future = pool.submit(
                _grade_safely, submission, tasks[submission.assignment], seconds
            )
            waiting[future] = (path, key)
        fresh = len(waiting)
        try:
            for future in as_completed(waiting):
                path, key = waiting[future]
                result = {**future.result(), "key": key}
                if path in changed:
                    look = [one for one in (result.get("look"), changed[path]) if one]
                    result["look"] = ", ".join(look)
                result = signed(result, secret)
                write_whole(path, json.dumps(result, indent=1))
                done.append(result)
                earned, of, _ = sums(result)
                say(
                    f"{result['student']}, {result['assignment']}: {earned:g} of {of} "
                    f"in {result['seconds']} s"
                )
        except BaseException:
            # Ctrl-C: what is done is written
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    done.sort(key=lambda one: (one["assignment"], one["student"]))
    export(done, tasks, results, points_by_hand(done, results, before, secret))
    platforms.export_all(done, results)
    export_leftovers(left, results)
    if fresh:
        each = (time.perf_counter() - started) / fresh
        print(
            f"{fresh} graded, {len(done) - fresh} as before; {each:.1f} s per "
            "student and assignment"
        )
    else:
        print(f"{len(done)} as before, nothing new to grade")
    return done


def _grade_safely(submission: Submission, tasks: list[Task], seconds: float) -> dict:
    """A grade, or a remark that calls the instructor: one submission
    never stops the others.
    """
    try:
        return grade(submission, tasks, seconds)
    except Exception as problem:
        empty = Submission(submission.student, submission.assignment, None)
        remark = (
            f"could not be graded ({type(problem).__name__}: "
            f"{problem}); look at it yourself"
        )
        return {**grade(empty, tasks), "remark": remark}


def _key(submission: Submission, tasks: list[Task], seconds: float) -> str:
    """What a grade depends on: the file, the tests, the limits."""
    try:
        content = submission.path.read_bytes() if submission.path else b""
    except OSError:
        content = b"not readable"
    parts = (
        content,
        repr(tasks).encode(),
        f"{_RULES} {seconds} {submission.remark}".encode(),
    )
    return hashlib.sha256(
        b"\0".join(hashlib.sha256(part).digest() for part in parts)
    ).hexdigest()


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
