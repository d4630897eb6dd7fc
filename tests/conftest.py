"""What all tests share."""

import os

from helpers import command, device, network, photo
from training_runs import phi, pictures, server, task, whole

__all__ = ["command", "device", "network", "phi", "photo", "pictures", "server", "task", "whole"]

os.environ.setdefault("PYTHONHASHSEED", "0")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("PLTUTORIAL_PROGRESS", "off")  # no test writes into the record of who runs it
