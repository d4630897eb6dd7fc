"""How near an output is to the picture itself: two measures of accuracy, two of
likeness; and two for what has no original.

They call the libraries that define them, which are installed on their own: ``pip
install "pltutorial[metrics]"``. All of them look at the pictures as a file holds them,
rounded to 8 bits. The layers of the perceptual distance are Adobe's, whose licence is
for non-commercial use (CC BY-NC-SA 4.0): measure with it, and build no product on it.
"""

from __future__ import annotations

import functools

import numpy
import torch
import torch.nn.functional as F

from .color import LUMA_STUDIO
from .degradations import to_8_bits
from .errors import InputError, nearest, needed
from .images import check_image
from .shift_tolerant import SMALLEST, ShiftTolerant

CHANNELS = ("y", "rgb")
# of SSIM: a Gaussian of 11 pixels (Wang et al. 2004, section III-B)
_WINDOW, _SIGMA = 11, 1.5
# pixels, below which the layers of the perceptual distance have nothing left
_SMALLEST = SMALLEST["alex"]


def y_channel(image: torch.Tensor) -> torch.Tensor:
    """The brightness Y of a picture, as MATLAB's ``rgb2ycbcr`` and the benchmarks of
    super-resolution define it.

    Y = (16 + 65.481 R + 128.553 G + 24.966 B) / 255, which lies between 16/255, black,
    and 235/255, white.

    Args:
        image: (N, 3, H, W) in [0, 1].

    Returns:
        (N, 1, H, W) in [16/255, 235/255], not rounded.

    Raises:
        InputError: what is given is no image.

    Source: ITU-R recommendation BT.601.

    Example:
        >>> black, white = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
        >>> (255 * y_channel(torch.cat([black, white]))).amax((1, 2, 3))
        tensor([ 16., 235.])

    Taught in chapter 6.
    """
    check_image(image, "the picture")
    weights = torch.tensor(LUMA_STUDIO, dtype=image.dtype, device=image.device).view(
        1, 3, 1, 1
    )
    return ((image * weights).sum(1, keepdim=True) + 16) / 255


def psnr(
    output: torch.Tensor, target: torch.Tensor, *, border: int = 0, channel: str = "y"
) -> torch.Tensor:
    """Peak signal-to-noise ratio in decibel: 10 log10(1 / mean squared error); 3 dB
    more is half the squared error.

    The benchmarks of super-resolution take it of Y, without ``factor`` pixels at each
    border; for noise on colour pictures it is usual to take it of RGB, all pixels and
    channels in one mean. By scikit-image.

    Args:
        output: (N, 3, H, W) in [0, 1]; values outside are clamped, all are
            rounded to 8 bits.
        target: the picture itself, of the same shape.
        border: so many pixels at each border are left out.
        channel: ``"y"`` (:func:`y_channel`) or ``"rgb"``.

    Returns:
        (N,), float32, on the CPU; infinite for equal pictures.

    Raises:
        InputError: different shapes, no images, an unknown channel, a border that
            leaves nothing, or scikit-image is not installed.

    Example:
        >>> black = torch.zeros(1, 3, 16, 16)
        >>> psnr(black + 0.2, black, channel="rgb")  # 10 log10(1 / 0.2**2)
        tensor([13.9794])
        >>> psnr(black, black)
        tensor([inf])

    Taught in chapter 6.
    """
    measure = _skimage().peak_signal_noise_ratio
    values = []
    for one, other in _pairs(output, target, border, channel):
        with numpy.errstate(divide="ignore"):  # equal pictures
            values.append(measure(other, one, data_range=1.0))
    return torch.tensor(values, dtype=torch.float32)


