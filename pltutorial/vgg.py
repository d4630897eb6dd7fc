"""The loss network: VGG-16 cut at named layers, and where its weights come from."""

from __future__ import annotations

import errno
import hashlib
import pickle
import urllib.error
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F

from .device import best_device, best_precision, compiled_or_eager
from .encoder import Encoder as Encoder  # an older place of it
from .errors import InputError, nearest, needed
from .files import no_file
from .fixed import Fixed, autocast_dtype, autocast_off
from .images import check_form

# Configuration D of Simonyan and Zisserman (2014), table 1: five blocks
# of 3x3 convolutions.
_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_NAMES = [
    f"{block}_{index}"
    for block, (_, count) in enumerate(_BLOCKS, 1)
    for index in range(1, count + 1)
]
_CHANNELS = [channels for channels, count in _BLOCKS for _ in range(count)]
# torchvision's `features.N`
_KEYS = ("0", "2", "5", "7", "10", "12", "14", "17", "19", "21", "24", "26", "28")

RELU_LAYERS = tuple(f"relu{name}" for name in _NAMES)
"""The 13 layer names after the activation, ``relu1_1`` to ``relu5_3``.

Example:
    >>> len(RELU_LAYERS), RELU_LAYERS[:2]
    (13, ('relu1_1', 'relu1_2'))
    >>> LossNetwork()(torch.rand(1, 3, 32, 32), RELU_LAYERS)["relu5_3"].shape
    torch.Size([1, 512, 2, 2])

Taught in chapter 2.
"""
CONV_LAYERS = tuple(f"conv{name}" for name in _NAMES)
"""The 13 layer names before the activation, ``conv1_1`` to ``conv5_3``.

Example:
    >>> len(CONV_LAYERS), CONV_LAYERS[:2]
    (13, ('conv1_1', 'conv1_2'))
    >>> features = LossNetwork()(torch.rand(1, 3, 32, 32), ["conv1_1", "relu1_1"])
    >>> torch.equal(features["conv1_1"].relu(), features["relu1_1"])
    True

Taught in chapter 2.
"""

EMBEDDED = Path(__file__).parent / "assets" / "vgg16_features_fp16.safetensors"
EMBEDDED_SHA256 = "3d39eee2403da518391aba7ed3a5e9a008cefabfda356e02374b607f148df137"
# The released network takes RGB 0-255 minus this mean, undivided
# (assets/PROVENANCE.md); here on the [0, 1] scale.
_RELEASED_MEAN = tuple(value / 255 for value in (123.68, 116.779, 103.939))
_RELEASED_STD = (1 / 255,) * 3


