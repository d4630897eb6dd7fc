"""What is put into the pages while they are staged: the strip of the front page,
measured numbers, the address.

Pages write `{{ name }}` for a value of `values()`; nothing that was measured is typed.
"""

from __future__ import annotations

import csv
import html
import json
import os
import re
from pathlib import Path

import address
import chapter_cards
import chapters
import judges

ROOT = Path(__file__).resolve().parent.parent
LAB_RECORD = ROOT / "benchmarks" / "labs.json"
RECORD, FAST = (
    ROOT / "benchmarks" / "record.json",
    ROOT / "notebooks" / "records" / "feed_forward.json",
)
LICENCES = ROOT / "data" / "SOURCES.csv"
INGREDIENTS = (
    RECORD,
    FAST,
    LAB_RECORD,
    judges.RECORD,
    chapters.SECONDS,
    LICENCES,
    ROOT / "pyproject.toml",
)
SOLUTION = re.compile(r"^(:{3,}|`{3,})\{solution\}.*?^\1[ ]*$", re.M | re.S)
STRIP = ROOT / "book" / "images" / "strip"
# Pages of the live page that stand in a frame in others, and how they are announced.
LABS = {
    "thesis": "Two damaged pictures, and five judges of which is nearer to the photo",
    "gatys": "Style transfer step by step, with the weights in your hand",
    "knows": "A photo, and what is drawn of a layer's numbers alone",
    "restyle": "A photo in the style of any painting, in one pass",
    "gram": "A shuffled copy of a painting, and the Gram matrices of both",
    "flip": "Two networks' pictures of one photo in one place, flipped by a key",
    "repair": "A photo with holes or noise, mended by two networks of different loss",
    "eye": "Eight copies of equal squared error, ordered by you and by five judges",
    "faces": "Faces between four faces, by three networks, and 64 new ones",
    "diffusion": "Noise that becomes faces, step by step, with the network's answers",
}
LAB_OF = {
    "01_pixel_loss": "thesis",
    "02_feature_reconstruction": "knows",
    "03_style_reconstruction": "gram",
    "04_gatys_transfer": "gatys",
    "05_feed_forward": "restyle",
    "06_super_resolution": "flip",
    "07_denoising_inpainting": "repair",
    "08_inverting_features": "knows",
    "09_learned_similarity": "faces",
    "10_the_other_player": "faces",
    "11_diffusion": "diffusion",
    "12_claims_under_test": "eye",
}
# What a lab begins with, where that is not its own beginning.
LAB_STATES = {"02_feature_reconstruction": "#layer=relu2_2&by=pixels"}
LAB_WORDS = {
    "thesis": (
        "drag A or B, blur it, cover it; five judges say which of the two is nearer to "
        "the photo. *Make them disagree* finds pairs, and the link keeps them for your "
        "class."
    ),
    "gatys": (
        "each step is one of this chapter's: forward through VGG-16 to relu3_3, back "
        "to the pixels, and Adam. Your photo and your painting stay on your device."
    ),
    "gram": (
        "shuffle the tiles, paint on the copy, and watch what the matrix and what the "
        "features notice. Each cell of a matrix shows its two channels. Your picture "
        "stays on your device."
    ),
    "flip": (
        "photographs of 120 by 80 pixels, enlarged four times by the networks of this "
        "chapter. Two of them lie in one place: press the space bar, or tap the "
        "picture, and look at what changes. Other tasks, from noise to paintings, are "
        "in the first list."
    ),
    "repair": (
        "cut holes into a photo, or make it noisy. Two networks of this chapter mend "
        "it, one for each loss; move the divider between them, and see what pixels, "
        "features and Gram matrices say of each. Your photo stays on your device."
    ),
    "knows": (
        "a photo goes to a layer of VGG-16, and a picture comes back from that "
        "layer's numbers alone: by moving pixels as in chapter 2, or drawn by the "
        "networks of chapter 8. Then send what was drawn through again. Your photo "
        "stays on your device."
    ),
    "restyle": (
        "the photo's features take on the statistics of any painting, yours too, and "
        "a decoder draws them, as `restyle` does. Move the painting's share, and the "
        "size at which it is looked at: that sets the strokes. Both pictures stay on "
        "your device."
    ),
    "eye": (
        "eight copies of a photo, all with the same squared error. Put them in order "
        "by eye; then see which judge agrees with you, and what chance would reach."
    ),
    "faces": (
        "move a point between four unseen faces and see what each network makes of the "
        "same place; add long hair, or a mouth that codes hardly hold; draw 64 faces "
        "from the prior or from the fitted Gaussian, nearer to its middle or farther "
        "out."
    ),
    "10_the_other_player": (
        "this chapter's painters are trained when it runs, and do not ship. What ships "
        "are the three decoders of chapter 9: the first learned without an adversary, "
        "DeePSiM and VAE/GAN with one. Look at the same face in all three."
    ),
    "diffusion": (
        "the sampler of this chapter on sixteen faces: what the network is given, and "
        "what it answers, at every step. Choose 1 to 25 steps, Euler or Heun, a hair "
        "colour and the guidance; look back along the walk."
    ),
}
# What the page that flips two pictures shows of chapters that have a lab of their own.
FLIPPED = {
    "05_feed_forward": ("great_wave", "networks that paint"),
    "07_denoising_inpainting": ("holes", "what fills the holes"),
    "08_inverting_features": ("codes", "what is drawn of a code"),
}
# Where a notebook is read without the site; on the site Colab has a button.
COLAB_BADGE = re.compile(r"^\[!\[Open in Colab\]\(.*\)\n\n?", re.M)
MARKDOWN = {"cell_type": "markdown", "metadata": {}}
PANEL_LINE = r"live_panel \(.*\): run this cell in Jupyter to move it. It starts.*:"
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
        **lab_values(),
        **judges.values(),
    }


