"""PerceptualLoss: the losses added up, their targets, and no copy to the host."""

from __future__ import annotations

import copy

import numpy
import pytest
import torch
from helpers import Operations, picture, refused, relative
from test_losses import reference_gram
from torch import nn

from pltutorial import (
    Encoder,
    LossNetwork,
    PerceptualLoss,
    bundled,
    bundled_names,
    crop_to_multiple,
    downscale,
    feature_loss,
    gram_matrix,
    pixel_loss,
    read_image,
    resize,
    style_loss,
    total_variation,
    vgg,
)
from pltutorial.device import has_fast_bfloat16

CONTENT, STYLE = {"relu2_1": 2.0}, {"relu1_2": 0.5, "relu2_2": 1.5}


@pytest.fixture(scope="module")
def pictures(device):
    """Two outputs, their content targets and one style of another size."""
    return (
        picture(32, 32, 1, 2, device),
        picture(32, 32, 2, 2, device),
        picture(40, 24, 3, 1, device),
    )


def make(network, **changes) -> PerceptualLoss:
    given = {
        "content": CONTENT,
        "style": STYLE,
        "pixel": 3.0,
        "total_variation": 1e-4,
        **changes,
    }
    return PerceptualLoss(**given, network=network)


class TestPerceptualLoss:
    @pytest.mark.parametrize("normalization", ["johnson", "gatys", "mean"])
    def test_terms_are_the_weighted_losses(self, network, pictures, normalization):
        output, content, style = pictures
        terms = make(network, normalization=normalization)(
            output, content=content, style=style
        )
        layers = (*CONTENT, *STYLE)
        y, c, s = (network(image, layers) for image in pictures)
        how = {"normalization": normalization}
        expected = {
            "content/relu2_1": 2.0 * feature_loss(y["relu2_1"], c["relu2_1"], **how),
            "style/relu1_2": 0.5 * style_loss(y["relu1_2"], s["relu1_2"], **how),
            "style/relu2_2": 1.5 * style_loss(y["relu2_2"], s["relu2_2"], **how),
            "pixel": 3.0 * pixel_loss(output, content),
            # Johnson's weight means the 0-255 scale
            "total_variation": 1e-4 * total_variation(output * 255),
        }
        assert list(terms) == list(expected)
        for name, value in expected.items():
            assert relative(terms[name], value) < 1e-5, name
        assert terms.total.ndim == 0
        assert float(terms.total) == pytest.approx(
            sum(float(value) for value in terms.values()), rel=1e-6
        )
        assert all(term.device.type == output.device.type for term in terms.values())

    def test_defaults_are_johnsons(self, network):
        loss = PerceptualLoss(style=True, pixel=0.0, network=network)
        assert loss.style_weights == dict.fromkeys(
            ("relu1_2", "relu2_2", "relu3_3", "relu4_3"), 1.0
        )
        assert PerceptualLoss(network=network).content_weights == {"relu3_3": 1.0}

    def test_cached_targets_equal_fresh_ones(self, network, pictures):
        output, content, style = pictures
        loss = make(network)
        fresh = loss(output, content=content, style=style)
        cached = loss(
            output, content=loss.content_target(content), style=loss.style_target(style)
        )
        for name in fresh:
            assert torch.equal(fresh[name], cached[name]), name
        passes = []

        def counted(image, layers):
            passes.append(len(image))
            return network(image, layers)

        loss = make(counted)
        targets = loss.content_target(content), loss.style_target(style)
        passes.clear()
        loss(output, *targets)
        assert passes == [len(output)]  # no pass of a target

    def test_content_targets_run_no_deeper_than_the_content_layer(
        self, network, pictures
    ):
        loss = PerceptualLoss({"relu2_1": 1.0}, {"relu5_3": 1.0}, network=network)
        with Operations() as seen:
            loss.content_target(pictures[1])
        assert sum("convolution" in name for name in seen.names) == 3

    def test_a_value_per_picture_equals_one_by_one(self, network, pictures):
        output, content, style = pictures
        loss = make(network)
        both = loss(output, content=content, style=style, reduction="none")
        for index in range(2):
            alone = loss(
                output[index : index + 1],
                content=content[index : index + 1],
                style=style,
            )
            for name, value in alone.items():
                assert both[name].shape == (2,)
                assert relative(both[name][index], value) < 1e-5, name
            assert relative(both.total[index], alone.total) < 1e-5
        mean = loss(output, content=content, style=style)
        assert relative(both.total.mean(), mean.total) < 1e-5

    def test_several_styles_blend_their_gram_matrices(self, network, pictures, device):
        styles = [picture(32, 24, 5, device=device), picture(16, 40, 6, device=device)]
        loss = make(network)
        target = loss.style_target(styles, weights=(3, 1))
        for name in STYLE:
            one, two = (gram_matrix(network(style, (name,))[name]) for style in styles)
            assert relative(target.grams[0][name], 0.75 * one + 0.25 * two) < 1e-6
        even = loss.style_target(styles).grams[0]["relu1_2"]
        assert (
            relative(
                even, loss.style_target(styles, weights=(2, 2)).grams[0]["relu1_2"]
            )
            < 1e-6
        )

    def test_masks(self, network, device):
        output = picture(32, 32, 1, device=device)
        styles = [picture(32, 32, seed, device=device) for seed in (2, 3)]
        left = torch.zeros(1, 1, 32, 32, device=device)
        left[..., :16] = 1
        loss = PerceptualLoss(style={"relu1_1": 1.0}, network=network)
        target = loss.style_target(styles, masks=[(left, 1 - left), (1 - left, left)])
        value = loss(output, style=target)["style/relu1_1"]
        f, one, two = (
            network(image, ("relu1_1",))["relu1_1"] for image in (output, *styles)
        )
        expected = [
            ((reference_gram(f[..., :16]) - reference_gram(one[..., 16:])) ** 2).sum(),
            ((reference_gram(f[..., 16:]) - reference_gram(two[..., :16])) ** 2).sum(),
        ]
        assert float(value) == pytest.approx(numpy.mean(expected), rel=1e-4)

    def test_gradients_reach_the_output_only(self, network, pictures):
        output, content, style = (given.clone().requires_grad_() for given in pictures)
        make(network)(output, content=content, style=style).total.backward()
        assert output.grad.abs().sum() > 0
        # the pixel term has a gradient
        assert content.grad is None or float(content.grad.abs().sum()) > 0
        assert style.grad is None

    def test_gradient_against_plain_autograd(self, network, pictures):
        """The whole loss again with einsum, on the features of the same network."""
        output, content, style = pictures
        one, two = output.clone().requires_grad_(), output.clone().requires_grad_()
        loss = PerceptualLoss(CONTENT, STYLE, network=network)
        loss(one, content=content, style=style).total.backward()
        layers = (*CONTENT, *STYLE)
        y, c, s = (network(image, layers) for image in (two, content, style))
        total = 2.0 * (y["relu2_1"] - c["relu2_1"]).square().mean()
        for name, weight in STYLE.items():
            g, a = (
                torch.einsum("nchw,ndhw->ncd", f, f) / f[0].numel()
                for f in (y[name], s[name])
            )
            total = total + weight * (g - a).square().sum((1, 2)).mean()
        total.backward()
        assert relative(one.grad, two.grad) < 1e-4

    def test_any_encoder(self, device):
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(3, 6, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 4, 3),
            nn.ReLU(inplace=True),
        )
        encoder = Encoder(
            module.to(device), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
        ).to(device)
        loss = PerceptualLoss({"2": 1.0}, {"1": 1.0}, network=encoder)
        output, content, style = (
            picture(16, 16, seed, device=device) for seed in range(3)
        )
        terms = loss(output, content=content, style=style)
        assert list(terms) == ["content/2", "style/1"]
        c0 = [module[0](image) for image in (output, content, style)]
        expected = (module[2](c0[0].relu()) - module[2](c0[1].relu())).square().mean()
        assert relative(terms["content/2"], expected) < 1e-5
        with refused("'3_3'"):
            PerceptualLoss({"3_3": 1.0}, network=encoder)

    def test_any_function_of_image_and_layers(self, device):
        def halves(image, layers):
            return dict.fromkeys(layers, image * 0.5)

        output, content = (
            picture(8, 8, 1, device=device),
            picture(8, 8, 2, device=device),
        )
        terms = PerceptualLoss({"half": 4.0}, network=halves)(output, content=content)
        assert relative(terms.total, (output - content).square().mean()) < 1e-5

    def test_autocast_of_the_caller(self, network, pictures):
        output, content, style = pictures
        loss = make(network)
        full = loss(output, content=content, style=style)
        with torch.autocast(output.device.type, dtype=torch.bfloat16):
            lower = loss(output, content=content, style=style)
        for name in ("content/relu2_1", "style/relu1_2", "style/relu2_2"):
            assert lower[name].dtype == torch.float32
            assert 1e-7 < abs(float(lower[name] / full[name]) - 1) < 0.02, name

    def test_bfloat16_is_near_float32(self, network, device):
        """Measured with AVX512-BF16 over three pairs of pictures:
        every term within 0.6%.
        """
        if not has_fast_bfloat16(device):
            pytest.skip("this processor does not compute in bfloat16 itself")
        lower = LossNetwork(precision="bfloat16", device=device)
        output, target = (
            picture(64, 64, 0, device=device),
            picture(64, 64, 10, device=device),
        )
        one, two = (
            PerceptualLoss({"relu3_3": 1.0}, True, network=net)(
                output, content=target, style=target
            )
            for net in (network, lower)
        )
        assert not torch.equal(one.total, two.total)
        for name in one:
            assert relative(two[name], one[name]) < 0.012, name

    def test_it_drops_into_a_training_loop(self, network, pictures):
        output, content, style = pictures
        model = nn.Conv2d(3, 3, 3, padding=1).to(output.device)
        loss = make(network, pixel=0.0)
        optimizer = torch.optim.Adam([*model.parameters(), *loss.parameters()], lr=1e-2)
        assert len(optimizer.param_groups[0]["params"]) == 2
        values = []
        target = loss.style_target(style)
        for _ in range(5):
            optimizer.zero_grad()
            total = loss(model(content).sigmoid(), content=content, style=target).total
            total.backward()
            optimizer.step()
            values.append(float(total.detach()))
        assert values[-1] < values[0]
        assert loss.state_dict() == {}

    def test_deepcopy(self, network, pictures):
        output, content, style = pictures
        loss = make(network)
        before = loss(output, content=content, style=style).total
        assert torch.equal(
            copy.deepcopy(loss)(output, content=content, style=style).total, before
        )

    def test_only_the_first_call_looks_at_the_values(self, network, pictures):
        output, content, style = pictures
        loss = make(network)
        with refused("the output", "divide 0-255 pictures by 255"):
            loss(output * 255, content=content, style=style)
        loss(output, content=content, style=style)
        # the hot path pays for no check
        loss(output * 255, content=content, style=style)

    def test_refused(self, network, pictures):
        output, content, style = pictures
        with refused("content"):
            make(network)(output, style=style)
        with refused("style"):
            make(network)(output, content=content)
        with refused("-1", "relu2_1"):
            make(network, content={"relu2_1": -1.0})
        with refused("nan", "pixel"):
            make(network, pixel=float("nan"))
        with refused("'relu3_4'", "'relu3_"):
            make(network, style={"relu3_4": 1.0})
        with refused("no style"):
            make(network).style_target([])
        with refused("2 styles"):
            make(network).style_target([style, style], weights=(1, 2, 3))
        with refused("2 styles"):
            make(network).style_target([style, style], weights=(1, -1))
        with refused("mask 0"):
            mask = torch.zeros(1, 1, 8, 8, device=output.device)
            make(network).style_target(style, masks=[(mask, mask)])
        with refused("nothing to compare"):
            PerceptualLoss(content={}, network=network)
        with refused("'johnson'"):
            make(network, normalization="jonson")
        with refused("(2, 3, 32, 32)", "(1, 3, 16, 16)"):
            make(network)(
                output, content=picture(16, 16, device=output.device), style=style
            )

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (
                {"scaling": "relative"},
                "scaling='relative' was given; say normalization=",
            ),
            ({"layers": ["relu1_2"]}, "say content="),
            ({"reduction": "none"}, "say loss(output, target=picture, reduction="),
            ({"device": "cuda"}, "say .to(device)"),
        ],
    )
    def test_names_of_other_packages_are_answered_with_ours(
        self, network, given, words
    ):
        with refused(words):
            PerceptualLoss(network=network, **given)
        with pytest.raises(TypeError, match="contnt"):
            PerceptualLoss(network=network, contnt={"relu1_2": 1.0})

    def test_targets_are_looked_at_where_they_enter(self, network, pictures):
        _, content, style = pictures
        with refused("the content target", "255"):
            make(network).content_target(content * 255)
        with refused("the style target", "255"):
            make(network).style_target(style * 255)

    def test_every_layer_is_heard(self, network, pictures):
        output, _, style = pictures
        layers = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")

        def shares(normalization):
            loss = PerceptualLoss(
                {},
                dict.fromkeys(layers, 1.0),
                normalization=normalization,
                network=network,
            )
            terms = loss(output, style=style)
            return [float(value / terms.total) for value in terms.values()]

        assert min(shares("johnson")) < 0.01
        assert min(shares("relative")) > 0.02


