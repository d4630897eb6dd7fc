"""Pictures in files and in memory: the one place that knows file
formats and 8-bit values.

An *image* in this package is a float32 tensor (N, 3, H, W), RGB, with values in [0, 1].
"""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError

from . import memory
from .errors import InputError, nearest, shown
from .files import PICTURE_ENDINGS, check_output, check_side, no_file, write_whole
from .formats import mended
from .profiles import srgb
from .samples import Decoded, Header, decode, understood
from .tensors import check_dense

FACTORS = (2, 4, 8)  # by which super-resolution makes pictures smaller and larger
# a decompression bomb: 100 million pixels take 1.2 GB as float32 RGB
MAX_PIXELS = 100_000_000


def bundled_names(folder: str) -> list[str]:
    """Names of the bundled pictures of one folder: ``content``, ``style``,
    ``train`` or ``test``.

    The folders ``faces`` and ``emoji`` hold zip files of pictures, ``train.zip`` and
    ``test.zip``, for :class:`Pictures`.

    Raises:
        InputError: there is no such folder; the sentence suggests the nearest.

    Example:
        >>> "pagoda" in bundled_names("content")
        True
        >>> "great_wave" in bundled_names("style")
        True

    Taught in chapter 1.
    """
    root = _data_folder()
    folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    if folder not in folders:
        raise InputError(
            f"there is no bundled folder {folder!r}; {nearest(folder, folders)}"
        )
    entries = list((root / folder).iterdir())
    pictures = [entry.stem for entry in entries if entry.suffix in PICTURE_ENDINGS]
    return sorted(
        pictures + [entry.name for entry in entries if entry.suffix == ".zip"]
    )


def bundled(name: str) -> Path:
    """Path of a bundled picture, or zip of pictures, from any working directory and
    from an installed wheel.

    Args:
        name: folder and stem, such as ``"content/pagoda"`` or ``"style/great_wave"``; a
            zip is named in full, such as ``"faces/train.zip"``.

    Raises:
        InputError: there is no such picture; the sentence suggests the nearest.

    Example:
        >>> bundled("content/pagoda").name
        'pagoda.jpg'
        >>> bundled("style/great_wafe")
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: ...; the nearest is 'great_wave'

    Taught in chapter 1.
    """
    folder, _, stem = str(name).partition("/")
    stem = stem if stem.endswith(".zip") else Path(stem).stem
    names = bundled_names(folder)
    if stem not in names:
        raise InputError(
            f"there is no bundled picture {name!r}; {nearest(stem, names)}"
        )
    return next(
        path
        for path in (_data_folder() / folder).iterdir()
        if stem in (path.stem, path.name)
    )


def _data_folder() -> Path:
    """``data/`` inside an installed package, or beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "data", here.parent / "data"):
        if (folder / "SOURCES.csv").is_file():
            return folder
    raise InputError(
        f"the bundled pictures are missing beside {here.name}/; install the package "
        "again, or work in a full checkout of the project"
    )


def read_image(
    path: str | os.PathLike,
    size: int | tuple[int, int] | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Read a picture file into an image.

    The EXIF orientation is honoured, colours become sRGB by the file's colour profile,
    and transparency is laid over white. Integers without a sign are white at their
    largest value (16-bit PNG, TIFF and PPM keep their depth), floats at 1, other
    numbers where the tags of the file say it. A fault beside the pixels, such as a
    broken profile, is a warning.

    Args:
        path: a file that Pillow can read (JPEG, PNG, WebP, TIFF, ...).
        size: None keeps the size; an int is the length of the longer side in pixels; a
            pair is (height, width).
        max_pixels: the limit against decompression bombs, in pixels; raise it to
            read larger pictures.
        dtype: ``torch.uint8`` keeps a quarter of the memory, see :func:`to_bytes`:
            for pictures of 100 million pixels, which ``denoise``, ``deblur``,
            ``upscale`` and ``colorize`` take so and give back so.

    Returns:
        float32 tensor (1, 3, H, W), RGB, in [0, 1]; or uint8, from 0 to 255.

    Raises:
        InputError: the file is missing, empty, truncated or no picture, has more than
            ``max_pixels`` pixels, fewer than 2 pixels along a side, or several frames
            or pages, or does not say which of its numbers is white.

    Example:
        >>> image = read_image(bundled("content/pagoda"), size=64)
        >>> image.shape, image.dtype
        (torch.Size([1, 3, 43, 64]), torch.float32)
        >>> 0 <= float(image.min()) < float(image.max()) <= 1
        True

    Taught in chapter 1.
    """
    if dtype not in (torch.float32, torch.uint8):
        raise InputError(
            f"dtype={dtype} was given; give torch.float32, or torch.uint8 for a "
            "picture as bytes"
        )
    as_bytes = dtype == torch.uint8 and size is None
    image = to_image(open_file(path, max_pixels, as_bytes), path, as_bytes)
    image = image if size is None else resize(image, size)
    return image if image.dtype == dtype else to_bytes(image)


