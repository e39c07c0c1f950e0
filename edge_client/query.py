"""Queries: immutable values with a method for everything that can be asked.

Every method returns a new query, so one may be kept and asked in several ways. `execute`
sends it: in an `EdgeClient`'s query at once, in an `AsyncEdgeClient`'s as a coroutine.
The type parameter `M` says which of the two a query belongs to, and there only.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, Protocol, Self, TypeVar, overload

from edge_client.embed import Embed, embed_parameters, select_text
from edge_client.literals import column_name
from edge_client.locking import only_if_unchanged
from edge_client.operation import Operation, Shape, request_of
from edge_client.refine import Refinable
from edge_client.rows import RowMaker, row_maker
from edge_client.stream import Progress, StreamPlan, stream_plan

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")
D = TypeVar("D")
M = TypeVar("M")

Count = Literal["exact", "planned", "estimated"]
"""How rows are counted (PostgREST docs, "Exact Count" and what follows)."""
Returning = Literal["representation", "minimal", "headers-only"]
"""What a write answers with."""
Row = dict[str, Any]
RowKind = Callable[..., S]
"""A dataclass, a TypedDict, a pydantic model, or a function of the JSON object."""


class Sync:
    """The mark of an `EdgeClient`'s queries."""


class Async:
    """The mark of an `AsyncEdgeClient`'s queries."""


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """The answer to a query.

    `count` is the number of all rows that match, if `count=` asked for it, of a write the
    rows it touched. `headers` by their names in lower case. `revalidated`: the server said
    that the stored answer is still good (304). `attempts`: how often it was sent. `asked`:
    what it is the answer to.
    """

    data: T
    count: int | None = None
    status: int = 200
    headers: Mapping[str, str] | None = None
    request_id: str | None = None
    revalidated: bool = False
    attempts: int = 1
    asked: Operation | None = field(default=None, repr=False, compare=False)


class Runner(Protocol):
    """What queries know of the client they came from."""

    @property
    def url(self) -> str:
        """Where the API's root is."""

    def run(self, operation: Operation, make: RowMaker | None) -> Any:
        """A `Result`, or a coroutine of one."""

    def run_stream(self, plan: StreamPlan, make: RowMaker | None) -> Any:
        """An iterator of rows, or an asynchronous one."""

    def curl(self, operation: Operation) -> str:
        """The equivalent command."""


