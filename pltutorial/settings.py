"""Settings of optimisations and trainings, free of heavy imports: functions and command
line read the same defaults.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from .bounds import check_bounds, setting, weight
from .errors import InputError, nearest

Settings = TypeVar("Settings", bound="OptimizeSettings | TrainingSettings")


@dataclass(frozen=True)
class OptimizeSettings:
    """How an image is moved downhill; shared by every optimisation.

    Example:
        >>> settings = OptimizeSettings(steps=10, sizes=(128, 256))
        >>> settings.optimizer, settings.total_variation
        ('lbfgs', 1e-06)
        >>> OptimizeSettings(sizes=(256, 128))
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: sizes=(256, 128) was given; give positive ...

    Taught in chapter 4.
    """

    steps: int = setting(120, "Optimisation steps at each size.", least=1)
    sizes: tuple[int, ...] = setting(
        (512,), "Longer sides in pixels, coarse to fine; pictures are never enlarged."
    )
    optimizer: str = setting(
        "lbfgs", "lbfgs (fast) or adam (frugal with memory).", choices=("lbfgs", "adam")
    )
    learning_rate: float | None = setting(
        None, "Step length; 1 for lbfgs and 0.03 for adam if left out.", above=0
    )
    history_size: int = setting(
        20,
        "Steps that L-BFGS remembers; each costs two pictures of memory.",
        least=1,
        most=10000,
    )
    total_variation: float = weight(
        1e-6, "Weight of total variation, on the papers' 0-255 scale; 0 turns it off."
    )
    seed: int = setting(
        0, "Seed of the noise: two runs on one machine give the same picture."
    )
    device: str = setting("auto", "auto, cpu, cuda or mps.")
    precision: str = setting(
        "auto", "auto (bfloat16 where the processor has it), float32 or bfloat16."
    )
    compile: bool = setting(
        False, "Compile the loss network first (needs a C++ compiler on a CPU)."
    )
    progress: bool = setting(True, "Show a progress bar.")

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        sizes = (self.sizes,) if isinstance(self.sizes, int) else tuple(self.sizes)
        object.__setattr__(self, "sizes", sizes)
        if not sizes or min(sizes) < 1 or list(sizes) != sorted(sizes):
            raise InputError(
                f"sizes={sizes} was given; give positive numbers of pixels from coarse "
                "to fine"
            )
        check_bounds(self)


@dataclass(frozen=True)
class ReconstructionSettings(OptimizeSettings):
    """Feature reconstruction: find a picture with the same features
    (Mahendran and Vedaldi 2015).

    Example:
        >>> settings = ReconstructionSettings(steps=2, sizes=(32,), layer="relu1_2")
        >>> settings.layer, settings.init
        ('relu1_2', 'noise')
        >>> image = read_image(bundled("content/pagoda"), 32)
        >>> result = reconstruct_features(image, settings=settings, progress=False)
        >>> len(result.history)
        2

    Taught in chapter 2.
    """

    layer: str = setting("relu3_3", "Which layer's features to reproduce.")
    init: str = setting("noise", "Where to start: noise or grey.")


@dataclass(frozen=True)
class TextureSettings(OptimizeSettings):
    """Style reconstruction and texture synthesis: find a picture with the same Gram
    matrices (Gatys et al. 2015).

    Example:
        >>> settings = TextureSettings(steps=10, height=256, width=384)
        >>> settings.layers
        ('relu1_2', 'relu2_2', 'relu3_3', 'relu4_3')
        >>> settings.height, settings.width
        (256, 384)

    Taught in chapter 3.
    """

    layers: tuple[str, ...] = setting(
        ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
        "Layers whose Gram matrices are compared.",
    )
    height: int | None = setting(
        None,
        "Height of the texture in pixels; the style's own if left out.",
        most=1000000,
    )
    width: int | None = setting(
        None,
        "Width of the texture in pixels; the style's own if left out.",
        most=1000000,
    )
    init: str = setting("noise", "Where to start: noise or grey.")


@dataclass(frozen=True)
class TransferSettings(OptimizeSettings):
    """Style transfer by optimisation (Gatys et al. 2016) with the layers of
    Johnson et al. (2016).

    Example:
        >>> settings = TransferSettings(steps=10, style_weight=1e-3)
        >>> settings.content_layers, settings.init
        (('relu3_3',), 'content')
        >>> settings.style_weight / TransferSettings().style_weight
        10.0

    Taught in chapter 4.
    """

    content_layers: tuple[str, ...] = setting(
        ("relu3_3",), "Layers of the content term, each with the same weight."
    )
    style_layers: tuple[str, ...] = setting(
        ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
        "Layers of the style term, each with the same weight.",
    )
    content_weight: float = weight(1.0, "Weight of the content term.")
    style_weight: float = weight(
        1e-4, "Weight of the style term: more is more style and less content."
    )
    init: str = setting("content", "Where to start: content, style, noise or grey.")
    style_scale: float = setting(
        1.0,
        "Longer side of the style over that of the output: less makes finer strokes.",
        above=0,
    )
    normalization: str = setting(
        "johnson", "johnson, gatys, mean or relative: how the terms are normalised."
    )
    balance: str | None = setting(
        None,
        "layers (each layer of a term counts alike) or, if left out, one weight for "
        "all, as in the papers.",
        choices=("layers",),
        called="balance",
    )
    preserve_color: str | None = setting(
        None,
        "luminance (keep the content's colours) or histogram "
        "(recolour the style first).",
        choices=("luminance", "histogram"),
        called="preserve_color",
    )


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained; shared by every task.

    Example:
        >>> settings = TrainingSettings(steps=100, batch_size=8)
        >>> settings.learning_rate, settings.size
        (0.001, 256)
        >>> TrainingSettings(steps=0)
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: steps=0 was given; give at least 1

    Taught in chapter 5.
    """

    steps: int = setting(
        40_000, "Training steps in all; 40,000 in Johnson et al. (2016).", least=1
    )
    batch_size: int = setting(
        4, "Pictures in a step, over all processes together.", least=1, most=100000
    )
    size: int = setting(
        256, "Height and width of the training crops in pixels.", least=1, most=100000
    )
    zoom: tuple[float, ...] = setting(
        (1.0, 1.5),
        "Shorter side of a picture before the crop is cut, in crop sizes: "
        "drawn from this range.",
        count=2,
        example="1,1.5",
    )
    learning_rate: float = setting(1e-3, "Adam's step length.", above=0)
    betas: tuple[float, ...] = setting(
        (0.9, 0.999),
        "Adam's decays of the gradient's mean and square, a discriminator's too; "
        "often 0.5,0.999 or 0,0.99 in a game.",
        count=2,
        least=0,
        below=1,
        example="0.9,0.999",
    )
    schedule: str = setting(
        "constant",
        "constant, as in the paper, or cosine (falls to 0 at the last step).",
        choices=("constant", "cosine"),
    )
    warmup: int = setting(
        0, "Steps over which the learning rate rises to its full value.", least=0
    )
    gradient_clip: float = setting(
        0.0, "Largest norm of the gradient; 0 turns clipping off.", least=0
    )
    ema: float = setting(
        0.0,
        "Decay of a running average of the weights, such as 0.999; 0 turns it off.",
        least=0,
        below=1,
    )
    minutes: float = setting(
        0.0,
        "Stop after so many minutes with the network as it is; 0 does not.",
        least=0,
    )
    seed: int = setting(
        0,
        "Seed of weights and crops: two runs on one machine give the same network.",
        least=0,
    )
    workers: int = setting(
        0,
        "Processes that read pictures ahead; 0 reads them in the training process.",
        least=0,
        most=1000,
    )
    cache: bool = setting(
        False, "Keep decoded pictures in memory, for collections that fit into it."
    )
    max_broken: float = setting(
        0.05,
        "Stop when more than this share of the pictures cannot be read.",
        least=0,
        below=1,
    )
    log_every: int = setting(20, "Steps between lines of the log.", least=1)
    sample_every: int = setting(
        500, "Steps between sample pictures; 0 writes none.", least=0
    )
    checkpoint_every: int = setting(
        500, "Steps between checkpoints; 0 writes one at the end only.", least=0
    )
    device: str = setting("auto", "auto, cpu, cuda or mps.")
    precision: str = setting(
        "auto", "auto (bfloat16 where the processor has it), float32 or bfloat16."
    )
    compile: bool = setting(
        False, "Compile network and loss first (needs a C++ compiler on a CPU)."
    )
    tensorboard: bool = setting(
        False, "Write a TensorBoard log beside the CSV (needs the package tensorboard)."
    )
    progress: bool = setting(True, "Show a progress bar.")

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        check_bounds(self)


def changed(
    settings: Settings | None, kind: type[Settings], changes: Mapping[str, Any]
) -> Settings:
    """The settings with some of them changed by name.

    Raises:
        InputError: an unknown name, with the nearest known one.
    """
    known = [setting.name for setting in fields(kind)]
    for name in changes:
        if name not in known:
            raise InputError(f"there is no setting {name!r}; {nearest(name, known)}")
    return replace(kind() if settings is None else settings, **changes)


def default_of(settings: Any, name: str) -> Any:
    """The default of one setting, None if there is no such setting.

    A file that is older than a setting was written when its default was all there was.
    """
    known = {setting.name: setting.default for setting in fields(settings)}
    return known.get(name)


_OF_TASKS = {
    "StyleTrainingSettings": "style",
    "RestorationTrainingSettings": "restoration",
    "SuperResolutionSettings": "super_resolution",
    "DenoisingSettings": "denoise",
    "DeblurringSettings": "deblur",
    "InpaintingSettings": "inpaint",
}


def __getattr__(name: str) -> Any:
    """The settings of tasks, which stood here first, from where they stand now."""
    if name not in _OF_TASKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"pltutorial.tasks.{_OF_TASKS[name]}"), name)
