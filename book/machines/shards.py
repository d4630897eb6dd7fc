"""Each process, and each of its workers, opens shards of its own and reads them from
begin to end: no picture is read twice in an epoch, no shard by two.

What is read in an epoch is a function of the epoch's number, so that no process has to
ask another, and a run that was stopped goes on with the pictures that come next (with
as many processes and workers as before). ``pack_shards.py`` makes the shards.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path

import numpy
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from pltutorial import InputError
from pltutorial.files import no_file
from pltutorial.training.pictures import Pictures, loader


def deal(sizes: dict[str, int], readers: int, epoch: int = 0) -> list[list[str]]:
    """The shards of each reader in an epoch: shuffled, then dealt like cards."""
    names = sorted(sizes)
    if len(names) < readers:
        raise InputError(
            f"{len(names)} shards were given to {readers} readers (processes times "
            f"workers); pack at least {readers}, best a multiple of it"
        )
    order = numpy.random.default_rng(epoch).permutation(len(names))
    return [[names[i] for i in order[reader::readers]] for reader in range(readers)]


def sizes_of(folder: str | Path) -> dict[str, int]:
    """How many pictures each shard of a folder has."""
    path, sizes = Path(folder, "sizes.json"), None
    fault = no_file(path)
    if not fault:
        try:
            sizes = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            fault = "is no JSON"
        else:
            counts = sizes.values() if isinstance(sizes, dict) else [None]
            if not all(type(count) is int and count >= 0 for count in counts):
                fault = "does not say how many pictures each shard has"
    if fault:
        raise InputError(
            f"{str(path)!r} {fault}; pack the pictures with pack_shards.py, and give "
            "the folder that it wrote"
        )
    return sizes


def common(sizes: dict[str, int], hands: list[list[str]], batch: int) -> int:
    """Batches that every reader has. All take so many, so that none waits in vain for
    one that has no more; what is left over is read in another epoch.
    """
    return min(sum(sizes[name] for name in hand) for hand in hands) // batch


class Epoch(IterableDataset):
    """The batches (N, 3, size, size) of one process in one epoch, from number ``skip``
    on; worker w of W has the numbers w, w + W, ..., which is how a DataLoader asks.
    """

    def __init__(
        self,
        folder: Path,
        size: int,
        batch: int,
        sizes: dict[str, int],
        hands: list[list[str]],
        most: int,
        skip: int,
        epoch: int,
    ) -> None:
        self.folder, self.size, self.batch, self.sizes = folder, size, batch, sizes
        self.hands, self.most, self.skip, self.epoch = hands, most, skip, epoch

    def __iter__(self) -> Iterator[torch.Tensor]:
        worker, workers = getattr(get_worker_info(), "id", 0), len(self.hands)
        reader = (worker + self.skip) % workers  # who has the next number
        done = (self.skip - reader + workers - 1) // workers
        crops = self._crops(self.hands[reader], done * self.batch)
        for _ in range(done, self.most):
            yield torch.stack([next(crops) for _ in range(self.batch)])

    def _crops(self, hand: list[str], skip: int) -> Iterator[torch.Tensor]:
        for name in hand:
            length = self.sizes[name]
            if skip < length:
                pictures = Pictures(self.folder / name, self.size)
                if len(pictures) != length:
                    raise InputError(
                        f"{name} has {len(pictures)} pictures and sizes.json says "
                        f"{length}; pack the shards again"
                    )
                first = self.epoch * length  # each epoch has an order of its own
                for number in range(first + skip, first + length):
                    yield pictures[number][0]
            skip = max(0, skip - length)


def own_batches(
    folder: str | Path,
    size: int,
    batch: int,
    *,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    start: int = 0,
) -> Iterator[torch.Tensor]:
    """The batches of one of ``world`` processes, for ever, from step ``start`` on."""
    sizes = sizes_of(folder)
    each = max(1, workers)
    for epoch in count():
        hands = deal(sizes, world * each, epoch)
        most = common(sizes, hands, batch)
        if most == 0:
            raise InputError(
                f"a reader has fewer than the {batch} pictures of a batch; give more "
                "pictures, fewer processes or workers, or a smaller batch"
            )
        if start < most * each:
            mine = hands[rank * each : (rank + 1) * each]
            data = Epoch(Path(folder), size, batch, sizes, mine, most, start, epoch)
            yield from DataLoader(data, batch_size=None, num_workers=workers)
        start = max(0, start - most * each)


def check(config: dict) -> None:
    """Refuse numbers with which nothing could be trained."""
    leasts = {"steps": 1, "batch": 1, "size": 1, "every": 1, "workers": 0}
    for name, least in leasts.items():
        if config[name] < least:
            raise InputError(f"--{name} {config[name]} was given; give {least} or more")
    if not 0 < config["rate"] < math.inf:
        raise InputError(
            f"--rate {config['rate']} was given; give a number above 0, such as 1e-3"
        )


@contextmanager
def joined() -> Iterator[None]:
    """Within the block this process belongs to the group that was started with it."""
    if "RANK" not in os.environ or "MASTER_ADDR" not in os.environ:
        raise InputError(
            "train.py was started by itself; start it with torchrun --nproc-per-node 1 "
            "train.py, or with more processes"
        )
    dist.init_process_group()
    yield
    dist.destroy_process_group()


def batches(
    config: dict, rank: int, world: int, device: torch.device, start: int = 0
) -> Iterator[torch.Tensor]:
    """The batches of a process of ``train.py``, from step ``start`` to the last.

    With ``own_shards`` those above. Else crop number n of the package's stream, which
    any process may read from any shard: then the batch of all processes is the one that
    a single process would take, and their number may change between two starts.
    """
    check(config)
    share, rest = divmod(config["batch"], world)
    if rest or not share:
        raise InputError(
            f"a batch of {config['batch']} was given to {world} processes; give a "
            f"multiple of {world}"
        )
    how = {"rank": rank, "world": world, "workers": config["workers"], "start": start}
    if config["own_shards"]:
        own = own_batches(config["data"], config["size"], share, **how)
        left = max(0, config["steps"] - start)
        return (images.to(device) for images in islice(own, left))
    pictures = Pictures(config["data"] or None, config["size"])
    crops = loader(pictures, share, stop=config["steps"], device=device, **how)
    return (images for images, _ in crops)


def with_webdataset(folder: str | Path, size: int, batch: int, epoch: int = 0):
    """The same shards through the package webdataset: also from ``https:`` and
    ``pipe:``, but shuffled in a buffer and without a place to go on from.
    """
    import webdataset

    names = sorted(str(path) for path in Path(folder).glob("*.tar"))
    pictures = webdataset.WebDataset(
        names,
        nodesplitter=webdataset.split_by_node,  # by RANK and WORLD_SIZE
        shardshuffle=len(names),
        seed=epoch,
    )

    def crop(picture: torch.Tensor) -> torch.Tensor:
        top, left = ((length - size) // 2 for length in picture.shape[-2:])
        return picture[:, top : top + size, left : left + size]

    decoded = pictures.shuffle(1000).decode("torchrgb").to_tuple("jpg", "txt")
    return decoded.map_tuple(crop, str).batched(batch, partial=False)
