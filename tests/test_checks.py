"""Questions that chapters check in the page: their answers are the chapters' own, no
page tells them, and what a reader answered can be taken into her record.
"""

from __future__ import annotations

import base64
import importlib
import json
import re
import shutil
import sys

import pytest
from live import ROOT, Server, browser
from test_axe import faults

from pltutorial.teaching import progress

__all__ = ["browser"]  # a fixture
sys.path.insert(0, str(ROOT / "book"))
checks = importlib.import_module("checks")
sys.path.pop(0)
NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
STATIC = ("checks.js", "custom.css")


def cells_of(name: str) -> list[dict]:
    path = ROOT / "notebooks" / f"{name}.ipynb"
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def staged(name: str) -> list[str]:
    """What is put into a chapter's page, in its order."""
    notebook = {"cells": cells_of(name)}
    whole = len(notebook["cells"])
    checks.add(name, notebook)
    texts = [
        re.sub(r"^```.*\n?", "", cell["source"], flags=re.M)
        for cell in notebook["cells"]
        if cell.get("id", "").startswith("checks-")
    ]
    assert len(notebook["cells"]) == whole + len(texts)
    return texts


def held(text: str) -> dict:
    return json.loads(base64.b64decode(re.search(r'data-checks="([^"]+)"', text)[1]))


def accepts(known: dict, value: object) -> bool:
    said = round(value / known["step"]) if "step" in known else value
    return checks.digest(f"{known['id']}:{said}") in known["hashes"]


@pytest.mark.parametrize("name", NAMES)
def test_each_chapter_asks_and_knows_its_own_answers(name):
    """What the chapter says is right; what is off by more than the tolerance is wrong,
    and so are all other words. A prediction alone holds what was measured.
    """
    cells, entries = cells_of(name), checks.entries_of(name, cells_of(name))
    known = {one["id"]: one for place in entries.values() for one in place}
    questions = checks.QUESTIONS[name]
    assert len(known) == len(questions) >= 2
    asked = [question.place for question in questions]
    assert any(not checks.predicts(place) for place in asked)
    assert any(map(checks.predicts, asked))
    for question, one in zip(questions, ordered(questions, known), strict=True):
        answer = checks.answer(question, cells)
        assert one["words"] == question.words
        assert ("measured" in one) == checks.predicts(question.place)
        if question.options:
            right = [option for option in question.options if accepts(one, option)]
            assert right == [answer]
            continue
        value, off = float(answer), 0.02 + 1.3 * question.near
        assert accepts(one, value)
        assert accepts(one, value * (1 + 0.8 * question.near))
        assert accepts(one, value * (1 - 0.8 * question.near))
        assert not accepts(one, value * (1 + off))
        assert not accepts(one, value * (1 - off))
        assert not accepts(one, 0)


def ordered(questions, known: dict) -> list[dict]:
    """The entries in the questions' order: the first of a place ends in .1."""
    count: dict[str, int] = {}
    found = []
    for question in questions:
        number = count[question.place] = count.get(question.place, 0) + 1
        (one,) = (
            entry
            for name, entry in known.items()
            if re.fullmatch(rf"{re.escape(question.place)}(-\d+)?\.{number}", name)
        )
        found.append(one)
    return found


def test_labels_are_unique_and_what_the_record_takes():
    labels = [
        one["id"]
        for name in NAMES
        for place in checks.entries_of(name, cells_of(name)).values()
        for one in place
    ]
    assert len(set(labels)) == len(labels)
    assert all(progress._LABEL.fullmatch(label) for label in labels)


def test_a_question_without_answer_ends_the_build():
    cells = cells_of("07_denoising_inpainting")
    for find in (r"no such (\w+)", r"(\w)"):
        with pytest.raises(ValueError, match="has to find one"):
            checks.answer(checks.Question("recall-1", "?", find), cells)


# --- in a browser ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Two chapters' questions on a page each, with the site's script and styles."""
    folder = tmp_path_factory.mktemp("checks")
    (folder / "_static").mkdir()
    (folder / "notebooks").mkdir()
    for name in STATIC:
        shutil.copyfile(ROOT / "book" / "theme" / name, folder / "_static" / name)
    for name in ("07_denoising_inpainting", "04_gatys_transfer"):
        body = "\n".join(staged(name))
        (folder / "notebooks" / f"{name}.html").write_text(
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"><title>t</title>'
            '<link rel="stylesheet" href="../_static/custom.css">'
            "<style>html { --pst-color-background: #fff; --pst-color-surface: #f3f4f5;"
            "--pst-color-text-base: #222; --pst-color-text-muted: #555;"
            "--pst-color-border: #ccc; --pst-color-primary: #0a7d91; }</style></head>"
            f'<body><main class="bd-article"><h1>t</h1>{body}</main></body></html>',
            encoding="utf-8",
        )
    server = Server(folder)
    yield server
    server.stop()


