"""Assignments for one course: graded exercises drawn from its seed, and their release
by nbgrader without solutions.

The seed decides all layers, constants and shapes. Who has it can make the solutions, so
it stands in no released file.
"""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from ..chapters import CHAPTERS
from .folders import CourseError, clear
from .graded import Graded
from .notebooks import write

KERNEL = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "name": "python3",
}
COURSE_ID = "perceptual-losses"
CONFIG = f"""c = get_config()
c.CourseDirectory.course_id = "{COURSE_ID}"
c.ClearSolutions.code_stub = {{"python": ""}}  # the starter above the solution stays
c.ClearSolutions.text_stub = "*Your answer:*"
"""
RULES = """# Assignment: {title}

Write your answers into the cells below, and run them. The cells after them test a \
part of your answer; grading tests
more, on other numbers.
Leave the test cells as they are: they are put back before grading. You can add cells \
of your own.
Hand in this file. An exercise that runs for more than {seconds} s counts as not solved.
"""
CELL_SECONDS = 20  # for one cell, in grading


def drawn(
    seed: str, chapters: list[int] | None = None, module: ModuleType | None = None
) -> dict[str, list[Graded]]:
    """The graded exercises of each assignment for a course's seed; the same seed
    draws the same ones.

    Args:
        seed: any text.
        chapters: which chapters; all that have graded exercises without it.
        module: exercises to draw instead of a chapter's, under the module's own name.

    Raises:
        CourseError: no seed, a chapter without graded exercises, or two exercises with
            one name.
    """
    if not seed.strip():
        raise CourseError(
            "there is no seed; give one, such as SEED=autumn-4711, "
            "and keep it to yourself"
        )
    found: dict[str, list[Graded]] = {}
    if module is not None:
        found[module.__name__.rpartition(".")[2]] = module.graded(
            random.Random(f"{seed}/{module.__name__}")
        )
    else:
        known = {
            chapter.number: chapter.course
            for chapter in CHAPTERS
            if importlib.util.find_spec(chapter.course)
        }
        for number in known if chapters is None else chapters:
            if number not in known:
                raise CourseError(
                    f"chapter {str(number)[:20]} has no graded exercises; known are "
                    f"{', '.join(map(str, known))}"
                )
            drawing = importlib.import_module(known[number])
            found[f"chapter{number}"] = drawing.graded(
                random.Random(f"{seed}/chapter{number}")
            )
    if not found:
        raise CourseError(
            "no chapter has graded exercises; they stand in book/course/chapterN.py"
        )
    names = [one.name for exercises in found.values() for one in exercises]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise CourseError(
            f"two graded exercises are named {min(doubled)}; give one "
            "of them another name"
        )
    return found


def source_notebook(name: str, exercises: list[Graded]) -> NotebookNode:
    """The instructor's notebook of one assignment, with nbgrader's marks: starter,
    solution, visible and hidden tests.
    """
    title = name.replace("chapter", "chapter ")
    cells = [
        new_markdown_cell(RULES.format(title=title, seconds=CELL_SECONDS), id="rules")
    ]
    for one in exercises:
        points = "1 point" if one.points == 1 else f"{one.points} points"
        head = f"## {one.title} ({points})\n\n{one.statement.strip()}"
        cells.append(new_markdown_cell(head, id=_identity(one.name, "text")))
        if one.written:
            text = (
                f"### BEGIN SOLUTION\n{one.answer.strip()}\n\n**Rubric**\n\n"
                f"{one.rubric.strip()}\n### END SOLUTION"
            )
            answer = new_markdown_cell(text, id=_identity(one.name, "answer"))
            cells.append(
                _marked(answer, one.name, points=one.points, grade=True, solution=True)
            )
            continue
        text = (
            f"{one.starter.strip()}\n### BEGIN SOLUTION\n{one.solution.strip()}\n"
            "### END SOLUTION"
        )
        code = new_code_cell(text, id=_identity(one.name, "answer"))
        cells.append(_marked(code, one.name, solution=True))
        parts = [one.visible.strip()] if one.visible.strip() else []
        parts += [f"### BEGIN HIDDEN TESTS\n{one.hidden.strip()}\n### END HIDDEN TESTS"]
        tests = new_code_cell("\n".join(parts), id=_identity(one.name, "tests"))
        cells.append(
            _marked(
                tests, f"{one.name}-tests", points=one.points, grade=True, locked=True
            )
        )
    language = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"}
    notebook = new_notebook(
        cells=cells, metadata={"kernelspec": KERNEL, "language_info": language}
    )
    notebook.nbformat_minor = 5
    return notebook


