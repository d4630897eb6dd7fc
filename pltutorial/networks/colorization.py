"""Colours for a grey picture."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from ..color import brightness_of, chroma_centres, from_chroma
from ..errors import InputError
from ..tensors import check_dense, check_maps
from .kinds import network_kind
from .stages import SLOPE, ConvStage, check_numbers


@network_kind
class ColorizationNet(nn.Module):
    """Colours for a grey picture: two numbers of chrominance for each pixel; the
    brightness stays as it is.

    Three convolutions of stride 2, residual blocks, three upsamplings that see what was
    there on the way down.

    With ``classes`` it says for each square of 2x2 pixels how likely each colour of a
    grid is, and takes their mean after sharpening: probabilities to the power of 1 /
    :attr:`temperature`, the annealed mean. At 1 that is the mean itself, towards 0 the
    likeliest colour.

    Args:
        width: channels at half the size; 2 and 3 times as many below.
        blocks: residual blocks at an eighth of the size.
        classes: colours along each side of the grid of chrominance; 0 for two numbers.

    Raises:
        InputError: numbers below 1, or one class.

    Source: Zhang et al. (2016), Colorful image colorization, section 2, for the
    classes, which they have in Lab at a quarter of the size.

    Example:
        >>> network = ColorizationNet(width=8, blocks=1)
        >>> grey = torch.rand(1, 1, 32, 48).expand(1, 3, 32, 48)
        >>> network(grey).shape
        torch.Size([1, 3, 32, 48])

    Taught in chapter 10.
    """

    kind = "colorization"
    smallest = 8
    fold = 8
    tile_share = 1
    temperature = 1.0  # 0.38 in the paper, which makes the network that ships paler

    @property
    def reach(self) -> int:
        """How many pixels of the input, to each side, decide one pixel of the output.

        Three layers of stride 2 and the way back see four positions of 8x8 pixels, and
        each block one further.
        """
        return self.fold * (4 + self.config["blocks"])

    def __init__(self, width: int = 32, blocks: int = 4, *, classes: int = 0) -> None:
        super().__init__()
        check_numbers("none", width=width, blocks=blocks)
        if classes == 1 or classes < 0:
            raise InputError(f"classes={classes} was given; give 0, or at least 2")
        self.config = {"kind": self.kind, "width": width, "blocks": blocks}
        if classes:
            self.config["classes"] = classes
        self.classes = classes
        self.card: dict = {}
        widths = [1, width, 2 * width, 3 * width]
        self.down = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(widths))
        self.middle = nn.ModuleList(
            ConvStage(widths[-1], widths[-1]) for _ in range(blocks)
        )
        ups = [(3 * width, 2 * width), (4 * width, width), (2 * width, width)]
        self.up = nn.ModuleList(
            ConvStage(*sizes, up=True) for sizes in (ups[:2] if classes else ups)
        )
        if classes:
            self.last = nn.Conv2d(2 * width, classes**2, 1)
        else:
            self.last = nn.Conv2d(width, 2, 3, padding=1, padding_mode="replicate")
        with torch.no_grad():
            self.last.weight.mul_(0.1)
            self.last.bias.zero_()
        self.to(memory_format=torch.channels_last)

    def forward(self, image: torch.Tensor, *, logits: bool = False) -> torch.Tensor:
        """Colour a batch of pictures.

        Args:
            image: (N, 3, H, W) in [0, 1]; only its brightness is looked at.
            logits: with classes, those in the place of the pictures.

        Returns:
            (N, 3, H, W), float32, not clamped, whose brightness Y is that of the image;
            or logits (N, classes^2, h, w) at half the size of the picture, filled up to
            a multiple of 8.
        """
        check_maps(image, "the picture", 3)
        check_dense(image, "the picture", values=not self.last.weight.is_meta)
        brightness = brightness_of(image)
        height, width = image.shape[-2:]
        x = F.pad(2 * brightness - 1, (0, -width % 8, 0, -height % 8), mode="replicate")
        x, skips = x.contiguous(memory_format=torch.channels_last), []
        for layer in self.down:
            x = F.leaky_relu(layer(x), SLOPE)
            skips.append(x)
        for layer in self.middle:
            x = x + layer(x)
        for layer, skip in zip(self.up, (skips[1], skips[0], None), strict=False):
            x = layer(x)
            x = x if skip is None else torch.cat([x, skip], 1)
        x = self.last(x).float()
        if not self.classes:
            return from_chroma(brightness, 0.5 * x.tanh()[..., :height, :width])
        if logits:
            return x
        centres = chroma_centres(self.classes).T.to(x)[..., None, None]
        chroma = F.conv2d((x / self.temperature).softmax(1), centres)
        chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear")
        return from_chroma(brightness, chroma[..., :height, :width])