def ssim(
    output: torch.Tensor, target: torch.Tensor, *, border: int = 0, channel: str = "y"
) -> torch.Tensor:
    """Structural similarity: agreement of local mean, contrast and pattern under a
    Gaussian window; 1 for equal pictures.

    Window of 11 pixels and sigma 1.5, constants 0.01 and 0.03, as in the paper; by
    scikit-image. For ``"rgb"`` it is the mean of the three channels.

    Args:
        output: (N, 3, H, W) in [0, 1]; values outside are clamped, all are
            rounded to 8 bits.
        target: the picture itself, of the same shape; at least 11 pixels along each
            side without the border.
        border: so many pixels at each border are left out.
        channel: ``"y"`` (:func:`y_channel`) or ``"rgb"``.

    Returns:
        (N,), float32, on the CPU, at most 1.

    Raises:
        InputError: as for :func:`psnr`, and pictures smaller than the window.

    Source: Wang et al. (2004), Image quality assessment: from error visibility to
    structural similarity.

    Example:
        >>> stripes = torch.zeros(1, 3, 16, 16)
        >>> stripes[..., ::2] = 1
        >>> ssim(stripes, stripes)
        tensor([1.])
        >>> bool(ssim(1 - stripes, stripes) < 0)  # white for black
        True

    Taught in chapter 6.
    """
    measure = _skimage().structural_similarity
    values = []
    for one, other in _pairs(output, target, border, channel, _WINDOW):
        value = measure(
            other,
            one,
            data_range=1.0,
            gaussian_weights=True,
            sigma=_SIGMA,
            use_sample_covariance=False,
            channel_axis=-1,
        )
        values.append(value)
    return torch.tensor(values, dtype=torch.float32)


