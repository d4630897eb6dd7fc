"""Values as data: JSON and a list of tensors, and what stands for things
of the other side.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import numpy
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from .channel import ChannelError
from .handles import Handles

_LONGEST = 100_000  # entries of what is listed
_DEEPEST = 40
_VIEWS = (type({}.keys()), type({}.values()), type({}.items()))


class CannotTravelError(TypeError):
    """A value that is no data."""


class Packing:
    """Turns values into JSON and a list of tensors."""

    def __init__(self, peer: Handles) -> None:
        self.peer = peer
        self.tensors: list[torch.Tensor] = []
        self.sent: list[torch.Tensor] = []  # those that are values, in order
        self.outputs: list[torch.Tensor] = []  # those of them with a graph
        self.modules: dict[int, nn.Module] = {}  # those that are values, in order

    def tensor(self, tensor: torch.Tensor) -> int:
        """Add a tensor; its number."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def node(self, value: Any, depth: int = 0) -> Any:
        """The value as JSON.

        Raises:
            CannotTravelError: it is no data.
        """
        if depth > _DEEPEST:
            raise CannotTravelError("a value that is nested too deeply")
        if value is None or isinstance(value, (bool, int, float, str)):
            return _scalar(value)
        if isinstance(value, complex):
            return ["complex", value.real, value.imag]
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, (numpy.ndarray, numpy.generic)):
            return ["array", *_array(self, value)]
        if isinstance(value, dict):
            pairs = [
                (self.node(k, depth + 1), self.node(v, depth + 1))
                for k, v in value.items()
            ]
            return ["dict", pairs]
        for kind, name in (
            (list, "list"),
            (tuple, "tuple"),
            (set, "set"),
            (frozenset, "set"),
        ):
            if isinstance(value, kind):
                return [name, [self.node(one, depth + 1) for one in value]]
        if isinstance(value, slice):
            return [
                "slice",
                [self.node(one) for one in (value.start, value.stop, value.step)],
            ]
        if isinstance(value, range):
            return ["range", [value.start, value.stop, value.step]]
        if isinstance(value, torch.dtype):
            return ["dtype", str(value).removeprefix("torch.")]
        if isinstance(value, torch.device):
            return ["device", str(value)]
        if isinstance(value, (bytes, bytearray)):
            return ["bytes", bytes(value).hex()]
        return self._thing(value, depth)

    def _tensor(self, value: torch.Tensor) -> Any:
        place = self.peer.place_of(value)
        if place:
            return ["parameter", *place]
        self.sent.append(value)
        graph = -1
        if value.requires_grad:
            self.outputs.append(value)
            graph = len(self.outputs) - 1
        return ["tensor", self.tensor(value), graph]

    def _thing(self, value: Any, depth: int) -> Any:
        """What stays here and is shown by a handle, or is listed."""
        if isinstance(value, nn.Module):
            self.modules.setdefault(id(value), value)
        if isinstance(value, (Remote, RemoteModule)) and value._handle is not None:
            return ["yours", value._handle]
        if isinstance(value, nn.Module):
            handle = self.peer.show(value)
            tree = _tree(value, self.peer)
            self.peer.share(handle, value)
            return ["module", handle, tree]
        if isinstance(value, torch.optim.Optimizer) and not self.peer.trusting:
            return ["optimizer", *_optimizer(self, value)]
        if isinstance(value, types.ModuleType):
            raise CannotTravelError("a module of Python")
        if callable(value):
            name = getattr(value, "__name__", type(value).__name__)
            return ["function", self.peer.show(value), str(name)]
        if isinstance(value, (Iterator, *_VIEWS)):
            found = []
            for one in value:
                found.append(self.node(one, depth + 1))
                if len(found) > _LONGEST:
                    raise CannotTravelError("a list without an end")
            return ["list", found]
        if not self.peer.trusting:  # the judge's own objects, by their methods
            names = [name for name in dir(value) if not name.startswith("_")]
            methods = [name for name in names if callable(getattr(value, name, None))]
            return ["object", self.peer.show(value), methods]
        raise CannotTravelError(f"an object of the class {type(value).__name__}")


def _scalar(value: Any) -> Any:
    if isinstance(value, numpy.generic):
        return ["array", "", str(value.dtype), value.item()]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value) if type(value) is not kind else value
    return None


