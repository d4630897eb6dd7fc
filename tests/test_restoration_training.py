"""Training of super-resolution, denoising and inpainting: what is taken away, what is
compared, resume, and the commands.
"""

from __future__ import annotations

import random
import signal

import pytest
import torch
import torch.nn.functional as F
from helpers import Operations, picture, refused
from PIL import Image
from training_runs import (
    assert_same_end,
    kill,
    restorer,
    rows,
    state,
    tensors,
    wait_for_rows,
)

from pltutorial.datasets import Pictures
from pltutorial.degradations import add_noise, downscale, random_boxes, random_holes
from pltutorial.losses import PerceptualLoss, gram_matrix, grid_loss
from pltutorial.networks import load_network, save_network
from pltutorial.networks.residual import DenoisingNet, SubPixelNet, SuperResolutionNet
from pltutorial.seeds import seed_of
from pltutorial.tasks.restoration import restoration_card
from pltutorial.training import loop, train

KINDS = ("upscale", "denoise", "inpaint")
ALL_TERMS = {
    "pixel_weight": 2.0,
    "pixel_kind": "charbonnier",
    "feature_weight": 3.0,
    "feature_layers": ("relu1_2", "relu2_2"),
    "style_weight": 0.5,
    "style_layers": ("relu1_1", "relu2_2"),
    "total_variation": 1e-5,
}
each = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def never_vgg(monkeypatch):
    """Whoever makes a loss network fails."""

    def made(*arguments, **more):
        raise AssertionError("a loss network was made")

    monkeypatch.setattr("pltutorial.vgg.LossNetwork", made)
    monkeypatch.setattr("pltutorial.perceptual.LossNetwork", made)


# --- what is taken away ---------------------------------------------------------------


class TestDegrade:
    def test_super_resolution_shrinks_and_rounds_as_the_function_does(self):
        images = picture(32, 32, count=2)
        for factor in (2, 4, 8):
            for kernel in ("bicubic", "gaussian"):
                (given,) = restorer("upscale", factor=factor, kernel=kernel).degrade(
                    images, 5
                )
                assert torch.equal(given, downscale(images, factor, kernel))

    def test_under_autocast_too(self):
        images = picture(32, 32)
        task = restorer("upscale")
        with torch.autocast("cpu", torch.bfloat16):
            (given,) = task.degrade(images, 0)
        assert torch.equal(given, downscale(images, 4))

    @pytest.mark.parametrize("kind", ["denoise", "inpaint"])
    def test_the_number_of_the_crop_decides(self, kind):
        """However crops are shared among batches and processes; another seed or
        number is another draw.
        """
        task, images = restorer(kind), picture(32, 32, count=4)
        last = task.degrade(images, 10)[-1]
        parts = [task.degrade(images[i : i + 2], 10 + i)[-1] for i in (0, 2)]
        assert torch.equal(torch.cat(parts), last)
        assert torch.equal(task.degrade(images, 10)[-1], last)
        drawn = [
            last,
            task.degrade(images, 14)[-1],
            restorer(kind, seed=1).degrade(images, 10)[-1],
        ]
        noise = torch.cat([one if kind == "inpaint" else one - images for one in drawn])
        assert len({tuple(one.flatten().tolist()) for one in noise}) == 12

    def test_noise_has_strengths_from_the_range_and_is_that_of_the_function(self):
        images = torch.full((60, 3, 32, 32), 0.5)
        (noisy,) = restorer("denoise", sigma=(10.0, 30.0)).degrade(images, 0)
        sigmas = (noisy - images).flatten(1).std(1) * 255
        assert 9.5 < sigmas.min() < 13
        assert 27 < sigmas.max() < 31
        assert abs(float(sigmas.mean()) - 20) < 2.5
        (even,) = restorer("denoise", sigma=(25.0, 25.0)).degrade(images[:1], 3)
        generator = torch.Generator().manual_seed(seed_of(0, 3))
        torch.rand(1, generator=generator)
        assert torch.equal(even, add_noise(images[:1], 25, generator))

    def test_some_crops_have_a_camera_s_noise(self):
        images = torch.full((80, 3, 24, 24), 0.5)
        task = restorer("denoise", sigma=(25.0, 25.0), camera=0.5)
        (noisy,) = task.degrade(images, 0)
        noise = noisy - images
        shared = (noise[..., 1:] * noise[..., :-1]).mean((1, 2, 3))
        shared = shared / noise.square().mean((1, 2, 3))
        smeared = int((shared > 0.2).sum())
        assert 20 <= smeared <= 50
        again = torch.cat(
            [task.degrade(images[:2], 0)[0], task.degrade(images[2:], 2)[0]]
        )
        assert torch.equal(again, noisy)

    def test_holes_go_with_the_crops_as_they_are(self):
        images = picture(32, 32, count=3)
        given, masks = restorer("inpaint", holes=0.2).degrade(images, 4)
        assert torch.equal(given, images)
        seeds = [seed_of(0, number) for number in (4, 5, 6)]
        assert torch.equal(masks, random_holes(3, 32, 32, 0.2, seeds))
        assert masks.mean((1, 2, 3)).max() <= 0.2

    def test_as_many_crops_as_were_asked_for_lack_a_box(self):
        images = picture(32, 32, count=60)
        seeds = [seed_of(0, number) for number in range(60)]
        boxes, holes = random_boxes(60, 32, 32, 0.25, seeds), {}
        for share in (0.0, 0.5, 1.0):
            masks = restorer("inpaint", boxes=share).degrade(images, 0)[1]
            equal = [torch.equal(a, b) for a, b in zip(masks, boxes, strict=True)]
            holes[share] = sum(equal)
        assert holes[0.0] == 0
        assert 18 <= holes[0.5] <= 42
        assert holes[1.0] == 60

    def test_the_gated_network_learns(self, phi):
        task = restorer("inpaint", phi, gated=True)
        assert task.network.kind == "gated_inpainting"


