"""What is put into the pages while they are staged: the strip of the front page,
measured numbers, the address.

Pages write `{{ name }}` for a value of `values()`; nothing that was measured is typed.
"""

from __future__ import annotations

import csv
import html
import json
import re
from pathlib import Path

import address
import chapters
import judges

ROOT = Path(__file__).resolve().parent.parent
RECORD, FAST = (
    ROOT / "benchmarks" / "record.json",
    ROOT / "notebooks" / "records" / "feed_forward.json",
)
LICENCES = ROOT / "data" / "SOURCES.csv"
INGREDIENTS = (
    RECORD,
    FAST,
    judges.RECORD,
    chapters.SECONDS,
    LICENCES,
    ROOT / "pyproject.toml",
)
SOLUTION = re.compile(r"^(:{3,}|`{3,})\{solution\}.*?^\1[ ]*$", re.M | re.S)
STRIP = ROOT / "book" / "images" / "strip"
STRIP_ALT = (
    "A pavilion above a lake coming out of noise in the lines and blues of "
    "Hokusai's Great Wave"
)


def seconds(value: float) -> str:
    """Two digits and a unit that a reader can feel."""
    if value < 1:
        return f"{value:.2g} s"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} minutes"


def values() -> dict[str, str]:
    """The values that pages may name, from the records in the repository and
    from pyproject.toml.
    """
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    rows = {row["what"]: row["value"] for row in record["rows"]}
    fast = json.loads(FAST.read_text(encoding="utf-8"))
    (half,) = [row for row in fast["rows"] if row["size"] == 512]
    loss = "loss and gradient, 384x256, cpu, "
    return {
        "repository": address.repository(),
        "machine": fast["machine"].partition(",")[0],
        "stylize_512": seconds(half["fast"]),
        "optimize_512": seconds(half["seconds_500"]),
        "transfer": seconds(
            rows[
                "transfer, 120 L-BFGS steps, 384x256, cpu, default precision (bfloat16)"
            ]
        ),
        "loss": seconds(rows[loss + "PerceptualLoss"]),
        "loss_plain": seconds(rows[loss + "written plainly in float32"]),
        "memory": f"{rows['peak memory, transfer at 1024x750, cpu']:.1f} GB",
        **judges.values(),
    }


def strip() -> str:
    """The strip, a slider of files; `theme/site.js` plays it once unless less
    motion is asked for.
    """
    from pltutorial.teaching.slider import slider_page

    about = json.loads((STRIP / "strip.json").read_text(encoding="utf-8"))
    frames = [f"images/strip/{frame['file']}" for frame in about["frames"]]
    labels = [str(frame["step"]) for frame in about["frames"]]
    page = slider_page(
        "step", labels, STRIP_ALT, frames, about["frames"][0]["size"], len(frames) - 1
    )
    return f'<div class="strip">\n{page}</div>'


def fill(text: str) -> str:
    """A page with its values, its strip and its tables."""
    known = values()

    def value(match: re.Match) -> str:
        return known[match[1]]

    text = re.sub(r"\{\{ (\w+) \}\}", value, text)
    for mark, made in (
        ("% the strip is put here", lambda: "```{raw} html\n" + strip() + "\n```"),
        ("% the chapters are put here", chapters.front_page_list),
        ("% the run times are put here", run_times),
        ("% the licences are put here", licences),
    ):
        text = text.replace(mark, made()) if mark in text else text
    for mark, table in judges.tables().items():
        text = text.replace(mark, table)
    return text


def run_times() -> str:
    """The table of what each chapter takes to run, on processors with
    and without bfloat16.
    """
    kinds = chapters.measured()
    lines = [
        "| chapter | on a processor with bfloat16 | on one without |",
        "|---|---|---|",
    ]
    for chapter in chapters.CHAPTERS:
        took = [
            kinds.get(kind, {}).get("seconds", {}).get(chapter.name)
            for kind in chapters.KINDS
        ]
        cells = [
            "not measured" if value is None else f"{value:.0f} s" for value in took
        ]
        lines.append(
            f"| [{chapter.number}](../../{chapter.document}.ipynb) | "
            f"{' | '.join(cells)} |"
        )
    machines = [kinds[kind]["machine"] for kind in chapters.KINDS if kind in kinds]
    names = [chapter.name for chapter in chapters.CHAPTERS]
    whole = [
        (chapters.expected_seconds(names, kind) or 0) / 60 for kind in chapters.KINDS
    ]
    return "\n".join(lines) + (
        "\n\n"
        f"All cells of a chapter. Measured on {'; '.join(machines)}. All chapters "
        f"together take about {whole[0]:.0f} and {whole[1]:.0f} minutes."
    )


def licences() -> str:
    """The table of the bundled data: what, by whom, under which licence."""
    with LICENCES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [
        f"| `{r['file']}` | {r['title']} | {r['author']} | {r['licence']} |"
        for r in rows
    ]
    return "\n".join(["| file | what | by | licence |", "|---|---|---|---|", *lines])


def outside_solutions(cells: list) -> list:
    """A chapter's cells but for those from `solution-start` to `solution-end`."""
    kept, inside = [], False
    for cell in cells:
        text = "".join(cell["source"]) if cell["cell_type"] == "markdown" else ""
        inside = inside or "{solution-start}" in text
        if not inside:
            kept.append(cell)
        inside = inside and "{solution-end}" not in text
    return kept


def without_solutions(cells: list[dict]) -> list[dict]:
    """A chapter's cells but for the solutions of its exercises."""
    return [
        {**cell, "source": SOLUTION.sub("", "".join(cell["source"]))}
        if cell["cell_type"] == "markdown"
        else cell
        for cell in outside_solutions(cells)
    ]


def mark_curves(notebook: dict) -> None:
    """Name the drawings among a chapter's figures, so that the dark page can turn
    their white to black.
    """
    for cell in notebook["cells"]:
        lines = [
            "".join(output.get("data", {}).get("text/plain", ""))
            for output in cell.get("outputs", [])
        ]
        if any(line.startswith("curves:") for line in lines):
            cell["metadata"].setdefault("mystnb", {}).setdefault("image", {})[
                "classes"
            ] = "curves"


def describe_panels(notebook: dict) -> None:
    """Give the pictures that stand side by side their cell's description, as the one
    name of the group, or of the picture where there is only one.
    """
    for cell in notebook["cells"]:
        about = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
        alt = html.escape(about)
        for output in cell.get("outputs", []):
            page = "".join(output.get("data", {}).get("text/html", ""))
            if not alt or not page.startswith('<div class="panels'):
                continue
            if page.count("<img") == 1:
                before, after = page.split('alt="', 1)
                page = f'{before}alt="{alt}{after[after.index(chr(34)) :]}'
            else:
                page = page.replace(
                    "<div ", f'<div role="group" aria-label="{alt}" ', 1
                )
            output["data"]["text/html"] = page
