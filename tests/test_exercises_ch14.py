"""The checks of chapter 14 know a right answer from a wrong one, and say why."""

import pytest
import torch
import torch.nn.functional as F
from exercise_checks import faulty_code, refused

from pltutorial.apply import in_tiles
from pltutorial.distances import warp_error as warp_error_of_frames
from pltutorial.exercises import check_quantized, check_tiles, check_warp_error

TRIES = 5  # every wrong answer is told from a right one on each of so many fresh draws


def largest(weight, over=(1, 2, 3)):
    return weight.abs().amax(over, keepdim=True)


def quantized(weight, scale=None, how=torch.round, kind=torch.int8):
    """Right as it is, with parts that may be exchanged."""
    if scale is None:
        scale = largest(weight).clamp_min(1e-8) / 127
    return how(weight / scale).clamp(-127, 127).to(kind), scale


def quantized_by_numpy(weight):
    integers, scale = quantized(weight)
    return integers.numpy(), scale.numpy()


def quantized_channel_by_channel(weight):
    integers, scale = torch.zeros_like(weight, dtype=torch.int8), []
    for number, channel in enumerate(weight):
        most = max(abs(float(channel.min())), abs(float(channel.max())))
        scale.append(most / 127 if most else 1.0)
        integers[number] = (channel / scale[-1]).round().to(torch.int8)
    return [integers, torch.tensor(scale).view(-1, 1, 1, 1)]


def with_zero_point(weight):
    low, high = weight.amin((1, 2, 3), True), weight.amax((1, 2, 3), True)
    scale = ((high - low) / 255).clamp_min(1e-8)
    return ((weight - low) / scale).round().to(torch.uint8), scale


