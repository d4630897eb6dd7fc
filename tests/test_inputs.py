"""Any picture: channels, ranges, volumes, weights, maps, sides; against loops by
hand.
"""

from __future__ import annotations

import pytest
import torch
from helpers import picture, refused, relative
from torch import nn

from pltutorial import PerceptualLoss, gram_matrix, perceptual_loss, style_loss
from pltutorial.terms import LossTerms

CONTENT, STYLE = {"relu1_1": 1.0, "relu2_1": 0.5}, {"relu1_2": 1.0}


def make(network, **options) -> PerceptualLoss:
    given = {"content": CONTENT, "style": STYLE, "pixel": 2.0, "total_variation": 1e-5}
    given |= {"normalization": "relative", **options}
    return PerceptualLoss(**given, network=network)


@pytest.fixture(scope="module")
def three(device):
    """Two outputs, two targets and a style."""
    return (
        picture(24, 16, 1, 2, device),
        picture(24, 16, 2, 2, device),
        picture(16, 20, 3, 1, device),
    )


def of_channels(image: torch.Tensor, count: int) -> torch.Tensor:
    return torch.cat([image, image.flip(1).square()], 1)[:, :count]


def same(given: dict, expected: dict, tolerance: float = 1e-5) -> None:
    assert list(given) == list(expected)
    for name, value in expected.items():
        assert given[name].shape == value.shape, name
        assert relative(given[name], value) < tolerance, name


def grey(image: torch.Tensor) -> torch.Tensor:
    return image.expand(-1, 3, -1, -1)


class TestChannels:
    def test_one_channel_is_grey(self, network, three):
        x, y, s = (image[:, :1] for image in three)
        given = make(network, channels="repeat")(x, y, s)
        same(given, make(network)(grey(x), grey(y), grey(s)))

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
    @pytest.mark.parametrize("reduction", ["mean", "none", "sum"])
    def test_each_channel_by_itself(self, network, three, count, reduction):
        x, y, s = (of_channels(image, count) for image in three)
        given = make(network, channels="each")(x, y, s, reduction=reduction)
        plain = make(network)
        by_hand = [
            plain(
                *(grey(image[:, i : i + 1]) for image in (x, y, s)), reduction=reduction
            )
            for i in range(count)
        ]
        expected = {k: sum(one[k] for one in by_hand) / count for k in by_hand[0]}
        same(given, expected)

    @pytest.mark.parametrize("channels", [(), (4,)])
    def test_kept_targets_of_channels(self, network, three, channels):
        x, y, s = (of_channels(image, *channels or (2,)) for image in three)
        loss = make(network, channels="each")
        kept = loss(x, loss.content_target(y), loss.style_target(s))
        same(kept, loss(x, y, s))

    def test_a_function_makes_rgb(self, network, three):
        x, y, s = (of_channels(image, 5) for image in three)
        given = make(network, channels=lambda image: image[:, :3])(x, y, s)
        same(given, make(network)(*three))

    def test_a_decoder_of_latents_stays_its_owners(self, network, three):
        torch.manual_seed(0)
        decoder = nn.Sequential(nn.ConvTranspose2d(4, 3, 4, 4), nn.Sigmoid())
        decoder.to(three[0].device)
        loss = make(network, channels=decoder)
        latents = [3 * torch.randn(2, 4, 6, 4, device=three[0].device) for _ in "xys"]
        latents[0].requires_grad_()
        terms = loss(*latents)
        same(terms, make(network)(*map(decoder, latents)))
        terms.backward()
        assert latents[0].grad.abs().sum() > 0
        assert list(loss.parameters()) == []
        assert loss.state_dict() == {}
        same(loss(latents[0], loss.content_target(latents[1]), latents[2]), terms)

    def test_other_numbers_are_refused_with_what_helps(self, network, three):
        four = of_channels(three[0], 4)
        for channels in (None, "repeat"):
            with refused("(2, 4, 24, 16)", "'each'"):
                make(network, channels=channels)(four, four, three[2])
        with refused("what channels= made", "(2, 2, 24, 16)"):
            make(network, channels=lambda x: x[:, :2])(four, four, four)
        with refused("'repat'", "'repeat'"):
            make(network, channels="repat")


