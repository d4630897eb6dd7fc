"""Graded siblings of the exercises of chapter 7: holes, noise, and
what a loss counts.
"""

from __future__ import annotations

import random

from .graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with a reach, a noise, weights and
    a case of its own.
    """
    return [_rim(draw), _guess(draw), _hole_loss(draw), _evidence(draw)]


def _rim(draw: random.Random) -> Graded:
    reach, how = draw.choice([1, 2, 3]), draw.choice(["absolute", "squared"])
    power = {"absolute": "abs", "squared": "square"}[how]

    def code(inside: str, count: str, kind: str = power, size: int = reach) -> str:
        return f'''import torch
import torch.nn.functional as F


def rim_error(output, target, mask):
    """The mean {how} error of the missing pixels at most {reach} from a known one; \
mask is 1 in the holes."""
    around = F.max_pool2d(1 - mask, {2 * size + 1}, stride=1, padding={size})
    chosen = {inside}
    error = (output - target).{kind}()
    return float((error * chosen).sum() / ({count}))
'''

    other = "square" if power == "abs" else "abs"
    return Graded(
        name="ch7-rim-error",
        title="How good is the rim?",
        points=4,
        statement=f"""In a hole the distance to the rim counts. Write \
`rim_error(output, target, mask)`: the mean {how} error,
over all three colours, of those *missing* pixels that have a known pixel at most \
{reach} away. Distance is counted as a king
walks in chess: all pixels of the square of {2 * reach + 1}×{2 * reach + 1} around a \
pixel are at most {reach} away.

`output` and `target` are (1, 3, H, W) in [0, 1]; `mask` is (1, 1, H, W), 1 in the \
holes. Known pixels may differ, and do not
count. Some pixel is known and some is missing.""",
        starter=f'''import torch


def rim_error(output, target, mask):
    """The mean {how} error of the missing pixels at most {reach} from a known one; \
mask is 1 in the holes."""
    raise NotImplementedError
''',
        solution=code("around * mask", "3 * chosen.sum()"),
        visible=f"""import torch

mask = torch.zeros(1, 1, 1, 12)
mask[..., 2:] = 1  # two known pixels, then ten missing ones
target = torch.zeros(1, 3, 1, 12)
output = torch.full_like(target, 0.5)
output[..., {2 + reach} :] = 0.9  # too far from the rim to count
found = rim_error(output, target, mask)
assert isinstance(found, float), "return one Python number"
assert abs(found - {0.5 if how == "absolute" else 0.25}) < 1e-5, f"the first {reach} \
missing pixels are 0.5 wrong; you found {{found:.4f}}"
""",
        hidden=f"""import torch

for trial in range(6):
    h, w = int(torch.randint(7, 12, ())), int(torch.randint(7, 12, ()))
    mask = (torch.rand(1, 1, h, w) < 0.85).float()
    mask[..., 0, 0], mask[..., 1, 1], mask[..., 4:, 4:] = 0, 1, 1
    target, output = torch.rand(1, 3, h, w), torch.rand(1, 3, h, w)
    total, count = 0.0, 0
    for y in range(h):
        for x in range(w):
            square = mask[0, 0, max(0, y - {reach}) : y + {reach + 1}, max(0, x - \
{reach}) : x + {reach + 1}]
            if mask[0, 0, y, x] == 1 and float(square.min()) == 0:
                total += float((output - target)[0, :, y, x].{power}().sum())
                count += 3
    found = float(rim_error(output.clone(), target.clone(), mask.clone()))
    assert abs(found - total / count) < 1e-4, "wrong on a random mask: which pixels \
count, and by how many do you divide?"
""",
        wrong=(
            code("around * mask", "chosen.sum()"),
            code("around", "3 * chosen.sum()"),
            code("mask", "3 * chosen.sum()"),
            code("around * mask", "3 * mask.sum()"),
            code("around * mask", "3 * chosen.sum()", size=reach + 1),
            code("around * mask", "3 * chosen.sum()", kind=other),
        ),
    )


def _guess(draw: random.Random) -> Graded:
    kind, level = draw.choice(["Gaussian", "Laplace"]), draw.randrange(20, 61, 5)
    density = {
        "Gaussian": (
            r"e^{-n^2 / 2\sigma^2}$ with a standard deviation of "
            rf"$\sigma = {level}/255"
        ),
        "Laplace": rf"e^{{-|n| / b}}$ with a scale of $b = {level}/255",
    }[kind]
    exponents = {
        "Gaussian": (
            "-(pictures - noisy).square().flatten(1).sum(1) / (2 * "
            f"({level} / 255) ** 2)"
        ),
        "Laplace": f"-(pictures - noisy).abs().flatten(1).sum(1) / ({level} / 255)",
    }
    right = exponents[kind]
    other = exponents["Laplace" if kind == "Gaussian" else "Gaussian"]

    def code(
        exponent: str, shares: str = "(exponents + chances.log()).softmax(0)"
    ) -> str:
        return f'''import torch


def best_guess(noisy, pictures, chances):
    """The picture (1, 3, H, W) with the least expected squared error, for {kind} \
