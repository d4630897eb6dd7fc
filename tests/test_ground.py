"""The ground: requirements in step, a whole package, and the words around the code."""

from __future__ import annotations

import ast
import csv
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml
from notebook_guard import code_cells, tree_of
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import pltutorial

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
EXTRAS = PROJECT["optional-dependencies"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
TARGETS = [
    "setup",
    "book",
    "site",
    "lab",
    "test",
    "execute",
    "times",
    "bench",
    "clean",
    "lock",
    "lint",
    "slow",
    "portable",
]
PYTHONS = [
    (python, system)
    for python in ("3.11", "3.12", "3.13")
    for system in ("linux", "darwin", "win32")
]


def words(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


# --- requirements ---------------------------------------------------------------------


def locked(python: str, system: str) -> dict[str, str]:
    """Name -> version of what the lock file means for one Python on one system."""
    platform = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[system]
    place = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": system,
    }
    place |= {"platform_system": platform, "platform_machine": "x86_64", "extra": ""}
    place |= {"os_name": "nt" if system == "win32" else "posix"}
    found: dict[str, str] = {}
    for line in LOCK.splitlines():
        if not line or line.startswith("#"):
            continue
        requirement = Requirement(line)
        (exact,) = requirement.specifier
        assert exact.operator == "==", line
        if requirement.marker is None or requirement.marker.evaluate(place):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{name} twice for Python {python} on {system}"
            found[name] = exact.version
    return found


@pytest.mark.parametrize(("python", "system"), PYTHONS)
def test_lock_holds_what_the_project_asks_for(python, system):
    versions = locked(python, system)
    for text in [
        *PROJECT["dependencies"],
        *(text for extra in EXTRAS.values() for text in extra),
    ]:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if name == "pltutorial":  # extras of its own
            assert requirement.extras <= EXTRAS.keys()
            continue
        assert name in versions, f"{name} is missing: make lock"
        assert requirement.specifier.contains(versions[name], prereleases=True), (
            f"{text}: make lock"
        )


def test_lock_names_no_place():
    assert re.findall(r"https?:|file:|index-url|find-links|--hash|@ ", LOCK) == []


def test_lock_knows_each_system():
    assert "nvidia-cudnn-cu13" in locked(
        "3.12", "linux"
    ) or "nvidia-cudnn-cu12" in locked("3.12", "linux")
    assert not [name for name in locked("3.12", "darwin") if name.startswith("nvidia")]
    assert "pywinpty" in locked("3.12", "win32")
    assert "pywinpty" not in locked("3.12", "linux")


def test_conda_environment_is_in_step():
    environment = yaml.safe_load(words("environment.yml"))
    plain = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [
        entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)
    ]
    assert environment["name"] == PROJECT["name"]
    assert plain == [f"python{PROJECT['requires-python']}", "pip"]
    assert "--constraint requirements.lock" in pip
    (editable,) = [
        re.fullmatch(r"--editable \.\[(.*)\]", line)
        for line in pip
        if "--editable" in line
    ]
    # node is asked for where a machine has none, the others by book
    assert set(editable[1].split(",")) == set(EXTRAS) - {"node", "cli", "notebook"}
    assert f"\nEXTRAS ?= {editable[1]}\n" in words("Makefile")
    assert f'-e ".[{editable[1]}]"' in words("README.md")


def test_python_versions_agree():
    assert SpecifierSet(PROJECT["requires-python"]) == SpecifierSet(">=3.11")
    assert "sys.version_info >= (3, 11)" in words("Makefile")
    assert "Python 3.11 or newer" in words("README.md")


