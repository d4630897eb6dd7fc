"""The builder: one table of chapters, runs that can fail and be stopped, and a site in
the end.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(ROOT / "book"))
build, execution, chapters = map(
    importlib.import_module, ("build", "execution", "chapters")
)
address, front, gallery = map(importlib.import_module, ("address", "front", "gallery"))
sys.path.pop(0)


def notebook(*sources: str):
    v4 = nbformat.v4
    return v4.new_notebook(
        cells=[v4.new_markdown_cell("# Try"), *map(v4.new_code_cell, sources)]
    )


# --- the table ------------------------------------------------------------------------


def test_every_chapter_is_in_the_table_of_contents():
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    assert [part["caption"] for part in toc["parts"] if part["chapters"] is None] == [
        "Chapters"
    ]
    listed = [name for name in chapters.pages() if name.startswith("notebooks/")]
    assert listed == [f"notebooks/{path.stem}" for path in execution.chapter_paths()]
    assert (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8").count(
        "notebooks/"
    ) == 0


def test_numbers_count_up_and_headings_are_the_table_s():
    assert [chapter.number for chapter in chapters.CHAPTERS] == list(
        range(1, len(chapters.CHAPTERS) + 1)
    )
    for chapter in chapters.CHAPTERS:
        first = nbformat.read(chapter.path, as_version=4).cells[0].source
        assert first.splitlines()[0] == f"# {chapter.question}"


def test_every_chapter_opens_in_colab_by_a_badge_that_the_site_drops():
    """The site has a button for it already."""
    for chapter in chapters.CHAPTERS:
        notebook = json.loads(chapter.path.read_text(encoding="utf-8"))
        before = "".join(notebook["cells"][0]["source"])
        place = f"{address.slug()}/blob/main/notebooks/{chapter.file}"
        badge = f"](https://colab.research.google.com/github/{place})"
        assert before.splitlines()[2].endswith(badge)
        front.drop_badge(notebook)
        first, _, rest = before.partition("[![Open in Colab]")
        assert notebook["cells"][0]["source"] == first + rest.partition("\n\n")[2]


def test_every_chapter_has_its_modules():
    for chapter in chapters.CHAPTERS:
        checks = importlib.import_module(chapter.exercises)
        assert any(name.startswith("check_") for name in vars(checks)), chapter.name
        assert callable(importlib.import_module(chapter.course).graded)


def test_front_page_lists_every_chapter():
    page = front.fill((ROOT / "book" / "index.md").read_text(encoding="utf-8"))
    for chapter in chapters.CHAPTERS:
        assert (
            f"{chapter.number}. [{chapter.question}](../notebooks/{chapter.file}) "
            in page
        )
    assert "% the chapters" not in page


def test_a_chapter_without_a_row_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(
        chapters, "CHAPTERS", (chapters.Chapter("01_one", "One?", "You count."),)
    )
    nbformat.write(notebook("1"), tmp_path / "01_one.ipynb")
    assert execution.chapter_paths() == [tmp_path / "01_one.ipynb"]
    nbformat.write(notebook("1"), tmp_path / "02_two.ipynb")
    with pytest.raises(
        build.BuildError, match=r"02_two\.ipynb is in no row of book/chapters\.py; "
    ):
        execution.chapter_paths()
    (tmp_path / "02_two.ipynb").unlink()
    (tmp_path / "01_one.ipynb").unlink()
    with pytest.raises(build.BuildError, match=r"01_one\.ipynb is missing; "):
        execution.chapter_paths()


# --- what is ahead --------------------------------------------------------------------


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A record of run times of its own, given by kind."""
    path = tmp_path / "seconds.json"
    monkeypatch.setattr(chapters, "SECONDS", path)

    def write(**kinds) -> None:
        entries = {
            kind: {"machine": "a machine", "seconds": seconds}
            for kind, seconds in kinds.items()
        }
        path.write_text(json.dumps({"kinds": entries}), encoding="utf-8")

    return write


