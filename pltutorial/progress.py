"""The reader's record of the exercises: the code is in
:mod:`pltutorial.teaching.progress`.
"""

from .teaching.progress import *  # noqa: F403
