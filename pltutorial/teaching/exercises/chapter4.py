"""Checks of the exercises of chapter 4, style transfer by optimisation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch.nn import functional

from ...losses import feature_loss, gram_matrix, style_loss
from ...optimize import luminance
from .verdicts import answer_of, exercise, fresh_draw, judge


@exercise(
    chapter=4,
    label="ex-gatys-weight",
    second=(
        "write both objectives for one pair of features, divide style by content in "
        "each, and ask by what number the two quotients differ."
    ),
)
def check_gatys_weight(answer: Callable[[float, tuple[int, int, int]], float]) -> bool:
    """Check ``answer(style_weight, (C, H, W))``: the style weight that
    ``normalization="gatys"`` needs.

    It keeps the balance between style and content terms that ``style_weight`` has
    under ``"johnson"``, for content features of the given shape. Tried on shapes and
    weights of its own.

    Taught in chapter 4.
    """
    draw = fresh_draw()
    factors, unchanged = [], True
    for low, high in ((3, 6), (12, 24), (6, 12)):  # no side twice, never a square map
        channels, height = torch.randint(low, high, (2,), generator=draw).tolist()
        shape = (
            channels,
            height,
            height + int(torch.randint(1, high, (), generator=draw)),
        )
        style_weight = 10 ** float(4 * torch.rand((), generator=draw) - 3)
        value = answer_of(lambda w=style_weight, s=shape: float(answer(w, s)))
        if value is None:
            return False
        one, other = torch.rand((2, 1, *shape), generator=draw)
        balance = {}
        for how, weight in (("johnson", style_weight), ("gatys", value)):
            style = weight * style_loss(one, other, normalization=how)
            balance[how] = float(style / feature_loss(one, other, normalization=how))
        factors.append(balance["gatys"] / balance["johnson"])
        unchanged &= abs(value / style_weight - 1) < 0.01
    # an answer in bfloat16 is off by up to 0.4%
    if all(abs(factor - 1) < 0.01 for factor in factors):
        return judge(
            True,
            "style and content keep their balance for every shape that was tried",
            "",
        )
    if unchanged:
        return judge(
            False,
            "",
            "the weight cannot stay what it was: one of the terms became a plain sum",
        )
    if factors[0] != 0 and all(
        abs(factor / factors[0] - 1) < 0.01 for factor in factors
    ):
        hint = "the shape is used well, the constant is not; both docstrings have one"
        return judge(
            False,
            "",
            f"style weighs {factors[0]:.4g} times too much for every shape: {hint}",
        )
    hint = "which term grows with the number of features, C H W, and which does not?"
    return judge(False, "", f"the balance shifts from shape to shape; {hint}")


@exercise(
    chapter=4,
    label="ex-gatys-luminance",
    second=(
        "a grey picture has three equal channels; what does adding one do to R - G, "
        "and what to the luminance?"
    ),
)
def check_luminance_transfer(
    answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> bool:
    """Check ``answer(output, content)``: the output's luminance with the content's
    colours, (1, 3, H, W).

    Tried on pictures of its own, with values so moderate that nothing needs clipping.

    Taught in chapter 4.
    """
    draw = fresh_draw()
    for height, width in ((6, 9), (8, 5)):
        output, content = 0.35 + 0.3 * torch.rand(
            (2, 1, 3, height, width), generator=draw
        )
        value = answer_of(answer, output, content)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != content.shape:
            return judge(
                False,
                "",
                f"return an image of shape {tuple(content.shape)}, like the content",
            )
        step = 2 * torch.finfo(value.dtype).eps if value.is_floating_point() else 0.0
        value = value.float()
        if not torch.allclose(
            luminance(value), luminance(output), atol=1e-3 + step, rtol=0
        ):
            hint = "which grey must be added, which taken away?"
            return judge(False, "", f"the luminance is not the output's: {hint}")
        grey_free = [image - luminance(image) for image in (value, content)]
        if not torch.allclose(*grey_free, atol=5e-3 + step, rtol=0):
            return judge(
                False,
                "",
                "the luminance is right, but the colours are not the content's",
            )
    return judge(
        True,
        "adding the same grey to R, G and B moves the luminance and "
        "leaves I and Q alone",
        "",
    )


@exercise(
    chapter=4,
    label="ex-gatys-loop",
    seconds=6,  # a hundred small steps, on a machine that may be busy
    second=(
        "print id(pixels), id(optimizer.param_groups[0]['params'][0]) and pixels.grad "
        "in each step, and compare them from step to step."
    ),
)
def check_descent(
    answer: Callable[[Callable, torch.Tensor, int], torch.Tensor],
) -> bool:
    """Check ``answer(objective, start, steps)``: a picture in [0, 1] that lies
    downhill from ``start``.

    ``objective(image)`` is a number with a gradient, here a weighted squared distance
    from a goal that lies partly outside [0, 1]. The start stays what it was, gradients
    of different steps do not add up, and the result carries no gradient. Any optimiser
    will do. Tried on starts and goals of its own.

    Taught in chapter 4.
    """
    draw = fresh_draw()
    # the second goal lies partly outside, where L-BFGS comes to rest early and goes
    # astray after some ten steps
    for spread, steps in ((0.8, 40), (1.6, 8)):
        start, goal, weight = torch.rand((3, 1, 3, 6, 7), generator=draw)
        hill, given = _Hill(0.5 + spread * (goal - 0.5), 0.5 + weight), start.clone()
        # the very tensor, no copy of it
        value = answer_of(lambda h=hill, g=given, n=steps: answer(h, g, n))
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != start.shape:
            return judge(
                False,
                "",
                f"return a picture of shape {tuple(start.shape)}, like the start",
            )
        if not torch.equal(given, start) or given.requires_grad:
            hint = "the optimiser needs a picture of its own"
            return judge(False, "", f"the start was changed by your function; {hint}")
        if hill.added_up:
            hint = "who empties the gradient before each backward pass?"
            return judge(False, "", f"the gradients of several steps added up; {hint}")
        if value.requires_grad:
            return judge(
                False, "", "the picture still carries a gradient; a result is detached"
            )
        if not (value.min() >= 0 and value.max() <= 1):
            hint = "where, and in which tensor, are they clamped?"
            return judge(False, "", f"values left the range from 0 to 1; {hint}")
        before, after = (float(hill.value(picture)) for picture in (start, value))
        if spread < 1 and after < before and hill.stands_still():
            hint = (
                "is the picture that is judged still the one that the optimiser holds?"
            )
            return judge(
                False, "", f"after the first steps the picture no longer moves; {hint}"
            )
        if spread < 1 and not after < 0.05 * before:
            hint = (
                "follow the total and the pixels step by step: does "
                "each step go downhill?"
            )
            if after < before and hill.never_rises():
                hint = (
                    "each step goes downhill, but they are too short: take longer ones"
                )
            return judge(False, "", f"40 steps did not come near the goal; {hint}")
    return judge(
        True,
        "one picture is held, judged, moved and clamped, and each step "
        "has its own gradient",
        "",
    )


@exercise(
    chapter=4,
    label="ex-gatys-target",
    seconds=6,  # a hundred small steps, on a machine that may be busy
    second=(
        "try a style weight of almost nothing: whose features is the output compared "
        "with after the first step? Then take a style twice as large as the content "
        "and print both Gram matrices of one flat grey."
    ),
)
def check_transfer(answer: Callable[..., torch.Tensor]) -> bool:
    """Check ``answer(phi, content, style, style_weight, steps)``: a small
    style transfer by hand.

    ``phi(picture)`` gives features (1, C, H, W). The objective is the feature loss
    to the content plus the style weight times the style loss, both as in Johnson et
    al. (2016); content and style have different sizes. Tried on a network and
    pictures of its own, with style weights from next to nothing to so much that
    only the style counts.

    Taught in chapter 4.
    """
    draw = fresh_draw()
    kernel = torch.randn((6, 3, 3, 3), generator=draw) / 3
    # no picture leaves every feature at zero
    kernel *= kernel.sum((1, 2, 3), keepdim=True).sign()

    def phi(picture: torch.Tensor) -> torch.Tensor:
        # so that tiles have the tile's statistics
        around = functional.pad(picture, (1, 1, 1, 1), mode="circular")
        return functional.conv2d(around, kernel.to(picture)).relu()

    content = 0.25 + 0.5 * torch.rand((1, 3, 8, 9), generator=draw)
    # within reach: a darker content has its statistics
    dark = 0.1 + 0.15 * torch.rand((1, 3, 16, 18), generator=draw)
    again = content.repeat(1, 1, 2, 3)  # six times as large, the same Gram matrix
    scale = float(phi(content).square().mean() / style_loss(phi(content), phi(dark)))
    for style, style_weight in (
        (dark, 1e-6 * scale),
        (again, 1e2 * scale),
        (dark, 30 * scale),
    ):
        given = content.clone()
        value = answer_of(
            lambda c=given, s=style, w=style_weight: answer(phi, c, s.clone(), w, 60)
        )  # no copy
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != content.shape:
            return judge(
                False,
                "",
                f"return a picture of shape {tuple(content.shape)}, like the content",
            )
        value = value.detach().float()
        if not torch.equal(given, content):
            hint = "what is it compared with, once it has moved?"
            return judge(False, "", f"the content picture itself was repainted; {hint}")
        if not (value.min() >= 0 and value.max() <= 1):
            return judge(
                False,
                "",
                "values left the range from 0 to 1; clamp after each step, in place",
            )
        lost = float(
            feature_loss(phi(value), phi(content)) / phi(content).square().mean()
        )
        if style_weight < scale and not lost < 0.2:
            hint = "what does the content term compare the output with?"
            return judge(
                False, "", f"with next to no style weight the content is lost; {hint}"
            )
        largest = 0.3 * gram_matrix(phi(style)).square().sum()
        if style is again and not style_loss(phi(value), phi(style)) < largest:
            hint = (
                "the style is the content, tiled; does each Gram "
                "matrix know its own size?"
            )
            return judge(
                False, "", f"a style that agrees already was painted away; {hint}"
            )
        left = float(
            style_loss(phi(value), phi(style)) / style_loss(phi(content), phi(style))
        )
        if style is dark and style_weight > scale and not left < 0.8:
            return judge(
                False,
                "",
                "with a large style weight the style term hardly "
                "falls; who asks for it?",
            )
    return judge(
        True,
        "both targets stand still, each Gram matrix has its own size, "
        "and the photo is kept",
        "",
    )


class _Hill:
    """A weighted squared distance from a goal, which notes what its
    callers do with it.
    """

    def __init__(self, goal: torch.Tensor, weight: torch.Tensor) -> None:
        self.goal, self.weight = goal, weight
        self.seen: list[torch.Tensor] = []
        self.added_up = False
        self._watched: list[torch.Tensor] = []
        self._scale: torch.Tensor | None = None

    def value(self, image: torch.Tensor) -> torch.Tensor:
        return (self.weight.to(image) * (image - self.goal.to(image)).square()).sum()

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(image.detach().clone())
        if (
            image.is_leaf
            and image.requires_grad
            and not any(image is one for one in self._watched)
        ):
            self._watched.append(image)
            image.register_post_accumulate_grad_hook(self._compare)
        return self.value(image)

    def _compare(self, image: torch.Tensor) -> None:
        """What lies in .grad after a backward pass is the gradient of this pass alone,
        on the scale of the first.
        """
        own = self.weight.to(image) * (self.seen[-1].to(image) - self.goal.to(image))
        if self._scale is None:
            self._scale = image.grad.flatten() @ own.flatten() / own.square().sum()
        own = self._scale * own
        if (image.grad - own).norm() > 0.05 * own.norm() + 1e-3 * self._scale.abs():
            self.added_up = True

    def never_rises(self) -> bool:
        """No picture that was judged is worse than the one before it."""
        values = [float(self.value(picture.float())) for picture in self.seen]
        return all(late <= early * 1.001 for early, late in pairwise(values))

    def stands_still(self) -> bool:
        """The second half of the pictures are all alike, and none is good."""
        half = self.seen[len(self.seen) // 2 :]
        best = self.value(self.goal.clamp(0, 1))
        moved = max((float((one - half[0]).abs().max()) for one in half), default=0.0)
        first, last = (
            (self.value(picture) - best for picture in (self.seen[0], half[-1]))
            if half
            else (1, 0)
        )
        return bool(moved == 0 and last > 0.05 * first)