def lab_values() -> dict[str, str]:
    """What the labs cost a reader, from their record."""
    record = json.loads(LAB_RECORD.read_text(encoding="utf-8"))
    known, machine = record["values"], record["machine"]
    load = machine["load at the end"] or 0
    busy = "idle" if load < machine["cores"] else "busy"
    return {
        "labs_machine": f"a {busy} machine with {machine['cores']} cores",
        "thesis_mb": f"{known['thesis, first answer, MB']:.1f} MB",
        "thesis_update": seconds(known["thesis, an update at 160 pixels, processor s"]),
        "gatys_mb": f"{known['gatys, first step, MB']:.1f} MB",
        "gatys_step": seconds(known["gatys, a step at 128 pixels, processor s"]),
        "gram_update": seconds(known["gram, an update at 160 pixels, processor s"]),
        "repair_holes": seconds(known["repair, holes at 256 pixels, processor s"]),
        "repair_noise": seconds(known["repair, noise at 256 pixels, processor s"]),
        "knows_mb": f"{known['knows, first answer, MB']:.1f} MB",
        "knows_round": seconds(known["knows, a round at 192 pixels, processor s"]),
        "restyle_mb": f"{known['restyle, first answer, MB']:.1f} MB",
        "restyle_share": seconds(known["restyle, a share at 256 pixels, processor s"]),
        "restyle_deeper": f"{known['restyle, the deeper layer, MB']:.0f} MB",
        "faces_mb": f"{known['faces, first answer, MB']:.1f} MB",
        "walk_16": seconds(known["diffusion, 16 faces in 25 steps, processor s"]),
        "eye_answers": seconds(known["eye, eight answers, processor s"]),
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
        ("% the lab is put here", lambda: lab("thesis", "../")),
        ("% the chapters are put here", chapter_cards.listing),
        ("% the run times are put here", run_times),
        ("% the licences are put here", licences),
    ):
        text = text.replace(mark, made()) if mark in text else text
    for mark, table in judges.tables().items():
        text = text.replace(mark, table)
    return text


def lab(name: str, path: str, state: str = "") -> str:
    """A lab of the live page in a frame, which is loaded when a reader comes near.

    Args:
        name: the page's name under live/.
        path: from the page with the frame to the top of the site.
        state: what it begins with, as its links say it.
    """
    state = html.escape(state)
    return (
        "```{raw} html\n"
        f'<iframe class="lab-frame" src="{path}live/{name}.html?in=book{state}" '
        f'title="{LABS[name]}" loading="lazy"></iframe>\n'
        "```"
    )


def add_labs(name: str, notebook: dict) -> None:
    """Put the chapter's lab where its panel for Jupyter stands: without a kernel the
    panel does not move, and its line says nothing to a visitor.
    """
    if name not in LAB_OF or os.environ.get("PLTUTORIAL_LIVE") == "off":
        return
    cells = notebook["cells"]
    panels = [
        place
        for place, cell in enumerate(cells)
        if cell["cell_type"] == "code"
        and re.search(r"^live_panel\(", "".join(cell["source"]), re.M)
    ]
    if panels:
        for output in cells[panels[0]].get("outputs", []):
            if output.get("name") == "stdout":
                text = "".join(output["text"])
                output["text"] = re.sub(PANEL_LINE, "It starts like this:", text)
    words = LAB_WORDS.get(name, LAB_WORDS[LAB_OF[name]])
    if name in FLIPPED:
        task, what = FLIPPED[name]
        words += (
            f' <a href="../live/flip.html#task={task}">Flip between {what}</a>, two at '
            "a time and in one place."
        )
    framed = lab(LAB_OF[name], "../", LAB_STATES.get(name, ""))
    text = f"**In this page, without Jupyter:** {words}\n\n{framed}"
    place = panels[0] + 1 if panels else 1
    cells.insert(place, {**MARKDOWN, "id": "lab", "source": text})


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


def drop_badge(notebook: dict) -> None:
    """A chapter's first cell without the badge that opens it in Colab."""
    first = notebook["cells"][0]
    first["source"] = COLAB_BADGE.sub("", "".join(first["source"]))


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
