"""Pictures for training: crop number n of an endless stream, the same in any process and after any resume."""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import signal
import struct
import sys
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from .errors import InputError
from .images import MAX_PIXELS, PICTURE_ENDINGS, open_picture, to_rgb

SHARD_ENDINGS = (".tar", ".zip")
_IN_A_ROW = 100  # so many unreadable pictures one after another are no accident
_GRACE = 100  # the share of broken pictures is judged as if at least so many had been looked at


class Pictures(Dataset):
    """An endless, shuffled stream of random resized crops.

    ``pictures[n]`` is crop number n, for any n >= 0. Each epoch visits every picture once, in an order drawn
    from ``(seed, epoch)``; the size, the place and the flip of the crop are drawn from ``(seed, n)``. Nothing
    is remembered between calls, so the number alone decides: any worker, any process and any resumed run
    gets the same crop.

    Shards are read by seeking, not as a stream: each archive's table of members is read once, then a picture
    is one ``seek`` and one ``read``. A streaming reader (as for shards on the web) shuffles within a buffer,
    so its order depends on the number of workers, and a resumed run must read and throw away all that came
    before. The price is that shards must be files on a disk, and not compressed.

    A picture that cannot be read, or is smaller than the crop, is skipped: the next one of the epoch's order
    takes its place, and its name is handed back.

    Args:
        source: None for the bundled ``data/train``; a folder, with all pictures below it (or, where it holds
            no picture, all ``.tar`` and ``.zip`` files below it); one ``.tar`` or ``.zip``; or shards such as
            ``coco-{000000..000117}.tar``.
        size: height and width of the crops in pixels.
        seed: decides order, crops and flips.
        zoom: the range of the picture's shorter side after resizing, in multiples of ``size``. A picture
            is never enlarged. (1, 1) takes the largest square that fits.
        flip: mirror every other crop, left to right.
        max_pixels: larger pictures are taken for broken.

    Raises:
        InputError: the source is missing, holds no picture, or no picture is as large as the crop.

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
    ):
        if size < 1:
            raise InputError(f"a crop of {size} pixels was asked for; give a size of at least 1")
        if seed < 0:
            raise InputError(f"the seed {seed} was given; give 0 or more")
        if not 1 <= zoom[0] <= zoom[1]:
            raise InputError(
                f"zoom {tuple(zoom)} was given; give two growing numbers from 1, such as (1, 1.5)"
            )
        self.source, self.size, self.seed = _bundled() if source is None else source, size, seed
        self.zoom, self.flip, self.max_pixels = tuple(zoom), flip, max_pixels
        self._files = _find(self.source)
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
        """Crop number n, float32 (3, size, size) in [0, 1], and what was found broken on the way to it.

        Raises:
            InputError: a hundred pictures in a row, or all, cannot be used.
        """
        if n < 0:
            raise IndexError(f"crops are numbered from 0, not {n}")
        epoch, k = divmod(n, len(self))
        order = _order(self.seed, epoch, len(self))
        broken = []
        for step in range(min(len(self), _IN_A_ROW)):
            i = int(order[(k + step) % len(self)])
            try:
                return self._crop(i, n), tuple(broken)
            except (InputError, OSError) as problem:
                broken.append(_fault(self._files.name(i), problem))
        raise InputError(
            f"{len(broken)} pictures in a row of {str(self.source)!r} cannot be used, to begin with {broken[0]}; "
            "copy or download them again"
        )

    def _crop(self, i: int, n: int) -> torch.Tensor:
        zoom, across, down, mirrored = numpy.random.default_rng([self.seed, n]).random(4)

        def shrink(picture: Image.Image) -> None:
            """Sets the zoom, and lets a JPEG be decoded at a half, a quarter or an eighth of its size."""
            nonlocal zoom
            largest = min(picture.size) / self.size
            if largest < 1:
                raise _TooSmall(picture.size)
            low, high = (min(limit, largest) for limit in self.zoom)
            zoom = low + zoom * (high - low)
            scale = 2 * zoom / largest  # twice what is needed, so that the filter below decides the look
            picture.draft(None, tuple(math.ceil(side * scale) for side in picture.size))

        name = self._files.name(i)
        picture = to_rgb(open_picture(self._files.open(i), name, self.max_pixels, shrink), name)
        side = min(picture.size) / zoom
        left, top = across * (picture.width - side), down * (picture.height - side)
        box = (left, top, min(left + side, picture.width), min(top + side, picture.height))
        crop = picture.resize((self.size, self.size), Image.Resampling.BICUBIC, box)
        if self.flip and mirrored < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        planes = numpy.ascontiguousarray(numpy.asarray(crop).transpose(2, 0, 1))
        return torch.from_numpy(planes / numpy.float32(255))

    def _check_sizes(self) -> None:
        """Looks at pictures until one is large enough; refuses if none is."""
        largest, first, seen = (0, 0), None, 0

        def measure(picture: Image.Image) -> None:
            raise _TooSmall(picture.size)

        for i in range(len(self)):
            try:
                open_picture(self._files.open(i), self._files.name(i), self.max_pixels, measure)
            except _TooSmall as found:
                if min(found.size) >= self.size:
                    return
                seen += 1
                largest = max(largest, found.size, key=min)
            except (InputError, OSError) as problem:
                first = first or _fault(self._files.name(i), problem)
        if not seen:
            raise InputError(
                f"none of the {len(self):,} pictures of {str(self.source)!r} can be read, to begin with {first}; "
                "copy or download them again"
            )
        raise InputError(
            f"no picture of {str(self.source)!r} is as large as the crop of {self.size}x{self.size} pixels, "
            f"the largest has {largest[0]}x{largest[1]}; take larger pictures or a smaller crop"
        )


class _TooSmall(InputError):
    def __init__(self, size: tuple[int, int]):
        super().__init__(f"a picture of {size[0]}x{size[1]} pixels is smaller than the crop")
        self.size = size


def _fault(name: str, problem: Exception) -> str:
    """A picture's name and what is wrong with it, from an error's sentence."""
    if isinstance(problem, _TooSmall):
        return f"{name} is smaller than the crop ({problem.size[0]}x{problem.size[1]})"
    if isinstance(problem, OSError):
        return f"{name} cannot be read ({problem.strerror or problem})"
    return name + str(problem).rsplit("; ", 1)[0].rpartition(repr(name))[2]


@lru_cache(maxsize=4)  # a batch may lie across two epochs
def _order(seed: int, epoch: int, count: int) -> numpy.ndarray:
    return numpy.random.default_rng([seed, epoch, count]).permutation(count)


def _bundled() -> Path:
    from .images import bundled, bundled_names

    return bundled(f"train/{bundled_names('train')[0]}").parent


class _Files:
    """Where pictures lie: in files of their own, or at an offset in a tar or a zip.

    The names are one array, not a list of strings: worker processes then share its memory.
    """

    def __init__(self, roots: list[Path], names: list[str], places: list[tuple[int, int, int, int]] | None):
        self.roots = roots
        self.names = numpy.array([os.fsencode(name) for name in names])
        self.places = (
            None if places is None else numpy.array(places, numpy.int64)
        )  # shard, offset, size, deflated

    def __len__(self) -> int:
        return len(self.names)

    def name(self, i: int) -> str:
        """Path within the folder, or shard and member."""
        name = os.fsdecode(self.names[i])
        return name if self.places is None else f"{self.roots[self.places[i][0]].name}/{name}"

    def open(self, i: int) -> Path | io.BytesIO:
        """A path or a file in memory; nothing stays open, so that processes can fork."""
        if self.places is None:
            return self.roots[0] / os.fsdecode(self.names[i])
        shard, offset, size, deflated = self.places[i].tolist()
        with self.roots[shard].open("rb") as file:
            file.seek(offset)
            data = file.read(size)
        if deflated:
            try:
                data = zlib.decompress(data, -zlib.MAX_WBITS)
            except zlib.error as problem:
                raise OSError(f"its compressed bytes are damaged: {problem}") from None
        return io.BytesIO(data)


def _find(source: str | os.PathLike) -> _Files:
    path = Path(source)
    if path.is_dir():
        names = _below(path, PICTURE_ENDINGS)
        if names:
            return _Files([path], names, None)
        shards = [path / name for name in _below(path, SHARD_ENDINGS)]
        if not shards:
            raise InputError(
                f"there is no picture below the folder {str(path)!r}; give a folder with "
                f"{', '.join((*PICTURE_ENDINGS, *SHARD_ENDINGS))} files"
            )
        return _members(shards, source)
    shards = [Path(name) for name in _expand(str(source))]
    missing = next((shard for shard in shards if not shard.is_file()), None)
    if missing is not None:
        what = "does not exist" if not missing.exists() else "is a folder"
        raise InputError(
            f"{str(missing)!r} {what}; give a folder of pictures, a .tar or .zip, or shards such as name-{{000..117}}.tar"
        )
    return _members(shards, source)


def _below(folder: Path, endings: tuple[str, ...]) -> list[str]:
    """Paths of the files below a folder, relative and sorted; hidden ones are left out, links followed once."""
    found, seen = [], set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(root, name).relative_to(folder).as_posix()
            for name in files
            if name.lower().endswith(endings) and not name.startswith(".")
        ]
    return sorted(found)


def _expand(pattern: str) -> list[str]:
    """``a-{08..10}.tar`` and ``{b,c}.tar`` as the names they stand for."""
    match = re.search(r"\{([^{}]+)\}", pattern)
    if match is None:
        return [pattern]
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", match[1])
    if numbers:
        width = len(numbers[1])
        parts = [f"{number:0{width}}" for number in range(int(numbers[1]), int(numbers[2]) + 1)]
    else:
        parts = match[1].split(",")
    return [
        name for part in parts for name in _expand(pattern[: match.start()] + part + pattern[match.end() :])
    ]


def _members(shards: list[Path], source: str | os.PathLike) -> _Files:
    """The pictures in tar and zip files, from their tables of members."""
    names, places = [], []
    for number, shard in enumerate(shards):
        zipped = shard.suffix.lower() == ".zip"
        try:
            for name, *place in (_in_zip if zipped else _in_tar)(shard):
                base = name.rsplit("/", 1)[-1]
                if not base.startswith(".") and base.lower().endswith(PICTURE_ENDINGS):
                    names.append(name)
                    places.append((number, *place))
        except (tarfile.TarError, zipfile.BadZipFile, OSError) as problem:
            kind = "zip file with deflated or plain members" if zipped else "uncompressed tar file"
            raise InputError(
                f"{str(shard)!r} is not a whole, {kind} ({problem}); make or download it again"
            ) from None
    if not names:
        raise InputError(
            f"there is no picture in {str(source)!r}; give tar or zip files that hold {', '.join(PICTURE_ENDINGS)}"
        )
    return _Files(shards, names, places)


def _in_tar(shard: Path) -> Iterator[tuple[str, int, int, bool]]:
    """Name, offset and size of each file of a tar, and that none is deflated."""
    with tarfile.open(shard, "r:") as archive:
        for member in archive:
            if member.isreg():
                yield member.name, member.offset_data, member.size, False
    if not _ends(shard):
        raise tarfile.ReadError("its end is missing")


def _in_zip(shard: Path) -> Iterator[tuple[str, int, int, bool]]:
    """Name, offset and stored size of each file of a zip, and whether it is deflated."""
    with zipfile.ZipFile(shard) as archive, shard.open("rb") as file:
        for member in archive.infolist():
            if member.is_dir():
                continue
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
                raise zipfile.BadZipFile(f"{member.filename} is encrypted or packed in a rare way")
            file.seek(member.header_offset)
            header = file.read(30)  # its name and extra field may be longer than in the table
            if header[:4] != b"PK\3\4":
                raise zipfile.BadZipFile(f"{member.filename} is not where the table says")
            start = member.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
            yield member.filename, start, member.compress_size, member.compress_type == zipfile.ZIP_DEFLATED


def _ends(shard: Path) -> bool:
    """Whether a tar file closes with a block of zeros; one cut off between two members reads as if it were whole."""
    with shard.open("rb") as file:
        file.seek(-tarfile.BLOCKSIZE, os.SEEK_END)
        return not any(file.read())


class BrokenPictures:
    """Counts the pictures that could not be used, and stops the run when they are too many.

    Args:
        max_broken: the largest share of the pictures looked at that may be broken. Until a hundred have been
            looked at it is a share of a hundred, so that one broken picture in the first batch stops nothing.

    Taught in chapter 5.
    """

    def __init__(self, max_broken: float = 0.05):
        self.max_broken, self.looked, self.count = max_broken, 0, 0
        self.names: dict[str, None] = {}  # a set that keeps the order

    def add(self, count: int, names: list[str]) -> None:
        """Counts one batch: so many crops, and the names found broken on the way to them.

        Raises:
            InputError: more than ``max_broken`` of the pictures looked at are broken.
        """
        self.looked += count + len(names)
        self.count += len(names)
        self.names.update(dict.fromkeys(names))
        if self.count > self.max_broken * max(self.looked, _GRACE):
            raise InputError(
                f"{self.summary()}; repair or remove them, or raise max_broken, the share that is let through, "
                f"from {self.max_broken:g}"
            )

    def summary(self) -> str:
        """How many pictures were broken, with the first names; empty when none was."""
        if not self.count:
            return ""
        some = list(self.names)[:3]
        more = f" and {len(self.names) - 3:,} more" if len(self.names) > 3 else ""
        return f"{self.count:,} of the {self.looked:,} pictures looked at could not be used: {', '.join(some)}{more}"


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
) -> Iterator[tuple[torch.Tensor, list[str]]]:
    """The batches of the steps ``start``, ``start + 1``, ... before ``stop``.

    Step s takes the ``batch_size * world`` crops from number ``s * batch_size * world`` on, and process
    ``rank`` its ``batch_size`` of them in order. So two processes with half the batch see together what
    one process sees, and a resumed run goes on where it was.

    Args:
        pictures: a :class:`Pictures`, or anything whose ``[n]`` gives a tensor and a tuple of names.
        batch_size: crops per step and process.
        start: the first step; larger than 0 when a run is resumed.
        stop: the step before which to end; None never ends.
        rank: which of the ``world`` processes this is.
        world: the number of processes.
        workers: processes that read ahead; 0 reads in this one.
        device: where the batches go; for a GPU they pass through pinned memory.

    Yields:
        float32 (batch_size, 3, size, size) in [0, 1], and the list of names found broken.

    Raises:
        InputError: a number is out of range, a worker process died, or too many pictures in a row are broken.

    Taught in chapter 5.
    """
    if batch_size < 1 or workers < 0 or start < 0 or not 0 <= rank < world:
        raise InputError(
            f"batch_size {batch_size}, workers {workers}, start {start}, rank {rank} of {world} was given; "
            "give a batch_size of at least 1, the others from 0, and a rank below the number of processes"
        )
    device = torch.device("cpu" if device is None else device)
    return _batches(pictures, _Steps(batch_size, start, stop, rank, world), workers, device)


def _batches(pictures, steps, workers, device):
    more = {}
    if workers:
        # with fork a script needs no `if __name__ == "__main__":`; elsewhere the platform decides
        more = {"prefetch_factor": 4, "multiprocessing_context": "fork" if sys.platform == "linux" else None}
    handler = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    batches = iter(
        DataLoader(
            _Quiet(pictures),
            batch_sampler=steps,
            collate_fn=_collate,
            num_workers=workers,  # each runs one torch thread, which is PyTorch's rule
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # else starting it would draw a number from the global generator
            **more,
        )
    )
    if handler is not None and threading.current_thread() is threading.main_thread():
        # PyTorch's handler would raise in the middle of whatever runs when a worker dies, such as the writing of
        # a checkpoint; without it the death is noticed here, at the next batch
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
            f"one of {workers} processes that read pictures died, as when memory runs out; give fewer workers, "
            "0 reads without any, or more memory (in a container, more shared memory)"
        ) from None
    finally:
        getattr(batches, "_shutdown_workers", lambda: None)()  # now, not when the last traceback is forgotten


def _died(problem: Exception, workers: int) -> bool:
    """Whether an error is a worker's death: a silent process or a cut connection, not what it reports itself."""
    reported = str(problem).startswith("Caught ")
    silent = not isinstance(problem, RuntimeError) or "DataLoader worker" in str(problem)
    return workers > 0 and silent and not reported


class _Steps:
    """The crop numbers of each step, for a DataLoader."""

    def __init__(self, batch_size: int, start: int, stop: int | None, rank: int, world: int):
        self.batch_size, self.start, self.stop, self.rank, self.world = batch_size, start, stop, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        step = self.start
        while self.stop is None or step < self.stop:
            first = (step * self.world + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))
            step += 1


class _Quiet(Dataset):
    """Hands an InputError on as a value: a worker would wrap its sentence in a traceback."""

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
    return torch.stack([image for image, _ in items]), [name for _, names in items for name in names], ""