def open_file(
    path: str | os.PathLike, max_pixels: int = MAX_PIXELS, as_bytes: bool = False
) -> Decoded:
    """Decode the picture of a file, see :func:`open_picture`.

    Raises:
        InputError: there is no such file, it is empty, no picture,
            truncated, or too large.
    """
    path = Path(path)
    if fault := no_file(path):
        raise InputError(
            f"the picture {str(path)!r} {fault}; give the path of a picture file"
        )
    if path.stat().st_size == 0:
        raise InputError(
            f"the picture {str(path)!r} is an empty file; copy or download it again"
        )
    return open_picture(path, path, max_pixels, as_bytes=as_bytes)


def to_image(
    picture: Decoded | Image.Image, name: str | os.PathLike, as_bytes: bool = False
) -> torch.Tensor:
    """A decoded picture of any mode as an image (1, 3, H, W), by the rules of
    :func:`read_image`; as bytes where that is asked for.

    Raises:
        InputError: fewer than 2 pixels along a side, or values that are not finite.

    Example:
        >>> from PIL import Image
        >>> to_image(Image.new("L", (48, 32), 255), "a white picture").shape
        torch.Size([1, 3, 32, 48])
    """
    if isinstance(picture, Image.Image):
        picture = understood(picture, name)
    array = picture.as_bytes() if as_bytes else picture.over_white()
    if min(array.shape[:2]) < 2:
        height, width = array.shape[:2]
        raise InputError(
            f"the picture {str(name)!r} has {width}x{height} pixels; give one with at "
            "least 2 along each side"
        )
    if as_bytes:
        return torch.from_numpy(array)[None].permute(0, 3, 1, 2)
    array = numpy.ascontiguousarray(array.transpose(2, 0, 1), dtype=numpy.float32)
    return torch.from_numpy(array)[None]


def to_bytes(image: torch.Tensor) -> torch.Tensor:
    """An image as bytes, as files have them: uint8 (N, 3, H, W) from 0 to 255, clamped
    and rounded, a pixel's three values beside each other in memory.

    Example:
        >>> to_bytes(torch.tensor([0.0, 0.5, 2.0]).view(1, 3, 1, 1)).flatten().tolist()
        [0, 128, 255]
    """
    check_form(image, "the picture")
    values = image.detach().float().clamp(0, 1).mul_(255).round_().to(torch.uint8)
    return values.contiguous(memory_format=torch.channels_last)


def to_floats(image: torch.Tensor) -> torch.Tensor:
    """Bytes as an image: float32 in [0, 1], the very values that a file is read to."""
    check_dense(image, "the picture", floating=False)
    return image.to(torch.float32).contiguous().div_(255)


