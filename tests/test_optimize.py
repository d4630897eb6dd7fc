"""Optimisation of images: what is found, what is returned, and how it stops."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
import torch
from helpers import picture, refused, relative

from pltutorial import (
    OptimizeSettings,
    PerceptualLoss,
    TransferSettings,
    bundled,
    color,
    gram_matrix,
    memory,
    optimize,
    optimize_image,
    read_image,
    reconstruct_features,
    reconstruct_style,
    resize,
    transfer_style,
)
from pltutorial.losses import LossTerms

QUICK = {"steps": 6, "sizes": (32,), "progress": False}
LAYERS = {"content_layers": ("relu2_1",), "style_layers": ("relu1_1", "relu2_1")}


def quadratic(goal: float = 0.3):
    return lambda image: LossTerms(a=(image - goal).square().sum(), b=0 * image.sum())


@pytest.fixture(scope="module")
def content(device):
    return picture(32, 40, 1, device=device)


@pytest.fixture(scope="module")
def style(device):
    return picture(40, 32, 2, device=device)


class TestOptimizeImage:
    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_it_finds_the_minimum(self, device, optimizer):
        start = picture(6, 5, device=device)
        result = optimize_image(
            quadratic(), start, steps=60, optimizer=optimizer, progress=False
        )
        assert (result.image - 0.3).abs().max() < 0.05
        assert result.totals[-1] < 0.01 * result.totals[0]
        # what was given is not changed
        assert torch.equal(start, picture(6, 5, device=device))

    def test_history(self):
        result = optimize_image(quadratic(), picture(6, 5), steps=5, progress=False)
        assert [record.step for record in result.history] == [1, 2, 3, 4, 5]
        assert result.stopped == "done"
        assert result.totals == [record.total for record in result.history]
        seconds = [record.seconds for record in result.history]
        assert seconds == sorted(seconds)
        assert result.seconds >= seconds[-1]
        first = result.history[0]
        assert first.terms == {"a": first.total, "b": 0.0}
        assert first.total == pytest.approx(
            float((picture(6, 5) - 0.3).square().sum()), rel=1e-6
        )
        assert first.image is None

    def test_the_result_is_the_best_picture_and_not_the_last(self):
        start = torch.full((1, 3, 4, 4), 0.31)
        result = optimize_image(
            quadratic(),
            start,
            steps=3,
            optimizer="adam",
            learning_rate=0.5,
            progress=False,
        )
        assert result.totals[1] > result.totals[0]  # it overshoots
        assert torch.equal(result.image, start)

    def test_the_last_step_counts_too(self):
        result = optimize_image(
            quadratic(),
            torch.full((1, 3, 4, 4), 0.9),
            steps=1,
            optimizer="adam",
            progress=False,
        )
        assert float(quadratic()(result.image).total) < result.totals[0]

    def test_pixels_stay_in_range(self):
        for goal, edge in ((3.0, 1.0), (-3.0, 0.0)):
            result = optimize_image(
                quadratic(goal), picture(4, 4), steps=40, progress=False
            )
            assert result.image.min() >= 0
            assert result.image.max() <= 1
            assert (result.image - edge).abs().max() < 1e-3

    def test_callback_gets_a_record_with_the_picture_of_that_loss(self, device):
        seen = []
        optimize_image(
            quadratic(),
            picture(6, 5, device=device),
            steps=4,
            progress=False,
            callback=seen.append,
        )
        assert [record.step for record in seen] == [1, 2, 3, 4]
        for record in seen:
            assert record.image.shape == (1, 3, 6, 5)
            assert not record.image.requires_grad
            assert float(quadratic()(record.image).total) == pytest.approx(
                record.total, rel=1e-5
            )
        # copies, not the moving leaf
        assert len({record.image.data_ptr() for record in seen}) == 4

    def test_ctrl_c_returns_the_best_so_far(self):
        def stop(record):
            if record.step == 4:
                raise KeyboardInterrupt

        result = optimize_image(
            quadratic(), picture(6, 5), steps=50, progress=False, callback=stop
        )
        assert result.stopped == "interrupted"
        assert len(result.history) == 4
        assert float(quadratic()(result.image).total) == pytest.approx(
            min(result.totals), rel=1e-5
        )

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_nan_stops_with_a_sentence(self, value):
        calls = []

        def broken(image):
            calls.append(1)
            return LossTerms(a=image.square().sum() + (value if len(calls) == 3 else 0))

        with refused(str(value), "step 3", "learning_rate"):
            optimize_image(broken, picture(4, 4), steps=9, progress=False)

    def test_a_channels_last_start(self, device):
        """torch's L-BFGS flattens gradients with .view(-1), which fails on
        channels-last strides.
        """
        start = picture(8, 6, device=device)
        last = start.to(memory_format=torch.channels_last)
        assert not last.is_contiguous()

        def objective(image):
            x = image.contiguous(memory_format=torch.channels_last)
            return LossTerms(a=torch.nn.functional.avg_pool2d(x, 2).square().sum())

        one, two = (
            optimize_image(objective, given, steps=5, progress=False)
            for given in (start, last)
        )
        assert torch.equal(one.image, two.image)
        assert two.totals[-1] < two.totals[0]

    def test_the_allocators_failure_names_a_size(self, device):
        def hungry(image):
            torch.empty(1 << 50, device=image.device)

        with refused("64x32 pixels", "32x16", "sizes=32") as caught:
            optimize_image(
                hungry, picture(32, 64, device=device), steps=2, progress=False
            )
        assert isinstance(caught.value.__cause__, RuntimeError)

    def test_other_failures_are_not_hidden(self):
        def broken(image):
            raise RuntimeError("something else")

        with pytest.raises(RuntimeError, match="something else"):
            optimize_image(broken, picture(4, 4), steps=2, progress=False)

    def test_progress_bar(self, capsys, monkeypatch):
        monkeypatch.delenv("TQDM_DISABLE", raising=False)
        optimize_image(quadratic(), picture(4, 4), steps=2)
        assert "step/s" in capsys.readouterr().err
        optimize_image(quadratic(), picture(4, 4), steps=2, progress=False)
        assert capsys.readouterr().err == ""


class TestTransfer:
    @pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
    def test_the_loss_decreases(self, network, content, style, optimizer):
        how = {**QUICK, **LAYERS, "optimizer": optimizer, "style_weight": 1e-2}
        result = transfer_style(content, style, network=network, **how)
        assert result.image.shape == (1, 3, 26, 32)
        assert min(result.totals) < 0.9 * result.totals[0]
        assert set(result.history[0].terms) == {
            "content/relu2_1",
            "style/relu1_1",
            "style/relu2_1",
            "total_variation",
        }
        assert sum(result.history[0].terms.values()) == pytest.approx(
            result.history[0].total, rel=1e-5
        )

    def test_its_loss_is_that_of_the_perceptual_loss(self, network, content, style):
        result = transfer_style(content, style, network=network, **QUICK, **LAYERS)
        loss = PerceptualLoss(
            {"relu2_1": 1.0},
            {"relu1_1": 1e-4, "relu2_1": 1e-4},
            total_variation=1e-6,
            network=network,
        )
        small, small_style = resize(content, 32), resize(style, 32)
        first = loss(small, content=small, style=small_style).total
        assert result.totals[0] == pytest.approx(float(first), rel=1e-4)
        last = float(loss(result.image, content=small, style=small_style).total)
        assert last <= min(result.totals) * (1 + 1e-4)

    def test_balanced_layers_are_those_of_the_perceptual_loss(
        self, network, content, style
    ):
        how = {**QUICK, **LAYERS, "steps": 1}
        plain, balanced = (
            transfer_style(content, style, network=network, balance=balance, **how)
            for balance in (None, "layers")
        )
        loss = PerceptualLoss(
            {"relu2_1": 1.0},
            {"relu1_1": 1e-4, "relu2_1": 1e-4},
            total_variation=1e-6,
            balance="layers",
            network=network,
        )
        small, small_style = resize(content, 32), resize(style, 32)
        first = loss(small, content=small, style=small_style)
        assert balanced.totals[0] == pytest.approx(float(first.total), rel=1e-4)
        assert plain.totals[0] != pytest.approx(balanced.totals[0], rel=1e-2)
        with refused("'layer'", "'layers'"):
            TransferSettings(balance="layer")

    def test_two_runs_with_a_seed_are_equal(self, network, content, style):
        how = {**QUICK, **LAYERS, "init": "noise", "steps": 3}
        one, two, other = (
            transfer_style(content, style, network=network, seed=seed, **how)
            for seed in (7, 7, 8)
        )
        assert torch.equal(one.image, two.image)
        assert one.totals == two.totals
        assert not torch.equal(one.image, other.image)

    def test_coarse_to_fine(self, network, content, style):
        seen = []
        how = {**QUICK, **LAYERS, "sizes": (16, 24, 40), "steps": 2}
        result = transfer_style(
            content, style, network=network, callback=seen.append, **how
        )
        assert result.image.shape == (1, 3, 32, 40)
        assert [record.step for record in result.history] == [1, 2, 3, 4, 5, 6]
        assert [record.step for record in seen] == [1, 2, 3, 4, 5, 6]
        assert [max(record.image.shape) for record in seen] == [16, 16, 24, 24, 40, 40]
        seconds = [record.seconds for record in result.history]
        assert seconds == sorted(seconds)
        coarse = transfer_style(
            content, style, network=network, **{**how, "sizes": (16,)}
        )
        finer = transfer_style(
            content, style, network=network, **{**how, "sizes": (16, 24)}
        )
        assert coarse.totals == result.totals[:2]
        assert finer.totals == result.totals[:4]
        # the next size starts where the last one ended
        assert torch.equal(seen[2].image, resize(coarse.image, (19, 24)))

    def test_pictures_are_never_enlarged(self, network, content, style):
        result = transfer_style(
            content,
            style,
            network=network,
            **{**QUICK, **LAYERS, "sizes": (512, 1024), "steps": 1},
        )
        assert result.image.shape == content.shape
        assert len(result.history) == 1

    @pytest.mark.parametrize("when", ["step", "between"])
    def test_ctrl_c_in_a_later_size(self, network, content, style, when, monkeypatch):
        def stop(record):
            if when == "step" and record.step == 4:
                raise KeyboardInterrupt

        calls = []

        def between(*args):
            calls.append(1)
            if when == "between" and len(calls) == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(optimize, "check_memory", between)
        how = {**QUICK, **LAYERS, "sizes": (16, 24, 32), "steps": 2}
        result = transfer_style(content, style, network=network, callback=stop, **how)
        assert result.stopped == "interrupted"
        assert len(result.history) == (4 if when == "step" else 2)
        assert max(result.image.shape) == (24 if when == "step" else 16)

    def test_starts(self, network, content, style, device):
        def start(**how):
            seen = []
            how = {**QUICK, **LAYERS, "steps": 1, **how}
            transfer_style(content, style, network=network, callback=seen.append, **how)
            return seen[0].image

        shape = (26, 32)
        assert torch.equal(start(), resize(content, 32))
        assert torch.equal(start(init="content"), resize(content, 32))
        assert torch.equal(start(init="style"), resize(style, shape))
        assert torch.equal(
            start(init="grey"), torch.full((1, 3, *shape), 0.5, device=device)
        )
        own = picture(*shape, 9, device=device)
        assert torch.equal(start(init=own), own)
        noise = start(init="noise")
        assert 0.25 < float(noise.std()) < 0.33  # uniform: 0.289
        generator = torch.Generator().manual_seed(0)
        assert torch.equal(noise.cpu(), torch.rand(1, 3, *shape, generator=generator))
        with refused("'contents'", "'content'"):
            start(init="contents")

    def test_several_styles(self, network, content, style, device):
        other = picture(24, 32, 5, device=device)
        how = {**QUICK, **LAYERS, "steps": 1}
        seen = [
            transfer_style(
                content, [style, other], style_weights=weights, network=network, **how
            ).history[0]
            for weights in ((1, 0), (0, 1), None)
        ]
        alone = [
            transfer_style(content, one, network=network, **how).history[0]
            for one in (style, other)
        ]
        for given, expected in zip(seen, alone, strict=False):
            assert given.total == pytest.approx(expected.total, rel=1e-5)
        assert seen[2].total not in (seen[0].total, seen[1].total)

    def test_masks_steer_regions(self, network, device):
        grey = 0.5 + 0.1 * (picture(32, 32, 1, device=device) - 0.5)
        red, blue = (0.2 * picture(32, 32, seed, device=device) for seed in (2, 3))
        red[:, 0] += 0.7
        blue[:, 2] += 0.7
        left = torch.zeros(1, 1, 32, 32, device=device)
        left[..., :16] = 1
        full = torch.ones_like(left)
        # Adam: without a line search L-BFGS can overshoot from a start
        # as flat as this one
        how = {
            **QUICK,
            **LAYERS,
            "steps": 30,
            "style_weight": 0.1,
            "optimizer": "adam",
            "network": network,
        }
        masks = [(left, full), (1 - left, full)]
        for styles, sign in (([red, blue], 1), ([blue, red], -1)):
            result = transfer_style(grey, styles, masks=masks, **how).image
            redness = result[:, 0] - result[:, 2]
            assert sign * (redness[..., :14].mean() - redness[..., 18:].mean()) > 0.2

    def test_style_scale(self, network, content, style):
        how = {**QUICK, **LAYERS, "steps": 1}
        one = transfer_style(
            content, style, network=network, style_scale=0.5, **how
        ).totals
        two = transfer_style(content, resize(style, 16), network=network, **how).totals
        assert one == pytest.approx(two, rel=1e-5)
        assert one != pytest.approx(
            transfer_style(content, style, network=network, **how).totals, rel=1e-2
        )

    def test_luminance_keeps_the_contents_chroma(self, network, device, style):
        content = 0.4 + 0.2 * picture(32, 32, 1, device=device)
        result = transfer_style(
            content,
            style,
            network=network,
            preserve_color="luminance",
            style_weight=1e-2,
            **QUICK,
            **LAYERS,
        ).image
        chroma = color.YIQ[1:].to(device)
        before, after = (
            torch.einsum("ij,njhw->nihw", chroma, image) for image in (content, result)
        )
        inside = ((result > 0) & (result < 1)).all(1, keepdim=True).expand_as(before)
        assert inside.float().mean() > 0.9
        assert (after - before)[inside].abs().max() < 1e-5
        # it did change
        assert relative(optimize.luminance(result), optimize.luminance(content)) > 0.005

    def test_histogram_matches_mean_and_covariance(self, device, style):
        reference = 0.4 + 0.2 * picture(24, 24, 4, device=device)
        matched = optimize.match_color(style, reference)
        assert matched.shape == style.shape
        assert matched.min() > 0  # nothing was clipped, so that the moments are exact
        assert matched.max() < 1
        one, two = (image[0].flatten(1).double() for image in (matched, reference))
        assert relative(one.mean(1), two.mean(1)) < 1e-5
        assert relative(torch.cov(one), torch.cov(two)) < 1e-2

    def test_histogram_is_what_the_style_goes_through(self, network, content, style):
        how = {**QUICK, **LAYERS, "steps": 1}
        one = transfer_style(
            content, style, network=network, preserve_color="histogram", **how
        )
        two = transfer_style(
            content, optimize.match_color(style, content), network=network, **how
        )
        assert one.totals == pytest.approx(two.totals, rel=1e-5)


class TestReconstruction:
    def test_features(self, network, content):
        result = reconstruct_features(
            content, "relu1_2", network=network, **{**QUICK, "steps": 20}
        )
        target = network(resize(content, 32), ("relu1_2",))["relu1_2"]
        found = network(result.image, ("relu1_2",))["relu1_2"]
        assert relative(found, target) < 0.3
        assert result.totals[0] > 5 * min(result.totals)

    def test_styles_own_size_and_another(self, network, style):
        how = {**QUICK, "steps": 12}
        result = reconstruct_style(
            style, ("relu1_1", "relu1_2"), network=network, **how
        )
        assert result.image.shape == (1, 3, 32, 26)
        assert min(result.totals) < 0.2 * result.totals[0]
        grams = [
            gram_matrix(network(image, ("relu1_2",))["relu1_2"])
            for image in (result.image, resize(style, 32))
        ]
        assert relative(*grams) < 0.3
        wide = reconstruct_style(
            style,
            "relu1_1",
            network=network,
            height=20,
            width=60,
            **{**how, "sizes": (40,), "steps": 1},
        )
        assert wide.image.shape == (1, 3, 20, 60)

    def test_settings_by_name(self, network, content):
        with refused("'stepz'", "'steps'"):
            reconstruct_features(content, network=network, stepz=3)
        with refused("'noize'", "'noise'"):
            reconstruct_features(content, network=network, init="noize")


class TestMemory:
    def test_a_size_that_will_not_fit_is_refused_and_the_one_named_fits(
        self, network, monkeypatch, device
    ):
        image = picture(48, 64, device=device)
        settings = OptimizeSettings()
        needed = optimize.memory_needed(image.shape, ("relu2_1",), settings, device)
        monkeypatch.setattr("pltutorial.memory.free", lambda device: needed // 3)
        how = {**QUICK, "sizes": (64,), "steps": 1, "network": network}
        with refused("64x48 pixels", "GB") as caught:
            reconstruct_features(image, "relu2_1", **how)
        size = int(re.search(r"sizes=(\d+)", str(caught.value)).group(1))
        assert 16 < size < 64
        result = reconstruct_features(image, "relu2_1", **{**how, "sizes": (size,)})
        assert max(result.image.shape) == size

    def test_a_named_size_is_at_least_one_pixel(self, network, monkeypatch, device):
        monkeypatch.setattr("pltutorial.memory.free", lambda device: 1)
        with refused("do not fit") as caught:
            reconstruct_features(
                picture(32, 32, device=device), "relu1_1", network=network, **QUICK
            )
        assert "0x0" not in str(caught.value)
        assert "sizes=0" not in str(caught.value)

    def test_the_estimate_grows_with_depth_and_size(self):
        def needed(side, layer):
            return optimize.memory_needed(
                (1, 3, side, side), (layer,), OptimizeSettings(), torch.device("cpu")
            )

        assert needed(64, "relu1_1") < needed(64, "relu3_3") < needed(64, "relu5_1")
        assert needed(128, "relu3_3") == pytest.approx(
            4 * needed(64, "relu3_3"), rel=1e-6
        )

    def test_free_memory_is_a_number_of_bytes(self, device):
        free = memory.free(device)
        assert free > 10_000_000


def test_defaults_are_shared_and_frozen():
    assert TransferSettings().steps == OptimizeSettings().steps
    assert all("help" in setting.metadata for setting in fields(TransferSettings))
    with pytest.raises(AttributeError):
        TransferSettings().steps = 3
    assert TransferSettings(sizes=64).sizes == (64,)


@pytest.mark.parametrize("style_weight", [1e-4, 1.0])
def test_a_nearly_flat_start_recovers_from_a_leap(network, device, style_weight):
    """Without a line search L-BFGS leaps from here to 200 times the loss; it has to
    come back and go on.
    """
    grey = optimize.luminance(read_image(bundled("content/pagoda"), 64))
    content = (0.45 + 0.1 * grey).to(device)
    style = read_image(bundled("style/composition_viii"), 64).to(device)
    how = {"steps": 40, "sizes": 64, "progress": False, "network": network}
    result = transfer_style(content, style, style_weight=style_weight, **how)
    assert min(result.totals) < 0.35 * result.totals[0]
