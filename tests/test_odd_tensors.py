"""Tensors that are no pictures, no maps and no weights, where one is wanted: every
public function that takes a tensor ends in one sentence about it, or in right work.
"""

from __future__ import annotations

import functools
import inspect

import pytest
import torch
from helpers import assert_sentence, picture, refused

import pltutorial as P
from pltutorial import (
    InputError,
    LossNetwork,
    compare,
    crop_to_multiple,
    distances,
    feature_loss,
    flow,
    gram_matrix,
    pixel_loss,
    resize,
    total_variation,
)
from pltutorial.metrics import lattice
from pltutorial.tensors import check_maps
from pltutorial.video import temporal_smoothing

ONE, OTHER, SMALL, FOUR = picture(48, 48), picture(48, 48, 1), picture(24, 24), 4
MANY = picture(48, 48, 2, FOUR)
MASK = torch.zeros(1, 1, 48, 48)
MASK[..., 5:20, 5:20] = 1
MAPS, MORE = torch.rand(2, 1, 8, 6, 6).unbind()
ROWS, TIME = torch.rand(12, 4), torch.tensor([0.5])
QUICK = {"steps": 1, "sizes": (32,), "progress": False}


@functools.cache
def phi() -> LossNetwork:
    return LossNetwork(precision="float32", device="cpu")


@functools.cache
def made(kind: str) -> torch.nn.Module:
    sizes = {"InversionNet": {"channels": 8, "stride": 8}, "VAE": {"size": 48}}
    return getattr(P, kind)(**sizes.get(kind, {})).eval()


def optimized(name: str, *given, **how):
    return getattr(P, name)(*given, network=phi(), **how, **QUICK).image


def network(kind: str):
    return lambda image: made(kind)(image), (ONE,)


def squares(x: torch.Tensor) -> P.optimize.LossTerms:
    return P.optimize.LossTerms(pixel=(x - SMALL).square().mean())


