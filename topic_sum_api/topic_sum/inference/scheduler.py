"""The queue in front of the translators: fair, with a deadline for every request, and computed in batches."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from .admission import Admission, Job
from .batches import Queued, choose, compute, fits_two, padded_tokens
from .errors import ClientGone, TimeLimit

T = TypeVar("T")

# How often a waiting request checks whether its client is still there.
_CHECK_SECONDS = 0.25
# Clients that were answered by one batch often ask again at once, a few milliseconds apart. A translator
# waits for them no longer than this, and no longer than this share of a batch's time.
_GATHER_SECONDS = 0.05
_GATHER_SHARE = 0.02


class Scheduler:
    """Runs calls on `translators` threads; at most `queue_size` further requests wait.

    A free translator takes the call that has waited longest, and with it those nearest to it in length, up to
    `max_batch_size`. It waits for more only briefly after a batch, and a batch never takes what an idle
    translator could compute.

    CTranslate2 cannot stop a beam search, so a call that runs ends by itself even if its request gave up. A
    call that waits is dropped when its request is out of time or its client is gone.

    `on_batch` is called with the size of each batch, `on_active` with the number of active requests.
    """

    def __init__(
        self,
        translators: int,
        queue_size: int,
        request_seconds: float = math.inf,
        max_batch_size: int = 1,
        on_batch: Callable[[int], None] = lambda size: None,
        on_active: Callable[[int], None] = lambda active: None,
    ):
        self.admission = Admission(translators, translators + queue_size, request_seconds, on_active)
        self.slot = self.admission.slot
        self.translators = translators
        self.batches = 0  # computed so far
        self._max_batch_size = max_batch_size
        self._on_batch = on_batch
        self._pool = ThreadPoolExecutor(translators, thread_name_prefix="translator")
        # Guards the queue and the counts; notified when a call is queued or a translator becomes idle.
        self._changed = threading.Condition()
        self._queue: list[Queued] = []
        self._running: list[list[Queued]] = []  # batches
        self._gather = threading.local()  # per translator: wait for `wanted` calls `until` then

    @property
    def per_request(self) -> int:
        """How many calls of one request may be queued at a time: enough for batches, and few enough that
        other requests need not wait for all of them."""
        return self.translators * min(2, self._max_batch_size)

    def run(self, calls: Sequence[Callable[[], T]], job: Job) -> list[T]:
        """The results of `calls` in order. Only `per_request` calls of a request are queued at a time (or one
        for each of its threads), so that a long list waits with everybody else.

        Raises TimeLimit, ClientGone, or what a call raised.
        """
        results: dict[int, T] = {}
        futures: dict[Future, int] = {}
        began = time.monotonic()
        todo = list(reversed(range(len(calls))))
        try:
            while True:
                while todo and (not futures or job.queued < self.per_request):
                    index = todo.pop()
                    futures[self._enqueue(calls[index], job)] = index
                if not futures:
                    return [results[index] for index in range(len(calls))]
                left = job.deadline - time.monotonic()
                if left <= 0:
                    raise TimeLimit(f"no answer in {time.monotonic() - began:.0f} s")
                done, _ = wait(futures, timeout=min(left, _CHECK_SECONDS), return_when=FIRST_COMPLETED)
                for future in done:
                    index = futures.pop(future)
                    self._leave_queue(job)
                    results[index] = future.result()
                if not done and job.gone():
                    raise ClientGone("the client closed its connection")
        except CancelledError:
            raise TimeLimit("the server is stopping") from None
        finally:
            for future in futures:
                future.cancel()
                self._leave_queue(job)

    def close(self) -> None:
        """Calls that run end; requests that wait learn that the server stops."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._changed:
            left, self._queue = self._queue, []
        for queued in left:
            queued.future.cancel()
            queued.future.set_running_or_notify_cancel()  # `wait` does not call it done before

    def _enqueue(self, call: Callable[[], T], job: Job) -> Future:
        queued = Queued(call, job, Future())
        with self._changed:
            self._queue.append(queued)
            job.queued += 1
            self._changed.notify_all()
        try:
            # One pass per call. If an earlier batch took the call, its pass finds less to do, or nothing.
            self._pool.submit(self._compute_next)
        except RuntimeError:  # closed
            raise CancelledError from None
        return queued.future

    def _leave_queue(self, job: Job) -> None:
        with self._changed:
            job.queued -= 1

    @property
    def _held(self) -> int:
        """Tokens of the batches that run."""
        return sum(map(padded_tokens, self._running))

    def _compute_next(self) -> None:
        """Compute the next batch and give out its results. Runs on a translator's thread."""
        with self._changed:
            self._wait_for_more()
            batch = self._take()
            if not batch:
                return
            self._running.append(batch)
        began = time.monotonic()
        outcomes = compute([queued.call for queued in batch])
        took = time.monotonic() - began
        # All counts are right before a future is set: whoever asks next must find this translator idle.
        self.admission.finished([queued.job for queued in batch], took)
        with self._changed:
            self._plan_to_gather(sum(queued.batchable for queued in batch))
            self._running.remove(batch)
            self._changed.notify_all()
            self.batches += 1
        for queued, (result, error) in zip(batch, outcomes, strict=True):
            if error is None:
                queued.future.set_result(result)
            else:
                queued.future.set_exception(error)  # raised again in the thread of its request
        if batch[0].batchable:
            self._on_batch(len(batch))

    def _plan_to_gather(self, answered: int) -> None:
        """After a batch of `answered` calls, which still counts as running: how many should go together next
        if as many are asked as now."""
        waiting = sum(queued.live for queued in self._queue)
        running = sum(queued.batchable for batch in self._running for queued in batch)
        share = math.ceil((running + waiting) / self.translators)
        self._gather.wanted = min(share, waiting + answered, self._max_batch_size)
        seconds = min(_GATHER_SECONDS, _GATHER_SHARE * self.admission.batch_average)
        self._gather.until = time.monotonic() + seconds

    def _wait_for_more(self) -> None:
        """Wait briefly so that clients that were just answered can form one batch: else the first of them is
        computed alone while the others wait. Not if another translator is idle."""
        wanted, until = getattr(self._gather, "wanted", 0), getattr(self._gather, "until", 0.0)
        while self._queue and len(self._running) == self.translators - 1:
            first, left = self._queue[0], until - time.monotonic()
            waiting = sum(queued.live for queued in self._queue)
            if left <= 0 or not first.live or waiting >= wanted:
                return
            if not fits_two(first.call, self._held):
                return
            self._changed.wait(left)

    def _take(self) -> list[Queued]:
        """Remove from the queue the call that has waited longest and those that go with it."""
        self._queue = [queued for queued in self._queue if not queued.future.cancelled()]
        if not self._queue:
            return []
        idle = self.translators - len(self._running)
        most = min(self._max_batch_size, math.ceil(len(self._queue) / idle))
        batch = choose(self._queue, most, self._held)
        self._queue = [queued for queued in self._queue if queued not in batch]
        return [queued for queued in batch if queued.future.set_running_or_notify_cancel()]
