"""The commands ``train ...``: one for each task, with its settings as options; many processes share one run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import with_settings
from .settings import StyleTrainingSettings

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Train a network; the same command again goes on."
)


@app.callback()
def _tasks() -> None:
    """Typer makes a group of a single command where there is a callback."""


@app.command()
@with_settings(StyleTrainingSettings, config=True)
def style(
    settings: StyleTrainingSettings,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="Folder for log, samples, checkpoint and network; made if missing."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="A folder of pictures, a .tar, or shards such as coco-{000..117}.tar; the bundled ones if left out."
        ),
    ] = None,
    data_note: Annotated[
        str | None,
        typer.Option(help="Whose pictures they are and under which licence, for the network's card."),
    ] = None,
) -> None:
    """Teach a network one style or several: feed-forward style transfer (Johnson et al. 2016).

    Under torchrun or accelerate launch the processes share the batch.
    """
    from .runfiles import NETWORK
    from .style_training import StyleTask, style_card
    from .training import train

    if data is None and data_note is None:
        data_note = "the bundled training photographs, see data/SOURCES.csv"
    task = StyleTask(settings)
    result = train(
        task,
        settings,
        pictures=data,
        folder=output,
        card=lambda result: style_card(result, task, settings, data_note or ""),
    )
    if os.environ.get("RANK", "0") == "0":
        _report(result, task, Path(output) / NETWORK)
    if result.stopped == "interrupted":
        raise typer.Exit(130)  # what shells give a command that Ctrl-C ended


def _report(result, task, network: Path) -> None:
    history = result.history
    if history:
        first, last = history[0], history[-1]
        print(
            f"{network}: {last.step} steps in {result.seconds:.0f} s, loss {first.total:.4g} at step {first.step}, "
            f"{last.total:.4g} at step {last.step}"
        )
    if result.broken:
        some = ", ".join(result.broken[:3]) + (", ..." if len(result.broken) > 3 else "")
        print(f"{len(result.broken)} pictures could not be used: {some}", file=sys.stderr)
    if result.stopped == "interrupted":
        print("interrupted; the same command again goes on from here", file=sys.stderr)
        return
    blend = f" --styles {task.names[0]}:0.7,{task.names[1]}:0.3" if len(task.names) > 1 else ""
    print(f"use it: pltutorial stylize PHOTO --model {network}{blend} -o OUT")
