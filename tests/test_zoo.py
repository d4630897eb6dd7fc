"""The zoo: cards read without torch, networks found by style, and what
stylize does with them.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from helpers import picture, refused

from pltutorial import (
    InputError,
    bundled,
    invert,
    read_image,
    resize,
    stylize,
    write_image,
    zoo,
)
from pltutorial.networks import (
    VERSION,
    FastTransformNet,
    TransformNet,
    apply,
    load_network,
    save_network,
)
from pltutorial.optimize import luminance, match_color, with_colors_of
from pltutorial.tasks.style import memory_needed

CARD = {
    "data": "nothing",
    "steps": 3,
    "settings": {"style_weight": 1e-4, "batch_size": 4},
    "curve": [[step, 3.0 / step, 2.0 / step, 5.0 / step] for step in range(1, 21)],
    "seconds": 5400.0,
    "machine": "a test",
    "held_out": {"objective": 1.5, "gatys_steps": 60},
    "limits": "random weights",
    "licence": "MIT",
}


def shaken(network: TransformNet, seed: int) -> TransformNet:
    """A network whose weights and styles are random."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A zoo of two networks: three styles in one, and one of these alone."""
    folder = tmp_path / "styles"
    folder.mkdir()
    three = FastTransformNet(
        width=4, blocks=1, styles=("great_wave", "poppies", "starry_night")
    )
    save_network(folder / "three_styles.safetensors", shaken(three, 1), CARD)
    save_network(
        folder / "great_wave.safetensors",
        shaken(FastTransformNet(width=4, blocks=1), 2),
        CARD,
    )
    monkeypatch.setattr(zoo, "FOLDER", folder)
    return folder


