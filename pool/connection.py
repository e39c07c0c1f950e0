"""Opening connections to PostgreSQL.

In: a `Target`, or a `Source` of targets. Out: a connection or a `Session`, or
`ConnectionFailed` with the reason.

Of several hosts the first that is of the wanted kind is taken. A host that is silent costs
its own `connect_timeout` and no other's, as in libpq (asyncpg has one for all); one that
refuses for a reason the others share, such as the password, is the last that is asked.
"""

from __future__ import annotations

import asyncio
import configparser
import random
import socket
from typing import Any, Final, cast, get_args

import asyncpg

from pool.dsn import Target
from pool.errors import ConnectionFailed, PoolError
from pool.joining import JoiningLoop
from pool.model import IsolationLevel, Statement
from pool.reasons import reason_of
from pool.session import Session
from pool.source import Source
from pool.sqlstate import ASKS_NO_OTHER_HOST, REFUSES_PASSWORD

_UNREACHABLE: Final = (
    *(asyncpg.InterfaceError, asyncpg.InternalClientError, OSError),
    # It has no class of its own for URIs, password and service files that make no sense.
    *(ValueError, LookupError, TypeError, AttributeError, configparser.Error),
)


async def dial(
    target: Target, *, server_kind: str | None = None
) -> asyncpg.Connection[asyncpg.Record]:
    """An open connection that is kept alive; `ConnectionFailed` when there can't be one.

    `server_kind` replaces the target's own `target_session_attrs`.
    """
    kind = server_kind or target.server_kind
    if not target.hosts:
        return await _dial_host(target, kind)
    hosts = list(enumerate(target.hosts))
    if target.shuffles:
        random.shuffle(hosts)
    failures = []
    for wanted in ("standby", "any") if kind == "prefer-standby" else (kind,):
        for number, (host, port) in hosts:
            try:
                return await _dial_host(target, wanted, host, port)
            except ConnectionFailed as failure:
                if (failure.sqlstate or "").startswith(ASKS_NO_OTHER_HOST):
                    raise
                failures.append(f"{target.host_name(number)}: {failure.reason}")
    raise ConnectionFailed(f"no host can be used: {'; '.join(failures)}")


async def _dial_host(
    target: Target, server_kind: Any, host: str | None = None, port: int | None = None
) -> asyncpg.Connection[asyncpg.Record]:
    """A connection to one host of the target, or to the only one."""
    connection: asyncpg.Connection[asyncpg.Record]
    loop = asyncio.get_running_loop()
    try:
        connection = await asyncpg.connect(
            target.uri,
            host=host,
            port=port,
            timeout=target.connect_timeout,
            statement_cache_size=0,
            target_session_attrs=server_kind,
            loop=cast(asyncio.AbstractEventLoop, JoiningLoop(loop)),
        )
    except TimeoutError:
        raise ConnectionFailed(
            f"the database did not answer within {target.connect_timeout:g} seconds"
        ) from None
    except (asyncpg.PostgresError, asyncpg.PostgresWarning) as error:
        # Without the cause, whose text a traceback would show.
        raise ConnectionFailed(reason_of(error, target), sqlstate=error.sqlstate) from None
    except _UNREACHABLE as error:
        reason = f"the database can't be reached: {reason_of(error, target, host)}"
        raise ConnectionFailed(reason) from None
    # By its loop asyncpg finds the task that it runs in, of which only the real one knows;
    # whenever a query was cancelled, a task that is done stayed behind.
    private: Any = connection
    private._loop = loop
    try:
        _keep_alive(connection, target)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def dial_source(
    source: Source, *, server_kind: str | None = None
) -> asyncpg.Connection[asyncpg.Record]:
    """As `dial`, with what `source` says; asked anew when the password is refused."""
    try:
        return await dial(source.target, server_kind=server_kind)
    except ConnectionFailed as refused:
        if refused.sqlstate not in REFUSES_PASSWORD:
            raise
        # A password that is kept in a file may have changed since it was read.
        if not await asyncio.to_thread(source.reread):
            raise
    return await dial(source.target, server_kind=server_kind)


async def connect(target: Target | Source, *, prepared_statements: bool = True) -> Session:
    """A new session; `ConnectionFailed` when there can't be one.

    `prepared_statements=False` keeps no statement on the server, as a pooler in transaction
    mode requires.
    """
    connection = await (dial_source(target) if isinstance(target, Source) else dial(target))
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


def _keep_alive(connection: asyncpg.Connection[asyncpg.Record], target: Target) -> None:
    """Notice a peer that went away without a word; unix sockets need no such thing."""
    private: Any = connection
    plug = private._transport.get_extra_info("socket")
    if plug.family == socket.AF_UNIX:
        return
    options = [("TCP_USER_TIMEOUT", target.user_timeout)] if target.user_timeout else []
    if (keepalive := target.keepalive) is not None:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        options += [
            ("TCP_KEEPIDLE", keepalive.idle),
            ("TCP_KEEPINTVL", keepalive.interval),
            ("TCP_KEEPCNT", keepalive.count),
        ]
    for option, value in options:
        # macOS names some differently and goes without.
        if hasattr(socket, option):
            plug.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
