"""Ways to points that are not one's own: each gains nothing, and a person is told
where it can be seen.
"""

from __future__ import annotations

import copy
import csv
import json
import os
import pickle
import time
from pathlib import Path

import course_example
import pytest

from book.course import assignments, grading, sandbox
from book.course.assignments import CourseError

SECONDS = 3.0
WRONG = "def times(x):\n    return 0\n\n\ndef mean(x):\n    return x[0]\n"


class Travelling(float):
    """Equal to everything, if it could travel."""


CHEATS = {
    "asserts taken out": """
import ast
class Without(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass()
get_ipython().ast_transformers.append(Without())
""",
    "the grader's functions replaced": """
import sys
for name, module in list(sys.modules.items()):
    for function in ("_line", "_test", "_judged", "told"):
        if name.startswith("book.") and hasattr(module, function):
            setattr(module, function, lambda *a, **k: "")
    if hasattr(module, "told"):
        module.told = lambda problem: None
""",
    "run_cell replaced": """
shell = get_ipython()
before = shell.run_cell
shell.run_cell = lambda cell, **named: before("pass", **named)
""",
    "verdicts said by oneself": """
import gc, os, sys
frames = sys._getframe()
(channel,) = [one for one in gc.get_objects() if type(one).__name__ == "Channel"]
for number in range(9):
    channel.send({"end": number, "problem": "", "printed": "", "value": {}, "state": \
[]}, [])
channel.send({"done": True}, [])
os._exit(0)
""",
    "a pickle in place of data": f"""
import gc, os
(channel,) = [one for one in gc.get_objects() if type(one).__name__ == "Channel"]
os.write(channel.write, {pickle.dumps(print)!r} * 3)
os._exit(0)
""",
    "numbers that are equal to all": """
class Equal(float):
    def __eq__(self, other):
        return True
    def __hash__(self):
        return 1
    def __sub__(self, other):
        return 0.0
def times(x):
    return Equal(1)
mean = times
""",
    "a tensor that lies": """
import torch
class Lies(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True
def times(x):
    return torch.zeros(()).as_subclass(Lies)
mean = times
""",
    "the caller's right answer": """
import sys
def times(x):
    frame = sys._getframe()
    while frame:
        for name in ("right", "wanted", "secret_number"):
            if name in frame.f_locals or name in frame.f_globals:
                return frame.f_locals.get(name) or frame.f_globals[name]
        frame = frame.f_back
mean = times
""",
    "builtins of one's own": """
import builtins
builtins.AssertionError = type("AssertionError", (Exception,), {})
def abs(x):
    return 0
def all(x):
    return True
float = int = bool = lambda x: 0
""",
    "sentences of another kind": """
def times(x):
    raise StopIteration
def mean(x):
    raise SystemExit(0)
""",
}


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("course")
    assignments.make("a-seed", target, module=course_example)
    return target


@pytest.fixture(scope="module", params=["none", "unshare"])
def kind(request):
    before = sandbox.in_force()
    try:
        sandbox.choose(request.param)
    except CourseError as problem:
        pytest.skip(str(problem))
    yield request.param
    sandbox.choose(before)


def hand_in(course: Path, folder: Path, student: str, code: str) -> Path:
    """The release with this code in each answer, and nothing written."""
    (path,) = (course / "release").rglob("*.ipynb")
    data = json.loads(path.read_text(encoding="utf-8"))
    for cell in data["cells"]:
        marks = cell["metadata"].get("nbgrader", {})
        if cell["cell_type"] == "code" and marks.get("solution"):
            cell["source"] = code
    place = folder / student / "course_example.ipynb"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(data))
    return place


def solutions(course: Path) -> str:
    known = assignments.drawn("a-seed", module=course_example)["course_example"]
    return "\n\n".join(one.solution for one in known if not one.written)


def graded(course: Path, folder: Path, seconds: float = SECONDS) -> dict[str, dict]:
    done = grading.grade_all(
        folder / "in", course, folder / "out", jobs=2, seconds=seconds
    )
    return {one["student"]: one for one in done}


