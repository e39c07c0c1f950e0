"""Serve an ASGI application in Hypercorn's frame, with connections of our own.

In: an ASGI application, a bound socket, an event that says stop. Out: nothing; it returns
when the last request in flight is done or the drain timeout has passed.

Hypercorn's are the configuration, TLS with its ciphers and ALPN, and the whole admin server.
What is said on the main socket is `proxy.engines.connection`'s: Hypercorn ends connections
for what one of many callers behind a proxy did wrong, and takes twice as long.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from functools import partial
from socket import socket
from typing import Any, Final

from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config, Sockets
from hypercorn.utils import wrap_app

from proxy.engines.acceptor import Acceptor
from proxy.engines.connection.connection import Connection, Connections
from proxy.engines.model import EngineOptions
from proxy.http.asgi import AsgiApp

logger = logging.getLogger(__name__)

BACKLOG: Final = 2048
CLOSE_TIMEOUT: Final = 5.0
"""Seconds for a TLS handshake, and for requests that were cut off to end."""


async def serve(
    app: AsgiApp, sock: socket, options: EngineOptions, stop: asyncio.Event
) -> None:
    """Accept connections on `sock` until `stop` is set, then finish what is in flight.

    `sock` is bound; it starts to listen here. Raises OSError when it can't.
    """
    await _Server(app, options).run(sock, stop)


async def serve_admin(
    app: Any, sock: socket, options: EngineOptions, stop: asyncio.Event
) -> None:
    """As `serve`, with Hypercorn as it is, for an application with few callers."""
    config = _config(options)
    sock.listen(BACKLOG)
    serving = asyncio.create_task(
        worker_serve(
            wrap_app(app, config.wsgi_max_body_size, "asgi"),
            config,
            sockets=Sockets([], [sock], []),
            shutdown_trigger=stop.wait,
        )
    )
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    # From Python 3.12 on Hypercorn waits without limit for connections to end.
    await asyncio.wait((serving,), timeout=CLOSE_TIMEOUT)
    if serving.done():
        serving.result()
    serving.cancel()


def _config(options: EngineOptions) -> Config:
    config = Config()
    config.keep_alive_timeout = options.idle_timeout
    config.include_server_header = False
    config.errorlog = logger
    config.ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20"
    if options.cert is not None and options.key is not None:
        config.certfile, config.keyfile = str(options.cert), str(options.key)
    return config


class _Server:
    """One listening socket and the connections it accepted."""

    def __init__(self, app: AsgiApp, options: EngineOptions) -> None:
        self._options = options
        self._context = _config(options).create_ssl_context()
        self._connections = Connections(app, options)
        self._arriving: set[asyncio.Task[None]] = set()

    async def run(self, sock: socket, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()

        def connected(connection: socket) -> None:
            task = loop.create_task(self._open(connection))
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

    async def _open(self, connection: socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                partial(Connection, self._connections),
                connection,
                ssl=self._context,
                ssl_handshake_timeout=None if self._context is None else CLOSE_TIMEOUT,
            )
        except OSError as error:
            # Gone already, or it does not speak TLS as we do (ssl.SSLError is one).
            logger.debug("A connection was not opened: %r", error)
            connection.close()

    async def _drain(self) -> None:
        connections = self._connections
        connections.draining = True
        empty = asyncio.Event()
        connections.on_empty = empty.set
        for connection in list(connections.open):
            connection.drain()
        try:
            async with asyncio.timeout(self._options.drain_timeout):
                while self._arriving or connections.open:
                    if self._arriving:
                        await asyncio.wait(list(self._arriving))
                    else:
                        empty.clear()
                        await empty.wait()
        except TimeoutError:
            await self._cut_off()

    async def _cut_off(self) -> None:
        left = list(self._connections.open)
        logger.warning("Cut off %d connections after the drain timeout", len(left))
        tasks = [exchange.task for each in left for exchange in each.running]
        for connection in left:
            connection.cut_off()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)


def is_handshake_failure(context: dict[str, Any]) -> bool:
    """Whether an event loop's error report is about a peer that failed to speak TLS."""
    return isinstance(context.get("exception"), ssl.SSLError)
