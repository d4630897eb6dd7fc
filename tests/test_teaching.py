"""What a lecturer gets: notes for every chapter, a site without solutions, slides
that need no network.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import nbformat
import pytest
from browsing import browser

from book.chapters import CHAPTERS as TABLE

__all__ = ["browser"]  # a fixture

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = [chapter.path for chapter in TABLE]
NOTES = (ROOT / "book/teaching/notes.md").read_text(encoding="utf-8")

sys.path.insert(0, str(ROOT / "book"))
front, made = importlib.import_module("front"), importlib.import_module("slides")
sys.path.pop(0)

chapters = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


@pytest.mark.parametrize("number", [chapter.number for chapter in TABLE])
def test_every_chapter_has_notes(number):
    section = re.search(rf"^## Chapter {number}: .*?(?=^## |\Z)", NOTES, re.M | re.S)
    assert section, f"chapter {number} has no notes"
    for part in ("**Say.**", "**Show.**", "**They will believe.**", "**Ask.**"):
        assert part in section[0], f"chapter {number} lacks {part}"
    beliefs = re.findall(r"^- \*[^*]+\*.*?(?=^- |^\*\*)", section[0], re.M | re.S)
    assert len(beliefs) >= 3


def test_syllabus_names_every_chapter():
    text = (ROOT / "book/teaching/syllabus.md").read_text(encoding="utf-8")
    assert [path.name for path in CHAPTERS if path.name not in text] == []


def test_run_times_are_those_of_the_record():
    table = front.run_times()
    assert [path.name for path in CHAPTERS if path.name not in table] == []


def test_every_bundled_file_has_its_licence():
    table = front.licences()
    for folder in ("content", "style", "train", "test"):
        for path in (ROOT / "data" / folder).iterdir():
            assert f"`{folder}/{path.name}`" in table


@chapters
def test_without_solutions_keeps_everything_else(path):
    cells = nbformat.read(path, as_version=4).cells
    kept = front.without_solutions(cells)
    outside = "".join(cell["source"] for cell in kept)
    assert "{solution" not in outside
    assert (
        outside.count("{exercise}")
        == sum(cell.source.count("{exercise}") for cell in cells)
        >= 6
    )
    solved = [cell.source for cell in made.outside_solutions(cells)]
    hidden = [
        cell.source
        for cell in cells
        if cell.cell_type == "code" and cell.source not in solved
    ]
    assert hidden, "no solution was taken away"
    assert [code for code in hidden if code in outside] == []


@chapters
def test_slides_show_every_figure_and_no_solution(path):
    notebook = nbformat.read(path, as_version=4)
    deck = made.slides(notebook)
    kinds = [cell.metadata["slideshow"]["slide_type"] for cell in deck.cells]
    assert kinds.count("slide") >= 6
    assert "notes" in kinds
    for cell in deck.cells:
        if cell.metadata["slideshow"]["slide_type"] != "notes":
            assert "{" + "numref" not in cell.source
            assert "{exercise}" not in cell.source
    named = [
        cell.metadata["mystnb"]["figure"]["caption"]
        for cell in made.outside_solutions(notebook.cells)
        if cell.metadata.get("mystnb", {}).get("figure")
        and "live" not in cell.metadata.get("tags", [])
    ]
    spoken = [
        cell.source
        for cell in deck.cells
        if cell.metadata["slideshow"]["slide_type"] == "notes"
    ]
    assert [caption for caption in named if made.plain(caption) not in spoken] == []


def test_markdown_of_the_book_becomes_plain():
    text = (
        "(eq-a)=\n"
        "{term}`Gram matrix <gram>` of {cite:t}`gatys2016`, [here](x.ipynb), see "
        "{numref}`fig-a`: $$x$$ (eq)"
    )
    assert (
        made.plain(text).split("\n")[-1]
        == "Gram matrix of Gatys 2016, here, see the figure: $$x$$"
    )


def test_headline_is_short():
    parts = [
        ("text", "One. Two. Three. Four."),
        ("formula", "$$\na\n$$"),
        ("formula", "$$\nb\n$$"),
    ]
    assert made.headline(parts) == "One. Two. Three.\n\n$$\na\n$$"
    parts = [("text", "\n".join(f"- item {n}" for n in range(9)))]
    assert made.headline(parts).count("- item") == made.ITEMS


@pytest.fixture(scope="module")
def deck(tmp_path_factory) -> Path:
    try:
        made.install_packages()
    except made.BuildError as problem:
        pytest.fail(f"reveal.js is missing: {problem}")
    path = tmp_path_factory.mktemp("slides") / "slides.html"
    path.write_text(
        made.page(made.slides(nbformat.read(CHAPTERS[0], as_version=4)), "one"),
        encoding="utf-8",
    )
    return path


def test_slides_load_nothing(deck):
    text = re.sub(
        r"<script>.*?</script>", "", deck.read_text(encoding="utf-8"), flags=re.S
    )
    assert (
        re.findall(
            r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(?!data:)[^"]*"', text
        )
        == []
    )


def test_slides_turn_and_fit(deck, browser):
    context = browser.new_context(viewport={"width": made.WIDTH, "height": made.HEIGHT})
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda asked: (
            asked.url.startswith(("file:", "data:")) or wrong.append(asked.url)
        ),
    )
    page.goto(deck.as_uri())
    page.wait_for_function(
        "window.Reveal && Reveal.isReady() && MathJax.startup && "
        "MathJax.startup.promise"
    )
    count = page.evaluate("Reveal.getTotalSlides()")
    assert count > 15
    tall = []
    for _ in range(count):
        height, title = page.evaluate(
            "(slide => [slide.scrollHeight, slide.textContent.trim().slice(0, "
            "40)])(Reveal.getCurrentSlide())"
        )
        if height > made.HEIGHT:
            tall.append((height, title))
        page.evaluate("Reveal.next()")
    assert tall == []
    assert page.evaluate("Reveal.isLastSlide()")
    context.close()
    assert wrong == []
