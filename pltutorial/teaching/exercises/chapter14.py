"""Checks of the exercises of chapter 14, how a network leaves the notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from .verdicts import answer_of, as_torch, exercise, fresh_draw, judge, shape_or_type


def _number(low: int, high: int, draw: torch.Generator) -> int:
    """An integer from low to high, both of them included."""
    return int(torch.randint(low, high + 1, (), generator=draw))


# --- int8 weights ---------------------------------------------------------------------


@exercise(
    chapter=14,
    label="ex-production-int8",
    second=(
        "weight.abs().amax((1, 2, 3), keepdim=True) is the largest value of each "
        "output channel; a channel of zeros needs some scale above 0."
    ),
)
def check_quantized(
    answer: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
) -> bool:
    """Check ``answer(weight)``: a convolution's weight as int8 numbers with a scale for
    each output channel.

    ``weight`` is (O, I, kh, kw), float32. The answer is ``(integers, scale)``: int8
    (O, I, kh, kw), from -127 to 127, and (O, 1, 1, 1), the channel's largest absolute
    value over 127. An integer is the weight over the scale, rounded to the nearest. A
    channel of zeros has zeros, and some finite scale above 0. Tried on random weights.

    Taught in chapter 14.
    """
    draw = fresh_draw()
    for shape, with_zeros in (((6, 3, 3, 3), False), ((4, 5, 1, 3), True)):
        loud = torch.logspace(-1.5, 0.5, shape[0])[
            torch.randperm(shape[0], generator=draw)
        ].view(-1, 1, 1, 1)
        weight = torch.randn(shape, generator=draw) * loud
        # one end is further from zero in each channel, now this one and now that
        signs = torch.tensor([1.0, -1.0]).repeat(shape[0])[: shape[0]]
        weight[:, 0, 0, 0] = signs * 1.3 * weight.abs().amax((1, 2, 3))
        if with_zeros:
            weight[_number(0, shape[0] - 1, draw)] = 0.0
        found = answer_of(answer, weight)
        if found is None:
            return False
        hint = _fault_of_integers(found, weight)
        if hint:
            return judge(False, "", hint)
    return judge(
        True,
        "a byte for each weight, and no channel pays for another one's largest value.",
        "",
    )


def _fault_of_integers(found: object, weight: torch.Tensor) -> str:
    """The hint for wrong integers or scales; empty for right ones."""
    if not isinstance(found, Sequence) or len(found) != 2:
        return "return two things, the integers and the scale."
    integers, scale = (as_torch(one) for one in found)
    if isinstance(scale, int | float):
        scale = torch.tensor(scale)
    for one, name in ((integers, "integers"), (scale, "scales")):
        if not isinstance(one, torch.Tensor):
            return f"the {name} are a tensor; yours are of type {shape_or_type(one)}."
    if integers.is_floating_point() and not scale.is_floating_point():
        return "the integers come first, then the scale."
    if integers.shape != weight.shape:
        return (
            f"there is one integer for each weight, {tuple(weight.shape)}; yours are "
            f"{tuple(integers.shape)}."
        )
    if integers.dtype == torch.uint8:
        return (
            "uint8 begins at 0 and needs a zero point; here 0 stays 0, from -127 to "
            "127 in int8."
        )
    if integers.dtype != torch.int8:
        return (
            f"your integers are of type {integers.dtype}, which takes "
            f"{integers.element_size()} bytes each; make them torch.int8."
        )
    return _fault_of_scale(scale, weight) or _fault_of_rounding(integers, weight)


def _largest(weight: torch.Tensor) -> torch.Tensor:
    return weight.abs().amax((1, 2, 3), keepdim=True)


def _fault_of_scale(scale: torch.Tensor, weight: torch.Tensor) -> str:
    outputs, inputs = weight.shape[:2]
    if scale.numel() == 1:
        return (
            "one scale serves the whole tensor, so a quiet channel keeps few of its "
            "steps; give each output channel its own."
        )
    if tuple(scale.shape) == (1, inputs, 1, 1) or scale.numel() == inputs:
        return (
            "that is one scale for each input channel; the first dimension counts the "
            "output channels."
        )
    if tuple(scale.shape) != (outputs, 1, 1, 1):
        return (
            f"the scale is of shape {tuple(scale.shape)}; make it ({outputs}, 1, 1, "
            "1), so that integers * scale is the weight again."
        )
    scale, largest = scale.double(), _largest(weight).double()
    silent = largest == 0
    if not bool(scale.isfinite().all()) or bool((scale[silent] <= 0).any()):
        return (
            "a channel of zeros has the scale 0, and 0 / 0 is NaN, which no integer "
            "holds; give such a channel any scale above 0."
        )
    ratio = scale[~silent] / largest[~silent]

    def says(other: torch.Tensor | float) -> bool:
        return bool(((ratio - other).abs() <= 1e-3 * torch.as_tensor(other)).all())

    if says(1 / 127):
        return ""
    spread = (weight.amax((1, 2, 3), keepdim=True) - weight.amin((1, 2, 3), True)) / 255
    whole = largest.max() / largest[~silent]
    wrong = {
        (
            "the scale is the largest value over 128, so that value becomes 128, which "
            "int8 does not have; divide by 127."
        ): 1 / 128,
        (
            "255 steps over twice the largest value are 127.5 to each side; divide the "
            "largest by 127, so that the last step is a whole one."
        ): 2 / 255,
        (
            "this scale is for numbers with a zero point, from the least to the "
            "largest; a symmetric one looks at absolute values."
        ): spread.double()[~silent] / largest[~silent],
        "all channels have the same scale; give each output channel its own.": (
            whole / 127
        ),
        "this is 127 over the largest value; turn it round.": (
            127 / largest[~silent].square()
        ),
        "this is the largest value; one step is a 127th of it.": 1.0,
    }
    return next((hint for hint, other in wrong.items() if says(other)), "") or (
        "the scale is the largest absolute value of the output channel, over 127."
    )


def _fault_of_rounding(integers: torch.Tensor, weight: torch.Tensor) -> str:
    largest = _largest(weight).double()
    steps = weight.double() / (largest / 127).where(largest > 0, torch.tensor(1.0))
    clear = (steps.frac().abs() - 0.5).abs() > 0.03  # not between two integers
    inside = clear & (steps.abs() < 126.9)  # 127 may be 126.9999 before it is cut off

    def says(other: torch.Tensor, where: torch.Tensor) -> bool:
        return torch.equal(integers[where].double(), other[where])

    if bool((integers == -128).any()):
        return "-128 is among your integers; it has no counterpart, so end at -127."
    if says(steps.round(), clear):
        return ""
    if bool(integers[steps == 0].any()):
        return "a channel of zeros must give zeros."
    if says(steps.trunc(), inside):
        return (
            "your integers are cut off towards zero, an error of up to a whole step; "
            "round first, then make them int8."
        )
    if says(steps.floor(), inside):
        return "your integers are rounded down; round to the nearest."
    return "an integer is the weight over the scale, rounded to the nearest."


# --- tiles ----------------------------------------------------------------------------


class _Spy(nn.Module):
    """A few convolutions with zero padding, which note how large the parts were."""

    def __init__(self, channels: int, sizes: list[int], draw: torch.Generator) -> None:
        super().__init__()
        self.reach = sum(size // 2 for size in sizes)
        self.seen: list[tuple[int, int]] = []
        widths = [channels, *[4] * (len(sizes) - 1), channels]
        self.layers = nn.ModuleList(
            nn.Conv2d(widths[n], widths[n + 1], size, padding=size // 2)
            for n, size in enumerate(sizes)
        ).requires_grad_(False)
        for layer in self.layers:
            drawn = torch.randn(layer.weight.shape, generator=draw)
            layer.weight.copy_(drawn / drawn[0].numel() ** 0.5)
            layer.bias.copy_(torch.rand(layer.bias.shape, generator=draw) - 0.5)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape."""
        self.seen.append((picture.shape[-2], picture.shape[-1]))
        return self.whole(picture)

    def whole(self, picture: torch.Tensor) -> torch.Tensor:
        """The same without a note."""
        for n, layer in enumerate(self.layers):
            picture = layer(picture.tanh() if n else picture)
        return picture


