"""Positions in the write-ahead log, and what follows from them; no I/O.

A position (LSN) counts bytes of one cluster's log. A server that has replayed up to a
position has every transaction that was committed before it. After a failover the new
primary's log goes on from the old one's, so that positions stay comparable within a cluster;
between clusters they mean nothing, which is why a token names its cluster.

In: positions as PostgreSQL writes them, tokens as callers send them, samples of where the
primary stood. Out: numbers to compare, and how far a replica is behind.
Source: PostgreSQL docs, "pg_lsn Type", "Recovery Information Functions".
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from typing import Final

_TOKEN: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{1,16})")
_LSN: Final = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


def read_lsn(text: str) -> int | None:
    """The number of a position such as `16/B374D848`; None when it is none."""
    found = _LSN.fullmatch(text)
    return (int(found[1], 16) << 32) + int(found[2], 16) if found else None


def make_token(cluster: str, position: int) -> str:
    """What a caller is given, and gives back, to see what was committed up to `position`.

    `cluster`: its system identifier, of which the token holds a digest.
    """
    return f"{_digest(cluster)}-{position:x}"


def read_token(token: str, cluster: str) -> int | None:
    """The position in `token`; None when it is no token, or one of another cluster."""
    found = _TOKEN.fullmatch(token)
    return int(found[2], 16) if found and found[1] == _digest(cluster) else None


def _digest(cluster: str) -> str:
    return hashlib.sha256(cluster.encode()).hexdigest()[:8]


class LogHistory:
    """Where the primary's log stood over the last `span` seconds.

    A replica's lag is the age of the first thing it has not replayed. Its own clock does not
    tell: when the primary is idle the last transaction gets ever older, though nothing is
    missing. So the primary's position is noted time and again, and the replica is as far behind
    as the last note it has reached.
    """

    def __init__(self, span: float) -> None:
        self._span = span
        self._notes: deque[tuple[float, int]] = deque()

    def note(self, now: float, position: int) -> None:
        """The primary's log stands at `position`. Times in seconds of one clock."""
        self._notes.append((now, position))
        # The oldest is kept until another one is old enough to stand for it.
        while len(self._notes) > 1 and self._notes[1][0] <= now - self._span:
            self._notes.popleft()

    def lag(self, now: float, replayed: int) -> float | None:
        """Seconds by which a replica at `replayed` may be behind; None when it is behind all
        that is remembered.

        While the primary is away nothing new is noted, and who has all there was is not
        behind.
        """
        reached = None
        for when, position in reversed(self._notes):
            if position <= replayed:
                return 0.0 if reached is None else now - when
            reached = when
        return None

    def clear(self) -> None:
        """Forget everything: the log is another one now."""
        self._notes.clear()
