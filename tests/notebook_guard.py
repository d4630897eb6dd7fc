"""What a stored chapter must be, checked without running it. Each check takes a
notebook and yields its faults.

Running and comparing is the other half (test_notebooks.py): the comparison passes over
cells that were never run and over pictures, so both are looked at here.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import re
from collections import Counter
from collections.abc import Iterator

import numpy
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from PIL import Image

FIGURES = ("show", "grid", "sweep", "curves")
TAGS = {
    "hide-input",
    "hide-output",
    "hide-cell",
    "remove-input",
    "remove-cell",
    "live",
    "divider",  # site.js lays two panels of the figure over each other
    "raises-exception",
    "nbval-ignore-output",
}
# Cells of solutions and removed cells are not counted. Hidden answers count in the
# second number of words only.
CELLS, WORDS, WORDS_WITH_ANSWERS, FIGURE_COUNT = (25, 40), (1800, 2800), 3600, (5, 8)
# The section of exercises is counted apart, without its answers.
EXERCISES, EXERCISE_WORDS = (6, 9), 1600
KINDS = ("Recall", "Prediction", "Derivation", "Coding", "Debugging", "Open experiment")
# An author may miss the number of words by this share before the guard speaks.
SLACK = 0.05
LARGEST_FILE = 1_500_000
WIDEST_LINE = 78  # characters of code: what the column of a page holds
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.~:/>-])/(?:work|root|home|tmp|Users|usr|opt|mnt|var)/|\b[A-Z]:\\+\w"
)
_HIDDEN = re.compile(r"\{(?:dropdown|solution)\}|dropdown")


def faults(notebook: NotebookNode, size: int) -> list[str]:
    """All faults of a chapter; `size` is its file's in bytes."""
    checks = (
        execution,
        outputs,
        pictures,
        tags,
        widths,
        paths,
        names,
        pattern,
        exercises,
    )
    found = [fault for check in checks for fault in check(notebook)]
    if size > LARGEST_FILE:
        found.append(
            f"the file has {size:,} bytes; at most {LARGEST_FILE:,} are allowed"
        )
    return found


