"""Checks of the exercises of chapter 13, the loss in a loop of the reader's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn

from .verdicts import answer_of, exercise, fresh_draw, judge, near, shape_or_type


@exercise(
    chapter=13,
    label="ex-loop-pulls",
    second=(
        "torch.autograd.grad(term, output, retain_graph=True, allow_unused=True) gives "
        "one gradient, or None; its norm is the pull."
    ),
)
def check_pulls(
    answer: Callable[[Mapping[str, torch.Tensor], torch.Tensor], Mapping[str, float]],
) -> bool:
    """Check ``answer(terms, output)``: how hard each term pulls at the output.

    ``terms`` maps names to tensors of one number, which come from ``output``
    (N, 3, H, W), what a network made. The answer maps the same names to the norm of
    the term's gradient at the output, 0 where a term has none. The graph stays, for the
    backward pass that follows, and no gradient is left in the network. Tried on random
    networks and terms.

    Taught in chapter 13.
    """
    draw = fresh_draw()
    for size in (4, 6):
        weight = torch.randn((3, 3, 1, 1), generator=draw).requires_grad_()
        picture = torch.rand((2, 3, size, size), generator=draw)
        target = torch.rand(picture.shape, generator=draw)
        output = nn.functional.conv2d(picture, weight)
        loud = 500 + 500 * float(torch.rand((), generator=draw))
        terms = {
            "content": loud * (output.tanh() - target).square().mean(),
            "pixel": (output - target).square().mean(),
            "weights": 3 * weight.square().sum(),  # it does not come from the output
            "constant": target.mean(),
        }
        right = {
            name: _pull(term, output) if term.requires_grad else 0.0
            for name, term in terms.items()
        }
        found = answer_of(answer, terms, output)
        if found is None:
            return False
        hint = _fault_of_pulls(found, right, terms, output, weight)
        if hint:
            return judge(False, "", hint)
    return judge(
        True,
        "each term has its own pull, and the graph is still there to train with.",
        "",
    )


def _pull(term: torch.Tensor, output: torch.Tensor) -> float:
    (gradient,) = torch.autograd.grad(
        term, output, retain_graph=True, allow_unused=True
    )
    return 0.0 if gradient is None else float(gradient.double().norm())


def _fault_of_pulls(
    found: object,
    right: Mapping[str, float],
    terms: Mapping[str, torch.Tensor],
    output: torch.Tensor,
    weight: torch.Tensor,
) -> str:
    """The hint for a wrong answer; empty for a right one."""
    if not isinstance(found, Mapping) or set(found) != set(right):
        return "return a dictionary with the names of the terms, and no others."
    try:
        values = {name: float(value) for name, value in found.items()}
    except (TypeError, ValueError, RuntimeError):
        return "each name has one number, the norm of the whole gradient."

    def says(other: Mapping[str, float]) -> bool:
        return all(
            abs(values[name] - other[name]) <= 0.02 * abs(other[name]) + 1e-9
            for name in right
        )

    if weight.grad is not None:
        return (
            "your function left gradients in the network; torch.autograd.grad gives "
            "them back instead."
        )
    if not says(right):
        at_weight = dict.fromkeys(right, 0.0)
        for name, term in terms.items():
            if term.requires_grad:
                at_weight[name] = _pull(term, weight)
        mean = {name: value / output.numel() ** 0.5 for name, value in right.items()}
        wrong = {
            "these are the values of the terms; a large value may pull weakly.": {
                name: float(term.detach()) for name, term in terms.items()
            },
            "these are squared norms; take the root.": {
                name: value**2 for name, value in right.items()
            },
            "these are root mean squares; the norm is the root of the sum.": mean,
            "these are gradients at the network's weights, not at its output.": (
                at_weight
            ),
        }
        return next((hint for hint, other in wrong.items() if says(other)), "") or (
            "take each term's own gradient at the output, not that of the sum, and its "
            "norm over all numbers; a term that does not come from the output has 0."
        )
    try:
        (terms["content"] + terms["pixel"]).backward()
    except RuntimeError:
        return "the graph is gone, so nothing can be trained after; keep it."
    return ""


@exercise(
    chapter=13,
    label="ex-loop-adaptive",
    second=(
        "two gradients at one tensor, two norms, one ratio: the reconstruction's over "
        "the adversary's; nothing is trained through it."
    ),
)
def check_adaptive_weight(
    answer: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
) -> bool:
    """Check ``answer(reconstruction, adversarial, last)``: the weight of the
    adversarial term.

    Both terms are tensors of one number, and ``last`` is the weight of the decoder's
    last layer. The answer is the norm of the reconstruction's gradient there over that
    of the adversarial term plus 1e-6, at most 10,000, one number without a gradient.
    The graph stays. Tried on random decoders.

    Taught in chapter 13.
    """
    draw = fresh_draw()
    for loud, silent in ((3.0, False), (0.02, False), (1.0, True)):
        reconstruction, adversarial, last, pulls = _two_terms(loud, silent, draw)
        value = answer_of(answer, reconstruction, adversarial, last)
        if value is None:
            return False
        hint = _fault_of_weight(value, pulls, reconstruction, adversarial, last)
        if hint:
            return judge(False, "", hint)
    return judge(
        True,
        "both terms now pull equally hard at the last layer, and neither is trained "
        "to change that.",
        "",
    )


def _two_terms(
    loud: float, silent: bool, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[float]]:
    """Two terms, the last layer's weight and their pulls at it, so that the ratio of
    the terms' values or of squared pulls is not by chance that of the pulls.
    """
    while True:
        last = torch.randn((3, 5, 1, 1), generator=draw).requires_grad_()
        code = torch.rand((2, 5, 4, 4), generator=draw)
        target = torch.rand((2, 3, 4, 4), generator=draw)
        critic = torch.randn((1, 3, 1, 1), generator=draw)
        output = nn.functional.conv2d(code, last)
        reconstruction = loud * (output - target).square().mean()
        verdict = nn.functional.conv2d(output.tanh(), critic).mean()
        adversarial = -verdict * (1e-9 if silent else 1.0)
        pulls = [_pull(term, last) for term in (reconstruction, adversarial)]
        ratio = pulls[0] / pulls[1]
        values = float(reconstruction.detach()) / abs(float(adversarial.detach()))
        others = [values, 1 / ratio, ratio**2, 1.0, 2 * ratio]
        apart = all(
            abs(math.log(one / other)) > 0.1
            for n, one in enumerate([ratio, *others])
            for other in others[n:]
        )
        if apart and (silent or max(ratio, values, ratio**2) < 5e3):
            return reconstruction, adversarial, last, pulls


def _fault_of_weight(
    value: object,
    pulls: list[float],
    reconstruction: torch.Tensor,
    adversarial: torch.Tensor,
    last: torch.Tensor,
) -> str:
    """The hint for a wrong weight; empty for a right one."""
    number = torch.as_tensor(value) if isinstance(value, int | float) else value
    if not isinstance(number, torch.Tensor) or number.numel() != 1:
        return f"return one number; yours is {shape_or_type(value)}."
    first, second = pulls
    exact = first / (second + 1e-6)

    def says(other: float) -> bool:
        return near(
            number.detach().reshape(()), torch.tensor(other), rtol=0.01, atol=1e-9
        )

    if last.grad is not None:
        return (
            "your function left a gradient in the last layer; torch.autograd.grad "
            "gives it back instead."
        )
    if not says(min(exact, 1e4)):
        values = float(reconstruction.detach()) / abs(float(adversarial.detach()))
        wrong = {
            "it is not bounded: a silent adversary gets at most 10,000.": exact,
            "the ratio is turned round: the adversary's norm is below.": (
                second / (first + 1e-6)
            ),
            "these are squared norms; take the root.": min(
                first**2 / (second**2 + 1e-6), 1e4
            ),
            "these are the terms' values; compare their gradients.": min(values, 1e4),
        }
        return next((hint for hint, other in wrong.items() if says(other)), "") or (
            "the norm of the first term's gradient at the last layer, over the norm of "
            "the second's plus 1e-6, at most 10,000."
        )
    if number.requires_grad:
        return "the weight has a gradient, and would be trained; detach it."
    try:
        (reconstruction + float(number) * adversarial).backward()
    except RuntimeError:
        return "the graph is gone, so nothing can be trained after; keep it."
    return ""


@exercise(
    chapter=13,
    label="ex-loop-scaled",
    second=(
        "the order is: forget the old gradients, backward of the scaled loss, unscale, "
        "clip, the scaler's step, the scaler's update."
    ),
)
def check_scaled_step(answer: Callable[..., float]) -> bool:
    """Check ``answer(network, optimizer, scaler, loss_of, batch, limit)``: one step of
    training with a scaled loss and clipped gradients; it returns the loss.

    ``loss_of(network, batch)`` gives the loss, ``limit`` is the largest norm of the
    whole gradient, of the loss itself and not of the scaled one. A step whose gradient
    is not finite changes no weight and halves the scale. Tried on small networks with
    small, large and infinite gradients.

    Taught in chapter 13.
    """
    draw = fresh_draw()
    for loud, stale in ((0.01, False), (40.0, False), (0.01, True), (0.0, False)):
        network, batch = nn.Linear(4, 3), torch.rand((5, 4), generator=draw)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw))
        optimizer = torch.optim.SGD(network.parameters(), 0.5)
        # it doubles after each good step, so that a missing update is seen
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=1)
        before = [p.detach().clone() for p in network.parameters()]

        def loss_of(network, batch, loud=loud):
            made = network(batch).square().mean()
            # of infinite slope at 0, where loud is 0
            return loud * made if loud else (made - made.detach()).abs().sqrt() + 1

        loss = loss_of(network, batch)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        if stale:
            for parameter in network.parameters():
                parameter.grad = torch.full_like(parameter, 0.7)
        value = answer_of(answer, network, optimizer, scaler, loss_of, batch, 1.0)
        if value is None:
            return False
        hint = _fault_of_step(
            value, loss, network, before, gradients, scaler.get_scale(), stale
        )
        if hint:
            return judge(False, "", hint)
    return judge(
        True,
        "it clips the true gradient, and one that overflows costs a step and no more.",
        "",
    )


def _fault_of_step(
    value: object,
    loss: torch.Tensor,
    network: nn.Module,
    before: list[torch.Tensor],
    gradients: tuple[torch.Tensor, ...],
    scale: float,
    stale: bool,
) -> str:
    """The hint for a step that is wrong; empty for a right one."""
    try:
        said = float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        return "return the loss, one number."
    moved = torch.cat(
        [
            (old - new.detach()).flatten() / 0.5
            for old, new in zip(before, network.parameters(), strict=True)
        ]
    )
    gradient = torch.cat([one.flatten() for one in gradients])
    if not bool(gradient.isfinite().all()):
        if not bool(moved.isfinite().all()):
            return (
                "an infinite gradient got into the weights; the scaler's step looks "
                "first, the optimizer's does not."
            )
        if bool(moved.abs().max() > 0):
            return "a step whose gradient is not finite must change no weight."
        if scale != 512.0:
            return "after an infinite gradient the scale is not halved: scaler.update."
        return ""
    norm = gradient.norm()
    right = gradient * (1 / norm).clamp_max(1)

    def says(other: torch.Tensor) -> bool:
        return near(moved, other, rtol=0.01, atol=1e-3 * float(other.abs().max()))

    if not says(right):
        if bool(moved.abs().max() == 0):
            return "the weights did not move; a step is missing."
        wrong = {
            (
                "the step is a thousand times too small: the gradient was clipped "
                "while it was still scaled."
            ): gradient / norm / 1024,
            "the gradient was clipped while scaled, and never unscaled.": (
                gradient / norm
            ),
            "the step was made with the scaled gradient.": 1024 * gradient,
            "nothing was clipped.": gradient,
        }
        if stale:
            return "the gradients of the step before were still there; forget them."
        return next((hint for hint, other in wrong.items() if says(other)), "") or (
            "unscale the gradient, clip it to the limit, then let the scaler step."
        )
    if scale != 2048.0:
        return (
            "the step is right and the scale never changes: scaler.update is missing."
        )
    if abs(said - float(loss.detach())) > 0.02 * abs(float(loss.detach())):
        return "the step is right; return the loss itself, and not the scaled one."
    return ""
