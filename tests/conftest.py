"""What all tests share."""

import os

from helpers import device, network
from training_runs import phi, pictures, server, task, whole

__all__ = ["device", "network", "phi", "pictures", "server", "task", "whole"]

os.environ.setdefault("PYTHONHASHSEED", "0")
os.environ.setdefault("MPLBACKEND", "agg")
