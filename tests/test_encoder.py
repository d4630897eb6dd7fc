"""Encoders of any kind: stand-ins for the shapes of ConvNeXt, ViT, DINOv2, CLIP and
Swin; their layers as maps, and no more of them run than is asked for.
"""

from __future__ import annotations

import copy
import gc
import pickle
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from helpers import Operations, picture, refused
from torch import nn
from torch.nn.utils import parametrize
from torchvision.models.resnet import BasicBlock, ResNet

from pltutorial import DeepSimLoss, Encoder, PerceptualLoss
from pltutorial.networks.discriminator import Discriminator


class Vit(nn.Module):
    """A vision transformer's shapes: patches, a class token and registers before them,
    positions interpolated as DINOv2 does, or of one size alone as CLIP's are.
    """

    def __init__(self, patch=14, prefix=1, width=12, size=None, batch_first=True):
        super().__init__()
        torch.manual_seed(0)
        self.patch_embed = nn.Conv2d(3, width, patch, patch)
        if size:
            self.image_size = size
        self.prefix = nn.Parameter(torch.randn(1, prefix, width))
        self.positions = nn.Parameter(torch.randn(1, width, 4, 4))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
            for _ in range(3)
        )
        self.batch_first = batch_first
        self.head = nn.Linear(width, 5)

    def forward_features(self, x):
        assert x.shape[-1] % self.patch_embed.stride[1] == 0
        assert getattr(self, "image_size", x.shape[-1]) == x.shape[-1]
        x = self.patch_embed(x)
        x = (x + F.interpolate(self.positions, x.shape[-2:])).flatten(2).mT
        x = torch.cat([self.prefix.expand(len(x), -1, -1), x], 1)
        x = x if self.batch_first else x.transpose(0, 1)
        for block in self.blocks:
            x = x + block(x)
        return x if self.batch_first else x.transpose(0, 1)

    def forward(self, x):
        return self.head(self.forward_features(x).mean(1))


