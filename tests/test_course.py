"""The course: three outputs of one source, a release that tells nothing, and grades
that are right whatever comes in.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import importlib
import json
import random
from pathlib import Path

import course_example
import nbformat
import pytest
from helpers import assert_sentence
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebook_guard import tree_of

from book.course import __main__ as command_line
from book.course import assignments, grading, notebooks, synthetic
from book.course.assignments import CourseError
from book.course.graded import Graded

SECONDS = 3.0  # for one cell: the endless ones take all of it
ROOT = Path(__file__).parent.parent
GRADED = sorted((ROOT / "book" / "course").glob("chapter[0-9].py"))


def table(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- student and instructor notebooks -------------------------------------------------


def chapter() -> nbformat.NotebookNode:
    """A small chapter with every kind of exercise."""
    solution = (
        'def doubled(x, by=2):\n    """Twice x."""\n    return by * x\n\n\n'
        "assert check_doubled(doubled)"
    )
    cells = [
        new_markdown_cell(
            "# A chapter\n\n"
            "See [the API](../book/api.md) and ![a wave](../book/images/wave.jpg)."
        ),
        new_code_cell("from pltutorial.exercises import check_doubled"),
        new_markdown_cell(
            "## Exercises\n\n:::{exercise} ★ Coding: twice\n:label: ex-twice\n\n"
            "Write it.\n\n:::"
        ),
        new_markdown_cell(":::{solution-start} ex-twice\n:class: dropdown\n:::"),
        new_code_cell(
            f"scale = 2\n\n\n{solution}",
            metadata={"jupyter": {"source_hidden": True}, "tags": ["hide-input"]},
        ),
        new_markdown_cell("It is the multiplication that doubles."),
        new_markdown_cell(":::{solution-end}\n:::"),
        new_markdown_cell(
            "````{exercise} ★★ Debugging: thrice\n:label: ex-thrice\n\nMend it.\n\n"
            "```python\ndef thrice(x):\n    return 4 * x\n```\n````"
        ),
        new_markdown_cell("```{solution-start} ex-thrice\n:class: dropdown\n```"),
        new_code_cell("def thrice(x):\n    return 3 * x\n\n\ncheck_thrice(thrice)"),
        new_markdown_cell("```{solution-end}\n```"),
        new_markdown_cell(
            ":::{exercise} ★ Recall: a word\n:label: ex-word\n\nWhich?\n:::\n\n"
            ":::{solution} ex-word\n:class: dropdown\n\nThe word is gram.\n:::"
        ),
        new_markdown_cell("## Further reading\n\nMore."),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    return new_notebook(cells=cells)


def test_student_notebook_has_stubs_and_no_solution():
    made = notebooks.student(chapter())
    nbformat.validate(made)
    text = "\n".join(cell.source for cell in made.cells)
    for hidden in (
        "by * x",
        "multiplication",
        "3 * x",
        "gram",
        "solution",
        "scale = 2",
        "{exercise}",
    ):
        assert hidden not in text
    stub, faulty = (cell.source for cell in made.cells if cell["id"].endswith("-stub"))
    assert stub == (
        'def doubled(x, by=2):\n    """Twice x."""\n    raise NotImplementedError\n\n'
        "\ncheck_doubled(doubled)"
    )
    assert faulty == "def thrice(x):\n    return 4 * x\n\n\ncheck_thrice(thrice)"
    assert "### ★ Recall: a word\n\nWhich?" in text
    assert text.count("*Your answer:*") == 1
    assert "## Further reading" in text


def test_instructor_notebook_has_open_solutions():
    made = notebooks.instructor(chapter())
    nbformat.validate(made)
    text = "\n".join(cell.source for cell in made.cells)
    for shown in (
        "by * x",
        "multiplication",
        "3 * x",
        "The word is gram.",
        "**Solution**",
    ):
        assert shown in text
    (cell,) = [cell for cell in made.cells if "by * x" in cell.source]
    assert "jupyter" not in cell.metadata
    assert "tags" not in cell.metadata


def test_the_source_is_left_alone():
    source = chapter()
    before = json.dumps(source)
    notebooks.student(source)
    notebooks.instructor(source)
    assert json.dumps(source) == before


def test_stub_of_a_value_leaves_it_to_fill_in():
    code = "stripes = torch.ones(3)\ncheck_picture(stripes)"
    assert (
        notebooks.stub_of(code)
        == "stripes = ...  # your answer\n\n\ncheck_picture(stripes)"
    )
    assert notebooks.stub_of("print(3)") == ""


def described(notebook) -> set[str]:
    """The lines of functions' docstrings, which students see too."""
    found = set()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            for node in ast.walk(tree_of(cell)):
                if isinstance(node, ast.FunctionDef):
                    found |= {
                        line.strip()
                        for line in (ast.get_docstring(node) or "").splitlines()
                    }
    return found


