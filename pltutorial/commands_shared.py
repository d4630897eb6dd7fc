"""What the commands on pictures share: where a picture comes from, where it goes, and what is refused on the way."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError, nearest

if TYPE_CHECKING:
    import torch
    from PIL import Image

PIPE = "-"
STANDARD_INPUT = "standard input"


def ending_of(format: str | None, output: str, folder: bool = False) -> str | None:
    """The ending that --format means."""
    from .images import PICTURE_ENDINGS

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
    from .images import PICTURE_ENDINGS, check_output
    from .video import VIDEO_ENDINGS

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
    from .images import open_picture

    if sys.stdin.isatty():
        raise InputError("standard input is a terminal; pipe a picture into the command, or give a path")
    data = sys.stdin.buffer.read()
    if not data:
        raise InputError("standard input is empty; pipe a picture into the command, or give a path")
    return open_picture(io.BytesIO(data), STANDARD_INPUT, max_pixels)


def standard_output(image: torch.Tensor, ending: str) -> None:
    """Pipe a picture out of the command, in the format of this ending."""
    from PIL import Image

    from .images import to_picture

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
