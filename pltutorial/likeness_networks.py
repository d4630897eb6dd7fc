"""Networks that draw: the code is in :mod:`pltutorial.networks`."""

from .networks.codes import *  # noqa: F403
from .networks.colorization import *  # noqa: F403
from .networks.discriminator import *  # noqa: F403
from .networks.generators import *  # noqa: F403
from .networks.stages import *  # noqa: F403
from .networks.vae import *  # noqa: F403
