"""One queue and one thread that works it off, in batches of jobs that are alike. It
knows nothing of pictures and nothing of HTTP.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any


class Full(Exception):
    """No place is left; ``seconds`` until there may be one."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"no place is left; wait {seconds} s")
        self.seconds = seconds


class Closed(Exception):
    """Nothing is taken any more."""


@dataclass(eq=False)
class Job:
    """What is to be done, and its answer.

    Args:
        what: for the one who works.
        alike: jobs of equal keys can be done together; None for one that is done alone.
    """

    what: Any
    alike: Hashable = None
    answer: Future = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)


class Worker:
    """A thread that takes jobs in the order in which they came, and with each one those
    that wait and are alike. It waits for none that may come.

    A place is held from before a job is there until its answer has been sent, so what
    waits is bounded whatever clients do. Each job that was put gets its answer, a
    result or an exception, also while the worker is being closed.

    Args:
        work: gives the results of some jobs, in their order; one that is an exception
            is raised where its answer is waited for. What it raises is the answer of
            all of them.
        places: how many there are.
        batch: the most jobs that are done together.
    """

    def __init__(
        self, work: Callable[[list[Job]], list], places: int, batch: int
    ) -> None:
        self._work, self.places, self.batch = work, places, batch
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._each = 1.0  # seconds for a job, a running mean
        self.taken, self.closing = 0, False
        self.batches = self.done = 0
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """From here on jobs are done."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether jobs are done."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """A place for one job, for the time of the block.

        Raises:
            Full: there is none.
            Closed: none is given any more.
        """
        with self._changed:
            if self.closing:
                raise Closed
            if self.taken >= self.places:
                wait = math.ceil(self.taken * self._each)
                raise Full(min(60, max(1, wait)))
            self.taken += 1
        try:
            yield
        finally:
            with self._changed:
                self.taken -= 1
                self._changed.notify_all()

    def put(self, job: Job) -> Future:
        """Let a job be done; whoever calls has a place."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify_all()
        return job.answer

    def close(self) -> int:
        """Give no more places, and wait until each that is taken is given back; how
        many there were.
        """
        with self._changed:
            self.closing, left = True, self.taken
            self._changed.notify_all()
            while self.taken and self.alive:
                self._changed.wait(0.5)  # Windows hears Ctrl-C only between waits
        if self.alive:
            self._thread.join()
        return left

    def _run(self) -> None:
        while jobs := self._next():
            begun = time.perf_counter()
            try:
                answers = self._work(jobs)
            except BaseException as problem:  # whatever it is, somebody waits for it
                answers = [problem] * len(jobs)
            seconds = (time.perf_counter() - begun) / len(jobs)
            self._each += 0.2 * (seconds - self._each)
            self.batches += 1
            self.done += len(jobs)
            for job, answer in zip(jobs, answers, strict=True):
                if isinstance(answer, BaseException):
                    job.answer.set_exception(answer)
                else:
                    job.answer.set_result(answer)

    def _next(self) -> list[Job]:
        """The job that has waited longest and those alike; none when all is done."""
        with self._changed:
            while not self._waiting:
                if self.closing and not self.taken:
                    return []
                self._changed.wait()
            first = self._waiting.popleft()
            jobs = [first]
            if first.alike is not None:
                for job in list(self._waiting):
                    if len(jobs) < self.batch and job.alike == first.alike:
                        self._waiting.remove(job)
                        jobs.append(job)
            return jobs
