"""Deblurring: what is taken away is sharpness; a camera moved, or its
lens was out of focus.

Half of the crops are blurred by a motion of 3 to 15 pixels in any direction,
slightly curved, the others by a disc of radius 0.5 to 4 pixels; then there is noise
of a standard deviation of 0 to 4, on the 0-255 scale, without which the blur could
simply be inverted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..bounds import setting
from ..deferred import deferred_imports
from ..register import TaskSpec, register
from .restoration import (
    RestorationTask,
    RestorationTrainingSettings,
    restoration_card,
    restored,
    restoring,
)

with deferred_imports():
    import numpy
    import torch
    from torch import nn

    from ..degradations import add_noise, blur_with, defocus_kernel, motion_kernel
    from ..networks import DenoisingNet
    from ..seeds import seed_of

LIMITS = (
    "motion up to 15 pixels and discs up to 4 pixels of radius, the same all over the "
    "picture; what moves before a background that stays, and JPEG files, suffer"
)
LENGTHS = (3.0, 15.0)  # of the motion, in pixels
BEND = 0.15  # how far the motion leaves its chord at most, as a share of its length
RADII = (0.5, 4.0)  # of the disc, in pixels
KERNEL = 21  # side of all kernels, in pixels


@dataclass(frozen=True)
class DeblurringSettings(RestorationTrainingSettings):
    """Training of deblurring, blind in the blur: each crop has its
    own kernel and noise.

    Example:
        >>> settings = DeblurringSettings(steps=100, motion=1.0)
        >>> settings.motion, settings.sigma, settings.blocks
        (1.0, (0.0, 4.0), 6)
        >>> DeblurringSettings(motion=2)
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: motion=2 was given; give at most 1

    Taught in chapter 7.
    """

    blocks: int = setting(6, "Residual blocks.", least=1, most=1000)
    motion: float = setting(
        0.5, "Share of motion; the other crops are out of focus.", least=0, most=1
    )
    sigma: tuple[float, ...] = setting(
        (0.0, 4.0),
        "Range of the noise's standard deviation, on the 0-255 scale.",
        count=2,
        least=0,
        growing=True,
        example="0,4",
    )


def deblurring_net(width: int = 48, blocks: int = 6) -> DenoisingNet:
    """The denoiser's network, residual blocks at half the size, under its own kind."""
    return DenoisingNet(width, blocks, kind="deblurring")


def random_kernel(seed: int, motion: float = 0.5) -> torch.Tensor:
    """A kernel (21, 21) of motion, with this probability, or of defocus."""
    random = numpy.random.default_rng(seed)
    if random.random() >= motion:
        return defocus_kernel(random.uniform(*RADII), KERNEL)
    length, angle = random.uniform(*LENGTHS), random.uniform(0, math.pi)
    return motion_kernel(length, angle, random.uniform(-BEND, BEND), KERNEL)


class DeblurringTask(RestorationTask):
    """Deblurring: each crop has a kernel and a noise of its own, drawn from its number.

    Args and errors are those of :class:`RestorationTask`.

    Example:
        >>> task = DeblurringTask(DeblurringSettings(width=4, blocks=1))
        >>> images = torch.rand(2, 3, 32, 32)
        >>> (blurred,) = task.degrade(images, first=0)
        >>> blurred.shape, torch.equal(blurred, task.degrade(images, first=0)[0])
        (torch.Size([2, 3, 32, 32]), True)

    Taught in chapter 7.
    """

    settings: DeblurringSettings

    def new_network(self) -> nn.Module:
        """The network, untrained."""
        return deblurring_net(self.settings.width, self.settings.blocks)

    def degrade(self, images: torch.Tensor, first: int) -> tuple[torch.Tensor, ...]:
        """The crops blurred and with noise, (N, 3, H, W)."""
        low, high = self.settings.sigma
        numbers = range(first, first + len(images))
        seeds = [seed_of(self.settings.seed, number) for number in numbers]
        kernels = [random_kernel(seed, self.settings.motion) for seed in seeds]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        draws = torch.cat([torch.rand(1, generator=one) for one in generators])
        with torch.autocast(images.device.type, enabled=False):
            blurred = blur_with(images, torch.stack(kernels))
        return (add_noise(blurred, low + (high - low) * draws, generators),)


def deblur(
    image: torch.Tensor,
    *,
    network: nn.Module | None = None,
    precision: str = "auto",
    device: str | torch.device | None = None,
    tile: int | None = None,
) -> torch.Tensor:
    """Sharpen pictures that a moving camera or a lens out of focus has blurred.

    Args:
        image: (N, 3, H, W) in [0, 1], of any size; or as bytes, see :func:`denoise`.
        network: a network to use, and to reuse: left out, the one that ships is
            loaded in each call.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        device: where to load the network; None takes the best there is.
        tile: side of the tiles in pixels; None takes one that needs some 0.5 GB.

    Returns:
        (N, 3, H, W), float32, in [0, 1], on the device of ``image``; as bytes where
        that is.

    Raises:
        InputError: no image, a network for something else, or a picture that does
            not fit into memory.

    Example:
        >>> image = read_image(bundled("content/pagoda"), 96)
        >>> blurred = blur_with(image, defocus_kernel(2.0)[None])
        >>> sharp = deblur(blurred, device="cpu")
        >>> bool((sharp - image).square().mean() < (blurred - image).square().mean())
        True

    Taught in chapter 7.
    """
    return restored(
        "deblur",
        image,
        "the blurred picture",
        None,
        network=network,
        precision=precision,
        device=device,
        tile=tile,
    )


register(
    TaskSpec(
        name="deblur",
        train_help="Teach a network to sharpen what motion or a lens out of focus has "
        "blurred.",
        settings=DeblurringSettings,
        training=DeblurringTask,
        card=restoration_card,
        networks={"deblurring": deblurring_net},
        limits=LIMITS,
        usage="deblur PHOTO",
        command=restoring(
            "deblur",
            "Sharpen a picture that motion or a lens out of focus has blurred.",
            deblur,
            losses=("combined",),
            bytes_too=True,
        ),
        function=deblur,
        losses=("combined",),
    )
)
