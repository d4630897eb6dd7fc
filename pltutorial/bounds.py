"""Bounds of settings as data beside their fields: they refuse values and
show in ``--help``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any, get_args, get_origin, get_type_hints

from .errors import InputError, nearest, shown

_NUMBERS = {int: (Integral, "a whole number"), float: (Real, "a number")}
_LARGEST = 2**63 - 1  # of an int64


@dataclass(frozen=True)
class Bounds:
    """What values a setting may have, as data: they refuse and they are shown in help.

    Args:
        least: the smallest number.
        above: numbers are larger than this.
        most: the largest number.
        below: numbers are smaller than this.
        choices: the only values.
        count: how many numbers a tuple has; the range is that of each.
        growing: whether they must not fall.
        example: such a tuple, as it is written on the command line.
        called: what a sentence calls a choice; the setting's name if left out.
        need: what is needed, for a sentence that says it in its own words.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    choices: tuple = ()
    count: int = 0
    growing: bool = False
    example: str = ""
    called: str = ""
    need: str = ""

    @property
    def range(self) -> str:
        """The range in words, empty without one: ``at least 1``."""
        if self.least is not None and self.below is not None:
            return f"from {self.least:g} to below {self.below:g}"
        if self.above is not None and self.most is not None:
            return f"above {self.above:g} and at most {self.most:g}"
        if self.above is not None:
            return "positive" if not self.above else f"above {self.above:g}"
        if self.least is not None:
            return "0 or more" if not self.least else f"at least {self.least:g}"
        return ""

    def holds(self, number: float) -> bool:
        """Whether a number is finite and in the range."""
        return (
            abs(number) < float("inf")
            and (self.least is None or self.least <= number)
            and (self.above is None or self.above < number)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that is not within the bounds; None is within all.

        Raises:
            InputError: with what to give.
        """
        if value is None:
            return
        said = f"{name}={shown(value)} was given"
        if self.choices:
            self._check_choice(name, value)
        elif self.count:
            falls = self.growing and list(value) != sorted(value)
            if len(value) != self.count or falls or not all(map(self.holds, value)):
                raise InputError(f"{said}; give {self._tuple()}")
        elif not self.holds(value):
            need = self.need or f"give {self._number(value)}"
            raise InputError(f"{said}; {need}")

    def _check_choice(self, name: str, value: Any) -> None:
        if value in self.choices:
            return
        if isinstance(value, str):
            called = self.called or name.replace("_", " ")
            known = nearest(value, self.choices)
            raise InputError(f"there is no {called} {value!r}; {known}")
        *first, last = map(str, self.choices)
        raise InputError(f"{name}={value} was given; give {', '.join(first)} or {last}")

    def _number(self, value: float) -> str:
        if self.range == "positive":
            return "a positive number"
        if self.above is None and self.most is not None and value > self.most:
            return f"at most {self.most:,}"
        finite = ", a finite number" if abs(value) == float("inf") else ""
        return ("a number " if " to " in self.range or self.most else "") + (
            self.range + finite
        )

    def _tuple(self) -> str:
        growing = "growing " if self.growing else ""
        limits = {"": "", "0 or more": " from 0"}.get(self.range, f" {self.range}")
        words = {2: "two", 3: "three"}.get(self.count, str(self.count))
        return f"{words} {growing}numbers{limits}, such as {self.example}"


def setting(default: Any, help: str, **bounds: Any) -> Any:
    """A field of a settings dataclass, with its help and its bounds.

    Args:
        default: its value if left out.
        help: one or two sentences, which ``--help`` shows with the range.
        **bounds: see :class:`Bounds`: ``least=1``, ``choices=("lbfgs", "adam")``.
    """
    limits = Bounds(**bounds)
    if limits.range and limits.range not in help:
        help = f"{help} {limits.range.capitalize()}."
    missing = [str(choice) for choice in limits.choices if str(choice) not in help]
    if missing:
        help = f"{help.rstrip('.')}; {', '.join(map(str, limits.choices))}."
    about = {"help": help, "bounds": limits if bounds else None}
    return field(default=default, metadata=about)


def weight(default: float, help: str) -> Any:
    """The weight of a term of a loss, see :func:`setting`."""
    need = "weights are finite and at least 0"
    return setting(default, help, least=0, need=need)


def check_bounds(settings: Any) -> None:
    """Refuse settings with a value that is of another type, or not within its bounds.

    Raises:
        InputError: with what to give.
    """
    hints = _hints(type(settings))
    for each in fields(settings):
        value, limits = getattr(settings, each.name), each.metadata.get("bounds")
        _check_numbers(each.name, value, hints[each.name])
        if limits is not None:
            limits.check(each.name, value)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _check_numbers(name: str, value: Any, hint: Any) -> None:
    """Refuse what is no number where one is due, and numbers that no machine counts
    to; other types are looked at where they are used.
    """
    kinds = [kind for kind in get_args(hint) or (hint,) if kind in _NUMBERS]
    if value is None and type(None) in get_args(hint) or not kinds:
        return
    kind, called = _NUMBERS[kinds[0]]
    several = get_origin(hint) is tuple
    given = value if several and isinstance(value, list | tuple) else [value]
    for one in given:
        if not isinstance(one, kind) or (several and given is not value):
            need = called.removeprefix("a ") + "s, as a tuple" if several else called
            raise InputError(f"{name}={shown(value)} was given; give {need}")
        if isinstance(one, int) and abs(one) > _LARGEST:
            need = f"a number of at most {_LARGEST:,}"
            raise InputError(f"{name}={shown(value)} was given; give {need}")
