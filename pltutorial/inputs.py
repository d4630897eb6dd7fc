"""What a loss may be given: pictures of any channels and range, and volumes; checked,
and made RGB pictures in [0, 1].
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .errors import InputError, nearest, shown
from .images import check_form, check_values, other_range
from .tensors import check_dense

# an untrained network strays that far outside [0, 1]; a 0-255 picture farther
UNTRAINED = 20.0
_OTHERWISE = ", or say input_range=(-1, 1)"


@dataclass(frozen=True)
class Inputs:
    """How the pictures of a loss are read; see :class:`PerceptualLoss` for both.

    Raises:
        InputError: an unknown choice of channels, or a range that is none.
    """

    channels: str | Callable | None = None
    input_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        known = (None, "repeat", "each")
        if not callable(self.channels) and self.channels not in known:
            raise InputError(
                f"there is no choice of channels {self.channels!r}; "
                f"{nearest(str(self.channels), ('repeat', 'each'))}, or give a function"
            )
        try:
            black, white = (
                value if isinstance(value, int) else float(value)
                for value in self.input_range
            )
        except (TypeError, ValueError):
            black = white = 0
        if not black < white:
            raise InputError(
                f"the input_range {shown(self.input_range)} was given; give what black "
                "and white are, such as (-1, 1)"
            )
        # settings of a frozen dataclass
        object.__setattr__(self, "input_range", (black, white))

    def check_form(self, image: torch.Tensor, what: str) -> None:
        """Refuse what has not the shape or type of a picture or volume, whatever its
        values are.
        """
        seen = image
        if isinstance(image, torch.Tensor):
            check_dense(image, what, floating=False)
        if isinstance(image, torch.Tensor) and 0 not in image.shape:
            seen = image[:, :, 0] if image.ndim == 5 else image
            if seen.ndim == 4:
                any_number = callable(self.channels) or self.channels == "each"
                count = seen.shape[1]
                if any_number or (count == 1 and self.channels == "repeat"):
                    seen = seen[:, :1].expand(-1, 3, -1, -1)
                elif count != 3 and image.shape[-1] != 3:
                    raise InputError(
                        f"{what} has shape {tuple(image.shape)}, but (N, 3, H, W) is "
                        "needed; or say channels='repeat' for grey, channels='each' "
                        "for each channel by itself, or give a function that makes RGB"
                    )
        check_form(seen, what)

    def check_values(self, image: torch.Tensor, what: str, slack: float = 0.01) -> None:
        """Refuse values outside the range; what a function of the channels is given
        may have any.
        """
        if not callable(self.channels):
            how = {"slack": slack, "span": self.input_range, "otherwise": _OTHERWISE}
            check_values(image, what, **how)

    def check_output(self, output: torch.Tensor) -> None:
        """Refuse an output on another scale, and warn of one that strays, as an
        untrained network's does.
        """
        self.check_values(output, "the output", UNTRAINED)
        low, high = (float(value) for value in output.detach().aminmax())
        (black, white), what = self.input_range, "the output has values from"
        half = (white - black) / 2
        if (
            not callable(self.channels)
            and not black - half <= low <= high <= white + half
        ):
            warnings.warn(
                f"{what} {low:.3g} to {high:.3g}, but [{black:g}, {white:g}] is "
                "needed; that is well for a network still untrained, else "
                + other_range(low, high, self.input_range, _OTHERWISE),
                stacklevel=9,
            )

    def check_fit(
        self, output: torch.Tensor, target: torch.Tensor, *, read: bool = False
    ) -> None:
        """Refuse a content target of another size or number than the output, raw or
        read already.
        """
        first = 2 if read else 1
        # a decoder may have changed the size
        same = read and callable(self.channels)
        same = same or target.shape[first:] == output.shape[first:]
        if not same or not one_or_equal(target, output):
            raise InputError(
                f"the output has shape {tuple(output.shape)} and the content target "
                f"{tuple(target.shape)}; give equal shapes, or one target for all"
            )

    @staticmethod
    def check_weight(output: torch.Tensor, weight: torch.Tensor) -> None:
        """Refuse a weight map that does not fit the output."""
        if not isinstance(weight, torch.Tensor):
            raise InputError(
                f"the weight is a {type(weight).__name__}; give a tensor "
                "(1 or N, 1, H, W) of how much each place counts, such as a mask"
            )
        check_dense(weight, "the weight", floating=False)
        wanted = (1, *output.shape[2:])
        if weight.shape[1:] != wanted or not one_or_equal(weight, output):
            raise InputError(
                f"a weight of shape {tuple(weight.shape)} was given for outputs of "
                f"shape {tuple(output.shape)}; give (1 or N, 1, H, W) of the same size"
            )

    @staticmethod
    def check_weight_values(weight: torch.Tensor) -> None:
        """Refuse a weight map with values below 0, or none."""
        low, high = (float(value) for value in weight.detach().float().aminmax())
        if not 0 <= low <= high < float("inf"):
            raise InputError(
                f"a weight with values from {low:.3g} to {high:.3g} was given; give "
                "how much each place counts, finite and at least 0"
            )

    def has_parts(self, image: torch.Tensor) -> bool:
        """Whether it is a volume, or channels that are looked at one by one."""
        return image.ndim == 5 or (self.channels == "each" and image.shape[1] > 1)

    def grams_each(self, image: torch.Tensor) -> int:
        """How many Gram matrices one style has for such pictures."""
        return image.shape[1] if self.channels == "each" else 1

    @staticmethod
    def parts(image: torch.Tensor) -> list[torch.Tensor]:
        """The slices of a volume along each axis, or the channels of pictures."""
        if image.ndim == 5:
            return [image.movedim(axis, 1).flatten(0, 1) for axis in (2, 3, 4)]
        return [image.flatten(0, 1).unsqueeze(1)]

    def pictures(self, image: torch.Tensor) -> torch.Tensor:
        """RGB in [0, 1] of what was given; single channels one by one."""
        if callable(self.channels):
            image = self.channels(image)
            check_form(image, "what channels= made")
        elif self.channels == "each":
            image = image.flatten(0, 1).unsqueeze(1)
        if image.shape[1] == 1:
            image = image.expand(-1, 3, -1, -1)
        return self.unit(image)

    def unit(self, image: torch.Tensor) -> torch.Tensor:
        """The range made [0, 1]."""
        low, high = self.input_range
        return image if (low, high) == (0, 1) else (image - low) / (high - low)


def one_or_equal(some: torch.Tensor, others: torch.Tensor) -> bool:
    """Whether there is one, or as many as of the others; asked in this way a graph of
    torch.export stays one for any number.
    """
    return some.shape[0] == others.shape[0] or some.shape[0] == 1
