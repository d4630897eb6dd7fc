"""A student's way: JupyterLab opens a chapter without solutions, an exercise is solved
there, its check is green.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from browsing import browser
from playwright.sync_api import TimeoutError

from book.course import __main__ as command_line
from book.course.notebooks import write_kind
from pltutorial.teaching import progress

__all__ = ["browser"]
ROOT = Path(__file__).parent.parent
SOLVED = (
    "def decibels(output, target):\n"
    "    return -10 * math.log10((output - target).square().mean().item())"
)


def shortened(path: Path) -> None:
    """Keep the first exercise of chapter 1 that has code, and the imports that it
    needs: the rest takes minutes.
    """
    notebook = nbformat.read(path, as_version=4)
    (stub,) = [
        n
        for n, cell in enumerate(notebook.cells)
        if cell.source.startswith("def decibels(")
    ]
    imports = [
        cell
        for cell in notebook.cells[:6]
        if cell.cell_type == "code" and "from pltutorial" in cell.source
    ]
    notebook.cells = [*imports, notebook.cells[stub - 1], notebook.cells[stub]]
    nbformat.write(notebook, path)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """JupyterLab on the student's notebooks, as `make lab` starts it;
    gives its address.
    """
    monkeypatch.setenv("PLTUTORIAL_PROGRESS", str(tmp_path / "progress.sqlite"))
    for name in (
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
    ):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    folder = tmp_path / "mine"
    write_kind("student", folder)
    shortened(folder / "01_pixel_loss.ipynb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.token=",
        f"--ServerApp.port={port}",
    ]
    command = [
        sys.executable,
        "-m",
        "book.course",
        "lab",
        "--to",
        str(folder),
        "--",
        *settings,
    ]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(900):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.2)
        yield address
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


@pytest.mark.skipif(
    not hasattr(os, "killpg"), reason="JupyterLab is ended by its process group here"
)
def test_first_exercise_solved_in_jupyterlab(lab, browser, tmp_path):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    try:
        page.goto(f"{lab}/lab/tree/01_pixel_loss.ipynb?reset", timeout=120_000)
        imports, stub = (
            page.locator(".jp-Notebook .jp-CodeCell").first,
            page.locator(".jp-Notebook .jp-CodeCell").nth(1),
        )
        page.locator(
            ".jp-Notebook-ExecutionIndicator[data-status=idle]"
        ).first.wait_for(timeout=120_000)

        def run(cell, number: int, text: str = "") -> None:
            prompt = cell.locator(".jp-InputPrompt")
            # while JupyterLab is still laying itself out, it loses keys
            for _ in range(10):
                cell.locator(".cm-content").click()
                if text:
                    page.keyboard.press("ControlOrMeta+a")
                    # at once: typed line by line, the editor would indent
                    page.keyboard.insert_text(text)
                page.keyboard.press("Control+Enter")
                with contextlib.suppress(TimeoutError):
                    prompt.filter(has_text=re.compile(rf"\[(\*|{number})\]")).wait_for(
                        timeout=5_000
                    )
                    break
            prompt.filter(has_text=f"[{number}]").wait_for(timeout=120_000)

        def says(words: str) -> None:
            stub.locator(".jp-OutputArea-output", has_text=words).wait_for(
                timeout=60_000
            )

        run(imports, 1)
        run(stub, 2)
        says("write its body first")
        run(stub, 3, f"{SOLVED}\n\n\nassert check_psnr(decibels)")
        says("Correct: ")
        page.screenshot(path=tmp_path / "solved.png")
    finally:
        page.close()
    (row,) = progress.read()
    assert (row.check, row.tries, bool(row.solved)) == ("check_psnr", 2, True)


def test_lab_keeps_what_was_written(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(
        command_line.subprocess,
        "run",
        lambda command, **named: (
            started.append(command) or subprocess.CompletedProcess(command, 0)
        ),
    )
    folder = tmp_path / "mine"
    assert command_line.main(["lab", "--to", str(folder), "--chapter", "3"]) == 0
    assert started[0][-1].endswith("03_style_reconstruction.ipynb")
    (folder / "03_style_reconstruction.ipynb").write_text("my work")
    (folder / "02_feature_reconstruction.ipynb").unlink()
    assert command_line.main(["lab", "--to", str(folder)]) == 0
    assert started[1][-1].endswith("01_pixel_loss.ipynb")
    assert (folder / "03_style_reconstruction.ipynb").read_text() == "my work"
    assert (folder / "02_feature_reconstruction.ipynb").exists()
    assert command_line.main(["lab", "--to", str(folder), "--chapter", "33"]) == 2
