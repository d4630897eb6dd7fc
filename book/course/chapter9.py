"""Graded siblings of the exercises of chapter 9: what a code costs, and what a
discriminator calls alike.
"""

from __future__ import annotations

import math
import random

from .graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with a prior, units, weights and
    numbers of its own.
    """
    return [_free_nats(draw), _rate(draw), _likeness(draw), _table(draw)]


def _free_nats(draw: random.Random) -> Graded:
    variance, floor = (
        draw.choice([0.25, 0.5, 2.0, 4.0]),
        draw.choice([0.1, 0.2, 0.3, 0.5]),
    )

    def code(
        prior: float = variance,
        total: str = f"nats.mean(0).clamp_min({floor}).sum()",
        half: str = " / 2",
    ) -> str:
        return f'''import torch


def price(mean, log_variance):
    """The price of the codes (N, Z) of a batch: nats from N(0, {variance}), at least \
{floor} for each number."""
    ratio = log_variance.exp() / {prior}
    nats = (mean**2 / {prior} + ratio - ratio.log() - 1){half}
    return {total}
'''

    return Graded(
        name="ch9-free-nats",
        title="A code with free nats",
        points=4,
        statement=f"""Against posterior collapse some training gives the first nats of \
each number away. Write
`price(mean, log_variance)` for a batch of codes, both (N, Z): for each of the Z \
numbers the divergence of its Gaussians from the
prior $\\mathcal N(0, {variance})$ ({variance} is its *variance*), as a mean over the \
batch; a number below {floor} nats counts as
{floor}; the price is the sum over the Z numbers. Return one tensor with a gradient.""",
        starter=f'''import torch


def price(mean, log_variance):
    """The price of the codes (N, Z) of a batch: nats from N(0, {variance}), at least \
{floor} for each number."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""import torch

at_prior = torch.zeros(3, 4), torch.full((3, 4), {math.log(variance)!r})
found = float(price(*at_prior))
assert abs(found - {4 * floor!r}) < 1e-5, f"the prior itself costs nothing, so four \
numbers cost the least price each; you found {{found:.4f}}"
""",
        hidden=f"""import torch
from torch.distributions import Normal, kl_divergence

for trial in range(6):
    n, z = 3 + trial, 2 + trial
    mean = {2 * math.sqrt(variance)!r} * torch.randn(n, z) * torch.rand(z).sqrt()
    log_variance = {math.log(variance)!r} + 0.5 * torch.randn(n, z)
    mean[:, 0], log_variance[:, 0] = 0, {math.log(variance)!r}  # a silent number
    mean[0, 0] = {2 * math.sqrt(floor * variance)!r}  # loud for one picture, silent \
on average
    nats = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, \
{math.sqrt(variance)!r})).mean(0)
    wanted = float(torch.maximum(nats, torch.tensor({floor})).sum())
    mean.requires_grad_()
    found = price(mean, log_variance)
    assert found.numel() == 1, "one number for the batch"
    assert abs(float(found.detach()) - wanted) < 1e-3 * (1 + wanted), "wrong on random \
codes"
    found.backward()
    assert bool((mean.grad != 0).any()) == bool((nats > {floor}).any()), "the gradient \
does not pass"
""",
        wrong=(
            code(prior=1.0),
            code(prior=variance**2),
            code(total=f"nats.clamp_min({floor}).mean(0).sum()"),
            code(total=f"nats.sum(1).mean().clamp_min({floor})"),
            code(total=f"nats.mean(0).clamp_max({floor}).sum()"),
            code(total=f"nats.mean(0).clamp_min({floor}).mean()"),
            code(half=""),
        ),
    )


def _rate(draw: random.Random) -> Graded:
    unit, over = (
        draw.choice(["nats", "bits"]),
        draw.choice(["divided by D", "not divided by anything"]),
    )
    per_number = over == "divided by D"
    sigma2 = {True: "kl_weight / 2", False: "kl_weight * pictures.shape[1] / 2"}

    def code(
        noise: str = sigma2[per_number],
        log: str = "log" if unit == "nats" else "log2",
        centre: str = "mean(0)",
    ) -> str:
        return f'''import torch


def rate(pictures, kl_weight):
    """How many directions the best linear VAE uses for pictures (N, D), and the mean \
{unit} of a picture."""
    centred = pictures.double() - pictures.double().{centre}
    variances = torch.linalg.svdvals(centred).square() / len(pictures)
    noise = {noise}
    used = variances[variances > noise]
    return len(used), float((used / noise).{log}().sum() / 2)
'''

    weight, numbers = draw.choice([0.5, 1.0, 2.0]), 2
    noise = weight / 2 if per_number else weight * numbers / 2
    large = noise * draw.choice([4, 16])
    bits = math.log2(large / noise) / 2
    shown = bits if unit == "bits" else bits * math.log(2)
    return Graded(
        name="ch9-rate",
        title="What a weight can pay for",
        points=5,
        statement=f"""A linear VAE is trained with the mean squared error over the D \
