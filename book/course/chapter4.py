"""Graded siblings of the exercises of chapter 4: weights, a loop, and a truce."""

from __future__ import annotations

import random
from fractions import Fraction

from .graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with normalisations, ranges and
    numbers of its own.
    """
    return [_weight(draw), _loop(draw), _truce(draw)]


def _weight(draw: random.Random) -> Graded:
    here, there = draw.sample(["johnson", "gatys", "mean"], 2)
    given = draw.choice([2, 3, 5, 8])
    style = {"johnson": "1.0", "gatys": "0.25", "mean": "1 / style_channels**2"}
    content = {"johnson": "1.0", "mean": "1.0", "gatys": "math.prod(content_shape) / 2"}

    def code(factor: str) -> str:
        return f'''import math


def convert(style_weight, style_channels, content_shape):
    """The style weight that under "{there}" keeps the balance that style_weight has \
under "{here}"."""
    style_here, style_there = {style[here]}, {style[there]}
    content_here, content_there = {content[here]}, {content[there]}
    return style_weight * {factor}
'''

    return Graded(
        name="ch4-convert",
        title="A weight changes hands",
        points=4,
        statement=f"""A published program uses the normalisation `"{here}"`, yours \
uses `"{there}"` (both as in `feature_loss` and `style_loss`).
Its content weight is {given}, and so is yours. It has one style layer with \
`style_channels` channels, and one content layer of
`content_shape` (C, H, W). Write `convert(style_weight, style_channels, \
content_shape)`: the style weight with which your
style term and your content term are in the same proportion as theirs, whatever the \
pictures are.""",
        starter=f'''def convert(style_weight, style_channels, content_shape):
    """The style weight that under "{there}" keeps the balance that style_weight has \
under "{here}"."""
    raise NotImplementedError
''',
        solution=code("style_here / style_there * content_there / content_here"),
        visible="""value = convert(1e-3, 4, (3, 5, 6))
assert value is not None, "end the function with return"
assert value > 0, "a weight is above 0"
assert abs(convert(2e-3, 4, (3, 5, 6)) / value - 2) < 1e-6, "twice the weight there is \
twice the weight here"
""",
        hidden=f"""import torch

from pltutorial import feature_loss, style_loss

for trial in range(5):
    channels, *shape = torch.randint(3, 12, (4,)).tolist()
    one, other = torch.rand(2, 1, channels, 6, 7, dtype=torch.float64)
    near, far = torch.rand(2, 1, *shape, dtype=torch.float64)
    weight = 10 ** float(torch.rand(()) * 6 - 4)
    weights = {{"{here}": weight, "{there}": float(convert(weight, channels, \
tuple(shape)))}}
    balance = [
        w * style_loss(one, other, normalization=how) / feature_loss(near, far, \
normalization=how)
        for how, w in weights.items()
    ]
    assert abs(balance[1] / balance[0] - 1) < 1e-3, "the balance of style and content \
has changed"
""",
        wrong=(
            code("1.0"),
            code("style_there / style_here * content_here / content_there"),
            code("style_here / style_there * content_there / content_here / 2"),
            code(
                "style_here / style_there * content_there / "
                "content_here * style_channels"
            ),
        ),
    )


def _loop(draw: random.Random) -> Graded:
    low, high = draw.choice(
        [(-1.0, 1.0), (-0.5, 0.5), (0.1, 0.9), (0.0, 2.0), (-2.0, 2.0)]
    )
    border, rate = draw.choice([1, 2, 3]), round(0.04 * (high - low), 3)
    optimizer = draw.choice(
        [f"torch.optim.Adam([pixels], lr={rate})", "torch.optim.SGD([pixels], lr=0.2)"]
    )

    def code(
        begin: str = "start.clone().requires_grad_()",
        frame: str = "pixels.grad *= inside",
        clamp: str = f"pixels.data.clamp_({low}, {high})",
    ) -> str:
        return f'''import torch


def retouch(objective, start, steps):
    """A picture in [{low}, {high}] downhill from start; its outermost {border} pixels \
stay as they are."""
    inside = torch.zeros_like(start)
    inside[..., {border}:-{border}, {border}:-{border}] = 1
    pixels = {begin}
    optimizer = {optimizer}
    for _ in range(steps):
        optimizer.zero_grad()
        objective(pixels).backward()
        {frame}
        optimizer.step()
        {clamp}
    return pixels.detach()
'''

    copied = f"pixels = pixels.detach().clamp({low}, {high}).requires_grad_()"
    return Graded(
        name="ch4-retouch",
        title="A frame that stays",
        points=5,
        statement=f"""`retouch(objective, start, steps)` should move a picture (1, 3, \
H, W) downhill on any objective. In this program
pictures have values in [{low:g}, {high:g}], before and after, and the outermost \
{border} {"pixel" if border == 1 else "pixels"} on each side must keep their values. \
`start` itself must not change. The code below does none of
this, though no error is raised. Find its faults and mend them; leave the optimiser \
and its step length as they are.""",
        starter=code(
            "start.requires_grad_()", "pass", copied.replace(f"{low}, {high}", "0, 1")
        ),
        solution=code(),
        visible=f"""import torch

