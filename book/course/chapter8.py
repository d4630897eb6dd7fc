"""Graded siblings of the exercises of chapter 8: codes with holes, drawings of codes,
and the generator's step.
"""

from __future__ import annotations

import random

from .graded import Graded

_PLAIN = '''
class Plain:
    """Gradient descent, without the seconds that torch.optim takes to load."""

    def __init__(self, weights, rate):
        self.weights, self.rate = list(weights), rate

    def zero_grad(self, set_to_none=True):
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self):
        for weight in self.weights:
            if weight.grad is not None:
                weight -= self.rate * weight.grad

'''


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with counts, weights, chances and
    a case of its own.
    """
    return [_keep(draw), _drawings(draw), _generator_step(draw), _evidence(draw)]


def _keep(draw: random.Random) -> Graded:
    count, by, along = (
        draw.choice([2, 3, 4]),
        draw.choice(["value", "size"]),
        draw.choice([1, 2]),
    )
    words = {
        1: f"at each position the {count} strongest channels",
        2: f"in each channel the {count} strongest positions",
    }
    strongest = {
        "value": "largest",
        "size": "farthest from 0, negative ones as well as positive ones",
    }

    def code(
        k: int = count,
        how: str = by,
        dim: int = along,
        returned: str = "code * kept.view_as(code)",
    ) -> str:
        strength = {"value": "code.flatten(2)", "size": "code.flatten(2).abs()"}[how]
        return f'''import torch


def keep(code):
    """The code (N, C, H, W) with all numbers set to 0 but {words[along]}."""
    strength = {strength}
    kept = torch.zeros_like(strength).scatter({dim}, strength.topk({k}, \
dim={dim}).indices, 1)
    return {returned}
'''

    return Graded(
        name="ch8-keep",
        title="What is left of a code",
        points=3,
        statement=f"""Write `keep(code)` for codes (N, C, H, W): everything is set to \
0 but, *for each picture of its own*,
{words[along]}. Strong are the numbers that are {strongest[by]}. No two numbers are \
equally strong; C is at least 5,
and there are at least 6 positions. The code that comes in stays as it is.""",
        starter=f'''import torch


def keep(code):
    """The code (N, C, H, W) with all numbers set to 0 but {words[along]}."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""import torch

code = torch.arange(1.0, 41.0).view(1, 5, 2, 4)
kept = keep(code)
assert kept.shape == code.shape, "the code keeps its shape"
assert int((kept != 0).sum()) == {count * (8 if along == 1 else 5)}, "count the \
numbers that are left: {words[along]}"
assert bool((kept[kept != 0] == code[kept != 0]).all()), "what is left keeps its value \
and its place"
""",
        hidden=f"""import torch

for trial in range(5):
    n, c, h, w = 2 + trial % 2, 5 + trial, 3, 2 + trial % 3
    code = torch.randn(n, c, h, w) - 0.3
    given, wanted = code.clone(), torch.zeros_like(code)
    strength = {"code.abs()" if by == "size" else "code"}
    for picture, channel, y, x in torch.cartesian_prod(*map(torch.arange, \
code.shape)).tolist():
        rivals = strength[picture, {":, y, x" if along == 1 else "channel"}]
        if int((rivals > strength[picture, channel, y, x]).sum()) < {count}:
            wanted[picture, channel, y, x] = code[picture, channel, y, x]
    found = keep(given)
    assert torch.equal(given, code), "the code that came in was changed"
    assert torch.allclose(found, wanted), "wrong on a random code: along which \
dimension, how many, and what is strong?"
""",
        wrong=(
            code(k=count + 1),
            code(how="size" if by == "value" else "value"),
            code(dim=3 - along),
            code(returned="kept.view_as(code)"),
            # what any picture keeps, all keep
            code(returned="code * kept.amax(0).view_as(code[:1])"),
        ),
    )


def _drawings(draw: random.Random) -> Graded:
    kind, step = draw.choice(["squared", "absolute"]), draw.choice([0.01, 0.02, 0.05])

    def code(
        how: str = kind,
        weights: str = "chances",
        same: str = f"(codes - one).abs().flatten(1).amax(1) <= {step}",
    ) -> str:
        middle = {
            "squared": "torch.einsum('n,nchw->chw', share, group)",
            "absolute": "median(group, share)",
        }[how]
        return f'''import torch


def median(group, share):
    values, order = group.sort(0)
    passed = share[order].cumsum(0) < 0.5
    return values.gather(0, passed.sum(0, keepdim=True).clamp(max=len(group) - 1))[0]


def drawings(pictures, codes, chances):
    """What to draw of each code, for the least expected {kind} error: (N, 3, H, W)."""
    made = []
    for one in codes:
        same = {same}
        group, share = pictures[same], {weights}[same]
        share = share / share.sum()
        made.append({middle})
    return torch.stack(made)
'''

    return Graded(
        name="ch8-drawings",
        title="Codes that are nearly the same",
        points=5,
        statement=f"""An inverter reads codes through a channel that shakes: two codes \
