"""The checks of chapter 5 know a right answer from a wrong one, and say why."""

import math
from fractions import Fraction

import pytest
import torch
from exercise_checks import refused
from hypothesis import given, settings
from hypothesis import strategies as st

from pltutorial import gram_matrix, style_loss
from pltutorial.exercises import (
    check_break_even,
    check_even_kernel,
    check_training_step,
)

few = settings(max_examples=6, deadline=None)


def right_number(training, optimisation, network):
    saved = optimisation - network
    return math.floor(training / saved) + 1 if saved > 0 else None


def by_counting(training, optimisation, network):
    if optimisation <= network:
        return None
    pictures = 1
    while training + pictures * network >= pictures * optimisation:
        pictures += 1
    return pictures


def by_fractions(training, optimisation, network):
    saved = Fraction(optimisation) - Fraction(network)
    return None if saved <= 0 else float(Fraction(training) // saved + 1)


@few
@given(st.sampled_from([right_number, by_counting, by_fractions]))
def test_no_false_alarm_of_the_number(function):
    assert check_break_even(function)


def mended(kernel):
    kernel = kernel.clone()
    for rows in ([0, 2], [1]):
        for columns in ([0, 2], [1]):
            part = torch.tensor(rows)[:, None], torch.tensor(columns)
            kernel[part] = kernel[part] / kernel[part].sum()
    return kernel


def by_einsum(kernel):
    # which rows or columns meet
    parts = torch.tensor([[1, 0, 1], [0, 1, 0]], dtype=kernel.dtype)
    sums = torch.einsum("ai,bj,ij->ab", parts, parts, kernel)
    return kernel / torch.einsum("ai,bj,ab->ij", parts, parts, sums)


def by_loops(kernel):
    result = torch.zeros_like(kernel)
    for i in range(3):
        for j in range(3):
            group = [
                kernel[k, m] for k in range(i % 2, 3, 2) for m in range(j % 2, 3, 2)
            ]
            result[i, j] = kernel[i, j] / sum(group)
    return result


@few
@given(
    st.sampled_from([mended, by_einsum, by_loops]),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_no_false_alarm_of_the_kernel(function, dtype):
    assert check_even_kernel(lambda kernel: function(kernel.to(dtype)))


BILINEAR = torch.tensor([[0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 0.25]])


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (
            lambda training, optimisation, network: int(training // optimisation) + 1,
            "own passes",
        ),
        (
            lambda training, optimisation, network: (
                math.ceil(training / (optimisation - network))
                if optimisation > network
                else None
            ),
            "equal",
        ),
        (
            lambda training, optimisation, network: right_number(12000, 16, 0.125),
            "compare both sides",
        ),
        (
            lambda training, optimisation, network: (
                right_number(training, optimisation, network) or 0
            ),
            "never",
        ),
        (lambda training, optimisation, network: None, "there is such a number"),
        (
            lambda training, optimisation, network: training / (optimisation - network),
            "compare both sides",
        ),
    ],
)
def test_wrong_break_even_gets_the_hint(wrong, hint, capsys):
    refused(check_break_even, wrong, hint, capsys)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda kernel: kernel, "1, 2, 2 and 4"),
        (lambda kernel: kernel / kernel.sum(), "1, 2, 2 and 4"),
        (lambda kernel: 4 * kernel / kernel.sum(), "1, 2, 2 and 4"),
        (lambda kernel: 2 * mended(kernel), "ones become 2"),
        (lambda kernel: mended(kernel) / 4, "ones become 0.25"),
        (lambda kernel: BILINEAR, "proportions"),  # a kernel copied from somewhere
        (lambda kernel: mended(kernel)[None], "shape"),
    ],
)
def test_wrong_kernel_gets_the_hint(wrong, hint, capsys):
    refused(check_even_kernel, wrong, hint, capsys)


def grams(y, how):
    f = y.flatten(2)
    if how == "einsum":
        return torch.einsum("ncp,ndp->ncd", f, f) / f[0].numel()
    if how == "bmm":
        return torch.bmm(f, f.transpose(1, 2)) / f[0].numel()
    if how == "loops":
        return torch.stack([one @ one.T / one.numel() for one in f])
    return gram_matrix(y)


def training_step(
    network, optimizer, phi, photos, gram, style_weight, fault="", how="bmm"
):
    """The step of the exercise, right or with one of the mistakes that people make."""
    if fault == "eval":
        network.eval()
    if fault not in ("no zero_grad", "late zero_grad"):
        optimizer.zero_grad()
    output = network(photos)
    y, x = phi(output), phi(photos)
    if fault == "pot":
        f = y.transpose(0, 1).flatten(1)
        style = (f @ f.T / f.numel() - gram).square().sum()
    else:
        style = (grams(y, how) - gram).square().sum((1, 2)).mean()
    content = (y - x).square().mean()
    if fault == "mean":
        style = style / gram.numel()
    if fault == "pixels":
        content = (output - photos).square().mean()
    loss = content + style_weight * style
    if fault == "half":
        (loss / 2).backward()
    else:
        loss.backward()
    if fault == "late zero_grad":
        optimizer.zero_grad()
    if fault == "copy":
        optimizer = torch.optim.SGD(
            [p.detach().clone().requires_grad_() for p in network.parameters()], lr=1e-3
        )
    optimizer.step()
    return loss.item()


@few
@given(st.sampled_from(["einsum", "bmm", "loops", "package"]), st.booleans())
def test_no_false_alarm_of_the_step(how, as_tensor):
    def answer(network, *given):
        value = training_step(network.train(), *given, how=how)
        return torch.tensor(value) if as_tensor else value

    assert check_training_step(answer)


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        ("eval", "not in training"),
        ("pot", "too much style in one photo"),
        ("no zero_grad", "what is left over"),
        ("late zero_grad", "no weight has moved"),
        ("copy", "no weight has moved"),
        ("mean", "not the objective"),
        # its first value can agree by chance, its gradient never
        ("pixels", "the loss"),
        ("half", "did not follow the gradient"),
    ],
)
def test_wrong_step_gets_the_hint(fault, hint, capsys):
    refused(
        check_training_step, lambda *given: training_step(*given, fault), hint, capsys
    )


def test_style_of_a_batch_is_the_packages():
    """The variants above against style_loss, so that a common mistake of
    theirs would be seen.
    """
    features, gram = torch.rand(3, 4, 5, 6), torch.rand(1, 4, 4)
    for how in ("einsum", "bmm", "loops", "package"):
        by_hand = (grams(features, how) - gram).square().sum((1, 2)).mean()
        torch.testing.assert_close(by_hand, style_loss(features, gram))
