"""Feed-forward style transfer: a network that paints in one pass what an optimisation
paints in hundreds of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..bounds import setting, weight
from ..deferred import deferred_imports
from ..errors import InputError, nearest
from ..files import exists
from ..register import TaskSpec, register
from ..settings import TrainingSettings

with deferred_imports():
    import torch
    from torch import nn

    from .. import memory
    from ..color import match_color, with_colors_of
    from ..device import best_device, best_precision, is_out_of_memory
    from ..images import (
        bundled,
        bundled_names,
        check_image,
        middle_square,
        read_image,
        resize,
    )
    from ..networks import (
        FastTransformNet,
        TransformNet,
        apply,
        architecture,
        trainable,
    )
    from ..perceptual import PerceptualLoss
    from ..targets import StyleTarget
    from ..terms import LossTerms
    from ..training.cards import kept_settings, training_card
    from ..vgg import LossNetwork
    from ..zoo import load_style, styles

if TYPE_CHECKING:
    from ..training.task import Trained

LIMITS = (
    "paints textures and colours, not shapes; large even areas and faces suffer first"
)
PRESERVE_COLOR = ("luminance", "histogram")
STROKES = (0.25, 4.0)


@dataclass(frozen=True)
class StyleTrainingSettings(TrainingSettings):
    """Feed-forward style transfer (Johnson et al. 2016); weights are on the scale of
    its equations 2 to 5.

    The loss network sees 0-255 pictures less its mean, Gram matrices are divided by C H
    W, and the style loss is the squared Frobenius norm; the paper publishes no weights,
    so these are ours.

    Example:
        >>> settings = StyleTrainingSettings(styles=("great_wave",), steps=100)
        >>> settings.content_layers, settings.network
        (('relu3_3',), 'fast')
        >>> StyleTrainingSettings(styles=("great_wave",), style_weights=(1.0, 2.0))
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: 2 style_weights were given for 1 styles; ...

    Taught in chapter 5.
    """

    styles: tuple[str, ...] = setting(
        ("great_wave",),
        "Pictures, or names of bundled ones; several make one conditional network.",
    )
    network: str = setting(
        "fast",
        "fast, or transform (the paper's full network).",
        choices=("fast", "transform"),
    )
    width: int | None = setting(
        None,
        "Channels of the first layer; 16 for fast and 32 for transform if left out.",
        most=10000,
    )
    blocks: int = setting(5, "Residual blocks.", most=1000)
    norm: str = setting("instance", "instance, or batch as in the paper.")
    upsampling: str = setting(
        "resize", "resize (no checkerboard) or transposed, as in the paper."
    )
    content_layers: tuple[str, ...] = setting(
        ("relu3_3",), "Layers of the content term, each with the same weight."
    )
    style_layers: tuple[str, ...] = setting(
        ("relu1_2", "relu2_2", "relu3_3", "relu4_3"),
        "Layers of the style term, each with the same weight.",
    )
    content_weight: float = weight(1.0, "Weight of the content term.")
    style_weight: float = weight(1.5e-4, "Weight of the style term.")
    normalization: str = setting(
        "johnson",
        "How the terms are normalised; relative: no layer is mute, and a "
        "style_weight of 1 to 10 fits.",
        choices=("johnson", "gatys", "mean", "relative"),
    )
    balance: str | None = setting(
        None,
        "layers (each layer of a term counts alike) or, if left out, one weight for "
        "all, as in the paper.",
        choices=("layers",),
        called="balance",
    )
    noise: bool = setting(
        False,
        "Noise in the residual blocks, so that even areas need not repeat themselves.",
    )
    style_weights: tuple[float, ...] = setting(
        (), "A factor on it for each style, in their order; 1 for all if left out."
    )
    total_variation: float = weight(
        1e-5,
        "Weight of total variation, on the 0-255 scale; 1e-6 to 1e-4 in the paper.",
    )
    style_size: int = setting(
        384, "Longer side of the style pictures in pixels: larger makes larger strokes."
    )
    start: str | None = setting(
        None,
        "A network to start from: a .safetensors file, or the name of a shipped one.",
    )

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        if not self.styles:
            raise InputError(
                "no style was given; give at least one picture, or the name of a "
                "bundled one"
            )
        if self.style_weights and len(self.style_weights) != len(self.styles):
            raise InputError(
                f"{len(self.style_weights)} style_weights were given for "
                f"{len(self.styles)} styles; give one for each"
            )


class StyleTask:
    """Feed-forward style transfer: Johnson et al. (2016), equation 5, for one style or
    (Dumoulin et al. 2017) several.

    The Gram matrices of the styles are computed once; the content targets run to the
    content layer only. In a batch the crop of number n takes style n mod S, so that
    every style is met equally often.

    Args:
        settings: see StyleTrainingSettings.
        network: a loss network to reuse.

    Raises:
        InputError: a style that is no picture or unknown, or a network to start from
            that has another architecture.

    Example:
        >>> task = StyleTask(StyleTrainingSettings(width=4, blocks=1, style_size=64))
        >>> terms = task.loss(task.network, torch.rand(1, 3, 64, 64), first=0)
        >>> sorted({name.partition("/")[0] for name in terms})
        ['content', 'style', 'total_variation']

    Taught in chapter 5.
    """

    def __init__(
        self, settings: StyleTrainingSettings, *, network: LossNetwork | None = None
    ) -> None:
        self.settings = settings
        device = best_device(settings.device)
        names, pictures = zip(
            *(_style(name, settings.style_size) for name in settings.styles),
            strict=True,
        )
        if len(set(names)) < len(names):
            raise InputError(
                f"the styles {', '.join(names)} were given; give each of "
                "them one name of its own"
            )
        torch.manual_seed(settings.seed)
        several = names if len(names) > 1 else ()
        kind = FastTransformNet if settings.network == "fast" else TransformNet
        width = {} if settings.width is None else {"width": settings.width}
        with trainable():
            self.network: TransformNet = kind(
                **width,
                blocks=settings.blocks,
                norm=settings.norm,
                upsampling=settings.upsampling,
                styles=several,
                noise=settings.noise,
            )
        self.names = names
        if settings.start is not None:
            self._start_from(settings.start)
        self.objective = PerceptualLoss(
            dict.fromkeys(settings.content_layers, settings.content_weight),
            dict.fromkeys(settings.style_layers, settings.style_weight),
            total_variation=settings.total_variation,
            normalization=settings.normalization,
            balance=settings.balance,
            network=network
            or LossNetwork(
                precision=settings.precision, device=device, compile=settings.compile
            ),
        )
        targets = [
            self.objective.style_target(picture.to(device)).grams[0]
            for picture in pictures
        ]
        self._grams = {
            name: torch.cat([t[name] for t in targets])
            for name in settings.style_layers
        }
        # indices would be checked, a wait for the device
        self._shares = torch.eye(len(names), device=device)
        self._photos: torch.Tensor | None = None
        self._factors = torch.tensor(
            settings.style_weights or [1.0] * len(names), device=device
        )

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """Content, style and total variation terms of a batch (N, 3, H, W),
        each a mean over it.
        """
        style = (torch.arange(len(images), device=images.device) + first) % len(
            self.names
        )
        output = (
            network(images, self._shares[style])
            if len(self.names) > 1
            else network(images)
        )
        return self.terms(output, images, style)

    def terms(
        self, output: torch.Tensor, content: torch.Tensor, style: torch.Tensor
    ) -> LossTerms:
        """The objective of outputs (N, 3, H, W) for the styles of
        these indices, (N,).
        """
        grams = StyleTarget(
            [{name: gram[style] for name, gram in self._grams.items()}], [None]
        )
        terms = self.objective(output, content, grams, reduction="none")
        factors = self._factors[style]
        return LossTerms(
            (name, (value * factors if name.startswith("style/") else value).mean())
            for name, value in terms.items()
        )

    def samples(self, network: nn.Module) -> torch.Tensor:
        """Three test photographs above their renderings in each style."""
        if self._photos is None:
            names = bundled_names("test")[:3]
            self._photos = torch.cat(
                [middle_square(bundled(f"test/{name}"), 192) for name in names]
            )
        photos = self._photos.to(next(network.parameters()).device)
        rows = [photos]
        for share in self._shares.split(1):
            output = network(photos, share) if len(self.names) > 1 else network(photos)
            rows.append(output.float().clamp(0, 1))
        return torch.cat([torch.cat(list(row), 2) for row in rows], 1)[None]

    def _start_from(self, start: str) -> None:
        """Takes the weights of another network of the same sizes; a style's own
        row where it has one.
        """
        given = load_style(start, "cpu")
        own = self.network.state_dict()
        mine, theirs = (
            architecture(n.config, but=("styles", "noise"))
            for n in (self.network, given)
        )
        if mine != theirs:
            raise InputError(
                f"the network {start!r} to start from is {theirs} and this one is "
                f"{mine}; give the same architecture"
            )
        known = given.style_names
        for name, tensor in given.state_dict().items():
            # a table of styles on either side, or on both
            if own[name].ndim == 2 or tensor.ndim == 2:
                rows = tensor if tensor.ndim == 2 else tensor[None]
                picked = torch.stack(
                    [
                        rows[known.index(n)] if n in known else rows.mean(0)
                        for n in self.names
                    ]
                )
                tensor = picked if own[name].ndim == 2 else picked[0]
            own[name] = tensor
        self.network.load_state_dict(own)


def style_card(
    result: Trained,
    task: StyleTask,
    settings: StyleTrainingSettings,
    pictures: str = "",
) -> dict:
    """What a reader must know of a trained network;
    :func:`pltutorial.zoo.card_text` prints it.

    Args:
        result: what :func:`pltutorial.training.train` returned.
        task: the task that was trained.
        settings: the settings it was trained with.
        pictures: what the pictures are, whose, and under which licence.

    Returns:
        JSON-able: the keys of ``pltutorial.zoo.CARD`` less ``held_out``, which training
        does not measure. The curve has at most thirty points
        [step, content, style, total], weighted, of the log.

    Example:
        >>> task = StyleTask(StyleTrainingSettings(width=4, blocks=1, style_size=64))
        >>> from pltutorial.training import Trained
        >>> result = Trained(task.network, steps=20, pictures=8, source="photos")
        >>> card = style_card(result, task, task.settings, "my photographs, CC0")
        >>> card["data"], card["steps"]
        ('my photographs, CC0; 8 pictures of photos', 20)

    Taught in chapter 5.
    """
    return training_card(result, settings, pictures, ("content", "style")) | {
        "styles": list(task.names),
        "settings": kept_settings(settings) | {"styles": list(task.names)},
        "limits": LIMITS,
        "licence": "the weights: MIT; the style pictures keep their own",
    }


def _style(name: str, size: int) -> tuple[str, torch.Tensor]:
    known = bundled_names("style")
    path = bundled(f"style/{name}") if name in known else Path(name)
    if name not in known and not path.suffix and not exists(path):
        raise InputError(
            f"there is no style {name!r}; {nearest(name, known)}, or give "
            "the path of a picture"
        )
    image = read_image(path)
    return path.stem, resize(image, min(size, max(image.shape[-2:])))


def stylize(
    image: torch.Tensor,
    style: str | Mapping[str, float] | None = None,
    *,
    network: TransformNet | None = None,
    strength: float = 1.0,
    preserve_color: str | None = None,
    stroke: float = 1.0,
    size: int | tuple[int, int] | None = None,
    precision: str = "auto",
    device: str | torch.device | None = None,
) -> torch.Tensor:
    """Give pictures a style that a network has learned: one forward
    pass, no optimisation.

    Johnson et al. (2016), section 3.1; several styles at once by conditional instance
    normalisation, Dumoulin et al. (2017), section 2.2: the scales and shifts of the
    styles are averaged, not the pictures.

    Args:
        image: (N, 3, H, W) in [0, 1], at least 16 pixels along each side.
        style: the name of a style, or the weights of several, ``{"great_wave": 0.7,
            "poppies": 0.3}``; left out for a ``network`` of one style.
        network: a network to use, and to reuse: left out, the zoo's network for the
            style is loaded in each call.
        strength: from 0, the picture itself, to 1, the network's output; between them
            pixels are mixed. No network has a style that leaves pictures as they are,
            so nothing inside it could be turned down to end at the photograph exactly;
            the mixture does, and costs nothing.
        preserve_color: ``"luminance"`` keeps the picture's chrominance, and takes
            brightness alone from the output (Gatys et al. 2017, section 5.2);
            ``"histogram"`` gives the output the picture's mean colour and covariance
            (section 5.1, there done to the style, which here is learned already).
        stroke: how large the strokes are, from 0.25 to 4: the network paints the
            picture at 1 / ``stroke`` of its size, and the print is resized back. Its
            strokes always have the same number of pixels, so they become larger by this
            factor, and softer above 1.
        size: longer side in pixels, or (height, width), to which the picture is resized
            first; None keeps its size.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        device: where to load the network; None takes the best there is.

    Returns:
        (N, 3, H, W), float32, in [0, 1], on the device of ``image``.

    Raises:
        InputError: no image, an unknown style, a strength outside [0, 1], a stroke
            outside [0.25, 4] or too large for the picture, or a picture that does not
            fit into memory.

    Example:
        >>> print_of_it = stylize(torch.rand(1, 3, 32, 48), "great_wave", device="cpu")
        >>> print_of_it.shape
        torch.Size([1, 3, 32, 48])

    Taught in chapter 5.
    """
    check_options(strength, preserve_color, stroke)
    check_image(image, "the picture", slack=0.5)
    if network is None:
        if style is None:
            known = ", ".join(styles()) or "those you trained"
            raise InputError(
                f"no style was given; name one of {known}, or give a network"
            )
        network = load_style(style, device)
        if not network.style_names:
            style = None  # it paints that one style
    elif style is not None and not network.style_names:
        raise InputError(
            f"the style {style!r} was given for a network of one "
            "style; leave the style out"
        )
    source = image.clamp(0, 1) if size is None else resize(image, size)
    shares = None if style is None else network.blend(style)
    seen = at_stroke(source, stroke, network.smallest)
    check_memory(seen.shape, network, precision)
    try:
        output = apply(network, seen, shares, precision=precision).to(image.device)
    except (MemoryError, RuntimeError) as problem:
        if not is_out_of_memory(problem):
            raise
        raise InputError(_too_large(seen.shape)) from problem
    if stroke != 1:
        output = resize(output, tuple(source.shape[-2:]))
    return finished(output, source, strength, preserve_color)


def at_stroke(source: torch.Tensor, stroke: float, smallest: int) -> torch.Tensor:
    """The picture as a network that needs ``smallest`` pixels along each side shall see
    it, for strokes of this size.

    Raises:
        InputError: too little would be left of it.
    """
    if stroke == 1:
        return source
    sides = tuple(max(1, round(side / stroke)) for side in source.shape[-2:])
    if min(sides) < smallest <= min(source.shape[-2:]):
        most = min(source.shape[-2:]) / smallest
        raise InputError(
            f"stroke={stroke:g} was given, and {source.shape[-1]}x{source.shape[-2]} "
            f"pixels are too few for it; give at most {int(100 * most) / 100:g}, or a "
            "larger picture"
        )
    return resize(source, sides)


def finished(
    output: torch.Tensor,
    source: torch.Tensor,
    strength: float,
    preserve_color: str | None,
) -> torch.Tensor:
    """A print with the picture's colours, or mixed with it, where that is asked for."""
    if preserve_color == "luminance":
        output = with_colors_of(output, source)
    elif preserve_color == "histogram":
        pairs = zip(output.split(1), source.split(1), strict=True)
        output = torch.cat([match_color(one, other) for one, other in pairs])
    return output if strength == 1 else torch.lerp(source, output, strength)


