"""What a training run keeps on disk: its checkpoint, its log and TensorBoard's."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from .errors import InputError
from .images import write_whole
from .optimize import Record

CHECKPOINT, LOG, NETWORK = "checkpoint.pt", "log.csv", "network.safetensors"
ADVERSARY = "discriminator.safetensors"
VERSION = 1


def prepare(folder: Path) -> Path:
    """The folder of a run, made if it is not there.

    Raises:
        InputError: it is a file, the folder above it is missing, or it cannot be written to.
    """
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


def write_checkpoint(path: Path, state: Mapping) -> None:
    """Write a state, after the SHA-256 of its bytes; whole or not at all.

    Raises:
        InputError: the disk is full, or the folder cannot be written to; an earlier checkpoint stays.
    """
    data = io.BytesIO()
    torch.save({"version": VERSION, **state}, data)
    body = data.getvalue()
    write_whole(path, lambda file: file.write(hashlib.sha256(body).digest() + body))


def read_checkpoint(path: Path) -> dict:
    """The state that :func:`write_checkpoint` wrote, on the CPU; nothing in the file is executed.

    Raises:
        InputError: it is damaged, no checkpoint, or of another version.
    """
    try:
        body = path.read_bytes()
    except OSError as problem:
        raise InputError(
            f"the checkpoint {str(path)!r} cannot be read ({problem.strerror}); mend that, or choose another folder"
        ) from None
    if hashlib.sha256(body[32:]).digest() != body[:32]:
        raise InputError(
            f"the checkpoint {str(path)!r} is damaged or no checkpoint; restore it from a copy, or delete it to begin anew"
        )
    state = torch.load(io.BytesIO(body[32:]), map_location="cpu", weights_only=True)
    if state["version"] != VERSION:
        raise InputError(
            f"the checkpoint {str(path)!r} has version {state['version']} and this program reads version {VERSION}; "
            "take the program that wrote it, or begin anew in another folder"
        )
    return state


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


def tensorboard_writer(folder: Path, step: int):
    """A writer that drops what an earlier run logged after this step.

    Raises:
        InputError: the package tensorboard is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "tensorboard=True needs the package tensorboard; install it with: pip install 'pltutorial[train]'"
        ) from None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
