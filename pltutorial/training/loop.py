"""One training loop for every network: any device, any number of processes.

A task says what the network is and which loss is taken; the loop does the rest. Nothing
random is remembered between steps: crops, noise and learning rate are functions of the
seed and the number of the step, so a run that was killed and resumed ends with the very
same weights as one that never was.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from ..errors import InputError
from ..settings import TrainingSettings, changed
from ..terms import Record
from .checkpoint import (
    ADVERSARY,
    CHECKPOINT,
    NETWORK,
    check_progress,
    check_same_run,
    foreign,
    identity,
    no_number,
    read_checkpoint,
    run_folder,
    unwritable,
    what_is_kept,
    write_checkpoint,
    write_network,
)
from .engine import batch_of_a_process, explained, start_accelerator
from .interrupts import deferred_signals
from .learner import Learner, learning_rate, mixed_seed
from .log import NotFinite, RunLog
from .pictures import BrokenPictures, Pictures, loader
from .task import Task, Trained


def train(
    task: Task,
    settings: TrainingSettings | None = None,
    *,
    pictures: Pictures | str | Path | None = None,
    folder: str | Path | None = None,
    card: Callable[[Trained], dict] | None = None,
    callback: Callable[[Record], None] | None = None,
    **changes: object,
) -> Trained:
    """Train a task's network; the same command goes on where an earlier run stopped.

    With a ``folder`` it writes ``log.csv`` (means of the terms since the line before),
    ``samples/``, a checkpoint ``checkpoint.pt`` and ``network.safetensors``; each is
    written whole or not at all. A network of your own, any ``nn.Module``, is kept as
    its state dict, see ``Trained.file``. Under ``accelerate launch`` or ``torchrun``
    the batch is shared among the processes, which take the same steps as one process
    would. Ctrl-C, or SIGTERM, ends the run after the step under way, with a checkpoint;
    a second one ends it at once. ``minutes`` in the settings ends it in the same way.

    Args:
        task: see Task; StyleTask is one.
        settings: see TrainingSettings; the task's own if left out. ``**changes`` set
            single ones, ``steps=500``.
        pictures: what to train on: Pictures, or their source; by default the task's own
            where it has some, else the bundled training photographs.
        folder: where to write; nothing is written without it.
        card: makes the card that is kept with the network.
        callback: called with a Record after each line of the log; ``image`` holds
            samples at their intervals.

    Returns:
        Trained.

    Raises:
        InputError: settings or pictures that make no sense, a folder that cannot be
            written, a checkpoint that is damaged or of another run, a loss that is no
            number, a process of the run that died.

    Example:
        >>> from pltutorial.losses import LossTerms, pixel_loss
        >>> class Brighter:
        ...     def __init__(self):
        ...         self.network = torch.nn.Conv2d(3, 3, 1)
        ...     def loss(self, network, images, first):
        ...         output, target = network(images), 0.5 + 0.5 * images
        ...         return LossTerms(pixel=pixel_loss(output, target))
        ...     def samples(self, network):
        ...         return network(torch.zeros(1, 3, 8, 8))
        >>> trained = train(Brighter(), steps=2, batch_size=2, size=8, progress=False)
        >>> trained.steps, trained.stopped
        (2, 'done')

    Taught in chapter 5.
    """
    given = settings if settings is not None else getattr(task, "settings", None)
    kind = type(given) if given is not None else TrainingSettings
    settings = changed(given, kind, changes)
    with run_folder(folder) as place:
        return _Run(task, settings, pictures, place, card, callback).run()


class _Run:
    """The state of one run: what a checkpoint holds, and where it is written."""

    def __init__(
        self,
        task: Task,
        settings: TrainingSettings,
        pictures: Pictures | str | Path | None,
        folder: Path | None,
        card: Callable[[Trained], dict] | None,
        callback: Callable[[Record], None] | None,
    ) -> None:
        self.task, self.settings = task, settings
        self.card, self.callback = card, callback
        self.accelerator = start_accelerator(settings)
        self.rank = self.accelerator.process_index
        self.world = self.accelerator.num_processes
        self.main = self.accelerator.is_main_process
        self.batch = batch_of_a_process(settings, self.world)
        if pictures is None and hasattr(task, "own_pictures"):
            pictures = task.own_pictures()
        if not isinstance(pictures, Pictures):
            more = {n: getattr(settings, n) for n in ("seed", "zoom", "cache")}
            more["flip"] = getattr(settings, "flip", True)
            pictures = Pictures(pictures, settings.size, **more)
        self.pictures = pictures
        self.folder = folder
        self.learner = Learner(task, settings, self.accelerator)
        self.log = RunLog(self.accelerator, settings, self.folder)
        self.broken = BrokenPictures(settings.max_broken)
        self.result = Trained(
            self.learner.network,
            history=self.log.history,
            pictures=len(pictures),
            source=str(pictures.source),
        )
        self.step, self.first_step, self.earlier_seconds = 0, 0, 0.0
        self.begin = time.perf_counter()

    def run(self) -> Trained:
        """All steps that are left, and the network that comes of them."""
        if self.folder is not None:
            self._resume(self.folder / CHECKPOINT)
        self.log.open(self.step)
        self.begin = time.perf_counter()
        silent = bool(os.environ.get("TQDM_DISABLE"))
        bar = tqdm(
            total=self.settings.steps,
            initial=self.step,
            disable=silent or not self.settings.progress or not self.main,
            unit="step",
            leave=False,
        )
        with bar, deferred_signals() as asked, contextlib.closing(self.log):
            try:
                self._steps(bar, asked)
            except KeyboardInterrupt:
                self._interrupted()
            except InputError:
                if not (asked and self.learner.step_is_complete):
                    raise
                # a worker or another process was stopped by the same signal first
                self._interrupted()
            except RuntimeError as problem:
                self._failed(problem, asked)
            except OSError as problem:
                raise unwritable(problem, self.folder) from problem
            finally:
                self.result.signal = asked[0] if asked else None
        return self._finish()

    def _failed(self, problem: RuntimeError, asked: list[int]) -> None:
        """Say what a user can mend; with a checkpoint where other
        processes are gone.
        """
        sentence = explained(
            problem,
            world=self.world,
            step=self.step,
            batch=self.batch,
            size=self.settings.size,
        )
        if sentence is not None and self.world > 1 and self.learner.step_is_complete:
            self._interrupted()
            if asked:
                return
        raise sentence or problem from problem

    def _steps(self, bar: tqdm, asked: list[int]) -> None:
        settings = self.settings
        batches = loader(
            self.pictures,
            self.batch,
            start=self.step,
            stop=settings.steps,
            rank=self.rank,
            world=self.world,
            workers=settings.workers,
            device=self.learner.device,
        )
        with contextlib.closing(batches):
            for images, broken in batches:
                if asked and self.step == self.first_step:  # nothing is to be kept
                    raise KeyboardInterrupt
                self.broken.add(len(images), broken)
                self._one_step(images)
                bar.update()
                self._after_step(bar, stopping=bool(asked))
                if asked:
                    raise KeyboardInterrupt
                if self.step < settings.steps and self._time_is_up():
                    self.result.stopped = "minutes"
                    self._checkpoint()
                    return

    def _one_step(self, images: torch.Tensor) -> None:
        names, values = self.learner.step(
            images,
            number=self.step,
            first=(self.step * self.world + self.rank) * self.batch,
            seed=mixed_seed(self.settings.seed, self.step, self.rank),
        )
        self.log.add(names, values)
        self.step += 1

    def _after_step(self, bar: tqdm, *, stopping: bool) -> None:
        settings, step = self.settings, self.step
        last = step == settings.steps

        def due(every: int) -> bool:
            return bool(every) and (last or step % every == 0)

        record = self._log_line(bar) if due(settings.log_every) else None
        self.learner.step_is_complete = True
        image = None
        if self.main and due(settings.sample_every):
            image = self.learner.samples()
            self.log.write_samples(step, image)
        if record is not None and self.callback is not None and self.main:
            self.callback(replace(record, image=image))
        if last or (due(settings.checkpoint_every) and not stopping):
            self._checkpoint()

    def _log_line(self, bar: tqdm) -> Record:
        rate = learning_rate(self.settings, self.step - 1)
        try:
            record = self.log.line(self.step, self._seconds())
        except NotFinite as problem:
            raise no_number(str(problem), self.folder) from None
        if self.learner.adversary is not None:
            try:
                self.learner.adversary.check(self.log.history)
            except InputError as problem:
                kept = what_is_kept(self.folder, "the last checkpoint")
                raise InputError(f"{problem}{kept}") from None
        bar.set_postfix_str(f"loss {record.total:.4g}", refresh=False)
        if self.main:
            self.log.write(record, rate)
        return record

    def _time_is_up(self) -> bool:
        """Whether ``minutes`` have passed; all processes answer alike."""
        if not self.settings.minutes:
            return False
        up = time.perf_counter() - self.begin >= 60 * self.settings.minutes
        if self.world == 1:
            return up
        if self.step % self.settings.log_every:  # asking the others costs a wait
            return False
        votes = torch.tensor(float(up), device=self.learner.device)
        return bool(self.accelerator.reduce(votes, "sum") > 0)

    def _seconds(self) -> float:
        return self.earlier_seconds + time.perf_counter() - self.begin

    def _finish(self) -> Trained:
        result = self.result
        result.seconds, result.broken = self._seconds(), list(self.broken.names)
        result.steps = self.step
        if self.world > 1 and result.stopped != "interrupted":  # all of them are here
            from accelerate.utils import gather_object

            result.broken = list(dict.fromkeys(gather_object(result.broken)))
        result.network = self.learner.trained_network()
        if self.folder is not None and self._is_kept(self.folder):
            result.file = self.folder / NETWORK
            if self.main:
                about = self.card(result) if self.card is not None else {}
                write_network(result.file, result.network, about)
                if self.learner.adversary is not None:
                    path = self.folder / ADVERSARY
                    write_network(path, self.learner.adversary.module, about)
        return result

    # --- checkpoints ------------------------------------------------------------------

    def _identity(self) -> dict:
        return identity(self.task, self.learner, self.settings, self.pictures)

    def _checkpoint(self, *, alone: bool = False) -> None:
        """Write the state, all processes together.

        The main one writes it ``alone`` where the others are gone.
        """
        if not self.learner.is_finite():
            what = f"the weights are no longer finite at step {self.step}"
            raise no_number(what, self.folder)
        log = self.log.state_dict(shared=not alone)
        if self.folder is None or not self.main:
            return
        broken = self.broken
        state = {
            "identity": self._identity(),
            "settings": asdict(self.settings),
            "step": self.step,
            "seconds": self._seconds(),
            **self.learner.state_dict(),
            **log,
            "broken": (broken.looked, broken.count, list(broken.names)),
        }
        write_checkpoint(self.folder / CHECKPOINT, state)

    def _interrupted(self) -> None:
        self.result.stopped = "interrupted"
        # In the middle of a step weights, averages and optimizer belong to different
        # steps: the last regular checkpoint is what there is then. And no other process
        # is waited for: each stops where its own signal finds it, or is gone.
        if self.learner.step_is_complete and self.step > self.first_step:
            self._checkpoint(alone=True)

    def _is_kept(self, folder: Path) -> bool:
        """Whether the folder holds what the run goes on from: a network without it
        would keep the same command from going on.
        """
        interrupted = self.result.stopped == "interrupted"
        return not interrupted or (folder / CHECKPOINT).exists()

    def _resume(self, path: Path) -> None:
        if path.exists():
            state = read_checkpoint(path)
            try:
                check_same_run(path, state, self._identity(), self.settings)
                check_progress(state)
                self.learner.load_state_dict(state)
                self.log.load_state_dict(state)
                self.step, self.earlier_seconds = state["step"], state["seconds"]
                self.first_step = self.step
                self.broken.looked, self.broken.count, names = state["broken"]
                self.broken.names = dict.fromkeys(names)
            except InputError:
                raise
            except Exception as problem:  # what the contents of others raise
                raise foreign(path) from problem
        else:
            for name in (NETWORK, ADVERSARY):
                if path.with_name(name).exists():
                    raise InputError(
                        f"{str(path.with_name(name))!r} is there and no checkpoint to "
                        "go on from; name another folder, or move the network away"
                    )
        if self.main:  # lines after the checkpoint are computed again
            self.log.rewrite()
        step = torch.tensor([self.step], device=self.learner.device)
        steps = self.accelerator.gather(step).tolist()
        if len(set(steps)) > 1:
            raise InputError(
                f"the processes would go on from steps {', '.join(map(str, steps))}; "
                "give a folder that all of them share"
            )
