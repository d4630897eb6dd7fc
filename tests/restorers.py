"""Networks for restoration with random weights, and a zoo of them, for the tests that only look at how they are used."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from pltutorial.networks import save_network
from pltutorial.networks.residual import DenoisingNet, InpaintingNet, SubPixelNet

CARD = {
    "data": "nothing",
    "steps": 3,
    "settings": {"pixel_weight": 1.0},
    "curve": [[step, 3.0 / step, 3.0 / step] for step in range(1, 4)],
    "terms": ["step", "pixel", "total"],
    "seconds": 60.0,
    "machine": "a test",
    "held_out": {"psnr": 20.5},
    "limits": "random weights",
    "licence": "MIT",
}


def livened(network: nn.Module, seed: int = 0) -> nn.Module:
    """A network whose random weights carry a signal to its end; fresh ones hardly change a picture."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.ndim in (2, 4):
                fan = tensor[0].numel() if ".up." not in f".{name}" else tensor[:, 0].numel() / 4
                gain = 1 if tensor.ndim == 4 else 0.5  # a code of normal numbers is larger than a picture's
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * gain * fan**-0.5)
            elif name.endswith("running_mean"):
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
            elif name.endswith(".bias"):
                tensor.copy_(0.05 * torch.randn(tensor.shape, generator=generator))
    return network.eval()


def zoo_of_restorers(folder: Path) -> Path:
    """Files named as those that ship; the second loss of each pair is other weights of the same architecture."""
    folder.mkdir(exist_ok=True)
    makers = {
        "upscale_x4": lambda: SubPixelNet(4, 8, 1),
        "upscale_x8": lambda: SubPixelNet(8, 8, 1),
        "denoise": lambda: DenoisingNet(8, 1),
        "inpaint": lambda: InpaintingNet(8, 2),
    }
    for name, make in makers.items():
        for seed, loss in enumerate(("pixel", "feature" if "upscale" in name else "combined")):
            save_network(folder / f"{name}_{loss}.safetensors", livened(make(), seed), CARD)
    return folder
