"""Feature distance, sharpness and diversity against independent computations, and on
what they are made to tell.
"""

from __future__ import annotations

import itertools
import math
import sys

import numpy
import pytest
import torch
import torch.nn.functional as F
from helpers import picture, refused

from pltutorial import bundled, read_image
from pltutorial.degradations import to_8_bits
from pltutorial.metrics import (
    _perceptual_network,
    diversity,
    feature_distance,
    perceptual_distance,
    psnr,
    sharpness,
)


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return read_image(bundled("test/kodim23"))[..., 200:296, 300:396]


def blurred(image: torch.Tensor) -> torch.Tensor:
    kernel = torch.full((3, 1, 5, 5), 1 / 25)
    return F.conv2d(F.pad(image, (2, 2, 2, 2), mode="reflect"), kernel, groups=3)


def relu5(image: torch.Tensor) -> torch.Tensor:
    """The last layer of the AlexNet, caught on its way through the package."""
    network, caught = _perceptual_network(torch.device("cpu")), []
    hook = network.net.slice5.register_forward_hook(
        lambda _, __, output: caught.append(output.clone())
    )
    network(to_8_bits(image), to_8_bits(image))
    hook.remove()
    return caught[0]


# --- feature distance -----------------------------------------------------------------


def test_feature_distance_is_the_relative_squared_error_of_the_deepest_layer(photo):
    output = blurred(photo)
    made, wanted = relu5(output).double(), relu5(photo).double()
    expected = float(((made - wanted) ** 2).mean() / (wanted**2).mean())
    assert 0.05 < expected < 1.5
    assert feature_distance(output, photo).tolist() == pytest.approx(
        [expected], rel=1e-4
    )


def test_feature_distance_of_equal_pictures_is_zero(photo):
    assert feature_distance(photo, photo).tolist() == [0.0]
    # as a file holds them
    assert feature_distance(photo + 0.4 / 255, to_8_bits(photo)).tolist() == [0.0]


def test_feature_distance_is_relative_to_the_target(photo):
    output = blurred(photo)
    one, other = (
        float(feature_distance(output, photo)),
        float(feature_distance(photo, output)),
    )
    energy = float(relu5(photo).square().sum() / relu5(output).square().sum())
    assert energy != pytest.approx(1, abs=0.05)
    assert other == pytest.approx(one * energy, rel=1e-4)


def test_feature_distance_has_one_value_for_each_picture():
    target, output = picture(40, 48, count=3), picture(40, 48, seed=1, count=3)
    values = feature_distance(output, target)
    assert values.shape == (3,)
    assert values.dtype == torch.float32
    assert len(set(values.tolist())) == 3
    assert torch.equal(values[1:2], feature_distance(output[1:2], target[1:2]))


def test_feature_distance_sees_what_psnr_does_not(photo):
    """A pixel to the side is less to it than a blur of higher PSNR."""
    shifted = torch.cat([photo[..., 1:], photo[..., -1:]], -1)
    assert psnr(shifted, photo) < psnr(blurred(photo), photo)
    assert feature_distance(shifted, photo) < feature_distance(blurred(photo), photo)


# --- sharpness ------------------------------------------------------------------------


def test_sharpness_is_the_variance_of_the_laplacian():
    """Against sums of shifted arrays: four neighbours less four times the
    pixel, edges repeated.
    """
    image = to_8_bits(picture(24, 31, count=2))
    values = sharpness(image)
    for one, value in zip(image.double().numpy(), values.tolist(), strict=True):
        y = (16 + 65.481 * one[0] + 128.553 * one[1] + 24.966 * one[2]) / 255
        around = numpy.pad(y, 1, mode="symmetric")
        laplacian = (
            around[:-2, 1:-1]
            + around[2:, 1:-1]
            + around[1:-1, :-2]
            + around[1:-1, 2:]
            - 4 * y
        )
        assert value == pytest.approx(laplacian.var(), rel=1e-5)
    assert values.shape == (2,)
    assert values.dtype == torch.float32


def test_sharpness_falls_with_blur_and_rises_with_contrast(photo):
    softer = blurred(photo)
    assert sharpness(blurred(softer)) < sharpness(softer) < sharpness(photo)
    image = to_8_bits(picture(32, 32))
    half = to_8_bits(0.25 + image / 2)
    assert float(sharpness(half)) == pytest.approx(
        float(sharpness(image)) / 4, rel=0.05
    )


