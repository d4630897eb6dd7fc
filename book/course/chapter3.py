"""Graded siblings of the exercises of chapter 3: a Gram matrix with an offset, a loss
of moments, what survives.
"""

from __future__ import annotations

import random

from .graded import Graded


def graded(draw: random.Random) -> list[Graded]:
    """The exercises of one course, with offsets, normalisations and
    periods of its own.
    """
    return [_offset(draw), _moments(draw), _survives(draw)]


def _offset(draw: random.Random) -> Graded:
    down, side = draw.choice([1, 2, 3]), draw.choice([-3, -2, -1, 1, 2, 3])
    divisor = draw.choice(
        ["the number of pairs of positions", "C times the number of pairs of positions"]
    )
    channels = "feature.shape[1] * " if divisor.startswith("C") else ""
    where = f"{abs(side)} to the {'right' if side > 0 else 'left'}"

    def code(
        down: int = down,
        side: int = side,
        count: str = "here[0, 0].numel()",
        order: str = "nij",
    ) -> str:
        left = f":-{side}" if side > 0 else f"{-side}:"
        right = f"{side}:" if side > 0 else f":{side}"
        return f'''import torch


def offset_gram(feature):
    """Each channel times each channel {abs(down)} positions further down and {where}, \
for (N, C, H, W): (N, C, C)."""
    here, there = feature[:, :, :-{down}, {left}], feature[:, :, {down}:, {right}]
    return torch.einsum("nihw,njhw->{order}", here, there) / ({channels}{count})
'''

    rolled = f'''import torch


def offset_gram(feature):
    """Positions are rolled, so that the edges meet."""
    there = feature.roll((-{down}, {-side}), (2, 3))
    return torch.einsum("nihw,njhw->nij", feature, there) / ({channels}feature[0, \
0].numel())
'''
    return Graded(
        name="ch3-offset-gram",
        title="A Gram matrix that looks aside",
        points=5,
        statement=f"""Write `offset_gram(feature)` for features (N, C, H, W). Its \
entry $[n, i, j]$ is the sum, over all positions, of channel $i$ times the value of \
channel $j$ that lies **{down} further down and {where}**. Only pairs count of which \
both positions exist, and the sum is divided by {divisor}. The result is (N, C, C).""",
        starter=f'''import torch


def offset_gram(feature):
    """Each channel times each channel {down} positions further down and {where}, for \
(N, C, H, W): (N, C, C)."""
    raise NotImplementedError
''',
        solution=code(),
        visible="""import torch

feature = torch.rand(2, 3, 8, 9)
assert offset_gram(feature).shape == (2, 3, 3), "return a matrix for each picture, (N, \
C, C)"
assert torch.allclose(offset_gram(2 * feature), 4 * offset_gram(feature)), "it is a \
sum of products of two values"
""",
        hidden=f"""import torch

for count, channels, height, width in ((1, 2, 5, 6), (3, 4, 7, 5)):
    feature = torch.rand(count, channels, height, width) * torch.linspace(0.3, 2, width)
    feature = feature * torch.arange(1.0, channels + 1).view(-1, 1, 1)
    right, pairs = torch.zeros(count, channels, channels), 0
    for y in range(height - {down}):
        for x in range(width):
            if 0 <= x + {side} < width:
                right += feature[:, :, y, x][:, :, None] * feature[:, :, y + {down}, x \
+ {side}][:, None]
                pairs += 1
    right = right / (pairs * {"channels" if channels else "1"})
    value = offset_gram(feature)
    assert value.shape == right.shape, "a matrix for each picture, (N, C, C)"
    assert torch.allclose(value, right, rtol=1e-3), "an entry is not right"
""",
        wrong=(
            code(side=-side),
            code(order="nji"),
            code(count="feature[0, 0].numel()"),
            rolled,
            code(count="here[:, 0].numel() * 2"),
        ),
    )


