"""Upscale, denoise and inpaint: what they compute, which network they take, what they
refuse, and what ships.
"""

from __future__ import annotations

import numpy
import pytest
import torch
import torch.nn.functional as F
from helpers import picture, refused
from PIL import Image
from random_networks import CARD, livened, zoo_of_restorers
from skimage.exposure import match_histograms

from pltutorial import bundled, bundled_names, read_image, tasks, write_image, zoo
from pltutorial.degradations import (
    add_noise,
    blur_with,
    crop_to_multiple,
    defocus_kernel,
    downscale,
    motion_kernel,
    random_holes,
)
from pltutorial.networks import FastTransformNet, load_network, save_network
from pltutorial.networks.residual import DenoisingNet, SubPixelNet, SuperResolutionNet
from pltutorial.restoration import (
    blend_networks,
    denoise,
    inpaint,
    read_mask,
    transparency,
    upscale,
    with_histogram_of,
)
from pltutorial.tasks.deblur import deblur

FLOAT = {"precision": "float32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return zoo_of_restorers(tmp_path_factory.mktemp("restoration"))


@pytest.fixture
def restorers(folder, monkeypatch):
    """A zoo of networks with random weights in place of those that ship."""
    monkeypatch.setattr(zoo, "RESTORERS", folder)
    return folder


def by_hand(path, *given) -> torch.Tensor:
    with torch.inference_mode():
        return load_network(path, "cpu")(*given).clamp(0, 1)


def close(given: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(given.cpu(), expected, atol=1e-5, rtol=0)


def holes(height: int, width: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, height, width)
    mask[..., height // 3 : height // 2, width // 4 : width // 2] = 1
    return mask


# --- what they compute ----------------------------------------------------------------


def test_each_is_one_pass_through_the_network_of_its_name(restorers):
    image, mask = picture(21, 30, count=2), holes(21, 30)
    close(
        upscale(image, **FLOAT),
        by_hand(restorers / "upscale_x4_feature.safetensors", image),
    )
    close(
        upscale(image, 4, "pixel", **FLOAT),
        by_hand(restorers / "upscale_x4_pixel.safetensors", image),
    )
    close(
        upscale(image, 8, "feature", **FLOAT),
        by_hand(restorers / "upscale_x8_feature.safetensors", image),
    )
    close(
        denoise(image, **FLOAT),
        by_hand(restorers / "denoise_combined.safetensors", image),
    )
    close(
        denoise(image, "pixel", **FLOAT),
        by_hand(restorers / "denoise_pixel.safetensors", image),
    )
    both = mask.expand(2, -1, -1, -1)
    close(
        inpaint(image, mask, **FLOAT),
        by_hand(restorers / "inpaint_adversarial.safetensors", image, both),
    )
    close(
        inpaint(image, mask, "combined", **FLOAT),
        by_hand(restorers / "inpaint_combined.safetensors", image, both),
    )
    close(
        inpaint(image, both, "pixel", **FLOAT),
        by_hand(restorers / "inpaint_pixel.safetensors", image, both),
    )


def test_of_three_networks_a_number_blends_two(restorers):
    image, mask = picture(16, 20), holes(16, 20)
    likely = inpaint(image, mask, "combined", **FLOAT)
    close(inpaint(image, mask, 1, **FLOAT), likely)
    assert float((inpaint(image, mask, 0.5, **FLOAT) - likely).abs().max()) > 0.01
    with refused("loss=2", "pixel (0), combined (1)"):
        inpaint(image, mask, 2)


def test_a_number_for_the_loss_blends_the_weights(restorers):
    image = picture(16, 20)
    ends = [
        load_network(restorers / f"denoise_{loss}.safetensors", "cpu")
        for loss in ("pixel", "combined")
    ]
    close(denoise(image, 0.0, **FLOAT), denoise(image, "pixel", **FLOAT))
    close(denoise(image, "1", **FLOAT), denoise(image, "combined", **FLOAT))
    expected = denoise(image, network=blend_networks(*ends, 0.3), **FLOAT)
    close(denoise(image, 0.3, **FLOAT), expected)
    mixed = 0.7 * denoise(image, 0, **FLOAT) + 0.3 * denoise(image, 1, **FLOAT)
    assert float((expected - mixed).abs().max()) > 0.01, (
        "weights were to be mixed, not pictures"
    )


def test_a_network_of_ones_own_is_used_and_left_as_it_was(restorers):
    image = picture(20, 24)
    network = livened(SuperResolutionNet(2, 8, 1), 3).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    made = upscale(image, network=network, **FLOAT)
    assert made.shape == (1, 3, 40, 48)
    assert network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    with torch.inference_mode():
        close(made, network.eval()(image))
    close(upscale(image, 2, network=network, **FLOAT), made)


def test_results_are_plain_tensors_on_the_device_of_the_picture(restorers, device):
    image = picture(16, 16, device=device)
    mask = holes(16, 16).to(device)
    for made in (upscale(image), denoise(image), inpaint(image, mask)):
        assert made.device.type == device.type
        assert made.dtype == torch.float32
        assert not made.requires_grad
        weight = torch.ones(1, requires_grad=True, device=device)
        # a tensor of inference mode could not be used here
        (made * weight).sum().backward()
        assert float(weight.grad) == pytest.approx(float(made.sum()), rel=1e-4)


def test_precisions_agree(restorers):
    image, mask = picture(40, 50), holes(40, 50)
    for make in (upscale, denoise, lambda image, **how: inpaint(image, mask, **how)):
        one, other = make(image, precision="float32"), make(image, precision="bfloat16")
        difference = float((one - other).abs().max())
        # random weights amplify; those that ship stay within 2/255, see below
        assert 0 < difference < 6 / 255


def test_what_is_there_stays_exactly_and_what_is_missing_is_not_looked_at(restorers):
    image, mask = picture(40, 52), random_holes(1, 40, 52, 0.4, 5)
    made = inpaint(image, mask)
    assert torch.equal(made * (1 - mask), image * (1 - mask))
    assert torch.equal(inpaint(image * (1 - mask), mask), made)
    assert torch.equal(inpaint(image, mask.bool()), made)
    assert torch.equal(inpaint(image, mask.to(torch.uint8)), made)
    assert float(((made - image) * mask).abs().max()) > 0.05


def test_noise_outside_of_the_range_is_looked_at(restorers):
    noisy = add_noise(picture(24, 24), 50)
    assert float(noisy.min()) < -0.05
    close(
        denoise(noisy, **FLOAT),
        by_hand(restorers / "denoise_combined.safetensors", noisy),
    )
    assert float((denoise(noisy) - denoise(noisy.clamp(0, 1))).abs().max()) > 0.01


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (13, 1), (2, 3), (5, 70)])
def test_strips_and_tiny_pictures(restorers, size):
    image = picture(*size)
    assert upscale(image).shape == (1, 3, 4 * size[0], 4 * size[1])
    assert denoise(image).shape == image.shape
    for made in (upscale(image, 8), denoise(image)):
        assert bool(((made >= 0) & (made <= 1)).all())
    if size != (1, 1):
        mask = torch.zeros(1, 1, *size)
        mask[..., -1, -1] = 1
        assert torch.equal((inpaint(image, mask) * (1 - mask)), image * (1 - mask))


# --- histograms -----------------------------------------------------------------------


def test_histograms_are_matched_as_elsewhere():
    """For pictures of 8 bits the curve is that of scikit-image."""
    image, reference = (
        (given * 255).round() / 255
        for given in (picture(40, 50), picture(31, 27, 1) ** 2 * 0.8)
    )
    made = with_histogram_of(image, reference)
    levels = [
        (given[0] * 255).round().permute(1, 2, 0).numpy().astype(numpy.uint8)
        for given in (image, reference)
    ]
    expected = match_histograms(*levels, channel_axis=-1) / 255
    difference = numpy.abs(made[0].permute(1, 2, 0).numpy() - expected)
    # scikit-image rounds its result down to 8 bits
    assert difference.max() < 1.01 / 255
    means = [given.mean((0, 2, 3)) for given in (made, reference, image)]
    torch.testing.assert_close(means[0], means[1], atol=2e-3, rtol=0)
    assert float((means[2] - means[1]).abs().max()) > 0.05


def test_a_picture_has_its_own_histogram_already():
    image = (picture(33, 20) * 255).round() / 255
    torch.testing.assert_close(
        with_histogram_of(image, image), image, atol=1e-6, rtol=0
    )
    for value in (0.0, 1.0):
        flat = torch.full((1, 3, 4, 4), value)
        assert torch.equal(
            with_histogram_of(image, flat), flat[..., :1, :1].expand_as(image)
        )


def test_upscale_can_match_the_histogram_of_its_input(restorers):
    image = picture(20, 20, count=2)
    plain, matched = (
        upscale(image, **FLOAT),
        upscale(image, match_histogram=True, **FLOAT),
    )
    close(matched, with_histogram_of(plain, image))
    assert float((matched - plain).abs().max()) > 0.05


# --- blends ---------------------------------------------------------------------------


def test_weights_lie_on_the_line_between():
    one, other = (livened(SuperResolutionNet(4, 4, 1), seed) for seed in (1, 2))
    before = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    third = blend_networks(one, other, 0.25).state_dict()
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, before[name])
        if tensor.is_floating_point():  # batch normalisation's means too
            torch.testing.assert_close(
                third[name], 0.75 * tensor + 0.25 * other.state_dict()[name]
            )
    image = picture(12, 12)
    for share, end in ((0, one), (1, other)):
        close(
            upscale(image, network=blend_networks(one, other, share)),
            upscale(image, network=end),
        )
    for share in (-0.1, 1.1, float("nan")):
        with refused(f"share of {share}"):
            blend_networks(one, other, share)
    with refused("two architectures"):
        blend_networks(one, SuperResolutionNet(4, 4, 2), 0.5)
    with refused("two architectures"):
        blend_networks(livened(SubPixelNet(4, 4, 1)), livened(DenoisingNet(4, 1)), 0.5)


