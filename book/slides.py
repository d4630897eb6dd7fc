"""Slides from the chapters, one file each that needs no network: `python book/slides.py
[CHAPTER]` writes build/slides/.

Nothing is marked in the notebooks; a rule picks what is shown. Each section opens with
its heading, its first sentences and its formulas; each figure and each frame slider has
a slide of its own, with what to notice; code is shown where it is written by hand and
short. The whole text goes into the speaker's notes (press S). Exercises are left out.
"""

from __future__ import annotations

import stopping  # noqa: F401 - first: Ctrl-C is one sentence

# isort: split
import argparse
import base64
import copy
import html
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
from chapters import CHAPTERS
from front import drop_badge, outside_solutions
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from web import BuildError, install_packages

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "build" / "slides"
SENTENCES, ITEMS, CODE_LINES, TEXT_LINES = 3, 5, 16, 12
WIDTH, HEIGHT = 1280, 720
SKIPPED = ("Exercises", "Further reading")
# stands for the package's address until its files are put into the page
PREFIX = "reveal"

TEMPLATE = """{%- extends 'index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block footer_js -%}{%- endblock -%}
"""
STYLE = """
.reveal .slides { text-align: left; } .reveal h1, .reveal h2 { text-transform: none; }
.reveal { font-size: 28px; }
.reveal h1 { font-size: 1.9em; } .reveal h2 { font-size: 1.45em; }
.reveal .jp-Cell, .reveal .jp-OutputArea-child { display: block; padding: 0; margin: \
0; }
.jp-Notebook { background: none; }
.reveal .jp-OutputPrompt, .reveal .jp-InputPrompt,
.reveal .jp-OutputArea-prompt { display: none; }
.reveal .jp-RenderedImage img {
  height: 450px; width: 1216px; max-width: none;
  object-fit: contain; object-position: left top;
}
.reveal img.picture {
  height: 480px; width: 1216px; max-width: none; margin: 0;
  object-fit: contain; object-position: left top;
}
.reveal .frame-slider { max-width: 640px !important; }
.reveal .frame-slider img { margin: 0; max-height: 470px; }
.reveal .panels {
  width: max-content; max-width: 1216px !important; margin: 0; gap: .2em 16px;
  grid-template-columns: repeat(var(--n), auto) !important;
}
.reveal .panels img {
  width: auto; height: var(--tall); margin: 0 auto; object-fit: contain;
  max-width: calc(1216px/var(--n) - 16px) !important;
}
.reveal pre, .reveal .highlight pre { font-size: 22px; width: 100%; box-shadow: none; }
.reveal p { margin: .5em 0; }
.reveal .jp-RenderedHTMLCommon { font-size: 28px; }
.reveal .jp-RenderedText pre { font-size: 22px; }
.reveal pre code { font-size: 22px; line-height: 1.35; max-height: none; }
.reveal mjx-container { font-size: 95%; }
"""
START = """
const quick = matchMedia("(prefers-reduced-motion: reduce)").matches;
Reveal.initialize({width: %d, height: %d, margin: 0.03, center: false, hash: true,
  slideNumber: "c/t", transition: quick ? "none" : "slide", plugins: [RevealNotes],
  keyboardCondition: null});
"""
MATHJAX = (
    'window.MathJax = {tex: {inlineMath: [["$", "$"]], displayMath: [["$$", "$$"]], '
    'tags: "none"}, options: {skipHtmlTags: ["script", "style", "pre", "code", '
    '"textarea"]}, svg: {fontCache: "global"}};'
)


def plain(text: str) -> str:
    """MyST as plain Markdown: roles and links become their words,
    directives their text.
    """
    text = re.sub(r"^\s*\([\w:-]+\)=\s*$", "", text, flags=re.M)
    text = re.sub(r"\{(?:numref|eq|ref)\}`(?:[^`<]*<)?[^`]*`", "the figure", text)
    text = re.sub(r"\{cite[:\w]*\}`([^`]*)`", lambda match: _cited(match[1]), text)
    text = re.sub(r"\{\w+\}`([^`<]*?)(?:\s*<[^`]*>)?`", r"\1", text)
    text = re.sub(r"(?<!!)\[([^\]]+)\]\([^)]*\)", r"\1", text)
    return re.sub(r"\$\$\s*\([\w:-]+\)", "$$", text)


def _cited(keys: str) -> str:
    names = [re.fullmatch(r"\s*([a-z]+)(\d{4}\w*)\s*", key) for key in keys.split(",")]
    return "; ".join(f"{name[1].capitalize()} {name[2]}" for name in names if name)


