"""What ``pltutorial doctor`` looks at: whether this machine is ready for the book, and
how to mend what is not.

Nothing heavy loads with this module, and nothing here needs torch, so that it can say
that torch is missing.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .. import __version__
from ..errors import InputError
from ..files import exists

# Of the bundled pagoda against the pagoda mirrored left to right, 128 px,
# in float32 on a CPU.
REFERENCE = {
    "pixel loss": 0.150089,
    "feature loss, relu3_3": 449878,
    "Gram matrix, relu2_2, trace": 256268,
    "style loss, relu4_3": 3.09545e6,
    "total variation": 210.424,
}
WEIGHTS = Path(__file__).parents[1] / "assets" / "vgg16_features_fp16.safetensors"
WEIGHTS_SHA256 = (
    # vgg.py's, read without torch
    "3d39eee2403da518391aba7ed3a5e9a008cefabfda356e02374b607f148df137"
)
# what a chapter takes at most, and what pictures and runs of a course take
MEMORY_GB, DISK_GB = 4.0, 1.0
_LAB = ("jupyterlab", "ipykernel", "nbclient")
_INSTALL = (
    "run `make setup` in the course's folder, or pip install -c "
    "requirements.lock -e '.[book]'"
)


class Finding(NamedTuple):
    """One line of the report: `state` is ok, warn or fix; `mend` says what to do
    about the last two.
    """

    state: str
    about: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return (
            f"{self.state:<5} {self.about}: "
            f"{self.what}{f' -> {self.mend}' if self.mend else ''}"
        )


def examine() -> Iterator[Finding]:
    """All findings, one after the other; a look that itself fails is a warning."""
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        _packages,
        _memory,
        _disk,
        _write_access,
        _processor,
        _weights,
        _numbers,
        _lab,
        _record,
        _niceties,
    )
    for look in looks:
        try:
            yield from look()
        except Exception as problem:  # a report of what is broken must not break
            about = look.__name__.strip("_").replace("_", " ")
            yield Finding(
                "warn",
                about,
                f"could not be looked at ({type(problem).__name__}: {problem})",
            )


def _python() -> Iterator[Finding]:
    version = (
        f"{platform.python_version()} on {platform.system()} {platform.machine()}, "
        f"pltutorial {__version__}"
    )
    if sys.maxsize < 2**32:
        yield Finding(
            "fix",
            "Python",
            f"{version}, 32 bits",
            "install the 64-bit Python; PyTorch has no other",
        )
    else:
        where = "" if sys.prefix != sys.base_prefix else ", no virtual environment"
        yield Finding("ok", "Python", version + where)


def _packages() -> Iterator[Finding]:
    found, troubles = [], []
    for name, least in sorted(_least_versions().items()):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            troubles.append(f"{name} is missing")
            continue
        if _number(version) < _number(least):
            troubles.append(f"{name} is {version} and must be {least} or newer")
        elif name in ("torch", "torchvision", "numpy"):
            found.append(f"{name} {version}")
    if not troubles:
        try:
            import torch  # noqa: F401  (a broken library shows only now)
        except (ImportError, OSError) as problem:
            troubles.append(f"torch does not load ({problem})")
    if troubles:
        yield Finding("fix", "packages", ", ".join(troubles), _INSTALL)
    else:
        yield Finding("ok", "packages", ", ".join(sorted(found, reverse=True)))


def _least_versions() -> dict[str, str]:
    """Least versions of what the package needs, by name, as its own metadata says."""
    versions = {}
    for line in importlib.metadata.requires("pltutorial") or ():
        wanted = "extra ==" not in line or re.search(r"extra == .(cli|notebook)", line)
        if wanted and (match := re.match(r"([\w.-]+)\s*(?:>=\s*([\d.]+))?", line)):
            versions[match[1]] = match[2] or "0"
    return versions


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def _memory() -> Iterator[Finding]:
    total, free = memory()
    what = f"{free:.1f} of {total:.1f} GB free"
    if total < MEMORY_GB:
        yield Finding(
            "warn",
            "memory",
            what,
            f"a chapter takes up to {MEMORY_GB:g} GB; use smaller sizes",
        )
    elif free < MEMORY_GB:
        yield Finding(
            "warn",
            "memory",
            what,
            f"a chapter takes up to {MEMORY_GB:g} GB; close other programs",
        )
    else:
        yield Finding("ok", "memory", what)


def memory() -> tuple[float, float]:
    """Memory of this machine in GB: all, and what a program can still have."""
    from .. import memory

    return memory.total() / 1e9, memory.free() / 1e9


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    if free >= DISK_GB:
        yield Finding("ok", "disk", f"{free:.1f} GB free")
    else:
        state = "fix" if free < 0.1 else "warn"
        yield Finding(
            state,
            "disk",
            f"{free:.2f} GB free",
            f"free space until there is {DISK_GB:g} GB",
        )


def _write_access() -> Iterator[Finding]:
    for about, folder in (
        ("this folder", Path.cwd()),
        ("temporary files", Path(tempfile.gettempdir())),
    ):
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".pltutorial-"):
                pass
        except OSError as problem:
            mend = "work in a folder of your own, such as your home folder"
            yield Finding(
                "fix",
                about,
                f"{str(folder)!r} cannot be written to ({problem.strerror})",
                mend,
            )
            return
    yield Finding("ok", "write access", str(Path.cwd()))


def _processor() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        yield Finding(
            "warn",
            "processor",
            f"{os.cpu_count()} cores; the rest is seen when torch is installed",
        )
        return
    import torch

    from ..device import best_device, has_fast_bfloat16

    device = best_device()
    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores"
    half = "with" if has_fast_bfloat16(torch.device("cpu")) else "without"
    gpu = (
        f"{torch.cuda.get_device_name()}"
        if device.type == "cuda"
        else "Apple's"
        if device.type == "mps"
        else "none"
    )
    what = f"{threads}, {half} bfloat16, GPU: {gpu}"
    mend = ""
    if gpu == "none" and torch.get_num_threads() * 2 < (os.cpu_count() or 1):
        mend = "few threads; unset OMP_NUM_THREADS to use all cores"
    yield Finding("warn" if mend else "ok", "processor", what, mend)


def _weights() -> Iterator[Finding]:
    mend = "get the course anew: the file must have 29,431,664 bytes"
    if not WEIGHTS.exists():
        yield Finding("fix", "weights", f"{WEIGHTS.name} is missing", mend)
    elif hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        yield Finding(
            "fix",
            "weights",
            f"{WEIGHTS.name} is damaged, {WEIGHTS.stat().st_size:,} bytes",
            mend,
        )
    else:
        yield Finding("ok", "weights", "VGG-16 is whole")


def reference_numbers(device=None, precision: str = "float32") -> dict[str, float]:
    """The five numbers that are compared with :data:`REFERENCE`."""
    from ..images import bundled, read_image
    from ..losses import (
        feature_loss,
        gram_matrix,
        pixel_loss,
        style_loss,
        total_variation,
    )
    from ..vgg import LossNetwork

    network = LossNetwork(precision=precision, device=device)
    image = read_image(bundled("content/pagoda"), 128).to(network.mean.device)
    mirrored = image.flip(-1)
    layers = ("relu2_2", "relu3_3", "relu4_3")
    one, two = network(image, layers), network(mirrored, layers)
    values = (
        pixel_loss(image, mirrored),
        feature_loss(one["relu3_3"], two["relu3_3"]),
        gram_matrix(one["relu2_2"])[0].trace(),
        style_loss(one["relu4_3"], two["relu4_3"]),
        total_variation(image),
    )
    return dict(zip(REFERENCE, map(float, values), strict=True))


def _numbers() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None or not WEIGHTS.exists():
        yield Finding("warn", "numbers", "not computed, see above")
        return
    from ..errors import InputError

    mend = "install the package and torch again"
    try:
        computed = reference_numbers()
    except (InputError, RuntimeError) as problem:
        yield Finding("fix", "numbers", f"not computed: {problem}", mend)
        return
    # TF32 and other processors round differently.
    wrong = [
        f"{name} is {value:.5g}, expected {REFERENCE[name]:.5g}"
        for name, value in computed.items()
        if not abs(value - REFERENCE[name]) <= 2e-3 * abs(REFERENCE[name])
    ]
    if wrong:
        yield Finding("fix", "numbers", "; ".join(wrong), mend)
    else:
        yield Finding(
            "ok", "numbers", f"{len(computed)} losses and norms are what they should be"
        )


def _lab() -> Iterator[Finding]:
    missing = [name for name in _LAB if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding("fix", "JupyterLab", f"{', '.join(missing)} missing", _INSTALL)
        return
    version = importlib.metadata.version("jupyterlab")
    from jupyter_client.kernelspec import KernelSpecManager

    specs = KernelSpecManager().find_kernel_specs()
    mend = f"{Path(sys.executable).name} -m ipykernel install --sys-prefix"
    if "python3" not in specs:
        yield Finding("fix", "JupyterLab", f"{version}, no kernel named python3", mend)
        return
    argv = json.loads(
        (Path(specs["python3"]) / "kernel.json").read_text(encoding="utf-8")
    )["argv"]
    own = os.path.normcase(sys.executable)
    # a bare `python` means the one that runs JupyterLab
    absolute = Path(argv[0]).is_absolute()
    if (
        absolute
        and os.path.normcase(argv[0]) != own
        and not os.path.samefile(argv[0], own)  # noqa: PTH121
    ):
        yield Finding(
            "warn", "JupyterLab", f"{version}, its kernel python3 is {argv[0]}", mend
        )
    else:
        yield Finding(
            "ok", "JupyterLab", f"{version}, kernels: {', '.join(sorted(specs))}"
        )


def _record() -> Iterator[Finding]:
    from ..teaching.progress import check_location

    mend = "name another file with PLTUTORIAL_PROGRESS, or `off`"
    try:
        path = check_location()
        if path is None:
            yield Finding(
                "ok",
                "your progress",
                "not recorded, PLTUTORIAL_PROGRESS switches it off",
            )
            return
        nearest = next(place for place in (path, *path.parents) if exists(place))
    except InputError as problem:
        fault = str(problem).partition("; ")[0]
        yield Finding("warn", "your progress", fault, mend)
        return
    if os.access(nearest, os.W_OK):
        yield Finding("ok", "your progress", f"is kept in {path}")
    else:
        yield Finding("warn", "your progress", f"{path} cannot be written", mend)


def _niceties() -> Iterator[Finding]:
    import webbrowser

    try:
        webbrowser.get()
    except webbrowser.Error:
        yield Finding(
            "warn",
            "browser",
            "none found",
            "open the address that JupyterLab prints in a browser",
        )
    else:
        yield Finding("ok", "browser", "found")
    spec = importlib.util.find_spec("matplotlib")
    folder = Path(spec.submodule_search_locations[0]) if spec else Path()
    # a missing matplotlib is among the packages above
    if spec and not (folder / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf").exists():
        yield Finding(
            "warn",
            "fonts",
            "those of matplotlib are missing",
            "install matplotlib again",
        )
    if shutil.which("ffmpeg") is None and importlib.util.find_spec("av") is None:
        yield Finding("ok", "optional", 'videos need pip install "pltutorial[video]"')
