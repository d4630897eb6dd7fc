"""PSNR, SSIM and the perceptual distance against closed forms, independent computations
and published numbers.
"""

from __future__ import annotations

import math
import random
import sys
import warnings

import numpy
import pytest
import torch
import torch.nn.functional as F
from helpers import picture, refused

from pltutorial import InputError, bundled, read_image
from pltutorial.degradations import crop_to_multiple, downscale, to_8_bits
from pltutorial.metrics import perceptual_distance, psnr, ssim, y_channel


def enlarged(target: torch.Tensor, factor: int) -> torch.Tensor:
    return F.interpolate(
        downscale(target, factor),
        scale_factor=factor,
        mode="bicubic",
        align_corners=False,
    ).clamp(0, 1)


@pytest.fixture(scope="module")
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """A part of a photograph, and the same made small and enlarged."""
    target = crop_to_multiple(
        read_image(bundled("test/monarch"))[..., 100:300, 200:420], 4
    )
    return enlarged(target, 4), target


# --- Y --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("colour", "expected"),
    [  # rgb2ycbcr(uint8) of MATLAB for its pure colours
        ((0, 0, 0), 16),
        ((1, 1, 1), 235),
        ((1, 0, 0), 81),
        ((0, 1, 0), 145),
        ((0, 0, 1), 41),
        ((1, 1, 0), 210),
        ((0, 1, 1), 170),
        ((1, 0, 1), 106),
    ],
)
def test_y_is_what_matlab_has(colour, expected):
    image = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1)
    y = y_channel(image)
    assert y.shape == (1, 1, 1, 1)
    assert round(float(y) * 255) == expected


def test_y_is_that_of_scikit_image():
    from skimage.color import rgb2ycbcr

    image = picture(9, 7, seed=3, count=2)
    expected = rgb2ycbcr(image.permute(0, 2, 3, 1).double().numpy())[..., 0]
    assert numpy.abs(y_channel(image)[:, 0].numpy() * 255 - expected).max() < 1e-3


# --- PSNR and SSIM --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "decibel"),
    [(1, 20 * math.log10(255)), (5, 20 * math.log10(51)), (51, 20 * math.log10(5))],
)
def test_psnr_of_a_constant_difference(step, decibel):
    """In RGB n levels are 20 log10(255 / n) dB; Y shrinks a difference
    of greys by 219/255.
    """
    target = torch.full((1, 3, 16, 16), 100 / 255)
    output = target + step / 255
    assert float(psnr(output, target, channel="rgb")) == pytest.approx(
        decibel, abs=1e-3
    )
    assert float(psnr(output, target)) == pytest.approx(
        decibel + 20 * math.log10(255 / 219), abs=1e-3
    )


def test_psnr_is_one_mean_over_channels_and_pixels():
    target = torch.zeros(1, 3, 4, 4)
    output = target.clone()
    output[0, 1, 2, 3] = 1
    assert float(psnr(output, target, channel="rgb")) == pytest.approx(
        10 * math.log10(48), abs=1e-4
    )


def test_each_picture_has_its_own_value():
    target = picture(40, 40, count=2)
    output = to_8_bits(target).clone()
    output[1] = (output[1] + 10 / 255).clamp(0, 1)
    for measure in (psnr, ssim, perceptual_distance):
        both = measure(output, target)
        assert both.shape == (2,)
        assert both.dtype == torch.float32
        assert both[0] != both[1]
        assert torch.equal(both[1:], measure(output[1:], target[1:]))


def test_equal_pictures():
    image = picture(32, 24)
    assert psnr(image, image).tolist() == [math.inf]
    assert psnr(image, image, channel="rgb").tolist() == [math.inf]
    assert ssim(image, image).tolist() == [1.0]
    assert perceptual_distance(image, image).tolist() == [0.0]


def test_values_are_those_of_a_file():
    """What rounding to 8 bits takes away does not count, nor what
    lies outside [0, 1].
    """
    target = to_8_bits(picture(32, 32))
    assert psnr(target + 0.4 / 255, target).tolist() == [math.inf]
    assert psnr(target + 0.6 / 255, target).isfinite().all()
    white = torch.ones(1, 3, 32, 32)
    assert psnr(white + 0.2, white).tolist() == [math.inf]
    assert perceptual_distance(target + 0.4 / 255, target).tolist() == [0.0]


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_border_is_left_out(measure):
    target = picture(40, 48)
    output = (target + 0.1 * picture(40, 48, seed=1)).clamp(0, 1)
    inside = measure(output[..., 4:-4, 4:-4], target[..., 4:-4, 4:-4])
    assert torch.equal(measure(output, target, border=4), inside)
    output[..., :4, :] = 0
    output[..., -4:] = 1
    assert torch.equal(measure(output, target, border=4), inside)
    assert measure(output, target) < inside


