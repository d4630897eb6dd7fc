"""The checks of chapter 3: right answers of every kind are praised, each likely mistake
gets its own hint.
"""

import numpy
import pytest
import torch
from exercise_checks import faulty_code, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from pltutorial.exercises import (
    check_batch_style_loss,
    check_covariance,
    check_distinct_numbers,
    check_shifted_gram,
)
from pltutorial.losses import gram_matrix, style_loss

DTYPES = (torch.float32, torch.float64, torch.bfloat16)
LAYOUTS = {
    "as given": lambda feature: feature,
    "channels last": lambda feature: feature.contiguous(
        memory_format=torch.channels_last
    ),
    "a view": lambda feature: feature.transpose(2, 3).contiguous().transpose(2, 3),
}


def covariance(feature):
    means = feature.mean((2, 3))
    return feature.shape[1] * gram_matrix(feature) - means[:, :, None] * means[:, None]


def covariance_centred(feature):
    flat = feature.flatten(2)
    flat = flat - flat.mean(2, keepdim=True)
    return torch.bmm(flat, flat.mT) / flat.shape[2]


def covariance_einsum(feature):
    feature = feature - feature.mean((2, 3), keepdim=True)
    return torch.einsum("nihw,njhw->nij", feature, feature) / feature[0, 0].numel()


def covariance_loop(feature):
    n, c, _, _ = feature.shape
    result = feature.new_zeros(n, c, c)
    for k in range(n):
        for i in range(c):
            for j in range(c):
                a, b = feature[k, i], feature[k, j]
                result[k, i, j] = ((a - a.mean()) * (b - b.mean())).mean()
    return result


def covariance_numpy(feature):
    flat = feature.double().flatten(2).numpy()
    return numpy.stack([numpy.cov(picture, bias=True) for picture in flat])


COVARIANCES = (
    covariance,
    covariance_centred,
    covariance_einsum,
    covariance_loop,
    covariance_numpy,
)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(COVARIANCES),
    st.sampled_from(DTYPES),
    st.sampled_from(list(LAYOUTS)),
)
def test_covariance_right(variant, dtype, layout):
    assert check_covariance(lambda feature: variant(LAYOUTS[layout](feature).to(dtype)))


def shifted(feature, shift):
    left, right = feature[..., : feature.shape[-1] - shift], feature[..., shift:]
    return torch.einsum("niyx,njyx->nij", left, right) / left[0].numel()


def shifted_bmm(feature, shift):
    width = feature.shape[-1]
    left, right = (
        feature.narrow(3, 0, width - shift),
        feature.narrow(3, shift, width - shift),
    )
    return left.flatten(2) @ right.flatten(2).mT / left[0].numel()


def shifted_loop(feature, shift):
    n, c, height, width = feature.shape
    total = feature.new_zeros(n, c, c, dtype=torch.float64)
    for x in range(width - shift):
        total += torch.bmm(
            feature[..., x].double(), feature[..., x + shift].double().mT
        )
    return (total / (c * height * (width - shift))).to(feature.dtype)


def shifted_padded(feature, shift):
    n, c, height, width = feature.shape
    moved = torch.nn.functional.pad(feature, (0, shift))[..., shift:]
    return torch.einsum("niyx,njyx->nij", feature, moved) / (
        c * height * (width - shift)
    )


SHIFTED = (shifted, shifted_bmm, shifted_loop, shifted_padded)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(SHIFTED), st.sampled_from(DTYPES), st.sampled_from(list(LAYOUTS))
)
def test_shifted_gram_right(variant, dtype, layout):
    assert check_shifted_gram(
        lambda feature, shift: variant(LAYOUTS[layout](feature).to(dtype), shift)
    )


def batch_by_package(output, style):
    return style_loss(output, style.detach())


def batch_by_bmm(output, style):
    rows, target = output.flatten(2), style.detach().flatten(2)
    gram = rows @ rows.mT / output[0].numel()
    return (gram - target @ target.mT / style[0].numel()).square().sum((1, 2)).mean()


def batch_by_einsum(output, style):
    style = style.detach()
    grams = [
        torch.einsum("nihw,njhw->nij", given, given) / given[0].numel()
        for given in (output, style)
    ]
    return (grams[0] - grams[1]).pow(2).sum() / len(output)


def batch_by_loop(output, style):
    with torch.no_grad():
        target = style[0].flatten(1)
        wanted = target @ target.T / target.numel()
    losses = []
    for picture in output:
        rows = picture.flatten(1)
        losses.append(
            torch.linalg.matrix_norm(rows @ rows.T / rows.numel() - wanted) ** 2
        )
    return torch.stack(losses).mean()


BATCHES = (batch_by_package, batch_by_bmm, batch_by_einsum, batch_by_loop)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(BATCHES), st.sampled_from(DTYPES), st.sampled_from(list(LAYOUTS))
)
def test_batch_style_loss_right(variant, dtype, layout):
    prepare = LAYOUTS[layout]
    assert check_batch_style_loss(
        lambda o, s: variant(prepare(o).to(dtype), prepare(s).to(dtype))
    )


