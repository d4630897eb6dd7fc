"""The chapters as cards on the front page: a picture, the question, the minutes.

The picture is the chapter's title picture, or else its first figure, cut from the
stored outputs; a chapter that has neither has a card without one.
"""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import chapters
import numpy

WHITE, INK, SMALLEST, GAP = 250, 0.45, 40, 6  # grey level, share of a line, pixels
SIZE = (560, 315)  # pixels: twice what a phone or a column shows
EMBEDDED = re.compile(r"data:image/\w+;base64,(?P<data>[\w+/=]+)")
TITLE_PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\(\.\./(?P<file>[^)]+)\)")


def picture(path: Path) -> tuple[list[bytes], str] | None:
    """A chapter's picture as bytes, or those that stand side by side, and their
    description; None if it has none.
    """
    if not path.exists():
        return None
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title = TITLE_PICTURE.search("".join(cells[0]["source"])) if cells else None
    if title and (chapters.ROOT / title["file"]).exists():
        return [(chapters.ROOT / title["file"]).read_bytes()], title["alt"]
    for cell in cells:
        alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt")
        for output in cell.get("outputs", []) if alt else ():
            data = output.get("data", {})
            if "curves:" in "".join(data.get("text/plain", "")):
                continue
            if inside := EMBEDDED.findall("".join(data.get("text/html", ""))):
                return [base64.b64decode(text) for text in inside], alt
            for kind in ("image/jpeg", "image/png", "image/webp"):
                if kind in data:
                    return [base64.b64decode("".join(data[kind]))], alt
    return None


def tiles(whole) -> list[list]:
    """The single pictures of a sheet, row by row: what lies between white gutters and
    lines of labels. A picture that is no sheet is one tile.
    """
    inked = numpy.asarray(whole.convert("L")) < WHITE
    rows = []
    for top, bottom in _runs(inked.mean(1) > INK):
        columns = _runs(inked[top:bottom].mean(0) > INK)
        rows.append([whole.crop((x, top, right, bottom)) for x, right in columns])
    return [row for row in rows if row] or [[whole]]


def _runs(there: numpy.ndarray) -> list[tuple[int, int]]:
    """Where it begins and ends to be there, for as long as a picture is."""
    edges = numpy.flatnonzero(numpy.diff(numpy.r_[False, there, False]))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [(start, stop) for start, stop in pairs if stop - start >= SMALLEST]


def sheet(pictures: list):
    """A card's picture: one picture, three side by side, or the corners of a grid;
    without the labels, which nobody could read at this size.
    """
    from PIL import Image, ImageOps

    rows = tiles(pictures[0]) if len(pictures) == 1 else [pictures]
    if len(pictures) > 3:
        half = (len(pictures) + 1) // 2
        rows = [pictures[:half], pictures[half:]]
    if len(rows) > 1:
        chosen = [[row[0], row[-1]] if len(row) > 1 else row for row in rows]
        chosen = [chosen[0], chosen[-1]]
    else:
        (row,) = rows
        chosen = [row if len(row) < 4 else [row[0], row[len(row) // 2], row[-1]]]
    width, height = SIZE
    made = Image.new("RGB", SIZE, "white")
    for line, row in enumerate(chosen):
        top, bottom = (height * at // len(chosen) for at in (line, line + 1))
        for place, tile in enumerate(row):
            left, right = (width * at // len(row) for at in (place, place + 1))
            size = right - left - (GAP if right < width else 0), bottom - top
            size = size[0], size[1] - (GAP if bottom < height else 0)
            fitted = ImageOps.fit(tile.convert("RGB"), size, Image.Resampling.LANCZOS)
            made.paste(fitted, (left, top))
    return made


def write_pictures(folder: Path) -> None:
    """The cards' pictures, one a chapter that has any, NN.webp."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for chapter in chapters.CHAPTERS:
        if found := picture(chapter.path):
            opened = [Image.open(io.BytesIO(data)).convert("RGB") for data in found[0]]
            small = sheet(opened)
            small.save(folder / f"{chapter.number:02d}.webp", quality=82, method=6)


def minutes(name: str) -> str:
    """How long a chapter computes, in words; nothing without any measurement."""
    took = chapters.expected_seconds([name], "bfloat16")
    if took is None:
        return ""
    count = max(1, round(took / 60))
    return f"{count} minute{'s' if count > 1 else ''} of computing"


def listing() -> str:
    """The cards in Markdown. Each holds an item of a numbered list."""
    lines = ["::::{container} chapter-cards"]
    for line, chapter in zip(
        chapters.front_page_list().splitlines(), chapters.CHAPTERS, strict=True
    ):
        lines.append(":::{container} chapter-card")
        if found := picture(chapter.path):
            lines += [f"![{found[1]}](cards/{chapter.number:02d}.webp)", ""]
        lines += [line, ""]
        if took := minutes(chapter.name):
            lines += [f"*{took}*", ""]
        lines.append(":::")
    return "\n".join([*lines, "::::"])
