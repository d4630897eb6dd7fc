"""The published workflows, the recipe and the containers, as far as a machine without
GitHub can check them; `python tests/test_workflows.py` runs the steps of
platforms.yml here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> list[dict]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_is_sound(path):
    """What each step uses is pinned, what it runs is a shell's, and what it names in
    the repository is there.
    """
    workflow = read(path)
    assert set(workflow) - {True} <= {  # YAML reads `on` as true
        "name",
        "permissions",
        "concurrency",
        "jobs",
    }
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        needed = job.get("needs", [])
        needed = {needed} if isinstance(needed, str) else set(needed)
        assert needed <= set(workflow["jobs"])
    for step in steps(path):
        assert ("uses" in step) != ("run" in step)
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w/-]+@v\d+\.\d+\.\d+", step["uses"])
            continue
        plain = re.sub(r"\$\{\{.*?\}\}", "x", step["run"])
        assert subprocess.run(["bash", "-n", "-c", plain]).returncode == 0
        for named in re.findall(r"(?:tests|data|book|benchmarks)/[\w./-]+", plain):
            assert (ROOT / named).exists(), f"{path.name} names {named}"
        for target in re.findall(r"^\s*make ([\w-]+)", plain, re.MULTILINE):
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_system_and_python_that_is_promised_is_tried():
    matrix = read(ROOT / ".github/workflows/platforms.yml")["jobs"]["test"]["strategy"]
    promised = {
        line.rpartition(" ")[2]
        for line in PROJECT["classifiers"]
        if re.search(r"Python :: 3\.\d+$", line)
    }
    assert set(matrix["matrix"]["python"]) == promised
    systems = {name.partition("-")[0] for name in matrix["matrix"]["os"]}
    assert systems == {"ubuntu", "macos", "windows"}


def test_only_a_tag_is_published_and_no_token_is_stored():
    release = read(ROOT / ".github/workflows/release.yml")
    publish = release["jobs"]["publish"]
    assert publish["if"] == "github.ref_type == 'tag'"
    assert publish["permissions"]["id-token"] == "write"
    text = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    assert "secrets." not in text


def test_the_recipe_asks_for_what_the_package_asks_for():
    text = (ROOT / ".github/conda-forge/recipe.yaml").read_text(encoding="utf-8")
    recipe = yaml.safe_load(text)
    other = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    extras = PROJECT["optional-dependencies"]
    wanted = {
        f"{other.get(one.name, one.name)} {one.specifier}"
        for one in map(
            Requirement,
            [*PROJECT["dependencies"], *extras["cli"], *extras["notebook"]],
        )
    }
    least = "${{ python_min }}"
    assert f">={recipe['context']['python_min']}" == PROJECT["requires-python"]
    wanted |= {f"python >={least}", "torchvision >=0.21"}
    assert set(recipe["requirements"]["run"]) == wanted
    assert f"python {least}.*" in recipe["requirements"]["host"]
    assert recipe["tests"][0]["python"]["python_version"] == [f"{least}.*", "*"]
    assert recipe["build"]["python"]["entry_points"] == [
        f"{name} = {place}" for name, place in PROJECT["scripts"].items()
    ]


def test_containers_name_what_is_there():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (extras,) = re.findall(r"EXTRAS=([\w,]+)", dockerfile)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    assert "USER reader" in dockerfile
    for path in (ROOT / ".devcontainer").rglob("devcontainer.json"):
        container = json.loads(path.read_text(encoding="utf-8"))
        assert (path.parent / container["build"]["dockerfile"]).resolve() == (
            ROOT / "Dockerfile"
        )
        assert (path.parent / container["build"]["context"]).resolve() == ROOT
        assert ("--gpus" in container.get("runArgs", [])) == (
            "CUDA" in container["name"]
        )


if __name__ == "__main__":
    for step in steps(ROOT / ".github/workflows/platforms.yml"):
        if "run" in step and "pip install" not in step["run"]:
            print(f"$ {step['run']}", flush=True)
            command = step["run"].replace("python ", f"{sys.executable} ")
            subprocess.run(["bash", "-eo", "pipefail", "-c", command], check=True)