def check_options(
    strength: float = 1.0, preserve_color: str | None = None, stroke: float = 1.0
) -> None:
    """Refuse a strength outside [0, 1], an unknown way to keep colours, and strokes
    that are too large or too small.
    """
    if not 0 <= strength <= 1:
        raise InputError(
            f"strength={strength} was given; give a number from 0 (the "
            "picture) to 1 (the style)"
        )
    if preserve_color not in (None, *PRESERVE_COLOR):
        raise InputError(
            f"preserve_color={preserve_color!r} is unknown; "
            f"{nearest(str(preserve_color), PRESERVE_COLOR)}"
        )
    if not STROKES[0] <= stroke <= STROKES[1]:
        raise InputError(
            f"stroke={stroke} was given; give a number from {STROKES[0]:g} (fine) to "
            f"{STROKES[1]:g} (large), where 1 is what the network learned"
        )


def memory_needed(
    shape: tuple[int, ...], network: TransformNet, precision: str = "auto"
) -> int:
    """Bytes that a forward pass takes at its peak: measured at 16 to 24 a pixel and
    channel of the first layer from 512 to 4096 pixels, 11 to 13 in bfloat16.
    """
    count, _, height, width = shape
    device = next(network.parameters()).device
    each = 4 * best_precision(device, precision).itemsize + 4
    return count * height * width * each * (network.config["width"] + 2)


