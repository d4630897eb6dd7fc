"""The command ``pltutorial``: options, the commands on pictures, training, and
what a class needs.

This module holds what is there whatever happens: streams, signals and the last line of
defence. Everything else is loaded within it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

from .. import early
from .streams import full, plain_warnings, steady_streams

__all__ = ["Stopped", "main"]

INTERRUPTED = "interrupted; no file was left half written"
_heard: list[int] = []  # the signal that ends this command
_done: list[float] = []  # when its work was done: there is nothing left to end
_unheeded: list[int] = []  # the same, until a command says that it knows


class Stopped(Exception):
    """A command that a signal ended: the sentence that says what is kept, and the
    signal's number where something below heard it first.
    """

    def __init__(self, sentence: str = "", number: int | None = None) -> None:
        super().__init__(sentence)
        self.number = number


def main() -> None:
    """Run the command; whatever goes wrong is one sentence and an exit code, never a
    traceback unless ``--debug`` asks for it.

    The codes: 0, 1 for a fault, 2 for what a user can mend, 130 for Ctrl-C, 143 for
    SIGTERM.
    """
    _heard.clear()
    _done.clear()
    heed()
    words = sys.argv[1:]
    ours = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in ours
    words = [word for word in ours if word != "--debug"] + words[len(ours) :]
    with _signals(), steady_streams(), plain_warnings():
        early.begun()
        try:
            code, sentence = _outcome(words, debug)
        except KeyboardInterrupt:  # while it was said what had gone wrong
            code, sentence = 128 + _heard[0], INTERRUPTED
        _done.append(time.monotonic())
        problem = full()
        if problem is not None and not code:
            code = 1
            sentence = (
                f"error: standard output took no more ({problem.strerror}); free space "
                "or send it elsewhere, files that were asked for are written"
            )
        if sentence and _first_to_say(sentence):
            print(_short(sentence), file=sys.stderr)
    sys.exit(code)


def _outcome(words: list[str], debug: bool) -> tuple[int, str]:
    """The exit code, and what is said last."""
    try:
        try:
            if fault := _lacking():
                return 1, f"error: {fault}"
            from .app import app
            from .usage import obey

            code = obey(app, words)
            if code == 128 + signal.SIGINT:
                raise Stopped  # Typer made this of Ctrl-C
            return code, ""
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else bool(end.code), ""
        except BaseException:
            if debug:
                import traceback

                traceback.print_exc()
            raise
    except (KeyboardInterrupt, Stopped) as end:
        _ignore_signals()
        # Ctrl-C within torch's import marks Python itself as interrupted, and it would
        # end by the signal in place of the exit code; the next exec() clears the mark
        exec("")
        said = isinstance(end, Stopped) and str(end)
        number = getattr(end, "number", None) or next(iter(_heard), signal.SIGINT)
        return 128 + number, said or INTERRUPTED
    except Exception as problem:  # the last line: what can happen is mended elsewhere
        from ..errors import InputError

        code = 2 if isinstance(problem, InputError) else 1
        return code, f"error: {_sentence(problem)}"


def _lacking() -> str:
    """The sentence for a package that the command line needs; empty if it is there."""
    from ..errors import InputError, needed

    try:
        needed("typer", "the commands", "cli")
    except InputError as problem:
        return str(problem)
    return ""


def _sentence(problem: Exception) -> str:
    """One sentence about anything that was raised."""
    from ..errors import InputError

    if isinstance(problem, InputError):
        return str(problem)
    text = " ".join(str(problem).split())[:300].rstrip(".").replace(". ", "; ")
    if isinstance(problem, MemoryError) or _is_out_of_memory(problem):
        return (
            "the memory that is free is not enough; give a smaller picture, size or "
            "batch, or close other programs"
        )
    if isinstance(problem, RecursionError):
        return "what was given is nested too deeply; give a simpler file"
    if isinstance(problem, OSError) and problem.strerror:
        what = "a file" if problem.filename is None else repr(str(problem.filename))
        return (
            f"{what} cannot be used ({problem.strerror}); mend that, or choose another "
            "place"
        )
    return (
        f"{type(problem).__name__}: {text or 'no more is known'}; this should have "
        "been a sentence, so please report it with what --debug adds"
    )


def _short(sentence: str) -> str:
    """As one line, of no more than can be read where somebody gave a long word."""
    from ..errors import on_a_line

    line = on_a_line(sentence)
    return line if len(line) <= 1500 else f"{line[:1000]} ... {line[-400:]}"


def _is_out_of_memory(problem: Exception) -> bool:
    if "torch" not in sys.modules:
        return False
    from ..device import is_out_of_memory

    return is_out_of_memory(problem)


def check_stopped() -> None:
    """End the command if a signal was heard whose KeyboardInterrupt got lost, as in an
    import that takes every error for a missing package.
    """
    if _unheeded:
        raise KeyboardInterrupt


def heed() -> None:
    """What follows a signal is meant to: :func:`check_stopped` lets it through."""
    _unheeded.clear()


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block by KeyboardInterrupt, so that files are tidied;
    a second one ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    since = time.monotonic()

    def stop(number: int, frame) -> None:
        nonlocal since
        if _done and time.monotonic() - _done[0] < 0.5:
            return
        if _done:
            os._exit(128 + number)
        if not _heard:
            since = time.monotonic()
        elif time.monotonic() - since > 0.5:  # `timeout` sends each signal twice
            os._exit(128 + number)
        else:
            return
        _heard.append(number)
        _unheeded.append(number)
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    if "WORLD_SIZE" in os.environ:  # Python hears nothing while it waits for others
        numbers.remove(signal.SIGTERM)
    heard = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if _heard:  # nor does a third one show a traceback while Python ends
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)


def _ignore_signals() -> None:
    """What is left is a sentence."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def _first_to_say(sentence: str) -> bool:
    """Whether no other process that torchrun or accelerate launch started has
    said this already.
    """
    # in a folder of its own for each attempt and process
    report = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not report:
        return True
    import hashlib
    from pathlib import Path

    mark = hashlib.sha256(sentence.encode(errors="replace")).hexdigest()[:16]
    try:
        Path(report).parent.parent.joinpath(f"said-{mark}").touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True
