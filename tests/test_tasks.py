"""Every task of the register: from its settings to a network in a file, the command,
the card and the export.

A task that is added is tested here without a line more.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
import torch
from helpers import picture, refused
from training_runs import SETTINGS

from pltutorial import load_network, register, tasks, train, zoo
from pltutorial.onnx.export import LIMITS, check_onnx, to_onnx
from pltutorial.settings import TrainingSettings

ROOT = Path(__file__).resolve().parents[1]
SMALL = SETTINGS | {
    **{"steps": 2, "size": 32, "width": 4, "blocks": 1, "zoom": (1.0, 1.2)},
    **{"latent": 4, "layer": "relu2_1", "log_every": 1, "ema": 0.0},
}
ALL = tasks.all()
each = pytest.mark.parametrize("spec", ALL.values(), ids=list(ALL))


def small(spec: tasks.TaskSpec):
    """The settings of a task for two quick steps."""
    known = {field.name for field in fields(spec.settings)}
    return spec.settings(**{name: SMALL[name] for name in known & set(SMALL)})


@pytest.fixture(scope="module")
def made(tmp_path_factory, request):
    """A task's trained network: ``(training, result)``, once for all tests."""
    kept = {}

    def of(spec: tasks.TaskSpec):
        if spec.name not in kept:
            training, settings = spec.training(small(spec)), small(spec)
            kept[spec.name] = (
                training,
                train(
                    training,
                    settings,
                    folder=tmp_path_factory.mktemp(spec.name),
                    card=lambda result: spec.card(
                        result, training, settings, "noise; CC0"
                    ),
                ),
            )
        return kept[spec.name]

    return of


def test_the_register_is_read_without_pytorch():
    code = (
        "import sys; from pltutorial import tasks; print(*tasks.all());"
        "print(sorted({'torch', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    found = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT)
    names, heavy = found.splitlines()
    assert names.split() == list(ALL)
    assert heavy == "[]"


@each
def test_says_what_it_is(spec):
    assert is_dataclass(spec.settings)
    assert issubclass(spec.settings, TrainingSettings)
    assert all(field.metadata["help"] for field in fields(spec.settings))
    assert spec.train_help.endswith(".")
    assert spec.limits
    assert tasks.find(spec.name) is spec
    for kind in spec.networks:
        assert register.of_kind(kind) is spec
        assert register.limits_of(kind) == spec.limits
    owners = [
        one.name for one in ALL.values() if set(one.networks) & set(spec.networks)
    ]
    assert owners == [spec.name]
    command = spec.command
    if command is not None:
        assert command.name == spec.used_by
        assert command.help.endswith(".")
        default = command.default_loss
        # of the layer, where the task has networks for several
        layers = (None, "relu3_3", "relu4_3", "relu5_3")
        defaults = (
            [default(layer=x) for x in layers] if callable(default) else [default]
        )
        assert all(defaults) or not command.loss_help
        assert not spec.losses or set(defaults) <= set(spec.losses)


@each
def test_a_network_is_trained_kept_and_read(spec, made):
    training, result = made(spec)
    assert result.stopped == "done"
    network = load_network(result.file, "cpu")
    assert network.kind in spec.networks
    assert network.config == training.network.config
    assert type(network) is type(training.network)
    assert network.card["limits"] == spec.limits
    assert "noise; CC0" in network.card["data"]
    assert set(zoo.CARD) - set(network.card) == {"held_out"}
    known = zoo.available(result.file.parent)["network"]
    assert known.get("task", "stylize") == spec.used_by
    shown = training.samples(network)
    assert shown.shape[:2] == (1, 3)


@each
def test_its_command_uses_its_network_and_refuses_others(spec, made):
    (user,) = [
        one for one in ALL.values() if one.command and one.used_by == spec.used_by
    ] or [None]
    if user is None:
        pytest.skip("its command is written by hand")
    command, file = user.command, made(spec)[1].file
    network = command.load(model=file, device="cpu")
    image = picture(40, 56) if command.takes_picture else None
    options = {option.name: option.default for option in command.options}
    if command.read is not None:
        from PIL import Image

        hole = Image.new("RGBA", (56, 40), (0, 0, 0, 255))
        hole.paste((0, 0, 0, 0), (8, 8, 20, 20))
        options = command.read(hole, "hole.png", 10**6, options)
    output = command.run(network, image, precision="float32", **options)
    width, height = command.size(network, image, **options)
    assert output.shape == (1, 3, height, width)
    assert output.dtype == torch.float32
    assert 0 <= float(output.min()) <= float(output.max()) <= 1
    assert isinstance(command.facts(network, **options), dict)
    for other in ALL.values():
        if other.used_by != spec.used_by:
            with refused("network.safetensors", "pltutorial train"):
                command.load(model=made(other)[1].file, device="cpu")
            break


@each
def test_it_is_exported(spec, made):
    network = load_network(made(spec)[1].file, "cpu")
    if not spec.exports:  # drawn in many passes
        with refused(type(network).__name__, "cannot be exported"):
            to_onnx(network)
        return
    assert check_onnx(network, to_onnx(network)) <= LIMITS["half"]


@each
def test_it_starts_from_its_own_network(spec, made):
    file = made(spec)[1].file
    again = spec.training(replace(small(spec), start=str(file)))
    kept = load_network(file, "cpu").state_dict()
    for name, value in again.network.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value, kept[name].to(value)), name


def test_an_unknown_task_is_refused_with_the_nearest():
    with refused("'denoize'", "'denoise'"):
        tasks.find("denoize")
