"""The examples in the docstrings run, and print what they say, on any processor."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import itertools
import re
from pathlib import Path

import pytest
import torch
import torchvision.models  # noqa: F401 not first while CUDA is hidden, below
from random_networks import write_trunks

import pltutorial

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = (ROOT / "book/api.md").read_text(encoding="utf-8")
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

    def find(self, module, **how):
        """What stands below a value of the module is found too."""
        found = super().find(module, **how)
        parser = doctest.DocTestParser()
        for one, below in itertools.pairwise(ast.parse(inspect.getsource(module)).body):
            match one, below:
                case (
                    ast.Assign(targets=[ast.Name(id=name)]),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    names, name = dict(how["globs"]), f"{module.__name__}.{name}"
                    place = (module.__file__, below.lineno - 1)
                    found.append(parser.get_doctest(text, names, name, *place))
        return found


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


EXAMPLES = examples()


def entries() -> list[str]:
    """What the reference has an entry for, by the name of where it is made."""
    names = []
    for kind, path in re.findall(
        r"^\.\. auto(class|function|data):: (\S+)$", REFERENCE, re.MULTILINE
    ):
        module, name = path.rsplit(".", 1)
        entry = getattr(importlib.import_module(module), name)
        names.append(path if kind == "data" else f"{entry.__module__}.{name}")
    return names


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    """A cache of torch.hub with an AlexNet and a VGG-16, whose weights are random."""
    cache = tmp_path_factory.mktemp("torch")
    write_trunks(cache)
    return cache


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_prints_what_it_says(example, trunks, monkeypatch, tmp_path):
    """Examples show tensors of the CPU, which is what `best_device` takes where
    it is all there is.
    """
    importlib.import_module("torch._dynamo")  # it looks into these two at its import
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(trunks))
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


def test_every_entry_of_the_reference_has_three_lines_that_run():
    """Statements and what they print count."""
    lines = {
        test.name: sum((one.source + one.want).count("\n") for one in test.examples)
        for test in EXAMPLES
    }
    named = entries()
    assert len(named) > 150
    assert {name: lines.get(name, 0) for name in named if lines.get(name, 0) < 3} == {}
