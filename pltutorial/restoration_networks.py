"""Networks that restore: the code is in :mod:`pltutorial.networks.residual`."""

from .networks.gated import GatedInpaintingNet as GatedInpaintingNet
from .networks.residual import *  # noqa: F403