class Query(Refinable, Generic[T, M]):
    """A query whose answer's data is a `T`."""

    __slots__ = ("_make", "_negates", "_runner", "operation")

    def __init__(
        self,
        runner: Runner,
        operation: Operation,
        make: RowMaker | None = None,
        *,
        negates: bool = False,
    ) -> None:
        self._runner = runner
        self._make = make
        self._negates = negates
        self.operation = operation

    def __repr__(self) -> str:
        request = request_of(self.operation)
        scheme, _, place = self._runner.url.partition("://")
        host, slash, path = place.partition("/")
        # What lets one in may stand before the host.
        url = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
        return f"<{type(self).__name__} {request.method} {url}{request.target}>"

    # --- sending ------------------------------------------------------------------------

    @overload
    def execute(self: Query[D, Sync]) -> Result[D]: ...
    @overload
    def execute(self: Query[D, Async]) -> Coroutine[Any, Any, Result[D]]: ...
    def execute(self) -> Any:
        """Send it. Raises `APIError` and `TransportError`."""
        return self._runner.run(self.operation, self._make)

    def __await__(self: Query[D, Async]) -> Generator[Any, Any, Result[D]]:
        """`await query` is `await query.execute()`."""
        return self.execute().__await__()

    def curl(self) -> str:
        """The command that asks the same; `$TOKEN` stands for the token."""
        return self._runner.curl(self.operation)

    # --- how Refinable changes it ---------------------------------------------------------

    def _with_operation(self, operation: Operation, *, negates: bool = False) -> Self:
        return type(self)(self._runner, operation, self._make, negates=negates)

    def _with_parameter(self, name: str, value: str, *, once: bool = False) -> Self:
        change = self.operation.setting if once else self.operation.adding
        return self._with_operation(change(name, value))

    def _negating(self) -> Self:
        return self._with_operation(self.operation, negates=not self._negates)

    def _parameter(self, name: str) -> str | None:
        return self.operation.param(name)

    # --- preferences and the rest of the request --------------------------------------------

    def prefer(self, **preferences: str | None) -> Self:
        """Any preference (RFC 7240), `_` for `-`: `prefer(handling="strict")`."""
        return self._with_operation(self.operation.preferring(**preferences))

    def tx(self, end: Literal["commit", "rollback"]) -> Self:
        """How the transaction ends, where the server lets callers say so (db-tx-end)."""
        return self.prefer(tx=end)

    def max_affected(self, rows: int) -> Self:
        """Undo the write when it touches more than `rows` rows (PGRST124)."""
        return self.prefer(handling="strict", max_affected=str(rows))

    def missing(self, value: Literal["default", "null"]) -> Self:
        """What a column gets that an inserted row leaves out."""
        return self.prefer(missing=value)

    def timezone(self, name: str) -> Self:
        """The time zone in which times are written: `Europe/Berlin`."""
        return self.prefer(timezone=name)

    def header(self, name: str, value: str) -> Self:
        """Send one more header."""
        headers = (*self.operation.headers, (name.lower(), value))
        return self._with_operation(replace(self.operation, headers=headers))

    def schema(self, name: str) -> Self:
        """Ask another of the exposed schemas."""
        return self._with_operation(replace(self.operation, schema=name))

    def timeout(self, seconds: float) -> Self:
        """A total deadline of this call's own."""
        return self._with_operation(replace(self.operation, timeout=seconds))

    def retry(self, enabled: bool = True) -> Self:
        """Say that sending it twice is as good as once (or is not)."""
        return self._with_operation(replace(self.operation, repeatable=enabled))

    def strip_nulls(self) -> Self:
        """Leave out columns without a value from the answer."""
        accept = self.operation.accept
        if accept == "application/json":
            accept = "application/vnd.pgrst.array+json"
        if not accept.startswith(("application/vnd.pgrst.array", "application/vnd.pgrst.obj")):
            raise ValueError(f"strip_nulls() does not go with {accept}")
        return self._with_operation(replace(self.operation, accept=f"{accept};nulls=stripped"))


