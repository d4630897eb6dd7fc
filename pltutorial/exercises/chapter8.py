"""Checks of the exercises of chapter 8, inverting features."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from .verdicts import answer_of, judge


def check_best_pictures(answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(pictures, codes)``: what to draw of each code for the least expected squared error, (N, 3, H, W).

    The pictures (N, 3, H, W) are equally likely, and nothing is known of one but its code, (N, C, h, w). Tried on
    pictures and codes of its own.

    Taught in chapter 8.
    """
    draw = torch.Generator().manual_seed(81)
    for owners in ([0, 1, 0, 0, 2], [0, 1, 2], [0, 0]):
        pictures = torch.rand((len(owners), 3, 4, 6), generator=draw)
        different = torch.rand((max(owners) + 1, 5, 2, 3), generator=draw)
        different[1:, 0] = different[:1, 0]  # codes that agree in a channel and are not equal
        codes = different[owners]
        value = answer_of(answer, pictures.clone(), codes.clone())
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != pictures.shape:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            return judge(
                False, "", f"return a drawing for each picture, {tuple(pictures.shape)}; yours is {got}."
            )
        number = torch.tensor(owners)
        right = torch.stack([pictures[number == one].mean(0) for one in owners])
        if torch.allclose(value, right, atol=1e-5):
            continue
        if torch.allclose(value, pictures, atol=1e-5):
            hint = "two pictures with one code were drawn differently, but the code is all one knows."
        elif torch.allclose(value, pictures.mean(0, keepdim=True).expand_as(pictures), atol=1e-5):
            hint = "this is the mean of all pictures; only those with the same code are still possible."
        elif any(
            torch.allclose(value, torch.stack([pictures[number == one][k] for one in owners]), atol=1e-5)
            for k in (0, -1)
        ):
            hint = "you drew one of the pictures that are possible; by squared error something between them is cheaper."
        else:
            hint = "for each code take the mean of the pictures whose codes are equal to it in all numbers."
        return judge(False, "", hint)
    return judge(True, "pictures with one code share one drawing, their mean.", "")


def check_pause(answer: Callable[[torch.Tensor, torch.Tensor], bool]) -> bool:
    """Check ``answer(real, made)``: whether the discriminator is to pause, from its logits for both kinds of pictures.

    It pauses while its loss, mean -log D(real) + mean -log(1 - D(made)), is less than a tenth of the generator's
    mean -log D(made). Tried on logits of its own, some of them very large.

    Taught in chapter 8.
    """
    cases = [(0.0, 0.0), (2.0, -2.0), (3.0, -3.0), (8.0, -1.5), (1.0, -12.0), (-4.0, -30.0), (200.0, -200.0)]
    cases += [(-200.0, 200.0), (-150.0, -3000.0), (4.0, 4.0), (2.3, -2.6)]
    draw = torch.Generator().manual_seed(82)
    said: list[tuple[bool, torch.Tensor, torch.Tensor]] = []
    for real, made in cases:
        wobble = torch.randn((2, 3, 1, 2), generator=draw) / 4
        logits = (real + wobble[0], made + wobble[1])
        value = answer_of(answer, *(one.clone() for one in logits))
        if value is None:
            return False
        try:
            said.append((bool(value), *logits))
        except (RuntimeError, ValueError, TypeError):
            return judge(False, "", "return one True or False for all squares together.")

    def fits(rule: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> bool:
        return all(value == bool(rule(real, made)) for value, real, made in said)

    def won(real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        return _judge_loss(real, made) < 0.1 * F.softplus(-made).mean()

    if fits(won):
        return judge(True, "it pauses when it is ten times better off, however large the logits.", "")
    wrong = {
        "the sense is turned round: a small loss of the discriminator means that it wins.": lambda r, m: (
            ~won(r, m)
        ),
        "the probability of a logit of -200 is 0 in float32, and log 0 is infinite; use softplus.": _overflowing,
        "the loss of the discriminator has two parts; count the drawings too.": lambda r, m: (
            F.softplus(-r).mean() < 0.1 * F.softplus(-m).mean()
        ),
        "the loss of the discriminator has two parts; count the photographs too.": lambda r, m: (
            F.softplus(m).mean() < 0.1 * F.softplus(-m).mean()
        ),
        "it is to pause below a tenth of the generator's loss, not below all of it.": lambda r, m: (
            _judge_loss(r, m) < F.softplus(-m).mean()
        ),
    }
    for hint, rule in wrong.items():
        if fits(rule):
            return judge(False, "", hint)
    return judge(False, "", "compare mean -log D(real) + mean -log(1 - D(made)) with 0.1 mean -log D(made).")


def _judge_loss(real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    return F.softplus(-real).mean() + F.softplus(made).mean()


def _overflowing(real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    real, made = torch.sigmoid(real), torch.sigmoid(made)
    return -(real.log().mean() + (1 - made).log().mean()) < 0.1 * -made.log().mean()
