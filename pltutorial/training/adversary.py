"""The other player of an adversarial training: the discriminator's step, its pauses,
and when it has won for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import InputError
from ..settings import TrainingSettings

if TYPE_CHECKING:
    from ..terms import Record


@dataclass(frozen=True)
class Rules:
    """How a discriminator learns, with what holds where a task's
    settings do not say it.
    """

    discriminator_rate: float = 2e-4
    pause_below: float = 0.1
    give_up: int = 2000
    gradient_clip: float = 0.0
    betas: tuple[float, ...] = (0.9, 0.999)

    @classmethod
    def of(cls, settings: TrainingSettings) -> Rules:
        """The rules in a training's settings."""
        names = [rule.name for rule in fields(cls) if hasattr(settings, rule.name)]
        return cls(**{name: getattr(settings, name) for name in names})


class Adversary:
    """A task's discriminator in the training loop, with its own optimizer; it moves
    after the generator has.

    While its loss is below ``pause_below`` of the generator's adversarial loss it
    does not learn (Dosovitskiy and Brox 2016, section 3.4). That is decided on the
    device: the fused optimizer skips a step when it is told so by a tensor, as it
    does for mixed precision.
    """

    NAMES = ("discriminator", "paused")

    def __init__(
        self,
        module: nn.Module,
        settings: TrainingSettings,
        accelerator: Any,
        device: torch.device,
    ) -> None:
        self.settings, self.accelerator = Rules.of(settings), accelerator
        module = module.to(device, memory_format=torch.channels_last)
        self.module = module.train().requires_grad_()
        self.fused = device.type in ("cpu", "cuda")
        optimizer = torch.optim.Adam(
            self.module.parameters(),
            lr=self.settings.discriminator_rate,
            fused=self.fused or None,
        )
        self.prepared, self.optimizer = accelerator.prepare(self.module, optimizer)

    def watch(self) -> None:
        """Hold still while the generator takes its step through the discriminator."""
        self.module.requires_grad_(False)

    def step(
        self, task: Any, share: float, autocast: AbstractContextManager
    ) -> torch.Tensor:
        """One move.

        Args:
            task: its ``adversary_loss`` gives the terms for the pictures of
                the generator's step.
            share: of the learning rate, as the schedule has it.
            autocast: the context that the generator's step had.

        Returns:
            (2,): the loss, and 1 where it paused.
        """
        self.module.requires_grad_()
        with autocast:
            terms, adversarial = task.adversary_loss(self.prepared)
        total = terms.total
        both = torch.stack([total.detach(), adversarial.float()])
        if self.accelerator.num_processes > 1:  # all of them must decide alike
            both = self.accelerator.reduce(both, "mean")
        paused = (both[0] < self.settings.pause_below * both[1]).float()
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(total)
        if self.settings.gradient_clip:
            self.accelerator.clip_grad_norm_(
                self.module.parameters(), self.settings.gradient_clip
            )
        optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        for group in optimizer.param_groups:
            group["lr"] = self.settings.discriminator_rate * share
            group["betas"] = tuple(self.settings.betas)
        if self.fused:
            optimizer.found_inf = paused
            self.optimizer.step()
        elif not bool(paused):
            self.optimizer.step()
        return torch.stack([total.detach(), paused])

    def finite(self) -> bool:
        """Whether all weights are."""
        return bool(
            torch.stack(
                [p.detach().isfinite().all() for p in self.module.parameters()]
            ).all()
        )

    def check(self, history: Sequence[Record]) -> None:
        """Stop when it has paused in every step for too long: the generator learns
        nothing from it any more.

        Raises:
            InputError: it has won.
        """
        limit, since = self.settings.give_up, 0
        for record in reversed(history):
            if record.terms["paused"] < 1 - 1e-6:  # a mean of ones may round
                since = record.step
                break
        if limit and history and history[-1].step - since >= limit:
            raise InputError(
                "the discriminator has won: it paused in all of the last "
                f"{history[-1].step - since:,} steps and the generator did not "
                "catch up; lower discriminator_rate, raise learning_rate or "
                "image_weight, or raise give_up"
            )

    def state_dict(self) -> dict:
        """Weights and optimizer."""
        return {
            "network": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        """What :meth:`state_dict` gave."""
        self.module.load_state_dict(state["network"])
        load_adam(self.optimizer, state["optimizer"])


def load_adam(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Go on from an optimizer's state; its options stay those of this run.

    Raises:
        ValueError: its moments are not of these weights.
    """
    options = [{**group, "params": None} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, options, strict=True):
        group.update({**own, "params": group["params"]})
        for parameter in group["params"]:
            kept = optimizer.state.get(parameter, {})
            shapes = {name: tuple(value.shape) for name, value in kept.items()}
            moments = dict.fromkeys(("exp_avg", "exp_avg_sq"), tuple(parameter.shape))
            if kept and shapes != {"step": (), **moments}:
                raise ValueError(f"moments of {shapes} for {tuple(parameter.shape)}")
