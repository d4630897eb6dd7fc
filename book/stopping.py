"""Ctrl-C and SIGTERM end a script of this project with one sentence, from its first
line on. A script imports this before all else; where something else is run, as in the
tests, nothing is changed.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

_SCRIPTS = {Path(__file__).parent, Path(__file__).parents[1] / "benchmarks"}


def _stop(number: int, frame: FrameType | None) -> None:
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)  # what is left is a sentence
    print("stopped; the same command makes it anew", file=sys.stderr)
    sys.exit(128 + number)


def loaded() -> None:
    """From here on the script itself says what Ctrl-C has ended."""
    if signal.getsignal(signal.SIGINT) is _stop:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


_main = getattr(sys.modules["__main__"], "__file__", None)
if _main and not _SCRIPTS.isdisjoint(Path(_main).resolve().parents):
    for _number in (signal.SIGINT, signal.SIGTERM):
        # not where it was started to ignore them, or says itself what they end
        if signal.getsignal(_number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(_number, _stop)
