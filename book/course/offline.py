"""The offline kit: packages, book and notebooks in one folder that installs on a
machine without a network.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .folders import CourseError, check_clear, clear
from .notebooks import write_kind

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
# What markers of the lock ask about, for the platforms that pip names so.
SYSTEMS = {
    "win": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
    "macosx": {
        "sys_platform": "darwin",
        "platform_system": "Darwin",
        "os_name": "posix",
    },
    "manylinux": {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
    },
}
INSTALL_SH = """#!/bin/sh
# Installs the book beside this file, without a network.
cd "$(dirname "$0")" || exit 1
PYTHON="${PYTHON:-python3}"
"$PYTHON" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "@VERSION@")' \
2>/dev/null || {
  echo "error: Python @VERSION@ is needed, for which the packages here are made; \
PYTHON=/path/to/it sh install.sh" >&2
  exit 1
}
"$PYTHON" -m venv venv || { echo "error: no virtual environment could be made; install \
python@VERSION@-venv" >&2; exit 1; }
venv/bin/python -m pip install --quiet --no-index --find-links wheels \
"pltutorial[book]" || exit 1
echo "Installed. Begin with: sh start.sh"
"""
START_SH = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
exec venv/bin/python -m jupyterlab --notebook-dir=notebooks \
notebooks/01_pixel_loss.ipynb "$@"
"""
INSTALL_BAT = """@echo off
rem Installs the book beside this file, without a network.
cd /d "%~dp0"
py -@VERSION@ -c "pass" 2>nul || (echo error: Python @VERSION@ is needed, for these \
packages& exit /b 1)
py -@VERSION@ -m venv venv || exit /b 1
venv\\Scripts\\python -m pip install --quiet --no-index --find-links wheels \
"pltutorial[book]" || exit /b 1
echo Installed. Begin with: start.bat
"""
START_BAT = """@echo off
cd /d "%~dp0"
venv\\Scripts\\python -m jupyterlab --notebook-dir=notebooks \
notebooks\\01_pixel_loss.ipynb %*
"""
README = """The book of perceptual losses, for a room without a network. Made for \
Python @VERSION@ on @PLATFORM@.

Linux, macOS: sh install.sh, then sh start.sh          Windows: install.bat, then \
start.bat
The book to read: open book/index.html in a browser.   The notebooks to solve: \
notebooks/
Is all well? venv/bin/pltutorial doctor                (Windows: \
venv\\Scripts\\pltutorial doctor)
"""


def make_kit(
    target: Path, platform: str = "", wheels: Path | None = None, version: str = ""
) -> Path:
    """Pack the kit into the target folder, which is made anew.

    Args:
        target: where to.
        platform: as pip names it, such as win_amd64; this machine's without it.
        wheels: take packages from this folder only, and ask no index.
        version: Python's, such as 3.12; this one's without it.

    Raises:
        CourseError: a package cannot be had for that platform; the
            book cannot be built.
    """
    version = version or "{}.{}".format(*sys.version_info)
    if not re.fullmatch(r"3\.\d+", version):
        raise CourseError(f"Python {version!r} is no version; write 3.12")
    beside = target.with_name(target.name + ".part")
    clear(beside, "wheels")
    made = ("wheels", "install.sh", "book")
    check_clear(target, *made)
    site = built_site()
    (beside / "wheels").mkdir(parents=True)
    own = _own_wheel(beside / "wheels")
    source = ["--no-index", "--find-links", str(wheels.resolve())] if wheels else []
    if platform or version != "{}.{}".format(*sys.version_info):
        _download_for(platform, version, beside / "wheels", source)
    else:
        _pip(
            "wheel",
            "--wheel-dir",
            str(beside / "wheels"),
            *source,
            "-c",
            str(LOCK),
            f"{own}[book]",
        )
    shutil.copytree(site, beside / "book")
    write_kind("student", beside / "notebooks")
    texts = {
        "install.sh": INSTALL_SH,
        "start.sh": START_SH,
        "install.bat": INSTALL_BAT,
        "start.bat": START_BAT,
    }
    for name, text in {**texts, "README.txt": README}.items():
        text = text.replace("@VERSION@", version).replace(
            "@PLATFORM@", platform or _host()
        )
        end = "\r\n" if name.endswith((".bat", ".txt")) else "\n"
        (beside / name).write_text(text, encoding="utf-8", newline=end)
    clear(target, *made)
    beside.replace(target)
    return target


