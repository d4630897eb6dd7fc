"""Checks of the exercises: the code is in :mod:`pltutorial.teaching.exercises`."""

from .teaching.exercises import *  # noqa: F403
