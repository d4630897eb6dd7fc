"""What this site needs beyond Jupyter Book: no network, links to chapters, a button
for the local Lab.
"""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path

TAUGHT = re.compile(r"Taught in chapters? (?P<number>\d+)\.")
UNUSED = re.compile(
    r'\s*<script src="[^"]*/fontawesome/[^"]*"></script>|\s*<link rel="preload" '
    r'as="font"[^>]*fa-(?:brands|regular)[^>]*>'
)
# Names and roles that contradict what they are given to: what is read aloud
# must be what is seen.
MENDED = (
    (
        re.compile(
            r'(<button class="btn search-button-field[^>]*?) aria-label="Search"'
        ),
        r"\1",
    ),
    (re.compile(r'<summary aria-label="Toggle hidden content">'), "<summary>"),
    (
        re.compile(r'<div role="list" class="citation-list">'),
        '<div class="citation-list">',
    ),
    (re.compile(r'<dl>(?=\s*<dd><em class="sig-param)'), '<dl role="presentation">'),
)
MATHJAX_FILES = ("tex-mml-chtml.js", "output/chtml/fonts")


def keep_case(title: str) -> str:
    """The anchor of a heading as JupyterLab makes it, so that one link works
    there and on the site.
    """
    return title.strip().replace(" ", "-")


def chapters(env) -> dict[int, str]:
    """Chapter number -> document name, from the file names of the notebooks in the
    table of contents.
    """
    found = (re.fullmatch(r"notebooks/(\d\d)_\w+", name) for name in env.found_docs)
    return {int(match[1]): match[0] for match in found if match}


def link_to_chapter(app, what, name, obj, options, lines: list[str]) -> None:
    """Turn the docstring's `Taught in chapter N.` into a link to that chapter."""
    known = chapters(app.env)

    def link(match: re.Match) -> str:
        number = int(match["number"])
        # A chapter that is not there becomes a broken reference, which fails the
        # build under -n -W.
        return (
            f":doc:`Taught in chapter {number} "
            f"</{known.get(number, f'notebooks/{number:02d}')}>`."
        )

    lines[:] = [TAUGHT.sub(link, line) for line in lines]


def drop_live_code(app, pagename, templatename, context, doctree) -> None:
    """Leave out Thebe, which Jupyter Book adds to every page and which loads
    itself from a CDN.
    """
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "thebe" not in str(getattr(script, "filename", script))
        and "THEBE_JS_URL" not in getattr(script, "attributes", {}).get("body", "")
    ]
    context["css_files"] = [
        style
        for style in context.get("css_files", [])
        if "thebe" not in str(getattr(style, "filename", style))
    ]


def drop_unused_mathjax(app, pagename, templatename, context, doctree) -> None:
    """Leave MathJax, 0.26 MB, out of a page without a formula: Jupyter Book asks
    for it on every page.
    """
    if (
        doctree is not None
        and next(doctree.findall(lambda node: node.tagname.startswith("math")), None)
        is None
    ):
        context["script_files"] = [
            script
            for script in context["script_files"]
            if "mathjax" not in str(getattr(script, "filename", ""))
        ]


def lighten(app, error) -> None:
    """Leave out what the theme's template asks of every page and no page needs, and
    mend its names and roles.

    Icons are shown by a font and its style sheet; the script that turns them into
    drawings (1.5 MB, and nothing is shown before it ran) is not needed, and neither are
    fonts that are fetched before anything asks for them.
    """
    if error is not None or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = UNUSED.sub("", page.read_text(encoding="utf-8"))
        for fault, mended in MENDED:
            text = fault.sub(mended, text)
        page.write_text(text, encoding="utf-8")


def add_local_lab(app, pagename, templatename, context, doctree) -> None:
    """Add the JupyterLab that `make lab` starts to the launch buttons of a chapter."""
    for group in context.get("header_buttons", []):
        if group.get("label") == "launch-buttons":
            url = f"http://localhost:8888/lab/tree/{pagename}.ipynb"
            tooltip = "Open in the JupyterLab that `make lab` started"
            icon = "fa-solid fa-laptop-code"
            group["buttons"].append(
                {
                    "type": "link",
                    "text": "Local Lab",
                    "tooltip": tooltip,
                    "icon": icon,
                    "url": url,
                }
            )


def add_copy_button(app, pagename, templatename, context, doctree) -> None:
    """Add a button that copies the link to what is read: the page and
    the section in view.
    """
    tooltip = "Copy the link to this section"
    button = {
        "type": "javascript",
        "javascript": "copyLink()",
        "icon": "fa-solid fa-link",
        "tooltip": tooltip,
    }
    context.setdefault("header_buttons", []).append(button)


def copy_files(app, error) -> None:
    """Put the pictures that pages name in raw HTML beside them: Sphinx copies
    only those it knows.
    """
    if error is not None or app.builder.format != "html":
        return
    for folder in ("book/gallery", "book/images/strip"):
        shutil.copytree(
            Path(app.srcdir) / folder, Path(app.outdir) / folder, dirs_exist_ok=True
        )


def copy_mathjax(app, error) -> None:
    """Put MathJax's one script and its fonts into the site; the other 20
    MB are not needed.
    """
    if error is not None or app.builder.format != "html":
        return
    # The package's folder has dashes in its name, so its spec is looked up
    # and never imported.
    source = (
        Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    )
    target = Path(app.outdir) / "_static" / "mathjax"
    for name in MATHJAX_FILES:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        else:
            shutil.copyfile(source / name, target / name)


def setup(app) -> dict:
    app.connect("autodoc-process-docstring", link_to_chapter)
    app.connect("html-page-context", drop_live_code, priority=1000)
    app.connect("html-page-context", add_local_lab, priority=1000)
    app.connect("html-page-context", add_copy_button, priority=1000)
    app.connect("build-finished", copy_files)
    app.connect("html-page-context", drop_unused_mathjax, priority=1000)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", lighten)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
