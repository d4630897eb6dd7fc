"""Ctrl-C while the command still loads, and while Python ends after it: one sentence
or none, and exit code 130, never a traceback of imports.

Imported before all else; in a program of somebody else it does nothing.

What comes before is Python's own. Until it is set up the signal itself ends it, in
silence; while it imports ``site``, some milliseconds, or a tenth of a second where
packages are installed as editable, it shows a traceback. Neither ``-I`` nor frozen
modules shorten that, and a launcher around it would be one more process to signal.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys

_begun: list[bool] = []


def is_command() -> bool:
    """Whether this process is the command: the script ``pltutorial``, or
    ``python -m pltutorial``.
    """
    words = sys.orig_argv[1:]
    first = sys.argv[0] if sys.argv else ""
    if first == "-m":  # what Python says while it looks for the module
        joined = {*words, *map("".join, itertools.pairwise(words))}
        return not joined.isdisjoint({"-mpltutorial", "-mpltutorial.cli"})
    names = ("pltutorial", "pltutorial.exe", "pltutorial-script.py")
    return first in words and os.path.basename(first) in names  # noqa: PTH119


def hear() -> None:
    """From here on Ctrl-C ends the command, unless it was started to ignore it."""
    if not is_command():
        return
    try:
        import signal

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _stop)
    except KeyboardInterrupt:
        _stop(2, None)


def begun() -> None:
    """The command itself says from here on what Ctrl-C has ended."""
    _begun.append(True)


def _stop(number: int, frame: object) -> None:
    if not _begun:
        with contextlib.suppress(OSError):
            os.write(2, b"interrupted; nothing was begun\n")
    os._exit(128 + number)
