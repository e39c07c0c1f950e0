"""HTTP/1.1 (RFC 9112): bytes in, one request after the other; their responses out.

* What is not as RFC 9112 has it is refused with 400 and ends the connection: a length told
  twice, a missing or second Host, a bare CR or LF, a folded line, a blank before a colon, a
  chunk that is none. What follows could be anybody's idea of a request.
* A request is begun when the one before it is answered; what comes meanwhile waits, and
  beyond `AHEAD` bytes it waits in the peer's hands.
* `100 Continue` is sent when the application asks for the body, so never before a refusal.
* A response that can't be completed ends the connection; so does one that comes before the
  whole request, when what follows has been read and thrown away for a while.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, Final

from proxy.engines.connection.exchange import Exchange, Piece, logger
from proxy.engines.connection.hpack import Fields
from proxy.engines.connection.messages import (
    Malformed,
    check_beginning,
    end_of_trailers,
    http_date,
    read_head,
    scope_of,
)
from proxy.errors import api_error
from proxy.http.asgi import Scope
from proxy.response.errors import error_response
from proxy.response.model import BODILESS

if TYPE_CHECKING:
    from proxy.engines.connection.connection import Connection

AHEAD: Final = 64 * 1024
"""Bytes of further requests that are held while one is answered."""
UNTAKEN: Final = 256 * 1024
"""Bytes of a body that are held until the application takes them."""
_MOST_LINE: Final = 4096
"""Bytes of a line before a chunk."""
_MOST_TRAILERS: Final = 16 * 1024

_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15}+)(?:[ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?+\r\n")
_SIZE, _DATA, _END, _TRAILER = range(4)


class Http1:
    """The peer's requests, in their order."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rest = bytearray()
        """What can't be used yet: half a head or chunk, or the requests that come next."""
        self._searched = 0
        self._exchange: _Exchange | None = None
        self._left = 0
        """Bytes to come, of the body or the chunk."""
        self._chunks: int | None = None
        """Where in a chunked body we are; None in another."""
        self._last = False
        self._parted = False
        """Whether the server has waited for requests for the last time."""

    @property
    def idle(self) -> bool:
        """Whether no response is awaited."""
        return self._exchange is None

    def receive(self, data: bytes) -> None:
        """Take in what the peer sent."""
        if self._last and self._exchange is None:
            return
        if self._rest:
            self._rest += data
            if self._exchange is None and not self._has_head():
                return
            if self._exchange is not None and self._exchange.complete:
                self._regulate()
                return
            data = bytes(self._rest)
            self._rest.clear()
        self._go_on(data)

    def _go_on(self, data: bytes) -> None:
        try:
            while data and not (self._last and self._exchange is None):
                exchange = self._exchange
                if exchange is None:
                    data = self._begin(data)
                elif exchange.complete:
                    self._rest += data
                    break
                else:
                    data = self._take_body(exchange, data)
        except Malformed as malformed:
            self._refuse(malformed)
        else:
            self._regulate()

    def _regulate(self) -> None:
        """Have the peer wait while much is here that nobody can use yet."""
        exchange = self._exchange
        self._connection.read(
            exchange is None or (len(self._rest) <= AHEAD and exchange.held <= UNTAKEN)
        )

    def _refuse(self, malformed: Malformed) -> None:
        self._connection.refused(malformed)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.leave()
            if exchange.begun:
                self._connection.abort()
                return
        self._last = True
        response = error_response(malformed.error)
        headers = [*response.headers, (b"connection", b"close")]
        head = _head_of(response.status, None, headers)
        self._connection.write(head + response.body)
        self._connection.end()

    # --- heads ----------------------------------------------------------------------------

    def _has_head(self) -> bool:
        """Whether the rest has one; refuses what will never be one."""
        rest = self._rest
        try:
            if rest.find(b"\r\n\r\n", max(0, self._searched - 3)) >= 0:
                self._searched = 0
                return True
            check_beginning(rest, self._searched, self._connection.options.max_head)
        except Malformed as malformed:
            self._refuse(malformed)
            rest.clear()
        self._searched = len(rest)
        return False

    def _begin(self, data: bytes) -> bytes:
        """Begin with a request; what follows its head."""
        connection = self._connection
        most = connection.options.max_head
        begin = 2 if data[:2] == b"\r\n" else 0
        end = data.find(b"\r\n\r\n", begin)
        if end < 0:
            check_beginning(data, 0, most)
            self._rest += data
            self._searched = len(data)
            connection.expect_head()
            return b""
        if end > most:
            raise Malformed("the head is too large", api_error("EDGE431"))
        request = read_head(data, begin, end)
        rest = data[end + 4 :]
        has_body = request.has_body
        scope = scope_of(request, connection.scheme, connection.client, connection.address)
        if request.settings is not None and not has_body and connection.scheme == "http":
            connection.upgrade(request, rest)
            return b""
        if b"websocket" in request.upgrades and request.method == b"GET" and not has_body:
            # Here a WebSocket would leave HTTP/1.1 and go to wsproto.
            scope["type"] = "websocket"
        self._last = request.last
        self._chunks = _SIZE if request.chunked else None
        self._left = request.length or 0
        connection.busy()
        exchange = self._exchange = _Exchange(self, connection, scope, not has_body)
        exchange.expected = has_body and request.expects
        return rest

    # --- bodies ---------------------------------------------------------------------------

    def _take_body(self, exchange: Exchange, data: bytes) -> bytes:
        """Take from `data` what belongs to the body; what follows it."""
        if self._chunks is not None:
            return self._take_chunks(exchange, data)
        piece = data[: self._left]
        self._left -= len(piece)
        exchange.feed(piece)
        if not self._left:
            exchange.finish()
        return data[len(piece) :]

    def _take_chunks(self, exchange: Exchange, data: bytes) -> bytes:
        """As `_take_body`, for RFC 9112, 7.1."""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            if self._chunks == _DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._chunks = _END
            elif self._chunks == _SIZE:
                match = _CHUNK.match(data, at)
                if match is None:
                    if end - at > _MOST_LINE or data.find(b"\n", at) >= 0:
                        raise Malformed("A chunk of the body is malformed")
                    break
                at = match.end()
                self._left = int(match[1], 16)
                self._chunks = _DATA if self._left else _TRAILER
            elif self._chunks == _END:
                if data[at : at + 2] != b"\r\n"[: end - at]:
                    raise Malformed("A chunk of the body is malformed")
                if end - at < 2:
                    break
                at += 2
                self._chunks = _SIZE
            else:
                after = end_of_trailers(data, at, _MOST_TRAILERS)
                if after is None:
                    break
                self._feed(exchange, pieces)
                exchange.finish()
                return data[after:]
        self._feed(exchange, pieces)
        self._rest += data[at:]
        return b""

    def _feed(self, exchange: Exchange, pieces: list[bytes]) -> None:
        if pieces:
            exchange.feed(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    # --- the end of things ----------------------------------------------------------------

    def answered(self, exchange: _Exchange, *, last: bool) -> None:
        """The response is out."""
        self._exchange = None
        if last or self._parted or not exchange.complete:
            self._last = True
            self._connection.end()
            return
        self._connection.idle()
        if self._rest:
            data = bytes(self._rest)
            self._rest.clear()
            self._searched = 0
            self._go_on(data)
        else:
            self._connection.read(True)

    def took(self) -> None:
        """The application has taken what there was of the body."""
        self._regulate()

    def closes(self) -> bool:
        """Whether the next response is the last."""
        return self._last or self._connection.draining

    def lost(self) -> None:
        """The peer is gone."""
        if self._exchange is not None:
            self._exchange.leave()

    def expired(self) -> None:
        """It has been idle for too long."""
        self._connection.close()

    def drain(self) -> None:
        """Nothing can be said before the next response; the connection ends without one."""

    def part(self) -> None:
        """The peer has had time to send another request."""
        self._parted = True
        if self._exchange is None:
            self._connection.close()

    def has_room(self) -> bool:
        """Whether more may be written, as far as HTTP is concerned."""
        return True


class _Exchange(Exchange):
    __slots__ = ("_chunked", "_closes", "_http", "_left", "expected")

    def __init__(self, http: Http1, peer: Connection, scope: Scope, complete: bool) -> None:
        super().__init__(peer, scope, complete=complete)
        self._http = http
        self._chunked = False
        self._closes = False
        self._left: int | None = None
        self.expected = False
        """Whether the peer waits for `100 Continue`."""

    @property
    def begun(self) -> bool:
        """Whether a part of the response is out."""
        return self._begun

    def _asked(self) -> None:
        if self.expected and not self._begun and not self.gone:
            self.expected = False
            if not self.held and not self.complete:
                self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    @property
    def _connection(self) -> Connection:
        connection: Connection = self.peer  # type: ignore[assignment]
        return connection

    def _took(self, size: int) -> None:
        if not self.complete:
            self._http.took()

    def _put(self, body: Piece, *, more: bool) -> Piece | None:
        connection = self._connection
        if connection.paused:
            return body
        head = b""
        if self._start is not None:
            head = self._head(body, more)
        if not self._fits(body, more):
            logger.error("A response is not as long as it says")
            if self._begun:
                self.give_up()
            else:
                self._left = None
                self._answer_failure()
            return None
        self._begun = True
        if self._left == -1:
            body = b""
        elif self._chunked:
            body = _chunk(body, more)
        if len(body) < 65536:
            connection.write(head + body)
        else:
            connection.write(head)
            connection.write(body)
        if not more:
            self.ended = True
            self._http.answered(self, last=self._closes)
        return None

    def _fits(self, body: Piece, more: bool) -> bool:
        if self._left is None or self._left < 0:
            return True
        self._left -= len(body)
        return self._left >= 0 if more else self._left == 0

    def _head(self, body: Piece, more: bool) -> bytes:
        """The head of the response; finds out how its end will be known (RFC 9112, 6.3)."""
        start = self._start
        assert start is not None  # `send` puts nothing before it
        self._start = None
        status: int = start["status"]
        headers: Fields = []
        # What follows can't be told from the rest of a request that nobody reads.
        closes = self._http.closes() or not self.complete
        for field in start["headers"]:
            name = field[0]
            if name == b"content-length":
                self._left = int(field[1])
            elif name == b"connection":
                closes = closes or field[1].lower() == b"close"
                continue
            headers.append(field)
        if self.scope["method"] == "HEAD" or status in BODILESS:
            self._left = -1
        elif self._left is None:
            if not more:
                self._left = len(body)
                headers.append((b"content-length", b"%d" % len(body)))
            elif self.scope["http_version"] == "1.1":
                self._chunked = True
                headers.append((b"transfer-encoding", b"chunked"))
            else:
                closes = True
        if closes:
            headers.append((b"connection", b"close"))
        self._closes = closes
        return _head_of(status, start.get("reason"), headers)

    def give_up(self) -> None:
        self.gone = True
        self._connection.abort()


def _chunk(body: Piece, more: bool) -> bytes:
    piece = b"".join((b"%x\r\n" % len(body), body, b"\r\n")) if body else b""
    return piece if more else piece + b"0\r\n\r\n"


def _head_of(status: int, reason: str | None, headers: Fields) -> bytes:
    lines = [_status_line(status, reason), b"date: " + http_date(int(time()))[1]]
    lines += [name + b": " + value for name, value in headers]
    lines.append(b"\r\n")
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
        raise ValueError("a header of the response has a line break in it")
    return head


@lru_cache(maxsize=256)
def _status_line(status: int, reason: str | None) -> bytes:
    """A phrase that SQL chose is cut down to what may stand there (RFC 9112, section 4)."""
    if reason is not None:
        phrase = "".join(c if " " <= c <= "~" else " " for c in reason)
    else:
        phrase = HTTPStatus(status).phrase if status in _STATUSES else ""
    return b"HTTP/1.1 %d %b" % (status, phrase.encode())


_STATUSES: Final = frozenset(HTTPStatus)
