"""Checks of the exercises of chapter 8, inverting features."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from .verdicts import (
    answer_of,
    exercise,
    fresh_draw,
    judge,
    near,
    shape_or_type,
)


@exercise(
    chapter=8,
    label="ex-inversion-best",
    second=(
        "take one picture at a time: which of all the pictures might it have been, "
        "for one who sees the code only?"
    ),
)
def check_best_pictures(
    answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> bool:
    """Check ``answer(pictures, codes)``: what to draw of each code for the least
    expected squared error, (N, 3, H, W).

    The pictures (N, 3, H, W) are equally likely, and nothing is known of one but its
    code, (N, C, h, w). Tried on random pictures and codes.

    Taught in chapter 8.
    """
    draw = fresh_draw()
    for owners in ([0, 1, 0, 0, 2], [0, 1, 2], [0, 0]):
        number = torch.tensor(owners)[torch.randperm(len(owners), generator=draw)]
        pictures = torch.rand((len(owners), 3, 4, 6), generator=draw)
        different = torch.rand((max(owners) + 1, 5, 2, 3), generator=draw)
        # codes that agree in a channel and are not equal
        different[1:, 0] = different[:1, 0]
        value = answer_of(answer, pictures, different[number])
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != pictures.shape:
            got = shape_or_type(value)
            return judge(
                False,
                "",
                "return a drawing for each picture, "
                f"{tuple(pictures.shape)}; yours is {got}.",
            )

        def of_each(
            choose: Callable[[torch.Tensor], torch.Tensor],
            number=number,
            pictures=pictures,
        ):
            return torch.stack([choose(pictures[number == one]) for one in number])

        def same(other: torch.Tensor, value=value) -> bool:
            # Sums in bfloat16 pass; wrong pictures are farther off.
            return near(value, other, atol=0.015)

        mean = pictures.mean(0, keepdim=True).expand_as(pictures)
        if same(of_each(lambda some: some.mean(0))):
            continue
        if same(pictures):
            hint = (
                "two pictures with one code were drawn differently, but the "
                "code is all one knows."
            )
        elif same(mean):
            hint = (
                "this is the mean of all pictures; only those with the same "
                "code are still possible."
            )
        elif any(same(of_each(lambda some, k=k: some[k])) for k in (0, -1)):
            hint = (
                "you drew one of the pictures that are possible; by squared error "
                "something between them is cheaper."
            )
        elif same(of_each(lambda some: some.median(0).values)):
            hint = (
                "this is the median, which is best for the absolute error; the "
                "squared error asks for another middle."
            )
        elif same(of_each(lambda some: some.sum(0))):
            hint = "divide each sum by the number of pictures that are in it."
        else:
            hint = (
                "for each code take the mean of the pictures whose codes are equal "
                "to it in all numbers."
            )
        return judge(False, "", hint)
    return judge(True, "pictures with one code share one drawing, their mean.", "")


@exercise(
    chapter=8,
    label="ex-inversion-pause",
    second=(
        "write -log D and -log(1 - D) as functions of the logit that never become "
        "infinite, and compare three means."
    ),
)
def check_pause(answer: Callable[[torch.Tensor, torch.Tensor], bool]) -> bool:
    """Check ``answer(real, made)``: whether the discriminator is to pause, from its
    logits for both kinds of pictures.

    It pauses while its loss, mean -log D(real) + mean -log(1 - D(made)), is less
    than a tenth of the generator's mean -log D(made). Tried on random logits, some
    of them very large.

    Taught in chapter 8.
    """
    cases = [
        (0.0, 0.0),
        (2.0, -2.0),
        (3.0, -3.0),
        (8.0, -1.5),
        (1.0, -12.0),
        (-4.0, -30.0),
        (200.0, -200.0),
    ]
    cases += [
        (-200.0, 200.0),
        (-150.0, -3000.0),
        (4.0, 4.0),
        (2.3, -2.6),
        (6.0, 1.0),
        (0.5, -7.0),
        (1.0, -1.0),
    ]
    draw = fresh_draw()
    said: list[tuple[bool, torch.Tensor, torch.Tensor]] = []
    for place in torch.randperm(len(cases), generator=draw).tolist():
        logits = _clear_case(*cases[place], draw)
        value = answer_of(answer, *logits)
        if value is None:
            return False
        try:
            said.append((bool(value), *logits))
        except (RuntimeError, ValueError, TypeError):
            return judge(
                False, "", "return one True or False for all squares together."
            )

    def fits(rule: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> bool:
        return all(value == bool(rule(real, made)) for value, real, made in said)

    def won(real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
        return _judge_loss(real, made) < 0.1 * F.softplus(-made).mean()

    if fits(won):
        return judge(
            True,
            "it pauses when it is ten times better off, however large the logits.",
            "",
        )
    wrong = {
        (
            "the sense is turned round: a small loss of the "
            "discriminator means that it wins."
        ): lambda r, m: ~won(r, m),
        (
            "the probability of a logit of -200 is 0 in float32, and log 0 is "
            "infinite; use softplus."
        ): _overflowing,
        (
            "the loss of the discriminator has two parts; count the drawings too."
        ): lambda r, m: F.softplus(-r).mean() < 0.1 * F.softplus(-m).mean(),
        (
            "the loss of the discriminator has two parts; count the photographs too."
        ): lambda r, m: F.softplus(m).mean() < 0.1 * F.softplus(-m).mean(),
        (
            "it is to pause below a tenth of the generator's loss, not below all of it."
        ): lambda r, m: _judge_loss(r, m) < F.softplus(-m).mean(),
        (
            "the two are exchanged: the first logits are those of photographs."
        ): lambda r, m: won(m, r),
    }
    for hint, rule in wrong.items():
        if fits(rule):
            return judge(False, "", hint)
    return judge(
        False,
        "",
        "compare mean -log D(real) + mean -log(1 - D(made)) with "
        "0.1 mean -log D(made).",
    )


def _clear_case(
    real: float, made: float, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits near the two, drawn until the ratio of the losses is not near a tenth:
    no rounding decides.
    """
    for _ in range(100):
        wobble = torch.randn((2, 3, 1, 2), generator=draw) / 4
        logits = real + wobble[0], made + wobble[1]
        ratio = float(_judge_loss(*logits) / F.softplus(-logits[1]).mean())
        if not 0.085 < ratio < 0.12:
            break
    return logits


