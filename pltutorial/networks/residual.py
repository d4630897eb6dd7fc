"""Networks that give back what a picture has lost: small pixels,
cleanness, whole parts.

Symbols are the papers': the network f_W, its input x, its output y-hat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import InputError
from ..images import check_factor
from ..tensors import check_dense, check_maps, check_together
from .kinds import network_kind
from .transform import UPSAMPLINGS, ConvLayer, ResidualBlock, check_choice


@network_kind
class SuperResolutionNet(nn.Module):
    """Super-resolution as in Johnson et al. (2016): residual blocks at low resolution,
    then log2(factor) upsamplings.

    A 9x9 convolution, residual blocks, upsamplings by 2 and a 9x9 convolution; batch
    normalisation and ReLU after all but the last, whose tanh is scaled to [0, 1].

    Args:
        factor: 2, 4 or 8.
        width: channels of all layers between the first and the last, 64 in the paper.
        blocks: residual blocks, 4 in the paper.
        upsampling: ``"transposed"``, the fractionally strided convolution of the
            paper, or ``"resize"``.

    Raises:
        InputError: another factor, an unknown upsampling, or numbers below 1.

    Source: Johnson et al. (2016), section 4.2 and the supplementary material, table 2.

    Example:
        >>> network = SuperResolutionNet(factor=4, width=8, blocks=1)
        >>> network(torch.rand(1, 3, 12, 16)).shape
        torch.Size([1, 3, 48, 64])
        >>> network.factor
        4

    Taught in chapter 6.
    """

    kind = "super_resolution"
    fold = 1
    smallest = 5  # the 9x9 kernel reflects 4 pixels

    def __init__(
        self,
        factor: int = 4,
        width: int = 64,
        blocks: int = 4,
        *,
        upsampling: str = "transposed",
    ) -> None:
        super().__init__()
        check_factor(factor)
        check_choice("upsampling", upsampling, UPSAMPLINGS)
        _check_size(width, blocks)
        self.config = {
            "kind": self.kind,
            "factor": factor,
            "width": width,
            "blocks": blocks,
            "upsampling": upsampling,
        }
        self.card: dict = {}
        self.factor = factor
        self.first = ConvLayer(3, width, 9, norm="batch")
        self.blocks = nn.ModuleList(
            ResidualBlock(width, "batch", 0) for _ in range(blocks)
        )
        self.up = nn.ModuleList(
            ConvLayer(width, width, 3, upsampling=upsampling, norm="batch")
            for _ in range(int(math.log2(factor)))
        )
        self.last = ConvLayer(width, 3, 9, relu=False)
        self.to(memory_format=torch.channels_last)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Enlarge a batch of pictures.

        Args:
            image: (N, 3, H, W) in [0, 1], at least 5 pixels along each side.

        Returns:
            (N, 3, factor H, factor W), float32, in (0, 1).

        Raises:
            InputError: a smaller picture.
        """
        check_maps(image, "the picture", 3, self)
        _check_smallest(image, self.smallest)
        x = (2 * image - 1).contiguous(memory_format=torch.channels_last)
        for layer in (self.first, *self.blocks, *self.up):
            x = layer(x)
        return (self.last(x).float().tanh() + 1) / 2

    @property
    def reach(self) -> int:
        """How many pixels of the input, to each side, decide one pixel of the output,
        once training is over.
        """
        last = -(-4 // self.factor)  # the 9x9 kernel at full size
        # all upsamplings together see less than 2 more
        return 4 + 2 * len(self.blocks) + 2 + last


class _PlainBlock(nn.Module):
    """Two 3x3 convolutions added to their input, no normalisation
    (Lim et al. 2017, section 3.1).
    """

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.one = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.two = nn.Conv2d(channels, channels, 3, padding=1)
        # blocks start close to doing nothing, which takes the place of a normalisation
        with torch.no_grad():
            self.two.weight.mul_(0.1)
            self.two.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.two(F.relu(self.one(x), inplace=True))


class _ResidualNet(nn.Module):
    """Residual blocks on a picture folded to ``1 / fold`` of its size; unfolded to
    ``unfold`` times the folded one.
    """

    smallest = 1

    def __init__(
        self,
        inputs: int,
        fold: int,
        unfold: int,
        width: int,
        blocks: int,
        dilations: Sequence[int] = (1,),
    ) -> None:
        super().__init__()
        _check_size(width, blocks)
        self.config = {"kind": self.kind, "width": width, "blocks": blocks}
        self.card: dict = {}
        self.fold, self.unfold = fold, unfold
        self.first = nn.Conv2d(inputs * fold**2, width, 3, padding=1)
        self.blocks = nn.Sequential(
            *(
                _PlainBlock(width, dilations[number % len(dilations)])
                for number in range(blocks)
            )
        )
        self.last = nn.Conv2d(width, 3 * unfold**2, 3, padding=1)
        with torch.no_grad():
            self.last.weight.mul_(0.1)
            self.last.bias.zero_()
        self.to(memory_format=torch.channels_last)

    def _residual(self, x: torch.Tensor) -> torch.Tensor:
        """What is to be added to the picture, float32, cut to its size times
        ``unfold / fold``.
        """
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.fold, 0, -height % self.fold), mode="replicate")
        x = F.pixel_unshuffle(x, self.fold) if self.fold > 1 else x
        x = self.first(x.contiguous(memory_format=torch.channels_last))
        x = self.last(x + self.blocks(x)).float()
        x = F.pixel_shuffle(x, self.unfold) if self.unfold > 1 else x
        return x[
            ..., : height * self.unfold // self.fold, : width * self.unfold // self.fold
        ]

    @property
    def reach(self) -> int:
        """How many pixels of the input, to each side, decide one
        pixel of the output.
        """
        convolutions = [m for m in self.modules() if isinstance(m, nn.Conv2d)]
        return self.fold * (sum(m.dilation[0] for m in convolutions) + 1)


