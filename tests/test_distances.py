"""Distances in a judge's features against closed forms, other libraries, and
distributions whose distance is known.
"""

from __future__ import annotations

import math

import numpy
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
from helpers import picture, refused

from pltutorial.distances import (
    STYLE_KINDS,
    art_distance,
    content_distance,
    frechet_distance,
    kernel_distance,
    layer_distances,
    precision_recall,
    style_distance,
    warp_error,
)
from pltutorial.efficientnet import EfficientNetLite0
from pltutorial.metrics import lattice


@pytest.fixture(scope="module")
def judge(device) -> EfficientNetLite0:
    return EfficientNetLite0(device=device)


def draw(count: int, size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=generator, dtype=torch.float64)


# --- two pictures -----------------------------------------------------------------


def test_layers_are_compared_relative_to_the_target(network):
    """By hand, with the features of the loss network."""
    output, target = (picture(48, 40, seed, 2, network.mean.device) for seed in (0, 1))
    values = layer_distances(output, target, ["relu2_2"], network=network)
    made, right = (network(x, ["relu2_2"])["relu2_2"] for x in (output, target))
    for n in range(2):
        expected = ((made[n] - right[n]) ** 2).sum() / (right[n] ** 2).sum()
        assert float(values["relu2_2"][n]) == pytest.approx(float(expected), rel=1e-5)
    assert values.keys() == {"relu2_2"}


def test_content_is_the_mean_of_the_stages(judge, device):
    output, target = (picture(64, 48, seed, 2, device) for seed in (0, 1))
    layers = [f"stage{n}" for n in range(1, 8)]
    by_stage = layer_distances(output, target, layers, network=judge)
    expected = sum(by_stage.values()) / 7
    torch.testing.assert_close(
        content_distance(output, target, network=judge), expected
    )


@pytest.mark.parametrize(
    "distance",
    [
        content_distance,
        *(
            lambda one, other, network, kind=kind: style_distance(
                one, other, kind, network=network
            )
            for kind in STYLE_KINDS
        ),
    ],
    ids=["content", *STYLE_KINDS],
)
def test_a_distance_of_pictures_is_batched_and_has_gradients(distance, judge, device):
    output, target = (picture(64, 64, seed, 3, device) for seed in (0, 1))
    both = distance(output.requires_grad_(), target, network=judge)
    assert both.shape == (3,)
    assert both.device == output.device
    assert bool((both > 0).all())
    alone = torch.cat(
        [
            distance(one, other, network=judge)
            for one, other in zip(output.split(1), target.split(1), strict=True)
        ]
    )
    torch.testing.assert_close(both, alone, rtol=1e-3, atol=1e-5)
    both[1].backward()
    assert output.grad[1].abs().sum() > 0
    assert output.grad[0].abs().sum() == 0
    same = distance(target, target, network=judge)
    torch.testing.assert_close(same, torch.zeros_like(same), rtol=0, atol=1e-6)


# --- styles, on features that are given ---------------------------------------------


class Plain(torch.nn.Module):
    """A judge whose one layer is the picture's first two channels."""

    def forward(self, image, layers):
        return dict.fromkeys(layers, image[:, :2])


def plain(output: torch.Tensor, style: torch.Tensor, kind: str) -> torch.Tensor:
    return style_distance(output, style, kind, layers=["x"], network=Plain())


@pytest.mark.parametrize("kind", STYLE_KINDS)
def test_style_does_not_see_where_anything_is(kind):
    image = picture(16, 16)
    order = torch.randperm(256, generator=torch.Generator().manual_seed(0))
    mixed = image.flatten(2)[..., order].view(1, 3, 16, 16)
    torch.testing.assert_close(plain(mixed, image, kind), torch.zeros(1))
    assert float(plain(0.5 * image, image, kind)) > 0.05


def test_style_of_scaled_features_in_closed_form():
    """A scale s of every feature is (1 - s^2)^2 of Gram matrices and (1 - s)^2 of the
    two that are linear in it.
    """
    image = picture(16, 16)
    for kind, expected in (
        ("gram", (1 - 0.8**2) ** 2),
        ("statistics", 0.2**2),
        ("sliced", 0.2**2),
    ):
        assert float(plain(0.8 * image, image, kind)) == pytest.approx(
            expected, rel=1e-4
        )


