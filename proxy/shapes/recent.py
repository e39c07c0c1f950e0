"""A bounded memory of what was used last; what it is keyed by is its owner's affair."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The entries used last: at most `entries`, of a weight of at most `weight` together.

    The unit of weights is the owner's. An entry that weighs more than an eighth of `weight`
    is not kept, so that a few can't drive out all others.
    """

    __slots__ = ("_entries", "_known", "_left", "_weight")

    def __init__(self, entries: int, weight: int) -> None:
        self._entries = entries
        self._weight = weight
        self._left = weight
        self._known: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: K) -> V | None:
        """What was kept for `key`, which counts as used now."""
        found = self._known.get(key)
        if found is None:
            return None
        self._known.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, weight: int) -> None:
        """Keep `value` for `key`, in place of what was kept for it."""
        former = self._known.pop(key, None)
        if former is not None:
            self._left += former[1]
        if weight > self._weight // 8 or not self._entries:
            return
        self._known[key] = value, weight
        self._left -= weight
        while self._left < 0 or len(self._known) > self._entries:
            _, (_, freed) = self._known.popitem(last=False)
            self._left += freed
