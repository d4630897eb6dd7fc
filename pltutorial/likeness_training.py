"""Inversion, autoencoder, VAE and colourisation as tasks for the trainer, with the game against a discriminator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from .color import brightness_of
from .deepsim import DeepSimLoss, kl_divergence
from .device import best_device
from .errors import InputError
from .images import bundled, bundled_names
from .inversion import encode
from .likeness_settings import (
    AutoencoderSettings,
    ColorizationSettings,
    InversionSettings,
    LikenessTrainingSettings,
    VAESettings,
)
from .losses import LossTerms
from .networks import (
    VAE,
    ColorizationNet,
    ConvAutoencoder,
    Discriminator,
    InversionNet,
    code_shape,
    load_network,
)
from .restoration_training import _seed
from .style_training import middle_square
from .training.cards import training_card
from .vgg import LossNetwork

if TYPE_CHECKING:
    from .training import Trained


class LikenessTask:
    """A generator trained with DeePSiM's loss; ``adversary`` is its discriminator where the loss has an adversarial term.

    Subclasses say what the generator is and what it is given.

    Args:
        settings: of the subclass's kind.
        network: a loss network to reuse.

    Raises:
        InputError: an unknown layer, or a network to start from that has another architecture.

    Taught in chapter 8.
    """

    network: nn.Module

    def __init__(self, settings: LikenessTrainingSettings, *, network: LossNetwork | None = None) -> None:
        self.settings = settings
        compares = settings.feature_weight > 0 and settings.comparator == "vgg"
        self.encoder = network
        if network is None and (compares or self.code_layer is not None):
            device = best_device(settings.device)
            self.encoder = LossNetwork(precision=settings.precision, device=device, compile=settings.compile)
        torch.manual_seed(settings.seed)
        self.network = self._fresh()
        self.adversary = None
        if settings.adversarial_weight:
            channels = 0 if self.code_layer is None or not self.tells else code_shape(self.code_layer)[0]
            self.adversary = Discriminator(channels, settings.discriminator_width, spectral=settings.spectral)
        if settings.start is not None:
            self._start_from(settings.start)
        elif self.code_layer is not None:
            self.network.scale.copy_(code_scale(self.code_layer, self.encoder))
        self.objective = DeepSimLoss(
            settings.feature_weight,
            settings.adversarial_weight,
            settings.image_weight,
            comparator=self.encoder if compares else getattr(self.adversary, "features", None),
            layers=settings.feature_layers,
            discriminator=self.adversary,
        )

    code_layer: str | None = None
    tells = True  # the discriminator is told the code

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The generator's terms for a batch (N, 3, H, W), each a mean over it."""
        raise NotImplementedError

    def adversary_loss(self, adversary: nn.Module) -> tuple[LossTerms, torch.Tensor]:
        """The discriminator's terms for the pictures of the last :meth:`loss`, and the generator's adversarial loss."""
        output, target, told, adversarial = self._game
        return self.objective.discriminator_loss(output, target, told, discriminator=adversary), adversarial

    def samples(self, network: nn.Module) -> torch.Tensor:
        """Three test photographs: what the network makes of each, and the picture itself."""
        photos = [middle_square(bundled(f"test/{name}"), 192) for name in bundled_names("test")[:3]]
        photos = torch.cat(photos).to(next(network.parameters()).device)
        output = network(self.given(photos)).float().clamp(0, 1)
        return torch.cat([torch.cat(list(row), 2) for row in (output, photos)], 1)[None]

    def given(self, images: torch.Tensor) -> torch.Tensor:
        """What the network is given of these pictures."""
        return images if self.code_layer is None else encode(images, self.code_layer, self.encoder)

    def _fresh(self) -> nn.Module:
        raise NotImplementedError

    def _seen(self, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
        """What the network is given, and the features of the target where VGG-16 compares, in one pass."""
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
        told: torch.Tensor | None,
        wanted: dict[str, torch.Tensor] | None,
        judged: torch.Tensor | None = None,
    ) -> LossTerms:
        terms = self.objective(output, images, told, judged=judged, wanted=wanted)
        if self.adversary is not None:
            made = (output if judged is None else judged).detach()
            adversarial = terms["adversarial"].detach() / self.settings.adversarial_weight
            self._game = (made, images, told, adversarial)
        return terms

    def _start_from(self, start: str) -> None:
        given = load_network(start, "cpu")
        mine, theirs = self.network.config, given.config
        if mine != theirs:
            raise InputError(
                f"the network {start!r} to start from is {theirs} and this one is {mine}; give the same architecture"
            )
        self.network.load_state_dict(given.state_dict())


class InversionTask(LikenessTask):
    """The picture back from a code of VGG-16: squared error alone (the first paper) or DeePSiM (the second).

    Args and errors are those of :class:`LikenessTask`.

    Taught in chapter 8.
    """

    settings: InversionSettings

    @property
    def code_layer(self) -> str:
        """The layer of VGG-16 that is inverted."""
        return self.settings.layer

    def _fresh(self) -> nn.Module:
        settings = self.settings
        stride = code_shape(settings.layer)[1]
        if settings.size % stride:
            raise InputError(
                f"crops of {settings.size} pixels do not end where {settings.layer} does; give a multiple of {stride}"
            )
        return InversionNet(settings.layer, settings.width, settings.blocks, norm=settings.norm)

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The generator's terms for a batch (N, 3, H, W)."""
        code, wanted = self._seen(images)
        told = None if self.adversary is None else code.float() / self.network.scale.view(1, -1, 1, 1)
        return self._terms(network(code), images, told, wanted)


