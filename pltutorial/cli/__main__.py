"""``python -m pltutorial.cli``, the same as ``python -m pltutorial``."""

from .app import main

main()
