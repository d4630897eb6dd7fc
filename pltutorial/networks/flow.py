"""The network of flow matching: a small U-Net that predicts the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import InputError
from ..tensors import check_maps, check_times
from .kinds import network_kind

EMBEDDED = 64  # numbers that stand for time and label
GROUPS = 8
PATCH = 2  # pixels along the side of what is one position in the network


class _Block(nn.Module):
    """Two convolutions added to the input; time and label scale in between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(EMBEDDED, 2 * channels)
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)
            self.film.weight.mul_(0.1)

    def forward(self, x: torch.Tensor, about: torch.Tensor) -> torch.Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.film(about)[..., None, None].chunk(2, 1)
        y = self.norm2(y) * (1 + scale) + shift
        return x + self.conv2(F.silu(y))


class _Attention(nn.Module):
    """Every position looks at every other one; added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.asked = nn.Conv2d(channels, 3 * channels, 1)
        self.told = nn.Conv2d(channels, channels, 1)
        with torch.no_grad():
            self.told.weight.mul_(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        parts = self.asked(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, -1)
        seen = F.scaled_dot_product_attention(*(part[:, None] for part in parts))[:, 0]
        return x + self.told(seen.transpose(1, 2).unflatten(2, (height, width)))


@network_kind
class FlowNet(nn.Module):
    """U-Net that predicts the picture of a noisy one, for pictures of one size.

    Squares of 2x2 pixels become 12 channels. Three levels, each of half the size, with
    a residual block on the way down and one on the way up, and attention at the
    smallest. Time and label, as one vector, scale and shift within each block.

    Args:
        channels: of the three levels, multiples of 8.
        size: height and width of the pictures, a multiple of 8.
        classes: names of the labels that it knows; none for pictures without labels.
        condition: what the labels are, such as ``"hair_color"``.

    Raises:
        InputError: numbers that do not fit.

    Source: Ho et al. (2020), Denoising diffusion probabilistic models, appendix B;
    Li and He (2025), Back to basics, section 4, for the prediction of the picture.

    Example:
        >>> network = FlowNet((8, 8, 8), size=16, classes=("red", "blue"))
        >>> noisy = torch.randn(2, 3, 16, 16)
        >>> network(noisy, 0.5, torch.tensor([0, 1])).shape
        torch.Size([2, 3, 16, 16])

    Taught in chapter 11.
    """

    kind = "flow"

    def __init__(
        self,
        channels: Sequence[int] = (48, 80, 72),
        *,
        size: int = 48,
        classes: Sequence[str] = (),
        condition: str = "",
    ) -> None:
        super().__init__()
        channels, classes = list(channels), list(classes)
        if len(channels) != 3 or any(c < GROUPS or c % GROUPS for c in channels):
            raise InputError(
                f"channels={tuple(channels)} was given; give three multiples of "
                f"{GROUPS}, such as (48, 80, 72)"
            )
        if size < 8 or size % 8:
            raise InputError(
                f"pictures of {size} pixels were asked for; give a multiple of 8"
            )
        self.config = {
            "kind": self.kind,
            "channels": channels,
            "size": size,
            "classes": classes,
            "condition": condition,
        }
        self.card: dict = {}
        self.smallest = self.size = size
        self.classes, self.condition = classes, condition
        wide, middle, narrow = channels
        self.first = nn.Conv2d(3 * PATCH**2, wide, 3, padding=1)
        self.time = nn.Linear(EMBEDDED, EMBEDDED)
        self.label = nn.Embedding(len(classes) + 1, EMBEDDED)  # the last is none
        self.about = nn.Linear(EMBEDDED, EMBEDDED)
        self.down = nn.ModuleList([_Block(wide), _Block(middle)])
        self.shrink = nn.ModuleList(
            [nn.Conv2d(a, b, 3, 2, 1) for a, b in ((wide, middle), (middle, narrow))]
        )
        self.middle = _Block(narrow)
        self.attention = _Attention(narrow)
        self.grow = nn.ModuleList(
            [nn.Conv2d(a, b, 1) for a, b in ((narrow, middle), (middle, wide))]
        )
        self.up = nn.ModuleList([_Block(middle), _Block(wide)])
        self.norm = nn.GroupNorm(GROUPS, wide)
        self.last = nn.Conv2d(wide, 3 * PATCH**2, 3, padding=1)
        with torch.no_grad():
            self.last.weight.mul_(0.1)
            self.label.weight.mul_(0.1)
        self.to(memory_format=torch.channels_last)

    def forward(
        self,
        x_t: torch.Tensor,
        t: torch.Tensor | float,
        label: torch.Tensor | None = None,
        *,
        hidden: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """The estimate of the picture.

        Args:
            x_t: noisy pictures (N, 3, size, size), centred, see
                ``pltutorial.flow``.
            t: times in [0, 1], one number or (N,).
            label: numbers of the classes (N,); ``len(classes)``, or None, is none.
            hidden: give the features of the smallest level, too.

        Returns:
            (N, 3, size, size), centred, float32; with ``hidden`` a pair with
            (N, C, size / 8, size / 8).

        Raises:
            InputError: pictures of another shape.
        """
        check_maps(x_t, "the noisy picture", 3, self)
        if x_t.ndim != 4 or x_t.shape[1:] != (3, self.size, self.size):
            raise InputError(
                f"noisy pictures of shape {tuple(x_t.shape)} were given; "
                f"give (N, 3, {self.size}, {self.size})"
            )
        about = self._about(x_t, t, label)
        x = F.pixel_unshuffle(x_t, PATCH)
        x = self.first(x.contiguous(memory_format=torch.channels_last))
        skips = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            x = block(x, about)
            skips.append(x)
            x = shrink(x)
        x = inner = self.attention(self.middle(x, about))
        for grow, block in zip(self.grow, self.up, strict=True):
            x = F.interpolate(grow(x), scale_factor=2) + skips.pop()
            x = block(x, about)
        x = self.last(F.silu(self.norm(x))).float()
        made = F.pixel_shuffle(x, PATCH)
        return (made, inner) if hidden else made

    def _about(
        self, x_t: torch.Tensor, t: torch.Tensor | float, label: torch.Tensor | None
    ) -> torch.Tensor:
        """Time and label as one vector a picture, (N, EMBEDDED)."""
        count, device = len(x_t), x_t.device
        t = check_times(t, x_t, torch.float32).expand(count)
        half = EMBEDDED // 2
        rates = torch.exp(torch.arange(half, device=device) * (-math.log(1000) / half))
        angles = 1000 * t[:, None] * rates
        waves = torch.cat([angles.sin(), angles.cos()], 1)
        if label is None:
            label = torch.full((count,), len(self.classes), device=device)
        about = F.silu(self.time(waves) + self.label(label.to(device)))
        return F.silu(self.about(about))
