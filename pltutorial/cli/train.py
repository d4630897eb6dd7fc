"""The commands ``train ...``: one for each task, with its settings as options; many processes share one run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..tasks.autoencode import AutoencoderSettings
from ..tasks.colorize import ColorizationSettings
from ..tasks.denoise import DenoisingSettings
from ..tasks.inpaint import InpaintingSettings
from ..tasks.invert import InversionSettings
from ..tasks.style import StyleTrainingSettings
from ..tasks.super_resolution import SuperResolutionSettings
from ..tasks.vae import VAESettings
from .options import with_options

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Train a network; the same command again goes on."
)


@app.callback()
def _tasks() -> None:
    """Typer makes a group of a single command where there is a callback."""


_Output = Annotated[
    str,
    typer.Option("--output", "-o", help="Folder for log, samples, checkpoint and network; made if missing."),
]
_Data = Annotated[
    str | None,
    typer.Option(
        help="A folder of pictures, a .tar or .zip, or shards such as coco-{000..117}.tar; the bundled ones if left out."
    ),
]
_Note = Annotated[
    str | None,
    typer.Option(help="Whose pictures they are and under which licence, for the network's card."),
]


@app.command()
@with_options(config=True)
def style(
    settings: StyleTrainingSettings, output: _Output, data: _Data = None, data_note: _Note = None
) -> None:
    """Teach a network one style or several: feed-forward style transfer (Johnson et al. 2016).

    Under torchrun or accelerate launch the processes share the batch.
    """
    from ..tasks.style import StyleTask, style_card

    task = StyleTask(settings)
    blend = f" --styles {task.names[0]}:0.7,{task.names[1]}:0.3" if len(task.names) > 1 else ""
    _train(task, settings, style_card, output, data, data_note, "stylize PHOTO", blend)


@app.command()
@with_options(config=True)
def upscale(
    settings: SuperResolutionSettings, output: _Output, data: _Data = None, data_note: _Note = None
) -> None:
    """Teach a network to enlarge pictures: super-resolution (Johnson et al. 2016, section 4.2)."""
    from ..tasks.restoration import restoration_card
    from ..tasks.super_resolution import SuperResolutionTask

    task = SuperResolutionTask(settings)
    _train(task, settings, restoration_card, output, data, data_note, "upscale PHOTO")


@app.command()
@with_options(config=True)
def denoise(
    settings: DenoisingSettings, output: _Output, data: _Data = None, data_note: _Note = None
) -> None:
    """Teach a network to take Gaussian noise of any strength out of pictures."""
    from ..tasks.denoise import DenoisingTask
    from ..tasks.restoration import restoration_card

    task = DenoisingTask(settings)
    _train(task, settings, restoration_card, output, data, data_note, "denoise PHOTO")


@app.command()
@with_options(config=True)
def inpaint(
    settings: InpaintingSettings, output: _Output, data: _Data = None, data_note: _Note = None
) -> None:
    """Teach a network to fill the holes of pictures."""
    from ..tasks.inpaint import InpaintingTask
    from ..tasks.restoration import restoration_card

    task = InpaintingTask(settings)
    _train(task, settings, restoration_card, output, data, data_note, "inpaint PHOTO MASK")


@app.command()
@with_options(config=True)
def invert(settings: InversionSettings, output: _Output, data: _Data = None, data_note: _Note = None) -> None:
    """Teach a network to draw the picture of a code of VGG-16 (Dosovitskiy and Brox 2016)."""
    from ..tasks.invert import InversionTask
    from ..tasks.likeness import likeness_card

    _train(InversionTask(settings), settings, likeness_card, output, data, data_note, "invert PHOTO")


@app.command()
@with_options(config=True)
def autoencode(
    settings: AutoencoderSettings, output: _Output, data: _Data = None, data_note: _Note = None
) -> None:
    """Teach a network to pass pictures through a narrow code (Dosovitskiy and Brox 2016, section 4.1)."""
    from ..tasks.autoencode import AutoencoderTask
    from ..tasks.likeness import likeness_card

    _train(AutoencoderTask(settings), settings, likeness_card, output, data, data_note, "invert PHOTO")


@app.command()
@with_options(config=True)
def vae(settings: VAESettings, output: _Output, data: _Data = None, data_note: _Note = None) -> None:
    """Teach a variational autoencoder a kind of pictures: with pixels, DeePSiM, or a discriminator's features."""
    from ..images import bundled
    from ..tasks.likeness import likeness_card
    from ..tasks.vae import VAETask

    if data is None:
        data = str(bundled("emoji/train.zip"))
        data_note = data_note or "Noto Color Emoji, SIL Open Font License 1.1"
    _train(VAETask(settings), settings, likeness_card, output, data, data_note, "sample")


@app.command()
@with_options(config=True)
def colorize(
    settings: ColorizationSettings, output: _Output, data: _Data = None, data_note: _Note = None
) -> None:
    """Teach a network to colour grey pictures: a conditional GAN with a feature content loss."""
    from ..tasks.colorize import ColorizationTask
    from ..tasks.likeness import likeness_card

    _train(ColorizationTask(settings), settings, likeness_card, output, data, data_note, "colorize PHOTO")


def _train(task, settings, card, output, data, data_note, use: str, more: str = "") -> None:
    from ..training import train
    from ..training.checkpoint import NETWORK

    if data is None and data_note is None:
        data_note = "the bundled training photographs, see data/SOURCES.csv"
    result = train(
        task,
        settings,
        pictures=data,
        folder=output,
        card=lambda result: card(result, task, settings, data_note or ""),
    )
    if os.environ.get("RANK", "0") == "0":
        _report(result, Path(output) / NETWORK, use, more)
    if result.stopped == "interrupted":
        raise typer.Exit(130)  # what shells give a command that Ctrl-C ended


def _report(result, network: Path, use: str, more: str) -> None:
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
    print(f"use it: pltutorial {use} --model {network}{more} -o OUT")
