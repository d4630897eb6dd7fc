"""The command ``export``: networks for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, nearest, on_a_line

if TYPE_CHECKING:
    from torch import nn


def export(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Where to write: a name that ends in .onnx."
        ),
    ],
    name: Annotated[
        str | None,
        typer.Argument(
            help=(
                "A network that ships, or a style, which is cut out of its network; "
                "`pltutorial models` and `pltutorial styles` list them."
            ),
            metavar="[NAME]",
        ),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(
            help=(
                "A trained style, for its network with a weight for each style that it "
                "knows; a network of styles, or the file of one."
            )
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="A network that `pltutorial train` wrote.")
    ] = None,
    storage: Annotated[
        str, typer.Option(help="half (float16 weights, half the bytes) or float.")
    ] = "half",
    runtime: Annotated[
        str,
        typer.Option(
            help="Who shall run it: browser, or native (onnxruntime on a computer)."
        ),
    ] = "browser",
) -> None:
    """Write a trained network as ONNX, for pictures of any size, and
    compare it with PyTorch.
    """
    from ..files import check_output

    chosen = [value for value in (name, style, model) if value is not None]
    if len(chosen) != 1:
        count = f"{len(chosen)} networks were" if chosen else "no network was"
        raise InputError(f"{count} given; give one: NAME, --style or --model")
    check_output(output, () if model is None else (model,), (".onnx",))
    network = _network(name, style, model)

    from ..files import write_whole
    from ..onnx.export import LIMITS, SIZES, check_onnx, to_onnx

    data = to_onnx(network, storage=storage, runtime=runtime)
    difference = check_onnx(network, data)
    if not difference <= LIMITS[storage]:  # not a number is too much
        instead = (
            "--storage float"
            if storage == "half"
            else "a network whose weights are of usual size"
        )
        raise InputError(
            f"exported, the network would be {255 * difference:.2g}/255 from PyTorch, "
            f"and {255 * LIMITS[storage]:.2g}/255 are allowed; give {instead}"
        )
    write_whole(output, lambda file: file.write(data))
    sizes = " and ".join(f"{width}x{height}" for height, width in SIZES)
    print(
        f"{on_a_line(output)}: {len(data) / 1e6:.2f} MB, {storage} storage, at most "
        f"{255 * difference:.2g}/255 from PyTorch ({sizes})"
    )
    if styles := getattr(network, "style_names", ()):
        print(f"weights: {', '.join(styles)}")


def _network(name: str | None, style: str | None, model: Path | None) -> nn.Module:
    from .. import zoo
    from ..networks import load_network

    if model is not None:
        return load_network(model, "cpu")
    if style is not None:
        return zoo.load_style(style, "cpu")
    paths = zoo.installed()
    if name in paths:
        return load_network(paths[name], "cpu")
    if name in zoo.styles():
        network = zoo.load_style(name, "cpu")
        return network.only(name) if network.style_names else network
    if Path(name).suffix == ".safetensors":
        return load_network(name, "cpu")
    known = sorted({*paths, *zoo.styles()})
    raise InputError(
        f"there is no network {name!r}; {nearest(name, known)}, and --model takes "
        "one that you trained"
    )