class ConvNext(nn.Module):
    """A stem of 4x4 patches and two stages, one after the other's half."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.pretrained_cfg = {"mean": (0.5, 0.4, 0.3), "std": (0.3, 0.2, 0.1)}
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.stages = nn.Sequential(
            nn.Sequential(nn.Conv2d(8, 8, 7, padding=3, groups=8), nn.GELU()),
            nn.Sequential(nn.Conv2d(8, 16, 2, 2), nn.ReLU(inplace=True)),
        )

    def forward(self, x):
        return self.stages(self.stem(x))


class Swin(nn.Module):
    """Channels come last, as in torchvision's and timm's Swin transformers."""

    def __init__(self):
        super().__init__()
        self.stem, self.mix = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8)

    def forward(self, x):
        return self.mix(self.stem(x).permute(0, 2, 3, 1)).mean((1, 2))


LIKE = {
    "ViT": (lambda: Vit(16), ("blocks.0", "blocks.1.1"), (12, 3, 4)),
    "DINOv2 with registers": (lambda: Vit(prefix=5), ("blocks.0",), (12, 3, 4)),
    "CLIP": (lambda: Vit(8, size=32, batch_first=False), ("blocks.1",), (12, 4, 4)),
    "ConvNeXt": (ConvNext, ("stem", "stages.0"), (8, 10, 13)),
    "Swin": (Swin, ("mix",), (8, 10, 13)),
    "forward_features": (lambda: Vit().forward_features, ("output",), (12, 3, 4)),
    "head": (Vit, ("output",), (5, 1, 1)),
}


@pytest.mark.parametrize("kind", LIKE)
def test_layers_are_maps_with_gradients_of_any_size_and_compile(kind):
    make, layers, shape = LIKE[kind]
    encoder = Encoder(make())
    image = picture(40, 52, count=2).requires_grad_()
    features = encoder(image, layers)
    assert [tuple(feature.shape) for feature in features.values()] == [
        (2, *shape)
    ] * len(layers)
    # style needs maps
    terms = PerceptualLoss(None, dict.fromkeys(layers, 1.0), network=encoder)(
        image, style=picture(40, 52, 1)
    )
    terms.total.backward()
    assert image.grad.abs().sum() > 0
    torch._dynamo.reset()
    compiled = torch.compile(encoder, fullgraph=True, backend="eager")
    for name, feature in compiled(image, layers).items():
        assert torch.equal(feature, features[name])


def test_tokens_stand_where_their_patches_are():
    """The class token and registers are dropped, rows come before columns."""
    module = Vit(prefix=3)
    image = picture(28, 42)
    feature = Encoder(module)(image, ["blocks.0.0"])["blocks.0.0"]
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    x = module.patch_embed((image - mean) / std)
    x = x + F.interpolate(module.positions, x.shape[-2:])
    expected = F.layer_norm(x.permute(0, 2, 3, 1), (12,)).permute(0, 3, 1, 2)
    assert torch.allclose(feature, expected, atol=1e-5)


def test_sizes_are_made_to_fit():
    seen = []
    module = Vit()
    module.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    Encoder(module)(picture(29, 42), ["blocks.0"])
    Encoder(module, size=56)(picture(29, 42), ["blocks.0"])
    Encoder(module, size=(28, 70))(picture(29, 42), ["blocks.0"])
    assert [tuple(shape[-2:]) for shape in seen] == [(42, 42), (56, 56), (28, 70)]
    one = Encoder(Vit(8, size=32))
    assert one.size == (32, 32)
    assert "size=(32, 32), patch=8" in repr(one)


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ({"patch_embed": SimpleNamespace(strict_img_size=True, img_size=(32, 24))}, 3),
        ({"patch_embed": SimpleNamespace(strict_img_size=False, img_size=(9, 9))}, 0),
        ({"input_resolution": 24}, 2),
        ({"config": SimpleNamespace(image_size=24)}, 0),  # it interpolates by itself
    ],
)
def test_the_only_size_is_what_timm_clip_and_transformers_say(said, size):
    module = nn.Sequential(nn.Conv2d(3, 2, 8, 8))
    for name, value in said.items():
        setattr(module, name, value)
    assert Encoder(module).size == (None, None, (24, 24), (32, 24))[size]


def test_normalisation_is_the_network_s_own_or_the_user_s():
    module, image = ConvNext(), picture(16, 16)
    mean = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)
    std = torch.tensor([0.3, 0.2, 0.1]).view(1, 3, 1, 1)
    expected = module.stem((image - mean) / std)
    assert torch.allclose(Encoder(module)(image, ["stem"])["stem"], expected, atol=1e-5)
    plain = Encoder(module, mean=(0, 0, 0), std=(1, 1, 1))(image, ["stem"])["stem"]
    assert torch.allclose(plain, module.stem(image), atol=1e-5)


@pytest.mark.parametrize(
    ("layers", "linear"), [(("blocks.0",), 1), (("blocks.1.1", "blocks.0"), 2)]
)
def test_no_layer_beyond_the_deepest_one_is_run(layers, linear):
    encoder, counts = Encoder(Vit()), []
    with Operations() as seen:
        encoder(picture(28, 28), layers)
    assert sum(name in ("addmm", "linear") for name in seen.names) == linear

    def backend(graph, _):
        counts.append(sum("linear" in str(node.target) for node in graph.graph.nodes))
        return graph

    torch._dynamo.reset()
    torch.compile(encoder, fullgraph=True, backend=backend)(picture(28, 28), layers)
    assert counts == [linear]


def test_calls_after_the_first_have_a_number():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Softplus()

        def forward(self, x):
            # a path that depends on values: no tracer follows it
            return self.act(self.act(x)) if x.mean() < 9 else x

    encoder, image = Encoder(Twice(), (0, 0, 0), (1, 1, 1)), picture(8, 8)
    features = encoder(image, ["act_1", "act", "output"])
    assert torch.equal(features["act"], F.softplus(image))
    assert torch.equal(features["act_1"], F.softplus(F.softplus(image)))
    assert torch.equal(features["act_1"], features["output"])
    with refused("'act_2'", "the nearest is 'act'"):
        encoder(image, ["act_2"])
    with refused("'akt'", "'act'"):
        encoder.check_layers(["akt"])


def test_what_a_shortcut_writes_into_is_not_what_was_tapped():
    """`x += shortcut`, as in torchvision's and timm's residual networks."""
    torch.manual_seed(0)
    module = ResNet(BasicBlock, [1, 1, 1, 1])
    encoder, image = Encoder(module), picture(64, 64)
    alone = encoder(image, ["layer1.0.bn2"])["layer1.0.bn2"]
    deeper = encoder(image, ["layer1.0.bn2", "layer2"])["layer1.0.bn2"]
    assert torch.equal(alone, deeper)
    torch._dynamo.reset()
    compiled = torch.compile(encoder, fullgraph=True, backend="aot_eager")
    found = compiled(image, ["layer1.0.bn2", "layer2"])["layer1.0.bn2"]
    assert torch.allclose(found, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "layer"),
    [
        (lambda x: {"half": x / 2, "deep": x}, "half"),
        (lambda x: [x / 2, x], "0"),
        (lambda x: x / 2, "output"),
    ],
)
def test_a_function_gives_features_by_name_by_number_or_one(function, layer):
    encoder = Encoder(function, (0, 0, 0), (1, 1, 1))
    image = picture(8, 8)
    assert torch.equal(encoder(image, [layer])[layer], image / 2)
    with refused("'layer4'"):
        encoder(image, ["layer4"])


def test_a_method_s_network_moves_with_the_encoder():
    module = Vit()
    loss = PerceptualLoss({"output": 1.0}, network=Encoder(module.forward_features))
    loss.double()
    assert module.head.weight.dtype == torch.float64
    assert loss(picture(28, 28), content=picture(28, 28, 1)).total > 0


class TestUnseen:
    """What an owner does with all of itself does not reach a fixed network."""

    @pytest.fixture(params=["encoder", "discriminator"])
    def encoder(self, request) -> Encoder:
        torch.manual_seed(2)
        if request.param == "encoder":
            return Encoder(
                nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
            )
        return Encoder(Discriminator(0, 4).features)

    def layer(self, encoder) -> str:
        return "2" if "2" in encoder.layer_names else "conv2"

    def test_of_state_optimizers_thaw_and_train(self, encoder):
        layer, image = self.layer(encoder), picture(32, 32).requires_grad_()
        owner = nn.ModuleDict({"own": nn.Linear(2, 2), "ruler": encoder})
        expected = encoder(image, [layer])[layer]
        owner.train().requires_grad_(True)
        assert set(owner.state_dict()) == {"own.weight", "own.bias"}
        assert len(list(owner.parameters())) == 2
        assert list(owner.buffers()) == []  # DDP would send them round in every step
        feature = encoder(image, [layer])[layer]
        assert torch.equal(feature, expected)
        feature.square().sum().backward()
        assert image.grad.abs().sum() > 0
        for parameter in encoder.module.parameters():
            assert not parameter.requires_grad
            assert parameter.grad is None

    def test_moves_copies_and_pickles(self, encoder):
        layer, image = self.layer(encoder), picture(32, 32)
        expected = encoder(image, [layer])[layer]
        owner = nn.ModuleDict({"ruler": encoder})
        assert owner.double()["ruler"](image, [layer])[layer].dtype == torch.float64
        owner.float()
        again = copy.deepcopy(owner)
        if not any(map(parametrize.is_parametrized, encoder.module.modules())):
            again = pickle.loads(pickle.dumps(again))  # torch refuses spectral norms
        again = again["ruler"]
        assert torch.equal(again(image, [layer])[layer], expected)
        with torch.no_grad():
            for parameter in again.module.parameters():
                parameter.zero_()
        assert torch.equal(encoder(image, [layer])[layer], expected)
        with refused("meta", "move one of them with .to(device)"):
            encoder(image.to("meta"), [layer])
        # as one of DataParallel's threads gets it
        replica = encoder._replicate_for_data_parallel()
        there = replica(image.to("meta"), [layer])[layer]
        assert there.shape == expected.shape
        assert there.is_meta

    def test_to_empty_keeps_what_no_checkpoint_has(self, encoder):
        layer, image = self.layer(encoder), picture(32, 32)
        expected = encoder(image, [layer])[layer]
        again = encoder.module.features if encoder._by_layers else encoder.module
        with torch.device("meta"):
            owner = nn.ModuleDict({"own": nn.Linear(2, 2), "ruler": Encoder(again)})
        owner.to_empty(device="cpu")
        assert not owner["own"].weight.is_meta
        assert torch.equal(owner["ruler"](image, [layer])[layer], expected)

    def test_it_compares_in_a_likeness(self, encoder):
        loss = DeepSimLoss(comparator=encoder, layers=[self.layer(encoder)])
        output = picture(32, 32).requires_grad_()
        loss(output, picture(32, 32, 1)).total.backward()
        assert output.grad.abs().sum() > 0
        assert list(loss.parameters()) == []
        assert loss.state_dict() == {}


def test_an_encoder_that_is_gone_leaves_no_hooks():
    module = Vit()
    for _ in range(3):
        Encoder(module)(picture(28, 28), ["blocks.0"])
    gc.collect()
    assert not any(child._forward_hooks for child in module.modules())


def test_a_network_with_an_encoder_still_serves_its_user():
    module = Vit()
    expected = module(picture(28, 28))
    encoder = Encoder(module)
    encoder(picture(28, 28), ["blocks.0"])
    assert torch.equal(module(picture(28, 28)), expected)
