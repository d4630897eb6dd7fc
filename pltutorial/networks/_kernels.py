"""The operations that image transformation networks spend their time in: the same maths
as torch's, less work.

Maps are channels-last. A *stacked* map holds the 2x2 square of pixels (2i+a, 2j+b) at
position (i, j), so its memory runs (N, H/2, W/2, a, b, C); as a tensor it has the shape
(N, C, H/2, 2 W), which suits all that works pixel by pixel.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

# pixels of a 2x2 square, in the order of memory
SQUARE = ((0, 0), (0, 1), (1, 0), (1, 1))
EPSILON = 1e-5  # added to the variance, as everywhere


def upsampled_conv(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, stacked: bool = False
) -> torch.Tensor:
    """Nearest neighbours by 2, one reflected pixel around, a 3x3 convolution: as a 2x2
    one for each of the four pixels.

    That is 4/9 of the arithmetic. The pixel reflected around the large map is the edge
    of the small one repeated.

    Args:
        x: (N, C, H, W).
        weight: (O, C, 3, 3), of the convolution after the upsampling.
        bias: (O,).
        stacked: give the result stacked, (N, O, H, 4 W), rather than as a
            map (N, O, 2 H, 2 W).
    """
    merged = merging(weight.device, weight.dtype)
    # Rows (a, i, k) and columns (b, j, l) are merged alike: pixel a of a square sees
    # the small map's row i through all taps k that fall on it, so their weights are
    # added. The four pixels a, b come first: each is a group of output channels.
    with torch.autocast(x.device.type, enabled=False):
        weight = torch.einsum("aik,bjl,ockl->abocij", merged, merged, weight)
    four = F.conv2d(_replicate(x), weight.flatten(0, 2), bias.repeat(4))
    return _Interleave.apply(four, stacked)


def _replicate(x: torch.Tensor) -> torch.Tensor:
    """One position more on each side, with the value of the edge."""
    if not torch.compiler.is_compiling():
        return F.pad(x, (1, 1, 1, 1), mode="replicate")
    # the compiler expects another layout of that pad's gradient
    x = torch.cat([x[..., :1], x, x[..., -1:]], 3)
    return torch.cat([x[..., :1, :], x, x[..., -1:, :]], 2)


@functools.cache
def merging(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """(a, i, tap): which of the three taps of pixel a fall on which of two neighbours
    i of the small map.
    """
    with torch.inference_mode(False):
        return torch.tensor(
            [[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], device=device, dtype=dtype
        )


class _Interleave(torch.autograd.Function):
    """The pixel (2i+a, 2j+b) is found in the group 2a+b of the channels, at
    position (i+a, j+b).
    """

    @staticmethod
    def forward(ctx, four: torch.Tensor, stacked: bool) -> torch.Tensor:
        count, channels, height, width = four.shape
        # a 2x2 convolution of a map with a border of one has one position more than the
        # map: of each group a square of the map's size is kept, at (a, b)
        height, width, channels = height - 1, width - 1, channels // 4
        ctx.stacked, ctx.shape = stacked, (count, height, width, channels)
        source = four.permute(0, 2, 3, 1)
        result = four.new_empty(_memory(ctx.shape, stacked))
        for group, (a, b) in enumerate(SQUARE):
            pixels = source[
                :,
                a : a + height,
                b : b + width,
                group * channels : (group + 1) * channels,
            ]
            _pixels(result, a, b, stacked).copy_(pixels)
        rows, columns = (height, 4 * width) if stacked else (2 * height, 2 * width)
        return result.view(count, rows, columns, channels).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: torch.Tensor):
        count, height, width, channels = ctx.shape
        gradient = gradient.permute(0, 2, 3, 1).contiguous()
        gradient = gradient.view(_memory(ctx.shape, ctx.stacked))
        result = gradient.new_zeros((count, height + 1, width + 1, 4 * channels))
        for group, (a, b) in enumerate(SQUARE):
            target = result[
                :,
                a : a + height,
                b : b + width,
                group * channels : (group + 1) * channels,
            ]
            target.copy_(_pixels(gradient, a, b, ctx.stacked))
        return result.permute(0, 3, 1, 2), None


def _memory(shape, stacked: bool) -> tuple[int, ...]:
    count, height, width, channels = shape
    return (
        (count, height, width, 2, 2, channels)
        if stacked
        else (count, height, 2, width, 2, channels)
    )


def _pixels(memory: torch.Tensor, a: int, b: int, stacked: bool) -> torch.Tensor:
    return memory[:, :, :, a, b] if stacked else memory[:, :, a, :, b]


def stack(x: torch.Tensor) -> torch.Tensor:
    """A map (N, C, H, W) of even height and width as a stacked
    one, (N, C, H/2, 2 W).
    """
    count, channels, height, width = x.shape
    squares = (
        x.permute(0, 2, 3, 1)
        .unflatten(1, (height // 2, 2))
        .unflatten(3, (width // 2, 2))
    )
    return (
        squares.permute(0, 1, 3, 2, 4, 5)
        .reshape(count, height // 2, 2 * width, channels)
        .permute(0, 3, 1, 2)
    )


def stacked_conv(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Reflected borders and a convolution of a few outputs, computed for
    2x2 pixels at once.

    oneDNN and cuDNN compute 8 or 16 outputs whether they are needed or not: 12 at a
    quarter of the positions waste far less than 3 at all of them.

    Args:
        x: stacked, (N, C, H/2, 2 W).
        weight: (O, C, K, K) with an odd K.
        bias: (O,).

    Returns:
        (N, O, H, W).
    """
    outputs, channels, kernel, _ = weight.shape
    reach = (kernel // 2 + 1) // 2  # of the stacked kernel, to either side
    padded = _ReflectStacked.apply(x, reach)
    taps = _taps(kernel, weight.device, weight.dtype)
    # A convolution of squares: from pixel (p, q) of the square (i, j) to pixel
    # (a, b) of the middle one goes the tap (k, l) that lies between them, if the
    # kernel reaches so far; else the weight is 0. o, a, b together are the outputs,
    # p, q, c the inputs.
    with torch.autocast(x.device.type, enabled=False):
        weight = torch.einsum("aipk,bjql,ockl->oabpqcij", taps, taps, weight)
    weight = weight.reshape(4 * outputs, 4 * channels, 2 * reach + 1, 2 * reach + 1)
    return F.pixel_shuffle(F.conv2d(padded, weight, bias.repeat_interleave(4)), 2)


@functools.cache
def _taps(kernel: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """(a, i, p, tap): 1 where this tap of the kernel joins pixel a with pixel p of the
    square i - reach away.
    """
    reach = (kernel // 2 + 1) // 2
    joined = [
        [
            [2 * i + p - a + kernel // 2 for p in (0, 1)]
            for i in range(-reach, reach + 1)
        ]
        for a in (0, 1)
    ]
    with torch.inference_mode(False):
        return (torch.tensor(joined)[..., None] == torch.arange(kernel)).to(
            device, dtype
        )


class _ReflectStacked(torch.autograd.Function):
    """Reflects a stacked map ``reach`` squares far; gives the channels (a, b, c), (N, 4
    C, H/2 + ..., W/2 + ...).
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, reach: int) -> torch.Tensor:
        count, channels, height, width = x.shape
        width //= 4
        ctx.reach = reach
        squares = x.permute(0, 2, 3, 1).unflatten(2, (width, 2, 2))
        result = x.new_empty(
            (count, height + 2 * reach, width + 2 * reach, 2, 2, channels)
        )
        result[:, reach:-reach, reach:-reach] = squares
        for dim in (1, 2):
            for outside, inside in _mirrors(result, dim, reach):
                outside.copy_(inside.flip(dim))
        return result.flatten(3).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: torch.Tensor):
        reach = ctx.reach
        padded = gradient.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1))
        result = padded[:, :, reach:-reach].contiguous()
        for outside, inside in _mirrors(padded, 2, reach, result):
            inside.add_(outside.flip(2))
        for outside, inside in _mirrors(result, 1, reach):
            inside.add_(outside.flip(1))
        return result[:, reach:-reach].flatten(2, 4).permute(0, 3, 1, 2), None


def _mirrors(
    padded: torch.Tensor, dim: int, reach: int, inner: torch.Tensor | None = None
):
    """Blocks outside and the blocks whose mirror images they are; the latter in
    ``inner``, which has no border, if given.
    """
    length = padded.shape[dim] - 2 * reach
    source, shift = (padded, 0) if inner is None else (inner, reach)
    # the first pixel of a square mirrors about its own square on the left, the
    # second on the right
    for pixel in (0, 1):
        target, origin = padded.select(dim + 2, pixel), source.select(dim + 2, pixel)
        left, right = reach + 1 - pixel, length - pixel
        yield target.narrow(dim, 0, reach), origin.narrow(dim, left - shift, reach)
        yield (
            target.narrow(dim, reach + length, reach),
            origin.narrow(dim, right - shift, reach),
        )


def instance_norm(
    x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, relu: bool
) -> torch.Tensor:
    """Each picture's channels with mean 0 and deviation 1, times a scale, plus a shift;
    negative values cut off or not.

    Args:
        x: (N, C, H, W).
        scale: (N, C), or (1, C) for all pictures.
        shift: the same shape.
        relu: apply a ReLU.
    """
    return _InstanceNorm.apply(x, scale, shift, relu)


class _InstanceNorm(torch.autograd.Function):
    """Batch normalisation of one picture at a time is the same, and on a CPU by far the
    fastest, backward too.
    """

    @staticmethod
    def forward(
        ctx, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, relu: bool
    ) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        result = torch.empty_like(x)
        moments = scale.new_empty((2, *x.shape[:2]))
        for i in range(len(x)):
            row = i % len(scale)
            out = (result[i : i + 1], moments[0, i], moments[1, i])
            torch.native_batch_norm(
                x[i : i + 1],
                scale[row],
                shift[row],
                None,
                None,
                True,
                0.0,
                EPSILON,
                out=out,
            )
        if relu:
            result.relu_()
        ctx.save_for_backward(x, scale, moments, *((result,) if relu else ()))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: torch.Tensor):
        x, scale, moments, *results = ctx.saved_tensors
        # the result itself says where the ReLU has cut off, so its
        # input need not be kept
        to_x = torch.empty_like(x)
        to_scale, to_shift = torch.zeros_like(scale), torch.zeros_like(scale)
        for i in range(len(x)):
            row, one = i % len(scale), slice(i, i + 1)
            part = gradient[one].contiguous(memory_format=torch.channels_last)
            if results:
                part = torch.ops.aten.threshold_backward(part, results[0][one], 0)
            mean, inverse, training = moments[0, i], moments[1, i], True
            settings = (None, None, mean, inverse, training, EPSILON, (True,) * 3)
            to_x[one], for_scale, for_shift = torch.ops.aten.native_batch_norm_backward(
                part, x[one], scale[row], *settings
            )
            to_scale[row] += for_scale
            to_shift[row] += for_shift
        return to_x, to_scale, to_shift, None
