"""One transaction from beginning to end, in the fewest round trips.

In: a `Session` and a `Transaction`. Out: an `Outcome`, or a `DatabaseError` with the
transaction rolled back and the session fit for the next one.

BEGIN, the settings and `before` travel ahead of the statement, so that they cost no round
trip of their own. COMMIT needs the rows first when they decide about it, which makes two
round trips. When nothing depends on the rows and the session's defaults are what the
transaction asks for, there is no BEGIN and no COMMIT either: PostgreSQL treats the messages
up to a Sync as one transaction, commits it at the Sync and rolls it back on an error
(PostgreSQL docs, "Pipelining"). That makes one round trip.

The settings end with the transaction, but a function that it calls may have made others for
the session (`set_config(..., false)`). They are reset first thing in the next transaction,
which costs it some two microseconds. Temporary tables, session-level advisory locks and the
like stay. Behind a pooler what is found in a session may be another client's; there, what the
pooler has set for us is set again after the reset.

Where the settings limit a statement's time, the server gets somewhat more to answer and is
given up then: its machine, or the network, is gone without a word.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import Final, TypeGuard

from pool.deadline import statement_timeout
from pool.errors import (
    ConnectionLost,
    DatabaseError,
    NoAnswer,
    OutdatedStatement,
    StandbyServer,
)
from pool.model import Outcome, Statement, Transaction, keep_always
from pool.session import Session
from pool.sqlstate import ON_A_STANDBY

_MOST_FUNCTION_ARGUMENTS: Final = 100
_OUTDATED_FOR_SURE: Final = ("0A000", "26000")
_RESET_ALL: Final = Statement("RESET ALL")
_RESET_ROLE: Final = Statement("RESET ROLE")
_READ_ONLY: Final = ("transaction_read_only", "on")
_POSITION: Final = Statement("select pg_catalog.pg_current_wal_insert_lsn()::text")
_GRACE: Final = 5.0
"""Seconds that an answer may take beyond what statement_timeout allows."""


async def run(session: Session, tx: Transaction) -> Outcome:
    """Run `tx` on `session`; afterwards no transaction is open and nothing it set is left.

    Raises `DatabaseError` when PostgreSQL refuses a statement or the COMMIT, and
    `ConnectionLost` when the connection breaks or no answer comes; `StandbyServer` when the
    server accepts no writes any more, and the session is of no use then. When the schema has
    changed under the session's prepared statements, nothing has happened yet and `tx` is run
    once more.
    """
    seconds = patience(tx, in_block=not _fits_one_trip(session, tx))
    if seconds is None:
        return await _run(session, tx)
    try:
        async with asyncio.timeout(seconds):
            return await _run(session, tx)
    except TimeoutError:
        raise NoAnswer(f"the database did not answer within {seconds:g} seconds") from None


def patience(tx: Transaction, *, in_block: bool = True) -> float | None:
    """Seconds after which a server that keeps to `tx`'s statement_timeout has answered;
    None when there is no such limit."""
    seconds = statement_timeout(tx.settings)
    if not seconds:
        return None
    # Each statement has the time for itself, and COMMIT, which checks constraints, too. What
    # only reads has none to check.
    statements = (tx.before, tx.guard, tx.statement, tx.after)
    count = sum(statement is not None for statement in statements)
    return seconds * (count + (in_block or tx.access != "read only")) + _GRACE


async def _run(session: Session, tx: Transaction) -> Outcome:
    try:
        return await _run_once(session, tx)
    except OutdatedStatement as error:
        if session.broken:
            raise
        if error.sqlstate in _OUTDATED_FOR_SURE:
            session.forget_statements()
        else:
            # It may be the request that is wrong: others need not pay for it.
            session.forget(sql_of(tx))
    return await _run_once(session, tx)


def sql_of(tx: Transaction) -> tuple[str, ...]:
    """The SQL that `run` sends for `tx` besides BEGIN and COMMIT, in order; its values are
    parameters."""
    ahead = (*_set(tx.settings), *_drop_rows(tx.before))
    guard = () if tx.guard is None else (tx.guard,)
    after = () if tx.after is None else (tx.after,)
    return tuple(statement.sql for statement in (*ahead, *guard, tx.statement, *after))


async def _run_once(session: Session, tx: Transaction) -> Outcome:
    try:
        if _fits_one_trip(session, tx):
            outcome = await _run_in_one_trip(session, tx)
        else:
            outcome = await _run_in_block(session, tx)
    except Exception as error:
        # Not on cancellation: the session is broken then, and is closed.
        if not session.broken and session.in_transaction:
            with contextlib.suppress(ConnectionLost, DatabaseError):
                await session.command("ROLLBACK")
        if tx.access == "read write" and session.in_standby and _is_for_standby(error):
            session.condemn()
            raise StandbyServer(error.sqlstate, error.message) from error
        raise
    if tx.locates and outcome.kept and not tx.rollback:
        return replace(outcome, position=await _position(session))
    return outcome


def _is_for_standby(error: Exception) -> TypeGuard[DatabaseError]:
    """Whether a server in recovery so answers a write, or BEGIN READ WRITE before it."""
    return (
        isinstance(error, DatabaseError)
        and not isinstance(error, OutdatedStatement)
        and error.sqlstate in ON_A_STANDBY
    )


async def _position(session: Session) -> str | None:
    """Where the write-ahead log stands, past the COMMIT; None when that can't be told, which
    must not make a failure of what is committed."""
    with contextlib.suppress(ConnectionLost, DatabaseError):
        return bytes((await session.fetch(_POSITION))[0][0]).decode()
    return None


def _fits_one_trip(session: Session, tx: Transaction) -> bool:
    if not session.prepares and (tx.access == "read write" or tx.isolation is not None):
        # Behind a pooler the session's defaults are known of another session, if at all.
        return False
    return (
        tx.keep is keep_always
        and tx.guard is None
        and tx.after is None
        and not tx.rollback
        and (tx.isolation is None or tx.isolation == session.default_isolation)
        and (tx.access == "read only" or session.writes_by_default)
    )


async def _run_in_one_trip(session: Session, tx: Transaction) -> Outcome:
    settings = (_READ_ONLY, *tx.settings) if tx.access == "read only" else tx.settings
    ahead = [*_reset(session, tx), *_set(settings), *_drop_rows(tx.before)]
    rows = await session.fetch(tx.statement, ahead=ahead)
    return Outcome(rows, (), kept=True)


async def _run_in_block(session: Session, tx: Transaction) -> Outcome:
    isolation = f" ISOLATION LEVEL {tx.isolation.upper()}" if tx.isolation else ""
    begin = Statement(f"BEGIN{isolation} {tx.access.upper()}")
    ahead = [begin, *_reset(session, tx), *_set(tx.settings), *_drop_rows(tx.before)]
    if tx.guard is not None:
        guard_rows = await session.fetch(tx.guard, ahead=ahead)
        if not tx.admits(guard_rows):
            await session.command("ROLLBACK")
            return Outcome((), (), kept=False, admitted=False)
        ahead = []
    rows = await session.fetch(tx.statement, ahead=ahead)
    if not tx.keep(rows):
        await session.command("ROLLBACK")
        return Outcome(rows, (), kept=False)
    after_rows = await session.fetch(tx.after) if tx.after is not None else ()
    if tx.rollback:
        await session.command("SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK")
    else:
        await _commit(session)
    return Outcome(rows, after_rows, kept=True)


async def _commit(session: Session) -> None:
    # PostgreSQL answers the COMMIT of a failed transaction with ROLLBACK, not an error.
    if await session.command("COMMIT") != "COMMIT":
        raise DatabaseError("25P02", "current transaction is aborted")


def _reset(session: Session, tx: Transaction) -> tuple[Statement, ...]:
    """The session's own settings again, whatever was made of them before."""
    reset: tuple[Statement, ...] = (_RESET_ALL,)
    if not any(name == "role" for name, _ in tx.settings):
        # Not part of ALL; when a role is set, it is overridden all the same.
        reset += (_RESET_ROLE,)
    if not session.prepares:
        # The session belongs to a pooler, which has set some of them for us.
        reset += _set(session.reported, local=False)
    return reset


