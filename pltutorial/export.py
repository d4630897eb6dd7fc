"""A trained network as an ONNX file, which runs where PyTorch is not: in a browser, on a phone, in other languages."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from .errors import InputError, nearest
from .images import check_output, write_whole

STORAGES = ("half", "float")
LIMITS = {"half": 2 / 255, "float": 1e-4}
"""How far an exported network may be from PyTorch in float32, by storage."""
SIZES = ((64, 64), (97, 131))
_MISSING = 'export needs the package {}; install it with: pip install "pltutorial[export]"'


def export_onnx(
    network: nn.Module,
    path: str | os.PathLike,
    *,
    storage: str = "half",
    card: Mapping | None = None,
) -> Path:
    """Write a network as ONNX, for pictures of any height and width; whole or not at all."""
    path = check_output(path, endings=(".onnx",))
    data = to_onnx(network, storage=storage, card=card)
    return write_whole(path, lambda file: file.write(data))


def to_onnx(network: nn.Module, *, storage: str = "half", card: Mapping | None = None) -> bytes:
    """The bytes that :func:`export_onnx` writes."""
    if storage not in STORAGES:
        raise InputError(f"there is no storage {storage!r}; {nearest(str(storage), STORAGES)}")
    try:
        from . import _onnx
    except ImportError as problem:
        raise InputError(_MISSING.format(problem.name)) from None
    facts = {"card": json.dumps(dict(network.card if card is None else card), ensure_ascii=False)}
    return _onnx.model(network, storage, facts).SerializeToString()


def check_onnx(
    network: nn.Module, path: str | os.PathLike | bytes, sizes: Sequence[tuple[int, int]] = SIZES
) -> float:
    """The largest difference between an ONNX file and the network in PyTorch, in float32 on the CPU."""
    try:
        import onnxruntime
    except ImportError as problem:
        raise InputError(_MISSING.format(problem.name)) from None
    session = onnxruntime.InferenceSession(
        path if isinstance(path, bytes) else os.fspath(path), providers=["CPUExecutionProvider"]
    )
    network = copy.deepcopy(network).to("cpu", torch.float32).eval()
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for number, size in enumerate(sizes):
        given = {"image": torch.rand(1, 3, *size, generator=generator)}
        arguments = [given["image"]]
        if names := getattr(network, "style_names", ()):
            shares = torch.rand(len(names), generator=generator)
            shares = shares / shares.sum() if number % 2 else torch.eye(len(names))[number // 2 % len(names)]
            given["weights"] = shares
            arguments.append(shares[None])
        if network.kind == "inpainting":
            given["mask"] = (torch.rand(1, 1, *size, generator=generator) < 0.3).float()
            arguments.append(given["mask"])
        with torch.inference_mode():
            wanted = network(*arguments).float().clamp(0, 1)
        (found,) = session.run(["output"], {name: value.numpy() for name, value in given.items()})
        largest = max(largest, float((torch.from_numpy(found) - wanted).abs().max()))
    return largest
