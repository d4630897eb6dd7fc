"""A trained network as an ONNX file, which runs where PyTorch is not: in a browser, on
a phone, in other languages.

The file takes one picture of any height and width, ``image`` (1, 3, H, W), float32, RGB
in [0, 1], and gives ``output``, (1, 3, H', W') in [0, 1]. A network of several styles
takes their shares besides, ``weights`` (S,), which sum to 1, in the order of its
``style_names``; one that fills holes ``mask`` (1, 1, H, W), 1 where the picture is
missing. An inverter takes a ``code`` in the place of the picture, and of a VAE the
decoder is written, which takes ``latent``.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from ..errors import InputError, nearest, needed
from ..files import check_output, no_file, printable, write_whole
from ..networks.residual import InpaintingNet

LIMITS = {"half": 2 / 255, "float": 1e-4}
"""How weights are stored, and how far the output may then be from
PyTorch's in float32.
"""
RUNTIMES = ("browser", "native")
"""For whom the graph is written."""
SIZES = ((64, 64), (97, 131))
"""Heights and widths that are looked at if no others are asked for; odd ones are
continued inside the network.
"""


def export_onnx(
    network: nn.Module,
    path: str | os.PathLike,
    *,
    storage: str = "half",
    runtime: str = "browser",
    card: Mapping | None = None,
) -> Path:
    """Write a network as an ONNX file, for one picture of any height and width;
    whole or not at all.

    No upsampled map is ever convolved. For the runtime in a browser, onnxruntime-web on
    one thread, 3x3 convolutions are computed in tiles with a quarter of the
    multiplications (Lavin and Gray 2016). A native runtime has such tiles of its own:
    in onnxruntime on one thread plain convolutions took 0.61 to 0.87 of the time
    (``python -m benchmarks.production --part int8``). Everything is computed in
    float32. :func:`check_onnx` compares the file with PyTorch.

    Args:
        network: any that ships or that ``pltutorial train`` wrote and that makes
            pictures; it is written as in eval mode.
        path: a name that ends in ``.onnx``.
        storage: ``"half"`` keeps the weights in float16, half the bytes; networks
            that ship are kept so anyway, so that nothing is lost. ``"float"``
            keeps them in float32.
        runtime: ``"browser"``, 3x3 convolutions in tiles; ``"native"``, plain ones.
        card: what a reader must know of it, JSON-able; the network's own if left out.
            It is in the file's ``metadata_props`` as ``card``, beside the architecture,
            ``config``, and the shortest side, ``smallest``.

    Returns:
        the path.

    Raises:
        InputError: a network that cannot be exported, an unknown storage or runtime,
            weights that half precision cannot hold, a path that cannot be written, or a
            missing package, with the command that installs it.

    Example:
        >>> from tempfile import mkdtemp
        >>> network = DenoisingNet(width=8, blocks=1).eval()
        >>> path = export_onnx(network, mkdtemp() + "/denoise.onnx", storage="float")
        >>> path.name, path.stat().st_size > 1000
        ('denoise.onnx', True)
    """
    path = check_output(path, endings=(".onnx",))
    data = to_onnx(network, storage=storage, runtime=runtime, card=card)
    return write_whole(path, lambda file: file.write(data))


def to_onnx(
    network: nn.Module,
    *,
    storage: str = "half",
    runtime: str = "browser",
    card: Mapping | None = None,
) -> bytes:
    """What :func:`export_onnx` writes, as bytes.

    Raises:
        InputError: as :func:`export_onnx`.
    """
    for name, given, known in (
        ("storage", storage, LIMITS),
        ("runtime", runtime, RUNTIMES),
    ):
        if given not in known:
            raise InputError(
                f"there is no {name} {given!r}; {nearest(str(given), known)}"
            )
    if getattr(network, "config", {}).get("noise"):
        raise InputError(
            "the network has noise in its blocks, which other runtimes draw "
            "differently, so that no print could be compared; export one without, such "
            "as eight_styles"
        )
    needed("onnx", "exports", "export")
    from .networks import written

    if card is None:
        card = getattr(network, "card", {})
    facts = {
        "card": printable(json.dumps(dict(card), ensure_ascii=False)),
        "config": printable(
            json.dumps(getattr(network, "config", {}), ensure_ascii=False)
        ),
        "smallest": str(getattr(network, "smallest", 1)),
    }
    model = written(network, storage, facts, in_tiles=runtime == "browser")
    return model.SerializeToString(deterministic=True)


def _check_handles(count: int = 8) -> None:
    """Refuse a process that may open next to no file: the runtime would say so in
    lines of its own.
    """
    try:
        with contextlib.ExitStack() as opened:
            for _ in range(count):
                opened.enter_context(Path(os.devnull).open("rb"))
    except OSError as problem:
        raise InputError(
            f"an ONNX file cannot be checked ({problem.strerror}): this process needs "
            f"{count} open files more; raise the limit, as with ulimit -n 256"
        ) from None


def check_onnx(
    network: nn.Module,
    path: str | os.PathLike | bytes,
    sizes: Sequence[tuple[int, int]] = SIZES,
) -> float:
    """The largest difference between what an ONNX file makes of noise and what the
    network makes of it in PyTorch.

    Both compute in float32 on the CPU. The styles of a network of several are taken in
    turn, and a blend of all.

    Args:
        network: the one that was exported.
        path: the file, or its bytes.
        sizes: heights and widths of the pictures.

    Returns:
        the difference between pixels in [0, 1]; :data:`LIMITS` holds what is allowed.

    Raises:
        InputError: the file does not exist, is no ONNX file, takes other inputs or
            gives another size, or a missing package.

    Example:
        >>> from tempfile import mkdtemp
        >>> network = DenoisingNet(width=8, blocks=1).eval()
        >>> path = export_onnx(network, mkdtemp() + "/denoise.onnx", storage="float")
        >>> check_onnx(network, path) < 1e-3
        True
    """
    _check_handles()
    onnxruntime = needed("onnxruntime", "exports", "export")
    if not isinstance(path, bytes) and (fault := no_file(path)):
        raise InputError(f"the file {str(path)!r} {fault}; write it with export_onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is said in one sentence below
    try:
        given = path if isinstance(path, bytes) else Path(path).read_bytes()
        session = onnxruntime.InferenceSession(
            given, options, providers=["CPUExecutionProvider"]
        )
    except Exception as problem:
        # the runtime raises a kind of its own for each way to fail
        raise InputError(
            f"{_name(path)} is no ONNX file, or damaged; write it "
            "again with export_onnx"
        ) from problem
    network = copy.deepcopy(network).to("cpu", torch.float32).eval()
    generator, largest = torch.Generator().manual_seed(0), 0.0
    for number, size in enumerate(sizes):
        inputs = _noise(network, size, number, generator)
        with torch.inference_mode():
            expected = _reference(network, inputs)
        try:
            (found,) = session.run(
                ["output"], {name: value.numpy() for name, value in inputs.items()}
            )
        except Exception as problem:
            raise InputError(
                f"{_name(path)} does not take {', '.join(inputs)} of "
                f"{size[1]}x{size[0]} pixels, as its network does; give the network "
                "that it was written from"
            ) from problem
        if found.shape != expected.shape:
            raise InputError(
                f"{_name(path)} makes pictures of shape {found.shape} and the network "
                f"{tuple(expected.shape)}; give the network that it was written from"
            )
        difference = float((torch.from_numpy(found) - expected).abs().max())
        largest = max(largest, math.inf if math.isnan(difference) else difference)
    return largest


def _name(path: str | os.PathLike | bytes) -> str:
    return "what was given" if isinstance(path, bytes) else f"the file {str(path)!r}"


def _noise(
    network: nn.Module, size: tuple[int, int], number: int, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Inputs of an exported network, by name."""
    if network.kind == "vae":
        return {"latent": torch.randn(1, network.latent, generator=generator)}
    if network.kind == "inversion":
        positions = [-(-side // network.stride) for side in size]
        code = torch.rand(1, network.channels, *positions, generator=generator)
        return {"code": 2 * code * network.scale.view(1, -1, 1, 1)}
    inputs = {"image": torch.rand(1, 3, *size, generator=generator)}
    if names := getattr(network, "style_names", ()):
        blend = torch.full((len(names),), 1 / len(names))
        inputs["weights"] = (
            blend if number % 2 else torch.eye(len(names))[number // 2 % len(names)]
        )
    if isinstance(network, InpaintingNet):
        inputs["mask"] = (torch.rand(1, 1, *size, generator=generator) < 0.3).float()
    return inputs


def _reference(network: nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """What the network makes of them."""
    if network.kind == "vae":
        return network.decode(inputs["latent"])
    given = [
        value[None] if name == "weights" else value for name, value in inputs.items()
    ]
    return network(*given).float().clamp(0, 1)
