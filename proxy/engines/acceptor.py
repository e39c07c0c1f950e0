"""Take in connections as fast as they come, however long the turns of the event loop are.

In: a listening socket. Out: calls of `connected`, once for each connection.

uvloop takes in one connection in a turn of its loop, asyncio's own loop all that wait. The one
keeps a busy server's new callers waiting, a second and more, while those that have a connection
are served: of callers that make one for a few requests, most. The other lets the first of
several workers on a socket have all connections that come together. Here one is taken in as
soon as it is there, and in a turn that was long as many more as there would have been turns.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from socket import AF_UNIX, IPPROTO_TCP, TCP_NODELAY, socket
from time import monotonic
from typing import Final

logger = logging.getLogger(__name__)

PACE: Final = 0.0005
"""Seconds of a turn for each connection beyond the first."""
MOST: Final = 16
"""Connections in one turn, so that taking them in does not make it much longer."""
_AGAIN: Final = 1.0
"""Seconds without new connections when the system has no means for more."""
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Accepts on `sock`, which listens and does not block, from `start` until `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket,
        connected: Callable[[socket], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._connected = connected
        self._clock = clock
        self._began: float | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Take in connections from now on."""
        self._pause = None
        self._loop.add_reader(self._sock, self._readable)

    def close(self) -> None:
        """Take in no more, and close the socket."""
        self._closed = True
        if self._pause is None:
            self._loop.remove_reader(self._sock)
        else:
            self._pause.cancel()
        self._sock.close()

    def _readable(self) -> None:
        if self._accept() and self._began is None:
            self._began = self._clock()
            self._loop.call_soon(self._catch_up)

    def _catch_up(self) -> None:
        """Called one turn later."""
        assert self._began is not None
        missed = int((self._clock() - self._began) / PACE)
        self._began = None
        for _ in range(min(missed, MOST - 1)):
            if self._closed or not self._accept():
                return

    def _accept(self) -> bool:
        """Whether there may be more."""
        try:
            connection, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            # Another error is about a connection that has gone already.
            if error.errno in _EXHAUSTED:
                self._rest(error)
                return False
            return True
        connection.setblocking(False)
        if connection.family != AF_UNIX:
            connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self._connected(connection)
        return True

    def _rest(self, error: OSError) -> None:
        if self._pause is None:
            logger.warning("No more connections can be taken in: %s", error.strerror)
            self._loop.remove_reader(self._sock)
            self._pause = self._loop.call_later(_AGAIN, self.start)
