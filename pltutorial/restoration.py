"""What networks for restoration do: the code is in :mod:`pltutorial.tasks`."""

from .tasks.inpaint import inpaint, read_mask, to_mask
from .tasks.super_resolution import upscale, with_histogram_of

__all__ = ['inpaint', 'read_mask', 'to_mask', 'upscale', 'with_histogram_of']