@exercise(
    chapter=14,
    label="ex-production-tiles",
    second=(
        "a tile from top to bottom is seen from max(0, top - reach) to min(height, "
        "bottom + reach); of what the network makes of it, the rows from top to bottom "
        "are kept."
    ),
)
def check_tiles(
    answer: Callable[[nn.Module, torch.Tensor, int, int], torch.Tensor],
) -> bool:
    """Check ``answer(network, picture, tile, reach)``: what a network makes of a
    picture, computed in tiles.

    ``picture`` is (1, C, H, W), and ``network(picture)`` has the same shape; a pixel of
    it depends on ``reach`` pixels to each side. The answer equals ``network(picture)``
    to 1e-5, and the network is never given more than ``tile + 2 * reach`` pixels in
    height or width. Tried on random convolutions with zero padding, odd sizes, and
    tiles that are larger than the picture.

    Taught in chapter 14.
    """
    draw = fresh_draw()
    for sizes, height, width, tile in (
        ([3, 3], _number(19, 23, draw), _number(25, 29, draw), 8),
        ([3, 5, 3], 21, _number(30, 34, draw), 9),
        ([5, 3], _number(7, 11, draw), 36, 12),
        ([3, 3, 3], 9, _number(7, 13, draw), 16),
    ):
        network, picture, right = _clear_seams(sizes, height, width, tile, draw)
        value = answer_of(answer, network, picture, tile, network.reach)
        if value is None:
            return False
        hint = _fault_of_tiles(value, network, picture, right, tile)
        if hint:
            return judge(False, "", hint)
    return judge(
        True,
        "no seam at any size, and the network never saw more than a tile and its "
        "margin.",
        "",
    )


