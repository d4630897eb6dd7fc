"""Tensors that are no pictures and no maps of weights, where one is wanted."""

from __future__ import annotations

import pytest
import torch
from helpers import picture, refused

from pltutorial import (
    crop_to_multiple,
    feature_loss,
    gram_matrix,
    pixel_loss,
    total_variation,
)

ONE = picture(24, 24)
WEIGHED = {
    "pixels": lambda weight: pixel_loss(ONE, ONE, weight=weight),
    "features": lambda weight: feature_loss(ONE, ONE, weight=weight),
    "variation": lambda weight: total_variation(ONE, weight=weight),
    "gram": lambda weight: gram_matrix(ONE, mask=weight),
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
