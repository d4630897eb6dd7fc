"""What each judge says of damage that is known, and what it can be fooled by: makes the
record behind the book's page on judges, a few minutes on one core.

    OMP_NUM_THREADS=1 python -m benchmarks.judges

Pictures of data/test at 256 pixels, crops of 128 pixels of data/test and data/train,
the paintings of data/style at 512 pixels. Nothing here is drawn without a seed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from pltutorial import bundled, bundled_names, read_image, resize
from pltutorial.color import match_color
from pltutorial.compare import compare, judged_features, measure
from pltutorial.degradations import add_noise, blur_with, downscale
from pltutorial.distances import (
    content_distance,
    frechet_distance,
    kernel_distance,
    layer_distances,
    second_judge,
    style_distances,
    vgg_judge,
    warp_error,
)
from pltutorial.files import write_whole
from pltutorial.images import middle_square
from pltutorial.tasks.style import stylize
from pltutorial.tasks.super_resolution import upscale

from .side import machine

RECORD = Path(__file__).with_suffix(".json")
COMMAND = "OMP_NUM_THREADS=1 python -m benchmarks.judges"
SIDE, CROP = 256, 128
DOTS = 0.06  # the pattern's amplitude in chapter 6's experiment
CPU = torch.device("cpu")


def gaussian(sigma: float) -> torch.Tensor:
    """(1, K, K), for `blur_with`."""
    reach = math.ceil(3 * sigma)
    line = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    kernel = torch.outer(line, line)
    return (kernel / kernel.sum())[None]


def dotted(image: torch.Tensor, amplitude: float = DOTS) -> torch.Tensor:
    """With a fixed pattern of period 4 that knows nothing of the picture."""
    row, column = (
        torch.cos(math.pi * torch.arange(length) / 2) for length in image.shape[-2:]
    )
    return (image + amplitude * torch.outer(row, column)).clamp(0, 1)


def noisy(image: torch.Tensor, sigma: float) -> torch.Tensor:
    return add_noise(image, sigma, 0).clamp(0, 1)


DAMAGE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "the photograph itself": lambda x: x,
    "noise, sigma 5 of 255": lambda x: noisy(x, 5),
    "noise, sigma 10": lambda x: noisy(x, 10),
    "noise, sigma 25": lambda x: noisy(x, 25),
    "blur, sigma 1 px": lambda x: blur_with(x, gaussian(1)),
    "blur, sigma 2 px": lambda x: blur_with(x, gaussian(2)),
    "dots, amplitude 0.02": lambda x: dotted(x, 0.02),
    "dots, amplitude 0.06": dotted,
    "moved by 1 px": lambda x: x.roll((1, 1), (2, 3)),
    "20% darker": lambda x: 0.8 * x,
    "x4 by bicubic": lambda x: resize(downscale(x, 4), (SIDE, SIDE)),
    "x4 by the pixel network": lambda x: enlarged(x, "pixel"),
    "the same with dots, 0.02": lambda x: dotted(enlarged(x, "pixel"), 0.02),
    "the same with dots, 0.06": lambda x: dotted(enlarged(x, "pixel")),
    "x4 by the feature network": lambda x: enlarged(x, "feature"),
    "x4 by the adversarial network": lambda x: enlarged(x, "adversarial"),
}


def enlarged(image: torch.Tensor, loss: str) -> torch.Tensor:
    return upscale(downscale(image, 4), 4, loss, precision="float32", device="cpu")


def rounded(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def pictures() -> list[dict]:
    """Means over the photographs for each kind of damage."""
    photos = torch.cat(
        [middle_square(bundled(f"test/{name}"), SIDE) for name in bundled_names("test")]
    )
    rows = []
    for what, damage in DAMAGE.items():
        values = compare(damage(photos), photos)
        rows.append({"what": what})
        rows[-1] |= {key: rounded(float(v.mean())) for key, v in values.items()}
        print(json.dumps(rows[-1]), flush=True)
    return rows


def downhill(steps: int = 30, rate: float = 2 / 255) -> list[dict]:
    """Pixels of the blurred photographs moved down one judge's distance: what it says
    then, and what the others say.
    """
    photos = torch.cat(
        [middle_square(bundled(f"test/{name}"), SIDE) for name in bundled_names("test")]
    )
    start = blur_with(photos, gaussian(2))
    judges = {
        "content": lambda x: content_distance(x, photos, network=second_judge(CPU)),
        "vgg/relu3_3": lambda x: layer_distances(
            x, photos, ["relu3_3"], network=vgg_judge(CPU)
        )["relu3_3"],
    }
    rows = []
    for trained, judge in {"none": None, **judges}.items():
        output = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([output], lr=rate)
        for _ in range(steps if judge else 0):
            optimizer.zero_grad()
            judge(output).sum().backward()
            optimizer.step()
        values = compare(output.detach().clamp(0, 1), photos)
        rows.append({"moved down": trained})
        rows[-1] |= {key: rounded(float(v.mean())) for key, v in values.items()}
        print(json.dumps(rows[-1]), flush=True)
    return rows


def crops(each: int = 10) -> torch.Tensor:
    """Random squares of the photographs, in an order that mixes them."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for folder in ("test", "train"):
        for name in bundled_names(folder):
            image = read_image(bundled(f"{folder}/{name}"))
            for _ in range(each):
                top, left = (
                    int(torch.randint(length - CROP, (), generator=generator))
                    for length in image.shape[-2:]
                )
                found.append(image[..., top : top + CROP, left : left + CROP])
    found = torch.cat(found)
    return found[torch.randperm(len(found), generator=generator)]


