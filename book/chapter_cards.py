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

SIZE = (560, 315)  # pixels: twice what a phone or a column shows
TITLE_PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\(\.\./(?P<file>[^)]+)\)")


def picture(path: Path) -> tuple[bytes, str] | None:
    """A chapter's picture as bytes, and its description; None if it has none."""
    if not path.exists():
        return None
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title = TITLE_PICTURE.search("".join(cells[0]["source"])) if cells else None
    if title and (chapters.ROOT / title["file"]).exists():
        return (chapters.ROOT / title["file"]).read_bytes(), title["alt"]
    for cell in cells:
        alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt")
        for output in cell.get("outputs", []) if alt else ():
            data = output.get("data", {})
            if any("curves:" in line for line in data.get("text/plain", "")):
                continue
            for kind in ("image/jpeg", "image/png", "image/webp"):
                if kind in data:
                    return base64.b64decode("".join(data[kind])), alt
    return None


def write_pictures(folder: Path) -> None:
    """The cards' pictures, one a chapter that has any, NN.webp."""
    from PIL import Image, ImageOps

    folder.mkdir(parents=True, exist_ok=True)
    for chapter in chapters.CHAPTERS:
        if found := picture(chapter.path):
            with Image.open(io.BytesIO(found[0])) as whole:
                small = ImageOps.fit(
                    whole.convert("RGB"), SIZE, Image.Resampling.LANCZOS
                )
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
