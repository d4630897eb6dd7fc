"""The command ``pltutorial``; its settings are those of the functions, and nothing
heavy loads before it runs.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..errors import InputError
from .cards import list_models, list_styles
from .classroom import doctor, progress
from .data import app as data
from .export import export
from .measure import compare, measure
from .optimize import reconstruct, texture, transfer
from .serve import serve
from .stylize import stylize
from .tasks import add_to as add_tasks

app = typer.Typer(
    name="pltutorial",
    help=(
        "Perceptual losses for images: transfer a style, reconstruct "
        "features, make textures."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command; what a user can mend is one sentence and exit code 2,
    never a traceback.
    """
    try:
        app()
    except InputError as problem:
        if _first_to_say(str(problem)):
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)


def _first_to_say(sentence: str) -> bool:
    """Whether no other process that torchrun or accelerate launch started has
    said this already.
    """
    # in a folder of its own for each attempt and process
    report = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not report:
        return True
    mark = hashlib.sha256(sentence.encode()).hexdigest()[:16]
    try:
        Path(report).parent.parent.joinpath(f"said-{mark}").touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:
        return True
    return True


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True),
    ] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


app.command()(transfer)
app.command()(reconstruct)
app.command()(texture)
app.command()(stylize)
app.command("styles")(list_styles)
add_tasks(app)
app.command("models")(list_models)
app.command()(compare)
app.command()(measure)
app.command()(export)
app.command()(serve)
app.add_typer(data, name="data")
app.command()(doctor)
app.command()(progress)
