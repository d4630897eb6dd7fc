"""The judge of one submission: runs the tests, and asks the student's
process for values.

It never imports what a student wrote. The student's process begins before any test has
come here, so that it cannot know one.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import json
import os
import signal
import time
from multiprocessing.connection import Connection

import torch

from . import sandbox
from .worker.channel import Channel, ChannelError, Gone, Silent
from .worker.peer import Peer, RaisedError
from .worker.student import MEMORY, PATIENCE
from .worker.values import Unpacking

GRACE = 3.0  # seconds that a stopped cell may take to end, before its process is killed
START = 120.0  # seconds that a process may take to load PyTorch
_OUTPUT = 4_000


def work(
    pipe: Connection,
    seconds: float,
    total: float,
    kind: str,
    folder: str,
    refused: list[str],
) -> None:
    """In a new process: begin the student's, then run the parts
    that come by the pipe.
    """
    if hasattr(os, "setsid"):
        os.setsid()
    channel, student = sandbox.start(kind, seconds, total, folder, refused)
    sandbox.hide_memory()
    _limit()
    torch.set_num_threads(1)
    try:
        items = json.loads(pipe.recv_bytes())
        told = _Judge(channel, seconds, lambda message: _tell(pipe, message)).run(items)
        _tell(pipe, told)
    except (EOFError, BrokenPipeError):
        pass  # the grader was stopped; nobody is left to be told
    finally:
        student.kill()
        sandbox.end_children()


def _tell(pipe: Connection, message: dict) -> None:
    pipe.send_bytes(json.dumps(message).encode())


def _limit() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _Judge:
    def __init__(self, channel: Channel, seconds: float, tell) -> None:
        self.seconds, self.tell = seconds, tell
        self.peer = Peer(channel, "j", trusting=False)
        self.space: dict = {}  # what the tests of one exercise define
        self.name = ""

    def run(self, items: list[list]) -> dict:
        """Run the parts in order; the last message says whether all were run."""
        self.peer.patience = START  # PyTorch may still be loading, on nobody's time
        try:
            self.peer.ask({"do": "names", "names": []})
        except ChannelError as problem:
            return {"unborn": f"the student's process did not start: {problem}"}
        self.peer.patience = PATIENCE * self.seconds + GRACE
        for number, kind, name, text in items:
            self.tell({"start": number})
            began = time.monotonic()
            try:
                done = self._cell(text) if kind == "cell" else self._test(name, text)
            except Silent:
                return self._lost(number, self._stopped())
            except Gone:
                late = time.monotonic() - began > self.seconds
                crashed = "it ended or crashed the whole program"
                return self._lost(number, self._stopped() if late else crashed)
            except ChannelError as problem:
                return self._lost(number, f"its answer is no data: {problem}")
            except Exception as problem:  # what came had another shape than an answer
                kind = type(problem).__name__
                return self._lost(number, f"its answer is no data: {kind}")
            self.tell({"end": number, **done})
        return {"done": True}

    def _lost(self, number: int, why: str) -> dict:
        return {"fatal": number, "problem": why}

    def _stopped(self) -> str:
        return f"stopped after {self.seconds:g} s; does a loop in it never end?"

    def _cell(self, text: str) -> dict:
        answer, _ = self.peer.ask({"do": "run", "code": text})
        problem = answer.get("problem")
        said = self._line(problem["kind"], problem["text"], True) if problem else ""
        return {"problem": said, "printed": str(answer.get("printed"))[:_OUTPUT]}

    def _test(self, name: str, text: str) -> dict:
        """Run a test here; the names that it does not define are the student's."""
        if name != self.name:
            self.peer.forget()
            self.peer.ask({"do": "forget"})
            self.name, self.space = name, {"__name__": "test"}
        tree = ast.parse(text)
        self.peer.changed_inputs = False
        self._fetch(sorted(_open_names(tree) - set(self.space)))
        heard, problem = io.StringIO(), ""
        try:
            with contextlib.redirect_stdout(heard), torch.enable_grad():
                exec(compile(tree, "<test>", "exec"), self.space)  # noqa: S102
        except ChannelError:
            raise
        except RaisedError as error:
            problem = self._line(error.kind, error.text, True)
        except Exception as error:
            words = " ".join(str(error).split())[:500]
            problem = self._line(type(error).__name__, words, False)
        remark = "it changed what it was given" if self.peer.changed_inputs else ""
        return {"problem": problem, "printed": "", "remark": remark}

    def _fetch(self, names: list[str]) -> None:
        answer, tensors = self.peer.ask({"do": "names", "names": names})
        found = answer.get("value")
        for name in names:
            if isinstance(found, dict) and name in found:
                self.space[name] = Unpacking(self.peer, tensors).value(found[name])

    def _line(self, kind: str, text: str, hers: bool) -> str:
        """An error as one line for the student."""
        if kind == "OutOfTime":
            return self._stopped()
        if kind == "NotImplementedError":
            return "not written yet (NotImplementedError)"
        if kind == "CannotTravelError":
            return f"it gives {text}; return tensors, numbers, lists or the like"
        if kind == "AssertionError" and text and not hers:
            return text  # the test's own sentence
        return f"{kind}: {text}" if text else kind


def _open_names(tree: ast.Module) -> set[str]:
    """The names that a test uses and does not define."""
    used, bound = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
    return used - bound - set(dir(builtins))


def end_group(process) -> None:
    """Kill a judge and what it has started."""
    if hasattr(os, "killpg") and process.pid:
        with contextlib.suppress(OSError):
            if os.getpgid(process.pid) == process.pid:
                os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()
