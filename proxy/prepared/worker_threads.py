"""Work that would hold up other requests, done in threads beside the event loop.

In: a function, and by when it must be done. Out: what it returns, or EDGE504. A thread can't
be stopped from outside: what may take long calls the `Between` that it is given between two
pieces, which raises once nobody waits any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from proxy.errors import api_error
from proxy.request.pieces import Between

T = TypeVar("T")

LARGE: Final = 32 * 1024
"""Bytes of a body beyond which reading it (a microsecond a byte, at worst) would hold up the
other requests."""
LONGEST: Final = 30.0
"""Seconds that reading a body may take, waiting for a thread included; a request's own
deadline may come before."""
UNREAD: Final = "Reading its body took too long; nothing was sent to the database."
_PAUSE: Final = 0.0005
# Few, for each slows down the event loop.
_THREADS: Final = ThreadPoolExecutor(2, "aside")


class _Given(Exception):
    """Nobody waits for the work any more."""


async def aside(
    work: Callable[[Between], T], deadline: float | None = None, *, late: str = UNREAD
) -> T:
    """`work(between)`, done in a thread while others are served.

    `deadline` is in the event loop's time. Raises `ApiError` EDGE504 when it passes, or
    `LONGEST`, with `late` as its details; and what `work` raises.
    """
    loop = asyncio.get_running_loop()
    latest = loop.time() + LONGEST
    wanted = True

    def between() -> None:
        if not wanted:
            raise _Given
        # The event loop has its turn at once, not when the interpreter takes one away.
        time.sleep(_PAUSE)

    try:
        async with asyncio.timeout_at(latest if deadline is None else min(deadline, latest)):
            return await loop.run_in_executor(_THREADS, partial(work, between))
    except TimeoutError:
        raise api_error("EDGE504", details=late) from None
    finally:
        wanted = False
