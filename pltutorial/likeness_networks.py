"""Networks that draw: the code is in :mod:`pltutorial.networks.generators`."""

from .networks.generators import *  # noqa: F403
