"""Questions of the chapters that the site checks in the reader's browser.

An answer is never typed here: `find` finds it in the chapter, in the answer to a
question of the section Recall or in the solution of an exercise with what its cells
printed. The page holds a hash of the answer and of every value near enough to it;
`theme/checks.js` compares. Without JavaScript a page is as it was.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass

WORDS = {"four": "4", "ten": "10"}
STEPS_OF_TOLERANCE = 4
EXACT = 0.01  # the step where no tolerance is given


@dataclass(frozen=True)
class Question:
    """One question whose answer is a number, or one of few words.

    Args:
        place: the exercise's label, or ``recall-N``: it stands below that exercise, or
            below the section Recall.
        words: the question.
        find: a pattern whose only group is the answer, in the chapter's own answer.
        options: the words among which one is right; a number is asked if left out.
        near: a number may be off by this share of the answer.
        unit: what the number counts, or how it is to be given.
        power: of what was found: a chapter writes 255 squared.
    """

    place: str
    words: str
    find: str
    options: tuple[str, ...] = ()
    near: float = 0.02
    unit: str = ""
    power: int = 1


def _true_or_false(place: str, *sentences: int) -> list[Question]:
    return [
        Question(place, f"Sentence {n}:", rf"^{n}\. (True|False)", ("True", "False"))
        for n in sentences
    ]


FIVE = (1, 2, 3, 4, 5)
ORDER = ("photo", "painting", "double exposure", "grey")
CHANGE = ("lower", "higher")
QUESTIONS: dict[str, list[Question]] = {
    "01_pixel_loss": [
        *_true_or_false("ex-pixel-recall", *FIVE),
        Question(
            "ex-pixel-copies",
            "How much of the clean contrast is left in the best picture for L2?",
            r"best for L2: squared error [\d.]+, ([\d.]+) times",
            near=0.1,
            unit="times",
        ),
    ],
    "02_feature_reconstruction": [
        Question(
            "recall-5",
            "Question 5: which of the two counts the shift as worse?",
            r"`(relu2_2)`, as the pixels do",
            ("relu2_2", "relu4_3"),
        ),
        Question(
            "ex-features-cats",
            "The mirrored cat's relative feature loss at relu4_3?",
            r"mirrored: pixels [\d.]+, relu4_3 ([\d.]+)",
            near=0.2,
        ),
        Question(
            "ex-features-cats",
            "No feature is negative. Which value can the relative loss reach, of two "
            "pictures that fire equally strongly?",
            r"the loss reaches (\d+)",
        ),
    ],
    "03_style_reconstruction": [
        Question(
            "recall-4",
            "Question 4: by which factor do a sum and a mean over the entries of "
            "relu1_2's matrix differ?",
            r"a factor of (\d+) to",
        ),
        Question(
            "ex-style-order",
            "The style error at relu1_2 of the print times 0.7?",
            r"times 0.7: relu1_2 ([\d.]+)",
            near=0.25,
        ),
        Question(
            "ex-style-order",
            "And at relu4_3 that of the print at half its size?",
            r"half its size: relu1_2 [\d.]+, relu4_3 ([\d.]+)",
            near=0.25,
        ),
    ],
    "04_gatys_transfer": [
        Question(
            "recall-1",
            "Question 1: the mean square of the style target (0.3, 0.9)?",
            r"the mean square, \$([\d.]+)\$",
        ),
        *_true_or_false("ex-gatys-recall", *FIVE),
        Question(
            "ex-gatys-exposure",
            "Which picture has the lowest total?",
            r"total, lowest first: ([^,\n]+)",
            ORDER,
        ),
        Question(
            "ex-gatys-exposure",
            "Which has the highest content term?",
            r"content term, lowest first: .*, ([^,\n]+)\n",
            ORDER,
        ),
    ],
    "05_feed_forward": [
        Question(
            "recall-2",
            "Question 2: how many of the kernel's nine weights meet a pixel at most?",
            r"one, two or (four) meet",
        ),
        Question(
            "ex-forward-size",
            "The side of a square that would take 8 GB?",
            r"8 GB: about (\d+) pixels",
            near=0.25,
            unit="pixels",
        ),
        Question(
            "ex-forward-blend",
            "Which blend has more contrast at edges?",
            r"more contrast at edges: (\w+)",
            ("inside", "outside"),
        ),
    ],
    "06_super_resolution": [
        Question(
            "recall-3",
            "Question 3: the error, on the scale of the chapter?",
            r"(\d+): its own power",
        ),
        Question(
            "ex-sr-twice",
            "How many pixels does the kernel for 4 cover?",
            r"kernel for 4 covers (\d+) pixels",
        ),
        Question(
            "ex-sr-twice",
            "By how many grey levels of 255 do the two differ on average?",
            r"mean difference ([\d.]+) of 255",
            near=0.5,
            unit="of 255",
        ),
    ],
    "07_denoising_inpainting": [
        Question(
            "recall-1",
            "Question 1: what does the squared error answer?",
            r"([\d.]+), the posterior mean",
        ),
        Question(
            "ex-restoration-grey",
            "From which weight of the style loss on is the best c above 0?",
            r"\$c\$ leaves 0 at \$\\lambda = (\d+)\$",
        ),
        Question(
            "ex-restoration-grey",
            "And the best c at a weight of 4?",
            r"\$c = ([\d.]+)\$ at 4",
        ),
    ],
    "08_inverting_features": [
        Question(
            "recall-3",
            "Question 3: who learns in the next step?",
            r"Only the (\w+)",
            ("generator", "discriminator", "both"),
        ),
        Question(
            "ex-inversion-grid",
            "For which shift is the drawing the same?",
            r"after (\d) pixels the same",
            ("4", "8"),
        ),
    ],
    "09_learned_similarity": [
        Question(
            "recall-2",
            "Question 2: by what factor must the weight change?",
            r"By \$(\d+)\^2\$",
            power=2,
        ),
        Question(
            "ex-vae-collapse",
            "Which share of the diversity of real faces is left?",
            r"48/63 is ([\d.]+)",
            near=0.07,
        ),
    ],
    "10_the_other_player": [
        Question(
            "ex-player-recall",
            "What does a discriminator pay that knows nothing?",
            r"\\approx ([\d.]+)\$",
        ),
        Question(
            "ex-player-cold",
            "At which temperature is the network more colourful?",
            r"^At ([\d.]*\d)\. The likeliest",
            ("1", "0.05"),
        ),
        Question(
            "ex-player-cold",
            "The photographs' colourfulness is 73. The network's at 1?",
            r"; at 1: (\d+); photographs: 73",
            near=0.3,
        ),
    ],
    "11_diffusion": [
        Question(
            "claims",
            "How much of the sharpness of real faces does one step keep?",
            r"keeps (\d+)% of the sharpness",
            near=0.15,
            unit="%",
        ),
        Question(
            "ex-diffusion-leap",
            "The later the leap, the … the faces?",
            r"the later the leap, the (\w+) the faces",
            ("sharper", "duller"),
        ),
    ],
    "12_claims_under_test": [
        *_true_or_false("ex-claims-recall", *FIVE),
        Question(
            "recall-1",
            "Question 1: if both arms were the same, it would happen once in how many?",
            r"once in (\w+)",
        ),
        Question(
            "ex-claims-period",
            "With dots of period 3 the judge's distance is …?",
            r"period  3: [\d.]+, (\w+) than",
            CHANGE,
        ),
        Question(
            "ex-claims-period",
            "And with dots of period 16?",
            r"period 16: [\d.]+, (\w+) than",
            CHANGE,
        ),
    ],
    "13_in_your_own_loop": [
        Question(
            "ex-loop-recall",
            "How far does the gradient of relu2_2 go beyond a mask?",
            r"(\d+) pixels\. The lower end",
            unit="pixels",
        ),
        Question(
            "ex-loop-reach",
            "How far does that of relu3_3 go?",
            r"relu3_3 reaches \((\d+),",
            unit="pixels",
        ),
    ],
    "14_to_production": [
        Question(
            "recall-1",
            "Question 1: the seven steps alone, in pixels?",
            r"of four pixels, (\d+),",
            unit="pixels",
        ),
        Question(
            "ex-production-margin",
            "By how many per cent do the margins raise the pixels of tiles of 512?",
            r"tiles of 512: (\d+)% more",
            near=0.05,
            unit="%",
        ),
        Question(
            "ex-production-margin",
            "And of tiles of 128?",
            r"tiles of 128: (\d+)% more",
            near=0.05,
            unit="%",
        ),
    ],
}


# --- answers, found in the chapter ----------------------------------------------------


def _text(cell: dict) -> str:
    """Source of a cell, and what it printed."""
    printed = ["".join(output.get("text", "")) for output in cell.get("outputs", [])]
    return "\n".join(["".join(cell["source"]), *printed])


def scope(place: str, cells: list[dict]) -> str:
    """The text in which an answer stands: of one question of the section Recall, of one
    exercise, or of the claims.
    """
    whole = "\n\n".join(map(_text, cells))
    if place == "claims":
        begin, end = r"^## What you can claim now", r"^## "
    elif place.startswith("recall-"):
        recall = re.search(r"^## Recall$(.*?)(?=^## |\Z)", whole, re.M | re.S)
        whole, number = recall[1] if recall else "", place.removeprefix("recall-")
        begin, end = rf"^(?:\*\*)?{number}\.", r"^(?:\*\*)?\d\. *(?:\*\*)?[ A-Z]"
    else:
        begin, end = rf"\{{solution(?:-start)?\}} {place}$", r"\{exercise\}"
    found = re.search(rf"{begin}(.*?)(?={end}|\Z)", whole, re.M | re.S)
    return found[1] if found else ""


def answer(question: Question, cells: list[dict]) -> str:
    """The answer, as the chapter writes it.

    Raises:
        ValueError: it stands nowhere, or there are several.
    """
    given = set(re.findall(question.find, scope(question.place, cells), re.M))
    if len(given) != 1:
        raise ValueError(
            f"the answer to {question.words!r} is looked for in {question.place} by "
            f"{question.find!r}, which finds {sorted(given) or 'nothing'}; it has to "
            "find one"
        )
    (found,) = given
    found = WORDS.get(found, found)
    return f"{float(found) ** question.power:.0f}" if question.power > 1 else found


# --- what the page holds --------------------------------------------------------------


def digest(text: str) -> str:
    """FNV-1a with 32 bits, as theme/checks.js computes it: nobody reads the answer by
    accident, and who wants to find it can.
    """
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{value:08x}"


def predicts(place: str) -> bool:
    """Whether what is asked there is answered once, before it is measured."""
    return place.startswith("ex-") and not place.endswith("-recall")


def entry(name: str, question: Question, found: str) -> dict:
    """What the page holds of one question."""
    made: dict = {"id": name, "words": question.words, "unit": question.unit}
    if predicts(question.place):
        made["measured"] = found
    if question.options:
        if found not in question.options:
            raise ValueError(f"{found!r} is no option of {question.words!r}")
        return {
            **made,
            "options": question.options,
            "hashes": [digest(f"{name}:{found}")],
        }
    value = float(found)
    reach = abs(value) * question.near
    step = reach / STEPS_OF_TOLERANCE or EXACT
    digits = 10 ** (math.floor(math.log10(step)) - 1)
    step = round(step / digits) * digits  # a short number in the page
    bins = range(
        math.ceil((value - reach) / step), math.floor((value + reach) / step) + 1
    )
    hashes = sorted(digest(f"{name}:{place}") for place in bins)
    return {**made, "step": step, "hashes": hashes}


def page(chapter: int, entries: list[dict], last: bool) -> str:
    """The place of some questions, as a cell's text; hidden until a script fills it."""
    held = json.dumps({"chapter": chapter, "questions": entries, "last": last})
    data = base64.b64encode(held.encode()).decode()
    script = '<script defer src="../_static/checks.js"></script>\n' if last else ""
    return (
        "```{raw} html\n"
        f'<div class="checks" data-checks="{data}" hidden></div>\n{script}```'
    )


