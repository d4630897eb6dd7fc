"""One training loop for every network: any device, any number of processes, and exact resume.

A task says what the network is and which loss is taken; the loop does the rest. Nothing random is remembered
between steps: crops, noise and learning rate are functions of the seed and the number of the step, so a run that
was killed and resumed ends with the very same weights as one that never was.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import nn
from tqdm.auto import tqdm

from .datasets import BrokenPictures, Pictures, loader
from .device import best_device, best_precision, compiled_or_eager
from .errors import InputError
from .images import bundled, bundled_names, read_image, resize, write_image, write_whole
from .losses import LossTerms, PerceptualLoss, StyleTarget
from .networks import FastTransformNet, TransformNet, load_network, save_network
from .optimize import Record
from .settings import StyleTrainingSettings, TrainingSettings, changed
from .vgg import LossNetwork

CHECKPOINT, LOG, NETWORK = "checkpoint.pt", "log.csv", "network.safetensors"
_VERSION = 1


class Task(Protocol):
    """What the loop asks of a task."""

    network: nn.Module

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """The terms for a batch; ``first`` is the number of its first crop in the stream. Nothing goes to the host."""

    def samples(self, network: nn.Module) -> torch.Tensor:
        """One picture (1, 3, H, W) in [0, 1] that shows what the network does."""


class StyleTask:
    """Feed-forward style transfer: Johnson et al. (2016), equation 5, for one style or (Dumoulin et al. 2017) several.

    The Gram matrices of the styles are computed once; the content targets run to the content layer only. In a
    batch the crop of number n takes style n mod S, so that every style is met equally often.

    Args:
        settings: see StyleTrainingSettings.
        network: a loss network to reuse.

    Raises:
        InputError: a style that is no picture or unknown, or a network to start from that has another architecture.

    Taught in chapter 5.
    """

    def __init__(self, settings: StyleTrainingSettings, *, network: LossNetwork | None = None) -> None:
        self.settings = settings
        device = best_device(settings.device)
        names, pictures = zip(*(_style(name, settings.style_size) for name in settings.styles), strict=True)
        if len(set(names)) < len(names):
            raise InputError(
                f"the styles {', '.join(names)} were given; give each of them one name of its own"
            )
        torch.manual_seed(settings.seed)
        several = names if len(names) > 1 else ()
        kind = FastTransformNet if settings.network == "fast" else TransformNet
        how = {"norm": settings.norm, "upsampling": settings.upsampling, "styles": several}
        width = {} if settings.width is None else {"width": settings.width}
        self.network: TransformNet = kind(**width, blocks=settings.blocks, **how)
        self.names = names
        if settings.start is not None:
            self._start_from(settings.start)
        self.objective = PerceptualLoss(
            dict.fromkeys(settings.content_layers, settings.content_weight),
            dict.fromkeys(settings.style_layers, settings.style_weight),
            total_variation=settings.total_variation,
            network=network or LossNetwork(precision=settings.precision, device=device),
        )
        targets = [self.objective.style_target(picture.to(device)).grams[0] for picture in pictures]
        self._grams = {name: torch.cat([t[name] for t in targets]) for name in settings.style_layers}
        self._factors = torch.tensor(settings.style_weights or [1.0] * len(names), device=device)

    def loss(self, network: nn.Module, images: torch.Tensor, first: int) -> LossTerms:
        """Content, style and total variation terms of a batch (N, 3, H, W), each a mean over it."""
        style = (torch.arange(len(images), device=images.device) + first) % len(self.names)
        output = network(images, style) if len(self.names) > 1 else network(images)
        return self.terms(output, images, style)

    def terms(self, output: torch.Tensor, content: torch.Tensor, style: torch.Tensor) -> LossTerms:
        """The objective of outputs (N, 3, H, W) for the styles of these indices, (N,)."""
        grams = StyleTarget([{name: gram[style] for name, gram in self._grams.items()}], [None])
        terms = self.objective(output, content, grams, reduction="none")
        factors = self._factors[style]
        return LossTerms(
            (name, (value * factors if name.startswith("style/") else value).mean())
            for name, value in terms.items()
        )

    def samples(self, network: nn.Module) -> torch.Tensor:
        """Three test photographs above their renderings in each style."""
        device = next(network.parameters()).device
        photos = torch.cat([_square(bundled(f"test/{name}"), 192) for name in bundled_names("test")[:3]]).to(
            device
        )
        rows = [photos]
        for index in range(len(self.names)):
            style = (torch.full((len(photos),), index, device=device),) if len(self.names) > 1 else ()
            rows.append(network(photos, *style).float().clamp(0, 1))
        return torch.cat([torch.cat(list(row), 2) for row in rows], 1)[None]

    def _start_from(self, start: str) -> None:
        """Takes the weights of another network of the same sizes; a style's own row where it has one."""
        given = load_network(start if start.endswith(".safetensors") else _shipped(start), "cpu")
        own = self.network.state_dict()
        mine, theirs = ({k: v for k, v in c.config.items() if k != "styles"} for c in (self.network, given))
        if mine != theirs:
            raise InputError(
                f"the network {start!r} to start from is {theirs} and this one is {mine}; give the same architecture"
            )
        for name, tensor in given.state_dict().items():
            if own[name].ndim == 2 or tensor.ndim == 2:  # a table of styles on either side, or on both
                rows = tensor if tensor.ndim == 2 else tensor[None]
                known = given.style_names
                picked = torch.stack(
                    [rows[known.index(n)] if n in known else rows.mean(0) for n in self.names]
                )
                tensor = picked if own[name].ndim == 2 else picked[0]
            own[name] = tensor
        self.network.load_state_dict(own)


