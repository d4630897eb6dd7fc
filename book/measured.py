"""Every number in the prose of the chapters, and where a reader sees it.

``python book/measured.py [CHAPTER]`` prints a line for each: the number, its sentence,
and the cell whose output or code it stands in. A number that stands nowhere is a number
from memory, unless its paragraph cites a source or `GIVEN` says where it is from; the
tests ask that there is none.

Left out: years, whole numbers up to 20 (counts and names of layers), and what stands in
formulas and in code. A number is found where an output or the code of the same chapter,
rounded to the digits of the prose, is equal to it.
"""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from chapters import CHAPTERS

# What is neither measured here nor cited in its paragraph, and why it may be said.
GIVEN: dict[int, dict[str, str]] = {
    1: {
        "254": "3 - 5 in eight bits",
        "1.4": "an example of a value outside [0, 1]",
    },
    4: {
        "640": "an example, four times the 160 of this chapter",
        "384": "pixels of the recorded pictures; book/transfer_trials.py says so",
        "4,096": "64 squared, the entries of the Gram matrix at relu1_2",
        "262,144": "512 squared, at relu4_3",
    },
    5: {
        "40": "pixels of reflection in Johnson et al.'s supplement, named there",
        "1e-5": "a setting of book/feed_forward.py, which drew the figure",
        "4096": "the largest square of the record that the exercise opens",
        "80,000": "photographs of COCO in Johnson et al. (2016), section 4.1",
    },
    6: {
        "0.96": "of upscale_x4_feature, by benchmarks/lattice.py, in its card",
        "48.13": "20 log10 255, derived in the answer",
        "100": "seconds of the trainings of benchmarks/lattice.py, named there",
        "219": "235 - 16",
        "1.3": "20 log10 (255/219), in the answer",
    },
    7: {
        "196,608": "3 x 256 x 256 coins",
    },
    8: {
        "16906": "digits in the photograph",
    },
    9: {"255": "the largest number of 8 bits"},
    12: {
        "800": "steps of the start, from benchmarks/claims/training.py",
    },
    11: {
        "2,400": "faces in data/faces/train.zip, see load_faces",
        "0.05": "LEAST_LEFT in pltutorial/tasks/diffuse.py",
    },
    13: {
        "92": "the receptive field of relu4_3, from chapter 2",
        "65,504": "the largest number of float16",
    },
}
_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w]|\.\d)")
_SMALL = 20


@dataclass(frozen=True)
class Said:
    """One number of the prose."""

    cell: int
    number: str
    words: str
    where: str  # empty: nowhere


def said(notebook: dict, given: dict[str, str]) -> Iterator[Said]:
    """The numbers of one chapter's prose, in their order."""
    cells = notebook["cells"]
    seen = [
        (value, f"cell {index}")
        for index, cell in enumerate(cells)
        if cell["cell_type"] == "code"
        for value in _values(_visible(cell))
    ]
    for index, cell in enumerate(cells):
        if cell["cell_type"] != "markdown":
            continue
        for paragraph in re.split(r"\n\s*\n", "".join(cell["source"])):
            text = _prose(paragraph)
            for match in _NUMBER.finditer(text):
                number = match[0]
                value = float(number.replace(",", ""))
                exact = "." not in number and "e" not in number
                if exact and (value <= _SMALL or 1800 <= value <= 2100):
                    continue
                where = next(
                    (at for other, at in seen if _rounds_to(other, number)), ""
                )
                if not where and "{cite" in paragraph:
                    where = "cited"
                if not where and re.search(r"takes\W+about \d+ s", text):
                    where = "notebooks/records/seconds.json"
                where = where or (f"given: {given[number]}" if number in given else "")
                words = text[max(0, match.start() - 40) : match.end() + 25]
                yield Said(index, number, " ".join(words.split()), where)


def _rounds_to(value: float, number: str) -> bool:
    """Whether a value that is seen, rounded as the prose rounds it, is the number."""
    mantissa, _, exponent = number.replace(",", "").partition("e")
    digits = len(mantissa.partition(".")[2]) - int(exponent or 0)
    wanted = float(number.replace(",", ""))
    return abs(abs(value) - wanted) <= 0.5000001 * 10.0**-digits


def _values(text: str) -> list[float]:
    return [float(match[0].replace(",", "")) for match in _NUMBER.finditer(text)]


def _visible(cell: dict) -> str:
    """A cell's code, and what its outputs say in words."""
    parts = ["".join(cell["source"])]
    for output in cell["outputs"]:
        data = output.get("data", {})
        page = re.sub(
            r"<style.*?</style>", "", "".join(data.get("text/html", "")), flags=re.S
        )
        parts += ["".join(output.get("text", "")), "".join(data.get("text/plain", ""))]
        parts.append(html.unescape(re.sub(r"<[^>]*>", " ", page)))
    return "\n".join(parts).replace("_", "")  # 10_000


def _prose(text: str) -> str:
    """Words alone: no code, formula, link, role or HTML."""
    for pattern in (
        r"```.*?```",
        r"`[^`]*`",
        r"\$\$.*?\$\$",
        r"\$[^$]*\$",
        r"\{[a-z-]+\}",
        r"\]\([^)]*\)",
        r"https?://\S+",
        r"<[^>]+>",
    ):
        text = re.sub(pattern, " ", text, flags=re.S)
    return text


def main() -> int:
    """Print the list; 1 where a number stands nowhere."""
    only, missing = "".join(sys.argv[1:]), 0
    for chapter in CHAPTERS:
        if only not in chapter.name:
            continue
        notebook = json.loads(chapter.path.read_text(encoding="utf-8"))
        for one in said(notebook, GIVEN.get(chapter.number, {})):
            missing += not one.where
            print(
                f"{chapter.number:2}:{one.cell:<3} {one.number:>9}  "
                f"{one.where or 'NOWHERE':24} {one.words}"
            )
    return int(missing > 0)


if __name__ == "__main__":
    sys.exit(main())
