"""Super-resolution: what is taken away are pixels (Johnson et al.
2016, section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..bounds import setting
from ..deferred import deferred_imports
from ..errors import InputError
from ..register import Option, TaskSpec, register
from .restoration import (
    RestorationTask,
    RestorationTrainingSettings,
    restoration_card,
    restoring,
)

with deferred_imports():
    import numpy
    import torch
    from torch import nn

    from ..apply import through
    from ..degradations import downscaled
    from ..images import check_form, check_image, to_bytes, to_floats
    from ..networks import SubPixelNet, SuperResolutionNet
    from ..zoo import check_network, load_restorer

LIMITS = (
    "pictures that were shrunk as in training and are otherwise clean; letters "
    "and faces suffer first"
)
LOSSES = ("pixel", "adversarial", "feature")


@dataclass(frozen=True)
class SuperResolutionSettings(RestorationTrainingSettings):
    """Training of super-resolution (Johnson et al. 2016, section 4.2).

    Example:
        >>> settings = SuperResolutionSettings(factor=8, feature_weight=1e-4)
        >>> settings.factor, settings.kernel, settings.feature_layers
        (8, 'bicubic', ('relu2_2',))
        >>> SuperResolutionSettings(factor=3)
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: factor=3 was given; give 2, 4 or 8

    Taught in chapter 6.
    """

    factor: int = setting(4, "How many times as large: 2, 4 or 8.", choices=(2, 4, 8))
    kernel: str = setting(
        "bicubic",
        "How pictures are made small: bicubic (the benchmarks') or "
        "gaussian (the paper's).",
        choices=("bicubic", "gaussian"),
    )
    network: str = setting(
        "sub_pixel",
        "sub_pixel, or super_resolution (the paper's).",
        choices=("sub_pixel", "super_resolution"),
    )

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        if self.size % self.factor:
            raise InputError(
                f"crops of {self.size} pixels cannot be shrunk by {self.factor}; "
                "give a multiple of it"
            )


class SuperResolutionTask(RestorationTask):
    """Super-resolution: the crops are made small by ``settings.factor`` with
    ``settings.kernel``, in 8 bits.

    Args and errors are those of :class:`RestorationTask`.

    Example:
        >>> settings = SuperResolutionSettings(width=4, blocks=1, factor=4)
        >>> task = SuperResolutionTask(settings)
        >>> (small,) = task.degrade(torch.rand(2, 3, 32, 32), first=0)
        >>> small.shape
        torch.Size([2, 3, 8, 8])

    Taught in chapter 6.
    """

    settings: SuperResolutionSettings

    def new_network(self) -> nn.Module:
        """The network, untrained."""
        settings = self.settings
        kind = SubPixelNet if settings.network == "sub_pixel" else SuperResolutionNet
        return kind(settings.factor, settings.width, settings.blocks)

    def degrade(self, images: torch.Tensor, first: int) -> tuple[torch.Tensor, ...]:
        """The crops made small, (N, 3, H / factor, W / factor)."""
        with torch.autocast(images.device.type, enabled=False):
            return (downscaled(images, self.settings.factor, self.settings.kernel),)


def upscale(
    image: torch.Tensor,
    factor: int | None = None,
    loss: str | float = "feature",
    *,
    network: nn.Module | None = None,
    match_histogram: bool = False,
    precision: str = "auto",
    device: str | torch.device | None = None,
    tile: int | None = None,
) -> torch.Tensor:
    """Enlarge pictures with a network that has learned how small pictures
    become large ones.

    Johnson et al. (2016), section 4.2. Large pictures go through in tiles that overlap,
    so the memory for the network's features is bounded and no seam shows.

    Args:
        image: (N, 3, H, W) in [0, 1], of any size; or as bytes, see :func:`denoise`.
        factor: how much larger each side becomes, 4 or 8; 4 if left out, or that
            of the ``network``.
        loss: what the network was trained with: ``"pixel"`` for accuracy, ``"feature"``
            for likeness, ``"adversarial"`` for the sharpest pictures (factor 4 alone,
            Ledig et al. 2017), or a number between 0 (pixel) and 1 (feature) that
            mixes the weights of these two (:func:`blend_networks`).
        network: a network to use, and to reuse: left out, the one that ships is
            loaded in each call.
        match_histogram: give the output the histogram of its input, as the paper does
            to its own results.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        device: where to load the network; None takes the best there is.
        tile: side of the tiles in pixels of the input; None takes one that
            needs some 0.5 GB.

    Returns:
        (N, 3, factor H, factor W), float32, in [0, 1], on the device of ``image``; as
        bytes where that is.

    Raises:
        InputError: no image, another factor or loss, a network for something else, or a
            result that does not fit into memory.

    Example:
        >>> small = torch.rand(1, 3, 16, 24)
        >>> upscale(small, loss="pixel", device="cpu").shape
        torch.Size([1, 3, 64, 96])

    Taught in chapter 6.
    """
    check_image(image, "the picture", slack=0.5, bytes_too=True)
    if network is None:
        network = load_restorer(
            "upscale", loss, factor=4 if factor is None else factor, device=device
        )
    check_network(network, "upscale")
    if factor not in (None, network.factor):
        raise InputError(
            f"the factor {factor} was given for a network that enlarges by "
            f"{network.factor}; leave the factor out, or give another network"
        )
    check_form(image, "the picture", smallest=network.smallest, bytes_too=True)
    as_bytes = image.dtype == torch.uint8
    if as_bytes and match_histogram:  # of the values before they are rounded
        image = to_floats(image)
    given = image if image.dtype == torch.uint8 else image.clamp(0, 1)
    large = through(network, (given,), precision=precision, tile=tile)
    if not match_histogram:
        return large
    matched = with_histogram_of(large, image)
    return to_bytes(matched) if as_bytes else matched


def with_histogram_of(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """The image with each channel's values changed, by one rising curve, so that its
    histogram is the reference's.

    Histograms are of 256 values; between them the curve is straight.

    Args:
        image: (N, 3, H, W) in [0, 1].
        reference: (N, 3, H', W') in [0, 1], of any size.

    Returns:
        (N, 3, H, W), float32, in [0, 1].

    Raises:
        InputError: no images, or not as many of the one as of the other.

    Source: Johnson et al. (2016), section 4.2: "we post-process our results by
    matching histograms".

    Example:
        >>> dark = torch.rand(1, 3, 32, 32) / 2
        >>> bright = 0.5 + torch.rand(1, 3, 64, 64) / 2
        >>> matched = with_histogram_of(dark, bright)
        >>> torch.allclose(matched.mean((2, 3)), bright.mean((2, 3)), atol=0.01)
        True

    Taught in chapter 6.
    """
    check_image(image, "the picture", slack=0.5)
    check_image(reference, "the reference", slack=0.5)
    if len(image) != len(reference):
        raise InputError(
            f"{len(reference)} references were given for {len(image)} "
            "pictures; give one for each"
        )
    output = torch.empty_like(image, dtype=torch.float32)
    for number in range(len(image)):
        for channel in range(3):
            own, other = (
                _shares_below(given[number, channel]) for given in (image, reference)
            )
            present = numpy.flatnonzero(numpy.diff(other, prepend=0))
            curve = numpy.interp(own, other[present], present / 255)
            curve = curve.astype(numpy.float32)
            levels = image[number, channel].float().clamp(0, 1) * 255
            below = levels.long().clamp_(max=254)
            table = torch.from_numpy(curve).to(image.device)
            output[number, channel] = torch.lerp(
                table[below], table[below + 1], levels - below
            )
    return output


def _shares_below(values: torch.Tensor) -> numpy.ndarray:
    """For each of 256 values the share of pixels that are not above it."""
    counts = torch.bincount(
        values.float().mul(255).round().clamp(0, 255).long().flatten(), minlength=256
    )
    return counts.cumsum(0).cpu().numpy() / values.numel()


def _upscaled(image: torch.Tensor, **options) -> torch.Tensor:
    return upscale(image, **options)


register(
    TaskSpec(
        name="upscale",
        train_help="Teach a network to enlarge pictures: super-resolution "
        "(Johnson et al. 2016, section 4.2).",
        settings=SuperResolutionSettings,
        training=SuperResolutionTask,
        card=restoration_card,
        networks={
            "super_resolution": SuperResolutionNet,
            "sub_pixel": SubPixelNet,
        },
        limits=LIMITS,
        usage="upscale PHOTO",
        command=restoring(
            "upscale",
            "Enlarge a picture with a network that has learned to "
            "(Johnson et al. 2016, section 4.2).",
            _upscaled,
            (
                Option(
                    "factor",
                    int,
                    "How much larger each side becomes: 4 (the default) or 8, or the "
                    "network's own.",
                ),
                Option(
                    "match_histogram",
                    bool,
                    "Give the output the histogram of its input.",
                    default=False,
                ),
            ),
            losses=LOSSES,
            size=lambda network, image, **options: tuple(
                network.factor * side for side in (image.shape[-1], image.shape[-2])
            ),
            facts=lambda network, **options: {"factor": network.factor},
            bytes_too=True,
        ),
        function=upscale,
        losses=LOSSES,
    )
)
