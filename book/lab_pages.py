"""The labs' pages: what differs from lab to lab, put into the one frame that all have.

A file in book/live/labs/ begins with lines `name: text`, one for each place of
frame.html, and after an empty line comes the lab itself. `{{ name }}` is the file's
own name, which its script has too. What most labs say alike stands in `ALIKE`.
"""

from __future__ import annotations

import re
from pathlib import Path

FRAME = "frame.html"
ALIKE = {"how": "Everything is computed in your browser, and nothing is sent."}
PLACE = re.compile(r"\{\{ (\w+) \}\}")


def page(frame: str, name: str, text: str) -> str:
    """One lab's page.

    Raises:
        ValueError: a place of the frame that the file says nothing of, or a line for
            which the frame has no place.
    """
    lines, _, content = text.partition("\n\n")
    said = ALIKE | dict(line.split(": ", 1) for line in lines.splitlines())
    said |= {"name": name, "content": content}
    places = set(PLACE.findall(frame))
    if wrong := sorted(places ^ set(said)):
        raise ValueError(
            f"labs/{name}.html and labs/{FRAME} differ in {', '.join(wrong)}: begin "
            "the lab with one line `name: text` for each place of the frame"
        )
    return PLACE.sub(lambda place: said[place[1]], frame)


def write(labs: Path, target: Path) -> None:
    """Every lab in the folder `labs` as a page in `target`."""
    for path in sorted(labs.glob("*.html")):
        if path.name != FRAME:
            frame = (labs / FRAME).read_text(encoding="utf-8")
            made = page(frame, path.stem, path.read_text(encoding="utf-8"))
            (target / path.name).write_text(made, encoding="utf-8")