def to_picture(image: torch.Tensor, bytes_too: bool = False) -> Image.Image:
    """One image, (1, 3, H, W) or (3, H, W), as an 8-bit RGB picture; values are
    clamped and rounded. With ``bytes_too`` a picture as bytes stays as it is.

    Raises:
        InputError: it is not one finite RGB image.

    Example:
        >>> picture = to_picture(torch.ones(1, 3, 32, 48))
        >>> picture.size, picture.getpixel((0, 0))  # width first, as Pillow has it
        ((48, 32), (255, 255, 255))
    """
    image = (
        image.unsqueeze(0)
        if isinstance(image, torch.Tensor) and image.ndim == 3
        else image
    )
    check_image(image, "the picture to write", slack=0.5, bytes_too=bytes_too)
    if len(image) != 1:
        raise InputError(
            f"{len(image)} pictures were given for one file; write them one by one"
        )
    values = image if image.dtype == torch.uint8 else to_bytes(image)
    return Image.fromarray(values[0].permute(1, 2, 0).cpu().numpy())


def open_picture(
    file: str | os.PathLike | BinaryIO,
    name: str | os.PathLike,
    max_pixels: int = MAX_PIXELS,
    before: Callable[[Image.Image | Header], None] | None = None,
    as_bytes: bool = False,
) -> Decoded:
    """Decode a picture: upright, in sRGB, by the rules of :func:`read_image`.

    Args:
        file: a path, or a file in memory.
        name: how the sentence of an error names it.
        max_pixels: the limit against decompression bombs.
        before: called with the opened picture when its size is known and
            nothing is decoded yet.
        as_bytes: it will be wanted as bytes, which takes less memory.

    Raises:
        InputError: it is no picture, truncated, too large, or more than one.
    """
    if isinstance(file, str | os.PathLike):
        try:
            with Path(file).open("rb") as opened:
                return open_picture(opened, name, max_pixels, before, as_bytes)
        except PermissionError:
            raise InputError(
                f"the picture {str(name)!r} may not be read; change its permissions"
            ) from None
    try:
        return decode(file, name, max_pixels, before, as_bytes)
    except InputError:
        raise
    except MemoryError:
        raise InputError(
            memory.does_not_fit(f"the pixels of {str(name)!r}", "shrink the picture")
        ) from None
    except Exception as found:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        problem = found
    file.seek(0)
    for copy in mended(file.read()):  # is it only something beside the pixels?
        try:
            made = decode(copy, name, max_pixels, before, as_bytes)
            warnings.warn(
                f"{str(name)!r} has a fault beside its pixels ({_reason(problem)}), "
                "which is left out",
                stacklevel=2,
            )
            return made
        except InputError:
            raise
        except Exception as found:
            if isinstance(problem, UnidentifiedImageError):
                problem = found
    if isinstance(problem, UnidentifiedImageError):
        what = f" ({problem})" if str(problem) else ""
        raise InputError(
            f"{str(name)!r} is not a picture that can be read{what}; give a JPEG, PNG "
            "or WebP, or a TIFF of 8 or 16 bits"
        )
    raise InputError(
        f"the picture {str(name)!r} is truncated or damaged ({_reason(problem)}); copy "
        "or download it again"
    )


def _reason(problem: Exception) -> str:
    return str(problem).rstrip(".") or type(problem).__name__


def to_rgb(picture: Decoded) -> Image.Image:
    """A decoded picture as 8-bit RGB, by the rules of :func:`read_image`."""
    if picture.plain:
        return picture.colors
    return Image.fromarray(picture.as_bytes())


