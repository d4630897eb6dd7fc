"""One seed out of several numbers: what is random is drawn from the
number of its crop.
"""

from __future__ import annotations

import numpy


def seed_of(*numbers: int) -> int:
    """One seed out of several numbers, such as the run's and the crop's."""
    return int(
        numpy.random.SeedSequence(numbers).generate_state(1, numpy.uint64)[0] >> 1
    )
