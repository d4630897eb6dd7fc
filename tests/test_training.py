"""The trainer: exact resume after any death, what it logs and keeps, its arithmetic,
and one sentence for bad input.
"""

from __future__ import annotations

import copy
import errno
import importlib.util
import json
import math
import os
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from helpers import Operations, picture, refused
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from training_runs import assert_same_end, rows, state, tiny

from pltutorial import write_image
from pltutorial.bounds import setting
from pltutorial.datasets import Pictures
from pltutorial.losses import LossTerms, style_loss
from pltutorial.networks import (
    FastTransformNet,
    TransformNet,
    load_network,
    save_network,
)
from pltutorial.settings import TrainingSettings
from pltutorial.tasks.style import StyleTask, style_card
from pltutorial.training import loop, train
from pltutorial.zoo import CARD, card_text

# --- the arithmetic -------------------------------------------------------------------


class Snapshots:
    """A callback that keeps the weights, and the norm of the gradient, after
    each line of the log.
    """

    def __init__(self, network: nn.Module):
        self.network, self.weights, self.norms = network, [], []

    def __call__(self, record) -> None:
        self.weights.append(copy.deepcopy(dict(self.network.named_parameters())))
        self.norms.append(
            math.sqrt(
                sum(float(p.grad.square().sum()) for p in self.network.parameters())
            )
        )


def assert_weights(kept: dict, expected: dict) -> None:
    assert kept.keys() == expected.keys()
    for name, value in expected.items():
        assert kept[name].dtype == value.dtype
        assert torch.equal(kept[name], value.cpu()), name


