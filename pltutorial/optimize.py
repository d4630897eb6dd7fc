"""The image is the parameter: feature reconstruction, style reconstruction and style
transfer by optimisation.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from tqdm.auto import tqdm

from . import memory
from .color import luminance, match_color, match_luminance, with_colors_of
from .device import best_precision, is_out_of_memory
from .errors import InputError, nearest
from .images import check_image, resize
from .perceptual import PerceptualLoss
from .settings import (
    OptimizeSettings,
    ReconstructionSettings,
    TextureSettings,
    TransferSettings,
    changed,
)
from .tensors import check_dense
from .terms import LossTerms, Record
from .vgg import CONV_LAYERS, RELU_LAYERS, LossNetwork

_LEARNING_RATES = {"lbfgs": 1.0, "adam": 0.03}
# How far the first L-BFGS step moves a pixel on average: torch's default would move
# it by less than bfloat16 resolves, and the curvature that the second step relies
# on would be noise.
_FIRST_MOVE = 0.02
# times the best total: L-BFGS without a line search may leap that far, and starts again
_DIVERGED = 10


@dataclass
class Result:
    """The best picture (1, 3, H, W) in [0, 1], a Record for each step, and why it
    stopped (``done``, ``interrupted``).

    Example:
        >>> def brightness(image):
        ...     return LossTerms(brightness=image.mean())
        >>> white = torch.ones(1, 3, 8, 8)
        >>> result = optimize_image(brightness, white, steps=3, progress=False)
        >>> result.stopped, len(result.history), result.totals[0] > result.totals[-1]
        ('done', 3, True)
    """

    image: torch.Tensor
    history: list[Record] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = "done"

    @property
    def totals(self) -> list[float]:
        """The total loss at each step."""
        return [record.total for record in self.history]


def optimize_image(
    objective: Callable[[torch.Tensor], LossTerms],
    image: torch.Tensor,
    settings: OptimizeSettings | None = None,
    *,
    callback: Callable[[Record], None] | None = None,
    **changes,
) -> Result:
    """Move the pixels of an image downhill on any objective.

    After each step the pixels are clipped to [0, 1], as in the comparison of Johnson et
    al. (2016), section 4.1. One step is one evaluation of the objective, for L-BFGS too
    (no line search). Ctrl-C ends it early with the best picture so far; before
    the first step there is none.

    Args:
        objective: takes an image (N, 3, H, W) and returns LossTerms, such as a
            PerceptualLoss with its targets.
        image: where to start, (N, 3, H, W) in [0, 1]; it is not changed.
        settings: steps, optimizer, learning_rate, history_size and progress are read.
        callback: called with a Record before each step.
        **changes: settings by name, ``steps=50``.

    Returns:
        Result with the picture of the lowest total, on the device of ``image``.

    Raises:
        InputError: the image is none, the loss became NaN or infinite,
            or memory ran out.

    Example:
        >>> def distance_to_white(image):
        ...     return LossTerms(white=(1 - image).square().mean())
        >>> start = torch.full((1, 3, 8, 8), 0.25)
        >>> settings = {"optimizer": "adam", "learning_rate": 0.1, "progress": False}
        >>> result = optimize_image(distance_to_white, start, steps=3, **settings)
        >>> [round(total, 2) for total in result.totals]
        [0.56, 0.42, 0.3]
        >>> float(result.image.mean()) > 0.5
        True

    Taught in chapter 4.
    """
    if changes:
        settings = changed(settings, OptimizeSettings, changes)
    settings = settings or OptimizeSettings()
    check_image(image, "the picture to start from")
    # L-BFGS flattens gradients with .view(-1): the leaf must be contiguous, not
    # channels-last
    pixels = image.detach().clone(memory_format=torch.contiguous_format)
    pixels.requires_grad_()
    rate = settings.learning_rate or _LEARNING_RATES[settings.optimizer]
    if settings.optimizer == "lbfgs":
        optimizer: torch.optim.Optimizer = torch.optim.LBFGS(
            [pixels],
            lr=rate,
            max_iter=1,
            history_size=settings.history_size,
            tolerance_grad=0,
            tolerance_change=0,
        )
    else:
        optimizer = torch.optim.Adam([pixels], lr=rate)
    result = Result(pixels.detach().clone())
    best, start = math.inf, time.perf_counter()
    silent = not settings.progress or bool(os.environ.get("TQDM_DISABLE"))

    def closure() -> torch.Tensor:
        nonlocal best
        optimizer.zero_grad()
        terms = objective(pixels)
        total = terms.total
        total.backward()
        # the one wait for the device
        values = torch.stack([*terms.values(), total]).tolist()
        if not math.isfinite(values[-1]):
            raise InputError(
                f"the loss became {values[-1]} at step {len(result.history) + 1}; "
                "lower learning_rate or the weights, or take optimizer='adam'"
            )
        step, seconds = len(result.history) + 1, time.perf_counter() - start
        named = dict(zip(terms, values, strict=False))
        record = Record(step, values[-1], named, seconds)
        result.history.append(record)
        if record.total < best:
            best = record.total
            result.image.copy_(pixels.detach())
        if callback is not None:
            callback(replace(record, image=pixels.detach().clone()))
        return total

    try:
        with tqdm(
            total=settings.steps, disable=silent, unit="step", leave=False
        ) as bar:
            # torch divides the first step by the sum of the gradient
            first, trust = _FIRST_MOVE * pixels.numel(), 1.0
            is_lbfgs = settings.optimizer == "lbfgs"
            for _ in range(settings.steps):
                if is_lbfgs:
                    scale = 1 if optimizer.state else first
                    optimizer.param_groups[0]["lr"] = rate * trust * scale
                    trust = min(1.0, 1.5 * trust)
                optimizer.step(closure)
                with torch.no_grad():
                    if is_lbfgs and result.history[-1].total > _DIVERGED * best:
                        # a wrong guess of the curvature: back to the best picture, and
                        # on from there with shorter steps
                        pixels.copy_(result.image)
                        optimizer.state.clear()
                        trust /= 4
                    else:
                        pixels.clamp_(0, 1)
                bar.set_postfix_str(
                    f"loss {result.history[-1].total:.4g}", refresh=False
                )
                bar.update()
            with torch.no_grad():  # the last step's picture has not been looked at yet
                last = float(objective(pixels).total)
            if last < best:
                result.image.copy_(pixels.detach())
    except KeyboardInterrupt:
        if not result.history:
            raise
        result.stopped = "interrupted"
    except (MemoryError, RuntimeError) as problem:
        if not is_out_of_memory(problem):
            raise
        room = memory.free(pixels.device)
        raise InputError(_too_large(pixels.shape, room)) from problem
    result.seconds = time.perf_counter() - start
    return result


def reconstruct_features(
    image: torch.Tensor,
    layer: str | None = None,
    *,
    settings: ReconstructionSettings | None = None,
    network: LossNetwork | None = None,
    callback: Callable[[Record], None] | None = None,
    **changes,
) -> Result:
    """Find a picture, starting from noise, whose features at one layer are those of
    the given picture.

    Mahendran and Vedaldi (2015); Johnson et al. (2016), section 3.2 and figure 3: the
    higher the layer, the less of the exact pixels comes back, while content and layout
    stay. Total variation is weighed against the feature loss divided by the mean square
    of the target's features, so that one weight fits all layers.

    Args:
        image: (1, 3, H, W) in [0, 1].
        layer: a name out of RELU_LAYERS or CONV_LAYERS; the settings' own if left out.
        settings: see ReconstructionSettings; ``**changes`` set single
            ones, ``steps=50``.
        network: a loss network to reuse.
        callback: called with a Record before each step.

    Raises:
        InputError: an unknown layer, a picture too small for it, or settings
            that make no sense.

    Example:
        >>> picture = torch.rand(1, 3, 32, 32)
        >>> result = reconstruct_features(picture, "relu2_2", steps=2, progress=False)
        >>> tuple(result.image.shape), len(result.history), result.stopped
        ((1, 3, 32, 32), 2, 'done')

    Taught in chapter 2.
    """
    if layer is not None:
        changes = {**changes, "layer": layer}
    settings = changed(settings, ReconstructionSettings, changes)
    network = _network(network, settings, (settings.layer,))
    image = _enter(image, "the picture to reconstruct", network)

    def objective_at(size: int) -> tuple[Callable, torch.Tensor]:
        target = _fit(image, size)
        with torch.no_grad():
            features = network(target, (settings.layer,))[settings.layer]
            energy = float(features.float().square().mean())
        loss = PerceptualLoss(
            {settings.layer: 1 / max(energy, 1e-12)},
            total_variation=settings.total_variation / 100,
            network=network,
        )
        targets = loss.content_target(target)
        return lambda output: loss(output, content=targets), target

    layers = (settings.layer,)
    return _coarse_to_fine(objective_at, settings, image, {}, layers, callback)


def reconstruct_style(
    style: torch.Tensor,
    layers: Sequence[str] | None = None,
    *,
    settings: TextureSettings | None = None,
    network: LossNetwork | None = None,
    callback: Callable[[Record], None] | None = None,
    **changes,
) -> Result:
    """Find a picture, starting from noise, whose Gram matrices are those of the style:
    texture synthesis.

    Gatys et al. (2015); Johnson et al. (2016), section 3.2 and figure 4. Each layer's
    term is divided by the squared norm of its target Gram matrix, so that all layers
    count alike; only then is it a picture of what *these layers* keep.

    Args:
        style: (1, 3, H, W) in [0, 1].
        layers: names of the layers whose Gram matrices are compared; the
            settings' own if left out.
        settings: see TextureSettings; ``height`` and ``width`` may
            differ from the style's.
        network: a loss network to reuse.
        callback: called with a Record before each step.

    Raises:
        InputError: an unknown layer, a picture too small for it, or settings
            that make no sense.

    Example:
        >>> painting = torch.rand(1, 3, 32, 32)
        >>> layers = ["relu1_2", "relu2_2"]
        >>> settings = {"steps": 2, "progress": False, "height": 32, "width": 64}
        >>> result = reconstruct_style(painting, layers, **settings)
        >>> tuple(result.image.shape)
        (1, 3, 32, 64)

    Taught in chapter 3.
    """
    if layers is not None:
        layers = (layers,) if isinstance(layers, str) else tuple(layers)
        changes = {**changes, "layers": layers}
    settings = changed(settings, TextureSettings, changes)
    network = _network(network, settings, settings.layers)
    style = _enter(style, "the style picture", network)

    def objective_at(size: int) -> tuple[Callable, torch.Tensor]:
        target = _fit(style, size)
        probe = PerceptualLoss(
            style=dict.fromkeys(settings.layers, 1.0), network=network
        )
        grams = probe.style_target(target)
        weights = {
            name: 1 / max(float(gram.square().sum()), 1e-12)
            for name, gram in grams.grams[0].items()
        }
        loss = PerceptualLoss(
            style=weights,
            total_variation=settings.total_variation / 100,
            network=network,
        )
        scale = max(target.shape[-2:]) / max(style.shape[-2:])
        height = (settings.height or style.shape[-2]) * scale
        width = (settings.width or style.shape[-1]) * scale
        canvas = target.new_zeros((1, 3, max(1, round(height)), max(1, round(width))))
        return lambda output: loss(output, style=grams), canvas

    return _coarse_to_fine(objective_at, settings, style, {}, settings.layers, callback)


def transfer_style(
    content: torch.Tensor,
    style: torch.Tensor | Sequence[torch.Tensor],
    *,
    settings: TransferSettings | None = None,
    style_weights: Sequence[float] | None = None,
    masks: Sequence[tuple[torch.Tensor, torch.Tensor]] | None = None,
    init: torch.Tensor | str | None = None,
    network: LossNetwork | None = None,
    callback: Callable[[Record], None] | None = None,
    **changes,
) -> Result:
    """Give a picture the style of another: content features here, Gram matrices
    there, by optimisation.

    Gatys et al. (2016), equation 7, with the layers and the normalisation of
    Johnson et al. (2016).

    Args:
        content: (1, 3, H, W) in [0, 1].
        style: one picture or several, of any sizes; each is resized to
            ``style_scale`` times the output.
        settings: see TransferSettings; ``**changes`` set single ones,
            ``style_weight=1e-3``.
        style_weights: how several styles are blended, one for each; equal by default.
        masks: for each region a pair (region of the content, region of the
            style), (1, 1, H, W) in [0, 1]: guided Gram matrices, Gatys et al.
            (2017), section 3.
        init: a picture to start from, or ``"content"``, ``"style"``, ``"noise"``,
            ``"grey"``; the settings' own if left out.
        network: a loss network to reuse.
        callback: called with a Record before each step.

    Raises:
        InputError: pictures or settings that make no sense, numbers of styles, weights
            and masks that do not match.

    Example:
        >>> photo, painting = torch.rand(1, 3, 32, 48), torch.rand(1, 3, 40, 40)
        >>> settings = {"steps": 2, "sizes": (24, 48), "progress": False}
        >>> result = transfer_style(photo, painting, **settings)
        >>> tuple(result.image.shape), len(result.history)  # two sizes of two steps
        ((1, 3, 32, 48), 4)
        >>> list(result.history[0].terms)[:2]
        ['content/relu3_3', 'style/relu1_2']

    Taught in chapter 4.
    """
    picture = init if isinstance(init, torch.Tensor) else None
    if isinstance(init, str):
        changes = {**changes, "init": init}
    settings = changed(settings, TransferSettings, changes)
    layers = (*settings.content_layers, *settings.style_layers)
    network = _network(network, settings, layers)
    content = _enter(content, "the content picture", network)
    if not isinstance(style, torch.Tensor | list | tuple):
        style = [style]  # refused below
    styles = [
        _enter(s, "the style picture", network)
        for s in ([style] if isinstance(style, torch.Tensor) else style)
    ]
    for mask in (mask for pair in masks or () for mask in pair):
        check_dense(mask, "the mask", floating=False, values=True)
    masks = masks and [tuple(mask.to(content) for mask in pair) for pair in masks]
    target_content = content
    if settings.preserve_color == "histogram":
        styles = [match_color(s, content) for s in styles]
    elif settings.preserve_color == "luminance":
        styles = [match_luminance(s, content) for s in styles]
        target_content = luminance(content)
    loss = PerceptualLoss(
        dict.fromkeys(settings.content_layers, settings.content_weight),
        dict.fromkeys(settings.style_layers, settings.style_weight),
        total_variation=settings.total_variation,
        normalization=settings.normalization,
        balance=settings.balance,
        network=network,
    )
    starts = {"content": target_content, "style": styles[0] if styles else content}
    if picture is not None:
        starts["picture"] = _enter(picture, "the picture to start from", network)
        settings = replace(settings, init="picture")

    def objective_at(size: int) -> tuple[Callable, torch.Tensor]:
        small = _fit(target_content, size)
        side = max(1, round(max(small.shape[-2:]) * settings.style_scale))
        features = loss.content_target(small)
        grams = loss.style_target(
            [_fit(s, side) for s in styles], weights=style_weights, masks=masks
        )
        return lambda output: loss(output, content=features, style=grams), small

    result = _coarse_to_fine(objective_at, settings, content, starts, layers, callback)
    if settings.preserve_color == "luminance":
        colors = resize(content, tuple(result.image.shape[-2:]))
        result.image = with_colors_of(result.image, colors)
    return result


@torch.inference_mode(False)
def _coarse_to_fine(objective_at, settings, image, starts, layers, callback) -> Result:
    """One optimisation for each size, each starting from the last one's picture."""
    longest = max(image.shape[-2:])
    sizes = list(dict.fromkeys(min(size, longest) for size in settings.sizes))
    joined = Result(image)
    for number, size in enumerate(sizes):
        offset, seconds = len(joined.history), joined.seconds

        def moved(
            record: Record, offset: int = offset, seconds: float = seconds
        ) -> Record:
            return replace(
                record, step=record.step + offset, seconds=record.seconds + seconds
            )

        def relay(record: Record, moved: Callable = moved) -> None:
            callback(moved(record))

        relayed = None if callback is None else relay
        try:
            objective, canvas = objective_at(size)
            check_memory(canvas.shape, layers, settings, canvas.device)
            if number:
                start = resize(joined.image, tuple(canvas.shape[-2:]))
            else:
                start = _start(settings, starts, canvas)
            part = optimize_image(objective, start, settings, callback=relayed)
        except KeyboardInterrupt:
            if not number:  # nothing is there yet
                raise
            joined.stopped = "interrupted"
            break
        history = joined.history + [moved(record) for record in part.history]
        joined = Result(part.image, history, seconds + part.seconds, part.stopped)
        if part.stopped != "done":
            break
    return joined


