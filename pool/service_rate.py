"""How fast a queue is being served, as far as that is known.

In: when the queue began and ceased to have someone in it, and each time one of them was
served. Out: a rate, or None. Only the time counts during which somebody waited: what a pool
serves while nobody waits says how often it is asked, not what it can do. The rate is that of
the last slices of such time, or of the very last one when that is better: it follows at once
when service becomes faster, and within seconds when it becomes slower. It is not told before
all slices are there: while a crowd arrives, taking it in is what the process is busy with, and
the first seconds say little about those that follow. Times are in seconds on one monotonic
clock.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_SLICE: Final = 1.0
_SLICES: Final = 5
_NEEDED_SERVED: Final = 5
_FORGET_AFTER: Final = 30.0


class ServiceRate:
    """The rate of one queue; it remembers five slices of a second, and for half a minute."""

    __slots__ = ("_last", "_served", "_since", "_slices", "_spent")

    def __init__(self) -> None:
        self._slices: deque[tuple[int, float]] = deque(maxlen=_SLICES)
        self._served = 0
        self._spent = 0.0
        self._since: float | None = None
        self._last = 0.0

    def begin(self, now: float) -> None:
        """Somebody waits, from now on."""
        if now - self._last > _FORGET_AFTER:
            self._slices.clear()
            self._served, self._spent = 0, 0.0
        self._since = now

    def end(self, now: float) -> None:
        """Nobody waits any more, or nobody is served for a reason that says nothing."""
        self._account(now)
        self._since = None

    def serve(self, now: float) -> None:
        """One of those who wait was served."""
        self._served += 1
        self._account(now)

    def per_second(self) -> float | None:
        """How many are served in a second, None when too little was seen."""
        if len(self._slices) < _SLICES:
            return None
        served = sum(served for served, _ in self._slices)
        if served < _NEEDED_SERVED:
            return None
        last = self._slices[-1]
        return max(served / sum(spent for _, spent in self._slices), last[0] / last[1])

    def _account(self, now: float) -> None:
        if self._since is None:
            return
        self._spent += now - self._since
        self._since = self._last = now
        if self._spent >= _SLICE:
            self._slices.append((self._served, self._spent))
            self._served, self._spent = 0, 0.0