class TestArithmetic:
    def test_it_learns(self, task, pictures):
        result = train(
            task(steps=24, learning_rate=2e-2, log_every=6), pictures=pictures
        )
        totals = [record.total for record in result.history]
        assert totals[-1] < 0.7 * totals[0]
        assert not result.network.training
        for record in result.history:
            assert record.total == pytest.approx(sum(record.terms.values()), rel=1e-5)

    def test_any_network_with_any_loss_can_be_trained(self, pictures, tmp_path):
        """And on a device of the machine: a convolution that learns to leave
        pictures as they are.
        """

        class Copying:
            def __init__(self):
                torch.manual_seed(0)
                self.network = nn.Conv2d(3, 3, 1)

            def loss(self, network, images, first):
                return LossTerms(pixel=(network(images) - images).square().mean())

            def samples(self, network):
                return network(torch.zeros(1, 3, 8, 8, device=network.weight.device))

        settings = TrainingSettings(
            steps=60,
            size=16,
            batch_size=2,
            learning_rate=0.03,
            progress=False,
            precision="float32",
        )
        result = train(Copying(), settings, pictures=pictures, folder=tmp_path)
        assert result.history[-1].total < 0.2 * result.history[0].total
        assert not result.network.training
        assert result.file == tmp_path / "network.safetensors"
        assert_weights(load_file(result.file), result.network.state_dict())
        with safe_open(result.file, "pt") as file:
            note = json.loads(file.metadata()["card"])["architecture"]
        assert "state dict of Conv2d" in note
        with refused("network.safetensors", "no architecture of ours"):
            load_network(result.file)

    def test_weights_that_are_shared_are_kept_too(self, pictures, tmp_path):
        """And integers as they are, which a state dict must have to be read again."""

        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                self.first = self.second = nn.Conv2d(3, 3, 1)
                self.norm = nn.BatchNorm2d(3)

            def forward(self, images):
                return self.norm(self.second(self.first(images)))

        class Copying:
            network = Twice()

            def loss(self, network, images, first):
                return LossTerms(pixel=(network(images) - images).square().mean())

        how = {"steps": 2, "size": 16, "batch_size": 2, "sample_every": 0}
        result = train(
            Copying(), pictures=pictures, folder=tmp_path, progress=False, **how
        )
        kept = load_file(result.file)
        assert kept["norm.num_batches_tracked"] == 2
        assert_weights(kept, result.network.state_dict())
        Twice().load_state_dict(kept)

    @pytest.mark.parametrize(
        ("schedule", "warmup"),
        [("constant", 0), ("constant", 5), ("cosine", 0), ("cosine", 4)],
    )
    def test_learning_rate(self, schedule, warmup, task, pictures, tmp_path):
        train(
            task(
                schedule=schedule,
                warmup=warmup,
                log_every=1,
                steps=8,
                learning_rate=2e-3,
            ),
            pictures=pictures,
            folder=tmp_path,
        )
        # number steps have been taken before
        for number, row in enumerate(rows(tmp_path)):
            rate = 2e-3 * (
                0.5 + 0.5 * math.cos(math.pi * number / 8)
                if schedule == "cosine"
                else 1
            )
            if warmup:
                rate *= min(1, (number + 1) / warmup)
            assert float(row["learning_rate"]) == pytest.approx(rate, rel=1e-3)

    def test_steps_are_those_of_adam(self, task, pictures):
        """Two steps by hand from the same weights, crops and loss."""
        one, two = task(log_every=1, steps=2, learning_rate=1e-2), task()
        train(one, pictures=pictures)
        crops = Pictures(pictures, 32, seed=0)
        optimizer = torch.optim.Adam(two.network.parameters(), lr=1e-2)
        for step in range(2):
            images = torch.stack([crops[2 * step + i][0] for i in range(2)])
            optimizer.zero_grad()
            two.loss(two.network, images, 2 * step).total.backward()
            optimizer.step()
        # A bias before a normalisation has no gradient but rounding, which Adam turns
        # into whole steps; so have single weights, and threads round differently.
        # Another rate or another crop would move nearly all weights.
        pairs = zip(one.network.parameters(), two.network.parameters(), strict=True)
        apart = torch.cat(
            [(mine - hand).abs().flatten() for mine, hand in pairs if mine.ndim != 1]
        )
        assert (apart > 2e-4).float().mean() < 0.02

    def test_running_average(self, task, pictures):
        made = task(log_every=1, steps=6, ema=0.8, learning_rate=1e-2)
        kept = Snapshots(made.network)
        result = train(made, pictures=pictures, callback=kept)
        assert result.network is not made.network
        for name, value in result.network.named_parameters():
            hand = kept.weights[0][name]
            for weights in kept.weights[1:]:
                hand = 0.8 * hand + 0.2 * weights[name]
            assert torch.allclose(value, hand, atol=1e-6), name
            assert value.shape != (2, 12, 3, 3) or not torch.equal(
                value, kept.weights[-1][name]
            )

    def test_gradient_clipping(self, task, pictures):
        norms = {}
        for clip in (0.0, 5.0):
            made = task(log_every=1, steps=4, gradient_clip=clip)
            kept = Snapshots(made.network)
            train(made, pictures=pictures, callback=kept)
            norms[clip] = kept.norms
        assert min(norms[0.0]) > 50
        assert all(4.99 < norm < 5.01 for norm in norms[5.0])

    def test_decays_of_adam(self, task, pictures):
        kept = {}
        for betas in ((0.9, 0.999), (0.0, 0.99)):
            made = task(log_every=1, steps=2, betas=betas, learning_rate=1e-3)
            kept[betas] = Snapshots(made.network)
            train(made, pictures=pictures, callback=kept[betas])
        one, two = (found.weights for found in kept.values())
        name = max(one[0], key=lambda name: one[0][name].numel())
        # the first step is its gradient's sign
        torch.testing.assert_close(one[0][name], two[0][name])
        apart = (one[1][name] - two[1][name]).detach().abs().mean()
        # the second goes on from it in one, and starts anew in the other
        assert apart > 1e-4

    def test_crops_take_the_styles_in_turn(self, task, pictures):
        made, seen = task(styles=("great_wave", "poppies", "starry_night"), steps=3), []
        terms = made.terms
        made.terms = lambda output, content, style: (
            seen.append(style.tolist()) or terms(output, content, style)
        )
        train(made, pictures=pictures)
        assert seen == [[0, 1], [2, 0], [1, 2]]

    def test_each_style_is_compared_with_its_own_and_weighted(self, task):
        one, two = task(styles=("great_wave",)), task(styles=("poppies",))
        both = task(styles=("great_wave", "poppies"), style_weights=(1.0, 3.0))
        image = picture(32, 32)
        for index, single, factor in ((0, one, 1), (1, two, 3)):
            terms = both.terms(image, image, torch.tensor([index]))
            expected = single.terms(image, image, torch.tensor([0]))
            for name in expected:
                weight = factor if name.startswith("style/") else 1
                assert float(terms[name]) == pytest.approx(
                    weight * float(expected[name]), rel=1e-4
                )


