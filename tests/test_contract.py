"""What a loss promises, in whatever wrapper somebody's training loop has it.

Every loss goes through every wrapper; the encoders, which the losses are made of, keep
the same promises. NEEDS says which test proves which need of a researcher.
"""

from __future__ import annotations

import ast
import copy
import importlib
import json
import math
import pickle
import re
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from helpers import code_of_the_page, picture, relative
from test_encoder import Vit
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint
from torchvision.models.resnet import BasicBlock, ResNet

from pltutorial import (
    DeepSimLoss,
    Encoder,
    LossNetwork,
    PerceptualLoss,
    deblur,
    denoise,
    inpaint,
    perceptual_loss,
    stylize,
    upscale,
)
from pltutorial.calibrated import DISTS, LPIPS
from pltutorial.efficientnet import EfficientNetLite0
from pltutorial.losses import NORMALIZATIONS, feature_loss
from pltutorial.networks.discriminator import Discriminator
from pltutorial.terms import LossTerms

TESTS = Path(__file__).parent

# what people ask of a perceptual loss, and which test proves it here
NEEDS = {
    "works after install, without a network": (
        "test_installed::test_the_losses_and_functions_on_pictures_work"
    ),
    "a + w * loss(x, y)": "test_inputs::TestArithmetic::test_it_is_the_total_s",
    "of order 1 on photographs": (
        "test_perceptual_loss::TestWhatDocstringsSay::test_terms"
    ),
    "Gram style loss": (
        "test_losses::TestStyleLoss::test_johnson_is_the_squared_frobenius_norm"
    ),
    "pixel, total variation and adversarial terms in one sum": (
        "test_contract::test_an_adversarial_term_joins_the_others"
    ),
    "LPIPS, calibrated and differentiable": "test_peers::test_lpips",
    "DISTS": "test_peers::test_dists",
    "distances of sets": "test_distances::test_frechet_is_that_of_the_papers_code",
    "a value per picture": (
        "test_perceptual_loss::TestPerceptualLoss::"
        "test_a_value_per_picture_equals_one_by_one"
    ),
    'reduction="sum"': "test_inputs::TestReductions::test_sum_and_none",
    "a value per layer": (
        "test_perceptual_loss::TestPerceptualLoss::test_terms_are_the_weighted_losses"
    ),
    "a map over positions": "test_inputs::TestMaps::test_their_mean_is_the_term",
    "masks on feature terms": "test_inputs::TestWeights::test_a_mask_in_each_term",
    "1 channel": "test_inputs::TestChannels::test_one_channel_is_grey",
    "4 and more channels": "test_inputs::TestChannels::test_each_channel_by_itself",
    "volumes": "test_inputs::TestVolumes::test_slices_of_each_axis",
    "[-1, 1]": "test_inputs::TestRange::test_minus_one_to_one",
    "any backbone with named layers": (
        "test_encoder::test_layers_are_maps_with_gradients_of_any_size_and_compile"
    ),
    "DINOv2 and CLIP": "test_peers::test_networks_of_timm",
    "target features kept": (
        "test_perceptual_loss::TestPerceptualLoss::test_cached_targets_equal_fresh_ones"
    ),
    "nothing stored, nothing trained": (
        "test_contract::TestOwners::test_nothing_is_trained_or_stored"
    ),
    "torch.compile(fullgraph=True)": (
        "test_contract::TestGraphs::test_compiles_as_one_graph"
    ),
    "finite gradients in float16": (
        "test_contract::TestPrecision::test_pictures_in_half_precision"
    ),
    "equal and black pictures": "test_contract::test_equal_and_black_pictures",
    "a wrong range is refused": "test_peer_traps::test_other_ranges_are_refused",
    "16 pixels": "test_contract::test_16_pixels",
    "today's libraries": "test_peer_traps::test_no_deprecated_call_of_the_libraries",
    "types": (
        "test_public_names::test_mypy_passes_what_is_right_and_finds_what_is_misspelt"
    ),
    "a release to install by name": None,  # the workflow is there, the release is not
    "a changelog": "test_documents::test_releases_agree",
    "a permissive licence": "test_ground::test_wheel_holds_weights_and_pictures",
}


def test_needs_are_proved_by_tests_that_are_there():
    proved = [test for test in NEEDS.values() if test is not None]
    assert (len(NEEDS), len(proved)) == (31, 30)
    for test in proved:
        file, *names = test.split("::")
        body = ast.parse((TESTS / f"{file}.py").read_text(encoding="utf-8")).body
        for name in names:
            (found,) = [node for node in body if getattr(node, "name", None) == name]
            body = getattr(found, "body", [])


