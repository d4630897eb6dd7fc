"""Graded siblings of the exercises of chapter 11: the best denoiser, a walk from noise,
and what an error counts.
"""

from __future__ import annotations

import random

from .graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with values, steps, weights and numbers of its
    own.
    """
    return [_denoiser(draw), _walk(draw), _weights(draw), _table(draw)]


def _denoiser(draw: random.Random) -> Graded:
    low, high = draw.choice([-1, -2, 0]), draw.choice([1, 2, 3])
    share = draw.choice([0.2, 0.3, 0.7, 0.8])
    level = draw.choice([0.5, 1.5, 2.0])

    def code(
        scale: str = f"{level} * (1 - t)",
        centre: str = "t * value",
        known: str = f"math.log({share}), math.log({1 - share:.1f})",
        end: str = "logits.softmax(0)",
        power: str = "** 2",
    ) -> str:
        return f'''import math

import torch


def best(x_t, t):
    """The mean of x given x_t (N,), x being {low} or {high}."""
    deviation = {scale}
    shares = {known}
    values = torch.tensor([{float(low)}, {float(high)}])
    logits = torch.stack([
        share - (x_t - {centre}).square() / (2 * deviation {power})
        for share, value in zip(shares, values)
    ])
    return ({end} * values[:, None]).sum(0)
'''

    mean = share * low + (1 - share) * high
    return Graded(
        name="ch11-denoiser",
        title="The best denoiser of two uneven values",
        points=4,
        statement=f"""A number $x$ is {low} with probability {share} and {high} \
otherwise. It is hidden as
$x_t = t x + {level} (1 - t) \\varepsilon$ with standard normal $\\varepsilon$. Write \
`best(x_t, t)` for x_t (N,) and a time t in [0, 1): the answer
with the least expected squared error, (N,). It must be finite at t = 0.99, too.""",
        starter=f'''import torch


def best(x_t, t):
    """The mean of x given x_t (N,), x being {low} or {high}."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""import torch

found = best(torch.tensor([-3.0, 0.0, 5.0]), 0.0)
assert bool((found - {mean!r}).abs().max() < 1e-4), f"noise alone says nothing, so it \
is the mean {mean:.2f}; you found {{found.tolist()}}"
""",
        hidden=f"""import torch

x = torch.where(torch.rand(40) < 0.5, {float(low)}, {float(high)})
for t in (0.0, 0.35, 0.6, 0.99):
    deviation = {level} * (1 - t)
    x_t = t * x + deviation * torch.randn(40)
    x_t[0] = t * {(low + high) / 2} + 0.1 * deviation
    one, two = (
        -((x_t.double() - t * v) ** 2) / (2 * deviation**2) for v in ({low}, {high})
    )
    odds = ({share} / {1 - share:.1f}) * (one - two).clamp(-200, 200).exp()
    wanted = ({low} * odds + {high}) / (odds + 1)
    found = best(x_t.clone(), t)
    assert found.shape == x_t.shape, "one number for each x_t"
    assert bool(found.isfinite().all()), "no number"
    assert bool((found - wanted).abs().max() < 2e-3), f"wrong at t = {{t}}"
""",
        wrong=(
            code(scale="1 - t"),
            code(centre="value"),
            code(known="0.0, 0.0"),
            code(known=f"math.log({1 - share:.1f}), math.log({share})"),
            code(power="** 1"),
            code(end="(logits == logits.max(0).values).float()"),
        ),
    )


def _walk(draw: random.Random) -> Graded:
    kind = draw.choice(["midpoint", "Heun"])
    power = draw.choice([1.0, 1.5, 2.0, 3.0])
    places = {
        "midpoint": ("(t + after) / 2", "second"),
        "Heun": ("after", "(first + second) / 2"),
    }
    place, slope = places[kind]

    def code(
        grid: str = f"(k / steps) ** {power}",
        there: str = place,
        mix: str = slope,
        left: str = "there",
        last: str = "k == steps - 1",
    ) -> str:
        return f'''import torch


def walk(denoise, noise, steps):
    """From noise to pictures; the last step is Euler's."""
    x = noise
    times = [{grid} for k in range(steps + 1)]
    for k in range(steps):
        t, after = times[k], times[k + 1]
        first = (denoise(x, t) - x) / (1 - t)
        if {last}:
            x = x + (after - t) * first
            continue
        there = {there}
        led = x + (there - t) * first
        second = (denoise(led, there) - led) / max(1 - {left}, 1e-3)
        x = x + (after - t) * ({mix})
    return x