# --- which network --------------------------------------------------------------------


def test_networks_are_found_by_task_loss_and_factor(restorers, tmp_path):
    for task, loss, factor, name in (
        ("upscale", None, 4, "upscale_x4_feature"),
        ("upscale", "pixel", 8, "upscale_x8_pixel"),
        ("upscale", "adversarial", 4, "upscale_x4_adversarial"),
        ("denoise", None, 4, "denoise_combined"),
        ("denoise", "camera", 4, "denoise_camera"),
        ("inpaint", None, 4, "inpaint_adversarial"),
        ("inpaint", "pixel", 4, "inpaint_pixel"),
        ("inpaint", "adversarial", 4, "inpaint_adversarial"),
        ("deblur", None, 4, "deblur_combined"),
    ):
        network = zoo.load_restorer(task, loss, factor=factor)
        expected = load_network(restorers / f"{name}.safetensors")
        assert network.config == expected.config
        assert all(
            torch.equal(a, b)
            for a, b in zip(network.parameters(), expected.parameters(), strict=True)
        )
        assert network.card["machine"] == "a test"
        assert not network.training
    with refused("'upscal'", "'upscale'"):
        zoo.load_restorer("upscal")
    with refused("'featur'", "'feature'"):
        zoo.load_restorer("upscale", "featur")
    with refused("'feature'", "pixel, camera, combined"):
        zoo.load_restorer("denoise", "feature")
    with refused("'pixel'", "combined"):
        zoo.load_restorer("deblur", "pixel")
    with refused("loss=1.5"):
        zoo.load_restorer("denoise", 1.5)
    with refused("loss=nan"):
        zoo.load_restorer("denoise", "nan")
    for factor in (2, 3, 0, -4, 4.5):
        with refused(f"by {factor}", "4 or 8", "pltutorial train upscale"):
            upscale(picture(), factor)
    with refused("'adversarial'", "by 8", "give 4"):
        upscale(picture(), 8, "adversarial")


