"""The files that keep networks: safetensors with the architecture and a card in the
head; and blends of two networks.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ..device import best_device
from ..errors import InputError, nearest
from ..files import write_whole
from .kinds import known_kinds, maker_of

FORMAT, VERSION = "pltutorial-network", "1"


def build(config: Mapping) -> nn.Module:
    """A network from its ``config``, with fresh weights."""
    arguments = dict(config)
    return maker_of(arguments.pop("kind"))(**arguments)


def blend_networks(one: nn.Module, other: nn.Module, share: float) -> nn.Module:
    """A network whose weights lie on the straight line between those of two networks,
    and so does what it does.

    Sensible where one was trained on from the other: their weights are close, and the
    line crosses no ridge.

    Args:
        one: a network.
        other: a network of the same architecture.
        share: from 0, which gives the weights of ``one``, to 1, those of ``other``.

    Returns:
        A new network on the device of ``one``, in eval mode; both given
        ones stay as they are.

    Raises:
        InputError: two architectures, or a share outside [0, 1].

    Source: Wang et al. (2018), ESRGAN, section 3.4.

    Example:
        >>> accurate = load_restorer("denoise", "pixel", device="cpu")
        >>> likely = load_restorer("denoise", "combined", device="cpu")
        >>> blend_networks(accurate, likely, 0.3)(torch.rand(1, 3, 32, 32)).shape
        torch.Size([1, 3, 32, 32])

    Taught in chapter 6.
    """
    if not 0 <= share <= 1:
        raise InputError(
            f"a share of {share} was given; give a number from 0 (the "
            "one) to 1 (the other)"
        )
    if one.config != other.config:
        raise InputError(
            f"networks of two architectures were given, {one.config} and "
            f"{other.config}; blend two of the same"
        )
    blended, theirs = copy.deepcopy(one), other.state_dict()
    with torch.no_grad():
        # batch normalisation's means and variances too
        for name, tensor in blended.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(theirs[name].to(tensor), share)
    blended.card = {}
    return blended.eval()


def save_network(
    path: str | Path, network: nn.Module, card: Mapping | None = None
) -> Path:
    """Write a network as safetensors in half precision, with its architecture and its
    card; whole or not at all.

    Args:
        path: a name that ends in ``.safetensors``.
        network: its parameters and its ``config`` are kept.
        card: what a reader must know of it, JSON-able; the network's own if left out.

    Raises:
        InputError: another suffix, or the file cannot be written.

    Example:
        >>> from tempfile import mkdtemp
        >>> card = {"limits": "it has not learned anything"}
        >>> path = Path(mkdtemp()) / "mine.safetensors"
        >>> path = save_network(path, DenoisingNet(), card)
        >>> load_network(path).card["limits"]
        'it has not learned anything'

    Taught in chapter 5.
    """
    from safetensors.torch import save

    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(
            f"{str(path)!r} was given for a network; give a name that "
            "ends in .safetensors"
        )
    tensors = {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in network.state_dict().items()
        if tensor.is_floating_point()
    }
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "config": json.dumps(network.config),
        "card": json.dumps(
            dict(network.card if card is None else card), ensure_ascii=False
        ),
    }
    return write_whole(path, lambda file: file.write(_in_order(save(tensors, facts))))


def _in_order(data: bytes) -> bytes:
    """A safetensors file with the facts in its head sorted: the library shuffles them,
    and equal networks differ.
    """
    length = int.from_bytes(data[:8], "little")
    head = json.dumps(
        json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")
    ).encode()
    head += b" " * (-len(head) % 8)
    return len(head).to_bytes(8, "little") + head + data[8 + length :]


def load_network(
    path: str | Path, device: str | torch.device | None = None
) -> nn.Module:
    """Read a network that :func:`save_network` wrote; its card is in ``.card``.
    It is in eval mode.

    Raises:
        InputError: the file does not exist, is no such file, is damaged, or is
            of a later version.

    Taught in chapter 5.
    """
    from safetensors.torch import load_file

    path = Path(path)
    config, card = read_header(path)
    try:
        network = build(config)
    except (TypeError, InputError):
        raise InputError(
            f"the network {str(path)!r} has an architecture that this program does "
            f"not know, {config}; take the program that wrote it"
        ) from None
    try:
        tensors = load_file(path)
        missing = network.load_state_dict(tensors, strict=False).missing_keys
    except Exception as problem:  # safetensors and torch raise many kinds
        raise InputError(_not_a_network(path, "it is damaged")) from problem
    if any(not name.endswith("num_batches_tracked") for name in missing):
        raise InputError(_not_a_network(path, f"{missing[0]} is missing"))
    network.card = card
    return network.to(best_device(device)).eval().requires_grad_(False)


def read_header(path: str | Path) -> tuple[dict, dict]:
    """Architecture and card of a network file, without its weights.

    Raises:
        InputError: as :func:`load_network`.
    """
    from safetensors import safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"the network {str(path)!r} does not exist; correct the path, or train one"
        )
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
    except Exception as problem:
        raise InputError(
            _not_a_network(path, "it is no safetensors file, or damaged")
        ) from problem
    if facts.get("format") != FORMAT:
        raise InputError(_not_a_network(path, "it holds no architecture of ours"))
    if facts.get("version") != VERSION:
        raise InputError(
            f"the network {str(path)!r} has version {facts.get('version')} and "
            f"this program reads version {VERSION}; take the program that wrote "
            "it, or train it again"
        )
    try:
        config, card = json.loads(facts["config"]), json.loads(facts.get("card", "{}"))
    except (KeyError, ValueError):
        raise InputError(_not_a_network(path, "its facts are damaged")) from None
    kind = str(config.get("kind"))
    if maker_of(kind) is None:
        near = nearest(kind, known_kinds())
        raise InputError(
            f"the network {str(path)!r} is of kind {config.get('kind')!r}; {near}"
        )
    return config, card


def _not_a_network(path: Path, why: str) -> str:
    return (
        f"the network {str(path)!r} cannot be read ({why}); give a .safetensors file "
        "that `pltutorial train` wrote"
    )


def architecture(config: Mapping, but: tuple[str, ...] = ()) -> str:
    """A network's architecture in words, some of them left out."""
    return " ".join(
        f"{name}={value}" for name, value in config.items() if name not in but
    )
