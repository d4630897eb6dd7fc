"""DeePSiM's loss and the KL divergence: closed forms, float64 references, what a weight
of 0 saves, any parts, bad input.
"""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import Operations, picture, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Normal, kl
from torch.nn.utils import parametrize

from pltutorial.deepsim import PAUSE_BELOW, DeepSimLoss, kl_divergence
from pltutorial.losses import LossTerms
from pltutorial.networks import (
    VAE,
    ConvAutoencoder,
    Discriminator,
    InversionNet,
)
from pltutorial.vgg import Encoder

LAYERS = ("relu1_2", "relu2_2")


def judge(channels: int = 0, **how) -> Discriminator:
    """A discriminator that does not answer the same to everything."""
    torch.manual_seed(3)
    network = Discriminator(channels, 4, **how)
    with torch.no_grad():
        network.last.bias.fill_(0.4)
    return network.eval()


class Spy(nn.Module):
    """A comparator that counts its calls: the picture itself at ``fine``, its means
    over 4x4 pixels at ``coarse``.
    """

    def __init__(self):
        super().__init__()
        self.seen: list[tuple] = []

    def forward(self, image, layers):
        self.seen.append((tuple(image.shape), tuple(layers), torch.is_grad_enabled()))
        known = {"fine": image, "coarse": F.avg_pool2d(image, 4)}
        return {name: known[name] for name in layers}


class Never(nn.Module):
    """Must not be called, nor made."""

    def forward(self, *arguments):
        raise AssertionError("it was called")


never = Never()


# --- the terms ------------------------------------------------------------------------


