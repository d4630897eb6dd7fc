"""The recipes of the shipped networks: each is read, begins where another ended, and
made what its network's card says.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import pltutorial
from pltutorial import register, tasks, zoo
from pltutorial.settings import default_of
from pltutorial.training.cards import kept_settings

FOLDER = Path(pltutorial.__file__).parent / "assets" / "recipes"
COMMANDS = [
    shlex.split(line)
    for line in (FOLDER / "README.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("pltutorial train ")
]
NAMES = [arguments[4].removesuffix(".yaml") for arguments in COMMANDS]
LIKENESS_TASKS = [
    name for name, spec in tasks.all().items() if spec.folder == "likeness"
]
LIKENESS = [
    name
    for name, arguments in zip(NAMES, COMMANDS, strict=True)
    if arguments[2] in LIKENESS_TASKS
]
READ: dict = {}  # what the commands were found to say
ARCHITECTURE = (
    "network",
    "width",
    "blocks",
    "norm",
    "upsampling",
    "layer",
    "code_channels",
    "latent",
    "encoder",
    "channels",
    "condition",
)
SHIPPED = [
    path
    for folder in (zoo.FOLDER, zoo.RESTORERS, zoo.LIKENESS, zoo.DIFFUSION)
    for path in sorted(folder.glob("*.safetensors"))
]


@pytest.fixture
def settings_of(command, monkeypatch):
    """The settings that the command of a recipe trains with, and the folder it writes
    to; nothing is trained.
    """

    class Stop(BaseException):  # no fault of the command
        pass

    def settings_of(name: str):
        if name in READ:
            return READ[name]
        _, _, task, *options = COMMANDS[NAMES.index(name)]
        seen = []

        def spy(settings):
            seen.append(settings)
            raise Stop

        with monkeypatch.context() as patch:
            patch.chdir(FOLDER)
            spec = tasks.find(task)
            patch.setattr(f"{spec.training.__module__}.{spec.training.__name__}", spy)
            patch.setitem(register.REGISTER, task, replace(spec, training=spy))
            with pytest.raises(Stop):
                command("train", task, *options)
        READ[name] = seen[0], options[options.index("-o") + 1]
        return READ[name]

    return settings_of


def test_each_recipe_has_one_command_and_a_folder_of_its_own():
    assert sorted(NAMES) == sorted(path.stem for path in FOLDER.glob("*.yaml"))
    folders = [arguments[-1] for arguments in COMMANDS]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_read_and_begins_where_an_earlier_one_ended(name, settings_of):
    settings, folder = settings_of(name)
    # a training, no trial; the last part of a longer one may be short
    assert settings.steps >= 200
    if settings.start is None:
        return
    earlier = {
        settings_of(other)[1]: settings_of(other)[0]
        for other in NAMES[: NAMES.index(name)]
    }
    before, _, file = settings.start.rpartition("/")
    assert file == "network.safetensors"
    assert before in earlier, f"no command before it writes {before}"
    assert before != folder
    given = earlier[before]
    assert type(given) is type(settings)
    for setting in ARCHITECTURE:
        assert getattr(given, setting, None) == getattr(settings, setting, None), (
            setting
        )


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
    assert (settings.pixel_weight, settings.style_weight, settings.feature_layers) == (
        0,
        0,
        ("relu2_2",),
    )
    assert replace(settings, factor=8).size % 8 == 0


@pytest.mark.parametrize("name", LIKENESS)
def test_a_learned_likeness_has_the_terms_of_its_name(name, settings_of):
    """DeePSiM has all three; whatever the name leaves out has no weight."""
    settings, _ = settings_of(name)
    weights = ("feature_weight", "adversarial_weight", "image_weight")
    there = tuple(getattr(settings, weight) > 0 for weight in weights)
    words = set(name.split("_"))
    if "adv" in words or ("feature" in words and "image" in words):
        expected = ("feature" in words, "adv" in words, "image" in words)
    elif "decode" in words:
        expected = (True, False, True)
    elif words & {"deepsim", "full", "paper"}:
        expected = (True, True, True)
    elif "gan" in words:
        expected = (True, True, there[2])
    elif "feature" in words:
        expected = (True, False, there[2])
    else:
        expected = (False, False, True)
    assert there == expected
    assert (settings.comparator == "discriminator") == (name == "vae_gan")
    assert settings.gradient_clip > 0


def test_the_variants_of_the_table_differ_in_their_weights_alone(settings_of):
    """The same start, steps and rates, so that the terms make the difference."""
    names = [
        name
        for name in LIKENESS
        if name.startswith("invert_relu4_3")
        and not name.endswith(("_1", "_paper", "_full"))
    ]
    assert len(names) == 5
    weights = {"feature_weight", "adversarial_weight", "image_weight"}
    for rate in ("discriminator_rate", "learning_rate"):
        found = [settings_of(name)[0] for name in names]
        assert (
            len(
                {
                    getattr(one, rate)
                    for one in found
                    if one.adversarial_weight or rate[0] == "l"
                }
            )
            == 1
        )
    weights.add("discriminator_rate")  # which means nothing without a discriminator
    kept = [{k: v for k, v in asdict(one).items() if k not in weights} for one in found]
    assert all(one == kept[0] for one in kept)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_network_was_trained_as_its_recipe_says(path, settings_of):
    """The settings in its card are those of the run that ends in its folder; a younger
    one has its default.
    """
    run = path.stem.removesuffix("_discriminator")
    (name,) = [
        NAMES[n]
        for n, arguments in enumerate(COMMANDS)
        if arguments[-1] == f"runs/{run}"
    ]
    settings = settings_of(name)[0]
    kept = json.loads(json.dumps(kept_settings(settings)))
    defaults = json.loads(
        json.dumps({name: default_of(settings, name) for name in kept})
    )
    card = zoo.available(path.parent)[path.stem]
    assert defaults | card["settings"] == kept
    assert re.search(r"\d[\d,]* pictures", card["data"])
