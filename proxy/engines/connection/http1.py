"""HTTP/1.1 (RFC 9112): bytes in, one request after the other; their responses out.

A head is taken as a whole and matched as a whole, by patterns that cannot backtrack, so that
nothing is let through that is not understood. What is not as RFC 9112 has it is refused with
400 and ends the connection: a length told twice, a missing or second Host, a bare CR or LF, a
folded line, a blank before a colon, a chunk that is none. What is let through although the
RFC has it otherwise, because PostgREST's clients send it: any byte but controls and blanks in
a target.

* A request is begun when the one before it is answered; what comes meanwhile waits, and
  beyond `AHEAD` bytes it waits in the peer's hands.
* `100 Continue` is sent when the application asks for the body, so never before a refusal.
* A response that can't be completed ends the connection; so does one that comes before the
  whole request, when what follows has been read and thrown away for a while.
"""

from __future__ import annotations

import base64
import binascii
import re
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from proxy.data_plane import Scope
from proxy.engines.connection.exchange import ASGI, Exchange, logger
from proxy.errors import ApiError, api_error
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

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VALUE: Final = rb"[\t\x20-\x7e\x80-\xff]*+"
_FIELDS: Final = rb"(?:\r\n" + TOKEN + rb":" + _VALUE + rb")*+"
_HEAD: Final = re.compile(
    rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]++) HTTP/([0-9])\.([0-9])" + _FIELDS
)
_FIELD: Final = re.compile(rb"\r\n([^:]++):[ \t]*+([^\r]*+)")
_TRAILERS: Final = re.compile(_FIELDS)
_METHOD: Final = re.compile(TOKEN)
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15}+)(?:[ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?+\r\n")
HOST: Final = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+;=:\[\]\x80-\xff]*+")
"""What may name a host (RFC 9110, 7.2), and raw letters of other alphabets."""
_WATCHED: Final = frozenset(
    (
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"http2-settings",
        b"transfer-encoding",
        b"upgrade",
    )
)
_MOST_DIGITS: Final = 18

Fields = list[tuple[bytes, bytes]]


class Malformed(Exception):
    """What a peer sent is no request; the response to it."""

    def __init__(self, reason: str, error: ApiError | None = None) -> None:
        super().__init__(reason)
        self.error = error or api_error("EDGE400", message=reason)


def scope_of(
    connection: Connection, version: str, method: bytes, target: bytes, headers: Fields
) -> Scope:
    """ASGI's scope of a request. Raises `Malformed` for a target that is not in UTF-8."""
    raw, _, query = target.partition(b"?")
    try:
        path = raw.decode()
        if not query.isascii():
            query.decode()
    except UnicodeDecodeError:
        raise Malformed("The request target is not in UTF-8") from None
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": version,
        "method": method.decode(),
        "scheme": connection.scheme,
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": connection.client,
        "server": connection.address,
    }


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
            self._check_part(rest, self._searched)
        except Malformed as malformed:
            self._refuse(malformed)
            rest.clear()
        self._searched = len(rest)
        return False

    def _check_part(self, part: bytes | bytearray, searched: int) -> None:
        if len(part) > self._connection.options.max_head:
            raise Malformed("the head is too large", api_error("EDGE431"))
        begin = 2 if part[:2] == b"\r\n" else 0
        known = part[begin : begin + 1] in (b"", b"\r") or _METHOD.match(part, begin)
        if not known or _BARE_LF.search(part, max(0, searched - 1)):
            raise Malformed("That is no HTTP request")

    def _begin(self, data: bytes) -> bytes:
        """Begin with a request; what follows its head."""
        begin = 2 if data[:2] == b"\r\n" else 0
        end = data.find(b"\r\n\r\n", begin)
        if end < 0:
            self._check_part(data, 0)
            self._rest += data
            self._searched = len(data)
            self._connection.expect_head()
            return b""
        if end > self._connection.options.max_head:
            raise Malformed("the head is too large", api_error("EDGE431"))
        match = _HEAD.fullmatch(data, begin, end)
        if match is None:
            raise Malformed(_fault(data[begin:end]))
        method, target, major, minor = match.groups()
        if major != b"1":
            raise Malformed("The version of HTTP is not supported")
        fields = _FIELD.findall(data, match.end(4), end)
        rest = data[end + 4 :]
        self._open(method, target, minor != b"0", fields, rest)
        return rest if self._connection.protocol is self else b""

    def _open(
        self, method: bytes, target: bytes, recent: bool, fields: Fields, rest: bytes
    ) -> None:
        headers: Fields = []
        watched: dict[bytes, list[bytes]] = {}
        for name, value in fields:
            name = name.lower()  # noqa: PLW2901 - two names for it would only confuse
            if value[-1:] in (b" ", b"\t"):
                value = value.rstrip(b" \t")  # noqa: PLW2901
            headers.append((name, value))
            if name in _WATCHED:
                watched.setdefault(name, []).append(value)
        hosts = watched.get(b"host", [])
        if len(hosts) != 1 and (recent or hosts):
            raise Malformed("A request has exactly one Host header")
        if hosts and HOST.fullmatch(hosts[0]) is None:
            raise Malformed("The Host header names no host")
        has_body = self._frame(watched, recent)
        connection = _tokens(watched.get(b"connection"))
        upgrades = _tokens(watched.get(b"upgrade")) if b"upgrade" in connection else frozenset()
        if b"h2c" in upgrades and not has_body and b"http2-settings" in connection:
            settings = _settings_of(watched.get(b"http2-settings", []))
            if settings is not None and self._connection.scheme == "http":
                self._connection.upgrade(settings, method, target, headers, rest)
                return
        scope = scope_of(self._connection, "1.1" if recent else "1.0", method, target, headers)
        if b"websocket" in upgrades and method == b"GET" and not has_body:
            # Here a WebSocket would leave HTTP/1.1 and go to wsproto.
            scope["type"] = "websocket"
        self._last = not recent or b"close" in connection
        self._connection.busy()
        exchange = self._exchange = _Exchange(self, self._connection, scope, not has_body)
        expected = _tokens(watched.get(b"expect"))
        exchange.expected = has_body and recent and b"100-continue" in expected

    def _frame(self, watched: dict[bytes, list[bytes]], recent: bool) -> bool:
        """Find out where the body ends; whether there is one (RFC 9112, 6.3)."""
        self._chunks = None
        self._left = 0
        lengths, codings = watched.get(b"content-length"), watched.get(b"transfer-encoding")
        if codings is not None:
            if lengths is not None:
                raise Malformed("The body's length is told in two ways")
            if not recent or len(codings) != 1 or codings[0].lower() != b"chunked":
                raise Malformed("The only Transfer-Encoding that is known is chunked")
            self._chunks = _SIZE
            return True
        if lengths is not None:
            if len(lengths) != 1 or not lengths[0].isdigit():
                raise Malformed("Content-Length must be a number")
            # The application refuses what is so long.
            self._left = int(lengths[0][: _MOST_DIGITS + 1])
        return self._left > 0

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
                after = _end_of_trailers(data, at)
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
        if last or not exchange.complete:
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
        if self._exchange is None:
            self._connection.close()

    def has_room(self) -> bool:
        """Whether more may be written, as far as HTTP is concerned."""
        return True


