"""The same numbers as other packages on the same weights, with the factors that differ;
`make peers` installs them.

The trunks are random: equality asks for no trained ones.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
import torchvision
from helpers import code_of_the_page, picture, relative

from pltutorial import (
    Encoder,
    LossNetwork,
    PerceptualLoss,
    pixel_loss,
    psnr,
    ssim,
    total_variation,
)
from pltutorial.calibrated import DISTS, LPIPS

pytestmark = pytest.mark.peers
NAMES = {"alex": "alexnet", "vgg": "vgg16", "squeeze": "squeezenet1_1"}
PAIR = (picture(64, 80, 1, 2), picture(64, 80, 2, 2))


@pytest.fixture(scope="module")
def trunks(tmp_path_factory) -> dict:
    """Random features of torchvision's networks, in a cache of their own, where the
    peers are led to as well.
    """
    cache, patch = tmp_path_factory.mktemp("torch"), pytest.MonkeyPatch()
    patch.setenv("TORCH_HOME", str(cache))
    folder, made = cache / "hub" / "checkpoints", {}
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    for name in NAMES.values():
        with torch.device("meta"):
            features = torchvision.models.get_model(name).features
        features.to_empty(device="cpu")
        for module in features.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
                torch.nn.init.normal_(module.bias, std=0.1)
        made[name] = features
        weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
        tensors = {f"features.{k}": v for k, v in features.state_dict().items()}
        torch.save(tensors, folder / weights.url.rpartition("/")[2])

        def loaded(*_, name=name, **__):
            return SimpleNamespace(features=copy.deepcopy(made[name]))

        patch.setattr(torchvision.models, name, loaded)
    yield made
    patch.undo()


def lpips_of(net):
    package = pytest.importorskip("lpips")
    theirs = package.LPIPS(net=net, verbose=False)
    return lambda x, y: theirs(x, y, normalize=True).flatten()


def lpips_of_torchmetrics(net):
    package = pytest.importorskip("torchmetrics.functional.image.lpips")
    theirs = package._LPIPS(pretrained=True, net=net)
    return lambda x, y: theirs(x, y, normalize=True).flatten()


def lpips_of_monai(net):
    """MONAI feeds pictures in [0, 1] as they are; lpips wants [-1, 1]."""
    package = pytest.importorskip("monai.losses")
    pytest.importorskip("lpips")
    theirs = package.PerceptualLoss(2, {"alex": "alex"}.get(net, net))

    def call(x, y):
        pairs = zip((2 * x - 1).split(1), (2 * y - 1).split(1), strict=True)
        return torch.stack([theirs(one, other) for one, other in pairs])

    return call


@pytest.mark.parametrize("net", NAMES)
@pytest.mark.parametrize("peer", [lpips_of, lpips_of_torchmetrics, lpips_of_monai])
def test_lpips(trunks, net, peer):
    theirs, ours = peer(net), LPIPS(net)
    output = PAIR[0].clone().requires_grad_()
    values = ours(output, PAIR[1], reduction="none")
    assert (values - theirs(*PAIR)).abs().max() < 1e-5
    values.sum().backward()
    other = PAIR[0].clone().requires_grad_()
    theirs(other, PAIR[1]).sum().backward()
    assert relative(output.grad, other.grad) < 1e-3


def test_the_map_of_lpips(trunks):
    package = pytest.importorskip("lpips")
    theirs = package.LPIPS(net="alex", spatial=True, verbose=False)
    ours = LPIPS("alex")(*PAIR, reduction="map")
    assert ours.shape == (2, 1, 64, 80)
    assert (ours - theirs(*PAIR, normalize=True)).abs().max() < 1e-5


def dists_of():
    package = pytest.importorskip("DISTS_pytorch")
    return package.DISTS()


def dists_of_torchmetrics():
    package = pytest.importorskip("torchmetrics.functional.image.dists")
    patch = pytest.MonkeyPatch()
    patch.setattr(package, "vgg16", torchvision.models.vgg16)
    theirs = package.DISTSNetwork()
    patch.undo()
    return theirs


@pytest.mark.parametrize("peer", [dists_of, dists_of_torchmetrics])
def test_dists(trunks, peer):
    pytest.importorskip("DISTS_pytorch")
    network, ours = peer(), DISTS()

    def theirs(x, y):
        return network(x, y, require_grad=True).flatten()

    output = PAIR[0].clone().requires_grad_()
    values = ours(output, PAIR[1], reduction="none")
    assert (values - theirs(*PAIR)).abs().max() < 1e-5
    values.sum().backward()
    other = PAIR[0].clone().requires_grad_()
    theirs(other, PAIR[1]).sum().backward()
    assert relative(output.grad, other.grad) < 1e-3


@pytest.mark.parametrize("layer", ["relu2_2", "relu3_3"])
def test_piq_counts_content_by_channels_and_style_by_places_squared(trunks, layer):
    """piq adds up the channels, whose mean is the paper's: C times ours. Its Gram
    matrices are not divided by C H W, and their entries' mean is taken, where the
    paper's is a sum over C^2 entries: (H W)^2 times ours.
    """
    package = pytest.importorskip("piq")
    channels, places = {"relu2_2": (128, 32 * 40), "relu3_3": (256, 16 * 20)}[layer]
    network = LossNetwork("IMAGENET1K_V1", precision="float32", device="cpu")
    ours = PerceptualLoss({layer: 1.0}, {layer: 1.0}, network=network)
    terms = ours(PAIR[0], content=PAIR[1][:1], style=PAIR[1][:1])
    how = {"feature_extractor": trunks["vgg16"], "weights": [1.0]}
    index = {"relu2_2": "8", "relu3_3": "15"}[layer]
    target = PAIR[1][:1].expand_as(PAIR[0])
    content = package.ContentLoss(layers=[index], **how)(PAIR[0], target)
    style = package.StyleLoss(layers=[index], **how)(PAIR[0], target)
    assert float(content) == pytest.approx(
        float(terms[f"content/{layer}"]) * channels, rel=1e-4
    )
    assert float(style) == pytest.approx(
        float(terms[f"style/{layer}"]) * places**2, rel=1e-4
    )


def test_total_variation_of_kornia_and_piq():
    """Ours is a mean or, squared, half a sum over cropped differences; theirs are
    sums, or means over each direction.
    """
    kornia = pytest.importorskip("kornia.losses")
    image = PAIR[0]
    theirs = kornia.total_variation(image, reduction="mean").mean(1)
    ours = total_variation(image, "absolute", reduction="none")
    assert torch.allclose(ours, theirs, rtol=1e-5)
    piq = pytest.importorskip("piq")
    theirs = piq.total_variation(image, reduction="none", norm_type="l1")
    rows, columns = image.diff(dim=-2), image.diff(dim=-1)
    assert torch.allclose(
        theirs, (rows.abs().sum((1, 2, 3)) + columns.abs().sum((1, 2, 3))), rtol=1e-5
    )


def test_psnr_and_pixels_of_kornia_torchmetrics_and_piq():
    """On RGB; ours take the 8 bits of a file, so the pictures here have them."""
    one, other = ((255 * image).round() / 255 for image in PAIR)
    ours = psnr(one, other, channel="rgb")
    found = []
    kornia = pytest.importorskip("kornia.metrics")
    found.append([kornia.psnr(a, b, 1.0) for a, b in zip(one, other, strict=True)])
    piq = pytest.importorskip("piq")
    found.append(piq.psnr(one, other, reduction="none"))
    image = pytest.importorskip("torchmetrics.functional.image")
    how = {"data_range": 1.0, "reduction": "none", "dim": (1, 2, 3)}
    found.append(image.peak_signal_noise_ratio(one, other, **how))
    for values in found:
        values = torch.as_tensor([float(value) for value in values])
        assert torch.allclose(values, ours, atol=1e-3)
    charbonnier = pytest.importorskip("kornia.losses").charbonnier_loss
    expected = charbonnier(one, other, reduction="mean")
    # theirs is sqrt(1 + d^2) - 1
    assert float(pixel_loss(one, other, "charbonnier", epsilon=1.0)) - 1 == (
        pytest.approx(float(expected), rel=1e-4)
    )


def test_ssim_of_torchmetrics():
    """The window of Wang et al. with borders left out."""
    image = pytest.importorskip("torchmetrics.functional.image")
    one, other = ((255 * picture).round() / 255 for picture in PAIR)
    theirs = image.structural_similarity_index_measure(
        one.double(), other.double(), data_range=1.0, reduction="none"
    )
    ours = ssim(one, other, channel="rgb").double()
    assert (ours - theirs).abs().max() < 2e-2


DYNAMIC = {"dynamic_img_size": True, "depth": 2}
TIMM = {  # arguments, layer, its map of a picture of 150x100 pixels
    "vit_small_patch14_reg4_dinov2": (DYNAMIC, "blocks.1", (384, 8, 11)),
    "vit_small_patch16_dinov3": ({"depth": 2}, "blocks.1", (384, 7, 10)),
    "vit_base_patch32_clip_224": ({"depth": 2}, "blocks.0", (768, 7, 7)),
    "convnext_atto": ({}, "stages.1", (80, 12, 18)),
    "resnet18": ({"features_only": True}, "layer2", (128, 13, 19)),
    "swin_tiny_patch4_window7_224": ({}, "layers.0", (96, 56, 56)),
}


@pytest.mark.parametrize("name", TIMM)
def test_networks_of_timm(name):
    """Maps, of any size, with gradients, compiled as one graph."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    options, layer, shape = TIMM[name]
    module = timm.create_model(name, pretrained=False, **options)
    encoder, image = Encoder(module), picture(100, 150).requires_grad_()
    terms = PerceptualLoss({layer: 1.0}, {layer: 1.0}, network=encoder)(
        image, content=picture(100, 150, 1), style=picture(100, 150, 1)
    )
    terms.total.backward()
    assert image.grad.abs().sum() > 0
    said = getattr(module, "pretrained_cfg", {"mean": (0.485, 0.456, 0.406)})["mean"]
    assert encoder.mean.flatten().tolist() == pytest.approx(said)
    feature = encoder(image, [layer])[layer]
    assert tuple(feature.shape) == (1, *shape)
    torch._dynamo.reset()
    compiled = torch.compile(encoder, fullgraph=True, backend="eager")
    assert relative(compiled(image, [layer])[layer], feature) < 1e-5


