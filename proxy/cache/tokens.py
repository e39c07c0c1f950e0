"""Reading one's own writes through another server's cache: what a token stands for there.

In: the `X-Consistency-Token` of a request. Out: since when this process has known that what
it stands for is committed. Answers whose query began after that have it; of older ones
nobody can tell, as the notification of the write may still be on its way. What the token
says makes no difference, so whoever invents one only spares himself older answers.
"""

from __future__ import annotations

import secrets
import time
from typing import Final

from cachetools import LRUCache

_MOST: Final = 10_000
_LONGEST: Final = 64
"""Bytes of a token; no server of ours gives a longer one."""


class Tokens:
    """The tokens that this process has met; those it has forgotten are new to it."""

    def __init__(self) -> None:
        self._known: LRUCache[bytes, float] = LRUCache(_MOST)

    def known_since(self, token: bytes) -> float:
        """When it was first met (monotonic clock, seconds): now, if it is new."""
        now = time.monotonic()
        if len(token) > _LONGEST:
            return now
        since = self._known.setdefault(token, now)
        return float(since)

    def new(self) -> bytes:
        """A token for what was committed up to now."""
        token = secrets.token_hex(8).encode()
        self.known_since(token)
        return token
