"""What the pool is asked to do and what it answers, as values. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Argument = str | bytes | None
IsolationLevel = Literal[
    "read committed", "read uncommitted", "repeatable read", "serializable"
]
AccessMode = Literal["read only", "read write"]


class Row(Protocol):
    """A row of an answer: its values by position or by column name."""

    def __getitem__(self, key: Any, /) -> Any:
        """The value at a position, or of a column."""

    def __iter__(self) -> Iterator[Any]:
        """The values in order."""

    def get(self, key: str, /) -> Any:
        """The value of a column, None when there is no such column."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text and its bind parameters ($1 is `args[0]`).

    Parameters travel in PostgreSQL's own text form whatever their type, so that the
    server resolves types as it does for literals; `bytes` are sent as they are to json,
    jsonb, text, xml and bytea parameters.
    """

    sql: str
    args: tuple[Argument, ...] = ()


Check = Callable[[Sequence[Row]], bool]
"""Whether what a statement answered is as it should be."""


def keep_always(rows: Sequence[Row]) -> bool:
    """The `keep` of a transaction that has nothing to check."""
    return True


def do_nothing() -> None:
    """For those who need not know."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction, described whole, so that it takes the fewest round trips.

    BEGIN with `isolation` (None: the session's default) and `access`; `settings` through
    one statement of `set_config(name, value, true)` calls in the given order; `before`, a
    plain SELECT whose rows are dropped; `guard`; `statement`; `after`; then COMMIT. When
    `admits` says no to the rows of `guard`, nothing further is run, and when `keep` says no
    to the rows of `statement`, or `rollback` is set, ROLLBACK instead; `rollback` first
    checks deferred constraints (SET CONSTRAINTS ALL IMMEDIATE). `after` is not run when
    `keep` said no. One whose `keep` is `keep_always`, with no `guard`, no `after` and no
    `rollback`, is the cheapest.

    `locates`: once committed, ask for the position in the write-ahead log, which costs a
    round trip. `after_position`: the answer must contain what was committed up to the
    position that this token of an earlier `Outcome` stands for (see `pool.replicas`).

    `deadline`: the time of the event loop's clock by which its caller needs the outcome;
    waiting for a connection, and the transaction's statement_timeout, are cut to what
    remains until then.
    `finish_when_abandoned`: once it has a connection it runs to its end even when its caller
    is cancelled; `when_finished` is called then, as nobody is told how it went.
    `background`: it is given a connection when nobody else waits for one.
    `on_primary`: a read that a replica must not answer, however little it lags.
    """

    statement: Statement
    access: AccessMode = "read only"
    isolation: IsolationLevel | None = None
    settings: tuple[tuple[str, str], ...] = ()
    before: Statement | None = None
    guard: Statement | None = None
    admits: Check = keep_always
    after: Statement | None = None
    keep: Check = keep_always
    rollback: bool = False
    locates: bool = False
    after_position: str | None = None
    deadline: float | None = None
    finish_when_abandoned: bool = False
    when_finished: Callable[[], None] = do_nothing
    background: bool = False
    on_primary: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The rows of `statement` and of `after`; `kept` tells whether `keep` said yes.

    `waited`: seconds spent waiting for a connection before. Not `admitted`: the rows of the
    transaction's `guard` were turned down, so that there are no others. `position`: where
    the write-ahead log stood after COMMIT, when the transaction asked and the answer came.
    """

    rows: Sequence[Row]
    after_rows: Sequence[Row]
    kept: bool
    waited: float = 0.0
    admitted: bool = True
    position: str | None = None


Run = Callable[[Transaction], Awaitable[Outcome]]
"""What runs transactions: a pool, or several servers."""
