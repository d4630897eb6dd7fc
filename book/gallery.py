"""The gallery: every bundled photograph in every shipped style, made while
the site is built.

`python book/gallery.py` makes the pictures alone, into build/gallery/; they are kept
there until the networks, the pictures or this file change, and are never committed.
"""

from __future__ import annotations

import csv
import hashlib
import html
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "gallery"
# pixels, longer side: thumbnails for phones, and for screens with finer pixels
SIZES = (192, 384)
QUALITY = 78
NETWORK = ROOT / "pltutorial" / "assets" / "styles"


def sources() -> dict[str, dict[str, str]]:
    """Title, author and licence of every bundled picture, by
    `content/NAME` and `style/NAME`.
    """
    with (ROOT / "data" / "SOURCES.csv").open(encoding="utf-8", newline="") as table:
        return {
            str(Path(row["file"]).with_suffix("").as_posix()): row
            for row in csv.DictReader(table)
        }


def names(folder: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "data" / folder).glob("*.jpg"))


def key() -> str:
    """What the pictures depend on."""
    total = hashlib.sha256()
    files = [
        Path(__file__),
        *(ROOT / "pltutorial" / "networks").glob("*.py"),
        *NETWORK.glob("*.safetensors"),
    ]
    for path in sorted(
        [
            *files,
            *(ROOT / "data" / "content").glob("*"),
            *(ROOT / "data" / "style").glob("*"),
        ]
    ):
        total.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def make() -> Path:
    """Make all pictures unless they are there, and return their folder."""
    stamp = CACHE / "key"
    if stamp.exists() and stamp.read_text() == key():
        return CACHE
    import torch

    from pltutorial import bundled, load_style, read_image, resize, stylize
    from pltutorial.images import to_picture

    print("the gallery's pictures are made ...", flush=True)
    shutil.rmtree(CACHE, ignore_errors=True)
    CACHE.mkdir(parents=True)

    def store(image: torch.Tensor, name: str) -> None:
        for size in SIZES:
            to_picture(resize(image, size)).save(
                CACHE / f"{name}_{size}.webp", quality=QUALITY, method=4
            )

    for style in names("style"):
        store(read_image(bundled(f"style/{style}"), SIZES[-1]), style)
    network = load_style("eight_styles")
    with torch.no_grad():
        for content in names("content"):
            image = read_image(bundled(f"content/{content}"), SIZES[-1])
            store(image, content)
            for style in names("style"):
                store(stylize(image, style, network=network), f"{content}_{style}")
    stamp.write_text(key())
    return CACHE


def stage(tree: Path) -> None:
    """Copy the pictures beside the staged page and write their table into it."""
    shutil.copytree(
        make(), tree / "book" / "gallery", ignore=shutil.ignore_patterns("key")
    )
    page = tree / "book" / "gallery.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(
        text.replace(
            "% the pictures are put here", "```{raw} html\n" + table() + "\n```"
        ),
        "utf-8",
    )


def picture(name: str, alt: str, caption: str) -> str:
    """One thumbnail with a link to its larger self; the browser takes the
    size that it needs.
    """
    from PIL import Image

    width, height = Image.open(CACHE / f"{name}_{SIZES[-1]}.webp").size
    small = Image.open(CACHE / f"{name}_{SIZES[0]}.webp").size[0]
    return (
        f'<a href="gallery/{name}_{SIZES[-1]}.webp"><img '
        f'src="gallery/{name}_{SIZES[0]}.webp" srcset="gallery/{name}_{SIZES[0]}.webp '
        f'{small}w, gallery/{name}_{SIZES[-1]}.webp {width}w" sizes="(max-width: '
        f'600px) 45vw, 180px" width="{width}" height="{height}" loading="lazy" '
        'decoding="async" '
        f'alt="{html.escape(alt)}"></a><figcaption>{caption}</figcaption>'
    )


def table() -> str:
    """A section for each photograph: as it is, and in the eight styles."""
    about, parts = sources(), []
    for content in names("content"):
        photo = about[f"content/{content}"]
        title = photo["title"]
        figures = [picture(content, f"The photograph: {title}.", "the photograph")]
        for style in names("style"):
            print_title = re.sub(
                r", (c\. )?\d{4}$", "", about[f"style/{style}"]["title"]
            )
            artist = about[f"style/{style}"]["author"]
            caption = (
                f"{html.escape(print_title)}<br><small>{html.escape(artist)}</small>"
            )
            alt = (
                f"{title}, redrawn in the colours and strokes of "
                f"{print_title} by {artist}."
            )
            figures.append(picture(f"{content}_{style}", alt, caption))
        licence = (
            f"Photograph: {html.escape(photo['author'])}, "
            f"{html.escape(photo['licence'])}."
        )
        rows = "\n".join(f"<figure>{figure}</figure>" for figure in figures)
        heading = f'<h2 id="{content}">{html.escape(title)}</h2>'
        parts.append(
            f'<section class="gallery">{heading}\n<div>{rows}</div>\n'
            f"<p><small>{licence}</small></p></section>"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    print(make())
