"""Deadlines: by when a request must be answered, and what happens when it can't be.

In: the operator's limit, the caller's `X-Request-Timeout` and when the request arrived. Out:
a time of the event loop's clock, and outcomes that come before it or `EDGE504`.

The pool is told the deadline too: it cuts waiting for a connection and PostgreSQL's
statement_timeout to what remains, so that the end of a request that is late is an ordinary
one and costs no connection. What stands here turns that end into an answer, and keeps the
deadline where the database does not: a network that swallows everything, a statement that
PostgreSQL can't interrupt.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Final

from pool.errors import DatabaseError, PoolTimeout
from pool.model import Transaction
from pool.sqlstate import QUERY_CANCELED
from proxy.errors import ApiError, api_error

GRACE: Final = 0.1
"""Seconds that PostgreSQL has to cancel a late statement by itself, which is gentler: its
session stays fit for use."""
_EARLY: Final = 0.005
"""Seconds by which PostgreSQL's clock, which counts milliseconds, may be ahead of ours."""
_SECONDS: Final = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{1,9})?")


def allowed_seconds(wishes: Sequence[bytes], most: float | None) -> float | None:
    """How many seconds a request may take; None when nobody says.

    The least of `most`, which is the operator's, and what each X-Request-Timeout in `wishes`
    says: seconds as a decimal number. Raises `ApiError` EDGE400 when one says otherwise.
    """
    seconds = most
    for value in wishes:
        if _SECONDS.fullmatch(value.strip()) is None:
            raise api_error(
                "EDGE400",
                message="X-Request-Timeout must be a number of seconds, e.g. 2.5",
            )
        wanted = float(value)
        seconds = wanted if seconds is None else min(seconds, wanted)
    return seconds


def deadline_of(wishes: Sequence[bytes], most: float | None, began: float) -> float | None:
    """The deadline of a request that arrived at `began` (`perf_counter`), in the running
    event loop's time. Raises as `allowed_seconds`."""
    seconds = allowed_seconds(wishes, most)
    if seconds is None:
        return None
    return asyncio.get_running_loop().time() + seconds - (perf_counter() - began)


@asynccontextmanager
async def in_time(transaction: Transaction) -> AsyncIterator[None]:
    """Runs the transaction in the block, if its outcome is there by its deadline.

    The block is not entered when that has passed already. Raises `ApiError` EDGE504 when it
    passes, and what the block raises otherwise.
    """
    deadline = transaction.deadline
    assert deadline is not None
    loop = asyncio.get_running_loop()
    if loop.time() >= deadline:
        raise _late("The deadline had passed before anything was sent to the database.")
    limit = asyncio.timeout_at(deadline + GRACE)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise _late(_unknown(transaction)) from None
    except PoolTimeout as error:
        if loop.time() < deadline - _EARLY:
            raise
        raise _late(
            "No database connection came free in time; nothing was sent to the database."
        ) from error
    except DatabaseError as error:
        if error.sqlstate != QUERY_CANCELED or loop.time() < deadline - _EARLY:
            raise
        raise _late("The query was cancelled and its transaction rolled back.") from error


def _unknown(transaction: Transaction) -> str:
    if transaction.access == "read only":
        return "The query was cancelled."
    return "The query was cancelled. Whether the transaction was committed is not known."


def _late(details: str) -> ApiError:
    return api_error("EDGE504", details=details)
