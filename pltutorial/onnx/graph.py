"""The networks as ONNX graphs, written operation by operation for the
runtime in a browser.

One picture at a time, maps are (1, C, H, W). What the runtime is slow at is
expressed otherwise, with the same result: nearest neighbours are never written out,
a tanh scaled to [0, 1] is a sigmoid, a convolution to three channels is a transposed
one. What depends on weights alone is left to the runtime, which computes it once,
when it loads the graph.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ..errors import InputError
from ..networks._kernels import SQUARE, merging

OPSET, IR_VERSION = 20, 10
TILE = 4
# the usual 0, 1, -1, 2, -2 lose four times as much by rounding
POINTS = (0, 0.75, -0.75, 1.5, -1.5)
WORTH = 32  # channels from which tiles save time
_END = 2**31 - 1  # of a slice: to where the map ends


class Graph:
    """Operations in the order in which they run; a value is known by its name."""

    def __init__(self, storage: str, in_tiles: bool = True) -> None:
        self.storage, self.in_tiles = storage, in_tiles
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self._known: dict[tuple, str] = {}

    def input(self, name: str, shape: Sequence[int | str]) -> str:
        """An input of float32; a string is the name of a dimension that may vary."""
        self.inputs.append(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        )
        return name

    def op(self, kind: str, *inputs: str, **attributes) -> str:
        """The result of one more operation."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(kind, inputs, [name], name=name, **attributes)
        )
        return name

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes) -> list[str]:
        """The results of one more operation that has several."""
        name = f"{kind}_{len(self.nodes)}"
        names = [f"{name}_{number}" for number in range(outputs)]
        self.nodes.append(
            helper.make_node(kind, inputs, names, name=name, **attributes)
        )
        return names

    def constant(self, values, kind: type = numpy.int64) -> str:
        """A few numbers, kept exactly and once."""
        values = numpy.asarray(values, kind)
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._known:
            self._known[key] = name = f"constant_{len(self.initializers)}"
            self.initializers.append(numpy_helper.from_array(values, name))
        return self._known[key]

    def numbers(self, values) -> str:
        """Numbers in float32."""
        return self.constant(values, numpy.float32)

    def weight(self, tensor: torch.Tensor) -> str:
        """Weights in the graph's storage, as float32."""
        values = tensor.numpy()
        if not numpy.isfinite(values).all():
            raise InputError(
                "the network has weights that are infinite or no numbers; give one "
                "from an earlier step of its training"
            )
        if self.storage == "float":
            return self.numbers(values)
        with numpy.errstate(over="ignore"):
            half = values.astype(numpy.float16)
        if not numpy.isfinite(half).all():
            raise InputError(
                f"the network has weights up to {abs(values).max():.3g}, which half "
                "precision cannot hold; give storage='float'"
            )
        return self.op("Cast", self.constant(half, numpy.float16), to=TensorProto.FLOAT)

    def padded(self, x: str, by: int, mode: str = "reflect") -> str:
        """``by`` more positions on each side."""
        if not by:
            return x
        return self.op("Pad", x, self.constant([0, 0, by, by] * 2), mode=mode)

    def sides(self, x: str) -> str:
        """Height and width, as numbers that are known when the graph runs."""
        return self.op("Shape", x, start=2, end=4)

    def whole(self, x: str, fold: int, mode: str, margin: int = 0) -> str:
        """Continued by ``margin`` on each side, and below and to the right to a
        multiple of ``fold``.
        """
        if fold == 1:
            return self.padded(x, margin, mode)
        more = self.op(
            "Mod",
            self.op("Mul", self.sides(x), self.constant([-1, -1])),
            self.constant([fold, fold]),
        )
        more = self.op("Add", more, self.constant([margin, margin]))
        pads = self.op(
            "Concat", self.constant([0, 0, margin, margin, 0, 0]), more, axis=0
        )
        return self.op("Pad", x, pads, mode=mode)

    def cut(self, x: str, like: str, margin: int = 0) -> str:
        """The part with the height and width of another value, ``margin``
        from the top left.
        """
        size = self.sides(like)
        if margin:
            size = self.op("Add", size, self.constant([margin, margin]))
        return self.op(
            "Slice", x, self.constant([margin, margin]), size, self.constant([2, 3])
        )

    def convolved(
        self, x: str, conv: nn.Conv2d, fold: int = 1, tiles: tuple | None = None
    ) -> str:
        """A convolution with its own padding; of squares of ``fold`` x ``fold`` pixels
        that :meth:`folded` made channels.
        """
        if (
            tiles is not None
            and conv.dilation == (1, 1)
            and min(conv.weight.shape[:2]) >= WORTH
        ):
            weight = self.weight(values_of(conv.weight))
            x = self.tiled(
                self.padded(x, 1, "constant"), weight, conv.weight.shape, tiles
            )
            return self.op("Add", x, self.numbers(values_of(conv.bias).view(-1, 1, 1)))
        weight, (by, _) = values_of(conv.weight), conv.padding
        if conv.padding_mode == "replicate":
            x, by = self.padded(x, by, "edge"), 0
        options = {
            "kernel_shape": list(weight.shape[2:]),
            "strides": list(conv.stride),
            "pads": [by] * 4,
        }
        inputs = self.weight(refolded(weight, fold)), self.numbers(values_of(conv.bias))
        return self.op("Conv", x, *inputs, dilations=list(conv.dilation), **options)

    def folded(self, x: str, fold: int) -> str:
        """The pixels of a square as channels: (row, column, colour), where
        ``pixel_unshuffle`` has the colour first.
        """
        return self.op("SpaceToDepth", x, blocksize=fold) if fold > 1 else x

    def count(self, x: str) -> str:
        """How many numbers a map has, as float32."""
        return self.op("Cast", self.op("Size", x), to=TensorProto.FLOAT)

    def tiles(self, x: str) -> tuple[str, str, str] | None:
        """For maps as large as this one: rows and columns of tiles of 4x4, what they
        lack, and height and width. None where convolutions are written plainly.
        """
        if not self.in_tiles:
            return None
        sides, side = self.sides(x), self.constant([TILE] * 2)
        count = self.op(
            "Div", self.op("Add", sides, self.constant([TILE - 1] * 2)), side
        )
        return count, self.op("Sub", self.op("Mul", count, side), sides), sides

    def tiled(
        self, x: str, weight: str, shape: torch.Size, tiles: tuple[str, str, str]
    ) -> str:
        """A 3x3 convolution of a map with one position around it, in tiles: a quarter
        of the multiplications.

        36 sums of the 6x6 values that a tile sees are multiplied with 36 sums of the
        weights, in the place of 16 times 9; 36 x 16 more make a tile of the products.
        Winograd's way: Lavin and Gray (2016), section 4.

        Args:
            weight: (O, C, 3, 3), whose ``shape`` is given too.
            tiles: from :meth:`tiles`, for the map without what is around it.
        """
        outputs, inputs = shape[:2]
        size = TILE + 2
        (to_map, of_weight, of_map), (count, lacking, sides) = _toom_cook(), tiles
        # as many rows and columns more as make whole tiles
        x = self.op(
            "Pad", x, self.op("Concat", self.constant([0] * 6), lacking, axis=0)
        )
        # Tiles overlap by two, so a strided convolution cuts them out and forms the
        # 36 sums in one pass. Each channel does so by itself: channels become
        # pictures, (C, 1, H, W).
        sums = self.op("Reshape", x, self.constant([inputs, 1, 0, 0]))  # 0: as it is
        options = {"kernel_shape": [size] * 2, "strides": [TILE] * 2}
        sums = self.op("Conv", sums, self.numbers(_outer(of_map)), **options)
        sums = self.op("Reshape", sums, self.constant([inputs, size * size, -1]))
        # the sums of the weights are constant: the runtime folds this
        # when it loads the file
        weight = self.op("MatMul", self.numbers(of_weight), weight)
        weight = self.op("MatMul", weight, self.numbers(of_weight.T))
        weight = self.op(
            "Reshape", weight, self.constant([outputs, inputs, size * size])
        )
        # one matrix product (O, C) x (C, tiles) for each of the 36 sums:
        # here is the arithmetic
        weight = self.op("Transpose", weight, perm=[2, 0, 1])
        products = self.op("MatMul", weight, self.op("Transpose", sums, perm=[1, 0, 2]))
        products = self.op("Transpose", products, perm=[1, 0, 2])
        shape = self.op("Concat", self.constant([outputs, size * size]), count, axis=0)
        products = self.op("Reshape", products, shape)
        # back to tiles that do not overlap, each channel by itself
        # again, then cut to size
        options = {"kernel_shape": [TILE] * 2, "strides": [TILE] * 2}
        x = self.op(
            "ConvTranspose", products, self.numbers(_outer(to_map.T)), **options
        )
        x = self.op("Reshape", x, self.constant([1, outputs, 0, 0]))
        return self.op("Slice", x, self.constant([0, 0]), sides, self.constant([2, 3]))

    def upsampled(
        self, x: str, weight: str, outputs: int, bias: torch.Tensor | None
    ) -> str:
        """Nearest neighbours by 2, a border and a 3x3 convolution, as
        ``_kernels.upsampled_conv`` has it.

        ``weight`` is (outputs, C, 3, 3). A reflected or repeated pixel of the large map
        is the repeated edge of the small.
        """
        merged = merging(torch.device("cpu"), torch.float32).flatten(0, 1)
        weight = self.op(
            "MatMul",
            self.op("MatMul", self.numbers(merged), weight),
            self.numbers(merged.T),
        )
        # (.., ., a, i, b, j)
        weight = self.op("Reshape", weight, self.constant([outputs, -1, 2, 2, 2, 2]))
        weight = self.op("Transpose", weight, perm=[2, 4, 0, 1, 3, 5])
        weight = self.op("Reshape", weight, self.constant([4 * outputs, -1, 2, 2]))
        biases = () if bias is None else (self.numbers(bias.repeat(4)),)
        four = self.op(
            "Conv", self.padded(x, 1, "edge"), weight, *biases, kernel_shape=[2, 2]
        )
        parts = []
        for group, (a, b) in enumerate(SQUARE):
            start = self.constant([group * outputs, a, b])
            stop = self.constant([(group + 1) * outputs, a - 1 or _END, b - 1 or _END])
            parts.append(self.op("Slice", four, start, stop, self.constant([1, 2, 3])))
        return self.op("DepthToSpace", self.op("Concat", *parts, axis=1), blocksize=2)

    def spread(self, x: str, conv: nn.Conv2d, scale: float = 1.0) -> str:
        """A convolution to few channels, as a transposed one: that gathers K K O values
        a position and not K K C.
        """
        weight = (
            (values_of(conv.weight) * scale).flip(2, 3).transpose(0, 1).contiguous()
        )
        bias = self.numbers(values_of(conv.bias) * scale)
        kernel = weight.shape[2]
        options = {"kernel_shape": [kernel] * 2, "pads": [kernel - 1] * 4}
        return self.op("ConvTranspose", x, self.weight(weight), bias, **options)

    def model(
        self, output: str, shape: Sequence[int | str], facts: dict[str, str]
    ) -> onnx.ModelProto:
        """All of it, with the last value renamed to ``output``."""
        return self.model_of({"output": (output, shape)}, facts)

    def model_of(
        self,
        outputs: dict[str, tuple[str, Sequence[int | str | None]]],
        facts: dict[str, str],
    ) -> onnx.ModelProto:
        """All of it, with several outputs: by name the value and its shape."""
        results = []
        for name, (value, shape) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [value], [name], name=name))
            results.append(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            )
        graph = helper.make_graph(
            self.nodes, "pltutorial", self.inputs, results, self.initializers
        )
        model = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="pltutorial",
        )
        helper.set_model_props(model, facts)
        return model


