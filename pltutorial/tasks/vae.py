"""A variational autoencoder with any likeness: pictures that never were, out
of random numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ..bounds import setting, weight
from ..deferred import deferred_imports
from ..errors import InputError, nearest
from ..register import Command, Option, TaskSpec, register
from ..zoo import DIFFUSION_LOSSES, VAE_LOSSES
from .diffuse import MOST_STEPS
from .likeness import LikenessTask, LikenessTrainingSettings, likeness_card

with deferred_imports():
    import torch
    from torch import nn

    from ..deepsim import kl_divergence
    from ..device import best_precision
    from ..images import bundled
    from ..networks import VAE
    from ..seeds import seed_of
    from ..terms import LossTerms
    from ..zoo import check_network, load_diffusion, load_vae
    from .diffuse import check_room, draw

LIMITS = "pictures like those it was trained on, of that size alone"
GAP = 2  # white pixels between the pictures of a sheet
AT_ONCE = 64  # pictures that are drawn at a time


@dataclass(frozen=True)
class VAESettings(LikenessTrainingSettings):
    """Training of a variational autoencoder with any likeness (Kingma and Welling 2014;
    Larsen et al. 2016).

    Example:
        >>> settings = VAESettings(steps=100, latent=32)
        >>> settings.latent, settings.comparator
        (32, 'vgg')
        >>> VAESettings(comparator="discriminator", feature_weight=1.0)
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: the discriminator is to compare but nothing ...

    Taught in chapter 9.
    """

    zoom: tuple[float, ...] = setting(
        (1.0, 1.0),
        "Shorter side of a picture before the crop is cut, in crop sizes: "
        "drawn from this range.",
        count=2,
        example="1,1.5",
    )
    flip: bool = setting(True, "Mirror every other picture, left to right.")
    width: int = setting(
        16, "Channels of the encoder's first convolution.", least=1, most=10000
    )
    latent: int = setting(32, "Numbers in the latent vector.", most=1000000)
    encoder: str = setting(
        "learned", "learned, or a layer of VGG-16 as a fixed encoder, such as relu3_3."
    )
    kl_weight: float = weight(
        0.01,
        "Weight of the KL divergence, in nats for each number of the picture: "
        "2 sigma^2 for pixels.",
    )


class VAETask(LikenessTask):
    """A variational autoencoder whose likeness is any mixture of DeePSiM's terms, or
    the discriminator's features.

    The discriminator judges reconstructions and as many samples from the prior, and its
    verdict does not reach the encoder (Larsen et al. 2016, algorithm 1). What is
    random, the noise on z, is drawn from the number of the crop.

    Args and errors are those of :class:`LikenessTask`.

    Example:
        >>> task = VAETask(VAESettings(width=4, latent=4, size=32))
        >>> list(task.loss(task.network, torch.rand(2, 3, 32, 32), first=0))
        ['image', 'kl']
        >>> task.network.latent
        4

    Taught in chapter 9.
    """

    settings: VAESettings
    tells = False

    @property
    def code_layer(self) -> str | None:
        """The fixed encoder, if there is one."""
        return None if self.settings.encoder == "learned" else self.settings.encoder

    def new_network(self) -> nn.Module:
        """The network, untrained."""
        s = self.settings
        self._shown: torch.Tensor | None = None
        return VAE(s.width, s.latent, size=s.size, encoder=s.encoder, norm=s.norm)

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The terms for a batch (N, 3, size, size); ``kl`` is the divergence for each
        number of the picture, weighted.
        """
        if self._shown is None:
            self._shown = images[:8].float()
        given, wanted = self._seen(images)
        noise = self._noise(len(images), first).to(images.device, non_blocking=True)
        noise, prior = noise.chunk(2, 1)
        output, mean, log_variance, *judged = network(
            given, noise, prior if self.adversary else None
        )
        terms = self._terms(output, images, None, wanted, judged[0] if judged else None)
        divergence = kl_divergence(mean, log_variance).mean()
        terms["kl"] = self.settings.kl_weight * divergence / images[0].numel()
        return terms

    def samples(self, network: nn.Module) -> torch.Tensor:
        """Pictures of the first batch, their reconstructions, and
        samples from the prior.
        """
        shown = self._shown
        if shown is None:
            made = network.sample(24)
            return torch.cat(
                [torch.cat(list(row), 2) for row in made.float().split(8)], 1
            )[None]
        output = network(self.given(shown))[0].float()
        made = network.sample(2 * len(shown)).float().split(len(shown))
        return torch.cat(
            [torch.cat(list(row), 2) for row in (shown, output, *made)], 1
        )[None]

    def _noise(self, count: int, first: int) -> torch.Tensor:
        """Two normal vectors for each crop, (N, 2 latent)."""
        length = 2 * self.settings.latent
        generator = torch.Generator()
        rows = []
        for number in range(first, first + count):
            generator.manual_seed(seed_of(self.settings.seed, number))
            rows.append(torch.randn(1, length, generator=generator))
        return torch.cat(rows)


