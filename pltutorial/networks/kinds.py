"""Which class makes a network of which kind: its ``kind``, which every file
of a network names.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from .. import memory, register
from ..errors import InputError

CLASSES: dict[str, type[nn.Module]] = {}


def network_kind(network: type[nn.Module]) -> type[nn.Module]:
    """Make a class of networks known by its ``kind``; it has ``smallest``, ``config``
    and ``card`` besides, and can be made on torch's ``meta`` device.
    """
    CLASSES[network.kind] = network
    return network


def maker_of(kind: str) -> Callable[..., nn.Module] | None:
    """What makes a network of this kind: a class of this folder, or what a task brings;
    None for an unknown kind.
    """
    if kind in CLASSES:
        return CLASSES[kind]
    spec = register.of_kind(kind)
    return None if spec is None else spec.networks[kind]


def known_kinds() -> list[str]:
    """Every kind that can be read from a file."""
    of_tasks = (kind for spec in register.all().values() for kind in spec.networks)
    return sorted({*CLASSES, *of_tasks})


@contextmanager
def watched(look: Callable[[nn.Parameter], None]) -> Iterator[None]:
    """Show each parameter that this thread's modules get to a function, before it is
    drawn; what the function raises ends the making of a network that is too large.
    """
    thread = threading.get_ident()

    def hook(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        if threading.get_ident() == thread:
            look(parameter)

    handle = register_module_parameter_registration_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def trainable() -> Iterator[None]:
    """Refuse a network that cannot be trained in the memory that is free, while it is
    made: a weight is kept with its gradient and two moments.

    Raises:
        InputError: it is too large.
    """
    room, needed = memory.free(None), 0
    advice = "lower width or blocks"

    def look(parameter: nn.Parameter) -> None:
        nonlocal needed
        needed += 4 * parameter.nbytes
        if needed > room:
            raise InputError(memory.does_not_fit("so many weights", advice, room))

    with memory.room_for("so many weights", advice), watched(look):
        yield
