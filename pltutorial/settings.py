"""Settings of optimisations and trainings, free of heavy imports: functions and command line read the same defaults."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from .errors import InputError, nearest

Settings = TypeVar("Settings", bound="OptimizeSettings | TrainingSettings")


@dataclass(frozen=True)
class Bounds:
    """What values a setting may have, as data: they refuse and they are shown in help.

    Args:
        least: the smallest number.
        above: numbers are larger than this.
        most: the largest number.
        below: numbers are smaller than this.
        choices: the only values.
        count: how many numbers a tuple has; the range is that of each.
        growing: whether they must not fall.
        example: such a tuple, as it is written on the command line.
        called: what a sentence calls a choice; the setting's name if left out.
        need: what is needed, for a sentence that says it in its own words.
    """

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    choices: tuple = ()
    count: int = 0
    growing: bool = False
    example: str = ""
    called: str = ""
    need: str = ""

    @property
    def range(self) -> str:
        """The range in words, empty without one: ``at least 1``."""
        if self.least is not None and self.below is not None:
            return f"from {self.least:g} to below {self.below:g}"
        if self.above is not None and self.most is not None:
            return f"above {self.above:g} and at most {self.most:g}"
        if self.above is not None:
            return "positive" if not self.above else f"above {self.above:g}"
        if self.least is not None:
            return "0 or more" if not self.least else f"at least {self.least:g}"
        return ""

    def holds(self, number: float) -> bool:
        """Whether a number is finite and in the range."""
        return (
            abs(number) < float("inf")
            and (self.least is None or self.least <= number)
            and (self.above is None or self.above < number)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that is not within the bounds; None is within all.

        Raises:
            InputError: with what to give.
        """
        if value is None:
            return
        if self.choices:
            self._check_choice(name, value)
        elif self.count:
            falls = self.growing and list(value) != sorted(value)
            if len(value) != self.count or falls or not all(map(self.holds, value)):
                raise InputError(f"{name}={value} was given; give {self._tuple()}")
        elif not self.holds(value):
            need = self.need or f"give {self._number(value)}"
            raise InputError(f"{name}={value} was given; {need}")

    def _check_choice(self, name: str, value: Any) -> None:
        if value in self.choices:
            return
        if isinstance(value, str):
            called = self.called or name.replace("_", " ")
            known = nearest(value, self.choices)
            raise InputError(f"there is no {called} {value!r}; {known}")
        *first, last = map(str, self.choices)
        raise InputError(f"{name}={value} was given; give {', '.join(first)} or {last}")

    def _number(self, value: float) -> str:
        if self.range == "positive":
            return "a positive number"
        finite = ", a finite number" if abs(value) == float("inf") else ""
        return ("a number " if " to " in self.range or self.most else "") + (
            self.range + finite
        )

    def _tuple(self) -> str:
        growing = "growing " if self.growing else ""
        limits = {"": "", "0 or more": " from 0"}.get(self.range, f" {self.range}")
        words = {2: "two", 3: "three"}.get(self.count, str(self.count))
        return f"{words} {growing}numbers{limits}, such as {self.example}"


def setting(default: Any, help: str, **bounds: Any) -> Any:
    """A field of a settings dataclass, with its help and its bounds.

    Args:
        default: its value if left out.
        help: one or two sentences, which ``--help`` shows with the range.
        **bounds: see :class:`Bounds`: ``least=1``, ``choices=("lbfgs", "adam")``.
    """
    limits = Bounds(**bounds)
    if limits.range and limits.range not in help:
        help = f"{help} {limits.range.capitalize()}."
    missing = [str(choice) for choice in limits.choices if str(choice) not in help]
    if missing:
        help = f"{help.rstrip('.')}; {', '.join(map(str, limits.choices))}."
    about = {"help": help, "bounds": limits if bounds else None}
    return field(default=default, metadata=about)


def weight(default: float, help: str) -> Any:
    """The weight of a term of a loss, see :func:`setting`."""
    need = "weights are finite and at least 0"
    return setting(default, help, least=0, need=need)


def check_bounds(settings: Any) -> None:
    """Refuse settings with a value that is not within its bounds.

    Raises:
        InputError: with what to give.
    """
    for each in fields(settings):
        limits = each.metadata.get("bounds")
        if limits is not None:
            limits.check(each.name, getattr(settings, each.name))


@dataclass(frozen=True)
class OptimizeSettings:
    """How an image is moved downhill; shared by every optimisation.

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
        20, "Steps that L-BFGS remembers; each costs two pictures of memory.", least=1
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
    """Feature reconstruction: find a picture with the same features (Mahendran and Vedaldi 2015).

    Taught in chapter 2.
    """

    layer: str = setting("relu3_3", "Which layer's features to reproduce.")
    init: str = setting("noise", "Where to start: noise or grey.")


@dataclass(frozen=True)
class TextureSettings(OptimizeSettings):
    """Style reconstruction and texture synthesis: find a picture with the same Gram matrices (Gatys et al. 2015).

    Taught in chapter 3.
    """

    layers: tuple[str, ...] = setting(
        ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
        "Layers whose Gram matrices are compared.",
    )
    height: int | None = setting(
        None, "Height of the texture in pixels; the style's own if left out."
    )
    width: int | None = setting(
        None, "Width of the texture in pixels; the style's own if left out."
    )
    init: str = setting("noise", "Where to start: noise or grey.")


@dataclass(frozen=True)
class TransferSettings(OptimizeSettings):
    """Style transfer by optimisation (Gatys et al. 2016) with the layers of Johnson et al. (2016).

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
    preserve_color: str | None = setting(
        None,
        "luminance (keep the content's colours) or histogram (recolour the style first).",
        choices=("luminance", "histogram"),
        called="preserve_color",
    )


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained; shared by every task.

    Taught in chapter 5.
    """

    steps: int = setting(
        40_000, "Training steps in all; 40,000 in Johnson et al. (2016).", least=1
    )
    batch_size: int = setting(
        4, "Pictures in a step, over all processes together.", least=1
    )
    size: int = setting(
        256, "Height and width of the training crops in pixels.", least=1
    )
    zoom: tuple[float, ...] = setting(
        (1.0, 1.5),
        "Shorter side of a picture before the crop is cut, in crop sizes: drawn from this range.",
        count=2,
        example="1,1.5",
    )
    learning_rate: float = setting(1e-3, "Adam's step length.", above=0)
    betas: tuple[float, ...] = setting(
        (0.9, 0.999),
        "Adam's decays of the gradient's mean and square, a discriminator's too; often 0.5,0.999 or 0,0.99 in a game.",
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
    "InpaintingSettings": "inpaint",
}


def __getattr__(name: str) -> Any:
    """The settings of tasks, which stood here first, from where they stand now."""
    if name not in _OF_TASKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"pltutorial.tasks.{_OF_TASKS[name]}"), name)
