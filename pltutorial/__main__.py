"""``python -m pltutorial``, which is also what ``torchrun -m`` and
``accelerate launch -m`` start.
"""

from .cli import main

main()
