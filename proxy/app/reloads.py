"""When to reload: wishes come in bursts, reloads must not.

In: wishes (`ask`), from notifications, signals and the listener, as often as they like.
Out: calls of `run` with all that was wished for since the last one, one at a time. The
first wish is followed at once; the wishes of a burst that follow it are met together, when
the burst is over. What failed is tried again with back-off, and at once when asked anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from pool.backoff import pauses

logger = logging.getLogger(__name__)

Part = Literal["config", "schema"]
"""What can be reloaded."""

BOTH: Final[frozenset[Part]] = frozenset(("config", "schema"))
WINDOW: Final = 0.1
"""Seconds of quiet that end a burst (PostgREST docs, "Schema Cache", "Debouncing")."""
LONGEST_BURST: Final = 0.5
"""Seconds after which a burst that does not end is taken to have ended."""
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 32.0

_PAYLOADS: Final[dict[str, frozenset[Part]]] = {
    "": BOTH,
    "reload schema": frozenset(("schema",)),
    "reload config": frozenset(("config",)),
}


def parts_of(payload: str) -> frozenset[Part]:
    """What a notification's payload asks for; nothing when it is none of ours."""
    return _PAYLOADS.get(payload, frozenset())


class Reloads:
    """Calls `run` with what is wished for; `run` tells whether it worked out."""

    def __init__(self, run: Callable[[frozenset[Part]], Awaitable[bool]]) -> None:
        self._run = run
        self._wanted: frozenset[Part] = frozenset()
        self._asked = asyncio.Event()
        self._wishes = 0
        self._worker: asyncio.Task[None] | None = None

    def ask(self, parts: frozenset[Part]) -> None:
        """Wish for `parts` to be reloaded."""
        if parts:
            self._wanted |= parts
            self._wishes += 1
            self._asked.set()

    def start(self) -> None:
        """Begin to meet wishes; those from before included."""
        self._worker = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop, in the middle of a reload if need be."""
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker

    async def _work(self) -> None:
        waits = pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            await self._asked.wait()
            while self._wanted:
                self._asked.clear()
                wanted, self._wanted = self._wanted, frozenset()
                if await self._run_safely(wanted):
                    waits = pauses(_FIRST_PAUSE, _LONGEST_PAUSE)
                    await self._burst_over()
                else:
                    self._wanted |= wanted
                    await self._pause_or_wish(next(waits))

    async def _run_safely(self, wanted: frozenset[Part]) -> bool:
        try:
            return await self._run(wanted)
        except Exception:
            # Nobody foresaw it, so that trying again won't help; what is wished for next may.
            logger.exception("A reload broke off")
            return True

    async def _burst_over(self) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + LONGEST_BURST
        while loop.time() < ends:
            before = self._wishes
            await asyncio.sleep(WINDOW)
            if self._wishes == before:
                return

    async def _pause_or_wish(self, seconds: float) -> None:
        # A wish may mean that what went wrong was put right, but a flood of them doesn't.
        await asyncio.sleep(WINDOW)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds - WINDOW):
                await self._asked.wait()
