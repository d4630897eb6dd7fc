"""Inversion: the picture back from a code of VGG-16, round after round, or from
a part of the code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..bounds import setting
from ..deferred import deferred_imports
from ..errors import InputError
from ..register import Command, Option, TaskSpec, register
from .likeness import LikenessTask, LikenessTrainingSettings, likeness_card

with deferred_imports():
    import torch
    from torch import nn
    from torch.nn import functional as F

    from ..apply import through
    from ..images import check_image, resize
    from ..networks import ConvAutoencoder, InversionNet, code_shape, encode
    from ..terms import LossTerms
    from ..vgg import Encoder, LossNetwork
    from ..zoo import inverter_losses, load_inverter

MOST_ROUNDS = 1_000
LIMITS = (
    "draws what the code has lost as it was in the training pictures; letters, faces "
    "and straight lines suffer first"
)


@dataclass(frozen=True)
class InversionSettings(LikenessTrainingSettings):
    """Training of a network that inverts a layer of VGG-16 (Dosovitskiy and Brox
    2016, both papers).

    Example:
        >>> settings = InversionSettings(steps=100, layer="relu3_3")
        >>> settings.layer, settings.adversarial_weight
        ('relu3_3', 0.0)
        >>> InversionSettings(norm="batch", batch_size=1)
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: a batch of 1 was given with norm='batch', ...

    Taught in chapter 8.
    """

    layer: str = setting(
        "relu4_3", "The code that is inverted, such as relu4_3 or pool5."
    )
    blocks: int = setting(2, "3x3 convolutions at the code's resolution.", most=1000)


class InversionTask(LikenessTask):
    """The picture back from a code of VGG-16: squared error alone (the first paper) or
    DeePSiM (the second).

    Args and errors are those of :class:`LikenessTask`.

    Example:
        >>> settings = InversionSettings(layer="relu2_1", width=4, blocks=1)
        >>> task = InversionTask(settings)
        >>> list(task.loss(task.network, torch.rand(2, 3, 32, 32), first=0))
        ['image']

    Taught in chapter 8.
    """

    settings: InversionSettings

    @property
    def code_layer(self) -> str:
        """The layer of VGG-16 that is inverted."""
        return self.settings.layer

    def new_network(self) -> nn.Module:
        """The network, untrained."""
        settings = self.settings
        stride = code_shape(settings.layer)[1]
        if settings.size % stride:
            raise InputError(
                f"crops of {settings.size} pixels do not end where {settings.layer} "
                f"does; give a multiple of {stride}"
            )
        return InversionNet(
            settings.layer, settings.width, settings.blocks, norm=settings.norm
        )

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The generator's terms for a batch (N, 3, H, W)."""
        code, features = self._seen(images)
        scaled = None
        if self.adversary is not None:
            scaled = code.float() / self.network.scale.view(1, -1, 1, 1)
        return self._terms(network(code), images, scaled, features)


def invert(
    image: torch.Tensor,
    network: nn.Module | None = None,
    *,
    layer: str = "relu4_3",
    loss: str | None = None,
    encoder: LossNetwork | Encoder | None = None,
    change: Callable[[torch.Tensor], torch.Tensor] | None = None,
    precision: str = "auto",
    tile: int | None = None,
) -> torch.Tensor:
    """What a trained network draws of the code of a picture: one pass to the
    code, one pass back.

    Args:
        image: (N, 3, H, W) in [0, 1]; a height or width that is no multiple of the
            code's stride is continued up to one, and cut off again.
        network: an :class:`InversionNet` of a layer of VGG-16, or a
            :class:`ConvAutoencoder`, which has its own encoder; left out, a
            network that ships.
        layer: for a network that ships: ``"relu3_3"``, ``"relu4_3"`` or ``"relu5_3"``.
        loss: for a network that ships: ``"image"``, ``"deepsim"`` or ``"full"``, see
            :func:`load_inverter`.
        encoder: a loss network to reuse, or the :class:`Encoder` whose layer
            the network inverts.
        change: is given the code (N, C, h, w) and returns what is to be drawn in its
            place, see :func:`keep_strongest`.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        tile: side of the tiles in pixels; None takes one that needs some 0.5 GB.
            With ``change``, which may look at a code as a whole, the picture
            goes through as one.

    Returns:
        (N, 3, H, W), float32, in [0, 1], on the network's device.

    Raises:
        InputError: no image, a network of another kind, or no network that ships for
            the layer or loss.

    Source: Dosovitskiy and Brox (2016), both papers.

    Example:
        >>> picture = torch.rand(1, 3, 32, 32)
        >>> invert(picture, layer="relu3_3").shape
        torch.Size([1, 3, 32, 32])

    Taught in chapter 8.
    """
    return reencode(
        image,
        1,
        network,
        layer=layer,
        loss=loss,
        encoder=encoder,
        change=change,
        precision=precision,
        tile=tile,
    )[0]


