"""Graded siblings of the exercises of chapter 1: a PSNR as papers report it, an unfair
loss, a loss to mend, fog.
"""

from __future__ import annotations

import random

from .graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with peaks, borders, prices and
    numbers of its own.
    """
    return [_psnr(draw), _unfair(draw), _charbonnier(draw), _fog(draw)]


def _psnr(draw: random.Random) -> Graded:
    bits, border = draw.choice([8, 10, 12, 14]), draw.choice([2, 3, 4, 6])
    peak = 2**bits - 1

    def code(lines: str) -> str:
        return f'''import torch


def psnr_table(outputs, targets):
    """PSNR in decibels, (N,), of whole-numbered pictures (N, 3, H, W) of {bits} bits, \
without their border."""
{lines}
'''

    crop = (
        f"    outputs, targets = (p[..., {border}:-{border}, "
        f"{border}:-{border}].double() for p in (outputs, targets))"
    )
    whole = "    outputs, targets = outputs.double(), targets.double()"
    each = "    errors = (outputs - targets).square().mean((1, 2, 3))"
    end = f"    return 10 * torch.log10({peak}**2 / errors)"
    return Graded(
        name="ch1-psnr-table",
        title="A column of a table",
        points=4,
        statement=f"""A camera delivers whole numbers of {bits} bits, from 0 to \
{peak}. Write `psnr_table(outputs, targets)` for pictures of shape (N, 3, H, W) and \
dtype int32. It returns one PSNR in decibels *for each picture*, as a tensor (N,). As \
in many papers the outer {border} pixels on each side do not count.""",
        starter=f'''import torch


def psnr_table(outputs, targets):
    """PSNR in decibels, (N,), of whole-numbered pictures (N, 3, H, W) of {bits} bits, \
without their border."""
    raise NotImplementedError
''',
        solution=code("\n".join([crop, each, end])),
        visible="""import torch

flat = torch.full((2, 3, 20, 20), 100, dtype=torch.int32)
values = psnr_table(flat + torch.tensor([1, 10]).view(2, 1, 1, 1), flat)
assert isinstance(values, torch.Tensor) and values.shape == (2,), "return one number \
for each picture, (N,)"
assert values[0] > values[1], "a smaller error gives more decibels"
assert abs(float(values[0] - values[1]) - 20) < 0.01, "a tenth of the error is 20 dB \
more"
""",
        hidden=f"""import torch

