"""Encoder: any network cut at named layers, in the place of VGG-16."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .errors import InputError, nearest
from .fixed import Fixed, autocast_dtype
from .images import check_form

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_COARSE = 7  # a first convolution of such strides makes patches, a finer one a stem


class Encoder(Fixed):
    """Any network with named layers, with its own normalisation, in the place of
    :class:`LossNetwork`: of torchvision, timm, CLIP, DINO, or your own.

    Its weights are what you give: nothing is downloaded. An owner does not see them, as
    with LossNetwork, and no layer beyond the deepest one is run. It computes in the
    precision of its weights, or what a caller's ``torch.autocast`` says.

    Args:
        module: a network that takes (N, 3, H, W); it is frozen and put in eval mode, in
            place, and its in-place activations are switched off. Or a method of one,
            such as ``model.forward_features``; or any function of the normalised image
            that gives features as a dict by layer, a list (layers ``"0"``, ``"1"``,
            ...) or a tensor (``"output"``): what networks a function holds is not
            moved by ``.to()``. Or, as of a :class:`Discriminator`, its ``features``,
            called with the image in [0, 1] and the layers.
        mean: per channel, subtracted from the image in [0, 1]; None for what the
            network says of itself (timm, open_clip), else ImageNet's.
        std: per channel, divided by after that; None as for the mean.
        size: (height, width), or one number for both, that pictures are resized to
            before; None for the only size that the network takes, where it says so
            (timm without ``dynamic_img_size``, torchvision, CLIP), else their own.
        patch: pixels along a side of a token; None to find it in the network. Pictures
            are enlarged to the next multiple of it.

    A layer's name is its module's, such as ``"layer3.0"`` of a ResNet, ``"blocks.11"``
    of a vision transformer or ``"stages.2"`` of timm's ConvNeXt: the module's output,
    or the first one of several. ``"relu_1"`` is the second call of ``"relu"``,
    ``"output"`` what the network itself gives. Torchvision's
    ``get_graph_node_names`` names of operations between modules, such as
    ``"layer3.0.add"``, are known too where it can trace the network. Tokens (N, T, C)
    become maps (N, C, h, w) without the class token and registers; maps (N, h, w, C)
    are turned, and vectors (N, C) get a height and a width of 1.

    Raises:
        InputError: an unknown layer (with the nearest name), an image on another
            device.

    Example:
        >>> from torchvision.models import resnet18
        >>> encoder = Encoder(resnet18())
        >>> features = encoder(torch.rand(1, 3, 64, 64), ["relu", "layer3.1.relu_1"])
        >>> {layer: tuple(feature.shape) for layer, feature in features.items()}
        {'relu': (1, 64, 32, 32), 'layer3.1.relu_1': (1, 256, 4, 4)}

    Taught in chapter 2.
    """

    _forgotten = ("_elsewhere", "_extractors")

    def __init__(
        self,
        module: nn.Module | Callable,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        *,
        size: int | tuple[int, int] | None = None,
        patch: int | None = None,
    ) -> None:
        super().__init__()
        whose = getattr(module, "__self__", module)
        self.layer_names: tuple[str, ...] = ()
        self.module = None
        self._by_layers = hasattr(whose, "check_layers")  # it takes the layers itself
        device, call = torch.device("cpu"), module
        if isinstance(whose, nn.Module):
            call = "__call__" if whose is module else module.__name__
            device = next((t.device for t in _tensors(whose)), device)
            self.hold(module=whose)
            self._tap()
        self._call = call
        said = ((0.0,) * 3, (1.0,) * 3) if self._by_layers else _normalisation(whose)
        for name, values in {"mean": mean or said[0], "std": std or said[1]}.items():
            value = torch.tensor(values, dtype=torch.float32, device=device)
            self.hold(**{name: value.view(1, 3, 1, 1)})
        self.patch = patch or _patch_of(whose)
        size = size or _only_size(whose)
        self.size = (size, size) if isinstance(size, int) else size and tuple(size)
        self._prepare()

    def _tap(self) -> None:
        """Hooks on all modules: within a compiled graph none can be added."""
        if self._by_layers:
            self.layer_names = tuple(self.module.layer_names)
            return
        self._runs = _Runs()
        children = {name: m for name, m in self.module.named_modules() if name}
        for child in children.values():
            if hasattr(child, "inplace"):
                # an in-place activation would overwrite the tap before it
                child.inplace = False
        handles = [
            child.register_forward_hook(_Hook(self._runs, name))
            for name, child in children.items()
        ]
        # the network is the user's: what is left of its encoder is no hook
        weakref.finalize(self, lambda: [handle.remove() for handle in handles])
        self.layer_names = (*children, "output")

    def _prepare(self) -> None:
        super()._prepare()
        tensors = () if self.module is None else _tensors(self.module)
        self._dtype = next((t.dtype for t in tensors if t.is_floating_point()), None)

    def extra_repr(self) -> str:
        """The network, its normalisation and what pictures are made to fit."""
        kind = type(self._call if self.module is None else self.module).__name__
        mean, std = (
            tuple(round(value, 4) for value in tensor.flatten().tolist())
            for tensor in (self.mean, self.std)
        )
        fits = f", size={self.size}" if self.size else ""
        fits += f", patch={self.patch}" if self.patch else ""
        return f"{kind}, {len(self.layer_names)} layers, {mean=}, {std=}{fits}"

    def check_layers(
        self, layers: Iterable[str], size: tuple[int, int] | None = None
    ) -> None:
        """Refuse unknown layers, as far as they are known before a pass."""
        if self._by_layers:
            whose = self._call if self.module is None else self.module
            getattr(whose, "__self__", whose).check_layers(layers)
            return
        for layer in layers:
            if self.module is not None and layer not in self.layer_names:
                self._check_traced(layer)

    def _check_traced(self, layer: str) -> None:
        """Of calls after the first, and of what lies between modules."""
        if torch.compiler.is_compiling():
            return
        traced = self._traced_names()
        module, _, call = layer.rpartition("_")
        may_be = not traced and module in self.layer_names and call.isdigit()
        if layer not in traced and not may_be:
            raise _unknown(layer, (*self.layer_names, *traced))

    def _traced_names(self) -> tuple[str, ...]:
        if "names" not in self._extractors:
            try:
                from torchvision.models.feature_extraction import get_graph_node_names

                names = tuple(get_graph_node_names(self.module)[1])
            except Exception:  # of any kind where a network's path depends on values
                names = ()
            self._extractors["names"] = names
        return self._extractors["names"]

    def forward(
        self, image: torch.Tensor, layers: Iterable[str]
    ) -> dict[str, torch.Tensor]:
        """Features at the named layers, as :meth:`LossNetwork.forward` gives them."""
        layers = tuple(layers)
        self.check_layers(layers)
        check_form(image, "the picture")
        here = self
        if self.module is not None:
            here = self._beside(image, self.mean.device, "encoder")
        return here._features(image, layers)

    def _features(
        self, image: torch.Tensor, layers: tuple[str, ...]
    ) -> dict[str, torch.Tensor]:
        exact = torch.promote_types(image.dtype, torch.float32)
        x = self._fitted(image.to(exact))
        mean, std = (tensor.to(x.device, exact) for tensor in (self.mean, self.std))
        x = (x - mean) / std
        if self._dtype is not None and autocast_dtype(x.device.type) is None:
            x = x.to(self._dtype)
        found = self._found(x, layers) if layers else {}
        for layer in layers:
            if layer not in found:
                raise _unknown(layer, (*self.layer_names, *found))
        return {layer: self._map(found[layer], x) for layer in layers}

    def _fitted(self, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        size = self.size
        if size is None and self.patch is not None and self.patch > _COARSE:
            size = tuple(
                -(-side // self.patch) * self.patch for side in image.shape[-2:]
            )
        if size is None or size == (height, width):
            return image
        return F.interpolate(image, size, mode="bilinear", antialias=True)

    def _found(self, x: torch.Tensor, layers: tuple[str, ...]) -> dict[str, Any]:
        """What the network gave at the layers; it stops after the last one."""
        call = self._call
        if isinstance(call, str):  # of its network
            call = getattr(self.module, call)
        if self._by_layers:
            return call(x, layers)
        if self.module is None:
            return _by_name(call(x))
        if not all(map(self._is_module, layers)):
            return self._extractor(layers)(x)
        run = self._runs.start(layers)
        try:
            run.found["output"] = call(x)
        except _Complete:
            pass
        finally:
            self._runs.end()
        return run.found

    def _is_module(self, layer: str) -> bool:
        """Whether a hook finds it, in a module's first or a later call."""
        module, _, call = layer.rpartition("_")
        return layer in self.layer_names or (
            module in self.layer_names and call.isdigit()
        )

    def _extractor(self, layers: tuple[str, ...]) -> nn.Module:
        if layers not in self._extractors:
            from torchvision.models.feature_extraction import create_feature_extractor

            self._extractors[layers] = create_feature_extractor(
                self.module, list(layers)
            ).eval()
        return self._extractors[layers]

    def _map(self, feature: Any, x: torch.Tensor) -> torch.Tensor:
        """A feature as a map (N, C, h, w), for an image x as the network took it."""
        feature = _first(feature)
        count, height, width = x.shape[0], *x.shape[-2:]
        if feature.ndim == 2:
            return feature[..., None, None]
        if feature.ndim == 3:
            if feature.shape[0] != count and feature.shape[1] == count:
                feature = feature.transpose(0, 1)  # CLIP's (T, N, C)
            grid = self._grid(feature.shape[1], height, width)
            if grid is None:
                return feature
            tokens = feature[:, feature.shape[1] - grid[0] * grid[1] :]
            return tokens.transpose(1, 2).unflatten(2, grid)

        def upright(rows: int, columns: int) -> bool:
            return abs(rows * width - columns * height) <= max(height, width)

        if not upright(*feature.shape[2:]) and upright(*feature.shape[1:3]):
            return feature.permute(0, 3, 1, 2)
        return feature

    def _grid(self, tokens: int, height: int, width: int) -> tuple[int, int] | None:
        """Rows and columns of the tokens of pictures, of the first stage or a later,
        coarser one; None if they are no grid.
        """
        step = self.patch
        while step is not None and step <= min(height, width):
            rows, columns = height // step, width // step
            if rows * columns <= tokens:
                # so many more are the class token and registers, but no grid
                return (rows, columns) if tokens - rows * columns <= 64 else None
            step *= 2
        return None


