"""Serve an ASGI application with Hypercorn's HTTP/1.1 and HTTP/2, for long-lived clients.

In: an ASGI application, a listening socket, an event that says stop. Out: nothing; it
returns when the last request in flight is done or the drain timeout has passed.

This is the server and its connections; what is said on them is `hypercorn_protocols`'.
Hypercorn's classes are used as they are where they hold up. What is replaced here, and why
(Hypercorn 0.18):

* it has the event loop take in connections, and uvloop's takes in one in a turn;
* its accept loop waits without limit for connections to end from Python 3.12 on, and skips
  the application's shutdown when they outlast the grace period;
* a connection whose peer takes nothing any more stays open for ever;
* a peer that never stops sending has the event loop to itself, for reading what is there
  waits for nothing;
* each request starts and cancels a task to watch for idleness; a timer does.

How connections end when the server stops, so that no request is lost: see `_Connection`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from socket import socket
from time import time
from typing import Any, Final

from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr

from proxy.asgi import AsgiApp
from proxy.engines.acceptor import Acceptor
from proxy.engines.hypercorn_protocols import Protocol
from proxy.engines.hypercorn_tasks import Context, Tasks
from proxy.engines.model import EngineOptions

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
        self._app: Any = app
        self._context = Context(None)
        self._state: LifespanState = {}
        self._arriving: set[asyncio.Task[None]] = set()
        self._open: dict[asyncio.Task[Any], _Connection] = {}

    async def run(self, sock: socket, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        context = self._settings.create_ssl_context()

        def connected(connection: socket) -> None:
            task = loop.create_task(self._open_streams(connection, context))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

        sock.listen(BACKLOG)
        sock.setblocking(False)
        acceptor = Acceptor(loop, sock, connected)
        acceptor.start()
        try:
            await stop.wait()
        finally:
            acceptor.close()
            await self._drain()

    async def _open_streams(self, connection: socket, context: ssl.SSLContext | None) -> None:
        """Have `_serve` called with the connection's streams, once TLS is there."""
        loop = asyncio.get_running_loop()
        # What it takes in before anybody reads is twice the limit.
        reader = asyncio.StreamReader(READ, loop)
        try:
            await loop.connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader, self._serve, loop=loop),
                connection,
                ssl=context,
                ssl_handshake_timeout=None if context is None else CLOSE_TIMEOUT,
            )
        except OSError as error:
            # Gone already, or it does not speak TLS as we do (ssl.SSLError is one).
            logger.debug("A connection was not opened: %r", error)
            connection.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # asyncio runs this callback as a task
        connection = _Connection(
            self._app,
            task.get_loop(),
            self._settings,
            self._context,
            self._state,
            reader,
            writer,
            farewell=min(self._options.farewell, self._options.drain_timeout),
        )
        self._open[task] = connection
        if self._settings.draining:
            connection.drain()
        try:
            await connection.run()
        finally:
            del self._open[task]

    async def _drain(self) -> None:
        self._settings.draining = True
        await self._context.terminated.set()
        for connection in list(self._open.values()):
            connection.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.drain_timeout):
                while self._arriving or self._open:
                    await asyncio.wait([*self._arriving, *self._open])
                    # Those that have arrived are open a turn of the loop later.
                    await asyncio.sleep(0)
        if self._open:
            logger.warning("Cut off %d connections after the drain timeout", len(self._open))
            for connection in list(self._open.values()):
                await connection.cut_off()
            await asyncio.wait(list(self._open), timeout=CLOSE_TIMEOUT)


class _Connection(TCPServer):
    """One accepted connection, closed by a timer when it has been idle for long.

    When the server stops, its peer is asked to go in a way that loses no request:

    * on HTTP/2 with GOAWAY, in two steps, as soon as no stream is open. Some clients (httpx)
      give up on their open streams at the first GOAWAY, so these may end before; but
      `farewell` seconds later it comes in any case, and peers that heed it finish.
    * on HTTP/1.1 with `Connection: close` in the next response. A connection on which no
      further request comes is closed after `farewell` seconds.
    """

    protocol: Protocol

    def __init__(self, *args: Any, farewell: float) -> None:
        super().__init__(*args)
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle = True
        self._farewell = farewell
        self._farewell_timer: asyncio.TimerHandle | None = None
        self._draining = False
        self._parting: asyncio.Task[None] | None = None
        self._parted = False
        self._closing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        sock = self.writer.get_extra_info("socket")
        ssl_object = self.writer.get_extra_info("ssl_object")
        try:
            async with Tasks(self.loop) as task_group:
                self._task_group = task_group
                self.protocol = Protocol(
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
            if self._farewell_timer is not None:
                self._farewell_timer.cancel()
            if self._parting is not None:
                self._parting.cancel()
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
        """Close as soon as no request is in flight or on its way."""
        self._draining = True
        self._stop_idle_timer()
        self._farewell_timer = self.loop.call_later(self._farewell, self._part)
        if self._idle and hasattr(self, "protocol"):
            self._drain_idle()

    def _drain_idle(self) -> None:
        if self._parted:
            self._close_idle()
        elif self.protocol.says_farewell:
            self._part()

    def _part(self) -> None:
        if self._parting is None:
            self._parting = self.loop.create_task(self._say_farewell())

    async def _say_farewell(self) -> None:
        await self.protocol.say_farewell(self._farewell)
        self._parted = True
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
                self._drain_idle()
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
        if self._draining:
            return
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


def is_handshake_failure(context: dict[str, Any]) -> bool:
    """Whether an event loop's error report is about a peer that failed to speak TLS."""
    return isinstance(context.get("exception"), ssl.SSLError)
