"""A load test of `pltutorial serve --api`: requests a second, latencies, lost answers,
batches of one against batches of four, and what a small queue refuses.

    python -m benchmarks.service [--clients 8] [--requests 24] [--rounds 5] [--check]

writes notebooks/records/service.json; with ``--check`` nothing is written, and it ends
with 1 where an answer is lost or is not the function's. Photographs of data/test, cut
to 128 pixels, go through `stylize` and `denoise`. Both services run all the time and
take turns, so ratios of one run count and seconds do not; those of processor time leave
out what other programs take.
"""

from __future__ import annotations

from book import stopping  # noqa: F401 - first: Ctrl-C is one sentence

# isort: split
import argparse
import contextlib
import http.client
import io
import json
import math
import queue
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import torch

from pltutorial import best_device, bundled, bundled_names, denoise, read_image, stylize
from pltutorial.images import open_picture, resize, to_image, to_picture

from . import side

RECORD = side.ROOT / "notebooks" / "records" / "service.json"
SIZE = 128
PATHS = {
    "stylize": "/v1/stylize?style=great_wave",
    "denoise": "/v1/denoise",
}
FUNCTIONS = {
    "stylize": lambda image: stylize(image, "great_wave"),
    "denoise": lambda image: denoise(image),
}
BATCHES = (1, 4)
WARM = 8  # requests before those that count


@dataclass
class Running:
    """A service in a process of its own."""

    port: int
    process: psutil.Process

    def cpu(self) -> float:
        """Seconds of a processor that it has taken."""
        times = self.process.cpu_times()
        return times.user + times.system


@contextlib.contextmanager
def service(*words: str) -> Iterator[Running]:
    """A service that is ended by SIGTERM."""
    command = [sys.executable, "-m", "pltutorial", "serve", "--api", "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, *words], cwd=side.ROOT, **pipes) as process:
        try:
            said = process.stdout.readline()
            found = re.search(r":([0-9]+)/", said)
            if found is None:
                raise RuntimeError(process.stderr.read())
            yield Running(int(found[1]), psutil.Process(process.pid))
            process.terminate()
            _, last = process.communicate(timeout=60)
            if process.returncode != 143 or not last.startswith("stopped; "):
                raise RuntimeError(f"it ended with {process.returncode}: {last}")
        finally:
            process.kill()


def photographs() -> list[torch.Tensor]:
    """Squares from the middles of the photographs that nothing was trained on."""
    found = []
    for name in bundled_names("test"):
        image = resize(read_image(bundled(f"test/{name}")), (256, 384))
        found += [
            image[..., top : top + SIZE, left : left + SIZE]
            for top in (0, SIZE)
            for left in (0, SIZE, 2 * SIZE)
        ]
    return found


def encoded(image: torch.Tensor) -> bytes:
    """Its PNG."""
    data = io.BytesIO()
    to_picture(image).save(data, "PNG")
    return data.getvalue()


def decoded(data: bytes) -> torch.Tensor:
    """The picture of an answer."""
    return to_image(open_picture(io.BytesIO(data), "the answer"), "the answer")


def load(
    served: Running, path: str, bodies: list[bytes], clients: int, count: int
) -> dict:
    """What so many clients see who each send the next picture when they have their
    answer, and come again with one that is refused after as long as they are told.
    """
    left, answers = queue.SimpleQueue(), []
    for number in range(count):
        left.put(number)

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=120)
        with contextlib.closing(connection), contextlib.suppress(queue.Empty):
            while True:
                number = left.get_nowait()
                begun, status, refused, batch = time.perf_counter(), 429, 0, 0
                while status == 429:
                    status, body = 0, b""
                    with contextlib.suppress(OSError, http.client.HTTPException):
                        connection.request("POST", path, bodies[number % len(bodies)])
                        answer = connection.getresponse()
                        body, status = answer.read(), answer.status
                        batch = int(answer.headers.get("X-Batch", 0))
                    if status == 429:
                        refused += 1
                        time.sleep(int(answer.headers["Retry-After"]))
                seconds = time.perf_counter() - begun
                answers.append((number, status, seconds, batch, body, refused))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    begun, cpu = time.perf_counter(), served.cpu()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "cpu": served.cpu() - cpu, "answers": answers}


