"""Which of the calls in the queue are computed together. Pure functions over the queue."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .admission import Job

log = logging.getLogger("topic_sum")

# A batch is padded to its longest call, so no call in it may be more than this many times as long as another.
_MOST_TIMES_AS_LONG = 2


@runtime_checkable
class Batchable(Protocol):
    """A call that takes less time in one batch with others of its kind than after them."""

    @property
    def kind(self) -> object: ...

    @property
    def tokens(self) -> int:
        """The tokens that it holds in memory while it runs."""

    @property
    def batch_tokens(self) -> int:
        """The most tokens of one batch, with the padding of its shorter texts."""

    @property
    def running_tokens(self) -> int:
        """The most tokens of all running batches together. A single call may always run."""

    def batch(self, calls: Sequence[Batchable]) -> list:
        """The results of `calls`, in order. All are of its kind, and it is one of them."""


@dataclass(eq=False)
class Queued:
    """A call in the queue."""

    call: Callable[[], object]
    job: Job
    future: Future

    @property
    def batchable(self) -> bool:
        return isinstance(self.call, Batchable)

    @property
    def live(self) -> bool:
        """Whether it can go into a batch and somebody still waits for it."""
        return self.batchable and not self.future.cancelled()


def fits_two(call: Batchable, held: int) -> bool:
    """Whether two such calls fit into a batch while `held` tokens are in use."""
    return 2 * call.tokens <= min(call.batch_tokens, call.running_tokens - held)


def choose(queue: list[Queued], most: int, held: int) -> list[Queued]:
    """The first of `queue` and up to `most` - 1 others, nearest in length, that fit in a batch with it.

    `held` is the number of tokens of the batches that run already.
    """
    first = queue[0]
    batch = [first]
    head = first.call
    if most == 1 or not isinstance(head, Batchable):
        return batch
    fits = min(head.batch_tokens, head.running_tokens - held)
    shortest = longest = head.tokens
    others = [
        (abs(call.tokens - head.tokens), position, queued)
        for position, queued in enumerate(queue[1:])
        if isinstance(call := queued.call, Batchable) and call.kind is head.kind
    ]
    for _, _, queued in sorted(others, key=lambda other: other[:2]):
        if len(batch) == most:
            break
        tokens = queued.call.tokens
        low, high = min(shortest, tokens), max(longest, tokens)
        if high <= _MOST_TIMES_AS_LONG * low and high * (len(batch) + 1) <= fits:
            batch.append(queued)
            shortest, longest = low, high
    return batch


def padded_tokens(batch: list[Queued]) -> int:
    """The tokens that a batch holds. A call that cannot be batched counts as none."""
    return len(batch) * max(queued.call.tokens if queued.batchable else 0 for queued in batch)


def compute(calls: list[Callable[[], object]]) -> list[tuple[object, BaseException | None]]:
    """The result or the error of each call."""
    first = calls[0]
    if len(calls) > 1:
        assert isinstance(first, Batchable)
        try:
            return [(result, None) for result in first.batch(calls)]
        except Exception as error:  # one call's error must not fail the others, so each is computed alone
            log.warning("a batch of %d failed (%s): each is computed alone", len(calls), error)
    outcomes: list[tuple[object, BaseException | None]] = []
    for call in calls:
        try:
            outcomes.append((call(), None))
        except BaseException as error:
            outcomes.append((None, error))
    return outcomes
