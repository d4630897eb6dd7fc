"""What takes something away from pictures, against Pillow's resampling, plain sums in
numpy, and statistics.
"""

from __future__ import annotations

import math

import numpy
import pytest
import torch
import torch.nn.functional as F
from helpers import Operations, picture, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pltutorial import read_image, write_image
from pltutorial.degradations import (
    add_camera_noise,
    add_noise,
    blur_with,
    crop_to_multiple,
    defocus_kernel,
    downscale,
    motion_kernel,
    random_boxes,
    random_holes,
    to_8_bits,
)


def cubic(x: float, a: float) -> float:
    """The cubic convolution kernel (Keys 1981) with the slope a at 1."""
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def blurred_samples(length: int, factor: int) -> numpy.ndarray:
    """Along one side, (length / factor, length): a Gaussian of deviation 1, then
    bicubic samples, by single weights.
    """
    blur = numpy.zeros((length, length))
    reach = min(4, length - 1)
    kernel = numpy.exp(-(numpy.arange(-reach, reach + 1) ** 2) / 2)
    for row in range(length):
        for offset, weight in zip(
            range(-reach, reach + 1), kernel / kernel.sum(), strict=True
        ):
            column = abs(row + offset)
            column = 2 * (length - 1) - column if column >= length else column
            blur[row, column] += weight
    samples = numpy.zeros((length // factor, length))
    for row in range(length // factor):
        place = (row + 0.5) * factor - 0.5
        for column in range(math.floor(place) - 1, math.floor(place) + 3):
            samples[row, min(max(column, 0), length - 1)] += cubic(
                place - column, -0.75
            )
    return samples @ blur


class TestDownscale:
    @pytest.mark.parametrize("factor", [2, 4, 8])
    def test_bicubic_is_that_of_pillow(self, factor, device):
        """Pillow stretches the kernel by the factor too, as MATLAB's imresize does."""
        image = picture(40, 56, count=2)
        small = downscale(image.to(device), factor, round_values=False).cpu()
        assert small.shape == (2, 3, 40 // factor, 56 // factor)
        size = (56 // factor, 40 // factor)
        for one, mine in zip(image.flatten(0, 1), small.flatten(0, 1), strict=True):
            by_pillow = Image.fromarray(one.numpy(), "F").resize(
                size, Image.Resampling.BICUBIC
            )
            assert abs(numpy.asarray(by_pillow).clip(0, 1) - mine.numpy()).max() < 1e-6

    @pytest.mark.parametrize("factor", [2, 4, 8])
    @pytest.mark.parametrize(("height", "width"), [(40, 56), (8, 24)])
    def test_gaussian_is_a_blur_and_samples(self, factor, height, width, device):
        image = picture(height, width)
        small = downscale(
            image.to(device), factor, "gaussian", round_values=False
        ).cpu()
        down, across = blurred_samples(height, factor), blurred_samples(width, factor)
        expected = (down @ image[0].double().numpy() @ across.T).clip(0, 1)
        assert abs(expected - small[0].numpy()).max() < 1e-5

    def test_gaussian_blurs_strips_too(self):
        image = picture(2, 64)
        down, across = blurred_samples(2, 2), blurred_samples(64, 2)
        expected = (down @ image[0].double().numpy() @ across.T).clip(0, 1)
        assert (
            abs(
                expected
                - downscale(image, 2, "gaussian", round_values=False)[0].numpy()
            ).max()
            < 1e-5
        )

    @pytest.mark.parametrize("kernel", ["bicubic", "gaussian"])
    def test_rounds_to_what_a_file_holds(self, kernel, tmp_path):
        image = picture(32, 48)
        small = downscale(image, 4, kernel)
        plain = downscale(image, 4, kernel, round_values=False)
        assert 0 < (small - plain).abs().max() <= 0.5 / 255 + 1e-6
        assert small.dtype == torch.float32
        assert torch.equal(
            read_image(write_image(tmp_path / "small.png", small)), small
        )

    def test_overshoot_is_clamped(self):
        """Beside an edge from black to white a cubic kernel leaves [0, 1]."""
        image = torch.zeros(1, 3, 16, 32)
        image[..., 15:] = 1
        for round_values in (True, False):
            small = downscale(image, 2, round_values=round_values)
            assert (small.min(), small.max()) == (0, 1)

    def test_even_pictures_stay_as_they_are(self):
        image = torch.tensor([0.2, 0.6, 1.0]).view(1, 3, 1, 1).expand(2, 3, 16, 24)
        for kernel in ("bicubic", "gaussian"):
            assert torch.allclose(
                downscale(image, 8, kernel), image[..., :2, :3], atol=1e-6
            )

    def test_bad_input(self):
        image = picture(16, 24)
        for factor in (0, 1, 3, 16, -2):
            with refused(f"the factor {factor}", "2, 4, 8"):
                downscale(image, factor)
        with refused("'bicubik'", "nearest is 'bicubic'"):
            downscale(image, 2, "bicubik")
        for size in ((15, 24), (16, 25), (1, 24), (16, 1)):
            with refused(f"{size[1]}x{size[0]} pixels", "crop_to_multiple"):
                downscale(picture(*size), 2)
        with refused("(3, 16, 24)", "image[None]"):
            downscale(image[0], 2)
        with refused("divide 0-255 pictures by 255"):
            downscale(image * 255, 2)
        with refused("NaN"):
            downscale(image.clone().fill_(math.nan), 2)


class TestEightBits:
    def test_every_value_of_a_file_is_kept_and_all_others_go_to_the_nearest(self):
        levels = torch.arange(256) / 255
        assert torch.equal(to_8_bits(levels), levels)
        inside = levels[1:-1]
        assert torch.equal(to_8_bits(inside + 0.49 / 255), inside)
        assert torch.equal(to_8_bits(inside - 0.49 / 255), inside)
        assert to_8_bits(torch.tensor([-0.3, 1.7])).tolist() == [0, 1]


class TestCrop:
    @settings(max_examples=40, deadline=None)
    @given(st.integers(8, 60), st.integers(8, 60), st.sampled_from([2, 4, 8]))
    def test_sides_become_the_largest_multiples_and_the_corner_stays(
        self, height, width, factor
    ):
        image = torch.rand(1, 3, height, width)
        cropped = crop_to_multiple(image, factor)
        for before, after in zip((height, width), cropped.shape[-2:], strict=True):
            assert after % factor == 0
            assert before - factor < after <= before
        assert torch.equal(
            cropped, image[..., : cropped.shape[-2], : cropped.shape[-1]]
        )
        assert downscale(cropped, factor).shape[-1] * factor == cropped.shape[-1]

    def test_nothing_left_is_refused(self):
        with refused("40x3 pixels", "at least 4"):
            crop_to_multiple(picture(3, 40), 4)


class TestNoise:
    def test_has_the_deviation_that_was_asked_for_and_is_independent(self):
        image = torch.full((1, 3, 200, 200), 0.5)
        noise = (add_noise(image, 25.0, 3) - image) * 255
        assert abs(float(noise.std()) - 25) < 0.3
        assert abs(float(noise.mean())) < 0.3
        channels = noise[0].flatten(1)
        assert (torch.corrcoef(channels) - torch.eye(3)).abs().max() < 0.02
        beside = torch.stack([noise[..., 1:].flatten(), noise[..., :-1].flatten()])
        assert torch.corrcoef(beside)[0, 1].abs() < 0.02
        kurtosis = float((noise / noise.std()).pow(4).mean())
        assert abs(kurtosis - 3) < 0.1  # of a Gaussian

    def test_each_picture_has_its_own_strength(self, device):
        image = torch.full((3, 3, 100, 100), 0.5, device=device)
        sigmas = torch.tensor([0.0, 10.0, 50.0])
        noisy = add_noise(image, sigmas)
        assert noisy.device == image.device
        assert torch.equal(noisy[0], image[0])
        for one, sigma in zip((noisy - image) * 255, sigmas, strict=True):
            assert abs(float(one.std()) - float(sigma)) < 0.03 * float(sigma) + 1e-6

    def test_is_neither_clamped_nor_rounded(self):
        noisy = add_noise(picture(40, 40), 50)
        assert noisy.min() < 0
        assert noisy.max() > 1
        assert (noisy * 255 - (noisy * 255).round()).abs().max() > 0.3

    def test_a_seed_gives_the_same_again_and_another_does_not(self):
        image = picture(20, 20)
        assert torch.equal(add_noise(image, 15, 4), add_noise(image, 15, 4))
        assert not torch.equal(add_noise(image, 15, 4), add_noise(image, 15, 5))
        generator = torch.Generator().manual_seed(4)
        assert torch.equal(add_noise(image, 15, generator), add_noise(image, 15, 4))
        assert not torch.equal(add_noise(image, 15, generator), add_noise(image, 15, 4))

    def test_one_generator_for_each_picture_is_as_one_picture_at_a_time(self):
        images = picture(20, 22, count=3)
        generators = [torch.Generator().manual_seed(seed) for seed in (7, 8, 9)]
        together = add_noise(images, torch.tensor([5.0, 15.0, 25.0]), generators)
        for number, sigma in enumerate((5, 15, 25)):
            assert torch.equal(
                together[number],
                add_noise(images[number : number + 1], sigma, 7 + number)[0],
            )

    def test_bad_input(self):
        for sigma in (-1, math.inf, math.nan):
            with refused("sigma=", "0 or more"):
                add_noise(picture(8, 8), sigma)
        with refused("2 values of sigma", "3 pictures"):
            add_noise(picture(8, 8, count=3), torch.tensor([1.0, 2.0]))


class TestCameraNoise:
    def test_is_add_noise_where_nothing_is_shared_and_nothing_grows(self):
        image = picture(30, 40, count=2)
        noisy = add_camera_noise(image, 20, 0, 0, 5)
        assert torch.allclose(noisy, add_noise(image, 20, 5), atol=1e-6)

    @pytest.mark.parametrize("smear", [0.5, 1.0, 2.5])
    def test_neighbours_share_it_as_a_gaussian_says_and_its_strength_stays(self, smear):
        grey = torch.full((4, 3, 128, 128), 0.5)
        noise = add_camera_noise(grey, 25, smear, 0, 3) - grey
        assert abs(255 * float(noise.std()) - 25) < 1.5
        weights = [math.exp(-(x**2) / (2 * smear**2)) for x in range(-8, 9)]
        for apart in (1, 2):
            shared = (noise[..., apart:] * noise[..., :-apart]).mean() / noise.var()
            pairs = zip(weights, weights[apart:], strict=False)
            foretold = sum(a * b for a, b in pairs) / sum(a * a for a in weights)
            assert abs(float(shared) - foretold) < 0.04

    def test_its_variance_grows_with_the_light(self):
        image = torch.full((1, 3, 64, 128), 0.2)
        image[..., 64:] = 0.6
        for light in (0.0, 0.5, 1.0):
            noise = add_camera_noise(image, 20, 0, light, 3) - image
            dark, bright = noise[..., :64].var(), noise[..., 64:].var()
            foretold = (1 - light + light * 1.5) / (1 - light + light * 0.5)
            assert abs(float(bright / dark) / foretold - 1) < 0.1
            assert abs(255 * float(noise.square().mean().sqrt()) - 20) < 1

    def test_each_picture_has_numbers_and_a_generator_of_its_own(self):
        images = picture(20, 22, count=3)
        generators = [torch.Generator().manual_seed(seed) for seed in (7, 8, 9)]
        smear, light = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 0.5, 1.0])
        together = add_camera_noise(images, 15, smear, light, generators)
        for n in range(3):
            alone = add_camera_noise(
                images[n : n + 1], 15, float(smear[n]), float(light[n]), 7 + n
            )
            assert torch.allclose(together[n], alone[0], atol=1e-6)

    def test_bad_input(self):
        for smear in (-1, 5, math.nan):
            with refused(f"smear={smear}", "from 0 to 4"):
                add_camera_noise(picture(8, 8), 10, smear)
        with refused("light=2", "from 0 to 1"):
            add_camera_noise(picture(8, 8), 10, 1, 2)
        with refused("sigma=-1", "0 or more"):
            add_camera_noise(picture(8, 8), -1)
        with refused("2 values of sigma", "3 pictures"):
            add_camera_noise(picture(8, 8, count=3), torch.tensor([1.0, 2.0]))


class TestHoles:
    def test_shares_fill_their_range_and_go_no_further(self):
        masks = random_holes(150, 64, 64)
        assert masks.shape == (150, 1, 64, 64)
        assert masks.dtype == torch.float32
        assert set(masks.unique().tolist()) == {0, 1}
        shares = masks.mean((1, 2, 3))
        assert shares.min() > 0.02
        assert shares.max() <= 0.4
        counts = torch.histc(shares, 4, 0, 0.4)  # drawn evenly from 5% on
        assert counts.min() > 10
        assert counts.max() < 75

    @pytest.mark.parametrize("share", [0.01, 0.1, 0.9])
    def test_another_largest_share(self, share):
        shares = random_holes(40, 64, 48, share).mean((1, 2, 3))
        assert shares.min() > 0
        assert 0.4 * share < shares.max() <= share

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
    def test_in_pictures_of_any_size_something_is_missing_and_something_there(
        self, height, width, seed
    ):
        if height * width > 1:
            (mask,) = random_holes(1, height, width, 0.4, seed)
            assert mask.shape == (1, height, width)
            assert 1 <= mask.sum() <= max(1, 0.4 * height * width)

    def test_a_seed_gives_the_same_again_and_each_mask_has_its_own(self):
        masks = random_holes(6, 40, 48, seeds=3)
        assert torch.equal(masks, random_holes(6, 40, 48, seeds=3))
        assert torch.equal(masks[:2], random_holes(2, 40, 48, seeds=3))
        assert not torch.equal(masks, random_holes(6, 40, 48, seeds=4))
        assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 6
        by_seed = random_holes(3, 40, 48, seeds=[11, 12, 13])
        assert torch.equal(by_seed[1:], random_holes(2, 40, 48, seeds=[12, 13]))

    def test_strokes_hang_together(self):
        """Free-form strokes, not speckles: nearly every missing pixel has
        missing neighbours.
        """
        masks = random_holes(20, 64, 64)
        around = torch.nn.functional.avg_pool2d(masks, 3, 1, 1, count_include_pad=False)
        assert float(around[masks > 0].mean()) > 0.8

    def test_bad_input(self):
        for share in (0, -0.1, 0.95, math.nan):
            with refused("a share of", "at most 0.9"):
                random_holes(1, 8, 8, share)
        for count, height, width in ((0, 8, 8), (1, 0, 8), (1, 8, -1), (1, 1, 1)):
            with refused(f"{count} masks of {width}x{height}", "at least one"):
                random_holes(count, height, width)
        with refused("2 seeds", "3 masks"):
            random_holes(3, 8, 8, seeds=[1, 2])


class TestBoxes:
    def test_one_rectangle_of_a_share_and_shape_within_bounds(self):
        masks = random_boxes(200, 64, 48, 0.25)
        assert masks.shape == (200, 1, 64, 48)
        assert set(masks.unique().tolist()) == {0, 1}
        places = set()
        for (mask,) in masks:
            rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
            top, bottom = int(rows.min()), int(rows.max()) + 1
            left, right = int(columns.min()), int(columns.max()) + 1
            assert mask[top:bottom, left:right].all()
            assert mask.sum() == (bottom - top) * (right - left)
            assert 0.4 < (bottom - top) / (right - left) < 2.6
            places.add((top, left))
        assert len(places) > 150
        shares = masks.mean((1, 2, 3))
        assert 0.04 < shares.min() < 0.08
        assert 0.22 < shares.max() <= 0.25

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
    def test_in_pictures_of_any_size_something_is_missing_and_something_there(
        self, height, width, seed
    ):
        if height * width > 1:
            (mask,) = random_boxes(1, height, width, 0.9, seed)
            assert 1 <= mask.sum() < height * width

    def test_a_seed_gives_the_same_again(self):
        masks = random_boxes(6, 40, 48, seeds=3)
        assert torch.equal(masks[:2], random_boxes(2, 40, 48, seeds=3))
        assert not torch.equal(masks, random_boxes(6, 40, 48, seeds=4))

    def test_bad_input(self):
        with refused("a share of 0", "at most 0.9"):
            random_boxes(1, 8, 8, 0)
        with refused("2 seeds", "3 masks"):
            random_boxes(3, 8, 8, seeds=[1, 2])


def test_in_the_training_loop_no_value_is_asked_for(device):
    """What the tasks call instead of the checked functions."""
    from pltutorial.degradations import downscaled

    images, generators = (
        picture(32, 32, count=2, device=device),
        [torch.Generator(), torch.Generator()],
    )
    with Operations() as seen:
        downscaled(images, 4, "bicubic")
        downscaled(images, 4, "gaussian")
        add_noise(images, torch.tensor([3.0, 4.0]), generators)
    assert seen.names
    assert seen.to_host == []


# --- blur -----------------------------------------------------------------------------


class TestBlur:
    @pytest.mark.parametrize("length", [1, 3.5, 15])
    @pytest.mark.parametrize("angle", [0, 0.4, math.pi / 2, 3])
    @pytest.mark.parametrize("bend", [-0.2, 0, 0.1])
    def test_motion_is_a_path_of_this_length_and_angle(self, length, angle, bend):
        kernel = motion_kernel(length, angle, bend).double()
        assert kernel.min() >= 0
        assert kernel.sum() == pytest.approx(1, abs=1e-6)
        place = torch.arange(len(kernel), dtype=torch.float64) - len(kernel) // 2
        x, y = (kernel.sum(0) * place).sum(), (kernel.sum(1) * place).sum()
        assert abs(x) < 0.02 * length + 0.01  # its centre is in the middle
        assert abs(y) < 0.02 * length + 0.01
        if not bend and length > 10:
            xx, yy = ((kernel.sum(axis) * place.square()).sum() for axis in (0, 1))
            assert xx + yy == pytest.approx(length**2 / 12, rel=0.05)
            xy = (kernel * place * place[:, None]).sum()
            found = 0.5 * math.atan2(2 * xy, xx - yy)
            assert math.sin(found - angle) == pytest.approx(0, abs=0.02)

    @pytest.mark.parametrize("radius", [0, 0.5, 1, 2.7, 4])
    def test_defocus_is_a_disc(self, radius):
        kernel = defocus_kernel(radius)
        assert kernel.sum() == pytest.approx(1, abs=1e-6)
        for other in (kernel.flip(0), kernel.flip(1), kernel.T):
            assert torch.equal(kernel, other)
        area = 1 / kernel.max()
        assert float(area) == pytest.approx(
            max(1, math.pi * radius**2), rel=0.35, abs=1
        )
        assert kernel[len(kernel) // 2, 0] > 0  # no border of zeros

    def test_each_picture_has_its_own_kernel(self):
        images = picture(24, 30, count=2)
        kernels = torch.stack([motion_kernel(5, 0.3, 0.1, 11), defocus_kernel(2, 11)])
        blurred = blur_with(images, kernels)
        for number in range(2):
            padded = F.pad(images[number : number + 1], (5, 5, 5, 5), mode="reflect")
            weight = kernels[number].flip(0, 1)[None, None]
            plain = torch.cat(
                [F.conv2d(part, weight) for part in padded.split(1, 1)], 1
            )
            assert torch.allclose(blurred[number], plain[0], atol=1e-6)
        point = torch.zeros(1, 3, 11, 11)
        point[..., 5, 5] = 1  # a point of light draws the kernel itself
        assert torch.allclose(
            blur_with(point, kernels[:1])[0, 0], kernels[0], atol=1e-7
        )

    def test_nothing_changes_what_is_even_or_not_blurred(self):
        even = torch.full((1, 3, 9, 4), 0.3)
        kernel = motion_kernel(15, 1.0, 0.1, 19)[None]
        assert torch.allclose(blur_with(even, kernel), even, atol=1e-6)
        image = picture(16, 16)
        assert torch.equal(blur_with(image, defocus_kernel(0)[None]), image)

    def test_refused(self):
        with refused("length=0"):
            motion_kernel(0)
        with refused("radius=-1"):
            defocus_kernel(-1)
        with refused("size=4", "odd"):
            defocus_kernel(1, 4)
        with refused("size=3", "needs"):
            motion_kernel(15, size=3)
        with refused("(3, 3)", "K odd"):
            blur_with(picture(16, 16), torch.ones(3, 3))
        with refused("kernels of shape ()", "K odd"):
            blur_with(picture(16, 16), torch.tensor(0.5))
        with refused("3 kernels", "2 pictures"):
            blur_with(picture(16, 16, count=2), torch.ones(3, 5, 5))
