"""The repository's address stands in pyproject.toml, [project.urls]; `python
book/address.py` carries it to its copies.

The site's pages and settings get it while they are staged. What is read without a
build - the chapters' first cells, README, CITATION.cff - needs copies; a test holds
them equal, and this command rewrites them.
"""

from __future__ import annotations

import stopping  # noqa: F401 - first: Ctrl-C is one sentence

# isort: split
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What comes before OWNER/NAME where an address is a copy of ours; other projects'
# addresses look otherwise.
PLACES = re.compile(
    r"((?:git\+https://github\.com"
    r"|raw\.githubusercontent\.com"
    r"|mybinder\.org/v2/gh"
    r"|colab\.research\.google\.com/github"
    r"|repository-code: https://github\.com"
    r"|git clone https://github\.com)/)"
    r"([\w-]+/[\w-]+)"
)


def repository() -> str:
    """The address of the repository, without a slash at its end."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    return project["urls"]["Repository"].rstrip("/")


def slug() -> str:
    """OWNER/NAME."""
    return repository().removeprefix("https://github.com/")


def copies() -> list[Path]:
    """The files that hold a copy."""
    return [
        ROOT / "README.md",
        ROOT / "CITATION.cff",
        *sorted((ROOT / "notebooks").glob("*.ipynb")),
    ]


def main() -> None:
    """Rewrite what differs."""
    for path in copies():
        old = path.read_text(encoding="utf-8")
        new = PLACES.sub(rf"\g<1>{slug()}", old)
        if new != old:
            path.write_text(new, encoding="utf-8")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
