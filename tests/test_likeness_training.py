"""Trainings with a learned likeness: each learns, the discriminator's pauses, when it
has won, NaN, start, bad input.
"""

from __future__ import annotations

import functools
import math

import pytest
import torch
from helpers import Operations, picture, refused
from torch import nn
from training_runs import FULL, likened, rows, state

from pltutorial.datasets import Pictures
from pltutorial.images import bundled, bundled_names, middle_square
from pltutorial.losses import LossTerms
from pltutorial.networks import (
    Discriminator,
    InversionNet,
    encode,
    load_network,
    save_network,
)
from pltutorial.optimize import Record
from pltutorial.settings import TrainingSettings
from pltutorial.tasks.likeness import code_scale, likeness_card
from pltutorial.training import loop, train
from pltutorial.training.adversary import Adversary
from pltutorial.vgg import LossNetwork

KINDS = ("invert", "autoencode", "vae", "colorize")
each = pytest.mark.parametrize("kind", KINDS)
MAKE_SCALE = functools.cache(code_scale)
GAN = {"comparator": "discriminator", "feature_layers": ("conv1", "conv2")}


@pytest.fixture(autouse=True)
def quick_scale(monkeypatch):
    """A code's scale is measured once for all tests."""
    monkeypatch.setattr("pltutorial.tasks.likeness.code_scale", MAKE_SCALE)


class TestLearning:
    @each
    def test_each_learns_and_writes_what_there_is(self, kind, phi, pictures, tmp_path):
        changes = {
            "steps": 24,
            "log_every": 6,
            "learning_rate": 5e-3,
            "sample_every": 24,
        } | FULL
        task = likened(kind, phi, **changes)
        result = train(
            task,
            pictures=pictures,
            folder=tmp_path,
            card=lambda result: likeness_card(result, task, task.settings, "noise"),
        )
        first, last = result.history[0], result.history[-1]
        assert (
            last.terms["image"] + last.terms["feature"]
            < first.terms["image"] + first.terms["feature"]
        )
        terms = ["feature", "adversarial", "image", *(["kl"] if kind == "vae" else [])]
        columns = ["step", "total", *terms, "discriminator", "paused", "learning_rate"]
        assert list(rows(tmp_path)[0]) == columns
        for record in result.history:
            assert record.total == pytest.approx(
                sum(record.terms[name] for name in terms), rel=1e-5
            )
        assert {path.name for path in tmp_path.iterdir()} == {
            *("checkpoint.pt", "log.csv", "samples"),
            *("network.safetensors", "discriminator.safetensors"),
        }
        network = load_network(tmp_path / "network.safetensors", "cpu")
        assert network.config == task.network.config
        assert network.card["terms"] == ["step", *terms, "total"]
        assert len(network.card["curve"][0]) == len(network.card["terms"])
        discriminator = load_network(tmp_path / "discriminator.safetensors", "cpu")
        told = 128 if kind == "invert" else 0
        assert (type(discriminator), discriminator.config["code_channels"]) == (
            Discriminator,
            told,
        )
        assert [path.name for path in (tmp_path / "samples").iterdir()] == [
            "step_000024.jpg"
        ]

    @pytest.mark.parametrize(
        ("kind", "changes"),
        [
            ("vae", FULL | GAN | {"image_weight": 0.0}),
            ("vae", FULL | {"encoder": "pool4"}),
            ("invert", {"layer": "pool2", "feature_weight": 1.0, "image_weight": 0.0}),
            ("invert", FULL | {"spectral": False, "norm": "batch"}),
            ("autoencode", {"norm": "batch"}),
            ("colorize", {"adversarial_weight": 1.0, "image_weight": 0.0}),
        ],
    )
    def test_other_mixtures_train(self, kind, changes, phi, pictures):
        task = likened(kind, phi, steps=3, log_every=1, **changes)
        before = {
            name: value.clone() for name, value in task.network.named_parameters()
        }
        result = train(task, pictures=pictures)
        expected = [name for name, weight in task.objective.weights.items() if weight]
        expected += ["kl"] if kind == "vae" else []
        expected += ["discriminator", "paused"] if task.adversary is not None else []
        assert list(result.history[0].terms) == expected
        assert all(
            not torch.equal(value, before[name])
            for name, value in task.network.named_parameters()
        )

    def test_pixels_alone_need_no_vgg_and_no_discriminator(self, monkeypatch, pictures):
        def made(*arguments, **more):
            raise AssertionError("a loss network was made")

        for place in ("vgg", "deepsim", "perceptual"):
            monkeypatch.setattr(f"pltutorial.{place}.LossNetwork", made)
        for kind in ("autoencode", "vae", "colorize"):
            task = likened(kind, steps=1)
            assert task.adversary is None
            assert list(train(task, pictures=pictures).history[0].terms)[0] == "image"

    @each
    def test_no_step_waits_for_the_device(self, kind, phi, pictures, monkeypatch):
        """Nor the discriminator's, whose pause is decided where the losses are."""
        one_step, found = loop._Run._one_step, []

        def watched(self, images):
            with Operations() as seen:
                one_step(self, images)
            found.append(seen)

        monkeypatch.setattr(loop._Run, "_one_step", watched)
        train(likened(kind, phi, log_every=10, steps=2, **FULL), pictures=pictures)
        for seen in found:
            assert seen.to_host == []
            assert sum("adam" in name for name in seen.names) == 2


