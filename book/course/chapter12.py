"""Graded siblings of the exercises of chapter 12: what seeds decide, what an attack may
do, and a verdict in words.
"""

from __future__ import annotations

import random

from .graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with a rule, a norm and numbers of its own."""
    return [_decided(draw), _attack(draw), _reached(draw), _verdict(draw)]


def _decided(draw: random.Random) -> Graded:
    paired = draw.choice([True, False])
    margin = draw.choice([0.0, 0.1, 0.5])
    rule = (
        "seed by seed: the first list decides if for every seed its number is"
        if paired
        else "between all seeds: the first list decides if every one of its numbers is"
    )
    pairs = "zip(first, second)" if paired else "product(first, second)"

    def code(
        which: str = pairs,
        gap: str = f"{margin}",
        low: int = -1,
        quantity: str = "all",
        compare: str = ">",
    ) -> str:
        return f'''from itertools import product


def decided(first, second):
    """-1, 1 or 0: which of two arms is lower, if the seeds say so."""
    gaps = [b - a for a, b in {which}]
    if {quantity}(gap {compare} {gap} for gap in gaps):
        return {low}
    if {quantity}(-gap {compare} {gap} for gap in gaps):
        return {-low}
    return 0
'''

    other = "product(first, second)" if paired else "zip(first, second)"
    wrong_gap = "0.25" if margin != 0.0 else "0.3"
    return Graded(
        name="ch12-decided",
        title="What the seeds decide",
        points=3,
        statement=f"""Two arms of an experiment have one number for each of the same \
seeds, in the same order. Write `decided(first, second)`. It
compares {rule} lower than the other's by *more than* {margin:g}: then it returns -1; \
1 if all are higher by more than {margin:g}; 0
otherwise.""",
        starter='''def decided(first, second):
    """-1, 1 or 0: which of two arms is lower, if the seeds say so."""
    raise NotImplementedError
''',
        solution=code(),
        visible="""assert decided([1.0, 1.1], [3.0, 3.1]) == -1, "every number of the \
first is lower, by about 2"
assert decided([3.0, 3.1], [1.0, 1.1]) == 1, "the other way round"
""",
        hidden=f"""m = {margin}
cases = [
    ([0.0, 1.0, 2.0], [0.0 + m + 0.05, 1.0 + m + 0.05, 2.0 + m + 0.05], \
{-1 if paired else 0}),
    ([5.0, 6.0], [5.0 - m - 0.02, 6.0 - m - 0.02], {1 if paired else 0}),
    ([0.0, 0.0], [m + 0.01, m + 0.02], -1),
    ([0.0, 0.0], [m, m + 0.4], 0),
    ([m + 0.01, m + 0.02], [0.0, 0.0], 1),
    ([0.0, 3.0], [2.0, 2.0], 0),
    ([0.0, 0.0, 0.0], [0.15, 0.15, 0.15], {-1 if margin < 0.15 else 0}),
    ([0.0, 0.0, 0.0], [0.27, 0.27, 0.27], {-1 if margin < 0.27 else 0}),
    ([0.0, 0.0, 0.0], [0.05, 0.05, 0.05], {-1 if margin < 0.05 else 0}),
    ([1.0], [1.0], 0),
]
for first, second, right in cases:
    found = decided(list(first), list(second))
    assert found == right, f"{{first}} and {{second}}: {{right}}"
