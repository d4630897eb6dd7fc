"""Pictures for training: crop number n of an endless stream, the same in any process
and after any resume.
"""

from __future__ import annotations

import hashlib
import math
import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from functools import lru_cache
from pathlib import Path

import numpy
import torch
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from torch.utils.data import DataLoader, Dataset

from ..errors import InputError
from ..images import MAX_PIXELS, open_picture, to_rgb
from .archives import find_pictures

_IN_A_ROW = 100  # so many unreadable pictures one after another are no accident
# the share of broken pictures is judged as if at least so many had been looked at
_GRACE = 100


class Pictures(Dataset):
    """An endless, shuffled stream of random resized crops.

    ``pictures[n]`` is crop number n, for any n >= 0. Each epoch visits every
    picture once, in an order drawn from ``(seed, epoch)``; the size, the place and
    the flip of the crop are drawn from ``(seed, n)``. Nothing is remembered between
    calls, so the number alone decides: any worker, any process and any resumed run
    gets the same crop.

    Shards are read by seeking, not as a stream: each archive's table of members is read
    once, then a picture is one ``seek`` and one ``read``. A streaming reader
    (as for shards on the web) shuffles within a buffer, so its order depends on the
    number of workers, and a resumed run must read and throw away all that came before.
    The price is that shards must be files on a disk, and not compressed.

    A picture that cannot be read, or is smaller than the crop, is skipped: the next one
    of the epoch's order takes its place, and its name is handed back. Files that look
    like pictures and are not among those that can be read are named in a warning.

    Args:
        source: None for the bundled ``data/train``; a folder, with all pictures below
            it that Pillow reads, hidden ones apart (or, where it holds no picture, all
            ``.tar`` and ``.zip`` files below it); one ``.tar`` or ``.zip``; or shards
            such as ``coco-{000000..000117}.tar``.
        size: height and width of the crops in pixels.
        seed: decides order, crops and flips.
        zoom: the range of the picture's shorter side after resizing, in
            multiples of ``size``. A picture is never enlarged. (1, 1) takes the
            largest square that fits.
        flip: mirror every other crop, left to right.
        max_pixels: larger pictures are taken for broken.
        cache: keep each decoded picture in memory, 3 bytes a pixel and in each process
            that reads; the crops are the same. A JPEG that is decoded at a part of its
            size is kept at that size, and again at another where the zoom asks for it.

    Raises:
        InputError: the source is missing, holds no picture, or no picture is as
            large as the crop.

    Example:
        >>> pictures = Pictures(size=16, seed=7)  # the bundled training photographs
        >>> crop, skipped = pictures[5]
        >>> crop.shape, skipped
        (torch.Size([3, 16, 16]), ())
        >>> again, _ = Pictures(size=16, seed=7)[5]
        >>> torch.equal(crop, again)
        True

    Taught in chapter 5.
    """

    def __init__(
        self,
        source: str | os.PathLike | None = None,
        size: int = 256,
        *,
        seed: int = 0,
        zoom: tuple[float, float] = (1.0, 1.5),
        flip: bool = True,
        max_pixels: int = MAX_PIXELS,
        cache: bool = False,
    ) -> None:
        if size < 1:
            raise InputError(
                f"a crop of {size} pixels was asked for; give a size of at least 1"
            )
        if seed < 0:
            raise InputError(f"the seed {seed} was given; give 0 or more")
        if not 1 <= zoom[0] <= zoom[1]:
            raise InputError(
                f"zoom {tuple(zoom)} was given; give two growing numbers "
                "from 1, such as (1, 1.5)"
            )
        self.source = _bundled() if source is None else source
        self.size, self.seed = size, seed
        self.zoom, self.flip, self.max_pixels = tuple(zoom), flip, max_pixels
        self.cache = cache
        # decoded pictures by number and by the part of its size a JPEG is decoded at
        self._decoded: dict[tuple[int, int], Image.Image] = {}
        self._stored: dict[int, tuple[tuple[int, int], bool]] = {}  # size, and if JPEG
        self._files = find_pictures(self.source)
        self._check_sizes()

    def __len__(self) -> int:
        """The number of pictures, of an epoch."""
        return len(self._files)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change when a name of the collection does."""
        names = "\0".join(self._files.name(i) for i in range(len(self)))
        return hashlib.sha256(os.fsencode(names)).hexdigest()[:16]

    def __getitem__(self, n: int) -> tuple[torch.Tensor, tuple[str, ...]]:
        """Crop number n, float32 (3, size, size) in [0, 1], and what was found
        broken on the way to it.

        Raises:
            InputError: a hundred pictures in a row, or all, cannot be used.
        """
        if n < 0:
            raise IndexError(f"crops are numbered from 0, not {n}")
        epoch, k = divmod(n, len(self))
        order = _order(self.seed, epoch, len(self))
        broken: list[str] = []
        for step in range(min(len(self), _IN_A_ROW)):
            i = int(order[(k + step) % len(self)])
            try:
                return self._crop(i, n), tuple(broken)
            except (InputError, OSError) as problem:
                broken.append(_fault(self._files.name(i), problem))
        raise InputError(
            f"{len(broken)} pictures in a row of {str(self.source)!r} cannot be used, "
            f"to begin with {broken[0]}; copy or download them again"
        )

    def _crop(self, i: int, n: int) -> torch.Tensor:
        share, across, down, mirrored = numpy.random.default_rng([self.seed, n]).random(
            4
        )
        picture, zoom = self._picture(i, share)
        side = min(picture.size) / zoom
        left, top = across * (picture.width - side), down * (picture.height - side)
        right, bottom = min(left + side, picture.width), min(top + side, picture.height)
        crop = picture.resize(
            (self.size, self.size),
            Image.Resampling.BICUBIC,
            (left, top, right, bottom),
        )
        if self.flip and mirrored < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        planes = numpy.ascontiguousarray(numpy.asarray(crop).transpose(2, 0, 1))
        return torch.from_numpy(planes / numpy.float32(255))

    def _picture(self, i: int, share: float) -> tuple[Image.Image, float]:
        """Picture number i, decoded, and the zoom at a share of its range."""
        if self.cache and i in self._stored:
            size, is_jpeg = self._stored[i]
            zoom, least = self._zoom(size, share)
            decoded = self._decoded.get((i, _reduction(size, least) if is_jpeg else 1))
            if decoded is not None:
                return decoded, zoom
        zoom, key = 1.0, (i, 1)

        def shrink(picture: Image.Image) -> None:
            """Sets the zoom, and lets a JPEG be decoded at a part of its size."""
            nonlocal zoom, key
            zoom, least = self._zoom(picture.size, share)
            if self.cache:
                is_jpeg = isinstance(picture, JpegImageFile)
                self._stored[i] = picture.size, is_jpeg
                key = i, _reduction(picture.size, least) if is_jpeg else 1
            picture.draft(None, least)

        name = self._files.name(i)
        opened = open_picture(self._files.open(i), name, self.max_pixels, shrink)
        decoded = to_rgb(opened)
        if self.cache:
            self._decoded[key] = decoded
        return decoded, zoom

    def _zoom(
        self, size: tuple[int, int], share: float
    ) -> tuple[float, tuple[int, int]]:
        """The zoom at a share of its range, and the size to decode a picture at."""
        largest = min(size) / self.size
        if largest < 1:
            raise _TooSmall(size)
        low, high = (min(limit, largest) for limit in self.zoom)
        zoom = low + share * (high - low)
        # twice what is needed, so that the filter of the crop decides the look
        scale = 2 * zoom / largest
        return zoom, (math.ceil(size[0] * scale), math.ceil(size[1] * scale))

    def _check_sizes(self) -> None:
        """Looks at pictures until one is large enough; refuses if none is."""
        largest, first, seen = (0, 0), None, 0

        def measure(picture: Image.Image) -> None:
            raise _TooSmall(picture.size)

        for i in range(len(self)):
            try:
                open_picture(
                    self._files.open(i), self._files.name(i), self.max_pixels, measure
                )
            except _TooSmall as found:
                if min(found.size) >= self.size:
                    return
                seen += 1
                largest = max(largest, found.size, key=min)
            except (InputError, OSError) as problem:
                first = first or _fault(self._files.name(i), problem)
        if not seen:
            raise InputError(
                f"none of the {len(self):,} pictures of {str(self.source)!r} can be "
                f"read, to begin with {first}; copy or download them again"
            )
        raise InputError(
            f"no picture of {str(self.source)!r} is as large as the crop of "
            f"{self.size}x{self.size} pixels, the largest has "
            f"{largest[0]}x{largest[1]}; take larger pictures or a smaller crop"
        )


class _TooSmall(InputError):
    def __init__(self, size: tuple[int, int]):
        super().__init__(
            f"a picture of {size[0]}x{size[1]} pixels is smaller than the crop"
        )
        self.size = size


def _reduction(size: tuple[int, int], least: tuple[int, int]) -> int:
    """The part of its size, not below ``least``, at which Pillow decodes a JPEG."""
    fits = min(size[0] // least[0], size[1] // least[1])
    return next((part for part in (8, 4, 2) if part <= fits), 1)


def _fault(name: str, problem: Exception) -> str:
    """A picture's name and what is wrong with it, from an error's sentence."""
    why = str(problem).rsplit("; ", 1)[0].rpartition(repr(name))[2]
    name = name if name.isprintable() else repr(name)
    if isinstance(problem, _TooSmall):
        return f"{name} is smaller than the crop ({problem.size[0]}x{problem.size[1]})"
    if isinstance(problem, OSError):
        return f"{name} cannot be read ({problem.strerror or problem})"
    return name + why


@lru_cache(maxsize=4)  # a batch may lie across two epochs
def _order(seed: int, epoch: int, count: int) -> numpy.ndarray:
    return numpy.random.default_rng([seed, epoch, count]).permutation(count)


def _bundled() -> Path:
    from ..images import bundled, bundled_names

    return bundled(f"train/{bundled_names('train')[0]}").parent


class BrokenPictures:
    """Counts the pictures that could not be used, and stops the run when
    they are too many.

    Args:
        max_broken: the largest share of the pictures looked at that may be broken.
            Until a hundred have been looked at it is a share of a hundred, so that one
            broken picture in the first batch stops nothing.

    Example:
        >>> broken = BrokenPictures(max_broken=0.05)
        >>> broken.add(2, ["holiday.jpg"])
        >>> broken.summary()
        '1 of the 3 pictures looked at could not be used: holiday.jpg'

    Taught in chapter 5.
    """

    def __init__(self, max_broken: float = 0.05):
        self.max_broken, self.looked, self.count = max_broken, 0, 0
        self.names: dict[str, None] = {}  # a set that keeps the order

    def add(self, count: int, names: list[str]) -> None:
        """Counts one batch: so many crops, and the names found broken
        on the way to them.

        Raises:
            InputError: more than ``max_broken`` of the pictures looked at are broken.
        """
        self.looked += count + len(names)
        self.count += len(names)
        self.names.update(dict.fromkeys(names))
        if self.count > self.max_broken * max(self.looked, _GRACE):
            raise InputError(
                f"{self.summary()}; repair or remove them, or raise max_broken, the "
                f"share that is let through, from {self.max_broken:g}"
            )

    def summary(self) -> str:
        """How many pictures were broken, with the first names; empty when none was."""
        if not self.count:
            return ""
        some = list(self.names)[:3]
        more = f" and {len(self.names) - 3:,} more" if len(self.names) > 3 else ""
        return (
            f"{self.count:,} of the {self.looked:,} pictures looked at could not be "
            f"used: {', '.join(some)}{more}"
        )


def loader(
    pictures: Dataset,
    batch_size: int,
    *,
    start: int = 0,
    stop: int | None = None,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    device: torch.device | str | None = None,
) -> Generator[tuple[torch.Tensor, list[str]], None, None]:
    """The batches of the steps ``start``, ``start + 1``, ... before ``stop``.

    Step s takes the ``batch_size * world`` crops from number
    ``s * batch_size * world`` on, and process ``rank`` its ``batch_size`` of them in
    order. So two processes with half the batch see together what one process sees, and
    a resumed run goes on where it was.

    Args:
        pictures: a :class:`Pictures`, or anything whose ``[n]`` gives a tensor
            and a tuple of names.
        batch_size: crops per step and process.
        start: the first step; larger than 0 when a run is resumed.
        stop: the step before which to end; None never ends.
        rank: which of the ``world`` processes this is.
        world: the number of processes.
        workers: processes that read ahead; 0 reads in this one.
        device: where the batches go; for a GPU they pass through pinned memory.

    Yields:
        float32 (batch_size, 3, size, size) in [0, 1], and the list of
        names found broken.

    Raises:
        InputError: a number is out of range, a worker process died, or too many
            pictures in a row are broken.

    Example:
        >>> from pltutorial.training.collection import PicturesInMemory
        >>> pictures = PicturesInMemory(torch.rand(5, 3, 8, 8), "noise")
        >>> [tuple(images.shape) for images, broken in loader(pictures, 2, stop=3)]
        [(2, 3, 8, 8), (2, 3, 8, 8), (2, 3, 8, 8)]

    Taught in chapter 5.
    """
    if batch_size < 1 or workers < 0 or start < 0 or not 0 <= rank < world:
        raise InputError(
            f"batch_size {batch_size}, workers {workers}, start {start}, rank {rank} "
            f"of {world} was given; give a batch_size of at least 1, the others from "
            "0, and a rank below the number of processes"
        )
    device = torch.device("cpu" if device is None else device)
    return _batches(
        pictures, _Steps(batch_size, start, stop, rank, world), workers, device
    )


def _batches(
    pictures: Dataset, steps: _Steps, workers: int, device: torch.device
) -> Generator[tuple[torch.Tensor, list[str]], None, None]:
    more = {}
    if workers:
        # with fork a script needs no `if __name__ == "__main__":`; elsewhere
        # the platform decides
        more = {
            "prefetch_factor": 4,
            "multiprocessing_context": "fork" if sys.platform == "linux" else None,
        }
    handler = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    batches = iter(
        DataLoader(
            _Quiet(pictures),
            batch_sampler=steps,
            collate_fn=_collate,
            num_workers=workers,  # each runs one torch thread, which is PyTorch's rule
            pin_memory=device.type == "cuda",
            # else starting it would draw a number from the global generator
            generator=torch.Generator(),
            **more,
        )
    )
    if handler is not None and threading.current_thread() is threading.main_thread():
        # PyTorch's handler would raise in the middle of whatever runs when a worker
        # dies, such as the writing of a checkpoint; without it the death is noticed
        # here, at the next batch
        signal.signal(signal.SIGCHLD, handler)
    try:
        for images, names, problem in batches:
            if problem:
                raise InputError(problem)
            yield images.to(device, non_blocking=True), names
    except (RuntimeError, OSError, EOFError) as problem:
        if not _died(problem, workers):
            raise
        raise InputError(
            f"one of {workers} processes that read pictures died, as when memory runs "
            "out; give fewer workers, 0 reads without any, or more memory (in a "
            "container, more shared memory)"
        ) from None
    finally:
        # now, not when the last traceback is forgotten
        getattr(batches, "_shutdown_workers", lambda: None)()


def _died(problem: Exception, workers: int) -> bool:
    """Whether an error is a worker's death: a silent process or a cut connection, not
    what it reports itself.
    """
    reported = str(problem).startswith("Caught ")
    silent = not isinstance(problem, RuntimeError) or "DataLoader worker" in str(
        problem
    )
    return workers > 0 and silent and not reported


class _Steps:
    """The crop numbers of each step, for a DataLoader."""

    def __init__(
        self, batch_size: int, start: int, stop: int | None, rank: int, world: int
    ):
        self.batch_size, self.start, self.stop = batch_size, start, stop
        self.rank, self.world = rank, world

    def __iter__(self) -> Iterator[list[int]]:
        step = self.start
        while self.stop is None or step < self.stop:
            first = (step * self.world + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))
            step += 1


class _Quiet(Dataset):
    """Hands an InputError on as a value: a worker would wrap its
    sentence in a traceback.
    """

    def __init__(self, pictures: Dataset):
        self.pictures = pictures

    def __getitem__(self, n: int):
        try:
            return self.pictures[n]
        except InputError as problem:
            return problem


def _collate(items: list) -> tuple[torch.Tensor | None, list[str], str]:
    problem = next((str(item) for item in items if isinstance(item, InputError)), "")
    if problem:
        return None, [], problem
    return (
        torch.stack([image for image, _ in items]),
        [name for _, names in items for name in names],
        "",
    )
