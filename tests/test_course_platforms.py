"""Grades for other platforms, nbgrader's own commands, and sandboxes that
are other programs.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import course_example
import pytest

from book.course import assignments, platforms, runner, sandbox
from book.course.assignments import CourseError
from book.course.runner import Part

RESULT = {
    "student": "Ann Berg_4711",
    "assignment": "chapter1",
    "remark": "the file was named a.ipynb",
    "look": "sys.modules",
    "seconds": 3.4,
    "exercises": [
        {
            "name": "a",
            "title": "A",
            "of": 4,
            "points": 4,
            "verdict": "right",
            "message": "",
        },
        {
            "name": "b",
            "title": "B",
            "of": 5,
            "points": 2.5,
            "verdict": "by hand",
            "message": "good",
        },
        {
            "name": "c",
            "title": "C",
            "of": 5,
            "points": 0,
            "verdict": "wrong",
            "message": "=1+1",
        },
    ],
}
OTHER = {
    **RESULT,
    "student": "Bo Ek_12_assignsubmission_file_",
    "assignment": "chapter2",
}


def rows(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text)))


def test_canvas():
    possible, ann, bo = rows(platforms.canvas([RESULT, OTHER]))
    assert list(ann)[:5] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
    assert possible["Student"] == "    Points Possible"
    assert (possible["chapter1"], possible["chapter2"]) == ("14", "14")
    assert (ann["Student"], ann["ID"], ann["chapter1"]) == ("Ann Berg", "4711", "6.5")
    assert ann["chapter2"] == ""
    assert (bo["ID"], bo["chapter2"]) == ("12", "6.5")


def test_moodle():
    (bo,) = rows(platforms.moodle([OTHER]))
    assert (bo["Identifier"], bo["Full name"]) == ("Participant 12", "Bo Ek")
    assert (bo["Grade"], bo["Maximum Grade"]) == ("6.5", "14")
    assert "B: 2.5 of 5, good" in bo["Feedback comments"]
    assert rows(platforms.moodle([{**OTHER, "student": "cy"}]))[0]["Identifier"] == ""


def test_gradescope():
    made = platforms.gradescope(RESULT)
    assert made["score"] == 6.5
    assert made["execution_time"] == 3
    assert [one["status"] for one in made["tests"]] == ["passed", "passed", "failed"]
    assert sum(one["max_score"] for one in made["tests"]) == 14
    # what a person should look at is not for students
    assert "sys.modules" not in json.dumps(made)


def test_all_are_written(tmp_path):
    platforms.export_all([RESULT, OTHER], tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert names == {
        "canvas.csv",
        "moodle-chapter1.csv",
        "moodle-chapter2.csv",
        "gradescope/chapter1/Ann Berg_4711.json",
        "gradescope/chapter2/Bo Ek_12_assignsubmission_file_.json",
    }


def test_nbgrader_grades_a_release_by_itself(tmp_path):
    """With a gradebook: the solutions get all automatic points, the
    release as it is none.
    """
    made = assignments.make("a-seed", tmp_path, module=course_example, gradebook=True)
    for student, path in (
        ("full", tmp_path / "source"),
        ("none", tmp_path / "release"),
    ):
        place = tmp_path / "submitted" / student / "course_example"
        shutil.copytree(path / "course_example", place)
    assert made == [tmp_path / "release/course_example/course_example.ipynb"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for words in (["autograde", "course_example"], ["export"]):
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "nbgrader", *words],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            check=True,
            capture_output=True,
        )
    with (tmp_path / "grades.csv").open(encoding="utf-8") as file:
        scores = {
            row["student_id"]: float(row["raw_score"]) for row in csv.DictReader(file)
        }
    assert scores == {"full": 5.0, "none": 0.0}


PARTS = [
    Part(
        "import os, torch\n\n\ndef twice(x):\n    os.write(1, b'noise')\n"
        "    return 2 * x"
    ),
    Part(
        "import torch\nx = torch.ones(2, requires_grad=True)\n"
        "twice(x).sum().backward()",
        "a",
    ),
    Part("assert x.grad.tolist() == [2, 2]", "a"),
]


@pytest.fixture
def back_to_what_was():
    before = sandbox.in_force()
    yield
    sandbox.choose(before)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_a_container_is_asked_for_what_it_must_have(
    tmp_path, monkeypatch, back_to_what_was
):
    """A stand-in for podman notes its words, and runs the command where it is."""
    grading = tmp_path / "grading"
    grading.mkdir()
    (grading / "worker").symlink_to(Path(sandbox.__file__).with_name("worker"))
    packages = os.pathsep.join([str(grading), *sandbox._packages()])
    script = f"""#!/bin/sh
echo "$@" >> {tmp_path}/words
[ "$1" = rm ] && exit
while [ "$1" != an-image ]; do shift; done
shift
PYTHONPATH={packages} exec "$@"
"""
    (tmp_path / "podman").write_text(script)
    (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("GRADING_IMAGE", "an-image")
    monkeypatch.setattr(sandbox, "HOME", str(tmp_path))
    assert sandbox.choose("container") == "container"
    channel, process = sandbox.start("container", 3, 60, str(tmp_path), [])
    from book.course.judge import _Judge

    told = []
    end = _Judge(channel, 30, told.append).run(
        [
            [number, "test" if part.name else "cell", part.name, part.text]
            for number, part in enumerate(PARTS)
        ]
    )
    process.kill()
    assert end == {"done": True}
    assert [one["problem"] for one in told if "end" in one] == ["", "", ""]
    words = (tmp_path / "words").read_text()
    for wanted in (
        "--network none",
        "--read-only",
        "--memory",
        "--pids-limit",
        "--cap-drop ALL",
    ):
        assert wanted in words
    for volume in words.split("--volume ")[1:]:
        assert volume.split()[0].endswith(":ro")
    # what the engine runs would outlive the program that asked for it
    names = [line.split("--name ")[1].split()[0] for line in words.splitlines()[::2]]
    assert words.splitlines()[1::2] == [f"rm --force {name}" for name in names]
    assert len(set(names)) == 2  # one that was tried, and the student's


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'Cannot connect.' >&2; echo \"Run 'podman --help'\" >&2", "Cannot"),
        ("echo hello; exit 0", "it ended without a word"),
    ],
)
def test_what_is_wrong_with_a_sandbox_is_said(
    script, words, tmp_path, monkeypatch, back_to_what_was
):
    (tmp_path / "podman").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "podman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("GRADING_IMAGE", "an-image")
    with pytest.raises(CourseError, match=f"does not work here: {words}"):
        sandbox.choose("container")


@pytest.mark.parametrize("kind", ["bubblewrap", "container"])
def test_real_sandboxes(kind, back_to_what_was):
    try:
        sandbox.choose(kind)
    except CourseError as problem:
        pytest.skip(str(problem))
    parts = [*PARTS, Part(LOOKING), Part("assert False, seen", "b")]
    *plain, _, seen = [one.problem for one in runner.run(parts, 20, 400)]
    assert plain == ["", "", ""]
    assert seen == "['OSError', 'OSError', 'OSError']"


LOOKING = f"""
import socket
from pathlib import Path
seen = []
for path in ({str(Path(__file__))!r}, {sandbox.__file__!r}):
    if Path(path).exists():
        seen.append(path)
try:
    socket.create_connection(("1.1.1.1", 53), 2)
except OSError:
    seen.append("OSError")
try:
    Path("/mine").write_text("mine")
except OSError:
    seen.append("OSError")
try:
    for number in range(20):
        Path(f"room{{number}}").write_bytes(bytes(2**25))
except OSError:
    seen.append("OSError")
"""
