"""DeePSiM's loss: the code is in :mod:`pltutorial.deepsim`."""

from .deepsim import *  # noqa: F403