@pytest.mark.parametrize(
    "right",
    [
        lambda channels: sum(c * (c + 1) // 2 for c in channels),
        lambda channels: float(sum(c * (c + 1) / 2 for c in channels)),
        lambda channels: torch.tensor(
            [len(torch.triu_indices(c, c)[0]) for c in channels]
        ).sum(),
        lambda channels: numpy.sum([(c * c + c) // 2 for c in channels]),
    ],
)
def test_distinct_numbers_right(right, capsys):
    assert check_distinct_numbers(right)
    assert capsys.readouterr().out.startswith("Correct: ")


def rolled(feature, shift):
    return (
        torch.einsum("niyx,njyx->nij", feature, feature.roll(-shift, 3))
        / feature[0].numel()
    )


def batch_centred(feature):
    means = feature.mean((0, 2, 3))
    return feature.shape[1] * gram_matrix(feature) - means[:, None] * means


def downwards(feature, shift):
    return shifted(feature.transpose(2, 3), min(shift, feature.shape[2] - 1))


def scrambled(output, style):
    """The mistake of the printed code alone: reshape in the place
    of a transposition.
    """
    rows, target = output.reshape(len(output), -1, output.shape[1]), style.detach()
    target = target.reshape(1, -1, style.shape[1])
    gram, wanted = (
        rows.mT @ rows / output[0].numel(),
        target.mT @ target / style[0].numel(),
    )
    return (gram - wanted).square().sum((1, 2)).mean()


def one_size(output, style):
    rows, target = output.flatten(2), style.detach().flatten(2)
    return (rows @ rows.mT - target @ target.mT).square().sum((1, 2)).mean() / output[
        0
    ].numel() ** 2


def pooled(output, style):
    """One Gram matrix for the whole batch."""
    rows, target = output.transpose(0, 1).flatten(1), style.detach()[0].flatten(1)
    return (
        (rows @ rows.T / rows.numel() - target @ target.T / target.numel())
        .square()
        .sum()
    )


WRONG = [
    (check_distinct_numbers, lambda channels: 174560, "2 x 2"),
    (check_distinct_numbers, lambda channels: sum(c * c for c in channels), "symmetry"),
    (
        check_distinct_numbers,
        lambda channels: sum(c * (c - 1) // 2 for c in channels),
        "diagonal",
    ),
    (
        check_distinct_numbers,
        lambda channels: sum(channels) * (sum(channels) + 1) // 2,
        "of its own",
    ),
    (
        check_distinct_numbers,
        lambda channels: [c * (c + 1) // 2 for c in channels],
        "one number",
    ),
    (check_distinct_numbers, lambda channels: channels.missing, "AttributeError"),
    (
        check_covariance,
        lambda feature: gram_matrix(feature) * feature.shape[1],
        "means",
    ),
    (
        check_covariance,
        lambda feature: covariance(feature) / feature.shape[1],
        "too small",
    ),
    (
        check_covariance,
        lambda feature: torch.stack([torch.cov(f.flatten(1)) for f in feature]),
        "one less",
    ),
    (check_covariance, batch_centred, "means of the batch"),
    (check_covariance, lambda feature: feature, "matrix for each picture"),
    (
        check_covariance,
        lambda feature: torch.cov(feature.flatten(1)),
        "matrix for each picture",
    ),
    (check_covariance, lambda feature: -covariance(feature), "mean(a b)"),
    (check_shifted_gram, lambda feature, shift: gram_matrix(feature), "slice"),
    (
        check_shifted_gram,
        lambda feature, shift: shifted(feature, shift).transpose(1, 2),
        "transposed",
    ),
    (check_shifted_gram, rolled, "cut it off"),
    (check_shifted_gram, downwards, "width is the last dimension"),
    (
        check_shifted_gram,
        lambda feature, shift: 2 * shifted(feature, shift),
        "ordinary Gram matrix",
    ),
    (check_shifted_gram, lambda feature, shift: 0, "int"),
    (
        check_shifted_gram,
        lambda feature, shift: (
            shifted(feature, shift) * (feature.shape[3] - shift) / feature.shape[3]
        ),
        "positions that have a partner",
    ),
    (check_batch_style_loss, scrambled, "does row i of your matrix hold channel i"),
    (check_batch_style_loss, one_size, "by how many positions"),
    (check_batch_style_loss, pooled, "which pictures meet"),
    (
        check_batch_style_loss,
        lambda o, s: batch_by_bmm(o, s) * len(o),
        "sum over the pictures",
    ),
    (
        check_batch_style_loss,
        lambda o, s: batch_by_bmm(o, s) / o.shape[1] ** 2,
        "their sum",
    ),
    (check_batch_style_loss, style_loss, "the style as well"),
    (
        check_batch_style_loss,
        lambda o, s: batch_by_bmm(o.detach(), s),
        "no gradient leads back",
    ),
    (
        check_batch_style_loss,
        lambda o, s: batch_by_bmm(o.detach(), s) + 0 * o.sum(),
        "with respect to the",
    ),
    (check_batch_style_loss, lambda o, s: batch_by_bmm(o, s).item(), "yours is float"),
    (
        check_batch_style_loss,
        lambda o, s: gram_matrix(o) - gram_matrix(s),
        "one number",
    ),
]


@pytest.mark.parametrize(("check", "answer", "hint"), WRONG)
def test_a_wrong_answer_gets_its_hint(check, answer, hint, capsys):
    refused(check, answer, hint, capsys)


def test_the_printed_fault_is_one(capsys):
    faulty = faulty_code("03_style_reconstruction.ipynb", "ex-style-batch")[
        "batch_style_loss"
    ]
    refused(
        check_batch_style_loss,
        faulty,
        "does row i of your matrix hold channel i",
        capsys,
    )
