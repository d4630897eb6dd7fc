"""Imports that wait for their first use, so that settings and names are there
before PyTorch is.

A file of a task holds its settings, which ``--help`` shows at once, and its work, which
needs PyTorch. Python 3.15 has ``lazy import`` for that; until then::

    with deferred_imports():
        import torch

        from ..losses import gram_matrix

Within the block nothing is loaded: each name stands for what it names until it is
called, looked into or compared by ``isinstance``. It suits modules, functions and
classes, but no class to inherit from and no number.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import importlib.util
from collections.abc import Iterator
from types import SimpleNamespace


class _Deferred:
    """A module, or a name in one, that is not loaded yet."""

    def __init__(self, module: str, name: str | None = None) -> None:
        self._module, self._name = module, name
        self.__module__ = module  # where documentation looks for it

    def _value(self):
        module = importlib.import_module(self._module)
        if self._name is None:
            return module
        if not hasattr(module, self._name):  # a module within a package
            return importlib.import_module(f"{self._module}.{self._name}")
        return getattr(module, self._name)

    def __call__(self, *given, **named):
        return self._value()(*given, **named)

    def __getattr__(self, name: str):
        return getattr(self._value(), name)

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(value, self._value())

    def __or__(self, other):  # in annotations
        return self._value() | other

    def __ror__(self, other):
        return other | self._value()

    def __repr__(self) -> str:
        return f"<{self._module}{'' if self._name is None else '.' + self._name}>"


@contextlib.contextmanager
def deferred_imports() -> Iterator[None]:
    """Imports of the ``with`` block are done when their names are first used."""
    plain = builtins.__import__
    owner = None

    def later(name, globals=None, locals=None, fromlist=(), level=0):
        nonlocal owner
        space = (globals or {}).get("__name__")
        owner = owner or space
        if space != owner:  # another thread's import, at the same time
            return plain(name, globals, locals, fromlist, level)
        relative, package = "." * level + name, globals["__package__"]
        full_name = importlib.util.resolve_name(relative, package)
        if not fromlist:
            return _Deferred(full_name.partition(".")[0])
        return SimpleNamespace(**{one: _Deferred(full_name, one) for one in fromlist})

    builtins.__import__ = later
    try:
        yield
    finally:
        builtins.__import__ = plain
