"""One pass of a network over pictures, without gradients, in the best
precision of its device.
"""

from __future__ import annotations

import torch
from torch import nn

from ..device import best_precision
from ..images import check_image
from ..memory import keep_freed_memory
from ..tensors import check_made


def apply(
    network: nn.Module,
    image: torch.Tensor,
    style: torch.Tensor | None = None,
    *,
    precision: str = "auto",
) -> torch.Tensor:
    """Run a network on pictures, without gradients, in the best precision of
    the network's device.

    Args:
        network: any network whose forward pass takes an image (and a style).
        image: (N, 3, H, W) in [0, 1]; it is moved to the network's device.
        style: see :meth:`TransformNet.forward`.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.

    Returns:
        (N, 3, H, W), float32, in [0, 1], on the network's device; in bfloat16 99.9 % of
        the values of a trained network lie within 2/255 of float32.

    Raises:
        InputError: what is given is no image, the style does not fit, or what is made
            is not finite.

    Example:
        >>> network = load_style("great_wave", device="cpu")
        >>> output = apply(network, torch.rand(1, 3, 32, 48))
        >>> output.shape, output.dtype, output.requires_grad
        (torch.Size([1, 3, 32, 48]), torch.float32, False)

    Taught in chapter 5.
    """
    check_image(image, "the picture", smallest=getattr(network, "smallest", 1))
    device = next(network.parameters()).device
    if device.type == "cpu":
        keep_freed_memory()
    dtype = best_precision(device, precision)
    with (
        torch.inference_mode(),
        torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
    ):
        given = () if style is None else (style.to(device),)
        made = network(image.to(device, torch.float32), *given).float()
        check_made(made)
        return made.clamp(0, 1)
