"""What a judge of photographs hears in drawings: `python -m benchmarks.grain
[--write]`.

Precision and recall of 600 faces among the 600 faces of data/faces/test.zip, in
EfficientNet-Lite0's pooled features of the pictures at 96 pixels, three times. First
with grain on one side alone: real faces with noise of a standard deviation of 0.01 or
0.02, in [0, 1], against real faces as they are; and, as the control, crops of
photographs, which have a grain of their own, with the same noise. Then with the same
grain on both sides, from none to 0.04: real faces, blurred ones, their mean, and those
that the diffusion network draws in 25 steps: a measure that is of use must tell the
first from the second and third. Last the network's faces as they are, after a filter
that evens out what differs by less than 0.02 from its surroundings and moves no shape;
and real faces that were hidden in a tenth of noise and walked on from there.

The record notebooks/records/grain.json is what chapter 11 reads. Two minutes of one
core.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from skimage.restoration import denoise_bilateral

from pltutorial import Pictures, load_diffusion
from pltutorial.distances import precision_recall
from pltutorial.faces import load_faces
from pltutorial.flow import centred, noisy, pictured
from pltutorial.images import write_whole
from pltutorial.tasks.diffuse import draw
from pltutorial.training.cards import processor

from .diffusion import COUNT, counted
from .judged import GRAIN, among, grained, pooled

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "notebooks" / "records" / "grain.json"
GRAINS = (0.0, 0.005, GRAIN, 0.02, 0.04)
NOISES = (0.0, GRAIN, 0.02)
EVEN = 0.02  # what differs by less is evened out
WALK, FROM = 25, 0.9


def eight_bits(pictures: torch.Tensor) -> torch.Tensor:
    return (255 * pictures.clamp(0, 1)).round() / 255


def blurred(pictures: torch.Tensor, share: float = 0.4) -> torch.Tensor:
    """Mixed with the mean of each 3x3 square."""
    mean = F.avg_pool2d(pictures, 3, 1, 1, count_include_pad=False)
    return torch.lerp(pictures, mean, share)


def evened(pictures: torch.Tensor) -> torch.Tensor:
    """What a bilateral filter leaves."""
    kept = [
        denoise_bilateral(
            one.permute(1, 2, 0).double().numpy(),
            win_size=5,
            sigma_color=EVEN,
            sigma_spatial=2,
            mode="edge",
            channel_axis=-1,
        )
        for one in pictures
    ]
    return torch.stack([torch.as_tensor(one).permute(2, 0, 1).float() for one in kept])


@torch.no_grad()
def walked(network, pictures: torch.Tensor) -> torch.Tensor:
    """Real faces, hidden in the noise of the time 0.9, and from there to the end."""
    draw_noise = torch.Generator().manual_seed(0)
    noise = torch.randn(pictures.shape, generator=draw_noise)
    x = noisy(centred(pictures), noise, FROM)
    steps = round(WALK * (1 - FROM))
    for step in range(steps):
        t, after = (FROM + (1 - FROM) * k / steps for k in (step, step + 1))
        estimate = torch.cat([network(part, t) for part in x.split(100)])
        x = x + (after - t) * (estimate - x) / (1 - t)
    return pictured(x)


def photographs() -> tuple[torch.Tensor, torch.Tensor]:
    """Twice as many crops of the bundled photographs, of 96 pixels."""
    pictures = Pictures(size=96, zoom=(1.0, 2.0), cache=True)
    crops = torch.stack([pictures[n][0] for n in range(2 * COUNT)])
    return crops[::2], crops[1::2]


def pair(found: tuple[float, float]) -> dict[str, float]:
    return {"precision": round(found[0], 3), "recall": round(found[1], 3)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write the record")
    given = parser.parse_args()
    torch.set_num_threads(1)
    real = load_faces("train").pictures[:COUNT]
    network = load_diffusion(device="cpu")
    drawn = eight_bits(draw(network, COUNT, steps=WALK, seed=0))
    even = eight_bits(evened(drawn))
    some, others = photographs()
    looked = pooled(others)
    one_side: dict[str, dict] = {"faces": {}, "photographs": {}}
    for size in NOISES:
        noisy_faces, noisy_crops = (
            eight_bits(grained(one, 9, size)) for one in (real, some)
        )
        one_side["faces"][f"{size:g}"] = pair(among(noisy_faces, "test", 2, grain=0))
        one_side["photographs"][f"{size:g}"] = pair(
            precision_recall(pooled(noisy_crops), looked)
        )
    print(json.dumps(one_side), flush=True)
    collections = {
        "real": real,
        "blurred": eight_bits(blurred(real)),
        "mean": eight_bits(real.mean(0, keepdim=True).expand(COUNT, -1, -1, -1)),
        "network": drawn,
        "network, evened": even,
        "real, last tenth walked": eight_bits(walked(network, real)),
    }
    both_sides = {}
    for name, pictures in collections.items():
        both_sides[name] = {
            f"{size:g}": pair(among(pictures, "test", 2, grain=size)) for size in GRAINS
        }
        print(name, json.dumps(both_sides[name]), flush=True)
    record = {
        "what": " ".join(__doc__.split("\n\n")[1].split()),
        "command": "python -m benchmarks.grain --write",
        "machine": processor(torch.device("cpu")),
        "count": COUNT,
        "one side": one_side,
        "both sides": both_sides,
        "attributes": {
            name: {key: round(value, 3) for key, value in counted(pictures).items()}
            for name, pictures in (("network", drawn), ("network, evened", even))
        },
        "differ": round(float((drawn - even).abs().mean()), 4),
    }
    print(json.dumps(record, indent=1))
    if given.write:
        text = json.dumps(record, indent=1) + "\n"
        write_whole(RECORD, lambda file: file.write(text.encode()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