def _set(settings: tuple[tuple[str, str], ...], *, local: bool = True) -> tuple[Statement, ...]:
    if not settings:
        return ()
    args = tuple(chain.from_iterable(settings))
    return (Statement(_settings_sql(len(settings), local), args),)


@lru_cache(maxsize=128)
def _settings_sql(count: int, local: bool) -> str:
    """Set `count` settings for the transaction, or the session, in order; return no rows.

    num_nulls is never negative, which the planner does not know: every argument is
    evaluated, and no row is left.
    """
    calls = [
        f"pg_catalog.set_config(${2 * n + 1}, ${2 * n + 2}, {str(local).lower()})"
        for n in range(count)
    ]
    counts = (
        f"pg_catalog.num_nulls({', '.join(calls[first : first + _MOST_FUNCTION_ARGUMENTS])})"
        for first in range(0, count, _MOST_FUNCTION_ARGUMENTS)
    )
    return f"select where {' + '.join(counts)} < 0"


def _drop_rows(before: Statement | None) -> tuple[Statement, ...]:
    """`before` run to its end, its rows dropped by the server."""
    if before is None:
        return ()
    sql = (
        f"select from (\n{before.sql}\n) as edgerest_before"
        " where pg_catalog.num_nulls(edgerest_before) < 0"
    )
    return (Statement(sql, before.args),)