def perceptual_distance(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """How unlike two pictures look: the shift-tolerant LPIPS, learned from what people
    answered; 0 for equal pictures.

    Features of an AlexNet, of which no loss here has ever made use, are compared layer
    by layer with weights fitted to people's judgements. It is made to be measured
    with, so it has no gradients. Its numbers are those of ``stlpips_pytorch``, whose
    package brings the weights, in float32.

    Args:
        output: (N, 3, H, W) in [0, 1], at least 21 pixels along each side;
            values outside are clamped, all are rounded to 8 bits. On a GPU it
            is computed there.
        target: the picture itself, of the same shape.

    Returns:
        (N,), float32, on the CPU, at least 0.

    Raises:
        InputError: different shapes, no images, pictures too small, or the
            package is not installed.

    Source: Ghildyal and Liu (2022), Shift-tolerant perceptual similarity metric, after
    Zhang et al. (2018).

    Example:
        >>> picture = torch.rand(1, 3, 32, 32)
        >>> float(perceptual_distance(picture, picture))
        0.0
        >>> bool(perceptual_distance(1 - picture, picture) > 0)
        True

    Taught in chapter 6.
    """
    check_pair(output, target)
    _check_size(output)
    network = _perceptual_network(output.device)
    values = []
    with torch.no_grad(), torch.autocast(output.device.type, enabled=False):
        for one, other in zip(
            output.split(1), target.to(output.device).split(1), strict=True
        ):
            one, other = to_8_bits(one.float()), to_8_bits(other.float())
            values.append(float(network(one, other)))
    return torch.tensor(values, dtype=torch.float32)


def feature_distance(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """How unlike two pictures are in another network's features: their squared
    difference over the target's square.

    Of the deepest layer, relu5, of the AlexNet of :func:`perceptual_distance`, without
    its weights from people's answers: 0 for equal pictures, 1 where nothing is left of
    what the target has there, more where something else stands in its place. The
    paper's networks invert AlexNet and are judged by it; ours are judged by a network
    that no training here has seen.

    Args:
        output: (N, 3, H, W) in [0, 1], at least 21 pixels along each side;
            values outside are clamped, all are rounded to 8 bits. On a GPU it
            is computed there.
        target: the picture itself, of the same shape.

    Returns:
        (N,), float32, on the CPU, at least 0.

    Raises:
        InputError: as for :func:`perceptual_distance`.

    Source: Dosovitskiy and Brox (2016), Generating Images with Perceptual Similarity
    Metrics, section 4, where distances of features are divided by the mean one of
    two pictures instead.

    Example:
        >>> picture = read_image(bundled("content/pagoda"), 64)
        >>> feature_distance(picture, picture)
        tensor([0.])
        >>> bool(feature_distance(torch.rand_like(picture), picture) > 0.5)
        True

    Taught in chapter 8.
    """
    check_pair(output, target)
    _check_size(output)
    values = []
    pairs = zip(output.split(1), target.to(output.device).split(1), strict=True)
    for one, other in pairs:
        made, right = _alexnet(one)[-1], _alexnet(other)[-1]
        error = (made - right).square().sum() / right.square().sum().clamp_min(1e-12)
        values.append(float(error))
    return torch.tensor(values, dtype=torch.float32)


def sharpness(image: torch.Tensor) -> torch.Tensor:
    """How sharp pictures are: the variance of the Laplacian of their brightness Y;
    low for blurred ones.

    It needs no original, and it takes noise for sharpness: read it beside the same
    number of real pictures. The Laplacian is the sum of the four neighbours less four
    times the pixel. By scikit-image.

    Args:
        image: (N, 3, H, W) in [0, 1]; values outside are clamped, all are
            rounded to 8 bits.

    Returns:
        (N,), float32, on the CPU, at least 0; Y is from 16/255 to 235/255,
        as for :func:`psnr`.

    Raises:
        InputError: no images, or scikit-image is not installed.

    Source: Pech-Pacheco et al. (2000), Diatom autofocusing in brightfield microscopy.

    Example:
        >>> flat, noise = torch.full((1, 3, 16, 16), 0.5), torch.rand(1, 3, 16, 16)
        >>> sharpness(torch.cat([flat, noise])) > 0
        tensor([False,  True])

    Taught in chapter 9.
    """
    check_image(image, "the picture", slack=0.5)
    laplace = _skimage("filters").laplace
    planes = y_channel(to_8_bits(image.detach().cpu().double()))[:, 0].numpy()
    return torch.tensor(
        [laplace(plane, ksize=3).var() for plane in planes], dtype=torch.float32
    )


def lattice(image: torch.Tensor) -> torch.Tensor:
    """How strong a pattern of period 4 or 2 pixels stands out: about 1 for photographs,
    tens for the dots that a network without noise pays features with.

    The mean power of the rows, and of the columns, of the brightness at 1/4 and at 1/2
    cycle a pixel, each over that of the bins 2 to 4 away; the worst of the four. It
    knows nothing of other periods, nor of what the pattern lies on.

    Args:
        image: (N, 3, H, W) in [0, 1], at least 32 pixels along each side; what is over
            a multiple of 4 is left out.

    Returns:
        (N,), on the image's device; gradients flow to the image.

    Raises:
        InputError: no images, or smaller ones.

    Example:
        >>> picture = 0.1 * torch.rand(1, 3, 64, 64)
        >>> lines = torch.tensor([0.1, 0.0, 0.0, 0.0]).repeat(16)
        >>> bool(lattice(picture) < 3), bool(lattice(picture + lines) > 30)
        (True, True)

    Taught in chapter 6.
    """
    check_image(image, "the picture", slack=0.5, smallest=32)
    height, width = (length // 4 * 4 for length in image.shape[-2:])
    grey = image[..., :height, :width].float().mean(1)
    worst = []
    for dim, length in ((1, height), (2, width)):
        waves = torch.fft.rfft(grey - grey.mean(dim, keepdim=True), dim=dim)
        power = (waves.real.square() + waves.imag.square()).mean(3 - dim)
        for peak in (length // 4, length // 2):
            around = [peak + step * side for step in (2, 3, 4) for side in (-1, 1)]
            around = [place for place in around if place <= length // 2]
            beside = power[:, around].mean(1).clamp_min(1e-12)
            worst.append(power[:, peak] / beside)
    return torch.stack(worst).amax(0)


def diversity(images: torch.Tensor) -> float:
    """How unlike pictures are among themselves: the mean :func:`perceptual_distance`
    over all pairs of two.

    A generator whose samples are all alike (mode collapse) has a lower one than
    real pictures have.

    Args:
        images: (N, 3, H, W) in [0, 1], at least two, at least 21 pixels along each
            side; values outside are clamped, all are rounded to 8 bits. On a GPU it
            is computed there.

    Returns:
        the mean, at least 0. Each picture runs through the network once, whatever
        the number of pairs.

    Raises:
        InputError: fewer pictures than two, and as for :func:`perceptual_distance`.

    Source: Zhu et al. (2017), Toward multimodal image-to-image translation, who take
    LPIPS of random pairs.

    Example:
        >>> one = torch.rand(1, 3, 32, 32)
        >>> diversity(one.expand(3, 3, 32, 32)) < 1e-5  # all alike
        True
        >>> diversity(torch.rand(3, 3, 32, 32)) > 0.01
        True

    Taught in chapter 9.
    """
    check_image(images, "the pictures", slack=0.5)
    if len(images) < 2:
        raise InputError(
            "one picture was given to measure diversity; give at least two"
        )
    _check_size(images)
    weights = _perceptual_network(images.device).heads()
    layers = zip(*(_alexnet(image) for image in images.split(1)), strict=True)
    total = 0.0
    for features, weight in zip(layers, weights, strict=True):
        features = torch.cat(features)
        places = features.shape[-2] * features.shape[-1]
        # The layer's part of a distance is a squared Euclidean one, of unit vectors
        # weighted by the roots.
        unit = features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)
        total += (
            float(F.pdist((unit * weight.sqrt()).flatten(1)).square().mean()) / places
        )
    return total


def _alexnet(image: torch.Tensor) -> list[torch.Tensor]:
    """The five layers of the perceptual distance for pictures as a file
    holds them, in float32.
    """
    network = _perceptual_network(image.device)
    with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
        return network.features(to_8_bits(image.float()))


def _pairs(
    output: torch.Tensor,
    target: torch.Tensor,
    border: int,
    channel: str,
    smallest: int = 1,
) -> list:
    """Both pictures of each pair as an array (H, W, 1 or 3) in float64, rounded to 8
    bits, without the border.
    """
    if channel not in CHANNELS:
        raise InputError(
            f"there is no channel {channel!r}; {nearest(str(channel), CHANNELS)}"
        )
    check_pair(output, target)
    height, width = output.shape[-2:]
    if not (
        isinstance(border, int)
        and border >= 0
        and min(height, width) - 2 * border >= smallest
    ):
        raise InputError(
            f"a border of {border!r} was given for {width}x{height} pixels; give 0 or "
            f"more pixels that leave at least {smallest}x{smallest}"
        )
    arrays = []
    for image in (output, target):
        image = to_8_bits(image.detach().cpu().double())
        image = image[..., border : height - border, border : width - border]
        arrays.append(
            (y_channel(image) if channel == "y" else image).permute(0, 2, 3, 1).numpy()
        )
    return list(zip(*arrays, strict=True))


def check_pair(output: torch.Tensor, target: torch.Tensor) -> None:
    """Refuse what is no image, and two of different shapes."""
    check_image(output, "the output", slack=0.5)
    check_image(target, "the target", slack=0.5)
    if output.shape != target.shape:
        raise InputError(
            f"the output has shape {tuple(output.shape)} and the target "
            f"{tuple(target.shape)}; give two of the same shape"
        )


def _check_size(image: torch.Tensor) -> None:
    height, width = image.shape[-2:]
    if min(height, width) < _SMALLEST:
        raise InputError(
            f"the pictures have {width}x{height} pixels, but the perceptual distance "
            f"needs at least {_SMALLEST}x{_SMALLEST}; give larger ones"
        )


def _skimage(part: str = "metrics"):
    return needed(
        f"skimage.{part}", "PSNR, SSIM and sharpness", "metrics", "scikit-image"
    )


@functools.lru_cache(maxsize=2)
def _perceptual_network(device: torch.device) -> ShiftTolerant:
    """The network of the distance, frozen, kept from call to call."""
    return ShiftTolerant("alex").to(device)