def tiled(network, picture, tile, reach, *, margin=None, mode=None, drop=False):
    """Right as it is, with the usual mistakes."""
    margin = reach if margin is None else margin
    source, off = picture, 0
    if mode:
        source, off = F.pad(picture, (reach,) * 4, mode=mode), reach
    made = torch.zeros_like(picture)
    height, width = picture.shape[-2:]
    stops = [side // tile * tile if drop else side for side in (height, width)]
    for top in range(0, stops[0], tile):
        for left in range(0, stops[1], tile):
            rows = max(0, top + off - margin), top + off + tile + margin
            columns = max(0, left + off - margin), left + off + tile + margin
            part = network(source[..., slice(*rows), slice(*columns)])
            part = part[..., top + off - rows[0] :, left + off - columns[0] :]
            part = part[..., : min(tile, height - top), : min(tile, width - left)]
            made[..., top : top + tile, left : left + tile] = part
    return made


def tiled_by_the_package(network, picture, tile, reach):
    return in_tiles(network, (picture,), reach=reach, tile=tile)


def tiled_with_the_last_one_moved_back(network, picture, tile, reach):
    made = torch.empty_like(picture)
    height, width = picture.shape[-2:]
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            y, x = max(0, min(top, height - tile)), max(0, min(left, width - tile))
            above, before = max(0, y - reach), max(0, x - reach)
            part = network(
                picture[..., above : y + tile + reach, before : x + tile + reach]
            )
            part = part[..., y - above :, x - before :][..., :tile, :tile]
            made[..., y : y + tile, x : x + tile] = part
    return made


def tiled_and_joined(network, picture, tile, reach, last=True):
    rows = []
    for top in range(0, picture.shape[2], tile):
        above, row = max(0, top - reach), []
        for left in range(0, picture.shape[3], tile):
            before = max(0, left - reach)
            part = network(
                picture[:, :, above : top + tile + reach, before : left + tile + reach]
            )
            row.append(part[:, :, top - above :, left - before :][..., :tile, :tile])
        rows.append(torch.cat(row, 3))
    made = torch.cat(rows, 2)
    if last:
        return made
    height, width = (side // tile * tile for side in made.shape[2:])
    return made[..., :height, :width]


def not_cut_off(network, picture, tile, reach):
    rows = []
    for top in range(0, picture.shape[2], tile):
        part = picture[:, :, max(0, top - reach) : top + tile + reach, :tile]
        rows.append(network(part))
    return torch.cat(rows, 2).repeat(1, 1, 1, 9)


def from_the_corner(network, picture, tile, reach):
    """It cuts `reach` off on the upper and left side everywhere."""
    made = torch.zeros_like(picture)
    for top in range(0, picture.shape[2], tile):
        for left in range(0, picture.shape[3], tile):
            above, before = max(0, top - reach), max(0, left - reach)
            part = network(
                picture[..., above : top + tile + reach, before : left + tile + reach]
            )
            place = made[..., top : top + tile, left : left + tile]
            part = part[..., reach:, reach:][..., : place.shape[2], : place.shape[3]]
            place[..., : part.shape[2], : part.shape[3]] = part
    return made


def seen_by_both(first, second, down, right):
    height, width = first.shape[-2:]
    now = second[
        ..., max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)
    ]
    before = first[
        ...,
        max(0, -down) : height - max(0, down),
        max(0, -right) : width - max(0, right),
    ]
    return now, before


def warp_error(first, second, down, right):
    now, before = seen_by_both(first, second, down, right)
    return float((now - before).square().mean())


def warp_error_by_mask(first, second, down, right):
    seen = torch.ones_like(first)
    for moved, dimension in ((down, 2), (right, 3)):
        size = first.shape[dimension]
        lost = range(moved) if moved > 0 else range(size + moved, size)
        seen.index_fill_(dimension, torch.tensor([*lost], dtype=torch.long), 0.0)
    moved = torch.roll(first, (down, right), (2, 3))
    return (seen * (second - moved).square()).sum() / seen.sum()


def warp_error_of_the_package(first, second, down, right):
    flow = torch.tensor([-right, -down]).view(1, 2, 1, 1).expand(1, 2, *first.shape[2:])
    pairs = [torch.stack(pair) for pair in zip(first, second, strict=True)]
    return torch.cat([warp_error_of_frames(pair, flow) for pair in pairs]).mean()


def the_book_s(*given):
    """The faulty function of the exercise, as it is printed."""
    return faulty_code("14_to_production.ipynb", "ex-production-warp")["warp_error"](
        *given
    )


def rolled(first, second, down, right):
    moved = torch.roll(first, (down, right), (2, 3))
    return float((second - moved).square().mean())


def over_all(first, second, down, right):
    now, before = seen_by_both(first, second, down, right)
    return float((now - before).square().sum() / first.numel())


def without_channels(first, second, down, right):
    now, before = seen_by_both(first, second, down, right)
    return (now - before).square().sum(1).mean()


def downwards_only(first, second, down, right):
    height, width = first.shape[-2:]
    now = second[..., abs(down) :, abs(right) :]
    before = first[..., : height - abs(down), : width - abs(right)]
    return (now - before).square().mean()


def sliced_to_minus_zero(first, second, down, right):
    if 0 not in (down, right):
        return warp_error(first, second, down, right)
    now, before = second[..., down:, right:], first[..., :-down, :-right]
    return (
        (now - before).square().mean() if now.shape == before.shape else before.mean()
    )


RIGHT = {
    check_quantized: [
        quantized,
        quantized_by_numpy,
        quantized_channel_by_channel,
        lambda weight: quantized(weight.double()),
        lambda weight: quantized(weight, (largest(weight) + 1e-8) / 127),
    ],
    check_tiles: [
        tiled,
        tiled_by_the_package,
        tiled_with_the_last_one_moved_back,
        tiled_and_joined,
        lambda network, picture, tile, reach: tiled(
            network.eval(), picture, tile, reach
        ).numpy(),
        # smaller tiles than it may
        lambda network, picture, tile, reach: tiled(network, picture, tile // 2, reach),
    ],
    check_warp_error: [warp_error, warp_error_by_mask, warp_error_of_the_package],
}


@pytest.mark.parametrize("check", RIGHT)
def test_right_answers(check, capsys):
    for answer in RIGHT[check]:
        for _ in range(TRIES):
            assert check(answer), capsys.readouterr().out
            assert capsys.readouterr().out.startswith("Correct")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda w: quantized(w, w.abs().max() / 127), "whole tensor"),
        (
            lambda w: quantized(w, (w.abs().max() / 127).expand(len(w), 1, 1, 1)),
            "all channels have the same scale",
        ),
        (lambda w: quantized(w, largest(w, (0, 2, 3)) / 127), "each input channel"),
        (lambda w: quantized(w, largest(w) / 127), "0 / 0 is NaN"),
        (lambda w: quantized(w, largest(w) / largest(w) * largest(w)), "127th"),
        (lambda w: quantized(w, largest(w).clamp_min(1e-8) / 128), "over 128"),
        (lambda w: quantized(w, largest(w).clamp_min(1e-8) / 127.5), "255 steps"),
        (lambda w: quantized(w, how=torch.trunc), "cut off towards zero"),
        (lambda w: quantized(w, how=lambda x: x), "cut off towards zero"),
        (lambda w: quantized(w, how=torch.floor), "rounded down"),
        (lambda w: (quantized(w)[0] - 1, quantized(w)[1]), "-128 is among"),
        (lambda w: quantized(w, kind=torch.float32), "bytes each"),
        (lambda w: quantized(w, kind=torch.int32), "bytes each"),
        (lambda w: quantized(w)[::-1], "integers come first"),
        (with_zero_point, "zero point"),
        (
            lambda w: (quantized(w)[0], with_zero_point(w)[1]),
            "from the least to the largest",
        ),
        (lambda w: (quantized(w)[0], 1 / quantized(w)[1]), "turn it round"),
        (lambda w: (quantized(w)[0], quantized(w)[1].flatten()), "shape"),
        (lambda w: quantized(w)[0], "two things"),
        (lambda w: (quantized(w)[0], "scale"), "tensor"),
        (lambda w: (quantized(w)[0][:1], quantized(w)[1]), "one integer for each"),
        (lambda w: None, "None"),
    ],
)
def test_wrong_integers_get_the_hint(answer, hint, capsys):
    refused(check_quantized, answer, hint, capsys, TRIES)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda *given: tiled(*given, margin=0), "there are seams"),
        (lambda *given: tiled(*given, margin=1), "weak seams"),
        (lambda *given: tiled(*given, mode="constant"), "zeros were put round"),
        (lambda *given: tiled(*given, mode="reflect"), "pixels were invented"),
        (lambda *given: tiled(*given, mode="replicate"), "pixels were invented"),
        (lambda *given: tiled(*given, drop=True), "last tile"),
        (lambda *given: tiled_and_joined(*given, last=False), "last tile"),
        (lambda network, picture, tile, reach: network(picture), "whole picture"),
        (
            lambda network, picture, tile, reach: tiled(
                network, picture, tile, 2 * reach
            ),
            "more than tile + 2 * reach",
        ),
        (
            lambda network, picture, tile, reach: tiled(
                network, picture, tile + 1, reach
            ),
            "more than tile + 2 * reach",
        ),
        (not_cut_off, "cut off again"),
        (from_the_corner, "begins at top"),
        (lambda network, picture, tile, reach: torch.zeros_like(picture), "never"),
        (lambda network, picture, tile, reach: [picture], "return a tensor"),
        (lambda network, picture, tile, reach: None, "None"),
    ],
)
def test_wrong_tiles_get_the_hint(answer, hint, capsys):
    refused(check_tiles, answer, hint, capsys, TRIES)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (the_book_s, "wrong way"),
        (lambda f, s, down, right: warp_error(f, s, -down, -right), "wrong way"),
        (lambda f, s, down, right: warp_error(f, s, right, down), "dimension 2"),
        (rolled, "brings in"),
        (over_all, "all pixels"),
        (without_channels, "over the channels"),
        (lambda *given: warp_error(*given) ** 0.5, "root"),
        (lambda *given: 2 * warp_error(*given), "all pictures' means"),
        (lambda *given: 0.05 * warp_error(*given), "compare second"),
        (downwards_only, "up or to the left"),
        (sliced_to_minus_zero, "-0 is empty"),
        (
            lambda f, s, *moved: [warp_error(f[:1], s[:1], *moved)] * 2,
            "one number",
        ),
        (
            lambda f, s, *moved: torch.tensor([warp_error(f, s, *moved)] * 2),
            "one number",
        ),
        (lambda first, second, down, right: None, "None"),
    ],
)
def test_wrong_warp_error_gets_the_hint(answer, hint, capsys):
    refused(check_warp_error, answer, hint, capsys, TRIES)


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_pixels_put_round_a_picture_change_its_border_from_the_second_layer_on(mode):
    """What the hints of `check_tiles` say of zeros and of mirrored pixels."""
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 12, 12)
    for layers in (1, 2):
        convolutions = [torch.nn.Conv2d(3, 3, 3, padding=1) for _ in range(layers)]
        network = torch.nn.Sequential(*convolutions)
        padded = F.pad(picture, (layers,) * 4, mode=mode)
        with torch.no_grad():
            found = network(padded)[..., layers:-layers, layers:-layers]
            change = (found - network(picture)).abs()
        inside = change[..., layers:-layers, layers:-layers].max()
        assert inside < 1e-5
        same = mode == "constant" and layers == 1
        assert bool(change.max() < 1e-5) == same