def _shipped(name: str) -> Path:
    from .zoo import path_of

    return path_of(name)


def _style(name: str, size: int) -> tuple[str, torch.Tensor]:
    known = bundled_names("style")
    path = bundled(f"style/{name}") if name in known else Path(name)
    if name not in known and not path.suffix and not path.exists():
        from .errors import nearest

        raise InputError(f"there is no style {name!r}; {nearest(name, known)}, or give the path of a picture")
    image = read_image(path)
    return path.stem, resize(image, min(size, max(image.shape[-2:])))


def _square(path: Path, size: int) -> torch.Tensor:
    """The largest square in the middle of a picture, at a size."""
    image = read_image(path)
    side = min(image.shape[-2:])
    top, left = ((length - side) // 2 for length in image.shape[-2:])
    return resize(image[..., top : top + side, left : left + side], (size, size))


@dataclass
class Trained:
    """A trained network in eval mode (its running average where one was kept), a Record for each line of the log,
    the seconds trained over all runs, why it stopped (``done``, ``interrupted``), and the pictures that were broken.
    """

    network: nn.Module
    history: list[Record] = field(default_factory=list)
    seconds: float = 0.0
    stopped: str = "done"
    broken: list[str] = field(default_factory=list)


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
        if not isinstance(pictures, Pictures):
            pictures = Pictures(pictures, settings.size, seed=settings.seed, zoom=settings.zoom)
        self.pictures = pictures
        self.folder = None if folder is None else _prepare(Path(folder))
        self.device = self.accelerator.device
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
        self.broken = BrokenPictures(settings.max_broken)
        self.result = Trained(self.network)
        self.step, self.earlier, self.sums = 0, 0.0, None
        self.writer = None

    def _running_average(self):
        if not self.settings.ema:
            return None
        from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

        return AveragedModel(
            self.network, multi_avg_fn=get_ema_multi_avg_fn(self.settings.ema), use_buffers=True
        )

    def go(self) -> Trained:
        settings = self.settings
        if self.folder is not None:
            self._resume()
        if settings.tensorboard and self.main and self.folder is not None:
            self.writer = _tensorboard(self.folder, self.step)
        self.begin, self.began_at = time.perf_counter(), self.step
        silent = not settings.progress or not self.main or bool(os.environ.get("TQDM_DISABLE"))
        bar = tqdm(total=settings.steps, initial=self.step, disable=silent, unit="step", leave=False)
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
        try:
            with bar:
                for images, broken in batches:
                    self.broken.add(len(images), broken)
                    self._one_step(images)
                    bar.update()
                    self._after_step(bar)
        except KeyboardInterrupt:
            self.result.stopped = "interrupted"
            self._checkpoint()
        except RuntimeError as problem:
            raise _as_input_error(problem, self) or problem from problem
        finally:
            if self.writer is not None:
                self.writer.close()
        self.result.seconds = self._seconds()
        self.result.broken = list(self.broken.names)
        self.result.network = self._trained_network()
        if self.folder is not None and self.main and isinstance(self.result.network, TransformNet):
            about = self.card(self.result) if self.card is not None else {}
            save_network(self.folder / NETWORK, self.result.network, about)
        return self.result

    def _one_step(self, images: torch.Tensor) -> None:
        settings = self.settings
        rate = _learning_rate(settings, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        first = (self.step * self.world + self.rank) * self.batch
        torch.manual_seed(_mixed(settings.seed, self.step, self.rank))
        images = images.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            terms = self.task.loss(self.prepared, images, first)
            total = terms.total
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(total)
        if settings.gradient_clip:
            self.accelerator.clip_grad_norm_(self.network.parameters(), settings.gradient_clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.names = (*terms, "total")
        values = torch.stack([*terms.values(), total]).detach()
        self.sums = values if self.sums is None else self.sums + values
        self.step += 1

    def _after_step(self, bar) -> None:
        settings, step, last = self.settings, self.step, self.step == self.settings.steps
        record = None
        if step % settings.log_every == 0 or last:
            record = self._log(bar)
        image = None
        if self.main and settings.sample_every and (step % settings.sample_every == 0 or last):
            image = self._samples()
        if record is not None and self.callback is not None and self.main:
            self.callback(Record(record.step, record.total, record.terms, record.seconds, image))
        if last or (settings.checkpoint_every and step % settings.checkpoint_every == 0):
            self._checkpoint()

    def _log(self, bar) -> Record:
        count = (self.step - 1) % self.settings.log_every + 1
        means = self.accelerator.reduce(self.sums / count, "mean").tolist()  # the one wait for the device
        self.sums = None
        self._check_finite(means[-1])
        record = Record(
            self.step, means[-1], dict(zip(self.names[:-1], means, strict=False)), self._seconds()
        )
        self.result.history.append(record)
        bar.set_postfix_str(f"loss {record.total:.4g}", refresh=False)
        if self.main and self.folder is not None:
            rate = _learning_rate(self.settings, self.step - 1)
            _append(self.folder / LOG, record, rate)
            if self.writer is not None:
                for name, value in {**record.terms, "total": record.total, "learning_rate": rate}.items():
                    self.writer.add_scalar(name, value, self.step)
        return record

    def _check_finite(self, total: float) -> None:
        if math.isfinite(total):
            return
        kept = ""
        if self.folder is not None and (self.folder / CHECKPOINT).exists():
            kept = f"; the last good checkpoint is kept in {str(self.folder)!r}"
        raise InputError(
            f"the loss became {total} by step {self.step}; lower learning_rate, or set gradient_clip or warmup{kept}"
        )

    def _samples(self) -> torch.Tensor:
        network = self._trained_network()
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32),
        ):
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
        kept = {name: getattr(self.settings, name) for name in ("batch_size", "size", "seed", "log_every")}
        kept |= {"average": bool(self.settings.ema), "pictures": self.pictures.digest}
        return {"task": type(self.task).__name__, "network": json.dumps(config), **kept}

    def _checkpoint(self) -> None:
        if self.sums is not None:
            self._check_finite(float(self.sums[-1]))
        if self.folder is None or not self.main:
            return
        state = {
            "version": _VERSION,
            "identity": self._identity(),
            "settings": asdict(self.settings),
            "step": self.step,
            "seconds": self._seconds(),
            "network": self.network.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sums": self.sums,
            "names": list(getattr(self, "names", ())),
            "history": [(r.step, r.total, r.terms, r.seconds) for r in self.result.history],
            "broken": (self.broken.looked, self.broken.count, list(self.broken.names)),
        }
        data = io.BytesIO()
        torch.save(state, data)
        body = data.getvalue()
        write_whole(self.folder / CHECKPOINT, lambda file: file.write(hashlib.sha256(body).digest() + body))

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            (self.folder / LOG).unlink(missing_ok=True)
            return
        state = _read_checkpoint(path, self.device)
        identity = self._identity()
        for name, value in identity.items():
            if state["identity"].get(name) != value:
                raise InputError(
                    f"the checkpoint {str(path)!r} was made with {name}={state['identity'].get(name)} and this run has "
                    f"{name}={value}; say the same again, or name another folder"
                )
        if state["step"] > self.settings.steps:
            raise InputError(
                f"the checkpoint {str(path)!r} is of step {state['step']} and {self.settings.steps} steps were asked for; "
                "ask for more, or name another folder"
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.step, self.earlier = state["step"], state["seconds"]
        self.sums, self.names = state["sums"], tuple(state["names"])
        self.result.history = [Record(*row) for row in state["history"]]
        self.broken.looked, self.broken.count, names = state["broken"]
        self.broken.names = dict.fromkeys(names)
        if self.main:  # lines after the checkpoint are computed again
            _rewrite(self.folder / LOG, self.result.history, self.settings)


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
    try:
        return Accelerator(cpu=device.type == "cpu", mixed_precision="no")
    except RuntimeError as problem:
        if "EADDRINUSE" in str(problem) or "in use" in str(problem):
            raise InputError(
                f"port {os.environ.get('MASTER_PORT')} of the processes is taken; give another one, for example "
                "torchrun --master-port 29501, or accelerate launch --main_process_port 29501"
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
    if "memory" in text or "allocate" in text:
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


def _prepare(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{str(folder)!r} is a file; give a folder for the run")
    try:
        folder.mkdir(exist_ok=True)
        write_whole(folder / ".writable", lambda file: file.write(b"\n"))
        (folder / ".writable").unlink(missing_ok=True)
    except FileNotFoundError:
        raise InputError(
            f"the folder {str(folder.parent)!r} does not exist; make it, or choose another"
        ) from None
    except OSError as problem:
        raise InputError(
            f"the folder {str(folder)!r} cannot be written to ({problem.strerror}); choose another"
        ) from None
    return folder


def _read_checkpoint(path: Path, device: torch.device) -> dict:
    damaged = f"the checkpoint {str(path)!r} is damaged or no checkpoint; restore it from a copy, or delete it to begin anew"
    try:
        body = path.read_bytes()
        if hashlib.sha256(body[32:]).digest() != body[:32]:
            raise InputError(damaged)
        state = torch.load(io.BytesIO(body[32:]), map_location=device, weights_only=True)
    except OSError as problem:
        raise InputError(f"the checkpoint {str(path)!r} cannot be read ({problem.strerror})") from None
    if state["version"] != _VERSION:
        raise InputError(
            f"the checkpoint {str(path)!r} has version {state['version']} and this program reads version {_VERSION}; "
            "take the program that wrote it, or begin anew in another folder"
        )
    return state


def _row(record: Record, rate: float) -> dict:
    terms = {name: f"{value:.8g}" for name, value in record.terms.items()}
    return {
        "step": record.step,
        "total": f"{record.total:.8g}",
        **terms,
        "learning_rate": f"{rate:.4g}",
        "seconds": f"{record.seconds:.1f}",
    }


def _append(path: Path, record: Record, rate: float) -> None:
    row = _row(record, rate)
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def _rewrite(path: Path, history: list[Record], settings: TrainingSettings) -> None:
    rows = [_row(record, _learning_rate(settings, record.step - 1)) for record in history]
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, rows[0])
        writer.writeheader()
        writer.writerows(rows)
        write_whole(path, lambda file: file.write(text.getvalue().encode()))
    else:
        path.unlink(missing_ok=True)


def _tensorboard(folder: Path, step: int):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "tensorboard=True needs the package tensorboard; install it with: pip install 'pltutorial[train]'"
        ) from None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step)
