"""The chapters' cards on the front page: a picture where there is one, the question,
the minutes.
"""

from __future__ import annotations

import base64
import importlib
import io
import json
import sys

import numpy
import pytest
from browsing import ROOT, Elements, site
from PIL import Image

sys.path.insert(0, str(ROOT / "book"))
cards, chapters = map(importlib.import_module, ("chapter_cards", "chapters"))
sys.path.pop(0)

__all__ = ["site"]  # a fixture


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def stored(tmp_path, markdown: str, data: dict | None = None):
    """A chapter with a heading and one figure."""
    outputs = [{"output_type": "display_data", "data": data}] if data else []
    about = {"mystnb": {"image": {"alt": "A figure."}}}
    code = {"cell_type": "code", "metadata": about, "source": "", "outputs": outputs}
    heading = {"cell_type": "markdown", "metadata": {}, "source": markdown}
    path = tmp_path / "01_x.ipynb"
    path.write_text(json.dumps({"cells": [heading, code]}))
    return path


def test_picture_is_the_title_or_the_first_figure(tmp_path):
    red = png(Image.new("RGB", (60, 60), "red"))
    text = base64.b64encode(red).decode()
    file = "book/images/own_loop_title.webp"
    title = f"# x\n\n![A title.](../{file})"
    assert cards.picture(stored(tmp_path, title)) == (
        [(ROOT / file).read_bytes()],
        "A title.",
    )
    figure = stored(tmp_path, "# x", {"image/png": text})
    assert cards.picture(figure) == ([red], "A figure.")
    image = f'<img src="data:image/png;base64,{text}">'
    panels = stored(tmp_path, "# x", {"text/html": [f"<div>{image}", f"{image}</div>"]})
    assert cards.picture(panels) == ([red, red], "A figure.")
    drawing = {"image/png": text, "text/plain": ["curves: two"]}
    for nothing in (stored(tmp_path, "# x"), stored(tmp_path, "# x", drawing)):
        assert cards.picture(nothing) is None
    assert cards.picture(tmp_path / "missing.ipynb") is None


def test_labels_and_gutters_are_cut_away():
    whole = Image.new("RGB", (330, 240), "white")
    colours = [["red", "lime", "blue"], ["navy", "black", "maroon"]]
    for row, line in enumerate(colours):
        for column, colour in enumerate(line):
            place = (110 * column, 20 + 120 * row)
            whole.paste(Image.new("RGB", (100, 90), colour), place)
    whole.paste("black", (20, 5, 60, 12))  # a label
    found = cards.tiles(whole)
    assert [[tile.size for tile in row] for row in found] == [[(100, 90)] * 3] * 2
    made = cards.sheet([whole])
    assert made.size == cards.SIZE
    width, height = made.size
    corners = [(9, 9), (width - 9, 9), (9, height - 9), (width - 9, height - 9)]
    wanted = [Image.new("RGB", (1, 1), c) for c in ("red", "blue", "navy", "maroon")]
    seen = [made.getpixel(place) for place in corners]
    assert seen == [one.getpixel((0, 0)) for one in wanted]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_pictures_side_by_side_fill_the_card(count):
    pictures = [Image.new("RGB", (40, 30), "teal") for _ in range(count)]
    made = cards.sheet(pictures)
    assert made.size == cards.SIZE
    inked = numpy.asarray(made).sum(2) < 3 * 255
    share = inked.mean()
    assert share > 0.95


def test_every_chapter_has_a_card(site):
    """With minutes, and with a picture that is there where the chapter has any."""
    page = Elements(site / "book/index.html")
    sources = " ".join(image["src"] for image in page.named("img"))
    listing = cards.listing()
    for chapter in chapters.CHAPTERS:
        assert f"[{chapter.question}](../{chapter.document}.ipynb)" in listing
        if cards.picture(chapter.path):
            assert f"{chapter.number:02d}.webp" in sources
    assert listing.count("of computing") == len(chapters.CHAPTERS)


def test_first_screen_offers_the_book_and_the_page(site):
    page = site / "book/index.html"
    links = [link.get("href") for link in Elements(page).named("a")]
    assert "../notebooks/01_pixel_loss.html" in links
    assert "../live/index.html" in links
    assert any(link and link.endswith("/issues/new") for link in links)
    (frame,) = Elements(page).named("iframe")
    assert frame["loading"] == "lazy"
    assert (page.parent / frame["src"].partition("?")[0]).resolve().exists()


@pytest.mark.parametrize(
    ("page", "lab"),
    [
        ("01_pixel_loss", "thesis"),
        ("02_feature_reconstruction", "knows"),
        ("03_style_reconstruction", "gram"),
        ("04_gatys_transfer", "gatys"),
        ("05_feed_forward", "restyle"),
        ("06_super_resolution", "flip"),
        ("07_denoising_inpainting", "repair"),
        ("08_inverting_features", "knows"),
        ("09_learned_similarity", "faces"),
        ("10_the_other_player", "faces"),
        ("11_diffusion", "diffusion"),
        ("12_claims_under_test", "eye"),
    ],
)
def test_chapters_have_their_lab(site, page, lab):
    """In place of the line that sent readers to Jupyter."""
    file = site / "notebooks" / f"{page}.html"
    (frame,) = Elements(file).named("iframe")
    assert frame["src"].partition("#")[0] == f"../live/{lab}.html?in=book"
    assert "run this cell in Jupyter" not in file.read_text(encoding="utf-8")


def test_description_is_what_the_page_says_and_not_what_its_picture_shows():
    nodes = importlib.import_module("docutils.nodes")
    sys.path.insert(0, str(ROOT / "book" / "extensions"))
    told = importlib.import_module("pltutorial_cards").description
    sys.path.pop(0)
    section = nodes.section()
    for child in (
        nodes.image(
            alt="Two rows of parrots: above with heavy noise, below with holes."
        ),
        nodes.emphasis("", "Above noise, below holes, on photographs that are new."),
        nodes.Text("In chapter 6 fine pixels were lost, and here parts are missing."),
    ):
        paragraph = nodes.paragraph()
        paragraph += child
        section += paragraph
    assert told(section).startswith("In chapter 6")
