"""What a plan for many machines starts from, measured on one: makes the record and the
tables of the page on many machines, two minutes on two idle cores.

    OMP_NUM_THREADS=1 python -m benchmarks.machines

A step of Johnson's training, the bytes of its gradients, what the loopback device
carries while processes exchange them, what DDP adds to a step with two and four
processes, bytes and reading of packed pictures, a checkpoint, and how much more a
network ten times as wide costs. Times are the processor's, so that what else the
machine does matters little; steps with and without the exchange take turns. The parts
``one`` and ``several`` (processes) may be named, and measured anew by themselves.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pltutorial import (
    LossNetwork,
    PerceptualLoss,
    best_precision,
    bundled,
    bundled_names,
    read_image,
)
from pltutorial.files import write_whole
from pltutorial.networks import TransformNet
from pltutorial.training.pictures import Pictures

from .side import machine

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "notebooks" / "records" / "machines.json"
COMMAND = "OMP_NUM_THREADS=1 python -m benchmarks.machines"
SIDE, BATCH, WIDTH, TIMES = 256, 4, 32, 10
SMALL, NARROW = 128, 64  # sides for several processes, and for the wide network
STYLE = dict.fromkeys(("relu1_2", "relu2_2", "relu3_3", "relu4_3"), 1.0)
SHORTER = 384  # of packed pictures: the largest zoom of a crop of 256 pixels


class Training:
    """Johnson's training: its network, its loss, and a step with a picture of noise."""

    def __init__(self, width: int = WIDTH, side: int = SIDE, batch: int = BATCH):
        torch.manual_seed(0)
        self.network = TransformNet(width)
        phi = LossNetwork(device="cpu")
        self.loss = PerceptualLoss(
            {"relu3_3": 1.0}, STYLE, normalization="relative", network=phi
        )
        self.style = self.loss.style_target(
            read_image(bundled("style/great_wave"), 256)
        )
        self.images = torch.rand(batch, 3, side, side)
        self.model: torch.nn.Module = self.network
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-3)
        self.dtype = best_precision(torch.device("cpu"))

    def step(self) -> None:
        self.optimizer.zero_grad()
        with torch.autocast("cpu", self.dtype, self.dtype != torch.float32):
            output = self.model(self.images)
            terms = self.loss(output, content=self.images, style=self.style)
        terms.total.backward()
        self.optimizer.step()


def processor_seconds(function: Callable[[], object], times: int, warm: int = 1):
    """The least of several: what the machine does beside can only add."""
    taken = []
    for _ in range(warm + times):
        begin = time.process_time()
        function()
        taken.append(time.process_time() - begin)
    return min(taken[warm:])


# --- several processes ----------------------------------------------------------------


def loopback_bytes() -> int:
    """What the loopback device has carried, of all programs; 0 where nobody counts."""
    path = Path("/sys/class/net/lo/statistics/tx_bytes")
    return int(path.read_text()) if path.exists() else 0


