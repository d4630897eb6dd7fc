"""The loss network itself as ONNX graphs: features of a picture, and a loss of Gram
matrices and features together with its gradient, which runtimes without automatic
differentiation cannot make.

Maps are (1, C, H, W); height and width may vary. Weights are kept in half precision, as
the package has them, and everything is computed in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ..errors import InputError, needed
from ..vgg import RELU_LAYERS, LossNetwork

if TYPE_CHECKING:
    from .graph import Graph

_SQUARES = {"kernel_shape": [2, 2], "strides": [2, 2]}
_FACTS = {"network": "VGG-16 (Simonyan and Zisserman 2014), CC BY 4.0"}


def features_onnx(
    network: LossNetwork, layers: Sequence[str], after: str | None = None
) -> bytes:
    """The features of one picture: ``image`` (1, 3, H, W), RGB in [0, 1], gives one
    output a layer, named like it, (1, C, H', W').

    Args:
        network: the loss network, of any pooling.
        layers: names such as ``"relu2_2"``, activations only.
        after: go on from the features of this layer, ``features`` (1, C, H, W), which
            another file has made.

    Raises:
        InputError: a layer that is none, or that is not after its activation, or
            not after ``after``; a missing package.
    """
    _check(layers if after is None else [*layers, after])
    if after is not None and min(map(RELU_LAYERS.index, layers)) <= RELU_LAYERS.index(
        after
    ):
        raise InputError(
            f"layers {', '.join(layers)} were asked for after {after}; give layers "
            "that are deeper"
        )
    graph = _new_graph()
    if after is None:
        x = _centred(graph, network, graph.input("image", [1, 3, "H", "W"]))
    else:
        x = graph.input("features", [1, _channels(network, after), "H", "W"])
    found, _ = _forward(graph, network, x, layers, after)
    sizes = {layer: [1, _channels(network, layer), None, None] for layer in layers}
    return _written(graph, {name: (found[name], sizes[name]) for name in layers})


def style_gradient_onnx(
    network: LossNetwork, layers: Sequence[str], content: str
) -> bytes:
    """A loss for moving pixels, and its gradient.

    ``image`` (1, 3, H, W) is compared with ``gram_LAYER`` (C, C) for each of the
    ``layers`` and with ``content`` (1, C, H', W'), the features at the content layer.
    The loss is the sum over the layers of w ||G - gram||^2 and of c times the mean of
    the squared difference of the features, where G = F F^T / (C H W), w is
    ``style_weights`` (one a layer) and c is ``content_weight`` (1). Outputs: ``losses``
    (each layer's ||G - gram||^2, then the mean of the content) without the weights,
    ``gradient`` (1, 3, H, W) of the weighted sum, and what the next targets may be made
    of: ``new_gram_LAYER`` and ``new_content``, those of the picture itself.

    The backward pass of each operation is written out: transposed convolutions, the
    masks of ReLU, the places that maxima came from, and 4 (G - gram) F / (C H W).

    Args:
        network: the loss network, of any pooling.
        layers: of the style, activations, from shallow to deep.
        content: one activation.

    Raises:
        InputError: as :func:`features_onnx`.

    Source: Gatys et al. (2016), equations 1 to 6, in the normalisation of Johnson et
    al. (2016), equation 3.
    """
    _check([*layers, content])
    graph = _new_graph()
    image = graph.input("image", [1, 3, "H", "W"])
    x = _centred(graph, network, image)
    found, steps = _forward(graph, network, x, [*layers, content])
    weights = graph.input("style_weights", [len(layers)])
    outputs, taps, losses = {}, {}, []
    for number, layer in enumerate(layers):
        weight = graph.op("Gather", weights, graph.constant([number]))
        channels = _channels(network, layer)
        gram, *loss = _style(graph, found[layer], layer, channels, weight)
        outputs[f"new_gram_{layer}"] = gram, [channels, channels]
        losses.append(loss[0])
        taps[layer] = [loss[1]]
    sizes = [1, _channels(network, content), "h", "w"]
    weight, target = (
        graph.input("content_weight", [1]),
        graph.input("content", sizes),
    )
    loss = _content(graph, found[content], target, weight)
    losses.append(loss[0])
    taps.setdefault(content, []).append(loss[1])
    outputs["new_content"] = found[content], sizes
    losses = graph.op("Concat", *losses, axis=0)
    outputs["losses"] = losses, [len(layers) + 1]
    gradient = _backward(graph, network, steps, taps)
    outputs["gradient"] = gradient, [1, 3, "H", "W"]
    return _written(graph, outputs)


def _new_graph() -> Graph:
    needed("onnx", "exports", "export")
    from .graph import Graph

    return Graph("half")


def _check(layers: Sequence[str]) -> None:
    if not layers or (wrong := [name for name in layers if name not in RELU_LAYERS]):
        given = repr(wrong[0]) if layers else "none"
        raise InputError(
            f"layers of the loss network are exported after their activation, and "
            f"{given} was given; give names such as 'relu2_2'"
        )


def _written(graph: Graph, outputs: dict[str, tuple[str, Sequence]]) -> bytes:
    return graph.model_of(outputs, _FACTS).SerializeToString(deterministic=True)


def _channels(network: LossNetwork, layer: str) -> int:
    return getattr(network, f"bias{layer[4:]}").numel()


def _depth(layers: Sequence[str], after: str | None) -> list[str]:
    """The convolutions up to the deepest of the layers, by number such as 1_2."""
    deepest = max(RELU_LAYERS.index(layer) for layer in layers)
    first = 0 if after is None else RELU_LAYERS.index(after) + 1
    return [layer[4:] for layer in RELU_LAYERS[first : deepest + 1]]


def _centred(graph: Graph, network: LossNetwork, image: str) -> str:
    """The picture as the first convolution wants it."""
    x = graph.op("Sub", image, graph.numbers(network.mean.numpy()))
    return graph.op("Mul", x, graph.numbers(network.scale.numpy()))


def _forward(
    graph: Graph,
    network: LossNetwork,
    x: str,
    layers: Sequence[str],
    after: str | None = None,
):
    """Features by layer, and in turn what was done: of a convolution its number,
    weight, result and tiles; of a pooling the places of the maxima and what it saw.
    """
    found, steps, tiles = {}, [], None
    for number in _depth(layers, after):
        if number.endswith("_1") and number != "1_1":
            pooled, places = _pooled(graph, network, x)
            steps.append(("pool", places, x))
            x, tiles = pooled, None
        tiles = tiles or graph.tiles(x)
        values, bias = _values(network, number)
        weight = graph.weight(values)
        if number == "1_1":
            options = {"kernel_shape": [3, 3], "pads": [1] * 4}
            x = graph.op("Conv", x, weight, graph.numbers(bias), **options)
        else:
            x = graph.padded(x, 1, "constant")
            x = graph.tiled(x, weight, values.shape, tiles)
            x = graph.op("Add", x, graph.numbers(bias.reshape(-1, 1, 1)))
        x = found[f"relu{number}"] = graph.op("Relu", x)
        steps.append(("conv", number, weight, x, tiles))
    return found, steps


def _values(network: LossNetwork, number: str):
    """Weight (O, C, 3, 3), a tensor, and bias (O,), an array, of a convolution."""
    weight = getattr(network, f"weight{number}").float().contiguous()
    return weight, getattr(network, f"bias{number}").float().numpy()


def _pooled(graph: Graph, network: LossNetwork, x: str) -> tuple[str, str | None]:
    """Half the size, and the places of the maxima if it takes maxima."""
    if network.pooling == "average":
        return graph.op("AveragePool", x, **_SQUARES), None
    return graph.ops("MaxPool", x, outputs=2, **_SQUARES)


def _unpooled(graph: Graph, gradient: str, places: str | None, x: str) -> str:
    """The gradient of what was pooled."""
    if places is not None:
        return graph.op("MaxUnpool", gradient, places, graph.op("Shape", x), **_SQUARES)
    # each value is a mean of four; a last odd row or column was not looked at
    gradient = graph.op("Mul", gradient, graph.numbers(0.25))
    scales = graph.numbers([1, 1, 2, 2])
    modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    large = graph.op("Resize", gradient, "", scales, nearest_mode="floor", **modes)
    lacking = graph.op("Sub", graph.op("Shape", x), graph.op("Shape", large))
    zeros = graph.constant([0] * 4)
    return graph.op("Pad", large, graph.op("Concat", zeros, lacking, axis=0))


def _style(graph: Graph, feature: str, layer: str, channels: int, weight: str):
    """||G - gram||^2 (1), and its weighted gradient by the features, as they lie."""
    rows = graph.op("Reshape", feature, graph.constant([channels, -1]))
    count = graph.count(feature)
    gram = graph.op("MatMul", rows, graph.op("Transpose", rows, perm=[1, 0]))
    gram = graph.op("Div", gram, count)
    target = graph.input(f"gram_{layer}", [channels, channels])
    off = graph.op("Sub", gram, target)
    loss = graph.op("ReduceSumSquare", off, keepdims=0)
    loss = graph.op("Reshape", loss, graph.constant([1]))
    factor = graph.op("Mul", weight, graph.op("Div", graph.numbers(4.0), count))
    gradient = graph.op("MatMul", graph.op("Mul", off, factor), rows)
    gradient = graph.op("Reshape", gradient, graph.op("Shape", feature))
    return gram, loss, gradient


def _content(graph: Graph, feature: str, target: str, weight: str):
    """The mean squared difference (1), and its weighted gradient by the features."""
    off = graph.op("Sub", feature, target)
    count = graph.count(feature)
    loss = graph.op("Div", graph.op("ReduceSumSquare", off, keepdims=0), count)
    factor = graph.op("Mul", weight, graph.op("Div", graph.numbers(2.0), count))
    loss = graph.op("Reshape", loss, graph.constant([1]))
    return loss, graph.op("Mul", off, factor)


def _backward(graph: Graph, network: LossNetwork, steps: list, taps: dict) -> str:
    """The gradient by the picture, from those by the features of some layers."""
    gradient = None
    for kind, *what in reversed(steps):
        if kind == "pool":
            gradient = _unpooled(graph, gradient, *what)
            continue
        number, weight, feature, tiles = what
        for more in taps.get(f"relu{number}", ()):
            gradient = more if gradient is None else graph.op("Add", gradient, more)
        # a feature is never negative: its sign is 1 where ReLU let it through, else 0
        gradient = graph.op("Mul", gradient, graph.op("Sign", feature))
        if number == "1_1":
            options = {"kernel_shape": [3, 3], "pads": [1] * 4}
            gradient = graph.op("ConvTranspose", gradient, weight, **options)
        else:
            # the same weights, turned round, with inputs and outputs exchanged
            outputs, inputs = _values(network, number)[0].shape[:2]
            turned = graph.op("Transpose", weight, perm=[1, 0, 2, 3])
            start, stop, step = ([value] * 2 for value in (-1, -(2**31), -1))
            turned = graph.op(
                "Slice", turned, *map(graph.constant, (start, stop, [2, 3], step))
            )
            gradient = graph.padded(gradient, 1, "constant")
            shape = torch.Size((inputs, outputs, 3, 3))
            gradient = graph.tiled(gradient, turned, shape, tiles)
    return graph.op("Mul", gradient, graph.numbers(network.scale.numpy()))
