"""Messages between the judge and a student's process: JSON and safetensors,
nothing that could run.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time

import safetensors.torch
import torch

_HEAD = struct.Struct("<QQ")
LARGEST = 2**28  # bytes of one message


class ChannelError(Exception):
    """The other side is gone, silent, or speaks no sense."""


class Gone(ChannelError):
    """The other process has ended."""


class Silent(ChannelError):
    """No answer in time."""


class Channel:
    """Two file descriptors, one to read from and one to write to."""

    def __init__(self, read: int, write: int) -> None:
        self.read, self.write = read, write

    def send(self, message: dict, tensors: list[torch.Tensor]) -> None:
        """Send a message and the tensors that it names by their number.

        Raises:
            ValueError: it is too large, or holds what is no data.
            Gone: nobody reads it.
        """
        head = json.dumps(message).encode("utf-8", "surrogatepass")
        named = {str(number): _plain(one) for number, one in enumerate(tensors)}
        body = safetensors.torch.save(named) if named else b""
        if len(head) + len(body) > LARGEST:
            raise ValueError("the values are larger than 256 MB together")
        rest = memoryview(_HEAD.pack(len(head), len(body)) + head + body)
        try:
            while rest:
                rest = rest[os.write(self.write, rest) :]
        except OSError:
            raise Gone("nobody reads") from None

    def receive(self, seconds: float | None = None) -> tuple[dict, list[torch.Tensor]]:
        """The next message and its tensors.

        Raises:
            Gone, Silent: nothing came, or not in time.
            ChannelError: what came is no message.
        """
        end = None if seconds is None else time.monotonic() + seconds
        head, body = _HEAD.unpack(self._bytes(_HEAD.size, end))
        if head + body > LARGEST:
            raise ChannelError("a message that is too large")
        text, packed = self._bytes(head, end), self._bytes(body, end)
        try:
            message = json.loads(text.decode("utf-8", "surrogatepass"))
            named = safetensors.torch.load(packed) if packed else {}
            tensors = [named[str(number)] for number in range(len(named))]
        except Exception as problem:
            raise ChannelError(f"no message ({type(problem).__name__})") from None
        if not isinstance(message, dict):
            raise ChannelError("no message")
        return message, tensors

    def _bytes(self, count: int, end: float | None) -> bytes:
        parts = []
        while count:
            if end is not None:
                wait = max(0.0, end - time.monotonic())
                if not select.select([self.read], [], [], wait)[0]:
                    raise Silent("no answer in time")
            try:
                part = os.read(self.read, min(count, 2**20))
            except OSError:
                part = b""
            if not part:
                raise Gone("the other side has ended")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's numbers in memory of their own, whatever kind of tensor it is."""
    plain = tensor.detach()
    if plain.layout is not torch.strided:
        plain = plain.to_dense()
    plain = plain.resolve_conj().resolve_neg().cpu().contiguous().clone()
    return torch.Tensor.as_subclass(plain, torch.Tensor)
