"""A student's process: runs her cells, and calls her functions when the judge asks.

It knows no test and no solution. Whatever it answers is taken for data.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from .channel import Channel, ChannelError
from .peer import Peer, told
from .values import CannotTravelError, Packing

PATIENCE = 4  # times the limit: what may pass on the clock when the machine is busy
MEMORY = 6 * 2**30  # bytes that one submission may take
FILE = 2**26  # bytes of one file, printed lines too
PROCESSES = 400  # besides those that the user has already
_OUTPUT = 4_000  # characters kept of what one cell prints


class OutOfTime(BaseException):
    """Raised inside a cell whose time is up."""


def serve(channel: Channel, seconds: float, total: float, folder: str) -> None:
    """Run what the judge sends until it is gone."""
    confine(folder, total)
    log = _log(folder)
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    quiet = Config({"HistoryManager": {"enabled": False}})
    shell = InteractiveShell.instance(config=quiet, user_ns={"__name__": "__main__"})
    shell.showtraceback = lambda *arguments, **named: None
    shell.showsyntaxerror = lambda *arguments, **named: None
    peer = Peer(channel, "s", trusting=True)

    def run(message: dict, tensors: list, packing: Packing) -> dict:
        heard, error = _Capped(), None
        with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
            try:
                result = shell.run_cell(message["code"], store_history=False)
                error = result.error_before_exec or result.error_in_exec
            except BaseException as problem:
                error = problem
        spoken = heard.getvalue() + _spoken(log)
        return {"problem": told(error) if error else None, "printed": spoken[:_OUTPUT]}

    def names(message: dict, tensors: list, packing: Packing) -> dict:
        found: dict[str, Any] = {}
        for name in message["names"]:
            if name in shell.user_ns:
                with contextlib.suppress(CannotTravelError):
                    found[name] = packing.node(shell.user_ns[name])
        packing.outputs.clear()
        return {"value": found}

    def forget(message: dict, tensors: list, packing: Packing) -> dict:
        peer.forget()
        return {}

    @contextlib.contextmanager
    def around(message: dict):
        heard = _Capped()
        with (
            contextlib.redirect_stdout(heard),
            contextlib.redirect_stderr(heard),
            time_limit(seconds),
        ):
            yield

    def broken(problem: BaseException) -> None:
        os._exit(3)  # stopped in the middle of a message: nobody can go on from here

    peer.around, peer.on_break = around, broken
    peer.extra = {"run": run, "names": names, "forget": forget}
    with contextlib.suppress(ChannelError):
        while True:
            peer.serve(*channel.receive())


class _Capped(io.StringIO):
    """Keeps the beginning of what is printed."""

    def write(self, text: str) -> int:
        super().write(text[: max(0, _OUTPUT - self.tell())])
        return len(text)


def _log(folder: str) -> int:
    """Lead what is written past Python, by the system or other
    processes, into a file.
    """
    path = Path(folder) / ".printed"
    log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    return log


def _spoken(log: int) -> str:
    """The beginning of it since the last cell."""
    with contextlib.suppress(OSError):
        text = os.pread(log, _OUTPUT, 0).decode("utf-8", "replace")
        os.ftruncate(log, 0)
        return text
    return ""


@contextlib.contextmanager
def time_limit(seconds: float):
    """Raise OutOfTime inside the block, again and again, when its time is up."""
    over, began = threading.Event(), (time.monotonic(), time.process_time())
    target = threading.get_ident()

    def raise_there(kind: Any) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(target), None if kind is None else ctypes.py_object(kind)
        )

    def watch() -> None:
        # On a busy machine the clock runs while a cell waits for its turn, so its own
        # computing counts too.
        while not over.wait(0.05):
            elapsed = time.monotonic() - began[0]
            computed = time.process_time() - began[1]
            if elapsed > PATIENCE * seconds or min(elapsed, computed) > seconds:
                raise_there(OutOfTime)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        raise_there(None)  # none is left for the next cell


def confine(folder: str, total: float) -> None:
    """A folder of its own, no keyboard, and limits of memory, files,
    processes and time.
    """
    os.chdir(folder)
    kept = {
        name: os.environ[name]
        for name in ("LANG", "LC_ALL", "PATH")
        if name in os.environ
    }
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update(
        MPLBACKEND="agg",
        TQDM_DISABLE="1",
        PLTUTORIAL_PROGRESS="off",
        IPYTHONDIR=folder,
        HOME=folder,
        TMPDIR=folder,
        OMP_NUM_THREADS="1",
    )
    sys.argv = [""]
    sys.stdin = Path(os.devnull).open()  # noqa: SIM115
    if os.name == "posix":
        import resource

        limits = {
            resource.RLIMIT_DATA: MEMORY,
            resource.RLIMIT_FSIZE: FILE,
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_CPU: int(total) + 60,
        }
        if running := _running():
            limits[resource.RLIMIT_NPROC] = running + PROCESSES
        for kind, limit in limits.items():
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(kind, (limit, limit))
    import torch

    torch.set_num_threads(1)  # the students run side by side


def _running() -> int:
    """How many threads this user has; 0 where the system does not tell."""
    found, user = 0, os.getuid()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.stat().st_uid == user:
                found += len(os.listdir(process / "task"))  # noqa: PTH208
    return found


def main() -> None:
    """Speak with the judge over standard input and output: in a
    container, or after bwrap.
    """
    seconds, total, folder = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    read, write = os.dup(0), os.dup(1)
    os.set_inheritable(read, False)
    os.set_inheritable(write, False)
    serve(Channel(read, write), seconds, total, folder)


if __name__ == "__main__":
    main()
