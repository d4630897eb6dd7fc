"""Pictures side by side as HTML: each a picture of its own, its title a text."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy
from PIL import Image

from .sheets import limits_of, panel_picture, rgb

GAP = 10  # pixels between panels


def panels_page(
    rows: Sequence[Sequence[numpy.ndarray]],
    titles: Sequence[Sequence[str] | None],
    row_titles: Sequence[str] | None,
    columns: int,
    *,
    zoom: int | None,
    scale: str | tuple[float, float] | None,
    cmap: str,
    values: bool,
    width: int,
) -> str:
    """The figure's HTML.

    A panel is stored at up to twice the width at which it is shown, so that it is
    sharp on every screen and larger when it is opened. Without ``row_titles`` the
    panels flow: a phone shows fewer in a row. With them they stay a table.
    """
    limits = limits_of([panel for row in rows for panel in row], scale)
    room = (width - GAP * (columns - 1)) // columns
    table = row_titles is not None
    drawn = [
        [
            panel_picture(panel, limits, cmap, zoom, values, room if zoom else 2 * room)
            for panel in row
        ]
        for row in rows
    ]
    widest = max(min(room, picture.width) for row in drawn for picture in row)
    titled = any(titles) or table
    cell = min(room, max(widest, 120)) if titled else widest
    total = sum(len(row) for row in rows)
    parts, number = [], 0
    for i, row in enumerate(drawn):
        if table:
            parts.append(f'<b class="panel row">{html.escape(row_titles[i])}</b>')
        if table and titles[0]:
            # Above each row for those who hear the page or see a part of it only; shown
            # above the first.
            parts += [] if i else [_column_title(title) for title in titles[0]]
        for j, picture in enumerate(row):
            number += 1
            names = titles[0] if table else titles[i]
            title = names[j] if names else ""
            said = ", ".join(filter(None, [row_titles[i] if table else "", title]))
            said = html.escape(said or f"picture {number} of {total}")
            data = _encoded(picture, lossless=zoom is not None)
            shown = min(room, picture.width)
            caption = "" if table or not title else _caption(title)
            parts.append(
                f'<figure><img class="panel" alt="{said}" src="{data}" '
                f'width="{picture.width}" height="{picture.height}" '
                f'style="max-width:{shown}px">{caption}</figure>'
            )
    if scale is not None:
        parts.append(_scale_note(limits, cmap))
    kind = " ".join(["panels"] + ["table"] * table + ["exact"] * (zoom is not None))
    inside = "\n".join(parts)
    return (
        f'<div class="{kind}" style="--n:{columns};--cell:{cell}px">\n'
        f"{_STYLE}{inside}\n</div>"
    )


def _caption(title: str) -> str:
    return f'<figcaption class="panel">{html.escape(title)}</figcaption>'


def _column_title(title: str) -> str:
    return f'<b class="panel">{html.escape(title)}</b>'


def _encoded(picture: Image.Image, lossless: bool) -> str:
    data = io.BytesIO()
    picture.save(data, "WEBP", lossless=lossless, quality=84, method=4)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode("ascii")


def _scale_note(limits: tuple[float, float] | str, cmap: str) -> str:
    """How values became shades: a bar from the lowest to the highest value."""
    low, high = (
        ("own minimum", "own maximum")
        if limits == "each"
        else (f"{limit:.2g}" for limit in limits)
    )
    bar = rgb(numpy.linspace(0, 1, 9, dtype=numpy.float32)[None, None], (0, 1), cmap)
    shades = ",".join("#%02x%02x%02x" % bar.getpixel((i, 0)) for i in range(9))  # noqa: UP031
    return (
        f'<p class="panel">{low} <i style="background:linear-gradient(90deg,{shades})">'
        f"</i> {high}</p>"
    )


# No colours are set, so that the page's own (light or dark) hold.
_STYLE = """\
<style>
.panels{--gap:10px;--even:calc((100% - (var(--n) - 1)*var(--gap))/var(--n));
display:grid;gap:.7rem var(--gap);align-items:start;margin:0 auto 1rem;
max-width:calc(var(--n)*(var(--cell) + var(--gap)) - var(--gap));
grid-template-columns:repeat(auto-fill,minmax(max(var(--even),min(var(--cell),8.5rem)),1fr));
&.table{grid-template-columns:repeat(var(--n),minmax(min(var(--cell),6rem),1fr));row-gap:.3rem;
overflow-x:auto}
figure{margin:0;padding:0;break-inside:avoid}
img{display:block;width:100%;height:auto;margin:0 auto}
&.exact img{image-rendering:pixelated}
figcaption,b,p{margin:.2rem 0 0;font-size:.85em;line-height:1.35;text-align:center}
b{font-weight:inherit;align-self:end}
b.row{grid-column:1/-1;margin-top:.5rem;font-weight:bold;text-align:left}
p{grid-column:1/-1}
i{display:inline-block;width:7.5rem;height:.8em;border:1px solid;vertical-align:middle}
}
</style>
"""
