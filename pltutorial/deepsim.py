"""Deep perceptual similarity: a feature, an adversarial and an image loss, each of
which can be left out.

Symbols are the papers': the generator G, the comparator C, the discriminator D.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from .errors import InputError, nearest
from .images import check_form
from .losses import at_least_float32, feature_loss, pixel_loss
from .tensors import check_dense, check_together
from .terms import LossTerms
from .vgg import LossNetwork

SCALINGS = ("relative", "johnson")
PAUSE_BELOW = 0.1


class DeepSimLoss(nn.Module):
    """DeePSiM, L = feature x L_feat + adversarial x L_adv + image x L_img,
    for any generator.

    L_feat compares features of output and target in the comparator; L_adv = mean -log
    D(G) is small where the discriminator takes the output for a photograph; L_img is
    the mean squared difference of pixels in [0, 1]. A weight of 0 leaves a term out:
    what it needs is not computed. In a training loop::

        loss = DeepSimLoss(1, adversarial=0.1, image=10, discriminator=discriminator)
        terms = loss(output, target, code)  # the generator's step
        terms.total.backward()
        # the discriminator's step, with its own optimizer
        d_terms = loss.discriminator_loss(output.detach(), target, code)
        d_terms.total.backward()  # left out while loss.has_won(d_terms, terms)

    Args:
        feature: weight of the feature term.
        adversarial: weight of the adversarial term; it needs a discriminator.
        image: weight of the image term.
        comparator: a :class:`LossNetwork` (the default), an :class:`Encoder`, the
            ``features`` of a :class:`Discriminator`, which makes the metric that of the
            VAE/GAN (Larsen et al. 2016, equation 7), or anything called as
            ``comparator(image, layers)``.
        layers: of the comparator, each with the same weight; the feature
            term is their mean.
        discriminator: a :class:`Discriminator`, or anything that gives logits when
            called with an image and a code.
        scaling: ``"relative"`` divides a layer's squared error by the mean square
            of the target's features, picture by picture, so that 1 is a whole
            signal lost, whatever the layer, the comparator and its training;
            ``"johnson"`` is :func:`pltutorial.losses.feature_loss`, C H W times
            less than the paper's sum.

    Raises:
        InputError: negative weights or none, an unknown layer, or an adversarial term
            without a discriminator.

    Source: Dosovitskiy and Brox (2016), Generating Images with Perceptual Similarity
    Metrics based on Deep Networks, equations 1 to 5. Its weights for AlexNet, 0.01, 100
    and 2e-6, are of sums on its own scales.

    Example:
        >>> phi = LossNetwork(device="cpu")
        >>> loss = DeepSimLoss(feature=1, image=10, comparator=phi, layers=["relu1_2"])
        >>> target = torch.rand(2, 3, 16, 16)
        >>> terms = loss(torch.zeros_like(target), target)
        >>> list(terms), terms.total.shape
        (['feature', 'image'], torch.Size([]))
        >>> float(loss(target, target).total)
        0.0

    Taught in chapter 8.
    """

    def __init__(
        self,
        feature: float = 1.0,
        adversarial: float = 0.0,
        image: float = 1.0,
        *,
        comparator: Callable | None = None,
        layers: Sequence[str] = ("relu3_3",),
        discriminator: Callable | None = None,
        scaling: str = "relative",
    ) -> None:
        super().__init__()
        weights = {"feature": feature, "adversarial": adversarial, "image": image}
        for name, weight in weights.items():
            if not 0 <= weight < float("inf"):
                raise InputError(
                    f"the weight {weight} of {name} was given; weights are "
                    "finite and at least 0"
                )
        if not any(weights.values()):
            raise InputError(
                "all weights are 0; give feature, adversarial or image a positive one"
            )
        if scaling not in SCALINGS:
            raise InputError(
                f"there is no scaling {scaling!r}; {nearest(str(scaling), SCALINGS)}"
            )
        if feature and not layers:
            raise InputError(
                "a feature weight was given without a layer; name at least one"
            )
        if adversarial and discriminator is None:
            raise InputError(
                "an adversarial weight was given without a "
                "discriminator; give discriminator="
            )
        self.weights, self.layers, self.scaling = weights, tuple(layers), scaling
        self.comparator = (
            LossNetwork() if feature and comparator is None else comparator
        )
        self.discriminator = discriminator
        # whose features they are
        whose = getattr(self.comparator, "__self__", self.comparator)
        check_layers = getattr(whose, "check_layers", None)
        if feature and check_layers is not None:
            check_layers(self.layers)

    def extra_repr(self) -> str:
        """Weights, layers and scaling."""
        said = ", ".join(f"{name}={value:g}" for name, value in self.weights.items())
        return f"{said}, layers={self.layers}, scaling={self.scaling!r}"

    def forward(
        self,
        output: torch.Tensor,
        target: torch.Tensor,
        code: torch.Tensor | None = None,
        *,
        judged: torch.Tensor | None = None,
        wanted: Mapping[str, torch.Tensor] | None = None,
    ) -> LossTerms:
        """The generator's terms, each a mean over the batch.

        Args:
            output: (N, 3, H, W), what the generator made.
            target: the picture itself, of the same shape, in [0, 1].
            code: what the discriminator is told, (N, C, h, w).
            judged: pictures that the discriminator judges in the place of the
                output, such as samples.
            wanted: features of the target by layer, where they are known already.

        Returns:
            LossTerms with ``feature``, ``adversarial`` and ``image``, as far as their
            weights are not 0.

        Raises:
            InputError: shapes differ, or what is given is no picture.
        """
        check_form(output, "the output")
        check_form(target, "the target")
        terms = LossTerms()
        # normalised once, so that a picture is at distance 0 from itself
        with parametrize.cached():
            if self.weights["feature"]:
                terms["feature"] = self.weights["feature"] * self.feature_term(
                    output, target, wanted
                )
            if self.weights["adversarial"]:
                judged = output if judged is None else judged
                logits = self.discriminator(
                    judged, *_told(code, len(judged) // len(target))
                )
                logits = at_least_float32(logits)
                terms["adversarial"] = (
                    self.weights["adversarial"] * F.softplus(-logits).mean()
                )
        if self.weights["image"]:
            terms["image"] = self.weights["image"] * pixel_loss(output, target)
        return terms

    def feature_term(
        self,
        output: torch.Tensor,
        target: torch.Tensor,
        wanted: Mapping[str, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """L_feat without its weight: the mean over the layers and pictures."""
        with parametrize.cached():
            features = self.comparator(output, self.layers)
            if wanted is None:
                with torch.no_grad():
                    wanted = self.comparator(target, self.layers)
        losses = []
        for name in self.layers:
            how = {"normalization": self.scaling}
            losses.append(feature_loss(features[name], wanted[name], **how))
        return torch.stack(losses).mean()

    def discriminator_loss(
        self,
        output: torch.Tensor,
        target: torch.Tensor,
        code: torch.Tensor | None = None,
        *,
        discriminator: Callable | None = None,
    ) -> LossTerms:
        """The discriminator's terms: ``real``, mean -log D(target), and ``made``, mean
        -log(1 - D(output)).

        Both are looked at in one pass, as wrappers for many processes want it.

        Args:
            output: (M, 3, H, W), detached here from whatever made it; a whole multiple
                of the targets, so that samples can stand beside reconstructions.
            target: (N, 3, H, W).
            code: (N, C, h, w), or None.
            discriminator: the same in a wrapper of the training loop;
                its own if left out.

        Raises:
            InputError: numbers of pictures that do not fit.
        """
        if len(output) % len(target):
            raise InputError(
                f"{len(output)} outputs were given for {len(target)} targets; "
                "give a multiple of them"
            )
        discriminator = self.discriminator if discriminator is None else discriminator
        both = torch.cat([target, output.detach().to(target.dtype)])
        logits = discriminator(both, *_told(code, len(both) // len(target)))
        logits = at_least_float32(logits)
        return LossTerms(
            real=F.softplus(-logits[: len(target)]).mean(),
            made=F.softplus(logits[len(target) :]).mean(),
        )

    def has_won(
        self,
        discriminator: LossTerms,
        generator: LossTerms,
        pause_below: float = PAUSE_BELOW,
    ) -> torch.Tensor:
        """Whether the discriminator is to pause: its loss is less than 0.1 of the
        generator's adversarial loss.

        Args:
            discriminator: what :meth:`discriminator_loss` returned.
            generator: what calling the loss returned, for the same pictures.
            pause_below: the ratio.

        Returns:
            a boolean tensor on the device of the losses: nothing is copied to the host.

        Raises:
            InputError: the loss has no adversarial term.

        Source: Dosovitskiy and Brox (2016), section 3.4.
        """
        if not self.weights["adversarial"]:
            raise InputError(
                "the loss has no adversarial term, so nothing can be won; give "
                "adversarial a positive weight"
            )
        adversarial = generator["adversarial"].detach() / self.weights["adversarial"]
        return discriminator.total.detach() < pause_below * adversarial


def _told(code: torch.Tensor | None, times: int) -> tuple[torch.Tensor, ...]:
    """What a discriminator is given beside pictures that are so many times as
    many as the codes.
    """
    if code is None:
        return ()
    return (code if times == 1 else code.repeat(times, 1, 1, 1),)


def kl_divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """How far the Gaussians q(z | x) are from a standard normal distribution, in nats.

    KL = 1/2 sum (mean^2 + variance - log variance - 1), Kingma and Welling
    (2014), appendix B.

    Args:
        mean: (N, Z).
        log_variance: (N, Z), the natural logarithm.

    Returns:
        (N,), float32, at least 0.

    Raises:
        InputError: shapes differ.

    Example:
        >>> standard, shifted = torch.zeros(1, 4), torch.full((1, 4), 3.0)
        >>> kl_divergence(standard, standard)
        tensor([0.])
        >>> kl_divergence(shifted, standard)  # 4 * 3**2 / 2 nats
        tensor([18.])

    Taught in chapter 9.
    """
    check_dense(mean, "the mean")
    check_dense(log_variance, "the log-variance")
    check_together(mean, log_variance, "the mean and the log-variance")
    if mean.shape != log_variance.shape or mean.ndim != 2:
        raise InputError(
            f"means of shape {tuple(mean.shape)} and log-variances of shape "
            f"{tuple(log_variance.shape)} were given; give two of shape (N, Z)"
        )
    mean, log_variance = mean.float(), log_variance.float()
    return (mean.square() + log_variance.exp() - log_variance - 1).sum(1) / 2