numbers of a picture plus `kl_weight` times
the divergence in nats, {over}. Write `rate(pictures, kl_weight)` for pictures (N, D), \
which need not have mean 0: the count of
principal directions that the *best* such VAE uses, as a Python int, and the mean \
divergence of a picture in *{unit}*, as a float.
Variances are means over the N pictures. First find out which variance of the noise of \
one pixel the weight stands for: it is
decided by what is divided by D, and what is not.""",
        starter=f'''import torch


def rate(pictures, kl_weight):
    """How many directions the best linear VAE uses for pictures (N, D), and the mean \
{unit} of a picture."""
    raise NotImplementedError
''',
        solution=code(),
        visible=f"""import torch

pictures = 5 + {math.sqrt(2 * large)!r} * torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, \
0.0], [0.0, 0.0]])
count, found = rate(pictures, {weight})
assert count == 1, f"only the first number varies; you found {{count}} directions"
assert abs(found - {shown!r}) < 1e-3, f"its variance is {large:g}; at the weight \
{weight} that is {shown:.3f} {unit}, you found {{found:.3f}}"
""",
        hidden=f"""import torch

for trial in range(5):
    d = 3 + trial
    noise = 0.2 + 2 * float(torch.rand(()))
    factors = torch.tensor([9.0, 3.0, 1.5, 0.6, 0.7, 0.2, 0.1])[:d] * (0.95 + 0.1 * \
torch.rand(d))
    frame = torch.linalg.qr(torch.randn(40, 40).double())[0]
    frame = frame - frame.mean(0)
    basis = torch.linalg.svd(frame, full_matrices=False)[0][:, :d]  # orthonormal, \
each of mean 0
    turn = torch.linalg.qr(torch.randn(d, d).double())[0]
    pictures = (basis * (40 * noise * factors.double()).sqrt()) @ turn.T + 3 * \
torch.rand(d).double()
    count, found = rate(pictures.clone(), \
{"2 * noise" if per_number else "2 * noise / d"})
    above = factors[factors > 1].double()
    assert count == len(above), "the wrong number of directions: which variance does \
the weight stand for?"
    assert abs(found - float(above.{"log" if unit == "nats" else "log2"}().sum() / 2)) \
< 1e-3, "the count is right and the price wrong"
""",
        wrong=(
            code(noise=sigma2[not per_number]),
            code(noise="kl_weight"),
            code(log="log2" if unit == "nats" else "log"),
            code(centre="mean()"),
            code().replace(".sum() / 2)", ".sum())"),
        ),
    )


def _likeness(draw: random.Random) -> Graded:
    weights = dict(
        zip(("conv1", "conv2", "conv3"), draw.sample([1, 2, 3, 5], 3), strict=True)
    )
    each = draw.choice([True, False])
    whose = (
        "each picture by itself, then the mean over the batch"
        if each
        else "all pictures of the batch together"
    )
    sums = ".flatten(1).sum(1)" if each else ".sum()"
    mean = ".mean()" if each else ""

    def code(
        blind: str = "real",
        size: str = "real",
        divided: str = f" / {sum(weights.values())}",
        root: str = "",
    ) -> str:
        made, real = "    made = features(output)\n", "    real = features(target)\n"
        body = {
            "real": f"{made}    with torch.no_grad():\n    {real}",
            "both": f"    with torch.no_grad():\n    {made}    {real}",
        }[blind]
        return f'''import torch

WEIGHTS = {weights}


def likeness(output, target, features):
    """The weighted mean over layers of the relative squared error of features, for \
{"each picture" if each else "the batch"}."""
{body}    total = 0
    for name, weight in WEIGHTS.items():
        error = (made[name] - real[name]).square(){sums}{root}
        size = {size}[name].square(){sums}{root}
        total = total + weight * (error / size){mean}
    return total{divided}
'''

    other = code().replace(sums, ".sum()" if each else ".flatten(1).sum(1)")
    other = other.replace(
        "(error / size)" + mean, "(error / size)" + ("" if each else ".mean()")
    )
    starter = code(blind="both", size="made", divided="")
    return Graded(
        name="ch9-likeness",
        title="Debugging: likeness as a forger's opponent sees it",
        points=5,
        statement=f"""A VAE/GAN compares hidden features of its discriminator: in each \
layer the squared error of the features,
divided by the squared size of the *target's*, for {whose}; then a mean over the \
layers with the weights
{", ".join(f"{name}: {weight}" for name, weight in weights.items())}. \
`features(pictures)` gives a dictionary of layers. With the
function below the generator does not learn at all; when that is mended it makes its \
features huge; and the loss of a blank that
has no features is not 1. Find the three mistakes and mend them. The discriminator is \
not to be trained by this loss through
the target.""",
        starter=starter,
        solution=code(),
        visible="""import torch