def test_a_file_of_ones_own(restorers, tmp_path):
    image = picture(20, 20)
    double = livened(SubPixelNet(2, 4, 1))
    path = save_network(tmp_path / "double.safetensors", double, CARD)
    network = zoo.load_restorer("upscale", model=path)
    assert upscale(image, network=network).shape == (1, 3, 40, 40)
    with refused("factor 4", "enlarges by 2"):
        upscale(image, 4, network=network)
    with refused(
        "double.safetensors", "'sub_pixel', for `upscale`", "pltutorial train denoise"
    ):
        zoo.load_restorer("denoise", model=path)
    with refused("the network that was given", "for `upscale`"):
        inpaint(image, holes(20, 20), network=network)
    with refused("a Conv2d", "pltutorial train denoise"):
        denoise(image, network=torch.nn.Conv2d(3, 3, 1))
    style = save_network(tmp_path / "style.safetensors", FastTransformNet(4, 1), CARD)
    with refused("style.safetensors", "for `stylize`"):
        zoo.load_restorer("upscale", model=style)
    with refused("double.safetensors", "has no style", "pltutorial upscale"):
        zoo.load_style(path)
    photo = write_image(tmp_path / "photo.jpg", image)
    with refused("photo.jpg", "is a picture and no network"):
        zoo.load_restorer("upscale", model=photo)
    with refused("gone.safetensors", "does not exist"):
        zoo.load_restorer("upscale", model=tmp_path / "gone.safetensors")