def _identity(name: str, part: str) -> str:
    return f"{name[:55]}-{part}"


def _marked(
    cell: NotebookNode,
    name: str,
    *,
    points: int = 0,
    grade=False,
    solution=False,
    locked=False,
) -> NotebookNode:
    marks = {
        "schema_version": 3,
        "grade_id": name,
        "grade": grade,
        "solution": solution,
        "locked": locked,
    }
    marks["task"] = False
    if grade:
        marks["points"] = points
    cell.metadata["nbgrader"] = marks
    return cell


def make(
    seed: str,
    target: Path,
    chapters: list[int] | None = None,
    module: ModuleType | None = None,
    *,
    gradebook: bool = False,
) -> list[Path]:
    """Write source/ and release/ of all assignments under the target; what is not
    released stands in source/ only.

    With a gradebook nbgrader's own commands (autograde, formgrader)
    know the assignments.

    Returns the released notebooks.

    Raises:
        CourseError: see :func:`drawn`; nbgrader failed.
    """
    assignments = drawn(seed, chapters, module)
    known = target / "nbgrader_config.py"
    is_ours = known.is_file() and COURSE_ID in known.read_text(errors="replace")
    for folder in ("source", "release"):
        # a folder called source may be anybody's
        clear(target / folder, *([] if is_ours else ["no folder of the course's"]))
    target.mkdir(parents=True, exist_ok=True)
    (target / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
    for name, exercises in assignments.items():
        write(
            source_notebook(name, exercises), target / "source" / name / f"{name}.ipynb"
        )
    _release(target, list(assignments), gradebook)
    released = [target / "release" / name / f"{name}.ipynb" for name in assignments]
    for path, exercises in zip(released, assignments.values(), strict=True):
        if leaks := leaked(path.read_text(encoding="utf-8"), exercises):
            path.unlink()
            raise CourseError(
                f"the release of {path.stem} would hold a line of a solution, "
                f"{leaks[0]!r}; it was removed"
            )
    return released


def _release(target: Path, names: list[str], gradebook: bool) -> None:
    """Let nbgrader strip solutions and hidden tests, and check its marks."""
    code = (
        "import sys\nfrom nbgrader.apps import NbGraderAPI\n"
        "from nbgrader.coursedir import CourseDirectory\n"
        "from traitlets.config import Config\nc = Config()\nget_config = lambda: c\n"
        "exec(open('nbgrader_config.py', encoding='utf-8').read())\n"
        # grading.py needs no gradebook
        f"c.GenerateAssignment.no_database = {not gradebook}\n"
        f"c.SaveCells.enabled = {gradebook}\n"
        "api = NbGraderAPI(CourseDirectory(config=c, root='.'), config=c)\n"
        "for name in sys.argv[1:]:\n"
        "    done = api.generate_assignment(name, force=True, create=True)\n"
        "    if not done['success']:\n"
        "        sys.exit(str(done.get('error') or done.get('log')))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, *names]
    # nbgrader calls alembic, which lies beside this Python
    path = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    )
    ran = subprocess.run(
        command,
        cwd=target,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
    )
    if ran.returncode:
        raise CourseError(
            "nbgrader could not make the release: "
            f"{ran.stderr.strip().splitlines()[-1]}"
        )


def leaked(released: str, exercises: list[Graded]) -> list[str]:
    """Lines of solutions, hidden tests, wrong solutions, answers and rubrics that a
    released text holds.

    Lines that the student is meant to see (starter, statement, visible tests) and lines
    too short to tell anything are no leaks.
    """
    import nbformat

    cells = nbformat.reads(released, as_version=4).cells
    open_lines = {line.strip() for cell in cells for line in cell.source.splitlines()}
    raw = released.replace("\\n", "\n").replace('\\"', '"')
    found = []
    for one in exercises:
        meant = {
            line.strip()
            for text in (one.starter, one.statement, one.visible)
            for line in text.splitlines()
        }
        # Any exercise's own visible lines may be another's hidden ones: `import
        # torch` and the like.
        meant |= {
            line.strip()
            for other in exercises
            for line in (other.starter + "\n" + other.visible).splitlines()
        }
        for text in (one.solution, one.hidden, one.answer, one.rubric, *one.wrong):
            for line in filter(None, map(str.strip, text.splitlines())):
                if (
                    line in meant
                    or len(line) < 9
                    or line.startswith(("import ", "from ", '"""'))
                ):
                    continue
                if line in open_lines or (
                    len(line) > 25 and line in raw and not any(line in m for m in meant)
                ):
                    found.append(line)
    return found
