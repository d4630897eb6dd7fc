"""The command ``pltutorial``: options, the commands on pictures, training, and
what a class needs.
"""

from .app import main

__all__ = ["main"]