def entries_of(name: str, cells: list[dict]) -> dict[str, list[dict]]:
    """By place, what the page holds of a chapter's questions."""
    chapter, made, count = int(name[:2]), {}, {}
    for question in QUESTIONS.get(name, []):
        place = question.place
        number = count[place] = count.get(place, 0) + 1
        label = place if place.startswith("ex-") else f"{place}-{chapter}"
        known = entry(f"{label}.{number}", question, answer(question, cells))
        where = place if place.startswith("ex-") else "recall"
        made.setdefault(where, []).append(known)
    return made


def add(name: str, notebook: dict) -> None:
    """Put a chapter's questions into it, each below what it asks about."""
    cells = notebook["cells"]
    made = entries_of(name, cells)
    marks = {
        place: "## Recall" if place == "recall" else f":label: {place}\n"
        for place in made
    }
    places = {}
    for place, mark in marks.items():
        places[place] = next(
            at
            for at, cell in enumerate(cells)
            if cell["cell_type"] == "markdown" and mark in "".join(cell["source"])
        )
    ordered = sorted(places, key=places.__getitem__, reverse=True)
    for number, place in enumerate(ordered):
        text = page(int(name[:2]), made[place], last=number == 0)
        cell = {"cell_type": "markdown", "metadata": {}, "id": f"checks-{place}"}
        cells.insert(places[place] + 1, {**cell, "source": text})