def collections() -> dict:
    """One half of the crops against the other, damaged."""
    images = crops()
    half = len(images) // 2
    made, real = images[:half], images[half : 2 * half]
    reference = judged_features(real.split(1), CROP)
    kinds = (
        "the photograph itself",
        "noise, sigma 10",
        "noise, sigma 25",
        "blur, sigma 1 px",
        "blur, sigma 2 px",
        "dots, amplitude 0.06",
    )
    cases = {kind: in_fours(DAMAGE[kind], made) for kind in kinds}
    cases["ten crops, each as often"] = made[:10].repeat(half // 10 + 1, 1, 1, 1)[:half]
    cases["the reference itself, mirrored"] = real.flip(-1)
    rows, plain = [], None
    for what, given in cases.items():
        features = judged_features(given.split(1), CROP)
        plain = features if plain is None else plain
        values = measure(features, reference)
        rows.append({"what": what} | {k: rounded(v) for k, v in values.items()})
        print(json.dumps(rows[-1]), flush=True)
    few = []
    for count in (12, 24, 48, half):
        pair = plain[:count], reference[:count]
        few.append(
            {
                "pictures": count,
                "frechet": rounded(float(frechet_distance(*pair))),
                "kernel": rounded(float(kernel_distance(*pair))),
            }
        )
    return {"pictures": half, "rows": rows, "few": few}


def in_fours(damage: Callable, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([damage(part) for part in images.split(4)])


def tiles(image: torch.Tensor, side: int = 32) -> torch.Tensor:
    """The picture cut and put together in another order."""
    count = image.shape[-1] // side
    parts = F.unfold(image, side, stride=side)
    order = torch.randperm(count**2, generator=torch.Generator().manual_seed(0))
    return F.fold(parts[..., order], image.shape[-2:], side, stride=side)


def styles() -> list[dict]:
    """What stands for a painting's style: means over the paintings, for one photograph
    and its prints by the network that knows all of them.
    """
    photo = middle_square(bundled("test/monarch"), SIDE)
    rows: dict[str, list[dict]] = {}
    for name in bundled_names("style"):
        painting = read_image(bundled(f"style/{name}"))
        painting = resize(painting, 2 * SIDE)
        painting = painting[..., : painting.shape[-2] // 2 * 2, :]
        half = painting.shape[-1] // 2
        left, right = painting[..., :half], painting[..., -half:]
        whole = middle_square(left, SIDE)
        cases = {
            "the painting's other half": right,
            "its tiles in another order": tiles(whole),
            "a print by the network": stylize(
                photo, name, precision="float32", device="cpu"
            ),
            "the photograph in its colours": match_color(photo, left).clamp(0, 1),
            "the photograph": photo,
        }
        for what, image in cases.items():
            row = {}
            target = whole if "tiles" in what else left
            for judge, network in (
                ("vgg", vgg_judge(CPU)),
                ("lite0", second_judge(CPU)),
            ):
                with torch.no_grad():
                    values = style_distances(image, target, network=network)
                row |= {f"{judge}/{k}": float(v) for k, v in values.items()}
            rows.setdefault(what, []).append(row)
        print(name, flush=True)
    return [
        {"what": what}
        | {key: rounded(sum(one[key] for one in of) / len(of)) for key in of[0]}
        for what, of in rows.items()
    ]


def frames() -> list[dict]:
    """A window that moves over a photograph by 4 pixels a frame, and its prints."""
    photo = read_image(bundled("test/sail"))
    source = torch.cat([photo[..., 100:292, t : t + 256] for t in range(100, 124, 4)])
    flow = torch.tensor([4.0, 0.0]).view(1, 2, 1, 1).expand(5, 2, 192, 256)
    prints = torch.cat(
        [
            stylize(frame, "great_wave", precision="float32", device="cpu")
            for frame in source.split(1)
        ]
    )
    cases = {
        "source": source,
        "prints, each on its own": prints,
        "these, blurred by 2 px": blur_with(prints, gaussian(2)),
    }
    return [
        {
            "what": what,
            "without flow": rounded(float(warp_error(given).mean())),
            "along the flow": rounded(float(warp_error(given, flow).mean())),
        }
        for what, given in cases.items()
    ]


def main() -> None:
    record = {
        "command": COMMAND,
        "machine": machine(CPU),
        "pictures": pictures(),
        "downhill": downhill(),
        "collections": collections(),
        "styles": styles(),
        "frames": frames(),
    }
    text = json.dumps(record, indent=1) + "\n"
    write_whole(RECORD, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main()
