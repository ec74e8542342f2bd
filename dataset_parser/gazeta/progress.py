"""How far a long step is: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

EVERY_SECONDS = 0.2  # on a terminal
EVERY_SECONDS_IN_A_LOG = 20.0


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def watched(items: Iterable[Item], label: str, total: int = 0) -> Iterator[Item]:
    """Pass the items on and say on stderr how far they are. total: 0 when nobody knows."""
    terminal = sys.stderr.isatty()
    every = EVERY_SECONDS if terminal else EVERY_SECONDS_IN_A_LOG
    started = said = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        if count % 64 == 0 and (now := time.monotonic()) - said >= every:
            said = now
            line = f"{label}: {count:,}"
            if total > count:
                left = (now - started) / count * (total - count)
                line += f" of {total:,} ({count / total:.0%}), {_clock(left)} left"
            if terminal:
                print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
            else:
                say(line)
    if terminal and said != started:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