def _start(
    settings, starts: dict[str, torch.Tensor], canvas: torch.Tensor
) -> torch.Tensor:
    known = (*starts, "noise", "grey")
    if settings.init not in known:
        raise InputError(
            f"init={settings.init!r} is unknown; {nearest(str(settings.init), known)}"
        )
    if settings.init in starts:
        return resize(starts[settings.init], tuple(canvas.shape[-2:]))
    if settings.init == "grey":
        return torch.full_like(canvas, 0.5)
    # on the CPU, so that every device starts alike
    generator = torch.Generator().manual_seed(settings.seed)
    return torch.rand(canvas.shape, generator=generator).to(canvas)


def _enter(image: torch.Tensor, what: str, network) -> torch.Tensor:
    check_image(image, what)
    if len(image) != 1:
        raise InputError(
            f"{what} is a batch of {len(image)}; give one picture, (1, 3, H, W)"
        )
    device = next((buffer.device for buffer in network.buffers()), image.device)
    with torch.inference_mode(False):  # a picture of that mode has no gradients
        image = image.clone() if image.is_inference() else image.detach()
        return image.to(device)


def _network(network, settings: OptimizeSettings, layers: Sequence[str]):
    if network is None:
        network = LossNetwork(
            precision=settings.precision,
            device=settings.device,
            compile=settings.compile,
        )
    network.check_layers(layers)
    return network


