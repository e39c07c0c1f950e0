"""How a client behaves: time limits, retries, limits of size. Values, with good defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

DEADLINE_HEADER: Final = "x-request-timeout"
"""Seconds that are left for the call, told to the server so that it stops in time."""
CONSISTENCY_HEADER: Final = "x-consistency-token"
"""Comes with the answer to a write and goes with the requests that follow, so that these
see it whichever replica or cache answers them."""


@dataclass(frozen=True, slots=True)
class Timeout:
    """Time limits in seconds.

    `total` is for a whole call with all its attempts, `connect` for a connection, `read`
    for the server's next bytes.
    """

    total: float = 30.0
    connect: float = 5.0
    read: float = 20.0


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and after how long a call is tried again.

    The wait before attempt n+1 is random between 0 and `first_wait` * 2**(n-1), at most
    `longest_wait` seconds, or what the server's Retry-After says and up to `first_wait`
    more. What may have been done is only repeated when doing it twice does no harm.
    """

    attempts: int = 4
    first_wait: float = 0.1
    longest_wait: float = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """`url`: bytes of a target up to which a read is a GET; longer ones travel as a body
    (many proxies stop at 8 KiB). `long_reads`: how: `query`, HTTP's QUERY method and the
    other one where it is refused, or at once `post`. `stored`: bytes of answers kept for
    revalidation, 0 for none.
    """

    url: int = 7500
    long_reads: Literal["query", "post"] = "query"
    stored: int = 4 * 1024 * 1024
