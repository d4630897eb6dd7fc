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
    from torch.nn import functional as F

    from ..apply import through
    from ..color import brightness_of, chroma_shares
    from ..images import bundled, bundled_names, check_image, read_image
    from ..networks import ColorizationNet
    from ..terms import LossTerms
    from ..zoo import check_network, load_colorizer

LIMITS = "guesses the commonest colours of grass, sky and skin; the rest stays grey"


@dataclass(frozen=True)
class ColorizationSettings(LikenessTrainingSettings):
    """Training of colourisation, a conditional GAN with a feature content loss
    (Isola et al. 2017).

    Example:
        >>> settings = ColorizationSettings(steps=100, feature_weight=1.0)
        >>> settings.feature_layers, settings.blocks
        (('relu2_2', 'relu3_3'), 4)
        >>> ColorizationSettings(feature_weight=1.0, feature_layers=())
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: feature_weight was given without a layer; ...

    Taught in chapter 10.
    """

    blocks: int = setting(4, "Residual blocks.", most=1000)
    classes: int = setting(
        0,
        "Colours along each side of a grid of chrominance, between which the network "
        "chooses; the image term is their cross-entropy then. 0: squared error.",
        least=0,
        most=64,
    )
    rebalance: float = setting(
        0.5,
        "With classes, how much rare colours count: 0 as others, 1 as 1 / frequency.",
        least=0,
        most=1,
    )

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        if self.norm != "none":
            raise InputError(
                f"norm={self.norm!r} was given; the network of colours has "
                "none, give norm='none'"
            )
        if self.classes == 1:
            raise InputError("classes=1 was given; give 0, or at least 2")
        if self.classes and (self.feature_weight or self.adversarial_weight):
            raise InputError(
                f"classes={self.classes} was given with feature_weight or "
                "adversarial_weight; classes are trained by their cross-entropy, the "
                "image term alone"
            )


class ColorizationTask(LikenessTask):
    """Colours for grey pictures: a conditional GAN with a feature content loss, any
    part of which can be left out.

    The output's brightness is the input's, so the discriminator sees what it
    is conditioned on.

    Args and errors are those of :class:`LikenessTask`.

    Example:
        >>> task = ColorizationTask(ColorizationSettings(width=4, blocks=1))
        >>> terms = task.loss(task.network, torch.rand(2, 3, 32, 32), first=0)
        >>> list(terms), terms.total.requires_grad
        (['image'], True)

    Taught in chapter 10.
    """

    settings: ColorizationSettings
    _weights: torch.Tensor | None = None

    def new_network(self) -> nn.Module:
        """The network, untrained."""
        settings = self.settings
        return ColorizationNet(
            settings.width, settings.blocks, classes=settings.classes
        )

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The terms for a batch (N, 3, H, W)."""
        if self.settings.classes:
            logits = network(images, logits=True)
            pad = (0, 2 * logits.shape[-1] - images.shape[-1])
            pad += (0, 2 * logits.shape[-2] - images.shape[-2])
            small = F.avg_pool2d(F.pad(images.float(), pad, mode="replicate"), 2)
            wanted = chroma_shares(small, self.settings.classes)
            if self._weights is None:
                self._weights = color_weights(
                    self.settings.classes, self.settings.rebalance
                )
            weights = self._weights.to(images.device)
            return LossTerms(
                image=self.settings.image_weight * color_loss(logits, wanted, weights)
            )
        _, features = self._seen(images)
        return self._terms(network(images), images, None, features)

    def given(self, images: torch.Tensor) -> torch.Tensor:
        """The pictures without their colours."""
        return brightness_of(images).expand(-1, 3, -1, -1)


def color_loss(
    logits: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Cross-entropy of colours, each pixel weighted by how rare its colour is.

    Args:
        logits: (N, Q, H, W).
        wanted: shares of the colours of each pixel, (N, Q, H, W).
        weights: of each colour, (Q,).

    Returns:
        a scalar, in nats, at least 0.

    Source: Zhang et al. (2016), Colorful image colorization, equation 2, as a mean over
    pixels.

    Example:
        >>> wanted = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
        >>> color_loss(torch.zeros(1, 2, 1, 1), wanted, torch.tensor([3.0, 1.0])) / 3
        tensor(0.6931)

    Taught in chapter 10.
    """
    counts = torch.einsum("nqhw,q->nhw", wanted, weights)
    return (counts * -(wanted * logits.float().log_softmax(1)).sum(1)).mean()


def color_weights(classes: int, rebalance: float = 0.5) -> torch.Tensor:
    """How much each colour counts: one over its frequency in the bundled training
    photographs, mixed with a uniform one first; 1 on average over their pixels.

    Args:
        classes: colours along each side of the grid, see
            :func:`pltutorial.color.chroma_centres`.
        rebalance: share of the true frequency, from 0, where all colours count alike,
            to 1.

    Returns:
        (classes^2,), float32.

    Source: Zhang et al. (2016), Colorful image colorization, equation 4.

    Taught in chapter 10.
    """
    photos = [read_image(bundled(f"train/{n}"), 128) for n in bundled_names("train")]
    found = [chroma_shares(photo, classes).mean((0, 2, 3)) for photo in photos]
    shares = torch.stack(found).mean(0).view(1, 1, classes, classes)
    # fifteen photographs have gaps that a neighbour's count fills
    shares = F.avg_pool2d(shares, 3, 1, 1, count_include_pad=False).flatten()
    shares = shares / shares.sum()
    weights = 1 / (rebalance * shares + (1 - rebalance) / classes**2)
    return weights / (shares * weights).sum()


def colorize(
    image: torch.Tensor,
    network: nn.Module | None = None,
    *,
    precision: str = "auto",
    tile: int | None = None,
) -> torch.Tensor:
    """Colour grey pictures with a network that has learned to; their brightness stays.

    Args:
        image: (N, 3, H, W) in [0, 1], of any size, or as bytes, see :func:`denoise`;
            only its brightness is looked at.
        network: a :class:`ColorizationNet`, such as ``pltutorial train colorize``
            writes; the one that ships if left out.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        tile: side of the tiles in pixels; None takes one that needs some 0.5 GB.

    Returns:
        (N, 3, H, W), float32, in [0, 1], on the device of ``image``.

    Raises:
        InputError: no image, a network for something else, or a picture that does
            not fit into memory.

    Example:
        >>> photo = read_image(bundled("content/pagoda"), 64)
        >>> grey = photo.mean(1, keepdim=True).expand_as(photo)
        >>> colored = colorize(grey)
        >>> colored.shape == photo.shape, bool(colored.std(1).mean() > 0.001)
        (True, True)

    Taught in chapter 10.
    """
    check_image(image, "the grey picture", slack=0.5, bytes_too=True)
    network = load_colorizer() if network is None else network
    check_network(network, "colorize")
    return through(network, (image,), precision=precision, tile=tile)


def _load(*, model=None, device=None, **options) -> nn.Module:
    return load_colorizer(device, model=model)


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
            help="Colour a grey picture; its brightness stays as it is.",
            load=_load,
            run=_run,
            bytes_too=True,
        ),
        function=colorize,
        folder="likeness",
    )
)
