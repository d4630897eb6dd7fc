"""Runs the cells of one submission in a process of its own, which can be stopped,
killed and begun again.

The process is forked from one that has PyTorch loaded already
(where the system can fork), so a student costs parts of a second. This is no sandbox:
student code is code, and can do what the user who grades can do.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

# times the limit: what a cell may take on the clock when the machine is
# busy with other things
_PATIENCE = 4
# seconds that a stopped cell may take to end, before the process is killed
_GRACE = 3.0
_START = 120.0  # seconds that a process may take to load PyTorch
_MEMORY = 6 * 2**30  # bytes that one submission may take
_OUTPUT = 4_000  # characters kept of what one cell prints
PRELOAD = [
    "IPython.core.interactiveshell",
    "torch",
    "torch._dynamo",  # the first optimizer loads it, which takes seconds
    "pltutorial.losses",
    "pltutorial.vgg",
    "pltutorial.images",
]


class OutOfTime(BaseException):
    """Raised inside a cell whose time is up."""


@dataclass
class Ran:
    """How one cell went: `problem` is "" if it ended well, else one line."""

    problem: str = ""
    printed: str = ""


def context() -> multiprocessing.context.BaseContext:
    """Processes that begin with PyTorch loaded, or plain new ones where the system
    cannot fork (Windows).
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    chosen = multiprocessing.get_context("forkserver")
    chosen.set_forkserver_preload([*PRELOAD, __name__])
    return chosen


def run(cells: list[str], seconds: float, total: float) -> list[Ran]:
    """Run cells one after the other in one namespace; each may compute for `seconds`,
    all together take `total`.

    A cell that cannot be stopped, or takes the process down, is left out when the
    others are run once more.
    """
    skipped: dict[int, Ran] = {}
    ran: dict[int, Ran] = {}
    end = time.monotonic() + total
    while True:
        ran, fatal = _attempt(cells, skipped, seconds, end)
        if fatal is None:
            break
        skipped[fatal[0]] = Ran(fatal[1])
        if time.monotonic() > end:
            break
    late = Ran(f"not run: the submission took more than {total:g} s")
    return [
        skipped.get(number) or ran.get(number) or late for number in range(len(cells))
    ]


def _attempt(
    cells: list[str], skipped: dict[int, Ran], seconds: float, end: float
) -> tuple[dict[int, Ran], tuple[int, str] | None]:
    """One process over all cells that are not skipped; also the cell that it did
    not survive, and how.
    """
    wanted = [
        (number, cell) for number, cell in enumerate(cells) if number not in skipped
    ]
    ran: dict[int, Ran] = {}
    ours, theirs = multiprocessing.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(
        prefix="grading-", ignore_cleanup_errors=True
    ) as folder:
        process = context().Process(
            target=_work, args=(wanted, seconds, theirs, folder)
        )
        process.start()
        theirs.close()
        current, patience = -1, _START
        try:
            while True:
                if not ours.poll(max(0.0, min(patience, end - time.monotonic()))):
                    if current < 0:
                        raise RuntimeError(
                            "the process that runs a submission did not start"
                        )
                    return ran, (
                        current,
                        f"stopped after {seconds:g} s; does a loop in it never end?",
                    )
                try:
                    message = ours.recv()
                except Exception:
                    # it died, or wrote something of its own into the pipe
                    return ran, (
                        max(current, 0),
                        "it ended or crashed the whole program",
                    )
                if message[0] == "done":
                    return ran, None
                current, patience = message[1], _PATIENCE * seconds + _GRACE
                if message[0] == "end":
                    ran[current] = Ran(message[2], message[3])
        finally:
            _kill(process)
            ours.close()


def _kill(process: multiprocessing.process.BaseProcess) -> None:
    """End the process and all it has started."""
    if hasattr(os, "killpg") and process.pid:
        with contextlib.suppress(OSError):
            if os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _work(
    cells: list[tuple[int, str]], seconds: float, pipe: Connection, folder: str
) -> None:
    """In the new process: run the cells, and tell of each when it
    begins and how it ended.
    """
    _confine(folder)
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    quiet = Config({"HistoryManager": {"enabled": False}})
    shell = InteractiveShell.instance(config=quiet, user_ns={"__name__": "__main__"})
    shell.showtraceback = lambda *arguments, **named: None
    shell.showsyntaxerror = lambda *arguments, **named: None
    for number, cell in cells:
        pipe.send(("start", number))
        heard, result = _Capped(), None
        with (
            contextlib.redirect_stdout(heard),
            contextlib.redirect_stderr(heard),
            _time_limit(seconds),
        ):
            result = shell.run_cell(cell, store_history=False)
        error = (
            (result.error_before_exec or result.error_in_exec)
            if result
            else OutOfTime()
        )
        pipe.send(("end", number, _line(error, seconds), heard.getvalue()))
    pipe.send(("done",))


def _line(error: BaseException | None, seconds: float) -> str:
    """An error as one line for the student."""
    if error is None:
        return ""
    if isinstance(error, OutOfTime):
        return f"stopped after {seconds:g} s; does a loop in it never end?"
    if isinstance(error, NotImplementedError):
        return "not written yet (NotImplementedError)"
    kind = type(error).__name__
    try:
        text = " ".join(str(error).split())[:500]
    except Exception:
        text = ""
    if isinstance(error, AssertionError) and text:
        return text  # the test's own sentence
    return f"{kind}: {text}" if text else kind


class _Capped(io.StringIO):
    """Keeps the beginning of what is printed."""

    def write(self, text: str) -> int:
        super().write(text[: max(0, _OUTPUT - self.tell())])
        return len(text)


@contextlib.contextmanager
def _time_limit(seconds: float):
    """Raise OutOfTime inside the block, again and again, when its time is up."""
    over, began = threading.Event(), (time.monotonic(), time.process_time())
    target = threading.get_ident()

    def watch() -> None:
        # On a busy machine the clock runs while the cell waits for its turn, so its own
        # computing counts too.
        while not over.wait(0.05):
            elapsed, computed = (
                time.monotonic() - began[0],
                time.process_time() - began[1],
            )
            if elapsed > _PATIENCE * seconds or min(elapsed, computed) > seconds:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(target), ctypes.py_object(OutOfTime)
                )

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        with contextlib.suppress(OutOfTime):
            yield
    finally:
        over.set()
        watcher.join()
        # none is left for the next cell
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(target), None)


def _confine(folder: str) -> None:
    """What keeps accidents small: a folder and a process group of its own, no keyboard,
    limits of memory and files.
    """
    os.chdir(folder)
    os.environ.update(
        MPLBACKEND="agg",
        TQDM_DISABLE="1",
        PLTUTORIAL_PROGRESS="off",
        IPYTHONDIR=folder,
        HOME=folder,
    )
    sys.stdin = Path(os.devnull).open()  # noqa: SIM115
    if hasattr(os, "setsid"):
        os.setsid()
        import resource

        for kind, limit in (
            (resource.RLIMIT_DATA, _MEMORY),
            (resource.RLIMIT_FSIZE, 2**28),
            (resource.RLIMIT_CORE, 0),
        ):
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(kind, (limit, limit))
    import torch

    torch.set_num_threads(1)  # the students run side by side
