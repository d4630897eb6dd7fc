"""The page on backbones has the table of its record, and the record is of what its
command measures.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
benchmark = importlib.import_module("benchmarks.backbones")
sys.path.pop(0)

RECORD = json.loads(benchmark.RECORD.read_text(encoding="utf-8"))
PAGE = benchmark.PAGE.read_text(encoding="utf-8")


def test_the_page_has_the_record_s_table():
    assert benchmark.filled(PAGE, RECORD) == PAGE
    kept = [(row["backbone"], row["layers"], row["good for"]) for row in RECORD["rows"]]
    assert kept == [
        (name, list(layers), use) for name, _, layers, use in benchmark.ROWS
    ]
    for row in RECORD["rows"]:
        assert len(row["seconds"]) == benchmark.TURNS
        assert row["milliseconds"] == pytest.approx(1000 * min(row["seconds"]), abs=0.5)


def test_its_layers_are_there():
    """Of the networks that need no timm; make peers tries timm's."""
    tried = 0
    for _, make, layers, _ in benchmark.ROWS:
        try:
            network = make()
        except ImportError:
            continue
        tried += 1
        features = network(torch.rand(1, 3, 64, 64), layers)
        assert all(feature.ndim == 4 for feature in features.values())
    assert tried >= 4


def test_its_example_runs():
    timm = pytest.importorskip("timm")
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert timm.__version__
    image = torch.rand(1, 3, 56, 56)
    names = {"output": image.clone().requires_grad_(), "picture": image.flip(-1)}
    exec(code.replace("pretrained=True", "pretrained=False"), names)
    assert names["output"].grad.abs().sum() > 0
