"""Graded siblings of the exercises of chapter 5: one kernel for two layers, a step of
training, and three symptoms.
"""

from __future__ import annotations

import random

from .graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with factors, terms and symptoms of its own."""
    return [_kernel(draw), _step(draw), _symptoms(draw)]


def _kernel(draw: random.Random) -> Graded:
    factor, size = draw.choice([2, 3, 4]), draw.choice([3, 5])
    whole = factor + size - 1

    def code(value: str) -> str:
        return f'''import torch
import torch.nn.functional as F


def one_kernel(kernel):
    """The ({whole}, {whole}) kernel that does in one layer what resizing by {factor} \
and this kernel do in two."""
    ones = torch.ones(1, 1, {factor}, {factor}, dtype=kernel.dtype)
    weight = kernel[None, None]
    return {value}
'''

    right = f"F.conv2d(ones, weight, padding={size - 1})[0, 0]"
    return Graded(
        name="ch5-one-kernel",
        title="Resize and convolve in one layer",
        points=5,
        statement=f"""Resizing by nearest neighbours and a convolution draw no grid. \
Yet both together are a convolution of stride 1/{factor},
only with a special kernel. For a factor of {factor} and a kernel of {size}×{size}, \
write `one_kernel(kernel)`: the ({whole}, {whole})
tensor `large` for which

    F.conv_transpose2d(x, large[None, None], stride={factor})

equals, for every x of shape (1, 1, H, W), enlarging x {factor} times by nearest \
neighbours, then `F.conv2d` with `kernel` and a
padding of {size - 1} zeros. Keep the kernel's dtype. (What do the weights that meet \
in one output pixel add up to?)""",
        starter=f'''import torch


def one_kernel(kernel):
    """The ({whole}, {whole}) kernel that does in one layer what resizing by {factor} \
and this kernel do in two."""
    raise NotImplementedError
''',
        solution=code(right),
        visible=f"""import torch

kernel = torch.zeros({size}, {size})
kernel[{size // 2}, {size // 2}] = 1  # a convolution that changes nothing
large = one_kernel(kernel)
assert large.shape == ({whole}, {whole}), f"the kernel needs {whole}x{whole} weights, \
yours has {{tuple(large.shape)}}"
assert abs(float(large.sum()) - {factor**2}) < 1e-4, "a pixel becomes {factor**2} \
pixels of the same value"
""",
        hidden=f"""import torch
import torch.nn.functional as F

for dtype in (torch.float32, torch.float64):
    kernel = torch.randn({size}, {size}, dtype=dtype)
    x = torch.randn(1, 1, 4, 5, dtype=dtype)
    two = F.conv2d(F.interpolate(x, scale_factor={factor}), kernel[None, None], \
padding={size - 1})
    large = one_kernel(kernel.clone())
    assert large.shape == ({whole}, {whole}), "the kernel has the wrong size"
    assert large.dtype == dtype, "the kernel's dtype has changed"
    one = F.conv_transpose2d(x, large[None, None], stride={factor})
    assert torch.allclose(one, two, atol=1e-4), "one layer and two layers differ on a \
random picture"
""",
        wrong=(
            # the kernel is turned by half a turn
            code("F.conv_transpose2d(ones, weight)[0, 0]"),
            code(f"{right} / {factor**2}"),
            code(f"F.pad(kernel, (0, {factor - 1}, 0, {factor - 1}))"),
            code(f"F.interpolate(weight, ({whole}, {whole}))[0, 0]"),
        ),
    )