_SIZE, _DATA, _END, _TRAILER = range(4)


def _end_of_trailers(data: bytes, at: int) -> int | None:
    """Where the trailers that begin at `at` end; None if not here. Raises `Malformed`."""
    if data[at : at + 2] == b"\r\n":
        return at + 2
    end = data.find(b"\r\n\r\n", at)
    if end >= 0 and _TRAILERS.fullmatch(b"\r\n" + data[at:end]) is not None:
        return end + 4
    if end >= 0 or len(data) - at > _MOST_TRAILERS:
        raise Malformed("The trailers of the body are malformed")
    return None


def _tokens(values: list[bytes] | None) -> frozenset[bytes]:
    if values is None:
        return frozenset()
    return frozenset(token.strip() for token in b",".join(values).lower().split(b","))


def _settings_of(values: list[bytes]) -> bytes | None:
    """What the header of an upgrade to HTTP/2 says (RFC 7540, 3.2.1); None for nonsense."""
    try:
        settings = base64.urlsafe_b64decode(values[0] + b"==") if len(values) == 1 else b"?"
    except (binascii.Error, ValueError):
        return None
    return settings if len(settings) % 6 == 0 else None


def _fault(head: bytes) -> str:
    """What is wrong with a head that does not match."""
    line, _, _ = head.partition(b"\r\n")
    if _HEAD.fullmatch(line) is None:
        return "The request line is malformed"
    return "A header is malformed"


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

    def _put(self, body: bytes, *, more: bool) -> bytes | None:
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

    def _fits(self, body: bytes, more: bool) -> bool:
        if self._left is None or self._left < 0:
            return True
        self._left -= len(body)
        return self._left >= 0 if more else self._left == 0

    def _head(self, body: bytes, more: bool) -> bytes:
        """The head of the response; finds out how its end will be known (RFC 9112, 6.3)."""
        start = self._start
        assert start is not None  # `send` puts nothing before it
        self._start = None
        status: int = start["status"]
        headers: Fields = []
        closes = self._http.closes()
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


def _chunk(body: bytes, more: bool) -> bytes:
    piece = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return piece if more else piece + b"0\r\n\r\n"


def _head_of(status: int, reason: str | None, headers: Fields) -> bytes:
    lines = [_status_line(status, reason), http_date(int(time()))]
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


@lru_cache(maxsize=2)
def http_date(seconds: int) -> bytes:
    """The line of the Date header."""
    return b"date: " + formatdate(seconds, usegmt=True).encode()
