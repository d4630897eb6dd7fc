"""Networks that draw from a code.

Symbols are the papers': the generator G, the code C(y) of a
picture y, the latent vector z.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ..color import brightness_of, from_chroma
from ..errors import InputError, nearest
from ..vgg import RELU_LAYERS
from ._kernels import upsampled_conv
from .kinds import network_kind

SLOPE = 0.3  # of the leaky ReLUs, as in both papers of Dosovitskiy and Brox
NORMS = ("none", "batch")
POOLED_LAYERS = tuple(f"pool{stage}" for stage in range(1, 6))
_CHANNELS = (64, 128, 256, 512, 512)  # of the five stages of VGG-16


def code_shape(layer: str) -> tuple[int, int]:
    """Channels of a VGG-16 code and how many pixels of the picture lie
    between its positions.

    Args:
        layer: a name such as ``"relu4_3"``, or ``"pool4"``, the 2x2 maxima of the
            last layer of stage 4.

    Raises:
        InputError: there is no such layer (with the nearest name).

    Example:
        >>> code_shape("relu3_3"), code_shape("pool5")  # channels and stride
        ((256, 4), (512, 32))

    Taught in chapter 8.
    """
    if layer not in (*RELU_LAYERS, *POOLED_LAYERS):
        raise InputError(
            f"there is no code {layer!r}; "
            f"{nearest(layer, (*RELU_LAYERS, *POOLED_LAYERS))}"
        )
    stage = int(layer[4])
    return _CHANNELS[stage - 1], 2**stage if layer.startswith("pool") else 2 ** (
        stage - 1
    )


class _Conv(nn.Module):
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
        x = (
            upsampled_conv(x, self.conv.weight, self.conv.bias)
            if self.up
            else self.conv(x)
        )
        x = x if self.norm is None else self.norm(x)
        return F.leaky_relu(x, SLOPE)


def _widths(width: int, stride: int) -> list[int]:
    """Channels from a code's resolution up to full size: more where a position
    stands for more pixels.
    """
    shares = {1: 1, 2: 2, 4: 4, 8: 7, 16: 8, 32: 8}
    scale, widths = stride, []
    while scale >= 1:
        widths.append(width * shares[scale])
        scale //= 2
    return widths


def _upwards(widths: Sequence[int], norm: str = "none") -> nn.Sequential:
    """One upsampling after the other, then the picture, whose tanh is scaled to [0, 1]
    by whoever calls it.
    """
    last = nn.Conv2d(widths[-1], 3, 3, padding=1, padding_mode="replicate")
    with torch.no_grad():
        last.weight.mul_(0.3)
        last.bias.zero_()
    ups = [
        _Conv(a, b, up=True, norm=norm)
        for a, b in zip(widths, widths[1:], strict=False)
    ]
    return nn.Sequential(*ups, last)


def _picture(x: torch.Tensor) -> torch.Tensor:
    return (x.float().tanh() + 1) / 2


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
        widths = _widths(width, stride)
        self.first = nn.Conv2d(channels, widths[0], 1)
        self.blocks = nn.ModuleList(
            _Conv(widths[0], widths[0], norm=norm) for _ in range(blocks)
        )
        self.up = _upwards(widths, norm)
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
        if code.ndim != 4 or code.shape[1] != self.channels:
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
        return _picture(self.up(x))


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
        self.encoder = _downwards([3, width, 2 * width, 3 * width], norm, channels)
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
        height, width = image.shape[-2:]
        image = F.pad(image, (0, -width % 8, 0, -height % 8), mode="replicate")
        return self.encoder(
            (2 * image - 1).contiguous(memory_format=torch.channels_last)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Pictures (N, 3, H, W) in [0, 1] through the code and back; the same shape,
        float32, in (0, 1).
        """
        height, width = image.shape[-2:]
        return self.generator(self.encode(image))[..., :height, :width]


def _downwards(widths: Sequence[int], norm: str, outputs: int) -> nn.Sequential:
    """4x4 convolutions of stride 2 with leaky ReLUs, and a 3x3
    convolution to the outputs.
    """
    layers: list[nn.Module] = []
    for inputs, channels in zip(widths, widths[1:], strict=False):
        conv = nn.Conv2d(inputs, channels, 4, 2, 1)
        nn.init.kaiming_normal_(conv.weight, SLOPE)
        layers += [
            conv,
            *([nn.BatchNorm2d(channels)] if norm == "batch" else []),
            nn.LeakyReLU(SLOPE),
        ]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], outputs, 3, padding=1))