def test_expected_seconds_of_both_kinds(record):
    assert chapters.expected_seconds(["a"], "bfloat16") is None
    record(bfloat16={"a": 10, "b": 20, "c": 30}, float32={"b": 60})
    assert chapters.expected_seconds(["a", "b", "c"], "bfloat16") == 60
    # scaled by b, measured on both
    assert chapters.expected_seconds(["a", "b", "c"], "float32") == 30 + 60 + 90
    assert chapters.expected_seconds(["new"], "bfloat16") == 20  # the mean
    record(bfloat16={"a": 10})
    assert chapters.expected_seconds(["a"], "float32") == 10  # better than nothing


@pytest.mark.parametrize(
    ("kind", "word", "minutes"), [("bfloat16", "with", 2), ("float32", "without", 6)]
)
def test_announcement_says_chapters_and_minutes(
    kind, word, minutes, record, monkeypatch
):
    record(bfloat16={"a": 60, "b": 60}, float32={"a": 180, "b": 180})
    monkeypatch.setattr(execution, "processor_kind", lambda: kind)
    said = execution.announcement(2, ["a", "b"])
    assert said.startswith(
        f"2 chapters, about {minutes} minutes on a processor {word} bfloat16 like this "
        "one"
    )
    assert "Ctrl-C stops" in said
    assert execution.announcement(2, ["a"]).startswith(
        f"1 of 2 chapters to run, about {minutes // 2} minute"
    )
    assert "2 chapters, all of them" in execution.announcement(2, [])


def test_kind_follows_the_limits_that_are_set(monkeypatch):
    assert execution.processor_kind() in chapters.KINDS
    monkeypatch.setenv("PLTUTORIAL_PRECISION", "float32")
    assert execution.processor_kind() == "float32"
    code = (
        "import sys; sys.path.insert(0, 'book'); from execution import processor_kind"
    )
    code += "; print(processor_kind())"
    slow = {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "CUDA_VISIBLE_DEVICES": "",
    }
    environment = {**os.environ, **slow, "PYTHONPATH": str(ROOT)}
    environment.pop("PLTUTORIAL_PRECISION")
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.stdout == "float32\n", run.stderr


def test_seconds_are_noted_for_this_kind_alone(record, monkeypatch):
    record(bfloat16={"a": 10})
    monkeypatch.setattr(execution, "processor_kind", lambda: "float32")
    execution.note_seconds("b", 12.34)
    assert chapters.measured()["float32"]["seconds"] == {"b": 12.3}
    assert chapters.measured()["bfloat16"]["seconds"] == {"a": 10}


def test_the_stored_record_knows_the_chapters_and_kinds():
    measured = chapters.measured()
    assert set(measured) == set(chapters.KINDS)
    names = {chapter.name for chapter in chapters.CHAPTERS}
    for entry in measured.values():
        assert entry["machine"]
        assert set(entry["seconds"]) <= names
    # a chapter is measured where it was made, on one kind at least
    assert set().union(*(entry["seconds"] for entry in measured.values())) == names


def test_two_quick_chapters_are_compared_the_slow_way(record, monkeypatch):
    names = [chapter.name for chapter in chapters.CHAPTERS]
    record(bfloat16={name: 100 - 10 * number for number, name in enumerate(names)})
    asked = []
    monkeypatch.setattr(build, "_compare", lambda *given: asked.append(given))
    monkeypatch.setattr(build, "processor_kind", lambda: "float32")
    build.check_slow()
    assert asked == []  # there every test is such a comparison
    monkeypatch.setattr(build, "processor_kind", lambda: "bfloat16")
    build.check_slow()
    slow = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    assert asked == [(slow, f"nbval and ({names[-2]} or {names[-1]})")]


# --- one notebook ---------------------------------------------------------------------


