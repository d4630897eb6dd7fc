"""What `benchmarks/gpu_day.sh` does in Python: pack pictures, time the GPU rows, and
train several networks at once.

python -m benchmarks.gpu_day pack FOLDER pictures.tar --megabytes 6 python -m
benchmarks.gpu_day run pictures.tar OUT --jobs benchmarks/gpu_day.yaml
--minutes 8 --timings
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import yaml
from PIL import Image

GRACE = 25  # seconds in which a training that is stopped writes its network
LARGEST = 15 << 20  # bytes of one archive of results
FINDINGS = ("network.safetensors", "log.csv", "output.txt")


def pack(folder: Path, target: Path, megabytes: float, side: int = 320) -> None:
    """Write all pictures of a folder, at most ``side`` pixels short, into one tar that
    is not larger than asked for.
    """
    pictures = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in Image.registered_extensions()
    )
    low, high, best = 5, 90, None
    while low <= high:  # the best quality that fits
        quality = (low + high) // 2
        packed = _packed(pictures, side, quality, megabytes * 1e6)
        best, low, high = (
            (packed, quality + 1, high) if packed else (best, low, quality - 1)
        )
    if best is None:
        sys.exit(
            f"{len(pictures)} pictures do not fit into {megabytes} MB at {side} "
            "pixels; give more megabytes or fewer"
        )
    target.write_bytes(best)
    print(f"{len(pictures)} pictures, {len(best) / 1e6:.1f} MB, WebP quality {high}")


def _packed(
    pictures: list[Path], side: int, quality: int, limit: float
) -> bytes | None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for path in pictures:
            with Image.open(path) as picture:
                rgb = picture.convert("RGB")
            shrink = min(1.0, side / min(rgb.size))
            rgb = rgb.resize(
                [round(length * shrink) for length in rgb.size],
                Image.Resampling.LANCZOS,
            )
            data = io.BytesIO()
            rgb.save(data, "WEBP", quality=quality)
            member = tarfile.TarInfo(path.with_suffix(".webp").name)
            member.size = len(data.getvalue())
            archive.addfile(member, io.BytesIO(data.getvalue()))
            if file.tell() > limit:
                return None
    return file.getvalue() if len(file.getvalue()) <= limit else None


def train(task: str, config: str, out: str, pictures: str) -> None:
    """One training, in a process of its own, with the settings that pay on a GPU."""
    import torch

    torch.backends.cudnn.benchmark = True  # all crops have one size
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    sys.argv = ["pltutorial", "train", task, "--config", config, "-o", out]
    sys.argv += ["--data", pictures, "--no-progress"]
    from pltutorial.cli import main

    main()


def run(
    pictures: Path, out: Path, slots: list[list[dict]], minutes: float, timings: bool
) -> None:
    """All slots at once, the jobs of a slot one after the other, each for its
    share of the time.

    A job is asked to stop when its share is over; it ends after its step and keeps what
    it has. A later job of the same name goes on from there with other settings, such as
    a lower learning rate.
    """
    begin = time.monotonic()
    work = out.parent / f"{out.name}.work"
    for folder in (out, work):
        folder.mkdir(parents=True, exist_ok=True)
    if timings:
        rows = json.dumps(measure(), indent=1)
        (out / "timings.json").write_text(rows + "\n")
        print(rows, flush=True)
    _share_the_gpu()
    seconds = 60 * minutes - GRACE - (time.monotonic() - begin)
    threads = [
        threading.Thread(target=_run_slot, args=(slot, seconds, pictures, work))
        for slot in slots
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = dict.fromkeys(job["name"] for slot in slots for job in slot)
    _collect(work, out, list(names))


def read_jobs(path: Path) -> list[list[dict]]:
    """The slots of a file, each job with all its settings."""
    read = yaml.safe_load(path.read_text(encoding="utf-8"))
    given = read.get("defaults", {})

    def whole(job: dict) -> dict:
        defaults = given.get("all", {}) | given.get(job["task"], {})
        return job | {"settings": defaults | job["settings"]}

    return [[whole(job) for job in slot] for slot in read["slots"]]


def _run_slot(slot: list[dict], seconds: float, pictures: Path, work: Path) -> None:
    begin, whole, spent = time.monotonic(), sum(job["share"] for job in slot), 0.0
    for job in slot:
        spent += job["share"]
        folder = work / job["name"]
        folder.mkdir(exist_ok=True)
        config = folder / "run.yaml"
        config.write_text(yaml.safe_dump(job["settings"]))
        command = [sys.executable, "-m", "benchmarks.gpu_day", "train", job["task"]]
        command += [str(config), str(folder), str(pictures)]
        with (folder / "output.txt").open("a") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            left = begin + seconds * spent / whole - time.monotonic()
            try:
                process.wait(max(left, 1))
                continue
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _share_the_gpu() -> None:
    """Where NVIDIA's MPS is there, kernels of several processes run side by side
    instead of in turns.
    """
    try:
        subprocess.run(
            ["nvidia-cuda-mps-control", "-d"],
            check=True,
            capture_output=True,
            timeout=20,
        )
        print("MPS: on", flush=True)
    except (OSError, subprocess.SubprocessError) as problem:
        print(f"MPS: off ({type(problem).__name__})", flush=True)


def _collect(work: Path, out: Path, names: list[str]) -> None:
    """The networks and logs, in as few archives as their limit allows."""
    number, size, archive = 0, LARGEST, None
    for job in names:
        files = [
            work / job / name for name in FINDINGS if (work / job / name).is_file()
        ]
        needed = sum(file.stat().st_size + 2048 for file in files)
        if size + needed > LARGEST:
            if archive is not None:
                archive.close()
            number, size = number + 1, 0
            archive = tarfile.open(out / f"networks{number}.tar", "w")  # noqa: SIM115
        size += needed
        for file in files:
            archive.add(file, f"{job}/{file.name}")
        log = work / job / "log.csv"
        last = (
            log.read_text().splitlines()[-1] if log.is_file() else "nothing was logged"
        )
        text = (work / job / "output.txt").read_text().splitlines()
        print(f"{job}: {last}\n  {text[-1] if text else ''}", flush=True)
    if archive is not None:
        archive.close()


def measure() -> dict[str, float]:
    """Seconds on the GPU: a loss with its gradient, an optimisation step, a pass of the
    network, a training step.
    """
    import torch

    from pltutorial import (
        FastTransformNet,
        PerceptualLoss,
        StyleTrainingSettings,
        TransformNet,
        best_device,
    )

    device = best_device()
    rows: dict[str, float] = {}

    def timed(name: str, work, repeats: int = 20) -> None:
        for _ in range(5):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        rows[name] = round((time.perf_counter() - start) / repeats, 6)

    content = torch.rand(4, 3, 256, 256, device=device)
    loss = PerceptualLoss({"relu3_3": 1.0})
    loss.network.to(device)
    output = content.clone().requires_grad_()
    target = loss.content_target(content.roll(1, -1))
    timed(
        "loss and gradient, relu3_3, batch 4, 256 px",
        lambda: loss(output, target).total.backward(),
    )
    for kind in (FastTransformNet, TransformNet):
        network = kind().to(device).eval()

        def forward(network=network):
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
                network(content[:1])

        timed(f"stylise, {network.kind}, 256 px", forward)
    from pltutorial.training import StyleTask

    for kind, styles in (("fast", ("great_wave",)), ("transform", ("great_wave",))):
        settings = StyleTrainingSettings(styles=styles, network=kind, batch_size=4)
        task = StyleTask(settings)
        network = task.network.to(device, memory_format=torch.channels_last).train()
        adam = torch.optim.Adam(
            network.parameters(), fused=device.type in ("cpu", "cuda")
        )

        def step(task=task, network=network, adam=adam):
            with torch.autocast(device.type, torch.bfloat16):
                total = task.loss(network, content, 0).total
            adam.zero_grad()
            total.backward()
            adam.step()

        timed(f"training step, {kind}, batch 4, 256 px", step)
    rows["gigabytes at most"] = 0.0
    if device.type == "cuda":
        rows["gigabytes at most"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return rows


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_day", description=__doc__.split("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("folder", type=Path)
    packing.add_argument("target", type=Path)
    packing.add_argument("--megabytes", type=float, default=6)
    one = commands.add_parser("train")
    for name in ("task", "config", "out", "pictures"):
        one.add_argument(name)
    running = commands.add_parser("run")
    running.add_argument("pictures", type=Path)
    running.add_argument("out", type=Path)
    running.add_argument(
        "--jobs", type=Path, default=Path(__file__).with_suffix(".yaml")
    )
    running.add_argument("--minutes", type=float, default=8)
    running.add_argument("--timings", action="store_true")
    asked = parser.parse_args()
    if asked.command == "pack":
        pack(asked.folder, asked.target, asked.megabytes)
    elif asked.command == "train":
        train(asked.task, asked.config, asked.out, asked.pictures)
    else:
        slots = read_jobs(asked.jobs)
        run(asked.pictures, asked.out, slots, asked.minutes, asked.timings)


if __name__ == "__main__":
    main()