def _judge_loss(real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    return F.softplus(-real).mean() + F.softplus(made).mean()


def _overflowing(real: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    real, made = torch.sigmoid(real), torch.sigmoid(made)
    return -(real.log().mean() + (1 - made).log().mean()) < 0.1 * -made.log().mean()


@exercise(
    chapter=8,
    label="ex-inversion-step",
    second=(
        "write down who has a gradient before the step and after it; then which "
        "logits the loss wants large, and which small."
    ),
)
def check_discriminator_step(answer: Callable[..., float | torch.Tensor]) -> bool:
    """Check ``answer(generator, discriminator, optimizer, code, photos)``: one step
    of a discriminator.

    The optimizer takes one step on mean -log D(photos, code) + mean -log(1 -
    D(generator(code), code)), which is returned as it was before the step. The
    discriminator gives logits. What an earlier step left in its gradients does
    not count, and the generator stays as it was, weights and gradients. Tried on
    small random networks.

    Taught in chapter 8.
    """
    draw = fresh_draw()
    for _ in range(2):
        generator = _drawn(
            nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 3, 1)),
            draw,
        )
        discriminator = _drawn(_Told(), draw)
        code = torch.randn((4, 4, 6, 6), generator=draw)
        photos = torch.rand((4, 3, 6, 6), generator=draw)
        left = [
            torch.randn(p.shape, generator=draw) for p in discriminator.parameters()
        ]
        for parameter, gradient in zip(discriminator.parameters(), left, strict=True):
            parameter.grad = gradient.clone()
        before = copy.deepcopy(generator).state_dict()
        twin = copy.deepcopy(discriminator)
        optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.1)
        value = answer_of(answer, generator, discriminator, optimizer, code, photos)
        if value is None:
            return False
        try:
            value = float(value.detach() if isinstance(value, torch.Tensor) else value)
        except (TypeError, ValueError, RuntimeError):
            return judge(False, "", "return the loss, one number.")
        with torch.no_grad():
            made = generator(code)
        hint = _fault_of_step(value, discriminator, twin, left, photos, made, code)
        if any(
            not torch.equal(before[name], now)
            for name, now in generator.state_dict().items()
        ):
            hint = "the generator's weights changed; this is the discriminator's step."
        elif not all(
            p.requires_grad
            for p in [*generator.parameters(), *discriminator.parameters()]
        ):
            hint = (
                "some weights need no gradient any more, so their next step "
                "will change nothing."
            )
        elif any(
            p.grad is not None and bool(p.grad.any()) for p in generator.parameters()
        ):
            hint = (
                "the loss reached the generator: its gradients are filled, and its "
                "own step would begin with them; cut the graph at the drawing."
            )
        if hint:
            return judge(False, "", hint)
    return judge(
        True,
        "photographs up, drawings down, and nothing is left behind for "
        "the generator's step.",
        "",
    )


