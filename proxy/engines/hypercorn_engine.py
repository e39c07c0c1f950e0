"""Serve an ASGI application with Hypercorn's HTTP/1.1 and HTTP/2, for long-lived clients.

In: an ASGI application, a listening socket, an event that says stop. Out: nothing; it
returns when the last request in flight is done or the drain timeout has passed.

Hypercorn's protocol classes are used as they are where they hold up. What is replaced
here, and why (Hypercorn 0.18):

* its accept loop waits without limit for connections to end from Python 3.12 on, and skips
  the application's shutdown when they outlast the grace period;
* HTTP/2 frames it does not expect (DATA after the response, a path that is not ASCII,
  CONNECT without a path) end as exceptions that take the whole connection, with every
  stream on it, down;
* a stream given up half-way is never reset, so the client waits for ever; a connection whose
  peer takes nothing any more stays open for ever; and one that was closed with requests in
  its pipeline stays in memory;
* a peer that never stops sending has the event loop to itself, for reading what is there
  waits for nothing; and HTTP/2 frames that ask for nothing are welcome without limit;
* each request starts and cancels a task to watch for idleness; a timer does;
* HTTP/1.1 status lines come without a reason phrase, which some clients stumble over;
* every response waits for a sending task and a priority tree, and takes three writes. What
  fits into a frame and the windows goes out at once; the rest takes turns.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections import OrderedDict
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from socket import socket
from time import monotonic, time
from typing import Any, Final, cast

import h2.events
import h11
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Body, EndBody, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from hypercorn.protocol.h11 import (
    H2CProtocolRequiredError,
    H2ProtocolAssumedError,
    H11Protocol,
)
from hypercorn.typing import ASGIFramework, ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr, wrap_app
from priority.priority import DeadlockError

from proxy.data_plane import AsgiApp
from proxy.engines.model import EngineOptions
from proxy.engines.patience import PER_ANSWER, PER_PIECE, RESET_COST, Patience

logger = logging.getLogger(__name__)

BACKLOG: Final = 2048
READ: Final = 16 * 1024
"""Bytes taken in at a time: a few milliseconds' work, or some tens with the tiniest frames."""
CLOSE_TIMEOUT: Final = 5.0
"""Seconds a peer has to take the last bytes before its connection is aborted."""


async def serve(
    app: AsgiApp, sock: socket, options: EngineOptions, stop: asyncio.Event
) -> None:
    """Accept connections on `sock` until `stop` is set, then finish what is in flight.

    `sock` is bound; it starts to listen here. Raises OSError when it can't.
    """
    server = _Server(app, options)
    await server.run(sock, stop)


