"""Graded siblings of the exercises of chapter 2: another network's field, another
house's input, a layer to choose.
"""

from __future__ import annotations

import random

from .graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with networks, colour orders and
    shifts of its own.
    """
    return [_field(draw), _prepare(draw), _choose(draw)]


def _fields(
    convolutions: list[int], kernel: int, pool: int
) -> dict[tuple[int, int], int]:
    """Sides of the receptive fields, traced back from one value."""
    found = {}
    for block, count in enumerate(convolutions, 1):
        for index in range(1, count + 1):
            first = last = 0
            layers = [
                (b, i)
                for b, n in enumerate(convolutions, 1)
                for i in range(1, n + 1)
                if (b, i) <= (block, index)
            ]
            for b, i in reversed(layers):
                first, last = first - (kernel - 1) // 2, last + (kernel - 1) // 2
                if i == 1 and b > 1:
                    first, last = pool * first, pool * last + pool - 1
            found[block, index] = last - first + 1
    return found


def _field(draw: random.Random) -> Graded:
    convolutions = [draw.choice([1, 2, 3]) for _ in range(draw.choice([3, 4]))]
    kernel, pool = draw.choice([(3, 3), (5, 2), (5, 3), (7, 2)])
    fields = _fields(convolutions, kernel, pool)

    def code(after: str, grow: str = f"{kernel - 1} * step") -> str:
        return f'''CONVOLUTIONS = {convolutions}


def field(block, index):
    """The side in pixels that a value after convolution `index` of block `block` \
depends on, both from 1."""
    side, step = 1, 1
    for earlier in CONVOLUTIONS[: block - 1]:
        side += earlier * {grow}
        {after}
    return side + index * {grow}
'''

    return Graded(
        name="ch2-field",
        title="How far another network sees",
        points=4,
        statement=f"""A network has {len(convolutions)} blocks with \
{", ".join(map(str, convolutions))} convolutions of {kernel}×{kernel} (stride 1, \
padded). Between two blocks stands a max pooling of {pool}×{pool} with stride {pool}. \
Write `field(block, index)`: the side, in pixels of the picture, of the square on \
which one value after the convolution `index` of that block depends. Both count from \
1.""",
        starter='''def field(block, index):
    """The side in pixels that a value after convolution `index` of block `block` \
depends on, both from 1."""
    raise NotImplementedError
''',
        solution=code(f"side += {pool - 1} * step\n        step *= {pool}"),
        visible=f"""assert field(1, 1) == {kernel}, "one convolution sees just its \
kernel"
assert field(2, 1) > field(1, 1), "deeper layers see further"
""",
        hidden=f"""right = {fields}
for (block, index), side in right.items():
    assert field(block, index) == side, "a field of the network is not right"
""",
        wrong=(
            code(f"step *= {pool}"),  # pooling widens nothing
            # the step grows too early
            code(f"step *= {pool}\n        side += {pool - 1} * step"),
            code(
                f"side += {pool - 1} * step\n        step *= {pool}",
                grow=f"{kernel} * step",
            ),
            code(f"side += {pool - 1} * step\n        step *= 2 if {pool} == 3 else 3"),
        ),
    )


def _prepare(draw: random.Random) -> Graded:
    means = [round(draw.uniform(95, 125), 1) for _ in range(3)]
    scales = [round(draw.uniform(0.5, 2.0), 2) for _ in range(3)]
    order = draw.choice(["BGR", "GBR", "BRG", "GRB", "RBG"])
    picks = ["RGB".index(letter) for letter in order]
    constants = f"MEANS, SCALES = {means}, {scales}"

    def code(lines: str) -> str:
        return f'''import torch

{constants}  # in the order {order}


def prepare(picture):
    """What the network wants of a picture (N, 3, H, W), RGB in [0, 1]: {order}, 0 to \
255, less MEANS, over SCALES."""
    means, scales = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEANS, \
SCALES))
{lines}
'''

    right = f"    return (255 * picture[:, {picks}] - means) / scales"
    return Graded(
        name="ch2-prepare",
        title="A network from another house",
        points=4,
        statement=f"""A colleague uses a loss network from elsewhere. It was trained \
on pictures with the channels in the order {order} and values from 0 to 255; from each \
channel its mean is subtracted, then it is divided by its scale. `MEANS` and `SCALES` \
are in the order {order} too. `prepare` runs, and the feature loss even falls, but the \
features are poor. Find the faults and mend them. Optimisation goes through `prepare`, \
so the gradient has to reach every value of the picture, also where it has strayed a \
little outside [0, 1], and the picture itself must stay what it was.""",
        starter=code(
            "    picture = (picture.clamp(0, 1) - means / 255) / scales\n"
            "    return 255 * picture.flip(-1)"
        ),
        solution=code(right),
        visible="""import torch

