"""What the tasks with a learned likeness share: DeePSiM's loss, and the game
against a discriminator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..bounds import setting, weight
from ..deferred import deferred_imports
from ..errors import InputError
from ..register import limits_of
from ..settings import TrainingSettings

with deferred_imports():
    import torch
    from torch import nn

    from ..deepsim import DeepSimLoss
    from ..device import best_device
    from ..images import bundled, bundled_names, middle_square
    from ..networks import Discriminator, code_shape, encode, load_network, trainable
    from ..terms import LossTerms
    from ..training.cards import training_card
    from ..vgg import LossNetwork

if TYPE_CHECKING:
    from ..training.task import Trained


@dataclass(frozen=True)
class LikenessTrainingSettings(TrainingSettings):
    """What inversion, autoencoder, VAE and colourisation share: the three terms of
    DeePSiM, and the game's rules.

    The weights are those of :class:`pltutorial.deepsim.DeepSimLoss`. The defaults
    train on pixels alone.

    Example:
        >>> settings = LikenessTrainingSettings(steps=100, feature_weight=1.0)
        >>> settings.image_weight, settings.discriminator_width
        (1.0, 32)
        >>> LikenessTrainingSettings(image_weight=0)
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: all weights are 0; ...

    Taught in chapter 8.
    """

    batch_size: int = setting(
        16, "Pictures in a step, over all processes together.", least=1, most=100000
    )
    size: int = setting(
        64, "Height and width of the training crops in pixels.", least=1, most=100000
    )
    learning_rate: float = setting(1e-3, "Adam's step length.", above=0)
    gradient_clip: float = setting(
        1.0, "Largest norm of the gradient; 0 turns clipping off.", least=0
    )
    width: int = setting(
        32, "Channels of the generator at full size.", least=1, most=10000
    )
    norm: str = setting(
        "none", "none, or batch: batch normalisation.", choices=("none", "batch")
    )
    feature_weight: float = weight(0.0, "Weight of the feature term.")
    feature_layers: tuple[str, ...] = setting(
        ("relu2_2", "relu3_3"), "Layers of the comparator, each with the same weight."
    )
    comparator: str = setting(
        "vgg",
        "vgg, or discriminator: its own hidden layers (VAE/GAN).",
        choices=("vgg", "discriminator"),
    )
    adversarial_weight: float = weight(0.0, "Weight of the adversarial term.")
    image_weight: float = weight(
        1.0, "Weight of the image term, squared error of pixels in [0, 1]."
    )
    discriminator_width: int = setting(
        32, "Channels of the discriminator's first layer.", least=1, most=10000
    )
    discriminator_rate: float = setting(
        2e-4, "Adam's step length for the discriminator.", above=0
    )
    spectral: bool = setting(True, "Spectral normalisation of the discriminator.")
    pause_below: float = setting(
        0.1,
        "The discriminator pauses while its loss is below this share of the "
        "generator's; 0 never pauses.",
        least=0,
    )
    give_up: int = setting(
        2000,
        "Stop when the discriminator has won for so many steps on end; 0 never does.",
        least=0,
    )
    start: str | None = setting(
        None, "A network of the same architecture to start from, a .safetensors file."
    )

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        if not (self.feature_weight or self.adversarial_weight or self.image_weight):
            raise InputError(
                "all weights are 0; give feature_weight, adversarial_weight or "
                "image_weight a positive one"
            )
        if self.feature_weight and not self.feature_layers:
            raise InputError(
                "feature_weight was given without a layer; name at least "
                "one of feature_layers"
            )
        if (
            self.comparator == "discriminator"
            and self.feature_weight
            and not self.adversarial_weight
        ):
            raise InputError(
                "the discriminator is to compare but nothing trains it; give "
                "adversarial_weight a positive value"
            )
        if self.norm == "batch" and self.batch_size == 1:
            raise InputError(
                "a batch of 1 was given with norm='batch', which compares the "
                "pictures of a batch; give at least 2, or norm='none'"
            )


class LikenessTask:
    """A generator trained with DeePSiM's loss; ``adversary`` is its discriminator where
    the loss has an adversarial term.

    Subclasses say what the generator is and what it is given.

    Args:
        settings: of the subclass's kind.
        network: a loss network to reuse.

    Raises:
        InputError: an unknown layer, or a network to start from that has
            another architecture.

    Example:
        >>> class Mirror(LikenessTask):
        ...     def new_network(self):
        ...         return torch.nn.Conv2d(3, 3, 1)
        ...     def loss(self, network, images, first):
        ...         return self.objective(network(images), images.flip(3))
        >>> task = Mirror(LikenessTrainingSettings())
        >>> list(task.loss(task.network, torch.rand(2, 3, 32, 32), first=0))
        ['image']

    Taught in chapter 8.
    """

    network: nn.Module

    def __init__(
        self, settings: LikenessTrainingSettings, *, network: LossNetwork | None = None
    ) -> None:
        self.settings = settings
        compares = settings.feature_weight > 0 and settings.comparator == "vgg"
        self.encoder = network
        if network is None and (compares or self.code_layer is not None):
            device = best_device(settings.device)
            self.encoder = LossNetwork(
                precision=settings.precision, device=device, compile=settings.compile
            )
        torch.manual_seed(settings.seed)
        with trainable():
            self.network = self.new_network()
        self.adversary = None
        if settings.adversarial_weight:
            is_told = self.tells and self.code_layer is not None
            channels = code_shape(self.code_layer)[0] if is_told else 0
            self.adversary = Discriminator(
                channels, settings.discriminator_width, spectral=settings.spectral
            )
        if settings.start is not None:
            self._start_from(settings.start)
        elif self.code_layer is not None:
            self.network.scale.copy_(code_scale(self.code_layer, self.encoder))
        own_features = getattr(self.adversary, "features", None)
        self.objective = DeepSimLoss(
            settings.feature_weight,
            settings.adversarial_weight,
            settings.image_weight,
            comparator=self.encoder if compares else own_features,
            layers=settings.feature_layers,
            discriminator=self.adversary,
        )

    code_layer: str | None = None
    tells = True  # the discriminator is told the code

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The generator's terms for a batch (N, 3, H, W), each a mean over it."""
        raise NotImplementedError

    def adversary_loss(self, adversary: nn.Module) -> tuple[LossTerms, torch.Tensor]:
        """The discriminator's terms for the pictures of the last :meth:`loss`, and the
        generator's adversarial loss.
        """
        output, target, code, adversarial = self._last_step
        terms = self.objective.discriminator_loss(
            output, target, code, discriminator=adversary
        )
        return terms, adversarial

    def samples(self, network: nn.Module) -> torch.Tensor:
        """Three test photographs: what the network makes of each, and
        the picture itself.
        """
        photos = [
            middle_square(bundled(f"test/{name}"), 192)
            for name in bundled_names("test")[:3]
        ]
        photos = torch.cat(photos).to(next(network.parameters()).device)
        output = network(self.given(photos)).float().clamp(0, 1)
        return torch.cat([torch.cat(list(row), 2) for row in (output, photos)], 1)[None]

    def given(self, images: torch.Tensor) -> torch.Tensor:
        """What the network is given of these pictures."""
        if self.code_layer is None:
            return images
        return encode(images, self.code_layer, self.encoder)

    def new_network(self) -> nn.Module:
        """The network to train, with fresh weights; each task has its own."""
        raise NotImplementedError

    def _seen(
        self, images: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
        """What the network is given, and the features of the target where VGG-16
        compares, in one pass.
        """
        settings = self.settings
        compares = settings.feature_weight > 0 and settings.comparator == "vgg"
        with torch.no_grad():
            if not compares:
                return self.given(images), None
            taps = settings.feature_layers
            if self.code_layer is None:
                return images, self.encoder(images, taps)
            code, features = encode(images, self.code_layer, self.encoder, taps)
            return code, features

    def _terms(
        self,
        output: torch.Tensor,
        images: torch.Tensor,
        code: torch.Tensor | None,
        features: dict[str, torch.Tensor] | None,
        judged: torch.Tensor | None = None,
    ) -> LossTerms:
        terms = self.objective(output, images, code, judged=judged, wanted=features)
        if self.adversary is not None:
            made = (output if judged is None else judged).detach()
            weight = self.settings.adversarial_weight
            adversarial = terms["adversarial"].detach() / weight
            self._last_step = (made, images, code, adversarial)
        return terms

    def _start_from(self, start: str) -> None:
        given = load_network(start, "cpu")
        own, other = self.network.config, given.config
        if own != other:
            raise InputError(
                f"the network {start!r} to start from is {other} and this one is "
                f"{own}; give the same architecture"
            )
        self.network.load_state_dict(given.state_dict())


def code_scale(layer: str, encoder: LossNetwork) -> torch.Tensor:
    """Root mean square of each channel of a code over the bundled training
    photographs, (C,).

    A channel that is nearly silent there counts as a hundredth of the mean.
    """
    device = next(encoder.buffers()).device
    photos = [
        middle_square(bundled(f"train/{name}"), 128) for name in bundled_names("train")
    ]
    with torch.no_grad():
        code = torch.cat(
            [encode(photo.to(device), layer, encoder).float() for photo in photos]
        )
    scale = code.square().mean((0, 2, 3)).sqrt().cpu()
    return scale.clamp_min(float(scale.mean()) / 100)


def likeness_card(
    result: Trained,
    task: LikenessTask,
    settings: LikenessTrainingSettings,
    pictures: str = "",
) -> dict:
    """What a reader must know of a network trained with a learned likeness; measured
    numbers are added by the benchmark.

    Args:
        result: what :func:`pltutorial.training.train` returned.
        task: the task that was trained.
        settings: the settings it was trained with.
        pictures: what the pictures are, whose, and under which licence.

    Returns:
        JSON-able, see :func:`pltutorial.training.cards.training_card`, with ``task``,
        ``terms`` (the columns of the curve), ``limits`` and ``licence``.

    Example:
        >>> task = ColorizationTask(ColorizationSettings(width=4, blocks=1))
        >>> from pltutorial.training import Trained
        >>> result = Trained(task.network, steps=20, pictures=8, source="photos")
        >>> card = likeness_card(result, task, task.settings, "my photographs, CC0")
        >>> card["task"], card["steps"], card["data"]
        ('colorization', 20, 'my photographs, CC0; 8 pictures of photos')

    Taught in chapter 8.
    """
    terms = [name for name, weight in task.objective.weights.items() if weight]
    terms += ["kl"] if getattr(settings, "kl_weight", 0) else []
    return training_card(result, settings, pictures, terms) | {
        "task": task.network.kind,
        "terms": ["step", *terms, "total"],
        "limits": limits_of(task.network.kind),
        "licence": "the weights: MIT",
    }
