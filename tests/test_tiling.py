"""Tiles: together they are the whole, no seam shows, and none is larger
than it should be.
"""

from __future__ import annotations

import numpy
import pytest
import torch
import torch.nn.functional as F
from helpers import picture, refused
from PIL import Image
from random_networks import livened
from torch.utils._python_dispatch import TorchDispatchMode

from pltutorial import (
    apply,
    colorize,
    deblur,
    denoise,
    inpaint,
    read_image,
    upscale,
    write_image,
)
from pltutorial.apply import in_tiles
from pltutorial.degradations import random_holes
from pltutorial.images import to_bytes, to_floats
from pltutorial.networks.gated import GatedInpaintingNet
from pltutorial.networks.residual import (
    DenoisingNet,
    InpaintingNet,
    SubPixelNet,
    SuperResolutionNet,
)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 8), (33, 64), (40, 41)])
@pytest.mark.parametrize(
    ("tile", "reach", "fold"),
    [(1, 0, 1), (8, 3, 1), (16, 5, 4), (9, 2, 2), (100, 9, 4)],
)
def test_tiles_together_are_the_whole(size, tile, reach, fold):
    image = picture(*size, count=2)
    seen = []

    def double(part: torch.Tensor) -> torch.Tensor:
        seen.append(part.shape[-2:])
        return part.repeat_interleave(2, -1).repeat_interleave(2, -2)

    made = in_tiles(double, (image,), reach=reach, tile=tile, fold=fold, factor=2)
    assert torch.equal(made, double(image))
    most = tile + fold - 1 + 2 * (reach + fold - 1)
    assert max(max(shape) for shape in seen[:-1]) <= most
    assert len(seen) - 1 <= -(-size[0] // tile) * -(-size[1] // tile)


def test_tiles_are_of_about_one_size():
    widths = []
    in_tiles(
        lambda part: widths.append(part.shape[-1]) or part,
        (torch.zeros(1, 1, 1, 101),),
        reach=0,
        tile=100,
    )
    assert widths == [51, 50]


def test_tiles_begin_where_squares_begin():
    """Each 4x4 square is seen in one piece: its mean is the same in
    tiles as in the whole.
    """
    image = picture(30, 45)

    def squares(part: torch.Tensor) -> torch.Tensor:
        height, width = part.shape[-2:]
        part = F.pad(part, (0, -width % 4, 0, -height % 4))
        return (
            F.avg_pool2d(part, 4)
            .repeat_interleave(4, -1)
            .repeat_interleave(4, -2)[..., :height, :width]
        )

    torch.testing.assert_close(
        in_tiles(squares, (image,), reach=3, tile=10, fold=4), squares(image)
    )


def test_all_images_are_cut_at_the_same_places():
    image, mask = picture(20, 30), (picture(20, 30, 1)[:, :1] > 0.5).float()
    made = in_tiles(lambda part, holes: part * holes, (image, mask), reach=2, tile=7)
    assert torch.equal(made, image * mask)


def test_tiles_without_reach_show_seams():
    """What the other tests compare with does depend on its surroundings."""
    image, kernel = picture(40, 40), torch.ones(3, 1, 5, 5) / 25

    def blur(part: torch.Tensor) -> torch.Tensor:
        return F.conv2d(part, kernel, padding=2, groups=3)

    whole = blur(image)
    torch.testing.assert_close(in_tiles(blur, (image,), reach=2, tile=16), whole)
    assert (
        float((in_tiles(blur, (image,), reach=1, tile=16) - whole).abs().max()) > 0.01
    )


@pytest.mark.parametrize("tile", [0, -3])
def test_tiles_of_nothing(tile):
    with refused(f"tile={tile}"):
        in_tiles(lambda part: part, (picture(),), reach=1, tile=tile)


# --- the networks ---------------------------------------------------------------------

NETWORKS = {
    "sub_pixel x4": (SubPixelNet(4, 12, 3), 20),
    "sub_pixel x8": (SubPixelNet(8, 12, 1), 20),
    "paper x2": (SuperResolutionNet(2, 12, 1), 20),
    "paper x4": (SuperResolutionNet(4, 12, 2), 20),
    "paper x8, resize": (SuperResolutionNet(8, 8, 1, upsampling="resize"), 20),
    "denoising": (DenoisingNet(12, 3), 30),
    "inpainting": (InpaintingNet(12, 2), 60),
    "gated inpainting": (GatedInpaintingNet(12, 2), 60),
}
HALF = 0.5 / 255


def run(
    network, image: torch.Tensor, mask: torch.Tensor, tile: int, precision: str
) -> torch.Tensor:
    how = {"network": network, "tile": tile, "precision": precision}
    if network.kind.endswith("inpainting"):
        return inpaint(image, mask, **how)
    return (denoise if network.kind == "denoising" else upscale)(image, **how)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_seam_shows(name, monkeypatch):
    network, tile = NETWORKS[name]
    network = livened(network)
    sides = (150, 171) if network.kind.endswith("inpainting") else (51, 83)
    image, mask = picture(*sides), random_holes(1, *sides, 0.5, 3)
    image[..., : sides[1] // 2] *= 0.3  # the mean of one tile is not that of another
    whole = run(network, image, mask, 1000, "float32")
    with torch.inference_mode():
        given = (image, mask) if network.kind.endswith("inpainting") else (image,)
        torch.testing.assert_close(
            whole, network(*given).clamp(0, 1), atol=1e-5, rtol=0
        )
    assert float(whole.std()) > 0.05
    tiled = run(network, image, mask, tile, "float32")
    assert float((tiled - whole).abs().max()) < 1e-4
    rough = run(network, image, mask, tile, "bfloat16") - run(
        network, image, mask, 1000, "bfloat16"
    )
    assert float(rough.abs().max()) <= 1 / 255
    monkeypatch.setattr(type(network), "reach", network.fold)
    seams = float((run(network, image, mask, tile, "float32") - whole).abs().max())
    assert seams > 2 * HALF, (
        "these weights do not look far enough for this test to see a seam"
    )


def test_the_mean_of_a_picture_with_holes_is_that_of_the_whole():
    network = livened(InpaintingNet(8, 1))
    image, mask = picture(24, 40), torch.zeros(1, 1, 24, 40)
    mask[..., 20:] = 1
    known = image[..., :20].mean((2, 3), keepdim=True)
    torch.testing.assert_close(network.known_mean(image, mask), known)
    with torch.inference_mode():
        torch.testing.assert_close(network(image, mask, known), network(image, mask))
        assert (
            float(
                (network(image, mask, known + 0.2) - network(image, mask)).abs().max()
            )
            > 0.05
        )


def test_a_network_sees_no_more_than_a_tile_at_once(monkeypatch):
    """Its features, which take the memory, are bounded by the tile whatever the
    size of the picture.
    """
    monkeypatch.setattr(apply, "TILE", 64)
    shapes = []
    for network, sides in (
        (SubPixelNet(4, 1, 1), (160, 70)),
        (DenoisingNet(1, 1), (300, 200)),
    ):
        network.register_forward_pre_hook(
            lambda _, given: shapes.append(tuple(given[0].shape))
        )
        run(network, torch.rand(1, 3, *sides), None, None, "float32")
        most = apply.TILE * network.fold + 2 * network.reach + 3 * network.fold
        assert len(shapes) > 2
        assert max(max(shape[-2:]) for shape in shapes) <= most
        shapes.clear()


def test_tiles_without_holes_cost_nothing():
    network, calls = livened(InpaintingNet(8, 1)), []
    network.register_forward_hook(lambda *_: calls.append(1))
    image, mask = picture(128, 128), torch.zeros(1, 1, 128, 128)
    mask[..., 60:62, 3:5] = 1
    made = inpaint(image, mask, network=network, tile=32, precision="float32")
    assert len(calls) < 16
    assert torch.equal(made[..., 64:], image[..., 64:])


# --- pictures as bytes ----------------------------------------------------------------

TASKS = {
    "denoise": (denoise, 1),
    "deblur": (deblur, 1),
    "colorize": (colorize, 1),
    "upscale": (upscale, 4),
    "upscale matched": (upscale, 4),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_picture_as_bytes_is_made_to_what_would_be_written(name, tmp_path):
    """What a file holds, and what a file of the result would hold: nothing is lost."""
    function, factor = TASKS[name]
    how = {"match_histogram": True} if name == "upscale matched" else {}
    path = write_image(tmp_path / "photo.png", picture(90, 75))
    given = read_image(path, dtype=torch.uint8)
    assert (given.shape, given.dtype) == ((1, 3, 90, 75), torch.uint8)
    assert torch.equal(to_floats(given), read_image(path))
    made = function(given, tile=32, **how)
    assert (made.shape, made.dtype) == ((1, 3, 90 * factor, 75 * factor), torch.uint8)
    whole = function(read_image(path), tile=1000, **how)
    wrong = (made.float() - 255 * whole).abs()  # half a step, and what tiles round to
    assert float(wrong.max()) < 0.51
    assert float(whole.std()) > 0.05
    one = write_image(tmp_path / "one.png", made, dtype=torch.uint8)
    other = write_image(tmp_path / "other.png", function(read_image(path), **how))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("network", [DenoisingNet(4, 1), SubPixelNet(4, 4, 1)])
def test_no_float_of_the_whole_is_made_of_bytes(network, monkeypatch):
    """The largest tensor of floats has less than a fifth of the result's values."""
    monkeypatch.setattr(apply, "TILE", 32)
    side, largest = 512 // network.factor, 0

    class Watched(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, given=(), options=None):
            nonlocal largest
            made = operation(*given, **(options or {}))
            if isinstance(made, torch.Tensor) and made.is_floating_point():
                largest = max(largest, made.numel())
            return made

    image, network = to_bytes(picture(side, side)), livened(network)
    work = denoise if network.factor == 1 else upscale
    with Watched():
        made = work(image, network=network)
    assert made.dtype == torch.uint8
    assert 0 < largest < made.numel() / 5


def test_bytes_of_every_value_come_back():
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    floats = to_floats(every)
    values = numpy.arange(256, dtype=numpy.float32) / 255  # as files are read
    assert numpy.array_equal(floats[0, 0].flatten().numpy(), values)
    assert torch.equal(to_bytes(floats), every)
    assert every.dtype == torch.uint8


def test_deep_and_transparent_pictures_as_bytes(tmp_path):
    for mode in ("RGBA", "LA", "I;16", "L", "P", "CMYK"):
        path = tmp_path / ("p.tif" if mode == "CMYK" else "p.png")
        noise = numpy.random.default_rng(0).integers(0, 255, (9, 8, 4), numpy.uint8)
        if mode == "I;16":
            Image.fromarray(noise[..., 0].astype(numpy.uint16) * 251).save(path)
        else:
            Image.fromarray(noise, "RGBA").convert(mode).save(path)
        made = read_image(path, dtype=torch.uint8)
        assert torch.equal(made, to_bytes(read_image(path)))
        made = read_image(path, 6, dtype=torch.uint8)
        assert torch.equal(made, to_bytes(read_image(path, 6)))
    with refused("torch.float64", "torch.uint8"):
        read_image(path, dtype=torch.float64)


@pytest.mark.parametrize("name", ["denoise", "deblur", "colorize", "upscale"])
def test_commands_write_what_the_functions_make(name, command, tmp_path):
    source, target = tmp_path / "photo.png", tmp_path / "out.png"
    function, factor = TASKS[name]
    write_image(source, picture(40, 30))
    code, _, errors = command(name, source, "-o", target)
    assert (code, errors) == (0, "")
    expected = write_image(tmp_path / "expected.png", function(read_image(source)))
    assert target.read_bytes() == expected.read_bytes()
