"""Graded siblings of the exercises of chapter 14: tiles of an upscaler, integers with a
zero point, batches from a queue, and many machines on paper.
"""

from __future__ import annotations

import random

from .graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with a factor, bits, a rule of the queue and numbers
    of its own.
    """
    return [_tiles(draw), _integers(draw), _batches(draw), _ring(draw)]


def _tiles(draw: random.Random) -> Graded:
    factor, unit = draw.choice([2, 3, 4]), draw.choice(["picture", "result"])
    inner = "tile" if unit == "picture" else f"tile // {factor}"
    other = f"tile // {factor}" if unit == "picture" else "tile"

    def code(
        size: str = inner,
        start: str = "",
        margin: str = "reach",
        cut: str = f"{factor} * ",
        last: str = "",
        end: str = "torch.cat(rows, 2)",
    ) -> str:
        return f'''import torch


def upscaled(network, picture, tile, reach):
    """What an upscaler makes of a picture (1, C, H, W), {factor} times as large, in \
tiles."""
    side, margin, rows = {size}, {margin}, []
    {start or "height, width = picture.shape[-2:]"}
    for top in range(0, height{last}, side):
        above, row = max(0, top - margin), []
        for left in range(0, width{last}, side):
            before = max(0, left - margin)
            seen = picture[..., above : top + side + margin, :]
            made = network(seen[..., before : left + side + margin])
            made = made[..., {cut}(top - above) :, {cut}(left - before) :]
            row.append(made[..., : {factor} * side, : {factor} * side])
        rows.append(torch.cat(row, 3))
    return {end}
'''

    padded = (
        "height, width = (n + 2 * reach for n in picture.shape[-2:])\n"
        "    picture = torch.nn.functional.pad(picture, (reach,) * 4)"
    )
    inside = f"{factor} * reach : -{factor} * reach"
    return Graded(
        name="ch14-tiles",
        title="An upscaler in tiles",
        points=5,
        statement=f"""`network(picture)` makes (1, C, {factor}H, {factor}W) of a \
picture (1, C, H, W). It pads with zeros, and a pixel of
its result depends on `reach` pixels of the *picture* to each side. Write \
`upscaled(network, picture, tile, reach)`, which equals
`network(picture)`, borders included, for any size of picture. `tile` is the side of a \
tile in pixels of the *{unit}*{
            f", a multiple of {factor}" if unit == "result" else ""
        }. The network is called at most once a tile,
and never sees more than a tile and `reach` pixels of the picture to each side. \
The last tiles may be smaller.""",
        starter=f'''import torch


def upscaled(network, picture, tile, reach):
    """What an upscaler makes of a picture (1, C, H, W), {factor} times as large, in \
tiles."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""import torch

sizes = []

def network(part):
    sizes.append(max(part.shape[-2:]))
    return part.repeat_interleave({factor}, 2).repeat_interleave({factor}, 3)

picture = torch.arange(77.0).view(1, 1, 7, 11)
found = upscaled(network, picture, {3 if unit == "picture" else 3 * factor}, 1)
assert found.shape == (1, 1, {7 * factor}, {11 * factor}), f"the shape is \
{{tuple(found.shape)}}"
assert max(sizes) <= 5, f"three pixels and one to each side are 5; the network was \
given {{max(sizes)}}"
assert torch.equal(found, network(picture)), "another picture than network(picture)"
""",
        hidden=f"""import torch
import torch.nn.functional as F

