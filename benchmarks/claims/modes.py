"""How many of a thousand kinds a generator draws: three digits in three colours, after
Metz et al. (2017) and Srivastava et al. (2017), with digits that are drawn here.

The adversary is the same in each arm. A content term needs a pair, so an encoder
gives the code of a real picture, and the generator is charged for what it draws from
that code (Che et al. 2017): in pixels, in the discriminator's features (Larsen et al.
2016), or in VGG's. One arm has no pairs: the adversary
alone; the control with a content term and no adversary is a variational autoencoder.
"""

from __future__ import annotations

import base64
import math
import time

import torch
import torch.nn.functional as F
from torch import nn

from .training import SEEDS, by_seed, vgg

# each digit as seven rows of five bits
DIGITS = (
    (14, 17, 19, 21, 25, 17, 14),
    (4, 12, 4, 4, 4, 4, 14),
    (14, 17, 1, 2, 4, 8, 31),
    (31, 2, 4, 2, 1, 17, 14),
    (2, 6, 10, 18, 31, 2, 2),
    (31, 16, 30, 1, 1, 17, 14),
    (6, 8, 16, 30, 17, 17, 14),
    (31, 1, 2, 4, 8, 8, 8),
    (14, 17, 17, 14, 17, 17, 14),
    (14, 17, 17, 15, 1, 2, 12),
)
SIDE, CODE, WIDTH, BATCH, STEPS = 8, 32, 256, 64, 2000
RATE = 5e-4
DRAWN, SHOWN = 10_000, 8
CLEAR = 0.9  # correlation: two digits have up to 0.77, the mean of all and 8 above 0.8
ARMS = (
    "adversary",
    "adversary + pixels",
    "adversary + features of D",
    "adversary + relu1_2",
    "pixels",
)


def bitmaps() -> torch.Tensor:
    """(10, 1, 8, 8): each digit at its place."""
    found = []
    for rows in DIGITS:
        bits = torch.tensor([[row >> (4 - x) & 1 for x in range(5)] for row in rows])
        found.append(F.pad(bits.float(), (1, 2, 1, 0))[None])
    return torch.stack(found)


TEMPLATES = bitmaps()


def stacked(count: int, draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 3, 8, 8) in [0, 1], and the number of each, 0 to 999, all equally likely."""
    digits = torch.randint(10, (count, 3), generator=draw)
    places = torch.randint(TEMPLATES.shape[1], (count, 3), generator=draw)
    bright = 0.7 + 0.3 * torch.rand(count, 3, 1, 1, generator=draw)
    pictures = bright * TEMPLATES[digits, places]
    noise = 0.03 * torch.randn(pictures.shape, generator=draw)
    return (pictures + noise).clamp(0, 1), digits @ torch.tensor([100, 10, 1])


def named(pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The number of each picture, and whether all three digits are clear: the best
    correlation with any digit at any place.
    """
    known = TEMPLATES.flatten(2)
    known = F.normalize(known - known.mean(-1, keepdim=True), dim=-1)
    channels = pictures.flatten(2)
    channels = F.normalize(channels - channels.mean(-1, keepdim=True), dim=-1)
    best, digit = torch.einsum("ncp,dsp->ncds", channels, known).amax(-1).max(-1)
    return digit @ torch.tensor([100, 10, 1]), (best > CLEAR).all(1)


def counted(pictures: torch.Tensor) -> dict:
    """Kinds found among the clear pictures, the share of these, and how far the kinds
    are from being equally frequent, in nats (0; at most ln 1000 = 6.9).
    """
    number, clear = named(pictures)
    times = torch.bincount(number[clear], minlength=1000).double()
    share = times / times.sum().clamp_min(1)
    divergence = (share * (share.clamp_min(1e-12) * 1000).log()).sum()
    return {
        "kinds": int((times > 0).sum()),
        "clear": round(float(clear.double().mean()), 3),
        "divergence": round(float(divergence), 3) if times.sum() else None,
    }


