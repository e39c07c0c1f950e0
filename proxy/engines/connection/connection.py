"""A connection of a client: whatever version of HTTP it speaks, its time limits, its end.

In: what the event loop tells of a socket. Out: requests to the application (`exchange`), and
bytes. The rules, which hold for HTTP/1.1 (`http1`) and HTTP/2 (`http2`) alike:

1. Bytes go to the one or the other: HTTP/2 by ALPN, by its preface, or by `Upgrade: h2c`.
2. One request is one task, and nothing else: no queue, no timer, no task beside it.
3. Whoever sends a malformed request is told so, and the log has a line on it. Nothing a
   client sends raises.
4. What is held of a client is bounded: half a head, `options.max_head`; requests ahead and
   bodies not taken yet, by `http1` and `http2`; responses, by the transport's limit: above it
   `paused` holds back the application, and reading, as what is read may have to be answered.
5. Where the client does nothing, one timer waits for it: for the first byte and between
   requests `idle_timeout`; for the rest of a head `HEAD`; for taking what fills the
   transport `idle_timeout`, anew whenever it has taken some; for its end, once it has taken
   all, `LINGER` (with TLS `idle_timeout`, as what is left can't be seen there). The TLS
   handshake is timed by the event loop, bodies and pieces of responses by the application.
6. A client that has gone is noticed at once: by the end of its bytes, or of the connection.
   Half a connection is no connection: who has stopped sending is taken to be gone.
7. Before the end what the client still sends is read and thrown away for a while: else the
   system's reset would wipe out the last answer before it is read.

Left out on purpose: WebSockets, which the application refuses (a library for them would take
over where `http1` sees the upgrade), server push, and priorities.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Final, cast

from proxy.engines.connection.exchange import Exchange, Piece, logger
from proxy.engines.connection.frames import PREFACE
from proxy.engines.connection.http1 import Http1
from proxy.engines.connection.http2 import Http2
from proxy.engines.connection.messages import Malformed, Request
from proxy.engines.model import EngineOptions
from proxy.http.asgi import AsgiApp

HEAD: Final = 30.0
"""Seconds from the first byte of a head to its last."""
LINGER: Final = 2.0
"""Seconds that the client has to close when the last bytes are out."""
MOST_AFTER: Final = 2**20
"""Bytes that are thrown away meanwhile; whoever sends more is cut off."""
QUIET: Final = 1.0
"""Seconds without another warning about clients."""
READ: Final = 64 * 1024
"""Bytes that are worked on before others have their turn."""


class Connections:
    """What the connections of a server have in common."""

    def __init__(self, app: AsgiApp, options: EngineOptions) -> None:
        self.app = app
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.open: set[Connection] = set()
        self.draining = False
        self.on_empty: Callable[[], object] = lambda: None
        """Called when the last one has closed."""
        self._quiet_until = -inf
        self._unsaid = 0

    def complain(self, about: str) -> None:
        """A line in the log on what a client did wrong: a warning, but no flood of them."""
        now = self.loop.time()
        if now < self._quiet_until:
            self._unsaid += 1
            logger.info("%s", about)
            return
        logger.warning("%s (and %d more since the last warning)", about, self._unsaid)
        self._quiet_until, self._unsaid = now + QUIET, 0


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self.app = connections.app
        self.options = connections.options
        self.loop = connections.loop
        self.running: set[Exchange] = set()
        self.blocked: OrderedDict[Exchange, None] = OrderedDict()
        self.paused = False
        self.protocol: Http1 | Http2 | None = None
        self.scheme = "http"
        self.client: tuple[str, int] | None = None
        self.address: tuple[str, int] | None = None
        self._transport: asyncio.Transport
        self._unsniffed = b""
        self._later = bytearray()
        self._reading = True
        self._ending = False
        self._after = 0
        self._deadline = inf
        self._stall = inf
        self._unsent = 0
        """Bytes that waited to be sent when `_stall` was set."""
        self._timer: asyncio.TimerHandle | None = None

    def __str__(self) -> str:
        return "a client" if self.client is None else self.client[0]

    @property
    def draining(self) -> bool:
        """Whether the server takes no further requests."""
        return self._connections.draining

    @property
    def farewell(self) -> float:
        """Seconds that requests on their way have to arrive when the server stops."""
        return min(self.options.farewell, self.options.drain_timeout)

    # --- the event loop's side ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.open.add(self)
        self.client = _address(transport.get_extra_info("peername"))
        self.address = _address(transport.get_extra_info("sockname"))
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self.idle()
        if tls is not None:
            self.scheme = "https"
            if tls.selected_alpn_protocol() == "h2":
                self._speak_http2()
        if self.draining:
            self.drain()

    def data_received(self, data: bytes) -> None:
        if self._later:
            self._later += data
        elif len(data) > READ:
            # Others' turn comes between the pieces.
            self._later += data[READ:]
            self._regulate()
            self.loop.call_soon(self._go_on)
            self._take(data[:READ])
        else:
            self._take(data)

    def _go_on(self) -> None:
        data = bytes(self._later[:READ])
        del self._later[:READ]
        if self._later:
            self.loop.call_soon(self._go_on)
        else:
            self._regulate()
        if data:
            self._take(data)

    def _take(self, data: bytes) -> None:
        protocol = self.protocol
        if self._ending:
            self._after += len(data)
            if self._after > MOST_AFTER:
                self.abort()
            return
        if protocol is None:
            data = self._unsniffed + data
            if data[: len(PREFACE)] == PREFACE[: len(data)] and len(data) < len(PREFACE):
                self._unsniffed = data
                return
            self._unsniffed = b""
            if data.startswith(PREFACE):
                protocol = self._speak_http2()
            else:
                protocol = self.protocol = Http1(self)
        protocol.receive(data)

    def _speak_http2(self) -> Http2:
        http2 = self.protocol = Http2(self)
        http2.begin()
        return http2

    def eof_received(self) -> bool:
        self._leave()
        self._await_end()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()
        self._later.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._connections.open.discard(self)
        if not self._connections.open:
            self._connections.on_empty()

    def _leave(self) -> None:
        self._ending = True
        if self.protocol is not None:
            self.protocol.lost()

    def pause_writing(self) -> None:
        self.paused = True
        self._await_taking()
        self._regulate()

    def resume_writing(self) -> None:
        self.paused = False
        if not self._ending:
            self._stall = inf
        self._regulate()
        self.wake()

    # --- the protocols' side --------------------------------------------------------------

    def write(self, data: Piece) -> None:
        """Hand bytes to the transport."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def wake(self) -> None:
        """Let the next of those that wait to write go on, if there is room."""
        while self.blocked and not self.paused:
            if self.protocol is not None and not self.protocol.has_room():
                return
            if self.blocked.popitem(last=False)[0].resume():
                return

    def read(self, wanted: bool) -> None:
        """Have the peer send on, or wait."""
        if wanted != self._reading:
            self._reading = wanted
            self._regulate()

    def _regulate(self) -> None:
        transport = self._transport
        reads = (self._reading or self._ending) and not self.paused and not self._later
        if transport.is_closing() or reads == transport.is_reading():
            return
        if reads:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def upgrade(self, request: Request, rest: bytes) -> None:
        """Go on in HTTP/2 (RFC 7540, 3.2), which answers the request that asked for it."""
        self.write(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
        )
        http2 = self._speak_http2()
        http2.adopt(request)
        http2.receive(rest)

    def refused(self, malformed: Malformed) -> None:
        """A line in the log about a request that is none."""
        self.complain(f"Refused a malformed request of {self}: {malformed}")

    def complain(self, about: str) -> None:
        """A line in the log about the client."""
        self._connections.complain(about)

    # --- time limits ----------------------------------------------------------------------

    def busy(self) -> None:
        """A response is awaited: of the server, not of the client."""
        self._deadline = inf

    def idle(self) -> None:
        """The client's next request is awaited."""
        if not self._ending:
            self._deadline = self.loop.time() + self.options.idle_timeout
            self._arm(self._deadline)

    def expect_head(self) -> None:
        """The rest of a head is awaited."""
        self._deadline = min(self._deadline, self.loop.time() + HEAD)
        self._arm(self._deadline)

    def _arm(self, due: float) -> None:
        timer = self._timer
        if timer is None or timer.when() > due:
            if timer is not None:
                timer.cancel()
            self._timer = self.loop.call_at(due, self._ring)

    def _await_taking(self) -> None:
        """The peer is to take some of what waits to be sent."""
        self._unsent = self._transport.get_write_buffer_size()
        self._stall = self.loop.time() + self.options.idle_timeout
        self._arm(self._stall)

    def _await_end(self) -> None:
        """The peer is to take what waits to be sent, and to close."""
        self._await_taking()
        # How much waits beneath TLS can't be seen.
        hidden = self.scheme == "https"
        self._deadline = self._stall if hidden else self.loop.time() + LINGER
        self._arm(self._deadline)

    def _is_taken(self, now: float) -> bool:
        """Whether the peer still takes what waits, be it slowly."""
        unsent = self._transport.get_write_buffer_size()
        if self._stall < inf and 0 < unsent < self._unsent:
            self._unsent = unsent
            self._stall = now + self.options.idle_timeout
        return unsent > 0 and now < self._stall < inf

    def _ring(self) -> None:
        self._timer = None
        now = self.loop.time()
        due = min(self._deadline, self._stall)
        if due > now:
            if due < inf:
                self._arm(due)
        elif self._is_taken(now):
            self._deadline = now + LINGER if self._ending else max(self._deadline, self._stall)
            self._arm(min(self._deadline, self._stall))
        elif self._ending or self._stall <= self._deadline:
            self.abort()
        elif self.protocol is None:
            self.close()
        else:
            self.protocol.expired()

    # --- the end --------------------------------------------------------------------------

    def drain(self) -> None:
        """The server stops: close as soon as no request is in flight or on its way."""
        self.loop.call_later(self.farewell, self._part)
        if self.protocol is not None:
            self.protocol.drain()

    def _part(self) -> None:
        if self not in self._connections.open:
            return
        if self.protocol is None:
            self.close()
        else:
            self.protocol.part()

    def end(self) -> None:
        """Close when the peer has read the last bytes."""
        if self._ending:
            return
        self._ending = True
        self._await_end()
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._regulate()
        else:
            self._transport.close()

    def close(self) -> None:
        """Close at once; nothing is under way."""
        self._ending = True
        self._await_end()
        self._transport.close()

    def abort(self) -> None:
        """Close without another word."""
        self._ending = True
        self._transport.abort()

    def cut_off(self) -> None:
        """Close though a response is awaited; the application learns of it."""
        self._leave()
        self._transport.abort()


def _address(name: object) -> tuple[str, int] | None:
    """A TCP address; None for a Unix socket's."""
    return (name[0], name[1]) if isinstance(name, tuple) else None