def test_failure_names_notebook_and_cell(tmp_path, monkeypatch):
    """And the kernel is this Python's, though a broken one of the same name is
    installed first.
    """
    broken = tmp_path / "kernels" / "python3"
    broken.mkdir(parents=True)
    (broken / "kernel.json").write_text(
        '{"argv": ["false"], "display_name": "x", "language": "python"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setattr(execution, "NOTEBOOKS", tmp_path)
    path = tmp_path / "09_try.ipynb"
    nbformat.write(
        notebook(
            "import sys; assert sys.executable == " + repr(sys.executable), "1 / 0"
        ),
        path,
    )
    seen = []
    with pytest.raises(build.BuildError) as caught:
        execution.run_notebook(path, lambda cell, count: seen.append((cell, count)))
    assert f"{tmp_path.name}/09_try.ipynb, cell 3 (code cell 2)" in str(caught.value)
    assert "ZeroDivisionError: division by zero" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "1 / 0" in caught.value.traceback
    assert seen == [(1, 2), (2, 2)]


def test_a_kernel_that_dies_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "NOTEBOOKS", tmp_path)
    path = tmp_path / "09_try.ipynb"
    nbformat.write(notebook("import os; os._exit(1)"), path)
    with pytest.raises(
        build.BuildError, match=r"cell 2 \(code cell 1\) failed: its kernel died"
    ):
        execution.run_notebook(path)


def test_a_cell_has_a_limit_only_if_one_is_set(tmp_path, monkeypatch):
    monkeypatch.delenv(execution.CELL_TIMEOUT, raising=False)
    assert execution.cell_timeout() is None
    monkeypatch.setattr(execution, "NOTEBOOKS", tmp_path)
    path = tmp_path / "09_try.ipynb"
    nbformat.write(notebook("import time; time.sleep(60)"), path)
    monkeypatch.setenv(execution.CELL_TIMEOUT, "1")
    with pytest.raises(
        build.BuildError,
        match=r"it took longer than the 1 s that PLTUTORIAL_CELL_TIMEOUT",
    ):
        execution.run_notebook(path)


@pytest.mark.parametrize("said", ["soon", "0", "-5", "nan"])
def test_a_limit_that_is_none_is_refused(said, monkeypatch):
    monkeypatch.setenv(execution.CELL_TIMEOUT, said)
    with pytest.raises(
        build.BuildError, match=rf"PLTUTORIAL_CELL_TIMEOUT is '{said}'; give it seconds"
    ):
        execution.cell_timeout()


def test_run_key_follows_code_and_not_outputs():
    first, second, third = notebook("x = 1"), notebook("x = 1"), notebook("x = 2")
    second.cells[1].outputs = [nbformat.v4.new_output("stream", text="1")]
    assert (
        execution.run_key(first)
        == execution.run_key(second)
        != execution.run_key(third)
    )


def test_run_key_follows_the_package(tmp_path, monkeypatch):
    for folder in ("pltutorial", "data"):
        (tmp_path / folder).mkdir()
    module, lock = tmp_path / "pltutorial" / "losses.py", tmp_path / "requirements.lock"
    module.write_text("a = 1\n")
    lock.write_text("numpy==1\n")
    monkeypatch.setattr(execution, "ROOT", tmp_path)
    # where the files are hashed
    monkeypatch.setattr(sys.modules["web"], "ROOT", tmp_path)
    monkeypatch.setattr(execution, "LOCK", lock)
    keys = [execution.run_key(notebook("x"))]
    module.write_text("a = 2\n")
    keys.append(execution.run_key(notebook("x")))
    lock.write_text("numpy==2\n")
    keys.append(execution.run_key(notebook("x")))
    assert len(set(keys)) == 3


