"""What is handed in: every file ends in a row or in a line that names it, and
none stops the class.
"""

from __future__ import annotations

import copy
import json
import os
import zipfile
from pathlib import Path

import course_example
import pytest

from book.course import assignments, grading, submissions
from book.course.assignments import CourseError
from book.course.submissions import cells_of, collect_all, printable

NAMES = {"chapter1": {"one", "one-tests"}, "chapter2": {"two", "two-tests"}}


def notebook(*marks: str, source: str = "x = 1") -> bytes:
    cells = [
        {
            "cell_type": "code",
            "source": source,
            "metadata": {"nbgrader": {"grade_id": mark}},
        }
        for mark in marks
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "cells": cells}).encode()


def put(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or notebook("one"))
    return path


def rows(folder: Path) -> dict[str, str]:
    found, left = collect_all(folder, NAMES)
    assert all(one.why for one in left)
    return {one.student: "graded" if one.path else one.remark for one in found}


def test_flat_files_as_platforms_name_them(tmp_path):
    put(tmp_path / "berg_4711_998_chapter1.ipynb")
    put(tmp_path / "ekström_LATE_12_13_homework-2.ipynb")
    put(tmp_path / "chapter1-Ada.ipynb")
    put(tmp_path / "Untitled.ipynb")
    put(tmp_path / "plain" / "chapter1" / "chapter1.ipynb")
    assert rows(tmp_path) == dict.fromkeys(
        ["berg_4711", "ekström_12", "Ada", "Untitled", "plain"], "graded"
    )


def test_zips_of_one_student_and_of_a_class(tmp_path):
    def pack(path: Path, *names: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, notebook("one"))

    pack(tmp_path / "ann_1_2_work.zip", "chapter1/chapter1.ipynb", "__MACOSX/x")
    pack(
        tmp_path / "class.zip",
        "bob/chapter1.ipynb",
        "cy/deep/er/a.ipynb",
        "dee_7_x.ipynb",
    )
    pack(tmp_path / "eve" / "all.zip", "chapter1.ipynb", "../../out.ipynb")
    assert rows(tmp_path) == dict.fromkeys(
        ["ann_1", "bob", "cy", "dee_7", "eve"], "graded"
    )
    left = collect_all(tmp_path, NAMES)[1]
    assert [one.why for one in left if "out.ipynb" in one.file] == [
        "its name leads out of the zip"
    ]


def test_a_zip_in_a_student_s_folder_may_have_folders_and_a_zip(tmp_path):
    def packed(name: str, content: bytes) -> bytes:
        path = tmp_path.with_name("packed.zip")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, content)
        return path.read_bytes()

    once = packed("work/chapter1/chapter1.ipynb", notebook("one", "one-tests"))
    put(tmp_path / "ann" / "work.zip", once)
    put(tmp_path / "bob" / "week 1" / "a.zip", packed("b/c.zip", once))
    put(tmp_path / "eve" / "a.zip", packed("b.zip", packed("c.zip", once)))
    found, left = collect_all(tmp_path, NAMES)
    graded = {one.student for one in found if one.path is not None}
    assert graded == {"ann", "bob"}
    assert [one.remark for one in found if one.student == "eve"] == [
        "nothing handed in; c.zip is a zip in a zip in a zip"
    ] * len([one for one in found if one.student == "eve"])
    assert [one.file for one in left] == ["eve/a.zip/b.zip/c.zip"]