def test_an_empty_folder_says_how_to_get_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "RESTORERS", tmp_path)
    for name, make in (
        ("upscale_x4_feature", lambda: upscale(picture())),
        ("denoise_combined", lambda: denoise(picture())),
        ("inpaint_pixel", lambda: inpaint(picture(), holes(32, 32), "pixel")),
        ("deblur_combined", lambda: deblur(picture())),
    ):
        with refused(name, f"pltutorial train {name.split('_')[0]}"):
            make()


def test_cards_say_what_a_network_is_for(restorers):
    cards = zoo.available(zoo.RESTORERS)
    assert len(cards) == 12
    assert (cards["upscale_x8_pixel"]["task"], cards["upscale_x8_pixel"]["factor"]) == (
        "upscale",
        8,
    )
    assert (cards["inpaint_pixel"]["task"], cards["inpaint_pixel"]["factor"]) == (
        "inpaint",
        1,
    )
    assert "styles" not in cards["inpaint_pixel"]
    lines = zoo.card_text(cards["denoise_pixel"]).splitlines()
    assert lines[lines.index("loss by step: step: pixel, total") + 1] == "  1: 3, 3"
    assert "task: denoise" in lines
    assert not [line for line in lines if line.startswith("terms")]


# --- what is refused ------------------------------------------------------------------


def test_pictures_that_are_refused(restorers):
    for make in (upscale, denoise, lambda image: inpaint(image, holes(32, 32))):
        with refused("255"):
            make(picture() * 255)
        with refused("(N, 3, H, W)"):
            make(picture()[0])
        with refused("(N, 3, H, W)"):
            make(torch.rand(1, 4, 32, 32))
        with refused("NaN"):
            make(picture() * float("nan"))
    with refused("32x4", "5x5"):
        upscale(picture(4, 32), network=livened(SuperResolutionNet(4, 4, 1)))
    with refused("'half'", "float32"):
        denoise(picture(), precision="half")
    with refused("'gpu9'"):
        denoise(picture(), device="gpu9")
    with refused("tile=0"):
        denoise(picture(), tile=0)


def test_masks_that_are_refused(restorers):
    image, mask = picture(24, 30), holes(24, 30)
    for wrong, words in (
        (holes(30, 24), ("24x30", "30x24")),
        (mask[0], ("(1, 24, 30)", "(1, 1, 24, 30)")),
        (mask.expand(1, 3, -1, -1), ("(1, 3, 24, 30)", "one channel")),
        (mask.expand(2, -1, -1, -1), ("(2, 1, 24, 30)",)),
        (mask * 0.5, ("other values than 0 and 1", "mask > 0.5")),
        (mask * 255, ("other values than 0 and 1",)),
        (mask * float("nan"), ("other values than 0 and 1",)),
        (mask * 0, ("nothing is masked",)),
        (mask * 0 + 1, ("everything is masked",)),
        (mask.numpy(), ("ndarray",)),
        (None, ("NoneType",)),
    ):
        with refused(*words):
            inpaint(image, wrong)
    two = torch.cat([mask, mask * 0 + 1])
    with refused("everything is masked"):
        inpaint(picture(24, 30, count=2), two)
    some = torch.cat([mask, mask * 0])
    made = inpaint(picture(24, 30, count=2), some)
    assert torch.equal(made[1], picture(24, 30, count=2)[1])


