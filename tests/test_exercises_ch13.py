"""The checks of chapter 13 know a right answer from a wrong one, and say why."""

import pytest
import torch
from exercise_checks import faulty_code, refused

from pltutorial.exercises import (
    check_adaptive_weight,
    check_pulls,
    check_scaled_step,
)

TRIES = 5  # every wrong answer is told from a right one on each of so many fresh draws


def gradient(term, at):
    if not term.requires_grad:
        return torch.zeros_like(at)
    (found,) = torch.autograd.grad(term, at, retain_graph=True, allow_unused=True)
    return torch.zeros_like(at) if found is None else found


def pulls(terms, output, size=torch.linalg.vector_norm):
    return {name: float(size(gradient(term, output))) for name, term in terms.items()}


def pulls_of_numpy(terms, output):
    return {
        name: gradient(term, output).square().sum().sqrt().detach().numpy()
        for name, term in terms.items()
    }


def backward_pulls(terms, output):
    output.retain_grad()
    for term in terms.values():
        if term.requires_grad:
            term.backward(retain_graph=True)
    return {name: float(output.grad.norm()) for name in terms}


def graphless(terms, output):
    found = {}
    for name, term in terms.items():
        if term.requires_grad:
            (one,) = torch.autograd.grad(term, output, allow_unused=True)
            found[name] = 0.0 if one is None else float(one.norm())
        else:
            found[name] = 0.0
    return found


def adaptive(first, second, last, size=torch.linalg.vector_norm, most=1e4):
    above, below = (size(gradient(term, last)) for term in (first, second))
    return (above / (below + 1e-6)).clamp_max(most).detach()


def with_graph(first, second, last):
    above, below = (
        torch.autograd.grad(term, last, create_graph=True)[0].norm()
        for term in (first, second)
    )
    return (above / (below + 1e-6)).clamp_max(1e4)


def backward_weight(first, second, last):
    first.backward(retain_graph=True)
    return adaptive(first, second, last)


def scaled_step(
    network,
    optimizer,
    scaler,
    loss_of,
    batch,
    limit,
    *,
    forget=True,
    unscale="before",
    clip=True,
    step="scaler",
    update=True,
    returned=lambda loss, scaler: loss.item(),
):
    """A step, right as it is, with parts that may be left out."""
    if forget:
        optimizer.zero_grad()
    loss = loss_of(network, batch)
    scaler.scale(loss).backward()
    if unscale == "before":
        scaler.unscale_(optimizer)
    if clip:
        torch.nn.utils.clip_grad_norm_(network.parameters(), limit)
    if unscale == "after":
        scaler.unscale_(optimizer)
    if step == "scaler":
        scaler.step(optimizer)
    elif step == "optimizer":
        optimizer.step()
    if update:
        scaler.update()
    return returned(loss.detach(), scaler)


def variant(**changed):
    return lambda *given: scaled_step(*given, **changed)


def by_hand(network, optimizer, scaler, loss_of, batch, limit):
    parameters = list(network.parameters())
    optimizer.zero_grad(set_to_none=False)
    loss = loss_of(network, batch)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    norm = torch.cat([p.grad.flatten() for p in parameters]).norm()
    if norm > limit:
        for parameter in parameters:
            parameter.grad.mul_(limit / norm)
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()


def the_book_s(*given):
    """The faulty function of the exercise, as it is printed."""
    return faulty_code("13_in_your_own_loop.ipynb", "ex-loop-scaled")["scaled_step"](
        *given
    )


RIGHT = {
    check_pulls: [pulls, pulls_of_numpy],
    check_adaptive_weight: [
        adaptive,
        lambda *given: float(adaptive(*given)),
        lambda *given: adaptive(*given).double(),
    ],
    check_scaled_step: [scaled_step, by_hand],
}


@pytest.mark.parametrize("check", RIGHT)
def test_right_answers(check, capsys):
    for answer in RIGHT[check]:
        for _ in range(TRIES):
            assert check(answer), capsys.readouterr().out
            assert capsys.readouterr().out.startswith("Correct")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda terms, output: {k: float(v.detach()) for k, v in terms.items()}, "val"),
        (
            lambda terms, output: pulls(terms, output, lambda g: g.square().sum()),
            "root",
        ),
        (
            lambda terms, output: pulls(
                terms, output, lambda g: g.square().mean() ** 0.5
            ),
            "root mean squares",
        ),
        (lambda terms, output: pulls(terms, output, lambda g: g.abs().sum()), "own"),
        (backward_pulls, "left gradients"),
        (graphless, "graph is gone"),
        (lambda terms, output: {"content": 1.0}, "names of the terms"),
        (lambda terms, output: [1.0, 2.0], "dictionary"),
        (
            lambda terms, output: {k: gradient(v, output) for k, v in terms.items()},
            "one",
        ),
        (lambda terms, output: None, "None"),
    ],
)
def test_wrong_pulls_get_the_hint(answer, hint, capsys):
    refused(check_pulls, answer, hint, capsys, TRIES)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda r, a, w: adaptive(a, r, w), "turned round"),
        (lambda r, a, w: adaptive(r, a, w, most=float("inf")), "not bounded"),
        (lambda r, a, w: adaptive(r, a, w, lambda g: g.square().sum()), "squared"),
        (lambda r, a, w: (r / a).abs().detach().clamp_max(1e4), "values"),
        (lambda r, a, w: adaptive(r, a, w) * 2, "norm of the first"),
        (with_graph, "detach"),
        (backward_weight, "left a gradient"),
        (lambda r, a, w: gradient(r, w), "one number"),
        (lambda r, a, w: None, "None"),
    ],
)
def test_wrong_adaptive_weight_gets_the_hint(answer, hint, capsys):
    refused(check_adaptive_weight, answer, hint, capsys, TRIES)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (the_book_s, "thousand times too small"),
        (variant(unscale="after", step="optimizer", forget=False), "thousand times"),
        (variant(unscale="after", step="optimizer"), "thousand times"),
        (variant(unscale="never"), "thousand times too small"),
        (variant(forget=False), "step before"),
        (variant(clip=False), "nothing was clipped"),
        (variant(step="optimizer"), "infinite gradient"),
        (variant(step="optimizer", unscale="never", update=False), "never unscaled"),
        (variant(step="none", update=False), "did not move"),
        (variant(update=False), "update"),
        (variant(returned=lambda loss, scaler: scaler.scale(loss)), "not the scaled"),
        (variant(returned=lambda loss, scaler: "done"), "return the loss"),
        (variant(returned=lambda loss, scaler: None), "None"),
    ],
)
def test_wrong_step_gets_the_hint(answer, hint, capsys):
    refused(check_scaled_step, answer, hint, capsys, TRIES)
