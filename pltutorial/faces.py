"""Cartoon faces whose attributes are known: pictures of which one can count what a
generator draws and what it never does.
"""

from __future__ import annotations

import csv
import io
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import torch

from .errors import InputError, nearest, shown
from .files import no_file
from .images import bundled, open_picture, to_image

SPLITS = ("train", "test")
TABLE = "attributes.csv"  # within the zip
# every attribute and its values, in the order of their numbers
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "rear_hair": (
        "none",
        "long straight",
        "long wavy",
        "shoulder high",
        "neck high",
    ),
    "hair": ("side combed", "undercut", "spiky", "bun"),
    "eyes": ("happy", "wide", "bow", "humble", "wink"),
    "mouth": ("laugh", "angry", "agape", "smile", "sad"),
    "brows": ("raised", "angry", "happy", "sad", "neutral"),
    "beard": (
        "none",
        "moustache twirl",
        "full beard",
        "chin",
        "chin moustache",
        "long beard",
    ),
    "clothes": ("turtle neck", "open jacket", "dress", "shirt", "t-shirt"),
    "hair_color": ("black", "brown", "auburn", "dark blond", "blond"),
    "skin_color": ("light", "rosy", "tan", "brown", "dark"),
    "clothes_color": (
        "grey",
        "red",
        "blue",
        "green",
        "yellow",
        "purple",
        "pink",
        "orange",
        "black",
        "white",
    ),
}


class Faces(NamedTuple):
    """Faces and what is known of them.

    Attributes:
        pictures: float32 (N, 3, 48, 48), RGB, in [0, 1], on white.
        attributes: by name a tensor (N,) of int64, the number of the value.
        names: by name the words for these numbers.

    Example:
        >>> faces = load_faces("test")
        >>> bearded = faces.pictures[faces.attributes["beard"] > 0]
        >>> 0 < len(bearded) < len(faces.pictures)
        True
    """

    pictures: torch.Tensor
    attributes: dict[str, torch.Tensor]
    names: dict[str, list[str]]


def load_faces(split: str | os.PathLike = "train") -> Faces:
    """The bundled cartoon faces, DiceBear's *toon head*: 48 pixels, all in one place
    and one style, no two alike.

    Each attribute was drawn by itself: half of the faces have no beard and half no
    hair at the back, all other values are equally frequent. ``book/faces.py`` draws
    more.

    Args:
        split: ``"train"`` or ``"test"``; or the path of a zip that ``book/faces.py``
            drew.

    Returns:
        :class:`Faces`: ``pictures`` float32 (N, 3, 48, 48) in [0, 1], ``attributes``
        and ``names`` by name: ``rear_hair``, ``hair``, ``eyes``, ``mouth``,
        ``brows``, ``beard``, ``clothes``, ``hair_color``, ``skin_color`` and
        ``clothes_color``.

    Raises:
        InputError: another word, no such file, or no zip of faces.

    Source: the drawings are Johan Melin's, CC BY 4.0, as DiceBear puts them together.

    Example:
        >>> faces = load_faces("test")
        >>> faces.pictures.shape
        torch.Size([600, 3, 48, 48])
        >>> faces.names["eyes"][faces.attributes["eyes"][0]] in faces.names["eyes"]
        True

    Taught in chapter 9.
    """
    if split in SPLITS:
        path = bundled(f"faces/{split}.zip")
    else:
        path = Path(split)
        if path.suffix != ".zip":
            raise InputError(
                f"there are no faces {shown(split)}; {nearest(str(split), SPLITS)}, or "
                "give a zip that book/faces.py drew"
            )
        if fault := no_file(path):
            raise InputError(
                f"the faces {str(path)!r} {fault}; draw them with book/faces.py"
            )
    try:
        with zipfile.ZipFile(path) as archive:
            table = io.TextIOWrapper(archive.open(TABLE), "utf-8", newline="")
            rows = list(csv.DictReader(table))
            files = [io.BytesIO(archive.read(row["file"])) for row in rows]
        numbers = {
            name: torch.tensor([values.index(row[name]) for row in rows])
            for name, values in ATTRIBUTES.items()
        }
        pictures = torch.cat(
            [
                to_image(open_picture(file, row["file"]).colors, row["file"])
                for row, file in zip(rows, files, strict=True)
            ]
        )
    except (InputError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as why:
        raise InputError(
            f"{str(path)!r} is not a whole zip of faces ({why}); draw it again with "
            "book/faces.py"
        ) from None
    names = {name: list(values) for name, values in ATTRIBUTES.items()}
    return Faces(pictures, numbers, names)
