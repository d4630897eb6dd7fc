"""Pictures of any size through a network in bounded memory: tile by tile, and no seam where tiles meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from .errors import InputError


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

    Each tile is given with ``reach`` more pixels on every side where the picture has them. They are cut off again
    from what it makes, so each pixel that is kept has seen all that it would have seen in the whole.

    Args:
        work: takes a tile of each of the images and gives (N, C, factor h, factor w) for tiles of height h and width w.
            What it does must be the same everywhere, without means over the whole picture.
        images: tensors (N, ., H, W) that are cut at the same places.
        reach: how many pixels of the input, to each side, decide one pixel of the output.
        tile: side of the tiles in pixels of the input, those of ``reach`` not counted.
        fold: tiles begin at multiples of it, as those 2x2 or 4x4 squares do that a network lays together.
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
                output = torch.empty(shape, dtype=made.dtype, device=images[0].device)
            made = made[..., factor * (top - above) : factor * (bottom - above), :]
            made = made[..., factor * (left - before) : factor * (right - before)]
            output[..., factor * top : factor * bottom, factor * left : factor * right] = made
    return output


def _spans(length: int, tile: int, reach: int, fold: int) -> Iterator[tuple[int, int, int, int]]:
    """Where tiles begin and end along one side, and the same with what they see besides; all of about one size."""
    if tile < 1:
        raise InputError(f"tile={tile} was given; give the side of the tiles in pixels, such as 512")
    reach = -(-reach // fold) * fold
    count = -(-length // tile)
    step = -(-length // (count * fold)) * fold
    for start in range(0, length, step):
        stop = min(start + step, length)
        yield start, stop, max(0, start - reach), min(stop + reach, length)