def imported(tree: ast.AST) -> set[str]:
    """The packages that the nodes of a tree import, by their names in an index."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    aliases = {"pil": "pillow", "yaml": "pyyaml", "skimage": "scikit-image"}
    tops = {canonicalize_name(name.split(".")[0]) for name in names}
    return {aliases.get(name, name) for name in tops}


def test_every_import_of_the_package_is_required():
    """What an extra brings is imported within functions only, where its
    absence gives a sentence.
    """
    known = {
        canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]
    }
    known |= {"pltutorial", *map(canonicalize_name, sys.stdlib_module_names)}
    more = {
        canonicalize_name(Requirement(text).name)
        for name in ("book", "cli", "export", "metrics", "notebook", "train", "video")
        for text in EXTRAS[name]
    }
    for path in (ROOT / "pltutorial").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert imported(tree) <= known | more, path.name
        functions = (ast.FunctionDef, ast.ClassDef)
        outside = ast.Module(
            [node for node in tree.body if not isinstance(node, functions)], []
        )
        if path.parent.name == "onnx" and path.name in ("graph.py", "networks.py"):
            # they are about nothing else, and are imported within functions only, as
            # the next line asks
            continue
        # whose main() asks for it
        cli = {"typer"} if path.parent.name == "cli" else set()
        assert imported(outside) <= known | cli, path.name
        writers = (
            r"\.(?:graph|networks)"
            if path.parent.name == "onnx"
            else r"\S*onnx\.(?:graph|networks)"
        )
        assert not re.search(
            rf"^(?:from|import) {writers}", path.read_text(encoding="utf-8"), re.M
        ), path.name


def test_version_is_what_was_installed():
    assert Version(pltutorial.__version__) == Version(metadata.version("pltutorial"))


# --- make and CI ----------------------------------------------------------------------

make = pytest.mark.skipif(
    shutil.which("make") is None, reason="make is not installed on this machine"
)


@make
@pytest.mark.parametrize("target", TARGETS)
def test_make_knows(target):
    command = ["make", "--dry-run", "--always-make", target]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


@make
def test_old_python_is_refused_in_one_sentence(tmp_path):
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "old python"
    pretend = "import sys; sys.version_info = (3, 9, 1); exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{pretend}" "$2"\n')
    old.chmod(0o755)
    command = ["make", "setup", "PYTHON='./old python'"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode != 0
    assert "error: Python 3.9 was found and 3.11 or newer is needed" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / ".venv").exists()


LARGEST_TREE = 100_000_000  # bytes, of all files that a clone brings


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone")
def test_tracked_files_are_small_enough():
    run = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in run.stdout.split("\0") if name]
    assert sum(path.stat().st_size for path in files if path.is_file()) <= LARGEST_TREE


def test_ci_script_is_sound():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert "PLTUTORIAL_REQUIRE_BROWSER=1" in script.read_text()
    assert [
        line for line in script.read_text().splitlines() if line.startswith("make ")
    ] == [
        "make setup",
        "make site",
        "make test",
        "make slow",
    ]
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


# --- the wheel ------------------------------------------------------------------------


def test_wheel_holds_weights_and_pictures(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-q",
    ]
    run = subprocess.run(
        [*command, "-w", str(tmp_path), str(ROOT)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    (wheel,) = tmp_path.glob("pltutorial-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        pictures = [
            row["file"]
            for row in csv.DictReader(words("data/SOURCES.csv").splitlines())
        ]
        assert {
            f"pltutorial/data/{name}" for name in [*pictures, "SOURCES.csv"]
        } <= names
        modules = (ROOT / "pltutorial").rglob("*.py")
        assert {path.relative_to(ROOT).as_posix() for path in modules} <= names
        assert {"pltutorial/__init__.pyi", "pltutorial/py.typed"} <= names
        weights = "assets/vgg16_features_fp16.safetensors"
        assert (
            archive.read(f"pltutorial/{weights}")
            == (ROOT / "pltutorial" / weights).read_bytes()
        )
        for folder, inside in (
            ("pltutorial/assets", "pltutorial/assets"),
            ("data", "pltutorial/data"),
        ):
            # networks, recipes, emoji, ...
            files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
            assert {
                f"{inside}/{path.relative_to(ROOT / folder).as_posix()}"
                for path in files
            } <= names
        licences = {name.rsplit("/", 1)[1] for name in names if "/licenses/" in name}
        assert licences == {"LICENSE", "LICENSE-TEXT", "NOTICE"}
        (head,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        said = archive.read(head).decode()
        assert "\nLicense-Expression: MIT AND CC-BY-4.0 AND OFL-1.1\n" in said
        assert not [
            name for name in names if name.startswith(("tests", "notebooks", "book"))
        ]


# --- words ----------------------------------------------------------------------------


def home(name: str) -> str:
    """The module that a public name is made in, as the stub of the package says."""
    for node in ast.parse(words("pltutorial/__init__.pyi")).body:
        if isinstance(node, ast.ImportFrom) and name in [
            alias.name for alias in node.names
        ]:
            return f"pltutorial.{node.module}"
    raise AssertionError(f"{name} is not in the stub")


def docstring(name: str) -> str:
    """The documentation of a public name; a constant's is the string
    after its assignment.
    """
    value = getattr(pltutorial, name)
    if callable(value):
        return inspect.getdoc(value) or ""
    tree = ast.parse(inspect.getsource(importlib.import_module(home(name))))
    for node, following in zip(tree.body, tree.body[1:], strict=False):
        named = (
            isinstance(node, ast.Assign)
            and getattr(node.targets[0], "id", None) == name
        )
        if named and isinstance(following, ast.Expr):
            return str(ast.literal_eval(following.value))
    return ""


@pytest.mark.parametrize("name", pltutorial.__all__)
def test_public_name_is_taught(name):
    """Its docstring names a chapter, the chapter is there, and its
    code uses the name.
    """
    said = re.search(r"Taught in chapter (\d+)\.", docstring(name))
    assert said, f"{name} does not say in which chapter it is taught"
    (path,) = (ROOT / "notebooks").glob(f"{int(said[1]):02d}_*.ipynb")
    used = set()
    for _, cell in code_cells(nbformat.read(path, as_version=4)):
        for node in ast.walk(tree_of(cell)):
            used.add(getattr(node, "id", None) or getattr(node, "attr", None))
    assert name in used, f"{path.name} imports at most, and never uses, {name}"


@pytest.mark.parametrize("name", pltutorial.__all__)
def test_public_name_has_an_entry_in_the_reference(name):
    page = words("book/api.md")
    assert len(re.findall(rf"^### {name}$", page, re.MULTILINE)) == 1
    (module,) = re.findall(
        rf"^\.\. auto\w+:: (pltutorial\.[\w.]+)\.{name}$", page, re.MULTILINE
    )
    assert getattr(importlib.import_module(module), name) is getattr(pltutorial, name)


@pytest.mark.parametrize(
    "path",
    sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")),
    ids=lambda p: p.stem,
)
def test_chapter_links_the_reference(path):
    prose = "\n".join(
        cell.source
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown"
    )
    assert re.search(r"\]\(\.\./book/api\.md#\w+\)", prose)


def examples(path: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", words(path), re.MULTILINE | re.DOTALL)


def test_front_page_example_runs_and_learns():
    (code,) = examples("book/index.md")
    losses = []
    assert "    terms.total.backward()\n" in code
    watched = code.replace(
        "    terms.total.backward()\n", "    terms.total.backward(); watch(terms)\n"
    )
    scope = {"watch": lambda terms: losses.append(terms.total.item())}
    exec(compile(watched, "book/index.md", "exec"), scope)
    assert len(losses) == 10
    assert losses[-1] < losses[0]
    assert set(scope["terms"]) == {"content/relu2_2", "pixel"}


def test_readme_example_runs():
    import torch

    (code,) = examples("README.md")
    output = torch.rand(1, 3, 32, 32, requires_grad=True)
    exec(
        compile(code, "README.md", "exec"),
        {"output": output, "target": torch.rand(1, 3, 32, 32)},
    )
    assert output.grad.abs().sum() > 0


@pytest.mark.parametrize("page", ["README.md", "book/index.md"])
def test_named_files_exist(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", words(page)):
        assert ((ROOT / page).parent / target).exists(), f"{page} names {target}"


def test_notice_names_every_picture_that_asks_for_it():
    notice = words("NOTICE")
    for row in csv.DictReader(words("data/SOURCES.csv").splitlines()):
        assert (ROOT / "data" / row["file"]).exists()
        if row["licence"].startswith("CC-BY"):
            (line,) = [
                line for line in notice.splitlines() if f"data/{row['file']}:" in line
            ]
            assert row["author"] in line
            assert row["licence"].replace("-", "").replace(".", "") in re.sub(
                r"[ .-]", "", line
            )
