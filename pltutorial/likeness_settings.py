"""Settings of the trainings with a learned likeness, free of heavy imports like :mod:`pltutorial.settings`."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import InputError
from .settings import TrainingSettings, setting, weight


@dataclass(frozen=True)
class LikenessTrainingSettings(TrainingSettings):
    """What inversion, autoencoder, VAE and colourisation share: the three terms of DeePSiM, and the game's rules.

    The weights are those of :class:`pltutorial.likeness.DeepSimLoss`. The defaults train on pixels alone.

    Taught in chapter 8.
    """

    batch_size: int = setting(
        16, "Pictures in a step, over all processes together.", least=1
    )
    size: int = setting(
        64, "Height and width of the training crops in pixels.", least=1
    )
    learning_rate: float = setting(1e-3, "Adam's step length.", above=0)
    gradient_clip: float = setting(
        1.0, "Largest norm of the gradient; 0 turns clipping off.", least=0
    )
    width: int = setting(32, "Channels of the generator at full size.", least=1)
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
        32, "Channels of the discriminator's first layer.", least=1
    )
    discriminator_rate: float = setting(
        2e-4, "Adam's step length for the discriminator.", above=0
    )
    spectral: bool = setting(True, "Spectral normalisation of the discriminator.")
    pause_below: float = setting(
        0.1,
        "The discriminator pauses while its loss is below this share of the generator's; 0 never pauses.",
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
                "all weights are 0; give feature_weight, adversarial_weight or image_weight a positive one"
            )
        if self.feature_weight and not self.feature_layers:
            raise InputError(
                "feature_weight was given without a layer; name at least one of feature_layers"
            )
        if (
            self.comparator == "discriminator"
            and self.feature_weight
            and not self.adversarial_weight
        ):
            raise InputError(
                "the discriminator is to compare but nothing trains it; give adversarial_weight a positive value"
            )
        if self.norm == "batch" and self.batch_size == 1:
            raise InputError(
                "a batch of 1 was given with norm='batch', which compares the pictures of a batch; give at least 2, or "
                "norm='none'"
            )


@dataclass(frozen=True)
class InversionSettings(LikenessTrainingSettings):
    """Training of a network that inverts a layer of VGG-16 (Dosovitskiy and Brox 2016, both papers).

    Taught in chapter 8.
    """

    layer: str = setting(
        "relu4_3", "The code that is inverted, such as relu4_3 or pool5."
    )
    blocks: int = setting(2, "3x3 convolutions at the code's resolution.")


@dataclass(frozen=True)
class AutoencoderSettings(LikenessTrainingSettings):
    """Training of a convolutional autoencoder (Dosovitskiy and Brox 2016, section 4.1).

    Taught in chapter 8.
    """

    code_channels: int = setting(8, "Numbers for each square of 8x8 pixels.")
    blocks: int = setting(2, "3x3 convolutions at the code's resolution.")


@dataclass(frozen=True)
class VAESettings(LikenessTrainingSettings):
    """Training of a variational autoencoder with any likeness (Kingma and Welling 2014; Larsen et al. 2016).

    Taught in chapter 9.
    """

    zoom: tuple[float, ...] = setting(
        (1.0, 1.0),
        "Shorter side of a picture before the crop is cut, in crop sizes: drawn from this range.",
        count=2,
        example="1,1.5",
    )
    width: int = setting(16, "Channels of the encoder's first convolution.", least=1)
    latent: int = setting(32, "Numbers in the latent vector.")
    encoder: str = setting(
        "learned", "learned, or a layer of VGG-16 as a fixed encoder, such as relu3_3."
    )
    kl_weight: float = weight(
        0.01,
        "Weight of the KL divergence, in nats for each number of the picture: 2 sigma^2 for pixels.",
    )


@dataclass(frozen=True)
class ColorizationSettings(LikenessTrainingSettings):
    """Training of colourisation, a conditional GAN with a feature content loss (Isola et al. 2017).

    Taught in chapter 9.
    """

    blocks: int = setting(4, "Residual blocks.")

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        if self.norm != "none":
            raise InputError(
                f"norm={self.norm!r} was given; the network of colours has none, give norm='none'"
            )
