"""The variational autoencoder, with a learned encoder or with VGG-16.

Symbols are the papers': a picture x, the latent vector z, the posterior q(z | x).
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
    check_numbers,
    doubling_stages,
    halving_stages,
    scaled_tanh,
)


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

    Example:
        >>> network = VAE(width=4, latent=8, size=32)
        >>> mean, log_variance = network.encode(torch.rand(2, 3, 32, 32))
        >>> mean.shape, network.decode(mean).shape
        (torch.Size([2, 8]), torch.Size([2, 3, 32, 32]))

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
            "kind": self.kind,
            "width": width,
            "latent": latent,
            "size": size,
            "encoder": encoder,
            "norm": norm,
        }
        self.card: dict = {}
        self.smallest = self.size = size
        self.latent, self.fixed = latent, encoder != "learned"
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
            self.encoder = halving_stages([3, *widths], norm, widths[-1])
        self.code = nn.Linear(4 * width * halved**2, 2 * latent)
        self.first = nn.Linear(latent, widths[-1] * self.grid**2)
        self.up = doubling_stages([*widths[::-1], width // 2 or 1], norm)
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
        check_maps(given, "the input", None, None if self.fixed else self)
        if given.ndim != 4 or given.shape[1:] != (channels, side, side):
            kind = f"codes of {self.config['encoder']}" if self.fixed else "pictures"
            raise InputError(
                f"{kind} of shape {tuple(given.shape)} were given; give (N, "
                f"{channels}, {side}, {side})"
            )
        if self.fixed:
            x = given.float() / self.scale.view(1, -1, 1, 1)
        else:
            x = 2 * given - 1
        x = self.encoder(x.contiguous(memory_format=torch.channels_last))
        code = self.code(F.leaky_relu(x, SLOPE).flatten(1)).float()
        mean, log_variance = code.chunk(2, 1)
        return mean, log_variance.clamp(-12, 6)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Pictures (N, 3, size, size) in (0, 1), float32, of latent
        vectors (N, latent).

        Raises:
            InputError: vectors of another length.
        """
        check_dense(z, "the latent vector")
        if z.ndim != 2 or z.shape[1] != self.latent:
            raise InputError(
                f"latent vectors of shape {tuple(z.shape)} were given; "
                f"give (N, {self.latent})"
            )
        x = F.leaky_relu(self.first(z), SLOPE).unflatten(1, (-1, self.grid, self.grid))
        return scaled_tanh(self.up(x.contiguous(memory_format=torch.channels_last)))

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
        result = self.decode(z), mean, log_variance
        if prior is None:
            return result
        return *result, self.decode(torch.cat([z.detach(), prior]))

    def sample(self, count: int, seed: int = 0) -> torch.Tensor:
        """Pictures (count, 3, size, size) of latent vectors drawn from the prior, a
        standard normal distribution.
        """
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(count, self.latent, generator=generator)
        with torch.no_grad():
            return self.decode(z.to(self.first.weight.device))