class TestTerms:
    @pytest.mark.parametrize("scaling", ["relative", "johnson"])
    def test_value_is_the_papers_equations_in_float64(self, scaling, network, device):
        """Equations 2 to 5, written out: sums of squares, log D, with D the logistic
        function of the logits.
        """
        output, target = (picture(24, 32, seed, 3, device) for seed in (0, 1))
        code = torch.rand(3, 5, 3, 4, generator=torch.Generator().manual_seed(0)).to(
            device
        )
        discriminator = judge(5).to(device)
        loss = DeepSimLoss(
            0.5,
            0.1,
            10,
            comparator=network,
            layers=LAYERS,
            discriminator=discriminator,
            scaling=scaling,
        )
        with torch.no_grad():
            terms = loss(output, target, code)
            probability = (
                torch.sigmoid(discriminator(output, code).double()).cpu().numpy()
            )
            mine, theirs = network(output, LAYERS), network(target, LAYERS)
        expected = 0.0
        for name in LAYERS:
            for one, other in zip(
                mine[name].double(), theirs[name].double(), strict=True
            ):
                apart = float(((one - other) ** 2).sum())
                whole = (
                    float((other**2).sum()) if scaling == "relative" else other.numel()
                )
                expected += apart / whole / (3 * len(LAYERS))
        assert list(terms) == ["feature", "adversarial", "image"]
        assert float(terms["feature"]) == pytest.approx(0.5 * expected, rel=1e-5)
        logs = [-math.log(p) for p in probability.flatten().tolist()]
        assert float(terms["adversarial"]) == pytest.approx(
            0.1 * sum(logs) / len(logs), rel=1e-5
        )
        squares = ((output.double() - target.double()) ** 2).sum() / output.numel()
        assert float(terms["image"]) == pytest.approx(10 * float(squares), rel=1e-5)
        assert float(terms.total) == pytest.approx(
            sum(float(v) for v in terms.values()), rel=1e-6
        )

    def test_gradient_is_that_of_finite_differences(self):
        """In float64, through all three terms."""
        comparator, discriminator = Spy(), judge(2).double()
        loss = DeepSimLoss(
            0.7,
            0.3,
            2,
            comparator=comparator,
            layers=("fine", "coarse"),
            discriminator=discriminator,
        )
        output, target = (picture(8, 12, seed, 2).double() for seed in (0, 1))
        code = torch.rand(2, 2, 2, 2, dtype=torch.float64)
        output.requires_grad_()
        loss(output, target, code).total.backward()
        for position in ((0, 0, 0, 0), (0, 2, 7, 11), (1, 1, 3, 5), (1, 0, 4, 4)):
            values = []
            for step in (1e-3, -1e-3):
                moved = output.detach().clone()
                moved[position] += step
                with torch.no_grad():
                    values.append(float(loss(moved, target, code).total))
            # logits are taken in float32
            assert float(output.grad[position]) == pytest.approx(
                (values[0] - values[1]) / 2e-3, rel=2e-2, abs=3e-5
            )

    def test_a_batch_is_the_mean_of_its_pictures(self):
        """So that processes which share a batch agree with one that has it whole."""
        dark = torch.cat(
            [picture(16, 16), 0.05 * picture(16, 16, 1), picture(16, 16, 2)]
        )
        output, code = picture(16, 16, 7, 3), torch.rand(3, 5, 2, 2)
        for scaling in ("relative", "johnson"):
            loss = DeepSimLoss(
                1,
                1,
                1,
                comparator=Spy(),
                layers=("fine", "coarse"),
                discriminator=judge(5),
                scaling=scaling,
            )
            whole = loss(output, dark, code)
            single = [
                loss(output[i : i + 1], dark[i : i + 1], code[i : i + 1])
                for i in range(3)
            ]
            for name, value in whole.items():
                mean = sum(float(one[name]) for one in single) / 3
                assert float(value) == pytest.approx(mean, rel=1e-5), name

    def test_relative_is_1_for_a_signal_that_is_lost_on_any_scale(self):
        target = picture(16, 16, 0, 2)
        for scale in (1e-3, 1.0, 1e3):
            loss = DeepSimLoss(
                image=0,
                comparator=lambda x, layers, s=scale: {"one": s * x},
                layers=("one",),
            )
            assert float(loss(torch.zeros_like(target), target).total) == pytest.approx(
                1, rel=1e-5
            )
            assert float(loss(0.9 * target, target).total) == pytest.approx(
                0.01, rel=1e-4
            )
        assert float(loss(target, torch.zeros_like(target)).total) < float("inf")

    def test_features_of_the_target_that_are_known_are_not_computed_again(
        self, network, device
    ):
        comparator, (output, target) = (
            Spy(),
            (picture(16, 16, seed, 2, device) for seed in (0, 1)),
        )
        loss = DeepSimLoss(1, 0, 0, comparator=comparator, layers=("fine",))
        expected = float(loss(output, target).total)
        assert [(shape, grad) for shape, _, grad in comparator.seen] == [
            ((2, 3, 16, 16), True),
            ((2, 3, 16, 16), False),
        ]
        comparator.seen.clear()
        assert float(loss(output, target, wanted={"fine": target}).total) == expected
        assert len(comparator.seen) == 1

    def test_features_in_half_precision_are_compared_in_float32(self):
        output, target = picture(16, 16, 0, 2), picture(16, 16, 1, 2)
        loss = DeepSimLoss(
            1, 0, 0, comparator=lambda x, layers: {"h": x.bfloat16()}, layers=("h",)
        )
        value = loss(output, target).total
        assert value.dtype == torch.float32
        one, other = output.bfloat16().double(), target.bfloat16().double()
        each = (one - other).square().flatten(1).sum(1) / other.square().flatten(1).sum(
            1
        )
        assert float(value) == pytest.approx(float(each.mean()), rel=1e-6)


