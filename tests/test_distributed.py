"""Several processes train as one: the same losses, one who writes, and one sentence
when another dies.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import assert_sentence, picture
from training_runs import SETTINGS, free_port, kill, rows, state, tensors, wait_for_rows

from pltutorial import write_image
from pltutorial.networks import load_network

BOTH = {
    "styles": ("great_wave", "poppies"),
    "batch_size": 4,
    "log_every": 1,
    "steps": 8,
}


@pytest.fixture(scope="module")
def alone(server, pictures, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    assert server.finish(server.start(folder, pictures, **BOTH))[0] == "done"
    return folder


def assert_close(folder: Path, other: Path) -> None:
    """The losses of two runs within what float32 sums in another order leave, and
    nearly the same weights.
    """
    mine, theirs = rows(folder), rows(other)
    assert [row["step"] for row in mine] == [row["step"] for row in theirs]
    for one, two in zip(mine, theirs, strict=True):
        assert one.keys() == two.keys()
        for name in one:
            assert float(one[name]) == pytest.approx(float(two[name]), rel=2e-3), (
                one["step"],
                name,
            )
    weights, others = (tensors(state(f)["average"]) for f in (folder, other))
    for name, value in weights.items():
        # biases before a normalisation have no gradient but rounding
        if value.ndim == 4:
            assert (value - others[name]).abs().max() < 2e-3, name


def test_two_processes_with_half_the_batch_each_are_one(
    server, pictures, alone, tmp_path
):
    ends = [
        server.finish(p) for p in server.several([tmp_path, tmp_path], pictures, **BOTH)
    ]
    assert [end[:2] for end in ends] == [("done", 8)] * 2
    assert_close(tmp_path, alone)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint.pt",
        "log.csv",
        "network.safetensors",
    ]
    first, second = (float(rows(f)[0]["total"]) for f in (tmp_path, alone))
    assert first == pytest.approx(second, rel=1e-5)


def test_minutes_end_all_processes_at_the_same_line(server, pictures, alone, tmp_path):
    """And the same command goes on, here with the minutes that it needs."""
    changes = BOTH | {"log_every": 2}
    started = server.several([tmp_path] * 2, pictures, **changes, minutes=1e-9)
    assert [server.finish(p)[:2] for p in started] == [("minutes", 2)] * 2
    assert state(tmp_path)["step"] == 2
    started = server.several([tmp_path] * 2, pictures, **changes)
    assert [server.finish(p)[0] for p in started] == ["done"] * 2
    weights, others = (tensors(state(f)["average"]) for f in (tmp_path, alone))
    for name, value in weights.items():
        if value.ndim == 4:
            assert (value - others[name]).abs().max() < 2e-3, name


def test_half_of_the_batch_alone_would_be_seen(server, pictures, alone, tmp_path):
    """The comparison above is no empty one."""
    server.finish(server.start(tmp_path, pictures, **BOTH | {"batch_size": 2}))
    with pytest.raises(AssertionError):
        assert_close(tmp_path, alone)


def test_one_begins_and_two_go_on(server, pictures, alone, tmp_path):
    server.finish(server.start(tmp_path, pictures, **BOTH | {"steps": 3}))
    assert [
        server.finish(p)[0] for p in server.several([tmp_path] * 2, pictures, **BOTH)
    ] == ["done"] * 2
    assert_close(tmp_path, alone)


def test_a_checkpoint_between_lines_holds_the_sums_of_all_processes(
    server, pictures, tmp_path
):
    changes = BOTH | {"log_every": 4000, "checkpoint_every": 2, "steps": 5000}
    started = server.several([tmp_path / "two"] * 2, pictures, **changes)
    while not (tmp_path / "two" / "checkpoint.pt").exists() and started[0].is_alive():
        time.sleep(0.002)
    for process in started:
        kill(process)
    kept = state(tmp_path / "two")
    server.finish(
        server.start(tmp_path / "one", pictures, **BOTH | {"steps": kept["step"]})
    )
    expected = sum(float(row["total"]) for row in rows(tmp_path / "one"))
    assert float(kept["sums"][-1]) == pytest.approx(expected, rel=2e-3)


def test_one_killed_the_other_keeps_a_checkpoint_and_says_so(
    server, pictures, tmp_path
):
    main, other = server.several(
        [tmp_path] * 2, pictures, **BOTH | {"steps": 5000, "checkpoint_every": 0}
    )
    wait_for_rows(main, tmp_path, 3)
    kill(other)
    why, sentence, _ = server.finish(main)
    assert why == "error"
    assert_sentence(sentence, "another of the 2 processes stopped", "same command")
    step = state(tmp_path)["step"]
    assert step >= 3
    assert server.finish(
        server.start(tmp_path, pictures, **BOTH | {"steps": step + 2})
    )[:2] == (
        "done",
        step + 2,
    )
    assert [int(row["step"]) for row in rows(tmp_path)] == list(range(1, step + 3))


def test_both_told_to_stop_leave_a_checkpoint(server, pictures, tmp_path):
    started = server.several(
        [tmp_path] * 2, pictures, **BOTH | {"steps": 5000, "checkpoint_every": 0}
    )
    wait_for_rows(started[0], tmp_path, 3)
    for process in started:
        os.kill(process.pid, signal.SIGTERM)
    assert [server.finish(process)[0] for process in started] == ["interrupted"] * 2
    assert 3 <= state(tmp_path)["step"] < 5000
    assert load_network(tmp_path / "network.safetensors").style_names == BOTH["styles"]


def test_folders_that_are_not_shared_are_noticed(server, pictures, alone, tmp_path):
    shutil.copytree(alone, tmp_path / "a")
    (tmp_path / "b").mkdir()
    changes = BOTH | {"steps": 10}
    for process in server.several(
        [tmp_path / "a", tmp_path / "b"], pictures, **changes
    ):
        why, sentence, _ = server.finish(process)
        assert why == "error"
        assert_sentence(sentence, "8, 0", "share")


def test_a_batch_that_cannot_be_shared_is_refused(server, pictures, tmp_path):
    for process in server.several([tmp_path] * 2, pictures, **BOTH | {"batch_size": 3}):
        why, sentence, _ = server.finish(process)
        assert why == "error"
        assert_sentence(sentence, "a batch of 3", "a multiple of 2")


def test_a_taken_port_is_named(server, pictures, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        environment = {
            "RANK": "0",
            "LOCAL_RANK": "0",
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
        }
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        why, sentence, _ = server.finish(
            server.start(tmp_path, pictures, environment, **BOTH)
        )
    assert why == "error"
    assert_sentence(sentence, f"port {port}", "--master-port")


def test_broken_pictures_of_all_processes_are_named(server, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        write_image(folder / f"{number}.png", picture(40, 40, seed=number))
    for number in range(3):
        (folder / f"bad{number}.png").write_bytes(b"no picture")
    started = server.several(
        [tmp_path / "run"] * 2, folder, **BOTH | {"steps": 6, "max_broken": 0.9}
    )
    ends = [server.finish(process) for process in started]
    for why, _, broken in ends:
        assert why == "done"
        assert sorted(name.split()[0] for name in broken) == [
            "bad0.png",
            "bad1.png",
            "bad2.png",
        ]


# --- the launchers --------------------------------------------------------------------


def configuration(folder: Path, pictures: Path, **changes) -> Path:
    values = SETTINGS | BOTH | changes | {"data": str(pictures), "output": str(folder)}
    lines = [
        f"{k}: {list(v) if isinstance(v, tuple) else str(v).lower()}\n"
        for k, v in values.items()
    ]
    path = folder.parent / "run.yaml"
    path.write_text("".join(lines))
    return path


def launch(*command: str) -> subprocess.CompletedProcess:
    environment = {
        k: v
        for k, v in os.environ.items()
        if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    }
    environment["OMP_NUM_THREADS"] = "1"
    return subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )


def test_accelerate_launch(pictures, alone, tmp_path):
    path = configuration(tmp_path / "run", pictures)
    flags = [
        "--cpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
    ]
    flags += ["--dynamo_backend", "no", "--main_process_port", str(free_port())]
    done = launch(
        "accelerate.commands.launch",
        *flags,
        "-m",
        "pltutorial",
        "train",
        "style",
        "--config",
        str(path),
    )
    assert done.returncode == 0, done.stderr
    assert_close(tmp_path / "run", alone)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert len(lines) == 2, done.stdout
    assert "8 steps in" in lines[0]
    assert "pltutorial stylize" in lines[1]


def test_torchrun_says_an_error_of_both_processes_once(pictures, tmp_path):
    path = configuration(tmp_path / "run", pictures, stepz=3)
    done = launch(
        "torch.distributed.run",
        *(
            "--standalone",
            "--nproc-per-node",
            "2",
            "-m",
            "pltutorial",
            "train",
            "style",
            "--config",
            str(path),
        ),
    )
    assert done.returncode != 0
    assert "exitcode  : 2" in done.stderr
    (sentence,) = [
        line for line in done.stderr.splitlines() if line.startswith("error: ")
    ]
    assert "'stepz'" in sentence
    assert "nearest is 'steps'" in sentence