""",
        wrong=(
            code(which=other),
            code(gap=wrong_gap),
            code(low=1),
            code(quantity="any"),
            code(compare=">="),
        ),
    )


def _attack(draw: random.Random) -> Graded:
    kind = draw.choice(["largest", "root mean square"])
    share = draw.choice([2, 4, 5])
    direction = draw.choice(["larger", "smaller"])
    sign = "+" if direction == "larger" else "-"
    ball = {
        "largest": "moved.clamp(-epsilon, epsilon)",
        "root mean square": (
            "moved * min(1.0, epsilon / float(moved.square().mean().sqrt() + 1e-12))"
        ),
    }
    unit = {
        "largest": "slope.sign()",
        "root mean square": "slope / (slope.square().mean().sqrt() + 1e-12)",
    }
    what = {
        "largest": "the largest absolute change of any value",
        "root mean square": "the root mean square of all changes",
    }[kind]
    how = {
        "largest": "along the sign of the gradient",
        "root mean square": "along the gradient, divided by its root mean square",
    }[kind]
    other = next(name for name in ball if name != kind)

    def code(
        step: str = unit[kind],
        hold: str = ball[kind],
        way: str = sign,
        end: str = "(picture + moved).clamp(0, 1)",
        length: str = f"epsilon / {share}",
    ) -> str:
        return f'''import torch


def attack(gain, picture, epsilon, steps):
    """A picture near the given one for which the gain is {direction}."""
    moved = torch.zeros_like(picture)
    for _ in range(steps):
        at = (picture + moved).detach().requires_grad_()
        (slope,) = torch.autograd.grad(gain(at), at)
        moved = moved {way} {length} * ({step})
        moved = {hold}
    return {end}
'''

    backward = "-" if sign == "+" else "+"
    starter = code(way=backward, hold="moved", end="picture + moved")
    return Graded(
        name="ch12-attack",
        title="Debugging: a change that nobody sees",
        points=5,
        statement=f"""`attack(gain, picture, epsilon, steps)` shall find a picture for \
which the gain is *{direction}*: `steps` steps of length
epsilon / {share}, {how}, from the picture itself. After each step what was added is \
held within epsilon; its size is *{what}*. At the end
all values are brought into [0, 1]. The function below does three things wrong. Mend \
it.""",
        starter=starter,
        solution=code(),
        visible=f"""import torch

picture = torch.full((1, 1, 2, 2), 0.5)
found = attack(lambda x: x.sum(), picture, 0.1, 50)
assert abs(float((found - picture).mean()) - {0.1 if sign == "+" else -0.1}) < 1e-3, \
"the sum of the picture can be changed by 0.1 a value, and in one direction"
""",
        hidden=f"""import torch

for trial in range(8):
    bright = 0.5 if trial % 2 else 0.99
    picture = bright - 0.01 * torch.rand(1, 2, 4, 3)
    weight = torch.randn(picture.shape)
    epsilon, steps = 0.08, 1 + 2 * trial

    def gain(x):
        return (weight * x).sum()

    moved = torch.zeros_like(picture)
    for _ in range(steps):
        if "{kind}" == "largest":
            moved = moved {sign} epsilon / {share} * weight.sign()
            moved = torch.minimum(torch.maximum(moved, -torch.tensor(epsilon)), \
torch.tensor(epsilon))
        else:
            size = weight.pow(2).mean().pow(0.5)
            moved = moved {sign} epsilon / {share} * weight / size
            size = float(moved.pow(2).mean().pow(0.5))
            moved = moved * (epsilon / size) if size > epsilon else moved
    right = (picture + moved).clamp(0, 1)
    found = attack(gain, picture.clone(), epsilon, steps)
    assert found.shape == picture.shape
    assert bool((found - right).abs().max() < 1e-4), "another picture than the rule \
gives"
""",
        wrong=(
            starter,
            code(way=backward),
            code(hold="moved"),
            code(end="picture + moved"),
            code(step=unit[other], hold=ball[other]),
            code(length="epsilon"),
        ),
    )


def _reached(draw: random.Random) -> Graded:
    lasting = draw.choice([True, False])
    better = draw.choice(["below", "above"])
    compare = "<=" if better == "below" else ">="
    what = "a distance" if better == "below" else "a PSNR"
    rule = (
        "from which on it is never on the wrong side again"
        if lasting
        else "at which it is there for the first time"
    )

    def code(
        side: str = compare,
        keep: bool = lasting,
        none: str = "None",
        shown: str = "step",
    ) -> str:
        end = "values[n:]" if keep else "values[n : n + 1]"
        return f'''def reached(steps, values, level):
    """The step at which a training has reached a level, or None."""
    for n, step in enumerate(steps):
        if all(value {side} level for value in {end}):
            return {shown}
    return {none}
'''

    return Graded(
        name="ch12-reached",
        title="Sooner, and by which clock",
        points=3,
        statement=f"""A training is judged at some steps: `steps` grows, `values` \