def code_cells(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """The code cells that hold code, each with a name for messages."""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and cell.source.strip():
            yield f"cell {index}", cell


def tree_of(cell: NotebookNode) -> ast.Module:
    return ast.parse(TransformerManager().transform_cell(cell.source))


def called(node: ast.AST) -> set[str]:
    """Names of the functions called anywhere under the node."""
    calls = [call.func for call in ast.walk(node) if isinstance(call, ast.Call)]
    return {
        f.id if isinstance(f, ast.Name) else f.attr
        for f in calls
        if isinstance(f, ast.Name | ast.Attribute)
    }


def called_at_once(cell: NotebookNode) -> set[str]:
    """Names of the functions that running the cell calls: those in bodies of
    definitions are left out.
    """
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {
        name
        for node in tree_of(cell).body
        if not isinstance(node, definitions)
        for name in called(node)
    }


def execution(notebook: NotebookNode) -> Iterator[str]:
    """Cells were run once each, in order."""
    for expected, (where, cell) in enumerate(code_cells(notebook), 1):
        if cell.execution_count != expected:
            yield (
                f"{where} has the execution count {cell.execution_count}; "
                f"it must be {expected}"
            )


def outputs(notebook: NotebookNode) -> Iterator[str]:
    """What is shown is stored, is no unexpected error, and can be compared."""
    ignored = shown = 0
    for where, cell in code_cells(notebook):
        kinds = [output.output_type for output in cell.outputs]
        raises = "raises-exception" in cell.metadata.get("tags", [])
        if ("error" in kinds) != raises:
            yield (
                f"{where} {'ends without' if raises else 'has'} an error; "
                "its tags say otherwise"
            )
        if any(output.get("name") == "stderr" for output in cell.outputs):
            yield f"{where} wrote to stderr"
        if re.search(r"#\s*NBVAL_", cell.source):
            yield f"{where} steers the comparison by a comment; use a tag"
        displays = called_at_once(cell) & {
            *FIGURES,
            "frame_slider",
            "live_panel",
            "print",
            "display",
        }
        if displays and not cell.outputs:
            yield f"{where} calls {', '.join(sorted(displays))} and has no output"
        for output in cell.outputs:
            strange = [kind for kind in output.get("data", {}) if kind not in _KINDS]
            if strange:
                yield f"{where} has output of the kind {', '.join(strange)}"
            if "data" in output and "text/plain" not in output.data:
                yield (
                    f"{where} has output without a line of text, so nothing of "
                    "it would be compared"
                )
        shown += bool(cell.outputs)
        ignored += bool(cell.outputs) and "nbval-ignore-output" in cell.metadata.get(
            "tags", []
        )
    if ignored > shown / 10:
        yield (
            f"{ignored} of {shown} cells with output are not compared; at most a "
            "tenth may be left out"
        )


_KINDS = {
    "text/plain",
    "text/html",
    "text/latex",
    "text/markdown",
    "image/png",
    "image/jpeg",
    "image/svg+xml",
}


def pictures(notebook: NotebookNode) -> Iterator[str]:
    """Figures can be decoded, show something, and are described for those
    who cannot see them.
    """
    figure_names, slider_ids = Counter(), Counter()
    for where, cell in code_cells(notebook):
        count = 0
        for output in cell.outputs:
            data = output.get("data", {})
            page = "".join(data.get("text/html", ""))
            if is_picture(data):
                count += 1
                line = "".join(data.get("text/plain", ""))
                if not re.match(rf"(?:{'|'.join(FIGURES)}): .*\d", line):
                    yield (
                        f"{where} has a picture without the line of facts that "
                        "show and its kin write"
                    )
            for kind in ("image/png", "image/jpeg"):
                if kind in data:
                    yield from (f"{where}: {fault}" for fault in blank(data[kind]))
            if 'class="panels' in page:
                yield from (f"{where}: {fault}" for fault in panels(page))
            if "frame-slider" in page:
                slider_ids.update(re.findall(r'id="(frame-slider-[^"]*)"', page))
                yield from (f"{where}: {fault}" for fault in slider(page))
            elif re.search(r"<img(?![^>]*\balt=\"[^\"]+\")", page):
                yield f"{where} has an <img> without alt text"
            if re.search(r"(?:src|href)=\"(?:https?:)?//", page):
                yield f"{where} has output that loads something from elsewhere"
        if not count:
            continue
        described = cell.metadata.get("mystnb", {})
        alt, figure = (
            described.get("image", {}).get("alt", ""),
            described.get("figure", {}),
        )
        if len(alt.split()) < 4:
            yield (
                f"{where} has a picture without alt text (metadata mystnb.image.alt, "
                "at least four words)"
            )
        if len(figure.get("caption", "").split()) < 4 or not figure.get("name"):
            yield (
                f"{where} has a picture without a caption and name "
                "(metadata mystnb.figure)"
            )
        if count > 1:
            yield f"{where} has {count} pictures under one caption; give each a cell"
        figure_names[figure.get("name")] += 1
    for name, times in (figure_names + slider_ids).items():
        if times > 1 and name:
            yield f"the name {name!r} is used by {times} figures"


def blank(encoded: str) -> Iterator[str]:
    """A picture in base64 that cannot be decoded, or is all one colour."""
    try:
        image = Image.open(io.BytesIO(base64.b64decode(encoded, validate=False)))
        image.load()
    except Exception as error:
        yield f"a picture cannot be decoded ({error})"
        return
    if numpy.asarray(image.convert("RGB"), dtype=float).std() < 2:
        yield "a picture is blank"


FRAME = re.compile(
    r'<figure[^>]*><img src="data:image/jpeg;base64,([^"]+)" '
    r'alt="([^"]*)"[^>]*><figcaption>([^<]*)</figcaption>'
)


def slider(page: str) -> Iterator[str]:
    """A slider's frames can be decoded, differ, are described and labelled, and its
    control reaches each.
    """
    frames = FRAME.findall(page)
    last = re.search(
        r'<input type="range" min="0" max="(\d+)" [^>]*aria-label="[^"]+"', page
    )
    if (
        not last
        or len(frames) != int(last[1]) + 1
        or page.count("<figure") != len(frames)
    ):
        yield "a frame slider lacks a frame, or a control that reaches every frame"
        return
    if not all(alt.strip() and label.strip() for _, alt, label in frames):
        yield "a frame slider has frames without description"
    if len({label for *_, label in frames}) < len(frames):
        yield "a frame slider has two frames of one label"
    if len({frame for frame, *_ in frames}) < 2:
        yield "a frame slider changes nothing"
    for frame, *_ in frames:
        yield from blank(frame)


PANEL = re.compile(
    r'<img class="panel" alt="([^"]*)" src="data:image/webp;base64,([^"]+)"'
)


def panels(page: str) -> Iterator[str]:
    """Pictures side by side can be decoded, are described, and not all are blank."""
    found = PANEL.findall(page)
    if not found or page.count("<img") != len(found):
        yield "a figure of panels holds a picture that is not one of its panels"
        return
    if not all(alt.strip() for alt, _ in found):
        yield "a figure has panels without description"
    faults = [list(blank(picture)) for _, picture in found]
    for panel in faults:
        yield from (fault for fault in panel if "blank" not in fault)
    if all(faults):
        yield "a picture is blank"


def tags(notebook: NotebookNode) -> Iterator[str]:
    for index, cell in enumerate(notebook.cells):
        unknown = set(cell.metadata.get("tags", [])) - TAGS
        if unknown:
            yield (
                f"cell {index} has the tags {sorted(unknown)}; allowed are "
                f"{', '.join(sorted(TAGS))}"
            )


def widths(notebook: NotebookNode) -> Iterator[str]:
    """No line of code is cut off at the edge of a page, and none of a block
    of code in the text.
    """
    for index, cell in enumerate(notebook.cells):
        blocks = (
            [cell.source] if cell.cell_type == "code" else _BLOCK.findall(cell.source)
        )
        for line in "\n".join(blocks).splitlines():
            if len(line) > WIDEST_LINE:
                yield (
                    f"cell {index} has a line of {len(line)} characters, and "
                    f"{WIDEST_LINE} fit: {line.strip()[:40]!r}"
                )


_BLOCK = re.compile(r"^```(?:\w+)?\n(.*?)^```", re.M | re.S)


def paths(notebook: NotebookNode) -> Iterator[str]:
    """No path of the machine that ran it, in text, code, metadata or output."""
    for index, cell in enumerate(notebook.cells):
        texts = [cell.source, json.dumps(cell.metadata)]
        for output in cell.get("outputs", []):
            texts += [
                output.get("text", ""),
                *output.get("traceback", []),
                output.get("evalue", ""),
            ]
            texts += [
                str(value)
                for kind, value in output.get("data", {}).items()
                if kind.startswith("text/")
            ]
        for text in texts:
            text = re.sub(
                r"data:image/\w+;base64,[A-Za-z0-9+/=]+",
                "",
                re.sub(r"\x1b\[[0-9;]*m", "", text),
            )
            if match := ABSOLUTE_PATH.search(text):
                yield (
                    f"cell {index} holds an absolute path: "
                    f"{text[match.start() : match.start() + 40]!r}"
                )


def names(notebook: NotebookNode) -> Iterator[str]:
    """The package is the source of truth: no chapter gives its public
    names another meaning.
    """
    import pltutorial

    public = {*pltutorial.__all__, "live_panel"}
    for where, cell in code_cells(notebook):
        for node in ast.walk(tree_of(cell)):
            given: set[str] = set()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                given = {node.name}
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                given = {node.id}
            elif isinstance(node, ast.Import | ast.ImportFrom):
                own = (
                    isinstance(node, ast.ImportFrom)
                    and (node.module or "").split(".")[0] == "pltutorial"
                )
                given = {
                    a.asname or a.name
                    for a in node.names
                    if not own or a.asname not in (None, a.name)
                }
            for name in sorted(given & public):
                yield (
                    f"{where} redefines {name!r}; a version by hand is "
                    f"named {name}_by_hand"
                )


def pattern(notebook: NotebookNode) -> Iterator[str]:
    """The parts that every chapter has, as far as they can be counted."""
    body, _ = split_exercises(notebook)
    main, everything = split_solutions(body)[0], notebook.cells
    counted = [
        cell for cell in main if "remove-cell" not in cell.metadata.get("tags", [])
    ]
    if not CELLS[0] <= len(counted) <= CELLS[1]:
        yield (
            f"{len(counted)} cells; the pattern has {CELLS[0]} to {CELLS[1]} "
            "(exercises not counted)"
        )
    visible, hidden = words(body)
    if not WORDS[0] * (1 - SLACK) <= visible <= WORDS[1] * (1 + SLACK):
        yield (
            f"{visible} words of prose; the pattern has {WORDS[0]} to {WORDS[1]} "
            "(answers not counted)"
        )
    if visible + hidden > WORDS_WITH_ANSWERS * (1 + SLACK):
        yield (
            f"{visible + hidden} words with the answers; at most "
            f"{WORDS_WITH_ANSWERS} are allowed"
        )
    code = [
        cell for cell in everything if cell.cell_type == "code" and cell.source.strip()
    ]
    live = [cell for cell in code if "live" in cell.metadata.get("tags", [])]
    if len(live) != 1 or "live_panel" not in called_at_once(live[0]):
        yield f"{len(live)} cells are tagged live; one cell is, and it calls live_panel"
    if sum("live_panel" in called_at_once(cell) for cell in code) > 1:
        yield "live_panel is called more than once"
    figures = sum(is_figure(cell) for cell in main if cell not in live)
    if not FIGURE_COUNT[0] <= figures <= FIGURE_COUNT[1]:
        low, high = FIGURE_COUNT
        yield (
            f"{figures} figures; the pattern has {low} to {high} (live panel and "
            "solutions not counted)"
        )
    calls = Counter(name for cell in code for name in called(tree_of(cell)))
    if (
        sum(
            any(name.startswith("check_") for name in called_at_once(cell))
            for cell in code
        )
        < 2
    ):
        yield "fewer than two exercises are checked by a function check_*"
    for name, why in (
        ("frame_slider", "no slider works without a kernel"),
        ("assert_close", "no formula is proved equal to the package's"),
        ("getsource", "the package's source is not shown"),
    ):
        if not calls[name]:
            yield f"{why}: {name} is never called"
    defined = {
        node.name
        for c in code
        for node in ast.walk(tree_of(c))
        if isinstance(node, ast.FunctionDef)
    }
    if not any(name.endswith("_by_hand") for name in defined):
        yield "nothing is written by hand: no function ends in _by_hand"
    text = "\n".join(cell.source for cell in body.cells if cell.cell_type == "markdown")
    if not re.search(r"\$\$\s*\([\w:-]+\)|:label:|\{math\}[^\n]*\n", text):
        yield "no formula is numbered"


def exercises(notebook: NotebookNode) -> Iterator[str]:
    """The section of exercises: all six kinds, each with a label, and an answer that a
    reader can check herself by.
    """
    _, section = split_exercises(notebook)
    text = "\n".join(
        cell.source for cell in section.cells if cell.cell_type == "markdown"
    )
    titles = re.findall(
        r"^(?:`{3,}|:{3,})\{exercise\} *(.*)\n(?: *:label: *(\S+))?", text, re.M
    )
    if not EXERCISES[0] <= len(titles) <= EXERCISES[1]:
        yield f"{len(titles)} exercises; a chapter has {EXERCISES[0]} to {EXERCISES[1]}"
    kinds = {}
    for title, label in titles:
        kind = next(
            (kind for kind in KINDS if re.match(rf"★+ {kind}: \S", title)), None
        )
        if kind is None:
            yield (
                f"the exercise {title!r} begins with none of "
                f"{', '.join(KINDS)} after its stars"
            )
        if not label.startswith("ex-"):
            yield f"the exercise {title!r} has no label ex-..."
        kinds.setdefault(kind, []).append(label)
    if missing := [kind for kind in KINDS if kind not in kinds]:
        yield f"no exercise of the kind {', '.join(missing)}"
    answered = set(re.findall(r"\{solution(?:-start)?\} *(\S+)", text))
    checked = _checked(section)
    for kind, labels in kinds.items():
        for label in labels:
            if kind in ("Recall", "Prediction", "Derivation") and label not in answered:
                yield f"{label} has no folded answer"
            if kind in ("Coding", "Debugging") and label not in checked:
                yield f"{label} is checked by no function check_*"
    visible, _ = words(section)
    if visible > EXERCISE_WORDS * (1 + SLACK):
        yield (
            f"{visible} words of exercises; at most {EXERCISE_WORDS} are allowed "
            "(answers not counted)"
        )


def _checked(section: NotebookNode) -> set[str]:
    """Labels of the exercises whose solution calls a check."""
    label, found = "", set()
    for cell in section.cells:
        if start := re.search(r"\{solution-start\} *(\S+)", cell.source):
            label = start[1]
        code = cell.cell_type == "code" and cell.source.strip()
        if code and any(name.startswith("check_") for name in called_at_once(cell)):
            found.add(label)
    return found


def split_exercises(notebook: NotebookNode) -> tuple[NotebookNode, NotebookNode]:
    """The chapter without its section "## Exercises", and that section; it ends where
    the next section begins.
    """
    body, section, inside = [], [], False
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (
            heading := re.search(r"^## (.*)", cell.source, re.M)
        ):
            inside = heading[1].strip() == "Exercises"
        (section if inside else body).append(cell)
    return NotebookNode(notebook, cells=body), NotebookNode(notebook, cells=section)


def is_figure(cell: NotebookNode) -> bool:
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    return any(is_picture(d) or "frame-slider" in str(d.get("text/html")) for d in data)


def is_picture(data: dict) -> bool:
    """Whether an output is one of `show` and its kin."""
    return (
        "image/png" in data
        or "image/jpeg" in data
        or 'class="panels' in str(data.get("text/html"))
    )


def split_solutions(
    notebook: NotebookNode,
) -> tuple[list[NotebookNode], list[NotebookNode]]:
    """The cells outside `solution-start` ... `solution-end`, and all cells."""
    outside, inside = [], False
    for cell in notebook.cells:
        markdown = cell.cell_type == "markdown"
        inside = inside or (markdown and "{solution-start}" in cell.source)
        if not inside:
            outside.append(cell)
        inside = inside and not (markdown and "{solution-end}" in cell.source)
    return outside, list(notebook.cells)


_BADGE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)")


