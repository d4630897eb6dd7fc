"""Settings of the optimisations, free of heavy imports: functions and command line read the same defaults."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from .errors import InputError, nearest


def _setting(default, help: str):
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class OptimizeSettings:
    """How an image is moved downhill; shared by every optimisation.

    Taught in chapter 4.
    """

    steps: int = _setting(120, "Optimisation steps at each size.")
    sizes: tuple[int, ...] = _setting(
        (512,), "Longer sides in pixels, coarse to fine; pictures are never enlarged."
    )
    optimizer: str = _setting("lbfgs", "lbfgs (fast) or adam (frugal with memory).")
    learning_rate: float | None = _setting(None, "Step length; 1 for lbfgs and 0.03 for adam if left out.")
    history_size: int = _setting(20, "Steps that L-BFGS remembers; each costs two pictures of memory.")
    total_variation: float = _setting(
        1e-6, "Weight of total variation, on the papers' 0-255 scale; 0 turns it off."
    )
    seed: int = _setting(0, "Seed of the noise: two runs on one machine give the same picture.")
    device: str = _setting("auto", "auto, cpu, cuda or mps.")
    precision: str = _setting("auto", "auto (bfloat16 where the processor has it), float32 or bfloat16.")
    compile: bool = _setting(False, "Compile the loss network first (needs a C++ compiler on a CPU).")
    progress: bool = _setting(True, "Show a progress bar.")

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        sizes = (self.sizes,) if isinstance(self.sizes, int) else tuple(self.sizes)
        object.__setattr__(self, "sizes", sizes)
        if self.steps < 1:
            raise InputError(f"steps={self.steps} was given; give at least 1")
        if self.history_size < 1:
            raise InputError(f"history_size={self.history_size} was given; give at least 1")
        if not sizes or min(sizes) < 1 or list(sizes) != sorted(sizes):
            raise InputError(f"sizes={sizes} was given; give positive numbers of pixels from coarse to fine")
        if self.optimizer not in ("lbfgs", "adam"):
            raise InputError(
                f"there is no optimizer {self.optimizer!r}; {nearest(self.optimizer, ('lbfgs', 'adam'))}"
            )
        if self.learning_rate is not None and not 0 < self.learning_rate < float("inf"):
            raise InputError(f"learning_rate={self.learning_rate} was given; give a positive number")
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name.endswith(("weight", "variation")) and not 0 <= value < float("inf"):
                raise InputError(f"{setting.name}={value} was given; weights are finite and at least 0")


@dataclass(frozen=True)
class ReconstructionSettings(OptimizeSettings):
    """Feature reconstruction: find a picture with the same features (Mahendran and Vedaldi 2015).

    Taught in chapter 2.
    """

    layer: str = _setting("relu3_3", "Which layer's features to reproduce.")
    init: str = _setting("noise", "Where to start: noise or grey.")


@dataclass(frozen=True)
class TextureSettings(OptimizeSettings):
    """Style reconstruction and texture synthesis: find a picture with the same Gram matrices (Gatys et al. 2015).

    Taught in chapter 3.
    """

    layers: tuple[str, ...] = _setting(
        ("relu1_2", "relu2_2", "relu3_3", "relu4_3"), "Layers whose Gram matrices are compared."
    )
    height: int | None = _setting(None, "Height of the texture in pixels; the style's own if left out.")
    width: int | None = _setting(None, "Width of the texture in pixels; the style's own if left out.")
    init: str = _setting("noise", "Where to start: noise or grey.")


@dataclass(frozen=True)
class TransferSettings(OptimizeSettings):
    """Style transfer by optimisation (Gatys et al. 2016) with the layers of Johnson et al. (2016).

    Taught in chapter 4.
    """

    content_layers: tuple[str, ...] = _setting(
        ("relu3_3",), "Layers of the content term, each with the same weight."
    )
    style_layers: tuple[str, ...] = _setting(
        ("relu1_2", "relu2_2", "relu3_3", "relu4_3"), "Layers of the style term, each with the same weight."
    )
    content_weight: float = _setting(1.0, "Weight of the content term.")
    style_weight: float = _setting(1e-4, "Weight of the style term: more is more style and less content.")
    init: str = _setting("content", "Where to start: content, style, noise or grey.")
    style_scale: float = _setting(
        1.0, "Longer side of the style over that of the output: less makes finer strokes."
    )
    normalization: str = _setting("johnson", "johnson, gatys or mean: how the terms are normalised.")
    preserve_color: str | None = _setting(
        None, "luminance (keep the content's colours) or histogram (recolour the style first)."
    )

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        if self.preserve_color not in (None, "luminance", "histogram"):
            known = nearest(self.preserve_color, ("luminance", "histogram"))
            raise InputError(f"preserve_color={self.preserve_color!r} is unknown; {known}")
        if not 0 < self.style_scale < float("inf"):
            raise InputError(f"style_scale={self.style_scale} was given; give a positive number")


def changed(settings, kind: type, changes: dict):
    """The settings with some of them changed by name; an unknown name is refused with the nearest known one."""
    known = [setting.name for setting in fields(kind)]
    for name in changes:
        if name not in known:
            raise InputError(f"there is no setting {name!r}; {nearest(name, known)}")
    return replace(kind() if settings is None else settings, **changes)
