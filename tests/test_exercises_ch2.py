"""The checks of chapter 2: right answers of every kind pass, wrong ones get the hint
that fits, copies fail.
"""

import copy
import time

import numpy
import pytest
import torch
from exercise_checks import faulty_code, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from pltutorial import Encoder, feature_loss
from pltutorial.exercises import (
    check_feature_shape,
    check_receptive_field,
    check_tap_loss,
)
from pltutorial.teaching.exercises.chapter2 import _receptive_field
from pltutorial.vgg import RELU_LAYERS, LossNetwork

DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def shape_of(layer, height, width):
    shrink = 2 ** (int(layer[4]) - 1)
    return min(64 * shrink, 512), height // shrink, width // shrink


def shape_by_steps(layer, height, width):
    channels = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}[layer[4]]
    for _ in range(int(layer[4]) - 1):
        height, width = height // 2, width // 2
    return torch.Size((channels, height, width))


def field_of(layer):
    block, index = int(layer[4]), int(layer[6])
    side, step = 1, 1
    for earlier in (2, 2, 3, 3)[: block - 1]:
        side, step = side + earlier * 2 * step + step, step * 2
    return side + index * 2 * step


def field_backwards(layer):
    side = 1
    for name in reversed(RELU_LAYERS[: RELU_LAYERS.index(layer) + 1]):
        side += 2
        if name.endswith("_1") and name != "relu1_1":
            side *= 2
    return side


def without_pooling(layer):
    return field_of(layer) - (2 ** (int(layer[4]) - 1) - 1)


def pooling_after_doubling(layer):
    return field_of(layer) + (2 ** (int(layer[4]) - 1) - 1)


@pytest.mark.parametrize(
    "right",
    [
        shape_of,
        shape_by_steps,
        lambda *asked: list(shape_of(*asked)),
        lambda *asked: torch.tensor(shape_of(*asked)),
        lambda *asked: numpy.array(shape_of(*asked)),
        lambda *asked: tuple(float(side) for side in shape_of(*asked)),
    ],
)
def test_right_shapes(right, capsys):
    assert check_feature_shape(right)
    assert capsys.readouterr().out.startswith("Correct: ")


