"""Settings of optimisations and trainings, free of heavy imports: functions and command line read the same defaults."""

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
        _check_weights(self)


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
    normalization: str = _setting("johnson", "johnson, gatys, mean or relative (no layer is mute): how the terms are normalised.")
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


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained; shared by every task.

    Taught in chapter 5.
    """

    steps: int = _setting(40_000, "Training steps in all; 40,000 in Johnson et al. (2016).")
    batch_size: int = _setting(4, "Pictures in a step, over all processes together.")
    size: int = _setting(256, "Height and width of the training crops in pixels.")
    zoom: tuple[float, ...] = _setting(
        (1.0, 1.5), "Shorter side of a picture before the crop is cut, in crop sizes: drawn from this range."
    )
    learning_rate: float = _setting(1e-3, "Adam's step length.")
    betas: tuple[float, ...] = _setting(
        (0.9, 0.999),
        "Adam's decays of the gradient's mean and square, a discriminator's too; often 0.5,0.999 or 0,0.99 in a game.",
    )
    schedule: str = _setting(
        "constant", "constant, as in the paper, or cosine (falls to 0 at the last step)."
    )
    warmup: int = _setting(0, "Steps over which the learning rate rises to its full value.")
    gradient_clip: float = _setting(0.0, "Largest norm of the gradient; 0 turns clipping off.")
    ema: float = _setting(0.0, "Decay of a running average of the weights, such as 0.999; 0 turns it off.")
    seed: int = _setting(0, "Seed of weights and crops: two runs on one machine give the same network.")
    workers: int = _setting(0, "Processes that read pictures ahead; 0 reads them in the training process.")
    max_broken: float = _setting(0.05, "Stop when more than this share of the pictures cannot be read.")
    log_every: int = _setting(20, "Steps between lines of the log.")
    sample_every: int = _setting(500, "Steps between sample pictures; 0 writes none.")
    checkpoint_every: int = _setting(500, "Steps between checkpoints; 0 writes one at the end only.")
    device: str = _setting("auto", "auto, cpu, cuda or mps.")
    precision: str = _setting("auto", "auto (bfloat16 where the processor has it), float32 or bfloat16.")
    compile: bool = _setting(False, "Compile network and loss first (needs a C++ compiler on a CPU).")
    tensorboard: bool = _setting(
        False, "Write a TensorBoard log beside the CSV (needs the package tensorboard)."
    )
    progress: bool = _setting(True, "Show a progress bar.")

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        for name in ("steps", "batch_size", "size", "log_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} was given; give at least 1")
        for name in ("warmup", "gradient_clip", "workers", "sample_every", "checkpoint_every", "seed"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"{name}={getattr(self, name)} was given; give 0 or more")
        for name in ("ema", "max_broken"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} was given; give a number from 0 to below 1")
        if len(self.zoom) != 2:
            raise InputError(f"zoom={self.zoom} was given; give two numbers, such as 1,1.5")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(
                f"betas={self.betas} was given; give two numbers from 0 to below 1, such as 0.9,0.999"
            )
        if not 0 < self.learning_rate < float("inf"):
            raise InputError(f"learning_rate={self.learning_rate} was given; give a positive number")
        if self.schedule not in ("constant", "cosine"):
            raise InputError(
                f"there is no schedule {self.schedule!r}; {nearest(self.schedule, ('constant', 'cosine'))}"
            )
        _check_weights(self)


@dataclass(frozen=True)
class StyleTrainingSettings(TrainingSettings):
    """Feed-forward style transfer (Johnson et al. 2016); weights are on the scale of its equations 2 to 5.

    The loss network sees 0-255 pictures less its mean, Gram matrices are divided by C H W, and the style loss
    is the squared Frobenius norm; the paper publishes no weights, so these are ours.

    Taught in chapter 5.
    """

    styles: tuple[str, ...] = _setting(
        ("great_wave",), "Pictures, or names of bundled ones; several make one conditional network."
    )
    network: str = _setting("fast", "fast, or transform (the paper's full network).")
    width: int | None = _setting(
        None, "Channels of the first layer; 16 for fast and 32 for transform if left out."
    )
    blocks: int = _setting(5, "Residual blocks.")
    norm: str = _setting("instance", "instance, or batch as in the paper.")
    upsampling: str = _setting("resize", "resize (no checkerboard) or transposed, as in the paper.")
    content_layers: tuple[str, ...] = _setting(
        ("relu3_3",), "Layers of the content term, each with the same weight."
    )
    style_layers: tuple[str, ...] = _setting(
        ("relu1_2", "relu2_2", "relu3_3", "relu4_3"), "Layers of the style term, each with the same weight."
    )
    content_weight: float = _setting(1.0, "Weight of the content term.")
    style_weight: float = _setting(1.5e-4, "Weight of the style term.")
    normalization: str = _setting(
        "johnson", "johnson, gatys, mean or relative (no layer is mute; a style_weight of about 1 to 20 then)."
    )
    noise: bool = _setting(False, "Noise in the residual blocks, so that even areas need not repeat themselves.")
    style_weights: tuple[float, ...] = _setting(
        (), "A factor on it for each style, in their order; 1 for all if left out."
    )
    total_variation: float = _setting(
        1e-5, "Weight of total variation, on the 0-255 scale; 1e-6 to 1e-4 in the paper."
    )
    style_size: int = _setting(
        384, "Longer side of the style pictures in pixels: larger makes larger strokes."
    )
    start: str | None = _setting(
        None, "A network to start from: a .safetensors file, or the name of a shipped one."
    )

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        if not self.styles:
            raise InputError("no style was given; give at least one picture, or the name of a bundled one")
        if self.style_weights and len(self.style_weights) != len(self.styles):
            raise InputError(
                f"{len(self.style_weights)} style_weights were given for {len(self.styles)} styles; give one for each"
            )
        if self.network not in ("fast", "transform"):
            raise InputError(
                f"there is no network {self.network!r}; {nearest(self.network, ('fast', 'transform'))}"
            )


@dataclass(frozen=True)
class RestorationTrainingSettings(TrainingSettings):
    """What super-resolution, denoising and inpainting share: the loss, a sum of pixel, feature and style terms.

    The weights are those of :class:`pltutorial.losses.PerceptualLoss`: the pixel term is on the [0, 1] scale, features
    are of 0-255 pictures. The defaults train for accuracy alone.

    Taught in chapter 6.
    """

    batch_size: int = _setting(16, "Pictures in a step, over all processes together.")
    size: int = _setting(128, "Height and width of the training crops in pixels.")
    zoom: tuple[float, ...] = _setting(
        (1.5, 2.5), "Shorter side of a picture before the crop is cut, in crop sizes: drawn from this range."
    )
    learning_rate: float = _setting(5e-4, "Adam's step length.")
    width: int = _setting(48, "Channels of the residual blocks.")
    blocks: int = _setting(8, "Residual blocks.")
    pixel_weight: float = _setting(1.0, "Weight of the pixel term.")
    pixel_kind: str = _setting("l1", "l1, l2 or charbonnier: which pixel term.")
    feature_weight: float = _setting(0.0, "Weight of the feature term.")
    feature_layers: tuple[str, ...] = _setting(
        ("relu2_2",), "Layers of the feature term, each with the same weight."
    )
    normalization: str = _setting("johnson", "johnson, gatys, mean or relative: how features and styles are normalised.")
    grid_weight: float = _setting(
        0.0, "Weight of the grid term: patterns that repeat every two or four pixels and are not in the target."
    )
    adversarial_weight: float = _setting(0.0, "Weight of the adversarial term (Ledig et al. 2017).")
    discriminator_width: int = _setting(32, "Channels of the discriminator's first layer.")
    discriminator_rate: float = _setting(2e-4, "Adam's step length for the discriminator.")
    pause_below: float = _setting(
        0.1, "The discriminator pauses while its loss is below this share of the generator's; 0 never pauses."
    )
    give_up: int = _setting(2000, "Stop when the discriminator has won for so many steps on end; 0 never does.")
    noise: bool = _setting(False, "A noise channel beside the picture, for texture that the input does not decide.")
    style_weight: float = _setting(0.0, "Weight of the style term.")
    style_layers: tuple[str, ...] = _setting(
        ("relu1_2", "relu2_2", "relu3_3"), "Layers of the style term, each with the same weight."
    )
    total_variation: float = _setting(
        0.0, "Weight of total variation, on the 0-255 scale; 1e-6 to 1e-4 in Johnson et al. (2016)."
    )
    start: str | None = _setting(
        None,
        "A network to start from, a .safetensors file; of one for another factor the layers that fit are taken.",
    )

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        if not (self.pixel_weight or self.feature_weight or self.style_weight):
            raise InputError(
                "all weights are 0; give pixel_weight, feature_weight or style_weight a positive one"
            )
        if self.pixel_kind not in ("l1", "l2", "charbonnier"):
            raise InputError(
                f"there is no pixel loss {self.pixel_kind!r}; {nearest(self.pixel_kind, ('l1', 'l2', 'charbonnier'))}"
            )
        for kind in ("feature", "style"):
            if getattr(self, f"{kind}_weight") and not getattr(self, f"{kind}_layers"):
                raise InputError(
                    f"{kind}_weight was given without a layer; name at least one of {kind}_layers"
                )
        if self.width < 1 or self.blocks < 1:
            raise InputError(
                f"width={self.width} and blocks={self.blocks} were given; give at least 1 of each"
            )


@dataclass(frozen=True)
class SuperResolutionSettings(RestorationTrainingSettings):
    """Training of super-resolution (Johnson et al. 2016, section 4.2).

    Taught in chapter 6.
    """

    factor: int = _setting(4, "How many times as large: 2, 4 or 8.")
    kernel: str = _setting(
        "bicubic", "How pictures are made small: bicubic (the benchmarks') or gaussian (the paper's)."
    )
    network: str = _setting("sub_pixel", "sub_pixel, or super_resolution (the paper's).")

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        if self.factor not in (2, 4, 8):
            raise InputError(f"factor={self.factor} was given; give 2, 4 or 8")
        if self.kernel not in ("bicubic", "gaussian"):
            raise InputError(
                f"there is no kernel {self.kernel!r}; {nearest(self.kernel, ('bicubic', 'gaussian'))}"
            )
        if self.network not in ("sub_pixel", "super_resolution"):
            raise InputError(
                f"there is no network {self.network!r}; {nearest(self.network, ('sub_pixel', 'super_resolution'))}"
            )
        if self.size % self.factor:
            raise InputError(
                f"crops of {self.size} pixels cannot be shrunk by {self.factor}; give a multiple of it"
            )


@dataclass(frozen=True)
class DenoisingSettings(RestorationTrainingSettings):
    """Training of denoising, blind in sigma: each crop has its own, drawn evenly.

    Taught in chapter 7.
    """

    blocks: int = _setting(6, "Residual blocks.")
    sigma: tuple[float, ...] = _setting(
        (5.0, 55.0), "Range of the noise's standard deviation, on the 0-255 scale."
    )

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        if len(self.sigma) != 2 or not 0 <= self.sigma[0] <= self.sigma[1] < float("inf"):
            raise InputError(f"sigma={self.sigma} was given; give two growing numbers, such as 5,55")


@dataclass(frozen=True)
class InpaintingSettings(RestorationTrainingSettings):
    """Training of inpainting: each crop has holes of its own.

    Taught in chapter 7.
    """

    blocks: int = _setting(6, "Residual blocks.")
    holes: float = _setting(0.4, "The largest share of a crop that is missing, at most 0.9.")

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        if not 0 < self.holes <= 0.9:
            raise InputError(f"holes={self.holes} was given; give a share above 0 and at most 0.9")


def _check_weights(settings) -> None:
    for setting in fields(settings):
        value = getattr(settings, setting.name)
        if setting.name.endswith(("weight", "variation")) and not 0 <= value < float("inf"):
            raise InputError(f"{setting.name}={value} was given; weights are finite and at least 0")


def changed(settings, kind: type, changes: dict):
    """The settings with some of them changed by name; an unknown name is refused with the nearest known one."""
    known = [setting.name for setting in fields(kind)]
    for name in changes:
        if name not in known:
            raise InputError(f"there is no setting {name!r}; {nearest(name, known)}")
    return replace(kind() if settings is None else settings, **changes)
