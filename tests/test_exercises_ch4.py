"""The checks of chapter 4 know a right answer from a wrong one, and say why; graded
siblings know theirs.
"""

import math

import pytest
import torch
from exercise_checks import refused
from hypothesis import given, settings
from hypothesis import strategies as st

from pltutorial.exercises import (
    check_descent,
    check_gatys_weight,
    check_luminance_transfer,
    check_transfer,
)
from pltutorial.optimize import luminance, with_colors_of

few = settings(max_examples=6, deadline=None)


def right_weight(style_weight, shape):
    return 2 * math.prod(shape) * style_weight


@few
@given(
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, float]),
    st.booleans(),
)
def test_no_false_alarm_of_the_weight(dtype, by_sums):
    def answer(style_weight, shape):
        ones = torch.ones(shape, dtype=torch.float64)
        value = style_weight * float(
            2 * ones.sum() if by_sums else 4 * ones.square().sum() / 2
        )
        return value if dtype is float else torch.tensor(value, dtype=dtype)

    assert check_gatys_weight(answer)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda weight, shape: weight, "cannot stay"),
        # 4 on the wrong side
        (lambda weight, shape: math.prod(shape) * weight / 8, "the constant is not"),
        (lambda weight, shape: math.prod(shape) * weight / 2, "the constant is not"),
        (lambda weight, shape: 2 * shape[1] * shape[2] * weight, "C H W"),
        (lambda weight, shape: weight / right_weight(1, shape), "C H W"),
        # a number copied from one case
        (lambda weight, shape: right_weight(1e-4, (256, 24, 36)), "C H W"),
    ],
)
def test_wrong_gatys_weight_gets_the_hint(wrong, hint, capsys):
    refused(check_gatys_weight, wrong, hint, capsys)


def by_matrix(output, content):
    return with_colors_of(output.float(), content.float()).to(output)


def by_einsum(output, content):
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=output.dtype)
    return content + torch.einsum("c,nchw->nhw", weights, output - content)[:, None]


def by_loops(output, content):
    result = content.clone()
    for row in range(output.shape[2]):
        for column in range(output.shape[3]):
            red, green, blue = (output - content)[0, :, row, column].tolist()
            result[0, :, row, column] += 0.299 * red + 0.587 * green + 0.114 * blue
    return result


@few
@given(
    st.sampled_from([by_matrix, by_einsum, by_loops]),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_no_false_alarm_of_the_luminance(function, dtype):
    assert check_luminance_transfer(
        lambda output, content: function(output.to(dtype), content.to(dtype))
    )


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda output, content: content, "luminance is not"),
        (lambda output, content: with_colors_of(content, output), "luminance is not"),
        (
            lambda output, content: (
                content + output.mean(1, True) - content.mean(1, True)
            ),
            "luminance is not",
        ),
        (lambda output, content: output, "colours are not"),
        (lambda output, content: luminance(output), "colours are not"),
        (
            lambda output, content: content * luminance(output) / luminance(content),
            "colours are not",
        ),
        (lambda output, content: output.mean(1), "shape"),
    ],
)
def test_wrong_luminance_transfer_gets_the_hint(wrong, hint, capsys):
    refused(check_luminance_transfer, wrong, hint, capsys)


def descend(objective, start, steps, optimizer="lbfgs", fault="", dtype=torch.float32):
    """The loop of the exercise, right or with one of the mistakes that people make."""
    begin = start.to(dtype)
    pixels = (
        begin.requires_grad_() if fault == "alias" else begin.clone().requires_grad_()
    )
    if optimizer == "lbfgs":
        moves = torch.optim.LBFGS([pixels], max_iter=1)
    else:
        moves = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer](
            [pixels], lr=0.05 if optimizer == "adam" else 0.3
        )

    def closure():
        if fault != "no zero_grad":
            moves.zero_grad()
        total = objective(
            pixels.clamp(0, 1) if fault == "clamp in the graph" else pixels
        )
        (-total if fault == "uphill" else total).backward()
        return total

    for _ in range(steps):
        moves.step(closure)
        if fault == "copy":
            pixels = pixels.detach().clamp(0, 1).requires_grad_()
        elif fault not in ("no clamp", "clamp in the graph"):
            pixels.data.clamp_(0, 1)
    return pixels if fault == "attached" else pixels.detach()