def built_site() -> Path:
    """The site of the stored chapters, built if it is not there or too old."""
    if subprocess.run(
        [sys.executable, str(ROOT / "book" / "build.py"), "site"], cwd=ROOT
    ).returncode:
        raise CourseError("the book could not be built; `make site` says why")
    return ROOT / "build" / "site" / "_build" / "html"


def _own_wheel(folder: Path) -> Path:
    options = ["--no-deps", "--quiet", "--wheel-dir", str(folder)]
    # then nothing has to be asked of an index
    here = importlib.util.find_spec("hatchling") is not None
    _pip("wheel", *options, *(["--no-build-isolation"] if here else []), str(ROOT))
    return next(folder.glob("pltutorial-*.whl"))


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        lines = [
            line for line in ran.stderr.splitlines() if line.startswith("ERROR")
        ] or ["pip failed"]
        raise CourseError(
            f"the packages cannot be had: {lines[-1].removeprefix('ERROR: ')}"
        )


def _host() -> str:
    import platform

    return f"{platform.system()} {platform.machine()}"


def _download_for(platform: str, version: str, folder: Path, source: list[str]) -> None:
    """Wheels for another platform or Python: pip would ask this machine's markers, so
    each is named with its version.
    """
    from packaging.markers import default_environment

    options = [
        "--no-deps",
        "--only-binary",
        ":all:",
        "--python-version",
        version,
        "--quiet",
    ]
    environment = {
        **default_environment(),
        "python_version": version,
        "python_full_version": f"{version}.0",
    }
    environment["extra"] = ""
    if platform:
        system = next(
            (values for start, values in SYSTEMS.items() if platform.startswith(start)),
            None,
        )
        if system is None:
            raise CourseError(
                f"the platform {platform!r} is unknown; write win_amd64, "
                "macosx_14_0_arm64 or manylinux_2_28_x86_64"
            )
        machine = next(
            name
            for name in ("arm64", "aarch64", "x86_64", "")
            if platform.endswith(name)
        )
        environment.update(system, platform_machine=machine or "AMD64")
        # An older macOS and an older glibc are older platforms of the same kind.
        options += [part for one in _older(platform) for part in ("--platform", one)]
    _pip("download", "--dest", str(folder), *options, *source, *closure(environment))


def _older(platform: str) -> list[str]:
    if found := re.fullmatch(r"macosx_(\d+)_0_(\w+)", platform):
        return [
            f"macosx_{number}_0_{found[2]}" for number in range(int(found[1]), 10, -1)
        ]
    if found := re.fullmatch(r"manylinux_2_(\d+)_(\w+)", platform):
        names = [
            f"manylinux_2_{number}_{found[2]}" for number in range(int(found[1]), 4, -1)
        ]
        return [*names, f"manylinux2014_{found[2]}"]
    return [platform]


def closure(environment: dict[str, str]) -> list[str]:
    """All packages of pltutorial[book] in an environment, name==version by the lock."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    versions = {}
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pinned = Requirement(line)
            if pinned.marker is None or pinned.marker.evaluate(environment):
                versions[canonicalize_name(pinned.name)] = str(
                    pinned.specifier
                ).removeprefix("==")
    todo, seen = [("pltutorial", frozenset({"book"}))], set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            # one that this platform does not have
            continue
        for line in lines:
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(
                marker.evaluate({**environment, "extra": extra})
                for extra in extras or {""}
            ):
                todo.append((canonicalize_name(needed.name), frozenset(needed.extras)))
    return sorted({f"{name}=={versions[name]}" for name, _ in seen if name in versions})