def row(runs: list[dict], count: int) -> dict:
    """Of the rounds of one service at one task."""
    answers = [answer for run in runs for answer in run["answers"]]
    served = [answer for answer in answers if answer[1] == 200]
    waited = sorted(1000 * seconds for _, _, seconds, _, _, _ in served)

    def slower_than(share: float) -> int:
        return round(waited[math.ceil(share * len(waited)) - 1])

    return {
        "requests": count,
        "served": len(served),
        "lost": count - len(served),
        "refused by 429": sum(answer[-1] for answer in answers),
        "requests a second": round(len(served) / sum(r["seconds"] for r in runs), 2),
        "processor ms a picture": round(
            1000 * sum(run["cpu"] for run in runs) / len(served), 1
        ),
        "p50 ms": slower_than(0.5),
        "p95 ms": slower_than(0.95),
        "mean batch": round(statistics.mean(answer[3] for answer in served), 2),
    }


def farthest(runs: list[dict], task: str, images: list[torch.Tensor]) -> float:
    """The largest difference between an answer and what the function makes, in 1/255;
    the function's picture is rounded to 8 bits, as an answer is.
    """
    worst = 0.0
    made = {}
    for run in runs:
        for number, status, _, _, body, _ in run["answers"]:
            if status != 200:
                continue
            which = number % len(images)
            if which not in made:
                whole = FUNCTIONS[task](decoded(encoded(images[which])))
                made[which] = decoded(encoded(whole))
            worst = max(worst, 255 * float((decoded(body) - made[which]).abs().max()))
    return round(worst, 1)


def compared(
    task: str, services: dict, images: list, given: argparse.Namespace
) -> dict:
    """Both services at one task, by turns."""
    bodies = [encoded(image) for image in images]
    runs: dict[int, list[dict]] = {batch: [] for batch in services}
    for served in services.values():
        load(served, PATHS[task], bodies, given.clients, WARM)
    for _ in range(given.rounds):
        for batch, served in services.items():
            runs[batch].append(
                load(served, PATHS[task], bodies, given.clients, given.requests)
            )
    count = given.rounds * given.requests
    found = {f"batch {batch}": row(made, count) for batch, made in runs.items()}
    one, four = (runs[batch] for batch in BATCHES)
    for name, what in (("processor time", "cpu"), ("seconds", "seconds")):
        ratios = [a[what] / b[what] for a, b in zip(one, four, strict=True)]
        found[f"batch 1 / batch 4, {name}"] = round(statistics.median(ratios), 2)
        found[f"{name} by round"] = [round(ratio, 2) for ratio in ratios]
    every = [run for made in runs.values() for run in made]
    found["largest difference in 1/255"] = farthest(every, task, images)
    return found


def measured(given: argparse.Namespace) -> dict:
    """The record."""
    images = photographs()
    record = {
        "command": "python -m benchmarks.service",
        "machine": side.machine(best_device()),
        "clients": given.clients,
        "pictures": f"{len(images)} of {SIZE}x{SIZE} pixels from data/test, as PNG",
    }
    with contextlib.ExitStack() as stack:
        services = {
            batch: stack.enter_context(service("--batch", str(batch)))
            for batch in BATCHES
        }
        record["tasks"] = {
            task: compared(task, services, images, given) for task in PATHS
        }
    with service("--queue", "2") as served:
        bodies = [encoded(image) for image in images]
        load(served, PATHS["stylize"], bodies, 1, 2)
        run = load(served, PATHS["stylize"], bodies, given.clients, given.requests)
    record["queue of 2"] = row([run], given.requests)
    return record


def faults(record: dict) -> list[str]:
    """What may not be, in words."""
    rows = {"queue of 2": record["queue of 2"]}
    wrong = []
    for task, found in record["tasks"].items():
        rows |= {f"{task}, batch {batch}": found[f"batch {batch}"] for batch in BATCHES}
        if found["largest difference in 1/255"] > 1:
            wrong.append(f"{task}: an answer is not what the function makes")
    wrong += [
        f"{name}: {one['lost']} lost" for name, one in rows.items() if one["lost"]
    ]
    wrong += [
        f"{name}: {one['refused by 429']} refused"
        for name, one in rows.items()
        if bool(one["refused by 429"]) != (name == "queue of 2")
    ]
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=24, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args()
    record = measured(given)
    print(json.dumps(record, indent=1))
    if not given.check:
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    wrong = faults(record)
    for fault in wrong:
        print(f"fault: {fault}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
