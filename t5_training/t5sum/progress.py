"""Progress of long work: a bar with the time left on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time

from t5sum.run.ranks import rank

QUIET_SECONDS = 30  # between two lines without a terminal


def say(text: str) -> None:
    """Print a line; of several processes only the first does."""
    if rank() == 0:
        print(text, flush=True)


def duration(seconds: float) -> str:
    """A length of time as people say it: 40 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Counts work of a known size. `note` is shown after the numbers: the loss, for example."""

    def __init__(self, name: str, total: int, done: int = 0) -> None:
        self.name, self.total, self.first, self.done = name, total, done, done
        self.start = self.spoken = time.monotonic()
        self.bar = sys.stderr.isatty() and rank() == 0
        self.width = 0

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        """`done` of the work is finished now; `total` if it has changed."""
        self.done, self.total = done, total or self.total
        now = time.monotonic()
        if (
            self.bar
            or now - self.spoken >= QUIET_SECONDS
            or (self.total == done and self.spoken != self.start)
        ):
            self.spoken = now
            self._show(note)

    def left(self, done: int) -> float:
        """Seconds to go at the speed so far."""
        elapsed = time.monotonic() - self.start
        return elapsed / max(1, done - self.first) * (self.total - done)

    def _show(self, note: str) -> None:
        elapsed = time.monotonic() - self.start
        left = self.left(self.done) if self.done > self.first else None
        parts = [f"{self.done} of {self.total}", note]
        parts.append(f"about {duration(left)} left" if left and self.done < self.total else duration(elapsed))
        words = f"{self.name}: {', '.join(part for part in parts if part)}"
        if not self.bar:
            say(words)
            return
        filled = round(20 * self.done / max(1, self.total))
        words = f"[{'#' * filled}{'.' * (20 - filled)}] {words}"
        sys.stderr.write("\r" + words.ljust(self.width))
        sys.stderr.flush()
        self.width = len(words)

    def end(self) -> None:
        """Leave the bar's line, so that the next word starts on its own."""
        if self.bar and self.width:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self.width = 0