# --- what is compared -----------------------------------------------------------------


class TestTerms:
    @each
    def test_are_those_of_the_loss_for_each_picture_with_its_own_target(
        self, kind, phi
    ):
        """And the style term compares each output with its own target, not with a
        mean of the batch.
        """
        task = restorer(kind, phi, **ALL_TERMS)
        images = picture(32, 32, count=3)
        given = task.degrade(images, 7)
        with torch.no_grad():
            output = task.network(*given)
            terms = task.loss(task.network, images, 7)
            loss = PerceptualLoss(
                {"relu1_2": 3.0, "relu2_2": 3.0},
                {"relu1_1": 0.5, "relu2_2": 0.5},
                pixel=2.0,
                pixel_kind="charbonnier",
                total_variation=1e-5,
                network=phi,
            )
            single = [
                loss(output[i : i + 1], images[i : i + 1], images[i : i + 1])
                for i in range(3)
            ]
            mixed = gram_matrix(phi(images, ("relu2_2",))["relu2_2"]).mean(
                0, keepdim=True
            )
            own = gram_matrix(phi(output, ("relu2_2",))["relu2_2"])
        assert set(terms) == set(single[0])
        for name in terms:
            expected = sum(float(one[name]) for one in single) / 3
            assert float(terms[name]) == pytest.approx(expected, rel=1e-4), name
        wrong = 0.5 * float((own - mixed).square().sum((1, 2)).mean())
        assert abs(float(terms["style/relu2_2"]) - wrong) > 0.05 * wrong

    def test_target_and_output_pass_the_loss_network_once_and_no_deeper_than_needed(
        self, phi
    ):
        task = restorer("upscale", phi, **ALL_TERMS)
        images = picture(32, 32, count=2)
        with torch.no_grad():
            task.loss(task.network, images, 0)
            with Operations() as alone:
                task.network(*task.degrade(images, 0))
            with Operations() as seen:
                task.loss(task.network, images, 0)
        # to relu2_2
        assert (
            seen.names.count("convolution") - alone.names.count("convolution") == 2 * 4
        )

    def test_no_gradient_is_kept_of_the_target(self, phi):
        task = restorer("denoise", phi, **ALL_TERMS)
        images = picture(32, 32).requires_grad_()
        task.loss(task.network, images, 0).total.backward()
        assert all(
            parameter.grad is not None for parameter in task.network.parameters()
        )
        assert all(parameter.grad is None for parameter in phi.parameters())

    @each
    def test_pixels_alone_never_make_a_loss_network(self, kind, never_vgg, pictures):
        result = train(restorer(kind, steps=2), pictures=pictures)
        assert set(result.history[0].terms) == {"pixel"}

    def test_features_alone_make_one(self, never_vgg):
        for name in ("feature_weight", "style_weight"):
            with pytest.raises(AssertionError, match="a loss network was made"):
                restorer("upscale", pixel_weight=0.0, **{name: 1.0})

    @each
    def test_no_step_waits_for_the_device(self, kind, phi, pictures, monkeypatch):
        one_step, found = loop._Run._one_step, []

        def watched(self, images):
            with Operations() as seen:
                one_step(self, images)
            found.append(seen)

        monkeypatch.setattr(loop._Run, "_one_step", watched)
        train(
            restorer(kind, phi, steps=3, log_every=5, gradient_clip=1.0, **ALL_TERMS),
            pictures=pictures,
        )
        assert len(found) == 3
        for seen in found:
            assert seen.to_host == []
            assert "convolution_backward" in seen.names