def exchange(rounds: int = 3) -> None:
    """One of several processes: steps with and without DDP's exchange take turns, then
    the exchange by itself. The first process prints what all took together.
    """
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    training = Training(side=SMALL, batch=BATCH // world)
    training.model = wrapped = DistributedDataParallel(training.network)
    work: dict[str, list[float]] = {"with": [], "without": []}
    alone, carried = [], []

    def silent() -> None:
        with wrapped.no_sync():
            training.step()

    for _ in range(rounds + 1):
        for name, function in (("without", silent), ("with", training.step)):
            dist.barrier()
            begin = time.process_time()
            function()
            spent = torch.tensor(time.process_time() - begin)
            dist.all_reduce(spent)
            work[name].append(float(spent))
    count = sum(parameter.numel() for parameter in training.network.parameters())
    gradients = torch.rand(count)
    for _ in range(8):
        dist.barrier()
        before = loopback_bytes()
        dist.barrier()  # nobody begins before all have counted
        begin = time.perf_counter()
        dist.all_reduce(gradients)
        alone.append(time.perf_counter() - begin)
        dist.barrier()
        carried.append(loopback_bytes() - before)
    if rank == 0:
        found = {name: values[1:] for name, values in work.items()}
        print(json.dumps(found | {"alone": min(alone), "carried": min(carried)}))
    dist.destroy_process_group()


def several(processes: int) -> dict:
    """What :func:`exchange` finds with so many processes of one thread each: the
    processors' seconds of all of them, which no other program adds to.
    """
    start = "from benchmarks.machines import exchange; exchange()"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "--no-python"]
    done = subprocess.run(
        [*command, sys.executable, "-c", start],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    pairs = zip(found["with"], found["without"], strict=True)
    return {
        "processes": processes,
        "processor seconds": round(min(found["with"]), 3),
        "without exchange": round(min(found["without"]), 3),
        "overhead": round(statistics.median(a / b for a, b in pairs), 3),
        "exchange seconds": round(found["alone"], 4),
        "carried bytes": found["carried"],
    }


# --- the rest -------------------------------------------------------------------------


def pictures() -> dict:
    """Bytes of a packed picture, and the processor's seconds to read and cut one."""
    sys.path.insert(0, str(ROOT / "book" / "machines"))
    try:
        from pack_shards import pack
    finally:
        sys.path.pop(0)
    with tempfile.TemporaryDirectory() as folder:
        source = bundled(f"train/{bundled_names('train')[0]}").parent
        sizes = pack(source, folder, 3, SHORTER)
        shards = sorted(Path(folder).glob("*.tar"))
        count = sum(sizes.values())
        size = sum(shard.stat().st_size for shard in shards) / count
        stream = Pictures(Path(folder), SIDE)
        numbers = iter(range(10_000))
        seconds = processor_seconds(
            lambda: [stream[next(numbers)] for _ in range(count)], 4
        )
    return {
        "packed": count,
        "shorter side": SHORTER,
        "bytes a picture": round(size),
        "seconds to read one": round(seconds / count, 5),
    }


def checkpoint(training: Training) -> dict:
    """Weights and both of Adam's averages, written and flushed."""
    state = {
        "network": training.network.state_dict(),
        "optimizer": training.optimizer.state_dict(),
    }
    taken = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.pt")
        for _ in range(3):
            begin = time.perf_counter()
            write_whole(path, lambda file: torch.save(state, file))
            taken.append(time.perf_counter() - begin)
        size = path.stat().st_size
    return {"checkpoint bytes": size, "checkpoint seconds": round(min(taken), 4)}


def wider() -> dict:
    """A network ten times as wide against the usual one, on one small picture."""
    rows = {}
    for width in (WIDTH, TIMES * WIDTH):
        training = Training(width, side=NARROW, batch=1)
        rows[width] = {
            "parameters": sum(p.numel() for p in training.network.parameters()),
            "seconds": round(processor_seconds(training.step, 2), 4),
        }
    return {
        "side": NARROW,
        "batch": 1,
        "widths": {str(width): row for width, row in rows.items()},
    }


def one_process() -> dict:
    training = Training()
    parameters = sum(p.numel() for p in training.network.parameters())
    return {
        "machine": machine(torch.device("cpu")),
        "cores": os.cpu_count(),
        "side": SIDE,
        "batch": BATCH,
        "width": WIDTH,
        "precision": str(training.dtype).removeprefix("torch."),
        "parameters": parameters,
        "gradient bytes": 4 * parameters,
        "seconds a step": round(processor_seconds(training.step, 3), 3),
        **checkpoint(training),
        "reading": pictures(),
        "wider": wider(),
    }


def main(parts: list[str]) -> None:
    """All, or the parts that are named; what the record has of the others is kept."""
    torch.set_num_threads(1)
    record = {
        "what": "a step of Johnson's training, and what a plan for many machines needs",
        "command": COMMAND,
    }
    if parts:
        record = json.loads(RECORD.read_text(encoding="utf-8"))
    if not parts or "one" in parts:
        record |= one_process()
    if not parts or "several" in parts:
        rows = [several(count) for count in (1, 2, 4)]
        record |= {"several side": SMALL, "several": rows}
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    write_whole(RECORD, lambda file: file.write(text.encode()))
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
