"""Networks that draw a sheet of pictures at once as ONNX graphs: the denoiser of flow
matching, which a sampler asks at every step, and decoders of several VAEs in one file.

Unlike the graphs of other networks they take any number of pictures. Weights are kept
in half precision, as the networks ship, and everything is computed in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy
import torch
from torch import nn

from ..errors import InputError, needed
from ..networks.flow import EMBEDDED, GROUPS, PATCH, FlowNet
from ..networks.vae import VAE

if TYPE_CHECKING:
    from .graph import Graph

_FACTS = {"networks": "pltutorial, trained on cartoon faces by Johan Melin; MIT"}


def decoders_onnx(networks: Mapping[str, VAE]) -> bytes:
    """Decoders side by side: of each ``latent_NAME`` (N, latent) the file makes a
    ``picture_NAME`` (N, 3, size, size) in (0, 1).

    Args:
        networks: by name, on any device; written as in eval mode.

    Raises:
        InputError: no network, or one of another kind; a missing package.
    """
    needed("onnx", "exports", "export")
    from .graph import Graph
    from .networks import decoded

    others = [n for n, one in networks.items() if getattr(one, "kind", "") != VAE.kind]
    if others or not networks:
        given = f"{others[0]!r} is none" if others else "none was given"
        raise InputError(f"decoders are those of VAEs, and {given}; give some of VAE")
    graph, outputs = Graph("half"), {}
    with torch.no_grad():
        for name, network in networks.items():
            latent = graph.input(f"latent_{name}", ["count", network.latent])
            shape = ["count", 3, network.size, network.size]
            outputs[f"picture_{name}"] = decoded(graph, network, latent), shape
    return graph.model_of(outputs, _FACTS).SerializeToString(deterministic=True)


def flow_onnx(network: FlowNet) -> bytes:
    """What the denoiser answers: ``x_t`` (N, 3, size, size), centred; ``t`` (N, 1), in
    [0, 1]; and ``label`` (N, classes + 1), 1 at the number of the class or, in the last
    place, at none. The answer is ``estimate``, of the shape of ``x_t``, centred.

    Args:
        network: on any device; it is written as in eval mode.

    Raises:
        InputError: another kind of network; a missing package.
    """
    needed("onnx", "exports", "export")
    from .graph import Graph

    if getattr(network, "kind", "") != FlowNet.kind:
        raise InputError(
            f"a {type(network).__name__} was given; give a FlowNet, such as "
            "load_diffusion gives"
        )
    graph, size = Graph("half"), network.size
    shape = ["count", 3, size, size]
    x_t = graph.input("x_t", shape)
    with torch.no_grad():
        about = _about(graph, network)
        estimate = _estimate(graph, network, x_t, about)
    model = graph.model_of({"estimate": (estimate, shape)}, _FACTS)
    return model.SerializeToString(deterministic=True)


def _estimate(graph: Graph, network: FlowNet, x_t: str, about: str) -> str:
    side = network.size // PATCH
    x = graph.folded(x_t, PATCH)
    x = _convolved(graph, x, network.first, PATCH)
    skips = []
    for block, shrink in zip(network.down, network.shrink, strict=True):
        x = _block(graph, block, x, about, side)
        skips.append(x)
        x, side = _convolved(graph, x, shrink), side // 2
    x = _block(graph, network.middle, x, about, side)
    x = _attended(graph, network.attention, x, side)
    for grow, block in zip(network.grow, network.up, strict=True):
        x = _grown(graph, _convolved(graph, x, grow), skips.pop(), grow, side)
        side *= 2
        x = _block(graph, block, x, about, side)
    norm = network.norm
    x = _normed(graph, x, norm.num_channels, side)
    x = graph.op("Mul", x, _channels(graph, norm.weight))
    x = _silu(graph, graph.op("Add", x, _channels(graph, norm.bias)))
    x = _convolved(graph, x, network.last)
    return graph.op("DepthToSpace", x, blocksize=PATCH, mode="CRD")


def _about(graph: Graph, network: FlowNet) -> str:
    """Time and label as one vector a picture, (N, EMBEDDED)."""
    t = graph.input("t", ["count", 1])
    label = graph.input("label", ["count", len(network.classes) + 1])
    half = EMBEDDED // 2
    rates = torch.exp(torch.arange(half) * (-math.log(1000) / half))
    angles = graph.op("Mul", t, graph.numbers(1000))
    angles = graph.op("Mul", angles, _row(graph, rates))
    waves = graph.op("Concat", graph.op("Sin", angles), graph.op("Cos", angles), axis=1)
    told = graph.op("MatMul", label, graph.weight(_values(network.label.weight)))
    about = graph.op("Add", _linear(graph, waves, network.time), told)
    return _silu(graph, _linear(graph, _silu(graph, about), network.about))


def _values(tensor: torch.Tensor) -> torch.Tensor:
    """In float32, on the CPU."""
    return tensor.detach().to("cpu", torch.float32)


def _row(graph: Graph, values: torch.Tensor) -> str:
    return graph.numbers(values.numpy()[None])


def _linear(graph: Graph, x: str, layer: nn.Linear) -> str:
    weight = graph.weight(_values(layer.weight))
    return graph.op("Gemm", x, weight, graph.numbers(_values(layer.bias)), transB=1)


def _channels(graph: Graph, values: torch.Tensor) -> str:
    return graph.numbers(_values(values).view(1, -1, 1, 1).numpy())


def _parts(graph: Graph, x: str, channels: int, count: int) -> list[str]:
    """So many channels after one another."""
    sizes = graph.constant([channels] * count)
    return graph.ops("Split", x, sizes, outputs=count, axis=1)


def _silu(graph: Graph, x: str) -> str:
    return graph.op("Mul", x, graph.op("Sigmoid", x))


def _convolved(graph: Graph, x: str, conv: nn.Conv2d, fold: int = 1) -> str:
    from .graph import refolded

    weight = refolded(_values(conv.weight), fold)
    options = {
        "kernel_shape": list(weight.shape[2:]),
        "strides": list(conv.stride),
        "pads": [conv.padding[0]] * 4,
    }
    bias = graph.numbers(_values(conv.bias))
    return graph.op("Conv", x, graph.weight(weight), bias, **options)


def _normed(graph: Graph, x: str, channels: int, side: int) -> str:
    """Each group of channels of each picture with mean 0 and variance 1."""
    groups = graph.op("Reshape", x, graph.constant([0, GROUPS, -1]))
    ones, zeros = (graph.numbers(numpy.full(GROUPS, value)) for value in (1, 0))
    groups = graph.op("InstanceNormalization", groups, ones, zeros, epsilon=1e-5)
    return graph.op("Reshape", groups, graph.constant([-1, channels, side, side]))


def _block(graph: Graph, block: nn.Module, x: str, about: str, side: int) -> str:
    channels = block.norm1.num_channels
    y = _normed(graph, x, channels, side)
    y = graph.op("Mul", y, _channels(graph, block.norm1.weight))
    y = _silu(graph, graph.op("Add", y, _channels(graph, block.norm1.bias)))
    y = _convolved(graph, y, block.conv1)
    # (n w + b)(1 + scale) + shift is n times one small map, plus another
    film = _linear(graph, about, block.film)
    scale, shift = _parts(graph, film, channels, 2)
    scale = graph.op("Add", scale, graph.numbers(1))
    weight, bias = (
        _row(graph, _values(part)) for part in (block.norm2.weight, block.norm2.bias)
    )
    shift = graph.op("Add", graph.op("Mul", scale, bias), shift)
    scale = graph.op("Mul", scale, weight)
    scale, shift = (
        graph.op("Reshape", part, graph.constant([0, 0, 1, 1]))
        for part in (scale, shift)
    )
    y = graph.op("Mul", _normed(graph, y, channels, side), scale)
    y = _silu(graph, graph.op("Add", y, shift))
    return graph.op("Add", x, _convolved(graph, y, block.conv2))


def _attended(graph: Graph, layer: nn.Module, x: str, side: int) -> str:
    channels = layer.norm.num_channels
    y = _normed(graph, x, channels, side)
    y = graph.op("Mul", y, _channels(graph, layer.norm.weight))
    y = graph.op("Add", y, _channels(graph, layer.norm.bias))
    y = _convolved(graph, y, layer.asked)
    y = graph.op("Reshape", y, graph.constant([0, 0, -1]))
    asked, keys, told = _parts(graph, y, channels, 3)  # (N, C, positions)
    asked = graph.op("Mul", asked, graph.numbers(channels**-0.5))
    alike = graph.op("MatMul", graph.op("Transpose", asked, perm=[0, 2, 1]), keys)
    alike = graph.op("Transpose", graph.op("Softmax", alike, axis=2), perm=[0, 2, 1])
    seen = graph.op("MatMul", told, alike)
    seen = graph.op("Reshape", seen, graph.constant([0, 0, side, side]))
    return graph.op("Add", x, _convolved(graph, seen, layer.told))


def _grown(graph: Graph, x: str, skip: str, grow: nn.Conv2d, side: int) -> str:
    """Every position as a square of 2x2, added to what was skipped: by numpy's rule for
    axes of length 1, which is quicker than the runtime's enlargement.
    """
    channels = grow.out_channels
    x = graph.op("Reshape", x, graph.constant([-1, channels, side, 1, side, 1]))
    skip = graph.op("Reshape", skip, graph.constant([-1, channels, side, 2, side, 2]))
    x = graph.op("Add", x, skip)
    return graph.op("Reshape", x, graph.constant([-1, channels, 2 * side, 2 * side]))
