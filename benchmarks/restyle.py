"""The decoders of `restyle` on pictures they never saw, into their cards:
`python -m benchmarks.restyle`.

Code and decode, with nothing changed between, by the measures of benchmarks/likeness.
"""

from __future__ import annotations

from pltutorial.networks import load_network, save_network
from pltutorial.tasks.restyle import LAYERS
from pltutorial.zoo import LIKENESS

from .likeness import SETS, bare, drawn, photographs, row


def main() -> None:
    for layer in LAYERS:
        path = LIKENESS / f"decode_{layer}.safetensors"
        network = load_network(path, "cpu")
        found = {"measured by": "benchmarks/restyle.py"}
        for where in SETS:
            target = photographs(where)
            found[f"data/{where}"] = bare(row(drawn(target, path), target))
        # the recipe's steps: the run was ended by its time
        settings = {**network.card["settings"], "steps": network.card["steps"]}
        card = {**network.card, "settings": settings, "held_out": found}
        save_network(path, network, card)
        print(layer, found)


if __name__ == "__main__":
    main()
