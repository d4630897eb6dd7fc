"""Graded siblings of the exercises of chapter 10: colours as a choice, the place of
the right target, and the losses of two players.
"""

from __future__ import annotations

import random

from .graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with a sharpening, a distance, a game and
    frequencies of its own.
    """
    return [_sharpened(draw), _place(draw), _game(draw), _choice(draw)]


def _sharpened(draw: random.Random) -> Graded:
    how, keep = draw.choice(["temperature", "power"]), draw.choice([2, 3, 4])
    scaled = {
        "temperature": "logits / temperature",
        "power": "logits * power",
    }
    said = {
        "temperature": "to the power of 1 / `temperature`",
        "power": "to the power of `power`",
    }

    def code(
        logits: str = scaled[how],
        kept: str = f"logits.topk({keep}, 1)",
        shares: str = "top.values.softmax(1)",
    ) -> str:
        return f'''import torch


def colour(logits, centres, {how}):
    """The colours (N, 3, H, W) of pixels with these logits (N, Q, H, W); centres is \
(Q, 3)."""
    logits = {logits}
    top = {kept}
    shares = {shares}
    chosen = centres[top.indices]
    return (shares[..., None] * chosen).sum(1).movedim(-1, 1)
'''

    other = "logits * temperature" if how == "temperature" else "logits / power"
    value = 0.5 if how == "temperature" else 2.0
    return Graded(
        name="ch10-sharpened",
        title="A sharpened choice",
        points=4,
        statement=f"""A network chooses for each pixel among Q colours. Write \
`colour(logits, centres, {how})`: keep the {keep} likeliest colours
of each pixel, raise their probabilities {said[how]}, let them sum to 1 again, and \
return the mean of their `centres` (Q, 3), as pictures
(N, 3, H, W). Logits may be in the hundreds.""",
        starter=f'''import torch


def colour(logits, centres, {how}):
    """The colours (N, 3, H, W) of pixels with these logits (N, Q, H, W); centres is \
(Q, 3)."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""import torch

logits = torch.full((1, 6, 1, 1), -50.0)
logits[0, 2] = 3.0
found = colour(logits, torch.arange(18.0).view(6, 3), {value})
assert found.shape == (1, 3, 1, 1), "three numbers for each pixel"
assert abs(float(found[0, 0]) - 6) < 1e-3, "one colour has all the probability"
""",
        hidden=f"""import torch

for trial in range(5):
    loud = (1.0, 1.0, 2.0, 3.0, 300.0)[trial]
    logits, centres = loud * torch.randn(2, 6, 4, 3), torch.rand(6, 3)
    value = (0.5, 0.25, 0.7, 0.4, 0.5)[trial]
    value = value if "{how}" == "temperature" else 1 / value
    sharp = logits.double() / (value if "{how}" == "temperature" else 1 / value)
    least = sharp.topk({keep}, 1).values[:, -1:]
    sharp = sharp.masked_fill(sharp < least, float("-inf"))
    wanted = torch.einsum("nqhw,qc->nchw", sharp.softmax(1), centres.double())
    found = colour(logits, centres, value)
    assert found.shape == wanted.shape, "pictures (N, 3, H, W)"
    assert bool(found.isfinite().all()), "it overflows"
    assert bool((found - wanted).abs().max() < 1e-3), "wrong on random logits"
""",
        wrong=(
            code(logits=other),
            code(logits="logits"),
            code(kept="logits.topk(6, 1)"),
            code(kept=f"logits.topk({keep + 1}, 1)"),
            code(shares=f"logits.softmax(1).topk({keep}, 1).values"),
        ),
    )


def _place(draw: random.Random) -> Graded:
    kind = draw.choice(["Euclidean distance", "city-block distance", "cosine"])
    kept = draw.choice(["median", "first", "reciprocal"])
    table = {
        "Euclidean distance": "torch.cdist(outputs, targets)",
        "city-block distance": "torch.cdist(outputs, targets, p=1)",
        "cosine": "-normal(outputs) @ normal(targets).T",
    }
    ends = {
        "median": "ranks.float().quantile(0.5)",
        "first": "(ranks == 1).float().mean()",
        "reciprocal": "(1 / ranks).mean()",
    }
    means = {
        "median": "the median of the ranks",
        "first": "the share of outputs whose rank is 1",
        "reciprocal": "the mean of 1 / rank",
    }

    def code(
        distances: str = table[kind], end: str = ends[kept], count: str = "1"
    ) -> str:
        return f'''import torch


def normal(features):
    return features / features.norm(dim=1, keepdim=True)


def score(outputs, targets):
    """How well outputs (N, D) find their own among targets (M, D); output n belongs \
