"""What holds for any input, looked for by hypothesis."""

from __future__ import annotations

import torch
from helpers import picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pltutorial import (
    PerceptualLoss,
    feature_loss,
    gram_matrix,
    pixel_loss,
    style_loss,
    total_variation,
)

few = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
fewer = settings(few, max_examples=6)
side, few_pictures, few_channels = (
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(1, 8),
)
NORMALIZATIONS = st.sampled_from(["johnson", "gatys", "mean"])


@st.composite
def features(draw, batch=few_pictures, channels=few_channels, height=side, width=side):
    """(N, C, H, W) in float64, of any scale, sometimes sparse as after a ReLU."""
    shape = [draw(dimension) for dimension in (batch, channels, height, width)]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    feature = torch.randn(shape, generator=generator, dtype=torch.float64)
    if draw(st.booleans()):
        feature = feature.relu()
    return feature * 10.0 ** draw(st.integers(-3, 3))


@few
@given(features())
def test_gram_is_symmetric_and_positive_semidefinite(feature):
    gram = gram_matrix(feature)
    scale = gram.abs().max() + 1e-300
    assert (gram - gram.mT).abs().max() <= 1e-12 * scale
    assert torch.linalg.eigvalsh(gram).min() >= -1e-10 * scale


@few
@given(features(), features(), NORMALIZATIONS, st.randoms(use_true_random=False))
def test_style_loss_ignores_any_permutation_of_positions(
    one, two, normalization, random
):
    two = two[:1].expand(-1, two.shape[1], -1, -1)
    two = two.repeat(1, one.shape[1], 1, 1)[:, : one.shape[1]]
    order = list(range(one[0, 0].numel()))
    random.shuffle(order)
    moved = one.flatten(2)[..., order].view(one.shape)
    how = {"normalization": normalization, "reduction": "none"}
    before, after = style_loss(one, two, **how), style_loss(moved, two, **how)
    scale = gram_matrix(one).square().sum() + gram_matrix(two).square().sum()
    assert (before - after).abs().max() <= 1e-10 * scale


@few
@given(features(), NORMALIZATIONS)
def test_equal_pictures_cost_nothing(feature, normalization):
    assert (
        float(feature_loss(feature, feature.clone(), normalization=normalization)) == 0
    )
    assert float(style_loss(feature, feature.clone(), normalization=normalization)) == 0
    assert float(pixel_loss(feature, feature.clone())) == 0
    assert float(pixel_loss(feature, feature.clone(), "l1")) == 0


@few
@given(features(), NORMALIZATIONS)
def test_batch_equals_one_by_one(one, normalization):
    two = one.flip(-1) * 1.5 + 1
    for loss in (feature_loss, style_loss):
        both = loss(one, two, normalization=normalization, reduction="none")
        alone = [
            loss(one[i : i + 1], two[i : i + 1], normalization=normalization)
            for i in range(len(one))
        ]
        torch.testing.assert_close(both, torch.stack(alone), rtol=1e-10, atol=0)
    for function in (
        pixel_loss,
        lambda x, y, reduction: total_variation(x, reduction=reduction),
    ):
        both = function(one, two, reduction="none")
        alone = [
            function(one[i : i + 1], two[i : i + 1], reduction="none")
            for i in range(len(one))
        ]
        torch.testing.assert_close(both, torch.cat(alone), rtol=1e-10, atol=0)


@few
@given(
    features(batch=st.just(1), channels=st.just(4)),
    features(batch=st.just(1), channels=st.just(4)),
)
def test_the_style_target_may_have_another_size(one, two):
    assert float(style_loss(one, two)) >= 0
    # a picture laid beside itself has the same statistics
    torch.testing.assert_close(
        gram_matrix(torch.cat([two, two], 3)), gram_matrix(two), rtol=1e-10, atol=0
    )


@few
@given(
    features(height=st.integers(2, 9), width=st.integers(2, 9)), st.floats(-1e3, 1e3)
)
def test_total_variation_is_0_for_constants_and_ignores_a_shift_of_brightness(
    image, level
):
    for kind in ("squared", "absolute"):
        assert float(total_variation(torch.full_like(image, level), kind)) == 0
        before, after = (
            total_variation(image, kind),
            total_variation(image + level, kind),
        )
        torch.testing.assert_close(before, after, rtol=1e-6, atol=1e-9)


@few
@given(
    features(height=st.integers(2, 5), width=st.integers(2, 5)),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_total_variation_ignores_where_the_picture_lies(image, down, right):
    """Moved on a black canvas, with room around it."""
    for kind in ("squared", "absolute"):
        values = []
        for y, x in ((1, 1), (down, right)):
            canvas = image.new_zeros((*image.shape[:2], 12, 12))
            canvas[..., y : y + image.shape[2], x : x + image.shape[3]] = image
            values.append(total_variation(canvas, kind))
        torch.testing.assert_close(values[0], values[1], rtol=1e-10, atol=0)


@fewer
@given(st.integers(16, 40), st.integers(16, 40), st.integers(0, 1000))
def test_through_the_network(network, device, height, width, seed):
    """Equal pictures, batches and other target sizes once more, with VGG-16
    between picture and loss.
    """
    images = picture(height, width, seed, 2, device)
    loss = PerceptualLoss({"relu3_3": 1.0}, {"relu2_2": 1.0}, network=network)
    same = loss(images[:1], content=images[:1], style=images[:1])
    assert float(same.total) == 0
    style = picture(20, 33, seed + 1, device=device)
    both = loss(images, content=images.flip(-1), style=style, reduction="none")
    for index in range(2):
        one = images[index : index + 1]
        alone = loss(one, content=one.flip(-1), style=style)
        for name in alone:
            torch.testing.assert_close(
                both[name][index], alone[name], rtol=1e-4, atol=0
            )