class TestLeftOut:
    @pytest.mark.parametrize("left", ["feature", "adversarial", "image"])
    def test_what_a_term_needs_is_not_computed(self, left, monkeypatch):
        comparator = Spy()
        discriminator = judge()
        weights = {"feature": 1.0, "adversarial": 1.0, "image": 1.0, left: 0.0}
        loss = DeepSimLoss(
            **weights,
            comparator=comparator,
            layers=("fine",),
            discriminator=discriminator,
        )
        whole = DeepSimLoss(
            1,
            1,
            1,
            comparator=comparator,
            layers=("fine",),
            discriminator=discriminator,
        )
        output, target = picture(16, 16, 0, 2), picture(16, 16, 1, 2)
        expected = whole(output, target)
        if left == "feature":
            loss.comparator = never
        if left == "adversarial":
            loss.discriminator = never
        if left == "image":
            monkeypatch.setattr("pltutorial.deepsim.pixel_loss", never)
        terms = loss(output, target)
        assert list(terms) == [name for name in weights if name != left]
        for name, value in terms.items():
            assert torch.equal(value, expected[name])

    def test_without_a_feature_term_no_vgg_is_made(self, monkeypatch):
        monkeypatch.setattr("pltutorial.deepsim.LossNetwork", never)
        assert DeepSimLoss(feature=0).comparator is None
        with pytest.raises(AssertionError, match="it was called"):
            DeepSimLoss()

    def test_pixels_alone_are_the_squared_error(self):
        output, target = picture(16, 16, 0, 2), picture(16, 16, 1, 2)
        terms = DeepSimLoss(feature=0, image=3)(output, target)
        assert float(terms.total) == pytest.approx(
            3 * float(F.mse_loss(output, target)), rel=1e-6
        )


# --- the game -------------------------------------------------------------------------


class TestGame:
    def test_the_discriminator_s_terms_are_cross_entropy_in_one_pass(self):
        discriminator, calls = judge(5), []
        target, output, code = (
            picture(16, 24, 0, 2),
            picture(16, 24, 1, 2),
            torch.rand(2, 5, 2, 3),
        )
        loss = DeepSimLoss(0, 1, 0, discriminator=discriminator)

        def wrapped(*given):
            calls.append(given)
            return discriminator(*given)

        terms = loss.discriminator_loss(output, target, code, discriminator=wrapped)
        with torch.no_grad():
            real, made = discriminator(target, code), discriminator(output, code)
        expected = F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        assert float(terms["real"]) == pytest.approx(float(expected), rel=1e-5)
        expected = F.binary_cross_entropy_with_logits(made, torch.zeros_like(made))
        assert float(terms["made"]) == pytest.approx(float(expected), rel=1e-5)
        assert list(terms) == ["real", "made"]
        assert [len(one) for one in calls[0]] == [4, 4]

    def test_samples_beside_reconstructions_count_as_made(self):
        discriminator = judge(5)
        target, output, code = (
            picture(16, 16, 0, 2),
            picture(16, 16, 1, 4),
            torch.rand(2, 5, 2, 2),
        )
        loss = DeepSimLoss(0, 1, 0, discriminator=discriminator)
        terms = loss.discriminator_loss(output, target, code)
        with torch.no_grad():
            made = F.softplus(discriminator(output, torch.cat([code, code]))).mean()
            fooled = F.softplus(-discriminator(output, torch.cat([code, code]))).mean()
        assert float(terms["made"]) == pytest.approx(float(made), rel=1e-5)
        judged = loss(output[:2], target, code, judged=output)["adversarial"]
        assert float(judged) == pytest.approx(float(fooled), rel=1e-5)

    def test_nothing_of_the_discriminator_s_loss_reaches_the_generator(self):
        loss = DeepSimLoss(0, 1, 0, discriminator=judge())
        output = picture(16, 16, 1, 2).requires_grad_()
        loss.discriminator_loss(output, picture(16, 16, 0, 2)).total.backward()
        assert output.grad is None
        assert all(p.grad is not None for p in loss.discriminator.parameters())

    @pytest.mark.parametrize(
        ("real", "made", "fooled", "won"),
        [(0.01, 0.02, 0.4, True), (0.03, 0.02, 0.4, False)],
    )
    def test_has_won_below_a_tenth_of_the_generator_s_whatever_its_weight(
        self, real, made, fooled, won
    ):
        assert PAUSE_BELOW == 0.1
        for weight in (1e-3, 1.0, 50.0):
            loss = DeepSimLoss(0, weight, 0, discriminator=judge())
            game = LossTerms(real=torch.tensor(real), made=torch.tensor(made))
            terms = LossTerms(
                adversarial=torch.tensor(weight * fooled), image=torch.tensor(9.0)
            )
            assert loss.has_won(game, terms).item() is won
            assert loss.has_won(game, terms, pause_below=0.0).item() is False
            assert loss.has_won(game, terms, pause_below=1.0).item() is True
        game["real"] = torch.tensor(float("nan"))
        # which its step will show, and the log report
        assert loss.has_won(game, terms).item() is False

    def test_the_loop_of_the_documentation_teaches_both(self):
        """A generator that is an image itself, against a discriminator that learns."""
        torch.manual_seed(0)
        target = picture(16, 16, 0, 4)
        output = nn.Parameter(torch.full_like(target, 0.5))
        discriminator = Discriminator(0, 8)
        loss = DeepSimLoss(0, 0.02, 1, discriminator=discriminator)
        mine = torch.optim.Adam([output], 0.02)
        theirs = torch.optim.Adam(discriminator.parameters(), 1e-3)
        first, paused = None, 0
        for _ in range(40):
            terms = loss(output, target)
            mine.zero_grad()
            terms.total.backward()
            mine.step()
            game = loss.discriminator_loss(output.detach(), target)
            theirs.zero_grad()
            game.total.backward()
            if loss.has_won(game, terms):
                paused += 1
            else:
                theirs.step()
            first = first if first is not None else float(terms["image"].detach())
        assert float(F.mse_loss(output.detach(), target)) < 0.3 * first
        assert paused < 40

    def test_no_value_goes_to_the_host(self, device, network):
        discriminator = judge(5).train().to(device)
        output, target = (
            picture(16, 16, seed, 2, device).requires_grad_(not seed) for seed in (0, 1)
        )
        code = torch.rand(2, 5, 2, 2, device=device)
        loss = DeepSimLoss(
            1, 1, 1, comparator=network, layers=LAYERS, discriminator=discriminator
        )
        with Operations() as seen:
            terms = loss(output, target, code)
            terms.total.backward()
            game = loss.discriminator_loss(output, target, code)
            game.total.backward()
            loss.has_won(game, terms)
            kl_divergence(
                torch.randn(2, 3, device=device), torch.randn(2, 3, device=device)
            )
        assert "convolution" in seen.names
        assert seen.to_host == []


