"""Inpainting: what is taken away are whole parts; free-form holes are cut."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..bounds import setting
from ..deferred import deferred_imports
from ..errors import InputError
from ..register import Option, TaskSpec, register
from .restoration import (
    RestorationTask,
    RestorationTrainingSettings,
    restoration_card,
    restoring,
)

with deferred_imports():
    import numpy
    import torch
    from PIL import Image
    from torch import nn

    from ..apply import through
    from ..degradations import random_boxes, random_holes
    from ..images import check_image, open_file, to_image
    from ..networks import GatedInpaintingNet, InpaintingNet
    from ..samples import understood
    from ..seeds import seed_of
    from ..tensors import check_dense
    from ..zoo import check_network, load_restorer

if TYPE_CHECKING:
    from ..samples import Decoded

LOSSES, BLENDS = ("pixel", "combined", "adversarial"), ("pixel", "combined")
LIMITS = (
    "holes up to two fifths of the picture, narrower than about 60 pixels; it "
    "continues textures and edges, and knows no objects"
)
BOX = 0.25  # the largest share of a crop that a box takes
NEAR = 0.25  # how far from black or white a mask in a file may be
BETWEEN = 0.05  # the share of it that may be farther


@dataclass(frozen=True)
class InpaintingSettings(RestorationTrainingSettings):
    """Training of inpainting: each crop has holes of its own.

    Example:
        >>> settings = InpaintingSettings(steps=100, holes=0.2, style_weight=1e-3)
        >>> settings.holes, settings.style_layers
        (0.2, ('relu1_2', 'relu2_2', 'relu3_3'))
        >>> InpaintingSettings(holes=1.5)
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: holes=1.5 was given; give a number above 0 and ...

    Taught in chapter 7.
    """

    blocks: int = setting(6, "Residual blocks.", least=1, most=1000)
    holes: float = setting(
        0.4, "The largest share of a crop that is missing.", above=0, most=0.9
    )
    boxes: float = setting(
        0.0,
        "How many of the crops lack a box of up to a quarter of them, in place of "
        "strokes: a share.",
        least=0,
        most=1,
    )
    gated: bool = setting(
        False, "Gated convolutions with a wide view (Yu et al. 2019)."
    )


class InpaintingTask(RestorationTask):
    """Inpainting: free-form holes, at most ``settings.holes`` of each crop, or boxes.

    Args and errors are those of :class:`RestorationTask`.

    Example:
        >>> task = InpaintingTask(InpaintingSettings(width=4, blocks=1))
        >>> image, mask = task.degrade(torch.rand(2, 3, 32, 32), first=0)
        >>> mask.shape, bool(mask.mean() <= task.settings.holes)
        (torch.Size([2, 1, 32, 32]), True)

    Taught in chapter 7.
    """

    settings: InpaintingSettings

    def new_network(self) -> nn.Module:
        """The network, untrained."""
        kind = GatedInpaintingNet if self.settings.gated else InpaintingNet
        return kind(self.settings.width, self.settings.blocks)

    def degrade(self, images: torch.Tensor, first: int) -> tuple[torch.Tensor, ...]:
        """The crops and their masks, (N, 3, H, W) and (N, 1, H, W)."""
        count, _, height, width = images.shape
        seeds = [seed_of(self.settings.seed, first + number) for number in range(count)]
        masks = random_holes(count, height, width, self.settings.holes, seeds)
        if self.settings.boxes:
            boxes = random_boxes(count, height, width, BOX, seeds)
            draws = [numpy.random.default_rng([seed, 1]).random() for seed in seeds]
            boxed = torch.tensor(draws) < self.settings.boxes
            masks = torch.where(boxed[:, None, None, None], boxes, masks)
        return images, masks.to(images.device, non_blocking=True)


def inpaint(
    image: torch.Tensor,
    mask: torch.Tensor,
    loss: str | float = "adversarial",
    *,
    network: nn.Module | None = None,
    precision: str = "auto",
    device: str | torch.device | None = None,
    tile: int | None = None,
) -> torch.Tensor:
    """Fill the holes of pictures; what is there stays as it is, exactly.

    Args:
        image: (N, 3, H, W) in [0, 1], of any size; its values in the holes
            are not looked at.
        mask: (N, 1, H, W) or (1, 1, H, W), 1 (or True) where the picture is
            missing and 0 elsewhere.
        loss: what the network was trained with: ``"adversarial"`` (pixel, feature,
            style and an adversary, in a network with a wider view) for likeness,
            ``"combined"`` (the same without an adversary, in a smaller network),
            ``"pixel"`` for accuracy, or a number between 0 (pixel) and 1 (combined)
            that mixes the weights of these two.
        network: a network to use, and to reuse: left out, the one that ships is
            loaded in each call.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        device: where to load the network; None takes the best there is.
        tile: side of the tiles in pixels; None takes one that needs some 0.5 GB.

    Returns:
        (N, 3, H, W), float32, in [0, 1], on the device of ``image``.

    Raises:
        InputError: no image, a mask of another size or with other values than 0 and 1,
            nothing masked, a picture that is masked as a whole, an unknown loss, a
            network for something else, or a picture that does not fit into memory.

    Example:
        >>> image, mask = torch.rand(1, 3, 48, 48), torch.zeros(1, 1, 48, 48)
        >>> mask[..., 20:28, 20:28] = 1  # this is missing
        >>> whole = inpaint(image, mask, "pixel", device="cpu")
        >>> known = (mask == 0).expand_as(image)
        >>> torch.equal(whole[known], image[known])
        True

    Taught in chapter 7.
    """
    check_image(image, "the picture", slack=0.5)
    mask = _check_mask(mask, image)
    network = (
        load_restorer("inpaint", loss, device=device) if network is None else network
    )
    check_network(network, "inpaint")
    image = image.float().clamp(0, 1)
    mean = network.known_mean(image, mask).to(next(network.parameters()).device)

    def work(part: torch.Tensor, holes: torch.Tensor) -> torch.Tensor:
        return network(part, holes, mean) if holes.any() else part

    return through(network, (image, mask), precision=precision, tile=tile, work=work)


# --- masks in files -------------------------------------------------------------------


def read_mask(
    path: str | os.PathLike, *, max_pixels: int = 100_000_000
) -> torch.Tensor:
    """Read a mask from a picture file: white where the picture is
    missing, black elsewhere.

    Soft edges and the errors of JPEG are allowed: values are set to black or
    white, whichever is nearer, if at most 5 % of them are farther than a quarter
    of the range from both.

    Args:
        path: a file that Pillow can read.
        max_pixels: the limit against decompression bombs, in pixels.

    Returns:
        (1, 1, H, W), float32, 0 or 1.

    Raises:
        InputError: no picture, one with transparent pixels, or one with too much that
            is neither black nor white.

    Example:
        >>> from tempfile import mkdtemp
        >>> missing = torch.zeros(1, 1, 16, 16)
        >>> missing[..., :4] = 1
        >>> path = write_image(mkdtemp() + "/mask.png", missing.expand(1, 3, 16, 16))
        >>> torch.equal(read_mask(path), missing)
        True

    Taught in chapter 7.
    """
    return to_mask(open_file(path, max_pixels), path)


def to_mask(picture: Decoded, name: str | os.PathLike) -> torch.Tensor:
    """A decoded picture as a mask (1, 1, H, W), by the rules of :func:`read_mask`."""
    if transparency(picture) is not None:
        raise InputError(
            f"the mask {str(name)!r} has transparent pixels; save it without, white "
            "where the picture is missing and black elsewhere"
        )
    grey = to_image(picture, name).mean(1, keepdim=True)
    between = float(((grey > NEAR) & (grey < 1 - NEAR)).float().mean())
    if between > BETWEEN:
        raise InputError(
            f"{between:.0%} of the mask {str(name)!r} is neither black nor "
            "white; give a picture that is white where something is "
            "missing and black elsewhere"
        )
    return (grey > 0.5).float()


def transparency(picture: Decoded | Image.Image) -> torch.Tensor | None:
    """A mask (1, 1, H, W) of the pixels of a decoded picture that are not wholly
    opaque; None if all are.
    """
    if isinstance(picture, Image.Image):
        picture = understood(picture, "the picture")
    if picture.alpha is None or picture.alpha.min() == 1:
        return None
    return torch.from_numpy((picture.alpha < 1).astype(numpy.float32))[None, None]


def _check_mask(mask: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """The mask as float32 (N, 1, H, W) on the image's device, or one
    sentence about it.
    """
    if not isinstance(mask, torch.Tensor):
        raise InputError(
            f"the mask is a {type(mask).__name__}; give a tensor (N, 1, H, W), 1 "
            "where the picture is missing"
        )
    check_dense(mask, "the mask", floating=False, values=True)
    count, _, height, width = image.shape
    if mask.ndim == 4 and mask.shape[1] == 1 and mask.shape[2:] != image.shape[2:]:
        raise InputError(
            f"the mask has {mask.shape[3]}x{mask.shape[2]} pixels and the picture "
            f"{width}x{height}; give both the same size"
        )
    if mask.ndim != 4 or mask.shape[1] != 1 or len(mask) not in (1, count):
        raise InputError(
            f"the mask has shape {tuple(mask.shape)}, but ({count}, 1, {height}, "
            f"{width}) is needed; give one channel, 1 where the picture is missing"
        )
    mask = mask.to(image.device, torch.float32)
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise InputError(
            "the mask has other values than 0 and 1; make it binary, such as (mask > "
            "0.5).float(), 1 where the picture is missing"
        )
    if not bool(mask.any()):
        raise InputError(
            "nothing is masked, so there is nothing to fill; the mask is 1, or white "
            "in a file, where the picture is missing"
        )
    if float(mask.flatten(1).amin(1).max()) == 1:
        raise InputError(
            "everything is masked, so there is nothing to go by; the mask is 0, or "
            "black in a file, where a picture is kept"
        )
    return mask.expand(count, -1, -1, -1)


def _with_mask(picture, source, max_pixels: int, options: dict) -> dict:
    """The command's options with the mask itself: of its file, or PHOTO's
    transparent pixels.
    """
    mask = options["mask"]
    if mask is not None:
        return options | {"mask": read_mask(mask, max_pixels=max_pixels)}
    if (holes := transparency(picture)) is None:
        raise InputError(
            f"{str(source)!r} has no transparent pixels and no mask was given; give "
            "MASK, a picture of the same size that is white where something is "
            "missing, or a PHOTO that is transparent there"
        )
    return options | {"mask": holes}


register(
    TaskSpec(
        name="inpaint",
        train_help="Teach a network to fill the holes of pictures.",
        settings=InpaintingSettings,
        training=InpaintingTask,
        card=restoration_card,
        networks={"inpainting": InpaintingNet, "gated_inpainting": GatedInpaintingNet},
        limits=LIMITS,
        usage="inpaint PHOTO MASK",
        command=restoring(
            "inpaint",
            "Fill the holes of a picture; what is there stays as it is.",
            inpaint,
            (
                Option(
                    "mask",
                    Path,
                    "A picture of the same size, white where PHOTO is "
                    "missing and black elsewhere; left out, PHOTO's own "
                    "transparent pixels are missing.",
                    argument=True,
                ),
            ),
            LOSSES,
            BLENDS,
            read=_with_mask,
        ),
        function=inpaint,
        losses=LOSSES,
        blends=BLENDS,
    )
)
