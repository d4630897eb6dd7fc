"""``python -m pltutorial.cli``, the same as ``python -m pltutorial``."""

from . import main

main()