def _clear_seams(
    sizes: list[int], height: int, width: int, tile: int, draw: torch.Generator
) -> tuple[_Spy, torch.Tensor, torch.Tensor]:
    """A network, a picture and what it makes of it; each usual mistake is seen."""
    while True:
        channels = _number(1, 3, draw)
        network = _Spy(channels, sizes, draw)
        picture = torch.rand((1, channels, height, width), generator=draw)
        right = network.whole(picture)
        reach = network.reach
        others = [_padded(network, picture, mode) for mode in ("constant", "reflect")]
        if tile < max(height, width):
            others.append(_with_margin(network, picture, tile, reach - 1))
        if all(float((other - right).abs().max()) > 1e-3 for other in others):
            return network, picture, right


def _padded(network: _Spy, picture: torch.Tensor, mode: str) -> torch.Tensor:
    """What it makes of the picture with a border round it, which is cut off again."""
    reach = network.reach
    made = network.whole(F.pad(picture, (reach,) * 4, mode=mode))
    return made[..., reach:-reach, reach:-reach]


def _with_margin(
    network: _Spy, picture: torch.Tensor, tile: int, margin: int
) -> torch.Tensor:
    """Tiles with a margin, where the picture has one."""
    right = torch.empty_like(picture)
    height, width = picture.shape[-2:]
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            above, before = max(0, top - margin), max(0, left - margin)
            seen = picture[..., above : top + tile + margin, :]
            made = network.whole(seen[..., before : left + tile + margin])
            made = made[..., top - above :, left - before :][..., :tile, :tile]
            right[..., top : top + tile, left : left + tile] = made
    return right