def sample(
    count: int = 64,
    loss: str = "pixel",
    *,
    network: nn.Module | None = None,
    seed: int = 0,
    precision: str = "auto",
    device: str | torch.device | None = None,
    **how: object,
) -> torch.Tensor:
    """Draw pictures that never were with a variational autoencoder or by diffusion.

    Args:
        count: how many.
        loss: what the network was trained with: ``"pixel"``, ``"deepsim"`` or ``"gan"``
            of the autoencoders; ``"diffusion"`` of the one that draws out of noise.
        network: a network to use, and to reuse: left out, the one that ships is
            loaded in each call.
        seed: other latent vectors, or other noise, for another number, from 0 to
            2**63 - 1.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.
        device: where to load the network; None takes the best there is.
        **how: of diffusion alone, see ``pltutorial.tasks.diffuse.draw``: ``steps``,
            ``solver``, ``condition`` and ``guidance``.

    Returns:
        (count, 3, size, size), float32, in [0, 1], on the CPU.

    Raises:
        InputError: a count below 1, a seed out of its range, an unknown loss, a
            network for something else, or ``how`` for an autoencoder.

    Source: Kingma and Welling (2014), section 2.3; for diffusion see there.

    Example:
        >>> pictures = sample(4, "pixel", seed=1, device="cpu")
        >>> torch.equal(pictures, sample(4, seed=1, device="cpu"))
        True
        >>> sample(2, "diffusion", steps=2, device="cpu").shape
        torch.Size([2, 3, 48, 48])

    Taught in chapter 9.
    """
    if count < 1:
        raise InputError(f"count={count} was given; give at least 1")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed={seed} was given; give a number from 0 to 2**63 - 1")
    network = _of(loss, device) if network is None else network
    check_network(network, "sample")
    how = {name: value for name, value in how.items() if value is not None}
    if network.kind != VAE.kind:
        return draw(network, count, seed=seed, precision=precision, **how)
    if how:
        raise InputError(
            f"{', '.join(how)} was given, and an autoencoder draws in one pass; leave "
            f"it out, or give a loss of diffusion, such as {DIFFUSION_LOSSES[0]!r}"
        )
    check_room(count, network.size, copies=1)
    place = next(network.parameters()).device
    dtype = best_precision(place, precision)
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, network.latent, generator=generator).to(place)
    mixed = torch.autocast(place.type, dtype, enabled=dtype != torch.float32)
    with torch.no_grad(), mixed:
        drawn = torch.empty(count, 3, network.size, network.size)
        for some, part in zip(drawn.split(AT_ONCE), z.split(AT_ONCE), strict=True):
            some.copy_(network.decode(part))
    return drawn


def _of(loss: str, device: str | torch.device | None) -> nn.Module:
    """The network that ships with this loss, of either kind."""
    if loss not in (known := (*VAE_LOSSES, *DIFFUSION_LOSSES)):
        raise InputError(
            f"no network that draws has the loss {loss!r}; {nearest(str(loss), known)}"
        )
    diffuses = loss in DIFFUSION_LOSSES
    return load_diffusion(loss, device) if diffuses else load_vae(loss, device)


def _grid(count: int) -> tuple[int, int]:
    """Rows and columns of a sheet of so many pictures."""
    columns = math.ceil(math.sqrt(count))
    return math.ceil(count / columns), columns


def sheet(images: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Pictures (N, 3, H, W) side by side on white; torchvision's own takes
    seconds to import.
    """
    _, channels, height, width = images.shape
    sides = rows * (height + GAP) + GAP, columns * (width + GAP) + GAP
    sheet = images.new_ones(1, channels, *sides)
    places = sheet[0, :, GAP:, GAP:].unflatten(2, (columns, -1))
    places = places.unflatten(1, (rows, -1))[..., :height, :, :width]
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        places[:, row, :, column] = image
    return sheet


def _load(*, loss=None, model=None, device=None, **options) -> nn.Module:
    if model is not None:
        return load_vae(model=model, device=device)
    return _of(loss or "pixel", device)


def _run(network, image, *, precision, count=64, seed=0, **how) -> torch.Tensor:
    if count >= 1:
        check_room(count, network.size, copies=2)  # they, and the sheet
    drawn = sample(count, network=network, seed=seed, precision=precision, **how)
    return sheet(drawn, *_grid(count))


def _size(network, image, *, count=64, **options) -> tuple[int, int]:
    rows, columns = _grid(count)
    width, height = (side * (network.size + GAP) + GAP for side in (columns, rows))
    return width, height


def _faces() -> tuple[Path, str]:
    return bundled("faces/train.zip"), "DiceBear's toon-head, Johan Melin, CC BY 4.0"


register(
    TaskSpec(
        name="vae",
        train_help="Teach a variational autoencoder a kind of pictures: with pixels, "
        "DeePSiM, or a discriminator's features.",
        settings=VAESettings,
        training=VAETask,
        card=likeness_card,
        networks={"vae": VAE},
        limits=LIMITS,
        usage="sample",
        command=Command(
            name="sample",
            help="Draw pictures that never were, side by side, with a variational "
            "autoencoder or by diffusion.",
            load=_load,
            run=_run,
            options=(
                Option("count", int, "How many pictures.", default=64, least=1),
                Option(
                    "seed",
                    int,
                    "Other latent vectors for another number.",
                    default=0,
                    least=0,
                    most=2**63 - 1,
                    most_said="2**63 - 1",
                ),
                Option(
                    "steps",
                    int,
                    "Diffusion: steps from noise to picture; 25, or a student's own, "
                    "if left out.",
                    least=1,
                    most=MOST_STEPS,
                ),
                Option("solver", str, "Diffusion: euler (the default) or heun."),
                Option(
                    "condition",
                    str,
                    "Diffusion: a value of the attribute that the network was told, "
                    "such as a hair colour.",
                ),
                Option(
                    "guidance",
                    float,
                    "Diffusion: 1 (the default) or more; more keeps closer to the "
                    "condition.",
                ),
            ),
            loss_help=(
                "The likeness it was trained with: pixel (the default), "
                "deepsim or gan (VAE/GAN); or diffusion."
            ),
            default_loss="pixel",
            takes_picture=False,
            size=_size,
            advice="give a smaller --count",
            facts=lambda network, count=64, seed=0, **options: {
                "count": count,
                "seed": seed,
            },
        ),
        function=sample,
        losses=("pixel", "deepsim", "gan"),
        folder="likeness",
        pictures=_faces,
    )
)
