"""The course, for a lecturer. `make` calls it; so can you: `python -m book.course
assignments --seed autumn-4711`.

notebooks    the chapters for students (no solutions) and for the instructor (open ones)
assignments  graded exercises drawn from the course's seed, released by nbgrader without
             solutions and hidden tests
grade        grade a folder of submissions, student/assignment/*.ipynb, into tables
             and pages of feedback
lab          the chapters without solutions in mine/, opened in JupyterLab; what you
             have written there is kept
offline-kit  packages, book and notebooks in one folder that installs without a network
"""

from __future__ import annotations

from .. import stopping  # first: Ctrl-C is one sentence

# isort: split
import argparse
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from ..chapters import CHAPTERS
from .assignments import CourseError

ROOT = Path(__file__).resolve().parents[2]
COURSE = ROOT / "build" / "course"
WARNING = (
    "Student code is code. Without a sandbox it runs with your rights: grade "
    "in a container without a network (docker run --network none) or as a user "
    "who owns nothing else."
)


class _Parser(argparse.ArgumentParser):
    """One that says in one sentence what it cannot use."""

    def error(self, message: str) -> NoReturn:
        """End the command."""
        print(
            f"error: {' '.join(message.split())}; see `python -m {self.prog} --help`",
            file=sys.stderr,
        )
        sys.exit(2)


def main(arguments: list[str] | None = None) -> int:
    stopping.loaded()
    parser = _Parser(
        prog="book.course",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="what", required=True)
    for name in ("notebooks", "assignments", "grade", "lab", "offline-kit"):
        command = commands.add_parser(name)
        command.add_argument("--to", type=Path, help="where to write")
        if name == "assignments":
            command.add_argument(
                "--seed", required=True, help="any text; keep it to yourself"
            )
            command.add_argument("--chapters", help="such as 1,3 (all)")
            command.add_argument(
                "--gradebook",
                action="store_true",
                help="for nbgrader's own commands too",
            )
        elif name == "grade":
            command.add_argument("submitted", type=Path)
            command.add_argument("--course", type=Path, default=COURSE / "assignments")
            command.add_argument(
                "--sandbox",
                default="",
                metavar="KIND",
                help=(
                    "container, bubblewrap, unshare or none (if left out, unshare "
                    "where it works, else bubblewrap, else none)"
                ),
            )
            command.add_argument(
                "--jobs",
                type=int,
                default=0,
                help="students at a time (one for each core)",
            )
        elif name == "lab":
            command.add_argument("--chapter", type=int, default=1)
            command.add_argument("options", nargs="*", help="for JupyterLab, after --")
        elif name == "offline-kit":
            command.add_argument(
                "--platform", default="", help="such as win_amd64 (this machine's)"
            )
            command.add_argument(
                "--python", default="", help="such as 3.12 (this one's version)"
            )
            command.add_argument(
                "--wheels",
                type=Path,
                help="take packages from this folder, not from an index",
            )
    given = parser.parse_args(arguments)
    try:
        return _run(given)
    except CourseError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except OSError as problem:
        if not problem.strerror:
            raise
        what = "a file" if problem.filename is None else repr(str(problem.filename))
        print(
            f"error: {what} cannot be used ({problem.strerror}); mend that, or give "
            "another place",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _run(given: argparse.Namespace) -> int:
    if given.what == "notebooks":
        from .notebooks import write_all

        target = given.to or COURSE
        print(
            f"{len(write_all(target))} notebooks in {target / 'student'} and "
            f"{target / 'instructor'}"
        )
    elif given.what == "assignments":
        from .assignments import make

        try:
            chapters = (
                [int(part) for part in given.chapters.split(",")]
                if given.chapters
                else None
            )
        except ValueError:
            raise CourseError(
                f"--chapters takes numbers such as 1,3, not {given.chapters!r}"
            ) from None
        target = given.to or COURSE / "assignments"
        released = make(given.seed, target, chapters, gradebook=given.gradebook)
        print(
            f"{len(released)} assignments in {released[0].parent.parent}; hand these "
            "out, and keep source/ and the seed"
        )
    elif given.what == "grade":
        from . import sandbox
        from .grading import grade_all

        if given.jobs < 0:
            raise CourseError(
                f"--jobs {given.jobs} was given; give 1 or more, or 0 for one each core"
            )
        kind = sandbox.choose(given.sandbox)
        print(f"SANDBOX={kind}: {sandbox.SAID[kind]}")
        if kind == "none":
            print(WARNING)
        submitted = _resolved(given.submitted)
        results = given.to or submitted.with_name(f"{submitted.name}-graded")
        if _resolved(results).is_relative_to(submitted):
            raise CourseError(
                f"the results would lie in {str(submitted)!r} among what was handed "
                "in; give another place with --to"
            )
        grade_all(submitted, given.course, results, jobs=given.jobs)
        print(f"open {results / 'grades.csv'}; feedback is in {results / 'feedback'}")
    elif given.what == "lab":
        return start_lab(given.to or ROOT / "mine", given.chapter, given.options)
    else:
        from .offline import make_kit

        folder = given.to or COURSE / "offline-kit"
        kit = make_kit(folder, given.platform, given.wheels, given.python)
        print(f"copy {kit}")
    return 0


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError:
        raise CourseError(
            f"{str(path)!r} is a link that leads back to itself; give the folder"
        ) from None


def start_lab(folder: Path, chapter: int, options: list[str]) -> int:
    """Open a chapter's notebook without solutions in JupyterLab; what is there of
    one's own work is kept.
    """
    from .notebooks import write_kind

    write_kind("student", folder, keep=True)
    page = next((folder / one.file for one in CHAPTERS if one.number == chapter), None)
    if page is None:
        last = CHAPTERS[-1].number
        raise CourseError(
            f"there is no chapter {chapter}; it is a number from 1 to {last}"
        )
    page = page.resolve()
    # the folder that JupyterLab shows
    seen = ROOT if page.is_relative_to(ROOT) else page.parent
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--notebook-dir={seen}",
        *options,
        str(page),
    ]
    return subprocess.run(command, cwd=seen).returncode


if __name__ == "__main__":
    sys.exit(main())
