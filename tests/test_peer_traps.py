"""Faults of other implementations, each with a test that would catch it here.

Elsewhere: a convolution's tap overwritten by the in-place ReLU
(test_vgg, conv taps and Encoder); content targets run too deep (test_perceptual_loss);
Gram matrices of regions divided by the whole area (test_losses); mean over C^2 taken
for the paper's norm, and the 64 times between layers (test_losses); total variation's
gradient (test_losses); copies to the host in every step (test_perceptual_loss); the
last or a trial picture returned instead of the best (test_optimize); a picture given as
weights (test_weights); 0-255 against 0-1 at the network's input (test_vgg, the plain
pass).
"""

from __future__ import annotations

import warnings

import pytest
import torch
from helpers import Operations, picture, refused
from PIL import Image

from pltutorial import (
    LossNetwork,
    PerceptualLoss,
    color,
    feature_loss,
    optimize,
    read_image,
    resize,
    style_loss,
    transfer_style,
    write_image,
)
from pltutorial.settings import OptimizeSettings

CONTENT, STYLE = {"relu2_1": 1.0}, {"relu1_1": 1.0, "relu2_1": 1.0}


@pytest.fixture(scope="module")
def images(device):
    return tuple(picture(32, 32, seed, device=device) for seed in range(3))


class Counting:
    """A loss network that counts how many pictures went through it."""

    def __init__(self, network: LossNetwork):
        self.network, self.calls = network, []

    def __call__(self, image, layers):
        self.calls.append((len(image), tuple(layers)))
        return self.network(image, layers)

    def __getattr__(self, name):
        return getattr(self.network, name)


def test_nothing_given_is_changed_in_place(network, images):
    """pytorch/examples normalises the network's output and its input in place."""
    before = [image.clone() for image in images]
    loss = PerceptualLoss(
        CONTENT, STYLE, pixel=1.0, total_variation=1.0, network=network
    )
    output = images[0].clone().requires_grad_()
    loss(output, content=images[1], style=images[2]).total.backward()
    assert torch.equal(output.detach(), images[0])
    how = {"network": network, "sizes": (32,), "steps": 2, "progress": False}
    transfer_style(
        images[0],
        images[1],
        init=images[2],
        content_layers=("relu1_1",),
        style_layers=("relu1_1",),
        **how,
    )
    for image, copy in zip(images, before, strict=True):
        assert torch.equal(image, copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x * 255, ("255", "divide")),
        (lambda x: x * 2 - 1, ("-1", "[0, 1]")),
        (lambda x: x * 255 - 120, ("[0, 1]",)),
        (lambda x: (x - 0.45) / 0.22, ("own mean", "[0, 1]")),
    ],
    ids=["0-255", "-1 to 1", "mean-subtracted 0-255", "normalised"],
)
def test_other_ranges_are_refused(network, images, change, words):
    """LPIPS takes [-1, 1], others 0-255 or normalised pictures, and all take the
    wrong one silently.
    """
    full = images[1].clone()
    full[..., 0, 0], full[..., 0, 1] = 0, 1
    if change(full).abs().max() > 20:
        with refused("the output", *words):
            PerceptualLoss(CONTENT, network=network)(change(full), content=images[1])
    else:  # as from a network still untrained, which has to be let in, but not silently
        with pytest.warns(
            UserWarning, match=r"the output has values from .* but \[0, 1\] is needed"
        ):
            PerceptualLoss(CONTENT, network=network)(change(full), content=images[1])
    with refused("the content target", *words):
        PerceptualLoss(CONTENT, network=network)(images[0], content=change(full))
    with refused("the style picture", *words):
        transfer_style(images[0], change(full), network=network, progress=False)


