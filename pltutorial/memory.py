"""How much memory is free, and the one sentence for what does not fit; torch is
imported only where a GPU is asked for.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from .errors import InputError

if TYPE_CHECKING:
    import torch

# Of Linux's control groups, versions 2 and 1: the folder, then the files that hold the
# limit and what is used of it, and the name in memory.stat of what is a mere cache.
_GROUPS = (
    ("", "memory.max", "memory.current", "inactive_file"),
    (
        "memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
_SYSTEM, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def free(device: torch.device | None = None) -> int:
    """Bytes that this process can still have on a device; on the computer's own memory
    if it is left out.

    The limits of control groups (containers, services) and of the process
    (``ulimit -v``, ``ulimit -d``) count where they leave less than the machine has.
    """
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    rooms = [psutil.virtual_memory().available]
    rooms += [limit - used for limit, used in (*_groups(), *_process_limits())]
    return max(0, min(rooms))


def total() -> int:
    """Bytes of the computer's own memory that this process may have at most."""
    limits = [limit for limit, _ in (*_groups(), *_process_limits())]
    return min([psutil.virtual_memory().total, *limits])


def check(
    needed: float,
    what: str,
    advice: str,
    device: torch.device | None = None,
    *,
    least: int = 100_000_000,
) -> None:
    """Refuse what will not fit before anything is done for it.

    Args:
        needed: bytes that it takes at its peak.
        what: see :func:`does_not_fit`.
        advice: the same.
        device: on whose memory; the computer's own if left out.
        least: what takes less is not worth a look at the memory, a tenth of a
            millisecond.

    Raises:
        InputError: less is free.
    """
    if needed > least and needed > (room := free(device)):
        raise InputError(does_not_fit(what, advice, room))


@contextlib.contextmanager
def room_for(what: str, advice: str) -> Iterator[None]:
    """Say in one sentence that memory ran out for something, see
    :func:`does_not_fit`.

    Raises:
        InputError: in the place of what Python, numpy and torch raise then.
    """
    try:
        yield
    except (MemoryError, OverflowError, RuntimeError) as problem:
        if isinstance(problem, RuntimeError) and not any(
            word in str(problem) for word in ("memory", "allocat", "overflow")
        ):
            raise
        raise InputError(does_not_fit(what, advice)) from problem


def does_not_fit(what: str, advice: str, room: int | None = None) -> str:
    """The sentence for what does not fit into memory.

    Args:
        what: what was asked for, a plural such as ``"640x480 pixels"``.
        advice: what to do instead, such as ``"give size=512"``.
        room: bytes that are free; left out of the sentence where nobody measured.
    """
    measured = "" if room is None else f" ({room / 1e9:.1f} GB)"
    return f"{what} do not fit into the memory that is free{measured}; {advice}"


def _groups() -> Iterator[tuple[int, int]]:
    """Limit and use, in bytes, of every control group that this process is in and
    that has a limit.
    """
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:  # not on Linux
        lines = []
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}
    for kind, limit, used, cache in _GROUPS:
        # in a container its own group is the root that it sees
        inner = Path(paths.get(kind, "/").lstrip("/"))
        for group in (inner, *inner.parents):
            folder = _SYSTEM / kind / group
            try:
                most = int((folder / limit).read_text())
                taken = int((folder / used).read_text())
                rows = (folder / "memory.stat").read_text().splitlines()
            except (OSError, ValueError):  # no such file; or "max", which is no limit
                continue
            caches = [int(row.split()[1]) for row in rows if row.split()[0] == cache]
            yield most, taken - sum(caches)


def _process_limits() -> Iterator[tuple[int, int]]:
    """Limits of this process on its address space and on its data, with what it has
    of them, in bytes.
    """
    try:
        import resource
    except ImportError:  # on Windows
        return
    for limit, of in ((resource.RLIMIT_AS, "vms"), (resource.RLIMIT_DATA, "data")):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY:
            memory = psutil.Process().memory_info()
            yield soft, getattr(memory, of, memory.vms)


@functools.cache
def keep_freed_memory() -> None:
    """From now on this process keeps the memory that it frees, for the next layer or
    step; Linux with glibc only.

    By default large blocks go back to the system, and every layer fetches its
    own again page by page: a fifth of the time of a training step, half of that
    of a large picture.
    """
    mallopt = (
        getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    )
    if mallopt is not None:
        trim_threshold, mmap_threshold, mmap_max = -1, -3, -4  # names of malloc.h
        mallopt(trim_threshold, -1)
        if not mallopt(mmap_threshold, 1 << 30):  # old versions take small values only
            mallopt(mmap_max, 0)
