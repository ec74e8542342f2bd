"""The waiting room in front of the translators: bounded, fair, with a time limit for every request."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from .errors import Busy, ClientGone, TimeLimit

log = logging.getLogger("topic_sum")

T = TypeVar("T")

# How often a waiting request looks whether its client is still there.
_GLANCE_SECONDS = 0.25
# A batch is padded to its longest call: one of more than this many times as many tokens stays out of it.
_MOST_TIMES_AS_LONG = 2
# Those a batch has answered often ask again at once, one a few milliseconds after the other. Their translator
# waits for them no longer than this, nor than this share of what a batch takes.
_COMPANY_SECONDS = 0.05
_COMPANY_SHARE = 0.02


@runtime_checkable
class Batchable(Protocol):
    """A call that takes less time in one batch with others of its kind than after them."""

    @property
    def kind(self) -> object: ...

    @property
    def tokens(self) -> int:
        """What it remembers while it runs."""

    @property
    def batch_tokens(self) -> int:
        """What a batch may hold, the padding of its shorter texts included."""

    @property
    def room_tokens(self) -> int:
        """What all batches together may hold while they run. One call may always."""

    def batch(self, calls: Sequence[Batchable]) -> list:
        """The results of `calls`, this one among them and all of its kind, in order."""


@dataclass
class Visit:
    """A request's stay: until when it must be answered (time.monotonic() seconds), and for whom."""

    deadline: float
    gone: Callable[[], bool] = lambda: False
    worked: float = 0.0  # seconds of a translator's time so far; a batch's are shared by all in it
    in_line: int = 0  # calls that wait or run
    over: bool = False

    def check(self) -> None:
        """Raises TimeLimit or ClientGone."""
        if time.monotonic() >= self.deadline:
            raise TimeLimit("no answer in time")
        if self.gone():
            raise ClientGone("the client closed its connection")


@dataclass(eq=False)
class _Waiting:
    call: Callable[[], object]
    visit: Visit
    future: Future


