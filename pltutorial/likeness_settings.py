"""Settings of the tasks with a learned likeness: they are in
:mod:`pltutorial.tasks`.
"""

from .tasks.autoencode import AutoencoderSettings
from .tasks.colorize import ColorizationSettings
from .tasks.invert import InversionSettings
from .tasks.likeness import LikenessTrainingSettings
from .tasks.vae import VAESettings

__all__ = [
    "AutoencoderSettings",
    "ColorizationSettings",
    "InversionSettings",
    "LikenessTrainingSettings",
    "VAESettings",
]
