"""The chapters of the book, in one table. A new chapter is its notebook, its module of
exercises and one entry here.

Who reads it: the builder, the front page, the table of contents, the course and the
tests. The table says which chapters there are, so that one that is missing is noticed;
how long each takes was measured, and stands in notebooks/records/seconds.json.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SECONDS = NOTEBOOKS / "records" / "seconds.json"
# Kinds of processors, by what convolutions are computed in; see
# pltutorial.device.best_precision.
KINDS = ("bfloat16", "float32")


@dataclass(frozen=True)
class Chapter:
    """One chapter: its notebook's name, and its line on the front page."""

    name: str  # NN_words, without .ipynb
    question: str
    promise: str  # what the reader does in it

    @property
    def number(self) -> int:
        """Its number in the book, from 1."""
        return int(self.name[:2])

    @property
    def file(self) -> str:
        """Its notebook's file name."""
        return f"{self.name}.ipynb"

    @property
    def document(self) -> str:
        """The name that the table of contents has for it."""
        return f"notebooks/{self.name}"

    @property
    def path(self) -> Path:
        """Its notebook, with the verified outputs."""
        return NOTEBOOKS / self.file

    @property
    def exercises(self) -> str:
        """The module with the checks of its exercises."""
        return f"pltutorial.teaching.exercises.chapter{self.number}"

    @property
    def course(self) -> str:
        """The module with the graded siblings of its exercises."""
        return f"book.course.chapter{self.number}"


CHAPTERS = (
    Chapter(
        "01_pixel_loss",
        "Why does squared error blur?",
        "You watch a shift of one pixel cost more than a visible blur, and prove that "
        "the "
        "mean is the best bad answer.",
    ),
    Chapter(
        "02_feature_reconstruction",
        "What does each VGG layer still know?",
        "You search for pictures by their features, read colours from them, and move "
        "features without a visible change.",
    ),
    Chapter(
        "03_style_reconstruction",
        "What is left when position is thrown away?",
        "You compute a Gram matrix by hand and grow textures from it.",
    ),
    Chapter(
        "04_gatys_transfer",
        "Can one picture take its content here and its style there?",
        "You put the two together and learn what each setting does.",
    ),
    Chapter(
        "05_feed_forward",
        "Can a network learn the whole optimisation?",
        "You train one that does it in a single pass, and see what it gains and what "
        "it gives up.",
    ),
    Chapter(
        "06_super_resolution",
        "Sharper or more accurate?",
        "You make pictures four and eight times as large, and see what likeness costs "
        "in accuracy.",
    ),
    Chapter(
        "07_denoising_inpainting",
        "What does a combined loss add where pixels are missing or noisy?",
        "You clean and mend pictures, and leave out each term of the loss to see what "
        "it was good for.",
    ),
    Chapter(
        "08_inverting_features",
        "What can a trained inverter see in a code?",
        "You draw pictures back from the features of VGG, and find out what a "
        "discriminator adds.",
    ),
    Chapter(
        "09_learned_similarity",
        "Can a generator be trained on likeness?",
        "You train variational autoencoders in which only the likeness differs, and "
        "count which faces they draw.",
    ),
    Chapter(
        "10_the_other_player",
        "What does the other player add?",
        "You let four losses colour the same drawings of faces, rank what they drew, "
        "and colour photographs with and without an adversary.",
    ),
    Chapter(
        "11_diffusion",
        "Why does blur do no harm in diffusion?",
        "You walk from noise to faces, see what answers cost that are sharp too early, "
        "and teach two students to draw in one step.",
    ),
    Chapter(
        "12_claims_under_test",
        "Which promises of perceptual losses hold?",
        "You guess, run each promise against a control with three seeds, and read off "
        "a verdict.",
    ),
    Chapter(
        "13_in_your_own_loop",
        "How do I put this loss into my own training loop?",
        "You change one line of a plain loop, and see which terms pull, where, in "
        "which precision and through which network.",
    ),
    Chapter(
        "14_to_production",
        "How does it leave the notebook?",
        "You take networks to large pictures, eight bits, other runtimes, film and a "
        "service with a queue, and measure what each step costs.",
    ),
)


def front_page_list() -> str:
    """The numbered list of the chapters, in Markdown, as the front page links them."""
    return "\n".join(
        f"{chapter.number}. [{chapter.question}](../{chapter.document}.ipynb) "
        f"{chapter.promise}"
        for chapter in CHAPTERS
    )


def reference_pages() -> list[str]:
    """The names of the pages that reference.py cuts from book/api.md."""
    text = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    return [f"book/api/{name}" for name in re.findall(r"^## (\w+)$", text, re.M)]


def contents() -> dict:
    """book/_toc.yml with the chapters where it leaves room for them."""
    import yaml

    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    for part in toc["parts"]:
        if part["chapters"] is None:
            part["chapters"] = [{"file": chapter.document} for chapter in CHAPTERS]
        for page in part["chapters"]:
            if page["file"] == "book/api":
                page["sections"] = [{"file": name} for name in reference_pages()]
    return toc


def pages() -> list[str]:
    """The names of the book's pages, in order."""
    toc = contents()
    inner = [page for part in toc["parts"] for page in part["chapters"]]
    return [
        toc["root"],
        *(one["file"] for page in inner for one in (page, *page.get("sections", ()))),
    ]


def measured() -> dict[str, dict]:
    """What the record of run times says of each kind of processor: its machine, and
    seconds by chapter.
    """
    if not SECONDS.exists():
        return {}
    return json.loads(SECONDS.read_text(encoding="utf-8"))["kinds"]


def expected_seconds(names: list[str], kind: str) -> float | None:
    """About how long these chapters take on this kind of processor; None without any
    measurement.

    A chapter that was measured on the other kind only is scaled by those that were
    measured on both, and one that was never measured counts as much as the mean of the
    others.
    """
    known = {name: entry["seconds"] for name, entry in measured().items()}
    own = known.get(kind, {})
    other = next((seconds for name, seconds in known.items() if name != kind), {})
    both = [name for name in own if name in other]
    ratio = (
        sum(own[name] for name in both) / sum(other[name] for name in both)
        if both
        else 1
    )
    estimate = {**{name: seconds * ratio for name, seconds in other.items()}, **own}
    if not estimate:
        return None
    mean = sum(estimate.values()) / len(estimate)
    return sum(estimate.get(name, mean) for name in names)
