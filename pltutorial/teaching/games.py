"""A small adversarial game for chapter 10 and its record: a painter colours drawings of
faces, and a discriminator that is told the drawing judges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ..color import brightness_of
from ..deepsim import DeepSimLoss
from ..networks import Discriminator
from ..networks.stages import SLOPE, ConvStage, scaled_tanh
from ..terms import LossTerms

FOLD = 8  # of the discriminator: one decision for so many pixels along a side


class Painter(nn.Module):
    """A coloured picture for a picture of any channels: two convolutions of stride 2, a
    block, and two upsamplings that see what was there on the way down.

    Args:
        inputs: channels of what it is given.
        width: channels at full size; 2 and 4 times as many below.
    """

    def __init__(self, inputs: int = 1, width: int = 16) -> None:
        super().__init__()
        self.first = ConvStage(inputs, width)
        self.down = nn.ModuleList(
            nn.Conv2d(n * width, 2 * n * width, 4, 2, 1) for n in (1, 2)
        )
        self.middle = ConvStage(4 * width, 4 * width)
        self.up = nn.ModuleList(
            ConvStage(4 * width, n * width, up=True) for n in (2, 1)
        )
        self.last = nn.Conv2d(2 * width, 3, 3, padding=1, padding_mode="replicate")
        with torch.no_grad():
            self.last.weight.mul_(0.1)
            self.last.bias.zero_()
        self.to(memory_format=torch.channels_last)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in (0, 1) for (N, inputs, H, W) in [0, 1], whose sides are
        multiples of 4.
        """
        x = self.first(2 * given - 1)
        skips = [x]
        for layer in self.down:
            x = F.leaky_relu(layer(x), SLOPE)
            skips.append(x)
        x = x + self.middle(x)
        for layer, skip in zip(self.up, (skips[1], skips[0]), strict=True):
            x = torch.cat([layer(x), skip], 1)
        return scaled_tanh(self.last(x))


def drawing_of(pictures: torch.Tensor, threshold: float = 0.12) -> torch.Tensor:
    """Lines where the brightness of pictures (N, 3, H, W) changes, black on white:
    (N, 1, H, W) in [0, 1]. The colours, and how bright an area is, are gone.
    """
    grey = F.pad(brightness_of(pictures), (1, 1, 1, 1), mode="replicate")
    across = (grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]).abs()
    along = (grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]).abs()
    return 1 - (torch.maximum(across, along) / threshold / 2).clamp(0, 1)


def told(given: torch.Tensor) -> torch.Tensor:
    """What a discriminator is told of pictures (N, C, H, W): squares of 8x8 pixels as
    channels, (N, 64 C, H / 8, W / 8).
    """
    return F.pixel_unshuffle(given, FOLD)


def play(
    painter: nn.Module,
    discriminator: Discriminator | None,
    faces: torch.Tensor,
    loss_of: Callable[[torch.Tensor, torch.Tensor], LossTerms],
    *,
    steps: int,
    batch: int = 8,
    adversarial: float = 1.0,
    rates: Sequence[float] = (1e-3, 1e-3),
    pause_below: float = 0.1,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Train a painter to colour drawings of faces, against a discriminator that is told
    the drawing; both by Adam with little momentum.

    Args:
        painter: (N, 1, H, W) to (N, 3, H, W).
        discriminator: None for no game.
        faces: (N, 3, H, W) in [0, 1], in colours, H and W multiples of 8.
        loss_of: the terms beside the adversarial one, of output and target.
        steps: how many.
        batch: faces in a step.
        adversarial: weight of the adversarial term.
        rates: of the painter and of the discriminator.
        pause_below: the discriminator pauses while its loss is below this share of the
            painter's adversarial loss; 0 never.
        seed: of the faces that are drawn.

    Returns:
        for each step the terms; in a game the ``discriminator``'s loss too, and
        ``paused``, 1 where it did not move.
    """
    draw = torch.Generator().manual_seed(seed)
    betas = (0.5, 0.99)
    mover = torch.optim.Adam(painter.parameters(), rates[0], betas)
    game = None
    if discriminator is not None:
        game = DeepSimLoss(0, adversarial, 0, discriminator=discriminator)
        watcher = torch.optim.Adam(discriminator.parameters(), rates[1], betas)
    history = []
    for _ in range(steps):
        target = faces[torch.randint(len(faces), (batch,), generator=draw)]
        drawing = drawing_of(target)
        output, terms = painter(drawing), LossTerms()
        if game is not None:
            discriminator.requires_grad_(False)
            terms.update(game(output, target, told(drawing)))
        terms.update(loss_of(output, target))
        mover.zero_grad()
        terms.total.backward()
        mover.step()
        record = {name: float(term.detach()) for name, term in terms.items()}
        if game is not None:
            discriminator.requires_grad_(True)
            theirs = game.discriminator_loss(output.detach(), target, told(drawing))
            paused = bool(game.has_won(theirs, terms, pause_below))
            if not paused:
                watcher.zero_grad()
                theirs.total.backward()
                watcher.step()
            record["discriminator"] = float(theirs.total.detach())
            record["paused"] = float(paused)
        history.append(record)
    return history


def harmed(pictures: torch.Tensor, seed: int = 0) -> dict[str, torch.Tensor]:
    """Pictures (N, 3, H, W), harmed in five ways that all have the squared error of a
    shift by one pixel, picture by picture: ``{name: (N, 3, H, W)}``.
    """
    grain = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(seed))
    patched = pictures.clone()
    edge = pictures.shape[-1] // 4
    patched[..., edge:-edge, edge:-edge] = 0.5
    extremes = {
        "blur": F.avg_pool2d(pictures, 9, 1, 4, count_include_pad=False),
        "noise": pictures + 0.5 * grain,
        "colour": pictures.roll(1, 1),  # red, green and blue change places
        "square": patched,
    }

    def error(made: torch.Tensor) -> torch.Tensor:
        return (made - pictures).square().flatten(1).mean(1).view(-1, 1, 1, 1)

    found = {"shift": pictures.roll(1, 3)}
    wanted = error(found["shift"])
    for name, extreme in extremes.items():
        low, high = torch.zeros_like(wanted), torch.full_like(wanted, 3.0)
        for _ in range(30):  # halve the range in which the strength lies
            strength = (low + high) / 2
            found[name] = torch.lerp(pictures, extreme, strength).clamp(0, 1)
            strong = error(found[name]) > wanted
            low, high = (
                torch.where(strong, low, strength),
                torch.where(strong, strength, high),
            )
    return found


def costs_of(
    comparator: Callable, layer: str, pictures: torch.Tensor, harms: dict
) -> dict[str, float]:
    """What each harm of :func:`harmed` costs in a layer, the shift being 1."""
    measure = DeepSimLoss(1, 0, 0, comparator=comparator, layers=(layer,))
    with torch.no_grad():
        costs = {
            name: float(measure(made, pictures).total) for name, made in harms.items()
        }
    return {name: cost / costs["shift"] for name, cost in costs.items()}
