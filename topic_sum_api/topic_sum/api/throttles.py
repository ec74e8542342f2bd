"""Rate limits per key or address, counted in Redis for all processes, or in memory for this one."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import threading
import time
from collections import OrderedDict
from typing import ClassVar, Protocol

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from topic_sum import metrics
from topic_sum.api.access import Key, client_address

log = logging.getLogger("topic_sum")

MOST_COUNTED = 100_000  # callers counted in this process; beyond it the one unseen for longest is forgotten
MOST_REFUSED = 10_000  # callers over the limit that are remembered
REDIS_PAUSE_SECONDS = 10  # how long Redis is not asked after it failed


class Counter(Protocol):
    failures: tuple[type[Exception], ...]  # what its methods may raise

    def add(self, name: str, window: int, seconds: int) -> tuple[int, int]:
        """Count one request in `window`. Returns the counts of that window and of the one before it."""

    def take_back(self, name: str, window: int, seconds: int) -> None:
        """Count one request less in `window`."""


class LocalCounter:
    """Counts of this process."""

    failures = ()

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[str, int], int] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, name: str, window: int, seconds: int) -> tuple[int, int]:
        with self._lock:
            count = self._counts[name, window] = self._counts.get((name, window), 0) + 1
            self._counts.move_to_end((name, window))
            while len(self._counts) > MOST_COUNTED:
                self._counts.popitem(last=False)
            return count, self._counts.get((name, window - 1), 0)

    def take_back(self, name: str, window: int, seconds: int) -> None:
        with self._lock:
            if (name, window) in self._counts:
                self._counts[name, window] -= 1


class RedisCounter:
    """Counts of all processes and replicas."""

    def __init__(self, url: str):
        import redis  # here: it costs 6 MB that a server without Redis does not need

        self.failures = (redis.RedisError,)
        # protocol=2: version 3 is not needed here, and old servers do not know it.
        self._redis = redis.Redis.from_url(url, protocol=2, socket_timeout=0.5, socket_connect_timeout=0.5)

    def add(self, name: str, window: int, seconds: int) -> tuple[int, int]:
        key = f"topic_sum:rate:{name}:{seconds}"
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.incr(f"{key}:{window}")
            pipe.expire(f"{key}:{window}", 2 * seconds + 1)
            pipe.get(f"{key}:{window - 1}")
            count, _, before = pipe.execute()
        return int(count), int(before or 0)

    def take_back(self, name: str, window: int, seconds: int) -> None:
        self._redis.decr(f"topic_sum:rate:{name}:{seconds}:{window}")


class Counters:
    """Redis if REDIS_URL is set and it answers, else this process."""

    def __init__(self, url: str | None):
        self._local = LocalCounter()
        self._shared = RedisCounter(url) if url else None
        self._again_at = 0.0

    @property
    def shared(self) -> bool:
        """Whether all processes share the counts now."""
        return self._shared is not None and not self._again_at

    def admit(self, name: str, most: int, seconds: int, now: float) -> float:
        """Count a request of `name`: 0.0 if it is within `most` per `seconds`, else the seconds to wait.

        A refused request does not count, so a caller who asks too often still gets `most` answers.
        """
        window, into = divmod(now, seconds)
        counter, (count, before) = self._add(name, int(window), seconds)
        if count + before * (1 - into / seconds) <= most:
            return 0.0
        with contextlib.suppress(*counter.failures):
            counter.take_back(name, int(window), seconds)
        return until_admitted(count - 1, before, most, seconds, into)

    def _add(self, name: str, window: int, seconds: int) -> tuple[Counter, tuple[int, int]]:
        if self._shared and time.monotonic() >= self._again_at:
            try:
                counted = self._shared.add(name, window, seconds)
            except self._shared.failures as error:
                # A limit per process is better than no answer at all.
                if not self._again_at:
                    log.error(
                        "error: Redis at REDIS_URL failed (%s): rate limits are counted in this process "
                        "until it is back",
                        type(error).__name__,
                    )
                metrics.REDIS_FAILURES.inc()
                self._again_at = time.monotonic() + REDIS_PAUSE_SECONDS
            else:
                if self._again_at:
                    log.info("Redis is back: rate limits are shared again")
                    self._again_at = 0.0
                return self._shared, counted
        return self._local, self._local.add(name, window, seconds)


def until_admitted(count: int, before: int, most: int, seconds: int, into: float) -> float:
    """Seconds until a request would be admitted, `into` seconds after this window began.

    `count` requests were admitted in it and `before` in the last one, whose weight falls to 0 meanwhile.
    """
    if count + 1 <= most and before:
        return max(0.0, seconds * (1 - (most - count - 1) / before) - into)
    # In the next window this one is the one before it.
    wait = seconds - into
    return wait + (max(0.0, seconds * (1 - (most - 1) / count)) if count else 0.0)


@functools.cache
def counters(url: str | None) -> Counters:
    return Counters(url)


def caller(request: HttpRequest, user: object) -> str:
    return f"key-{user.id}" if isinstance(user, Key) else f"at-{client_address(request)}"


class RateLimit(BaseThrottle):
    """RATE_LIMIT requests per key, or per address if there is no key, in a sliding window.

    The count is weighted between two fixed windows, so it takes two numbers per caller.
    """

    _refused_until: ClassVar[dict[str, float]] = {}

    def __init__(self) -> None:
        self._wait = 1.0

    def allow_request(self, request: Request, view: object) -> bool:
        if settings.RATE_LIMIT is None:
            return True
        most, seconds = settings.RATE_LIMIT
        name = caller(request, request.user)
        wait = counters(settings.REDIS_URL).admit(name, most, seconds, time.time())
        # Retry-After has whole seconds, and they must not be too few.
        self._wait = max(1, math.ceil(wait))
        self._refused_until.pop(name, None)
        if wait:
            self._refused_until[name] = time.monotonic() + wait
            while len(self._refused_until) > MOST_REFUSED:
                self._refused_until.pop(next(iter(self._refused_until)), None)
        return not wait

    @classmethod
    def over(cls, name: str) -> bool:
        """Whether this process refused this caller, and the time to wait is not over: for a guess without a
        count."""
        return cls._refused_until.get(name, 0.0) > time.monotonic()

    def wait(self) -> float:
        return self._wait
