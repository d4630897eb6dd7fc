"""One seed out of several numbers: what is random is drawn from the
number of its crop.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator

import numpy


def seed_of(*numbers: int) -> int:
    """One seed out of several numbers, such as the run's and the crop's."""
    return int(
        numpy.random.SeedSequence(numbers).generate_state(1, numpy.uint64)[0] >> 1
    )


_one_by_one = threading.RLock()


@contextlib.contextmanager
def leaving_no_trace() -> Iterator[None]:
    """What another package does to the random numbers and to the filters of warnings
    while it is loaded is undone; of several threads one after the other.
    """
    import torch

    with _one_by_one, warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        yield
