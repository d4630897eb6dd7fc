"""Commands made from the register of tasks: ``train NAME`` for each, and its own."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import register
from ..errors import InputError, on_a_line
from . import Stopped
from .job import PIPE, NetworkJob, source_of
from .options import Photo, with_options

if TYPE_CHECKING:
    import torch

    from ..register import Option, TaskSpec
    from ..settings import TrainingSettings
    from ..training.task import Trained

training = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Train a network; the same command again goes on.",
)
Folder = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        help="Folder for log, samples, checkpoint and network; made if missing.",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="A folder of pictures, a .tar or .zip, or shards such as "
        "coco-{000..117}.tar; the bundled ones if left out."
    ),
]
Note = Annotated[
    str | None,
    typer.Option(
        help="Whose pictures they are and under which licence, for the network's card."
    ),
]


@training.callback()
def _tasks() -> None:
    """Typer makes a group of a single command where there is a callback."""


def add_to(app: typer.Typer) -> None:
    """Give the command line ``train``, and a command for each task that has one."""
    for spec in register.all().values():
        if spec.command is not None:
            app.command(spec.command.name, help=spec.command.help)(
                picture_command(spec)
            )
        training.command(spec.name, help=spec.train_help)(train_command(spec))
    app.add_typer(training, name="train")


def train_command(spec: TaskSpec) -> Callable:
    """``pltutorial train NAME``, with the task's settings as options."""

    def command(output: Folder, data: Data = None, data_note: Note = None, *, settings):
        if output == PIPE:
            raise InputError("-o - was given and a run has many files; give a folder")
        _train(register.find(spec.name), settings, output, data, data_note)

    command.__annotations__["settings"] = spec.settings
    return with_options(command, config=True)


def _train(
    spec: TaskSpec,
    settings: TrainingSettings,
    output: str,
    data: str | None,
    data_note: str | None,
) -> None:
    from ..training import train
    from ..training.checkpoint import NETWORK

    task = spec.training(settings)
    if data is None:
        data, note = spec.pictures()
        data_note = data_note or note
    result = train(
        task,
        settings,
        pictures=data,
        folder=output,
        card=lambda result: spec.card(result, task, settings, data_note or ""),
    )
    if os.environ.get("RANK", "0") == "0":
        _report(result, Path(output) / NETWORK, spec.usage, spec.usage_more(task))
    if result.stopped == "interrupted":
        if result.file is None:
            kept = "interrupted before a step was complete; nothing is kept"
            raise Stopped(kept, result.signal)
        kept = "interrupted; the same command again goes on from here"
        raise Stopped(kept, result.signal)


def _report(result: Trained, network: Path, usage: str, more: str) -> None:
    if result.history and result.file is not None:
        first, last = result.history[0], result.history[-1]
        print(
            f"{on_a_line(network)}: {last.step} steps in {result.seconds:.0f} s, "
            f"loss {first.total:.4g} at step {first.step}, "
            f"{last.total:.4g} at step {last.step}"
        )
    if result.broken:
        some = ", ".join(result.broken[:3]) + (
            ", ..." if len(result.broken) > 3 else ""
        )
        print(
            on_a_line(f"{len(result.broken)} pictures could not be used: {some}"),
            file=sys.stderr,
        )
    if result.stopped != "interrupted":
        print(on_a_line(f"use it: pltutorial {usage} --model {network}{more} -o OUT"))


def picture_command(spec: TaskSpec) -> Callable:
    """``pltutorial NAME``: a network of the task on one picture, or on none."""

    def command(**given) -> None:
        _run(spec, **given)

    def parameter(name: str, hint, default=inspect.Parameter.empty):
        kind = inspect.Parameter.KEYWORD_ONLY
        return inspect.Parameter(name, kind, annotation=hint, default=default)

    parameters = [parameter("photo", Photo)] if spec.command.takes_picture else []
    for option in spec.command.options:
        unsaid = option.name in spec.command.excludes_model
        default = None if unsaid else option.default
        parameters.append(parameter(option.name, _hint(option), default))
    if spec.command.loss_help:
        loss = Annotated[str | None, typer.Option(help=spec.command.loss_help)]
        parameters.append(parameter("loss", loss, None))
    parameters.append(parameter("job", NetworkJob))
    command.__signature__ = inspect.Signature(parameters)
    return with_options(command)


def _hint(option: Option):
    """The annotation from which Typer makes an option."""
    if option.argument:
        about = typer.Argument(help=option.help, metavar=option.name.upper())
    elif option.kind is bool:  # without its --no- twin
        flag = f"--{option.name.replace('_', '-')}"
        return Annotated[bool, typer.Option(flag, help=option.help)]
    else:
        about = typer.Option(help=option.help)
    return Annotated[option.kind | None, about]


def _run(
    spec: TaskSpec,
    job: NetworkJob,
    photo: str | None = None,
    loss: str | None = None,
    **options,
) -> None:
    command = spec.command
    given = {"loss": loss, **options}
    for name in ("loss", *command.excludes_model):
        if given[name] is not None and job.model is not None:
            raise InputError(f"--{name} and --model were both given; give one of them")
    for option in command.options:
        if options[option.name] is None:
            options[option.name] = option.default
        option.check(options[option.name])
    files = [value for value in options.values() if isinstance(value, Path)]
    sources = [source_of(photo, "content")] if photo is not None else []
    place = job.check(*sources, *files)
    network = command.load(loss=loss, model=job.model, device=place, **options)

    def work(image: torch.Tensor | None) -> torch.Tensor:
        read = options
        if command.read is not None:
            read = command.read(job.picture, sources[0], job.max_pixels, options)
        width, height = command.size(network, image, **read)
        job.check_size(width, height, command.advice)
        return command.run(network, image, precision=job.precision, **read)

    facts = command.facts(network, **options)
    job.as_bytes = command.bytes_too
    default = command.default_loss
    default = default(**options) if callable(default) else default
    job.run(work, loss or default, **facts)
