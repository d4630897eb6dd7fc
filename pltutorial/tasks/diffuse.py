"""Diffusion with feature losses: flow matching with a network that predicts the
picture, and students that need one or two steps.

Each picture is hidden in noise at a time drawn at random; the network is asked for the
picture. Its error counts as an error of velocity. The feature term compares the
estimate with the picture in VGG-16, where the noise is low enough for the estimate to
be one picture and not a mean of many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import memory
from ..bounds import setting, weight
from ..deferred import deferred_imports
from ..errors import InputError, nearest, shown
from ..register import TaskSpec, register
from ..settings import TrainingSettings

with deferred_imports():
    import torch
    from torch import nn
    from torch.nn import functional as F

    from ..device import best_device, best_precision
    from ..faces import load_faces
    from ..flow import centred, noisy, path, pictured, velocity
    from ..images import resize
    from ..networks import FlowNet, trainable
    from ..seeds import seed_of
    from ..terms import LossTerms
    from ..training.cards import training_card
    from ..training.collection import PicturesInMemory
    from ..vgg import LossNetwork
    from ..zoo import check_network, load_for

if TYPE_CHECKING:
    from ..training.task import Trained

LIMITS = (
    "pictures like those it was trained on, of that size alone; at few steps a network "
    "that is no student draws a mean"
)
STEPS = 25  # of a network that is no student
MOST_STEPS = 1_000  # beyond some fifty nothing changes any more
AT_ONCE = 64  # pictures that are drawn at a time
_WORKING = 600  # bytes a pixel of these
FACES = "cartoon faces, DiceBear toon-head by Johan Melin, CC BY 4.0"
LEAST_LEFT = 0.05  # 1 - t counts as no less where the loss divides by it
_TINY = 1e-6


@dataclass(frozen=True)
class DiffusionSettings(TrainingSettings):
    """Training of flow matching with prediction of the picture, with feature losses or
    without, and of students.

    Example:
        >>> settings = DiffusionSettings(steps=100, feature_weight=0.1)
        >>> settings.condition, settings.feature_layers
        ('hair_color', ('relu2_2', 'relu3_3'))
        >>> DiffusionSettings(times=(0, 1))
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: times=(0, 1) was given; give numbers from 0 ...

    Taught in chapter 11.
    """

    steps: int = setting(12_000, "Training steps in all.", least=1)
    batch_size: int = setting(
        16, "Pictures in a step, over all processes together.", least=1, most=100000
    )
    size: int = setting(
        48, "Height and width of the pictures in pixels.", least=1, most=100000
    )
    zoom: tuple[float, ...] = setting(
        (1.0, 1.0),
        "Shorter side of a picture before the crop is cut, in crop sizes: "
        "drawn from this range.",
        count=2,
        example="1,1.5",
    )
    gradient_clip: float = setting(
        1.0, "Largest norm of the gradient; 0 turns clipping off.", least=0
    )
    channels: tuple[int, ...] = setting(
        (48, 80, 72),
        "Channels of the network's three levels.",
        count=3,
        least=8,
        example="48,80,72",
    )
    condition: str = setting(
        "hair_color",
        "Which attribute of the faces it is told, or none. Of pictures of your own it "
        "is told nothing.",
    )
    untold: float = setting(
        0.2,
        "Share of the pictures whose label it is not told, which guidance needs.",
        least=0,
        most=1,
    )
    time_mean: float = setting(
        -0.4, "Mean of the logit of the time; below 0 is more noise than picture."
    )
    time_spread: float = setting(
        1.0, "Standard deviation of the logit of the time.", above=0
    )
    time_even: float = setting(
        0.2,
        "Share of the times that are drawn evenly from 0 to 1 instead, so that noise "
        "alone occurs.",
        least=0,
        most=1,
    )
    velocity_weight: float = weight(1.0, "Weight of the squared error of the velocity.")
    feature_weight: float = weight(
        0.0, "Weight of the feature term, VGG-16 on estimate and picture."
    )
    feature_layers: tuple[str, ...] = setting(
        ("relu2_2", "relu3_3"), "Layers of the feature term, each with the same weight."
    )
    feature_from: float = setting(
        0.4,
        "The feature term counts from this time on; 0 counts it at any noise.",
        least=0,
        below=1,
    )
    own_weight: float = weight(
        0.0, "Weight of the self-perceptual term (Lin and Yang 2024), which needs own."
    )
    own: str | None = setting(
        None, "A trained network that compares for the self-perceptual term."
    )
    align_weight: float = weight(
        0.0,
        "Weight of the term that aligns the network's smallest level with relu3_3 "
        "of the clean picture (after REPA, Yu et al. 2025).",
    )
    start: str | None = setting(
        None, "A network of the same architecture to start from, a .safetensors file."
    )
    teacher: str | None = setting(
        None, "A trained network whose pictures, drawn in many steps, a student learns."
    )
    teacher_steps: int = setting(
        STEPS, "Steps of the teacher.", least=1, most=MOST_STEPS
    )
    pairs: int = setting(
        4000, "Pairs of noise and picture that the teacher draws.", least=1, most=10**6
    )
    times: tuple[float, ...] = setting(
        (),
        "The only times that are trained, such as 0 for a student of one step, or 0 "
        "and 0.5 for one of two; drawn at random if left out.",
    )

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        object.__setattr__(self, "times", tuple(self.times))
        if not (self.velocity_weight or self.feature_weight or self.own_weight):
            raise InputError(
                "all weights are 0; give velocity_weight, feature_weight or own_weight "
                "a positive one"
            )
        if self.feature_weight and not self.feature_layers:
            raise InputError(
                "feature_weight was given without a layer; name at least "
                "one of feature_layers"
            )
        if self.own_weight and self.own is None:
            raise InputError(
                "own_weight was given without a network; name one that `pltutorial "
                "train diffuse` wrote as own"
            )
        if any(not 0 <= t < 1 for t in self.times):
            raise InputError(
                f"times={self.times} was given; give numbers from 0 to below 1"
            )


class DiffusionTask:
    """Flow matching with prediction of the picture.

    What is random in crop number n, its time, its noise and whether it is told its
    label, is drawn from n. A ``teacher`` in the settings makes it a student's training:
    the pictures are the teacher's, and each comes with the noise it was drawn from.

    Args:
        settings: see DiffusionSettings.
        network: a loss network to reuse.

    Raises:
        InputError: an unknown attribute or layer, or a network to start from, to
            compare with or to learn from that does not fit.

    Source: Ma et al. (2026), PixelGen, for the feature loss on the estimate; Lin and
    Yang (2024), Diffusion model with perceptual loss, for the self-perceptual term.

    Example:
        >>> task = DiffusionTask(DiffusionSettings(channels=(8, 8, 8), device="cpu"))
        >>> pictures = task.own_pictures()
        >>> crop, skipped = pictures[0]
        >>> list(task.loss(task.network, crop[None], first=0))
        ['velocity']

    Taught in chapter 11.
    """

    network: nn.Module

    def __init__(
        self, settings: DiffusionSettings, *, network: LossNetwork | None = None
    ) -> None:
        self.settings = settings
        device = best_device(settings.device)
        self.encoder = network
        if network is None and (settings.feature_weight or settings.align_weight):
            self.encoder = LossNetwork(precision=settings.precision, device=device)
        if self.encoder is not None:
            size = (settings.size, settings.size)
            self.encoder.check_layers(settings.feature_layers, size)
        torch.manual_seed(settings.seed)
        with trainable():
            self.network = FlowNet(
                settings.channels,
                size=settings.size,
                classes=classes_of(settings.condition),
                condition="" if settings.condition == "none" else settings.condition,
            )
        self.own = None if settings.own is None else self._like(settings.own, device)
        self.teacher = None
        if settings.teacher is not None:
            self.teacher = self._like(settings.teacher, device)
        if settings.start is not None:
            self.network.load_state_dict(self._like(settings.start, "cpu").state_dict())
        self.pictures: PicturesInMemory | None = None
        self.labels: torch.Tensor | None = None

    def _like(self, path: str, device: str | torch.device) -> nn.Module:
        given = load_for("sample", path, device)
        own, other = self.network.config, given.config
        if own != other:
            raise InputError(
                f"the network {path!r} is {other} and this one is {own}; "
                "give the same architecture"
            )
        return given

    def own_pictures(self) -> PicturesInMemory:
        """The bundled faces with their labels, or the pictures of the teacher."""
        s = self.settings
        if self.teacher is not None:
            images, self.labels = self._taught()
            source = f"a teacher's samples, {s.teacher_steps} steps"
        else:
            faces = load_faces("train")
            images, source = faces.pictures, "faces"
            if images.shape[-1] != s.size:
                images = resize(images, (s.size, s.size))
            if self.network.classes:
                self.labels = faces.attributes[s.condition]
        self.pictures = PicturesInMemory(images, source, seed=s.seed)
        return self.pictures

    def _taught(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the teacher draws, and the labels it was told, half of them none."""
        s = self.settings
        none = len(self.network.classes)
        numbers = torch.arange(s.pairs)
        labels = torch.where(numbers % 2 == 0, none, (numbers // 2) % max(none, 1))
        drawn = []
        for some in numbers.split(AT_ONCE):
            noise = self._noise(some.tolist())
            drawn.append(
                _drawn(self.teacher, noise, s.teacher_steps, label=labels[some])
            )
        return torch.cat(drawn), labels

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The terms for a batch (N, 3, size, size), each a mean over it."""
        s, count = self.settings, len(images)
        numbers = list(range(first, first + count))
        times, label = self._times(numbers), self._labels(numbers)
        whose = numbers
        if self.teacher is not None:  # the noise that the picture was drawn from
            whose = [self.pictures.index(n) for n in numbers]
        noise = self._noise(whose).to(images)
        x, t = centred(images), times.to(images)
        x_t = noisy(x, noise, t)
        terms = LossTerms()
        if s.align_weight:
            estimate, inner = network(x_t, t, label, hidden=True)
            terms["align"] = s.align_weight * self._unaligned(inner, images)
        else:
            estimate = network(x_t, t, label)
        if s.velocity_weight:
            error = velocity(estimate, x_t, t, LEAST_LEFT)
            error = error - velocity(x, x_t, t, LEAST_LEFT)
            terms["velocity"] = s.velocity_weight * error.square().mean()
        low = [i for i in range(count) if times[i] >= s.feature_from]  # on the host
        if s.feature_weight:
            features = self._unlike(estimate[low], images[low]) if low else 0 * t
            terms["feature"] = s.feature_weight * features.sum() / count
        if s.own_weight:
            again = self._times([n + 1 for n in numbers]).to(images)
            terms["own"] = s.own_weight * self._unlike_to_own(
                estimate, x, noise, again, label
            )
        return terms

    def _unlike(self, estimate: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """(N,): squared difference of the features over the picture's square."""
        layers = self.settings.feature_layers
        made = self.encoder((estimate + 1) / 2, layers)
        with torch.no_grad():
            right = self.encoder(images, layers)
        return torch.stack([_relative(made[k], right[k]) for k in layers]).mean(0)

    def _unlike_to_own(
        self,
        estimate: torch.Tensor,
        x: torch.Tensor,
        noise: torch.Tensor,
        t: torch.Tensor,
        label: torch.Tensor,
    ) -> torch.Tensor:
        """Estimate and picture hidden alike in noise once more, in the smallest level
        of a trained network (Lin and Yang 2024, algorithm 1).
        """
        _, made = self.own(noisy(estimate, noise, t), t, label, hidden=True)
        with torch.no_grad():
            _, right = self.own(noisy(x, noise, t), t, label, hidden=True)
        return _relative(made, right).mean()

    def _unaligned(self, inner: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """How differently two networks find places of a picture alike: their cosines,
        each place with each. It needs no projection between the two.
        """
        with torch.no_grad():
            right = self.encoder(images, ("relu3_3",))["relu3_3"].float()
            right = F.adaptive_avg_pool2d(right, inner.shape[-2:])
        alike = []
        for features in (inner.float(), right):
            places = features.flatten(2) - features.flatten(2).mean(2, keepdim=True)
            places = F.normalize(places, dim=1)
            alike.append(places.transpose(1, 2) @ places)
        return (alike[0] - alike[1]).square().mean()

    # --- what is drawn from the number of a crop --------------------------------------

    def _times(self, numbers: list[int]) -> torch.Tensor:
        """(N,), on the CPU."""
        s, drawn = self.settings, []
        for n in numbers:
            generator = torch.Generator().manual_seed(seed_of(s.seed, n, 1))
            if s.times:
                which = int(torch.randint(len(s.times), (), generator=generator))
                drawn.append(torch.tensor(float(s.times[which])))
            else:
                logit = torch.randn((), generator=generator)
                even, t = torch.rand(2, generator=generator)
                late = torch.sigmoid(s.time_mean + s.time_spread * logit)
                drawn.append(t if even < s.time_even else late)
        return torch.stack(drawn)

    def _noise(self, numbers: list[int]) -> torch.Tensor:
        """(N, 3, size, size), on the CPU."""
        s, drawn = self.settings, []
        for n in numbers:
            generator = torch.Generator().manual_seed(seed_of(s.seed, n))
            drawn.append(torch.randn(3, s.size, s.size, generator=generator))
        return torch.stack(drawn)

    def _labels(self, numbers: list[int]) -> torch.Tensor:
        """(N,), on the CPU; the last class is none."""
        none = len(self.network.classes)
        if self.labels is None:
            return torch.full((len(numbers),), none)
        labels = self.labels[[self.pictures.index(n) for n in numbers]].clone()
        if self.teacher is None:
            for i, n in enumerate(numbers):
                generator = torch.Generator().manual_seed(
                    seed_of(self.settings.seed, n, 2)
                )
                if torch.rand((), generator=generator) < self.settings.untold:
                    labels[i] = none
        return labels

    def samples(self, network: nn.Module) -> torch.Tensor:
        """Twenty-four pictures drawn by the network, and the same in one step."""
        s = self.settings
        noise = self._noise(list(range(24)))
        many = len(s.times) or STEPS
        rows = [*_drawn(network, noise, many).split(8)]
        rows.append(_drawn(network, noise[:8], 1))
        return torch.cat([torch.cat(list(row), 2) for row in rows], 1)[None]


def _relative(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    one, other = one.float().flatten(1), other.float().flatten(1)
    return (one - other).square().mean(1) / other.square().mean(1).clamp_min(_TINY)


def classes_of(condition: str) -> list[str]:
    """The names of an attribute's values; none for ``"none"``.

    Raises:
        InputError: the faces have no such attribute.
    """
    if condition == "none":
        return []
    names = load_faces("train").names
    if condition not in names:
        raise InputError(
            f"the faces have no attribute {condition!r}; "
            f"{nearest(condition, ('none', *names))}"
        )
    return list(names[condition])


def steps_of(network: nn.Module) -> int:
    """So many steps a network is drawn with if nothing is said: as many as a student
    has learned, else 25.
    """
    return len(network.card.get("settings", {}).get("times", ())) or STEPS


def draw(
    network: nn.Module,
    count: int = 64,
    *,
    steps: int | None = None,
    solver: str = "euler",
    condition: str | None = None,
    guidance: float = 1.0,
    seed: int = 0,
    precision: str = "auto",
) -> torch.Tensor:
    """Draw pictures with a :class:`FlowNet`.

    Args:
        network: such as :func:`pltutorial.load_diffusion` gives.
        count: how many.
        steps: from noise to picture; 25, or a student's own, if left out.
        solver: ``"euler"``, or ``"heun"``, which asks the network twice a step.
        condition: a value of the attribute that it was told, such as a hair colour;
            None leaves it open.
        guidance: 1 takes the network with the condition as it is; more goes on in the
            direction from the network without it.
        seed: other noise for another number.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``.

    Returns:
        (count, 3, size, size), float32, in [0, 1], on the CPU.

    Raises:
        InputError: numbers out of range, an unknown solver or value, guidance without
            a condition, or a network for something else.

    Source: Ho and Salimans (2022), Classifier-free diffusion guidance, equation 6.

    Taught in chapter 11.
    """
    check_network(network, "sample")
    if network.kind != FlowNet.kind:
        raise InputError("a VAE was given, which is drawn in one pass; give a FlowNet")
    if count < 1:
        raise InputError(f"count={count} was given; give at least 1")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed={seed} was given; give a number from 0 to 2**63 - 1")
    check_room(count, network.size, copies=2)
    if steps is not None and not 1 <= steps <= MOST_STEPS:
        raise InputError(
            f"steps={shown(steps)} was given; give a number from 1 to {MOST_STEPS:,}"
        )
    if not math.isfinite(guidance):
        raise InputError(f"guidance={guidance} was given; give a finite number")
    label = None
    if condition is not None:
        if condition not in network.classes:
            raise InputError(
                f"the network knows no {network.condition or 'condition'} "
                f"{condition!r}; {nearest(condition, network.classes or ('none',))}"
            )
        label = network.classes.index(condition)
    elif guidance != 1:
        raise InputError(
            f"guidance={guidance:g} was given without a condition; name one, or leave "
            "the guidance out"
        )
    steps = steps_of(network) if steps is None else steps
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 3, network.size, network.size, generator=generator)
    place = next(network.parameters()).device
    dtype = best_precision(place, precision)
    mixed = torch.autocast(place.type, dtype, enabled=dtype != torch.float32)
    drawn = torch.empty_like(noise)
    with mixed:
        parts = zip(noise.split(AT_ONCE), drawn.split(AT_ONCE), strict=True)
        for some, places in parts:
            labels = None if label is None else torch.full((len(some),), label)
            places.copy_(_drawn(network, some, steps, solver, labels, guidance))
    return drawn


def check_room(count: int, size: int, copies: int) -> None:
    """Refuse more pictures than fit into memory before the first is drawn.

    Args:
        count: how many.
        size: side of one.
        copies: how often they are there at once: what is drawn, and its noise or the
            sheet that they come to lie on.
    """
    needed = (12 * copies * count + _WORKING * min(count, AT_ONCE)) * size**2
    memory.check(needed, f"{shown(count)} pictures", "give a smaller count")


def _drawn(
    network: nn.Module,
    noise: torch.Tensor,
    steps: int,
    solver: str = "euler",
    label: torch.Tensor | None = None,
    guidance: float = 1.0,
) -> torch.Tensor:
    """Pictures in [0, 1] on the CPU out of this noise."""

    def denoise(x_t: torch.Tensor, t: float) -> torch.Tensor:
        estimate = network(x_t, t, label)
        if guidance == 1:
            return estimate
        plain = network(x_t, t)
        return plain + guidance * (estimate - plain)

    with torch.no_grad():
        noise = noise.to(next(network.parameters()).device)
        *_, (_, x) = path(denoise, noise, steps, solver)
    return pictured(x).float().cpu()


def diffusion_card(
    result: Trained,
    task: DiffusionTask,
    settings: DiffusionSettings,
    pictures: str = "",
) -> dict:
    """What a reader must know of a network of flow matching; measured numbers are added
    by the benchmark.

    Returns:
        JSON-able, see :func:`pltutorial.training.cards.training_card`, with ``task``,
        ``terms``, ``limits`` and ``licence``.

    Taught in chapter 11.
    """
    names = ("velocity", "feature", "own", "align")
    terms = [name for name in names if getattr(settings, f"{name}_weight")]
    return training_card(result, settings, pictures, terms) | {
        "task": task.network.kind,
        "terms": ["step", *terms, "total"],
        "limits": LIMITS,
        "licence": "the weights: MIT",
    }


register(
    TaskSpec(
        name="diffuse",
        train_help="Teach a network to draw pictures out of noise (flow matching), "
        "with feature losses or without, or a student of one or two steps.",
        settings=DiffusionSettings,
        training=DiffusionTask,
        card=diffusion_card,
        networks={"flow": FlowNet},
        limits=LIMITS,
        usage="sample",
        exports=False,
        folder="diffusion",
        losses=("diffusion",),
        pictures=lambda: (None, FACES),
    )
)