picture = torch.rand(2, 3, 5, 6)
assert prepare(picture).shape == picture.shape, "the shape stays what it is"
grey = prepare(torch.full((1, 3, 4, 4), 0.5))
assert (grey == grey[..., :1, :1]).all(), "a sheet of one grey stays flat in each \
channel"
""",
        hidden=f"""import torch

picks, means, scales = {picks}, {means}, {scales}
for count, low, high in ((1, 0.0, 1.0), (3, 0.0, 1.0), (2, -0.2, 1.2)):
    picture = (low + (high - low) * torch.rand(count, 3, 5, 7)).requires_grad_()
    before = picture.detach().clone()
    value = prepare(picture)
    assert torch.equal(picture.detach(), before), "the picture was changed"
    for channel in range(3):
        right = (255 * before[:, picks[channel]] - means[channel]) / scales[channel]
        assert torch.allclose(value[:, channel], right, atol=1e-2, rtol=1e-4), "the \
network gets another picture"
    value.sum().backward()
    for channel in range(3):
        slope = picture.grad[:, picks[channel]]
        assert torch.allclose(slope, torch.full_like(slope, 255 / scales[channel]), \
rtol=1e-4), "no true gradient"
""",
        wrong=(
            # the order of the channels
            code("    return (255 * picture - means) / scales"),
            code(
                f"    return ((255 * picture - means) / scales)[:, {picks}]"
            ),  # constants in the wrong order
            code(right.replace("255 * picture", "255 * picture.clamp(0, 1)")),
            code(right.replace("255 * picture", "picture")),
            # flips the width
            code("    return (255 * picture.flip(-1) - means) / scales"),
            code(right.replace("/ scales", "* scales")),
            code(right.replace("255 * picture", "(255 * picture).round()")),
        ),
    )


def _choose(draw: random.Random) -> Graded:
    jitter = draw.choice([2, 3, 4])
    shallow, deep = draw.choice(
        [("relu1_2", "relu4_3"), ("relu2_2", "relu5_3"), ("relu2_2", "relu4_3")]
    )
    sides = {"relu1_2": 5, "relu2_2": 14, "relu4_3": 92, "relu5_3": 196}
    steps = {"relu1_2": 1, "relu2_2": 2, "relu4_3": 8, "relu5_3": 16}
    return Graded(
        name="ch2-choose",
        title="Which layer for which camera?",
        points=6,
        statement=f"""Pairs of photographs from two cameras are to train a network \
that repairs the first camera's pictures. The pairs fit only up to a shift of {jitter} \
pixels. One colleague proposes a feature loss at `{shallow}`, another at `{deep}`.

(a) Give the receptive field of both layers, and the distance in pixels between two \
neighbouring positions. (b) Which of the two treats a blur as worse than a shift of \
{jitter} pixels? Refer to a measurement of chapter 2. (c) What will go wrong with the \
other, and what may go wrong with the one you prefer? (d) Propose a loss you would \
train with, and an experiment that would show you wrong.""",
        rubric="""1 point: (a) all four numbers. 1 point: (b) the deep layer, with the \
duel of shift and blur (the verdict turns between relu2_2 and relu3_3). 2 points: (c) \
the shallow one punishes sharp but shifted answers and so rewards blur (1); the deep \
one hardly fixes exact place and fine noise, and colours only weakly (1). 2 points: \
(d) a combination with a reason, such as a middle layer with a weak prior against \
noise (1), and an experiment with a result that would refute it (1).""",
        answer=f"""(a) {shallow}: {sides[shallow]} pixels, a step of {steps[shallow]}; \
{deep}: {sides[deep]} pixels, a step of {steps[deep]}. (b) {deep}: from relu3_3 on the \
blur costs more than the shift; at relu1_2 and relu2_2, as in pixels, the shift does. \
(c) At {shallow} a sharp picture {jitter} pixels off costs more than a blurred one, \
and the unknown shift makes several answers right, so the network will blur. At {deep} \
many pictures have nearly the same features: colours drift, places are vague, and \
noise that hardly changes the features stays. (d) For example relu3_3 with a small \
total variation and a weak pixel loss on strongly smoothed pictures, which hold the \
colours. Shift the pairs on purpose by 0, {jitter} and {2 * jitter} pixels and train \
three times: if sharpness falls as it does for the pixel loss, the choice was wrong.""",
    )
