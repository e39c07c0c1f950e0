"""The authenticator an app owns: `identify` with a memory of tokens it has verified.

In: request headers and the time. Out: the same `Identity` or `ApiError` that
`proxy.auth.tokens.identify` gives; only the verification of signatures is saved.

The cache is keyed by every byte of the token, its signature included. Equal bytes carry
equal claims, and a token gets in only after one of this authenticator's own keys verified
it; so an entry can't be reached without holding the very token it was made from, and no
entry answers for another identity. The keys never change: new keys or rules mean a new
authenticator with an empty cache. `exp`, `nbf` and `iat` are checked on every use, and an
entry is gone once its token has expired.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cachetools import TLRUCache

from proxy.auth.claims import (
    CLOCK_SKEW,
    NO_CLAIMS,
    Claims,
    check_times,
    identity_of,
    numeric_date,
)
from proxy.auth.keys import KeySet
from proxy.auth.model import AuthRules, Identity
from proxy.auth.tokens import bearer_token, names_unknown_key, verify

MAX_CACHED_TOKEN_LENGTH: Final = 8 * 1024
"""In bytes. Longer tokens are verified each time, which bounds the cache's memory."""


@dataclass(frozen=True, slots=True)
class TokenCacheCounts:
    """What the cache did so far: tokens looked up, found, and put out for lack of room."""

    requests: int = 0
    hits: int = 0
    evictions: int = 0


@dataclass(slots=True)
class _Entry:
    claims: Claims
    lives_until: float
    identity: Identity | None = None


class _Clock:
    """The time of the last call: cachetools reads clocks, we are told the time."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class _Entries(TLRUCache[bytes, _Entry]):
    evictions = 0

    def popitem(self) -> tuple[bytes, _Entry]:
        self.evictions += 1
        return super().popitem()


class Authenticator:
    """Tells who is asking, for one app: its keys, its rules, its cache of `max_entries`
    tokens (jwt-cache-max-entries; 0: no cache)."""

    def __init__(self, rules: AuthRules, keys: KeySet | None, max_entries: int = 1000) -> None:
        self._rules = rules
        self._keys = keys
        self._anonymous: Identity | None = None
        self._clock = _Clock()
        self._entries = _Entries(
            max(max_entries, 0), ttu=lambda _, entry, __: entry.lives_until, timer=self._clock
        )
        self._requests = 0
        self._hits = 0

    @property
    def rules(self) -> AuthRules:
        return self._rules

    @property
    def counts(self) -> TokenCacheCounts:
        return TokenCacheCounts(self._requests, self._hits, self._entries.evictions)

    def identify(self, headers: Iterable[tuple[bytes, bytes]], now: float) -> Identity:
        """Who is asking at `now` (seconds since the epoch). Raises ApiError PGRST30x."""
        token = bearer_token(headers)
        if token is None:
            if self._anonymous is None:
                self._anonymous = identity_of(NO_CLAIMS, self._rules)
            return self._anonymous
        self._clock.now = now
        entry = self._verified(token)
        check_times(entry.claims, now)
        if entry.identity is None:
            entry.identity = identity_of(entry.claims, self._rules)
        return entry.identity

    def lacks_key_of(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether the caller's token asks for a key that is not among those known."""
        return names_unknown_key(headers, self._keys)

    def _verified(self, token: bytes) -> _Entry:
        if not self._entries.maxsize or len(token) > MAX_CACHED_TOKEN_LENGTH:
            return _entry_of(verify(token, self._keys))
        self._requests += 1
        entry = self._entries.get(token)
        if entry is not None:
            self._hits += 1
            return entry
        entry = _entry_of(verify(token, self._keys))
        self._entries[token] = entry
        return entry


def _entry_of(claims: Claims) -> _Entry:
    expires = numeric_date(claims, "exp")
    # The second in which a token expires, skew included, is still its own.
    return _Entry(claims, math.inf if expires is None else expires + CLOCK_SKEW + 1)
