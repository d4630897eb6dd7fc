"""The checks of chapter 8 know a right answer from a wrong one, and say why."""

import pytest
import torch
import torch.nn.functional as F
from exercise_checks import faulty_code, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from pltutorial.exercises import (
    check_best_pictures,
    check_discriminator_step,
    check_pause,
)

TYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16])
TRIES = 5  # every wrong answer is told from a right one on each of so many fresh draws


def best_pictures(pictures, codes):
    groups: dict[bytes, list[int]] = {}
    keys = [code.float().numpy().tobytes() for code in codes]
    for number, key in enumerate(keys):
        groups.setdefault(key, []).append(number)
    return torch.stack([pictures[groups[key]].mean(0) for key in keys])


def best_by_einsum(pictures, codes):
    same = (codes[:, None] == codes[None]).flatten(2).all(2).to(pictures.dtype)
    return torch.einsum("nm,mchw->nchw", same / same.sum(1, keepdim=True), pictures)


def best_by_bmm(pictures, codes):
    same = (
        torch.cdist(codes.flatten(1).double(), codes.flatten(1).double()) < 1e-9
    ).to(pictures.dtype)
    sums = torch.bmm(same[None], pictures.flatten(1)[None])[0]
    return (sums / same.sum(1, keepdim=True)).view_as(pictures)


def best_by_unique(pictures, codes):
    _, which = codes.flatten(1).unique(dim=0, return_inverse=True)
    sums = torch.zeros(
        int(which.max()) + 1, *pictures.shape[1:], dtype=pictures.dtype
    ).index_add(0, which, pictures)
    return (sums / which.bincount().view(-1, 1, 1, 1))[which]


def best_by_numpy(pictures, codes):
    drawn = [
        pictures[[torch.equal(code, other) for other in codes]].float().mean(0)
        for code in codes
    ]
    return torch.stack(drawn).numpy()


def first_of_code(pictures, codes):
    return torch.stack(
        [
            next(
                p for p, c in zip(pictures, codes, strict=True) if torch.equal(c, code)
            )
            for code in codes
        ]
    )


def same_first_channel(pictures, codes):
    same = (codes[:, None, 0] == codes[None, :, 0]).flatten(2).all(2).float()
    return torch.einsum("nm,mchw->nchw", same / same.sum(1, keepdim=True), pictures)


def summed(pictures, codes):
    return torch.einsum(
        "nm,mchw->nchw",
        (codes[:, None] == codes[None]).flatten(2).all(2).float(),
        pictures,
    )


def median(pictures, codes):
    same = (codes[:, None] == codes[None]).flatten(2).all(2)
    return torch.stack([pictures[one].median(0).values for one in same])


def pauses(real, made):
    return (
        F.softplus(-real).mean() + F.softplus(made).mean()
        < F.softplus(-made).mean() / 10
    )


def pauses_by_logsigmoid(real, made):
    own = -(F.logsigmoid(real).mean() + F.logsigmoid(-made).mean())
    return bool(own < -0.1 * F.logsigmoid(made).mean())


def pauses_by_entropy(real, made):
    def cost(logits, label):
        return F.binary_cross_entropy_with_logits(
            logits, torch.full_like(logits, label)
        ).item()

    return 10 * (cost(real, 1.0) + cost(made, 0.0)) < cost(made, 1.0)


def pauses_by_loops(real, made):
    zero = torch.zeros((), dtype=real.dtype)
    own = sum(torch.logaddexp(zero, -r) for r in real.flatten()) / real.numel()
    own = own + sum(torch.logaddexp(zero, m) for m in made.flatten()) / made.numel()
    return (
        own
        < 0.1 * sum(torch.logaddexp(zero, -m) for m in made.flatten()) / made.numel()
    ).numpy()


def by_probabilities(real, made):
    real, made = real.sigmoid(), made.sigmoid()
    return -(real.log().mean() + (1 - made).log().mean()) < -made.log().mean() / 10


def stepping(loss_of, *, detach=True, zero=True, returned=lambda loss: loss.detach()):
    """A step of the discriminator with a loss of two kinds of logits."""

    def step(generator, discriminator, optimizer, code, photos):
        made = generator(code)
        made = made.detach() if detach else made
        loss = loss_of(discriminator(photos, code), discriminator(made, code))
        if zero:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return returned(loss)

    return step


def both(real, made):
    return F.softplus(-real).mean() + F.softplus(made).mean()


def entropy(real, made):
    return F.binary_cross_entropy_with_logits(
        real, torch.ones_like(real)
    ) + F.binary_cross_entropy_with_logits(made, torch.zeros_like(made))


def without_graph(generator, discriminator, optimizer, code, photos):
    with torch.no_grad():
        made = generator(code)
    discriminator.zero_grad(set_to_none=False)
    real, made = discriminator(
        torch.cat([photos, made]), torch.cat([code, code])
    ).chunk(2)
    loss = -F.logsigmoid(real).mean() - F.logsigmoid(-made).mean()
    loss.backward()
    optimizer.step()
    return loss.item()


def by_autograd(generator, discriminator, optimizer, code, photos):
    weights = list(discriminator.parameters())
    loss = both(discriminator(photos, code), discriminator(generator(code), code))
    for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = slope
    optimizer.step()
    return loss.detach().numpy()


def in_two_halves(generator, discriminator, optimizer, code, photos):
    optimizer.zero_grad()
    one = F.softplus(-discriminator(photos, code)).mean()
    one.backward()
    other = F.softplus(discriminator(generator(code).detach(), code)).mean()
    other.backward()
    optimizer.step()
    return one.item() + other.item()


