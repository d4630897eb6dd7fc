"""What takes something away from a picture, so that a network can learn to give it
back: size, cleanness, sharpness, whole parts.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence

import numpy
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from .errors import InputError, nearest, needed, shown
from .images import check_factor, check_image
from .tensors import check_dense

KERNELS = ("bicubic", "gaussian")


def to_8_bits(image: torch.Tensor) -> torch.Tensor:
    """Values rounded to the 256 that a file can hold, and clamped to [0, 1].

    Example:
        >>> values = torch.tensor([-0.2, 0.5, 1.2])
        >>> 255 * to_8_bits(values)
        tensor([  0., 128., 255.])

    Taught in chapter 6.
    """
    check_dense(image, "the picture")
    return image.mul(255).round().clamp(0, 255) / 255


def downscale(
    image: torch.Tensor,
    factor: int,
    kernel: str = "bicubic",
    *,
    round_values: bool = True,
) -> torch.Tensor:
    """The low-resolution input of super-resolution, made from the picture that a
    network shall find again.

    ``bicubic``: antialiased, as MATLAB's ``imresize`` that the benchmarks use (the
    kernel is stretched by the factor); ``gaussian``: a blur of standard deviation 1
    pixel, then bicubic samples without antialiasing, the words of Johnson et al.
    (2016), section 4.2.

    Args:
        image: (N, 3, H, W) in [0, 1]; H and W are multiples of the factor
            (:func:`crop_to_multiple`).
        factor: 2, 4 or 8.
        kernel: ``"bicubic"`` or ``"gaussian"``.
        round_values: round to 8 bits, as a file does.

    Returns:
        (N, 3, H / factor, W / factor), float32, in [0, 1].

    Raises:
        InputError: another factor or kernel, sides that are no multiples of the
            factor, or no image.

    Example:
        >>> image = torch.rand(1, 3, 64, 96)
        >>> downscale(image, 4).shape
        torch.Size([1, 3, 16, 24])

    Taught in chapter 6.
    """
    check_image(image, "the picture to shrink", slack=0.5)
    return downscaled(image, factor, kernel, round_values)


def downscaled(
    image: torch.Tensor, factor: int, kernel: str, round_values: bool = True
) -> torch.Tensor:
    """Without a look at the values, for the training loop."""
    check_factor(factor)
    if kernel not in KERNELS:
        raise InputError(
            f"there is no kernel {kernel!r}; {nearest(str(kernel), KERNELS)}"
        )
    height, width = image.shape[-2:]
    if height % factor or width % factor or 0 in (height, width):
        raise InputError(
            f"{width}x{height} pixels cannot be shrunk by {factor}; crop to a "
            "multiple with crop_to_multiple"
        )
    image = image.float()
    # four deviations to each side, as far as a reflected border goes
    if kernel == "gaussian":
        functional = needed(
            "torchvision.transforms.v2.functional", "Gaussian kernels", "train"
        )
        image = functional.gaussian_blur(
            image, [2 * min(4, side - 1) + 1 for side in (width, height)], [1.0, 1.0]
        )
    size = (height // factor, width // factor)
    small = F.interpolate(
        image, size, mode="bicubic", antialias=kernel == "bicubic", align_corners=False
    )
    return to_8_bits(small) if round_values else small.clamp(0, 1)


def crop_to_multiple(image: torch.Tensor, factor: int) -> torch.Tensor:
    """The picture without the last rows and columns that make its sides no
    multiples of the factor.

    Raises:
        InputError: nothing would be left.

    Example:
        >>> image = torch.rand(1, 3, 67, 97)
        >>> crop_to_multiple(image, 4).shape
        torch.Size([1, 3, 64, 96])

    Taught in chapter 6.
    """
    check_dense(image, "the picture", floating=False)
    if image.ndim < 2:
        raise InputError(
            f"a picture of shape {tuple(image.shape)} was given; give (N, 3, H, W)"
        )
    height, width = (side - side % factor for side in image.shape[-2:])
    if 0 in (height, width):
        raise InputError(
            f"the picture has {image.shape[-1]}x{image.shape[-2]} pixels, but a "
            f"factor of {factor} needs at least {factor} along each side"
        )
    return image[..., :height, :width]


def add_noise(
    image: torch.Tensor,
    sigma: float | torch.Tensor,
    generator: torch.Generator | int | Sequence[torch.Generator] = 0,
) -> torch.Tensor:
    """Gaussian noise added, independent in each pixel and channel; not clamped and not
    rounded, as the benchmarks do.

    Args:
        image: (N, 3, H, W) in [0, 1].
        sigma: its standard deviation on the 0-255 scale, one for all or (N,); the
            values of a tensor are not looked at.
        generator: of the noise, on the CPU, or one for each picture, or a seed.

    Raises:
        InputError: a negative or infinite sigma, or a number of them that is not the
            number of pictures.

    Example:
        >>> grey = torch.full((1, 3, 64, 64), 0.5)
        >>> noisy = add_noise(grey, sigma=25, generator=7)
        >>> round(255 * float((noisy - grey).std()))
        25
        >>> torch.equal(noisy, add_noise(grey, sigma=25, generator=7))
        True

    Taught in chapter 7.
    """
    check_dense(image, "the picture")
    if image.ndim == 0:
        raise InputError("one number was given; give pictures, (N, 3, H, W)")
    if isinstance(generator, int):
        generator = torch.Generator().manual_seed(generator)
    if not isinstance(sigma, torch.Tensor):
        if not isinstance(sigma, numbers.Real) or not 0 <= sigma < math.inf:
            raise InputError(
                f"sigma={shown(sigma)} was given; give 0 or more, on the 0-255 scale"
            )
        sigma = torch.tensor(float(sigma))
    check_dense(sigma, "sigma", floating=False, values=not image.is_meta)
    if sigma.numel() not in (1, len(image)):
        raise InputError(
            f"{sigma.numel()} values of sigma were given for {len(image)} pictures; "
            "give one for all, or one for each"
        )
    if isinstance(generator, torch.Generator):
        noise = torch.randn(image.shape, generator=generator)
    else:
        noise = torch.stack(
            [torch.randn(image.shape[1:], generator=one) for one in generator]
        )
    noise = noise.to(image.device, non_blocking=True)
    return image + noise * (
        sigma.to(image.device, non_blocking=True).view(-1, 1, 1, 1) / 255
    )


def add_camera_noise(
    image: torch.Tensor,
    sigma: float | torch.Tensor,
    smear: float | torch.Tensor = 0.8,
    light: float | torch.Tensor = 0.5,
    generator: torch.Generator | int | Sequence[torch.Generator] = 0,
) -> torch.Tensor:
    """Gaussian noise as a camera's file has it: shared by neighbours, and stronger
    where there is more light; not clamped and not rounded.

    Independent noise is blurred by a Gaussian and brought back to a variance of 1. Its
    variance is then multiplied by ``1 - light + light * image / mean``, of which the
    mean is about 1: light comes in photons, whose number varies with its root.

    Args:
        image: (N, 3, H, W) in [0, 1].
        sigma: its standard deviation on the 0-255 scale where the brightness is the
            picture's mean, one for all or (N,).
        smear: standard deviation of the blur in pixels, 0 to 4, one for all or (N,);
            0 leaves the noise independent.
        light: the share of the variance that grows with the brightness, 0 to 1, one
            for all or (N,).
        generator: as for :func:`add_noise`.

    Raises:
        InputError: as for :func:`add_noise`, or a smear or share outside its range.

    Source: Plotz and Roth (2017), Benchmarking denoising algorithms with real
    photographs; Foi et al. (2008) for noise that grows with light.

    Example:
        >>> grey = torch.full((1, 3, 64, 64), 0.5)
        >>> noise = add_camera_noise(grey, 25, smear=1.0) - grey
        >>> bool(abs(255 * noise.std() - 25) < 3)
        True
        >>> bool((noise[..., 1:] * noise[..., :-1]).mean() > 0.5 * noise.var())
        True

    Taught in chapter 7.
    """
    check_dense(image, "the picture")
    if image.ndim != 4 or 0 in image.shape:
        raise InputError(
            f"pictures of shape {tuple(image.shape)} were given; give (N, 3, H, W)"
        )
    count = len(image)
    ranges = {"smear": (smear, 4), "light": (light, 1)}
    drawn = {}
    for name, (value, most) in ranges.items():
        if isinstance(value, torch.Tensor):
            check_dense(value, name, floating=False, values=True)
        try:
            values = torch.as_tensor(value, dtype=torch.float32).cpu().flatten()
        except (TypeError, ValueError, RuntimeError, OverflowError):
            values = torch.zeros(0)  # none of them
        if values.numel() not in (1, count) or not bool(
            ((values >= 0) & (values <= most)).all()
        ):
            raise InputError(
                f"{name}={shown(value)} was given; give a number from 0 to {most}, one "
                f"for all pictures or {count}"
            )
        drawn[name] = values.expand(count)
    noise = add_noise(torch.zeros_like(image, device="cpu"), sigma, generator)
    noise = torch.stack(
        [
            _smeared(one, float(by))
            for one, by in zip(noise, drawn["smear"], strict=True)
        ]
    ).to(image.device)
    part = drawn["light"].to(image.device).view(-1, 1, 1, 1)
    mean = image.mean((1, 2, 3), keepdim=True).clamp(min=1e-3)
    growth = (1 - part + part * image.clamp(min=0) / mean).sqrt()
    return image + noise * growth


def _smeared(noise: torch.Tensor, by: float) -> torch.Tensor:
    """White noise (C, H, W), blurred, with the variance it had."""
    if by < 0.1:
        return noise
    reach = math.ceil(3 * by)
    weights = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * by**2))
    weights = weights / weights.square().sum().sqrt()
    size = [side + 2 * reach for side in noise.shape[-2:]]
    # beyond the borders there is noise too: the picture's own, repeated
    rows = torch.arange(size[0]) % noise.shape[-2]
    columns = torch.arange(size[1]) % noise.shape[-1]
    noise = noise[:, rows][:, :, columns][:, None]
    noise = F.conv2d(
        F.conv2d(noise, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1)
    )
    return noise[:, 0]


def random_holes(
    count: int,
    height: int,
    width: int,
    share: float = 0.4,
    seeds: int | Sequence[int] = 0,
) -> torch.Tensor:
    """Masks of random free-form holes: strokes of a brush that turns as it goes, 1
    where the picture is missing.

    Each mask's share of missing pixels is drawn evenly from 5% to ``share``; strokes
    are added until it is reached and the last one stops there.

    Args:
        count: how many masks.
        height: of each, in pixels.
        width: of each, in pixels.
        share: the largest share of missing pixels, above 0 and at most 0.9.
        seeds: one for all, or one for each mask.

    Returns:
        (count, 1, height, width), float32, 0 or 1.

    Raises:
        InputError: a share outside its range, fewer than two pixels, or not one
            seed for each mask.

    Source: strokes as in Yu et al. (2019), Free-form image inpainting with gated
    convolution, algorithm 1.

    Example:
        >>> masks = random_holes(3, 32, 48, share=0.4)
        >>> masks.shape, masks.unique()
        (torch.Size([3, 1, 32, 48]), tensor([0., 1.]))
        >>> bool((masks.mean((1, 2, 3)) <= 0.4).all())
        True

    Taught in chapter 7.
    """
    seeds = _mask_seeds(count, height, width, share, seeds)
    masks = [
        _strokes(height, width, share, numpy.random.default_rng(seed)) for seed in seeds
    ]
    return torch.from_numpy(numpy.stack(masks)[:, None])


def random_boxes(
    count: int,
    height: int,
    width: int,
    share: float = 0.25,
    seeds: int | Sequence[int] = 0,
) -> torch.Tensor:
    """Masks of one rectangle each, 1 where the picture is missing, of any place.

    Its share of the pixels is drawn evenly from a fifth of ``share`` to ``share``, and
    its height from half to twice its width, as far as that fits.

    Args:
        count: how many masks.
        height: of each, in pixels.
        width: of each, in pixels.
        share: the largest share of missing pixels, above 0 and at most 0.9.
        seeds: one for all, or one for each mask.

    Returns:
        (count, 1, height, width), float32, 0 or 1.

    Raises:
        InputError: a share outside its range, fewer than two pixels, or not one
            seed for each mask.

    Source: boxes as in Pathak et al. (2016), Context encoders, section 3.1.

    Example:
        >>> masks = random_boxes(3, 32, 48, share=0.25)
        >>> masks.shape, masks.unique()
        (torch.Size([3, 1, 32, 48]), tensor([0., 1.]))
        >>> bool((masks.mean((1, 2, 3)) <= 0.25).all())
        True

    Taught in chapter 7.
    """
    seeds = _mask_seeds(count, height, width, share, seeds)
    masks = torch.zeros(count, 1, height, width)
    for mask, seed in zip(masks, seeds, strict=True):
        random = numpy.random.default_rng(seed)
        area = height * width * random.uniform(share / 5, share)
        tall = area**0.5 * 2 ** random.uniform(-0.5, 0.5)
        rows = min(height, max(1, int(tall)))
        columns = min(width, max(1, int(area / rows)))
        top = random.integers(0, height - rows + 1)
        left = random.integers(0, width - columns + 1)
        mask[:, top : top + rows, left : left + columns] = 1
    return masks


def _mask_seeds(
    count: int, height: int, width: int, share: float, seeds: int | Sequence[int]
) -> Sequence:
    """One seed for each mask, after a look at what was asked for."""
    if not 0 < share <= 0.9:
        raise InputError(
            f"a share of {share} was given; give a number above 0 and at most 0.9"
        )
    if min(count, height, width) < 1 or height * width < 2:
        raise InputError(
            f"{count} masks of {width}x{height} pixels were asked for; give at least "
            "one, of two pixels or more"
        )
    if isinstance(seeds, int):
        seeds = [[seeds, number] for number in range(count)]
    if len(seeds) != count:
        raise InputError(
            f"{len(seeds)} seeds were given for {count} masks; give one for "
            "all, or one for each"
        )
    return seeds


def _strokes(
    height: int, width: int, share: float, random: numpy.random.Generator
) -> numpy.ndarray:
    area = height * width * random.uniform(min(0.05, share), share)
    canvas, fits = Image.new("L", (width, height)), True
    while fits:
        stroke = _stroke(height, width, random)
        canvas, fits = _with(canvas, stroke, area)
    for part in stroke:  # of the stroke that is too much, as many parts as fit
        canvas, fits = _with(canvas, [part], area)
        if not fits:
            break
    covered = numpy.asarray(canvas).astype(numpy.float32)
    return covered if covered.any() else _square(height, width, area)


def _stroke(height: int, width: int, random: numpy.random.Generator) -> list[tuple]:
    """The parts of a stroke: from where to where, and how broad."""
    side = min(height, width)
    x, y = random.uniform(0, width), random.uniform(0, height)
    angle, brush = random.uniform(0, 2 * math.pi), side * random.uniform(0.03, 0.12)
    parts = []
    for _ in range(random.integers(4, 12)):
        angle += random.uniform(-1, 1)
        step = side * random.uniform(0.05, 0.2)
        onward = x + step * math.cos(angle), y + step * math.sin(angle)
        parts.append(((x, y), onward, brush))
        x, y = onward
    return parts


def _with(
    canvas: Image.Image, parts: list[tuple], most: float
) -> tuple[Image.Image, bool]:
    """The canvas with these parts drawn, or as it was where they would cover more
    than so many pixels.
    """
    more = canvas.copy()
    draw = ImageDraw.Draw(more)
    for start, (x, y), brush in parts:
        draw.line([start, (x, y)], fill=1, width=max(1, round(brush)))
        radius = brush / 2
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=1)
    fits = numpy.count_nonzero(numpy.asarray(more)) <= most
    return (more, True) if fits else (canvas, False)


def _square(height: int, width: int, area: float) -> numpy.ndarray:
    """A square of so many pixels in the middle: for pictures so small that one
    stroke is too much.
    """
    mask = numpy.zeros((height, width), numpy.float32)
    side = max(1, int(area**0.5))
    top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
    mask[top : top + side, left : left + side] = 1
    return mask


# --- blur -----------------------------------------------------------------------------


def motion_kernel(
    length: float, angle: float = 0.0, bend: float = 0.0, size: int | None = None
) -> torch.Tensor:
    """The blur of a camera that moves while the shutter is open: a path, drawn evenly.

    Args:
        length: of the path, in pixels.
        angle: of its chord, in radians; 0 is along a row.
        bend: how far the path leaves its chord, as a share of the
            length; 0 is straight.
        size: side of the kernel in pixels, odd; the smallest that holds it if left out.

    Returns:
        (size, size), float32, at least 0, with the sum 1 and its centre in the middle.

    Raises:
        InputError: a length that is not positive, or a size that is even or too small.

    Example:
        >>> kernel = motion_kernel(4.0)  # along a row
        >>> kernel.shape, abs(float(kernel.sum()) - 1) < 1e-5
        (torch.Size([7, 7]), True)
        >>> bool((kernel.sum(1) > 1e-3).sum() == 1)
        True

    Taught in chapter 7.
    """
    if not 0 < length < math.inf or not (math.isfinite(angle) and abs(bend) <= 1):
        raise InputError(
            f"length={length}, angle={angle} and bend={bend} were given; give a "
            "positive length in pixels, an angle in radians and a bend from -1 to 1"
        )
    along = torch.linspace(-0.5, 0.5, 16 * math.ceil(length) + 1, dtype=torch.float64)
    across = bend * (4 * along.square() - 1 / 3)  # a parabola, whose mean is 0
    x = length * (along * math.cos(angle) - across * math.sin(angle))
    y = length * (along * math.sin(angle) + across * math.cos(angle))
    reach = math.floor(float(torch.maximum(x.abs(), y.abs()).max())) + 1
    size = _kernel_size(reach, size)
    kernel = torch.zeros(size, size, dtype=torch.float64)
    left, top = x.floor(), y.floor()
    for right, below in ((0, 0), (0, 1), (1, 0), (1, 1)):  # shared among four pixels
        share = (1 - (x - left - right).abs()) * (1 - (y - top - below).abs())
        row, column = (part.long() + size // 2 for part in (top + below, left + right))
        inside = share > 1e-9
        places = (row[inside], column[inside])
        kernel.index_put_(places, share[inside], accumulate=True)
    return (kernel / kernel.sum()).float()


def defocus_kernel(radius: float, size: int | None = None) -> torch.Tensor:
    """The blur of a lens that is out of focus: a disc, whose rim is drawn in shades.

    Args:
        radius: of the disc, in pixels.
        size: side of the kernel in pixels, odd; the smallest that holds it if left out.

    Returns:
        (size, size), float32, at least 0, with the sum 1.

    Raises:
        InputError: a radius below 0, or a size that is even or too small.

    Example:
        >>> kernel = defocus_kernel(2.0)
        >>> kernel.shape
        torch.Size([5, 5])
        >>> abs(float(kernel.sum()) - 1) < 1e-5
        True

    Taught in chapter 7.
    """
    if not 0 <= radius < math.inf:
        raise InputError(f"radius={radius} was given; give 0 or more pixels")
    size = _kernel_size(math.ceil(radius + 0.5) - 1, size)
    place = torch.arange(size, dtype=torch.float64) - size // 2
    distance = (place[:, None].square() + place.square()).sqrt()
    kernel = (radius + 0.5 - distance).clamp(0, 1)
    return (kernel / kernel.sum()).float()


def blur_with(images: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Each picture convolved with its own kernel; at its border the
    picture is reflected.

    Args:
        images: (N, 3, H, W), of any values, on any device.
        kernels: (N, K, K), one for each, or (1, K, K) for all, K odd.

    Returns:
        (N, 3, H, W), float32.

    Raises:
        InputError: kernels of another shape.

    Example:
        >>> image = torch.zeros(1, 3, 9, 9)
        >>> image[..., 4, 4] = 1
        >>> blurred = blur_with(image, torch.full((1, 3, 3), 1 / 9))
        >>> (9 * blurred[0, 0, 3:6, 3:6]).round().sum()
        tensor(9.)

    Taught in chapter 7.
    """
    check_dense(images, "the picture")
    check_dense(kernels, "the kernel", values=not images.is_meta)
    if images.ndim != 4 or 0 in images.shape:
        raise InputError(
            f"pictures of shape {tuple(images.shape)} were given; give (N, 3, H, W)"
        )
    count, channels, height, width = images.shape
    side = kernels.shape[-1] if kernels.ndim == 3 else 0
    if kernels.shape[1:] != (side, side) or side % 2 == 0:
        raise InputError(
            f"kernels of shape {tuple(kernels.shape)} were given; give "
            f"({count}, K, K), K odd"
        )
    if len(kernels) not in (1, count):
        raise InputError(
            f"{len(kernels)} kernels were given for {count} pictures; give one for "
            "all, or one for each"
        )
    weights = kernels.to(images.device, torch.float32, non_blocking=True)
    weights = weights.flip(1, 2).expand(count, side, side)  # torch correlates
    weights = weights.repeat_interleave(channels, 0)[:, None]
    by = side // 2
    mode = "reflect" if min(height, width) > by else "replicate"
    padded = F.pad(images.float(), (by, by, by, by), mode=mode)
    stacked = padded.reshape(1, count * channels, *padded.shape[2:])
    blurred = F.conv2d(stacked, weights, groups=count * channels)
    return blurred.view(count, channels, height, width)


def _kernel_size(reach: int, size: int | None) -> int:
    """The side of a kernel that reaches so many pixels from its middle."""
    if size is None:
        return 2 * reach + 1
    if size % 2 == 0 or size < 2 * reach + 1:
        raise InputError(
            f"size={size} was given for a kernel that needs {2 * reach + 1} pixels; "
            "give that or more, an odd number"
        )
    return size
