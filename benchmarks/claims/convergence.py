"""From one start, two losses: how near by step, and how near by second."""

from __future__ import annotations

import torch

from pltutorial import downscale

from .training import (
    FACTOR,
    SEEDS,
    by_seed,
    features,
    fresh,
    judged,
    photographs,
    pixels,
    trained,
)

STEPS = {"pixels": 2000, "pixels, short": 200, "relu2_2": 200}
POINTS = 6  # at which each training is judged, close together at its beginning


def convergence() -> dict:
    """Each arm has its own length, and its rate falls to nothing over it, as anybody
    would train: the long one of pixels takes about the seconds of features.
    """
    target = photographs()[..., 32:160, 32:160]
    small, rows = downscale(target, FACTOR), []
    for name, steps in STEPS.items():
        found = []
        for seed in SEEDS:
            network = fresh(seed)
            loss = features(name) if name.startswith("relu") else pixels
            at = {round(steps * (n / POINTS) ** 2) for n in range(1, POINTS + 1)}
            watched: list[dict] = []

            def watch(step: int, seconds: float, net=network, seen=watched, at=at):
                if step in at:
                    with torch.no_grad():
                        output = net(small).clamp(0, 1)
                    seen.append(
                        {"step": step, "seconds": round(seconds, 2)}
                        | judged(output, target)
                    )

            trained(network, loss, steps, seed, rate=2e-3, watch=watch)
            found.append(by_seed(watched))
        rows.append({"loss": name} | by_seed(found))
        print(name, [one[-1] for one in rows[-1]["distance"]], flush=True)
    return {"rows": rows}
