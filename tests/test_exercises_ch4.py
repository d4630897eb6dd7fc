"""The checks of chapter 4 know a right answer from a wrong one, and say why."""

import math

import pytest

from pltutorial.exercises import check_gatys_weight, check_luminance_transfer
from pltutorial.optimize import luminance, with_colors_of


def right_weight(style_weight, shape):
    return 2 * math.prod(shape) * style_weight


def test_right_gatys_weight(capsys):
    assert check_gatys_weight(right_weight)
    assert capsys.readouterr().out.startswith("Correct")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda weight, shape: weight,
        lambda weight, shape: math.prod(shape) * weight / 2,  # the factor 4 on the wrong side
        lambda weight, shape: right_weight(1e-4, (256, 24, 36)),  # a number copied from one case
    ],
)
def test_wrong_gatys_weight_gets_the_hint(wrong, capsys):
    assert not check_gatys_weight(wrong)
    said = capsys.readouterr().out
    assert said.startswith("Not yet")
    assert "C H W" in said


def test_right_luminance_transfer(capsys):
    assert check_luminance_transfer(lambda output, content: content + luminance(output) - luminance(content))
    assert check_luminance_transfer(lambda output, content: with_colors_of(output, content))
    assert capsys.readouterr().out.count("Correct") == 2


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda output, content: content, "luminance is not"),
        (lambda output, content: with_colors_of(content, output), "luminance is not"),
        (lambda output, content: output, "colours are not"),
        (lambda output, content: luminance(output), "colours are not"),
        (lambda output, content: output.mean(1), "shape"),
    ],
)
def test_wrong_luminance_transfer_gets_the_hint(wrong, hint, capsys):
    assert not check_luminance_transfer(wrong)
    said = capsys.readouterr().out
    assert said.startswith("Not yet")
    assert hint in said


@pytest.mark.parametrize("check", [check_gatys_weight, check_luminance_transfer])
def test_a_crash_of_the_answer_is_a_hint(check, capsys):
    def crash(*_):
        raise ZeroDivisionError("by hand")

    assert not check(crash)
    assert "ZeroDivisionError: by hand" in capsys.readouterr().out
