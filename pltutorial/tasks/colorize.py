"""Colourisation: what is taken away are the colours; the brightness stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

from ..bounds import setting
from ..deferred import deferred_imports
from ..errors import InputError
from ..register import Command, TaskSpec, register
from .likeness import LikenessTask, LikenessTrainingSettings, likeness_card

with deferred_imports():
    import torch
    from torch import nn

    from ..apply import through
    from ..color import brightness_of
    from ..images import check_image
    from ..networks import ColorizationNet
    from ..terms import LossTerms
    from ..zoo import check_network, load_for

LIMITS = "guesses the commonest colours of grass, sky and skin; the rest stays grey"


@dataclass(frozen=True)
class ColorizationSettings(LikenessTrainingSettings):
    """Training of colourisation, a conditional GAN with a feature content loss
    (Isola et al. 2017).

    Taught in chapter 9.
    """

    blocks: int = setting(4, "Residual blocks.", most=1000)

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        if self.norm != "none":
            raise InputError(
                f"norm={self.norm!r} was given; the network of colours has "
                "none, give norm='none'"
            )


class ColorizationTask(LikenessTask):
    """Colours for grey pictures: a conditional GAN with a feature content loss, any
    part of which can be left out.

    The output's brightness is the input's, so the discriminator sees what it
    is conditioned on.

    Args and errors are those of :class:`LikenessTask`.

    Taught in chapter 9.
    """

    settings: ColorizationSettings

    def new_network(self) -> nn.Module:
        """The network, untrained."""
        return ColorizationNet(self.settings.width, self.settings.blocks)

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The terms for a batch (N, 3, H, W)."""
        _, features = self._seen(images)
        return self._terms(network(images), images, None, features)

    def given(self, images: torch.Tensor) -> torch.Tensor:
        """The pictures without their colours."""
        return brightness_of(images).expand(-1, 3, -1, -1)


def colorize(
    image: torch.Tensor,
    network: nn.Module,
    *,
    precision: str = "auto",
    tile: int | None = None,
) -> torch.Tensor:
    """Colour grey pictures with a network that has learned to; their brightness stays.

    Args:
        image: (N, 3, H, W) in [0, 1], of any size; only its brightness is looked at.
        network: a :class:`ColorizationNet`, such as ``pltutorial train colorize``
            writes and :func:`load_network` reads; none ships.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        tile: side of the tiles in pixels; None takes one that needs some 0.5 GB.

    Returns:
        (N, 3, H, W), float32, in [0, 1], on the device of ``image``.

    Raises:
        InputError: no image, a network for something else, or a picture that does
            not fit into memory.

    Taught in chapter 9.
    """
    check_image(image, "the grey picture", slack=0.5)
    check_network(network, "colorize")
    return through(network, (image,), precision=precision, tile=tile)


def _load(*, model=None, device=None, **options) -> nn.Module:
    if model is None:
        raise InputError(
            "no network was given and none for colours ships; train one with "
            "`pltutorial train colorize -o run`, and give --model "
            "run/network.safetensors"
        )
    return load_for("colorize", model, device)


def _run(network, image, *, precision, **options) -> torch.Tensor:
    return colorize(image, network, precision=precision)


register(
    TaskSpec(
        name="colorize",
        train_help="Teach a network to colour grey pictures: a conditional GAN with a "
        "feature content loss.",
        settings=ColorizationSettings,
        training=ColorizationTask,
        card=likeness_card,
        networks={"colorization": ColorizationNet},
        limits=LIMITS,
        usage="colorize PHOTO",
        command=Command(
            name="colorize",
            help="Colour a grey picture with a network that you have trained; its "
            "brightness stays as it is.",
            load=_load,
            run=_run,
        ),
        function=colorize,
        folder="likeness",
    )
)
