"""A request and its response as an application sees them: ASGI 3's scope, receive and send.

In: the request, its body piece by piece, and the news that nobody waits any more. Out: the
response to whichever version of HTTP it came by, which the subclasses write.

* `receive` gives what of the body has arrived; room for more is given back only then.
* `receive` says `http.disconnect` as soon as the peer is gone, or once the response is out.
* `send` returns when what it was given is handed to the transport, so that the application
  makes the next piece no sooner than the peer takes this one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Any, Final, Protocol

from proxy.errors import api_error
from proxy.http.asgi import AsgiApp, Message, Scope
from proxy.response.errors import error_response

logger = logging.getLogger(__name__)

FAILURE: Final = error_response(api_error("PGRSTX00"))


Piece = bytes | memoryview
"""Some of a body."""


class Peer(Protocol):
    """What an exchange needs of its connection."""

    app: AsgiApp
    loop: asyncio.AbstractEventLoop
    running: set[Any]
    """The exchanges whose application has not returned."""
    blocked: OrderedDict[Any, None]
    """Those that wait until more can be written, in their order, each once."""
    paused: bool
    """Whether the transport holds enough already."""

    def wake(self) -> None:
        """Let the next of `blocked` go on, if there is room."""


class Exchange:
    """One request; `complete` once all of it is here, `ended` once the response is out."""

    __slots__ = (
        "_begun",
        "_pieces",
        "_reader",
        "_start",
        "_told",
        "_writer",
        "complete",
        "ended",
        "gone",
        "held",
        "peer",
        "scope",
        "task",
    )

    def __init__(self, peer: Peer, scope: Scope, *, complete: bool) -> None:
        self.peer = peer
        self.scope = scope
        self.complete = complete
        self.ended = False
        self.gone = False
        """Whether nobody waits for the response any more."""
        self.held = 0
        """Bytes of the body that the application has not taken."""
        self._pieces: list[bytes] = []
        self._told = False
        """Whether the application knows that the body is complete, or of the WebSocket."""
        self._start: Message | None = None
        self._begun = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        peer.running.add(self)
        self.task = peer.loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            await self.peer.app(self.scope, self.receive, self.send)
        except Exception:
            logger.exception("Error in the application")
        finally:
            self.peer.running.discard(self)
            if not self.ended and not self.gone:
                self._fail()

    def _fail(self) -> None:
        """The application has returned without a whole response."""
        if self._begun or self.peer.paused:
            self.give_up()
        else:
            self._answer_failure()

    def _answer_failure(self) -> None:
        headers = list(FAILURE.headers)
        self._start = {"status": FAILURE.status, "headers": headers}
        if self._put(FAILURE.body, more=False) is not None:
            self.give_up()

    # --- the request ----------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """More of the body has arrived."""
        self._pieces.append(data)
        self.held += len(data)
        _let_go(self._reader)

    def finish(self) -> None:
        """The request is complete."""
        self.complete = True
        _let_go(self._reader)

    def leave(self) -> None:
        """Nobody waits for the response any more."""
        self.gone = True
        _let_go(self._reader)
        _let_go(self._writer)

    async def receive(self) -> Message:
        """The next of ASGI's events."""
        self._asked()
        while True:
            if self._pieces and not self.gone:
                data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
                self._pieces = []
                self._told = self.complete
                size, self.held = self.held, 0
                self._took(size)
                return {"type": "http.request", "body": data, "more_body": not self.complete}
            if self.gone or self.ended:
                return {"type": "http.disconnect"}
            if self.complete and not self._told:
                self._told = True
                if self.scope["type"] == "websocket":
                    return {"type": "websocket.connect"}
                return {"type": "http.request", "body": b"", "more_body": False}
            waiter = self._reader = self.peer.loop.create_future()
            try:
                await waiter
            finally:
                if self._reader is waiter:
                    self._reader = None

    def _asked(self) -> None:
        """The application wants the body."""

    def _took(self, size: int) -> None:
        """The application has taken so many bytes."""

    # --- the response ---------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """Take one of ASGI's events; returns when the next one may come."""
        if self.gone or self.ended:
            return
        kind = message["type"]
        if kind == "http.response.start":
            self._start = message
            return
        if kind == "http.response.body":
            body, more = message.get("body", b""), message.get("more_body", False)
        elif kind == "websocket.close":
            # Refused before it was one, which is all there is to say over HTTP.
            self._start = {"status": 403, "headers": [(b"content-length", b"0")]}
            body, more = b"", False
        else:
            raise ValueError(f"unsupported ASGI message {kind!r}")
        rest: Piece | None = self._put(body, more=more)
        first = False
        while rest is not None:
            try:
                if not await self._room(first):
                    return
                before, rest = rest, self._put(rest, more=more)
                # Another one may have taken the room meanwhile, whose turn it was not.
                first = rest is not None and len(rest) == len(before)
            finally:
                # However this turn ended, others may have theirs.
                self.peer.wake()

    async def _room(self, first: bool) -> bool:
        """Wait until more may be written; False when nobody waits for it any more. `first`:
        before the others that wait."""
        waiter = self._writer = self.peer.loop.create_future()
        self._queue(first)
        try:
            await waiter
        finally:
            self._writer = None
            self.peer.blocked.pop(self, None)
        return not self.gone

    def _queue(self, first: bool) -> None:
        self.peer.blocked[self] = None
        if first:
            self.peer.blocked.move_to_end(self, last=False)

    def resume(self) -> bool:
        """Try again to write; False when nobody does."""
        waiter = self._writer
        if waiter is None or waiter.done():
            return False
        waiter.set_result(None)
        return True

    def _put(self, body: Piece, *, more: bool) -> Piece | None:
        """Write the head, unless it is out, and `body`; what there was no room for, or None."""
        raise NotImplementedError

    def give_up(self) -> None:
        """End the response half-way, so that the peer knows."""
        raise NotImplementedError


def _let_go(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