@network_kind
class SubPixelNet(_ResidualNet):
    """Super-resolution with today's means: it learns only what bicubic
    interpolation lacks.

    Residual blocks without normalisation at low resolution (Lim et al. 2017), one
    sub-pixel convolution (Shi et al. 2016, section 3.2: factor^2 pixels are channels
    that are laid side by side), added to the bicubic enlargement.

    Args:
        factor: 2, 4 or 8.
        width: channels of the blocks.
        blocks: residual blocks.

    Raises:
        InputError: another factor, or numbers below 1.

    Example:
        >>> network = SubPixelNet(factor=4).eval()
        >>> network(torch.rand(1, 3, 16, 24)).shape
        torch.Size([1, 3, 64, 96])

    Taught in chapter 6.
    """

    kind = "sub_pixel"

    def __init__(self, factor: int = 4, width: int = 48, blocks: int = 8) -> None:
        check_factor(factor)
        super().__init__(3, 1, factor, width, blocks)
        self.config["factor"] = self.factor = factor

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Enlarge a batch of pictures.

        Args:
            image: (N, 3, H, W) in [0, 1], of any size.

        Returns:
            (N, 3, factor H, factor W), float32; not clamped, so that training sees how
            far out a value is.
        """
        check_maps(image, "the picture", 3, self)
        size = [side * self.factor for side in image.shape[-2:]]
        with torch.autocast(image.device.type, enabled=False):
            large = F.interpolate(
                image.float(), size, mode="bicubic", align_corners=False
            )
        return large + self._residual(image - 0.5)


@network_kind
class DenoisingNet(_ResidualNet):
    """Denoising, blind in the strength of the noise: it learns the noise and takes it
    away (Zhang et al. 2017).

    Residual blocks at half the size, the picture's 2x2 squares
    stacked into 12 channels.

    Args:
        width: channels of the blocks.
        blocks: residual blocks.
        kind: what its files call it; another task may have the same network under
            a kind of its own.

    Raises:
        InputError: numbers below 1.

    Example:
        >>> network = DenoisingNet().eval()
        >>> network(torch.rand(1, 3, 32, 48)).shape
        torch.Size([1, 3, 32, 48])

    Taught in chapter 7.
    """

    kind = "denoising"
    factor = 1

    def __init__(
        self, width: int = 48, blocks: int = 6, *, kind: str = "denoising"
    ) -> None:
        self.kind = kind
        super().__init__(3, 2, 2, width, blocks)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Clean a batch of pictures.

        Args:
            image: (N, 3, H, W), of any size; noise may reach out of [0, 1].

        Returns:
            (N, 3, H, W), float32, not clamped.
        """
        check_maps(image, "the picture", 3, self)
        return image.float() + self._residual(image - 0.5)


