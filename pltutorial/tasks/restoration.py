"""What the tasks of restoration share: only what is taken away from
a picture differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..bounds import setting, weight
from ..deferred import deferred_imports
from ..errors import InputError
from ..register import Command, Option, limits_of
from ..settings import TrainingSettings

with deferred_imports():
    import torch
    from torch import nn
    from torch.nn import functional as F

    from ..apply import through
    from ..deepsim import DeepSimLoss
    from ..device import best_device
    from ..images import bundled, bundled_names, check_image, middle_square
    from ..losses import gram_matrix, grid_loss
    from ..networks import Discriminator, architecture, load_network, trainable
    from ..perceptual import PerceptualLoss
    from ..targets import ContentTarget, StyleTarget
    from ..terms import LossTerms
    from ..training.cards import training_card
    from ..vgg import LossNetwork
    from ..zoo import check_network, load_restorer

if TYPE_CHECKING:
    from ..training.task import Trained


@dataclass(frozen=True)
class RestorationTrainingSettings(TrainingSettings):
    """What super-resolution, denoising and inpainting share: the loss, a sum of pixel,
    feature and style terms.

    The weights are those of :class:`pltutorial.perceptual.PerceptualLoss`: the pixel
    term is on the [0, 1] scale, features are of 0-255 pictures. The defaults train
    for accuracy alone.

    Example:
        >>> settings = RestorationTrainingSettings(steps=100, feature_weight=1e-4)
        >>> settings.pixel_weight, settings.feature_layers
        (1.0, ('relu2_2',))
        >>> RestorationTrainingSettings(pixel_weight=0)
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: all weights are 0; ...

    Taught in chapter 6.
    """

    batch_size: int = setting(
        16, "Pictures in a step, over all processes together.", least=1, most=100000
    )
    size: int = setting(
        128, "Height and width of the training crops in pixels.", least=1, most=100000
    )
    zoom: tuple[float, ...] = setting(
        (1.5, 2.5),
        "Shorter side of a picture before the crop is cut, in crop sizes: "
        "drawn from this range.",
        count=2,
        example="1,1.5",
    )
    learning_rate: float = setting(5e-4, "Adam's step length.", above=0)
    width: int = setting(48, "Channels of the residual blocks.", least=1, most=10000)
    blocks: int = setting(8, "Residual blocks.", least=1, most=1000)
    pixel_weight: float = weight(1.0, "Weight of the pixel term.")
    pixel_kind: str = setting(
        "l1",
        "l1, l2 or charbonnier: which pixel term.",
        choices=("l1", "l2", "charbonnier"),
        called="pixel loss",
    )
    feature_weight: float = weight(0.0, "Weight of the feature term.")
    feature_layers: tuple[str, ...] = setting(
        ("relu2_2",), "Layers of the feature term, each with the same weight."
    )
    normalization: str = setting(
        "johnson",
        "How the feature and style terms are normalised.",
        choices=("johnson", "gatys", "mean", "relative"),
    )
    grid_weight: float = weight(
        0.0,
        "Weight of the grid term: patterns that repeat every few pixels and are not in "
        "the target.",
    )
    adversarial_weight: float = weight(
        0.0, "Weight of the adversarial term (Ledig et al. 2017)."
    )
    discriminator_width: int = setting(
        32, "Channels of the discriminator's first layer.", least=1, most=10000
    )
    discriminator_rate: float = setting(
        2e-4, "Adam's step length for the discriminator.", above=0
    )
    pause_below: float = setting(
        0.1,
        "The discriminator pauses while its loss is below this share of the "
        "generator's; 0 never pauses.",
        least=0,
    )
    give_up: int = setting(
        2000,
        "Stop when the discriminator has won for so many steps on end; 0 never does.",
        least=0,
    )
    style_weight: float = weight(0.0, "Weight of the style term.")
    style_layers: tuple[str, ...] = setting(
        ("relu1_2", "relu2_2", "relu3_3"),
        "Layers of the style term, each with the same weight.",
    )
    total_variation: float = weight(
        0.0,
        "Weight of total variation, on the 0-255 scale; 1e-6 to 1e-4 in "
        "Johnson et al. (2016).",
    )
    start: str | None = setting(
        None,
        "A network to start from, a .safetensors file; of one for another factor the "
        "layers that fit are taken.",
    )

    def __post_init__(self) -> None:
        """Refuse values that make no sense, with a sentence."""
        super().__post_init__()
        if not (self.pixel_weight or self.feature_weight or self.style_weight):
            raise InputError(
                "all weights are 0; give pixel_weight, feature_weight or "
                "style_weight a positive one"
            )
        for kind in ("feature", "style"):
            if getattr(self, f"{kind}_weight") and not getattr(self, f"{kind}_layers"):
                raise InputError(
                    f"{kind}_weight was given without a layer; name at least one of "
                    f"{kind}_layers"
                )


class RestorationTask:
    """Give back what was taken from a picture; the loss compares the output with
    the whole picture.

    Johnson et al. (2016), section 4.2, with a pixel and a style term besides.
    Subclasses say what is taken away. What is random, noise and holes, is drawn from
    the number of the crop: resumed and distributed runs see the same.

    Args:
        settings: of the subclass's kind.
        network: a loss network to reuse.

    Raises:
        InputError: a network to start from that does not fit.

    Example:
        >>> class Darkness(RestorationTask):
        ...     def new_network(self):
        ...         return torch.nn.Conv2d(3, 3, 1)
        ...     def degrade(self, images, first):
        ...         return (images / 4,)
        >>> task = Darkness(RestorationTrainingSettings())
        >>> list(task.loss(task.network, torch.rand(2, 3, 32, 32), first=0))
        ['pixel']

    Taught in chapter 6.
    """

    network: nn.Module

    def __init__(
        self,
        settings: RestorationTrainingSettings,
        *,
        network: LossNetwork | None = None,
    ) -> None:
        self.settings = settings
        torch.manual_seed(settings.seed)
        with trainable():
            self.network = self.new_network()
        if settings.start is not None:
            self._start_from(settings.start)
        features = dict.fromkeys(settings.feature_layers, settings.feature_weight)
        styles = dict.fromkeys(settings.style_layers, settings.style_weight)
        compares = settings.feature_weight or settings.style_weight
        if compares and network is None:
            device = best_device(settings.device)
            network = LossNetwork(
                precision=settings.precision, device=device, compile=settings.compile
            )
        self.objective = PerceptualLoss(
            features if settings.feature_weight else {},
            styles if settings.style_weight else {},
            pixel=settings.pixel_weight,
            pixel_kind=settings.pixel_kind,
            total_variation=settings.total_variation,
            normalization=settings.normalization,
            relative_pixel=False,  # recipes weigh it on its own scale
            network=network if compares else _no_network,
        )
        # An untrained network hands its noise on, far out of [0, 1]: no reason for the
        # warning of the first call.
        self.objective._checked = True
        self.adversary = None
        if settings.adversarial_weight:
            self.adversary = Discriminator(0, settings.discriminator_width)
            self.opponent = DeepSimLoss(
                0, settings.adversarial_weight, 0, discriminator=self.adversary
            )

    def degrade(self, images: torch.Tensor, first: int) -> tuple[torch.Tensor, ...]:
        """What the network is given instead of these crops (N, 3, H, W), of which the
        first has this number.
        """
        raise NotImplementedError

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """Pixel, feature, style and total variation terms of a batch (N, 3, H, W),
        each a mean over it.
        """
        with torch.no_grad():
            given = self.degrade(images, first)
        output = network(*given)
        terms = self.terms(output, images)
        if self.settings.grid_weight:
            period = max(4, getattr(self.settings, "factor", 4))
            grid = grid_loss(output, images, period)
            terms["grid"] = self.settings.grid_weight * grid
        if self.adversary is not None:
            terms.update(self.opponent(output, images))
            adversarial = (
                terms["adversarial"].detach() / self.settings.adversarial_weight
            )
            self._last_step = (output.detach(), images, adversarial)
        return terms

    def adversary_loss(self, adversary: nn.Module) -> tuple[LossTerms, torch.Tensor]:
        """The discriminator's terms for the pictures of the last :meth:`loss`.

        Beside them the generator's adversarial loss.
        """
        output, target, adversarial = self._last_step
        terms = self.opponent.discriminator_loss(
            output, target, discriminator=adversary
        )
        return terms, adversarial

    def terms(self, output: torch.Tensor, target: torch.Tensor) -> LossTerms:
        """The objective of outputs (N, 3, H, W) for targets of the same shape; the loss
        network sees each once.
        """
        objective = self.objective
        content, style = objective.content_weights, objective.style_weights
        with torch.no_grad():
            layers = tuple(dict.fromkeys((*content, *style)))
            features = objective.network(target, layers) if layers else {}
            grams = {name: gram_matrix(features[name]) for name in style}
        return objective(
            output,
            ContentTarget({name: features[name] for name in content}, target),
            StyleTarget([grams], [None]) if style else None,
        )

    def samples(self, network: nn.Module) -> torch.Tensor:
        """Three test photographs: what is given, what the network makes of it, and
        the picture itself.
        """
        photos = torch.cat(
            [
                middle_square(bundled(f"test/{name}"), 192)
                for name in bundled_names("test")[:3]
            ]
        )
        photos = photos.to(next(network.parameters()).device)
        given = self.degrade(photos, 0)
        output = network(*given).float().clamp(0, 1)
        seen = given[0] if len(given) == 1 else given[0] * (1 - given[1]) + given[1]
        rows = [
            F.interpolate(seen.float(), photos.shape[-2:]).clamp(0, 1),
            output,
            photos,
        ]
        return torch.cat([torch.cat(list(row), 2) for row in rows], 1)[None]

    def new_network(self) -> nn.Module:
        """The network to train, with fresh weights; each task has its own."""
        raise NotImplementedError

    def _start_from(self, start: str) -> None:
        """Takes the weights of another network; of one for another
        factor those that fit.
        """
        given, own = load_network(start, "cpu"), self.network.state_dict()
        mine, theirs = (
            architecture(n.config, but=("factor",)) for n in (self.network, given)
        )
        if mine != theirs:
            raise InputError(
                f"the network {start!r} to start from is {theirs} and this one is "
                f"{mine}; give the same architecture"
            )
        weights = given.state_dict().items()
        fits = {
            name: t for name, t in weights if name in own and own[name].shape == t.shape
        }
        self.network.load_state_dict(own | fits)


def restoration_card(
    result: Trained,
    task: RestorationTask,
    settings: RestorationTrainingSettings,
    pictures: str = "",
) -> dict:
    """What a reader must know of a network for restoration; measured numbers are
    added by the benchmark.

    Args:
        result: what :func:`pltutorial.training.train` returned.
        task: the task that was trained.
        settings: the settings it was trained with.
        pictures: what the pictures are, whose, and under which licence.

    Returns:
        JSON-able, see :func:`pltutorial.training.cards.training_card`, with ``task``,
        ``terms`` (the columns of the curve), ``limits`` and ``licence``.

    Example:
        >>> task = DenoisingTask(DenoisingSettings(width=4, blocks=1))
        >>> from pltutorial.training import Trained
        >>> result = Trained(task.network, steps=20, pictures=8, source="photos")
        >>> card = restoration_card(result, task, task.settings, "my photographs, CC0")
        >>> card["task"], card["steps"], card["data"]
        ('denoising', 20, 'my photographs, CC0; 8 pictures of photos')

    Taught in chapter 6.
    """
    objective = task.objective
    kinds = {
        "pixel": objective.pixel,
        "content": objective.content_weights,
        "style": objective.style_weights,
        "total_variation": objective.total_variation,
        "grid": settings.grid_weight,
        "adversarial": settings.adversarial_weight,
    }
    terms = [name for name, weight in kinds.items() if weight]
    return training_card(result, settings, pictures, terms) | {
        "task": task.network.kind,
        "terms": ["step", *terms, "total"],
        "limits": limits_of(task.network.kind),
        "licence": "the weights: MIT",
    }


def restored(
    task: str,
    image: torch.Tensor,
    what: str,
    loss: str | float | None,
    *,
    network: nn.Module | None,
    precision: str,
    device: str | torch.device | None,
    tile: int | None,
    slack: float = 0.5,
) -> torch.Tensor:
    """Pictures through the network of a task that makes pictures of the same size."""
    check_image(image, what, slack=slack, bytes_too=True)
    network = load_restorer(task, loss, device=device) if network is None else network
    check_network(network, task)
    return through(network, (image,), precision=precision, tile=tile)


def restoring(
    name: str,
    help: str,
    function: Callable,
    options: Sequence[Option] = (),
    losses: Sequence[str] = ("pixel", "combined"),
    blends: Sequence[str] = (),
    **more,
) -> Command:
    """The command of a task of restoration: a network by its loss, or from a file.

    Args:
        name: of the command and of the task.
        help: what it does.
        function: the Python function, which takes ``network=`` and ``precision=``.
        options: those that it has besides.
        losses: of the networks that ship, as in :class:`pltutorial.register.TaskSpec`.
        blends: the two that a number blends, as there.
        **more: see :class:`pltutorial.register.Command`.
    """
    *others, default_loss = losses
    between = "".join(f", {loss}" for loss in others[1:])
    plain, likely = blends or (losses[0], losses[-1])
    loss_help = (
        f"{default_loss} (likeness; the default){between} or {others[0]} (accuracy); "
        f"a number from 0 ({plain}) to 1 ({likely}) blends."
        if others
        else ""
    )

    def load(
        *, loss=None, model=None, device=None, factor=None, **options
    ) -> nn.Module:
        factor = 4 if factor is None else factor
        return load_restorer(name, loss, factor=factor, model=model, device=device)

    def run(network, image, *, precision, **options) -> torch.Tensor:
        return function(image, network=network, precision=precision, **options)

    return Command(
        name=name,
        help=help,
        load=load,
        run=run,
        options=tuple(options),
        loss_help=loss_help,
        default_loss=default_loss,
        **more,
    )


def _no_network(image: torch.Tensor, layers: tuple[str, ...]) -> dict:
    raise AssertionError("a loss of pixels alone looks at no features")