class TestWhatDocstringsSay:
    """The numbers in them, on four photographs and The Great Wave."""

    LAYERS = dict.fromkeys(("relu1_2", "relu2_2", "relu3_3", "relu4_3"), 1.0)

    @pytest.fixture(scope="class")
    def terms(self, network, device):
        def resized(path):
            return crop_to_multiple(read_image(bundled(path), 256), 4).to(device)

        wave, found = resized("style/great_wave"), {}
        for name in bundled_names("test"):
            photo = resized(f"test/{name}")
            small = resize(downscale(photo, 4), tuple(photo.shape[-2:]))
            for normalization in ("johnson", "gatys", "mean", "relative", "balanced"):
                balance, how = None, normalization
                if how == "balanced":
                    balance, how = "layers", "johnson"
                loss = PerceptualLoss(
                    self.LAYERS,
                    self.LAYERS,
                    normalization=how,
                    balance=balance,
                    network=network,
                )
                with torch.no_grad():
                    terms = loss(small, photo, wave)
                for kind in ("content", "style"):
                    values = torch.stack([terms[f"{kind}/{k}"] for k in self.LAYERS])
                    found.setdefault((kind, normalization), []).append(values)
        return {name: torch.stack(values) for name, values in found.items()}

    @pytest.mark.parametrize(
        ("term", "shares"),
        [
            (("content", "johnson"), (4, 38, 56, 2)),
            (("content", "relative"), (12, 24, 29, 36)),
            (("style", "johnson"), (3, 49, 48, 0.01)),
            (("style", "gatys"), (3, 49, 48, 0.01)),
            (("style", "mean"), (17, 67, 16, 0.001)),
            (("style", "relative"), (26, 20, 25, 29)),
            (("style", "balanced"), (26, 20, 25, 29)),
        ],
    )
    def test_shares_of_the_layers(self, terms, term, shares):
        measured = 100 * (terms[term] / terms[term].sum(1, keepdim=True)).mean(0)
        for found, said in zip(measured.tolist(), shares, strict=True):
            assert found == pytest.approx(said, rel=0.2, abs=0.6 if said >= 1 else 0)

    def test_terms(self, terms):
        low, high = terms["content", "johnson"].aminmax()
        assert 3000 < low < 4000
        assert 2e5 < high < 3e5
        low, high = terms["content", "relative"].aminmax()
        assert 0.07 < low < 0.09
        assert 0.6 < high < 0.8
        assert 5e9 < terms["style", "johnson"].max() < 2e10
        low, high = terms["style", "relative"].aminmax()
        assert 0.6 < low < 0.8
        assert 1.3 < high < 1.7

    def test_balanced_layers_keep_the_papers_scale(self, terms):
        plain, balanced = (terms["style", how] for how in ("johnson", "balanced"))
        ratio = balanced.sum(1) / plain.sum(1)
        assert ((ratio > 0.5) & (ratio < 2)).all()