noise."""
    exponents = {exponent}
    shares = {shares}
    return torch.einsum("n,nchw->chw", shares, pictures)[None]
'''

    return Graded(
        name="ch7-best-guess",
        title="A best guess with favourites",
        points=5,
        statement=f"""A noisy picture is one of N known ones, which are *not* equally \
likely: picture $i$ has the chance $p_i$.
The noise $n$ of each value is independent and has the density proportional to \
${density}$, in units of [0, 1].
Write `best_guess(noisy, pictures, chances)`: the picture with the least expected \
squared error.

`noisy` is (1, 3, H, W), `pictures` (N, 3, H, W), `chances` (N,) with sum 1, all above \
0; the answer is (1, 3, H, W). It must
be finite for large pictures too.""",
        starter=f'''import torch


def best_guess(noisy, pictures, chances):
    """The picture (1, 3, H, W) with the least expected squared error, for {kind} \
noise."""
    raise NotImplementedError
''',
        solution=code(right),
        visible="""import torch

pictures = torch.stack([torch.zeros(3, 2, 2), torch.ones(3, 2, 2)])
found = best_guess(torch.full((1, 3, 2, 2), 0.5), pictures, torch.tensor([0.25, 0.75]))
assert found.shape == (1, 3, 2, 2), "return one picture, (1, 3, H, W)"
assert torch.allclose(found, torch.full_like(found, 0.75), atol=1e-4), "half way \
between two pictures only their chances count"
""",
        hidden=f"""import torch


def wanted(noisy, pictures, chances):
    noisy, pictures, chances = noisy.double(), pictures.double(), chances.double()
    exponents = {right}
    return torch.einsum("n,nchw->chw", (exponents + chances.log()).softmax(0), \
pictures)[None]


for trial in range(8):
    count, side = (2 + trial % 3, 1) if trial < 6 else (3, 24)
    pictures = torch.rand(count, 3, side, side)
    chances = torch.tensor([0.04, 0.3, 0.2, 0.1])[:count] + 0.2 * torch.rand(count)
    chances = chances / chances.sum()
    middle = pictures.mean(0, keepdim=True)
    if side == 1:  # near each other, so that the noise leaves doubt
        pictures = middle + {level} / 255 * (pictures - middle)
    noisy = pictures[:1] + {level} / 255 * torch.randn(1, 3, side, side)
    found = best_guess(noisy.clone(), pictures.clone(), chances.clone())
    assert bool(torch.isfinite(found).all()), "not finite: e to the power of a large \
negative number is 0"
    assert torch.allclose(found.double(), wanted(noisy, pictures, chances), \
atol=1e-4), "wrong on random pictures"
""",
        wrong=(
            code(right, "exponents.softmax(0)"),
            code(right.replace(" / 255", "")),
            code(other),
            code(right.replace("sum(1)", "mean(1)")),
            code(
                right, "(exponents.exp() * chances) / (exponents.exp() * chances).sum()"
            ),
            code(right, "(exponents * chances).softmax(0)"),
        ),
    )


def _hole_loss(draw: random.Random) -> Graded:
    known, missing = draw.choice([1, 2, 3]), draw.choice([4, 5, 6, 8])
    where = draw.choice(["in the holes", "where the picture is known"])
    marks, others = (
        ("missing", "known") if where == "in the holes" else ("known", "missing")
    )
    weights = {"known": known, "missing": missing}

    def code(
        first: str, second: str, count: str = "{0}.expand_as(error).sum().clamp_min(1)"
    ) -> str:
        return f'''import torch


def hole_loss(output, target, mask):
    """{known} times the mean absolute error of the known pixels plus {missing} times \
that of the missing ones.

    Pictures are (N, 3, H, W), the mask is (N, 1, H, W), 1 {where}; a kind of pixels \
that does not occur costs 0.
    """
    error = (output - target).abs()
    {first} = mask
    {second} = 1 - mask
    loss_known = (error * known).sum() / {count.format("known")}
    loss_missing = (error * missing).sum() / {count.format("missing")}
    return {known} * loss_known + {missing} * loss_missing
'''

    starter = code(others, marks, "{0}.sum()")
    return Graded(
        name="ch7-hole-loss",
        title="Debugging: holes that weigh more",
        points=4,
        statement=f"""A colleague takes the loss of a paper for holes: {known} times \
