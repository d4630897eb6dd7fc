"""A training that was killed, stopped or changed: it ends as if it never was, or
says what is wrong.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import platform
import random
import signal
import time

import pytest
import torch
from helpers import picture, refused
from training_runs import assert_same_end, kill, rows, state, wait_for_rows

from pltutorial import write_image
from pltutorial.files import check_output, held, write_whole
from pltutorial.networks import load_network
from pltutorial.training import loop, train
from pltutorial.training.checkpoint import write_checkpoint


class TestResume:
    @pytest.mark.parametrize("seed", [0, 1])
    def test_killed_at_random_steps_it_ends_as_if_it_never_was(
        self, seed, server, pictures, whole, tmp_path
    ):
        """SIGKILL at a random moment of a random step, several
        times, then to the end.
        """
        chance, reached = random.Random(seed), []
        # after so many lines of the log, of ten
        for end in sorted(chance.sample(range(1, 9), 3)):
            process = server.start(tmp_path, pictures, steps=30)
            wait_for_rows(process, tmp_path, end)
            process.join(chance.random() * 0.03)
            kill(process)
            assert process.exitcode == -signal.SIGKILL
            reached.append(len(rows(tmp_path)))
        assert max(reached) < 10, "no kill came before the end"
        assert server.finish(server.start(tmp_path, pictures, steps=30))[:2] == (
            "done",
            30,
        )
        assert_same_end(tmp_path, whole)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_it_after_a_whole_step_with_a_checkpoint(
        self, number, server, pictures, whole, tmp_path
    ):
        process = server.start(tmp_path, pictures, steps=30, checkpoint_every=0)
        wait_for_rows(process, tmp_path, 3)
        kill(process, number)
        assert process.exitcode == 0
        stopped, logged, _ = server.finish(process)
        assert stopped == "interrupted"
        step = state(tmp_path)["step"]
        assert 9 <= logged <= step < 30
        assert load_network(tmp_path / "network.safetensors").config["width"] == 2
        assert server.finish(server.start(tmp_path, pictures, steps=30))[:2] == (
            "done",
            30,
        )
        assert_same_end(tmp_path, whole)

    @pytest.mark.usefixtures("one_thread")
    def test_minutes_end_it_with_a_checkpoint_and_a_network(
        self, task, pictures, whole, tmp_path
    ):
        """And the same command goes on as if it had never stopped,
        between lines too.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop._Run, "_time_is_up", lambda run: run.step == 13)
            result = train(task(steps=30), pictures=pictures, folder=tmp_path)
        assert (result.stopped, result.steps, result.history[-1].step) == (
            "minutes",
            13,
            12,
        )
        assert state(tmp_path)["step"] == 13
        assert result.file == tmp_path / "network.safetensors"
        assert load_network(result.file).config["width"] == 2
        soon = train(task(steps=30, minutes=1e-9), pictures=pictures, folder=tmp_path)
        assert (soon.stopped, soon.steps) == ("minutes", 14)
        late = train(task(steps=30, minutes=1e9), pictures=pictures, folder=tmp_path)
        assert (late.stopped, late.steps) == ("done", 30)
        assert_same_end(tmp_path, whole)

    def test_interrupted_by_the_callback(self, task, pictures, tmp_path):
        def stop(record):
            raise KeyboardInterrupt

        handlers = [
            signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
        ]
        result = train(task(), pictures=pictures, folder=tmp_path / "a", callback=stop)
        assert result.stopped == "interrupted"
        assert [
            signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
        ] == handlers
        assert state(tmp_path / "a")["step"] == 3
        result = train(task(), pictures=pictures, folder=tmp_path / "a")
        other = train(task(), pictures=pictures, folder=tmp_path / "b")
        assert result.stopped == other.stopped == "done"
        assert_same_end(tmp_path / "a", tmp_path / "b")

    def test_done_it_stays_done_and_more_steps_go_on(self, task, pictures, tmp_path):
        calls = []
        train(task(steps=6), pictures=pictures, folder=tmp_path)
        again = train(
            task(steps=6), pictures=pictures, folder=tmp_path, callback=calls.append
        )
        assert calls == []
        assert [r.step for r in again.history] == [3, 6]
        more = train(
            task(steps=8), pictures=pictures, folder=tmp_path, callback=calls.append
        )
        assert [r.step for r in calls] == [8]
        assert [r["step"] for r in rows(tmp_path)] == ["3", "6", "8"]
        assert more.seconds >= again.seconds > 0

    def test_without_a_checkpoint_an_old_log_is_begun_anew(
        self, task, pictures, tmp_path
    ):
        (tmp_path / "log.csv").write_text("step,total\n3,1\n")
        train(task(steps=3), pictures=pictures, folder=tmp_path)
        assert len(rows(tmp_path)) == 1
        assert "content/relu2_2" in rows(tmp_path)[0]

    def test_several_styles_and_clipping_and_schedule_resume_exactly(
        self, task, pictures, tmp_path
    ):
        more = {
            "styles": ("great_wave", "poppies"),
            "gradient_clip": 1.0,
            "schedule": "cosine",
            "warmup": 3,
        }
        train(task(**more), pictures=pictures, folder=tmp_path / "a")

        def stop(record):
            raise KeyboardInterrupt

        train(
            task(**more, log_every=3),
            pictures=pictures,
            folder=tmp_path / "b",
            callback=stop,
        )
        train(task(**more), pictures=pictures, folder=tmp_path / "b")
        assert_same_end(tmp_path / "a", tmp_path / "b")


