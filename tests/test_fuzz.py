"""A small campaign of hostile inputs; `make fuzz` runs a large one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pipes and rlimits")


def test_a_hundred_hostile_inputs_end_in_a_sentence_and_lose_no_file():
    words = ["--seed", "0", "--inputs", "120", "--minutes", "0.9", "--jobs", "2"]
    # root's rights are needed by no input, and cannot be given up everywhere
    environment = os.environ | {"PLTUTORIAL_FUZZ_ROOT": "1"}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", FUZZ, *words],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 faults" in ran.stdout


def test_a_fault_is_found_and_told(tmp_path):
    """A campaign that finds nothing must be one that could."""
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "import pltutorial.files as files\n"
        "def no_file(path):\n"
        "    raise ZeroDivisionError('a planted fault')\n"
        "files.no_file = no_file\n"
    )
    words = ["--seed", "0", "--inputs", "6", "--minutes", "2", "--jobs", "1"]
    paths = os.pathsep.join((str(tmp_path), *sys.path))
    environment = os.environ | {"PLTUTORIAL_FUZZ_ROOT": "1", "PYTHONPATH": paths}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", FUZZ, *words],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert ran.returncode == 1
    assert "a planted fault" in ran.stdout


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid(), reason="not root")
def test_root_is_refused_or_given_up(monkeypatch):
    code = "import fuzz, os\nfuzz.give_up_root()\nassert os.geteuid(), 'still root'\n"
    environment = {k: v for k, v in os.environ.items() if k != "PLTUTORIAL_FUZZ_ROOT"}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=FUZZ.parent,
        env=environment,
    )
    given_up = ran.returncode == 0 and not ran.stderr
    assert given_up or ran.stderr.startswith("error: hostile inputs are not tried")
