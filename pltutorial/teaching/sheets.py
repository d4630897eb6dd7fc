"""Arrays as pictures of 8 bits, and sheets for files that stand alone: by plain
pasting, so that a picture's pixel is a pixel of the sheet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
from PIL import Image, ImageDraw, ImageFont

from ..deferred import deferred_imports
from ..errors import InputError, needed

with deferred_imports():
    from ..tensors import check_dense

_MARGIN, _GAP = 6, 10


def panels_of(
    image: Any, scale: str | tuple[float, float] | None
) -> list[numpy.ndarray]:
    """A list of (3, H, W) and (1, H, W) float32 arrays, checked."""
    if isinstance(image, list | tuple):
        panels = [panel for one in image for panel in panels_of(one, scale)]
    else:
        if hasattr(image, "detach"):
            check_dense(image, "a figure's picture", floating=False, values=True)
        array = (
            image.detach().cpu().float().numpy()
            if hasattr(image, "detach")
            else numpy.asarray(image)
        )
        try:
            array = array.astype(numpy.float32, copy=False)
        except (ValueError, TypeError):
            raise InputError(
                f"a picture of {array.dtype} was given; give numbers, (N, 3, H, W)"
            ) from None
        array = (
            array.reshape((1,) * (4 - array.ndim) + array.shape)
            if array.ndim in (2, 3)
            else array
        )
        if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
            shape = "x".join(str(side) for side in numpy.shape(array)) or "a number"
            raise InputError(
                f"A figure was given {shape}; it needs pictures (N, 3, H, W) or "
                "channels (N, 1, H, W): feature[0, :9, None] makes pictures of a "
                "feature's first nine channels."
            )
        panels = list(array)
    if not panels:
        raise InputError("A figure was given no picture; give at least one.")
    for panel in panels:
        if not numpy.isfinite(panel).all():
            raise InputError(
                "A figure was given a picture with NaN or infinite values; find out "
                "where they come from."
            )
        if (len(panel) == 3 or scale is None) and (
            panel.min() < -1e-3 or panel.max() > 1 + 1e-3
        ):
            cure = (
                "divide 8-bit values by 255, or clamp(0, 1)"
                if len(panel) == 3
                else 'give scale="joint" or "each"'
            )
            raise InputError(
                f"A figure was given values from {panel.min():.4g} to "
                f"{panel.max():.4g}; it needs [0, 1], so {cure}."
            )
    return panels


def limits_of(panels: list[numpy.ndarray], scale) -> tuple[float, float] | str:
    """The values drawn darkest and brightest, or "each"."""
    if scale is None:
        return 0.0, 1.0
    if scale == "each":
        return "each"
    if scale == "joint":
        single = [panel for panel in panels if len(panel) == 1] or panels
        return float(min(p.min() for p in single)), float(max(p.max() for p in single))
    if isinstance(scale, str) or len(scale) != 2 or not scale[0] < scale[1]:
        raise InputError(
            f'scale is {scale!r}; give "each", "joint" or a pair (low, high) '
            "with low below high."
        )
    return float(scale[0]), float(scale[1])


def rgb(
    panel: numpy.ndarray, limits: tuple[float, float] | str, cmap: str
) -> Image.Image:
    """A panel as an 8-bit picture: colours as they are, one channel through a colour
    map between its limits.
    """
    if len(panel) == 3:
        array = panel.transpose(1, 2, 0)
    else:
        low, high = (
            (float(panel.min()), float(panel.max())) if limits == "each" else limits
        )
        array = (panel[0] - low) / ((high - low) or 1.0)
        array = (
            numpy.repeat(array[..., None], 3, axis=2)
            if cmap == "gray"
            else _colored(array, cmap)
        )
    array = (array.clip(0, 1) * 255 + 0.5).astype(numpy.uint8)
    return Image.fromarray(numpy.ascontiguousarray(array))


def _colored(array: numpy.ndarray, cmap: str) -> numpy.ndarray:
    matplotlib = needed("matplotlib", "figures", "notebook")

    if cmap not in matplotlib.colormaps:
        raise InputError(
            f'cmap {cmap!r} is not a colour map of matplotlib; use "gray", '
            '"viridis" or "RdBu".'
        )
    return matplotlib.colormaps[cmap](array.clip(0, 1))[..., :3]


def fit(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Shrunk to fit, never enlarged."""
    factor = min(1.0, width / picture.width, height / picture.height)
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS)