# --- the game -------------------------------------------------------------------------


class Drawing:
    """A plain task of one's own: a bias that learns the pictures' colour, against a
    linear discriminator.
    """

    def __init__(self, pauses=()):
        torch.manual_seed(0)
        self.network, self.adversary = (
            nn.Conv2d(3, 3, 1),
            nn.Sequential(nn.Flatten(), nn.Linear(192, 1)),
        )
        self.pauses, self.step, self.inputs = pauses, -1, []

    def loss(self, network, images, first):
        self.step += 1
        output = network(images)
        assert not any(p.requires_grad for p in self.adversary.parameters())
        self.game = output.detach(), images
        fooled = nn.functional.softplus(-self.adversary(output)).mean()
        return LossTerms(
            image=(output - images).square().mean(), adversarial=0.1 * fooled
        )

    def adversary_loss(self, adversary):
        output, images = self.game
        self.inputs.append((output.clone(), images.clone()))
        logits = adversary(torch.cat([images, output])).chunk(2)
        terms = LossTerms(
            real=(1 - logits[0]).square().mean(), made=logits[1].square().mean()
        )
        return terms, torch.tensor(1e9 if self.step in self.pauses else 0.0)

    def samples(self, network):
        return network(torch.zeros(1, 3, 8, 8))


PLAIN = TrainingSettings(
    **{
        "steps": 8,
        "size": 8,
        "batch_size": 2,
        "log_every": 1,
        "device": "cpu",
        "precision": "float32",
    },
    **{"progress": False, "zoom": (1.0, 1.2), "gradient_clip": 0.5},
)


