"""What every request that waits costs the engine in memory, kept small.

In: Hypercorn's requests for tasks, queues and events. Out: the same with less inside. With
asyncio's own, each request holds a queue and three events, which is six deques of half a
kilobyte that are empty or hold one item; these make lists when something must wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.typing import Event

logger = logging.getLogger(__name__)

Message = Any
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
        self._is_set = True
        self._tell()

    async def clear(self) -> None:
        """Makes those wait who come from now on."""
        self._is_set = False

    def is_set(self) -> bool:
        """Whether nobody has to wait."""
        return self._is_set


class Mailbox(_Waiting):
    """The messages to an application: a queue without a limit."""

    __slots__ = ("_messages",)

    def __init__(self) -> None:
        super().__init__()
        self._messages: list[Message] = []

    async def put(self, message: Message) -> None:
        """Adds a message."""
        self._messages.append(message)
        self._tell()

    async def get(self) -> Message:
        """The next message, once there is one. Of several who wait any one gets it."""
        while not self._messages:
            await self._wait_for_change()
        return self._messages.pop(0)


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
        self.spawn(_run_app, app, scope, mailbox.get, send)
        return mailbox.put


async def _run_app(
    app: Any,
    scope: Any,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    try:
        await app(scope, receive, send)
    except Exception:
        logger.exception("Error in the application")
    finally:
        # Tells Hypercorn that nothing more is to come.
        await send(None)
