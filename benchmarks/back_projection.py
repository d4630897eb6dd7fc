"""What is gained if an enlargement is made to agree with its small picture:
`python -m benchmarks.back_projection`.

A network's picture, shrunk again, is not quite the small picture that it was given.
Back-projection (Irani and Peleg 1991) adds what is missing, enlarged, some times over.
Bicubic interpolation and the three networks that ship, factor 4, on the middle squares
of data/test, which no training saw: PSNR, perceptual distance, the second judge's
distance, and by how much the shrunk picture is off. The control adds the same
correction turned by half a circle: as much of it, in the wrong places. Half a minute.

Writes notebooks/records/back_projection.json, which chapter 6 reads.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import torch

from benchmarks.lattice import SHIPPED
from benchmarks.restoration import ROOT, enlargement, larger, store
from pltutorial import bundled, bundled_names, upscale
from pltutorial.degradations import downscale
from pltutorial.distances import content_distance
from pltutorial.images import middle_square
from pltutorial.networks import load_network
from pltutorial.zoo import RESTORERS

RECORD = ROOT / "notebooks" / "records" / "back_projection.json"
FACTOR, ROUNDS, SQUARE = 4, (0, 1, 10), 384
DIGITS = {"psnr": 2, "distance": 4, "second": 4, "off": 2}


def missing(output: torch.Tensor, small: torch.Tensor) -> torch.Tensor:
    """What the output, shrunk, lacks of the small picture: (N, 3, h, w)."""
    return small - downscale(output.clamp(0, 1), FACTOR, round_values=False)


def back_projected(
    output: torch.Tensor, small: torch.Tensor, rounds: int
) -> torch.Tensor:
    """The output (N, 3, H, W), corrected so that it shrinks to the small picture."""
    for _ in range(rounds):
        output = output + spread(missing(output, small))
    return output.clamp(0, 1)


def spread(difference: torch.Tensor) -> torch.Tensor:
    """A signed difference, enlarged; `larger` takes pictures in [0, 1]."""
    return 2 * larger(difference / 2 + 0.5, FACTOR) - 1


def judged(output: torch.Tensor, small: torch.Tensor, target: torch.Tensor) -> dict:
    found = enlargement(output, target, FACTOR)
    del found["ssim"]
    found["second"] = float(content_distance(output, target))
    found["off"] = 255 * float(missing(output, small).square().mean().sqrt())
    return found


def arms(given: torch.Tensor, small: torch.Tensor) -> dict[str, torch.Tensor]:
    """A method's picture, corrected for 0, 1 and 10 rounds, and the control."""
    made = {str(n): back_projected(given, small, n) for n in ROUNDS}
    change = made[str(ROUNDS[-1])] - given
    made["turned"] = (given + change.flip(2, 3)).clamp(0, 1)
    return made


def measured(method: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, dict]:
    """The means over data/test, arm by arm."""
    found: dict[str, list[dict]] = {}
    for name in bundled_names("test"):
        target = middle_square(bundled(f"test/{name}"), SQUARE)
        small = downscale(target, FACTOR)
        for arm, output in arms(method(small), small).items():
            found.setdefault(arm, []).append(judged(output, small, target))
    return {
        arm: {
            key: round(sum(row[key] for row in rows) / len(rows), digits)
            for key, digits in DIGITS.items()
        }
        for arm, rows in found.items()
    }


def main() -> None:
    methods = {"bicubic": lambda small: larger(small, FACTOR)}
    for name in SHIPPED:
        network = load_network(RESTORERS / f"upscale_x4_{name}.safetensors")
        methods[name] = lambda small, network=network: upscale(
            small, network=network, precision="float32"
        )
    rows = {}
    with torch.no_grad():
        for name, method in methods.items():
            rows[name] = measured(method)
            print(name, rows[name], flush=True)
    store(
        RECORD,
        {
            "what": "enlargements by 4 that were made to agree with their small "
            "pictures, on the middle squares of data/test",
            "command": "python -m benchmarks.back_projection",
            "versions": {n: version(n) for n in ("torch", "stlpips_pytorch")},
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