def _fit(image: torch.Tensor, size: int) -> torch.Tensor:
    """Shrunk so that its longer side is at most ``size``; never enlarged."""
    return resize(image, min(size, max(image.shape[-2:])))


def memory_needed(
    shape: torch.Size,
    layers: Sequence[str],
    settings: OptimizeSettings,
    device: torch.device,
) -> int:
    """Bytes that a step at this size takes at its peak, estimated from the layers up
    to the deepest one.
    """
    names = [layer for layer in layers if layer in RELU_LAYERS + CONV_LAYERS]
    depth = max((int(layer[4]) for layer in names), default=5)
    bytes_each = best_precision(device, settings.precision).itemsize
    # features kept for the backward pass, a gradient and a working copy of the widest,
    # in units of pixels
    kept = sum(
        channels * count / 4**block
        for block, (channels, count) in enumerate(_KEPT[:depth])
    )
    # pairs of steps and gradients, and as much again of what comes and goes with them
    history = (4 * settings.history_size if settings.optimizer == "lbfgs" else 2) + 8
    bytes_a_pixel = kept * bytes_each + 3 * 64 * 4 + history * 3 * 4
    return int(shape[-2] * shape[-1] * bytes_a_pixel)


# channels, and maps kept, of each block
_KEPT = ((64, 3), (128, 3), (256, 4), (512, 4), (512, 4))


def check_memory(
    shape: torch.Size,
    layers: Sequence[str],
    settings: OptimizeSettings,
    device: torch.device,
) -> None:
    """Refuse a size that will not fit before hours are lost, and say which would."""
    room, needed = memory.free(device), memory_needed(shape, layers, settings, device)
    if needed > room:
        raise InputError(_too_large(shape, room, needed))


def _too_large(shape: torch.Size, room: int, needed: int | None = None) -> str:
    height, width = shape[-2:]
    factor = min(0.9, math.sqrt(0.8 * room / needed)) if needed else 0.5
    small = [max(1, int(side * factor)) for side in (height, width)]
    advice = f"about {small[1]}x{small[0]} would, so give sizes={max(small)}"
    return memory.does_not_fit(f"{width}x{height} pixels", advice, room)
