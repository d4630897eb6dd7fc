"""The command ``pltutorial``: options, the commands on pictures, training, and
what a class needs.
"""

import sys

from ..errors import InputError, needed


def main() -> None:
    """Run the command that stands in ``sys.argv``."""
    try:
        needed("typer", "the commands", "cli")
    except InputError as problem:
        sys.exit(f"error: {problem}")
    from .app import main

    main()


__all__ = ["main"]
