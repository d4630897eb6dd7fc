"""Draw the emoji of data/emoji: `python book/emoji.py [--font PATH] [--to FOLDER]`
writes data/emoji/train.zip and test.zip.

The pictures come from the colour bitmaps (109 px) of Noto Color Emoji, SIL Open Font
License 1.1, as Debian's package fonts-noto-color-emoji installs it; version 2.042
was used. One code point gives one picture: 64 x 64, RGB, over white, its ink
centred. Left out are:

- code points below U+1F300, flags' letters and skin tones; above, the signs, buttons,
  arrows, clocks and shapes of SIGNS;
- a picture that is almost another or another's mirror image, as crops are flipped: its
  mean difference is below 2/255;
- a picture of such fine detail that 1024 bytes do not hold it at 34.5 dB, so that all
  of data/emoji stays below 1.5 MB.

Each is a lossless WebP of as many colours as its bytes allow: lossy WebP, at the same
size, halves the resolution of colour and leaves fringes on flat drawings. Every tenth
picture, in the order of code points, is a test picture.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import unicodedata
import zipfile
from pathlib import Path

import numpy
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
FOLDER = Path(__file__).resolve().parent.parent / "data" / "emoji"
SIZE = 64
STRIKE = 109  # pixels per em of the font's only bitmaps
# this square of the strike becomes SIZE: the widest ink, 126, keeps a
# margin of 2 pixels
CELL = 136
ALIKE = 2.0  # of 255, mean absolute difference
TEST_EVERY = 10
COLOURS = (128, 64, 48, 36, 28, 20, 14)
# a tar stores whole 512 bytes: (bytes, least PSNR in dB)
FITS = ((512, 40.0), (1024, 34.5))
FIRST = 0x1F300
SIGNS = (
    (0x1F4F2, 0x1F4F6),  # telephones with signs
    (0x1F500, 0x1F50A),  # arrows, brightness, loudspeakers
    (0x1F518, 0x1F524),  # buttons, words, keycaps
    (0x1F52F, 0x1F53D),  # shapes
    (0x1F549, 0x1F549),
    (0x1F550, 0x1F567),  # clock faces
    (0x1F6AD, 0x1F6B1),  # road and door signs, from here on
    (0x1F6B3, 0x1F6B3),
    (0x1F6B7, 0x1F6BC),
    (0x1F6BE, 0x1F6BE),
    (0x1F6C2, 0x1F6C5),
    (0x1F6D0, 0x1F6D1),
    (0x1F6D7, 0x1F6D7),
    (0x1F6DC, 0x1F6DC),
    (0x1F7E0, 0x1F7F0),  # circles and squares
    (0x1F9B0, 0x1F9B3),  # hair without a head
    (0x1FAAF, 0x1FAAF),
)
UNICODE_15 = {  # not in the tables of Python 3.11
    0x1FA75: "light blue heart",
    0x1FA76: "grey heart",
    0x1FA77: "pink heart",
    0x1FA87: "maracas",
    0x1FA88: "flute",
    0x1FAAD: "folding hand fan",
    0x1FAAE: "hair pick",
    0x1FABB: "hyacinth",
    0x1FABC: "jellyfish",
    0x1FABD: "wing",
    0x1FABF: "goose",
    0x1FACE: "moose",
    0x1FACF: "donkey",
    0x1FADA: "ginger root",
    0x1FADB: "pea pod",
    0x1FAE8: "shaking face",
    0x1FAF7: "leftwards pushing hand",
    0x1FAF8: "rightwards pushing hand",
}


def named(code: int) -> str:
    """``1f600_grinning_face``: Unicode never changes a name."""
    name = UNICODE_15.get(code) or unicodedata.name(chr(code))
    return f"{code:x}_{re.sub('[^a-z0-9]+', '_', name.lower())}"


def code_points(path: Path) -> list[int]:
    """What is drawn of the font, in order."""
    with TTFont(path, lazy=True) as font:
        codes = sorted(font.getBestCmap())
    return [
        code
        for code in codes
        if code >= FIRST
        # neither skin tones nor tags nor private use
        and unicodedata.category(chr(code)) in ("So", "Cn")
        and not any(first <= code <= last for first, last in SIGNS)
    ]


def draw(code: int, font: ImageFont.FreeTypeFont) -> Image.Image:
    """One emoji over white, its ink in the middle."""
    ink = Image.new("RGBA", (2 * CELL, 2 * CELL))
    ImageDraw.Draw(ink).text(
        (CELL // 2, CELL // 2), chr(code), font=font, embedded_color=True
    )
    left, top, right, bottom = ink.getbbox()
    left, top = (left + right - CELL) / 2, (top + bottom - CELL) / 2
    white = Image.new("RGBA", ink.size, "white")
    white.alpha_composite(ink)
    box = (left, top, left + CELL, top + CELL)
    return white.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC, box)


def distinct(pictures: dict[int, Image.Image]) -> dict[int, Image.Image]:
    """Without those that are almost an earlier one or its mirror image."""
    kept, whole, coarse = {}, [], []
    for code, picture in pictures.items():
        array = numpy.asarray(picture).astype(numpy.float32)
        for mirrored in (array, array[:, ::-1]):
            # the means of 8 x 8 blocks differ by no more than the pixels do, so most
            # need no second look
            low = blocks(mirrored)
            near = (
                numpy.flatnonzero(
                    numpy.abs(numpy.array(coarse) - low).mean((1, 2, 3)) < ALIKE
                )
                if kept
                else ()
            )
            if any(numpy.abs(whole[i] - mirrored).mean() < ALIKE for i in near):
                break
        else:
            kept[code] = picture
            whole.append(array)
            coarse.append(blocks(array))
    return kept


def blocks(array: numpy.ndarray) -> numpy.ndarray:
    """Means of 8 x 8 pixels."""
    return array.reshape(SIZE // 8, 8, SIZE // 8, 8, 3).mean((1, 3))


def encode(picture: Image.Image) -> bytes | None:
    """The smallest number of 512 bytes that holds the picture well, with as many
    colours as go in; or None.
    """
    found = None
    for colours in COLOURS:  # fewer and fewer, so quality and bytes fall
        few = picture.quantize(
            colours, Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE
        ).convert("RGB")
        error = numpy.asarray(few).astype(float) - numpy.asarray(picture)
        quality = 10 * numpy.log10(255**2 / max(numpy.square(error).mean(), 1e-9))
        limits = [
            limit
            for limit, least in FITS
            if quality >= least and (found is None or limit < found[0])
        ]
        if not limits:
            break
        file = io.BytesIO()
        few.save(file, "WEBP", lossless=True, quality=90, method=4)
        smallest = min(
            (limit for limit in limits if file.tell() <= limit), default=None
        )
        if smallest is not None:
            found = smallest, file.getvalue()
    return found and found[1]


def archive(path: Path, members: dict[str, bytes]) -> None:
    """A zip of the members in their order, not compressed again: the same bytes on
    every run and system.
    """
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            member = zipfile.ZipInfo(name)  # of 1980, the earliest time a zip can tell
            member.create_system = 3
            target.writestr(member, data)


def main(arguments: list[str] | None = None) -> int:
    """Write both archives."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--font", type=Path, default=FONT)
    parser.add_argument(
        "--to", type=Path, default=FOLDER, help="the folder to write to"
    )
    given = parser.parse_args(arguments)
    try:
        font = ImageFont.truetype(
            given.font, STRIKE, layout_engine=ImageFont.Layout.BASIC
        )
        codes = code_points(given.font)
    except Exception as problem:
        # neither FreeType nor fontTools has one error for files that are no such font
        print(
            f"error: the font {str(given.font)!r} cannot be read ({problem}); "
            "install Debian's package fonts-noto-color-emoji, or name its "
            "NotoColorEmoji.ttf with --font",
            file=sys.stderr,
        )
        return 2
    drawn = {code: draw(code, font) for code in codes}
    kept = distinct(drawn)
    members = {
        f"{named(code)}.webp": data
        for code, picture in kept.items()
        if (data := encode(picture))
    }
    names = list(members)
    parts = {"test": names[TEST_EVERY - 1 :: TEST_EVERY]}
    parts["train"] = [name for name in names if name not in set(parts["test"])]
    given.to.mkdir(parents=True, exist_ok=True)
    for part, chosen in sorted(parts.items()):
        path = given.to / f"{part}.zip"
        archive(path, {name: members[name] for name in chosen})
        print(
            f"{path.name}: {len(chosen)} pictures, {path.stat().st_size / 1e6:.2f} MB"
        )
    print(
        f"left out: {len(drawn) - len(kept)} like another, "
        f"{len(kept) - len(names)} of too fine detail"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
