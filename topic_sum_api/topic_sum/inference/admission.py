"""Slots: how many requests may run or wait. A request that would be answered too late is refused at once."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .errors import Busy, ClientGone, TimeLimit

# The weight of the newest measurement in the moving averages.
_NEWEST = 0.2


@dataclass
class Job:
    """One request: its deadline (time.monotonic() seconds), and whether its client left."""

    deadline: float
    gone: Callable[[], bool] = lambda: False
    worked: float = 0.0  # seconds of a translator's time so far; a batch's time is shared equally
    queued: int = 0  # its calls that wait or run
    over: bool = False

    def check(self) -> None:
        """Raises TimeLimit or ClientGone."""
        if time.monotonic() >= self.deadline:
            raise TimeLimit("no answer in time")
        if self.gone():
            raise ClientGone("the client closed its connection")


class Admission:
    """Gives out at most `slots` slots, and only as many as can probably be answered in `request_seconds`:
    a request that is accepted and fails later costs twice.

    `on_active` is called with the number of requests that run or wait, whenever it changes.
    """

    def __init__(
        self,
        translators: int,
        slots: int,
        request_seconds: float = math.inf,
        on_active: Callable[[int], None] = lambda active: None,
    ):
        self.slots = slots
        self.active = 0  # requests that run or wait
        self._translators = translators
        self._request_seconds = request_seconds
        self._on_active = on_active
        self._lock = threading.Lock()
        self.expect(1.0)

    def expect(self, seconds: float) -> None:
        """Set what a request probably takes, before the first one comes: a slow machine must not accept many
        requests to learn it."""
        with self._lock:
            # Moving averages in seconds: of a translator's time per request, and of a whole batch.
            self._request_average = self._batch_average = seconds

    @property
    def batch_average(self) -> float:
        return self._batch_average

    @contextmanager
    def slot(self, job: Job) -> Iterator[None]:
        """A slot for one request. Raises Busy if all are taken or the answer would come too late."""
        with self._lock:
            waits = self.active / self._translators * self._request_average
            done = waits + max(self._request_average, self._batch_average)
            late = self.active >= self._translators and done > self._request_seconds
            if late or self.active >= self.slots:
                raise Busy(retry_after=max(1, min(120, math.ceil(waits / 2))))
            self.active += 1
        try:
            with self._lock:
                self._on_active(self.active)
            yield
        finally:
            with self._lock:
                self.active -= 1
                job.over = True
                if job.worked:  # nothing was computed for an answer from the cache
                    self._learn(job)
                self._on_active(self.active)

    def finished(self, jobs: list[Job], took: float) -> None:
        """Learn from a batch with one call of each of `jobs` that took so many seconds."""
        with self._lock:
            self._batch_average += _NEWEST * (took - self._batch_average)
            for job in jobs:
                job.worked += took / len(jobs)
                if job.over:  # it gave up before its call ended; the time that it cost counts all the same
                    self._learn(job)

    def _learn(self, job: Job) -> None:
        self._request_average += _NEWEST * (job.worked - self._request_average)
