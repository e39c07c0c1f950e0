"""cachetools' LRU cache, bounded in entries and in weight."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRU(LRUCache[K, V]):
    """At most `entries` that weigh at most `weight` together; the least recently used go first.

    The unit of weights is the owner's. An entry that weighs more than an eighth of `weight`
    is not kept, so that a few can't drive out all others.
    """

    def __init__(self, entries: int, weight: int) -> None:
        super().__init__(weight if entries else 0, getsizeof=lambda _: self._weighs)
        self._weighs = 0
        self._least = -(-weight // entries) if entries else 0
        self.evictions = 0

    def put(self, key: K, value: V, weight: int) -> None:
        """Keep `value` for `key`, in place of what was kept for it."""
        self.pop(key, None)
        if weight <= self.maxsize // 8:
            self._weighs = max(weight, self._least)
            if self._weighs <= self.maxsize:
                self[key] = value

    def popitem(self) -> tuple[K, V]:
        self.evictions += 1
        return super().popitem()
