"""A class of sixty, ten of them hostile, made by script and graded end to end: given
against expected points, what an interruption loses, and seconds per student.

    python -m benchmarks.course [--chapters 1,5,9] [--students 50] [--hostile 10]
                                [--each 1] [--jobs 2]

writes benchmarks/course.json. With ``--each 1`` a student hands in one of the chapters,
the next student the next one: endless loops take their 20 seconds a cell. The grading
is stopped by Ctrl-C about half way, begun again, and run a third time, when nothing may
be left to do.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import nbformat

from book.course import assignments, grading, synthetic

ROOT = Path(__file__).resolve().parent.parent
RECORD = Path(__file__).with_name("course.json")
SEED = "benchmark"
# What ten students hand in to stop the class, or to earn what they have not.
HOSTILE = {
    "ends the process": "import os\nos._exit(0)",
    "kills its parent": "import os\nos.kill(os.getppid(), 9)",
    "takes all memory": "much = bytearray(10**12)",
    "never ends": "while True:\n    pass",
    "floods the output": "while True:\n    print('x' * 10**6)",
    "waits for input": "input()",
    "recurses": "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
    "closes the streams": "import os\nos.close(1)\nos.close(2)",
    "is no notebook": None,
    "is nested deeply": None,
}


def hostile(release: Path, names: list[str], target: Path, count: int) -> dict:
    """Write the hostile submissions; returns the points that each must get, 0."""
    expected = {}
    for number, (what, code) in enumerate(list(HOSTILE.items())[:count]):
        student = f"h{number:02d}-{what.replace(' ', '-')}"
        for name in names:
            path = target / student / name / f"{name}.ipynb"
            path.parent.mkdir(parents=True)
            notebook = nbformat.read(release / name / f"{name}.ipynb", as_version=4)
            for cell in notebook.cells:
                about = cell.metadata.get("nbgrader", {})
                if cell.cell_type == "code" and about.get("solution"):
                    cell.source = code or ""
            nbformat.write(notebook, path)
            if code is None:
                text = "[" * 200_000 if "nested" in what else "\0\1\2 no notebook"
                path.write_text(text, encoding="utf-8")
            expected[student, name] = 0
    return expected


def thinned(expected: dict, names: list[str], target: Path, each: int) -> dict:
    """Leave each student so many of the chapters, in turn."""
    students = sorted({student for student, _ in expected})
    kept = {}
    for number, student in enumerate(students):
        mine = {names[(number * each + k) % len(names)] for k in range(each)}
        for name in names:
            if name in mine:
                kept[student, name] = expected[student, name]
                continue
            for path in (target / student).iterdir():
                if path.name == name and path.is_dir():
                    shutil.rmtree(path)
                elif name in re.split(r"\W+|_", path.name):
                    path.unlink()
    return kept


def interrupted(folder: Path, jobs: int, seconds: float) -> tuple[int, int]:
    """Grade in a process of its own, stopped by Ctrl-C: how many results it left, and
    its exit code.
    """
    words = [sys.executable, "-m", "book.course", "grade", folder / "submitted"]
    words += ["--course", folder / "assignments", "--to", folder / "graded"]
    words += ["--jobs", str(jobs)] if jobs else []
    process = subprocess.Popen(
        [str(word) for word in words],
        cwd=ROOT,  # and it heeds Ctrl-C, whatever started this program
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait()
    left = len(list((folder / "graded" / "results").rglob("*.json")))
    return left, process.returncode


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chapters", default="", help="such as 1,5,9 (all)")
    parser.add_argument("--students", type=int, default=50)
    parser.add_argument("--hostile", type=int, default=10, choices=range(11))
    parser.add_argument("--each", type=int, help="chapters that a student hands in")
    parser.add_argument(
        "--jobs", type=int, default=0, help="students at a time (one for each core)"
    )
    given = parser.parse_args()
    chapters = [int(part) for part in given.chapters.split(",") if part]
    folder = ROOT / "build" / "course" / "benchmark"
    shutil.rmtree(folder, ignore_errors=True)
    drawn = assignments.drawn(SEED, chapters)
    assignments.make(SEED, folder / "assignments", chapters)
    expected = synthetic.make_class(
        folder / "assignments" / "release", drawn, folder / "submitted", given.students
    )
    friends = {student for student, _ in expected}
    expected |= hostile(
        folder / "assignments" / "release",
        list(drawn),
        folder / "submitted",
        given.hostile,
    )
    expected = thinned(
        expected, list(drawn), folder / "submitted", given.each or len(drawn)
    )
    friendly = sum(student in friends for student, _ in expected)
    begun = time.perf_counter()
    left, code = interrupted(
        folder, given.jobs, 1.2 * len(expected) / (given.jobs or 2)
    )
    begun = time.perf_counter() - begun
    results = folder / "graded"
    kept = {path: path.read_bytes() for path in (results / "results").rglob("*.json")}
    started = time.perf_counter()
    done = grading.grade_all(
        folder / "submitted", folder / "assignments", results, jobs=given.jobs
    )
    seconds = begun + time.perf_counter() - started
    lost = sum(
        not path.exists() or path.read_bytes() != was for path, was in kept.items()
    )
    again = time.perf_counter()
    second = grading.grade_all(
        folder / "submitted", folder / "assignments", results, jobs=given.jobs
    )
    again = time.perf_counter() - again
    points = {(one["student"], one["assignment"]): grading.sums(one)[0] for one in done}
    wrong = sorted(
        (
            f"{student}, {name}: {points[student, name]:g}, expected "
            f"{expected[student, name]}"
        )
        for student, name in expected
        if points.get((student, name)) != expected[student, name]
    )
    verdicts = Counter(one["verdict"] for result in done for one in result["exercises"])
    record = {
        "students": given.students,
        "assignments": list(drawn),
        "hostile students": given.hostile,
        "submissions": len(expected),
        "of others": friendly,
        "exit code when interrupted": code,
        "results when interrupted": left,
        "of them lost or changed": lost,
        "results in the end": len(done),
        "graded as expected": len(expected) - len(wrong),
        "not as expected": wrong,
        "seconds": round(seconds, 1),
        "seconds per submission": round(seconds / max(1, len(expected)), 2),
        "seconds to run again": round(again, 2),
        "same when run again": second == done,
        "verdicts": dict(sorted(verdicts.items())),
        "processes": given.jobs or os.cpu_count(),
        "machine": (
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
            f"Python {platform.python_version()}"
        ),
    }
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))
    return 1 if wrong or lost or second != done else 0


if __name__ == "__main__":
    sys.exit(main())
