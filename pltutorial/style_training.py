"""Style transfer as a task: the code is in :mod:`pltutorial.tasks.style`."""

from .tasks.style import StyleTask, style_card

__all__ = ['StyleTask', 'style_card']
