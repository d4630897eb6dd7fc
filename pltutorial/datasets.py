"""The pictures of :mod:`pltutorial.training.pictures`, under the
name they had first.
"""

from .training.pictures import BrokenPictures, Pictures, loader

__all__ = ["BrokenPictures", "Pictures", "loader"]
