"""Feed-forward style transfer as a task for the trainer, and the card of the network that it yields."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from .device import best_device
from .errors import InputError, nearest
from .images import bundled, bundled_names, read_image, resize
from .losses import LossTerms, PerceptualLoss, StyleTarget
from .networks import FastTransformNet, TransformNet
from .settings import StyleTrainingSettings
from .training.cards import kept_settings, training_card
from .vgg import LossNetwork

if TYPE_CHECKING:
    from .training import Trained

LIMITS = "paints textures and colours, not shapes; large even areas and faces suffer first"


class StyleTask:
    """Feed-forward style transfer: Johnson et al. (2016), equation 5, for one style or (Dumoulin et al. 2017) several.

    The Gram matrices of the styles are computed once; the content targets run to the content layer only. In a
    batch the crop of number n takes style n mod S, so that every style is met equally often.

    Args:
        settings: see StyleTrainingSettings.
        network: a loss network to reuse.

    Raises:
        InputError: a style that is no picture or unknown, or a network to start from that has another architecture.

    Taught in chapter 5.
    """

    def __init__(self, settings: StyleTrainingSettings, *, network: LossNetwork | None = None) -> None:
        self.settings = settings
        device = best_device(settings.device)
        names, pictures = zip(*(_style(name, settings.style_size) for name in settings.styles), strict=True)
        if len(set(names)) < len(names):
            raise InputError(
                f"the styles {', '.join(names)} were given; give each of them one name of its own"
            )
        torch.manual_seed(settings.seed)
        several = names if len(names) > 1 else ()
        kind = FastTransformNet if settings.network == "fast" else TransformNet
        how = {"norm": settings.norm, "upsampling": settings.upsampling, "styles": several}
        width = {} if settings.width is None else {"width": settings.width}
        self.network: TransformNet = kind(**width, blocks=settings.blocks, **how)
        self.names = names
        if settings.start is not None:
            self._start_from(settings.start)
        self.objective = PerceptualLoss(
            dict.fromkeys(settings.content_layers, settings.content_weight),
            dict.fromkeys(settings.style_layers, settings.style_weight),
            total_variation=settings.total_variation,
            network=network
            or LossNetwork(precision=settings.precision, device=device, compile=settings.compile),
        )
        targets = [self.objective.style_target(picture.to(device)).grams[0] for picture in pictures]
        self._grams = {name: torch.cat([t[name] for t in targets]) for name in settings.style_layers}
        self._shares = torch.eye(len(names), device=device)  # indices would be checked, a wait for the device
        self._photos: torch.Tensor | None = None
        self._factors = torch.tensor(settings.style_weights or [1.0] * len(names), device=device)

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """Content, style and total variation terms of a batch (N, 3, H, W), each a mean over it."""
        style = (torch.arange(len(images), device=images.device) + first) % len(self.names)
        output = network(images, self._shares[style]) if len(self.names) > 1 else network(images)
        return self.terms(output, images, style)

    def terms(self, output: torch.Tensor, content: torch.Tensor, style: torch.Tensor) -> LossTerms:
        """The objective of outputs (N, 3, H, W) for the styles of these indices, (N,)."""
        grams = StyleTarget([{name: gram[style] for name, gram in self._grams.items()}], [None])
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
            self._photos = torch.cat([middle_square(bundled(f"test/{name}"), 192) for name in names])
        photos = self._photos.to(next(network.parameters()).device)
        rows = [photos]
        for share in self._shares.split(1):
            output = network(photos, share) if len(self.names) > 1 else network(photos)
            rows.append(output.float().clamp(0, 1))
        return torch.cat([torch.cat(list(row), 2) for row in rows], 1)[None]

    def _start_from(self, start: str) -> None:
        """Takes the weights of another network of the same sizes; a style's own row where it has one."""
        from .zoo import load_style

        given = load_style(start, "cpu")
        own = self.network.state_dict()
        mine, theirs = (architecture(n.config, but=("styles",)) for n in (self.network, given))
        if mine != theirs:
            raise InputError(
                f"the network {start!r} to start from is {theirs} and this one is {mine}; give the same architecture"
            )
        known = given.style_names
        for name, tensor in given.state_dict().items():
            if own[name].ndim == 2 or tensor.ndim == 2:  # a table of styles on either side, or on both
                rows = tensor if tensor.ndim == 2 else tensor[None]
                picked = torch.stack(
                    [rows[known.index(n)] if n in known else rows.mean(0) for n in self.names]
                )
                tensor = picked if own[name].ndim == 2 else picked[0]
            own[name] = tensor
        self.network.load_state_dict(own)


def style_card(result: Trained, task: StyleTask, settings: StyleTrainingSettings, pictures: str = "") -> dict:
    """What a reader must know of a trained network; :func:`pltutorial.zoo.card_text` prints it.

    Args:
        result: what :func:`pltutorial.training.train` returned.
        task: the task that was trained.
        settings: the settings it was trained with.
        pictures: what the pictures are, whose, and under which licence.

    Returns:
        JSON-able: the keys of ``pltutorial.zoo.CARD`` less ``held_out``, which training does not measure. The
        curve has at most thirty points [step, content, style, total], weighted, of the log.

    Taught in chapter 5.
    """
    return training_card(result, settings, pictures, ("content", "style")) | {
        "styles": list(task.names),
        "settings": kept_settings(settings) | {"styles": list(task.names)},
        "limits": LIMITS,
        "licence": "the weights: MIT; the style pictures keep their own",
    }


def architecture(config: Mapping, but: tuple[str, ...] = ()) -> str:
    """A network's architecture in words, some of them left out."""
    return " ".join(f"{name}={value}" for name, value in config.items() if name not in but)


def _style(name: str, size: int) -> tuple[str, torch.Tensor]:
    known = bundled_names("style")
    path = bundled(f"style/{name}") if name in known else Path(name)
    if name not in known and not path.suffix and not path.exists():
        raise InputError(f"there is no style {name!r}; {nearest(name, known)}, or give the path of a picture")
    image = read_image(path)
    return path.stem, resize(image, min(size, max(image.shape[-2:])))


def middle_square(path: Path, size: int) -> torch.Tensor:
    """The largest square in the middle of a picture, at a size."""
    image = read_image(path)
    side = min(image.shape[-2:])
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    return resize(image[..., top : top + side, left : left + side], (size, size))
