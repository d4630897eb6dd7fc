"""Tasks of restoration: the code is in :mod:`pltutorial.tasks`."""

from .tasks.restoration import RestorationTask
from .tasks.super_resolution import SuperResolutionTask

__all__ = ['RestorationTask', 'SuperResolutionTask']
