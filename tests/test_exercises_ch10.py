"""The checks of chapter 10 know a right answer from a wrong one, and say why."""

import numpy
import pytest
import torch
import torch.nn.functional as F
from exercise_checks import faulty_code, refused

from pltutorial.exercises import (
    check_annealed_mean,
    check_rank,
    check_rebalanced,
)

TRIES = 5  # every wrong answer is told from a right one on each of so many fresh draws


def annealed(logits, centres, temperature, scaled=lambda x, t: x / t):
    shares = scaled(logits, temperature).softmax(1)
    return torch.einsum("nqhw,qc->nchw", shares, centres)


def by_powers(logits, centres, temperature):
    logs = logits.double().log_softmax(1)
    powers = (logs / temperature).exp()
    powers = powers / powers.sum(1, keepdim=True)
    return (powers.movedim(1, -1) @ centres.double()).movedim(-1, 1)


def by_convolution(logits, centres, temperature):
    shares = F.softmax(logits / temperature, dim=1)
    return F.conv2d(shares, centres.T[..., None, None])


def likeliest(logits, centres, temperature):
    return centres[logits.argmax(1)].movedim(-1, 1)


def of_probabilities(logits, centres, temperature):
    return annealed(logits.softmax(1), centres, temperature)


def unscaled_powers(logits, centres, temperature):
    shares = logits.softmax(1) ** (1 / temperature)
    return torch.einsum("nqhw,qc->nchw", shares, centres)


def overflowing(logits, centres, temperature):
    powers = (logits / temperature).exp()
    return torch.einsum("nqhw,qc->nchw", powers / powers.sum(1, True), centres)


class TestAnnealedMean:
    @pytest.mark.parametrize("answer", [annealed, by_powers, by_convolution])
    def test_right(self, answer, capsys):
        assert check_annealed_mean(answer)
        assert capsys.readouterr().out.startswith("Correct: ")

    @pytest.mark.parametrize(
        ("answer", "hint"),
        [
            (lambda x, c, t: annealed(x, c, 1.0), "without the temperature"),
            (lambda x, c, t: annealed(x, c, 1 / t), "do not multiply"),
            (likeliest, "likeliest"),
            (of_probabilities, "not the probabilities"),
            (unscaled_powers, "no longer sum to 1"),
            (overflowing, "overflows"),
            (lambda x, c, t: annealed(x, c, t).sum(1), "(N, 2, H, W)"),
            (lambda x, c, t: None, "returned None"),
        ],
    )
    def test_wrong(self, answer, hint, capsys):
        refused(check_annealed_mean, answer, hint, capsys, TRIES)


def rank(outputs, targets):
    distances = torch.cdist(outputs, targets)
    return 1 + (distances < distances.diagonal().view(-1, 1)).sum(1)


def rank_by_sorting(outputs, targets):
    order = torch.cdist(outputs, targets).argsort(1)
    own = torch.arange(len(outputs)).view(-1, 1)
    return (order == own).nonzero()[:, 1] + 1


def rank_in_numpy(outputs, targets):
    apart = outputs.numpy()[:, None] - targets.numpy()[None]
    table = (apart**2).sum(-1)
    return numpy.array([1 + (row < row[n]).sum() for n, row in enumerate(table)])


def rank_of_columns(outputs, targets):
    table = torch.cdist(outputs, targets)[:, : len(outputs)]
    return 1 + (table < table.diagonal()[None]).sum(0)


def rank_by_product(outputs, targets):
    table = outputs @ targets.T
    return 1 + (table > table.diagonal().view(-1, 1)).sum(1)


class TestRank:
    @pytest.mark.parametrize("answer", [rank, rank_by_sorting, rank_in_numpy])
    def test_right(self, answer, capsys):
        assert check_rank(answer)
        assert capsys.readouterr().out.startswith("Correct: ")

    @pytest.mark.parametrize(
        ("answer", "hint"),
        [
            (lambda o, t: rank(o, t) - 1, "begin at 1"),
            (lambda o, t: torch.cdist(o, t).argmin(1), ""),
            (rank_by_product, ""),
            (lambda o, t: rank(o, t[: len(o)]), ""),
            (lambda o, t: rank(o, t).float().mean(), "one place for each output"),
        ],
    )
    def test_wrong(self, answer, hint, capsys):
        refused(check_rank, answer, hint, capsys, TRIES)

    def test_columns_for_rows_are_seen(self, capsys):
        refused(check_rank, rank_of_columns, "", capsys, TRIES)


def rebalanced(logits, labels, counts, own=lambda w, f: w / (f * w).sum()):
    shares = counts / counts.sum()
    weights = own(1 / (shares / 2 + 1 / (2 * len(counts))), shares)
    logs = logits.log_softmax(1).gather(1, labels[:, None])[:, 0]
    return (-weights[labels] * logs).mean()


def rebalanced_by_library(logits, labels, counts):
    shares = counts / counts.sum()
    weights = 1 / (shares / 2 + 1 / (2 * len(counts)))
    weights = weights / (shares @ weights)
    return F.cross_entropy(logits, labels, weights, reduction="none").mean()


def rebalanced_as_number(logits, labels, counts):
    return float(rebalanced_by_library(logits, labels, counts))


class TestRebalanced:
    @pytest.mark.parametrize(
        "answer", [rebalanced, rebalanced_by_library, rebalanced_as_number]
    )
    def test_right(self, answer, capsys):
        assert check_rebalanced(answer)
        assert capsys.readouterr().out.startswith("Correct: ")

    @pytest.mark.parametrize(
        ("answer", "hint"),
        [
            (lambda x, y, c: F.cross_entropy(x, y), "without weights"),
            (
                lambda x, y, c: rebalanced(x, y, c, lambda w, f: w / w.mean()),
                "yours is that of the colours",
            ),
            (lambda x, y, c: rebalanced(x, y, c, lambda w, f: w), "not scaled"),
            (
                lambda x, y, c: rebalanced(x, y, c, lambda w, f: f / (f * f).sum()),
                "frequent colours count more",
            ),
            (lambda x, y, c: -x.log_softmax(1), "one number"),
        ],
    )
    def test_wrong(self, answer, hint, capsys):
        refused(check_rebalanced, answer, hint, capsys, TRIES)

    def test_the_book_s_faulty_code_is_refused(self, capsys):
        faulty = faulty_code("10_the_other_player.ipynb", "ex-player-rebalance")
        refused(check_rebalanced, faulty["cost"], "", capsys, TRIES)