def _moments(draw: random.Random) -> Graded:
    weight, epsilon = draw.choice([0.25, 0.5, 2.0, 4.0]), draw.choice([1e-3, 1e-2, 0.1])
    correction = draw.choice([0, 1])
    by = (
        "the number of positions"
        if correction == 0
        else "one less than the number of positions"
    )
    axes = "(2, 3)"

    def code(
        axes: str = axes,
        correction: int = correction,
        weight: float = weight,
        end: str = ".sum(1).mean()",
        target: str = "style.detach()",
        inside: bool = True,
    ) -> str:
        root = f"(v + {epsilon}).sqrt()" if inside else f"v.sqrt() + {epsilon}"
        return f'''import torch


def moments_loss(output, style):
    """Sum over channels, mean over pictures, of (mean - mean)**2 + {weight} * \
(deviation - deviation)**2."""
    (m, s), (a, b) = moments(output), moments({target})
    return ((m - a) ** 2 + {weight} * (s - b) ** 2){end}


def moments(feature):
    """Mean and deviation, sqrt(variance + {epsilon}), of each channel of each \
picture: two tensors (N, C)."""
    m = feature.mean({axes}, keepdim=True)
    v = ((feature - m) ** 2).sum({axes}) / (feature.flatten(2).shape[2] - {correction})
    return m.view(m.shape[:2]), {root}
'''

    starter = code(
        axes="(0, 2, 3)",
        correction=1 - correction,
        end=".mean()",
        target="style",
        inside=False,
    ).replace("feature.flatten(2).shape[2]", "feature[:, 0].numel()")
    starter = starter.replace("m.view(m.shape[:2])", "m.view(1, -1)").replace(
        ".sum((0, 2, 3)) /", ".sum((0, 2, 3))[None] /"
    )
    pooled = starter.replace(f"- {1 - correction})", f"- {correction})").replace(
        "moments(style)", "moments(style.detach())"
    )
    pooled = pooled.replace(f"v.sqrt() + {epsilon}", f"(v + {epsilon}).sqrt()").replace(
        "(s - b) ** 2).mean()", "(s - b) ** 2).sum(1).mean()"
    )
    return Graded(
        name="ch3-moments",
        title="Means and deviations instead of a matrix",
        points=5,
        statement=f"""A style loss without Gram matrices compares, channel by channel, \
the mean and the deviation of the features: $\\sum_c (m_c - a_c)^2 + {weight} \\sum_c \
(s_c - b_c)^2$, and the mean of that over the pictures. Each *picture* of the output \
(N, C, H, W) has its own moments, and all have the one style (1, C, H', W') as target. \
The deviation is $\\sqrt{{v + {epsilon}}}$ with the variance $v$ divided by {by}. The \
code below falls in training and yet no single picture gets the style, equal features \
make gradients NaN, and the style's own features get a gradient. Find the faults and \
mend them all.""",
        starter=starter,
        solution=code(),
        visible="""import torch

feature = torch.rand(2, 3, 5, 6)
assert moments_loss(feature, feature[:1]).ndim == 0, "return one number"
assert abs(float(moments_loss(feature[:1], feature[:1]))) < 1e-6, "a picture has its \
own style"
""",
        hidden=f"""import torch

for count, size in ((1, (3, 4)), (3, (5, 2))):
    output = (torch.rand(count, 4, 3, 4) * torch.linspace(0.5, 2, count).view(-1, 1, \
1, 1)).requires_grad_()
    style = (2 * torch.rand(1, 4, *size)).requires_grad_()

    def of(feature):
        flat = feature.flatten(2)
        return flat.mean(2), (flat.var(2, correction={correction}) + {epsilon}).sqrt()

    (m, s), (a, b) = of(output), of(style.detach())
    right = ((m - a).square() + {weight} * (s - b).square()).sum(1).mean()
    (slope,) = torch.autograd.grad(right, output)
    value = moments_loss(output, style)
    assert abs(value.item() / right.item() - 1) < 1e-3, "the number is not what the \
formula says"
    value.backward()
    assert torch.allclose(output.grad, slope, rtol=1e-3, atol=1e-6), "the gradient is \
not right"
    assert style.grad is None or float(style.grad.abs().max()) == 0, "the style gets a \
gradient"
silent = torch.zeros(1, 4, 3, 3, requires_grad=True)
moments_loss(silent, torch.rand(1, 4, 3, 3)).backward()
assert torch.isfinite(silent.grad).all(), "a silent channel makes the gradient NaN"
""",
        wrong=(
            pooled,  # the moments of the whole batch
            code(correction=1 - correction),
            code(end=".mean()"),
            code(end=".sum()"),
            code(target="style"),
            code(inside=False),
            code(weight=weight * 2),
        ),
    )


def _survives(draw: random.Random) -> Graded:
    small, large = draw.choice([4, 6, 8]), draw.choice([56, 64, 72])
    huge = draw.choice([120, 150, 180])
    factor = draw.choice([2, 3])
    values = 64 * 65 // 2 + 128 * 129 // 2 + 256 * 257 // 2
    fits = "now fits into relu3_3" if large / factor <= 40 else "still does not fit"
    spacing = f"the leaf's spacing {fits}"
    return Graded(
        name="ch3-survives",
        title="What will the wallpaper keep?",
        points=6,
        statement=f"""A wallpaper has dots {small} pixels apart, a leaf that repeats \
every {large} pixels, and a mirror axis about which all is symmetric over {huge} \
pixels. A new sheet is grown from noise by the Gram matrices of relu1_2, relu2_2 and \
relu3_3.

(a) Say for each of the three regularities whether you expect it to survive, with the \
layer and its receptive field as the reason. (b) What changes if relu4_3 is added? (c) \
How many different numbers do the three Gram matrices hold, and why does that *not* \
settle the question? (d) The designer scales the source down by {factor} before the \
Gram matrices are taken. Which of your answers to (a) changes? (e) Change the loss so \
that the mirror axis survives.""",
        rubric="""2 points: (a) each regularity compared with 5, 14 and 40 pixels \
(dots yes, the leaf's spacing no, the mirror no); 1 point where one is missing. 1 \
point: (b) 92 pixels: the leaf's spacing gets a chance, the mirror does not. 1 point: \
(c) the right number, and that it matters what the numbers are about, not how many \
there are. 1 point: (d) distances shrink, receptive fields do not. 1 point: (e) a term \
that compares distant positions (shifted products, or the picture with its mirror \
image).""",
        answer=f"""(a) Dots: {small} pixels lie within the 14 of relu2_2, so their \
spacing is inside of what one position sees, and it survives. Leaf: {large} pixels are \
more than the 40 of relu3_3; leaves and parts of them survive, their spacing does not. \
Mirror: {huge} pixels are far more than any of the fields, it is lost. (b) relu4_3 \
sees 92 pixels, more than {large}: the spacing of the leaf may survive locally; the \
mirror does not. (c) {values}: C (C + 1) / 2 for 64, 128 and 256 channels. No number \
among them speaks of two positions that no receptive field joins. (d) The distances \
become {small / factor:.0f}, {large / factor:.0f} and {huge / factor:.0f} pixels: \
{spacing}, the mirror {"still does not" if huge / factor > 40 else "just fits"}, and \
the dots come close to the size of a pixel. (e) For example a term that compares the \
picture with its own mirror image, or Gram matrices between a feature map and its \
reflected copy.""",
    )