cannot be told apart if no number of one
differs from that of the other by more than {step}. Picture $i$ is shown with the \
chance $p_i$. Write
`drawings(pictures, codes, chances)`: for each of the N codes the drawing with the \
least expected *{kind}* error, if nothing is
known but that the picture's code cannot be told from it.

`pictures` is (N, 3, H, W), `codes` (N, C, h, w), `chances` (N,), all above 0 with sum \
1. Codes come in groups: within one all
are indistinguishable, and between two all can be told apart.""",
        starter=f'''import torch


def drawings(pictures, codes, chances):
    """What to draw of each code, for the least expected {kind} error: (N, 3, H, W)."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""import torch

pictures = torch.stack([torch.zeros(3, 1, 1), torch.full((3, 1, 1), 0.4), \
torch.ones(3, 1, 1)])
codes = torch.tensor([0.0, {0.4 * step}, {0.8 * step}]).view(3, 1, 1, 1)  # none can \
be told from another
found = drawings(pictures, codes, torch.tensor([0.3, 0.4, 0.3]))
assert found.shape == pictures.shape, "one drawing for each code"
assert torch.allclose(found, torch.full_like(found, \
{0.46 if kind == "squared" else 0.4}), atol=1e-5), "one group of three: what is best \
for the {kind} error?"
""",
        hidden=f"""import torch

for trial in range(4):
    owner = torch.tensor([0, 1, 0, 2, 0, 1, 2, 0])[torch.randperm(8)]
    pictures = torch.rand(8, 3, 2, 3)
    base = torch.rand(3, 4, 2, 2)
    base[:, 0] = base[:1, 0]  # one channel tells nothing
    base[1, 1:], base[2, 1:] = base[0, 1:] + 4 * {step}, base[0, 1:] - 4 * {step}
    codes = base[owner] + {0.9 * step} * (torch.rand(8, 4, 2, 2) - 0.5)
    chances = 0.1 + torch.rand(8)
    chances = chances / chances.sum()
    found = drawings(pictures.clone(), codes.clone(), chances.clone())
    assert found.shape == pictures.shape, "one drawing for each code"

    for one in range(8):
        group = owner == owner[one]
        moved = 0.05 * torch.randn(100, 3, 2, 3) * (torch.rand(100, 3, 2, 3) < 0.1)
        moved[0] = 0
        error = (found[one] + moved)[:, None] - pictures[group]
        cost = error.{"square" if kind == "squared" else "abs"}().flatten(2).sum(2) @ \
chances[group]
        assert float(cost[0] - cost.min()) < 1e-5, "another drawing is cheaper on \
average"
        assert torch.allclose(found[one], found[group][0], atol=1e-6), "codes that \
cannot be told apart share a drawing"
""",
        wrong=(
            code(how="absolute" if kind == "squared" else "squared"),
            code(weights="torch.ones_like(chances)"),
            code(same="(codes == one).flatten(1).all(1)"),
            code(same="torch.ones(len(codes), dtype=torch.bool)"),
            code(same=f"(codes - one).abs().flatten(1).amin(1) <= {step}"),
        ),
    )


def _generator_step(draw: random.Random) -> Graded:
    adversarial, image = draw.choice([0.1, 0.2, 0.5]), draw.choice([2.0, 5.0, 8.0])

    def code(
        term: str = "F.softplus(-logits)", clear: bool = True, cut: str = ""
    ) -> str:
        clearing = "    optimizer.zero_grad()\n" if clear else ""
        logits = "    logits = discriminator(made, code)\n"
        if cut == "graph":
            logits = (
                "    with torch.no_grad():\n"
                "        logits = discriminator(made, code)\n"
            )
        elif cut == "detach":
            logits = "    logits = discriminator(made.detach(), code)\n"
        return f'''import torch
import torch.nn.functional as F


def generator_step(generator, discriminator, optimizer, code, photos):
    """One step on {adversarial} * mean -log D(made, code) + {image} * mean squared \
error; the loss before it, a number."""
    made = generator(code)
{logits}    loss = {adversarial} * {term}.mean() + {image} * (made - \
photos).square().mean()
{clearing}    loss.backward()
    optimizer.step()
    return loss.item()
'''

    starter = code("F.softplus(logits)", clear=False, cut="graph")
    return Graded(
        name="ch8-generator-step",
        title="Debugging: one step of the forger",
        points=5,
        statement=f"""The generator's turn: one step of its optimizer on {adversarial} \
times the mean of $-\\log D$ of its
drawings plus {image} times their mean squared error, from the discriminator's logits. \
With the function below the drawings
stay as blurred as without a discriminator, the steps are too long, and as soon as \
somebody mends the first mistake the
discriminator finds the drawings *easier* than before. Find all three mistakes and \
mend them. The discriminator's weights stay
as they are.""",
        starter=starter,
        solution=code(),
        visible=f"""import torch