def blocks(text: str) -> list[tuple[str, str]]:
    """A cell's paragraphs in order, each with its kind: heading,
    formula, picture, folded or text.
    """
    found, fence, lines, kind = [], None, [], "text"

    def close() -> None:
        if any(line.strip() for line in lines):
            found.append((kind, "\n".join(lines).strip()))
        lines.clear()

    for line in text.splitlines():
        opened = re.match(r"\s*(:{3,}|`{3,})(.*)$", line)
        if fence is None and opened:
            close()
            fence, kind = opened[1], "formula" if "{math}" in opened[2] else "folded"
        elif fence is not None:
            if line.strip() == fence:
                close()
                fence, kind = None, "text"
            elif not re.match(r"\s*:\w+:", line):
                lines.append(line)
        elif kind == "formula":
            lines.append(line)
            if "$$" in line:
                close()
                kind = "text"
        elif line.lstrip().startswith("$$"):
            close()
            kind, _ = "formula", lines.append(line)
            if line.count("$$") > 1:
                close()
                kind = "text"
        elif re.match(r"#{1,6} ", line):
            close()
            found.append(("heading", line))
        elif line.strip():
            if not lines:
                kind = "picture" if line.startswith("![") else "text"
            lines.append(line)
        else:
            close()
            kind = "text"
    close()
    return found


def embedded(text: str) -> nbformat.NotebookNode:
    """The cell of a picture of the text, in the page as the figures are."""
    alt, path = re.match(r"!\[([^]]*)\]\(([^)]*)\)", text, re.S).groups()
    file = (ROOT / "notebooks" / path).resolve()
    kind = {".svg": "svg+xml"}.get(file.suffix, file.suffix[1:])
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    picture = (
        f'<img class="picture" alt="{html.escape(alt)}" '
        f'src="data:image/{kind};base64,{data}">'
    )
    return new_code_cell(
        "", outputs=[new_output("display_data", data={"text/html": picture})]
    )


def headline(parts: list[tuple[str, str]]) -> str:
    """What a section's slide says: its first sentences and its first formula."""
    texts = [
        plain(text)
        for kind, text in parts
        if kind == "text" and not text.startswith(("|", "<"))
    ]
    listed = [
        text for text in texts if re.match(r"(?:[-*]|(?:\*\*)?\d+\.(?:\*\*)?) ", text)
    ]
    if texts and texts[0] in listed:  # a list is shown as far as it goes on a slide
        items = re.split(r"\n(?=(?:[-*]|\d+\.) )", "\n".join(listed))
        said = ["\n".join(items[:ITEMS])]
    else:
        said = (
            re.split(r"(?<=[.?!:])\s+(?=[A-Z*$`\"])", " ".join(texts[0].split()))
            if texts
            else []
        )
    formulas = [
        text if "$$" in text else f"$$\n{text}\n$$"
        for kind, text in parts
        if kind == "formula"
    ][:1]
    return "\n\n".join(
        [" ".join(said[:SENTENCES]), *(plain(formula) for formula in formulas)]
    )


