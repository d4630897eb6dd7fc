"""The checks of chapter 2's exercises: right answers pass, wrong ones get the hint that fits, copies fail."""

import pytest
import torch

from pltutorial.exercises import check_feature_shape, check_receptive_field
from pltutorial.exercises.chapter2 import _receptive_field
from pltutorial.vgg import RELU_LAYERS, LossNetwork


def shape_of(layer, height, width):
    shrink = 2 ** (int(layer[4]) - 1)
    return min(64 * shrink, 512), height // shrink, width // shrink


def field_of(layer):
    block, index = int(layer[4]), int(layer[6])
    side, step = 1, 1
    for earlier in (2, 2, 3, 3)[: block - 1]:
        side, step = side + earlier * 2 * step + step, step * 2
    return side + index * 2 * step


def without_pooling(layer):
    return field_of(layer) - (2 ** (int(layer[4]) - 1) - 1)


def test_right_answers(capsys):
    assert check_feature_shape(shape_of)
    assert check_feature_shape(lambda *asked: list(shape_of(*asked)))
    assert check_receptive_field(field_of)
    assert capsys.readouterr().out.count("Correct: ") == 3


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda layer, h, w: (shape_of(layer, h, w)[0], h, w), "each pooling halves"),
        (lambda layer, h, w: (64 * 2 ** (int(layer[4]) - 1), *shape_of(layer, h, w)[1:]), "never beyond 512"),
        (
            lambda layer, h, w: (
                shape_of(layer, h, w)[0],
                *(-(-side // 2 ** (int(layer[4]) - 1)) for side in (h, w)),
            ),
            "round down",
        ),
        (lambda layer, h, w: shape_of(layer, 128, 192), "each pooling halves"),  # the chapter's own shapes
        (lambda layer, h, w: shape_of(layer, h, w)[::-1], "never beyond 512"),
        (lambda layer, h, w: h * w, "three numbers"),
        (lambda layer, h, w: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_wrong_shapes_get_a_hint(answer, hint, capsys):
    assert not check_feature_shape(answer)
    printed = capsys.readouterr().out
    assert printed.startswith("Not yet: ")
    assert hint in printed


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda layer: 3, "a second one on top sees 5"),
        (without_pooling, "by one step"),
        (lambda layer: 1 + 2 * (RELU_LAYERS.index(layer) + 1), "doubles with each pooling"),
        ({"relu1_2": 5, "relu2_2": 14, "relu3_3": 40, "relu4_3": 92, "relu5_3": 196}.__getitem__, "KeyError"),
    ],
)
def test_wrong_fields_get_a_hint(answer, hint, capsys):
    assert not check_receptive_field(answer)
    printed = capsys.readouterr().out
    assert printed.startswith("Not yet: ")
    assert hint in printed


@pytest.mark.parametrize("layer", ["relu1_1", "relu1_2", "relu2_2", "relu3_3", "relu4_1"])
def test_traced_fields_are_the_gradient_s(layer):
    """The network's own gradient says which pixels one value depends on; average pooling passes it to all."""
    network = LossNetwork(pooling="average", precision="float32")
    side = 128
    image = torch.rand(1, 3, side, side, device=network.mean.device, requires_grad=True)
    feature = network(image, [layer.replace("relu", "conv")])[layer.replace("relu", "conv")]
    middle = feature.shape[-1] // 2
    feature[0, :, middle, middle].square().sum().backward()
    touched = image.grad.abs().sum((0, 1))
    rows, columns = touched.sum(1).nonzero(), touched.sum(0).nonzero()
    field_side = int(rows.max() - rows.min()) + 1
    assert field_side == int(columns.max() - columns.min()) + 1 == _receptive_field(layer)
