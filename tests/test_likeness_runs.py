"""Runs with a learned likeness: killed and resumed, many processes, and the commands that train."""

from __future__ import annotations

import random
import signal

import pytest
from helpers import assert_sentence
from training_runs import (
    _SMALLER,
    FULL,
    LIKENESS,
    assert_same_end,
    kill,
    likened,
    rows,
    state,
    tensors,
    wait_for_rows,
)

from pltutorial.networks import load_network
from pltutorial.training import train

PIXELS = FULL | {"feature_weight": 0.0}  # features of VGG-16 alone would take the time of the rest
GAN = FULL | {"comparator": "discriminator", "feature_layers": ("conv1", "conv2"), "image_weight": 0.0}
NAMES = {"invert": "Inversion", "autoencode": "Autoencoder", "vae": "VAE", "colorize": "Colorization"}


class TestResume:
    @pytest.mark.parametrize(
        ("kind", "mixture", "seed"), [("vae", GAN | {"pause_below": 2.115}, 0), ("autoencode", PIXELS, 1)]
    )
    def test_killed_at_random_steps_both_players_end_as_if_it_never_was(
        self, kind, mixture, seed, server, pictures, tmp_path
    ):
        """SIGKILL at a random moment, with steps that are taken and steps that are paused."""
        changes = {"task": kind, "steps": 30} | mixture
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        for folder in (whole, killed):
            folder.mkdir()
        undisturbed = server.start(whole, pictures, **changes)
        chance, reached = random.Random(seed), []
        for end in sorted(chance.sample(range(1, 8), 2)):
            process = server.start(killed, pictures, **changes)
            wait_for_rows(process, killed, end)
            process.join(chance.random() * 0.03)
            kill(process)
            assert process.exitcode == -signal.SIGKILL
            reached.append(len(rows(killed)))
        assert max(reached) < 10, "no kill came before the end"
        assert server.finish(server.start(killed, pictures, **changes))[:2] == ("done", 30)
        assert server.finish(undisturbed)[:2] == ("done", 30)
        assert_same_end(killed, whole)
        paused = sum(float(row["paused"]) for row in rows(whole))
        assert (paused > 0) == ("pause_below" in mixture)
        assert paused < len(rows(whole)), "the discriminator never moved"
        names = tensors(state(killed))
        assert any(name.startswith("/adversary/network/") and name.endswith("._u") for name in names)
        assert any(name.startswith("/adversary/optimizer/") and name.endswith("exp_avg") for name in names)
        assert (killed / "discriminator.safetensors").exists()

    def test_a_signal_ends_it_between_steps(self, server, pictures, tmp_path):
        changes = {"task": "vae", "steps": 24} | GAN
        process = server.start(tmp_path / "a", pictures, **changes, checkpoint_every=0)
        wait_for_rows(process, tmp_path / "a", 2)
        kill(process, signal.SIGTERM)
        assert server.finish(process)[0] == "interrupted"
        assert 6 <= state(tmp_path / "a")["step"] < 24
        for name in ("a", "b"):
            assert server.finish(server.start(tmp_path / name, pictures, **changes))[:2] == ("done", 24)
        assert_same_end(tmp_path / "a", tmp_path / "b")


class TestProcesses:
    @pytest.mark.parametrize(
        ("kind", "mixture"),
        [("vae", GAN), ("invert", FULL), ("autoencode", FULL | {"pause_below": 1e9, "give_up": 0})],
        ids=["vae-gan", "deepsim", "paused"],
    )
    def test_two_with_half_the_batch_each_are_one(self, kind, mixture, server, pictures, tmp_path):
        """The same noise, terms and pauses; gradients of both players are shared."""
        changes = {"task": kind, "batch_size": 4, "log_every": 1, "steps": 6, "learning_rate": 1e-3} | mixture
        one, two, half = (tmp_path / name for name in ("one", "two", "half"))
        for folder in (one, two, half):
            folder.mkdir()
        assert server.finish(server.start(one, pictures, **changes))[0] == "done"
        ends = [server.finish(process)[:2] for process in server.several([two, two], pictures, **changes)]
        assert ends == [("done", 6)] * 2
        assert server.finish(server.start(half, pictures, **changes | {"batch_size": 2}))[0] == "done"
        losses = [[float(v) for row in rows(f) for v in row.values()] for f in (one, two, half)]
        assert losses[1] == pytest.approx(losses[0], rel=5e-4, abs=1e-7)
        assert losses[2] != pytest.approx(losses[0], rel=5e-4, abs=1e-7)
        for part in ("average", "adversary"):
            mine, theirs = (tensors(state(folder)[part]) for folder in (one, two))
            for name, value in mine.items():
                if not name.startswith("/optimizer"):
                    assert (value - theirs[name]).abs().max() < 2e-3, name

    def test_one_picture_for_each_process_and_batch_normalisation(self, server, pictures, tmp_path):
        changes = {"task": "autoencode", "norm": "batch", "batch_size": 2}
        for process in server.several([tmp_path] * 2, pictures, **changes):
            why, sentence, _ = server.finish(process)
            assert why == "error"
            assert_sentence(sentence, "a batch of 2", "2 processes", "norm='batch'", "at least 4")


# --- the commands -----------------------------------------------------------------------------------------


