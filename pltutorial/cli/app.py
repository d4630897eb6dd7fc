"""The command ``pltutorial``; its settings are those of the functions, and nothing
heavy loads before it runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from .. import __version__
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


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of whatever goes wrong."),
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
