"""What the networks that draw are made of: convolutions that double or halve."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import InputError, nearest
from ._kernels import upsampled_conv

SLOPE = 0.3  # of the leaky ReLUs, as in both papers of Dosovitskiy and Brox
NORMS = ("none", "batch")


class ConvStage(nn.Module):
    """A 3x3 convolution with repeated borders, after an upsampling by 2 or none; batch
    normalisation or none; leaky ReLU.
    """

    def __init__(
        self, inputs: int, outputs: int, *, up: bool = False, norm: str = "none"
    ) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(
            inputs, outputs, 3, padding=0 if up else 1, padding_mode="replicate"
        )
        nn.init.kaiming_normal_(self.conv.weight, SLOPE)
        nn.init.zeros_(self.conv.bias)
        self.norm = nn.BatchNorm2d(outputs) if norm == "batch" else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (N, inputs, H, W) become (N, outputs, H, W), or twice as large."""
        if self.up:
            x = upsampled_conv(x, self.conv.weight, self.conv.bias)
        else:
            x = self.conv(x)
        x = x if self.norm is None else self.norm(x)
        return F.leaky_relu(x, SLOPE)


def stage_widths(width: int, stride: int) -> list[int]:
    """Channels from a code's resolution up to full size: more where a position
    stands for more pixels.
    """
    factors = {32: 8, 16: 8, 8: 7, 4: 4, 2: 2, 1: 1}
    return [width * factor for scale, factor in factors.items() if scale <= stride]


def doubling_stages(widths: Sequence[int], norm: str = "none") -> nn.Sequential:
    """One upsampling after the other, then three channels, which :func:`scaled_tanh`
    brings into [0, 1].
    """
    last = nn.Conv2d(widths[-1], 3, 3, padding=1, padding_mode="replicate")
    with torch.no_grad():
        last.weight.mul_(0.3)
        last.bias.zero_()
    stages = [ConvStage(a, b, up=True, norm=norm) for a, b in pairwise(widths)]
    return nn.Sequential(*stages, last)


def scaled_tanh(x: torch.Tensor) -> torch.Tensor:
    """Any values as a picture, float32 in (0, 1)."""
    return (x.float().tanh() + 1) / 2


def halving_stages(widths: Sequence[int], norm: str, outputs: int) -> nn.Sequential:
    """4x4 convolutions of stride 2 with leaky ReLUs, and a 3x3
    convolution to the outputs.
    """
    layers: list[nn.Module] = []
    for inputs, channels in pairwise(widths):
        conv = nn.Conv2d(inputs, channels, 4, 2, 1)
        nn.init.kaiming_normal_(conv.weight, SLOPE)
        norms = [nn.BatchNorm2d(channels)] if norm == "batch" else []
        layers += [conv, *norms, nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], outputs, 3, padding=1))


def check_numbers(norm: str, **numbers: int) -> None:
    """Refuse an unknown norm, and numbers of channels or blocks below 1."""
    if norm not in NORMS:
        raise InputError(f"there is no norm {norm!r}; {nearest(norm, NORMS)}")
    for name, value in numbers.items():
        if value < 1:
            raise InputError(f"{name}={value} was given; give at least 1")
