"""Graded siblings of the exercises of chapter 13: how hard a term pulls, and what a
batch in parts adds up to.
"""

from __future__ import annotations

import random

from .graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with a norm, a yardstick, a limit and
    numbers of its own.
    """
    return [_adaptive(draw), _relative(draw), _parts(draw), _pulls(draw)]


def _adaptive(draw: random.Random) -> Graded:
    size = draw.choice(["Euclidean norm", "largest absolute value", "mean square"])
    factor, most = draw.choice([0.5, 0.8, 2.0]), draw.choice([10.0, 50.0, 200.0])
    sizes = {
        "Euclidean norm": "norm()",
        "largest absolute value": "abs().max()",
        "mean square": "square().mean()",
    }
    other = "square().mean()" if size != "mean square" else "norm()"

    def code(
        measure: str = sizes[size],
        ratio: str = "first / (second + 1e-6)",
        end: str = f"{factor} * ratio.clamp_max({most})",
    ) -> str:
        return f'''import torch


def weight_of(last, code, reconstruction, adversarial):
    """The weight of the adversarial term, from both terms' gradients at the last \
layer."""
    last = last.detach().requires_grad_()
    output = last @ code
    first, second = (
        torch.autograd.grad(term(output), last, retain_graph=True)[0].{measure}
        for term in (reconstruction, adversarial)
    )
    ratio = {ratio}
    return ({end}).detach()
'''

    return Graded(
        name="ch13-adaptive",
        title="A weight from two gradients",
        points=4,
        statement=f"""An autoencoder is trained with a reconstruction loss and an \
adversarial one. The last layer of its decoder is linear:
its output is `last @ code`. Write `weight_of(last, code, reconstruction, \
adversarial)`, where the two terms are functions of the output, each
giving a tensor of one number. With $a$ and $b$ the *{size}* of the gradient of the \
first and of the second term at `last`, the weight of
the adversarial term is ${factor} \\cdot \\min(a / (b + 10^{{-6}}), {most:g})$. \
Return a tensor of one number, through which nothing is trained.""",
        starter='''import torch


def weight_of(last, code, reconstruction, adversarial):
    """The weight of the adversarial term, from both terms' gradients at the last \
layer."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""import torch

found = weight_of(torch.ones(1, 2), torch.ones(2, 1), lambda y: 3 * y.sum(), lambda \
y: y.sum())
expected = {factor} * {"9.0" if size == "mean square" else "3.0"}
assert abs(float(found) - expected) < 1e-3, f"the first term pulls three times as \
hard; you found {{float(found):.3f}}"
""",
        hidden=f"""import torch

for trial in range(6):
    last, code, target = torch.randn(3, 4), torch.randn(4, 7), torch.randn(3, 7)

    def reconstruction(output):
        return (output - target).square().mean()

    def verdict(output):
        return output.tanh().mean()

    def slope(term):
        at = last.clone().requires_grad_()
        return torch.autograd.grad(term(at @ code), at)[0].double()

    loud = float(slope(reconstruction).norm() / slope(verdict).norm())
    loud = loud * (1e-4 if trial == 5 else 0.4 + 0.25 * trial)

    def adversarial(output):
        return loud * verdict(output)

    a = slope(reconstruction).{sizes[size]}
    b = slope(adversarial).{sizes[size]}
    wanted = {factor} * min(float(a / (b + 1e-6)), {most})
    found = weight_of(last.clone(), code.clone(), reconstruction, adversarial)
    assert isinstance(found, torch.Tensor) and found.numel() == 1, "one number, a \
tensor"
    assert abs(float(found.detach()) - wanted) < 2e-3 * wanted, "wrong on random terms"
    assert not found.requires_grad, "the weight would be trained"
""",
        wrong=(
            code(measure=other),
            code(ratio="second / (first + 1e-6)"),
            code(end=f"{factor} * ratio"),
            code(end=f"ratio.clamp_max({most})"),
            code(end=f"({factor} * ratio).clamp_max({most})"),
        ),
    )


