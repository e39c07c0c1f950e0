"""The answer to a request, ready for the ASGI edge: a value, no I/O."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final, Literal

from proxy.request.model import Headers

ContentRange = Literal["plain", "items", "none"]
"""How Content-Range is written: as in PostgREST, with the unit, or not at all."""


@dataclass(slots=True, eq=False)
class Stream:
    """A body that is made while it is sent: `pieces`, asked for one after the other.

    By `deadline` (the event loop's time) it is whole or broken off. `sent`: bytes so far.
    `code`: of the error that broke it off. The generator is closed in any case, and may never
    have been begun: what has to be given back is to be taken inside it.
    """

    pieces: AsyncGenerator[bytes, None]
    deadline: float | None = None
    sent: int = 0
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """The body is `body` or, where it is not whole yet, `stream`. `reason` replaces the
    standard reason phrase (HTTP/1.1 only). The body of a HEAD answer is empty and its
    Content-Length, if it has one, says nothing of it. `replay`: what it was made of, if the
    same request may be given the same again (`proxy.cache.replay`)."""

    status: int
    headers: Headers
    body: bytes = b""
    reason: str | None = None
    replay: object | None = None
    stream: Stream | None = None


NO_STORE: Final = (b"cache-control", b"no-store")
"""What an answer says that is of use to nobody but the caller, and to him only now."""

BODILESS: Final = frozenset((204, 304))
"""Statuses whose responses have no body (RFC 9110)."""


def is_bodiless(method: str, response: Response) -> bool:
    """Whether no body is sent, whatever the response has."""
    return method == "HEAD" or response.status in BODILESS


def body_size(method: str, response: Response) -> int | None:
    """The bytes of the body that was sent, None when there can't be one."""
    if is_bodiless(method, response):
        return None
    return len(response.body) if response.stream is None else response.stream.sent