def values_of(tensor: torch.Tensor) -> torch.Tensor:
    """A parameter's values in float32."""
    return tensor.detach().to("cpu", torch.float32)


@functools.cache
def _toom_cook() -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
    """The matrices A^T, G and B^T of 4 outputs of a filter of 3 taps: values of
    polynomials at five points and infinity.
    """
    points = numpy.array(POINTS)
    to_map, of_weight, of_map = (
        numpy.zeros((4, 6)),
        numpy.zeros((6, 3)),
        numpy.zeros((6, 6)),
    )
    for row, point in enumerate(points):
        others = numpy.delete(points, row)
        to_map[:, row] = point ** numpy.arange(4)
        of_weight[row] = point ** numpy.arange(3) / numpy.prod(point - others)
        of_map[row, :5] = numpy.poly(others)[::-1]
    to_map[3, 5] = of_weight[5, 2] = 1
    of_map[5] = numpy.poly(points)[::-1]
    return to_map, of_weight, of_map


def _outer(matrix: numpy.ndarray) -> numpy.ndarray:
    """Rows i and j of a matrix as one kernel: (rows^2, 1, columns, columns)."""
    rows, columns = matrix.shape
    return numpy.einsum("ai,bj->abij", matrix, matrix).reshape(
        rows * rows, 1, columns, columns
    )


def refolded(weight: torch.Tensor, fold: int) -> torch.Tensor:
    """Weights for channels in the order of :meth:`Graph.folded`."""
    return (
        weight.unflatten(1, (-1, fold * fold))
        .transpose(1, 2)
        .flatten(1, 2)
        .contiguous()
    )