def write_image(
    path: str | os.PathLike,
    image: torch.Tensor,
    *,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write one image to a file, whole or not at all.

    The picture is written beside its target, flushed to the disk and renamed, so
    a crash or a full disk leaves what was there before. JPEG and WebP are
    written at quality 95.

    Args:
        path: the target; its ending chooses the format.
        image: (1, 3, H, W) or (3, H, W), in [0, 1]; values are clamped and
            rounded to 8 bits.
        dtype: ``torch.uint8`` says that it is bytes, as :func:`read_image` has them
            with the same word; else they are refused.

    Returns:
        The path written to.

    Raises:
        InputError: the image is not one finite RGB image, the ending is unknown, or the
            folder is missing, read-only or full.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> path = write_image(Path(mkdtemp()) / "white.png", torch.ones(1, 3, 32, 48))
        >>> path.name, tuple(read_image(path).shape)
        ('white.png', (1, 3, 32, 48))

    Taught in chapter 1.
    """
    path = check_output(path)
    return write_whole(path, writer(image, path.suffix, dtype == torch.uint8))


def writer(
    image: torch.Tensor, ending: str, bytes_too: bool = False
) -> Callable[[BinaryIO], None]:
    """What writes one image into an open file, in the format of an ending; the file
    says that its colours are sRGB.

    Raises:
        InputError: it is not one finite RGB image, or longer than the format holds.
    """
    picture = to_picture(image, bytes_too)
    check_side(*picture.size, ending)
    kind = Image.registered_extensions()[ending.lower()]
    return lambda file: picture.save(file, format=kind, quality=95, icc_profile=srgb())


def resize(image: torch.Tensor, size: int | tuple[int, int]) -> torch.Tensor:
    """Resize an image by antialiased bicubic interpolation; the result is
    clamped to [0, 1].

    Args:
        image: (N, 3, H, W) in [0, 1].
        size: an int is the length of the longer side in pixels, the aspect ratio kept;
            a pair is (height, width).

    Raises:
        InputError: the size is not positive, or the image is not one.

    Example:
        >>> image = torch.rand(1, 3, 60, 80)
        >>> resize(image, 40).shape  # the longer side
        torch.Size([1, 3, 30, 40])
        >>> resize(image, (32, 32)).shape
        torch.Size([1, 3, 32, 32])

    Taught in chapter 2.
    """
    check_image(image, "the picture to resize", slack=0.5)
    height, width = image.shape[-2:]
    sides = sides_for((height, width), size)
    if sides == (height, width):
        return image.clamp(0, 1)
    what = f"{sides[1]}x{sides[0]} pixels"
    advice = "give a smaller size"
    needed = 2 * image[..., 0, 0].numel() * sides[0] * sides[1] * image.itemsize
    memory.check(needed, what, advice, image.device)
    with memory.room_for(what, advice):
        # half precision has no such kernel
        large = F.interpolate(
            image if image.itemsize > 2 else image.float(),
            size=sides,
            mode="bicubic",
            antialias=True,
            align_corners=False,
        )
        return large.clamp(0, 1).to(image.dtype)


def sides_for(shape: tuple[int, int], size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width that a picture of some height and width is resized to, see
    :func:`resize`.

    Raises:
        InputError: the size is not positive.
    """
    height, width = shape
    try:
        sides = [
            operator.index(side)
            for side in (size if isinstance(size, tuple | list) else (size,))
        ]
    except TypeError:  # neither an int nor an integer of numpy
        sides = []
    if len(sides) == 1 and not isinstance(size, tuple | list) and sides[0] > 0:
        scale = sides[0] / max(height, width)
        sides = [max(1, round(height * scale)), max(1, round(width * scale))]
    if len(sides) != 2 or min(sides) < 1:
        raise InputError(
            f"size {shown(size)} was given; give a positive number of "
            "pixels, or (height, width)"
        )
    return sides[0], sides[1]


def check_factor(factor: int) -> None:
    """Refuse a factor that no network is made for.

    Raises:
        InputError: it is not 2, 4 or 8.
    """
    if factor not in FACTORS:
        raise InputError(
            f"the factor {factor} was given; give one of {', '.join(map(str, FACTORS))}"
        )


def check_image(
    image: torch.Tensor,
    what: str = "the image",
    *,
    slack: float = 0.01,
    smallest: int = 1,
    bytes_too: bool = False,
) -> None:
    """Refuse what is not an image, with a sentence that says what was expected.

    This reads the values and so waits for the device: call it where data enters, never
    in a training step.

    Args:
        image: the tensor to check.
        what: how the sentence names it.
        slack: how far outside [0, 1] values may be: more where the caller clamps, or a
            network is still untrained.
        smallest: the least height and width in pixels.
        bytes_too: a picture as bytes (:func:`to_bytes`) is welcome.

    Raises:
        InputError: wrong type, shape, dtype, size, NaN or infinite values, or
            values outside [0, 1].

    Example:
        >>> check_image(torch.rand(1, 3, 8, 8))
        >>> check_image(torch.full((1, 3, 8, 8), 255.0), "the photo")
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: the photo has values up to 255, but [0, 1] is...
    """
    check_form(image, what, smallest=smallest, bytes_too=bytes_too)
    check_dense(image, what, floating=False, values=True)
    if image.dtype != torch.uint8:
        check_values(image, what, slack=slack)


def check_form(
    image: torch.Tensor,
    what: str = "the image",
    *,
    smallest: int = 1,
    bytes_too: bool = False,
) -> None:
    """What :func:`check_image` says of type, shape and dtype: no value is looked at,
    so it may be done in every step.

    Raises:
        InputError: wrong type, shape, dtype or size.
    """
    if not isinstance(image, torch.Tensor):
        raise InputError(
            f"{what} is a {type(image).__name__}; give a tensor (N, 3, H, W) in [0, "
            "1], as read_image does"
        )
    check_dense(image, what, floating=False)
    if image.ndim != 4 or image.shape[1] != 3 or 0 in image.shape:
        hint = (
            "; add the batch dimension with image[None]"
            if image.ndim == 3 and image.shape[0] == 3
            else ""
        )
        hint = hint or (
            "; permute it from channels-last"
            if image.shape[-1:] == (3,)
            else "; give (N, 3, H, W)"
        )
        raise InputError(
            f"{what} has shape {tuple(image.shape)}, but (N, 3, H, W) is needed{hint}"
        )
    if not image.is_floating_point() and not (bytes_too and image.dtype == torch.uint8):
        raise InputError(
            f"{what} has dtype {image.dtype}, but float32 in [0, 1] is needed; "
            "use image.float() / 255"
        )
    if min(image.shape[-2:]) < smallest:
        height, width = image.shape[-2:]
        raise InputError(
            f"{what} has {width}x{height} pixels, but at least {smallest}x{smallest} "
            "are needed; use a larger picture or a shallower layer"
        )


def check_values(
    image: torch.Tensor,
    what: str = "the image",
    *,
    slack: float = 0.01,
    span: tuple[float, float] = (0, 1),
    otherwise: str = "",
) -> None:
    """What :func:`check_image` says of the values, for any range; waits for the device.

    ``otherwise`` is what else may be done with a picture in [-1, 1].

    Raises:
        InputError: NaN or infinite values, or values outside the span.
    """
    unit, needed = span[1] - span[0], f"[{span[0]:g}, {span[1]:g}]"
    low, high = (float(value) for value in image.detach().aminmax())
    if not (numpy.isfinite(low) and numpy.isfinite(high)):
        raise InputError(
            f"{what} holds NaN or infinite values, but finite ones in {needed} are "
            "needed; look where it was made"
        )
    if span == (0, 1) and high > 1 + slack and low >= -0.1 * high:
        raise InputError(
            f"{what} has values up to {high:.4g}, but {needed} is needed; divide "
            "0-255 pictures by 255"
        )
    if low < span[0] - slack * unit or high > span[1] + slack * unit:
        raise InputError(
            f"{what} has values from {low:.3g} to {high:.3g}, but {needed} is needed; "
            + other_range(low, high, span, otherwise)
        )


def other_range(
    low: float, high: float, span: tuple[float, float] = (0, 1), otherwise: str = ""
) -> str:
    """What to do with a picture of these values, which are not in the span."""
    if span == (0, 1) and -1.01 <= low < 0 <= high <= 1.01:
        return f"give (image + 1) / 2 of a picture in [-1, 1]{otherwise}"
    return "give plain pictures: the loss network subtracts its own mean"


def middle_square(picture: Path | torch.Tensor, size: int) -> torch.Tensor:
    """The largest square in the middle of a picture, at a size."""
    is_path = isinstance(picture, str | os.PathLike)
    image = read_image(picture) if is_path else picture
    check_form(image, "the picture")
    side = min(image.shape[-2:])
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    return resize(image[..., top : top + side, left : left + side], (size, size))
