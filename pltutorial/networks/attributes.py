"""A classifier that reads the attributes of a cartoon face, to count with."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import InputError
from ..faces import ATTRIBUTES
from ..images import check_image
from ..tensors import check_maps
from .kinds import network_kind

FILE = Path(__file__).parent.parent / "assets" / "faces" / "face_attributes.safetensors"
SIZE = 48
INSIDE = ("eyes", "mouth", "brows", "beard")
FACE = slice(16, 44), slice(12, 36)  # rows and columns that hold these
CONTRAST = 5.0
AT_ONCE = 200  # pictures that are looked at together


@network_kind
class AttributeNet(nn.Module):
    """Says which value each attribute of a face has: two linear layers on fixed
    features, for every face lies in the same place.

    Hair, clothes and colours are read from the picture at half its size and from its
    local contrast, the absolute difference of the brightness from its mean over 7x7
    pixels. Eyes, brows, mouth and beard are read in the middle of the picture at full
    size, from the difference of the pixels from that mean, which is about the same on
    light skin and on dark, and from its absolute value.
    """

    kind = "attributes"
    smallest = SIZE

    def __init__(self) -> None:
        super().__init__()
        self.config = {"kind": self.kind}
        self.card: dict = {}
        sizes = {name: len(values) for name, values in ATTRIBUTES.items()}
        inside = sum(size for name, size in sizes.items() if name in INSIDE)
        outer, inner = _features(torch.zeros(1, 3, SIZE, SIZE, device="cpu"))
        self.outer = nn.Linear(outer.shape[1], sum(sizes.values()) - inside)
        self.inner = nn.Linear(inner.shape[1], inside)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits of the values, by attribute, each (N, values), float32.

        Args:
            images: (N, 3, 48, 48) in [0, 1].

        Raises:
            InputError: another shape.
        """
        check_maps(images, "the pictures", 3, self)
        if images.ndim != 4 or images.shape[1:] != (3, SIZE, SIZE):
            raise InputError(
                f"pictures of shape {tuple(images.shape)} were given; give (N, 3, "
                f"{SIZE}, {SIZE}), faces like those of load_faces"
            )
        outer, inner = _features(images)
        ways = {False: self.outer(outer), True: self.inner(inner)}
        found, start = {}, {False: 0, True: 0}
        for name, values in ATTRIBUTES.items():
            way = name in INSIDE
            stop = start[way] + len(values)
            found[name] = ways[way][:, start[way] : stop].float()
            start[way] = stop
        return found


def _features(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the two layers see, (N, 2304) and (N, 2688), of about one size."""
    contrast = images - F.avg_pool2d(images, 7, 1, 3, count_include_pad=False)
    edges = contrast.mean(1, keepdim=True).abs()
    outer = torch.cat([2 * images - 1, CONTRAST * edges], 1)
    inner = torch.cat([contrast, contrast.abs().mean(1, keepdim=True)], 1)
    inner = CONTRAST * inner[..., FACE[0], FACE[1]]
    return F.avg_pool2d(outer, 2).flatten(1), inner.flatten(1)


@functools.lru_cache(maxsize=2)
def _shipped(device: torch.device) -> nn.Module:
    from .files import load_network

    return load_network(FILE, device)


def face_attributes(
    pictures: torch.Tensor, *, network: nn.Module | None = None
) -> dict[str, torch.Tensor]:
    """What a classifier takes the attributes of cartoon faces for.

    With it the kinds of faces that a generator draws can be counted. It was trained on
    faces that the generators of the book have seen too, some of them blurred or
    noisy; how often it is right about faces that nobody has seen stands in
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

    Taught in chapter 9.
    """
    check_image(pictures, "the faces", slack=0.5)
    network = _shipped(pictures.device) if network is None else network
    with torch.no_grad():
        parts = [network(part) for part in pictures.float().split(AT_ONCE)]
    return {
        name: torch.cat([part[name] for part in parts]).softmax(1)
        for name in ATTRIBUTES
    }
