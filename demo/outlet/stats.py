"""Counts who requested what from the stand-in site, for /_stand-in/stats.json."""

from __future__ import annotations

import threading
import time
from collections import Counter


class Stats:
    """Counts requests from any thread. Requests to /_stand-in/ are not counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self._paths: Counter[str] = Counter()
            self._statuses: Counter[int] = Counter()
            self._agents: Counter[str] = Counter()
            self._total = self._now = self._most = 0
            self._last: float | None = None
            self._shortest: float | None = None

    def begin(self, path: str, agent: str) -> tuple[int, int]:
        """Count a request; returns the number of earlier ones for this path and for all paths."""
        moment = time.monotonic()
        with self._lock:
            visits, before = self._paths[path], self._total
            self._paths[path] += 1
            self._agents[agent] += 1
            self._total += 1
            self._now += 1
            self._most = max(self._most, self._now)
            if self._last is not None:
                gap = moment - self._last
                self._shortest = gap if self._shortest is None else min(gap, self._shortest)
            self._last = moment
            return visits, before

    def end(self, status: int) -> None:
        with self._lock:
            self._now = max(0, self._now - 1)  # a reset may have happened in between
            self._statuses[status] += 1

    def report(self) -> dict[str, object]:
        with self._lock:
            return {
                "requests": self._total,
                "most_at_once": self._most,
                "shortest_gap_ms": None if self._shortest is None else round(self._shortest * 1000, 3),
                "statuses": {str(status): count for status, count in sorted(self._statuses.items())},
                "user_agents": dict(self._agents),
                "paths": dict(sorted(self._paths.items())),
            }
