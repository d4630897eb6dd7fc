"""How much memory is free, and the one sentence for what does not fit; torch is
imported only where a GPU is asked for.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

# Files that hold a container's limit and what is used of it: version 2 of Linux's
# control groups, and version 1.
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def free(device: torch.device | None = None) -> int:
    """Bytes that this process can still have on a device; on the computer's own memory
    if it is left out.

    The limits of a container and of the process (``ulimit -v``) count where they leave
    less than the machine has.
    """
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    rooms = [psutil.virtual_memory().available]
    if (group := _group()) is not None:
        rooms.append(group[0] - group[1])
    if (limit := _process_limit()) is not None:
        rooms.append(limit - psutil.Process().memory_info().vms)
    return max(0, min(rooms))


def total() -> int:
    """Bytes of the computer's own memory that this process may have at most."""
    limits = [psutil.virtual_memory().total, _process_limit()]
    limits.append(group[0] if (group := _group()) is not None else None)
    return min(limit for limit in limits if limit is not None)


def does_not_fit(what: str, advice: str, room: int | None = None) -> str:
    """The sentence for what does not fit into memory.

    Args:
        what: what was asked for, a plural such as ``"640x480 pixels"``.
        advice: what to do instead, such as ``"give size=512"``.
        room: bytes that are free; left out of the sentence where nobody measured.
    """
    measured = "" if room is None else f" ({room / 1e9:.1f} GB)"
    return f"{what} do not fit into the memory that is free{measured}; {advice}"


def _group() -> tuple[int, int] | None:
    """A container's limit and what is used of it, in bytes; None without a limit."""
    for limit, used in _GROUPS:
        try:
            return int(Path(limit).read_text()), int(Path(used).read_text())
        except (OSError, ValueError):  # no such file; or "max", which is no limit
            continue
    return None


def _process_limit() -> int | None:
    """The most address space that the process may have, in bytes;
    None without a limit.
    """
    try:
        import resource
    except ImportError:  # on Windows
        return None
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else soft


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
