"""Codes and what is drawn of them: plain VGG-16, re-encoding, odd sizes, the strongest
activations, other encoders.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from helpers import picture, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pltutorial.deepsim import DeepSimLoss
from pltutorial.inversion import encode, invert, keep_strongest, reencode
from pltutorial.networks import (
    ConvAutoencoder,
    InversionNet,
    code_shape,
    load_network,
    save_network,
)
from pltutorial.networks.codes import POOLED_LAYERS
from pltutorial.vgg import RELU_LAYERS, Encoder, LossNetwork


def drawer(layer: str = "relu2_2", device="cpu", **how) -> InversionNet:
    """An inverter with random weights that draws in strong colours."""
    torch.manual_seed(0)
    network = InversionNet(layer, 3, 1, **how)
    with torch.no_grad():
        network.scale.fill_(30.0)
        network.up[-1].weight.mul_(5)
    return network.eval().to(device)


class TestEncode:
    @pytest.mark.parametrize("layer", [*RELU_LAYERS, *POOLED_LAYERS])
    def test_is_plain_vgg_and_a_pooling_of_the_promised_shape(
        self, layer, network, device
    ):
        image = picture(64, 96, count=2, device=device)
        with torch.no_grad():
            code = encode(image, layer, network)
            last = {"1": "2", "2": "2"}.get(layer[4], "3")
            plain = network(
                image, [layer if layer in RELU_LAYERS else f"relu{layer[4]}_{last}"]
            )
        (expected,) = plain.values()
        if layer in POOLED_LAYERS:
            two = expected.unfold(2, 2, 2).unfold(3, 2, 2)
            expected = two.flatten(4).amax(4)
        channels, stride = code_shape(layer)
        assert code.shape == (2, channels, 64 // stride, 96 // stride)
        assert torch.equal(code, expected)

    def test_pools_as_the_network_does(self, device):
        average = LossNetwork(pooling="average", precision="float32", device=device)
        image = picture(32, 32, device=device)
        with torch.no_grad():
            expected = F.avg_pool2d(average(image, ["relu2_2"])["relu2_2"], 2)
            assert torch.allclose(encode(image, "pool2", average), expected)

    def test_more_layers_come_from_the_same_pass(self, network, device, monkeypatch):
        calls, run = [], network._features
        monkeypatch.setattr(
            network, "_features", lambda *given: calls.append(1) or run(*given)
        )
        image = picture(32, 32, device=device)
        code, more = encode(image, "pool2", network, ("relu3_1", "relu2_2"))
        assert len(calls) == 1
        assert list(more) == ["relu3_1", "relu2_2"]
        assert torch.equal(more["relu3_1"], network(image, ["relu3_1"])["relu3_1"])
        assert torch.equal(code, encode(image, "pool2", network))

    def test_bad_input(self, network, device):
        with refused("'relu4_5'", "nearest is"):
            encode(picture(32, 32, device=device), "relu4_5", network)
        with refused("31x9 pixels", "pool4", "at least 16"):
            encode(picture(9, 31, device=device), "pool4", network)
        with refused("8x8 pixels", "relu5_1", "at least 16"):
            encode(picture(8, 8, device=device), "relu5_1", network)


class TestInvert:
    def test_is_one_pass_to_the_code_and_one_back(self, network, device):
        drawn, image = drawer(device=device), picture(24, 32, count=2, device=device)
        with torch.no_grad():
            expected = drawn(encode(image, "relu2_2", network)).clamp(0, 1)
        found = invert(image, drawn, encoder=network, precision="float32")
        assert torch.allclose(found, expected, atol=1e-6)
        assert not found.is_inference()
        assert found.std() > 0.05

    @settings(max_examples=10, deadline=None)
    @given(
        st.integers(1, 37),
        st.integers(1, 37),
        st.sampled_from(["relu1_1", "relu3_1", "pool3"]),
    )
    def test_any_size_is_continued_at_the_edges(self, phi, height, width, layer):
        drawn, image = drawer(layer), torch.rand(1, 3, height, width)
        found = invert(image, drawn, encoder=phi, precision="float32")
        assert found.shape == image.shape
        stride = drawn.stride
        rows = torch.arange(-(-height // stride) * stride).clamp(max=height - 1)
        columns = torch.arange(-(-width // stride) * stride).clamp(max=width - 1)
        whole = invert(
            image[..., rows, :][..., columns], drawn, encoder=phi, precision="float32"
        )
        assert torch.equal(found, whole[..., :height, :width])

    def test_each_round_starts_from_the_one_before(self, network, device):
        drawn, image = drawer(device=device), picture(21, 30, device=device)
        how = {"encoder": network, "precision": "float32"}
        rounds = reencode(image, 4, drawn, **how)
        assert len(rounds) == 4
        for number in range(4):
            assert torch.equal(
                invert(rounds[number - 1] if number else image, drawn, **how),
                rounds[number],
            )
        assert not torch.equal(rounds[0], rounds[1])

    def test_a_code_is_changed_before_it_is_drawn(self, network, device):
        drawn, image, seen = drawer(device=device), picture(16, 16, device=device), []
        found = reencode(
            image,
            2,
            drawn,
            encoder=network,
            change=lambda code: seen.append(code.shape) or 0 * code,
        )
        assert seen == [(1, 128, 8, 8)] * 2
        assert torch.allclose(
            found[0],
            drawn(torch.zeros(1, 128, 8, 8, device=device)).detach(),
            atol=5e-3,
        )

    def test_an_autoencoder_has_its_own_encoder(self, monkeypatch):
        monkeypatch.setattr("pltutorial.vgg.LossNetwork", None)
        torch.manual_seed(0)
        network, image = ConvAutoencoder(4, 5, 1).eval(), picture(21, 30)
        with torch.no_grad():
            expected = network(image)
        assert torch.allclose(
            invert(image, network, precision="float32"), expected, atol=1e-6
        )

    def test_bfloat16_is_close(self, phi):
        drawn, image = drawer(), picture(24, 32)
        exact = invert(image, drawn, encoder=phi, precision="float32")
        coarse = invert(image, drawn, encoder=phi, precision="bfloat16")
        assert coarse.dtype == torch.float32
        # its colours are near saturation
        assert 0 < (exact - coarse).square().mean().sqrt() < 0.02

    def test_bad_input(self, phi):
        image = picture(16, 16)
        for rounds in (0, -1):
            with refused(f"rounds={rounds}", "at least 1"):
                reencode(image, rounds, drawer(), encoder=phi)
        with refused("a Conv2d", "InversionNet", "ConvAutoencoder"):
            invert(image, nn.Conv2d(3, 3, 1))
        with refused("(1, 64, 8, 8)", "relu2_2", "(N, 128, h, w)"):
            invert(image, drawer(), encoder=phi, change=lambda code: code[:, :64])
        with refused("the picture"):
            invert(image * 255, drawer(), encoder=phi)


# --- the strongest activations --------------------------------------------------------

codes = st.tuples(
    st.integers(1, 2),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 99),
)


class TestStrongest:
    @settings(max_examples=60, deadline=None)
    @given(codes, st.sampled_from(["position", "code"]), st.data())
    def test_keeps_so_many_of_the_largest_and_the_complement_the_others(
        self, shape, of, data
    ):
        *shape, seed = shape
        code = (
            torch.randperm(
                torch.Size(shape).numel(), generator=torch.Generator().manual_seed(seed)
            )
            + 1.0
        )
        code = code.view(shape)
        total = shape[1] if of == "position" else code[0].numel()
        count = data.draw(st.integers(0, total))
        kept = keep_strongest(code, count, of=of)
        others = keep_strongest(code, count, of=of, complement=True)
        assert torch.equal(kept + others, code)
        assert not (kept * others).any()
        rows = (
            kept.permute(0, 2, 3, 1).flatten(0, 2),
            code.permute(0, 2, 3, 1).flatten(0, 2),
        )
        rows = rows if of == "position" else (kept.flatten(1), code.flatten(1))
        for mine, whole in zip(*rows, strict=True):
            there = mine[mine != 0]
            assert len(there) == count
            assert torch.equal(
                there.sort().values, whole.sort().values[len(whole) - count :]
            )

    def test_memory_layout_and_precision_do_not_matter(self):
        code = torch.rand(2, 8, 3, 4).relu().bfloat16()
        for of in ("position", "code"):
            plain = keep_strongest(code, 5, of=of)
            last = keep_strongest(
                code.contiguous(memory_format=torch.channels_last), 5, of=of
            )
            assert plain.dtype == torch.bfloat16
            assert torch.equal(plain.count_nonzero(), last.count_nonzero())
            assert plain.shape == last.shape == code.shape

    def test_gradients_reach_what_is_kept(self):
        code = torch.rand(1, 4, 2, 2, requires_grad=True)
        keep_strongest(code, 1).sum().backward()
        assert torch.equal(code.grad.sum(1), torch.ones(1, 2, 2))

    def test_bad_input(self):
        code = torch.rand(1, 4, 2, 3)
        for count, of, most in (
            (5, "position", 4),
            (-1, "position", 4),
            (25, "code", 24),
        ):
            with refused(f"count={count}", f"from 0 to {most}"):
                keep_strongest(code, count, of=of)
        with refused("'positions'", "nearest is 'position'"):
            keep_strongest(code, 1, of="positions")
        with refused("(4, 2, 3)", "(N, C, h, w)"):
            keep_strongest(code[0], 1)


# --- the general recipe ---------------------------------------------------------------


class TestOtherEncoders:
    """Take a pretrained encoder, define a decoder, compute the feature loss, combine it
    with the pixel loss.
    """

    @pytest.fixture(scope="class")
    def encoder(self) -> Encoder:
        from torchvision.models.resnet import BasicBlock, ResNet

        torch.manual_seed(0)
        return Encoder(ResNet(BasicBlock, [1, 1, 1, 1]))

    def test_a_decoder_for_a_resnet_learns_from_both_losses(self, encoder, tmp_path):
        layer, image = "layer1.0.relu_1", picture(32, 32, count=2)
        code = encode(image, layer, encoder)
        assert code.shape == (2, 64, 8, 8)
        torch.manual_seed(0)
        decoder = InversionNet(layer, 8, 1, channels=64, stride=4)
        decoder.scale.copy_(code.square().mean((0, 2, 3)).sqrt().clamp_min(1e-3))
        loss = DeepSimLoss(
            feature=0.1, image=1, comparator=encoder, layers=("relu", layer)
        )
        optimizer, found = torch.optim.Adam(decoder.parameters(), 5e-3), []
        for _ in range(15):
            terms = loss(decoder(code), image)
            optimizer.zero_grad()
            terms.total.backward()
            optimizer.step()
            found.append({name: float(value.detach()) for name, value in terms.items()})
        assert all(
            found[-1][name] < 0.9 * found[0][name] for name in ("feature", "image")
        )
        file = save_network(tmp_path / "decoder.safetensors", decoder)
        loaded = load_network(file, "cpu")
        drawn = invert(
            image[..., :30, :27], loaded, encoder=encoder, precision="float32"
        )
        assert drawn.shape == (2, 3, 30, 27)
        whole = invert(image, decoder.eval(), encoder=encoder, precision="float32")
        with torch.no_grad():
            assert torch.allclose(whole, decoder(code), atol=1e-5)

    def test_without_its_encoder_it_is_refused(self, encoder):
        decoder = InversionNet("layer1.0.relu_1", 2, 0, channels=64, stride=4)
        with refused("'layer1.0.relu_1'", "another encoder", "encoder="):
            invert(picture(16, 16), decoder)
        with refused("'layer1.0.relu_3'", "nearest is"):
            encode(picture(16, 16), "layer1.0.relu_3", encoder)
