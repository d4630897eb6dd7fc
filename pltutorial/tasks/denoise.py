"""Denoising: what is taken away is cleanness; Gaussian noise of unknown
strength is added.
"""

from __future__ import annotations

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
    import torch
    from torch import nn

    from ..degradations import add_camera_noise, add_noise
    from ..networks import DenoisingNet
    from ..seeds import seed_of

LOSSES = ("pixel", "camera", "combined")
SMEAR = 1.5  # pixels, the most that a camera's noise is smeared by
LIMITS = (
    "Gaussian noise, independent in each pixel; the noise of cameras and of JPEG "
    "files is of another kind"
)


@dataclass(frozen=True)
class DenoisingSettings(RestorationTrainingSettings):
    """Training of denoising, blind in sigma: each crop has its own, drawn evenly.

    Example:
        >>> settings = DenoisingSettings(steps=100, sigma=(0, 25))
        >>> settings.sigma, settings.blocks
        ((0, 25), 6)
        >>> DenoisingSettings(sigma=(25, 0))
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: sigma=(25, 0) was given; give two growing ...

    Taught in chapter 7.
    """

    blocks: int = setting(6, "Residual blocks.", least=1, most=1000)
    sigma: tuple[float, ...] = setting(
        (5.0, 55.0),
        "Range of the noise's standard deviation, on the 0-255 scale.",
        count=2,
        least=0,
        growing=True,
        example="5,55",
    )
    camera: float = setting(
        0.0,
        "How many of the crops have noise like a camera's, shared by neighbours and "
        "growing with the light: a share.",
        least=0,
        most=1,
    )


class DenoisingTask(RestorationTask):
    """Denoising: Gaussian noise, of a strength drawn from ``settings.sigma`` for each
    crop; a share of ``settings.camera`` has noise that is smeared, by up to 1.5 pixels,
    and grows with the light.

    Args and errors are those of :class:`RestorationTask`.

    Example:
        >>> task = DenoisingTask(DenoisingSettings(width=4, blocks=1, sigma=(25, 25)))
        >>> grey = torch.full((2, 3, 32, 32), 0.5)
        >>> (noisy,) = task.degrade(grey, first=0)
        >>> bool(abs(255 * (noisy - grey).std() - 25) < 2)
        True

    Taught in chapter 7.
    """

    settings: DenoisingSettings

    def new_network(self) -> nn.Module:
        """The network, untrained."""
        return DenoisingNet(self.settings.width, self.settings.blocks)

    def degrade(self, images: torch.Tensor, first: int) -> tuple[torch.Tensor, ...]:
        """The crops with noise, (N, 3, H, W)."""
        low, high = self.settings.sigma
        seeds = [
            seed_of(self.settings.seed, first + number) for number in range(len(images))
        ]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        draws = torch.cat(
            [torch.rand(1, generator=generator) for generator in generators]
        )
        sigma = (low + (high - low) * draws.double()).float()
        if not self.settings.camera:
            return (add_noise(images, sigma, generators),)
        draws = torch.stack([torch.rand(3, generator=one) for one in generators])
        taken = draws[:, 0] < self.settings.camera
        smear, light = draws[:, 1] * SMEAR * taken, draws[:, 2] * taken
        return (add_camera_noise(images, sigma, smear, light, generators),)


def denoise(
    image: torch.Tensor,
    loss: str | float = "combined",
    *,
    network: nn.Module | None = None,
    precision: str = "auto",
    device: str | torch.device | None = None,
    tile: int | None = None,
) -> torch.Tensor:
    """Take Gaussian noise of unknown strength out of pictures.

    Args:
        image: (N, 3, H, W), of any size; noise may reach out of [0, 1]. As bytes
            (``read_image(path, dtype=torch.uint8)``) a picture of 100 million pixels
            takes 1.1 GB besides the program, the result, bytes too, included.
        loss: what the network was trained with: ``"pixel"`` for accuracy,
            ``"combined"`` (pixel, feature and style) for likeness, ``"camera"`` for
            accuracy on noise like a camera's (:func:`add_camera_noise`), or a number
            between 0 (pixel) and 1 (combined) that mixes the weights of these two.
        network: a network to use, and to reuse: left out, the one that ships is
            loaded in each call.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        device: where to load the network; None takes the best there is.
        tile: side of the tiles in pixels; None takes one that needs some 0.5 GB.

    Returns:
        (N, 3, H, W), float32, in [0, 1], on the device of ``image``; as bytes where
        that is.

    Raises:
        InputError: no image, an unknown loss, a network for something else, or a
            picture that does not fit into memory.

    Example:
        >>> image = read_image(bundled("content/pagoda"), 96)
        >>> noisy = add_noise(image, sigma=25)
        >>> clean = denoise(noisy, "pixel", device="cpu")
        >>> before, after = (float((x - image).square().mean()) for x in (noisy, clean))
        >>> after < 0.5 * before
        True

    Taught in chapter 7.
    """
    return restored(
        "denoise",
        image,
        "the noisy picture",
        loss,
        network=network,
        precision=precision,
        device=device,
        tile=tile,
        slack=2,
    )


register(
    TaskSpec(
        name="denoise",
        train_help="Teach a network to take Gaussian noise of any strength out of "
        "pictures.",
        settings=DenoisingSettings,
        training=DenoisingTask,
        card=restoration_card,
        networks={"denoising": DenoisingNet},
        limits=LIMITS,
        usage="denoise PHOTO",
        command=restoring(
            "denoise",
            "Take Gaussian noise of any strength out of a picture.",
            denoise,
            losses=LOSSES,
            bytes_too=True,
        ),
        function=denoise,
        losses=LOSSES,
    )
)
