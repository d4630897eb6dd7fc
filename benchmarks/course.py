"""A class of forty, made by script, graded end to end: given against expected points,
and seconds per student.

    python -m benchmarks.course [--chapters 1,5,9] [--students 40] [--jobs 2]

writes benchmarks/course.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

from book.course import assignments, grading, synthetic

ROOT = Path(__file__).resolve().parent.parent
RECORD = Path(__file__).with_name("course.json")
SEED = "benchmark"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chapters", default="", help="such as 1,5,9 (all)")
    parser.add_argument("--students", type=int, default=40)
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
    started = time.perf_counter()
    results = folder / "graded"
    done = grading.grade_all(
        folder / "submitted", folder / "assignments", results, jobs=given.jobs
    )
    seconds = time.perf_counter() - started
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
        "submissions": len(expected),
        "graded as expected": len(expected) - len(wrong),
        "not as expected": wrong,
        "seconds": round(seconds, 1),
        "seconds per student": round(seconds / given.students, 2),
        "seconds per submission": round(seconds / len(expected), 2),
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
    return 1 if wrong or second != done else 0


if __name__ == "__main__":
    sys.exit(main())
