"""The restoration networks: the published architecture, plain arithmetic, any size,
exact known pixels, and their files.
"""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from helpers import picture, refused, relative
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pltutorial.networks import apply, build, load_network, read_header, save_network
from pltutorial.networks.gated import GatedInpaintingNet
from pltutorial.networks.kinds import known_kinds
from pltutorial.networks.residual import (
    DenoisingNet,
    InpaintingNet,
    SubPixelNet,
    SuperResolutionNet,
)

ALL = {
    "super_resolution-2": (SuperResolutionNet, {"factor": 2}),
    "super_resolution-4": (SuperResolutionNet, {"factor": 4}),
    "super_resolution-8-resize": (
        SuperResolutionNet,
        {"factor": 8, "upsampling": "resize"},
    ),
    "sub_pixel-2": (SubPixelNet, {"factor": 2}),
    "sub_pixel-4": (SubPixelNet, {"factor": 4}),
    "sub_pixel-8": (SubPixelNet, {"factor": 8}),
    "denoising": (DenoisingNet, {}),
    "inpainting": (InpaintingNet, {}),
    "gated_inpainting": (GatedInpaintingNet, {}),
}
each = pytest.mark.parametrize("name", ALL)
both = pytest.mark.parametrize("name", ["inpainting", "gated_inpainting"])
RESIDUAL = ["sub_pixel-4", "denoising", "inpainting", "gated_inpainting"]


def make(name: str, width: int = 6, blocks: int = 2, seed: int = 0) -> nn.Module:
    """A small network all of whose weights count, biases and statistics included,
    as after a training.
    """
    torch.manual_seed(seed)
    kind, how = ALL[name]
    network = kind(width=width, blocks=blocks, **how)
    with torch.no_grad():
        for part, parameter in network.named_parameters():
            if part.endswith("bias") or "norm" in part:
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif ".two" in part or part.startswith("last"):
                parameter.mul_(4 if kind is not SuperResolutionNet else 1)
        for part, value in network.named_buffers():
            if part.endswith("mean"):
                value.add_(0.1 * torch.randn_like(value))
            elif part.endswith("var"):
                value.mul_(0.5 + torch.rand_like(value))
    return network.eval()