class _Complete(Exception):  # noqa: N818
    """All layers have been seen: the network need not run on."""


class _Run:
    """One pass of a network: what is wanted, what was found."""

    def __init__(self, layers: tuple[str, ...]) -> None:
        self.wanted, self.found, self.calls = set(layers), {}, {}

    def see(self, name: str, output: Any) -> None:
        call = self.calls.get(name, 0)
        self.calls[name] = call + 1
        name = f"{name}_{call}" if call else name
        if name in self.wanted:
            self.found[name] = output = _first(output)
            if len(self.found) == len(self.wanted):
                raise _Complete
            # what runs on may write into it, as `x += shortcut` does
            self.found[name] = output.clone()


class _Runs:
    """The passes going on: one in each thread, as in those of DataParallel."""

    def __init__(self) -> None:
        self.by_thread: dict[int, _Run] = {}

    def start(self, layers: tuple[str, ...]) -> _Run:
        run = self.by_thread[_thread()] = _Run(layers)
        return run

    def end(self) -> None:
        del self.by_thread[_thread()]


class _Hook:
    """Tells the pass of its thread, if there is one, what a module gave."""

    def __init__(self, runs: _Runs, name: str) -> None:
        self.runs, self.name = runs, name

    def __call__(self, module: nn.Module, given: tuple, output: Any) -> None:
        run = self.runs.by_thread.get(_thread())
        if run is not None:
            run.see(self.name, output)