def test_zips_that_lie(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chapter1.ipynb", b"0" * (submissions.LARGEST + 1))
    put(tmp_path / "broken.zip", b"PK\x03\x04 and nothing more")
    put(tmp_path / "ann" / "broken.zip", b"no zip at all")
    found = rows(tmp_path)
    assert "nothing handed in" in found["bomb"]
    assert found["broken"].endswith("broken.zip could not be unpacked")
    assert found["ann"].endswith("broken.zip could not be unpacked")


def test_links_and_pipes_are_not_followed(tmp_path):
    secret = put(tmp_path / "source" / "chapter1.ipynb")
    folder = tmp_path / "in"
    put(folder / "friend" / "chapter1.ipynb")
    (folder / "file").mkdir()
    (folder / "file" / "chapter1.ipynb").symlink_to(secret)
    (folder / "folder").symlink_to(secret.parent, target_is_directory=True)
    (folder / "flat.ipynb").symlink_to(secret)
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / "chapter1.ipynb")
    found = rows(folder)
    assert found.pop("friend") == "graded"
    for name in ("file", "folder", "flat"):
        assert "links are not followed" in found[name]
    assert "pipe" in found["pipe"]


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_of_any_bytes(tmp_path):
    put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller/chapter1.ipynb")))
    put(tmp_path / "two\nlines" / "chapter1.ipynb")
    put(tmp_path / ("long" * 60) / "chapter1.ipynb")
    found = rows(tmp_path)
    assert set(found) == {"M\\udcfcller", "two\\nlines", "long" * 60}
    assert set(found.values()) == {"graded"}


def test_every_file_is_named(tmp_path):
    put(tmp_path / "readme.txt", b"hello")
    put(tmp_path / ".DS_Store", b"\0")
    put(tmp_path / "ann" / "chapter1.ipynb")
    os.utime(put(tmp_path / "ann" / "old" / "chapter1-old.ipynb"), (1, 1))
    put(tmp_path / "ann" / "notes.pdf", b"%PDF")
    put(tmp_path / "ann" / ".ipynb_checkpoints" / "chapter1.ipynb")
    put(tmp_path / "bo" / ".chapter1.ipynb")  # saved under a hidden name: still hers
    found, left = collect_all(tmp_path, NAMES)
    assert [(one.student, bool(one.path)) for one in found] == [
        ("ann", True),
        ("bo", True),
    ]
    names = " ".join(one.file for one in left)
    for name in (
        "readme.txt",
        ".DS_Store",
        "chapter1-old.ipynb",
        "notes.pdf",
        "checkpoints",
    ):
        assert name in names
    with pytest.raises(CourseError, match="nothing was handed in"):
        collect_all(put(tmp_path / "x" / "readme.txt", b"a").parent, NAMES)


def test_notebooks_of_every_version():
    cell = {"cell_type": "code", "input": ["x = 1\n", "y"], "metadata": {}}
    for version in (2, 3):
        sheets = [{"cells": [cell, {"cell_type": "heading", "source": "A"}]}]
        content = json.dumps({"nbformat": version, "worksheets": sheets}).encode()
        code, heading = cells_of(content)
        assert (code["cell_type"], code["source"]) == ("code", "x = 1\ny")
        assert heading["cell_type"] == "markdown"
    assert cells_of(notebook("one").decode().encode("utf-16"))[0]["source"] == "x = 1"
    assert cells_of("{'cells'".replace("'", '"').encode()[:0] + notebook("\udcff"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\0\0\0", "empty"),
        (b"%PDF-1.7", "no notebook"),
        (b"[1, 2]", "no notebook"),
        (b'{"cells": "none"}', "no notebook"),
        (b'{"cells": []}', "no cells"),
        (b'{"nbformat": 3, "worksheets": []}', "no cells"),
        (b'{"nbformat": 3, "worksheets": {"cells": 3}}', "no cells"),
        (b'{"nbformat": 3, "worksheets": [3, null, {"cells": [7]}]}', "no cells"),
        (b'{"cells":' + b"[" * 100_000, "no notebook"),
        (b'{"cells": [{"source": ' + b"9" * 10_000 + b"}]}", "no notebook"),
    ],
    ids=range(11),
)
def test_what_is_no_notebook(content, words):
    with pytest.raises(ValueError, match=words):
        cells_of(content)


def test_odd_cells_are_cells():
    odd = [
        {"cell_type": 7, "source": None},
        {"source": {"a": 1}, "metadata": 3},
        {"cell_type": "code", "source": [1, "a"], "metadata": {"nbgrader": []}},
    ]
    for cell in cells_of(json.dumps({"cells": odd}).encode()):
        assert isinstance(cell["source"], str)
        assert submissions.mark_of(cell) == ""


