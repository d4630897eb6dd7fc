"""The reader's record: written whole or not at all, by several kernels,
and shown as a table.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import assert_sentence, refused

from pltutorial.teaching import progress

RECORDER = """
import itertools, sys
from pltutorial.teaching import progress
number = int(sys.argv[1]) if len(sys.argv) > 1 else None
for count in itertools.islice(itertools.count(1), number):
    progress.record(1, "ex-pixel-psnr", "check_psnr", count % 2 == 0)
    print(count, flush=True)
"""


@pytest.fixture
def record(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "data" / "progress.sqlite"
    monkeypatch.setenv("PLTUTORIAL_PROGRESS", str(path))
    monkeypatch.delenv("PLTUTORIAL_STATIC", raising=False)
    progress._complained.clear()
    return path


def start(*arguments) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", RECORDER, *arguments], stdout=subprocess.PIPE, text=True
    )


def test_tries_are_counted_and_the_first_success_stays(record):
    assert progress.read() == []
    for solved in (False, False, True, False):
        progress.record(3, "ex-style-covariance", "check_covariance", solved)
    progress.record(1, "ex-pixel-psnr", "check_psnr", False)
    first, second = progress.read()
    assert (first.chapter, first.label, first.tries, first.solved) == (
        1,
        "ex-pixel-psnr",
        1,
        "",
    )
    assert (second.check, second.tries) == ("check_covariance", 4)
    assert len(second.solved) == len("2026-11-21")


def test_checks_write_into_the_record(record, capsys):
    from pltutorial.exercises import check_psnr

    assert not check_psnr(lambda output, target: 0.0)
    check_psnr()  # no try
    (row,) = progress.read()
    assert (row.chapter, row.check, row.tries, row.solved) == (1, "check_psnr", 1, "")


@pytest.mark.parametrize(
    ("name", "value"), [("PLTUTORIAL_PROGRESS", "off"), ("PLTUTORIAL_STATIC", "1")]
)
def test_it_can_be_switched_off(record, monkeypatch, name, value, command):
    monkeypatch.setenv(name, value)
    progress.record(1, "ex", "check", True)
    assert not record.parent.exists()
    assert progress.read() == []
    code, printed, error = command("progress")
    assert (code, printed) == (2, "")
    assert_sentence(error.strip().removeprefix("error: "), name)


def test_place_on_each_system(monkeypatch, tmp_path):
    monkeypatch.delenv("PLTUTORIAL_PROGRESS", raising=False)
    monkeypatch.delenv("PLTUTORIAL_STATIC", raising=False)
    for system, name in (("linux", "XDG_DATA_HOME"), ("win32", "LOCALAPPDATA")):
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setenv(name, str(tmp_path / system))
        assert (
            progress.location() == tmp_path / system / "pltutorial" / "progress.sqlite"
        )
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Application Support" in progress.location().parts


def test_killed_at_any_moment_nothing_that_was_said_is_lost(record):
    """Each round a recorder is killed while it writes; what it had reported
    done is in the record.
    """
    done = 0
    for lines in (1, 2, 5, 9, 14):
        recorder = start()
        reported = [recorder.stdout.readline() for _ in range(lines)]
        os.kill(recorder.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        reported += recorder.stdout.readlines()
        recorder.wait()
        reported = [line for line in reported if line.endswith("\n")]
        (row,) = progress.read()
        assert done + len(reported) <= row.tries <= done + len(reported) + 1
        done = row.tries
    assert not list(record.parent.glob("*broken*"))


def test_several_kernels_write_at_once(record):
    recorders = [start("25") for _ in range(3)]
    for recorder in recorders:
        recorder.communicate()
        assert recorder.returncode == 0
    assert progress.read()[0].tries == 75


@pytest.mark.parametrize("damage", ["text", "cut", "other"])
def test_a_broken_file_is_set_aside_and_said(record, damage, capsys):
    for _ in range(200):
        progress.record(1, "ex-pixel-psnr", "check_psnr", True)
    whole = record.read_bytes()
    if damage == "text":
        record.write_text("no record at all " * 1000)
    elif damage == "cut":
        record.write_bytes(whole[: len(whole) // 2 - 50])
    else:
        import sqlite3

        record.unlink()
        with sqlite3.connect(record) as base:
            base.execute("CREATE TABLE tries (something TEXT)")
    damaged = record.read_bytes()
    capsys.readouterr()
    progress.record(2, "ex-vgg-shape", "check_feature_shape", True)
    said = capsys.readouterr().out
    (aside,) = record.parent.glob("progress-broken-*.sqlite")
    assert str(aside) in said
    assert aside.read_bytes() == damaged
    (row,) = progress.read()
    assert row.label == "ex-vgg-shape"


def test_where_nothing_can_be_written_it_is_said_once(tmp_path, monkeypatch, capsys):
    file = tmp_path / "file"
    file.write_text("in the way")
    monkeypatch.setenv("PLTUTORIAL_PROGRESS", str(file / "progress.sqlite"))
    progress._complained.clear()
    for _ in range(3):
        progress.record(1, "ex", "check", True)
    assert capsys.readouterr().out.count("not recorded") == 1


def test_table(record, command):
    code, printed, _ = command("progress")
    assert code == 0
    assert "ex-pixel-psnr" in printed  # never tried, and shown
    assert printed.splitlines()[-1].startswith("0 of ")
    for solved in (False, True):
        progress.record(1, "ex-pixel-psnr", "check_psnr", solved)
    code, printed, _ = command("progress")
    (line,) = [line for line in printed.splitlines() if "ex-pixel-psnr" in line]
    chapter, label, tries, day = line.split()
    assert (chapter, label, tries) == ("1", "ex-pixel-psnr", "2")
    assert day == progress.read()[0].solved
    assert printed.splitlines()[-1].startswith("1 of ")


def test_reset_asks_and_keeps_the_old_record(record, command, monkeypatch):
    assert "no record" in command("progress", "--reset")[1]
    progress.record(1, "ex-pixel-psnr", "check_psnr", True)
    old = record.read_bytes()
    monkeypatch.setattr(sys, "stdin", None)
    code, _, error = command("progress", "--reset")
    assert code == 2
    assert_sentence(error.strip().removeprefix("error: "), "--yes")
    assert record.read_bytes() == old
    code, printed, _ = command("progress", "--reset", "--yes")
    assert code == 0
    (kept,) = record.parent.glob("progress-until-*.sqlite")
    assert str(kept) in printed
    assert kept.read_bytes() == old
    assert progress.read() == []


def exported(path: Path, *tries: dict, what: str = "pltutorial answers") -> str:
    path.write_text(json.dumps({"what": what, "version": 1, "tries": tries}))
    return str(path)


def a_try(**changes) -> dict:
    made = {
        "time": "2026-11-29T17:40:00",
        "chapter": 7,
        "label": "ex-restoration-grey.1",
        "solved": False,
        "said": "4",
    }
    return {**made, **changes}


def test_answers_of_the_site_are_taken_in_once(record, command, tmp_path):
    """Beside the exercises that were tried in notebooks; the same file again, or a
    later one that holds the same tries, adds what is new only.
    """
    progress.record(1, "ex-pixel-psnr", "check_psnr", True)
    later = a_try(time="2026-11-30T08:00:00", solved=True)
    path = exported(tmp_path / "answers.json", a_try(), a_try(label="recall-1-7.1"))
    code, printed, _ = command("progress", "--import", path)
    assert code == 0
    assert "2 tries were read" in printed
    assert "2 of them new" in printed
    assert "0 of them new" in command("progress", "--import", path)[1]
    path = exported(tmp_path / "later.json", a_try(), later)
    assert progress.take_in(path) == (2, 1)
    rows = {row.label: row for row in progress.read()}
    assert rows["ex-pixel-psnr"].tries == 1
    grey = rows["ex-restoration-grey.1"]
    assert (grey.chapter, grey.tries, grey.solved) == (7, 2, "2026-11-30")
    assert rows["recall-1-7.1"].solved == ""
    (line,) = [
        line
        for line in command("progress")[1].splitlines()
        if "ex-restoration-grey.1" in line
    ]
    assert line.split()[-2:] == ["2", "2026-11-30"]


@pytest.mark.parametrize(
    "wrong",
    [
        a_try(chapter="7"),
        a_try(chapter=True),
        a_try(chapter=100),
        a_try(label="../secret"),
        a_try(label=7),
        a_try(time="yesterday"),
        a_try(time="2026-11-29T17:40:00+01:00"),
        a_try(solved=1),
        {"label": "ex"},
        "a text",
    ],
)
def test_a_wrong_try_is_refused_and_nothing_taken_in(record, tmp_path, wrong):
    path = exported(tmp_path / "answers.json", a_try(), wrong)
    with refused("is not one that a chapter's page wrote"):
        progress.take_in(path)
    assert progress.read() == []


def test_another_file_is_refused(record, tmp_path, command, monkeypatch):
    for text in ("", "[]", "{", "null", '{"what": "pltutorial answers"}', "[" * 9999):
        (tmp_path / "other.json").write_text(text)
        with refused("is not one that a chapter's page wrote"):
            progress.take_in(tmp_path / "other.json")
    (tmp_path / "bytes.json").write_bytes(bytes(range(256)))
    with refused("is not one that a chapter's page wrote"):
        progress.take_in(tmp_path / "bytes.json")
    with refused("is not one that a chapter's page wrote"):
        progress.take_in(exported(tmp_path / "a.json", a_try(), what="other"))
    with refused("does not exist"):
        progress.take_in(tmp_path / "none.json")
    path = exported(tmp_path / "a.json", a_try())
    for words in (("--reset", "--yes", "--import", path), ("--import", str(tmp_path))):
        code, _, error = command("progress", *words)
        assert code == 2
        assert_sentence(error.strip().removeprefix("error: "))
    monkeypatch.setenv("PLTUTORIAL_PROGRESS", "off")
    with refused("PLTUTORIAL_PROGRESS"):
        progress.take_in(path)
