"""The line that stands under a figure: rounded facts, which the notebook tests compare
because they cannot compare pictures.
"""

from __future__ import annotations

from typing import Any

import numpy


def plain(value: Any) -> str:
    """A value as a title says it: floats with at most six digits."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def sizes_of(panels: list[numpy.ndarray]) -> str:
    """How many pictures of which sizes."""
    sizes = ["x".join(str(side) for side in panel.shape) for panel in panels]
    count = f"{len(panels)} picture{'s' if len(panels) > 1 else ''}"
    return f"{count} {sizes[0] if len(set(sizes)) == 1 else ' '.join(sizes)}"


def picture_facts(panels: list[numpy.ndarray], facts: str) -> str:
    """Sizes, and means or the words that were given; see ``facts`` of `show`."""
    if facts == "shape":
        return sizes_of(panels)
    if facts != "mean":
        return f"{sizes_of(panels)}, {facts}"
    # Adding 0.0 turns -0.00 into 0.00; float64 sums do not depend on the number of
    # threads.
    means = " ".join(
        f"{round(float(panel.mean(dtype=numpy.float64)), 2) + 0.0:.2f}"
        for panel in panels
    )
    return f"{sizes_of(panels)}, mean{'s' if len(panels) > 1 else ''} {means}"


def curve_facts(
    series: dict[str, tuple[numpy.ndarray, numpy.ndarray]], facts: str
) -> str:
    """Points, and ends or trend or the words that were given; see `curves`."""

    def one(label: str, y: numpy.ndarray) -> str:
        head = f"{label} {len(y)} point{'s' if len(y) > 1 else ''}"
        if facts == "ends":
            return f"{head} from {y[0]:.2g} to {y[-1]:.2g}"
        if facts == "trend":
            # Within 1% is neither a fall nor a rise.
            change = (y[-1] - y[0]) / max(abs(y[0]), abs(y[-1]), 1e-300)
            does = "falls" if change < -0.01 else "rises" if change > 0.01 else "stays"
            return f"{head} {does}"
        return head

    words = "; ".join(one(label, y) for label, (_, y) in series.items())
    return words if facts in ("ends", "trend", "shape") else f"{words}; {facts}"