for count, height, width in ((1, 17, 19), (3, 22, 18)):
    targets = torch.randint(0, {peak} // 2, (count, 3, height, width), \
dtype=torch.int32)
    noise = torch.randint(0, {peak} // 9, targets.shape, dtype=torch.int32)
    outputs = targets + noise * torch.arange(1, count + 1, dtype=torch.int32).view(-1, \
1, 1, 1)
    outputs[..., :{border}, :] = {peak}  # an ugly border that does not count
    outputs[..., -{border}:] = {peak}
    inner = (slice(None), slice(None), slice({border}, height - {border}), \
slice({border}, width - {border}))
    error = (outputs.double() - targets.double())[inner].square().flatten(1).mean(1)
    right = -10 * torch.log10(error / {peak}**2)
    values = psnr_table(outputs, targets)
    assert values.shape == (count,), "one number for each picture"
    assert torch.allclose(values.double(), right, atol=0.02), "the decibels of a \
picture are not right"
""",
        wrong=(
            code("\n".join([whole, each, end])),  # with the border
            # white is 1
            code("\n".join([crop, each, "    return 10 * torch.log10(1 / errors)"])),
            code(
                "\n".join(
                    [
                        crop,
                        (
                            "    errors = (outputs - "
                            "targets).square().mean().expand(len(outputs))"
                        ),
                        end,
                    ]
                )
            ),
            code(
                "\n".join(
                    [crop, each, f"    return 10 * torch.log10({2 * peak} / errors)"]
                )
            ),
        ),
    )


def _unfair(draw: random.Random) -> Graded:
    bright, dark = draw.sample([1, 2, 3, 5, 7], 2)

    def code(share: str) -> str:
        return f'''import math

import torch


def cheapest(answers):
    """The picture (1, 3, H, W) of least mean cost against equally likely answers (N, \
3, H, W)."""
    ordered = answers.sort(dim=0).values
    index = math.ceil({share} * len(answers) - 1e-9) - 1
    return ordered[max(index, 0)][None]
'''

    starter = '''import torch


def cheapest(answers):
    """The picture (1, 3, H, W) of least mean cost against equally likely answers (N, \
3, H, W)."""
    raise NotImplementedError
'''
    mean = starter.replace(
        "raise NotImplementedError", "return answers.mean(0, keepdim=True)"
    )
    return Graded(
        name="ch1-unfair",
        title="An unfair loss",
        points=5,
        statement=f"""A loss is *unfair*: where an output is too bright by $d$ it \
costs ${bright}\\,d$, and where it is too dark by $d$ it costs ${dark}\\,d$. N answers \
are equally likely. Which picture has the least mean cost? Change chapter 1's proof \
for L1, then write `cheapest(answers)`. Where several pictures cost equally little, \
any of them is right.""",
        starter=starter,
        solution=code(f"{dark} / {bright + dark}"),
        visible="""import torch

answers = torch.rand(5, 3, 4, 6)
assert cheapest(answers).shape == (1, 3, 4, 6), "return one picture, (1, 3, H, W)"
assert torch.allclose(cheapest(answers[:1].repeat(4, 1, 1, 1)), answers[:1]), "with \
one answer only it is that one"
""",
        hidden=f"""import torch


def mean_cost(picture, answers):
    difference = picture.double() - answers.double()
    return ({bright} * difference.clamp(min=0) + {dark} * \
(-difference).clamp(min=0)).mean(0)


for count in (3, 8, 25):
    answers = torch.rand(count, 3, 5, 4)
    least = torch.stack([mean_cost(answer[None], answers) for answer in \
answers]).amin(0)
    price = mean_cost(cheapest(answers), answers)
    assert (price <= least * (1 + 1e-4) + 1e-6).all(), "there is a cheaper picture"
""",
        wrong=(
            mean,
            mean.replace(
                "answers.mean(0, keepdim=True)",
                "answers.median(0, keepdim=True).values",
            ),
            code(f"{bright} / {bright + dark}"),  # the two prices exchanged
        ),
    )


def _charbonnier(draw: random.Random) -> Graded:
    epsilon = draw.choice([0.01, 0.02, 0.05, 0.1])
    weights = draw.sample([0.5, 1.0, 2.0, 3.0], 3)

    def code(lines: str) -> str:
        return f'''import torch

WEIGHTS = torch.tensor({weights}).view(1, 3, 1, 1)


def weighted_charbonnier(outputs, targets):
    """Mean over pictures, channels and positions of weight * sqrt(d**2 + \
{epsilon}**2); outputs (N, 3, H, W)."""
{lines}
'''

    right = (
        "    d = outputs - targets\n"
        f"    return (WEIGHTS * (d**2 + {epsilon}**2).sqrt()).mean()"
    )
    return Graded(
        name="ch1-charbonnier",
        title="A loss that kills its network",
        points=5,
        statement=f"""A network is trained with a Charbonnier loss ($\\varepsilon = \
{epsilon}$) whose channels weigh {weights[0]}, {weights[1]} and {weights[2]}. After \
some steps all its parameters are NaN; before that, outputs that began outside [0, 1] \
never came back, and the loss depends on the size of the batch. The docstring says \
what is meant. Find the faults and mend them all. The gradient must be finite and \
right everywhere, also where output and target are equal.""",
        starter=code(
            "    d = outputs.clamp(0, 1) - targets\n"
            f"    return (WEIGHTS * ((d**2).sqrt() + {epsilon})).sum() "
            "/ outputs[0].numel()"
        ),
        solution=code(right),
        visible="""import torch

one, other = torch.rand(2, 1, 3, 4, 4)
assert weighted_charbonnier(one, other).ndim == 0, "return one number"
assert torch.isfinite(weighted_charbonnier(one, one)), "equal pictures have a finite \
loss"
""",
        hidden=f"""import torch

weights = torch.tensor({weights}, dtype=torch.float64).view(1, 3, 1, 1)
for count, low, high in ((1, 0.2, 0.8), (4, 0.2, 0.8), (2, -0.5, 1.5)):
    targets = torch.rand(count, 3, 5, 6)
    start = low + (high - low) * torch.rand(count, 3, 5, 6)
    start[..., 0] = targets[..., 0]  # some pixels are right already
    outputs, exact = start.clone().requires_grad_(), start.double().requires_grad_()
    right = (weights * ((exact - targets.double()) ** 2 + {epsilon}**2).sqrt()).sum() \
/ exact.numel()
    right.backward()
    value = weighted_charbonnier(outputs, targets)
    assert abs(value.item() / right.item() - 1) < 1e-3, "the number is not what the \
docstring says"
    value.backward()
    assert outputs.grad is not None and torch.isfinite(outputs.grad).all(), "the \
gradient is not finite"
    assert torch.allclose(outputs.grad.double(), exact.grad, atol=1e-6, rtol=1e-3), \
"the gradient is not right"
""",
        wrong=(
            code(right.replace("outputs - targets", "outputs.clamp(0, 1) - targets")),
            code(
                "    d = outputs - targets\n"
                f"    return (WEIGHTS * ((d**2).sqrt() + {epsilon})).mean()"
            ),
            code(right.replace(".mean()", ".sum() / outputs[0].numel()")),
            code(right.replace(f"{epsilon}**2", f"{epsilon}")),
        ),
    )


