"""Run the chapters: each in a kernel of its own, kept as soon as it is done, stopped
with one sentence.

A chapter that fails says so at once and lets the others run; a run that is stopped goes
on where it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import chapters
from outputs import clean, refresh_text, write_notebook
from web import BuildError, fingerprint

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS, LOCK = ROOT / "notebooks", ROOT / "requirements.lock"
# Seconds that one cell may take; nothing set is no limit, because a busy machine is no
# error.
CELL_TIMEOUT = "PLTUTORIAL_CELL_TIMEOUT"
# One convention for runs: no progress bars in stored outputs, and no order that depends
# on a random hash seed.
RUN_ENVIRONMENT = {
    "TQDM_DISABLE": "1",
    "PYTHONHASHSEED": "0",
    "JUPYTER_PLATFORM_DIRS": "1",
    "PLTUTORIAL_STATIC": "1",
}


class Stopped(Exception):
    """A signal has ended the run; `done` of `count` chapters are there."""

    def __init__(self, signum: int, done: int = 0, count: int = 0) -> None:
        self.signum, self.done, self.count = signum, done, count
        super().__init__(signum)


class ChapterFailed(BuildError):
    """A chapter did not run to its end: where, and the last line of the error, in one
    sentence.
    """

    def __init__(self, place: str, reason: str, traceback: str = "") -> None:
        self.place, self.reason, self.traceback = place, reason, traceback
        super().__init__(f"{place} failed: {reason}")


def chapter_paths() -> list[Path]:
    """The notebooks of the table of chapters, in order.

    Raises:
        BuildError: one is missing, or there is one that the table does not know.
    """
    paths = [NOTEBOOKS / chapter.file for chapter in chapters.CHAPTERS]
    found = set(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    for path in sorted(found.symmetric_difference(paths)):
        wrong = "is in no row of book/chapters.py" if path in found else "is missing"
        raise BuildError(
            f"notebooks/{path.name} {wrong}; each chapter has its notebook and its row "
            "there"
        )
    return paths


def files_under(*folders: str) -> list[Path]:
    found = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    ]
    return [
        path
        for path in found
        if "__pycache__" not in path.parts and ".ipynb_checkpoints" not in path.parts
    ]


def run_key(notebook) -> str:
    """What a chapter's outputs depend on: its code, the package, the pictures, the
    versions, the run's settings.
    """
    code = [
        f"{cell.cell_type}\0{cell.source}\0{cell.metadata.get('tags', [])}"
        for cell in notebook.cells
    ]
    knobs = (
        "OMP_NUM_THREADS",
        "ONEDNN_MAX_CPU_ISA",
        "ATEN_CPU_CAPABILITY",
        "CUDA_VISIBLE_DEVICES",
        "PLTUTORIAL_PRECISION",
    )
    settings = [sys.version, *(f"{name}={os.environ.get(name)}" for name in knobs)]
    return fingerprint([*files_under("pltutorial", "data"), LOCK], *code, *settings)


# --- one notebook ---------------------------------------------------------------------


def own_kernel():
    """A kernel manager for this very Python, whatever kernels the user has installed
    under the same name.
    """
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    class OwnKernel(AsyncKernelManager):
        @property
        def kernel_spec(self):
            # A remark about TCP at every start would hide real warnings.
            quiet = "--IPKernelApp.log_level=40"
            argv = [
                sys.executable,
                "-m",
                "ipykernel_launcher",
                "-f",
                "{connection_file}",
                quiet,
            ]
            return KernelSpec(
                argv=argv, display_name="Python 3 (ipykernel)", language="python"
            )

    return OwnKernel


def cell_timeout() -> float | None:
    """The limit of a cell in seconds that the environment sets, or None.

    Raises:
        BuildError: it is no positive number.
    """
    said = os.environ.get(CELL_TIMEOUT, "")
    if not said:
        return None
    try:
        seconds = float(said)
    except ValueError:
        seconds = 0
    if not seconds > 0:
        raise BuildError(
            f"{CELL_TIMEOUT} is {said!r}; give it seconds such as 600, or leave it "
            "out: no limit"
        )
    return seconds


def run_notebook(
    path: Path, progress: Callable[[int, int], None] = lambda cell, count: None
):
    """Run one notebook from notebooks/ and return it with clean outputs.

    Args:
        path: the notebook.
        progress: is told each code cell's number, from 1, and how many there are.

    Raises:
        ChapterFailed: a cell raised, took longer than the limit that was set, or the
            kernel died.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import (
        CellExecutionError,
        CellTimeoutError,
        DeadKernelError,
    )

    notebook = nbformat.read(path, as_version=4)
    name = f"{path.parent.name}/{path.name}"
    code = [
        index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"
    ]
    started = {"index": 0}

    def begin(cell, cell_index: int) -> None:
        started["index"] = cell_index
        if cell_index in code:
            progress(code.index(cell_index) + 1, len(code))

    timeout = cell_timeout()
    client = NotebookClient(
        notebook,
        kernel_manager_class=own_kernel(),
        kernel_name="python3",
        timeout=timeout,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        on_cell_start=begin,
    )
    try:
        _beside(client.execute, lambda: _kill(client))
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        traceback = ""
        if isinstance(error, CellExecutionError):
            last = (str(error.evalue).strip().splitlines() or [""])[-1]
            reason, traceback = (
                f"{error.ename}: {last}".rstrip(": "),
                _plain(error.traceback),
            )
        elif isinstance(error, CellTimeoutError):
            allowed = f"the {timeout:g} s that {CELL_TIMEOUT} allows a cell"
            reason = f"it took longer than {allowed}"
        else:
            reason = "its kernel died; the machine may have run out of memory"
        count = code.index(started["index"]) + 1 if started["index"] in code else "?"
        place = f"{name}, cell {started['index'] + 1} (code cell {count})"
        raise ChapterFailed(place, _plain(reason), traceback) from None
    return clean(notebook)


