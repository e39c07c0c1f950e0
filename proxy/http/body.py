"""The body of a request: whether one is to come, taking it in, and taking in what is refused.

In: the scope and what its client sends. Out: the bytes, or an `ApiError`. What they take in
memory is counted as it comes (`proxy.http.in_flight`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Final

from proxy.errors import ApiError, api_error
from proxy.http.asgi import ClientGone, Message, Receive, Scope
from proxy.http.in_flight import Held, no_room
from proxy.http.time_limits import Limit

LINGER: Final = 2.0
"""Seconds that the rest of a refused body is read and dropped, so that closing the
connection or resetting the stream does not wipe out the refusal before the client, which
may send its whole body first, has read it."""
LINGERING: Final = 256
"""Refused bodies at a time that are read on; clients of more hear of it as they may."""
FRAMED_VERSIONS: Final = frozenset(("2", "3"))

_NO_BODY: Final[Message] = {"type": "http.request", "body": b"", "more_body": False}
_BODY_HEADERS: Final = frozenset((b"content-length", b"transfer-encoding"))
_BODILESS_METHODS: Final = frozenset(("GET", "HEAD"))


def has_body(scope: Scope) -> bool:
    """Whether a body may follow: HTTP/1 says so in the head, HTTP/2 only by ending the
    stream. To ask whether it has costs a read nearly as much as its answer, so what a GET
    carries over HTTP/2 without a word in the head, and would mean nothing, is not looked at.
    """
    if scope["http_version"] in FRAMED_VERSIONS and scope["method"] not in _BODILESS_METHODS:
        return True
    return any(name in _BODY_HEADERS for name, _ in scope["headers"])


def check_length(scope: Scope, largest: int) -> None:
    """Raise `ApiError` EDGE413 or EDGE400 for what the head says of the body's length."""
    measured = chunked = False
    for name, value in scope["headers"]:
        chunked |= name == b"transfer-encoding"
        if name == b"content-length":
            measured = True
            if not value.isdigit():
                raise api_error("EDGE400", message="Content-Length must be a number")
            if len(value) > 18 or int(value) > largest:
                raise _too_large(largest)
    if measured and chunked:
        # Someone in between may believe the length (RFC 9112, 6.1).
        raise api_error("EDGE400", message="The body's length is told in two ways")


async def read_body(receive: Receive, held: Held, largest: int, seconds: float) -> bytes:
    """The whole body, empty when there is none. `held` grows by it.

    Raises `ApiError` EDGE413, EDGE408 or EDGE531, and `ClientGone`.
    """
    try:
        with Limit(seconds) as limit:
            held.wait(limit)
            message = await receive()
            if message == _NO_BODY:
                return b""
            return await _collected(message, receive, held, largest)
    except TimeoutError:
        if held.gave_way:
            raise no_room() from None
        raise api_error("EDGE408", details=f"The limit is {seconds:g} seconds") from None
    finally:
        held.go_on()


async def _collected(message: Message, receive: Receive, held: Held, largest: int) -> bytes:
    # Collected in place: joining a list of pieces would hold the body twice.
    body = BytesIO()
    while True:
        if message["type"] != "http.request":
            raise ClientGone
        chunk = message.get("body", b"")
        if body.tell() + len(chunk) > largest:
            raise _too_large(largest)
        held.grow(len(chunk))
        body.write(chunk)
        if not message.get("more_body", False):
            return body.getvalue()
        message = await receive()


def _too_large(largest: int) -> ApiError:
    return api_error("EDGE413", details=f"The limit is {largest} bytes")


_lingering: set[object] = set()


async def drop_body(receive: Receive) -> None:
    """Read on, at most for `LINGER` seconds, until the body ends or the client leaves; not at
    all while `LINGERING` others do."""
    if len(_lingering) >= LINGERING:
        return
    token = object()
    _lingering.add(token)
    try:
        async with asyncio.timeout(LINGER):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        return
    finally:
        _lingering.discard(token)


@contextmanager
def dropping(scope: Scope, receive: Receive, long: bool) -> Iterator[None]:
    """While a `long` answer goes out over HTTP/2, what the client sends unasked is dropped:
    the engine would keep it as far as its windows reach."""
    if not long or scope["http_version"] not in FRAMED_VERSIONS:
        yield
        return
    reading = asyncio.ensure_future(_drop(receive))
    try:
        yield
    finally:
        reading.cancel()


async def _drop(receive: Receive) -> None:
    while (await receive())["type"] == "http.request":
        pass