def words(notebook: NotebookNode) -> tuple[int, int]:
    """Words of prose that are seen at once, and words in folded answers; formulas and
    code are no words.
    """
    outside, _ = split_solutions(notebook)
    counts = [0, 0]
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        # each: its marker, and what it is (code, hidden or open)
        fences: list[tuple[str, str]] = []
        lines = re.sub(r"\$\$.*?\$\$", " ", cell.source, flags=re.S).splitlines()
        for number, line in enumerate(lines):
            fence = re.match(r"\s*(`{3,}|:{3,}|~{3,})(.*)$", line)
            if fence:
                marker, rest = fence[1], fence[2].strip()
                if fences and not rest and fences[-1][0] == marker:
                    fences.pop()
                else:
                    options = "\n".join(lines[number + 1 : number + 4])
                    hidden = _HIDDEN.search(rest) or re.search(
                        r"^\s*:class:.*dropdown", options, re.M
                    )
                    code = not rest.startswith("{") or re.match(
                        r"\{(?:math|code|raw|bibliography)", rest
                    )
                    fences.append(
                        (marker, "code" if code else "hidden" if hidden else "open")
                    )
                continue
            if _BADGE.fullmatch(line):  # the site shows none
                continue
            kinds = [kind for _, kind in fences]
            if "code" in kinds or re.match(r"\s*:\w+:|\s*\(.+\)=\s*$", line):
                continue
            text = re.sub(r"\$[^$]*\$|\{\w+\}`[^`]*`|\]\([^)]*\)|<[^>]*>", " x ", line)
            folded = "hidden" in kinds or not any(cell is other for other in outside)
            counts[folded] += len(re.findall(r"[^\W\d_][\w'-]*", text))
    return counts[0], counts[1]
