"""What a pool tells of itself: the numbers of a moment, and what they are gathered in.

In: what happens in a pool, as it happens. Out: a `PoolStats`. Waiting times are kept as counts
per size, for six slices of ten seconds, so that memory is the same however many there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

_SLICE: Final = 10.0
_SLICES: Final = 6
_SHORTEST: Final = 1e-4
_PER_OCTAVE: Final = 4
_SIZES: Final = 21 * _PER_OCTAVE
"""Up to 0.1 ms times 2 to the 21st: 200 seconds."""

Breaker = Literal["closed", "waiting", "open"]


@dataclass(slots=True)
class Counters:
    """What is counted since the start.

    `transactions` begun. Of the callers: `sheds`, told at once that the pool is overloaded;
    `timeouts`, waited in vain; `cancelled_waiting` and `cancelled_running`, went away;
    `retries`, reads run a second time. Of the sessions: `connects`, `connect_failures`, and
    `lost`, which broke while open.
    """

    timeouts: int = 0
    transactions: int = 0
    sheds: int = 0
    cancelled_waiting: int = 0
    cancelled_running: int = 0
    retries: int = 0
    connects: int = 0
    connect_failures: int = 0
    lost: int = 0


@dataclass(slots=True)
class PoolStats(Counters):
    """What a pool is doing: the counters, and this moment. Times in seconds.

    Sessions now: at most `size`, `open` slots in use, which is the sum of `connecting`, `idle`,
    `busy`, `recovering` (their caller went) and `closing`; `min_size` are kept open, and
    `debt` are to be given to other pools.
    Callers now: `waiting` in the queue, `waiting_background` of them in the background, the
    first of them for `longest_wait`; `paused`. Over the last minute, of those served and those
    that gave up: `wait_p50`, `wait_p95`, `wait_p99` (to some 20 %).
    `breaker`: "closed", the database is there; "waiting", it is away but callers wait for it;
    "open", callers fail at once.
    """

    size: int = 0
    open: int = 0
    idle: int = 0
    waiting: int = 0
    min_size: int = 0
    connecting: int = 0
    busy: int = 0
    recovering: int = 0
    closing: int = 0
    debt: int = 0
    waiting_background: int = 0
    longest_wait: float = 0.0
    wait_p50: float = 0.0
    wait_p95: float = 0.0
    wait_p99: float = 0.0
    breaker: Breaker = "closed"
    paused: bool = False


class Waits:
    """The waiting times of about the last minute; `now` never goes back."""

    __slots__ = ("_slices", "_until", "unwaited")

    def __init__(self) -> None:
        self._slices: list[list[int]] = []
        self._until = -math.inf
        self.unwaited = 0
        """Served without waiting since the last slice began; counted by the pool itself,
        which has no time to call a method for it."""

    def add(self, seconds: float, now: float) -> None:
        """Somebody waited so long."""
        self._turn(now)
        self._slices[-1][_size_of(seconds)] += 1

    def percentiles(self, shares: Sequence[float], now: float) -> tuple[float, ...]:
        """The waits that such shares (0 to 1) of the callers did not exceed; 0 without any."""
        self._turn(now)
        sums = [sum(counts) for counts in zip(*self._slices, strict=True)]
        sums[0] += self.unwaited
        return tuple(_percentile(sums, share) for share in shares)

    def _turn(self, now: float) -> None:
        if now < self._until:
            return
        passed = 1 if self._until == -math.inf else 1 + int((now - self._until) // _SLICE)
        if self._slices:
            self._slices[-1][0] += self.unwaited
        self.unwaited = 0
        for _ in range(min(passed, _SLICES)):
            self._slices.append([0] * (_SIZES + 1))
        del self._slices[:-_SLICES]
        self._until = now + _SLICE


def _size_of(seconds: float) -> int:
    if seconds <= 0:
        return 0
    size = 1 + math.ceil(_PER_OCTAVE * math.log2(seconds / _SHORTEST))
    return min(max(size, 1), _SIZES)


def _percentile(counts: Sequence[int], share: float) -> float:
    wanted = math.ceil(share * sum(counts))
    seen = 0
    for size, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            return float(_SHORTEST * 2 ** ((size - 1) / _PER_OCTAVE)) if size else 0.0
    return 0.0
