"""The card of a trained network: what a reader must know of it, as facts that
any file can keep.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..device import best_precision
from ..settings import TrainingSettings

if TYPE_CHECKING:
    from .task import Trained

CURVE_POINTS = 30
_NOT_IN_CARDS = (
    "device",
    "progress",
    "workers",
    "log_every",
    "sample_every",
    "checkpoint_every",
    "tensorboard",
    "minutes",
    "cache",
)


def training_card(
    result: Trained,
    settings: TrainingSettings,
    pictures: str = "",
    terms: Sequence[str] = (),
) -> dict:
    """What training knows of a network; whoever trained it adds its limits, its licence
    and its held-out numbers.

    Args:
        result: what :func:`pltutorial.training.train` returned.
        settings: the settings it was trained with.
        pictures: what the pictures are, whose, and under which licence.
        terms: the kinds of terms that the curve shows besides their total: a name, or
            what stands before its ``/``.

    Returns:
        JSON-able: data, steps, settings, curve, seconds and machine. The curve has at
        most thirty points [step, terms, total], weighted, of the log.

    Example:
        >>> settings = TrainingSettings(steps=20)
        >>> from pltutorial.training import Trained
        >>> network = torch.nn.Conv2d(3, 3, 1)
        >>> result = Trained(network, steps=20, pictures=8, source="photos")
        >>> card = training_card(result, settings, "my photographs, CC0")
        >>> card["data"], card["settings"]["learning_rate"]
        ('my photographs, CC0; 8 pictures of photos', 0.001)
    """
    device = next(result.network.parameters()).device
    seconds, minutes = result.seconds, result.seconds / 60
    words = f"{minutes:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
    precision = str(best_precision(device, settings.precision)).removeprefix("torch.")
    count = f"{result.pictures:,} pictures of {Path(result.source).name}"
    return {
        "data": "; ".join(filter(None, (pictures, count))),
        "steps": result.steps or (result.history[-1].step if result.history else 0),
        "settings": kept_settings(settings),
        "curve": _curve(result, terms),
        "seconds": round(result.seconds),
        "machine": f"{processor(device)}, {precision}, {words}",
    }


def kept_settings(settings: TrainingSettings) -> dict:
    """The settings that decide what a network learns, those left out
    or empty left out.
    """
    chosen = {
        name: value
        for name, value in asdict(settings).items()
        if name not in _NOT_IN_CARDS
    }
    return {name: value for name, value in chosen.items() if value not in (None, ())}


def _curve(result: Trained, terms: Sequence[str]) -> list[list[float]]:
    history = result.history
    if len(history) > CURVE_POINTS:
        last = len(history) - 1
        history = [
            history[round(n * last / (CURVE_POINTS - 1))] for n in range(CURVE_POINTS)
        ]
    points = []
    for record in history:
        sums = [
            sum(
                value
                for name, value in record.terms.items()
                if name.split("/")[0] == kind
            )
            for kind in terms
        ]
        points.append(
            [record.step, *(float(f"{value:.4g}") for value in (*sums, record.total))]
        )
    return points


def processor(device: torch.device) -> str:
    """The device's name, and for a CPU how many of its threads are used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            name = next(
                line.split(":", 1)[1].strip()
                for line in file
                if line.startswith("model name")
            )
    except (OSError, StopIteration):
        pass
    return f"{name}, {torch.get_num_threads()} of {os.cpu_count()} threads"
