"""The answer to a request, ready for the ASGI edge: a value, no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from proxy.request.model import Headers

ContentRange = Literal["plain", "items", "none"]
"""How Content-Range is written: as in PostgREST, with the unit, or not at all."""


@dataclass(frozen=True, slots=True)
class Response:
    """`reason` replaces the standard reason phrase (HTTP/1.1 only). The body of a HEAD
    answer is empty and its Content-Length, if it has one, says nothing of it. `replay`: what
    it was made of, if the same request may be given the same again (`proxy.cache.replay`)."""

    status: int
    headers: Headers
    body: bytes = b""
    reason: str | None = None
    replay: object | None = None


NO_STORE: Final = (b"cache-control", b"no-store")
"""What an answer says that is of use to nobody but the caller, and to him only now."""

BODILESS: Final = frozenset((204, 304))
"""Statuses whose responses have no body (RFC 9110)."""


def body_size(method: str, response: Response) -> int | None:
    """The bytes of the body that is sent, None when there can't be one."""
    if method == "HEAD" or response.status in BODILESS:
        return None
    return len(response.body)
