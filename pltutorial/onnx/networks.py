"""How each kind of network is written as an ONNX graph: what its ``forward`` does to
one picture, in eval mode.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy
import onnx
import torch
import torch.nn.functional as F
from torch import nn

from ..color import LUMA, chroma_centres, from_chroma
from ..errors import InputError
from ..networks import (
    VAE,
    ColorizationNet,
    ConvAutoencoder,
    DenoisingNet,
    Discriminator,
    GatedInpaintingNet,
    InpaintingNet,
    InversionNet,
    SubPixelNet,
    SuperResolutionNet,
    TransformNet,
)
from ..networks._kernels import EPSILON
from ..networks.stages import SLOPE
from .graph import WORTH, Graph, refolded, values_of

# --- transformation networks, and the super-resolution of the paper -------------------


def _layer(
    graph: Graph,
    layer: nn.Module,
    x: str,
    shares: str | None = None,
    fold: int = 1,
    tiles: tuple | None = None,
) -> str:
    """``ConvLayer``: convolution, normalisation and ReLU; in tiles
    if they are given.
    """
    conv, norm = layer.conv, layer.norm
    instance = norm is not None and norm.batch is None
    weight = graph.weight(refolded(values_of(conv.weight), fold))
    bias = values_of(conv.bias)
    if instance:
        # takes away what is the same everywhere, which is all that many a plain picture
        # has: not to round to it, it is taken away before the convolution already
        bias = None
        x = x if layer.upsampling == "transposed" else _without_mean(graph, x)
    elif norm is not None:
        weight, bias = _normalised(
            graph, weight, bias, norm.batch, layer.upsampling == "transposed"
        )
    biases = () if bias is None else (graph.numbers(bias),)
    if layer.upsampling == "resize":
        x = graph.upsampled(x, weight, conv.out_channels, bias)
    elif layer.upsampling:  # what lies outside is cut off, as in the network
        options = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [3, 3, 2, 2]}
        x = graph.op("ConvTranspose", graph.padded(x, 1), weight, *biases, **options)
    elif tiles is not None and min(conv.weight.shape[:2]) >= WORTH:
        x = graph.tiled(graph.padded(x, 1), weight, conv.weight.shape, tiles)
        if bias is not None:
            x = graph.op("Add", x, graph.numbers(bias.view(-1, 1, 1)))
    else:
        options = {"kernel_shape": [layer.kernel] * 2, "strides": list(conv.stride)}
        x = graph.op(
            "Conv", graph.padded(x, layer.kernel // 2), weight, *biases, **options
        )
    if instance:
        x = _without_mean(graph, x) if layer.upsampling == "transposed" else x
        moments = [values_of(part) for part in (norm.weight, norm.bias)]
        if moments[0].ndim == 1:
            names = [graph.numbers(part) for part in moments]
        else:
            names = [graph.op("MatMul", shares, graph.weight(part)) for part in moments]
        x = graph.op("InstanceNormalization", x, *names, epsilon=EPSILON)
    return graph.op("Relu", x) if layer.relu else x


def _without_mean(graph: Graph, x: str) -> str:
    return graph.op("Sub", x, graph.op("GlobalAveragePool", x))


def _normalised(
    graph: Graph,
    weight: str,
    bias: torch.Tensor,
    norm: nn.BatchNorm2d,
    transposed: bool = False,
) -> tuple[str, torch.Tensor]:
    """Weights and bias of a convolution together with the batch
    normalisation that follows it.
    """
    scale = values_of(norm.weight) / (values_of(norm.running_var) + norm.eps).sqrt()
    weight = graph.op(
        "Mul",
        weight,
        graph.numbers(scale.view((1, -1, 1, 1) if transposed else (-1, 1, 1, 1))),
    )
    return weight, (bias - values_of(norm.running_mean)) * scale + values_of(norm.bias)


def _blocks(
    graph: Graph, blocks: nn.ModuleList, x: str, shares: str | None = None
) -> str:
    tiles = graph.tiles(x)
    for block in blocks:
        inner = _layer(graph, block.one, x, shares, tiles=tiles)
        x = graph.op("Add", x, _layer(graph, block.two, inner, shares, tiles=tiles))
    return x


def _centred(graph: Graph, image: str) -> str:
    """2 x - 1."""
    return graph.op("Sub", graph.op("Mul", image, graph.numbers(2)), graph.numbers(1))


def _transform(graph: Graph, network: nn.Module) -> str:
    image = graph.input("image", (1, 3, "height", "width"))
    shares = None
    if network.style_names:
        shares = graph.input("weights", (len(network.style_names),))
    x = graph.whole(_centred(graph, image), 4, "reflect", network.margin)
    fold = 2 if network.kind == "fast" else 1
    x = graph.folded(x, fold)
    for layer in network.down:
        x, fold = _layer(graph, layer, x, shares, fold), 1
    x = _blocks(graph, network.blocks, x, shares)
    for layer in network.up:
        x = _layer(graph, layer, x, shares)
    last = network.last
    x = graph.spread(graph.padded(x, last.kernel // 2), last.conv, 2)
    # (tanh x + 1) / 2 is the sigmoid of 2 x
    return graph.op("Sigmoid", graph.cut(x, image, margin=network.margin))


def _super_resolution(graph: Graph, network: nn.Module) -> str:
    x = _centred(graph, graph.input("image", (1, 3, "height", "width")))
    x = _layer(graph, network.first, x)
    x = _blocks(graph, network.blocks, x)
    for layer in network.up:
        x = _layer(graph, layer, x)
    last = network.last
    return graph.op(
        "Sigmoid", graph.spread(graph.padded(x, last.kernel // 2), last.conv, 2)
    )


# --- residual networks ----------------------------------------------------------------


def _residual(graph: Graph, network: nn.Module, x: str, more: str | None = None) -> str:
    """What is added to the picture; ``more`` is added before the
    channels become pixels.
    """
    x = graph.folded(graph.whole(x, network.fold, "edge"), network.fold)
    start = x = graph.convolved(x, network.first, network.fold)
    tiles = graph.tiles(x)
    for block in network.blocks:
        inner = graph.op("Relu", graph.convolved(x, block.one, tiles=tiles))
        x = graph.op("Add", graph.convolved(inner, block.two, tiles=tiles), x)
    x = graph.convolved(graph.op("Add", x, start), network.last)
    x = x if more is None else graph.op("Add", x, more)
    if network.unfold == 1:
        return x
    return graph.op("DepthToSpace", x, blocksize=network.unfold, mode="CRD")


def _clamped(graph: Graph, x: str) -> str:
    return graph.op("Clip", x, graph.numbers(0), graph.numbers(1))


def _bicubic(factor: int) -> torch.Tensor:
    """Weights (3 factor^2, 1, 5, 5) that make of each pixel the factor x factor ones of
    the bicubic enlargement.

    They are read off the enlargement of a single white pixel. The runtime's own is
    slow, and rounds sizes differently.
    """
    dot = torch.zeros(1, 1, 9, 9)
    dot[..., 4, 4] = 1
    large = F.interpolate(dot, scale_factor=factor, mode="bicubic", align_corners=False)
    # (row, a, column, b)
    near = large.view(9, factor, 9, factor)[2:7, :, 2:7].flip(0, 2)
    return near.permute(1, 3, 0, 2).reshape(factor**2, 1, 5, 5).repeat(3, 1, 1, 1)


def _sub_pixel(graph: Graph, network: nn.Module) -> str:
    image = graph.input("image", (1, 3, "height", "width"))
    weight = graph.numbers(_bicubic(network.factor))
    large = graph.op(
        "Conv", graph.padded(image, 2, "edge"), weight, kernel_shape=[5, 5], group=3
    )
    x = graph.op("Sub", image, graph.numbers(0.5))
    return _clamped(graph, _residual(graph, network, x, large))


def _denoising(graph: Graph, network: nn.Module) -> str:
    image = graph.input("image", (1, 3, "height", "width"))
    x = _residual(graph, network, graph.op("Sub", image, graph.numbers(0.5)))
    return _clamped(graph, graph.op("Add", image, graph.cut(x, image)))


def _gated(graph: Graph, layer: nn.Module, x: str, fold: int = 1) -> str:
    """``gated.GatedConv``: the first half of the channels, gated by the second."""
    conv, outputs = layer.conv, layer.conv.out_channels // 2
    if layer.up:
        weight, bias = graph.weight(values_of(conv.weight)), values_of(conv.bias)
        x = graph.upsampled(x, weight, conv.out_channels, bias)
    else:
        x = graph.convolved(x, conv, fold)
    halves = []
    for start in (0, outputs):
        ends = graph.constant([start]), graph.constant([start + outputs])
        halves.append(graph.op("Slice", x, *ends, graph.constant([1])))
    return graph.op("Mul", _leaky(graph, halves[0]), graph.op("Sigmoid", halves[1]))


def _gated_residual(graph: Graph, network: nn.Module, x: str) -> str:
    x = graph.folded(graph.whole(x, network.fold, "edge"), 2)
    skipped = _gated(graph, network.first, x, 2)
    x = _gated(graph, network.down, skipped)
    for block in network.blocks:
        x = graph.op("Add", x, _gated(graph, block, x))
    one, two = network.up
    x = graph.op("Add", _gated(graph, one, x), skipped)
    return graph.convolved(_gated(graph, two, x), network.last)


def _inpainting(
    graph: Graph, network: nn.Module, residual: Callable = _residual
) -> str:
    image = graph.input("image", (1, 3, "height", "width"))
    mask = graph.input("mask", (1, 1, "height", "width"))
    known = graph.op("Sub", graph.numbers(1), mask)
    seen = graph.op("Mul", image, known)
    axes = graph.constant([2, 3])
    count = graph.op("Max", graph.op("ReduceSum", known, axes), graph.numbers(1))
    mean = graph.op("Div", graph.op("ReduceSum", seen, axes), count)
    filled = graph.op("Add", seen, graph.op("Mul", mean, mask))
    x = graph.op("Concat", graph.op("Sub", filled, mean), mask, axis=1)
    drawn = graph.op("Add", mean, graph.cut(residual(graph, network, x), image))
    drawn = graph.op("Mul", drawn, mask)
    return _clamped(graph, graph.op("Add", seen, drawn))


# --- learned likeness -----------------------------------------------------------------


def _leaky(graph: Graph, x: str) -> str:
    return graph.op("LeakyRelu", x, alpha=SLOPE)


def _drawn(graph: Graph, layer: nn.Module, x: str) -> str:
    """``stages.ConvStage``."""
    conv = layer.conv
    weight, bias = graph.weight(values_of(conv.weight)), values_of(conv.bias)
    if layer.norm is not None:
        weight, bias = _normalised(graph, weight, bias, layer.norm)
    if layer.up:
        x = graph.upsampled(x, weight, conv.out_channels, bias)
    else:
        x = graph.padded(x, 1, "edge")
        x = graph.op("Conv", x, weight, graph.numbers(bias), kernel_shape=[3, 3])
    return _leaky(graph, x)


def _picture(graph: Graph, layers: nn.Sequential, x: str) -> str:
    """Upsamplings and the picture."""
    *ups, last = layers
    for layer in ups:
        x = _drawn(graph, layer, x)
    return graph.op("Sigmoid", graph.spread(graph.padded(x, 1, "edge"), last, 2))


def _generator(graph: Graph, network: nn.Module, code: str) -> str:
    x = graph.op("Div", code, graph.numbers(values_of(network.scale).view(1, -1, 1, 1)))
    x = _leaky(graph, graph.convolved(x, network.first))
    for block in network.blocks:
        x = graph.op("Add", x, _drawn(graph, block, x))
    return _picture(graph, network.up, x)


def _inversion(graph: Graph, network: nn.Module) -> str:
    return _generator(
        graph, network, graph.input("code", (1, network.channels, "height", "width"))
    )


def _autoencoder(graph: Graph, network: nn.Module) -> str:
    image = graph.input("image", (1, 3, "height", "width"))
    x = graph.whole(_centred(graph, image), 8, "edge")
    for layer in network.encoder:
        if isinstance(layer, nn.Conv2d):
            x = graph.convolved(x, layer)
        elif isinstance(layer, nn.BatchNorm2d):
            moments = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
            moments = [graph.numbers(values_of(part)) for part in moments]
            x = graph.op("BatchNormalization", x, *moments, epsilon=layer.eps)
        else:
            x = _leaky(graph, x)
    return graph.cut(_generator(graph, network.generator, x), image)


def _vae(graph: Graph, network: nn.Module) -> str:
    """The decoder."""
    return decoded(graph, network, graph.input("latent", (1, network.latent)))


def decoded(graph: Graph, network: nn.Module, latent: str) -> str:
    """Pictures (N, 3, size, size) of latent vectors (N, latent), by a VAE's decoder."""
    first = network.first
    x = graph.op(
        "Gemm",
        latent,
        graph.weight(values_of(first.weight)),
        graph.numbers(values_of(first.bias)),
        transB=1,
    )
    grid = network.grid
    shape = graph.constant([-1, first.out_features // grid**2, grid, grid])
    x = graph.op("Reshape", _leaky(graph, x), shape)
    return _picture(graph, network.up, x)


def _colorization(graph: Graph, network: nn.Module) -> str:
    image = graph.input("image", (1, 3, "height", "width"))
    luma = graph.numbers(numpy.reshape(LUMA, (1, 3, 1, 1)))
    brightness = graph.op("Conv", image, luma, kernel_shape=[1, 1])
    x = graph.whole(_centred(graph, brightness), 8, "edge")
    on_the_way = []
    for layer in network.down:
        x = _leaky(graph, graph.convolved(x, layer))
        on_the_way.append(x)
    for layer in network.middle:
        x = graph.op("Add", x, _drawn(graph, layer, x))
    for layer, skip in zip(
        network.up, (on_the_way[1], on_the_way[0], None), strict=False
    ):
        x = _drawn(graph, layer, x)
        x = x if skip is None else graph.op("Concat", x, skip, axis=1)
    x = graph.convolved(x, network.last)
    if network.classes:
        # from_chroma is given half of what is named chroma here
        centres = 2 * chroma_centres(network.classes).T[..., None, None]
        sharpness = graph.numbers([1 / network.temperature])
        x = graph.op("Softmax", graph.op("Mul", x, sharpness), axis=1)
        x = graph.op("Conv", x, graph.numbers(centres), kernel_shape=[1, 1])
        scales = graph.numbers([1.0, 1.0, 2.0, 2.0])
        chroma = graph.op("Resize", x, "", scales, mode="linear")
        chroma = graph.cut(chroma, image)
    else:
        chroma = graph.op("Tanh", graph.cut(x, image))
    # from_chroma is linear: what it makes of the two kinds of
    # chrominance, a column each
    unit = torch.eye(2)[:, :, None, None]
    columns = from_chroma(torch.zeros(2, 1, 1, 1), 0.5 * unit).permute(1, 0, 2, 3)
    colour = graph.op("Conv", chroma, graph.numbers(columns), kernel_shape=[1, 1])
    return _clamped(graph, graph.op("Add", brightness, colour))


# --- what a network is written by -----------------------------------------------------

_WRITERS: dict[type[nn.Module], Callable[[Graph, nn.Module], str]] = {
    TransformNet: _transform,  # and the fast one, which is a kind of it
    SuperResolutionNet: _super_resolution,
    SubPixelNet: _sub_pixel,
    DenoisingNet: _denoising,
    InpaintingNet: _inpainting,
    GatedInpaintingNet: partial(_inpainting, residual=_gated_residual),
    InversionNet: _inversion,
    ConvAutoencoder: _autoencoder,
    VAE: _vae,
    ColorizationNet: _colorization,
}


def written(
    network: nn.Module, storage: str, facts: dict[str, str], in_tiles: bool = True
) -> onnx.ModelProto:
    """A network as an ONNX model with one output, ``output``, that lies in [0, 1];
    its 3x3 convolutions in tiles, or plain.

    Raises:
        InputError: a network that makes no pictures, or weights that the
            storage cannot hold.
    """
    writers = (_WRITERS.get(kind) for kind in type(network).mro())
    writer = next((one for one in writers if one is not None), None)
    if writer is None:
        judges = isinstance(network, Discriminator)
        given = "a discriminator" if judges else f"a {type(network).__name__}"
        raise InputError(
            f"{given} was given, which cannot be exported; give a network that "
            "makes pictures, of those that `pltutorial models` lists or "
            "`pltutorial train` wrote"
        )
    graph = Graph(storage, in_tiles)
    with torch.no_grad():
        output = writer(graph, network)
    if network.kind == "vae":
        return graph.model(output, (1, 3, network.size, network.size), facts)
    factor = (
        network.stride if network.kind == "inversion" else getattr(network, "factor", 1)
    )
    sides = [
        side if factor == 1 else f"{factor}*{side}" for side in ("height", "width")
    ]
    return graph.model(output, (1, 3, *sides), facts)