def _array(packing: Packing, value: numpy.ndarray | numpy.generic) -> list:
    if isinstance(value, numpy.generic):
        item = value.item()
        if not isinstance(item, (bool, int, float, str)):
            raise CannotTravelError(f"a number of the type {value.dtype}")
        return ["", str(value.dtype), item]
    if value.dtype == object:
        raise CannotTravelError("an array of objects")
    return [
        packing.tensor(torch.as_tensor(numpy.ascontiguousarray(value).copy())),
        "",
        0,
    ]


def _tree(module: nn.Module, peer: Handles) -> dict:
    """A module's shape: its class where PyTorch has it, names of
    parameters, children.
    """
    known = type(module).__module__.startswith("torch.nn.modules")
    hidden = ("training", "_parameters", "_buffers", "_modules")
    fields = {
        name: value
        for name, value in vars(module).items()
        if name not in hidden and _is_plain(value)
    }
    return {
        "class": type(module).__name__ if known else "",
        "handle": peer.show(module),
        "fields": Packing(peer).node(fields) if known else ["dict", []],
        "parameters": {
            name: None if one is None else [list(one.shape), str(one.dtype)[6:]]
            for name, one in module._parameters.items()
        },
        "buffers": {
            name: None if one is None else [list(one.shape), str(one.dtype)[6:]]
            for name, one in module._buffers.items()
        },
        "children": {name: _tree(one, peer) for name, one in module.named_children()},
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def _optimizer(packing: Packing, value: torch.optim.Optimizer) -> list:
    groups = []
    for group in value.param_groups:
        places = [packing.peer.place_of(one) for one in group["params"]]
        if None in places or not type(value).__module__.startswith("torch.optim"):
            raise CannotTravelError("an optimizer of parameters that are not known")
        rest = {key: one for key, one in group.items() if key != "params"}
        groups.append([places, packing.node(rest)])
    return [packing.peer.show(value), type(value).__name__, groups]


class Unpacking:
    """Turns JSON and tensors into values; what is no value raises ChannelError."""

    def __init__(
        self, peer: Handles, tensors: list, graph: int | None = None, inputs=()
    ):
        self.peer, self.tensors = peer, tensors
        self.copies: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.crossed: list[torch.Tensor] = []
        self.modules: dict[int, nn.Module] = {}  # as the other side packed them
        self.graph, self.inputs = graph, inputs

    def value(self, node: Any) -> Any:
        """The value that a node of JSON stands for."""
        if self.graph is not None:
            self._cross(node)
        try:
            return self._value(node, 0)
        except (ChannelError, CannotTravelError):
            raise
        except Exception as problem:
            raise ChannelError(f"no value ({type(problem).__name__})") from None

    def _cross(self, node: Any) -> None:
        """Give the values with a graph one: its backward pass asks the other side."""
        places: list[int] = []
        _find_graphs(node, places, 0)
        values = [self.tensors[place] for place in places]
        anchor = torch.zeros((), requires_grad=True)
        with torch.enable_grad():
            self.crossed = list(
                _Crossing.apply(
                    self.peer, self.graph, len(values), anchor, *values, *self.inputs
                )
            )

    def _value(self, node: Any, depth: int) -> Any:
        if depth > _DEEPEST + 1:
            raise ChannelError("nested too deeply")
        if not isinstance(node, list):
            if node is None or isinstance(node, (bool, int, float, str)):
                return node
            raise ChannelError("no value")
        kind, *rest = node
        if kind in ("list", "tuple", "set"):
            found = [self._value(one, depth + 1) for one in rest[0]]
            return {"list": list, "tuple": tuple, "set": set}[kind](found)
        if kind == "dict":
            return {
                self._value(k, depth + 1): self._value(v, depth + 1) for k, v in rest[0]
            }
        if kind == "tensor":
            return self._tensor(*rest)
        if kind == "array":
            number, dtype, item = rest
            if number == "":
                return numpy.dtype(dtype).type(item)
            return self.tensors[number].clone().numpy()
        simple = {
            "complex": lambda: complex(*rest),
            "slice": lambda: slice(*(self._value(one, depth + 1) for one in rest[0])),
            "range": lambda: range(*map(int, rest[0])),
            "dtype": lambda: _dtype(rest[0]),
            "device": lambda: torch.device(rest[0]),
            "bytes": lambda: bytes.fromhex(rest[0]),
            "parameter": lambda: self.peer.parameter(*rest),
            "yours": lambda: self.peer.mine[rest[0]],
        }
        made = simple[kind]() if kind in simple else self._thing(kind, *rest)
        if isinstance(made, nn.Module):
            self.modules.setdefault(id(made), made)
        return made

    def _tensor(self, number: int, graph: int) -> torch.Tensor:
        if self.graph is not None and graph >= 0:
            return self.crossed[graph]
        there = self.tensors[number]
        here = there.clone()
        if graph >= 0 and torch.is_floating_point(here):
            here.requires_grad_()
        self.copies.append((here, there))
        return here

    def _thing(self, kind: str, handle: str, *rest: Any) -> Any:
        peer = self.peer
        if handle in peer.seen:
            return peer.seen[handle]
        if kind == "function":
            made: Any = Remote(peer, ["function", handle], str(rest[0]))
        elif kind == "object" and peer.trusting:
            made = RemoteObject(peer, handle, [str(one) for one in rest[0]])
        elif kind == "module":
            made = _build(peer, rest[0], 0)
            peer.share(handle, made)
        elif kind == "optimizer" and peer.trusting:
            name, groups = rest
            made = getattr(torch.optim, name)(
                [
                    {
                        "params": [peer.parameter(*p) for p in places],
                        **self._value(more, 1),
                    }
                    for places, more in groups
                ]
            )
        else:
            raise ChannelError("no value")
        peer.seen[handle] = made
        return made


def _find_graphs(node: Any, places: list[int], depth: int) -> None:
    """The tensors with a graph, in the order of their numbers."""
    if not isinstance(node, (list, tuple)) or depth > 3 * _DEEPEST:
        return
    if len(node) == 3 and node[0] == "tensor":
        if node[2] >= 0:
            if node[2] != len(places):
                raise ChannelError("no value")
            places.append(node[1])
        return
    for one in node:
        _find_graphs(one, places, depth + 1)


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name)
    if not isinstance(found, torch.dtype):
        raise ChannelError("no type of numbers")
    return found