# --- any parts ------------------------------------------------------------------------


class TestParts:
    def test_vae_gan_s_metric_is_the_discriminator_s_features(self):
        """Larsen et al. (2016), equation 7; in training too a picture is at
        distance 0 from itself.
        """
        torch.manual_seed(0)
        discriminator = Discriminator(0, 4).train()
        loss = DeepSimLoss(
            1,
            1,
            0,
            comparator=discriminator.features,
            layers=("conv2", "conv3"),
            discriminator=discriminator,
        )
        output, target = picture(16, 16, 0, 2), picture(16, 16, 1, 2)
        with torch.no_grad():
            for parameter in discriminator.parameters():
                # so that singular vectors are not those of the weights
                parameter.add_(torch.rand_like(parameter))
            assert float(loss(target, target)["feature"]) == 0
            discriminator.eval()
            one, other = (
                discriminator.features(x, ("conv2", "conv3")) for x in (output, target)
            )
            expected = sum(
                float(
                    (
                        (one[k] - other[k]).square().flatten(1).sum(1)
                        / other[k].square().flatten(1).sum(1)
                    ).mean()
                )
                for k in one
            )
            assert float(loss(output, target)["feature"]) == pytest.approx(
                expected / 2, rel=1e-5
            )

    def test_weights_are_normalised_once_a_step(self):
        discriminator, calls = judge().train(), []
        for name in discriminator.layer_names:
            getattr(discriminator, name).parametrizations.weight[
                0
            ].register_forward_hook(lambda *_, name=name: calls.append(name))
        how = {
            "comparator": discriminator.features,
            "layers": ("conv2",),
            "discriminator": discriminator,
        }
        loss = DeepSimLoss(1, 1, 0, **how)
        output = picture(16, 16, 0, 2).requires_grad_()
        loss(output, picture(16, 16, 1, 2)).total.backward()
        assert sorted(calls) == sorted(discriminator.layer_names)
        assert output.grad.abs().sum() > 0
        assert all(p.grad is not None for p in discriminator.parameters())
        assert not parametrize._cache_enabled

    def test_any_encoder_compares(self):
        """The general recipe with another network of torchvision."""
        from torchvision.models import squeezenet1_1

        torch.manual_seed(0)
        encoder = Encoder(squeezenet1_1(weights=None).features)
        layers = ("1", "3.cat")
        output, target = picture(32, 32, 0, 2), picture(32, 32, 1, 2)
        output.requires_grad_()
        loss = DeepSimLoss(1, 0, 1, comparator=encoder, layers=layers)
        terms = loss(output, target)
        terms.total.backward()
        assert output.grad.abs().sum() > 0
        one, other = encoder(output, layers), encoder(target, layers)
        expected = [
            (
                (one[k] - other[k]).square().flatten(1).sum(1)
                / other[k].square().flatten(1).sum(1)
            ).mean()
            for k in layers
        ]
        assert float(terms["feature"].detach()) == pytest.approx(
            float(sum(expected).detach()) / 2, rel=1e-4
        )
        with refused("'3.cut'", "nearest is '3.cat'"):
            DeepSimLoss(comparator=encoder, layers=("3.cut",))

    @pytest.mark.parametrize(
        "generator",
        [
            lambda: nn.Conv2d(3, 3, 3, padding=1),
            lambda: ConvAutoencoder(3, 4, 1),
            lambda: nn.Sequential(
                nn.AvgPool2d(8), InversionNet("code", 2, 1, channels=3, stride=8)
            ),
            lambda: VAE(2, 4, size=16),
        ],
        ids=["conv", "autoencoder", "inversion", "vae"],
    )
    def test_any_generator_learns_from_it_with_any_discriminator(self, generator):
        torch.manual_seed(0)
        network, target = generator(), picture(16, 16, 0, 2)
        discriminator = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 1))
        loss = DeepSimLoss(
            1, 0.1, 1, comparator=Spy(), layers=("coarse",), discriminator=discriminator
        )
        optimizer, totals = torch.optim.Adam(network.parameters(), 1e-2), []
        for _ in range(50):
            output = network(target)
            terms = loss(output[0] if isinstance(output, tuple) else output, target)
            optimizer.zero_grad()
            terms.total.backward()
            optimizer.step()
            totals.append(float(terms.total.detach()))
        assert totals[-1] < 0.97 * totals[0]


