"""Standard streams that never fail: what cannot be printed is written out, and what
cannot be written is remembered until the work is done.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import warnings
from collections.abc import Iterator

# A reader that has enough, as in `| head`, and a stream that was closed from the start.
_NOBODY_LISTENS = (errno.EPIPE, errno.EINVAL, errno.EBADF)


class _Steady(io.FileIO):
    """A stream whose writes never raise; ``problem`` is the first that would have."""

    problem: OSError | None = None

    def write(self, data) -> int:
        try:
            return super().write(data)
        except OSError as problem:
            self.problem = self.problem or problem
            return len(data)


@contextlib.contextmanager
def steady_streams() -> Iterator[None]:
    """Within the block every text can be printed, and printing ends no work.

    Characters that the terminal's encoding lacks, and bytes of names that are no UTF-8,
    come out as ``\\udcfc``. A stream that is closed takes everything and keeps nothing.
    """
    _fill_gaps()
    before = sys.stdin, sys.stdout, sys.stderr
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stdout, sys.stderr = (_steady(stream) for stream in before[1:])
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        sys.stdin, sys.stdout, sys.stderr = before


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Within the block a warning is one line, and not a place in a program."""
    before = warnings.formatwarning

    def line(message: Warning | str, category: type[Warning], *place) -> str:
        if category is not UserWarning:
            return before(message, category, *place)
        return f"warning: {message}\n"

    warnings.formatwarning = line
    try:
        yield
    finally:
        warnings.formatwarning = before


def lost() -> OSError | None:
    """Why standard output did not take everything so far; None if it did."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return getattr(raw, "problem", None)


def full() -> OSError | None:
    """:func:`lost`, but None where nobody listens any more."""
    problem = lost()
    return None if problem and problem.errno in _NOBODY_LISTENS else problem


def _fill_gaps() -> None:
    """Numbers 0 to 2 are taken, so that no file of ours gets one, and with it what a
    library prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _steady(stream):
    if stream is None:  # closed, as services and `>&-` do
        raw = _Steady(os.devnull, "w")
        raw.problem = OSError(errno.EBADF, os.strerror(errno.EBADF))
        return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace")
    if not isinstance(stream, io.TextIOWrapper):  # a notebook's, or a test's
        return stream
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if not isinstance(raw, io.FileIO):  # a console of Windows, or a test's
        stream.reconfigure(errors="backslashreplace")
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Steady(raw.fileno(), "w", closefd=False)),
        stream.encoding,
        "backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
