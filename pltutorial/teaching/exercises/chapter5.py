"""Checks of the exercises of chapter 5, feed-forward style transfer."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from ...losses import feature_loss, gram_matrix, style_loss
from .verdicts import answer_of, exercise, fresh_draw, judge


@exercise(
    chapter=5,
    label="ex-forward-break-even",
    second=(
        "write both costs as straight lines over the number of pictures; where do "
        "they cross, and do they always?"
    ),
)
def check_break_even(answer: Callable[[float, float, float], int | None]) -> bool:
    """Check ``answer(training, optimisation, network)``: from how many pictures on a
    network has saved time.

    The arguments are the seconds of the training, of one optimisation and of one
    forward pass. The answer is the smallest number of pictures for which training and
    passes together take less time than the optimisations, or None where they never do.
    Tried on times of its own.

    Taught in chapter 5.
    """
    draw = fresh_draw()

    # so that no division leaves a remainder of rounding
    def eighths(low: int, high: int) -> float:
        return int(torch.randint(low, high, (), generator=draw)) / 8

    network = eighths(4, 9)
    saved = eighths(4, 17)
    count = int(torch.randint(20, 80, (), generator=draw))
    cases = [
        # the lines cross between two whole numbers
        (count * saved + saved / 4, saved + network, network),
        (count * saved, saved + network, network),  # they cross at one
        (eighths(80, 800), network, network),
        (eighths(80, 800), network / 2, network),
    ]
    for training, optimisation, passing in cases:
        difference = optimisation - passing
        right = math.floor(training / difference) + 1 if difference > 0 else None
        value = answer_of(
            answer, training, optimisation, passing, none_is_an_answer=True
        )
        if value is None and right is not None:
            times = f"{training:g}, {optimisation:g} and {passing:g} s"
            return judge(False, "", f"for {times} there is such a number.")
        if value == right:
            continue
        if right is None:
            return judge(
                False,
                "",
                "a network as slow as the optimisation, or slower, "
                "never wins; return None.",
            )
        if value == right - 1 and training % difference == 0:
            return judge(
                False, "", "equal times save nothing yet: take the next whole number."
            )
        if value == math.floor(training / optimisation) + 1:
            return judge(False, "", "the network's own passes take time too.")
        return judge(
            False,
            "",
            "compare both sides for the number you return, and for the one before it.",
        )
    return judge(
        True,
        "a network pays when it is used often enough, and never if it saves nothing.",
        "",
    )


@exercise(
    chapter=5,
    label="ex-forward-kernel",
    second=(
        "write a number from 1 to 9 into each weight and follow half_stride_by_hand "
        "on a row of ones: which numbers are added up in the output's first row, and "
        "which in its second?"
    ),
)
def check_even_kernel(answer: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(kernel)``: a (3, 3) kernel mended so that stride one half
    draws no checkerboard.

    Used by a fractionally strided convolution of stride 1/2, the mended kernel turns a
    picture of ones into ones (away from the border), and weights that meet in the same
    output pixels keep their proportions. Tried on positive kernels of its own.

    Taught in chapter 5.
    """
    draw = fresh_draw()
    for _ in range(3):
        kernel = 0.2 + torch.rand((3, 3), generator=draw)
        value = answer_of(answer, kernel)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != kernel.shape:
            return judge(False, "", "return a tensor of shape (3, 3).")
        slack = 1e-4 + (
            4 * torch.finfo(value.dtype).eps if value.dtype == torch.bfloat16 else 0
        )
        value = value.detach().float()
        ones = torch.ones((1, 1, 5, 5))
        inside = functional.conv_transpose2d(ones, value[None, None], stride=2)[
            ..., 2:-2, 2:-2
        ]
        if not float(inside.max() - inside.min()) <= slack:
            hint = (
                "the four kinds of output pixel meet 1, 2, 2 and 4 of the "
                "weights: which are they?"
            )
            return judge(False, "", f"ones do not become even; {hint}")
        if abs(float(inside.mean()) - 1) > slack:
            return judge(
                False, "", f"even, but ones become {float(inside.mean()):.3g}."
            )
        right = kernel.clone()
        for rows in (slice(0, 3, 2), slice(1, 2)):
            for columns in (slice(0, 3, 2), slice(1, 2)):
                right[rows, columns] /= right[rows, columns].sum()
        if not torch.allclose(value, right, atol=slack, rtol=0):
            return judge(
                False,
                "",
                "even, but weights that meet in one pixel lost their proportions.",
            )
    return judge(
        True,
        "each kind of output pixel gets weights that add up to 1, so ones stay ones.",
        "",
    )


