"""The waiting room in front of the translators: bounded, fair, with a time limit for every request."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from .errors import Busy, ClientGone, TimeLimit

T = TypeVar("T")

# How often a waiting request looks whether its client is still there.
_GLANCE_SECONDS = 0.25


class Room:
    """Runs calls on `translators` threads; at most `queue_size` further requests wait, and only as many as
    will probably be answered in `request_seconds`: a request let in and sent away later costs twice.

    CTranslate2 cannot stop a beam search half-way, so a call that has begun runs to its end even when its
    request gave up; a call that has not begun is never run for a request that is gone or out of time.
    """

    def __init__(self, translators: int, queue_size: int, request_seconds: float = math.inf):
        self.translators = translators
        self.places = translators + queue_size
        self._request_seconds = request_seconds
        self._pool = ThreadPoolExecutor(translators, thread_name_prefix="translator")
        self._lock = threading.Lock()
        self._inside = 0
        # Seconds of a translator's time that a request takes: a moving average that begins with `expect`.
        self._average = 1.0
        self._worked = 0.0  # seconds of translators' time that no request has been charged for yet

    @property
    def inside(self) -> int:
        """Requests that run or wait now."""
        return self._inside

    def expect(self, seconds: float) -> None:
        """What a request probably takes, told before the first one comes: a slow machine must not let in a
        crowd to learn it."""
        with self._lock:
            self._average = seconds

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one request. Raises Busy when all are taken, or when its turn would come too late."""
        with self._lock:
            turn = self._inside / self.translators * self._average
            late = self._inside >= self.translators and turn + self._average > self._request_seconds
            if late or self._inside >= self.places:
                raise Busy(retry_after=max(1, min(120, math.ceil(turn / 2))))
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._worked:  # nothing was computed for an answer out of the cache
                    self._average += 0.2 * (self._worked - self._average)
                    self._worked = 0.0

    def run(self, calls: list[Callable[[], T]], deadline: float, gone: Callable[[], bool]) -> list[T]:
        """Results of `calls` in order. A request's own calls use all translators but never more at once, so a
        long list waits in line with everybody else.

        `deadline` is in time.monotonic() seconds. Raises TimeLimit, ClientGone, or what a call raised.
        """
        results: dict[int, T] = {}
        futures: dict[Future, int] = {}
        begun = time.monotonic()
        todo = iter(range(len(calls)))
        try:
            while True:
                while len(futures) < self.translators and (index := next(todo, None)) is not None:
                    futures[self._submit(calls[index])] = index
                if not futures:
                    return [results[index] for index in range(len(calls))]
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeLimit(f"no answer in {time.monotonic() - begun:.0f} s")
                done, _ = wait(futures, timeout=min(left, _GLANCE_SECONDS), return_when=FIRST_COMPLETED)
                for future in done:
                    results[futures.pop(future)] = future.result()
                if any(future.cancelled() for future in futures):  # `wait` does not call that done
                    raise CancelledError
                if not done and gone():
                    raise ClientGone("the client closed its connection")
        except CancelledError:
            raise TimeLimit("the server is stopping") from None
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, call: Callable[[], T]) -> Future:
        try:
            return self._pool.submit(self._timed, call)
        except RuntimeError:  # closed
            raise CancelledError from None

    def _timed(self, call: Callable[[], T]) -> T:
        begun = time.monotonic()
        try:
            return call()
        finally:
            took = time.monotonic() - begun
            with self._lock:
                self._worked += took
