"""Side-by-side timings: `make bench`, or `python -m benchmarks [NAME ...]`. Ratios of
one run count, not seconds.

Each benchmark returns rows (what, value, unit, bound): a number is the most, ">=2" the
least that is allowed. The run is written to benchmarks/record.json.
"""

from __future__ import annotations

from book import stopping  # noqa: F401 - first: Ctrl-C is one sentence

# isort: split
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from pltutorial import (
    LossNetwork,
    PerceptualLoss,
    best_device,
    best_precision,
    bundled,
    optimize_image,
    read_image,
    total_variation,
)
from pltutorial.losses import LossTerms

from . import feed_forward, side

RECORD = Path(__file__).parent / "record.json"
ROUNDS = 2


def _pair(size):
    return read_image(bundled("content/pagoda"), size), read_image(
        bundled("style/great_wave"), 384
    )


def precision(device: torch.device) -> list[tuple]:
    """120 L-BFGS steps at 384x256: the default precision, our float32, and float32 as
    most write it; alternating.
    """
    content, style = (image.to(device) for image in _pair((256, 384)))
    exact = LossNetwork(precision="float32", device=device)
    objectives = {
        "plain": _plain_objective(exact, content, style),
        "float32": _our_objective(exact, content, style),
        "default": _our_objective(LossNetwork(device=device), content, style),
    }
    seconds: dict[str, list[float]] = {name: [] for name in objectives}
    losses = {}
    # warm up: allocator, oneDNN's primitives, cuDNN
    for objective in objectives.values():
        optimize_image(objective, content, steps=5, progress=False)
    for _ in range(ROUNDS):
        for name, objective in objectives.items():
            result = optimize_image(objective, content, steps=120, progress=False)
            seconds[name].append(result.seconds)
            with torch.no_grad():  # every picture is judged by the same exact loss
                losses[name] = float(objectives["float32"](result.image).total)
    label = f"transfer, 120 L-BFGS steps, 384x256, {device.type}"
    default = str(best_precision(device)).removeprefix("torch.")
    rows = [
        (f"{label}, {name}", statistics.median(taken), "s", None)
        for name, taken in seconds.items()
    ]
    for name, bound in (("plain", None), ("float32", 0.45)):
        ratio = statistics.median(
            b / a for a, b in zip(seconds[name], seconds["default"], strict=True)
        )
        rows.append((f"{label}, default ({default}) / {name}", ratio, "ratio", bound))
        worse = abs(losses["default"] / losses[name] - 1)
        rows.append(
            (f"{label}, final loss, default / {name} - 1", worse, "ratio", 0.02)
        )
    return rows


def memory(device: torch.device) -> list[tuple]:
    """Peak memory of a 1024 px transfer, in a process of its own."""
    code = (
        "from benchmarks import side\n"
        "from pltutorial import best_device, bundled, read_image, transfer_style\n"
        "content, style = read_image(bundled('content/bridge')), "
        "read_image(bundled('style/starry_night'))\n"
        "transfer_style(content, style, steps=25, sizes=1024, progress=False, "
        f"device='{device.type}')\n"
        f"print(side.peak(best_device('{device.type}')))\n"
    )
    peak = int(
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout
    )
    return [
        (f"peak memory, transfer at 1024x750, {device.type}", peak / 1e9, "GB", 6.0)
    ]


