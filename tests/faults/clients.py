"""HTTP clients that misbehave on purpose, and otherwise do as real ones.

Unlike httpx they can reset one stream or break off anywhere, and after GOAWAY the HTTP/2 one
goes on with the streams that the server still answers, as browsers, Go, nghttp2 and Envoy do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self, cast

import h2.config
import h2.connection
import h2.events
import trustme
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

_WINDOW: Final = 2**24
_ANY_STREAM: Final = 2**31 - 1


class Unprocessed(Exception):
    """The server says that it has not begun with the request: it may be sent again."""


class Broken(Exception):
    """The connection or stream ended without an answer. `stale`: on a connection that had
    answered before, and without a byte of this one's answer."""

    def __init__(self, reason: str, *, stale: bool = False) -> None:
        super().__init__(reason)
        self.stale = stale


def _context(authority: trustme.CA | None, protocol: str) -> ssl.SSLContext | None:
    """TLS with a server that `authority` vouches for; None is none."""
    if authority is None:
        return None
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols([protocol])
    return context


Lines = Sequence[tuple[str, str]]
"""The lines of a head, of which several may have one name."""


@dataclass(slots=True)
class Answer:
    """A response, whole. `lines` are those of its head, `headers` the last of each name."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    lines: tuple[tuple[str, str], ...] = ()
    body: bytearray = field(default_factory=bytearray)


class Http1:
    """A connection that carries one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._answered = 0
        self.usable = True
        """Whether it may carry another request."""

    @classmethod
    async def connect(cls, host: str, port: int, authority: trustme.CA | None = None) -> Self:
        context = _context(authority, "http/1.1")
        name = "localhost" if context else None
        return cls(
            *await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
        )

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | Lines | None = None,
        body: bytes = b"",
    ) -> None:
        lines = [f"{method} {path} HTTP/1.1", "host: localhost"]
        given = headers.items() if isinstance(headers, Mapping) else headers or ()
        lines += [f"{name}: {value}" for name, value in given]
        if body or method == "POST":
            if not any(name == "content-type" for name, _ in given):
                lines.append("content-type: application/json")
            lines.append(f"content-length: {len(body)}")
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | Lines | None = None,
        body: bytes = b"",
    ) -> Answer:
        """The answer. Raises `Broken`."""
        self.send(method, path, headers, body)
        head = b""
        try:
            await self._writer.drain()
            head = await self._reader.readuntil(b"\r\n\r\n")
            answer = _head_of(head)
            bodiless = method == "HEAD" or answer.status == 304
            length = 0 if bodiless else int(answer.headers.get("content-length", "0"))
            answer.body += await self._reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.abort()
            partial = getattr(error, "partial", b"")
            stale = self._answered > 0 and not head and not partial
            raise Broken(repr(error), stale=stale) from error
        self._answered += 1
        if answer.headers.get("connection", "").lower() == "close":
            self.abort()
        return answer

    def abort(self) -> None:
        """Break off, whatever is under way."""
        self.usable = False
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Returns when the socket is closed after `abort`."""
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def _head_of(data: bytes) -> Answer:
    first, *lines = data.decode("latin-1").split("\r\n")[:-2]
    pairs = (line.partition(":") for line in lines)
    given = tuple((name.lower(), value.strip()) for name, _, value in pairs)
    return Answer(int(first.split(" ", 2)[1]), dict(given), given)


class Http2(asyncio.Protocol):
    """A connection that carries many requests at a time."""

    def __init__(self) -> None:
        self._connection = h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding="utf-8")
        )
        # h2 takes nothing more after GOAWAY, though answers are still to come.
        table: Any = self._connection._frame_dispatch_table
        table[GoAwayFrame] = self._going_away
        self._transport: asyncio.Transport
        self._answers: dict[int, Answer] = {}
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._closed = asyncio.Event()
        self.last_word = asyncio.Event()
        """Set by the GOAWAY that names the last stream served."""
        self.at_farewell: Callable[[], object] | None = None
        """Called at a GOAWAY that only announces the end."""
        self.usable = True
        """Whether it may carry another request."""
        self.open = 0
        """Requests that wait for an answer."""

    @classmethod
    async def connect(cls, host: str, port: int, authority: trustme.CA | None = None) -> Self:
        loop = asyncio.get_running_loop()
        context = _context(authority, "h2")
        name = "localhost" if context else None
        _, protocol = await loop.create_connection(
            cls, host, port, ssl=context, server_hostname=name
        )
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connection.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = _WINDOW
        self._connection.initiate_connection()
        self._connection.increment_flow_control_window(_WINDOW)
        self._flush()

    def _flush(self) -> None:
        data = self._connection.data_to_send()
        if data:
            self._transport.write(data)

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> int:
        """Sends a request; the number of its stream."""
        stream = self._connection.get_next_available_stream_id()
        head = [(":method", method), (":path", path), (":scheme", "http")]
        head += [(":authority", "localhost"), *(headers or {}).items()]
        if body or method == "POST":
            head.append(("content-type", "application/json"))
        self._connection.send_headers(stream, head, end_stream=not body)
        if body:
            self._connection.send_data(stream, body, end_stream=True)
        self._answers[stream] = Answer()
        self._waiting[stream] = asyncio.get_running_loop().create_future()
        self.open += 1
        self._flush()
        return stream

    async def answer(self, stream: int) -> Answer:
        """The answer on a stream. Raises `Broken` and `Unprocessed`."""
        try:
            return await self._waiting[stream]
        finally:
            del self._waiting[stream]

    async def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """`send` and `answer`."""
        return await self.answer(self.send(method, path, headers, body))

    def reset(self, stream: int) -> None:
        """Give up one request."""
        self._done(stream, Broken("reset by the client"))
        self._waiting.pop(stream, None)
        with contextlib.suppress(ProtocolError):
            self._connection.reset_stream(stream, ErrorCodes.CANCEL)
        self._flush()

    def abort(self) -> None:
        """Break off, with whatever is under way."""
        self._transport.abort()

    async def gone(self) -> None:
        """Returns when the socket is closed after `abort`."""
        await self._closed.wait()

    def data_received(self, data: bytes) -> None:
        try:
            events = self._connection.receive_data(data)
        except ProtocolError as error:
            self._lost(Broken(repr(error)))
            self.abort()
            return
        for event in events:
            self._take(event)
        self._flush()

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived(stream_id=stream, headers=headers):
                answer = self._answers.get(stream)
                if answer is not None:
                    answer.headers = {str(n): str(v) for n, v in headers}
                    answer.status = int(answer.headers.pop(":status"))
            case h2.events.DataReceived():
                if event.stream_id in self._answers:
                    self._answers[event.stream_id].body += event.data
                if event.flow_controlled_length:
                    self._connection.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
            case h2.events.StreamEnded():
                self._done(event.stream_id, None)
            case h2.events.StreamReset():
                refused = event.error_code == ErrorCodes.REFUSED_STREAM
                failure = Unprocessed() if refused else Broken(f"reset: {event.error_code}")
                self._done(event.stream_id, failure)

    def _going_away(self, frame: GoAwayFrame) -> tuple[list[Any], list[h2.events.Event]]:
        self.usable = False
        if frame.last_stream_id < _ANY_STREAM:
            self.last_word.set()
        elif self.at_farewell is not None:
            self.at_farewell()
        for stream in [s for s in self._waiting if s > frame.last_stream_id]:
            self._done(stream, Unprocessed())
        if frame.error_code != ErrorCodes.NO_ERROR:
            self._lost(Broken(f"GOAWAY: {frame.error_code} {frame.additional_data!r}"))
        return [], []

    def _done(self, stream: int, failure: Exception | None) -> None:
        waiter = self._waiting.get(stream)
        answer = self._answers.pop(stream, None)
        if waiter is None or waiter.done() or answer is None:
            return
        self.open -= 1
        if failure is None:
            waiter.set_result(answer)
        else:
            waiter.set_exception(failure)
            # Whoever has given the request up does not ask.
            waiter.exception()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost(Broken(f"connection lost: {error!r}"))
        self._closed.set()

    def _lost(self, failure: Broken) -> None:
        self.usable = False
        for stream in list(self._answers):
            self._done(stream, Broken(str(failure)))