for trial in range(4):
    weights = [torch.randn(s) / s[1] ** 0.5 / 2 for s in (
        (6, 2, 3, 3), ({2 * factor**2}, 6, 3, 3), (2, 2, 3, 3))]
    biases = [torch.rand(len(one)) - 0.5 for one in weights]
    sizes = []

    def whole(part):
        for n in range(3):
            part = F.conv2d(part.tanh() if n else part, weights[n], biases[n], 1, 1)
            part = F.pixel_shuffle(part, {factor}) if n == 1 else part
        return part

    def network(part):
        sizes.append(max(part.shape[-2:]))
        return whole(part)

    side, height, width = [(5, 13, 19), (4, 12, 21), (6, 5, 20), (16, 9, 7)][trial]
    picture = torch.rand(1, 2, height, width)
    found = upscaled(network, picture.clone(), side\
{"" if unit == "picture" else f" * {factor}"}, 3)
    wanted = whole(picture)
    assert found.shape == wanted.shape, "the result is of another size"
    assert len(sizes) <= -(-height // side) * -(-width // side), "more calls than tiles"
    assert max(sizes) <= side + 6, "the network saw more than a tile and its margin"
    assert bool(((found - wanted).abs() < 1e-4).all()), "it differs from the whole"
""",
        wrong=(
            code(margin="0"),
            code(margin="reach - 2"),
            code(size=other),
            code(start=padded, end=f"torch.cat(rows, 2)[..., {inside}, {inside}]"),
            code(cut=""),
            code(last=" - side + 1"),
            code(end="network(picture)"),
        ),
    )


def _integers(draw: random.Random) -> Graded:
    bits, axis = draw.choice([8, 6, 4]), draw.choice(["output", "input"])
    levels = 2**bits - 1
    dims = {"output": "(1, 2, 3)", "input": "(0, 2, 3)"}
    swapped = dims["input" if axis == "output" else "output"]
    shape = {"output": "(n, 1, 1, 1)", "input": "(1, n, 1, 1)"}[axis]

    def code(
        over: str = dims[axis],
        low: str = ".clamp_max(0)",
        high: str = ".clamp_min(0)",
        steps: str = str(levels),
        mend: str = "    scale = scale.where(scale > 0, torch.ones_like(scale))\n",
        zero: str = "(-low / scale).round()",
        rounded: str = ".round()",
    ) -> str:
        return f'''import torch


def quantized(weight):
    """The weight of a convolution in integers of {bits} bits, their scale and their \
zero point."""
    low = weight.amin({over}, keepdim=True){low}
    high = weight.amax({over}, keepdim=True){high}
    scale = (high - low) / {steps}
{mend}    zero = {zero}
    integers = (weight / scale){rounded} + zero
    return integers.clamp(0, {steps}).to(torch.uint8), scale, zero
'''

    return Graded(
        name="ch14-integers",
        title="Integers with a zero point",
        points=4,
        statement=f"""A runtime takes weights as integers from 0 to {levels} \
({bits} bits), with a scale and a zero point for each
*{axis}* channel: weight ≈ scale · (integer - zero). Write `quantized(weight)` for a \
weight (O, I, h, w). It returns the integers (uint8,
of the same shape), the scale and the zero point, both of shape `{shape}` for n \
{axis} channels. The {levels} steps of a channel go from its
least to its largest weight, where 0 counts too, so that 0 lies among the integers: \
the zero point is a whole number from 0 to {levels}. A
weight is off by half a step at most. A channel of zeros comes back as zeros, with \
some finite scale above 0.""",
        starter=f'''import torch


def quantized(weight):
    """The weight of a convolution in integers of {bits} bits, their scale and their \
zero point."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""import torch

weight = torch.linspace(-1, 2, {levels + 1}).view(1, 1, 1, -1)
integers, scale, zero = quantized(weight)
assert integers.dtype == torch.uint8, f"uint8, and not {{integers.dtype}}"
assert abs(float(scale) - 3 / {levels}) < 1e-4, f"{levels} steps from -1 to 2; \
you found {{float(scale):.4f}}"
assert float(zero) == {levels // 3}, f"0 is a third of the way; you found \
{{float(zero):g}}"
""",
        hidden=f"""import torch

for trial in range(6):
    weight = torch.randn(5, 7, 3, 2)
    if trial % 2:  # channels on one side of 0
        weight = weight.abs() * (1 if trial == 1 else -1) + 0.4 * (2 - trial)
    weight = weight * torch.rand(5, 1, 1, 1).add(0.1) * torch.rand(7, 1, 1).add(0.1)
    silent = weight[2] if {axis == "output"} else weight[:, 2]
    silent.zero_()
    over = {dims[axis]}
    low = weight.amin(over, keepdim=True).clamp(max=0).double()
    high = weight.amax(over, keepdim=True).clamp(min=0).double()
    found = quantized(weight.clone())
    assert len(found) == 3, "integers, scale and zero point"
    integers, scale, zero = found
    assert integers.dtype == torch.uint8, "the integers are no uint8"
    assert integers.shape == weight.shape, "one integer for each weight"
    assert scale.shape == low.shape and zero.shape == low.shape, "one for each channel"
    assert bool(scale.isfinite().all()) and bool((scale > 0).all()), "a scale of zeros"
    used = high > low
    wanted = ((high - low) / {levels})[used]
    assert bool(((scale[used] - wanted).abs() < 1e-3 * wanted).all()), "another scale"
    assert int(integers.max()) <= {levels}, "more than {bits} bits"
    zero = zero.double()
    assert bool((zero == zero.round()).all()), "the zero point is a whole number"
    assert bool(((zero >= 0) & (zero <= {levels})).all()), "the zero point is outside"
    back = scale.double() * (integers.double() - zero)
    assert bool(((back - weight).abs() <= 0.51 * scale).all()), "off by more than half"
    assert bool((back[(weight == 0).expand_as(back)] == 0).all()), "0 does not stay 0"
""",
        wrong=(
            code(over=swapped),
            code(low="", high=""),
            code(steps=str(levels + 1)),
            code(mend=""),
            code(zero=f"torch.full_like(low, {(levels + 1) // 2})"),
            code(zero="-low / scale"),
            code(rounded=".trunc()"),
        ),
    )


def _batches(draw: random.Random) -> Graded:
    anywhere, bound = draw.choice([True, False]), draw.choice(["pictures", "pixels"])
    where = (
        "wherever they wait"
        if anywhere
        else "as long as they wait directly behind it, with no other size between"
    )
    limit = (
        "at most `most` pictures"
        if bound == "pictures"
        else "at most `most` pixels in all, though at least one picture"
    )
    room = "most" if bound == "pictures" else "max(1, most // (size[0] * size[1]))"
    least = draw.choice([3, 4, 5])

    def code(alike: str = "one[1] == size", over: str = "", lost: bool = False) -> str:
        if anywhere:
            same = f"[one for one in waiting if {alike}]"
            left = "[one for one in waiting if one not in taken]"
            left = "[one for one in waiting if one not in same]" if lost else left
            find = f"    same = {same}"
        else:
            find = (
                "    run = 0\n"
                "        for one in waiting:\n"
                f"            if not ({alike}):\n"
                "                break\n"
                "            run += 1\n"
                "        same = waiting[:run]"
            )
            left = "waiting[run:]" if lost else "waiting[len(taken) :]"
        return f'''def batches(waiting, most):
    """The numbers of waiting requests, in batches for the network."""
    waiting, found = list(waiting), []
    while waiting:
        size = waiting[0][1]
    {find}
        taken = same[: {room}{over}]
        found.append([number for number, _ in taken])
        waiting = {left}
    return found
'''

    area = "one[1][0] * one[1][1] == size[0] * size[1]"
    starter = code(alike=area, over=" + 1", lost=True)
    most = "most" if bound == "pictures" else "max(1, most // (h * w))"
    pixels = bound == "pixels"
    return Graded(
        name="ch14-batches",
        title="Debugging: a queue in batches",
        points=5,
        statement=f"""Requests wait in a queue, the oldest first: `waiting` is a list \
of `(number, (height, width))`, and no number occurs twice.
`batches(waiting, most)` makes batches of them, lists of numbers, in the order in \
which they are computed. A batch begins with the oldest
request that is left, and takes the next ones of the same height and width, {where}, \
in their order, {limit}. Nobody is forgotten. The
function below has three mistakes. Find and mend them.""",
        starter=starter,
        solution=code(),
        visible=f"""waiting = [(n, (2, 3)) for n in range({2 * least})]
found = batches(waiting, {least * (6 if pixels else 1)})
expected = [[*range({least})], [*range({least}, {2 * least})]]
assert found == expected, f"{2 * least} pictures of one size are two batches of \
{least}; you found {{found}}"
""",
        hidden=f"""import random
from itertools import groupby

for trial in range(8):
    sizes = [(2, 6), (3, 4), (6, 2), (5, 5)][: 2 + trial % 3]
    count = 3 + 5 * trial
    waiting = [(n, random.choice(sizes)) for n in range(count)]
    waiting += [(n, sizes[0]) for n in range(count, count + 9)]
    waiting += [(count + 9 + n, size) for n, size in enumerate(sizes[:2])]
    most = {"random.choice([10, 24, 40, 60])" if pixels else "random.choice([2, 3, 4])"}
    key = lambda one: one[1]
    groups = {"sorted(waiting, key=key)" if anywhere else "waiting"}
    expected = []
    for (h, w), group in groupby(groups, key=key):
        group = [number for number, _ in group]
        room = {most}
        expected += [group[k : k + room] for k in range(0, len(group), room)]
    expected.sort()
    found = [list(one) for one in batches(list(waiting), most)]
    size = dict(waiting)
    assert sorted(sum(found, [])) == sorted(size), "some requests are lost or doubled"
    assert all(len({{size[n] for n in one}}) == 1 for one in found), "sizes are mixed"
    assert all(len(one) <= max(len(e) for e in expected) for one in found), "too many"
    assert found == expected, "other batches, or another order"
""",
        wrong=(
            starter,
            code(alike=area),
            code(over=" + 1"),
            code(lost=True),
            code(alike="True"),
        ),
    )


def _ring(draw: random.Random) -> Graded:
    millions, size = draw.choice([25, 60, 140]), draw.choice([2, 4])
    machines, gigabits = draw.choice([4, 8, 16]), draw.choice([1, 10])
    seconds, steps = draw.choice([0.2, 0.4, 0.8]), draw.choice([100_000, 250_000])
    sent = 2 * (machines - 1) / machines * millions * size / 1e3  # GB a step
    talk = sent * 8 / gigabits
    apart, together = (
        steps * one / 3600 for one in (seconds + talk, max(seconds, talk))
    )
    alone = steps * machines * seconds / 3600
    kind = {2: "two bytes (bfloat16)", 4: "four bytes (float32)"}[size]
    bottle = "the network" if talk > seconds else "computing"
    slower = ", slower than one" if alone < apart else ""
    first = (
        "So I would cut the traffic first."
        if talk > seconds
        else "So I would first let it send while it computes, then add machines."
    )
    helps = (
        "gradients in bfloat16 halve it, and "
        if size == 4
        else "gradients have two bytes already; "
    )
    return Graded(
        name="ch14-ring",
        title="Many machines, on paper",
        points=6,
        statement=f"""A network of {millions} million weights is trained on {machines} \
machines, each with its own part of every batch. A step
computes for {seconds:g} s; then the gradients, {kind} each, are averaged by a ring \
all-reduce, in which each of n machines sends
2 (n - 1) / n times the bytes of the gradients, at {gigabits} Gbit/s (8 bits are a \
byte). The training has {steps:,} steps. In at most 250
words and with your calculation: how many gigabytes does a machine send in a step, \
and how long does that take? How many hours does the
training take if it computes and sends in turn, and at best if it does both at the \
same time? How many times as fast is each as one
machine that computes all parts in turn? What limits it, and what would you change \
first? What changes with twice as many machines, each with as large a part as now?""",
        rubric=f"""1 point: {sent:.3g} GB a step and machine.
1 point: {talk:.3g} s (a factor of 8 off costs it).
1 point: {apart:.3g} hours in turn, {together:.3g} at best.
1 point: one machine takes {alone:.4g} hours: {alone / apart:.2g} and \
{alone / together:.2g} times as fast{slower}.
1 point: {bottle} limits it; a change that fits: fewer all-reduces (several batches a \
step), smaller gradients, a faster network, or more
computing for each byte.
1 point: twice as many machines send nearly as much each, since 2 (n - 1) / n is \
bounded by 2, so a step takes as long, and sees twice as
many pictures; fewer steps do only if the learning rate follows, to be tried.""",
        answer=f"""2 · {machines - 1}/{machines} · {millions} million · {size} bytes = \
{sent:.3g} GB, which take {sent:.3g} · 8 / {gigabits} = {talk:.3g} s.
In turn a step takes {seconds + talk:.3g} s, all of them {apart:.3g} hours; at the \
same time at best {max(seconds, talk):.3g} s and {together:.3g}
hours. One machine computes {machines} · {seconds:g} s a step, {alone:.4g} hours, so \
they are {alone / apart:.2g} and {alone / together:.2g} times as fast{slower}. The \
limit is {bottle}.
{first} Of the traffic: {helps}an all-reduce after every second batch halves it \
too. Twice as many machines send 2 · {2 * machines - 1}/{2 * machines} instead of
2 · {machines - 1}/{machines} times the gradients, hardly more, so a step takes about \
as long and the batch is twice as large. Whether half the steps then do
is a question to the training, and not to the network.""",
    )
