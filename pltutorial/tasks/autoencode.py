"""Autoencoder: a picture through a narrow code and back."""

from __future__ import annotations

from dataclasses import dataclass

from ..bounds import setting
from ..deferred import deferred_imports
from ..register import TaskSpec, register
from .likeness import LikenessTask, LikenessTrainingSettings, likeness_card

with deferred_imports():
    import torch
    from torch import nn

    from ..networks import ConvAutoencoder
    from ..terms import LossTerms

LIMITS = "trained on small crops; letters, faces and fine texture suffer first"


@dataclass(frozen=True)
class AutoencoderSettings(LikenessTrainingSettings):
    """Training of a convolutional autoencoder (Dosovitskiy and Brox 2016, section 4.1).

    Example:
        >>> settings = AutoencoderSettings(steps=100, code_channels=16)
        >>> settings.code_channels, settings.image_weight, settings.size
        (16, 1.0, 64)
        >>> AutoencoderSettings(image_weight=0)
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: all weights are 0; ...

    Taught in chapter 8.
    """

    code_channels: int = setting(
        8, "Numbers for each square of 8x8 pixels.", most=10000
    )
    blocks: int = setting(2, "3x3 convolutions at the code's resolution.", most=1000)


class AutoencoderTask(LikenessTask):
    """A picture through a narrow code and back; encoder and generator learn together.

    Args and errors are those of :class:`LikenessTask`.

    Example:
        >>> task = AutoencoderTask(AutoencoderSettings(width=4, blocks=1))
        >>> list(task.loss(task.network, torch.rand(2, 3, 32, 32), first=0))
        ['image']
        >>> task.network(torch.rand(1, 3, 32, 48)).shape
        torch.Size([1, 3, 32, 48])

    Taught in chapter 8.
    """

    settings: AutoencoderSettings

    def new_network(self) -> nn.Module:
        """The network, untrained."""
        settings = self.settings
        return ConvAutoencoder(
            settings.width, settings.code_channels, settings.blocks, norm=settings.norm
        )

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The terms for a batch (N, 3, H, W); the discriminator is told nothing."""
        _, features = self._seen(images)
        return self._terms(network(images), images, None, features)


register(
    TaskSpec(
        name="autoencode",
        train_help="Teach a network to pass pictures through a narrow code "
        "(Dosovitskiy and Brox 2016, section 4.1).",
        settings=AutoencoderSettings,
        training=AutoencoderTask,
        card=likeness_card,
        networks={"autoencoder": ConvAutoencoder},
        limits=LIMITS,
        usage="invert PHOTO",
        folder="likeness",
    )
)
