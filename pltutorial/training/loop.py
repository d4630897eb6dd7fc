"""One training loop for every network: any device, any number of processes, and exact resume.

A task says what the network is and which loss is taken; the loop does the rest. Nothing random is remembered
between steps: crops, noise and learning rate are functions of the seed and the number of the step, so a run that
was killed and resumed ends with the very same weights as one that never was.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm.auto import tqdm

from ._kernels import keep_freed_memory
from .adversary import Adversary
from .datasets import BrokenPictures, Pictures, loader
from .device import best_device, best_precision, compiled_or_eager, is_out_of_memory
from .errors import InputError
from .images import write_image
from .losses import LossTerms
from .networks import save_network
from .optimize import Record
from .runfiles import (
    ADVERSARY,
    CHECKPOINT,
    LOG,
    NETWORK,
    append_row,
    prepare,
    read_checkpoint,
    rewrite_log,
    tensorboard_writer,
    write_checkpoint,
)
from .settings import StyleTrainingSettings as StyleTrainingSettings
from .settings import TrainingSettings, changed
from .style_training import StyleTask as StyleTask
from .style_training import style_card as style_card

# What may differ between a run and the run that goes on from its checkpoint; all else decides what is learned.
_MAY_CHANGE = {
    *(
        "steps",
        "learning_rate",
        "betas",
        "schedule",
        "warmup",
        "gradient_clip",
        "discriminator_rate",
        "give_up",
        "ema",
        "max_broken",
        "start",
        "workers",
    ),
    *("sample_every", "checkpoint_every", "device", "precision", "compile", "tensorboard", "progress"),
    *("network", "width", "blocks", "norm", "upsampling"),  # the network itself is compared
}


class Task(Protocol):
    """What the loop asks of a task.

    A task may have an ``adversary``, a discriminator, and ``adversary_loss(adversary)``, which gives the terms of its loss
    for the pictures of the last call of ``loss``, and the generator's adversarial loss; it learns after each step then.
    """

    network: nn.Module

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The terms for a batch; ``first`` is the number of its first crop in the stream. Nothing goes to the host."""

    def samples(self, network: nn.Module) -> torch.Tensor:
        """One picture (1, 3, H, W) in [0, 1] that shows what the network does."""


@dataclass
class Trained:
    """A trained network in eval mode (its running average where one was kept), a Record for each line of the log,
    the seconds trained over all runs, why it stopped (``done``, ``interrupted``), the pictures that were broken, and
    how many pictures of which source there were.
    """

    network: nn.Module
    history: list[Record] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = "done"
    broken: list[str] = field(default_factory=list)
    pictures: int = 0
    source: str = ""


def train(
    task: Task,
    settings: TrainingSettings | None = None,
    *,
    pictures: Pictures | str | Path | None = None,
    folder: str | Path | None = None,
    card: Callable[[Trained], dict] | None = None,
    callback: Callable[[Record], None] | None = None,
    **changes,
) -> Trained:
    """Train a task's network; the same command goes on where an earlier run of it stopped.

    With a ``folder`` it writes ``log.csv`` (means of the terms since the line before), ``samples/``, a checkpoint
    ``checkpoint.pt`` and ``network.safetensors``; each is written whole or not at all. Under ``accelerate
    launch`` or ``torchrun`` the batch is shared among the processes, which take the same steps as one process would.
    Ctrl-C, or SIGTERM, ends the run after the step under way, with a checkpoint; a second one ends it at once.

    Args:
        task: see Task; StyleTask is one.
        settings: see TrainingSettings; the task's own if left out. ``**changes`` set single ones, ``steps=500``.
        pictures: what to train on: Pictures, or their source; the bundled training photographs by default.
        folder: where to write; nothing is written without it.
        card: makes the card that is kept with the network.
        callback: called with a Record after each line of the log; ``image`` holds samples at their intervals.

    Returns:
        Trained.

    Raises:
        InputError: settings or pictures that make no sense, a folder that cannot be written, a checkpoint that is
            damaged or of another run, a loss that is no number, a process of the run that died.

    Taught in chapter 5.
    """
    given = settings if settings is not None else getattr(task, "settings", None)
    settings = changed(given, type(given) if given is not None else TrainingSettings, changes)
    return _Run(task, settings, pictures, folder, card, callback).go()


