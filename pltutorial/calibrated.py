"""Distances calibrated on people's answers, under others' names: LPIPS, its
shift-tolerant kind, and DISTS.

They are thin: the weights are those that the packages ``lpips``, ``stlpips_pytorch``
and ``DISTS-pytorch`` carry, on trunks of torchvision that are in your cache already.
Nothing is downloaded. Gradients flow to both pictures.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from .encoder import Encoder
from .errors import InputError, nearest, needed, package_folder
from .fixed import Fixed, autocast_off
from .images import check_form, check_values
from .losses import REDUCTIONS
from .shift_tolerant import SMALLEST as _SHIFT_TOLERANT
from .shift_tolerant import ShiftTolerant

# torchvision's name of each trunk, and the layers that are compared
_TRUNKS = {
    "alex": ("alexnet", ("1", "4", "7", "9", "11")),
    "vgg": ("vgg16", ("3", "8", "15", "22", "29")),
    "squeeze": ("squeezenet1_1", ("1", "4", "7", "9", "10", "11", "12")),
}
_SMALLEST = {"alex": 31, "vgg": 16, "squeeze": 17}
_SLICES = tuple(f"slice{number}" for number in range(1, 6))
_TINY = 1e-20  # the square of what LPIPS adds to a norm, which keeps gradients finite


class _Calibrated(nn.Module):
    """What both distances share: pictures in, a number out."""

    smallest = 1

    def __init__(self) -> None:
        super().__init__()
        self._checked = False

    def forward(
        self, output: torch.Tensor, target: torch.Tensor, *, reduction: str = "mean"
    ) -> torch.Tensor:
        """The distance of an output from its target.

        Args:
            output: (N, 3, H, W) in [0, 1].
            target: the same shape.
            reduction: ``"mean"`` or ``"sum"`` over the batch, or ``"none"`` for a value
                per picture, (N,); of LPIPS also ``"map"``, (N, 1, H, W), whose mean is
                near the value.

        Raises:
            InputError: what is given are no two pictures of the same shape, or too
                small ones; in the first call also values outside [0, 1].
        """
        for image, what in ((output, "the output"), (target, "the target")):
            check_form(image, what, smallest=self.smallest)
        if output.shape != target.shape:
            raise InputError(
                f"the output has shape {tuple(output.shape)} and the target "
                f"{tuple(target.shape)}; give two of the same shape"
            )
        if not (self._checked or torch.compiler.is_compiling()):
            self._check_values(output, target)
        values = self.distances(output, target, reduction == "map")
        if reduction in ("none", "map"):
            return values
        if reduction not in ("mean", "sum"):
            raise InputError(
                f"there is no reduction {reduction!r}; "
                f"{nearest(str(reduction), REDUCTIONS)}"
            )
        return values.mean() if reduction == "mean" else values.sum()

    def _check_values(self, output: torch.Tensor, target: torch.Tensor) -> None:
        try:
            # an untrained network's output strays
            check_values(output, "the output", slack=20)
            check_values(target, "the target")
        except RuntimeError:  # there are none: meta and fake tensors, torch.func.vmap
            return
        self._checked = True

    def distances(
        self, output: torch.Tensor, target: torch.Tensor, places: bool
    ) -> torch.Tensor:
        """(N,), or with places (N, 1, H, W)."""
        raise NotImplementedError


class LPIPS(_Calibrated):
    """Learned perceptual image patch similarity: features of a classifier, normalised
    and weighted as people answered.

    Its values are those of the package ``lpips`` (version 0.1) with
    ``normalize=True``, to 1e-5, at less cost, and with finite gradients where a feature
    vector is 0. It is fixed: nothing of it is in an optimizer or a state dict.

    Args:
        net: the trunk, ``"alex"``, ``"vgg"`` or ``"squeeze"``.
        shift_tolerant: the network of ``stlpips_pytorch`` instead, trained to stay as
            it is when a picture moves by a pixel; ``"alex"`` or ``"vgg"``. It needs no
            trunk from the cache. Its anti-aliasing layers are Adobe's, under CC
            BY-NC-SA 4.0, as a warning says: build no product on it.
        device: where to put it; the CPU if left out, until ``.to()``.

    Raises:
        InputError: an unknown trunk; a package that is not installed, or a trunk that
            is not in the cache.

    Source: Zhang et al. (2018), The Unreasonable Effectiveness of Deep Features as a
    Perceptual Metric; Ghildyal and Liu (2022), Shift-tolerant Perceptual Similarity
    Metric.

    Example:
        >>> target = torch.rand(2, 3, 48, 48)
        >>> output = (target / 2).requires_grad_()
        >>> lpips = LPIPS("vgg")  # the trunk is in the cache
        >>> lpips(output, target, reduction="none").shape
        torch.Size([2])
        >>> (pixel_loss(output, target, "l1") + 0.5 * lpips(output, target)).backward()
        >>> bool(lpips(target, target) < 1e-4)
        True
    """

    def __init__(
        self,
        net: str = "alex",
        *,
        shift_tolerant: bool = False,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        known = _SHIFT_TOLERANT if shift_tolerant else _SMALLEST
        if net not in known:
            raise InputError(
                f"there is no LPIPS on the trunk {net!r}; {nearest(str(net), known)}"
            )
        self.net, self.smallest = net, known[net]
        with torch.device("cpu"):
            if shift_tolerant:
                trunk, heads = _shift_tolerant(net)
                self.layers = _SLICES
            else:
                name, self.layers = _TRUNKS[net]
                heads = _heads_of_lpips(net)
                trunk = _trunk(name, f"LPIPS with net={net!r}")
            self.encoder = Encoder(trunk)
            self.heads = _Weights(*heads)
        self.to(device or "cpu")

    def distances(
        self, output: torch.Tensor, target: torch.Tensor, places: bool
    ) -> torch.Tensor:
        """(N,), or with places (N, 1, H, W)."""
        made, right = (self.encoder(image, self.layers) for image in (output, target))
        total: torch.Tensor | float = 0.0
        with autocast_off(output.device.type):
            for layer, weight in zip(self.layers, self.heads(), strict=True):
                difference = _unit(made[layer]) - _unit(right[layer])
                part = (difference.square() * weight).sum(1, keepdim=True)
                if places:
                    size = output.shape[-2:]
                    total = total + F.interpolate(part, size, mode="bilinear")
                else:
                    total = total + part.mean((1, 2, 3))
        return total


class DISTS(_Calibrated):
    """Deep image structure and texture similarity: means and correlations of VGG-16's
    features, weighted as people answered, blind to which sample of a texture it is.

    Its values are those of the package ``DISTS-pytorch``, to 1e-5. It is fixed: nothing
    of it is in an optimizer or a state dict.

    Args:
        device: where to put it; the CPU if left out, until ``.to()``.

    Raises:
        InputError: the package is not installed, or its trunk is not in the cache.

    Source: Ding et al. (2020), Image Quality Assessment: Unifying Structure and Texture
    Similarity.

    Example:
        >>> output, target = torch.rand(2, 3, 48, 48), torch.rand(2, 3, 48, 48)
        >>> dists = DISTS()  # the trunk is in the cache
        >>> dists(output, target, reduction="none").shape
        torch.Size([2])
        >>> bool(dists(target, target).abs() < 1e-4)
        True
    """

    smallest = 16

    def __init__(self, device: str | torch.device | None = None) -> None:
        super().__init__()
        with torch.device("cpu"):
            weights = _read(_package("DISTS_pytorch", "DISTS-pytorch") / "weights.pt")
            trunk = _trunk("vgg16", "DISTS")
            for index, layer in enumerate(trunk):
                if isinstance(layer, nn.MaxPool2d):
                    trunk[index] = _L2Pool()
            self.encoder = Encoder(trunk)
            total = weights["alpha"].sum() + weights["beta"].sum()
            self.heads = _Weights(weights["alpha"] / total, weights["beta"] / total)
        self.to(device or "cpu")

    def distances(
        self, output: torch.Tensor, target: torch.Tensor, places: bool
    ) -> torch.Tensor:
        """(N,)."""
        if places:
            raise InputError("DISTS has no map; give 'mean', 'sum' or 'none'")
        layers = _TRUNKS["vgg"][1]
        made, right = (
            [image, *self.encoder(image, layers).values()] for image in (output, target)
        )
        with autocast_off(output.device.type):
            alpha, beta = (weight[0, :, 0, 0] for weight in self.heads())
            means, structures = zip(*map(_similarities, made, right), strict=True)
            alike = torch.cat(means, 1) @ alpha + torch.cat(structures, 1) @ beta
        return 1 - alike


class _Weights(Fixed):
    """Tensors that move, and are no business of an owner."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        super().__init__()
        self.hold(**{f"weight{i}": tensor for i, tensor in enumerate(tensors)})

    def forward(self) -> list[torch.Tensor]:
        return [getattr(self, name) for name in self._held]


