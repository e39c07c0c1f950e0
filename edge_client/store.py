"""Answers kept for revalidation: a 304 is answered from here.

Bounded in bytes, the longest unused leaves first. Keyed by everything that chooses an
answer: target, body, the headers that select a representation and the token, so that no
identity is ever shown another's rows. Nothing is used without asking the server first.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Final

from edge_client.operation import Reply, Request

_SELECTING: Final = ("accept", "accept-profile", "prefer", "range", "authorization")
_ENTRY_OVERHEAD: Final = 1024
"""Bytes that headers and the entry itself are taken to need."""


class ReplyStore:
    """Replies with an ETag, at most `capacity` bytes of them."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        self._replies: OrderedDict[bytes, Reply] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._replies)

    def find(self, key: bytes) -> Reply | None:
        """The reply kept for `key`."""
        with self._lock:
            reply = self._replies.get(key)
            if reply is not None:
                self._replies.move_to_end(key)
            return reply

    def keep(self, key: bytes, reply: Reply) -> None:
        """Keep `reply`, unless it is too large or asks not to be stored."""
        size = _size(reply)
        with self._lock:
            self._drop(key)
            if not _may_be_kept(reply) or size > self.capacity:
                return
            self._replies[key] = reply
            self.size += size
            while self.size > self.capacity:
                self._drop(next(iter(self._replies)))

    def _drop(self, key: bytes) -> None:
        reply = self._replies.pop(key, None)
        if reply is not None:
            self.size -= _size(reply)


def _size(reply: Reply) -> int:
    return len(reply.body) + _ENTRY_OVERHEAD


def _may_be_kept(reply: Reply) -> bool:
    return (
        reply.status == 200
        and "etag" in reply.headers
        and "no-store" not in reply.headers.get("cache-control", "")
    )


def store_key(request: Request) -> bytes:
    """What tells `request` from all that may be answered differently."""
    digest = hashlib.sha256()
    chosen = (request.headers.get(name, "") for name in _SELECTING)
    for part in (request.method, request.target, *chosen):
        digest.update(part.encode() + b"\0")
    digest.update(request.body or b"")
    return digest.digest()


def refreshed(kept: Reply, headers: Mapping[str, str]) -> Reply:
    """`kept` after a 304 with `headers`, which replace its own (RFC 9111, 4.3.4)."""
    newer = {name: value for name, value in headers.items() if name != "content-length"}
    return Reply(kept.status, {**kept.headers, **newer}, kept.body)