def test_cheats_gain_nothing(course, tmp_path, kind, capfd):
    """All at once, among honest ones; nothing of theirs reaches the terminal, and no
    hidden test the feedback.
    """
    source = next((course / "source").rglob("*.ipynb"))
    reading = f"""
import json, re
for cell in json.load(open({str(source)!r}))["cells"]:
    text = "".join(cell["source"])
    if "BEGIN SOLUTION" in text and cell["cell_type"] == "code":
        exec(text)
"""
    telling = """
import gc, sys
found = [text for text in gc.get_objects() if isinstance(text, str)]
frame = sys._getframe()
while frame:
    found += [repr(value) for value in frame.f_locals.values()]
    frame = frame.f_back
def times(x):
    raise AssertionError([text for text in found if "secret" + "_number" in text])
mean = times
"""
    loud = "import os\nos.write(2, b'LOUD' * 100_000)\nos.system('echo LOUD')\n"
    cheats = {**CHEATS, "reads the solutions": reading, "tells hidden tests": telling}
    for number, code in enumerate(cheats.values()):
        hand_in(course, tmp_path / "in", f"cheat-{number:02d}", WRONG + code)
    hand_in(course, tmp_path / "in", "honest", solutions(course))
    hand_in(course, tmp_path / "in", "loud", loud + solutions(course))
    done = graded(course, tmp_path)
    for number, name in enumerate(cheats):
        assert grading.sums(done[f"cheat-{number:02d}"])[0] == 0, name
    for name in ("honest", "loud"):
        assert grading.sums(done[name])[0] == 5
    assert "LOUD" not in "".join(capfd.readouterr())
    for page in (tmp_path / "out" / "feedback").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "secret_number = " not in text
        assert "look at it" not in text
    with (tmp_path / "out" / "grades.csv").open(encoding="utf-8") as file:
        look = {row["student"]: row["look at it"] for row in csv.DictReader(file)}
    assert look["honest"] == ""
    for number, words in ((0, "ast_transformers"), (1, "sys.modules"), (2, "run_cell")):
        assert words in look[f"cheat-{number:02d}"]
    assert "_getframe" in look["cheat-03"]
    assert "an absolute path" in look["cheat-10"]


def test_links_to_solutions_and_to_friends(course, tmp_path):
    hand_in(course, tmp_path / "in", "honest", solutions(course))
    for name, target in (
        ("to-source", next((course / "source").rglob("*.ipynb"))),
        ("to-a-friend", tmp_path / "in" / "honest" / "course_example.ipynb"),
    ):
        (tmp_path / "in" / name).mkdir()
        (tmp_path / "in" / name / "course_example.ipynb").symlink_to(target)
    done = graded(course, tmp_path)
    assert grading.sums(done["honest"])[0] == 5
    for name in ("to-source", "to-a-friend"):
        assert grading.sums(done[name])[0] == 0
        assert "links are not followed" in done[name]["remark"]


def test_a_result_that_somebody_changed_is_graded_again(course, tmp_path):
    hand_in(course, tmp_path / "in", "ann", WRONG)
    assert grading.sums(graded(course, tmp_path)["ann"])[0] == 0
    (path,) = (tmp_path / "out" / "results").rglob("ann.json")
    result = json.loads(path.read_text())
    for one in result["exercises"]:
        one["points"], one["verdict"] = one["of"], "right"
    path.write_text(json.dumps(result))
    again = graded(course, tmp_path)["ann"]
    assert grading.sums(again)[0] == 0
    assert "changed by somebody" in again["look"]
    key = course / "grading.key"
    assert key.stat().st_mode & 0o077 == 0
    assert key.read_bytes() not in path.read_bytes()


def test_points_by_hand_are_not_entered_unseen(course, tmp_path, capsys):
    place = hand_in(course, tmp_path / "in", "ann", WRONG)
    text = place.read_text(encoding="utf-8")
    place.write_text(
        text.replace("*Your answer:*", "Because of Jensen."), encoding="utf-8"
    )
    graded(course, tmp_path)
    table = tmp_path / "out" / "by_hand.csv"
    asked = table.read_text()
    table.write_text(asked.replace(",4,,", ",4,4,"))
    capsys.readouterr()
    assert grading.sums(graded(course, tmp_path)["ann"])[0] == 4
    assert "new points by hand: ann/course_example/why: 4" in capsys.readouterr().out
    graded(course, tmp_path)
    assert "new points" not in capsys.readouterr().out


