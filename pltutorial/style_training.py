"""Style transfer as a task: the code is in :mod:`pltutorial.tasks.style`."""

from .images import middle_square
from .tasks.style import StyleTask, style_card

__all__ = [
    "StyleTask",
    "middle_square",
    "style_card",
]
