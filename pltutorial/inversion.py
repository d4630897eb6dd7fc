"""Inversion: the code is in :mod:`pltutorial.tasks.invert` and
:mod:`pltutorial.networks.codes`.
"""

from .networks.codes import encode, keep_strongest
from .tasks.invert import invert, reencode

__all__ = [
    "encode",
    "invert",
    "keep_strongest",
    "reencode",
]