class TestRefusedToResume:
    @pytest.fixture
    def begun(self, task, pictures, tmp_path):
        train(task(steps=4), pictures=pictures, folder=tmp_path)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        yield tmp_path
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    @pytest.mark.parametrize(
        ("changes", "name"),
        [
            ({"width": 3}, "network="),
            ({"styles": ("poppies",)}, "styles="),
            ({"style_weight": 1.0}, "style_weight="),
            ({"seed": 1}, "seed="),
            ({"size": 36}, "size="),
            ({"zoom": (1.0, 1.1)}, "zoom="),
            ({"batch_size": 1}, "batch_size="),
            ({"ema": 0.0}, "average="),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_with_settings_that_decide_what_is_learned(
        self, begun, task, pictures, changes, name
    ):
        with refused("checkpoint.pt", name, "another folder"):
            train(task(**changes), pictures=pictures, folder=begun)

    def test_with_other_pictures(self, begun, task, tmp_path_factory):
        folder = tmp_path_factory.mktemp("other")
        write_image(folder / "x.png", picture(40, 40))
        with refused("pictures=", "another folder"):
            train(task(), pictures=folder, folder=begun)

    def test_with_fewer_steps(self, begun, task, pictures):
        with refused("step 4", "2 steps"):
            train(task(steps=2), pictures=pictures, folder=begun)

    def test_other_rates_are_let_through(self, task, pictures, tmp_path):
        train(task(steps=4), pictures=pictures, folder=tmp_path)
        changes = {
            "learning_rate": 1e-4,
            "schedule": "cosine",
            "warmup": 2,
            "ema": 0.5,
            "workers": 0,
        }
        assert (
            train(task(steps=6, **changes), pictures=pictures, folder=tmp_path).stopped
            == "done"
        )

    def test_a_setting_younger_than_the_checkpoint_had_its_default(
        self, task, pictures, tmp_path
    ):
        train(task(steps=4), pictures=pictures, folder=tmp_path)
        path = tmp_path / "checkpoint.pt"
        older = torch.load(path, weights_only=True)
        for name in ("total_variation", "betas", "cache", "style_weights"):
            older["identity"].pop(name, None)
            del older["settings"][name]
        del older["identity"]["adversary"]
        write_checkpoint(path, older)
        with refused("made with style_weights=()", "has style_weights=(2.0,)"):
            train(task(style_weights=(2.0,)), pictures=pictures, folder=tmp_path)
        assert train(task(steps=6), pictures=pictures, folder=tmp_path).steps == 6

    @pytest.mark.usefixtures("one_thread")
    def test_checkpoints_of_2026_are_read(self, task, pictures, whole, tmp_path):
        """They had the digest before the archive."""
        train(task(steps=15), pictures=pictures, folder=tmp_path)
        path = tmp_path / "checkpoint.pt"
        data = io.BytesIO()
        torch.save(torch.load(path, weights_only=True), data)
        path.write_bytes(hashlib.sha256(data.getvalue()).digest() + data.getvalue())
        assert train(task(steps=30), pictures=pictures, folder=tmp_path).steps == 30
        assert_same_end(tmp_path, whole)

    def test_torch_opens_a_checkpoint(self, task, pictures, tmp_path):
        train(task(steps=4), pictures=pictures, folder=tmp_path)
        opened = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        assert opened["step"] == 4
        assert opened["network"].keys() == state(tmp_path)["network"].keys()

    def test_a_damaged_checkpoint(self, task, pictures, tmp_path):
        train(task(steps=4), pictures=pictures, folder=tmp_path)
        path = tmp_path / "checkpoint.pt"
        body = path.read_bytes()
        middle = len(body) // 2
        flipped = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        for damaged in (b"", body[:20], body[:middle], body + b"x", flipped):
            path.write_bytes(damaged)
            with refused("checkpoint.pt", "damaged", "delete it"):
                train(task(), pictures=pictures, folder=tmp_path)
            assert path.read_bytes() == damaged

    def test_a_checkpoint_of_another_version(self, task, pictures, tmp_path):
        train(task(steps=4), pictures=pictures, folder=tmp_path)
        write_checkpoint(tmp_path / "checkpoint.pt", state(tmp_path) | {"version": 7})
        with refused("version 7", "version 1"):
            train(task(), pictures=pictures, folder=tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
class TestOneRunAFolder:
    def test_the_second_is_told_who_holds_it_until_that_one_dies(
        self, task, server, pictures, tmp_path
    ):
        first = server.start(tmp_path, pictures, steps=10_000)
        # of step 6; the checkpoint of step 4 is on the disk by then
        wait_for_rows(first, tmp_path, 2)
        for changes in ({"steps": 10_000}, {"styles": ("poppies",)}):
            with refused(f"in use by process {first.pid} on {platform.node()}"):
                train(task(**changes), pictures=pictures, folder=tmp_path)
        kill(first)
        with refused("styles="):  # what its checkpoint says, now that it is free
            train(task(styles=("poppies",)), pictures=pictures, folder=tmp_path)
        step = state(tmp_path)["step"]
        more = train(task(steps=step + 1), pictures=pictures, folder=tmp_path)
        assert more.steps == step + 1
        assert not list(tmp_path.glob(".*"))

    def test_nor_do_two_threads_share_it(self, tmp_path):
        with held(tmp_path):
            for _ in range(2):
                with refused(f"process {os.getpid()} on"), held(tmp_path):
                    pass
        with held(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []

    def test_a_child_of_a_run_does_not_hold_it(self, tmp_path):
        """Such as one that reads pictures, and outlives a killed run for seconds."""
        with held(tmp_path):
            child = multiprocessing.get_context("fork").Process(
                target=time.sleep, args=(60,), daemon=True
            )
            child.start()
        with held(tmp_path):
            assert child.is_alive()
        child.kill()

    def test_a_lock_that_its_owner_left_is_taken(self, tmp_path):
        (tmp_path / ".lock").write_text("1 elsewhere\n")
        with held(tmp_path):
            assert (tmp_path / ".lock").read_text().split()[0] == str(os.getpid())
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["network", "discriminator"])
    def test_no_network_is_overwritten_by_another_run(
        self, name, task, pictures, tmp_path
    ):
        (tmp_path / f"{name}.safetensors").write_bytes(b"of another run")
        with refused(f"{name}.safetensors", "another folder"):
            train(task(), pictures=pictures, folder=tmp_path)
        left = [path.read_bytes() for path in tmp_path.iterdir()]
        assert left == [b"of another run"]

    @pytest.mark.parametrize("where", ["", "samples"])
    def test_what_a_killed_process_left_is_swept(self, where, task, pictures, tmp_path):
        folder = tmp_path / where
        folder.mkdir(exist_ok=True)
        fork = multiprocessing.get_context("fork")
        dead, living = (
            fork.Process(target=write_whole, args=(folder / "x.pt", end), daemon=True)
            for end in (_killed, _waiting)
        )
        for process, count in ((dead, 1), (living, 2)):
            process.start()
            while len(list(folder.glob(".pltutorial-*"))) < count:
                process.join(0.01)
        dead.join()
        train(task(steps=1), pictures=pictures, folder=tmp_path)
        (left,) = folder.glob(".pltutorial-*")
        check_output(folder / "y.png")
        assert left.exists(), "a living process writes it"
        living.kill()
        living.join()
        check_output(folder / "y.png")
        assert not left.exists()

    def test_stopped_before_the_first_step_nothing_is_there(
        self, task, pictures, tmp_path, monkeypatch
    ):
        real = loop.loader

        def stopped(*given, **named):
            signal.raise_signal(signal.SIGTERM)
            return real(*given, **named)

        monkeypatch.setattr(loop, "loader", stopped)
        result = train(task(), pictures=pictures, folder=tmp_path / "run")
        assert (result.stopped, result.steps, result.file) == ("interrupted", 0, None)
        assert list(tmp_path.iterdir()) == []
        monkeypatch.undo()
        train(task(steps=2), pictures=pictures, folder=tmp_path / "run")
        before = {path.name: path.read_bytes() for path in _files(tmp_path)}
        monkeypatch.setattr(loop, "loader", stopped)
        result = train(task(), pictures=pictures, folder=tmp_path / "run")
        assert (result.stopped, result.steps) == ("interrupted", 2)
        assert {path.name: path.read_bytes() for path in _files(tmp_path)} == before

    def test_what_is_refused_leaves_no_folder(self, task, tmp_path):
        with refused("nowhere"):
            train(task(), pictures=tmp_path / "nowhere", folder=tmp_path / "run")
        assert list(tmp_path.iterdir()) == []


def _killed(file) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _waiting(file) -> None:
    time.sleep(60)


def _files(folder) -> list:
    return [path for path in folder.rglob("*") if path.is_file()]
