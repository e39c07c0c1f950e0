"""What PostgreSQL's errors mean for the session that they came to.

In: an error as asyncpg raised it. Out: a `DatabaseError`, or an `OutdatedStatement` where
preparing the statement anew may help.
"""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from pool.errors import DatabaseError, OutdatedStatement

_NO_PRIVILEGE: Final = "42501"
_RAISE: Final = "exec_stmt_raise"
"""The routine of PostgreSQL's that runs PL/pgSQL's RAISE (pl_exec.c)."""

ASYNCPG_ERRORS: Final = (
    asyncpg.PostgresError,
    # An ERROR of class 01 or 02, which a function may raise, is one of these.
    asyncpg.PostgresWarning,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""What asyncpg raises when the server refuses, or can't be talked to."""


def is_servers(error: Any) -> bool:
    """Whether the server sent this error; asyncpg raises some of the classes by itself."""
    told = asyncpg.PostgresError | asyncpg.PostgresWarning
    return isinstance(error, told) and error.severity is not None


def _is_outdated(error: Any, *, reuses: bool) -> bool:
    """Whether the error may be that of a statement which DDL has left behind.

    Analysed anew, a prepared statement keeps the types of its parameters: when such a type
    is gone or a column has got another, names and operators don't fit any more (class 42).
    An error with a context comes out of a function that was already running: it may raise
    what it likes, and is not run a second time for it.
    """
    if error.sqlstate == "XX000":
        # Its context may tell of a parameter.
        found = str(error.message).startswith("cache lookup failed")
        return reuses and found and error.server_source_function != _RAISE
    if isinstance(error, asyncpg.InvalidCachedStatementError):
        # By the routine it came from. Its context may list the parameters.
        return True
    if error.context is not None:
        return False
    if isinstance(error, asyncpg.InvalidSQLStatementNameError):
        return True
    is_named = str(error.sqlstate).startswith("42") and error.sqlstate != _NO_PRIVILEGE
    return reuses and is_named


def database_error(error: Any, *, reuses: bool = False) -> DatabaseError:
    """PostgreSQL's error as it told it."""
    kind = OutdatedStatement if _is_outdated(error, reuses=reuses) else DatabaseError
    # asyncpg adds advice of its own to the hint of errors about prepared statements.
    hint = (error.hint or "").partition("\nNOTE: pgbouncer")[0]
    return kind(
        error.sqlstate,
        error.message,
        error.detail,
        hint or None,
        severity=error.severity_en or error.severity,
        position=int(error.position) if error.position else None,
    )