class Generator(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Linear(CODE, WIDTH),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, 3 * SIDE**2),
            nn.Sigmoid(),
            nn.Unflatten(1, (3, SIDE, SIDE)),
        )


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Flatten(),
            nn.Linear(3 * SIDE**2, WIDTH),
            nn.LeakyReLU(0.2),
            nn.Linear(WIDTH, WIDTH),
            nn.LeakyReLU(0.2),
        )
        self.last = nn.Linear(WIDTH, 1)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inner = self.inner(pictures)
        return self.last(inner), inner


def encoder() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(3 * SIDE**2, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, 2 * CODE),
    )


def generator(arm: str, seed: int, steps: int = STEPS) -> tuple[nn.Module, float]:
    """The generator of an arm, and the seconds of computing."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(1000 + seed)
    begin = time.process_time()
    make, critic, code = Generator(), Discriminator(), encoder()
    rates = {"lr": RATE, "betas": (0.5, 0.99)}
    mine = torch.optim.Adam([*make.parameters(), *code.parameters()], **rates)
    other = torch.optim.Adam(critic.parameters(), **rates)
    pairs = "+" in arm or arm == "pixels"
    for _ in range(steps):
        real, _ = stacked(BATCH, draw)
        made = make(torch.randn(BATCH, CODE, generator=draw))
        if arm != "pixels":
            told = F.softplus(-critic(real)[0]) + F.softplus(critic(made.detach())[0])
            other.zero_grad()
            told.mean().backward()
            other.step()
        loss = real.new_zeros(())
        if arm != "pixels":
            loss = loss + F.softplus(-critic(made)[0]).mean()
        if pairs:
            mean, spread = code(real).chunk(2, 1)
            spread = spread.clamp(-8, 2)
            noise = torch.randn(mean.shape, generator=draw)
            again = make(mean + (spread / 2).exp() * noise)
            divergence = (mean.square() + spread.exp() - spread - 1).sum(1).mean() / 2
            loss = loss + content(arm, again, real, critic) + 2e-3 * divergence
        mine.zero_grad()
        loss.backward()
        mine.step()
    return make.eval(), time.process_time() - begin


def content(
    arm: str, again: torch.Tensor, real: torch.Tensor, critic: Discriminator
) -> torch.Tensor:
    """The squared error of what was drawn from a picture's own code, over the size of
    what is compared.
    """
    if arm.endswith("pixels"):
        made, right = again, real
    elif arm.endswith("of D"):
        # the critic is no part of this loss: its weights are left as they are
        made, right = critic(again)[1], critic(real)[1].detach()
    else:
        layer = arm.split()[-1]
        few = slice(BATCH // 2)  # VGG is slow
        with torch.no_grad():
            right = vgg()(twice(real[few]), [layer])[layer]
        made = vgg()(twice(again[few]), [layer])[layer]
    return (made - right).square().sum() / right.square().sum()


def packed(pictures: torch.Tensor) -> str:
    """Pictures as 8-bit numbers in base64, channel by channel."""
    numbers = (255 * pictures).round().byte().contiguous().numpy()
    return base64.b64encode(numbers.tobytes()).decode()


def twice(pictures: torch.Tensor) -> torch.Tensor:
    """Two pixels wide each, for a network whose digits are larger."""
    return F.interpolate(pictures, scale_factor=2)


def modes() -> dict:
    """All arms, and as a yardstick the data themselves."""
    draw = torch.Generator().manual_seed(7)
    sets = [stacked(DRAWN, draw)[0] for _ in SEEDS]
    rows = [{"arm": "data"} | by_seed([counted(one) for one in sets])]
    rows[0]["samples"] = packed(sets[0][:SHOWN])
    print(rows[-1], flush=True)
    for arm in ARMS:
        found, samples = [], ""
        for seed in SEEDS:
            make, seconds = generator(arm, seed)
            codes = torch.randn(
                DRAWN, CODE, generator=torch.Generator().manual_seed(50 + seed)
            )
            with torch.no_grad():
                made = make(codes)
            found.append(counted(made) | {"seconds": round(seconds, 1)})
            samples = packed(made[:SHOWN]) if seed == SEEDS[0] else samples
        rows.append({"arm": arm} | by_seed(found))
        print(rows[-1], flush=True)
        rows[-1]["samples"] = samples
    return {"drawn": DRAWN, "most": round(math.log(1000), 2), "rows": rows}