def test_memory_that_is_not_there(restorers, monkeypatch):
    monkeypatch.setattr("pltutorial.memory.free", lambda device: 10_000)
    with refused("128x128", "shrink"):
        upscale(picture())
    monkeypatch.setattr("pltutorial.memory.free", lambda device: 10**18)

    def full(*given):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(DenoisingNet, "forward", full)
    with refused("32x32", "tile="):
        denoise(picture())


# --- masks in files -------------------------------------------------------------------


def grey(values: numpy.ndarray) -> Image.Image:
    return Image.fromarray(values.astype(numpy.uint8))


def test_masks_are_read_with_soft_edges(tmp_path):
    mask = random_holes(1, 60, 80, 0.4, 2)
    values = mask[0, 0].numpy() * 255
    grey(values).save(tmp_path / "hard.png")
    grey(values).save(tmp_path / "jpeg.jpg", quality=85)
    grey(values).convert("1").save(tmp_path / "bits.png")
    grey(values).convert("RGBA").save(tmp_path / "opaque.png")
    grey(values).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(values.astype(numpy.uint16) * 257).save(tmp_path / "sixteen.png")
    for name in (
        "hard.png",
        "jpeg.jpg",
        "bits.png",
        "opaque.png",
        "palette.png",
        "sixteen.png",
    ):
        read = read_mask(tmp_path / name)
        assert read.shape == (1, 1, 60, 80)
        assert read.dtype == torch.float32
        assert float((read - mask).abs().mean()) <= (
            0.01 if name == "jpeg.jpg" else 0
        ), name


def test_masks_in_files_that_are_refused(tmp_path):
    values = numpy.zeros((20, 30))
    values[5:10] = 255
    values[:2] = 128
    grey(values).save(tmp_path / "soft.png")
    with refused("10% of the mask", "soft.png", "neither black nor white"):
        read_mask(tmp_path / "soft.png")
    write_image(tmp_path / "photo.png", picture())
    with refused("photo.png", "neither black nor white"):
        read_mask(tmp_path / "photo.png")
    clear = numpy.zeros((20, 30, 4))
    clear[5:10] = 255
    grey(clear).save(tmp_path / "clear.png")
    with refused("clear.png", "transparent"):
        read_mask(tmp_path / "clear.png")
    with refused("gone.png", "does not exist"):
        read_mask(tmp_path / "gone.png")
    with refused("hard", "600", "max_pixels"):
        grey(values * 0).save(tmp_path / "hard.png")
        read_mask(tmp_path / "hard.png", max_pixels=100)


def test_transparency_is_what_is_not_wholly_opaque(tmp_path):
    alpha = numpy.full((4, 6), 255)
    alpha[1, 2], alpha[3, 5] = 0, 254
    colour = numpy.concatenate([numpy.zeros((4, 6, 3)), alpha[..., None]], 2)
    found = transparency(grey(colour))
    assert found.shape == (1, 1, 4, 6)
    assert found.sum() == 2
    assert found[0, 0, 1, 2] == found[0, 0, 3, 5] == 1
    colour[..., 3] = 255
    assert transparency(grey(colour)) is None
    assert transparency(grey(colour[..., :3])) is None


# --- what ships -----------------------------------------------------------------------

SHIPPED = [
    *(
        f"upscale_x{factor}_{loss}"
        for factor in (4, 8)
        for loss in ("pixel", "feature")
    ),
    *(
        f"{task}_{loss}"
        for task in ("denoise", "inpaint")
        for loss in ("pixel", "combined")
    ),
    "upscale_x4_adversarial",
    "denoise_camera",
    "inpaint_adversarial",
    "deblur_combined",
]


def accuracy(output: torch.Tensor, target: torch.Tensor) -> float:
    """PSNR of all channels in dB."""
    return float(-10 * (output - target).square().mean().log10())


def photograph(size: int = 192) -> torch.Tensor:
    return crop_to_multiple(
        read_image(bundled(f"test/{bundled_names('test')[0]}"), size), 8
    )