def _fault_of_tiles(
    value: object,
    network: _Spy,
    picture: torch.Tensor,
    right: torch.Tensor,
    tile: int,
) -> str:
    """The hint for a wrong answer; empty for a right one."""
    if not isinstance(value, torch.Tensor):
        return (
            f"return a tensor like network(picture); yours is {shape_or_type(value)}."
        )
    height, width = picture.shape[-2:]
    most = tile + 2 * network.reach
    tallest = max((seen[0] for seen in network.seen), default=0)
    widest = max((seen[1] for seen in network.seen), default=0)
    whole = (height, width) in network.seen
    if whole and max(height, width) > most:
        return "the network was given the whole picture at once; give it tiles."
    if max(tallest, widest) > most:
        return (
            "the network was given more than tile + 2 * reach pixels in height or "
            "width; that is the tile and reach more on each side, and no more."
        )
    cut = [side // tile * tile for side in (height, width)]
    last = "the last tile of a row or column is missing, where tile does not divide it."
    if value.shape != right.shape:
        if value.shape[:2] == right.shape[:2] and [*value.shape[-2:]] == cut:
            return last
        return (
            "your result is of another shape than network(picture); what was seen "
            "besides the tile is cut off again from what the network makes of it."
        )

    def says(other: torch.Tensor, rows: int = height, columns: int = width) -> bool:
        mine, its = (one[..., :rows, :columns].double() for one in (value, other))
        return torch.allclose(mine, its, atol=1e-5, rtol=1e-5)

    if says(right):
        return ""
    if all(cut) and cut != [height, width] and says(right, *cut):
        return last
    if says(_with_margin(network, picture, tile, 0)):
        return (
            "there are seams: each tile was computed as if nothing lay beside it. Give "
            "the network reach more pixels on each side, and cut them off afterwards."
        )
    if any(
        says(_with_margin(network, picture, tile, margin))
        for margin in range(1, network.reach)
    ):
        return "there are weak seams: the margin is smaller than reach."
    if says(_padded(network, picture, "constant")):
        return (
            "wrong near the picture's border: zeros were put round it first. The "
            "network pads every layer with zeros; yours are no zeros any more after "
            "the first. Give no pixels where the picture has none."
        )
    for mode in ("reflect", "replicate"):
        if says(_padded(network, picture, mode)):
            return (
                "wrong near the picture's border: pixels were invented beyond it, and "
                "the network itself has zeros there. Give none where the picture has "
                "none."
            )
    if bool((value.detach() == 0).flatten(2).all(1).any()):
        return "some places were never written; go through all rows and columns."
    return (
        "it differs from network(picture); a tile that begins at `top` begins at top - "
        "max(0, top - reach) in what the network made of it."
    )


# --- film -----------------------------------------------------------------------------


@exercise(
    chapter=14,
    label="ex-production-warp",
    second=(
        "second[..., y, x] shows what first[..., y - down, x - right] shows, where "
        "both are inside; the mean is over those places, all channels and pictures."
    ),
)
def check_warp_error(
    answer: Callable[[torch.Tensor, torch.Tensor, int, int], float],
) -> bool:
    """Check ``answer(first, second, down, right)``: how much a moving scene flickers
    from one frame to the next.

    The scene moves by whole pixels from ``first`` to ``second``, both (N, 3, H, W):
    down and to the right where the numbers are above 0, up and to the left below. The
    answer is the mean squared difference of all places that both frames see, one
    number. Tried on random scenes and movements.

    Taught in chapter 14.
    """
    draw = fresh_draw()
    moves = [(_number(2, 3, draw), _number(4, 5, draw))]
    moves += [(-moves[0][0], moves[0][1]), (3, -2), (-4, -1), (0, 3), (-2, 0), (0, 0)]
    for down, right in moves:
        first, second = _two_frames(down, right, draw)
        value = answer_of(answer, first, second, down, right)
        if value is None:
            return False
        hint = _fault_of_warp(value, first, second, down, right)
        if hint:
            return judge(False, "", hint)
    return judge(
        True,
        "a movement is no flicker, and what one frame alone sees is not counted.",
        "",
    )


def _two_frames(
    down: int, right: int, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A scene seen twice, through the same window, with flicker, so that no two
    mistakes give the same number by chance.
    """
    most = 5
    while True:
        height, width = _number(9, 11, draw), _number(12, 14, draw)
        window = slice(most, most + height), slice(most, most + width)
        shape = (2, 3, height + 2 * most, width + 2 * most)
        scene = 0.8 * torch.rand(shape, generator=draw)
        flicker = 0.2 * torch.rand((2, 3, height, width), generator=draw)
        flicker = flicker * torch.tensor([0.6, 1.4]).view(2, 1, 1, 1)
        first = scene[..., window[0], window[1]]
        second = scene.roll((down, right), (2, 3))[..., window[0], window[1]] + flicker
        found = sorted(one for one, _ in _warps(first, second, down, right))
        gaps = [b / a - 1 for a, b in zip(found, found[1:], strict=False)]
        if all(gap < 1e-9 or gap > 3e-3 for gap in gaps):
            return first, second


def _warp(
    first: torch.Tensor, second: torch.Tensor, down: int, right: int, wrap: bool = False
) -> tuple[float, float]:
    """The mean squared difference over the places that count, and over all pixels;
    with wrap, what comes in from the other side counts.
    """
    height, width = first.shape[-2:]
    y = torch.arange(height).view(-1, 1) - down
    x = torch.arange(width) - right
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    moved = first.double().roll((down, right), (2, 3))
    mean = float(((inside | wrap) * (second.double() - moved).square()).mean())
    return mean / float(inside.double().mean()), mean


def _warps(
    first: torch.Tensor, second: torch.Tensor, down: int, right: int
) -> list[tuple[float, str]]:
    """The right number, without a hint, and wrong ones, each with its own."""
    exact, everywhere = _warp(first, second, down, right)
    found = [(exact, "")]
    for move, hint in (
        (
            (-down, -right),
            "the first frame was moved the wrong way: torch.roll with a shift above 0 "
            "moves down and to the right.",
        ),
        (
            (right, down),
            "down is along the height, dimension 2, and right along the width, 3.",
        ),
        (
            (down, right),
            "torch.roll brings in at one side what left at the other, and that was "
            "counted too; leave those rows and columns out.",
        ),
    ):
        wrapped = _warp(first, second, *move, wrap=True)
        inner = _warp(first, second, *move) if move != (down, right) else ()
        found += [(value, hint) for value in (*wrapped, *inner)]
    return [
        *found,
        (
            everywhere,
            "the sum is right, and it is divided by all pixels; divide by those that "
            "both frames see.",
        ),
        (len(first) * exact, "that is the sum of all pictures' means; take one mean."),
        (3 * exact, "a mean is over the channels too."),
        (exact**0.5, "that is the root of the error; leave the square."),
        (exact / 2, "that is half of the error."),
    ]


def _fault_of_warp(
    value: object, first: torch.Tensor, second: torch.Tensor, down: int, right: int
) -> str:
    """The hint for a wrong error; empty for a right one."""
    number = torch.as_tensor(value) if isinstance(value, int | float) else value
    if not isinstance(number, torch.Tensor) or number.numel() != 1:
        return f"return one number for all frames; yours is {shape_or_type(value)}."
    said = float(number.detach())
    if said != said:
        return (
            "it is no number (NaN): nothing was left to take the mean of. With a "
            "movement of 0 a slice that ends at -0 is empty."
        )
    for other, hint in _warps(first, second, down, right):
        # a hint must not fit by chance, so it is bound more tightly than what is right
        if abs(said - other) <= (5e-6 if hint else 1e-3) * abs(other):
            return hint
    if min(down, right) < 0:
        return "a movement up or to the left comes out wrong; the numbers are below 0."
    return (
        "compare second at (y, x) with first at (y - down, x - right), where both are "
        "inside, and take the mean."
    )
