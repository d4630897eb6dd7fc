"""Networks that draw from a code, and the discriminator that judges them.

Symbols are the papers': the generator G, the discriminator D, the code C(y) of a
picture y, the latent vector z.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

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
        _check(norm, width=width)
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
        _check(norm, width=width, channels=channels)
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
        _check(norm, width=width, latent=latent)
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
        _check("none", width=width, blocks=blocks)
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


@network_kind
class Discriminator(nn.Module):
    """Says for each square of a picture whether it was photographed or made, knowing
    the code it was made from.

    Three 4x4 convolutions of stride 2, two 3x3 ones and a decision for each 8x8 pixels,
    which sees 54x54; the papers average to one decision a picture, which fits one size
    alone. The code enters before the last two. All convolutions are normalised by their
    largest singular value (Miyato et al. 2018), which keeps the game stable on small
    data; ``spectral=False`` leaves that out, as in the papers, which are older.

    Args:
        code_channels: channels of the code that it is told; 0 for none.
        width: channels of the first convolution; 2 and 4 times as many after it.
        spectral: spectral normalisation.

    Raises:
        InputError: numbers that make no sense.

    Source: Dosovitskiy and Brox (2016), Generating Images with Perceptual Similarity
    Metrics, section 3.2; decisions by square after Isola et al. (2017), section 3.2.2;
    its hidden layers as a metric, Larsen et al. (2016), section 2.2.

    Taught in chapter 8.
    """

    kind = "discriminator"
    smallest = 8
    layer_names = ("conv1", "conv2", "conv3", "conv4")

    def __init__(
        self, code_channels: int = 0, width: int = 32, *, spectral: bool = True
    ) -> None:
        super().__init__()
        _check("none", width=width)
        if code_channels < 0:
            raise InputError(f"code_channels={code_channels} was given; give 0 or more")
        self.config = {
            **{"kind": self.kind, "code_channels": code_channels, "width": width},
            "spectral": spectral,
        }
        self.card: dict = {}
        self.code_channels = code_channels

        def conv(*how) -> nn.Module:
            layer = nn.Conv2d(*how)
            return spectral_norm(layer) if spectral else layer

        self.conv1 = conv(3, width, 4, 2, 1)
        self.conv2 = conv(width, 2 * width, 4, 2, 1)
        self.conv3 = conv(2 * width, 4 * width, 4, 2, 1)
        self.code = conv(code_channels, 2 * width, 1) if code_channels else None
        self.conv4 = conv((6 if code_channels else 4) * width, 4 * width, 3, 1, 1)
        self.last = conv(4 * width, 1, 3, 1, 1)
        self.to(memory_format=torch.channels_last)

    def forward(
        self, image: torch.Tensor, code: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits (N, 1, H / 8, W / 8), float32: above 0 it takes a
        square for a photograph.

        Args:
            image: (N, 3, H, W) in [0, 1], at least 8 pixels along each side.
            code: (N, code_channels, h, w) of any height and width, scaled to values
                about 1; None without.

        Raises:
            InputError: a code that is missing, not asked for, or of another shape.
        """
        return self._run(image, code, ())[1]

    def features(
        self, image: torch.Tensor, layers: Iterable[str]
    ) -> dict[str, torch.Tensor]:
        """Hidden activations at ``conv1``, ``conv2`` or ``conv3``, as
        :class:`LossNetwork` gives those of VGG-16.

        Args:
            image: (N, 3, H, W) in [0, 1].
            layers: names; ``conv4`` too where no code is asked for.

        Raises:
            InputError: an unknown layer, or one that needs the code.
        """
        layers = tuple(layers)
        self.check_layers(layers)
        return self._run(image, None, layers)[0]

    def check_layers(self, layers: Iterable[str]) -> None:
        """Refuse unknown hidden layers, and those that need the code."""
        known = self.layer_names if self.code is None else self.layer_names[:3]
        for layer in layers:
            if layer not in known:
                raise InputError(
                    f"the discriminator has no hidden layer {layer!r}; "
                    f"{nearest(layer, known)}"
                )

    def _run(
        self, image: torch.Tensor, code: torch.Tensor | None, layers: tuple[str, ...]
    ):
        if (
            image.ndim != 4
            or image.shape[1] != 3
            or min(image.shape[-2:]) < self.smallest
        ):
            raise InputError(
                f"pictures of shape {tuple(image.shape)} were given to the "
                f"discriminator; give (N, 3, H, W) of at least {self.smallest} "
                "pixels along each side"
            )
        x = (2 * image - 1).contiguous(memory_format=torch.channels_last)
        features = {}
        for name in self.layer_names:
            if name == "conv4" and self.code is not None:
                x = torch.cat([x, self._told(code, x)], 1)
            elif name == "conv4" and code is not None:
                raise InputError(
                    "a code was given to a discriminator that is "
                    "told none; leave it out"
                )
            x = F.leaky_relu(_convolved(getattr(self, name), x), 0.2)
            if name in layers:
                features[name] = x
                if len(features) == len(set(layers)):
                    return {name: features[name] for name in layers}, None
        return features, _convolved(self.last, x).float()

    def _told(self, code: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
        if (
            code is None
            or code.ndim != 4
            or code.shape[1] != self.code_channels
            or len(code) != len(x)
        ):
            raise InputError(
                f"a code of shape {None if code is None else tuple(code.shape)} "
                f"was given to the discriminator; give ({len(x)}, "
                f"{self.code_channels}, h, w)"
            )
        told = F.leaky_relu(_convolved(self.code, code), 0.2)
        return F.interpolate(told, x.shape[-2:], mode="area").to(x.dtype)


def _convolved(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """A convolution whose weights are normalised in float32: autocast would take
    singular values in half precision.
    """
    with torch.autocast(x.device.type, enabled=False):
        weight = layer.weight
    return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding)


def _check(norm: str, **numbers: int) -> None:
    if norm not in NORMS:
        raise InputError(f"there is no norm {norm!r}; {nearest(norm, NORMS)}")
    for name, value in numbers.items():
        if value < 1:
            raise InputError(f"{name}={value} was given; give at least 1")