def test_the_page_on_loops_has_these_needs():
    page = (TESTS.parent / "book/loops.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+) \| (.+) \|$", page, re.MULTILINE)[1:]
    assert rows == [
        (need, "not yet" if test is None else f"`{test}`")
        for need, test in NEEDS.items()
    ]


def test_the_readme_says_what_the_record_of_peers_holds():
    root = TESTS.parent
    record = json.loads((root / "benchmarks/peers.json").read_text(encoding="utf-8"))
    assert (record["batch"], record["size"]) == (4, 256)
    ratios = {row["name"]: row["ratio"] for row in record["rows"]}
    megabytes = {row["name"]: row["MB"] for row in record["rows"]}
    words = (root / "README.md").read_text(encoding="utf-8")
    for said, name in (
        ("torchvision by hand takes {:.2f} times", "torchvision by hand"),
        ("piq.ContentLoss {:.2f} times", "piq.ContentLoss"),
        ("lpips {:.2f} times", "lpips, VGG"),
        ("a kept target {:.2f} times", "ours, target kept"),
    ):
        assert said.format(ratios[name]) in words
    for said, name in (
        ("A step adds {:,} MB", "ours"),
        ("{:,} MB with a kept target", "ours, target kept"),
        ("torchvision by hand adds {:,} MB", "torchvision by hand"),
        ("piq.ContentLoss {:,} MB", "piq.ContentLoss"),
        ("lpips {:,} MB", "lpips, VGG"),
    ):
        assert said.format(megabytes[name]) in words
    assert megabytes["ours"] < min(
        megabytes[name] for name in ("torchvision by hand", "piq.ContentLoss")
    )


def test_a_term_keeps_nothing_as_large_as_features_but_its_target():
    """The output's features are kept by the network for its own gradient."""
    output = torch.rand(2, 16, 24, 24, requires_grad=True)
    target, kept = torch.rand(2, 16, 24, 24), []

    def keep(tensor):
        if tensor.untyped_storage().nbytes() >= output.untyped_storage().nbytes():
            kept.append(tensor.data_ptr())
        return tensor

    for normalization in NORMALIZATIONS:
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            feature_loss(output, target, normalization=normalization)
        assert set(kept) <= {output.data_ptr(), target.data_ptr()}


@pytest.fixture(scope="module")
def phi() -> LossNetwork:
    return LossNetwork(precision="float32", device="cpu")


def content(phi):
    return PerceptualLoss({"relu2_1": 1.0}, network=phi)


def relative_terms(phi):
    return PerceptualLoss(
        {"relu1_2": 1.0, "relu2_1": 0.5},
        {"relu1_1": 1.0, "relu2_1": 1.0},
        pixel=1.0,
        total_variation=1e-7,
        normalization="relative",
        network=phi,
    )


def balanced(phi):
    return PerceptualLoss(
        {"relu1_1": 1.0, "relu1_2": 0.5},
        {"relu1_1": 1.0, "relu2_1": 1.0},
        pixel_kind="charbonnier",
        pixel=1e5,
        balance="layers",
        network=phi,
    )


def grey_in_another_range(phi):
    return PerceptualLoss(
        {"relu1_2": 1.0},
        {"relu1_1": 1.0},
        pixel=1.0,
        normalization="relative",
        channels=_first,
        input_range=(-0.5, 1.5),
        network=phi,
    )


def _first(image):
    return image[:, :1].expand(-1, 3, -1, -1)


def likeness(phi):
    return DeepSimLoss(
        1.0, 0.1, 1.0, comparator=phi, layers=("relu1_2",), discriminator=_judged
    )


def _judged(image):
    """Logits of a discriminator without weights: who trains one owns it."""
    return image.diff(dim=-1).square().mean((1, 2, 3)) * 20 - 1


def of_an_encoder(network, content, style):
    return PerceptualLoss(
        {content: 1.0}, {style: 1.0}, normalization="relative", network=network
    )


def of_a_transformer(phi):
    return of_an_encoder(Encoder(Vit(prefix=5)), "blocks.2", "blocks.0")


def of_a_residual_network(phi):
    torch.manual_seed(0)
    network = Encoder(ResNet(BasicBlock, [1, 1, 1, 1]))
    return of_an_encoder(network, "layer1.0.relu_1", "relu")


