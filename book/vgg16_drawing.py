"""The drawing of the loss network in chapter 2: `python book/vgg16_drawing.py` writes
book/images/vgg16.svg.

Sizes are drawn to scale for a picture of 128x192: a box's height is its features'
height, its width their number of channels. Nothing lies behind the drawing, and words
have a grey that is read on white and on black pages.
"""

from __future__ import annotations

from pathlib import Path

TARGET = Path(__file__).resolve().parent / "images" / "vgg16.svg"
# channels and number of convolutions of each block; how far its last layer sees
BLOCKS = ((64, 2, 5), (128, 2, 14), (256, 3, 40), (512, 3, 92), (512, 3, 196))
HEIGHT, WIDTH = 128, 192  # of the picture
TALL, WIDE = 1.4, 1 / 20  # drawn pixels a row, and a channel
GAPS = (96, 104, 86, 78, 78)  # before each block
AXIS, TABLE, LINE = 120, 254, 30  # y of the middle, of the first words, a line's height
WORDS, CONV, POOL, TAP = "#737880", "#56b4e9", "#8a8f98", "#c75800"
STYLE = (
    "text{font-family:Helvetica,Arial,sans-serif;font-size:22px;text-anchor:middle;"
    f"fill:{WORDS}}}.h{{text-anchor:start}}.p{{font-size:18px}}"
    f".t{{font-weight:bold;fill:{TAP}}}.b{{fill:{CONV};stroke:#1b6796}}"
    f".d{{stroke:{TAP};stroke-width:2;stroke-dasharray:4 4}}"
    f".a{{stroke:{POOL};stroke-width:2.5;marker-end:url(#h)}}"
)
SAID = (
    "From left to right the picture and five blocks of convolutions, two, two, three, "
    "three and three, ever lower and wider, with a pooling between two blocks. An "
    "orange dot marks the tap at the end of each block."
)


def box(x: float, wide: float, tall: float, how: str = 'class="b"') -> str:
    return (
        f'<rect {how} x="{x:.1f}" y="{AXIS - tall / 2:.1f}" width="{wide:.1f}" '
        f'height="{tall:.1f}" rx="1.5"/>'
    )


def text(x: float, y: float, words: str, kind: str = "") -> str:
    name = f'class="{kind}" ' if kind else ""
    return f'<text {name}x="{x:.1f}" y="{y}">{words}</text>'


def block(x: float, number: int, channels: int, count: int, field: int) -> list[str]:
    """The boxes of a block from x on, the arrow to them, the tap, and what is said."""
    height, wide = HEIGHT >> (number - 1), WIDE * channels
    parts = [
        f'<path class="a" d="M{x - GAPS[number - 1] + 10:.1f} {AXIS} H{x - 16:.1f}"/>'
    ]
    if number > 1:
        parts.append(text(x - GAPS[number - 1] / 2 - 3, AXIS - 12, "pool", "p"))
    parts += [box(x + (wide + 4) * k, wide, TALL * height) for k in range(count)]
    tap = x + (wide + 4) * (count - 1) + wide / 2
    bottom = AXIS + TALL * height / 2
    parts += [
        f'<path class="d" d="M{tap:.1f} {bottom:.1f} V{TABLE - 24}"/>',
        f'<circle cx="{tap:.1f}" cy="{bottom:.1f}" r="5.5" fill="{TAP}"/>',
    ]
    words = (f"relu{number}_{count}", channels, f"{height}×{WIDTH >> (number - 1)}")
    return parts + [
        text(tap, TABLE + LINE * line, str(said), "" if line else "t")
        for line, said in enumerate((*words, f"{field} px"))
    ]


def drawing() -> str:
    """The SVG: boxes for convolutions, grey arrows for poolings, orange dots for taps,
    and a line each for channels, size and receptive field.
    """
    x, tall = 61.0, TABLE + 3 * LINE + 12
    picture = f'fill="#c9ced6" stroke="{POOL}"'
    parts = [box(58, 6, TALL * HEIGHT, picture), text(58, 18, "picture")]
    for number, (channels, count, field) in enumerate(BLOCKS, 1):
        x += GAPS[number - 1]
        parts += block(x, number, channels, count, field)
        x += count * (WIDE * channels + 4) - 4
    wide = round(x) + 34  # the last words are wider than their box
    for line, said in enumerate(("tap", "channels", "size", "sees")):
        parts.append(text(2, TABLE + LINE * line, said, "h"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {tall}" '
        f'width="{wide}" height="{tall}" role="img" aria-labelledby="t d">\n'
        '<title id="t">VGG-16 and five of its taps</title>\n'
        f'<desc id="d">{SAID}</desc>\n<style>{STYLE}</style>\n'
        '<defs><marker id="h" markerWidth="9" markerHeight="9" refX="2" refY="4" '
        f'orient="auto" markerUnits="userSpaceOnUse"><path d="M0,0 L8,4 L0,8 z" '
        f'fill="{POOL}"/></marker></defs>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def main() -> None:
    """Write it."""
    TARGET.write_text(drawing(), encoding="utf-8")


if __name__ == "__main__":
    main()
