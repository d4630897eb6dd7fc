"""A small network that reads the attributes of a cartoon face, to count with."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import InputError
from ..faces import ATTRIBUTES
from ..images import check_image
from .kinds import network_kind
from .stages import check_numbers

FILE = Path(__file__).parent.parent / "assets" / "faces" / "face_attributes.safetensors"
SIZE = 48
AT_ONCE = 200  # pictures that are looked at together


@network_kind
class AttributeNet(nn.Module):
    """Says which value each attribute of a face has.

    Three 3x3 convolutions, each followed by the maximum of 2x2, and a linear layer that
    sees all of their 6x6 places, because a mouth is a mouth where mouths are.

    Args:
        width: channels of the first convolution; 2 and 3 times as many after it.

    Raises:
        InputError: a width below 1.
    """

    kind = "attributes"
    smallest = SIZE

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        check_numbers("none", width=width)
        self.config = {"kind": self.kind, "width": width}
        self.card: dict = {}
        self.conv1 = nn.Conv2d(3, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.conv3 = nn.Conv2d(2 * width, 3 * width, 3, padding=1)
        values = sum(map(len, ATTRIBUTES.values()))
        self.last = nn.Linear(3 * width * (SIZE // 8) ** 2, values)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits of the values, by attribute, each (N, values), float32.

        Args:
            images: (N, 3, 48, 48) in [0, 1].

        Raises:
            InputError: another shape.
        """
        if images.ndim != 4 or images.shape[1:] != (3, SIZE, SIZE):
            raise InputError(
                f"pictures of shape {tuple(images.shape)} were given; give (N, 3, "
                f"{SIZE}, {SIZE}), faces like those of load_faces"
            )
        x = (2 * images - 1).contiguous(memory_format=torch.channels_last)
        for layer in (self.conv1, self.conv2, self.conv3):
            x = F.max_pool2d(F.relu(layer(x)), 2)
        x = F.dropout(x.flatten(1), 0.3, self.training)
        parts = self.last(x).float().split([len(v) for v in ATTRIBUTES.values()], 1)
        return dict(zip(ATTRIBUTES, parts, strict=True))


@functools.lru_cache(maxsize=2)
def _shipped(device: torch.device) -> nn.Module:
    from .files import load_network

    return load_network(FILE, device)


def face_attributes(
    pictures: torch.Tensor, *, network: AttributeNet | None = None
) -> dict[str, torch.Tensor]:
    """What a small network takes the attributes of cartoon faces for.

    With it the kinds of faces that a generator draws can be counted. It was trained on
    faces that the generators of the book have seen too, some of them blurred, noisy or
    moved by a pixel; how often it is right about faces that nobody has seen stands in
    its card, ``load_network(pltutorial.networks.attributes.FILE).card``. A picture that
    is no face gets an answer, too.

    Args:
        pictures: (N, 3, 48, 48) in [0, 1], see :func:`load_faces`.
        network: another that was trained for it; the one that ships if left out.

    Returns:
        the probability of every value by attribute, each float32 (N, values) with rows
        that sum to 1, where the pictures lie; ``load_faces().names`` has the words.

    Raises:
        InputError: no pictures, or of another shape.

    Example:
        >>> found = face_attributes(torch.rand(2, 3, 48, 48))
        >>> found["eyes"].shape, bool(found["eyes"].sum(1).allclose(torch.ones(2)))
        (torch.Size([2, 5]), True)
    """
    check_image(pictures, "the faces", slack=0.5)
    network = _shipped(pictures.device) if network is None else network
    with torch.no_grad():
        parts = [network(part) for part in pictures.float().split(AT_ONCE)]
    return {
        name: torch.cat([part[name] for part in parts]).softmax(1)
        for name in ATTRIBUTES
    }