def of_a_discriminator(phi):
    torch.manual_seed(0)
    judge = Discriminator(0, 8, spectral=False)  # torch pickles no spectral norm
    return of_an_encoder(Encoder(judge.features), "conv2", "conv1")


def of_the_second_judge(phi):
    return of_an_encoder(EfficientNetLite0(device="cpu"), "stage3", "stage1")


def lpips(phi):
    return LPIPS("alex")


def dists(phi):
    return DISTS()


def shift_tolerant_lpips(phi):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LPIPS("alex", shift_tolerant=True)


ENCODERS = [
    of_a_transformer,
    of_a_residual_network,
    of_a_discriminator,
    of_the_second_judge,
]
LOSSES = [
    content,
    relative_terms,
    balanced,
    grey_in_another_range,
    likeness,
    lpips,
    dists,
    shift_tolerant_lpips,
    *ENCODERS,
]


class Step(nn.Module):
    """The loss of an output for fixed targets, as a tensor."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, output, target, style):
        if isinstance(self.loss, DeepSimLoss):
            return self.loss(output, target).total
        if isinstance(self.loss, LPIPS | DISTS):
            return self.loss(output, target)
        style = style if self.loss.style_weights else None
        return self.loss(output, target=target, style=style).total


@pytest.fixture(scope="module")
def given():
    return (
        picture(32, 32, 1, 2),
        picture(32, 32, 2, 2),
        picture(32, 32, 3, 1),
    )


@pytest.fixture(params=LOSSES, ids=lambda make: make.__name__)
def step(request, phi, trunk) -> Step:
    return Step(request.param(phi))


def plain(step, given) -> tuple[torch.Tensor, torch.Tensor]:
    """The value and the gradient with nothing around the loss."""
    output = given[0].clone().requires_grad_()
    total = step(output, *given[1:])
    (gradient,) = torch.autograd.grad(total, output)
    return total.detach(), gradient


def equal(step, given, other, targets=None, tolerance=1e-4) -> None:
    """Another way to the same value and gradient."""
    value, gradient = plain(step, given)
    output = given[0].clone().requires_grad_()
    total = other(output, *(given[1:] if targets is None else targets))
    total.backward()
    assert relative(total, value) < tolerance
    assert relative(output.grad, gradient) < tolerance


class TestGraphs:
    def test_compiles_as_one_graph(self, step, given):
        torch._dynamo.reset()
        equal(step, given, torch.compile(step, fullgraph=True, backend="aot_eager"))

    def test_under_autocast_too(self, step, given):
        torch._dynamo.reset()
        compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
        with torch.autocast("cpu", torch.bfloat16):
            value = compiled(*given)
            assert relative(value, step(*given)) < 0.02

    def test_exports(self, step, given):
        program = torch.export.export(step, given, strict=False)
        assert relative(program.module()(*given), step(*given)) < 1e-4

    @pytest.mark.parametrize("make", [content, relative_terms, balanced])
    def test_exports_for_any_number_of_pictures(self, phi, given, make):
        count = torch.export.Dim("count", max=64)
        step = Step(make(phi))
        program = torch.export.export(
            step, given, dynamic_shapes=({0: count}, {0: count}, None), strict=False
        )
        more = [picture(32, 32, seed, 5) for seed in (1, 2)]
        assert relative(program.module()(*more, given[2]), step(*more, given[2])) < 1e-4

    def test_terms_are_outputs_of_graphs(self, phi, given):
        loss = relative_terms(phi)
        terms = loss(*given)
        compiled = torch.compile(loss, fullgraph=True, backend="eager")(*given)
        exported = torch.export.export(loss, given, strict=False).module()(*given)
        for other in (compiled, exported):
            assert isinstance(other, LossTerms)
            assert list(other) == list(terms)
            assert relative(other.total, terms.total) < 1e-4

    def test_one_line_compiles_after_its_first_call(self, given):
        value = perceptual_loss(*given[:2])
        compiled = torch.compile(
            lambda *pair: perceptual_loss(*pair).total, fullgraph=True, backend="eager"
        )
        assert relative(compiled(*given[:2]), value.total) < 1e-4

    @pytest.mark.parametrize("how", ["kept", "weight", "map", "volume"])
    def test_every_way_to_call_compiles(self, phi, given, how):
        loss, (output, target, style) = relative_terms(phi), given
        more = {
            "weight": {"weight": torch.linspace(0, 1, 32).expand(1, 1, 32, 32)},
            "map": {"reduction": "map"},
        }.get(how, {})
        if how == "kept":
            target, style = loss.content_target(target), loss.style_target(style)
        if how == "volume":
            output, target = (
                image[:, :, None, :8, :8].expand(-1, -1, 4, -1, -1)
                for image in (output, target)
            )

        def total(x):
            return loss(x, target, style, **more).total

        torch._dynamo.reset()
        compiled = torch.compile(total, fullgraph=True, backend="eager")
        assert relative(compiled(output), total(output)) < 1e-4


class TestTransforms:
    """torch.func"""

    def test_grad(self, step, given):
        output, *targets = given
        gradient = torch.func.grad(lambda x: step(x, *targets))(output)
        assert relative(gradient, plain(step, given)[1]) < 1e-4

    def test_jvp(self, step, given):
        output, *targets = given
        tangent = picture(32, 32, 5, 2) - 0.5
        _, slope = torch.func.jvp(lambda x: step(x, *targets), (output,), (tangent,))
        assert relative(slope, (plain(step, given)[1] * tangent).sum()) < 1e-3

    def test_vmap_and_grad_of_each_picture(self, step, given):
        output, target, style = given
        single = torch.func.vmap(
            torch.func.grad(lambda x, y: step(x[None], y[None], style))
        )(output, target)
        for index in range(2):
            alone = [image[index : index + 1] for image in (output, target)]
            _, gradient = plain(step, (*alone, style))
            assert relative(single[index], gradient[0]) < 1e-4

    def test_targets_are_made_within_vmap_too(self, phi, given):
        loss = relative_terms(phi)

        def kept(x, y):
            style = loss.style_target(given[2])
            return loss(x[None], loss.content_target(y[None]), style).total

        totals = torch.func.vmap(kept)(*given[:2])
        expected = loss(*given, reduction="none").total
        assert relative(totals, expected) < 1e-4

    def test_second_derivatives(self, step, given):
        """Hessian times vector: twice backward, and forward over backward."""
        output, *targets = given
        vector = picture(32, 32, 5, 2) - 0.5
        x = output.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(step(x, *targets), x, create_graph=True)
        (twice,) = torch.autograd.grad((gradient * vector).sum(), x)
        gradient = torch.func.grad(lambda x: step(x, *targets))
        _, forward = torch.func.jvp(gradient, (output,), (vector,))
        assert twice.isfinite().all()
        assert twice.abs().sum() > 0
        assert relative(forward, twice) < 1e-3

    def test_checkpoint(self, step, given):
        equal(step, given, lambda *x: checkpoint(step, *x, use_reentrant=False))


class TestPrecision:
    def test_float16_autocast_and_a_scaler_train(self, step, given):
        torch.manual_seed(0)
        model = nn.Conv2d(3, 3, 3, padding=1)
        nn.init.dirac_(model.weight)
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
        values, of_order_one = (
            [],
            getattr(step.loss, "normalization", None)
            in {
                None,
                "relative",
            },
        )
        for _ in range(12 if of_order_one else 40):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.float16):
                loss = step(model(given[0]), *given[1:])
            assert loss.dtype == torch.float32
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            values.append(float(loss.detach()))
        assert values[-1] < values[0]
        # a step that is left out halves the scale: a few at the start, as with any loss
        assert scaler.get_scale() >= 2.0**10 or not of_order_one

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_pictures_in_half_precision(self, step, given, dtype):
        value, _ = plain(step, given)
        halves = [image.to(dtype) for image in given]
        total, gradient = plain(step, halves)
        assert total.dtype == torch.float32
        assert relative(total, value) < 0.05
        assert gradient.dtype == dtype
        if dtype == torch.bfloat16 or float(value) < 100:
            assert gradient.isfinite().all()

    def test_float64(self, step, given):
        step = copy.deepcopy(step).double()
        given = tuple(image.double() for image in given)
        value, gradient = plain(step, given)
        assert gradient.dtype == torch.float64
        assert value.dtype == torch.float64
        direction = picture(32, 32, 7, 2).double() - 0.5
        ahead, behind = (
            step(given[0] + sign * 1e-5 * direction, *given[1:]) for sign in (1, -1)
        )
        slope = (ahead - behind) / 2e-5
        assert relative(slope, (gradient * direction).sum()) < 1e-3


def test_float16_costs_no_steps_that_float32_would_not():
    """What a scaler leaves out at first is due to the gradient of the pictures, which
    have autocast's precision: as much with the loss in float32.
    """
    network, left_out = LossNetwork(precision="float32", device="cpu"), {}
    for name, normalization in (("sums", "johnson"), ("relative", "relative")):
        for inside in (True, False):
            torch.manual_seed(0)
            loss = PerceptualLoss(
                {"relu3_3": 1.0},
                pixel=1.0,
                normalization=normalization,
                network=network,
            )
            model = nn.Conv2d(3, 3, 3, padding=1)
            optimizer = torch.optim.Adam(model.parameters(), 1e-3)
            scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
            for _ in range(26):
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.float16):
                    output = model(picture(32, 32, 1, 1))
                    with torch.autocast("cpu", torch.float16, enabled=inside):
                        output = output if inside else output.float()
                        total = loss(output, content=picture(32, 32, 2, 1)).total
                scaler.scale(total).backward()
                scaler.step(optimizer)
                scaler.update()
            left_out[name, inside] = 16 - math.log2(scaler.get_scale())
    for name in ("sums", "relative"):
        assert left_out[name, True] <= left_out[name, False] + 1
    assert left_out["relative", True] <= 6 < left_out["sums", False] < 26


@pytest.mark.parametrize("work", [stylize, upscale, denoise, deblur, inpaint])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_take_pictures_in_any_precision(work, dtype):
    image = picture(48, 32).to(dtype)
    more = {
        stylize: ("great_wave",),
        inpaint: (torch.zeros(1, 1, 48, 32).index_fill(3, torch.arange(8), 1.0),),
    }.get(work, ())
    given, expected = (work(one, *more) for one in (image, image.float()))
    assert torch.equal(given, expected)


class TestCopies:
    def test_deepcopy_and_pickle(self, step, given):
        step(*given)
        for other in (copy.deepcopy(step), pickle.loads(pickle.dumps(step))):
            equal(step, given, other, tolerance=1e-6)

    def test_what_was_lowered_is_not_stored(self, given):
        loss = content(LossNetwork(precision="float32", device="cpu"))
        before = len(pickle.dumps(loss))
        with torch.autocast("cpu", torch.bfloat16):
            loss(*given[:2])
        loss(*(image.double() for image in given[:2]))
        assert len(pickle.dumps(loss)) < 1.001 * before

    def test_to(self, step, given):
        moved = copy.deepcopy(step).to(torch.float64).to("cpu").float()
        equal(step, given, moved, tolerance=1e-5)


class Owner(nn.Module):
    """A model that has its loss within it, as Lightning's modules do."""

    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model, self.step = nn.Conv2d(3, 3, 3, padding=1), step

    def forward(self, output, target, style):
        return self.step(self.model(output).sigmoid(), target, style)