class TestPause:
    @pytest.mark.parametrize("pauses", [(0, 1), (2, 3, 6), (7,), ()])
    def test_a_pause_skips_the_step_to_the_last_bit_and_later_steps_never_knew_it(
        self, pauses, pictures, tmp_path
    ):
        """A task of one's own with plain settings; by hand with the pictures of the
        steps that were taken.
        """
        task = Drawing(pauses)
        train(task, PLAIN, pictures=pictures, folder=tmp_path)
        assert [float(row["paused"]) for row in rows(tmp_path)] == [
            float(n in pauses) for n in range(8)
        ]
        hand = Drawing()
        optimizer = torch.optim.Adam(hand.adversary.parameters(), lr=2e-4, fused=True)
        for step, game in enumerate(task.inputs):
            if step in pauses:
                continue
            hand.game, hand.step = game, step
            optimizer.zero_grad()
            hand.adversary_loss(hand.adversary)[0].total.backward()
            torch.nn.utils.clip_grad_norm_(hand.adversary.parameters(), 0.5)
            optimizer.step()
        for mine, theirs in zip(
            task.adversary.parameters(), hand.adversary.parameters(), strict=True
        ):
            assert torch.equal(mine, theirs)
        kept = state(tmp_path)["adversary"]["optimizer"]["state"]
        for number, expected in optimizer.state_dict()["state"].items():
            assert all(
                torch.equal(kept[number][name], value)
                for name, value in expected.items()
            )
            assert kept[number]["step"] == 8 - len(pauses)

    def test_always_paused_it_stays_as_it_was_made_while_the_generator_learns(
        self, phi, pictures, tmp_path
    ):
        changes = FULL | {"pause_below": 1e9, "give_up": 0, "steps": 6}
        task, fresh = (likened("invert", phi, **changes) for _ in range(2))
        train(task, pictures=pictures, folder=tmp_path)
        assert {float(row["paused"]) for row in rows(tmp_path)} == {1.0}
        for name, value in fresh.adversary.named_parameters():
            assert torch.equal(task.adversary.get_parameter(name), value), name
        assert not torch.equal(task.network.first.weight, fresh.network.first.weight)
        for one in state(tmp_path)["adversary"]["optimizer"]["state"].values():
            assert not any(value.any() for value in one.values())

    def test_never_paused_with_0(self, phi, pictures):
        result = train(
            likened("invert", phi, **FULL, pause_below=0.0, steps=3), pictures=pictures
        )
        assert result.history[-1].terms["paused"] == 0

    def test_the_verdict_is_that_of_the_loss(self, phi, pictures, monkeypatch):
        """The trainer pauses exactly where DeepSimLoss.has_won says so."""
        task, said = (
            likened("invert", phi, **FULL, pause_below=2.0, steps=6, log_every=1),
            [],
        )
        loss = task.adversary_loss

        def watched(adversary):
            terms, adversarial = loss(adversary)
            adversarial = adversarial * (0.1 if len(said) in (0, 3) else 10)
            said.append(
                bool(
                    task.objective.has_won(
                        terms, LossTerms(adversarial=0.1 * adversarial), 2.0
                    )
                )
            )
            return terms, adversarial

        monkeypatch.setattr(task, "adversary_loss", watched)
        result = train(task, pictures=pictures)
        assert [bool(record.terms["paused"]) for record in result.history] == said
        assert said == [False, True, True, False, True, True]

    def test_the_discriminator_follows_the_schedule_and_the_decays(
        self, phi, pictures, monkeypatch
    ):
        rates, step = [], Adversary.step

        def watched(self, *given):
            result = step(self, *given)
            group = self.optimizer.param_groups[0]
            rates.append(group["lr"])
            assert group["betas"] == (0.5, 0.99)
            return result

        monkeypatch.setattr(Adversary, "step", watched)
        changes = {
            "schedule": "cosine",
            "warmup": 2,
            "steps": 6,
            "discriminator_rate": 1e-3,
            "betas": (0.5, 0.99),
        }
        train(likened("colorize", phi, **FULL, **changes), pictures=pictures)
        expected = [
            1e-3 * (1 + math.cos(math.pi * n / 6)) / 2 * min(1, (n + 1) / 2)
            for n in range(6)
        ]
        assert rates == pytest.approx(expected)


