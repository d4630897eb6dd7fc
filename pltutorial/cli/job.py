"""What the commands on pictures share: where a picture comes from, where it goes, and
what is refused on the way.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, nearest, on_a_line
from ..files import check_side, exists, is_folder, is_path
from . import check_stopped, streams
from .options import (
    MAX_PIXELS,
    Device,
    Format,
    Json,
    MaxPixels,
    Model,
    Output,
    Precision,
)

if TYPE_CHECKING:
    import torch

    from ..samples import Decoded

PIPE = "-"
STANDARD_INPUT = "standard input"
_SMALLEST_LIMIT = 100_000_000  # bytes that are always read from a pipe


@dataclass(kw_only=True)
class Job:
    """One picture to be made: where it goes, and what is said when it is there."""

    output: Output
    format: Format = None
    as_json: Json = False
    max_pixels: MaxPixels = MAX_PIXELS

    def check(self, *sources: Path | str) -> None:
        """Look at the paths, which is quick, before any work is done.

        Args:
            sources: the pictures that are read, files or ``-``; the first names the
                job. None for a picture that is made of none.
        """
        self.sources = sources
        if sources.count(PIPE) > 1:
            raise InputError(
                f"- was given {sources.count(PIPE)} times and standard input holds one "
                "picture; give the path of a file for the others"
            )
        for source in sources:
            if source != PIPE and is_folder(source):
                raise InputError(f"{str(source)!r} is a folder; give a picture")
        self.ending = ending_of(self.format, self.output)
        first, *others = sources or (PIPE,)
        files = [other for other in others if other != PIPE]
        checked(first, self.output, others=files, moves=False)

    def read(self, source: Path | str, as_bytes: bool = False) -> torch.Tensor:
        """One of the pictures as an image; ``picture`` is the last one as it was.

        ``as_bytes`` asks for a picture as bytes where those are all that the file
        holds, and keeps nothing else of it.
        """
        from ..images import open_file, to_image

        check_stopped()
        if source == PIPE:
            picture = standard_input(self.max_pixels, as_bytes)
        else:
            picture = open_file(source, self.max_pixels, as_bytes)
        as_bytes = as_bytes and picture.plain
        self.picture = None if as_bytes else picture
        return to_image(picture, STANDARD_INPUT if source == PIPE else source, as_bytes)

    def check_size(self, width: int, height: int, instead: str) -> None:
        """Refuse a result that would be too large, or too long for its format."""
        if height * width > self.max_pixels:
            raise InputError(
                f"the result would have {width}x{height} pixels and the limit is "
                f"{self.max_pixels:,}; {instead}, or raise --max-pixels"
            )
        check_side(width, height, self.ending or Path(self.output).suffix, instead)

    def say(self, image: torch.Tensor, line: str, **facts) -> None:
        """Say what was written: ``line`` for people, ``facts`` for --json."""
        width, height = image.shape[-1], image.shape[-2]
        if self.as_json:
            known = {"input": str(self.sources[0])} if self.sources else {}
            known |= {"output": self.output, "size": [width, height], **facts}
            known["seconds"] = round(known["seconds"], 3)
            stream = sys.stderr if self.output == PIPE else sys.stdout
            print(json.dumps(known), file=stream)
        elif self.output != PIPE:
            print(on_a_line(f"{self.output}: {width}x{height}, {line}"))


@dataclass(kw_only=True)
class NetworkJob(Job):
    """One picture that a trained network makes in one pass."""

    model: Model = None
    device: Device = "auto"
    precision: Precision = "auto"

    as_bytes = False  # no option: what the command's function takes

    def check(self, *sources: Path | str) -> torch.device:
        """Look at the paths, which is quick, and say where to compute."""
        super().check(*sources)
        place, self.facts = place_of(self.device, self.precision)
        return place

    def run(
        self,
        work: Callable[[torch.Tensor | None], torch.Tensor],
        loss: str | None,
        **facts,
    ) -> None:
        """Read, work, write, and say what was written.

        Args:
            work: makes the picture of the one that is read, or of None.
            loss: what the network was trained with, if it is one that ships.
            facts: more of it for --json.
        """
        start = time.perf_counter()
        image = work(
            self.read(self.sources[0], self.as_bytes) if self.sources else None
        )
        save(image, self.output, self.ending)
        seconds = time.perf_counter() - start
        by = {"loss": loss} if self.model is None else {"model": str(self.model)}
        name = loss if self.model is None else self.model.stem
        place, precision = self.facts["device"], self.facts["precision"]
        line = f"{seconds:.2f} s on {place} in {precision}"
        line = f"{name}, {line}" if name else line
        self.say(image, line, **by, **facts, **self.facts, seconds=seconds)


def place_of(device: str, precision: str) -> tuple[torch.device, dict[str, str]]:
    """Where a command computes, and the same in words for --json."""
    from ..device import best_device, best_precision

    place = best_device(device)
    dtype = str(best_precision(place, precision)).removeprefix("torch.")
    return place, {"device": str(place), "precision": dtype}


def source_of(name: str, folder: str) -> Path | str:
    """A path as it is, the bundled picture of that name, or ``-``."""
    from ..images import bundled, bundled_names

    if name == PIPE:
        return PIPE
    if is_path(name) or exists(name):
        return Path(name)
    if name not in bundled_names(folder):
        near = nearest(name, bundled_names(folder))
        raise InputError(
            f"there is no {folder} picture {name!r}; {near}, or give the path of a file"
        )
    return bundled(f"{folder}/{name}")


def save(image: torch.Tensor, output: Path | str, ending: str | None) -> None:
    """Write the picture, or pipe it in the format of this ending."""
    from ..files import check_output
    from ..images import write_image

    check_stopped()
    if output == PIPE:
        standard_output(image, ending)
    else:
        write_image(check_output(output), image, dtype=image.dtype)


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
        raise InputError(
            f"--format is for pipes and folders; end {output!r} in {ending} instead"
        )
    return ending


def checked(
    source: Path | str, output: str, *, others: Sequence[Path] = (), moves: bool = True
) -> tuple[Path | str, Path | str]:
    """Refuse an output that cannot be written, or is of another kind than the input,
    before any work is done.

    Args:
        source: the picture, or ``-``.
        output: the target, or ``-``.
        others: more inputs, which the output must not be.
        moves: GIFs and videos are welcome.
    """
    from ..files import check_output
    from ..images import PICTURE_ENDINGS
    from ..samples import pictures_in, several
    from ..video import VIDEO_ENDINGS

    kind = "" if source == PIPE else source.suffix.lower()
    if not moves and kind in VIDEO_ENDINGS:
        raise InputError(
            f"{str(source)!r} is a video; give a picture, only `pltutorial "
            "stylize` takes videos"
        )
    if output == PIPE:
        if streams.lost():
            raise InputError("standard output is closed; open it, or give -o FILE")
        if sys.stdout.isatty():
            raise InputError(
                "standard output is a terminal; pipe it into a program or a "
                "file, or give -o FILE"
            )
        if kind in VIDEO_ENDINGS:
            raise InputError(
                f"{str(source)!r} is a video and cannot be piped; give -o "
                "FILE with its ending"
            )
        return source, output
    moving = (*VIDEO_ENDINGS, ".gif") if moves else ()
    inputs = tuple(others) if source == PIPE else (source, *others)
    target = check_output(
        output,
        inputs,
        PICTURE_ENDINGS if source == PIPE else (*PICTURE_ENDINGS, *moving),
    )
    ending = target.suffix.lower()
    if kind in VIDEO_ENDINGS and ending not in VIDEO_ENDINGS:
        raise InputError(
            f"{str(source)!r} is a video and the output ends in {ending}; end it in "
            f"{', '.join(VIDEO_ENDINGS)}"
        )
    if ending in moving and kind not in moving:
        count, pages = pictures_in(source)
        if count == 1:
            raise InputError(
                f"{str(source)!r} is a single picture and the output ends in {ending}; "
                "end it in .png or .jpg"
            )
        if pages or ending != ".gif":
            raise InputError(several(source, count, pages))
    return source, target


def standard_input(max_pixels: int, as_bytes: bool = False) -> Decoded:
    """The picture that is piped into the command, decoded."""
    from ..images import open_picture

    if sys.stdin.isatty():
        raise InputError(
            "standard input is a terminal; pipe a picture into the "
            "command, or give a path"
        )
    most = max(_SMALLEST_LIMIT, 8 * max_pixels)  # 16 bits, and four channels
    data = sys.stdin.buffer.read(most + 1)
    if len(data) > most:
        raise InputError(
            f"standard input has more than {most:,} bytes and the limit is "
            f"{max_pixels:,} pixels; shrink the picture, or raise --max-pixels"
        )
    if not data:
        raise InputError(
            "standard input is empty; pipe a picture into the command, or give a path"
        )
    return open_picture(io.BytesIO(data), STANDARD_INPUT, max_pixels, as_bytes=as_bytes)


def standard_output(image: torch.Tensor, ending: str) -> None:
    """Pipe a picture out of the command, in the format of this ending."""
    from ..images import writer

    data = io.BytesIO()
    writer(image, ending, bytes_too=True)(data)
    sys.stdout.buffer.write(data.getvalue())
    if (problem := streams.full()) is not None:
        raise InputError(
            f"standard output took no more ({problem.strerror}), and the picture is "
            "not whole; free space, or give -o FILE"
        )
    if streams.lost():
        raise InputError(
            "standard output was closed before the picture was written; let the "
            "program that reads it wait for the end"
        )
