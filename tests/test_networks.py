"""The image transformation networks: the published architecture, plain arithmetic, no
borders, and their files.
"""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from helpers import picture, refused, relative
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pltutorial.networks import (
    FastTransformNet,
    TransformNet,
    apply,
    build,
    load_network,
    save_network,
)
from pltutorial.networks.transform import ConvLayer, _Norm

STYLES = ("great_wave", "poppies", "starry_night")
KINDS = [
    (kind, {"upsampling": upsampling, **more})
    for kind in (TransformNet, FastTransformNet)
    for upsampling, more in (
        ("resize", {}),
        ("transposed", {}),
        ("resize", {"styles": STYLES}),
        ("resize", {"norm": "batch"}),
    )
]
IDS = [
    "-".join(
        [
            kind.kind,
            how["upsampling"],
            "styles" if "styles" in how else how.get("norm", "instance"),
        ]
    )
    for kind, how in KINDS
]


def make(kind=TransformNet, width=4, blocks=2, seed=0, **how) -> TransformNet:
    """A small network whose scales and shifts are no ones and zeros, so that
    leaving one out is seen.
    """
    torch.manual_seed(seed)
    network = kind(width, blocks, **how)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def plain(
    network: TransformNet, image: torch.Tensor, shares: torch.Tensor | None = None
) -> torch.Tensor:
    """The architecture in the plainest operations, with the parameters of a network;
    for training mode.
    """
    values = dict(network.named_parameters())
    how = network.config

    def norm(x, name):
        if how["norm"] == "batch":
            mean, var = (
                x.mean((0, 2, 3), keepdim=True),
                x.var((0, 2, 3), unbiased=False, keepdim=True),
            )
            scale, shift = (
                values[f"{name}.batch.weight"][None],
                values[f"{name}.batch.bias"][None],
            )
        else:
            mean, var = (
                x.mean((2, 3), keepdim=True),
                x.var((2, 3), unbiased=False, keepdim=True),
            )
            scale, shift = values[f"{name}.weight"], values[f"{name}.bias"]
            scale, shift = (
                (scale[None], shift[None])
                if shares is None
                else (shares @ scale, shares @ shift)
            )
        return (x - mean) / (var + 1e-5).sqrt() * scale[..., None, None] + shift[
            ..., None, None
        ]

    def layer(x, name, stride=1, up="", relu=True, normed=True):
        weight, bias = values[f"{name}.conv.weight"], values[f"{name}.conv.bias"]
        if up == "transposed":
            x = F.conv_transpose2d(
                F.pad(x, (1,) * 4, "reflect"), weight, bias, 2, 1, output_padding=1
            )
            x = x[..., 2:-2, 2:-2]
        else:
            if up:
                x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            x = F.conv2d(
                F.pad(x, (weight.shape[-1] // 2,) * 4, "reflect"), weight, bias, stride
            )
        x = norm(x, f"{name}.norm") if normed else x
        return F.relu(x) if relu else x

    height, width = image.shape[-2:]
    x = 2 * F.pad(image, (0, -width % 4, 0, -height % 4), "reflect") - 1
    if how["kind"] == "fast":
        x = F.pixel_unshuffle(x, 2)
        x = layer(layer(x, "down.0"), "down.1", 2)
    else:
        x = layer(layer(layer(x, "down.0"), "down.1", 2), "down.2", 2)
    for number in range(how["blocks"]):
        x = x + layer(
            layer(x, f"blocks.{number}.one"), f"blocks.{number}.two", relu=False
        )
    for number in range(2):
        x = layer(x, f"up.{number}", up=how["upsampling"])
    x = layer(x, "last", relu=False, normed=False)
    return (x.tanh()[..., :height, :width] + 1) / 2


class TestArchitecture:
    def test_has_the_published_number_of_parameters(self):
        assert sum(p.numel() for p in TransformNet().parameters()) == 1_679_235

    @pytest.mark.parametrize("width", [2, 32])
    @pytest.mark.parametrize("norm", ["instance", "batch"])
    def test_layers_are_those_of_the_supplementary_table(self, width, norm):
        """Johnson et al. (2016), supplementary table 1: filters as
        (outputs, inputs, kernel, kernel), then the norms.
        """
        w = width
        blocks = [(4 * w, 4 * w, 3, 3)] * 10
        table = [(w, 3, 9, 9), (2 * w, w, 3, 3), (4 * w, 2 * w, 3, 3), *blocks]
        table += [(2 * w, 4 * w, 3, 3), (w, 2 * w, 3, 3), (3, w, 9, 9)]
        network = TransformNet(w, norm=norm)
        convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
        assert [tuple(m.weight.shape) for m in convs] == table
        assert [m.stride[0] for m in convs] == [1, 2, 2] + [1] * 13
        filters = sum(o * i * k * k + o for o, i, k, _ in table)
        norms = sum(2 * outputs for outputs, *_ in table[:-1])
        assert sum(p.numel() for p in network.parameters()) == filters + norms
        assert sum(b.numel() for b in network.buffers()) == (
            0 if norm == "instance" else norms + 15
        )

    def test_both_upsamplings_have_as_many_parameters_and_double_the_size(self):
        counts, shapes = [], []
        for upsampling in ("resize", "transposed"):
            layer = ConvLayer(8, 4, 3, upsampling=upsampling)
            counts.append(sum(p.numel() for p in layer.parameters()))
            shapes.append(layer(torch.zeros(1, 8, 16, 16)).shape)
        assert counts[0] == counts[1]
        assert shapes[0] == shapes[1] == (1, 4, 32, 32)

    def test_fast_variant_is_smaller_and_quicker_by_what_it_says(self):
        image = torch.rand(1, 3, 64, 64)
        sizes, costs = [], []
        for network in (TransformNet(), FastTransformNet()):
            sizes.append(sum(p.numel() for p in network.parameters()))
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                network(image)
            costs.append(counter.get_total_flops())
        assert 0.2 < sizes[1] / sizes[0] < 0.3
        assert 0.02 < costs[1] / costs[0] < 0.25

    @pytest.mark.parametrize(("kind", "how"), KINDS, ids=IDS)
    def test_value_and_gradients_are_those_of_plain_operations(self, kind, how, device):
        network = make(kind, **how).to(device).train()
        shares = None
        if "styles" in how:
            shares = torch.tensor([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]], device=device)
        found = []
        for forward in (
            lambda *a: network(*[x for x in a if x is not None]),
            lambda *a: plain(network, *a),
        ):
            image = picture(22, 27, count=2, device=device).requires_grad_()
            output = forward(image, shares)
            assert output.shape == image.shape
            network.zero_grad()
            (output * picture(22, 27, seed=7, count=2, device=device)).sum().backward()
            grads = [p.grad.clone() for p in network.parameters()]
            found.append((output.detach(), image.grad, grads))
        (output, image_grad, grads), (output2, image_grad2, grads2) = found
        assert (output - output2).abs().max() < 2e-5
        assert relative(image_grad, image_grad2) < 1e-3
        largest = max(g.norm() for g in grads2)
        for (name, _), one, other in zip(
            network.named_parameters(), grads, grads2, strict=True
        ):
            # a bias before a normalisation has the gradient 0, and only
            # rounding is left of it
            assert (one - other).norm() <= 2e-3 * other.norm() + 1e-5 * largest, name

    def test_unknown_options_name_the_nearest(self):
        with refused("'instanc'", "nearest is 'instance'"):
            TransformNet(norm="instanc")
        with refused("'transpose'", "nearest is 'transposed'"):
            FastTransformNet(upsampling="transpose")
        with refused("blocks=0", "at least 1"):
            TransformNet(blocks=0)
        with refused("norm='instance'", "styles"):
            TransformNet(norm="batch", styles=STYLES)

    @pytest.mark.parametrize(("kind", "how"), KINDS, ids=IDS)
    def test_config_builds_the_same_architecture(self, kind, how):
        network = make(kind, **how)
        copy = build(json.loads(json.dumps(network.config)))
        assert type(copy) is kind
        assert copy.config == network.config
        copy.load_state_dict(network.state_dict())


class TestOutput:
    @pytest.mark.parametrize("kind", [TransformNet, FastTransformNet])
    @pytest.mark.parametrize("upsampling", ["resize", "transposed"])
    def test_is_as_large_as_the_input_and_in_range(self, kind, upsampling):
        network = make(kind, width=2, blocks=1, upsampling=upsampling).eval()

        @settings(max_examples=15, deadline=None)
        @given(st.integers(16, 67), st.integers(16, 67), st.integers(1, 2))
        def check(height, width, count):
            with torch.no_grad():
                output = network(torch.rand(count, 3, height, width))
            assert output.shape == (count, 3, height, width)
            assert output.dtype == torch.float32
            assert output.min() > 0
            assert output.max() < 1

        check()

    def test_extreme_pictures_and_weights_stay_in_range(self):
        network = make()
        with torch.no_grad():
            network.last.conv.weight *= 100
        for image in (
            torch.zeros(1, 3, 16, 16),
            torch.ones(1, 3, 16, 16),
            torch.rand(1, 3, 16, 16),
        ):
            output = apply(network, image, precision="float32")
            assert output.isfinite().all()
            assert output.min() >= 0
            assert output.max() <= 1

    @pytest.mark.parametrize("kind", [TransformNet, FastTransformNet])
    def test_an_even_picture_gets_no_frame(self, kind):
        """Under reflection a border looks like the middle; with zeros around it the
        same network draws a frame.
        """
        network = make(kind).eval()
        image = torch.tensor([0.2, 0.7, 0.4]).view(1, 3, 1, 1).expand(1, 3, 40, 40)
        output = apply(network, image, precision="float32")
        assert (output - output[..., 20:21, 20:21]).abs().max() < 1e-3
        noise = apply(network, picture(40, 40), precision="float32")
        assert noise.std() > 0.01

    def test_the_transposed_layer_repeats_its_pattern_up_to_the_border(self):
        torch.manual_seed(0)
        layer, even = (
            ConvLayer(3, 2, 3, upsampling="transposed", relu=False),
            torch.ones(1, 3, 8, 8),
        )
        with torch.no_grad():
            output, zeros = layer(even), layer.conv(even)
        assert output.shape == (1, 2, 16, 16)
        for i in (0, 1):
            for j in (0, 1):
                part = output[..., i::2, j::2]
                assert (part - part[..., :1, :1]).abs().max() < 1e-6
                middle = zeros[..., 8 + i, 8 + j]
                assert torch.allclose(part[..., 0, 0], middle, atol=1e-6)
        # zeros around it would have been seen
        assert (zeros[..., 15, 15] - zeros[..., 7, 7]).abs().max() > 1e-3

    def test_too_small_pictures_are_refused(self):
        network = make()
        for size in ((15, 40), (40, 15)):
            with refused(f"{size[1]}x{size[0]}", "at least 16"):
                network(torch.rand(1, 3, *size))
        with refused("picture"):
            apply(network, torch.rand(3, 20, 20))

    def test_bfloat16_is_close_to_float32(self, device):
        network = make(width=8).to(device).eval()
        image = picture(48, 56, device=device)
        exact, coarse = (
            apply(network, image, precision=p) for p in ("float32", "bfloat16")
        )
        assert coarse.dtype == torch.float32
        assert 0 < (exact - coarse).abs().max() < 6 / 255
        assert (exact - coarse).abs().mean() < 1 / 255

    def test_apply_needs_no_gradient_and_leaves_none(self):
        network = make().eval()
        output = apply(network, picture(20, 20).requires_grad_(), precision="float32")
        assert not output.requires_grad
        assert all(p.grad is None for p in network.parameters())
        assert torch.allclose(output, network(picture(20, 20)).detach(), atol=1e-6)


class TestNormalisation:
    @pytest.mark.parametrize("count", [1, 3])
    def test_instance_norm_is_that_of_torch(self, count, device):
        """Also the path for other devices, by group normalisation, has its values
        and its gradients.
        """
        mine, theirs = (
            _Norm(6, "instance", 0).to(device),
            nn.InstanceNorm2d(6, affine=True).to(device),
        )
        torch.manual_seed(1)
        with torch.no_grad():
            for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
                other.copy_(one.copy_(torch.randn(6)))
        values = 3 + 5 * torch.randn(count, 6, 9, 7, device=device)

        def grouped(x):
            return F.group_norm(x, 6, theirs.weight, theirs.bias)

        found = []
        for function, module in (
            (lambda x: mine(x, None), mine),
            (theirs, theirs),
            (grouped, theirs),
        ):
            x = values.clone().requires_grad_()
            module.zero_grad()
            output = function(x)
            (output * values.roll(1)).sum().backward()
            found.append(
                [
                    output.detach(),
                    x.grad,
                    *(p.grad.clone() for p in module.parameters()),
                ]
            )
        for other in found[1:]:
            for one, two in zip(found[0], other, strict=True):
                assert relative(one, two) < 2e-5

    def test_each_picture_of_a_batch_is_on_its_own(self):
        network, images = make(styles=STYLES).eval(), picture(20, 24, count=3)
        style = torch.tensor([2, 0, 1])
        with torch.no_grad():
            together = network(images, style)
            alone = torch.cat(
                [network(images[i : i + 1], style[i : i + 1]) for i in range(3)]
            )
        assert (together - alone).abs().max() < 1e-5

    def test_contrast_of_a_picture_is_removed_by_the_instance_norm_alone(self):
        """Ulyanov et al. (2016): after the first layer and its norm a picture of half
        the contrast looks the same.
        """
        image = picture(24, 24)
        paler = image / 2 + 0.25
        distances = []
        for norm in ("instance", "batch"):
            network = make(blocks=1, norm=norm).eval()
            with torch.no_grad():
                one, other = network(image), network(paler)
            distances.append(
                float(
                    (one - other).abs().max()
                    / (one - one.mean((2, 3), True)).abs().max()
                )
            )
        assert distances[0] < 0.01
        assert distances[1] > 0.1

    def test_batch_norm_uses_and_keeps_the_statistics_of_training(self):
        network, images = make(norm="batch"), picture(16, 16, count=2)
        before = [b.clone() for b in network.buffers()]
        network.train()(images)
        assert any(
            not torch.equal(b, c)
            for b, c in zip(network.buffers(), before, strict=True)
        )
        network.eval()
        with torch.no_grad():
            assert torch.allclose(network(images)[:1], network(images[:1]), atol=1e-5)


class TestStyles:
    def test_an_index_is_a_share_of_one(self):
        network, images = make(styles=STYLES).eval(), picture(16, 20, count=2)
        with torch.no_grad():
            by_index = network(images, torch.tensor([1, 2]))
            by_share = network(images, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
            for_all = network(images, network.blend("poppies"))
        assert torch.equal(by_index, by_share)
        assert torch.allclose(for_all[0], by_index[0], atol=1e-6)
        assert not torch.allclose(for_all[1], by_index[1], atol=1e-3)

    def test_a_blend_is_a_network_with_averaged_scales_and_shifts(self):
        network, image = make(styles=STYLES).eval(), picture(20, 20)
        shares = network.blend({"great_wave": 3, "starry_night": 1})
        assert torch.allclose(shares, torch.tensor([[0.75, 0.0, 0.25]]))
        single = make()
        tensors = network.state_dict()
        single.load_state_dict(
            {k: (shares @ v)[0] if v.ndim == 2 else v for k, v in tensors.items()}
        )
        with torch.no_grad():
            assert torch.allclose(
                network(image, shares), single.eval()(image), atol=1e-5
            )

    @pytest.mark.parametrize("noise", [False, True])
    @pytest.mark.parametrize("kind", [TransformNet, FastTransformNet])
    def test_a_style_cut_out_paints_as_the_whole(self, kind, noise):
        whole, image = kind(4, 1, styles=STYLES, noise=noise).eval(), picture(21, 26)
        with torch.no_grad():
            for parameter in whole.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
            for disturb in whole.noise:
                disturb.seed = 3
            for style in STYLES:
                alone = whole.only(style)
                assert torch.equal(alone(image), whole(image, whole.blend(style)))
            mixed = {"poppies": 1, "great_wave": 3}
            blend = whole(image, whole.blend(mixed))
            assert torch.allclose(whole.only(mixed)(image), blend, atol=1e-6)
        assert (alone.style_names, alone.training) == ((), False)
        assert alone.card["styles"] == ["starry_night"]
        with refused("'popies'", "nearest is 'poppies'"):
            whole.only("popies")

    def test_a_chosen_style_is_painted_unless_another_is_given(self):
        network, image = make(styles=STYLES).eval(), picture(16, 20)
        with torch.no_grad():
            poppies, wave = (
                network(image, network.blend(name))
                for name in ("poppies", "great_wave")
            )
            network.chosen = "poppies"
            assert torch.equal(network(image), poppies)
            assert torch.equal(network(image, network.blend("great_wave")), wave)

    def test_blending_equal_styles_changes_nothing(self):
        network, image = make(styles=STYLES).eval(), picture(20, 20)
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.ndim == 2:
                    parameter.copy_(parameter[:1].expand_as(parameter))
            one, blend = (
                network(image, network.blend(w))
                for w in ("poppies", dict.fromkeys(STYLES, 1))
            )
        assert torch.allclose(one, blend, atol=1e-5)

    def test_gradient_reaches_the_rows_of_the_chosen_styles_only(self):
        network = make(styles=STYLES)
        network(
            picture(16, 16, count=2), torch.tensor([0, 2])
        ).square().sum().backward()
        tables = [p.grad for p in network.parameters() if p.ndim == 2]
        assert len(tables) == 2 * (3 + 2 * 2 + 2)
        for table in tables:
            assert table[1].abs().max() == 0
            assert table[0].abs().max() > 0
            assert table[2].abs().max() > 0

    def test_bad_styles_are_refused(self):
        network, image = make(styles=STYLES), picture(16, 16, count=2)
        with refused("3 styles", "network.blend"):
            network(image)
        with refused("(2, 2)", "(2, 3)"):
            network(image, torch.full((2, 2), 0.5))
        with refused("without styles", "leave it out"):
            make()(image, torch.tensor([0, 0]))
        with refused("'popies'", "nearest is 'poppies'"):
            network.blend("popies")
        with refused("at least 0"):
            network.blend({"poppies": -1, "great_wave": 2})
        with refused("not all of them 0"):
            network.blend({"poppies": 0})


class TestFiles:
    @pytest.mark.parametrize(("kind", "how"), KINDS, ids=IDS)
    def test_round_trip(self, kind, how, tmp_path):
        network = make(kind, **how)
        style = (torch.tensor([1]),) if "styles" in how else ()
        # gives batch normalisation statistics of its own
        network.train()(picture(16, 16), *style)
        card = {"steps": 7, "limits": "none – at all"}
        path = save_network(tmp_path / "net.safetensors", network, card)
        loaded = load_network(path, "cpu")
        assert type(loaded) is kind
        assert (loaded.config, loaded.card) == (network.config, card)
        assert not loaded.training
        assert not any(p.requires_grad for p in loaded.parameters())
        tensors = loaded.state_dict()
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                assert torch.equal(tensors[name], value.half().float()), name
        image = picture(20, 20)
        one, other = (
            apply(n.eval(), image, *style, precision="float32")
            for n in (network, loaded)
        )
        assert 0 < (one - other).abs().max() < 2 / 255
        again = save_network(tmp_path / "again.safetensors", loaded)
        assert again.read_bytes() == path.read_bytes()

    def test_the_file_is_half_precision_and_little_more(self, tmp_path):
        network = make(width=8)
        path = save_network(tmp_path / "net.safetensors", network)
        with safe_open(path, "pt") as file:
            assert {file.get_tensor(name).dtype for name in file.keys()} == {  # noqa: SIM118
                torch.float16
            }
        assert (
            path.stat().st_size
            < 2 * sum(p.numel() for p in network.parameters()) + 8000
        )

    def test_another_ending_is_refused(self, tmp_path):
        with refused(".safetensors"):
            save_network(tmp_path / "net.pt", make())
        assert list(tmp_path.iterdir()) == []

    def test_what_is_no_network_is_refused(self, tmp_path):
        with refused("does not exist"):
            load_network(tmp_path / "missing.safetensors")
        photo = tmp_path / "photo.jpg"
        from pltutorial import write_image

        write_image(photo, picture(16, 16))
        with refused("photo.jpg", ".safetensors"):
            load_network(photo)
        other = tmp_path / "other.safetensors"
        save_file({"weight": torch.zeros(3)}, other)
        with refused("other.safetensors", "no architecture of ours"):
            load_network(other)

    def test_a_damaged_file_is_refused_wherever_it_is_cut(self, tmp_path):
        path = save_network(tmp_path / "net.safetensors", make())
        body = path.read_bytes()
        for length in (0, 5, 100, len(body) // 2, len(body) - 1):
            path.write_bytes(body[:length])
            with refused("net.safetensors"):
                load_network(path)

    def test_a_later_version_and_another_architecture_are_refused(self, tmp_path):
        network = make()
        path = save_network(tmp_path / "net.safetensors", network, {})
        with safe_open(path, "pt") as file:
            facts = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

        def written(**changes):
            save_file(tensors, path, facts | changes)
            return path

        with refused("version 2", "version 1"):
            load_network(written(version="2"))
        config = network.config
        with refused("'fas'", "nearest is 'fast'"):
            load_network(written(config=json.dumps(config | {"kind": "fas"})))
        with refused("net.safetensors"):
            load_network(written(config=json.dumps(config | {"width": 8})))
        with refused("net.safetensors"):
            load_network(written(config=json.dumps(config | {"blocks": 3})))
        with refused("net.safetensors"):
            load_network(written(config=json.dumps(config | {"attention": True})))
        with refused("net.safetensors"):
            load_network(written(config="{"))
        assert load_network(written(), "cpu").config == config


class TestNoise:
    """Noise in the blocks: new in training, the same again in a print."""

    def test_a_print_can_be_repeated_and_the_seed_changes_it(self):
        network = make(noise=True).eval()
        image = picture(20, 24)
        first, again = network(image), network(image)
        assert torch.equal(first, again)
        for noise in network.noise:
            noise.seed = 1
        assert not torch.equal(first, network(image))

    def test_training_draws_anew(self):
        network = make(noise=True).train()
        image = picture(20, 24)
        assert not torch.equal(network(image), network(image))

    def test_without_strength_it_is_the_network_without(self):
        quiet, plain_one = make(noise=True).eval(), make().eval()
        with torch.no_grad():
            for noise in quiet.noise:
                noise.strength.zero_()
        plain_one.load_state_dict(quiet.state_dict(), strict=False)
        image = picture(20, 24)
        torch.testing.assert_close(quiet(image), plain_one(image))

    def test_styles_have_strengths_of_their_own(self):
        network = make(noise=True, styles=("a", "b")).eval()
        with torch.no_grad():
            for noise in network.noise:
                noise.strength[0] = 0
        image = picture(20, 24)
        share = network.blend
        before = [network(image, share(name)) for name in "ab"]
        for noise in network.noise:
            noise.seed = 7
        assert torch.equal(before[0], network(image, share("a")))
        assert not torch.equal(before[1], network(image, share("b")))

    def test_through_a_file(self, tmp_path):
        network = make(noise=True).eval()
        save_network(tmp_path / "n.safetensors", network)
        loaded = load_network(tmp_path / "n.safetensors", "cpu").eval()
        assert loaded.config["noise"] is True
        image = picture(20, 24)
        torch.testing.assert_close(loaded(image), network(image), atol=5e-3, rtol=0)
