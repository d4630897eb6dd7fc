"""The log of a run: means of the loss terms, as lines of a CSV and for TensorBoard."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import needed
from ..files import write_whole
from ..images import write_image
from ..terms import Record
from .checkpoint import LOG
from .learner import learning_rate

if TYPE_CHECKING:
    from ..settings import TrainingSettings


class NotFinite(ArithmeticError):
    """A loss that is no number; its text says which, and by which step."""


class RunLog:
    """The terms since the line before, the lines, and the files that keep them.

    Args:
        accelerator: over whose processes the means are taken.
        settings: of the run.
        folder: where to write; nothing is written without it.
    """

    def __init__(
        self,
        accelerator: Any,
        settings: TrainingSettings,
        folder: Path | None,
    ) -> None:
        self.accelerator, self.settings, self.folder = accelerator, settings, folder
        self.names: tuple[str, ...] = ()
        self.sums: torch.Tensor | None = None
        self.history: list[Record] = []
        self.tensorboard: Any = None
        missing = importlib.util.find_spec("tensorboard") is None
        if settings.tensorboard and missing:
            tensorboard_writer(Path(), 0)  # its sentence, in all processes

    def open(self, step: int) -> None:
        """Begin with TensorBoard after this step, if it was asked for."""
        main = self.accelerator.is_main_process
        if self.settings.tensorboard and main and self.folder is not None:
            self.tensorboard = tensorboard_writer(self.folder, step)

    def close(self) -> None:
        """Nothing more is written."""
        if self.tensorboard is not None:
            with contextlib.suppress(OSError):  # on a full disk
                self.tensorboard.close()

    def add(self, names: tuple[str, ...], values: torch.Tensor) -> None:
        """The terms of one step, the total last; nothing is copied to the host."""
        self.names = names
        self.sums = values if self.sums is None else self.sums + values

    def line(self, step: int, seconds: float) -> Record:
        """The means since the line before, over all processes.

        This is the one place where the host waits for the device.

        Raises:
            NotFinite: a mean is no number.
        """
        assert self.sums is not None, "a step was added before"
        count = (step - 1) % self.settings.log_every + 1
        means = self.accelerator.reduce(self.sums / count, "mean").tolist()
        self.sums = None
        if not math.isfinite(means[-1]):
            raise NotFinite(f"the loss became {means[-1]} by step {step}")
        terms = dict(zip(self.names[:-1], means, strict=False))
        for name, value in terms.items():
            if not math.isfinite(value):
                raise NotFinite(f"the loss {name} became {value} by step {step}")
        record = Record(step, means[-1], terms, seconds)
        self.history.append(record)
        return record

    def write(self, record: Record, rate: float) -> None:
        """One line more in the files."""
        if self.folder is None:
            return
        append_row(self.folder / LOG, record, rate)
        if self.tensorboard is not None:
            values = {"total": record.total, "learning_rate": rate}
            for name, value in {**record.terms, **values}.items():
                self.tensorboard.add_scalar(name, value, record.step)

    def write_samples(self, step: int, image: torch.Tensor) -> None:
        """A picture (1, 3, H, W) of what the network does at this step."""
        if self.folder is None:
            return
        (self.folder / "samples").mkdir(exist_ok=True)
        write_image(self.folder / "samples" / f"step_{step:06}.jpg", image)
        if self.tensorboard is not None:
            self.tensorboard.add_image("samples", image[0].cpu(), step)

    def rewrite(self) -> None:
        """The file with the lines of the history alone."""
        rows = ((r, learning_rate(self.settings, r.step - 1)) for r in self.history)
        if self.folder is not None:
            rewrite_log(self.folder / LOG, rows)

    def state_dict(self, *, shared: bool) -> dict:
        """What a checkpoint keeps.

        Args:
            shared: the means over all processes, which must call this together.
        """
        sums = self.sums
        if sums is not None and shared:
            sums = self.accelerator.reduce(sums.clone(), "mean")
        lines = [(r.step, r.total, r.terms, r.seconds) for r in self.history]
        return {"sums": sums, "names": list(self.names), "history": lines}

    def load_state_dict(self, state: dict) -> None:
        """What :meth:`state_dict` gave."""
        if state["sums"] is not None:
            self.sums = state["sums"].to(self.accelerator.device)
        self.names = tuple(state["names"])
        self.history[:] = [Record(*row) for row in state["history"]]


def append_row(path: Path, record: Record, rate: float) -> None:
    """One line more of the log, and the names of the columns before the first."""
    fresh = not path.exists()
    text = _lines([(record, rate)], header=fresh)
    with path.open("a", newline="", encoding="utf-8") as file:
        file.write(text)


def rewrite_log(path: Path, rows: Iterable[tuple[Record, float]]) -> None:
    """The log with these lines alone; without any, no log."""
    rows = list(rows)
    if rows:
        write_whole(path, lambda file: file.write(_lines(rows, header=True).encode()))
    else:
        path.unlink(missing_ok=True)


def _lines(rows: list[tuple[Record, float]], *, header: bool) -> str:
    text = io.StringIO(newline="")
    for number, (record, rate) in enumerate(rows):
        terms = {name: f"{value:.8g}" for name, value in record.terms.items()}
        row = {"step": record.step, "total": f"{record.total:.8g}", **terms}
        row |= {"learning_rate": f"{rate:.4g}", "seconds": f"{record.seconds:.1f}"}
        writer = csv.DictWriter(text, row)
        if header and not number:
            writer.writeheader()
        writer.writerow(row)
    return text.getvalue()


def tensorboard_writer(folder: Path, step: int) -> Any:
    """A writer that drops what an earlier run logged after this step.

    Raises:
        InputError: the package tensorboard is missing.
    """
    needed("tensorboard", "logs of tensorboard=True", "train")
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
