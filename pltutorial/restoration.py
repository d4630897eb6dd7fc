"""What networks for restoration do to pictures of any size: enlarge, denoise and inpaint them."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy
import torch
from PIL import Image
from torch import nn

from . import memory
from .device import best_precision, is_out_of_memory
from .errors import InputError
from .images import check_image, open_file, to_image
from .memory import keep_freed_memory
from .networks import blend_networks as blend_networks
from .tiling import in_tiles
from .zoo import check_network, load_restorer

TILE = 512  # side of a tile where the network computes: some 0.5 GB for the networks that ship
NEAR, BETWEEN = (
    0.25,
    0.05,
)  # of a mask in a file: how far from black or white, and the share that may be farther


def upscale(
    image: torch.Tensor,
    factor: int | None = None,
    loss: str | float = "feature",
    *,
    network: nn.Module | None = None,
    match_histogram: bool = False,
    precision: str = "auto",
    device: str | torch.device | None = None,
    tile: int | None = None,
) -> torch.Tensor:
    """Enlarge pictures with a network that has learned how small pictures become large ones.

    Johnson et al. (2016), section 4.2. Large pictures go through in tiles that overlap, so the memory for the
    network's features is bounded and no seam shows.

    Args:
        image: (N, 3, H, W) in [0, 1], of any size.
        factor: how much larger each side becomes, 4 or 8; 4 if left out, or that of the ``network``.
        loss: what the network was trained with: ``"pixel"`` for accuracy, ``"feature"`` for likeness, or a number
            between 0 (pixel) and 1 (feature) that mixes both networks' weights (:func:`blend_networks`).
        network: a network to use, and to reuse: left out, the one that ships is loaded in each call.
        match_histogram: give the output the histogram of its input, as the paper does to its own results.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        device: where to load the network; None takes the best there is.
        tile: side of the tiles in pixels of the input; None takes one that needs some 0.5 GB.

    Returns:
        (N, 3, factor H, factor W), float32, in [0, 1], on the device of ``image``.

    Raises:
        InputError: no image, another factor or loss, a network for something else, or a result that does not fit
            into memory.

    Example:
        >>> upscale(torch.rand(1, 3, 16, 24), loss="pixel", device="cpu").shape
        torch.Size([1, 3, 64, 96])

    Taught in chapter 6.
    """
    check_image(image, "the picture", slack=0.5)
    if network is None:
        network = load_restorer("upscale", loss, factor=4 if factor is None else factor, device=device)
    check_network(network, "upscale")
    if factor not in (None, network.factor):
        raise InputError(
            f"the factor {factor} was given for a network that enlarges by {network.factor}; leave the factor out, "
            "or give another network"
        )
    check_image(image, "the picture", slack=0.5, smallest=network.smallest)
    large = _through(network, (image.clamp(0, 1),), precision, tile)
    return with_histogram_of(large, image) if match_histogram else large


def denoise(
    image: torch.Tensor,
    loss: str | float = "combined",
    *,
    network: nn.Module | None = None,
    precision: str = "auto",
    device: str | torch.device | None = None,
    tile: int | None = None,
) -> torch.Tensor:
    """Take Gaussian noise of unknown strength out of pictures.

    Args:
        image: (N, 3, H, W), of any size; noise may reach out of [0, 1].
        loss: what the network was trained with: ``"pixel"`` for accuracy, ``"combined"`` (pixel, feature and style)
            for likeness, or a number between 0 (pixel) and 1 (combined) that mixes both networks' weights.
        network: a network to use, and to reuse: left out, the one that ships is loaded in each call.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        device: where to load the network; None takes the best there is.
        tile: side of the tiles in pixels; None takes one that needs some 0.5 GB.

    Returns:
        (N, 3, H, W), float32, in [0, 1], on the device of ``image``.

    Raises:
        InputError: no image, an unknown loss, a network for something else, or a picture that does not fit into memory.

    Example:
        >>> image = read_image(bundled("content/pagoda"), 96)
        >>> noisy = add_noise(image, sigma=25)
        >>> clean = denoise(noisy, "pixel", device="cpu")
        >>> before, after = (float((x - image).square().mean()) for x in (noisy, clean))
        >>> after < 0.5 * before
        True

    Taught in chapter 7.
    """
    check_image(image, "the noisy picture", slack=2)
    network = load_restorer("denoise", loss, device=device) if network is None else network
    check_network(network, "denoise")
    return _through(network, (image,), precision, tile)


def inpaint(
    image: torch.Tensor,
    mask: torch.Tensor,
    loss: str | float = "combined",
    *,
    network: nn.Module | None = None,
    precision: str = "auto",
    device: str | torch.device | None = None,
    tile: int | None = None,
) -> torch.Tensor:
    """Fill the holes of pictures; what is there stays as it is, exactly.

    Args:
        image: (N, 3, H, W) in [0, 1], of any size; its values in the holes are not looked at.
        mask: (N, 1, H, W) or (1, 1, H, W), 1 (or True) where the picture is missing and 0 elsewhere.
        loss: what the network was trained with: ``"pixel"`` for accuracy, ``"combined"`` (pixel, feature and style)
            for likeness, or a number between 0 (pixel) and 1 (combined) that mixes both networks' weights.
        network: a network to use, and to reuse: left out, the one that ships is loaded in each call.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        device: where to load the network; None takes the best there is.
        tile: side of the tiles in pixels; None takes one that needs some 0.5 GB.

    Returns:
        (N, 3, H, W), float32, in [0, 1], on the device of ``image``.

    Raises:
        InputError: no image, a mask of another size or with other values than 0 and 1, nothing masked, a picture
            that is masked as a whole, an unknown loss, a network for something else, or a picture that does
            not fit into memory.

    Example:
        >>> image, mask = torch.rand(1, 3, 48, 48), torch.zeros(1, 1, 48, 48)
        >>> mask[..., 20:28, 20:28] = 1  # this is missing
        >>> whole = inpaint(image, mask, "pixel", device="cpu")
        >>> known = (mask == 0).expand_as(image)
        >>> torch.equal(whole[known], image[known])
        True

    Taught in chapter 7.
    """
    check_image(image, "the picture", slack=0.5)
    mask = _check_mask(mask, image)
    network = load_restorer("inpaint", loss, device=device) if network is None else network
    check_network(network, "inpaint")
    image = image.float().clamp(0, 1)
    mean = network.known_mean(image, mask).to(next(network.parameters()).device)

    def work(part: torch.Tensor, holes: torch.Tensor) -> torch.Tensor:
        return network(part, holes, mean) if holes.any() else part

    return _through(network, (image, mask), precision, tile, work)


def with_histogram_of(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """The image with each channel's values changed, by one rising curve, so that its histogram is the reference's.

    Histograms are of 256 values; between them the curve is straight.

    Args:
        image: (N, 3, H, W) in [0, 1].
        reference: (N, 3, H', W') in [0, 1], of any size.

    Returns:
        (N, 3, H, W), float32, in [0, 1].

    Raises:
        InputError: no images, or not as many of the one as of the other.

    Source: Johnson et al. (2016), section 4.2: "we post-process our results by matching histograms".

    Taught in chapter 6.
    """
    check_image(image, "the picture", slack=0.5)
    check_image(reference, "the reference", slack=0.5)
    if len(image) != len(reference):
        raise InputError(
            f"{len(reference)} references were given for {len(image)} pictures; give one for each"
        )
    output = torch.empty_like(image, dtype=torch.float32)
    for number in range(len(image)):
        for channel in range(3):
            own, wanted = (_shares_below(given[number, channel]) for given in (image, reference))
            present = numpy.flatnonzero(numpy.diff(wanted, prepend=0))
            curve = numpy.interp(own, wanted[present], present / 255).astype(numpy.float32)
            levels = image[number, channel].float().clamp(0, 1) * 255
            below = levels.long().clamp_(max=254)
            table = torch.from_numpy(curve).to(image.device)
            output[number, channel] = torch.lerp(table[below], table[below + 1], levels - below)
    return output


def _shares_below(values: torch.Tensor) -> numpy.ndarray:
    """For each of 256 values the share of pixels that are not above it."""
    counts = torch.bincount(values.float().mul(255).round().clamp(0, 255).long().flatten(), minlength=256)
    return counts.cumsum(0).cpu().numpy() / values.numel()


# --- masks in files ---------------------------------------------------------------------------------------


def read_mask(path: str | os.PathLike, *, max_pixels: int = 100_000_000) -> torch.Tensor:
    """Read a mask from a picture file: white where the picture is missing, black elsewhere.

    Soft edges and the errors of JPEG are allowed: values are set to black or white, whichever is nearer, if at most
    5 % of them are farther than a quarter of the range from both.

    Args:
        path: a file that Pillow can read.
        max_pixels: the limit against decompression bombs, in pixels.

    Returns:
        (1, 1, H, W), float32, 0 or 1.

    Raises:
        InputError: no picture, one with transparent pixels, or one with too much that is neither black nor white.

    Taught in chapter 7.
    """
    return to_mask(open_file(path, max_pixels), path)


def to_mask(picture: Image.Image, name: str | os.PathLike) -> torch.Tensor:
    """A decoded picture as a mask (1, 1, H, W), by the rules of :func:`read_mask`."""
    if transparency(picture) is not None:
        raise InputError(
            f"the mask {str(name)!r} has transparent pixels; save it without, white where the picture is missing and "
            "black elsewhere"
        )
    grey = to_image(picture, name).mean(1, keepdim=True)
    between = float(((grey > NEAR) & (grey < 1 - NEAR)).float().mean())
    if between > BETWEEN:
        raise InputError(
            f"{between:.0%} of the mask {str(name)!r} is neither black nor white; give a picture that is white where "
            "something is missing and black elsewhere"
        )
    return (grey > 0.5).float()


def transparency(picture: Image.Image) -> torch.Tensor | None:
    """A mask (1, 1, H, W) of the pixels of a decoded picture that are not wholly opaque; None if all are."""
    if picture.mode not in ("RGBA", "LA", "PA", "RGBa", "La") and "transparency" not in picture.info:
        return None
    alpha = numpy.asarray(picture.convert("RGBA").getchannel("A"))
    return None if alpha.min() == 255 else torch.from_numpy((alpha < 255).astype(numpy.float32))[None, None]


def _check_mask(mask: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """The mask as float32 (N, 1, H, W) on the image's device, or one sentence about it."""
    if not isinstance(mask, torch.Tensor):
        raise InputError(
            f"the mask is a {type(mask).__name__}; give a tensor (N, 1, H, W), 1 where the picture is missing"
        )
    count, _, height, width = image.shape
    if mask.ndim == 4 and mask.shape[1] == 1 and mask.shape[2:] != image.shape[2:]:
        raise InputError(
            f"the mask has {mask.shape[3]}x{mask.shape[2]} pixels and the picture {width}x{height}; give both the same size"
        )
    if mask.ndim != 4 or mask.shape[1] != 1 or len(mask) not in (1, count):
        raise InputError(
            f"the mask has shape {tuple(mask.shape)}, but ({count}, 1, {height}, {width}) is needed; give one channel, 1 "
            "where the picture is missing"
        )
    mask = mask.to(image.device, torch.float32)
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise InputError(
            "the mask has other values than 0 and 1; make it binary, such as (mask > 0.5).float(), 1 where the picture is "
            "missing"
        )
    if not bool(mask.any()):
        raise InputError(
            "nothing is masked, so there is nothing to fill; the mask is 1, or white in a file, where the picture is missing"
        )
    if float(mask.flatten(1).amin(1).max()) == 1:
        raise InputError(
            "everything is masked, so there is nothing to go by; the mask is 0, or black in a file, where a picture is kept"
        )
    return mask.expand(count, -1, -1, -1)