the mean absolute error of the known pixels
plus {missing} times that of the missing ones, over all pictures of the batch and all \
colours. Her masks are 1 *{where}*; those
of the paper are the other way round. The network learns the known pixels well and the \
holes badly, the loss is larger than it
should be, and on a batch of one kind of pixels only it is no number. Find the three \
mistakes and mend them.""",
        starter=starter,
        solution=code(marks, others),
        visible=f"""import torch

mask = torch.zeros(1, 1, 2, 2)
mask[..., 0, 0] = 1  # one pixel of four is {marks}
loss = hole_loss(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), mask)
assert abs(float(loss.detach()) - {known + missing}) < 1e-5, f"everything is wrong by \
1, so the loss is {known} + {missing}; yours is {{float(loss):.3f}}"
""",
        hidden=f"""import torch

for share in (0.2, 0.5, 0.8):
    mask = (torch.rand(3, 1, 6, 7) < share).float()
    mask[0, 0, 0, 0], mask[0, 0, 1, 1] = 0, 1
    target = torch.rand(3, 3, 6, 7)
    output = torch.rand(3, 3, 6, 7).requires_grad_()
    error = (output.detach() - target).abs()
    marked = error[mask.expand_as(error) == 1].mean()
    rest = error[mask.expand_as(error) == 0].mean()
    right = {weights[marks]} * marked + {weights[others]} * rest
    loss = hole_loss(output, target, mask.clone())
    assert abs(float(loss.detach()) - float(right)) < 1e-4, "wrong on a random mask"
    loss.backward()
    assert bool((output.grad != 0).all()), "some pixels have no gradient"
output = torch.rand(2, 3, 4, 4)
for value, weight in ((1.0, {weights[marks]}), (0.0, {weights[others]})):
    loss = float(hole_loss(output, torch.zeros_like(output), torch.full((2, 1, 4, 4), \
value)))
    assert abs(loss - weight * float(output.mean())) < 1e-4, "where one kind of pixels \
does not occur it must cost 0"
""",
        wrong=(
            starter,
            code(others, marks),
            code(marks, others, "{0}.sum()"),
            code(marks, others, "{0}.expand_as(error).sum()"),
            code(marks, others, "error.numel()"),
        ),
    )


def _evidence(draw: random.Random) -> Graded:
    case, danger = draw.choice(
        [
            (
                "a library that cleans noisy scans of old letters",
                "a digit or a letter that was never written",
            ),
            (
                "a laboratory that counts cells in noisy microscope pictures",
                "texture that is counted as a cell",
            ),
            (
                "a garage that reads number plates at night",
                "a plate that belongs to somebody else",
            ),
            (
                "an observatory that looks for faint stars in noisy frames",
                "grain that is taken for a star, or a star that is smoothed away",
            ),
        ]
    )
    sigma = draw.choice([15, 25, 35, 50])
    return Graded(
        name="ch7-evidence",
        title="Which denoiser would you sell?",
        points=6,
        statement=f"""You advise {case}. The noise is about $\\sigma = {sigma}$. Two \
networks are for sale: the pixel one and the
combined one of chapter 7. In at most 200 words: which do you take, what does the \
other one do better, which of the measurements
of the chapter do you base this on, and which one test on *their* pictures would you \
run before you sign?""",
        rubric=f"""2 points: chooses the pixel network (or none of the two) and names \
the danger, {danger}; choosing the combined one earns them only with a measure against \
exactly this danger.
1 point: says what the other one has: the smaller perceptual distance and the contrast \
of neighbours, at a lower PSNR in every row of the record.
1 point: quotes a measurement and not an impression: the table, the grain of the flat \
wall, or the digits that changed.
1 point: says that the pixel loss may change what it draws too, only less \
convincingly, or that real noise is not Gaussian (smeared noise gained less than half).
1 point: the test can fail: pictures with known truth of their own, a number to be \
counted, and a threshold set before.""",
        answer=f"""The pixel network. By the record the combined one has the smaller \
perceptual distance and keeps more contrast,
but its PSNR is lower in every row, and on a flat wall it left more than 1.3 times the \
grain: here that means {danger}. The pixel
network is not innocent either; under strong noise it drew clean digits that were \
wrong. A blur at least says that nothing is
known. Before signing: photograph or scan fifty things whose truth is known, with \
their camera, whose noise is smeared and not
Gaussian, let both networks clean them, and count the changed readings; agree \
beforehand how many are too many, and compare with
the readings of the noisy pictures themselves.""",
    )