class Rows(Query[T, M], Generic[R, T, M]):
    """A query whose answer is rows of `R`; `T` is all of them together."""

    __slots__ = ()

    def select(self, *columns: str | Embed) -> Self:
        """The columns to return: of a write its rows as they are afterwards."""
        operation = self.operation.setting("select", select_text(columns or ("*",)))
        for name, value in embed_parameters(columns):
            operation = operation.adding(name, value)
        if not operation.reads and not operation.path.startswith("/rpc/"):
            operation = operation.preferring(**{"return": "representation"})
        return self._with_operation(operation)

    def single(self) -> Query[R, M]:
        """Exactly one row, by itself; else `RowCountError`."""
        accept = self.operation.accept.replace("array", "object")
        if accept == "application/json":
            accept = "application/vnd.pgrst.object+json"
        operation = replace(self.operation, accept=accept, shape="json")
        return Query(self._runner, operation, self._make)

    def maybe_single(self) -> Query[R | None, M]:
        """The row, or None; `RowCountError` when there are several."""
        operation = replace(self.operation, shape="maybe")
        return Query(self._runner, operation, self._make)

    def csv(self) -> Query[str, M]:
        """The rows as CSV."""
        return Query(self._runner, self._answered_as("text/csv", "text"))

    def geojson(self) -> Query[Row, M]:
        """The rows as a GeoJSON feature collection (PostGIS)."""
        return Query(self._runner, self._answered_as("application/geo+json", "json"))

    @overload
    def explain(
        self,
        *,
        analyze: bool = False,
        verbose: bool = False,
        settings: bool = False,
        buffers: bool = False,
        wal: bool = False,
        format: Literal["text"] = "text",
    ) -> Query[str, M]: ...
    @overload
    def explain(
        self,
        *,
        analyze: bool = False,
        verbose: bool = False,
        settings: bool = False,
        buffers: bool = False,
        wal: bool = False,
        format: Literal["json"],
    ) -> Query[Any, M]: ...
    def explain(
        self,
        *,
        analyze: bool = False,
        verbose: bool = False,
        settings: bool = False,
        buffers: bool = False,
        wal: bool = False,
        format: Literal["text", "json"] = "text",
    ) -> Any:
        """PostgreSQL's plan for the query (the server needs db-plan-enabled)."""
        named = {
            "analyze": analyze,
            "verbose": verbose,
            "settings": settings,
            "buffers": buffers,
            "wal": wal,
        }
        options = "|".join(name for name, wanted in named.items() if wanted)
        accept = f"application/vnd.pgrst.plan+{format}"
        if self.operation.accept != "application/json":
            accept += f'; for="{self.operation.accept}"'
        if options:
            accept += f"; options={options}"
        shape: Shape = "text" if format == "text" else "json"
        return Query(self._runner, self._answered_as(accept, shape))

    def _answered_as(self, accept: str, shape: Shape) -> Operation:
        return replace(self.operation, accept=accept, shape=shape)

    def if_unchanged(self, read: Result[Any]) -> Query[T, M]:
        """Write only while what was read is still so; else `PreconditionError`.

        The last step of an update or a delete. It touches the rows that were read: filters
        need not be repeated, and others are refused, as is a page or a counted read
        (ValueError). The rows it returns have the columns that were read.
        """
        headers = read.headers or {}
        operation = only_if_unchanged(self.operation, read.asked, headers.get("etag"))
        return Query(self._runner, operation, self._make)

    @overload
    def stream(
        self: Rows[S, D, Sync],
        page_size: int = 500,
        *,
        key: Iterable[str] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Iterator[S]: ...
    @overload
    def stream(
        self: Rows[S, D, Async],
        page_size: int = 500,
        *,
        key: Iterable[str] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> AsyncIterator[S]: ...
    def stream(
        self,
        page_size: int = 500,
        *,
        key: Iterable[str] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Any:
        """All rows, one after the other, read page by page.

        Pages begin behind the last row's primary key, so that rows which come and go
        meanwhile move no other row. `key` names other columns that tell rows apart; `()`
        reads by offset, as is done where there is no key or the query has an order of its
        own. A page holds `page_size` rows, and only one is in memory.
        """
        plan = stream_plan(
            self.operation, page_size, None if key is None else tuple(key), progress
        )
        return self._runner.run_stream(plan, self._make)


class Table(Generic[R, M]):
    """A table or view: where queries begin. `R` is the type of its rows."""

    __slots__ = ("_kind", "_name", "_operation", "_runner")

    def __init__(
        self, runner: Runner, operation: Operation, kind: RowKind[R] | None = None
    ) -> None:
        self._runner = runner
        self._operation = operation
        self._kind = kind

    def _rows(self, operation: Operation) -> Rows[R, list[R], M]:
        return Rows(self._runner, operation, row_maker(self._kind))

    def select(
        self, *columns: str | Embed, count: Count | None = None, head: bool = False
    ) -> Rows[R, list[R], M]:
        """Read rows. `count`: `exact`, `planned` or `estimated`; `head`: count only."""
        operation = replace(
            self._operation, method="HEAD" if head else "GET", repeatable=True
        ).preferring(count=count)
        return self._rows(operation).select(*columns)

    def insert(
        self,
        rows: object,
        *,
        count: Count | None = None,
        returning: Returning = "representation",
        default_to_null: bool = True,
    ) -> Rows[R, list[R], M]:
        """Insert one row (a mapping, a dataclass, a model) or a list of them.

        Rows of a list may name different columns; what one leaves out is NULL, or with
        `default_to_null=False` the column's default.
        """
        operation = self._writing("POST", rows, count, returning)
        if not default_to_null:
            operation = operation.preferring(missing="default")
        return self._rows(operation)

    def upsert(
        self,
        rows: object,
        *,
        count: Count | None = None,
        returning: Returning = "representation",
        ignore_duplicates: bool = False,
        on_conflict: str = "",
        default_to_null: bool = True,
    ) -> Rows[R, list[R], M]:
        """Insert, or update the rows that are there (`ignore_duplicates`: leave them).

        `on_conflict` names unique columns, else it is the primary key. When all rows hold
        them the call is repeatable, so that a lost connection is made up for.
        """
        operation = self._writing("POST", rows, count, returning)
        resolution = "ignore-duplicates" if ignore_duplicates else "merge-duplicates"
        operation = operation.preferring(resolution=resolution)
        if on_conflict:
            operation = operation.setting("on_conflict", on_conflict)
            columns = {name.strip().strip('"') for name in on_conflict.split(",")}
            names = _column_sets(operation.body)
            holds = bool(names) and all(columns <= each for each in names)
            operation = replace(operation, repeatable=holds)
        if not default_to_null:
            operation = operation.preferring(missing="default")
        return self._rows(operation)

    def update(
        self,
        values: object,
        *,
        count: Count | None = None,
        returning: Returning = "representation",
    ) -> Rows[R, list[R], M]:
        """Set the same values in all rows that the filters leave."""
        return self._rows(self._writing("PATCH", values, count, returning))

    def update_many(
        self,
        rows: Iterable[object],
        *,
        count: Count | None = None,
        returning: Returning = "representation",
        on_conflict: str = "",
    ) -> Rows[R, list[R], M]:
        """Give each row its own values: `rows` hold a key and what changes.

        edgerest's own (docs/writes.md); other servers refuse it.
        """
        operation = self._writing("PATCH", list(rows), count, returning)
        operation = operation.preferring(update="by-key", handling="strict")
        if on_conflict:
            operation = operation.setting("on_conflict", on_conflict)
        return self._rows(operation)

    def delete(
        self, *, count: Count | None = None, returning: Returning = "representation"
    ) -> Rows[R, list[R], M]:
        """Delete all rows that the filters leave."""
        operation = replace(self._operation, method="DELETE")
        preferred = operation.preferring(**{"return": returning, "count": count})
        return self._rows(preferred)

    def _writing(
        self,
        method: Literal["POST", "PATCH"],
        body: object,
        count: Count | None,
        returning: Returning,
    ) -> Operation:
        rows: list[Any] = []
        if not _is_row(body) and isinstance(body, Iterable):
            body = rows = list(body)
        operation = replace(self._operation, method=method, body=body)
        sets = _column_sets(rows)
        if any(each != sets[0] for each in sets):
            columns = dict.fromkeys(name for row in rows for name in _columns(row))
            operation = operation.setting("columns", ",".join(map(column_name, columns)))
        return operation.preferring(**{"return": returning, "count": count})


def _is_row(body: object) -> bool:
    # A pydantic model is iterable too.
    return isinstance(body, str | Mapping) or hasattr(body, "model_dump")


def _columns(row: Any) -> Iterable[str]:
    if isinstance(row, Mapping):
        return row
    fields = getattr(row, "__dataclass_fields__", None) or getattr(
        type(row), "model_fields", None
    )
    return fields or ()


def _column_sets(rows: object) -> list[set[str]]:
    return [set(_columns(row)) for row in (rows if isinstance(rows, list) else [rows])]
