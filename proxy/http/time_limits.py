"""Time limits for what nearly always ends in time: one timer for all waits of a length.

A timer of its own for each wait costs more than the wait. Those of one length end in the
order they began, so that one timer, set for the oldest that is left, serves them all; it
rings no later than timers of their own would.
"""

from __future__ import annotations

import asyncio
import sys
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Protocol

STALLED: Final = 1.0
"""Seconds that a wait has to last before it is ended for there are too many."""
_RESOLUTION: Final = 0.001
"""Seconds; event loops tell the time no more exactly than that."""


class Waiter(Protocol):
    """Whoever waits."""

    def late(self) -> None:
        """It has waited for as long as it may. Must not raise."""


class Waits:
    """Those that wait for at most `seconds`, in the event loop `loop`. Of more than `most` at
    a time those are late that have waited longest, if that is for `STALLED` seconds."""

    __slots__ = ("_due", "_loop", "_most", "_seconds", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, most: int = sys.maxsize
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._most = most
        self._due: dict[Waiter, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, waiter: Waiter) -> None:
        """Tell `waiter` when it is late, unless its wait is ended before."""
        now = self._loop.time()
        self._due[waiter] = now + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._ring)
        if len(self._due) > self._most:
            self._part(now - STALLED)

    def _part(self, since: float) -> None:
        """End those too many that have waited since then."""
        while len(self._due) > self._most:
            oldest, due = next(iter(self._due.items()))
            if due - self._seconds > since:
                return
            del self._due[oldest]
            oldest.late()

    def end(self, waiter: Waiter) -> None:
        """The wait is over; nothing happens if it was before."""
        self._due.pop(waiter, None)

    def _ring(self) -> None:
        self._timer = None
        latest = self._loop.time() + _RESOLUTION
        while self._due:
            waiter, due = next(iter(self._due.items()))
            if due > latest:
                self._timer = self._loop.call_at(due, self._ring)
                return
            del self._due[waiter]
            waiter.late()


@lru_cache(maxsize=64)
def waits(loop: asyncio.AbstractEventLoop, seconds: float, most: int = sys.maxsize) -> Waits:
    """The waits of `seconds` in `loop`, `most` at a time."""
    return Waits(loop, seconds, most)


class Limit:
    """`with Limit(seconds):`, as `async with asyncio.timeout(seconds)`: what takes longer is
    cancelled, and the block raises TimeoutError. For lengths that many have in common.
    `most` as in `Waits`."""

    __slots__ = ("_before", "_late", "_task", "_waits")

    def __init__(self, seconds: float, most: int = sys.maxsize) -> None:
        task: asyncio.Task[Any] | None = asyncio.current_task()
        assert task is not None  # as asyncio.timeout: of use in tasks only
        self._task = task
        self._waits = waits(task.get_loop(), seconds, most)
        self._before = task.cancelling()
        self._late = False

    def __enter__(self) -> Limit:
        self._waits.begin(self)
        return self

    def restart(self) -> None:
        """The time begins anew."""
        self._waits.end(self)
        self._waits.begin(self)

    def late(self) -> None:
        self._late = True
        self._task.cancel()

    def expire(self) -> None:
        """The time is up now."""
        if not self._late:
            self._waits.end(self)
            self.late()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._waits.end(self)
        if not self._late:
            return
        if self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error