def _fog(draw: random.Random) -> Graded:
    many, few = draw.sample([2, 3, 4, 5, 6], 2)
    many, few = max(many, few), min(many, few)
    light, dim = draw.choice([0.7, 0.8, 0.9]), draw.choice([0.1, 0.2, 0.3])
    total = many + few
    mean = (many * dim + few * light) / total
    variance = many * few / total**2 * (light - dim) ** 2
    task = draw.choice(
        [
            "fills a hole in photographs of a street with walkers",
            "predicts the next picture of a film",
            "colours old photographs of flags",
            "enlarges tiny photographs of lawns eight times",
        ]
    )
    return Graded(
        name="ch1-fog",
        title="Three sentences for a customer",
        points=6,
        statement=f"""A network {task}. At one pixel, for one and the same input, \
{many} of {total} training answers have the value {dim} and {few} have the value \
{light}.

(a) What does a perfectly trained network paint there under L2, and what under L1? (b) \
What is the least mean squared error that any network can reach at this pixel, and \
what would a network pay that paints one of the answers, drawn at random with the \
right frequencies? (c) The customer calls the pictures blurred and asks for a network \
of twice the size. Answer in at most three sentences, and name one thing that would \
help. (d) A rival reports a lower PSNR. Whose pictures look better?""",
        rubric="""1 point: (a) both values, with the reason (mean; median, that is the \
majority). 2 points: (b) the floor, and exactly twice as much for a drawn answer; 1 \
point for one of them. 2 points: (c) the blur is the optimum of the loss, so size does \
not help (1); something that would: another loss, more information in the input, or a \
network that draws one answer (1). 1 point: (d) it cannot be known: PSNR is the \
squared error once more, and the fog maximises it.""",
        answer=f"""(a) L2: the mean, ({many} x {dim} + {few} x {light}) / {total} = \
{mean:.3f}. L1: the median, {dim}, because the majority has it. (b) The variance of \
the answers, {many} x {few} / {total}^2 x ({light} - {dim})^2 = {variance:.4f}; a \
drawn answer costs twice that, {2 * variance:.4f}. (c) The fog is what the loss pays \
best for, and the network has learned it; a larger one comes only nearer to it. Use a \
loss that does not average over the answers (features, an adversary), or tell the \
network what decides between them. (d) Nobody can say from the PSNR: a sharp answer \
drawn at random costs twice the squared error, so it has 3 dB less, and looks \
better.""",
    )
