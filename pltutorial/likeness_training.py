"""Tasks with a learned likeness: the code is in :mod:`pltutorial.tasks`."""

from .tasks.likeness import LikenessTask, code_scale
from .tasks.vae import VAETask

__all__ = ['LikenessTask', 'VAETask', 'code_scale']