class TestEnd:
    def test_a_discriminator_that_has_won_stops_with_a_sentence_and_a_checkpoint(
        self, phi, pictures, tmp_path
    ):
        changes = FULL | {
            "pause_below": 1e9,
            "log_every": 2,
            "checkpoint_every": 2,
            "steps": 20,
        }
        with refused(
            "has won",
            "last 6 steps",
            "discriminator_rate",
            "checkpoint is kept in",
            str(tmp_path),
        ):
            train(
                likened("invert", phi, **changes, give_up=5),
                pictures=pictures,
                folder=tmp_path,
            )
        assert state(tmp_path)["step"] == 4
        assert [row["step"] for row in rows(tmp_path)] == ["2", "4"]
        # it may be raised, and the run goes on from there
        with refused("has won", "last 8 steps"):
            train(
                likened("invert", phi, **changes, give_up=8),
                pictures=pictures,
                folder=tmp_path,
            )
        assert state(tmp_path)["step"] == 6
        changes["steps"] = 10
        assert (
            train(
                likened("invert", phi, **changes, give_up=0),
                pictures=pictures,
                folder=tmp_path,
            ).stopped
            == "done"
        )

    def test_only_pauses_without_a_break_count(self):
        adversary = Adversary.__new__(Adversary)
        adversary.settings = likened("vae", give_up=100).settings

        def history(*paused):
            return [
                Record(20 * (n + 1), 1.0, {"paused": p}, 0.0)
                for n, p in enumerate(paused)
            ]

        adversary.check(history(1, 1, 1, 1))
        adversary.check(history(1, 1, 1, 0.95, 1, 1, 1, 1))
        adversary.check([])
        with refused("last 100 steps"):
            adversary.check(history(0, 1, 1, 1, 1, 1 - 1e-7))
        with refused("last 100 steps"):
            adversary.check(history(1, 1, 1, 1, 1))

    @pytest.mark.parametrize("log_every", [3, 100])
    def test_nan_in_the_discriminator_stops_and_keeps_the_last_good_checkpoint(
        self, log_every, phi, pictures, tmp_path, monkeypatch
    ):
        task = likened(
            "invert", phi, **FULL, steps=20, log_every=log_every, checkpoint_every=4
        )
        loss, calls = task.adversary_loss, []

        def broken(adversary):
            terms, adversarial = loss(adversary)
            calls.append(1)
            if len(calls) == 5:
                terms["real"] = terms["real"] * float("nan")
            return terms, adversarial

        monkeypatch.setattr(task, "adversary_loss", broken)
        with refused(
            "step 6" if log_every == 3 else "step 8",
            "lower learning_rate",
            "kept in",
            str(tmp_path),
        ):
            train(task, pictures=pictures, folder=tmp_path)
        assert state(tmp_path)["step"] == 4
        assert all(
            v.isfinite().all() for v in state(tmp_path)["adversary"]["network"].values()
        )

    def test_nan_that_has_not_reached_the_generator_is_named(
        self, phi, pictures, tmp_path, monkeypatch
    ):
        task = likened("invert", phi, **FULL, steps=3)
        loss = task.adversary_loss
        monkeypatch.setattr(
            task,
            "adversary_loss",
            lambda adversary: (
                LossTerms(real=loss(adversary)[0].total * float("inf")),
                torch.tensor(0.0),
            ),
        )

        class Fair(nn.Module):
            def forward(self, image, code):
                return image.mean((1, 2, 3))

        monkeypatch.setattr(task.objective, "discriminator", Fair())
        with refused("the loss discriminator became", "by step 3"):
            train(task, pictures=pictures, folder=tmp_path)

    def test_a_run_with_a_discriminator_and_one_without_do_not_go_on_from_each_other(
        self, pictures, tmp_path
    ):
        class Alone(Drawing):
            adversary = property(lambda self: None, lambda self, value: None)

            def loss(self, network, images, first):
                return LossTerms(image=(network(images) - images).square().mean())

        Alone.__name__ = "Drawing"
        train(Drawing(), PLAIN, pictures=pictures, folder=tmp_path, steps=2)
        with refused("checkpoint.pt", "made with a discriminator", "has none"):
            train(Alone(), PLAIN, pictures=pictures, folder=tmp_path)
        (tmp_path / "b").mkdir()
        train(Alone(), PLAIN, pictures=pictures, folder=tmp_path / "b", steps=2)
        with refused("checkpoint.pt", "made without a discriminator", "has one"):
            train(Drawing(), PLAIN, pictures=pictures, folder=tmp_path / "b")