def features(pictures):
    return {"conv1": pictures, "conv2": 2 * pictures, "conv3": pictures.sum(1, \
keepdim=True)}


target = torch.rand(2, 3, 4, 4) + 0.1
assert abs(float(likeness(target, target, features))) < 1e-6, "a picture is at \
distance 0 from itself"
assert abs(float(likeness(0 * target, target, features)) - 1) < 1e-5, "a blank has \
lost everything in each layer: 1"
""",
        hidden=f"""import torch
from torch import nn

for trial in range(3):
    first, second, third = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.Conv2d(5, 2, 1)
    for layer in (first, second, third):
        with torch.no_grad():
            layer.weight.copy_(0.4 * torch.randn(layer.weight.shape))

    def features(pictures):
        one = first(pictures)
        two = second(torch.tanh(one))
        return {{"conv3": third(two), "conv1": one, "conv2": two}}

    target = torch.rand(3, 3, 7, 7) * torch.tensor([0.2, 1.0, 3.0]).view(3, 1, 1, 1)
    output = (target + torch.randn(3, 3, 7, 7)).requires_grad_()
    weight = {weights}
    made, real = features(output), {{name: value.detach() for name, value in \
features(target).items()}}
    wanted = 0
    for name in weight:
        groups = {"range(3)" if each else "[slice(None)]"}
        ratios = [(made[name][g] - real[name][g]).pow(2).sum() / \
real[name][g].pow(2).sum() for g in groups]
        wanted = wanted + weight[name] * sum(ratios) / len(ratios) / \
{sum(weights.values())}
    (slope,) = torch.autograd.grad(wanted, output)
    found = likeness(output, target.clone(), features)
    assert abs(float(found.detach()) - float(wanted.detach())) < 1e-3 * \
float(wanted.detach()), "wrong on random features"
    assert found.requires_grad, "the loss has no gradient, so nothing learns from it"
    found.backward()
    assert output.grad is not None and torch.allclose(output.grad, slope, rtol=1e-3, \
atol=1e-5), "the gradient is wrong"
    seen = torch.rand(3, 3, 7, 7).requires_grad_()
    loss = likeness(output, seen, features)
    assert torch.autograd.grad(loss, seen, allow_unused=True)[0] is None, "the loss \
has a gradient through the target"
""",
        wrong=(
            starter,
            code(blind="both"),
            code(size="made"),
            code(divided=""),
            code(root=".sqrt()"),
            other,
        ),
    )


def _table(draw: random.Random) -> Graded:
    real_sharp, real_div = 0.021, 0.47
    sharp = round(draw.uniform(0.9, 1.2) * real_sharp, 4)
    few = draw.choice([4, 8, 16])
    low = round(real_div * (1 - 1 / few) * 64 / 63, 2)
    blurred = round(draw.uniform(0.001, 0.003), 4)
    middle = round(draw.uniform(0.30, 0.33), 2)
    return Graded(
        name="ch9-table",
        title="Two generators in a table",
        points=6,
        statement=f"""Of two generators you are given these numbers, each over 64 \
samples. Real pictures: sharpness {real_sharp},
diversity {real_div}. Generator A: sharpness {sharp}, diversity {low}. Generator B: \
sharpness {blurred}, diversity {middle}. Their
authors say: "A is as sharp as reality and more diverse than B, so it has learned the \
collection." In at most 200 words: name at least two generators of quite different \
kinds that would have A's
numbers, compute the diversity of one of them, say what B's numbers look like as \
pictures, and which measurement or figure you
would ask for.""",
        rubric=f"""2 points: a generator with few pictures drawn again and again has \
A's numbers; computed: with k pictures, each equally often, about (1 - 1/k) · 64/63 of \
the real diversity, so k = {few} gives {low}.
1 point: another kind: rims and noise without objects, or training pictures learned by \
heart; sharpness needs no object, and noise is sharp.
1 point: B is blurred: a mean of what is plausible; its diversity is low because \
blurred pictures resemble each other, not because it collapsed.
1 point: asks for something that can tell: distances of samples to their nearest other \
sample (0 for twins), and to the nearest training picture.
1 point: asks to see all 64 samples, not chosen ones; or says that neither number \
needs a thing that can be named.""",
        answer=f"""A may know only {few} pictures and draw each equally often: of 63 \
other samples {64 // few - 1} are the same, at
distance 0, and the rest are as far away as real pictures are, so diversity is \
{real_div} · {64 - 64 // few}/63 = {low}, with the
sharpness of reality. It may also draw rims, flat colours and grain without any \
object: noise is sharp, and differs from sample to
sample. Or it may have learned training pictures by heart. B is a blur: sharpness far \
below the real one, the mean of what is
plausible, and blurred pictures are near each other, which lowers diversity without a \
collapse. I would ask for all 64 samples
and not a choice, for the distance of each sample to its nearest other sample, which \
is zero for twins, and for the distance to the
nearest training picture, compared with that of unseen real pictures.""",
    )