to target n."""
    distances = {distances}
    right = distances.diagonal().view(-1, 1)
    ranks = {count} + (distances < right).sum(1)
    return {end}
'''

    others = [code(distances=one) for name, one in table.items() if name != kind]
    others += [code(end=one) for name, one in ends.items() if name != kept]
    shown = {"median": 1.0, "first": 1.0, "reciprocal": 1.0}[kept]
    return Graded(
        name="ch10-place",
        title="Whose picture is this?",
        points=4,
        statement=f"""Features of N outputs (N, D) and of M candidates (M, D), M at \
least N: output n was made for candidate n. The rank of an output is 1 and
the number of candidates that are nearer to it than its own, by {kind} (for the \
cosine, larger is nearer). Write `score(outputs, targets)`:
{means[kept]}, as a tensor of one number or a float.""",
        starter='''import torch


def score(outputs, targets):
    """How well outputs (N, D) find their own among targets (M, D); output n belongs \
to target n."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""import torch

found = float(score(torch.eye(3), torch.cat([torch.eye(3), -torch.eye(3)])))
assert abs(found - {shown}) < 1e-5, f"each output is its target; you found {{found}}"
""",
        hidden=f"""import torch


def plain(kind, kept, outputs, targets):
    ranks = []
    for n, one in enumerate(outputs.double()):
        costs = []
        for other in targets.double():
            if kind == "Euclidean distance":
                costs.append(float((one - other).square().sum()))
            elif kind == "city-block distance":
                costs.append(float((one - other).abs().sum()))
            else:
                costs.append(-float(one @ other / one.norm() / other.norm()))
        ranks.append(1 + sum(cost < costs[n] for cost in costs))
    ranks = torch.tensor(ranks, dtype=torch.float64)
    ways = {{"median": ranks.quantile(0.5), "first": (ranks == 1).double().mean()}}
    return float(ways.get(kept, (1 / ranks).mean()))


for trial in range(4):
    targets = torch.randn(60, 4) * torch.rand(60, 1).add(0.1).mul(3)
    outputs = targets[:41] + 1.1 * torch.randn(41, 4)
    wanted = plain("{kind}", "{kept}", outputs, targets)
    found = float(score(outputs, targets))
    assert abs(found - wanted) < 1e-4, "wrong on random features"
""",
        wrong=(
            *others,
            code(count="0" if kept != "reciprocal" else "2"),
        ),
    )


def _game(draw: random.Random) -> Graded:
    kind, weight = draw.choice(["hinge", "squares"]), draw.choice([5.0, 10.0, 50.0])
    real, made, mine = {
        "hinge": (
            "(1 - judged(target)).clamp_min(0).mean()",
            "(1 + judged(output.detach())).clamp_min(0).mean()",
            "-judged(output).mean()",
        ),
        "squares": (
            "(judged(target) - 1).square().mean()",
            "judged(output.detach()).square().mean()",
            "(judged(output) - 1).square().mean()",
        ),
    }[kind]
    words = {
        "hinge": "The discriminator pays $\\max(0, 1 - D)$ for real pictures and "
        "$\\max(0, 1 + D)$ for made ones, the painter $-D$ for what it made",
        "squares": "The discriminator pays $(D - 1)^2$ for real pictures and $D^2$ for "
        "made ones, the painter $(D - 1)^2$ for what it made",
    }[kind]

    def code(
        first: str = real,
        second: str = made,
        own: str = mine,
        pixels: str = "(output - target).abs().mean()",
        factor: float = weight,
    ) -> str:
        return f'''import torch


def losses(judged, output, target):
    """The painter's loss and the discriminator's; judged gives logits of pictures."""
    painter = {own} + {factor} * {pixels}
    discriminator = {first} + {second}
    return painter, discriminator
'''

    leaking = made.replace("output.detach()", "output")
    signed, unhappy = "(output - target).mean()", mine.replace("output", "target")
    starter = code(second=leaking, own=unhappy, pixels=signed)
    return Graded(
        name="ch10-game",
        title="Debugging: two losses of one game",
        points=5,
        statement=f"""{words}, and besides {weight:g} times the mean absolute \
difference from the target; all are means. The
discriminator's loss must teach the painter nothing. In the function below the painter \
does not react to the discriminator, darkens its pictures without
end, and is trained by the wrong loss too. Find the three mistakes and mend them.""",
        starter=starter,
        solution=code(),
        visible=f"""import torch

