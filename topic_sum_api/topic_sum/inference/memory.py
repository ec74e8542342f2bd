"""Returns memory that translations took and freed to the system before it piles up."""

from __future__ import annotations

import time
from collections.abc import Callable

from topic_sum.processor import give_memory_back, resident

# How often to look, in seconds: while there are requests, and while there are none.
LOOK_SECONDS = 0.1
IDLE_SECONDS = 1.0
# If this process holds so much more than it needs (a share of that), memory is returned.
_TOO_MUCH = 0.06
# Returning memory costs a hundredth of a second, and the pages that are taken again.
_LEAST_SECONDS = 0.5
# After batches memory is returned in any case.
_AFTER_WORK_SECONDS = 4.0
# Each time the estimate of what is needed falls by this share of its distance to what is held.
_FORGET = 0.1


class Memory:
    """Keeps the memory of this process near what it needs.

    The keys and values of a translation grow with every token, and two translators that grow leave holes
    between each other that fit neither: half as much memory again was measured. The memory needed is what is
    still held right after the holes were returned. If 6% more is held, they are returned again.
    """

    def __init__(
        self,
        held: Callable[[], int] = resident,
        give_back: Callable[[], None] = give_memory_back,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._held, self._give_back, self._clock = held, give_back, clock
        self._needed = 0.0  # bytes
        self._batches = 0
        self._returned_at = -_AFTER_WORK_SECONDS

    def look(self, batches: int) -> None:
        """Return memory if too much is held; `batches` is how many batches were computed so far."""
        since = self._clock() - self._returned_at
        too_much = self._held() > (1 + _TOO_MUCH) * self._needed and since >= _LEAST_SECONDS
        worked = batches != self._batches and since >= _AFTER_WORK_SECONDS
        if too_much or worked:
            self._give_back()
            self._batches, self._returned_at = batches, self._clock()
            left = self._held()
            self._needed = max(left, self._needed - _FORGET * (self._needed - left))
