"""Super-resolution, denoising and inpainting as tasks for the trainer: only what is taken away differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy
import torch
import torch.nn.functional as F
from torch import nn

from .degradations import _downscaled, add_noise, random_holes
from .device import best_device
from .errors import InputError
from .images import bundled, bundled_names
from .losses import ContentTarget, LossTerms, PerceptualLoss, StyleTarget, gram_matrix
from .networks import DenoisingNet, InpaintingNet, SubPixelNet, SuperResolutionNet, load_network
from .settings import (
    DenoisingSettings,
    InpaintingSettings,
    RestorationTrainingSettings,
    SuperResolutionSettings,
)
from .style_training import architecture, middle_square
from .training.cards import training_card
from .vgg import LossNetwork

if TYPE_CHECKING:
    from .training import Trained


class RestorationTask:
    """Give back what was taken from a picture; the loss compares the output with the whole picture.

    Johnson et al. (2016), section 4.2, with a pixel and a style term besides. Subclasses say what is taken away.
    What is random, noise and holes, is drawn from the number of the crop: resumed and distributed runs see the same.

    Args:
        settings: of the subclass's kind.
        network: a loss network to reuse.

    Raises:
        InputError: a network to start from that does not fit.

    Taught in chapter 6.
    """

    network: nn.Module

    def __init__(self, settings: RestorationTrainingSettings, *, network: LossNetwork | None = None) -> None:
        self.settings = settings
        torch.manual_seed(settings.seed)
        self.network = self._fresh()
        if settings.start is not None:
            self._start_from(settings.start)
        features = dict.fromkeys(settings.feature_layers, settings.feature_weight)
        styles = dict.fromkeys(settings.style_layers, settings.style_weight)
        compares = settings.feature_weight or settings.style_weight
        if compares and network is None:
            device = best_device(settings.device)
            network = LossNetwork(precision=settings.precision, device=device, compile=settings.compile)
        self.objective = PerceptualLoss(
            features if settings.feature_weight else {},
            styles if settings.style_weight else {},
            pixel=settings.pixel_weight,
            pixel_kind=settings.pixel_kind,
            total_variation=settings.total_variation,
            network=network if compares else _no_network,
        )
        # An untrained network hands its noise on, far out of [0, 1]: no reason for the warning of the first call.
        self.objective._checked = True

    def degrade(self, images: torch.Tensor, first: int) -> tuple[torch.Tensor, ...]:
        """What the network is given instead of these crops (N, 3, H, W), of which the first has this number."""
        raise NotImplementedError

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """Pixel, feature, style and total variation terms of a batch (N, 3, H, W), each a mean over it."""
        with torch.no_grad():
            given = self.degrade(images, first)
        return self.terms(network(*given), images)

    def terms(self, output: torch.Tensor, target: torch.Tensor) -> LossTerms:
        """The objective of outputs (N, 3, H, W) for targets of the same shape; the loss network sees each once."""
        objective = self.objective
        content, style = objective.content_weights, objective.style_weights
        with torch.no_grad():
            layers = tuple(dict.fromkeys((*content, *style)))
            features = objective.network(target, layers) if layers else {}
            grams = {name: gram_matrix(features[name]) for name in style}
        return objective(
            output,
            ContentTarget({name: features[name] for name in content}, target),
            StyleTarget([grams], [None]) if style else None,
        )

    def samples(self, network: nn.Module) -> torch.Tensor:
        """Three test photographs: what is given, what the network makes of it, and the picture itself."""
        photos = torch.cat(
            [middle_square(bundled(f"test/{name}"), 192) for name in bundled_names("test")[:3]]
        )
        photos = photos.to(next(network.parameters()).device)
        given = self.degrade(photos, 0)
        output = network(*given).float().clamp(0, 1)
        seen = given[0] if len(given) == 1 else given[0] * (1 - given[1]) + given[1]
        rows = [F.interpolate(seen.float(), photos.shape[-2:]).clamp(0, 1), output, photos]
        return torch.cat([torch.cat(list(row), 2) for row in rows], 1)[None]

    def _fresh(self) -> nn.Module:
        raise NotImplementedError

    def _start_from(self, start: str) -> None:
        """Takes the weights of another network; of one for another factor those that fit."""
        given, own = load_network(start, "cpu"), self.network.state_dict()
        mine, theirs = (architecture(n.config, but=("factor",)) for n in (self.network, given))
        if mine != theirs:
            raise InputError(
                f"the network {start!r} to start from is {theirs} and this one is {mine}; give the same architecture"
            )
        weights = given.state_dict().items()
        fits = {name: t for name, t in weights if name in own and own[name].shape == t.shape}
        self.network.load_state_dict(own | fits)


class SuperResolutionTask(RestorationTask):
    """Super-resolution: the crops are made small by ``settings.factor`` with ``settings.kernel``, in 8 bits.

    Args and errors are those of :class:`RestorationTask`.

    Taught in chapter 6.
    """

    settings: SuperResolutionSettings

    def _fresh(self) -> nn.Module:
        settings = self.settings
        kind = SubPixelNet if settings.network == "sub_pixel" else SuperResolutionNet
        return kind(settings.factor, settings.width, settings.blocks)

    def degrade(self, images: torch.Tensor, first: int) -> tuple[torch.Tensor, ...]:
        """The crops made small, (N, 3, H / factor, W / factor)."""
        with torch.autocast(images.device.type, enabled=False):
            return (_downscaled(images, self.settings.factor, self.settings.kernel),)


class DenoisingTask(RestorationTask):
    """Denoising: Gaussian noise, of a strength drawn from ``settings.sigma`` for each crop.

    Args and errors are those of :class:`RestorationTask`.

    Taught in chapter 7.
    """

    settings: DenoisingSettings

    def _fresh(self) -> nn.Module:
        return DenoisingNet(self.settings.width, self.settings.blocks)

    def degrade(self, images: torch.Tensor, first: int) -> tuple[torch.Tensor, ...]:
        """The crops with noise, (N, 3, H, W)."""
        low, high = self.settings.sigma
        seeds = [_seed(self.settings.seed, first + number) for number in range(len(images))]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        draws = torch.cat([torch.rand(1, generator=generator) for generator in generators])
        sigma = (low + (high - low) * draws.double()).float()
        return (add_noise(images, sigma, generators),)


class InpaintingTask(RestorationTask):
    """Inpainting: free-form holes, of at most ``settings.holes`` of each crop.

    Args and errors are those of :class:`RestorationTask`.

    Taught in chapter 7.
    """

    settings: InpaintingSettings

    def _fresh(self) -> nn.Module:
        return InpaintingNet(self.settings.width, self.settings.blocks)

    def degrade(self, images: torch.Tensor, first: int) -> tuple[torch.Tensor, ...]:
        """The crops and their masks, (N, 3, H, W) and (N, 1, H, W)."""
        count, _, height, width = images.shape
        seeds = [_seed(self.settings.seed, first + number) for number in range(count)]
        masks = random_holes(count, height, width, self.settings.holes, seeds)
        return images, masks.to(images.device, non_blocking=True)


def restoration_card(
    result: Trained, task: RestorationTask, settings: RestorationTrainingSettings, pictures: str = ""
) -> dict:
    """What a reader must know of a network for restoration; measured numbers are added by the benchmark.

    Args:
        result: what :func:`pltutorial.training.train` returned.
        task: the task that was trained.
        settings: the settings it was trained with.
        pictures: what the pictures are, whose, and under which licence.

    Returns:
        JSON-able, see :func:`pltutorial.cards.training_card`, with ``task``, ``terms`` (the columns of the curve),
        ``limits`` and ``licence``.

    Taught in chapter 6.
    """
    objective = task.objective
    kinds = {
        "pixel": objective.pixel,
        "content": objective.content_weights,
        "style": objective.style_weights,
        "total_variation": objective.total_variation,
    }
    terms = [name for name, weight in kinds.items() if weight]
    return training_card(result, settings, pictures, terms) | {
        "task": task.network.kind,
        "terms": ["step", *terms, "total"],
        "limits": LIMITS[task.network.kind],
        "licence": "the weights: MIT",
    }


LIMITS = {
    "super_resolution": "pictures that were shrunk as in training and are otherwise clean; letters and faces suffer first",
    "sub_pixel": "pictures that were shrunk as in training and are otherwise clean; letters and faces suffer first",
    "denoising": "Gaussian noise, independent in each pixel; the noise of cameras and of JPEG files is of another kind",
    "inpainting": "holes up to two fifths of the picture, narrower than about 60 pixels; it continues textures and edges, "
    "and knows no objects",
}


def _seed(*numbers: int) -> int:
    return int(numpy.random.SeedSequence(numbers).generate_state(1, numpy.uint64)[0] >> 1)


def _no_network(image: torch.Tensor, layers: tuple[str, ...]) -> dict:
    raise AssertionError("a loss of pixels alone looks at no features")