class TestCost:
    @pytest.mark.parametrize("styles", [("great_wave",), ("great_wave", "poppies")])
    def test_no_step_waits_for_the_device(self, styles, task, pictures, monkeypatch):
        """Between lines of the log no value is asked for, in the forward and the
        backward pass, clipping and averaging.
        """
        one_step, found = loop._Run._one_step, []

        def watched(self, images):
            with Operations() as seen:
                one_step(self, images)
            found.append(seen)

        monkeypatch.setattr(loop._Run, "_one_step", watched)
        train(
            task(styles=styles, gradient_clip=1.0, log_every=10, steps=4),
            pictures=pictures,
        )
        assert len(found) == 4
        for seen in found[1:]:  # the first call of a loss looks at its pictures
            assert seen.to_host == []
            assert "convolution_backward" in seen.names
            assert any("adam" in name for name in seen.names)

    def test_targets_run_no_deeper_than_the_content_layer(self, task):
        """And no style picture is looked at again: the Gram matrices are kept."""
        made = task(content_layers=("relu1_2",), style_layers=("relu3_3",))
        images = picture(32, 32, count=2)
        with torch.no_grad():
            made.loss(made.network, images, 0)
            with Operations() as alone:
                made.network(images)
            with Operations() as seen:
                made.loss(made.network, images, 0)
        assert (
            seen.names.count("convolution") - alone.names.count("convolution") == 7 + 2
        )

    def test_without_a_compiler_it_says_so_and_runs(self, pictures, phi, monkeypatch):
        from pltutorial import device

        monkeypatch.setattr(device.shutil, "which", lambda name: None)
        with pytest.warns(UserWarning, match="C\\+\\+ compiler"):
            result = train(
                StyleTask(tiny(compile=True, steps=2), network=phi), pictures=pictures
            )
        plain = train(StyleTask(tiny(steps=2), network=phi), pictures=pictures)
        assert result.history[-1].total == plain.history[-1].total


# --- what it writes -------------------------------------------------------------------


