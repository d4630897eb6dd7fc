"""Inpainting with gates: each convolution also says where to trust what it draws."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ._kernels import upsampled_conv
from .kinds import network_kind
from .residual import InpaintingNet
from .stages import SLOPE, check_numbers

DILATIONS = (1, 2, 4, 8, 16, 8, 4, 2, 1)


class GatedConv(nn.Module):
    """A 3x3 convolution, or one after an upsampling by 2, times a gate in (0, 1) that a
    second convolution draws (Yu et al. 2019, section 3.1).

    Both are one convolution with twice the channels: the first half draws, the second
    gates.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        up: bool = False,
    ) -> None:
        super().__init__()
        self.up = up
        by = 0 if up else dilation
        self.conv = nn.Conv2d(
            inputs, 2 * outputs, 3, stride, padding=by, dilation=dilation
        )
        nn.init.kaiming_normal_(self.conv.weight, SLOPE)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (N, inputs, H, W) become (N, outputs, H, W), half or twice as large."""
        if self.up:
            x = upsampled_conv(x, self.conv.weight, self.conv.bias)
        else:
            x = self.conv(x)
        drawn, gate = x.chunk(2, 1)
        return F.leaky_relu(drawn, SLOPE) * gate.sigmoid()


@network_kind
class GatedInpaintingNet(InpaintingNet):
    """Inpainting with gated convolutions and a wide view: for large holes.

    The picture's 2x2 squares are stacked into channels; gated convolutions halve the
    size once more, and blocks of one gated convolution each are added to their input
    there, dilated by up to 16: what is drawn in a hole knows 200 pixels to each side.
    Two upsamplings by 2 lead back; the first is added to the map of the same size on
    the way down. Nothing is folded back into pixels, so no square of pixels differs
    from the next by its place alone.

    Args:
        width: channels at a quarter of the size; half as many at half of it.
        blocks: gated blocks.

    Raises:
        InputError: numbers below 1.

    Source: Yu et al. (2019), Free-form image inpainting with gated convolution; its
    two stages are one here, and the attention is left out.

    Example:
        >>> image, mask = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:16, 8:16] = 1
        >>> output = GatedInpaintingNet(width=8, blocks=1)(image, mask)
        >>> torch.equal(output * (1 - mask), image * (1 - mask))
        True

    Taught in chapter 7.
    """

    kind = "gated_inpainting"
    fold = 4
    tile_share = 1  # its last convolution has half of the width at full size

    @property
    def channels_at_once(self) -> float:
        """A fifth of how many numbers a pixel of the picture takes at the worst, as
        benchmarks/memory.py measures it.
        """
        return 0.4 * self.config["width"]

    def __init__(self, width: int = 64, blocks: int = 9) -> None:
        nn.Module.__init__(self)
        check_numbers("none", width=width, blocks=blocks)
        self.config = {"kind": self.kind, "width": width, "blocks": blocks}
        self.card: dict = {}
        half, quarter = max(1, width // 2), max(1, width // 4)
        self.first = GatedConv(16, half)
        self.down = GatedConv(half, width, stride=2)
        self.blocks = nn.ModuleList(
            GatedConv(width, width, dilation=DILATIONS[number % len(DILATIONS)])
            for number in range(blocks)
        )
        self.up = nn.ModuleList(
            [GatedConv(width, half, up=True), GatedConv(half, quarter, up=True)]
        )
        self.last = nn.Conv2d(quarter, 3, 3, padding=1, padding_mode="replicate")
        with torch.no_grad():
            for block in self.blocks:
                block.conv.weight.mul_(0.3)
            self.last.weight.mul_(0.3)
            self.last.bias.zero_()
        self.to(memory_format=torch.channels_last)

    def _residual(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.fold, 0, -height % self.fold), mode="replicate")
        x = F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)
        skipped = self.first(x)
        x = self.down(skipped)
        for block in self.blocks:
            x = x + block(x)
        one, two = self.up
        x = self.last(two(one(x) + skipped)).float()
        return x[..., :height, :width]

    @property
    def reach(self) -> int:
        """How many pixels of the input, to each side, decide one pixel of the
        output.
        """
        return self.fold * (sum(block.conv.dilation[0] for block in self.blocks) + 4)