# --- the KL divergence ----------------------------------------------------------------


class TestKL:
    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.tuples(st.floats(-4, 4), st.floats(-8, 4)), min_size=1, max_size=6),
    )
    def test_is_that_of_torch_distributions_in_float64(self, pairs):
        mean, log_variance = torch.tensor([pairs]).unbind(2)
        one = Normal(mean.double(), (log_variance.double() / 2).exp())
        expected = kl.kl_divergence(
            one, Normal(torch.zeros_like(one.mean), torch.ones_like(one.mean))
        ).sum(1)
        found = kl_divergence(mean, log_variance)
        assert found.shape == (1,)
        assert float(found) == pytest.approx(float(expected), rel=1e-5, abs=1e-6)
        assert float(found) >= -1e-6

    def test_closed_forms(self):
        assert float(kl_divergence(torch.zeros(1, 9), torch.zeros(1, 9))) == 0
        # mean^2 / 2 each
        assert float(kl_divergence(torch.full((1, 8), 2.0), torch.zeros(1, 8))) == 16
        variance = 4.0
        expected = 3 * (variance - math.log(variance) - 1) / 2
        found = kl_divergence(torch.zeros(1, 3), torch.full((1, 3), math.log(variance)))
        assert float(found) == pytest.approx(expected, rel=1e-6)

    def test_gradient_and_precision(self):
        mean, log_variance = (
            torch.randn(3, 5, dtype=torch.float64).requires_grad_() for _ in range(2)
        )
        kl_divergence(mean, log_variance).sum().backward()
        assert (mean.grad - mean.detach()).abs().max() < 1e-6
        assert (
            log_variance.grad - (log_variance.detach().exp() - 1) / 2
        ).abs().max() < 1e-6
        with torch.autocast("cpu", torch.bfloat16):
            assert (
                kl_divergence(mean.bfloat16(), log_variance.bfloat16()).dtype
                == torch.float32
            )

    def test_bad_input(self):
        with refused("(2, 3)", "(2, 4)", "(N, Z)"):
            kl_divergence(torch.zeros(2, 3), torch.zeros(2, 4))
        with refused("(3,)", "(N, Z)"):
            kl_divergence(torch.zeros(3), torch.zeros(3))