@exercise(
    chapter=5,
    label="ex-forward-step",
    second=(
        "take two photographs, one with all the style and one with none, and print "
        "the Gram matrices that your loss compares; then print the gradient's norm in "
        "two steps with a learning rate of 0."
    ),
)
def check_training_step(answer: Callable[..., float]) -> bool:
    """Check ``answer(network, optimizer, phi, photos, gram, style_weight)``: one step
    of training, and its loss.

    The loss is the feature loss to the photographs (N, 3, H, W) plus ``style_weight``
    times the style loss to the Gram matrix ``gram`` (1, C, C), as in Johnson et al.
    (2016), both means over the batch. ``phi(pictures)`` gives features (N, C, H, W).
    The network has batch normalisation and is in training. Several steps are taken.
    Tried on networks and photographs of its own.

    Taught in chapter 5.
    """
    draw = fresh_draw()
    kernel = torch.randn((5, 3, 3, 3), generator=draw) / 3

    def phi(pictures: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(pictures, kernel.to(pictures), padding=1).relu()

    for count in (2, 3):
        # so that the pictures' statistics differ
        contrast = torch.linspace(0.1, 1, count).view(-1, 1, 1, 1)
        photos = 0.5 + contrast * (torch.rand((count, 3, 9, 8), generator=draw) - 0.5)
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 3, 1),
        )
        twin, begin = (
            copy.deepcopy(network),
            [p.detach().clone() for p in network.parameters()],
        )
        optimizer, other = (
            torch.optim.SGD(n.parameters(), lr=1e-3) for n in (network, twin)
        )
        # a target between the pictures' own, and a weight at which both terms count
        with torch.no_grad():
            y = phi(copy.deepcopy(network)(photos))
            gram = gram_matrix(y).mean(0, keepdim=True)
            style_weight = float(feature_loss(y, phi(photos)) / style_loss(y, gram))
        modes: list[bool] = []
        network[1].register_forward_pre_hook(
            lambda module, _, m=modes: m.append(module.training)
        )
        for step in range(3):
            value = answer_of(
                lambda n=network, o=optimizer, x=photos, g=gram, w=style_weight: float(
                    answer(n, o, phi, x.clone(), g.clone(), w)
                )
            )
            if value is None:
                return False
            if not modes or not all(modes):
                hint = (
                    "what does batch normalisation do in eval mode, and what does "
                    "it never learn there?"
                )
                return judge(False, "", f"the network was not in training; {hint}")
            output = twin(photos)
            y = phi(output)
            content_term = feature_loss(y, phi(photos))
            loss = content_term + style_weight * style_loss(y, gram)
            in_one_pot = y.transpose(0, 1).flatten(1)[None, :, None]
            pot = float(
                (content_term + style_weight * style_loss(in_one_pot, gram)).detach()
            )
            right = float(loss.detach())
            if step == 0 and abs(value / right - 1) > 0.01:
                if abs(value / pot - 1) < 0.01:
                    return judge(
                        False,
                        "",
                        "too much style in one photo pays for too little in another.",
                    )
                hint = (
                    "per picture a mean over features and a sum over Gram entries, "
                    "then a mean over the batch"
                )
                return judge(False, "", f"the loss is not the objective; {hint}.")
            other.zero_grad()
            loss.backward()
            other.step()
            moved, wanted = (
                torch.cat(
                    [
                        (p.detach() - b).flatten()
                        for p, b in zip(n.parameters(), begin, strict=True)
                    ]
                )
                for n in (network, twin)
            )
            if not (moved - wanted).norm() < 0.02 * wanted.norm():
                if not moved.any():
                    return judge(
                        False,
                        "",
                        "no weight has moved; is the gradient there "
                        "when the step is taken?",
                    )
                if step:
                    return judge(
                        False,
                        "",
                        "the first step is right, a later one is "
                        "not; what is left over?",
                    )
                return judge(
                    False,
                    "",
                    "the weights did not follow the gradient of the loss you return.",
                )
    return judge(
        True,
        "every photo is judged by itself, and every step has its own gradient.",
        "",
    )
