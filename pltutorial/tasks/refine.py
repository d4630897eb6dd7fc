"""A print led on by the optimisation: the start is what one pass drew, and L-BFGS goes
on from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..deferred import deferred_imports
from ..errors import InputError

with deferred_imports():
    import torch

    from ..images import bundled, bundled_names, read_image, resize
    from ..optimize import transfer_style

_KEPT = (
    "content_layers",
    "style_layers",
    "content_weight",
    "style_weight",
    "total_variation",
    "normalization",
    "balance",
)


def refine(
    image: torch.Tensor,
    printed: torch.Tensor,
    style: torch.Tensor | Sequence[torch.Tensor],
    *,
    steps: int = 10,
    card: Mapping | None = None,
    style_weights: Sequence[float] | None = None,
    **changes,
) -> torch.Tensor:
    """Go on from a print of `stylize` or `restyle` by optimisation.

    A pass is about as good as a few dozen steps from noise (Johnson et al. 2016,
    section 4.1), and a step from there goes as far as any: so few are needed. The
    objective is that of :func:`~pltutorial.optimize.transfer_style`, with the layers,
    the weights and the strokes' size that the network was trained on.

    Args:
        image: (1, 3, H, W) in [0, 1], the photograph.
        printed: (1, 3, H', W') in [0, 1], what the pass made of it; the output has its
            size.
        style: the painting (1, 3, h, w), or several.
        steps: steps of L-BFGS, each of one evaluation or a few more.
        card: of the network that made the print; ``network.card``. Without it the
            settings are those of TransferSettings.
        style_weights: how several paintings are blended; equal by default.
        changes: of TransferSettings, such as ``device`` or ``precision``.

    Returns:
        (1, 3, H', W') in [0, 1].

    Raises:
        InputError: ``steps`` below 1, and whatever `transfer_style` refuses.

    Example:
        >>> photo, painting = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 40, 40)
        >>> refine(photo, photo, painting, steps=1, progress=False).shape
        torch.Size([1, 3, 32, 32])
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(f"steps={steps!r} was given; give a whole number from 1 on")
    longest = max(printed.shape[-2:])
    trained = dict((card or {}).get("settings", {}))
    known = {
        name: tuple(trained[name]) if isinstance(trained[name], list) else trained[name]
        for name in _KEPT
        if name in trained
    }
    if "style_size" in trained:
        known["style_scale"] = trained["style_size"] / longest
    settings = {**known, "steps": steps, "sizes": (longest,), **changes}
    small = resize(image, tuple(printed.shape[-2:]))
    result = transfer_style(
        small, style, init=printed, style_weights=style_weights, **settings
    )
    return result.image


def paintings_of(blend: Mapping[str, float]) -> tuple[list[torch.Tensor], list[float]]:
    """The bundled paintings of trained styles, and their weights.

    Raises:
        InputError: a style whose painting is not bundled.
    """
    known = bundled_names("style")
    for name in blend:
        if name not in known:
            raise InputError(
                f"the painting of the style {name!r} is not bundled, and refining "
                "needs it; leave --refine out, or give the painting's file as the style"
            )
    pictures = [read_image(bundled(f"style/{name}")) for name in blend]
    return pictures, list(blend.values())
