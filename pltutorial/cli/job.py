"""What the commands on pictures share: where a picture comes from, where it goes, and what is refused on the way."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, nearest

if TYPE_CHECKING:
    import torch
    from PIL import Image

PIPE = "-"
STANDARD_INPUT = "standard input"

Photo = Annotated[
    str,
    typer.Argument(help="A picture, the name of a bundled one, or - for standard input.", metavar="PHOTO"),
]
Output = Annotated[
    str, typer.Option("--output", "-o", help="Where to write: .png, .jpg, ..., or - for standard output.")
]
Model = Annotated[Path | None, typer.Option(help="A network that `pltutorial train` wrote.")]
Format = Annotated[str | None, typer.Option(help="png, jpg, webp, ... for standard output; png if left out.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[
    str, typer.Option(help="auto (bfloat16 where the processor has it), float32 or bfloat16.")
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object; on standard error if the picture is piped."),
]
MaxPixels = Annotated[
    int, typer.Option(help="Refuse pictures with more pixels than this, read or to be written.")
]


class Job:
    """One picture to be made: where it comes from and goes, and what is said when it is there.

    ``photo`` is None for a picture that is made of none.
    """

    def __init__(
        self,
        photo: str | None,
        output: str,
        format: str | None,
        device: str,
        precision: str,
        as_json: bool,
        max_pixels: int,
    ) -> None:
        self.photo, self.output, self.format = photo, output, format
        self.device, self.precision = device, precision
        self.as_json, self.max_pixels = as_json, max_pixels
        self.others: tuple[Path, ...] = ()
        self.picture: Image.Image | None = None

    def check(self) -> torch.device:
        """Look at the paths, which is quick, and say where to compute."""
        from .app import _picture

        self.source = self.photo if self.photo in (PIPE, None) else _picture(self.photo, "content")
        if isinstance(self.source, Path) and self.source.is_dir():
            raise InputError(f"{str(self.source)!r} is a folder; give a picture")
        self.ending = ending_of(self.format, self.output)
        source = PIPE if self.source is None else self.source
        checked(source, self.output, others=self.others, moves=False)
        from ..device import best_device, best_precision

        place = best_device(self.device)
        precision = str(best_precision(place, self.precision)).removeprefix("torch.")
        self.facts = {"device": str(place), "precision": precision}
        return place

    def check_size(self, width: int, height: int, instead: str) -> None:
        """Refuse a result that would be too large."""
        if height * width > self.max_pixels:
            raise InputError(
                f"the result would have {width}x{height} pixels and the limit is {self.max_pixels:,}; {instead}, or raise "
                "--max-pixels"
            )

    def run(self, work: Callable[[torch.Tensor | None], torch.Tensor], by: dict, **facts) -> None:
        """Read, work, write, and say what was written.

        Args:
            work: makes the picture.
            by: what the network is called: ``loss`` of one that ships, or ``model``.
            facts: more of it for --json.
        """
        from ..images import check_output, to_image, write_image

        start = time.perf_counter()
        given = None
        if self.source is not None:
            self.picture = self._read()
            given = to_image(self.picture, STANDARD_INPUT if self.source == PIPE else self.source)
        image = work(given)
        if self.output == PIPE:
            standard_output(image, self.ending)
        else:
            write_image(check_output(self.output), image)
        seconds = time.perf_counter() - start
        width, height = image.shape[-1], image.shape[-2]
        if self.as_json:
            known = {} if self.source is None else {"input": str(self.source)}
            known |= {"output": self.output, "size": [width, height], **by, **facts, **self.facts}
            known["seconds"] = round(seconds, 3)
            print(json.dumps(known), file=sys.stderr if self.output == PIPE else sys.stdout)
        elif self.output != PIPE:
            name = by["loss"] if "loss" in by else Path(by["model"]).stem
            place, precision = self.facts["device"], self.facts["precision"]
            print(f"{self.output}: {width}x{height}, {name}, {seconds:.2f} s on {place} in {precision}")

    def _read(self) -> Image.Image:
        from ..images import open_file

        if self.source == PIPE:
            return standard_input(self.max_pixels)
        if self.source.suffix.lower() == ".gif":
            refuse_animation(self.source, "give a picture, only `pltutorial stylize` takes those that move")
        return open_file(self.source, self.max_pixels)


def ending_of(format: str | None, output: str, folder: bool = False) -> str | None:
    """The ending that --format means."""
    from ..images import PICTURE_ENDINGS

    if format is None:
        return ".png" if output == PIPE else None
    ending = "." + format.lower().removeprefix(".")
    if ending not in PICTURE_ENDINGS:
        known = [ending[1:] for ending in PICTURE_ENDINGS]
        raise InputError(f"--format {format!r} is unknown; {nearest(format, known)}")
    if output != PIPE and not folder:
        raise InputError(f"--format is for pipes and folders; end {output!r} in {ending} instead")
    return ending


def checked(
    source: Path | str, output: str, *, others: Sequence[Path] = (), moves: bool = True
) -> tuple[Path | str, Path | str]:
    """Refuse an output that cannot be written, or is of another kind than the input, before any work is done.

    Args:
        source: the picture, or ``-``.
        output: the target, or ``-``.
        others: more inputs, which the output must not be.
        moves: GIFs and videos are welcome.
    """
    from ..images import PICTURE_ENDINGS, check_output
    from ..video import VIDEO_ENDINGS

    kind = "" if source == PIPE else source.suffix.lower()
    if not moves and kind in VIDEO_ENDINGS:
        raise InputError(
            f"{str(source)!r} is a video; give a picture, only `pltutorial stylize` takes videos"
        )
    if output == PIPE:
        if sys.stdout.isatty():
            raise InputError(
                "standard output is a terminal; pipe it into a program or a file, or give -o FILE"
            )
        if kind in VIDEO_ENDINGS:
            raise InputError(f"{str(source)!r} is a video and cannot be piped; give -o FILE with its ending")
        return source, output
    moving = (*VIDEO_ENDINGS, ".gif") if moves else ()
    inputs = tuple(others) if source == PIPE else (source, *others)
    target = check_output(output, inputs, PICTURE_ENDINGS if source == PIPE else (*PICTURE_ENDINGS, *moving))
    ending = target.suffix.lower()
    if kind in VIDEO_ENDINGS and ending not in VIDEO_ENDINGS:
        raise InputError(
            f"{str(source)!r} is a video and the output ends in {ending}; end it in {', '.join(VIDEO_ENDINGS)}"
        )
    if ending in moving and kind not in moving:
        raise InputError(
            f"{str(source)!r} is a single picture and the output ends in {ending}; end it in .png or .jpg"
        )
    return source, target


def refuse_animation(source: Path, instead: str) -> None:
    """Refuse a file of several frames where one picture is wanted."""
    from PIL import Image

    try:
        with Image.open(source) as picture:
            frames = getattr(picture, "n_frames", 1)
    except Exception:  # reading it properly will say what is wrong
        return
    if frames > 1:
        raise InputError(f"{str(source)!r} has {frames} frames; {instead}")


def standard_input(max_pixels: int) -> Image.Image:
    """The picture that is piped into the command, decoded."""
    from ..images import open_picture

    if sys.stdin.isatty():
        raise InputError("standard input is a terminal; pipe a picture into the command, or give a path")
    data = sys.stdin.buffer.read()
    if not data:
        raise InputError("standard input is empty; pipe a picture into the command, or give a path")
    return open_picture(io.BytesIO(data), STANDARD_INPUT, max_pixels)


def standard_output(image: torch.Tensor, ending: str) -> None:
    """Pipe a picture out of the command, in the format of this ending."""
    from PIL import Image

    from ..images import to_picture

    data = io.BytesIO()
    to_picture(image).save(data, format=Image.registered_extensions()[ending], quality=95)
    try:
        sys.stdout.buffer.write(data.getvalue())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        raise InputError(
            "standard output was closed before the picture was written; let the program that reads it wait for the end"
        ) from None
