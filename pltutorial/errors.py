"""The one family of errors that a user can cause: what was given, what is
needed, how to get it.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import importlib.util
import reprlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import ParamSpec, TypeVar

_Given, _Made = ParamSpec("_Given"), TypeVar("_Made")


class InputError(ValueError):
    """Something given to the package cannot be used.

    The message is one sentence that says what was given, what is needed and how to get
    it. The command line prints it after ``error:`` and exits with code 2.

    Example:
        >>> try:
        ...     LossNetwork()(torch.rand(1, 3, 32, 32), ["relu6_1"])
        ... except InputError as error:
        ...     print(error)
        there is no layer 'relu6_1'; the nearest is 'relu5_1'

    Taught in chapter 2.
    """


@contextlib.contextmanager
def as_sentence() -> Iterator[None]:
    """Within the block of a script an InputError ends it with its sentence and exit
    code 2, as it does the command line, and without a traceback.
    """
    try:
        yield
    except InputError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)


def nearest(name: str, known: Iterable[str]) -> str:
    """The clause "the nearest is 'relu1_2'" for the closest known name, else the
    list of what is known.
    """
    known = list(known)
    close = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.4)
    return f"the nearest is {close[0]!r}" if close else f"known are {', '.join(known)}"


def needed(
    module: str, what: str, extra: str, package: str | None = None
) -> ModuleType:
    """A module of a package that the losses do without.

    Args:
        module: its name.
        what: what cannot be done without it, a plural such as ``"the commands"``.
        extra: the list of requirements in pyproject.toml that has it.
        package: its name on the index, where that is another.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise _missing(package or module.partition(".")[0], what, extra) from None


def package_folder(
    module: str, what: str, extra: str, package: str | None = None
) -> Path:
    """Where a package lies whose files are read; it is not imported.

    Args:
        module: its name.
        what: what cannot be done without it, as of :func:`needed`.
        extra: the list of requirements in pyproject.toml that has it.
        package: its name on the index, where that is another.

    Raises:
        InputError: it is not installed.
    """
    found = None
    with contextlib.suppress(ImportError):
        found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise _missing(package or module, what, extra)
    return Path(found.origin).parent


def _missing(package: str, what: str, extra: str) -> InputError:
    return InputError(
        f"{what} need the package {package}; install it with: "
        f"pip install 'pltutorial[{extra}]'"
    )


def known_elsewhere_as(
    **names: str,
) -> Callable[[Callable[_Given, _Made]], Callable[_Given, _Made]]:
    """A function with arguments that other packages call by these names: each is
    refused with what it is here.
    """

    def wrap(function: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
        @functools.wraps(function)
        def call(*args: _Given.args, **options: _Given.kwargs) -> _Made:
            for name in names.keys() & options.keys():
                raise InputError(
                    f"{name}={shown(options[name])} was given; say {names[name]}"
                )
            return function(*args, **options)

        return call

    return wrap


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 80


def shown(value: object) -> str:
    """What was given as a sentence shows it: short, however long or deep it is."""
    try:
        return " ".join(_short.repr(value).splitlines())
    except (ValueError, RecursionError):  # Python writes no number of 5,000 digits
        return f"a {type(value).__name__} too long to be shown"


def on_a_line(text: object) -> str:
    """Text as a terminal may be given it: what would begin a new line, colour it or
    turn it round, as the name of a file can, is written out.
    """
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode()
        for c in str(text)
    )