# --- what a task is given -------------------------------------------------------------


class TestScaleAndStart:
    def test_scale_is_the_root_mean_square_of_the_code(self, phi, monkeypatch):
        scale = code_scale("relu3_2", phi)
        total, count = torch.zeros(256, dtype=torch.float64), 0
        for name in bundled_names("train"):
            code = encode(
                middle_square(bundled(f"train/{name}"), 128), "relu3_2", phi
            ).double()
            total += code.square().sum((0, 2, 3))
            count += code[0, 0].numel()
        expected = (total / count).sqrt()
        expected = expected.clamp_min(float(expected.mean()) / 100)
        assert (scale / expected - 1).abs().max() < 1e-4
        monkeypatch.setattr(
            "pltutorial.tasks.likeness.code_scale",
            lambda *given: {given: scale}["relu3_2", phi],
        )
        for kind, how in (
            ("invert", {"layer": "relu3_2"}),
            ("vae", {"encoder": "relu3_2"}),
        ):
            assert torch.equal(likened(kind, phi, **how).network.scale, scale)

    def test_it_does_not_move_in_training_and_is_kept(self, phi, pictures, tmp_path):
        task = likened("invert", phi, **FULL, steps=3)
        scale = task.network.scale.clone()
        result = train(task, pictures=pictures, folder=tmp_path)
        assert torch.equal(result.network.scale, scale)
        assert torch.equal(state(tmp_path)["average"]["module.scale"], scale)
        kept = load_network(tmp_path / "network.safetensors", "cpu").scale
        assert (kept / scale - 1).abs().max() < 1e-3  # half precision

    def test_a_start_brings_its_own_scale_and_all_else(
        self, phi, pictures, tmp_path, monkeypatch
    ):
        torch.manual_seed(5)
        given = InversionNet("relu2_1", 4, 1)
        given.scale.copy_(torch.linspace(1, 9, 128))
        start = str(save_network(tmp_path / "given.safetensors", given))
        monkeypatch.setattr("pltutorial.tasks.likeness.code_scale", None)
        task = likened("invert", phi, start=start, **FULL)
        for name, value in load_network(start, "cpu").state_dict().items():
            assert torch.equal(task.network.state_dict()[name], value), name
        result = train(task, pictures=pictures, steps=2)
        assert torch.equal(result.network.scale, load_network(start, "cpu").scale)

    def test_a_start_of_another_architecture_or_kind_is_refused(
        self, phi, pictures, tmp_path
    ):
        start = str(
            save_network(tmp_path / "given.safetensors", InversionNet("relu2_2", 4, 1))
        )
        with refused(
            "given.safetensors", "relu2_2", "relu2_1", "the same architecture"
        ):
            likened("invert", phi, start=start)
        with refused("given.safetensors", "'kind': 'inversion'", "'kind': 'vae'"):
            likened("vae", phi, start=start)
        with refused("none.safetensors", "does not exist"):
            likened("colorize", phi, start=str(tmp_path / "none.safetensors"))

    def test_code_scale_of_a_silent_channel_is_no_zero(self, phi):
        dark = LossNetwork(precision="float32", device="cpu")
        dark.weight1_1[3], dark.bias1_1[3] = 0, -1
        scale, given = code_scale("relu1_1", dark), code_scale("relu1_1", phi)
        assert float(given[3] / given.mean()) > 0.02
        assert float(scale[3]) == pytest.approx(
            float(scale.sum() - scale[3]) / 64 / 100, rel=1e-2
        )