class TestRange:
    def test_minus_one_to_one(self, network, three):
        given = make(network, input_range=(-1, 1))(*(2 * image - 1 for image in three))
        same(given, make(network)(*three), 1e-4)

    def test_8_bit_values_as_floats(self, network, three):
        given = make(network, input_range=(0, 255))(*(255 * image for image in three))
        same(given, make(network)(*three), 1e-4)

    def test_another_range_is_refused(self, network, three):
        x, y, s = three
        loss = make(network, input_range=(-1, 1))
        with refused("the output", "[-1, 1]"):
            loss(x * 255, y, s)
        with refused("the content target", "[-1, 1]"):
            loss(x, y * 2, s)
        with pytest.warns(UserWarning, match=r"\[-1, 1\] is needed"):
            loss(x * 6 - 3, y, s)
        for wrong in ((1, 0), 255, "rgb", (0, 1, 2), (0, float("nan"))):
            with refused(str(wrong), "black and white"):
                make(network, input_range=wrong)

    def test_pictures_around_zero_are_told_what_to_say(self, network, three):
        x, y, s = three
        with refused("(image + 1) / 2", "input_range=(-1, 1)"):
            make(network)(x, 2 * y - 1, s)
        with pytest.warns(UserWarning, match=r"input_range=\(-1, 1\)") as said:
            make(network)(2 * x - 1, y, s)
        assert said[0].filename == __file__

    def test_a_tensor_or_a_list_of_both(self, network, three):
        for both in (torch.tensor([-1.0, 1.0]), [-1, 1]):
            given = make(network, input_range=both)(*(2 * x - 1 for x in three))
            same(given, make(network)(*three), 1e-4)


class TestVolumes:
    def by_hand(self, network, x, y, s, channels):
        """Slice after slice along each axis; pixels of the whole volume."""
        loss = make(network, channels=channels, pixel=0.0)
        axes = []
        for axis in (2, 3, 4):
            slices = [
                loss(x.select(axis, i), y.select(axis, i), s, reduction="none")
                for i in range(x.shape[axis])
            ]
            axes.append({k: sum(t[k] for t in slices) / len(slices) for k in slices[0]})
        return {k: sum(a[k] for a in axes) / 3 for k in axes[0]}

    @pytest.mark.parametrize(("count", "channels"), [(1, "repeat"), (2, "each")])
    def test_slices_of_each_axis(self, network, device, count, channels):
        generator = torch.Generator().manual_seed(0)
        x, y = (torch.rand(2, count, 4, 6, 8, generator=generator) for _ in "xy")
        s = torch.rand(1, count, 8, 8, generator=generator)
        x, y, s = (image.to(device) for image in (x, y, s))
        loss = make(network, channels=channels)
        given = loss(x, y, s, reduction="none")
        expected = self.by_hand(network, x, y, s, channels)
        variance = y.flatten(1).var(1, correction=0)
        expected["pixel"] = 2 * (x - y).square().flatten(1).mean(1) / variance
        expected = {name: expected[name] for name in given}
        same(given, expected)
        same(loss(x, loss.content_target(y), loss.style_target(s)), loss(x, y, s))
        weighted = loss(x, y, s, weight=torch.full((1, 1, 4, 6, 8), 3.0, device=device))
        same(weighted, loss(x, y, s), 1e-4)
        x.requires_grad_()
        loss(x, y, s).backward()
        assert x.grad.isfinite().all()
        maps = loss(x, y, s, reduction="map")
        assert {value.shape for value in maps.values()} == {(2, 1, 4, 6, 8)}
        assert relative(maps["pixel"].mean(), loss(x, y, s)["pixel"]) < 1e-5
        assert relative(maps["content/relu1_1"].mean(), given["content/relu1_1"].mean())

    @pytest.mark.parametrize(("count", "channels"), [(1, "repeat"), (4, "each")])
    def test_each_volume_has_its_own_style(self, network, device, count, channels):
        generator = torch.Generator().manual_seed(0)
        x, y = (torch.rand(2, count, 3, 4, 5, generator=generator) for _ in "xy")
        s = torch.rand(2, count, 8, 8, generator=generator)
        x, y, s = (image.to(device) for image in (x, y, s))
        loss = make(network, channels=channels)
        both = loss(x, y, s, reduction="none")
        for index in range(2):
            alone = loss(*(image[index : index + 1] for image in (x, y, s)))
            same({name: value[index] for name, value in both.items()}, alone)
        if count == 4:
            one, another = loss(x, y, s[:1]), loss(x, y, s[:1].expand(2, -1, -1, -1))
            same(one, another)