'''

    other = places["Heun" if kind == "midpoint" else "midpoint"]
    second_look = (
        "half way between the two times of the step, and steps from the start along \
the velocity found there"
        if kind == "midpoint"
        else "at the end of the step, and steps from the start along the mean of both \
velocities"
    )
    wrong_grid = "k / steps" if power != 1 else "(k / steps) ** 2.0"
    return Graded(
        name="ch11-walk",
        title="A walk with a second look",
        points=5,
        statement=f"""`denoise(x, t)` estimates the picture, and the velocity is \
$(\\hat x - x) / (1 - t)$. Write `walk(denoise, noise, steps)`:
the walk from t = 0 to t = 1 over the times $(k / \\text{{steps}})^{{{power:g}}}$ for \
k = 0, 1, ..., steps. Each step but the last looks a second time,
{second_look}. The last step is Euler's. Return the end, of the shape of `noise`.""",
        starter='''import torch


def walk(denoise, noise, steps):
    """From noise to pictures; the last step is Euler's."""
    raise NotImplementedError
''',
        solution=code(),
        visible="""import torch

goal = torch.ones(2, 3)
found = walk(lambda x, t: goal, torch.zeros(2, 3), 4)
assert bool((found - goal).abs().max() < 1e-4), "who knows the picture ends there"
""",
        hidden=f"""import torch

for steps in (2, 3, 5):
    goal, weight = torch.randn(4, 5), 0.8 + 0.4 * float(torch.rand(()))
    noise = torch.randn(4, 5)

    def denoise(x, t):
        return goal + weight * (2 * x + 3 * t).sin()

    def velocity(x, t):
        return (denoise(x, t) - x) / (1 - t)

    x = noise
    for k in range(steps):
        t, after = ((n / steps) ** {power} for n in (k, k + 1))
        if k == steps - 1:
            x = x + (after - t) * velocity(x, t)
        elif {kind == "midpoint"}:
            middle = (t + after) / 2
            x = x + (after - t) * velocity(x + (middle - t) * velocity(x, t), middle)
        else:
            first = velocity(x, t)
            second = velocity(x + (after - t) * first, after)
            x = x + (after - t) * (first + second) / 2
    found = walk(denoise, noise.clone(), steps)
    assert found.shape == x.shape, "the shape of the noise"
    assert bool((found - x).abs().max() < 1e-3), f"another end in {{steps}} steps"
""",
        wrong=(
            code(grid=wrong_grid),
            code(there=other[0], mix=other[1]),
            code(mix="first"),
            code(left="t"),
            code(mix="first + second"),
        ),
    )


def _weights(draw: random.Random) -> Graded:
    target = draw.choice(["noise", "velocity"])
    gate = draw.choice([0.3, 0.5, 0.6])
    least = draw.choice([0.02, 0.05, 0.1])

    def code(
        picture: str = "",
        divided: str = "left" if target == "velocity" else "left / t",
        low: str = f"t >= {gate}",
        share: str = "len(t)",
        least_left: float = least,
    ) -> str:
        back = (
            "x_t + left * prediction"
            if target == "velocity"
            else "(x_t - left * prediction) / t"
        )
        return f'''import torch


def loss(prediction, x_t, picture, t, distance, weight):
    """Squared error of the {target}, and features of the picture it means."""
    shape = (-1, *[1] * (x_t.ndim - 1))
    t = t.view(shape)
    left = (1 - t).clamp_min({least_left})
    estimate = {picture or back}
    error = (estimate - picture) / ({divided})
    low = ({low}).flatten()
    total = error.square().mean()
    if low.any():
        total = total + weight * distance(estimate[low], picture[low]).sum() / {share}
    return total
'''

    means = (
        "$\\hat x = x_t + (1 - t) \\hat v$"
        if target == "velocity"
        else "$\\hat x = (x_t - (1 - t) \\hat\\varepsilon) / t$"
    )
    counted = "$(1 - t)$" if target == "velocity" else "$(1 - t) / t$"
    swapped = (
        "(x_t - left * prediction) / t"
        if target == "velocity"
        else "x_t + left * prediction"
    )
    return Graded(
        name="ch11-weights",
        title=f"A feature loss for a network that predicts {target}",
        points=5,
        statement=f"""A network predicts the *{target}* of $x_t = t x + (1 - t) \
\\varepsilon$, so it means the picture {means}. Write
`loss(prediction, x_t, picture, t, distance, weight)` for a batch (N, ...) with times \
t (N,) in (0, 1): the mean over all numbers of the squared
error of the picture over {counted}, plus `weight` times the feature term. That one \
counts pictures with t >= {gate} alone: the sum of `distance(estimate, picture)`,
which gives (M,) for M pictures, over N. Wherever $1 - t$ stands, it counts as no less \
than {least}.""",
        starter=f'''import torch