def close(given: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(given, expected.cpu(), atol=1e-5, rtol=0)


# --- cards ----------------------------------------------------------------------------


def test_cards_are_read_without_torch(folder):
    code = (
        "import sys; from pltutorial import zoo; found = "
        f"zoo.available({str(folder)!r})\n"
        "import json; print(json.dumps([found, zoo.styles(sys.argv[1])]))\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules, "
        "'safetensors' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder], check=True, capture_output=True, text=True
    )
    found, loaded = done.stdout.splitlines()
    cards, styles = json.loads(found)
    assert loaded == "False False False"
    assert list(cards) == ["great_wave", "three_styles"]
    assert {key: cards["three_styles"][key] for key in CARD} == CARD
    assert cards["great_wave"]["styles"] == ["great_wave"]
    assert (
        cards["great_wave"]["bytes"]
        == (folder / "great_wave.safetensors").stat().st_size
    )
    assert styles == {
        "great_wave": ["great_wave", "three_styles"],
        "poppies": ["three_styles"],
        "starry_night": ["three_styles"],
    }


def test_a_card_is_a_few_lines_for_people():
    text = zoo.card_text({**CARD, "styles": ["great_wave"], "nothing": None})
    lines = text.splitlines()
    assert "steps: 3" in lines
    assert "time: 1.5 h" in lines
    assert "settings: style weight 0.0001, batch size 4" in lines
    assert "on pictures never seen: objective 1.5, gatys steps 60" in lines
    assert "styles: great_wave" in lines
    assert "nothing" not in text.replace("trained on: nothing", "")
    curve = [line for line in lines if line.startswith("  ")]
    assert len(curve) == 6
    assert curve[0] == "  1: 3, 2, 5"
    assert curve[-1] == "  20: 0.15, 0.1, 0.25"


@pytest.mark.parametrize(
    "content", [b"", b"no network", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"{}"]
)
def test_a_damaged_file_in_the_zoo_is_named(folder, content):
    (folder / "broken.safetensors").write_bytes(content)
    with refused("broken.safetensors", "damaged"):
        zoo.available()


def test_an_empty_zoo_says_how_to_get_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    assert zoo.available() == {}
    with refused("no trained network", "pltutorial train"):
        zoo.load_style("great_wave")
    with refused("no style was given"):
        stylize(picture(32, 32))


# --- finding a network ----------------------------------------------------------------


def test_one_style_takes_the_network_of_that_style_alone(folder):
    assert zoo.load_style("great_wave").style_names == ()
    assert len(zoo.load_style("poppies").style_names) == 3
    assert zoo.load_style("poppies").chosen == "poppies"
    assert zoo.load_style("three_styles").chosen is None
    assert len(zoo.load_style("three_styles").style_names) == 3
    assert len(zoo.load_style({"great_wave": 0.5, "poppies": 0.5}).style_names) == 3
    assert zoo.load_style("poppies").card["machine"] == "a test"


def test_a_path_is_loaded_as_it_is(folder, tmp_path):
    path = save_network(
        tmp_path / "mine.safetensors", shaken(TransformNet(width=4, blocks=1), 3), CARD
    )
    for given in (path, str(path)):
        network = zoo.load_style(given)
        assert network.config["kind"] == "transform"
        assert not network.training


def test_names_that_are_not_there(folder, tmp_path):
    with refused("'great_wav'", "'great_wave'"):
        zoo.load_style("great_wav")
    with refused("'popies'", "'poppies'"):
        stylize(picture(32, 32), {"great_wave": 0.5, "popies": 0.5})
    with refused("gone.safetensors", "does not exist"):
        zoo.load_style(tmp_path / "gone.safetensors")
    alone = shaken(FastTransformNet(width=4, blocks=1), 4)
    save_network(folder / "village_street.safetensors", alone, CARD)
    with refused("village_street", "together"):
        zoo.load_style({"poppies": 0.5, "village_street": 0.5})
    with refused("no style"):
        zoo.load_style({})


def test_files_that_are_no_network_of_ours(folder, tmp_path, monkeypatch):
    from safetensors.torch import save_file

    photo = write_image(tmp_path / "photo.jpg", picture(32, 32))
    with refused("photo.jpg", "is a picture", ".safetensors"):
        zoo.load_style(photo)
    (tmp_path / "pickle.pth").write_bytes(b"\x80\x02}q\x00.")
    with refused("pickle.pth", "cannot be read"):
        zoo.load_style(tmp_path / "pickle.pth")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with refused("other.safetensors", "cannot be read"):
        zoo.load_style(tmp_path / "other.safetensors")
    whole = (folder / "great_wave.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    with refused("half.safetensors", "damaged"):
        zoo.load_style(tmp_path / "half.safetensors")
    network = shaken(FastTransformNet(width=4, blocks=1), 5)
    monkeypatch.setattr("pltutorial.networks.files.VERSION", f"{VERSION}9")
    save_network(tmp_path / "later.safetensors", network, CARD)
    monkeypatch.undo()
    with refused("later.safetensors", f"version {VERSION}9"):
        zoo.load_style(tmp_path / "later.safetensors")
    network.config["blocks"] = 2  # says more than its weights hold
    save_network(tmp_path / "liar.safetensors", network, CARD)
    with refused("liar.safetensors"):
        zoo.load_style(tmp_path / "liar.safetensors")


# --- stylize --------------------------------------------------------------------------


def test_stylize_is_one_pass_through_the_network(folder):
    image = picture(33, 46)
    alone, three = zoo.load_style("great_wave"), zoo.load_style("three_styles")
    how = {"precision": "float32"}
    close(stylize(image, "great_wave", **how), apply(alone, image, **how))
    close(stylize(image, network=alone, **how), apply(alone, image, **how))
    close(
        stylize(image, "poppies", **how),
        apply(three, image, three.blend("poppies"), **how),
    )
    weights = {"great_wave": 3, "poppies": 1}
    expected = apply(three, image, three.blend(weights), **how)
    close(stylize(image, weights, **how), expected)
    close(stylize(image, weights, network=three, **how), expected)
    different = stylize(image, {"great_wave": 1, "poppies": 3}, **how)
    assert float((different - expected).abs().max()) > 0.01


def test_strength_goes_from_the_picture_to_the_style(folder):
    image = picture(32, 48)
    whole = stylize(image, "great_wave")
    torch.testing.assert_close(stylize(image, "great_wave", strength=0.0), image)
    torch.testing.assert_close(
        stylize(image, "great_wave", strength=0.25), 0.75 * image + 0.25 * whole
    )
    for strength in (-0.1, 1.1, float("nan")):
        with refused(f"strength={strength}"):
            stylize(image, "great_wave", strength=strength)


def test_colours_can_be_kept(folder):
    image = picture(40, 32, count=2)
    plain = stylize(image, "great_wave")
    kept = stylize(image, "great_wave", preserve_color="luminance")
    close(kept, with_colors_of(plain, image))
    # where colours are clipped
    assert float((luminance(kept) - luminance(plain)).abs().mean()) < 0.02
    matched = stylize(image, "great_wave", preserve_color="histogram")
    close(matched[1:], match_color(plain[1:], image[1:]))
    assert float((matched - image).mean((2, 3)).abs().max()) < 0.02
    with refused("'lumi'", "'luminance'"):
        stylize(image, "great_wave", preserve_color="lumi")


def test_size_is_that_of_the_picture_or_the_one_given(folder):
    image = picture(30, 51)
    assert stylize(image, "great_wave").shape == image.shape
    assert stylize(image, "great_wave", size=34).shape == (1, 3, 20, 34)
    assert stylize(image, "great_wave", size=(17, 19)).shape == (1, 3, 17, 19)


def test_what_stylize_refuses(folder, monkeypatch):
    image = picture(32, 32)
    alone, three = zoo.load_style("great_wave"), zoo.load_style("three_styles")
    with refused("255"):
        stylize(image * 255, "great_wave")
    with refused("16"):
        stylize(picture(32, 12), "great_wave")
    with refused("no style"):
        stylize(image)
    with refused("great_wave", "none was chosen"):
        stylize(image, network=three)
    with refused("'poppies'", "leave the style out"):
        stylize(image, "poppies", network=alone)
    with refused("'popies'", "'poppies'"):
        stylize(image, "popies", network=three)
    with refused("at least 0"):
        stylize(image, {"poppies": -1.0}, network=three)


def test_a_picture_too_large_for_the_memory_is_refused_first(folder, monkeypatch):
    network = zoo.load_style("great_wave")
    needed = memory_needed((1, 3, 100, 200), network)
    monkeypatch.setattr("pltutorial.memory.free", lambda device: needed // 4)
    with refused("200x100", "size="):
        stylize(picture(100, 200), network=network)
    with pytest.raises(InputError) as caught:
        stylize(picture(100, 200), network=network)
    size = int(str(caught.value).rpartition("size=")[2])
    assert 70 < size < 100
    # the advice is good
    assert stylize(picture(100, 200), network=network, size=size).shape[-1] == size


def test_running_out_of_memory_is_one_sentence(folder, monkeypatch):
    def full(*given, **rest):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("pltutorial.networks.apply", full)
    with refused("48x32", "size="):
        stylize(picture(32, 48), "great_wave")


# --- what ships -----------------------------------------------------------------------


def test_every_style_that_ships_is_painted_by_the_newest_network():
    assert set(map(tuple, zoo.styles().values())) == {
        ("eight_styles", "eight_styles_full")
    }
    assert len(zoo.styles()) == 8
    whole, image = zoo.load_style("eight_styles"), picture(32, 40)
    for style in ("starry_night", "village_street"):
        named = zoo.load_style(style)
        assert named.name == "eight_styles"
        wanted = stylize(image, style, network=whole)
        for made in (stylize(image, style), stylize(image, network=named)):
            assert torch.equal(made, wanted)


def test_everything_shipped_is_whole_and_has_a_full_card():
    from pltutorial import bundled_names

    image = picture(48, 64)
    for name, card in zoo.available().items():
        assert not [key for key in zoo.CARD if card.get(key) in (None, "", [], {})], (
            name
        )
        assert set(card["styles"]) <= set(bundled_names("style")), name
        assert all(len(point) == 4 for point in card["curve"]), name
        network = zoo.load_style(name)
        for style in network.style_names or (None,):
            output = stylize(image, style, network=network)
            assert output.shape == image.shape
            assert float(output.std()) > 0.05, (name, style)
            assert float((output - image).abs().mean()) > 0.02, (name, style)
    assert sum(card["bytes"] for card in zoo.available().values()) <= 9_000_000


# --- learned likeness: names, and what ships ------------------------------------------


def test_names_that_do_not_ship(random_zoo, monkeypatch):
    networks = random_zoo["LIKENESS"]
    monkeypatch.setattr(zoo, "LIKENESS", networks)
    for layer in zoo.INVERTED:
        assert zoo.load_inverter(layer, "image").layer == layer
    for layer in {*zoo.INVERTED, *zoo.FULL_INVERTERS}:
        best = zoo.load_inverter(layer)
        assert best.layer == layer
        last = zoo.load_inverter(layer, zoo.inverter_losses(layer)[-1])
        close(*(value.weight for value in (best.first, last.first)))
    assert zoo.inverter_losses("relu4_3") == ("image", "deepsim", "full")
    for loss in zoo.VAE_LOSSES:
        assert zoo.load_vae(loss).kind == "vae"
    with refused("'relu4_4'", "'relu4_3'"):
        zoo.load_inverter("relu4_4")
    with refused("the loss 'image' at relu5_3", "known are full"):
        zoo.load_inverter("relu5_3", "image")
    with refused("'gann'", "'gan'"):
        zoo.load_vae("gann")
    with refused("for `sample`", "train invert"):
        zoo.load_inverter(model=networks / "vae_gan.safetensors")
    with refused("for `invert`", "train vae"):
        zoo.load_vae(model=networks / "invert_relu4_3_image.safetensors")


NAMES = {
    f"invert_{layer}_{loss}" for layer in zoo.INVERTED for loss in zoo.INVERTER_LOSSES
}
NAMES |= {f"invert_{layer}_full" for layer in zoo.FULL_INVERTERS}
NAMES |= {f"decode_{layer}" for layer in zoo.INVERTED}
NAMES |= {f"vae_{loss}" for loss in zoo.VAE_LOSSES} | {"vae_gan_discriminator"}
NAMES |= {"colorize_classes"}


def test_everything_shipped_has_a_full_card_and_is_small():
    cards = zoo.available(zoo.LIKENESS)
    assert set(cards) == NAMES
    for name, card in cards.items():
        known = {key for key in zoo.CARD if card.get(key) not in (None, "", [], {})}
        # it makes no picture to be measured
        alone = {"held_out"} if card["task"] == "discriminator" else set()
        assert set(zoo.CARD) - known <= alone, name
        assert all(len(point) == len(card["terms"]) for point in card["curve"]), name
        assert card["task"] == (
            "discriminator"
            if "disc" in name
            else "sample"
            if "vae" in name
            else "colorize"
            if "color" in name
            else "invert"
        )
        assert "MIT" in card["licence"]
    assert sum(card["bytes"] for card in cards.values()) <= 17_000_000


def test_everything_shipped_draws():
    image = read_image(bundled("test/kodim23"), 192)
    for name in zoo.available(zoo.LIKENESS):
        network = load_network(zoo.LIKENESS / f"{name}.safetensors")
        if network.kind == "inversion":
            wanted, output = (
                resize(x.cpu(), 24) for x in (image, invert(image, network))
            )
            # colour and layout survive, whatever else is invented; less from relu5_3
            share = 0.8 if network.layer == "relu5_3" else 0.5
            grey = wanted.mean((2, 3), keepdim=True)
            assert (
                float((output - wanted).square().mean())
                < float((grey - wanted).square().mean()) * share
            ), name
        elif network.kind == "vae":
            drawn = network.sample(16).cpu()
            assert float(drawn.mean()) > 0.5, name  # faces lie on white
            assert float(drawn.std(0).mean()) > 0.05, name  # and are not all the same
        else:
            assert network(image.to(next(network.parameters()).device)).isfinite().all()