@lru_cache(maxsize=2)
def _http_date(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()


class _Settings(Config):
    """Hypercorn's settings; `draining` makes HTTP/1.1 responses say that they are the last."""

    draining = False

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        headers = [(b"date", _http_date(int(time())))]
        if self.draining and protocol == "h11":
            headers.append((b"connection", b"close"))
        return headers


def _settings(options: EngineOptions) -> _Settings:
    settings = _Settings()
    settings.keep_alive_timeout = options.idle_timeout
    # After this many requests Hypercorn drops an HTTP/2 connection with all its streams.
    settings.keep_alive_max_requests = sys.maxsize
    settings.h2_max_concurrent_streams = options.max_streams
    settings.h2_max_header_list_size = options.max_head
    settings.h11_max_incomplete_size = options.max_head
    # The application always reads on, or is done; a full queue could only block others.
    settings.max_app_queue_size = 0
    settings.include_server_header = False
    settings.errorlog = logger
    settings.ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20"
    if options.cert is not None and options.key is not None:
        settings.certfile, settings.keyfile = str(options.cert), str(options.key)
    return settings


class _Server:
    """One listening socket and the connections it accepted."""

    def __init__(self, app: AsgiApp, options: EngineOptions) -> None:
        self._options = options
        self._settings = _settings(options)
        self._app = wrap_app(cast(ASGIFramework, app), 0, "asgi")
        self._context = WorkerContext(None)
        self._state: LifespanState = {}
        self._open: dict[asyncio.Task[Any], _Connection] = {}

    async def run(self, sock: socket, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(
            self._accept,
            sock=sock,
            backlog=BACKLOG,
            ssl=self._settings.create_ssl_context(),
            ssl_handshake_timeout=CLOSE_TIMEOUT if self._settings.ssl_enabled else None,
        )
        try:
            await stop.wait()
        finally:
            server.close()
            await self._drain()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # asyncio.start_server runs this callback as a task
        connection = _Connection(
            self._app,
            task.get_loop(),
            self._settings,
            self._context,
            self._state,
            reader,
            writer,
        )
        self._open[task] = connection
        try:
            await connection.run()
        finally:
            del self._open[task]

    async def _drain(self) -> None:
        self._settings.draining = True
        await self._context.terminated.set()
        for connection in list(self._open.values()):
            connection.drain()
        if self._open:
            await asyncio.wait(self._open, timeout=self._options.drain_timeout)
        if self._open:
            logger.warning("Cut off %d connections after the drain timeout", len(self._open))
            for connection in list(self._open.values()):
                await connection.cut_off()
            await asyncio.wait(list(self._open), timeout=CLOSE_TIMEOUT)


class _Connection(TCPServer):
    """One accepted connection, closed by a timer when it has been idle for long."""

    protocol: _Protocol
    _idle_timer: asyncio.TimerHandle | None = None
    _idle = True
    _draining = False
    _closing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        sock = self.writer.get_extra_info("socket")
        ssl_object = self.writer.get_extra_info("ssl_object")
        try:
            async with TaskGroup(self.loop) as task_group:
                self._task_group = task_group
                self.protocol = _Protocol(
                    self.app,
                    self.config,
                    self.context,
                    task_group,
                    ConnectionState(self.state),
                    ssl_object is not None,
                    parse_socket_addr(sock.family, sock.getpeername()),
                    parse_socket_addr(sock.family, sock.getsockname()),
                    self.protocol_send,
                    ssl_object.selected_alpn_protocol() if ssl_object else "http/1.1",
                )
                await self.protocol.initiate()
                self._start_idle_timer()
                await self._read_data()
        except OSError:
            pass
        except ExceptionGroup as group:
            # Nothing a peer sends may do worse than end its own connection.
            logger.warning("Closed a connection: %r", group.exceptions[0])
            logger.debug("The failure of that connection", exc_info=group)
        finally:
            self._stop_idle_timer()
            await self._close()

    async def _read_data(self) -> None:
        while not self.reader.at_eof():
            try:
                data = await self.reader.read(READ)
            except OSError:
                break
            await self.protocol.handle(RawData(data))
            if len(data) == READ:
                # There is more, so the next read won't wait: now it is others' turn.
                await asyncio.sleep(0)
        await self.protocol.handle(Closed())

    def drain(self) -> None:
        """Close as soon as no request is in flight."""
        self._draining = True
        if self._idle:
            self._close_idle()

    async def cut_off(self) -> None:
        """Close now; the application learns that its clients are gone."""
        self.writer.transport.abort()
        await self.protocol.handle(Closed())
        await self.protocol.end_reading()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            if event.data:
                try:
                    self.writer.write(event.data)
                    await self._drain_writer()
                except (ConnectionError, RuntimeError):
                    await self.protocol.handle(Closed())
        elif isinstance(event, Closed):
            await self.protocol.end_reading()
            await self._close()
        elif isinstance(event, Updated):
            self._idle = event.idle
            self._stop_idle_timer()
            if event.idle and self._draining:
                self._close_idle()
            elif event.idle:
                self._start_idle_timer()

    async def _drain_writer(self) -> None:
        """Wait until the peer has taken enough to send more."""
        if not self.writer.transport.get_write_buffer_size():
            await self.writer.drain()
            return
        try:
            async with asyncio.timeout(self.config.keep_alive_timeout):
                await self.writer.drain()
        except TimeoutError:
            # No other timer ends this: streams given up wait here to say so.
            self.writer.transport.abort()
            raise ConnectionAbortedError from None

    def _start_idle_timer(self) -> None:
        self._idle_timer = self.loop.call_later(
            self.config.keep_alive_timeout, self._close_idle
        )

    def _stop_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    def _close_idle(self) -> None:
        if self._closing is None:
            self._closing = self.loop.create_task(self._end())

    async def _end(self) -> None:
        await self.protocol.handle(Closed())
        await self.protocol.end_reading()
        await self._close()

    async def _close(self) -> None:
        transport = self.writer.transport
        try:
            if self.writer.can_write_eof():
                self.writer.write_eof()
            self.writer.close()
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self.writer.wait_closed()
        except (OSError, RuntimeError, TimeoutError):
            transport.abort()
        except asyncio.CancelledError:
            transport.abort()
            raise


class _Protocol(ProtocolWrapper):
    """HTTP/1.1 by default; HTTP/2 by ALPN, prior knowledge or upgrade, with `_Http2`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if isinstance(self.protocol, H2Protocol):
            self.protocol = self._http2()
        else:
            self.protocol = _Http1(*self._arguments())

    def _http2(self) -> _Http2:
        return _Http2(*self._arguments())

    def _arguments(self) -> tuple[Any, ...]:
        return (
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.state,
            self.ssl,
            self.client,
            self.server,
            self.send,
        )

    async def handle(self, event: Event) -> None:
        try:
            await self.protocol.handle(event)
        except (H2ProtocolAssumedError, H2CProtocolRequiredError) as switch:
            self.protocol = self._http2()
            if isinstance(switch, H2CProtocolRequiredError):
                await self.protocol.initiate(switch.headers, switch.settings)
            else:
                await self.protocol.initiate()
                # What has come so far was no request, though it began like one.
                await self.send(Updated(idle=True))
            if switch.data:
                await self.protocol.handle(RawData(data=switch.data))

    async def end_reading(self) -> None:
        """Let go of whoever waits to read the next request: there is none to come."""
        if isinstance(self.protocol, _Http1):
            await self.protocol.end_reading()


class _Http1(H11Protocol):
    """HTTP/1.1 with reason phrases: the application's, or the status's own."""

    async def end_reading(self) -> None:
        connection: Any = self.connection
        connection.next_event = h11.ConnectionClosed
        await self.can_read.set()

    async def _send_h11_event(
        self, event: h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage
    ) -> None:
        if isinstance(event, h11.Response):
            started = getattr(self.stream, "response", None) or {}
            event = h11.Response(
                status_code=event.status_code,
                headers=event.headers,
                http_version=event.http_version,
                reason=_reason_phrase(event.status_code, started.get("reason")),
            )
        await super()._send_h11_event(event)


def _reason_phrase(status: int, chosen: str | None) -> bytes:
    """What the status line ends in; a phrase that SQL chose is cut down to what may stand
    there (RFC 9112, section 4)."""
    if chosen is not None:
        return "".join(c if " " <= c <= "~" else " " for c in chosen).encode()
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


class _Turns:
    """Streams with something to send, taking turns; stands in for Hypercorn's priority tree
    (RFC 9113 deprecates the priorities that it keeps)."""

    def __init__(self) -> None:
        self._ready: OrderedDict[int, None] = OrderedDict()

    def __next__(self) -> int:
        """The stream whose turn it is. Raises `DeadlockError` when none is ready."""
        if not self._ready:
            raise DeadlockError
        stream_id = next(iter(self._ready))
        self._ready.move_to_end(stream_id)
        return stream_id

    def insert_stream(self, stream_id: int) -> None:
        """A new stream has nothing to send yet."""

    def unblock(self, stream_id: int) -> None:
        self._ready[stream_id] = None

    def block(self, stream_id: int) -> None:
        self._ready.pop(stream_id, None)

    remove_stream = block


class _Http2(H2Protocol):
    """HTTP/2 that survives what peers do, and tells them when a stream is over."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # Set in the settings only, the limit would be announced but not in force.
        self.connection.decoder.max_header_list_size = self.config.h2_max_header_list_size
        self.priority: Any = _Turns()
        self._patience = Patience(monotonic())
        self._frames_without_event = 0
        self._count_frames()
        self._receiving: set[int] = set()
        """Streams whose request has not ended."""
        self._ending: dict[int, asyncio.Future[None]] = {}
        """Applications that wait for the end of their stream to be on its way."""
        self._flush_handle: asyncio.Handle | None = None

    def _count_frames(self) -> None:
        """Of some frames, as those on streams that are closed, h2 tells nothing."""
        connection: Any = self.connection
        receive = connection._receive_frame

        def receive_frame(frame: object) -> list[h2.events.Event]:
            events: list[h2.events.Event] = receive(frame)
            self._frames_without_event += not events
            return events

        connection._receive_frame = receive_frame

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        if isinstance(event, Closed):
            # Nothing is sent any more: whoever waits for that has waited enough.
            for buffer in list(self.stream_buffers.values()):
                await buffer.close()
            for stream_id in list(self._ending):
                self._end(stream_id)

    def _end(self, stream_id: int) -> None:
        waiter = self._ending.get(stream_id)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        useless = self._frames_without_event + sum(map(_uselessness, events))
        self._frames_without_event = 0
        if useless and not self._patience.spend(useless, monotonic()):
            self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            await self._flush()
            await self.send(Closed())
            return
        for event in events:
            match event:
                case h2.events.RequestReceived():
                    await self._begin(event)
                case h2.events.DataReceived():
                    stream = self.streams.get(event.stream_id)
                    if stream is not None and event.data:
                        await stream.handle(Body(stream_id=event.stream_id, data=event.data))
                    self.connection.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                case h2.events.StreamEnded():
                    self._receiving.discard(event.stream_id)
                    stream = self.streams.get(event.stream_id)
                    if stream is not None:
                        await stream.handle(EndBody(stream_id=event.stream_id))
                case h2.events.StreamReset():
                    self._receiving.discard(event.stream_id)
                    await super()._handle_events([event])
                case h2.events.PriorityUpdated():
                    pass  # Deprecated by RFC 9113, 5.3
                case _:
                    await super()._handle_events([event])
        await self._flush()

    async def _begin(self, event: h2.events.RequestReceived) -> None:
        stream_id = event.stream_id
        pseudo = {name: value for name, value in event.headers if name[:1] == b":"}
        if self.context.terminated.is_set():
            # Tells the client that nothing was done, so that it repeats it elsewhere.
            self.connection.reset_stream(stream_id, ErrorCodes.REFUSED_STREAM)
        elif b":path" not in pseudo or pseudo[b":method"] == b"CONNECT":
            self.connection.reset_stream(stream_id, ErrorCodes.PROTOCOL_ERROR)
        elif not (pseudo[b":path"].isascii() and pseudo[b":method"].isascii()):
            self.connection.send_headers(
                stream_id, [(b":status", b"400"), (b"content-length", b"0")], end_stream=True
            )
            if event.stream_ended is None:
                self.connection.reset_stream(stream_id, ErrorCodes.NO_ERROR)
        else:
            if event.stream_ended is None:
                self._receiving.add(stream_id)
            await self._create_stream(event)
            await self.send(Updated(idle=False))

    async def stream_send(self, event: StreamEvent) -> None:
        buffer = self.stream_buffers.get(event.stream_id)
        try:
            match event:
                case Response():
                    # Goes out with the first piece of the body or the end.
                    headers = event.headers + self.config.response_headers("h2")
                    status = (b":status", b"%d" % event.status_code)
                    self.connection.send_headers(event.stream_id, [status, *headers])
                    self._flush_soon()
                    return
                case Body() if buffer is not None and self._fits(buffer, event):
                    self.connection.send_data(event.stream_id, event.data)
                    self._patience.earn(PER_PIECE)
                    self._flush_soon()
                    return
                case EndBody() if buffer is not None and not buffer.buffer:
                    self.connection.end_stream(event.stream_id)
                    self._patience.earn(PER_ANSWER)
                    del self.stream_buffers[event.stream_id]
                    self.priority.remove_stream(event.stream_id)
                    await self._ended(event.stream_id)
                    return
                case StreamClosed() if buffer is not None and not buffer.complete:
                    await self._give_up(event.stream_id)
        except ProtocolError:
            return  # The stream or the connection is closed already.
        await super().stream_send(event)
        if not isinstance(event, EndBody) or self.closed:
            return
        if event.stream_id in self.stream_buffers:
            # The last bytes are out, the end of the stream is not. A draining connection
            # must not be closed between the two.
            waiter = asyncio.get_running_loop().create_future()
            self._ending[event.stream_id] = waiter
            try:
                await waiter
            finally:
                del self._ending[event.stream_id]

    def _fits(self, buffer: StreamBuffer, piece: Body) -> bool:
        """Whether `piece` can be sent at once: nothing waits before it, windows are open."""
        size = len(piece.data)
        return (
            not buffer.buffer
            and size <= self.connection.max_outbound_frame_size
            and size <= self.connection.local_flow_control_window(piece.stream_id)
        )

    def _flush_soon(self) -> None:
        """Send what is there before the event loop turns to the network again."""
        if self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_soon(self._spawn_flush)

    def _spawn_flush(self) -> None:
        self._flush_handle = None
        if not self.closed:
            self.task_group.spawn(self._flush)

    async def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        await super()._flush()

    async def _ended(self, stream_id: int) -> None:
        """The response is out; what is left of the request is of no use."""
        if stream_id in self._receiving:
            self._receiving.discard(stream_id)
            with suppress(ProtocolError):
                self.connection.reset_stream(stream_id, ErrorCodes.NO_ERROR)
        await self._flush()

    async def _give_up(self, stream_id: int) -> None:
        """Reset a stream whose response ends before it is complete."""
        self._receiving.discard(stream_id)
        await self.stream_buffers[stream_id].close()
        with suppress(ProtocolError):
            self.connection.reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)
            await self._flush()
        # The sending task finds the stream closed and clears its buffer away.
        self.priority.unblock(stream_id)
        await self.has_data.set()

    async def _send_data(self, stream_id: int) -> None:
        buffer = self.stream_buffers.get(stream_id)
        if buffer is None:
            self.priority.remove_stream(stream_id)
            return
        try:
            window = self.connection.local_flow_control_window(stream_id)
            room = max(0, min(window, self.connection.max_outbound_frame_size))
            data = await buffer.pop(room)
            if data:
                self.connection.send_data(stream_id, data)
                self._patience.earn(PER_PIECE)
            else:
                self.priority.block(stream_id)
            if buffer.complete:
                self.connection.end_stream(stream_id)
                self._patience.earn(PER_ANSWER)
        except ProtocolError:
            await buffer.close()  # The peer has closed the stream or the connection.
        if buffer.complete:
            self.stream_buffers.pop(stream_id, None)
            self.priority.remove_stream(stream_id)
            self._end(stream_id)
            await self._ended(stream_id)
        else:
            await self._flush()


def _uselessness(event: h2.events.Event) -> float:
    """What an event takes of the server's patience."""
    match event:
        case h2.events.StreamReset():
            return RESET_COST
        case h2.events.DataReceived(data=data, stream_ended=ended):
            return 0.0 if data or ended is not None else 1.0
        case h2.events.RequestReceived() | h2.events.StreamEnded():
            return 0.0
        case _:
            return 1.0


def is_handshake_failure(context: dict[str, Any]) -> bool:
    """Whether an event loop's error report is about a peer that failed to speak TLS."""
    return isinstance(context.get("exception"), ssl.SSLError)
