"""Export to ONNX: every kind of network does in onnxruntime what it does in PyTorch, at
sizes that are no multiple of 4.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import numpy
import onnx
import onnxruntime
import pytest
import torch
from helpers import assert_sentence, picture, refused
from random_networks import livened

from pltutorial import InputError, networks, restoration, stylize, zoo
from pltutorial.onnx.export import LIMITS, check_onnx, export_onnx, to_onnx

SHIPPED = {
    "great_wave": zoo.FOLDER,  # cut out of eight_styles
    "eight_styles": zoo.FOLDER,
    "upscale_x4_feature": zoo.RESTORERS,
    "upscale_x8_pixel": zoo.RESTORERS,
    "denoise_combined": zoo.RESTORERS,
    "deblur_combined": zoo.RESTORERS,
    "inpaint_combined": zoo.RESTORERS,
    "invert_relu4_3_deepsim": zoo.LIKENESS,
    "invert_relu5_3_full": zoo.LIKENESS,
    "vae_gan": zoo.LIKENESS,
}
STYLES = ("one", "two", "three")
RANDOM = [
    *(
        {
            "kind": kind,
            "width": width,
            "blocks": 1,
            "norm": norm,
            "upsampling": upsampling,
            "styles": styles,
        }
        # 32 channels in the blocks are computed in tiles
        for kind, width in (("transform", 6), ("fast", 8))
        for norm, styles in (("instance", ()), ("instance", STYLES), ("batch", ()))
        for upsampling in networks.UPSAMPLINGS
    ),
    {"kind": "transform", "width": 9, "blocks": 2, "norm": "batch"},
    {"kind": "super_resolution", "factor": 2, "width": 32, "blocks": 1},
    {
        "kind": "super_resolution",
        "factor": 4,
        "width": 6,
        "blocks": 1,
        "upsampling": "resize",
    },
    {"kind": "sub_pixel", "factor": 2, "width": 33, "blocks": 1},
    {"kind": "denoising", "width": 7, "blocks": 1},
    {"kind": "inpainting", "width": 32, "blocks": 6},
    {"kind": "gated_inpainting", "width": 32, "blocks": 4},
    {"kind": "inversion", "layer": "relu2_2", "width": 8, "blocks": 1, "norm": "batch"},
    {"kind": "inversion", "layer": "pool5", "width": 4, "blocks": 0},
    {"kind": "autoencoder", "width": 8, "norm": "batch"},
    {"kind": "vae", "width": 4, "latent": 5, "size": 32},
    {"kind": "colorization", "width": 8, "blocks": 1},
    {"kind": "colorization", "width": 8, "blocks": 1, "classes": 5},
]


def load(name: str):
    if name == "great_wave":
        return load("eight_styles").only(name)
    return networks.load_network(SHIPPED[name] / f"{name}.safetensors", "cpu")


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Networks that ship, and their files in half storage."""
    folder = tmp_path_factory.mktemp("onnx")
    return {
        name: (load(name), export_onnx(load(name), folder / f"{name}.onnx"))
        for name in SHIPPED
    }


def run(path, **inputs) -> torch.Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(
        ["output"], {name: value.numpy() for name, value in inputs.items()}
    )
    return torch.from_numpy(found)


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_lose_nothing_in_half_storage(name, exported):
    network, path = exported[name]
    assert (
        check_onnx(network, path, ((64, 48), (33, 50), (17, 18), (16, 16)))
        < LIMITS["float"]
    )


@pytest.mark.parametrize(
    "config", RANDOM, ids=lambda config: "-".join(map(str, config.values()))
)
def test_random_networks_agree_with_torch(config):
    network = livened(networks.build(config))
    smallest = network.smallest
    sizes = ((smallest, smallest + 1), (41, smallest), (24, 38))
    assert (
        check_onnx(network, to_onnx(network, storage="float"), sizes) < LIMITS["float"]
    )
    assert check_onnx(network, to_onnx(network, storage="half"), sizes) < LIMITS["half"]


