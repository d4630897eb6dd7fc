"""The faulty code that a debugging exercise of a chapter prints, ready to be tried by its check."""

import re
from pathlib import Path

import nbformat
import torch

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def faulty_code(notebook: str, label: str) -> dict:
    """What the ```python fence in the exercise of this label defines."""
    cells = nbformat.read(NOTEBOOKS / notebook, 4).cells
    (statement,) = [c.source for c in cells if re.search(rf"^:label: {re.escape(label)}$", c.source, re.M)]
    code = re.search(r"^```python\n(.*?)^```", statement, re.M | re.S)[1]
    defined: dict = {"torch": torch}
    exec(compile(code, label, "exec"), defined)  # noqa: S102  (code of the book itself)
    return defined
