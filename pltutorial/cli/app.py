"""The command ``pltutorial``; its settings are those of the functions, and nothing heavy loads before it runs."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..errors import InputError, nearest
from ..settings import ReconstructionSettings, TextureSettings, TransferSettings
from .classroom import doctor, progress
from .data import app as data
from .export import export, serve
from .likeness import colorize, invert, sample
from .options import with_settings
from .restore import denoise, inpaint, upscale
from .stylize import list_models, list_styles, stylize
from .train import app as train

app = typer.Typer(
    name="pltutorial",
    help="Perceptual losses for images: transfer a style, reconstruct features, make textures.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write the picture: .png, .jpg, ...")]
MaxPixels = Annotated[int, typer.Option(help="Refuse pictures with more pixels than this.")]


def main() -> None:
    """Run the command; what a user can mend is one sentence and exit code 2, never a traceback."""
    try:
        app()
    except InputError as problem:
        if _first_to_say(str(problem)):
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)


def _first_to_say(sentence: str) -> bool:
    """Whether no other process that torchrun or accelerate launch started has said this already."""
    report = os.environ.get("TORCHELASTIC_ERROR_FILE")  # in a folder of its own for each attempt and process
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
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def _picture(name: str, folder: str) -> Path:
    """A path as it is, or the bundled picture of that name."""
    from ..images import bundled, bundled_names

    if Path(name).suffix or "/" in name or "\\" in name or Path(name).exists():
        return Path(name)
    if name not in bundled_names(folder):
        names = bundled_names(folder)
        raise InputError(
            f"there is no {folder} picture {name!r}; {nearest(name, names)}, or give the path of a file"
        )
    return bundled(f"{folder}/{name}")


def _styles(text: str) -> tuple[list[Path], list[float]]:
    """``great_wave:0.7,night.jpg:0.3`` as paths and weights."""
    paths, weights = [], []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, weight = re.fullmatch(r"(.*?)(?::(-?[0-9.]+(?:e-?[0-9]+)?))?", part).groups()
        paths.append(_picture(name, "style"))
        try:
            weights.append(float(weight or 1))
        except ValueError:
            raise InputError(
                f"the weight {weight!r} of style {name!r} is no number; write {name}:0.5"
            ) from None
    return paths, weights


def _read(paths: list[Path], output: Path, max_pixels: int) -> list:
    """The pictures at the paths, once it is sure that the output can be written and is none of them."""
    from ..images import check_output, read_image

    check_output(output, tuple(paths))
    return [read_image(path, max_pixels=max_pixels) for path in paths]


def _finish(output: Path, result) -> None:
    from ..images import write_image

    write_image(output, result.image)
    height, width = result.image.shape[-2:]
    early = "" if result.stopped == "done" else f", {result.stopped}"
    print(
        f"{output}: {width}x{height}, {len(result.history)} steps in {result.seconds:.1f} s, "
        f"loss {result.totals[0]:.4g} to {min(result.totals):.4g}{early}"
    )


@app.command()
@with_settings(TransferSettings)
def transfer(
    content: Annotated[
        str, typer.Argument(help="A picture, or the name of a bundled one.", metavar="CONTENT")
    ],
    style: Annotated[
        str,
        typer.Argument(
            help="A picture or the name of a bundled one; several with weights: great_wave:0.7,night.jpg:0.3",
            metavar="STYLE",
        ),
    ],
    output: Output,
    settings: TransferSettings,
    max_pixels: MaxPixels = 100_000_000,
) -> None:
    """Give a picture the style of another by optimisation (Gatys et al. 2016)."""
    source = _picture(content, "content")
    paths, weights = _styles(style)
    images = _read([source, *paths], output, max_pixels)

    from ..optimize import transfer_style

    _finish(output, transfer_style(images[0], images[1:], style_weights=weights, settings=settings))


@app.command()
@with_settings(ReconstructionSettings)
def reconstruct(
    image: Annotated[str, typer.Argument(help="A picture, or the name of a bundled one.", metavar="PICTURE")],
    output: Output,
    settings: ReconstructionSettings,
    max_pixels: MaxPixels = 100_000_000,
) -> None:
    """Find a picture with the same features at one layer (Mahendran and Vedaldi 2015)."""
    (picture,) = _read([_picture(image, "content")], output, max_pixels)

    from ..optimize import reconstruct_features

    _finish(output, reconstruct_features(picture, settings=settings))


@app.command()
@with_settings(TextureSettings)
def texture(
    style: Annotated[str, typer.Argument(help="A picture, or the name of a bundled one.", metavar="STYLE")],
    output: Output,
    settings: TextureSettings,
    max_pixels: MaxPixels = 100_000_000,
) -> None:
    """Make a texture with the same Gram matrices (Gatys et al. 2015)."""
    (picture,) = _read([_picture(style, "style")], output, max_pixels)

    from ..optimize import reconstruct_style

    _finish(output, reconstruct_style(picture, settings=settings))


app.command()(stylize)
app.command("styles")(list_styles)
app.command()(upscale)
app.command()(denoise)
app.command()(inpaint)
app.command()(invert)
app.command()(sample)
app.command()(colorize)
app.command("models")(list_models)
app.command()(export)
app.command()(serve)
app.add_typer(data, name="data")
app.add_typer(train, name="train")
app.command()(doctor)
app.command()(progress)