@network_kind
class InpaintingNet(_ResidualNet):
    """Inpainting: what is missing is drawn from what is around it; what is
    there stays as it is.

    Residual blocks at a quarter of the size whose first convolutions are dilated by 1,
    2, 4 and 8, so that a pixel in the middle of a hole sees its rim
    (Yu and Koltun 2016).

    Args:
        width: channels of the blocks.
        blocks: residual blocks.

    Raises:
        InputError: numbers below 1.

    Example:
        >>> image, mask = torch.rand(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
        >>> mask[..., 8:16, 8:16] = 1
        >>> output = InpaintingNet(width=8, blocks=1)(image, mask)
        >>> torch.equal(output * (1 - mask), image * (1 - mask))
        True

    Taught in chapter 7.
    """

    kind = "inpainting"
    factor = 1

    def __init__(self, width: int = 48, blocks: int = 6) -> None:
        super().__init__(4, 4, 4, width, blocks, (1, 2, 4, 8, 4, 2))

    def forward(
        self, image: torch.Tensor, mask: torch.Tensor, mean: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Fill the holes of a batch of pictures.

        Args:
            image: (N, 3, H, W) in [0, 1], of any size; its values in the holes
                are not looked at.
            mask: (N, 1, H, W), 1 where the picture is missing and 0 elsewhere.
            mean: (N, 3, 1, 1), the :meth:`known_mean` of the whole of which this is a
                part; its own if left out.

        Returns:
            (N, 3, H, W), float32, equal to the image where the mask is 0; not clamped.

        Raises:
            InputError: no pictures, or a mask of another shape.
        """
        check_maps(image, "the picture", 3)
        check_dense(mask, "the mask", floating=False)
        check_together(image, mask, "the picture and the mask")
        if mask.shape != (len(image), 1, *image.shape[2:]):
            raise InputError(
                f"a mask of shape {tuple(mask.shape)} was given for pictures of shape "
                f"{tuple(image.shape)}; give (N, 1, H, W), one for each"
            )
        image, mask = image.float(), mask.float()
        known = 1 - mask
        mean = self.known_mean(image, mask) if mean is None else mean
        filled = image * known + mean * mask
        drawn = mean + self._residual(torch.cat([filled - mean, mask], 1))
        return filled * known + drawn * mask

    @staticmethod
    def known_mean(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The mean colour outside the holes, (N, 3, 1, 1): all that the network takes
        from the picture as a whole.
        """
        known = 1 - mask
        return (image * known).sum((2, 3), keepdim=True) / known.sum(
            (2, 3), keepdim=True
        ).clamp(min=1)


def _check_size(width: int, blocks: int) -> None:
    if width < 1 or blocks < 1:
        raise InputError(
            f"width={width} and blocks={blocks} were given; give at least 1 of each"
        )


def _check_smallest(image: torch.Tensor, smallest: int) -> None:
    height, width = image.shape[-2:]
    if min(height, width) < smallest:
        raise InputError(
            f"the picture has {width}x{height} pixels, but the network needs at least "
            f"{smallest} along each side"
        )