# --- training -------------------------------------------------------------------------


class TestLearning:
    @pytest.mark.parametrize(
        ("kind", "changes", "most"),
        [
            ("upscale", {"learning_rate": 3e-3}, 0.96),
            (
                "upscale",
                {
                    "learning_rate": 3e-3,
                    "network": "super_resolution",
                    "kernel": "gaussian",
                },
                0.75,
            ),
            ("denoise", {"learning_rate": 3e-3}, 0.9),
            ("inpaint", {"learning_rate": 1e-2}, 0.85),
        ],
        ids=["upscale", "upscale-paper", "denoise", "inpaint"],
    )
    def test_each_task_learns_in_a_few_steps(self, kind, changes, most, pictures):
        """The loss on crops that training has not seen, with noise and
        holes of their own.
        """
        task = restorer(
            kind,
            steps=40,
            width=8,
            batch_size=4,
            ema=0.0,
            checkpoint_every=0,
            **changes,
        )
        stream = Pictures(pictures, 32, seed=1)
        crops = torch.stack([stream[number][0] for number in range(8)])
        with torch.no_grad():
            before = float(task.loss(task.network.eval(), crops, 1000).total)
        result = train(task, pictures=pictures)
        with torch.no_grad():
            after = float(task.loss(result.network, crops, 1000).total)
        assert after < most * before

    def test_features_are_learned_too(self, phi, pictures):
        changes = {
            "pixel_weight": 0.0,
            "feature_weight": 1.0,
            "feature_layers": ("relu1_2",),
            "ema": 0.0,
        }
        task = restorer(
            "denoise", phi, steps=20, learning_rate=1e-2, log_every=1, **changes
        )
        totals = [record.total for record in train(task, pictures=pictures).history]
        assert sum(totals[-5:]) < 0.9 * sum(totals[:5])

    def test_samples_show_what_is_given_the_output_and_the_picture(
        self, pictures, tmp_path
    ):
        for kind in KINDS:
            (tmp_path / kind).mkdir()
            train(
                restorer(kind, steps=2, sample_every=2),
                pictures=pictures,
                folder=tmp_path / kind,
            )
            sample = Image.open(tmp_path / kind / "samples" / "step_000002.jpg")
            assert sample.size == (3 * 192, 3 * 192)
        task = restorer("inpaint")
        with torch.no_grad():
            seen, output, photos = task.samples(task.network).split(192, 2)
        assert (seen == 1).all(1).float().mean() > 0.02  # holes are white
        there = (seen < 1).any(1, keepdim=True).expand_as(seen)
        assert torch.equal(seen[there], photos[there])
        assert torch.equal(output[there], photos[there])

    def test_a_compiled_network_computes_the_same(self, pictures, monkeypatch):
        """Traced as a whole, without the C++ compiler that its last stage needs."""
        compiled, graphs = torch.compile, []

        def traced(graph, inputs):
            graphs.append(graph)
            return graph.forward

        monkeypatch.setattr(
            torch, "compile", lambda function: compiled(function, backend=traced)
        )
        monkeypatch.setattr("pltutorial.device.shutil.which", lambda name: "c++")
        torch._dynamo.reset()
        try:
            for kind in KINDS:
                plain, fast = (
                    train(
                        restorer(kind, steps=3, log_every=1, compile=compile),
                        pictures=pictures,
                    )
                    for compile in (False, True)
                )
                assert len(graphs) == 1, kind
                graphs.clear()
                for one, two in zip(plain.history, fast.history, strict=True):
                    assert one.total == pytest.approx(two.total, rel=1e-5)
        finally:
            torch._dynamo.reset()

    def test_card(self, phi, pictures, tmp_path):
        task = restorer("denoise", phi, steps=6, log_every=1, **ALL_TERMS)
        card = lambda result: restoration_card(  # noqa: E731
            result, task, task.settings, "noise; CC0"
        )
        train(task, pictures=pictures, folder=tmp_path, card=card)
        card = load_network(tmp_path / "network.safetensors").card
        assert card["terms"] == [
            "step",
            "pixel",
            "content",
            "style",
            "total_variation",
            "total",
        ]
        assert [point[0] for point in card["curve"]] == [1, 2, 3, 4, 5, 6]
        for _, *terms, total in card["curve"]:
            assert len(terms) == 4
            assert min(terms) > 0
            assert sum(terms) == pytest.approx(total, rel=2e-3)
        assert card["steps"] == 6
        assert card["data"] == f"noise; CC0; 5 pictures of {pictures.name}"
        assert card["settings"]["sigma"] == [5.0, 55.0]
        assert card["settings"]["feature_layers"] == ["relu1_2", "relu2_2"]
        assert "start" not in card["settings"]
        assert "Gaussian noise" in card["limits"]
        assert card["licence"] == "the weights: MIT"
        pixels = restorer("upscale")
        result = train(pixels, pictures=pictures, steps=2)
        assert restoration_card(result, pixels, pixels.settings)["terms"] == [
            "step",
            "pixel",
            "total",
        ]