@pytest.mark.parametrize(
    "right",
    [
        field_of,
        field_backwards,
        lambda layer: float(field_of(layer)),
        lambda layer: torch.tensor(field_of(layer)),
        lambda layer: numpy.int64(field_of(layer)),
        {layer: field_of(layer) for layer in RELU_LAYERS}.__getitem__,
    ],
)
def test_right_fields(right, capsys):
    assert check_receptive_field(right)
    assert capsys.readouterr().out.startswith("Correct: ")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda layer, h, w: (shape_of(layer, h, w)[0], h, w), "each pooling halves"),
        (lambda layer, h, w: shape_of(layer, h // 2, w // 2), "none before block 1"),
        (
            lambda layer, h, w: (
                64 * 2 ** (int(layer[4]) - 1),
                *shape_of(layer, h, w)[1:],
            ),
            "never beyond 512",
        ),
        (
            lambda layer, h, w: (
                shape_of(layer, h, w)[0],
                *(-(-side // 2 ** (int(layer[4]) - 1)) for side in (h, w)),
            ),
            "round down",
        ),
        (lambda layer, h, w: shape_of(layer, w, h), "height comes before width"),
        # the chapter's own shapes
        (lambda layer, h, w: shape_of(layer, 128, 192), "each pooling halves"),
        (lambda layer, h, w: shape_of(layer, h, w)[::-1], "never beyond 512"),
        (lambda layer, h, w: h * w, "three numbers"),
        (lambda layer, h, w: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_wrong_shapes_get_a_hint(answer, hint, capsys):
    refused(check_feature_shape, answer, hint, capsys, times=2)


def test_a_field_that_takes_long_to_measure_is_waited_for(capsys):
    def measured(layer):
        end = time.process_time() + (2.3 if layer == "relu5_3" else 0)
        while time.process_time() < end:
            pass
        return field_of(layer)

    assert check_receptive_field(measured)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda layer: 3, "a second one on top sees 5"),
        (without_pooling, "by one step"),
        (pooling_after_doubling, "only afterwards"),
        (
            lambda layer: 1 + 2 * (RELU_LAYERS.index(layer) + 1),
            "doubles with each pooling",
        ),
        (
            lambda layer: (
                field_of(layer) if layer[4] == "1" else (field_of(layer) + 1) // 2
            ),
            "to one side",
        ),
        (
            {
                "relu1_2": 5,
                "relu2_2": 14,
                "relu3_3": 40,
                "relu4_3": 92,
                "relu5_3": 196,
            }.__getitem__,
            "KeyError",
        ),
    ],
)
def test_wrong_fields_get_a_hint(answer, hint, capsys):
    refused(check_receptive_field, answer, hint, capsys, times=1)


@pytest.mark.parametrize(
    "layer", ["relu1_1", "relu1_2", "relu2_2", "relu3_3", "relu4_1"]
)
def test_traced_fields_are_the_gradient_s(layer):
    """The network's own gradient says which pixels one value depends on; average
    pooling passes it to all.
    """
    network = LossNetwork(pooling="average")
    side = 128
    image = torch.rand(1, 3, side, side, device=network.mean.device, requires_grad=True)
    feature = network(image, [layer.replace("relu", "conv")])[
        layer.replace("relu", "conv")
    ]
    middle = feature.shape[-1] // 2
    feature[0, :, middle, middle].square().sum().backward()
    touched = image.grad.abs().sum((0, 1))
    rows, columns = touched.sum(1).nonzero(), touched.sum(0).nonzero()
    field_side = int(rows.max() - rows.min()) + 1
    assert (
        field_side == int(columns.max() - columns.min()) + 1 == _receptive_field(layer)
    )


def tap_by_slice(encoder, output, target, index):
    until = encoder.eval()[: index + 1]
    return (until(output) - until(target.detach())).square().mean()


def tap_by_loop(encoder, output, target, index):
    encoder = copy.deepcopy(encoder).eval()
    kept = []
    for picture in (output, target.detach()):
        feature = picture
        for module in list(encoder)[: index + 1]:
            feature = module(feature)
        kept.append(feature)
    return torch.stack(
        [(a - b).square().mean() for a, b in zip(*kept, strict=True)]
    ).mean()


def tap_by_clone(encoder, output, target, index):
    encoder.eval()
    kept = []
    for picture in (output, target):
        feature = picture
        for number, module in enumerate(encoder):
            feature = module(feature)
            if number == index:
                kept.append(feature.clone())
    return functional.mse_loss(kept[0], kept[1].detach())


def tap_by_hook(encoder, output, target, index):
    kept = []
    encoder.eval()
    handle = encoder[index].register_forward_hook(
        lambda module, given, feature: kept.append(feature.clone())
    )
    with torch.no_grad():
        encoder(target)
    encoder(output)
    handle.remove()
    return feature_loss(kept[1], kept[0])


def tap_by_package(encoder, output, target, index):
    ruler = Encoder(encoder, mean=(0, 0, 0), std=(1, 1, 1))
    with torch.no_grad():
        wanted = ruler(target, [str(index)])[str(index)]
    return feature_loss(ruler(output, [str(index)])[str(index)], wanted)


def tap_by_einsum(encoder, output, target, index):
    until = encoder.eval()[: index + 1]
    with torch.no_grad():
        wanted = until(target)
    difference = until(output) - wanted
    return (
        torch.einsum("nchw,nchw->n", difference, difference).mean()
        / difference[0].numel()
    )


TAPS = (tap_by_slice, tap_by_loop, tap_by_clone, tap_by_hook, tap_by_einsum)


def in_dtype(tap, dtype):
    def answer(encoder, output, target, index):
        return tap(encoder.to(dtype), output.to(dtype), target.to(dtype), index)

    return answer


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(TAPS), st.sampled_from(DTYPES))
def test_tap_loss_right(tap, dtype):
    assert check_tap_loss(in_dtype(tap, dtype))


def test_tap_loss_by_the_package():
    assert check_tap_loss(tap_by_package)


def trapped(encoder, output, target, index):
    encoder.eval()
    kept = []
    for picture in (output, target.detach()):
        for number, module in enumerate(encoder):
            picture = module(picture)
            if number == index:
                kept.append(picture)
    return functional.mse_loss(*kept)


def in_training_mode(encoder, output, target, index):
    until = encoder[: index + 1]
    return functional.mse_loss(until(output), until(target).detach())


def without_dropout_only(encoder, output, target, index):
    """Switches dropout off and leaves batch norm measuring the batch."""
    for module in encoder:
        if isinstance(module, nn.Dropout):
            module.eval()
    return in_training_mode(encoder, output, target, index)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (trapped, "writes over what was kept"),
        (in_training_mode, "in which mode"),
        (without_dropout_only, "what else is in its batch"),
        (
            lambda e, o, t, i: tap_by_slice(e, o, t, i) * len(o),
            "a mean over the pictures",
        ),
        (
            lambda e, o, t, i: functional.mse_loss(e.eval()[: i + 1](o), e[: i + 1](t)),
            "the target as well",
        ),
        (
            lambda e, o, t, i: tap_by_slice(e, o.detach(), t, i),
            "no gradient leads back",
        ),
        (
            lambda e, o, t, i: tap_by_slice(e, o, t, i) * o[0].numel(),
            "without any traps",
        ),
        (lambda e, o, t, i: tap_by_slice(e, o, t, i - 1), "without any traps"),
        (lambda e, o, t, i: tap_by_slice(e, o, t, i).item(), "yours is float"),
        (lambda e, o, t, i: e(o) - e(t), "yours is (1,"),
        (lambda e, o, t, i: functional.mse_loss(o, t), "without any traps"),
        (
            lambda e, o, t, i: tap_by_slice(e, o.detach(), t, i) + 0 * o.sum(),
            "its gradient with respect to the output is not",
        ),
    ],
)
def test_tap_loss_wrong(wrong, hint, capsys):
    refused(check_tap_loss, wrong, hint, capsys, times=5)


def test_the_printed_faults_are_found_one_by_one(capsys):
    """As printed it fails; with each fault but the last mended the
    check names the next.
    """
    faulty = faulty_code("02_feature_reconstruction.ipynb", "ex-features-tap")[
        "tap_loss"
    ]
    refused(check_tap_loss, faulty, "the target as well", capsys, times=3)
    still = lambda e, o, t, i: faulty(e, o, t.detach(), i)  # noqa: E731
    refused(check_tap_loss, still, "writes over what was kept", capsys, times=3)
    cut = lambda e, o, t, i: faulty(e[: i + 1], o, t.detach(), i)  # noqa: E731
    refused(check_tap_loss, cut, "a mean over the pictures", capsys, times=3)
    mean = lambda e, o, t, i: faulty(e[: i + 1], o, t.detach(), i) / len(o)  # noqa: E731
    refused(check_tap_loss, mean, "in which mode", capsys, times=3)
    assert check_tap_loss(
        lambda e, o, t, i: faulty(e[: i + 1].eval(), o, t.detach(), i) / len(o)
    )
