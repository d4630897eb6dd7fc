"""The other side of the comparisons: feed-forward style transfer as most programs write
it, torch.nn layers in float32.

Reflection padding before every convolution, nn.InstanceNorm2d, nearest-neighbour
upsampling, and in each training step VGG-16 to relu4_3 for the output and for the
picture, mean squared differences of Gram matrices by bmm.
"""

from __future__ import annotations

import torch
from torch import nn

from pltutorial import LossNetwork
from pltutorial.networks import TransformNet

STYLE = ("1_2", "2_2", "3_3", "4_3")


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel, stride)
    )


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(),
            conv(channels, channels, 3),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class PlainTransformNet(nn.Sequential):
    """32-64-128 channels, 5 residual blocks; like the widely used example without a
    tanh, so the output is any number.
    """

    def __init__(self, width: int = 32, blocks: int = 5) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, stride in (
            (3, width, 9, 1),
            (width, 2 * width, 3, 2),
            (2 * width, 4 * width, 3, 2),
        ):
            layers += [
                conv(inputs, outputs, kernel, stride),
                nn.InstanceNorm2d(outputs, affine=True),
                nn.ReLU(),
            ]
        layers += [Residual(4 * width) for _ in range(blocks)]
        for inputs, outputs in ((4 * width, 2 * width), (2 * width, width)):
            layers += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                conv(inputs, outputs, 3),
            ]
            layers += [nn.InstanceNorm2d(outputs, affine=True), nn.ReLU()]
        super().__init__(*layers, conv(width, 3, 9))

    @classmethod
    def like(cls, network: TransformNet) -> PlainTransformNet:
        """With the weights of one of ours: the parameters come in the same order."""
        plain = cls(network.config["width"], network.config["blocks"])
        pairs = zip(plain.parameters(), network.parameters(), strict=True)
        with torch.no_grad():
            for mine, theirs in pairs:
                mine.copy_(theirs)
        return plain.to(next(network.parameters()).device).to(
            memory_format=torch.contiguous_format
        )

    def picture(self, image: torch.Tensor) -> torch.Tensor:
        """What :class:`TransformNet` gives: the same layers between its
        scaling and its tanh.
        """
        return (self(2 * image - 1).tanh() + 1) / 2


def vgg(network: LossNetwork) -> nn.Sequential:
    """VGG-16 to relu4_3 of plain torch.nn layers, with the weights of ours, frozen."""
    layers = nn.Sequential()
    for name in (name.removeprefix("relu") for name in network.layer_names[:10]):
        if name.endswith("_1") and name != "1_1":
            layers.add_module(f"pool{name[0]}", nn.MaxPool2d(2))
        weight, bias = (
            getattr(network, f"weight{name}"),
            getattr(network, f"bias{name}"),
        )
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
        layer.load_state_dict({"weight": weight.contiguous(), "bias": bias})
        layers.add_module(f"conv{name}", layer.to(weight.device).requires_grad_(False))
        layers.add_module(f"relu{name}", nn.ReLU())
    return layers


def features_of(layers: nn.Sequential, x: torch.Tensor) -> dict[str, torch.Tensor]:
    found = {}
    for name, layer in layers.named_children():
        x = layer(x)
        if name.removeprefix("relu") in STYLE:
            found[name.removeprefix("relu")] = x
    return found


def gram(feature: torch.Tensor) -> torch.Tensor:
    flat = feature.flatten(2)
    return flat.bmm(flat.transpose(1, 2)) / feature[0].numel()


class PlainTraining:
    """The training step: content relu2_2, style relu1_2 to relu4_3, Adam 1e-3; two
    losses read out at every step.
    """

    def __init__(
        self,
        network: TransformNet,
        loss_network: LossNetwork,
        style: torch.Tensor,
        batch: int,
    ) -> None:
        self.network = PlainTransformNet.like(network).train()
        self.vgg, self.mean, self.scale = (
            vgg(loss_network),
            loss_network.mean,
            loss_network.scale,
        )
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-3)
        features = features_of(self.vgg, self._normalised(style.repeat(batch, 1, 1, 1)))
        self.grams = {name: gram(feature) for name, feature in features.items()}

    def _normalised(self, image: torch.Tensor) -> torch.Tensor:
        return (image - self.mean) * self.scale

    def step(self, images: torch.Tensor) -> tuple[float, float]:
        self.optimizer.zero_grad()
        output = self.network.picture(images)
        ours = features_of(self.vgg, self._normalised(output))
        theirs = features_of(self.vgg, self._normalised(images))
        content = nn.functional.mse_loss(ours["2_2"], theirs["2_2"])
        style = sum(
            nn.functional.mse_loss(gram(ours[name]), self.grams[name]) for name in STYLE
        )
        (content + 1e-2 * style).backward()
        self.optimizer.step()
        return content.item(), float(style.detach())