start = torch.full((1, 3, 9, 10), {(low + high) / 2})
found = retouch(lambda picture: (picture - {high}).square().sum(), start.clone(), 80)
assert found.shape == start.shape, "return a picture of the start's shape"
assert abs(float(found[0, 0, 4, 4]) - {high}) < {0.1 * (high - low)}, "a pixel in the \
middle should get near the goal"
assert torch.equal(found[..., :{border}, :], start[..., :{border}, :]), "the frame at \
the top has moved"
""",
        hidden=f"""import torch

low, high, b = {low}, {high}, {border}
for trial in range(4):
    start, goal = low + (high - low) * torch.rand(2, 1, 3, 9, 11)
    goal[..., 4, 4:7] = torch.tensor([low - 1, high + 1, high + 1])  # out of reach: \
the values end at the rim
    weight = 0.5 + torch.rand(1, 3, 9, 11)
    given = start.clone()
    found = retouch(lambda picture: (weight * (picture - goal).square()).sum(), given, \
80)
    assert torch.equal(given, start), "the start was changed"
    assert not found.requires_grad, "the result still carries a gradient"
    assert found.min() >= low and found.max() <= high, "values left the range"
    frame = torch.ones_like(start, dtype=torch.bool)
    frame[..., b:-b, b:-b] = False
    assert torch.equal(found[frame], start[frame]), "the frame has moved"
    left, way = ((picture - goal.clamp(low, high))[~frame].square().sum() for picture \
in (found, start))
    assert left < 0.03 * way, "the middle did not come near the goal"
""",
        wrong=(
            code(
                "start.requires_grad_()",
                "pass",
                copied.replace(f"{low}, {high}", "0, 1"),
            ),
            code(begin="start.requires_grad_()"),
            code(frame="pass"),
            code(clamp=copied),
            code(clamp="pixels.data.clamp_(0, 1)")
            if (low, high) != (0.0, 1.0)
            else code(clamp="pass"),
            code(clamp="pass"),
        ),
    )


def _truce(draw: random.Random) -> Graded:
    one, two = draw.sample(range(2, 7), 2)
    scale = draw.choice([Fraction(3, 2), Fraction(5, 4), Fraction(4, 3)])
    strength = Fraction(one**2 + two**2, 200)  # the content's mean square
    wanted = strength * draw.choice([4, 5, 6])  # the style's
    weight = (scale - 1) / (2 * scale * (wanted - scale**2 * strength))
    return Graded(
        name="ch4-truce",
        title="Where the front line lies",
        points=4,
        statement=f"""The toy of the chapter, with other numbers: one channel, a \
network that hands the pixels through, the content target
({one / 10:g}, {two / 10:g}), and a style target whose Gram matrix is \
{float(wanted):g}. The objective is the content term (a mean over both
pixels) plus $\\lambda$ times the squared difference of the Gram matrices.

1. For which $\\lambda$ does the truce lie at {scale} times the content? Show the steps.
2. Towards which picture does it move as $\\lambda$ grows without bound, and why not \
towards the style picture?
3. Your colleague multiplies both weights by 100. What changes in the truce, and what \
could change in her run?""",
        rubric="""1 point: both terms as functions of the scale s, or both gradients.
1 point: the right number for lambda.
1 point: the limit is the content scaled to the style's strength; the Gram matrix \
knows no place.
1 point: the truce stays; only an optimiser whose step grows with the gradient runs \
differently.""",
        answer=f"""For y = s c with mean square m = {float(strength):g} of c, the \
content term is (s - 1)^2 m and the Gram matrix s^2 m.
The derivative by s is 2 (s - 1) m + 4 lambda s m (s^2 m - g). It vanishes for
lambda = (s - 1) / (2 s (g - s^2 m)) = {weight} = {float(weight):.4g}. (Across this \
line nothing pulls: both gradients point along c.)
As lambda grows, s^2 m tends to g, so the picture tends to \
{(float(wanted / strength)) ** 0.5:.3g} times the content: strength comes from
the style, place from the content. With both weights 100 times as large the truce is \
the same; plain gradient descent
takes steps 100 times as long, while Adam and L-BFGS choose their own.""",
    )
