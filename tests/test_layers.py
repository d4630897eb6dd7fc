"""The plan of the house: modules import what lies below them, and never in a circle."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder: Path) -> tuple[int, str]:
    """What import-linter says of a package, by the contracts in its pyproject.toml."""
    command = [sys.executable, "-c", LINT, "--no-cache", "--no-logo"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def test_arrows_point_down_and_never_in_a_circle():
    status, said = lint(ROOT)
    assert status == 0, said
    assert "Contracts: 2 kept, 0 broken." in said


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("errors.py", "from .vgg import LossNetwork", "No circles BROKEN"),
        ("training/loop.py", "from ..cli import app", "Arrows point down BROKEN"),
        ("networks/files.py", "from ..zoo import load_style", "No circles BROKEN"),
        ("fresh.py", "", "Arrows point down BROKEN"),  # a module that has no place
    ],
)
def test_an_arrow_up_is_seen(module, line, broken, tmp_path):
    """Within a function, too."""
    ignore = shutil.ignore_patterns("assets", "__pycache__")
    shutil.copytree(ROOT / "pltutorial", tmp_path / "pltutorial", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "pltutorial" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n\ndef _late():\n    {line or 'pass'}\n")
    status, said = lint(tmp_path)
    assert status == 1
    assert broken in said
