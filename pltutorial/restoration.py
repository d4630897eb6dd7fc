"""What networks for restoration do: the code is in :mod:`pltutorial.tasks`."""

from .networks.files import blend_networks
from .tasks.deblur import deblur
from .tasks.denoise import denoise
from .tasks.inpaint import inpaint, read_mask, to_mask, transparency
from .tasks.super_resolution import upscale, with_histogram_of

__all__ = [
    "blend_networks",
    "deblur",
    "denoise",
    "inpaint",
    "read_mask",
    "to_mask",
    "transparency",
    "upscale",
    "with_histogram_of",
]
