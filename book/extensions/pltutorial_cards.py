"""What others read of the site: descriptions and cards for links, sitemap, robots.txt,
and a page for lost readers.
"""

from __future__ import annotations

import html
import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from docutils import nodes
from PIL import Image, ImageDraw, ImageFont, ImageOps

CARD, CARD_SIZE = "_static/card.jpg", (1200, 630)
CARD_PICTURE = "book/images/wall_pagoda_great_wave.webp"
TAGLINE = (
    "Perceptual losses for images: what they measure, where they fail, "
    "and how to use them."
)
UNLISTED = ("search", "genindex", "py-modindex", "404")
LONGEST = 160  # characters of a description that search engines show


def site_address(repository: str) -> str:
    """Where GitHub Pages publishes a repository, with a slash at its end."""
    owner, name = urlsplit(repository).path.strip("/").split("/")
    return f"https://{owner.lower()}.github.io/" + (
        "" if name.lower() == f"{owner.lower()}.github.io" else f"{name}/"
    )


def set_address(app, config) -> None:
    """The one setting, the repository's address, also gives the site's own."""
    config.html_baseurl = site_address(config.html_theme_options["repository_url"])


def description(doctree: nodes.document | None) -> str:
    """The first paragraph of a page that says something, cut at a word; a picture's
    alternative text and its caption are about the picture.
    """
    for paragraph in doctree.findall(nodes.paragraph) if doctree is not None else ():
        if all(
            isinstance(child, nodes.emphasis) or any(child.findall(nodes.image))
            for child in paragraph.children
            if child.astext().strip()
        ):
            continue
        text = re.sub(r"\s+", " ", paragraph.astext()).strip()
        if len(text) >= 40 and isinstance(
            paragraph.parent, nodes.section | nodes.document
        ):
            short = text[: LONGEST - 2].rsplit(" ", 1)[0].rstrip(",;:.") + " …"
            return text if len(text) <= LONGEST else short
    return TAGLINE


def add_tags(app, pagename, templatename, context, doctree) -> None:
    """Description and card of the page; the addresses are whole because
    other sites show them.
    """
    title = (
        html.unescape(re.sub(r"<[^>]*>", "", context.get("title") or ""))
        or app.config.html_title
    )
    tags = {
        "og:type": "article" if pagename.startswith("notebooks/") else "website",
        "og:site_name": app.config.html_title,
        "og:title": title,
        "og:description": description(doctree),
        "og:url": f"{app.config.html_baseurl}{pagename}.html",
        "og:image": f"{app.config.html_baseurl}{CARD}",
        "og:image:width": str(CARD_SIZE[0]),
        "og:image:height": str(CARD_SIZE[1]),
        "og:image:alt": (
            "A pavilion above a lake in the lines and blues of Hokusai's Great Wave."
        ),
    }
    named = {
        "description": tags["og:description"],
        "twitter:card": "summary_large_image",
    }
    lines = [
        f'<meta name="{name}" content="{html.escape(text)}">'
        for name, text in named.items()
    ]
    lines += [
        f'<meta property="{name}" content="{html.escape(text)}">'
        for name, text in tags.items()
    ]
    context["metatags"] = context.get("metatags", "") + "\n".join(lines) + "\n"


def write_card(source: Path, target: Path) -> None:
    """The picture that a shared link shows: 1200 by 630, the name over the
    lower part of a print.
    """
    fonts = Path(find_spec("matplotlib").origin).parent / "mpl-data" / "fonts" / "ttf"
    card = ImageOps.fit(
        Image.open(source).convert("RGB"),
        CARD_SIZE,
        Image.Resampling.LANCZOS,
        centering=(0.5, 0.3),
    )
    draw = ImageDraw.Draw(card)
    draw.rectangle((0, 430, *CARD_SIZE), fill="#10222e")
    draw.text(
        (60, 452),
        "pltutorial",
        font=ImageFont.truetype(fonts / "DejaVuSans-Bold.ttf", 68),
        fill="white",
    )
    words = ImageFont.truetype(fonts / "DejaVuSans.ttf", 31)
    draw.text(
        (60, 552),
        "Perceptual losses for images: a book and a package",
        font=words,
        fill="#cfe0ea",
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    card.save(target, quality=82, optimize=True, progressive=True)


def write_files(app, error) -> None:
    """sitemap.xml, robots.txt, 404.html and the card, beside the pages."""
    if error is not None or app.builder.format != "html":
        return
    out, base = Path(app.outdir), app.config.html_baseurl
    write_card(Path(app.srcdir) / CARD_PICTURE, out / CARD)
    pages = sorted(name for name in app.env.found_docs if name not in UNLISTED)
    found = [f"{base}{name}.html" for name in pages] + [f"{base}live/index.html"]
    entries = "\n".join(
        f"<url><loc>{html.escape(address)}</loc></url>" for address in found
    )
    (out / "sitemap.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        f"{entries}\n</urlset>\n",
        encoding="utf-8",
    )
    (out / "robots.txt").write_text(
        f"User-agent: *\nAllow: /\nSitemap: {base}sitemap.xml\n", encoding="utf-8"
    )
    # The table of contents extension wrote a bare redirect; a link to the site's own
    # address deserves a card, too.
    first, title = f"{app.config.root_doc}.html", app.config.html_title
    head = re.findall(
        r'<meta (?:name="(?:description|twitter)|property="og:)[^>]*>',
        (out / first).read_text("utf-8"),
    )
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        '<meta charset="utf-8">',
        f"<title>{title}</title>",
        *head,
    ]
    lines += [
        f'<link rel="canonical" href="{base}{first}">',
        f'<meta http-equiv="refresh" content="0; url={first}">',
    ]
    lines += [f'<p><a href="{first}">{title}</a></p>', "</html>"]
    (out / "index.html").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lost = (Path(app.srcdir) / "book/theme/404.html").read_text(encoding="utf-8")
    (out / "404.html").write_text(
        lost.replace("@site@", urlsplit(base).path), encoding="utf-8"
    )


def setup(app) -> dict:
    app.connect("config-inited", set_address)
    app.connect("html-page-context", add_tags)
    app.connect("build-finished", write_files, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