@network_kind
class VAE(nn.Module):
    """Variational autoencoder for pictures of one size: q(z | x) is a Gaussian of
    ``latent`` independent numbers.

    The encoder is learned, four convolutions of stride 2, or fixed: then it is a layer
    of VGG-16, of which a convolution of stride 2 and a linear layer learn to predict
    mean and deviation alone, as in the modified VAE of Dosovitskiy and Brox. The
    decoder is the same.

    Args:
        width: channels of the first convolution; (1, 2, 3, 4) times
            as many in the four.
        latent: numbers in z.
        size: height and width of the pictures, a multiple of 16.
        encoder: ``"learned"``, or a layer such as ``"relu3_3"``, whose code is given in
            the place of the picture.
        norm: ``"none"`` or ``"batch"``.

    Raises:
        InputError: an unknown layer or norm, or numbers that make no sense.

    Source: Kingma and Welling (2014), sections 2.3 and 3; Dosovitskiy and Brox
    (2016), section 3.3.

    Taught in chapter 9.
    """

    kind = "vae"

    def __init__(
        self,
        width: int = 24,
        latent: int = 48,
        *,
        size: int = 64,
        encoder: str = "learned",
        norm: str = "none",
    ) -> None:
        super().__init__()
        check_numbers(norm, width=width, latent=latent)
        if size < 16 or size % 16:
            raise InputError(
                f"pictures of {size} pixels were asked for; give a multiple of 16"
            )
        self.config = {
            **{"kind": self.kind, "width": width, "latent": latent, "size": size},
            **{"encoder": encoder, "norm": norm},
        }
        self.card: dict = {}
        self.smallest, self.size, self.latent, self.fixed = (
            size,
            size,
            latent,
            encoder != "learned",
        )
        self.grid = size // 16
        widths = [width, 2 * width, 3 * width, 4 * width]
        if self.fixed:
            channels, stride = code_shape(encoder)
            self.register_buffer("scale", torch.ones(channels))
            self.given = (channels, size // stride)
            if not self.given[1]:
                raise InputError(
                    f"pictures of {size} pixels have no {encoder}; "
                    f"give at least {stride}"
                )
            halved = -(-self.given[1] // 2)
            self.encoder: nn.Module = nn.Sequential(
                nn.Conv2d(channels, 2 * width, 1),
                nn.LeakyReLU(SLOPE),
                nn.Conv2d(2 * width, 4 * width, 3, 2, 1),
                nn.LeakyReLU(SLOPE),
            )
        else:
            self.given, halved = (3, size), self.grid
            self.encoder = _downwards([3, *widths], norm, widths[-1])
        self.code = nn.Linear(4 * width * halved**2, 2 * latent)
        self.first = nn.Linear(latent, widths[-1] * self.grid**2)
        self.up = _upwards([*widths[::-1], width // 2 or 1], norm)
        self.to(memory_format=torch.channels_last)

    def encode(self, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance of q(z | x), each (N, latent), float32.

        Args:
            given: pictures (N, 3, size, size) in [0, 1], or the codes of
                the fixed encoder.

        Raises:
            InputError: another shape.
        """
        channels, side = self.given
        if given.ndim != 4 or given.shape[1:] != (channels, side, side):
            what = f"codes of {self.config['encoder']}" if self.fixed else "pictures"
            raise InputError(
                f"{what} of shape {tuple(given.shape)} were given; give (N, "
                f"{channels}, {side}, {side})"
            )
        x = (
            given.float() / self.scale.view(1, -1, 1, 1)
            if self.fixed
            else 2 * given - 1
        )
        x = self.encoder(x.contiguous(memory_format=torch.channels_last))
        mean, log_variance = (
            self.code(F.leaky_relu(x, SLOPE).flatten(1)).float().chunk(2, 1)
        )
        return mean, log_variance.clamp(-12, 6)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Pictures (N, 3, size, size) in (0, 1), float32, of latent
        vectors (N, latent).

        Raises:
            InputError: vectors of another length.
        """
        if z.ndim != 2 or z.shape[1] != self.latent:
            raise InputError(
                f"latent vectors of shape {tuple(z.shape)} were given; "
                f"give (N, {self.latent})"
            )
        x = F.leaky_relu(self.first(z), SLOPE).unflatten(1, (-1, self.grid, self.grid))
        return _picture(self.up(x.contiguous(memory_format=torch.channels_last)))

    def forward(
        self,
        given: torch.Tensor,
        noise: torch.Tensor | None = None,
        prior: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """Reconstructions, means and log-variances.

        Args:
            given: see :meth:`encode`.
            noise: (N, latent) of a standard normal distribution, scaled and added to
                the mean; the mean alone is decoded without it.
            prior: latent vectors (M, latent) for samples: a fourth result is N + M
                pictures for a discriminator, reconstructions and samples, from which no
                gradient reaches the encoder (Larsen et al. 2016, section 2.3).
        """
        mean, log_variance = self.encode(given)
        z = mean if noise is None else mean + (log_variance / 2).exp() * noise
        found = self.decode(z), mean, log_variance
        return (
            found
            if prior is None
            else (*found, self.decode(torch.cat([z.detach(), prior])))
        )

    def sample(self, count: int, seed: int = 0) -> torch.Tensor:
        """Pictures (count, 3, size, size) of latent vectors drawn from the prior, a
        standard normal distribution.
        """
        device = self.first.weight.device
        z = torch.randn(
            count, self.latent, generator=torch.Generator().manual_seed(seed)
        ).to(device)
        with torch.no_grad():
            return self.decode(z)


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
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(widths, widths[1:], strict=False)
        )
        self.middle = nn.ModuleList(
            _Conv(widths[-1], widths[-1]) for _ in range(blocks)
        )
        self.up = nn.ModuleList(
            [
                _Conv(3 * width, 2 * width, up=True),
                _Conv(4 * width, width, up=True),
                _Conv(2 * width, width, up=True),
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
        x, on_the_way = x.contiguous(memory_format=torch.channels_last), []
        for layer in self.down:
            x = F.leaky_relu(layer(x), SLOPE)
            on_the_way.append(x)
        for layer in self.middle:
            x = x + layer(x)
        for layer, skip in zip(
            self.up, (on_the_way[1], on_the_way[0], None), strict=True
        ):
            x = layer(x)
            x = x if skip is None else torch.cat([x, skip], 1)
        chroma = 0.5 * self.last(x).float().tanh()[..., :height, :width]
        return from_chroma(brightness, chroma)


def check_numbers(norm: str, **numbers: int) -> None:
    """Refuse an unknown norm, and numbers below 1."""
    if norm not in NORMS:
        raise InputError(f"there is no norm {norm!r}; {nearest(norm, NORMS)}")
    for name, value in numbers.items():
        if value < 1:
            raise InputError(f"{name}={value} was given; give at least 1")