def _thread() -> int:
    return 0 if torch.compiler.is_compiling() else threading.get_ident()


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _first(output: Any) -> torch.Tensor:
    """The output of a module, of several the first."""
    while not isinstance(output, torch.Tensor):
        values = output.values() if isinstance(output, Mapping) else output
        output = next(iter(values))
    return output


def _by_name(features: Any) -> dict[str, Any]:
    """What a function gave, by layer."""
    if isinstance(features, Mapping):
        return dict(features)
    if isinstance(features, torch.Tensor):
        return {"output": features}
    return {str(index): feature for index, feature in enumerate(features)}


def _unknown(layer: str, known: tuple[str, ...]) -> InputError:
    return InputError(f"there is no layer {layer!r}; {nearest(layer, known)}")


def _normalisation(module: Any) -> tuple[tuple, tuple]:
    """Mean and standard deviation that a network says it expects."""
    said = getattr(module, "pretrained_cfg", None) or {}  # timm
    mean = said.get("mean") or getattr(module, "image_mean", None)  # open_clip
    std = said.get("std") or getattr(module, "image_std", None)
    return tuple(mean or _IMAGENET[0]), tuple(std or _IMAGENET[1])


def _patch_of(module: Any) -> int | None:
    """Pixels along a side of a token: the first convolution takes them all at once."""
    modules = module.modules() if isinstance(module, nn.Module) else ()
    conv = next((child for child in modules if isinstance(child, nn.Conv2d)), None)
    if conv is None or conv.kernel_size != conv.stride or conv.stride[0] == 1:
        return None
    return conv.stride[0]


def _only_size(module: Any) -> int | tuple[int, int] | None:
    """The size of pictures that a network with fixed positions takes."""
    embed = getattr(module, "patch_embed", None)
    if hasattr(embed, "strict_img_size"):  # timm
        return embed.img_size if embed.strict_img_size else None
    for name in ("image_size", "input_resolution"):  # torchvision, open_clip, CLIP
        if isinstance(getattr(module, name, None), int | tuple):
            return getattr(module, name)
    config = getattr(module, "config", None)
    if isinstance(getattr(config, "image_size", None), int | list | tuple):
        # of transformers those that would have to be told to interpolate
        told = (
            "interpolate_pos_encoding" in inspect.signature(module.forward).parameters
        )
        return config.image_size if told else None
    return None
