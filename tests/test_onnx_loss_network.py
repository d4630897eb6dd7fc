"""The loss network in a runtime without PyTorch: features, and a gradient that is
written out by hand, against PyTorch's own.
"""

from __future__ import annotations

import numpy
import onnxruntime
import pytest
import torch
from helpers import refused

from pltutorial import LossNetwork, bundled, feature_loss, read_image, style_loss
from pltutorial.onnx.loss_network import features_onnx, style_gradient_onnx

LAYERS = ("relu1_2", "relu2_2", "relu3_3")
CLOSE = 1e-4  # of the whole, float32 against PyTorch's float64


@pytest.fixture(scope="module", params=["max", "average"])
def loss_network(request):
    return LossNetwork(pooling=request.param, precision="float32", device="cpu")


def session(data: bytes):
    return onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])


def nearly(found: numpy.ndarray, expected: torch.Tensor) -> None:
    expected = expected.detach().double().numpy()
    assert found.shape == expected.shape
    assert numpy.linalg.norm(found - expected) <= CLOSE * numpy.linalg.norm(expected)


def test_features_are_the_networks(loss_network):
    layers = ["relu1_2", "relu2_1", "relu2_2"]
    run = session(features_onnx(loss_network, layers)).run
    for size in ((48, 64), (37, 51)):
        image = torch.rand(1, 3, *size)
        for found, layer in zip(
            run(layers, {"image": image.numpy()}), layers, strict=True
        ):
            nearly(found, loss_network(image, [layer])[layer])


def test_a_second_file_goes_on_where_the_first_ends(loss_network):
    first = session(features_onnx(loss_network, ["relu2_2"])).run
    second = session(features_onnx(loss_network, ["relu3_1", "relu3_3"], "relu2_2")).run
    image = torch.rand(1, 3, 37, 51)
    (middle,) = first(["relu2_2"], {"image": image.numpy()})
    for layer in ("relu3_1", "relu3_3"):
        (found,) = second([layer], {"features": middle})
        nearly(found, loss_network(image, [layer])[layer])


@pytest.mark.parametrize("content", ["relu2_2", "relu3_3"])
def test_loss_and_gradient_are_autograds(loss_network, content):
    """By automatic differentiation of the package's losses, at an even and at
    an odd size, between a photograph and a painting.

    In float64: one feature that float32 rounds to the other side of 0 moves PyTorch's
    own gradient by 2e-4. Of maxima the picture is noise: in the sky of a photograph
    equal values lie side by side, and which is the largest is a matter of rounding.
    """
    run = session(style_gradient_onnx(loss_network, LAYERS, content)).run
    photo = read_image(bundled("content/pagoda"))
    painting = read_image(bundled("style/great_wave"), 64)
    style = loss_network(painting, LAYERS)
    grams = {layer: gram(style[layer]) for layer in LAYERS}
    scales = [float(grams[layer].square().sum()) for layer in LAYERS]
    for height, width in ((64, 48), (45, 62)):
        image = photo[..., :height, :width].clone()
        if loss_network.pooling == "max":
            image = torch.rand(
                image.shape, generator=torch.Generator().manual_seed(height)
            )
        image = image.double().requires_grad_()
        target = loss_network(photo[..., 20 : 20 + height, 30 : 30 + width], [content])
        scale = float(target[content].square().mean())
        features = loss_network(image, [*LAYERS, content])
        terms = [
            style_loss(features[layer], grams[layer][None].double()) for layer in LAYERS
        ]
        terms.append(feature_loss(features[content], target[content].double()))
        weights = [
            share / scale for share, scale in zip((1.0, 0.5, 2.0), scales, strict=True)
        ]
        total = sum(w * t for w, t in zip([*weights, 3 / scale], terms, strict=True))
        total.backward()
        feeds = {f"gram_{layer}": grams[layer].numpy() for layer in LAYERS}
        feeds |= {
            "image": image.detach().float().numpy(),
            "style_weights": numpy.float32(weights),
            "content": target[content].numpy(),
            "content_weight": numpy.float32([3 / scale]),
        }
        losses, gradient, new = run(["losses", "gradient", "new_gram_relu2_2"], feeds)
        numpy.testing.assert_allclose(losses, [float(t.detach()) for t in terms], 1e-4)
        nearly(gradient, image.grad)
        nearly(new, gram(features["relu2_2"]))


def gram(feature: torch.Tensor) -> torch.Tensor:
    """By the formula: F F^T / (C H W)."""
    rows = feature[0].flatten(1)
    return rows @ rows.T / rows.numel()


def test_the_files_hold_the_weights_once():
    """Half precision, two bytes a number; the backward pass uses the same."""
    network = LossNetwork(device="cpu")
    count = sum(
        getattr(network, f"weight{n}").numel()
        for n in ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3")
    )
    data = style_gradient_onnx(network, LAYERS, "relu3_3")
    assert 2 * count < len(data) < 2.05 * count + 60_000


def test_other_layers_are_refused():
    network = LossNetwork(device="cpu")
    with refused("'conv1_1'", "relu2_2"):
        features_onnx(network, ["conv1_1"])
    with refused("relu2_1", "deeper"):
        features_onnx(network, ["relu2_1"], "relu2_2")
    with refused("none was given"):
        features_onnx(network, [])
