"""The tests of the tests: each fault put into a sound notebook is found, by the guard
or by the comparison.
"""

from __future__ import annotations

import base64
import copy
import io
import re

import nbformat
import numpy
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_guard import KINDS, LARGEST_FILE, faults, words
from PIL import Image
from test_notebooks import SANITIZE, compare

from pltutorial.teaching import figures

DESCRIPTION = {
    "image": {"alt": "Noise beside other noise, both of them grey."},
    "figure": {
        "name": "fig-noise",
        "caption": "What changes: the noise. What stays: its mean.",
    },
}


def displayed(function, *arguments, **settings) -> list:
    """What a figure function displays, as a notebook stores it."""
    stored = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            figures,
            "_display",
            lambda bundle, line: stored.append({**bundle, "text/plain": line}),
        )
        function(*arguments, **settings)
    return [new_output("display_data", data) for data in stored]


def noise(seed: int = 0) -> numpy.ndarray:
    return numpy.random.default_rng(seed).random((1, 3, 24, 32)).astype("float32")


def picture_cell(number: int) -> nbformat.NotebookNode:
    described = copy.deepcopy(DESCRIPTION)
    described["figure"]["name"] += f"-{number}"
    shown = displayed(figures.show, noise(number))
    return new_code_cell("show(image)", metadata={"mystnb": described}, outputs=shown)


def exercise_cells() -> list[nbformat.NotebookNode]:
    """One exercise of each kind, with the answer or the check that its kind needs."""
    checks = {"Coding": "check_shift(1)", "Debugging": "check_mean(2)"}
    cells = []
    for number, kind in enumerate(KINDS):
        label = f"ex-{number}"
        cells.append(
            new_markdown_cell(
                f":::{{exercise}} ★★ {kind}: a title\n:label: {label}\n\nDo it.\n:::"
            )
        )
        answer = (
            new_code_cell(checks[kind])
            if kind in checks
            else new_markdown_cell("Like this.")
        )
        cells += [
            new_markdown_cell(f":::{{solution-start}} {label}\n:::"),
            answer,
            new_markdown_cell(":::{solution-end}\n:::"),
        ]
    return cells


@pytest.fixture
def sound() -> nbformat.NotebookNode:
    """A notebook in which the guard finds nothing: the least that has every part."""
    slider = displayed(
        figures.frame_slider, [noise(0), noise(1)], ["a", "b"], alt="Noise", name="seed"
    )
    live = displayed(
        figures.live_panel, lambda seed: figures.show(noise(seed)), seed=[0, 1]
    )
    text = "Here is a formula:\n\n$$ a = b $$ (eq-one)\n\n" + "word " * 110
    printed = new_output("stream", name="stdout", text="loss 0.25\n")
    cells = [new_markdown_cell(text) for _ in range(19)]
    cells += [picture_cell(number) for number in range(5)]
    cells += [
        new_code_cell(
            "def gram_by_hand(f):\n    return f @ f.T\nprint(0.25)", outputs=[printed]
        ),
        new_code_cell(
            "assert_close(a, b)\nprint(inspect.getsource(f))",
            outputs=[copy.deepcopy(printed)],
        ),
        new_code_cell("frame_slider(frames, labels, alt, name)", outputs=slider),
        new_code_cell(
            "live_panel(f, seed=[0, 1])", metadata={"tags": ["live"]}, outputs=live
        ),
    ]
    cells[-1].metadata["mystnb"] = {
        **DESCRIPTION,
        "figure": {"name": "fig-live", "caption": "Move the seed now."},
    }
    cells += [new_markdown_cell("## Exercises\n\nSome words."), *exercise_cells()]
    cells += [new_markdown_cell("## Further reading\n\nA book.")]
    notebook = new_notebook(cells=cells)
    for count, cell in enumerate(
        (cell for cell in cells if cell.cell_type == "code"), 1
    ):
        cell.execution_count = count
    return notebook


def code(notebook, start: str):
    return next(
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and start in cell.source
    )


def test_guard_finds_nothing_in_a_sound_notebook(sound):
    assert faults(sound, 100_000) == []


def _unrun(notebook):
    code(notebook, "show(").execution_count = None


def _out_of_order(notebook):
    code(notebook, "show(").execution_count = 7


