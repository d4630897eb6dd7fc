"""The networks of shift-tolerant LPIPS, on the weights that the package
``stlpips_pytorch`` carries.

The package itself is not imported: it draws random numbers while it makes a network,
and needs two other packages that it does not ask for. So nothing global has to be put
back here, and threads need not wait for one another.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .errors import package_folder

SMALLEST = {"alex": 21, "vgg": 16}  # pixels along a side, by the trunk's name
_VGG = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)


class ShiftTolerant(nn.Module):
    """A trunk that blurs before each stride, and a weight for each of its channels;
    frozen.

    Args:
        net: the trunk, ``"alex"`` or ``"vgg"``.

    Raises:
        InputError: the package is not installed.

    Source: Ghildyal and Liu (2022), Shift-tolerant Perceptual Similarity Metric.
    """

    def __init__(self, net: str) -> None:
        super().__init__()
        package = "stlpips_pytorch"
        folder = package_folder(package, "shift-tolerant distances", "metrics")
        path = folder / "weights/vST0.0" / f"{net}_shift_tolerant.pth"
        weights = torch.load(path, map_location="cpu", weights_only=True)
        with torch.device("meta"):  # nothing is drawn there
            self.net = _Trunk(_alex() if net == "alex" else _vgg())
        parts = {"net.": {}, "scaling_layer.": {}, "lin": {}}
        for key, value in weights.items():
            prefix = next(prefix for prefix in parts if key.startswith(prefix))
            parts[prefix][key.removeprefix(prefix)] = value
        self.net.load_state_dict(parts["net."], assign=True)
        for name, value in parts["scaling_layer."].items():  # shift and scale
            self.register_buffer(name, value)
        heads = parts["lin"]  # 0.model.1.weight, ...
        for number, name in enumerate(sorted(heads)):
            self.register_buffer(f"head{number}", heads[name])
        self.eval().requires_grad_(False)

    def heads(self) -> list[torch.Tensor]:
        """Each layer's weights by channel, (1, C, 1, 1), at least 0."""
        return [self.get_buffer(f"head{n}") for n in range(len(self.net.names))]

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The five layers of pictures (N, 3, H, W) in [0, 1]."""
        return self.net((2 * image - 1 - self.shift) / self.scale)

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """The distances of two pictures (N, 3, H, W) in [0, 1], (N, 1, 1, 1)."""
        total: torch.Tensor | float = 0.0
        layers = zip(self.features(one), self.features(other), strict=True)
        for pair, weight in zip(layers, self.heads(), strict=True):
            first, second = (
                feature / (feature.square().sum(1, keepdim=True).sqrt() + 1e-10)
                for feature in pair
            )
            part = F.conv2d((first - second).square(), weight)
            total = total + part.mean((2, 3), keepdim=True)
        return total


class _Trunk(nn.Module):
    """Slices one after the other; their layers are numbered through."""

    def __init__(self, slices: list[list[nn.Module]]) -> None:
        super().__init__()
        self.names, count = [], 0
        for number, layers in enumerate(slices, 1):
            part = nn.Sequential()
            for layer in layers:
                part.add_module(str(count), layer)
                count += 1
            self.add_module(f"slice{number}", part)
            self.names.append(f"slice{number}")

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for name in self.names:
            x = self.get_submodule(name)(x)
            found.append(x)
        return found


class _Blur(nn.Module):
    """Half the size, each channel blurred by [1 2 1] along both sides before."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", torch.empty(channels, 1, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.pad(x, (2, 2, 2, 2), mode="reflect")
        return F.conv2d(x, self.filt, stride=2, groups=x.shape[1])


def _conv(given: int, made: int, size: int = 3) -> list[nn.Module]:
    padding = 1 if size == 3 else 2
    return [nn.Conv2d(given, made, size, padding=padding), nn.ReLU(inplace=True)]


def _alex() -> list[list[nn.Module]]:
    first, relu = _conv(3, 64, 11)
    return [
        [first, _Blur(64), relu],
        [nn.MaxPool2d(3, 1), _Blur(64), *_conv(64, 192, 5)],
        [nn.MaxPool2d(3, 1), _Blur(192), *_conv(192, 384)],
        _conv(384, 256),
        _conv(256, 256),
    ]


def _vgg() -> list[list[nn.Module]]:
    slices, given = [], 3
    for widths in _VGG:
        layers = [nn.MaxPool2d(2, 1), _Blur(given)] if slices else []
        for made in widths:
            layers += _conv(given, made)
            given = made
        slices.append(layers)
    return slices
