"""What befalls `pltutorial serve --api`, as a real process with clients; a part of
:mod:`benchmarks.trouble`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

WORDS = "serve --api --device cpu --max-pixels 4000000"
QUICK = "/v1/stylize?style=great_wave"
SLOW = "/v1/denoise"  # some seconds, of the large picture
STATIONS = ("loading", "with nothing to do", "with one at work and two that wait")


def heeding() -> None:
    """A child that heeds Ctrl-C, whatever started this program."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def limited(what: int, amount: int) -> Callable[[], None]:
    """A child that may have so much of something."""
    return lambda: resource.setrlimit(what, (amount, amount))


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def ask(port: int, path: str, picture: Path | None = None) -> tuple[int, bytes]:
    """Status and body of an answer; 0 and what went wrong where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=240)
    with contextlib.closing(connection):
        try:
            data = None if picture is None else picture.read_bytes()
            connection.request("GET" if data is None else "POST", path, data)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as problem:
            return 0, repr(problem).encode()


def is_up(port: int, process: subprocess.Popen, most: float = 120) -> bool:
    """Wait until it answers, or has ended."""
    end = time.monotonic() + most
    while process.poll() is None and time.monotonic() < end:
        if ask(port, "/health")[0] == 200:
            return True
        time.sleep(0.1)
    return False


class Clients:
    """Three at once, of whom one is served and two wait."""

    def __init__(self, port: int, picture: Path) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.threads = [
            threading.Thread(
                target=lambda: self.answers.append(ask(port, SLOW, picture))
            )
            for _ in range(3)
        ]
        for thread in self.threads:
            thread.start()
        end = time.monotonic() + 60
        while time.monotonic() < end:  # until all have come
            status, body = ask(port, "/health")
            if status == 200 and json.loads(body)["waiting"] == 2:
                return
            time.sleep(0.02)

    def told(self) -> list[int]:
        """The status that each was given."""
        for thread in self.threads:
            thread.join()
        return sorted(status for status, _ in self.answers)


def rows() -> dict[str, Callable]:
    """By name: `serve --api` with jobs at work and waiting. Each takes the trouble and
    a function that is told what is wrong.
    """
    found = {
        f"{number.name} {station}": partial(_signalled, number, station)
        for station in STATIONS
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    }
    found["Ctrl-C twice with one at work"] = _twice
    found["clients that go away"] = _gone
    found["two services on one port"] = _two
    for ending in ("> /dev/full", ">&-", "2> /dev/full", "2>&-", "<&- >&- 2>&-"):
        shell = ["bash", "-c", f'exec "$@" {ending}', "-"]
        found[f"streams {ending}"] = partial(_works, shell=shell)
    limit = limited(resource.RLIMIT_FSIZE, 0)
    found["a full disk"] = partial(_works, limit=limit)
    for megabytes in (200, 400, 800, 1200, 1600):
        limit = limited(resource.RLIMIT_AS, megabytes * 10**6)
        found[f"{megabytes} MB"] = partial(_works, limit=limit, must=False)
    for files in (6, 12, 24):
        limit = limited(resource.RLIMIT_NOFILE, files)
        found[f"{files} open files"] = partial(_works, limit=limit, must=False)
    return found


def _started(trouble, port: int, shell: list[str] = (), limit=None):
    """The service, which heeds signals."""

    def begin() -> None:
        heeding()
        if limit is not None:
            limit()

    how = {"preexec_fn": begin, "start_new_session": True}
    return trouble.start(f"{WORDS} --port {port}", before=shell, **how)


def _ended(trouble, process, number: int, at: str = "") -> list[str]:
    """What is wrong with how it ended after a signal."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    errors = process.communicate(timeout=240)[1].decode(errors="replace")
    if number == signal.SIGKILL:
        return []
    faults = trouble.faults(process.returncode, errors, (128 + number,))
    return [at + one for one in faults]


