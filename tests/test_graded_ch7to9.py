"""The graded siblings of chapters 7 to 9: solutions pass, every planted mistake fails, for several courses."""

import importlib
import random

import pytest

CHAPTERS = (7, 8, 9)


def run(*parts):
    space = {}
    for part in parts:
        exec(part, space)


@pytest.mark.parametrize(
    ("chapter", "seed"), [(n, seed) for n in CHAPTERS for seed in ("one", "two", "three")]
)
def test_solutions_pass_and_mistakes_fail(chapter, seed):
    for one in importlib.import_module(f"book.course.chapter{chapter}").graded(random.Random(seed)):
        if one.written:
            continue
        run(one.solution, one.visible, one.hidden)
        for number, wrong in enumerate((one.starter, *one.wrong)):
            caught = AssertionError if number else (AssertionError, NotImplementedError)
            with pytest.raises(caught):  # a mistake that crashes would be found without any test
                run(wrong, one.hidden)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_right_answer_of_one_course_is_wrong_in_another(chapter):
    """Of each coding exercise two courses can be found, so that the solution of the first fails in the second."""
    courses = [
        importlib.import_module(f"book.course.chapter{chapter}").graded(random.Random(n)) for n in range(6)
    ]
    for same in zip(*courses, strict=True):
        if same[0].written:
            assert len({one.statement for one in same}) > 1, same[0].name
            continue
        other = next(one for one in same if one.solution != same[0].solution)
        with pytest.raises(AssertionError):
            run(other.solution, same[0].hidden)