def _relative(draw: random.Random) -> Graded:
    yardstick = draw.choice(["mean square", "variance"])
    each = draw.choice([True, False])
    whose = (
        "for each picture by itself, then the mean over the batch"
        if each
        else "for the batch as a whole"
    )
    spread = "target" if yardstick == "mean square" else "(target - centre)"
    dims = "(1, 2, 3)" if each else "(0, 1, 2, 3)"

    def code(
        signal: str = spread,
        over: str = dims,
        start: str = "target = target.detach()",
        error: str = "(output - target).square()",
        root: str = "",
    ) -> str:
        return f'''import torch


def relative(output, target):
    """The squared error of features (N, C, H, W) over the {yardstick} of the \
target's."""
    {start}
    centre = target.mean({over}, keepdim=True)
    error = {error}.mean({over}){root}
    size = {signal}.square().mean({over}){root}
    return (error / size).mean()
'''

    other = "target" if yardstick == "variance" else "(target - centre)"
    swapped = "(0, 1, 2, 3)" if each else "(1, 2, 3)"
    return Graded(
        name="ch13-relative",
        title="An error of order one",
        points=4,
        statement=f"""Write `relative(output, target)` for features (N, C, H, W): the \
mean squared error over the *{yardstick}* of the
target's features, {whose}. Means and variances are over all channels and positions \
{"of a picture" if each else "of all pictures"}, and variances divide by the count of \
numbers. No gradient goes to the target.""",
        starter=f'''import torch


def relative(output, target):
    """The squared error of features (N, C, H, W) over the {yardstick} of the \
target's."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""import torch

target = torch.tensor([0.0, 2.0, 0.0, 2.0]).view(1, 1, 2, 2)
found = relative(target + 1, target)
expected = {"0.5" if yardstick == "mean square" else "1.0"}
assert abs(float(found) - expected) < 1e-5, f"the {yardstick} of the target is \
{2 if yardstick == "mean square" else 1}; you found {{float(found):.3f}}"
""",
        hidden="""import torch

for trial in range(5):
    n = 2 + trial
    loud = torch.tensor([0.3 + 2 * k for k in range(n)]).view(n, 1, 1, 1)
    target = loud * (2 + torch.randn(n, 3, 5, 4))
    output = (target + torch.randn(n, 3, 5, 4)).requires_grad_()
    seen = target.clone().requires_grad_()
    groups = GROUPS
    ratios = []
    for group in groups:
        wrong = (output.detach()[group] - target[group]).double()
        signal = target[group].double()
        CENTRED
        ratios.append(float(wrong.pow(2).mean() / signal.pow(2).mean()))
    wanted = sum(ratios) / len(ratios)
    found = relative(output, seen)
    assert found.numel() == 1, "one number for the batch"
    assert abs(float(found.detach()) - wanted) < 1e-3 * wanted, "wrong on random \
features"
    assert found.requires_grad, "nothing can be trained with it"
    found.backward()
    assert seen.grad is None, "a gradient goes to the target"
    assert bool((output.grad != 0).all()), "the gradient does not reach the output"
""".replace(
            "GROUPS", "[slice(k, k + 1) for k in range(n)]" if each else "[slice(None)]"
        ).replace(
            "CENTRED",
            "pass" if yardstick == "mean square" else "signal = signal - signal.mean()",
        ),
        wrong=(
            code(signal=other),
            code(over=swapped),
            code(start="target = 1 * target"),
            code(error="(output - target).abs()"),
            code(root=".sqrt()"),
            code(signal=spread.replace("target", "output.detach()", 1)),
        ),
    )


def _parts(draw: random.Random) -> Graded:
    kind, limit = draw.choice(["mean", "sum"]), draw.choice([0.5, 1.0, 2.0])
    share = "len(part) / len(pictures)" if kind == "mean" else "1 / len(pictures)"

    def code(
        forget: str = "",
        weigh: str = share,
        clip: str = f"    torch.nn.utils.clip_grad_norm_([weight], {limit})\n",
        inside: bool = False,
    ) -> str:
        within, after = ("    " + clip, "") if inside else ("", clip)
        return f'''import torch


def gradient(loss_of, weight, pictures, size):
    """The clipped gradient of a step for pictures (N, ...), of which only `size` fit \
into memory at a time."""
    weight = weight.detach().requires_grad_()
    for part in pictures.split(size):
{forget}        loss = loss_of(weight, part)
        ({weigh} * loss).backward()
{within}{after}    return weight.grad
'''

    wrong_share = "1 / len(pictures)" if kind == "mean" else "len(part) / len(pictures)"
    forgotten = "        weight.grad = None\n"
    starter = code(forget=forgotten, weigh="size / len(pictures)", inside=True)
    return Graded(
        name="ch13-parts",
        title="Debugging: a batch in parts",
        points=5,
        statement=f"""A batch does not fit into memory, so it is taken in parts, of \
`size` pictures each; the last part may be smaller.
`loss_of(weight, part)` gives the *{kind}* of the losses of the pictures of a part. \
The gradient shall be that of the *mean* loss over all
pictures, clipped as a whole to a norm of {limit:g}. The function below gives another \
one. Find the three mistakes and mend them.""",
        starter=starter,
        solution=code(),
        visible="""import torch

found = gradient(
    lambda weight, part: (0.25 * part * weight).KIND(), torch.zeros(1), \
torch.ones(3), 2
)
assert abs(float(found) - 0.25) < 1e-5, f"the mean loss has the slope 0.25; you found \
{float(found):.3f}"
""".replace("KIND", kind),
        hidden=f"""import torch

for trial in range(6):
    weight = torch.randn(5)
    pictures = torch.randn(7, 5) * (0.05 if trial % 2 else 3.0)
    at = weight.clone().requires_grad_()
    whole = (pictures @ at - 1).square().mean()
    (slope,) = torch.autograd.grad(whole, at)
    slope = slope * min(1.0, {limit} / float(slope.norm()))

    def loss_of(weight, part):
        return (part @ weight - 1).square().{kind}()

    found = gradient(loss_of, weight.clone(), pictures.clone(), 3)
    assert found.shape == slope.shape, "the gradient has the shape of the weight"
    assert bool((found - slope).norm() < 2e-3 * slope.norm() + 1e-6), "another \
gradient than that of the whole batch"
""",
        wrong=(
            starter,
            code(forget=forgotten),
            code(weigh=wrong_share),
            code(weigh="size / len(pictures)" if kind == "mean" else "1"),
            code(weigh="1" if kind == "mean" else "1 / size"),
            code(clip=""),
            code(inside=True),
        ),
    )


def _pulls(draw: random.Random) -> Graded:
    content = draw.choice([13_000, 8_400, 21_000])
    pixel = draw.choice([0.0002, 0.0005, 0.001])
    style = draw.choice([0.0, float("nan")])
    said = "0 in every step" if style == 0 else "no number (NaN) from step 900 on"
    ratio = content / pixel
    cause = (
        "the term has no way to the output: it was computed from a detached picture, "
        "or without gradients"
        if style == 0
        else "it overflowed, in half precision most likely: float16 ends at 65,504"
    )
    return Graded(
        name="ch13-pulls",
        title="Three terms in a log",
        points=6,
        statement=f"""A colleague logs for each term of her loss the norm of its \
gradient at the output. Content: about {content:,}. Pixel: about
{pixel:g}. Style: {said}. Both weights are 1, and the pixel term falls from step to \
step, so she says that "all terms work". In at most
200 words: say what the pixel term does in this training and why it falls all the \
same, give the weight with which it would pull as hard as
the content term and one reason against that weight, say what is wrong with the style \
term and how you would find out, and propose what
she should change.""",
        rubric=f"""2 points: the pixel term is dead: its pull is {ratio:.1e} times \
weaker; it falls because the content term makes the picture alike in pixels too.
1 point: the weight is about {ratio:.1e}; against it: it holds for this step, layer \
and resolution only, or the numbers are of no use elsewhere.
1 point: style: {cause}.
1 point: a way to find out: requires_grad of the term, or torch.autograd.grad with \
allow_unused; for NaN the largest number in the Gram
matrix's gradient, or the same step in float32.
1 point: a proposal: terms relative to their targets, gradient norms in the log, \
weights from 0.1 to 10.""",
        answer=f"""The pixel term pulls {ratio:.1e} times more weakly than the content \
term: it is there and does nothing. It falls because a picture
with the right features has nearly the right pixels. A weight of {ratio:.1e} would \
make both pull equally hard, in this step; at
another layer, size or state of the training it would be another one, and nobody can \
read it. Of the style term: {cause}. I would look
at `requires_grad`, ask torch.autograd.grad for its gradient at the output, and run \
one step in float32. I propose to measure each term
against its own target, so that all are near 1, to weigh them between 0.1 and 10, and \
to keep the gradient norms in the log.""",
    )