def loss(prediction, x_t, picture, t, distance, weight):
    """Squared error of the {target}, and features of the picture it means."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""import torch

picture, noise, t = torch.ones(2, 3), torch.zeros(2, 3), torch.tensor([0.2, 0.9])
x_t = t[:, None] * picture
right = {"picture - noise" if target == "velocity" else "noise"}
found = loss(right, x_t, picture, t, lambda a, b: (a - b).square().mean(1), 1.0)
assert abs(float(found)) < 1e-6, f"the right prediction costs nothing; you found \
{{float(found):.4f}}"
""",
        hidden=f"""import torch


def distance(one, other):
    return (one - other).abs().flatten(1).mean(1)


for trial in range(5):
    n = 4 + trial
    t = torch.rand(n) * {gate - 0.1:.2f} + 0.05
    if trial:
        t[:2] = torch.tensor([{gate + 0.1:.2f}, 0.995])
    picture, noise = torch.randn(n, 3, 2), torch.randn(n, 3, 2)
    column = t.view(n, 1, 1)
    x_t = column * picture + (1 - column) * noise
    prediction = torch.randn(n, 3, 2, requires_grad=True)
    left = (1 - column).clamp_min({least})
    if {target == "velocity"}:
        estimate, over = x_t + left * prediction, left
    else:
        estimate, over = (x_t - left * prediction) / column, left / column
    wanted = ((estimate - picture) / over).pow(2).mean()
    low = t >= {gate}
    wanted = wanted + 40 * distance(estimate, picture)[low].sum() / n
    found = loss(prediction, x_t, picture, t, distance, 40)
    assert found.numel() == 1 and found.requires_grad, "one number with a gradient"
    gap = float((found - wanted).detach().abs())
    assert gap < 1e-3 * float(wanted.detach()), "wrong on random batches"
""",
        wrong=(
            code(picture=swapped),
            code(divided="1"),
            code(low=f"t < {gate}"),
            code(share="low.sum()"),
            code(low="t >= 0"),
            code(least_left=1e-3),
        ),
    )


def _table(draw: random.Random) -> Graded:
    recall = draw.choice([(0.71, 0.44), (0.65, 0.38), (0.74, 0.51)])
    sharp = draw.choice([(34, 61), (28, 55), (41, 72)])
    near, real = draw.choice([(0.04, 0.11), (0.03, 0.12), (0.05, 0.14)])
    gate = draw.choice([0.0, 0.05])
    return Graded(
        name="ch11-table",
        title="What a table of a diffusion model says",
        points=6,
        statement=f"""A colleague adds a VGG loss to the estimate of her diffusion \
model, from t = {gate:g} on. At one step the sharpness rises from
{sharp[0]} % to {sharp[1]} % of that of real pictures. At 25 steps precision stays, \
recall falls from {recall[0]} to {recall[1]}. The median distance of her
samples to the nearest training picture is {near}; that of unseen real pictures is \
{real}. She concludes: "VGG makes the model better, and it does
not memorise, for precision did not rise." In at most 200 words: explain both changes \
by what the best answer to much noise is, say what the last two
numbers mean, and propose one experiment with a control.""",
        rubric=f"""2 points: the best answer to much noise is a mean; VGG asks it for \
the features of one picture, so one step looks sharper ({sharp[0]} to {sharp[1]} %) \
and the velocity is biased.
1 point: the bias costs kinds of pictures: recall {recall[0]} to {recall[1]}.
2 points: {near} is far below {real}: samples are nearer to training pictures than \
real ones are, which is memory; precision cannot show it, copies have the best one.
1 point: an experiment: a later gate against none, the same start and steps, three \
seeds, recall and precision at 25 steps, unseen pictures.""",
        answer=f"""To much noise the best answer is the mean of all pictures that \
explain it. VGG punishes a mean, because it lacks the features of any one
picture, so the network answers with something sharper: one step goes from {sharp[0]} \
to {sharp[1]} %. But the walk needs the mean as its direction; with a
biased one it ends in fewer places, and recall falls from {recall[0]} to {recall[1]}. \
Her samples lie {near} from the nearest training picture, real ones
that were never seen {real}, so the model gives training pictures back. Precision \
cannot tell: a copy of a training picture is real. I would train from
the same start with the gate at 0.5, with her gate and without VGG, three seeds each, \
the same steps, and compare recall, precision and the distance to
the nearest training picture at 25 steps.""",
    )
