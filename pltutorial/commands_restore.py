"""The commands ``upscale``, ``denoise`` and ``inpaint``: what a trained network gives back to a picture."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .commands_shared import (
    PIPE,
    STANDARD_INPUT,
    checked,
    ending_of,
    refuse_animation,
    standard_input,
    standard_output,
)
from .errors import InputError

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import nn

_Photo = Annotated[
    str,
    typer.Argument(help="A picture, the name of a bundled one, or - for standard input.", metavar="PHOTO"),
]
_Output = Annotated[
    str, typer.Option("--output", "-o", help="Where to write: .png, .jpg, ..., or - for standard output.")
]
_Loss = Annotated[
    str | None,
    typer.Option(
        help="combined (likeness; the default) or pixel (accuracy); a number from 0 (pixel) to 1 blends."
    ),
]
_Model = Annotated[Path | None, typer.Option(help="A network that `pltutorial train` wrote.")]
_Format = Annotated[
    str | None, typer.Option(help="png, jpg, webp, ... for standard output; png if left out.")
]
_Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
_Precision = Annotated[
    str, typer.Option(help="auto (bfloat16 where the processor has it), float32 or bfloat16.")
]
_Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object; on standard error if the picture is piped."),
]
_MaxPixels = Annotated[
    int, typer.Option(help="Refuse pictures with more pixels than this, read or to be written.")
]


def upscale(
    photo: _Photo,
    output: _Output,
    factor: Annotated[
        int | None,
        typer.Option(help="How much larger each side becomes: 4 (the default) or 8, or the network's own."),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="feature (likeness; the default) or pixel (accuracy); a number from 0 (pixel) to 1 blends."
        ),
    ] = None,
    match_histogram: Annotated[
        bool, typer.Option("--match-histogram", help="Give the output the histogram of its input.")
    ] = False,
    model: _Model = None,
    format: _Format = None,
    device: _Device = "auto",
    precision: _Precision = "auto",
    as_json: _Json = False,
    max_pixels: _MaxPixels = 100_000_000,
) -> None:
    """Enlarge a picture with a network that has learned to (Johnson et al. 2016, section 4.2)."""
    job = _Job("upscale", photo, output, loss, model, format, device, precision, as_json, max_pixels)
    network = job.network(factor)

    def work(image: torch.Tensor) -> torch.Tensor:
        from .restoration import upscale

        _check_result(image, network.factor, max_pixels)
        how = {"match_histogram": match_histogram, "precision": precision}
        return upscale(image, factor, network=network, **how)

    job.run(work, {"factor": network.factor})


def denoise(
    photo: _Photo,
    output: _Output,
    loss: _Loss = None,
    model: _Model = None,
    format: _Format = None,
    device: _Device = "auto",
    precision: _Precision = "auto",
    as_json: _Json = False,
    max_pixels: _MaxPixels = 100_000_000,
) -> None:
    """Take Gaussian noise of any strength out of a picture."""
    job = _Job("denoise", photo, output, loss, model, format, device, precision, as_json, max_pixels)
    network = job.network()

    def work(image: torch.Tensor) -> torch.Tensor:
        from .restoration import denoise

        return denoise(image, network=network, precision=precision)

    job.run(work)


def inpaint(
    photo: _Photo,
    output: _Output,
    mask: Annotated[
        Path | None,
        typer.Argument(
            help="A picture of the same size, white where PHOTO is missing and black elsewhere; left out, "
            "PHOTO's own transparent pixels are missing.",
            metavar="MASK",
        ),
    ] = None,
    loss: _Loss = None,
    model: _Model = None,
    format: _Format = None,
    device: _Device = "auto",
    precision: _Precision = "auto",
    as_json: _Json = False,
    max_pixels: _MaxPixels = 100_000_000,
) -> None:
    """Fill the holes of a picture; what is there stays as it is."""
    job = _Job("inpaint", photo, output, loss, model, format, device, precision, as_json, max_pixels)
    job.others = () if mask is None else (mask,)
    network = job.network()

    def work(image: torch.Tensor) -> torch.Tensor:
        from .restoration import inpaint, read_mask, transparency

        if mask is not None:
            holes = read_mask(mask, max_pixels=max_pixels)
        else:
            holes = transparency(job.picture)
        if holes is None:
            raise InputError(
                f"{str(job.source)!r} has no transparent pixels and no mask was given; give MASK, a picture of the same "
                "size that is white where something is missing"
            )
        return inpaint(image, holes, network=network, precision=precision)

    job.run(work)


class _Job:
    """One picture, and what was said about it on the command line."""

    def __init__(self, task, photo, output, loss, model, format, device, precision, as_json, max_pixels):
        self.task, self.photo, self.output = task, photo, output
        self.loss, self.model, self.device = loss, model, device
        self.format, self.precision = format, precision
        self.as_json, self.max_pixels = as_json, max_pixels
        self.others: tuple[Path, ...] = ()

    def network(self, factor: int | None = None) -> nn.Module:
        """Looks at the paths, which is quick, and then loads the network."""
        from .cli import _picture

        if self.loss is not None and self.model is not None:
            raise InputError("--loss and --model were both given; give one of them")
        self.source = self.photo if self.photo == PIPE else _picture(self.photo, "content")
        if self.source != PIPE and self.source.is_dir():
            raise InputError(f"{str(self.source)!r} is a folder; give a picture")
        self.ending = ending_of(self.format, self.output)
        checked(self.source, self.output, others=self.others, moves=False)
        from .device import best_device, best_precision
        from .zoo import load_restorer

        place = best_device(self.device)
        given = 4 if factor is None else factor
        network = load_restorer(self.task, self.loss, factor=given, model=self.model, device=place)
        self.facts = {"device": str(place)}
        self.facts["precision"] = str(best_precision(place, self.precision)).removeprefix("torch.")
        return network

    def run(self, work: Callable[[torch.Tensor], torch.Tensor], facts: dict | None = None) -> None:
        """Read, work, write, and say what was written."""
        from .images import check_output, to_image, write_image
        from .zoo import TASKS

        start = time.perf_counter()
        self.picture = self._read()
        name = STANDARD_INPUT if self.source == PIPE else self.source
        image = work(to_image(self.picture, name))
        if self.output == PIPE:
            standard_output(image, self.ending)
        else:
            write_image(check_output(self.output), image)
        facts = {
            "input": str(self.source),
            "output": self.output,
            "size": [image.shape[-1], image.shape[-2]],
            **(
                {"loss": self.loss or TASKS[self.task][1][1]}
                if self.model is None
                else {"model": str(self.model)}
            ),
            **(facts or {}),
            **self.facts,
            "seconds": round(time.perf_counter() - start, 3),
        }
        if self.as_json:
            print(json.dumps(facts), file=sys.stderr if self.output == PIPE else sys.stdout)
        elif self.output != PIPE:
            width, height = facts["size"]
            by = facts.get("loss") or self.model.stem
            print(
                f"{self.output}: {width}x{height}, {by}, {facts['seconds']:.2f} s on {facts['device']} in "
                f"{facts['precision']}"
            )

    def _read(self) -> Image.Image:
        from .images import open_file

        if self.source == PIPE:
            return standard_input(self.max_pixels)
        if self.source.suffix.lower() == ".gif":
            refuse_animation(self.source, "give a picture, only `pltutorial stylize` takes those that move")
        return open_file(self.source, self.max_pixels)


def _check_result(image: torch.Tensor, factor: int, max_pixels: int) -> None:
    height, width = (factor * side for side in image.shape[-2:])
    if height * width > max_pixels:
        raise InputError(
            f"the result would have {width}x{height} pixels and the limit is {max_pixels:,}; shrink the picture, or raise "
            "--max-pixels"
        )
