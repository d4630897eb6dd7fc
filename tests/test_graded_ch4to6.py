"""The graded siblings of chapters 4 to 6: solutions pass, every planted mistake fails, for several courses."""

import importlib
import random

import pytest

CODED = [(chapter, seed) for chapter in (4, 5, 6) for seed in ("one", "two", "three")]


def run(*parts):
    space = {}
    for part in parts:
        exec(part, space)


@pytest.mark.parametrize(("chapter", "seed"), CODED)
def test_solutions_pass_and_mistakes_fail(chapter, seed):
    graded = importlib.import_module(f"book.course.chapter{chapter}").graded(random.Random(seed))
    for one in graded:
        if one.written:
            continue
        run(one.solution, one.visible, one.hidden)
        assert len(one.wrong) >= 3
        for number, wrong in enumerate((one.starter, *one.wrong)):
            caught = AssertionError if number else (AssertionError, NotImplementedError)
            with pytest.raises(caught):  # a mistake that crashes would be found without any test
                run(wrong, one.hidden)


@pytest.mark.parametrize("chapter", [4, 5, 6])
def test_every_course_has_its_own_right_answers(chapter):
    courses = [
        importlib.import_module(f"book.course.chapter{chapter}").graded(random.Random(seed))
        for seed in range(6)
    ]
    for same in zip(*courses, strict=True):
        assert len({(one.solution, one.answer) for one in same}) > 1, same[0].name
