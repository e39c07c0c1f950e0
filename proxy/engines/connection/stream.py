"""A request on a stream of HTTP/2: its windows, and its response in frames."""

from __future__ import annotations

from functools import lru_cache
from time import time
from typing import TYPE_CHECKING

from h2.errors import ErrorCodes

from proxy.engines.connection.exchange import Exchange, Piece, logger
from proxy.engines.connection.hpack import Field, Fields
from proxy.engines.connection.messages import http_date
from proxy.http.asgi import Scope
from proxy.response.model import BODILESS

if TYPE_CHECKING:
    from proxy.engines.connection.connection import Connection
    from proxy.engines.connection.http2 import Http2

WINDOW = 2**20
"""Bytes of a request's body that may be under way. With the 65,535 of the protocol's default,
an upload waits a round trip for each of them; an edge is tens of milliseconds away."""


class Stream(Exchange):
    """A request and its response, on a stream of its own."""

    __slots__ = ("_http", "_left", "_returned", "expected", "number", "open", "since", "window")

    def __init__(
        self,
        http: Http2,
        peer: Connection,
        number: int,
        scope: Scope,
        length: int | None,
        *,
        complete: bool,
    ) -> None:
        super().__init__(peer, scope, complete=complete)
        self._http = http
        self.number = number
        self.window = http.first_window
        """Bytes that the peer takes."""
        self.open = WINDOW
        """Bytes that it may send."""
        self._returned = 0
        self.expected = length
        """Bytes that are to come, where a header says so."""
        self.since = peer.loop.time()
        self._left: int | None = None

    def gave(self, size: int) -> None:
        """So many bytes are held no more."""
        self._returned += size
        if self._returned >= WINDOW // 4 and not self.complete:
            self._http.give_back(self, self._returned)
            self.open += self._returned
            self._returned = 0

    def _took(self, size: int) -> None:
        self._http.took(size)
        self.gave(size)

    def _queue(self, first: bool) -> None:
        if self.window > 0:
            super()._queue(first)

    def _put(self, body: Piece, *, more: bool) -> Piece | None:
        if self.peer.paused:
            return body
        if self._start is not None:
            body = self._begin(body, more)
            if self.ended or self.gone:
                return None
        elif self._left is not None and self._left < 0:
            body = b""
        if not body and more:
            return None
        return self._send(body, more)

    def _begin(self, body: Piece, more: bool) -> Piece:
        """Write the head; the body that may follow it."""
        start = self._start
        assert start is not None  # `_put` has looked
        self._start = None
        status: int = start["status"]
        fields: Fields = [_status(status), http_date(int(time()))]
        for field in start["headers"]:
            name, value = field
            if b"\n" in value or b"\r" in value:
                raise ValueError("a header of the response has a line break in it")
            if name == b"content-length":
                self._left = int(value)
            elif name == b"connection":
                continue
            fields.append(field)
        if self.scope["method"] == "HEAD" or status in BODILESS:
            self._left = -1
            body = b""
        ends = not body and not more
        self._begun = True
        self._http.begin_response(self, fields, ends)
        if ends:
            self._done()
        return body

    def _send(self, body: Piece, more: bool) -> Piece | None:
        http, at, size = self._http, 0, len(body)
        while True:
            # A window may be negative (RFC 9113, 6.9.2); what is empty needs none.
            room = max(0, min(size - at, self.window, http.window, http.frame))
            if room < size - at and (not room or self.peer.paused):
                # A copy of all that is left, for each frame's worth of room, adds up.
                return memoryview(body)[at:]
            piece = body if room == size else body[at : at + room]
            at += room
            last = at == size
            if self._left is not None and self._left >= 0:
                self._left -= room
                if self._left < 0 or (last and not more and self._left):
                    logger.error("A response is not as long as it says")
                    self.give_up()
                    return None
            http.send_data(self, piece, last and not more)
            if last:
                break
        if not more:
            self._done()
        return None

    def _done(self) -> None:
        self.ended = True
        self._http.answered(self)

    def give_up(self) -> None:
        self._http.reset(self, ErrorCodes.INTERNAL_ERROR)


@lru_cache(maxsize=1024)
def _status(status: int) -> Field:
    return b":status", b"%d" % status