def test_clean_keeps_what_is_read_and_drops_what_changes():
    run, stream = notebook("print(1)", "", "print(2)"), nbformat.v4.new_output
    run.metadata.widgets = {"state": {}}
    run.metadata.language_info = {"name": "python", "version": "3.99"}
    run.cells[1].metadata.execution = {"iopub.execute_input": "2026-01-01"}
    run.cells[1].metadata.tags = ["hide-input"]
    run.cells[1].outputs = [stream("stream", text="a"), stream("stream", text="b")]
    run.cells[3].execution_count = 41
    kept = execution.clean(run)
    assert [cell.execution_count for cell in kept.cells[1:]] == [1, None, 2]
    assert [output.text for output in kept.cells[1].outputs] == ["ab"]
    assert kept.cells[1].metadata == {"tags": ["hide-input"]}
    assert set(kept.metadata) == {"kernelspec", "language_info"}
    assert "version" not in kept.metadata.language_info
    nbformat.validate(kept)


# --- `make book`, with three tiny chapters --------------------------------------------

# The second chapter waits, fails or counts, as the file `what` beside it says.
SECOND = """
import pathlib, time
what = pathlib.Path("what").read_text()
if what == "wait":
    pathlib.Path("waiting").touch()
    time.sleep(600)
assert what == "go", "the second\\nsays no `way`"
print("ran", what)
"""
SCRIPT = """
import pathlib, sys
sys.path.insert(0, {book!r})
import build, chapters, execution, gallery, web
here = pathlib.Path({here!r})
text = pathlib.Path.read_text
chapters.NOTEBOOKS = execution.NOTEBOOKS = build.NOTEBOOKS = here / "notebooks"
names = ("01_one", "02_two", "03_three")
chapters.CHAPTERS = tuple(chapters.Chapter(name, name, "You try.") for name in names)
execution.files_under = build.files_under = lambda *folders: []
whole = build.fingerprint
# The hash takes places within the project, and these notebooks lie elsewhere.
build.fingerprint = lambda paths, *texts: whole([], *texts, *map(text, sorted(paths)))
build.BUILD = here / "build"
gallery.stage = lambda tree: None
build.stage_live = lambda html: None
def pages(notebooks, target, answers, failed):  # Sphinx is another test's matter
    build.stage(notebooks, target / "source", answers, failed)
    (target / "_build" / "html").mkdir(parents=True, exist_ok=True)
    (target / "_build" / "html" / "index.html").touch()
build.build_pages = pages
sys.argv[1:] = ["book"]
build.leave(build.main())
"""


@pytest.fixture
def tiny(tmp_path):
    """A book of three chapters; gives its folder."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    sources = {
        "01_one": "print('first')",
        "02_two": SECOND,
        "03_three": "print('third')",
    }
    for name, source in sources.items():
        stored = notebook(source)
        stored.cells[0].source = f"# {name}\n\nWords."
        stored.cells[1].outputs = [
            nbformat.v4.new_output("stream", text=f"stored {name}\n")
        ]
        nbformat.write(stored, folder / f"{name}.ipynb")
    return tmp_path


def start(tiny: Path, what: str) -> subprocess.Popen:
    (tiny / "notebooks" / "what").write_text(what)
    code = SCRIPT.format(book=str(ROOT / "book"), here=str(tiny))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A group of its own, so that a signal to all of it is what a terminal's Ctrl-C is.
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        **pipes,
    )


def book(tiny: Path, what: str) -> tuple[int, str, str]:
    run = start(tiny, what)
    out, err = run.communicate(timeout=120)
    return run.returncode, out, err


def staged(tiny: Path, name: str) -> tuple[str, str]:
    """The text of a chapter's first cell and its output, as Sphinx gets them."""
    path = tiny / "build" / "book" / "source" / "notebooks" / f"{name}.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    return cells[0].source, cells[1].outputs[0].text


def test_book_is_made_and_nothing_is_run_twice(tiny):
    code, out, err = book(tiny, "go")
    assert (code, err) == (0, ""), out
    assert out.startswith("3 chapters, about ")
    assert len(re.findall(r"^0\d_\w+: running \.\.\. \d+\.\d s$", out, re.M)) == 3
    assert out.splitlines()[-1].startswith("open ")
    assert [staged(tiny, name)[1] for name in ("01_one", "02_two")] == [
        "first\n",
        "ran go\n",
    ]
    code, out, _ = book(tiny, "go")
    assert code == 0
    assert out.startswith("3 chapters, all of them run already")
    assert out.count(": unchanged\n") == 3


