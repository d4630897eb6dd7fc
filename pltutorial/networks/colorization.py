"""Colours for a grey picture."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from ..color import brightness_of, from_chroma
from .kinds import network_kind
from .stages import SLOPE, ConvStage, check_numbers


@network_kind
class ColorizationNet(nn.Module):
    """Colours for a grey picture: two numbers of chrominance for each pixel; the
    brightness stays as it is.

    Three convolutions of stride 2, residual blocks, three upsamplings that see what was
    there on the way down.

    Args:
        width: channels at half the size; 2 and 3 times as many below.
        blocks: residual blocks at an eighth of the size.

    Raises:
        InputError: numbers below 1.

    Taught in chapter 9.
    """

    kind = "colorization"
    smallest = 8
    fold = 8
    tile_share = 1

    @property
    def reach(self) -> int:
        """How many pixels of the input, to each side, decide one pixel of the output.

        Three layers of stride 2 and the way back see four positions of 8x8 pixels, and
        each block one further.
        """
        return self.fold * (4 + self.config["blocks"])

    def __init__(self, width: int = 32, blocks: int = 4) -> None:
        super().__init__()
        check_numbers("none", width=width, blocks=blocks)
        self.config = {"kind": self.kind, "width": width, "blocks": blocks}
        self.card: dict = {}
        widths = [1, width, 2 * width, 3 * width]
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(widths))
        self.middle = nn.ModuleList(
            ConvStage(widths[-1], widths[-1]) for _ in range(blocks)
        )
        self.up = nn.ModuleList(
            [
                ConvStage(3 * width, 2 * width, up=True),
                ConvStage(4 * width, width, up=True),
                ConvStage(2 * width, width, up=True),
            ]
        )
        self.last = nn.Conv2d(width, 2, 3, padding=1, padding_mode="replicate")
        with torch.no_grad():
            self.last.weight.mul_(0.1)
            self.last.bias.zero_()
        self.to(memory_format=torch.channels_last)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Colour a batch of pictures.

        Args:
            image: (N, 3, H, W) in [0, 1]; only its brightness is looked at.

        Returns:
            (N, 3, H, W), float32, not clamped, whose brightness Y is that of the image.
        """
        brightness = brightness_of(image)
        height, width = image.shape[-2:]
        x = F.pad(2 * brightness - 1, (0, -width % 8, 0, -height % 8), mode="replicate")
        x, skips = x.contiguous(memory_format=torch.channels_last), []
        for layer in self.down:
            x = F.leaky_relu(layer(x), SLOPE)
            skips.append(x)
        for layer in self.middle:
            x = x + layer(x)
        for layer, skip in zip(self.up, (skips[1], skips[0], None), strict=True):
            x = layer(x)
            x = x if skip is None else torch.cat([x, skip], 1)
        chroma = 0.5 * self.last(x).float().tanh()[..., :height, :width]
        return from_chroma(brightness, chroma)