def test_only_the_sliced_distance_sees_more_than_two_moments():
    """A two-point distribution and a Gaussian of the same mean and covariance."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (1, 3, 64, 64), generator=generator).float()
    points = 0.5 + 0.1 * (2 * signs - 1)
    bell = 0.5 + 0.1 * torch.randn(1, 3, 64, 64, generator=generator)
    assert float(plain(points, bell, "gram")) < 1e-3
    assert float(plain(points, bell, "statistics")) < 1e-3
    again = 0.5 + 0.1 * torch.randn(1, 3, 64, 64, generator=generator)
    assert float(plain(points, bell, "sliced")) > 10 * float(
        plain(again, bell, "sliced")
    )


def test_styles_of_any_size():
    image = picture(32, 32)
    large = F.interpolate(image, scale_factor=2, mode="nearest")
    for kind in STYLE_KINDS:
        assert float(plain(image, large, kind)) < 1e-4
    one = plain(picture(32, 32, count=2), large, "sliced")
    assert one.shape == (2,)


def test_sorting_some_places_is_as_good_as_sorting_all(monkeypatch):
    one, other = 0.6 * picture(96, 96), picture(96, 96, seed=1)
    whole = float(plain(one, other, "sliced"))
    monkeypatch.setattr("pltutorial.distances._PLACES", 1000)
    assert float(plain(one, other, "sliced")) == pytest.approx(whole, rel=0.15)
    assert float(plain(one, one, "sliced")) == 0


# --- two collections ---------------------------------------------------------------


def frechet_by_scipy(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """The formula as the paper's code has it, with a root of a matrix."""
    c, d = numpy.cov(one.T), numpy.cov(other.T)
    root = scipy.linalg.sqrtm(c @ d)
    shift = one.mean(0) - other.mean(0)
    return float(shift @ shift + numpy.trace(c + d - 2 * numpy.real(root)))


@pytest.mark.parametrize("counts", [(200, 150), (40, 300)])
def test_frechet_is_that_of_the_papers_code(counts):
    one = draw(counts[0], 8) @ draw(8, 8, seed=1)
    other = draw(counts[1], 8, seed=2) @ draw(8, 8, seed=3) + 0.5
    assert float(frechet_distance(one, other)) == pytest.approx(
        frechet_by_scipy(one.numpy(), other.numpy()), rel=1e-6
    )


@pytest.mark.parametrize("count", [5, 500])
def test_frechet_in_closed_form(count):
    """A shift adds its square, a scale s gives (1 - s)^2 of the trace; so for fewer
    pictures than features, where the covariance has no inverse.
    """
    one = draw(count, 12)
    trace = float(one.var(0).sum())
    mean = one.mean(0, keepdim=True)
    scaled = mean + 3 * (one - mean)
    assert float(frechet_distance(one, one)) == pytest.approx(0, abs=1e-9)
    assert float(frechet_distance(one + 2, one)) == pytest.approx(48)
    assert float(frechet_distance(scaled, one)) == pytest.approx(4 * trace)
    assert float(frechet_distance(one[:4], one)) > 0


def test_frechet_between_gaussians_by_their_parameters():
    """N(0, 1) and N(1, 4) along each of four axes: 1 + (2 - 1)^2 each."""
    one, other = draw(40_000, 4), 1 + 2 * draw(40_000, 4, seed=1)
    assert float(frechet_distance(other, one)) == pytest.approx(8, rel=0.02)


def test_kernel_distance_is_the_sum_over_pairs():
    one, other = draw(6, 5), draw(4, 5, seed=1) + 1

    def kernel(x, y):
        return float((x @ y / 5 + 1) ** 3)

    expected = (
        sum(
            kernel(x, y) for i, x in enumerate(one) for j, y in enumerate(one) if i != j
        )
        / 30
        + sum(
            kernel(x, y)
            for i, x in enumerate(other)
            for j, y in enumerate(other)
            if i != j
        )
        / 12
        - 2 * sum(kernel(x, y) for x in one for y in other) / 24
    )
    assert float(kernel_distance(one, other)) == pytest.approx(expected)


def test_kernel_distance_has_no_bias_and_frechet_has():
    """Means over small draws from one distribution."""
    kernels, frechets = [], []
    for seed in range(0, 200, 2):
        one, other = draw(12, 4, seed), draw(12, 4, seed + 1)
        kernels.append(float(kernel_distance(one, other)))
        frechets.append(float(frechet_distance(one, other)))
    error = numpy.std(kernels) / math.sqrt(len(kernels))
    assert abs(numpy.mean(kernels)) < 4 * error
    assert numpy.mean(frechets) > 0.3


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_distances_of_collections_have_gradients(distance):
    one, other = draw(6, 3).requires_grad_(), draw(9, 3, seed=1)
    assert torch.autograd.gradcheck(lambda x: distance(x, other), one)


@pytest.mark.parametrize(("shift", "share"), [(0, 20), (5.5, 17), (15.5, 7), (1000, 0)])
def test_precision_and_recall_of_shifted_sets(shift, share):
    """Points 1 apart, from 0 to 19: the ball of the last one has its third neighbour 3
    away, so that it reaches to 22; and as far the other way for recall.
    """
    line = torch.arange(20.0).view(-1, 1)
    assert precision_recall(line + shift, line) == (share / 20, share / 20)


def test_precision_and_recall_tell_missing_kinds_from_bad_samples():
    """Two clusters: samples of one of them are real, but half of what is real is
    missing; samples of both and of a third place the other way round.
    """
    near, far, elsewhere = draw(50, 2), draw(50, 2, seed=1) + 50, draw(50, 2, 2) - 50
    real = torch.cat([near, far])
    precision, recall = precision_recall(draw(50, 2, seed=3), real)
    assert precision > 0.9
    assert 0.4 < recall <= 0.5
    precision, recall = precision_recall(torch.cat([real, elsewhere]), real)
    assert precision == pytest.approx(2 / 3, abs=0.01)
    assert recall == 1.0


