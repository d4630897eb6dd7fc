"""The commands ``upscale``, ``denoise`` and ``inpaint``: what a trained network gives back to a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .job import Device, Format, Job, Json, MaxPixels, Model, Output, Photo, Precision

if TYPE_CHECKING:
    import torch
    from torch import nn

_Loss = Annotated[
    str | None,
    typer.Option(
        help="combined (likeness; the default) or pixel (accuracy); a number from 0 (pixel) to 1 blends."
    ),
]


def upscale(
    photo: Photo,
    output: Output,
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
    model: Model = None,
    format: Format = None,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: Json = False,
    max_pixels: MaxPixels = 100_000_000,
) -> None:
    """Enlarge a picture with a network that has learned to (Johnson et al. 2016, section 4.2)."""
    job = Job(photo, output, format, device, precision, as_json, max_pixels)
    network = _load(job, "upscale", loss, model, factor)

    def work(image: torch.Tensor) -> torch.Tensor:
        from ..restoration import upscale

        height, width = (network.factor * side for side in image.shape[-2:])
        job.check_size(width, height, "shrink the picture")
        how = {"match_histogram": match_histogram, "precision": precision}
        return upscale(image, factor, network=network, **how)

    job.run(work, _by("upscale", loss, model), factor=network.factor)


def denoise(
    photo: Photo,
    output: Output,
    loss: _Loss = None,
    model: Model = None,
    format: Format = None,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: Json = False,
    max_pixels: MaxPixels = 100_000_000,
) -> None:
    """Take Gaussian noise of any strength out of a picture."""
    job = Job(photo, output, format, device, precision, as_json, max_pixels)
    network = _load(job, "denoise", loss, model)

    def work(image: torch.Tensor) -> torch.Tensor:
        from ..restoration import denoise

        return denoise(image, network=network, precision=precision)

    job.run(work, _by("denoise", loss, model))


def inpaint(
    photo: Photo,
    output: Output,
    mask: Annotated[
        Path | None,
        typer.Argument(
            help="A picture of the same size, white where PHOTO is missing and black elsewhere; left out, "
            "PHOTO's own transparent pixels are missing.",
            metavar="MASK",
        ),
    ] = None,
    loss: _Loss = None,
    model: Model = None,
    format: Format = None,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: Json = False,
    max_pixels: MaxPixels = 100_000_000,
) -> None:
    """Fill the holes of a picture; what is there stays as it is."""
    job = Job(photo, output, format, device, precision, as_json, max_pixels)
    job.others = () if mask is None else (mask,)
    network = _load(job, "inpaint", loss, model)

    def work(image: torch.Tensor) -> torch.Tensor:
        from ..restoration import inpaint, read_mask, transparency

        if mask is not None:
            holes = read_mask(mask, max_pixels=max_pixels)
        else:
            holes = transparency(job.picture)
        if holes is None:
            raise InputError(
                f"{str(job.source)!r} has no transparent pixels and no mask was given; give MASK, a picture of the same "
                "size that is white where something is missing"
            )
        return inpaint(image, holes, network=network, precision=precision)

    job.run(work, _by("inpaint", loss, model))


def _load(job: Job, task: str, loss: str | None, model: Path | None, factor: int | None = None) -> nn.Module:
    """The network, once what was asked for can be read and written."""
    if loss is not None and model is not None:
        raise InputError("--loss and --model were both given; give one of them")
    place = job.check()
    from ..zoo import load_restorer

    return load_restorer(task, loss, factor=4 if factor is None else factor, model=model, device=place)


def _by(task: str, loss: str | None, model: Path | None) -> dict[str, str]:
    from ..zoo import TASKS

    return {"loss": loss or TASKS[task][1][1]} if model is None else {"model": str(model)}
