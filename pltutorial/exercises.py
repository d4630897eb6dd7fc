"""Checks of the exercises: the code is in ``pltutorial.teaching.exercises``."""

from .teaching.exercises import *  # noqa: F403
