"""Calls between two processes, with gradients, modules and callbacks;
only data travels.

Both sides are alike: each may call what the other has shown to it, while it
waits for an answer itself. A tensor arrives as a copy; what the callee changed
in it is carried back.
Gradients cross too: the backward pass of one side asks the other for its part.
"""

from __future__ import annotations

import builtins
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from .channel import Channel, ChannelError
from .handles import Handles
from .values import Packing, Unpacking

_MOST_GRAPHS = 500  # backward passes that may still come


class RaisedError(Exception):
    """The other side's function raised; `kind` is the name of
    what, `text` its words.
    """

    kind, text = "Exception", ""


class Peer(Handles):
    """One end. `name` tells its handles from the other's; a `trusting` end
    rebuilds what it is shown.
    """

    def __init__(self, channel: Channel, name: str, *, trusting: bool) -> None:
        super().__init__(name, trusting=trusting)
        self.channel = channel
        self.patience: float | None = None  # seconds that an answer may take
        self.around: Callable[[dict], Any] | None = (
            None  # a context for what is called here
        )
        # other requests served
        self.extra: dict[str, Callable[[dict, list], dict]] = {}
        self.changed_inputs = False  # whether a call changed what it was given
        self.on_break: Callable[[BaseException], None] | None = None

    def forget(self) -> None:
        """Drop all that was shown to either side."""
        super().forget()
        self._graphs: OrderedDict[int, tuple[list, list]] = OrderedDict()

    # --- asking -----------------------------------------------------------------------

    def call(self, target: list, args: tuple, kwargs: dict) -> Any:
        """Call what the other side has shown, and give its value."""
        packing = Packing(self)
        message = {
            "do": "call",
            "target": target,
            "args": packing.node(list(args)),
            "kwargs": packing.node(dict(kwargs)),
            "grad": torch.is_grad_enabled(),
        }
        inputs = [one for one in packing.sent if one.requires_grad]
        inputs += _learning(*packing.modules.values())
        if target[0] == "module":
            inputs += _learning(self.shared[target[1]])
        answer, tensors = self.ask(message, packing)
        for number, changed in _pairs(answer.get("changed")):
            self.changed_inputs = True
            with torch.no_grad():
                packing.sent[number].data.copy_(tensors[changed])
        unpacking = Unpacking(self, tensors, answer.get("graph"), inputs)
        value = unpacking.value(answer["value"])
        self._take_state(answer.get("state"), tensors)  # of modules that came with it
        return value

    def ask(self, message: dict, packing: Packing | None = None) -> tuple[dict, list]:
        """Send a request, serve the other side until its answer is there.

        Raises:
            RaisedError: it raised.
            ChannelError: it gave no answer.
        """
        packing = packing or Packing(self)
        try:
            message["state"] = self._state(packing)
            self.channel.send(message, packing.tensors)
            while True:
                answer, tensors = self.channel.receive(self.patience)
                if "do" not in answer:
                    break
                self.serve(answer, tensors)
            self._take_state(answer.get("state"), tensors)
        except (ChannelError, ValueError):
            raise
        except BaseException as problem:
            if self.on_break:
                self.on_break(problem)
            raise
        if "error" in answer:
            raise raised(answer["error"])
        return answer, tensors

    def backward(self, graph: int, gradients: tuple) -> list[torch.Tensor | None]:
        """The gradients of a value's inputs, which the other side computes."""
        packing = Packing(self)
        nodes = packing.node(
            [None if one is None else one.detach() for one in gradients]
        )
        message = {"do": "backward", "graph": graph, "gradients": nodes}
        answer, tensors = self.ask(message, packing)
        return Unpacking(self, tensors).value(answer["value"])

    # --- serving ----------------------------------------------------------------------

    def serve(self, message: dict, tensors: list[torch.Tensor]) -> None:
        """Do what the other side asks for, and answer."""
        packing = Packing(self)
        try:
            self._take_state(message.get("state"), tensors)
            work = {"call": self._called, "backward": self._pulled, **self.extra}
            kind = message["do"]
            if self.around is None:
                answer = work[kind](message, tensors, packing)
            else:
                with self.around(message):
                    answer = work[kind](message, tensors, packing)
            answer["state"] = self._state(packing)
            self.channel.send(answer, packing.tensors)
        except ChannelError:
            raise
        except BaseException as problem:  # whatever a student's function raises
            if not self.trusting and not isinstance(problem, Exception):
                raise
            self.channel.send({"error": told(problem)}, [])

    def _called(self, message: dict, tensors: list, packing: Packing) -> dict:
        unpacking = Unpacking(self, tensors)
        args = unpacking.value(message["args"])
        kwargs = unpacking.value(message["kwargs"])
        # of modules that came with them
        self._take_state(message.get("state"), tensors)
        function, inputs = self._target(message["target"])
        inputs = _learning(*unpacking.modules.values()) + inputs
        with torch.inference_mode(False), torch.set_grad_enabled(bool(message["grad"])):
            value = function(*args, **kwargs)
        node = packing.node(value)
        answer: dict[str, Any] = {"value": node, "changed": []}
        for number, (here, there) in enumerate(unpacking.copies):
            if not torch.equal(here.detach(), there):
                answer["changed"].append([number, packing.tensor(here)])
        if packing.outputs:
            leaves = [
                here
                for here, _ in unpacking.copies
                if here.requires_grad and here.is_leaf
            ]
            self._count += 1
            self._graphs[self._count] = (packing.outputs, leaves + inputs)
            answer["graph"] = self._count
            while len(self._graphs) > _MOST_GRAPHS:
                self._graphs.popitem(last=False)
        return answer

    def _target(self, target: list) -> tuple[Callable, list[torch.Tensor]]:
        kind, handle = target[:2]
        if kind == "function":
            return self.mine[handle], []
        if kind == "module":
            return self.mine[handle], _learning(self.mine[handle])
        if kind == "method" and not target[2].startswith("_"):
            return getattr(self.mine[handle], target[2]), []
        raise ChannelError("no target")

    def _pulled(self, message: dict, tensors: list, packing: Packing) -> dict:
        if message["graph"] not in self._graphs:
            raise RuntimeError("the graph of this value is no longer there")
        outputs, inputs = self._graphs[message["graph"]]
        gradients = Unpacking(self, tensors).value(message["gradients"])
        kept = [
            pair for pair in zip(outputs, gradients, strict=True) if pair[1] is not None
        ]
        found: list = [None] * len(inputs)
        # the function may have frozen a module that came to it
        places = [place for place, one in enumerate(inputs) if one.requires_grad]
        if kept and places:
            ends, slopes = zip(*kept, strict=True)
            asked = [inputs[place] for place in places]
            slopes = torch.autograd.grad(
                ends, asked, slopes, allow_unused=True, retain_graph=True
            )
            for place, slope in zip(places, slopes, strict=True):
                found[place] = slope
        return {
            "value": packing.node(
                [None if one is None else one.detach() for one in found]
            )
        }

    # --- modules on both sides --------------------------------------------------------

    def _state(self, packing: Packing) -> list:
        """All that is learned by the modules on both sides."""
        found = []
        for handle, module in self.shared.items():
            parameters = {
                name: [
                    packing.tensor(one),
                    one.requires_grad,
                    None if one.grad is None else packing.tensor(one.grad),
                ]
                for name, one in module.named_parameters()
            }
            buffers = {
                name: packing.tensor(one) for name, one in module.named_buffers()
            }
            modes = {name: bool(one.training) for name, one in module.named_modules()}
            found.append([handle, parameters, buffers, modes])
        return found

    def _take_state(self, state: list | None, tensors: list[torch.Tensor]) -> None:
        for handle, parameters, buffers, modes in state or []:
            if handle not in self.shared:
                continue
            module = self.shared[handle]
            with torch.no_grad():
                for name, one in module.named_parameters():
                    value, learns, slope = parameters[name]
                    one.data.copy_(tensors[value])
                    one.requires_grad_(bool(learns))
                    one.grad = None if slope is None else tensors[slope].clone().to(one)
                for name, one in module.named_buffers():
                    one.data.copy_(tensors[buffers[name]])
            for name, one in module.named_modules():
                one.training = bool(modes[name])


def _learning(*modules: nn.Module) -> list[torch.Tensor]:
    return [
        one for module in modules for one in module.parameters() if one.requires_grad
    ]


def _pairs(changed: Any) -> Iterator[tuple[int, int]]:
    for number, place in changed or []:
        yield int(number), int(place)


# --- errors ---------------------------------------------------------------------------


def told(problem: BaseException) -> dict:
    """An error as data."""
    if isinstance(problem, RaisedError):
        return {"kind": problem.kind, "text": problem.text}
    try:
        text = " ".join(str(problem).split())[:500]
    except Exception:
        text = ""
    return {"kind": type(problem).__name__, "text": text}


def raised(error: dict) -> RaisedError:
    """The other side's error, as one of the same built-in class where there is one."""
    kind, text = str(error.get("kind"))[:80], str(error.get("text"))[:500]
    base = getattr(builtins, kind, RuntimeError)
    if not (isinstance(base, type) and issubclass(base, Exception)):
        base = RuntimeError
    if issubclass(base, (AssertionError, StopIteration)):
        base = RuntimeError
    try:
        problem = type(kind, (RaisedError, base), {})(text)
    except TypeError:
        problem = RaisedError(text)
    problem.kind, problem.text = kind, text
    return problem