def _plain(text: str) -> str:
    """The text without colours of a terminal."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _beside(work: Callable, stop: Callable) -> None:
    """Do the work in a thread, so that a signal reaches this one at once; on a signal,
    stop it and say so.

    In the main thread nbclient puts its own handlers in place of ours, and a Ctrl-C
    ends in its traceback.
    """
    raised: list[BaseException] = []

    def worked() -> None:
        try:
            work()
        except BaseException as error:  # raised again in the other thread
            raised.append(error)

    thread = threading.Thread(target=worked, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.5)
    except BaseException:
        stop()
        thread.join(10)
        raise
    if raised:
        raise raised[0]


def _kill(client) -> None:
    """End a client's kernel and what it has started."""
    provisioner = getattr(client.km, "provisioner", None)
    process = getattr(provisioner, "process", None)
    if process is None:
        return
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            # jupyter_client gives each kernel a session of its own
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


# --- all chapters ---------------------------------------------------------------------


def run_chapters(
    target: Path, *, cached: bool, only: str = "", noted: bool = False
) -> dict[str, ChapterFailed]:
    """Run every chapter into the target folder; with `cached`, only those whose
    ingredients changed.

    Each is written as soon as it is done. Returns the failed ones by name; their
    outputs are not in the target if `cached`, and are what they were otherwise.

    Raises:
        BuildError: there is no such chapter.
        Stopped: Ctrl-C or a signal to end; what is done is kept.
    """
    import nbformat

    os.environ.update(RUN_ENVIRONMENT)
    paths = [path for path in chapter_paths() if only in path.name]
    if not paths:
        raise BuildError(f"there is no chapter {only!r} in notebooks/")
    cell_timeout()  # a mistake in it is said before the first chapter runs
    keys = {path.stem: run_key(nbformat.read(path, as_version=4)) for path in paths}
    for path in target.glob("*.ipynb") if cached else ():
        if path.stem not in keys:
            path.unlink()  # a chapter that was renamed or removed
    waiting = [
        path
        for path in paths
        if not (cached and _is_done(target, path.stem, keys[path.stem]))
    ]
    print(announcement(len(paths), [path.stem for path in waiting]), flush=True)
    failures: dict[str, ChapterFailed] = {}
    done = len(paths) - len(waiting)
    with stopping_by_signals():
        try:
            for path in paths:
                if path not in waiting:
                    refresh_text(path, target / path.name)
                    print(f"{path.stem}: unchanged", flush=True)
                    continue
                failure = _run_one(
                    path, target, keys[path.stem] if cached else "", noted
                )
                if failure:
                    failures[path.stem] = failure
                done += not failure
        except Stopped as stopped:
            print(flush=True)
            raise Stopped(stopped.signum, done, len(paths)) from None
    return failures


