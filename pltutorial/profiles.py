"""Colour profiles: pictures become sRGB by the profile (ICC) that their file carries,
and what is written says that it is sRGB.
"""

from __future__ import annotations

import functools
import io
import os
import struct
import warnings
from collections.abc import Callable

import numpy
from PIL import Image, ImageCms

# the primaries of sRGB at the profiles' white, D50 (IEC 61966-2-1, adapted as ICC says)
_TO_XYZ = numpy.array(
    [
        [0.43607, 0.38515, 0.14307],
        [0.22249, 0.71687, 0.06061],
        [0.01392, 0.09708, 0.71410],
    ]
)
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}


@functools.cache
def srgb() -> bytes | None:
    """The profile that written files carry; None where Pillow comes without lcms."""
    try:
        made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    except ImportError:
        return None
    # its own date (bytes 24 to 36) would make each file another
    return made[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + made[36:]


def to_srgb(
    colors: Image.Image | numpy.ndarray, profile: bytes | None, name: str | os.PathLike
) -> Image.Image | numpy.ndarray:
    """Colours as sRGB. Without a profile they are taken for it; a broken profile is a
    warning.

    Args:
        colors: a picture of mode L, RGB, CMYK, LAB or one that Pillow converts, or
            float32 (H, W, 3) in [0, 1].
        profile: the ICC profile of its file.
        name: how a warning names the picture.

    Returns:
        A picture of mode RGB, or an array where one was given.
    """
    if profile:
        try:
            if isinstance(colors, numpy.ndarray):
                return _converted_array(colors, profile)
            return _converted(colors, profile)
        except Exception as problem:  # lcms and damaged tables raise whatever they like
            warnings.warn(
                f"the colour profile of {str(name)!r} cannot be used "
                f"({str(problem).rstrip('.') or type(problem).__name__}); its colours "
                "are taken for sRGB",
                stacklevel=2,
            )
    if isinstance(colors, numpy.ndarray) or colors.mode == "RGB":
        return colors
    if colors.mode == "LAB":
        return ImageCms.applyTransform(colors, _transform(b"", "LAB"))
    return colors.convert("RGB")


def _converted(picture: Image.Image, profile: bytes) -> Image.Image:
    mode = _space(profile)
    if mode == "RGB" and picture.mode not in ("CMYK", "LAB"):
        picture = picture.convert("RGB")
    if picture.mode != mode:
        raise ValueError(f"it is for {mode} and the picture is {picture.mode}")
    transform = _transform(profile, mode)
    if transform is None:
        return picture.convert("RGB")
    return ImageCms.applyTransform(picture, transform)


def _space(profile: bytes) -> str:
    space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
    if space not in _MODES:
        raise ValueError(f"it is for {space}")
    return _MODES[space]


@functools.lru_cache(maxsize=8)  # the photographs of one camera have one profile
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB; None where that changes nothing."""
    given = io.BytesIO(profile) if profile else ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(given),
        ImageCms.ImageCmsProfile(io.BytesIO(srgb())),
        mode,
        "RGB",
        flags=ImageCms.Flags.NOCACHE,  # one transform may serve several threads
    )
    if mode in ("RGB", "L"):
        steps = numpy.linspace(0, 255, 18).astype(numpy.uint8)
        probe = numpy.stack(numpy.meshgrid(*[steps] * len(mode)), -1)
        probe = probe.reshape(18, -1, len(mode))
        given = Image.fromarray(probe.squeeze())
        made = numpy.asarray(ImageCms.applyTransform(given, transform))
        if numpy.abs(made - probe.astype(int)).max() <= 1:
            return None
    return transform


# --- more than 8 bits, which lcms does not take from Pillow ---------------------------


def _converted_array(colors: numpy.ndarray, profile: bytes) -> numpy.ndarray:
    """By curves and a matrix; by lcms, in 8 bits, where a profile has tables."""
    mode = _space(profile)
    if mode not in ("RGB", "L"):
        raise ValueError(f"it is for {mode} and the picture is RGB")
    if _transform(profile, mode) is None:
        return colors
    tags = _tags(profile)
    if b"A2B0" in tags or profile[20:24] != b"XYZ ":
        whole = Image.fromarray((colors * 255).round().astype(numpy.uint8))
        whole = whole.convert(mode)
        return numpy.asarray(_converted(whole, profile), numpy.float32) / 255
    if mode == "L":
        return _encoded(_curve(tags[b"kTRC"])(colors))
    linear = numpy.stack(
        [
            _curve(tags[kind + b"TRC"])(colors[..., channel])
            for channel, kind in enumerate((b"r", b"g", b"b"))
        ],
        -1,
    )
    primaries = [_numbers(tags[kind + b"XYZ"][8:20]) for kind in (b"r", b"g", b"b")]
    return _encoded(linear @ (numpy.linalg.inv(_TO_XYZ) @ numpy.transpose(primaries)).T)


def _encoded(linear: numpy.ndarray) -> numpy.ndarray:
    """Light as sRGB values (IEC 61966-2-1)."""
    linear = linear.clip(0, 1)
    high = 1.055 * linear ** (1 / 2.4) - 0.055
    return numpy.where(linear <= 0.0031308, 12.92 * linear, high).astype(numpy.float32)


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """The profile's table of tags (ICC.1:2022, 7.3)."""
    (count,) = struct.unpack_from(">I", profile, 128)
    tags = {}
    for i in range(min(count, 100)):
        kind, start, size = struct.unpack_from(">4sII", profile, 132 + 12 * i)
        tags[kind] = profile[start : start + size]
    return tags


def _numbers(data: bytes) -> numpy.ndarray:
    return numpy.frombuffer(data, ">i4") / 65536


def _curve(tag: bytes) -> Callable[[numpy.ndarray], numpy.ndarray]:
    """A tone curve, from values to light (ICC.1:2022, 10.6 and 10.18)."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count < 2:
            power = struct.unpack_from(">H", tag, 12)[0] / 256 if count else 1.0
            return lambda x: x**power
        table = numpy.frombuffer(tag, ">u2", count, 12) / 65535
        return lambda x: numpy.interp(x, numpy.linspace(0, 1, count), table)
    if tag[:4] != b"para":
        raise ValueError("its curves are of an unknown kind")
    (kind,) = struct.unpack_from(">H", tag, 8)
    given = [float(number) for number in _numbers(tag[12 : len(tag) // 4 * 4])]
    g, a, b, c, d, e, f = (given + [0.0] * 7)[:7]
    if kind == 0:
        a, d = 1.0, -numpy.inf
    elif kind in (1, 2):
        offset, c, d = (c if kind == 2 else 0.0), 0.0, -b / a
        e = f = offset
    elif kind == 3:
        e = f = 0.0
    return lambda x: numpy.where(
        x >= d, numpy.maximum(a * x + b, 0) ** g + e, c * x + f
    )