def check_memory(
    shape: tuple[int, ...], network: TransformNet, precision: str = "auto"
) -> None:
    """Refuse a picture that will not fit into the memory that is free, and
    say which size would.

    Raises:
        InputError: it will not fit.
    """
    room, needed = (
        memory.free(next(network.parameters()).device),
        memory_needed(shape, network, precision),
    )
    if needed > room:
        raise InputError(_too_large(shape, room, needed))


def _too_large(
    shape: tuple[int, ...], room: int | None = None, needed: int | None = None
) -> str:
    count, _, height, width = shape
    factor = (
        0.5 if room is None or not needed else min(0.9, (0.8 * room / needed) ** 0.5)
    )
    number = f"{count} pictures of " if count > 1 else ""
    advice = f"give size={max(16, int(max(height, width) * factor))}"
    return memory.does_not_fit(f"{number}{width}x{height} pixels", advice, room)


def _blend(training: StyleTask) -> str:
    """How the network's use shows a blend of its styles."""
    if len(training.names) < 2:
        return ""
    one, other = training.names[:2]
    return f" --styles {one}:0.7,{other}:0.3"


register(
    TaskSpec(
        name="style",
        train_help=(
            "Teach a network one style or several: feed-forward style transfer "
            "(Johnson et al. 2016).\n"
            "\nUnder torchrun or accelerate launch the processes share the batch."
        ),
        settings=StyleTrainingSettings,
        training=StyleTask,
        card=style_card,
        networks={"transform": TransformNet, "fast": FastTransformNet},
        limits=LIMITS,
        usage="stylize PHOTO",
        usage_more=_blend,
        function=stylize,
        folder="styles",
    )
)