def test_a_flat_picture_has_no_sharpness():
    flat = torch.full((1, 3, 16, 16), 0.3)
    assert sharpness(flat).tolist() == pytest.approx([0.0], abs=1e-12)
    ramp = torch.linspace(0, 1, 52).mul(255).round().div(255).expand(1, 3, 8, 52)
    # the Laplacian of a plane is 0; the repeated edges remain
    assert float(sharpness(ramp)) < 1e-4


def test_sharpness_sees_brightness_alone():
    """Stripes of two colours of the same Y are flat to it, and stripes of the same
    difference in grey are not.
    """
    red, green = 0.8, 0.8 * 65.481 / 128.553
    stripes = torch.zeros(1, 3, 32, 32)
    stripes[:, 0, :, ::2] = red
    stripes[:, 1, :, 1::2] = green
    assert float(sharpness(stripes)) < 1e-4
    assert float(sharpness(stripes[:, :1].expand(-1, 3, -1, -1))) > 1


# --- diversity ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(24, 24), (40, 33)])
def test_diversity_is_the_mean_distance_over_all_pairs(size):
    images = picture(*size, count=5)
    expected = [
        float(perceptual_distance(images[i : i + 1], images[j : j + 1]))
        for i, j in itertools.combinations(range(5), 2)
    ]
    assert max(expected) > 1.2 * min(expected)
    assert diversity(images) == pytest.approx(sum(expected) / len(expected), rel=1e-4)


def test_equal_pictures_have_no_diversity():
    image = picture(32, 32)
    assert diversity(image.expand(4, -1, -1, -1)) == 0
    assert diversity(torch.cat([image, image + 0.1 / 255])) < 1e-3


def test_collapse_shows():
    """Of eight pictures that are all different, and eight of which six are the same."""
    images = picture(32, 32, count=8)
    collapsed = torch.cat([images[:2], images[2:3].expand(6, -1, -1, -1)])
    assert diversity(collapsed) < 0.7 * diversity(images)


def test_order_does_not_matter_to_diversity():
    images = picture(24, 24, count=4)
    assert diversity(images.flip(0)) == pytest.approx(diversity(images), rel=1e-5)


# --- all of them ----------------------------------------------------------------------


def test_values_outside_are_clamped(photo):
    white = (photo * 1.3).clamp(max=1.4)
    assert torch.equal(
        feature_distance(white, photo), feature_distance(white.clamp(max=1), photo)
    )
    assert torch.equal(sharpness(white), sharpness(white.clamp(max=1)))
    both = torch.cat([white, photo])
    assert diversity(both) == diversity(both.clamp(max=1))


def test_no_gradient_and_no_trace_of_half_precision():
    images = picture(32, 32, count=2).requires_grad_()
    expected = diversity(images), feature_distance(images, images.flip(0))
    assert not expected[1].requires_grad
    assert not sharpness(images).requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        assert diversity(images) == expected[0]
        assert torch.equal(feature_distance(images, images.flip(0)), expected[1])


def test_bad_input_is_one_sentence():
    image = picture(32, 32)
    with refused("the output has shape (1, 3, 32, 32) and the target (1, 3, 32, 40)"):
        feature_distance(image, picture(32, 40))
    with refused("the target holds NaN"):
        feature_distance(image, image * math.nan)
    small = picture(20, 64, count=2)
    for measure in (lambda: feature_distance(small, small), lambda: diversity(small)):
        with refused(
            "the pictures have 64x20 pixels, but the perceptual distance "
            "needs at least 21x21"
        ):
            measure()
    with refused("one picture was given to measure diversity; give at least two"):
        diversity(image)
    for measure in (sharpness, diversity):
        with refused("divide 0-255 pictures by 255"):
            measure(image * 255)


@pytest.mark.parametrize(
    ("missing", "measure"),
    [
        ("skimage", sharpness),
        ("stlpips_pytorch", diversity),
        ("stlpips_pytorch", lambda images: feature_distance(images, images)),
    ],
)
def test_missing_package_is_one_sentence(missing, measure, monkeypatch):
    images = picture(32, 32, count=2)
    for name in [
        name
        for name in sys.modules
        if name.split(".")[0] in (missing, "stlpips_pytorch")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    _perceptual_network.cache_clear()
    with refused("pip install 'pltutorial[metrics]'"):
        measure(images)
