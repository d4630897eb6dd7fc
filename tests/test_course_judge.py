"""Two processes: the student's gives values only, and the judge's verdict on every
graded exercise is the same.
"""

from __future__ import annotations

import importlib
import random

import pytest

from book.chapters import CHAPTERS
from book.course import runner, sandbox
from book.course.runner import Part

SEEDS = (0, 7)
MODULES = {
    chapter.number: importlib.import_module(chapter.course) for chapter in CHAPTERS
}


@pytest.fixture(scope="module", autouse=True)
def without_a_sandbox():
    before = sandbox.in_force()
    sandbox.choose("none")
    yield
    sandbox.choose(before)


@pytest.mark.parametrize("chapter", MODULES)
def test_verdicts_of_all_graded_siblings(chapter):
    """In one go: solutions pass all their tests, wrong answers and
    starters fail the hidden.
    """
    parts, passing, failing = [], [], []
    for seed in SEEDS:
        for one in MODULES[chapter].graded(random.Random(seed)):
            if one.written:
                continue
            parts.append(Part(one.solution))
            for text in (one.visible, one.hidden):
                passing.append(len(parts))
                parts.append(Part(text, f"{one.name}-{seed}"))
            for number, wrong in enumerate((*one.wrong, one.starter)):
                parts.append(Part(wrong))
                failing.append((len(parts), one.name, number))
                parts.append(Part(one.hidden, f"{one.name}-{seed}-{number}"))
    ran = runner.run(parts, 20, 300)
    for number in passing:
        assert ran[number] == runner.Ran(), parts[number].name
    for number, name, which in failing:
        assert ran[number].problem, f"{name}, wrong answer {which}"
        assert "look" not in ran[number].problem
