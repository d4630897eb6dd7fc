"""Which device and which precision: decided here and nowhere else."""

from __future__ import annotations

import functools
import itertools
import os
import platform
import shutil
import warnings
from pathlib import Path

import torch

from .errors import InputError


def best_device(device: str | torch.device | None = None) -> torch.device:
    """The device to compute on: the one given, else CUDA, then Apple's
    MPS, then the CPU.

    In one of several processes it is the GPU of that process.

    Raises:
        InputError: the named device does not exist on this machine.

    Example:
        >>> best_device("cpu")
        device(type='cpu')
        >>> image = torch.rand(1, 3, 8, 8).to(best_device())

    Taught in chapter 2.
    """
    if device is None or str(device) == "auto":
        if torch.cuda.is_available():
            # set by torchrun and accelerate launch
            one_of_many = os.environ.get("LOCAL_RANK")
            number = (
                ()
                if one_of_many is None
                else (int(one_of_many) % torch.cuda.device_count(),)
            )
            return torch.device("cuda", *number)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        if chosen.type == "meta":
            raise NotImplementedError("nothing is computed there")
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as problem:
        raise InputError(
            f"device {str(device)!r} cannot be used on this machine; "
            "leave the device out to take the best there is, or say 'cpu'"
        ) from problem
    return chosen


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the processor gains by computing in bfloat16.

    AMX, AMD's AVX512-BF16 and CUDA from Ampere on do.

    Emulated bfloat16 is slower than float32, so queries that count emulation are not
    enough. Nor is the instruction alone: Intel's AVX512-BF16 without AMX, as on many
    virtual machines, takes 1.7 times as long as float32 for VGG-16 and its gradient.
    The limits that ``ATEN_CPU_CAPABILITY`` and ``ONEDNN_MAX_CPU_ISA`` set are
    respected.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    capability = torch.backends.cpu.get_cpu_capability()
    if device.type != "cpu" or not capability.startswith("AVX512"):
        return False
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    unlimited = not isa or any(word in isa for word in ("DEFAULT", "ALL"))
    words = ("AMX",) if not _is_amd() else ("BF16", "AMX", "FP16", "AVX10")
    if not unlimited and not any(word in isa for word in words):
        return False
    query = "_is_avx512_bf16_supported" if _is_amd() else "_is_amx_tile_supported"
    return getattr(torch.cpu, query, bool)()


@functools.cache
def _is_amd() -> bool:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            return any("AuthenticAMD" in line for line in itertools.islice(file, 3))
    except OSError:  # Windows says it here, macOS has no AMD with AVX512
        return "AuthenticAMD" in platform.processor()


def best_precision(device: torch.device, precision: str = "auto") -> torch.dtype:
    """The type that convolutions compute in: bfloat16 where the processor really
    has it, else float32.

    Args:
        device: where the computation will run.
        precision: ``"auto"``, ``"float32"`` or ``"bfloat16"``. The environment variable
            ``PLTUTORIAL_PRECISION`` takes the place of ``"auto"``.

    Raises:
        InputError: the precision is none of the three.

    Example:
        >>> best_precision(torch.device("cpu"), "float32")
        torch.float32
        >>> best_precision(torch.device("cpu")) in (torch.float32, torch.bfloat16)
        True
        >>> best_precision(torch.device("cpu"), "float17")
        Traceback (most recent call last):
            ...
        pltutorial.errors.InputError: precision 'float17' is unknown; it is 'auto', ...

    Taught in chapter 2.
    """
    if precision == "auto":
        precision = os.environ.get("PLTUTORIAL_PRECISION") or "auto"
    if precision == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    if precision not in ("float32", "bfloat16"):
        raise InputError(
            f"precision {precision!r} is unknown; it is 'auto', 'float32' or 'bfloat16'"
        )
    return getattr(torch, precision)


def compiled_or_eager(function, device: torch.device):
    """``torch.compile(function)``; where the CPU has no C++ compiler, a warning says so
    and it stays eager.
    """
    if device.type == "cpu" and not any(
        map(shutil.which, (os.environ.get("CXX") or "c++", "g++", "clang++", "cl"))
    ):
        warnings.warn(
            "compile=True needs a C++ compiler and none was found, so this runs "
            "eagerly; install g++, clang++ or Visual C++ to have it compiled",
            stacklevel=3,
        )
        return function
    return torch.compile(function)


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an error says that memory ran out; on a CPU torch raises a plain
    RuntimeError that tells by its words.
    """
    if isinstance(problem, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(problem, RuntimeError) and any(
        word in str(problem) for word in ("memory", "allocate")
    )