class TestWeights:
    def test_ones_change_nothing_nor_does_a_factor(self, network, three):
        loss = make(network)
        for weight in (1.0, 7.0):
            weight = torch.full((1, 1, 24, 16), weight, device=three[0].device)
            same(loss(*three, weight=weight), loss(*three), 1e-4)

    def test_a_mask_in_each_term(self, network, three):
        x, y, s = three
        mask = torch.zeros(2, 1, 24, 16, device=x.device, dtype=torch.bool)
        mask[0, :, :12], mask[1, :, :, 4:8] = True, True
        terms = make(network, normalization="johnson")(
            x, y, s, weight=mask, reduction="none"
        )
        f, g = (network(image, ("relu1_1", "relu1_2")) for image in (x, y))
        a = gram_matrix(network(s, ("relu1_2",))["relu1_2"])
        for index in range(2):
            where = mask[index, 0]
            d = (x - y)[index][:, where].square().mean()
            assert relative(terms["pixel"][index], 2 * d) < 1e-5
            d = (f["relu1_1"] - g["relu1_1"])[index][:, where].square().mean()
            assert relative(terms["content/relu1_1"][index], d) < 1e-5
            inside = f["relu1_2"][index][:, where][None, :, :, None]
            d = style_loss(gram_matrix(inside), a)
            assert relative(terms["style/relu1_2"][index], d) < 1e-4

    def test_no_gradient_of_pixels_outside(self, network, three):
        x = three[0].clone().requires_grad_()
        weight = torch.zeros(1, 1, 24, 16, device=x.device)
        weight[..., 8:] = 0.3
        loss = make(network, content={}, style={}, total_variation=0.0)
        loss(x, three[1], weight=weight).backward()
        assert (x.grad[..., :8] == 0).all()
        assert (x.grad[..., 8:] != 0).any()

    def test_nothing_that_counts_is_finite(self, network, three):
        x = three[0].clone().requires_grad_()
        weight = torch.zeros(1, 1, 24, 16, device=x.device)
        make(network)(x, *three[1:], weight=weight).backward()
        assert x.grad.isfinite().all()

    def test_any_precision_and_kind_of_number(self, network, three):
        """The terms keep theirs."""
        loss = make(network)
        expected = loss(*three)
        for dtype in (torch.uint8, torch.int64, torch.float16, torch.float64):
            weight = torch.ones(1, 1, 24, 16, dtype=dtype, device=three[0].device)
            terms = loss(*three, weight=weight)
            assert {term.dtype for term in terms.values()} == {torch.float32}
            same(terms, expected, 1e-4)

    @pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
    def test_values_are_checked_in_the_first_call(self, network, three, wrong):
        weight = torch.ones(1, 1, 24, 16, device=three[0].device)
        weight[..., 3, 5] = wrong
        with refused(f"{wrong:g}", "finite and at least 0"):
            make(network)(*three, weight=weight)

    def test_refused(self, network, three):
        for wrong in (2.0, torch.ones(1, 1, 24, 16).numpy()):
            with refused(type(wrong).__name__, "(1 or N, 1, H, W)"):
                make(network)(*three, weight=wrong)
        for shape in ((1, 3, 24, 16), (1, 1, 16, 24), (3, 1, 24, 16), (24, 16)):
            with refused(str(shape), "(1 or N, 1, H, W)"):
                weight = torch.ones(shape, device=three[0].device)
                make(network)(*three, weight=weight)