class _Told(nn.Module):
    """A discriminator that is told the code: a logit for each
    position of each picture.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(7, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 1, 3, padding=1)
        )

    def forward(self, picture: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        return self.body(torch.cat([picture, code], 1))


def _drawn(network: nn.Module, draw: torch.Generator) -> nn.Module:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=draw))
    return network


def _fault_of_step(
    value: float,
    stepped: nn.Module,
    twin: nn.Module,
    left: list[torch.Tensor],
    photos: torch.Tensor,
    made: torch.Tensor,
    code: torch.Tensor,
) -> str:
    """The hint for a discriminator that took another step than the right one; empty
    for the right one.
    """
    start = [parameter.detach().clone() for parameter in twin.parameters()]
    moved = [
        now.detach() - then
        for now, then in zip(stepped.parameters(), start, strict=True)
    ]

    def step(loss: torch.Tensor) -> list[torch.Tensor]:
        return [
            -0.1 * g
            for g in torch.autograd.grad(
                loss, list(twin.parameters()), retain_graph=True
            )
        ]

    def took(wanted: list[torch.Tensor]) -> bool:
        return all(
            torch.allclose(a, b, rtol=1e-2, atol=1e-4)
            for a, b in zip(moved, wanted, strict=True)
        )

    on_photos, on_made = twin(photos, code), twin(made, code)
    right, swapped = _judge_loss(on_photos, on_made), _judge_loss(on_made, on_photos)
    steps = step(right)
    stale = [a - 0.1 * b for a, b in zip(steps, left, strict=True)]
    if took(steps):
        if abs(value - float(right.detach())) < 1e-2 * abs(value):
            return ""
        return "the step is right, and the number returned is not the loss before it."
    if not any(bool(one.any()) for one in moved):
        return (
            "the discriminator did not move; the optimizer takes a step after backward."
        )
    known = {
        (
            "the labels are exchanged: its logit is to be large for photographs "
            "and small for drawings."
        ): step(swapped),
        "the sense is turned round: the discriminator's own loss is to fall.": [
            -one for one in steps
        ],
        (
            "gradients of an earlier step were still there, and "
            "yours were added to them."
        ): stale,
        "it learned from photographs alone; the loss has two parts.": step(
            F.softplus(-on_photos).mean()
        ),
        "it learned from drawings alone; the loss has two parts.": step(
            F.softplus(on_made).mean()
        ),
        "a mean over the batch was asked for, and not a sum.": step(
            right * on_photos.numel()
        ),
        "each half of the loss counts whole: their sum, and not their mean.": step(
            right / 2
        ),
    }
    hint = next((hint for hint, wanted in known.items() if took(wanted)), "")
    if not hint and took(
        [a - 0.1 * b for a, b in zip(step(swapped), left, strict=True)]
    ):
        return (
            "more than one thing is wrong; begin with the labels: which logits is "
            "the loss to make large?"
        )
    return hint or (
        "the step is not that of mean softplus(-logits of photos) + mean "
        "softplus(logits of drawings); are old gradients still there?"
    )
