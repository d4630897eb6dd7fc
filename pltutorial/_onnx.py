"""The networks as ONNX graphs, written operation by operation for the runtime in a browser.

One picture at a time, maps are (1, C, H, W). What the runtime is slow at is expressed otherwise, with the same result:
an upsampling and its convolution are one transposed convolution, a tanh scaled to [0, 1] is a sigmoid, a normalisation
of the picture needs no bias before it. What depends on weights alone is left to the runtime, which computes it once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ._kernels import EPSILON
from .errors import InputError

OPSET, IR_VERSION = 20, 10
STORAGES = ("half", "float")
# Weights of a 3x3 convolution after nearest neighbours by 2, along one side, as those of a 4x4 transposed one.
_MERGED = numpy.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], numpy.float32)


class Graph:
    """Operations in the order in which they run; a value is known by its name."""

    def __init__(self, storage: str) -> None:
        self.storage = storage
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self._known: dict[tuple, str] = {}

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """An input of float32; a string is the name of a dimension that may vary."""
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes) -> str:
        """The result of one more operation."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, values, kind: type = numpy.int64) -> str:
        """A few numbers, kept exactly and once."""
        values = numpy.asarray(values, kind)
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._known:
            self._known[key] = name = f"constant_{len(self.initializers)}"
            self.initializers.append(numpy_helper.from_array(values, name))
        return self._known[key]

    def numbers(self, values) -> str:
        """A few numbers in float32."""
        return self.constant(values, numpy.float32)

    def weight(self, tensor: torch.Tensor | numpy.ndarray) -> str:
        """Weights in the graph's storage, as float32."""
        values = tensor.numpy() if isinstance(tensor, torch.Tensor) else tensor
        if self.storage == "float":
            return self.numbers(values)
        with numpy.errstate(over="ignore"):
            half = values.astype(numpy.float16)
        if not numpy.isfinite(half).all():
            raise InputError(
                f"the network has weights up to {abs(values).max():.3g}, which half precision cannot hold; give "
                "storage='float'"
            )
        return self.op("Cast", self.constant(half, numpy.float16), to=TensorProto.FLOAT)

    def padded(self, x: str, by: int, mode: str = "reflect") -> str:
        """``by`` more positions on each side."""
        return self.op("Pad", x, self.constant([0, 0, by, by] * 2), mode=mode) if by else x

    def sides(self, x: str) -> str:
        """Height and width, as numbers that are known when the graph runs."""
        return self.op("Shape", x, start=2, end=4)

    def whole(self, x: str, fold: int, mode: str, margin: int = 0) -> str:
        """Continued by ``margin`` on each side, and below and to the right to a multiple of ``fold``."""
        if fold == 1:
            return self.padded(x, margin, mode)
        more = self.op(
            "Mod", self.op("Mul", self.sides(x), self.constant([-1, -1])), self.constant([fold, fold])
        )
        more = self.op("Add", more, self.constant([margin, margin]))
        pads = self.op("Concat", self.constant([0, 0, margin, margin, 0, 0]), more, axis=0)
        return self.op("Pad", x, pads, mode=mode)

    def cut(self, x: str, like: str, factor: int = 1, margin: int = 0) -> str:
        """The part of ``factor`` times the height and width of another value, ``margin`` from the top left."""
        size = self.sides(like)
        if factor > 1:
            size = self.op("Mul", size, self.constant([factor, factor]))
        if margin:
            size = self.op("Add", size, self.constant([margin, margin]))
        return self.op("Slice", x, self.constant([margin, margin]), size, self.constant([2, 3]))

    def convolved(self, x: str, conv: nn.Conv2d, fold: int = 1) -> str:
        """A convolution with its own padding; of squares of ``fold`` x ``fold`` pixels that :meth:`folded` made channels."""
        weight, (by, _) = _values(conv.weight), conv.padding
        if conv.padding_mode == "replicate":
            x, by = self.padded(x, by, "edge"), 0
        how = {"kernel_shape": list(weight.shape[2:]), "strides": list(conv.stride), "pads": [by] * 4}
        inputs = self.weight(_refolded(weight, fold)), self.numbers(_values(conv.bias))
        return self.op("Conv", x, *inputs, dilations=list(conv.dilation), **how)

    def folded(self, x: str, fold: int) -> str:
        """The pixels of a square as channels: (row, column, colour), where ``pixel_unshuffle`` has the colour first."""
        return self.op("SpaceToDepth", x, blocksize=fold) if fold > 1 else x

    def upsampled(self, x: str, weight: str, bias: Sequence[str]) -> str:
        """Nearest neighbours by 2, a border and a 3x3 convolution, as one transposed convolution.

        ``weight`` is (O, C, 3, 3). A reflected or repeated pixel of the large map is the repeated edge of the small one.
        """
        merged = self.numbers(_MERGED)
        weight = self.op("MatMul", self.op("MatMul", merged, weight), self.numbers(_MERGED.T))
        weight = self.op("Transpose", weight, perm=[1, 0, 2, 3])
        x = self.padded(x, 1, "edge")
        how = {"kernel_shape": [4, 4], "strides": [2, 2], "pads": [3] * 4}
        return self.op("ConvTranspose", x, weight, *bias, **how)

    def spread(self, x: str, conv: nn.Conv2d, scale: float = 1.0) -> str:
        """A convolution to few channels, as a transposed one: that gathers K K O values a position and not K K C."""
        weight = (_values(conv.weight) * scale).flip(2, 3).transpose(0, 1).contiguous()
        bias = self.numbers(_values(conv.bias) * scale)
        kernel = weight.shape[2]
        how = {"kernel_shape": [kernel] * 2, "pads": [kernel - 1] * 4}
        return self.op("ConvTranspose", x, self.weight(weight), bias, **how)

    def model(self, output: str, shape: Sequence[int | str], facts: dict[str, str]) -> onnx.ModelProto:
        """All of it, with the last value renamed to ``output``."""
        self.nodes.append(helper.make_node("Identity", [output], ["output"], name="output"))
        result = helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "pltutorial", self.inputs, [result], self.initializers)
        model = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="pltutorial",
        )
        helper.set_model_props(model, facts)
        return model