class Room:
    """Runs calls on `translators` threads; at most `queue_size` further requests wait, and only as many as
    will probably be answered in `request_seconds`: a request let in and sent away later costs twice.

    A translator that gets free takes the call that has waited longest, and with it those nearest to it in
    length, up to `max_batch_size`. Nobody waits for company but for a moment after a batch, and a batch never
    takes what an idle translator could do.

    CTranslate2 cannot stop a beam search half-way, so a call that has begun runs to its end even
    when its request gave up; one that has not is never run for a request that is gone or out of time.

    `on_batch` is told the size of each batch, `on_inside` how many requests run or wait.
    """

    def __init__(
        self,
        translators: int,
        queue_size: int,
        request_seconds: float = math.inf,
        max_batch_size: int = 1,
        on_batch: Callable[[int], None] = lambda size: None,
        on_inside: Callable[[int], None] = lambda inside: None,
    ):
        self.translators = translators
        self.places = translators + queue_size
        # What one request may have in line: enough to make a batch of, without keeping the others waiting.
        self.at_once = translators * min(2, max_batch_size)
        self._max_batch_size = max_batch_size
        self._request_seconds = request_seconds
        self._on_batch = on_batch
        self._on_inside = on_inside
        self._pool = ThreadPoolExecutor(translators, thread_name_prefix="translator")
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)  # of the line, and of translators that got free
        self._mine = threading.local()  # of each translator: `wanted` calls next, waited for `until`
        self._line: list[_Waiting] = []
        self._busy = 0  # translators
        self._running = 0  # calls of the batches that run
        self._held = 0  # tokens of the batches that run
        self.turns = 0  # that translators have had
        self._inside = 0
        self.expect(1.0)

    @property
    def inside(self) -> int:
        """Requests that run or wait now."""
        return self._inside

    def expect(self, seconds: float) -> None:
        """What a request probably takes, told before the first one comes: a slow machine must not let in a
        crowd to learn it."""
        with self._lock:
            # Moving averages, in seconds: of a translator's time for a request; of a batch, first to last.
            self._average = self._turn_average = seconds

    @contextmanager
    def place(self, visit: Visit) -> Iterator[None]:
        """A place for one request. Raises Busy when all are taken, or when its turn would come too late."""
        with self._lock:
            turn = self._inside / self.translators * self._average
            done = turn + max(self._average, self._turn_average)
            late = self._inside >= self.translators and done > self._request_seconds
            if late or self._inside >= self.places:
                raise Busy(retry_after=max(1, min(120, math.ceil(turn / 2))))
            self._inside += 1
        try:
            with self._lock:
                self._on_inside(self._inside)
            yield
        finally:
            with self._lock:
                self._inside -= 1
                visit.over = True
                if visit.worked:  # nothing was computed for an answer out of the cache
                    self._average += 0.2 * (visit.worked - self._average)
                self._on_inside(self._inside)

    def run(self, calls: Sequence[Callable[[], T]], visit: Visit) -> list[T]:
        """Results of `calls` in order. Of all that a request asks only `at_once` calls are in line at a time
        (or one for each of its threads), so that a long list waits with everybody else.

        Raises TimeLimit, ClientGone, or what a call raised.
        """
        results: dict[int, T] = {}
        futures: dict[Future, int] = {}
        begun = time.monotonic()
        todo = list(reversed(range(len(calls))))
        try:
            while True:
                while todo and (not futures or visit.in_line < self.at_once):
                    index = todo.pop()
                    futures[self._wait_in_line(calls[index], visit)] = index
                if not futures:
                    return [results[index] for index in range(len(calls))]
                left = visit.deadline - time.monotonic()
                if left <= 0:
                    raise TimeLimit(f"no answer in {time.monotonic() - begun:.0f} s")
                done, _ = wait(futures, timeout=min(left, _GLANCE_SECONDS), return_when=FIRST_COMPLETED)
                for future in done:
                    index = futures.pop(future)
                    self._out_of_line(visit)
                    results[index] = future.result()
                if not done and visit.gone():
                    raise ClientGone("the client closed its connection")
        except CancelledError:
            raise TimeLimit("the server is stopping") from None
        finally:
            for future in futures:
                future.cancel()
                self._out_of_line(visit)

    def close(self) -> None:
        """What runs ends, what waits is told that the server stops."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            left, self._line = self._line, []
        for waiting in left:
            waiting.future.cancel()
            waiting.future.set_running_or_notify_cancel()  # `wait` does not call it done before

    def _wait_in_line(self, call: Callable[[], T], visit: Visit) -> Future:
        waiting = _Waiting(call, visit, Future())
        with self._lock:
            self._line.append(waiting)
            visit.in_line += 1
            self._news.notify_all()
        try:
            # A turn for each call: one whose call went into an earlier batch finds less to do, or nothing.
            self._pool.submit(self._turn)
        except RuntimeError:  # closed
            raise CancelledError from None
        return waiting.future

    def _out_of_line(self, visit: Visit) -> None:
        with self._lock:
            visit.in_line -= 1

    def _turn(self) -> None:
        with self._lock:
            self._wait_for_company()
            batch = self._take()
            if not batch:
                return
            tokens = _padded(batch)
            self._busy += 1
            size = sum(isinstance(waiting.call, Batchable) for waiting in batch)
            self._running += size
            self._held += tokens
        begun = time.monotonic()
        outcomes = _outcomes([waiting.call for waiting in batch])
        took = time.monotonic() - begun
        with self._lock:  # before anybody is told: whoever comes next must find this translator idle
            self._busy -= 1
            self._held -= tokens
            self._running -= size
            self._expect_company(size)
            self._news.notify_all()
            self.turns += 1
            self._turn_average += 0.2 * (took - self._turn_average)
            for waiting in batch:
                waiting.visit.worked += took / len(batch)
                if waiting.visit.over:  # it gave up before its call ended; what it took counts all the same
                    self._average += 0.2 * (waiting.visit.worked - self._average)
        for waiting, (result, error) in zip(batch, outcomes, strict=True):
            if error is None:
                waiting.future.set_result(result)
            else:
                waiting.future.set_exception(error)  # raised again where its request waits
        if isinstance(batch[0].call, Batchable):
            self._on_batch(len(batch))

    def _expect_company(self, answered: int) -> None:
        """How many should go together next, if as many ask as do now; a translator notes it after a batch."""
        waiting = sum(_live(each) for each in self._line)
        share = math.ceil((self._running + waiting + answered) / self.translators)
        self._mine.wanted = min(share, waiting + answered, self._max_batch_size)
        self._mine.until = time.monotonic() + min(_COMPANY_SECONDS, _COMPANY_SHARE * self._turn_average)

    def _wait_for_company(self) -> None:
        """A moment for those that this translator has just answered: the first of them to ask again would be
        taken alone, and the others wait for all it takes. Only where no other translator is idle."""
        wanted, until = getattr(self._mine, "wanted", 0), getattr(self._mine, "until", 0.0)
        while self._line and self._busy == self.translators - 1:
            head, left = self._line[0], until - time.monotonic()
            waiting = sum(_live(each) for each in self._line)
            if left <= 0 or not _live(head) or waiting >= wanted or not self._room_for_two(head.call):
                return
            self._news.wait(left)

    def _room_for_two(self, call: Batchable) -> bool:
        return 2 * call.tokens <= min(call.batch_tokens, call.room_tokens - self._held)

    def _take(self) -> list[_Waiting]:
        """Out of the line: the call that has waited longest, with those it is best made with."""
        self._line = [waiting for waiting in self._line if not waiting.future.cancelled()]
        if not self._line:
            return []
        most = min(self._max_batch_size, math.ceil(len(self._line) / (self.translators - self._busy)))
        batch = _companions(self._line, most, self._held)
        self._line = [waiting for waiting in self._line if waiting not in batch]
        return [waiting for waiting in batch if waiting.future.set_running_or_notify_cancel()]


def _live(waiting: _Waiting) -> bool:
    """Whether it is a call that goes into batches and that somebody still waits for."""
    return isinstance(waiting.call, Batchable) and not waiting.future.cancelled()


def _companions(line: list[_Waiting], most: int, held: int) -> list[_Waiting]:
    """The first of `line` and up to `most` - 1 others, nearest in length, that fit in a batch with it.

    `held` tokens are those of the batches that run already.
    """
    first = line[0]
    batch = [first]
    head = first.call
    if most == 1 or not isinstance(head, Batchable):
        return batch
    fits = min(head.batch_tokens, head.room_tokens - held)
    shortest = longest = head.tokens
    others = [
        (abs(call.tokens - head.tokens), place, waiting)
        for place, waiting in enumerate(line[1:])
        if isinstance(call := waiting.call, Batchable) and call.kind is head.kind
    ]
    for _, _, waiting in sorted(others, key=lambda other: other[:2]):
        if len(batch) == most:
            break
        tokens = waiting.call.tokens
        low, high = min(shortest, tokens), max(longest, tokens)
        if high <= _MOST_TIMES_AS_LONG * low and high * (len(batch) + 1) <= fits:
            batch.append(waiting)
            shortest, longest = low, high
    return batch


def _padded(batch: list[_Waiting]) -> int:
    """Tokens that a batch holds; a call of another kind counts as none."""
    return len(batch) * max(each.call.tokens if isinstance(each.call, Batchable) else 0 for each in batch)


def _outcomes(calls: list[Callable[[], object]]) -> list[tuple[object, BaseException | None]]:
    """What came of each call: its result, or its error."""
    first = calls[0]
    if len(calls) > 1:
        assert isinstance(first, Batchable)
        try:
            return [(result, None) for result in first.batch(calls)]
        except Exception as error:  # each is made alone then: nobody pays for another's error
            log.warning("a batch of %d failed (%s): each is made alone", len(calls), error)
    outcomes: list[tuple[object, BaseException | None]] = []
    for call in calls:
        try:
            outcomes.append((call(), None))
        except BaseException as error:
            outcomes.append((None, error))
    return outcomes
