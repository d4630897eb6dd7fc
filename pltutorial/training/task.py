"""What the training loop asks for, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from ..terms import LossTerms, Record


class Task(Protocol):
    """What the loop asks of a task.

    A task may have an ``adversary``, a discriminator, and
    ``adversary_loss(adversary)``, which gives the terms of its loss for the pictures
    of the last call of ``loss``, and the generator's adversarial loss; it learns
    after each step then. It may have ``own_pictures()``, which gives the Pictures that
    it is trained on where nothing is said.

    Example:
        >>> task: Task = DenoisingTask(DenoisingSettings(width=4, blocks=1))
        >>> terms = task.loss(task.network, torch.rand(2, 3, 32, 32), first=0)
        >>> list(terms), terms.total.requires_grad
        (['pixel'], True)
        >>> task.samples(task.network).shape[:2]
        torch.Size([1, 3])
    """

    network: nn.Module

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The terms for a batch; nothing goes to the host.

        ``first`` is the number of its first crop in the stream.
        """

    def samples(self, network: nn.Module) -> torch.Tensor:
        """One picture (1, 3, H, W) in [0, 1] that shows what the network does."""


@dataclass
class Trained:
    """A trained network in eval mode (its running average where one was kept).

    With a Record for each line of the log, the seconds trained over all runs, why it
    stopped (``done``, ``minutes``, ``interrupted``), the pictures that were broken, how
    many pictures of which source there were, the steps taken over all runs, the
    file that holds the network, None without a folder, and the signal's number if one
    interrupted it.

    Example:
        >>> trained = train(
        ...     DenoisingTask(DenoisingSettings(width=4, blocks=1)),
        ...     steps=2, batch_size=1, size=32, progress=False,
        ... )
        >>> trained.steps, trained.stopped, trained.file
        (2, 'done', None)
        >>> trained.network(torch.rand(1, 3, 32, 32)).shape
        torch.Size([1, 3, 32, 32])
    """

    network: nn.Module
    history: list[Record] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = "done"
    broken: list[str] = field(default_factory=list)
    pictures: int = 0
    source: str = ""
    steps: int = 0
    file: Path | None = None
    signal: int | None = None
