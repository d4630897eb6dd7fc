"""`pltutorial train NAME`: the function's defaults, YAML, what it prints, and one
sentence for bad input.
"""

from __future__ import annotations

import signal
from dataclasses import asdict

import pytest
from helpers import assert_refused, assert_sentence, stopped_at
from training_runs import (
    _SMALLER,
    LIKENESS,
    RESTORATION,
    SETTINGS,
    likened,
    restorer,
    rows,
    state,
)

from pltutorial.networks import load_network
from pltutorial.settings import StyleTrainingSettings
from pltutorial.training import loop, train

SMALL = dict.fromkeys(("upscale", "denoise", "inpaint"), RESTORATION) | {
    kind: LIKENESS | changes for kind, changes in _SMALLER.items()
}
GAME = "adversarial_weight: 1e-1\npause_below: 0.2\n"
PACED = {"adversarial_weight": 0.1, "pause_below": 0.2}


@pytest.fixture
def train_style(command):
    """`pltutorial train style`: the exit code, standard output and standard error."""
    return lambda *arguments: command("train", "style", *arguments)


def options(settings: dict, **changes) -> list[str]:
    """Settings as a user writes them on the command line."""
    given = []
    for name, value in (settings | changes).items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            given.append(f"--{option}" if value else f"--no-{option}")
        else:
            several = isinstance(value, tuple)
            text = ",".join(map(str, value)) if several else str(value)
            given += [f"--{option}", text]
    return given