def slides(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The chapter as a notebook of slides."""
    notebook = copy.deepcopy(notebook)
    drop_badge(notebook)
    cells, title, notes = [], "", []

    def add(cell, kind: str) -> None:
        cell.metadata["slideshow"] = {"slide_type": kind}
        cells.append(cell)

    def speak() -> None:
        if notes:
            add(new_markdown_cell("\n\n".join(notes)), "notes")
            notes.clear()

    parts: list[tuple[str, str]] = []

    def open_section(heading: str) -> None:
        nonlocal title
        title = heading
        add(new_markdown_cell(f"{heading}\n\n{headline(parts)}"), "slide")
        for kind, text in parts:
            if kind == "picture":
                show_picture(text)

    def show_picture(text: str) -> None:
        add(new_markdown_cell(as_small_heading(title)), "subslide")
        add(embedded(text), "-")

    pending = None
    for cell in outside_solutions(notebook.cells):
        if cell.cell_type == "markdown":
            for kind, text in blocks(cell.source):
                if kind == "heading" and re.match(r"#{1,2} ", text):
                    if pending is not None:
                        open_section(pending)
                        speak()
                    pending, parts = text, []
                    if any(text.endswith(name) for name in SKIPPED):
                        pending = None
                        return new_notebook(cells=cells, metadata=notebook.metadata)
                elif kind == "picture" and pending is None and title:
                    show_picture(text)
                elif kind != "heading":
                    parts.append((kind, text))
                    if kind == "text":
                        notes.append(plain(text))
            continue
        shown = picked(cell)
        if shown is None:
            continue
        if pending is not None:
            open_section(pending)
            pending = None
        speak()
        caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
        notice = re.search(r"What to notice: (.*)", caption, re.S)
        words = plain(notice[1]) if notice else ""
        add(
            new_markdown_cell(
                "\n\n".join(
                    filter(
                        None,
                        [
                            as_small_heading(title),
                            words and words[0].upper() + words[1:],
                        ],
                    )
                )
            ),
            "subslide",
        )
        add(shown, "-")
        if caption:
            add(new_markdown_cell(plain(caption)), "notes")
    return new_notebook(cells=cells, metadata=notebook.metadata)


def as_small_heading(title: str) -> str:
    """A chapter's heading one step smaller, for the slides that follow."""
    return title.replace("# ", "## ", 1) if title.startswith("# ") else title


def as_tall_as_fits(page: str) -> str:
    """A figure of panels with the height that its rows have on a slide."""
    columns = re.match(r'<div class="panels[^>]*--n:(\d+)', page)
    if not columns:
        return page
    rows = -(-page.count("<img") // int(columns[1]))
    words = 80 * rows + 80 if "panels table" in page else 50 * rows
    tall = f"--tall:{max(100, 500 - words) // rows}px"
    return page.replace('style="', f'style="{tall};', 1)


def picked(cell):
    """What of a code cell goes on a slide: its figure, its slider, a short result, or
    short code written by hand.
    """
    if {"live", "remove-cell"} & set(cell.metadata.get("tags", [])):
        return None
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        kinds = ("image/svg+xml", "image/png", "image/jpeg")
        picture = next((kind for kind in kinds if kind in data), None)
        if picture or re.search(
            'frame-slider|class="panels', str(data.get("text/html"))
        ):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            kept = (
                {picture: data[picture]}
                if picture
                else {"text/html": as_tall_as_fits(str(data["text/html"]))}
            )
            about = {picture: {"alt": alt}} if picture else {}
            return new_code_cell(
                "", outputs=[new_output("display_data", data=kept, metadata=about)]
            )
    lines = cell.source.strip().splitlines()
    by_hand = re.search(r"^def \w+_by_hand", cell.source, re.M)
    if by_hand and len(lines) <= CODE_LINES:
        return new_markdown_cell("```python\n" + "\n".join(lines) + "\n```")
    said = "".join(
        output.get("text", "") for output in cell.get("outputs", [])
    ).rstrip()
    if (
        said
        and "getsource" not in cell.source
        and len(said.splitlines()) <= TEXT_LINES
        and "check_" not in cell.source
    ):
        return new_markdown_cell(f"```\n{said}\n```")
    return None


def page(notebook: nbformat.NotebookNode, title: str) -> str:
    """The slides as one page with everything in it."""
    from nbconvert import SlidesExporter
    from traitlets.config import Config

    config = Config(
        {
            "SlidesExporter": {
                "exclude_input": True,
                "exclude_anchor_links": True,
                "reveal_theme": "simple",
            }
        }
    )
    exporter = SlidesExporter(
        config=config, raw_template=TEMPLATE, reveal_url_prefix=PREFIX
    )
    exporter.reveal_width, exporter.reveal_height = str(WIDTH), str(HEIGHT)
    text, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})
    reveal = install_packages() / "reveal.js"

    def inlined(match: re.Match) -> str:
        style = (reveal / "dist" / match[1]).read_text(encoding="utf-8")
        return "<style>" + re.sub(r"@import url\([^)]*\);?", "", style) + "</style>"

    text = re.sub(rf'<link[^>]*href="{PREFIX}/dist/([^"]+)"[^>]*>', inlined, text)
    mathjax = (
        Path(find_spec("sphinx-mathjax-offline").origin).parent
        / "static"
        / "mathjax"
        / "tex-svg.js"
    )
    sources = [
        reveal / "dist" / "reveal.js",
        reveal / "plugin" / "notes" / "notes.js",
        mathjax,
    ]
    scripts = [
        MATHJAX,
        *(path.read_text(encoding="utf-8") for path in sources),
        START % (WIDTH, HEIGHT),
    ]
    code = "".join(
        "<script>" + script.replace("</script", "<\\/script") + "</script>\n"
        for script in scripts
    )
    return text.replace("</head>", f"<style>{STYLE}</style>\n</head>").replace(
        "</body>", code + "</body>"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "chapter", nargs="?", default="", help="only notebooks with this in their name"
    )
    parser.add_argument("--to", type=Path, default=TARGET)
    given = parser.parse_args()
    paths = [chapter.path for chapter in CHAPTERS if given.chapter in chapter.file]
    if not paths:
        print(
            f"error: there is no chapter {given.chapter!r} in notebooks/",
            file=sys.stderr,
        )
        return 2
    given.to.mkdir(parents=True, exist_ok=True)
    try:
        for path in paths:
            notebook = slides(nbformat.read(path, as_version=4))
            target = given.to / f"{path.stem}.html"
            target.write_text(page(notebook, path.stem), encoding="utf-8")
            count = sum(
                cell.metadata["slideshow"]["slide_type"] in ("slide", "subslide")
                for cell in notebook.cells
            )
            print(
                f"{target.relative_to(ROOT) if target.is_relative_to(ROOT) else target}"
                f": {count} slides"
            )
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