holds {what} for each. Write `reached(steps, values, level)`:
the first of these steps {rule}, where the right side is *at or {better}* the level. \
None if there is no such step.""",
        starter='''def reached(steps, values, level):
    """The step at which a training has reached a level, or None."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""values = [{"0.5, 0.3, 0.2" if better == "below" else "20, 24, 26"}]
found = reached([10, 40, 90], values, {0.3 if better == "below" else 24})
assert found == 40, f"at step 40 the level is reached; you found {{found}}"
""",
        hidden=f"""sign = {1 if better == "below" else -1}
steps = [5, 10, 20, 40]
cases = [
    ([4, 3, 2, 1], 2, 20),
    ([4, 2, 3, 1], 2, {40 if lasting else 10}),
    ([4, 2, 3, 3], 2, {None if lasting else 10}),
    ([1, 1, 1, 1], 2, 5),
    ([4, 4, 4, 3], 2, None),
    ([4, 4, 4, 2], 2, 40),
    ([1, 3, 3, 3], 2, {None if lasting else 5}),
]
for values, level, right in cases:
    found = reached(steps, [sign * value for value in values], sign * level)
    assert found == right, f"{{values}}, level {{level}}: {{right}}"
""",
        wrong=(
            code(side=compare[0]),
            code(side=">=" if compare == "<=" else "<="),
            code(keep=not lasting),
            code(none="steps[-1]"),
            code(shown="n"),
        ),
    )


def _verdict(draw: random.Random) -> Graded:
    judge = draw.choice(["the distance", "the second judge"])
    low = draw.choice([0.241, 0.236, 0.228])
    wide = draw.choice([0.002, 0.003])
    first = [low, low + 2 * wide, low + 8 * wide]
    second = [low + 5 * wide, low + 9 * wide, low + 11 * wide]
    ratio = draw.choice([8, 11, 14])

    def row(values: list[float]) -> str:
        return ", ".join(f"{value:.3f}" for value in values)

    return Graded(
        name="ch12-verdict",
        title="A verdict for a colleague",
        points=6,
        statement=f"""A colleague trains a small network for 300 steps with a feature \
loss and with an absolute error, three seeds each. After
training, {judge} is {row(first)} with features and {row(second)} with pixels (lower \
is better). PSNR is lower with features for every seed. A
step with features takes {ratio} times as long. She writes: "Feature losses converge \
faster and to better pictures." In at most 200 words: give
the verdict that these numbers allow for each half of the sentence, name the control \
that the first half needs, and name one thing the
judge may be fooled by and how you would find out.""",
        rubric=f"""2 points: "better" is not decided by this judge: the lists overlap \
({first[-1]:.3f} lies above {second[0]:.3f}); by PSNR it is refuted.
1 point: "faster" cannot be read from final values at all; it needs curves, and a \
level that both reach.
1 point: the control is an arm of pixels with the same seconds, {ratio} times the \
steps, its own rate schedule included.
1 point: the judge may pay for dots or a lattice, or is kin to the loss network.
1 point: how to find out: measure the lattice, add dots to the pixel network's \
pictures, a second judge, people.""",
        answer=f"""By {judge} the three seeds of features run up to {first[-1]:.3f}, \
and the lowest of pixels is {second[0]:.3f}: the lists overlap,
so nothing is decided, though the means differ. By PSNR features are worse for every \
seed. Whether they are faster, final values do not say: it
takes the judge's value by step, a level that both reach, and, because a step with \
features costs {ratio} times as much, an arm of pixels that has
the same seconds and a schedule for them. The judge itself may be paid in dots: I \
would measure the lattice of the outputs, add a fixed pattern to the pixel
network's pictures and see whether the judge likes them better, and ask a judge of \
another family, or people.""",
    )