@pytest.mark.parametrize("size", [(64, 64), (45, 67)])
def test_style_is_that_of_the_package(size, exported):
    network, path = exported["great_wave"]
    image = picture(*size)
    wanted = stylize(image, network=network, precision="float32")
    assert difference(run(path, image=image), wanted) < LIMITS["float"]


def test_a_style_that_was_cut_out_is_that_of_the_whole(exported):
    """To the bit in PyTorch, as a file to rounding, and with the name of the style."""
    whole, alone = exported["eight_styles"][0], exported["great_wave"][0]
    assert alone.style_names == ()
    assert alone.card["styles"] == ["great_wave"]
    image = picture(41, 58)
    wanted = stylize(image, "great_wave", network=whole, precision="float32")
    assert torch.equal(stylize(image, network=alone, precision="float32"), wanted)
    assert difference(run(exported["great_wave"][1], image=image), wanted) < 2e-6
    given = whole.blend("great_wave")[0]
    found = run(exported["eight_styles"][1], image=image, weights=given)
    assert difference(run(exported["great_wave"][1], image=image), found) < 1e-6


@pytest.mark.parametrize("style", ["poppies", {"great_wave": 0.7, "starry_night": 0.3}])
def test_styles_and_blends_are_those_of_the_package(style, exported):
    network, path = exported["eight_styles"]
    image = picture(39, 50)
    wanted = stylize(image, style, network=network, precision="float32")
    found = run(path, image=image, weights=network.blend(style)[0])
    assert difference(found, wanted) < LIMITS["float"]
    other = run(path, image=image, weights=network.blend("cafe_terrace")[0])
    assert difference(other, wanted) > 0.1  # the weights are looked at


def test_plain_pictures_are_not_drowned_in_rounding(exported):
    """All that instance normalisation finds in a picture of one colour is
    rounding, if there is any.
    """
    network, path = exported["great_wave"]
    plain = torch.full((1, 3, 50, 61), 0.37)
    speck = torch.ones(1, 3, 50, 61)
    speck[..., 20, 30] -= 1 / 255
    double = copy.deepcopy(network).double()
    for image in (plain, speck):
        with torch.inference_mode():
            wanted = double(image.double())
        assert difference(run(path, image=image).double(), wanted) < 0.5 / 255


def test_restoration_is_that_of_the_package(exported):
    image, mask = picture(23, 34), (picture(23, 34, seed=3)[:, :1] > 0.6).float()
    network, path = exported["upscale_x4_feature"]
    wanted = restoration.upscale(image, network=network, precision="float32")
    assert wanted.shape == (1, 3, 92, 136)
    assert difference(run(path, image=image), wanted) < LIMITS["float"]
    network, path = exported["denoise_combined"]
    wanted = restoration.denoise(image, network=network, precision="float32")
    assert difference(run(path, image=image), wanted) < LIMITS["float"]
    network, path = exported["inpaint_combined"]
    wanted = restoration.inpaint(image, mask, network=network, precision="float32")
    found = run(path, image=image, mask=mask)
    assert difference(found, wanted) < LIMITS["float"]
    assert torch.equal(found * (1 - mask), image * (1 - mask))  # what is there stays


@pytest.mark.parametrize("name", ["eight_styles", "upscale_x4_feature"])
def test_file_is_sound_small_and_says_what_it_is(name, exported):
    network, path = exported[name]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 20)]
    (image, *_) = model.graph.input
    batch, channels, height, width = image.type.tensor_type.shape.dim
    assert (batch.dim_value, channels.dim_value) == (1, 3)
    assert height.dim_param
    assert width.dim_param
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["card"]) == network.card
    assert json.loads(facts["config"]) == network.config
    kinds = {onnx.TensorProto.FLOAT16: 0, onnx.TensorProto.FLOAT: 0}
    for tensor in model.graph.initializer:
        kinds[tensor.data_type] = kinds.get(tensor.data_type, 0) + numpy.prod(
            tensor.dims
        )
    assert kinds[onnx.TensorProto.FLOAT16] > 20 * kinds[onnx.TensorProto.FLOAT]
    full = len(to_onnx(network, storage="float"))
    assert path.stat().st_size < 0.55 * full
    assert path.read_bytes() == to_onnx(network)  # the same bytes each time


