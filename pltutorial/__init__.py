"""Perceptual losses for images, to learn, to teach and to use.

Every public name can be imported from here; nothing heavy is loaded before the
first one is used. The names stand in ``__init__.pyi``, where editors and type
checkers look too.
"""

from __future__ import annotations

from . import early

early.hear()  # Ctrl-C, before all that takes longer to load

import lazy_loader  # noqa: E402

_lazy, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str):
    if name == "__version__":  # what git's tags said when it was installed
        from importlib.metadata import version

        return version(__name__)
    return _lazy(name)
