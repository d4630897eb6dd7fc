"""What is fixed in a model, and therefore no business of its owner."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator

import torch
from torch import nn

from .errors import InputError


class Fixed(nn.Module):
    """A module whose tensors its owner moves and else does not see.

    No optimizer finds them, no checkpoint stores them, no wrapper for many processes
    sends them round, and neither ``train()`` nor ``requires_grad_()`` of an owner
    reaches them. ``to_empty``, which ends a construction under
    ``torch.device("meta")``, moves them with their values, as no checkpoint could
    bring these back.
    """

    _forgotten: tuple[str, ...] = ("_elsewhere",)  # made again when needed

    def __init__(self) -> None:
        super().__init__()
        self._held: tuple[str, ...] = ()
        self._elsewhere: dict[torch.device, Fixed] = {}

    def hold(self, **things: torch.Tensor | nn.Module) -> None:
        """Keep tensors and networks under these names, frozen and in eval mode."""
        for name, thing in things.items():
            if isinstance(thing, nn.Module):
                thing = thing.eval()
            elif thing.is_inference():  # it serves passes with gradients too
                with torch.inference_mode(False):
                    thing = thing.clone()
            # nn.Module's own __setattr__ would register a network
            self.__dict__[name] = thing.requires_grad_(False)
            self._held += (name,)

    @torch.inference_mode(False)
    def _apply(self, fn, recurse: bool = True):
        move = functools.partial(_moved, fn)
        for name in self._held:
            thing = self.__dict__[name]
            is_module = isinstance(thing, nn.Module)
            self.__dict__[name] = thing._apply(move) if is_module else move(thing)
        super()._apply(fn, recurse)
        self._prepare()
        return self

    def _prepare(self) -> None:
        """What depends on the device and the precision, decided once a move."""
        for name in self._forgotten:
            self.__dict__[name] = {}

    def __getstate__(self) -> dict:
        return self.__dict__ | {name: {} for name in self._forgotten}

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors that it holds itself; an owner's list leaves them out."""
        yield from super().named_buffers(prefix, recurse, remove_duplicate)
        for name in self._held:
            if isinstance(self.__dict__[name], torch.Tensor):
                yield f"{prefix}.{name}" if prefix else name, self.__dict__[name]

    def _beside(self, image: torch.Tensor, device: torch.device, what: str) -> Fixed:
        """Itself, or in a thread of DataParallel, which copies what it sees,
        its copy on the image's device.
        """
        if image.device == device:
            return self
        if not getattr(self, "_is_replica", False):
            raise InputError(
                f"the image is on {image.device} and the {what} on "
                f"{device}; move one of them with .to(device)"
            )
        if image.device not in self._elsewhere:
            self._elsewhere[image.device] = copy.deepcopy(self).to(image.device)
        return self._elsewhere[image.device]


def autocast_dtype(kind: str) -> torch.dtype | None:
    """What a caller's ``torch.autocast`` asks for on this kind of device."""
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return None


def autocast_off(kind: str) -> torch.autocast:
    """Without a caller's ``torch.autocast`` on this kind of device."""
    available = torch.amp.is_autocast_available(kind)
    return torch.autocast(kind if available else "cpu", enabled=False)


def _moved(fn, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, with its values, where and in what precision ``fn`` puts tensors."""
    if tensor.is_meta:
        return fn(tensor)
    there = fn(tensor.new_empty(0))
    return tensor.to(there.device, there.dtype)
