"""Checkpoints that any number of processes writes together and any other number reads.

Each process writes its own part of the weights, so that a sharded network is nowhere
in one piece; ``torch.distributed.checkpoint`` deals the parts out again.
"""

import hashlib
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)

from pltutorial import InputError


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    weights, moments = get_state_dict(model, optimizer)
    return {"model": weights, "optimizer": moments}


def save(
    folder: str, step: int, model: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Write ``folder/STEP``; its file ``.metadata`` comes last and makes it whole."""
    dcp.save(_state(model, optimizer), checkpoint_id=Path(folder, f"{step:08d}"))


def load(folder: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Take the last whole checkpoint of a folder; gives its step, 0 without one."""
    whole = sorted(Path(folder).glob("[0-9]" * 8 + "/.metadata"))
    if not whole:
        return 0
    state = _state(model, optimizer)
    try:
        dcp.load(state, checkpoint_id=whole[-1].parent)
    except (dcp.CheckpointException, Exception) as problem:
        raise InputError(
            f"the checkpoint {str(whole[-1].parent)!r} is damaged or of another "
            "network; remove it to go on from the one before, or give another --folder"
        ) from problem
    set_state_dict(
        model,
        optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
    )
    return int(whole[-1].parent.name)


def whole_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """All weights in one piece, in every process: for the file that is given away."""
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))


def digest(model: nn.Module) -> str:
    """Sixteen letters that change when a bit of a weight does."""
    weights, found = whole_weights(model), hashlib.sha256()
    for name in sorted(weights):
        found.update(weights[name].cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def mean(value: torch.Tensor) -> torch.Tensor:
    """Of the processes' values; it stays on the device."""
    value = value.detach().clone()
    dist.all_reduce(value)
    return value / dist.get_world_size()
