"""A feature loss and its gradient beside what others use, on the same weights, in one
run: `python -m benchmarks.peers`, after `make peers`. Ratios of one run count.

Seconds are the least of some rounds, in which all take turns; on a CPU those of one
processor, so that other programs do not count. Memory is what one step adds to the peak
of a process of its own. What is not installed is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pltutorial import LossNetwork, PerceptualLoss, best_device
from pltutorial.vgg import load_weights

from . import side

RECORD = Path(__file__).parent / "peers.json"
LAYER, INDEX = "relu3_3", 15  # torchvision's `features.15`


def ours(target: torch.Tensor) -> Callable:
    """Without kept targets."""
    loss = PerceptualLoss({LAYER: 1.0}, network=_network(target))
    return lambda output: loss(output, target=target).total


def kept(target: torch.Tensor) -> Callable:
    """The target's features are computed once."""
    loss = PerceptualLoss({LAYER: 1.0}, network=_network(target))
    features = loss.content_target(target)
    return lambda output: loss(output, target=features).total


def _network(target: torch.Tensor) -> LossNetwork:
    return LossNetwork(precision="float32", device=target.device)


def by_hand(target: torch.Tensor) -> Callable:
    """create_feature_extractor and mse_loss, as most write it."""
    from torchvision.models.feature_extraction import create_feature_extractor

    features, mean, std = _torchvision(target.device)
    extractor = create_feature_extractor(features, {str(INDEX): LAYER})
    mean, std = (
        torch.tensor(values, device=target.device).view(1, 3, 1, 1)
        for values in (mean, std)
    )

    def loss(output):
        with torch.no_grad():
            wanted = extractor((target - mean) / std)[LAYER]
        made = extractor((output - mean) / std)[LAYER]
        return torch.nn.functional.mse_loss(made, wanted)

    return loss


def piq(target: torch.Tensor) -> Callable:
    """piq.ContentLoss"""
    import piq

    features, mean, std = _torchvision(target.device)
    loss = piq.ContentLoss(features, layers=(str(INDEX),), mean=mean, std=std)
    return lambda output: loss(output, target)


def lpips(target: torch.Tensor) -> Callable:
    """LPIPS on VGG-16; it compares five layers, to relu5_3."""
    import lpips

    loss = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).to(target.device)
    weights = _torchvision(target.device)[0].state_dict()
    for name, tensor in loss.net.state_dict().items():
        tensor.copy_(weights[name.partition(".")[2]])
    return lambda output: loss(output, target, normalize=True).mean()


def _torchvision(device: torch.device) -> tuple:
    from torchvision.models import vgg16

    features = vgg16().features.to(device).eval().requires_grad_(False)
    pairs, mean, std = load_weights("embedded")
    tensors = [tensor.float() for pair in pairs for tensor in pair]
    names = features.state_dict()
    features.load_state_dict(dict(zip(names, tensors, strict=True)))
    return features, mean, std


CONTESTANTS = {
    "ours": ours,
    "ours, target kept": kept,
    "torchvision by hand": by_hand,
    "piq.ContentLoss": piq,
    "lpips, VGG": lpips,
}


def pictures(batch: int, size: int, device: torch.device) -> list[torch.Tensor]:
    """An output and a target, the same in every process."""
    generator = torch.Generator().manual_seed(0)
    shape = (batch, 3, size, size)
    return [torch.rand(shape, generator=generator).to(device) for _ in "xy"]


def step(loss: Callable, output: torch.Tensor) -> tuple[float, float]:
    """Value and seconds of a loss and its gradient."""
    output = output.clone().requires_grad_()
    clock = time.process_time if output.device.type == "cpu" else time.perf_counter
    _wait(output.device)
    start = clock()
    value = loss(output)
    value.backward()
    _wait(output.device)
    return float(value.detach()), clock() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def memory(name: str, batch: int, size: int, device: torch.device) -> float:
    """MB that a step adds to the peak; called in a process of its own."""
    small, other = pictures(1, 64, device)
    step(CONTESTANTS[name](other), small)  # libraries and their primitives are loaded
    output, target = pictures(batch, size, device)
    loss = CONTESTANTS[name](target)
    before = side.start_peak(device)
    step(loss, output)
    return (side.peak(device) - before) / 1e6


def measure(batch: int, size: int, rounds: int, device: torch.device) -> list[dict]:
    """A row for each who is installed."""
    output, target = pictures(batch, size, device)
    losses, rows = {}, {}
    for name, make in CONTESTANTS.items():
        try:
            losses[name] = make(target)
        except ImportError as problem:
            print(f"{name} is left out: {problem}", file=sys.stderr)
    for _ in range(rounds):
        for name, loss in losses.items():
            value, seconds = step(loss, output)
            row = rows.setdefault(name, {"name": name, "value": value, "seconds": []})
            row["seconds"].append(seconds)
    for name, row in rows.items():
        row["seconds"] = round(min(row["seconds"]), 4)
        row["ratio"] = round(row["seconds"] / rows["ours"]["seconds"], 3)
        sizes = ("--batch", str(batch), "--size", str(size))
        command = [sys.executable, "-m", "benchmarks.peers", "--alone", name, *sizes]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        row["MB"] = round(float(said.stdout))
    return list(rows.values())


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", choices=CONTESTANTS, help="memory of one")
    given, device = parser.parse_args(), best_device()
    if device.type == "cpu":
        torch.set_num_threads(1)
    if given.alone:
        print(memory(given.alone, given.batch, given.size, device))
        return
    machine = side.machine(device)
    print(machine)
    rows = measure(given.batch, given.size, given.rounds, device)
    for row in rows:
        print(
            f"{row['name']:24} {row['seconds']:8.4f} s  {row['ratio']:6.2f}  "
            f"{row['MB']:6} MB  value {row['value']:.6g}"
        )
    record = {"command": "python -m benchmarks.peers", "machine": machine}
    record |= {"batch": given.batch, "size": given.size, "rows": rows}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
