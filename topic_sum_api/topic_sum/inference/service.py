"""Answers of the model that serves now, computed by the scheduler or taken from the cache."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .admission import Job
from .cache import Cache
from .current import CurrentModel
from .kinds import Task
from .kinds.base import Context
from .model import Model
from .revision import Source
from .scheduler import Scheduler
from .watch import Watch

# A request takes about as long as this many trials, which write a third of a summary of a short text.
_REQUEST_IN_TRIALS = 4


@dataclass(frozen=True)
class Limits:
    """What one process of the API allows itself."""

    translators: int
    queue_size: int
    max_batch_size: int
    request_seconds: float
    max_windows: int
    cache_size: int
    check_seconds: float


class Service:
    """The current model, the scheduler in front of it and the caches of its answers.

    `on_event`, `on_batch` and `on_active` are for metrics (see CurrentModel and Scheduler), `on_change` is
    called with each model that begins to serve.
    """

    def __init__(
        self,
        source: Source,
        limits: Limits,
        on_event: Callable[[str], None] = lambda event: None,
        on_batch: Callable[[int], None] = lambda size: None,
        on_active: Callable[[int], None] = lambda active: None,
        on_change: Callable[[Model], None] = lambda model: None,
    ):
        self.limits = limits
        self.scheduler = Scheduler(
            limits.translators,
            limits.queue_size,
            limits.request_seconds,
            limits.max_batch_size,
            on_batch,
            on_active,
        )
        self.current = CurrentModel(source, limits.translators, on_event, self._changed)
        self.watch = Watch(self.current, self.scheduler, limits.check_seconds)
        self._on_change = on_change
        # One per task: answers that take milliseconds must not push out those that take seconds.
        self._caches: dict[str, Cache] = defaultdict(lambda: Cache(limits.cache_size))
        self._first = True

    def start(self) -> None:
        """Begin to load the model and to watch the Hub. Once per process, after the fork."""
        self.watch.start()

    def stop(self) -> None:
        self.watch.stop()
        self.scheduler.close()

    def job(self, gone: Callable[[], bool] = lambda: False) -> Job:
        """The job of a request that begins now; `gone` says whether its client closed the connection."""
        return Job(time.monotonic() + self.limits.request_seconds, gone)

    def needs_slot(
        self, model: Model, task: Task, values: Mapping[str, str], options: Mapping[str, Any]
    ) -> bool:
        """Whether the answer must be computed and takes long enough for a slot of the scheduler."""
        if not task.takes_slot(options):
            return False
        result = self._caches[task.name].get(_key(model, task, values, options))
        return result is None or task.lacks(result, values)

    def answer(
        self, model: Model, task: Task, values: Mapping[str, str], options: Mapping[str, Any], job: Job
    ) -> tuple[Any, bool]:
        """What `task` answers to normalised `values`, and whether that was in the cache.

        Hold a slot of the scheduler if `needs_slot`. Raises TimeLimit, ClientGone.
        """
        cache, key = self._caches[task.name], _key(model, task, values, options)
        result = cache.get(key)
        cached = result is not None
        context = Context(lambda calls: self.scheduler.run(calls, job), job.check, self.limits.max_windows)
        if cached and task.lacks(result, values):
            task.add(result, values, context)
        if not cached:
            result = task.compute(values, options, context)
            cache.put(key, result)
        return task.answer(result, values, options), cached

    def _changed(self, model: Model) -> None:
        self._caches.clear()
        if self._first:
            self._first = False
            self.scheduler.admission.expect(_REQUEST_IN_TRIALS * model.trial_seconds)
        self._on_change(model)


def _key(model: Model, task: Task, values: Mapping[str, str], options: Mapping[str, Any]) -> str:
    parts = (model.revision, *task.cache_key(values, options))
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()
