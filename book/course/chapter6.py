"""Graded siblings of the exercises of chapter 6: another measure, an enlargement that
shifts, and the price of likeness.
"""

from __future__ import annotations

import math
import random

from .graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with bits, weights, factors and
    a share of its own.
    """
    return [_measure(draw), _enlarge(draw), _price(draw)]


def _measure(draw: random.Random) -> Graded:
    bits, border = draw.choice([5, 6, 7, 10]), draw.choice([2, 3, 5])
    name, shares = draw.choice(
        [
            ("BT.709", (0.2126, 0.7152, 0.0722)),
            ("BT.2020", (0.2627, 0.678, 0.0593)),
            ("BT.601", (0.299, 0.587, 0.114)),
        ]
    )
    levels = 2**bits - 1

    def code(
        round_to: int = levels,
        weights: tuple[float, ...] = shares,
        crop: str = f"[..., {border}:-{border}, {border}:-{border}]",
        peak: str = "1",
        clamp: str = ".clamp(0, 1)",
    ) -> str:
        return f'''import torch


def measure(output, target):
    """The PSNR of {name} brightness at {bits} bits, without {border} pixels at each \
border, in decibels, (N,)."""
    weights = torch.tensor({list(weights)}).view(3, 1, 1)
    y, t = (
        ((picture{clamp} * {round_to}).round() / {round_to} * weights).sum(1) for \
picture in (output, target)
    )
    error = (y - t){crop}.square().mean((1, 2))
    return 10 * torch.log10({peak} / error)
'''

    return Graded(
        name="ch6-measure",
        title="A measure for another standard",
        points=5,
        statement=f"""For a camera with {bits} bits a laboratory wants its own PSNR. \
Write `measure(output, target)` for two batches
(N, 3, H, W), one number a picture, (N,):

1. clamp both to [0, 1] and round them to the {levels + 1} values of {bits} bits, 0 to \
1 in equal steps;
2. take the brightness of {name}, full range: {shares[0]} R + {shares[1]} G + \
{shares[2]} B;
3. leave out {border} pixels at each of the four borders;
4. the mean squared error, picture by picture, and PSNR in decibels with the peak 1.""",
        starter=f'''import torch


def measure(output, target):
    """The PSNR of {name} brightness at {bits} bits, without {border} pixels at each \
border, in decibels, (N,)."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""import torch

