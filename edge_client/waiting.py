"""Waiting for no longer than a time limit, in any event loop.

In: something to await and seconds. Out: its result, or TimeoutError with the work
cancelled.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable
from typing import Final, TypeVar

T = TypeVar("T")

IN_WEBASSEMBLY: Final = sys.platform == "emscripten"
"""Whether this is Pyodide: no sockets, no threads, and an event loop of its own."""


async def within(seconds: float, work: Awaitable[T]) -> T:
    """The result of `work`; raises TimeoutError when it takes longer than `seconds`."""
    # Both are imported late because they take a while; httpx brings anyio.
    if IN_WEBASSEMBLY:
        # anyio may set its timer anew for an instant that is past, which Pyodide's event
        # loop refuses; there is no other loop there to care for.
        from asyncio import wait_for

        return await wait_for(work, seconds)
    from anyio import fail_after

    with fail_after(seconds):
        return await work