class TestMaps:
    def test_their_mean_is_the_term(self, network, three):
        loss = make(network, style={})
        maps, terms = loss(*three, reduction="map"), loss(*three, reduction="none")
        assert set(maps) == {"content/relu1_1", "content/relu2_1", "pixel"}
        for name, value in maps.items():
            assert value.shape == (2, 1, 24, 16)
            tolerance = 1e-5 if "2_1" not in name else 0.1  # enlarged
            assert relative(value.mean((1, 2, 3)), terms[name]) < tolerance, name
        assert maps.total.shape == (2, 1, 24, 16)

    def test_they_show_where(self, network, three):
        x = three[1].clone()
        x[..., 4:8, 4:8] = 1 - x[..., 4:8, 4:8]
        total = make(network)(x, three[1], three[2], reduction="map").total
        assert total[..., 4:8, 4:8].mean() > 20 * total[..., 14:, :].mean()

    @pytest.mark.parametrize("options", [{"balance": "layers"}, {}])
    def test_in_the_papers_norms(self, network, three, options):
        loss = make(network, normalization="johnson", **options)
        maps, terms = loss(*three, reduction="map"), loss(*three, reduction="none")
        for name in ("content/relu1_1", "pixel"):
            assert relative(maps[name].mean((1, 2, 3)), terms[name]) < 1e-5, name

    def test_style_has_none(self, network, three):
        with refused("style has no places"):
            make(network, content={}, pixel=0.0)(*three, reduction="map")


class TestReductions:
    @pytest.mark.parametrize("balance", [None, "layers"])
    def test_sum_and_none(self, network, three, balance):
        loss = make(network, normalization="johnson", balance=balance)
        mean, total, single = (
            loss(*three, reduction=reduction) for reduction in ("mean", "sum", "none")
        )
        for name in mean:
            assert relative(total[name], 2 * mean[name]) < 1e-5
            assert relative(single[name].sum(), total[name]) < 1e-5
        alone = loss(three[0][1:], three[1][1:], three[2])
        same({k: v[1] for k, v in single.items()}, alone)

    def test_unknown(self, network, three):
        with refused("'avg'", "'sum'"):
            make(network)(*three, reduction="avg")


class TestBalance:
    def test_against_the_formula(self, network, three):
        """Each layer over its target's norm, times the mean norm of the layers."""
        x, y, s = (image[:1] for image in three)
        layers = {"relu1_2": 1.0, "relu3_1": 2.0}
        loss = PerceptualLoss({}, layers, balance="layers", network=network)
        gx, gs = (
            {k: gram_matrix(f)[0] for k, f in network(image, tuple(layers)).items()}
            for image in (x, s)
        )
        norms = {k: gs[k].square().sum() for k in layers}
        mean = sum(norms.values()) / 2
        terms = loss(x, style=s)
        for k, weight in layers.items():
            by_hand = weight * (gx[k] - gs[k]).square().sum() / norms[k] * mean
            assert relative(terms[f"style/{k}"], by_hand) < 1e-5

    def test_unknown(self, network):
        with refused("'layer'", "'layers'"):
            make(network, balance="layer")


class TestSides:
    def test_gradients_reach_both_on_request(self, network, three):
        x, y, s = (image.clone().requires_grad_() for image in three)
        loss = make(network, target_gradient=True, total_variation=0.0)
        loss(x, y, s).backward()
        assert all(image.grad.abs().sum() > 0 for image in (x, y, s))

    def test_a_symmetric_loss_has_opposite_gradients(self, network, three):
        x, y = (image.clone().requires_grad_() for image in three[:2])
        options = {"style": {}, "normalization": "johnson", "total_variation": 0.0}
        make(network, target_gradient=True, **options)(x, y).backward()
        other = three[1].clone().requires_grad_()
        make(network, **options)(other, three[0]).backward()
        assert relative(y.grad, other.grad) < 1e-4

    def test_none_reach_the_target_otherwise(self, network, three):
        x, y, s = (image.clone().requires_grad_() for image in three)
        make(network)(x, y, s).backward()
        assert y.grad is None
        assert s.grad is None


