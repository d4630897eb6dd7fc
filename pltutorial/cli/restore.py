"""The commands ``upscale``, ``denoise`` and ``inpaint``: what a trained network gives back to a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .job import NetworkJob, source_of
from .options import Photo, with_options

if TYPE_CHECKING:
    import torch
    from torch import nn

_Loss = Annotated[
    str | None,
    typer.Option(
        help="combined (likeness; the default) or pixel (accuracy); a number from 0 (pixel) to 1 blends."
    ),
]


@with_options
def upscale(
    photo: Photo,
    job: NetworkJob,
    factor: Annotated[
        int | None,
        typer.Option(help="How much larger each side becomes: 4 (the default) or 8, or the network's own."),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="feature (likeness; the default) or pixel (accuracy); a number from 0 (pixel) to 1 blends."
        ),
    ] = None,
    match_histogram: Annotated[
        bool, typer.Option("--match-histogram", help="Give the output the histogram of its input.")
    ] = False,
) -> None:
    """Enlarge a picture with a network that has learned to (Johnson et al. 2016, section 4.2)."""
    network = _load(job, "upscale", loss, (photo,), factor)

    def work(image: torch.Tensor) -> torch.Tensor:
        from ..tasks.super_resolution import upscale

        height, width = (network.factor * side for side in image.shape[-2:])
        job.check_size(width, height, "shrink the picture")
        how = {"match_histogram": match_histogram, "precision": job.precision}
        return upscale(image, factor, network=network, **how)

    job.run(work, _loss("upscale", loss), factor=network.factor)


@with_options
def denoise(
    photo: Photo,
    job: NetworkJob,
    loss: _Loss = None,
) -> None:
    """Take Gaussian noise of any strength out of a picture."""
    network = _load(job, "denoise", loss, (photo,))

    def work(image: torch.Tensor) -> torch.Tensor:
        from ..tasks.denoise import denoise

        return denoise(image, network=network, precision=job.precision)

    job.run(work, _loss("denoise", loss))


@with_options
def inpaint(
    photo: Photo,
    job: NetworkJob,
    mask: Annotated[
        Path | None,
        typer.Argument(
            help="A picture of the same size, white where PHOTO is missing and black elsewhere; left out, "
            "PHOTO's own transparent pixels are missing.",
            metavar="MASK",
        ),
    ] = None,
    loss: _Loss = None,
) -> None:
    """Fill the holes of a picture; what is there stays as it is."""
    network = _load(job, "inpaint", loss, (photo,) if mask is None else (photo, mask))

    def work(image: torch.Tensor) -> torch.Tensor:
        from ..tasks.inpaint import inpaint, read_mask, transparency

        if mask is not None:
            holes = read_mask(mask, max_pixels=job.max_pixels)
        else:
            holes = transparency(job.picture)
        if holes is None:
            raise InputError(
                f"{str(job.sources[0])!r} has no transparent pixels and no mask was given; give MASK, a picture of the same "
                "size that is white where something is missing"
            )
        return inpaint(image, holes, network=network, precision=job.precision)

    job.run(work, _loss("inpaint", loss))


def _load(
    job: NetworkJob,
    task: str,
    loss: str | None,
    pictures: tuple[str | Path, ...],
    factor: int | None = None,
) -> nn.Module:
    """The network, once what was asked for can be read and written."""
    if loss is not None and job.model is not None:
        raise InputError("--loss and --model were both given; give one of them")
    photo, *others = pictures
    place = job.check(source_of(photo, "content"), *others)
    from ..zoo import load_restorer

    factor = 4 if factor is None else factor
    return load_restorer(task, loss, factor=factor, model=job.model, device=place)


def _loss(task: str, loss: str | None) -> str:
    from ..tasks import find

    return loss or find(task).losses[-1]