def start(device: torch.device) -> list[tuple]:
    """What the package adds to `import torch`, and how soon `--help` answers;
    alternating, medians of 9.
    """

    def timed(*arguments: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return time.perf_counter() - begin

    everything = (
        "import torch, pltutorial; from pltutorial import PerceptualLoss, read_image, "
        "transfer_style, show"
    )
    rows: dict[str, list[float]] = {
        "torch": [],
        "both": [],
        "everything": [],
        "help": [],
    }
    for _ in range(9):
        rows["torch"].append(timed("-c", "import torch"))
        rows["both"].append(timed("-c", "import torch, pltutorial"))
        rows["everything"].append(timed("-c", everything))
        rows["help"].append(timed("-m", "pltutorial.cli", "--help"))
    median = {name: statistics.median(values) for name, values in rows.items()}
    return [
        ("import torch", median["torch"], "s", None),
        ("added by import pltutorial", median["both"] - median["torch"], "s", 0.3),
        (
            "added by importing losses, images, optimize and figures",
            median["everything"] - median["torch"],
            "s",
            None,
        ),
        ("pltutorial --help", median["help"], "s", 0.5),
    ]


def _plain_objective(network: LossNetwork, content: torch.Tensor, style: torch.Tensor):
    """The same losses as most programs write them: torch.nn layers in float32,
    autograd through F @ F.T.
    """
    layers = _plain_vgg(network).to(content.device)

    def features_of(image):
        features, x = {}, (image - network.mean) * network.scale
        for name, layer in layers.named_children():
            x = layer(x)
            features[name] = x
            if name == "relu4_3":
                return features
        raise AssertionError

    def gram(feature):
        flat = feature.flatten(2)
        return flat @ flat.transpose(1, 2) / feature[0].numel()

    with torch.no_grad():
        goal = features_of(content)["relu3_3"]
        grams = {name: gram(features_of(style)[name]) for name in _STYLE}

    def objective(image):
        features = features_of(image)
        terms = {
            name: 1e-4 * (gram(features[name]) - grams[name]).square().sum()
            for name in _STYLE
        }
        terms["content"] = (features["relu3_3"] - goal).square().mean()
        return LossTerms(
            {**terms, "total_variation": 1e-6 * 255**2 * total_variation(image)}
        )

    return objective


def _our_objective(network: LossNetwork, content: torch.Tensor, style: torch.Tensor):
    loss = PerceptualLoss(
        {"relu3_3": 1.0},
        dict.fromkeys(_STYLE, 1e-4),
        total_variation=1e-6,
        network=network,
    )
    targets = {
        "content": loss.content_target(content),
        "style": loss.style_target(style),
    }
    return lambda image: loss(image, **targets)


_STYLE = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


def _plain_vgg(network: LossNetwork) -> torch.nn.Sequential:
    layers = torch.nn.Sequential()
    for name in (name.removeprefix("relu") for name in network.layer_names[:13]):
        if name.endswith("_1") and name != "1_1":
            layers.add_module(f"pool{name[0]}", torch.nn.MaxPool2d(2))
        weight, bias = (
            getattr(network, f"weight{name}"),
            getattr(network, f"bias{name}"),
        )
        conv = torch.nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
        conv.load_state_dict({"weight": weight.contiguous(), "bias": bias})
        layers.add_module(f"conv{name}", conv.requires_grad_(False))
        layers.add_module(f"relu{name}", torch.nn.ReLU())
    return layers


BENCHMARKS = {
    "start": start,
    "precision": precision,
    "memory": memory,
    "training": feed_forward.training,
    "stylize": feed_forward.stylize,
    "sizes": feed_forward.sizes,
    "speed": feed_forward.speed,
}


def main(arguments: list[str]) -> int:
    device = best_device()
    machine = side.machine(device)
    print(machine, flush=True)
    # options are read by the benchmarks
    names = [name for name in arguments if not name.startswith("--")]
    rows, failed = [], 0
    for name in names or BENCHMARKS:
        for what, value, unit, bound in BENCHMARKS[name](device):
            # ">=2.6"; a number is the most that is allowed
            least = isinstance(bound, str)
            limit = float(bound.removeprefix(">=")) if least else bound
            holds = limit is None or (value >= limit if least else value <= limit)
            words = (
                (
                    f"(at {'least' if least else 'most'} {limit:g}: "
                    f"{'holds' if holds else 'FAILS'})"
                )
                if bound
                else ""
            )
            failed += not holds
            key = "at_least" if least else "at_most"
            rows.append(
                {"what": what, "value": round(value, 4), "unit": unit, key: limit}
            )
            print(f"{what:88s} {value:9.3f} {unit:5s} {words}", flush=True)
    if not names:
        RECORD.write_text(
            json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n"
        )
        print(
            "peak memory of this run "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"
        )
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
