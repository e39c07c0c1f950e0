"""When to look whether the schema has changed: a request that fails may be the first to know.

In: wishes to look, one from each request that names what the schema cache doesn't know.
Out: now and then a call of `look`, which all who wish for it meanwhile share. Between two
looks lie `interval` seconds at least, and ten times as long as the last one took, so that
no flood of requests makes the database spend more than a tenth of its time on them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

PATIENCE: Final = 5.0
"""Seconds a request waits for a look at most; the look itself goes on."""
_SHARE: Final = 10


class Rechecks:
    """Shares and spaces calls of `look`, which must not raise."""

    def __init__(self, look: Callable[[], Awaitable[None]]) -> None:
        self._look = look
        self._looking: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")
        self._took = 0.0

    def put_off(self) -> None:
        """The schema has been read just now: there is nothing new to see for a while."""
        self._looked_at = time.monotonic()

    def begin(self, interval: float = 0.0) -> asyncio.Task[None] | None:
        """The look under way, or one that begins now; None when it is too early for that."""
        if self._looking is None:
            pause = max(interval, _SHARE * self._took)
            if time.monotonic() - self._looked_at >= pause:
                self._looking = asyncio.create_task(self._look_once())
        return self._looking

    async def look(self, interval: float) -> None:
        """Look, or wait for the look under way, or return at once when it is too early."""
        looking = self.begin(interval)
        if looking is not None:
            # A caller that is cancelled or out of patience leaves the look to the others.
            await asyncio.wait((looking,), timeout=PATIENCE)

    async def close(self) -> None:
        """End a look under way."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    async def _look_once(self) -> None:
        began = time.monotonic()
        try:
            await self._look()
        finally:
            self._looked_at = time.monotonic()
            self._took = self._looked_at - began
            self._looking = None
