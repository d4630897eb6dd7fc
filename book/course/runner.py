"""Runs one submission in two processes: a judge with the tests, and the
student's, which has none.

Both are forked from one that has PyTorch loaded already
(where the system can fork), so a student costs parts of a second. judge.py says how
they speak, sandbox.py where they live.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from dataclasses import dataclass

from . import judge, sandbox
from .judge import GRACE, START, end_group
from .worker.student import PATIENCE

PRELOAD = [
    "IPython.core.interactiveshell",
    "torch",
    "torch._dynamo",  # the first optimizer loads it, which takes seconds
    "safetensors.torch",
    "pltutorial.losses",
    "pltutorial.vgg",
    "pltutorial.images",
]


@dataclass(frozen=True)
class Part:
    """A student's cell, or a test of the exercise `name`."""

    text: str
    name: str = ""  # "": a cell


@dataclass
class Ran:
    """How one part went: `problem` is "" if it ended well, else one line."""

    problem: str = ""
    printed: str = ""
    remark: str = ""  # for a person


def context() -> multiprocessing.context.BaseContext:
    """Processes that begin with PyTorch loaded, or plain new ones where the system
    cannot fork (Windows).
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    chosen = multiprocessing.get_context("forkserver")
    chosen.set_forkserver_preload([*PRELOAD, judge.__name__])
    return chosen


def run(parts: list[Part], seconds: float, total: float) -> list[Ran]:
    """Run parts one after the other; each may compute for `seconds`, all
    together take `total`.

    A part that cannot be stopped, or takes the process down, is left out when the
    others are run once more.
    """
    skipped: dict[int, Ran] = {}
    ran: dict[int, Ran] = {}
    end = time.monotonic() + total
    while True:
        ran, fatal = _attempt(parts, skipped, seconds, end)
        if fatal is None:
            break
        skipped[fatal[0]] = Ran(fatal[1])
        if time.monotonic() > end:
            break
    late = Ran(f"not run: the submission took more than {total:g} s")
    return [
        skipped.get(number) or ran.get(number) or late for number in range(len(parts))
    ]


def _attempt(
    parts: list[Part], skipped: dict[int, Ran], seconds: float, end: float
) -> tuple[dict[int, Ran], tuple[int, str] | None]:
    """One judge over all parts that are not skipped; also the part that
    was fatal, and how.
    """
    items = [
        [number, "test" if part.name else "cell", part.name, part.text]
        for number, part in enumerate(parts)
        if number not in skipped
    ]
    ran: dict[int, Ran] = {}
    ours, theirs = multiprocessing.Pipe()
    limit = max(1.0, end - time.monotonic())
    stopped = f"stopped after {seconds:g} s; does a loop in it never end?"
    with tempfile.TemporaryDirectory(
        prefix="grading-", ignore_cleanup_errors=True
    ) as folder:
        kind, refused = sandbox.in_force(), sandbox.closed()
        arguments = (theirs, seconds, limit, kind, folder, refused)
        process = context().Process(target=judge.work, args=arguments)
        process.start()
        theirs.close()
        current, patience = -1, 2 * START  # the judge's process, and the student's
        try:
            ours.send_bytes(json.dumps(items).encode())
            while True:
                if not ours.poll(max(0.0, min(patience, end - time.monotonic()))):
                    if current < 0:
                        raise RuntimeError(
                            "the process that runs a submission did not start"
                        )
                    return ran, (current, stopped)
                try:
                    message = json.loads(ours.recv_bytes())
                except (EOFError, OSError, ValueError):
                    raise RuntimeError(
                        "the process that judges a submission ended"
                    ) from None
                if "unborn" in message:
                    raise RuntimeError(message["unborn"])
                if "done" in message or "fatal" in message:
                    process.join(GRACE)  # it ends what the student has left running
                if "done" in message:
                    return ran, None
                if "fatal" in message:
                    return ran, (message["fatal"], message["problem"])
                if "start" in message:
                    current = message["start"]
                    patience = 2 * (PATIENCE * seconds + GRACE)
                else:
                    number = message.pop("end")
                    ran[number] = Ran(**message)
        finally:
            end_group(process)
            ours.close()
