"""What every request that waits costs the engine in memory, kept small.

In: Hypercorn's requests for tasks, queues and events. Out: the same with less inside. With
asyncio's own, each request holds a queue and three events, which is six deques of half a
kilobyte that are empty or hold one item; these make lists when something must wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.typing import Event

logger = logging.getLogger(__name__)

Message = Any

UNREAD: Final = 32 * 1024
"""Bytes of a body that may wait for the application to read them."""
_Waiters = list["asyncio.Future[None]"]


class _Waiting:
    """Those who wait for something to change."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: _Waiters | None = None

    async def _wait_for_change(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            self._forget(waiter)
            raise

    def _forget(self, waiter: asyncio.Future[None]) -> None:
        if self._waiters is not None and waiter in self._waiters:
            self._waiters.remove(waiter)

    def _tell(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)


class LeanEvent(_Waiting):
    """An event as Hypercorn wants it; made before there is an event loop, if need be."""

    __slots__ = ("_is_set",)

    def __init__(self) -> None:
        super().__init__()
        self._is_set = False

    async def wait(self) -> None:
        """Returns once it is set, even if it is cleared at once."""
        if not self._is_set:
            await self._wait_for_change()

    async def set(self) -> None:
        """Lets everybody go who waits."""
        self.now()

    def now(self) -> None:
        """`set`, at once."""
        self._is_set = True
        self._tell()

    async def clear(self) -> None:
        """Makes those wait who come from now on."""
        self._is_set = False

    def is_set(self) -> bool:
        """Whether nobody has to wait."""
        return self._is_set


class Mailbox(_Waiting):
    """The messages to an application. While more than `UNREAD` bytes of a body wait, so does
    who brings more; unless `taken` is there, which is told of bytes that left and so can have
    the peer wait. `asked` is told that the application wants a body that has not come."""

    __slots__ = ("_bytes", "_closed", "_messages", "asked", "taken")

    def __init__(self) -> None:
        super().__init__()
        self._messages: list[Message] = []
        self._bytes = 0
        self._closed = False
        self.taken: Callable[[int], None] | None = None
        self.asked: Callable[[], Awaitable[None]] | None = None

    async def put(self, message: Message) -> None:
        """Adds a message; returns once there is room for the next."""
        size = _size(message)
        self._messages.append(message)
        self._bytes += size
        self._tell()
        if self._closed:
            self._leave(self._bytes)
        if not size or self.taken is not None:
            return
        while self._bytes > UNREAD and not self._closed:
            await self._wait_for_change()

    async def get(self) -> Message:
        """The next message, once there is one. Of several who wait any one gets it."""
        while not self._messages:
            if self.asked is not None:
                asked, self.asked = self.asked, None
                await asked()
                continue
            await self._wait_for_change()
        message = self._messages.pop(0)
        self._leave(_size(message))
        return message

    def close(self) -> None:
        """Nobody reads on."""
        self._closed = True
        self._leave(self._bytes)

    def _leave(self, count: int) -> None:
        if self._closed:
            self._messages.clear()
        if count:
            self._bytes -= count
            if self.taken is not None:
                self.taken(count)
            self._tell()


def _size(message: Message) -> int:
    return len(message.get("body", b"")) if isinstance(message, dict) else 0


class Context(WorkerContext):
    """Hypercorn's, with lean events."""

    event_class: type[Event] = LeanEvent


class Tasks(TaskGroup):
    """The tasks of a connection; applications are called as they are, without the ways out
    of the event loop that Hypercorn adds."""

    async def spawn_app(
        self,
        app: Any,
        config: Any,
        scope: Any,
        send: Callable[[Any], Awaitable[None]],
    ) -> Callable[[Message], Awaitable[None]]:
        mailbox = Mailbox()
        self.spawn(_run_app, app, scope, mailbox, send)
        return mailbox.put


async def _run_app(
    app: Any,
    scope: Any,
    mailbox: Mailbox,
    send: Callable[[Any], Awaitable[None]],
) -> None:
    try:
        await app(scope, mailbox.get, send)
    except Exception:
        logger.exception("Error in the application")
    finally:
        mailbox.close()
        # Tells Hypercorn that nothing more is to come.
        await send(None)
