"""The network that learns: one optimizer step, its running average,
its discriminator.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..device import best_precision, compiled_or_eager
from ..memory import keep_freed_memory
from ..settings import TrainingSettings
from .adversary import Adversary, load_adam

if TYPE_CHECKING:
    from .task import Task


class Learner:
    """A task's network with its optimizer, its running average and its discriminator.

    Nothing random is remembered: what a step does depends on the weights, on the
    settings and on its number.
    """

    def __init__(
        self, task: Task, settings: TrainingSettings, accelerator: Any
    ) -> None:
        self.task, self.settings, self.accelerator = task, settings, accelerator
        self.device = accelerator.device
        if self.device.type == "cpu":
            keep_freed_memory()
        self.dtype = best_precision(self.device, settings.precision)
        network = task.network.to(self.device, memory_format=torch.channels_last)
        self.network = network.requires_grad_().train()
        self.average = None
        if settings.ema:
            from torch.optim.swa_utils import AveragedModel

            self.average = AveragedModel(self.network, use_buffers=True)
        fused = {"fused": True} if self.device.type in ("cpu", "cuda") else {}
        optimizer = torch.optim.Adam(
            self.network.parameters(), lr=settings.learning_rate, **fused
        )
        self.prepared, self.optimizer = accelerator.prepare(self.network, optimizer)
        if settings.compile:
            self.prepared = compiled_or_eager(self.prepared, self.device)
        adversary = getattr(task, "adversary", None)
        self.adversary = adversary and Adversary(
            adversary, settings, accelerator, self.device
        )
        # batch statistics and singular vectors move in a forward pass; without them a
        # step that was left before its optimizer moved is as if it had not begun
        normalised = any(isinstance(m, _BatchNorm) for m in self.network.modules())
        self.forward_keeps_no_state = self.adversary is None and not normalised
        # False while a step is under way: then weights, averages and log are not of one
        # step, and no checkpoint may be written; who logs the step sets it again
        self.step_is_complete = True

    def step(
        self, images: torch.Tensor, *, number: int, first: int, seed: int
    ) -> tuple[tuple[str, ...], torch.Tensor]:
        """One step downhill.

        Args:
            images: (N, 3, size, size) in [0, 1].
            number: of the step, counted from 0.
            first: the number of the first crop in the stream.
            seed: of what is drawn in this step.

        Returns:
            The names of the terms, the total last, and their values, on the device.
        """
        settings = self.settings
        rate = learning_rate(settings, number)
        for group in self.optimizer.param_groups:
            group["lr"], group["betas"] = rate, tuple(settings.betas)
        torch.manual_seed(seed)
        images = images.to(self.device, non_blocking=True)
        images = images.contiguous(memory_format=torch.channels_last)
        self.step_is_complete = self.forward_keeps_no_state
        if self.adversary is not None:
            self.adversary.watch()
        with self.autocast():
            terms = self.task.loss(self.prepared, images, first)
            total = terms.total
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(total)
        if settings.gradient_clip:
            self.accelerator.clip_grad_norm_(
                self.network.parameters(), settings.gradient_clip
            )
        self.step_is_complete = False
        self.optimizer.step()
        if self.average is not None:
            _follow(self.average, self.network, settings.ema, first=number == 0)
        names = (*terms, "total")
        values = torch.stack([*terms.values(), total]).detach()
        if self.adversary is not None:
            share = rate / settings.learning_rate
            moved = self.adversary.step(self.task, share, self.autocast())
            names = (*terms, *self.adversary.NAMES, "total")
            values = torch.cat([values[:-1], moved, values[-1:]])
        return names, values

    def autocast(self) -> torch.autocast:
        """The context of the precision that is trained in."""
        enabled = self.dtype != torch.float32
        return torch.autocast(self.device.type, self.dtype, enabled=enabled)

    def trained_network(self) -> nn.Module:
        """The network, or its running average where one is kept, in eval mode."""
        network = self.network if self.average is None else self.average.module
        return network.eval()

    def samples(self) -> torch.Tensor:
        """The task's picture of what the network does now, (1, 3, H, W) in [0, 1]."""
        network = self.trained_network()
        with torch.inference_mode(), self.autocast():
            image = self.task.samples(network).float().clamp(0, 1)
        self.network.train()
        return image

    def is_finite(self) -> bool:
        """Whether all weights are; waits for the device."""
        weights = self.network.parameters()
        good = bool(torch.stack([p.detach().isfinite().all() for p in weights]).all())
        return good and (self.adversary is None or self.adversary.finite())

    def state_dict(self) -> dict:
        """What a checkpoint keeps."""
        average, adversary = self.average, self.adversary
        return {
            "network": self.network.state_dict(),
            "average": None if average is None else average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "adversary": None if adversary is None else adversary.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        """What :meth:`state_dict` gave."""
        self.network.load_state_dict(state["network"])
        load_adam(self.optimizer, state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])


@torch.no_grad()
def _follow(
    average: nn.Module, network: nn.Module, decay: float, *, first: bool
) -> None:
    """One step of the running average.

    AveragedModel's own asks the device whether it is the first.
    """
    averages, values = (
        [*module.parameters(), *module.buffers()]
        for module in (average.module, network)
    )
    if first:
        torch._foreach_copy_(averages, values)
    else:
        both = zip(averages, values, strict=True)
        pairs = [pair for pair in both if pair[0].is_floating_point()]
        torch._foreach_lerp_(*map(list, zip(*pairs, strict=True)), 1 - decay)
    average.n_averaged += 1


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """The rate of step number ``step``, counted from 0."""
    rate = settings.learning_rate
    if settings.schedule == "cosine":
        rate *= (1 + math.cos(math.pi * step / settings.steps)) / 2
    return rate * min(1.0, (step + 1) / settings.warmup) if settings.warmup else rate


def mixed_seed(*numbers: int) -> int:
    """One seed out of several numbers."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7], "big")