def test_a_small_excursion_of_an_output_is_allowed(network, images):
    """A network in training leaves [0, 1] a little; that is no confusion of ranges."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PerceptualLoss(CONTENT, network=network)(
            images[0] * 1.2 - 0.1, content=images[1]
        )


def test_steps_leave_no_hooks_and_do_not_grow(network, images):
    """pystiche registers hooks on the image in every step and never removes them."""
    loss = PerceptualLoss(CONTENT, STYLE, network=network)
    output = images[0].clone().requires_grad_()
    counts = []
    for _ in range(6):
        with Operations() as seen:
            loss(output, content=images[1], style=images[2]).total.backward()
        counts.append(len(seen.names))
        assert not output._backward_hooks
    assert len(set(counts[2:])) == 1
    assert not network._forward_hooks


def test_the_graph_of_a_step_is_released(network, images):
    """Kept graphs and target activations fill the memory (LPIPS #87)."""
    loss = PerceptualLoss(CONTENT, STYLE, network=network)
    output = images[0].clone().requires_grad_()
    terms = loss(output, content=images[1], style=images[2])
    total = terms.total
    total.backward()
    with pytest.raises(RuntimeError, match="second time"):
        total.backward()
    assert all(
        not feature.requires_grad
        for feature in loss.content_target(images[1]).features.values()
    )
    target = loss.style_target(images[2].clone().requires_grad_())
    assert all(not gram.requires_grad for gram in target.grams[0].values())


def test_gradients_are_finite_where_features_vanish(network, device):
    """LPIPS gives NaN at an all-zero feature vector."""
    feature = torch.zeros(1, 8, 4, 4, device=device, requires_grad=True)
    (
        style_loss(feature, torch.ones_like(feature))
        + feature_loss(feature, torch.ones_like(feature))
    ).backward()
    assert feature.grad.isfinite().all()
    black = torch.zeros(1, 3, 32, 32, device=device, requires_grad=True)
    loss = PerceptualLoss(
        CONTENT,
        STYLE,
        pixel=1.0,
        pixel_kind="charbonnier",
        total_variation=1.0,
        network=network,
    )
    loss(black, content=black.detach(), style=black.detach()).total.backward()
    assert black.grad.isfinite().all()


def test_nothing_in_the_loss_is_trainable(network):
    """LPIPS leaves its linear layers trainable by default."""
    loss = PerceptualLoss(CONTENT, STYLE, network=network)
    loss.train()
    loss.requires_grad_(True)
    assert list(loss.parameters()) == []


def test_the_total_does_not_change_the_terms(network, images):
    """stlpips adds into its first term."""
    terms = PerceptualLoss(CONTENT, STYLE, network=network)(
        images[0], content=images[1], style=images[2]
    )
    before = {name: float(value) for name, value in terms.items()}
    assert float(terms.total) == float(terms.total)
    assert {name: float(value) for name, value in terms.items()} == before


def test_one_style_serves_a_batch_with_one_pass(network, device):
    """pytorch/examples runs the style network on a batch of identical copies."""
    counting = Counting(network)
    loss = PerceptualLoss(style=STYLE, network=counting)
    loss(picture(32, 32, 1, 4, device), style=picture(32, 32, 2, device=device))
    assert [count for count, _ in counting.calls] == [1, 4]


def test_targets_are_computed_once(network, images):
    counting = Counting(network)
    how = {
        "sizes": (32,),
        "steps": 5,
        "progress": False,
        "content_layers": ("relu2_1",),
        "style_layers": ("relu1_1",),
    }
    transfer_style(images[0], images[1], network=counting, **how)
    targets, steps = counting.calls[:2], counting.calls[2:]
    assert sorted(layers for _, layers in targets) == [("relu1_1",), ("relu2_1",)]
    assert len(steps) == 5 + 1  # one evaluation a step, and a last look


def test_l_bfgs_remembers_little_by_default():
    """100 steps of history are 200 pictures of memory: 2.5 GB at 1024 px."""
    assert OptimizeSettings().history_size <= 20


def test_a_style_keeps_its_shape(network, device):
    """pytorch/examples squashes it to a square, fast-neural-style squashes its
    training pictures.
    """
    counting = Counting(network)
    shapes = []
    original = counting.__class__.__call__

    class Seeing(Counting):
        def __call__(self, image, layers):
            shapes.append(tuple(image.shape[-2:]))
            return original(self, image, layers)

    how = {
        "sizes": (32,),
        "steps": 1,
        "progress": False,
        "content_layers": ("relu1_1",),
        "style_layers": ("relu1_2",),
    }
    content, style = (
        picture(64, 48, 1, device=device),
        picture(20, 80, 2, device=device),
    )
    transfer_style(content, style, network=Seeing(network), **how)
    assert (32, 24) in shapes
    assert (8, 32) in shapes


def test_the_picture_scale_is_255_and_not_256(tmp_path):
    """neural-style multiplies by 256."""
    Image.new("RGB", (2, 2), (255, 255, 255)).save(tmp_path / "white.png")
    assert read_image(tmp_path / "white.png").min() == 1


def test_no_deprecated_call_of_the_libraries(tmp_path, network, images):
    """Image.ANTIALIAS, torch.onnx._export, model_urls: what was
    deprecated is gone today.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        warnings.simplefilter("error", FutureWarning)
        image = read_image(write_image(tmp_path / "p.png", picture(24, 24)), 16)
        resize(image, (8, 8))
        PerceptualLoss(CONTENT, STYLE, network=network)(
            images[0], content=images[1], style=images[2]
        )


def test_tensors_as_targets_masks_and_starts_are_never_taken_for_truth_values(
    network, images, device
):
    """pystiche: 'Boolean value of Tensor with more than one value is ambiguous' for a
    target given by name.
    """
    mask = torch.ones(1, 1, 32, 32, device=device)
    how = {
        "sizes": (32,),
        "steps": 1,
        "progress": False,
        "content_layers": ("relu1_1",),
        "style_layers": ("relu1_1",),
    }
    transfer_style(
        content=images[0],
        style=images[1],
        masks=[(mask, mask)],
        init=images[2],
        network=network,
        **how,
    )
    loss = PerceptualLoss(CONTENT, STYLE, network=network)
    loss(output=images[0], content=images[1], style=images[2])
    target = loss.style_target(styles=images[2], masks=((mask, mask),))
    loss(images[0], content=images[1], style=target)


def test_colour_space_matrix_is_invertible_and_keeps_grey():
    """Keeping the original colours must not tint grey pictures: I
    and Q of grey are 0.
    """
    assert color.YIQ.sum(1).tolist() == pytest.approx([1, 0, 0], abs=1e-6)
    image = picture()
    assert torch.allclose(optimize.with_colors_of(image, image), image, atol=1e-5)
