"""Picture files by hand, and what read_image makes of them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy
import torch

from pltutorial import read_image

# Six pixels, all different, so that any flip or turn shows.
PIXELS = numpy.array(
    [
        [[255, 0, 0], [0, 255, 0], [0, 0, 255]],
        [[10, 20, 30], [200, 100, 50], [255, 255, 255]],
    ],
    numpy.uint8,
)


def array(path: Path) -> numpy.ndarray:
    """What read_image gives, as (H, W, 3)."""
    image = read_image(path)
    assert image.dtype == torch.float32
    assert image.shape[:2] == (1, 3)
    assert image.is_contiguous()
    return image[0].permute(1, 2, 0).numpy()


def same(given: numpy.ndarray, expected, tolerance: float = 1e-6) -> None:
    numpy.testing.assert_allclose(given, expected, atol=tolerance)


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png(path: Path, values, depth: int, kind: int, *extra: bytes) -> Path:
    """A PNG by hand: Pillow cannot write most of 16 bits. ``values`` is (H, W) or (H,
    W, channels); ``extra`` are chunks before the pixels.
    """
    values = numpy.atleast_3d(values)
    bits = numpy.unpackbits(values.astype(">u2")[..., None].view(numpy.uint8), axis=-1)
    rows = [numpy.packbits(row[..., 16 - depth :]) for row in bits]
    header = struct.pack(
        ">IIBBBBB", values.shape[1], values.shape[0], depth, kind, 0, 0, 0
    )
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = chunk(b"IHDR", header), *extra, chunk(b"IDAT", pixels), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def drawn(*shape: int, most: int = 65535) -> numpy.ndarray:
    return numpy.random.default_rng(7).integers(0, most + 1, shape)


COLORS = drawn(12, 16, 3, most=255).astype(numpy.uint8)
