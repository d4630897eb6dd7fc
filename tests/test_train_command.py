"""`pltutorial train style`: the function's defaults, YAML, what it prints, and one sentence for bad input."""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict

import pytest
from helpers import stopped_at
from training_runs import SETTINGS, rows, state

from pltutorial.networks import load_network
from pltutorial.settings import StyleTrainingSettings
from pltutorial.training import loop, train


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command in this process; gives the exit code, standard output and standard error."""
    from pltutorial import cli

    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pltutorial", "train", "style", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        return (code, *capsys.readouterr())

    return call


def options(**changes) -> list[str]:
    given = []
    for name, value in (SETTINGS | changes).items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            given.append(f"--{option}" if value else f"--no-{option}")
        else:
            given += [f"--{option}", ",".join(map(str, value)) if isinstance(value, tuple) else value]
    return given


class TestCommand:
    def test_trains_says_where_the_network_is_and_goes_on(self, command, pictures, task, tmp_path):
        folder = tmp_path / "run"
        given = ["-o", folder, "--data", pictures, "--data-note", "noise; CC0"]
        code, out, err = command(*given, *options(steps=6))
        assert (code, err) == (0, "")
        first, second = out.splitlines()
        assert first.startswith(f"{folder / 'network.safetensors'}: 6 steps in ")
        assert second == f"use it: pltutorial stylize PHOTO --model {folder / 'network.safetensors'} -o OUT"
        assert "noise; CC0" in load_network(folder / "network.safetensors").card["data"]
        code, out, err = command(*given, *options(steps=12))
        assert code == 0
        assert ": 12 steps in " in out
        train(task(), pictures=pictures, folder=tmp_path / "function")
        assert rows(folder) == rows(tmp_path / "function")

    def test_defaults_are_those_of_the_function(self, command, monkeypatch, tmp_path):
        with stopped_at("pltutorial.cli.tasks._train", monkeypatch) as seen:
            command("-o", tmp_path)
        ((_, given, *_), _) = seen.pop()
        assert given == StyleTrainingSettings()

    def test_a_configuration_sets_defaults_that_options_replace(self, command, monkeypatch, tmp_path):
        path = tmp_path / "run.yaml"
        path.write_text(
            "styles: [great_wave, poppies]\nsteps: 70\nlearning-rate: 1e-2\nstyle_weight: 2\nzoom: 1,2\n"
            f"progress: false\nwidth: 24\nstart: null\noutput: {tmp_path / 'run'}\n"
        )

        with stopped_at("pltutorial.cli.tasks._train", monkeypatch) as seen:
            command("--config", path, "--steps", "90", "--width", "16")
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
    def test_a_bad_configuration_is_one_sentence(self, text, words, command, tmp_path):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        code, out, err = command("--config", path, "-o", tmp_path / "run")
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        for word in words:
            assert word in err
        assert not (tmp_path / "run").exists()

    def test_missing_files_and_options(self, command, tmp_path):
        code, _, err = command("--config", tmp_path / "none.yaml")
        assert (code, "none.yaml" in err, err.count("\n")) == (2, True, 1)
        code, _, err = command()
        assert (code, "--output is missing" in err, err.count("\n")) == (2, True, 1)
        code, _, err = command("-o", tmp_path, "--styles", "grate_wave")
        assert (code, "great_wave" in err, err.count("\n")) == (2, True, 1)

    def test_an_error_of_several_processes_is_said_once(self, command, monkeypatch, tmp_path):
        """As torchrun starts them: a folder of reports for each process in one folder of the attempt."""
        said = []
        for rank in range(2):
            report = tmp_path / "attempt_0" / str(rank) / "error.json"
            report.parent.mkdir(parents=True)
            monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(report))
            for style in ("grate_wave", "great_waves"):
                code, _, err = command("-o", tmp_path / "run", "--styles", style)
                assert code == 2
                said.append(err.count("\n"))
        assert said == [1, 1, 0, 0]

    def test_interrupted_it_says_how_to_go_on(self, command, pictures, monkeypatch, tmp_path):
        after_step = loop._Run._after_step

        def interrupt(self, bar, *, stopping):
            if self.step == 5:
                signal.raise_signal(signal.SIGINT)
            after_step(self, bar, stopping=stopping)

        monkeypatch.setattr(loop._Run, "_after_step", interrupt)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
        given = ["-o", tmp_path / "run", "--data", pictures, *options()]
        code, out, err = command(*given)
        signal.signal(signal.SIGINT, before)
        assert code == 130
        assert "the same command again goes on" in err
        assert state(tmp_path / "run")["step"] == 5
        assert len(out.splitlines()) == 1
