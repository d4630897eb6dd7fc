"""The command ``pltutorial data``: collections of pictures to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import on_a_line
from . import Stopped

app = typer.Typer(
    help="Get collections of pictures to train on.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def _data() -> None:
    """Get collections of pictures to train on."""


@app.command()
def coco(
    split: Annotated[
        str,
        typer.Argument(
            help=(
                "train2014 (13.5 GB, the set of Johnson et al.), val2014 (6.6 GB), "
                "train2017 (19.3 GB) or val2017 (0.8 GB)."
            )
        ),
    ] = "train2014",
    to: Annotated[
        Path, typer.Option(help="The folder to download to and to unpack in.")
    ] = Path("coco"),
    url: Annotated[
        str | None,
        typer.Option(
            help="A mirror that holds the same zips.", show_default="COCO's own site"
        ),
    ] = None,
    shards: Annotated[
        bool,
        typer.Option(
            help=(
                "Write tar shards of a thousand pictures, as WebDataset "
                "does, not single files."
            )
        ),
    ] = False,
    remove_zip: Annotated[
        bool, typer.Option(help="Delete the zip when all is unpacked.")
    ] = False,
    progress: Annotated[
        bool, typer.Option(help="Show bars with rate and remaining time.")
    ] = True,
) -> None:
    """Download Microsoft COCO; cut off, the same command goes on from where it was."""
    from ..training.download import COCO, COCO_URL
    from ..training.download import coco as download

    try:
        source = download(
            split,
            to,
            url=COCO_URL if url is None else url,
            shards=shards,
            remove_zip=remove_zip,
            progress=progress,
        )
    except KeyboardInterrupt:
        kept = "what was downloaded is kept, and the same command goes on from there"
        raise Stopped(f"interrupted; {kept}") from None
    print(f"{on_a_line(source)}: {COCO[split].pictures:,} pictures")
