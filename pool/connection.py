"""Opening connections to PostgreSQL.

In: a `Target`. Out: a connection or a `Session`, or `ConnectionFailed` with the reason.
"""

from __future__ import annotations

import socket
from typing import Any, get_args

import asyncpg

from pool.dsn import Keepalive, Target
from pool.errors import ConnectionFailed, PoolError
from pool.model import IsolationLevel, Statement
from pool.session import Session


async def dial(
    target: Target, *, server_kind: str | None = None
) -> asyncpg.Connection[asyncpg.Record]:
    """An open connection that is kept alive; `ConnectionFailed` when there can't be one.

    `server_kind` replaces the target's own `target_session_attrs`.
    """
    kind: Any = server_kind
    connection: asyncpg.Connection[asyncpg.Record]
    try:
        connection = await asyncpg.connect(
            target.uri,
            timeout=target.connect_timeout,
            statement_cache_size=0,
            target_session_attrs=kind,
        )
    except TimeoutError:
        raise ConnectionFailed(
            f"the database did not answer within {target.connect_timeout:g} seconds"
        ) from None
    except asyncpg.PostgresError as error:
        raise ConnectionFailed(str(error), sqlstate=error.sqlstate) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, ValueError) as error:
        raise ConnectionFailed(f"the database can't be reached: {error}") from error
    try:
        _keep_alive(connection, target.keepalive)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def connect(target: Target, *, prepared_statements: bool = True) -> Session:
    """A new session; `ConnectionFailed` when there can't be one.

    `prepared_statements=False` keeps no statement on the server, as a pooler in transaction
    mode requires.
    """
    connection = await dial(target)
    try:
        session = Session(connection, prepared_statements=prepared_statements)
        if prepared_statements:
            session.default_isolation = await _default_isolation(session)
    except PoolError as error:
        connection.terminate()
        raise ConnectionFailed(str(error)) from error
    except BaseException:
        connection.terminate()
        raise
    return session


async def _default_isolation(session: Session) -> IsolationLevel | None:
    """The level that lets a transaction do without BEGIN.

    When a reload of the server's configuration changes it, new connections notice.
    """
    rows = await session.fetch(
        Statement("select pg_catalog.current_setting('default_transaction_isolation')")
    )
    shown = rows[0][0].decode()
    levels: tuple[IsolationLevel, ...] = get_args(IsolationLevel)
    return next((level for level in levels if level == shown), None)


def _keep_alive(
    connection: asyncpg.Connection[asyncpg.Record], keepalive: Keepalive | None
) -> None:
    """Notice a peer that went away without a word; unix sockets need no such thing."""
    private: Any = connection
    plug = private._transport.get_extra_info("socket")
    if keepalive is None or plug.family == socket.AF_UNIX:
        return
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", keepalive.idle),
        ("TCP_KEEPINTVL", keepalive.interval),
        ("TCP_KEEPCNT", keepalive.count),
    ):
        # macOS names the first one differently and goes without.
        if hasattr(socket, option):
            plug.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