def test_points_by_hand_entered_by_a_student(course, tmp_path, capsys, monkeypatch):
    """What changes the table while students' code runs is laid aside."""
    hand_in(course, tmp_path / "in", "ann", WRONG)
    table = tmp_path / "out" / "by_hand.csv"
    table.parent.mkdir()
    head = "student,assignment,exercise,of,points,comment\n"
    table.write_text(head)
    real = grading.runner.run

    def run(*given):
        table.write_text(f"{head}ann,course_example,why,4,4,\n")
        return real(*given)

    monkeypatch.setattr(grading.runner, "run", run)
    assert grading.sums(graded(course, tmp_path)["ann"])[0] == 0
    assert "changed while students' code ran" in capsys.readouterr().out
    assert "why" in (tmp_path / "out" / "by_hand.changed.csv").read_text()


def test_inputs_changed_in_place_are_told(course, tmp_path):
    code = "def times(x):\n    return 0\n\n\ndef mean(x):\n    return 0"
    hand_in(course, tmp_path / "in", "ann", code)
    assert graded(course, tmp_path)["ann"]["look"] == ""
    from book.course.runner import Part, run

    parts = [
        Part("def zero(x):\n    x.zero_()\n    return 0 * x"),
        Part("import torch\nx = torch.ones(3)\nassert (zero(x) == x).all()", "a"),
    ]
    assert run(parts, SECONDS, 60)[1].remark == "it changed what it was given"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_nothing_of_a_student_outlives_the_grading(course, tmp_path, kind):
    length = f"{300 + os.getpid()}.5"
    code = (
        "import subprocess\n"
        f"subprocess.Popen(['sleep', '{length}'], start_new_session=True)\n"
    )
    hand_in(course, tmp_path / "in", "ann", code + solutions(course))
    assert grading.sums(graded(course, tmp_path)["ann"])[0] == 5

    def running() -> bool:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found.append(path.read_bytes())
            except OSError:
                continue
        return any(length.encode() in words for words in found)

    end = time.monotonic() + 10
    while running() and time.monotonic() < end:
        time.sleep(0.1)
    assert not running()


def test_limits_hold(course, tmp_path, kind):
    """Memory and files without end stop one submission, and only that."""
    bombs = {
        "memory": "x = bytearray(2**33)",
        "file": "open('big', 'wb').write(b'0' * 2**27)",
        # no bomb without an end: where a limit fails, the test fails
        # and not the machine
    }
    for name, code in bombs.items():
        hand_in(course, tmp_path / "in", name, code)
    asked = "resource.getrlimit(resource.RLIMIT_NPROC)[0] < 0"
    limited = f"import resource\nif {asked}:\n    raise OSError('no limit')\n"
    hand_in(course, tmp_path / "in", "honest", limited + solutions(course))
    done = graded(course, tmp_path)
    for name in bombs:
        first = done[name]["exercises"][0]
        assert first["points"] == 0
        assert first["message"].startswith("your cell: ")
    assert grading.sums(done["honest"])[0] == 5


def test_a_sandbox_that_is_not_there_is_refused_with_a_sentence(monkeypatch):
    with pytest.raises(CourseError, match="SANDBOX=jail is unknown"):
        sandbox.choose("jail")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CourseError, match="no program bwrap"):
        sandbox.choose("bubblewrap")
    with pytest.raises(CourseError, match="neither podman nor docker"):
        sandbox.choose("container")


def test_the_sandbox_shows_nothing_of_the_course(course, tmp_path):
    """In namespaces a student's process finds no other file, no network
    and no other process.
    """
    from book.course.runner import Part, run

    before = sandbox.in_force()
    try:
        sandbox.choose("unshare")
    except CourseError as problem:
        pytest.skip(str(problem))
    looking = f"""
import os, socket
def seen():
    found = [path for path in \
{[str(course), str(tmp_path), "/etc/passwd", "/var", "/srv"]!r} if os.path.exists(path)]
    try:
        open("/usr/x", "w")
        found.append("wrote into /usr")
    except OSError:
        pass
    try:
        socket.create_connection(("127.0.0.1", 22), 1)
    except OSError as problem:
        found.append(type(problem).__name__)
    os.makedirs("mine", exist_ok=True)
    processes = [name for name in os.listdir("/proc") if name.isdigit()]
    return found, processes, os.getuid(), os.listdir(".")
"""
    test = (
        "found, processes, user, here = seen()\n"
        "assert False, (found, processes, user, here)"
    )
    try:
        said = run([Part(looking), Part(test, "a")], SECONDS, 60)[1].problem
    finally:
        sandbox.choose(before)
    assert str(course) not in said
    assert "wrote into" not in said
    assert "/var" not in said
    assert "'/etc/passwd'" not in said
    assert "1000" in said
    assert "'mine'" in said
    assert copy.copy(said)
