"""What all tests share."""

import os

from helpers import device, network

__all__ = ["device", "network"]

os.environ.setdefault("PYTHONHASHSEED", "0")
os.environ.setdefault("MPLBACKEND", "agg")
