"""Wait for a condition, not for time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


def eventually(holds: Callable[[], object], *, seconds: float = 20.0) -> None:
    """Returns as soon as `holds` does. Raises AssertionError after `seconds`."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.01)


async def until(
    holds: Callable[[], Awaitable[object] | object], *, seconds: float = 20.0
) -> None:
    """`eventually`, for what happens beside a loop that goes on; `holds` may be asynchronous.
    Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await _value(holds()):  # noqa: ASYNC110 -- no event tells of it
            await asyncio.sleep(0.005)


async def _value(found: Awaitable[object] | object) -> object:
    return await found if inspect.isawaitable(found) else found