def by_autograd(objective, start, steps):
    pixels = start
    for _ in range(steps):
        pixels = pixels.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(pixels), pixels)
        pixels = (pixels - 0.2 * gradient).clamp(0, 1).detach()
    return pixels


@settings(few, max_examples=5)
@given(
    st.sampled_from(["lbfgs", "adam", "sgd"]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_no_false_alarm_of_the_descent(optimizer, dtype):
    assert check_descent(
        lambda objective, start, steps: descend(
            objective, start, steps, optimizer, "", dtype
        )
    )


def test_descent_without_an_optimiser_is_right():
    assert check_descent(by_autograd)


@pytest.mark.parametrize(
    ("optimizer", "fault", "hint"),
    [
        ("lbfgs", "alias", "start was changed"),
        ("lbfgs", "no zero_grad", "added up"),
        ("adam", "no zero_grad", "added up"),
        ("lbfgs", "copy", "no longer moves"),
        ("adam", "copy", "no longer moves"),
        ("lbfgs", "no clamp", "left the range"),
        ("lbfgs", "clamp in the graph", "left the range"),
        ("adam", "attached", "carries a gradient"),
        ("adam", "uphill", "did not come near"),
    ],
)
def test_wrong_descent_gets_the_hint(optimizer, fault, hint, capsys):
    refused(
        check_descent, lambda *given: descend(*given, optimizer, fault), hint, capsys
    )


def test_descent_in_short_steps_is_told_that_they_are_short(capsys):
    def answer(objective, start, steps):
        pixels = start.clone().requires_grad_()
        moves = torch.optim.Adam([pixels], lr=0.005)
        for _ in range(steps):
            moves.zero_grad()
            objective(pixels).backward()
            moves.step()
            pixels.data.clamp_(0, 1)
        return pixels.detach()

    refused(
        check_descent, answer, "each step goes downhill, but they are too short", capsys
    )


def transfer(
    phi, content, style, style_weight, steps, fault="", gram="matmul", rate=0.02
):
    """The transfer of the exercise, right or with one of its faults."""
    products = {
        "matmul": lambda f: f @ f.T,
        "einsum": lambda f: torch.einsum("cp,dp->cd", f, f),
        "bmm": lambda f: torch.bmm(f[None], f.T[None])[0],
    }
    pixels = (
        content.requires_grad_()
        if "alias" in fault
        else content.clone().requires_grad_()
    )
    optimizer = torch.optim.Adam([pixels], lr=rate)
    for _ in range(steps):
        target = pixels if "moving" in fault else content
        y, y_c, y_s = (
            phi(picture)[0].flatten(1) for picture in (pixels, target, style)
        )
        y_c = y_c.detach() if "detached" in fault else y_c
        size = y.numel() if "size" in fault else y_s.numel()
        difference = products[gram](y) / y.numel() - products[gram](y_s) / size
        style_term = (
            0 * difference.sum() if "no style" in fault else difference.square().sum()
        )
        optimizer.zero_grad()
        ((y - y_c).square().mean() + style_weight * style_term).backward()
        optimizer.step()
        pixels.data.clamp_(0, 1)
    return pixels.detach()


@settings(few, max_examples=4)
@given(
    st.sampled_from(["matmul", "einsum", "bmm"]),
    st.sampled_from([0.01, 0.02, 0.03]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_no_false_alarm_of_the_transfer(gram, rate, dtype):
    def answer(phi, content, style, style_weight, steps):
        return transfer(
            phi, content.to(dtype), style.to(dtype), style_weight, steps, "", gram, rate
        )

    assert check_transfer(answer)


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        ("alias, size", "repainted"),
        ("alias", "repainted"),
        ("moving", "the content is lost"),
        # the gradient is back, of a difference that is always 0
        ("moving, detached", "the content is lost"),
        ("size", "know its own size"),
        ("no style", "hardly falls"),
    ],
)
def test_wrong_transfer_gets_the_hint(fault, hint, capsys):
    refused(check_transfer, lambda *given: transfer(*given, fault), hint, capsys)
