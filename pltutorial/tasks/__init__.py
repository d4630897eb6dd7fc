"""One file a task: settings, what is taken away, network, loss, function, limits; see :mod:`pltutorial.tasks.base`."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from ..errors import InputError, nearest
from .base import REGISTER, Command, Option, TaskSpec, register

__all__ = ["Command", "Option", "TaskSpec", "all", "find", "register"]


@functools.cache
def _read() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def all() -> dict[str, TaskSpec]:
    """Every task by its name, sorted. PyTorch is not loaded."""
    _read()
    return dict(sorted(REGISTER.items()))


def find(name: str) -> TaskSpec:
    """One task.

    Raises:
        InputError: there is none of this name (with the nearest).
    """
    known = all()
    if name not in known:
        raise InputError(f"there is no task {name!r}; {nearest(str(name), known)}")
    return known[name]
