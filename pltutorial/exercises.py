"""Checks that the exercises of the chapters call: each says "Correct" with a reason, or gives a hint.

A check tries the answer on inputs of its own, so a result copied from the page does not pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional

from .errors import InputError
from .images import check_image
from .losses import feature_loss, pixel_loss, style_loss
from .optimize import luminance


def _judge(right: bool, praise: str, hint: str) -> bool:
    """Print the verdict and return it."""
    print(f"Correct: {praise}" if right else f"Not yet: {hint}")
    return right


def _answer_of(function: Callable, *arguments):
    """What the reader's function returns, or None with a printed sentence where it fails."""
    try:
        return function(*arguments)
    except Exception as problem:  # the reader's own code: any error is a hint, not a crash
        print(f"Not yet: your function stopped with {type(problem).__name__}: {problem}")
        return None


# Chapter 1: pixel loss


def check_psnr(answer: Callable[[torch.Tensor, torch.Tensor], float]) -> bool:
    """Check ``answer(output, target)``: the PSNR in decibels of two images (1, 3, H, W) in [0, 1].

    Tried on pictures of its own.

    Taught in chapter 1.
    """
    draw = torch.Generator().manual_seed(1)
    target = torch.rand((1, 3, 12, 17), generator=draw)
    for strength in (0.5, 0.1, 0.003):
        output = target + strength * (torch.rand(target.shape, generator=draw) - 0.5)
        value = _answer_of(lambda o=output: float(answer(o, target)))
        if value is None:
            return False
        error = float((output.double() - target.double()).square().mean())
        right = 10 * math.log10(1 / error)
        if abs(value + right) < 0.01:
            return _judge(False, "", "the sign is turned round: a smaller error must give more decibels.")
        if abs(value - 10 * math.log(1 / error)) < 0.01:
            return _judge(False, "", "take the logarithm to base 10, not the natural one.")
        if abs(value - right / 2) < 0.01 or abs(value - right * 2) < 0.01:
            return _judge(False, "", "a squared error takes the factor 10, its root the factor 20.")
        if abs(value - right - 20 * math.log10(255)) < 0.01:
            return _judge(False, "", "white is 1 here, not 255, so the largest squared error is 1.")
        if not abs(value - right) < 0.01:
            return _judge(False, "", "it is ten times the base-10 logarithm of 1 / (mean squared error).")
    return _judge(True, "PSNR is the squared error on a logarithmic scale, turned upside down.", "")


