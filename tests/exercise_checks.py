"""What the tests of the exercises' checks share: how a wrong answer is refused, and the
faulty code that is printed.
"""

import re
from pathlib import Path

import nbformat
import torch

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def refused(check, wrong, hint, capsys, times=1):
    """A wrong answer fails whatever is drawn, and its hint is the one that fits, in the
    first line.
    """
    for _ in range(times):
        assert not check(wrong)
        said = capsys.readouterr().out
        assert said.startswith("Not yet: ")
        assert hint in said.splitlines()[0]
        assert "Correct" not in said


def faulty_code(notebook: str, label: str) -> dict:
    """What the ```python fence in the exercise of this label defines."""
    cells = nbformat.read(NOTEBOOKS / notebook, 4).cells
    (statement,) = [
        c.source
        for c in cells
        if re.search(rf"^:label: {re.escape(label)}$", c.source, re.M)
    ]
    code = re.search(r"^```python\n(.*?)^```", statement, re.M | re.S)[1]
    defined: dict = {"torch": torch}
    exec(compile(code, label, "exec"), defined)  # noqa: S102  (code of the book itself)
    return defined