class TestGiven:
    def test_the_discriminator_is_told_the_scaled_code(self, phi):
        task, images, told = likened("invert", phi, **FULL), picture(32, 32, 0, 2), []
        task.adversary.register_forward_pre_hook(lambda _, given: told.append(given[1]))
        task.loss(task.network, images, 0)
        task.adversary_loss(task.adversary)
        expected = encode(images, "relu2_1", phi) / task.network.scale.view(1, -1, 1, 1)
        assert torch.allclose(told[0], expected)
        assert torch.equal(told[1], torch.cat([told[0]] * 2))

    def test_the_vae_s_noise_is_that_of_the_crop_s_number(self):
        """However crops are shared among processes; of another seed or crop another."""
        task = likened("vae")
        whole = task._noise(4, 10)
        assert torch.equal(torch.cat([task._noise(2, 10), task._noise(2, 12)]), whole)
        assert (
            len(
                {
                    tuple(row)
                    for row in (
                        *whole.tolist(),
                        *likened("vae", seed=1)._noise(4, 10).tolist(),
                    )
                }
            )
            == 8
        )
        many = task._noise(2000, 0)
        assert abs(float(many.mean())) < 0.03
        assert abs(float(many.std()) - 1) < 0.03

    def test_the_vae_s_terms(self, phi):
        """kl is for each number of the picture; reconstructions and as many
        samples are judged.
        """
        task, images, judged = (
            likened("vae", phi, **FULL, kl_weight=3.0),
            picture(32, 32, 0, 2),
            [],
        )
        task.adversary.register_forward_pre_hook(
            lambda _, given: judged.append(given[0].detach())
        )
        terms = task.loss(task.network, images, 4)
        noise, prior = task._noise(2, 4).chunk(2, 1)
        with torch.no_grad():
            output, mean, log_variance, both = task.network(images, noise, prior)
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2 / 2
        assert float(terms["kl"].detach()) == pytest.approx(
            3 * float(kl) / (3 * 32 * 32), rel=1e-4
        )
        assert torch.allclose(judged[0], both, atol=1e-6)
        assert float(terms["image"].detach()) == pytest.approx(
            2 * float((output - images).square().mean()), rel=1e-4
        )

    def test_crops_are_those_of_the_stream(self, phi, pictures):
        seen = []
        task = likened("autoencode", phi, steps=2, **FULL)
        task.adversary.register_forward_pre_hook(
            lambda _, given: seen.append(given[0].detach().clone())
        )
        train(task, pictures=pictures)
        crops = Pictures(pictures, 32, seed=0, zoom=(1.0, 1.2))
        real = [one[:2] for one in seen if len(one) == 4]
        for step, images in enumerate(real):
            assert torch.equal(
                images, torch.stack([crops[2 * step + i][0] for i in range(2)])
            )


class TestBadInput:
    def test_one_picture_with_batch_normalisation(self):
        with refused("a batch of 1", "norm='batch'", "at least 2"):
            likened("autoencode", norm="batch", batch_size=1)

    def test_sizes_that_do_not_fit(self, phi, pictures, tmp_path):
        with refused("33 pixels", "relu2_1", "a multiple of 2"):
            likened("invert", phi, size=33)
        with refused("40 pixels", "a multiple of 16"):
            likened("vae", size=40)
        with refused("(2, 3, 4, 4)", "at least 8"):
            train(
                likened("colorize", phi, size=4, **FULL),
                pictures=pictures,
                folder=tmp_path,
            )
        with refused("8x8 pixels", "relu5_1", "at least 16"):
            changes = {"size": 8, "feature_layers": ("relu5_1",)}
            train(
                likened("autoencode", phi, **FULL | changes),
                pictures=pictures,
                folder=tmp_path,
            )
        assert not (tmp_path / "checkpoint.pt").exists()

    def test_the_comparator_s_layers_are_checked_before_the_training(self, phi):
        with refused("'relu1_2'", "conv1"):
            likened("vae", phi, **FULL | {"comparator": "discriminator"})
        with refused("'conv4'"):
            likened("invert", phi, **FULL | GAN | {"feature_layers": ("conv4",)})

    def test_colours_have_no_normalisation(self):
        with refused("norm='batch'", "norm='none'"):
            likened("colorize", norm="batch")
