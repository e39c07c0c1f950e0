"""Serve an ASGI application with Granian, inside the running event loop.

In: an ASGI application, a bound socket, an event that says stop. Out: nothing; it returns
when Granian has finished what was in flight, or the drain timeout has passed.

Granian is an optional extra; importing this module without it raises ImportError.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from socket import AF_UNIX, socket
from typing import Any, Final

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server

from proxy.engines.model import EngineOptions
from proxy.http.asgi import AsgiApp, Receive, Scope, Send
from proxy.http.data_plane import CHUNK

logger = logging.getLogger(__name__)

BACKLOG: Final = 2048
MOST_CONNECTIONS: Final = 2**20
"""Connections that Granian accepts at a time: its own default is 128, and whoever comes later
waits for one of them to end."""
STREAMS: Final = 100
"""Requests at a time on an HTTP/2 connection, the fewest that RFC 9113, 6.5.2 recommends.
Those that the event loop has not come to yet, and small answers that nobody takes, are in
Granian's memory, where nothing else bounds them."""
CANCEL_TIMEOUT: Final = 5.0
"""Seconds that requests which were cut off have to let go of what they hold."""
QUICK_HANDOVER: Final = 0.00002
"""Seconds that Granian's thread waits for the interpreter when others are to be served soon.

It brings every request into the event loop, one after the other. A loop that is never at rest
gives way when it must, by Python's own rule after 5 ms, and an app that is asked now and then
waits with the requests of one that never stops. Giving way at once costs up to a sixth of the
requests a second, so that it is not for a single app.
"""


async def serve(
    app: AsgiApp, sock: socket, options: EngineOptions, stop: asyncio.Event
) -> None:
    """Accept connections on `sock` until `stop` is set, then finish what is in flight.

    `sock` is bound; it starts to listen here. Raises OSError when it can't.
    """
    with _handing_over(QUICK_HANDOVER if options.neighbours else sys.getswitchinterval()):
        await _serve(app, sock, options, stop)


async def _serve(
    app: AsgiApp, sock: socket, options: EngineOptions, stop: asyncio.Event
) -> None:
    sock.listen(BACKLOG)
    running: set[asyncio.Task[Any]] = set()
    server = _Server(
        sock,
        target=_noting(app, running),
        interface=Interfaces.ASGINL,
        http=HTTPModes.auto,
        websockets=False,
        backlog=BACKLOG,
        backpressure=MOST_CONNECTIONS,
        log_enabled=False,
        http1_settings=HTTP1Settings(
            header_read_timeout=int(options.idle_timeout * 1000),
            max_buffer_size=max(options.max_head, 64 * 1024),
        ),
        http2_settings=HTTP2Settings(
            max_concurrent_streams=min(options.max_streams, STREAMS),
            max_headers_size=options.max_head,
            max_send_buffer_size=CHUNK,
        ),
        ssl_cert=options.cert,
        ssl_key=options.key,
        ssl_protocol_min=SSLProtocols.tls12,
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.signal_handler_interrupt()  # type: ignore[no-untyped-call]
    # Granian listens on a duplicate: as long as this one is open, connections are let in that
    # nobody accepts any more.
    sock.close()
    # Never cancelled: Granian takes it ill when it ends later.
    await asyncio.wait((serving,), timeout=options.drain_timeout)
    if not serving.done():
        logger.warning("Cut off what was in flight after the drain timeout")
        for task in running:
            task.cancel()
        await asyncio.wait((serving, *running), timeout=CANCEL_TIMEOUT)
    if serving.done():
        serving.result()


@contextmanager
def _handing_over(seconds: float) -> Iterator[None]:
    """Have a thread that asks for the interpreter get it after `seconds`."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(seconds)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _noting(app: AsgiApp, running: set[asyncio.Task[Any]]) -> AsgiApp:
    """`app`, which keeps the tasks of its requests in `running`."""

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None  # Granian runs applications in tasks
        running.add(task)
        try:
            await app(scope, receive, send)
        finally:
            running.discard(task)

    return noting


class _Server(Server):
    """Granian's embedded server on a socket that is bound already."""

    def __init__(self, sock: socket, **settings: Any) -> None:
        super().__init__(**settings)
        self._bound = sock

    def _init_shared_socket(self) -> None:
        # Granian closes what it is given; the socket stays its owner's.
        descriptor = os.dup(self._bound.fileno())
        over_unix = self._bound.family == AF_UNIX
        # Its constructor is missing from the type stubs.
        holder: Any = SocketHolder(descriptor, over_unix, BACKLOG)  # type: ignore[call-arg]
        self._shd, self._sfd, self._ssp = holder, holder.get_fd(), None