class _Run:
    """The state of one run: what a checkpoint holds, and where it is written."""

    def __init__(self, task, settings, pictures, folder, card, callback) -> None:
        self.task, self.settings, self.card, self.callback = task, settings, card, callback
        self.accelerator = _accelerator(settings)
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.main = self.accelerator.is_main_process
        if settings.batch_size % self.world:
            raise InputError(
                f"a batch of {settings.batch_size} was given to {self.world} processes; give a multiple of {self.world}"
            )
        self.batch = settings.batch_size // self.world
        if self.batch == 1 < self.world and getattr(settings, "norm", "") == "batch":
            raise InputError(
                f"a batch of {settings.batch_size} was given to {self.world} processes with norm='batch', which compares "
                f"the pictures of a batch; give at least {2 * self.world}, or another norm"
            )
        if not isinstance(pictures, Pictures):
            pictures = Pictures(pictures, settings.size, seed=settings.seed, zoom=settings.zoom)
        self.pictures = pictures
        self.folder = None if folder is None else prepare(Path(folder))
        self.device = self.accelerator.device
        if self.device.type == "cpu":
            keep_freed_memory()
        self.dtype = best_precision(self.device, settings.precision)
        self.network = (
            task.network.to(self.device, memory_format=torch.channels_last).requires_grad_().train()
        )
        self.average = self._running_average()
        fused = {"fused": True} if self.device.type in ("cpu", "cuda") else {}
        optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate, **fused)
        self.prepared, self.optimizer = self.accelerator.prepare(self.network, optimizer)
        if settings.compile:
            self.prepared = compiled_or_eager(self.prepared, self.device)
        adversary = getattr(task, "adversary", None)
        self.adversary = adversary and Adversary(adversary, settings, self.accelerator, self.device)
        modules = self.network.modules()
        self.still = self.adversary is None and not any(isinstance(one, _BatchNorm) for one in modules)
        self.broken = BrokenPictures(settings.max_broken)
        self.result = Trained(self.network, pictures=len(pictures), source=str(pictures.source))
        self.step, self.earlier, self.sums, self.names = 0, 0.0, None, ()
        self.whole = (
            True  # False while a step is under way: weights, averages and log are not of one step then
        )
        self.begin, self.writer = time.perf_counter(), None

    def _running_average(self):
        if not self.settings.ema:
            return None
        from torch.optim.swa_utils import AveragedModel

        return AveragedModel(self.network, use_buffers=True)

    def go(self) -> Trained:
        settings = self.settings
        if settings.tensorboard and importlib.util.find_spec("tensorboard") is None:
            tensorboard_writer(Path(), 0)  # its sentence, in all processes
        if self.folder is not None:
            self._resume()
        if settings.tensorboard and self.main and self.folder is not None:
            self.writer = tensorboard_writer(self.folder, self.step)
        self.begin = time.perf_counter()
        silent = not settings.progress or not self.main or bool(os.environ.get("TQDM_DISABLE"))
        bar = tqdm(total=settings.steps, initial=self.step, disable=silent, unit="step", leave=False)
        with bar, _deferred_signals() as asked:
            try:
                self._steps(bar, asked)
            except KeyboardInterrupt:
                self._interrupted()
            except InputError:
                if not (asked and self.whole):
                    raise
                self._interrupted()  # a worker or another process was stopped by the same signal first
            except RuntimeError as problem:
                sentence = _as_input_error(problem, self)
                if sentence is not None and self.world > 1 and self.whole:
                    self._interrupted()
                    if asked:
                        return self._finish()
                raise sentence or problem from problem
            except OSError as problem:
                raise self._unwritable(problem) from problem
            finally:
                if self.writer is not None:
                    with contextlib.suppress(OSError):  # on a full disk
                        self.writer.close()
        return self._finish()

    def _finish(self) -> Trained:
        result = self.result
        result.seconds, result.broken = self._seconds(), list(self.broken.names)
        if self.world > 1 and result.stopped == "done":
            from accelerate.utils import gather_object

            result.broken = list(dict.fromkeys(gather_object(result.broken)))
        result.network = self._trained_network()
        if self.folder is not None and self.main and hasattr(result.network, "config"):
            about = self.card(result) if self.card is not None else {}
            save_network(self.folder / NETWORK, result.network, about)
            if self.adversary is not None and hasattr(self.adversary.module, "config"):
                save_network(self.folder / ADVERSARY, self.adversary.module, about)
        return result

    def _steps(self, bar, asked: list) -> None:
        settings = self.settings
        batches = loader(
            self.pictures,
            self.batch,
            start=self.step,
            stop=settings.steps,
            rank=self.rank,
            world=self.world,
            workers=settings.workers,
            device=self.device,
        )
        with contextlib.closing(batches):
            for images, broken in batches:
                self.broken.add(len(images), broken)
                self._one_step(images)
                bar.update()
                self._after_step(bar, stopping=bool(asked))
                if asked:
                    raise KeyboardInterrupt

    def _one_step(self, images: torch.Tensor) -> None:
        settings = self.settings
        rate = _learning_rate(settings, self.step)
        for group in self.optimizer.param_groups:
            group["lr"], group["betas"] = rate, tuple(settings.betas)
        first = (self.step * self.world + self.rank) * self.batch
        torch.manual_seed(_mixed(settings.seed, self.step, self.rank))
        images = images.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        self.whole = self.still  # a forward pass moves batch statistics and singular vectors
        if self.adversary is not None:
            self.adversary.watch()
        with self._autocast():
            terms = self.task.loss(self.prepared, images, first)
            total = terms.total
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(total)
        if settings.gradient_clip:
            self.accelerator.clip_grad_norm_(self.network.parameters(), settings.gradient_clip)
        self.whole = False
        self.optimizer.step()
        if self.average is not None:
            _follow(self.average, self.network, settings.ema, first=self.step == 0)
        self.names = (*terms, "total")
        values = torch.stack([*terms.values(), total]).detach()
        if self.adversary is not None:
            game = self.adversary.step(self.task, rate / settings.learning_rate, self._autocast())
            self.names, values = (
                (*terms, *self.adversary.NAMES, "total"),
                torch.cat([values[:-1], game, values[-1:]]),
            )
        self.sums = values if self.sums is None else self.sums + values
        self.step += 1

    def _autocast(self):
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def _after_step(self, bar, *, stopping: bool) -> None:
        settings, step, last = self.settings, self.step, self.step == self.settings.steps
        record = None
        if step % settings.log_every == 0 or last:
            record = self._log(bar)
        self.whole = True
        image = None
        if self.main and settings.sample_every and (step % settings.sample_every == 0 or last):
            image = self._samples()
        if record is not None and self.callback is not None and self.main:
            self.callback(Record(record.step, record.total, record.terms, record.seconds, image))
        if last or (settings.checkpoint_every and step % settings.checkpoint_every == 0 and not stopping):
            self._checkpoint()

    def _log(self, bar) -> Record:
        count = (self.step - 1) % self.settings.log_every + 1
        means = self.accelerator.reduce(self.sums / count, "mean").tolist()  # the one wait for the device
        self.sums = None
        if not math.isfinite(means[-1]):
            raise self._no_number(f"the loss became {means[-1]} by step {self.step}")
        terms = dict(zip(self.names[:-1], means, strict=False))
        if not all(map(math.isfinite, means)):
            name = next(name for name, value in terms.items() if not math.isfinite(value))
            raise self._no_number(f"the loss {name} became {terms[name]} by step {self.step}")
        record = Record(self.step, means[-1], terms, self._seconds())
        self.result.history.append(record)
        if self.adversary is not None:
            try:
                self.adversary.check(self.result.history)
            except InputError as problem:
                raise InputError(f"{problem}{self._kept('the last checkpoint')}") from None
        bar.set_postfix_str(f"loss {record.total:.4g}", refresh=False)
        if self.main and self.folder is not None:
            rate = _learning_rate(self.settings, self.step - 1)
            append_row(self.folder / LOG, record, rate)
            if self.writer is not None:
                for name, value in {**record.terms, "total": record.total, "learning_rate": rate}.items():
                    self.writer.add_scalar(name, value, self.step)
        return record

    def _no_number(self, what: str) -> InputError:
        return InputError(
            f"{what}; lower learning_rate, or set gradient_clip or warmup{self._kept('the last good checkpoint')}"
        )

    def _kept(self, what: str) -> str:
        there = self.folder is not None and (self.folder / CHECKPOINT).exists()
        return f", {what} is kept in {str(self.folder)!r}" if there else ""

    def _unwritable(self, problem: OSError) -> InputError:
        where = problem.filename or self.folder
        return InputError(
            f"{str(where)!r} could not be written ({problem.strerror or problem}); mend that and start the same command "
            f"again{self._kept('the last checkpoint')}"
        )

    def _samples(self) -> torch.Tensor:
        network = self._trained_network()
        with torch.inference_mode(), self._autocast():
            image = self.task.samples(network).float().clamp(0, 1)
        self.network.train()
        if self.folder is not None:
            (self.folder / "samples").mkdir(exist_ok=True)
            write_image(self.folder / "samples" / f"step_{self.step:06}.jpg", image)
            if self.writer is not None:
                self.writer.add_image("samples", image[0].cpu(), self.step)
        return image

    def _trained_network(self) -> nn.Module:
        network = self.network if self.average is None else self.average.module
        return network.eval()

    def _seconds(self) -> float:
        return self.earlier + time.perf_counter() - self.begin

    # --- checkpoints --------------------------------------------------------------------------------------

    def _identity(self) -> dict:
        """What a checkpoint must agree on with the run that goes on from it."""
        config = getattr(self.network, "config", {"kind": type(self.network).__name__})
        kept = {name: value for name, value in asdict(self.settings).items() if name not in _MAY_CHANGE}
        kept |= {"average": bool(self.settings.ema), "pictures": self.pictures.digest}
        return {"task": type(self.task).__name__, "network": json.dumps(config), **kept}

    def _checkpoint(self, *, alone: bool = False) -> None:
        """Write the state; all processes call it together, or the main one alone for those that are gone."""
        good = bool(torch.stack([p.detach().isfinite().all() for p in self.network.parameters()]).all())
        if not good or (self.adversary is not None and not self.adversary.finite()):
            raise self._no_number(f"the weights are no longer finite at step {self.step}")
        sums = self.sums
        if sums is not None and not alone:
            sums = self.accelerator.reduce(sums.clone(), "mean")
        if self.folder is None or not self.main:
            return
        state = {
            "identity": self._identity(),
            "settings": asdict(self.settings),
            "step": self.step,
            "seconds": self._seconds(),
            "network": self.network.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "adversary": None if self.adversary is None else self.adversary.state_dict(),
            "sums": sums,
            "names": list(self.names),
            "history": [(r.step, r.total, r.terms, r.seconds) for r in self.result.history],
            "broken": (self.broken.looked, self.broken.count, list(self.broken.names)),
        }
        write_checkpoint(self.folder / CHECKPOINT, state)

    def _interrupted(self) -> None:
        self.result.stopped = "interrupted"
        if self.whole:  # else the last regular checkpoint is the one to go on from
            self._checkpoint(alone=True)

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if path.exists():
            self._take(path, read_checkpoint(path))
        else:
            (self.folder / LOG).unlink(missing_ok=True)
        steps = self.accelerator.gather(torch.tensor([self.step], device=self.device)).tolist()
        if len(set(steps)) > 1:
            raise InputError(
                f"the processes would go on from steps {', '.join(map(str, steps))}; give a folder that all of them share"
            )

    def _take(self, path: Path, state: dict) -> None:
        for name, value in self._identity().items():
            earlier = state["identity"].get(name, state["settings"].get(name))
            if json.dumps(earlier) != json.dumps(value):  # a list is as good as a tuple
                raise InputError(
                    f"the checkpoint {str(path)!r} was made with {name}={earlier} and this run has {name}={value}; "
                    "say the same again, or name another folder"
                )
        if state["step"] > self.settings.steps:
            raise InputError(
                f"the checkpoint {str(path)!r} is of step {state['step']} and {self.settings.steps} steps were asked for; "
                "ask for more, or name another folder"
            )
        if (self.adversary is None) != (state.get("adversary") is None):
            one, other = ("with", "none") if self.adversary is None else ("without", "one")
            raise InputError(
                f"the checkpoint {str(path)!r} was made {one} a discriminator and this run has {other}; "
                "say the same again, or name another folder"
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])
        self.step, self.earlier = state["step"], state["seconds"]
        self.sums = None if state["sums"] is None else state["sums"].to(self.device)
        self.names = tuple(state["names"])
        self.result.history = [Record(*row) for row in state["history"]]
        self.broken.looked, self.broken.count, names = state["broken"]
        self.broken.names = dict.fromkeys(names)
        if self.main:  # lines after the checkpoint are computed again
            rows = (
                (record, _learning_rate(self.settings, record.step - 1)) for record in self.result.history
            )
            rewrite_log(self.folder / LOG, rows)


