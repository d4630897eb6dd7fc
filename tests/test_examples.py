"""The examples in the docstrings run, and print what they say, on any processor."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest
import torch
import torchvision.models  # noqa: F401 not first while CUDA is hidden, below

import pltutorial

ROOT = Path(__file__).resolve().parent.parent
FIRST_MET = """
    LossNetwork Encoder
    PerceptualLoss feature_loss gram_matrix pixel_loss style_loss total_variation
    optimize_image reconstruct_features reconstruct_style transfer_style
    bundled bundled_names read_image resize write_image
    psnr ssim y_channel perceptual_distance
    add_noise crop_to_multiple downscale random_holes to_8_bits
    DeepSimLoss kl_divergence
    TransformNet FastTransformNet save_network blend_networks
    load_style stylize load_restorer upscale denoise inpaint encode invert
    Pictures train show curves
"""


class Finder(doctest.DocTestFinder):
    """It finds what a decorator has wrapped too, such as the checks of exercises."""

    def _from_module(self, module, object):
        return getattr(object, "__module__", None) == module.__name__


def examples() -> list[doctest.DocTest]:
    """Those of every module of the package that has any."""
    found = []
    for path in sorted((ROOT / "pltutorial").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        written = len(re.findall(r"^ +>>> ", text, re.MULTILINE))
        if written:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            module = importlib.import_module(name.removesuffix(".__init__"))
            public = {name: getattr(pltutorial, name) for name in pltutorial.__all__}
            names = {**public, **vars(module), "torch": torch}
            here = Finder(exclude_empty=True).find(module, globs=names)
            assert sum(len(one.examples) for one in here) == written, path.name
            found += [example for example in here if example.examples]
    return found


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_example_prints_what_it_says(example, monkeypatch, tmp_path):
    """Examples show tensors of the CPU, which is what `best_device` takes where
    it is all there is.
    """
    importlib.import_module("torch._dynamo")  # it looks into these two at its import
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        runner.run(example, out=said.append)
    assert not runner.failures, "".join(said)
    assert runner.tries == len(example.examples)


@pytest.mark.parametrize("name", FIRST_MET.split())
def test_what_a_reader_meets_first_has_an_example(name):
    assert ">>> " in getattr(pltutorial, name).__doc__
