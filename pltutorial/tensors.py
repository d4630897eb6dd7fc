"""Which tensors can be calculated with here: dense ones, of real numbers. Shapes and
types are looked at, never a value, so that it costs nothing in a training step.
"""

from __future__ import annotations

import torch
from torch import nn

from .errors import InputError, shown
from .fixed import autocast_dtype


def check_dense(
    given: object, what: str, *, floating: bool = True, values: bool = False
) -> None:
    """Refuse what is no tensor, or none that layers and sums can take as it is.

    Args:
        given: the tensor to check.
        what: how the sentence names it.
        floating: integers and truth values are refused, too.
        values: it has to have some; tensors on the device meta have none.

    Raises:
        InputError: no tensor; sparse, nested, quantized or complex; 8-bit floats; with
            ``floating`` no floats, with ``values`` no values.

    Example:
        >>> check_dense(torch.rand(1, 3, 8, 8), "the picture")
        >>> check_dense(torch.eye(3).to_sparse(), "the code")
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: the code is a sparse tensor; give a dense one,...
    """
    if not isinstance(given, torch.Tensor):
        raise InputError(f"{what} is a {type(given).__name__}; give a torch.Tensor")
    kind, way = "", ""
    if given.is_nested:
        kind, way = "a nested tensor", "with torch.nested.to_padded_tensor"
    elif given.is_quantized:
        kind, way = "a quantized tensor", "with .dequantize()"
    elif given.layout != torch.strided:
        name = "an MKL-DNN" if given.layout == torch._mkldnn else "a sparse"
        kind, way = f"{name} tensor", "with .to_dense()"
    if kind:
        raise InputError(f"{what} is {kind}; give a dense one, {way}")
    dtype = given.dtype
    if dtype.is_complex:
        raise InputError(
            f"{what} has dtype {dtype}; give real numbers, such as its .real or .abs()"
        )
    if floating and not dtype.is_floating_point:
        raise InputError(
            f"{what} has dtype {dtype}; give floats, with .float(), and divide values "
            "from 0 to 255 by 255"
        )
    if dtype.is_floating_point and dtype.itemsize < 2:
        raise InputError(
            f"{what} has dtype {dtype}, in which nothing is calculated; give float32, "
            "with .float()"
        )
    if values and given.device.type == "meta":
        raise InputError(
            f"{what} is on the device meta, where tensors have no values; give one "
            "with values, on the CPU or a GPU"
        )


def check_times(
    t: torch.Tensor | float, like: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Times as a tensor, one for all or one for each of some pictures.

    Raises:
        InputError: no numbers, or others than one or as many as there are pictures.
    """
    if isinstance(t, torch.Tensor):
        check_dense(t, "the time", floating=False, values=not like.is_meta)
    try:
        t = torch.as_tensor(t, dtype=dtype, device=like.device)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(
            f"the time {shown(t)} was given; give a number in [0, 1], or (N,) of them"
        ) from None
    if t.shape not in ((), (1,), like.shape[:1]):
        raise InputError(
            f"times of shape {tuple(t.shape)} were given for {len(like)} pictures; "
            "give one number for all, or (N,)"
        )
    return t


def check_together(one: torch.Tensor, other: torch.Tensor, what: str) -> None:
    """Refuse two tensors on different devices; a single number may lie anywhere.

    Raises:
        InputError: they cannot be calculated with together.
    """
    apart = one.device != other.device
    # a number on the CPU may be calculated with anywhere
    if apart and not any(x.ndim == 0 and x.device.type == "cpu" for x in (one, other)):
        raise InputError(
            f"{what} are on {one.device} and {other.device}; move one of them with "
            ".to(device)"
        )


def check_made(made: torch.Tensor) -> None:
    """Refuse what a network made if it is no picture; waits for the device.

    Raises:
        InputError: NaN or infinite values.
    """
    if not bool(made.isfinite().all()):
        raise InputError(
            "the network makes NaN or infinite values of this picture; train it again, "
            "or give another network"
        )


def check_maps(
    given: object,
    what: str,
    channels: int | None = None,
    network: nn.Module | None = None,
) -> None:
    """Refuse what a network of convolutions cannot take.

    Args:
        given: maps, (N, C, H, W).
        what: how the sentence names it.
        channels: C, where it is fixed.
        network: where nothing converts the maps, they have to be of its precision.

    Raises:
        InputError: as of :func:`check_dense`; another shape, or another precision.
    """
    check_dense(given, what)
    count = "C" if channels is None else channels
    fits = given.ndim == 4 and 0 not in given.shape
    if not fits or given.shape[1] != (channels or given.shape[1]):
        one = given.ndim == 3 and given.shape[0] == (channels or given.shape[0])
        hint = "; add the batch dimension with [None]" if one else ""
        raise InputError(
            f"{what} has shape {tuple(given.shape)}, but (N, {count}, H, W) is needed"
            f"{hint or '; look where it was made'}"
        )
    if network is None or torch.compiler.is_compiling():
        return
    own = next(network.parameters(), given)
    check_dense(given, what, values=not own.is_meta)
    if given.dtype != own.dtype and autocast_dtype(given.device.type) is None:
        raise InputError(
            f"{what} has dtype {given.dtype} and the network {own.dtype}; give it with "
            f".to({own.dtype}), or move the network with .to({given.dtype})"
        )