@contextlib.contextmanager
def _deferred_signals() -> Iterator[list[int]]:
    """Yields a list that Ctrl-C and SIGTERM fill, so that a step is finished first; a second one stops at once."""
    asked: list[int] = []

    def note(number: int, frame) -> None:
        asked.append(number)
        if len(asked) > 2 or asked.count(signal.SIGINT) > 1:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    heard = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heard}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float, *, first: bool) -> None:
    """One step of the running average; AveragedModel's own asks the device whether it is the first."""
    mine, theirs = ([*n.parameters(), *n.buffers()] for n in (average.module, network))
    if first:
        torch._foreach_copy_(mine, theirs)
    else:
        pairs = [pair for pair in zip(mine, theirs, strict=True) if pair[0].is_floating_point()]
        torch._foreach_lerp_([one for one, _ in pairs], [other for _, other in pairs], 1 - decay)
    average.n_averaged += 1


def _accelerator(settings: TrainingSettings):
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError:
        raise InputError(
            "training needs the package accelerate; install it with: pip install 'pltutorial[train]'"
        ) from None
    if "WORLD_SIZE" not in os.environ:  # a notebook may train on another device than before
        AcceleratorState._reset_state(reset_partial_state=True)
    device = best_device(settings.device)
    if device.index is not None and device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        return Accelerator(cpu=device.type == "cpu", mixed_precision="no")
    except RuntimeError as problem:
        text, port = str(problem), os.environ.get("MASTER_PORT")
        if "EADDRINUSE" in text or "in use" in text:
            raise InputError(
                f"port {port} of the processes is taken; give another one, for example "
                "torchrun --master-port 29501, or accelerate launch --main_process_port 29501"
            ) from problem
        if any(word in text.lower() for word in ("timed out", "timeout", "refused")):
            raise InputError(
                f"the other processes were not found at {os.environ.get('MASTER_ADDR')}, port {port}; start all of them "
                "with torchrun or accelerate launch"
            ) from problem
        raise


def _as_input_error(problem: RuntimeError, run: _Run) -> InputError | None:
    """The sentence for what a user can mend; None for everything else."""
    text = str(problem)
    words = ("closed by peer", "Connection reset", "gloo", "NCCL", "Broken pipe", "timed out")
    if run.world > 1 and any(word in text for word in words):
        return InputError(
            f"another of the {run.world} processes stopped, so this one stops at step {run.step}; start the same command "
            "again to go on from the last checkpoint"
        )
    if is_out_of_memory(problem):
        return InputError(
            f"a batch of {run.batch} pictures of {run.settings.size} pixels does not fit into memory; "
            "lower batch_size or size"
        )
    return None


def _learning_rate(settings: TrainingSettings, step: int) -> float:
    """The rate of step number ``step``, counted from 0."""
    rate = settings.learning_rate
    if settings.schedule == "cosine":
        rate *= (1 + math.cos(math.pi * step / settings.steps)) / 2
    return rate * min(1.0, (step + 1) / settings.warmup) if settings.warmup else rate


def _mixed(*numbers: int) -> int:
    """One seed out of several numbers."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7], "big")
