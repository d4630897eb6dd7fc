"""What every check of an exercise says, and how it calls the reader's code: for a
while, in silence, without traces.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import functools
import io
import os
import random
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy
import torch

from .. import progress

SECONDS = 2.0
# times the limit: what a call may take on the clock when the machine is
# busy with other things
_PATIENCE = 3
_GRACE = 2.0  # how long a stopped function may take to end, before it is left behind


@dataclass(frozen=True)
class Exercise:
    """One checked exercise: where it stands in the book, and the hint
    after the first one.
    """

    chapter: int
    label: str
    check: str
    second: str


EXERCISES: dict[str, Exercise] = {}
_failed_tries: dict[str, int] = {}
# apart from the reader's own random numbers
_seeds: random.Random = random.SystemRandom()


class OutOfTime(BaseException):
    """Raised inside the reader's function when its time is up; no `except
    Exception` of hers stops it.
    """


@dataclass
class _Try:
    """One call of a check: how long each call of the reader's code may take, and what
    that code did besides.
    """

    seconds: float = SECONDS
    printed: int = 0
    changed: list[str] = field(default_factory=list)
    left_behind: bool = False


_try: contextvars.ContextVar[_Try | None] = contextvars.ContextVar(
    "pltutorial_try", default=None
)
_inside = threading.local()


def judge(right: bool, praise: str, hint: str) -> bool:
    """Print the verdict and return it."""
    print(f"Correct: {praise}" if right else f"Not yet: {hint}")
    return right


def answer_of(function: Callable, *arguments, none_is_an_answer: bool = False):
    """What the reader's function returns, or None with a printed sentence where it
    fails or forgets to return.

    NumPy arrays come back as tensors and NumPy numbers as Python's.
    """
    try:
        value = call(function, *arguments)
    except OutOfTime as late:
        judge(False, "", str(late))
        return None
    except NotImplementedError as problem:
        said = f": {problem}" if str(problem) else ""
        judge(
            False,
            "",
            f"your function stopped with NotImplementedError{said}; "
            "write its body first.",
        )
        return None
    except Exception as problem:
        # the reader's own code: any error is a hint, not a crash
        judge(
            False, "", f"your function stopped with {type(problem).__name__}: {problem}"
        )
        return None
    value = as_torch(value)
    if value is None and not none_is_an_answer:
        judge(
            False,
            "",
            "your function returned None; end it with `return` and the result.",
        )
    return value


def as_torch(value):
    """A NumPy array as a tensor, a NumPy number as Python's;
    everything else as it is.
    """
    if isinstance(value, numpy.generic):
        return value.item()
    if isinstance(value, numpy.ndarray) and value.dtype.kind in "biuf":
        return torch.from_numpy(numpy.array(value, order="C"))
    return value


def shape_or_type(value) -> object:
    """Of a tensor its shape, of anything else the name of its type: for hints."""
    return (
        tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
    )


def near(
    value: torch.Tensor, right: torch.Tensor, *, atol: float = 1e-5, rtol: float = 1e-4
) -> bool:
    """Whether an answer of any float type is right: the tolerance is that of the
    coarser of the two types.

    Compare shapes first. bfloat16 holds 8 bits of a number, float16 11.
    """
    coarse = [
        torch.finfo(one.dtype).eps
        for one in (value, right)
        if one.dtype in (torch.bfloat16, torch.float16)
    ]
    if coarse:
        step = 4 * max(coarse)
        size = float(right.detach().double().abs().max()) if right.numel() else 0.0
        atol, rtol = max(atol, step * size), max(rtol, step)
    a, b = value.detach().double(), right.detach().double()
    return torch.allclose(a, b.to(a.device), atol=atol, rtol=rtol)


def fresh_draw() -> torch.Generator:
    """A source of random numbers with a seed of its own, so that every call of a check
    tries other inputs.
    """
    return torch.Generator().manual_seed(_seeds.getrandbits(63))


def alike(value: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether an answer is right to 2% of its largest number, so that half precision
    anywhere inside it will do.

    For checks whose wrong answers are further away than that. Compare shapes first.
    """
    return near(value, right, atol=0.02 * float(right.detach().double().abs().max()))


# --- calling the reader's code --------------------------------------------------------


def call(function: Callable, *arguments, **named):
    """Call the reader's function in a thread of its own: with a time limit, in silence,
    on copies of the tensors.

    Raises what the function raises, and OutOfTime with a sentence
    where it took too long.
    """
    # called by a function that is called this way already
    if getattr(_inside, "yes", False):
        return function(*arguments, **named)
    trial = _try.get() or _Try()
    copies = [_copy(argument) for argument in arguments]
    versions = [_version(argument) for argument in copies]
    box: dict = {}

    def work() -> None:
        _inside.yes = True
        with (
            contextlib.suppress(OutOfTime),
            torch.inference_mode(False),
            torch.set_grad_enabled(box["grad"]),
        ):
            before = _settings()
            try:
                box["value"] = function(*copies, **named)
            except OutOfTime:
                box["late"] = True
            except BaseException as problem:
                box["problem"] = problem
            box["changed"] = [
                name for name, value in _settings().items() if value != before[name]
            ]

    box["grad"] = torch.is_grad_enabled()
    worker = threading.Thread(
        target=contextvars.copy_context().run, args=(work,), daemon=True
    )
    with _silence() as heard:
        worker.start()
        try:
            _wait(worker, trial.seconds)
        finally:  # Ctrl-C too ends the worker
            in_time = not worker.is_alive()
            if not in_time:
                _stop(worker)
    trial.printed += len(heard.getvalue().splitlines())
    trial.changed += box.get("changed", [])
    if [_version(argument) for argument in copies] != versions:
        trial.changed.append("the tensors it was given")
    if worker.is_alive():
        trial.left_behind = True
    if not in_time or "late" in box:
        raise OutOfTime(
            f"your function was still running after {trial.seconds:g} s and was "
            "stopped; does a loop in it never end?"
        )
    problem = box.get("problem")
    if isinstance(problem, Exception):
        raise problem
    if problem is not None:  # exit(), or an interrupt of its own
        raise RuntimeError(f"{type(problem).__name__}; a function ends with `return`")
    return box.get("value")


def _wait(worker: threading.Thread, seconds: float) -> None:
    """Wait until the thread ends or its time is up.

    On a busy machine the clock runs while it waits for its turn, so that its computing
    counts too, up to a limit.
    """
    elapsed, computed = time.monotonic(), time.process_time()
    worker.join(seconds)
    while worker.is_alive() and time.process_time() - computed < seconds:
        if time.monotonic() - elapsed > _PATIENCE * seconds:
            return
        worker.join(0.05)


def _stop(worker: threading.Thread) -> None:
    """Raise OutOfTime inside the thread until it ends; code that waits outside
    Python is left behind.
    """
    for _ in range(int(_GRACE / 0.02)):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(worker.ident), ctypes.py_object(OutOfTime)
        )
        worker.join(0.02)
        if not worker.is_alive():
            return


def _copy(argument):
    plain = isinstance(argument, torch.Tensor) and not argument.requires_grad
    return argument.clone() if plain else argument


def _version(argument) -> int:
    tracked = isinstance(argument, torch.Tensor) and not argument.is_inference()
    return argument._version if tracked else 0


@contextlib.contextmanager
def _silence() -> Iterator[io.StringIO]:
    """Catch what is printed or displayed; the text printed to stdout is kept, and a
    mark for each display.
    """
    heard = io.StringIO()
    with contextlib.ExitStack() as stack:
        if "IPython" in sys.modules:
            from IPython.utils.capture import capture_output

            shown = stack.enter_context(capture_output(stdout=False, stderr=False))
            stack.callback(lambda: heard.write("display\n" * len(shown.outputs)))
        stack.enter_context(contextlib.redirect_stdout(heard))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield heard


# --- global settings ------------------------------------------------------------------


def _settings() -> dict[str, object]:
    """What the reader's code may change for everybody; a thread of its own has
    its own grad mode.
    """
    try:
        folder = os.getcwd()  # noqa: PTH109  (the same string that os.chdir takes)
    except OSError:
        folder = ""
    kind, keys, *rest = numpy.random.get_state()  # noqa: NPY002
    return {
        "torch's random seed": torch.initial_seed(),
        "NumPy's random numbers": (kind, keys.tobytes(), *rest),
        "Python's random numbers": random.getstate(),
        "the grad mode": torch.is_grad_enabled(),
        "the default dtype": torch.get_default_dtype(),
        "the number of threads": torch.get_num_threads(),
        "the working directory": folder,
        "the warnings' filters": list(warnings.filters),
    }


@contextlib.contextmanager
def _kept_settings() -> Iterator[None]:
    """Put all global settings back. Within, numbers are float32 and the generators have
    seeds of their own.
    """
    settings = _settings()
    states = torch.get_rng_state(), numpy.random.get_state(), random.getstate()  # noqa: NPY002
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    torch.default_generator.manual_seed(int.from_bytes(os.urandom(6), "little"))
    with (
        warnings.catch_warnings(),
        torch.inference_mode(False),
        torch.set_grad_enabled(True),
    ):
        try:
            torch.set_default_dtype(torch.float32)
            yield
        finally:
            torch.set_rng_state(states[0])
            numpy.random.set_state(states[1])  # noqa: NPY002
            random.setstate(states[2])
            if on_gpu is not None:
                torch.cuda.set_rng_state_all(on_gpu)
            torch.set_default_dtype(settings["the default dtype"])
            # also the number that new threads take
            torch.set_num_threads(settings["the number of threads"])
            if settings["the working directory"]:
                os.chdir(settings["the working directory"])


# --- the decorator --------------------------------------------------------------------


def exercise(
    *, chapter: int, label: str, second: str, seconds: float = SECONDS
) -> Callable:
    """Make a check of a function `check(answer) -> bool` that prints its verdict with
    `judge` and `answer_of`.

    Each call of the reader's code ends after `seconds`, prints nothing, and changes no
    global setting; what it tried to is said in one sentence. An answer that is missing,
    None or of another kind is refused with a sentence, NumPy arrays are taken as
    tensors. From the second failed try on the `second` hint follows. Every try goes to
    the reader's record (pltutorial.progress).

    The check draws its inputs anew at each call, so its sentences should hold no number
    that depends on the draw.
    """

    def decorate(check: Callable[..., bool]) -> Callable[..., bool]:
        name = check.__name__
        kind = next(iter(check.__annotations__.values()), "")
        wants_function = "Callable" in str(kind)
        EXERCISES[name] = Exercise(chapter, label, name, second)

        @functools.wraps(check)
        def wrapped(*answers, **named) -> bool:
            given = [*answers, *named.values()]
            trial = _Try(seconds)
            token = _try.set(trial)
            try:
                with _kept_settings():
                    right = None
                    if not _refused(name, given, wants_function):
                        right = _verdict(check, _guarded(as_torch(given[0])))
            finally:
                _try.reset(token)
            _say_what_else(trial)
            if right is None:
                return False
            if right:
                _failed_tries.pop(name, None)
            else:
                _failed_tries[name] = _failed_tries.get(name, 0) + 1
                if _failed_tries[name] > 1:
                    print(f"Second hint: {second}")
            progress.record(chapter, label, name, right)
            return right

        return wrapped

    return decorate


def _refused(name: str, given: list, wants_function: bool) -> bool:
    """Whether there is no answer that could be checked; then it is said, and the
    try does not count.
    """
    what = "your answer"
    if wants_function:
        what = "your function, without brackets after its name"
    if len(given) != 1:
        count = "nothing" if not given else f"{len(given)} things"
        hint = f"{name} was given {count}; give it {what}, and nothing else."
    elif given[0] is None:
        hint = f"{name} was given None; give it {what}."
    elif wants_function and not callable(given[0]):
        hint = f"{name} was given {_described(given[0])}; give it {what}."
    elif not wants_function and isinstance(given[0], types.FunctionType):
        hint = f"{name} was given a function; give it what the function returns."
    else:
        return False
    judge(False, "", hint)
    return True


def _described(value) -> str:
    kind = type(value).__name__
    if isinstance(value, torch.Tensor | numpy.ndarray):
        return f"a {kind} of shape {tuple(value.shape)}"
    return (
        f"{value!r:.40} ({kind})"
        if isinstance(value, str | int | float | bool)
        else f"a {kind}"
    )


def _guarded(answer):
    """A function whose every call is guarded, wherever the check makes it."""
    if isinstance(
        answer,
        types.FunctionType
        | types.MethodType
        | types.BuiltinFunctionType
        | functools.partial,
    ):
        return functools.partial(call, answer)
    return answer


def _verdict(check: Callable[..., bool], answer) -> bool:
    """The check's verdict; an answer that it cannot make sense of is a failed
    try, and no traceback.
    """
    try:
        return bool(check(answer))
    except OutOfTime as late:
        return judge(False, "", str(late))
    except Exception as problem:
        return judge(
            False,
            "",
            f"your answer could not be checked ({type(problem).__name__}: {problem}).",
        )


def _say_what_else(trial: _Try) -> None:
    """One sentence for each thing the reader's code did besides answering."""
    if trial.printed:
        lines = "1 line" if trial.printed == 1 else f"{trial.printed} lines"
        print(f"(Your function also printed {lines}, not shown here.)")
    if trial.changed:
        print(
            "(Your function also changed "
            f"{', '.join(dict.fromkeys(trial.changed))}; put back.)"
        )
    if trial.left_behind:
        print(
            "(Your function could not be stopped and still runs; restart the kernel.)"
        )