# what is called, and with which right tensors
CALLS = {
    "ColorizationNet": network("ColorizationNet"),
    "ConvAutoencoder": network("ConvAutoencoder"),
    "DeepSimLoss": (lambda *two: P.DeepSimLoss(comparator=phi())(*two), (ONE, OTHER)),
    "DenoisingNet": network("DenoisingNet"),
    "Discriminator": network("Discriminator"),
    "Encoder": (lambda image: P.Encoder(phi())(image, ["relu1_2"]), (ONE,)),
    "FastTransformNet": network("FastTransformNet"),
    "FlowNet": (lambda *given: made("FlowNet")(*given), (ONE, TIME)),
    "GatedInpaintingNet": (
        lambda *given: made("GatedInpaintingNet")(*given),
        (ONE, MASK),
    ),
    "InpaintingNet": (lambda *given: made("InpaintingNet")(*given), (ONE, MASK)),
    "InversionNet": (lambda code: made("InversionNet")(code), (MAPS,)),
    "LossNetwork": (lambda image: phi()(image, ["relu2_2"]), (ONE,)),
    "PerceptualLoss": (
        lambda output, content, style, weight: P.PerceptualLoss(
            {"relu2_2": 1.0}, {"relu1_2": 1.0}, network=phi()
        )(output, content, style, weight=weight),
        (ONE, OTHER, SMALL, MASK),
    ),
    "SubPixelNet": network("SubPixelNet"),
    "SuperResolutionNet": network("SuperResolutionNet"),
    "TransformNet": network("TransformNet"),
    "VAE": network("VAE"),
    "add_camera_noise": (
        P.add_camera_noise,
        (ONE, torch.tensor([25.0]), torch.tensor([0.8]), TIME),
    ),
    "add_noise": (P.add_noise, (ONE, torch.tensor([25.0]))),
    "blur_with": (P.blur_with, (ONE, P.defocus_kernel(2.0)[None])),
    "colorize": (P.colorize, (ONE,)),
    "compare": (compare.compare, (ONE, OTHER, SMALL)),
    "crop_to_multiple": (lambda image: crop_to_multiple(image, 4), (ONE,)),
    "curves": (lambda line: P.curves({"a": line}, "x", "y"), (TIME,)),
    "deblur": (P.deblur, (ONE,)),
    "denoise": (P.denoise, (ONE,)),
    "diversity": (P.diversity, (MANY,)),
    "downscale": (lambda image: P.downscale(image, 4), (ONE,)),
    "encode": (lambda image: P.encode(image, "relu2_2", phi()), (ONE,)),
    "face_attributes": (P.face_attributes, (ONE,)),
    "feature_distance": (P.feature_distance, (ONE, OTHER)),
    "feature_loss": (lambda a, b, w: feature_loss(a, b, weight=w), (MAPS, MORE, MASK)),
    "frame_slider": (lambda i: P.frame_slider(i, "abcd", "alt", "name"), (MANY,)),
    "gram_matrix": (gram_matrix, (MAPS, MASK)),
    "grid": (lambda image: P.grid([[image]]), (ONE,)),
    "inpaint": (P.inpaint, (ONE, MASK)),
    "invert": (P.invert, (ONE,)),
    "keep_strongest": (lambda code: P.keep_strongest(code, 2), (MAPS,)),
    "kl_divergence": (P.kl_divergence, (ROWS, ROWS)),
    "match_statistics": (P.match_statistics, (MAPS, MORE)),
    "optimize_image": (
        lambda image: P.optimize_image(squares, image, steps=1, progress=False),
        (SMALL,),
    ),
    "perceptual_distance": (P.perceptual_distance, (ONE, OTHER)),
    "perceptual_loss": (
        lambda output, target, style: P.perceptual_loss(output, target, style=style),
        (ONE, OTHER, SMALL),
    ),
    "pixel_loss": (lambda a, b, w: pixel_loss(a, b, weight=w), (ONE, OTHER, MASK)),
    "psnr": (P.psnr, (ONE, OTHER)),
    "reconstruct_features": (
        lambda image: optimized("reconstruct_features", image, "relu1_2"),
        (ONE,),
    ),
    "reconstruct_style": (lambda i: optimized("reconstruct_style", i), (ONE,)),
    "reencode": (lambda image: P.reencode(image, 1), (ONE,)),
    "resize": (lambda image: resize(image, 32), (ONE,)),
    "restyle": (P.restyle, (ONE, OTHER)),
    "sharpness": (P.sharpness, (ONE,)),
    "show": (P.show, (ONE,)),
    "ssim": (P.ssim, (ONE, OTHER)),
    "style_loss": (P.style_loss, (MAPS, MORE)),
    "stylize": (lambda image: P.stylize(image, "great_wave"), (ONE,)),
    "sweep": (lambda image: P.sweep({1: image}, "x"), (ONE,)),
    "to_8_bits": (P.to_8_bits, (ONE,)),
    "total_variation": (lambda i, w: total_variation(i, weight=w), (ONE, MASK)),
    "transfer_style": (
        lambda content, style, here, there, init: optimized(
            "transfer_style", content, style, masks=[(here, there)], init=init
        ),
        (ONE, OTHER, MASK, MASK, ONE),
    ),
    "upscale": (lambda image: P.upscale(image, 4), (SMALL,)),
    "write_image": (lambda image: P.write_image("made.png", image), (ONE,)),
    "y_channel": (P.y_channel, (ONE,)),
    # not among the names of the package itself
    "art_distance": (distances.art_distance, (TIME, ROWS, ROWS)),
    "frechet_distance": (distances.frechet_distance, (ROWS, ROWS)),
    "judged_features": (lambda one: compare.judged_features([one], 32), (ONE,)),
    "kernel_distance": (distances.kernel_distance, (ROWS, ROWS)),
    "lattice": (lattice, (ONE,)),
    "measure": (compare.measure, (ROWS, ROWS)),
    "noisy": (flow.noisy, (ONE, OTHER, TIME)),
    "precision_recall": (distances.precision_recall, (ROWS, ROWS)),
    "style_distances": (distances.style_distances, (ONE, SMALL)),
    "temporal_smoothing": (
        lambda *frames: temporal_smoothing(0.5)(*frames),
        (ONE, OTHER),
    ),
    "velocity": (flow.velocity, (ONE, OTHER, TIME)),
    "warp_error": (
        distances.warp_error,
        (MANY, torch.zeros(3, 2, 48, 48), torch.ones(3, 1, 48, 48)),
    ),
}
NEVER = {  # none of these is calculated with
    "sparse": lambda x: x.to_sparse(),
    "rows of a sparse one": lambda x: x.reshape(len(x), -1).to_sparse_csr(),
    "MKL-DNN": lambda x: x.to_mkldnn(),
    "quantized": lambda x: torch.quantize_per_tensor(x, 1 / 255, 0, torch.quint8),
    "nested": lambda x: torch.nested.nested_tensor([x[0]]),
    "ragged": lambda x: torch.nested.nested_tensor(
        [x.flatten()[:2], x.flatten()[:1]], layout=torch.jagged
    ),
    "complex": lambda x: x.to(torch.complex64),
    "8-bit floats": lambda x: x.to(torch.float8_e4m3fn),
    "a word": lambda x: "pagoda",
}
AT_TIMES = {  # some functions have an answer
    "no values": lambda x: x.to("meta"),
    "a number": lambda x: x.flatten()[0],
    "flat": lambda x: x.flatten(),
    "no batch": lambda x: x[0],
    "none of them": lambda x: x[:0],
    "no width": lambda x: x[..., :0],
    "truth values": lambda x: x > 0.5,
    "integers": lambda x: x.long(),
    "bytes": lambda x: (255 * x).to(torch.uint8),
    "half": lambda x: x.half(),
    "bfloat16": lambda x: x.bfloat16(),
    "NaN": lambda x: x * float("nan"),
    "infinite": lambda x: x + float("inf"),
}
PLAIN = {  # as good as others
    "not contiguous": lambda x: torch.stack([x, x], -1)[..., 0],
    "a leaf with gradients": lambda x: x.clone().requires_grad_(),
    "a parameter": lambda x: torch.nn.Parameter(x.clone()),
}


