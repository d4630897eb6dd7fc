"""What a task is, and the register of them all.

A task is one file of ``tasks/``. It holds its settings, what is taken away from a
picture, its network and its loss, its Python function, its limits and the names of the
networks that ship. ``register(TaskSpec(...))`` at the end of the file makes the rest of
it: ``pltutorial train NAME``, ``pltutorial NAME``, loading by name or from a file, the
card, the export and the shared tests. Nothing else needs to know of it.

What the command line asks, all of it without loading PyTorch (``tasks.all()`` gives
``{name: TaskSpec}``, sorted, and ``tasks.find(name)`` one of them or an InputError with
the nearest name):

- ``pltutorial train NAME``: a command with the fields of ``spec.settings`` as options
  and ``spec.train_help`` as its help. It calls ::

      task = spec.training(settings)          # what ``train`` trains
      data, note = spec.pictures()            # where no --data was given; None: bundled
      train(task, settings, pictures=data, folder=output,
            card=lambda result: spec.card(result, task, settings, note or ""))
      f"use it: pltutorial {spec.usage} --model {network}{spec.usage_more(task)} -o OUT"

- ``pltutorial NAME``: where ``spec.command`` is not None, under ``command.name``. PHOTO
  if ``takes_picture``, what all commands on pictures share (-o, --format, --device,
  --precision, --json, --max-pixels, --model), ``--loss`` with ``loss_help`` where that
  is not empty, and one option (or argument) for each :class:`Option`; an option left
  out is None or False and means its ``default``. Those named in ``excludes_model``, and
  ``--loss``, are refused together with --model. It calls ::

      network = command.load(loss=loss, model=model, device=place, **options)
      options = command.read(picture, source, max_pixels, options)   # where not None
      width, height = command.size(network, image_or_None, **options)
      job.check_size(width, height, command.advice)
      made = command.run(network, image_or_None, precision=precision, **options)
      facts = command.facts(network, **options)                      # for --json
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import InputError, nearest


@dataclass(frozen=True)
class Option:
    """An option of a task's command that other tasks have not.

    Args:
        name: of the option, and of the parameter that it sets.
        kind: ``int``, ``float``, ``str``, ``bool`` or
            ``pathlib.Path``, of an input file.
        help: one line.
        default: its value where it is left out; said in the help by hand.
        argument: an argument after PHOTO, which may be left out, instead of an option.
        least: the smallest number.
        most: the largest number, and ``most_said``, how a sentence calls it.
    """

    name: str
    kind: type
    help: str
    default: object = None
    argument: bool = False
    least: int | None = None
    most: int | None = None
    most_said: str = ""

    def check(self, value: object) -> None:
        """Refuse a number outside of the range.

        Raises:
            InputError: with the range.
        """
        if value is None or self.least is None or not isinstance(value, int | float):
            return
        if value < self.least or (self.most is not None and value > self.most):
            said = f"--{self.name.replace('_', '-')} {value} was given"
            if self.most is None:
                raise InputError(f"{said}; give at least {self.least}")
            most = self.most_said or self.most
            raise InputError(f"{said}; give a number from {self.least} to {most}")


@dataclass(frozen=True)
class Command:
    """``pltutorial NAME``: what it says, what it asks for, and what it calls.

    Args:
        name: of the command; that of the task in most cases.
        help: what it does.
        load: the network, ``load(loss=, model=, device=, **options)``; it refuses.
        run: ``run(network, image, *, precision, **options)``, the picture (1, 3, H, W).
        options: those that this command alone has.
        loss_help: help of ``--loss``; without it there is no such option.
        default_loss: what ``--loss`` means where it is left out; a function of the
            options if that depends on them.
        takes_picture: False for a command that makes pictures of none.
        excludes_model: options that cannot be given together with ``--model``.
        read: ``read(picture, source, max_pixels, options)``, the options with what
            files hold in the place of their paths; the picture is Pillow's.
        size: ``size(network, image, **options)``, width and height of the result.
        advice: what to do where that is too large, after ``;``.
        facts: ``facts(network, **options)``, more for ``--json``.
        bytes_too: ``run`` takes the picture as bytes, too, and gives it back so
            (:func:`pltutorial.images.to_bytes`), which large pictures need.
    """

    name: str
    help: str
    load: Callable
    run: Callable
    options: tuple[Option, ...] = ()
    loss_help: str = ""
    default_loss: str | Callable[..., str] = ""
    takes_picture: bool = True
    excludes_model: tuple[str, ...] = ()
    read: Callable | None = None
    size: Callable = lambda network, image, **options: (
        image.shape[-1],
        image.shape[-2],
    )
    advice: str = "shrink the picture"
    facts: Callable = lambda network, **options: {}
    bytes_too: bool = False


@dataclass(frozen=True)
class TaskSpec:
    """A task as the register holds it.

    Args:
        name: of ``pltutorial train NAME``.
        train_help: of that command.
        settings: its dataclass, a kind of ``TrainingSettings``.
        training: the class that the trainer trains, ``training(settings)``.
        card: ``card(result, training, settings, pictures)``, a network's card.
        networks: the classes of its networks by their ``kind``.
        limits: what its networks cannot do, for the card.
        usage: the command that uses its networks, such as ``"upscale PHOTO"``.
        usage_more: ``usage_more(training)``, what else that command needs.
        command: ``pltutorial NAME``; None where another command, or one written by
            hand, uses the networks.
        function: the Python function; None for none.
        exports: whether its networks make a picture in one pass, and can be written
            for other runtimes.
        losses: of the networks that ship, the plainest first, the default last.
        blends: the two whose weights a number blends; the first and the last loss if
            left out.
        folder: of ``assets/`` where they lie.
        pictures: ``pictures()``, what is trained on where nothing is said, and whose
            they are; None for the bundled photographs.
    """

    name: str
    train_help: str
    settings: type
    training: type
    card: Callable
    networks: Mapping[str, Callable]
    limits: str
    usage: str
    usage_more: Callable[[object], str] = lambda training: ""
    command: Command | None = None
    function: Callable | None = None
    exports: bool = True
    losses: tuple[str, ...] = ()
    blends: tuple[str, ...] = ()
    folder: str = "restoration"
    pictures: Callable[[], tuple[Path | None, str | None]] = field(
        default=lambda: (None, "the bundled training photographs, see data/SOURCES.csv")
    )

    @property
    def blended(self) -> tuple[str, ...]:
        """The losses of the two networks whose weights a number blends; one alone where
        no other ships.
        """
        return self.blends or tuple(dict.fromkeys((self.losses[0], self.losses[-1])))

    @property
    def used_by(self) -> str:
        """The command that uses its networks: ``"upscale"``."""
        return self.usage.split()[0]


REGISTER: dict[str, TaskSpec] = {}


def register(spec: TaskSpec) -> TaskSpec:
    """Make a task known; a second one of the same name takes its place."""
    REGISTER[spec.name] = spec
    return spec


@functools.cache
def _read_tasks() -> None:
    folder = Path(__file__).parent / "tasks"
    for module in pkgutil.iter_modules([str(folder)]):
        importlib.import_module(f"{__package__}.tasks.{module.name}")


def all() -> dict[str, TaskSpec]:
    """Every task by its name, sorted. PyTorch is not loaded."""
    _read_tasks()
    return dict(sorted(REGISTER.items()))


def find(name: str) -> TaskSpec:
    """One task.

    Raises:
        InputError: there is none of this name (with the nearest).
    """
    known = all()
    if name not in known:
        raise InputError(f"there is no task {name!r}; {nearest(str(name), known)}")
    return known[name]


def users(command: str) -> list[TaskSpec]:
    """The tasks whose networks a command uses, that of its own name first, then the
    one that has the command.
    """
    found = [spec for spec in all().values() if spec.used_by == command]
    return sorted(found, key=lambda spec: (spec.name != command, spec.command is None))


def of_kind(kind: str) -> TaskSpec | None:
    """The task that a kind of networks is for; None for one that no task makes, such
    as a discriminator.
    """
    return next((spec for spec in all().values() if kind in spec.networks), None)


def limits_of(kind: str) -> str:
    """What networks of a kind cannot do, for their cards."""
    spec = of_kind(kind)
    return "" if spec is None else spec.limits
