"""Networks as ONNX files: the code is in :mod:`pltutorial.onnx.export`."""

from .onnx.export import *  # noqa: F403
