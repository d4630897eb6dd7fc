"""What a run keeps to go on from, and the network it leaves behind.

A checkpoint is a file that ``torch.load(path, weights_only=True)`` opens. The SHA-256
of its bytes stands in the comment at the end of the zip archive that such a file is, so
that one that was damaged or cut off is noticed before anything is read from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import InputError, shown
from ..files import (
    exists,
    held,
    is_folder,
    no_file,
    printable,
    sweep,
    write_whole,
)
from ..networks import save_network
from ..settings import TrainingSettings, default_of
from .pictures import Pictures

if TYPE_CHECKING:
    from .learner import Learner

CHECKPOINT, NETWORK = "checkpoint.pt", "network.safetensors"
LOG = "log.csv"
ADVERSARY = "discriminator.safetensors"
VERSION = 1

# Settings that may differ between a run and the run that goes on from its checkpoint;
# all others decide what is learned.
CHANGEABLE = {
    # for how long, and how fast
    "steps",
    "minutes",
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
    # how it is computed and reported
    "workers",
    "cache",
    "sample_every",
    "checkpoint_every",
    "device",
    "precision",
    "compile",
    "tensorboard",
    "progress",
    # the network itself is compared
    "network",
    "width",
    "blocks",
    "norm",
    "upsampling",
}

_COMMENT = struct.Struct("<H")  # the length of the comment, last in a zip without one


@contextlib.contextmanager
def run_folder(folder: str | os.PathLike | None) -> Iterator[Path | None]:
    """The folder of a run, to this run alone, made if it is not there; if nothing was
    written to a new one, it is gone again.

    Raises:
        InputError: it is a file, the folder above it is missing, it cannot be written
            to, or another run is at work there.
    """
    if folder is None:
        yield None
        return
    folder = Path(folder)
    is_new = not exists(folder)
    is_main = os.environ.get("RANK", "0") == "0"  # its processes share the folder
    try:
        _prepare(folder)
        with contextlib.ExitStack() as stack:
            if is_main:
                try:
                    stack.enter_context(held(folder))
                except OSError as problem:
                    raise unwritable(problem, folder) from None
                sweep(folder / "samples")
            yield folder
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()


def _prepare(folder: Path) -> None:
    if exists(folder) and not is_folder(folder):
        raise InputError(f"{str(folder)!r} is a file; give a folder for the run")
    for name in (LOG, CHECKPOINT, NETWORK, ADVERSARY):
        if (fault := no_file(folder / name)) not in ("", "does not exist"):
            raise InputError(
                f"{str(folder / name)!r} {fault}, and the run keeps a file there; "
                "move it away, or choose another folder"
            )
    try:
        folder.mkdir(exist_ok=True)
        write_whole(folder / ".writable", lambda file: file.write(b"\n"))
        (folder / ".writable").unlink(missing_ok=True)
    except FileNotFoundError:
        raise InputError(
            f"the folder {str(folder.parent)!r} does not exist; make it, or choose "
            "another"
        ) from None
    except OSError as problem:
        raise InputError(
            f"the folder {str(folder)!r} cannot be written to ({problem.strerror}); "
            "choose another"
        ) from None


def write_checkpoint(path: Path, state: Mapping) -> None:
    """Write a state with the SHA-256 of its bytes; whole or not at all.

    Raises:
        InputError: the disk is full, or the folder cannot be written to; an earlier
            checkpoint stays.
    """
    data = io.BytesIO()
    torch.save({"version": VERSION, **state}, data)
    body = data.getvalue()[: -_COMMENT.size]
    digest = hashlib.sha256(body).hexdigest().encode()
    write_whole(path, lambda file: file.write(body + _COMMENT.pack(64) + digest))


def read_checkpoint(path: Path) -> dict:
    """The state that :func:`write_checkpoint` wrote, on the CPU.

    Nothing in the file is executed. Checkpoints of earlier programs, with the digest
    before the archive, are read still.

    Raises:
        InputError: it is damaged, no checkpoint, or of another version.
    """
    if fault := no_file(path):
        raise InputError(f"the checkpoint {str(path)!r} {fault}; choose another folder")
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise InputError(
            f"the checkpoint {str(path)!r} cannot be read ({problem.strerror}); mend "
            "that, or choose another folder"
        ) from None
    archive = _checked_archive(data)
    if archive is None:
        raise foreign(path)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as members:
            if sum(member.file_size for member in members.infolist()) > len(archive):
                raise ValueError("it is packed, as no checkpoint is")
        state = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
        version = state["version"]
    except Exception as problem:  # zipfile, pickle and torch raise many kinds
        raise foreign(path) from problem
    if version != VERSION:
        raise InputError(
            f"the checkpoint {str(path)!r} has version {shown(version)} and this "
            f"program reads version {VERSION}; take the program that wrote it, or "
            "begin anew in another folder"
        )
    return state


def foreign(path: Path) -> InputError:
    """The sentence for a file that no run wrote, or that is no longer whole."""
    return InputError(
        f"the checkpoint {str(path)!r} is damaged or no checkpoint; restore it "
        "from a copy, or delete it and the network to begin anew"
    )


def check_progress(state: Mapping) -> None:
    """Refuse a step, a log or a count of pictures that no run has.

    Raises:
        TypeError: one of them is something else.
        ValueError: so many numbers, or such, cannot be.
        KeyError: one is missing.
    """
    looked, count, broken = state["broken"]
    if not all(isinstance(state[name], list) for name in ("names", "history")):
        raise TypeError("lists are needed")
    numbers = [state["step"], looked, count, *(row[0] for row in state["history"])]
    seconds = [state["seconds"], *(row[3] for row in state["history"])]
    values = [
        value
        for _, total, terms, _ in state["history"]
        for value in (total, *terms.values())
    ]
    names = [*state["names"], *broken]
    names += [name for row in state["history"] for name in row[2]]
    for kind, given in ((int, numbers), (str, names), (int | float, seconds + values)):
        if not all(isinstance(one, kind) for one in given):
            raise TypeError(f"not all of them are {kind}")
    if min(numbers) < 0 or not all(map(math.isfinite, seconds)):
        raise ValueError("a negative number, or none")
    sums = state["sums"]
    if sums is not None and sums.shape != (len(state["names"]),):
        raise ValueError("as many sums as names are needed")


def _checked_archive(data: bytes) -> bytes | None:
    """The archive, if its digest is right."""
    body, digest = data[: -64 - _COMMENT.size], data[-64:]
    if hashlib.sha256(body).hexdigest().encode() == digest:
        return data
    if hashlib.sha256(data[32:]).digest() == data[:32]:  # as written until 2026
        return data[32:]
    return None


def identity(
    task: object, learner: Learner, settings: TrainingSettings, pictures: Pictures
) -> dict[str, Any]:
    """What a checkpoint must agree on with the run that goes on from it."""
    network = learner.network
    config = getattr(network, "config", {"kind": type(network).__name__})
    chosen = asdict(settings).items()
    return {
        "task": type(task).__name__,
        "network": json.dumps(config),
        **{name: value for name, value in chosen if name not in CHANGEABLE},
        "average": bool(settings.ema),
        "pictures": pictures.digest,
        "adversary": learner.adversary is not None,
    }


def check_same_run(
    path: Path, state: Mapping, this: Mapping, settings: TrainingSettings
) -> None:
    """Refuse a checkpoint that this run cannot go on from.

    A setting that is younger than the checkpoint had its default when it was written.

    Args:
        path: how a sentence names it.
        state: what :func:`read_checkpoint` gave.
        this: this run's :func:`identity`.
        settings: this run's settings.

    Raises:
        InputError: it is of another run, or of more steps than were asked for.
    """
    known = state["settings"] | state["identity"]
    for name, value in this.items():
        if name == "adversary":
            continue
        earlier = known[name] if name in known else default_of(settings, name)
        if json.dumps(earlier) != json.dumps(value):  # a list is as good as a tuple
            raise InputError(
                f"the checkpoint {str(path)!r} was made with {name}={earlier} and this "
                f"run has {name}={value}; say the same again, or name another folder"
            )
    if state["step"] > settings.steps:
        raise InputError(
            f"the checkpoint {str(path)!r} is of step {state['step']} and "
            f"{settings.steps} steps were asked for; ask for more, or name another "
            "folder"
        )
    if this["adversary"] == (state.get("adversary") is None):
        earlier, now = ("without", "one") if this["adversary"] else ("with", "none")
        raise InputError(
            f"the checkpoint {str(path)!r} was made {earlier} a discriminator and this "
            f"run has {now}; say the same again, or name another folder"
        )


def what_is_kept(folder: Path | None, checkpoint: str) -> str:
    """The end of a sentence: where a run that fails left its checkpoint, if it did."""
    if folder is None or not (folder / CHECKPOINT).exists():
        return ""
    return f", {checkpoint} is kept in {str(folder)!r}"


def no_number(what: str, folder: Path | None) -> InputError:
    """The sentence for a loss, or a weight, that is no number."""
    kept = what_is_kept(folder, "the last good checkpoint")
    return InputError(
        f"{what}; lower learning_rate, or set gradient_clip or warmup{kept}"
    )


def unwritable(problem: OSError, folder: Path | None) -> InputError:
    """The sentence for a file of the run that the disk refuses."""
    where = problem.filename or folder
    kept = what_is_kept(folder, "the last checkpoint")
    return InputError(
        f"{str(where)!r} could not be written ({problem.strerror or problem}); mend "
        f"that and start the same command again{kept}"
    )


def write_network(path: Path, network: nn.Module, card: Mapping) -> Path:
    """Write a network as safetensors; whole or not at all.

    One of this package is kept with its architecture, for
    :func:`pltutorial.load_network`. Of any other module the state dict is kept in its
    own precision, with a note of how to read it in the head of the file.

    Raises:
        InputError: the file cannot be written.
    """
    if hasattr(network, "config"):
        return save_network(path, network, card)
    from safetensors.torch import save

    tensors = {  # copies: safetensors refuses weights that share their memory
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in network.state_dict().items()
        if isinstance(value, torch.Tensor)
    }
    note = (
        f"the state dict of {type(network).__name__}, an architecture of your own: "
        "make it, then network.load_state_dict(safetensors.torch.load_file(path))"
    )
    text = json.dumps({"architecture": note, **card}, ensure_ascii=False)
    facts = {"card": printable(text)}
    return write_whole(path, lambda file: file.write(save(tensors, facts)))