class AutoencoderTask(LikenessTask):
    """A picture through a narrow code and back; encoder and generator learn together.

    Args and errors are those of :class:`LikenessTask`.

    Taught in chapter 8.
    """

    settings: AutoencoderSettings

    def _fresh(self) -> nn.Module:
        settings = self.settings
        return ConvAutoencoder(settings.width, settings.code_channels, settings.blocks, norm=settings.norm)

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The terms for a batch (N, 3, H, W); the discriminator is told nothing."""
        _, wanted = self._seen(images)
        return self._terms(network(images), images, None, wanted)


class VAETask(LikenessTask):
    """A variational autoencoder whose likeness is any mixture of DeePSiM's terms, or the discriminator's features.

    The discriminator judges reconstructions and as many samples from the prior, and its verdict does not reach the
    encoder (Larsen et al. 2016, algorithm 1). What is random, the noise on z, is drawn from the number of the crop.

    Args and errors are those of :class:`LikenessTask`.

    Taught in chapter 9.
    """

    settings: VAESettings
    tells = False

    @property
    def code_layer(self) -> str | None:
        """The fixed encoder, if there is one."""
        return None if self.settings.encoder == "learned" else self.settings.encoder

    def _fresh(self) -> nn.Module:
        settings = self.settings
        how = {"size": settings.size, "encoder": settings.encoder, "norm": settings.norm}
        self._shown: torch.Tensor | None = None
        return VAE(settings.width, settings.latent, **how)

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The terms for a batch (N, 3, size, size); ``kl`` is the divergence for each number of the picture, weighted."""
        if self._shown is None:
            self._shown = images[:8].float()
        given, wanted = self._seen(images)
        noise = self._noise(len(images), first).to(images.device, non_blocking=True)
        noise, prior = noise.chunk(2, 1)
        output, mean, log_variance, *judged = network(given, noise, prior if self.adversary else None)
        terms = self._terms(output, images, None, wanted, judged[0] if judged else None)
        divergence = kl_divergence(mean, log_variance).mean()
        terms["kl"] = self.settings.kl_weight * divergence / images[0].numel()
        return terms

    def samples(self, network: nn.Module) -> torch.Tensor:
        """Pictures of the first batch, their reconstructions, and samples from the prior."""
        shown = self._shown
        if shown is None:
            made = network.sample(24)
            return torch.cat([torch.cat(list(row), 2) for row in made.float().split(8)], 1)[None]
        output = network(self.given(shown))[0].float()
        made = network.sample(2 * len(shown)).float().split(len(shown))
        return torch.cat([torch.cat(list(row), 2) for row in (shown, output, *made)], 1)[None]

    def _noise(self, count: int, first: int) -> torch.Tensor:
        """Two normal vectors for each crop, (N, 2 latent)."""
        length = 2 * self.settings.latent
        generator = torch.Generator()
        rows = []
        for number in range(first, first + count):
            generator.manual_seed(_seed(self.settings.seed, number))
            rows.append(torch.randn(1, length, generator=generator))
        return torch.cat(rows)


class ColorizationTask(LikenessTask):
    """Colours for grey pictures: a conditional GAN with a feature content loss, any part of which can be left out.

    The output's brightness is the input's, so the discriminator sees what it is conditioned on.

    Args and errors are those of :class:`LikenessTask`.

    Taught in chapter 9.
    """

    settings: ColorizationSettings

    def _fresh(self) -> nn.Module:
        return ColorizationNet(self.settings.width, self.settings.blocks)

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The terms for a batch (N, 3, H, W)."""
        _, wanted = self._seen(images)
        return self._terms(network(images), images, None, wanted)

    def given(self, images: torch.Tensor) -> torch.Tensor:
        """The pictures without their colours."""
        return brightness_of(images).expand(-1, 3, -1, -1)


def code_scale(layer: str, encoder: LossNetwork) -> torch.Tensor:
    """Root mean square of each channel of a code over the bundled training photographs, (C,).

    A channel that is nearly silent there counts as a hundredth of the mean.
    """
    device = next(encoder.buffers()).device
    photos = [middle_square(bundled(f"train/{name}"), 128) for name in bundled_names("train")]
    with torch.no_grad():
        code = torch.cat([encode(photo.to(device), layer, encoder).float() for photo in photos])
    scale = code.square().mean((0, 2, 3)).sqrt().cpu()
    return scale.clamp_min(float(scale.mean()) / 100)


def likeness_card(
    result: Trained, task: LikenessTask, settings: LikenessTrainingSettings, pictures: str = ""
) -> dict:
    """What a reader must know of a network trained with a learned likeness; measured numbers are added by the benchmark.

    Args:
        result: what :func:`pltutorial.training.train` returned.
        task: the task that was trained.
        settings: the settings it was trained with.
        pictures: what the pictures are, whose, and under which licence.

    Returns:
        JSON-able, see :func:`pltutorial.cards.training_card`, with ``task``, ``terms`` (the columns of the curve),
        ``limits`` and ``licence``.

    Taught in chapter 8.
    """
    terms = [name for name, weight in task.objective.weights.items() if weight]
    terms += ["kl"] if isinstance(task, VAETask) and settings.kl_weight else []
    return training_card(result, settings, pictures, terms) | {
        "task": task.network.kind,
        "terms": ["step", *terms, "total"],
        "limits": LIMITS[task.network.kind],
        "licence": "the weights: MIT",
    }


LIMITS = {
    "inversion": "draws what the code has lost as it was in the training pictures; letters, faces and straight lines suffer "
    "first",
    "autoencoder": "trained on small crops; letters, faces and fine texture suffer first",
    "vae": "pictures like those it was trained on, of that size alone",
    "colorization": "guesses the commonest colours of grass, sky and skin; the rest stays grey",
}
