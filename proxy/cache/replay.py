"""Kept answers to requests that come again byte for byte: sent as they are, unread.

In: a request's ASGI scope. Out: the very status, headers and content that the same bytes got
before, if they would get them again; None, and the request takes the way of all others. That
is so while every one of these holds, each of which is looked at anew:

* the app depends on the same state: keys, roles, schema cache, settings;
* the edge has the same options (CORS, prefix, limits);
* the token that the request carries has not expired; it was verified under that state;
* the entry that answered is still kept, fresh, and no table it was made of has been written
  since (`Versions`), nor has anybody's right to it been taken away (`Rights`).

Keyed by method, target and all headers, the token among them, so that two identities never
meet. Bounded in entries and bytes; an answer is kept here only if it is small.
"""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import ref

from proxy.auth.model import Identity
from proxy.cache.headers import hit_lines
from proxy.cache.key import Key
from proxy.cache.store import Entry
from proxy.lru import LRU
from proxy.observability.record import Record, Resource
from proxy.request.model import Headers
from proxy.request.request_headers import CONSISTENCY_TOKEN
from proxy.state.app_state import AppState

Scope = MutableMapping[str, Any]
Wire = list[tuple[bytes, bytes]]

_ENTRIES: Final = 4096
_BYTES: Final = 8 * 1024 * 1024
_LARGEST: Final = 16 * 1024
_OWN: Final = frozenset((b"age", b"cache-status"))
"""Headers that differ from use to use."""
_NEVER: Final = frozenset(
    (
        b"cache-control",
        b"content-length",
        b"pragma",
        b"transfer-encoding",
        CONSISTENCY_TOKEN,
    )
)
"""Requests with one of these are read each time."""

_ScopeKey = tuple[str, bytes, bytes, tuple[tuple[bytes, bytes], ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What answered a request, and whose it was: all that has to hold for the next time."""

    state: AppState
    key: Key
    entry: Entry
    identity: Identity
    resource: Resource


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """`entry` is held by the store alone, whose bounds are those of the memory."""

    state: AppState
    key: Key
    entry: ref[Entry]
    identity: Identity
    resource: Resource
    options: object
    status: int
    headers: Wire
    body: bytes


class Replays:
    """The answers that one app can give at once.

    `state` gives what its requests depend on now; `holds` tells whether an entry is kept
    under a key and may be used at a time (monotonic, seconds); `count` is told of each use.
    """

    def __init__(
        self,
        state: Callable[[], AppState | None],
        holds: Callable[[Key, Entry, float], bool],
        count: Callable[[int], None],
    ) -> None:
        self._state = state
        self._holds = holds
        self._count = count
        self._known: LRU[_ScopeKey, _Known] = LRU(_ENTRIES, _BYTES)

    def find(
        self, scope: Scope, options: object, record: Record
    ) -> tuple[int, Wire, bytes] | None:
        """Status, headers and content for the request of `scope`, which `record` is told of."""
        known = self._known.get(_key_of(scope))
        if known is None:
            return None
        entry, identity = known.entry(), known.identity
        if entry is None:
            return None
        now = time.monotonic()
        age = now - entry.made_at
        if (
            known.options is not options
            or known.state is not self._state()
            or age >= entry.lifetimes.fresh
            or (identity.expires_at is not None and identity.expires_at <= time.time())
            or not self._holds(known.key, entry, now)
        ):
            return None
        self._count(known.status)
        record.role, record.resource = identity.role, known.resource
        headers = [*known.headers, *hit_lines(age, entry.lifetimes.fresh - age)]
        return known.status, headers, known.body

    def keep(
        self,
        scope: Scope,
        options: object,
        replay: Replay,
        status: int,
        headers: Wire,
        body: bytes,
    ) -> None:
        """`replay` was answered with these; the same request may be answered so again."""
        key = _key_of(scope)
        if len(body) > _LARGEST or any(name in _NEVER for name, _ in key[3]):
            return
        kept = [(name, value) for name, value in headers if name not in _OWN]
        weight = len(body) + 2000 + sum([len(n) + len(v) for n, v in (*key[3], *kept)])
        known = _Known(
            replay.state,
            replay.key,
            ref(replay.entry),
            replay.identity,
            replay.resource,
            options,
            status,
            kept,
            body,
        )
        self._known.put(key, known, weight)

    def clear(self) -> None:
        """Forget all of them."""
        self._known = LRU(_ENTRIES, _BYTES)


def _key_of(scope: Scope) -> _ScopeKey:
    headers: Headers = tuple([(name, value) for name, value in scope["headers"]])
    return scope["method"], scope["raw_path"], scope["query_string"], headers