class TestStyle:
    def test_trains_says_where_the_network_is_and_goes_on(
        self, train_style, pictures, task, tmp_path
    ):
        folder = tmp_path / "run"
        given = ["-o", folder, "--data", pictures, "--data-note", "noise; CC0"]
        code, out, err = train_style(*given, *options(SETTINGS, steps=6))
        assert (code, err) == (0, "")
        first, second = out.splitlines()
        assert first.startswith(f"{folder / 'network.safetensors'}: 6 steps in ")
        assert second == (
            "use it: pltutorial stylize PHOTO --model "
            f"{folder / 'network.safetensors'} -o OUT"
        )
        assert "noise; CC0" in load_network(folder / "network.safetensors").card["data"]
        code, out, err = train_style(*given, *options(SETTINGS, steps=12))
        assert code == 0
        assert ": 12 steps in " in out
        train(task(), pictures=pictures, folder=tmp_path / "function")
        assert rows(folder) == rows(tmp_path / "function")

    def test_defaults_are_those_of_the_function(
        self, train_style, monkeypatch, tmp_path
    ):
        with stopped_at("pltutorial.cli.tasks._train", monkeypatch) as seen:
            train_style("-o", tmp_path)
        ((_, given, *_), _) = seen.pop()
        assert given == StyleTrainingSettings()

    def test_a_configuration_sets_defaults_that_options_replace(
        self, train_style, monkeypatch, tmp_path
    ):
        path = tmp_path / "run.yaml"
        path.write_text(
            "styles: [great_wave, poppies]\nsteps: 70\nlearning-rate: 1e-2\n"
            "style_weight: 2\nzoom: 1,2\nprogress: false\nwidth: 24\nstart: null\n"
            f"output: {tmp_path / 'run'}\n"
        )

        with stopped_at("pltutorial.cli.tasks._train", monkeypatch) as seen:
            train_style("--config", path, "--steps", "90", "--width", "16")
        changed = {
            "styles": ("great_wave", "poppies"),
            "steps": 90,
            "learning_rate": 0.01,
            "zoom": (1.0, 2.0),
        }
        changed |= {"style_weight": 2.0, "progress": False, "width": 16}
        ((_, given, *_), _) = seen.pop()
        assert asdict(given) == asdict(StyleTrainingSettings(**changed))
        assert isinstance(given.style_weight, float)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("stepz: 3\n", ["'stepz'", "nearest is 'steps'"]),
            ("steps: many\n", ["steps", "'many'", "a whole number"]),
            ("steps: 2.5\n", ["steps", "a whole number"]),
            ("progress: 1\n", ["progress", "true or false"]),
            ("ema: true\n", ["ema", "a number"]),
            ("betas: [0.9]\n", ["betas=(0.9,)", "two numbers"]),
            ("- steps\n", ["no settings"]),
            ("a: b: c\n", ["no YAML", "line 1"]),
            ("steps: 0\n", ["steps=0"]),
        ],
    )
    def test_a_bad_configuration_is_one_sentence(
        self, text, words, train_style, tmp_path
    ):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        code, out, err = train_style("--config", path, "-o", tmp_path / "run")
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        for word in words:
            assert word in err
        assert not (tmp_path / "run").exists()

    def test_missing_files_and_options(self, train_style, tmp_path):
        code, _, err = train_style("--config", tmp_path / "none.yaml")
        assert (code, "none.yaml" in err, err.count("\n")) == (2, True, 1)
        code, _, err = train_style()
        assert (code, "--output is missing" in err, err.count("\n")) == (2, True, 1)
        code, _, err = train_style("-o", tmp_path, "--styles", "grate_wave")
        assert (code, "great_wave" in err, err.count("\n")) == (2, True, 1)

    def test_an_error_of_several_processes_is_said_once(
        self, train_style, monkeypatch, tmp_path
    ):
        """As torchrun starts them: a folder of reports for each process in one
        folder of the attempt.
        """
        said = []
        for rank in range(2):
            report = tmp_path / "attempt_0" / str(rank) / "error.json"
            report.parent.mkdir(parents=True)
            monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(report))
            for style in ("grate_wave", "great_waves"):
                code, _, err = train_style("-o", tmp_path / "run", "--styles", style)
                assert code == 2
                said.append(err.count("\n"))
        assert said == [1, 1, 0, 0]

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted_it_says_how_to_go_on(
        self, number, train_style, pictures, monkeypatch, tmp_path
    ):
        after_step = loop._Run._after_step

        def interrupt(self, bar, *, stopping):
            if self.step == 5:
                signal.raise_signal(number)
            after_step(self, bar, stopping=stopping)

        monkeypatch.setattr(loop._Run, "_after_step", interrupt)
        # a background job ignores it
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        given = ["-o", tmp_path / "run", "--data", pictures, *options(SETTINGS)]
        code, out, err = train_style(*given)
        signal.signal(signal.SIGINT, before)
        assert code == 128 + number
        assert "the same command again goes on" in err
        assert state(tmp_path / "run")["step"] == 5
        assert len(out.splitlines()) == 1


