"""Memory that translations took and freed goes back to the system before it piles up."""

from __future__ import annotations

import time
from collections.abc import Callable

from topic_sum.processor import give_memory_back, resident

# How often to look, in seconds: while there are requests, and while there are none.
LOOK_SECONDS = 0.1
IDLE_SECONDS = 1.0
# So much over what was needed is too much, as a share of it.
_TOO_MUCH = 0.06
# To give back costs a hundredth of a second, and the pages that are taken anew.
_LEAST_SECONDS = 0.5
# After work memory goes back also where it is not too much.
_AFTER_WORK_SECONDS = 4.0
# Of what was needed once and is no longer, so much is forgotten each time.
_FORGET = 0.1


class Memory:
    """Keeps what this process holds near what it needs.

    Keys and values of a translation grow with every word, and two translators that grow leave holes between
    each other that neither fits into: half as much again as they need was seen. What is needed is what is
    still there right after the holes were given back; once a sixteenth more is held, they go back again.
    """

    def __init__(
        self,
        held: Callable[[], int] = resident,
        give_back: Callable[[], None] = give_memory_back,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._held, self._give_back, self._clock = held, give_back, clock
        self._needed = 0.0  # bytes
        self._turns = 0
        self._given = -_AFTER_WORK_SECONDS

    def look(self, turns: int) -> None:
        """Give back what is too much; `turns` is how many batches there have been."""
        since = self._clock() - self._given
        too_much = self._held() > (1 + _TOO_MUCH) * self._needed and since >= _LEAST_SECONDS
        worked = turns != self._turns and since >= _AFTER_WORK_SECONDS
        if too_much or worked:
            self._give_back()
            self._turns, self._given = turns, self._clock()
            left = self._held()
            self._needed = max(left, self._needed - _FORGET * (self._needed - left))