# --- the network ------------------------------------------------------------------------------------------


def _through(
    network: nn.Module,
    images: tuple[torch.Tensor, ...],
    precision: str,
    tile: int | None,
    work: Callable[..., torch.Tensor] | None = None,
) -> torch.Tensor:
    """The network's output for pictures (and masks), clamped to [0, 1], in tiles and without gradients."""
    place, device = images[0].device, next(network.parameters()).device
    dtype = best_precision(device, precision)
    work = network if work is None else work
    count, _, height, width = images[0].shape
    large = f"{width * network.factor}x{height * network.factor}"
    _check_memory(3 * count * height * width * network.factor**2 * 4, place, large)
    if device.type == "cpu":
        keep_freed_memory()

    @torch.inference_mode()
    def one(*parts: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return work(*(part.to(device) for part in parts)).float().clamp(0, 1).to(place)

    was_training = network.training
    network.eval()  # batch normalisation would look at the tile instead of what it has learned
    try:
        return in_tiles(
            one,
            images,
            reach=network.reach,
            tile=TILE * network.fold if tile is None else tile,
            fold=network.fold,
            factor=network.factor,
        )
    except (MemoryError, RuntimeError) as problem:
        if not is_out_of_memory(problem):
            raise
        raise InputError(
            f"memory ran out on the way to {large} pixels; give tile={TILE // 2} or less, or a smaller picture"
        ) from problem
    finally:
        network.train(was_training)


def _check_memory(needed: int, device: torch.device, large: str) -> None:
    if needed > (room := memory.free(device)):
        what = f"the {needed / 1e9:.1f} GB of a result of {large} pixels"
        raise InputError(memory.does_not_fit(what, "shrink the picture", room))
