"""The checks of chapter 5 know a right answer from a wrong one, and say why."""

import math

import pytest
import torch

from pltutorial.exercises import check_break_even, check_even_kernel


def right_number(training, optimisation, network):
    saved = optimisation - network
    return math.floor(training / saved) + 1 if saved > 0 else None


def mended(kernel):
    kernel = kernel.clone()
    for rows in ([0, 2], [1]):
        for columns in ([0, 2], [1]):
            part = torch.tensor(rows)[:, None], torch.tensor(columns)
            kernel[part] = kernel[part] / kernel[part].sum()
    return kernel


BILINEAR = torch.tensor([[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]])


@pytest.mark.parametrize(("check", "answer"), [(check_break_even, right_number), (check_even_kernel, mended)])
def test_right_answers(check, answer, capsys):
    assert check(answer)
    assert capsys.readouterr().out.startswith("Correct")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda training, optimisation, network: training // optimisation + 1, "own passes"),
        (lambda training, optimisation, network: math.ceil(training / (optimisation - network)), "equal"),
        (lambda training, optimisation, network: right_number(1200, 16, 0.125), "compare both sides"),
        (lambda training, optimisation, network: right_number(training, optimisation, network) or 0, "never"),
        (lambda training, optimisation, network: None, "there is such a number"),
    ],
)
def test_wrong_break_even_gets_the_hint(wrong, hint, capsys):
    assert not check_break_even(wrong)
    said = capsys.readouterr().out
    assert said.startswith("Not yet")
    assert hint in said


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda kernel: kernel, "1, 2, 2 and 4"),
        (lambda kernel: kernel / kernel.sum(), "1, 2, 2 and 4"),
        (lambda kernel: 4 * kernel / kernel.sum(), "1, 2, 2 and 4"),
        (lambda kernel: 2 * mended(kernel), "ones become 2"),
        (lambda kernel: BILINEAR, "proportions"),  # a kernel copied from somewhere
        (lambda kernel: mended(kernel)[None], "shape"),
    ],
)
def test_wrong_kernel_gets_the_hint(wrong, hint, capsys):
    assert not check_even_kernel(wrong)
    said = capsys.readouterr().out
    assert said.startswith("Not yet")
    assert hint in said


@pytest.mark.parametrize("check", [check_break_even, check_even_kernel])
def test_a_crash_of_the_answer_is_a_hint(check, capsys):
    def crash(*_):
        raise ZeroDivisionError("by hand")

    assert not check(crash)
    assert "ZeroDivisionError" in capsys.readouterr().out
