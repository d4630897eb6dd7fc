"""The offline kit, with stand-ins for the packages: what is packed, and that it
installs where there is no network.

Not covered here: the real packages (gigabytes); `make offline-kit` is run by
hand before a release.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import lazy_loader
import pytest
from packaging.version import Version

from book.course import offline
from book.course.__main__ import main
from book.course.assignments import CourseError

HERE = "{}.{}".format(*sys.version_info)


def stand_in(folder: Path, name: str, version: str) -> None:
    """A wheel of nothing, but for the one package that `import pltutorial` needs."""
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{stem}.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        )
        wheel.writestr(
            f"{stem}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
        if name.replace("-", "_") == "lazy_loader":
            (place,) = lazy_loader.__path__
            for path in Path(place).glob("*.py"):
                wheel.write(path, f"lazy_loader/{path.name}")


def pinned(platform: str, version: str = HERE) -> list[str]:
    values = {"python_version": version, "python_full_version": f"{version}.0"}
    values.update(platform_machine="x86_64", extra="")
    return offline.closure({**offline.SYSTEMS[platform], **values})


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for requirement in {
        one
        for system in offline.SYSTEMS
        for version in (HERE, "3.12", "3.13")
        for one in pinned(system, version)
    }:
        stand_in(folder, *requirement.split("=="))
    return folder


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text("<title>The book</title>")
    monkeypatch.setattr(offline, "built_site", lambda: folder)


def test_kit_installs_without_a_network(wheels, tmp_path):
    kit = offline.make_kit(tmp_path / "kit", wheels=wheels)
    assert (kit / "book" / "index.html").exists()
    assert len(list((kit / "notebooks").glob("0*.ipynb"))) == 9
    assert "raise NotImplementedError" in (
        kit / "notebooks/01_pixel_loss.ipynb"
    ).read_text(encoding="utf-8")
    assert b"\r\n" in (kit / "install.bat").read_bytes()
    shutil.move(kit, tmp_path / "a room")  # it works wherever it is copied to
    alone = ["unshare", "--map-root-user", "--net"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*alone, "true"], capture_output=True).returncode
    ):
        alone = []  # no such thing here: pip is told to ask no index in any case
    command = [*alone, "sh", str(tmp_path / "a room" / "install.sh")]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
    )
    assert ran.returncode == 0, ran.stderr
    assert "sh start.sh" in ran.stdout
    python = tmp_path / "a room" / "venv" / "bin" / "python"
    code = (
        "import pathlib, pltutorial; here = pathlib.Path(pltutorial.__file__).parent; "
        "weights = here / 'assets' / 'vgg16_features_fp16.safetensors'; "
        "print(pltutorial.__version__, weights.exists())"
    )
    printed = subprocess.run(
        [python, "-I", "-c", code], check=True, capture_output=True, text=True
    ).stdout
    version, there = printed.split()
    assert (Version(version).release[:2], there) == ((0, 1), "True")


def test_install_refuses_another_python(tmp_path):
    script = tmp_path / "install.sh"
    script.write_text(offline.INSTALL_SH.replace("@VERSION@", "3.99"))
    command = ["sh", str(script)]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: Python 3.99 is needed")
    assert not (tmp_path / "venv").exists()


def own_stand_in(folder: Path) -> Path:
    stand_in(folder, "pltutorial", "0.1.0")
    return folder / "pltutorial-0.1.0-py3-none-any.whl"


def test_kit_for_another_platform(wheels, tmp_path, monkeypatch):
    monkeypatch.setattr(offline, "_own_wheel", own_stand_in)
    kit = offline.make_kit(
        tmp_path / "kit", platform="win_amd64", wheels=wheels, version="3.12"
    )
    names = {path.name.split("-")[0] for path in (kit / "wheels").iterdir()}
    assert {"pltutorial", "torch", "jupyterlab", "colorama"} <= names
    assert not any(name.startswith("nvidia") for name in names)
    assert "py -3.12" in (kit / "install.bat").read_text()


def test_kit_for_another_python(wheels, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(offline, "_own_wheel", own_stand_in)
    monkeypatch.setattr(offline, "_pip", lambda *arguments: asked.append(arguments))
    kit = offline.make_kit(tmp_path / "kit", version="3.99")
    (command,) = asked
    assert command[command.index("--python-version") + 1] == "3.99"
    assert "--platform" not in command
    assert any(part.startswith("torch==") for part in command)
    assert "PYTHON:-python3" in (kit / "install.sh").read_text()
    assert "Python 3.99 is needed" in (kit / "install.sh").read_text()


def test_the_command_asks_for_the_kit(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(offline, "make_kit", lambda *given: asked.append(given))
    assert main(["offline-kit", "--to", str(tmp_path)]) == 0
    given = ["--platform", "win_amd64", "--python", "3.12", "--wheels", str(tmp_path)]
    assert main(["offline-kit", "--to", str(tmp_path), *given]) == 0
    assert asked == [
        (tmp_path, "", None, ""),
        (tmp_path, "win_amd64", tmp_path, "3.12"),
    ]


def test_packages_of_each_platform():
    linux, windows, apple = map(pinned, ("manylinux", "win", "macosx"))
    assert any(one.startswith("nvidia-") for one in linux)
    assert any(one.startswith("pywinpty==") for one in windows)
    assert any(one.startswith("appnope==") for one in apple)
    # not of the book
    assert not any(one.startswith(("pytest==", "av==")) for one in linux)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"platform": "amiga"}, "'amiga' is unknown"),
        ({"version": "three"}, "'three' is no version"),
        ({"platform": "win_amd64", "wheels": Path("nowhere")}, "cannot be had"),
    ],
)
def test_what_cannot_be_packed_leaves_no_half_kit(
    settings, words, tmp_path, monkeypatch
):
    monkeypatch.setattr(offline, "_own_wheel", own_stand_in)
    with pytest.raises(CourseError, match=words):
        offline.make_kit(tmp_path / "kit", **settings)
    assert not (tmp_path / "kit").exists()