def test_what_ships_is_whole_and_small():
    cards = zoo.available(zoo.RESTORERS)
    assert set(cards) == set(SHIPPED)
    sizes = {name: card["bytes"] for name, card in cards.items()}
    assert sizes.pop("deblur_combined") <= 600_000
    assert sizes.pop("upscale_x4_adversarial") <= 900_000
    assert sizes.pop("inpaint_adversarial") <= 1_600_000
    assert sum(sizes.values()) <= 6_600_000
    for name, card in cards.items():
        assert not [key for key in zoo.CARD if card.get(key) in (None, "", [], {})], (
            name
        )
        assert name.startswith(card["task"]), name
        assert all(len(point) == len(card["terms"]) for point in card["curve"]), name
        config = load_network(zoo.RESTORERS / f"{name}.safetensors", "cpu").config
        if tasks.find(card["task"]).losses == ("combined",):
            continue  # it ships alone
        if name == "inpaint_adversarial":
            continue  # its network is another, and no number blends it
        twin = zoo.RESTORERS / f"{name.rpartition('_')[0]}_pixel.safetensors"
        assert config == load_network(twin, "cpu").config, (
            f"{name} cannot be blended with its twin"
        )


@pytest.mark.parametrize("factor", [4, 8])
def test_shipped_networks_enlarge_better_than_bicubic(factor):
    photo = photograph()
    small = downscale(photo, factor)
    bicubic = accuracy(
        F.interpolate(small, photo.shape[-2:], mode="bicubic").clamp(0, 1), photo
    )
    found = {
        loss: accuracy(upscale(small, factor, loss), photo)
        for loss in ("pixel", "feature", 0.5)
    }
    assert found["pixel"] > bicubic + 0.5
    assert found["feature"] < found[0.5] < found["pixel"] + 0.05
    if factor == 4:
        adversarial = accuracy(upscale(small, 4, "adversarial"), photo)
        assert bicubic < adversarial < found["feature"]


def test_shipped_networks_take_noise_away():
    photo = photograph()
    for sigma, gain in ((15, 4), (25, 6), (50, 8)):
        noisy = add_noise(photo, sigma)
        found = {
            loss: accuracy(denoise(noisy, loss), photo)
            for loss in ("pixel", "combined")
        }
        assert found["combined"] < found["pixel"]
        assert found["pixel"] > accuracy(noisy.clamp(0, 1), photo) + gain
        assert found["combined"] > accuracy(noisy.clamp(0, 1), photo) + gain - 3


def test_the_shipped_network_takes_blur_away_and_leaves_a_sharp_picture_alone():
    photo = photograph()
    for kernel, gain in ((motion_kernel(9, 0.5), 1.5), (defocus_kernel(2), 2)):
        blurred = add_noise(blur_with(photo, kernel[None]), 2).clamp(0, 1)
        assert accuracy(deblur(blurred), photo) > accuracy(blurred, photo) + gain
    assert accuracy(deblur(photo), photo) > 30


def test_shipped_networks_fill_holes():
    photo = photograph()
    mask = random_holes(1, *photo.shape[-2:], 0.3, 1)
    mean = (photo * (1 - mask)).sum((2, 3), keepdim=True) / (1 - mask).sum()
    flat = accuracy(photo * (1 - mask) + mean * mask, photo)
    for loss in ("pixel", "combined", "adversarial"):
        assert accuracy(inpaint(photo, mask, loss), photo) > flat + 3


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_agree_in_both_precisions_and_in_tiles(name):
    task, _, loss = name.replace("_x", "-x").partition("_")
    photo = photograph(96)
    mask = random_holes(1, *photo.shape[-2:], 0.2, 1)

    def make(**how) -> torch.Tensor:
        if task == "denoise":
            return denoise(add_noise(photo, 25), loss, **how)
        if task == "inpaint":
            return inpaint(photo, mask, loss, **how)
        if task == "deblur":
            return deblur(photo, **how)
        return upscale(photo, int(task[-1]), loss, **how)

    whole = make(precision="float32")
    assert float((make(precision="float32", tile=32) - whole).abs().max()) < 1 / 255
    rough = make(precision="bfloat16")
    assert float((rough - whole).abs().flatten().quantile(0.999)) <= 2 / 255
    assert float((make(precision="bfloat16", tile=32) - rough).abs().max()) <= 1 / 255