def _step(draw: random.Random) -> Graded:
    normalization = draw.choice(["johnson", "gatys", "mean"])
    kind, weight = draw.choice(["l1", "l2"]), draw.choice([0.5, 2.0, 4.0, 10.0])
    style = {
        "johnson": "squares.sum((1, 2))",
        "gatys": "squares.sum((1, 2)) / 4",
        "mean": "squares.mean((1, 2))",
    }
    content = {"gatys": "(y - x).square().flatten(1).sum(1) / 2"}.get(
        normalization, "(y - x).square().flatten(1).mean(1)"
    )
    pixel = {
        "l1": "(output - photos).abs().mean()",
        "l2": "(output - photos).square().mean()",
    }

    def code(
        first: str = "network.train()\n    optimizer.zero_grad()",
        gram: str = "f @ f.transpose(1, 2) / f[0].numel()",
        squares: str = "(gram - grams).square()",
        pixels: str = pixel[kind],
        features: str = content,
        styles: str = style[normalization],
    ) -> str:
        return f'''import torch


def training_step(network, optimizer, phi, photos, grams, style_weight):
    """One step on a batch of photos (N, 3, H, W), each towards a style of its own, \
grams (N, C, C); the loss."""
    {first}
    output = network(photos)
    y, x = phi(output), phi(photos)
    f = y.flatten(2)
    gram = {gram}
    squares = {squares}
    loss = ({features}).mean() + style_weight * ({styles}).mean() + {weight} * {pixels}
    loss.backward()
    optimizer.step()
    return loss.item()
'''

    faulty = code(
        "network.eval()", squares="(gram.mean(0, True) - grams.mean(0, True)).square()"
    )
    others = [name for name in style if name != normalization]
    other_kind = "l2" if kind == "l1" else "l1"
    return Graded(
        name="ch5-training-step",
        title="Each photo its own style",
        points=5,
        statement=f"""A network with batch normalisation learns several styles at \
once: photo n of a batch should get the style with the
Gram matrix `grams[n]`. The loss is the feature loss to the photos, plus \
`style_weight` times the style loss, both as in the
package under `normalization="{normalization}"` and as means over the batch, plus \
{weight:g} times the {kind.upper()} pixel loss
`pixel_loss(output, photos, "{kind}")`. The function is called step after step. It \
runs, but all photos get a mixture of the
styles, and training gets wild. Find the faults and mend them; `training_step` returns \
the loss before the step, a Python number.""",
        starter=faulty,
        solution=code(),
        visible="""import torch

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3))
optimizer = torch.optim.SGD(network.parameters(), lr=1e-4)
photos, grams = torch.rand(2, 3, 6, 7), torch.rand(2, 3, 3)
losses = [training_step(network, optimizer, lambda picture: picture, photos, grams, \
1.0) for _ in range(3)]
assert all(isinstance(value, float) for value in losses), "return a Python number"
assert network[1].num_batches_tracked == 3, "batch normalisation has learned nothing \
about its batches"
""",
        hidden=f"""import copy

import torch
import torch.nn.functional as F
from pltutorial import feature_loss, pixel_loss, style_loss

for trial in range(3):
    kernel = torch.randn(5, 3, 3, 3) / 3

    def phi(pictures, kernel=kernel):
        return F.conv2d(pictures, kernel, padding=1).relu()

    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), \
torch.nn.Conv2d(4, 3, 1))
    network[0].padding = (1, 1)
    twin = copy.deepcopy(network)
    optimizer, other = (torch.optim.SGD(n.parameters(), lr=1e-4) for n in (network, \
twin))
    photos = torch.rand(3, 3, 8, 9)
    grams = torch.rand(3, 5, 5) * torch.tensor([0.1, 1.0, 2.0]).view(3, 1, 1)
    how = {{"normalization": "{normalization}"}}
    for step in range(3):
        value = training_step(network, optimizer, phi, photos.clone(), grams.clone(), \
3.0)
        output = twin(photos)
        y = phi(output)
        loss = feature_loss(y, phi(photos), **how) + 3.0 * style_loss(y, grams, **how)
        loss = loss + {weight} * pixel_loss(output, photos, "{kind}")
        assert abs(value / float(loss.detach()) - 1) < 1e-3, f"step {{step}}: the loss \
is not the one asked for"
        other.zero_grad()
        loss.backward()
        other.step()
        for mine, right in zip(network.parameters(), twin.parameters()):
            assert torch.allclose(mine, right, atol=1e-5), f"after step {{step}} the \
weights differ"
""",
        wrong=(
            faulty,
            code(first="network.eval()\n    optimizer.zero_grad()"),
            code(first="network.train()"),
            code(squares="(gram.mean(0, True) - grams.mean(0, True)).square()"),
            code(gram="f @ f.transpose(1, 2) / f.numel()"),
            code(pixels=pixel[other_kind]),
            code(styles=style[others[0]]),
        ),
    )


def _symptoms(draw: random.Random) -> Graded:
    doublings = draw.choice([1, 2, 3])
    share, noise = draw.choice([(0.3, 0.2), (0.5, 0.1), (0.6, 0.25)])
    return Graded(
        name="ch5-symptoms",
        title="Three symptoms",
        points=6,
        statement=f"""Three trained style networks come to you. Say for each what is \
the likely cause, by which small experiment you would make
sure, and what you would change.

1. Everything it paints has a fine grid of pitch {2**doublings}, on flat ground above \
all. The grid was there before the training.
2. A photo painted alone is fine; painted in a batch with a black picture it is \
another picture.
3. A photo x and the dull photo {share:g} x + {noise:g} give the same painting, to the \
last grey level. Is this a fault?""",
        rubric=f"""2 points a symptom: 1 for the cause, 1 for an experiment that could \
come out otherwise, or the change.
1: transposed convolutions, {doublings} of stride 1/2; average the pixels by their \
place in the square; resize and convolve.
2: batch normalisation in training mode; call eval() or compare the running statistics \
before and after; eval().
3: instance normalisation removes scale and shift; not a fault of the code: contrast \
is taken for style. Feeding it the mean brightness, or batch normalisation, would tell \
it.""",
        answer=f"""1. {doublings} upsampling{"s" if doublings > 1 else ""} by 2 with \
transposed convolutions: kernels of 3 meet 1, 2 or 4 of their
weights. Average all pixels with the same place in a square of {2**doublings}; with \
resizing before the convolutions the means agree.
2. Batch normalisation was left in training mode, so the means of the batch count, and \
the running ones drift. Call eval() and the
photo no longer depends on its neighbours.
3. Instance normalisation: {share:g} x + {noise:g} has the same normalised channels \
after the first convolution. It is no fault but a
property, good for styles, bad where the light matters; a network with batch \
normalisation gives two paintings.""",
    )