def reencode(
    image: torch.Tensor,
    rounds: int,
    network: nn.Module | None = None,
    *,
    layer: str = "relu4_3",
    loss: str | None = None,
    encoder: LossNetwork | Encoder | None = None,
    change: Callable[[torch.Tensor], torch.Tensor] | None = None,
    precision: str = "auto",
    tile: int | None = None,
) -> list[torch.Tensor]:
    """Iterative re-encoding: picture, code, picture, code, ... Each round starts from
    what the round before has drawn.

    A picture that lies where the generator draws hardly moves; what the generator
    adds of its own grows.

    Args:
        image: see :func:`invert`.
        rounds: how often, at least 1.
        network, layer, loss, encoder, change, precision, tile: see :func:`invert`.

    Returns:
        the pictures of all rounds, the first one being that of :func:`invert`.

    Raises:
        InputError: as :func:`invert`, and fewer rounds than 1.

    Source: Dosovitskiy and Brox (2016), Generating Images with Perceptual Similarity
    Metrics, section 4.2.

    Example:
        >>> network = load_inverter("relu3_3", "image", device="cpu")
        >>> rounds = reencode(torch.rand(1, 3, 32, 32), 3, network)
        >>> [tuple(picture.shape) for picture in rounds]
        [(1, 3, 32, 32), (1, 3, 32, 32), (1, 3, 32, 32)]

    Taught in chapter 8.
    """
    check_image(image, "the picture")
    if rounds < 1:
        raise InputError(f"rounds={rounds} was given; give at least 1")
    if rounds > MOST_ROUNDS:
        raise InputError(
            f"rounds={rounds} was given; give at most {MOST_ROUNDS:,}, after a few "
            "dozen a round moves nothing any more"
        )
    if network is None:
        network = load_inverter(layer, loss)
    if not isinstance(network, InversionNet | ConvAutoencoder):
        raise InputError(
            f"a {type(network).__name__} was given to draw pictures of codes; give an "
            "InversionNet or a ConvAutoencoder"
        )
    device = next(network.parameters()).device
    own = isinstance(network, ConvAutoencoder)
    if not own and encoder is None and "channels" in network.config:
        raise InputError(
            f"the network draws codes of {network.layer!r} of another encoder than "
            "VGG-16; give that one, encoder="
        )
    if not own and encoder is None:
        encoder = LossNetwork(device=device, precision=precision)
    drawer = network.generator if own else network

    def redrawn(part: torch.Tensor) -> torch.Tensor:
        height, width = part.shape[-2:]
        by = (0, -width % drawer.stride, 0, -height % drawer.stride)
        padded = F.pad(part, by, mode="replicate") if any(by) else part
        code = network.encode(padded) if own else encode(padded, network.layer, encoder)
        code = code if change is None else change(code)
        return drawer(code)[..., :height, :width]

    tile = max(image.shape[-2:]) if change is not None else tile
    images, image = [], image.to(device)
    for _ in range(rounds):
        image = through(network, (image,), precision=precision, tile=tile, work=redrawn)
        images.append(image)
    return images


def _load(*, layer=None, loss=None, model=None, device=None, **options) -> nn.Module:
    network = load_inverter(layer or "relu4_3", loss, device, model=model)
    if network.kind == "inversion" and "channels" in network.config:
        raise InputError(
            f"the network {str(model)!r} draws codes of {network.layer!r} of another "
            "encoder than VGG-16; call pltutorial.invert in Python with that encoder, "
            "or give one that `pltutorial train invert` wrote"
        )
    return network


def _run(network, image, *, precision, rounds=1, size=None, **options) -> torch.Tensor:
    image = image if size is None else resize(image, size)
    return reencode(image, rounds or 1, network, precision=precision)[-1]


def _size(network, image, *, size=None, **options) -> tuple[int, int]:
    width, height = image.shape[-1], image.shape[-2]
    if size is None:
        return width, height
    longer = max(width, height)
    return max(1, round(width * size / longer)), max(1, round(height * size / longer))


def _facts(network, *, rounds=1, **options) -> dict:
    layer = {} if network.kind == "autoencoder" else {"layer": network.layer}
    return {**layer, "rounds": rounds or 1}


register(
    TaskSpec(
        name="invert",
        train_help="Teach a network to draw the picture of a code of VGG-16 "
        "(Dosovitskiy and Brox 2016).",
        settings=InversionSettings,
        training=InversionTask,
        card=likeness_card,
        networks={"inversion": InversionNet},
        limits=LIMITS,
        usage="invert PHOTO",
        command=Command(
            name="invert",
            help="Draw what a code of VGG-16 still holds of a picture "
            "(Dosovitskiy and Brox 2016).",
            load=_load,
            run=_run,
            options=(
                Option(
                    "layer",
                    str,
                    "The code of VGG-16 that is inverted: relu4_3 (the "
                    "default), relu3_3 or relu5_3.",
                ),
                Option(
                    "rounds",
                    int,
                    "Re-encode: draw, take the code of what was drawn, draw again.",
                    default=1,
                    least=1,
                ),
                Option(
                    "size", int, "Longer side in pixels that PHOTO is resized to first."
                ),
            ),
            loss_help=(
                "full (all three terms in a larger network; the default of relu4_3 "
                "and relu5_3), deepsim (all three in a smaller one; the default of "
                "relu3_3) or image (squared error of pixels)."
            ),
            default_loss=lambda layer=None, **options: inverter_losses(
                layer or "relu4_3"
            )[-1],
            excludes_model=("layer",),
            size=_size,
            advice="give a smaller --size",
            facts=_facts,
        ),
        function=invert,
        losses=("image", "deepsim", "full"),
        folder="likeness",
    )
)
