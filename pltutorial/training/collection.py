"""Pictures that are in memory already, as a stream that the loop can train on."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy
import torch

from .pictures import Pictures


class PicturesInMemory(Pictures):
    """An endless, shuffled stream of whole pictures of one size.

    As in :class:`~pltutorial.datasets.Pictures` the number alone decides: each epoch
    visits every picture once, in an order drawn from ``(seed, epoch)``. Nothing is cut
    or mirrored.

    Args:
        images: (N, 3, size, size) in [0, 1].
        source: what they are, for cards.
        seed: decides the order.

    Example:
        >>> pictures = PicturesInMemory(torch.rand(5, 3, 8, 8), "noise", seed=1)
        >>> sorted(pictures.index(n) for n in range(5))
        [0, 1, 2, 3, 4]
        >>> crop, skipped = pictures[7]
        >>> bool((crop == pictures.images[pictures.index(7)]).all()), skipped
        (True, ())
    """

    def __init__(self, images: torch.Tensor, source: str, *, seed: int = 0) -> None:
        self.images, self.source, self.seed = images, source, seed

    def __len__(self) -> int:
        """The number of pictures, of an epoch."""
        return len(self.images)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change when a picture does."""
        values = (255 * self.images).round().byte().numpy()
        return hashlib.sha256(values.tobytes()).hexdigest()[:16]

    def index(self, n: int) -> int:
        """Which picture is number n of the stream."""
        epoch, place = divmod(n, len(self))
        return int(_order(self.seed, epoch, len(self))[place])

    def __getitem__(self, n: int) -> tuple[torch.Tensor, tuple[str, ...]]:
        """Picture number n, (3, size, size) in [0, 1], and no name of a broken one."""
        if n < 0:
            raise IndexError(f"pictures are numbered from 0, not {n}")
        return self.images[self.index(n)], ()


@lru_cache(maxsize=4)  # a batch may lie across two epochs
def _order(seed: int, epoch: int, count: int) -> numpy.ndarray:
    return numpy.random.default_rng([seed, epoch, count]).permutation(count)
