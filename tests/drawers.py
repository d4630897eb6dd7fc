"""Networks of learned likeness with random weights, and a zoo of them, for the tests that only look at how they are used."""

from __future__ import annotations

from pathlib import Path

import torch
from restorers import CARD, livened

from pltutorial.networks import save_network
from pltutorial.networks.generators import VAE, ColorizationNet, ConvAutoencoder, Discriminator, InversionNet
from pltutorial.zoo import INVERTED, INVERTER_LOSSES, VAE_LOSSES


def inverter(layer: str, seed: int = 0) -> InversionNet:
    """Random weights that look at the code, which is in the hundreds."""
    network = livened(InversionNet(layer, 4, 1), seed)
    with torch.no_grad():
        network.scale.fill_(100.0)
    return network


def vae(seed: int = 0) -> VAE:
    """Random weights whose samples differ from one another."""
    network = livened(VAE(4, 6, size=16), seed)
    with torch.no_grad():
        network.first.weight.normal_(generator=torch.Generator().manual_seed(seed))
    return network


def autoencoder() -> ConvAutoencoder:
    return livened(ConvAutoencoder(4, 4, 1), 7)


def colorizer() -> ColorizationNet:
    return livened(ColorizationNet(4, 1), 8)


def zoo_of_drawers(folder: Path) -> Path:
    """Files named as those that ship."""
    folder.mkdir(exist_ok=True)
    makers = {
        f"invert_{layer}_{loss}": (inverter, layer, seed)
        for layer in INVERTED
        for seed, loss in enumerate(INVERTER_LOSSES)
    }
    makers |= {f"vae_{loss}": (vae, seed) for seed, loss in enumerate(VAE_LOSSES)}
    makers["vae_gan_discriminator"] = (Discriminator, 0, 4)
    for name, (make, *how) in makers.items():
        save_network(folder / f"{name}.safetensors", make(*how), CARD)
    return folder
