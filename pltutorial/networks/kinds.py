"""Which class makes a network of which kind: its ``kind``, which every file
of a network names.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .. import register

CLASSES: dict[str, type[nn.Module]] = {}


def network_kind(network: type[nn.Module]) -> type[nn.Module]:
    """Make a class of networks known by its ``kind``; it has ``smallest``, ``config``
    and ``card`` besides.
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