def _is_done(target: Path, name: str, key: str) -> bool:
    key_file = target / f"{name}.key"
    return (
        (target / f"{name}.ipynb").exists()
        and key_file.exists()
        and key_file.read_text() == key
    )


def _run_one(path: Path, target: Path, key: str, noted: bool) -> ChapterFailed | None:
    """Run one chapter into the target folder and say how it went; with a key, keep that
    too.
    """
    key_file, error_file = (
        target / f"{path.stem}.key",
        target / f"{path.stem}.error.txt",
    )
    error_file.unlink(missing_ok=True)
    print(f"{path.stem}: running ...", end=" ", flush=True)
    begun = time.perf_counter()
    try:
        made = run_notebook(path, shown_progress(path.stem))
    except ChapterFailed as failure:
        print(f"failed\n  {failure}", flush=True)
        if key:  # outputs of older code would be taken for those of this run
            (target / path.name).unlink(missing_ok=True)
            key_file.unlink(missing_ok=True)
            if failure.traceback:
                target.mkdir(parents=True, exist_ok=True)
                error_file.write_text(failure.traceback + "\n", encoding="utf-8")
                print(f"  the whole error is in {error_file}", flush=True)
        elif failure.traceback:
            print(failure.traceback, file=sys.stderr)
        return failure
    write_notebook(made, target / path.name)
    if key:
        key_file.write_text(key)
    seconds = time.perf_counter() - begun
    if noted:
        note_seconds(path.stem, seconds)
    print(f"{seconds:.1f} s", flush=True)
    return None


def shown_progress(name: str) -> Callable[[int, int], None]:
    """A counter of cells in the line of the chapter, where somebody looks at a
    terminal.
    """

    def show(cell: int, count: int) -> None:
        if sys.stdout.isatty():
            print(f"\r{name}: running, cell {cell} of {count} ...", end=" ", flush=True)

    return show


@contextlib.contextmanager
def stopping_by_signals() -> Iterator[None]:
    """SIGINT (Ctrl-C) and SIGTERM raise Stopped within the block."""

    def stop(signum: int, frame) -> None:
        raise Stopped(signum)

    before = {
        number: signal.signal(number, stop)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def processor_kind() -> str:
    """What this processor computes convolutions in, "bfloat16" or "float32"."""
    from pltutorial.device import best_device, best_precision

    return str(best_precision(best_device())).removeprefix("torch.")


def announcement(count: int, waiting: list[str]) -> str:
    """What is ahead, in one line: how many chapters, and about how many minutes on this
    kind of processor.
    """
    if not waiting:
        return f"{count} chapters, all of them run already with this very code"
    kind = processor_kind()
    expected = chapters.expected_seconds(waiting, kind)
    how_many = (
        f"{count} chapters"
        if len(waiting) == count
        else f"{len(waiting)} of {count} chapters to run"
    )
    if expected is None:
        return (
            f"{how_many}; how long they take was never measured. Ctrl-C stops, the "
            "same command goes on"
        )
    minutes = max(1, round(expected / 60))
    unit = "minute" if minutes == 1 else "minutes"
    return (
        f"{how_many}, about {minutes} {unit} on a processor "
        f"{'with' if kind == 'bfloat16' else 'without'} bfloat16 "
        "like this one, if nothing else runs on it. Ctrl-C stops, the same command "
        "goes on"
    )


def note_seconds(name: str, seconds: float) -> None:
    """Keep how long a chapter took; the run is meant for a machine that does nothing
    else.
    """
    import torch

    from pltutorial.training.cards import processor

    path = chapters.SECONDS
    known = (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"kinds": {}}
    )
    known["what"] = (
        "seconds that each chapter took, its kernel's start included, by what the "
        "processor computes convolutions in"
    )
    entry = known["kinds"].setdefault(processor_kind(), {"seconds": {}})
    entry["machine"] = processor(torch.device("cpu"))
    if limit := os.environ.get("ATEN_CPU_CAPABILITY"):
        entry["machine"] += f", held to {limit}"
    entry["seconds"] = dict(
        sorted({**entry["seconds"], name: round(seconds, 1)}.items())
    )
    path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