class _L2Pool(nn.Module):
    """Half the size, as the root of a Hann-weighted mean of squares; float16 has no
    number as small as what is added under the root.
    """

    def __init__(self) -> None:
        super().__init__()
        window = torch.hann_window(5, periodic=False)[1:-1]
        window = torch.outer(window, window)
        self.register_buffer("window", (window / window.sum())[None, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with autocast_off(x.device.type):
            squares = _exact(x).square()
            window = self.window.expand(x.shape[1], -1, -1, -1).to(squares.dtype)
            mean = F.conv2d(squares, window, stride=2, padding=1, groups=x.shape[1])
            return (mean + 1e-12).sqrt().to(x.dtype)


def _unit(feature: torch.Tensor) -> torch.Tensor:
    """Feature vectors of length 1, as LPIPS takes them."""
    feature = _exact(feature)
    length = feature.square().sum(1, keepdim=True).clamp_min(_TINY).sqrt()
    return feature / (length + math.sqrt(_TINY))


def _similarities(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Of means and of structures, (N, C) each: Ding et al. (2020), equations 4 and 5,
    with their c1 = c2 = 1e-6.
    """
    x, y = _exact(x), _exact(y)
    mean, other = x.mean((2, 3)), y.mean((2, 3))
    variances = x.var((2, 3), correction=0) + y.var((2, 3), correction=0)
    covariance = (x * y).mean((2, 3)) - mean * other
    return (
        (2 * mean * other + 1e-6) / (mean.square() + other.square() + 1e-6),
        (2 * covariance + 1e-6) / (variances + 1e-6),
    )


def _exact(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _trunk(name: str, what: str) -> nn.Sequential:
    """The features of a network of torchvision, with weights from the user's cache."""
    models = needed("torchvision.models", "LPIPS and DISTS", "metrics")
    weights = models.get_model_weights(name)["IMAGENET1K_V1"]
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not path.is_file():
        raise InputError(
            f"{what} needs torchvision's {name}, which is not at {path}; put it there "
            f"from {weights.url}"
        )
    with torch.device("meta"):
        features = models.get_model(name).features
    kept = {
        key.removeprefix("features."): value
        for key, value in _read(path).items()
        if key.startswith("features.")
    }
    try:
        features.load_state_dict(kept, assign=True)
    except RuntimeError as problem:
        raise InputError(
            f"{path} holds no {name} of torchvision; take it from {weights.url}"
        ) from problem
    return features


def _heads_of_lpips(net: str) -> list[torch.Tensor]:
    """Each layer's weights by channel."""
    weights = _read(_package("lpips") / "weights" / "v0.1" / f"{net}.pth")
    return [weights[name] for name in sorted(weights)]  # lin0.model.1.weight, ...


def _package(module: str, package: str | None = None) -> Path:
    """The folder of a package that is installed; it need not be imported."""
    return package_folder(module, "LPIPS and DISTS", "metrics", package)


def _read(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, map_location="cpu", weights_only=True)


def _shift_tolerant(net: str) -> tuple[nn.Module, list[torch.Tensor]]:
    """The trunk, and each layer's weights by channel; its licence is said each time."""
    made = ShiftTolerant(net)
    warnings.warn(
        "shift-tolerant LPIPS holds Adobe's anti-aliasing layers, whose licence is "
        "CC BY-NC-SA 4.0: for research and teaching, not for products",
        stacklevel=3,
    )
    return made.net, made.heads()
