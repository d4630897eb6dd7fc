"""The reader's record: written whole or not at all, by several kernels,
and shown as a table.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import assert_sentence

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
