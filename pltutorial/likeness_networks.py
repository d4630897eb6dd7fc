"""Networks that draw: the code is in :mod:`pltutorial.networks.generators`."""

from .networks.discriminator import *  # noqa: F403
from .networks.generators import *  # noqa: F403
