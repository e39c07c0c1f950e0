"""The answers an app keeps: as many as fit into so many bytes, the least used go first.

In and out: an `Entry` under its `Key`. Which entry may answer is not decided here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from cachetools import LRUCache

from proxy.auth.model import Identity
from proxy.cache.freshness import Lifetimes
from proxy.cache.key import Key, key_size, whole_claims
from proxy.cache.versions import Vector
from proxy.response.model import Response

_OVERHEAD: Final = 1024
"""Bytes that an entry takes besides what it holds: measured at 900 for an answer with ten
headers."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Entry:
    """An answer that is kept.

    `response` has no header that a later use would belie (Age, Cache-Status); `tag` is the
    one of its content as it is. `made_at`: when its query began (monotonic, seconds).
    `asked_at`: the same if it was begun by this process; by others, it is not known what they
    knew then. `vector`: the versions of the tables `tags` before that. `coded` are its
    contents in content codings, as they were first asked for. `claims`: the `whole_claims`
    that it is for, None for all with its key.
    """

    response: Response
    tag: bytes
    made_at: float
    lifetimes: Lifetimes
    tags: frozenset[str]
    vector: Vector
    compressible: bool
    coded: dict[str, bytes] = field(default_factory=dict)
    asked_at: float = -math.inf
    claims: bytes | None = None

    def is_for(self, identity: Identity) -> bool:
        """Whether it may answer `identity`, which has its key."""
        return self.claims is None or self.claims == whole_claims(identity)

    @property
    def size(self) -> int:
        """Bytes of memory, roughly."""
        headers = sum([len(name) + len(value) for name, value in self.response.headers])
        bodies = len(self.response.body) + sum(map(len, self.coded.values()))
        return _OVERHEAD + headers + bodies


class _Entries(LRUCache[Key, tuple[Entry, int]]):
    evictions = 0

    def popitem(self) -> tuple[Key, tuple[Entry, int]]:
        self.evictions += 1
        return super().popitem()


class Store:
    """At most `max_bytes` of entries, each of at most `max_entry_bytes`."""

    def __init__(self, max_bytes: int, max_entry_bytes: int) -> None:
        self.max_entry_bytes: Final = min(max_entry_bytes, max_bytes)
        self._entries = _Entries(max_bytes, getsizeof=lambda item: item[1])

    @property
    def size(self) -> int:
        """The bytes that it holds now."""
        return int(self._entries.currsize)

    @property
    def evictions(self) -> int:
        """Entries that had to make room."""
        return self._entries.evictions

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Entry | None:
        found = self._entries.get(key)
        return None if found is None else found[0]

    def put(self, key: Key, entry: Entry) -> bool:
        """Keep `entry`; False when it is too large for that."""
        size = entry.size + key_size(key)
        if size > self.max_entry_bytes:
            self._entries.pop(key, None)
            return False
        self._entries[key] = (entry, size)
        return True

    def add_coded(self, key: Key, entry: Entry, coding: str, body: bytes) -> None:
        """Keep the content of `entry` in one more coding, if there is room for it."""
        kept = self.get(key)
        if kept is entry and entry.size + len(body) + key_size(key) <= self.max_entry_bytes:
            entry.coded[coding] = body
            self.put(key, entry)

    def drop(self, key: Key, entry: Entry) -> None:
        """Forget `entry`, unless another has taken its place."""
        if self.get(key) is entry:
            del self._entries[key]

    def clear(self) -> None:
        self._entries.clear()
