"""Whether the client still waits: the news that it has left, while its answer is made or sent.

Watching for that takes a task, so it only begins after `WATCH_DELAY`: a request that is done
sooner never pays for it. What the client sends meanwhile is dropped.
"""

from __future__ import annotations

import asyncio
from typing import Final

from proxy.http.asgi import Receive
from proxy.http.time_limits import waits

WATCH_DELAY: Final = 0.05
"""Seconds until a request counts as slow and its client's departure is watched for.

Beyond what requests take at a server that is just busy: at 10 ms, with 64 at a time, watching
was a tenth of the work."""


class DisconnectWatch:
    """Cancels the current task when `http.disconnect` arrives, from `WATCH_DELAY` on."""

    __slots__ = ("_receive", "_waits", "_watcher", "client_gone", "task")

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        assert task is not None  # ASGI servers run applications in tasks
        self.task = task
        self.client_gone = False
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self._waits = waits(task.get_loop(), WATCH_DELAY)
        self._waits.begin(self)

    def late(self) -> None:
        """The request has become a slow one."""
        self._watcher = self.task.get_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_gone = True
        self.task.cancel()

    def stop(self) -> None:
        self._waits.end(self)
        if self._watcher is not None:
            self._watcher.cancel()
            # A cancelled task keeps the traceback, which leads back here: kept here, each
            # slow request would be left to the garbage collector.
            self._watcher = None
