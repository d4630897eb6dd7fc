"""The discriminator: was a picture photographed or made?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ..errors import InputError, nearest
from ..fixed import autocast_off
from ..tensors import check_dense, check_maps
from .kinds import network_kind
from .stages import check_numbers


@network_kind
class Discriminator(nn.Module):
    """Says for each square of a picture whether it was photographed or made, knowing
    the code it was made from.

    Three 4x4 convolutions of stride 2, two 3x3 ones and a decision for each 8x8 pixels,
    which sees 54x54; the papers average to one decision a picture, which fits one size
    alone. The code enters before the last two. All convolutions are normalised by their
    largest singular value (Miyato et al. 2018), which keeps training stable on small
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

    Example:
        >>> discriminator = Discriminator(width=8)
        >>> discriminator(torch.rand(1, 3, 64, 48)).shape
        torch.Size([1, 1, 8, 6])
        >>> discriminator.features(torch.rand(1, 3, 64, 48), ["conv2"])["conv2"].shape
        torch.Size([1, 16, 16, 12])

    Taught in chapter 8.
    """

    kind = "discriminator"
    smallest = 8
    layer_names = ("conv1", "conv2", "conv3", "conv4")

    def __init__(
        self, code_channels: int = 0, width: int = 32, *, spectral: bool = True
    ) -> None:
        super().__init__()
        check_numbers("none", width=width)
        if code_channels < 0:
            raise InputError(f"code_channels={code_channels} was given; give 0 or more")
        self.config = {
            "kind": self.kind,
            "code_channels": code_channels,
            "width": width,
            "spectral": spectral,
        }
        self.card: dict = {}
        self.code_channels = code_channels

        def conv(*sizes: int) -> nn.Module:
            layer = nn.Conv2d(*sizes)
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
        check_dense(image, "the picture")
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
        check_maps(image, "the picture", 3, self)
        x = 2 * image - 1
        with contextlib.suppress(RuntimeError):  # torch.func.vmap knows no such order
            x = x.contiguous(memory_format=torch.channels_last)
        features = {}
        for name in self.layer_names:
            if name == "conv4" and self.code is not None:
                x = torch.cat([x, self._code_map(code, x)], 1)
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

    def _code_map(self, code: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
        """The code's features at the height and width of x."""
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
        features = F.leaky_relu(_convolved(self.code, code), 0.2)
        return F.interpolate(features, x.shape[-2:], mode="area").to(x.dtype)


def _convolved(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """A convolution whose weights are normalised in float32: autocast would take
    singular values in half precision.
    """
    with autocast_off(x.device.type):
        weight = layer.weight
    return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding)
