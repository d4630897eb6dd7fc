"""What Hugging Face Accelerate does for the loop: the device and the processes."""

from __future__ import annotations

import os
from typing import Any

import torch

from ..device import best_device, is_out_of_memory
from ..errors import InputError, needed
from ..settings import TrainingSettings

# Words by which PyTorch says that another process of the run is gone.
_LOST_PROCESS = (
    "closed by peer",
    "Connection reset",
    "gloo",
    "NCCL",
    "Broken pipe",
    "timed out",
)


def start_accelerator(settings: TrainingSettings) -> Any:
    """The engine on the device that the settings name.

    Raises:
        InputError: accelerate is missing, or the processes do not find each other.
    """
    Accelerator = needed("accelerate", "trainings", "train").Accelerator
    from accelerate.state import AcceleratorState

    if "WORLD_SIZE" not in os.environ:
        # a notebook may train on another device than before
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
                "torchrun --master-port 29501, or accelerate launch "
                "--main_process_port 29501"
            ) from problem
        if any(word in text.lower() for word in ("timed out", "timeout", "refused")):
            raise InputError(
                "the other processes were not found at "
                f"{os.environ.get('MASTER_ADDR')}, port {port}; start all of them with "
                "torchrun or accelerate launch"
            ) from problem
        raise


def batch_of_a_process(settings: TrainingSettings, world: int) -> int:
    """How many of a step's pictures each of ``world`` processes takes.

    Raises:
        InputError: the batch cannot be shared evenly, or is one picture under batch
            normalisation.
    """
    if settings.batch_size % world:
        raise InputError(
            f"a batch of {settings.batch_size} was given to {world} processes; give a "
            f"multiple of {world}"
        )
    batch = settings.batch_size // world
    if batch == 1 < world and getattr(settings, "norm", "") == "batch":
        raise InputError(
            f"a batch of {settings.batch_size} was given to {world} processes with "
            "norm='batch', which compares the pictures of a batch; give at least "
            f"{2 * world}, or another norm"
        )
    return batch


def explained(
    problem: RuntimeError, *, world: int, step: int, batch: int, size: int
) -> InputError | None:
    """The sentence for what a user can mend; None for everything else."""
    text = str(problem)
    if world > 1 and any(word in text for word in _LOST_PROCESS):
        return InputError(
            f"another of the {world} processes stopped, so this one stops at step "
            f"{step}; start the same command again to go on from the last checkpoint"
        )
    if is_out_of_memory(problem):
        return InputError(
            f"a batch of {batch} pictures of {size} pixels does not fit into memory; "
            "lower batch_size or size"
        )
    return None