@pytest.mark.parametrize(
    "name", ["great_wave", "upscale_x4_feature", "denoise_combined"]
)
def test_for_a_native_runtime_convolutions_are_plain(name, exported):
    network, path = exported[name]
    data = to_onnx(network, runtime="native")
    assert check_onnx(network, data) < LIMITS["float"]

    def products(model: onnx.ModelProto) -> int:
        return sum(node.op_type == "MatMul" for node in model.graph.node)

    assert products(onnx.load_from_string(data)) < products(onnx.load(path))
    assert len(data) <= path.stat().st_size
    with pytest.raises(InputError, match="there is no runtime 'nativ'; .*native"):
        to_onnx(network, runtime="nativ")


def test_half_storage_rounds_what_no_file_has_rounded_yet():
    network = livened(networks.FastTransformNet(8, 1))
    rounded, exact = (
        check_onnx(network, to_onnx(network, storage=name))
        for name in ("half", "float")
    )
    assert exact < 1e-5 < rounded < LIMITS["half"]


def test_check_notices_another_network(exported):
    network, path = exported["great_wave"]
    changed = load("great_wave")
    changed.blocks[2].one.norm.weight.mul_(1.02)
    assert check_onnx(network, path) < LIMITS["float"] < check_onnx(changed, path)


def test_network_in_training_is_exported_as_in_eval_and_stays_in_training():
    network = livened(
        networks.build({"kind": "transform", "width": 4, "blocks": 1, "norm": "batch"})
    )
    wanted = to_onnx(network)
    network.train()
    assert to_onnx(network) == wanted
    assert check_onnx(network, wanted) < LIMITS["half"]
    assert network.training


# --- the command ----------------------------------------------------------------------


def test_command_exports_by_name_of_network_and_style(command, tmp_path, exported):
    code, out, err = command("export", "upscale_x4_feature", "-o", tmp_path / "up.onnx")
    assert (code, err) == (0, "")
    assert out.count("\n") == 1  # nothing of the libraries beneath
    assert "0.92 MB" in out
    assert "/255 from PyTorch" in out
    assert (tmp_path / "up.onnx").read_bytes() == exported["upscale_x4_feature"][
        1
    ].read_bytes()
    code, out, _ = command("export", "great_wave", "-o", tmp_path / "wave.onnx")
    assert code == 0
    assert "weights: " not in out
    assert (tmp_path / "wave.onnx").read_bytes() == exported["great_wave"][
        1
    ].read_bytes()
    code, out, _ = command(
        "export", "--style", "village_street", "-o", tmp_path / "style.onnx"
    )
    assert code == 0
    assert "weights: " in out
    assert "village_street" in out
    assert (tmp_path / "style.onnx").read_bytes() == exported["eight_styles"][
        1
    ].read_bytes()


