"""A Laplacian pyramid of painters (LAPGAN) in numbers: `python -m benchmarks.pyramid
[--write]`.

Denton et al. (2015) never let a generator draw a whole picture. One draws a face of 12
pixels from 64 random numbers; one more for each doubling draws what the enlarged
picture lacks, from that picture and noise. Each is trained alone, on true small faces,
against a discriminator that is told the enlarged picture, by the adversarial loss and
nothing else. The control is one generator of as many weights, trained for as many
steps, that draws all 48 pixels from 64 random numbers. A second control has the
pyramid's levels trained with squared error in the place of the adversary, which leaves
only the smallest level to chance. Three seeds each.

Measured as in benchmarks/diffusion.py, on 600 faces a seed, beside real faces: the
whole pyramid from noise, and its levels from true faces of 12 and of 24 pixels, which
says where a pyramid loses what. Beside them stand the autoencoders that ship, with
codes from the prior.

Each part is kept in --runs and not trained again, so that the whole may be made in
pieces: --parts 2 makes at most two more and stops. An hour of one core.

    python -m benchmarks.pyramid [--runs runs/pyramid] [--parts N] [--write]
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from pltutorial import sample, zoo
from pltutorial.deepsim import DeepSimLoss
from pltutorial.device import best_device
from pltutorial.faces import load_faces
from pltutorial.images import write_whole
from pltutorial.networks import Discriminator
from pltutorial.networks.stages import ConvStage, doubling_stages, scaled_tanh
from pltutorial.teaching.games import Painter, told
from pltutorial.training.cards import processor

from .diffusion import COUNT, held_out, measured, over_seeds
from .other_player import write_strip

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "notebooks" / "records" / "pyramid.json"
STRIPS = RECORD.with_suffix("")
SEEDS, LATENT, WIDTH, BATCH = (0, 1, 2), 64, 16, 16
SIDES = (12, 24, 48)
STEPS = {12: 3000, 24: 1200, 48: 1200}
RATES, BETAS, MEAN = (2e-4, 4e-4), (0.0, 0.99), 0.998
WHOLE = 22  # width of the one generator: as many weights as the pyramid has
ARMS = ("pyramid", "squares", "whole")
SHOWN = 8


class Seed(nn.Module):
    """A small picture from random numbers: (N, 64) to (N, 3, side, side) in (0, 1)."""

    def __init__(self, side: int, width: int) -> None:
        super().__init__()
        widths = [4 * width, 2 * width, width]
        while 3 * 2 ** (len(widths) - 1) < side:
            widths.insert(0, 4 * width)
        self.first = nn.Linear(LATENT, widths[0] * 9)
        self.middle = ConvStage(widths[0], widths[0])
        self.stages = doubling_stages(widths)

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        x = F.leaky_relu(self.first(code), 0.3).unflatten(1, (-1, 3, 3))
        return scaled_tanh(self.stages(x + self.middle(x)))


class Level(nn.Module):
    """What an enlarged picture lacks, added to it: (N, 3, H, W) and noise
    (N, 1, H, W) to (N, 3, H, W).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.painter = Painter(4, width)

    def forward(self, enlarged: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        lacking = self.painter(torch.cat([enlarged, noise], 1))
        return enlarged + 2 * lacking - 1


def smaller(pictures: torch.Tensor, side: int) -> torch.Tensor:
    return F.avg_pool2d(pictures, pictures.shape[-1] // side)


def larger(pictures: torch.Tensor) -> torch.Tensor:
    return F.interpolate(pictures, scale_factor=2, mode="bilinear")


@cache
def faces(split: str, side: int) -> torch.Tensor:
    return smaller(load_faces(split).pictures, side)


def made(network: nn.Module, side: int, given: torch.Tensor | None, draw) -> tuple:
    """Pictures of a generator, and what its discriminator is told; ``given`` are the
    smaller pictures of a level, or the count for random numbers.
    """
    if isinstance(network, Seed):
        return network(torch.randn(given, LATENT, generator=draw)), None
    enlarged = larger(given)
    noise = torch.randn(len(given), 1, side, side, generator=draw)
    return network(enlarged, noise), told(enlarged)


def parts() -> dict[str, tuple[str, int, int]]:
    """Every training: its arm, side and seed."""
    found = {}
    for seed in SEEDS:
        for side in SIDES:
            found[f"pyramid_{side}_{seed}"] = ("pyramid", side, seed)
            if side > SIDES[0]:
                found[f"squares_{side}_{seed}"] = ("squares", side, seed)
        found[f"whole_{SIDES[-1]}_{seed}"] = ("whole", SIDES[-1], seed)
    return found


def fresh(arm: str, side: int, seed: int) -> tuple[nn.Module, Discriminator | None]:
    """Generator and discriminator of a part, untrained."""
    torch.manual_seed(1000 * seed + side)
    if arm == "whole":
        return Seed(side, WHOLE), Discriminator(0, WIDTH)
    if side == SIDES[0]:
        return Seed(side, WIDTH), Discriminator(0, 2 * WIDTH)
    judge = None if arm == "squares" else Discriminator(3 * 64, WIDTH)
    return Level(WIDTH), judge


def trained(arm: str, side: int, seed: int) -> dict:
    """One training: the running mean of the generator's weights, and its seconds."""
    generator, judge = fresh(arm, side, seed)
    kept = copy.deepcopy(generator)
    draw = torch.Generator().manual_seed(seed)
    steps = sum(STEPS.values()) if arm == "whole" else STEPS[side]
    mover = torch.optim.Adam(generator.parameters(), RATES[0], BETAS)
    if judge is not None:
        game = DeepSimLoss(0, 1, 0, discriminator=judge)
        watcher = torch.optim.Adam(judge.parameters(), RATES[1], BETAS)
    begin = time.process_time()
    for step in range(steps):
        which = torch.randint(len(faces("train", side)), (BATCH,), generator=draw)
        target = faces("train", side)[which]
        given = BATCH
        if isinstance(generator, Level):
            given = faces("train", side // 2)[which]
        output, code = made(generator, side, given, draw)
        if judge is None:
            loss = (output - target).square().mean()
        else:
            judge.requires_grad_(False)
            loss = game(output, target, code).total
        mover.zero_grad()
        loss.backward()
        mover.step()
        if judge is not None:
            judge.requires_grad_(True)
            theirs = game.discriminator_loss(output.detach(), target, code).total
            watcher.zero_grad()
            theirs.backward()
            watcher.step()
        share = min(MEAN, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, now in zip(
                kept.parameters(), generator.parameters(), strict=True
            ):
                mean.lerp_(now, 1 - share)
        if step % 500 == 499 and judge is not None:
            print(arm, side, seed, step + 1, f"{loss:.2f} {theirs:.2f}", flush=True)
    return {"state": kept.state_dict(), "seconds": time.process_time() - begin}


@torch.no_grad()
def drawn(states: dict, arm: str, seed: int, start: int, count: int) -> torch.Tensor:
    """Faces (count, 3, 48, 48), from noise, or from true unseen ones of ``start``
    pixels.
    """
    draw = torch.Generator().manual_seed(seed)
    pictures, sides = None, SIDES
    if arm == "whole":
        sides = SIDES[-1:]
    elif start:
        pictures = faces("test", start)[:count]
        sides = tuple(side for side in SIDES if side > start)
    for side in sides:
        origin = "pyramid" if side == SIDES[0] else arm
        generator, _ = fresh(origin, side, seed)
        generator.load_state_dict(states[f"{origin}_{side}_{seed}"]["state"])
        given = count if pictures is None else pictures
        pictures, _ = made(generator, side, given, draw)
        pictures = pictures.clamp(0, 1)
    return pictures


def row(draw: Callable[[int], torch.Tensor]) -> dict[str, list[float]]:
    """What is measured of the faces that are drawn with each seed."""
    found = []
    for seed in SEEDS:
        begin = time.process_time()
        images = draw(seed)
        seconds = 64 * (time.process_time() - begin) / COUNT
        images = (255 * images).round() / 255
        found.append({**measured(images, seed), "seconds": seconds})
    return over_seeds(found)


def table(states: dict) -> dict:
    """The rows of every arm, from noise and from true smaller faces, and those of the
    autoencoders that ship.
    """
    ways = {}
    for arm in ARMS:
        for start in (0, *SIDES[:-1]) if arm != "whole" else (0,):
            name = f"{arm} from {start} pixels" if start else arm
            ways[name] = partial(drawn, states, arm, start=start, count=COUNT)
    for loss in zoo.VAE_LOSSES:
        ways[f"VAE, {loss}"] = partial(_of_autoencoder, loss)
    rows = {}
    for name, draw in ways.items():
        rows[name] = row(draw)
        print(name, json.dumps(rows[name]), flush=True)
    return rows


def _of_autoencoder(loss: str, seed: int) -> torch.Tensor:
    return sample(COUNT, loss, seed=seed, device="cpu")


def weights(arm: str) -> int:
    """How many a whole arm has."""
    sides = SIDES[-1:] if arm == "whole" else SIDES
    return sum(p.numel() for side in sides for p in fresh(arm, side, 0)[0].parameters())


def write_strips(states: dict) -> None:
    """The first faces of the first seed side by side, without loss; those that are
    drawn from true small faces, too.
    """
    shown = {arm: (arm, 0) for arm in ARMS} | {"true_start": ("pyramid", SIDES[0])}
    for name, (arm, start) in shown.items():
        write_strip(STRIPS / f"{name}.png", drawn(states, arm, 0, start, SHOWN))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", default="runs/pyramid", metavar="FOLDER")
    parser.add_argument("--parts", type=int, default=100, metavar="N")
    parser.add_argument("--write", action="store_true", help="write the record")
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(given.runs)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [n for n in parts() if not (folder / f"{n}.pt").is_file()]
    for name in missing[: given.parts]:
        torch.save(trained(*parts()[name]), folder / f"{name}.pt")
        print(f"trained {name}", flush=True)
    if not all((folder / f"{name}.pt").is_file() for name in parts()):
        return 0
    states = {name: torch.load(folder / f"{name}.pt") for name in parts()}
    record = {
        "what": __doc__.split("\n\n")[1].replace("\n", " "),
        "command": "python -m benchmarks.pyramid --write",
        "machine": processor(best_device()),
        "seeds": list(SEEDS),
        "steps": {str(side): steps for side, steps in STEPS.items()},
        "weights": {arm: weights(arm) for arm in ARMS},
        "minutes": {
            arm: round(
                sum(s["seconds"] for n, s in states.items() if n.startswith(arm))
                / (60 * len(SEEDS)),
                1,
            )
            for arm in ARMS
        },
        "real": held_out(),
        "rows": table(states),
    }
    print(json.dumps(record, indent=1))
    if given.write:
        text = json.dumps(record, indent=1) + "\n"
        write_whole(RECORD, lambda file: file.write(text.encode()))
        write_strips(states)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