@pytest.fixture
def owner(step) -> Owner:
    return Owner(step)


OWN = ["model.weight", "model.bias"]


class TestOwners:
    def test_nothing_is_trained_or_stored(self, step, given):
        owner = Owner(step)
        owner.train().requires_grad_(True)
        assert [name for name, _ in owner.named_parameters()] == OWN
        assert list(owner.state_dict()) == OWN
        owner(*given).backward()
        assert all(owner.get_parameter(name).grad is not None for name in OWN)

    def test_averaged_copies_average_the_owner_alone(self, owner, given):
        average = AveragedModel(owner, use_buffers=True)
        before = average.module.step(*given)
        average.update_parameters(owner)
        assert torch.equal(average.module.step(*given), before)

    def test_inference_mode_before_training(self, step, given):
        fresh = copy.deepcopy(step)
        with torch.inference_mode():
            fresh(*given)
        equal(step, given, fresh)

    # an encoder's weights are its user's
    @pytest.mark.parametrize("make", [m for m in LOSSES if m not in ENCODERS])
    def test_made_under_the_meta_device(self, make, phi, given, trunk):
        """As large models are, to be filled later: nothing can fill these."""
        with torch.device("meta"):
            owner = Step(make(LossNetwork(precision="float32")))
        owner.to_empty(device="cpu")
        assert relative(owner(*given), Step(make(phi))(*given)) < 1e-6

    def test_runs_without_values(self, step, given):
        meta = copy.deepcopy(step).to("meta")
        output, *targets = (image.to("meta") for image in given)
        output.requires_grad_()
        meta(output, *targets).backward()
        assert output.grad.shape == given[0].shape


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A process group of one process, which wrappers ask for."""
    store = dist.FileStore(str(tmp_path_factory.mktemp("group") / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
class TestProcesses:
    def test_ddp_sends_nothing_of_the_loss(self, owner, given):
        value = owner(*given)
        wrapped = DistributedDataParallel(owner)
        assert [b.numel() for b in wrapped.modules_buffers if b.numel() > 1000] == []
        sent = wrapped(*given)
        assert relative(sent, value) < 1e-6
        sent.backward()
        assert owner.model.weight.grad.abs().sum() > 0

    def test_fsdp_shards_the_model_alone(self, owner, given):
        value = owner(*given)
        mesh = dist.init_device_mesh("cpu", (1,))
        sharded = fully_shard(owner, mesh=mesh)
        total = sharded(*given)
        assert relative(total, value) < 1e-6
        total.backward()
        assert sharded.model.weight.grad.full_tensor().abs().sum() > 0

    def test_accelerate(self, step, given):
        accelerate = importlib.import_module("accelerate")
        accelerator = accelerate.Accelerator(cpu=True)
        model = nn.Conv2d(3, 3, 3, padding=1)
        optimizer = torch.optim.Adam(model.parameters())
        model, optimizer = accelerator.prepare(model, optimizer)
        accelerator.backward(step(model(given[0]).sigmoid(), *given[1:]))
        optimizer.step()
        assert next(model.parameters()).grad.abs().sum() > 0

    def test_the_loop_with_accelerate_of_the_page(self):
        torch.manual_seed(0)
        model, clean = nn.Conv2d(3, 3, 3, padding=1), picture(32, 32, 1, 4)
        before = model.weight.detach().clone()
        pairs = list(zip(clean + 0.1 * torch.randn_like(clean), clean, strict=True))
        names = {
            "model": model,
            "optimizer": torch.optim.Adam(model.parameters()),
            "loader": torch.utils.data.DataLoader(pairs, batch_size=2),
        }
        exec(code_of_the_page("accelerate"), names)
        assert not torch.equal(next(names["model"].parameters()), before)
        assert list(names["loss"].parameters()) == []


def test_the_plain_loop_of_the_page(given):
    model = nn.Conv2d(3, 3, 1)
    before = next(model.parameters()).detach().clone()
    mask = torch.zeros(1, 1, *given[0].shape[2:])
    mask[..., :8] = 1
    names = {
        "device": "cpu",
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters()),
        "loader": [(*given[:2], mask)] * 2,
    }
    exec(code_of_the_page("GradScaler"), names)
    assert not torch.equal(next(model.parameters()), before)
    assert names["terms"].item() < 10


def test_equal_and_black_pictures(step, given):
    black = torch.zeros_like(given[0])
    for output, target in ((given[0], given[0]), (black, black), (given[0], black)):
        value, gradient = plain(step, (output, target, given[2]))
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_an_adversarial_term_joins_the_others(phi, given):
    """And one sum, and one gradient, is that of all."""
    output = given[0].clone().requires_grad_()
    terms = relative_terms(phi)(output, *given[1:])
    terms["adversarial"] = 0.1 * nn.functional.softplus(-_judged(output)).mean()
    assert list(terms)[-3:] == ["pixel", "total_variation", "adversarial"]
    (together,) = torch.autograd.grad(terms.total, output, retain_graph=True)
    apart = [
        torch.autograd.grad(term, output, retain_graph=True)[0]
        for term in terms.values()
    ]
    assert all(part.abs().sum() > 0 for part in apart)
    assert relative(torch.stack(apart).sum(0), together) < 1e-5


def test_16_pixels():
    """At every layer that has a place left."""
    loss = PerceptualLoss(
        {"relu5_3": 1.0}, {"relu5_1": 1.0}, pixel=1.0, normalization="relative"
    )
    value, gradient = plain(Step(loss), [picture(16, 16, seed) for seed in range(3)])
    assert value.isfinite()
    assert gradient.abs().sum() > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="DataParallel takes the GPUs")
def test_data_parallel_without_a_gpu(step, given):
    wrapped = nn.DataParallel(copy.deepcopy(step))
    assert not wrapped.device_ids
    assert list(wrapped.parameters()) == [] == list(wrapped.state_dict())
    assert relative(wrapped(*given), step(*given)) < 1e-6


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU or none")
def test_data_parallel(step, given):
    wrapped = nn.DataParallel(copy.deepcopy(step).cuda())
    total = wrapped(*(image.cuda() for image in given))
    assert total.isfinite().all()
