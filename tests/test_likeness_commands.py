"""The commands invert, sample and colorize: files, pipes, sheets, and what they refuse; and the networks that ship."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
import torch
from drawers import autoencoder, colorizer, inverter, vae, zoo_of_drawers
from helpers import assert_refused, picture, process, refused
from restorers import CARD, livened
from test_stylize import HALF
from test_video import gif

from pltutorial import LossNetwork, bundled, invert, read_image, reencode, resize, write_image, zoo
from pltutorial.images import open_picture, to_image
from pltutorial.networks import apply, load_network, save_network
from pltutorial.networks.generators import Discriminator, InversionNet, brightness_of
from pltutorial.networks.residual import SubPixelNet

FLOAT = ("--precision", "float32")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    return zoo_of_drawers(tmp_path_factory.mktemp("likeness"))


@pytest.fixture
def command(command, monkeypatch, networks):
    """The command of all tests, with networks of random weights in place of those that ship."""
    monkeypatch.setattr(zoo, "LIKENESS", networks)
    return command


@pytest.fixture(scope="module")
def phi():
    """The loss network as the commands load it on their best device."""
    return LossNetwork(precision="float32")


def written(path, expected: torch.Tensor) -> None:
    torch.testing.assert_close(read_image(path), expected.cpu(), atol=HALF, rtol=0)


# --- invert -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ((), {}),
        (("--layer", "relu3_3"), {"layer": "relu3_3"}),
        (("--loss", "image"), {"loss": "image"}),
        (("--layer", "relu3_3", "--loss", "image"), {"layer": "relu3_3", "loss": "image"}),
    ],
)
def test_invert_writes_what_the_function_computes(command, photo, tmp_path, phi, options, how):
    output = tmp_path / "out.png"
    code, printed, errors = command("invert", photo, "-o", output, *options, *FLOAT)
    assert (code, errors) == (0, "")
    written(output, invert(read_image(photo), encoder=phi, precision="float32", **how))
    assert printed.startswith(f"{output}: 48x40, {how.get('loss', 'deepsim')}, ")
    assert printed.count("\n") == 1


def test_rounds_are_those_of_reencode(command, photo, tmp_path, phi):
    made = {}
    for rounds in (1, 3):
        output = tmp_path / f"{rounds}.png"
        code, printed, _ = command("invert", photo, "-o", output, "--rounds", rounds, *FLOAT, "--json")
        assert code == 0
        assert json.loads(printed)["rounds"] == rounds
        made[rounds] = reencode(read_image(photo), rounds, encoder=phi, precision="float32")[-1]
        written(output, made[rounds])
    assert float((made[1] - made[3]).abs().mean()) > 0.01


def test_size_a_bundled_picture_and_json(command, tmp_path, phi):
    output = tmp_path / "out.jpg"
    code, printed, errors = command(
        "invert", "pagoda", "-o", output, "--size", "50", "--json", "--layer", "relu3_3"
    )
    assert (code, errors) == (0, "")
    facts = json.loads(printed)
    assert max(facts["size"]) == 50
    assert facts["size"] == list(read_image(output).shape[:1:-1])
    assert (facts["loss"], facts["layer"], facts["rounds"]) == ("deepsim", "relu3_3", 1)
    assert set(facts) == {
        *("input", "output", "size", "loss", "layer", "rounds", "device", "precision", "seconds"),
    }


def test_own_networks_invert_too(command, photo, tmp_path, phi):
    output = tmp_path / "out.png"
    image = read_image(photo)
    deep = save_network(tmp_path / "deep.safetensors", inverter("pool5", 3), CARD)
    code, printed, _ = command("invert", photo, "-o", output, "--model", deep, *FLOAT, "--json")
    assert code == 0
    facts = json.loads(printed)
    assert (facts["model"], facts["layer"]) == (str(deep), "pool5")
    written(output, invert(image, load_network(deep), encoder=phi, precision="float32"))
    narrow = save_network(tmp_path / "narrow.safetensors", autoencoder(), CARD)
    code, printed, _ = command("invert", photo, "-o", output, "--model", narrow, *FLOAT, "--json")
    assert code == 0
    assert "layer" not in json.loads(printed)
    written(output, invert(image, load_network(narrow), precision="float32"))
    written(output, apply(load_network(narrow), image, precision="float32"))


@pytest.mark.parametrize("layer", ["relu1_2", "relu3_3", "relu4_3", "pool4"])
def test_tiles_leave_no_seam(command, tmp_path, monkeypatch, phi, layer):
    """A large picture comes out as if it had gone through in one piece, whichever code is inverted."""
    large = write_image(tmp_path / "large.png", picture(100, 330))
    own = save_network(tmp_path / "own.safetensors", inverter(layer, 4), CARD)
    monkeypatch.setattr("pltutorial.cli.likeness.TILE", 128)
    output = tmp_path / "out.png"
    assert command("invert", large, "-o", output, "--model", own, *FLOAT)[0] == 0
    expected = invert(read_image(large), load_network(own), encoder=phi, precision="float32")
    assert float(expected.std()) > 0.05
    written(output, expected)


def test_tiny_pictures_are_inverted(command, tmp_path):
    for width, height in ((2, 2), (60, 3)):
        small = write_image(tmp_path / "small.png", picture(height, width))
        assert command("invert", small, "-o", tmp_path / "o.png")[0] == 0
        assert read_image(tmp_path / "o.png").shape == (1, 3, height, width)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--layer", "relu43"), ("'relu43'", "'relu4_3'")),
        (("--layer", "relu1_2"), ("'relu1_2'", "pltutorial train invert")),
        (("--loss", "deepsin"), ("'deepsin'", "'deepsim'")),
        (("--rounds", "0"), ("--rounds 0", "at least 1")),
        (("--rounds", "-2"), ("--rounds -2",)),
        (("--size", "0"), ("0", "positive")),
        (("--device", "gpu9"), ("'gpu9'",)),
        (("--precision", "half"), ("'half'", "float32")),
        (("--max-pixels", "100"), ("1,920", "max_pixels")),
        (("--size", "4000", "--max-pixels", "5000"), ("4000x3333", "5,000", "--size")),
        (("--format", "png"), ("--format", ".png")),
        (("--model", "gone.safetensors"), ("gone.safetensors", "does not exist")),
        (("--model", "any.safetensors", "--layer", "relu4_3"), ("--layer and --model",)),
        (("--model", "any.safetensors", "--loss", "image"), ("--loss and --model",)),
    ],
)
def test_options_of_invert_that_are_refused(command, photo, tmp_path, options, words):
    assert_refused(command("invert", photo, "-o", tmp_path / "out.png", *options), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_inputs_and_outputs_that_are_refused(command, networks, photo, tmp_path):
    moving = gif(tmp_path / "in.gif")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "half.png").write_bytes(photo.read_bytes()[:2000])
    (tmp_path / "folder").mkdir()
    own = save_network(tmp_path / "own.safetensors", colorizer(), CARD)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    out = tmp_path / "out.png"
    for source, output, words in (
        (tmp_path / "gone.png", out, ("gone.png", "does not exist")),
        ("pagodaa", out, ("pagodaa", "pagoda")),
        (tmp_path / "text.png", out, ("text.png", "not a picture")),
        (tmp_path / "half.png", out, ("half.png", "truncated")),
        (tmp_path / "folder", out, ("is a folder",)),
        (photo, photo, ("also an input",)),
        (photo, tmp_path / "no" / "out.png", ("does not exist",)),
        (photo, tmp_path / "out.mp4", ("ending", ".png")),
        (moving, out, ("4 frames", "pltutorial stylize")),
    ):
        assert_refused(command("invert", source, "-o", output), *words)
        assert_refused(command("colorize", source, "-o", output, "--model", own), *words)
    for output, words in (
        (tmp_path / "no" / "out.png", ("does not exist",)),
        (tmp_path / "folder", ("ending",)),
        (tmp_path / "out.gif", ("ending", ".png")),
    ):
        assert_refused(command("sample", "-o", output), *words)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_an_output_that_exists_is_replaced_only_when_the_work_is_done(command, photo, tmp_path, monkeypatch):
    output = write_image(tmp_path / "out.png", picture())
    before = output.read_bytes()

    def stop(*given, **rest):
        raise KeyboardInterrupt

    monkeypatch.setattr("pltutorial.inversion.invert", stop)
    assert command("invert", photo, "-o", output)[0] != 0
    assert output.read_bytes() == before


def test_running_out_of_memory_is_one_sentence(command, photo, tmp_path, monkeypatch):
    def full(*given, **rest):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("pltutorial.inversion.invert", full)
    assert_refused(command("invert", photo, "-o", tmp_path / "o.png"), "48x40", "shrink")


# --- networks for something else --------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """A network for each command, and a discriminator, which is for none."""
    made = {
        "upscale": livened(SubPixelNet(2, 4, 1), 3),
        "invert": inverter("relu3_3"),
        "sample": vae(),
        "colorize": colorizer(),
        "discriminator": Discriminator(0, 4),
    }
    return {name: save_network(tmp_path / f"for_{name}.safetensors", net, CARD) for name, net in made.items()}


def test_each_command_takes_its_own_networks_alone(command, photo, tmp_path, files):
    out = tmp_path / "out.png"
    trains = {
        "invert": "train invert",
        "sample": "train vae",
        "colorize": "train colorize",
        "upscale": "train upscale",
    }
    for task, train in trains.items():
        given = () if task == "sample" else (photo,)
        for other, path in files.items():
            outcome = command(task, *given, "-o", out, "--model", path)
            if other == task:
                assert outcome[0] == 0
                out.unlink()
                continue
            use = "judges pictures" if other == "discriminator" else f"for `{other}`"
            assert_refused(outcome, path.name, use, f"`pltutorial {train}`")
        assert_refused(command(task, *given, "-o", out, "--model", photo), "is a picture and no network")
    for other, path in files.items():
        words = () if other == "discriminator" else (f"`pltutorial {other}`",)
        assert_refused(command("stylize", photo, "-o", out, "--model", path), "has no style", *words)
    assert not out.exists()


def test_a_network_of_another_encoder_is_refused(command, photo, tmp_path):
    other = save_network(
        tmp_path / "other.safetensors", InversionNet("layer3", 4, 1, channels=8, stride=8), CARD
    )
    outcome = command("invert", photo, "-o", tmp_path / "o.png", "--model", other)
    assert_refused(outcome, "other.safetensors", "'layer3'", "VGG-16")


def test_damaged_networks_are_refused(command, files, tmp_path):
    whole = files["sample"].read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    assert_refused(
        command("sample", "-o", tmp_path / "o.png", "--model", tmp_path / "half.safetensors"), "damaged"
    )


def test_no_network_installed(command, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "LIKENESS", tmp_path / "none")
    out = tmp_path / "o.png"
    assert_refused(command("invert", photo, "-o", out), "invert_relu4_3_deepsim", "pltutorial train invert")
    assert_refused(command("sample", "-o", out), "vae_pixel", "pltutorial train vae")
    assert_refused(
        command("colorize", photo, "-o", out), "none for colours ships", "train colorize", "--model"
    )
    assert not out.exists()


# --- sample -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "loss", "count", "seed"),
    [
        ((), "pixel", 64, 0),
        (("--loss", "gan", "--count", "7"), "gan", 7, 0),
        (("--count", "1", "--seed", "5"), "pixel", 1, 5),
        (("--loss", "deepsim", "--count", "70", "--seed", "3"), "deepsim", 70, 3),
    ],
)
def test_sample_writes_a_sheet_of_what_the_network_draws(
    command, networks, tmp_path, options, loss, count, seed
):
    output = tmp_path / "out.png"
    code, printed, errors = command("sample", "-o", output, *options, *FLOAT)
    assert (code, errors) == (0, "")
    expected = load_network(networks / f"vae_{loss}.safetensors", "cpu").sample(count, seed)
    sheet = read_image(output)
    columns = next(n for n in range(1, 99) if n * n >= count)
    rows = -(-count // columns)
    gap = 2
    assert sheet.shape[-2:] == (rows * (16 + gap) + gap, columns * (16 + gap) + gap)
    assert printed.startswith(f"{output}: {sheet.shape[-1]}x{sheet.shape[-2]}, {loss}, ")
    covered = torch.zeros_like(sheet)
    for number, drawn in enumerate(expected):
        top, left = (gap + (16 + gap) * place for place in divmod(number, columns))
        part = sheet[0, :, top : top + 16, left : left + 16]
        torch.testing.assert_close(part, drawn, atol=HALF, rtol=0)
        covered[0, :, top : top + 16, left : left + 16] = 1
    assert bool((sheet[covered == 0] == 1).all())
    if count > 1:
        assert float(expected.std(0).mean()) > 0.01


def test_another_seed_draws_others_and_the_same_the_same(command, tmp_path):
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        assert command("sample", "-o", tmp_path / f"{name}.png", "--count", "4", "--seed", seed)[0] == 0
    one, again, other = (read_image(tmp_path / f"{name}.png") for name in ("one", "again", "other"))
    assert torch.equal(one, again)
    assert float((one - other).abs().mean()) > 0.01


def test_sample_with_a_network_of_ones_own_and_json(command, files, tmp_path):
    output = tmp_path / "out.webp"
    options = ("--model", files["sample"], "--count", "5", "--json")
    code, printed, errors = command("sample", "-o", output, *options)
    assert (code, errors) == (0, "")
    facts = json.loads(printed)
    assert (facts["model"], facts["count"], facts["seed"]) == (str(files["sample"]), 5, 0)
    assert facts["size"] == list(read_image(output).shape[:1:-1]) == [56, 38]
    assert set(facts) == {
        *("output", "size", "model", "count", "seed", "device", "precision", "seconds"),
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--count", "0"), ("--count 0", "at least 1")),
        (("--count", "-1"), ("--count -1",)),
        (("--seed", "-1"), ("--seed -1", "from 0")),
        (("--seed", str(2**64)), ("--seed", "from 0")),
        (("--loss", "vae"), ("'vae'", "pixel")),
        (("--loss", "deep"), ("'deep'", "'deepsim'")),
        (("--count", "1000000"), ("18002x18002", "--count", "--max-pixels")),
        (("--max-pixels", "1000"), ("146x146", "1,000")),
        (("--device", "gpu9"), ("'gpu9'",)),
        (("--precision", "half"), ("'half'",)),
        (("--model", "any.safetensors", "--loss", "gan"), ("--loss and --model",)),
    ],
)
def test_options_of_sample_that_are_refused(command, tmp_path, options, words):
    assert_refused(command("sample", "-o", tmp_path / "out.png", *options), *words)
    assert not list(tmp_path.iterdir())


# --- colorize ---------------------------------------------------------------------------------------------


def test_colorize_writes_what_the_network_makes(command, photo, tmp_path, files):
    output = tmp_path / "out.png"
    code, printed, errors = command("colorize", photo, "-o", output, "--model", files["colorize"], *FLOAT)
    assert (code, errors) == (0, "")
    assert printed.startswith(f"{output}: 48x40, for_colorize, ")
    network = load_network(files["colorize"])
    image = read_image(photo)
    written(output, apply(network, image, precision="float32"))
    grey = write_image(tmp_path / "grey.png", brightness_of(image).expand(-1, 3, -1, -1))
    assert command("colorize", grey, "-o", tmp_path / "two.png", "--model", files["colorize"], *FLOAT)[0] == 0
    difference = (read_image(output) - read_image(tmp_path / "two.png")).abs()
    assert float(difference.mean()) < 0.005  # only brightness is looked at, which 8 bits have rounded
    assert float((read_image(output) - read_image(grey)).abs().mean()) > 0.02


def test_colours_of_large_and_of_tiny_pictures(command, tmp_path, monkeypatch, files):
    network = load_network(files["colorize"])
    large = write_image(tmp_path / "large.png", picture(90, 301))
    whole = apply(network, read_image(large), precision="float32")
    monkeypatch.setattr("pltutorial.cli.likeness.TILE", 40)
    output = tmp_path / "o.png"
    assert command("colorize", large, "-o", output, "--model", files["colorize"], *FLOAT)[0] == 0
    written(output, whole)
    for width, height in ((2, 2), (3, 60)):
        small = write_image(tmp_path / "small.png", picture(height, width))
        assert command("colorize", small, "-o", output, "--model", files["colorize"])[0] == 0
        assert read_image(output).shape == (1, 3, height, width)


# --- pipes ------------------------------------------------------------------------------------------------


def test_pipes(files, photo):
    model = ("--model", files["colorize"], *FLOAT, "--device", "cpu")
    done = process("colorize", "-", "-o", "-", *model, "--json", given=photo.read_bytes())
    assert (done.returncode, done.stdout[:4]) == (0, b"\x89PNG")
    assert json.loads(done.stderr)["input"] == "-"
    made = to_image(open_picture(io.BytesIO(done.stdout), "made"), "made")
    expected = apply(load_network(files["colorize"], "cpu"), read_image(photo), precision="float32")
    torch.testing.assert_close(made, expected, atol=1.1 / 255, rtol=0)


def test_a_sheet_can_be_piped(files):
    done = process("sample", "-o", "-", "--model", files["sample"], "--count", "4", "--format", "webp")
    assert done.returncode == 0, done.stderr
    assert (done.stdout[:4], done.stdout[8:12]) == (b"RIFF", b"WEBP")


def test_a_photo_from_a_pipe_is_inverted(command, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    assert command("invert", "-", "-o", tmp_path / "one.png")[0] == 0
    assert command("invert", photo, "-o", tmp_path / "two.png")[0] == 0
    assert torch.equal(read_image(tmp_path / "one.png"), read_image(tmp_path / "two.png"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert_refused(command("invert", "-", "-o", tmp_path / "o.png"), "standard input is empty")


# --- models -----------------------------------------------------------------------------------------------


def test_models_lists_them_and_prints_cards(command, networks):
    code, printed, _ = command("models")
    assert code == 0
    lines = {line.split()[0]: line.split()[3:] for line in printed.splitlines()}
    assert lines["invert_relu4_3_image"] == ["invert", "relu4_3"]
    assert lines["vae_gan"] == ["sample"]
    assert lines["vae_gan_discriminator"] == ["discriminator"]
    assert lines["upscale_x4_pixel"] == ["upscale", "x4"]
    code, printed, _ = command("models", "--card", "invert_relu3_3_deepsim")
    assert printed.startswith("invert_relu3_3_deepsim\ntrained on: nothing\n")
    assert "layer: relu3_3" in printed
    cards = json.loads(command("models", "--json")[1])
    assert cards == zoo.available() | zoo.available(zoo.RESTORERS) | zoo.available(networks)
    assert_refused(command("models", "--card", "vae_gam"), "'vae_gan'")
    assert "invert" not in command("styles")[1]


def test_names_that_do_not_ship(networks, monkeypatch):
    monkeypatch.setattr(zoo, "LIKENESS", networks)
    for layer in zoo.INVERTED:
        assert zoo.load_inverter(layer, "image").layer == layer
    for loss in zoo.VAE_LOSSES:
        assert zoo.load_vae(loss).kind == "vae"
    with refused("'relu4_4'", "'relu4_3'"):
        zoo.load_inverter("relu4_4")
    with refused("'gann'", "'gan'"):
        zoo.load_vae("gann")
    with refused("for `sample`", "train invert"):
        zoo.load_inverter(model=networks / "vae_gan.safetensors")
    with refused("for `invert`", "train vae"):
        zoo.load_vae(model=networks / "invert_relu4_3_image.safetensors")


def test_help_loads_nothing_heavy():
    for arguments in (["invert", "--help"], ["sample", "--help"], ["colorize", "--help"]):
        code = (
            f"import sys; sys.argv = ['pltutorial', *{arguments}]\n"
            "from pltutorial import cli\n"
            "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
            "print(sorted({'torch', 'numpy', 'PIL', 'av', 'tqdm'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]", arguments
        assert f"pltutorial {arguments[0]}" in done.stdout


# --- what ships -------------------------------------------------------------------------------------------

NAMES = {f"invert_{layer}_{loss}" for layer in zoo.INVERTED for loss in zoo.INVERTER_LOSSES}
NAMES |= {f"vae_{loss}" for loss in zoo.VAE_LOSSES} | {"vae_gan_discriminator"}


def test_everything_shipped_has_a_full_card_and_is_small():
    cards = zoo.available(zoo.LIKENESS)
    assert set(cards) == NAMES
    for name, card in cards.items():
        known = {key for key in zoo.CARD if card.get(key) not in (None, "", [], {})}
        alone = (
            {"held_out"} if card["task"] == "discriminator" else set()
        )  # it makes no picture to be measured
        assert set(zoo.CARD) - known <= alone, name
        assert all(len(point) == len(card["terms"]) for point in card["curve"]), name
        assert card["task"] == (
            "discriminator" if "disc" in name else "sample" if "vae" in name else "invert"
        )
        assert "MIT" in card["licence"]
    assert sum(card["bytes"] for card in cards.values()) <= 6_000_000


def test_everything_shipped_draws():
    image = read_image(bundled("test/kodim23"), 192)
    for name in zoo.available(zoo.LIKENESS):
        network = load_network(zoo.LIKENESS / f"{name}.safetensors")
        if network.kind == "inversion":
            wanted, output = (resize(x.cpu(), 24) for x in (image, invert(image, network)))
            grey = wanted.mean((2, 3), keepdim=True)  # colour and layout survive, whatever else is invented
            assert float((output - wanted).square().mean()) < float((grey - wanted).square().mean()) / 2, name
        elif network.kind == "vae":
            drawn = network.sample(16).cpu()
            assert float(drawn.mean()) > 0.5, name  # emoji lie on white
            assert float(drawn.std(0).mean()) > 0.05, name  # and are not all the same
        else:
            assert network(image.to(next(network.parameters()).device)).isfinite().all()