def test_printable():
    assert printable("Zoë \udcff\n\t\x1b[2J") == "Zoë \\udcff\\n\\t\\x1b[2J"


# --- graded to the end ----------------------------------------------------------------


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("course")
    assignments.make("a-seed", target, module=course_example)
    return target


def answered(course: Path) -> dict:
    """The release with the right answers, as JSON."""
    (path,) = (course / "release").rglob("*.ipynb")
    data = json.loads(path.read_text(encoding="utf-8"))
    for one in assignments.drawn("a-seed", module=course_example)["course_example"]:
        cell_of(data, one.name)["source"] = one.answer or one.solution
    return data


def cell_of(data: dict, name: str) -> dict:
    marks = [
        cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in data["cells"]
    ]
    return data["cells"][marks.index(name)]


def split(data: dict, keep_marks: bool) -> None:
    cell = cell_of(data, "times")
    head, rest = cell["source"].split("\n", 1)
    second = copy.deepcopy(cell) if keep_marks else {**cell, "metadata": {}}
    second.update(source=rest, id="second")
    cell["source"] = head
    data["cells"].insert(data["cells"].index(cell) + 1, second)


def functions_in_two_cells(data: dict) -> None:
    cell = cell_of(data, "times")
    helper = {**cell, "metadata": {}, "id": "second", "source": cell["source"]}
    cell["source"] = "# the next cell has it"
    data["cells"].insert(data["cells"].index(cell) + 1, helper)


def retyped(kind: str):
    return lambda data: cell_of(data, "times").update(cell_type=kind)


def copied(data: dict) -> None:
    cell = cell_of(data, "times")
    data["cells"].insert(2, {**copy.deepcopy(cell), "source": "1 / 0", "id": "copy"})


def surrogate(data: dict) -> None:
    cell_of(data, "times")["source"] = "raise ValueError('\ud800')"


def enormous(data: dict) -> None:
    cell_of(data, "times")["source"] = "#" + "x" * 1_100_000


STATES = {
    "split": (lambda data: split(data, False), 5, ""),
    "split, marked": (lambda data: split(data, True), 5, "2 cells of times"),
    "two cells": (functions_in_two_cells, 5, ""),
    "raw": (retyped("raw"), 5, "is raw; it was run as code"),
    "markdown": (retyped("markdown"), 5, "is markdown; it was run as code"),
    "copied": (copied, 5, "2 cells of times, the last one counts"),
    "surrogate": (surrogate, 3, ""),
    "enormous": (enormous, 3, "too long to be run"),
}


@pytest.fixture(scope="module")
def class_of_states(course, tmp_path_factory):
    folder = tmp_path_factory.mktemp("states")
    for name, (change, _, _) in STATES.items():
        data = answered(course)
        change(data)
        put(folder / "in" / name / "course_example.ipynb", json.dumps(data).encode())
    put(folder / "in" / "a-v3" / "x.ipynb", b'{"nbformat": 3, "worksheets": []}')
    put(
        Path(os.fsdecode(os.fsencode(folder) + b"/in/M\xfcller/course_example.ipynb")),
        json.dumps(answered(course)).encode(),
    )
    done = grading.grade_all(folder / "in", course, folder / "out", jobs=2, seconds=3)
    return folder / "out", {one["student"]: one for one in done}


@pytest.mark.parametrize("name", STATES)
def test_cells_in_every_state(name, class_of_states):
    _, points, remark = STATES[name]
    graded = class_of_states[1][name]
    assert grading.sums(graded)[0] == points
    assert remark in graded["remark"]


def test_one_file_never_stops_the_class(class_of_states):
    out, done = class_of_states
    text = (out / "grades.csv").read_text(encoding="utf-8")
    assert text.count("\n") == len(STATES) + 3
    assert grading.sums(done["M\\udcfcller"])[0] == 5
    assert "has no cells" in done["a-v3"]["remark"]
    assert len(list((out / "feedback").rglob("*.html"))) == len(done)
    message = done["surrogate"]["exercises"][0]["message"]
    assert "surrogates not allowed" in message