class TestTasks:
    @pytest.mark.parametrize(
        ("kind", "yaml", "kept", "use"),
        [
            (
                "upscale",
                "pixel_kind: l2\nfactor: 2\nkernel: gaussian\n",
                {"pixel_kind": "l2", "factor": 2, "kernel": "gaussian"},
                "upscale PHOTO",
            ),
            (
                "denoise",
                "pixel_kind: l2\nsigma: [15, 25]\n",
                {"pixel_kind": "l2", "sigma": [15.0, 25.0]},
                "denoise PHOTO",
            ),
            (
                "inpaint",
                "pixel_kind: l2\nholes: 2e-1\n",
                {"pixel_kind": "l2", "holes": 0.2},
                "inpaint PHOTO MASK",
            ),
            ("invert", GAME, PACED, "invert PHOTO"),
            ("autoencode", GAME, PACED, "invert PHOTO"),
            ("vae", GAME, PACED, "sample"),
            ("colorize", GAME, PACED, "colorize PHOTO"),
        ],
        ids=list(SMALL),
    )
    def test_trains_from_yaml_as_the_function_does_and_says_how_to_use_it(
        self, kind, yaml, kept, use, command, pictures, phi, tmp_path
    ):
        config, folder = tmp_path / "run.yaml", tmp_path / "run"
        config.write_text(f"steps: 70\n{yaml}")
        given = ["train", kind, "--config", config, "-o", folder, "--data", pictures]
        small = options(SMALL[kind], steps=4)
        code, out, err = command(*given, *small, "--data-note", "noise; CC0")
        assert (code, err) == (0, "")
        first, second = out.splitlines()
        file = folder / "network.safetensors"
        assert first.startswith(f"{file}: 4 steps in ")
        assert second == f"use it: pltutorial {use} --model {file} -o OUT"
        card = load_network(file, "cpu").card
        assert card["settings"].items() >= ({"steps": 4, "width": 4} | kept).items()
        assert card["data"].startswith("noise; CC0")
        changes = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()}
        make = likened if kind in _SMALLER else restorer
        train(make(kind, phi, steps=4, **changes), pictures=pictures, folder=tmp_path)
        assert rows(tmp_path) == rows(folder)

    @pytest.mark.parametrize(
        ("kind", "yaml", "words"),
        [
            ("upscale", "factor: 3\n", ["factor=3", "2, 4 or 8"]),
            ("upscale", "factor: 0\n", ["factor=0", "2, 4 or 8"]),
            ("upscale", "factor: 2.5\n", ["factor", "a whole number"]),
            ("upscale", "size: 30\n", ["crops of 30 pixels", "a multiple"]),
            ("upscale", "kernel: gausian\n", ["'gausian'", "nearest is 'gaussian'"]),
            (
                "upscale",
                "network: subpixel\n",
                ["'subpixel'", "nearest is 'sub_pixel'"],
            ),
            (
                "upscale",
                "start: none.safetensors\n",
                ["none.safetensors", "does not exist"],
            ),
            ("upscale", "pixel_weight: 0\n", ["all weights are 0"]),
            ("upscale", "pixel_weight: -1\n", ["pixel_weight=-1", "at least 0"]),
            ("upscale", "pixel_kind: l3\n", ["'l3'", "nearest is"]),
            ("upscale", "feature_weight: 1\nfeature_layers: []\n", ["feature_layers"]),
            (
                "upscale",
                "feature_weight: 1\nfeature_layers: relu9_9\n",
                ["'relu9_9'", "nearest"],
            ),
            ("upscale", "sigma: [5, 55]\n", ["'sigma'", "nearest"]),
            ("denoise", "sigma: [55, 5]\n", ["sigma=", "growing"]),
            ("denoise", "sigma: 25\n", ["sigma=", "two"]),
            ("denoise", "width: 0\n", ["width=0", "at least 1"]),
            ("denoise", "total_variation: .nan\n", ["total_variation=nan", "finite"]),
            ("inpaint", "blocks: many\n", ["blocks", "'many'", "a whole number"]),
            ("inpaint", "holes: 0\n", ["holes=0", "at most 0.9"]),
            ("inpaint", "holes: 0.95\n", ["holes=0.95", "at most 0.9"]),
            ("inpaint", "style_weight: 1\nstyle_layers: ''\n", ["style_layers"]),
            ("invert", "layer: relu4_4\n", ["'relu4_4'", "nearest is 'relu4_3'"]),
            ("invert", "size: 60\n", ["60 pixels", "relu4_3", "a multiple of 8"]),
            ("invert", "width: 0\n", ["width=0", "at least 1"]),
            ("invert", "blocks: -1\n", ["blocks=-1"]),
            (
                "invert",
                "start: none.safetensors\n",
                ["none.safetensors", "does not exist"],
            ),
            ("invert", "image_weight: 0\n", ["all weights are 0"]),
            ("invert", "image_weight: -1\n", ["image_weight=-1", "at least 0"]),
            ("invert", "feature_weight: .nan\n", ["feature_weight=nan", "finite"]),
            (
                "invert",
                "feature_weight: 1\nfeature_layers: relu9_9\n",
                ["'relu9_9'", "nearest"],
            ),
            ("invert", "feature_weight: 1\nfeature_layers: []\n", ["feature_layers"]),
            ("autoencode", "code_channels: 0\n", ["channels=0", "at least 1"]),
            (
                "autoencode",
                "norm: batch\nbatch_size: 1\n",
                ["a batch of 1", "at least 2"],
            ),
            ("autoencode", "norm: instance\n", ["'instance'", "none"]),
            ("autoencode", "give_up: -1\n", ["give_up=-1", "0 or more"]),
            ("vae", "size: 40\n", ["40 pixels", "a multiple of 16"]),
            ("vae", "latent: 0\n", ["latent=0", "at least 1"]),
            ("vae", "encoder: relu3_9\n", ["'relu3_9'", "nearest"]),
            ("vae", "kl_weight: -1\n", ["kl_weight=-1", "at least 0"]),
            (
                "vae",
                "comparator: discriminatr\n",
                ["'discriminatr'", "nearest is 'discriminator'"],
            ),
            (
                "vae",
                "comparator: discriminator\nfeature_weight: 1\n",
                ["nothing trains it", "adversarial_weight"],
            ),
            (
                "vae",
                "comparator: discriminator\nfeature_weight: 1\nadversarial_weight: 1\n",
                ["no hidden layer 'relu2_2'", "conv1"],
            ),
            ("colorize", "norm: batch\n", ["norm='batch'", "norm='none'"]),
            (
                "colorize",
                "discriminator_rate: 0\n",
                ["discriminator_rate=0", "positive"],
            ),
            (
                "colorize",
                "discriminator_width: 0\n",
                ["discriminator_width=0", "at least 1"],
            ),
            ("colorize", "pause_below: .inf\n", ["pause_below=inf", "0 or more"]),
            ("colorize", "latent: 3\n", ["'latent'", "nearest"]),
        ],
        ids=lambda value: (
            value.replace("\n", " ").strip() if isinstance(value, str) else ""
        ),
    )
    def test_a_bad_configuration_is_one_sentence(
        self, kind, yaml, words, command, pictures, tmp_path
    ):
        config = tmp_path / "run.yaml"
        config.write_text(f"device: cpu\n{yaml}")
        given = ["--config", config, "-o", tmp_path / "run", "--data", pictures]
        assert_refused(command("train", kind, *given), *words)
        assert not (tmp_path / "run").exists()

    def test_crops_too_small_for_the_paper_s_network_or_a_layer(
        self, command, pictures, tmp_path
    ):
        given = ["-o", tmp_path / "run", "--data", pictures, *options(RESTORATION)]
        small = ["--network", "super_resolution", "--factor", "8"]
        code, _, err = command("train", "upscale", *given, *small)
        assert (code, err.count("\n")) == (2, 1)
        assert_sentence(err.removeprefix("error: ").strip(), "4x4 pixels", "at least 5")
        small = ["--size", "8", "--feature-weight", "1", "--feature-layers", "relu5_1"]
        code, _, err = command("train", "denoise", *given, *small)
        assert (code, err.count("\n")) == (2, 1)
        assert_sentence(err.removeprefix("error: ").strip(), "relu5_1", "at least 16")

    def test_a_discriminator_that_has_won_ends_the_command(
        self, command, pictures, tmp_path
    ):
        won = {
            "adversarial_weight": 0.1,
            "pause_below": 9e9,
            "give_up": 6,
            "checkpoint_every": 2,
        }
        given = [
            "-o",
            tmp_path / "run",
            "--data",
            pictures,
            *options(SMALL["colorize"], **won),
        ]
        code, out, err = command("train", "colorize", *given)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert_sentence(
            err.removeprefix("error: ").strip(),
            "has won",
            "the last checkpoint is kept in",
        )
        assert state(tmp_path / "run")["step"] == 4
