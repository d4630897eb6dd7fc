"""Graded siblings of every chapter's exercises: solutions pass every test, wrong ones
fail the hidden, courses differ.
"""

import importlib
import random
import subprocess
import sys
from pathlib import Path

import pytest

from book.chapters import CHAPTERS

MODULES = {
    chapter.number: importlib.import_module(chapter.course) for chapter in CHAPTERS
}
SEEDS = (0, 1, 7, 2026)
CODING = [
    (chapter, seed, number)
    for chapter, module in MODULES.items()
    for seed in SEEDS
    for number, one in enumerate(module.graded(random.Random(seed)))
    if not one.written
]


def run(*parts):
    namespace = {"__name__": "submission"}
    for part in parts:
        exec(compile(part, "graded", "exec"), namespace)  # code of the course itself


def drawn(chapter, seed, number):
    return MODULES[chapter].graded(random.Random(seed))[number]


@pytest.mark.parametrize(("chapter", "seed", "number"), CODING)
def test_the_solution_passes(chapter, seed, number):
    one = drawn(chapter, seed, number)
    for _ in range(3):  # the hidden tests draw their own inputs
        run(one.solution, one.visible, one.hidden)


@pytest.mark.parametrize(("chapter", "seed", "number"), CODING)
def test_every_wrong_solution_and_the_starter_fail(chapter, seed, number):
    one = drawn(chapter, seed, number)
    assert len(one.wrong) >= 3
    for wrong in one.wrong:
        for _ in range(3):
            # a mistake that crashes would be found without any test
            with pytest.raises(AssertionError):
                run(wrong, one.hidden)
    with pytest.raises((AssertionError, NotImplementedError, RuntimeError)):
        run(one.starter, one.hidden)


@pytest.mark.parametrize("chapter", MODULES)
def test_each_chapter_has_enough_and_courses_differ(chapter):
    courses = [MODULES[chapter].graded(random.Random(seed)) for seed in range(12)]
    assert courses[0] == MODULES[chapter].graded(random.Random(0))
    for course in courses:
        assert sum(not one.written for one in course) >= 2
        assert any(one.written for one in course)
        assert all(one.name.startswith(f"ch{chapter}-") for one in course)
    for versions in zip(*courses, strict=True):
        assert len({one.statement for one in versions}) > 2
        assert len({one.solution or one.answer for one in versions}) > 2
    for versions in zip(*courses[:6], strict=True):
        assert len({one.statement for one in versions}) > 1, versions[0].name
        assert len({(one.solution, one.answer) for one in versions}) > 1, versions[
            0
        ].name


@pytest.mark.parametrize("chapter", MODULES)
def test_a_right_answer_of_one_course_is_wrong_in_another(chapter):
    """Of each coding exercise two courses can be found, so that the solution of the
    first fails in the second.
    """
    courses = [MODULES[chapter].graded(random.Random(seed)) for seed in range(6)]
    for same in zip(*courses, strict=True):
        if same[0].written:
            continue
        other = next(one for one in same if one.solution != same[0].solution)
        with pytest.raises(AssertionError):
            run(other.solution, same[0].hidden)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 7), (7, 2026)])
@pytest.mark.parametrize("chapter", MODULES)
def test_a_solution_of_another_course_earns_less(chapter, one, other):
    """Nobody passes with last year's answers: some solution of one seed fails the
    other's hidden tests.
    """
    graded = MODULES[chapter].graded
    failed = 0
    for mine, theirs in zip(
        graded(random.Random(one)), graded(random.Random(other)), strict=True
    ):
        if mine.written:
            continue
        try:
            run(theirs.solution, mine.hidden)
        except (AssertionError, RuntimeError):
            failed += 1
    assert failed


def test_the_modules_need_nothing_but_python():
    """Drawing a course loads no torch, so that listing assignments is instant."""
    names = ", ".join(chapter.course for chapter in CHAPTERS)
    code = f"import sys, {names}; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parents[1]
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode
        == 0
    )
