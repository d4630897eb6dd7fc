"""The networks that draw from codes, and the discriminator: plain arithmetic, any size,
what reaches what, files.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import picture, refused, relative
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from pltutorial.color import brightness_of, from_chroma
from pltutorial.networks import (
    VAE,
    ColorizationNet,
    ConvAutoencoder,
    Discriminator,
    InversionNet,
    build,
    code_shape,
    load_network,
    save_network,
)
from pltutorial.networks.codes import POOLED_LAYERS
from pltutorial.networks.kinds import known_kinds
from pltutorial.vgg import RELU_LAYERS

ALL = {
    "inversion": lambda: InversionNet("relu2_1", 3, 2),
    "inversion-pool4": lambda: InversionNet("pool4", 2, 1),
    "inversion-other": lambda: InversionNet("layer2", 4, 0, channels=5, stride=8),
    "inversion-batch": lambda: InversionNet("relu2_1", 3, 1, norm="batch"),
    "autoencoder": lambda: ConvAutoencoder(4, 5, 1),
    "autoencoder-batch": lambda: ConvAutoencoder(3, 4, 1, norm="batch"),
    "vae": lambda: VAE(4, 6, size=32),
    "vae-fixed": lambda: VAE(4, 6, size=32, encoder="relu3_3"),
    "vae-fixed-batch": lambda: VAE(4, 6, size=48, encoder="pool5", norm="batch"),
    "colorization": lambda: ColorizationNet(4, 2),
    "colorization-classes": lambda: ColorizationNet(4, 2, classes=3),
    "discriminator": lambda: Discriminator(0, 4),
    "discriminator-told": lambda: Discriminator(5, 4),
    "discriminator-plain": lambda: Discriminator(5, 4, spectral=False),
}
each = pytest.mark.parametrize("name", ALL)


def make(name: str, seed: int = 0) -> nn.Module:
    """A small network all of whose weights, biases, statistics and scales count,
    as after a training.
    """
    torch.manual_seed(seed)
    network = ALL[name]()
    with torch.no_grad():
        for part, parameter in network.named_parameters():
            if part.endswith("bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif parameter.ndim == 1:
                parameter.mul_(0.5 + torch.rand_like(parameter))
        for part, value in network.named_buffers():
            if part.endswith("mean"):
                value.add_(0.1 * torch.randn_like(value))
            elif part.endswith(("var", "scale")):
                value.mul_(0.5 + torch.rand_like(value))
    return network.eval()


def inputs(network: nn.Module, device="cpu", count: int = 2) -> list[torch.Tensor]:
    """What a network is given."""
    generator = torch.Generator().manual_seed(1)
    if network.kind == "inversion":
        given = [torch.rand(count, network.channels, 3, 4, generator=generator)]
    elif network.kind == "vae":
        noise = torch.randn(count, 2 * network.latent, generator=generator).chunk(2, 1)
        channels, side = network.given
        given = [torch.rand(count, channels, side, side, generator=generator), *noise]
    else:
        given = [picture(21, 30, count=count)]
        if getattr(network, "code_channels", 0):
            given.append(
                torch.rand(count, network.code_channels, 3, 5, generator=generator)
            )
    return [one.to(device) for one in given]


# --- plain arithmetic -----------------------------------------------------------------


def plain(network: nn.Module, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The architecture in the plainest operations, with the parameters of a
    network in eval mode.
    """
    values = network.state_dict(keep_vars=True)
    kind, config = network.kind, network.config

    def weights(name):
        if f"{name}.weight" in values:
            return values[f"{name}.weight"], values[f"{name}.bias"]
        weight = values[f"{name}.parametrizations.weight.original"]
        u, v = (values[f"{name}.parametrizations.weight.0._{k}"] for k in "uv")
        return weight / (u @ weight.flatten(1) @ v), values[f"{name}.bias"]

    def conv(x, name, stride=1, padding=1):
        return F.conv2d(x, *weights(name), stride=stride, padding=padding)

    def norm(x, name):
        if f"{name}.running_mean" not in values:
            return x
        mean, var, scale, shift = (
            values[f"{name}.{k}"].view(1, -1, 1, 1)
            for k in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def leaky(x, slope=0.3):
        return torch.where(x > 0, x, slope * x)

    def layer(x, name, up=False):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3) if up else x
        x = F.conv2d(F.pad(x, (1,) * 4, mode="replicate"), *weights(f"{name}.conv"))
        return leaky(norm(x, f"{name}.norm"))

    def upwards(x, name, count):
        for n in range(count):
            x = layer(x, f"{name}.{n}", up=True)
        x = F.conv2d(F.pad(x, (1,) * 4, mode="replicate"), *weights(f"{name}.{count}"))
        return torch.sigmoid(2 * x)  # (tanh + 1) / 2

    def generate(code, prefix=""):
        x = code / values[f"{prefix}scale"].view(1, -1, 1, 1)
        x = leaky(conv(x, f"{prefix}first", padding=0))
        for n in range(config["blocks"]):
            x = x + layer(x, f"{prefix}blocks.{n}")
        stride = 8 if prefix else network.stride
        return upwards(x, f"{prefix}up", stride.bit_length() - 1)

    def padded(x):
        rows = torch.arange(-(-x.shape[2] // 8) * 8).clamp(max=x.shape[2] - 1)
        columns = torch.arange(-(-x.shape[3] // 8) * 8).clamp(max=x.shape[3] - 1)
        return x[..., rows, :][..., columns]

    def downwards(x, name, count):
        step = 3 if config["norm"] == "batch" else 2
        for n in range(count):
            x = conv(x, f"{name}.{step * n}", 2)
            x = leaky(norm(x, f"{name}.{step * n + 1}") if step == 3 else x)
        return conv(x, f"{name}.{step * count}")

    if kind == "inversion":
        return (generate(*given),)
    if kind == "autoencoder":
        code = downwards(2 * padded(given[0]) - 1, "encoder", 3)
        return (
            generate(code, "generator.")[..., : given[0].shape[2], : given[0].shape[3]],
        )
    if kind == "vae":
        x, noise, prior = given
        if config["encoder"] == "learned":
            x = downwards(2 * x - 1, "encoder", 4)
        else:
            x = leaky(
                conv(x / values["scale"].view(1, -1, 1, 1), "encoder.0", padding=0)
            )
            x = leaky(conv(x, "encoder.2", 2))
        mean, log_variance = F.linear(leaky(x).flatten(1), *weights("code")).chunk(2, 1)

        def decode(z):
            side = config["size"] // 16
            x = leaky(F.linear(z, *weights("first"))).reshape(len(z), -1, side, side)
            return upwards(x, "up", 4)

        z = mean + torch.exp(log_variance / 2) * noise
        return (
            decode(z),
            mean,
            log_variance,
            torch.cat([decode(z.detach()), decode(prior)]),
        )
    if kind == "colorization":
        red, green, blue = given[0].split(1, 1)
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
        one = leaky(conv(padded(2 * grey - 1), "down.0", 2))
        two = leaky(conv(one, "down.1", 2))
        x = leaky(conv(two, "down.2", 2))
        for n in range(config["blocks"]):
            x = x + layer(x, f"middle.{n}")
        x = torch.cat([layer(x, "up.0", up=True), two], 1)
        x = torch.cat([layer(x, "up.1", up=True), one], 1)
        if "classes" in config:
            x = F.conv2d(x, *weights("last")).softmax(1)
            x = x.unflatten(1, (3, 3))
            ends = torch.tensor([-0.5, 0.0, 0.5], device=x.device).view(1, 3, 1, 1)
            x = torch.stack([(x.sum(k) * ends).sum(1) for k in (2, 1)], 1)
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            chroma = x[..., : grey.shape[2], : grey.shape[3]]
        else:
            x = F.pad(layer(x, "up.2", up=True), (1,) * 4, mode="replicate")
            x = F.conv2d(x, *weights("last"))
            chroma = x[..., : grey.shape[2], : grey.shape[3]].tanh() / 2
        cb, cr = chroma.split(1, 1)
        return (
            torch.cat(
                [
                    grey + 1.402 * cr,
                    grey - 0.344136 * cb - 0.714136 * cr,
                    grey + 1.772 * cb,
                ],
                1,
            ),
        )
    x = 2 * given[0] - 1
    for name in ("conv1", "conv2", "conv3"):
        x = leaky(conv(x, name, 2), 0.2)
    if config["code_channels"]:
        told = leaky(conv(given[1], "code", padding=0), 0.2)
        x = torch.cat([x, F.adaptive_avg_pool2d(told, x.shape[-2:])], 1)
    return (conv(leaky(conv(x, "conv4"), 0.2), "last"),)


def outputs(result) -> tuple[torch.Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


class TestArchitecture:
    @each
    def test_value_and_gradients_are_those_of_plain_operations(self, name, device):
        network, found = make(name).to(device), []
        for forward in (network, lambda *a: plain(network, *a)):
            given = inputs(network, device)
            given[0].requires_grad_()
            result = outputs(forward(*given))
            network.zero_grad()
            sum(
                (
                    one
                    * torch.linspace(-1, 2, one.numel(), device=device).view(one.shape)
                ).sum()
                for one in result
            ).backward()
            found.append(
                (result, given[0].grad, [p.grad for p in network.parameters()])
            )
        (result, given_grad, grads), (result2, given_grad2, grads2) = found
        for one, other in zip(result, result2, strict=True):
            assert one.shape == other.shape
            assert one.dtype == torch.float32
            assert (one - other).abs().max() < 1e-5 * other.abs().max().clamp_min(1)
            assert one.std() > 1e-3, (
                "an output that does not vary is compared with nothing"
            )
        assert relative(given_grad, given_grad2) < 1e-4
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
        network = ALL[name]().train()
        result = outputs(network(*inputs(network)))
        sum((one * torch.rand_like(one)).sum() for one in result).backward()
        for part, parameter in network.named_parameters():
            assert parameter.grad is not None, part
            assert parameter.grad.abs().max() > 0, part

    @each
    def test_config_and_file_give_the_same_network(self, name, tmp_path):
        network = make(name)
        copy = build(json.loads(json.dumps(network.config)))
        assert type(copy) is type(network)
        assert network.config["kind"] in known_kinds()
        copy.load_state_dict(network.state_dict())
        loaded = load_network(
            save_network(tmp_path / "network.safetensors", network), "cpu"
        )
        given = inputs(network)
        with torch.no_grad():
            expected = outputs(network(*given))
            for one, other in zip(outputs(copy.eval()(*given)), expected, strict=True):
                assert torch.equal(one, other)
            for one, other in zip(outputs(loaded(*given)), expected, strict=True):
                # kept in half precision
                assert (one - other).abs().max() < 0.02 * other.abs().max()

    @each
    def test_each_picture_of_a_batch_is_on_its_own(self, name):
        network = make(name)
        given = inputs(network, count=3)
        with torch.no_grad():
            together = outputs(network(*given))[:3]
            alone = [
                outputs(network(*(part[i : i + 1] for part in given)))[:3]
                for i in range(3)
            ]
        for number, one in enumerate(together):
            assert (
                one - torch.cat([result[number] for result in alone])
            ).abs().max() < 1e-5

    @each
    def test_bfloat16_is_close_to_float32(self, name, device):
        network = make(name).to(device)
        given = inputs(network, device)
        with torch.no_grad():
            exact = outputs(network(*given))
            with torch.autocast(device.type, torch.bfloat16):
                coarse = outputs(network(*given))
        for one, other in zip(coarse, exact, strict=True):
            assert one.dtype == torch.float32
            assert 0 < (one - other).abs().max() < 0.05 * other.abs().max()

    @each
    def test_bad_numbers_and_names(self, name):
        kind = type(ALL[name]())
        first = {"InversionNet": "width", "VAE": "latent"}.get(kind.__name__, "width")
        with refused(f"{first}=0", "at least 1"):
            kind(**{first: 0})
        if kind in (InversionNet, ConvAutoencoder, VAE):
            with refused("'bach'", "nearest is 'batch'"):
                kind(norm="bach")


class TestInversionNet:
    def test_code_shapes(self):
        """Simonyan and Zisserman (2014), table 1, D."""
        assert [code_shape(f"relu{n}_1") for n in range(1, 6)] == [
            (64, 1),
            (128, 2),
            (256, 4),
            (512, 8),
            (512, 16),
        ]
        assert [code_shape(name) for name in POOLED_LAYERS] == [
            (64, 2),
            (128, 4),
            (256, 8),
            (512, 16),
            (512, 32),
        ]
        assert {code_shape(name) for name in RELU_LAYERS} == {
            code_shape(f"relu{n}_1") for n in range(1, 6)
        }
        with refused("'relu4_4'", "nearest is 'relu4_3'"):
            code_shape("relu4_4")
        with refused("'pool6'", "nearest is"):
            code_shape("pool6")
        with refused("'conv1_1'", "nearest is"):
            InversionNet("conv1_1")

    @settings(max_examples=12, deadline=None)
    @given(
        st.sampled_from([1, 2, 4, 8, 16, 32]),
        st.integers(1, 4),
        st.integers(1, 4),
        st.integers(1, 2),
    )
    def test_any_stride_and_size(self, stride, height, width, count):
        network = InversionNet("some", 1, 1, channels=3, stride=stride)
        with torch.no_grad():
            output = network(torch.randn(count, 3, height, width) * 1000)
        assert output.shape == (count, 3, stride * height, stride * width)
        assert output.min() >= 0
        assert output.max() <= 1

    def test_scale_takes_the_scale_of_the_code_away(self):
        network, (code,) = make("inversion"), inputs(make("inversion"))
        factors = torch.linspace(0.01, 100, network.channels)
        with torch.no_grad():
            expected = network(code)
            network.scale.mul_(factors)
            assert (
                network(code * factors.view(1, -1, 1, 1)) - expected
            ).abs().max() < 1e-5

    def test_bad_input(self):
        network = InversionNet("relu2_1", 2, 1)
        for shape in ((1, 64, 4, 4), (1, 256, 4, 4), (128, 4, 4), (1, 128, 16)):
            with refused(str(shape), "relu2_1", "(N, 128, h, w)"):
                network(torch.rand(shape))
        for channels, stride, blocks in ((3, 3, 1), (3, 64, 1), (0, 4, 1), (3, 4, -1)):
            with refused(
                f"stride={stride}", f"channels={channels}", f"blocks={blocks}"
            ):
                InversionNet("x", 2, blocks, channels=channels, stride=stride)


class TestSizes:
    @pytest.mark.parametrize(
        "name", ["autoencoder", "colorization", "colorization-classes"]
    )
    def test_any(self, name):
        network = make(name)

        @settings(max_examples=12, deadline=None)
        @given(st.integers(1, 27), st.integers(1, 27), st.integers(1, 2))
        def check(height, width, count):
            with torch.no_grad():
                output = network(torch.rand(count, 3, height, width))
            assert output.shape == (count, 3, height, width)
            assert output.isfinite().all()

        check()

    def test_a_picture_is_24_times_as_many_numbers_as_the_default_code(self):
        image = torch.rand(1, 3, 64, 64)
        assert image.numel() == 24 * ConvAutoencoder(2).encode(image).numel()

    @settings(max_examples=12, deadline=None)
    @given(st.integers(8, 40), st.integers(8, 40), st.integers(1, 6), st.integers(1, 6))
    def test_a_discriminator_takes_any_from_8_and_codes_of_any(
        self, height, width, h, w
    ):
        network = make("discriminator-told")
        with torch.no_grad():
            logits = network(torch.rand(2, 3, height, width), torch.rand(2, 5, h, w))
        assert logits.shape == (2, 1, height // 8, width // 8)


class TestVAE:
    def test_the_verdict_on_z_does_not_reach_the_encoder(self):
        network = make("vae")
        given, noise, prior = inputs(network)
        output, _, _, judged = network(given, noise, prior)
        assert (judged[:2] - output).abs().max() < 1e-6
        judged.square().sum().backward()
        reached = {
            name.split(".")[0]
            for name, p in network.named_parameters()
            if p.grad is not None
        }
        assert reached == {"first", "up"}
        network.zero_grad(set_to_none=True)
        network(given, noise)[0].square().sum().backward()
        assert all(p.grad is not None for p in network.parameters())

    def test_noise_has_the_deviation_that_is_predicted(self):
        network = make("vae")
        given, noise, _ = inputs(network)
        seen = []
        network.decode = lambda z: seen.append(z) or z
        _, mean, log_variance = network(given, noise)
        network(given)
        assert (seen[0] - mean - noise * log_variance.exp().sqrt()).abs().max() < 1e-6
        assert torch.equal(seen[1], mean)

    def test_log_variances_are_bounded(self):
        network = make("vae")
        with torch.no_grad():
            network.code.weight.mul_(1e4)
            log_variance = network(inputs(network)[0])[2]
        assert (float(log_variance.min()), float(log_variance.max())) == (-12, 6)

    def test_samples_are_decoded_normal_vectors_of_a_seed(self, device):
        network = make("vae").to(device)
        one = network.sample(5, seed=3)
        z = torch.randn(5, 6, generator=torch.Generator().manual_seed(3)).to(device)
        with torch.no_grad():
            assert torch.equal(one, network.decode(z))
        assert not one.requires_grad
        assert torch.equal(one, network.sample(5, seed=3))
        assert not torch.equal(one, network.sample(5, seed=4))

    def test_bad_input(self):
        network = make("vae")
        with refused("(2, 3, 32, 31)", "(N, 3, 32, 32)"):
            network(torch.rand(2, 3, 32, 31))
        with refused("(2, 3, 16, 16)", "relu3_3", "(N, 256, 8, 8)"):
            make("vae-fixed")(torch.rand(2, 3, 16, 16))
        with refused("(2, 7)", "(N, 6)"):
            network.decode(torch.rand(2, 7))
        for size in (0, 8, 40):
            with refused(f"{size} pixels", "a multiple of 16"):
                VAE(size=size)
        with refused("16 pixels", "pool5", "at least 32"):
            VAE(2, size=16, encoder="pool5")
        with refused("'relu3_4'", "nearest is"):
            VAE(2, encoder="relu3_4")


class TestColours:
    def test_brightness_and_chrominance_are_those_of_jpeg(self):
        """Pillow's YCbCr, to its rounding."""
        image = picture(16, 20)
        bytes_ = (image[0].permute(1, 2, 0) * 255).round().byte().numpy()
        theirs = torch.from_numpy(
            np.asarray(Image.fromarray(bytes_).convert("YCbCr")).copy()
        ).float()
        exact = torch.from_numpy(bytes_).permute(2, 0, 1)[None] / 255
        brightness = brightness_of(exact)
        assert (brightness[0, 0] * 255 - theirs[..., 0]).abs().max() < 1.01
        chroma = ((theirs[..., 1:] - 128) / 255).permute(2, 0, 1)[None]
        assert (from_chroma(brightness, chroma) - exact).abs().max() < 2.5 / 255

    def test_the_output_is_as_bright_as_the_input_whose_colours_do_not_matter(
        self, device
    ):
        network, image = (
            make("colorization").to(device),
            picture(21, 30, count=2, device=device),
        )
        with torch.no_grad():
            output = network(image)
            grey = brightness_of(image).expand(-1, 3, -1, -1)
            assert (network(grey) - output).abs().max() < 1e-5
        assert (brightness_of(output) - brightness_of(image)).abs().max() < 1e-5
        assert (output - grey).abs().mean() > 0.002

    def test_it_starts_nearly_grey(self):
        torch.manual_seed(0)
        image = picture(24, 32)
        with torch.no_grad():
            assert (
                0
                < (ColorizationNet(8)(image) - brightness_of(image)).abs().mean()
                < 0.1
            )


class TestDiscriminator:
    def test_a_decision_sees_54_pixels_and_stands_for_8(self):
        network = make("discriminator")
        image = torch.rand(1, 3, 160, 160, requires_grad=True)
        seen = []
        for row in (9, 10):
            (gradient,) = torch.autograd.grad(network(image)[0, 0, row, 9], image)
            (found,) = gradient.abs().sum((0, 1, 3)).nonzero(as_tuple=True)
            seen.append((int(found[0]), int(found[-1])))
        assert seen[0][1] - seen[0][0] + 1 == 54
        assert seen[1][0] - seen[0][0] == seen[1][1] - seen[0][1] == 8

    def test_largest_singular_values_are_1(self):
        network = Discriminator(5, 8).train()
        with torch.no_grad():
            for _ in range(60):
                network(picture(16, 16), torch.rand(1, 5, 2, 2))
        network.eval()
        for name in (*network.layer_names, "code", "last"):
            norm = torch.linalg.matrix_norm(
                getattr(network, name).weight.detach().flatten(1), 2
            )
            assert float(norm) == pytest.approx(1, abs=2e-2), name
        plain_one = make("discriminator-plain")
        assert not any("parametrizations" in name for name in plain_one.state_dict())

    def test_singular_vectors_move_in_training_alone(self):
        network = make("discriminator")
        before = {name: value.clone() for name, value in network.named_buffers()}
        network(picture(16, 16))
        assert all(
            torch.equal(value, before[name]) for name, value in network.named_buffers()
        )
        network.train()(picture(16, 16))
        moved = {
            name
            for name, value in network.named_buffers()
            if not torch.equal(value, before[name])
        }
        one_row = "last"  # whose singular vector is that row
        assert moved == {name for name in before if not name.startswith(one_row)}

    def test_weights_are_normalised_in_float32_under_autocast(
        self, device, monkeypatch
    ):
        """Half precision would leave singular values to 1 in 256."""
        network, seen = make("discriminator").to(device), []
        convolve = F.conv2d

        def spy(x, weight, *more):
            seen.append(weight)
            return convolve(x, weight, *more)

        monkeypatch.setattr(F, "conv2d", spy)
        with torch.no_grad():
            network(picture(16, 16, device=device))
            with torch.autocast(device.type, torch.bfloat16):
                network(picture(16, 16, device=device))
        assert len(seen) == 10
        assert all(
            torch.equal(one, other)
            for one, other in zip(seen[:5], seen[5:], strict=True)
        )

    def test_features_are_the_hidden_activations(self):
        network, image = make("discriminator-plain"), picture(21, 30, count=2)
        x, expected = 2 * image - 1, {}
        with torch.no_grad():
            for name in ("conv1", "conv2", "conv3"):
                conv = getattr(network, name)
                x = expected[name] = F.leaky_relu(
                    F.conv2d(x, conv.weight, conv.bias, 2, 1), 0.2
                )
            found = network.features(image, ["conv3", "conv1"])
        assert list(found) == ["conv3", "conv1"]
        for name, value in found.items():
            assert (value - expected[name]).abs().max() < 1e-5, name
        assert make("discriminator").features(image, ["conv4"])["conv4"].shape == (
            2,
            16,
            2,
            3,
        )

    def test_no_layer_beyond_the_deepest_runs(self):
        network = make("discriminator-told")
        del network.conv3, network.conv4, network.last
        assert network.features(picture(16, 16), ("conv2",))["conv2"].shape == (
            1,
            8,
            4,
            4,
        )

    def test_bad_input(self):
        network, image, code = (
            make("discriminator-told"),
            picture(16, 16, count=2),
            torch.rand(2, 5, 2, 2),
        )
        for wrong in (None, code[:1], code[:, :4], code[0]):
            with refused("(2, 5, h, w)"):
                network(image, wrong)
        with refused("told none", "leave it out"):
            make("discriminator")(image, code)
        for shape in ((2, 3, 7, 16), (2, 3, 16, 7), (2, 4, 16, 16), (3, 16, 16)):
            with refused(str(shape), "at least 8"):
                network(torch.rand(shape), code)
        with refused("'conv5'", "nearest is"):
            network.features(image, ["conv5"])
        with refused("'conv4'", "nearest is"):
            network.features(image, ["conv4"])  # it needs the code
        with refused("code_channels=-1"):
            Discriminator(-1)
