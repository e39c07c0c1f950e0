"""The bounded queue of those who wait for a session.

In: waiters, in the order they came. Out: the one to serve next, and how long a newcomer would
have to wait. First come, first served; those in the background are served when nobody else
waits. A waiter is in the queue from `add` until it is popped or discarded, and leaves nothing
behind. Times are in seconds on one monotonic clock.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pool.service_rate import ServiceRate

if TYPE_CHECKING:
    from pool.sessions import Member

_DOUBT: Final = 1.5
"""How many times too long an estimated wait must be before it is believed."""


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits since `since`, until `until` at the latest."""

    future: asyncio.Future[Member]
    since: float
    until: float
    background: bool = False


class Queue:
    """At most `limit` waiters."""

    __slots__ = ("_first", "_later", "_rate", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._first: OrderedDict[Waiter, None] = OrderedDict()
        self._later: OrderedDict[Waiter, None] = OrderedDict()
        self._rate = ServiceRate()

    def __len__(self) -> int:
        return len(self._first) + len(self._later)

    @property
    def background(self) -> int:
        """How many of the waiters are in the background."""
        return len(self._later)

    def oldest(self) -> float | None:
        """Since when the longest wait lasts, None when nobody waits."""
        heads = [next(iter(line)).since for line in (self._first, self._later) if line]
        return min(heads, default=None)

    def add(self, waiter: Waiter, now: float) -> None:
        """Queue up last."""
        if not self:
            self._rate.begin(now)
        (self._later if waiter.background else self._first)[waiter] = None

    def put_first(self, waiter: Waiter, now: float) -> None:
        """Queue up first: what was given to the waiter was of no use."""
        self.add(waiter, now)
        line = self._later if waiter.background else self._first
        line.move_to_end(waiter, last=False)

    def pop(self, now: float) -> Waiter | None:
        """The one to serve now; those who have gone in this very moment are passed over."""
        while self:
            line = self._first or self._later
            waiter, _ = line.popitem(last=False)
            if waiter.future.done():
                self._note_left(now)
                continue
            self._rate.serve(now)
            self._note_left(now)
            return waiter
        return None

    def discard(self, waiter: Waiter, now: float) -> bool:
        """Take out a waiter that goes unserved; False when it was not in the queue."""
        line = self._later if waiter.background else self._first
        if waiter not in line:
            return False
        del line[waiter]
        self._note_left(now)
        return True

    def make_room(self, now: float) -> Waiter | None:
        """Take out the youngest of the background, if there is one."""
        if not self._later:
            return None
        waiter, _ = self._later.popitem()
        self._note_left(now)
        return waiter

    def drain(self, now: float) -> Iterator[Waiter]:
        """Take everybody out, to be told that nobody will be served."""
        for waiter in (*self._first, *self._later):
            if self.discard(waiter, now) and not waiter.future.done():
                yield waiter

    def stand_still(self, now: float) -> None:
        """Nobody is served for a while, for a reason that says nothing about the rate."""
        self._rate.end(now)

    def go_on(self, now: float) -> None:
        """The end of `stand_still`."""
        if self:
            self._rate.begin(now)

    def estimate(self, *, background: bool = False) -> float | None:
        """Seconds until a newcomer is served, None when that can't be told."""
        rate = self._rate.per_second()
        ahead = len(self) if background else len(self._first)
        return None if rate is None else (ahead + 1) / rate

    def hopeless(self, now: float) -> Iterator[tuple[Waiter, float]]:
        """Those who will not be served in time, with the wait that is expected for them."""
        rate = self._rate.per_second()
        if rate is None:
            return
        ahead = 0
        for waiter in (*self._first, *self._later):
            expected = (ahead + 1) / rate
            if too_long(expected, waiter.until - now):
                yield waiter, expected
            else:
                ahead += 1

    def _note_left(self, now: float) -> None:
        if not self:
            self._rate.end(now)


def too_long(expected: float, allowed: float) -> bool:
    """Whether a wait of `expected` seconds is certain enough to exceed the allowed ones."""
    return expected > _DOUBT * allowed
