"""The recipes of the shipped networks: each is read, begins where another ended, and made what its network's card says."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

import pltutorial
from pltutorial import zoo
from pltutorial.cards import kept_settings

FOLDER = Path(pltutorial.__file__).parent / "assets" / "recipes"
COMMANDS = [
    shlex.split(line)
    for line in (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("pltutorial train ")
]
NAMES = [arguments[4].removesuffix(".yaml") for arguments in COMMANDS]
TASKS = {
    "style": "style_training.StyleTask",
    "upscale": "restoration_training.SuperResolutionTask",
    "denoise": "restoration_training.DenoisingTask",
    "inpaint": "restoration_training.InpaintingTask",
}
ARCHITECTURE = ("network", "width", "blocks", "norm", "upsampling")
SHIPPED = [path for folder in (zoo.FOLDER, zoo.RESTORERS) for path in sorted(folder.glob("*.safetensors"))]


@pytest.fixture
def settings_of(command, monkeypatch):
    """The settings that the command of a recipe trains with, and the folder it writes to; nothing is trained."""

    class Stop(Exception):
        pass

    def settings_of(name: str):
        _, _, task, *options = COMMANDS[NAMES.index(name)]
        seen = []

        def spy(settings):
            seen.append(settings)
            raise Stop

        with monkeypatch.context() as patch:
            patch.chdir(FOLDER)
            patch.setattr(f"pltutorial.{TASKS[task]}", spy)
            with pytest.raises(Stop):
                command("train", task, *options)
        return seen[0], options[options.index("-o") + 1]

    return settings_of


def test_each_recipe_has_one_command_and_a_folder_of_its_own():
    assert sorted(NAMES) == sorted(path.stem for path in FOLDER.glob("*.yaml"))
    folders = [arguments[-1] for arguments in COMMANDS]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_read_and_begins_where_an_earlier_one_ended(name, settings_of):
    settings, folder = settings_of(name)
    assert settings.steps >= 200  # a training, no trial; the last part of a longer one may be short
    if settings.start is None:
        return
    earlier = {settings_of(other)[1]: settings_of(other)[0] for other in NAMES[: NAMES.index(name)]}
    before, _, file = settings.start.rpartition("/")
    assert file == "network.safetensors"
    assert before in earlier, f"no command before it writes {before}"
    assert before != folder
    given = earlier[before]
    assert type(given) is type(settings)
    for setting in ARCHITECTURE:
        assert getattr(given, setting, None) == getattr(settings, setting, None), setting


def test_the_paper_s_setting_is_that_of_section_4_2(settings_of):
    settings, _ = settings_of("upscale_x4_paper")
    assert (settings.network, settings.kernel, settings.blocks, settings.width) == (
        "super_resolution",
        "gaussian",
        4,
        64,
    )
    assert (settings.size, settings.batch_size, settings.steps) == (288, 4, 200_000)
    assert (settings.learning_rate, settings.schedule) == (1e-3, "constant")
    assert (settings.pixel_weight, settings.style_weight, settings.feature_layers) == (0, 0, ("relu2_2",))
    assert replace(settings, factor=8).size % 8 == 0


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_network_was_trained_as_its_recipe_says(path, settings_of):
    """The settings in its card are those of the run that ends in its folder."""
    (name,) = [NAMES[n] for n, arguments in enumerate(COMMANDS) if arguments[-1] == f"runs/{path.stem}"]
    kept = {k: list(v) if isinstance(v, tuple) else v for k, v in kept_settings(settings_of(name)[0]).items()}
    card = zoo.available(path.parent)[path.stem]
    assert card["settings"] == kept
    assert re.search(r"\d[\d,]* pictures", card["data"])
