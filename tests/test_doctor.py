"""The doctor: one screen, one line for each thing, a way to mend what is wrong,
and no need of torch.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest
import torch

from pltutorial import vgg
from pltutorial.cli import doctor


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The five numbers are computed in one test only."""
    monkeypatch.setattr(doctor, "reference_numbers", lambda: dict(doctor.REFERENCE))


def line(printed: str, about: str) -> str:
    (found,) = [one for one in printed.splitlines() if one[6:].startswith(f"{about}:")]
    return found


def test_a_machine_that_runs_the_tests_is_ready(command):
    code, printed, error = command("doctor")
    assert (code, error) == (0, "")
    assert "fix  " not in printed
    assert printed.splitlines()[-1].startswith("Ready")
    assert len(printed.splitlines()) <= 24
    assert f"torch {torch.__version__}".split("+")[0] in line(printed, "packages")
    for about in (
        "Python",
        "memory",
        "disk",
        "write access",
        "processor",
        "weights",
        "numbers",
        "JupyterLab",
    ):
        assert line(printed, about)


def test_the_numbers_that_this_machine_computes(monkeypatch):
    monkeypatch.undo()
    (finding,) = doctor._numbers()
    assert finding.state == "ok", finding


def test_a_wrong_number(command, monkeypatch):
    name = "style loss, relu4_3"
    monkeypatch.setattr(
        doctor,
        "reference_numbers",
        lambda: {**doctor.REFERENCE, name: doctor.REFERENCE[name] * 1.01},
    )
    code, printed, error = command("doctor")
    assert code == 1
    assert line(printed, "numbers").startswith(f"fix   numbers: {name} is")
    assert (
        error
        == "error: not ready; mend the line that begins with fix, then run this again\n"
    )


def test_the_weights_are_those_of_the_loss_network(command, monkeypatch, tmp_path):
    assert doctor.WEIGHTS == vgg.EMBEDDED
    assert doctor.WEIGHTS_SHA256 == vgg.EMBEDDED_SHA256
    damaged = tmp_path / doctor.WEIGHTS.name
    damaged.write_bytes(doctor.WEIGHTS.read_bytes()[:-1])
    monkeypatch.setattr(doctor, "WEIGHTS", damaged)
    code, printed, _ = command("doctor")
    assert code == 1
    assert line(printed, "weights").startswith("fix")
    damaged.unlink()
    assert "is missing" in line(command("doctor")[1], "weights")


def test_without_torch():
    """In a Python that does not find torch, numpy or Jupyter: the doctor still speaks,
    and says what to install.
    """
    code = (
        "import importlib.abc, sys\n"
        "class Nothing(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'numpy', 'jupyterlab'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Nothing())\n"
        "import importlib.util, importlib.metadata\n"
        "found, version = importlib.util.find_spec, importlib.metadata.version\n"
        "def find(name):\n"
        "    return None if name in ('torch', 'numpy', 'jupyterlab') else found(name)\n"
        "def of(name):\n"
        "    if name in ('torch', 'numpy'):\n"
        "        raise importlib.metadata.PackageNotFoundError(name)\n"
        "    return version(name)\n"
        "importlib.util.find_spec, importlib.metadata.version = find, of\n"
        "sys.argv = ['pltutorial', 'doctor']\n"
        "from pltutorial.cli import main\n"
        "main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 1, ran.stderr
    assert "numpy is missing, torch is missing" in line(ran.stdout, "packages")
    assert "pip install" in line(ran.stdout, "packages")
    assert line(ran.stdout, "JupyterLab").startswith("fix")
    assert "Traceback" not in ran.stdout + ran.stderr


def test_an_old_package(command, monkeypatch):
    version = importlib.metadata.version
    monkeypatch.setattr(
        doctor.importlib.metadata,
        "version",
        lambda name: "1.13" if name == "torch" else version(name),
    )
    code, printed, _ = command("doctor")
    assert code == 1
    assert "torch is 1.13 and must be 2.6 or newer" in line(printed, "packages")


def test_versions_are_compared_as_numbers():
    assert doctor._number("2.10.1+cpu") > doctor._number("2.6")
    assert doctor._number("2.0.0rc1")[:3] == (2, 0, 0)


@pytest.mark.parametrize(
    ("total", "free", "state"),
    [(2.0, 1.0, "warn"), (16.0, 1.0, "warn"), (16.0, 9.0, "ok  ")],
)
def test_memory(total, free, state, command, monkeypatch):
    monkeypatch.setattr(doctor, "memory", lambda: (total, free))
    code, printed, _ = command("doctor")
    assert code == 0
    assert line(printed, "memory").startswith(state)


def test_memory_of_this_machine():
    total, free = doctor.memory()
    assert 0.5 < free <= total < 1e5


@pytest.mark.parametrize(
    ("free", "code", "state"), [(5e9, 0, "ok"), (5e8, 0, "warn"), (5e6, 1, "fix")]
)
def test_disk(free, code, state, command, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: usage(1e12, 1e12 - free, free)
    )
    ended, printed, _ = command("doctor")
    assert ended == code
    assert line(printed, "disk").startswith(state)


def test_no_write_access(command, monkeypatch):
    def refuse(*arguments, **named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "NamedTemporaryFile", refuse)
    code, printed, _ = command("doctor")
    assert code == 1
    assert "Permission denied" in line(printed, "this folder")


def test_a_foreign_kernel(command, monkeypatch, tmp_path):
    (tmp_path / "kernel.json").write_text(
        json.dumps({"argv": [shutil.which("git") or "/bin/sh", "-m"]})
    )
    from jupyter_client.kernelspec import KernelSpecManager

    monkeypatch.setattr(
        KernelSpecManager, "find_kernel_specs", lambda self: {"python3": str(tmp_path)}
    )
    assert line(command("doctor")[1], "JupyterLab").startswith("warn")
    monkeypatch.setattr(KernelSpecManager, "find_kernel_specs", lambda self: {})
    code, printed, _ = command("doctor")
    assert code == 1
    assert "ipykernel install" in line(printed, "JupyterLab")


def test_a_look_that_fails_is_a_warning(command, monkeypatch):
    def broken():
        raise OSError("no such thing")

    monkeypatch.setattr(doctor, "memory", broken)
    code, printed, _ = command("doctor")
    assert code == 0
    assert line(printed, "memory").startswith(
        "warn  memory: could not be looked at (OSError"
    )