def luma(image: torch.Tensor) -> numpy.ndarray:
    """Y of an 8-bit picture on the 0-255 scale, by whole numbers and numpy alone."""
    array = (image[0].double() * 255).round().clamp(0, 255).permute(1, 2, 0).numpy()
    return 16 + array @ numpy.array([65.481, 128.553, 24.966]) / 255


def test_psnr_by_hand(pair):
    one, other = (luma(image)[4:-4, 4:-4] for image in pair)
    expected = 10 * math.log10(255**2 / ((one - other) ** 2).mean())
    assert float(psnr(*pair, border=4)) == pytest.approx(expected, abs=1e-4)


def test_ssim_by_hand(pair):
    """The window is an 11x11 Gaussian of sigma 1.5, only where it fits, with variances
    divided by n (Wang et al.).
    """
    one, other = (luma(image)[4:-4, 4:-4] for image in pair)
    window = numpy.exp(-(numpy.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = numpy.outer(window, window) / window.sum() ** 2

    def mean(array):
        return (
            numpy.lib.stride_tricks.sliding_window_view(array, (11, 11)) * window
        ).sum((2, 3))

    a, b = mean(one), mean(other)
    variances, product = (
        mean(one**2) - a**2 + mean(other**2) - b**2,
        mean(one * other) - a * b,
    )
    low, high = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (
        (2 * a * b + low)
        * (2 * product + high)
        / ((a**2 + b**2 + low) * (variances + high))
    ).mean()
    assert float(ssim(*pair, border=4)) == pytest.approx(expected, abs=1e-5)
    assert float(ssim(*pair, channel="rgb")) != pytest.approx(expected, abs=1e-3)


def test_order_does_not_matter(pair):
    output, target = pair
    for measure in (psnr, ssim, perceptual_distance):
        assert float(measure(output, target)) == pytest.approx(
            float(measure(target, output)), abs=1e-5
        )


def test_more_is_lost_at_eight_than_at_four(pair):
    output, target = pair
    target = crop_to_multiple(target, 8)
    output, worse = (
        output[..., : target.shape[-2], : target.shape[-1]],
        enlarged(target, 8),
    )
    assert psnr(worse, target) < psnr(output, target) - 1
    assert ssim(worse, target) < ssim(output, target)
    assert perceptual_distance(worse, target) > perceptual_distance(output, target)


def test_published_bicubic_number():
    """Dong et al. (2014), table of Set14 at factor 3: 29.43 dB for bicubic
    interpolation of this picture.

    MATLAB's kernel, a = -0.5, is PyTorch's with antialias; without, when
    enlarging, it has a = -0.75.
    """
    target = crop_to_multiple(read_image(bundled("test/monarch")), 3)
    height, width = target.shape[-2:]
    small = to_8_bits(
        F.interpolate(target, (height // 3, width // 3), mode="bicubic", antialias=True)
    )
    large = F.interpolate(small, (height, width), mode="bicubic", antialias=True)
    assert float(psnr(large.clamp(0, 1), target, border=3)) == pytest.approx(
        29.43, abs=0.01
    )
    sharper = F.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)
    assert float(psnr(sharper, target, border=3)) > 29.6


# --- the perceptual distance ----------------------------------------------------------


def test_distance_is_that_of_the_package(pair):
    from stlpips_pytorch import stlpips

    with torch.random.fork_rng():
        theirs = stlpips.LPIPS(net="alex", variant="shift_tolerant", verbose=False)
    output, target = (to_8_bits(image) for image in pair)
    with torch.no_grad():
        expected = float(theirs(2 * output - 1, 2 * target - 1))
    assert expected > 0.05
    assert float(perceptual_distance(*pair)) == pytest.approx(expected, rel=1e-5)


def test_distance_forgives_a_shift_and_psnr_does_not():
    """What the measure is named after: a pixel to the side costs less than a blur
    that PSNR prefers.
    """
    photo = read_image(bundled("test/kodim23"))[..., 200:329, 300:429]
    target, shifted = photo[..., :-1], photo[..., 1:]
    blurred = F.interpolate(
        F.interpolate(target, scale_factor=0.5, mode="bicubic", antialias=True),
        target.shape[-2:],
    ).clamp(0, 1)
    assert perceptual_distance(shifted, target) < perceptual_distance(blurred, target)
    assert psnr(shifted, target) < psnr(blurred, target)


def test_distance_is_frozen_and_has_no_gradient():
    from pltutorial.metrics import _perceptual_network

    output = picture(32, 32).requires_grad_()
    assert not perceptual_distance(output, picture(32, 32, seed=1)).requires_grad
    network = _perceptual_network(torch.device("cpu"))
    assert not network.training
    assert not [
        name for name, weight in network.named_parameters() if weight.requires_grad
    ]
    assert min(float(weight.min()) for weight in network.heads()) >= 0
    assert _perceptual_network(torch.device("cpu")) is network


def test_distance_leaves_no_trace(capsys, monkeypatch):
    """No word printed, no network asked, random numbers, warnings and settings of
    PyTorch as before.
    """
    import socket

    from pltutorial.metrics import _perceptual_network

    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)

    def state():
        cudnn = torch.backends.cudnn
        numbers = numpy.random.get_state()[1].tolist()  # noqa: NPY002
        draws = torch.get_rng_state().tolist(), numbers, random.getstate()
        kept = (
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
        )
        return draws, kept, cudnn.benchmark, cudnn.deterministic, list(warnings.filters)

    before = state()
    _perceptual_network.cache_clear()
    perceptual_distance(picture(32, 32), picture(32, 32, seed=1))
    assert state() == before
    assert capsys.readouterr() == ("", "")


def test_distance_in_half_precision_around_it():
    output, target = picture(32, 32), picture(32, 32, seed=1)
    expected = perceptual_distance(output, target)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(perceptual_distance(output, target), expected)


def test_smallest_picture_of_the_distance():
    assert perceptual_distance(picture(21, 64), picture(21, 64, seed=1)) > 0
    with refused(
        "the pictures have 64x20 pixels, but the perceptual distance "
        "needs at least 21x21"
    ):
        perceptual_distance(picture(20, 64), picture(20, 64, seed=1))


# --- bad input ------------------------------------------------------------------------


@pytest.mark.parametrize("measure", [psnr, ssim, perceptual_distance])
def test_wrong_shapes_are_refused(measure):
    image = picture(32, 32)
    with refused("the output has shape (1, 3, 32, 32) and the target (1, 3, 32, 40)"):
        measure(image, picture(32, 40))
    with refused("the output has shape (1, 3, 32, 32) and the target (2, 3, 32, 32)"):
        measure(image, picture(32, 32, count=2))
    with refused("add the batch dimension"):
        measure(image[0], image[0])
    with refused("divide 0-255 pictures by 255"):
        measure(image * 255, image)
    with refused("the target holds NaN"):
        measure(image, image * math.nan)


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_bad_options_are_refused(measure):
    image = picture(32, 32)
    with refused("there is no channel 'RGBA'; the nearest is 'rgb'"):
        measure(image, image, channel="RGBA")
    for border in (-1, 16, 2.5):
        with refused(f"a border of {border!r} was given for 32x32 pixels"):
            measure(image, image, border=border)


def test_ssim_needs_its_window():
    image = picture(13, 30)
    assert ssim(image, image, border=1).tolist() == [1.0]
    with refused("leave at least 11x11"):
        ssim(image, image, border=2)


def test_psnr_of_a_strip():
    strip = picture(1, 50)
    assert psnr(strip, 1 - strip).isfinite().all()


@pytest.mark.parametrize(
    ("missing", "measure"),
    [
        ("skimage", psnr),
        ("skimage", ssim),
        ("stlpips_pytorch", perceptual_distance),
    ],
)
def test_missing_package_is_one_sentence(missing, measure, monkeypatch):
    from pltutorial.metrics import _perceptual_network

    image = picture(32, 32)
    for name in [
        name
        for name in sys.modules
        if name.split(".")[0] in (missing, "stlpips_pytorch")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    _perceptual_network.cache_clear()
    with refused("pip install 'pltutorial[metrics]'"):
        measure(image, image)
    assert y_channel(image).shape == (1, 1, 32, 32)


def test_the_distance_reads_a_file_and_imports_no_package(pair, monkeypatch):
    """stlpips_pytorch imports torchsummary and IPython, and asks for neither."""
    from pltutorial.metrics import _perceptual_network

    expected = perceptual_distance(*pair)
    for name in [n for n in sys.modules if n.split(".")[0] == "stlpips_pytorch"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("torchsummary", "IPython"):
        monkeypatch.setitem(sys.modules, name, None)
    _perceptual_network.cache_clear()
    assert torch.equal(perceptual_distance(*pair), expected)
    assert "stlpips_pytorch" not in sys.modules


def test_y_asks_for_an_image():
    with pytest.raises(InputError, match="3, H, W"):
        y_channel(torch.rand(1, 1, 4, 4))
