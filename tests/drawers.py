"""Networks of learned likeness with random weights, and a zoo of them, for the tests that only look at how they are used."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from restorers import CARD, livened, zoo_of_restorers

from pltutorial import LossNetwork, zoo
from pltutorial.networks import save_network
from pltutorial.networks.generators import VAE, ColorizationNet, ConvAutoencoder, Discriminator, InversionNet
from pltutorial.networks.residual import SubPixelNet
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


# --- what the tests of the tasks' commands share -----------------------------------


@pytest.fixture(scope="session")
def random_zoo(tmp_path_factory):
    """Random weights in place of what ships: folders by their names in the zoo."""
    folder = tmp_path_factory.mktemp("zoo")
    restorers = zoo_of_restorers(folder / "restoration")
    return {"RESTORERS": restorers, "LIKENESS": zoo_of_drawers(folder / "likeness")}


@pytest.fixture
def task_command(command, monkeypatch, random_zoo):
    """The command of all tests, with random weights in place of what ships."""
    for name, folder in random_zoo.items():
        monkeypatch.setattr(zoo, name, folder)
    return command


@pytest.fixture(scope="session")
def own_networks(tmp_path_factory):
    """A network for each of some commands, and a discriminator, which is for none."""
    made = {
        "upscale": livened(SubPixelNet(2, 4, 1), 3),
        "invert": inverter("relu3_3"),
        "sample": vae(),
        "colorize": colorizer(),
        "discriminator": Discriminator(0, 4),
    }
    folder = tmp_path_factory.mktemp("own")
    return {
        name: save_network(folder / f"for_{name}.safetensors", network, CARD)
        for name, network in made.items()
    }


@pytest.fixture(scope="session")
def encoder():
    """The loss network as the commands load it on their best device."""
    return LossNetwork(precision="float32")


@pytest.fixture
def mask(tmp_path):
    """A mask for the photo, 48x40, with a hole of 12x8."""
    values = numpy.zeros((40, 48), numpy.uint8)
    values[10:18, 20:32] = 255
    path = tmp_path / "mask.png"
    Image.fromarray(values).save(path)
    return path