import torch.nn.functional as F
from torch import nn


class Judge(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(3, 1, 1)

    def forward(self, picture, code):
        return self.last(picture)

{_PLAIN}
generator, judge = nn.Conv2d(3, 3, 1), Judge()
code, photos = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
with torch.no_grad():
    made = generator(code)
    wanted = {adversarial} * F.softplus(-judge(made, code)).mean() + {image} * (made - \
photos).square().mean()
optimizer = Plain(generator.parameters(), 0.01)
loss = generator_step(generator, judge, optimizer, code, photos)
assert abs(loss - float(wanted)) < 1e-4, "the number returned is not the loss before \
the step"
""",
        hidden=f"""import copy

import torch
import torch.nn.functional as F
from torch import nn


class Told(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Sequential(nn.Conv2d(7, 6, 3), nn.Tanh(), nn.Conv2d(6, 1, 1))

    def forward(self, picture, code):
        return self.last(torch.cat([picture, code], 1))

{_PLAIN}
for trial in range(3):
    generator = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, \
3, 1))
    judge = Told()
    with torch.no_grad():
        for weight in [*generator.parameters(), *judge.parameters()]:
            weight.copy_(0.5 * torch.randn(weight.shape))
    code, photos = torch.randn(3, 4, 6, 6), torch.rand(3, 3, 6, 6)
    twin, seen = copy.deepcopy(generator), copy.deepcopy(judge.state_dict())
    made = twin(code)
    right = {adversarial} * F.softplus(-judge(made, code)).mean() + {image} * (made - \
photos).square().mean()
    slopes = torch.autograd.grad(right, list(twin.parameters()))
    for weight in generator.parameters():
        weight.grad = torch.randn(weight.shape)  # left by somebody else
    optimizer = Plain(generator.parameters(), 0.1)
    loss = generator_step(generator, judge, optimizer, code, photos)
    assert abs(float(loss) - float(right.detach())) < 1e-3, "the number returned is \
not the loss before the step"
    for now, then, slope in zip(generator.parameters(), twin.parameters(), slopes):
        moved = (now - then).detach()
        assert torch.allclose(moved, -0.1 * slope, atol=1e-4, rtol=1e-2), "the step is \
not that of this loss alone"
    assert all(torch.equal(value, seen[name]) for name, value in \
judge.state_dict().items()), "the discriminator moved"
""",
        wrong=(
            starter,
            code("F.softplus(logits)"),
            code(clear=False),
            code(cut="graph"),
            code(cut="detach"),
            code("-F.softplus(logits)"),
        ),
    )


def _evidence(draw: random.Random) -> Graded:
    secret, layer = draw.choice(
        [
            ("the number on a house", "relu3_3"),
            ("whose face it is", "relu4_3"),
            ("what is written on a medicine bottle", "relu4_3"),
            ("the time on a clock", "relu3_3"),
        ]
    )
    return Graded(
        name="ch8-privacy",
        title="Is a code anonymous?",
        points=6,
        statement=f"""A company keeps no photographs, only their codes of VGG-16 at \
{layer}, and calls them anonymous. You are to
judge whether {secret} can still be learned from them. In at most 200 words: which of \
the drawings of chapter 8 (optimised, image,
DeePSiM) is evidence for what, why is none of them evidence that something is *not* in \
the code, and what would you do to settle
the question?""",
        rubric="""2 points: a drawing in which it cannot be read proves nothing: a \
trained inverter gives a lower bound only, it could not read details that the \
optimisation found.
1 point: DeePSiM's sharp drawing is no evidence either, since the discriminator makes \
it invent (firm wrong digits, eyes that are nobody's).
1 point: the optimised picture, or what all three have in common, shows what is in the \
code.
1 point: proposes to train a reader of the code for exactly this question, on pictures \
with known answers, and to test on unseen ones.
1 point: names what counts as settled: right answers against chance, or against a \
reader of the photographs.""",
        answer=f"""The image network blurs where it does not know, so what it draws \
clearly was probably in the code. DeePSiM
draws sharply what it does not know: its digits and eyes are partly its own, so they \
are evidence of nothing. The optimised
picture has the code almost exactly; detail that it finds, as the veins of the wing, \
is in the code even if both networks draw
mush. But no drawing shows that something is missing. The networks are small and were \
trained for minutes, on other pictures,
for other losses: each gives a lower bound. To settle it I would train a network whose \
input is the code of {layer} and whose
answer is {secret}, on many pictures where it is known, and count right answers on \
unseen ones, against guessing and against the
same network fed with photographs. If it is well above chance, the codes are not \
anonymous.""",
    )