target = torch.zeros(2, 3, 16, 17)
output = torch.stack([target[0] + {levels // 4} / {levels}, target[1] + {levels // 2} \
/ {levels}])
found = measure(output, target)
assert found.shape == (2,), f"one number for each picture, (2,); yours has the shape \
{{tuple(found.shape)}}"
right = -20 * torch.log10(torch.tensor([{levels // 4} / {levels}, {levels // 2} / \
{levels}]))
assert torch.allclose(found, right, atol=0.05), f"grey errors should give \
{{right.tolist()}}, not {{found.tolist()}}"
""",
        hidden=f"""import math

import torch

for trial in range(4):
    target = torch.randint({levels // 4}, {3 * levels // 4}, (2, 3, 15, 18)).double() \
/ {levels}
    step = torch.randint(-2, 3, target.shape) / {levels}
    step[..., :2, :], step[..., -2:, :], step[..., :2], step[..., -2:] = 0.2, 0.2, \
-0.2, -0.2
    noise = 0.45 / {levels} * (2 * torch.rand(target.shape) - 1)
    output = target + step + noise
    if trial > 1:
        target[0, :, 7, 7], output[0, :, 7, 7] = 1.0, 1.5
    o, t = (((p.clamp(0, 1) * {levels}).round() / {levels}).tolist() for p in (output, \
target))
    for n in range(2):
        total = 0.0
        for i in range({border}, 15 - {border}):
            for j in range({border}, 18 - {border}):
                total += sum(w * (o[n][c][i][j] - t[n][c][i][j]) for c, w in \
enumerate({shares})) ** 2
        right = -10 * math.log10(total / ((15 - 2 * {border}) * (18 - 2 * {border})))
        found = float(measure(output.float(), target.float())[n])
        assert abs(found - right) < 0.05, "wrong on random pictures: bits, brightness, \
border, or the mean?"
""",
        wrong=(
            code(round_to=255),
            code(weights=(0.333, 0.333, 0.334)),
            code(crop=""),
            code(crop=f"[..., {border}:-{border}]"),
            code(peak=f"{levels}**2"),
            code(clamp=""),
        ),
    )


def _enlarge(draw: random.Random) -> Graded:
    down, across = draw.sample([2, 3, 4, 5], 2)

    def code(
        position: str,
        low: str = ".clamp(0, length - 1)",
        factors: tuple[int, int] = (down, across),
    ) -> str:
        return f'''import torch


def along(picture, dim, factor):
    """The picture with `factor` times as many pixels along a dimension, in between by \
straight lines."""
    length = picture.shape[dim]
    i = torch.arange(factor * length)
    position = ({position}){low}
    left = position.floor().long()
    right = (left + 1).clamp(max=length - 1)
    share = (position - left).view([-1 if d == dim else 1 for d in range(4)])
    return (1 - share) * picture.index_select(dim, left) + share * \
picture.index_select(dim, right)


def enlarge(picture):
    """A picture (N, C, H, W), {down} times as high and {across} times as wide."""
    return along(along(picture, 2, {factors[0]}), 3, {factors[1]})
'''

    return Graded(
        name="ch6-enlarge",
        title="An enlargement that shifts",
        points=5,
        statement=f"""`enlarge(picture)` makes a picture {down} times as high and \
{across} times as wide, by straight lines between
pixels. Subtract its result from the photo, though, and every edge shows, always on \
the same side: the enlarged picture is
shifted. A pixel is a small square, and its value belongs to its *centre*: pixel i of \
the enlarged picture lies at (i + 1/2) / factor
from the picture's edge, pixel j of the small one at j + 1/2. Mend `along`. Beyond the \
outermost centres the outermost value
goes on. Do not call `F.interpolate`.""",
        starter=code("i / factor"),
        solution=code("(i + 0.5) / factor - 0.5"),
        visible=f"""import torch

ramp = torch.arange(6.0).view(1, 1, 1, 6).expand(1, 1, 4, 6)
found = enlarge(ramp)
assert found.shape == (1, 1, {4 * down}, {6 * across}), "the enlarged picture has the \
wrong size"
assert abs(float(found.mean() - ramp.mean())) < 1e-4, "a ramp keeps its mean if \
nothing is shifted"
""",
        hidden=f"""import inspect

import torch
import torch.nn.functional as F

right = F.interpolate
for trial in range(3):
    picture = torch.rand(2, 3, 5 + trial, 7)
    found = enlarge(picture.clone())
    wanted = right(picture, scale_factor=({down}, {across}), mode="bilinear", \
align_corners=False)
    assert found.shape == wanted.shape, "the enlarged picture has the wrong size"
    assert torch.allclose(found.flip(3), enlarge(picture.flip(3)), atol=1e-5), "left \
and right are not treated alike"
    assert torch.allclose(found, wanted, atol=1e-4), "a random picture is shifted, or \
its border is wrong"
""",
        wrong=(
            code("i / factor"),
            code("i * (length - 1) / (factor * length - 1)"),
            code("(i + 0.5) / factor"),
            code("i / factor - 0.5"),
            code("(i + 0.5) / factor - 0.5", factors=(across, down)),
            code("((i + 0.5) / factor - 0.5).round()"),
        ),
    )


def _price(draw: random.Random) -> Graded:
    share = draw.choice([0.2, 0.3, 0.4, 0.6, 0.7, 0.8])
    budget = draw.choice([0.25, 0.5, 1.5, 2.0])
    found = 10 * math.log10(1 + share**2)
    most = (10 ** (budget / 10) - 1) ** 0.5
    return Graded(
        name="ch6-price",
        title="What likeness may cost",
        points=6,
        statement=f"""A truth y has the mean m and the variance $\\sigma^2$, given the \
small picture. You answer with a share
s = {share:g} of a plausible picture (drawn like y, independently of it) and 1 - s of m.

1. Derive the expected squared error, and by how many decibels you lose against the \
answer m.
2. Which share may you take if you can afford {budget:g} dB?
3. A paper reports that its "plausible" network loses 5 dB against its "accurate" one \
on a benchmark. Which two explanations do
you offer, and which measurement would tell them apart?""",
        rubric="""2 points: (1 + s^2) sigma^2, with the step where independence is used.
1 point: the right number of decibels for question 1. 1 point: the right share for \
question 2.
1 point: more than 3.01 dB cannot be the price of likeness alone: a weaker network or \
training, an artefact such as
a lattice, or another degradation or measure in the two rows.
1 point: a measurement that could come out either way (same network and steps with the \
pixel loss; the power and error
by frequency; the same small pictures for both).""",
        answer=f"""s y' + (1 - s) m - y = s (y' - m) - (y - m). The two parts are \
independent and have mean 0, so the variances add up:
(1 + s^2) sigma^2, against sigma^2 for m: {found:.2f} dB for s = {share:g}. With \
{budget:g} dB, s = sqrt(10^{budget / 10:g} - 1) = {most:.2f}
{"(a plausible picture as a whole would cost 3.01 dB)." if most < 1 else "."} 5 dB are \
more than likeness can cost, 3.01 dB at most, against
the best possible answer. So the second network is worse in other ways as well: \
trained less, or painting a lattice; or its small
pictures were made otherwise. Train the same network for the same steps with pixels \
alone, give both the same small pictures, and
look at the error by frequency: a lattice is a peak.""",
    )
