"""Where tokens come from, and when a new one is needed.

A source is a token, a function that returns one, or (for `AsyncEdgeClient`) a coroutine
function. What a function returns is kept until shortly before the token expires (a JWT's
`exp`, which is read but of course not verified) or the server answers 401.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from typing import Final

TokenSource = str | Callable[[], str] | Callable[[], Awaitable[str]]

EARLY: Final = 30.0
"""Seconds before its end at which a token is replaced: clocks differ."""


class Credentials:
    """A source and the token that it gave last."""

    __slots__ = ("_until", "source", "token")

    def __init__(self, source: TokenSource | None) -> None:
        self.source = source
        self.token: str | None = source if isinstance(source, str) else None
        self._until = float("inf")

    def needs_asking(self, now: float) -> bool:
        """Whether the source is to be asked; `now` in seconds since 1970."""
        return callable(self.source) and (self.token is None or now >= self._until)

    def can_renew(self) -> bool:
        return callable(self.source)

    def take(self, token: str, now: float) -> None:
        """`token` is the one to use from now on."""
        self.token = token
        expires = expiry(token)
        # A token that comes expired is the server's to refuse; asking for each request
        # would not make it better.
        self._until = float("inf") if expires is None else max(expires - EARLY, now + 1)


def expiry(token: str) -> float | None:
    """The `exp` of a JWT, seconds since 1970; None if it has none or is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    padded = parts[1] + "=" * (-len(parts[1]) % 4)
    try:
        claims = json.loads(urlsafe_b64decode(padded))
    except ValueError:
        return None
    expires = claims.get("exp") if isinstance(claims, dict) else None
    return float(expires) if isinstance(expires, int | float) else None
