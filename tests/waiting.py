"""Wait for a condition, not for time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


def eventually(holds: Callable[[], bool], *, seconds: float = 15.0) -> None:
    """Returns as soon as `holds` does. Raises AssertionError after `seconds`."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.02)


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 15.0) -> None:
    """Returns as soon as `condition` holds. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 -- no event tells of it
            await asyncio.sleep(0.02)