def cleans_up_after(generator, discriminator, optimizer, code, photos):
    loss = stepping(both, detach=False)(
        generator, discriminator, optimizer, code, photos
    )
    generator.zero_grad()
    return loss


RIGHT = {
    check_best_pictures: [
        best_pictures,
        best_by_einsum,
        best_by_bmm,
        best_by_unique,
        best_by_numpy,
    ],
    check_pause: [pauses, pauses_by_logsigmoid, pauses_by_entropy, pauses_by_loops],
    check_discriminator_step: [
        stepping(both),
        stepping(entropy),
        stepping(
            lambda r, m: (
                torch.stack([F.softplus(-r), F.softplus(m)]).flatten(1).mean(1).sum()
            )
        ),
        without_graph,
        by_autograd,
        in_two_halves,
        cleans_up_after,
    ],
}


@pytest.mark.parametrize("check", RIGHT)
def test_right_answers(check, capsys):
    for answer in RIGHT[check]:
        assert check(answer), capsys.readouterr().out
        assert capsys.readouterr().out.startswith("Correct")


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(RIGHT[check_best_pictures]), TYPES)
def test_no_false_alarm_of_the_best_pictures(function, dtype):
    assert check_best_pictures(
        lambda pictures, codes: function(pictures.to(dtype), codes.to(dtype))
    )


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(RIGHT[check_pause]), TYPES)
def test_no_false_alarm_of_the_pause(function, dtype):
    assert check_pause(lambda real, made: function(real.to(dtype), made.to(dtype)))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(RIGHT[check_discriminator_step]), st.booleans())
def test_no_false_alarm_of_the_step(function, as_tensor):
    assert check_discriminator_step(
        lambda *given: (
            torch.as_tensor(function(*given)) if as_tensor else function(*given)
        )
    )


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda pictures, codes: pictures, "drawn differently"),
        (
            lambda pictures, codes: pictures.mean(0, keepdim=True).expand_as(pictures),
            "mean of all",
        ),
        (first_of_code, "something between"),
        (same_first_channel, "mean of all"),
        (summed, "divide each sum"),
        (median, "median"),
        (
            lambda pictures, codes: best_pictures(pictures, codes)[:1],
            "a drawing for each",
        ),
        (
            lambda pictures, codes: torch.full_like(pictures, 0.5),
            "equal to it in all numbers",
        ),
        (lambda pictures, codes: None, "None"),
    ],
)
def test_wrong_picture_gets_the_hint(answer, hint, capsys):
    refused(check_best_pictures, answer, hint, capsys, TRIES)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda real, made: not pauses(real, made), "turned round"),
        (by_probabilities, "softplus"),
        (
            lambda real, made: F.softplus(-real).mean() < F.softplus(-made).mean() / 10,
            "count the drawings",
        ),
        (
            lambda real, made: F.softplus(made).mean() < F.softplus(-made).mean() / 10,
            "count the photographs",
        ),
        (
            lambda real, made: both(real, made) < F.softplus(-made).mean(),
            "not below all of it",
        ),
        (lambda real, made: pauses(made, real), "exchanged"),
        (lambda real, made: True, "compare mean"),
        (lambda real, made: real > made, "one True or False"),
        (lambda real, made: None, "None"),
    ],
)
def test_wrong_pause_gets_the_hint(answer, hint, capsys):
    refused(check_pause, answer, hint, capsys, TRIES)


def the_book_s(*given):
    """The faulty function of the exercise, as it is printed."""
    code = faulty_code("08_inverting_features.ipynb", "ex-inversion-step")
    code["F"] = F
    return code["discriminator_step"](*given)


def frozen(generator, *given):
    generator.requires_grad_(False)
    return stepping(both)(generator, *given)


def trains_both(generator, discriminator, optimizer, code, photos):
    optimizer.add_param_group({"params": list(generator.parameters())})
    return stepping(both, detach=False)(
        generator, discriminator, optimizer, code, photos
    )


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (the_book_s, "reached the generator"),
        (stepping(both, detach=False), "reached the generator"),
        (stepping(both, zero=False), "earlier step"),
        (stepping(lambda r, m: both(m, r)), "labels are exchanged"),
        (stepping(lambda r, m: both(m, r), zero=False), "begin with the labels"),
        (
            stepping(lambda r, m: -both(r, m), returned=lambda loss: -loss.detach()),
            "turned round",
        ),
        (stepping(lambda r, m: F.softplus(-r).mean()), "photographs alone"),
        (stepping(lambda r, m: F.softplus(m).mean()), "drawings alone"),
        (
            stepping(lambda r, m: F.softplus(-r).sum() + F.softplus(m).sum()),
            "not a sum",
        ),
        (stepping(lambda r, m: both(r, m) / 2), "not their mean"),
        (
            stepping(lambda r, m: (r - 1).square().mean() + m.square().mean()),
            "is not that of mean",
        ),
        (stepping(both, returned=lambda loss: 0.5), "number returned"),
        (stepping(both, returned=lambda loss: torch.ones(2)), "one number"),
        (lambda g, d, o, c, p: both(d(p, c), d(g(c), c)).item(), "did not move"),
        (frozen, "need no gradient"),
        (trains_both, "generator's weights changed"),
    ],
)
def test_wrong_step_gets_the_hint(answer, hint, capsys):
    refused(check_discriminator_step, answer, hint, capsys, TRIES)
