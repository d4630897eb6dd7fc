"""Ctrl-C while a command still loads, as real processes: a sentence and code 130."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = Path(sys.executable).with_name("pltutorial")
# Python loads this file by itself; Ctrl-C comes when a module is looked for, or found
CTRL_C = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["CTRL_C_AT"]:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""
NOTHING = "interrupted; nothing was begun\n"
WITHIN = "interrupted; no file was left half written\n"
STOPPED = "stopped; the same command makes it anew\n"


def stopped_at(module: str, folder: Path, *words: object) -> tuple[int, str]:
    (folder / "sitecustomize.py").write_text(CTRL_C)
    paths = {"PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}
    ran = subprocess.run(
        [*map(str, words)],
        cwd=ROOT,
        env={**os.environ, **paths, "CTRL_C_AT": module},
        capture_output=True,
        text=True,
    )
    return ran.returncode, ran.stderr


@pytest.mark.parametrize(
    "program",
    [
        (sys.executable, "-m", "pltutorial"),
        (sys.executable, "-W", "ignore", "-mpltutorial.cli"),
        (SCRIPT,),
    ],
    ids=["module", "joined", "script"],
)
@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("lazy_loader", NOTHING),
        ("pltutorial.cli", NOTHING),
        ("pltutorial.cli.streams", NOTHING),
        ("typer", WITHIN),
        ("pltutorial.zoo", WITHIN),
    ],
)
def test_a_command_that_loads_ends_in_one_sentence(program, module, sentence, tmp_path):
    if program == (SCRIPT,) and not SCRIPT.exists():
        pytest.skip("the package is not installed")
    assert stopped_at(module, tmp_path, *program, "models") == (130, sentence)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("book.chapters", "-m book.course notebooks"),
        ("nbformat", "-m book.course notebooks"),
        ("chapters", "book/slides.py 1"),
        ("PIL", "book/screenshots.py"),
        ("pltutorial", "book/wall.py no_such_piece"),
        ("tomllib", "book/address.py"),
        ("torch", "-m benchmarks no_such_name"),
    ],
)
def test_what_readme_and_make_start_too(module, words, tmp_path):
    ended = stopped_at(module, tmp_path, sys.executable, *words.split())
    assert ended == (130, STOPPED)


@pytest.mark.parametrize("words", [("-c", "import {0}"), ("-m", "{0}", "pltutorial")])
def test_in_a_program_of_somebody_else_nothing_is_changed(words, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import signal\nbefore = signal.getsignal(2)\nimport pltutorial.errors\n"
        "print(signal.getsignal(2) is before)\n"
    )
    ran = subprocess.run(
        [sys.executable, *(word.format("mine") for word in words)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr) == ("True\n", "")


def test_what_was_started_to_ignore_it_goes_on():
    code = (
        "import os, signal, subprocess, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "words = [sys.executable, '-m', 'pltutorial', '--version']\n"
        "process = subprocess.Popen(words)\n"
        "while process.poll() is None:\n"
        "    process.send_signal(signal.SIGINT)\n"
        "sys.exit(process.returncode)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_table_of_troubles_knows_every_command():
    """So that a new one cannot be forgotten."""
    import typer

    from benchmarks.trouble import COMMANDS, ENDLESS
    from pltutorial.cli.app import app

    tried = [*(words for words, _ in COMMANDS.values()), *ENDLESS.values()]
    known = {words.split()[0] for words in tried}
    assert known == set(typer.main.get_command(app).commands)
