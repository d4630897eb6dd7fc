"""The losses against independent references."""

from __future__ import annotations

import numpy
import pytest
import torch
from helpers import picture, refused, relative

from pltutorial import (
    feature_loss,
    gram_matrix,
    losses,
    pixel_loss,
    style_loss,
    total_variation,
)


def random(
    *shape: int, seed: int = 0, dtype=torch.float32, device="cpu"
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(
        device, dtype
    )


def reference_gram(feature: torch.Tensor) -> numpy.ndarray:
    """Johnson et al. (2016), equation 3, by einsum in float64."""
    f = feature.detach().double().cpu().numpy()
    return numpy.einsum("nchw,ndhw->ncd", f, f) / (f.shape[1] * f.shape[2] * f.shape[3])


def close(given: torch.Tensor, expected, tolerance: float = 1e-5) -> None:
    expected = torch.as_tensor(numpy.asarray(expected))
    assert tuple(given.shape) == tuple(expected.shape)
    assert relative(given, expected) < tolerance


class TestPixelLoss:
    @pytest.mark.parametrize("kind", ["l2", "l1", "charbonnier"])
    def test_against_numpy(self, device, kind):
        one, two = picture(9, 7, 1, 3, device), picture(9, 7, 2, 3, device)
        d = (one - two).double().cpu().numpy().reshape(3, -1)
        expected = {
            "l2": d**2,
            "l1": abs(d),
            "charbonnier": numpy.sqrt(d**2 + 0.02**2),
        }[kind].mean(1)
        close(pixel_loss(one, two, kind, reduction="none", epsilon=0.02), expected)
        close(pixel_loss(one, two, kind, epsilon=0.02), expected.mean())

    def test_closed_forms(self):
        black, grey = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
        assert float(pixel_loss(black, grey)) == 0.25
        assert float(pixel_loss(black, grey, "l1")) == 0.5
        assert float(
            pixel_loss(black, black, "charbonnier", epsilon=1e-3)
        ) == pytest.approx(1e-3)

    def test_charbonnier_has_a_gradient_where_the_pictures_are_equal(self):
        image = torch.zeros(1, 3, 4, 4, requires_grad=True)
        pixel_loss(image, torch.zeros(1, 3, 4, 4), "charbonnier").backward()
        assert torch.equal(image.grad, torch.zeros_like(image))

    def test_refused(self):
        image = picture()
        with refused("'l3'"):
            pixel_loss(image, image, "l3")
        with refused("(1, 3, 32, 32)", "(1, 3, 32, 31)"):
            pixel_loss(image, image[..., 1:])
        with refused("'total'", "'sum'"):
            pixel_loss(image, image, reduction="total")


class TestFeatureLoss:
    def test_against_numpy(self, device):
        one, two = (
            random(2, 5, 6, 4, device=device),
            random(2, 5, 6, 4, seed=1, device=device),
        )
        squares = ((one - two).double().cpu().numpy() ** 2).reshape(2, -1)
        for normalization, expected in (
            ("johnson", squares.mean(1)),
            ("mean", squares.mean(1)),
            ("gatys", squares.sum(1) / 2),
        ):
            how = {"normalization": normalization}
            close(feature_loss(one, two, **how, reduction="none"), expected)
            close(feature_loss(one, two, **how), expected.mean())

    def test_one_target_for_all(self, device):
        one, two = (
            random(3, 5, 6, 4, device=device),
            random(1, 5, 6, 4, seed=1, device=device),
        )
        assert torch.equal(
            feature_loss(one, two), feature_loss(one, two.expand(3, -1, -1, -1))
        )

    def test_gradients(self):
        two = random(1, 3, 4, 2, seed=1, dtype=torch.float64)
        one = random(2, 3, 4, 2, dtype=torch.float64).requires_grad_()
        for normalization in ("johnson", "gatys", "mean"):
            assert torch.autograd.gradcheck(
                lambda x, n=normalization: feature_loss(x, two, normalization=n), one
            )

    def test_half_precision_is_summed_in_float32(self, device):
        one = torch.full((1, 64, 32, 32), 100.0, dtype=torch.float16, device=device)
        loss = feature_loss(one, torch.zeros_like(one), normalization="gatys")
        assert loss.dtype == torch.float32
        assert float(loss) == 64 * 32 * 32 * 1e4 / 2  # beyond float16's 65504


class TestGramMatrix:
    @pytest.mark.parametrize(
        "shape", [(2, 5, 6, 7), (1, 1, 3, 3), (1, 16, 1, 1), (1, 4, 96, 100)]
    )
    @pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
    def test_against_einsum(self, device, shape, memory):
        """The last shape has 9,600 positions, more than one chunk of the sum."""
        feature = random(*shape, device=device).contiguous(memory_format=memory)
        close(gram_matrix(feature), reference_gram(feature))

    def test_the_chunk_is_crossed(self):
        assert losses._CHUNK < 96 * 100

    def test_float64_stays_float64(self, device):
        feature = random(1, 5, 6, 7, dtype=torch.float64, device=device)
        gram = gram_matrix(feature)
        assert gram.dtype == torch.float64
        close(gram, reference_gram(feature), 1e-14)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_is_summed_in_float32(self, device, dtype):
        feature = random(1, 8, 64, 64, device=device).to(dtype)
        gram = gram_matrix(feature)
        assert gram.dtype == torch.float32
        # summed in bfloat16 the error would be 1e-2
        close(gram, reference_gram(feature), 1e-5)

    def test_autocast_does_not_reach_the_sum(self, device):
        feature = random(1, 8, 64, 64, device=device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            gram = gram_matrix(feature)
        assert gram.dtype == torch.float32
        close(gram, reference_gram(feature), 1e-5)

    def test_gradient_and_second_derivative_of_the_function_behind_it(
        self, monkeypatch
    ):
        monkeypatch.setattr(losses, "_CHUNK", 5)
        feature = random(2, 3, 4, 3, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(gram_matrix, feature)
        assert torch.autograd.gradgradcheck(gram_matrix, feature)

    def test_gradient_equals_autograd_of_einsum(self, device):
        one = random(2, 6, 9, 8, device=device).requires_grad_()
        two = one.detach().double().cpu().requires_grad_()
        weights = random(2, 6, 6, seed=5)  # not symmetric
        (gram_matrix(one) * weights.to(device)).sum().backward()
        gram = torch.einsum("nchw,ndhw->ncd", two, two) / two[0].numel()
        (gram * weights).sum().backward()
        close(one.grad, two.grad.numpy())

    def test_mask_against_numpy_and_division_by_its_area(self, device):
        feature = random(2, 5, 6, 8, device=device)
        mask = torch.rand(1, 1, 6, 8, generator=torch.Generator().manual_seed(1))
        f, m = feature.double().cpu().numpy(), mask.double().numpy()
        expected = numpy.einsum("nchw,ndhw->ncd", f * m, f * m) / (5 * (m**2).sum())
        close(gram_matrix(feature, mask.to(device)), expected)

    def test_a_region_counts_the_same_whatever_its_size(self, device):
        """pystiche divides by the whole H W, so that a small region has a
        small Gram matrix.
        """
        feature = random(1, 5, 8, 8, device=device)
        mask = torch.zeros(1, 1, 8, 8, device=device)
        mask[..., 2:5, 1:4] = 1
        close(gram_matrix(feature, mask), reference_gram(feature[..., 2:5, 1:4]))
        close(gram_matrix(feature, torch.ones_like(mask)), reference_gram(feature))

    def test_a_mask_of_the_pictures_size_is_averaged_down(self, device):
        feature = random(1, 5, 4, 4, device=device)
        mask = torch.zeros(1, 1, 16, 16, device=device)
        mask[..., :8] = 1
        close(gram_matrix(feature, mask), reference_gram(feature[..., :2]))

    def test_gradient_with_a_mask(self):
        feature = random(1, 3, 4, 3, dtype=torch.float64).requires_grad_()
        mask = torch.rand(
            1, 1, 4, 3, generator=torch.Generator().manual_seed(1)
        ).double()
        assert torch.autograd.gradcheck(lambda x: gram_matrix(x, mask), feature)

    def test_refused(self):
        with refused("(5, 6, 7)", "(N, C, H, W)"):
            gram_matrix(random(5, 6, 7))


class TestStyleLoss:
    def test_johnson_is_the_squared_frobenius_norm(self, device):
        one, two = (
            random(2, 5, 6, 7, device=device),
            random(2, 5, 6, 7, seed=1, device=device),
        )
        expected = ((reference_gram(one) - reference_gram(two)) ** 2).sum((1, 2))
        close(style_loss(one, two, reduction="none"), expected)
        close(style_loss(one, two), expected.mean())
        close(style_loss(gram_matrix(one), gram_matrix(two)), expected.mean())
        close(style_loss(one, gram_matrix(two)), expected.mean())

    def test_gatys_identity(self):
        """E_l of Gatys et al. (2016), equation 4, from plain sums: for pictures of one
        size 4 E_l is Johnson's.
        """
        one, two = (
            random(1, 6, 5, 7, seed=seed, dtype=torch.float64) for seed in (0, 1)
        )
        f, p = (x[0].reshape(6, 35) for x in (one, two))
        channels, positions = f.shape
        e = ((f @ f.T - p @ p.T) ** 2).sum() / (4 * channels**2 * positions**2)
        assert float(style_loss(one, two, normalization="gatys")) == pytest.approx(
            float(e), rel=1e-12
        )
        assert 4 * float(e) == pytest.approx(float(style_loss(one, two)), rel=1e-12)

    def test_mean_counts_a_layer_of_512_channels_64_times_less_than_one_of_64(self):
        ratios = []
        for channels in (64, 512):
            one, two = (
                random(1, channels, 4, 4, seed=seed, dtype=torch.float64)
                for seed in (0, 1)
            )
            ratio = style_loss(one, two, normalization="mean") / style_loss(one, two)
            assert float(ratio) == pytest.approx(1 / channels**2, rel=1e-12)
            ratios.append(float(ratio))
        assert ratios[0] / ratios[1] == pytest.approx(64, rel=1e-12)

    def test_gradient(self):
        two = random(1, 3, 3, 2, seed=1, dtype=torch.float64)
        one = random(2, 3, 4, 2, dtype=torch.float64).requires_grad_()
        for normalization in ("johnson", "gatys", "mean"):
            assert torch.autograd.gradcheck(
                lambda x, n=normalization: style_loss(x, two, normalization=n), one
            )

    def test_finite_differences(self, device):
        """The slope along a random direction, from two values of an
        einsum in float64.
        """
        one, two = random(1, 6, 8, 8, device=device), random(1, 6, 5, 9, seed=1)
        direction = random(1, 6, 8, 8, seed=2, dtype=torch.float64)
        leaf = one.clone().requires_grad_()
        style_loss(leaf, two.to(device)).backward()

        def value(step: float) -> float:
            moved = one.double().cpu() + step * direction
            return float(((reference_gram(moved) - reference_gram(two)) ** 2).sum())

        slope = (value(1e-5) - value(-1e-5)) / 2e-5
        assert float((leaf.grad.double().cpu() * direction).sum()) == pytest.approx(
            slope, rel=1e-4
        )

    def test_refused(self):
        with refused("(1, 4, 4)", "(1, 5, 5)"):
            style_loss(random(1, 4, 3, 3), random(1, 5, 3, 3))
        with refused("'jonson'", "'johnson'"):
            style_loss(random(1, 4, 3, 3), random(1, 4, 3, 3), normalization="jonson")


def lua_gradient(image: numpy.ndarray) -> numpy.ndarray:
    """The discrete formula of fast-neural-style's TotalVariation.lua: loops, on
    differences cropped by one.
    """
    gradient = numpy.zeros_like(image)
    for i in range(image.shape[-2] - 1):
        for j in range(image.shape[-1] - 1):
            x = image[..., i, j] - image[..., i, j + 1]
            y = image[..., i, j] - image[..., i + 1, j]
            gradient[..., i, j] += x + y
            gradient[..., i, j + 1] -= x
            gradient[..., i + 1, j] -= y
    return gradient


class TestTotalVariation:
    def test_gradient_is_the_one_johnsons_code_adds(self, device):
        image = picture(6, 7, count=2, device=device).requires_grad_()
        total_variation(image, reduction="none").sum().backward()
        close(image.grad, lua_gradient(image.detach().double().cpu().numpy()))

    def test_squared_is_half_the_sum_of_squares_cropped(self, device):
        image = picture(6, 7, count=2, device=device)
        x = image.double().cpu().numpy()
        dx, dy = numpy.diff(x, axis=-1)[..., :-1, :], numpy.diff(x, axis=-2)[..., :-1]
        close(
            total_variation(image, reduction="none"), (dx**2 + dy**2).sum((1, 2, 3)) / 2
        )

    def test_absolute(self, device):
        image = picture(6, 7, count=2, device=device)
        x = image.double().cpu().numpy()
        expected = sum(
            abs(numpy.diff(x, axis=axis)).mean((1, 2, 3)) for axis in (-1, -2)
        )
        close(total_variation(image, "absolute", reduction="none"), expected)

    def test_one_edge(self):
        image = torch.zeros(1, 1, 3, 3)
        image[..., 0, 0] = 2.0  # differences of 2 to the right and below
        assert float(total_variation(image)) == 4.0

    def test_gradcheck(self):
        image = random(2, 3, 4, 4, dtype=torch.float64).requires_grad_()
        for kind in ("squared", "absolute"):
            assert torch.autograd.gradcheck(
                lambda x, k=kind: total_variation(x, k), image
            )

    def test_refused(self):
        with refused("'squard'", "'squared'"):
            total_variation(picture(), "squard")


class TestRelative:
    """Each term is measured against its own target."""

    def test_features_by_hand(self):
        output, target = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
        expected = [
            float(((a - b) ** 2).sum() / (b**2).sum())
            for a, b in zip(output, target, strict=True)
        ]
        given = losses.feature_loss(
            output, target, normalization="relative", reduction="none"
        )
        close(given, expected)

    def test_styles_by_hand_and_of_other_sizes(self):
        output, target = random(2, 3, 4, 5), random(1, 3, 7, 2, seed=1)
        right = reference_gram(target)[0]
        expected = [
            ((gram - right) ** 2).sum() / (right**2).sum()
            for gram in reference_gram(output)
        ]
        given = losses.style_loss(
            output, target, normalization="relative", reduction="none"
        )
        close(given, expected)

    @pytest.mark.parametrize("loss", [losses.feature_loss, losses.style_loss])
    def test_a_silent_output_is_one_at_any_loudness(self, loss):
        for loudness in (1e-3, 1.0, 1e3):
            target = loudness * random(1, 3, 4, 4)
            close(loss(0 * target, target, normalization="relative"), 1.0)

    def test_a_silent_target_gives_no_infinity(self):
        loss = losses.feature_loss(
            random(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), normalization="relative"
        )
        assert loss.isfinite()


class TestRelativePixels:
    """Against the target's variance, by numpy."""

    @pytest.mark.parametrize("kind", ["l2", "l1", "charbonnier"])
    def test_by_hand(self, kind, device):
        one, two = picture(9, 7, 1, 3, device), picture(9, 7, 2, 3, device)
        variance = two.double().cpu().numpy().reshape(3, -1).var(1)
        plain = pixel_loss(one, two, kind, reduction="none").double().cpu().numpy()
        scale = variance if kind == "l2" else variance**0.5
        given = pixel_loss(one, two, kind, normalization="relative", reduction="none")
        close(given, plain / scale)

    def test_a_flat_target_counts_as_one_grey_level(self):
        grey = torch.full((1, 3, 4, 4), 0.5)
        value = pixel_loss(grey + 1 / 255, grey, normalization="relative")
        assert float(value) == pytest.approx(1, rel=1e-4)

    def test_unknown(self):
        with refused("'johnson'", "'relative'"):
            pixel_loss(picture(), picture(), normalization="johnson")


class TestWeighted:
    def test_by_hand(self, device):
        one, two = picture(8, 8, 1, 2, device), picture(8, 8, 2, 2, device)
        weight = picture(8, 8, 3, 2, device)[:, :1]
        squares = (one - two).double().square() * weight.double()
        mean = squares.sum((1, 2, 3)) / (3 * weight.double().sum((1, 2, 3)))
        close(pixel_loss(one, two, weight=weight, reduction="none"), mean.cpu())
        close(feature_loss(one, two, weight=weight, reduction="none"), mean.cpu())
        gatys = {"normalization": "gatys", "reduction": "none"}
        close(feature_loss(one, two, weight=weight, **gatys), (mean * 3 * 32).cpu())

    def test_a_map_of_the_pictures_size_is_averaged_down(self, device):
        one, two = random(1, 5, 4, 4, device=device), random(1, 5, 4, 4, seed=1)
        weight, two = picture(8, 8, 3, 1, device)[:, :1], two.to(device)
        small = weight.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
        given = (feature_loss(one, two, weight=w) for w in (weight, small))
        close(*given)

    @pytest.mark.parametrize("kind", ["squared", "absolute"])
    def test_total_variation_of_half_a_picture(self, kind):
        image = picture(8, 9)
        image[..., 4:] = image[..., 3:4]  # flat to the right
        weight = torch.zeros(1, 1, 8, 9)
        weight[..., 4:] = 1
        assert float(total_variation(image, kind)) > 0
        flat = image[..., 3:4].expand_as(image)
        right, whole = (
            float(total_variation(one, kind, weight=weight)) for one in (image, flat)
        )
        assert right < 3 * whole

    def test_what_has_no_map(self):
        with refused("no places"):
            style_loss(picture(), picture(), reduction="map")
        with refused("no map"):
            total_variation(picture(), reduction="map")


class TestGramMatrixInTransforms:
    """torch.func against einsum."""

    @staticmethod
    def plain(feature):
        product = torch.einsum("nchw,ndhw->ncd", feature, feature)
        return product / feature.shape[1:].numel()

    def test_vmap_of_any_dimension(self):
        features = random(2, 3, 4, 5, 6)
        for dim in (0, 1, -1):
            stacked = features.movedim(0, dim)
            given = torch.func.vmap(gram_matrix, in_dims=dim)(stacked)
            close(given, torch.stack([*map(self.plain, features)]))

    def test_jvp_and_jacobians(self):
        feature, tangent = random(1, 3, 4, 5), random(1, 3, 4, 5, seed=1)
        given = torch.func.jvp(gram_matrix, (feature,), (tangent,))
        for one, two in zip(
            given, torch.func.jvp(self.plain, (feature,), (tangent,)), strict=True
        ):
            close(one, two)
        for jacobian in (torch.func.jacrev, torch.func.jacfwd):
            close(jacobian(gram_matrix)(feature), jacobian(self.plain)(feature))

    def test_large_gradients_in_float16(self):
        """A gradient of a Gram matrix may leave float16, its product need not."""
        feature = (0.01 * random(1, 3, 4, 5)).half().requires_grad_()
        (1e6 * gram_matrix(feature).sum()).backward()
        exact = feature.detach().float().requires_grad_()
        (1e6 * self.plain(exact).sum()).backward()
        close(feature.grad, exact.grad, 1e-3)


class TestGridLoss:
    @pytest.mark.parametrize("period", [2, 4, 8])
    def test_a_lattice_of_one_grey_level_is_about_one(self, period):
        image = random(1, 3, 64, 64).clamp(0.1, 0.9)
        dots = torch.zeros(1, 1, 64, 64)
        dots[..., ::period, ::period] = 1
        dots = (dots - dots.mean()) / dots.std()
        close(losses.grid_loss(image + dots / 255, image, period), 1.0, 0.02)

    def test_no_lattice_no_loss(self):
        image = random(2, 3, 32, 48)
        assert losses.grid_loss(image + 0.1, image) < 1e-6
        rows = torch.linspace(0, 0.2, 32)[None, None, :, None]  # slow change is none
        assert losses.grid_loss(image + rows, image) < 3.5

    def test_what_the_target_repeats_is_allowed(self):
        stripes = (torch.arange(32) % 4 < 2).float().expand(1, 3, 32, 32)
        assert losses.grid_loss(stripes, stripes) == 0

    def test_its_gradient_takes_the_lattice_away(self):
        target = random(1, 1, 16, 16)
        dots = torch.zeros_like(target)
        dots[..., ::4, ::4] = 0.1
        output = (target + dots).requires_grad_()
        losses.grid_loss(output, target).backward()
        assert (output.grad * dots).sum() > 0
        assert output.grad.flatten() @ (dots - dots.mean()).flatten() > 0.9 * (
            output.grad.norm() * (dots - dots.mean()).norm()
        )

    def test_too_small(self):
        with refused("9x7 pixels were given for a period of 4", "at least 8"):
            losses.grid_loss(random(1, 3, 7, 9), random(1, 3, 7, 9))
