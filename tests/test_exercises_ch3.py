"""Chapter 3's checks: a right answer is praised, each likely mistake gets its own hint, no constant passes."""

import pytest
import torch

from pltutorial.exercises import check_covariance, check_distinct_numbers, check_shifted_gram
from pltutorial.losses import gram_matrix


def covariance(feature):
    means = feature.mean((2, 3))
    return feature.shape[1] * gram_matrix(feature) - means[:, :, None] * means[:, None]


def shifted(feature, shift):
    left, right = feature[..., : feature.shape[-1] - shift], feature[..., shift:]
    return torch.einsum("niyx,njyx->nij", left, right) / left[0].numel()


def rolled(feature, shift):
    return torch.einsum("niyx,njyx->nij", feature, feature.roll(-shift, 3)) / feature[0].numel()


RIGHT = [
    (check_distinct_numbers, lambda channels: sum(c * (c + 1) // 2 for c in channels)),
    (check_covariance, covariance),
    (check_shifted_gram, shifted),
]
WRONG = [
    (check_distinct_numbers, lambda channels: 174560, "2 x 2"),
    (check_distinct_numbers, lambda channels: sum(c * c for c in channels), "symmetry"),
    (check_distinct_numbers, lambda channels: sum(c * (c - 1) // 2 for c in channels), "diagonal"),
    (check_distinct_numbers, lambda channels: channels.missing, "AttributeError"),
    (check_covariance, lambda feature: gram_matrix(feature) * feature.shape[1], "means"),
    (check_covariance, lambda feature: covariance(feature) / feature.shape[1], "too small"),
    (check_covariance, lambda feature: torch.stack([torch.cov(f.flatten(1)) for f in feature]), "one less"),
    (check_covariance, lambda feature: feature, "matrix for each picture"),
    (check_covariance, lambda feature: -covariance(feature), "mean(a b)"),
    (check_shifted_gram, lambda feature, shift: gram_matrix(feature), "slice"),
    (check_shifted_gram, lambda feature, shift: shifted(feature, shift).transpose(1, 2), "transposed"),
    (check_shifted_gram, rolled, "cut it off"),
    (check_shifted_gram, lambda feature, shift: 2 * shifted(feature, shift), "ordinary Gram matrix"),
    (check_shifted_gram, lambda feature, shift: 0, "int"),
    (
        check_shifted_gram,
        lambda feature, shift: (
            shifted(feature, shift)
            * (feature.shape[3] - shift)
            / feature.shape[3]  # divides by all positions
        ),
        "positions that have a partner",
    ),
]


@pytest.mark.parametrize(("check", "answer"), RIGHT, ids=lambda given: getattr(given, "__name__", None))
def test_a_right_answer_is_praised(check, answer, capsys):
    assert check(answer)
    assert capsys.readouterr().out.startswith("Correct: ")


@pytest.mark.parametrize(("check", "answer", "hint"), WRONG)
def test_a_wrong_answer_gets_its_hint(check, answer, hint, capsys):
    assert not check(answer)
    printed = capsys.readouterr().out
    assert printed.startswith("Not yet: ")
    assert hint in printed
