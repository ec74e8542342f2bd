"""Threads that keep the model current and the memory small."""

from __future__ import annotations

import logging
import random
import threading

from .current import CurrentModel
from .memory import IDLE_SECONDS, LOOK_SECONDS, Memory
from .scheduler import Scheduler

log = logging.getLogger("topic_sum")

# Until the first model is loaded the Hub is checked this often, whatever MODEL_CHECK_SECONDS says.
FIRST_RETRY_SECONDS = 10


class Watch:
    """Checks the Hub every `check_seconds`, and the memory of this process while there are requests."""

    def __init__(self, current: CurrentModel, scheduler: Scheduler, check_seconds: float):
        self._current = current
        self._scheduler = scheduler
        self._check_seconds = check_seconds
        self._stop = threading.Event()
        self.threads = [
            threading.Thread(target=self._watch_hub, name="model-watcher", daemon=True),
            threading.Thread(target=self._watch_memory, name="memory-watcher", daemon=True),
        ]

    def start(self) -> None:
        """Once per process, after the fork."""
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _watch_hub(self) -> None:
        while not self._stop.is_set():
            try:
                self._current.refresh()
            except BaseException:  # neither a bug nor a panic of Rust may end this thread
                log.exception("error: the model watcher failed; it goes on")
                self._current.report("the model watcher failed, see the log", logged=True)
            pause = self._check_seconds
            if not self._current.ready:
                pause = min(pause, FIRST_RETRY_SECONDS)
            # Replicas that start together must not ask the Hub together.
            self._stop.wait(pause * random.uniform(0.9, 1.1))

    def _watch_memory(self) -> None:
        memory = Memory()
        while not self._stop.wait(LOOK_SECONDS if self._scheduler.admission.active else IDLE_SECONDS):
            memory.look(self._scheduler.batches)
