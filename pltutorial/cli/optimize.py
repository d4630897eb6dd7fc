"""The commands ``transfer``, ``reconstruct`` and ``texture``: the picture itself is
what is optimised.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated

from ..errors import InputError
from ..files import exists
from ..settings import ReconstructionSettings, TextureSettings, TransferSettings
from . import Stopped, heed
from .job import Job, place_of, save, source_of
from .options import parts_of, photo_argument, with_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

    from ..optimize import Result
    from ..settings import OptimizeSettings

_SEVERAL = "; several with weights: great_wave:0.7,night.jpg:0.3"


@with_options
def transfer(
    content: Annotated[str, photo_argument("CONTENT")],
    style: Annotated[str, photo_argument("STYLE", _SEVERAL)],
    job: Job,
    settings: TransferSettings,
) -> None:
    """Give a picture the style of another by optimisation (Gatys et al. 2016)."""
    source = source_of(content, "content")
    weights = _styles(style)

    def work(content: torch.Tensor, *styles: torch.Tensor) -> Result:
        from ..optimize import transfer_style

        numbers = [weight for _, weight in weights]
        return transfer_style(content, styles, style_weights=numbers, settings=settings)

    blend = [[str(path), weight] for path, weight in weights]
    _run(job, work, settings, source, *(path for path, _ in weights), styles=blend)


@with_options
def reconstruct(
    picture: Annotated[str, photo_argument("PICTURE")],
    job: Job,
    settings: ReconstructionSettings,
) -> None:
    """Find a picture with the same features at one layer
    (Mahendran and Vedaldi 2015).
    """

    def work(image: torch.Tensor) -> Result:
        from ..optimize import reconstruct_features

        return reconstruct_features(image, settings=settings)

    _run(job, work, settings, source_of(picture, "content"), layer=settings.layer)


@with_options
def texture(
    style: Annotated[str, photo_argument("STYLE")], job: Job, settings: TextureSettings
) -> None:
    """Make a texture with the same Gram matrices (Gatys et al. 2015)."""

    def work(image: torch.Tensor) -> Result:
        from ..optimize import reconstruct_style

        return reconstruct_style(image, settings=settings)

    _run(job, work, settings, source_of(style, "style"), layers=settings.layers)


def _run(
    job: Job,
    work: Callable[..., Result],
    settings: OptimizeSettings,
    *sources: Path | str,
    **facts,
) -> None:
    """Read the pictures, once it is sure that the output can be
    written; work; write.
    """
    job.check(*sources)
    _, place = place_of(settings.device, settings.precision)
    start = time.perf_counter()
    images = [job.read(source) for source in sources]
    job.check_size(*_largest(settings, images[0]), "give smaller --sizes")
    result = work(*images)
    if result.stopped == "interrupted":
        heed()
    save(result.image, job.output, job.ending)
    steps, least = len(result.history), min(result.totals)
    early = "" if result.stopped == "done" else f", {result.stopped}"
    job.say(
        result.image,
        f"{steps} steps in {result.seconds:.1f} s, loss {result.totals[0]:.4g} to "
        f"{least:.4g}{early}",
        **facts,
        steps=steps,
        losses=[result.totals[0], least],
        stopped=result.stopped,
        **place,
        seconds=time.perf_counter() - start,
    )
    if result.stopped == "interrupted":
        raise Stopped("interrupted; what was written is the best picture until then")


def _largest(settings: OptimizeSettings, image: torch.Tensor) -> tuple[int, int]:
    """Width and height of the picture that is made of this one."""
    height, width = image.shape[-2:]
    share = min(1.0, max(settings.sizes) / max(height, width))
    width = getattr(settings, "width", None) or width
    height = getattr(settings, "height", None) or height
    return max(1, round(width * share)), max(1, round(height * share))


def _styles(text: str) -> list[tuple[Path | str, float]]:
    """``great_wave:0.7,night.jpg:0.3`` as sources and weights."""
    styles = []
    for part in parts_of(text):
        name, weight = part, None
        if not exists(part):
            form = r"(.*?)(?::(-?[0-9.]+(?:e-?[0-9]+)?))?"
            name, weight = re.fullmatch(form, part, re.DOTALL).groups()
        source = source_of(name, "style")
        try:
            styles.append((source, float(weight or 1)))
        except ValueError:
            raise InputError(
                f"the weight {weight!r} of style {name!r} is no number; "
                f"write {name}:0.5"
            ) from None
    return styles