def _signalled(number: int, station: str, trouble, wrong: Callable) -> None:
    port, large = free_port(), _large(trouble)
    process = _started(trouble, port)
    clients = None
    if station == "loading":
        time.sleep(0.5)
    elif not is_up(port, process):
        wrong(["it never answered"])
    elif station != STATIONS[1]:
        clients = Clients(port, large)
    if number == signal.SIGKILL or process.poll() is None:
        wrong(_ended(trouble, process, number))
    if clients is not None:
        told = clients.told()
        if told != ([0] * 3 if number == signal.SIGKILL else [200] * 3):
            wrong([f"the clients were answered {told}"])
    if number == signal.SIGKILL:  # the next one has its port and its folder
        again = _started(trouble, port)
        up = is_up(port, again)
        if not up or ask(port, QUICK, trouble.folder / "in.png")[0] != 200:
            wrong(["the next one on this port does not answer"])
        wrong(_ended(trouble, again, signal.SIGTERM, "the next one: "))


def _twice(trouble, wrong: Callable) -> None:
    port, large = free_port(), _large(trouble)
    process = _started(trouble, port)
    if not is_up(port, process):
        wrong(["it never answered"])
    clients, begin = Clients(port, large), time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.8)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=240)[1].decode()
    told = clients.told()
    if process.returncode != 130 or len(errors.splitlines()) > 1:
        wrong([f"exit {process.returncode}, {errors!r}"])
    if set(told) - {0, 200}:
        wrong([f"the clients were answered {told}"])
    if time.monotonic() - begin > 60:
        wrong(["it did not end at once"])


def _gone(trouble, wrong: Callable) -> None:
    """Clients that send half a picture, and some that do not wait for theirs."""
    port, large = free_port(), _large(trouble)
    process = _started(trouble, port)
    if not is_up(port, process):
        wrong(["it never answered"])
    data = large.read_bytes()
    head = f"POST {SLOW} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
    for sent in (head.encode(), head.encode() + data[:9999], head.encode() + data):
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port)) as talk:
                talk.sendall(sent)
    picture = trouble.folder / "in.png"
    if (status := ask(port, QUICK, picture)[0]) != 200:
        wrong([f"the one that stayed was answered {status}"])
    wrong(_ended(trouble, process, signal.SIGTERM))


def _two(trouble, wrong: Callable) -> None:
    port = free_port()
    first = _started(trouble, port)
    if not is_up(port, first):
        wrong(["it never answered"])
    code, errors = trouble.finish(f"{WORDS} --port {port}")
    wrong(trouble.faults(code, errors, (2,)))
    if f"port {port} is in use" not in errors:
        wrong([f"the second was told {errors!r}"])
    if ask(port, QUICK, trouble.folder / "in.png")[0] != 200:
        wrong(["the first answers no more"])
    wrong(_ended(trouble, first, signal.SIGTERM))


def _works(
    trouble, wrong: Callable, shell: list[str] = (), limit=None, must: bool = True
) -> None:
    """It answers pictures until it is stopped; or, where it need not, says in a
    sentence why not, of a picture or of itself.
    """
    port = free_port()
    process = _started(trouble, port, shell, limit)
    quiet = any(">" in word for word in shell)
    if not is_up(port, process):
        errors = process.communicate(timeout=60)[1].decode()
        wrong(["it never answered"] if must else [])
        wrong(trouble.faults(process.returncode, errors, (1, 2)))
        return
    status, body = ask(port, QUICK, trouble.folder / "in.png")
    if status != 200 and (must or status not in (0, 400, 503)):
        wrong([f"a picture was answered {status}, {body[:200]!r}"])
    if process.poll() is not None:
        wrong(["a picture ended the service"])
    wrong(
        one
        for one in _ended(trouble, process, signal.SIGTERM)
        if not (quiet and one.startswith("0 lines"))
    )


def _large(trouble) -> Path:
    """A picture that takes a second or more, by itself."""
    from PIL import Image

    path = trouble.folder / "large.png"
    Image.effect_noise((620, 450), 90).convert("RGB").save(path)
    return path
