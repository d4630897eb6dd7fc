"""The files that keep networks: safetensors with the architecture and a card in the
head; and blends of two networks.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..device import best_device
from ..errors import InputError, nearest, shown
from ..files import no_file, printable, utf8_name, write_whole
from .kinds import known_kinds, maker_of, watched

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
    blended.card, blended.name = {}, ""
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
        "card": printable(
            json.dumps(dict(network.card if card is None else card), ensure_ascii=False)
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
    """Read a network that :func:`save_network` wrote; its card is in ``.card``, and the
    file's name without its ending in ``.name``. It is in eval mode.

    Raises:
        InputError: the file does not exist, is no such file, is damaged, or is
            of a later version.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "mine.safetensors"
        >>> path = save_network(path, DenoisingNet(width=8, blocks=1), {"steps": 0})
        >>> network = load_network(path)
        >>> network.config["width"], network.card, network.training
        (8, {'steps': 0}, False)

    Taught in chapter 5.
    """
    from safetensors.torch import load_file

    path = Path(path)
    config, card, shapes = _read_head(path)
    try:
        said = _shapes(config, most=len(shapes))
    except Exception:  # words that no setting knows, absurd sizes
        raise InputError(
            f"the network {str(path)!r} has an architecture that this program does "
            f"not know, {shown(config)}; take the program that wrote it"
        ) from None
    for name in sorted({*said, *shapes}):
        if said.get(name) != shapes.get(name):
            here, there = shapes.get(name, "none"), said.get(name, "none")
            why = f"{shown(name)} has the shape {here}, by its architecture {there}"
            raise InputError(_not_a_network(path, why))
    network = build(config)
    try:
        with utf8_name(path) as place:
            network.load_state_dict(load_file(place), strict=False)
    except Exception as problem:  # safetensors and torch raise many kinds
        raise InputError(_not_a_network(path, "it is damaged")) from problem
    network.card, network.name = card, path.stem
    return network.to(best_device(device)).eval().requires_grad_(False)


def _shapes(config: Mapping, most: int) -> dict[str, tuple[int, ...]]:
    """The tensors that a network of this architecture keeps, by name.

    It is built without weights (on the ``meta`` device), and no further than to about
    as many tensors as there may be at most.
    """
    left = 4 * most + 64

    def count(parameter: nn.Parameter) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise InputError(f"the network has more than {most} tensors")

    with torch.device("meta"), _Undrawn(), watched(count):
        tensors = build(config).state_dict().items()
    return {name: tuple(t.shape) for name, t in tensors if t.is_floating_point()}


class _Undrawn(TorchFunctionMode):
    """No weights are drawn: on ``meta`` that would load a compiler."""

    def __torch_function__(self, function, types, given=(), named=None):
        named = named or {}
        if function in (Tensor.normal_, Tensor.uniform_):
            return given[0]
        if function is nn.init.normal_:  # it calls the method where nothing looks
            return given[0] if given else named["tensor"]
        return function(*given, **named)


def read_header(path: str | Path) -> tuple[dict, dict]:
    """Architecture and card of a network file, without its weights.

    Raises:
        InputError: as :func:`load_network`.
    """
    return _read_head(Path(path))[:2]


def _read_head(path: Path) -> tuple[dict, dict, dict[str, tuple[int, ...]]]:
    """Architecture and card, and the shape of every tensor by name."""
    from safetensors import safe_open

    if fault := no_file(path):
        raise InputError(
            f"the network {str(path)!r} {fault}; correct the path, or train one"
        )
    try:
        with utf8_name(path) as place, safe_open(place, "pt") as file:
            facts = file.metadata() or {}
            shapes = {
                name: tuple(file.get_slice(name).get_shape())
                for name in file.keys()  # noqa: SIM118
            }
    except Exception as problem:
        raise InputError(
            _not_a_network(path, "it is no safetensors file, or damaged")
        ) from problem
    if facts.get("format") != FORMAT:
        raise InputError(_not_a_network(path, "it holds no architecture of ours"))
    if facts.get("version") != VERSION:
        raise InputError(
            f"the network {str(path)!r} has version "
            f"{facts.get('version', 'none')[:20]} and this program reads version "
            f"{VERSION}; take the program that wrote it, or train it again"
        )
    try:
        config = json.loads(facts["config"], parse_constant=_no_number)
        card = json.loads(facts.get("card", "{}"))
        kind = config["kind"]
        if not isinstance(kind, str) or not isinstance(card, dict):
            raise TypeError
    except (KeyError, ValueError, TypeError, RecursionError, MemoryError):
        raise InputError(_not_a_network(path, "its facts are damaged")) from None
    if maker_of(kind) is None:
        raise InputError(
            f"the network {str(path)!r} is of kind {shown(kind)}; "
            f"{nearest(kind[:80], known_kinds())}"
        )
    return config, card, shapes


def _no_number(word: str) -> None:
    raise ValueError(f"{word} stands where a number should")


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