WRONG = {
    "8 bits": (lambda x: (255 * x).to(torch.uint8), "uint8"),
    "no batch": (lambda x: x[0], "image[None]"),
    "channels last": (lambda x: x.permute(0, 2, 3, 1), "permute"),
    "four channels": (lambda x: of_channels(x, 4), "(2, 4, 24, 16)"),
    "volume": (lambda x: of_channels(x, 2)[:, :, None], "(2, 2, 1, 24, 16)"),
    "another size": (lambda x: x[..., 1:], "(2, 3, 24, 15)"),
    "more pictures": (lambda x: torch.cat([x, x]), "(4, 3, 24, 16)"),
}


@pytest.mark.parametrize(("change", "word"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("place", [0, 1])
def test_forms_are_checked_in_every_call(network, three, change, word, place):
    loss = make(network)
    loss(*three)
    given = list(three)
    given[place] = change(given[place])
    with refused(word):
        loss(*given)
    if place:
        with refused(word):
            make(network, style={}).forward(*given[:2])


def test_both_names_of_the_target_are_one_too_many(network, three):
    with refused("content and target"):
        make(network)(three[0], content=three[1], target=three[0], style=three[2])


def test_styles_are_one_or_as_many_as_the_outputs(network, three):
    styles = three[2].repeat(3, 1, 1, 1)
    for channels in (None, "each"):
        loss = make(network, channels=channels)
        for style in (styles, loss.style_target(styles)):
            with refused("styles for 3 outputs", "2 outputs"):
                loss(*three[:2], style)


def test_weights_are_numbers(network):
    for wrong in ("one", None, [1.0], float("nan"), -1):
        for given in ({"content": {"relu1_1": wrong}}, {"pixel": wrong}):
            with refused(str(wrong), "finite and at least 0"):
                PerceptualLoss(**given, network=network)
    one = PerceptualLoss({"relu1_1": torch.tensor(1.0)}, network=network)
    assert one.content_weights == {"relu1_1": 1.0}


def test_what_other_packages_say_is_answered(network, three):
    for name, answer in {
        "scaling": "normalization=",
        "net_type": "LPIPS(",
        "layer_weights": "content=",
        "spatial_dims": "shape",
    }.items():
        with refused(f"{name}=", answer):
            PerceptualLoss(**{name: "vgg"})
    loss = make(network)
    for name, answer in {"mask": "weight=", "normalize": "input_range="}.items():
        with refused(f"{name}=", answer):
            loss(*three, **{name: three[0][:, :1]})


def test_a_target_of_another_size_is_seen_where_layers_would_not_tell(network, three):
    loss = PerceptualLoss({"relu3_1": 1.0}, network=network)
    x, y = (picture(33, 33, seed, device=three[0].device) for seed in (1, 2))
    for target in (y[..., :32, :32], loss.content_target(y[..., :32, :32])):
        with refused("(1, 3, 33, 33)", "(1, 3, 32, 32)"):
            loss(x, target)


class TestOneLine:
    def test_it_is_relative_and_of_order_one(self, three):
        x, y, _ = three
        terms = perceptual_loss(x, y)
        assert list(terms) == ["content/relu3_3", "pixel"]
        variance = y.flatten(1).var(1, correction=0)
        pixel = ((x - y).square().flatten(1).mean(1) / variance).mean()
        assert relative(terms["pixel"], pixel) < 1e-5
        # a signal lost: 1 of each
        nothing = y.mean((1, 2, 3), keepdim=True).expand_as(y)
        terms = perceptual_loss(nothing, y)
        assert float(terms["pixel"]) == pytest.approx(1, rel=1e-4)
        assert 0.1 < float(terms["content/relu3_3"]) < 10

    def test_options_and_one_network(self, three, monkeypatch):
        x, y, _ = three
        perceptual_loss(x, y)
        with monkeypatch.context() as patch:
            patch.setattr("pltutorial.perceptual.LossNetwork", None)  # is there
            grey = perceptual_loss(x[:, :1], y[:, :1], channels="repeat")
            assert grey.total.ndim == 0
            assert perceptual_loss(x, y, reduction="none").total.shape == (2,)
            weighted = perceptual_loss(x, y, content={"relu1_1": 2.0}, pixel=0.0)
            assert list(weighted) == ["content/relu1_1"]

    def test_it_trains(self, three):
        x = three[0].clone().requires_grad_()
        optimizer = torch.optim.Adam([x], 0.05)
        values = []
        for _ in range(5):
            optimizer.zero_grad()
            loss = perceptual_loss(x, three[1])
            loss.backward()
            optimizer.step()
            values.append(loss.item())
        assert values[-1] < 0.7 * values[0]


class TestArithmetic:
    @pytest.fixture
    def terms(self):
        return LossTerms(a=torch.tensor(2.0, requires_grad=True), b=torch.tensor(0.5))

    def test_it_is_the_total_s(self, terms):
        one, two = torch.tensor(1.0), LossTerms(c=torch.tensor(4.0))
        for given, expected in (
            (0.1 * terms, 0.25),
            (terms * 2, 5),
            (terms / 2, 1.25),
            (-terms, -2.5),
            (terms + 1, 3.5),
            (1 - terms, -1.5),
            (terms - one, 1.5),
            (one + terms, 3.5),
            (one * terms, 2.5),
            (one - terms, -1.5),
            (terms + two, 6.5),
            (terms - two, -1.5),
            (0.5 * terms + 2 * two, 9.25),
            (sum([terms, two, one]), 7.5),
            (terms.detach(), 2.5),
        ):
            assert isinstance(given, torch.Tensor)
            assert float(given) == pytest.approx(expected)
        assert terms.item() == float(terms) == 2.5
        assert f"{terms:.3f}" == "2.500"
        assert f"{terms}" == str(terms)
        assert terms.mean().item() == 2.5
        assert [terms < 3, terms <= 2.5, terms > one, terms >= one] == [True] * 4
        assert [terms < one, terms <= one, terms > 3, terms >= two] == [False] * 4
        assert max([one, terms, two]) is two
        assert list(terms) == ["a", "b"]

    def test_what_a_tensor_has_and_what_functions_of_torch_give(self, terms):
        """Of the total: as loops look for NaN, or take means of what is no scalar."""
        for given, expected in (
            (terms**2, 6.25),
            (1 / terms, 0.4),
            (abs(LossTerms(c=torch.tensor(-2.5))), 2.5),
            (terms.sum(), 2.5),
            (terms.cpu().float(), 2.5),
            (torch.isfinite(terms), 1),
            (torch.isnan(terms), 0),
            (torch.stack([terms, terms]).sum(), 5),
            (torch.add(terms, 1), 3.5),
        ):
            assert isinstance(given, torch.Tensor)
            assert given.item() == pytest.approx(expected)
        assert (terms.ndim, terms.shape, terms.dtype) == (0, (), torch.float32)
        assert terms.requires_grad
        whole = torch.zeros(())
        whole += terms.detach()
        assert whole == 2.5
        torch.autograd.backward(terms)
        assert float(terms["a"].grad) == 1
        with pytest.raises(AttributeError, match="'totl'"):
            _ = terms.totl

    def test_a_checkpoint_may_hold_it(self, terms, tmp_path):
        """As in PyTorch's own tutorial, {"loss": loss}."""
        torch.save({"loss": terms, "epoch": 3}, tmp_path / "checkpoint.pt")
        kept = torch.load(tmp_path / "checkpoint.pt")
        assert float(kept["loss"]) == 2.5
        assert list(kept["loss"]) == ["a", "b"]

    def test_gradients(self, terms):
        (3 * terms).backward()
        assert float(terms["a"].grad) == 3
        terms.backward()
        assert float(terms["a"].grad) == 4
        assert not terms.detach().requires_grad


def test_repr_says_layers_weights_and_normalisation(network):
    loss = make(network, input_range=(-1, 1), channels="each")
    for word in (
        "content={relu1_1: 1, relu2_1: 0.5}",
        "style={relu1_2: 1}",
        "pixel=2",
        "total_variation=1e-05",
        "normalization='relative'",
        "input_range=(-1, 1)",
        "channels='each'",
    ):
        assert word in repr(loss), repr(loss)
    assert "balance" not in repr(loss)
