"""What all tests share."""

import os
import random

import pytest
from helpers import command, device, network, photo
from random_networks import (
    encoder,
    mask,
    own_networks,
    random_zoo,
    task_command,
    trunk,
)
from training_runs import one_thread, phi, pictures, server, task, whole

__all__ = [
    "command",
    "device",
    "encoder",
    "mask",
    "network",
    "one_thread",
    "own_networks",
    "phi",
    "photo",
    "pictures",
    "random_zoo",
    "server",
    "task",
    "task_command",
    "trunk",
    "whole",
]

os.environ.setdefault("PYTHONHASHSEED", "0")
os.environ.setdefault("MPLBACKEND", "agg")
# no test writes into the record of who runs it
os.environ.setdefault("PLTUTORIAL_PROGRESS", "off")


@pytest.fixture(autouse=True)
def same_draws(monkeypatch):
    """In CI the checks of exercises try the same inputs in every run, as hypothesis
    does; elsewhere others each time.
    """
    if os.environ.get("CI"):
        monkeypatch.setattr(
            "pltutorial.teaching.exercises.verdicts._seeds", random.Random(0)
        )