def test_repr_says_weights_layers_and_scaling(network):
    loss = DeepSimLoss(1, image=10, comparator=network, layers=["relu1_2"])
    assert "feature=1, adversarial=0, image=10, layers=('relu1_2',)" in repr(loss)
    assert "scaling='relative'" in repr(loss)


def test_pictures_are_checked_in_every_call(network):
    loss = DeepSimLoss(1, image=0, comparator=network, layers=["relu1_2"])
    image = picture(16, 16, device=network.mean.device)
    for _ in range(2):
        loss(image, image)
        for wrong, word in ((image[0], "image[None]"), (image.long(), "int64")):
            with refused("the output", word):
                loss(wrong, image)
            with refused("the target", word):
                loss(image, wrong)


class TestBadInput:
    @pytest.mark.parametrize(
        ("how", "words"),
        [
            ({"feature": 0, "image": 0}, ["all weights are 0"]),
            ({"feature": -1.0}, ["-1.0", "feature", "at least 0"]),
            ({"image": float("nan")}, ["nan", "image", "finite"]),
            ({"adversarial": float("inf")}, ["inf", "adversarial"]),
            ({"adversarial": 1.0}, ["without a discriminator", "discriminator="]),
            ({"layers": ()}, ["without a layer"]),
            ({"layers": ("relu3_9",)}, ["'relu3_9'", "nearest is"]),
            ({"scaling": "relativ"}, ["'relativ'", "nearest is 'relative'"]),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_is_one_sentence(self, how, words, phi):
        with refused(*words):
            DeepSimLoss(**{"comparator": phi} | how)

    def test_layers_of_a_discriminator_are_checked_at_once(self):
        with refused("'relu3_3'", "conv1"):
            DeepSimLoss(comparator=judge().features)
        with refused("'conv4'", "nearest"):
            DeepSimLoss(comparator=judge(5).features, layers=("conv4",))

    def test_shapes_and_numbers(self, phi):
        loss = DeepSimLoss(
            1, 1, 1, comparator=phi, discriminator=judge(5), layers=LAYERS
        )
        image, code = picture(16, 16, 0, 2), torch.rand(2, 5, 2, 2)
        with refused("(2, 64, 16, 16)", "(2, 64, 16, 24)"):
            loss(image, picture(16, 24, 0, 2), code)
        with refused("3 outputs", "2 targets", "a multiple"):
            loss.discriminator_loss(picture(16, 16, 0, 3), image, code)
        with refused("the discriminator", "(2, 5, h, w)"):
            loss(image, image, code[:, :4])
        with refused("no adversarial term", "positive weight"):
            pixels = DeepSimLoss(0, 0, 1)
            pixels.has_won(LossTerms(real=torch.ones(())), pixels(image, image))
