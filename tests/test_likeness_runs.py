"""Runs with a learned likeness: killed and resumed, many processes, and the
commands that train.
"""

from __future__ import annotations

import random
import signal

import pytest
from helpers import assert_sentence
from training_runs import (
    FULL,
    assert_same_end,
    kill,
    rows,
    state,
    tensors,
    wait_for_rows,
)

# features of VGG-16 alone would take the time of the rest
PIXELS = FULL | {"feature_weight": 0.0}
GAN = FULL | {
    "comparator": "discriminator",
    "feature_layers": ("conv1", "conv2"),
    "image_weight": 0.0,
}
NAMES = {
    "invert": "Inversion",
    "autoencode": "Autoencoder",
    "vae": "VAE",
    "colorize": "Colorization",
}


class TestResume:
    @pytest.mark.parametrize(
        ("kind", "mixture", "seed"),
        [("vae", GAN | {"pause_below": 2.115}, 0), ("autoencode", PIXELS, 1)],
    )
    def test_killed_at_random_steps_both_players_end_as_if_it_never_was(
        self, kind, mixture, seed, server, pictures, tmp_path
    ):
        """SIGKILL at a random moment, with steps that are taken and
        steps that are paused.
        """
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
        assert server.finish(server.start(killed, pictures, **changes))[:2] == (
            "done",
            30,
        )
        assert server.finish(undisturbed)[:2] == ("done", 30)
        assert_same_end(killed, whole)
        paused = sum(float(row["paused"]) for row in rows(whole))
        assert (paused > 0) == ("pause_below" in mixture)
        assert paused < len(rows(whole)), "the discriminator never moved"
        names = tensors(state(killed))
        assert any(
            name.startswith("/adversary/network/") and name.endswith("._u")
            for name in names
        )
        assert any(
            name.startswith("/adversary/optimizer/") and name.endswith("exp_avg")
            for name in names
        )
        assert (killed / "discriminator.safetensors").exists()

    def test_a_signal_ends_it_between_steps(self, server, pictures, tmp_path):
        changes = {"task": "vae", "steps": 24} | GAN
        process = server.start(tmp_path / "a", pictures, **changes, checkpoint_every=0)
        wait_for_rows(process, tmp_path / "a", 2)
        kill(process, signal.SIGTERM)
        assert server.finish(process)[0] == "interrupted"
        assert 6 <= state(tmp_path / "a")["step"] < 24
        for name in ("a", "b"):
            assert server.finish(server.start(tmp_path / name, pictures, **changes))[
                :2
            ] == ("done", 24)
        assert_same_end(tmp_path / "a", tmp_path / "b")


class TestProcesses:
    @pytest.mark.parametrize(
        ("kind", "mixture"),
        [
            ("vae", GAN),
            ("invert", FULL),
            ("autoencode", FULL | {"pause_below": 1e9, "give_up": 0}),
        ],
        ids=["vae-gan", "deepsim", "paused"],
    )
    def test_two_with_half_the_batch_each_are_one(
        self, kind, mixture, server, pictures, tmp_path
    ):
        """The same noise, terms and pauses; gradients of both players are shared."""
        changes = {
            "task": kind,
            "batch_size": 4,
            "log_every": 1,
            "steps": 6,
            "learning_rate": 1e-3,
        } | mixture
        one, two, half = (tmp_path / name for name in ("one", "two", "half"))
        for folder in (one, two, half):
            folder.mkdir()
        assert server.finish(server.start(one, pictures, **changes))[0] == "done"
        ends = [
            server.finish(process)[:2]
            for process in server.several([two, two], pictures, **changes)
        ]
        assert ends == [("done", 6)] * 2
        assert (
            server.finish(server.start(half, pictures, **changes | {"batch_size": 2}))[
                0
            ]
            == "done"
        )
        losses = [
            [float(v) for row in rows(f) for v in row.values()]
            for f in (one, two, half)
        ]
        assert losses[1] == pytest.approx(losses[0], rel=5e-4, abs=1e-7)
        assert losses[2] != pytest.approx(losses[0], rel=5e-4, abs=1e-7)
        for part in ("average", "adversary"):
            mine, theirs = (tensors(state(folder)[part]) for folder in (one, two))
            for name, value in mine.items():
                if not name.startswith("/optimizer"):
                    assert (value - theirs[name]).abs().max() < 2e-3, name

    def test_one_picture_for_each_process_and_batch_normalisation(
        self, server, pictures, tmp_path
    ):
        changes = {"task": "autoencode", "norm": "batch", "batch_size": 2}
        for process in server.several([tmp_path] * 2, pictures, **changes):
            why, sentence, _ = server.finish(process)
            assert why == "error"
            assert_sentence(
                sentence, "a batch of 2", "2 processes", "norm='batch'", "at least 4"
            )
