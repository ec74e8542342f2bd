"""How far a long step is: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

EVERY_SECONDS = 0.2  # on a terminal
EVERY_SECONDS_IN_A_LOG = 20.0


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def watched(
    items: Iterable[Item], label: str, total: int = 0, share: Callable[[], float] | None = None
) -> Iterator[Item]:
    """Pass the items on and report on stderr how far they are.

    total: how many there are, 0 if unknown; share: the share that is done, if it is known otherwise.
    """
    terminal = sys.stderr.isatty()
    every = EVERY_SECONDS if terminal else EVERY_SECONDS_IN_A_LOG
    started = shown = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        if count % 64 == 0 and (now := time.monotonic()) - shown >= every:
            shown = now
            line = f"{label}: {count:,}" + (f" of {total:,}" if total > count else "")
            done = share() if share else count / total if total else 0
            if 0 < done < 1:
                line += f" ({done:.0%}), {_clock((now - started) / done * (1 - done))} left"
            if terminal:
                print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
            else:
                say(line)
    if terminal and shown != started:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