output = torch.zeros(1, 3, 2, 2, requires_grad=True)
painter, discriminator = losses(lambda x: x.sum((1, 2, 3)), output, 0 * output.detach())
assert abs(float(painter) - {0.0 if kind == "hinge" else 1.0}) < 1e-5, "equal pictures"
""",
        hidden=f"""import torch

for trial in range(5):
    layer = torch.nn.Conv2d(3, 1, 2)
    output = torch.randn(4, 3, 5, 5).requires_grad_()
    target = torch.randn(4, 3, 5, 5) + 0.3 * trial
    d_made, d_real = layer(output), layer(target)
    if "{kind}" == "hinge":
        mine = -d_made.mean()
        theirs = torch.relu(1 - d_real).mean() + torch.relu(1 + d_made).mean()
    else:
        mine = (1 - d_made).pow(2).mean()
        theirs = (1 - d_real).pow(2).mean() + d_made.pow(2).mean()
    mine = mine + {weight} * torch.nn.functional.l1_loss(output, target)
    (slope,) = torch.autograd.grad(mine, output, retain_graph=True)
    painter, discriminator = losses(layer, output, target)
    for found, wanted in ((painter, mine), (discriminator, theirs)):
        assert abs(float(found) - float(wanted)) < 1e-3 * (1 + abs(float(wanted))), \
"a loss has another value"
    weight_slope = torch.autograd.grad(discriminator, layer.weight, retain_graph=True)
    assert float(weight_slope[0].norm()) > 0, "the discriminator learns nothing"
    leak = torch.autograd.grad(
        discriminator, output, retain_graph=True, allow_unused=True
    )[0]
    assert leak is None or not bool(leak.any()), "the painter learns from its loss"
    (found,) = torch.autograd.grad(painter, output)
    assert torch.allclose(found, slope, atol=1e-5), "the painter's gradient is wrong"
""",
        wrong=(
            starter,
            code(second=leaking),
            code(own=unhappy),
            code(pixels=signed),
            code(factor=1.0),
        ),
    )


def _choice(draw: random.Random) -> Graded:
    grey = draw.choice([60, 70, 80])
    red = draw.choice([5, 10, 15])
    blue = 100 - grey - red
    shares = {"grey": grey / 100, "red": red / 100, "blue": blue / 100}
    weights = {name: 1 / (share / 2 + 1 / 6) for name, share in shares.items()}
    products = {name: shares[name] * weights[name] for name in shares}
    total = sum(products.values())
    tilted = {name: value / total for name, value in products.items()}
    listed = ", ".join(f"{name} {value:.2f}" for name, value in tilted.items())
    return Graded(
        name="ch10-choice",
        title="What the shirts will look like",
        points=6,
        statement=f"""In a collection shirts are grey in {grey}%, red in {red}% and \
blue in {blue}% of the pictures, and nothing in the brightness tells which.
Three networks colour them, all perfectly trained: by squared error of the colour; by \
cross-entropy over the three colours; by cross-entropy with weights
1 / (p/2 + 1/6). Frequencies of the whole training are those of the shirts. In at most \
200 words: give what each of the three puts out, with numbers; what is seen if the \
likeliest colour is taken, and if the
mean is; and how an adversary instead would pay for each of these pictures. Say which \
of them tells you the true colour.""",
        rubric=f"""1 point: squared error gives the mean colour, {grey}% grey: a \
greyish mixture that no shirt has.
1 point: cross-entropy gives the frequencies {grey}, {red}, {blue}%.
2 points: with weights the probabilities are w p over their sum: {listed}.
1 point: the likeliest colour is one clear colour for every shirt (the mode), the mean \
is a mixture again; a temperature is between them.
1 point: an adversary charges for what no shirt has, the mixture, and for all shirts \
alike only if it sees several; none of them knows the true colour.""",
        answer=f"""Squared error is least at the mean: {grey}% grey with a little red \
and blue, a colour that no shirt has. Cross-entropy is least where the
probabilities are the frequencies, {grey}, {red} and {blue}%. Weights multiply the \
frequencies, so the third puts out w p over the sum: {listed}. The likeliest
colour is one clear colour, the same for every shirt; the mean of the probabilities is \
a mixture once more, less grey with the weights; a temperature lies
between. A discriminator that has seen shirts charges for the mixture, which does not \
occur. It charges for no clear colour, and for "always the same" only if it sees many
shirts at once. None of them tells the true colour: the brightness does not hold it, \
and a bold colour is a guess.""",
    )