def test_command_exports_a_trained_file(command, tmp_path):
    network = livened(networks.FastTransformNet(8, 1, norm="batch"))
    file = networks.save_network(
        tmp_path / "network.safetensors", network, {"limits": "a test", "ß": "ü"}
    )
    code, out, err = command(
        "export", "--model", file, "-o", tmp_path / "mine.onnx", "--storage", "float"
    )
    assert (code, err) == (0, "")
    assert "float storage" in out
    image = picture(29, 31)
    wanted = networks.apply(
        networks.load_network(file, "cpu"), image, precision="float32"
    )
    assert (
        difference(run(tmp_path / "mine.onnx", image=image), wanted) < LIMITS["float"]
    )
    model = onnx.load(tmp_path / "mine.onnx")
    card = next(entry.value for entry in model.metadata_props if entry.key == "card")
    assert json.loads(card) == {"limits": "a test", "ß": "ü"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("great_wav", "-o", "a.onnx"), ("'great_wav'", "'great_wave'", "--model")),
        (("-o", "a.onnx"), ("no network was given", "--style")),
        (("great_wave", "--style", "poppies", "-o", "a.onnx"), ("2 networks", "one")),
        (("great_wave", "-o", "a.png"), ("a.png", ".onnx")),
        (("great_wave", "-o", "none/a.onnx"), ("folder", "does not exist")),
        (("great_wave", "-o", "a.onnx", "--storage", "hal"), ("'hal'", "'half'")),
        (
            ("vae_gan_discriminator", "-o", "a.onnx"),
            ("discriminator", "makes pictures"),
        ),
        (
            ("--model", "none.safetensors", "-o", "a.onnx"),
            ("none.safetensors", "does not exist"),
        ),
        (("--style", "denoise_combined.png", "-o", "a.onnx"), ("is a picture",)),
    ],
)
def test_bad_input_is_one_sentence(arguments, words, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.onnx").write_bytes(b"kept")
    code, out, err = command("export", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert_sentence(err.strip(), *words)
    assert all(word in err for word in words)
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    assert (tmp_path / "a.onnx").read_bytes() == b"kept"


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_package_is_one_sentence(package, command, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = command("export", "great_wave", "-o", tmp_path / "a.onnx")
    assert code == 2
    assert_sentence(err.strip())
    assert f"the package {package};" in err
    assert "pip install 'pltutorial[export]'" in err
    assert not list(tmp_path.iterdir())


def test_weights_that_half_precision_cannot_hold(command, tmp_path):
    network = livened(networks.FastTransformNet(4, 1))
    with torch.no_grad():
        network.down[0].conv.weight[0, 0, 0, 0] = 1e6
    with pytest.raises(InputError) as problem:
        to_onnx(network)
    assert_sentence(str(problem.value))
    assert "1e+06" in str(problem.value)
    assert "storage='float'" in str(problem.value)
    to_onnx(network, storage="float")
    with torch.no_grad():
        network.down[0].conv.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="no numbers") as problem:
        to_onnx(network, storage="float")
    assert_sentence(str(problem.value))


def test_other_networks_and_files_are_refused(exported, tmp_path):
    with pytest.raises(InputError, match="a Linear was given") as problem:
        to_onnx(torch.nn.Linear(2, 2))
    assert_sentence(str(problem.value))
    network, path = exported["great_wave"]
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:5000])
    given = (
        (network, tmp_path / "none.onnx", "does not exist"),
        (network, tmp_path / "cut.onnx", "damaged"),
        (network, exported["inpaint_combined"][1], "was written from"),
        (
            exported["denoise_combined"][0],
            exported["upscale_x4_feature"][1],
            "was written from",
        ),
    )
    for owner, file, words in given:
        with pytest.raises(InputError, match=words) as problem:
            check_onnx(owner, file)
        assert_sentence(str(problem.value))


def test_writing_is_whole_or_not_at_all(exported, tmp_path, monkeypatch):
    target = tmp_path / "a.onnx"
    target.write_bytes(b"before")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pltutorial.files.os.fsync", full)
    with pytest.raises(InputError, match="No space left") as problem:
        export_onnx(exported["great_wave"][0], target)
    assert_sentence(str(problem.value))
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_a_network_with_noise_is_refused(tmp_path):
    noisy = networks.TransformNet(4, 1, noise=True)
    with refused("noise in its blocks", "export one without"):
        export_onnx(noisy, tmp_path / "noisy.onnx")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process")
def test_a_process_that_may_open_few_files_hears_one_sentence(tmp_path):
    code = (
        "import resource, sys\nfrom pltutorial.cli import main\n"
        "import pltutorial.onnx.export, torch\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))\n"
        "sys.argv = ['pltutorial', 'export', 'denoise_combined', '-o', 'out.onnx']\n"
        "main()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: an ONNX file cannot be checked (Too many open")
    assert ran.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