def each(name: str, kinds: dict):
    """A call with each of its tensors made odd, one at a time."""
    call, given = CALLS[name]
    for place in range(len(given)):
        for kind, make in kinds.items():
            changed = (*given[:place], make(given[place]), *given[place + 1 :])
            yield f"{kind} as tensor {place}", functools.partial(call, *changed)


@pytest.mark.parametrize("name", CALLS)
def test_odd_tensors_are_a_sentence(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for what, call in each(name, NEVER):
        try:
            call()
        except InputError as problem:
            assert_sentence(str(problem))
        else:
            pytest.fail(f"{what} went through")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_odd_values_are_a_sentence_or_an_answer(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for what, call in each(name, AT_TIMES):
        try:
            call()
        except InputError as problem:
            assert_sentence(str(problem))
        except Exception as problem:
            pytest.fail(f"{what}: {type(problem).__name__}: {problem}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_plain_tensors_give_what_others_give(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    call, given = CALLS[name]
    expected = values(call(*given))
    for what, changed in each(name, PLAIN):
        found = values(changed())
        assert len(found) == len(expected), what
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, atol=2e-3, rtol=1e-3), what


def values(result) -> list[torch.Tensor]:
    """Every tensor of a result, and every number, as float32."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list | tuple):
        return [value for one in result for value in values(one)]
    if isinstance(result, torch.Tensor | float):
        return [torch.as_tensor(result).detach().float()]
    return []


def test_every_public_function_that_takes_a_tensor_is_tried():
    takers = []
    for name in P.__all__:
        public = getattr(P, name)
        asked = getattr(public, "forward", public)
        if not callable(public) or not callable(asked):
            continue
        try:
            parameters = inspect.signature(asked).parameters.values()
        except (TypeError, ValueError):
            continue
        if any("Tensor" in str(parameter.annotation) for parameter in parameters):
            takers.append(name)
    assert len(takers) > 50
    assert set(takers) <= set(CALLS)


WEIGHED = {
    "pixels": lambda weight: pixel_loss(SMALL, SMALL, weight=weight),
    "features": lambda weight: feature_loss(SMALL, SMALL, weight=weight),
    "variation": lambda weight: total_variation(SMALL, weight=weight),
    "gram": lambda weight: gram_matrix(SMALL, mask=weight),
}


@pytest.mark.parametrize(
    "shape", [(), (24,), (24, 24), (1, 4, 24, 24), (2, 1, 24, 24), (1, 1, 0, 24)]
)
@pytest.mark.parametrize("weighed", WEIGHED.values(), ids=WEIGHED)
def test_weights_that_fit_no_picture(weighed, shape):
    with refused(f"a weight of shape {shape}", "give one of as many dimensions"):
        weighed(torch.ones(shape))


def test_pictures_of_no_side():
    with refused("shape ()", "(N, 3, H, W)"):
        total_variation(torch.tensor(0.5))
    with refused("shape ()", "(N, 3, H, W)"):
        crop_to_multiple(torch.tensor(0.5), 2)


def test_bytes_are_no_pictures_for_a_loss():
    """Their loss would be 65,025 times as large."""
    with refused("torch.uint8", "255"):
        pixel_loss((255 * ONE).to(torch.uint8), (255 * OTHER).to(torch.uint8))
    with refused("torch.uint8", "255"):
        phi()((255 * ONE).to(torch.uint8), ["relu1_1"])


def test_half_precision_is_resized():
    assert resize(ONE.half(), 32).dtype == torch.float16
    assert torch.allclose(resize(ONE.half(), 32).float(), resize(ONE, 32), atol=2e-3)


class TestMaps:
    def test_a_picture_alone(self):
        with refused("(3, 48, 48)", "[None]"):
            check_maps(ONE[0], "the picture", 3)

    def test_the_precision_of_the_network(self):
        half = made("DenoisingNet").to(torch.float64)
        with refused("torch.float32", "torch.float64"):
            half(ONE)
        assert half(ONE.double()).shape == ONE.shape
        made.cache_clear()

    def test_autocast_converts(self):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert made("ConvAutoencoder")(ONE.bfloat16()).shape == ONE.shape

    def test_networks_without_values_take_pictures_without(self):
        network = P.DenoisingNet().to("meta")
        assert network(ONE.to("meta")).shape == ONE.shape
        with refused("meta", "no values"):
            made("DenoisingNet")(ONE.to("meta"))
