"""Pictures, grids, sweeps and sliders: the code is in
:mod:`pltutorial.teaching.figures`.
"""

from .teaching.figures import *  # noqa: F403
