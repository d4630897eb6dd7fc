"""The public names: one stub says them, to Python as to editors and type checkers."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import jedi
import pytest
from mypy import api as mypy

import pltutorial

PACKAGE = Path(pltutorial.__file__).parent
STUB = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))

# PyTorch and its like are typed, and reading them takes a minute
CONFIG = """[mypy]
follow_imports = silent
[mypy-accelerate.*,IPython.*,ipywidgets.*,matplotlib.*,numpy.*,PIL.*,safetensors.*]
follow_imports = skip
ignore_missing_imports = True
[mypy-torch.*,torchvision.*,tqdm.*]
follow_imports = skip
ignore_missing_imports = True
"""

RIGHT = """
import pltutorial
from pltutorial import LossNetwork, PerceptualLoss, StyleTask, StyleTrainingSettings
from pltutorial import psnr, read_image, train, transfer_style, write_image

content = read_image("content.png", max_pixels=10**6)
network = LossNetwork(pooling="average")
result = transfer_style(content, content, network=network, steps=10)
write_image("out.jpg", result.image)
loss: PerceptualLoss = PerceptualLoss({"relu3_3": 1.0}, network=network)
trained = train(StyleTask(StyleTrainingSettings(steps=2)), folder="run", minutes=1)
print(trained.file, float(psnr(result.image, content)), pltutorial.__version__)
"""


def imported() -> dict[str, str]:
    """Name -> module, of the stub's imports."""
    return {
        alias.name: node.module
        for node in STUB.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_the_stub_names_exactly_the_public_names():
    (names,) = [
        ast.literal_eval(node.value)
        for node in STUB.body
        if isinstance(node, ast.Assign)
    ]
    assert sorted(names) == sorted(imported()) == sorted(pltutorial.__all__)
    assert set(pltutorial.__all__) <= set(dir(pltutorial))
    for name, module in imported().items():
        home = importlib.import_module(f"pltutorial.{module}")
        assert getattr(pltutorial, name) is getattr(home, name)
        made_in = getattr(getattr(home, name), "__module__", home.__name__)
        assert made_in == home.__name__, f"{name} is of {made_in}"


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="trian"):
        pltutorial.trian  # noqa: B018


def test_nothing_heavy_is_imported_before_it_is_used():
    code = (
        "import sys, pltutorial\n"
        "pltutorial.TrainingSettings, pltutorial.InputError\n"
        "print(sorted({'torch', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"


def check(folder: Path, *paths: Path) -> tuple[str, int]:
    """What mypy says of files, and its exit status."""
    (folder / "mypy.ini").write_text(CONFIG)
    options = ["--config-file", folder / "mypy.ini", "--cache-dir", folder / "cache"]
    said, wrong, status = mypy.run([*map(str, options), *map(str, paths)])
    assert not wrong
    return said, status


def test_mypy_passes_what_is_right_and_finds_what_is_misspelt(tmp_path):
    assert (PACKAGE / "py.typed").exists()
    (tmp_path / "user.py").write_text(RIGHT)
    said, status = check(tmp_path, tmp_path / "user.py")
    assert status == 0, said
    for word, instead in (
        ("max_pixels=", "max_pixel="),
        ("pooling=", "poling="),
        ("Settings(steps=", "Settings(step="),
        ("folder=", "folder=1, pictures=2, crad="),
        ("trained.file", "trained.fiel"),
        ("import psnr", "import psrn"),
        (
            'LossNetwork(pooling="average")',
            'LossNetwork("embedded", "max", 3, 4, 5, 6, 7, 8)',
        ),
    ):
        assert word in RIGHT
        (tmp_path / "user.py").write_text(RIGHT.replace(word, instead))
        said, status = check(tmp_path, tmp_path / "user.py")
        assert status == 1, f"{instead}: {said}"


def test_mypy_passes_the_trainer_and_its_settings(tmp_path):
    said, status = check(tmp_path, PACKAGE / "training", PACKAGE / "settings.py")
    assert status == 0, said


def test_editors_complete_and_show_arguments():
    code = "import pltutorial\npltutorial.transfer_"
    (found,) = jedi.Script(code).complete()
    assert found.name == "transfer_style"
    code = "import pltutorial\npltutorial.transfer_style("
    (signature,) = jedi.Script(code).get_signatures()
    assert [p.name for p in signature.params][:2] == ["content", "style"]
