"""What all tests share."""

import os

from helpers import device, network
from training_runs import pictures, server, whole

__all__ = ["device", "network", "pictures", "server", "whole"]

os.environ.setdefault("PYTHONHASHSEED", "0")
os.environ.setdefault("MPLBACKEND", "agg")
