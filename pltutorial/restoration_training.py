"""Tasks of restoration: the code is in :mod:`pltutorial.tasks`."""

from .tasks.deblur import DeblurringTask
from .tasks.denoise import DenoisingTask
from .tasks.inpaint import InpaintingTask
from .tasks.restoration import RestorationTask, restoration_card
from .tasks.super_resolution import SuperResolutionTask

__all__ = [
    "DeblurringTask",
    "DenoisingTask",
    "InpaintingTask",
    "RestorationTask",
    "SuperResolutionTask",
    "restoration_card",
]
