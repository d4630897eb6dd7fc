"""The command ``stylize``: trained styles on pictures, folders, GIFs and pipes."""

from __future__ import annotations

import functools
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, on_a_line
from ..files import exists, is_folder, is_path
from .job import (
    PIPE,
    NetworkJob,
    checked,
    ending_of,
    place_of,
    save,
    source_of,
)
from .options import photo_argument, with_options

if TYPE_CHECKING:
    import torch

    from ..networks import TransformNet


@with_options
def stylize(
    photo: Annotated[
        str,
        photo_argument(
            more=(
                "; a GIF or a video; or a folder of them, and then "
                "the output is one too"
            )
        ),
    ],
    job: NetworkJob,
    style: Annotated[
        str | None,
        typer.Option(
            help=(
                "A trained style, `pltutorial styles` lists them; or the file of any "
                "painting."
            )
        ),
    ] = None,
    styles: Annotated[
        str | None,
        typer.Option(help="A blend of styles with weights: great_wave:0.7,poppies:0.3"),
    ] = None,
    strength: Annotated[
        float, typer.Option(help="From 0, the picture itself, to 1, the whole style.")
    ] = 1.0,
    preserve_color: Annotated[
        str | None,
        typer.Option(help="luminance or histogram: keep the picture's colours."),
    ] = None,
    stroke: Annotated[
        float,
        typer.Option(
            help=(
                "How large the strokes are: 2 for twice as large, 0.5 for half as "
                "large as the network paints them."
            )
        ),
    ] = 1.0,
    size: Annotated[
        int | None,
        typer.Option(
            help="Longer side of the output in pixels; the picture's if left out."
        ),
    ] = None,
    refine: Annotated[
        int | None,
        typer.Option(
            help=(
                "Steps of L-BFGS that go on from the print; ten take about a minute "
                "at 512 pixels."
            )
        ),
    ] = None,
    temporal_smoothing: Annotated[
        float,
        typer.Option(
            help=(
                "For GIFs and videos, from 0 to below 1: less flicker where "
                "nothing moves; try 0.8."
            )
        ),
    ] = 0.0,
    progress: Annotated[
        bool, typer.Option(help="Show a progress bar for GIFs and videos.")
    ] = True,
) -> None:
    """Give pictures a style in one pass: one that a network has learned (Johnson et al.
    2016), or that of any painting (Li et al. 2017).
    """
    from ..tasks.restyle import prepared, restyle
    from ..tasks.style import check_options
    from ..tasks.style import stylize as paint
    from ..video import temporal_smoothing as check_smoothing

    check_options(strength, preserve_color, stroke)
    check_smoothing(temporal_smoothing)
    if size is not None and size < 1:
        raise InputError(
            f"--size {size} was given; give the longer side in pixels, such as 1024"
        )
    source, output = source_of(photo, "content"), job.output
    paintings = [Path(style)] if style and is_path(style) else []
    folder = source != PIPE and is_folder(source)
    job.ending = ending_of(job.format, output, folder)
    if folder:
        jobs, others = _jobs(source, output, job.ending)
    else:
        jobs, others = [checked(source, output, others=paintings)], []

    how = {
        "strength": strength,
        "preserve_color": preserve_color,
        "stroke": stroke,
        "precision": job.precision,
    }
    if paintings:
        if styles or job.model:
            raise InputError(
                f"--style {style} is a painting; leave --styles and --model out, or "
                "name a trained style"
            )
        painting = prepared(
            job.read(paintings[0]), precision=job.precision, device=job.device
        )
        chosen, work = style, functools.partial(restyle, style=painting, **how)
    else:
        network, chosen = _network(style, styles, job.model, job.device)
        work = functools.partial(paint, style=chosen, network=network, **how)

    if refine is not None:
        _check_refine(refine, strength, stroke, jobs)
        work = _refining(
            work,
            painting=job.read(paintings[0]) if paintings else None,
            network=None if paintings else network,
            chosen=chosen,
            how={
                "steps": refine,
                "preserve_color": preserve_color,
                "precision": job.precision,
                "device": job.device,
                "progress": progress,
            },
        )
    if folder:
        _make(Path(output))
    facts = {
        "input": str(source),
        "output": output,
        "style": chosen or style or job.model.stem,
        **place_of(job.device, job.precision)[1],
    }
    clip = {"smoothing": temporal_smoothing, "progress": progress}
    start = time.perf_counter()
    done, failed = [], []
    for one, target in jobs:
        try:
            done.append(_one(job, one, target, work, size=size, clip=clip))
        except InputError as problem:
            if not folder:
                raise
            failed.append({"input": str(one), "error": str(problem)})
            print(on_a_line(f"left out: {problem}"), file=sys.stderr)
            continue
        if not job.as_json and output != PIPE:
            print(on_a_line(_line(done[-1], facts)))
    if folder:
        facts |= {
            "pictures": done,
            "failed": failed,
            "passed_over": others,
            "seconds": round(time.perf_counter() - start, 3),
        }
    else:
        facts |= done[0]
    if job.as_json:
        print(json.dumps(facts), file=sys.stderr if output == PIPE else sys.stdout)
    if failed:
        print(
            f"error: {len(failed)} of {len(jobs)} were left out, as said above",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def _line(done: dict, facts: dict) -> str:
    frames = f", {done['frames']} frames" if "frames" in done else ""
    width, height = done["size"]
    style = facts["style"]
    style = (
        ", ".join(f"{name}:{weight:g}" for name, weight in style.items())
        if isinstance(style, dict)
        else style
    )
    return (
        f"{done['output']}: {width}x{height}{frames}, {style}, {done['seconds']:.2f} "
        f"s on {facts['device']} in {facts['precision']}"
    )


# --- what is asked for ----------------------------------------------------------------


def _network(
    style: str | None, styles: str | None, model: Path | None, device: str
) -> tuple[TransformNet, str | dict | None]:
    """The network, and which of its styles: a name, weights, or None
    for the one it has.
    """
    from ..zoo import load_style
    from ..zoo import styles as known

    if style and styles:
        raise InputError("--style and --styles were both given; give one of them")
    if not (style or styles or model):
        names = (
            ", ".join(known())
            or "none is installed, train one with `pltutorial train style`"
        )
        raise InputError(f"no style was given; choose one with --style: {names}")
    blend: str | dict | None = _weights(styles) if styles else style
    network = load_style(blend if model is None else model, device)
    if not network.style_names:
        if model is not None and blend is not None:
            raise InputError(
                f"the network {str(model)!r} has one style of its "
                "own; leave --style out"
            )
        return network, None
    if blend is None:
        blend = network.chosen  # the network was named by a style
    if blend is None or (
        isinstance(blend, str) and blend not in network.style_names and model is None
    ):
        # a network was named, and it has several styles
        if len(network.style_names) > 1:
            raise InputError(
                "this network has several styles; choose with --style out of "
                f"{', '.join(network.style_names)}"
            )
        blend = network.style_names[0]
    network.blend(blend)  # an unknown name is refused before any picture is read
    return network, blend


def _check_refine(
    steps: int,
    strength: float,
    stroke: float,
    jobs: list[tuple[Path | str, Path | str]],
) -> None:
    from .. import video

    if steps < 1:
        raise InputError(
            f"--refine {steps} was given; give a number of steps from 1 on"
        )
    if strength < 1:
        raise InputError(
            f"--refine leads the print to the whole style, and --strength {strength:g} "
            "asks for less; leave one of them out"
        )
    if stroke != 1:
        raise InputError(
            "--refine leads the print to the strokes that its network was trained on, "
            f"and --stroke {stroke:g} asks for others; leave one of them out"
        )
    moving = (".gif", *video.VIDEO_ENDINGS)
    if any(str(target).lower().endswith(moving) for _, target in jobs):
        raise InputError(
            "--refine is for single pictures: frames that are refined one by one "
            "flicker; leave it out"
        )


def _refining(
    work: Callable[[torch.Tensor], torch.Tensor],
    *,
    painting: torch.Tensor | None,
    network: TransformNet | None,
    chosen: str | dict | None,
    how: dict,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """What makes a print, followed by the optimisation."""
    from ..tasks.refine import paintings_of, refine

    if painting is None:
        names = chosen or next(iter(network.card.get("styles", [])), "of this network")
        blend = names if isinstance(names, dict) else {names: 1.0}
        pictures, weights = paintings_of(blend)
        how = {**how, "style_weights": weights, "card": network.card}
    else:
        pictures = [painting]
    return lambda image: refine(image, work(image), pictures, **how)


def _weights(text: str) -> dict[str, float]:
    """``great_wave:0.7,poppies:0.3`` as names and weights."""
    weights: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, weight = part.partition(":")
        if not re.fullmatch(r"[0-9]*\.?[0-9]+(e-?[0-9]+)?", weight or "1"):
            raise InputError(
                f"the weight {weight!r} of style {name!r} is no number of at least "
                f"0; write {name}:0.5"
            )
        weights[name] = weights.get(name, 0) + float(weight or 1)
    if not weights:
        raise InputError(
            f"--styles {text!r} names no style; write great_wave:0.7,poppies:0.3"
        )
    return weights


def _jobs(
    folder: Path, output: str, ending: str | None
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Every picture, GIF and video of a folder with the file it
    becomes in the other; and what is passed over, which is said.
    """
    from ..files import check_output
    from ..formats import endings, looks_like_picture, passed_over, start_of
    from ..images import PICTURE_ENDINGS
    from ..video import VIDEO_ENDINGS

    kinds = (*endings(), *VIDEO_ENDINGS)
    try:
        files = sorted(path for path in folder.iterdir() if path.name[0] != ".")
    except OSError as problem:
        raise InputError(
            f"the folder {str(folder)!r} cannot be read ({problem.strerror}); "
            "change its permissions"
        ) from None
    found = [path for path in files if path.suffix.lower() in kinds]
    others = [
        path.name
        for path in files
        if path.suffix.lower() not in kinds and looks_like_picture(path, start_of(path))
    ]
    said = passed_over(others, folder) if others else ""
    if not found:
        raise InputError(
            f"there is no picture in the folder {str(folder)!r} that can be read; give "
            f"one with files ending in "
            f"{', '.join((*PICTURE_ENDINGS, '.gif', *VIDEO_ENDINGS))}"
            + (f" ({said})" if others else "")
        )
    if output == PIPE:
        raise InputError("a folder cannot be piped; give -o FOLDER")
    target = Path(output)
    if exists(target) and not is_folder(target):
        raise InputError(
            f"the output {output!r} is a file and the input a folder; give "
            "the name of a folder"
        )
    if exists(target) and target.samefile(folder):
        raise InputError(
            f"the output {output!r} is also an input; choose another folder so "
            "that nothing is lost"
        )
    names: dict[str, str] = {}
    for path in found:
        kind = path.suffix.lower()
        if kind == ".gif" or kind in VIDEO_ENDINGS:
            name = path.name
        elif ending or kind not in PICTURE_ENDINGS:  # not all kinds can be written
            name = path.stem + (ending or ".png")
        else:
            name = path.name
        if name in names:
            raise InputError(
                f"{names[name]!r} and {path.name!r} would both become {name!r}; "
                "rename one, or leave --format out"
            )
        exists(folder / name)  # refuses one that would be too long
        names[name] = path.name
    if not exists(target):
        check_output(target.parent / "any.png")
    if said:
        print(on_a_line(f"warning: {said}"), file=sys.stderr)
    for path in files:
        if path.is_dir() and path != target and _holds(path, kinds):
            others.append(path.name)
            print(
                f"warning: passed over the folder {path.name!r} of {str(folder)!r}, "
                "which holds pictures; give it by itself",
                file=sys.stderr,
            )
    return [(folder / path, target / name) for name, path in names.items()], others


def _holds(folder: Path, kinds: tuple[str, ...]) -> bool:
    """Whether a folder has pictures in it, as far as one may look."""
    try:
        return any(path.suffix.lower() in kinds for path in folder.iterdir())
    except OSError:
        return False


def _make(folder: Path) -> None:
    from ..files import check_output

    try:
        folder.mkdir(exist_ok=True)
    except OSError as problem:
        raise InputError(
            f"the output folder {str(folder)!r} cannot be made "
            f"({problem.strerror}); choose another"
        ) from None
    check_output(folder / "any.png")


# --- one file -------------------------------------------------------------------------


def _one(
    job: NetworkJob,
    source: Path | str,
    target: Path | str,
    work: Callable[[torch.Tensor], torch.Tensor],
    *,
    size: int | None,
    clip: dict,
) -> dict:
    """Read, transform and write one picture, GIF or video; returns what was written."""
    from .. import video
    from ..files import check_side
    from ..images import resize, sides_for

    start = time.perf_counter()
    facts = {"input": str(source), "output": str(target)}
    kind = "" if target == PIPE else target.suffix.lower()
    if kind == ".gif" or kind in video.VIDEO_ENDINGS:
        move = video.stylize_gif if kind == ".gif" else video.stylize_video
        limits = {"size": size, "max_pixels": job.max_pixels}
        made = move(source, target, work, **limits, **clip)
        facts |= {"size": [made.width, made.height], "frames": made.frames}
    else:
        image = job.read(source)
        shape = tuple(image.shape[-2:])
        height, width = shape if size is None else sides_for(shape, size)
        ending = job.ending or Path(target).suffix
        check_side(width, height, ending, "give a smaller --size")
        image = work(image if size is None else resize(image, size))
        save(image, target, job.ending)
        facts["size"] = [image.shape[-1], image.shape[-2]]
    return {**facts, "seconds": round(time.perf_counter() - start, 3)}