def test_score_after_artfid():
    one, other = draw(6, 3), draw(9, 3, seed=1)
    score = art_distance(torch.tensor([0.2, 0.4]), one, other)
    assert float(score) == pytest.approx(
        1.3 * (1 + float(frechet_distance(one, other)))
    )
    assert float(art_distance(torch.zeros(2), one, one)) == pytest.approx(1)


# --- frames --------------------------------------------------------------------------


def test_a_moving_picture_does_not_flicker_along_its_flow():
    """A scene that goes 3 pixels left and 1 down in each frame."""
    scene = picture(40, 60)
    frames = torch.cat(
        [scene[..., 10 - t : 30 - t, 3 * t : 3 * t + 30] for t in range(3)]
    )
    flow = torch.tensor([3.0, -1.0]).view(1, 2, 1, 1).expand(2, 2, 20, 30)
    assert bool((warp_error(frames) > 0.003).all())
    torch.testing.assert_close(
        warp_error(frames, flow), torch.zeros(2), rtol=0, atol=1e-6
    )
    assert bool((warp_error(frames, -flow) > 0.003).all())


def test_flicker_is_a_mean_square_over_what_is_visible():
    frames = torch.full((3, 3, 8, 8), 0.5)
    frames[1] += 0.2
    torch.testing.assert_close(warp_error(frames), torch.full((2,), 0.04))
    frames[1, ..., :4] = 0.5
    visible = torch.zeros(2, 1, 8, 8)
    visible[..., 4:] = 1
    torch.testing.assert_close(warp_error(frames), torch.full((2,), 0.02))
    torch.testing.assert_close(
        warp_error(frames, visible=visible), torch.full((2,), 0.04)
    )


# --- lattices ------------------------------------------------------------------------


@pytest.mark.parametrize("period", [2, 4])
@pytest.mark.parametrize("axis", [2, 3])
def test_a_lattice_is_found_along_either_axis(period, axis):
    image = 0.5 + 0.1 * (picture(64, 80) - 0.5)
    assert float(lattice(image)) < 5
    length = image.shape[axis]
    wave = 0.1 * torch.cos(2 * math.pi * torch.arange(length) / period)
    wave = wave.view([-1 if dim == axis else 1 for dim in range(4)])
    assert float(lattice(image + wave)) > 100
    three = 0.1 * torch.cos(2 * math.pi * torch.arange(length) / 3)
    assert float(lattice(image + three.view_as(wave))) < 5


def test_lattice_by_hand():
    """With numpy, row by row; sides that are no multiples of 4 are cut."""
    image = picture(67, 50, seed=3, count=2)
    for n in range(2):
        grey = image[n, :, :64, :48].double().mean(0).numpy()
        worst = []
        for plane in (grey, grey.T):
            power = sum(abs(numpy.fft.rfft(row - row.mean())) ** 2 for row in plane)
            side = plane.shape[1]
            for peak in (side // 4, side // 2):
                beside = [peak + d for d in (-4, -3, -2, 2, 3, 4)]
                beside = [place for place in beside if place <= side // 2]
                worst.append(power[peak] / power[beside].mean())
        assert float(lattice(image)[n]) == pytest.approx(max(worst), rel=1e-3)


def test_lattice_has_gradients(device):
    image = picture(32, 36, device=device).requires_grad_()
    lattice(image).sum().backward()
    assert bool(image.grad.isfinite().all())
    assert float(image.grad.abs().sum()) > 0


# --- what a user can do wrong --------------------------------------------------------

IMAGE = picture(32, 32)


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (("same shape",), lambda: layer_distances(IMAGE, IMAGE[..., 1:])),
        (("relu9", "relu"), lambda: layer_distances(IMAGE, IMAGE, ["relu9_9"])),
        (("grams", "gram"), lambda: style_distance(IMAGE, IMAGE, "grams")),
        (("2 styles",), lambda: style_distance(IMAGE, torch.cat([IMAGE, IMAGE]))),
        (("(3, 4)", "(3, 5)"), lambda: frechet_distance(draw(3, 4), draw(3, 5))),
        (("(1, 4)", "at least 2"), lambda: kernel_distance(draw(1, 4), draw(3, 4))),
        (("at least 4",), lambda: precision_recall(draw(3, 4), draw(9, 4))),
        (("one frame",), lambda: warp_error(IMAGE)),
        (
            ("flow", "(1, 2, 32, 32)"),
            lambda: warp_error(torch.cat([IMAGE, IMAGE]), torch.zeros(1, 2, 8, 8)),
        ),
        (("32x32",), lambda: lattice(IMAGE[..., :31])),
    ],
)
def test_refused(words, call):
    with refused(*words):
        call()