def _font(pixels: float) -> ImageFont.FreeTypeFont:
    matplotlib = needed("matplotlib", "figures", "notebook")

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(
        str(path), round(pixels), layout_engine=ImageFont.Layout.BASIC
    )


def _wrap(
    text: str, size: float, width: float
) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """The text in lines of at most `width` pixels; a word too long for a line makes
    the letters smaller.
    """
    while True:
        font = _font(size)
        lines = [""]
        for word in str(text).split():
            longer = f"{lines[-1]} {word}".strip()
            if not lines[-1] or font.getlength(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        if size <= 10 or max(font.getlength(line) for line in lines) <= width:
            return lines, font
        size -= 1


def _written(text: str, size: float, width: float) -> Image.Image:
    """The text, centred on a white strip of this width."""
    lines, font = _wrap(text, size, width)
    step = round(size * 1.25)
    strip = Image.new(
        "RGB", (max(1, round(width)), step * len(lines) + round(size * 0.3)), "white"
    )
    draw = ImageDraw.Draw(strip)
    for i, line in enumerate(lines):
        draw.text(
            (strip.width / 2, i * step + size),
            line,
            fill="#111111",
            font=font,
            anchor="ms",
        )
    return strip


def compose(rows, headings, width: int) -> Image.Image:
    """One white sheet with the panels and their titles, for files that stand alone."""
    count = max(len(row) for row in rows)
    size = 19.0  # letters, in pixels of a full-width figure: 9 on a phone
    room = (width - 2 * _MARGIN - _GAP * (count - 1)) // count
    pictures = [
        [panel_picture(panel, (0.0, 1.0), "gray", None, False, room) for panel in row]
        for row in rows
    ]
    cell = max(picture.width for row in pictures for picture in row)
    if headings:
        cell = min(max(cell, 120), room)  # so that a title has a few words' width
    total = 2 * _MARGIN + cell * count + _GAP * (count - 1)
    size = min(size, max(14.0, total / 40))
    tops = [
        [_written(text, size, cell) for text in row] if row else []
        for row in headings or [None] * len(rows)
    ]
    heights = [
        (
            max([strip.height for strip in strips], default=0),
            max(picture.height for picture in row),
        )
        for strips, row in zip(tops, pictures, strict=True)
    ]
    height = 2 * _MARGIN + sum(map(sum, heights)) + _GAP * (len(rows) - 1)
    sheet = Image.new("RGB", (total, height), "white")
    y = _MARGIN
    for strips, row, (top, tall) in zip(tops, pictures, heights, strict=True):
        for j, picture in enumerate(row):
            x = _MARGIN + j * (cell + _GAP)
            if strips:
                sheet.paste(strips[j], (x, y + top - strips[j].height))
            sheet.paste(picture, (x + (cell - picture.width) // 2, y + top))
        y += top + tall + _GAP
    return sheet


def panel_picture(
    panel, limits, cmap: str, zoom: int | None, values: bool, room: int
) -> Image.Image:
    """A panel as it is stored: shrunk to the room, or each pixel a square of
    ``zoom``.
    """
    picture = rgb(panel, limits, cmap)
    if zoom is None:
        return fit(picture, room, round(1.25 * room))
    if zoom < 1 or zoom != int(zoom) or picture.width * zoom > room:
        raise InputError(
            f"A zoom of {zoom} does not fit: a panel {picture.width} pixels wide has "
            f"{room} pixels of room; give a whole number up to "
            f"{max(1, room // picture.width)}, crop it, or use fewer columns."
        )
    picture = picture.resize(
        (picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST
    )
    if values and zoom >= 24 and len(panel) == 1:
        draw = ImageDraw.Draw(picture)
        texts = {
            index: f"{round(float(value), 2) + 0.0:g}"
            for index, value in numpy.ndenumerate(panel[0])
        }
        longest = max(_font(100).getlength(text) for text in texts.values())
        font = _font(min(20, zoom / 2, 85 * zoom / longest))
        for (i, j), text in texts.items():
            ink = (
                "black"
                if sum(picture.getpixel((j * zoom, i * zoom))) > 380
                else "white"
            )
            draw.text(
                ((j + 0.5) * zoom, (i + 0.5) * zoom),
                text,
                fill=ink,
                font=font,
                anchor="mm",
            )
    return picture
