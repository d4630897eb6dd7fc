"""Tiny training runs in processes of their own, forked from a server that has
imported everything once.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import queue
import signal
import socket
import time
from pathlib import Path

import pytest
import torch

SETTINGS = {
    "styles": ("great_wave",),
    "width": 2,
    "blocks": 1,
    "steps": 12,
    "size": 32,
    "batch_size": 2,
    "style_size": 48,
    "content_layers": ("relu2_2",),
    "style_layers": ("relu1_2", "relu2_2"),
    "log_every": 3,
    "sample_every": 0,
    "checkpoint_every": 4,
    "ema": 0.9,
    "device": "cpu",
    "precision": "float32",
    "progress": False,
}


def tiny(**changes):
    """Settings of a run that takes a few hundredths of a second a step."""
    from pltutorial.settings import StyleTrainingSettings

    return StyleTrainingSettings(**SETTINGS | changes)


_STYLE_ONLY = ("styles", "style_size", "content_layers", "style_layers")
RESTORATION = {
    name: value for name, value in SETTINGS.items() if name not in _STYLE_ONLY
}
RESTORATION |= {"width": 4, "zoom": (1.0, 1.2)}


def restorer(kind: str, phi=None, /, **changes):
    """A task of restoration, ``"upscale"``, ``"denoise"`` or
    ``"inpaint"``, as small.
    """
    import pltutorial

    task, kept = {
        "upscale": (pltutorial.SuperResolutionTask, pltutorial.SuperResolutionSettings),
        "denoise": (pltutorial.DenoisingTask, pltutorial.DenoisingSettings),
        "inpaint": (pltutorial.InpaintingTask, pltutorial.InpaintingSettings),
    }[kind]
    return task(kept(**RESTORATION | changes), network=phi)


LIKENESS = {name: value for name, value in RESTORATION.items() if name != "blocks"}
LIKENESS |= {
    "zoom": (1.0, 1.2),
    "discriminator_width": 4,
    "feature_layers": ("relu1_2",),
    "ema": 0.9,
}
FULL = {"feature_weight": 0.5, "adversarial_weight": 0.1, "image_weight": 2.0}
_SMALLER = {
    "invert": {"layer": "relu2_1", "blocks": 1},
    "autoencode": {"blocks": 1},
    "vae": {"latent": 4},
    "colorize": {"blocks": 1},
}


def likened(kind: str, phi=None, /, **changes):
    """A task with a learned likeness, ``"invert"``, ``"autoencode"``, ``"vae"`` or
    ``"colorize"``, as small.
    """
    import pltutorial

    task, kept = {
        "invert": (pltutorial.InversionTask, pltutorial.InversionSettings),
        "autoencode": (pltutorial.AutoencoderTask, pltutorial.AutoencoderSettings),
        "vae": (pltutorial.VAETask, pltutorial.VAESettings),
        "colorize": (pltutorial.ColorizationTask, pltutorial.ColorizationSettings),
    }[kind]
    return task(kept(**LIKENESS | _SMALLER[kind] | changes), network=phi)


def run(outcome, environment: dict, folder: str, pictures: str, changes: dict) -> None:
    """The body of a process: trains a style, or the ``task`` of the changes, and says
    how it ended in ``outcome``.
    """
    os.environ.update(environment)
    torch.set_num_threads(1)
    # which tests in the background would ignore
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from pltutorial.errors import InputError
    from pltutorial.training import StyleTask, train

    try:
        kind = changes.pop("task", None)
        make = likened if kind in _SMALLER else restorer
        task = StyleTask(tiny(**changes)) if kind is None else make(kind, **changes)
        result = train(task, pictures=pictures, folder=folder)
        outcome.put(
            (
                result.stopped,
                result.history[-1].step if result.history else 0,
                result.broken,
            )
        )
    except InputError as problem:
        outcome.put(("error", str(problem), []))


# torch._dynamo is imported by the first step of an optimizer, and takes
# longer than the step
_IMPORTS = [
    "pltutorial.training",
    "pltutorial.restoration_training",
    "pltutorial.likeness_training",
    "accelerate",
    "torch._dynamo",
    "torch.optim.swa_utils",
    "safetensors.torch",
    "pytest",
]


class Server:
    """Starts runs; one thread each, so that processes can be forked and numbers are
    the same everywhere.
    """

    def __init__(self) -> None:
        from multiprocessing import forkserver

        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(_IMPORTS)
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"
        forkserver.ensure_running()
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before

    def start(
        self, folder: Path, pictures: Path, environment: dict | None = None, **changes
    ):
        """A process at work, with its queue in ``.outcome``."""
        outcome = self.context.Queue()
        arguments = (outcome, environment or {}, str(folder), str(pictures), changes)
        process = self.context.Process(target=run, args=arguments, daemon=True)
        process.start()
        process.outcome = outcome
        return process

    def several(self, folders: list[Path], pictures: Path, **changes) -> list:
        """Processes that train together, as torchrun would start them;
        one folder for each.
        """
        common = {
            "WORLD_SIZE": len(folders),
            "LOCAL_WORLD_SIZE": len(folders),
            "MASTER_ADDR": "127.0.0.1",
        }
        common |= {"MASTER_PORT": free_port(), "OMP_NUM_THREADS": 1}
        started = []
        for rank, folder in enumerate(folders):
            environment = {
                k: str(v)
                for k, v in {**common, "RANK": rank, "LOCAL_RANK": rank}.items()
            }
            started.append(self.start(folder, pictures, environment, **changes))
        return started

    def finish(self, process) -> tuple:
        """How a process ended: (why, last step of the log or
        sentence, broken pictures).
        """
        while True:
            try:
                outcome = process.outcome.get(timeout=0.2)
                break
            except queue.Empty:
                assert process.is_alive(), (
                    f"the process ended with {process.exitcode} and said nothing"
                )
        process.join(60)
        return outcome


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def rows(folder: Path) -> list[dict]:
    """The lines of a run's log, without the seconds, which no two runs share."""
    path = folder / "log.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {k: v for k, v in row.items() if k != "seconds"}
            for row in csv.DictReader(file)
        ]