def options(kind: str, **changes) -> list[str]:
    given = []
    for name, value in (LIKENESS | _SMALLER[kind] | changes).items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            given.append(f"--{option}" if value else f"--no-{option}")
        else:
            given += [f"--{option}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return given


class TestCommand:
    @pytest.mark.parametrize(
        ("kind", "use"),
        [
            ("invert", "invert PHOTO"),
            ("autoencode", "invert PHOTO"),
            ("vae", "sample"),
            ("colorize", "colorize PHOTO"),
        ],
    )
    def test_trains_from_yaml_as_the_function_does_and_says_how_to_use_it(
        self, kind, use, command, pictures, phi, tmp_path
    ):
        config = tmp_path / "run.yaml"
        config.write_text("steps: 70\nadversarial_weight: 1e-1\npause_below: 0.2\n")
        given = ["train", kind, "--config", config, "-o", tmp_path / "run", "--data", pictures]
        code, out, err = command(*given, *options(kind, steps=4), "--data-note", "noise; CC0")
        assert (code, err) == (0, "")
        first, second = out.splitlines()
        file = tmp_path / "run" / "network.safetensors"
        assert first.startswith(f"{file}: 4 steps in ")
        assert second == f"use it: pltutorial {use} --model {file} -o OUT"
        card = load_network(file, "cpu").card
        expected = {"steps": 4, "adversarial_weight": 0.1, "pause_below": 0.2, "width": 4}
        assert card["settings"].items() >= expected.items()
        assert card["data"].startswith("noise; CC0")
        task = likened(kind, phi, steps=4, adversarial_weight=0.1, pause_below=0.2)
        train(task, pictures=pictures, folder=tmp_path)
        assert rows(tmp_path) == rows(tmp_path / "run")

    @pytest.mark.parametrize(
        ("kind", "yaml", "words"),
        [
            ("invert", "layer: relu4_4\n", ["'relu4_4'", "nearest is 'relu4_3'"]),
            ("invert", "size: 60\n", ["60 pixels", "relu4_3", "a multiple of 8"]),
            ("invert", "width: 0\n", ["width=0", "at least 1"]),
            ("invert", "blocks: -1\n", ["blocks=-1"]),
            ("invert", "start: none.safetensors\n", ["none.safetensors", "does not exist"]),
            ("invert", "image_weight: 0\n", ["all weights are 0"]),
            ("invert", "image_weight: -1\n", ["image_weight=-1", "at least 0"]),
            ("invert", "feature_weight: .nan\n", ["feature_weight=nan", "finite"]),
            ("invert", "feature_weight: 1\nfeature_layers: relu9_9\n", ["'relu9_9'", "nearest"]),
            ("invert", "feature_weight: 1\nfeature_layers: []\n", ["feature_layers"]),
            ("autoencode", "code_channels: 0\n", ["channels=0", "at least 1"]),
            ("autoencode", "norm: batch\nbatch_size: 1\n", ["a batch of 1", "at least 2"]),
            ("autoencode", "norm: instance\n", ["'instance'", "none"]),
            ("autoencode", "give_up: -1\n", ["give_up=-1", "0 or more"]),
            ("vae", "size: 40\n", ["40 pixels", "a multiple of 16"]),
            ("vae", "latent: 0\n", ["latent=0", "at least 1"]),
            ("vae", "encoder: relu3_9\n", ["'relu3_9'", "nearest"]),
            ("vae", "kl_weight: -1\n", ["kl_weight=-1", "at least 0"]),
            ("vae", "comparator: discriminatr\n", ["'discriminatr'", "nearest is 'discriminator'"]),
            (
                "vae",
                "comparator: discriminator\nfeature_weight: 1\n",
                ["nothing trains it", "adversarial_weight"],
            ),
            (
                "vae",
                "comparator: discriminator\nfeature_weight: 1\nadversarial_weight: 1\n",
                ["no hidden layer 'relu2_2'", "conv1"],
            ),
            ("colorize", "norm: batch\n", ["norm='batch'", "norm='none'"]),
            ("colorize", "discriminator_rate: 0\n", ["discriminator_rate=0", "positive"]),
            ("colorize", "discriminator_width: 0\n", ["discriminator_width=0", "at least 1"]),
            ("colorize", "pause_below: .inf\n", ["pause_below=inf", "0 or more"]),
            ("colorize", "latent: 3\n", ["'latent'", "nearest"]),
        ],
        ids=lambda value: value.replace("\n", " ").strip() if isinstance(value, str) else "",
    )
    def test_a_bad_configuration_is_one_sentence(self, kind, yaml, words, command, pictures, tmp_path):
        config = tmp_path / "run.yaml"
        config.write_text(f"device: cpu\n{yaml}")
        given = ["--config", config, "-o", tmp_path / "run", "--data", pictures]
        code, out, err = command("train", kind, *given)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert_sentence(err.removeprefix("error: ").strip(), *words)
        assert not (tmp_path / "run").exists()

    def test_a_discriminator_that_has_won_ends_the_command(self, command, pictures, tmp_path):
        won = {"adversarial_weight": 0.1, "pause_below": 9e9, "give_up": 6, "checkpoint_every": 2}
        given = ["-o", tmp_path / "run", "--data", pictures, *options("colorize", **won)]
        code, out, err = command("train", "colorize", *given)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert_sentence(err.removeprefix("error: ").strip(), "has won", "the last checkpoint is kept in")
        assert state(tmp_path / "run")["step"] == 4
