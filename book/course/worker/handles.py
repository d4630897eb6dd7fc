"""What the two sides have shown to each other, by handle."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Handles:
    """One end's book: its own things, what stands here for the other's, and the
    modules that live on both sides. `name` tells its handles from the other's; a
    `trusting` end rebuilds what it is shown.
    """

    def __init__(self, name: str, *, trusting: bool) -> None:
        self.name, self.trusting = name, trusting
        self.forget()

    def forget(self) -> None:
        """Drop all that was shown to either side."""
        self._count = 0
        self._handles: dict[int, str] = {}
        self._places: dict[int, tuple[str, str]] = {}  # id of a parameter: where it is
        self.mine: dict[str, Any] = {}
        self.seen: dict[str, Any] = {}  # what stands here for the other's things
        self.shared: dict[str, nn.Module] = {}  # modules that live on both sides

    def show(self, thing: Any) -> str:
        """A handle of something that stays here."""
        if id(thing) not in self._handles:
            self._count += 1
            handle = f"{self.name}{self._count}"
            self._handles[id(thing)], self.mine[handle] = handle, thing
        return self._handles[id(thing)]

    def share(self, handle: str, module: nn.Module) -> None:
        """Keep what a module learns the same on both sides."""
        self.shared[handle] = module
        for name, parameter in module.named_parameters():
            self._places.setdefault(id(parameter), (handle, name))

    def place_of(self, tensor: torch.Tensor) -> tuple[str, str] | None:
        """The shared module that a parameter belongs to, and its name there."""
        return self._places.get(id(tensor))

    def parameter(self, handle: str, name: str) -> torch.Tensor:
        """A parameter of a shared module."""
        return dict(self.shared[handle].named_parameters())[name]

    def call(self, target: list, args: tuple, kwargs: dict) -> Any:
        """Call what the other side has shown, and give its value."""
        raise NotImplementedError

    def backward(self, graph: int, gradients: tuple) -> list[torch.Tensor | None]:
        """The gradients of a value's inputs, which the other side computes."""
        raise NotImplementedError
