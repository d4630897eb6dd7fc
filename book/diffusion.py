"""The pictures of chapter 11: `python book/diffusion.py` writes
book/images/diffusion_title.webp, noise and what 1, 4 and 25 steps make of it, and
book/images/diffusion_samples.webp, 64 faces in a row as they come, none chosen.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from pltutorial import load_diffusion
from pltutorial.flow import path, pictured
from pltutorial.images import to_picture
from pltutorial.tasks.vae import sheet

FOLDER = Path(__file__).resolve().parent / "images"
STEPS, COUNT, SEED = (1, 4, 25), 8, 11


def noise_of(count: int, size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, size, size, generator=generator)


def write(name: str, images: torch.Tensor, rows: int, columns: int) -> None:
    """Pictures, twice as large, in a sheet."""
    large = F.interpolate(images, scale_factor=2, mode="bicubic").clamp(0, 1)
    picture = to_picture(sheet(large, rows, columns))
    picture.save(FOLDER / name, quality=84, method=6)
    print(f"{name}: {picture.width}x{picture.height}")


@torch.no_grad()
def main() -> None:
    network = load_diffusion(device="cpu")
    noise = noise_of(COUNT, network.size, SEED)
    rows = [pictured(noise)]
    for steps in STEPS:
        *_, (_, x) = path(network, noise, steps)
        rows.append(pictured(x))
    write("diffusion_title.webp", torch.cat(rows), len(rows), COUNT)
    *_, (_, x) = path(network, noise_of(64, network.size, 1), STEPS[-1])
    write("diffusion_samples.webp", pictured(x), 8, 8)


if __name__ == "__main__":
    main()
