"""Graded siblings of chapters 1 to 3: solutions pass every test, wrong ones fail the hidden, courses differ."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from book.course import chapter1, chapter2, chapter3

CHAPTERS = {"ch1": chapter1, "ch2": chapter2, "ch3": chapter3}
SEEDS = (0, 1, 7, 2026)
CODING = [
    (name, seed, number)
    for name, chapter in CHAPTERS.items()
    for seed in SEEDS
    for number, one in enumerate(chapter.graded(random.Random(seed)))
    if not one.written
]


def run(*parts):
    namespace = {"__name__": "submission"}
    for part in parts:
        exec(compile(part, "graded", "exec"), namespace)  # noqa: S102  (code of the course itself)


def drawn(name, seed, number):
    return CHAPTERS[name].graded(random.Random(seed))[number]


@pytest.mark.parametrize(("name", "seed", "number"), CODING)
def test_the_solution_passes(name, seed, number):
    one = drawn(name, seed, number)
    for _ in range(3):  # the hidden tests draw their own inputs
        run(one.solution, one.visible, one.hidden)


@pytest.mark.parametrize(("name", "seed", "number"), CODING)
def test_every_wrong_solution_and_the_starter_fail(name, seed, number):
    one = drawn(name, seed, number)
    for wrong in one.wrong:
        for _ in range(3):
            with pytest.raises(AssertionError):
                run(wrong, one.hidden)
    with pytest.raises((AssertionError, NotImplementedError, RuntimeError)):
        run(one.starter, one.hidden)


@pytest.mark.parametrize("name", CHAPTERS)
def test_each_chapter_has_enough_and_courses_differ(name):
    courses = [CHAPTERS[name].graded(random.Random(seed)) for seed in range(12)]
    assert courses[0] == CHAPTERS[name].graded(random.Random(0))
    for course in courses:
        assert sum(not one.written for one in course) >= 2
        assert any(one.written for one in course)
        assert all(one.name.startswith(f"{name}-") for one in course)
    for versions in zip(*courses, strict=True):
        assert len({one.statement for one in versions}) > 2
        assert len({one.solution or one.answer for one in versions}) > 2


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 7), (7, 2026)])
def test_a_solution_of_another_course_earns_less(one, other):
    """Nobody passes with last year's answers: some solution of one seed fails the other's hidden tests."""
    for name, chapter in CHAPTERS.items():
        pairs = zip(chapter.graded(random.Random(one)), chapter.graded(random.Random(other)), strict=True)
        failed = 0
        for mine, theirs in pairs:
            if mine.written:
                continue
            try:
                run(theirs.solution, mine.hidden)
            except (AssertionError, RuntimeError):
                failed += 1
        assert failed, name


def test_the_modules_need_nothing_but_python():
    """Drawing a course loads no torch, so that listing assignments is instant."""
    code = (
        "import sys; from book.course import chapter1, chapter2, chapter3; sys.exit('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode
        == 0
    )
