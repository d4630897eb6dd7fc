"""One training loop for every network, its pictures, and what a run keeps on disk.

Nothing is loaded before a name is used, so that a download needs no PyTorch.
"""

from __future__ import annotations

import importlib

_MODULE_OF = {
    "Task": ".loop",
    "Trained": ".loop",
    "train": ".loop",
    "TrainingSettings": "..settings",
    "StyleTrainingSettings": "..tasks.style",
    "StyleTask": "..tasks.style",
    "style_card": "..tasks.style",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