def _values(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", torch.float32)


def _refolded(weight: torch.Tensor, fold: int) -> torch.Tensor:
    """Weights for channels in the order of :meth:`Graph.folded`."""
    return weight.unflatten(1, (-1, fold * fold)).transpose(1, 2).flatten(1, 2).contiguous()


# --- transformation networks, and the super-resolution of the paper -----------------------------------------


def _layer(graph: Graph, layer: nn.Module, x: str, shares: str | None = None, fold: int = 1) -> str:
    """``networks._Layer``: convolution, normalisation and ReLU."""
    conv, norm = layer.conv, layer.norm
    instance = norm is not None and norm.batch is None
    weight = _values(conv.weight)
    bias = None if instance else _values(conv.bias)
    scale = None
    if norm is not None and norm.batch is not None:
        batch = norm.batch
        scale = _values(batch.weight) / (_values(batch.running_var) + batch.eps).sqrt()
        bias = (bias - _values(batch.running_mean)) * scale + _values(batch.bias)
    weight = graph.weight(_refolded(weight, fold))
    if scale is not None:
        axes = (1, -1, 1, 1) if layer.upsampling == "transposed" else (-1, 1, 1, 1)
        weight = graph.op("Mul", weight, graph.numbers(scale.view(axes)))
    biases = () if bias is None else (graph.numbers(bias),)
    if layer.upsampling == "resize":
        x = graph.upsampled(x, weight, biases)
    elif layer.upsampling:
        x = graph.padded(x, 1)
        how = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [3, 3, 2, 2]}
        x = graph.op("ConvTranspose", x, weight, *biases, **how)
    else:
        x = graph.padded(x, layer.kernel // 2)
        how = {"kernel_shape": [layer.kernel] * 2, "strides": list(conv.stride)}
        x = graph.op("Conv", x, weight, *biases, **how)
    if instance:
        if norm.weight.ndim == 1:
            moments = [graph.numbers(_values(part)) for part in (norm.weight, norm.bias)]
        else:
            moments = [
                graph.op("MatMul", shares, graph.weight(_values(part))) for part in (norm.weight, norm.bias)
            ]
        x = graph.op("InstanceNormalization", x, *moments, epsilon=EPSILON)
    return graph.op("Relu", x) if layer.relu else x


def _block(graph: Graph, block: nn.Module, x: str, shares: str | None = None) -> str:
    return graph.op("Add", x, _layer(graph, block.two, _layer(graph, block.one, x, shares), shares))


def _centred(graph: Graph, image: str) -> str:
    """2 x - 1."""
    return graph.op("Sub", graph.op("Mul", image, graph.numbers(2)), graph.numbers(1))


def _transform(graph: Graph, network: nn.Module) -> str:
    image = graph.input("image", (1, 3, "height", "width"))
    shares = graph.input("weights", (len(network.style_names),)) if network.style_names else None
    x = graph.whole(_centred(graph, image), 4, "reflect", network.margin)
    fold = 2 if network.kind == "fast" else 1
    x = graph.folded(x, fold)
    for layer in network.down:
        x, fold = _layer(graph, layer, x, shares, fold), 1
    for block in network.blocks:
        x = _block(graph, block, x, shares)
    for layer in network.up:
        x = _layer(graph, layer, x, shares)
    last = network.last
    x = graph.spread(graph.padded(x, last.kernel // 2), last.conv, 2)
    # (tanh x + 1) / 2 is the sigmoid of 2 x
    return graph.op("Sigmoid", graph.cut(x, image, margin=network.margin))


def _super_resolution(graph: Graph, network: nn.Module) -> str:
    x = _centred(graph, graph.input("image", (1, 3, "height", "width")))
    x = _layer(graph, network.first, x)
    for block in network.blocks:
        x = _block(graph, block, x)
    for layer in network.up:
        x = _layer(graph, layer, x)
    last = network.last
    return graph.op("Sigmoid", graph.spread(graph.padded(x, last.kernel // 2), last.conv, 2))


# --- residual networks ----------------------------------------------------------------------------------------


def _residual(graph: Graph, network: nn.Module, x: str, more: str | None = None) -> str:
    """What is added to the picture; ``more`` is added before the channels become pixels."""
    x = graph.folded(graph.whole(x, network.fold, "edge"), network.fold)
    start = x = graph.convolved(x, network.first, network.fold)
    for block in network.blocks:
        inner = graph.op("Relu", graph.convolved(x, block.one))
        x = graph.op("Add", graph.convolved(inner, block.two), x)
    x = graph.convolved(graph.op("Add", x, start), network.last)
    x = x if more is None else graph.op("Add", x, more)
    return graph.op("DepthToSpace", x, blocksize=network.unfold, mode="CRD") if network.unfold > 1 else x


def _clamped(graph: Graph, x: str) -> str:
    return graph.op("Clip", x, graph.numbers(0), graph.numbers(1))


def _bicubic(factor: int) -> torch.Tensor:
    """Weights (3 factor^2, 1, 5, 5) that make of each pixel the factor x factor ones of the bicubic enlargement.

    They are read off the enlargement of a single white pixel. The runtime's own is slow, and rounds sizes differently.
    """
    dot = torch.zeros(1, 1, 9, 9)
    dot[..., 4, 4] = 1
    large = F.interpolate(dot, scale_factor=factor, mode="bicubic", align_corners=False)
    near = large.view(9, factor, 9, factor)[2:7, :, 2:7].flip(0, 2)  # (row, a, column, b)
    return near.permute(1, 3, 0, 2).reshape(factor**2, 1, 5, 5).repeat(3, 1, 1, 1)


def _sub_pixel(graph: Graph, network: nn.Module) -> str:
    image = graph.input("image", (1, 3, "height", "width"))
    weight = graph.numbers(_bicubic(network.factor))
    large = graph.op("Conv", graph.padded(image, 2, "edge"), weight, kernel_shape=[5, 5], group=3)
    x = graph.op("Sub", image, graph.numbers(0.5))
    return _clamped(graph, _residual(graph, network, x, large))


def _denoising(graph: Graph, network: nn.Module) -> str:
    image = graph.input("image", (1, 3, "height", "width"))
    x = _residual(graph, network, graph.op("Sub", image, graph.numbers(0.5)))
    return _clamped(graph, graph.op("Add", image, graph.cut(x, image)))


def _inpainting(graph: Graph, network: nn.Module) -> str:
    image = graph.input("image", (1, 3, "height", "width"))
    mask = graph.input("mask", (1, 1, "height", "width"))
    known = graph.op("Sub", graph.numbers(1), mask)
    seen = graph.op("Mul", image, known)
    axes = graph.constant([2, 3])
    count = graph.op("Max", graph.op("ReduceSum", known, axes), graph.numbers(1))
    mean = graph.op("Div", graph.op("ReduceSum", seen, axes), count)
    filled = graph.op("Add", seen, graph.op("Mul", mean, mask))
    x = graph.op("Concat", graph.op("Sub", filled, mean), mask, axis=1)
    drawn = graph.op("Add", mean, graph.cut(_residual(graph, network, x), image))
    drawn = graph.op("Mul", drawn, mask)
    return _clamped(graph, graph.op("Add", seen, drawn))


# --- what a network is written by -----------------------------------------------------------------------------

_WRITERS: dict[str, Callable[[Graph, nn.Module], str]] = {
    "transform": _transform,
    "fast": _transform,
    "super_resolution": _super_resolution,
    "sub_pixel": _sub_pixel,
    "denoising": _denoising,
    "inpainting": _inpainting,
}


def model(network: nn.Module, storage: str, facts: dict[str, str]) -> onnx.ModelProto:
    """A network as an ONNX model."""
    graph = Graph(storage)
    with torch.no_grad():
        output = _WRITERS[network.kind](graph, network)
    factor = getattr(network, "factor", 1)
    sides = ("height", "width") if factor == 1 else (f"{factor}*height", f"{factor}*width")
    return graph.model(output, (1, 3, *sides), facts)
