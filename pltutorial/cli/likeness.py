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
    from collections.abc import Callable

    import torch

TILE = 512  # side of a tile: some 0.5 GB for VGG-16
GAP = 2  # white pixels between the pictures of a sheet
AT_ONCE = 64  # pictures that are drawn at a time


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
        from .. import inversion
        from ..images import resize
        from ..vgg import LossNetwork

        image = image if size is None else resize(image, size)
        job.check_size(image.shape[-1], image.shape[-2], "give a smaller --size")
        own = network.kind == "autoencoder"  # which brings its encoder along
        encoder = None if own else LossNetwork(device=place, precision=job.precision)
        drawer = network.generator if own else network

        def once(part: torch.Tensor) -> torch.Tensor:
            return inversion.invert(part, network, encoder=encoder, precision=job.precision)

        # Ten positions of a code are more than VGG-16 sees to each side, and each block sees one further.
        reach = (10 + drawer.config["blocks"]) * drawer.stride
        for _ in range(rounds):
            image = _in_tiles(once, image, reach, drawer.stride)
        return image

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
        import torch

        from ..device import best_precision

        dtype = best_precision(place, job.precision)
        with torch.inference_mode(), torch.autocast(place.type, dtype, enabled=dtype != torch.float32):
            z = torch.randn(count, network.latent, generator=torch.Generator().manual_seed(seed)).to(place)
            drawn = torch.cat([network.decode(part).float().cpu() for part in z.split(AT_ONCE)])
        return _sheet(drawn, rows, columns)

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
        import torch.nn.functional as F

        from ..networks import apply

        def once(part: torch.Tensor) -> torch.Tensor:
            """A part smaller than what the network begins with is continued, and cut off again."""
            height, width = part.shape[-2:]
            by = (0, max(0, network.smallest - width), 0, max(0, network.smallest - height))
            return apply(network, F.pad(part, by, mode="replicate"), precision=job.precision)[
                ..., :height, :width
            ]

        # Three layers of stride 2 and the way back see four positions of 8x8 pixels, and each block one further.
        return _in_tiles(once, image, 8 * (4 + network.config["blocks"]), 8)

    job.run(work, None)


def _sheet(images: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Pictures (N, 3, H, W) side by side on white; torchvision's own takes seconds to import."""
    import torch
    import torch.nn.functional as F

    images = F.pad(images, (0, GAP, 0, GAP), value=1)
    blank = images.new_ones(rows * columns - len(images), *images.shape[1:])
    parts = torch.cat((images, blank)).unflatten(0, (rows, columns)).permute(2, 0, 3, 1, 4)
    sheet = parts.flatten(3, 4).flatten(1, 2)[None]
    return F.pad(sheet, (GAP, 0, GAP, 0), value=1)


def _in_tiles(
    work: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, reach: int, fold: int
) -> torch.Tensor:
    """What the network makes of a picture of any size, in bounded memory and without seams."""
    from ..device import is_out_of_memory
    from ..tiling import in_tiles

    try:
        return in_tiles(work, (image,), reach=reach, tile=TILE, fold=fold)
    except (MemoryError, RuntimeError) as problem:
        if not is_out_of_memory(problem):
            raise
        height, width = image.shape[-2:]
        raise InputError(
            f"memory ran out on the way to {width}x{height} pixels; shrink the picture, or stop other programs"
        ) from problem


def _one_of(model: Path | None, **named: str | None) -> None:
    """Refuse what is said of a network that ships together with another network."""
    for name, value in named.items():
        if value is not None and model is not None:
            raise InputError(f"--{name} and --model were both given; give one of them")