def test_the_books_chapters_for_students_and_instructors(tmp_path):
    """Twice the same bytes; no line of a solution's code for students, every one
    for the instructor.
    """
    written = notebooks.write_all(tmp_path / "a")
    notebooks.write_all(tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert len(written) == 2 * len(list(notebooks.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")))
    for path in sorted(notebooks.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        source = nbformat.read(path, as_version=4)
        inside, hidden, shown = False, set(), set()
        for cell in source.cells:
            inside = inside or "{solution-start}" in cell.source
            lines = {
                line.strip()
                for line in cell.source.splitlines()
                if len(line.strip()) > 20
            }
            (hidden if inside else shown).update(
                lines if cell.cell_type == "code" or inside else lines
            )
            inside = inside and "{solution-end}" not in cell.source
        hidden = {
            line
            for line in hidden - shown - described(source)
            if not line.startswith(("def ", '"""', "check_", "assert check_", ":"))
        }
        assert hidden
        student = {
            line.strip()
            for c in nbformat.read(tmp_path / "a/student" / path.name, 4).cells
            for line in c.source.splitlines()
        }
        teacher = {
            line.strip()
            for c in nbformat.read(tmp_path / "a/instructor" / path.name, 4).cells
            for line in c.source.splitlines()
        }
        assert not hidden & student
        assert hidden <= teacher | {line for line in hidden if "](../" in line}
        for cell in nbformat.read(tmp_path / "a/student" / path.name, 4).cells:
            if cell["id"].endswith("-stub"):
                ast.parse(cell.source)
                assert "check_" in cell.source


# --- graded exercises and their release -----------------------------------------------


def test_what_a_graded_exercise_must_have():
    good = course_example.graded(random.Random(0))[0]
    for change in (
        {"name": "a b"},
        {"points": 0},
        {"hidden": " "},
        {"wrong": ("x",)},
        {"answer": "because"},
    ):
        with pytest.raises(ValueError):
            Graded(**{**good.__dict__, **change})


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("course")
    assignments.make("secret-seed-1", target, module=course_example)
    return target


def exercises(seed: str = "secret-seed-1") -> dict[str, list[Graded]]:
    return assignments.drawn(seed, module=course_example)


def test_release_holds_starters_and_visible_tests_and_nothing_else(course):
    (path,) = (course / "release").rglob("*.ipynb")
    text = path.read_text(encoding="utf-8")
    known = exercises()["course_example"]
    assert assignments.leaked(text, known) == []
    for secret in (
        "product_of_both",
        "secret_number",
        "powers_of_all",
        "another multiple",
        "Jensen",
        "convexity",
    ):
        assert secret not in text
    assert "secret-seed" not in text
    assert "BEGIN" not in text
    cells = nbformat.reads(text, as_version=4).cells
    code = "\n".join(cell.source for cell in cells)
    for one in known:
        assert one.starter in code
        assert one.visible in code
        assert one.statement in code


def test_a_leak_would_be_found(course):
    (path,) = (course / "release").rglob("*.ipynb")
    known = exercises()["course_example"]
    for secret in (
        known[0].solution,
        known[1].hidden,
        known[2].answer,
        known[2].rubric,
        known[0].wrong[0],
    ):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[-1].source += f"\n{secret}"
        assert assignments.leaked(nbformat.writes(notebook), known), secret
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata["note"] = secret
        if len(max(secret.splitlines(), key=len).strip()) > 25:
            assert assignments.leaked(nbformat.writes(notebook), known), secret


def test_same_seed_same_bytes_other_seed_other_answers(course, tmp_path):
    assignments.make("secret-seed-1", tmp_path / "again", module=course_example)
    for folder in ("source", "release"):
        assert digests(course / folder) == digests(tmp_path / "again" / folder)
    assert (
        exercises("another")["course_example"][0].solution
        != exercises()["course_example"][0].solution
    )


def test_seed_and_names_are_checked(monkeypatch):
    with pytest.raises(CourseError, match="chapter 99 has no graded exercises; known"):
        assignments.drawn("x", [1, 99])
    with pytest.raises(CourseError, match="no seed"):
        assignments.drawn(" ")
    monkeypatch.setattr(
        course_example, "graded", lambda draw: [course_example_one()] * 2
    )
    with pytest.raises(CourseError, match="named times"):
        exercises()


def course_example_one() -> Graded:
    return Graded(
        "times", "t", 1, "s", "a = 1", "a = 2", "", "assert a == 2", ("a = 3", "a = 4")
    )


@pytest.mark.parametrize("path", GRADED, ids=lambda path: path.stem)
def test_graded_exercises_of_a_chapter(path):
    """Names, kinds and seeds; running them is the business of the
    chapter's own tests.
    """
    chapter = importlib.import_module(f"book.course.{path.stem}")
    first = chapter.graded(random.Random("one"))
    assert len(first) >= 3
    assert sum(one.written for one in first) >= 1
    assert all(one.name.startswith(f"ch{path.stem[-1]}-") for one in first)
    assert [one.__dict__ for one in chapter.graded(random.Random("one"))] == [
        one.__dict__ for one in first
    ]
    others = [chapter.graded(random.Random(seed)) for seed in ("two", "three", "four")]
    for number, one in enumerate(first):
        if not one.written:
            assert any(other[number].solution != one.solution for other in others), (
                one.name
            )
        for text in (one.starter, one.solution, one.visible, one.hidden, *one.wrong):
            ast.parse(text)


# --- grading --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graded_class(course, tmp_path_factory):
    """A class of every kind, graded once; what must come out, what
    came out, and where.
    """
    folder = tmp_path_factory.mktemp("class")
    known = exercises()
    expected = synthetic.make_class(
        course / "release", known, folder / "submitted", len(synthetic.KINDS)
    )
    done = grading.grade_all(
        folder / "submitted", course, folder / "graded", jobs=4, seconds=SECONDS
    )
    return folder, expected, done


def test_every_submission_gets_its_points(graded_class):
    folder, expected, done = graded_class
    given = {(one["student"], one["assignment"]): grading.sums(one)[0] for one in done}
    assert given == expected
    assert {0, 2, 3, 5} == set(expected.values())  # none, one, the other, both
    rows = table(folder / "graded" / "grades.csv")
    assert {
        (row["student"], row["assignment"]): float(row["points"]) for row in rows
    } == expected
    assert all(row["of"] == "9" for row in rows)


def test_messages_help_and_tell_no_hidden_test(graded_class):
    folder, _, done = graded_class
    by_student = {one["student"].partition("-")[2]: one for one in done}

    def first(kind: str) -> dict:
        return by_student[kind]["exercises"][0]

    assert first("loops")["verdict"] == "stopped"
    assert (
        first("crashes")["message"] == "your cell: ZeroDivisionError: division by zero"
    )
    assert "ended or crashed" in first("ends-the-program")["message"]
    assert first("untouched")["verdict"] == "untouched"
    assert "another multiple" in first("wrong")["message"]
    assert by_student["cell-deleted"]["exercises"][1]["verdict"] == "missing"
    assert by_student["empty-file"]["remark"] == "the file is empty"
    assert by_student["not-a-notebook"]["remark"] == "the file is no notebook"
    assert "named Lösung final (2).ipynb" in by_student["renamed"]["remark"]
    assert "2 files" in by_student["two-files"]["remark"]
    assert "nothing handed in" in by_student["nothing"]["remark"]
    for page in (folder / "graded" / "feedback").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "secret_number" not in text
        assert "http" not in text
    assert len(list((folder / "graded" / "feedback").rglob("*.html"))) == len(done)


def test_a_second_run_changes_nothing_and_runs_nothing(
    graded_class, course, monkeypatch, capsys
):
    folder, _, done = graded_class
    before = digests(folder / "graded")
    monkeypatch.setattr(
        grading.runner, "run", lambda *anything: pytest.fail("it was run again")
    )
    again = grading.grade_all(
        folder / "submitted", course, folder / "graded", seconds=SECONDS
    )
    assert again == done
    assert digests(folder / "graded") == before
    assert "nothing new" in capsys.readouterr().out


def test_cut_off_half_way_no_grade_is_lost_or_doubled(
    graded_class, course, tmp_path, monkeypatch
):
    """Stopped after a few submissions, the run goes on: only the others are run, and
    the tables are the same.
    """
    folder, expected, done = graded_class
    results = tmp_path / "graded"
    real = {(one["student"], one["assignment"]): one for one in done}
    runs: list[str] = []

    def remembered(submission, tasks, seconds=0.0):
        runs.append(submission.student)
        if len(runs) == 9:
            raise KeyboardInterrupt
        return {
            name: value
            for name, value in real[submission.student, submission.assignment].items()
            if name != "key"
        }

    monkeypatch.setattr(grading, "grade", remembered)
    with pytest.raises(KeyboardInterrupt):
        grading.grade_all(
            folder / "submitted", course, results, jobs=1, seconds=SECONDS
        )
    kept = {path.stem for path in (results / "results").rglob("*.json")}
    assert 0 < len(kept) < len(done)
    (half,) = list((results / "results").rglob(f"{min(kept)}.json"))
    half.write_text(half.read_text()[:40])  # as a machine leaves it that loses power
    runs[:] = ["none"] * 9
    grading.grade_all(folder / "submitted", course, results, jobs=1, seconds=SECONDS)
    assert sorted(runs[9:]) == sorted(
        {one["student"] for one in done} - kept | {min(kept)}
    )
    rows = table(results / "grades.csv")
    assert {
        (row["student"], row["assignment"]): float(row["points"]) for row in rows
    } == expected
    assert len(rows) == len(expected)


def test_a_changed_file_is_graded_again_and_points_by_hand_are_counted(
    course, tmp_path
):
    known = exercises()["course_example"]
    submitted, results = tmp_path / "in", tmp_path / "out"
    notebook = nbformat.read(
        course / "release/course_example/course_example.ipynb", as_version=4
    )
    (submitted / "ann").mkdir(parents=True)
    synthetic._untouched(
        notebook, known, submitted / "ann", "course_example", random.Random(0)
    )
    assert grading.sums(
        grading.grade_all(submitted, course, results, seconds=SECONDS)[0]
    ) == (0, 9, 0)
    synthetic._half(
        notebook, known, submitted / "ann", "course_example", random.Random(0)
    )
    assert grading.sums(
        grading.grade_all(submitted, course, results, seconds=SECONDS)[0]
    ) == (2, 9, 4)
    assert "I would look" in (results / "written.html").read_text(encoding="utf-8")
    path = results / "by_hand.csv"
    assert path.read_text().splitlines() == [
        "student,assignment,exercise,of,points,comment",
        "ann,course_example,why,4,,",
    ]
    path.write_text(
        "student;assignment;exercise;of;points;comment\n"
        "ann;course_example;why;4;2,5;well said\n"
    )
    assert grading.sums(
        grading.grade_all(submitted, course, results, seconds=SECONDS)[0]
    ) == (4.5, 9, 0)
    assert "well said" in (results / "feedback/course_example/ann.html").read_text(
        encoding="utf-8"
    )
    assert table(results / "grades.csv")[0]["points"] == "4.5"
    path.write_text(
        "student,assignment,exercise,of,points,comment\nann,course_example,why,4,5,\n"
    )
    with pytest.raises(CourseError, match="from 0 to 4"):
        grading.grade_all(submitted, course, results, seconds=SECONDS)


def test_notebooks_without_a_folder_do_not_overwrite_each_other(course, tmp_path):
    """Not even where the same number is drawn for two of them."""

    class Drawn:
        numbers = [7, 7, 9]

        def randrange(self, end):
            return self.numbers.pop(0)

    draw, known = Drawn(), exercises()["course_example"]
    path = next((course / "release").rglob("*.ipynb"))
    for name in ("one", "two"):
        notebook = nbformat.read(path, as_version=4)
        synthetic._no_folder(notebook, known, tmp_path, name, draw)
    assert {path.name for path in tmp_path.iterdir()} == {
        "Untitled7.ipynb",
        "Untitled9.ipynb",
    }


def test_an_error_of_the_grader_itself_stops_nobody_else(course, tmp_path, monkeypatch):
    known = exercises()
    expected = synthetic.make_class(course / "release", known, tmp_path / "in", 2)

    def broken(cells, seconds, total):
        raise OSError("no processes left")

    monkeypatch.setattr(grading.runner, "run", broken)
    done = grading.grade_all(tmp_path / "in", course, tmp_path / "out")
    assert len(done) == len(expected)
    assert all("look at it yourself" in one["remark"] for one in done)


def test_a_spreadsheet_takes_no_text_for_a_formula():
    from book.course.reports import table

    assert table(["a"], [["=1+1"], ["Ann"]]) == "a\n'=1+1\nAnn\n"


# --- the commands ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["assignments", "--seed", " "], "no seed"),
        (["assignments", "--seed", "a", "--chapters", "one"], "'one'"),
        (["grade", "missing", "--course", "COURSE"], "is no folder"),
        (["grade", "EMPTY", "--course", "COURSE"], "nothing was handed in"),
        (["grade", "EMPTY", "--course", "EMPTY"], "make assignments SEED="),
        (["grade", "EMPTY", "--course", "COURSE", "--jobs", "-1"], "--jobs -1"),
        (["grade", "EMPTY", "--course", "COURSE", "--to", "EMPTY"], "with --to"),
        (["assignments", "--seed", "a", "--to", "/dev/null"], "/dev/null"),
    ],
)
def test_commands_refuse_with_a_sentence(arguments, words, course, tmp_path, capsys):
    places = {"COURSE": str(course), "EMPTY": str(tmp_path)}
    assert command_line.main([places.get(one, one) for one in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "required: what"),
        ("grades", "invalid choice"),
        ("grade x --jobs many", "invalid int value: 'many'"),
        ("grade x --sandbox", "--sandbox"),
        ("lab --chapter one", "'one'"),
        ("notebooks more", "unrecognized arguments: more"),
    ],
)
def test_words_that_are_no_command_are_one_sentence(words, said, capsys):
    with pytest.raises(SystemExit) as end:
        command_line.main(words.split())
    assert end.value.code == 2
    errors = capsys.readouterr().err
    assert_sentence(errors.removeprefix("error: ").rstrip("\n"), said, "--help")


@pytest.mark.parametrize(
    ("words", "theirs"),
    [
        ("assignments --seed x --chapters 1 --to", "source/thesis.tex"),
        ("assignments --seed x --chapters 1 --to", "release/v1.zip"),
        ("notebooks --to", "student/letters.txt"),
        ("notebooks --to", "instructor"),
        ("offline-kit --to", "thesis.tex"),
    ],
)
def test_what_is_anybody_elses_is_not_made_anew(words, theirs, tmp_path, capsys):
    """A folder is removed only where the course itself has made it."""
    path = tmp_path / "home" / theirs
    path.parent.mkdir(parents=True)
    path.write_text("years of work")
    code = command_line.main([*words.split(), str(tmp_path / "home")])
    assert code == 2
    errors = capsys.readouterr().err
    assert_sentence(errors.removeprefix("error: ").rstrip("\n"), "--to")
    assert path.read_text() == "years of work"


def test_grading_says_that_student_code_is_code(graded_class, course, capsys, tmp_path):
    (tmp_path / "in" / "ann").mkdir(parents=True)
    (tmp_path / "in" / "ann" / "photo.ipynb").write_bytes(b"\x89PNG")
    command = [
        "grade",
        str(tmp_path / "in"),
        "--course",
        str(course),
        "--sandbox",
        "none",
    ]
    assert command_line.main(command) == 0
    printed = capsys.readouterr().out
    assert "--network none" in printed
    assert "what is photo.ipynb?" in (tmp_path / "in-graded" / "grades.csv").read_text(
        encoding="utf-8"
    )
