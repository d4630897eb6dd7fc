"""Any painting as a style: statistics of codes, and the way through two decoders."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from helpers import assert_refused, picture, refused
from PIL import Image

from pltutorial import (
    bundled,
    load_style,
    match_statistics,
    read_image,
    resize,
    restyle,
    stylize,
    write_image,
)
from pltutorial.color import match_color
from pltutorial.settings import StyleTrainingSettings, TransferSettings
from pltutorial.tasks import restyle as module
from pltutorial.tasks.refine import paintings_of, refine
from pltutorial.tasks.style import StyleTask


def codes(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    made = []
    for count, shape in enumerate(shapes):
        code = torch.randn(1, 6, *shape, generator=draw)
        mix = torch.randn(6, 6, generator=draw)
        made.append(torch.einsum("ij,njhw->nihw", mix, code) + count)
    return made


def covariance(code: torch.Tensor) -> torch.Tensor:
    return torch.cov(code[0].flatten(1), correction=0)


class TestStatistics:
    def test_mean_and_covariance_become_the_style_s(self):
        code, style = codes((12, 10), (9, 14))
        moved = match_statistics(code, style)
        torch.testing.assert_close(
            moved.mean((2, 3)), style.mean((2, 3)), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(
            covariance(moved), covariance(style), atol=1e-3, rtol=1e-3
        )

    def test_deviation_is_adaptive_instance_normalisation(self):
        """Huang and Belongie (2017), equation 8, by hand."""
        code, style = codes((12, 10), (9, 14))
        moved = match_statistics(code, style, "deviation")
        place = (2, 3)
        by_hand = (code - code.mean(place, keepdim=True)) / code.std(
            place, correction=0, keepdim=True
        )
        by_hand = by_hand * style.std(place, correction=0, keepdim=True)
        by_hand = by_hand + style.mean(place, keepdim=True)
        torch.testing.assert_close(moved, by_hand, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(covariance(moved), covariance(style), rtol=0.1)

    @pytest.mark.parametrize("statistics", ["covariance", "deviation"])
    def test_its_own_statistics_change_nothing(self, statistics):
        (code,) = codes((12, 10))
        torch.testing.assert_close(
            match_statistics(code, code, statistics), code, atol=1e-4, rtol=1e-4
        )

    @pytest.mark.parametrize("statistics", ["covariance", "deviation"])
    def test_fewer_positions_than_channels_and_flat_channels(self, statistics):
        code, style = codes((2, 2), (9, 14))
        code[:, 2] = 1.0
        assert match_statistics(code, style, statistics).isfinite().all()
        assert match_statistics(style, code, statistics).isfinite().all()
        flat = torch.zeros_like(code)
        assert match_statistics(flat, style, statistics).isfinite().all()

    def test_refused(self):
        code, style = codes((4, 4), (4, 4))
        with refused("there are no statistics 'gram'"):
            match_statistics(code, style, "gram")
        with refused("the same channels"):
            match_statistics(code, style[:, :3])
        with refused("give one of each"):
            match_statistics(code.repeat(2, 1, 1, 1), style)


@pytest.fixture(scope="module")
def pair():
    return (
        read_image(bundled("content/chelsea"), size=96),
        read_image(bundled("style/great_wave"), size=128),
    )


class TestRestyle:
    def test_print_has_the_painting_s_colours_and_the_picture_s_shapes(self, pair):
        photo, painting = pair
        made = restyle(photo, painting, device="cpu", precision="float32")
        assert made.shape == photo.shape
        assert made.dtype == torch.float32
        assert 0 <= made.min() <= made.max() <= 1
        mean = painting.mean((0, 2, 3))
        assert (made.mean((0, 2, 3)) - mean).abs().max() < 0.03
        plain = match_color(photo, painting)
        assert (made - plain).abs().mean() > 0.03, "no more than other colours"
        # and is nearer to its own photo than to another in these colours
        other = match_color(photo.flip(-1), painting)
        assert (made - plain).square().mean() < (made - other).square().mean()

    def test_odd_sizes_batches_and_strength(self, pair):
        photo, painting = pair
        odd = photo[..., :61, :75]
        made = restyle(torch.cat([odd, odd.flip(-1)]), painting, device="cpu")
        assert made.shape == (2, 3, 61, 75)
        alone = restyle(odd, painting, device="cpu")
        torch.testing.assert_close(made[:1], alone, atol=2e-2, rtol=0)
        torch.testing.assert_close(
            restyle(odd, painting, strength=0.0, device="cpu"), odd, atol=1e-6, rtol=0
        )

    def test_larger_strokes_are_painted_smaller(self, pair):
        photo, painting = pair
        odd = photo[..., :61, :75]
        made = restyle(odd, painting, stroke=2.0, device="cpu")
        small = restyle(resize(odd, (30, 38)), painting, device="cpu")
        torch.testing.assert_close(made, resize(small, (61, 75)))

    def test_a_prepared_painting_gives_the_same(self, pair):
        photo, painting = pair
        ready = module.prepared(painting, device="cpu")
        torch.testing.assert_close(
            restyle(photo, ready), restyle(photo, painting, device="cpu")
        )

    def test_share_moves_away_from_the_picture(self, pair):
        photo, painting = pair
        plain = match_color(photo, painting)
        away = [
            (restyle(photo, painting, share=share, device="cpu") - plain)
            .square()
            .mean()
            .item()
            for share in (0.0, 0.5, 1.0)
        ]
        assert away == sorted(away)

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            ({"share": 2.0}, "share=2.0 was given"),
            ({"strength": -1.0}, "strength=-1.0 was given"),
            ({"stroke": 0.0}, "stroke=0.0 was given"),
            ({"statistics": "gram"}, "no statistics 'gram'"),
            ({"style": torch.rand(2, 3, 64, 64)}, "2 paintings were given"),
            ({"style": torch.rand(1, 3, 4, 4)}, "4x4 pixels"),
        ],
    )
    def test_refused(self, pair, given, sentence):
        photo, painting = pair
        with refused(sentence):
            restyle(photo, **{"style": painting, "device": "cpu", **given})

    def test_memory_is_asked_first(self, pair, monkeypatch):
        monkeypatch.setattr("pltutorial.memory.free", lambda device=None: 1_000_000)
        with refused("do not fit into the memory that is free"):
            restyle(*pair, device="cpu")


class TestCommand:
    def test_a_file_is_a_painting(self, command, tmp_path):
        photo, painting = tmp_path / "photo.png", tmp_path / "any.png"
        write_image(photo, picture(48, 64))
        write_image(painting, picture(64, 64))
        target = tmp_path / "out.png"
        code, said, _ = command(
            "stylize", photo, "--style", painting, "-o", target, "--device", "cpu"
        )
        assert code == 0
        assert f"64x48, {painting}, " in said
        assert read_image(target).shape == (1, 3, 48, 64)

    def test_a_folder_reads_its_painting_once(self, command, tmp_path, monkeypatch):
        calls = []
        plain = module.prepared
        monkeypatch.setattr(
            module, "prepared", lambda *a, **k: calls.append(1) or plain(*a, **k)
        )
        (tmp_path / "photos").mkdir()
        for name in ("photos/a.png", "photos/b.png", "any.png"):
            write_image(tmp_path / name, picture(48, 64))
        code, _, _ = command(
            *("stylize", tmp_path / "photos", "--style", tmp_path / "any.png"),
            *("-o", tmp_path / "out", "--device", "cpu"),
        )
        assert (code, len(calls)) == (0, 1)
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            "a.png",
            "b.png",
        }

    @pytest.mark.parametrize(
        ("more", "sentence"),
        [
            (("--styles", "great_wave"), "leave --styles and --model out"),
            (("-o", "any.png"), "is also an input"),
        ],
    )
    def test_refused(self, command, tmp_path, monkeypatch, more, sentence):
        monkeypatch.chdir(tmp_path)
        for name in ("photo.png", "any.png"):
            write_image(tmp_path / name, picture(48, 64))
        target = () if "-o" in more else ("-o", "out.png")
        code, _, said = command(
            "stylize", "photo.png", "--style", "./any.png", *target, *more
        )
        assert code == 2
        assert sentence in said

    def test_a_painting_that_is_not_there(self, command, tmp_path):
        photo = tmp_path / "photo.png"
        write_image(photo, picture(48, 64))
        code, _, said = command(
            "stylize", photo, "--style", tmp_path / "no.png", "-o", tmp_path / "o.png"
        )
        assert code == 2
        assert "no.png" in said
        assert not (tmp_path / "o.png").exists()


class TestRefine:
    """``--refine``: the optimisation goes on from the print."""

    def test_it_lowers_what_the_network_was_trained_on(self):
        network = load_style("poppies")
        photo = read_image(bundled("test/monarch"), 64)
        painting = read_image(bundled("style/poppies"))
        printed = stylize(photo, network=network)
        made = refine(
            photo, printed, painting, steps=4, card=network.card, progress=False
        )
        assert made.shape == printed.shape
        trained = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in network.card["settings"].items()
            if hasattr(TransferSettings(), name) or name == "style_size"
        }
        settings = StyleTrainingSettings(
            **{**trained, "styles": ("poppies",), "device": "cpu"}
        )
        task = StyleTask(settings)
        before, after = (
            float(task.terms(one.cpu(), photo, torch.tensor([0])).total)
            for one in (printed, made)
        )
        assert after < 0.9 * before

    def test_strokes_keep_their_size_in_pixels(self, monkeypatch):
        seen = {}

        def transfer(image, style, **given):
            seen.update(given)
            return SimpleNamespace(image=image)

        monkeypatch.setattr("pltutorial.tasks.refine.transfer_style", transfer)
        photo = torch.rand(1, 3, 48, 96)
        card = {"settings": {"style_size": 384, "style_layers": ["relu1_2"]}}
        refine(photo, photo, photo, steps=3, card=card, device="cpu")
        assert seen["style_scale"] == 4
        assert seen["style_layers"] == ("relu1_2",)
        assert (seen["steps"], seen["sizes"], seen["device"]) == (3, (96,), "cpu")

    @pytest.mark.parametrize("style", ["great_wave", "painting.jpg"])
    def test_the_command(self, style, command, tmp_path):
        write_image(tmp_path / "painting.jpg", read_image(bundled("style/poppies"), 64))
        write_image(tmp_path / "photo.png", read_image(bundled("test/monarch"), 48))
        given = tmp_path / style if "." in style else style
        plain, made = tmp_path / "plain.png", tmp_path / "made.png"
        words = ["stylize", tmp_path / "photo.png", "--style", given]
        assert command(*words, "-o", plain)[0] == 0
        more = ("--refine", "2", "--no-progress")
        code, printed, errors = command(*words, "-o", made, *more)
        assert (code, errors) == (0, "")
        assert printed.count("\n") == 1
        before, after = read_image(plain), read_image(made)
        assert before.shape == after.shape
        assert not torch.equal(before, after)

    @pytest.mark.parametrize(
        ("more", "sentence"),
        [
            (("--style", "poppies", "--refine", "0"), "from 1 on"),
            (
                ("--style", "poppies", "--refine", "2", "--strength", "0.5"),
                "whole style",
            ),
            (("--style", "poppies", "--refine", "2", "--stroke", "2"), "--stroke 2"),
        ],
    )
    def test_refused(self, more, sentence, command, tmp_path):
        write_image(tmp_path / "photo.png", torch.rand(1, 3, 32, 32))
        output = tmp_path / "out.png"
        refusal = command("stylize", tmp_path / "photo.png", "-o", output, *more)
        assert_refused(refusal, sentence)
        assert not output.exists()

    def test_moving_pictures_and_unknown_paintings_are_refused(self, command, tmp_path):
        Image.new("RGB", (32, 32)).save(tmp_path / "a.gif")
        words = ["stylize", tmp_path / "a.gif", "-o", tmp_path / "b.gif"]
        refusal = command(*words, "--style", "poppies", "--refine", "1")
        assert_refused(refusal, "single pictures")
        with refused("'mine' is not bundled"):
            paintings_of({"mine": 1.0})
        with refused("whole number from 1"):
            refine(*[torch.rand(1, 3, 32, 32)] * 3, steps=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e200])
def test_statistics_of_codes_that_are_not_finite(value):
    code, style = torch.rand(1, 4, 5, 5), torch.rand(1, 4, 6, 6).double()
    style[0, 0, 0, 0] = value
    for pair in ((code, style), (style, code)):
        with refused("NaN or infinite"):
            match_statistics(*pair)
