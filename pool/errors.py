"""What can go wrong between us and PostgreSQL, told without a word of HTTP.

Five answers a caller must be able to tell apart: no connection came free in time
(`PoolTimeout`), or none would have (`PoolOverloaded`), none can be made
(`ConnectionFailed`), one broke while in use (`ConnectionLost`), and PostgreSQL itself refused
(`DatabaseError`). A server that says why
it hangs up (57P01 and its like) is a `DatabaseError` with that SQLSTATE; `ConnectionLost`
is left for the connections that break without a word.
"""

from __future__ import annotations

from pool.sqlstate import REFUSES_USER


class PoolError(Exception):
    """Whatever the pool raises. `waited`: seconds spent waiting for a connection before."""

    waited: float = 0.0


class PoolTimeout(PoolError):
    """No connection came free within `seconds`; nothing was sent to the database."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no connection came free within {seconds:g} seconds")
        self.seconds = seconds


class PoolOverloaded(PoolError):
    """Too many callers wait already; told at once, and nothing was sent to the database.

    `retry_after`: whole seconds after which trying again makes sense.
    """

    def __init__(self, reason: str, retry_after: int = 1) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class ConnectionFailed(PoolError):
    """No connection can be made; nothing was sent to the database.

    `retry_after` (seconds, 1 to 32) grows with the length of the outage. `sqlstate` is
    PostgreSQL's reason when it was PostgreSQL that refused, as with 28P01 (password) or
    3D000 (no such database), and None when nobody answered.
    """

    def __init__(
        self, reason: str, retry_after: int = 1, *, sqlstate: str | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.sqlstate = sqlstate

    @property
    def refused(self) -> bool:
        """Whether the server is there but does not let this user in, which a moment's wait
        won't change: password or authorization (class 28), no such database (3D000)."""
        return (self.sqlstate or "").startswith(REFUSES_USER)


class ConnectionLost(PoolError):
    """The connection broke during a transaction: whether it was committed is unknown."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoAnswer(ConnectionLost):
    """The server was silent for longer than its own time limits allow."""


class DatabaseError(PoolError):
    """PostgreSQL's own error; the transaction was rolled back.

    The fields are those of its ErrorResponse message (PostgreSQL docs, "Error and Notice
    Message Fields"). `position` counts characters of the SQL text from 1.
    """

    def __init__(
        self,
        sqlstate: str,
        message: str,
        detail: str | None = None,
        hint: str | None = None,
        *,
        severity: str = "ERROR",
        position: int | None = None,
    ) -> None:
        super().__init__(f"{sqlstate}: {message}")
        self.sqlstate = sqlstate
        self.message = message
        self.detail = detail
        self.hint = hint
        self.severity = severity
        self.position = position

    @property
    def ends_session(self) -> bool:
        """Whether PostgreSQL hung up with it. A function can raise any SQLSTATE, but not that
        severity."""
        return self.severity in ("FATAL", "PANIC")


class OutdatedStatement(DatabaseError):
    """A prepared statement no longer fits the schema, it seems, or is gone; nothing of it was
    run."""


class StandbyServer(DatabaseError):
    """A write met a server that only replays another's; nothing was done."""