def hole(height: int, width: int, count: int = 1) -> torch.Tensor:
    mask = torch.zeros(count, 1, height, width)
    mask[..., height // 4 : -(-height * 3 // 4), width // 3 : -(-width * 2 // 3)] = 1
    return mask


def inputs(
    network: nn.Module, height: int, width: int, count: int = 1, device="cpu"
) -> tuple:
    image = picture(height, width, count=count, device=device)
    return (
        (image, hole(height, width, count).to(device))
        if network.kind.endswith("inpainting")
        else (image,)
    )


# --- plain arithmetic -----------------------------------------------------------------


def gated(values: dict, config: dict, x: torch.Tensor) -> torch.Tensor:
    """What gated convolutions draw of the picture and its mask."""

    def layer(x, name, up=False, stride=1, dilation=1):
        weight, bias = values[f"{name}.conv.weight"], values[f"{name}.conv.bias"]
        if up:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = F.conv2d(F.pad(x, (1,) * 4, "replicate"), weight, bias)
        else:
            x = F.conv2d(x, weight, bias, stride, dilation, dilation)
        half = x.shape[1] // 2
        return F.leaky_relu(x[:, :half], 0.3) / (1 + (-x[:, half:]).exp())

    height, width = x.shape[-2:]
    rows = torch.arange(-(-height // 4) * 4).clamp(max=height - 1)
    columns = torch.arange(-(-width // 4) * 4).clamp(max=width - 1)
    x = F.pixel_unshuffle(x[..., rows, :][..., columns], 2)
    skipped = layer(x, "first")
    x = layer(skipped, "down", stride=2)
    for n, dilation in enumerate((1, 2, 4, 8, 16, 8, 4, 2, 1)[: config["blocks"]]):
        x = x + layer(x, f"blocks.{n}", dilation=dilation)
    x = layer(layer(x, "up.0", up=True) + skipped, "up.1", up=True)
    x = F.pad(x, (1,) * 4, "replicate")
    x = F.conv2d(x, values["last.weight"], values["last.bias"])
    return x[..., :height, :width]


def plain(
    network: nn.Module, image: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The architecture in the plainest operations, with the parameters of a
    network in eval mode.
    """
    values = network.state_dict(keep_vars=True)
    config, kind = network.config, network.kind

    def conv(x, name, dilation=1):
        weight = values[f"{name}.weight"]
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(
            x, weight, values[f"{name}.bias"], padding=padding, dilation=dilation
        )

    def layer(x, name, up="", relu=True, normed=True):
        weight, bias = values[f"{name}.conv.weight"], values[f"{name}.conv.bias"]
        if up == "transposed":
            x = F.conv_transpose2d(
                F.pad(x, (1,) * 4, "reflect"), weight, bias, 2, 1, output_padding=1
            )
            x = x[..., 2:-2, 2:-2]
        else:
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3) if up else x
            x = F.conv2d(
                F.pad(x, (weight.shape[-1] // 2,) * 4, "reflect"), weight, bias
            )
        if normed:
            norm = {
                k: values[f"{name}.norm.batch.{k}"].view(1, -1, 1, 1)
                for k in ("weight", "bias")
            }
            mean, var = (
                values[f"{name}.norm.batch.running_{k}"].view(1, -1, 1, 1)
                for k in ("mean", "var")
            )
            x = (x - mean) / (var + 1e-5).sqrt() * norm["weight"] + norm["bias"]
        return F.relu(x) if relu else x

    if kind == "super_resolution":
        x = layer(2 * image - 1, "first")
        for n in range(config["blocks"]):
            x = x + layer(layer(x, f"blocks.{n}.one"), f"blocks.{n}.two", relu=False)
        for n in range({2: 1, 4: 2, 8: 3}[config["factor"]]):
            x = layer(x, f"up.{n}", up=config["upsampling"])
        return (layer(x, "last", relu=False, normed=False).tanh() + 1) / 2

    if kind == "gated_inpainting":
        known = (1 - mask).sum((2, 3), True).clamp(min=1)
        mean = (image * (1 - mask)).sum((2, 3), True) / known
        filled = torch.where(mask > 0, mean, image)
        drawn = mean + gated(values, config, torch.cat([filled - mean, mask], 1))
        return torch.where(mask > 0, drawn, image)

    fold, unfold = {
        "sub_pixel": (1, config.get("factor")),
        "denoising": (2, 2),
        "inpainting": (4, 4),
    }[kind]
    dilations = (1, 2, 4, 8, 4, 2) if kind == "inpainting" else (1,)

    def residual(x):
        height, width = x.shape[-2:]
        rows = torch.arange(-(-height // fold) * fold).clamp(max=height - 1)
        columns = torch.arange(-(-width // fold) * fold).clamp(max=width - 1)
        x = x[..., rows, :][..., columns]
        parts = [
            x[:, c, i::fold, j::fold]
            for c in range(x.shape[1])
            for i in range(fold)
            for j in range(fold)
        ]
        x = head = conv(torch.stack(parts, 1), "first")
        for n in range(config["blocks"]):
            dilation = dilations[n % len(dilations)]
            x = x + conv(
                F.relu(conv(x, f"blocks.{n}.one", dilation)), f"blocks.{n}.two"
            )
        x = conv(head + x, "last")
        large = x.new_zeros(len(x), 3, x.shape[2] * unfold, x.shape[3] * unfold)
        for channel in range(x.shape[1]):
            c, (i, j) = channel // unfold**2, divmod(channel % unfold**2, unfold)
            large[:, c, i::unfold, j::unfold] = x[:, channel]
        return large[..., : height * unfold // fold, : width * unfold // fold]

    if kind == "sub_pixel":
        size = [side * unfold for side in image.shape[-2:]]
        return F.interpolate(image, size, mode="bicubic") + residual(image - 0.5)
    if kind == "denoising":
        return image + residual(image - 0.5)
    there = (mask == 0).expand_as(image)
    means = [
        one[kept].view(3, -1).mean(1) for one, kept in zip(image, there, strict=True)
    ]
    mean = torch.stack(means).nan_to_num().view(-1, 3, 1, 1)  # of nothing: 0
    drawn = mean + residual(
        torch.cat([torch.where(there, image - mean, torch.zeros(())), mask], 1)
    )
    return torch.where(there, image, drawn)


class TestArchitecture:
    @pytest.mark.parametrize(("factor", "upsamplings"), [(2, 1), (4, 2), (8, 3)])
    @pytest.mark.parametrize("how", ["transposed", "resize"])
    def test_layers_are_those_of_the_paper(self, factor, upsamplings, how):
        """Johnson et al. (2016), supplementary table 2: 64 channels, four residual
        blocks, log2(factor) upsamplings.
        """
        network = SuperResolutionNet(factor, upsampling=how)
        table = [(64, 3, 9, 9), *[(64, 64, 3, 3)] * (8 + upsamplings), (3, 64, 9, 9)]
        convs = [
            m
            for m in network.modules()
            if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
        ]
        assert [tuple(m.weight.shape) for m in convs] == table
        doubling = [m for m in convs if isinstance(m, nn.ConvTranspose2d)]
        assert [m.stride for m in doubling] == [(2, 2)] * (
            upsamplings if how == "transposed" else 0
        )
        filters = sum(o * i * k * k + o for o, i, k, _ in table)
        norms = 2 * 64 * (len(table) - 1)
        assert sum(p.numel() for p in network.parameters()) == filters + norms
        assert (
            len([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)])
            == len(table) - 1
        )

    def test_the_paper_s_network_for_four_times_has_401_859_parameters(self):
        assert sum(p.numel() for p in SuperResolutionNet().parameters()) == 401_859

    @pytest.mark.parametrize(
        ("network", "inputs", "outputs"),
        [
            (SubPixelNet(4, 10, 3), 3, 48),
            (SubPixelNet(8, 10, 3), 3, 192),
            (DenoisingNet(10, 3), 12, 12),
            (InpaintingNet(10, 3), 64, 48),
        ],
        ids=lambda value: getattr(value, "kind", ""),
    )
    def test_residual_networks_have_convolutions_of_three_and_nothing_else(
        self, network, inputs, outputs
    ):
        count = (
            10 * inputs * 9 + 10 + 6 * (10 * 10 * 9 + 10) + outputs * 10 * 9 + outputs
        )
        assert sum(p.numel() for p in network.parameters()) == count
        assert list(network.buffers()) == []

    @each
    def test_value_and_gradients_are_those_of_plain_operations(self, name, device):
        network, found = make(name).to(device), []
        for forward in (network, lambda *a: plain(network, *a)):
            given = inputs(network, 18, 21, count=2, device=device)
            given[0].requires_grad_()
            output = forward(*given)
            network.zero_grad()
            (
                output * picture(*output.shape[-2:], seed=7, count=2, device=device)
            ).sum().backward()
            found.append(
                (
                    output.detach(),
                    given[0].grad,
                    [p.grad.clone() for p in network.parameters()],
                )
            )
        (output, image_grad, grads), (output2, image_grad2, grads2) = found
        assert output.shape == output2.shape
        assert (output - output2).abs().max() < 1e-5
        assert relative(image_grad, image_grad2) < 1e-4
        for (part, _), one, other in zip(
            network.named_parameters(), grads, grads2, strict=True
        ):
            assert relative(one, other) < 1e-3, part

    @each
    def test_gradients_reach_every_parameter_in_training(self, name):
        """No unused one, for which processes that share a batch would wait; none
        that starts at zero.
        """
        torch.manual_seed(0)
        kind, how = ALL[name]
        network = kind(width=6, blocks=2, **how).train()
        output = network(*inputs(network, 12, 12, count=2))
        (output * picture(*output.shape[-2:], seed=7, count=2)).sum().backward()
        for part, parameter in network.named_parameters():
            assert parameter.grad is not None, part
            assert parameter.grad.abs().max() > 0, part

    @each
    def test_config_builds_the_same_architecture(self, name):
        network = make(name)
        copy = build(json.loads(json.dumps(network.config)))
        assert type(copy) is type(network)
        assert copy.config == network.config
        assert network.config["kind"] in known_kinds()
        copy.load_state_dict(network.state_dict())
        given = inputs(network, 12, 14)
        with torch.no_grad():
            assert torch.equal(copy.eval()(*given), network(*given))

    def test_bad_input(self):
        for kind in (SuperResolutionNet, SubPixelNet):
            for factor in (0, 3, 16):
                with refused(f"the factor {factor}", "2, 4, 8"):
                    kind(factor)
        for kind in (SuperResolutionNet, SubPixelNet, DenoisingNet, InpaintingNet):
            with refused("width=0", "at least 1"):
                kind(width=0)
            with refused("blocks=-1", "at least 1"):
                kind(blocks=-1)
        with refused("'transpose'", "nearest is 'transposed'"):
            SuperResolutionNet(upsampling="transpose")


class TestStart:
    """What an untrained network does: nearly nothing, so that training begins
    from the plain way.
    """

    @pytest.mark.parametrize("factor", [2, 4, 8])
    def test_sub_pixel_starts_at_about_bicubic(self, factor):
        torch.manual_seed(0)
        image = picture(24, 30)
        bicubic = F.interpolate(image, scale_factor=factor, mode="bicubic")
        with torch.no_grad():
            apart = (SubPixelNet(factor)(image) - bicubic).abs().mean()
        assert 0 < apart < 0.15 * (bicubic - bicubic.mean((2, 3), True)).abs().mean()

    def test_denoising_starts_at_about_its_input_and_inpainting_at_about_the_mean(self):
        torch.manual_seed(0)
        image, mask = picture(24, 30), hole(24, 30)
        mean = image[..., mask[0, 0] == 0].mean(2)[..., None, None]
        with torch.no_grad():
            assert 0 < (DenoisingNet()(image) - image).abs().mean() < 0.03
            output = InpaintingNet()(image, mask)
        assert 0 < ((output - mean) * mask).abs().max() < 0.15


class TestOutput:
    @each
    def test_has_the_right_size_for_any_input(self, name):
        network = make(name, width=2, blocks=1)
        smallest, factor = network.smallest, network.factor

        @settings(max_examples=12, deadline=None)
        @given(st.integers(smallest, 27), st.integers(smallest, 27), st.integers(1, 2))
        def check(height, width, count):
            given = (torch.rand(count, 3, height, width),)
            if network.kind.endswith("inpainting"):
                given += ((torch.rand(count, 1, height, width) < 0.3).float(),)
            with torch.no_grad():
                output = network(*given)
            assert output.shape == (count, 3, factor * height, factor * width)
            assert output.dtype == torch.float32
            assert output.isfinite().all()

        check()

    @pytest.mark.parametrize("name", RESIDUAL)
    @pytest.mark.parametrize("size", [(1, 1), (1, 19), (19, 1), (2, 3)])
    def test_strips(self, name, size):
        network = make(name)
        given = inputs(network, *size)
        with torch.no_grad():
            output = network(*given)
            assert output.shape[-2:] == tuple(network.factor * side for side in size)
            assert (output - plain(network, *given)).abs().max() < 1e-5

    def test_the_paper_s_network_refuses_what_its_borders_cannot_reflect(self):
        network = make("super_resolution-4")
        for size in ((4, 9), (9, 4)):
            with refused(f"{size[1]}x{size[0]} pixels", "at least 5"):
                network(picture(*size))
            with refused(f"{size[1]}x{size[0]} pixels", "at least 5"):
                apply(network, picture(*size))
        with torch.no_grad():
            assert network(picture(5, 5)).shape == (1, 3, 20, 20)

    @each
    def test_each_picture_of_a_batch_is_on_its_own(self, name):
        network = make(name)
        given = inputs(network, 14, 17, count=3)
        with torch.no_grad():
            together = network(*given)
            alone = torch.cat(
                [network(*(part[i : i + 1] for part in given)) for i in range(3)]
            )
        assert (together - alone).abs().max() < 1e-5

    @pytest.mark.parametrize("name", RESIDUAL)
    def test_residual_networks_do_not_clamp(self, name):
        """Training shall see how far out a value is; noise may lie
        outside the range.
        """
        network = make(name)
        with torch.no_grad():
            network.last.bias += 5
            output = network(*inputs(network, 12, 12))
        assert output.max() > 2

    def test_the_paper_s_network_stays_in_range_whatever_its_weights(self):
        network = make("super_resolution-4")
        with torch.no_grad():
            network.last.conv.weight *= 100
            output = network(picture(12, 12))
        assert output.min() >= 0
        assert output.max() <= 1

    @each
    def test_bfloat16_is_close_to_float32(self, name, device):
        network = make(name, width=16, blocks=4).to(device)
        given = inputs(network, 40, 44, device=device)
        with torch.no_grad():
            exact = network(*given)
            with torch.autocast(device.type, torch.bfloat16):
                coarse = network(*given)
        assert coarse.dtype == torch.float32
        assert 0 < (exact - coarse).abs().max() < 2 / 255


class TestInpainting:
    @both
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    def test_known_pixels_stay_exactly(self, name, precision, device):
        network = make(name).to(device)
        image, mask = inputs(network, 21, 30, count=2, device=device)
        with (
            torch.no_grad(),
            torch.autocast(
                device.type, torch.bfloat16, enabled=precision == "bfloat16"
            ),
        ):
            output = network(image, mask)
        there = (mask == 0).expand_as(image)
        assert torch.equal(output[there], image[there])
        assert (output[~there] - image[~there]).abs().mean() > 0.01

    @both
    def test_values_in_the_holes_are_not_looked_at(self, name):
        network = make(name)
        image, mask = inputs(network, 21, 30, count=2)
        with torch.no_grad():
            output = network(image, mask)
            for other in (0.0, 1.0, -50.0, picture(21, 30, seed=9, count=2)):
                assert torch.equal(
                    network(torch.where(mask == 1, other, image), mask), output
                )
            more = image + 0.1 * (mask == 0)  # what is there is looked at
            assert not torch.equal(network(more, mask), output)

    @both
    def test_a_mask_of_whole_numbers_or_truths_is_as_good(self, name):
        network = make(name)
        image, mask = inputs(network, 12, 12)
        with torch.no_grad():
            expected = network(image, mask)
            assert torch.equal(network(image, mask.bool()), expected)
            assert torch.equal(network(image, mask.long()), expected)

    def test_the_middle_of_a_hole_sees_its_rim(self):
        """With the six blocks of the default, across more than the 60 pixels that
        its card promises.
        """
        torch.manual_seed(0)
        network = InpaintingNet(8).eval()
        mask = torch.zeros(1, 1, 160, 160)
        mask[..., 40:120, 40:120] = 1
        image = picture(160, 160).requires_grad_()
        mean = network.known_mean(image, mask).detach()
        network(image, mask, mean)[..., 80, 80].sum().backward()
        assert image.grad.abs().max() > 0

    def test_gated_it_sees_across_a_box_of_a_quarter_of_512_pixels(self):
        torch.manual_seed(0)
        network = GatedInpaintingNet(8).eval()
        mask = torch.zeros(1, 1, 512, 512)
        mask[..., 128:384, 128:384] = 1
        image = picture(512, 512).requires_grad_()
        mean = network.known_mean(image, mask).detach()
        network(image, mask, mean)[..., 256, 256].sum().backward()
        assert image.grad.abs().max() > 0


class TestReach:
    @each
    def test_is_how_far_an_output_pixel_looks(self, name):
        """By the gradient of single pixels of the output, at every place within a
        square of the input.
        """
        network = make(name, width=8)
        reach, factor, middle = network.reach, network.factor, network.reach + 5
        farthest = 0
        for place in range(middle * factor, (middle + max(network.fold, 1)) * factor):
            image = picture(2 * middle + 8, 2 * middle + 8).requires_grad_()
            given = (image,)
            if network.kind.endswith("inpainting"):
                mask = torch.zeros(1, 1, *image.shape[-2:])
                mask[..., place, place] = 1
                given = (image, mask, network.known_mean(image, mask).detach())
            network(*given)[..., place, place].sum().backward()
            seen = image.grad[0].abs().sum(0)
            for side in (seen.sum(0), seen.sum(1)):
                (where,) = torch.nonzero(side, as_tuple=True)
                apart = max(
                    place // factor - int(where.min()),
                    int(where.max()) - place // factor,
                )
                farthest = max(farthest, apart)
        assert reach - network.fold - 1 <= farthest <= reach


class TestFiles:
    @each
    def test_saved_and_loaded_it_is_the_same_but_for_half_precision(
        self, name, tmp_path
    ):
        network = make(name)
        card = {"task": network.kind, "limits": "none"}
        path = save_network(tmp_path / "network.safetensors", network, card)
        loaded = load_network(path, "cpu")
        assert type(loaded) is type(network)
        assert loaded.config == network.config
        assert loaded.card == card
        assert read_header(path) == (network.config, card)
        assert not loaded.training
        given = inputs(network, 16, 18)
        with torch.no_grad():
            apart = (loaded(*given) - network(*given)).abs().max()
        assert apart < 0.5 / 255
        for part, value in network.state_dict().items():
            if value.is_floating_point():
                assert torch.equal(loaded.state_dict()[part], value.half().float()), (
                    part
                )
        again = save_network(tmp_path / "again.safetensors", loaded)
        assert again.read_bytes() == path.read_bytes()

    def test_small_weights_survive_half_precision(self, tmp_path):
        """Below 6e-5 they are kept coarsely, and below 3e-8 lost:
        no picture shows it.
        """
        network = make("sub_pixel-4")
        with torch.no_grad():
            network.blocks[0].two.weight.mul_(1e-4)
        given = inputs(network, 16, 18)
        loaded = load_network(
            save_network(tmp_path / "network.safetensors", network), "cpu"
        )
        assert loaded.blocks[0].two.weight.abs().max() > 0
        with torch.no_grad():
            assert (loaded(*given) - network(*given)).abs().max() < 0.5 / 255