def test_a_failed_chapter_is_said_at_once_and_shown_with_its_stored_outputs(tiny):
    code, out, err = book(tiny, "no")
    assert code == 1
    lines = out.splitlines()
    failed = lines.index("02_two: running ... failed")
    assert lines[failed + 1] == (
        "  notebooks/02_two.ipynb, cell 2 (code cell 1) failed: AssertionError: says "
        "no `way`"
    )
    assert re.match(r"  the whole error is in .*02_two\.error\.txt$", lines[failed + 2])
    assert (
        "AssertionError: the second"
        in (tiny / "build/executed/02_two.error.txt").read_text()
    )
    assert lines[failed + 3].startswith("03_three: running ... ")
    assert lines[-1].startswith("open ")
    assert re.fullmatch(
        r"error: 1 chapter failed \(02_two\); the site shows the stored outputs .*\n",
        err,
    )
    text, shown = staged(tiny, "02_two")
    assert shown == "stored 02_two\n"
    assert text.startswith(
        "# 02_two\n\n````{warning}\n**This chapter did not run to its end"
    )
    assert (
        "cell 2 (code cell 1):\n\n```text\nAssertionError: says no 'way'\n```" in text
    )
    assert text.endswith("\n\nWords.")
    for name, ran in (("01_one", "first\n"), ("03_three", "third\n")):
        text, shown = staged(tiny, name)
        assert shown == ran
        assert "{warning}" not in text

    code, out, err = book(tiny, "go")
    assert (code, err) == (0, "")
    assert out.startswith("1 of 3 chapters to run, about ")
    assert staged(tiny, "02_two") == ("# 02_two\n\nWords.", "ran go\n")
    assert not (tiny / "build/executed/02_two.error.txt").exists()


@pytest.mark.skipif(
    os.name != "posix", reason="signals to a group of processes are POSIX"
)
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_says_one_sentence_and_goes_on_from_there(tiny, signum):
    run = start(tiny, "wait")
    deadline = time.monotonic() + 120
    while not (tiny / "notebooks" / "waiting").exists():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(run.pid, signum)
    out, err = run.communicate(timeout=60)
    kept = "stopped; 1 of 3 chapters are kept"
    assert err == f"{kept}, and the same command goes on from there\n"
    assert run.returncode == 128 + signum
    assert "Traceback" not in out
    assert not (tiny / "build" / "book").exists()
    code, out, err = book(tiny, "go")
    assert (code, err) == (0, "")
    assert out.startswith("2 of 3 chapters to run, about ")
    assert "01_one: unchanged\n02_two: running ... " in out


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("execution", "stopped; nothing was begun\n"),  # among the imports
        ("front", "stopped; nothing was begun\n"),
        ("nbformat", "stopped; the same command goes on from here\n"),  # within main
    ],
)
def test_stopped_at_any_moment_it_says_one_sentence(module, sentence, signum):
    code = (
        "import runpy, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        f"            signal.raise_signal({int(signum)})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv = ['build.py', 'execute', 'no such chapter']\n"
        "sys.path.insert(0, 'book')\n"
        "runpy.run_path('book/build.py', run_name='__main__')\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (128 + signum, sentence)


@pytest.mark.skipif(os.name != "posix", reason="sessions of processes are POSIX")
def test_what_runs_apart_ends_with_us(tmp_path):
    from build import run_apart

    code = "import os, time; print(os.getpid(), os.getsid(0), flush=True); "
    code += "time.sleep(60)"

    def stop(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 2)
    with (tmp_path / "out").open("w") as out, pytest.raises(KeyboardInterrupt):
        run_apart([sys.executable, "-c", code], stdout=out)
    signal.signal(signal.SIGALRM, before)
    pid, session = map(int, (tmp_path / "out").read_text().split())
    assert session == pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