class TestResume:
    @pytest.mark.parametrize(
        ("kind", "changes"),
        [
            ("denoise", {}),
            ("inpaint", {"schedule": "cosine", "gradient_clip": 0.5, "warmup": 3}),
        ],
        ids=["denoise", "inpaint"],
    )
    def test_killed_it_ends_as_if_it_never_was(
        self, kind, changes, server, pictures, tmp_path
    ):
        """SIGKILL at a random moment, twice, then to the end: noise and holes go
        on where they were.
        """
        changes = {"task": kind, "steps": 90, "batch_size": 4, **changes}
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        for folder in (whole, killed):
            folder.mkdir()
        assert server.finish(server.start(whole, pictures, **changes))[:2] == (
            "done",
            90,
        )
        chance, reached = random.Random(1), []
        for end in (4, 12):  # lines of the log, of thirty
            process = server.start(killed, pictures, **changes)
            wait_for_rows(process, killed, end)
            process.join(chance.random() * 0.03)
            kill(process)
            assert process.exitcode == -signal.SIGKILL
            reached.append(len(rows(killed)))
        assert max(reached) < 30, "no kill came before the end"
        assert server.finish(server.start(killed, pictures, **changes))[:2] == (
            "done",
            90,
        )
        assert_same_end(killed, whole)

    @pytest.mark.parametrize(
        ("kind", "changes", "name"),
        [
            ("upscale", {"kernel": "gaussian"}, "kernel="),
            ("upscale", {"factor": 2}, "network="),
            ("upscale", {"pixel_kind": "l2"}, "pixel_kind="),
            ("upscale", {"pixel_weight": 2.0}, "pixel_weight="),
            ("denoise", {"sigma": (5.0, 50.0)}, "sigma="),
            ("inpaint", {"holes": 0.3}, "holes="),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_refused_with_settings_that_decide_what_is_learned(
        self, kind, changes, name, pictures, tmp_path
    ):
        train(restorer(kind, steps=2), pictures=pictures, folder=tmp_path)
        with refused("checkpoint.pt", name, "another folder"):
            train(restorer(kind, **changes), pictures=pictures, folder=tmp_path)

    def test_one_task_does_not_go_on_from_another(self, pictures, tmp_path):
        train(restorer("denoise", steps=2), pictures=pictures, folder=tmp_path)
        with refused("checkpoint.pt", "task=DenoisingTask", "another folder"):
            train(restorer("inpaint"), pictures=pictures, folder=tmp_path)


class TestProcesses:
    @pytest.mark.parametrize("kind", ["denoise", "inpaint"])
    def test_two_with_half_the_batch_each_are_one(
        self, kind, server, pictures, tmp_path
    ):
        """The same crops get the same noise and the same holes,
        whichever process has them.
        """
        changes = {
            "task": kind,
            "batch_size": 4,
            "log_every": 1,
            "steps": 8,
            "gradient_clip": 0.05,
        }
        one, two, other = (tmp_path / name for name in ("one", "two", "other"))
        for folder in (one, two, other):
            folder.mkdir()
        assert server.finish(server.start(one, pictures, **changes))[0] == "done"
        ends = [
            server.finish(process)[:2]
            for process in server.several([two, two], pictures, **changes)
        ]
        assert ends == [("done", 8)] * 2
        assert (
            server.finish(server.start(other, pictures, **changes | {"seed": 1}))[0]
            == "done"
        )
        losses = [
            [float(row["total"]) for row in rows(folder)]
            for folder in (one, two, other)
        ]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4)
        assert losses[2] != pytest.approx(losses[0], rel=1e-2)
        averages = [tensors(state(folder)["average"]) for folder in (one, two)]
        for name, value in averages[0].items():
            assert (value - averages[1][name]).abs().max() < 1e-4, name


class TestStart:
    def given(self, tmp_path, network) -> str:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        return str(save_network(tmp_path / "given.safetensors", network))

    def test_the_same_architecture_is_taken_as_a_whole(self, tmp_path, pictures):
        start = self.given(tmp_path, SubPixelNet(4, 4, 1))
        task = restorer("upscale", start=start)
        for name, value in load_network(start, "cpu").state_dict().items():
            assert torch.equal(task.network.state_dict()[name], value), name
        result = train(task, pictures=pictures, steps=2)
        assert not torch.equal(
            result.network.first.weight, load_network(start, "cpu").first.weight
        )

    def test_eight_times_from_four_takes_all_but_the_last_layer(self, tmp_path):
        start = self.given(tmp_path, SubPixelNet(4, 4, 1))
        fresh, task = (
            restorer("upscale", factor=8),
            restorer("upscale", factor=8, start=start),
        )
        given = load_network(start, "cpu").state_dict()
        for name, value in task.network.state_dict().items():
            expected = fresh.network.state_dict() if name.startswith("last.") else given
            assert torch.equal(value, expected[name]), name
        image = picture(12, 12)
        with torch.no_grad():  # it still starts at about bicubic
            apart = task.network(image) - F.interpolate(
                image, scale_factor=8, mode="bicubic"
            )
        assert apart.abs().mean() < 0.1

    def test_the_paper_s_network_takes_its_upsamplings_along(self, tmp_path):
        start = self.given(tmp_path, SuperResolutionNet(4, 4, 1))
        how = {"network": "super_resolution", "factor": 8}
        fresh, task = (
            restorer("upscale", **how),
            restorer("upscale", **how, start=start),
        )
        given = load_network(start, "cpu").state_dict()
        for name, value in task.network.state_dict().items():
            expected = fresh.network.state_dict() if name.startswith("up.2.") else given
            assert torch.equal(value, expected[name]), name

    def test_features_from_pixels(self, tmp_path, phi, pictures):
        train(restorer("denoise", steps=4), pictures=pictures, folder=tmp_path)
        start = str(tmp_path / "network.safetensors")
        task = restorer("denoise", phi, start=start, feature_weight=1.0)
        assert torch.equal(
            task.network.first.weight, load_network(start, "cpu").first.weight
        )

    def test_what_does_not_fit_is_refused(self, tmp_path):
        for network, words in (
            (SubPixelNet(4, 5, 1), ("width=5", "width=4")),
            # more blocks, of which the first would fit
            (SubPixelNet(4, 4, 2), ("blocks=2", "blocks=1")),
            (SuperResolutionNet(4, 4, 1), ("kind=super_resolution", "kind=sub_pixel")),
            (DenoisingNet(4, 1), ("kind=denoising", "kind=sub_pixel")),
        ):
            with refused("given.safetensors", *words, "the same architecture"):
                restorer("upscale", start=self.given(tmp_path, network))
        with refused("missing.safetensors", "does not exist"):
            restorer("upscale", start=str(tmp_path / "missing.safetensors"))


# --- the commands ---------------------------------------------------------------------


class TestGridAndAdversary:
    """What makes a network for features draw no lattice, and what makes it sharp."""

    def test_terms_and_the_other_player(self, tmp_path):
        settings = {"grid_weight": 0.5, "adversarial_weight": 0.1, "steps": 3}
        task = restorer("upscale", **settings)
        seen = []
        result = train(task, folder=tmp_path, callback=lambda r: seen.append(r.terms))
        for terms in seen:
            assert {"pixel", "grid", "adversarial", "discriminator", "paused"} <= set(
                terms
            )
        before = restorer("upscale", **settings).adversary.state_dict()
        after = task.adversary.state_dict()
        assert any(not torch.equal(before[name], after[name]) for name in before)
        card = restoration_card(result, task, task.settings)
        assert card["terms"] == ["step", "pixel", "grid", "adversarial", "total"]

    def test_the_grid_term_is_the_loss_of_the_same_name(self):
        task = restorer("upscale", grid_weight=0.5)
        images = picture(32, 32, count=2)
        terms = task.loss(task.network, images, 0)
        output = task.network(*task.degrade(images, 0))
        torch.testing.assert_close(terms["grid"], 0.5 * grid_loss(output, images, 4))
