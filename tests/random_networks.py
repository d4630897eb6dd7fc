"""Networks of random weights, zoos of them, and what the tests of the commands
that use them share.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from pltutorial import LossNetwork, calibrated, zoo
from pltutorial.networks import (
    VAE,
    ColorizationNet,
    ConvAutoencoder,
    Discriminator,
    InversionNet,
    save_network,
)
from pltutorial.networks.gated import GatedInpaintingNet
from pltutorial.networks.residual import DenoisingNet, InpaintingNet, SubPixelNet
from pltutorial.tasks.deblur import deblurring_net
from pltutorial.zoo import FULL_INVERTERS, INVERTED, INVERTER_LOSSES, VAE_LOSSES


def write_trunks(cache: Path) -> torch.Generator:
    """A random AlexNet and VGG-16, as torch.hub keeps torchvision's in this folder;
    what drew them.
    """
    folder = cache / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(0)
    for name in ("alexnet", "vgg16"):
        with torch.device("meta"):
            shapes = torchvision.models.get_model(name).features.state_dict()
        tensors = {
            f"features.{key}": torch.randn(value.shape, generator=draw)
            / max(1, value[0].numel()) ** 0.5
            for key, value in shapes.items()
        }
        weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
        torch.save(tensors, folder / weights.url.rpartition("/")[2])
    return draw


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    """A random AlexNet and VGG-16 in a cache, and the packages' weights beside it."""
    cache, patch = tmp_path_factory.mktemp("torch"), pytest.MonkeyPatch()
    patch.setenv("TORCH_HOME", str(cache))
    draw = write_trunks(cache)
    packages = tmp_path_factory.mktemp("packages")
    (packages / "weights/v0.1").mkdir(parents=True)
    heads = OrderedDict(
        (f"lin{i}.model.1.weight", torch.rand(1, channels, 1, 1, generator=draw))
        for i, channels in enumerate((64, 192, 384, 256, 256))
    )
    torch.save(heads, packages / "weights/v0.1/alex.pth")
    parts = {
        name: torch.rand(1, 1475, 1, 1, generator=draw) for name in ("alpha", "beta")
    }
    torch.save(parts, packages / "weights.pt")
    patch.setattr(calibrated, "_package", lambda *_: packages)
    yield
    patch.undo()


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
    """A network whose random weights carry a signal to its end; fresh ones
    hardly change a picture.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.ndim in (2, 4):
                fan = (
                    tensor[0].numel()
                    if ".up." not in f".{name}"
                    else tensor[:, 0].numel() / 4
                )
                # a code of normal numbers is larger than a picture's
                gain = 1 if tensor.ndim == 4 else 0.5
                tensor.copy_(
                    torch.randn(tensor.shape, generator=generator) * gain * fan**-0.5
                )
            elif name.endswith("running_mean"):
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
            elif name.endswith(".bias"):
                tensor.copy_(0.05 * torch.randn(tensor.shape, generator=generator))
    return network.eval()


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


def zoo_of_restorers(folder: Path) -> Path:
    """Files named as those that ship; the two losses of a task are other weights."""
    makers = {
        "upscale_x4": lambda: SubPixelNet(4, 8, 1),
        "upscale_x8": lambda: SubPixelNet(8, 8, 1),
        "denoise": lambda: DenoisingNet(8, 1),
        "inpaint": lambda: InpaintingNet(8, 2),
    }
    named = {}
    for name, make in makers.items():
        likeness = "feature" if "upscale" in name else "combined"
        for seed, loss in enumerate(("pixel", likeness)):
            named[f"{name}_{loss}"] = lambda make=make, seed=seed: livened(make(), seed)
    named["upscale_x4_adversarial"] = lambda: livened(SubPixelNet(4, 8, 1), 2)
    named["denoise_camera"] = lambda: livened(DenoisingNet(8, 1), 2)
    named["inpaint_adversarial"] = lambda: livened(GatedInpaintingNet(8, 2), 2)
    named["deblur_combined"] = lambda: livened(deblurring_net(8, 1), 1)
    return _saved(folder, named)


def zoo_of_drawers(folder: Path) -> Path:
    """Files named as those that ship."""
    makers = {
        f"invert_{layer}_{loss}": lambda layer=layer, seed=seed: inverter(layer, seed)
        for layer in INVERTED
        for seed, loss in enumerate(INVERTER_LOSSES)
    }
    for layer in FULL_INVERTERS:
        makers[f"invert_{layer}_full"] = lambda layer=layer: inverter(layer, 5)
    for seed, loss in enumerate(VAE_LOSSES):
        makers[f"vae_{loss}"] = lambda seed=seed: vae(seed)
    makers["colorize_classes"] = lambda: livened(ColorizationNet(4, 1, classes=3), 9)
    makers["vae_gan_discriminator"] = lambda: Discriminator(0, 4)
    return _saved(folder, makers)


def _saved(folder: Path, makers: Mapping[str, Callable[[], nn.Module]]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, make in makers.items():
        save_network(folder / f"{name}.safetensors", make(), CARD)
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
