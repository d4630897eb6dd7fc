"""Image transformation networks: one forward pass for a style.

Symbols are the papers': the network f_W, the input image x, the output image y-hat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import InputError, nearest
from ..tensors import check_maps
from ._kernels import EPSILON, instance_norm, stack, stacked_conv, upsampled_conv
from .kinds import network_kind

NORMS, UPSAMPLINGS = ("instance", "batch"), ("resize", "transposed")
# pixels along a side: two reflections by stride-2 layers and the 9x9
# kernel must find room
SMALLEST = 16


def check_choice(name: str, value: str, known: Sequence[str]) -> None:
    """Refuse a word that is none of the known ones."""
    if value not in known:
        raise InputError(f"there is no {name} {value!r}; {nearest(value, known)}")


class _Norm(nn.Module):
    """Instance normalisation with a scale and a shift for each style, or
    batch normalisation.
    """

    def __init__(self, channels: int, norm: str, styles: int) -> None:
        super().__init__()
        self.batch = nn.BatchNorm2d(channels) if norm == "batch" else None
        if norm == "instance":
            shape = (styles, channels) if styles else (channels,)
            self.weight = nn.Parameter(torch.ones(shape))
            self.bias = nn.Parameter(torch.zeros(shape))

    def forward(
        self, x: torch.Tensor, style: torch.Tensor | None, relu: bool = False
    ) -> torch.Tensor:
        if self.batch is not None:
            x = self.batch(x)
            return F.relu(x) if relu else x
        if self.weight.ndim == 1:
            scale, shift = self.weight[None], self.bias[None]
        else:
            style = style.float()
            scale, shift = style @ self.weight.float(), style @ self.bias.float()
        if x.device.type == "cpu":
            return instance_norm(x, scale, shift, relu)
        # a group for each channel is instance normalisation
        x = F.group_norm(x, x.shape[1], eps=EPSILON)
        x = torch.addcmul(shift[..., None, None], x, scale[..., None, None]).to(x.dtype)
        return F.relu(x) if relu else x


class ConvLayer(nn.Module):
    """A convolution with reflected borders, at stride 1 or 2, or after (or with)
    an upsampling by 2.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        upsampling: str = "",
        norm: str = "",
        styles: int = 0,
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.kernel, self.upsampling, self.relu = kernel, upsampling, relu
        if upsampling == "transposed":
            self.conv: nn.Module = nn.ConvTranspose2d(
                inputs, outputs, kernel, 2, 1, output_padding=1
            )
        else:
            self.conv = nn.Conv2d(inputs, outputs, kernel, stride)
        self.norm = _Norm(outputs, norm, styles) if norm else None

    def forward(
        self, x: torch.Tensor, style: torch.Tensor | None = None, stacked: bool = False
    ) -> torch.Tensor:
        """``stacked``: the 2x2 pixels of a square lie together in the result, as
        ``stacked_conv`` wants them.
        """
        if self.upsampling == "resize":
            x = upsampled_conv(x, self.conv.weight, self.conv.bias, stacked)
        elif self.upsampling:  # one reflected position more on each side, cut off again
            x = self.conv(_reflect(x, 1))[..., 2:-2, 2:-2]
            x = stack(x) if stacked else x
        elif stacked:
            x = stacked_conv(x, self.conv.weight, self.conv.bias)
        else:
            x = self.conv(_reflect(x, self.kernel // 2))
        if self.norm is not None:
            return self.norm(x, style, self.relu)
        return F.relu(x) if self.relu else x


class ResidualBlock(nn.Module):
    """Residual block: two 3x3 convolutions added to their input, without a ReLU after
    the sum (Gross and Wilber 2016).
    """

    def __init__(self, channels: int, norm: str, styles: int) -> None:
        super().__init__()
        self.one = ConvLayer(channels, channels, 3, norm=norm, styles=styles)
        self.two = ConvLayer(
            channels, channels, 3, norm=norm, styles=styles, relu=False
        )

    def forward(
        self, x: torch.Tensor, style: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Maps (N, C, H, W) and the shares of the styles (N, S); the result has the
        shape of the maps.
        """
        return x + self.two(self.one(x, style), style)


def _without_noise(x: torch.Tensor, style: torch.Tensor | None) -> torch.Tensor:
    return x


class Noise(nn.Module):
    """One map of noise times a learned strength for each channel, and for each style.

    A network that is given a photograph alone must repeat itself where the photograph
    is even (Ulyanov et al. 2016, section 4.1; Karras et al. 2019, section 3.2).
    Training draws new noise in every pass; in eval mode it comes from ``seed``, so that
    a print can be repeated.
    """

    def __init__(
        self, channels: int, styles: int = 0, *, strength: float = 0.1, number: int = 0
    ) -> None:
        super().__init__()
        shape = (styles, channels) if styles else (channels,)
        self.strength = nn.Parameter(torch.full(shape, strength))
        self.seed, self.number = 0, number

    def forward(
        self, x: torch.Tensor, style: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Features (N, C, H, W) with noise; shares of the styles (N, S) where
        there are several.
        """
        height, width = x.shape[-2:]
        if self.training:
            noise = torch.randn(len(x), 1, height, width, device=x.device)
        else:
            generator = torch.Generator().manual_seed(1000 * self.seed + self.number)
            noise = torch.randn(1, 1, height, width, generator=generator).to(x.device)
        strength = self.strength.float()
        strength = strength[None] if style is None else style.float() @ strength
        return x + (strength[..., None, None] * noise).to(x.dtype)


def _reflect(x: torch.Tensor, by: int) -> torch.Tensor:
    return F.pad(x, (by, by, by, by), mode="reflect")


@network_kind
class TransformNet(nn.Module):
    """Image transformation network f_W: one forward pass does what an optimisation does
    in hundreds of steps.

    A 9x9 convolution, two convolutions of stride 2, residual blocks at a quarter of the
    size, two upsamplings by 2 and a 9x9 convolution; normalisation and ReLU after all
    but the last, whose tanh is scaled to [0, 1]. Every convolution sees reflected
    borders; a height or width that is no multiple of 4 is reflected up to one and cut
    off again, so that the output is as large as the input. In eval mode ``margin``
    pixels more are reflected on each side and cut off again
    (8; the authors' code has 40): a frame that the network has learned falls there.

    Args:
        width: channels after the first layer:
            (width, 2 width, 4 width). 32 in the paper.
        blocks: residual blocks, 5 in the paper.
        norm: ``"instance"``, as in the authors' released models: each picture's own
            contrast is removed, which a style dictates anyway (Ulyanov et al. 2016);
            ``"batch"``, as in the paper: statistics of the training pictures, so that
            the output of one picture does not depend on its other parts.
        upsampling: ``"resize"``, nearest neighbours and a convolution, which cannot
            draw a checkerboard by overlapping unevenly (Odena et al. 2016);
            ``"transposed"``, the fractionally strided convolution of the paper, with a
            quarter of the arithmetic.
        styles: names of the styles of a conditional network: a scale and a shift in
            every normalisation for each of them (conditional instance normalisation,
            Dumoulin et al. 2017, equation 5); none for a network of one style.
        noise: noise before each block and each upsampling, see :class:`Noise`.

    Raises:
        InputError: an unknown norm or upsampling, numbers below 1, or styles with
            batch normalisation.

    With the defaults it has 1,679,235 parameters. Source: Johnson et al. (2016),
    section 3.1 and the supplementary material, table 1.

    Example:
        >>> network = TransformNet(styles=("waves", "dots")).eval()
        >>> image, blend = torch.rand(1, 3, 32, 32), torch.tensor([[0.7, 0.3]])
        >>> network(image, blend).shape  # seven parts waves, three parts dots
        torch.Size([1, 3, 32, 32])

    Taught in chapter 5.
    """

    kind = "transform"
    smallest = SMALLEST

    def __init__(
        self,
        width: int = 32,
        blocks: int = 5,
        *,
        norm: str = "instance",
        upsampling: str = "resize",
        styles: Sequence[str] = (),
        noise: bool = False,
    ) -> None:
        super().__init__()
        check_choice("norm", norm, NORMS)
        check_choice("upsampling", upsampling, UPSAMPLINGS)
        if width < 1 or blocks < 1:
            raise InputError(
                f"width={width} and blocks={blocks} were given; give at least 1 of each"
            )
        if styles and norm != "instance":
            raise InputError(
                f"{len(styles)} styles were given with norm={norm!r}; give "
                "norm='instance': a style is its scale and shift"
            )
        self.config = {
            "kind": self.kind,
            "width": width,
            "blocks": blocks,
            "norm": norm,
            "upsampling": upsampling,
            "styles": list(styles),
        }
        if noise:
            self.config["noise"] = True
        self.style_names = tuple(styles)
        self.chosen: str | Mapping[str, float] | None = None  # if no style is given
        self.card: dict = {}
        self.margin = 8  # at most SMALLEST less 4
        layout = {"norm": norm, "styles": len(styles)}
        self.down = nn.ModuleList(self._downward(width, layout))
        self.blocks = nn.ModuleList(
            ResidualBlock(4 * width, norm, len(styles)) for _ in range(blocks)
        )
        self.up = nn.ModuleList(
            ConvLayer(
                inputs * width, outputs * width, 3, upsampling=upsampling, **layout
            )
            for inputs, outputs in ((4, 2), (2, 1))
        )
        # before each block and each upsampling
        channels = [4 * width] * (blocks + 1) + [2 * width]
        self.noise = nn.ModuleList(
            Noise(count, len(styles), number=number)
            for number, count in enumerate(channels if noise else ())
        )
        self.last = ConvLayer(width, 3, self._last_kernel, relu=False)
        self.to(memory_format=torch.channels_last)

    _last_kernel = 9

    def _downward(self, width: int, layout: dict) -> list[nn.Module]:
        return [
            ConvLayer(3, width, 9, **layout),
            ConvLayer(width, 2 * width, 3, 2, **layout),
            ConvLayer(2 * width, 4 * width, 3, 2, **layout),
        ]

    def _enter(self, image: torch.Tensor) -> torch.Tensor:
        return (2 * image - 1).contiguous(memory_format=torch.channels_last)

    def forward(
        self, image: torch.Tensor, style: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Transform a batch of pictures.

        Args:
            image: (N, 3, H, W) in [0, 1], any height and width from 16 pixels on.
            style: of a conditional network: the index of the style of each picture,
                (N,) int64, or the share of every style, (N, S) or (1, S) float with
                rows that sum to 1, such as :meth:`blend` gives.

        Returns:
            (N, 3, H, W), float32, in (0, 1).

        Raises:
            InputError: a picture smaller than 16 pixels, a missing style, or one that
                the network has not.
        """
        check_maps(image, "the picture", 3, self)
        height, width = image.shape[-2:]
        if min(height, width) < SMALLEST:
            raise InputError(
                f"the picture has {width}x{height} pixels, but the network needs at "
                f"least {SMALLEST} along each side"
            )
        style = self._shares(style, len(image))
        # Trained networks like to draw where they feel a border, such as the frame of a
        # print: it is kept outside.
        margin = 0 if self.training else self.margin
        around = (margin, margin + -width % 4, margin, margin + -height % 4)
        image = F.pad(image, around, mode="reflect") if any(around) else image
        x = self._downscaled(image, style)
        noise = [*self.noise] or [_without_noise] * (len(self.blocks) + 2)
        for layer, disturb in zip((*self.blocks, self.up[0]), noise[:-1], strict=True):
            x = layer(disturb(x, style), style)
        x = self.up[1](noise[-1](x, style), style, stacked=True)
        # float32 from here on; half a bfloat16 step before the tanh moves the output by
        # 0.1 of 255 at most
        x = (self.last(x, stacked=True).float().tanh() + 1) / 2
        return x[..., margin : margin + height, margin : margin + width]

    def _downscaled(
        self, image: torch.Tensor, style: torch.Tensor | None
    ) -> torch.Tensor:
        """Through the layers before the blocks. Without gradients, for a picture to be
        looked at, they stay in float32.

        Near white a step of bfloat16 is half a step of 8 bits; what is even in the
        picture and small after the first normalisation would show it. They are a tenth
        of the arithmetic.
        """
        kind = image.device.type
        mixed = torch.is_autocast_enabled(kind)
        with torch.autocast(kind, enabled=mixed and torch.is_grad_enabled()):
            x = self._enter(image)
            for layer in self.down:
                x = layer(x, style)
        return x.to(torch.get_autocast_dtype(kind)) if mixed else x

    def blend(self, styles: str | Mapping[str, float]) -> torch.Tensor:
        """Shares of the styles by name, (1, S): ``blend("great_wave")``,
        ``blend({"poppies": 3, "great_wave": 1})``.

        Raises:
            InputError: a style that the network has not, negative weights, or
                weights that are all 0.
        """
        weights = {styles: 1.0} if isinstance(styles, str) else dict(styles)
        for name in weights:
            if name not in self.style_names:
                raise InputError(
                    f"the network has no style {name!r}; "
                    f"{nearest(name, self.style_names)}"
                )
        total = sum(weights.values())
        if not weights or min(weights.values()) < 0 or not 0 < total < float("inf"):
            raise InputError(
                f"the weights {weights} were given; give numbers of at least "
                "0, not all of them 0"
            )
        shares = [weights.get(name, 0) / total for name in self.style_names]
        return torch.tensor([shares], device=self.last.conv.weight.device)

    def only(self, styles: str | Mapping[str, float]) -> TransformNet:
        """The plain network of one style, or of one blend: what is a table here has
        the one row in it that :meth:`blend` would mix.

        It makes the same prints (those of one style to the bit), and takes no style:
        for runtimes and files that have no place for one.

        Raises:
            InputError: as :meth:`blend`.

        Example:
            >>> network = FastTransformNet(styles=("waves", "dots")).eval()
            >>> alone, image = network.only("dots"), torch.rand(1, 3, 32, 32)
            >>> torch.equal(alone(image), network(image, network.blend("dots")))
            True
        """
        shares = self.blend(styles)
        known = dict(self.config, styles=[])
        known.pop("kind")
        with shares.device:
            alone = type(self)(**known)
        own = self.state_dict()
        for name, tensor in own.items():
            if tensor.ndim == 2:  # a row for each style
                own[name] = (shares @ tensor.float())[0]
        alone.load_state_dict(own)
        named = (
            [styles] if isinstance(styles, str) else [n for n, w in styles.items() if w]
        )
        alone.margin, alone.card = self.margin, {**self.card, "styles": named}
        for one, other in zip(alone.noise, self.noise, strict=True):
            one.seed = other.seed
        alone.to(self.last.conv.weight.dtype).train(self.training)
        return alone.requires_grad_(self.last.conv.weight.requires_grad)

    def _shares(self, style: torch.Tensor | None, count: int) -> torch.Tensor | None:
        """The style as shares (N, S), or None for a network without styles. Shapes
        only: no look at the values.
        """
        names = len(self.style_names)
        if not names:
            if style is not None:
                raise InputError(
                    "a style was given to a network without styles; leave it out"
                )
            return None
        if style is None and self.chosen is not None:
            style = self.blend(self.chosen)
        if style is None:
            raise InputError(
                f"the network has {names} styles and none was chosen; give "
                f"network.blend({self.style_names[0]!r})"
            )
        if not style.is_floating_point():
            style = F.one_hot(style.long(), names).float()
        if style.ndim != 2 or style.shape[1] != names or len(style) not in (1, count):
            raise InputError(
                f"a style of shape {tuple(style.shape)} was given for {count} "
                f"pictures; give indices ({count},), or shares ({count}, {names})"
            )
        return style


@network_kind
class FastTransformNet(TransformNet):
    """The fast variant of :class:`TransformNet`: half the width, and no 9x9
    kernels at full size.

    The picture enters as 2x2 squares stacked into 12 channels at half the size, and the
    last kernel is 3x3. With width 16 it has a quarter of the parameters and costs a
    small fraction of the arithmetic of the full network.

    Args, shapes and errors are those of :class:`TransformNet`.

    Example:
        >>> network = FastTransformNet().eval()
        >>> network(torch.rand(1, 3, 32, 48)).shape
        torch.Size([1, 3, 32, 48])
        >>> sum(parameter.numel() for parameter in network.parameters())
        416355

    Taught in chapter 5.
    """

    kind = "fast"
    _last_kernel = 3

    def __init__(
        self,
        width: int = 16,
        blocks: int = 5,
        *,
        norm: str = "instance",
        upsampling: str = "resize",
        styles: Sequence[str] = (),
        noise: bool = False,
    ) -> None:
        super().__init__(
            width, blocks, norm=norm, upsampling=upsampling, styles=styles, noise=noise
        )

    def _downward(self, width: int, layout: dict) -> list[nn.Module]:
        return [
            ConvLayer(12, 2 * width, 3, **layout),
            ConvLayer(2 * width, 4 * width, 3, 2, **layout),
        ]

    def _enter(self, image: torch.Tensor) -> torch.Tensor:
        return F.pixel_unshuffle(2 * image - 1, 2).contiguous(
            memory_format=torch.channels_last
        )