def wait_for_rows(process, folder: Path, count: int) -> None:
    """Until the log has so many lines, or the process has ended."""
    end = time.monotonic() + 240
    while process.is_alive() and time.monotonic() < end:
        path = folder / "log.csv"
        if path.exists() and path.read_bytes().count(b"\n") > count:
            return
        time.sleep(0.001)


def kill(process, number: int = signal.SIGKILL) -> None:
    os.kill(process.pid, number)
    process.join(120)


def state(folder: Path) -> dict:
    """The last checkpoint of a run."""
    from pltutorial.training.checkpoint import read_checkpoint

    return read_checkpoint(folder / "checkpoint.pt")


def tensors(value, name: str = "") -> dict[str, torch.Tensor]:
    """Every tensor in nested dictionaries and lists, by its path."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list | tuple)
        else ()
    )
    return {
        k: v for key, part in items for k, v in tensors(part, f"{name}/{key}").items()
    }


def assert_same_end(folder: Path, other: Path) -> None:
    """Weights, running average, optimizer, log and network file of two runs are
    identical to the last bit.
    """
    one, two = tensors(state(folder)), tensors(state(other))
    assert one.keys() == two.keys()
    assert any(name.startswith("/average/") for name in one)
    assert any(name.startswith("/optimizer/") for name in one)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    assert rows(folder) == rows(other)
    for name in ("network", "discriminator"):
        paths = [one / f"{name}.safetensors" for one in (folder, other)]
        assert paths[0].exists() == paths[1].exists()
        assert name == "discriminator" or paths[0].exists()
        if paths[0].exists():
            assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Five small pictures to train on."""
    from helpers import picture

    from pltutorial import write_image

    folder = tmp_path_factory.mktemp("pictures")
    for number in range(5):
        write_image(folder / f"{number}.png", picture(40, 44, seed=number))
    return folder


@pytest.fixture(scope="session")
def server() -> Server:
    """One for all tests: it imports once."""
    return Server()


@pytest.fixture(scope="session")
def whole(server, pictures, tmp_path_factory) -> Path:
    """A run of 30 steps that was never disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert server.finish(server.start(folder, pictures, steps=30))[:2] == ("done", 30)
    return folder


@pytest.fixture
def one_thread():
    """This process computes as those of ``server`` do: sums of two threads differ from
    those of one in the last bit.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def phi():
    """A loss network in float32, on the CPU."""
    from pltutorial import LossNetwork

    return LossNetwork(precision="float32", device="cpu")


@pytest.fixture
def task(phi):
    """Makes a task that shares the loss network."""
    from pltutorial.tasks.style import StyleTask

    return lambda **changes: StyleTask(tiny(**changes), network=phi)
