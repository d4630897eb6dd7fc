"""The checks of chapter 8 know a right answer from a wrong one, and say why."""

import pytest
import torch
import torch.nn.functional as F

from pltutorial.exercises import check_best_pictures, check_pause


def best_pictures(pictures, codes):
    groups: dict[bytes, list[int]] = {}
    keys = [code.numpy().tobytes() for code in codes]
    for number, key in enumerate(keys):
        groups.setdefault(key, []).append(number)
    return torch.stack([pictures[groups[key]].mean(0) for key in keys])


def first_of_code(pictures, codes):
    return torch.stack(
        [next(p for p, c in zip(pictures, codes, strict=True) if torch.equal(c, code)) for code in codes]
    )


def same_first_channel(pictures, codes):
    same = (codes[:, None, 0] == codes[None, :, 0]).flatten(2).all(2).float()
    return torch.einsum("nm,mchw->nchw", same / same.sum(1, keepdim=True), pictures)


def pauses(real, made):
    return F.softplus(-real).mean() + F.softplus(made).mean() < F.softplus(-made).mean() / 10


def by_probabilities(real, made):
    real, made = real.sigmoid(), made.sigmoid()
    return -(real.log().mean() + (1 - made).log().mean()) < -made.log().mean() / 10


@pytest.mark.parametrize(("check", "answer"), [(check_best_pictures, best_pictures), (check_pause, pauses)])
def test_right_answers(check, answer, capsys):
    assert check(answer)
    assert capsys.readouterr().out.startswith("Correct")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda pictures, codes: pictures, "drawn differently"),
        (lambda pictures, codes: pictures.mean(0, keepdim=True).expand_as(pictures), "mean of all"),
        (first_of_code, "something between"),
        (same_first_channel, "mean of all"),
        (lambda pictures, codes: best_pictures(pictures, codes)[:1], "a drawing for each"),
        (lambda pictures, codes: torch.full_like(pictures, 0.5), "equal to it in all numbers"),
        (lambda pictures, codes: None, "None"),
    ],
)
def test_wrong_picture_gets_the_hint(wrong, hint, capsys):
    assert not check_best_pictures(wrong)
    said = capsys.readouterr().out
    assert said.startswith("Not yet")
    assert hint in said


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda real, made: not pauses(real, made), "turned round"),
        (by_probabilities, "softplus"),
        (lambda real, made: F.softplus(-real).mean() < F.softplus(-made).mean() / 10, "count the drawings"),
        (lambda real, made: F.softplus(made).mean() < F.softplus(-made).mean() / 10, "count the photographs"),
        (
            lambda real, made: F.softplus(-real).mean() + F.softplus(made).mean() < F.softplus(-made).mean(),
            "not below all of it",
        ),
        (lambda real, made: True, "compare mean"),
        (lambda real, made: real > made, "one True or False"),
        (lambda real, made: None, "None"),
    ],
)
def test_wrong_pause_gets_the_hint(wrong, hint, capsys):
    assert not check_pause(wrong)
    said = capsys.readouterr().out
    assert said.startswith("Not yet")
    assert hint in said


@pytest.mark.parametrize("check", [check_best_pictures, check_pause])
def test_a_crash_of_the_answer_is_a_hint(check, capsys):
    def crash(*_):
        raise ZeroDivisionError("by hand")

    assert not check(crash)
    assert "ZeroDivisionError" in capsys.readouterr().out
