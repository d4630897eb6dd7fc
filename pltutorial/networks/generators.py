"""Networks that draw from a code: the inverter of VGG-16's codes and the autoencoder.

Symbols are the papers': the generator G, the code C(y) of a picture y.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import InputError
from ..tensors import check_dense, check_maps
from .codes import code_shape
from .kinds import network_kind
from .stages import (
    SLOPE,
    ConvStage,
    check_numbers,
    doubling_stages,
    halving_stages,
    scaled_tanh,
    stage_widths,
)


@network_kind
class InversionNet(nn.Module):
    """Generator that draws the picture of a code: an up-convolutional network, for
    codes of any height and width.

    A 1x1 convolution and ``blocks`` 3x3 ones, each added to its input, at the code's
    resolution, then an upsampling by 2 and a 3x3 convolution until the picture's size
    is reached, leaky ReLUs of slope 0.3, a scaled tanh. The papers have 5x5 or 4x4
    up-convolutions, which draw a checkerboard where they overlap unevenly. Each channel
    of the code is divided by :attr:`scale` first, its root mean square over pictures:
    the channels of VGG-16 differ a hundredfold.

    Args:
        layer: the code it inverts, such as ``"relu4_3"`` or ``"pool5"``; see
            :func:`code_shape`.
        width: channels at full size; at a stride of 2, 4, 8 and 16 there are 2, 4, 7
            and 8 times as many.
        blocks: 3x3 convolutions at the code's resolution.
        norm: ``"none"`` as in the papers, or ``"batch"``.
        channels: of the code of another encoder, together with ``stride``; ``layer`` is
            its name there then.
        stride: pixels between the positions of that code, a power of 2 up to 32.

    Raises:
        InputError: an unknown layer or norm, or numbers that make no sense.

    Source: Dosovitskiy and Brox (2016), Inverting Visual Representations with
    Convolutional Networks, table 1.

    Example:
        >>> network = InversionNet("relu3_3", width=8, blocks=1)
        >>> code = LossNetwork()(torch.rand(1, 3, 32, 48), ["relu3_3"])["relu3_3"]
        >>> code.shape, network(code).shape
        (torch.Size([1, 256, 8, 12]), torch.Size([1, 3, 32, 48]))

    Taught in chapter 8.
    """

    kind = "inversion"
    smallest = 1

    def __init__(
        self,
        layer: str = "relu4_3",
        width: int = 32,
        blocks: int = 2,
        *,
        norm: str = "none",
        channels: int | None = None,
        stride: int | None = None,
    ) -> None:
        super().__init__()
        check_numbers(norm, width=width)
        self.config = {
            "kind": self.kind,
            "layer": layer,
            "width": width,
            "blocks": blocks,
            "norm": norm,
        }
        if channels is None or stride is None:
            channels, stride = code_shape(layer)
        else:
            self.config |= {"channels": channels, "stride": stride}
        if stride not in (1, 2, 4, 8, 16, 32) or channels < 1 or blocks < 0:
            raise InputError(
                f"channels={channels}, stride={stride} and blocks={blocks} "
                "were given; give at least 1 channel, a power of 2 up to 32, "
                "and 0 blocks or more"
            )
        self.card: dict = {}
        self.layer, self.channels, self.stride = layer, channels, stride
        self.register_buffer("scale", torch.ones(channels))
        widths = stage_widths(width, stride)
        self.first = nn.Conv2d(channels, widths[0], 1)
        self.blocks = nn.ModuleList(
            ConvStage(widths[0], widths[0], norm=norm) for _ in range(blocks)
        )
        self.up = doubling_stages(widths, norm)
        self.to(memory_format=torch.channels_last)

    fold = property(lambda self: self.stride)
    tile_share = 1  # VGG-16 computes at full size

    @property
    def reach(self) -> int:
        """How many pixels of a picture, to each side, decide one pixel that is
        drawn of its code.

        Ten positions of a code are more than VGG-16 sees, and each
        block sees one further.
        """
        return (10 + self.config["blocks"]) * self.stride

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        """Draw the pictures of a batch of codes.

        Args:
            code: (N, C, h, w) at the network's layer.

        Returns:
            (N, 3, stride h, stride w), float32, in (0, 1).

        Raises:
            InputError: a code of another shape.
        """
        check_dense(code, "the code", values=not self.scale.is_meta)
        if code.ndim != 4 or 0 in code.shape or code.shape[1] != self.channels:
            raise InputError(
                f"a code of shape {tuple(code.shape)} was given to an inverter of "
                f"{self.layer}; give (N, {self.channels}, h, w)"
            )
        x = code.float() / self.scale.view(1, -1, 1, 1)
        x = F.leaky_relu(
            self.first(x.contiguous(memory_format=torch.channels_last)), SLOPE
        )
        for block in self.blocks:
            x = x + block(x)
        return scaled_tanh(self.up(x))


@network_kind
class ConvAutoencoder(nn.Module):
    """Convolutional autoencoder: a picture through a narrow code and back, for
    pictures of any size.

    Three convolutions of stride 2 down to ``channels`` numbers for each square of 8x8
    pixels, and the generator of :class:`InversionNet` back. With 8 channels a picture
    is 24 times as many numbers as its code.

    Args:
        width: channels at full size.
        channels: of the code.
        blocks: 3x3 convolutions at the code's resolution, on the way back.
        norm: ``"none"`` or ``"batch"``.

    Raises:
        InputError: an unknown norm, or numbers below 1.

    Source: Dosovitskiy and Brox (2016), Generating Images with Perceptual Similarity
    Metrics based on Deep Networks, section 4.1, whose autoencoder ends in 8x8 positions
    of a 64x64 picture too.

    Example:
        >>> network = ConvAutoencoder(width=8, channels=8, blocks=1)
        >>> image = torch.rand(1, 3, 32, 48)
        >>> network(image).shape, network.encode(image).shape
        (torch.Size([1, 3, 32, 48]), torch.Size([1, 8, 4, 6]))

    Taught in chapter 8.
    """

    kind = "autoencoder"
    smallest = 8
    stride = 8

    def __init__(
        self, width: int = 32, channels: int = 8, blocks: int = 2, *, norm: str = "none"
    ) -> None:
        super().__init__()
        check_numbers(norm, width=width, channels=channels)
        self.config = {
            "kind": self.kind,
            "width": width,
            "channels": channels,
            "blocks": blocks,
            "norm": norm,
        }
        self.card: dict = {}
        self.encoder = halving_stages([3, width, 2 * width, 3 * width], norm, channels)
        self.generator = InversionNet(
            "code", width, blocks, norm=norm, channels=channels, stride=8
        )
        self.to(memory_format=torch.channels_last)

    fold = property(lambda self: self.stride)
    reach = property(lambda self: self.generator.reach)
    tile_share = 1

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """The code (N, channels, ceil(H / 8), ceil(W / 8)) of pictures
        (N, 3, H, W) in [0, 1].
        """
        check_maps(image, "the picture", 3, self)
        height, width = image.shape[-2:]
        image = F.pad(image, (0, -width % 8, 0, -height % 8), mode="replicate")
        return self.encoder(
            (2 * image - 1).contiguous(memory_format=torch.channels_last)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Pictures (N, 3, H, W) in [0, 1] through the code and back; the same shape,
        float32, in (0, 1).
        """
        code = self.encode(image)
        height, width = image.shape[-2:]
        return self.generator(code)[..., :height, :width]