class LossNetwork(Fixed):
    """The fixed network phi whose features are compared: the 13 convolutions of VGG-16.

    It is frozen, and an owner does not see its weights: no optimizer finds them, no
    checkpoint stores them, no wrapper for many processes sends them round, and they
    never get gradients. Gradients do flow to the image.

    Args:
        weights: ``"embedded"``, the released network, in the package as half precision
            (the default); ``"torchvision"`` or ``"IMAGENET1K_FEATURES"``, torchvision's
            port of the same release, and ``"IMAGENET1K_V1"``, torchvision's own
            training with another scale, both downloaded by torchvision and fed with its
            own normalisation; or the path of a ``.safetensors`` or ``.pth`` file with
            torchvision's names and the released network's normalisation.
        pooling: ``"max"`` as released, or ``"average"``, which Gatys et al.
            (2016, section 2) found smoother.
        precision: ``"auto"`` computes in bfloat16 where the processor really has it
            and in float32 elsewhere; ``"float32"`` or ``"bfloat16"`` decide. Inside a
            caller's ``torch.autocast`` the caller decides. A float64 image is
            computed in float64. It is decided here and in every move.
        device: where to put the weights; None takes the best there is.
        compile: compile the network with ``torch.compile``; without a C++ compiler
            a warning says so.

    Raises:
        InputError: unknown weights, pooling or precision; weights with a wrong hash or
            wrong contents; a download that fails.

    Source: Simonyan and Zisserman (2014), table 1, configuration D; Johnson et al.
    (2016), section 3.2.

    Example:
        >>> network = LossNetwork(device="cpu")
        >>> features = network(torch.rand(1, 3, 64, 96), ["relu1_2", "relu3_3"])
        >>> {layer: tuple(feature.shape) for layer, feature in features.items()}
        {'relu1_2': (1, 64, 64, 96), 'relu3_3': (1, 256, 16, 24)}
        >>> list(network.parameters())  # it is frozen
        []

    Taught in chapter 2.
    """

    layer_names = RELU_LAYERS + CONV_LAYERS
    _forgotten = ("_elsewhere", "_lowered")

    def __init__(
        self,
        weights: str | Path = "embedded",
        *,
        pooling: str = "max",
        precision: str = "auto",
        device: str | torch.device | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        device = best_device(device)
        # an unknown name is refused here, not in the first step
        best_precision(device, precision)
        if pooling not in ("max", "average"):
            raise InputError(
                f"pooling {pooling!r} is unknown; "
                f"{nearest(pooling, ('max', 'average'))}"
            )
        self.pooling, self.precision = pooling, precision
        # under torch.device("meta") too it has its weights: no checkpoint has them
        with torch.device("cpu"):
            tensors, mean, std = load_weights(weights)
            self.hold(
                mean=torch.tensor(mean).view(1, 3, 1, 1),
                scale=1 / torch.tensor(std).view(1, 3, 1, 1),
            )
        for name, (weight, bias) in zip(_NAMES, tensors, strict=True):
            weight = weight.float().contiguous(memory_format=torch.channels_last)
            self.hold(**{f"weight{name}": weight, f"bias{name}": bias.float()})
        self.source = Path(weights).name
        self.to(device).eval()
        self._compile = compile
        self._features = compiled_or_eager(self._run, device) if compile else self._run

    def extra_repr(self) -> str:
        """Its weights, pooling, and the precision that was decided."""
        dtype = str(self._dtype).removeprefix("torch.")
        return f"{self.source!r}, pooling={self.pooling!r}, precision={dtype!r}"

    def forward(
        self, image: torch.Tensor, layers: Iterable[str]
    ) -> dict[str, torch.Tensor]:
        """Features of an image at the named layers; no layer beyond the
        deepest one is run.

        Args:
            image: (N, 3, H, W), RGB, in [0, 1]. Values are not checked here, the
                hot path; see :class:`pltutorial.perceptual.PerceptualLoss`, which
                checks its first call.
            layers: names out of :data:`RELU_LAYERS` and :data:`CONV_LAYERS`.

        Returns:
            ``{name: (N, C, H', W')}`` in the order asked for, in the
            precision computed in.

        Raises:
            InputError: an unknown layer (with the nearest name), an image on another
                device or smaller than the deepest layer needs.
        """
        layers = tuple(layers)
        check_form(image, "the picture")
        self.check_layers(layers, image.shape[-2:])
        here = self._beside(image, self.mean.device, "loss network")
        dtype = here._precision_of(image)
        features = here._features(image, here._weights(dtype), dtype, frozenset(layers))
        return {layer: features[layer] for layer in layers}

    def check_layers(
        self, layers: Iterable[str], size: tuple[int, int] | None = None
    ) -> None:
        """Refuse unknown layers, and a (height, width) too small for
        the deepest of them.
        """
        for layer in layers:
            if layer not in self.layer_names:
                raise InputError(
                    f"there is no layer {layer!r}; "
                    f"{nearest(layer, RELU_LAYERS + CONV_LAYERS)}"
                )
            if size is not None and min(size) < smallest_size(layer):
                raise InputError(
                    f"the picture has {size[1]}x{size[0]} pixels, but {layer} needs "
                    f"at least {smallest_size(layer)} along each side; use a larger "
                    "picture or a shallower layer"
                )

    def _precision_of(self, image: torch.Tensor) -> torch.dtype:
        asked = autocast_dtype(image.device.type)
        if asked is not None:
            return asked
        return torch.float64 if image.dtype == torch.float64 else self._dtype

    def _weights(self, dtype: torch.dtype) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """All weights in one precision; lowered once, not in every step as autocast
        would for frozen weights.
        """
        if dtype == self._dtype:
            return self._ready
        if torch.compiler.is_compiling():  # what a graph keeps is the compiler's affair
            return self._lowered_to(dtype)
        if dtype not in self._lowered:
            self._lowered[dtype] = self._lowered_to(dtype)
        return self._lowered[dtype]

    def _lowered_to(
        self, dtype: torch.dtype
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        with torch.inference_mode(False):  # they serve passes with gradients too
            return [
                (
                    getattr(self, f"weight{name}").to(dtype),
                    getattr(self, f"bias{name}").to(dtype),
                )
                for name in _NAMES
            ]

    def _prepare(self) -> None:
        super()._prepare()  # lowered copies are stale after a move
        self._dtype = best_precision(self.mean.device, self.precision)
        self._ready = self._lowered_to(self._dtype)

    def __getstate__(self) -> dict:
        return super().__getstate__() | {"_ready": [], "_features": None}

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._ready = self._lowered_to(self._dtype)
        self._features = self._run
        if self._compile:
            self._features = compiled_or_eager(self._run, self.mean.device)

    def _run(
        self, image: torch.Tensor, weights, dtype: torch.dtype, wanted: frozenset[str]
    ) -> dict[str, torch.Tensor]:
        with autocast_off(image.device.type):
            exact = torch.promote_types(image.dtype, torch.float32)
            x = (image.to(exact) - self.mean.to(exact)) * self.scale.to(exact)
            head = _headroom(x, dtype)
            if head is not None:
                x = x * head
            x = x.to(dtype)  # the weights make it channels-last
            features: dict[str, torch.Tensor] = {}
            for name, (weight, bias) in zip(_NAMES, weights, strict=True):
                if name.endswith("_1") and name != "1_1":
                    x = (
                        F.max_pool2d(x, 2)
                        if self.pooling == "max"
                        else F.avg_pool2d(x, 2)
                    )
                bias = bias if head is None else bias * head
                x = F.conv2d(x, weight, bias, padding=1)
                if f"conv{name}" in wanted:
                    features[f"conv{name}"] = _full(x, head)
                    x = F.relu(x)  # not in place: the tap must stay what it is called
                else:
                    x = F.relu_(x)
                if f"relu{name}" in wanted:
                    features[f"relu{name}"] = _full(x, head)
                if len(features) == len(wanted):
                    return features
        raise AssertionError("check_layers has let an unknown layer through")


def _headroom(image: torch.Tensor, dtype: torch.dtype) -> torch.Tensor | None:
    """By what features are made smaller while they are computed: float16 ends at
    65,504, which pictures far beyond [0, 1], as of networks still untrained, get past.
    By 1 for all others, so that their features and gradients are what they were.
    """
    if dtype != torch.float16:
        return None
    beyond = image.detach().abs().amax() > 2 * 255
    return torch.where(beyond, 1 / 16, 1.0).to(dtype)


def _full(feature: torch.Tensor, head: torch.Tensor | None) -> torch.Tensor:
    """A feature at its own size; what float16 cannot hold is the most that it can."""
    if head is None:
        return feature
    most = torch.finfo(feature.dtype).max * head
    return feature.clamp(-most, most) / head


def smallest_size(layer: str) -> int:
    """The least height and width in pixels at which a VGG layer has
    any position left.
    """
    return 2 ** (int(layer[4]) - 1)


def load_weights(
    weights: str | Path,
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], tuple, tuple]:
    """The 13 pairs (weight, bias) with the mean and the standard deviation they
    expect; see LossNetwork.
    """
    mean, std = _RELEASED_MEAN, _RELEASED_STD
    if weights == "embedded":
        tensors = _read_file(EMBEDDED, EMBEDDED_SHA256)
    elif weights in ("torchvision", "IMAGENET1K_FEATURES", "IMAGENET1K_V1"):
        tensors, mean, std = _from_torchvision(
            "IMAGENET1K_FEATURES" if weights == "torchvision" else str(weights)
        )
    elif Path(weights).suffix in (".safetensors", ".pth", ".pt"):
        tensors = _read_file(Path(weights))
    else:
        known = ("embedded", "torchvision", "IMAGENET1K_FEATURES", "IMAGENET1K_V1")
        raise InputError(
            f"weights {str(weights)!r} are unknown; {nearest(str(weights), known)}, "
            "or give the path of a .safetensors or .pth file"
        )
    channels = [3, *_CHANNELS]
    pairs = []
    for index, key in enumerate(_KEYS):
        pair = (
            tensors.get(f"features.{key}.weight"),
            tensors.get(f"features.{key}.bias"),
        )
        if not all(isinstance(tensor, torch.Tensor) for tensor in pair):
            pair = None, None
        shape = (channels[index + 1], channels[index], 3, 3)
        if (
            pair[0] is None
            or pair[1] is None
            or (pair[0].shape, pair[1].shape) != (shape, shape[:1])
        ):
            raise InputError(
                f"the weights {str(weights)!r} hold no VGG-16: features.{key} is "
                f"missing or not {shape}; give a state dict with torchvision's names"
            )
        pairs.append(pair)
    return pairs, mean, std


def _read_file(path: Path, sha256: str | None = None) -> dict[str, torch.Tensor]:
    if fault := no_file(path):
        raise InputError(
            f"the weights file {str(path)!r} {fault}; install the package "
            "again or correct the path"
        )
    if sha256 is not None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            raise InputError(
                f"the weights file {str(path)!r} has sha256 {digest[:12]}... "
                f"instead of {sha256[:12]}...; it is damaged or another file, so "
                "install the package again"
            )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(tensors, dict):
            raise TypeError(f"it holds a {type(tensors).__name__}")
        return tensors
    except Exception as problem:  # safetensors and pickle raise many kinds
        # torch's own message invites to run the code in the file
        reason = "it holds more than tensors, or is no file of PyTorch's"
        if not isinstance(problem, pickle.UnpicklingError):
            reason = (
                (str(problem).splitlines() or [type(problem).__name__])[0]
                .split(". ")[0]
                .rstrip(".")
            )
        raise InputError(
            f"the weights file {str(path)!r} cannot be read ({reason}); "
            "give a safetensors file, or a .pth that holds a state dict"
        ) from problem


def _from_torchvision(name: str) -> tuple[dict[str, torch.Tensor], tuple, tuple]:
    models = needed("torchvision.models", f"the weights {name}", "train")
    choice = models.VGG16_Weights[name]
    preset = choice.transforms()
    where = "use weights='embedded', which needs no download"
    try:
        return (
            choice.get_state_dict(progress=False, check_hash=True),
            tuple(preset.mean),
            tuple(preset.std),
        )
    except urllib.error.URLError as problem:
        raise InputError(
            f"the weights {name} could not be downloaded ({problem.reason}); "
            f"connect, or {where}"
        ) from problem
    except OSError as problem:
        hint = "free space" if problem.errno == errno.ENOSPC else "look at TORCH_HOME"
        raise InputError(
            f"the weights {name} could not be stored "
            f"({problem.strerror or problem}); {hint}, or {where}"
        ) from problem
    except RuntimeError as problem:
        raise InputError(
            f"the weights {name} arrived damaged ({problem}); try again, or {where}"
        ) from problem