def test_the_tower_of_clip():
    pytest.importorskip("open_clip")
    transformer = pytest.importorskip("open_clip.transformer")
    torch.manual_seed(0)
    module = transformer.VisionTransformer(224, 32, 64, 2, 2, 4.0, output_dim=32)
    encoder, layers = Encoder(module), ("transformer.resblocks.1", "output")
    features = encoder(picture(100, 150), layers)
    assert [tuple(feature.shape) for feature in features.values()] == [
        (1, 64, 7, 7),
        (1, 32, 1, 1),
    ]


def test_a_module_of_lightning_trains_and_keeps_nothing_of_the_loss():
    """That of the page on loops."""
    lightning = pytest.importorskip("lightning")
    names: dict = {}
    exec(code_of_the_page("lightning"), names)
    torch.manual_seed(0)
    model, clean = names["Denoiser"](), picture(32, 32, 1, 4)
    before = model.network.weight.detach().clone()
    pairs = list(zip(clean + 0.1 * torch.randn_like(clean), clean, strict=True))
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, torch.utils.data.DataLoader(pairs, batch_size=2))
    assert trainer.global_step == 2
    assert sorted(trainer.callback_metrics) == ["content/relu1_2", "pixel"]
    assert not torch.equal(model.network.weight, before)
    assert list(model.state_dict()) == ["network.weight", "network.bias"]
