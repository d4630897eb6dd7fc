"""Every chapter: what is stored is sound, what is stored is what is computed, and a
change would be seen.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from notebook_guard import code_cells, faults

from book.chapters import CHAPTERS as TABLE

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SANITIZE = ROOT / "tests" / "nbval_sanitize.cfg"
# No progress bars, no widgets, no order that depends on a random seed: as when the
# outputs were stored.
SETTINGS = {"TQDM_DISABLE": "1", "PYTHONHASHSEED": "0", "PLTUTORIAL_STATIC": "1"}
# seconds; far above any chapter's slowest cell, one thread and float32 included
CELL_TIMEOUT = 600

chapters = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


class Comparison(NamedTuple):
    """What a run of nbval on one notebook found."""

    passed: bool
    printed: str
    report: dict


def compare(path: Path, folder: Path, sanitize: Path = SANITIZE) -> Comparison:
    """Run a notebook once by nbval, strictly, and change digits of its stored
    outputs on the way.
    """
    report = folder / "mutations.json"
    searched = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-current-env",
        "--color=no",
        "-q",
    ]
    command += [
        "--nbval-sanitize-with",
        str(sanitize),
        "--nbval-cell-timeout",
        str(CELL_TIMEOUT),
    ]
    command += [
        "-p",
        "nbval_mutation",
        "--mutation-report",
        str(report),
        "--rootdir",
        str(ROOT),
        str(path),
    ]
    environment = {**os.environ, **SETTINGS, "PYTHONPATH": searched}
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200
    )
    found = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    return Comparison(run.returncode == 0, run.stdout + run.stderr, found)


def test_the_chapters_are_those_of_the_table():
    assert len(TABLE) >= 9
    assert [chapter.path for chapter in TABLE] == CHAPTERS


@chapters
def test_stored_chapter_is_sound(path):
    found = faults(nbformat.read(path, as_version=4), path.stat().st_size)
    assert not found, "\n".join([path.name, *found])


def test_figure_names_are_unique_in_the_book():
    figures = Counter()
    for path in CHAPTERS:
        for _, cell in code_cells(nbformat.read(path, as_version=4)):
            figures[cell.metadata.get("mystnb", {}).get("figure", {}).get("name")] += 1
    del figures[None]
    assert [name for name, count in figures.items() if count > 1] == []


@chapters
def test_nbval(path, tmp_path):
    """The kernel computes what is stored, and one changed digit in any stored
    text would be seen.
    """
    result = compare(path, tmp_path)
    assert result.passed, f"{path.name}: the outputs differ\n{result.printed[-8000:]}"
    code = [
        cell
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
    ]
    assert result.report["cells"] == len(code)
    assert result.report["changed"] > 0
    assert result.report["unseen"] == []
