"""The commands ``compare`` and ``measure``: how near pictures are to others."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, on_a_line
from ..files import is_folder
from .job import place_of, source_of
from .options import MAX_PIXELS, Device, MaxPixels

if TYPE_CHECKING:
    import torch

    from ..training.archives import PictureFiles

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print rows with commas.")]
Collection = "a folder of pictures, a .tar or a .zip"


def compare(
    output: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="A picture, or a folder of them.")
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="The picture itself; a folder holds the same names, whatever their "
            "endings.",
        ),
    ],
    style: Annotated[
        str | None,
        typer.Option(help="Add the distances of style to this picture or bundled one."),
    ] = None,
    video: Annotated[
        bool,
        typer.Option(
            "--video",
            help="The folders hold frames in the order of their names: add the squared "
            "difference from each to the next, without a flow.",
        ),
    ] = False,
    device: Device = "auto",
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Measure how near pictures are to their originals: PSNR, SSIM, ST-LPIPS, features
    by layer, a second judge, lattices.
    """
    _check_formats(as_json, as_csv)
    place, _ = place_of(device, "float32")
    pairs = list(_pairs(output, target, video))
    painting = None if style is None else source_of(style, "style")
    import torch

    from ..compare import compare as measures
    from ..distances import warp_error
    from ..images import read_image

    def read(path: Path) -> torch.Tensor:
        return read_image(path, max_pixels=max_pixels).to(place)

    painting = painting and read(painting)
    rows, before = [], None
    for name, *pair in pairs:
        images = [read(path) for path in pair]
        values = measures(*images, painting)
        if video and before is not None:
            if images[0].shape != before[0].shape:
                raise InputError(
                    f"the frame {name!r} has another size than the one before; give "
                    "frames of one video"
                )
            for key, *frames in zip(
                ("warp", "warp_target"), before, images, strict=True
            ):
                values[key] = warp_error(torch.cat(frames))
        before = images
        rows.append({"picture": name, **{k: float(v) for k, v in values.items()}})
    _print(rows, as_json, as_csv)


def measure(
    outputs: Annotated[
        str, typer.Argument(metavar="OUTPUTS", help=f"What was made: {Collection}.")
    ],
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REFERENCE", help=f"Real pictures, or paintings: {Collection}."
        ),
    ],
    contents: Annotated[
        str | None,
        typer.Option(
            help="The photographs that the outputs were painted from, a folder with "
            "the same names: adds the content distance and the score after ArtFID.",
        ),
    ] = None,
    size: Annotated[
        int, typer.Option(help="Pixels of the squares that are looked at, 32 or more.")
    ] = 224,
    grain: Annotated[
        float,
        typer.Option(
            help="Noise over both collections, 0.01 for drawings, whose even areas the "
            "judge would hear and little else; photographs need none."
        ),
    ] = 0.0,
    device: Device = "auto",
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Measure how near a collection is to another: Fréchet and kernel distance,
    precision and recall, by EfficientNet-Lite0.
    """
    _check_formats(as_json, as_csv)
    if size < 32:
        raise InputError(f"size={size} was given; give a number of at least 32")
    place, _ = place_of(device, "float32")
    from ..compare import judged_features
    from ..compare import measure as measures
    from ..distances import content_distance
    from ..images import middle_square, read_image
    from ..training.archives import find_pictures

    def square(path: Path) -> torch.Tensor:
        return middle_square(read_image(path, max_pixels=max_pixels), size).to(place)

    found = [find_pictures(source) for source in (outputs, reference)]
    pairs = [] if contents is None else list(_pairs(outputs, contents, False))
    made, real = (
        judged_features(_images(files, max_pixels), size, place, grain, seed)
        for seed, files in enumerate(found)
    )
    row = {"pictures": len(made), "references": len(real), **measures(made, real)}
    if pairs:
        row["content_mean"] = sum(
            float(content_distance(*(square(path) for path in pair)))
            for _, *pair in pairs
        ) / len(pairs)
        row["art"] = (1 + row["content_mean"]) * (1 + row["frechet"])
    _print([row], as_json, as_csv)


def _check_formats(as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        raise InputError("--json and --csv were both given; give one of them")


def _pairs(output: str, target: str, video: bool) -> Iterator[tuple[str, Path, Path]]:
    """Name, output and target of each pair: two pictures, or those of two folders whose
    names agree.
    """
    folders = [is_folder(name) for name in (output, target)]
    if not any(folders):
        if video:
            raise InputError("--video was given with pictures; give folders of frames")
        one, other = Path(output), source_of(target, "content")
        yield one.name, one, other
        return
    if not all(folders):
        raise InputError(
            f"{output!r} and {target!r} were given; give two pictures or two folders"
        )
    made, right = (_by_name(Path(folder)) for folder in (output, target))
    missing = sorted(made.keys() ^ right.keys())
    if missing:
        here, there = (output, target) if missing[0] in made else (target, output)
        raise InputError(
            f"{missing[0]!r} is in {here!r} and not in {there!r}; give folders with "
            "the same names"
        )
    for name in sorted(made):
        yield name, made[name], right[name]


def _by_name(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by their names without endings."""
    from ..training.archives import find_pictures

    files = find_pictures(folder)
    found: dict[str, Path] = {}
    for i in range(len(files)):
        name = PurePath(files.name(i)).with_suffix("").as_posix()
        if files.places is not None or name in found:
            raise InputError(
                f"{str(folder)!r} holds archives, or {name!r} with two endings; give "
                "a folder of pictures, one of each name"
            )
        found[name] = _opened(files, i)
    return found


def _opened(files: PictureFiles, i: int) -> Path | BytesIO:
    try:
        return files.open(i)
    except OSError as problem:
        raise InputError(
            f"the picture {files.name(i)!r} was found and {problem}; take it away, or "
            "put a picture in its place"
        ) from None


def _images(files: PictureFiles, max_pixels: int) -> Iterator[torch.Tensor]:
    from ..images import open_picture, to_image

    for i in range(len(files)):
        name = files.name(i)
        yield to_image(open_picture(_opened(files, i), name, max_pixels), name)


def _print(rows: list[dict], as_json: bool, as_csv: bool) -> None:
    """Rows as a table for people, as JSON, or as CSV."""
    from ..compare import MEASURES

    keys = list(dict.fromkeys(key for row in rows for key in row))
    mean = {}
    for key in keys:
        known = [row[key] for row in rows if key in row]
        if key in MEASURES:
            mean[key] = sum(known) / len(known)
    if as_json:
        # JSON has no infinity, the PSNR of equal pictures
        clean = [
            {k: v if v != math.inf else None for k, v in row.items()}
            for row in (*rows, mean)
        ]
        whole = {"pairs": clean[:-1], "mean": clean[-1]} if len(rows) > 1 else clean[0]
        print(json.dumps(whole, indent=1))
        return
    if as_csv:
        writer = csv.DictWriter(sys.stdout, keys, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
    if "references" in rows[0]:
        print(on_a_line("{pictures} pictures against {references}".format(**rows[0])))
    elif len(rows) == 1:
        print(on_a_line(rows[0]["picture"]))
    else:
        print(f"mean of {len(rows)} pairs (--csv: each)")
    width = max(len(MEASURES[key].name) for key in mean)
    for key, value in mean.items():
        about = MEASURES[key]
        print(f"{about.name:{width}}  {value:9.4f}  {about.better}".rstrip())
