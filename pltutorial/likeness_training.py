"""Tasks with a learned likeness: the code is in :mod:`pltutorial.tasks`."""

from .tasks.autoencode import AutoencoderTask
from .tasks.colorize import ColorizationTask
from .tasks.invert import InversionTask
from .tasks.likeness import LikenessTask, code_scale, likeness_card
from .tasks.vae import VAETask

__all__ = [
    "AutoencoderTask",
    "ColorizationTask",
    "InversionTask",
    "LikenessTask",
    "VAETask",
    "code_scale",
    "likeness_card",
]
