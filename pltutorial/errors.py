"""The one family of errors that a user can cause: what was given, what is
needed, how to get it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something given to the package cannot be used.

    The message is one sentence that says what was given, what is needed and how to get
    it. The command line prints it after ``error:`` and exits with code 2.

    Taught in chapter 2.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """The clause "the nearest is 'relu1_2'" for the closest known name, else the
    list of what is known.
    """
    known = list(known)
    close = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.4)
    return f"the nearest is {close[0]!r}" if close else f"known are {', '.join(known)}"
