"""One training loop for every network, its pictures, and what a run keeps on disk.

Nothing is loaded before a name is used, so that a download needs no PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors and type checkers, which do not look into __getattr__
    from ..settings import StyleTrainingSettings as StyleTrainingSettings
    from ..settings import TrainingSettings as TrainingSettings
    from .loop import train as train
    from .task import Task as Task
    from .task import Trained as Trained

_MODULE_OF = {
    "Task": ".task",
    "Trained": ".task",
    "train": ".loop",
    "TrainingSettings": "..settings",
    "StyleTrainingSettings": "..tasks.style",
    "StyleTask": "..tasks.style",
    "style_card": "..tasks.style",
}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