@pytest.fixture
def opened(browser, served):
    contexts, wrong = [], []

    def opened(name: str, **how):
        context = browser.new_context(viewport={"width": 390, "height": 844}, **how)
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{served.origin}notebooks/{name}.html")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def test_without_javascript_nothing_is_added(opened):
    page = opened("07_denoising_inpainting", java_script_enabled=False)
    assert page.inner_text("main").strip() == "t"
    assert page.locator(".checks").count() == 2


def test_answers_are_checked_kept_exported_and_forgotten(opened, tmp_path, monkeypatch):
    """By keyboard, on a phone: a recall question until it is right, a prediction once;
    the page tells no answer before, and the exported file is taken in.
    """
    page = opened("07_denoising_inpainting")
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    recall = page.locator("form", has_text="Question 1")
    field = recall.locator("input")
    field.focus()
    for said, answer in (("what", "Give a number"), ("0.6", "Not yet"), ("1/2", "✓ ")):
        field.fill(said)
        page.keyboard.press("Enter")
        page.wait_for_function(
            "said => [...document.querySelectorAll('output')]"
            ".some(place => place.innerText.startsWith(said))",
            arg=answer,
        )
    assert recall.locator("output").inner_text() == "✓ Right, at try 2."
    assert field.is_disabled()
    guess = page.locator("form", has_text="at a weight of 4")
    assert "0.71" not in page.content()
    guess.locator("input").fill("0,25")
    guess.locator("button").click()
    assert guess.locator("output").inner_text() == "Measured: 0.71. You said 0,25."
    assert guess.locator("button").is_disabled()
    page.reload()
    assert guess.locator("output").inner_text() == "Measured: 0.71. You said 0,25."
    assert recall.locator("output").inner_text() == "✓ Right, at try 2."
    assert "3 questions you have solved 1; in the whole book 1" in page.inner_text(
        ".summary"
    )
    with page.expect_download() as download:
        page.click("text=Export")
    assert download.value.suggested_filename == "pltutorial-answers.json"
    path = tmp_path / "answers.json"
    download.value.save_as(path)
    monkeypatch.setenv("PLTUTORIAL_PROGRESS", str(tmp_path / "progress.sqlite"))
    monkeypatch.delenv("PLTUTORIAL_STATIC", raising=False)
    assert progress.take_in(path) == (3, 3)
    rows = {row.label: (row.tries, bool(row.solved)) for row in progress.read()}
    assert rows == {"recall-1-7.1": (2, True), "ex-restoration-grey.2": (1, False)}
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("text=Reset this chapter")
    assert recall.locator("output").inner_text() == ""
    assert field.input_value() == ""
    assert guess.locator("button").is_enabled()
    assert "solved 0; in the whole book 0" in page.inner_text(".summary")


def test_words_are_chosen_and_another_chapters_answers_stay(opened, served):
    page = opened("04_gatys_transfer")
    page.evaluate(
        "localStorage.setItem('pltutorial.tries', JSON.stringify([{time: "
        "'2026-11-29T10:00:00', chapter: 7, label: 'x', solved: true, said: '1'}]))"
    )
    page.reload()
    first = page.locator("form", has_text="Sentence 1")
    first.locator("button", has_text="True").click()
    assert first.locator("output").inner_text() == "Not yet: try again."
    first.locator("button", has_text="False").press("Enter")
    assert first.locator("output").inner_text() == "✓ Right, at try 2."
    assert first.locator("button[aria-pressed=true]").inner_text() == "False"
    guess = page.locator("form", has_text="lowest total")
    guess.locator("button", has_text="painting").click()
    said = guess.locator("output").inner_text()
    assert said == "Measured: painting. ✓ Your prediction holds."
    assert "in the whole book 3" in page.inner_text(".summary")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("text=Reset this chapter")
    assert "solved 0; in the whole book 1" in page.inner_text(".summary")


def test_a_record_that_cannot_be_read_is_begun_anew(opened):
    page = opened("07_denoising_inpainting")
    for broken in ("{", "7", '[null, 3, {"label": 1}]'):
        page.evaluate("text => localStorage.setItem('pltutorial.tries', text)", broken)
        page.reload()
        assert "solved 0; in the whole book 0" in page.inner_text(".summary")
    field = page.locator("form", has_text="Question 1").locator("input")
    field.fill("0.5")
    field.press("Enter")
    assert "solved 1" in page.inner_text(".summary")