# --- what stands for the other side's things -----------------------------------------


class _Crossing(torch.autograd.Function):
    """Values of the other side, whose gradient the other side computes."""

    @staticmethod
    def forward(ctx, peer, graph, count, anchor, *tensors):
        ctx.peer, ctx.graph, ctx.count = peer, graph, count
        ctx.inputs = len(tensors) - count
        return tuple(one.clone() for one in tensors[:count])

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        found = ctx.peer.backward(ctx.graph, gradients)
        if not isinstance(found, list) or len(found) != ctx.inputs:
            raise ChannelError("no gradient")
        return (None, None, None, None, *[None] * ctx.count, *found)


class Remote:
    """A function of the other side."""

    def __init__(self, peer: Handles, target: list, name: str) -> None:
        self._peer, self._target, self.__name__ = peer, target, name
        self._handle = target[1] if target[0] == "function" else None

    def __call__(self, *args, **kwargs):
        """Call it there."""
        return self._peer.call(self._target, args, kwargs)


class RemoteObject:
    """An object of the judge, whose methods can be called."""

    def __init__(self, peer: Handles, handle: str, methods: list[str]) -> None:
        for name in methods:
            setattr(self, name, Remote(peer, ["method", handle, name], name))


class RemoteModule(nn.Module):
    """A module whose parameters are here and whose forward pass is the other side's."""

    def __init__(self, peer: Handles, handle: str) -> None:
        super().__init__()
        self._peer, self._handle = peer, handle

    def forward(self, *args, **kwargs):
        """Run it there, on the parameters that are here."""
        return self._peer.call(["module", self._handle], args, kwargs)


def _build(peer: Handles, tree: dict, depth: int) -> nn.Module:
    """A module as the other side described it; only a trusting end takes
    PyTorch's classes.
    """
    if depth > _DEEPEST:
        raise ChannelError("nested too deeply")
    handle = str(tree["handle"])
    if tree["class"] and peer.trusting:
        kind = getattr(nn, tree["class"])
        module = kind.__new__(kind)
        nn.Module.__init__(module)
        vars(module).update(Unpacking(peer, []).value(tree["fields"]))
    else:
        module = RemoteModule(peer, handle)
        if depth:
            peer.share(handle, module)
    for name, one in tree["parameters"].items():
        empty = None if one is None else nn.Parameter(_empty(*one))
        module.register_parameter(str(name), empty)
    for name, one in tree["buffers"].items():
        module.register_buffer(str(name), None if one is None else _empty(*one))
    for name, child in tree["children"].items():
        module.add_module(str(name), _build(peer, child, depth + 1))
    peer.seen[handle] = module
    return module


def _empty(shape: list[int], dtype: str) -> torch.Tensor:
    if int(numpy.prod(shape, dtype=float)) > 2**26:
        raise ChannelError("a module that is too large")
    return torch.zeros(shape, dtype=_dtype(dtype))
