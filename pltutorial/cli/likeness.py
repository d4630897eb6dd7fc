"""The commands ``invert``, ``sample`` and ``colorize``: what networks draw from a code, from nothing, and from grey."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .job import NetworkJob, source_of
from .options import Photo, with_options

if TYPE_CHECKING:
    import torch

GAP = 2  # white pixels between the pictures of a sheet


@with_options
def invert(
    photo: Photo,
    job: NetworkJob,
    layer: Annotated[
        str | None,
        typer.Option(help="The code of VGG-16 that is inverted: relu4_3 (the default) or relu3_3."),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="deepsim (all three terms; the default) or image (squared error of pixels)."),
    ] = None,
    rounds: Annotated[
        int, typer.Option(help="Re-encode: draw, take the code of what was drawn, draw again.")
    ] = 1,
    size: Annotated[
        int | None, typer.Option(help="Longer side in pixels that PHOTO is resized to first.")
    ] = None,
) -> None:
    """Draw what a code of VGG-16 still holds of a picture (Dosovitskiy and Brox 2016)."""
    if rounds < 1:
        raise InputError(f"--rounds {rounds} was given; give at least 1")
    _one_of(job.model, layer=layer, loss=loss)
    layer, loss = layer or "relu4_3", loss or "deepsim"
    place = job.check(source_of(photo, "content"))
    from ..zoo import load_inverter

    network = load_inverter(layer, loss, place, model=job.model)
    if network.kind == "inversion" and "channels" in network.config:
        raise InputError(
            f"the network {str(job.model)!r} draws codes of {network.layer!r} of another encoder than VGG-16; call "
            "pltutorial.invert in Python with that encoder, or give one that `pltutorial train invert` wrote"
        )

    def work(image: torch.Tensor) -> torch.Tensor:
        from ..images import resize
        from ..tasks.invert import reencode

        image = image if size is None else resize(image, size)
        job.check_size(image.shape[-1], image.shape[-2], "give a smaller --size")
        return reencode(image, rounds, network, precision=job.precision)[-1]

    facts = {} if network.kind == "autoencoder" else {"layer": network.layer}
    job.run(work, loss, **facts, rounds=rounds)


@with_options
def sample(
    job: NetworkJob,
    loss: Annotated[
        str | None,
        typer.Option(help="The likeness it was trained with: pixel (the default), deepsim or gan (VAE/GAN)."),
    ] = None,
    count: Annotated[int, typer.Option(help="How many pictures.")] = 64,
    seed: Annotated[int, typer.Option(help="Other latent vectors for another number.")] = 0,
) -> None:
    """Draw pictures that never were, side by side, with a variational autoencoder."""
    if count < 1:
        raise InputError(f"--count {count} was given; give at least 1")
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed {seed} was given; give a number from 0 to 2**63 - 1")
    _one_of(job.model, loss=loss)
    loss = loss or "pixel"
    place = job.check()
    from ..zoo import load_vae

    network = load_vae(loss, place, model=job.model)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    width, height = (side * (network.size + GAP) + GAP for side in (columns, rows))
    job.check_size(width, height, "give a smaller --count")

    def work(nothing: None) -> torch.Tensor:
        from ..tasks.vae import sample, sheet

        drawn = sample(count, network=network, seed=seed, precision=job.precision)
        return sheet(drawn, rows, columns)

    job.run(work, loss, count=count, seed=seed)


@with_options
def colorize(
    photo: Photo,
    job: NetworkJob,
) -> None:
    """Colour a grey picture with a network that you have trained; its brightness stays as it is."""
    if job.model is None:
        raise InputError(
            "no network was given and none for colours ships; train one with `pltutorial train colorize -o run`, and give "
            "--model run/network.safetensors"
        )
    place = job.check(source_of(photo, "content"))
    from ..zoo import load_for

    network = load_for("colorize", job.model, place)

    def work(image: torch.Tensor) -> torch.Tensor:
        from ..tasks.colorize import colorize

        return colorize(image, network, precision=job.precision)

    job.run(work, None)


def _one_of(model: Path | None, **named: str | None) -> None:
    """Refuse what is said of a network that ships together with another network."""
    for name, value in named.items():
        if value is not None and model is not None:
            raise InputError(f"--{name} and --model were both given; give one of them")