def check_best_picture(answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(pictures, probabilities)``: the one picture (1, 3, H, W) with the least expected L2 loss.

    ``pictures`` is (N, 3, H, W), ``probabilities`` (N,) and sums to 1. Tried on pictures of its own.

    Taught in chapter 1.
    """
    draw = torch.Generator().manual_seed(2)
    for count in (2, 5):
        pictures = torch.rand((count, 3, 6, 7), generator=draw)
        probabilities = torch.rand(count, generator=draw) + 0.1
        probabilities = probabilities / probabilities.sum()
        value = _answer_of(answer, pictures, probabilities)
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != pictures[:1].shape:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            return _judge(False, "", f"return one picture, {tuple(pictures[:1].shape)}; yours is {got}.")
        right = torch.einsum("n,nchw->chw", probabilities, pictures)[None]
        if torch.allclose(value, pictures.mean(0, keepdim=True), atol=1e-5):
            return _judge(False, "", "this is right for equal chances; now let likely pictures count more.")
        if torch.allclose(value, pictures[probabilities.argmax()][None], atol=1e-5):
            return _judge(False, "", "the likeliest picture is sharp, but it is not the cheapest answer.")
        if not torch.allclose(value, right, atol=1e-5):
            return _judge(False, "", "set the derivative of sum p_i (y - t_i)**2 to zero and solve for y.")
    return _judge(True, "the expected picture has the least expected squared error.", "")


def check_counterexample(picture: torch.Tensor) -> bool:
    """Check a picture, (1, 3, H, W) in [0, 1], whose shift by a pixel to the side costs less than a blur of 1.5 px.

    It must have contrast (a standard deviation of at least 0.05) and be at least 32 pixels high and wide.

    Taught in chapter 1.
    """
    try:
        check_image(picture, "your picture")
    except InputError as problem:
        return _judge(False, "", f"{problem}.")
    if min(picture.shape[-2:]) < 32:
        return _judge(False, "", "make it at least 32 pixels high and wide.")
    if picture.std() < 0.05:
        return _judge(False, "", "without contrast both cost nothing; give it a standard deviation of 0.05.")
    reach = 6
    kernel = (-torch.arange(-reach, reach + 1.0).square() / (2 * 1.5**2)).exp()
    kernel = kernel / kernel.sum()
    blurred = picture.transpose(0, 1)
    for shape in ((1, 1, 1, -1), (1, 1, -1, 1)):
        blurred = torch.nn.functional.conv2d(blurred, kernel.view(shape))
    here = picture[..., reach:-reach, reach:-reach]
    moved = picture[..., reach:-reach, reach + 1 : picture.shape[-1] - reach + 1]
    shift, blur = pixel_loss(moved, here).item(), pixel_loss(blurred.transpose(0, 1), here).item()
    return _judge(
        shift < blur,
        f"moving costs {shift:.3f}, blurring {blur:.3f}.",
        f"moving costs {shift:.3f}, blurring {blur:.3f}; what looks the same after a step to the side?",
    )


# Chapter 2: feature reconstruction


def check_feature_shape(answer: Callable[[str, int, int], tuple[int, int, int]]) -> bool:
    """Check a function ``(layer, height, width) -> (C, H, W)`` against the network on sizes of its own.

    Taught in chapter 2.
    """
    import torch

    from .vgg import RELU_LAYERS, LossNetwork

    network = LossNetwork(precision="float32")
    for height, width in ((32, 48), (37, 61)):
        with torch.no_grad():
            features = network(torch.zeros(1, 3, height, width, device=network.mean.device), RELU_LAYERS)
        for layer, feature in features.items():
            given = _answer_of(answer, layer, height, width)
            if given is None:
                return False
            right, given = (
                tuple(feature.shape[1:]),
                tuple(given) if isinstance(given, (tuple, list)) else given,
            )
            if given != right:
                asked = f"{layer} of a {width}x{height} picture has not the shape {given}"
                if not isinstance(given, tuple) or len(given) != 3:
                    return _judge(False, "", f"{asked}; give three numbers, channels first.")
                if given[0] != right[0]:
                    hint = "the channels double from 64 with each block, but never beyond 512."
                elif (height, width) == (32, 48):
                    hint = "each pooling halves the height and the width, and there is none before block 1."
                else:
                    hint = "pooling drops an odd last row or column, so round down."
                return _judge(False, "", f"{asked}: {hint}")
    return _judge(True, "all 13 layers agree with the network, for even and for odd sizes.", "")


def check_receptive_field(answer: Callable[[str], int]) -> bool:
    """Check a function ``layer -> side in pixels`` of the receptive field for all 13 layers.

    The truth is found by tracing which pixels one value depends on, with kernels of ones.

    Taught in chapter 2.
    """
    from .vgg import RELU_LAYERS

    for layer in RELU_LAYERS:
        given = _answer_of(answer, layer)
        if given is None:
            return False
        right = _receptive_field(layer)
        if given != right:
            hint = "a 3x3 convolution adds two steps; a step is 1 pixel in block 1 and doubles with each pooling."
            if layer[4] == "1":
                hint = "one 3x3 convolution sees 3 pixels, and a second one on top sees 5."
            elif given == right - 2 ** (int(layer[4]) - 1) + 1:
                hint = "a 2x2 pooling widens the field as well, by one step of the block before it."
            return _judge(False, "", f"{layer} does not see {given} pixels: {hint}")
    return _judge(True, "all 13 layers see exactly as far as tracing their inputs says.", "")


def _receptive_field(layer: str) -> int:
    """Trace the first and last input position of one value back through the layers."""
    from .vgg import RELU_LAYERS

    first = last = 0
    names = RELU_LAYERS[: RELU_LAYERS.index(layer) + 1]
    for name in reversed(names):
        first, last = first - 1, last + 1  # a 3x3 convolution
        if name.endswith("_1") and name != "relu1_1":
            first, last = 2 * first, 2 * last + 1  # the 2x2 pooling before a block
    return last - first + 1


# Chapter 3: style reconstruction


def check_distinct_numbers(answer: Callable[[list[int]], int]) -> bool:
    """Check ``answer(channels)``: how many different numbers the Gram matrices of such layers hold.

    ``channels`` lists the number of channels of each layer; equal by symmetry counts once.
    Tried on lists of its own.

    Taught in chapter 3.
    """
    for channels in ([1], [2], [3, 5], [64, 128, 256, 512]):
        value = _answer_of(answer, channels)
        if value is None:
            return False
        if (
            value
            == sum(count**2 for count in channels)
            != sum(count * (count + 1) // 2 for count in channels)
        ):
            return _judge(False, "", "these are all entries; by symmetry G[i, j] = G[j, i] counts once.")
        if value == sum(count * (count - 1) // 2 for count in channels):
            return _judge(False, "", "the diagonal is missing: a channel also fires together with itself.")
        if value != sum(count * (count + 1) // 2 for count in channels):
            return _judge(False, "", f"for {channels} it gives {value}; write out a 2 x 2 Gram matrix first.")
    return _judge(True, "C (C + 1) / 2 for each layer, whatever the picture's size.", "")


def check_covariance(answer: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(feature)``: the covariance of the channels over all positions, (N, C, C).

    Every position weighs the same and the sum is divided by their number. Tried on features of its own.

    Taught in chapter 3.
    """
    draw = torch.Generator().manual_seed(3)
    for shape in ((1, 2, 3, 3), (2, 5, 4, 7)):
        feature = torch.rand(shape, generator=draw) + 0.5
        value = _answer_of(answer, feature)
        if value is None:
            return False
        channels, positions = shape[1], shape[2] * shape[3]
        flat = feature.flatten(2)
        right = torch.stack([torch.cov(picture, correction=0) for picture in flat])
        if not isinstance(value, torch.Tensor) or value.shape != right.shape:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            return _judge(
                False, "", f"return a matrix for each picture, {tuple(right.shape)}; yours is {got}."
            )
        if torch.allclose(value, right / channels, atol=1e-5):
            return _judge(False, "", "it is C times too small: the Gram matrix is divided by C H W, not H W.")
        if torch.allclose(value, right * positions / (positions - 1), atol=1e-5):
            return _judge(False, "", "divide by the number of positions, not by one less.")
        if torch.allclose(value, flat @ flat.transpose(1, 2) / positions, atol=1e-5):
            return _judge(False, "", "the products are right; now take away the product of the means.")
        if not torch.allclose(value, right, atol=1e-5):
            return _judge(False, "", "start from cov(a, b) = mean(a b) - mean(a) mean(b).")
    return _judge(True, "the Gram matrix is the covariance over C plus what the means contribute.", "")


def check_shifted_gram(answer: Callable[[torch.Tensor, int], torch.Tensor]) -> bool:
    """Check ``answer(feature, shift)``: channels multiplied with channels ``shift`` positions to the right.

    The entry [n, i, j] is the sum of F_i(y, x) F_j(y, x + shift) over all positions where both exist, divided
    by C times their number; (N, C, C). Tried on features of its own.

    Taught in chapter 3.
    """
    draw = torch.Generator().manual_seed(4)
    for shape, shift in (((1, 2, 3, 4), 0), ((2, 3, 4, 6), 1), ((1, 4, 3, 9), 5)):
        feature = torch.rand(shape, generator=draw)
        value = _answer_of(answer, feature, shift)
        if value is None:
            return False
        left, right_side = feature[..., : shape[3] - shift], feature[..., shift:]
        count = left[0].numel()
        right = torch.einsum("niyx,njyx->nij", left, right_side) / count
        if not isinstance(value, torch.Tensor) or value.shape != right.shape:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            return _judge(False, "", f"return (N, C, C), here {tuple(right.shape)}; yours is {got}.")
        if torch.allclose(value, right, atol=1e-5):
            continue
        if shift == 0:
            return _judge(False, "", "without a shift it has to be the ordinary Gram matrix.")
        if torch.allclose(value, right.transpose(1, 2), atol=1e-5):
            return _judge(
                False, "", "it is transposed: the second index belongs to the channel on the right."
            )
        if torch.allclose(value * feature[0].numel() / count, right, atol=1e-5):
            return _judge(False, "", "divide by the positions that have a partner, not by all of them.")
        rolled = torch.einsum("niyx,njyx->nij", feature, feature.roll(-shift, 3)) / feature[0].numel()
        if torch.allclose(value, rolled, atol=1e-5):
            return _judge(False, "", "roll brings the left edge back in on the right; cut it off instead.")
        return _judge(False, "", "slice twice: all columns but the last, and all columns but the first.")
    return _judge(True, "products across a distance know what stands beside what.", "")


# Chapter 4: style transfer by optimisation


def check_gatys_weight(answer: Callable[[float, tuple[int, int, int]], float]) -> bool:
    """Check ``answer(style_weight, (C, H, W))``: the style weight that ``normalization="gatys"`` needs.

    It keeps the balance between style and content terms that ``style_weight`` has under ``"johnson"``,
    for content features of the given shape. Tried on shapes and weights of its own.

    Taught in chapter 4.
    """
    draw = torch.Generator().manual_seed(4)
    for style_weight, shape in ((1e-4, (256, 24, 36)), (5.0, (3, 7, 5)), (0.3, (16, 1, 9))):
        value = _answer_of(lambda w=style_weight, s=shape: float(answer(w, s)))
        if value is None:
            return False
        one, other = torch.rand((2, 1, *shape), generator=draw)
        balance = {}
        for how, weight in (("johnson", style_weight), ("gatys", value)):
            style = weight * style_loss(one, other, normalization=how)
            balance[how] = float(style / feature_loss(one, other, normalization=how))
        if abs(balance["gatys"] / balance["johnson"] - 1) > 1e-3:
            factor = balance["gatys"] / balance["johnson"]
            hint = "the content term grows by C H W / 2 and the style term shrinks to a quarter"
            return _judge(False, "", f"for features {shape} style weighs {factor:.3g} times too much; {hint}")
    return _judge(True, "style and content keep their balance for every shape that was tried", "")


def check_luminance_transfer(answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(output, content)``: the output's luminance with the content's colours, (1, 3, H, W).

    Tried on pictures of its own, with values so moderate that nothing needs clipping.

    Taught in chapter 4.
    """
    output, content = 0.35 + 0.3 * torch.rand((2, 1, 3, 6, 9), generator=torch.Generator().manual_seed(4))
    value = _answer_of(answer, output, content)
    if value is None:
        return False
    if not isinstance(value, torch.Tensor) or value.shape != content.shape:
        return _judge(False, "", f"return an image of shape {tuple(content.shape)}, like the content")
    if not torch.allclose(luminance(value), luminance(output), atol=1e-3):
        return _judge(
            False, "", "the luminance is not the output's: which grey must be added, which taken away?"
        )
    grey_free = [image - luminance(image) for image in (value, content)]
    if not torch.allclose(*grey_free, atol=5e-3):
        return _judge(False, "", "the luminance is right, but the colours are not the content's")
    return _judge(True, "adding the same grey to R, G and B moves the luminance and leaves I and Q alone", "")


# Chapter 5: feed-forward style transfer


def check_break_even(answer: Callable[[float, float, float], int | None]) -> bool:
    """Check ``answer(training, optimisation, network)``: from how many pictures on a network has saved time.

    The arguments are the seconds of the training, of one optimisation and of one forward pass. The answer is the
    smallest number of pictures for which training and passes together take less time than the optimisations, or
    None where they never do. Tried on times of its own.

    Taught in chapter 5.
    """
    for training, optimisation, network in ((1200, 16, 0.125), (90, 2, 0.5), (10, 3, 1), (60, 0.25, 0.25)):
        saved = optimisation - network
        right = math.floor(training / saved) + 1 if saved > 0 else None
        value = _answer_of(answer, training, optimisation, network)
        if value is None and right is not None:
            return _judge(
                False, "", f"for {training}, {optimisation} and {network} s there is such a number."
            )
        if value == right:
            continue
        if right is None:
            return _judge(False, "", "a network as slow as the optimisation never wins; return None.")
        if value == right - 1 and training % saved == 0:
            return _judge(False, "", "equal times save nothing yet: take the next whole number.")
        if value == math.floor(training / optimisation) + 1:
            return _judge(False, "", "the network's own passes take time too.")
        hint = f"for {training}, {optimisation} and {network} s compare both sides for the number you return."
        return _judge(False, "", hint)
    return _judge(True, "a network pays when it is used often enough, and never if it saves nothing.", "")


def check_even_kernel(answer: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    """Check ``answer(kernel)``: a (3, 3) kernel mended so that stride one half draws no checkerboard.

    Used by a fractionally strided convolution of stride 1/2, the mended kernel turns a picture of ones into ones (away
    from the border), and weights that meet in the same output pixels keep their proportions. Tried on positive
    kernels of its own.

    Taught in chapter 5.
    """
    draw = torch.Generator().manual_seed(5)
    for _ in range(3):
        kernel = 0.2 + torch.rand((3, 3), generator=draw)
        value = _answer_of(answer, kernel.clone())
        if value is None:
            return False
        if not isinstance(value, torch.Tensor) or value.shape != kernel.shape:
            return _judge(False, "", "return a tensor of shape (3, 3).")
        ones = torch.ones((1, 1, 5, 5))
        inside = functional.conv_transpose2d(ones, value[None, None].float(), stride=2)[..., 2:-2, 2:-2]
        if float(inside.max() - inside.min()) > 1e-4:
            hint = "the four kinds of output pixel meet 1, 2, 2 and 4 of the weights: which are they?"
            return _judge(False, "", f"ones become {inside.min():.3g} to {inside.max():.3g}; {hint}")
        if abs(float(inside.mean()) - 1) > 1e-4:
            return _judge(False, "", f"even, but ones become {float(inside.mean()):.3g}.")
        right = kernel.clone()
        for rows in (slice(0, 3, 2), slice(1, 2)):
            for columns in (slice(0, 3, 2), slice(1, 2)):
                right[rows, columns] /= right[rows, columns].sum()
        if not torch.allclose(value.float(), right, atol=1e-4):
            return _judge(False, "", "even, but weights that meet in one pixel lost their proportions.")
    return _judge(True, "each kind of output pixel gets weights that add up to 1, so ones stay ones.", "")
