"""Hostile inputs by the thousand over every command, the Python functions and the
server: each ends in its work, in one sentence, or in an InputError; no file is lost.

    make fuzz                                    the whole campaign, 2 processes
    python tests/fuzz.py --inputs 100            a small one
    python tests/fuzz.py --only pictures:17      one input again, with its traceback

The seed decides every input. It runs as an ordinary user: root's rights are given up
where another user can read this Python, else it is refused; PLTUTORIAL_FUZZ_ROOT=1 in
the environment lets it run as root.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from pathlib import Path

from fuzz_inputs import AREAS, package, written
from fuzz_material import copied, kept, make_folder

SLOW = 60.0  # seconds that one input may take
NOBODY = 65534
ROOM = 6 << 30  # bytes of address space beside what is loaded


class TooSlow(BaseException):
    """An input took longer than :data:`SLOW`."""


# --- the campaign ---------------------------------------------------------------------


def one(name: str, number: int, seed: int, *, loud: bool = False) -> str | None:
    """Do one input in a folder of its own; what is wrong with it, None where nothing
    is.
    """
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    before, here = {}, Path.cwd()
    os.chdir(folder)
    signal.signal(signal.SIGALRM, _alarm)
    try:
        copied(_model(), folder)
        before = kept(folder)
        written.clear()
        signal.setitimer(signal.ITIMER_REAL, SLOW)
        AREAS[name][1](random.Random(f"{seed} {name} {number}"))
    except TooSlow:
        return f"it took more than {SLOW:.0f} s"
    except BaseException as problem:
        if loud:
            traceback.print_exc()
        where = traceback.extract_tb(problem.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        return f"{type(problem).__name__} at {place}: {ascii(str(problem))[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.chdir(here)
        after = kept(folder)
        shutil.rmtree(folder, ignore_errors=True)
    # what was named as an output, and as nothing else, may be another file now
    lost = [
        name
        for name, what in before.items()
        if after.get(name) != what and (what.startswith("0x") or name not in written)
    ]
    if lost:
        return f"lost or changed: {lost}"
    left = [name for name in after if Path(name).name.startswith(".pltutorial-")]
    return f"left behind: {left}" if left else None


def _alarm(*_) -> None:
    raise TooSlow


_made: list[Path] = []


def _model() -> Path:
    """A folder that is made once in a process, see :func:`make_folder`."""
    if not _made:
        here, folder = Path.cwd(), Path(tempfile.mkdtemp(prefix="fuzz-model-"))
        os.chdir(folder)
        make_folder()
        os.chdir(here)
        _made.append(folder)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return _made[0]


def plan(seed: int, inputs: int) -> list[tuple[str, int]]:
    """Area and number of each input."""
    weights = [weight for weight, _ in AREAS.values()]
    draw = random.Random(seed)
    return [
        (name, n) for n, name in enumerate(draw.choices([*AREAS], weights, k=inputs))
    ]


def work(seed: int, inputs: int, part: int, parts: int, start: int) -> None:
    """Do a part of the plan, and say each input before and after it."""
    import resource

    import psutil
    import torch

    import pltutorial.cli.app  # noqa: F401

    torch.set_num_threads(1)
    room = psutil.Process().memory_info().vms + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w")  # what is tried may print, or close the stream
    mine = [one for one in plan(seed, inputs)[start:] if one[1] % parts == part]
    for name, number in mine:
        print(json.dumps([name, number]), file=answers, flush=True)
        begin = time.perf_counter()
        fault = one(name, number, seed)
        seconds = time.perf_counter() - begin
        print(json.dumps([fault, seconds]), file=answers, flush=True)


def campaign(seed: int, inputs: int, jobs: int, minutes: float) -> int:
    """Do all inputs, or those for which there is time; the number of faults."""
    end, lock = time.monotonic() + 60 * minutes, threading.Lock()
    done, faults, slowest = Counter(), [], (0.0, "")

    def run(part: int) -> None:
        nonlocal slowest
        start = 0
        while start < inputs and time.monotonic() < end:
            words = [__file__, "--seed", seed, "--inputs", inputs, "--part", part, jobs]
            process = subprocess.Popen(
                [sys.executable, *map(str, [*words, "--from", start])],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                text=True,
                env=os.environ | {"PLTUTORIAL_PROGRESS": "off", "OMP_NUM_THREADS": "1"},
            )
            timer = threading.Timer(max(0, end - time.monotonic()), process.kill)
            timer.start()
            begun = None
            for line in process.stdout:
                said = json.loads(line)
                if begun is None:
                    begun = said
                    continue
                fault, seconds = said
                with lock:
                    done[begun[0]] += 1
                    slowest = max(slowest, (seconds, ":".join(map(str, begun))))
                    if fault is not None:
                        faults.append((*begun, fault))
                        print(f"{begun[0]}:{begun[1]}  {fault}", flush=True)
                begun = None
            timer.cancel()
            code = process.wait()
            if time.monotonic() >= end or code == 0:
                return
            with lock:
                where = begun or ["start", 0]
                faults.append((*where, f"the process ended with {code}"))
                print(f"{where[0]}:{where[1]}  {faults[-1][2]}", flush=True)
            if begun is None:
                return
            start = begun[1] + 1

    threads = [threading.Thread(target=run, args=(part,)) for part in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    areas = ", ".join(f"{name} {count}" for name, count in sorted(done.items()))
    print(f"{sum(done.values()):,} inputs with seed {seed}: {areas}")
    print(f"{len(faults)} faults; the slowest took {slowest[0]:.1f} s ({slowest[1]})")
    return len(faults)


def give_up_root() -> None:
    """Be an ordinary user; where none could read this Python, end with a sentence."""
    if os.geteuid() or os.environ.get("PLTUTORIAL_FUZZ_ROOT") == "1":
        return
    needed = [Path(sys.base_prefix), Path(sys.prefix), package(), Path(__file__)]
    ways = {way for path in needed for way in (path, *path.resolve().parents)}
    if not all(way.stat().st_mode & stat.S_IXOTH for way in ways if way.is_dir()):
        sys.exit(
            "error: hostile inputs are not tried as root, and no other user can read "
            "this Python; start it as an ordinary user, or set PLTUTORIAL_FUZZ_ROOT=1"
        )
    os.environ["HOME"] = tempfile.mkdtemp(prefix="fuzz-home-")
    os.chown(os.environ["HOME"], NOBODY, NOBODY)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=int(time.time() // 86400))
    parser.add_argument("--inputs", type=int, default=2400)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=18)
    parser.add_argument("--only", help="one input, such as pictures:17")
    parser.add_argument("--part", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--from", dest="start", type=int, default=0)
    given = parser.parse_args()
    os.environ["PLTUTORIAL_PROGRESS"] = "off"
    os.environ["TQDM_DISABLE"] = "1"
    give_up_root()
    if given.part:
        work(given.seed, given.inputs, *given.part, given.start)
    elif given.only:
        name, _, number = given.only.partition(":")
        print(one(name, int(number), given.seed, loud=True) or "right")
    else:
        try:
            faults = campaign(given.seed, given.inputs, given.jobs, given.minutes)
        except KeyboardInterrupt:  # each input was in a temporary folder
            print(f"stopped; the seed was {given.seed}", file=sys.stderr)
            os._exit(130)
        sys.exit(bool(faults))


if __name__ == "__main__":
    main()