class Leaky(PerceptualLoss):
    """What must not happen: a copy to the host in every step."""

    how = "item"

    def forward(self, *args, **kwargs):
        terms = super().forward(*args, **kwargs)
        getattr(terms["pixel"].detach(), self.how)()
        return terms


def step(loss, output, content, style) -> None:
    terms = loss(output, content=content, style=style)
    terms.total.backward()


class TestNothingIsCopiedToTheHost:
    """A copy to the host waits for the device; the step of a training
    loop must make none.
    """

    def watch(self, kind: type, network, pictures, cached: bool = True) -> Operations:
        output, content, style = pictures
        output = output.clone().requires_grad_()
        loss = make(network)
        loss.__class__ = kind
        step(loss, output, content, style)
        if cached:
            content, style = loss.content_target(content), loss.style_target(style)
        with Operations() as seen:
            step(loss, output, content, style)
        assert len(seen.names) > 30
        return seen

    @pytest.mark.parametrize("cached", [True, False])
    def test_a_step_makes_no_copy(self, network, pictures, cached):
        assert self.watch(PerceptualLoss, network, pictures, cached).to_host == []

    @pytest.mark.parametrize("how", ["item", "__float__", "__bool__"])
    def test_one_item_would_be_seen(self, network, pictures, how, monkeypatch):
        monkeypatch.setattr(Leaky, "how", how)
        assert self.watch(Leaky, network, pictures).to_host != []

    @pytest.fixture
    def nowhere(self, monkeypatch):
        """A step on the meta device, where there are no values to copy: not even
        .cpu() can pass unseen.
        """
        # autocast knows no meta device; nothing here is in half precision
        monkeypatch.setattr(vgg.torch, "is_autocast_enabled", lambda kind=None: False)

        class NoAutocast:
            def __init__(self, *args, **kwargs):
                pass

            def __enter__(self):
                return self

            def __exit__(self, *args):
                return False

        monkeypatch.setattr(vgg.torch, "autocast", NoAutocast)

        def run(kind: type, cached: bool) -> torch.Tensor:
            loss = make(LossNetwork(precision="float32", device="cpu"))
            loss.__class__ = kind
            images = picture(32, 32, 1, 2), picture(32, 32, 2, 2), picture(40, 24, 3)
            PerceptualLoss.forward(loss, images[0], content=images[1], style=images[2])
            if cached:
                targets = loss.content_target(images[1]), loss.style_target(images[2])
            loss.to("meta")
            output, content, style = (image.to("meta") for image in images)
            if cached:
                content, style = targets
                content.image = content.image.to("meta")
                content.features = {
                    name: given.to("meta") for name, given in content.features.items()
                }
                style.grams = [
                    {name: gram.to("meta") for name, gram in style.grams[0].items()}
                ]
            output.requires_grad_()
            step(loss, output, content, style)
            return output.grad

        return run

    @pytest.mark.parametrize("cached", [True, False])
    def test_a_step_runs_without_values(self, nowhere, cached):
        gradient = nowhere(PerceptualLoss, cached)
        assert gradient.shape == (2, 3, 32, 32)
        assert gradient.device.type == "meta"

    @pytest.mark.parametrize("how", ["item", "cpu", "numpy", "tolist", "__bool__"])
    def test_any_copy_would_fail_there(self, nowhere, how, monkeypatch):
        monkeypatch.setattr(Leaky, "how", how)
        with pytest.raises((RuntimeError, NotImplementedError, TypeError)):
            nowhere(Leaky, True)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_the_gpu_is_never_waited_for(self, network, pictures, device):
        if device.type != "cuda":
            pytest.skip("the CPU is never waited for")
        output, content, style = pictures
        output = output.clone().requires_grad_()
        loss = make(network)
        step(loss, output, content, style)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            step(loss, output, content, style)
        finally:
            torch.cuda.set_sync_debug_mode("default")
