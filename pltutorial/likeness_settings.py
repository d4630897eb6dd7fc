"""Settings of the tasks with a learned likeness: they are in :mod:`pltutorial.tasks`."""

from .tasks.vae import VAESettings

__all__ = ['VAESettings']
