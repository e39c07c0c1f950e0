"""What PostgreSQL's errors mean for the session that they came to.

In: an error as asyncpg raised it. Out: a `DatabaseError`, or an `OutdatedStatement` where
preparing the statement anew may help.
"""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from pool.errors import DatabaseError, OutdatedStatement

_NO_PRIVILEGE: Final = "42501"


def is_servers(error: Any) -> bool:
    """Whether the server sent this error; asyncpg raises some of the classes by itself."""
    return isinstance(error, asyncpg.PostgresError) and error.severity is not None


def _is_outdated(error: Any, *, reuses: bool) -> bool:
    """Whether the error may be that of a statement which DDL has left behind.

    Analysed anew, a prepared statement keeps the types of its parameters: when such a type
    is gone or a column has got another, names and operators don't fit any more (class 42).
    An error with a context comes out of a function that was already running.
    """
    known = asyncpg.InvalidCachedStatementError | asyncpg.InvalidSQLStatementNameError
    if isinstance(error, known):
        return True
    if not reuses:
        return False
    if error.sqlstate == "XX000":
        # Its context may tell of a parameter.
        return str(error.message).startswith("cache lookup failed")
    is_named = str(error.sqlstate).startswith("42") and error.sqlstate != _NO_PRIVILEGE
    return is_named and error.context is None


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
