"""Answers given before, bounded, the least recently used one dropped first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable


class Cache:
    """`size` answers at most; 0 turns it off."""

    def __init__(self, size: int):
        self._size = size
        self._kept: OrderedDict[Hashable, object] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> object | None:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def put(self, key: Hashable, answer: object) -> None:
        if not self._size:
            return
        with self._lock:
            self._kept[key] = answer
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