class TestFiles:
    def test_without_a_folder_nothing_is_written(
        self, task, pictures, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        train(task(steps=3, sample_every=1), pictures=pictures)
        assert list(tmp_path.iterdir()) == []

    def test_log_is_the_mean_of_the_steps_since_the_line_before(
        self, task, pictures, tmp_path
    ):
        each = train(
            task(log_every=1, steps=6), pictures=pictures, folder=tmp_path / "a"
        )
        third = train(
            task(log_every=4, steps=6), pictures=pictures, folder=tmp_path / "b"
        )
        means = [
            sum(r.total for r in part) / len(part)
            for part in (each.history[:4], each.history[4:])
        ]
        assert [r.step for r in third.history] == [4, 6]
        assert [r.total for r in third.history] == pytest.approx(means, rel=1e-5)
        for row, record in zip(rows(tmp_path / "b"), third.history, strict=True):
            assert float(row["total"]) == pytest.approx(record.total, rel=1e-7)
            assert float(row["style/relu2_2"]) == pytest.approx(
                record.terms["style/relu2_2"], rel=1e-7
            )

    def test_samples(self, task, pictures, tmp_path):
        records = []
        train(
            task(styles=("great_wave", "poppies"), steps=6, sample_every=4),
            pictures=pictures,
            folder=tmp_path,
            callback=records.append,
        )
        found = sorted((tmp_path / "samples").iterdir())
        assert [path.name for path in found] == ["step_000004.jpg", "step_000006.jpg"]
        # photographs, and two styles of them
        assert Image.open(found[0]).size == (3 * 192, 3 * 192)
        assert records[0].image is None
        assert records[1].image.shape == (1, 3, 576, 576)

    def test_tensorboard_holds_what_the_log_holds(self, task, pictures, tmp_path):
        from tensorboard.backend.event_processing.event_accumulator import (
            EventAccumulator,
        )

        more = {"tensorboard": True, "checkpoint_every": 6, "sample_every": 6}
        train(task(steps=9, **more), pictures=pictures, folder=tmp_path)
        (tmp_path / "checkpoint.pt").unlink()
        (tmp_path / "network.safetensors").unlink()
        train(task(steps=6, **more), pictures=pictures, folder=tmp_path)
        train(task(steps=12, **more), pictures=pictures, folder=tmp_path)
        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
        lines = rows(tmp_path)
        for name in ("total", "content/relu2_2", "learning_rate"):
            points = {event.step: event.value for event in events.Scalars(name)}
            assert (
                list(points) == [int(line["step"]) for line in lines] == [3, 6, 9, 12]
            )
            assert list(points.values()) == pytest.approx(
                [float(line[name]) for line in lines], rel=1e-3
            )
        assert {event.step for event in events.Images("samples")} == {6, 12}

    def test_card(self, task, pictures, tmp_path):
        made = task(styles=("great_wave", "poppies"), steps=40, log_every=1)
        train(
            made,
            pictures=pictures,
            folder=tmp_path,
            card=lambda result: style_card(result, made, made.settings, "noise; CC0"),
        )
        card = load_network(tmp_path / "network.safetensors").card
        assert set(CARD) - set(card) == {"held_out"}
        assert card["steps"] == 40
        assert card["data"] == f"noise; CC0; 5 pictures of {pictures.name}"
        assert card["settings"]["style_weight"] == made.settings.style_weight
        assert card["settings"]["styles"] == card["styles"] == ["great_wave", "poppies"]
        assert 25 <= len(card["curve"]) <= 30
        assert (card["curve"][0][0], card["curve"][-1][0]) == (1, 40)
        for _, content, style, total in card["curve"]:
            assert 0.99 * total < content + style <= 1.001 * total
        assert str(pictures.parent) not in json.dumps(card)
        text = card_text(card)
        assert "steps: 40" in text
        assert "CC0" in text

    def test_broken_pictures_are_counted_and_named(self, task, tmp_path):
        folder = tmp_path / "pictures"
        folder.mkdir()
        for number in range(4):
            write_image(folder / f"{number}.png", picture(40, 44, seed=number))
        (folder / "bad.png").write_bytes((folder / "0.png").read_bytes()[:200])
        write_image(folder / "small.jpg", picture(20, 20))
        result = train(task(steps=3, max_broken=0.5), pictures=folder)
        assert sorted(name.split(" ")[0] for name in result.broken) == [
            "bad.png",
            "small.jpg",
        ]
        with refused("could not be used", "bad.png", "max_broken"):
            train(task(steps=30, max_broken=0.01), pictures=folder)


class TestStart:
    @pytest.fixture
    def given(self, tmp_path):
        torch.manual_seed(5)
        network = FastTransformNet(2, 1, styles=("great_wave", "poppies"))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        return load_network(
            save_network(tmp_path / "given.safetensors", network), "cpu"
        )

    def test_a_style_of_several_becomes_a_network_of_its_own(
        self, given, task, pictures, tmp_path
    ):
        made = task(styles=("poppies",), start=str(tmp_path / "given.safetensors"))
        own = made.network.state_dict()
        for name, value in given.state_dict().items():
            assert own[name].dtype == torch.float32
            assert torch.equal(own[name], value[1] if value.ndim == 2 else value), name
        result = train(made, pictures=pictures, steps=2)
        assert all(p.requires_grad for p in made.network.parameters())
        assert not torch.equal(result.network.last.conv.weight, given.last.conv.weight)

    def test_several_from_several_by_name_and_new_ones_from_the_mean(
        self, given, task, tmp_path
    ):
        styles = ("starry_night", "great_wave")
        made = task(styles=styles, start=str(tmp_path / "given.safetensors"))
        for name, value in given.state_dict().items():
            if value.ndim == 2:
                assert torch.equal(
                    made.network.state_dict()[name],
                    torch.stack([value.mean(0), value[0]]),
                )

    def test_what_cannot_be_started_from(self, task, tmp_path):
        path = save_network(tmp_path / "wide.safetensors", TransformNet(3, 1))
        with refused("wide.safetensors", "width=3", "width=2"):
            task(start=str(path))
        photo = write_image(tmp_path / "photo.jpg", picture(16, 16))
        with refused("photo.jpg", "picture"):
            task(start=str(photo))
        with refused("missing.safetensors"):
            task(start=str(tmp_path / "missing.safetensors"))


# --- bad input ------------------------------------------------------------------------


class TestRefused:
    def test_styles(self, task, tmp_path):
        with refused("'grate_wave'", "nearest is 'great_wave'"):
            task(styles=("grate_wave",))
        note = tmp_path / "note.txt"
        note.write_text("blue")
        with refused("note.txt"):
            task(styles=(str(note),))
        with refused("great_wave, great_wave", "name of its own"):
            task(styles=("great_wave", "great_wave"))

    def test_pictures(self, task, tmp_path):
        with refused("no picture"):
            train(task(), pictures=tmp_path)
        write_image(tmp_path / "small.png", picture(20, 20))
        with refused("20x20", "smaller crop"):
            train(task(), pictures=tmp_path)

    def test_folders(self, task, pictures, tmp_path):
        with refused("does not exist", "make it"):
            train(task(), pictures=pictures, folder=tmp_path / "a" / "b")
        (tmp_path / "file").write_text("x")
        with refused("is a file"):
            train(task(), pictures=pictures, folder=tmp_path / "file")

    def test_a_read_only_folder(self, task, pictures, monkeypatch, tmp_path):
        """Pretended where it must be: root may write to any folder."""

        def refuse(path, *more, real=os.open):
            if Path(path).name.startswith(".pltutorial-"):
                raise PermissionError(errno.EACCES, "Permission denied")
            return real(path, *more)

        monkeypatch.setattr("pltutorial.files.os.open", refuse)
        with refused("Permission denied", "another folder"):
            train(task(), pictures=pictures, folder=tmp_path)

    def test_a_full_disk_at_a_checkpoint_loses_nothing(
        self, task, pictures, monkeypatch, tmp_path
    ):
        def full(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            fill = lambda record: (  # noqa: E731
                record.step == 6 and patch.setattr("pltutorial.files.os.fsync", full)
            )
            with refused(
                "checkpoint.pt", "No space left", "nothing that was there is lost"
            ):
                train(task(), pictures=pictures, folder=tmp_path / "a", callback=fill)
        assert state(tmp_path / "a")["step"] == 4
        assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
            "checkpoint.pt",
            "log.csv",
        ]
        for name in ("a", "b"):
            train(task(), pictures=pictures, folder=tmp_path / name)
        assert_same_end(tmp_path / "a", tmp_path / "b")

    @pytest.mark.skipif(
        not Path("/dev/full").exists(), reason="this system has no /dev/full"
    )
    def test_a_full_disk_at_the_log_loses_nothing(self, task, pictures, tmp_path):
        def fill(record):
            if record.step == 6:
                (tmp_path / "a" / "log.csv").rename(tmp_path / "a" / "old.csv")
                (tmp_path / "a" / "log.csv").symlink_to("/dev/full")

        with refused("No space left", "checkpoint is kept"):
            train(task(), pictures=pictures, folder=tmp_path / "a", callback=fill)
        assert state(tmp_path / "a")["step"] == 8
        (tmp_path / "a" / "log.csv").unlink()
        for name in ("a", "b"):
            train(task(), pictures=pictures, folder=tmp_path / name)
        assert_same_end(tmp_path / "a", tmp_path / "b")

    def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(
        self, task, pictures, tmp_path
    ):
        train(task(steps=4), pictures=pictures, folder=tmp_path)
        kept = (tmp_path / "checkpoint.pt").read_bytes()
        with refused(
            "the loss became nan by step 6", "lower learning_rate", "checkpoint is kept"
        ):
            train(
                task(learning_rate=1e38, checkpoint_every=0),
                pictures=pictures,
                folder=tmp_path,
            )
        assert (tmp_path / "checkpoint.pt").read_bytes() == kept
        assert train(task(), pictures=pictures, folder=tmp_path).stopped == "done"

    def test_weights_that_are_no_numbers_are_never_kept(self, pictures, tmp_path):
        """The loss is 0, and the gradient of a square root at 0 is infinite."""

        class Rooted:
            def __init__(self):
                self.network = nn.Conv2d(3, 1, 1)

            def loss(self, network, images, first):
                output = network(images)
                return LossTerms(root=(output - output.detach()).square().sum().sqrt())

        settings = TrainingSettings(
            steps=4,
            size=16,
            batch_size=1,
            device="cpu",
            log_every=4,
            checkpoint_every=1,
            progress=False,
        )
        with refused("no longer finite at step 1", "gradient_clip"):
            train(Rooted(), settings, pictures=pictures, folder=tmp_path)
        assert not (tmp_path / "checkpoint.pt").exists()

    @pytest.mark.parametrize("package", ["accelerate", "tensorboard"])
    def test_missing_packages(self, package, task, pictures, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
        if package == "tensorboard":
            monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with refused(package, "pip install 'pltutorial[train]'"):
            train(task(tensorboard=True), pictures=pictures, folder=tmp_path)

    def test_settings(self):
        for changes, words in (
            ({"steps": 0}, "steps=0"),
            ({"schedule": "cosin"}, "nearest is 'cosine'"),
            ({"ema": 1.0}, "ema=1.0"),
            ({"betas": (0.9,)}, "betas=(0.9,) was given; give two numbers"),
            ({"betas": (0.9, 1.0)}, "betas=(0.9, 1.0) was given; give two numbers"),
            ({"betas": (-0.1, 0.9)}, "betas=(-0.1, 0.9) was given; give two numbers"),
            ({"learning_rate": 0.0}, "learning_rate=0.0"),
            ({"style_weights": (1.0, 2.0)}, "2 style_weights"),
            ({"network": "fats"}, "nearest is 'fast'"),
            ({"styles": ()}, "no style"),
            ({"zoom": (1.0,)}, "zoom="),
            ({"minutes": -1.0}, "minutes=-1.0 was given; give 0 or more"),
            (
                {"warmup": math.inf},
                "warmup=inf was given; give a whole number",
            ),
            (
                {"style_weight": math.inf},
                "style_weight=inf was given; weights are finite and at least 0",
            ),
            (
                {"max_broken": math.nan},
                "max_broken=nan was given; give a number from 0 to below 1",
            ),
            (
                {"learning_rate": -1.0},
                "learning_rate=-1.0 was given; give a positive number",
            ),
        ):
            with refused(words):
                tiny(**changes)

    def test_bounds_stand_in_the_help(self):
        for name, words in (
            ("steps", "At least 1."),
            ("warmup", "0 or more."),
            ("ema", "From 0 to below 1."),
            ("learning_rate", "Positive."),
            ("schedule", "constant, as in the paper, or cosine"),
        ):
            (found,) = [
                f.metadata["help"] for f in fields(TrainingSettings) if f.name == name
            ]
            assert words in found
        of_a_choice = setting(1, "How many.", choices=(1, 3)).metadata
        assert of_a_choice["help"] == "How many; 1, 3."
        with refused("number_of_eyes=2 was given; give 1 or 3"):
            of_a_choice["bounds"].check("number_of_eyes", 2)

    def test_an_unknown_setting_names_the_nearest(self, task, pictures):
        with refused("'learning_rat'", "nearest is 'learning_rate'"):
            train(task(), pictures=pictures, learning_rat=1)


def test_layers_of_a_style_are_balanced(phi):
    """Each layer's term goes as its error over its target's size."""
    layers = ("relu1_1", "relu2_1")
    task = StyleTask(tiny(style_layers=layers, balance="layers"), network=phi)
    images = picture(32, 32, 1, 2)
    with torch.no_grad():
        terms = task.loss(task.network, images, first=0)
        features = phi(task.network(images), layers)
        one, other = (
            style_loss(features[k], task._grams[k], normalization="relative")
            for k in layers
        )
    ratio = terms["style/relu1_1"] / terms["style/relu2_1"]
    assert float(ratio) == pytest.approx(float(one / other), rel=1e-3)
    with refused("balance", "'layers'"):
        tiny(balance="layer")
