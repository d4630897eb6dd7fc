"""LPIPS and DISTS: what holds of both, and the shift-tolerant LPIPS of a package that
brings its trunk; test_peers.py compares with the packages.
"""

from __future__ import annotations

import copy
import importlib.util
import pickle
import sys
import warnings

import pytest
import torch
from helpers import picture, refused, relative

from pltutorial import calibrated, perceptual_distance
from pltutorial.calibrated import DISTS, LPIPS
from pltutorial.shift_tolerant import ShiftTolerant

FOLDER_OF = calibrated._package


@pytest.fixture(params=["LPIPS", "shift-tolerant LPIPS", "DISTS"])
def distance(request, trunk):
    if request.param == "LPIPS":
        return LPIPS("alex")
    if request.param == "DISTS":
        return DISTS()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LPIPS("alex", shift_tolerant=True)


class TestAll:
    def test_a_batch_is_its_pictures_with_gradients_to_both(self, distance):
        output, target = (picture(40, 48, seed, 2).requires_grad_() for seed in (1, 2))
        values = distance(output, target, reduction="none")
        assert values.shape == (2,)
        assert (values > 0).all()
        alone = [distance(output[i : i + 1], target[i : i + 1]) for i in range(2)]
        assert relative(torch.stack(alone), values) < 1e-5
        assert relative(distance(output, target), values.mean()) < 1e-6
        assert relative(distance(output, target, reduction="sum"), values.sum()) < 1e-6
        values.sum().backward()
        for image in (output, target):
            assert image.grad.isfinite().all()
            assert image.grad.abs().sum() > 0

    def test_equal_and_black_pictures_have_finite_gradients(self, distance):
        for image in (picture(40, 40), torch.zeros(1, 3, 40, 40)):
            output = image.clone().requires_grad_()
            value = distance(output, image)
            assert abs(float(value.detach())) < 1e-5
            value.backward()
            assert output.grad.isfinite().all()

    def test_an_owner_does_not_see_it(self, distance):
        assert list(distance.parameters()) == []
        assert list(distance.buffers()) == []
        assert distance.state_dict() == {}
        expected = distance(picture(40, 40), picture(40, 40, 1))
        for other in (copy.deepcopy(distance), pickle.loads(pickle.dumps(distance))):
            assert torch.equal(other(picture(40, 40), picture(40, 40, 1)), expected)
        distance.double()
        value = distance(picture(40, 40).double(), picture(40, 40, 1).double())
        assert value.dtype == torch.float64
        assert relative(value, expected) < 1e-4

    def test_it_compiles_as_one_graph_and_in_half_precision(self, distance):
        pair = picture(40, 40), picture(40, 40, 1)
        torch._dynamo.reset()
        compiled = torch.compile(distance, fullgraph=True, backend="eager")
        expected = distance(*pair)
        assert relative(compiled(*pair), expected) < 1e-5
        for dtype, most in ((torch.bfloat16, 0.1), (torch.float16, 0.02)):
            with torch.autocast("cpu", dtype=dtype):
                value = distance(*pair)
            assert value.dtype == torch.float32
            assert relative(value, expected) < most

    def test_what_is_no_pair_is_refused(self, distance):
        image = picture(40, 40)
        with refused("(1, 3, 40, 40)", "same shape"):
            distance(image, picture(40, 48))
        with refused("255"):
            distance(255 * image, image)
        with refused("'maen'", "'mean'"):
            distance(image, image, reduction="maen")
        with refused("pixels"):
            distance(image[..., :10], image[..., :10])


def test_the_map_has_the_value_as_its_mean(trunk):
    lpips = LPIPS("alex")
    pair = picture(64, 64, 1, 2), picture(64, 64, 2, 2)
    places = lpips(*pair, reduction="map")
    assert places.shape == (2, 1, 64, 64)
    values = lpips(*pair, reduction="none")
    assert torch.allclose(places.mean((1, 2, 3)), values, rtol=0.05)
    with refused("DISTS has no map"):
        DISTS()(*pair, reduction="map")


def test_shift_tolerant_is_the_perceptual_distance_and_says_its_licence_each_time():
    for _ in range(2):
        with pytest.warns(UserWarning, match="CC BY-NC-SA 4.0") as said:
            ours = LPIPS("alex", shift_tolerant=True)
        assert [warning.filename for warning in said] == [__file__]
    one, other = ((255 * picture(48, 40, seed, 2)).round() / 255 for seed in (1, 2))
    theirs = perceptual_distance(one, other)
    assert (ours(one, other, reduction="none") - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_shift_tolerant_has_the_layers_of_the_package(net):
    stlpips = pytest.importorskip("stlpips_pytorch.stlpips")
    ours = ShiftTolerant(net)
    with torch.random.fork_rng():
        theirs = stlpips.LPIPS(net=net, variant="shift_tolerant", verbose=False)
    theirs.requires_grad_(False)
    one, other = picture(40, 53, 1, 2), picture(40, 53, 2, 2)
    layers = theirs.net(theirs.scaling_layer(2 * one - 1))
    for made, right in zip(ours.features(one), layers, strict=True):
        torch.testing.assert_close(made, right)
    torch.testing.assert_close(ours(one, other), theirs(one, other, normalize=True))


def test_loading_touches_nothing_global(trunk, monkeypatch):
    """Neither random numbers nor the filters of warnings, not even for a moment: of
    what borrows them other threads would see something.
    """

    def borrowed(*_, **__):
        raise AssertionError("a global was borrowed")

    monkeypatch.setattr(warnings.catch_warnings, "__enter__", borrowed)
    monkeypatch.setattr(torch.random, "set_rng_state", borrowed)
    monkeypatch.setattr(torch, "set_rng_state", borrowed)
    drawn, filters = torch.get_rng_state(), list(warnings.filters)
    for make in (LPIPS, DISTS, lambda: ShiftTolerant("alex")):
        make()
    assert torch.equal(torch.get_rng_state(), drawn)
    assert warnings.filters == filters


def test_what_is_missing_is_one_sentence(trunk, monkeypatch, tmp_path):
    with refused("'alexnet'", "the nearest is 'alex'"):
        LPIPS("alexnet")
    with refused("'squeeze'", "known are alex, vgg"):
        LPIPS("squeeze", shift_tolerant=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with refused("vgg16-397923af.pth", "https://download.pytorch.org"):
        DISTS()


@pytest.mark.parametrize(
    ("make", "package"), [(LPIPS, "lpips"), (DISTS, "DISTS-pytorch")]
)
def test_a_package_that_is_missing(make, package, monkeypatch):
    monkeypatch.setattr(calibrated, "_package", FOLDER_OF)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    with refused(package, "pip install 'pltutorial[metrics]'"):
        make()