def _error(notebook):
    code(notebook, "print(0.25)").outputs.append(
        new_output("error", ename="E", evalue="e", traceback=[])
    )


def _no_error(notebook):
    code(notebook, "print(0.25)").metadata.tags = ["raises-exception"]


def _stderr(notebook):
    code(notebook, "print(0.25)").outputs[0].name = "stderr"


def _stripped(notebook):
    code(notebook, "show(").outputs = []


def _comment(notebook):
    code(notebook, "print(0.25)").source += "\n# NBVAL_IGNORE_OUTPUT"


def _widget(notebook):
    output = code(notebook, "print(0.25)").outputs
    output.append(
        new_output(
            "display_data",
            {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "w"},
        )
    )


def _textless(notebook):
    del code(notebook, "show(").outputs[0].data["text/plain"]


def _ignored(notebook):
    for start in ("print(0.25)", "show("):
        code(notebook, start).metadata.tags = ["nbval-ignore-output"]


def _torn(notebook):
    data = code(notebook, "show(").outputs[0].data
    (picture,) = re.findall(r"base64,([^\"]+)", data["text/html"])
    _put(data, picture[: len(picture) // 8 * 4])


def _put(data, picture: str) -> None:
    """Another picture in place of the one that `show` displayed."""
    changed, times = re.subn(r"(?<=base64,)[^\"]+", picture, data["text/html"])
    assert times == 1
    data["text/html"] = changed


def _blank(notebook):
    image = io.BytesIO()
    Image.new("RGB", (32, 32), "white").save(image, "WEBP")
    data = code(notebook, "show(").outputs[0].data
    _put(data, base64.b64encode(image.getvalue()).decode())


def _factless(notebook):
    code(notebook, "show(").outputs[0].data["text/plain"] = "<Figure>"


def _no_alt(notebook):
    code(notebook, "show(").metadata.mystnb.image.alt = ""


def _no_caption(notebook):
    del code(notebook, "show(").metadata.mystnb.figure["caption"]


def _two_pictures(notebook):
    cell = code(notebook, "show(")
    cell.outputs = cell.outputs * 2


def _same_name(notebook):
    code(notebook, "live_panel").metadata["mystnb"]["figure"]["name"] = "fig-noise-0"


def _change_slider(notebook, pattern: str, new: str) -> None:
    data = code(notebook, "frame_slider").outputs[0].data
    data["text/html"], times = re.subn(pattern, new, data["text/html"])
    assert times


def _still_slider(notebook):
    _change_slider(
        notebook, r'src="([^"]+)"(.*\n<figure><img) src="[^"]+"', r'src="\1"\2 src="\1"'
    )


def _slider_alt(notebook):
    _change_slider(notebook, 'alt="Noise, a"', 'alt=""')


def _slider_short(notebook):
    _change_slider(notebook, 'max="1"', 'max="2"')


def _slider_label(notebook):
    _change_slider(notebook, "<figcaption>b", "<figcaption>a")


def _elsewhere(notebook):
    html = {
        "text/html": '<script src="https://example.org/x.js"></script>',
        "text/plain": "x",
    }
    code(notebook, "print(0.25)").outputs.append(new_output("display_data", html))


def _wide_code(notebook):
    code(notebook, "print(0.25)").source += "\nx = " + 75 * "1"


def _wide_block(notebook):
    notebook.cells.append(
        new_markdown_cell("Words.\n\n```python\n" + 90 * "x" + "\n```")
    )


def _tag(notebook):
    code(notebook, "print(0.25)").metadata.tags = ["skip-execution"]


def _path_in_output(notebook):
    code(notebook, "print(0.25)").outputs[0].text = "read /home/someone/picture.jpg 1\n"


def _path_in_source(notebook):
    code(notebook, "print(0.25)").source += "\nopen(r'C:\\Users\\someone')"


def _redefined(notebook):
    code(notebook, "print(0.25)").source += "\ndef gram_matrix(f):\n    return f"


def _assigned(notebook):
    code(notebook, "print(0.25)").source += "\nfeature_loss = 3"


def _imported(notebook):
    code(
        notebook, "print(0.25)"
    ).source += "\nfrom pltutorial import pixel_loss as style_loss"


def _few_cells(notebook):
    del notebook.cells[:6]


def _few_words(notebook):
    for cell in notebook.cells[:8]:
        cell.source = "short"


def _no_live(notebook):
    code(notebook, "live_panel").metadata.tags = []


def _few_figures(notebook):
    notebook.cells.remove(code(notebook, "frame_slider"))
    notebook.cells.remove(code(notebook, "show("))


def _one_check(notebook):
    code(notebook, "check_mean").source = "mean(2)"


def _no_slider(notebook):
    code(notebook, "frame_slider").source = "pass"


def _no_proof(notebook):
    cell = code(notebook, "assert_close")
    cell.source = cell.source.replace("assert_close", "close")


def _no_source(notebook):
    cell = code(notebook, "getsource")
    cell.source = cell.source.replace("getsource", "source")


def _not_by_hand(notebook):
    cell = code(notebook, "gram_by_hand")
    cell.source = cell.source.replace("gram_by_hand", "gram")


def _no_formula(notebook):
    for cell in notebook.cells:
        cell.source = cell.source.replace("(eq-one)", "")


def _exercise(notebook, kind: str) -> int:
    """The index of an exercise's cell; its solution is in the three cells after it."""
    return next(
        n for n, cell in enumerate(notebook.cells) if f"★ {kind}" in cell.source
    )


def _no_debugging(notebook):
    start = _exercise(notebook, "Debugging")
    del notebook.cells[start : start + 4]


def _no_kind(notebook):
    cell = notebook.cells[_exercise(notebook, "Recall")]
    cell.source = cell.source.replace("Recall: ", "")


def _no_label(notebook):
    cell = notebook.cells[_exercise(notebook, "Recall")]
    cell.source = cell.source.replace(":label: ex-0\n", "")


def _no_answer(notebook):
    start = _exercise(notebook, "Derivation")
    del notebook.cells[start + 1 : start + 4]


def _unchecked(notebook):
    code(notebook, "check_shift").source = "shift(1)"


def _many_exercises(notebook):
    start = _exercise(notebook, "Recall")
    notebook.cells[start:start] = copy.deepcopy(notebook.cells[start : start + 4]) * 4


def _long_exercises(notebook):
    notebook.cells[_exercise(notebook, "Recall")].source += "\n" + "word " * 1800


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (_unrun, "execution count None"),
        (_out_of_order, "execution count 7"),
        (_error, "has an error"),
        (_no_error, "ends without an error"),
        (_stderr, "stderr"),
        (_stripped, "calls show and has no output"),
        (_comment, "by a comment"),
        (_widget, "output of the kind"),
        (_textless, "without a line of text"),
        (_ignored, "not compared"),
        (_torn, "cannot be decoded"),
        (_blank, "is blank"),
        (_factless, "without the line of facts"),
        (_no_alt, "without alt text"),
        (_no_caption, "without a caption"),
        (_two_pictures, "2 pictures under one caption"),
        (_same_name, "is used by 2 figures"),
        (_still_slider, "changes nothing"),
        (_slider_alt, "frames without description"),
        (_slider_short, "a control that reaches every frame"),
        (_slider_label, "two frames of one label"),
        (_elsewhere, "loads something from elsewhere"),
        (_tag, "skip-execution"),
        (_wide_code, "has a line of 79 characters, and 78 fit"),
        (_wide_block, "has a line of 90 characters, and 78 fit"),
        (_path_in_output, "absolute path"),
        (_path_in_source, "absolute path"),
        (_redefined, "redefines 'gram_matrix'"),
        (_assigned, "redefines 'feature_loss'"),
        (_imported, "redefines 'style_loss'"),
        (_no_debugging, "no exercise of the kind Debugging"),
        (_no_debugging, "5 exercises"),
        (_no_kind, "begins with none of"),
        (_no_label, "has no label"),
        (_no_answer, "ex-2 has no folded answer"),
        (_unchecked, "ex-3 is checked by no function"),
        (_many_exercises, "10 exercises"),
        (_long_exercises, "words of exercises"),
        (_few_cells, "cells; the pattern has 25"),
        (_few_words, "words of prose"),
        (_no_live, "0 cells are tagged live"),
        (_few_figures, "4 figures"),
        (_one_check, "fewer than two exercises"),
        (_no_slider, "no slider"),
        (_no_proof, "proved equal"),
        (_no_source, "source is not shown"),
        (_not_by_hand, "by hand"),
        (_no_formula, "no formula"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_guard_finds(sound, fault, message):
    fault(sound)
    assert any(message in found for found in faults(sound, 100_000)), faults(
        sound, 100_000
    )


def test_guard_finds_a_large_file(sound):
    assert any("bytes" in found for found in faults(sound, LARGEST_FILE + 1))


def test_words_of_folded_answers_are_counted_apart():
    text = (
        "one two\n\n```{admonition} Answer\n:class: dropdown\nthree four five\n```\n\n"
        "six $x^2$\n```python\nno\n```"
    )
    cells = [
        new_markdown_cell(text),
        new_markdown_cell("```{solution-start} a\n```"),
        new_markdown_cell("a b"),
    ]
    visible, hidden = words(new_notebook(cells=cells))
    assert (visible, hidden) == (4, 5)  # a formula reads as one word


# ---- the comparison, tried on a small notebook that really runs ----------------------


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> nbformat.NotebookNode:
    """A small notebook with every kind of output, run once."""
    from nbclient import NotebookClient

    cells = [
        new_code_cell(
            "import numpy\n"
            "from pltutorial.figures import curves, frame_slider, live_panel, show"
        ),
        new_code_cell("print('loss 0.3592')\nprint('elapsed: 1.2 s')"),
        new_code_cell(
            "image = numpy.linspace(0, 1, 3 * 16 * 20).reshape(3, 16, 20)\nshow(image)"
        ),
        new_code_cell("curves({'loss': [4, 2, 1]}, 'step', 'loss')"),
        new_code_cell("frame_slider([image, image / 2], [1, 0.5], 'A ramp', 'gain')"),
        new_code_cell("live_panel(lambda gain: show(image * gain), gain=[0.5, 1])"),
        new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]}),
        new_code_cell("6 * 7"),
    ]
    notebook = new_notebook(cells=cells)
    root = str(SANITIZE.parent.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", root)
        NotebookClient(
            notebook, kernel_name="python3", store_widget_state=False
        ).execute()
    return notebook


def compared(notebook, folder, **settings):
    path = folder / "small.ipynb"
    nbformat.write(notebook, path)
    return compare(path, folder, **settings)


def test_comparison_accepts_what_was_computed_and_sees_every_changed_digit(
    ran, tmp_path
):
    result = compared(ran, tmp_path)
    assert result.passed, result.printed
    assert result.report["cells"] == 8
    # loss, two lines of facts, slider (line and page), live panel (two lines), 42;
    # first and last digits
    assert result.report["changed"] >= 12
    assert result.report["unseen"] == []


def test_comparison_sees_a_changed_digit_and_a_missing_output_in_the_file(
    ran, tmp_path
):
    changed = copy.deepcopy(ran)
    changed.cells[1].outputs[0].text = (
        changed.cells[1].outputs[0].text.replace("0.3592", "0.3593")
    )
    del changed.cells[7].outputs[0]
    page = changed.cells[4].outputs[0].data
    page["text/html"] = page["text/html"].replace('max="1"', 'max="2"')
    result = compared(changed, tmp_path)
    assert not result.passed
    assert [
        number
        for number in range(8)
        if f"Cell {number}: Cell outputs differ" in result.printed
    ] == [
        1,
        4,
        7,
    ]


def test_comparison_passes_over_times_and_pictures(ran, tmp_path):
    """Why the guard looks at pictures and why times have one convention."""
    changed = copy.deepcopy(ran)
    changed.cells[1].outputs[0].text = (
        changed.cells[1].outputs[0].text.replace("1.2 s", "98.7 s")
    )
    _put(changed.cells[2].outputs[0].data, "AAAA")
    assert compared(changed, tmp_path).passed


def test_a_rule_that_hides_numbers_is_reported(ran, tmp_path):
    """A blind spot of the comparison shows up as a digit whose change is not seen."""
    rules = tmp_path / "wide.cfg"
    # The second rule matches only what the first has made, so that no digit looks
    # sanitised, and yet one is.
    rules.write_text(
        "regex: loss\nreplace: cost\n\nregex: cost [0-9.]+\nreplace: number\n",
        encoding="ascii",
    )
    result = compared(ran, tmp_path, sanitize=rules)
    assert result.passed
    assert any("0.3592" in unseen for unseen in result.report["unseen"])
