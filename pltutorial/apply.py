"""The one way of a picture of any size through a network: precision, bounded memory,
tiles without seams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from . import memory
from .device import best_precision, is_out_of_memory
from .errors import InputError
from .images import to_bytes, to_floats
from .tensors import check_made

TILE = 512  # side of a tile where the network computes: some 0.5 GB for those that ship


def through(
    network: nn.Module,
    images: tuple[torch.Tensor, ...],
    *,
    precision: str = "auto",
    tile: int | None = None,
    work: Callable[..., torch.Tensor] | None = None,
) -> torch.Tensor:
    """What a network makes of pictures (and masks), in tiles and without gradients.

    The network says how: ``reach``, how many pixels to each side decide one of the
    output, ``fold``, the side of the squares that it lays together, and ``factor``, how
    much larger the output is. It is in eval mode meanwhile.

    Args:
        network: one with ``reach`` and ``fold``; without ``factor`` it is 1.
        images: tensors (N, ., H, W) that are cut at the same places, pictures first.
            A picture as bytes (:func:`pltutorial.images.to_bytes`) becomes floats tile
            by tile, and so becomes the result: 6 bytes a pixel for both, not 24.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        tile: side of the tiles in pixels; None takes one that needs some 0.5 GB.
        work: what is done with a part of each of the images; the network if left out.

    Returns:
        (N, 3, factor H, factor W), float32, in [0, 1], on the device of the images; as
        bytes where the first of them is.

    Raises:
        InputError: a result that does not fit into memory or is not finite, or a tile
            below 1.
    """
    place, device = images[0].device, next(network.parameters()).device
    as_bytes = images[0].dtype == torch.uint8
    dtype = best_precision(device, precision)
    work = network if work is None else work
    if tile is None:
        tile = TILE * getattr(network, "tile_share", network.fold)
    height, width = images[0].shape[-2:]
    factor = getattr(network, "factor", 1)
    large = f"{width * factor}x{height * factor}"
    result, working = memory_needed(network, images[0].shape, tile, dtype, as_bytes)
    if place == device:
        result += working
    what = f"the {result / 1e9:.1f} GB of a result of {large} pixels"
    memory.check(result, what, "shrink the picture", place, least=0)
    if device.type == "cpu":
        memory.keep_freed_memory()

    @torch.inference_mode()
    def one(*parts: torch.Tensor) -> torch.Tensor:
        floats = [part.to(device) for part in parts]
        floats = [
            to_floats(part) if part.dtype == torch.uint8 else part.to(torch.float32)
            for part in floats
        ]
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            made = work(*floats)
        check_made(made)
        return (to_bytes(made) if as_bytes else made.float().clamp(0, 1)).to(place)

    was_training = network.training
    network.eval()  # batch normalisation would look at the tile, not at what it learned
    try:
        return in_tiles(
            one,
            images,
            reach=network.reach,
            tile=tile,
            fold=network.fold,
            factor=factor,
        )
    except (MemoryError, RuntimeError) as problem:
        if not is_out_of_memory(problem):
            raise
        raise InputError(
            f"memory ran out on the way to {large} pixels; shrink the picture, stop "
            f"other programs, or in Python give tile={TILE // 2} or less"
        ) from problem
    finally:
        network.train(was_training)


def memory_needed(
    network: nn.Module,
    shape: tuple[int, ...],
    tile: int,
    dtype: torch.dtype,
    as_bytes: bool = False,
) -> tuple[int, int]:
    """Bytes of a result, and what a tile takes besides at its peak: measured from 512
    to 4096 pixels, about five maps of the network's width.

    Args:
        network: see :func:`through`.
        shape: (N, ., H, W) of the picture.
        tile: side of the tiles in pixels.
        dtype: what is computed in.
        as_bytes: the result will be bytes.
    """
    count, _, height, width = shape
    factor, fold = getattr(network, "factor", 1), network.fold
    spans = [list(_spans(side, tile, network.reach, fold)) for side in (height, width)]
    seen = [max(below - above for *_, above, below in along) for along in spans]
    if hasattr(network, "channels_at_once"):
        channels = network.channels_at_once
    elif hasattr(network, "tile_share"):  # an encoder of 64 channels at full size
        channels = 44  # as if two thirds of them were there at once
    else:
        channels = getattr(network, "config", {}).get("width", 64) / fold**2
    each = 5 * channels * dtype.itemsize + 24 * factor**2
    # how likely each colour is, at a quarter of the places, and what is made of it
    each += 1.5 * getattr(network, "classes", 0) ** 2
    result = (3 if as_bytes else 12) * count * height * width * factor**2
    # tiles at a border are smaller than those within, and fill no gap that these left
    each *= 1.75 if max(map(len, spans)) > 2 else 1
    return result, int(count * seen[0] * seen[1] * each)


def in_tiles(
    work: Callable[..., torch.Tensor],
    images: tuple[torch.Tensor, ...],
    *,
    reach: int,
    tile: int,
    fold: int = 1,
    factor: int = 1,
) -> torch.Tensor:
    """What ``work`` makes of pictures, computed tile by tile.

    Each tile is given with ``reach`` more pixels on every side where the picture has
    them. They are cut off again from what it makes, so each pixel that is kept has seen
    all that it would have seen in the whole.

    Args:
        work: takes a tile of each of the images and gives (N, C, factor h, factor w)
            for tiles of height h and width w. What it does must be the same everywhere,
            without means over the whole picture.
        images: tensors (N, ., H, W) that are cut at the same places.
        reach: how many pixels of the input, to each side, decide one
            pixel of the output.
        tile: side of the tiles in pixels of the input, those of ``reach`` not counted.
        fold: tiles begin at multiples of it, as those 2x2 or 4x4 squares do that a
            network lays together.
        factor: how much larger the output is.

    Returns:
        (N, C, factor H, factor W), on the device of the images.

    Raises:
        InputError: a tile below 1.
    """
    height, width = images[0].shape[-2:]
    rows, columns = (list(_spans(side, tile, reach, fold)) for side in (height, width))
    output = None
    for top, bottom, above, below in rows:
        for left, right, before, after in columns:
            made = work(*(image[..., above:below, before:after] for image in images))
            if output is None:
                shape = (*made.shape[:2], factor * height, factor * width)
                output = torch.empty(
                    shape,
                    dtype=made.dtype,
                    device=images[0].device,
                    memory_format=torch.channels_last
                    if made.dtype == torch.uint8
                    else torch.contiguous_format,
                )
            made = made[..., factor * (top - above) : factor * (bottom - above), :]
            made = made[..., factor * (left - before) : factor * (right - before)]
            output[
                ..., factor * top : factor * bottom, factor * left : factor * right
            ] = made
    return output


def _spans(
    length: int, tile: int, reach: int, fold: int
) -> Iterator[tuple[int, int, int, int]]:
    """Where tiles begin and end along one side, and the same with what they see
    besides; all of about one size.
    """
    if tile < 1:
        raise InputError(
            f"tile={tile} was given; give the side of the tiles in pixels, such as 512"
        )
    reach = -(-reach // fold) * fold
    count = -(-length // tile)
    step = -(-length // (count * fold)) * fold
    for start in range(0, length, step):
        stop = min(start + step, length)
        yield start, stop, max(0, start - reach), min(stop + reach, length)
