"""Colours as classes: what a pixel's colour is among those of a grid, how much a rare
one counts, and a network that chooses.
"""

from __future__ import annotations

import math

import pytest
import torch
from helpers import picture, refused
from training_runs import likened

from pltutorial import InputError, Pictures
from pltutorial.color import (
    brightness_of,
    chroma_centres,
    chroma_shares,
    from_chroma,
)
from pltutorial.networks import ColorizationNet
from pltutorial.tasks.colorize import color_loss, color_weights
from pltutorial.training import train


@pytest.mark.parametrize("classes", [2, 5, 17])
def test_the_mean_of_the_shares_is_the_colour(classes):
    image = picture(7, 9, 3, 2)
    shares = chroma_shares(image, classes)
    assert shares.shape == (2, classes**2, 7, 9)
    assert shares.min() >= 0
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 7, 9))
    assert (shares > 1e-6).sum(1).max() <= 4
    chroma = torch.einsum("nqhw,qc->nchw", shares, chroma_centres(classes))
    again = from_chroma(brightness_of(image), chroma)
    torch.testing.assert_close(again, image, atol=1e-5, rtol=0)


def test_pure_colours_are_the_corners_they_should_be():
    """BT.601: blue has Cb = 1/2, red Cr = 1/2, and grey neither."""
    pure = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.4, 0.4, 0.4]])
    shares = chroma_shares(pure.view(3, 3, 1, 1), 3).view(3, 3, 3)
    assert float(shares[0, 2].sum()) == pytest.approx(1, abs=1e-5)  # Cb = 0.5
    assert float(shares[1, :, 2].sum()) == pytest.approx(1, abs=1e-5)  # Cr = 0.5
    assert float(shares[2, 1, 1]) == pytest.approx(1, abs=1e-5)


def test_the_loss_is_a_weighted_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, 5, generator=generator)
    labels = torch.randint(4, (2, 3, 5), generator=generator)
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0])
    wanted = torch.nn.functional.one_hot(labels, 4).permute(0, 3, 1, 2).float()
    library = torch.nn.functional.cross_entropy(
        logits, labels, weight=weights, reduction="none"
    ).mean()
    torch.testing.assert_close(color_loss(logits, wanted, weights), library)


def test_rare_colours_count_more_and_the_mean_is_one():
    even, rare = color_weights(9, 0.0), color_weights(9)
    torch.testing.assert_close(even, torch.ones(81))
    grey, blue = rare.view(9, 9)[4, 4], rare.view(9, 9)[8, 4]
    assert blue > 5 * grey
    assert blue / grey < color_weights(9, 0.9).view(9, 9)[8, 4] / grey


def test_cold_choices_are_the_likeliest_colour_and_warm_ones_the_mean():
    torch.manual_seed(0)
    network = ColorizationNet(4, 1, classes=3).eval()
    with torch.no_grad():
        network.last.weight.zero_()
        network.last.bias.copy_(torch.tensor([0.0] * 8 + [math.log(2.0)]))
        grey = torch.full((1, 3, 8, 8), 0.5)
        for temperature, chroma in ((1e-3, 0.5), (1.0, 0.05)):
            network.temperature = temperature
            wanted = from_chroma(grey[:, :1], torch.full((1, 2, 8, 8), chroma))
            torch.testing.assert_close(network(grey), wanted)


def test_training_lowers_the_cross_entropy():
    task = likened(
        "colorize", classes=5, steps=30, learning_rate=5e-3, log_every=1, ema=0.0
    )
    result = train(task, pictures=Pictures(size=16, zoom=(1, 2)), progress=False)
    terms = [record.terms["image"] for record in result.history]
    assert sum(terms[-5:]) < 0.9 * sum(terms[:5])
    # a network that knows nothing pays ln 25 for each pixel, on weighted average
    assert terms[0] == pytest.approx(math.log(25), rel=0.3)


def test_what_makes_no_sense_is_refused():
    with refused("classes=1", "at least 2"):
        ColorizationNet(4, 1, classes=1)
    with refused("classes=1", "at least 2"):
        likened("colorize", classes=1)
    with refused("classes=5", "adversarial_weight", "cross-entropy"):
        likened("colorize", classes=5, adversarial_weight=0.1)
    with pytest.raises(InputError, match="rebalance"):
        likened("colorize", classes=5, rebalance=1.5)
